/* metrics_reader.c: the lines of RUN/metrics.jsonl. Numbers are finite, or null where a step was left out; a
 * line that lacks one of those that every line has is no row. */
#include "support.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>

enum { FIELDS = 6, OTHER_FIELDS = 7 }; /* beside the pairs': that every line has, that one may have */

struct MetricsReader {
    const char *const *name; /* (pairs) */
    int pairs;
    char *path;
    FILE *stream; /* NULL: no file */
    char *line;
    size_t capacity;
    jsmntok_t *token;
    unsigned capacity_of_tokens, tokens; /* what a line may have; what the last one had */
    double *pair;                        /* (2, pairs) losses, accuracies */
    MetricsRow row;
};

static void reader_free(MetricsReader *r)
{
    if (r->stream)
        fclose(r->stream);
    free(r->path);
    free(r->line);
    free(r->token);
    free(r->pair);
    free(r);
}

MetricsReader *metrics_reader_open(const char *path, const char *const *pair, int pairs, Fault *f)
{
    static const char what[] = "reading metrics";
    MetricsReader *r = allocate_zero(sizeof *r, what, f);
    if (!r)
        return NULL;
    *r = (MetricsReader){.name = pair,
                         .pairs = pairs,
                         .path = strdup(path),
                         .capacity_of_tokens = 1 + 2 * (FIELDS + 2 * (unsigned)pairs + OTHER_FIELDS)};
    r->token = allocate(r->capacity_of_tokens * sizeof *r->token, what, f);
    r->pair = r->token ? allocate(2 * (size_t)pairs * sizeof(double), what, f) : NULL;
    if (!r->path)
        fault(f, "out of memory for %s", what);
    if (!r->pair || !r->path) {
        reader_free(r);
        return NULL;
    }
    r->row.pair_loss = r->pair;
    r->row.pair_accuracy = r->pair + pairs;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return r;
    int descriptor = file_open_to_read(path, f);
    if (descriptor >= 0 && (r->stream = fdopen(descriptor, "r")))
        return r;
    if (descriptor >= 0) {
        fault(f, "out of memory for %s", what);
        close(descriptor);
    }
    reader_free(r);
    return NULL;
}

bool metrics_reader_found(const MetricsReader *r)
{
    return r->stream != NULL;
}

/* null is NAN. */
static bool parse_number(const MetricsReader *r, const jsmntok_t *value, double *out)
{
    const char *text = r->line + value->start;
    char *end;
    if (value->type != JSMN_PRIMITIVE)
        return false;
    if (strncmp(text, "null", strlen("null")) == 0) {
        *out = NAN;
        return true;
    }
    *out = strtod(text, &end);
    return end == r->line + value->end && isfinite(*out);
}

static bool token_number(const MetricsReader *r, const char *key, double *out)
{
    for (unsigned i = 1; i + 1 < r->tokens; i += 2) {
        const jsmntok_t *name = &r->token[i];
        size_t length = (size_t)(name->end - name->start);
        if (strlen(key) == length && strncmp(r->line + name->start, key, length) == 0)
            return parse_number(r, name + 1, out);
    }
    return false;
}

static bool token_count(const MetricsReader *r, const char *key, uint64_t *out)
{
    double value = -1;
    if (!token_number(r, key, &value) || !(value >= 0 && value <= 0x1p53))
        return false;
    *out = (uint64_t)value;
    return true;
}

/* Of a field that a line may lack. */
static double number_or_nan(const MetricsReader *r, const char *key)
{
    double value;
    return token_number(r, key, &value) ? value : NAN;
}

/* A line's loss of pair i, and its accuracy, which lines of older programs lack. */
static bool read_pair(MetricsReader *r, int i)
{
    char accuracy[64];
    snprintf(accuracy, sizeof accuracy, "accuracy.%s", r->name[i]);
    r->pair[r->pairs + i] = number_or_nan(r, accuracy);
    return token_number(r, r->name[i], &r->pair[i]);
}

static bool parse_line(MetricsReader *r, size_t length)
{
    jsmn_parser parser;
    MetricsRow *row = &r->row;
    jsmn_init(&parser);
    int found = jsmn_parse(&parser, r->line, length, r->token, r->capacity_of_tokens);
    if (found < 1 || r->token[0].type != JSMN_OBJECT || r->line[length - 1] != '\n')
        return false;
    r->tokens = (unsigned)found;
    row->base_lr = number_or_nan(r, "base_lr");
    row->probe = number_or_nan(r, "probe");
    row->probe_low = number_or_nan(r, "probe_low");
    row->probe_high = number_or_nan(r, "probe_high");
    row->knn = number_or_nan(r, "probe.knn");
    row->knn_low = number_or_nan(r, "probe_low.knn");
    row->knn_high = number_or_nan(r, "probe_high.knn");
    for (int i = 0; i < r->pairs; i++)
        if (!read_pair(r, i))
            return false;
    return token_count(r, "step", &row->step) && token_count(r, "epoch", &row->epoch) &&
           token_number(r, "loss", &row->loss) && token_number(r, "penalty", &row->penalty) &&
           token_number(r, "lr", &row->lr) && token_number(r, "images_per_second", &row->images_per_second);
}

const MetricsRow *metrics_reader_next(MetricsReader *r)
{
    ssize_t length;
    while (r->stream && (length = getline(&r->line, &r->capacity, r->stream)) > 0)
        if (parse_line(r, (size_t)length))
            return &r->row;
    return NULL;
}

const char *metrics_reader_line(const MetricsReader *r)
{
    return r->line;
}

bool metrics_reader_close(MetricsReader *r, Fault *f)
{
    bool failed = r->stream && ferror(r->stream);
    if (failed)
        fault_errno(f, "cannot read %s", r->path);
    reader_free(r);
    return !failed;
}

bool metrics_each(const char *path, const char *const *pair, int pairs, MetricsSink *sink, void *arg,
                  Fault *f)
{
    MetricsReader *r = metrics_reader_open(path, pair, pairs, f);
    if (!r)
        return false;
    for (const MetricsRow *row; (row = metrics_reader_next(r));)
        sink(arg, row);
    return metrics_reader_close(r, f);
}
