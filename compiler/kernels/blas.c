/* blas.c: products that OpenBLAS makes (templates/blas.h), each part one call on one thread. */
#include "blocks.h"
#include "kernel.h"
#include <string.h>

static const char *const templates[] = {"blas.h", NULL};

static bool can(const Graph *g, const Op *op)
{
    (void)op;
    return !strcmp(g->net->spec->target.blas.v, "openblas");
}

/* Our kernels lead wherever they were measured but on plain products by a weight that no L2 holds a panel of,
 * unless they skip zeros; there OpenBLAS's blocking pays (docs/performance-notebook.md has the table). Few
 * rows are blocked.c's, where vectors make products: each part here would pack the whole weight. */
static bool pays(const Graph *g, const Op *op)
{
    enum { LARGE = 1 << 21 }; /* numbers of the weight */
    const ConvOperands o = conv_operands(op);
    const bool repacks = op->kind != OP_CONV_GRAD_W && !has_tiles(g) && has_few_rows((int)map_pixels(o.y));
    return op_is_pointwise(op) && value_count(o.weight) >= LARGE && !repacks && !sparse_operand(g, op);
}

/* What a worker unfolds patches into, a block of them at a time. */
static size_t unfolded_floats(const Op *op)
{
    const size_t patch = (size_t)conv_operands(op).weight->dims[0];
    if (op_is_pointwise(op))
        return 0;
    return patch > UNFOLDED ? patch : UNFOLDED;
}

static void plan_conv(const Graph *g, const Op *op, Plan *p)
{
    (void)g;
    p->parts = row_parts(map_pixels(op->out[0]), PIXEL_BLOCK);
    p->worker_floats = unfolded_floats(op);
}

static void plan_conv_grad_x(const Graph *g, const Op *op, Plan *p)
{
    (void)g;
    const Value *dy = op->in[CONV_GRAD_X_DY];
    p->parts = filled_image_parts(op, dy->dims[0], dy->dims[1] * dy->dims[2], filled_pixels);
    p->worker_floats = unfolded_floats(op);
}

static void plan_conv_grad_w(const Graph *g, const Op *op, Plan *p)
{
    enum { ROWS = 64 }; /* of the weight, in a part */
    (void)g;
    p->parts = ceil_div(op->out[0]->dims[0], ROWS);
    p->worker_floats = unfolded_floats(op);
}

static void call_grad_w(Call *c, const Op *op)
{
    conv_grad_w_call(c, op);
    call_constant(c, "%d", op->plan.parts);
}

const Kernel conv_by_blas = {"openblas", templates, can, pays, plan_conv, conv_call};
const Kernel conv_grad_x_by_blas = {"openblas", templates, can, pays, plan_conv_grad_x, conv_grad_x_call};
const Kernel conv_grad_w_by_blas = {"openblas", templates, can, pays, plan_conv_grad_w, call_grad_w};
