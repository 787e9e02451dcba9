/* views.c: the steps from a picture to a view that are neither resizing nor a colour's (portable.h). */
#include "portable.h"
#include <math.h>

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
