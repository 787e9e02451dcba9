/* cmd_views.c: the views of the first training images, as training sees them in epoch 0, (N, V, C, H, W).
 *
 * Pictures are augmented a chunk at a time, one picture a part of the pool's work, and written in order. */
#include "runtime.h"
#include <stdlib.h>

enum { CHUNK = 32, DEFAULT_COUNT = 64 };

/* One thread's own. */
typedef struct {
    Workspace *workspace;
    float *pixels; /* an image's views, channels last */
} Desk;

typedef struct {
    const AmdimModel *model;
    const Dataset *data;
    uint64_t seed;
    uint32_t count, first; /* images wanted; the chunk's first */
    int desks;
    Desk *desk;   /* (threads) */
    float *views; /* (CHUNK, V, C, H, W) */
    bool failed[CHUNK];
    Fault fault[CHUNK];
} Viewing;

static size_t view_floats(const AmdimModel *m)
{
    return (size_t)m->channels * (size_t)m->size * (size_t)m->size;
}

static void view_picture(void *job, int part, int worker)
{
    Viewing *v = job;
    const AmdimModel *m = v->model;
    Desk *desk = &v->desk[worker];
    uint32_t i = v->first + (uint32_t)part;
    float *pixels[MAX_VIEWS];
    for (int view = 0; view < m->views; view++)
        pixels[view] = desk->pixels + view_floats(m) * (size_t)view;
    const ViewAddress at = {v->seed, 0, i, 0};
    v->failed[part] = !augment_read(m, desk->workspace, v->data, &at, m->views, pixels, &v->fault[part]);
    for (int view = 0; view < m->views && !v->failed[part]; view++) {
        float *planes = v->views + view_floats(m) * (size_t)(part * m->views + view);
        planes_from_pixels(pixels[view], m->size * m->size, m->channels, planes);
    }
}

static bool write_chunk(Viewing *v, AmdimPool *pool, NpyWriter *w, Fault *f)
{
    uint32_t left = v->count - v->first;
    if (signals_received())
        return fault(f, "stopped by a signal");
    int parts = left < CHUNK ? (int)left : CHUNK;
    amdim_parallel(pool, view_picture, v, parts);
    for (int i = 0; i < parts; i++)
        if (v->failed[i])
            return fault(f, "%s", v->fault[i].text);
    size_t floats = view_floats(v->model) * (size_t)(parts * v->model->views);
    return npy_give(w, v->views, floats * sizeof(float), f);
}

static bool write_views(Viewing *v, AmdimPool *pool, const char *path, Fault *f)
{
    NpyWriter w;
    const AmdimModel *m = v->model;
    int64_t dims[5] = {v->count, m->views, m->channels, m->size, m->size};
    bool ok = npy_open(&w, path, "<f4", COUNT(dims), dims, f);
    if (!ok)
        return false;
    for (v->first = 0; ok && v->first < v->count; v->first += CHUNK)
        ok = write_chunk(v, pool, &w, f);
    ok = ok && npy_commit(&w, f);
    npy_discard(&w);
    return ok;
}

static void viewing_free(Viewing *v)
{
    for (int i = 0; i < v->desks; i++) {
        workspace_free(v->desk[i].workspace);
        free(v->desk[i].pixels);
    }
    free(v->desk);
    free(v->views);
    free(v);
}

/* On the heap, as its faults are long. */
static Viewing *viewing_new(const AmdimModel *m, const Dataset *d, const Options *o, Fault *f)
{
    size_t floats = view_floats(m);
    Viewing *v = allocate_zero(sizeof *v, "views", f);
    if (!v)
        return NULL;
    v->model = m, v->data = d, v->seed = o->seed;
    v->count = o->count < 0 ? DEFAULT_COUNT : (uint32_t)o->count;
    v->views = allocate(CHUNK * (size_t)m->views * floats * sizeof(float), "views", f);
    v->desk = allocate_zero((size_t)o->threads * sizeof *v->desk, "views", f);
    bool ok = v->views && v->desk;
    for (; ok && v->desks < o->threads; v->desks++) {
        Desk *desk = &v->desk[v->desks];
        desk->workspace = workspace_new(m, f);
        desk->pixels = allocate((size_t)m->views * floats * sizeof(float), "views", f);
        ok = desk->workspace && desk->pixels;
    }
    if (ok)
        return v;
    viewing_free(v);
    return NULL;
}

/* A count not asked for is what there is, at most; one asked for must be there. */
static bool settle_count(Viewing *v, const Options *o, Fault *f)
{
    if (v->count <= v->data->count)
        return true;
    if (o->count >= 0)
        return fault(f, "the training split holds %u images; --count %u is too many",
                     (unsigned)v->data->count, (unsigned)v->count);
    v->count = v->data->count;
    return true;
}

int command_views(const AmdimModel *m, const Options *o, Fault *f)
{
    signals_watch();
    Dataset *d =
        data_request(&(DataRequest){.dir = o->data, .split = SPLIT_PRETRAIN, .holdout = o->holdout}, f);
    AmdimPool *pool = d ? pool_new(o->threads, m->scratch_bytes, f) : NULL;
    Viewing *v = pool ? viewing_new(m, d, o, f) : NULL;
    bool ok = v && settle_count(v, o, f) && write_views(v, pool, o->out, f);
    if (ok && o->data)
        data_say(d, SPLIT_PRETRAIN);
    if (ok)
        say_written(o->out, "wrote %u images in %d views each to %s", (unsigned)v->count, m->views, o->out);
    if (v)
        viewing_free(v);
    if (pool)
        pool_free(pool);
    if (d)
        data_close(d);
    return exit_code(ok);
}
