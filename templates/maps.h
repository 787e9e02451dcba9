/* maps.h: operations that treat every image of a map alone: padding, pooling, means, positions; or every
 * number: sums and masks of gradients. Each is one function for all shapes, for memory is what it waits for.
 */
#ifndef MAPS_H
#define MAPS_H

#include "kernels.h"

typedef struct {
    const float *x, *addend, *mask;
    float *y;
    AmdimPool *pool;
} MapJob;

typedef struct {
    const float *x, *addend;
    const int32_t *location; /* (images) */
    float *y;
    AmdimPool *pool;
} GatherJob;

typedef float *MapFunction(AmdimPool *pool, MapJob job);
typedef float *GatherFunction(AmdimPool *pool, GatherJob job);

/* A function that calls one(shape, job, image) for every image, in `parts` parts. */
#define FUNCTION_OF_IMAGES(name, Job, result, Shape, shape, one, parts)                                      \
    FUNCTION_OF_A_ROUND(name, Job, result, Shape, shape,                                                     \
                        for (int image = piece(s.images, part, parts);                                       \
                             image < piece(s.images, part + 1, parts); image++) one(s, j, image),            \
                        parts)

/* to += scale * from */
SHARED void add_scaled(float *restrict to, const float *restrict from, float scale, int count)
{
    for (int i = 0; i < count; i++)
        to[i] += scale * from[i];
}

/* What gradients add up in: an image of dx = the addend, or 0. */
SHARED void begin_gradient(float *dx, const float *addend, size_t count)
{
    if (!addend)
        memset(dx, 0, count * sizeof(float));
    else if (dx != addend)
        memcpy(dx, addend, count * sizeof(float));
}

/* ---- padding ---- */

enum { PAD_ZEROS, PAD_MIRROR }; /* what stands around a map; a mirror does not repeat the edge */

typedef struct {
    int images, side, channels; /* of the map inside */
    int pad, border;
} Padding;

/* PAD: y (images, side + 2*pad, side + 2*pad, channels) = x (images, side, side, channels) with `pad` pixels
 * around it, as `border` says.
 * PAD_GRAD: dx (images, side, side, channels), the job's y, = mask(addend + what of dy, the job's x, lies
 * over or mirrors each pixel). Without an addend dx is overwritten; the mask lets through where it is above
 * 0. Both are there if the job has them; dx may be the addend. */
#define PAD(name, images, side, channels, pad, border, parts)                                                \
    FUNCTION_OF_IMAGES(name, MapJob, y, Padding, ((Padding){images, side, channels, pad, border}),           \
                       pad_image, parts)
#define PAD_GRAD(name, images, side, channels, pad, border, parts)                                           \
    FUNCTION_OF_IMAGES(name, MapJob, y, Padding, ((Padding){images, side, channels, pad, border}),           \
                       pad_grad_image, parts)

/* The row or column that a padded one mirrors; -1 where zeros stand. */
INLINE int pad_source(Padding p, int i)
{
    i -= p.pad;
    if (i < 0)
        return p.border == PAD_MIRROR ? -i : -1;
    if (i >= p.side)
        return p.border == PAD_MIRROR ? 2 * (p.side - 1) - i : -1;
    return i;
}

SHARED void pad_image(Padding p, const MapJob *j, int image)
{
    const int padded = p.side + 2 * p.pad, channels = p.channels;
    const float *x = j->x + (size_t)image * p.side * p.side * channels;
    float *y = j->y + (size_t)image * padded * padded * channels;
    for (int row = 0; row < padded; row++)
        for (int column = 0; column < padded; column++, y += channels) {
            const int r = pad_source(p, row), c = pad_source(p, column);
            if (r < 0 || c < 0)
                memset(y, 0, sizeof(float) * (size_t)channels);
            else
                memcpy(y, x + ((size_t)r * p.side + (size_t)c) * channels, sizeof(float) * (size_t)channels);
        }
}

