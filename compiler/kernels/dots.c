/* dots.c: products of maps of bfloat16 by dot products of pairs (templates/dots.h), on a target that has the
 * instruction: then whole, whatever is known of zeros. */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"vectors.h", "dots.h", NULL};

static bool pays(const Graph *g, const Op *op)
{
    (void)op;
    return g->net->spec->target.dots;
}

/* On floats' processors, too: slow there, but for tests. Pairs lie within a row of a patch. */
static bool can(const Graph *g, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    if (has_tiles(g) || !is_on_bfloat16(op))
        return false;
    switch (op->kind) {
    case OP_CONV: return op->kernel * o.x->dims[3] % 2 == 0;
    case OP_CONV_GRAD_X: return op_patches_tile(op) && o.y->dims[3] % 2 == 0;
    default: return true;
    }
}

/* Panels of pairs are half of floats'. */
static void plan_product(const Graph *g, const Op *op, Plan *p)
{
    p->parts = row_parts(map_pixels(conv_operands(op).y), PIXEL_BLOCK);
    p->arena_floats = packed_weight_floats(g, op) / 2;
}

const Kernel conv_by_dots = {"dots", templates, can, pays, plan_product, conv_call};
const Kernel conv_grad_x_by_dots = {"dots", templates, can, pays, plan_product, conv_grad_x_call};
const Kernel conv_grad_w_by_dots = {"dots", templates, can, pays, direct_plan_grad_w, direct_call_grad_w};
