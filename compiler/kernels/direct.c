/* direct.c: products tap by tap by the processor's vectors (templates/vectors.h), which can make every one.
 */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"vectors.h", NULL};

static void plan_conv(const Graph *g, const Op *op, Plan *p)
{
    p->parts = row_parts(map_pixels(op->out[0]), PIXEL_BLOCK);
    p->arena_floats = packed_weight_floats(g, op);
}

/* Parts of the pixels where patches do not overlap, else of the images. */
static void plan_conv_grad_x(const Graph *g, const Op *op, Plan *p)
{
    const Value *dy = op->in[CONV_GRAD_X_DY];
    p->parts = op_is_pointwise(op)
                   ? row_parts(map_pixels(dy), PIXEL_BLOCK)
                   : filled_image_parts(op, dy->dims[0], dy->dims[1] * dy->dims[2], filled_pixels);
    p->arena_floats = packed_weight_floats(g, op);
}

/* Slices of the images suit a weight that is small, whose blocks alone would be too few parts, and maps that
 * are too large for the last cache, which would be read from memory anew for every block of the weight. */
int direct_grad_w_slices(const Op *op)
{
    enum { SMALL = 1 << 14, MEDIUM = 1 << 18, LARGE_MAP = 4 << 20, SLICES = 8 }; /* floats */
    const Value *x = op->in[CONV_GRAD_W_X], *dw = op->out[0];
    const bool slice = value_count(dw) <= SMALL || (value_count(dw) <= MEDIUM && value_count(x) > LARGE_MAP);
    const int slices = op->plan.asked_slices ? op->plan.asked_slices : slice ? SLICES : 1;
    return x->dims[0] < slices ? x->dims[0] : slices;
}

void direct_plan_grad_w(const Graph *g, const Op *op, Plan *p)
{
    enum { LEAST = 2 }; /* a program may be run with more threads than it is planned for */
    const int threads = (int)g->net->spec->target.threads.v;
    p->parts = threads < LEAST ? LEAST : threads;
    p->slices = is_library(g) ? 1 : direct_grad_w_slices(op); /* for one thread, slices are only memory */
    p->worker_floats = grad_w_scratch(g);
    p->arena_floats = p->slices > 1 ? (size_t)p->slices * value_count(op->out[0]) : 0;
}

void direct_call_grad_w(Call *c, const Op *op)
{
    conv_grad_w_call(c, op);
    conv_name_slices(c, op);
    if (op->plan.slices == 1) {
        call_constant(c, "%d", op->plan.parts);
        return;
    }
    c->macro = arena_printf(c->arena, "%s_sliced", c->macro);
    call_constant(c, "%d", op->plan.slices);
}

const Kernel conv_by_direct = {"direct", templates, by_vectors, NULL, plan_conv, conv_call};
const Kernel conv_grad_x_by_direct = {"direct", templates,        by_vectors,
                                      NULL,     plan_conv_grad_x, conv_grad_x_call};
const Kernel conv_grad_w_by_direct = {"direct", templates,          by_vectors,
                                      NULL,     direct_plan_grad_w, direct_call_grad_w};
