/* sweep_dots.c: accuracies as dots on lines, a combination a line: the untrained encoder's as a ring, the
 * mean of the seeds with its standard deviation, and every seed small. */
#include "sweep.h"
#include <math.h>

enum { WIDTH = 560, LEFT = 12, RIGHT = 44, TOP = 8, ROW = 44, BOTTOM = 44, TICKS = 6 };

/* Of shares, 0 to 1; the ends are ticks. */
typedef struct {
    double low, high, tick;
} Range;

static void widen(Range *r, double value)
{
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

static Range range_of(const Sweep *s, Head head)
{
    Range r = {.low = INFINITY, .high = -INFINITY};
    for (int i = 0; i < s->combinations; i++) {
        const Combination *c = &s->combination[i];
        Summary all = summarise(s, c, figure_accuracy, head);
        for (int seed = 0; seed < s->seeds; seed++)
            if (run_complete(&c->run[seed])) {
                widen(&r, c->run[seed].score[head].accuracy);
                widen(&r, c->run[seed].untrained[head].accuracy);
            }
        if (isfinite(all.spread)) {
            widen(&r, all.mean - all.spread);
            widen(&r, all.mean + all.spread);
        }
    }
    r.tick = chart_tick(fmax(r.high - r.low, 0.01), TICKS);
    r.low = floor(r.low / r.tick + 1e-9) * r.tick;
    r.high = fmax(ceil(r.high / r.tick - 1e-9) * r.tick, r.low + r.tick);
    return r;
}

static double place(const Range *r, double share)
{
    return LEFT + (share - r->low) / (r->high - r->low) * (WIDTH - LEFT - RIGHT);
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
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">accuracy, %%</text>\n", WIDTH / 2,
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

/* Of all that is drawn for a combination. */
static double right_end(const Sweep *s, const Combination *c, const Range *r, Head head)
{
    Summary all = summarise(s, c, figure_accuracy, head);
    double most = isfinite(all.spread) ? all.mean + all.spread : all.mean;
    return place(r, fmax(fmax(most, all.largest), summarise(s, c, figure_untrained, head).mean));
}

static void draw_row(FILE *out, const Sweep *s, const Range *r, int row, Head head)
{
    const Combination *c = &s->combination[row];
    Summary all = summarise(s, c, figure_accuracy, head);
    double y = TOP + ROW * row + 30, mean = place(r, all.mean);
    fprintf(out, "<text class=\"name\" x=\"%d\" y=\"%.1f\">%s</text>\n", LEFT, y - 13, c->name);
    if (!all.count)
        return;
    double untrained = place(r, summarise(s, c, figure_untrained, head).mean);
    fprintf(out, "<g class=\"c%d\">\n", row % CHART_COLOURS);
    draw_line(out, "gain", untrained, mean, y);
    if (isfinite(all.spread))
        draw_line(out, "spread", place(r, all.mean - all.spread), place(r, all.mean + all.spread), y);
    for (int seed = 0; seed < s->seeds; seed++)
        if (run_complete(&c->run[seed]))
            draw_circle(out, "seed", place(r, c->run[seed].score[head].accuracy), y, 3);
    draw_circle(out, "untrained", untrained, y, 4.5);
    draw_circle(out, "mean", mean, y, 5.5);
    fprintf(out, "<text class=\"value\" x=\"%.1f\" y=\"%.1f\">%.1f</text>\n</g>\n",
            right_end(s, c, r, head) + 11, y + 4, 100 * all.mean);
}

void draw_dots(const Sweep *s, Head head, FILE *out)
{
    Range r = range_of(s, head);
    int bottom = TOP + ROW * s->combinations;
    fprintf(out, "<svg class=\"dots\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s accuracy\">\n",
            WIDTH, bottom + BOTTOM, head_option[head]);
    draw_axis(out, &r, bottom);
    for (int i = 0; i < s->combinations; i++)
        draw_row(out, s, &r, i, head);
    fputs("</svg>\n", out);
}
