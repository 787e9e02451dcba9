/* pytorch.c: the net as a PyTorch module, one readable file of Python.
 *
 * Most of it is templates/pytorch.py.tmpl as it stands; what the spec decides is written here, a hole of the
 * template at a time: constants, layers, heads, features and pairs, each with the spec's line. Layers above
 * the top-most trained one and heads that no pair trains are not there at all, as in the program. */
#include "amdimc.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_WIDTH = 79 };

typedef struct {
    Arena *arena;
    const Net *net;
    FILE *out; /* the hole's value */
} Python;

/* ---- pieces of Python ---- */

/* A source's base name as it may stand in a comment and in a docstring. */
static const char *source_name(const Python *p, const Source *source)
{
    const char *slash = strrchr(source->name, '/'), *base = slash ? slash + 1 : source->name;
    char *name = arena_copy(p->arena, base, strlen(base));
    for (char *c = name; *c; c++)
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
            *c = '?';
    return name;
}

/* Where the spec says it: "amdim.yaml:17", or "default" where it does not. */
static const char *place(const Python *p, Mark at)
{
    return at.source ? arena_printf(p->arena, "%s:%d", source_name(p, at.source), at.line) : "default";
}

/* The shortest decimal that reads back as the same double; a whole number as one where it is not long. */
static const char *real(const Python *p, double value)
{
    if (fabs(value) < 1e6 && value == (int)value)
        return arena_printf(p->arena, "%d", (int)value);
    const char *text = "";
    for (int digits = 1; digits <= 17 && (digits == 1 || strtod(text, NULL) != value); digits++)
        text = arena_printf(p->arena, "%.*g", digits, value);
    return text;
}

/* A call of positional arguments and keywords, as an item of a list; in two lines where one is too long. */
static void put_call(const Python *p, const char *positional, const char *keywords)
{
    static const char indent[] = "            ";
    int column = (int)(strchr(positional, '(') - positional) + 1;
    if (sizeof indent + strlen(positional) + strlen(keywords) + 3 <= LINE_WIDTH)
        fprintf(p->out, "%s%s%s%s),\n", indent, positional, *keywords ? ", " : "", keywords);
    else
        fprintf(p->out, "%s%s,\n%s%*s%s),\n", indent, positional, indent, column, "", keywords);
}

/* ---- constants ---- */

static void put_int(const Python *p, const char *name, Int value)
{
    fprintf(p->out, "%s = %lld  # %s\n", name, (long long)value.v, place(p, value.at));
}

static void put_real(const Python *p, const char *name, Real value)
{
    fprintf(p->out, "%s = %s  # %s\n", name, real(p, value.v), place(p, value.at));
}

/* A number a channel, in as many lines as they need. */
static void put_channels(const Python *p, const char *name, const Real *value)
{
    const Int channels = p->net->spec->input.channels;
    if (!value[0].at.source) {
        fprintf(p->out, "%s = [%s] * CHANNELS  # default\n", name, real(p, value[0].v));
        return;
    }
    int column = fprintf(p->out, "%s = [", name);
    const int indent = column;
    for (int64_t i = 0; i < channels.v; i++) {
        const char *item =
            arena_printf(p->arena, "%s%s", real(p, value[i].v), i + 1 < channels.v ? "," : "]");
        if (i && column + 1 + (int)strlen(item) > LINE_WIDTH)
            column = fprintf(p->out, "\n%*s", indent, "") - 1;
        else if (i)
            column += fprintf(p->out, " ");
        column += fprintf(p->out, "%s", item);
    }
    fprintf(p->out, "  # %s\n", place(p, value[0].at));
}

static void put_pair_constants(const Python *p)
{
    const Net *n = p->net;
    fprintf(p->out, "WEIGHTS = {\n");
    for (int i = 0; i < n->pairs; i++)
        fprintf(p->out, "    '%s': %s,  # %s\n", n->pair[i].name, real(p, n->pair[i].spec->weight.v),
                place(p, n->pair[i].spec->at));
    fprintf(p->out, "}\n");
    if (!n->located) {
        fprintf(p->out, "LOCATED = {}  # no pair n-to-m has n > 1\n");
        return;
    }
    fprintf(p->out, "LOCATED = {  # pairs n-to-m with n > 1: the n * n source locations\n");
    for (int i = 0; i < n->pairs; i++)
        if (n->pair[i].located >= 0)
            fprintf(p->out, "    '%s': %d,\n", n->pair[i].name, net_positions(n->pair[i].from));
    fprintf(p->out, "}\n");
}

