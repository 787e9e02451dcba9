/* kernels.h: what every fixed-shape function of a generated program is made of.
 *
 * Everything here is inlined into a function whose shapes are constants, so bounds, strides and the choices
 * of a product's tail are settled at compile time. One source serves every processor: vectors are the
 * compiler's own (vector_size), only their width and the tile's height depend on the target.
 *
 * Maps lie as pixels x channels, (images, side, side, channels). Products are in vectors.h and the headers
 * that build on it, or in tiles.h. */
#ifndef KERNELS_H
#define KERNELS_H

#include "amdim.h"
#include <float.h>
#include <math.h>
#include <string.h>

#if defined __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif

/* INLINE: part of a fixed-shape function; a build may define it as less, which compiles faster. SHARED: an
 * inner loop that all shapes of a program have in common. */
#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif
#define SHARED static __attribute__((noinline, unused))

/* Whether products are made by matrix tiles (tiles.h) or by vectors (vectors.h, sparse.h, ...). */
#ifndef MATRIX_TILES
#if (defined __AMX_BF16__ || defined __AMXBF16__) && defined __AVX512F__ /* clang 14 spells it otherwise */
#define MATRIX_TILES 1
#else
#define MATRIX_TILES 0
#endif
#endif

/* A tile is ROWS x PANEL sums held in registers: as many as the processor has, less two for a row of the
 * panel and one for the left factor; or four matrix tiles. */
#if MATRIX_TILES
enum { LANES = 16, VECTORS = 2, ROWS = 32 };
#elif defined __AVX512F__
enum { LANES = 16, VECTORS = 2, ROWS = 12 };
#elif defined __AVX__
enum { LANES = 8, VECTORS = 2, ROWS = 6 };
#elif defined __aarch64__
enum { LANES = 4, VECTORS = 2, ROWS = 12 };
#else
enum { LANES = 4, VECTORS = 2, ROWS = 4 };
#endif
enum { PANEL = LANES * VECTORS, LINE = 16 }; /* LINE: floats in a line of the cache */

/* Pixels treated together: a whole number of tiles for the products, few enough for the first cache in sums.
 */
enum { PIXEL_BLOCK = 240, SUM_BLOCK = 128 };
typedef float Vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define PANELS(columns) (((columns) + PANEL - 1) / PANEL)
#define MIN_OF(a, b)    ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)    ((a) > (b) ? (a) : (b))
#define CEIL_DIV(a, b)  (((a) + (b)-1) / (b))
#define UNROLL          _Pragma("GCC unroll 16")
#define ROLLED          _Pragma("GCC unroll 1") /* where a compiler would unroll without end */

/* In front of a loop whose rounds do not depend on each other, even where the result lies where an input
 * does, which a compiler has to suspect otherwise. Whatever a round reads on a condition is there without it.
 */
#if defined __clang__
#pragma clang diagnostic ignored "-Wpass-failed" /* where little is optimised they stay loops */
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define ELEMENTWISE _Pragma("GCC ivdep")
#endif

/* Piece number `part` of `parts` even pieces of 0..count: [first, last). */
INLINE int piece(int count, int part, int parts)
{
    return (int)((int64_t)count * part / parts);
}

/* The same in whole tiles: where part `part` begins, so that only the last part ends within a tile. */
INLINE int tile_piece(int rows, int part, int parts)
{
    return MIN_OF(ROWS * piece(CEIL_DIV(rows, ROWS), part, parts), rows);
}

INLINE Vec load(const float *p)
{
    return *(const Vec *)p;
}

INLINE void store(float *p, Vec v)
{
    *(Vec *)p = v;
}

/* v where gate > 0, else 0. */
INLINE Vec where_positive(Vec gate, Vec v)
{
    return (Vec)((Bits)v & (gate > (Vec){0}));
}

/* ---- the tile
 * ------------------------------------------------------------------------------------------------- */

/* What follows a product while its tile is in registers: y = mask(relu(sum + bias + addend)), each only where
 * its bit is set; a mask lets through where it is above 0. */
enum { TAIL_BIAS = 1, TAIL_ADD = 2, TAIL_RELU = 4, TAIL_MASK = 8 };

/* As a list of what a macro does with each. */
#define EACH_TAIL(DO)                                                                                        \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)

