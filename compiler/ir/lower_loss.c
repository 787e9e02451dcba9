/* lower_loss.c: pairs as operations, from embeddings to losses: plain ones, mixtures, and either of several
 * shares. */
#include "lower_internal.h"
#include "blocks.h"

Value *lower_consequents(Lower *l, const NetScale *s, Value *head)
{
    return l->g->net->spec->target.tiles ? lower_embedding(l, s, head) : head;
}

/* Antecedents are floats. */
static Value *gather(Lower *l, const NetPair *pair, Value *embedding)
{
    if (pair->located < 0)
        return op_floats(l, embedding, pair->spec->at, pair->name);
    const Net *n = l->g->net;
    const char *name = lower_identifier(
        l, arena_printf(l->g->arena, "location_%d_to_%d", pair->from->scale, pair->to->scale), "");
    Value *location = graph_value_of(l->g, NUMBER_INT32, VALUE_INPUT, name, 2, (int[]){n->views, n->share});
    l->g->location[pair->located] = location;
    Op *op = graph_op(l->g, OP_GATHER, pair->spec->at, pair->name);
    op->pair = pair;
    op->in[GATHER_X] = embedding;
    op->in[GATHER_LOCATION] = location;
    name = arena_printf(l->g->arena, "antecedent_%d_to_%d", pair->from->scale, pair->to->scale);
    return op->out[0] = graph_float_map(l->g, name, 1, embedding->dims[3]);
}

Value **lower_components(Lower *l, Value *phi)
{
    const Spec *spec = l->g->net->spec;
    const SpecMixture *m = &spec->embedding.mixture;
    const int dim = phi->dims[3], hidden = (int)m->hidden.v, components = (int)m->components.v;
    const char *label = "embed.1.mixture", *conv1 = lower_name(l, label, "conv1"),
               *conv2 = lower_name(l, label, "conv2");
    Value *w1 =
        param_weight(l, lower_name(l, conv1, "weight"), hidden, dim, 1, INIT_UNIFORM, fan_in_bound(dim, 1));
    Value *w2 = param_weight(l, lower_name(l, conv2, "weight"), components * dim, hidden, 1, INIT_UNIFORM,
                             fan_in_bound(hidden, 1));
    Value *x =
        op_conv(l, phi, w1, NULL, NULL, 1, 1, true, m->at, conv1, lower_identifier(l, label, "_hidden"));
    x = op_floats(l, op_conv(l, x, w2, NULL, NULL, 1, 1, false, m->at, conv2, lower_identifier(l, label, "")),
                  m->at, label);
    phi = op_floats(l, phi, m->at, label);
    Value **component = ARENA_ARRAY(l->g->arena, Value *, components);
    for (int j = 0; j < components; j++) {
        Op *op = graph_op(l->g, OP_COMPONENT, m->at, label);
        op->component = j;
        op->in[COMPONENT_X] = x;
        op->in[COMPONENT_PHI] = phi;
        op->out[0] = component[j] =
            graph_float_map(l->g, arena_printf(l->g->arena, "component_%d", j), 1, dim);
    }
    return component;
}

static const char *pair_identifier(Lower *l, const char *what, const NetPair *pair)
{
    return arena_printf(l->g->arena, "%s_%d_to_%d", what, pair->from->scale, pair->to->scale);
}

static Op *pair_op(Lower *l, OpKind kind, const NetPair *pair)
{
    Op *op = graph_op(l->g, kind, pair->spec->at, pair->name);
    op->pair = pair;
    return op;
}

/* Of component j of a mixture; of a plain pair, j is 0. */
static Value *lower_scores(Lower *l, const NetPair *pair, int j, Value *antecedent, Value *to)
{
    const Net *n = l->g->net;
    const char *name = pair_identifier(l, "scores", pair);
    Op *op = pair_op(l, OP_SCORES, pair);
    op->component = j;
    op->in[SCORES_A] = antecedent;
    op->in[SCORES_T] = to;
    return op->out[0] =
               graph_value(l->g, VALUE_TEMPORARY,
                           pair->components ? arena_printf(l->g->arena, "%s_component_%d", name, j) : name, 3,
                           (int[]){n->views, n->share * net_positions(pair->to), n->batch});
}

static Value *loss_value(Lower *l, const NetPair *pair)
{
    return graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "loss", pair), 1, (int[]){3});
}