/* The scale whose features stand for an image: 1, or that of the top-most trained layer where none trains 1.
 */
static int representation(const Net *n)
{
    const NetScale *one = net_scale(n, 1);
    return one && one->trained ? 1 : n->layer[n->top].side;
}

static void put_constants(const Python *p)
{
    const Spec *s = p->net->spec;
    fprintf(p->out, "NAME = '%s'  # %s\n", s->name.v, place(p, s->name.at));
    put_int(p, "CHANNELS", s->input.channels);
    put_int(p, "SIZE", s->input.size);
    put_channels(p, "MEAN", s->input.mean);
    put_channels(p, "STD", s->input.std);
    put_int(p, "VIEWS", s->views);
    put_int(p, "BATCH", s->batch);
    put_int(p, "DIM", s->embedding.dim);
    if (s->embedding.mixture.on) {
        put_int(p, "COMPONENTS", s->embedding.mixture.components);
        put_int(p, "HIDDEN", s->embedding.mixture.hidden);
        put_real(p, "TEMPERATURE", s->embedding.mixture.temperature);
    }
    put_real(p, "CLIP", s->loss.clip);
    put_real(p, "PENALTY", s->loss.penalty);
    put_int(p, "THREADS", s->target.threads);
    put_pair_constants(p);
    fprintf(p->out, "REPRESENTATION = %d  # the scale whose features stand for an image\n",
            representation(p->net));
}

/* ---- the encoder and the heads ---- */

static const char *layer_class(LayerKind kind)
{
    switch (kind) {
    case LAYER_CONV: return "Conv";
    case LAYER_RESIDUAL: return "Residual";
    case LAYER_BLOCK: return "block";
    case LAYER_POOL: return "Pool";
    case LAYER_BATCHNORM: return "BatchNorm";
    }
    bug("layer kind %d", (int)kind);
}

/* The arguments that are not what they are by default. */
static const char *layer_keywords(const Python *p, const SpecLayer *s)
{
    const char *text = "";
    if (s->stride.v != (s->kind == LAYER_POOL ? s->kernel.v : 1))
        text = arena_printf(p->arena, "%s, stride=%d", text, (int)s->stride.v);
    if (s->pad.v > 0)
        text = arena_printf(p->arena, "%s, pad=%d", text, (int)s->pad.v);
    if (s->pad.v > 0 && s->reflect)
        text = arena_printf(p->arena, "%s, reflect=True", text);
    if (s->maximum)
        text = arena_printf(p->arena, "%s, maximum=True", text);
    if (s->kind == LAYER_BLOCK)
        text = arena_printf(p->arena, "%s, depth=%d", text, (int)s->depth.v);
    if (s->batchnorm.v)
        text = arena_printf(p->arena, "%s, batchnorm=True", text);
    if (s->kind == LAYER_CONV && !s->relu)
        text = arena_printf(p->arena, "%s, relu=False", text);
    return *text ? text + strlen(", ") : text;
}

static void put_layer(const Python *p, const NetLayer *l)
{
    const SpecLayer *s = l->spec;
    const char *class = layer_class(s->kind);
    fprintf(p->out, "            # %s  %d x %d\n", place(p, s->at), l->side, l->side);
    if (s->kind == LAYER_BATCHNORM)
        put_call(p, arena_printf(p->arena, "%s(%d", class, l->channels), "");
    else if (s->kind == LAYER_POOL)
        put_call(p, arena_printf(p->arena, "%s(%d", class, (int)s->kernel.v), layer_keywords(p, s));
    else
        put_call(
            p, arena_printf(p->arena, "%s(%d, %d, %d", class, l->channels_in, l->channels, (int)s->kernel.v),
            layer_keywords(p, s));
}

static void put_layers(const Python *p)
{
    for (int i = 0; i <= p->net->top; i++)
        put_layer(p, &p->net->layer[i]);
}

static void put_heads(const Python *p)
{
    const Net *n = p->net;
    for (int i = 0; i < n->scales; i++) {
        const NetScale *s = &n->scale[i];
        if (!s->trained)
            continue;
        fprintf(p->out, "            # %s  %d x %d of encoder[%d]\n            '%d': ", place(p, s->at),
                s->scale, s->scale, s->layer->number, s->scale);
        if (s->identity)
            fprintf(p->out, "nn.Identity(),\n");
        else
            fprintf(p->out, "Head(%d%s),\n", s->layer->channels,
                    n->spec->embedding.batchnorm.v ? ", batchnorm=True" : "");
    }
}

