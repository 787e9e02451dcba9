/* report_curves.c: what metrics.jsonl says as figures and curves. */
#include "report_internal.h"
#include <inttypes.h>
#include <math.h>

enum { WIDE = 560, TALL = 290, NARROW = 300, LOW = 210 }; /* sizes of the drawings */

static double mean_speed(const Series *s)
{
    double sum = 0;
    int finite = 0;
    for (int i = 0; i < s->points; i++)
        if (isfinite(s->column[SPEED][i])) {
            sum += s->column[SPEED][i];
            finite++;
        }
    return finite ? sum / finite : 0;
}

static void write_tiles(FILE *stream, const Series *s)
{
    page_tiles_begin(stream);
    page_tile(stream, "loss", s->rows ? "%.4f" : "–", s->last[LOSS]);
    if (isfinite(s->last[PROBE]))
        page_tile(stream, "linear probe", "%.1f %%", s->last[PROBE]);
    if (isfinite(s->last[KNN]))
        page_tile(stream, "kNN probe", "%.1f %%", s->last[KNN]);
    page_tile(stream, "steps", "%" PRIu64, s->step);
    page_tile(stream, "epochs begun", "%" PRIu64, s->rows ? s->epoch + 1 : 0);
    page_tile(stream, "images a second", "%.1f", mean_speed(s));
    page_tiles_end(stream);
}

static void draw(FILE *stream, const Series *s, Chart chart, int column, int curves)
{
    chart.points = s->points;
    chart.x = s->x;
    chart.y = (const double *const *)s->column + column;
    chart.curves = curves;
    chart_draw(stream, &chart);
}

static void write_legend(FILE *stream, const AmdimModel *m, const Series *s)
{
    page_legend_begin(stream);
    for (int i = 0; i < m->pairs; i++) {
        double loss = s->last[loss_column(i)], accuracy = s->last[accuracy_column(s, i)];
        if (isfinite(accuracy))
            page_legend_item(stream, i, m->pair[i].name, "%.4f, %.1f %%", loss, 100 * accuracy);
        else
            page_legend_item(stream, i, m->pair[i].name, isfinite(loss) ? "%.4f" : "–", loss);
    }
    page_legend_end(stream);
}

static void write_pairs(FILE *stream, const AmdimModel *m, const Series *s)
{
    Chart loss = {.y_label = "loss, unweighted", .width = WIDE, .height = TALL, .name = s->pair_name};
    Chart accuracy = {
        .y_label = "accuracy", .width = WIDE, .height = TALL, .from_zero = true, .name = s->pair_name};
    page_section_begin(
        stream, SECTION_WHOLE, "The pairs",
        "Each pair's loss, and its accuracy: the share of true pairs that score above all of their "
        "negatives. The figures are the last step's.");
    write_legend(stream, m, s);
    fputs("<div class=\"two\">\n", stream);
    draw(stream, s, loss, loss_column(0), m->pairs);
    draw(stream, s, accuracy, accuracy_column(s, 0), m->pairs);
    fputs("</div>\n", stream);
    page_section_end(stream);
}

static void write_small(FILE *stream, const Series *s, int column, const char *title, const char *y_label,
                        bool from_zero)
{
    Chart chart = {.y_label = y_label, .width = NARROW, .height = LOW, .from_zero = from_zero};
    fputs("<section><h2>", stream);
    html_text(stream, title);
    fputs("</h2>\n", stream);
    draw(stream, s, chart, column, 1);
    page_section_end(stream);
}

/* One curve without a legend, or both. */
static void write_probes(FILE *stream, const Series *s)
{
    static const char *const name[] = {"linear", "kNN"}, y_label[] = "accuracy, %";
    Chart chart = {.y_label = y_label, .width = NARROW, .height = LOW, .name = name};
    const bool linear = isfinite(s->last[PROBE]), knn = isfinite(s->last[KNN]);
    if (linear != knn)
        write_small(stream, s, linear ? PROBE : KNN, linear ? "Linear probe" : "kNN probe", y_label, false);
    if (!linear || !knn)
        return;
    fputs("<section><h2>Probes</h2>\n", stream);
    page_legend_begin(stream);
    for (int i = 0; i < 2; i++)
        page_legend_item(stream, i, name[i], "%.1f %%", s->last[PROBE + i]);
    page_legend_end(stream);
    draw(stream, s, chart, PROBE, 2);
    page_section_end(stream);
}

void report_curves(FILE *stream, const AmdimModel *m, const Series *s)
{
    write_tiles(stream, s);
    write_pairs(stream, m, s);
    fputs("<div class=\"small\">\n", stream);
    write_probes(stream, s);
    write_small(stream, s, LOSS, "Loss", "objective", false);
    write_small(stream, s, PENALTY, "Penalty", "mean squared score", true);
    write_small(stream, s, RATE, "Learning rate", "lr", true);
    write_small(stream, s, SPEED, "Speed", "images a second", true);
    fputs("</div>\n", stream);
}
