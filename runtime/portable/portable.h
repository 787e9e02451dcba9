/* portable.h: what a program's runtime and a library of a model (amdimc --emit=library) have in common:
 * random numbers, layouts, initial values, the optimiser's arithmetic, views of pictures.
 *
 * Nothing here allocates, opens a file, starts a thread or keeps anything between calls: memory is the
 * caller's, and of the C library memcpy, memset and functions of math.h are all that is wanted. amdimc takes
 * these sources apart and puts what a library reaches into its one C file (compiler/library/amalgamate.c),
 * so: a declaration is an item of its own, with its comment right above it; names mean the same in all files,
 * those of templates/ included; there is no conditional compilation but guards. */
#ifndef PORTABLE_H
#define PORTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- rng.c: random numbers by address ---- */

/* Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). What is drawn depends on
 * (seed, epoch or step, image, view, purpose) alone, not on what was drawn before. */
typedef enum {
    RANDOM_INIT,     /* initial weights: index = tensor */
    RANDOM_ORDER,    /* an epoch's order of the images */
    RANDOM_SHARED,   /* what an image's views share: the flip */
    RANDOM_VIEW,     /* an image's augmentation in one view */
    RANDOM_LOCATION, /* a step's source locations: index = row of AmdimStep.locations */
    RANDOM_PICTURE,  /* built-in pictures */
    RANDOM_BENCH,    /* made-up input */
    RANDOM_PROBE,
    RANDOM_SELFCHECK,
    RANDOM_MORE, /* of an image's view, too: whether it is cropped, its blur and solarizing */
} RandomPurpose;
typedef struct {
    uint32_t key[2], counter[4], word[4];
    int used;
} Random;
/* time: the epoch or the step; index: the image or as the purpose says; view 0 or 1. */
Random random_at(uint64_t seed, RandomPurpose purpose, uint64_t time, uint64_t index, int view);
uint32_t random_u32(Random *r);
double random_unit(Random *r);                             /* uniform in [0, 1), 53 bits */
double random_between(Random *r, double low, double high); /* uniform */
uint32_t random_below(Random *r, uint32_t n);              /* uniform in 0..n-1, unbiased */
double random_normal(Random *r);
void random_skip(Random *r, int units); /* as if so many units had been drawn */
void random_order(uint64_t seed, uint64_t epoch, uint32_t *order, uint32_t n); /* a permutation of 0..n-1 */

/* ---- layout.c: PyTorch's order and ours ----
 *
 * PyTorch keeps a k x k convolution as (out, in, k, k) and pictures as (channels, rows, columns). Inside,
 * what is added up together lies together: weights as (k*k*in, out), pictures as pixels x channels. */

/* (outs, ins, taps) -> (taps, ins, outs). */
void layout_weight_inward(int outs, int ins, int taps, const float *torch, float *ours);

/* (taps, ins, outs) -> (outs, ins, taps). */
void layout_weight_outward(int outs, int ins, int taps, const float *ours, float *torch);

void planes_from_pixels(const float *pixels, int count, int channels, float *planes);
void pixels_from_planes(const float *planes, int count, int channels, float *pixels);

/* ---- init.c: initial values ----
 *
 * Drawn in PyTorch's order, each tensor from random numbers of its own, so they depend on neither the layout
 * inside nor the other tensors. */

void init_constant(size_t count, float value, float *ours);

/* Uniform in +-bound, of (outs, ins, taps) as it lies inside. */
void init_uniform(Random random, int outs, int ins, int taps, double bound, float *ours);

/* Ones on the diagonal of a 1x1 weight, where there are as many outputs as inputs. */
void init_diagonal(int outs, int ins, float *ours);

/* ---- optimize.c, update.h: Adam, and SGD, as torch.optim computes them ----
 *
 * In float32, L2 decay added to the gradient, or decoupled (AdamW): the parameter shrinks by rate * decay.
 * Elements are independent of each other. */

typedef struct {
    double beta1, beta2, eps, weight_decay;
    bool decoupled;
} AdamRule;

/* Adam's numbers of one step, worked out once: the first moment's bias correction is in the rate; new: 1 -
 * beta, the weight of what is new. */
typedef struct {
    float rate, decay, beta2, new1, new2, eps, root_correction;
    float keep; /* of the parameter */
} AdamStep;

