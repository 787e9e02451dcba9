/* checkpoint.c: RUN/last.safetensors, all that resuming needs.
 *
 * Beside the weights it holds the optimiser's moments, as optimizer.NAME.MOMENT in the weights' layout, and
 * `progress`, int64 {seed, step, limit, steps left out in a row, bits of the base lr} and, where the rate
 * falls along a cosine, the steps of the whole run; its metadata say which program may go on from it, and
 * with which data. A digest over all of it comes last. The optimiser has taken as many steps as are finished.
 * Tensors stream one at a time, so that saving needs memory for the largest only.
 *
 * Version 0.1 wrote format "1": no digest, no data, a progress of three values. */
#include "runtime.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VERSION     "2"
#define OLD_VERSION "1"
/* More keys than the version's begin as ours do: see check_digest in safetensors.c. */
#define SPEC_KEY CHECKPOINT_KEYS "spec"
#define DATA_KEY CHECKPOINT_KEYS "data"

enum { PROGRESS_LR = 4, PROGRESS_VALUES = 5, PROGRESS_TOTAL = 5, PROGRESS_MOST = 6 };
enum { OLD_PROGRESS_VALUES = 3, MOMENTS_MOST = 2 };
static const int64_t STEPS_MOST = (int64_t)1 << 53; /* what a double counts to, as metrics hold steps */

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

static int progress_values(const AmdimModel *m)
{
    return m->schedule.has_cosine ? PROGRESS_MOST : PROGRESS_VALUES;
}

static char *moment_name(const AmdimTensor *t, const char *moment, Fault *f)
{
    size_t size = strlen(t->name) + strlen(moment) + sizeof "optimizer..";
    char *name = allocate(size, "a tensor's name", f);
    if (name != NULL)
        snprintf(name, size, "optimizer.%s.%s", t->name, moment);
    return name;
}

/* The settings, a line each; by malloc. */
static char *canonical_spec(const AmdimModel *m, Fault *f)
{
    size_t size = 1;
    for (int i = 0; i < m->settings; i++)
        size += strlen(m->setting[i]) + 1;
    char *text = allocate(size, "the spec", f);
    if (text != NULL)
        *text = '\0';
    for (int i = 0; text != NULL && i < m->settings; i++) {
        strcat(text, m->setting[i]);
        strcat(text, "\n");
    }
    return text;
}

/* What is done with each moment of each trained tensor: announce it, give it, look for it, read it. */
typedef struct State State;
typedef bool MomentVisit(State *s, int tensor, const char *name, int kind);
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
            bool done = name != NULL && visit(s, i, name, k);
            free(name);
            if (!done)
                return false;
        }
    }
    return true;
}

/* ---- saving ---- */

static bool announce_moment(State *s, int tensor, const char *name, int kind)
{
    (void)kind;
    weights_announce(s->writer, name, &s->model->tensor[tensor]);
    return true;
}

static bool give_moment(State *s, int tensor, const char *name, int kind)
{
    (void)name;
    return weights_give(s->writer, &s->model->tensor[tensor], optimizer_moment(s->optimizer, kind, tensor),
                        s->f);
}

/* Of a process that does not lead: takes part in gathering the moments. */
static bool hand_moment(State *s, int tensor, const char *name, int kind)
{
    (void)name;
    optimizer_moment(s->optimizer, kind, tensor);
    return true;
}

static bool announce_all(State *s, const Progress *p)
{
    const AmdimModel *m = s->model;
    char *spec = canonical_spec(m, s->f);
    if (spec == NULL)
        return false;
    writer_metadata(s->writer, CHECKPOINT_VERSION_KEY, VERSION);
    writer_metadata(s->writer, SPEC_KEY, spec);
    free(spec);
    writer_metadata(s->writer, DATA_KEY, p->data);
    writer_metadata(s->writer, "name", m->name);
    writer_metadata(s->writer, "digest", m->digest);
    writer_metadata(s->writer, "optimizer", moments_of(m).rule);
    writer_sign(s->writer);
    writer_announce(s->writer, "progress", DTYPE_I64, 1, &(int64_t){progress_values(m)});
    for (int i = 0; i < m->tensors; i++)
        weights_announce(s->writer, m->tensor[i].name, &m->tensor[i]);
    return each_moment(s, announce_moment);
}

