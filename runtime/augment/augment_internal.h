/* augment_internal.h: what augment.c is made of. Views are (size, size, channels) floats in 0..1 here;
 * channels are 1 or 3. */
#ifndef AUGMENT_INTERNAL_H
#define AUGMENT_INTERNAL_H

#include "runtime.h"

enum { KEPT = 32 << 10 }; /* bytes of a buffer that stay for the next picture */

static inline float clamp_unit(float value)
{
    float above = value > 0 ? value : 0;
    return above < 1 ? above : 1;
}

/* ---- resize.c ---- */

/* How one axis is resampled: pixel i of the result is a weighted sum over pixels begin[i]..end[i]-1 of the
 * source. */
typedef struct {
    int64_t in, out, first; /* pixels of the source, of the result; of the latter the first wanted */
    double step, wide;      /* source pixels per result pixel; the same, at least 1 */
    int taps;               /* end - begin is no more */
    int *begin, *end;       /* (size) */
} Axis;

typedef struct {
    int x, y, width, height;
} Box;

typedef struct {
    int64_t width, height; /* what the box is resized to */
    int64_t left, top;     /* where in it the size x size pixels of the result begin */
} Window;

/* Resizes a box of one picture, whose rows come from the top. Buffers are large enough for every picture;
 * what is not needed is never touched. */
typedef struct {
    int size, channels;
    Axis across, down;
    float *weight; /* across: (size, taps) */
    double *sum;   /* down: (size) what weights have to be divided by, before they add up to 1 */
    float *row;    /* one row resampled: (size, channels) */
    Box box;
    float *out; /* (size, size, channels) */
    int oldest; /* the first row of the result that may still want one */
    /* Of the picture, what it wants to see. */
    int first_row, end_row, first_column, end_column;
} Resizer;

bool resizer_init(Resizer *z, int size, int channels, Fault *f);
void resizer_free(Resizer *z);
/* Cuts the box out, resizes it bicubically as Pillow does, and gives the window of that in 0..1: */
void resizer_aim(Resizer *z, Box box, Window window); /* says what it wants to see */
size_t resizer_bytes(const Resizer *z);               /* that it then holds */
void resizer_begin(Resizer *z, float *out);
/* Row y of those wanted, values 0..255, each in turn; `row` is the picture's from its first column on. */
void resizer_take(Resizer *z, int y, const float *row);
void resizer_finish(Resizer *z);  /* when all were there */
void resizer_release(Resizer *z); /* large buffers go back to the system, whether or not it began */

/* ---- color.c: in place, results within 0..1 ---- */

void color_brightness(float *view, size_t pixels, int channels, float factor);
void color_contrast(float *view, size_t pixels, int channels, float factor); /* about the mean luma */
void color_saturation(float *view, size_t pixels, float factor);             /* of 3 channels, as the rest */
void color_hue(float *view, size_t pixels, float shift);                     /* in turns */
void color_grey(float *view, size_t pixels);

#endif
