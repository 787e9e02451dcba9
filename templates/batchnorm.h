/* batchnorm.h: batch normalisation, in training and in testing. */
#ifndef BATCHNORM_H
#define BATCHNORM_H

#include "kernels.h"

typedef struct {
    const Activation *x;
    const float *weight, *bias;
    float *running_mean, *running_var;
    Activation *y;
    float *statistics; /* statistics (views, 2, channels): mean, 1 / sqrt(var + eps) */
    float *partial;    /* BATCHNORM_BY_VIEW: (views, 2, channels) of double: mean, unbiased variance */
    AmdimPool *pool;
} BatchnormJob;

typedef struct {
    const Activation *x;
    const float *weight, *bias, *running_mean, *running_var;
    Activation *y;
    AmdimPool *pool;
} NormalizeJob;

typedef struct {
    const Activation *dy, *x, *mask; /* mask: y, where a ReLU follows */
    const float *weight, *statistics;
    Activation *dx;
    float *dweight, *dbias;
    float *partial; /* BATCHNORM_GRAD_BY_VIEW: (views, 2, channels) of double: sums of dy, of dy * z */
    AmdimPool *pool;
} BatchnormGradJob;

typedef Activation *BatchnormFunction(AmdimPool *pool, BatchnormJob job);
typedef Activation *NormalizeFunction(AmdimPool *pool, NormalizeJob job);
typedef Activation *BatchnormGradFunction(AmdimPool *pool, BatchnormGradJob job);

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
 * mask. dx may be dy. _BY_VIEW: the same numbers by parts of one view each, of which there are enough where
 * channels are few; what all views add to comes last. NORMALIZE: y from the running statistics, for x (rows,
 * channels). TAIL_RELU or TAIL_NONE. */
#define BATCHNORM(name, views, rows, channels, tail)                                                         \
    BATCHNORM_FUNCTION(name, BatchnormJob, y, batchnorm_channels, views, rows, channels, (tail) == TAIL_RELU)
#define BATCHNORM_GRAD(name, views, rows, channels, tail)                                                    \
    BATCHNORM_FUNCTION(name, BatchnormGradJob, dx, batchnorm_grad_channels, views, rows, channels,           \
                       (tail) == TAIL_MASK)
#define BATCHNORM_BY_VIEW(name, views, rows, channels, tail)                                                 \
    FUNCTION_OF_ROUNDS(name, BatchnormJob, y, Batchnorm, ((Batchnorm){views, rows, channels}),               \
                       batchnorm_view(s, (tail) == TAIL_RELU, j, part), (views)*BATCHNORM_PARTS(channels),   \
                       batchnorm_end(s, j), 1)
#define BATCHNORM_GRAD_BY_VIEW(name, views, rows, channels, tail)                                            \
    FUNCTION_OF_ROUNDS(name, BatchnormGradJob, dx, Batchnorm, ((Batchnorm){views, rows, channels}),          \
                       batchnorm_grad_part(s, (tail) == TAIL_MASK, j, part),                                 \
                       (views)*BATCHNORM_PARTS(channels), batchnorm_grad_end(s, j), 1)
#define NORMALIZE(name, rows, channels, tail)                                                                \
    FUNCTION_OF_A_ROUND(name, NormalizeJob, y, Batchnorm, ((Batchnorm){1, rows, channels}),                  \
                        normalize_rows(s, (tail) == TAIL_RELU, j, piece(rows, part, NORMALIZE_PARTS(rows)),  \
                                       piece(rows, part + 1, NORMALIZE_PARTS(rows))),                        \
                        NORMALIZE_PARTS(rows))
#define NORMALIZE_PARTS(rows) MIN_OF(rows, 16)

#define BATCHNORM_FUNCTION(name, Job, result, run, views, rows, channels, relu)                              \
    FUNCTION_OF_A_ROUND(                                                                                     \
        name, Job, result, Batchnorm, ((Batchnorm){views, rows, channels}),                                  \
        run(s, relu, j, batchnorm_first(channels, part), batchnorm_first(channels, part + 1)),               \
        BATCHNORM_PARTS(channels))
#define BATCHNORM_PARTS(channels) CEIL_DIV(channels, BATCHNORM_WIDTH)

/* The first channel of a part: whole vectors, where there are some. */
INLINE int batchnorm_first(int channels, int part)
{
    return MIN_OF(part * BATCHNORM_WIDTH, channels);
}

