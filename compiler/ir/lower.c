/* lower.c: the net as forward operations. Padding becomes an operation of its own, so that every product
 * reads plain rows; a block becomes its residuals; a head its four operations. */
#include "amdimc.h"
#include "blocks.h"
#include <math.h>
#include <string.h>

typedef struct {
    Graph *g;
    ParamPool *pool;
    bool training;
} Lower;

static char *identifier_of(Arena *a, const char *name)
{
    char *field = arena_copy(a, name, strlen(name));
    for (char *c = field; *c; c++)
        if (*c == '.')
            *c = '_';
    return field;
}

static Param *pool_param(ParamPool *pool, const char *name, int rank, const int *dims, bool trained,
                         Init init, double bound)
{
    for (int i = 0; i < pool->count; i++)
        if (!strcmp(pool->param[i]->name, name))
            return pool->param[i];
    if (pool->count == pool->capacity) {
        Param **old = pool->param;
        pool->capacity = pool->capacity ? 2 * pool->capacity : 256;
        pool->param = ARENA_ARRAY(pool->arena, Param *, pool->capacity);
        for (int i = 0; i < pool->count; i++)
            pool->param[i] = old[i];
    }
    Param *p = ARENA_NEW(pool->arena, Param);
    *p = (Param){.name = name,
                 .field = identifier_of(pool->arena, name),
                 .rank = rank,
                 .trained = trained,
                 .init = init,
                 .bound = bound,
                 .count = 1};
    for (int i = 0; i < rank; i++) {
        p->dims[i] = dims[i];
        p->count *= (size_t)dims[i];
    }
    return pool->param[pool->count++] = p;
}

static const char *join(Lower *l, const char *prefix, const char *suffix)
{
    return arena_printf(l->pool->arena, "%s.%s", prefix, suffix);
}

static const char *identifier(Lower *l, const char *label, const char *suffix)
{
    return identifier_of(l->g->arena, arena_printf(l->g->arena, "%s%s", label, suffix));
}

static Value *conv_weight(Lower *l, const char *name, int out, int in, int kernel, Init init, double bound)
{
    int dims[4] = {out, in, kernel, kernel};
    return graph_param(l->g, pool_param(l->pool, name, 4, dims, true, init, bound));
}

static Value *vector(Lower *l, const char *name, int count, bool trained, Init init, double bound)
{
    return graph_param(l->g, pool_param(l->pool, name, 1, &count, trained, init, bound));
}

static double fan_in_bound(int in, int kernel)
{
    return 1.0 / sqrt((double)in * kernel * kernel);
}

static Value *pad(Lower *l, Value *x, int amount, bool reflect, Mark at, const char *label)
{
    if (!amount)
        return x;
    Op *op = graph_op(l->g, OP_PAD, at, label);
    op->in[PAD_X] = x;
    op->pad = amount;
    op->reflect = reflect;
    return op->out[0] = graph_map(l->g, identifier(l, label, "_padded"), x->dims[1] + 2 * amount, x->dims[3]);
}

/* x as numbers of that type; x itself where it is. Nothing is converted twice. */
static Value *convert(Lower *l, Value *x, Number number, Mark at, const char *label, const char *name)
{
    if (x->number == number)
        return x;
    for (int i = 0; i < l->g->ops; i++)
        if (l->g->op[i]->kind == OP_CONVERT && l->g->op[i]->in[CONVERT_X] == x)
            return l->g->op[i]->out[0];
    Op *op = graph_op(l->g, OP_CONVERT, at, label);
    op->in[CONVERT_X] = x;
    return op->out[0] = graph_value_of(l->g, number, VALUE_TEMPORARY, name, x->rank, x->dims);
}

/* As losses and files want it. */
static Value *as_floats(Lower *l, Value *x, Mark at, const char *label)
{
    return convert(l, x, NUMBER_FLOAT32, at, label, arena_printf(l->g->arena, "%s_float32", x->name));
}

/* The input as the encoder's activations are. */
static Value *encoder_input(Lower *l)
{
    return convert(l, l->g->x, activation_number(l->g->net->spec), l->g->net->layer[0].spec->at, "encoder.0",
                   "x_bfloat16");
}

