/* sweep_plan.c: lists of pairs and values of keys -> the sweep's combinations, each checked as the compiler
 * would check it.
 *
 * The order in which pairs are listed does not matter, nor that of keys: pairs are trained by n, then by m,
 * keys are set by their paths, so that a combination has one name and one folder. */
#include "sweep.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST_NAME = 160 }; /* file systems take names of 255 bytes */

static int by_scales(const void *left, const void *right)
{
    const SpecPair *a = left, *b = right;
    if (a->from.v != b->from.v)
        return a->from.v < b->from.v ? -1 : 1;
    return (a->to.v > b->to.v) - (a->to.v < b->to.v);
}

static SweepPairs name_pairs(Arena *a, const SpecPair *pair, int pairs)
{
    SweepPairs named = {.count = pairs,
                        .pair = ARENA_ARRAY(a, SweepPair, pairs),
                        .name = ARENA_ARRAY(a, const char *, pairs)};
    for (int i = 0; i < pairs; i++) {
        named.pair[i] = (SweepPair){
            .name = arena_printf(a, "%d-to-%d", (int)pair[i].from.v, (int)pair[i].to.v),
            .from = (int)pair[i].from.v,
            .to = (int)pair[i].to.v,
            .weight = pair[i].weight.v,
        };
        named.name[i] = named.pair[i].name;
    }
    return named;
}

static const char *join_names(Arena *a, const SweepPairs *p, const char *between)
{
    const char *all = p->name[0];
    for (int i = 1; i < p->count; i++)
        all = arena_printf(a, "%s%s%s", all, between, p->name[i]);
    return all;
}

static const char *join_weights(Arena *a, const SweepPairs *p)
{
    const char *all = arena_printf(a, "%.17g", p->pair[0].weight);
    for (int i = 1; i < p->count; i++)
        all = arena_printf(a, "%s,%.17g", all, p->pair[i].weight);
    return all;
}

/* A great many pairs are named by their number and what tells them apart from as many others. */
static const char *name_of_pairs(Arena *a, const SweepPairs *p)
{
    const char *name = join_names(a, p, "+");
    if (strlen(name) <= LONGEST_NAME)
        return name;
    return arena_printf(a, "%d-pairs-%s", p->count, digest_of(a, name));
}

/* Settings as lines, or as a part of a file's name. */
static const char *join_settings(Arena *a, const Setting *setting, int settings, const char *before)
{
    const char *all = "";
    for (int i = 0; i < settings; i++)
        all = arena_printf(a, "%s%s%.*s=%.*s", all, before, (int)setting[i].key, setting[i].text,
                           (int)setting[i].length, setting[i].text + setting[i].begin);
    return all;
}

/* Of characters that no shell and no address needs quoted; what had others, or is too long, ends in what
 * tells it from the rest. */
static const char *folder_name(Arena *a, const char *pairs, const Setting *setting, int settings)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-=,";
    const char *whole = arena_printf(a, "%s%s", pairs, join_settings(a, setting, settings, ","));
    size_t length = strlen(whole), kept = 0;
    if (length <= LONGEST_NAME && strspn(whole, good) == length)
        return whole;
    char *name = arena_copy(a, whole, length);
    for (size_t i = 0; i < length; i++)
        if (strchr(good, whole[i]))
            name[kept++] = whole[i];
        else if (kept && isalnum((unsigned char)name[kept - 1]))
            name[kept++] = '-';
    kept = kept < LONGEST_NAME ? kept : LONGEST_NAME;
    while (name[kept - 1] == '-')
        kept--;
    name[kept] = '\0';
    return arena_printf(a, "%s-%s", name, digest_of(a, whole));
}

/* The layer whose output `probe` classifies. */
static int probed_layer(const Net *n)
{
    const NetScale *one = net_scale(n, 1);
    return one && one->trained ? one->layer->number : n->top;
}

const Combination *plan_find(const Sweep *s, const Combination *c)
{
    for (int i = 0; i < s->combinations; i++) {
        const Combination *here = &s->combination[i];
        if (!strcmp(here->pairs, c->pairs) &&
            set_same(s->arena, here->setting, here->settings, c->setting, c->settings))
            return here;
    }
    return NULL;
}

int64_t epochs_of(const Sweep *s, const Combination *c)
{
    return c->epochs ? c->epochs : s->epochs;
}

void plan_append(Sweep *s, const Combination *c)
{
    if (s->combinations == s->capacity) {
        const Combination *old = s->combination;
        s->capacity = s->capacity ? 2 * s->capacity : 16;
        s->combination = ARENA_ARRAY(s->arena, Combination, s->capacity);
        if (s->combinations)
            memcpy(s->combination, old, sizeof *old * (size_t)s->combinations);
    }
    s->combination[s->combinations++] = *c;
}

/* ---- what a combination's spec says ---- */

/* Whether a setting is of that section of the spec, or of a part of it. */
static bool sets(const Combination *c, const char *section)
{
    size_t length = strlen(section);
    for (int i = 0; i < c->settings; i++)
        if (!strncmp(c->setting[i].text, section, length) && strchr(".[=", c->setting[i].text[length]))
            return true;
    return false;
}