/* Asks for the channels of a row to come: rows are too far apart for a processor to foresee. */
INLINE void batchnorm_ask(const Activation *row, ptrdiff_t channels, int width)
{
    enum { AHEAD = 16 }; /* rows */
    for (int i = 0; i < width; i += LINE)
        __builtin_prefetch(row + AHEAD * channels + i);
}

/* Sums go in float over blocks of rows, in double over blocks: of a group of vectors, whose sums are in
 * registers together; of one vector at a time, where no group is left; of the last channels one by one. */
enum { BATCHNORM_GROUP = HAS_VECTORS ? MIN_OF(BATCHNORM_WIDTH / LANES, 4) : 1 };
#define EACH_OF_GROUP(v) UNROLL for (int v = 0; v < BATCHNORM_GROUP; v++) if (v < group)
#define EACH_GROUP(i, width, call)                                                                           \
    do {                                                                                                     \
        int i = 0;                                                                                           \
        ROLLED for (int group = BATCHNORM_GROUP; i + group * LANES <= (width); i += group * LANES) call;     \
        ROLLED for (int group = 1; i + group * LANES <= (width); i += LANES) call;                           \
    } while (0)

INLINE void batchnorm_add(int group, double *to, const Vec sum[BATCHNORM_GROUP])
{
    float part[BATCHNORM_GROUP * LANES];
    EACH_OF_GROUP(v) store(part + v * LANES, sum[v]);
    for (int i = 0; i < group * LANES; i++)
        to[i] += part[i];
}

/* Of channels first .. first + width - 1 of one view: the mean, in two floats of which the second is what the
 * first cannot hold, and the sum of squared distances from it. */
typedef struct {
    float mean[BATCHNORM_WIDTH];
    double rest[BATCHNORM_WIDTH], squares[BATCHNORM_WIDTH];
} BatchnormSums;

#define DISTANCE(mean, i) (activation(x[(size_t)row * b.channels + i]) - mean[i])
/* Adds a group's sums over a block of rows. */
INLINE void batchnorm_add_rows(int group, const Activation *x, ptrdiff_t stride, int rows, double *sum)
{
    Vec part[BATCHNORM_GROUP];
    EACH_OF_GROUP(v) part[v] = (Vec){0};
    ROLLED for (int row = 0; row < rows; row++, x += stride) EACH_OF_GROUP(v) part[v] +=
        load_activations(x + v * LANES);
    batchnorm_add(group, sum, part);
}

/* And of distances from the mean, and of their squares. */
INLINE void batchnorm_add_distances(int group, const Activation *x, ptrdiff_t stride, int rows,
                                    const float *mean, double *sum, double *squares)
{
    Vec part[BATCHNORM_GROUP], square[BATCHNORM_GROUP], middle[BATCHNORM_GROUP];
    EACH_OF_GROUP(v)
    {
        part[v] = square[v] = (Vec){0};
        middle[v] = load(mean + v * LANES);
    }
    ROLLED for (int row = 0; row < rows; row++, x += stride) EACH_OF_GROUP(v)
    {
        const Vec distance = load_activations(x + v * LANES) - middle[v];
        part[v] += distance;
        square[v] += distance * distance;
    }
    batchnorm_add(group, sum, part);
    batchnorm_add(group, squares, square);
}

/* The sum of distances from a first mean corrects it to far below a float's last place, which matters where a
 * channel's mean is large beside its deviation. */
