/* cost.c: what operations need besides their results, and what they cost. */
#include "amdimc.h"

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t packed_floats(int depth, int columns)
{
    return (size_t)depth * round_up((size_t)columns, MAX_PANEL);
}

/* A packed matrix as vectors want it, or tiles. */
static size_t packed_floats_of(const Net *n, int depth, int columns)
{
    const size_t floats = packed_floats(depth, columns);
    return target_may_have_tiles(n->spec) ? larger(floats, tiles_packed_floats(depth, columns)) : floats;
}

/* Slices of the images suit a weight that is small, whose blocks alone would be too few parts, and maps that
 * are too large for the last cache, which would be read from memory anew for every block of the weight. */
int grad_w_slices(const Op *op)
{
    enum { SMALL = 1 << 14, MEDIUM = 1 << 18, LARGE_MAP = 4 << 20, SLICES = 8 }; /* floats */
    const Value *x = op->in[0], *dw = op->out[0];
    bool slice = value_count(dw) <= SMALL || (value_count(dw) <= MEDIUM && value_count(x) > LARGE_MAP);
    if (!slice)
        return 1;
    return x->dims[0] < SLICES ? x->dims[0] : SLICES;
}

int bias_grad_slices(const Op *op)
{
    enum { BLOCK = 240, SLICES = 8 };
    const Value *dy = op->in[0];
    const int blocks = (dy->dims[0] * dy->dims[1] * dy->dims[2] + BLOCK - 1) / BLOCK;
    return blocks < SLICES ? blocks : SLICES;
}

int scores_slices(const Net *n)
{
    return n->batch < 4 ? n->batch : 4;
}

int nce_parts(const Net *n)
{
    return n->batch < 16 ? n->batch : 16;
}

/* A packed weight of a convolution or of its gradient of x, tap by tap. */
static size_t packed_weight_floats(const Net *n, const Op *op)
{
    const Value *w = op->in[1];
    const int taps = op->kernel * op->kernel;
    if (op->kind == OP_CONV)
        return packed_floats_of(n, w->dims[0], w->dims[1]);
    return (size_t)taps * packed_floats_of(n, w->dims[1], w->dims[0] / taps);
}

/* By minimal filtering, or whole by tiles: a weight's gradient by cells in slices, each with its own. */
static size_t filtered_floats(const Net *n, const Op *op)
{
    const size_t floats = winograd_scratch_floats(op);
    if (!target_may_have_tiles(n->spec))
        return floats;
    if (op->kind != OP_CONV_GRAD_W)
        return larger(floats, packed_weight_floats(n, op));
    if (!tiles_may_have_cells(op))
        return floats;
    const int parts = winograd_grad_w_parts(op, (int)n->spec->target.threads.v), images = op->in[0]->dims[0];
    return larger(floats, (size_t)(parts < images ? parts : images) * value_count(op->out[0]));
}

size_t cost_scratch_floats(const Graph *g, const Op *op)
{
    const Net *n = g->net;
    const int views = n->views, batch = n->batch;
    if (op->blas)
        return 0;
    if (op->winograd)
        return filtered_floats(n, op);
    switch (op->kind) {
    case OP_CONV:
    case OP_CONV_GRAD_X: return packed_weight_floats(n, op);
    case OP_CONV_GRAD_W: {
        if (op->sparse)
            return (size_t)sparse_slices(op) * value_count(op->out[0]);
        int slices = grad_w_slices(op);
        return slices == 1 ? 0 : (size_t)slices * value_count(op->out[0]);
    }
    case OP_BIAS_GRAD:
        return sizeof(double) / sizeof(float) * (size_t)bias_grad_slices(op) * (size_t)op->in[0]->dims[3];
    case OP_ENCODE:
    case OP_ENCODE_GRAD: return op->chunk->arena_bytes / sizeof(float);
    case OP_SCORES: return (size_t)views * packed_floats_of(n, op->in[0]->dims[3], batch);
    case OP_SCORES_GRAD_T: return (size_t)views * packed_floats_of(n, batch, op->out[0]->dims[3]);
    case OP_SCORES_GRAD_A: return (size_t)views * scores_slices(n) * (size_t)batch * op->out[0]->dims[3];
    case OP_NCE: {
        size_t parts = (size_t)views * nce_parts(n), sources = (size_t)views * batch;
        return 2 * parts + 4 * sources + parts * 2 * (size_t)batch; /* squares; NceSource; maximum and sum */
    }
    default: return 0;
    }
}

void cost_scratch(Graph *g)
{
    for (int i = 0; i < g->ops; i++) {
        size_t floats = cost_scratch_floats(g, g->op[i]);
        if (!floats)
            continue;
        if (floats > INT32_MAX)
            bug("%s of %s needs %zu floats of scratch", op_name(g->op[i]->kind), g->op[i]->label, floats);
        g->op[i]->scratch =
            graph_value(g, VALUE_TEMPORARY, arena_printf(g->arena, "scratch_%d", i), 1, (int[]){(int)floats});
    }
}

