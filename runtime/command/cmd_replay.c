/* cmd_replay.c: one step on given views and source locations: its losses, embeddings and gradients, in a
 * file.
 *
 * Losses and embeddings go to the file when the forward pass has ended, while the embeddings still lie in the
 * arena; the gradients come in the order of the backward pass, and are gathered to be written in the model's.
 * Nothing is updated. */
#include "runtime.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const AmdimModel *model;
    Machine machine;
    float *x;         /* (N, H, W, C) */
    float *gradients; /* of all trained tensors, at their offsets, in PyTorch's order */
    float *planes;    /* one image's or embedding's, channels first */
    float *pixels;    /* an embedding's, as they lie */
    TensorWriter out;
    Fault *fault;
    bool ok;
} Replay;

static const AmdimTensor *next_trained(const AmdimModel *m, int *i)
{
    while (*i < m->tensors && !m->tensor[*i].trained)
        ++*i;
    return *i < m->tensors ? &m->tensor[(*i)++] : NULL;
}

/* ---- reading the batch ---- */

static void format_shape(char *text, size_t size, int rank, const int64_t *dims)
{
    size_t used = 0;
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i ? " x " : "", dims[i]);
    if (rank == 0)
        snprintf(text, size, "one number");
}

static const char *dtype_name(Dtype dtype)
{
    return dtype == DTYPE_F32 ? "float32" : dtype == DTYPE_I64 ? "int64" : "another type";
}

/* Reads the tensor `name`, which must have just this type and shape. */
static bool read_tensor(const TensorFile *t, const char *name, Dtype dtype, int rank, const int64_t *dims,
                        void *out, Fault *f)
{
    char has[128], wants[128];
    const Stored *s = tensors_find(t, name);
    format_shape(wants, sizeof wants, rank, dims);
    if (!s)
        return fault(f, "%s has no tensor %s (%s, %s)", t->path, name, dtype_name(dtype), wants);
    if (s->rank != rank)
        return fault(f, "%s: tensor %s has %d dimensions; this program needs %s, %s", t->path, name, s->rank,
                     dtype_name(dtype), wants);
    format_shape(has, sizeof has, s->rank, s->dims);
    if (s->dtype != dtype || memcmp(s->dims, dims, (size_t)rank * sizeof *dims) != 0)
        return fault(f, "%s: tensor %s is %s, %s; this program needs %s, %s", t->path, name,
                     dtype_name(s->dtype), has, dtype_name(dtype), wants);
    return tensors_read(t, s, out, f) &&
           (dtype != DTYPE_F32 || tensors_check_floats(t, s, out, "a ReLU would hide it", f));
}

static bool read_view(Replay *r, const TensorFile *t, int view, float *torch, Fault *f)
{
    char name[16];
    const AmdimModel *m = r->model;
    const int64_t dims[4] = {m->batch, m->channels, m->size, m->size};
    int pixels = m->size * m->size;
    size_t floats = (size_t)pixels * (size_t)m->channels;
    snprintf(name, sizeof name, "x.%d", view + 1);
    if (!read_tensor(t, name, DTYPE_F32, COUNT(dims), dims, torch, f))
        return false;
    const Held *h = &r->machine.held;
    for (int b = h->first; b < h->first + h->count; b++)
        pixels_from_planes(torch + (size_t)b * floats, pixels, m->channels,
                           r->x + held_row(m, h, view, b) * floats);
    return true;
}

static bool read_locations(Replay *r, const TensorFile *t, const AmdimPair *pair, int view, int64_t *drawn,
                           Fault *f)
{
    char name[64];
    const AmdimModel *m = r->model;
    const int64_t dims[1] = {m->batch}, places = (int64_t)pair->from * pair->from;
    int32_t *to = r->machine.locations + (size_t)(pair->located * m->views + view) * (size_t)m->batch;
    snprintf(name, sizeof name, "loc.%s.%d", pair->name, view + 1);
    if (!read_tensor(t, name, DTYPE_I64, COUNT(dims), dims, drawn, f))
        return false;
    for (int b = 0; b < m->batch; b++) {
        if (drawn[b] < 0 || drawn[b] >= places)
            return fault(f, "%s: tensor %s: location %" PRId64 " of image %d is not in 0 to %" PRId64,
                         t->path, name, drawn[b], b, places - 1);
        to[b] = (int32_t)drawn[b];
    }
    return true;
}

