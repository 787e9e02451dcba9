/* pairs.c: the raw scores of a pair, its NCE, and their gradients (templates/scores.h, nce.h). Scores are
 * products of the embeddings, by vectors or by matrix tiles as the target has them. */
#include "blocks.h"
#include "kernel.h"

/* ---- scores ---- */

static const char *const templates[] = {"vectors.h", NULL}, *const tile_templates[] = {"tiles.h",
                                                                                       "tile_sums.h", NULL};

static int dim_of(const Net *n)
{
    return (int)n->spec->embedding.dim.v;
}

static const char *scores_shape(const Call *c, const Op *op)
{
    const char *whose = op->pair->components ? arena_printf(c->arena, "component %d, ", op->component) : "";
    return arena_printf(c->arena, "%s%dx%d scores a direction", whose,
                        c->net->share * net_positions(op->pair->to), c->net->batch);
}

/* Parts of a direction's target images. */
static int target_parts(const Net *n, const Op *op)
{
    return image_parts(n->share, (size_t)net_positions(op->pair->to) * (size_t)dim_of(n));
}

/* Rows of consequents of bfloat16, as floats. */
static size_t rows_floats(const Net *n)
{
    return activation_number(n->spec) == NUMBER_BFLOAT16 ? (size_t)SCORES_ROWS * (size_t)dim_of(n) : 0;
}

/* A view's antecedents, packed as the right factor. */
static void plan_scores(const Graph *g, const Op *op, Plan *p)
{
    const Net *n = g->net;
    p->parts = target_parts(n, op);
    p->arena_floats = (size_t)n->views * packed_floats(g, dim_of(n), n->batch);
    p->worker_floats = has_tiles(g) ? tiles_product_floats(g, dim_of(n), n->batch) : rows_floats(n);
}

static void plan_scores_grad_t(const Graph *g, const Op *op, Plan *p)
{
    const Net *n = g->net;
    p->parts = target_parts(n, op);
    p->arena_floats = (size_t)n->views * packed_floats(g, n->batch, dim_of(n));
    p->worker_floats = has_tiles(g) ? tiles_product_floats(g, n->batch, dim_of(n)) : rows_floats(n);
}

/* Sums over a direction's target images: over slices of them first. */
static void plan_scores_grad_a(const Graph *g, const Op *op, Plan *p)
{
    enum { SLICES = 4 };
    const Net *n = g->net;
    (void)op;
    p->slices = is_library(g) ? 1 : n->share < SLICES ? n->share : SLICES;
    p->arena_floats = (size_t)n->views * p->slices * (size_t)n->batch * dim_of(n);
    p->worker_floats = has_tiles(g) ? tiles_sum_floats(g, n->batch, dim_of(n)) : grad_w_scratch(g);
}

static void begin_scores(Call *c, const Op *op, const Value *addend)
{
    c->type = "Scores";
    c->name = arena_printf(c->arena, "%s_at_%d%s", c->macro, op->pair->to->scale, addend ? "_add" : "");
    c->shape = scores_shape(c, op);
    call_constant(c, "VIEWS, BATCH, %s, %d, DIM", c->net->shares > 1 ? "SHARE" : "BATCH",
                  op->pair->to->scale);
    if (op->kind != OP_SCORES)
        call_tail(c, addend ? "TAIL_ADD" : NULL, NULL, NULL);
}

static void call_scores(Call *c, const Op *op)
{
    begin_scores(c, op, NULL);
    call_constant(c, "%d", op->plan.parts);
    call_field(c, "a", op->in[SCORES_A]);
    call_field(c, "t", op->in[SCORES_T]);
    call_result(c, "r", op->out[0]);
    call_scratch(c, "packed", op);
}

static void call_scores_grad_a(Call *c, const Op *op)
{
    begin_scores(c, op, op->in[SCORES_GRAD_A_ADDEND]);
    call_constant(c, "%d", op->plan.slices);
    call_field(c, "r", op->in[SCORES_GRAD_A_DR]);
    call_field(c, "t", op->in[SCORES_GRAD_A_T]);
    call_field(c, "addend", op->in[SCORES_GRAD_A_ADDEND]);
    call_result(c, "da", op->out[0]);
    call_scratch(c, "packed", op);
}

static void call_scores_grad_t(Call *c, const Op *op)
{
    begin_scores(c, op, op->in[SCORES_GRAD_T_ADDEND]);
    call_constant(c, "%d", op->plan.parts);
    call_field(c, "r", op->in[SCORES_GRAD_T_DR]);
    c->type = "ScoresGradT";
    call_field(c, "a", op->in[SCORES_GRAD_T_A]);
    call_field(c, "dt_addend", op->in[SCORES_GRAD_T_ADDEND]);
    call_result(c, "dt", op->out[0]);
    call_scratch(c, "packed", op);
}

const Kernel scores_by_tiles = {"tiles", tile_templates, by_tiles, NULL, plan_scores, call_scores};
const Kernel scores_grad_a_by_tiles = {"tiles", tile_templates,     by_tiles,
                                       NULL,    plan_scores_grad_a, call_scores_grad_a};
