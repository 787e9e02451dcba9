/* metrics.c: RUN/metrics.jsonl, one object a line and a line a step.
 *
 * Numbers are written with nine digits, enough for any float32 to come back the same, and are always finite.
 * What cannot be read as such a line (a torn last one, say) is passed over in reading and dropped when the
 * file is cut. */
#include "runtime.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>

enum { PROBE_FIELDS = 3 };           /* that a line may have */
static const double FLUSH_EVERY = 1; /* seconds */

/* ---- writing ----------------------------------------------------------------------------------------------
 */

bool metrics_open(Metrics *k, const char *path, Fault *f)
{
    *k = (Metrics){.stream = fopen(path, "r+"), .path = strdup(path), .flushed = clock_seconds()};
    if (!k->stream && errno == ENOENT)
        k->stream = fopen(path, "w");
    if (k->stream && k->path && fseeko(k->stream, 0, SEEK_END) == 0)
        return true;
    fault_errno(f, "cannot write %s", path);
    metrics_close(k);
    return false;
}

bool metrics_flush(Metrics *k, Fault *f)
{
    k->flushed = clock_seconds();
    return fflush(k->stream) == 0 || fault_errno(f, "cannot write %s", k->path);
}

bool metrics_write(Metrics *k, const AmdimModel *m, const MetricsRow *row, Fault *f)
{
    FILE *s = k->stream;
    fprintf(s, "{\"step\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"loss\":%.9g", row->step, row->epoch, row->loss);
    for (int i = 0; i < m->pairs; i++)
        fprintf(s, ",\"%s\":%.9g", m->pair[i].name, row->pair_loss[i]);
    for (int i = 0; i < m->pairs; i++)
        fprintf(s, ",\"accuracy.%s\":%.9g", m->pair[i].name, row->pair_accuracy[i]);
    fprintf(s, ",\"penalty\":%.9g,\"lr\":%.9g,\"images_per_second\":%.6g}\n", row->penalty, row->lr,
            row->images_per_second);
    if (ferror(s))
        return fault_errno(f, "cannot write %s", k->path);
    return clock_seconds() - k->flushed < FLUSH_EVERY || metrics_flush(k, f);
}

/* Written over the line's end, so that at no time the file lacks the line. */
bool metrics_probe(Metrics *k, const ProbeResult *r, Fault *f)
{
    static const char end[] = "}\n";
    double low, high;
    probe_interval(r->accuracy, r->images, &low, &high);
    if (fseeko(k->stream, -(off_t)strlen(end), SEEK_END) != 0)
        return fault_errno(f, "cannot write %s", k->path);
    fprintf(k->stream, ",\"probe\":%.9g,\"probe_low\":%.9g,\"probe_high\":%.9g%s", r->accuracy, low, high,
            end);
    return metrics_flush(k, f);
}

void metrics_close(Metrics *k)
{
    if (k->stream)
        fclose(k->stream);
    free(k->path);
    *k = (Metrics){0};
}

/* ---- reading ----------------------------------------------------------------------------------------------
 */

/* An open file, line by line, with the buffers that reading takes. */
typedef struct {
    const AmdimModel *model;
    FILE *stream;
    char *line;
    size_t capacity;
    jsmntok_t *token;
    unsigned capacity_of_tokens, tokens; /* what a line may have; what the last one had */
    double *pair;                        /* (2, pairs) losses, accuracies */
    MetricsRow row;
} Reader;

static void reader_close(Reader *r)
{
    if (r->stream)
        fclose(r->stream);
    free(r->line);
    free(r->token);
    free(r->pair);
}

/* A missing file leaves r->stream NULL and is no fault. */
static bool reader_open(Reader *r, const AmdimModel *m, const char *path, Fault *f)
{
    *r = (Reader){.model = m, .capacity_of_tokens = 1 + 2 * (6 + 2 * (unsigned)m->pairs + PROBE_FIELDS)};
    r->stream = fopen(path, "r");
    if (!r->stream)
        return errno == ENOENT || fault_errno(f, "cannot read %s", path);
    r->token = allocate(r->capacity_of_tokens * sizeof *r->token, "reading metrics", f);
    r->pair = r->token ? allocate(2 * (size_t)m->pairs * sizeof(double), "reading metrics", f) : NULL;
    r->row.pair_loss = r->pair;
    r->row.pair_accuracy = r->pair ? r->pair + m->pairs : NULL;
    if (r->pair)
        return true;
    reader_close(r);
    return false;
}