/* The components of antecedents of scale 1, behind the class of heads: two lines apart, as all of the file
 * is. */
static void put_mixture(const Python *p)
{
    if (!p->net->spec->embedding.mixture.on)
        return;
    fputs("\n\n\n"
          "class Mixture(nn.Module):\n"
          "    \"\"\"What COMPONENTS antecedents add to one (section 3.6 of the paper).\"\"\"\n"
          "\n"
          "    def __init__(self):\n"
          "        super().__init__()\n"
          "        self.conv1 = nn.Conv2d(DIM, HIDDEN, 1, bias=False)\n"
          "        self.conv2 = nn.Conv2d(HIDDEN, COMPONENTS * DIM, 1, bias=False)\n"
          "        for conv in self.conv1, self.conv2:\n"
          "            bound = 1 / math.sqrt(conv.in_channels)\n"
          "            nn.init.uniform_(conv.weight, -bound, bound)\n"
          "\n"
          "    def forward(self, antecedents):\n"
          "        \"\"\"(B, DIM, 1, 1) to a list of COMPONENTS times (B, DIM).\"\"\"\n"
          "        added = self.conv2(self.conv1(antecedents).relu_())\n"
          "        parts = added.flatten(1).chunk(COMPONENTS, 1)\n"
          "        return [antecedents.flatten(1) + part for part in parts]",
          p->out);
}

static void put_mixture_nce(const Python *p)
{
    if (!p->net->spec->embedding.mixture.on)
        return;
    fputs("\n\n\n"
          "def mixture_nce(source, target, mixture):\n"
          "    \"\"\"info_nce where each positive chooses softly among components.\n"
          "\n"
          "    source   (B, DIM, 1, 1)\n"
          "    target   (B, DIM, m, m)\n"
          "    mixture  makes the components of source\n"
          "    \"\"\"\n"
          "    parts = [log_shares(component, target) for component in mixture(source)]\n"
          "    shares = torch.stack([part[0] for part in parts])\n"
          "    likeliest = shares.detach().amax(0)\n"
          "    rest = torch.expm1(TEMPERATURE * (shares - likeliest)).mean(0)  # keeps its digits at small "
          "ones\n"
          "    squared = torch.stack([part[1] for part in parts]).mean()\n"
          "    return torch.stack([-(likeliest + torch.log1p(rest) / TEMPERATURE).mean(), squared])",
          p->out);
}

static void put_mixed(const Python *p)
{
    const SpecMixture *m = &p->net->spec->embedding.mixture;
    if (m->on)
        fprintf(p->out, "\n        # %s\n        self.embed['1'].mixture = Mixture()", place(p, m->at));
}

static const NetScale *scale_of_layer(const Net *n, int number)
{
    for (int i = 0; i < n->scales; i++)
        if (n->scale[i].trained && n->scale[i].layer->number == number)
            return &n->scale[i];
    return NULL;
}

/* The trained scales' features by scale, in as many lines as they need. */
static void put_feature_table(const Python *p)
{
    const Net *n = p->net;
    const char *before = "        return {";
    int column = 0;
    for (int i = 0; i < n->scales; i++) {
        if (!n->scale[i].trained)
            continue;
        const char *item = arena_printf(p->arena, "%d: f_%d", n->scale[i].scale, n->scale[i].scale);
        if (column + (int)(strlen(before) + strlen(item)) + 1 > LINE_WIDTH) {
            before = ",\n                ";
            column = -(int)strlen(",\n");
        }
        column += fprintf(p->out, "%s%s", before, item);
        before = ", ";
    }
    fprintf(p->out, "}\n");
}

static void put_features(const Python *p)
{
    const Net *n = p->net;
    const char *below = "x";
    for (int i = 0; i <= n->top; i++) {
        const NetScale *s = scale_of_layer(n, i);
        const char *result = s ? arena_printf(p->arena, "f_%d", s->scale) : "x";
        fprintf(p->out, "        %s = self.encoder[%d](%s)\n", result, i, below);
        below = result;
    }
    put_feature_table(p);
}

/* ---- the loss ---- */

static void put_clipped(const Python *p)
{
    fprintf(p->out, p->net->spec->loss.clip.v > 0 ? "CLIP * torch.tanh(raw / CLIP)" : "raw  # not clipped");
}

static const char *nce(const NetPair *pair)
{
    return pair->components ? "mixture_nce" : "info_nce";
}

