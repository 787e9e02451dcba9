/* augment_internal.h: what augment.c is made of. Views are (size, size, channels) floats in 0..1 here;
 * channels are 1 or 3. */
#ifndef AUGMENT_INTERNAL_H
#define AUGMENT_INTERNAL_H

#include "runtime.h"

static inline float clamp_unit(float value)
{
    float above = value > 0 ? value : 0;
    return above < 1 ? above : 1;
}

/* ---- resize.c ---- */

/* How one axis is resampled: pixel i of the result is the sum over j in begin[i]..end[i]-1 of
 * weight[i * taps + j - begin[i]] times pixel j of the source. */
typedef struct {
    int *begin, *end; /* (size) */
    float *weight;    /* (size, taps) */
    int taps;
} Axis;

/* Buffers for results of size x size pixels, large enough for every picture; what is not needed is never
 * touched. */
typedef struct {
    int size, channels;
    Axis across, down;
    float *source_row; /* one row of the source as floats */
    float *row;        /* the same resampled: (size, channels) */
} Resizer;

typedef struct {
    int x, y, width, height;
} Box;

typedef struct {
    int64_t width, height; /* what the box is resized to */
    int64_t left, top;     /* where in it the size x size pixels of the result begin */
} Window;

bool resizer_init(Resizer *z, int size, int channels, Fault *f);
void resizer_free(Resizer *z);
/* Mirrors the picture left to right if told so, cuts the box out, resizes it bicubically as Pillow does, and
 * gives the window of that. */
void resize_window(Resizer *z, const Picture *p, bool mirrored, Box box, Window window, float *out);

/* ---- color.c: in place, results within 0..1 ---- */

void color_brightness(float *view, size_t pixels, int channels, float factor);
void color_contrast(float *view, size_t pixels, int channels, float factor); /* about the mean luma */
void color_saturation(float *view, size_t pixels, float factor);             /* of 3 channels, as the rest */
void color_hue(float *view, size_t pixels, float shift);                     /* in turns */
void color_grey(float *view, size_t pixels);

#endif