const Kernel scores_grad_t_by_tiles = {"tiles", tile_templates,     by_tiles,
                                       NULL,    plan_scores_grad_t, call_scores_grad_t};
const Kernel scores_by_direct = {"direct", templates, by_vectors, NULL, plan_scores, call_scores};
const Kernel scores_grad_a_by_direct = {"direct", templates,          by_vectors,
                                        NULL,     plan_scores_grad_a, call_scores_grad_a};
const Kernel scores_grad_t_by_direct = {"direct", templates,          by_vectors,
                                        NULL,     plan_scores_grad_t, call_scores_grad_t};

/* ---- NCE ---- */

/* What its parts leave to each other (templates/nce.h): a sum of squares, two numbers for each source image;
 * and behind them what each source image comes to. */
static void plan_nce(const Graph *g, const Op *op, Plan *p)
{
    const Net *n = g->net;
    const size_t views = (size_t)n->views, batch = (size_t)n->batch;
    p->parts = is_library(g) ? 1 : n->batch < NCE_MOST_PARTS ? n->batch : NCE_MOST_PARTS;
    const size_t parts = views * (size_t)p->parts;
    p->arena_floats = (parts * NCE_SQUARE_BYTES + views * batch * NCE_SOURCE_BYTES) / sizeof(float) +
                      parts * NCE_SUMS * batch;
    p->worker_floats =
        ((size_t)net_positions(op->pair->to) + 1) * batch; /* a target image's scores, and one row */
}

/* P is the mean over components, too. */
static void begin_nce(Call *c, const Op *op, const char *what)
{
    const Net *n = c->net;
    const int positions = net_positions(op->pair->to);
    const double share = 1.0 / n->views, batch = n->batch,
                 components = op->pair->components ? op->pair->components : 1;
    c->type = "Nce";
    c->name = arena_printf(c->arena, "nce_%d_to_%d_%s", op->pair->from->scale, op->pair->to->scale, what);
    c->shape = scores_shape(c, op);
    call_constant(c, "VIEWS, BATCH, %d", positions);
    call_float(c, n->spec->loss.clip.v);
    call_float(c, op->pair->spec->weight.v * share / (batch * positions));
    call_float(c, 2 * n->spec->loss.penalty.v * share / (batch * batch * positions * components));
}

static void call_nce(Call *c, const Op *op)
{
    begin_nce(c, op, "loss");
    call_constant(c, "%d", op->plan.parts);
    call_field(c, "r", op->in[NCE_R]);
    call_result(c, "result", op->out[0]);
    call_field(c, "statistics", op->out[1]);
    call_scratch(c, "scratch", op);
}

static void call_nce_grad(Call *c, const Op *op)
{
    begin_nce(c, op, "grad");
    call_field(c, "r", op->in[NCE_GRAD_R]);
    call_field(c, "statistics", op->in[NCE_GRAD_STATISTICS]);
    if (op->pair->components)
        call_number(c, "component", op->component);
    call_result(c, "dr", op->out[0]);
}

const Kernel nce_by_direct = {"direct", NULL, NULL, NULL, plan_nce, call_nce};
const Kernel nce_grad_by_direct = {"direct", NULL, NULL, NULL, NULL, call_nce_grad};

/* ---- mixtures ---- */

static const char *const mixture_templates[] = {"mixture.h", NULL};

static void call_nce_sums(Call *c, const Op *op)
{
    begin_nce(c, op, "sums");
    call_constant(c, "%d", op->plan.parts);
    call_number(c, "component", op->component);
    call_field(c, "r", op->in[NCE_SUMS_R]);
    call_field(c, "sums", op->in[NCE_SUMS_SUMS]);
    call_scratch(c, "scratch", op);
}

static void plan_mixture(const Graph *g, const Op *op, Plan *p)
{
    p->parts = image_parts(g->net->batch, (size_t)op->pair->components * (size_t)net_positions(op->pair->to));
    p->arena_floats = (size_t)g->net->images * NCE_SOURCE_BYTES / sizeof(float);
}

static void call_mixture(Call *c, const Op *op)
{
    const Net *n = c->net;
    c->type = "Mixture";
    c->name = arena_printf(c->arena, "mixture_%d_to_%d", op->pair->from->scale, op->pair->to->scale);
    c->shape = arena_printf(c->arena, "%d components, %d positives a direction", op->pair->components,
                            n->batch * net_positions(op->pair->to));
    call_constant(c, "VIEWS, BATCH, %d, %d", net_positions(op->pair->to), op->pair->components);
    call_float(c, n->spec->embedding.mixture.temperature.v);
    call_constant(c, "%d", op->plan.parts);
    call_field(c, "sums", op->in[MIXTURE_SUMS]);
    call_result(c, "result", op->out[0]);
    call_field(c, "statistics", op->out[1]);
    call_scratch(c, "scratch", op);
}

const Kernel nce_sums_by_direct = {"direct", mixture_templates, NULL, NULL, plan_nce, call_nce_sums};
const Kernel mixture_by_direct = {"direct", mixture_templates, NULL, NULL, plan_mixture, call_mixture};