INLINE void batchnorm_sums_of(Batchnorm b, const Activation *x, int width, BatchnormSums *to)
{
    const int whole = width / LANES * LANES;
    double sum[BATCHNORM_WIDTH] = {0}, drift[BATCHNORM_WIDTH] = {0};
    ROLLED for (int block = 0; block < b.rows; block += BATCHNORM_BLOCK)
    {
        const Activation *rows = x + (size_t)block * b.channels;
        const int count = MIN_OF(BATCHNORM_BLOCK, b.rows - block);
        float last[LANES] = {0};
        for (int row = 0; row < count; row++)
            batchnorm_ask(rows + (size_t)row * b.channels, b.channels, width);
        EACH_GROUP(i, width, batchnorm_add_rows(group, rows + i, b.channels, count, sum + i));
        ROLLED for (int row = 0; row < count; row++) for (int i = whole; i < width; i++) last[i - whole] +=
            activation(rows[(size_t)row * b.channels + i]);
        for (int i = whole; i < width; i++)
            sum[i] += last[i - whole];
    }
    for (int i = 0; i < width; i++) {
        to->mean[i] = (float)(sum[i] / b.rows);
        to->squares[i] = 0;
    }
    ROLLED for (int block = 0; block < b.rows; block += BATCHNORM_BLOCK)
    {
        const Activation *rows = x + (size_t)block * b.channels;
        const int count = MIN_OF(BATCHNORM_BLOCK, b.rows - block);
        float last[LANES] = {0}, square[LANES] = {0};
        EACH_GROUP(i, width,
                   batchnorm_add_distances(group, rows + i, b.channels, count, to->mean + i, drift + i,
                                           to->squares + i));
        ROLLED for (int row = 0; row < count; row++) for (int i = whole; i < width; i++)
        {
            const float distance = activation(rows[(size_t)row * b.channels + i]) - to->mean[i];
            last[i - whole] += distance;
            square[i - whole] += distance * distance;
        }
        for (int i = whole; i < width; i++) {
            drift[i] += last[i - whole];
            to->squares[i] += square[i - whole];
        }
    }
    for (int i = 0; i < width; i++) {
        to->rest[i] = drift[i] / b.rows;
        to->squares[i] -= drift[i] * to->rest[i];
    }
}

/* A channel's running statistics go towards a view's, of which the variance is unbiased. */
INLINE void batchnorm_move(const BatchnormJob *j, int channel, double mean, double var)
{
    float *running_mean = j->running_mean + channel, *running_var = j->running_var + channel;
    *running_mean += (float)(BATCHNORM_MOMENTUM * (mean - *running_mean));
    *running_var += (float)(BATCHNORM_MOMENTUM * (var - *running_var));
}

/* Those of a part's channels, from the sums over `rows` rows. */
INLINE void batchnorm_move_part(const BatchnormJob *j, double rows, const BatchnormSums *sums, int first,
                                int width)
{
    for (int i = 0; i < width; i++)
        batchnorm_move(j, first + i, sums->mean[i] + sums->rest[i], sums->squares[i] / (rows - 1));
}

/* y of one view from the sums over `rows` rows, of which b.rows are here. Statistics are kept. What of the
 * mean no float holds goes into the shift. */
INLINE void batchnorm_apply(Batchnorm b, double rows, bool relu, const BatchnormJob *j,
                            const BatchnormSums *sums, int view, int first, int width)
{
    const Activation *x = j->x + (size_t)view * b.rows * b.channels + first;
    Activation *y = j->y + (size_t)view * b.rows * b.channels + first;
    float *kept = j->statistics + (size_t)view * 2 * b.channels + first;
    float scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH];
    for (int i = 0; i < width; i++) {
        kept[i] = (float)(sums->mean[i] + sums->rest[i]);
        kept[b.channels + i] = over_root(1, sums->squares[i] / rows + BATCHNORM_EPS);
        scale[i] = kept[b.channels + i] * j->weight[first + i];
        shift[i] = (float)(j->bias[first + i] - sums->rest[i] * scale[i]);
    }
    for (int row = 0; row < b.rows; row++) {
        batchnorm_ask(y + (size_t)row * b.channels, b.channels, width);
        ELEMENTWISE for (int i = 0; i < width; i++)
        {
            const float value = DISTANCE(sums->mean, i) * scale[i] + shift[i];
            y[(size_t)row * b.channels + i] = activation_of(relu ? relu_number(value) : value);
        }
    }
}
#undef DISTANCE

/* Some channels of one view. */
SHARED void batchnorm_of(Batchnorm b, bool relu, const BatchnormJob *j, int view, int first, int width,
                         BatchnormSums *sums)
{
    batchnorm_sums_of(b, j->x + (size_t)view * b.rows * b.channels + first, width, sums);
    batchnorm_apply(b, b.rows, relu, j, sums, view, first, width);
}

/* Training: statistics of each view of its own; running statistics take the views in turn. */
SHARED void batchnorm_channels(Batchnorm b, bool relu, const BatchnormJob *j, int first, int last)
{
    for (int view = 0; view < b.views; view++) {
        BatchnormSums sums;
        batchnorm_of(b, relu, j, view, first, last - first, &sums);
        batchnorm_move_part(j, b.rows, &sums, first, last - first);
    }
}

