/* net.c: the spec's layers with shapes, the scales they make, and the pairs' places among them.
 *
 * Requires a Spec whose every value is in range. Reports what cannot be built where the spec says it: the
 * first impossible layer, for all above it would only echo it, or every pair whose scale no layer makes.
 * Keeps every tensor below 2^31 - 1 elements, so that later passes can count them in an int. */
#include "amdimc.h"

#include <limits.h>
#include <stdlib.h>

enum { SCALES_SHOWN = 16, SIZES_SHOWN = 32 };

typedef struct {
    Arena *arena;
    Diagnostics *diag;
    Net *net;
    int errors_before;
} Builder;

static bool failed(const Builder *b)
{
    return b->diag->errors > b->errors_before;
}

static const char *layer_path(const Builder *b, const NetLayer *l)
{
    return arena_printf(b->arena, "encoder[%d].%s", l->number, layer_kind_name(l->spec->kind));
}

/* ---- sizes ---- */

/* In double, which holds every product of a spec's numbers without overflow. */
static void check_elements(const Builder *b, Mark at, const char *path, const char *what, double elements)
{
    if (elements >= INT_MAX)
        diag_error(b->diag, at, "%s: the %s would have %.3g elements; a tensor must have fewer than %d", path,
                   what, elements, INT_MAX);
}

static double map_elements(const Net *n, int side, int channels)
{
    return (double)n->images * side * side * channels;
}

static bool has_shortcut(const SpecLayer *s)
{
    return s->kind == LAYER_RESIDUAL || s->kind == LAYER_BLOCK;
}

static void check_layer_sizes(const Builder *b, const NetLayer *l)
{
    const SpecLayer *s = l->spec;
    const char *path = layer_path(b, l);
    int padded = l->side_in + 2 * (int)s->pad.v;
    double window = (double)s->kernel.v * (double)s->kernel.v;
    double weights = s->kind == LAYER_POOL ? 0 : window * l->channels_in * l->channels;
    double mixing = has_shortcut(s) ? (double)l->channels * l->channels : 0;
    check_elements(b, s->at, path, "padded input of a step", map_elements(b->net, padded, l->channels_in));
    if (!failed(b))
        check_elements(b, s->at, path, "output of a step", map_elements(b->net, l->side, l->channels));
    if (!failed(b))
        check_elements(b, s->at, path, "weight", weights > mixing ? weights : mixing);
}

/* ---- layers ---- */

static void check_window(const Builder *b, const NetLayer *l)
{
    const SpecLayer *s = l->spec;
    int64_t padded = l->side_in + 2 * s->pad.v;
    if (s->kernel.v > padded)
        diag_error(b->diag, s->kernel.at, "%s.kernel: %d is larger than its input, which is %dx%d%s",
                   layer_path(b, l), (int)s->kernel.v, (int)padded, (int)padded,
                   s->pad.v > 0 ? " with its pad" : "");
    if (s->reflect && s->pad.v >= l->side_in)
        diag_error(b->diag, s->pad.at,
                   "%s.pad: reflection pads by less than the side of its input, %d, not by %d",
                   layer_path(b, l), l->side_in, (int)s->pad.v);
    if (has_shortcut(s) && s->out.v < l->channels_in)
        diag_error(b->diag, s->out.at, "%s.out: at least the %d channels of its input are wanted, not %d",
                   layer_path(b, l), l->channels_in, (int)s->out.v);
}

static int saturate(int64_t value)
{
    return value < INT_MAX ? (int)value : INT_MAX;
}

static void shape_window(const Builder *b, NetLayer *l)
{
    const SpecLayer *s = l->spec;
    check_window(b, l);
    if (failed(b))
        return;
    int64_t padded = l->side_in + 2 * s->pad.v;
    l->side = (int)((padded - s->kernel.v) / s->stride.v) + 1;
    l->channels = s->kind == LAYER_POOL ? l->channels_in : (int)s->out.v;
    l->receptive_begin = -saturate(-l->receptive_begin + s->pad.v * l->receptive_stride);
    l->receptive_field = saturate(l->receptive_field + (s->kernel.v - 1) * l->receptive_stride);
    l->receptive_stride = saturate(l->receptive_stride * s->stride.v);
    check_layer_sizes(b, l);
}

