/* bfloat16.h: operations on maps of bfloat16 (precision bfloat16), which take half of a float's memory.
 *
 * A result is rounded once, to the nearest number, of two the even one. Operands of products are numbers of
 * bfloat16, the weight a rounded copy; sums are floats. Every kernel serves both precisions, as it reads and
 * writes maps:
 *
 *   - matrix tiles and dot products of pairs (dots.h) multiply numbers as they come;
 *   - Winograd's transforms, batch normalisation, gradients of biases and what copies a factor of a weight's
 *     gradient take numbers as they come, to floats and back in registers;
 *   - sparse and masked products get their left factor as floats, a piece that stays in a core's L2, and
 * write maps themselves;
 *   - all others work on floats in a worker's scratch, such a piece of x and of y; addend, ReLU and mask come
 *     while y is rounded. A weight's gradient by OpenBLAS has blocks of images as floats in the arena, one
 * after the other. */
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

/* ---- pieces ---- */

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

/* A part's images, and where their x and y begin. */
typedef struct {
    Conv c;
    size_t x, y;
} Piece;

INLINE Piece piece_of(Conv s, int part, int parts)
{
    const int first = piece(s.images, part, parts), last = piece(s.images, part + 1, parts);
    const Conv before = with_images(s, first);
    return (Piece){with_images(s, last - first), numbers_of_x(before), numbers_of_y(before)};
}

/* Where patches are pixels, each is an image of its own: parts need not end with an image. */
INLINE Conv as_pixels(Conv c)
{
    if (!is_pointwise(c))
        return c;
    return (Conv){
        .images = pixels_of(c), .side = 1, .in = c.in, .out_side = 1, .out = c.out, .kernel = 1, .stride = 1};
}

/* ---- y of a convolution, and dx ---- */

typedef Bfloat16 *Bfloat16ConvFunction(AmdimPool *pool, Bfloat16ConvJob job);
typedef Bfloat16 *Bfloat16ConvGradXFunction(AmdimPool *pool, Bfloat16ConvGradXJob job);

/* Of the arena (the job's `packed`): the rounded weight, and what a kernel packs it into. */
typedef struct {
    const float *weight;
    float *packed;
} RoundedWeight;

INLINE RoundedWeight rounded_weight(Conv c, float *arena)
{
    return (RoundedWeight){arena, arena + lines_of(numbers_of_weight(c))};
}

/* A function of three rounds: the weight's rounding; its packing, if there is any, where `pack` packs part
 * `part` of `w`, a RoundedWeight; and `run`, which makes a part. */
