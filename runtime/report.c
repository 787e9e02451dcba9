/* report.c: RUN/report.html, one page that needs nothing else: curves drawn from metrics.jsonl and tables of
 * what was trained.
 *
 * Long runs are thinned by averaging neighbouring steps, so that page and memory stay small. */
#include "runtime.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 600 };                                    /* the most of a curve */
enum { WIDE = 560, TALL = 300, NARROW = 370, LOW = 230 }; /* sizes of the drawings */
enum { LOSS, PENALTY, RATE, SPEED, FIRST_PAIR };          /* columns of Series */

typedef struct {
    int columns;       /* FIRST_PAIR + pairs */
    uint64_t rows;     /* in the file */
    uint64_t taken;    /* of them in the points so far */
    uint64_t in_point; /* rows of a whole point */
    int points;
    double *x;       /* (POINTS) mean step */
    double **column; /* (columns)(POINTS) means */
    double *memory;
    uint64_t step, epoch; /* of the last row */
    double *last;         /* (columns) the last row's values */
} Series;

/* ---- reading the curves ---------------------------------------------------------------------------------
 */

static void series_free(Series *s)
{
    free(s->memory);
    free(s->column);
}

static bool series_new(Series *s, const AmdimModel *m, Fault *f)
{
    *s = (Series){.columns = FIRST_PAIR + m->pairs};
    size_t columns = (size_t)s->columns;
    s->memory = allocate_zero((POINTS * (columns + 1) + columns) * sizeof(double), "the report", f);
    s->column = s->memory ? allocate(columns * sizeof *s->column, "the report", f) : NULL;
    if (!s->column) {
        series_free(s);
        return false;
    }
    s->x = s->memory;
    for (size_t i = 0; i < columns; i++)
        s->column[i] = s->memory + POINTS * (i + 1);
    s->last = s->memory + POINTS * (columns + 1);
    return true;
}

static void count_row(void *series, const MetricsRow *row)
{
    (void)row;
    ((Series *)series)->rows++;
}

static double row_value(const MetricsRow *row, int column)
{
    switch (column) {
    case LOSS: return row->loss;
    case PENALTY: return row->penalty;
    case RATE: return row->lr;
    case SPEED: return row->images_per_second;
    default: return row->pair_loss[column - FIRST_PAIR];
    }
}

/* Keeps each point's mean as its rows come. */
static void add_row(void *series, const MetricsRow *row)
{
    Series *s = series;
    int point = (int)(s->taken / s->in_point);
    double share = 1.0 / (double)(s->taken % s->in_point + 1);
    s->x[point] += ((double)row->step - s->x[point]) * share;
    for (int i = 0; i < s->columns; i++) {
        s->last[i] = row_value(row, i);
        s->column[i][point] += (s->last[i] - s->column[i][point]) * share;
    }
    s->taken++;
    s->points = point + 1;
    s->step = row->step;
    s->epoch = row->epoch;
}

static bool series_read(Series *s, const AmdimModel *m, const char *path, Fault *f)
{
    if (!metrics_each(m, path, count_row, s, f))
        return false;
    s->in_point = s->rows < POINTS ? 1 : (s->rows + POINTS - 1) / POINTS;
    return metrics_each(m, path, add_row, s, f);
}

/* ---- the page -------------------------------------------------------------------------------------------
 */