/* y = conv(x) + bias + addend, then ReLU; bias and addend may be NULL. x is already padded. */
static Value *conv(Lower *l, Value *x, Value *weight, Value *bias, Value *addend, int kernel, int stride,
                   bool relu, Mark at, const char *label, const char *result)
{
    Op *op = graph_op(l->g, OP_CONV, at, label);
    op->in[CONV_X] = x;
    op->in[CONV_WEIGHT] = weight;
    op->in[CONV_BIAS] = bias;
    op->in[CONV_ADDEND] = addend;
    op->kernel = kernel;
    op->stride = stride;
    op->relu = relu;
    return op->out[0] = graph_map(l->g, result, (x->dims[1] - kernel) / stride + 1, weight->dims[1]);
}

/* What every share gives, in their order. Nothing is gathered twice. */
static Value *all_gather(Lower *l, Value *x, Mark at, const char *label, const char *result, int rank,
                         const int *dims)
{
    for (int i = 0; i < l->g->ops; i++)
        if (l->g->op[i]->kind == OP_ALL_GATHER && l->g->op[i]->in[ALL_GATHER_X] == x)
            return l->g->op[i]->out[0];
    Op *op = graph_op(l->g, OP_ALL_GATHER, at, label);
    op->in[ALL_GATHER_X] = x;
    return op->out[0] = graph_value(l->g, VALUE_TEMPORARY, result, rank, dims);
}

/* (R, count): what the shares give one behind the other. */
static Value *gather_behind(Lower *l, Value *x, Mark at, const char *label)
{
    return all_gather(l, x, at, label, arena_printf(l->g->arena, "%s_of_all", x->name), 2,
                      (int[]){l->g->net->shares, (int)value_count(x)});
}

static Value *batchnorm_sums(Lower *l, Value *x, Mark at, const char *label)
{
    Op *op = graph_op(l->g, OP_BATCHNORM_SUMS, at, label);
    op->in[BATCHNORM_SUMS_X] = x;
    op->out[0] = graph_value(l->g, VALUE_TEMPORARY, identifier(l, label, "_sums"), 3,
                             (int[]){l->g->net->views, BATCHNORM_SUM_ROWS, x->dims[3]});
    return gather_behind(l, op->out[0], at, label);
}

static Value *batchnorm(Lower *l, Value *x, bool relu, Mark at, const char *label, const char *result)
{
    int channels = x->dims[3];
    Value *all = l->training && l->g->net->shares > 1 ? batchnorm_sums(l, x, at, label) : NULL;
    /* Both have the same operands. */
    Op *op = graph_op(l->g, l->training ? OP_BATCHNORM : OP_NORMALIZE, at, label);
    op->in[BATCHNORM_X] = x;
    op->in[BATCHNORM_WEIGHT] = vector(l, join(l, label, "weight"), channels, true, INIT_ONE, 0);
    op->in[BATCHNORM_BIAS] = vector(l, join(l, label, "bias"), channels, true, INIT_ZERO, 0);
    op->in[BATCHNORM_RUNNING_MEAN] = vector(l, join(l, label, "running_mean"), channels, false, INIT_ZERO, 0);
    op->in[BATCHNORM_RUNNING_VAR] = vector(l, join(l, label, "running_var"), channels, false, INIT_ONE, 0);
    op->in[BATCHNORM_ALL] = all;
    op->relu = relu;
    op->out[0] = graph_map(l->g, result, x->dims[1], channels);
    if (l->training)
        op->out[1] = graph_value(l->g, VALUE_TEMPORARY, identifier(l, label, "_statistics"), 3,
                                 (int[]){l->g->net->views, 2, channels});
    return op->out[0];
}

