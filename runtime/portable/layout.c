/* layout.c: PyTorch's order of a tensor and ours (portable.h). */
#include "portable.h"

/* (rows, columns) -> (columns, rows) */
static void transpose(const float *in, size_t rows, size_t columns, float *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            out[c * rows + r] = in[r * columns + c];
}

/* (a, b, c) -> (c, b, a) */
static void exchange_outer(const float *from, size_t a, size_t b, size_t c, float *to)
{
    for (size_t i = 0; i < a; i++)
        for (size_t j = 0; j < b; j++)
            for (size_t k = 0; k < c; k++)
                to[(k * b + j) * a + i] = from[(i * b + j) * c + k];
}

void layout_weight_inward(int outs, int ins, int taps, const float *torch, float *ours)
{
    exchange_outer(torch, (size_t)outs, (size_t)ins, (size_t)taps, ours);
}

void layout_weight_outward(int outs, int ins, int taps, const float *ours, float *torch)
{
    exchange_outer(ours, (size_t)taps, (size_t)ins, (size_t)outs, torch);
}

void planes_from_pixels(const float *pixels, int count, int channels, float *planes)
{
    transpose(pixels, (size_t)count, (size_t)channels, planes);
}

void pixels_from_planes(const float *planes, int count, int channels, float *pixels)
{
    transpose(planes, (size_t)channels, (size_t)count, pixels);
}
