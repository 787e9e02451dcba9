/* streamed.c: products that read a weight where it lies, a block of a panel at a time (templates/streamed.h):
 * of one picture, and for machines whose memory has no room for a packed copy of it. */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"vectors.h", "streamed.h", NULL};

static bool can(const Graph *g, const Op *op)
{
    (void)op;
    return is_library(g) && !has_tiles(g);
}

/* A packed weight is worth its making where many pixels read it. */
static bool pays(const Graph *g, const Op *op)
{
    return is_bare(g) || conv_operands(op).x->dims[0] == 1;
}

static void plan(const Graph *g, const Op *op, Plan *p)
{
    (void)op;
    p->parts = 1;
    p->worker_floats = STREAM_SCRATCH((size_t)panel_of(g));
}

static void call(Call *c, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    conv_begin(c, op, "conv");
    conv_name_tail(c, op);
    c->type = "Streamed";
    call_field(c, "x", o.x);
    call_field(c, "weight", o.weight);
    if (c->net->spec->target.weights == WEIGHTS_INT8)
        call_scale(c, o.weight);
    call_field(c, "bias", o.bias);
    call_field(c, "addend", o.addend);
    call_result(c, "y", o.y);
}

static void call_grad_x(Call *c, const Op *op)
{
    conv_grad_x_name(c, op);
    conv_grad_x_operands(c, op);
}

const Kernel conv_by_streamed = {"streamed", templates, can, pays, plan, call};
const Kernel conv_grad_x_by_streamed = {"streamed", templates, can, pays, plan, call_grad_x};