static Value *lower_conv(Lower *l, const SpecLayer *s, Value *x, const char *label)
{
    int in = x->dims[3], out = (int)s->out.v, kernel = (int)s->kernel.v;
    double bound = fan_in_bound(in, kernel);
    x = pad(l, x, (int)s->pad.v, s->reflect, s->at, label);
    Value *weight = conv_weight(l, join(l, label, "weight"), out, in, kernel, INIT_UNIFORM, bound);
    if (!s->batchnorm.v) {
        Value *bias = vector(l, join(l, label, "bias"), out, true, INIT_UNIFORM, bound);
        return conv(l, x, weight, bias, NULL, kernel, (int)s->stride.v, s->relu, s->at, label,
                    identifier(l, label, ""));
    }
    x = conv(l, x, weight, NULL, NULL, kernel, (int)s->stride.v, false, s->at, label,
             identifier(l, label, "_sum"));
    return batchnorm(l, x, s->relu, s->at, join(l, label, "bn"), identifier(l, label, ""));
}

/* Average pooling with the convolution's geometry, channels padded with zeros: x itself where nothing
 * changes. */
static Value *shortcut(Lower *l, Value *x, int out, int kernel, int stride, Mark at, const char *label)
{
    if (kernel == 1 && stride == 1 && x->dims[3] == out)
        return x;
    Op *op = graph_op(l->g, OP_POOL, at, label);
    op->in[POOL_X] = x;
    op->kernel = kernel;
    op->stride = stride;
    return op->out[0] =
               graph_map(l->g, identifier(l, label, "_shortcut"), (x->dims[1] - kernel) / stride + 1, out);
}

static Value *lower_residual(Lower *l, const SpecLayer *s, Value *x, int kernel, int stride, int padding,
                             const char *label)
{
    int in = x->dims[3], out = (int)s->out.v;
    const char *conv1 = join(l, label, "conv1"), *conv2 = join(l, label, "conv2");
    x = pad(l, x, padding, false, s->at, label);
    Value *w1 =
        conv_weight(l, join(l, conv1, "weight"), out, in, kernel, INIT_UNIFORM, fan_in_bound(in, kernel));
    Value *w2 = conv_weight(l, join(l, conv2, "weight"), out, out, 1, INIT_ZERO, 0);
    const char *hidden_name = identifier(l, label, "_hidden");
    Value *hidden;
    if (s->batchnorm.v) {
        hidden =
            conv(l, x, w1, NULL, NULL, kernel, stride, false, s->at, conv1, identifier(l, label, "_sum"));
        hidden = batchnorm(l, hidden, true, s->at, join(l, label, "bn"), hidden_name);
    } else {
        hidden = conv(l, x, w1, NULL, NULL, kernel, stride, true, s->at, conv1, hidden_name);
    }
    Value *past = shortcut(l, x, out, kernel, stride, s->at, label);
    return conv(l, hidden, w2, NULL, past, 1, 1, false, s->at, conv2, identifier(l, label, ""));
}

static Value *lower_block(Lower *l, const SpecLayer *s, Value *x, const char *label)
{
    x = lower_residual(l, s, x, (int)s->kernel.v, (int)s->stride.v, (int)s->pad.v, join(l, label, "0"));
    for (int j = 1; j < (int)s->depth.v; j++)
        x = lower_residual(l, s, x, 1, 1, 0, arena_printf(l->pool->arena, "%s.%d", label, j));
    return x;
}

/* A mean counts the zeros that pad x; a maximum does not see them, so it pads for itself. */
static Value *lower_pool(Lower *l, const SpecLayer *s, const NetLayer *layer, Value *x, const char *label)
{
    if (!s->maximum)
        x = pad(l, x, (int)s->pad.v, false, s->at, label);
    Op *op = graph_op(l->g, s->maximum ? OP_MAX_POOL : OP_POOL, s->at, label);
    op->in[s->maximum ? MAX_POOL_X : POOL_X] = x;
    op->kernel = (int)s->kernel.v;
    op->stride = (int)s->stride.v;
    op->pad = s->maximum ? (int)s->pad.v : 0;
    return op->out[0] = graph_map(l->g, identifier(l, label, ""), layer->side, layer->channels);
}