/* What the part number `part` of all views' parts owns. */
typedef struct {
    int view, first, width;
} BatchnormPart;

INLINE BatchnormPart batchnorm_part(Batchnorm b, int part)
{
    const int parts = BATCHNORM_PARTS(b.channels), first = batchnorm_first(b.channels, part % parts);
    return (BatchnormPart){part / parts, first, batchnorm_first(b.channels, part % parts + 1) - first};
}

SHARED void batchnorm_view(Batchnorm b, bool relu, const BatchnormJob *j, int part)
{
    const BatchnormPart p = batchnorm_part(b, part);
    double *mean = (double *)(void *)j->partial + (size_t)p.view * 2 * b.channels + p.first;
    BatchnormSums sums;
    batchnorm_of(b, relu, j, p.view, p.first, p.width, &sums);
    for (int i = 0; i < p.width; i++) {
        mean[i] = sums.mean[i] + sums.rest[i];
        mean[b.channels + i] = sums.squares[i] / (b.rows - 1);
    }
}

SHARED void batchnorm_end(Batchnorm b, const BatchnormJob *j)
{
    const double *mean = (const double *)(const void *)j->partial;
    for (int view = 0; view < b.views; view++, mean += 2 * (ptrdiff_t)b.channels)
        for (int c = 0; c < b.channels; c++)
            batchnorm_move(j, c, mean[c], mean[b.channels + c]);
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
                const float value =
                    (activation(j->x[at]) - j->running_mean[c + i]) * scale[i] + j->bias[c + i];
                j->y[at] = activation_of(relu ? relu_number(value) : value);
            }
    }
}

/* What one view's gradients need of it: the sums of dy and of dy * z, with z = (x - mean) * inv. */
typedef struct {
    double sum[BATCHNORM_WIDTH], dot[BATCHNORM_WIDTH];
} BatchnormGradSums;

/* One view of the operands, from channel `first` on. */
typedef struct {
    const Activation *x, *dy, *mask;
    const float *mean, *inv;
    Activation *dx;
} BatchnormGradView;

INLINE BatchnormGradView batchnorm_grad_view(Batchnorm b, bool relu, const BatchnormGradJob *j, int view,
                                             int first)
{
    const size_t begin = (size_t)view * b.rows * b.channels + first;
    const float *mean = j->statistics + (size_t)view * 2 * b.channels + first;
    const Activation *dy = j->dy + begin;
    return (BatchnormGradView){.x = j->x + begin,
                               .dy = dy,
                               .mask = relu ? j->mask + begin : dy,
                               .mean = mean,
                               .inv = mean + b.channels,
                               .dx = j->dx ? j->dx + begin : NULL};
}

#define DY(at) (relu && !(activation(v.mask[at]) > 0) ? 0 : activation(v.dy[at]))
#define PLACE  ((size_t)row * b.channels + i)
/* Adds a group's sums over a block of rows that begins at `at`. */
INLINE void batchnorm_grad_add(int group, Batchnorm b, bool relu, BatchnormGradView v, int i, int rows,
                               size_t at, BatchnormGradSums *to)
{
    Vec sum[BATCHNORM_GROUP], dot[BATCHNORM_GROUP], mean[BATCHNORM_GROUP], inv[BATCHNORM_GROUP];
    EACH_OF_GROUP(k)
    {
        sum[k] = dot[k] = (Vec){0};
        mean[k] = load(v.mean + i + k * LANES);
        inv[k] = load(v.inv + i + k * LANES);
    }
    ROLLED for (int row = 0; row < rows; row++, at += (size_t)b.channels) EACH_OF_GROUP(k)
    {
        Vec dy = load_activations(v.dy + at + k * LANES);
        if (relu)
            dy = where_positive(load_activations(v.mask + at + k * LANES), dy);
        sum[k] += dy;
        dot[k] += dy * (load_activations(v.x + at + k * LANES) - mean[k]) * inv[k];
    }
    batchnorm_add(group, to->sum + i, sum);
    batchnorm_add(group, to->dot + i, dot);
}

