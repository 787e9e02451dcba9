/* draw.c: see draw.h. Layers are drawn from the input up, with the shape that each leaves; then pairs among
 * the scales that there are. */
#include "draw.h"
#include "noise.h"
#include <math.h>

enum {
    LAYERS_MOST = 8,
    SIDE_MOST = 44,
    CHANNELS_MOST = 48,
    PAIRS_MOST = 4,
    SCALE_MOST = 14,     /* of pairs: the interpreter's time grows with its fourth power */
    WORK_MOST = 3000000, /* multiply-adds of a layer's forward pass */
};

typedef struct {
    Spec *s;
    uint64_t state;
    int side, channels; /* of the top-most layer */
} Draw;

static int below(Draw *d, int n)
{
    return noise_below(&d->state, n);
}

static int between(Draw *d, int low, int high)
{
    return low + below(d, high - low + 1);
}

static bool once_in(Draw *d, int n)
{
    return below(d, n) == 0;
}

/* Uniform, in steps that decimal notation need not hold exactly. */
static double real(Draw *d, double low, double high)
{
    return low + (high - low) * below(d, 1000) / 999;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* ---- input ---- */

static void draw_input(Draw *d, Arena *a)
{
    Spec *s = d->s;
    d->channels = between(d, 1, 4);
    d->side = once_in(d, 2) ? between(d, 5, 16) : between(d, 5, 40);
    s->input.channels.v = d->channels;
    s->input.size.v = d->side;
    s->input.mean = ARENA_ARRAY(a, Real, d->channels);
    s->input.std = ARENA_ARRAY(a, Real, d->channels);
    for (int i = 0; i < d->channels; i++) {
        s->input.mean[i].v = real(d, 0, 1);
        s->input.std[i].v = real(d, 0.1, 1);
    }
    s->views.v = between(d, 1, 2);
    s->batch.v = between(d, 2, 9);
}

/* ---- layers ---- */

static int side_after(int side, const SpecLayer *l)
{
    return (side + 2 * (int)l->pad.v - (int)l->kernel.v) / (int)l->stride.v + 1;
}

static void draw_window(Draw *d, SpecLayer *l)
{
    const int most = least(d->side, once_in(d, 8) ? d->side : 5);
    l->kernel.v = between(d, 1, most);
    l->stride.v = once_in(d, 2) ? between(d, 1, 3) : 1;
    l->batchnorm.v = once_in(d, 3);
    if (once_in(d, 2))
        l->pad.v = between(d, 0, (int)l->kernel.v / 2);
}

static void draw_conv(Draw *d, SpecLayer *l)
{
    l->out.v = once_in(d, 8) ? 1 : between(d, 2, 40);
    l->relu = !once_in(d, 4);
    if (once_in(d, 8))
        l->pad.v = between(d, 0, (int)l->kernel.v + 1);
    l->reflect = l->pad.v < d->side && once_in(d, 3);
}

static void draw_residual(Draw *d, SpecLayer *l)
{
    const int wider = once_in(d, 3) ? 0 : below(d, 14);
    l->out.v = least(d->channels + wider, CHANNELS_MOST);
    if (l->kind == LAYER_BLOCK)
        l->depth.v = between(d, 1, 3);
}

static void draw_pool(Draw *d, SpecLayer *l)
{
    l->batchnorm.v = false;
    l->maximum = once_in(d, 2);
}

static void draw_layer(Draw *d, SpecLayer *l)
{
    static const LayerKind kinds[] = {LAYER_CONV,  LAYER_CONV,  LAYER_CONV, LAYER_RESIDUAL, LAYER_RESIDUAL,
                                      LAYER_BLOCK, LAYER_BLOCK, LAYER_POOL, LAYER_BATCHNORM};
    *l = (SpecLayer){.kind = kinds[below(d, COUNT(kinds))], .stride = {.v = 1}, .depth = {.v = 1}};
    if (l->kind == LAYER_BATCHNORM)
        return;
    draw_window(d, l);
    if (l->kind == LAYER_POOL)
        draw_pool(d, l);
    else if (l->kind == LAYER_CONV)
        draw_conv(d, l);
    else
        draw_residual(d, l);
}

/* A layer whose one window is the whole map, which makes f_1. */
static void draw_last(Draw *d, SpecLayer *l)
{
    *l = (SpecLayer){
        .kind = once_in(d, 2) ? LAYER_RESIDUAL : LAYER_CONV, .stride = {.v = 1}, .depth = {.v = 1}};
    l->kernel.v = d->side;
    l->batchnorm.v = once_in(d, 3);
    l->relu = l->kind == LAYER_CONV && once_in(d, 2);
    l->out.v = l->kind == LAYER_CONV ? between(d, 2, 40) : least(d->channels + below(d, 9), CHANNELS_MOST);
}

static bool is_affordable(const Draw *d, const SpecLayer *l)
{
    if (l->kind == LAYER_BATCHNORM)
        return true;
    const double side = side_after(d->side, l), images = (double)(d->s->views.v * d->s->batch.v);
    const double window = (double)(l->kernel.v * l->kernel.v);
    return side >= 1 && side <= SIDE_MOST &&
           images * side * side * window * d->channels * (l->kind == LAYER_POOL ? 1 : (double)l->out.v) <=
               WORK_MOST;
}

static void add_layer(Draw *d, const SpecLayer *l)
{
    if (l->kind != LAYER_BATCHNORM) {
        d->side = side_after(d->side, l);
        d->channels = l->kind == LAYER_POOL ? d->channels : (int)l->out.v;
    }
    d->s->layer[d->s->layers++] = *l;
}

static void draw_encoder(Draw *d, Arena *a)
{
    SpecLayer l;
    d->s->layer = ARENA_ARRAY(a, SpecLayer, LAYERS_MOST + 2);
    for (int wanted = between(d, 1, LAYERS_MOST); wanted > 0; wanted--) {
        draw_layer(d, &l);
        if (is_affordable(d, &l))
            add_layer(d, &l);
    }
    if (d->side > SCALE_MOST || d->s->layers == 0 || !once_in(d, 3)) {
        draw_last(d, &l);
        add_layer(d, &l);
    }
    if (once_in(d, 5))
        add_layer(d, &(SpecLayer){.kind = LAYER_BATCHNORM, .stride = {.v = 1}, .depth = {.v = 1}});
}

/* ---- pairs ---- */

/* The side of a layer drawn at random, if a pair may have it; else the top-most layer's. */
static int draw_scale(Draw *d)
{
    const int wanted = below(d, d->s->layers);
    int side = (int)d->s->input.size.v;
    for (int i = 0; i <= wanted; i++)
        if (d->s->layer[i].kind != LAYER_BATCHNORM)
            side = side_after(side, &d->s->layer[i]);
    return side <= SCALE_MOST ? side : d->side;
}

static bool is_listed(const Spec *s, const SpecPair *pair)
{
    for (int i = 0; i < s->loss.pairs; i++)
        if (s->loss.pair[i].from.v == pair->from.v && s->loss.pair[i].to.v == pair->to.v)
            return true;
    return false;
}

static void draw_loss(Draw *d, Arena *a)
{
    static const double clips[] = {20, 20, 0, 5, 1, 60}, penalties[] = {0.05, 0, 0.5};
    Spec *s = d->s;
    s->loss.pair = ARENA_ARRAY(a, SpecPair, PAIRS_MOST);
    for (int wanted = between(d, 1, PAIRS_MOST); wanted > 0; wanted--) {
        SpecPair pair = {.weight = {.v = once_in(d, 2) ? 1 : real(d, 0.05, 3)}};
        pair.from.v = once_in(d, 2) ? d->side : draw_scale(d);
        pair.to.v = draw_scale(d);
        if (!is_listed(s, &pair))
            s->loss.pair[s->loss.pairs++] = pair;
    }
    s->loss.clip.v = clips[below(d, COUNT(clips))];
    s->loss.penalty.v = penalties[below(d, COUNT(penalties))];
    s->embedding.dim.v = once_in(d, 3) ? d->channels : between(d, 1, 40);
    s->embedding.batchnorm.v = once_in(d, 2);
}

static void draw_mixture(Draw *d)
{
    SpecMixture *m = &d->s->embedding.mixture;
    bool has_antecedent = false;
    for (int i = 0; i < d->s->loss.pairs; i++)
        has_antecedent |= d->s->loss.pair[i].from.v == 1;
    m->on = has_antecedent && once_in(d, 3);
    m->components.v = between(d, 2, 5);
    m->hidden.v = once_in(d, 2) ? d->s->embedding.dim.v : between(d, 1, 40);
    m->temperature.v = once_in(d, 2) ? 1 : real(d, 0.01, 3);
}

/* ---- the rest: replay does not see it, the reader and the emitter do ---- */

static void draw_augment(Draw *d)
{
    Spec *s = d->s;
    s->augment.flip.v = once_in(d, 2) ? 0 : real(d, 0, 1);
    s->augment.grayscale.v = once_in(d, 2) ? 0 : real(d, 0, 1);
    s->augment.crop = (SpecAugmentStep){.on = once_in(d, 2),
                                        .low = {.v = real(d, 0.05, 0.5)},
                                        .high = {.v = real(d, 0.5, 1)},
                                        .ratio_low = {.v = real(d, 0.5, 1)},
                                        .ratio_high = {.v = real(d, 1, 2)},
                                        .p = {.v = once_in(d, 2) ? 1 : real(d, 0, 1)}};
    s->augment.translate = (SpecAugmentStep){
        .on = once_in(d, 2), .max = {.v = below(d, (int)s->input.size.v)}, .p = {.v = real(d, 0, 1)}};
    s->augment.jitter = (SpecAugmentStep){.on = once_in(d, 2),
                                          .brightness = {.v = real(d, 0, 1)},
                                          .contrast = {.v = real(d, 0, 1)},
                                          .saturation = {.v = real(d, 0, 1)},
                                          .hue = {.v = real(d, 0, 0.5)},
                                          .p = {.v = real(d, 0, 1)}};
    s->augment.blur = (SpecAugmentStep){.on = once_in(d, 2),
                                        .low = {.v = real(d, 0.1, 0.5)},
                                        .high = {.v = real(d, 0.5, fmin(2, (double)s->input.size.v))},
                                        .p = {.v = real(d, 0, 1)}};
    s->augment.solarize =
        (SpecAugmentStep){.on = once_in(d, 2), .threshold = {.v = real(d, 0, 1)}, .p = {.v = real(d, 0, 1)}};
}

static void draw_training(Draw *d, Arena *a)
{
    Spec *s = d->s;
    s->optimizer.sgd = once_in(d, 2);
    s->optimizer.decoupled.v = !s->optimizer.sgd && once_in(d, 2);
    s->optimizer.lr.v = real(d, 1e-4, 0.1);
    s->optimizer.weight_decay.v = real(d, 0, 1e-3);
    s->optimizer.momentum.v = s->optimizer.beta1.v = real(d, 0, 0.95);
    s->optimizer.beta2.v = real(d, 0.9, 0.999);
    s->optimizer.eps.v = 1e-8;
    s->schedule.epochs.v = between(d, 1, 100);
    s->schedule.warmup.v = below(d, 100);
    s->schedule.has_cosine = once_in(d, 2);
    if (s->schedule.has_cosine) {
        s->schedule.cosine.v = real(d, 0, 0.9);
        return;
    }
    s->schedule.gamma.v = real(d, 0, 1);
    s->schedule.milestone = ARENA_ARRAY(a, Int, 3);
    for (int epoch = below(d, 9); s->schedule.milestones < 3 && !once_in(d, 3); epoch += between(d, 1, 9))
        s->schedule.milestone[s->schedule.milestones++].v = epoch;
}

Spec *draw_spec(Arena *a, uint64_t seed)
{
    Spec *s = ARENA_NEW(a, Spec);
    Draw d = {.s = s, .state = (seed + 1) * 0x9E3779B97F4A7C15u}; /* neighbours lie far apart */
    s->name.v = arena_printf(a, "random-%ju", (uintmax_t)seed);
    draw_input(&d, a);
    draw_encoder(&d, a);
    draw_loss(&d, a);
    draw_mixture(&d);
    draw_augment(&d);
    draw_training(&d, a);
    s->target.march.v = "native";
    s->target.threads.v = between(&d, 1, 3);
    s->target.blas.v = once_in(&d, 2) ? "openblas" : "none";
    s->target.memory.v = once_in(&d, 3) ? (int64_t)1 << 30 : 0;
    s->target.precision = once_in(&d, 3)   ? PRECISION_BFLOAT16
                          : once_in(&d, 4) ? PRECISION_BFLOAT16X3
                                           : PRECISION_FLOAT32;
    return s;
}