static Value *lower_layer(Lower *l, const NetLayer *layer, Value *x)
{
    const SpecLayer *s = layer->spec;
    const char *label = arena_printf(l->pool->arena, "encoder.%d", layer->number);
    switch (s->kind) {
    case LAYER_CONV: return lower_conv(l, s, x, label);
    case LAYER_RESIDUAL:
        return lower_residual(l, s, x, (int)s->kernel.v, (int)s->stride.v, (int)s->pad.v, label);
    case LAYER_BLOCK: return lower_block(l, s, x, label);
    case LAYER_POOL: return lower_pool(l, s, layer, x, label);
    case LAYER_BATCHNORM: return batchnorm(l, x, false, s->at, label, identifier(l, label, ""));
    }
    bug("layer kind %d", (int)s->kind);
}

/* The encoder up to layer `top`; result[i] is layer i's output. */
static Value **lower_encoder(Lower *l, int top)
{
    const Net *n = l->g->net;
    Value **result = ARENA_ARRAY(l->g->arena, Value *, n->layers);
    Value *x = encoder_input(l);
    for (int i = 0; i <= top; i++)
        result[i] = x = lower_layer(l, &n->layer[i], x);
    return result;
}

/* The embedding of scale d: the identity, or conv1, ReLU, conv2 plus a shortcut, and batchnorm
 * (docs/language.md, "Heads"). */
static Value *lower_head(Lower *l, const NetScale *s, Value *features)
{
    if (s->identity)
        return features;
    const Spec *spec = l->g->net->spec;
    int in = features->dims[3], dim = (int)spec->embedding.dim.v;
    Mark at = spec->embedding.dim.at;
    const char *label = arena_printf(l->pool->arena, "embed.%d", s->scale);
    const char *conv1 = join(l, label, "conv1"), *conv2 = join(l, label, "conv2"),
               *past = join(l, label, "shortcut");
    Value *w1 = conv_weight(l, join(l, conv1, "weight"), dim, in, 1, INIT_UNIFORM, fan_in_bound(in, 1));
    Value *w2 = conv_weight(l, join(l, conv2, "weight"), dim, dim, 1, INIT_ZERO, 0);
    Value *ws = conv_weight(l, join(l, past, "weight"), dim, in, 1, INIT_SHORTCUT, 0.01);
    Value *bs = vector(l, join(l, past, "bias"), dim, true, INIT_UNIFORM, fan_in_bound(in, 1));

    const char *hidden_name = identifier(l, label, "_hidden");
    Value *hidden;
    if (spec->embedding.batchnorm.v) {
        hidden =
            conv(l, features, w1, NULL, NULL, 1, 1, false, at, conv1, identifier(l, label, "_hidden_sum"));
        hidden = batchnorm(l, hidden, true, at, join(l, label, "bn_hidden"), hidden_name);
    } else {
        hidden = conv(l, features, w1, NULL, NULL, 1, 1, true, at, conv1, hidden_name);
    }
    Value *sum = conv(l, features, ws, bs, NULL, 1, 1, false, at, past, identifier(l, label, "_shortcut"));
    sum = conv(l, hidden, w2, NULL, sum, 1, 1, false, at, conv2, identifier(l, label, "_sum"));
    return batchnorm(l, sum, false, at, join(l, label, "bn"), identifier(l, label, ""));
}

/* What files read of a head. */
static Value *as_embedding(Lower *l, const NetScale *s, Value *head)
{
    return as_floats(l, head, l->g->net->spec->embedding.dim.at,
                     arena_printf(l->pool->arena, "embed.%d", s->scale));
}

/* Consequents, of which there are many, are read as they come; products by matrix tiles want floats. */
static Value *as_consequents(Lower *l, const NetScale *s, Value *head)
{
    return l->g->net->spec->target.tiles ? as_embedding(l, s, head) : head;
}

/* Antecedents are floats. */
static Value *gather(Lower *l, const NetPair *pair, Value *embedding)
{
    if (pair->located < 0)
        return as_floats(l, embedding, pair->spec->at, pair->name);
    const Net *n = l->g->net;
    const char *name =
        identifier(l, arena_printf(l->g->arena, "location_%d_to_%d", pair->from->scale, pair->to->scale), "");
    Value *location = graph_value_of(l->g, NUMBER_INT32, VALUE_INPUT, name, 2, (int[]){n->views, n->share});
    l->g->location[pair->located] = location;
    Op *op = graph_op(l->g, OP_GATHER, pair->spec->at, pair->name);
    op->pair = pair;
    op->in[GATHER_X] = embedding;
    op->in[GATHER_LOCATION] = location;
    name = arena_printf(l->g->arena, "antecedent_%d_to_%d", pair->from->scale, pair->to->scale);
    return op->out[0] = graph_float_map(l->g, name, 1, embedding->dims[3]);
}