static bool give_all(State *s, const float *params, const Progress *p)
{
    const AmdimModel *m = s->model;
    int64_t values[PROGRESS_MOST] = {(int64_t)p->seed, (int64_t)p->step, p->limit, p->left_out};
    memcpy(&values[PROGRESS_LR], &p->lr, sizeof p->lr);
    values[PROGRESS_TOTAL] = (int64_t)p->total;
    if (!writer_give(s->writer, values, (size_t)progress_values(m) * sizeof *values, s->f))
        return false;
    for (int i = 0; i < m->tensors; i++)
        if (!weights_give(s->writer, &m->tensor[i], params + m->tensor[i].offset, s->f))
            return false;
    return each_moment(s, give_moment);
}

bool checkpoint_help(const AmdimModel *m, const Optimizer *o, Fault *f)
{
    return each_moment(&(State){.model = m, .optimizer = o, .f = f}, hand_moment);
}

bool checkpoint_save(const AmdimModel *m, const CheckpointFiles *files, const float *params,
                     const Optimizer *o, const Progress *p, Fault *f)
{
    TensorWriter writer;
    State s = {.model = m, .optimizer = o, .writer = &writer, .f = f};
    if (!writer_open(&writer, files->last, f))
        return false;
    if (announce_all(&s, p) && give_all(&s, params, p))
        return writer_commit(&writer, files->keep ? files->previous : NULL, f);
    writer_discard(&writer);
    return false;
}

/* ---- whether this program may go on from it ---- */

static const char *or_none(const char *text)
{
    return text != NULL ? text : "none";
}

/* Where the specs first differ: a line of theirs, of that length, and our setting; either may be at its end.
 */
static const char *first_difference(const AmdimModel *m, const char **theirs, int *length)
{
    for (int i = 0;; i++, *theirs += *length + 1) {
        const char *ours = i < m->settings ? m->setting[i] : "";
        *length = (int)strcspn(*theirs, "\n");
        if (**theirs == '\0' || i == m->settings || strlen(ours) != (size_t)*length ||
            strncmp(*theirs, ours, (size_t)*length) != 0)
            return ours;
    }
}

/* Of a line that ends one spec where the other has no more: what is not said there (spec/canonical.c). */
static const char *unsaid(const char *line)
{
    return strncmp(line, "precision ", strlen("precision ")) == 0 ? "precision float32"
           : strncmp(line, "ranks ", strlen("ranks ")) == 0       ? "ranks 1"
                                                                  : "nothing more";
}

static bool refuse_spec(const State *s)
{
    static const char way_out[] = "go on with the program that saved it, or train into another folder";
    const char *path = s->file->path, *name = or_none(tensors_metadata(s->file, "name"));
    const char *theirs = tensors_metadata(s->file, SPEC_KEY);
    if (theirs == NULL)
        return fault(
            s->f, "%s: saved by a program of another spec (%s, digest %s; this is %s, digest %s); %s", path,
            name, or_none(tensors_metadata(s->file, "digest")), s->model->name, s->model->digest, way_out);
    int length;
    const char *ours = first_difference(s->model, &theirs, &length);
    if (length == 0) {
        theirs = unsaid(ours);
        length = (int)strlen(theirs);
    } else if (*ours == '\0') {
        ours = unsaid(theirs);
    }
    return fault(s->f,
                 "%s: saved by a program of another spec (%s), with `%.*s` where this one (%s) has `%s`; %s",
                 path, name, length, theirs, s->model->name, ours, way_out);
}

static bool check_metadata(const State *s)
{
    const char *path = s->file->path, *rule = moments_of(s->model).rule;
    const char *version = tensors_metadata(s->file, CHECKPOINT_VERSION_KEY);
    const char *digest = tensors_metadata(s->file, "digest");
    const char *optimizer = tensors_metadata(s->file, "optimizer");
    if (version == NULL)
        return fault(s->f, "%s: no run to go on from: its metadata name no " CHECKPOINT_VERSION_KEY, path);
    if (strcmp(version, VERSION) != 0 && strcmp(version, OLD_VERSION) != 0)
        return fault(s->f,
                     "%s: saved in version %s of the format, this program reads version " VERSION
                     "; go on with the program that saved it",
                     path, version);
    if (digest == NULL || strcmp(digest, s->model->digest) != 0)
        return refuse_spec(s);
    if (optimizer == NULL || strcmp(optimizer, rule) != 0)
        return fault(s->f, "%s: saved with optimizer %s, this program's is %s", path, or_none(optimizer),
                     rule);
    return true;
}

/* ---- loading ---- */