#define BFLOAT16_FUNCTION(name, Job, result, shape, pack, packs, run, parts)                                 \
    ROUND(name##_rounded, Job, Conv, shape, round_weight(j->weight, numbers_of_weight(s), j->packed, part))  \
    ROUND(name##_packed, Job, Conv, shape, const RoundedWeight rounded = rounded_weight(s, j->packed);       \
          const RoundedWeight *const w = &rounded; (void)w; pack)                                            \
    ROUND(name##_run, Job, Conv, shape, run)                                                                 \
    FUNCTION __typeof__(((Job *)0)->result) name(AmdimPool *pool, Job job)                                   \
    {                                                                                                        \
        const Conv s = shape;                                                                                \
        (void)s;                                                                                             \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_rounded, &job, ROUNDING_PARTS);                                          \
        if ((packs) > 0)                                                                                     \
            amdim_parallel(pool, name##_packed, &job, packs);                                                \
        amdim_parallel(pool, name##_run, &job, parts);                                                       \
        return job.result;                                                                                   \
    }

#define BFLOAT16_CONV_DIRECT(name, shape, tail, parts)                                                       \
    BFLOAT16_FUNCTION(name, Bfloat16ConvJob, y, shape,                                                       \
                      pack_panel(w->weight, depth_of_patch(s), s.out, 1, part, w->packed), PANELS(s.out),    \
                      bfloat16_conv(s, j, tail, part, parts, amdim_scratch(j->pool, worker), conv_pixels),   \
                      parts)
#define BFLOAT16_CONV_OPENBLAS(name, shape, tail, parts)                                                     \
    BFLOAT16_FUNCTION(name, Bfloat16ConvJob, y, shape, (void)0, 0,                                           \
                      bfloat16_conv(s, j, tail, part, parts, amdim_scratch(j->pool, worker), conv_blas),     \
                      parts)
#define BFLOAT16_CONV_SPARSE(name, shape, tail, parts)                                                       \
    BFLOAT16_FUNCTION(name, Bfloat16ConvJob, y, shape, sparse_pack(s, w->weight, part, w->packed),           \
                      PANELS(s.out),                                                                         \
                      bfloat16_sparse_conv(s, j, tail, part, parts, amdim_scratch(j->pool, worker)), parts)
#define BFLOAT16_CONV_WINOGRAD(name, shape, by, tail, parts)                                                 \
    BFLOAT16_FUNCTION(                                                                                       \
        name, Bfloat16ConvJob, y, shape, winograd_pack(((Winograd){s, by}), w->weight, part, w->packed),     \
        PANELS(s.out),                                                                                       \
        bfloat16_winograd((Winograd){s, by}, j, tail, part, parts, amdim_scratch(j->pool, worker)), parts)

#define BFLOAT16_CONV_GRAD_X_DIRECT(name, shape, tail, parts)                                                \
    BFLOAT16_FUNCTION(                                                                                       \
        name, Bfloat16ConvGradXJob, dx, shape, pack_tap(s, w, part), TAP_PANELS(s),                          \
        bfloat16_grad_x(s, j, tail, part, parts, amdim_scratch(j->pool, worker), grad_x_of_images), parts)
#define BFLOAT16_CONV_GRAD_X_OPENBLAS(name, shape, tail, parts)                                              \
    BFLOAT16_FUNCTION(                                                                                       \
        name, Bfloat16ConvGradXJob, dx, shape, (void)0, 0,                                                   \
        bfloat16_grad_x(s, j, tail, part, parts, amdim_scratch(j->pool, worker), conv_grad_x_blas), parts)
#define BFLOAT16_CONV_GRAD_X_SPARSE(name, shape, tail, parts)                                                \
    BFLOAT16_FUNCTION(name, Bfloat16ConvGradXJob, dx, shape,                                                 \
                      sparse_pack_transposed(s, w->weight, part, w->packed), TAP_PANELS(s),                  \
                      bfloat16_sparse_grad_x(s, j, tail, part, parts, amdim_scratch(j->pool, worker)),       \
                      parts)
#define BFLOAT16_CONV_GRAD_X_MASKED(name, shape, parts)                                                      \
    BFLOAT16_FUNCTION(name, Bfloat16ConvGradXJob, dx, shape, masked_pack(s, w->weight, part, w->packed),     \
                      masked_packs(s), bfloat16_masked(s, j, part, parts, amdim_scratch(j->pool, worker)),   \
                      parts)
#define BFLOAT16_CONV_GRAD_X_WINOGRAD(name, shape, by, tail, parts)                                          \
    BFLOAT16_FUNCTION(                                                                                       \
        name, Bfloat16ConvGradXJob, dx, shape,                                                               \
        winograd_pack_transposed(((Winograd){s, by}), w->weight, part, w->packed),                           \
        PANELS(depth_of(((Winograd){s, by}))),                                                               \
        bfloat16_winograd_grad_x((Winograd){s, by}, j, tail, part, parts, amdim_scratch(j->pool, worker)),   \
        parts)

/* ---- by kernels of floats: x and y of a piece in the scratch, behind them the kernel's own ---- */

typedef void ConvKernel(Conv c, const ConvJob *j, float *scratch, int tail, int first, int last);
typedef void ConvGradXKernel(Conv c, const ConvGradXJob *j, float *scratch, int tail, int first, int last);

/* An addend comes when y is rounded, and a ReLU behind it. */
INLINE void bfloat16_conv(Conv s, const Bfloat16ConvJob *j, int tail, int part, int parts, float *scratch,
                          ConvKernel *kernel)
{
    const Piece p = piece_of(as_pixels(s), part, parts);
    const RoundedWeight w = rounded_weight(s, j->packed);
    const int now = tail & TAIL_ADD ? tail & TAIL_BIAS : tail;
    float *const y = scratch + lines_of(numbers_of_x(p.c));
    const ConvJob f = {
        .x = scratch, .y = y, .weight = w.weight, .bias = j->bias, .packed = w.packed, .pool = j->pool};
    widen(j->x + p.x, numbers_of_x(p.c), scratch);
    kernel(p.c, &f, y + lines_of(numbers_of_y(p.c)), now, 0, pixels_of(p.c));
    narrow_tail(tail & ~now, y, tail & TAIL_ADD ? j->addend + p.y : NULL, NULL, numbers_of_y(p.c),
                j->y + p.y);
}

/* dx, which patches add up in, rounded into its place. */
SHARED void narrow_dx(Piece p, const Bfloat16ConvGradXJob *j, int tail, const float *dx)
{
    narrow_tail(tail, dx, tail & TAIL_ADD ? j->addend + p.x : NULL, tail & TAIL_MASK ? j->mask + p.x : NULL,
                numbers_of_x(p.c), j->dx + p.x);
}

INLINE void bfloat16_grad_x(Conv s, const Bfloat16ConvGradXJob *j, int tail, int part, int parts,
                            float *scratch, ConvGradXKernel *kernel)
{
    const Piece p = piece_of(as_pixels(s), part, parts);
    const RoundedWeight w = rounded_weight(s, j->packed);
    float *const dx = scratch + lines_of(numbers_of_y(p.c));
    const ConvGradXJob f = {.dy = scratch, .dx = dx, .weight = w.weight, .packed = w.packed, .pool = j->pool};
    widen(j->dy + p.y, numbers_of_y(p.c), scratch);
    kernel(p.c, &f, dx + lines_of(numbers_of_x(p.c)), TAIL_NONE, 0, p.c.images);
    narrow_dx(p, j, tail, dx);
}

/* All images of a piece. */
INLINE void grad_x_of_images(Conv c, const ConvGradXJob *j, float *scratch, int tail, int first, int last)
{
    (void)first, (void)last;
    conv_grad_x_part(c, j, scratch, tail, 0, 1);
}

/* ---- by zeros and by a mask: the left factor of a piece in the scratch ---- */

#ifdef SPARSE_H
SHARED void bfloat16_sparse_conv(Conv s, const Bfloat16ConvJob *j, int tail, int part, int parts,
                                 float *scratch)
{
    const Piece p = piece_of(as_pixels(s), part, parts);
    Bfloat16ConvJob f = *j;
    f.packed = rounded_weight(s, j->packed).packed;
    f.y += p.y;
    f.addend = j->addend ? j->addend + p.y : NULL;
    widen(j->x + p.x, numbers_of_x(p.c), scratch);
    sparse_conv(p.c, &f, scratch, scratch + lines_of(numbers_of_x(p.c)), tail, 0, pixels_of(p.c));
}

/* A piece's job, dy of which is widened. */
SHARED Bfloat16ConvGradXJob grad_x_of_piece(Conv s, Piece p, const Bfloat16ConvGradXJob *j, float *dy)
{
    Bfloat16ConvGradXJob f = *j;
    f.packed = rounded_weight(s, j->packed).packed;
    f.dx += p.x;
    f.addend = j->addend ? j->addend + p.x : NULL;
    f.mask = j->mask ? j->mask + p.x : NULL;
    widen(j->dy + p.y, numbers_of_y(p.c), dy);
    return f;
}

SHARED void bfloat16_sparse_grad_x(Conv s, const Bfloat16ConvGradXJob *j, int tail, int part, int parts,
                                   float *scratch)
{
    const Piece p = piece_of(as_pixels(s), part, parts);
    const Bfloat16ConvGradXJob f = grad_x_of_piece(s, p, j, scratch);
    sparse_grad_x(p.c, &f, scratch, scratch + lines_of(numbers_of_y(p.c)), tail, 0, pixels_of(p.c));
}
#endif

#ifdef MASKED_H
SHARED void bfloat16_masked(Conv s, const Bfloat16ConvGradXJob *j, int part, int parts, float *scratch)
{
    const Piece p = piece_of(as_pixels(s), part, parts);
    const Bfloat16ConvGradXJob f = grad_x_of_piece(s, p, j, scratch);
    masked_product(p.c, &f, scratch, scratch + lines_of(numbers_of_y(p.c)), 0, pixels_of(p.c));
}
#endif

/* ---- by Winograd: of the scratch only a piece's dx, in front of the kernel's own ---- */

#ifdef WINOGRAD_H
INLINE void bfloat16_winograd(Winograd w, const Bfloat16ConvJob *j, int tail, int part, int parts,
                              float *scratch)
{
    const int tiles = w.c.images * tiles_of(w);
    Bfloat16ConvJob f = *j;
    f.packed = rounded_weight(w.c, j->packed).packed;
    winograd_conv(w, &f, scratch, tail, tile_piece(tiles, part, parts), tile_piece(tiles, part + 1, parts));
}

INLINE void bfloat16_winograd_grad_x(Winograd w, const Bfloat16ConvGradXJob *j, int tail, int part, int parts,
                                     float *scratch)
{
    const Piece p = piece_of(w.c, part, parts);
    const ConvGradXJob f = {.dx = scratch, .packed = rounded_weight(w.c, j->packed).packed};
    w.c = p.c;
    winograd_grad_x(w, &f, j->dy + p.y, scratch + lines_of(numbers_of_x(p.c)), TAIL_NONE, 0, p.c.images);
    narrow_dx(p, j, tail, f.dx);
}
#endif

/* ---- by matrix tiles, one product of the unit: of the scratch only a piece's dx where patches overlap ----
 */

#ifdef TILES_H
#define BFLOAT16_CONV_TILES(name, shape, tail, parts)                                                        \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvJob, y, Conv, shape,                                                \
                       pack_numbers(j->weight, depth_of_patch(s), s.out, part, j->packed), PANELS(s.out),    \
                       bfloat16_tiles(s, j, amdim_scratch(j->pool, worker), tail,                            \
                                      tile_piece(pixels_of(s), part, parts),                                 \
                                      tile_piece(pixels_of(s), part + 1, parts)),                            \
                       parts)
#define BFLOAT16_CONV_GRAD_X_TILES(name, shape, tail, parts)                                                 \
    FUNCTION_OF_ROUNDS(                                                                                      \
        name, Bfloat16ConvGradXJob, dx, Conv, shape, pack_tap_numbers(s, j, part), TAP_PANELS(s),            \
        bfloat16_tiles_grad_x(s, j, amdim_scratch(j->pool, worker), tail, part, parts), parts)

INLINE void bfloat16_tiles(Conv c, const Bfloat16ConvJob *j, float *scratch, int tail, int first, int last)
{
    const TileProduct p = {.left = j->x,
                           .packed = j->packed,
                           .bias = j->bias,
                           .addend = j->addend,
                           .y = j->y,
                           .from = c,
                           .to = pixels_of_y(c),
                           .of_map = true,
                           .to_map = true};
    tile_product(&p, tail, scratch, first, last);
}

/* packed[tap][panel]. */
INLINE void pack_tap_numbers(Conv c, const Bfloat16ConvGradXJob *j, int part)
{
    const int panels = PANELS(c.in), tap = part / panels;
    pack_numbers_transposed(j->weight + (size_t)tap * c.in * c.out, c.out, c.in, part % panels,
                            j->packed + (size_t)tap * panels * STEPS(c.out) * (PART_NUMBERS / 2));
}

INLINE void bfloat16_tiles_grad_x(Conv c, const Bfloat16ConvGradXJob *j, float *scratch, int tail, int part,
                                  int parts)
{
    TileProduct p = {.left = j->dy,
                     .packed = j->packed,
                     .addend = j->addend,
                     .mask = j->mask,
                     .y = j->dx,
                     .from = pixels_of_y(c),
                     .to = c,
                     .of_map = true,
                     .to_map = true};
    if (patches_tile(c.kernel, c.stride, c.side, c.out_side)) {
        tile_product(&p, tail, scratch, tile_piece(pixels_of(c), part, parts),
                     tile_piece(pixels_of(c), part + 1, parts));
        return;
    }
    const Piece of = piece_of(c, part, parts);
    p.left = j->dy + of.y;
    p.addend = p.y = scratch;
    p.to_map = false;
    memset(scratch, 0, sizeof *scratch * numbers_of_x(of.c));
    tile_product(&p, TAIL_ADD, scratch + lines_of(numbers_of_x(of.c)), 0, pixels_of(of.c));
    narrow_dx(of, j, tail, scratch);
}
#endif

/* ---- dw: kernels that copy what they read take it to floats as they do ---- */

typedef float *Bfloat16ConvGradWFunction(AmdimPool *pool, Bfloat16ConvGradWJob job);

INLINE ConvGradWJob grad_w_of(const Bfloat16ConvGradWJob *j)
{
    return (ConvGradWJob){.x = (const void *)j->x,
                          .dy = (const void *)j->dy,
                          .dw = j->dw,
                          .partial = j->partial,
                          .more = j->more,
                          .x_is_map = true};
}

#define BFLOAT16_CONV_GRAD_W_DIRECT(name, shape, threads)                                                    \
    FUNCTION_OF_A_ROUND(name, Bfloat16ConvGradWJob, dw, Conv, shape, const ConvGradWJob f = grad_w_of(j);    \
                        conv_grad_w_part(s, &f, amdim_scratch(j->pool, worker), threads, part),              \
                        grad_w_parts(shape, threads))
#define BFLOAT16_CONV_GRAD_W_DIRECT_SLICED(name, shape, slices)                                              \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Conv, shape, const ConvGradWJob f = grad_w_of(j);     \
                       conv_grad_w_slice(s, &f, amdim_scratch(j->pool, worker), part, slices), slices,       \
                       sum_slices(j->partial, slices, numbers_of_weight(s), 1, j->more ? j->dw : NULL,       \
                                  j->dw, part, slices),                                                      \
                       slices)
#define BFLOAT16_CONV_GRAD_W_SPARSE(name, shape, factor, slices, parts)                                      \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Conv, shape,                                          \
                       sparse_grad_w(s, j, amdim_scratch(j->pool, worker), factor, slices, part),            \
                       sparse_grad_w_parts(s, factor, slices),                                               \
                       sparse_grad_w_end(s, j, factor, slices, part, parts), parts)