/* The components phi_1 + W2_j relu(W1 phi_1) of a mixture (section 3.6; docs/language.md, "Mixtures"). */
static Value **lower_components(Lower *l, Value *phi)
{
    const Spec *spec = l->g->net->spec;
    const SpecMixture *m = &spec->embedding.mixture;
    const int dim = phi->dims[3], hidden = (int)m->hidden.v, components = (int)m->components.v;
    const char *label = "embed.1.mixture", *conv1 = join(l, label, "conv1"), *conv2 = join(l, label, "conv2");
    Value *w1 = conv_weight(l, join(l, conv1, "weight"), hidden, dim, 1, INIT_UNIFORM, fan_in_bound(dim, 1));
    Value *w2 = conv_weight(l, join(l, conv2, "weight"), components * dim, hidden, 1, INIT_UNIFORM,
                            fan_in_bound(hidden, 1));
    Value *x = conv(l, phi, w1, NULL, NULL, 1, 1, true, m->at, conv1, identifier(l, label, "_hidden"));
    x = as_floats(l, conv(l, x, w2, NULL, NULL, 1, 1, false, m->at, conv2, identifier(l, label, "")), m->at,
                  label);
    phi = as_floats(l, phi, m->at, label);
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

static int positions_of(const NetPair *pair)
{
    return pair->to->scale * pair->to->scale;
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
                           (int[]){n->views, n->share * positions_of(pair), n->batch});
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
                              (int[]){n->views, 2 + positions_of(pair), n->batch});
    return nce->out[0];
}

/* The same of a mixture: each component's scores are spent before the next one's are made. */
static Value *lower_mixture(Lower *l, const NetPair *pair, Value *const *component, Value *to)
{
    const Net *n = l->g->net;
    const int rows = positions_of(pair);
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
    return all_gather(l, antecedent, pair->spec->at, pair->name,
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
    const int components = pair->components ? pair->components : 1, rows = positions_of(pair);
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
    Value *all = gather_behind(l, sums, pair->spec->at, pair->name);
    Op *nce = pair_op(l, OP_SHARE_NCE, pair);
    nce->in[SHARE_NCE_ALL] = all;
    nce->in[SHARE_NCE_SUMS] = sums;
    nce->in[SHARE_NCE_POSITIVES] = positives;
    nce->out[0] = graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "marks", pair), 1,
                              (int[]){SHARE_RESULTS + components * n->views * 2 * n->share});
    nce->out[1] = graph_value(l->g, VALUE_TEMPORARY, pair_identifier(l, "slopes", pair), 4,
                              (int[]){components, n->views, rows, n->share});
    Value *marks = gather_behind(l, nce->out[0], pair->spec->at, pair->name);
    Op *result = pair_op(l, OP_SHARE_RESULT, pair);
    result->in[SHARE_RESULT_ALL] = marks;
    return result->out[0] = loss_value(l, pair);
}

/* Whichever way the pair is made. */
static Value *lower_loss(Lower *l, const NetPair *pair, Value *const *component, Value *from, Value *to)
{
    if (l->g->net->shares == 1)
        return pair->components ? lower_mixture(l, pair, component, to) : lower_pair(l, pair, from, to);
    if (pair->components)
        return lower_share_pair(l, pair, component, to);
    Value *antecedent = gather(l, pair, from);
    return lower_share_pair(l, pair, &antecedent, to);
}

static Lower lower_begin(Arena *a, const Net *n, ParamPool *pool, const char *name, bool training)
{
    Lower l = {.g = graph_new(a, n, name), .pool = pool, .training = training};
    int size = (int)n->spec->input.size.v;
    int dims[4] = {n->images, size, size, (int)n->spec->input.channels.v};
    l.g->x = graph_value(l.g, VALUE_INPUT, "x", 4, dims);
    return l;
}