INLINE void tail_vector(int tail, float *y, Vec sum, const float *bias, const float *addend,
                        const float *mask)
{
    if (tail & TAIL_BIAS)
        sum += load(bias);
    if (tail & TAIL_ADD)
        sum += load(addend);
    if (tail & TAIL_RELU)
        sum = where_positive(sum, sum);
    if (tail & TAIL_MASK)
        sum = where_positive(load(mask), sum);
    store(y, sum);
}

/* The same for one number, of which what the tail does not have is 0. */
INLINE float tail_number(int tail, float sum, float bias, float addend, float mask)
{
    sum = sum + bias + addend;
    if (tail & TAIL_RELU)
        sum = sum > 0 ? sum : 0;
    return tail & TAIL_MASK && !(mask > 0) ? 0 : sum;
}

/* ---- convolution
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
    int images, side, in; /* x (images, side, side, in), padded where the layer pads */
    int out_side, out;    /* y (images, out_side, out_side, out) */
    int kernel, stride;   /* weight (kernel*kernel*in, out) */
} Conv;

typedef struct {
    const float *x, *weight, *bias, *addend;
    float *y, *packed;
    AmdimPool *pool; /* for a worker's scratch */
} ConvJob;

/* Where the patch of output pixel p (counted over all images) begins in x. */
INLINE size_t patch(Conv c, int p)
{
    if (c.kernel == 1 && c.stride == 1)
        return (size_t)p * c.in;
    const int area = c.out_side * c.out_side, image = p / area, row = p % area / c.out_side,
              column = p % c.out_side;
    return (((size_t)image * c.side + (size_t)row * c.stride) * c.side + (size_t)column * c.stride) * c.in;
}

/* Where a tap's first channel lies in a patch. */
INLINE ptrdiff_t tap_at(Conv c, int tap)
{
    return ((ptrdiff_t)(tap / c.kernel) * c.side + tap % c.kernel) * c.in;
}

/* A convolution's y, pixel by pixel: what a 1x1 kernel reads. */
INLINE Conv pixels_of_y(Conv c)
{
    return (Conv){.images = c.images,
                  .side = c.out_side,
                  .in = c.out,
                  .out_side = c.out_side,
                  .kernel = 1,
                  .stride = 1};
}

INLINE int depth_of_patch(Conv c)
{
    return c.kernel * c.kernel * c.in;
}

typedef struct {
    const float *dy, *weight, *addend, *mask;
    float *dx, *packed; /* packed[tap][panel]: each tap's weights transposed, in panels */
    AmdimPool *pool;
} ConvGradXJob;

/* What patches add up in: dx of images [first, last) = the addend, or 0. */
INLINE void conv_grad_x_begin(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    const size_t image = (size_t)c.side * c.side * c.in, begin = (size_t)first * image,
                 bytes = (size_t)(last - first) * image * sizeof(float);
    if (!(tail & TAIL_ADD))
        memset(j->dx + begin, 0, bytes);
    else if (j->dx != j->addend)
        memcpy(j->dx + begin, j->addend + begin, bytes);
}

/* The mask, once every patch has added its share. */
INLINE void conv_grad_x_end(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    const size_t image = (size_t)c.side * c.side * c.in;
    if (tail & TAIL_MASK)
        for (size_t i = (size_t)first * image; i < (size_t)last * image; i++)
            j->dx[i] = j->mask[i] > 0 ? j->dx[i] : 0;
}

typedef struct {
    const float *x, *dy;
    float *dw, *partial; /* partial: one dw a slice of the images, where they are sliced */
    bool more;           /* added to what dw holds */
    AmdimPool *pool;
} ConvGradWJob;

/* Of which factor a weight's gradient skips zeros. */
enum { BY_X, BY_DY };

/* to = addend + scale * the sum of the slices, in their order; `count` floats each; addend may be NULL. */
SHARED void sum_slices(const float *partial, int slices, size_t count, float scale, const float *addend,
                       float *to, int part, int parts)
{
    for (size_t i = count * (size_t)part / (size_t)parts; i < count * (size_t)(part + 1) / (size_t)parts;
         i++) {
        float sum = 0;
        for (int slice = 0; slice < slices; slice++)
            sum += partial[(size_t)slice * count + i];
        to[i] = (addend ? addend[i] : 0) + scale * sum;
    }
}

