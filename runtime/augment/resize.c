/* resize.c: bicubic resampling as Pillow defines it: Keys' kernel with a = -0.5, made as wide as the step
 * when shrinking, weights normalised to sum 1, edges cut off. In floats, without Pillow's rounding between
 * the axes.
 *
 * Source rows come one at a time, are resampled across, and added into the rows of the result they weigh in.
 */
#include "augment_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 65535 }; /* of a Picture */

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? a * (((x - 5) * x + 8) * x - 4) : 0;
}

/* Source pixels per result pixel, at least 1. */
static double widening(int64_t in, int64_t out)
{
    return in > out ? (double)in / (double)out : 1;
}

static int taps_for(double wide)
{
    return 2 * (int)ceil(2 * wide) + 1;
}

static bool axis_init(Axis *a, int size, Fault *f)
{
    size_t count = (size_t)size, taps = (size_t)taps_for(widening(MAX_SIDE, size));
    a->begin = allocate(count * sizeof *a->begin, "resizing pictures", f);
    a->end = allocate(count * sizeof *a->end, "resizing pictures", f);
    a->weight = allocate(count * taps * sizeof *a->weight, "resizing pictures", f);
    return a->begin && a->end && a->weight;
}

static void axis_free(Axis *a)
{
    free(a->begin);
    free(a->end);
    free(a->weight);
}

bool resizer_init(Resizer *z, int size, int channels, Fault *f)
{
    *z = (Resizer){.size = size, .channels = channels};
    z->source_row = allocate((size_t)MAX_SIDE * (size_t)channels * sizeof(float), "resizing pictures", f);
    z->row = allocate((size_t)size * (size_t)channels * sizeof(float), "resizing pictures", f);
    return axis_init(&z->across, size, f) && axis_init(&z->down, size, f) && z->source_row && z->row;
}

void resizer_free(Resizer *z)
{
    axis_free(&z->across);
    axis_free(&z->down);
    free(z->source_row);
    free(z->row);
}

/* Pixels first..first+count-1 of `in` pixels resized to `out`. */
static void plan_axis(Axis *a, int in, int64_t out, int64_t first, int count)
{
    double step = (double)in / (double)out, wide = widening(in, out), support = 2 * wide;
    a->taps = taps_for(wide);
    for (int i = 0; i < count; i++) {
        double center = ((double)(first + i) + 0.5) * step, sum = 0;
        int begin = (int)fmax(0, center - support + 0.5);
        int end = (int)fmin(in, center + support + 0.5);
        float *weight = a->weight + (size_t)i * (size_t)a->taps;
        for (int j = begin; j < end; j++)
            sum += bicubic((j - center + 0.5) / wide);
        for (int j = begin; j < end; j++)
            weight[j - begin] = (float)(bicubic((j - center + 0.5) / wide) / sum);
        a->begin[i] = begin;
        a->end[i] = end;
    }
}

/* Row y of the box, values 0..255. */
static void load_row(Resizer *z, const Picture *p, bool mirrored, Box box, int y)
{
    int channels = z->channels, first = mirrored ? p->width - 1 - box.x : box.x, step = mirrored ? -1 : 1;
    const uint8_t *row = p->pixels + (size_t)(box.y + y) * (size_t)p->width * (size_t)channels;
    for (int x = 0; x < box.width; x++)
        for (int c = 0; c < channels; c++)
            z->source_row[x * channels + c] = row[(first + step * x) * channels + c];
}

static void resample_grey(Resizer *z)
{
    const Axis *a = &z->across;
    for (int i = 0; i < z->size; i++) {
        const float *weight = a->weight + (size_t)i * (size_t)a->taps;
        float sum = 0;
        for (int j = a->begin[i]; j < a->end[i]; j++)
            sum += *weight++ * z->source_row[j];
        z->row[i] = sum;
    }
}

static void resample_colour(Resizer *z)
{
    const Axis *a = &z->across;
    for (int i = 0; i < z->size; i++) {
        const float *weight = a->weight + (size_t)i * (size_t)a->taps;
        const float *source = z->source_row + 3 * a->begin[i];
        float red = 0, green = 0, blue = 0;
        for (int j = a->begin[i]; j < a->end[i]; j++, weight++, source += 3) {
            red += *weight * source[0];
            green += *weight * source[1];
            blue += *weight * source[2];
        }
        z->row[3 * i] = red;
        z->row[3 * i + 1] = green;
        z->row[3 * i + 2] = blue;
    }
}

/* Adds row y into the rows of the result that it weighs in; *oldest is the first that may still want one. */
static void add_row(const Resizer *z, int y, int *oldest, float *out)
{
    const Axis *a = &z->down;
    int width = z->size * z->channels;
    while (a->end[*oldest] <= y)
        ++*oldest;
    for (int i = *oldest; i < z->size && a->begin[i] <= y; i++) {
        float weight = a->weight[(size_t)i * (size_t)a->taps + (size_t)(y - a->begin[i])];
        float *sum = out + (size_t)i * (size_t)width;
        for (int x = 0; x < width; x++)
            sum[x] += weight * z->row[x];
    }
}

void resize_window(Resizer *z, const Picture *p, bool mirrored, Box box, Window window, float *out)
{
    size_t floats = (size_t)z->size * (size_t)z->size * (size_t)z->channels;
    plan_axis(&z->across, box.width, window.width, window.left, z->size);
    plan_axis(&z->down, box.height, window.height, window.top, z->size);
    memset(out, 0, floats * sizeof *out);
    int oldest = 0;
    for (int y = z->down.begin[0]; y < z->down.end[z->size - 1]; y++) {
        load_row(z, p, mirrored, box, y);
        if (z->channels == 3)
            resample_colour(z);
        else
            resample_grey(z);
        add_row(z, y, &oldest, out);
    }
    for (size_t i = 0; i < floats; i++)
        out[i] = clamp_unit(out[i] / 255);
}