/* The net with fewer images at a time. */
static const Net *net_of_images(Arena *a, const Net *n, int images)
{
    Net *few = ARENA_NEW(a, Net);
    *few = *n;
    few->images = images;
    return few;
}

/* ---- the encoder in chunks ---- */

int encoder_layers_below_batchnorm(const Net *n)
{
    for (int i = 0; i <= n->top; i++)
        if (n->layer[i].spec->kind == LAYER_BATCHNORM || n->layer[i].spec->batchnorm.v)
            return i;
    return n->top + 1;
}

/* Layers whose output is read above the chunks: by the next layer, or by a head. */
static bool read_above(const Net *n, int layer, int layers)
{
    bool read = layer == layers - 1 && layers <= n->top;
    for (int i = 0; i < n->scales; i++)
        read |= n->scale[i].trained && n->scale[i].layer->number == layer;
    return read;
}

/* What a chunk runs; of each layer, its output. */
static Graph *lower_chunk(Arena *a, const Net *n, ParamPool *pool, const char *name, int layers,
                          Value **output)
{
    Lower l = lower_begin(a, n, pool, name, true);
    Value **result = lower_encoder(&l, layers - 1);
    for (int i = 0; i < layers; i++)
        output[i] = result[i];
    return l.g;
}

/* Whatever reads or makes `v` does so with `other`. */
static void replace_value(Graph *g, const Value *v, Value *other)
{
    for (int i = 0; i < g->ops; i++) {
        for (int j = 0; j < g->op[i]->inputs; j++)
            if (g->op[i]->in[j] == v)
                g->op[i]->in[j] = other;
        if (g->op[i]->out[0] == v)
            g->op[i]->out[0] = other;
    }
}

/* Both passes of a chunk, and in the step's list the memory of what is read above. The gradient's list runs
 * the forward operations a second time; differentiate() completes it. */
static void encode_in_chunks(Lower *l, int chunk, int layers, Value **layer)
{
    const Net *n = l->g->net, *few = net_of_images(l->g->arena, n, chunk);
    Arena *a = l->g->arena;
    Value **forward = ARENA_ARRAY(a, Value *, layers), **again = ARENA_ARRAY(a, Value *, layers);
    Graph *encode = lower_chunk(a, few, l->pool, "encode_chunk", layers, forward),
          *backward = lower_chunk(a, few, l->pool, "encode_chunk_grad", layers, again);
    for (int i = 0; i < backward->ops; i++)
        backward->op[i]->again = true;
    Value **kept = ARENA_ARRAY(a, Value *, layers + 1);
    int count = 0;
    kept[count++] = l->g->x;
    backward->feature = ARENA_ARRAY(a, Value *, layers);
    for (int i = 0; i < layers; i++) {
        if (!read_above(n, i, layers))
            continue;
        const NetLayer *at = &n->layer[i];
        const char *label = arena_printf(l->pool->arena, "encoder.%d", i);
        Op *buffer = graph_op(l->g, OP_BUFFER, at->spec->at, label);
        buffer->out[0] = layer[i] = kept[count] =
            graph_map(l->g, identifier(l, label, ""), at->side, at->channels);
        replace_value(encode, forward[i], graph_outer(encode, layer[i], identifier(l, label, "_kept")));
        backward->feature[count - 1] = again[i];
        count++;
    }
    Op *op = graph_op_wide(l->g, OP_ENCODE, n->layer[0].spec->at, "encoder", count);
    for (int i = 0; i < count; i++)
        op->in[i] = kept[i];
    op->chunk = encode;
    op->chunk_grad = backward;
    op->chunks = n->images / chunk;
}

/* The outputs of the layers up to the top-most trained one, as far as they are kept. */
static Value **lower_layers(Lower *l, int chunk)
{
    const Net *n = l->g->net;
    const int below = chunk ? encoder_layers_below_batchnorm(n) : 0;
    if (!below)
        return lower_encoder(l, n->top);
    Value **layer = ARENA_ARRAY(l->g->arena, Value *, n->layers);
    encode_in_chunks(l, chunk, below, layer);
    for (int i = below; i <= n->top; i++)
        layer[i] = lower_layer(l, &n->layer[i], layer[i - 1]);
    return layer;
}

