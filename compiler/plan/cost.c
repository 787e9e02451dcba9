/* cost.c: what operations need besides their results, and what they cost. */
#include "amdimc.h"
#include "blocks.h"

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t ceil_divided(size_t n, size_t by)
{
    return (n + by - 1) / by;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

void cost_scratch(Graph *g)
{
    for (int i = 0; i < g->ops; i++) {
        const size_t floats = g->op[i]->plan.arena_floats;
        if (!floats)
            continue;
        Value *scratch = graph_value(g, VALUE_TEMPORARY, arena_printf(g->arena, "scratch_%d", i), 0, NULL);
        scratch->bytes = floats * sizeof(float); /* of a large chunk more than a dimension counts */
        g->op[i]->scratch = scratch;
    }
}

static size_t worker_floats(const Graph *g)
{
    size_t most = 1;
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        most = larger(most, op->chunk ? worker_floats(op->chunk) : op->plan.worker_floats);
    }
    return most;
}

size_t cost_worker_scratch(const Graph *g)
{
    return round_up(worker_floats(g) * sizeof(float), 64);
}

double cost_op_flop(const Op *op)
{
    switch (op->kind) {
    case OP_CONV: return 2.0 * (double)value_count(op->out[0]) * op->in[CONV_WEIGHT]->dims[0];
    case OP_CONV_GRAD_X:
        return 2.0 * (double)value_count(op->in[CONV_GRAD_X_DY]) * op->in[CONV_GRAD_X_WEIGHT]->dims[0];
    case OP_CONV_GRAD_W: return 2.0 * (double)value_count(op->in[CONV_GRAD_W_DY]) * op->out[0]->dims[0];
    case OP_SCORES: return 2.0 * (double)value_count(op->out[0]) * op->in[SCORES_A]->dims[3];
    case OP_SCORES_GRAD_A: return 2.0 * (double)value_count(op->in[SCORES_GRAD_A_DR]) * op->out[0]->dims[3];
    case OP_SCORES_GRAD_T: return 2.0 * (double)value_count(op->in[SCORES_GRAD_T_DR]) * op->out[0]->dims[3];
    default: return 0;
    }
}

static double flop_of(const Graph *g, bool again)
{
    double flop = 0;
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        if (op->chunk)
            flop += op->chunks * flop_of(op->chunk, again);
        else if (again || !op->again)
            flop += cost_op_flop(op);
    }
    return flop;
}

double cost_step_flop(const Graph *step)
{
    return flop_of(step, false);
}

double cost_run_flop(const Graph *step)
{
    return flop_of(step, true);
}

double cost_batch_flop(const Graph *step)
{
    return step->net->shares * flop_of(step, false);
}

enum { KIBIBYTE = 1 << 10 };

/* The largest tensor of files: a checkpoint is written by way of a copy in PyTorch's order. */
static size_t largest_tensor(const Params *p)
{
    size_t count = 0;
    for (int i = 0; i < p->count; i++)
        if (p->param[i]->count > count)
            count = p->param[i]->count;
    return sizeof(float) * count;
}

static size_t moments_of(const Spec *s)
{
    return s->optimizer.sgd ? s->optimizer.momentum.v > 0 : 2;
}

/* Of very many layers, beyond what CODE has room for: the code of each operation, and what a checkpoint says
 * of each tensor and its moments, as text and taken apart, when a run goes on. */
static size_t many_layers_bytes(const Graph *step, const Params *p)
{
    enum { COVERED = 512, OPERATION = 300, ENTRY = 160 }; /* bytes each; measured */
    size_t ops = 0, entries = 0;
    for (int i = 0; i < step->ops; i++)
        ops += 1 + (step->op[i]->chunk ? (size_t)step->op[i]->chunk->ops : 0);
    for (int i = 0; i < p->count; i++)
        entries += 1 + (p->param[i]->trained ? moments_of(step->net->spec) : 0);
    return (ops > COVERED ? ops - COVERED : 0) * OPERATION +
           (entries > COVERED ? entries - COVERED : 0) * ENTRY;
}

/* What the program holds besides what the compiler lays out, measured (docs/performance-notebook.md): code
 * and C library, of which a static program has only what it calls; a checkpoint's copy of a tensor; what
 * draws the report; OpenBLAS with the buffers it packs into. */
