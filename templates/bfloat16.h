/* bfloat16.h: operations on maps of bfloat16 (precision bfloat16), which take half of a float's memory.
 *
 * An operation takes a block of images to floats, as many as a core's L2 holds, works on them as it does on
 * floats, and rounds each number of its result once, to the nearest, of two the even one. Operands of
 * products are numbers of bfloat16, the weight a rounded copy; sums are floats. What follows a product,
 * addend, ReLU and mask, comes while numbers are rounded. So every kernel serves both precisions.
 *
 * A gradient of a weight, which all images add up in, goes a block of images after the other, each taken to
 * floats by all threads.
 *
 * Batch normalisation and gradients of biases read numbers of maps as they come (batchnorm.h,
 * convolutions.h). */
#ifndef BFLOAT16_H
#define BFLOAT16_H

#include "convolutions.h"
#include "maps.h"

/* ---- numbers ---- */

/* Part `part` of the weight's numbers, rounded. */
enum { ROUNDING_PARTS = 16 };
SHARED void round_weight(const float *weight, size_t count, float *to, int part)
{
    const size_t last = count * (size_t)(part + 1) / ROUNDING_PARTS;
    ELEMENTWISE for (size_t i = count * (size_t)part / ROUNDING_PARTS; i < last; i++) to[i] =
        float_of(bfloat16_of(weight[i]));
}

/* WIDEN: y, floats, = x. NARROW: y = x, floats, rounded. `count` numbers of both. */
typedef struct {
    const Bfloat16 *x;
    float *y;
    AmdimPool *pool;
} WidenJob;

typedef struct {
    const float *x;
    Bfloat16 *y;
    AmdimPool *pool;
} NarrowJob;

typedef float *WidenFunction(AmdimPool *pool, WidenJob job);
typedef Bfloat16 *NarrowFunction(AmdimPool *pool, NarrowJob job);

#define WIDEN(name, count)                                                                                   \
    FUNCTION_OF_A_ROUND(name, WidenJob, y, size_t, count,                                                    \
                        widen(j->x + numbers_begin(s, part),                                                 \
                              numbers_begin(s, part + 1) - numbers_begin(s, part),                           \
                              j->y + numbers_begin(s, part)),                                                \
                        NUMBERS_PARTS)
#define NARROW(name, count)                                                                                  \
    FUNCTION_OF_A_ROUND(name, NarrowJob, y, size_t, count,                                                   \
                        narrow(j->x + numbers_begin(s, part),                                                \
                               numbers_begin(s, part + 1) - numbers_begin(s, part),                          \
                               j->y + numbers_begin(s, part)),                                               \
                        NUMBERS_PARTS)

/* ---- blocks ---- */

/* Floats up to whole lines. */
INLINE size_t lines_of(size_t floats)
{
    return ROUNDED_UP(floats);
}

INLINE Conv with_images(Conv c, int images)
{
    c.images = images;
    return c;
}

/* Where patches are pixels, each is an image of its own: parts need not end with an image. */
INLINE Conv in_pieces(Conv c)
{
    if (!is_pointwise(c))
        return c;
    return (Conv){
        .images = pixels_of(c), .side = 1, .in = c.in, .out_side = 1, .out = c.out, .kernel = 1, .stride = 1};
}

/* Images of part `part` of `parts`. */
INLINE Conv block_of(Conv c, int part, int parts)
{
    c.images = piece(c.images, part + 1, parts) - piece(c.images, part, parts);
    return c;
}

INLINE size_t numbers_of_x(Conv c) /* of its images */
{
    return (size_t)c.images * c.side * c.side * c.in;
}

INLINE size_t numbers_of_y(Conv c)
{
    return (size_t)c.images * c.out_side * c.out_side * c.out;
}

INLINE size_t numbers_of_weight(Conv c)
{
    return (size_t)depth_of_patch(c) * c.out;
}

/* ---- y of a convolution, and dx ----
 *
 * Of the arena (the job's `packed`): the rounded weight, then what the kernel packs it into. Of a worker's
 * scratch: the block's x and y, then the kernel's own. */

