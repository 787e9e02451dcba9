/* sweep_effects.c: complete runs -> each key's main effect on what the probes measured.
 *
 * Losses are not looked at: they measure something else with every list of pairs, every penalty and every
 * size of batch. */
#include "sweep.h"
#include <math.h>

/* Apart from one key. */
static bool is_like(const Sweep *s, const Combination *a, const Combination *b, int key)
{
    for (int i = 0; i < s->keys; i++)
        if (i != key && a->value[i] != b->value[i])
            return false;
    return true;
}

static bool has_like(const Sweep *s, const Combination *c, int key, int value, int seed)
{
    for (int i = 0; i < s->combinations; i++) {
        const Combination *other = &s->combination[i];
        if (other->value[key] == value && run_complete(&other->run[seed]) && is_like(s, c, other, key))
            return true;
    }
    return false;
}

/* With every value that has been tried at all; a value whose first run is not complete is waited for no
 * longer than that. */
static bool is_matched(const Sweep *s, const Combination *c, int key, int seed, const int *tried)
{
    for (int value = 0; value < s->key[key].values; value++)
        if (tried[value] && value != c->value[key] && !has_like(s, c, key, value, seed))
            return false;
    return true;
}

static void add_run(Runs *runs, const SweepRun *run)
{
    runs->run[runs->count++] = run;
}

/* Complete runs by value; the matched alone, or all. */
static void gather(const Sweep *s, int key, const int *tried, bool matched, Effect *e)
{
    e->left_out = 0;
    for (int value = 0; value < e->key->values; value++)
        e->runs[value].count = 0;
    for (int i = 0; i < s->combinations; i++)
        for (int seed = 0; seed < s->seeds; seed++) {
            const Combination *c = &s->combination[i];
            if (!run_complete(&c->run[seed]))
                continue;
            if (!matched || is_matched(s, c, key, seed, tried))
                add_run(&e->runs[c->value[key]], &c->run[seed]);
            else
                e->left_out++;
        }
}

Effect effect_of(const Sweep *s, int key)
{
    Effect e = {.key = &s->key[key], .runs = ARENA_ARRAY(s->arena, Runs, s->key[key].values)};
    int *tried = ARENA_ARRAY(s->arena, int, e.key->values), *most = ARENA_ARRAY(s->arena, int, e.key->values);
    for (int i = 0; i < s->combinations; i++) {
        const int value = s->combination[i].value[key];
        tried[value] += combination_complete(s, &s->combination[i]);
        most[value] += (int)s->seeds;
    }
    for (int value = 0; value < e.key->values; value++)
        e.runs[value].run = ARENA_ARRAY(s->arena, const SweepRun *, most[value]);
    gather(s, key, tried, true, &e);
    int counted = 0;
    for (int value = 0; value < e.key->values; value++)
        counted += e.runs[value].count;
    e.matched = counted > 0;
    if (!e.matched)
        gather(s, key, tried, false, &e);
    return e;
}

EffectSize effect_size(const Effect *e, Head head)
{
    EffectSize size = {.low = NAN, .high = NAN, .within = NAN};
    double squares = 0;
    int freedom = 0;
    for (int value = 0; value < e->key->values; value++) {
        const Summary all = summarise_runs(&e->runs[value], figure_accuracy, head);
        if (!all.count)
            continue;
        if (!(size.low <= all.mean)) {
            size.low = all.mean;
            size.lowest = value;
        }
        if (!(size.high >= all.mean)) {
            size.high = all.mean;
            size.highest = value;
        }
        if (all.count > 1) {
            squares += (all.count - 1) * all.spread * all.spread;
            freedom += all.count - 1;
        }
    }
    if (freedom)
        size.within = sqrt(squares / freedom);
    return size;
}
