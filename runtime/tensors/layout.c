/* layout.c: PyTorch's order of a tensor and ours.
 *
 * PyTorch keeps a k x k convolution as (out, in, k, k) and pictures as (channels, rows, columns). Inside,
 * what is added up together lies together: weights as (k*k*in) x out, pictures as pixels x channels. */
#include "runtime.h"
#include <string.h>

/* (rows, columns) -> (columns, rows) */
static void transpose(const float *in, size_t rows, size_t columns, float *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            out[c * rows + r] = in[r * columns + c];
}

/* (out, in, taps) -> (taps, in, out) is its own inverse with out and taps exchanged. */
static void exchange_outer(const float *from, size_t a, size_t b, size_t c, float *to)
{
    for (size_t i = 0; i < a; i++)
        for (size_t j = 0; j < b; j++)
            for (size_t k = 0; k < c; k++)
                to[(k * b + j) * a + i] = from[(i * b + j) * c + k];
}

static size_t taps(const AmdimTensor *t)
{
    return (size_t)t->dims[2] * (size_t)t->dims[3];
}

void layout_inward(const AmdimTensor *t, const float *torch, float *ours)
{
    if (t->rank == 4)
        exchange_outer(torch, (size_t)t->dims[0], (size_t)t->dims[1], taps(t), ours);
    else
        memcpy(ours, torch, t->count * sizeof *ours);
}

void layout_outward(const AmdimTensor *t, const float *ours, float *torch)
{
    if (t->rank == 4)
        exchange_outer(ours, taps(t), (size_t)t->dims[1], (size_t)t->dims[0], torch);
    else
        memcpy(torch, ours, t->count * sizeof *torch);
}

void planes_from_pixels(const float *pixels, int count, int channels, float *planes)
{
    transpose(pixels, (size_t)count, (size_t)channels, planes);
}

void pixels_from_planes(const float *planes, int count, int channels, float *pixels)
{
    transpose(planes, (size_t)channels, (size_t)count, pixels);
}