SHARED void pad_grad_image(Padding p, const MapJob *j, int image)
{
    const int padded = p.side + 2 * p.pad;
    const size_t count = (size_t)p.side * p.side * p.channels, at = image * count;
    const float *dy = j->x + (size_t)image * padded * padded * p.channels;
    float *dx = j->y + at;
    begin_gradient(dx, j->addend ? j->addend + at : NULL, count);
    for (int row = 0; row < padded; row++)
        for (int column = 0; column < padded; column++, dy += p.channels) {
            const int r = pad_source(p, row), c = pad_source(p, column);
            if (r >= 0 && c >= 0)
                add_scaled(dx + ((size_t)r * p.side + (size_t)c) * p.channels, dy, 1, p.channels);
        }
    if (j->mask)
        for (size_t i = 0; i < count; i++)
            dx[i] = j->mask[at + i] > 0 ? dx[i] : 0;
}

/* ---- means ---- */

/* POOL: y (images, out_side, out_side, out) = the mean over each kernel x kernel window of x (images, side,
 * side, in); channels from `in` to `out` are zero. POOL_GRAD: dx, the job's y, = addend + each window's share
 * of dy, the job's x. Without an addend dx is overwritten; it may be the addend. */
#define POOL(name, shape, parts)      FUNCTION_OF_IMAGES(name, MapJob, y, Conv, shape, pool_image, parts)
#define POOL_GRAD(name, shape, parts) FUNCTION_OF_IMAGES(name, MapJob, y, Conv, shape, pool_grad_image, parts)

SHARED void pool_image(Conv c, const MapJob *j, int image)
{
    const float *x = j->x + (size_t)image * c.side * c.side * c.in;
    float *y = j->y + (size_t)image * c.out_side * c.out_side * c.out;
    const float share = 1.0f / (float)(c.kernel * c.kernel);
    for (int p = 0; p < c.out_side * c.out_side; p++, y += c.out) {
        const float *window = x + patch(c, p);
        memset(y, 0, sizeof(float) * (size_t)c.out);
        for (int tap = 0; tap < c.kernel * c.kernel; tap++)
            add_scaled(y, window + tap_at(c, tap), share, c.in);
    }
}

SHARED void pool_grad_image(Conv c, const MapJob *j, int image)
{
    const size_t count = (size_t)c.side * c.side * c.in, at = image * count;
    const float *dy = j->x + (size_t)image * c.out_side * c.out_side * c.out;
    float *dx = j->y + at;
    const float share = 1.0f / (float)(c.kernel * c.kernel);
    begin_gradient(dx, j->addend ? j->addend + at : NULL, count);
    for (int p = 0; p < c.out_side * c.out_side; p++, dy += c.out) {
        float *window = dx + patch(c, p);
        for (int tap = 0; tap < c.kernel * c.kernel; tap++)
            add_scaled(window + tap_at(c, tap), dy, share, c.in);
    }
}

/* ---- maxima ---- */

typedef struct {
    const float *dy, *x, *addend;
    float *dx;
    AmdimPool *pool;
} MaxPoolGradJob;

typedef float *MaxPoolGradFunction(AmdimPool *pool, MaxPoolGradJob job);

typedef struct {
    int images, side, channels; /* of x */
    int out_side, kernel, stride;
    int pad; /* of windows that hang over the map: what lies outside is not seen */
} MaxPool;

/* MAX_POOL: y (images, out_side, out_side, channels) = the maximum over each kernel x kernel window of x
 * (images, side, side, channels). MAX_POOL_GRAD: dx = addend + each dy at its window's maximum, the first of
 * equal ones by rows. Without an addend dx is overwritten; it may be the addend. */
#define MAX_POOL(name, images, side, channels, out_side, kernel, stride, pad, parts)                         \
    FUNCTION_OF_IMAGES(name, MapJob, y, MaxPool,                                                             \
                       ((MaxPool){images, side, channels, out_side, kernel, stride, pad}), max_pool_image,   \
                       parts)
#define MAX_POOL_GRAD(name, images, side, channels, out_side, kernel, stride, pad, parts)                    \
    FUNCTION_OF_IMAGES(name, MaxPoolGradJob, dx, MaxPool,                                                    \
                       ((MaxPool){images, side, channels, out_side, kernel, stride, pad}),                   \
                       max_pool_grad_image, parts)

/* The rows, or columns, of x that window number i sees along a side: [first, last). */
typedef struct {
    int first, last;
} Seen;

INLINE Seen seen_of(MaxPool s, int i)
{
    const int first = i * s.stride - s.pad;
    return (Seen){MAX_OF(first, 0), MIN_OF(first + s.kernel, s.side)};
}