INLINE void batchnorm_grad_sums_of(Batchnorm b, bool relu, BatchnormGradView v, int width,
                                   BatchnormGradSums *to)
{
    const int whole = width / LANES * LANES;
    for (int i = 0; i < width; i++)
        to->sum[i] = to->dot[i] = 0;
    ROLLED for (int block = 0; block < b.rows; block += BATCHNORM_BLOCK)
    {
        const int count = MIN_OF(BATCHNORM_BLOCK, b.rows - block);
        float sum[LANES] = {0}, dot[LANES] = {0};
        EACH_GROUP(i, width,
                   batchnorm_grad_add(group, b, relu, v, i, count, (size_t)block * b.channels + i, to));
        ROLLED for (int row = block; row < block + count; row++) for (int i = whole; i < width; i++)
        {
            const float dy = activation(v.dy[PLACE]), gate = activation(v.mask[PLACE]),
                        kept = relu && !(gate > 0) ? 0 : dy;
            sum[i - whole] += kept;
            dot[i - whole] += kept * (activation(v.x[PLACE]) - v.mean[i]) * v.inv[i];
        }
        for (int i = whole; i < width; i++) {
            to->sum[i] += sum[i - whole];
            to->dot[i] += dot[i - whole];
        }
    }
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
    const int whole = width / LANES * LANES;
    for (int row = 0; row < b.rows; row++) {
        ROLLED for (int i = 0; i < whole; i += LANES)
        {
            Vec dy = load_activations(v.dy + PLACE);
            if (relu)
                dy = where_positive(load_activations(v.mask + PLACE), dy);
            store_activations(v.dx + PLACE,
                              load(scale + i) *
                                  (dy - load(shift + i) -
                                   (load_activations(v.x + PLACE) - load(v.mean + i)) * load(slope + i)));
        }
        SCALAR for (int i = whole; i < width; i++) v.dx[PLACE] = activation_of(
            scale[i] * (DY(PLACE) - shift[i] - (activation(v.x[PLACE]) - v.mean[i]) * slope[i]));
    }
}
#undef DY
#undef PLACE

/* dx of some channels of one view, and its sums. */
SHARED void batchnorm_grad_of(Batchnorm b, bool relu, const BatchnormGradJob *j, int view, int first,
                              int width, BatchnormGradSums *sums)
{
    const BatchnormGradView v = batchnorm_grad_view(b, relu, j, view, first);
    batchnorm_grad_sums_of(b, relu, v, width, sums);
    batchnorm_grad_apply(b, b.rows, relu, v, j->weight + first, sums, width);
}

SHARED void batchnorm_grad_channels(Batchnorm b, bool relu, const BatchnormGradJob *j, int first, int last)
{
    const int width = last - first;
    double dweight[BATCHNORM_WIDTH] = {0}, dbias[BATCHNORM_WIDTH] = {0};
    for (int view = 0; view < b.views; view++) {
        BatchnormGradSums sums;
        batchnorm_grad_of(b, relu, j, view, first, width, &sums);
        for (int i = 0; i < width; i++) {
            dbias[i] += sums.sum[i];
            dweight[i] += sums.dot[i];
        }
    }
    for (int i = 0; i < width; i++) {
        j->dweight[first + i] = (float)dweight[i];
        j->dbias[first + i] = (float)dbias[i];
    }
}

SHARED void batchnorm_grad_part(Batchnorm b, bool relu, const BatchnormGradJob *j, int part)
{
    const BatchnormPart p = batchnorm_part(b, part);
    double *to = (double *)(void *)j->partial + (size_t)p.view * 2 * b.channels + p.first;
    BatchnormGradSums sums;
    batchnorm_grad_of(b, relu, j, p.view, p.first, p.width, &sums);
    memcpy(to, sums.sum, sizeof(double) * (size_t)p.width);
    memcpy(to + b.channels, sums.dot, sizeof(double) * (size_t)p.width);
}

SHARED void batchnorm_grad_end(Batchnorm b, const BatchnormGradJob *j)
{
    const double *sum = (const double *)(const void *)j->partial;
    for (int c = 0; c < b.channels; c++) {
        double dbias = 0, dweight = 0;
        for (int view = 0; view < b.views; view++) {
            dbias += sum[(size_t)view * 2 * b.channels + c];
            dweight += sum[((size_t)view * 2 + 1) * b.channels + c];
        }
        j->dbias[c] = (float)dbias;
        j->dweight[c] = (float)dweight;
    }
}

#endif
