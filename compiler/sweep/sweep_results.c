/* sweep_results.c: the files of a run -> its figures. */
#include "sweep.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>

const char *const head_option[HEADS] = {"linear", "knn"};

/* The number under a key of a text that is one flat object; NAN where there is none. */
static double number_in(const char *text, const char *key)
{
    enum { TOKENS = 64 };
    jsmntok_t token[TOKENS];
    jsmn_parser parser;
    jsmn_init(&parser);
    int count = text ? jsmn_parse(&parser, text, strlen(text), token, TOKENS) : 0;
    for (int i = 1; i + 1 < count && token[0].type == JSMN_OBJECT; i += 2) {
        size_t length = (size_t)(token[i].end - token[i].start);
        if (strlen(key) == length && !strncmp(text + token[i].start, key, length) &&
            token[i + 1].type == JSMN_PRIMITIVE)
            return strtod(text + token[i + 1].start, NULL);
    }
    return NAN;
}

/* ---- what is kept of a run ---- */

const char *score_path(const Sweep *s, const SweepRun *r, Head head)
{
    return arena_printf(s->arena, "%s/%s-%jd.json", r->folder, head_option[head], (intmax_t)r->epochs);
}

const char *untrained_path(const Sweep *s, const Combination *c, int seed, Head head)
{
    return arena_printf(s->arena, "%s/untrained/%s/seed-%d/%s.json", s->out, c->untrained, seed,
                        head_option[head]);
}

Score score_parse(const char *text)
{
    Score score = {.accuracy = number_in(text, "accuracy"),
                   .low = number_in(text, "low"),
                   .high = number_in(text, "high"),
                   .images = number_in(text, "images")};
    score.there = score.accuracy >= 0 && score.low >= 0 && score.high >= 0 && score.images >= 1;
    return score;
}

Score score_read(const Sweep *s, const char *path)
{
    return score_parse(results_text(s->arena, path));
}

const char *last_answer(Arena *a, const char *path, size_t from)
{
    char *text = results_text(a, path);
    size_t length = text ? strlen(text) : 0, end = length > from ? length - from : 0;
    while (end > 0) {
        char *line = line_before(a, text + from, &end);
        if (score_parse(line).there)
            return line;
    }
    return NULL;
}

static const char *trained_path(const Sweep *s, const SweepRun *r)
{
    return arena_printf(s->arena, "%s/trained.json", r->folder);
}

Trained trained_read(const Sweep *s, const SweepRun *r)
{
    const char *text = results_text(s->arena, trained_path(s, r));
    Trained t = {number_in(text, "epochs"), number_in(text, "peak_bytes")};
    return t.epochs >= 0 && t.peak_bytes >= 0 ? t : (Trained){0};
}

bool trained_write(const Sweep *s, const SweepRun *r, const Trained *t)
{
    return sweep_write_text(
        trained_path(s, r),
        arena_printf(s->arena, "{\"epochs\": %.0f, \"peak_bytes\": %.0f}\n", t->epochs, t->peak_bytes));
}

/* ---- metrics.jsonl ---- */

/* A run's metrics on their way in. */
typedef struct {
    SweepRun *run;
    int pairs, batch;
    uint64_t rows; /* in the file */
    uint64_t taken;
    uint64_t epoch, in_epoch; /* the epoch of the last row taken, and its rows so far */
    double *speed;            /* (rows) */
} Reading;

static void count_row(void *reading, const MetricsRow *row)
{
    (void)row;
    ((Reading *)reading)->rows++;
}

/* The mean with one more value, which is number `count`. */
static void take_in(double *mean, double value, uint64_t count)
{
    *mean += (value - *mean) / (double)count;
}

/* Each point is the mean of the rows that fall to it. */
static void add_to_curves(Reading *k, const MetricsRow *row)
{
    SweepRun *r = k->run;
    uint64_t points = (uint64_t)r->points, point = k->taken * points / k->rows,
             first = (point * k->rows + points - 1) / points;
    take_in(&r->step[point], (double)row->step, k->taken - first + 1);
    for (int i = 0; i < k->pairs; i++) {
        take_in(&r->pair[i].loss_curve[point], row->pair_loss[i], k->taken - first + 1);
        take_in(&r->pair[i].accuracy_curve[point], row->pair_accuracy[i], k->taken - first + 1);
    }
}