SHARED void take_larger(float *restrict to, const float *restrict from, int count)
{
    for (int i = 0; i < count; i++)
        to[i] = from[i] > to[i] || isnan(from[i]) ? from[i] : to[i];
}

SHARED void max_pool_image(MaxPool s, const MapJob *j, int image)
{
    const float *x = j->x + (size_t)image * s.side * s.side * s.channels;
    float *y = j->y + (size_t)image * s.out_side * s.out_side * s.channels;
    for (int p = 0; p < s.out_side * s.out_side; p++, y += s.channels) {
        const Seen rows = seen_of(s, p / s.out_side), columns = seen_of(s, p % s.out_side);
        memcpy(y, x + ((size_t)rows.first * s.side + columns.first) * s.channels,
               sizeof(float) * (size_t)s.channels);
        for (int row = rows.first; row < rows.last; row++)
            for (int column = columns.first; column < columns.last; column++)
                take_larger(y, x + ((size_t)row * s.side + column) * s.channels, s.channels);
    }
}

enum { MAXIMA = 64 }; /* channels whose maxima are found together */

/* dx at the maxima of channels [first, first + count) of a window += dy. */
SHARED void add_at_maxima(MaxPool s, const float *x, Seen rows, Seen columns, int first, int count,
                          const float *dy, float *dx)
{
    float largest[MAXIMA];
    int32_t at[MAXIMA]; /* the pixel */
    for (int i = 0; i < count; i++) {
        at[i] = rows.first * s.side + columns.first;
        largest[i] = x[(size_t)at[i] * s.channels + first + i];
    }
    for (int row = rows.first; row < rows.last; row++)
        for (int column = columns.first; column < columns.last; column++) {
            const int pixel = row * s.side + column;
            const float *from = x + (size_t)pixel * s.channels + first;
            for (int i = 0; i < count; i++) {
                at[i] = from[i] > largest[i] ? pixel : at[i];
                largest[i] = from[i] > largest[i] ? from[i] : largest[i];
            }
        }
    for (int i = 0; i < count; i++)
        dx[(size_t)at[i] * s.channels + first + i] += dy[first + i];
}

SHARED void max_pool_grad_image(MaxPool s, const MaxPoolGradJob *j, int image)
{
    const size_t count = (size_t)s.side * s.side * s.channels, begin = image * count;
    const float *x = j->x + begin, *dy = j->dy + (size_t)image * s.out_side * s.out_side * s.channels;
    float *dx = j->dx + begin;
    begin_gradient(dx, j->addend ? j->addend + begin : NULL, count);
    for (int p = 0; p < s.out_side * s.out_side; p++, dy += s.channels)
        for (int first = 0; first < s.channels; first += MAXIMA)
            add_at_maxima(s, x, seen_of(s, p / s.out_side), seen_of(s, p % s.out_side), first,
                          MIN_OF(MAXIMA, s.channels - first), dy, dx);
}

/* ---- positions ---- */

typedef struct {
    int images, positions, channels; /* positions: pixels of an image */
} Positions;

/* MEAN: y (images, channels) = the mean over the positions of x (images, positions, channels).
 * GATHER: y (images, channels) = x at each image's location, an antecedent.
 * GATHER_GRAD: dx (images, positions, channels), the job's y, = addend, and at each image's location + da
 * (images, channels), the job's x. Without an addend dx is 0 elsewhere; it may be the addend. */
#define MEAN(name, images, positions, channels, parts)                                                       \
    FUNCTION_OF_IMAGES(name, MapJob, y, Positions, ((Positions){images, positions, channels}), mean_image,   \
                       parts)
#define GATHER(name, images, positions, channels, parts)                                                     \
    FUNCTION_OF_IMAGES(name, GatherJob, y, Positions, ((Positions){images, positions, channels}),            \
                       gather_image, parts)
#define GATHER_GRAD(name, images, positions, channels, parts)                                                \
    FUNCTION_OF_IMAGES(name, GatherJob, y, Positions, ((Positions){images, positions, channels}),            \
                       gather_grad_image, parts)

