/* spec.c: the language of a spec, as tables of its keys: types, ranges, defaults.
 *
 * Requires a source; leaves a Spec in which every value is in range and every default filled in, with the
 * mark of each value that was written. Whether the layers fit together is net.c's question. */
#include "blocks.h"
#include "reader.h"

#include <string.h>

enum { PAIR_LIMIT = 1024, NAME_LIMIT = 48 };

/* ---- name, input ---- */

static void read_name(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    static const char *const wanted = "[a-z][a-z0-9-]*, at most 48 characters,";
    if (!read_text(r, n, path, wanted, &s->name))
        return;
    size_t good = strspn(s->name.v, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (good != n->length || good > NAME_LIMIT || strcspn(s->name.v, "0123456789-") == 0)
        problem_unwanted(r, n, path, wanted);
}

static const Field INPUT[] = {
    INT_FIELD("channels", false, Spec, input.channels, 1, SIZE_LIMIT),
    INT_FIELD("size", true, Spec, input.size, 1, SIZE_LIMIT),
    LATER_FIELD("mean"),
    LATER_FIELD("std"),
};
static const Fields INPUT_FIELDS = FIELDS(INPUT);

static Real *read_channels(Reader *r, const Node *n, const char *path, int channels, double absent,
                           const Range *range)
{
    Real *values = ARENA_ARRAY(r->arena, Real, channels);
    for (int i = 0; i < channels; i++)
        values[i].v = absent;
    if (n)
        read_reals(r, n, path, channels, range, values);
    return values;
}

static void read_input(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    bool read = read_fields(r, n, path, &INPUT_FIELDS, s);
    int channels = (int)s->input.channels.v;
    if (!read || channels == 0)
        return;
    s->input.mean = read_channels(r, node_child(n, "mean"), "input.mean", channels, 0, &ANY);
    s->input.std = read_channels(r, node_child(n, "std"), "input.std", channels, 1, &POSITIVE);
}

/* ---- embedding, loss ---- */

static const Field MIXTURE[] = {
    INT_FIELD("components", true, Spec, embedding.mixture.components, 2, MIXTURE_MOST),
    INT_FIELD("hidden", false, Spec, embedding.mixture.hidden, 1, SIZE_LIMIT),
    REAL_FIELD("temperature", Spec, embedding.mixture.temperature, POSITIVE),
};
static const Fields MIXTURE_FIELDS = FIELDS(MIXTURE);

static void read_mixture(Reader *r, const Node *n, const char *path, void *record)
{
    SpecMixture *m = &((Spec *)record)->embedding.mixture;
    m->at = n->key->at;
    m->on = read_fields(r, n, path, &MIXTURE_FIELDS, record);
}

static const Field EMBEDDING[] = {
    INT_FIELD("dim", true, Spec, embedding.dim, 1, SIZE_LIMIT),
    FLAG_FIELD("batchnorm", Spec, embedding.batchnorm),
    OTHER_FIELD("mixture", false, read_mixture),
};
static const Fields EMBEDDING_FIELDS = FIELDS(EMBEDDING);

static void read_embedding(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    read_fields(r, n, path, &EMBEDDING_FIELDS, s);
    if (!s->embedding.mixture.hidden.at.source)
        s->embedding.mixture.hidden.v = s->embedding.dim.v;
}

/* A scale in digits at *text; 0 where it is none. */
static int64_t parse_scale(const char **text)
{
    if (**text == '0')
        return 0;
    int64_t scale = parse_digits(text, SIZE_LIMIT);
    return scale <= SIZE_LIMIT ? scale : 0;
}

static bool parse_pair(const char *text, int64_t *from, int64_t *to)
{
    static const char between[] = "-to-";
    *from = parse_scale(&text);
    if (*from == 0 || strncmp(text, between, strlen(between)) != 0)
        return false;
    text += strlen(between);
    *to = parse_scale(&text);
    return *to > 0 && *text == '\0';
}

static void read_pair_name(Reader *r, const Node *n, const char *path, void *record)
{
    SpecPair *pair = record;
    Text text;
    static const char *const wanted = "a pair n-to-m of scales from 1 to 65536, as 1-to-5,";
    pair->at = n->at;
    pair->from.at = pair->to.at = n->at;
    if (read_text(r, n, path, wanted, &text) && !parse_pair(text.v, &pair->from.v, &pair->to.v)) {
        pair->from.v = 0;
        problem_unwanted(r, n, path, wanted);
    }
}

static const Field PAIR[] = {
    OTHER_FIELD("pair", true, read_pair_name),
    REAL_FIELD("weight", SpecPair, weight, POSITIVE),
};
static const Fields PAIR_FIELDS = FIELDS(PAIR);

static void check_new_pair(Reader *r, const Spec *s, const SpecPair *pair)
{
    for (int i = 0; i < s->loss.pairs; i++) {
        const SpecPair *first = &s->loss.pair[i];
        if (first->from.v != pair->from.v || first->to.v != pair->to.v)
            continue;
        problem(r, pair->at, "loss.pairs: the pair %d-to-%d is given twice", (int)pair->from.v,
                (int)pair->to.v);
        problem_note(r, first->at, "the first is here");
        return;
    }
}

static void read_pairs(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    if (!check_list(r, n, path, "a list of pairs") || !check_count(r, n, path, PAIR_LIMIT))
        return;
    s->loss.pair = ARENA_ARRAY(r->arena, SpecPair, n->count);
    int i = 0;
    for (const Node *item = n->first; item; item = item->next, i++) {
        SpecPair *pair = &s->loss.pair[s->loss.pairs];
        const char *item_path = arena_printf(r->arena, "%s[%d]", path, i);
        *pair = (SpecPair){.weight = {.v = 1}};
        if (item->kind == NODE_MAPPING)
            read_fields(r, item, item_path, &PAIR_FIELDS, pair);
        else
            read_pair_name(r, item, item_path, pair);
        if (pair->from.v == 0)
            continue;
        check_new_pair(r, s, pair);
        s->loss.pairs++;
    }
}

static const Field LOSS[] = {
    OTHER_FIELD("pairs", true, read_pairs),
    REAL_FIELD("clip", Spec, loss.clip, NOT_NEGATIVE),
    REAL_FIELD("penalty", Spec, loss.penalty, NOT_NEGATIVE),
};
static const Fields LOSS_FIELDS = FIELDS(LOSS);

/* ---- the whole ---- */

static const Field SPEC[] = {
    OTHER_FIELD("name", true, read_name),
    OTHER_FIELD("input", true, read_input),
    INT_FIELD("views", false, Spec, views, 1, 2),
    INT_FIELD("batch", true, Spec, batch, 2, SIZE_LIMIT),
    OTHER_FIELD("encoder", true, read_encoder),
    OTHER_FIELD("embedding", true, read_embedding),
    SECTION_FIELD("loss", true, LOSS_FIELDS),
    SECTION_FIELD("augment", false, AUGMENT_FIELDS),
    OTHER_FIELD("optimizer", false, read_optimizer),
    OTHER_FIELD("schedule", false, read_schedule),
    SECTION_FIELD("target", false, TARGET_FIELDS),
};
static const Fields SPEC_FIELDS = FIELDS(SPEC);

/* Its components are antecedents of scale 1. */
static void check_mixture(Reader *r, const Spec *s)
{
    for (int i = 0; i < s->loss.pairs; i++)
        if (s->loss.pair[i].from.v == 1)
            return;
    if (s->embedding.mixture.on && s->loss.pairs > 0)
        problem(r, s->embedding.mixture.at,
                "embedding.mixture: no pair has a mixture, for none is 1-to-m; add one, or leave the mixture "
                "out");
}

/* Where a value is wrong that the spec may have left to its default. */
static Mark or_key(Mark value, Mark key)
{
    return value.source ? value : key;
}

static const char *or_default(Mark value)
{
    return value.source ? "" : ", its default";
}

/* The mirror about the edge pixel has one pixel less than the picture. */
static void check_translate(Reader *r, const Spec *s)
{
    Int max = s->augment.translate.max;
    if (s->augment.translate.on && s->input.size.v > 0 && max.v >= s->input.size.v)
        problem(r, or_key(max.at, s->augment.translate.at),
                "augment.translate.max: less than input.size, %d, is wanted, not %d%s", (int)s->input.size.v,
                (int)max.v, or_default(max.at));
}

/* A Gaussian so wide is a mean of the picture; what it takes grows with it. */
static void check_blur(Reader *r, const Spec *s)
{
    Real most = s->augment.blur.high;
    if (s->augment.blur.on && s->input.size.v > 0 && most.v > (double)s->input.size.v)
        problem(r, or_key(most.at, s->augment.blur.at),
                "augment.blur.sigma: at most input.size, %d pixel%s, is wanted, not %g%s",
                (int)s->input.size.v, s->input.size.v > 1 ? "s" : "", most.v, or_default(most.at));
}

static Spec *default_spec(Arena *a, Source *source)
{
    Spec *s = ARENA_NEW(a, Spec);
    s->source = source;
    s->input.channels.v = 3;
    s->views.v = 2;
    s->embedding.mixture.temperature.v = 1;
    s->loss.clip.v = 20;
    s->loss.penalty.v = 0.05;
    default_training(a, s);
    default_target(s);
    return s;
}

Spec *spec_read(Arena *a, Diagnostics *d, Source *source, const Overrides *o)
{
    Reader r = {.arena = a, .source = source};
    Spec *s = default_spec(a, source);
    Node *root = yaml_tree(&r, source);
    if (root) {
        override_tree(&r, root, o);
        read_fields(&r, root, "", &SPEC_FIELDS, s);
        check_mixture(&r, s);
        check_translate(&r, s);
        check_blur(&r, s);
    }
    problems_show(&r, d);
    return r.problems == 0 ? s : NULL;
}