typedef struct {
    const float *dy;
    float *db, *partial; /* partial: (slices, channels) of double */
    bool more;           /* added to what db holds */
} BiasGradJob;

/* total += the sums of some vectors' channels over pixels that are `channels` apart. */
INLINE void bias_grad_vectors(const float *dy, int pixels, int channels, int vectors, double *total)
{
    Vec sum[4] = {{0}};
    for (int p = 0; p < pixels; p++, dy += channels)
        UNROLL for (int v = 0; v < vectors; v++) sum[v] += load(dy + v * LANES);
    for (int v = 0; v < vectors; v++)
        for (int i = 0; i < LANES; i++)
            total[v * LANES + i] += sum[v][i];
}

INLINE void bias_grad_block(const float *dy, int pixels, int channels, double *total)
{
    int c = 0;
    for (; c + 4 * LANES <= channels; c += 4 * LANES)
        bias_grad_vectors(dy + c, pixels, channels, 4, total + c);
    for (; c + LANES <= channels; c += LANES)
        bias_grad_vectors(dy + c, pixels, channels, 1, total + c);
    for (; c < channels; c++) {
        float sum = 0;
        for (int p = 0; p < pixels; p++)
            sum += dy[(ptrdiff_t)p * channels + c];
        total[c] += sum;
    }
}

/* Slice `slice` of the pixels: sums over blocks, added up in double. */
INLINE void bias_grad_slice(int pixels, int channels, const BiasGradJob *j, int slice, int slices)
{
    const int blocks = CEIL_DIV(pixels, PIXEL_BLOCK),
              last = MIN_OF(PIXEL_BLOCK * piece(blocks, slice + 1, slices), pixels);
    double *total = (double *)(void *)j->partial + (size_t)slice * channels;
    for (int c = 0; c < channels; c++)
        total[c] = 0;
    for (int block = PIXEL_BLOCK * piece(blocks, slice, slices); block < last; block += PIXEL_BLOCK)
        bias_grad_block(j->dy + (size_t)block * channels, MIN_OF(PIXEL_BLOCK, last - block), channels, total);
}

INLINE void bias_grad_end(int channels, const BiasGradJob *j, int slices)
{
    const double *partial = (const double *)(const void *)j->partial;
    for (int c = 0; c < channels; c++) {
        double total = j->more ? j->db[c] : 0;
        for (int slice = 0; slice < slices; slice++)
            total += partial[(size_t)slice * channels + c];
        j->db[c] = (float)total;
    }
}

/* ---- padding, pooling, positions
 * ------------------------------------------------------------------------------------ */

/* to += scale * from; shared, so that maps' functions stay small. */
SHARED void add_scaled(float *restrict to, const float *restrict from, float scale, int count)
{
    for (int i = 0; i < count; i++)
        to[i] += scale * from[i];
}

/* The row or column that a padded one mirrors (the edge is not repeated); -1 where zeros stand. */
INLINE int pad_source(int i, int pad, int side, bool reflect)
{
    i -= pad;
    if (i < 0)
        return reflect ? -i : -1;
    if (i >= side)
        return reflect ? 2 * (side - 1) - i : -1;
    return i;
}

typedef struct {
    const float *x, *addend, *mask;
    float *y;
} MapJob;

/* y (images, side + 2*pad, side + 2*pad, channels) from x (images, side, side, channels). */
INLINE void pad_image(int side, int channels, int pad, bool reflect, const MapJob *j, int image)
{
    const int padded = side + 2 * pad;
    const float *x = j->x + (size_t)image * side * side * channels;
    float *y = j->y + (size_t)image * padded * padded * channels;
    for (int row = 0; row < padded; row++)
        for (int column = 0; column < padded; column++, y += channels) {
            const int r = pad_source(row, pad, side, reflect), c = pad_source(column, pad, side, reflect);
            if (r < 0 || c < 0)
                memset(y, 0, sizeof(float) * (size_t)channels);
            else
                memcpy(y, x + ((size_t)r * side + (size_t)c) * channels, sizeof(float) * (size_t)channels);
        }
}

