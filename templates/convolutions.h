/* convolutions.h: the functions of fixed shape that are convolutions or their gradients. Their products are
 * made by vectors (vectors.h, sparse.h, masked.h, winograd.h, blocked.h), by matrix tiles (tiles.h,
 * tile_sums.h), which offer functions of the same names, or by OpenBLAS (blas.h); a program includes those
 * that it needs.
 *
 * x (images, side, side, in) is padded where the layer pads, y is (images, out_side, out_side, out), the
 * weight (kernel*kernel*in, out). `shape` is SHAPE(images, side, in, out_side, out, kernel, stride), `tail`
 * what follows the product, `parts` how many pieces the pixels, the images or the rows of a weight are cut
 * into. A job's `packed` has room for the weight in panels, or for few rows (blocked.h), `partial` for sums
 * of slices. */
#ifndef CONVOLUTIONS_H
#define CONVOLUTIONS_H

#include "kernels.h"

/* ---- y = tail(x * weight), of which y is overwritten; the tail is of TAIL_BIAS, TAIL_ADD and TAIL_RELU. The
 * addend may be y.
 * ------------------------------------------------------------------------------------------------ */

typedef float *ConvFunction(AmdimPool *pool, ConvJob job);

/* Tap by tap. */
#define CONV_DIRECT(name, shape, tail, parts)                                                                \
    FUNCTION_OF_ROUNDS(name, ConvJob, y, Conv, shape,                                                        \
                       pack_panel(j->weight, depth_of_patch(s), s.out, 1, part, j->packed), PANELS(s.out),   \
                       conv_pixels(s, j, amdim_scratch(j->pool, worker), tail,                               \
                                   tile_piece(pixels_of(s), part, parts),                                    \
                                   tile_piece(pixels_of(s), part + 1, parts)),                               \
                       parts)

/* By Winograd's F(m, r), in tiles of m x m pixels of y (winograd.h has the source); `by` is F(m, r). */
#define CONV_WINOGRAD(name, shape, by, tail, parts)                                                          \
    FUNCTION_OF_ROUNDS(name, ConvJob, y, Winograd, ((Winograd){shape, by}),                                  \
                       winograd_pack(s, j->weight, part, j->packed), PANELS(s.c.out),                        \
                       winograd_conv(s, j, amdim_scratch(j->pool, worker), tail,                             \
                                     tile_piece(s.c.images *tiles_of(s), part, parts),                       \
                                     tile_piece(s.c.images *tiles_of(s), part + 1, parts)),                  \
                       parts)

/* By blocks of both factors, of a 1x1 kernel or of one patch an image. */
#define CONV_BLOCKED(name, shape, tail, parts)                                                               \
    FUNCTION_OF_ROUNDS(name, ConvJob, y, Conv, shape, blocked_pack(blocked_conv(s, j), part),                \
                       blocked_packs(pixels_of(s), s.out),                                                   \
                       blocked_part(blocked_conv(s, j), amdim_scratch(j->pool, worker), tail, part, parts),  \
                       parts)

/* By x's numbers that are not zero, of a 1x1 kernel. */
#define CONV_SPARSE(name, shape, tail, parts)                                                                \
    FUNCTION_OF_ROUNDS(                                                                                      \
        name, ConvJob, y, Conv, shape, sparse_pack(s, j->weight, part, j->packed), PANELS(s.out),            \
        sparse_conv(s, j, j->x, amdim_scratch(j->pool, worker), tail, tile_piece(pixels_of(s), part, parts), \
                    tile_piece(pixels_of(s), part + 1, parts)),                                              \
        parts)

/* By OpenBLAS. */
#define CONV_OPENBLAS(name, shape, tail, parts)                                                              \
    FUNCTION_OF_A_ROUND(name, ConvJob, y, Conv, shape,                                                       \
                        conv_blas(s, j, amdim_scratch(j->pool, worker), tail,                                \
                                  tile_piece(pixels_of(s), part, parts),                                     \
                                  tile_piece(pixels_of(s), part + 1, parts)),                                \
                        parts)

