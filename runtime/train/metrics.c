/* metrics.c: RUN/metrics.jsonl, one object a line and a line a step.
 *
 * Numbers are written with nine digits, enough for any float32 to come back the same, and are always finite.
 * What cannot be read as such a line (a torn last one, say) is dropped when the file is cut. */
#include "runtime.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double FLUSH_EVERY = 1; /* seconds */

/* ---- writing ---- */

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
    share_interval(r->accuracy, r->images, &low, &high);
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
static bool cut(MetricsReader *r, NewFile *kept, uint64_t step, double *last_loss, Fault *f)
{
    for (const MetricsRow *row; (row = metrics_reader_next(r)) && row->step <= step;) {
        fputs(metrics_reader_line(r), kept->stream);
        *last_loss = row->loss;
    }
    if (metrics_reader_close(r, f))
        return file_commit(kept, f);
    file_discard(kept);
    return false;
}

bool metrics_cut(const AmdimModel *m, const char *path, uint64_t step, double *last_loss, Fault *f)
{
    NewFile kept;
    Fault ignored;
    const char **name = pair_names(m, f);
    MetricsReader *r = name ? metrics_reader_open(path, name, m->pairs, f) : NULL;
    bool done = r != NULL, found = r && metrics_reader_found(r);
    *last_loss = NAN;
    if (found && file_create(&kept, path, f))
        done = cut(r, &kept, step, last_loss, f);
    else if (r)
        done = metrics_reader_close(r, &ignored) && !found;
    free(name);
    return done;
}
