/* weights.c: a model's initial values, and its tensors from and to files.
 *
 * Files hold PyTorch's layout, memory ours. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void fill_uniform(const AmdimTensor *t, Random random, float *ours)
{
    const int outs = t->dims[0], ins = t->rank == 4 ? t->dims[1] : 1;
    init_uniform(random, outs, ins, (int)(t->count / ((size_t)outs * (size_t)ins)), t->bound, ours);
}

void weights_init(const AmdimModel *m, uint64_t seed, float *params)
{
    memset(params, 0, m->param_floats * sizeof *params);
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        float *ours = params + t->offset;
        switch (t->init) {
        case AMDIM_INIT_ZERO: break;
        case AMDIM_INIT_ONE: init_constant(t->count, 1, ours); break;
        case AMDIM_INIT_UNIFORM:
            fill_uniform(t, random_at(seed, RANDOM_INIT, 0, (uint64_t)i, 0), ours);
            break;
        case AMDIM_INIT_SHORTCUT:
            fill_uniform(t, random_at(seed, RANDOM_INIT, 0, (uint64_t)i, 0), ours);
            init_diagonal(t->dims[0], t->dims[1], ours);
            break;
        }
    }
}

static void wide_dims(const AmdimTensor *t, int64_t dims[4])
{
    for (int i = 0; i < t->rank; i++)
        dims[i] = t->dims[i];
}

const Stored *weights_find(const TensorFile *file, const char *name, const AmdimTensor *t, Fault *f)
{
    int64_t dims[4];
    wide_dims(t, dims);
    return tensors_find_floats(file, name, t->rank, dims, f);
}

bool weights_read(const TensorFile *file, const Stored *s, const AmdimTensor *t, float *ours, Fault *f)
{
    float *torch = allocate(t->count * sizeof *torch, t->name, f);
    bool done = torch != NULL && tensors_read_floats(file, s, torch, f);
    if (done)
        layout_inward(t, torch, ours);
    free(torch);
    return done;
}

void weights_announce(TensorWriter *w, const char *name, const AmdimTensor *t)
{
    int64_t dims[4];
    wide_dims(t, dims);
    writer_announce(w, name, DTYPE_F32, t->rank, dims);
}

bool weights_give(TensorWriter *w, const AmdimTensor *t, const float *ours, Fault *f)
{
    float *torch = allocate(t->count * sizeof *torch, t->name, f);
    bool done = torch != NULL;
    if (done) {
        layout_outward(t, ours, torch);
        done = writer_give(w, torch, t->count * sizeof *torch, f);
    }
    free(torch);
    return done;
}

/* Nothing is read before every tensor is known to be there. */
bool weights_load_file(const AmdimModel *m, const TensorFile *file, float *params, Fault *f)
{
    for (int i = 0; i < m->tensors; i++)
        if (weights_find(file, m->tensor[i].name, &m->tensor[i], f) == NULL)
            return false;
    tensors_note_unsigned(file);
    memset(params, 0, m->param_floats * sizeof *params);
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        if (!weights_read(file, tensors_find(file, t->name), t, params + t->offset, f))
            return false;
    }
    return true;
}

bool weights_load(const AmdimModel *m, const char *path, float *params, Fault *f)
{
    TensorFile file;
    if (!tensors_open(&file, path, f))
        return false;
    bool done = weights_load_file(m, &file, params, f);
    tensors_close(&file);
    return done;
}

/* ---- what fits ---- */

static bool has_other_type(const TensorFile *file, const char *name)
{
    const Stored *s = tensors_find(file, name);
    return s != NULL && s->dtype != DTYPE_F32;
}

/* Names what is not taken on `others`, and counts it. */
static bool take_fitting(const AmdimModel *m, const TensorFile *file, float *params, FILE *others, int *left,
                         Fault *f)
{
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        const Stored *s = weights_find(file, t->name, t, f);
        if (s == NULL)
            fprintf(others, "%s%s%s", (*left)++ ? ", " : "", t->name,
                    has_other_type(file, t->name) ? " (not float32)" : "");
        else if (!weights_read(file, s, t, params + t->offset, f))
            return false;
    }
    return true;
}

static bool load_fitting(const AmdimModel *m, const TensorFile *file, float *params, Fault *f)
{
    char *names = NULL;
    size_t length;
    int left = 0;
    FILE *others = open_memstream(&names, &length);
    if (!others)
        return fault_errno(f, "%s: the names of its tensors", file->path);
    tensors_note_unsigned(file);
    bool done = take_fitting(m, file, params, others, &left, f);
    if (fclose(others) != 0)
        done = done && fault(f, "out of memory for the names of tensors; free some");
    if (done && left == m->tensors)
        done = fault(f, "%s: none of its tensors is one of %s's by name, shape and type, float32", file->path,
                     m->name);
    if (done && left > 0)
        note("%s: %d of %d tensors taken; begun anew, as missing or of another shape or type there: %s",
             file->path, m->tensors - left, m->tensors, names);
    free(names);
    return done;
}

bool weights_load_fitting(const AmdimModel *m, const char *path, float *params, Fault *f)
{
    TensorFile file;
    if (!tensors_open(&file, path, f))
        return false;
    bool done = load_fitting(m, &file, params, f);
    tensors_close(&file);
    return done;
}
