/* weights.c: a model's initial values, and its tensors from and to files.
 *
 * Files hold PyTorch's layout, memory ours. Initial values are drawn in PyTorch's order, each tensor from
 * random numbers of its own, so they depend on neither the layout inside nor the other tensors. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void fill(float *out, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        out[i] = value;
}

static void fill_uniform(const AmdimTensor *t, Random random, float *ours)
{
    bool matrix = t->rank == 4;
    size_t outs = (size_t)t->dims[0], ins = matrix ? (size_t)t->dims[1] : 1, taps = t->count / (outs * ins);
    for (size_t o = 0; o < outs; o++)
        for (size_t i = 0; i < ins; i++)
            for (size_t tap = 0; tap < taps; tap++)
                ours[(tap * ins + i) * outs + o] = (float)random_between(&random, -t->bound, t->bound);
}

static void set_diagonal(const AmdimTensor *t, float *ours)
{
    size_t outs = (size_t)t->dims[0], ins = (size_t)t->dims[1];
    for (size_t i = 0; i < ins && outs >= ins; i++)
        ours[i * outs + i] = 1;
}

void weights_init(const AmdimModel *m, uint64_t seed, float *params)
{
    memset(params, 0, m->param_floats * sizeof *params);
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        float *ours = params + t->offset;
        switch (t->init) {
        case AMDIM_INIT_ZERO: break;
        case AMDIM_INIT_ONE: fill(ours, t->count, 1); break;
        case AMDIM_INIT_UNIFORM:
            fill_uniform(t, random_at(seed, RANDOM_INIT, 0, (uint64_t)i, 0), ours);
            break;
        case AMDIM_INIT_SHORTCUT:
            fill_uniform(t, random_at(seed, RANDOM_INIT, 0, (uint64_t)i, 0), ours);
            set_diagonal(t, ours);
            break;
        }
    }
}

/* 16x8x4x4; a tensor without dimensions is a scalar. */
static const char *format_shape(char *text, size_t size, int rank, const int64_t *dims)
{
    snprintf(text, size, "scalar");
    size_t length = 0;
    for (int i = 0; i < rank && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%" PRId64, i > 0 ? "x" : "", dims[i]);
    return text;
}

static void wide_dims(const AmdimTensor *t, int64_t dims[4])
{
    for (int i = 0; i < t->rank; i++)
        dims[i] = t->dims[i];
}

const Stored *weights_find(const TensorFile *file, const char *name, const AmdimTensor *t, Fault *f)
{
    char wanted[128], found[256];
    int64_t dims[4];
    wide_dims(t, dims);
    format_shape(wanted, sizeof wanted, t->rank, dims);
    const Stored *s = tensors_find(file, name);
    if (s == NULL) {
        fault(f, "%s: no tensor %s (float32, %s)", file->path, name, wanted);
        return NULL;
    }
    if (s->dtype != DTYPE_F32) {
        fault(f, "%s: tensor %s is not float32", file->path, name);
        return NULL;
    }
    if (s->rank != t->rank || memcmp(s->dims, dims, (size_t)t->rank * sizeof *dims) != 0) {
        fault(f, "%s: tensor %s is %s, but the model's is %s", file->path, name,
              format_shape(found, sizeof found, s->rank, s->dims), wanted);
        return NULL;
    }
    return s;
}

/* A value that is no number spoils all that comes after it; better to hear of it here. */
static bool are_finite(const TensorFile *file, const Stored *s, const float *value, Fault *f)
{
    for (uint64_t i = 0; i < s->count; i++)
        if (!isfinite(value[i]))
            return fault(f,
                         "%s: tensor %s holds a value that is not finite (%g, element %" PRIu64
                         "); take a checkpoint of before",
                         file->path, s->name, (double)value[i], i);
    return true;
}

bool weights_read(const TensorFile *file, const Stored *s, const AmdimTensor *t, float *ours, Fault *f)
{
    float *torch = allocate(t->count * sizeof *torch, t->name, f);
    bool done = torch != NULL && tensors_read(file, s, torch, f) && are_finite(file, s, torch, f);
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

static void note_if_unsigned(const TensorFile *file)
{
    if (file->unsigned_checkpoint)
        note("%s: of version 0.1, whose checkpoints have no digest: damage might go unnoticed", file->path);
}

/* Nothing is read before every tensor is known to be there. */
bool weights_load_file(const AmdimModel *m, const TensorFile *file, float *params, Fault *f)
{
    for (int i = 0; i < m->tensors; i++)
        if (weights_find(file, m->tensor[i].name, &m->tensor[i], f) == NULL)
            return false;
    note_if_unsigned(file);
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

enum { NAMED = 8 }; /* tensors that a note names, at most */

typedef struct {
    int count;
    char names[512];
} NotTaken;

static void add_name(NotTaken *n, const char *name)
{
    size_t used = strlen(n->names);
    if (n->count++ < NAMED)
        snprintf(n->names + used, sizeof n->names - used, "%s%s", used > 0 ? ", " : "", name);
    else if (n->count == NAMED + 1)
        snprintf(n->names + used, sizeof n->names - used, " and more");
}

static bool load_fitting(const AmdimModel *m, const TensorFile *file, float *params, Fault *f)
{
    NotTaken not_taken = {0};
    note_if_unsigned(file);
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        const Stored *s = weights_find(file, t->name, t, f);
        if (s == NULL)
            add_name(&not_taken, t->name);
        else if (!weights_read(file, s, t, params + t->offset, f))
            return false;
    }
    if (not_taken.count == m->tensors)
        return fault(f, "%s: none of its tensors is one of %s's by name and shape", file->path, m->name);
    if (not_taken.count > 0)
        note("%s: %d of %d tensors taken; begun anew, as missing or of another shape there: %s", file->path,
             m->tensors - not_taken.count, m->tensors, not_taken.names);
    return true;
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
