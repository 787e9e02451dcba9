/* blas.h: products that OpenBLAS makes, each on one thread. A 1x1 convolution at stride 1 has its rows as
 * OpenBLAS wants them; patches of larger kernels are unfolded, a tile that stays in the L2 at a
 * time, into `unfolded`. */
#ifndef BLAS_H
#define BLAS_H

#include "kernels.h"
#include <cblas.h>

INLINE int blas_tile(int depth)
{
    return UNFOLDED / depth > 0 ? UNFOLDED / depth : 1;
}

/* Floats [first, last) of the patches of pixels [pixel, pixel + pixels), one row a pixel. */
INLINE void unfold(Conv c, const float *x, int pixel, int pixels, int first, int last, float *unfolded)
{
    const int run = c.kernel * c.in;
    for (int p = pixel; p < pixel + pixels; p++) {
        const float *from = x + patch(c, p);
        for (int i = first; i < last;) {
            const int ky = i / run, end = MIN_OF(last, (ky + 1) * run);
            memcpy(unfolded, from + (size_t)ky * c.side * c.in + (i - ky * run),
                   sizeof(float) * (size_t)(end - i));
            unfolded += end - i;
            i = end;
        }
    }
}

/* Adds rows of gradients of patches to the pixels that they were unfolded from. */
INLINE void fold(Conv c, const float *unfolded, int pixel, int pixels, float *dx)
{
    const int run = c.kernel * c.in;
    for (int p = pixel; p < pixel + pixels; p++)
        for (int ky = 0; ky < c.kernel; ky++, unfolded += run) {
            float *to = dx + patch(c, p) + (size_t)ky * c.side * c.in;
            for (int i = 0; i < run; i++)
                to[i] += unfolded[i];
        }
}

/* Pixels [first, last) of y = x . weight, then the tail. */
INLINE void conv_blas(Conv c, const ConvJob *j, float *unfolded, int tail, int first, int last)
{
    const int depth = c.kernel * c.kernel * c.in, tile = is_pointwise(c) ? last - first : blas_tile(depth);
    if (tail & TAIL_ADD && j->addend != j->y)
        memcpy(j->y + (size_t)first * c.out, j->addend + (size_t)first * c.out,
               sizeof(float) * (size_t)(last - first) * c.out);
    for (int p = first; p < last; p += tile) {
        const int pixels = MIN_OF(tile, last - p);
        if (!is_pointwise(c))
            unfold(c, j->x, p, pixels, 0, depth, unfolded);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, pixels, c.out, depth, 1,
                    is_pointwise(c) ? j->x + (size_t)p * c.in : unfolded, depth, j->weight, c.out,
                    tail & TAIL_ADD ? 1 : 0, j->y + (size_t)p * c.out, c.out);
    }
    float *y = j->y + (size_t)first * c.out;
    if (tail & (TAIL_BIAS | TAIL_RELU))
        for (int p = first; p < last; p++, y += c.out)
            for (int i = 0; i < c.out; i++) {
                const float s = tail & TAIL_BIAS ? y[i] + j->bias[i] : y[i];
                y[i] = tail & TAIL_RELU ? relu_number(s) : s;
            }
}

/* dx of images [first, last) = dy . transposed weight, then the tail. */
INLINE void conv_grad_x_blas(Conv c, const ConvGradXJob *j, float *unfolded, int tail, int first, int last)
{
    const int depth = depth_of_patch(c), area = c.out_side * c.out_side;
    if (!is_pointwise(c) || tail & TAIL_ADD)
        conv_grad_x_begin(c, j, tail, first, last);
    if (is_pointwise(c)) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (last - first) * area, c.in, c.out, 1,
                    j->dy + (size_t)first * area * c.out, c.out, j->weight, c.out, tail & TAIL_ADD ? 1 : 0,
                    j->dx + (size_t)first * area * c.in, c.in);
    } else {
        const int tile = blas_tile(depth);
        for (int p = first * area; p < last * area; p += tile) {
            const int pixels = MIN_OF(tile, last * area - p);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, pixels, depth, c.out, 1,
                        j->dy + (size_t)p * c.out, c.out, j->weight, c.out, 0, unfolded, depth);
            fold(c, unfolded, p, pixels, j->dx);
        }
    }
    conv_grad_x_end(c, j, tail, first, last);
}

/* Rows [first, last) of dw = transposed patches . dy, over all pixels. */
INLINE void conv_grad_w_blas(Conv c, const ConvGradWJob *j, float *unfolded, int first, int last)
{
    const int pixels = c.images * c.out_side * c.out_side, rows = last - first,
              tile = is_pointwise(c) ? pixels : blas_tile(rows);
    for (int p = 0; p < pixels; p += tile) {
        const int count = MIN_OF(tile, pixels - p);
        if (!is_pointwise(c))
            unfold(c, j->x, p, count, first, last, unfolded);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, c.out, count, 1,
                    is_pointwise(c) ? j->x + first : unfolded, is_pointwise(c) ? c.in : rows,
                    j->dy + (size_t)p * c.out, c.out, p || j->more ? 1 : 0, j->dw + (size_t)first * c.out,
                    c.out);
    }
}

#endif
