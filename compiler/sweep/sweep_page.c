/* sweep_page.c: the results as sweep.html: tables, accuracies as dots, and every pair's curves over each
 * other.
 *
 * Combination i has the style sheet's colour i everywhere. */
#include "sweep.h"
#include <math.h>

enum { REFRESH = 30 }; /* seconds, while runs are under way */

/* How pairs stand side by side, and the size of their curves there. */
typedef struct {
    SectionWidth section;
    int width, height;
} Layout;
static const Layout two_in_a_row = {SECTION_HALF, 560, 300}, three_in_a_row = {SECTION_THIRD, 370, 230};

// clang-format off
static const char style[] =
    ".scroll { overflow-x: auto }\n"
    ".results { white-space: nowrap }\n"
    ".results td { white-space: nowrap }\n"
    ".results small, .value small { color: var(--soft); font-size: 12px }\n"
    ".results i { display: inline-block; width: 10px; height: 10px; border-radius: 5px; background: var(--c);\n"
    "  margin-right: 8px }\n"
    ".results .ring i { background: none; border: 2.5px solid var(--c) }\n"
    ".results .best { font-weight: 650; color: var(--good) }\n"
    "a { color: inherit }\n"
    "summary { cursor: pointer; font-weight: 600 }\n"
    ".dots .gain { stroke: var(--c); stroke-width: 2; opacity: .35 }\n"
    ".dots .spread { stroke: var(--c); stroke-width: 5; opacity: .35; stroke-linecap: round }\n"
    ".dots .seed { opacity: .55 }\n"
    ".dots .untrained { fill: var(--card); stroke: var(--soft); stroke-width: 2 }\n"
    ".dots .mean { stroke: var(--card); stroke-width: 1.5 }\n"
    ".dots .name { fill: var(--ink) }\n"
    ".dots .value { fill: var(--c); font-weight: 600 }\n";
// clang-format on

/* ---- head ---- */

static const char *subtitle(const Sweep *s)
{
    const char *data = s->data ? s->data : "the built-in pictures",
               *limit =
                   s->limit ? arena_printf(s->arena, ", %jd images of each class", (intmax_t)s->limit) : "";
    return arena_printf(s->arena, "%d combinations of pairs, %jd seed%s each, %jd epoch%s on %s%s",
                        s->combinations, (intmax_t)s->seeds, s->seeds > 1 ? "s" : "", (intmax_t)s->epochs,
                        s->epochs > 1 ? "s" : "", data, limit);
}

/* The combination with the largest mean of a figure, or NULL. */
static const Combination *best(const Sweep *s, Figure *figure, int which)
{
    const Combination *found = NULL;
    double most = -INFINITY;
    for (int i = 0; i < s->combinations; i++) {
        Summary all = summarise(s, &s->combination[i], figure, which);
        if (all.count && all.mean > most) {
            most = all.mean;
            found = &s->combination[i];
        }
    }
    return found;
}

static void best_tile(const Sweep *s, Head head, const char *name, FILE *out)
{
    const Combination *c = best(s, figure_accuracy, head);
    if (c)
        page_tile(out, arena_printf(s->arena, "%s: %s", name, c->name), "%.1f %%",
                  100 * summarise(s, c, figure_accuracy, head).mean);
}

static void write_tiles(const Sweep *s, FILE *out)
{
    const Combination *fastest = best(s, figure_speed, 0);
    page_tiles_begin(out);
    page_tile(out, "runs complete", "%d of %d", sweep_complete(s), s->combinations * (int)s->seeds);
    best_tile(s, HEAD_LINEAR, "best linear probe", out);
    best_tile(s, HEAD_KNN, "best kNN", out);
    if (fastest)
        page_tile(out, arena_printf(s->arena, "fastest: %s", fastest->name), "%.0f images/s",
                  summarise(s, fastest, figure_speed, 0).mean);
    page_tiles_end(out);
}

/* ---- tables ---- */

static const char *duration(Arena *a, double seconds)
{
    if (seconds < 100)
        return arena_printf(a, "%.1f s", seconds);
    return seconds < 6000 ? arena_printf(a, "%.1f min", seconds / 60)
                          : arena_printf(a, "%.1f h", seconds / 3600);
}

static void write_accuracy(const Sweep *s, const Combination *c, Head head, FILE *out)
{
    Summary all = summarise(s, c, figure_accuracy, head);
    fprintf(out, "<td><span%s>%.2f</span>", c == best(s, figure_accuracy, head) ? " class=\"best\"" : "",
            100 * all.mean);
    if (isfinite(all.spread))
        fprintf(out, " <small>± %.2f</small>", 100 * all.spread);
    fprintf(out, "</td><td><small>%.1f–%.1f</small></td><td>%+.2f</td>",
            100 * summarise(s, c, figure_low, head).mean, 100 * summarise(s, c, figure_high, head).mean,
            100 * summarise(s, c, figure_gain, head).mean);
}

static void write_name(const Sweep *s, const Combination *c, FILE *out)
{
    int colour = (int)(c - s->combination);
    fprintf(out, "<td class=\"c%d%s\"><i></i>%s</td>", colour % CHART_COLOURS,
            colour < CHART_COLOURS ? "" : " ring", c->name);
}

static void write_row(const Sweep *s, const Combination *c, FILE *out)
{
    fputs("<tr>", out);
    write_name(s, c, out);
    if (!combination_complete(s, c)) {
        fprintf(out, "<td colspan=\"10\">%s</td></tr>\n",
                c->uncompiled ? "could not be compiled" : "no run is complete");
        return;
    }
    for (Head head = 0; head < HEADS; head++)
        write_accuracy(s, c, head, out);
    fprintf(out, "<td>%.1f</td><td>%.1f</td><td>%s</td><td>%.4f</td></tr>\n",
            summarise(s, c, figure_speed, 0).mean, summarise(s, c, figure_peak, 0).largest / MEBIBYTE,
            duration(s->arena, summarise(s, c, figure_seconds, 0).mean),
            summarise(s, c, figure_loss, 0).mean);
}