/* ---- dx = tail(dy * transposed weight), of which dx is overwritten; the tail is of TAIL_ADD and TAIL_MASK.
 * The addend may be dx. A part is a piece of the images where patches overlap, for theirs are what patches
 * add up in.
 * ------------------------------------------------------------------------------------------------ */

typedef float *ConvGradXFunction(AmdimPool *pool, ConvGradXJob job);

/* Tap by tap. */
#define CONV_GRAD_X_DIRECT(name, shape, tail, parts)                                                         \
    FUNCTION_OF_ROUNDS(name, ConvGradXJob, dx, Conv, shape, pack_tap(s, j, part), TAP_PANELS(s),             \
                       conv_grad_x_part(s, j, amdim_scratch(j->pool, worker), tail, part, parts), parts)

/* By Winograd. */
#define CONV_GRAD_X_WINOGRAD(name, shape, by, tail, parts)                                                   \
    FUNCTION_OF_ROUNDS(name, ConvGradXJob, dx, Winograd, ((Winograd){shape, by}),                            \
                       winograd_pack_transposed(s, j->weight, part, j->packed), PANELS(depth_of(s)),         \
                       winograd_grad_x(s, j, j->dy, amdim_scratch(j->pool, worker), tail,                    \
                                       piece(s.c.images, part, parts), piece(s.c.images, part + 1, parts)),  \
                       parts)

/* By blocks of both factors, of a 1x1 kernel or of one patch an image. */
#define CONV_GRAD_X_BLOCKED(name, shape, tail, parts)                                                        \
    FUNCTION_OF_ROUNDS(                                                                                      \
        name, ConvGradXJob, dx, Conv, shape, blocked_pack(blocked_grad_x(s, j), part),                       \
        blocked_packs(pixels_of(s), depth_of_patch(s)),                                                      \
        blocked_part(blocked_grad_x(s, j), amdim_scratch(j->pool, worker), tail, part, parts), parts)

/* By dy's numbers that are not zero, of a kernel as large as its stride. */
#define CONV_GRAD_X_SPARSE(name, shape, tail, parts)                                                         \
    FUNCTION_OF_ROUNDS(name, ConvGradXJob, dx, Conv, shape,                                                  \
                       sparse_pack_transposed(s, j->weight, part, j->packed), TAP_PANELS(s),                 \
                       sparse_grad_x(s, j, j->dy, amdim_scratch(j->pool, worker), tail,                      \
                                     tile_piece(pixels_of(s), part, parts),                                  \
                                     tile_piece(pixels_of(s), part + 1, parts)),                             \
                       parts)

/* Only what a mask keeps is made, of a 1x1 kernel; the rest is 0. */
#define CONV_GRAD_X_MASKED(name, shape, parts)                                                               \
    FUNCTION_OF_ROUNDS(                                                                                      \
        name, ConvGradXJob, dx, Conv, shape, masked_pack(s, j->weight, part, j->packed), masked_packs(s),    \
        masked_product(s, j, j->dy, amdim_scratch(j->pool, worker), tile_piece(pixels_of(s), part, parts),   \
                       tile_piece(pixels_of(s), part + 1, parts)),                                           \
        parts)

/* By OpenBLAS. */
#define CONV_GRAD_X_OPENBLAS(name, shape, tail, parts)                                                       \
    FUNCTION_OF_A_ROUND(name, ConvGradXJob, dx, Conv, shape,                                                 \
                        conv_grad_x_blas(s, j, amdim_scratch(j->pool, worker), tail,                         \
                                         piece(s.images, part, parts), piece(s.images, part + 1, parts)),    \
                        parts)