typedef Bfloat16 *Bfloat16ConvFunction(AmdimPool *pool, Bfloat16ConvJob job);
typedef Bfloat16 *Bfloat16ConvGradXFunction(AmdimPool *pool, Bfloat16ConvGradXJob job);

/* What the kernel does of a tail, and what rounding does. */
#define KERNEL_TAIL(tail) ((tail)&TAIL_ADD ? (tail)&TAIL_BIAS : (tail))
#define NARROW_TAIL(tail) ((tail)&TAIL_ADD ? (tail) & ~TAIL_BIAS : TAIL_NONE)

/* Where what a kernel packs lies, behind the rounded weight. */
INLINE float *packed_of(Conv c, float *rounded)
{
    return rounded + lines_of(numbers_of_weight(c));
}

INLINE ConvJob conv_of_floats(Conv s, const Bfloat16ConvJob *j)
{
    return (ConvJob){
        .weight = j->packed, .bias = j->bias, .packed = packed_of(s, j->packed), .pool = j->pool};
}

INLINE ConvGradXJob grad_x_of_floats(Conv s, const Bfloat16ConvGradXJob *j)
{
    return (ConvGradXJob){.weight = j->packed, .packed = packed_of(s, j->packed), .pool = j->pool};
}

/* Part `part` of `parts` of the images as floats, and what is left of the scratch. */
SHARED ConvJob conv_begin(Conv s, const Bfloat16ConvJob *j, int part, int parts, float *scratch, float **rest)
{
    const Conv c = block_of(s, part, parts);
    ConvJob f = conv_of_floats(s, j);
    f.x = scratch;
    f.y = scratch + lines_of(numbers_of_x(c));
    *rest = f.y + lines_of(numbers_of_y(c));
    s.images = piece(s.images, part, parts);
    widen(j->x + numbers_of_x(s), numbers_of_x(c), scratch);
    return f;
}

SHARED void conv_end(Conv s, const Bfloat16ConvJob *j, int tail, int part, int parts, const float *y)
{
    const Conv c = block_of(s, part, parts);
    s.images = piece(s.images, part, parts);
    const size_t at = numbers_of_y(s);
    narrow_tail(NARROW_TAIL(tail), y, tail & TAIL_ADD ? j->addend + at : NULL, NULL, numbers_of_y(c),
                j->y + at);
}

SHARED ConvGradXJob grad_x_begin(Conv s, const Bfloat16ConvGradXJob *j, int part, int parts, float *scratch,
                                 float **rest)
{
    const Conv c = block_of(s, part, parts);
    ConvGradXJob f = grad_x_of_floats(s, j);
    f.dy = scratch;
    f.dx = scratch + lines_of(numbers_of_y(c));
    *rest = f.dx + lines_of(numbers_of_x(c));
    s.images = piece(s.images, part, parts);
    widen(j->dy + numbers_of_y(s), numbers_of_y(c), scratch);
    return f;
}

SHARED void grad_x_end(Conv s, const Bfloat16ConvGradXJob *j, int tail, int part, int parts, const float *dx)
{
    const Conv c = block_of(s, part, parts);
    s.images = piece(s.images, part, parts);
    const size_t at = numbers_of_x(s);
    narrow_tail(tail, dx, tail & TAIL_ADD ? j->addend + at : NULL, tail & TAIL_MASK ? j->mask + at : NULL,
                numbers_of_x(c), j->dx + at);
}

/* Rounds of the weight's rounding, of its packing if there is any, and of blocks. `pack` packs part `part` of
 * the weight of the job `f` of floats, of the shape `s`; `run` makes the block `c` of the job `f`, with
 * scratch from `rest` on. */
