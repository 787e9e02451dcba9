/* weights.c: trained weights, for what carries them: a library's constants, an ONNX graph. */
#include "build.h"
#include "safetensors.h"

static float *read_tensor(Arena *a, const TensorFile *file, const Param *p, Fault *f)
{
    int64_t dims[COUNT(p->dims)];
    for (int i = 0; i < p->rank; i++)
        dims[i] = p->dims[i];
    const Stored *s = tensors_find_floats(file, p->name, p->rank, dims, f);
    float *value = ARENA_ARRAY(a, float, p->count);
    return s && tensors_read_floats(file, s, value, f) ? value : NULL;
}

float **weights_of_file(Arena *a, const char *path, const Params *p)
{
    TensorFile file;
    Fault f;
    if (!tensors_open(&file, path, &f)) {
        build_fault(&f);
        return NULL;
    }
    tensors_note_unsigned(&file);
    float **value = ARENA_ARRAY(a, float *, p->count);
    bool good = true;
    for (int i = 0; i < p->count && good; i++)
        good = (value[i] = read_tensor(a, &file, p->param[i], &f));
    tensors_close(&file);
    if (!good)
        build_fault(&f);
    return good ? value : NULL;
}