/* Shapes layers from the input up, to the first impossible one. */
static void shape_layers(const Builder *b)
{
    const Spec *s = b->net->spec;
    int side = (int)s->input.size.v, channels = (int)s->input.channels.v, field = 1, jump = 1, begin = 0;
    check_elements(b, s->input.size.at, "input", "pictures of a step", map_elements(b->net, side, channels));
    for (int i = 0; i < s->layers && !failed(b); i++) {
        NetLayer *l = &b->net->layer[i];
        *l = (NetLayer){&s->layer[i], i, side, side, channels, channels, field, jump, begin};
        if (l->spec->kind != LAYER_BATCHNORM)
            shape_window(b, l);
        side = l->side;
        channels = l->channels;
        field = l->receptive_field;
        jump = l->receptive_stride;
        begin = l->receptive_begin;
    }
}

/* ---- scales ---- */

static NetScale *find_scale(const Net *n, int64_t d)
{
    for (int i = 0; i < n->scales; i++)
        if (n->scale[i].scale == d)
            return &n->scale[i];
    return NULL;
}

const NetScale *net_scale(const Net *n, int d)
{
    return find_scale(n, d);
}

int net_positions(const NetScale *s)
{
    return s->scale * s->scale;
}

static int by_scale(const void *left, const void *right)
{
    return ((const NetScale *)left)->scale - ((const NetScale *)right)->scale;
}

static void find_scales(const Builder *b)
{
    Net *n = b->net;
    n->scale = ARENA_ARRAY(b->arena, NetScale, n->layers);
    for (int i = 0; i < n->layers; i++) {
        const NetLayer *l = &n->layer[i];
        NetScale *scale = find_scale(n, l->side);
        if (!scale)
            scale = &n->scale[n->scales++];
        bool identity = l->side == 1 && l->channels == n->spec->embedding.dim.v;
        *scale = (NetScale){.scale = l->side, .layer = l, .identity = identity};
    }
    qsort(n->scale, (size_t)n->scales, sizeof *n->scale, by_scale);
}

static const char *list_scales(const Builder *b)
{
    const Net *n = b->net;
    const char *list = "";
    for (int i = 0; i < n->scales && i < SCALES_SHOWN; i++) {
        const NetScale *scale = &n->scale[i];
        list = arena_printf(b->arena, "%s%s%d (%s)", list, i > 0 ? ", " : "", scale->scale,
                            layer_path(b, scale->layer));
    }
    if (n->scales > SCALES_SHOWN)
        list = arena_printf(b->arena, "%s and %d larger", list, n->scales - SCALES_SHOWN);
    return list;
}

/* "30 (conv), 30 (residual), 14 (block)", from the input up. */
static const char *list_sizes(const Builder *b)
{
    const Net *n = b->net;
    const char *list = "";
    for (int i = 0; i < n->layers && i < SIZES_SHOWN; i++)
        list = arena_printf(b->arena, "%s%s%d (%s)", list, i > 0 ? ", " : "", n->layer[i].side,
                            layer_kind_name(n->layer[i].spec->kind));
    return n->layers <= SIZES_SHOWN ? list
                                    : arena_printf(b->arena, "%s and %d more", list, n->layers - SIZES_SHOWN);
}

/* ---- pairs ---- */

static NetScale *resolve(const Builder *b, const SpecPair *p, Int scale)
{
    NetScale *found = find_scale(b->net, scale.v);
    if (!found) {
        int d = (int)scale.v;
        diag_error(b->diag, p->at, "pair %d-to-%d: the encoder has no %dx%d scale", (int)p->from.v,
                   (int)p->to.v, d, d);
        return NULL;
    }
    if (!found->trained)
        found->at = p->at;
    found->trained = true;
    if (found->layer->number > b->net->top)
        b->net->top = found->layer->number;
    return found;
}

static void check_scores(const Builder *b, const NetPair *p)
{
    double targets =
        (double)p->to->scale * p->to->scale * b->net->share; /* any number, until this is checked */
    check_elements(b, p->spec->at, p->name, "scores", targets * b->net->batch * b->net->views);
}

static void resolve_pairs(const Builder *b)
{
    Net *n = b->net;
    bool missing = false;
    for (int i = 0; i < n->pairs; i++) {
        const SpecPair *s = &n->spec->loss.pair[i];
        NetPair *p = &n->pair[i];
        p->spec = s;
        p->name = arena_printf(b->arena, "%d-to-%d", (int)s->from.v, (int)s->to.v);
        p->from = resolve(b, s, s->from);
        p->to = s->to.v == s->from.v ? p->from : resolve(b, s, s->to);
        p->located = s->from.v > 1 ? n->located++ : -1;
        p->components = s->from.v == 1 && n->spec->embedding.mixture.on
                            ? (int)n->spec->embedding.mixture.components.v
                            : 0;
        if (p->from && p->to)
            check_scores(b, p);
        missing |= !p->from || !p->to;
    }
    if (!missing)
        return;
    diag_note(b->diag, n->layer[0].spec->at, "the scales it has: %s", list_scales(b));
    diag_note(b->diag, (Mark){0}, "the input is %dx%d, and its layers make %s", (int)n->spec->input.size.v,
              (int)n->spec->input.size.v, list_sizes(b));
    diag_note(b->diag, (Mark){0},
              "a layer makes floor((size + 2*pad - kernel) / stride) + 1 of its input's size");
}

