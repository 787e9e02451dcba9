/* color.c: changes of colour, as torchvision defines them on tensors in 0..1, pixels x channels. */
#include "portable.h"
#include "unit.h"

static float luma(const float *rgb)
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

void color_brightness(float *view, size_t pixels, int channels, float factor)
{
    for (size_t i = 0; i < pixels * (size_t)channels; i++)
        view[i] = clamp_unit(view[i] * factor);
}

static float mean_luma(const float *view, size_t pixels, int channels)
{
    double sum = 0;
    for (size_t i = 0; i < pixels; i++)
        sum += channels == 3 ? luma(view + 3 * i) : view[i];
    return (float)(sum / (double)pixels);
}

void color_contrast(float *view, size_t pixels, int channels, float factor)
{
    float rest = (1 - factor) * mean_luma(view, pixels, channels);
    for (size_t i = 0; i < pixels * (size_t)channels; i++)
        view[i] = clamp_unit(factor * view[i] + rest);
}

void color_saturation(float *view, size_t pixels, float factor)
{
    for (size_t i = 0; i < pixels; i++) {
        float *rgb = view + 3 * i, rest = (1 - factor) * luma(rgb);
        for (int c = 0; c < 3; c++)
            rgb[c] = clamp_unit(factor * rgb[c] + rest);
    }
}

/* Where the hue lies, in sixths of a turn from red: -1..5; 0 for grey. */
static float hue_of(const float *rgb, float most, float spread)
{
    float r = rgb[0], g = rgb[1], b = rgb[2], inverse = spread > 0 ? 1 / spread : 0;
    float from_red = (g - b) * inverse;
    float from_green = 2 + (b - r) * inverse;
    float from_blue = 4 + (r - g) * inverse;
    float other = g == most ? from_green : from_blue;
    return r == most ? from_red : other;
}

/* A channel of the colour of this hue (in sixths) falls below the largest by `spread` times a ramp that is 0,
 * rises and falls, 0..1, over the turn; `offset` says where the channel begins on it. */
static float channel_of(float hue, float offset, float most, float spread)
{
    float place = hue + offset;
    place -= place >= 6 ? 6 : 0;
    float ramp = place < 4 - place ? place : 4 - place;
    return clamp_unit(most - spread * clamp_unit(ramp));
}

void color_hue(float *view, size_t pixels, float shift)
{
    float turned = 6 * (shift - (float)(int)shift); /* -6..6, exclusive */
    turned += turned < 0 ? 6 : 0;
    for (size_t i = 0; i < pixels; i++) {
        float *rgb = view + 3 * i;
        float most = rgb[0] > rgb[1] ? rgb[0] : rgb[1], least = rgb[0] < rgb[1] ? rgb[0] : rgb[1];
        most = most > rgb[2] ? most : rgb[2];
        least = least < rgb[2] ? least : rgb[2];
        float spread = most - least, hue = hue_of(rgb, most, spread) + turned;
        hue -= hue >= 6 ? 6 : 0;
        hue += hue < 0 ? 6 : 0;
        rgb[0] = channel_of(hue, 5, most, spread);
        rgb[1] = channel_of(hue, 3, most, spread);
        rgb[2] = channel_of(hue, 1, most, spread);
    }
}

void color_grey(float *view, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        float grey = clamp_unit(luma(view + 3 * i));
        for (int c = 0; c < 3; c++)
            view[3 * i + (size_t)c] = grey;
    }
}