static void begin_epoch(Reading *k, uint64_t epoch)
{
    k->epoch = epoch;
    k->in_epoch = 0;
    k->run->loss = k->run->penalty = 0;
    for (int i = 0; i < k->pairs; i++)
        k->run->pair[i].loss = k->run->pair[i].accuracy = 0;
}

/* So that what is left at the end is of the last epoch. */
static void add_to_epoch(Reading *k, const MetricsRow *row)
{
    SweepRun *r = k->run;
    if (row->epoch != k->epoch)
        begin_epoch(k, row->epoch);
    k->in_epoch++;
    take_in(&r->loss, row->loss, k->in_epoch);
    take_in(&r->penalty, row->penalty, k->in_epoch);
    for (int i = 0; i < k->pairs; i++) {
        take_in(&r->pair[i].loss, row->pair_loss[i], k->in_epoch);
        take_in(&r->pair[i].accuracy, row->pair_accuracy[i], k->in_epoch);
    }
}

static void take_row(void *reading, const MetricsRow *row)
{
    Reading *k = reading;
    if (k->taken == k->rows) /* the file has grown since its rows were counted */
        return;
    add_to_curves(k, row);
    add_to_epoch(k, row);
    k->run->steps = row->step;
    k->run->seconds += k->batch / row->images_per_second;
    k->speed[k->taken++] = row->images_per_second;
}

/* The first step of a run warms up. */
static double typical_speed(const Reading *k)
{
    return k->taken > 1 ? median(k->speed + 1, k->taken - 1) : k->taken ? k->speed[0] : 0;
}

static bool read_metrics(const Sweep *s, const Combination *c, SweepRun *r)
{
    const char *path = arena_printf(s->arena, "%s/metrics.jsonl", r->folder);
    Reading k = {.run = r, .pairs = c->trained.count, .batch = c->batch};
    Fault f;
    if (!metrics_each(path, c->trained.name, c->trained.count, count_row, &k, &f))
        return build_fault(&f);
    if (!k.rows)
        return false;
    r->pair = ARENA_ARRAY(s->arena, PairCurves, k.pairs);
    r->points = k.rows < CURVE_POINTS ? (int)k.rows : CURVE_POINTS;
    k.speed = ARENA_ARRAY(s->arena, double, k.rows);
    if (!metrics_each(path, c->trained.name, c->trained.count, take_row, &k, &f))
        return build_fault(&f);
    r->images_per_second = typical_speed(&k);
    return true;
}

void results_read_run(Sweep *s, int combination, int seed)
{
    Combination *c = &s->combination[combination];
    SweepRun *r = &c->run[seed];
    *r = (SweepRun){.folder = arena_printf(s->arena, "%s/seed-%d", c->folder, seed),
                    .epochs = epochs_of(s, c)};
    Trained t = trained_read(s, r);
    r->trained = t.epochs >= (double)r->epochs && read_metrics(s, c, r);
    r->peak_bytes = t.peak_bytes;
    for (Head head = 0; head < HEADS; head++) {
        r->score[head] = score_read(s, score_path(s, r, head));
        r->untrained[head] = score_read(s, untrained_path(s, c, seed, head));
    }
}

void results_read(Sweep *s)
{
    for (int i = 0; i < s->combinations; i++) {
        s->combination[i].run = ARENA_ARRAY(s->arena, SweepRun, s->seeds);
        for (int seed = 0; seed < s->seeds; seed++)
            results_read_run(s, i, seed);
    }
}

bool run_complete(const SweepRun *r)
{
    bool complete = r->trained;
    for (Head head = 0; head < HEADS; head++)
        complete = complete && r->score[head].there && r->untrained[head].there;
    return complete;
}
