/* batchnorm.c: batch normalisation, its gradient, and with running statistics (templates/batchnorm.h). */
#include "kernel.h"

/* Parts of one view each, where there are some: twice as many parts, which matters where channels are few. A
 * library is one thread, and memory is short. */
static void plan(const Graph *g, const Op *op, Plan *p)
{
    const Value *all = op->kind == OP_BATCHNORM ? op->in[BATCHNORM_ALL] : op->in[BATCHNORM_GRAD_ALL];
    const size_t floats_of_double = sizeof(double) / sizeof(float);
    if (!is_library(g) && !all && g->net->views > 1)
        p->arena_floats = floats_of_double * 2 * (size_t)g->net->views * (size_t)op->out[0]->dims[3];
}

static void call_by_view(Call *c, const Op *op)
{
    if (!op->scratch)
        return;
    c->macro = arena_printf(c->arena, "%s_by_view", c->macro);
    call_scratch(c, "partial", op);
}

/* "batchnorm_512_at_5": views are apart, but for running statistics. */
static void begin(Call *c, const Value *x, bool views, const char *tail)
{
    const int apart = views ? c->net->views : 1;
    c->name = arena_printf(c->arena, "%s_%d_at_%d%s%s", c->macro, x->dims[3], x->dims[1], call_images(c, x),
                           tail ? "_relu" : "");
    c->shape = call_map(c, x);
    if (views)
        call_constant(c, "VIEWS");
    call_constant(c, "%d, %d", (int)map_pixels(x) / apart, x->dims[3]);
    call_tail(c, tail, NULL, NULL);
}

static void call_batchnorm(Call *c, const Op *op)
{
    if (op->in[BATCHNORM_ALL]) {
        call_batchnorm_share(c, op);
        return;
    }
    c->type = "Batchnorm";
    c->moves = true;
    begin(c, op->in[BATCHNORM_X], true, op->relu ? "TAIL_RELU" : NULL);
    call_field(c, "x", op->in[BATCHNORM_X]);
    call_field(c, "weight", op->in[BATCHNORM_WEIGHT]);
    call_field(c, "bias", op->in[BATCHNORM_BIAS]);
    call_field(c, "running_mean", op->in[BATCHNORM_RUNNING_MEAN]);
    call_field(c, "running_var", op->in[BATCHNORM_RUNNING_VAR]);
    call_result(c, "y", op->out[0]);
    call_field(c, "statistics", op->out[1]);
    call_by_view(c, op);
}

static void call_normalize(Call *c, const Op *op)
{
    c->type = "Normalize";
    begin(c, op->in[NORMALIZE_X], false, op->relu ? "TAIL_RELU" : NULL);
    call_field(c, "x", op->in[NORMALIZE_X]);
    call_field(c, "weight", op->in[NORMALIZE_WEIGHT]);
    call_field(c, "bias", op->in[NORMALIZE_BIAS]);
    call_field(c, "running_mean", op->in[NORMALIZE_RUNNING_MEAN]);
    call_field(c, "running_var", op->in[NORMALIZE_RUNNING_VAR]);
    call_result(c, "y", op->out[0]);
}

static void call_batchnorm_grad(Call *c, const Op *op)
{
    const Value *y = op->in[BATCHNORM_GRAD_Y];
    if (op->in[BATCHNORM_GRAD_ALL]) {
        call_batchnorm_grad_share(c, op);
        return;
    }
    c->type = "BatchnormGrad";
    begin(c, op->in[BATCHNORM_GRAD_X], true, y ? "TAIL_MASK" : NULL);
    call_field(c, "dy", op->in[BATCHNORM_GRAD_DY]);
    call_field(c, "x", op->in[BATCHNORM_GRAD_X]);
    call_field(c, "weight", op->in[BATCHNORM_GRAD_WEIGHT]);
    call_field(c, "statistics", op->in[BATCHNORM_GRAD_STATISTICS]);
    call_field(c, "mask", y);
    call_result(c, "dx", op->out[0]);
    call_field(c, "dweight", op->out[1]);
    call_field(c, "dbias", op->out[2]);
    call_by_view(c, op);
}

const Kernel batchnorm_by_direct = {"direct", NULL, NULL, NULL, plan, call_batchnorm};
const Kernel batchnorm_grad_by_direct = {"direct", NULL, NULL, NULL, plan, call_batchnorm_grad};
const Kernel normalize_by_direct = {"direct", NULL, NULL, NULL, NULL, call_normalize};