#define BFLOAT16_FUNCTION(name, Job, result, shape, of_floats, pack, packs, begin, run, end, parts)          \
    ROUND(name##_rounded, Job, Conv, shape, round_weight(j->weight, numbers_of_weight(s), j->packed, part))  \
    ROUND(name##_packed, Job, Conv, shape, const __typeof__(of_floats(s, j)) packing = of_floats(s, j);      \
          const __typeof__(packing) *const f = &packing; (void)f; pack)                                      \
    ROUND(name##_block, Job, Conv, in_pieces(shape), const Conv c = block_of(s, part, parts); float *rest;   \
          const __typeof__(of_floats(s, j)) block = begin; const __typeof__(block) *const f = &block; run;   \
          end)                                                                                               \
    BFLOAT16_ROUNDS(name, Job, result, shape, packs, parts)

#define BFLOAT16_ROUNDS(name, Job, result, shape, packs, parts)                                              \
    FUNCTION __typeof__(((Job *)0)->result) name(AmdimPool *pool, Job job)                                   \
    {                                                                                                        \
        const Conv s = shape;                                                                                \
        (void)s;                                                                                             \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_rounded, &job, ROUNDING_PARTS);                                          \
        if ((packs) > 0)                                                                                     \
            amdim_parallel(pool, name##_packed, &job, packs);                                                \
        amdim_parallel(pool, name##_block, &job, parts);                                                     \
        return job.result;                                                                                   \
    }

#define BFLOAT16_CONV(name, shape, tail, parts, pack, packs, run)                                            \
    BFLOAT16_FUNCTION(name, Bfloat16ConvJob, y, shape, conv_of_floats, pack, packs,                          \
                      conv_begin(s, j, part, parts, amdim_scratch(j->pool, worker), &rest), run,             \
                      conv_end(s, j, tail, part, parts, f->y), parts)

#define BFLOAT16_CONV_DIRECT(name, shape, tail, parts)                                                       \
    BFLOAT16_CONV(name, shape, tail, parts,                                                                  \
                  pack_panel(f->weight, depth_of_patch(s), s.out, 1, part, f->packed), PANELS(s.out),        \
                  conv_pixels(c, f, rest, KERNEL_TAIL(tail), 0, pixels_of(c)))
#define BFLOAT16_CONV_OPENBLAS(name, shape, tail, parts)                                                     \
    BFLOAT16_CONV(name, shape, tail, parts, (void)0, 0,                                                      \
                  conv_blas(c, f, rest, KERNEL_TAIL(tail), 0, pixels_of(c)))

#define BFLOAT16_CONV_GRAD_X(name, shape, tail, parts, pack, packs, run)                                     \
    BFLOAT16_FUNCTION(name, Bfloat16ConvGradXJob, dx, shape, grad_x_of_floats, pack, packs,                  \
                      grad_x_begin(s, j, part, parts, amdim_scratch(j->pool, worker), &rest), run,           \
                      grad_x_end(s, j, tail, part, parts, f->dx), parts)

#define BFLOAT16_CONV_GRAD_X_DIRECT(name, shape, tail, parts)                                                \
    BFLOAT16_CONV_GRAD_X(name, shape, tail, parts, pack_tap(s, f, part), TAP_PANELS(s),                      \
                         conv_grad_x_part(c, f, rest, TAIL_NONE, 0, 1))
#define BFLOAT16_CONV_GRAD_X_OPENBLAS(name, shape, tail, parts)                                              \
    BFLOAT16_CONV_GRAD_X(name, shape, tail, parts, (void)0, 0,                                               \
                         conv_grad_x_blas(c, f, rest, TAIL_NONE, 0, c.images))

/* ---- by zeros and by a mask: the left factor as floats, the result as it goes ---- */

#define BFLOAT16_OF_LEFT(name, Job, result, shape, pack, packs, run, parts)                                  \
    ROUND(name##_rounded, Job, Conv, shape, round_weight(j->weight, numbers_of_weight(s), j->packed, part))  \
    ROUND(name##_packed, Job, Conv, shape, Job rounded = *j; rounded.weight = j->packed;                     \
          rounded.packed = packed_of(s, j->packed); const Job *const f = &rounded; pack)                     \
    ROUND(name##_block, Job, Conv, in_pieces(shape), run)                                                    \
    BFLOAT16_ROUNDS(name, Job, result, shape, packs, parts)

#define BFLOAT16_CONV_SPARSE(name, shape, tail, parts)                                                       \
    BFLOAT16_OF_LEFT(name, Bfloat16ConvJob, y, shape,                                                        \
                     pack_panel(f->weight, s.in, s.out, 1, part, f->packed), PANELS(s.out),                  \
                     bfloat16_sparse_conv(s, j, tail, part, parts, amdim_scratch(j->pool, worker)), parts)
#define BFLOAT16_CONV_GRAD_X_SPARSE(name, shape, tail, parts)                                                \
    BFLOAT16_OF_LEFT(name, Bfloat16ConvGradXJob, dx, shape, pack_tap(s, f, part), TAP_PANELS(s),             \
                     bfloat16_sparse_grad_x(s, j, tail, part, parts, amdim_scratch(j->pool, worker)), parts)
#define BFLOAT16_CONV_GRAD_X_MASKED(name, shape, parts)                                                      \
    BFLOAT16_OF_LEFT(name, Bfloat16ConvGradXJob, dx, shape, masked_pack(s, f->weight, part, f->packed),      \
                     masked_packs(s), bfloat16_masked(s, j, part, parts, amdim_scratch(j->pool, worker)),    \
                     parts)

#ifdef SPARSE_H
SHARED void bfloat16_sparse_conv(Conv s, const Bfloat16ConvJob *j, int tail, int part, int parts,
                                 float *scratch)
{
    const Conv c = block_of(s, part, parts), before = with_images(s, piece(s.images, part, parts));
    Bfloat16ConvJob f = *j;
    f.packed = packed_of(s, j->packed);
    f.y += numbers_of_y(before);
    f.addend = j->addend ? j->addend + numbers_of_y(before) : NULL;
    widen(j->x + numbers_of_x(before), numbers_of_x(c), scratch);
    sparse_conv(c, &f, scratch, scratch + lines_of(numbers_of_x(c)), tail, 0, pixels_of(c));
}

/* A part's job, dy of which is widened. */
SHARED Bfloat16ConvGradXJob grad_x_of_part(Conv s, const Bfloat16ConvGradXJob *j, int part, int parts,
                                           float *dy)
{
    const Conv c = block_of(s, part, parts), before = with_images(s, piece(s.images, part, parts));
    const size_t at = numbers_of_x(before);
    Bfloat16ConvGradXJob f = *j;
    f.packed = packed_of(s, j->packed);
    f.dx += at;
    f.addend = j->addend ? j->addend + at : NULL;
    f.mask = j->mask ? j->mask + at : NULL;
    widen(j->dy + numbers_of_y(before), numbers_of_y(c), dy);
    return f;
}

SHARED void bfloat16_sparse_grad_x(Conv s, const Bfloat16ConvGradXJob *j, int tail, int part, int parts,
                                   float *scratch)
{
    const Conv c = block_of(s, part, parts);
    const Bfloat16ConvGradXJob f = grad_x_of_part(s, j, part, parts, scratch);
    sparse_grad_x(c, &f, scratch, scratch + lines_of(numbers_of_y(c)), tail, 0, pixels_of(c));
}
#endif

#ifdef MASKED_H
SHARED void bfloat16_masked(Conv s, const Bfloat16ConvGradXJob *j, int part, int parts, float *scratch)
{
    const Conv c = block_of(s, part, parts);
    const Bfloat16ConvGradXJob f = grad_x_of_part(s, j, part, parts, scratch);
    masked_product(c, &f, scratch, scratch + lines_of(numbers_of_y(c)), 0, pixels_of(c));
}
#endif

/* ---- by Winograd, whose transforms read and write maps as they come ----
 *
 * Only dx, which patches add up in, is in floats first, of a part's images: the first of a worker's scratch.
 */

#define BFLOAT16_CONV_WINOGRAD(name, shape, by, tail, parts)                                                 \
    ROUND(name##_rounded, Bfloat16ConvJob, Conv, shape,                                                      \
          round_weight(j->weight, numbers_of_weight(s), j->packed, part))                                    \
    ROUND(name##_packed, Bfloat16ConvJob, Winograd, ((Winograd){shape, by}),                                 \
          winograd_pack(s, j->packed, part, packed_of(s.c, j->packed)))                                      \
    ROUND(name##_block, Bfloat16ConvJob, Winograd, ((Winograd){shape, by}), Bfloat16ConvJob f = *j;          \
          f.packed = packed_of(s.c, j->packed);                                                              \
          winograd_conv(s, &f, amdim_scratch(j->pool, worker), tail,                                         \
                        tile_piece(s.c.images * tiles_of(s), part, parts),                                   \
                        tile_piece(s.c.images * tiles_of(s), part + 1, parts)))                              \
    BFLOAT16_ROUNDS(name, Bfloat16ConvJob, y, shape, PANELS(s.out), parts)

#define BFLOAT16_CONV_GRAD_X_WINOGRAD(name, shape, by, tail, parts)                                          \
    ROUND(name##_rounded, Bfloat16ConvGradXJob, Conv, shape,                                                 \
          round_weight(j->weight, numbers_of_weight(s), j->packed, part))                                    \
    ROUND(name##_packed, Bfloat16ConvGradXJob, Winograd, ((Winograd){shape, by}),                            \
          winograd_pack_transposed(s, j->packed, part, packed_of(s.c, j->packed)))                           \
    ROUND(name##_block, Bfloat16ConvGradXJob, Winograd, ((Winograd){shape, by}),                             \
          bfloat16_winograd_grad_x(&s, j, tail, part, parts, amdim_scratch(j->pool, worker)))                \
    BFLOAT16_ROUNDS(name, Bfloat16ConvGradXJob, dx, shape, PANELS(depth_of(((Winograd){s, by}))), parts)

#ifdef WINOGRAD_H
SHARED void bfloat16_winograd_grad_x(const Winograd *w, const Bfloat16ConvGradXJob *j, int tail, int part,
                                     int parts, float *scratch)
{
    const Conv c = block_of(w->c, part, parts), before = with_images(w->c, piece(w->c.images, part, parts));
    const ConvGradXJob f = {.dx = scratch, .packed = packed_of(c, j->packed)};
    winograd_grad_x((Winograd){c, w->outputs, w->by}, &f, j->dy + numbers_of_y(before),
                    scratch + lines_of(numbers_of_x(c)), TAIL_NONE, 0, c.images);
    grad_x_end(w->c, j, tail, part, parts, f.dx);
}
#endif

#define BFLOAT16_CONV_GRAD_W_WINOGRAD(name, shape, by, parts)                                                \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Winograd, ((Winograd){shape, by}),                    \
                       winograd_grad_w(s, j, amdim_scratch(j->pool, worker), part, parts), parts,            \
                       winograd_grad_w_end(s, j, part, parts), parts)

/* ---- dw ----
 *
 * Kernels that copy what they read take it to floats as they do. */

typedef float *Bfloat16ConvGradWFunction(AmdimPool *pool, Bfloat16ConvGradWJob job);

INLINE ConvGradWJob grad_w_of(const Bfloat16ConvGradWJob *j)
{
    return (ConvGradWJob){.x = (const void *)j->x,
                          .dy = (const void *)j->dy,
                          .dw = j->dw,
                          .partial = j->partial,
                          .more = j->more,
                          .narrow_x = true,
                          .narrow_dy = true};
}

#define BFLOAT16_CONV_GRAD_W_DIRECT(name, shape)                                                             \
    FUNCTION_OF_A_ROUND(name, Bfloat16ConvGradWJob, dw, Conv, shape, const ConvGradWJob f = grad_w_of(j);    \
                        conv_grad_w_part(s, &f, amdim_scratch(j->pool, worker), part), GRAD_W_PARTS(shape))
#define BFLOAT16_CONV_GRAD_W_SLICED(name, shape, slices)                                                     \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Conv, shape, const ConvGradWJob f = grad_w_of(j);     \
                       conv_grad_w_slice(s, &f, amdim_scratch(j->pool, worker), part, slices), slices,       \
                       sum_slices(j->partial, slices, (size_t)depth_of_patch(s) * s.out, 1,                  \
                                  j->more ? j->dw : NULL, j->dw, part, slices),                              \
                       slices)
#define BFLOAT16_CONV_GRAD_W_SPARSE(name, shape, factor, slices, parts)                                      \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Conv, shape,                                          \
                       sparse_grad_w(s, j, amdim_scratch(j->pool, worker), factor, slices, part),            \
                       sparse_grad_w_parts(s, factor, slices),                                               \
                       sparse_grad_w_end(s, j, factor, slices, part, parts), parts)

/* Other kernels take a block of images after the other: `of_floats` is a line of CONV_GRAD_W_OPENBLAS and the
 * like, with the name of this function and "_of_floats" and the shape of a block. Of the arena (the job's
 * `partial`): the block's x and dy, then the kernel's own. */
enum { WIDENING_PARTS = 16 };

SHARED void widen_part(const Bfloat16 *from, size_t count, float *to, int part)
{
    const size_t first = count * (size_t)part / WIDENING_PARTS,
                 last = count * (size_t)(part + 1) / WIDENING_PARTS;
    widen(from + first, last - first, to + first);
}

#define BFLOAT16_CONV_GRAD_W(name, shape, block, of_floats)                                                  \
    of_floats ROUND(name##_widened, Bfloat16ConvGradWJob, Conv, with_images(shape, block),                   \
                    widen_factors(s, j, part)) FUNCTION float *                                              \
    name(AmdimPool *pool, Bfloat16ConvGradWJob job)                                                          \
    {                                                                                                        \
        const Conv s = shape, c = with_images(s, block), image = with_images(s, 1);                          \
        ConvGradWJob f = {.x = job.partial, .dw = job.dw, .more = job.more};                                 \
        f.dy = f.x + lines_of(numbers_of_x(c));                                                              \
        f.partial = job.partial + lines_of(numbers_of_x(c)) + lines_of(numbers_of_y(c));                     \
        for (int i = 0; i < s.images; i += block, f.more = true) {                                           \
            amdim_parallel(pool, name##_widened, &job, WIDENING_PARTS);                                      \
            name##_of_floats(pool, f);                                                                       \
            job.x += block * numbers_of_x(image);                                                            \
            job.dy += block * numbers_of_y(image);                                                           \
        }                                                                                                    \
        return job.dw;                                                                                       \
    }

SHARED void widen_factors(Conv block, const Bfloat16ConvGradWJob *j, int part)
{
    widen_part(j->x, numbers_of_x(block), j->partial, part);
    widen_part(j->dy, numbers_of_y(block), j->partial + lines_of(numbers_of_x(block)), part);
}

/* ---- operations that treat every image alone ----
 *
 * Of a worker's scratch: x and y of an image, of a maximum's gradient also what the maximum was of. */

typedef struct {
    const Bfloat16 *x, *addend, *mask;
    Bfloat16 *y;
    AmdimPool *pool;
} Bfloat16MapJob;

typedef struct {
    const Bfloat16 *dy, *x, *addend;
    Bfloat16 *dx;
    AmdimPool *pool;
} Bfloat16MaxPoolGradJob;

typedef Bfloat16 *Bfloat16MapFunction(AmdimPool *pool, Bfloat16MapJob job);
typedef Bfloat16 *Bfloat16MaxPoolGradFunction(AmdimPool *pool, Bfloat16MaxPoolGradJob job);

#define BFLOAT16_PAD(name, images, side, channels, pad, border, parts)                                       \
    BFLOAT16_IMAGES(name, Padding, ((Padding){images, side, channels, pad, border}), pad_image,              \
                    inner_numbers(s), padded_numbers(s), parts)
#define BFLOAT16_PAD_GRAD(name, images, side, channels, pad, border, parts)                                  \
    BFLOAT16_IMAGES(name, Padding, ((Padding){images, side, channels, pad, border}), pad_grad_image,         \
                    padded_numbers(s), inner_numbers(s), parts)
#define BFLOAT16_POOL(name, shape, parts)                                                                    \
    BFLOAT16_IMAGES(name, Conv, shape, pool_image, numbers_of_x(with_images(s, 1)),                          \
                    numbers_of_y(with_images(s, 1)), parts)
#define BFLOAT16_POOL_GRAD(name, shape, parts)                                                               \
    BFLOAT16_IMAGES(name, Conv, shape, pool_grad_image, numbers_of_y(with_images(s, 1)),                     \
                    numbers_of_x(with_images(s, 1)), parts)
#define BFLOAT16_MAX_POOL(name, images, side, channels, out_side, kernel, stride, pad, parts)                \
    BFLOAT16_IMAGES(name, MaxPool, ((MaxPool){images, side, channels, out_side, kernel, stride, pad}),       \
                    max_pool_image, pooled_numbers(s), maxima_numbers(s), parts)
#define BFLOAT16_MAX_POOL_GRAD(name, images, side, channels, out_side, kernel, stride, pad, parts)           \
    FUNCTION_OF_A_ROUND(name, Bfloat16MaxPoolGradJob, dx, MaxPool,                                           \
                        ((MaxPool){images, side, channels, out_side, kernel, stride, pad}),                  \
                        bfloat16_max_pool_grad(s, j, amdim_scratch(j->pool, worker), part, parts), parts)
#define BFLOAT16_MEAN(name, images, positions, channels, parts)                                              \
    BFLOAT16_IMAGES(name, Positions, ((Positions){images, positions, channels}), mean_image,                 \
                    numbers_of_positions(s), numbers_of_mean(s), parts)

#define BFLOAT16_IMAGES(name, Shape, shape, one, x_numbers, y_numbers, parts)                                \
    FUNCTION_OF_A_ROUND(                                                                                     \
        name, Bfloat16MapJob, y, Shape, shape,                                                               \
        for (int image = piece(s.images, part, parts); image < piece(s.images, part + 1, parts); image++) {  \
            const MapJob f = image_begin(j, image, x_numbers, y_numbers, amdim_scratch(j->pool, worker));    \
            one(s, &f, 0);                                                                                   \
            image_end(j, image, y_numbers, f.y);                                                             \
        },                                                                                                   \
        parts)

INLINE size_t inner_numbers(Padding p)
{
    return (size_t)p.side * p.side * p.channels;
}

INLINE size_t padded_numbers(Padding p)
{
    return (size_t)(p.side + 2 * p.pad) * (p.side + 2 * p.pad) * p.channels;
}

INLINE size_t numbers_of_positions(Positions p)
{
    return (size_t)p.positions * p.channels;
}

INLINE size_t numbers_of_mean(Positions p)
{
    return (size_t)p.channels;
}

INLINE size_t pooled_numbers(MaxPool s)
{
    return (size_t)s.side * s.side * s.channels;
}

INLINE size_t maxima_numbers(MaxPool s)
{
    return (size_t)s.out_side * s.out_side * s.channels;
}

/* Image `image` as floats; what it adds up in is y. */
SHARED MapJob image_begin(const Bfloat16MapJob *j, int image, size_t x_numbers, size_t y_numbers,
                          float *scratch)
{
    float *const y = scratch + lines_of(x_numbers);
    widen(j->x + (size_t)image * x_numbers, x_numbers, scratch);
    if (j->addend)
        widen(j->addend + (size_t)image * y_numbers, y_numbers, y);
    return (MapJob){.x = scratch, .addend = j->addend ? y : NULL, .y = y};
}

SHARED void image_end(const Bfloat16MapJob *j, int image, size_t y_numbers, const float *y)
{
    const size_t at = (size_t)image * y_numbers;
    narrow_tail(j->mask ? TAIL_MASK : TAIL_NONE, y, NULL, j->mask ? j->mask + at : NULL, y_numbers,
                j->y + at);
}

SHARED void bfloat16_max_pool_grad(MaxPool s, const Bfloat16MaxPoolGradJob *j, float *scratch, int part,
                                   int parts)
{
    const size_t count = pooled_numbers(s), maxima = maxima_numbers(s);
    float *const x = scratch + lines_of(maxima), *const dx = x + lines_of(count);
    for (int image = piece(s.images, part, parts); image < piece(s.images, part + 1, parts); image++) {
        const size_t at = (size_t)image * count;
        widen(j->dy + (size_t)image * maxima, maxima, scratch);
        widen(j->x + at, count, x);
        if (j->addend)
            widen(j->addend + at, count, dx);
        const MaxPoolGradJob f = {.dy = scratch, .x = x, .addend = j->addend ? dx : NULL, .dx = dx};
        max_pool_grad_image(s, &f, 0);
        narrow(dx, count, j->dx + at);
    }
}

/* GATHER of a map of bfloat16, and GATHER_GRAD: antecedents are floats. */
typedef struct {
    const Bfloat16 *x;
    const int32_t *location;
    float *y;
    AmdimPool *pool;
} Bfloat16GatherJob;

typedef struct {
    const float *x;
    const Bfloat16 *addend;
    const int32_t *location;
    Bfloat16 *y;
    AmdimPool *pool;
} Bfloat16GatherGradJob;

typedef float *Bfloat16GatherFunction(AmdimPool *pool, Bfloat16GatherJob job);
typedef Bfloat16 *Bfloat16GatherGradFunction(AmdimPool *pool, Bfloat16GatherGradJob job);

#define BFLOAT16_GATHER(name, images, positions, channels, parts)                                            \
    FUNCTION_OF_IMAGES(name, Bfloat16GatherJob, y, Positions, ((Positions){images, positions, channels}),    \
                       bfloat16_gather_image, parts)
#define BFLOAT16_GATHER_GRAD(name, images, positions, channels, parts)                                       \
    FUNCTION_OF_IMAGES(name, Bfloat16GatherGradJob, y, Positions,                                            \
                       ((Positions){images, positions, channels}), bfloat16_gather_grad_image, parts)

SHARED void bfloat16_gather_image(Positions p, const Bfloat16GatherJob *j, int image)
{
    widen(j->x + ((size_t)image * p.positions + (size_t)j->location[image]) * p.channels, (size_t)p.channels,
          j->y + (size_t)image * p.channels);
}

SHARED void bfloat16_gather_grad_image(Positions p, const Bfloat16GatherGradJob *j, int image)
{
    const size_t count = numbers_of_positions(p), at = (size_t)image * count;
    Bfloat16 *const there = j->y + at + (size_t)j->location[image] * p.channels;
    const float *da = j->x + (size_t)image * p.channels;
    if (!j->addend)
        memset(j->y + at, 0, count * sizeof *j->y);
    else if (j->y != j->addend)
        memcpy(j->y + at, j->addend + at, count * sizeof *j->y);
    ELEMENTWISE for (int i = 0; i < p.channels; i++) there[i] = bfloat16_of(float_of(there[i]) + da[i]);
}

/* ---- every number ---- */

#define BFLOAT16_RELU_GRAD(name, count)                                                                      \
    FUNCTION_OF_A_ROUND(name, Bfloat16MapJob, y, size_t, count, bfloat16_relu_grad(s, j, part), NUMBERS_PARTS)
#define BFLOAT16_ADD(name, count)                                                                            \
    FUNCTION_OF_A_ROUND(name, Bfloat16MapJob, y, size_t, count, bfloat16_add(s, j, part), NUMBERS_PARTS)

SHARED void bfloat16_relu_grad(size_t count, const Bfloat16MapJob *j, int part)
{
    const size_t last = numbers_begin(count, part + 1);
    ELEMENTWISE for (size_t i = numbers_begin(count, part); i < last; i++) j->y[i].bits =
        float_of(j->mask[i]) > 0 ? j->x[i].bits : 0;
}

SHARED void bfloat16_add(size_t count, const Bfloat16MapJob *j, int part)
{
    const size_t last = numbers_begin(count, part + 1);
    ELEMENTWISE for (size_t i = numbers_begin(count, part); i < last; i++) j->y[i] =
        bfloat16_of(float_of(j->x[i]) + float_of(j->addend[i]));
}

#endif
