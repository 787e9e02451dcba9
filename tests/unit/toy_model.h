/* toy_model.h: a model small enough to check by hand, so that the runtime can be tested without the compiler.
 *
 * Two views of four 3x8x8 pictures, five trained tensors and two running statistics, one pair, 3-to-1, whose
 * source is a location. Let u be the mean of channel 0 over all images at the pixel that each drawn location
 * begins at, t a trained tensor's index and p its elements. Then
 *
 *     loss of the pair = sum over t of  1/2 mean (p - u*(t + 1))^2
 *     penalty P        = sum over t of  mean p^2
 *     objective        = the pair's loss + TOY_PENALTY * P
 *
 * f_1 of an image is encoder.0, spread evenly over the picture: the bias plus the mean over the taps of the
 * weights times the mean colour. phi_1 is f_1, and phi_3 at a location is the colour there, repeated.
 * The running mean takes the mean colour of each view in turn, repeated, with momentum 0.1. */
#ifndef TOY_MODEL_H
#define TOY_MODEL_H

#include "amdim.h"

enum {
    TOY_VIEWS = 2,
    TOY_BATCH = 4,
    TOY_IMAGES = TOY_VIEWS * TOY_BATCH,
    TOY_CHANNELS = 3,
    TOY_SIZE = 8,
    TOY_PICTURE = TOY_SIZE * TOY_SIZE * TOY_CHANNELS,
    TOY_DIM = 6,
    TOY_KERNEL = 2,
    TOY_FEATURES = 4,
    TOY_SIDE = 3, /* of the pair's source scale; location (y, x) begins at pixel (2y, 2x) */
};
#define TOY_PENALTY 0.05

/* Of the operations that a step tells of as products; encoder.0 runs once, embed.1.bn once a view. */
#define TOY_FLOP      (2.0 * TOY_IMAGES * TOY_DIM * TOY_CHANNELS * TOY_KERNEL * TOY_KERNEL)
#define TOY_VIEW_FLOP (2.0 * TOY_BATCH * TOY_DIM)

enum {
    TOY_WEIGHT, /* the places in toy_model.tensor */
    TOY_BIAS,
    TOY_SHORTCUT,
    TOY_BN_WEIGHT,
    TOY_BN_BIAS,
    TOY_TRAINED,
    TOY_RUNNING_MEAN = TOY_TRAINED,
    TOY_RUNNING_VAR,
    TOY_TENSORS,
};

/* Trained by Adam; a test of SGD changes a copy. */
extern const AmdimModel toy_model;

#endif