Graph *lower_step(Arena *a, const Net *n, ParamPool *pool, int chunk)
{
    Lower l = lower_begin(a, n, pool, "step", true);
    Value **layer = lower_layers(&l, chunk);
    Value **head = ARENA_ARRAY(a, Value *, n->scales), **embedding = ARENA_ARRAY(a, Value *, n->scales);
    for (int i = 0; i < n->scales; i++)
        if (n->scale[i].trained) {
            head[i] = lower_head(&l, &n->scale[i], layer[n->scale[i].layer->number]);
            embedding[i] = as_consequents(&l, &n->scale[i], head[i]);
        }
    Value **component =
        n->spec->embedding.mixture.on ? lower_components(&l, head[net_scale(n, 1) - n->scale]) : NULL;
    Value **loss = ARENA_ARRAY(a, Value *, n->pairs);
    for (int i = 0; i < n->pairs; i++) {
        const NetPair *pair = &n->pair[i];
        Value *from = embedding[pair->from - n->scale], *to = embedding[pair->to - n->scale];
        loss[i] = lower_loss(&l, pair, component, from, to);
    }
    Op *report = graph_op_wide(l.g, OP_REPORT, n->spec->name.at, "report", n->pairs + n->scales);
    for (int i = 0; i < n->pairs; i++)
        report->in[i] = loss[i];
    for (int i = 0; i < n->scales; i++)
        report->in[n->pairs + i] = embedding[i];
    return l.g;
}

/* The layer whose features stand for an image: that of f_1, or the top-most trained one where no pair trains
 * scale 1. */
static int represented_layer(const Net *n)
{
    const NetScale *one = net_scale(n, 1);
    return one && one->trained ? one->layer->number : n->top;
}

/* Over an image's positions, where there are several. */
static Value *mean_of_positions(Lower *l, Value *features, Mark at)
{
    if (features->dims[1] == 1)
        return features;
    Op *op = graph_op(l->g, OP_MEAN, at, "mean");
    op->in[MEAN_X] = features;
    return op->out[0] = graph_map(l->g, "mean", 1, features->dims[3]);
}

static const char *features_label(Lower *l, int scale)
{
    return arena_printf(l->pool->arena, "features.%d", scale);
}

/* f_d, where it is not the representation, and phi_d; returns how many. */
static int lower_features(Lower *l, const NetScale *s, Value *x, Feature *to)
{
    int count = 0;
    if (s->scale > 1)
        to[count++] = (Feature){.scale = s->scale,
                                .raw = true,
                                .result = as_floats(l, x, s->layer->spec->at, features_label(l, s->scale))};
    to[count++] = (Feature){.scale = s->scale, .result = as_embedding(l, s, lower_head(l, s, x))};
    return count;
}

/* Heads come as soon as what they embed is there, so that it need not be kept for long. */
Graph *lower_encoders(Arena *a, const Net *n, ParamPool *pool, int images, Feature *feature, int *features)
{
    Lower l = lower_begin(a, net_of_images(a, n, images), pool, "encoders", false);
    const int represented = represented_layer(n);
    Value *x = encoder_input(&l);
    *features = 1;
    for (int i = 0; i <= n->top; i++) {
        x = lower_layer(&l, &n->layer[i], x);
        if (i == represented)
            feature[0] = (Feature){.result = as_floats(&l, mean_of_positions(&l, x, n->layer[i].spec->at),
                                                       n->layer[i].spec->at, features_label(&l, 1))};
        for (int s = 0; s < n->scales; s++)
            if (n->scale[s].trained && n->scale[s].layer->number == i)
                *features += lower_features(&l, &n->scale[s], x, feature + *features);
    }
    l.g->results = *features;
    l.g->result = ARENA_ARRAY(a, const Value *, *features);
    for (int i = 0; i < *features; i++)
        l.g->result[i] = feature[i].result;
    return l.g;
}