/* Untrained encoders are the same where their layers, their input and their seed are: initial weights are
 * drawn by seed and place in the table of tensors, in which the encoder comes first. */
static const char *untrained_folder(Arena *a, const Combination *c, const Spec *spec)
{
    if (!sets(c, "input") && !sets(c, "encoder") && !sets(c, "views") && !sets(c, "target"))
        return arena_printf(a, "%d", c->layer);
    Spec encoder = *spec;
    encoder.batch.v = encoder.schedule.epochs.v = 0;
    encoder.layers = c->layer + 1;
    encoder.target.ranks.v = 1;
    encoder.loss.pairs = encoder.schedule.milestones = 0;
    memset(&encoder.embedding, 0, sizeof encoder.embedding);
    memset(&encoder.augment, 0, sizeof encoder.augment);
    memset(&encoder.optimizer, 0, sizeof encoder.optimizer);
    return arena_printf(a, "%d-%s", c->layer, digest_of(a, spec_canonical(a, &encoder)));
}

/* Losses compare where they sum the same pairs, weights and penalty over as many negatives. */
static const char *negatives_of(Arena *a, const Spec *spec)
{
    const SpecMixture *m = &spec->embedding.mixture;
    return arena_printf(a, "clip %.17g batch %jd views %jd mixture %jd %.17g", spec->loss.clip.v,
                        (intmax_t)spec->batch.v, (intmax_t)spec->views.v,
                        (intmax_t)(m->on ? m->components.v : 0), m->on ? m->temperature.v : 1);
}

static const char *losses_of(Arena *a, const Combination *c, const Spec *spec)
{
    return arena_printf(a, "%s %s penalty %.17g %s", c->pairs, c->weights, spec->loss.penalty.v,
                        c->negatives);
}

static Overrides overrides_of(const Sweep *s, const char *list, const Setting *setting, int settings)
{
    Overrides o = s->overrides;
    o.pairs = list;
    o.setting = setting;
    o.settings = settings;
    return o;
}

static const char *header(const Sweep *s, const Combination *c)
{
    char *line = arena_printf(s->arena, "%s with %s%s", s->spec, c->pairs,
                              join_settings(s->arena, c->setting, c->settings, ", "));
    text_printable(line);
    return arena_printf(s->arena, "# Made by amdimc sweep: %s\n", line);
}

static Combination describe(const Sweep *s, Spec *spec, const Net *n, const Setting *setting, int settings)
{
    Arena *a = s->arena;
    qsort(spec->loss.pair, (size_t)spec->loss.pairs, sizeof *spec->loss.pair, by_scales);
    const SweepPairs trained = name_pairs(a, spec->loss.pair, spec->loss.pairs);
    Combination c = {
        .pairs = join_names(a, &trained, ","),
        .pairs_name = name_of_pairs(a, &trained),
        .weights = join_weights(a, &trained),
        .settings = settings,
        .setting = setting,
        .set = join_settings(a, setting, settings, "\n"),
        .trained = trained,
        .layer = probed_layer(n),
        .batch = (int)spec->batch.v,
        .threads = spec->target.threads.at.source ? (int)spec->target.threads.v : 0,
        .has_cosine = spec->schedule.has_cosine,
        .canonical = spec_canonical(a, spec),
    };
    c.name = folder_name(a, c.pairs_name, setting, settings);
    c.folder = arena_printf(a, "%s/%s", s->out, c.name);
    c.untrained = untrained_folder(a, &c, spec);
    c.negatives = negatives_of(a, spec);
    c.losses = losses_of(a, &c, spec);
    c.epochs = sets(&c, "schedule") && !s->epochs_given ? spec->schedule.epochs.v : 0;
    const Overrides o = overrides_of(s, c.pairs, setting, settings);
    c.spec = arena_printf(a, "%s%s", header(s, &c), spec_text(a, s->source, &o));
    return c;
}

bool plan_add(Sweep *s, Diagnostics *d, const char *list, const Setting *setting, int settings)
{
    const Overrides o = overrides_of(s, list, setting, settings);
    Spec *spec = spec_read(s->arena, d, s->source, &o);
    const Net *n = spec ? net_build(s->arena, d, spec) : NULL;
    if (!n)
        return false;
    const Combination c = describe(s, spec, n, setting, settings);
    if (!plan_find(s, &c))
        plan_append(s, &c);
    return true;
}

/* ---- the command line's combinations ---- */

/* One combination for every n and m of the scales that the spec's own pairs name. */
static bool add_each(Sweep *s, Diagnostics *d, const Setting *setting, int settings)
{
    const Overrides o = overrides_of(s, NULL, setting, settings);
    Spec *spec = spec_read(s->arena, d, s->source, &o);
    const Net *n = spec ? net_build(s->arena, d, spec) : NULL;
    bool good = n;
    for (int i = 0; good && i < n->scales; i++)
        for (int j = 0; good && j < n->scales; j++)
            if (n->scale[i].trained && n->scale[j].trained)
                good =
                    plan_add(s, d, arena_printf(s->arena, "%d-to-%d", n->scale[i].scale, n->scale[j].scale),
                             setting, settings);
    return good;
}

