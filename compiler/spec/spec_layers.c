/* spec_layers.c: the encoder's list of layers.
 *
 * Leaves each layer with what its kind has, and the defaults of the rest. */
#include "reader.h"

enum { DEPTH_LIMIT = 1024, LAYER_LIMIT = 1024 };

static void read_pad_mode(Reader *r, const Node *n, const char *path, void *record)
{
    read_either(r, n, path, "zero", "reflect", &((SpecLayer *)record)->reflect);
}

static void read_activation(Reader *r, const Node *n, const char *path, void *record)
{
    read_either(r, n, path, "none", "relu", &((SpecLayer *)record)->relu);
}

static void read_kind(Reader *r, const Node *n, const char *path, void *record)
{
    read_either(r, n, path, "mean", "max", &((SpecLayer *)record)->maximum);
}

#define WINDOW                                                                                               \
    INT_FIELD("out", true, SpecLayer, out, 1, SIZE_LIMIT),                                                   \
        INT_FIELD("kernel", true, SpecLayer, kernel, 1, SIZE_LIMIT),                                         \
        INT_FIELD("stride", false, SpecLayer, stride, 1, SIZE_LIMIT),                                        \
        INT_FIELD("pad", false, SpecLayer, pad, 0, SIZE_LIMIT),                                              \
        FLAG_FIELD("batchnorm", SpecLayer, batchnorm)

static const Field CONV[] = {
    WINDOW,
    OTHER_FIELD("pad_mode", false, read_pad_mode),
    OTHER_FIELD("activation", false, read_activation),
};
static const Field RESIDUAL[] = {WINDOW};
static const Field BLOCK[] = {WINDOW, INT_FIELD("depth", true, SpecLayer, depth, 1, DEPTH_LIMIT)};
static const Field POOL[] = {
    INT_FIELD("kernel", true, SpecLayer, kernel, 1, SIZE_LIMIT),
    INT_FIELD("stride", false, SpecLayer, stride, 1, SIZE_LIMIT),
    INT_FIELD("pad", false, SpecLayer, pad, 0, SIZE_LIMIT),
    OTHER_FIELD("kind", false, read_kind),
};
static const Fields CONV_FIELDS = FIELDS(CONV);
static const Fields RESIDUAL_FIELDS = FIELDS(RESIDUAL);
static const Fields BLOCK_FIELDS = FIELDS(BLOCK);
static const Fields POOL_FIELDS = FIELDS(POOL);
static const Fields BATCHNORM_FIELDS = {NULL, 0};

static void read_layer(Reader *r, const Node *n, const char *path, LayerKind kind, const Fields *fields,
                       SpecLayer *layer)
{
    *layer = (SpecLayer){.kind = kind, .at = n->key->at, .stride = {.v = 1}, .depth = {.v = 1}};
    layer->relu = kind == LAYER_CONV;
    read_fields(r, n, path, fields, layer);
}

static void read_conv(Reader *r, const Node *n, const char *path, void *record)
{
    read_layer(r, n, path, LAYER_CONV, &CONV_FIELDS, record);
}

/* A residual's shortcut pools with the same pad. No window that is pooled may lie outside the map. */
static void check_pooling(Reader *r, const char *path, const SpecLayer *layer)
{
    int64_t most = layer->kernel.v / 2;
    if (layer->kernel.v > 0 && layer->pad.v > most)
        problem(r, layer->pad.at, "%s.pad: at most half the kernel, %d, is wanted, not %d", path, (int)most,
                (int)layer->pad.v);
}

static void read_residual(Reader *r, const Node *n, const char *path, void *record)
{
    read_layer(r, n, path, LAYER_RESIDUAL, &RESIDUAL_FIELDS, record);
    check_pooling(r, path, record);
}

static void read_block(Reader *r, const Node *n, const char *path, void *record)
{
    read_layer(r, n, path, LAYER_BLOCK, &BLOCK_FIELDS, record);
    check_pooling(r, path, record);
}

static void read_pool(Reader *r, const Node *n, const char *path, void *record)
{
    SpecLayer *layer = record;
    read_layer(r, n, path, LAYER_POOL, &POOL_FIELDS, layer);
    if (!layer->stride.at.source)
        layer->stride.v = layer->kernel.v;
    check_pooling(r, path, layer);
}

static void read_batchnorm(Reader *r, const Node *n, const char *path, void *record)
{
    read_layer(r, n, path, LAYER_BATCHNORM, &BATCHNORM_FIELDS, record);
}

/* In the order of LayerKind. */
static const Field LAYER[] = {
    OTHER_FIELD("conv", false, read_conv),           OTHER_FIELD("residual", false, read_residual),
    OTHER_FIELD("block", false, read_block),         OTHER_FIELD("pool", false, read_pool),
    OTHER_FIELD("batchnorm", false, read_batchnorm),
};
static const Fields LAYER_FIELDS = FIELDS(LAYER);

const char *layer_kind_name(LayerKind kind)
{
    return LAYER[kind].key;
}

const char *layer_text(Arena *a, const SpecLayer *s)
{
    const char *text = layer_kind_name(s->kind);
    if (s->kind == LAYER_BATCHNORM)
        return text;
    text = arena_printf(a, "%s %dx%d", text, (int)s->kernel.v, (int)s->kernel.v);
    if (s->stride.v > 1)
        text = arena_printf(a, "%s stride %d", text, (int)s->stride.v);
    if (s->kind == LAYER_POOL)
        text = arena_printf(a, "%s %s", text, s->maximum ? "max" : "mean");
    if (s->pad.v > 0)
        text = arena_printf(a, "%s pad %d%s", text, (int)s->pad.v, s->reflect ? " reflect" : "");
    if (s->kind == LAYER_BLOCK)
        text = arena_printf(a, "%s depth %d", text, (int)s->depth.v);
    if (s->batchnorm.v)
        text = arena_printf(a, "%s batchnorm", text);
    if (s->kind == LAYER_CONV && !s->relu)
        text = arena_printf(a, "%s no ReLU", text);
    return text;
}

void read_encoder(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    if (!check_list(r, n, path, "a list of layers") || !check_count(r, n, path, LAYER_LIMIT))
        return;
    s->layer = ARENA_ARRAY(r->arena, SpecLayer, n->count);
    for (const Node *item = n->first; item; item = item->next, s->layers++)
        read_variant(r, item, arena_printf(r->arena, "%s[%d]", path, s->layers), &LAYER_FIELDS,
                     &s->layer[s->layers]);
}