/* Panels of a weight that is transposed tap by tap, packed[tap][panel]. */
#define TAP_PANELS(c) ((c).kernel * (c).kernel * PANELS((c).in))
#define pack_tap(c, j, part)                                                                                 \
    pack_panel_transposed((j)->weight + (size_t)((part) / PANELS((c).in)) * (c).in * (c).out, (c).out,       \
                          (c).in, 1, (part) % PANELS((c).in),                                                \
                          (j)->packed + (part) / PANELS((c).in) * PANELS((c).in) * PANEL_FLOATS((c).out))

/* ---- dw (+)= transposed patches of x * dy, a sum over all pixels; added to what dw holds if the job says
 * there is `more`.
 * ------------------------------------------------------------------------------------------------ */

typedef float *ConvGradWFunction(AmdimPool *pool, ConvGradWJob job);

/* In one order; a part is a block of dw, of which there are enough for so many threads. */
#define CONV_GRAD_W_DIRECT(name, shape, threads)                                                             \
    FUNCTION_OF_A_ROUND(name, ConvGradWJob, dw, Conv, shape,                                                 \
                        conv_grad_w_part(s, j, amdim_scratch(j->pool, worker), threads, part),               \
                        grad_w_parts(shape, threads))

/* Over `slices` slices of the images first, which then add up in their order. */
#define CONV_GRAD_W_DIRECT_SLICED(name, shape, slices)                                                       \
    FUNCTION_OF_ROUNDS(name, ConvGradWJob, dw, Conv, shape,                                                  \
                       conv_grad_w_slice(s, j, amdim_scratch(j->pool, worker), part, slices), slices,        \
                       sum_slices(j->partial, slices, (size_t)depth_of_patch(s) * s.out, 1,                  \
                                  j->more ? j->dw : NULL, j->dw, part, slices),                              \
                       slices)

/* By Winograd: sums of each point, then of each tap. */
#define CONV_GRAD_W_WINOGRAD(name, shape, by, parts)                                                         \
    FUNCTION_OF_ROUNDS(name, ConvGradWJob, dw, Winograd, ((Winograd){shape, by}),                            \
                       winograd_grad_w(s, j, amdim_scratch(j->pool, worker), part, parts), parts,            \
                       winograd_grad_w_end(s, j, part, parts), parts)

/* By the numbers that are not zero of x or dy, as `factor` says, BY_X or BY_DY; over slices of the pixels
 * first. */
#define CONV_GRAD_W_SPARSE(name, shape, factor, slices, parts)                                               \
    FUNCTION_OF_ROUNDS(name, ConvGradWJob, dw, Conv, shape,                                                  \
                       sparse_grad_w(s, j, amdim_scratch(j->pool, worker), factor, slices, part),            \
                       sparse_grad_w_parts(s, factor, slices),                                               \
                       sparse_grad_w_end(s, j, factor, slices, part, parts), parts)

/* By matrix tiles (tile_sums.h): in one order, a part being one of row_cuts by column_cuts blocks of dw; or
 * over slices of the pixels first; or by cells of stride x stride pixels, for a kernel of twice its stride,
 * over slices of the images first. Their other products are CONV_DIRECT and CONV_GRAD_X_DIRECT. */
#define CONV_GRAD_W_TILES(name, shape, row_cuts, column_cuts)                                                \
    FUNCTION_OF_A_ROUND(                                                                                     \
        name, ConvGradWJob, dw, Conv, shape,                                                                 \
        conv_grad_w_tiles(s, j, amdim_scratch(j->pool, worker), row_cuts, column_cuts, part),                \
        (row_cuts) * (column_cuts))
#define CONV_GRAD_W_TILES_SLICED(name, shape, slices)                                                        \
    FUNCTION_OF_ROUNDS(name, ConvGradWJob, dw, Conv, shape,                                                  \
                       conv_grad_w_sliced(s, j, amdim_scratch(j->pool, worker), slices, part),               \
                       SLICED_PARTS(s, slices), end_slices(s, j, slices, part, slices), slices)
