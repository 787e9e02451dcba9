/* masked.c: gradients of x of which only what a ReLU's mask keeps is made, as dot products
 * (templates/masked.h). */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"vectors.h", "masked.h", NULL};

static bool can(const Graph *g, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    return !has_tiles(g) && !is_bare(g) && op_is_pointwise(op) && o.mask && !o.addend &&
           o.y->dims[3] % DEPTH_BLOCK == 0 && o.x->dims[3] % SPARSE_COLUMNS == 0;
}

static bool pays(const Graph *g, const Op *op)
{
    (void)g;
    return has_pixels_for_blocks(conv_operands(op));
}

/* Of a worker's scratch: a block's sums, and a bit for each number of the mask. */
static void plan(const Graph *g, const Op *op, Plan *p)
{
    p->zeros = op->in[CONV_GRAD_X_MASK];
    p->parts = row_parts(map_pixels(op->in[CONV_GRAD_X_DY]), PIXEL_BLOCK);
    p->arena_floats = packed_weight_floats(g, op);
    p->worker_floats = MASKED_SCRATCH((size_t)p->zeros->dims[3]);
}

/* The mask goes without saying. */
static void call(Call *c, const Op *op)
{
    conv_begin(c, op, "grad_x");
    conv_grad_x_fields(c, op);
}

const Kernel conv_grad_x_by_masked = {"masked", templates, can, pays, plan, call};
