/* sweep_summary.c: figures of complete runs -> their mean and spread over the seeds. */
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
    return r->peak_bytes;
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

Summary summarise(const Sweep *s, const Combination *c, Figure *figure, int which)
{
    Summary all = {.mean = NAN, .spread = NAN, .largest = NAN};
    double sum = 0, squares = 0;
    for (int i = 0; i < s->seeds; i++)
        if (run_complete(&c->run[i])) {
            double value = figure(&c->run[i], which);
            all.largest = all.count++ ? fmax(all.largest, value) : value;
            sum += value;
        }
    if (!all.count)
        return all;
    all.mean = sum / all.count;
    for (int i = 0; i < s->seeds; i++)
        if (run_complete(&c->run[i]))
            squares += pow(figure(&c->run[i], which) - all.mean, 2);
    if (all.count > 1)
        all.spread = sqrt(squares / (all.count - 1));
    return all;
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
