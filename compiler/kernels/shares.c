/* shares.c: what a share of the batch makes between meeting the others (templates/shares.h): batch
 * normalisation in two, and a pair's NCE in four. */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"shares.h", NULL};

/* ---- batch normalisation ---- */

/* "batchnorm_share_512_at_5"; `relu` where one follows. */
static void begin(Call *c, const char *macro, const Value *x, const char *relu)
{
    c->macro = macro;
    c->name = arena_printf(c->arena, "%s_%d_at_%d%s", macro, x->dims[3], x->dims[1], relu ? "_relu" : "");
    c->shape = call_map(c, x);
    call_constant(c, "VIEWS, %d, %d", (int)map_pixels(x) / c->net->views, x->dims[3]);
}

static void call_sums(Call *c, const Op *op)
{
    c->type = "BatchnormSums";
    begin(c, "batchnorm_sums", op->in[BATCHNORM_SUMS_X], NULL);
    call_field(c, "x", op->in[BATCHNORM_SUMS_X]);
    call_result(c, "sums", op->out[0]);
}

void call_batchnorm_share(Call *c, const Op *op)
{
    const char *relu = op->relu ? "TAIL_RELU" : NULL;
    c->type = "BatchnormShare";
    c->moves = true;
    begin(c, "batchnorm_share", op->in[BATCHNORM_X], relu);
    call_constant(c, "SHARES");
    call_tail(c, relu, NULL, NULL);
    call_field(c, "of.x", op->in[BATCHNORM_X]);
    call_field(c, "of.weight", op->in[BATCHNORM_WEIGHT]);
    call_field(c, "of.bias", op->in[BATCHNORM_BIAS]);
    call_field(c, "of.running_mean", op->in[BATCHNORM_RUNNING_MEAN]);
    call_field(c, "of.running_var", op->in[BATCHNORM_RUNNING_VAR]);
    call_result(c, "of.y", op->out[0]);
    call_field(c, "of.statistics", op->out[1]);
    call_field(c, "all", op->in[BATCHNORM_ALL]);
    call_moves(c);
    call_result(c, "y", op->out[0]);
}

static void call_grad_sums(Call *c, const Op *op)
{
    const char *relu = op->in[BATCHNORM_GRAD_SUMS_Y] ? "TAIL_MASK" : NULL;
    c->type = "BatchnormGradSums";
    begin(c, "batchnorm_grad_sums", op->in[BATCHNORM_GRAD_SUMS_X], relu);
    call_tail(c, relu, NULL, NULL);
    call_field(c, "of.dy", op->in[BATCHNORM_GRAD_SUMS_DY]);
    call_field(c, "of.x", op->in[BATCHNORM_GRAD_SUMS_X]);
    call_field(c, "of.statistics", op->in[BATCHNORM_GRAD_SUMS_STATISTICS]);
    call_field(c, "of.mask", op->in[BATCHNORM_GRAD_SUMS_Y]);
    call_result(c, "sums", op->out[0]);
}

void call_batchnorm_grad_share(Call *c, const Op *op)
{
    const char *relu = op->in[BATCHNORM_GRAD_Y] ? "TAIL_MASK" : NULL;
    c->type = "BatchnormGradShare";
    begin(c, "batchnorm_grad_share", op->in[BATCHNORM_GRAD_X], relu);
    call_constant(c, "SHARES");
    call_tail(c, relu, NULL, NULL);
    call_field(c, "of.dy", op->in[BATCHNORM_GRAD_DY]);
    call_field(c, "of.x", op->in[BATCHNORM_GRAD_X]);
    call_field(c, "of.weight", op->in[BATCHNORM_GRAD_WEIGHT]);
    call_field(c, "of.statistics", op->in[BATCHNORM_GRAD_STATISTICS]);
    call_field(c, "of.mask", op->in[BATCHNORM_GRAD_Y]);
    call_result(c, "of.dx", op->out[0]);
    call_field(c, "of.dweight", op->out[1]);
    call_field(c, "of.dbias", op->out[2]);
    call_field(c, "sums", op->in[BATCHNORM_GRAD_SUMS]);
    call_field(c, "all", op->in[BATCHNORM_GRAD_ALL]);
    call_result(c, "dx", op->out[0]);
}

const Kernel batchnorm_sums_by_direct = {"direct", templates, NULL, NULL, NULL, call_sums};
const Kernel batchnorm_grad_sums_by_direct = {"direct", templates, NULL, NULL, NULL, call_grad_sums};

