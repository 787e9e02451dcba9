/* chart.c: curves, as inline SVG that takes its colours from the page's style sheet.
 *
 * Ticks are at multiples of 1, 2 or 5 times a power of ten. The y axis begins and ends at a tick; the x axis
 * begins at 0 and ends with the data. */
#include "page.h"
#include <math.h>

enum { LEFT = 66, RIGHT = 20, TOP = 12, BOTTOM = 46, X_TICKS = 5, Y_TICKS = 5 };

/* An axis: its range, the distance of its ticks, and where the range's ends are drawn. */
typedef struct {
    double low, high, tick;
    double from, to;
} Axis;

void chart_number(char *text, size_t size, double value)
{
    double magnitude = fabs(value);
    if (magnitude >= 1e6)
        snprintf(text, size, "%.4gM", value / 1e6);
    else if (magnitude >= 1e3)
        snprintf(text, size, "%.4gk", value / 1e3);
    else if (magnitude >= 1e-3 || magnitude == 0)
        snprintf(text, size, "%.4g", magnitude == 0 ? 0.0 : value);
    else {
        int power = (int)floor(log10(magnitude) + 1e-9);
        snprintf(text, size, "%.3ge%d", value / pow(10, power), power);
    }
}

double chart_tick(double range, int most)
{
    double least = range / most;
    double power = pow(10, floor(log10(least)));
    for (int i = 0; i < 3; i++) {
        static const double nice[] = {1, 2, 5};
        if (nice[i] * power >= least * (1 - 1e-9))
            return nice[i] * power;
    }
    return 10 * power;
}

static Axis x_axis(const Chart *c)
{
    double last = fmax(1, c->points ? c->x[c->points - 1] : 1);
    return (Axis){0, last, fmax(1, chart_tick(last, X_TICKS)), LEFT, c->width - RIGHT};
}

static Axis y_axis(const Chart *c)
{
    double low = c->from_zero ? 0 : INFINITY, high = c->from_zero ? 0 : -INFINITY;
    for (int k = 0; k < c->curves; k++)
        for (int i = 0; i < c->points; i++)
            if (isfinite(c->y[k][i])) {
                low = fmin(low, c->y[k][i]);
                high = fmax(high, c->y[k][i]);
            }
    if (low > high) /* no point at all */
        low = high = 0;
    if (high - low <= 1e-9 * fmax(fabs(high), fabs(low))) /* flat: some room around the line */
        high += high == 0 ? 1 : fabs(high) * 0.1;
    double tick = chart_tick(high - low, Y_TICKS);
    return (Axis){floor(low / tick + 1e-9) * tick, ceil(high / tick - 1e-9) * tick, tick, c->height - BOTTOM,
                  TOP};
}

static double place(const Axis *a, double value)
{
    return a->from + (value - a->low) / (a->high - a->low) * (a->to - a->from);
}

static double last_tick(const Axis *a)
{
    return floor((a->high - a->low) / a->tick + 1e-6);
}

static const char *x_label(const Chart *c)
{
    return c->x_label ? c->x_label : "step";
}

static void draw_x_axis(FILE *s, const Chart *c, const Axis *a)
{
    int bottom = c->height - BOTTOM;
    for (int i = 0; i <= last_tick(a); i++) {
        char text[32];
        double value = a->low + i * a->tick;
        chart_number(text, sizeof text, value);
        fprintf(s, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                place(a, value), bottom + 18, text);
    }
    fprintf(s, "<text class=\"label\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", (a->from + a->to) / 2,
            c->height - 6);
    html_text(s, x_label(c));
    fputs("</text>\n", s);
}

static void draw_y_axis(FILE *s, const Chart *c, const Axis *a)
{
    double middle = (a->from + a->to) / 2;
    for (int i = 0; i <= last_tick(a); i++) {
        char text[32];
        double value = a->low + i * a->tick, y = place(a, value);
        chart_number(text, sizeof text, fabs(value) < a->tick * 1e-6 ? 0 : value);
        fprintf(s, "<line class=\"%s\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n", i ? "grid" : "base",
                LEFT, y, c->width - RIGHT, y);
        fprintf(s, "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 8,
                y + 4, text);
    }
    fprintf(
        s,
        "<text class=\"label\" transform=\"rotate(-90 14 %.1f)\" x=\"14\" y=\"%.1f\" text-anchor=\"middle\">",
        middle, middle);
    html_text(s, c->y_label);
    fprintf(s, "</text>\n");
}

/* The last point is marked, as it may be the only one. */
static void draw_points(FILE *s, const Chart *c, int curve, const Axis *x, const Axis *y)
{
    int last = -1;
    fputs("<polyline points=\"", s);
    for (int i = 0; i < c->points; i++)
        if (isfinite(c->y[curve][i])) {
            fprintf(s, "%s%.1f,%.1f", last < 0 ? "" : " ", place(x, c->x[i]), place(y, c->y[curve][i]));
            last = i;
        }
    fputs("\"/>\n", s);
    if (last >= 0)
        fprintf(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", place(x, c->x[last]),
                place(y, c->y[curve][last]));
}

/* What is not finite is a dash, no number to the script. */
static void write_values(FILE *s, const char *attribute, const double *value, int count, int digits)
{
    fprintf(s, " data-%s=\"", attribute);
    for (int i = 0; i < count; i++) {
        fputs(i ? " " : "", s);
        if (isfinite(value[i]))
            fprintf(s, "%.*g", digits, value[i]);
        else
            fputc('-', s);
    }
    fputc('"', s);
}

/* Past the last colour, the same ones come again dashed. */
static void draw_curve(FILE *s, const Chart *c, int curve, const Axis *x, const Axis *y)
{
    fprintf(s, "<g class=\"c%d%s\"", curve % CHART_COLOURS, curve < CHART_COLOURS ? "" : " dashed");
    if (c->name) {
        fputs(" data-name=\"", s);
        html_text(s, c->name[curve]);
        fputc('"', s);
    }
    write_values(s, "y", c->y[curve], c->points, 6);
    fputs(">\n", s);
    draw_points(s, c, curve, x, y);
    fputs("</g>\n", s);
}

/* What the script needs to draw the axes anew. */
static void write_frame(FILE *s, const Chart *c)
{
    fprintf(s, " data-box=\"%d %d %d %d\"%s data-x-name=\"", LEFT, TOP, c->width - RIGHT, c->height - BOTTOM,
            c->from_zero ? " data-zero" : "");
    html_text(s, x_label(c));
    fputs("\" data-y-name=\"", s);
    html_text(s, c->y_label);
    fputc('"', s);
    write_values(s, "x", c->x, c->points, 12); /* counts, mostly */
}

void chart_draw(FILE *stream, const Chart *c)
{
    Axis x = x_axis(c), y = y_axis(c);
    fprintf(stream, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", c->width, c->height);
    html_format(stream, "%s by %s", c->y_label, x_label(c));
    fputc('"', stream);
    write_frame(stream, c);
    fputs(">\n", stream);
    draw_y_axis(stream, c, &y);
    draw_x_axis(stream, c, &x);
    for (int k = 0; k < c->curves && c->points > 0; k++)
        draw_curve(stream, c, k, &x, &y);
    fprintf(stream, "</svg>\n");
}