static bool token_number(const Reader *r, const char *key, double *out)
{
    for (unsigned i = 1; i + 1 < r->tokens; i += 2) {
        const jsmntok_t *name = &r->token[i], *value = name + 1;
        size_t length = (size_t)(name->end - name->start);
        if (strlen(key) != length || strncmp(r->line + name->start, key, length) != 0)
            continue;
        *out = strtod(r->line + value->start, NULL);
        return value->type == JSMN_PRIMITIVE && isfinite(*out);
    }
    return false;
}

static bool token_count(const Reader *r, const char *key, uint64_t *out)
{
    double value = -1;
    if (!token_number(r, key, &value) || value < 0 || value > 0x1p53)
        return false;
    *out = (uint64_t)value;
    return true;
}

/* Of a field that a line may lack. */
static double number_or_nan(const Reader *r, const char *key)
{
    double value;
    return token_number(r, key, &value) ? value : NAN;
}

/* A line's loss of pair i, and its accuracy, which lines of older programs lack. */
static bool read_pair(Reader *r, int i)
{
    const char *name = r->model->pair[i].name;
    char accuracy[64];
    snprintf(accuracy, sizeof accuracy, "accuracy.%s", name);
    r->pair[r->model->pairs + i] = number_or_nan(r, accuracy);
    return token_number(r, name, &r->pair[i]);
}

static bool parse_line(Reader *r, size_t length)
{
    jsmn_parser parser;
    MetricsRow *row = &r->row;
    jsmn_init(&parser);
    int found = jsmn_parse(&parser, r->line, length, r->token, r->capacity_of_tokens);
    if (found < 1 || r->token[0].type != JSMN_OBJECT || r->line[length - 1] != '\n')
        return false;
    r->tokens = (unsigned)found;
    row->probe = number_or_nan(r, "probe");
    row->probe_low = number_or_nan(r, "probe_low");
    row->probe_high = number_or_nan(r, "probe_high");
    for (int i = 0; i < r->model->pairs; i++)
        if (!read_pair(r, i))
            return false;
    return token_count(r, "step", &row->step) && token_count(r, "epoch", &row->epoch) &&
           token_number(r, "loss", &row->loss) && token_number(r, "penalty", &row->penalty) &&
           token_number(r, "lr", &row->lr) && token_number(r, "images_per_second", &row->images_per_second);
}

/* Moves on to the next readable row; false at the end of the file. */
static bool reader_next(Reader *r)
{
    ssize_t length;
    while (r->stream && (length = getline(&r->line, &r->capacity, r->stream)) > 0)
        if (parse_line(r, (size_t)length))
            return true;
    return false;
}

static bool reader_failed(const Reader *r, const char *path, Fault *f)
{
    return r->stream && ferror(r->stream) && !fault_errno(f, "cannot read %s", path);
}

bool metrics_each(const AmdimModel *m, const char *path, MetricsSink *sink, void *arg, Fault *f)
{
    Reader r;
    if (!reader_open(&r, m, path, f))
        return false;
    while (reader_next(&r))
        sink(arg, &r.row);
    bool failed = reader_failed(&r, path, f);
    reader_close(&r);
    return !failed;
}

bool metrics_cut(const AmdimModel *m, const char *path, uint64_t step, double *last_loss, Fault *f)
{
    Reader r;
    NewFile kept;
    *last_loss = NAN;
    if (!reader_open(&r, m, path, f))
        return false;
    if (!r.stream)
        return true;
    if (!file_create(&kept, path, f)) {
        reader_close(&r);
        return false;
    }
    while (reader_next(&r) && r.row.step <= step) {
        fputs(r.line, kept.stream);
        *last_loss = r.row.loss;
    }
    bool failed = reader_failed(&r, path, f);
    reader_close(&r);
    if (failed) {
        file_discard(&kept);
        return false;
    }
    return file_commit(&kept, f);
}
