/* batchnorm.h: batch normalisation, in training and in testing. */
#ifndef BATCHNORM_H
#define BATCHNORM_H

#include "kernels.h"

typedef struct {
    const float *x, *weight, *bias;
    float *running_mean, *running_var;
    float *y, *statistics; /* statistics (views, 2, channels): mean, 1 / sqrt(var + eps) */
    AmdimPool *pool;
} BatchnormJob;

typedef struct {
    const float *x, *weight, *bias, *running_mean, *running_var;
    float *y;
    AmdimPool *pool;
} NormalizeJob;

typedef struct {
    const float *dy, *x, *weight, *statistics, *mask; /* mask: y, where a ReLU follows */
    float *dx, *dweight, *dbias;
    AmdimPool *pool;
} BatchnormGradJob;

typedef float *BatchnormFunction(AmdimPool *pool, BatchnormJob job);
typedef float *NormalizeFunction(AmdimPool *pool, NormalizeJob job);
typedef float *BatchnormGradFunction(AmdimPool *pool, BatchnormGradJob job);

typedef struct {
    int views, rows, channels; /* x (views, rows, channels); a view's rows are its images' positions */
} Batchnorm;

enum {
    BATCHNORM_BLOCK = 16, /* rows summed in float: few, for what is summed may all but cancel */
};
#define BATCHNORM_EPS      1e-5
#define BATCHNORM_MOMENTUM 0.1

/* BATCHNORM: y = relu((x - mean) / sqrt(var + eps) * weight + bias) with each view's own mean and variance
 * over its rows, x and y (views, rows, channels) (Ioffe and Szegedy, 2015, algorithm 1). Statistics are kept
 * for the gradient, running statistics are moved towards them. TAIL_RELU or TAIL_NONE. BATCHNORM_GRAD: dx,
 * dweight and dbias from dy and what was kept; with TAIL_MASK through the ReLU behind, whose result is the
 * mask. dx may be dy. NORMALIZE: y from the running statistics, for x (rows, channels). TAIL_RELU or
 * TAIL_NONE. */
#define BATCHNORM(name, views, rows, channels, tail)                                                         \
    BATCHNORM_FUNCTION(name, BatchnormJob, y, batchnorm_channels, views, rows, channels, (tail) == TAIL_RELU)
#define BATCHNORM_GRAD(name, views, rows, channels, tail)                                                    \
    BATCHNORM_FUNCTION(name, BatchnormGradJob, dx, batchnorm_grad_channels, views, rows, channels,           \
                       (tail) == TAIL_MASK)
#define NORMALIZE(name, rows, channels, tail)                                                                \
    FUNCTION_OF_A_ROUND(name, NormalizeJob, y, Batchnorm, ((Batchnorm){1, rows, channels}),                  \
                        normalize_rows(s, (tail) == TAIL_RELU, j, piece(rows, part, NORMALIZE_PARTS(rows)),  \
                                       piece(rows, part + 1, NORMALIZE_PARTS(rows))),                        \
                        NORMALIZE_PARTS(rows))
#define NORMALIZE_PARTS(rows) MIN_OF(rows, 16)

#define BATCHNORM_FUNCTION(name, Job, result, run, views, rows, channels, relu)                              \
    FUNCTION_OF_A_ROUND(name, Job, result, Batchnorm, ((Batchnorm){views, rows, channels}),                  \
                        run(s, relu, j, piece(channels, part, BATCHNORM_PARTS(channels)),                    \
                            piece(channels, part + 1, BATCHNORM_PARTS(channels))),                           \
                        BATCHNORM_PARTS(channels))
#define BATCHNORM_PARTS(channels) CEIL_DIV(channels, BATCHNORM_WIDTH)

/* Asks for the channels of a row to come: rows are too far apart for a processor to foresee. */
INLINE void batchnorm_ask(const float *row, ptrdiff_t channels, int width)
{
    enum { AHEAD = 16 }; /* rows */
    for (int i = 0; i < width; i += LINE)
        __builtin_prefetch(row + AHEAD * channels + i);
}

/* sum[i] = sum over rows of term(row, i), in float over blocks of rows and in double over blocks; `ask` goes
 * before each row. */
#define BATCHNORM_SUM(sum, width, rows, ask, term)                                                           \
    do {                                                                                                     \
        for (int i = 0; i < (width); i++)                                                                    \
            (sum)[i] = 0;                                                                                    \
        ROLLED for (int block = 0; block < (rows); block += BATCHNORM_BLOCK)                                 \
        {                                                                                                    \
            float part_[BATCHNORM_WIDTH] = {0};                                                              \
            ROLLED for (int row = block; row < MIN_OF(block + BATCHNORM_BLOCK, (rows)); row++)               \
            {                                                                                                \
                ask;                                                                                         \
                for (int i = 0; i < (width); i++)                                                            \
                    part_[i] += (term);                                                                      \
            }                                                                                                \
            for (int i = 0; i < (width); i++)                                                                \
                (sum)[i] += part_[i];                                                                        \
        }                                                                                                    \
    } while (0)

/* Training: statistics of each view of its own; running statistics take the views in turn (unbiased
 * variance). The sum of distances from a first mean corrects it to far below a float's last place, which
 * matters where a channel's mean is large beside its deviation; what of the mean no float holds goes into the
 * shift. */
