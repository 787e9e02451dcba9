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

/* Of channels first .. first + width - 1 of one view: the mean, in two floats of which the second is what the
 * first cannot hold, and the sum of squared distances from it. */
typedef struct {
    float mean[BATCHNORM_WIDTH];
    double rest[BATCHNORM_WIDTH], squares[BATCHNORM_WIDTH];
} BatchnormSums;

#define DISTANCE(mean, i) (x[(size_t)row * b.channels + i] - mean[i])
/* The sum of distances from a first mean corrects it to far below a float's last place, which matters where a
 * channel's mean is large beside its deviation. */
INLINE void batchnorm_sums_of(Batchnorm b, const float *x, int width, BatchnormSums *to)
{
    double sum[BATCHNORM_WIDTH], drift[BATCHNORM_WIDTH];
    BATCHNORM_SUM(sum, width, b.rows, batchnorm_ask(x + (size_t)row * b.channels, b.channels, width),
                  x[(size_t)row * b.channels + i]);
    for (int i = 0; i < width; i++)
        to->mean[i] = (float)(sum[i] / b.rows);
    BATCHNORM_SUM(drift, width, b.rows, (void)0, DISTANCE(to->mean, i));
    BATCHNORM_SUM(sum, width, b.rows, (void)0, DISTANCE(to->mean, i) * DISTANCE(to->mean, i));
    for (int i = 0; i < width; i++) {
        to->rest[i] = drift[i] / b.rows;
        to->squares[i] = sum[i] - drift[i] * to->rest[i];
    }
}

/* y of one view from the sums over `rows` rows, of which b.rows are here. Statistics are kept; with `moves`,
 * running statistics go towards them (unbiased variance). What of the mean no float holds goes into the
 * shift. */
INLINE void batchnorm_apply(Batchnorm b, double rows, bool relu, bool moves, const BatchnormJob *j,
                            const BatchnormSums *sums, int view, int first, int width)
{
    const float *x = j->x + (size_t)view * b.rows * b.channels + first;
    float *y = j->y + (size_t)view * b.rows * b.channels + first;
    float *kept = j->statistics + (size_t)view * 2 * b.channels + first;
    float scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH];
    for (int i = 0; i < width; i++) {
        const double exact = sums->mean[i] + sums->rest[i];
        const double var = sums->squares[i] / rows, unbiased = sums->squares[i] / (rows - 1);
        if (moves) {
            float *running_mean = j->running_mean + first + i, *running_var = j->running_var + first + i;
            *running_mean += (float)(BATCHNORM_MOMENTUM * (exact - *running_mean));
            *running_var += (float)(BATCHNORM_MOMENTUM * (unbiased - *running_var));
        }
        kept[i] = (float)exact;
        kept[b.channels + i] = over_root(1, var + BATCHNORM_EPS);
        scale[i] = kept[b.channels + i] * j->weight[first + i];
        shift[i] = (float)(j->bias[first + i] - sums->rest[i] * scale[i]);
    }
    for (int row = 0; row < b.rows; row++) {
        batchnorm_ask(y + (size_t)row * b.channels, b.channels, width);
        ELEMENTWISE for (int i = 0; i < width; i++)
        {
            const float value = DISTANCE(sums->mean, i) * scale[i] + shift[i];
            y[(size_t)row * b.channels + i] = relu && !(value > 0) ? 0 : value;
        }
    }
}
#undef DISTANCE

/* Training: statistics of each view of its own; running statistics take the views in turn. */
INLINE void batchnorm_of(Batchnorm b, bool relu, const BatchnormJob *j, int first, int width)
{
    for (int view = 0; view < b.views; view++) {
        BatchnormSums sums;
        batchnorm_sums_of(b, j->x + (size_t)view * b.rows * b.channels + first, width, &sums);
        batchnorm_apply(b, b.rows, relu, true, j, &sums, view, first, width);
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

/* What one view's gradients need of it: the sums of dy and of dy * z, with z = (x - mean) * inv. */
typedef struct {
    double sum[BATCHNORM_WIDTH], dot[BATCHNORM_WIDTH];
} BatchnormGradSums;

/* One view of the operands, from channel `first` on. */
typedef struct {
    const float *x, *dy, *mask, *mean, *inv;
    float *dx;
} BatchnormGradView;

INLINE BatchnormGradView batchnorm_grad_view(Batchnorm b, bool relu, const BatchnormGradJob *j, int view,
                                             int first)
{
    const size_t begin = (size_t)view * b.rows * b.channels + first;
    const float *mean = j->statistics + (size_t)view * 2 * b.channels + first, *dy = j->dy + begin;
    return (BatchnormGradView){.x = j->x + begin,
                               .dy = dy,
                               .mask = relu ? j->mask + begin : dy,
                               .mean = mean,
                               .inv = mean + b.channels,
                               .dx = j->dx ? j->dx + begin : NULL};
}

#define DY(at) (relu && !(v.mask[at] > 0) ? 0 : v.dy[at])
#define PLACE  ((size_t)row * b.channels + i)
INLINE void batchnorm_grad_sums_of(Batchnorm b, bool relu, BatchnormGradView v, int width,
                                   BatchnormGradSums *to)
{
    BATCHNORM_SUM(to->sum, width, b.rows, (void)0, DY(PLACE));
    BATCHNORM_SUM(to->dot, width, b.rows, (void)0, DY(PLACE) * (v.x[PLACE] - v.mean[i]) * v.inv[i]);
}

/* dx = weight * inv * (dy - mean(dy) - z * mean(dy * z)), the means being over `rows` rows. */
INLINE void batchnorm_grad_apply(Batchnorm b, double rows, bool relu, BatchnormGradView v,
                                 const float *weight, const BatchnormGradSums *sums, int width)
{
    float scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH], slope[BATCHNORM_WIDTH];
    for (int i = 0; i < width; i++) {
        scale[i] = weight[i] * v.inv[i];
        shift[i] = (float)(sums->sum[i] / rows);
        slope[i] = (float)(sums->dot[i] / rows) * v.inv[i];
    }
    for (int row = 0; row < b.rows; row++)
        ELEMENTWISE for (int i = 0; i < width; i++) v.dx[PLACE] =
            scale[i] * (DY(PLACE) - shift[i] - (v.x[PLACE] - v.mean[i]) * slope[i]);
}
#undef DY
#undef PLACE

/* A view at a time. */
INLINE void batchnorm_grad_of(Batchnorm b, bool relu, const BatchnormGradJob *j, int first, int width)
{
    double dweight[BATCHNORM_WIDTH] = {0}, dbias[BATCHNORM_WIDTH] = {0};
    for (int view = 0; view < b.views; view++) {
        const BatchnormGradView v = batchnorm_grad_view(b, relu, j, view, first);
        BatchnormGradSums sums;
        batchnorm_grad_sums_of(b, relu, v, width, &sums);
        for (int i = 0; i < width; i++) {
            dbias[i] += sums.sum[i];
            dweight[i] += sums.dot[i];
        }
        batchnorm_grad_apply(b, b.rows, relu, v, j->weight + first, &sums, width);
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
