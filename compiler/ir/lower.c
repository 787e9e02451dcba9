/* lower.c: the net as forward operations: a step's, with its encoder whole or in chunks of the images, and
 * the encoders'. */
#include "lower_internal.h"

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

/* The input as the encoder's activations are. */
static Value *encoder_input(Lower *l)
{
    return op_convert(l, l->g->x, activation_number(l->g->net->spec), l->g->net->layer[0].spec->at,
                      "encoder.0", "x_bfloat16");
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
            graph_map(l->g, lower_identifier(l, label, ""), at->side, at->channels);
        replace_value(encode, forward[i], graph_outer(encode, layer[i], lower_identifier(l, label, "_kept")));
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
            embedding[i] = lower_consequents(&l, &n->scale[i], head[i]);
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
                                .result = op_floats(l, x, s->layer->spec->at, features_label(l, s->scale))};
    to[count++] = (Feature){.scale = s->scale, .result = lower_embedding(l, s, lower_head(l, s, x))};
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
            feature[0] = (Feature){.result = op_floats(&l, mean_of_positions(&l, x, n->layer[i].spec->at),
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