/* Steps count from 0. */
AdamStep adam_step(AdamRule rule, double lr, uint64_t step);

void sgd_momentum(size_t count, float *params, const float *gradient, float *moment, float rate,
                  float momentum, float decay);
void sgd_plain(size_t count, float *params, const float *gradient, float rate, float decay);

/* ---- resize.c: bicubic, as Pillow does ----
 *
 * Views are (size, size, channels) floats in 0..1; channels are 1 or 3. */

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

/* Resizes a box of one picture, whose rows come from the top. Size, channels and buffers are the caller's:
 * begin and end of both axes (size), weight (size, resizer_taps), sum (size), row (size, channels). */
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

/* The most taps of a pixel, where the longest side of a box is `longest`. */
int resizer_taps(int longest, int size);

/* Cuts the box out, resizes it, and gives the window of that in 0..1. First: says what it wants to see. */
void resizer_aim(Resizer *z, Box box, Window window);

void resizer_begin(Resizer *z, float *out);

/* Row y of those wanted, values 0..255, each in turn; `row` is the picture's from its first column on. */
void resizer_take(Resizer *z, int y, const float *row);

/* When all were there. */
void resizer_finish(Resizer *z);

/* ---- color.c: in place, results within 0..1, as torchvision defines them on tensors ---- */

void color_brightness(float *view, size_t pixels, int channels, float factor);

/* About the mean luma. */
void color_contrast(float *view, size_t pixels, int channels, float factor);

/* Of 3 channels, as those below. */
void color_saturation(float *view, size_t pixels, float factor);

/* In turns. */
void color_hue(float *view, size_t pixels, float shift);

void color_grey(float *view, size_t pixels);

/* ---- draws.c: a view's chances ----
 *
 * Of RANDOM_VIEW: translation, jitter, grey, and last the crop, which takes as many units as it has tries. Of
 * RANDOM_MORE: whether it is cropped, blur, whether it is solarized. All others take as many units whatever
 * comes out; for a step that is off, as many are to be skipped, so that one key of the spec does not change
 * what another draws. */

/* One unit. */
bool draw_chance(Random *r, double p);

typedef struct {
    bool on;
    int64_t dx, dy;
} Translation;

/* Three units. */
Translation draw_translation(Random *r, int max, double p);

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE, JITTERS };

typedef struct {
    bool on;
    float amount[JITTERS]; /* factors, and the hue's shift */
    int order[JITTERS];    /* in which they are applied */
} Jitter;

/* Eight units. `range` is by how much each may change. */
Jitter draw_jitter(Random *r, const double range[JITTERS], double p);

typedef struct {
    bool on;
    double sigma; /* pixels */
} Blur;

/* Two units. */
Blur draw_blur(Random *r, double least, double most, double p);

/* Of a picture of so many pixels: torchvision's random resized crop, ten tries, then the largest in the
 * middle.
 */
Box draw_crop(Random *r, const double scale[2], const double ratio[2], int width, int height);

/* ---- views.c: a view's steps ---- */

/* By whole pixels; uncovered ones are mirrored about the edge's, which is not repeated. */
void translate(const float *in, int size, int channels, int64_t dx, int64_t dy, float *out);

/* Factors of 1 and no shift of hue are left out. */
void jitter_colour(const Jitter *j, size_t pixels, float *view);

/* The same with one channel, in which saturation and hue do nothing. */
void jitter_grey(const Jitter *j, size_t pixels, float *view);

/* How far a Gaussian reaches from its middle, in pixels. */
int gaussian_radius(double sigma);

/* Weights of the middle and of the pixels 1 to radius away from it on either side, which add up to 1. */
void gaussian_weights(double sigma, int radius, float *weight);

/* Across and then down, mirrored about the edge's pixels. Room: weight (radius + 1), for a row with what it
 * mirrors (size + 2 * radius, channels), for a view. */
void blur_view(double sigma, int size, int channels, float *weight, float *row, float *before, float *view);

/* What is not below the threshold is inverted. */
void solarize_view(float *view, size_t pixels, int channels, float threshold);

/* (view - mean) / deviation, channel by channel. */
void normalise_view(float *view, size_t pixels, int channels, const float *mean, const float *deviation);

/* The whole picture resized so that its shorter side is the view's, and the middle of that. */
Window covering(int64_t size, int64_t width, int64_t height);

#endif
