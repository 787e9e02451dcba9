/* checkpoint.c: RUN/last.safetensors, all that resuming needs.
 *
 * Beside the weights it holds the optimiser's moments, as optimizer.NAME.MOMENT in the weights' layout, and
 * `progress`, int64 {seed, step, limit}; its metadata say which program may go on from it. The optimiser has
 * taken as many steps as are finished. Tensors stream one at a time, so that saving needs memory for the
 * largest only. */
#include "runtime.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "1"

enum { PROGRESS_VALUES = 3, MOMENTS_MOST = 2 };

typedef struct {
    const char *rule;
    int count;
    const char *name[MOMENTS_MOST]; /* moment i of a tensor lies at offset + i * trained_floats */
} Moments;

static Moments moments_of(const AmdimModel *m)
{
    if (m->optimizer.rule == AMDIM_ADAM)
        return (Moments){"adam", 2, {"exp_avg", "exp_avg_sq"}};
    return (Moments){"sgd", optimizer_floats(m) > 0 ? 1 : 0, {"momentum_buffer"}};
}

static char *moment_name(const AmdimTensor *t, const char *moment, Fault *f)
{
    size_t size = strlen(t->name) + strlen(moment) + sizeof "optimizer..";
    char *name = allocate(size, "a tensor's name", f);
    if (name != NULL)
        snprintf(name, size, "optimizer.%s.%s", t->name, moment);
    return name;
}

/* What is done with each moment of each trained tensor: announce it, give it, look for it, read it. */
typedef struct State State;
typedef bool MomentVisit(State *s, const AmdimTensor *t, const char *name, float *moment);
struct State {
    const AmdimModel *model;
    const Optimizer *optimizer;
    TensorWriter *writer;
    TensorFile *file;
    Fault *f;
};

static bool each_moment(State *s, MomentVisit *visit)
{
    const AmdimModel *m = s->model;
    Moments moments = moments_of(m);
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        for (int k = 0; t->trained && k < moments.count; k++) {
            char *name = moment_name(t, moments.name[k], s->f);
            float *moment = s->optimizer->moments + (size_t)k * m->trained_floats + t->offset;
            bool done = name != NULL && visit(s, t, name, moment);
            free(name);
            if (!done)
                return false;
        }
    }
    return true;
}

/* ---- saving ---- */

static bool announce_moment(State *s, const AmdimTensor *t, const char *name, float *moment)
{
    (void)moment;
    weights_announce(s->writer, name, t);
    return true;
}

static bool give_moment(State *s, const AmdimTensor *t, const char *name, float *moment)
{
    (void)name;
    return weights_give(s->writer, t, moment, s->f);
}

static bool announce_all(State *s)
{
    const AmdimModel *m = s->model;
    writer_metadata(s->writer, "amdimc_version", VERSION);
    writer_metadata(s->writer, "name", m->name);
    writer_metadata(s->writer, "digest", m->digest);
    writer_metadata(s->writer, "optimizer", moments_of(m).rule);
    writer_announce(s->writer, "progress", DTYPE_I64, 1, &(int64_t){PROGRESS_VALUES});
    for (int i = 0; i < m->tensors; i++)
        weights_announce(s->writer, m->tensor[i].name, &m->tensor[i]);
    return each_moment(s, announce_moment);
}

static bool give_all(State *s, const float *params, const Progress *p)
{
    const AmdimModel *m = s->model;
    const int64_t values[PROGRESS_VALUES] = {(int64_t)p->seed, (int64_t)p->step, p->limit};
    if (!writer_give(s->writer, values, sizeof values, s->f))
        return false;
    for (int i = 0; i < m->tensors; i++)
        if (!weights_give(s->writer, &m->tensor[i], params + m->tensor[i].offset, s->f))
            return false;
    return each_moment(s, give_moment);
}

bool checkpoint_save(const AmdimModel *m, const char *path, const float *params, const Optimizer *o,
                     const Progress *p, Fault *f)
{
    TensorWriter writer;
    State s = {.model = m, .optimizer = o, .writer = &writer, .f = f};
    if (!writer_open(&writer, path, f))
        return false;
    if (announce_all(&s) && give_all(&s, params, p))
        return writer_commit(&writer, f);
    writer_discard(&writer);
    return false;
}

/* ---- loading ---- */

static const char *or_none(const char *text)
{
    return text != NULL ? text : "none";
}

static bool check_metadata(const State *s)
{
    const char *path = s->file->path, *rule = moments_of(s->model).rule;
    const char *version = tensors_metadata(s->file, "amdimc_version");
    const char *digest = tensors_metadata(s->file, "digest");
    const char *optimizer = tensors_metadata(s->file, "optimizer");
    if (version == NULL)
        return fault(s->f, "%s: no run to go on from: its metadata name no amdimc_version", path);
    if (strcmp(version, VERSION) != 0)
        return fault(s->f,
                     "%s: saved in version %s of the format, this program reads version %s; go on with the "
                     "program that saved it",
                     path, version, VERSION);
    if (digest == NULL || strcmp(digest, s->model->digest) != 0)
        return fault(
            s->f,
            "%s: saved by a program of another spec (%s, digest %s; this is %s, digest %s); go on with "
            "that program, or train into another folder",
            path, or_none(tensors_metadata(s->file, "name")), or_none(digest), s->model->name,
            s->model->digest);
    if (optimizer == NULL || strcmp(optimizer, rule) != 0)
        return fault(s->f, "%s: saved with optimizer %s, this program's is %s", path, or_none(optimizer),
                     rule);
    return true;
}

static bool read_progress(const State *s, Progress *p)
{
    const Stored *stored = tensors_find(s->file, "progress");
    int64_t values[PROGRESS_VALUES];
    if (stored == NULL || stored->dtype != DTYPE_I64 || stored->rank != 1 ||
        stored->dims[0] != PROGRESS_VALUES)
        return fault(s->f, "%s: no tensor progress (int64, %d)", s->file->path, PROGRESS_VALUES);
    if (!tensors_read(s->file, stored, values, s->f))
        return false;
    if (values[1] < 0 || values[2] < 0 || values[2] > UINT32_MAX)
        return fault(s->f, "%s: tensor progress holds a step or a limit out of range", s->file->path);
    *p = (Progress){(uint64_t)values[0], (uint64_t)values[1], (uint32_t)values[2]};
    return true;
}

static bool find_moment(State *s, const AmdimTensor *t, const char *name, float *moment)
{
    (void)moment;
    return weights_find(s->file, name, t, s->f) != NULL;
}

static bool read_moment(State *s, const AmdimTensor *t, const char *name, float *moment)
{
    const Stored *stored = weights_find(s->file, name, t, s->f);
    return stored != NULL && weights_read(s->file, stored, t, moment, s->f);
}

/* Nothing is changed before all is known to be there. */
static bool load_all(State *s, float *params, Optimizer *o, Progress *p)
{
    const AmdimModel *m = s->model;
    if (!check_metadata(s) || !read_progress(s, p) || !each_moment(s, find_moment))
        return false;
    if (!weights_load(m, s->file->path, params, s->f) || !each_moment(s, read_moment))
        return false;
    o->steps = p->step;
    return true;
}

bool checkpoint_load(const AmdimModel *m, const char *path, float *params, Optimizer *o, Progress *p,
                     Fault *f)
{
    TensorFile file;
    State s = {.model = m, .optimizer = o, .file = &file, .f = f};
    if (!tensors_open(&file, path, f))
        return false;
    bool done = load_all(&s, params, o, p);
    tensors_close(&file);
    return done;
}
