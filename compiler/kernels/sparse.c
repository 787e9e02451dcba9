/* sparse.c: sparse-dense products on post-ReLU activations, and on gradients behind a ReLU's mask: they go
 * from one number that is not zero to the next (templates/sparse.h). */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"vectors.h", "sparse.h", NULL};

enum { LARGEST_SUMS = 1 << 23 }; /* floats of a weight's gradient in all its slices */

/* A ReLU's result, or a gradient behind its mask. */
static bool holds_zeros(const Graph *g, const Value *v)
{
    const Op *maker = graph_maker(g, v);
    const int mask = maker ? op_operand(maker->kind, MASK) : -1;
    return maker && (maker->relu || (mask >= 0 && maker->in[mask]));
}

/* Each: whether the operation can go by that operand, did it hold zeros. */

static bool can_conv(ConvOperands o, const Op *op)
{
    return op_is_pointwise(op) && o.x->dims[3] % DEPTH_BLOCK == 0 && o.y->dims[3] % SPARSE_COLUMNS == 0;
}

/* Patches must lie side by side: each number of dx is one sum then. */
static bool can_grad_x(ConvOperands o, const Op *op)
{
    return op->kernel == op->stride && o.x->dims[1] == o.y->dims[1] * op->stride &&
           o.y->dims[3] % DEPTH_BLOCK == 0 && o.x->dims[3] % SPARSE_COLUMNS == 0;
}

/* Rows are channels of the sparse one, columns the numbers of the other one's patches. */
static bool can_grad_w(const Value *rows, int columns)
{
    enum { LEAST_ROWS = 64 };
    return rows->dims[3] % LINE == 0 && rows->dims[3] >= LEAST_ROWS && columns % SPARSE_COLUMNS == 0;
}

static bool can_grad_w_by_x(ConvOperands o, const Op *op)
{
    return op_is_pointwise(op) && can_grad_w(o.x, o.y->dims[3]);
}

static bool can_grad_w_by_dy(ConvOperands o, const Op *op)
{
    const int run = op->kernel * o.x->dims[3];
    return run % MAX_PANEL == 0 && can_grad_w(o.y, op->kernel * run);
}

bool has_pixels_for_blocks(ConvOperands o)
{
    enum { LEAST_PIXELS = 512 };
    return map_pixels(o.y) >= LEAST_PIXELS;
}

const Value *sparse_operand(const Graph *g, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    if (!has_pixels_for_blocks(o))
        return NULL;
    switch (op->kind) {
    case OP_CONV: return can_conv(o, op) && holds_zeros(g, o.x) ? o.x : NULL;
    case OP_CONV_GRAD_X: return can_grad_x(o, op) && holds_zeros(g, o.y) ? o.y : NULL;
    default: break;
    }
    if (value_count(o.weight) > LARGEST_SUMS)
        return NULL;
    if (can_grad_w_by_x(o, op) && holds_zeros(g, o.x))
        return o.x;
    return can_grad_w_by_dy(o, op) && holds_zeros(g, o.y) ? o.y : NULL;
}

/* So many that there are PARTS parts; each is a block of pixels at least, and all their sums are not too much
 * memory. */
int sparse_slices(const Op *op, const Value *zeros)
{
    enum { PARTS = 8 };
    const ConvOperands o = conv_operands(op);
    const int parts = ceil_div(zeros->dims[3], SPARSE_ROWS),
              blocks = ceil_div((int)map_pixels(o.y), DEPTH_BLOCK),
              fit = LARGEST_SUMS / (int)value_count(o.weight);
    int slices = op->plan.asked_slices ? op->plan.asked_slices : ceil_div(PARTS, parts);
    slices = slices < blocks ? slices : blocks;
    slices = slices < fit ? slices : fit;
    return slices > 1 ? slices : 1;
}

static bool can(const Graph *g, const Op *op)
{
    return !has_tiles(g) && !is_bare(g) && sparse_operand(g, op);
}

/* Of a worker's scratch: a block's sums, and a bit for each number of the sparse one. */
static void plan_product(const Graph *g, const Op *op, Plan *p)
{
    p->zeros = sparse_operand(g, op);
    p->parts = row_parts(map_pixels(conv_operands(op).y), PIXEL_BLOCK);
    p->arena_floats = packed_weight_floats(g, op);
    p->worker_floats = SPARSE_SCRATCH((size_t)p->zeros->dims[3]);
}

static void plan_grad_w(const Graph *g, const Op *op, Plan *p)
{
    enum { ROWS = 32 }; /* of the weight, that slices are summed in */
    p->zeros = sparse_operand(g, op);
    p->slices = sparse_slices(op, p->zeros);
    p->parts = ceil_div(op->out[0]->dims[0], ROWS);
    p->arena_floats = (size_t)p->slices * value_count(op->out[0]);
    p->worker_floats = SPARSE_GRAD_W_SCRATCH;
}

static void call_grad_w(Call *c, const Op *op)
{
    const bool by_x = op->plan.zeros == op->in[CONV_GRAD_W_X];
    conv_grad_w_call(c, op);
    conv_name_slices(c, op);
    c->name = arena_printf(c->arena, "%s_by_%s", c->name, by_x ? "x" : "dy");
    call_constant(c, "%s", by_x ? "BY_X" : "BY_DY");
    call_constant(c, "%d, %d", op->plan.slices, op->plan.parts);
}

const Kernel conv_by_sparse = {"sparse", templates, can, NULL, plan_product, conv_call};
const Kernel conv_grad_x_by_sparse = {"sparse", templates, can, NULL, plan_product, conv_grad_x_call};
const Kernel conv_grad_w_by_sparse = {"sparse", templates, can, NULL, plan_grad_w, call_grad_w};