/* Its arguments for one direction of a pair: view u's antecedents, view v's consequents, from 0. */
static const char *maps(const Python *p, const NetPair *pair, int u, int v)
{
    return arena_printf(p->arena, "phi[%d][%d], phi[%d][%d]", pair->from->scale, u, pair->to->scale, v);
}

/* And what else it takes: the places of view u's antecedents where there is a choice, or the mixture. */
static const char *more(const Python *p, const NetPair *pair, int u)
{
    if (pair->components)
        return "self.embed['1'].mixture";
    return pair->located < 0 ? "" : arena_printf(p->arena, "locations['%s'][%d]", pair->name, u);
}

static void put_direction(const Python *p, const NetPair *pair, const char *before, int u, int v)
{
    const char *last = more(p, pair, u);
    fprintf(p->out, "                %s%s(%s%s%s)\n", before, nce(pair), maps(p, pair, u, v),
            *last ? ", " : "", last);
}

static void put_pairs(const Python *p)
{
    const Net *n = p->net;
    for (int i = 0; i < n->pairs; i++) {
        const NetPair *pair = &n->pair[i];
        fprintf(p->out, "            # %s\n", place(p, pair->spec->at));
        if (n->views == 1) {
            put_call(p, arena_printf(p->arena, "'%s': %s(%s", pair->name, nce(pair), maps(p, pair, 0, 0)),
                     more(p, pair, 0));
            continue;
        }
        fprintf(p->out, "            '%s': (\n", pair->name);
        put_direction(p, pair, "", 0, 1);
        put_direction(p, pair, "+ ", 1, 0);
        fprintf(p->out, "            ) / 2,\n");
    }
}

/* ---- training ---- */

/* PyTorch takes betas for numbers only where both are floats. */
static const char *as_float(const Python *p, double value)
{
    const char *text = real(p, value);
    return strpbrk(text, ".e") ? text : arena_printf(p->arena, "%s.0", text);
}

static void put_optimizer(const Python *p)
{
    const Spec *s = p->net->spec;
    const char *lr = real(p, s->optimizer.lr.v), *decay = real(p, s->optimizer.weight_decay.v);
    if (s->optimizer.sgd)
        fprintf(p->out, "SGD(\n        parameters, lr=%s, momentum=%s, weight_decay=%s)", lr,
                real(p, s->optimizer.momentum.v), decay);
    else
        fprintf(p->out,
                "Adam%s(\n        parameters, lr=%s, betas=(%s, %s),\n        eps=%s, weight_decay=%s)",
                s->optimizer.decoupled.v ? "W" : "", lr, as_float(p, s->optimizer.beta1.v),
                as_float(p, s->optimizer.beta2.v), real(p, s->optimizer.eps.v), decay);
}

/* ---- the file ---- */

static void put_name(const Python *p)
{
    fputs(p->net->spec->name.v, p->out);
}

static void put_version(const Python *p)
{
    fputs(AMDIMC_VERSION, p->out);
}

static void put_spec(const Python *p)
{
    fputs(source_name(p, p->net->spec->source), p->out);
}

static const struct {
    const char *hole;
    void (*put)(const Python *p);
} holes[] = {
    {"name", put_name},           {"version", put_version},   {"spec", put_spec},
    {"constants", put_constants}, {"clipped", put_clipped},   {"layers", put_layers},
    {"heads", put_heads},         {"features", put_features}, {"pairs", put_pairs},
    {"optimizer", put_optimizer}, {"mixture", put_mixture},   {"mixture_nce", put_mixture_nce},
    {"mixed", put_mixed},
};

static const char *hole_value(Arena *a, const Net *n, void (*put)(const Python *p))
{
    TextStream t;
    Python p = {a, n, text_stream_open(&t)};
    put(&p);
    char *value = text_stream_close(a, &t);
    size_t length = strlen(value);
    /* The template ends the hole's last line. */
    if (length > 0 && value[length - 1] == '\n')
        value[length - 1] = 0;
    return value;
}

char *emit_pytorch(Arena *a, const Net *n, const char *templates)
{
    Fill fill[COUNT(holes)];
    for (size_t i = 0; i < COUNT(holes); i++)
        fill[i] = (Fill){holes[i].hole, hole_value(a, n, holes[i].put)};
    TextStream t;
    template_expand(a, text_stream_open(&t), templates, "pytorch.py.tmpl", fill, (int)COUNT(fill));
    return text_stream_close(a, &t);
}