static size_t worker_floats_of(const Graph *g);

/* Floats of scratch that a worker needs for its part of the operation, by vectors. */
static size_t vector_worker_floats(const Graph *g, const Op *op)
{
    enum { UNFOLDED = 1 << 17 }; /* as in templates/blas.h */
    if (op->kind == OP_NCE) {
        const Value *r = op->in[0];
        return (r->dims[1] / r->dims[2] + 1) * (size_t)r->dims[2]; /* a target image's scores, and one row */
    }
    if (op->winograd)
        return winograd_worker_floats(op, (int)g->net->spec->target.threads.v);
    if (op->sparse)
        return sparse_worker_floats(op);
    if (!op->blas || (op->kernel == 1 && op->stride == 1))
        return 0;
    size_t patch = (size_t)(op->kind == OP_CONV_GRAD_W ? op->out[0] : op->in[1])->dims[0];
    return patch > UNFOLDED ? patch : UNFOLDED;
}

static size_t worker_floats(const Graph *g, const Op *op)
{
    if (op->chunk)
        return worker_floats_of(op->chunk);
    const size_t floats = vector_worker_floats(g, op);
    return target_may_have_tiles(g->net->spec) && !op->blas ? larger(floats, tiles_worker_floats(g, op))
                                                            : floats;
}

static size_t worker_floats_of(const Graph *g)
{
    size_t floats = 1;
    for (int i = 0; i < g->ops; i++)
        if (worker_floats(g, g->op[i]) > floats)
            floats = worker_floats(g, g->op[i]);
    return floats;
}

size_t cost_worker_scratch(const Graph *g)
{
    return round_up(worker_floats_of(g) * sizeof(float), 64);
}

double cost_op_flop(const Op *op)
{
    const Value *x, *y;
    switch (op->kind) {
    case OP_CONV: y = op->out[0]; return 2.0 * (double)value_count(y) * op->in[1]->dims[0];
    case OP_CONV_GRAD_X: /* dy by every weight */
        return 2.0 * (double)value_count(op->in[0]) * op->in[1]->dims[0];
    case OP_CONV_GRAD_W: return 2.0 * (double)value_count(op->in[1]) * op->out[0]->dims[0];
    case OP_SCORES: x = op->in[0]; return 2.0 * (double)value_count(op->out[0]) * x->dims[3];
    case OP_SCORES_GRAD_A:
    case OP_SCORES_GRAD_T: return 2.0 * (double)value_count(op->in[0]) * op->out[0]->dims[3];
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

/* The largest tensor of files: a checkpoint is written by way of a copy in PyTorch's order. */
static size_t largest_tensor(const Params *p)
{
    size_t count = 0;
    for (int i = 0; i < p->count; i++)
        if (p->param[i]->count > count)
            count = p->param[i]->count;
    return sizeof(float) * count;
}

/* What the program holds besides what the compiler lays out, measured (docs/performance.md): code and C
 * library; a checkpoint's copy, whose freed pages the allocator does not all give back; the index of a data
 * set of 100,000 files; what draws the report; OpenBLAS with the buffers it packs into. */
static size_t program_bytes(const Params *p, bool openblas, int threads)
{
    enum { KIBIBYTE = 1 << 10, CODE = 2900 * KIBIBYTE, INDEX = 3600 * KIBIBYTE, REPORT = 256 * KIBIBYTE };
    enum { OPENBLAS = 3000 * KIBIBYTE, OPENBLAS_THREAD = 1024 * KIBIBYTE };
    return CODE + INDEX + REPORT + largest_tensor(p) / 4 * 7 +
           (openblas ? OPENBLAS + (size_t)threads * OPENBLAS_THREAD : 0);
}

PeakMemory cost_peak(const Graph *step, const Params *p, int features, Graph *const *feature, bool openblas)
{
    const Spec *s = step->net->spec;
    enum { PER_THREAD = 128 << 10 }; /* stack pages touched; a worker and a preparer of pictures each */
    const int threads = (int)s->target.threads.v;
    size_t moments = s->optimizer.sgd ? s->optimizer.momentum.v > 0 : 2;
    PeakMemory m = {
        .weights = sizeof(float) * p->floats,
        .optimizer = sizeof(float) * p->trained_floats * moments,
        .arena = step->arena_bytes,
        .pictures = 2 * step->x->bytes,
        .worker = cost_worker_scratch(step),
        .program = program_bytes(p, openblas, threads),
    };
    for (int i = 0; i < features; i++) {
        m.arena = larger(m.arena, feature[i]->arena_bytes);
        m.worker = larger(m.worker, cost_worker_scratch(feature[i]));
    }
    m.threads = (size_t)threads * (2 * PER_THREAD + m.worker);
    m.total = m.weights + m.optimizer + m.arena + m.pictures + m.threads + m.program;
    return m;
}