static size_t program_bytes(const Graph *step, const Params *p, bool openblas, int threads)
{
    enum { CODE = 3200 * KIBIBYTE, STATIC_CODE = 1600 * KIBIBYTE, REPORT = 256 * KIBIBYTE };
    enum { OPENBLAS = 3000 * KIBIBYTE, OPENBLAS_THREAD = 1024 * KIBIBYTE };
    return (step->net->spec->target.is_static ? STATIC_CODE : CODE) + REPORT + largest_tensor(p) +
           many_layers_bytes(step, p) + (openblas ? OPENBLAS + (size_t)threads * OPENBLAS_THREAD : 0);
}

/* How many buckets of gradients have room at once: those that fill while tensors come in the order of the
 * backward pass, which may be many, and a few on their way. */
int cost_buckets(const Graph *step, const Params *p)
{
    enum { ON_THEIR_WAY = 4 };
    const size_t all = ceil_divided(p->trained_floats, SHARE_BUCKET);
    size_t *missing = ARENA_ARRAY(step->arena, size_t, all ? all : 1);
    bool *open = ARENA_ARRAY(step->arena, bool, all ? all : 1);
    int filling = 0, most = 0;
    for (int i = 0; i < p->count; i++)
        if (p->param[i]->trained)
            for (size_t at = p->param[i]->offset, end = at + p->param[i]->count, next; at < end; at = next) {
                next = (at / SHARE_BUCKET + 1) * SHARE_BUCKET;
                next = next < end ? next : end;
                missing[at / SHARE_BUCKET] += next - at;
            }
    for (int i = 0; i < step->ops; i++) {
        if (step->op[i]->kind != OP_TAKE)
            continue;
        const Param *taken = step->op[i]->in[TAKE_PARAM]->param;
        for (size_t at = taken->offset, end = at + taken->count, next; at < end; at = next) {
            const size_t bucket = at / SHARE_BUCKET;
            next = (bucket + 1) * SHARE_BUCKET;
            next = next < end ? next : end;
            filling += !open[bucket];
            open[bucket] = true;
            most = filling > most ? filling : most;
            missing[bucket] -= next - at;
            filling -= !missing[bucket];
        }
    }
    return (size_t)(most + ON_THEIR_WAY) < all ? most + ON_THEIR_WAY : (int)(all ? all : 1);
}

/* Of a process that holds one share of several: what it gives and gets in a meeting, buckets of gradients on
 * their way (runtime/shares/gradients.c: given, of each share, summed, of all processes), a tensor's moments
 * on their way to a checkpoint; and MPI, measured (docs/cluster.md). */
static size_t meetings_bytes(const Graph *step, const Params *p)
{
    enum { MPI = 12 << 20 };
    const size_t shares = (size_t)step->net->shares;
    if (shares == 1)
        return 0;
    size_t largest = 0;
    for (int i = 0; i < step->ops; i++) {
        const Op *op = step->op[i];
        if (op->kind == OP_ALL_GATHER)
            largest = larger(largest, op->in[ALL_GATHER_X]->bytes * (shares + 1));
        else if (op->kind == OP_REDUCE_SCATTER)
            largest = larger(largest, 2 * op->in[REDUCE_SCATTER_X]->bytes);
    }
    const size_t floats = p->trained_floats < SHARE_BUCKET ? p->trained_floats : SHARE_BUCKET,
                 bucket = sizeof(float) * floats,
                 rooms = (size_t)cost_buckets(step, p) * (3 * bucket + bucket / shares);
    return largest + rooms + largest_tensor(p) + MPI;
}

/* The index of a data set of 100,000 files takes what is set aside for it; what a smaller one leaves is for
 * pictures while they are decoded, besides a share of the whole that grows with it: a program of a few
 * hundred MiB decodes what is kept whole (progressive JPEG, interlaced PNG) of a few megapixels. More than
 * that would be promised and, with the usual pictures, not used. */
static void add_data(PeakMemory *m)
{
    enum { INDEX = 3300 * KIBIBYTE, LEAST = 192 * KIBIBYTE, SHARE = 32 };
    m->decoding = LEAST + m->total / SHARE;
    m->data = INDEX + m->decoding;
    m->total += m->data;
}