static bool read_views(Replay *r, const TensorFile *t, Fault *f)
{
    const AmdimModel *m = r->model;
    size_t floats = (size_t)m->batch * (size_t)m->size * (size_t)m->size * (size_t)m->channels;
    float *torch = allocate(floats * sizeof *torch, "a view", f);
    bool ok = torch != NULL;
    for (int v = 0; ok && v < m->views; v++)
        ok = read_view(r, t, v, torch, f);
    free(torch);
    return ok;
}

static bool read_all_locations(Replay *r, const TensorFile *t, Fault *f)
{
    const AmdimModel *m = r->model;
    int64_t *drawn = allocate((size_t)m->batch * sizeof *drawn, "source locations", f);
    bool ok = drawn != NULL;
    for (int p = 0; p < m->pairs; p++)
        for (int v = 0; ok && m->pair[p].located >= 0 && v < m->views; v++)
            ok = read_locations(r, t, &m->pair[p], v, drawn, f);
    free(drawn);
    return ok;
}

static bool read_batch(Replay *r, const char *path, Fault *f)
{
    TensorFile t;
    if (!tensors_open(&t, path, f))
        return false;
    bool ok = read_views(r, &t, f) && read_all_locations(r, &t, f);
    tensors_close(&t);
    return ok;
}

/* ---- writing the results ---- */

static void announce_scalar(TensorWriter *w, const char *name)
{
    const int64_t one[1] = {1};
    writer_announce(w, name, DTYPE_F32, COUNT(one), one);
}

static void announce_embeddings(Replay *r)
{
    const AmdimModel *m = r->model;
    for (int s = 0; s < m->scales; s++)
        for (int v = 0; v < m->views; v++) {
            char name[32];
            int d = m->scale[s].scale;
            const int64_t dims[4] = {m->batch, m->embedding_dim, d, d};
            snprintf(name, sizeof name, "embed.%d.%d", d, v + 1);
            writer_announce(&r->out, name, DTYPE_F32, COUNT(dims), dims);
        }
}

static void announce(Replay *r)
{
    char name[512];
    const AmdimModel *m = r->model;
    const AmdimTensor *t;
    announce_scalar(&r->out, "loss");
    for (int p = 0; p < m->pairs; p++) {
        snprintf(name, sizeof name, "loss.%s", m->pair[p].name);
        announce_scalar(&r->out, name);
    }
    announce_scalar(&r->out, "penalty");
    announce_embeddings(r);
    for (int i = 0; (t = next_trained(m, &i));) {
        int64_t dims[4];
        for (int j = 0; j < t->rank; j++)
            dims[j] = t->dims[j];
        snprintf(name, sizeof name, "grad.%s", t->name);
        writer_announce(&r->out, name, DTYPE_F32, t->rank, dims);
    }
}

static bool give_scalar(Replay *r, double value)
{
    float number = (float)value;
    return writer_give(&r->out, &number, sizeof number, r->fault);
}

static bool give_losses(Replay *r, const AmdimStep *step)
{
    bool ok = give_scalar(r, step->loss);
    for (int p = 0; ok && p < r->model->pairs; p++)
        ok = give_scalar(r, step->pair_loss[p]);
    return ok && give_scalar(r, step->penalty);
}

