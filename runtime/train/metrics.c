/* metrics.c: RUN/metrics.jsonl, one object a line and a line a step.
 *
 * Numbers are written with nine digits, enough for any float32 to come back the same; what is not finite, of
 * a step that was left out, is null. What cannot be read as such a line (a torn last one, say) is dropped
 * when the file is cut. */
#include "runtime.h"
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const double FLUSH_EVERY = 1; /* seconds */

/* ---- writing ---- */

bool metrics_open(Metrics *k, const char *path, Fault *f)
{
    struct stat status;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);
    *k = (Metrics){.path = strdup(path), .flushed = clock_seconds()};
    bool regular = descriptor >= 0 && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    if (regular && k->path && (k->stream = fdopen(descriptor, "w")) && fseeko(k->stream, 0, SEEK_END) == 0)
        return true;
    if (descriptor >= 0 && !regular)
        fault(f, "cannot write %s: it is not a file", path);
    else
        fault_errno(f, "cannot write %s", path);
    if (descriptor >= 0 && !k->stream)
        close(descriptor);
    metrics_close(k);
    return false;
}

bool metrics_flush(Metrics *k, Fault *f)
{
    k->flushed = clock_seconds();
    return !k->stream || fflush(k->stream) == 0 || fault_errno(f, "cannot write %s", k->path);
}

/* ,"name":value; `group` stands before the name. */
static void put_number(FILE *s, const char *group, const char *name, double value)
{
    if (isfinite(value))
        fprintf(s, ",\"%s%s\":%.9g", group, name, value);
    else
        fprintf(s, ",\"%s%s\":null", group, name);
}

bool metrics_write(Metrics *k, const AmdimModel *m, const MetricsRow *row, Fault *f)
{
    FILE *s = k->stream;
    if (!s)
        return true;
    fprintf(s, "{\"step\":%" PRIu64 ",\"epoch\":%" PRIu64, row->step, row->epoch);
    put_number(s, "", "loss", row->loss);
    for (int i = 0; i < m->pairs; i++)
        put_number(s, "", m->pair[i].name, row->pair_loss[i]);
    for (int i = 0; i < m->pairs; i++)
        put_number(s, "accuracy.", m->pair[i].name, row->pair_accuracy[i]);
    put_number(s, "", "penalty", row->penalty);
    put_number(s, "", "lr", row->lr);
    if (row->base_lr > 0)
        put_number(s, "", "base_lr", row->base_lr);
    fprintf(s, ",\"images_per_second\":%.6g}\n", row->images_per_second);
    if (ferror(s))
        return fault_errno(f, "cannot write %s", k->path);
    return clock_seconds() - k->flushed < FLUSH_EVERY || metrics_flush(k, f);
}

static void put_probe(FILE *s, const ProbeResult *r)
{
    const char *of = r->head && strcmp(r->head, "linear") != 0 ? r->head : "", *dot = *of ? "." : "";
    double low, high;
    share_interval(r->accuracy, r->images, &low, &high);
    fprintf(s, ",\"probe%s%s\":%.9g,\"probe_low%s%s\":%.9g,\"probe_high%s%s\":%.9g", dot, of, r->accuracy,
            dot, of, low, dot, of, high);
}

/* Written over the line's end, so that at no time the file lacks the line; all heads at once, for a probe is
 * made again only where none of them is there. */
bool metrics_probe(Metrics *k, const ProbeResult *result, int heads, Fault *f)
{
    static const char end[] = "}\n";
    if (!k->stream)
        return true;
    if (fseeko(k->stream, -(off_t)strlen(end), SEEK_END) != 0)
        return fault_errno(f, "cannot write %s", k->path);
    for (int i = 0; i < heads; i++)
        put_probe(k->stream, &result[i]);
    fputs(end, k->stream);
    return metrics_flush(k, f);
}

void metrics_close(Metrics *k)
{
    if (k->stream)
        fclose(k->stream);
    free(k->path);
    *k = (Metrics){0};
}

/* ---- reading ---- */

static const char **pair_names(const AmdimModel *m, Fault *f)
{
    const char **name = allocate((size_t)m->pairs * sizeof *name, "the pairs' names", f);
    for (int i = 0; name && i < m->pairs; i++)
        name[i] = m->pair[i].name;
    return name;
}

bool metrics_of_model(const AmdimModel *m, const char *path, MetricsSink *sink, void *arg, Fault *f)
{
    const char **name = pair_names(m, f);
    bool done = name && metrics_each(path, name, m->pairs, sink, arg, f);
    free(name);
    return done;
}

/* Copies lines up to `step`, the rest is dropped. */
static bool cut(MetricsReader *r, NewFile *kept, uint64_t step, MetricsEnd *end, uint64_t *lines, Fault *f)
{
    for (const MetricsRow *row; (row = metrics_reader_next(r)) && row->step <= step; ++*lines) {
        fputs(metrics_reader_line(r), kept->stream);
        end->loss = row->loss;
        end->base_lr = row->base_lr > 0 ? row->base_lr : end->base_lr;
    }
    if (metrics_reader_close(r, f))
        return file_commit(kept, f);
    file_discard(kept);
    return false;
}

bool metrics_cut(const AmdimModel *m, const char *path, uint64_t step, MetricsEnd *end, Fault *f)
{
    NewFile kept;
    Fault ignored;
    const char **name = pair_names(m, f);
    MetricsReader *r = name ? metrics_reader_open(path, name, m->pairs, f) : NULL;
    bool done = r != NULL, found = r && metrics_reader_found(r);
    uint64_t lines = 0;
    *end = (MetricsEnd){.loss = NAN};
    if (found && file_create(&kept, path, f))
        done = cut(r, &kept, step, end, &lines, f);
    else if (r)
        done = metrics_reader_close(r, &ignored) && !found;
    free(name);
    end->whole = done && lines == step;
    if (done && lines < step)
        note("%s holds lines of %" PRIu64 " of the %" PRIu64
             " steps that the run has behind it; its curves have gaps",
             path, lines, step);
    return done;
}