INLINE void batchnorm_of(Batchnorm b, bool relu, const BatchnormJob *j, int first, int width)
{
    for (int view = 0; view < b.views; view++) {
        const float *x = j->x + (size_t)view * b.rows * b.channels + first;
        float *y = j->y + (size_t)view * b.rows * b.channels + first;
        float *kept = j->statistics + (size_t)view * 2 * b.channels + first;
        double sum[BATCHNORM_WIDTH], drift[BATCHNORM_WIDTH];
        float mean[BATCHNORM_WIDTH], scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH];
#define DISTANCE (x[(size_t)row * b.channels + i] - mean[i])
        BATCHNORM_SUM(sum, width, b.rows, batchnorm_ask(x + (size_t)row * b.channels, b.channels, width),
                      x[(size_t)row * b.channels + i]);
        for (int i = 0; i < width; i++)
            mean[i] = (float)(sum[i] / b.rows);
        BATCHNORM_SUM(drift, width, b.rows, (void)0, DISTANCE);
        BATCHNORM_SUM(sum, width, b.rows, (void)0, DISTANCE * DISTANCE);
        for (int i = 0; i < width; i++) {
            const double rest = drift[i] / b.rows, exact = mean[i] + rest, squares = sum[i] - drift[i] * rest;
            const double var = squares / b.rows, unbiased = squares / (b.rows - 1);
            float *running_mean = j->running_mean + first + i, *running_var = j->running_var + first + i;
            *running_mean += (float)(BATCHNORM_MOMENTUM * (exact - *running_mean));
            *running_var += (float)(BATCHNORM_MOMENTUM * (unbiased - *running_var));
            kept[i] = (float)exact;
            kept[b.channels + i] = over_root(1, var + BATCHNORM_EPS);
            scale[i] = kept[b.channels + i] * j->weight[first + i];
            shift[i] = (float)(j->bias[first + i] - rest * scale[i]);
        }
        for (int row = 0; row < b.rows; row++) {
            batchnorm_ask(y + (size_t)row * b.channels, b.channels, width);
            ELEMENTWISE for (int i = 0; i < width; i++)
            {
                const size_t at = (size_t)row * b.channels + i;
                const float value = DISTANCE * scale[i] + shift[i];
                y[at] = relu && !(value > 0) ? 0 : value;
            }
        }
#undef DISTANCE
    }
}

/* A part of the usual width has it as a constant. */
SHARED void batchnorm_channels(Batchnorm b, bool relu, const BatchnormJob *j, int first, int last)
{
    if (last - first == BATCHNORM_WIDTH)
        batchnorm_of(b, relu, j, first, BATCHNORM_WIDTH);
    else
        batchnorm_of(b, relu, j, first, last - first);
}

/* Testing: y = (x - running mean) / sqrt(running var + eps) * weight + bias. */
SHARED void normalize_rows(Batchnorm b, bool relu, const NormalizeJob *j, int first, int last)
{
    for (int c = 0; c < b.channels; c += BATCHNORM_WIDTH) {
        const int width = MIN_OF(BATCHNORM_WIDTH, b.channels - c);
        float scale[BATCHNORM_WIDTH];
        for (int i = 0; i < width; i++)
            scale[i] = over_root(j->weight[c + i], j->running_var[c + i] + BATCHNORM_EPS);
        for (int row = first; row < last; row++)
            ELEMENTWISE for (int i = 0; i < width; i++)
            {
                const size_t at = (size_t)row * b.channels + c + i;
                const float value = (j->x[at] - j->running_mean[c + i]) * scale[i] + j->bias[c + i];
                j->y[at] = relu && !(value > 0) ? 0 : value;
            }
    }
}

/* With z = (x - mean) * inv: dx = weight * inv * (dy - mean(dy) - z * mean(dy * z)), a view at a time. */
INLINE void batchnorm_grad_of(Batchnorm b, bool relu, const BatchnormGradJob *j, int first, int width)
{
    double dweight[BATCHNORM_WIDTH] = {0}, dbias[BATCHNORM_WIDTH] = {0};
    for (int view = 0; view < b.views; view++) {
        const size_t begin = (size_t)view * b.rows * b.channels + first;
        const float *x = j->x + begin, *dy = j->dy + begin, *mask = relu ? j->mask + begin : dy;
        const float *mean = j->statistics + (size_t)view * 2 * b.channels + first, *inv = mean + b.channels;
        float *dx = j->dx + begin;
#define DY(at) (relu && !(mask[at] > 0) ? 0 : dy[at])
#define PLACE  ((size_t)row * b.channels + i)
        double sum[BATCHNORM_WIDTH], dot[BATCHNORM_WIDTH];
        BATCHNORM_SUM(sum, width, b.rows, (void)0, DY(PLACE));
        BATCHNORM_SUM(dot, width, b.rows, (void)0, DY(PLACE) * (x[PLACE] - mean[i]) * inv[i]);
        float scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH], slope[BATCHNORM_WIDTH];
        for (int i = 0; i < width; i++) {
            dbias[i] += sum[i];
            dweight[i] += dot[i];
            scale[i] = j->weight[first + i] * inv[i];
            shift[i] = (float)(sum[i] / b.rows);
            slope[i] = (float)(dot[i] / b.rows) * inv[i];
        }
        for (int row = 0; row < b.rows; row++)
            ELEMENTWISE for (int i = 0; i < width; i++) dx[PLACE] =
                scale[i] * (DY(PLACE) - shift[i] - (x[PLACE] - mean[i]) * slope[i]);
#undef DY
#undef PLACE
    }
    for (int i = 0; i < width; i++) {
        j->dweight[first + i] = (float)dweight[i];
        j->dbias[first + i] = (float)dbias[i];
    }
}

SHARED void batchnorm_grad_channels(Batchnorm b, bool relu, const BatchnormGradJob *j, int first, int last)
{
    if (last - first == BATCHNORM_WIDTH)
        batchnorm_grad_of(b, relu, j, first, BATCHNORM_WIDTH);
    else
        batchnorm_grad_of(b, relu, j, first, last - first);
}

#endif
