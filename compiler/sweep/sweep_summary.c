/* sweep_summary.c: figures of complete runs -> their mean and spread. */
#include "sweep.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

double figure_accuracy(const SweepRun *r, int head)
{
    return r->score[head].accuracy;
}

double figure_low(const SweepRun *r, int head)
{
    return r->score[head].low;
}

double figure_high(const SweepRun *r, int head)
{
    return r->score[head].high;
}

double figure_untrained(const SweepRun *r, int head)
{
    return r->untrained[head].accuracy;
}

/* Trained and untrained encoder began as the same. */
double figure_gain(const SweepRun *r, int head)
{
    return r->score[head].accuracy - r->untrained[head].accuracy;
}

double figure_loss(const SweepRun *r, int unused)
{
    (void)unused;
    return r->loss;
}

double figure_penalty(const SweepRun *r, int unused)
{
    (void)unused;
    return r->penalty;
}

double figure_speed(const SweepRun *r, int unused)
{
    (void)unused;
    return r->images_per_second;
}

double figure_peak(const SweepRun *r, int unused)
{
    (void)unused;
    return r->peak_bytes > 0 ? r->peak_bytes : NAN;
}

double figure_seconds(const SweepRun *r, int unused)
{
    (void)unused;
    return r->seconds;
}

double figure_pair_loss(const SweepRun *r, int pair)
{
    return r->pair[pair].loss;
}

double figure_pair_accuracy(const SweepRun *r, int pair)
{
    return r->pair[pair].accuracy;
}

double figure_loss_at(const SweepRun *r, int which)
{
    return r->pair[which / CURVE_POINTS].loss_curve[which % CURVE_POINTS];
}

double figure_accuracy_at(const SweepRun *r, int which)
{
    return r->pair[which / CURVE_POINTS].accuracy_curve[which % CURVE_POINTS];
}

Summary summarise_runs(const Runs *runs, Figure *figure, int which)
{
    Summary all = {.count = runs->count, .mean = NAN, .spread = NAN, .largest = NAN};
    double sum = 0, squares = 0;
    for (int i = 0; i < runs->count; i++) {
        double value = figure(runs->run[i], which);
        all.largest = i ? fmax(all.largest, value) : value;
        sum += value;
    }
    if (!runs->count)
        return all;
    all.mean = sum / runs->count;
    for (int i = 0; i < runs->count; i++)
        squares += pow(figure(runs->run[i], which) - all.mean, 2);
    if (runs->count > 1)
        all.spread = sqrt(squares / (runs->count - 1));
    return all;
}

Runs runs_of(const Sweep *s, const Combination *c)
{
    Runs runs = {.run = ARENA_ARRAY(s->arena, const SweepRun *, s->seeds)};
    for (int seed = 0; seed < s->seeds; seed++)
        if (run_complete(&c->run[seed]))
            runs.run[runs.count++] = &c->run[seed];
    return runs;
}

Summary summarise(const Sweep *s, const Combination *c, Figure *figure, int which)
{
    const Runs runs = runs_of(s, c);
    return summarise_runs(&runs, figure, which);
}

int combination_complete(const Sweep *s, const Combination *c)
{
    int complete = 0;
    for (int seed = 0; seed < s->seeds; seed++)
        complete += run_complete(&c->run[seed]);
    return complete;
}

int sweep_complete(const Sweep *s)
{
    int complete = 0;
    for (int i = 0; i < s->combinations; i++)
        complete += combination_complete(s, &s->combination[i]);
    return complete;
}

int combination_pair(const Combination *c, const char *name)
{
    for (int i = 0; i < c->trained.count; i++)
        if (!strcmp(c->trained.pair[i].name, name))
            return i;
    return -1;
}

static int by_scales(const void *left, const void *right)
{
    const SweepPair *a = left, *b = right;
    return a->from != b->from ? a->from - b->from : a->to - b->to;
}

SweepPairs sweep_pairs(const Sweep *s)
{
    int most = 0, count = 0;
    for (int i = 0; i < s->combinations; i++)
        most += s->combination[i].trained.count;
    SweepPair *pair = ARENA_ARRAY(s->arena, SweepPair, most);
    for (int i = 0; i < s->combinations; i++)
        for (int j = 0; j < s->combination[i].trained.count; j++)
            pair[count++] = s->combination[i].trained.pair[j];
    qsort(pair, (size_t)count, sizeof *pair, by_scales);
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (!kept || by_scales(&pair[kept - 1], &pair[i]))
            pair[kept++] = pair[i];
    return (SweepPairs){.count = kept, .pair = pair};
}
