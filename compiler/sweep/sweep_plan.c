/* sweep_plan.c: lists of pairs -> the sweep's combinations, each checked as the compiler would check it.
 *
 * The order in which pairs are listed does not matter: they are trained by n, then by m, so that a
 * combination has one name and one folder. */
#include "sweep.h"
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

static SweepPairs name_pairs(Sweep *s, const SpecPair *pair, int pairs)
{
    SweepPairs named = {.count = pairs,
                        .pair = ARENA_ARRAY(s->arena, SweepPair, pairs),
                        .name = ARENA_ARRAY(s->arena, const char *, pairs)};
    for (int i = 0; i < pairs; i++) {
        named.pair[i] = (SweepPair){
            .name = arena_printf(s->arena, "%d-to-%d", (int)pair[i].from.v, (int)pair[i].to.v),
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
static const char *folder_name(Arena *a, const SweepPairs *p)
{
    const char *name = join_names(a, p, "+");
    if (strlen(name) <= LONGEST_NAME)
        return name;
    return arena_printf(a, "%d-pairs-%s", p->count, digest_of(a, name));
}

/* The layer whose output `probe` classifies. */
static int probed_layer(const Net *n)
{
    const NetScale *one = net_scale(n, 1);
    return one && one->trained ? one->layer->number : n->top;
}

const Combination *plan_find(const Sweep *s, const char *pairs)
{
    for (int i = 0; i < s->combinations; i++)
        if (!strcmp(s->combination[i].pairs, pairs))
            return &s->combination[i];
    return NULL;
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

/* What the specs of all combinations have in common, as lines. */
static void note_spec(Sweep *s, const Spec *spec)
{
    Spec common = *spec;
    common.loss.pairs = 0;
    s->title = spec->name.v;
    s->batch = (int)spec->batch.v;
    s->spec_epochs = spec->schedule.epochs.v;
    s->canonical = spec_canonical(s->arena, &common);
}

bool plan_add(Sweep *s, Diagnostics *d, const char *list)
{
    Arena *a = s->arena;
    Overrides o = s->overrides;
    o.pairs = list;
    Spec *spec = spec_read(a, d, s->source, &o);
    const Net *n = spec ? net_build(a, d, spec) : NULL;
    if (!n)
        return false;
    note_spec(s, spec);
    qsort(spec->loss.pair, (size_t)spec->loss.pairs, sizeof *spec->loss.pair, by_scales);
    const SweepPairs trained = name_pairs(s, spec->loss.pair, spec->loss.pairs);
    Combination c = {
        .pairs = join_names(a, &trained, ","),
        .weights = join_weights(a, &trained),
        .name = folder_name(a, &trained),
        .trained = trained,
        .layer = probed_layer(n),
    };
    c.folder = arena_printf(a, "%s/%s", s->out, c.name);
    if (!plan_find(s, c.pairs))
        plan_append(s, &c);
    return true;
}

/* One combination for every n and m of the scales that the spec's own pairs name. */
static bool add_each(Sweep *s, Diagnostics *d)
{
    Spec *spec = spec_read(s->arena, d, s->source, &s->overrides);
    const Net *n = spec ? net_build(s->arena, d, spec) : NULL;
    bool good = n;
    for (int i = 0; good && i < n->scales; i++)
        for (int j = 0; good && j < n->scales; j++)
            if (n->scale[i].trained && n->scale[j].trained)
                good =
                    plan_add(s, d, arena_printf(s->arena, "%d-to-%d", n->scale[i].scale, n->scale[j].scale));
    return good;
}

static bool add_list(Sweep *s, Diagnostics *d, const char *list)
{
    int before = s->combinations;
    if (!strcmp(list, "each"))
        return add_each(s, d);
    if (!plan_add(s, d, list))
        return false;
    if (s->combinations == before)
        diag_note(d, (Mark){0}, "--pairs %s: these pairs are in the sweep already", list);
    return true;
}

/* A wrong spec is wrong with every list: what was just said is not said again. */
bool plan_lists(Sweep *s)
{
    Diagnostics d = {.stream = stderr, .color = isatty(STDERR_FILENO)};
    bool good = (s->source = source_read(s->arena, &d, s->spec));
    const char *said = NULL;
    for (int i = 0; s->source && i < s->lists; i++) {
        TextStream t;
        d.stream = text_stream_open(&t);
        good &= add_list(s, &d, s->list[i]);
        const char *text = text_stream_close(s->arena, &t);
        if (!said || strcmp(text, said))
            fputs(text, stderr);
        said = text;
    }
    return good;
}