/* dx = mask(addend + what of dy lies over or mirrors each pixel). */
INLINE void pad_grad_image(int side, int channels, int pad, bool reflect, bool add, bool mask,
                           const MapJob *j, int image)
{
    const int padded = side + 2 * pad;
    const size_t count = (size_t)side * side * channels;
    const float *dy = j->x + (size_t)image * padded * padded * channels;
    float *dx = j->y + image * count;
    if (!add)
        memset(dx, 0, count * sizeof(float));
    else if (j->y != j->addend)
        memcpy(dx, j->addend + image * count, count * sizeof(float));
    for (int row = 0; row < padded; row++)
        for (int column = 0; column < padded; column++, dy += channels) {
            const int r = pad_source(row, pad, side, reflect), c = pad_source(column, pad, side, reflect);
            if (r < 0 || c < 0)
                continue;
            add_scaled(dx + ((size_t)r * side + (size_t)c) * channels, dy, 1, channels);
        }
    if (mask)
        for (size_t i = 0; i < count; i++)
            dx[i] = j->mask[image * count + i] > 0 ? dx[i] : 0;
}

/* Mean over kernel x kernel windows; channels from `in` to `out` are zero. */
INLINE void pool_image(Conv c, const MapJob *j, int image)
{
    const float *x = j->x + (size_t)image * c.side * c.side * c.in;
    float *y = j->y + (size_t)image * c.out_side * c.out_side * c.out;
    const float share = 1.0f / (float)(c.kernel * c.kernel);
    for (int p = 0; p < c.out_side * c.out_side; p++, y += c.out) {
        const float *window = x + patch(c, p);
        memset(y, 0, sizeof(float) * (size_t)c.out);
        ROLLED for (int ky = 0; ky < c.kernel; ky++) ROLLED for (int kx = 0; kx < c.kernel; kx++)
            add_scaled(y, window + ((size_t)ky * c.side + (size_t)kx) * c.in, share, c.in);
    }
}

INLINE void pool_grad_image(Conv c, bool add, const MapJob *j, int image)
{
    const size_t count = (size_t)c.side * c.side * c.in;
    const float *dy = j->x + (size_t)image * c.out_side * c.out_side * c.out;
    float *dx = j->y + image * count;
    const float share = 1.0f / (float)(c.kernel * c.kernel);
    if (!add)
        memset(dx, 0, count * sizeof(float));
    else if (j->y != j->addend)
        memcpy(dx, j->addend + image * count, count * sizeof(float));
    for (int p = 0; p < c.out_side * c.out_side; p++, dy += c.out) {
        float *window = dx + patch(c, p);
        ROLLED for (int ky = 0; ky < c.kernel; ky++) ROLLED for (int kx = 0; kx < c.kernel; kx++)
            add_scaled(window + ((size_t)ky * c.side + (size_t)kx) * c.in, dy, share, c.in);
    }
}

/* y (images, channels): the mean over `positions`. */
INLINE void mean_image(int positions, int channels, const MapJob *j, int image)
{
    const float *x = j->x + (size_t)image * positions * channels;
    float *y = j->y + (size_t)image * channels;
    memset(y, 0, sizeof(float) * (size_t)channels);
    for (int p = 0; p < positions; p++)
        add_scaled(y, x + (size_t)p * channels, 1.0f / (float)positions, channels);
}

typedef struct {
    const float *x, *addend;
    const int32_t *location; /* (images) */
    float *y;
} GatherJob;

INLINE void gather_image(int positions, int channels, const GatherJob *j, int image)
{
    memcpy(j->y + (size_t)image * channels,
           j->x + ((size_t)image * positions + (size_t)j->location[image]) * channels,
           sizeof(float) * (size_t)channels);
}

INLINE void gather_grad_image(int positions, int channels, bool add, const GatherJob *j, int image)
{
    const size_t count = (size_t)positions * channels;
    const float *da = j->x + (size_t)image * channels;
    float *dx = j->y + image * count;
    if (!add)
        memset(dx, 0, count * sizeof(float));
    else if (j->y != j->addend)
        memcpy(dx, j->addend + image * count, count * sizeof(float));
    add_scaled(dx + (size_t)j->location[image] * channels, da, 1, channels);
}

/* ---- pointwise
 * -------------------------------------------------------------------------------------------------------- */

INLINE void relu_grad_piece(size_t first, size_t last, const MapJob *j)
{
    ELEMENTWISE for (size_t i = first; i < last; i++) j->y[i] = j->mask[i] > 0 ? j->x[i] : 0;
}

