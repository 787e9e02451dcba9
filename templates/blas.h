/* blas.h: the products that OpenBLAS makes, each on one thread: 1x1 convolutions, whose rows lie as it wants
 * them. */
#ifndef BLAS_H
#define BLAS_H

#include "kernels.h"
#include <cblas.h>

/* Pixels [first, last) of y = x . weight, then the tail. */
INLINE void conv_blas(int in, int out, const ConvJob *j, int tail, int first, int last)
{
    float *y = j->y + (size_t)first * out;
    if (tail & TAIL_ADD && j->addend != j->y)
        memcpy(y, j->addend + (size_t)first * out, sizeof(float) * (size_t)(last - first) * out);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, last - first, out, in, 1,
                j->x + (size_t)first * in, in, j->weight, out, tail & TAIL_ADD ? 1 : 0, y, out);
    if (tail & (TAIL_BIAS | TAIL_RELU))
        for (int p = first; p < last; p++, y += out)
            for (int i = 0; i < out; i++) {
                const float s = tail & TAIL_BIAS ? y[i] + j->bias[i] : y[i];
                y[i] = tail & TAIL_RELU && !(s > 0) ? 0 : s;
            }
}

/* Pixels [first, last) of dx = dy . transposed weight, then the tail. */
INLINE void conv_grad_x_blas(int in, int out, const ConvGradXJob *j, int tail, int first, int last)
{
    float *dx = j->dx + (size_t)first * in;
    const size_t count = (size_t)(last - first) * in;
    if (tail & TAIL_ADD && j->addend != j->dx)
        memcpy(dx, j->addend + (size_t)first * in, sizeof(float) * count);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, last - first, in, out, 1,
                j->dy + (size_t)first * out, out, j->weight, out, tail & TAIL_ADD ? 1 : 0, dx, in);
    if (tail & TAIL_MASK)
        for (size_t i = 0; i < count; i++)
            dx[i] = j->mask[(size_t)first * in + i] > 0 ? dx[i] : 0;
}

/* Rows [first, last) of dw = transposed x . dy, over all pixels. */
INLINE void conv_grad_w_blas(int pixels, int in, int out, const ConvGradWJob *j, int first, int last)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, last - first, out, pixels, 1, j->x + first, in,
                j->dy, out, 0, j->dw + (size_t)first * out, out);
}

#endif