static bool give_embedding(Replay *r, int scale, const AmdimStep *step)
{
    const AmdimModel *m = r->model;
    int pixels = m->scale[scale].scale * m->scale[scale].scale;
    size_t floats = (size_t)pixels * (size_t)m->embedding_dim;
    bool ok = true;
    for (int n = 0; ok && n < m->views * m->batch; n++) {
        step_embedding(step, scale, (size_t)n * floats, floats, r->pixels);
        planes_from_pixels(r->pixels, pixels, m->embedding_dim, r->planes);
        ok = writer_give(&r->out, r->planes, floats * sizeof(float), r->fault);
    }
    return ok;
}

static bool forward_done(AmdimStep *step)
{
    Replay *r = step->taker;
    if (!company_leads(r->machine.company)) /* process 0 alone writes */
        return true;
    r->ok = give_losses(r, step);
    for (int s = 0; r->ok && s < r->model->scales; s++)
        r->ok = give_embedding(r, s, step);
    return r->ok;
}

static bool wants_embeddings(const AmdimStep *step)
{
    (void)step;
    return true;
}

static void keep_gradient(AmdimStep *step, int tensor, const float *gradient)
{
    Replay *r = step->taker;
    const AmdimTensor *t = &r->model->tensor[tensor];
    layout_outward(t, gradient, r->gradients + t->offset);
}

static bool give_gradients(Replay *r)
{
    const AmdimTensor *t;
    for (int i = 0; (t = next_trained(r->model, &i));)
        if (!writer_give(&r->out, r->gradients + t->offset, t->count * sizeof(float), r->fault))
            return false;
    return true;
}

/* ---- the command ---- */

static size_t largest_embedding(const AmdimModel *m)
{
    int side = 0;
    for (int s = 0; s < m->scales; s++)
        side = m->scale[s].scale > side ? m->scale[s].scale : side;
    return (size_t)side * (size_t)side * (size_t)m->embedding_dim;
}

static bool replay_new(Replay *r, const AmdimModel *m, int threads, Fault *f)
{
    size_t picture = (size_t)m->size * (size_t)m->size * (size_t)m->channels;
    *r = (Replay){.model = m, .fault = f};
    if (!machine_new(&r->machine, m, threads, f))
        return false;
    r->x = allocate((size_t)(m->views * m->batch) * picture * sizeof(float), "the batch", f);
    r->gradients = allocate_zero(m->trained_floats * sizeof(float), "the gradients", f);
    r->planes = allocate(largest_embedding(m) * sizeof(float), "an embedding", f);
    r->pixels = allocate(largest_embedding(m) * sizeof(float), "an embedding", f);
    r->machine.step.x = r->x;
    r->machine.step.taker = r;
    r->machine.step.take = keep_gradient;
    r->machine.step.forward_done = forward_done;
    r->machine.step.wants_embeddings = wants_embeddings;
    return r->x && r->gradients && r->planes && r->pixels;
}

static void replay_free(Replay *r)
{
    machine_free(&r->machine);
    free(r->x);
    free(r->gradients);
    free(r->planes);
    free(r->pixels);
}

static bool replay_step(Replay *r, const char *path, Fault *f)
{
    if (!company_leads(r->machine.company)) {
        machine_step(&r->machine);
        return true;
    }
    if (!writer_open(&r->out, path, f))
        return false;
    announce(r);
    machine_step(&r->machine);
    bool ok = r->ok && give_gradients(r) && (!signals_received() || fault(f, "stopped by a signal")) &&
              writer_commit(&r->out, NULL, f);
    writer_discard(&r->out);
    return ok;
}

int command_replay(const AmdimModel *m, const Options *o, Fault *f)
{
    Replay r;
    signals_watch();
    bool ok = replay_new(&r, m, o->threads, f) && weights_load(m, o->weights, r.machine.params, f) &&
              read_batch(&r, o->batch, f) && replay_step(&r, o->out, f);
    if (ok)
        say_written(o->out, "replayed a step of loss %.6f; losses, embeddings and gradients in %s",
                    r.machine.step.loss, o->out);
    replay_free(&r);
    return exit_code(ok);
}