/* Another that trains the same, though no key says so: it would say nothing. */
static const Combination *find_twin(const Sweep *s, const Combination *c)
{
    for (int i = 0; i < s->combinations && !sets(c, "target") && !sets(c, "name"); i++)
        if (&s->combination[i] != c && !strcmp(s->combination[i].canonical, c->canonical))
            return &s->combination[i];
    return NULL;
}

static bool add_list(Sweep *s, Diagnostics *d, const char *list, const Setting *setting)
{
    int before = s->combinations;
    if (list && !strcmp(list, "each"))
        return add_each(s, d, setting, s->set_options);
    if (!plan_add(s, d, list, setting, s->set_options))
        return false;
    if (s->combinations == before) {
        if (list)
            diag_note(d, (Mark){0}, "--pairs %s: these pairs are in the sweep already", list);
        return true;
    }
    const Combination *c = &s->combination[before], *twin = find_twin(s, c);
    if (twin)
        diag_note(d, (Mark){0}, "%s trains the same as %s", c->name, twin->name);
    return true;
}

/* What has been said of other combinations, so that it is said once. */
typedef struct {
    int count;
    const char **text;
} Said;

static bool add_said(Sweep *s, const char *list, const Setting *setting, Said *said)
{
    TextStream t;
    Diagnostics d = {.stream = text_stream_open(&t), .color = isatty(STDERR_FILENO)};
    bool good = add_list(s, &d, list, setting);
    const char *text = text_stream_close(s->arena, &t);
    for (int i = 0; i < said->count; i++)
        if (!strcmp(said->text[i], text))
            return good;
    said->text[said->count++] = text;
    fputs(text, stderr);
    return good;
}

/* Every option's value number which[i]. */
static const Setting *choose(const Sweep *s, const int *which)
{
    Setting *setting = ARENA_ARRAY(s->arena, Setting, s->set_options);
    for (int i = 0; i < s->set_options; i++)
        setting[i] = s->set[i].value[which[i]];
    return setting;
}

/* The next choice, the last option's values first; false after the last. */
static bool next_choice(const Sweep *s, int *which)
{
    for (int i = s->set_options - 1; i >= 0; i--) {
        if (++which[i] < s->set[i].values)
            return true;
        which[i] = 0;
    }
    return false;
}

static int list_count(const Sweep *s)
{
    return s->lists ? s->lists : 1;
}

static const char *list_of(const Sweep *s, int i)
{
    return s->lists ? s->list[i] : NULL; /* the spec's own */
}

/* Each value once, beside the others' first: a wrong one is told once, not with all it is multiplied by. */
static bool try_values(const Sweep *s, Said *said)
{
    Sweep tried = *s;
    int *which = ARENA_ARRAY(s->arena, int, s->set_options);
    bool good = true;
    for (int i = 0; i < list_count(s); i++)
        good &= add_said(&tried, list_of(s, i), choose(s, which), said);
    for (int i = 0; i < s->set_options; i++) {
        for (which[i] = 1; which[i] < s->set[i].values; which[i]++)
            good &= add_said(&tried, list_of(s, 0), choose(s, which), said);
        which[i] = 0;
    }
    return good;
}

static bool add_all(Sweep *s, Said *said)
{
    for (int i = 0; i < list_count(s); i++) {
        int *which = ARENA_ARRAY(s->arena, int, s->set_options);
        do {
            const Setting *setting = choose(s, which);
            if (add_said(s, list_of(s, i), setting, said))
                continue;
            say("note: each of these values is fine alone; together they are not:%s",
                join_settings(s->arena, setting, s->set_options, " "));
            return false;
        } while (next_choice(s, which));
    }
    return true;
}

/* What all combinations have in common, as lines. Where the spec is whole only with values of the command
 * line, with the first of them. */
static bool note_spec(Sweep *s)
{
    const char *list = s->lists && strcmp(s->list[0], "each") ? s->list[0] : NULL;
    int *which = ARENA_ARRAY(s->arena, int, s->set_options);
    const Overrides bare = overrides_of(s, list, NULL, 0),
                    first = overrides_of(s, list, choose(s, which), s->set_options);
    TextStream t;
    Diagnostics unheard = {.stream = text_stream_open(&t)};
    Spec *spec = spec_read(s->arena, &unheard, s->source, &bare);
    if (!spec)
        spec = spec_read(s->arena, &unheard, s->source, &first);
    text_stream_close(s->arena, &t);
    if (!spec)
        return false;
    spec->loss.pairs = 0;
    s->title = spec->name.v;
    s->spec_epochs = spec->schedule.epochs.v;
    s->canonical = spec_canonical(s->arena, spec);
    return true;
}

bool plan_lists(Sweep *s)
{
    Diagnostics d = {.stream = stderr, .color = isatty(STDERR_FILENO)};
    Said said = {0};
    s->source = source_read(s->arena, &d, s->spec);
    said.text = ARENA_ARRAY(s->arena, const char *, 2 * COMBINATIONS_MOST + s->lists);
    return s->source && try_values(s, &said) && add_all(s, &said) && note_spec(s);
}
