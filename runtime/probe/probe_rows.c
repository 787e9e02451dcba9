/* probe_rows.c: what the probes share: checked labels, standardised columns, the softmax.
 *
 * Rows are cut into a fixed number of chunks, whose sums are combined in order, so that the result does not
 * depend on the threads that take them. */
#include "probe_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNKS = 16 };
#define CONSTANT 1e-7 /* deviation over mean below which a column only varies by rounding */

size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

bool probe_check_labels(int classes, const ProbeRows *rows, const char *split, Fault *f)
{
    if (rows->count == 0)
        return fault(f, "the %s split has no images to probe with", split);
    for (uint32_t i = 0; i < rows->count; i++)
        if (rows->label[i] >= classes)
            return fault(f, "image %u of the %s split has label %d, but there are %d classes", i, split,
                         rows->label[i], classes);
    return true;
}

bool probe_not_finite(Fault *f)
{
    return fault(f, "the features hold numbers that are not finite; were the weights trained to the end?");
}

/* ---- columns ---- */

typedef struct {
    const ProbeRows *rows;
    size_t dims;
    const float *mean;
    double *sums; /* (CHUNKS, dims) */
} Moments;

static uint32_t chunk_begin(const Moments *m, int chunk)
{
    return (uint32_t)((uint64_t)m->rows->count * (uint64_t)chunk / CHUNKS);
}

static void sums_part(void *job, int part, int worker)
{
    (void)worker;
    const Moments *m = job;
    double *sum = m->sums + (size_t)part * m->dims;
    memset(sum, 0, m->dims * sizeof *sum);
    for (uint32_t i = chunk_begin(m, part); i < chunk_begin(m, part + 1); i++)
        for (size_t d = 0; d < m->dims; d++)
            sum[d] += (double)m->rows->x[i * m->dims + d];
}

static void squares_part(void *job, int part, int worker)
{
    (void)worker;
    const Moments *m = job;
    double *sum = m->sums + (size_t)part * m->dims;
    memset(sum, 0, m->dims * sizeof *sum);
    for (uint32_t i = chunk_begin(m, part); i < chunk_begin(m, part + 1); i++)
        for (size_t d = 0; d < m->dims; d++) {
            double from_mean = (double)m->rows->x[i * m->dims + d] - (double)m->mean[d];
            sum[d] += from_mean * from_mean;
        }
}

/* Over all rows, of column d. */
static double mean_of_sums(const Moments *m, size_t d)
{
    double sum = 0;
    for (size_t c = 0; c < CHUNKS; c++)
        sum += m->sums[c * m->dims + d];
    return sum / m->rows->count;
}

static bool find_scales(AmdimPool *pool, Moments *m, float *mean, float *scale, Fault *f)
{
    amdim_parallel(pool, sums_part, m, CHUNKS);
    for (size_t d = 0; d < m->dims; d++)
        mean[d] = (float)mean_of_sums(m, d);
    amdim_parallel(pool, squares_part, m, CHUNKS);
    for (size_t d = 0; d < m->dims; d++) {
        double deviation = sqrt(mean_of_sums(m, d));
        if (!isfinite(deviation))
            return probe_not_finite(f);
        scale[d] = deviation > CONSTANT * fabs((double)mean[d]) ? (float)(1 / deviation) : 0;
    }
    return true;
}

bool probe_find_scales(AmdimPool *pool, int dims, const ProbeRows *rows, float *mean, float *scale, Fault *f)
{
    Moments m = {.rows = rows, .dims = (size_t)dims, .mean = mean};
    m.sums = allocate(CHUNKS * m.dims * sizeof *m.sums, "the probe's sums", f);
    bool done = m.sums && find_scales(pool, &m, mean, scale, f);
    free(m.sums);
    return done;
}

/* ---- one row ---- */

void standardise(size_t dims, const float *x, const float *mean, const float *scale, float *out)
{
    for (size_t d = 0; d < dims; d++)
        out[d] = (x[d] - mean[d]) * scale[d];
}

int arg_max(const float *scores, int classes)
{
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (scores[k] > scores[best])
            best = k;
    return best;
}

double softmax_loss(float *scores, int classes, int label)
{
    float most = scores[arg_max(scores, classes)], own = scores[label];
    double sum = 0;
    for (int k = 0; k < classes; k++) {
        scores[k] = expf(scores[k] - most);
        sum += (double)scores[k];
    }
    for (int k = 0; k < classes; k++)
        scores[k] = (float)((double)scores[k] / sum);
    scores[label] -= 1;
    return log(sum) - (double)(own - most);
}