#define CONV_GRAD_W_CELLS(name, shape, slices)                                                               \
    FUNCTION_OF_ROUNDS(name, ConvGradWJob, dw, Conv, shape,                                                  \
                       conv_grad_w_cells(s, j, amdim_scratch(j->pool, worker), slices, part), slices,        \
                       end_slices(s, j, slices, part, slices), slices)

/* By OpenBLAS, blocks of rows. */
#define CONV_GRAD_W_OPENBLAS(name, shape, parts)                                                             \
    FUNCTION_OF_A_ROUND(name, ConvGradWJob, dw, Conv, shape,                                                 \
                        conv_grad_w_blas(s, j, amdim_scratch(j->pool, worker),                               \
                                         piece(depth_of_patch(s), part, parts),                              \
                                         piece(depth_of_patch(s), part + 1, parts)),                         \
                        parts)

/* ---- db (channels) (+)= the sums of dy (pixels, channels) over pixels: over `slices` slices of them first.
 * As for a weight, the job says whether there is `more`.
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
    const Activation *dy;
    float *db, *partial; /* partial: (slices, channels) of double */
    bool more;           /* added to what db holds */
    AmdimPool *pool;
} BiasGradJob;

typedef float *BiasGradFunction(AmdimPool *pool, BiasGradJob job);

#define BIAS_GRAD(name, pixels, channels, slices)                                                            \
    FUNCTION_OF_ROUNDS(name, BiasGradJob, db, int, channels, bias_grad_slice(pixels, s, j, part, slices),    \
                       slices, bias_grad_end(s, j, slices), 1)

/* total += the sums of some vectors' channels over pixels that are `channels` apart. */
INLINE void bias_grad_vectors(const Activation *dy, int pixels, int channels, int vectors, double *total)
{
    Vec sum[4] = {(Vec){0}};
    for (int p = 0; p < pixels; p++, dy += channels)
        UNROLL for (int v = 0; v < vectors; v++) sum[v] += load_activations(dy + v * LANES);
    for (int v = 0; v < vectors; v++)
        for (int i = 0; i < LANES; i++)
            total[v * LANES + i] += ELEMENT(sum[v], i);
}

INLINE void bias_grad_block(const Activation *dy, int pixels, int channels, double *total)
{
    const int fours = channels / (4 * LANES) * (4 * LANES), whole = channels / LANES * LANES;
    for (int c = 0; c < fours; c += 4 * LANES)
        bias_grad_vectors(dy + c, pixels, channels, 4, total + c);
    for (int c = fours; c < whole; c += LANES)
        bias_grad_vectors(dy + c, pixels, channels, 1, total + c);
    for (int c = whole; c < channels; c++) {
        float sum = 0;
        for (int p = 0; p < pixels; p++)
            sum += activation(dy[(ptrdiff_t)p * channels + c]);
        total[c] += sum;
    }
}

/* Slice `slice` of the pixels: sums over blocks, added up in double. */
SHARED void bias_grad_slice(int pixels, int channels, const BiasGradJob *j, int slice, int slices)
{
    const int blocks = CEIL_DIV(pixels, PIXEL_BLOCK),
              last = MIN_OF(PIXEL_BLOCK * piece(blocks, slice + 1, slices), pixels);
    double *total = (double *)(void *)j->partial + (size_t)slice * channels;
    for (int c = 0; c < channels; c++)
        total[c] = 0;
    for (int block = PIXEL_BLOCK * piece(blocks, slice, slices); block < last; block += PIXEL_BLOCK)
        bias_grad_block(j->dy + (size_t)block * channels, MIN_OF(PIXEL_BLOCK, last - block), channels, total);
}

SHARED void bias_grad_end(int channels, const BiasGradJob *j, int slices)
{
    const double *partial = (const double *)(const void *)j->partial;
    for (int c = 0; c < channels; c++) {
        double total = j->more ? j->db[c] : 0;
        for (int slice = 0; slice < slices; slice++)
            total += partial[(size_t)slice * channels + c];
        j->db[c] = (float)total;
    }
}

#endif