/* ---- pairs ---- */

static int components_of(const Op *op)
{
    return op->pair->components ? op->pair->components : 1;
}

/* What its parts leave to each other: a sum of squares, two numbers for each source image. */
static void plan_sums(const Graph *g, const Op *op, Plan *p)
{
    const Net *n = g->net;
    p->parts = n->share < NCE_MOST_PARTS ? n->share : NCE_MOST_PARTS;
    const size_t parts = (size_t)n->views * (size_t)p->parts;
    p->arena_floats = parts * (NCE_SQUARE_BYTES / sizeof(float) + NCE_SUMS * (size_t)n->batch);
    p->worker_floats =
        ((size_t)net_positions(op->pair->to) + 1) * (size_t)n->batch; /* a target image's scores, a row */
}

static void plan_nce(const Graph *g, const Op *op, Plan *p)
{
    p->parts = image_parts(g->net->share, (size_t)components_of(op) * (size_t)net_positions(op->pair->to));
    p->arena_floats = (size_t)g->net->images * NCE_SOURCE_BYTES / sizeof(float);
}

/* A target image's statistics, gathered from the marks. */
static void plan_grad(const Graph *g, const Op *op, Plan *p)
{
    p->worker_floats = ((size_t)net_positions(op->pair->to) + 2) * (size_t)g->net->batch;
}

static void begin_pair(Call *c, const Op *op)
{
    const Net *n = c->net;
    const int positions = net_positions(op->pair->to), components = components_of(op);
    const double view = 1.0 / n->views, batch = n->batch;
    c->type = "ShareNce";
    c->name = arena_printf(c->arena, "%s_%d_to_%d", c->macro, op->pair->from->scale, op->pair->to->scale);
    c->shape = arena_printf(c->arena, "%dx%d scores a direction", n->share * positions, n->batch);
    call_constant(c, "VIEWS, BATCH, SHARE, SHARES, %d, %d", positions, components);
    call_float(c, op->pair->components ? n->spec->embedding.mixture.temperature.v : 1);
    call_float(c, n->spec->loss.clip.v);
    call_float(c, op->pair->spec->weight.v * view / (batch * positions));
    call_float(c, 2 * n->spec->loss.penalty.v * view / (batch * batch * positions * components));
    call_constant(c, "%d", op->plan.parts);
}

static void call_share_sums(Call *c, const Op *op)
{
    begin_pair(c, op);
    call_share(c);
    if (op->pair->components)
        call_number(c, "component", op->component);
    call_field(c, "r", op->in[SHARE_SUMS_R]);
    call_field(c, "sums", op->in[SHARE_SUMS_SUMS]);
    call_field(c, "positives", op->in[SHARE_SUMS_POSITIVES]);
    call_scratch(c, "scratch", op);
}

static void call_share_nce(Call *c, const Op *op)
{
    begin_pair(c, op);
    call_share(c);
    call_field(c, "sums", op->in[SHARE_NCE_SUMS]);
    call_field(c, "positives", op->in[SHARE_NCE_POSITIVES]);
    call_field(c, "all", op->in[SHARE_NCE_ALL]);
    call_result(c, "marks", op->out[0]);
    call_field(c, "slope", op->out[1]);
    call_scratch(c, "scratch", op);
}

static void call_share_result(Call *c, const Op *op)
{
    begin_pair(c, op);
    call_field(c, "all", op->in[SHARE_RESULT_ALL]);
    call_result(c, "result", op->out[0]);
}

static void call_share_grad(Call *c, const Op *op)
{
    begin_pair(c, op);
    call_share(c);
    if (op->pair->components)
        call_number(c, "component", op->component);
    call_field(c, "r", op->in[SHARE_NCE_GRAD_R]);
    call_field(c, "all", op->in[SHARE_NCE_GRAD_ALL]);
    call_field(c, "slope", op->in[SHARE_NCE_GRAD_SLOPE]);
    call_result(c, "dr", op->out[0]);
}

const Kernel share_sums_by_direct = {"direct", templates, NULL, NULL, plan_sums, call_share_sums};
const Kernel share_nce_by_direct = {"direct", templates, NULL, NULL, plan_nce, call_share_nce};
const Kernel share_result_by_direct = {"direct", templates, NULL, NULL, NULL, call_share_result};
const Kernel share_nce_grad_by_direct = {"direct", templates, NULL, NULL, plan_grad, call_share_grad};