SHARED void mean_image(Positions p, const MapJob *j, int image)
{
    const float *x = j->x + (size_t)image * p.positions * p.channels;
    float *y = j->y + (size_t)image * p.channels;
    memset(y, 0, sizeof(float) * (size_t)p.channels);
    for (int i = 0; i < p.positions; i++)
        add_scaled(y, x + (size_t)i * p.channels, 1.0f / (float)p.positions, p.channels);
}

SHARED void gather_image(Positions p, const GatherJob *j, int image)
{
    memcpy(j->y + (size_t)image * p.channels,
           j->x + ((size_t)image * p.positions + (size_t)j->location[image]) * p.channels,
           sizeof(float) * (size_t)p.channels);
}

SHARED void gather_grad_image(Positions p, const GatherJob *j, int image)
{
    const size_t count = (size_t)p.positions * p.channels, at = image * count;
    float *dx = j->y + at;
    begin_gradient(dx, j->addend ? j->addend + at : NULL, count);
    add_scaled(dx + (size_t)j->location[image] * p.channels, j->x + (size_t)image * p.channels, 1,
               p.channels);
}

/* ---- components of a mixture ---- */

typedef struct {
    const float *x, *addend;
    float *y;
    int component; /* from 0 */
    AmdimPool *pool;
} ComponentJob;

typedef float *ComponentFunction(AmdimPool *pool, ComponentJob job);

typedef struct {
    int images, components, channels; /* of one component */
} Components;

/* COMPONENT: y (images, channels) = addend + the component's slice of x (images, components, channels).
 * COMPONENT_GRAD: dx (images, components, channels), the job's y, = addend, and in the component's slice + dy
 * (images, channels), the job's x. Without an addend dx is 0 elsewhere. y may be the addend. */
#define COMPONENT(name, images, components, channels, parts)                                                 \
    FUNCTION_OF_IMAGES(name, ComponentJob, y, Components, ((Components){images, components, channels}),      \
                       component_image, parts)
#define COMPONENT_GRAD(name, images, components, channels, parts)                                            \
    FUNCTION_OF_IMAGES(name, ComponentJob, y, Components, ((Components){images, components, channels}),      \
                       component_grad_image, parts)

SHARED void component_image(Components c, const ComponentJob *j, int image)
{
    const float *x = j->x + ((size_t)image * c.components + (size_t)j->component) * c.channels,
                *addend = j->addend + (size_t)image * c.channels;
    float *y = j->y + (size_t)image * c.channels;
    ELEMENTWISE for (int i = 0; i < c.channels; i++) y[i] = addend[i] + x[i];
}

SHARED void component_grad_image(Components c, const ComponentJob *j, int image)
{
    const size_t count = (size_t)c.components * c.channels, at = image * count;
    float *dx = j->y + at;
    begin_gradient(dx, j->addend ? j->addend + at : NULL, count);
    add_scaled(dx + (size_t)j->component * c.channels, j->x + (size_t)image * c.channels, 1, c.channels);
}

/* ---- numbers ---- */

enum { NUMBERS_PARTS = 16 };

/* RELU_GRAD: y = x where mask > 0, else 0: a gradient through a ReLU whose result is the mask.
 * ADD: y = x + addend. Both of `count` floats; y may be one of the others. */
#define RELU_GRAD(name, count)                                                                               \
    FUNCTION_OF_A_ROUND(name, MapJob, y, size_t, count, relu_grad_part(s, j, part), NUMBERS_PARTS)
#define ADD(name, count)                                                                                     \
    FUNCTION_OF_A_ROUND(name, MapJob, y, size_t, count, add_part(s, j, part), NUMBERS_PARTS)

INLINE size_t numbers_begin(size_t count, int part)
{
    return count * (size_t)part / NUMBERS_PARTS;
}

SHARED void relu_grad_part(size_t count, const MapJob *j, int part)
{
    const size_t last = numbers_begin(count, part + 1);
    ELEMENTWISE for (size_t i = numbers_begin(count, part); i < last; i++) j->y[i] =
        j->mask[i] > 0 ? j->x[i] : 0;
}

SHARED void add_part(size_t count, const MapJob *j, int part)
{
    const size_t last = numbers_begin(count, part + 1);
    ELEMENTWISE for (size_t i = numbers_begin(count, part); i < last; i++) j->y[i] = j->x[i] + j->addend[i];
}

#endif
