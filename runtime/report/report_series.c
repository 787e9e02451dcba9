/* report_series.c: the columns of metrics.jsonl as points of curves. Long runs are thinned by averaging
 * neighbouring steps, so that page and memory stay small. */
#include "report_internal.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 600 }; /* the most of a curve */

static bool series_new(Series *s, const AmdimModel *m, Fault *f)
{
    *s = (Series){.pairs = m->pairs, .columns = FIRST_PAIR + 2 * m->pairs};
    size_t columns = (size_t)s->columns;
    s->memory = allocate_zero((POINTS * (columns + 1) + columns) * sizeof(double), "the report", f);
    s->column = s->memory ? allocate(columns * sizeof *s->column, "the report", f) : NULL;
    s->seen = s->column ? allocate_zero(columns * sizeof *s->seen, "the report", f) : NULL;
    s->pair_name = s->seen ? allocate((size_t)m->pairs * sizeof *s->pair_name, "the report", f) : NULL;
    if (!s->pair_name) {
        series_free(s);
        return false;
    }
    for (int i = 0; i < m->pairs; i++)
        s->pair_name[i] = m->pair[i].name;
    s->x = s->memory;
    s->last = s->memory + POINTS * (columns + 1);
    for (size_t i = 0; i < columns; i++) {
        s->column[i] = s->memory + POINTS * (i + 1);
        s->last[i] = NAN;
    }
    return true;
}

void series_free(Series *s)
{
    free(s->memory);
    free(s->column);
    free(s->seen);
    free(s->pair_name);
}

static void count_row(void *series, const MetricsRow *row)
{
    (void)row;
    ((Series *)series)->rows++;
}

static double row_value(const MetricsRow *row, const Series *s, int column)
{
    switch (column) {
    case LOSS: return row->loss;
    case PENALTY: return row->penalty;
    case RATE: return row->lr;
    case SPEED: return row->images_per_second;
    case PROBE: return 100 * row->probe;
    case KNN: return 100 * row->knn;
    default: break;
    }
    int pair = column - FIRST_PAIR;
    return pair < s->pairs ? row->pair_loss[pair] : row->pair_accuracy[pair - s->pairs];
}

static void begin_point(Series *s)
{
    for (int i = 0; i < s->columns; i++) {
        s->column[i][s->points] = NAN;
        s->seen[i] = 0;
    }
    s->points++;
}

static void add_rate(Series *s, const MetricsRow *row)
{
    const size_t used = strlen(s->rates);
    if (row->base_lr > 0)
        snprintf(s->rates + used, sizeof s->rates - used, "%s%g from step %" PRIu64 " on", used ? ", " : "",
                 row->base_lr, row->step);
}

/* Keeps each point's means as its rows come. */
static void add_row(void *series, const MetricsRow *row)
{
    Series *s = series;
    if (s->taken == s->rows) /* the file has grown since they were counted */
        return;
    uint64_t before = s->taken++ % s->in_point;
    if (before == 0)
        begin_point(s);
    int point = s->points - 1;
    s->x[point] += ((double)row->step - s->x[point]) / (double)(before + 1);
    for (int i = 0; i < s->columns; i++) {
        double value = row_value(row, s, i), *mean = &s->column[i][point];
        if (!isfinite(value))
            continue;
        s->last[i] = value;
        *mean = s->seen[i]++ == 0 ? value : *mean + (value - *mean) / (double)s->seen[i];
    }
    add_rate(s, row);
    s->step = row->step;
    s->epoch = row->epoch;
}

bool series_read(Series *s, const AmdimModel *m, const char *path, Fault *f)
{
    if (!series_new(s, m, f))
        return false;
    bool ok = metrics_of_model(m, path, count_row, s, f);
    s->in_point = s->rows < POINTS ? 1 : (s->rows + POINTS - 1) / POINTS;
    if (ok && metrics_of_model(m, path, add_row, s, f))
        return true;
    series_free(s);
    return false;
}