/* ---- heads ---- */

static void check_head(const Builder *b, const NetScale *s)
{
    Int dim = b->net->spec->embedding.dim;
    double side = s->layer->channels > dim.v ? s->layer->channels : (double)dim.v;
    const char *path = arena_printf(b->arena, "embedding.dim: scale %d", s->scale);
    check_elements(b, dim.at, path, "weight of the head", side * (double)dim.v);
    if (!failed(b))
        check_elements(b, dim.at, path, "embeddings of a step", map_elements(b->net, s->scale, (int)dim.v));
}

static void check_mixture(const Builder *b)
{
    const SpecMixture *m = &b->net->spec->embedding.mixture;
    const double dim = (double)b->net->spec->embedding.dim.v, all = (double)m->components.v * dim,
                 hidden = (double)m->hidden.v;
    if (!m->on || failed(b))
        return;
    check_elements(b, m->at, "embedding.mixture", "weight", hidden * all);
    if (!failed(b))
        check_elements(b, m->at, "embedding.mixture", "components of a step",
                       b->net->images * (hidden > all ? hidden : all));
}

static void check_heads(const Builder *b)
{
    for (int i = 0; i < b->net->scales && !failed(b); i++)
        if (b->net->scale[i].trained && !b->net->scale[i].identity)
            check_head(b, &b->net->scale[i]);
}

/* Poolings have no weights, and neither has the identity. */
static void check_weights(Builder *b)
{
    const Net *n = b->net;
    bool any = n->spec->embedding.mixture.on;
    for (int i = 0; i <= n->top; i++)
        any |= n->layer[i].spec->kind != LAYER_POOL;
    for (int i = 0; i < n->scales; i++)
        any |= n->scale[i].trained && !n->scale[i].identity;
    if (!any)
        diag_error(b->diag, n->layer[0].spec->at,
                   "nothing to train: no layer has weights, and f_1 is its own embedding; add a layer, or an "
                   "embedding.dim other than %d",
                   n->layer[n->top].channels);
}

/* "4 and 8 do" */
static const char *divisors_near(const Builder *b, int ranks)
{
    const int batch = b->net->batch;
    int below = ranks, above = ranks;
    while (below > batch || batch % below)
        below--;
    while (above < batch && batch % above)
        above++;
    return above <= batch ? arena_printf(b->arena, "%d and %d do", below, above)
                          : arena_printf(b->arena, "%d does", below);
}

/* Into as many equal shares as there are ranks. */
static void cut_batch(const Builder *b)
{
    Net *n = b->net;
    const Int ranks = n->spec->target.ranks;
    if (n->batch % ranks.v)
        diag_error(b->diag, ranks.at.source ? ranks.at : n->spec->batch.at,
                   "target.ranks: %d shares do not divide a batch of %d; %s", (int)ranks.v, n->batch,
                   divisors_near(b, (int)ranks.v));
    n->shares = n->batch % ranks.v ? 1 : (int)ranks.v;
    n->share = n->batch / n->shares;
}

Net *net_shape(Arena *a, Diagnostics *d, const Spec *s)
{
    Net *n = ARENA_NEW(a, Net);
    Builder b = {a, d, n, d->errors};
    *n = (Net){.spec = s, .views = (int)s->views.v, .batch = (int)s->batch.v};
    cut_batch(&b);
    n->images = n->views * n->share;
    n->layers = s->layers;
    n->layer = ARENA_ARRAY(a, NetLayer, s->layers);
    n->pairs = s->loss.pairs;
    n->pair = ARENA_ARRAY(a, NetPair, s->loss.pairs);
    shape_layers(&b);
    if (failed(&b))
        return NULL;
    find_scales(&b);
    return n;
}

bool net_resolve(Arena *a, Diagnostics *d, Net *n)
{
    Builder b = {a, d, n, d->errors};
    resolve_pairs(&b);
    check_heads(&b);
    check_mixture(&b);
    if (!failed(&b))
        check_weights(&b);
    return !failed(&b);
}

Net *net_build(Arena *a, Diagnostics *d, const Spec *s)
{
    Net *n = net_shape(a, d, s);
    return n && net_resolve(a, d, n) ? n : NULL;
}
