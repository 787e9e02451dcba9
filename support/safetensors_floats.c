/* safetensors_floats.c: the tensors of weights in a file: float32, of a known shape, every value a number. */
#include "safetensors.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* 16x8x4x4; a tensor without dimensions is a scalar. */
static const char *format_shape(char *text, size_t size, int rank, const int64_t *dims)
{
    snprintf(text, size, "scalar");
    size_t length = 0;
    for (int i = 0; i < rank && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%" PRId64, i > 0 ? "x" : "", dims[i]);
    return text;
}

const Stored *tensors_find_floats(const TensorFile *t, const char *name, int rank, const int64_t *dims,
                                  Fault *f)
{
    char wanted[128], found[256];
    format_shape(wanted, sizeof wanted, rank, dims);
    const Stored *s = tensors_find(t, name);
    if (s == NULL) {
        fault(f, "%s: no tensor %s (float32, %s)", t->path, name, wanted);
        return NULL;
    }
    if (s->dtype != DTYPE_F32) {
        fault(f, "%s: tensor %s is not float32", t->path, name);
        return NULL;
    }
    if (s->rank != rank || memcmp(s->dims, dims, (size_t)rank * sizeof *dims) != 0) {
        fault(f, "%s: tensor %s is %s, but the model's is %s", t->path, name,
              format_shape(found, sizeof found, s->rank, s->dims), wanted);
        return NULL;
    }
    return s;
}

bool tensors_check_floats(const TensorFile *t, const Stored *s, const float *value, const char *advice,
                          Fault *f)
{
    for (uint64_t i = 0; i < s->count; i++)
        if (!isfinite(value[i]))
            return fault(f, "%s: tensor %s holds a value that is not finite (%g, element %" PRIu64 "); %s",
                         t->path, s->name, (double)value[i], i, advice);
    return true;
}

bool tensors_read_floats(const TensorFile *t, const Stored *s, float *out, Fault *f)
{
    return tensors_read(t, s, out, f) && tensors_check_floats(t, s, out, "take a checkpoint of before", f);
}

void tensors_note_unsigned(const TensorFile *t)
{
    if (t->unsigned_checkpoint)
        note("%s: of version 0.1, whose checkpoints have no digest: damage might go unnoticed", t->path);
}