static const char style[] =
    ":root{color-scheme:light dark;--page:#f6f6f4;--card:#fff;--ink:#1c1e21;--soft:#62686f;--line:#e4e5e2;"
    "--c0:#2463a8;--c1:#c2571a;--c2:#2e7d4f;--c3:#7a4fc0;--c4:#b03378;--c5:#8a6a00;--c6:#0b7a86;--c7:#6a7078}"
    "\n"
    "@media (prefers-color-scheme:dark){:root{--page:#141619;--card:#1c1f23;--ink:#e7e8ea;--soft:#9ba2aa;"
    "--line:#31363c;--c0:#72aef0;--c1:#f0935a;--c2:#6cc490;--c3:#b497f0;--c4:#ec82b4;--c5:#d8b648;--c6:#"
    "5cc3cf;"
    "--c7:#a9b0b8}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,\"Segoe "
    "UI\","
    "\"DejaVu Sans\",sans-serif;font-variant-numeric:tabular-nums}\n"
    "main{max-width:1200px;margin:0 auto;padding:28px 20px "
    "48px;display:grid;grid-template-columns:repeat(6,1fr);"
    "gap:16px}\n"
    "header{grid-column:1/-1}\n"
    "h1{margin:0;font-size:26px;line-height:1.25;font-weight:650;overflow-wrap:anywhere}\n"
    "h2{margin:0 0 8px;font-size:15px;font-weight:600}\n"
    "header p{margin:2px 0 0;color:var(--soft)}\n"
    ".tiles{grid-column:1/-1;display:grid;grid-template-columns:repeat(4,1fr);gap:16px}\n"
    ".tiles div,section{background:var(--card);border:1px solid var(--line);border-radius:10px;min-width:0}\n"
    ".tiles div{padding:12px 16px}\n"
    ".tiles b{display:block;font-size:22px;line-height:1.3;font-weight:600}\n"
    ".tiles span{color:var(--soft);font-size:13px}\n"
    "section{padding:14px 16px}\n"
    ".half{grid-column:span 3}.third{grid-column:span 2}\n"
    "svg{display:block;width:100%;height:auto;font-size:12px}\n"
    "svg text{fill:var(--soft)}\n"
    ".grid,.base{stroke:var(--line);stroke-width:1}.base{stroke:var(--soft)}\n"
    "polyline{fill:none;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}\n"
    ".c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--"
    "c5)}"
    ".c6{--c:var(--c6)}.c7{--c:var(--c7)}\n"
    "polyline{stroke:var(--c)}circle{fill:var(--c)}.dashed polyline{stroke-dasharray:5 4}\n"
    "section p{margin:0 0 8px;color:var(--soft);font-size:13px}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0 0 "
    "8px;padding:0;list-style:none;font-size:13px}\n"
    ".legend i{display:inline-block;width:16px;height:0;border-top:3px solid var(--c);margin-right:6px;"
    "vertical-align:middle}.legend .dashed i{border-top-style:dashed}\n"
    ".legend span{color:var(--soft);margin-left:6px}\n"
    "table{width:100%;border-collapse:collapse;font-size:14px}\n"
    "th,td{padding:6px 12px 6px 0;text-align:left;vertical-align:top;border-top:1px solid var(--line);"
    "overflow-wrap:anywhere}\n"
    "tr:first-child>*{border-top:0}\n"
    "th{font-weight:400;color:var(--soft);white-space:nowrap}\n"
    ".numbers th,.numbers td{text-align:right;white-space:normal;overflow-wrap:normal;padding:6px 0 6px "
    "12px}\n"
    ".numbers td:first-child,.numbers th:first-child{text-align:left;padding-left:0}\n"
    "@media (max-width:720px){main{padding:20px 12px 32px;gap:12px}.half,.third{grid-column:1/-1}"
    ".tiles{grid-template-columns:repeat(2,1fr);gap:12px}h1{font-size:22px}.half svg{font-size:15px}.third "
    "svg{font-size:11px}}\n";

static void write_escaped(FILE *s, const char *format, va_list arguments)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    html_text(s, text);
}

__attribute__((format(printf, 3, 4))) static void write_tile(FILE *s, const char *name, const char *format,
                                                             ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(s, "<div><span>%s</span><b>", name);
    write_escaped(s, format, arguments);
    fprintf(s, "</b></div>\n");
    va_end(arguments);
}

__attribute__((format(printf, 3, 4))) static void write_fact(FILE *s, const char *name, const char *format,
                                                             ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(s, "<tr><th>%s</th><td>", name);
    write_escaped(s, format, arguments);
    fprintf(s, "</td></tr>\n");
    va_end(arguments);
}

static double mean_speed(const Series *s)
{
    double sum = 0;
    for (int i = 0; i < s->points; i++)
        sum += s->column[SPEED][i];
    return s->points ? sum / s->points : 0;
}

static void write_head(FILE *s, const AmdimModel *m, const Series *series)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", s);
    fputs("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>", s);
    html_text(s, m->name);
    fprintf(s, ": training report</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<header><h1>",
            style);
    html_text(s, m->name);
    fputs("</h1><p>trained on ", s);
    for (int i = 0; i < m->pairs; i++) {
        fputs(i ? ", " : "", s);
        html_text(s, m->pair[i].name);
    }
    fputs("</p></header>\n<div class=\"tiles\">\n", s);
    write_tile(s, "loss", series->rows ? "%.4f" : "–", series->last[LOSS]);
    write_tile(s, "steps", "%" PRIu64, series->step);
    write_tile(s, "epochs begun", "%" PRIu64, series->rows ? series->epoch + 1 : 0);
    write_tile(s, "images a second", "%.1f", mean_speed(series));
    fputs("</div>\n", s);
}

/* A chart of one column. */
static void draw_single(FILE *s, const Series *series, Chart chart, int column)
{
    const double *y[] = {series->column[column]};
    chart.points = series->points;
    chart.curves = 1;
    chart.x = series->x;
    chart.y = y;
    chart_draw(s, &chart);
}

static void write_loss(FILE *s, const AmdimModel *m, const Series *series)
{
    const Chart chart = {.y_label = "loss", .width = WIDE, .height = TALL};
    fputs("<section class=\"half\"><h2>Loss</h2>\n<p>", s);
    fprintf(s, "the pairs' losses by weight, and %g × the penalty</p>\n", m->penalty);
    draw_single(s, series, chart, LOSS);
    fputs("</section>\n", s);
}

static void write_small(FILE *s, const Series *series, int column, const char *title, const char *y_label)
{
    const Chart chart = {.y_label = y_label, .width = NARROW, .height = LOW, .from_zero = true};
    fprintf(s, "<section class=\"third\"><h2>%s</h2>\n", title);
    draw_single(s, series, chart, column);
    fputs("</section>\n", s);
}