#define BFLOAT16_CONV_GRAD_W_WINOGRAD(name, shape, by, parts)                                                \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Winograd, ((Winograd){shape, by}),                    \
                       winograd_grad_w(s, j, amdim_scratch(j->pool, worker), part, parts), parts,            \
                       winograd_grad_w_end(s, j, part, parts), parts)

#define BFLOAT16_CONV_GRAD_W_TILES(name, shape, row_cuts, column_cuts)                                       \
    FUNCTION_OF_A_ROUND(                                                                                     \
        name, Bfloat16ConvGradWJob, dw, Conv, shape, const ConvGradWJob f = grad_w_of(j);                    \
        conv_grad_w_tiles(s, &f, amdim_scratch(j->pool, worker), row_cuts, column_cuts, part),               \
        (row_cuts) * (column_cuts))
#define BFLOAT16_CONV_GRAD_W_TILES_SLICED(name, shape, slices)                                               \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Conv, shape, const ConvGradWJob f = grad_w_of(j);     \
                       conv_grad_w_sliced(s, &f, amdim_scratch(j->pool, worker), slices, part),              \
                       SLICED_PARTS(s, slices), const ConvGradWJob f = grad_w_of(j);                         \
                       end_slices(s, &f, slices, part, slices), slices)
#define BFLOAT16_CONV_GRAD_W_CELLS(name, shape, slices)                                                      \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradWJob, dw, Conv, shape, const ConvGradWJob f = grad_w_of(j);     \
                       conv_grad_w_cells(s, &f, amdim_scratch(j->pool, worker), slices, part), slices,       \
                       const ConvGradWJob f = grad_w_of(j);                                                  \
                       end_slices(s, &f, slices, part, slices), slices)

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
