/* sweep_dots.c: accuracies as dots on lines: the untrained encoder's as a ring, the mean of the runs with its
 * standard deviation, and every run small. */
#include "sweep.h"
#include <math.h>

enum { HALF = 560, THIRD = 370 }; /* the drawing's width, by its section's */
enum { LEFT = 12, RIGHT = 44, TOP = 8, ROW = 50, BOTTOM = 44, TICKS = 6 };
enum { MARKS = 34, NAME_ABOVE = 16 }; /* in a row: where the marks are, and the name above them */

/* Of shares, 0 to 1; the ends are ticks. */
typedef struct {
    double low, high, tick;
    int width; /* of the drawing */
} Range;

static void widen(Range *r, double value)
{
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

static Range range_of(const DotRow *row, int rows, Head head, int width)
{
    Range r = {.low = INFINITY, .high = -INFINITY, .width = width};
    for (int i = 0; i < rows; i++) {
        const Summary all = summarise_runs(&row[i].runs, figure_accuracy, head);
        for (int j = 0; j < row[i].runs.count; j++) {
            widen(&r, figure_accuracy(row[i].runs.run[j], head));
            widen(&r, figure_untrained(row[i].runs.run[j], head));
        }
        if (isfinite(all.spread)) {
            widen(&r, all.mean - all.spread);
            widen(&r, all.mean + all.spread);
        }
    }
    r.tick = chart_tick(fmax(r.high - r.low, 0.01), width < HALF ? TICKS / 2 : TICKS);
    r.low = floor(r.low / r.tick + 1e-9) * r.tick;
    r.high = fmax(ceil(r.high / r.tick - 1e-9) * r.tick, r.low + r.tick);
    return r;
}

static double place(const Range *r, double share)
{
    return LEFT + (share - r->low) / (r->high - r->low) * (r->width - LEFT - RIGHT);
}

static void draw_axis(FILE *out, const Range *r, int bottom)
{
    for (int i = 0; r->low + i * r->tick < r->high + r->tick / 2; i++) {
        char text[32];
        double share = r->low + i * r->tick, x = place(r, share);
        chart_number(text, sizeof text, round(1e6 * share) / 1e4);
        fprintf(out, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", x, TOP, x,
                bottom);
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, bottom + 18, text);
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">accuracy, %%</text>\n", r->width / 2,
            bottom + 38);
}

static void draw_line(FILE *out, const char *kind, double from, double to, double y)
{
    fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", kind, from, y, to,
            y);
}

static void draw_circle(FILE *out, const char *kind, double x, double y, double radius)
{
    fprintf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", kind, x, y, radius);
}

/* Of all that is drawn for a row. */
static double right_end(const DotRow *row, const Range *r, Head head)
{
    const Summary all = summarise_runs(&row->runs, figure_accuracy, head);
    double most = isfinite(all.spread) ? all.mean + all.spread : all.mean;
    return place(r, fmax(fmax(most, all.largest), summarise_runs(&row->runs, figure_untrained, head).mean));
}

static void draw_marks(FILE *out, const DotRow *row, const Range *r, double y, Head head)
{
    const Summary all = summarise_runs(&row->runs, figure_accuracy, head);
    const double mean = place(r, all.mean),
                 untrained = place(r, summarise_runs(&row->runs, figure_untrained, head).mean);
    draw_line(out, "gain", untrained, mean, y);
    if (isfinite(all.spread))
        draw_line(out, "spread", place(r, all.mean - all.spread), place(r, all.mean + all.spread), y);
    for (int i = 0; i < row->runs.count; i++)
        draw_circle(out, "seed", place(r, figure_accuracy(row->runs.run[i], head)), y, 3);
    draw_circle(out, "untrained", untrained, y, 4.5);
    draw_circle(out, "mean", mean, y, 5.5);
    fprintf(out, "<text class=\"value\" x=\"%.1f\" y=\"%.1f\">%.1f</text>\n", right_end(row, r, head) + 11,
            y + 4, percent_rounded(all.mean));
}

static void draw_row(FILE *out, const DotRow *row, const Range *r, double y, Head head)
{
    fprintf(out, "<text class=\"name\" x=\"%d\" y=\"%.1f\">", LEFT, y - NAME_ABOVE);
    html_text(out, row->name);
    fputs("</text>\n", out);
    if (!row->runs.count)
        return;
    if (row->colour < 0)
        fputs("<g class=\"any\">\n", out);
    else
        fprintf(out, "<g class=\"c%d\">\n", row->colour % CHART_COLOURS);
    draw_marks(out, row, r, y, head);
    fputs("</g>\n", out);
}

void draw_dots(const DotRow *row, int rows, Head head, SectionWidth section, FILE *out)
{
    const int width = section == SECTION_THIRD ? THIRD : HALF;
    const Range r = range_of(row, rows, head, width);
    const int bottom = TOP + ROW * rows;
    fprintf(out, "<svg class=\"dots\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s accuracy\">\n",
            width, bottom + BOTTOM, head_option[head]);
    draw_axis(out, &r, bottom);
    for (int i = 0; i < rows; i++)
        draw_row(out, &row[i], &r, TOP + ROW * i + MARKS, head);
    fputs("</svg>\n", out);
}