INLINE void add_piece(size_t first, size_t last, const MapJob *j)
{
    ELEMENTWISE for (size_t i = first; i < last; i++) j->y[i] = j->x[i] + j->addend[i];
}

/* ---- batch normalisation
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
    const float *x, *weight, *bias;
    float *running_mean, *running_var;
    float *y, *statistics; /* statistics (views, 2, channels): mean, 1 / sqrt(var + eps) */
} BatchnormJob;

typedef struct {
    const float *x, *weight, *bias, *running_mean, *running_var;
    float *y;
} NormalizeJob;

typedef struct {
    int views, rows, channels; /* x (views, rows, channels); a view's rows are its images' positions */
} Batchnorm;

enum {
    BATCHNORM_WIDTH = 64, /* channels that one part owns */
    BATCHNORM_BLOCK = 16, /* rows summed in float: few, for what is summed may all but cancel */
};
#define BATCHNORM_EPS      1e-5
#define BATCHNORM_MOMENTUM 0.1

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
            kept[b.channels + i] = (float)(1 / sqrt(var + BATCHNORM_EPS));
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
INLINE void batchnorm_channels(Batchnorm b, bool relu, const BatchnormJob *j, int first, int last)
{
    if (last - first == BATCHNORM_WIDTH)
        batchnorm_of(b, relu, j, first, BATCHNORM_WIDTH);
    else
        batchnorm_of(b, relu, j, first, last - first);
}

/* Testing: y = (x - running mean) / sqrt(running var + eps) * weight + bias. */
INLINE void normalize_rows(Batchnorm b, bool relu, const NormalizeJob *j, int first, int last)
{
    for (int c = 0; c < b.channels; c += BATCHNORM_WIDTH) {
        const int width = MIN_OF(BATCHNORM_WIDTH, b.channels - c);
        float scale[BATCHNORM_WIDTH];
        for (int i = 0; i < width; i++)
            scale[i] = (float)(j->weight[c + i] / sqrt(j->running_var[c + i] + BATCHNORM_EPS));
        for (int row = first; row < last; row++)
            ELEMENTWISE for (int i = 0; i < width; i++)
            {
                const size_t at = (size_t)row * b.channels + c + i;
                const float value = (j->x[at] - j->running_mean[c + i]) * scale[i] + j->bias[c + i];
                j->y[at] = relu && !(value > 0) ? 0 : value;
            }
    }
}

typedef struct {
    const float *dy, *x, *weight, *statistics, *mask; /* mask: y, where a ReLU follows */
    float *dx, *dweight, *dbias;
} BatchnormGradJob;

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
#define AT     ((size_t)row * b.channels + i)
        double sum[BATCHNORM_WIDTH], dot[BATCHNORM_WIDTH];
        BATCHNORM_SUM(sum, width, b.rows, (void)0, DY(AT));
        BATCHNORM_SUM(dot, width, b.rows, (void)0, DY(AT) * (x[AT] - mean[i]) * inv[i]);
        float scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH], slope[BATCHNORM_WIDTH];
        for (int i = 0; i < width; i++) {
            dbias[i] += sum[i];
            dweight[i] += dot[i];
            scale[i] = j->weight[first + i] * inv[i];
            shift[i] = (float)(sum[i] / b.rows);
            slope[i] = (float)(dot[i] / b.rows) * inv[i];
        }
        for (int row = 0; row < b.rows; row++)
            ELEMENTWISE for (int i = 0; i < width; i++) dx[AT] =
                scale[i] * (DY(AT) - shift[i] - (x[AT] - mean[i]) * slope[i]);
#undef DY
#undef AT
    }
    for (int i = 0; i < width; i++) {
        j->dweight[first + i] = (float)dweight[i];
        j->dbias[first + i] = (float)dbias[i];
    }
}

INLINE void batchnorm_grad_channels(Batchnorm b, bool relu, const BatchnormGradJob *j, int first, int last)
{
    if (last - first == BATCHNORM_WIDTH)
        batchnorm_grad_of(b, relu, j, first, BATCHNORM_WIDTH);
    else
        batchnorm_grad_of(b, relu, j, first, last - first);
}

#endif
