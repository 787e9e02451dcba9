/* products.h: convolutions and their gradients against the interpreter's naive loops in double, over shapes
 * that are no multiple of anything, by the products that the test includes before: vectors.h or tiles.h.
 * Arrays are as long as their contents, so that a sanitizer sees what reads past. */
#ifndef PRODUCTS_H
#define PRODUCTS_H

#include "packed.h"
#include "shapes.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

/* Sums of up to 25 * 33 products of order 1, in float; of two parts for a float, with a mantissa of 16 bits.
 */
#if defined PARTS_OF_FLOAT && PARTS_OF_FLOAT < 3
#define TOLERANCE 4e-5
static const Precision precision = PRECISION_BFLOAT16X3;
#else
#define TOLERANCE 3e-6
static const Precision precision = PRECISION_FLOAT32;
#endif

static void expect_near(const Single *s, const Value *v, float *got, const char *what)
{
    expect_within(TOLERANCE, s, v, got, what);
}

/* As much as the compiler gives a worker; vectors need none. */
static float *scratch_of(Single *s)
{
    s->spec.target.tiles = MATRIX_TILES;
    s->spec.target.precision = precision;
    const size_t floats = single_plan(s, MATRIX_TILES ? "tiles" : "direct").worker_floats;
    return floats ? new_floats(floats) : NULL;
}

/* All parts of dw in one order, in blocks of rows and columns. */
static void run_grad_w(Conv c, const ConvGradWJob *j, float *scratch)
{
#if MATRIX_TILES
    enum { CUTS = 2 };
    for (int part = 0; part < CUTS * CUTS; part++)
        conv_grad_w_tiles(c, j, scratch, CUTS, CUTS, part);
#else
    const int threads = 1 + c.out % 7; /* any */
    for (int part = 0; part < grad_w_parts(c, threads); part++)
        conv_grad_w_part(c, j, scratch, threads, part);
#endif
}

/* Pixels in two pieces, the first in the middle of an image: pieces need not begin with one. */
static void run_conv(Conv c, const ConvJob *j, float *scratch, int tail)
{
    const int pixels = c.images * c.out_side * c.out_side;
    conv_pixels(c, j, scratch, tail, 0, pixels / 2);
    conv_pixels(c, j, scratch, tail, pixels / 2, pixels);
}

static void check_conv(Conv c, const char *what, bool whole_tail)
{
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_conv(&s, c, whole_tail);
    single_run(&s);
    float *x = floats_of(&s, op->in[CONV_X]), *weight = floats_of(&s, op->in[CONV_WEIGHT]),
          *packed = packed_forward(c, weight);
    float *bias = floats_of(&s, op->in[CONV_BIAS]);
    float *y = whole_tail ? floats_of(&s, op->in[CONV_ADDEND]) : new_floats(value_count(op->out[0]));
    const ConvJob j = {
        .x = x, .weight = weight, .bias = bias, .addend = whole_tail ? y : NULL, .y = y, .packed = packed};
    float *scratch = scratch_of(&s);
    run_conv(c, &j, scratch, whole_tail ? TAIL_BIAS | TAIL_ADD | TAIL_RELU : 0);
    free(scratch);
    expect_near(&s, op->out[0], y, what);
    free(x);
    free(weight);
    free(packed);
    free(bias);
    single_end(&s);
}

static void check_conv_plain(Conv c, const char *what)
{
    check_conv(c, what, false);
}

/* The sum is formed in place, as the planner has it. */
static void check_conv_with_tail(Conv c, const char *what)
{
    check_conv(c, what, true);
}

static void check_grad_x(Conv c, const char *what, bool whole_tail)
{
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_x(&s, c, whole_tail);
    single_run(&s);
    float *dy = floats_of(&s, op->in[CONV_GRAD_X_DY]), *weight = floats_of(&s, op->in[CONV_GRAD_X_WEIGHT]),
          *packed = packed_backward(c, weight);
    float *mask = floats_of(&s, op->in[CONV_GRAD_X_MASK]);
    float *addend = floats_of(&s, op->in[CONV_GRAD_X_ADDEND]), *dx = new_floats(value_count(op->out[0]));
    const ConvGradXJob j = {
        .dy = dy, .weight = weight, .addend = addend, .mask = mask, .dx = dx, .packed = packed};
    const int tail = whole_tail ? TAIL_ADD | TAIL_MASK : 0;
    float *scratch = scratch_of(&s);
    conv_grad_x_images(c, &j, scratch, tail, 0, 1);
    conv_grad_x_images(c, &j, scratch, tail, 1, c.images);
    free(scratch);
    expect_near(&s, op->out[0], dx, what);
    free(dy);
    free(weight);
    free(packed);
    free(mask);
    free(addend);
    single_end(&s);
}

static void check_grad_x_plain(Conv c, const char *what)
{
    check_grad_x(c, what, false);
}

static void check_grad_x_with_tail(Conv c, const char *what)
{
    check_grad_x(c, what, true);
}

static void check_grad_w(Conv c, const char *what, int slices)
{
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_w(&s, c);
    single_run(&s);
    const size_t count = value_count(op->out[0]);
    float *x = floats_of(&s, op->in[CONV_GRAD_W_X]), *dy = floats_of(&s, op->in[CONV_GRAD_W_DY]),
          *dw = new_floats(count), *partial = new_floats(count * (size_t)slices);
    const ConvGradWJob j = {.x = x, .dy = dy, .dw = dw, .partial = partial};
    float *scratch = scratch_of(&s);
    if (slices == 1)
        run_grad_w(c, &j, scratch);
    for (int slice = 0; slices > 1 && slice < slices; slice++)
        conv_grad_w_slice(c, &j, scratch, slice, slices);
    for (int part = 0; slices > 1 && part < 2; part++)
        sum_slices(partial, slices, count, 1, NULL, dw, part, 2);
    free(scratch);
    expect_near(&s, op->out[0], dw, what);
    free(x);
    free(dy);
    free(partial);
    single_end(&s);
}

static void check_grad_w_whole(Conv c, const char *what)
{
    check_grad_w(c, what, 1);
}

static void check_grad_w_sliced(Conv c, const char *what)
{
    check_grad_w(c, what, 2);
}

/* ---- tests of every kind of products ---- */

static void convolutions(void **state)
{
    (void)state;
    each_conv(check_conv_plain);
    each_conv(check_conv_with_tail);
}

static void convolutions_gradients_of_x(void **state)
{
    (void)state;
    each_conv(check_grad_x_plain);
    each_conv(check_grad_x_with_tail);
}

static void convolutions_gradients_of_weights(void **state)
{
    (void)state;
    each_conv(check_grad_w_whole);
    each_conv(check_grad_w_sliced);
    /* More than a block of pixels, with an odd rest. */
    check_grad_w((Conv){IMAGES, 20, 5, 19, 17, 2, 1}, "several blocks of pixels", 1);
}

#endif