static void write_results(const Sweep *s, FILE *out)
{
    page_section_begin(
        out, SECTION_WHOLE, "Results",
        "Accuracies in percent of the test images: means over the seeds and their standard deviation; "
        "the 95 % interval over the test images; and what training gained over the same encoder "
        "untrained. Speed is the median step's, memory the largest measured, time that of all steps, loss "
        "the last epoch's.");
    fputs("<div class=\"scroll\"><table class=\"numbers results\">\n<tr><th>pairs</th><th>linear</th>"
          "<th>interval</th><th>gain</th><th>kNN</th><th>interval</th><th>gain</th><th>images/s</th>"
          "<th>MiB</th><th>time</th><th>loss</th></tr>\n",
          out);
    for (int i = 0; i < s->combinations; i++)
        write_row(s, &s->combination[i], out);
    fputs("</table></div>\n", out);
    page_section_end(out);
}

static void write_run(const Sweep *s, const Combination *c, int seed, FILE *out)
{
    const SweepRun *r = &c->run[seed];
    fputs("<tr>", out);
    write_name(s, c, out);
    fprintf(out, "<td><a href=\"%s/seed-%d/report.html\">%d</a></td>", c->name, seed, seed);
    for (Head head = 0; head < HEADS; head++)
        fprintf(out, "<td>%.2f</td><td>%.2f</td>", 100 * r->score[head].accuracy,
                100 * r->untrained[head].accuracy);
    fprintf(out, "<td>%.1f</td><td>%.1f</td><td>%s</td><td>%.4f</td></tr>\n", r->images_per_second,
            r->peak_bytes / MEBIBYTE, duration(s->arena, r->seconds), r->loss);
}

static void write_runs(const Sweep *s, FILE *out)
{
    fputs(
        "<section class=\"whole\"><details><summary>Every run</summary>\n<div class=\"scroll\">"
        "<table class=\"numbers results\">\n<tr><th>pairs</th><th>seed</th><th>linear</th><th>untrained</th>"
        "<th>kNN</th><th>untrained</th><th>images/s</th><th>MiB</th><th>time</th><th>loss</th></tr>\n",
        out);
    for (int i = 0; i < s->combinations; i++)
        for (int seed = 0; seed < s->seeds; seed++)
            if (run_complete(&s->combination[i].run[seed]))
                write_run(s, &s->combination[i], seed, out);
    fputs("</table></div></details></section>\n", out);
}

static void write_dots(const Sweep *s, Head head, const char *title, FILE *out)
{
    page_section_begin(
        out, SECTION_HALF, title,
        "Ring: the untrained encoder. Large dot: the mean of the seeds, with the standard deviation as "
        "a bar; small dots: each.");
    draw_dots(s, head, out);
    page_section_end(out);
}

/* ---- curves ---- */

/* All runs have the same steps. */
static const SweepRun *any_run(const Sweep *s)
{
    for (int i = 0; i < s->combinations; i++)
        for (int seed = 0; seed < s->seeds; seed++)
            if (run_complete(&s->combination[i].run[seed]))
                return &s->combination[i].run[seed];
    return NULL;
}

/* The mean of the seeds at every point; NAN where no run of the combination trains the pair. */
static const double *mean_curve(const Sweep *s, const Combination *c, const char *pair, Figure *figure)
{
    double *mean = ARENA_ARRAY(s->arena, double, CURVE_POINTS);
    int number = combination_pair(c, pair);
    for (int point = 0; point < CURVE_POINTS; point++)
        mean[point] = number < 0 ? NAN : summarise(s, c, figure, number * CURVE_POINTS + point).mean;
    return mean;
}

static void draw_curves(const Sweep *s, const char *pair, Figure *figure, Chart chart, FILE *out)
{
    const SweepRun *r = any_run(s);
    const double **y = ARENA_ARRAY(s->arena, const double *, s->combinations);
    for (int i = 0; i < s->combinations; i++)
        y[i] = mean_curve(s, &s->combination[i], pair, figure);
    chart.points = r->points;
    chart.curves = s->combinations;
    chart.x = r->step;
    chart.y = y;
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
            page_legend_item(out, i, c->name, "%.3f",
                             summarise(s, c, figure_pair_loss, combination_pair(c, pair)).mean);
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

static void write_pairs(const Sweep *s, FILE *out)
{
    SweepPairs all = sweep_pairs(s);
    const Layout *l = all.count < 3 || all.count == 4 ? &two_in_a_row : &three_in_a_row;
    page_section_begin(
        out, SECTION_WHOLE, "Each pair, in all combinations that train it",
        "Means over the seeds. The numbers are losses, unweighted, over the last epoch. A positive is "
        "found when it scores above all its negatives.");
    page_section_end(out);
    for (int i = 0; i < all.count; i++)
        if (any_has_pair(s, all.pair[i].name))
            write_pair(s, all.pair[i].name, l, out);
}

void write_page(const Sweep *s, FILE *out)
{
    page_begin(out, &(Page){.heading = s->title,
                            .what = "sweep of pairs",
                            .subtitle = subtitle(s),
                            .style = style,
                            .refresh = s->busy ? REFRESH : 0});
    write_tiles(s, out);
    write_results(s, out);
    if (any_run(s)) {
        write_dots(s, HEAD_LINEAR, "Linear probe", out);
        write_dots(s, HEAD_KNN, "Nearest neighbours", out);
        write_pairs(s, out);
        write_runs(s, out);
    }
    page_end(out);
}