/* A Gaussian's weights, and a row with what is mirrored beside it (runtime/portable/views.c). */
static size_t blur_bytes(const Spec *s)
{
    if (!s->augment.blur.on)
        return 0;
    const size_t radius = (size_t)blur_radius(s), channels = (size_t)s->input.channels.v;
    return (radius + 1 + ((size_t)s->input.size.v + 2 * radius) * channels) * sizeof(float);
}

/* What a preparer of pictures holds for them, with a view before its blur. */
static size_t blur_room(const Spec *s)
{
    const size_t side = (size_t)s->input.size.v,
                 view = side * side * (size_t)s->input.channels.v * sizeof(float);
    return s->augment.blur.on ? blur_bytes(s) + view : 0;
}

/* What making a view takes of the arena (library/emit_views.c): a row, a view before its translation or blur,
 * and what resizes a crop, which never shrinks: five pixels make one. */
static size_t view_bytes(const Spec *s)
{
    enum { TAPS = 5, SLACK = 512 };
    const size_t side = (size_t)s->input.size.v, row = side * (size_t)s->input.channels.v;
    const size_t crop =
        s->augment.crop.on
            ? side * (TAPS * sizeof(float) + sizeof(double) + 4 * sizeof(int)) + 2 * row * sizeof(float)
            : 0;
    const bool kept = s->augment.translate.on || s->augment.blur.on;
    return crop + (kept ? side * row * sizeof(float) : 0) + blur_bytes(s) + SLACK;
}

/* Each member of the work memory begins at a multiple of 64 (library/model.c.tmpl). */
LibraryMemory cost_library(const Graph *step, const Graph *encode, const Params *p)
{
    enum { ALIGNMENT = 64 };
    const Net *n = step->net;
    const size_t running = p->floats - p->trained_floats, locations = (size_t)n->located * (size_t)n->images,
                 kept = sizeof(float) * ((running ? running : 1) + (locations ? locations : 1));
    LibraryMemory m = {
        .params = sizeof(float) * p->floats,
        .state = sizeof(float) * p->trained_floats * moments_of(n->spec),
        .arena = round_up(larger(step->arena_bytes, view_bytes(n->spec)), ALIGNMENT),
        .scratch = cost_worker_scratch(step),
        .encode_arena = encode->arena_bytes,
        .encode_scratch = cost_worker_scratch(encode),
    };
    m.train = round_up(step->x->bytes, ALIGNMENT) + round_up(kept, ALIGNMENT) + m.arena + m.scratch;
    m.encode = round_up(encode->x->bytes, ALIGNMENT) + m.encode_arena + m.encode_scratch;
    m.total = m.params + m.state + larger(m.train, m.encode);
    return m;
}

PeakMemory cost_library_parts(const LibraryMemory *m)
{
    return (PeakMemory){.weights = m->params,
                        .optimizer = m->state,
                        .arena = m->arena,
                        .pictures = m->train - m->arena - m->scratch,
                        .threads = m->scratch,
                        .worker = m->scratch,
                        .total = m->total};
}

PeakMemory cost_peak(const Graph *step, const Graph *encode, const Params *p, bool openblas)
{
    const Spec *s = step->net->spec;
    enum { PER_THREAD = 48 << 10 }; /* of its stacks each: a worker's, and that of a preparer of pictures */
    const int threads = (int)s->target.threads.v;
    PeakMemory m = {
        .weights =
            sizeof(float) * (2 * p->floats - p->trained_floats), /* running statistics are kept twice */
        .optimizer = sizeof(float) * p->trained_floats * moments_of(s) / (size_t)step->net->shares,
        .arena = larger(step->arena_bytes, encode->arena_bytes),
        .pictures = 2 * step->x->bytes,
        .worker = larger(cost_worker_scratch(step), cost_worker_scratch(encode)),
        .program = program_bytes(step, p, openblas, threads),
        .meetings = meetings_bytes(step, p),
    };
    const size_t own = 2 * PER_THREAD + m.worker + blur_room(s);
    m.threads = (size_t)threads * own;
    m.each_thread = own + program_bytes(step, p, openblas, threads + 1) - m.program;
    m.total = m.weights + m.optimizer + m.arena + m.pictures + m.threads + m.program + m.meetings;
    add_data(&m);
    return m;
}