static void write_pairs(FILE *s, const AmdimModel *m, const Series *series)
{
    Chart chart = {.y_label = "loss, unweighted",
                   .width = WIDE,
                   .height = TALL,
                   .points = series->points,
                   .curves = m->pairs,
                   .x = series->x,
                   .y = (const double *const *)series->column + FIRST_PAIR};
    fputs("<section class=\"half\"><h2>Loss of each pair</h2>\n<ul class=\"legend\">\n", s);
    for (int i = 0; i < m->pairs; i++) {
        fprintf(s, "<li class=\"c%d%s\"><i></i>", i % CHART_COLOURS, i < CHART_COLOURS ? "" : " dashed");
        html_text(s, m->pair[i].name);
        if (series->rows)
            fprintf(s, "<span>%.4f</span>", series->last[FIRST_PAIR + i]);
        fputs("</li>\n", s);
    }
    fputs("</ul>\n", s);
    chart_draw(s, &chart);
    fputs("</section>\n", s);
}

static void format_pairs(char *text, size_t size, const AmdimModel *m)
{
    size_t used = 0;
    for (int i = 0; i < m->pairs && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s × %g", i ? ", " : "", m->pair[i].name,
                                 m->pair[i].weight);
}

static void write_optimizer(FILE *s, const AmdimOptimizer *o)
{
    if (o->rule == AMDIM_ADAM)
        write_fact(s, "optimizer", "Adam, lr %g, betas %g and %g, weight decay %g", o->lr, o->beta1, o->beta2,
                   o->weight_decay);
    else
        write_fact(s, "optimizer", "SGD, lr %g, momentum %g, weight decay %g", o->lr, o->momentum,
                   o->weight_decay);
}

static void write_facts(FILE *s, const AmdimModel *m, const Series *series)
{
    char pairs[1024] = "";
    format_pairs(pairs, sizeof pairs, m);
    fputs("<section class=\"half\"><h2>What was trained</h2>\n<table>\n", s);
    write_fact(s, "spec", "%s, digest %s", m->spec, m->digest);
    write_fact(s, "compiled by", "%s and %s", m->compiler, m->cc);
    write_fact(s, "for", "%s, march %s, blas %s", m->target, m->march, m->blas);
    write_fact(s, "input", "%d × %d, %d channels, %d views", m->size, m->size, m->channels, m->views);
    write_fact(s, "batch", "%d images", m->batch);
    write_fact(s, "pairs × weight", "%s", pairs);
    write_fact(s, "embedding", "%d wide, clip %g, penalty × %g", m->embedding_dim, m->clip, m->penalty);
    write_optimizer(s, &m->optimizer);
    write_fact(s, "memory promised", "%.1f MiB at %d threads", (double)m->peak_bytes / MEBIBYTE, m->threads);
    if (series->rows)
        write_fact(s, "at the last step", "loss %.6g, penalty %.6g, lr %.6g", series->last[LOSS],
                   series->last[PENALTY], series->last[RATE]);
    fputs("</table>\n</section>\n", s);
}

static void write_scales(FILE *s, const AmdimModel *m)
{
    fputs(
        "<section class=\"half\"><h2>The scales</h2>\n<table class=\"numbers\">\n"
        "<tr><th>scale</th><th>layer</th><th>channels</th><th>sees, pixels</th><th>every, pixels</th></tr>\n",
        s);
    for (int i = 0; i < m->scales; i++) {
        const AmdimScale *a = &m->scale[i];
        fprintf(s, "<tr><td>%d × %d</td><td>%d</td><td>%d</td><td>%d</td><td>%d</td></tr>\n", a->scale,
                a->scale, a->layer, a->channels, a->receptive_field, a->receptive_stride);
    }
    fputs("</table>\n</section>\n", s);
}

static void write_page(FILE *s, const AmdimModel *m, const Series *series)
{
    write_head(s, m, series);
    write_loss(s, m, series);
    write_pairs(s, m, series);
    write_small(s, series, PENALTY, "Penalty", "mean squared score");
    write_small(s, series, RATE, "Learning rate", "lr");
    write_small(s, series, SPEED, "Speed", "images a second");
    write_facts(s, m, series);
    write_scales(s, m);
    fputs("</main>\n</body>\n</html>\n", s);
}

/* ---- the file -------------------------------------------------------------------------------------------
 */

static bool write_file(const AmdimModel *m, const Series *series, const char *path, Fault *f)
{
    NewFile file;
    if (!file_create(&file, path, f))
        return false;
    write_page(file.stream, m, series);
    return file_commit(&file, f);
}

bool report_write(const AmdimModel *m, const char *run, Fault *f)
{
    Series series;
    if (!series_new(&series, m, f))
        return false;
    char *metrics = path_join(run, "metrics.jsonl"), *page = path_join(run, "report.html");
    bool ok = metrics && page ? series_read(&series, m, metrics, f) && write_file(m, &series, page, f)
                              : fault(f, "out of memory for the names in %s", run);
    free(metrics);
    free(page);
    series_free(&series);
    return ok;
}
