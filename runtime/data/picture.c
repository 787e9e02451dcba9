/* picture.c: pixels in memory, and pictures that are handed on row by row. */
#include "runtime.h"

#include <stdlib.h>

enum { MAX_SIDE = PICTURE_SIDE };

void picture_free(Picture *p)
{
    free(p->pixels);
    *p = (Picture){0};
}

bool picture_check_sides(int width, int height, Fault *f)
{
    if (width >= 1 && height >= 1 && width <= MAX_SIDE && height <= MAX_SIDE)
        return true;
    return fault(f, "a picture of %d x %d pixels: a side must be 1 to %d", width, height, MAX_SIDE);
}

bool picture_reserve(Picture *p, int width, int height, int channels, Fault *f)
{
    if (channels != 1 && channels != 3)
        return fault(f, "pictures have 1 or 3 channels, not the %d of the spec's input.channels", channels);
    if (!picture_check_sides(width, height, f))
        return false;
    uint64_t needed = (uint64_t)width * (uint64_t)height * (uint64_t)channels;
    if (needed > p->capacity) {
        uint8_t *pixels = needed <= SIZE_MAX ? realloc(p->pixels, (size_t)needed) : NULL;
        if (!pixels)
            return fault(f, "out of memory: %.1f MiB for a picture of %d x %d pixels; make it smaller",
                         (double)needed / MEBIBYTE, width, height);
        p->pixels = pixels;
        p->capacity = (size_t)needed;
    }
    p->width = width;
    p->height = height;
    p->channels = channels;
    return true;
}

static void colour_to_grey(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *rgb = pixels + 3 * i;
        pixels[i] = (uint8_t)((299u * rgb[0] + 587u * rgb[1] + 114u * rgb[2] + 500) / 1000);
    }
}

static void grey_to_colour(uint8_t *pixels, size_t count)
{
    for (size_t i = count; i-- > 0;)
        pixels[3 * i] = pixels[3 * i + 1] = pixels[3 * i + 2] = pixels[i];
}

void pixels_convert(uint8_t *pixels, size_t count, int before, int channels)
{
    if (before > channels)
        colour_to_grey(pixels, count);
    else if (before < channels)
        grey_to_colour(pixels, count);
}

bool picture_convert(Picture *p, int channels, Fault *f)
{
    int before = p->channels;
    if (!picture_reserve(p, p->width, p->height, channels, f))
        return false;
    pixels_convert(p->pixels, (size_t)p->width * (size_t)p->height, before, channels);
    return true;
}

void picture_hand_on(const Picture *p, RowSink *rows)
{
    size_t row = (size_t)p->width * (size_t)p->channels;
    rows->begin(rows, p->width, p->height);
    for (int y = 0; y < p->height; y++)
        rows->take(rows, y, p->pixels + (size_t)y * row);
    rows->end(rows);
}

bool picture_read_rows(const Dataset *d, uint32_t i, int view, int channels, Picture *p, RowSink *rows,
                       Fault *f)
{
    p->rows = rows;
    p->streamed = false;
    bool done = (view > 0 && d->read_second ? d->read_second : d->read)(d, i, channels, p, f);
    p->rows = NULL;
    if (done && !p->streamed)
        picture_hand_on(p, rows);
    return done;
}
