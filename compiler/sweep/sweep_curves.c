/* sweep_curves.c: every pair's losses and accuracies over the steps, in all combinations that train it.
 *
 * Combinations may have steps of their own, by their epochs or their batch: the axis is the longest's. */
#include "sweep.h"
#include <math.h>

/* How pairs stand side by side, and the size of their curves there. */
typedef struct {
    SectionWidth section;
    int width, height;
} Layout;
static const Layout two_in_a_row = {SECTION_HALF, 560, 300}, three_in_a_row = {SECTION_THIRD, 370, 230};

static const SweepRun *run_of(const Sweep *s, const Combination *c)
{
    const Runs runs = runs_of(s, c);
    return runs.count ? runs.run[0] : NULL;
}

const SweepRun *any_run(const Sweep *s)
{
    const SweepRun *found = NULL;
    for (int i = 0; i < s->combinations && !found; i++)
        found = run_of(s, &s->combination[i]);
    return found;
}

/* ---- one axis for all ---- */

typedef struct {
    int points;
    const double *x;
} Axis;

/* Where all have the same steps, the curves' own points. */
static Axis axis_of(const Sweep *s)
{
    const SweepRun *longest = NULL;
    for (int i = 0; i < s->combinations; i++) {
        const SweepRun *r = run_of(s, &s->combination[i]);
        if (r && (!longest || r->steps > longest->steps))
            longest = r;
    }
    return longest ? (Axis){longest->points, longest->step} : (Axis){0};
}

/* A curve of the run's own points at x, between which it is straight; NAN beyond its ends. */
static double curve_at(const SweepRun *r, const double *y, double x)
{
    int i = 0;
    while (i < r->points && r->step[i] < x)
        i++;
    if (i < r->points && r->step[i] <= x)
        return y[i];
    if (i == 0 || i == r->points)
        return NAN;
    double share = (x - r->step[i - 1]) / (r->step[i] - r->step[i - 1]);
    return y[i - 1] + share * (y[i] - y[i - 1]);
}

/* The mean of the seeds at every point; NAN where no run of the combination trains the pair. */
static const double *mean_curve(const Sweep *s, const Combination *c, const char *pair, Figure *figure,
                                const Axis *axis)
{
    double *mean = ARENA_ARRAY(s->arena, double, CURVE_POINTS),
           *drawn = ARENA_ARRAY(s->arena, double, axis->points);
    const int number = combination_pair(c, pair);
    const SweepRun *r = run_of(s, c);
    for (int point = 0; r && number >= 0 && point < r->points; point++)
        mean[point] = summarise(s, c, figure, number * CURVE_POINTS + point).mean;
    for (int i = 0; i < axis->points; i++)
        drawn[i] = r && number >= 0 ? curve_at(r, mean, axis->x[i]) : NAN;
    return drawn;
}

static void draw_curves(const Sweep *s, const char *pair, Figure *figure, Chart chart, FILE *out)
{
    const Axis axis = axis_of(s);
    const double **y = ARENA_ARRAY(s->arena, const double *, s->combinations);
    const char **name = ARENA_ARRAY(s->arena, const char *, s->combinations);
    for (int i = 0; i < s->combinations; i++) {
        y[i] = mean_curve(s, &s->combination[i], pair, figure, &axis);
        name[i] = s->combination[i].label;
    }
    chart.points = axis.points;
    chart.curves = s->combinations;
    chart.x = axis.x;
    chart.y = y;
    chart.name = name;
    chart_draw(out, &chart);
}

/* Whether a complete run trained the pair. */
static bool has_pair(const Sweep *s, const Combination *c, const char *pair)
{
    return combination_pair(c, pair) >= 0 && combination_complete(s, c);
}

static void write_legend(const Sweep *s, const char *pair, FILE *out)
{
    page_legend_begin(out);
    for (int i = 0; i < s->combinations; i++) {
        const Combination *c = &s->combination[i];
        if (has_pair(s, c, pair))
            page_legend_item(
                out, i, c->label, "%s",
                shown_loss(s->arena, summarise(s, c, figure_pair_loss, combination_pair(c, pair)).mean));
    }
    page_legend_end(out);
}

static void write_pair(const Sweep *s, const char *pair, const Layout *l, FILE *out)
{
    Chart chart = {.y_label = "loss", .width = l->width, .height = l->height};
    page_section_begin(out, l->section, pair, NULL);
    write_legend(s, pair, out);
    draw_curves(s, pair, figure_loss_at, chart, out);
    chart.y_label = "positives found";
    chart.from_zero = true;
    draw_curves(s, pair, figure_accuracy_at, chart, out);
    page_section_end(out);
}

static bool any_has_pair(const Sweep *s, const char *pair)
{
    bool any = false;
    for (int i = 0; i < s->combinations; i++)
        any |= has_pair(s, &s->combination[i], pair);
    return any;
}

/* A pair's loss is over as many negatives as the batch has, and as the clip bends it. */
void write_pairs(const Sweep *s, FILE *out)
{
    SweepPairs all = sweep_pairs(s);
    const Layout *l = all.count < 3 || all.count == 4 ? &two_in_a_row : &three_in_a_row;
    page_section_begin(
        out, SECTION_WHOLE, "Each pair, in all combinations that train it",
        arena_printf(
            s->arena,
            "Means over the seeds. The numbers are losses, unweighted, over the last epoch. A positive "
            "is found when it scores above all its negatives.%s",
            pair_losses_compare(s) ? "" : " Losses do not compare where batch, clip or mixture differ."));
    page_section_end(out);
    for (int i = 0; i < all.count; i++)
        if (any_has_pair(s, all.pair[i].name))
            write_pair(s, all.pair[i].name, l, out);
}
