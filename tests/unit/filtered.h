/* filtered.h: convolutions and their gradients that minimal filtering makes, or matrix tiles in its place,
 * against the interpreter, by the products that the test includes before. The test also says before what
 * memory they get, filtered_scratch() and filtered_points(), and how near they come, FILTERED_TOLERANCE. */
#ifndef FILTERED_H
#define FILTERED_H

#include "products.h"

/* For this machine, so that what the compiler plans is for tiles, too. */
static const Spec native = {.target = {.march = {.v = "native"}, .threads = {.v = 3}}};

typedef void EachWinograd(Winograd w, const char *what);

/* Both numbers of taps and of outputs, strides 1 to 3; tiles that fill the map and that hang over; channels
 * that fill panels and that do not; blocks of tiles that are full and that are not. */
static void each_winograd(EachWinograd *f)
{
    for (int taps = 2; taps <= 3; taps++)
        for (int stride = 1; stride <= 3; stride++)
            for (int outputs = 2; outputs <= 3; outputs++)
                for (int out_side = 1; out_side <= 7; out_side++) {
                    const int kernel = taps * stride,
                              side = (out_side - 1) * stride + kernel + out_side % stride;
                    const Conv c = {IMAGES, side,  stride == 3 ? 16 : 48, out_side, outputs == 2 ? 48 : 64,
                                    kernel, stride};
                    char what[128];
                    snprintf(what, sizeof what, "F(%d, %d), stride %d, side %d to %d", outputs, taps, stride,
                             side, out_side);
                    f((Winograd){c, outputs}, what);
                }
}

static void check_winograd(Winograd w, const char *what)
{
    Single s;
    const Conv c = w.c;
    single_begin(&s, 1, c.images);
    Op *op = single_conv(&s, c, true);
    op->winograd = w.outputs;
    s.net.spec = &native;
    single_run(&s);
    float *x = floats_of(&s, op->in[0]), *weight = floats_of(&s, op->in[1]), *bias = floats_of(&s, op->in[2]),
          *y = floats_of(&s, op->in[3]), *scratch = filtered_scratch(&s, op, w),
          *packed = filtered_points(&s, op, w);
    const ConvJob j = {.x = x, .weight = weight, .bias = bias, .addend = y, .y = y, .packed = packed};
    assert_int_equal(tiles_of(w), winograd_tiles(op));
    const int tiles = c.images * tiles_of(w), tail = TAIL_BIAS | TAIL_ADD | TAIL_RELU;
    for (int panel = 0; panel < PANELS(c.out); panel++)
        winograd_pack(w, weight, panel, packed);
    for (int half = 0; half < 2; half++)
        winograd_conv(w, &j, scratch, tail, piece(tiles, half, 2), piece(tiles, half + 1, 2));
    expect_within(FILTERED_TOLERANCE, &s, op->out[0], y, what);
    free(x);
    free(weight);
    free(bias);
    free(scratch);
    free(packed);
    single_end(&s);
}

static void check_winograd_grad_x(Winograd w, const char *what)
{
    Single s;
    const Conv c = w.c;
    single_begin(&s, 1, c.images);
    Op *op = single_grad_x(&s, c, true);
    op->winograd = w.outputs;
    s.net.spec = &native;
    single_run(&s);
    float *dy = floats_of(&s, op->in[0]), *weight = floats_of(&s, op->in[1]), *dx = floats_of(&s, op->in[2]),
          *mask = floats_of(&s, op->in[3]), *scratch = filtered_scratch(&s, op, w),
          *packed = filtered_points(&s, op, w);
    const ConvGradXJob j = {
        .dy = dy, .weight = weight, .addend = dx, .mask = mask, .dx = dx, .packed = packed};
    for (int panel = 0; panel < PANELS(depth_of(w)); panel++)
        winograd_pack_transposed(w, weight, panel, packed);
    for (int part = 0; part < 2; part++)
        winograd_grad_x(w, &j, scratch, TAIL_ADD | TAIL_MASK, part ? 1 : 0, part ? c.images : 1);
    expect_within(FILTERED_TOLERANCE, &s, op->out[0], dx, what);
    free(dy);
    free(weight);
    free(mask);
    free(scratch);
    free(packed);
    single_end(&s);
}

static void check_winograd_grad_w(Winograd w, const char *what)
{
    Single s;
    const Conv c = w.c;
    single_begin(&s, 1, c.images);
    Op *op = single_grad_w(&s, c);
    op->winograd = w.outputs;
    s.net.spec = &native;
    single_run(&s);
    float *x = floats_of(&s, op->in[0]), *dy = floats_of(&s, op->in[1]),
          *dw = new_floats(value_count(op->out[0])), *partial = filtered_points(&s, op, w),
          *scratch = filtered_scratch(&s, op, w);
    ConvGradWJob j = {.x = x, .dy = dy, .dw = dw, .partial = partial};
    const int parts = winograd_grad_w_parts(op, (int)native.target.threads.v);
    for (int time = 0; time < 2; time++) {
        j.more = time > 0;
        for (int part = 0; part < parts; part++)
            winograd_grad_w(w, &j, scratch, part, parts);
        for (int part = 0; part < parts; part++)
            winograd_grad_w_end(w, &j, part, parts);
    }
    for (size_t i = 0; i < value_count(op->out[0]); i++) /* made, and added to itself */
        dw[i] /= 2;
    expect_within(FILTERED_TOLERANCE, &s, op->out[0], dw, what);
    free(x);
    free(dy);
    free(partial);
    free(scratch);
    single_end(&s);
}

static void filtered_convolutions(void **state)
{
    (void)state;
    each_winograd(check_winograd);
    each_winograd(check_winograd_grad_x);
    each_winograd(check_winograd_grad_w);
}

#endif
