/* resize.c: bicubic resampling as Pillow defines it: Keys' kernel with a = -0.5, made as wide as the step
 * when shrinking, weights normalised to sum 1, edges cut off. In floats, without Pillow's rounding between
 * the axes.
 *
 * Source rows come one at a time, are resampled across, and added into the rows of the result they weigh in.
 * Weights across are made once for all rows; those down, which each row needs once, when it comes.
 */
#include "portable.h"
#include "unit.h"
#include <math.h>
#include <string.h>

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

int resizer_taps(int longest, int size)
{
    return taps_for(widening(longest, size));
}

/* ---- weights ---- */

static double center_of(const Axis *a, int i)
{
    return ((double)(a->first + i) + 0.5) * a->step;
}

static double bicubic_tap(const Axis *a, double center, int j)
{
    return bicubic((j - center + 0.5) / a->wide);
}

/* Pixels first..first+count-1 of `in` pixels resized to `out`. */
static void aim_axis(Axis *a, int in, int64_t out, int64_t first, int count)
{
    a->in = in;
    a->out = out;
    a->first = first;
    a->step = (double)in / (double)out;
    a->wide = widening(in, out);
    a->taps = taps_for(a->wide);
    const double support = 2 * a->wide;
    for (int i = 0; i < count; i++) {
        const double center = center_of(a, i);
        a->begin[i] = (int)fmax(0, center - support + 0.5);
        a->end[i] = (int)fmin(in, center + support + 0.5);
    }
}

static double sum_of_taps(const Axis *a, int i)
{
    double sum = 0, center = center_of(a, i);
    for (int j = a->begin[i]; j < a->end[i]; j++)
        sum += bicubic_tap(a, center, j);
    return sum;
}

static void weigh_across(Resizer *z)
{
    const Axis *a = &z->across;
    for (int i = 0; i < z->size; i++) {
        const double sum = sum_of_taps(a, i), center = center_of(a, i);
        float *weight = z->weight + (size_t)i * (size_t)a->taps;
        for (int j = a->begin[i]; j < a->end[i]; j++)
            weight[j - a->begin[i]] = (float)(bicubic_tap(a, center, j) / sum);
    }
}

/* ---- rows ---- */

void resizer_aim(Resizer *z, Box box, Window window)
{
    const int last = z->size - 1;
    z->box = box;
    aim_axis(&z->across, box.width, window.width, window.left, z->size);
    aim_axis(&z->down, box.height, window.height, window.top, z->size);
    z->first_column = box.x + z->across.begin[0];
    z->end_column = box.x + z->across.end[last];
    z->first_row = box.y + z->down.begin[0];
    z->end_row = box.y + z->down.end[last];
}

void resizer_begin(Resizer *z, float *out)
{
    z->out = out;
    z->oldest = 0;
    weigh_across(z);
    for (int i = 0; i < z->size; i++)
        z->sum[i] = sum_of_taps(&z->down, i);
    memset(out, 0, (size_t)z->size * (size_t)z->size * (size_t)z->channels * sizeof *out);
}

static void resample_grey(Resizer *z, const float *row)
{
    const Axis *a = &z->across;
    for (int i = 0; i < z->size; i++) {
        const float *weight = z->weight + (size_t)i * (size_t)a->taps;
        float sum = 0;
        for (int j = a->begin[i]; j < a->end[i]; j++)
            sum += *weight++ * row[j];
        z->row[i] = sum;
    }
}

static void resample_colour(Resizer *z, const float *row)
{
    const Axis *a = &z->across;
    for (int i = 0; i < z->size; i++) {
        const float *weight = z->weight + (size_t)i * (size_t)a->taps;
        const float *source = row + 3 * a->begin[i];
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

/* Adds row y of the box into the rows of the result that it weighs in. */
static void add_row(Resizer *z, int y)
{
    const Axis *a = &z->down;
    int width = z->size * z->channels;
    while (a->end[z->oldest] <= y)
        z->oldest++;
    for (int i = z->oldest; i < z->size && a->begin[i] <= y; i++) {
        float weight = (float)(bicubic_tap(a, center_of(a, i), y) / z->sum[i]);
        float *sum = z->out + (size_t)i * (size_t)width;
        for (int x = 0; x < width; x++)
            sum[x] += weight * z->row[x];
    }
}

void resizer_take(Resizer *z, int y, const float *row)
{
    row += (size_t)z->box.x * (size_t)z->channels;
    if (z->channels == 3)
        resample_colour(z, row);
    else
        resample_grey(z, row);
    add_row(z, y - z->box.y);
}

void resizer_finish(Resizer *z)
{
    size_t floats = (size_t)z->size * (size_t)z->size * (size_t)z->channels;
    for (size_t i = 0; i < floats; i++)
        z->out[i] = clamp_unit(z->out[i] / 255);
}
