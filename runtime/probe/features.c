/* features.c: a whole split as features, or as the pictures testing sees.
 *
 * Pictures are prepared and encoded a batch at a time; all that is held of them is one batch. Preparing is
 * shared out picture by picture, each worker with buffers of its own. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Workspace *workspace;
    bool failed;
    uint32_t image; /* that could not be read: the lowest that this worker met */
    Fault fault;
} Preparer;

/* A run of pictures being prepared. */
typedef struct {
    const AmdimModel *model;
    const Dataset *data;
    Preparer *preparer; /* (workers) */
    int workers;
    uint32_t first; /* image of part 0 */
    float *out;     /* (parts, H*W*C) */
} Preparation;

static size_t picture_floats(const AmdimModel *m)
{
    return (size_t)m->size * (size_t)m->size * (size_t)m->channels;
}

static void prepare_part(void *job, int part, int worker)
{
    Preparation *p = job;
    Preparer *own = &p->preparer[worker];
    uint32_t image = p->first + (uint32_t)part;
    if (own->failed && image > own->image)
        return;
    float *out = p->out + (size_t)part * picture_floats(p->model);
    if (!augment_read_none(p->model, own->workspace, p->data, image, out, &own->fault)) {
        own->failed = true;
        own->image = image;
    }
}

/* Prepares `count` pictures from `first` on; reports the first that could not be read. */
static bool prepare(Preparation *p, AmdimPool *pool, uint32_t first, uint32_t count, float *out, Fault *f)
{
    p->first = first;
    p->out = out;
    amdim_parallel(pool, prepare_part, p, (int)count);
    const Preparer *worst = NULL;
    for (int i = 0; i < p->workers; i++)
        if (p->preparer[i].failed && (worst == NULL || p->preparer[i].image < worst->image))
            worst = &p->preparer[i];
    if (worst != NULL)
        *f = worst->fault;
    return worst == NULL;
}

static void preparation_free(Preparation *p)
{
    for (int i = 0; p->preparer != NULL && i < p->workers; i++)
        workspace_free(p->preparer[i].workspace);
    free(p->preparer);
}

static bool preparation_new(Preparation *p, const AmdimModel *m, const Dataset *d, int workers, Fault *f)
{
    *p = (Preparation){.model = m, .data = d, .workers = workers};
    p->preparer = allocate_zero((size_t)workers * sizeof *p->preparer, "the pictures being read", f);
    bool done = p->preparer != NULL;
    for (int i = 0; done && i < workers; i++) {
        p->preparer[i].workspace = workspace_new(m, f);
        done = p->preparer[i].workspace != NULL;
    }
    if (!done)
        preparation_free(p);
    return done;
}

/* Finite weights may be so large that what they make of a picture is no number. */
static bool are_finite(const AmdimFeature *feature, uint32_t first, uint32_t count, const float *features,
                       Fault *f)
{
    size_t floats = (size_t)feature->side * (size_t)feature->side * (size_t)feature->channels;
    for (size_t i = 0; i < count * floats; i++)
        if (!isfinite(features[i]))
            return fault(f,
                         "the features of image %" PRIu32
                         " are not finite: are the weights those of a run that diverged?",
                         first + (uint32_t)(i / floats));
    return true;
}

static bool each_batch(Machine *k, const AmdimFeature *feature, Preparation *p, float *x, FeatureSink *sink,
                       void *arg, Fault *f)
{
    const AmdimModel *m = k->model;
    size_t picture = picture_floats(m);
    uint32_t batch = (uint32_t)feature->images;
    for (uint32_t first = 0, count; first < p->data->count; first += count) {
        uint32_t left = p->data->count - first;
        count = left < batch ? left : batch;
        if (signals_received())
            return fault(f, "stopped by a signal");
        if (!prepare(p, k->pool, first, count, x, f))
            return false;
        memset(x + count * picture, 0, (batch - count) * picture * sizeof *x);
        const float *features = feature->run(k->pool, k->step.arena, k->params, x);
        if (!are_finite(feature, first, count, features, f) || !sink(arg, first, count, features, f))
            return false;
    }
    return true;
}

bool features_each(Machine *k, const AmdimFeature *feature, const Dataset *d, FeatureSink *sink, void *arg,
                   Fault *f)
{
    const AmdimModel *m = k->model;
    size_t batch = (size_t)feature->images;
    Preparation p;
    if (!preparation_new(&p, m, d, pool_threads(k->pool), f))
        return false;
    float *x = allocate(batch * picture_floats(m) * sizeof *x, "a batch of pictures", f);
    bool done = x != NULL && each_batch(k, feature, &p, x, sink, arg, f);
    free(x);
    preparation_free(&p);
    return done;
}

size_t features_bytes(const AmdimModel *m, const AmdimFeature *feature, int threads)
{
    enum { PREPARER = 1 << 20 }; /* bytes: a row, what decodes, room of malloc's */
    size_t pictures = (size_t)feature->images + 2 * (size_t)threads; /* the batch; read, and being resized */
    return pictures * picture_floats(m) * sizeof(float) + (size_t)threads * PREPARER;
}

const AmdimFeature *feature_of_scale(const AmdimModel *m, int scale, bool raw)
{
    for (int i = 0; i < m->features; i++)
        if (m->feature[i].scale == scale && m->feature[i].raw == raw)
            return &m->feature[i];
    return NULL;
}

typedef struct {
    float *out;
    size_t floats; /* of an image */
} Gather;

static bool gather(void *sink, uint32_t first, uint32_t count, const float *features, Fault *f)
{
    (void)f;
    const Gather *g = sink;
    memcpy(g->out + first * g->floats, features, count * g->floats * sizeof *features);
    return true;
}

/* Room for every image of d. */
static float *allocate_rows(const Dataset *d, size_t floats, const char *what, Fault *f)
{
    size_t bytes;
    if (!__builtin_mul_overflow((size_t)d->count, floats * sizeof(float), &bytes))
        return allocate(bytes, what, f);
    fault(f, "out of memory: %s are more than the machine can address; try a smaller --limit", what);
    return NULL;
}

float *features_all(Machine *k, const AmdimFeature *feature, const Dataset *d, Fault *f)
{
    Gather g = {.floats = (size_t)feature->side * (size_t)feature->side * (size_t)feature->channels};
    g.out = allocate_rows(d, g.floats, "the features", f);
    if (g.out == NULL || features_each(k, feature, d, gather, &g, f))
        return g.out;
    free(g.out);
    return NULL;
}

/* Prepared in runs, so that the number of a part never outgrows an int. */
static bool prepare_all(Preparation *p, AmdimPool *pool, float *out, Fault *f)
{
    enum { RUN = 1024 };
    size_t picture = picture_floats(p->model);
    for (uint32_t first = 0, count; first < p->data->count; first += count) {
        uint32_t left = p->data->count - first;
        count = left < RUN ? left : RUN;
        if (signals_received())
            return fault(f, "stopped by a signal");
        if (!prepare(p, pool, first, count, out + first * picture, f))
            return false;
    }
    return true;
}

float *features_pixels(Machine *k, const Dataset *d, Fault *f)
{
    Preparation p;
    float *out = allocate_rows(d, picture_floats(k->model), "the pictures", f);
    bool done = out != NULL && preparation_new(&p, k->model, d, pool_threads(k->pool), f);
    if (done) {
        done = prepare_all(&p, k->pool, out, f);
        preparation_free(&p);
    }
    if (done)
        return out;
    free(out);
    return NULL;
}
