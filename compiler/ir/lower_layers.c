/* lower_layers.c: layers and heads as operations. Padding becomes an operation of its own, so that every
 * product reads plain rows; a block becomes its residuals; a head its four operations. */
#include "lower_internal.h"

static Value *lower_conv(Lower *l, const SpecLayer *s, Value *x, const char *label)
{
    int in = x->dims[3], out = (int)s->out.v, kernel = (int)s->kernel.v;
    double bound = fan_in_bound(in, kernel);
    x = op_pad(l, x, (int)s->pad.v, s->reflect, s->at, label);
    Value *weight = param_weight(l, lower_name(l, label, "weight"), out, in, kernel, INIT_UNIFORM, bound);
    if (!s->batchnorm.v) {
        Value *bias = param_vector(l, lower_name(l, label, "bias"), out, true, INIT_UNIFORM, bound);
        return op_conv(l, x, weight, bias, NULL, kernel, (int)s->stride.v, s->relu, s->at, label,
                       lower_identifier(l, label, ""));
    }
    x = op_conv(l, x, weight, NULL, NULL, kernel, (int)s->stride.v, false, s->at, label,
                lower_identifier(l, label, "_sum"));
    return op_batchnorm(l, x, s->relu, s->at, lower_name(l, label, "bn"), lower_identifier(l, label, ""));
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
    return op->out[0] = graph_map(l->g, lower_identifier(l, label, "_shortcut"),
                                  (x->dims[1] - kernel) / stride + 1, out);
}

static Value *lower_residual(Lower *l, const SpecLayer *s, Value *x, int kernel, int stride, int padding,
                             const char *label)
{
    int in = x->dims[3], out = (int)s->out.v;
    const char *conv1 = lower_name(l, label, "conv1"), *conv2 = lower_name(l, label, "conv2");
    x = op_pad(l, x, padding, false, s->at, label);
    Value *w1 = param_weight(l, lower_name(l, conv1, "weight"), out, in, kernel, INIT_UNIFORM,
                             fan_in_bound(in, kernel));
    Value *w2 = param_weight(l, lower_name(l, conv2, "weight"), out, out, 1, INIT_ZERO, 0);
    const char *hidden_name = lower_identifier(l, label, "_hidden");
    Value *hidden;
    if (s->batchnorm.v) {
        hidden = op_conv(l, x, w1, NULL, NULL, kernel, stride, false, s->at, conv1,
                         lower_identifier(l, label, "_sum"));
        hidden = op_batchnorm(l, hidden, true, s->at, lower_name(l, label, "bn"), hidden_name);
    } else {
        hidden = op_conv(l, x, w1, NULL, NULL, kernel, stride, true, s->at, conv1, hidden_name);
    }
    Value *past = shortcut(l, x, out, kernel, stride, s->at, label);
    return op_conv(l, hidden, w2, NULL, past, 1, 1, false, s->at, conv2, lower_identifier(l, label, ""));
}

static Value *lower_block(Lower *l, const SpecLayer *s, Value *x, const char *label)
{
    x = lower_residual(l, s, x, (int)s->kernel.v, (int)s->stride.v, (int)s->pad.v, lower_name(l, label, "0"));
    for (int j = 1; j < (int)s->depth.v; j++)
        x = lower_residual(l, s, x, 1, 1, 0, arena_printf(l->pool->arena, "%s.%d", label, j));
    return x;
}

/* A mean counts the zeros that pad x; a maximum does not see them, so it pads for itself. */
static Value *lower_pool(Lower *l, const SpecLayer *s, const NetLayer *layer, Value *x, const char *label)
{
    if (!s->maximum)
        x = op_pad(l, x, (int)s->pad.v, false, s->at, label);
    Op *op = graph_op(l->g, s->maximum ? OP_MAX_POOL : OP_POOL, s->at, label);
    op->in[s->maximum ? MAX_POOL_X : POOL_X] = x;
    op->kernel = (int)s->kernel.v;
    op->stride = (int)s->stride.v;
    op->pad = s->maximum ? (int)s->pad.v : 0;
    return op->out[0] = graph_map(l->g, lower_identifier(l, label, ""), layer->side, layer->channels);
}

Value *lower_layer(Lower *l, const NetLayer *layer, Value *x)
{
    const SpecLayer *s = layer->spec;
    const char *label = arena_printf(l->pool->arena, "encoder.%d", layer->number);
    switch (s->kind) {
    case LAYER_CONV: return lower_conv(l, s, x, label);
    case LAYER_RESIDUAL:
        return lower_residual(l, s, x, (int)s->kernel.v, (int)s->stride.v, (int)s->pad.v, label);
    case LAYER_BLOCK: return lower_block(l, s, x, label);
    case LAYER_POOL: return lower_pool(l, s, layer, x, label);
    case LAYER_BATCHNORM: return op_batchnorm(l, x, false, s->at, label, lower_identifier(l, label, ""));
    }
    bug("layer kind %d", (int)s->kind);
}

Value *lower_head(Lower *l, const NetScale *s, Value *features)
{
    if (s->identity)
        return features;
    const Spec *spec = l->g->net->spec;
    int in = features->dims[3], dim = (int)spec->embedding.dim.v;
    Mark at = spec->embedding.dim.at;
    const char *label = arena_printf(l->pool->arena, "embed.%d", s->scale);
    const char *conv1 = lower_name(l, label, "conv1"), *conv2 = lower_name(l, label, "conv2"),
               *past = lower_name(l, label, "shortcut");
    Value *w1 =
        param_weight(l, lower_name(l, conv1, "weight"), dim, in, 1, INIT_UNIFORM, fan_in_bound(in, 1));
    Value *w2 = param_weight(l, lower_name(l, conv2, "weight"), dim, dim, 1, INIT_ZERO, 0);
    Value *ws = param_weight(l, lower_name(l, past, "weight"), dim, in, 1, INIT_SHORTCUT, 0.01);
    Value *bs = param_vector(l, lower_name(l, past, "bias"), dim, true, INIT_UNIFORM, fan_in_bound(in, 1));

    const char *hidden_name = lower_identifier(l, label, "_hidden");
    Value *hidden;
    if (spec->embedding.batchnorm.v) {
        hidden = op_conv(l, features, w1, NULL, NULL, 1, 1, false, at, conv1,
                         lower_identifier(l, label, "_hidden_sum"));
        hidden = op_batchnorm(l, hidden, true, at, lower_name(l, label, "bn_hidden"), hidden_name);
    } else {
        hidden = op_conv(l, features, w1, NULL, NULL, 1, 1, true, at, conv1, hidden_name);
    }
    Value *sum =
        op_conv(l, features, ws, bs, NULL, 1, 1, false, at, past, lower_identifier(l, label, "_shortcut"));
    sum = op_conv(l, hidden, w2, NULL, sum, 1, 1, false, at, conv2, lower_identifier(l, label, "_sum"));
    return op_batchnorm(l, sum, false, at, lower_name(l, label, "bn"), lower_identifier(l, label, ""));
}

Value *lower_embedding(Lower *l, const NetScale *s, Value *head)
{
    return op_floats(l, head, l->g->net->spec->embedding.dim.at,
                     arena_printf(l->pool->arena, "embed.%d", s->scale));
}