static bool read_progress(const State *s, Progress *p)
{
    const Stored *stored = tensors_find(s->file, "progress");
    int count = s->file->unsigned_checkpoint ? OLD_PROGRESS_VALUES : progress_values(s->model);
    int64_t values[PROGRESS_MOST] = {0};
    memcpy(&values[PROGRESS_LR], &s->model->optimizer.lr, sizeof s->model->optimizer.lr);
    if (stored == NULL || stored->dtype != DTYPE_I64 || stored->rank != 1 || stored->dims[0] != count)
        return fault(s->f, "%s: no tensor progress (int64, %d)", s->file->path, count);
    if (!tensors_read(s->file, stored, values, s->f))
        return false;
    *p = (Progress){.seed = (uint64_t)values[0],
                    .step = (uint64_t)values[1],
                    .limit = (uint32_t)values[2],
                    .left_out = (uint32_t)values[3],
                    .total = (uint64_t)values[PROGRESS_TOTAL]};
    memcpy(&p->lr, &values[PROGRESS_LR], sizeof p->lr);
    snprintf(p->data, sizeof p->data, "%s", or_none(tensors_metadata(s->file, DATA_KEY)));
    if (tensors_metadata(s->file, DATA_KEY) == NULL)
        p->data[0] = '\0';
    return (values[1] >= 0 && values[1] <= STEPS_MOST && values[2] >= 0 && values[2] <= UINT32_MAX &&
            values[3] >= 0 && values[3] <= UINT32_MAX && values[PROGRESS_TOTAL] >= 0 && isfinite(p->lr) &&
            p->lr > 0) ||
           fault(s->f, "%s: tensor progress holds a step, a limit or a rate out of range", s->file->path);
}

static bool find_moment(State *s, int tensor, const char *name, int kind)
{
    (void)kind;
    return weights_find(s->file, name, &s->model->tensor[tensor], s->f) != NULL;
}

static bool read_moment(State *s, int tensor, const char *name, int kind)
{
    const AmdimTensor *t = &s->model->tensor[tensor];
    const Stored *stored = weights_find(s->file, name, t, s->f);
    float *moment = s->optimizer->moments + (size_t)kind * s->optimizer->floats + t->offset;
    return stored != NULL && weights_read(s->file, stored, t, moment, s->f);
}

/* Nothing is changed before all is known to be there. */
static bool load_all(State *s, float *params, Optimizer *o, Progress *p)
{
    if (!read_progress(s, p) || !each_moment(s, find_moment) ||
        !weights_load_file(s->model, s->file, params, s->f) || !each_moment(s, read_moment))
        return false;
    o->steps = p->step;
    return true;
}

static CheckpointState state_of_failure(const Fault *f)
{
    return f->error == 0 || f->error == ENOENT || f->error == EIO ? CHECKPOINT_NOT_WHOLE : CHECKPOINT_REFUSED;
}

CheckpointState checkpoint_load(const AmdimModel *m, const char *path, float *params, Optimizer *o,
                                Progress *p, Fault *f)
{
    TensorFile file;
    State s = {.model = m, .optimizer = o, .file = &file, .f = f};
    if (!tensors_open(&file, path, f))
        return state_of_failure(f);
    CheckpointState state = !check_metadata(&s)          ? CHECKPOINT_REFUSED
                            : load_all(&s, params, o, p) ? CHECKPOINT_LOADED
                                                         : state_of_failure(f);
    tensors_close(&file);
    return state;
}

CheckpointState checkpoint_load_newest(const AmdimModel *m, CheckpointFiles *files, float *params,
                                       Optimizer *o, Progress *p, Fault *f)
{
    Fault of_last, of_previous;
    files->keep = true;
    CheckpointState state = checkpoint_load(m, files->last, params, o, p, &of_last);
    *f = of_last;
    if (state != CHECKPOINT_NOT_WHOLE)
        return state;
    state = checkpoint_load(m, files->previous, params, o, p, &of_previous);
    if (state == CHECKPOINT_REFUSED)
        *f = of_previous;
    if (state == CHECKPOINT_NOT_WHOLE)
        fault(f, "no checkpoint of the run is whole: %s; and %s; begin anew in another folder", of_last.text,
              of_previous.text);
    if (state != CHECKPOINT_LOADED)
        return state;
    note("%s; going on from %s, of step %" PRIu64, of_last.text, files->previous, p->step);
    files->keep = false; /* the whole one stays when the next is saved */
    return state;
}
