/* views.c: the steps from a picture to a view that are neither resizing nor a colour's (portable.h). */
#include "portable.h"
#include "unit.h"
#include <math.h>
#include <string.h>

/* Mirrors an index about the first and the last pixel, as often as it takes. */
static int reflect(int64_t at, int count)
{
    if (count == 1)
        return 0;
    int64_t period = 2 * ((int64_t)count - 1), place = (at % period + period) % period;
    return (int)(place < count ? place : period - place);
}

void translate(const float *in, int size, int channels, int64_t dx, int64_t dy, float *out)
{
    size_t row = (size_t)size * (size_t)channels;
    for (int y = 0; y < size; y++) {
        const float *from = in + (size_t)reflect(y - dy, size) * row;
        float *to = out + (size_t)y * row;
        for (int x = 0; x < size; x++) {
            const float *pixel = from + (size_t)reflect(x - dx, size) * (size_t)channels;
            for (int c = 0; c < channels; c++)
                *to++ = pixel[c];
        }
    }
}

void jitter_colour(const Jitter *j, size_t pixels, float *view)
{
    for (int i = 0; i < JITTERS; i++) {
        const int kind = j->order[i];
        const float amount = j->amount[kind];
        if (amount == (kind == HUE ? 0 : 1))
            continue;
        if (kind == BRIGHTNESS)
            color_brightness(view, pixels, 3, amount);
        else if (kind == CONTRAST)
            color_contrast(view, pixels, 3, amount);
        else if (kind == SATURATION)
            color_saturation(view, pixels, amount);
        else
            color_hue(view, pixels, amount);
    }
}

void jitter_grey(const Jitter *j, size_t pixels, float *view)
{
    for (int i = 0; i < JITTERS; i++) {
        const int kind = j->order[i];
        const float amount = j->amount[kind];
        if (kind == BRIGHTNESS && amount != 1)
            color_brightness(view, pixels, 1, amount);
        if (kind == CONTRAST && amount != 1)
            color_contrast(view, pixels, 1, amount);
    }
}

int gaussian_radius(double sigma)
{
    const double reach = 4; /* standard deviations, beyond which lies less than 1/15000 of it */
    return (int)ceil(reach * sigma);
}

void gaussian_weights(double sigma, int radius, float *weight)
{
    double sum = 0;
    for (int i = -radius; i <= radius; i++)
        sum += exp(-0.5 * (i / sigma) * (i / sigma));
    for (int i = 0; i <= radius; i++)
        weight[i] = (float)(exp(-0.5 * (i / sigma) * (i / sigma)) / sum);
}

/* Adds to each number those of the same place before and behind it, weighed. */
static void add_both(const float *before, const float *behind, float weight, size_t count, float *sum)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += weight * (before[i] + behind[i]);
}

static void weigh_middle(const float *middle, float weight, size_t count, float *sum)
{
    for (size_t i = 0; i < count; i++)
        sum[i] = weight * middle[i];
}

/* A row with `radius` pixels more on either side, as a mirror shows them. */
static void mirror_row(const float *row, int size, int channels, int radius, float *mirrored)
{
    for (int x = -radius; x < size + radius; x++) {
        const float *pixel = row + reflect(x, size) * channels;
        for (int c = 0; c < channels; c++)
            *mirrored++ = pixel[c];
    }
}

void blur_view(double sigma, int size, int channels, float *weight, float *row, float *before, float *view)
{
    const int radius = gaussian_radius(sigma);
    const size_t count = (size_t)size * (size_t)channels, step = (size_t)channels;
    gaussian_weights(sigma, radius, weight);
    for (int y = 0; y < size; y++) {
        mirror_row(view + (size_t)y * count, size, channels, radius, row);
        const float *middle = row + (size_t)radius * step;
        float *sum = before + (size_t)y * count;
        weigh_middle(middle, weight[0], count, sum);
        for (int i = 1; i <= radius; i++)
            add_both(middle - (size_t)i * step, middle + (size_t)i * step, weight[i], count, sum);
    }
    for (int y = 0; y < size; y++) {
        float *sum = view + (size_t)y * count;
        weigh_middle(before + (size_t)y * count, weight[0], count, sum);
        for (int i = 1; i <= radius; i++)
            add_both(before + (size_t)reflect(y - i, size) * count,
                     before + (size_t)reflect(y + i, size) * count, weight[i], count, sum);
        for (size_t i = 0; i < count; i++)
            sum[i] = clamp_unit(sum[i]);
    }
}

void solarize_view(float *view, size_t pixels, int channels, float threshold)
{
    for (size_t i = 0; i < pixels * (size_t)channels; i++)
        view[i] = view[i] < threshold ? view[i] : 1 - view[i];
}

void normalise_view(float *view, size_t pixels, int channels, const float *mean, const float *deviation)
{
    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < channels; c++, view++)
            *view = (*view - mean[c]) / deviation[c];
}

Window covering(int64_t size, int64_t width, int64_t height)
{
    Window window = {.width = size, .height = size};
    if (width < height)
        window.height = size * height / width;
    else
        window.width = size * width / height;
    window.left = (int64_t)nearbyint((double)(window.width - size) / 2);
    window.top = (int64_t)nearbyint((double)(window.height - size) / 2);
    return window;
}