/* One pair's scores and NCE; returns its result of three floats. */
static Value *lower_pair(Lower *l, const NetPair *pair, Value *from, Value *to)
{
    const Net *n = l->g->net;
    Value *scores = lower_scores(l, pair, 0, gather(l, pair, from), to);
    Op *nce = pair_op(l, OP_NCE, pair);
    nce->in[NCE_R] = scores;
    nce->out[0] = loss_value(l, pair);
    nce->out[1] = graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "statistics", pair), 3,
                              (int[]){n->views, 2 + net_positions(pair->to), n->batch});
    return nce->out[0];
}

/* The same of a mixture: each component's scores are spent before the next one's are made. */
static Value *lower_mixture(Lower *l, const NetPair *pair, Value *const *component, Value *to)
{
    const Net *n = l->g->net;
    const int rows = net_positions(pair->to);
    Value *sums = pair_op(l, OP_BUFFER, pair)->out[0] =
        graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "sums", pair), 4,
                    (int[]){pair->components, n->views, MIXTURE_SUM_ROWS + rows, n->batch});
    for (int j = 0; j < pair->components; j++) {
        Value *scores = lower_scores(l, pair, j, component[j], to);
        Op *op = pair_op(l, OP_NCE_SUMS, pair);
        op->component = j;
        op->in[NCE_SUMS_R] = scores;
        op->in[NCE_SUMS_SUMS] = sums;
    }
    Op *mixture = pair_op(l, OP_MIXTURE, pair);
    mixture->in[MIXTURE_SUMS] = sums;
    mixture->out[0] = loss_value(l, pair);
    mixture->out[1] = graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "statistics", pair), 4,
                                  (int[]){pair->components, n->views, 2 + rows, n->batch});
    return mixture->out[0];
}

/* ---- a pair of several shares ---- */

static Value *gather_antecedents(Lower *l, const NetPair *pair, Value *antecedent)
{
    const Net *n = l->g->net;
    return op_all_gather(l, antecedent, pair->spec->at, pair->name,
                         arena_printf(l->g->arena, "%s_of_all", antecedent->name), 4,
                         (int[]){n->views * n->batch, 1, 1, antecedent->dims[3]});
}

static Value *pair_buffer(Lower *l, const NetPair *pair, const char *what, int rows, int columns)
{
    const int components = pair->components ? pair->components : 1;
    return pair_op(l, OP_BUFFER, pair)->out[0] =
               graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, what, pair), 4,
                           (int[]){components, l->g->net->views, rows, columns});
}

/* The antecedents of all shares against the consequents of this one (templates/shares.h). */
static Value *lower_share_pair(Lower *l, const NetPair *pair, Value *const *antecedent, Value *to)
{
    const Net *n = l->g->net;
    const int components = pair->components ? pair->components : 1, rows = net_positions(pair->to);
    Value *sums = pair_buffer(l, pair, "sums", SHARE_SUM_ROWS, n->batch),
          *positives = pair_buffer(l, pair, "positives", rows, n->share);
    for (int j = 0; j < components; j++) {
        Value *all = gather_antecedents(l, pair, antecedent[j]), *scores = lower_scores(l, pair, j, all, to);
        Op *op = pair_op(l, OP_SHARE_SUMS, pair);
        op->component = j;
        op->in[SHARE_SUMS_R] = scores;
        op->in[SHARE_SUMS_SUMS] = sums;
        op->in[SHARE_SUMS_POSITIVES] = positives;
    }
    Value *all = op_gather_behind(l, sums, pair->spec->at, pair->name);
    Op *nce = pair_op(l, OP_SHARE_NCE, pair);
    nce->in[SHARE_NCE_ALL] = all;
    nce->in[SHARE_NCE_SUMS] = sums;
    nce->in[SHARE_NCE_POSITIVES] = positives;
    nce->out[0] = graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "marks", pair), 1,
                              (int[]){SHARE_RESULTS + components * n->views * 2 * n->share});
    nce->out[1] = graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "slopes", pair), 4,
                              (int[]){components, n->views, rows, n->share});
    Value *marks = op_gather_behind(l, nce->out[0], pair->spec->at, pair->name);
    Op *result = pair_op(l, OP_SHARE_RESULT, pair);
    result->in[SHARE_RESULT_ALL] = marks;
    return result->out[0] = loss_value(l, pair);
}

Value *lower_loss(Lower *l, const NetPair *pair, Value *const *component, Value *from, Value *to)
{
    if (l->g->net->shares == 1)
        return pair->components ? lower_mixture(l, pair, component, to) : lower_pair(l, pair, from, to);
    if (pair->components)
        return lower_share_pair(l, pair, component, to);
    Value *antecedent = gather(l, pair, from);
    return lower_share_pair(l, pair, &antecedent, to);
}
