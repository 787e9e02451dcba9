/* test_kernels.c: the float kernels of templates/kernels.h and winograd.h against the interpreter's naive
 * loops in double, over shapes that are no multiple of anything. Arrays are as long as their contents, so
 * that a sanitizer sees what reads past. */
#include "winograd.h"

#include "products.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* By minimal filtering, sums of up to 4 * 4 * 48 products of order 1. */
#define WINOGRAD_TOLERANCE 2e-5

/* ---- the same by minimal filtering ---- */

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

static float *winograd_scratch(Winograd w)
{
    const int rows = depth_of(w) + PANELS(w.c.out) * PANEL;
    return new_floats((size_t)square_of(w) * TILE_SUM_BLOCK * (size_t)rows);
}

static void check_winograd(Winograd w, const char *what)
{
    Single s;
    const Conv c = w.c;
    single_begin(&s, 1, c.images);
    const Op *op = single_conv(&s, c, true);
    single_run(&s);
    float *x = floats_of(&s, op->in[0]), *weight = floats_of(&s, op->in[1]), *bias = floats_of(&s, op->in[2]),
          *y = floats_of(&s, op->in[3]), *scratch = winograd_scratch(w),
          *packed = new_floats((size_t)square_of(w) * PANELS(c.out) * depth_of(w) * PANEL);
    const ConvJob j = {.x = x, .weight = weight, .bias = bias, .addend = y, .y = y, .packed = packed};
    const int tiles = c.images * tiles_of(w), tail = TAIL_BIAS | TAIL_ADD | TAIL_RELU;
    for (int panel = 0; panel < PANELS(c.out); panel++)
        winograd_pack(w, weight, panel, packed);
    for (int half = 0; half < 2; half++)
        winograd_conv(w, &j, scratch, tail, piece(tiles, half, 2), piece(tiles, half + 1, 2));
    expect_within(WINOGRAD_TOLERANCE, &s, op->out[0], y, what);
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
    const Op *op = single_grad_x(&s, c, true);
    single_run(&s);
    float *dy = floats_of(&s, op->in[0]), *weight = floats_of(&s, op->in[1]), *dx = floats_of(&s, op->in[2]),
          *mask = floats_of(&s, op->in[3]), *scratch = winograd_scratch(w),
          *packed = new_floats((size_t)square_of(w) * PANELS(depth_of(w)) * c.out * PANEL);
    const ConvGradXJob j = {
        .dy = dy, .weight = weight, .addend = dx, .mask = mask, .dx = dx, .packed = packed};
    for (int panel = 0; panel < PANELS(depth_of(w)); panel++)
        winograd_pack_transposed(w, weight, panel, packed);
    for (int part = 0; part < 2; part++)
        winograd_grad_x(w, &j, scratch, TAIL_ADD | TAIL_MASK, part ? 1 : 0, part ? c.images : 1);
    expect_within(WINOGRAD_TOLERANCE, &s, op->out[0], dx, what);
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
    const Op *op = single_grad_w(&s, c);
    single_run(&s);
    float *x = floats_of(&s, op->in[0]), *dy = floats_of(&s, op->in[1]),
          *dw = new_floats(value_count(op->out[0])),
          *partial = new_floats((size_t)square_of(w) * depth_of(w) * c.out), *scratch = winograd_scratch(w);
    const ConvGradWJob j = {.x = x, .dy = dy, .dw = dw, .partial = partial};
    const int parts = MIN_OF(depth_of(w) / LINE, 3);
    for (int part = 0; part < parts; part++)
        winograd_grad_w(w, &j, scratch, part, parts);
    expect_within(WINOGRAD_TOLERANCE, &s, op->out[0], dw, what);
    free(x);
    free(dy);
    free(partial);
    free(scratch);
    single_end(&s);
}

/* 14 x 14 outputs are 16 tiles of 3 x 3, 4 over either edge with 12 of 16 products, 1 over both with 9. Of 12
 * images they fill a kernel's tiles of 12 rows; of 11 some rows are filled up. */
static void products_of_tiles_over_the_edge(void **state)
{
    (void)state;
    Single s;
    single_begin(&s, 1, 12);
    Op *op = single_conv(&s, (Conv){12, 30, 16, 14, 16, 4, 2}, false);
    op->winograd = 3;
    assert_int_equal(winograd_tiles(op), 25);
    assert_int_equal(winograd_filled_rows(op, 12), (192 * 16 + 2 * 48 * 12 + 12 * 9) / 16);
    assert_int_equal(winograd_filled_rows(op, 11), (180 * 16 + 2 * 48 * 12 + 12 * 9) / 16);
    arena_free(s.arena);
}

static void minimal_filtering(void **state)
{
    (void)state;
    each_winograd(check_winograd);
    each_winograd(check_winograd_grad_x);
    each_winograd(check_winograd_grad_w);
}

/* ---- batch normalisation ---- */

/* Means that dwarf the deviations, as features have them: the mean's rounding must not show. */
static void batchnorm_keeps_its_digits(void **state)
{
    (void)state;
    enum { VIEWS = 2, SIDE = 7, CHANNELS = 5 };
    Single s;
    single_begin(&s, VIEWS, VIEWS * IMAGES);
    Op *op = graph_op(s.g, OP_BATCHNORM, (Mark){0}, "batchnorm");
    op->in[0] = single_map(&s, "x", SIDE, CHANNELS);
    op->in[1] = single_vector(&s, "weight", CHANNELS);
    op->in[2] = single_vector(&s, "bias", CHANNELS);
    op->out[0] = single_map(&s, "y", SIDE, CHANNELS);
    op->out[1] = graph_value(s.g, VALUE_TEMPORARY, "statistics", 3, (int[]){VIEWS, 2, CHANNELS});
    single_fill(&s);
    double *x = s.want->value[op->in[0]->id];
    for (size_t i = 0; i < value_count(op->in[0]); i++)
        x[i] = (float)(x[i] + 30.0 * (double)(i % CHANNELS));
    interpret(s.want);
    float *from = floats_of(&s, op->in[0]), *weight = floats_of(&s, op->in[1]),
          *bias = floats_of(&s, op->in[2]), *y = new_floats(value_count(op->out[0])),
          *statistics = new_floats(value_count(op->out[1]));
    float mean[CHANNELS] = {0}, var[CHANNELS] = {1, 1, 1, 1, 1};
    const BatchnormJob j = {from, weight, bias, mean, var, y, statistics};
    const Batchnorm shape = {VIEWS, IMAGES * SIDE * SIDE, CHANNELS};
    batchnorm_channels(shape, false, &j, 0, 3);
    batchnorm_channels(shape, false, &j, 3, CHANNELS);

    const double *kept = s.want->value[op->out[1]->id];
    const double rows = IMAGES * SIDE * SIDE;
    for (int c = 0; c < CHANNELS; c++) { /* running statistics take the first view, then the second */
        double want_mean = 0, want_var = 1;
        for (int view = 0; view < VIEWS; view++) {
            const double inverse = kept[(2 * view + 1) * CHANNELS + c];
            want_mean += 0.1 * (kept[2 * view * CHANNELS + c] - want_mean);
            want_var += 0.1 * ((1 / (inverse * inverse) - 1e-5) * rows / (rows - 1) - want_var);
        }
        assert_true(fabs(mean[c] - want_mean) <= 1e-6 * (1 + fabs(want_mean)));
        assert_true(fabs(var[c] - want_var) <= 1e-6 * want_var);
    }
    expect_near(&s, op->out[0], y, "batchnorm");
    expect_near(&s, op->out[1], statistics, "its statistics");
    free(from);
    free(weight);
    free(bias);
    single_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolutions_gradients_of_x),
        cmocka_unit_test(convolutions_gradients_of_weights),
        cmocka_unit_test(products_of_tiles_over_the_edge),
        cmocka_unit_test(minimal_filtering),
        cmocka_unit_test(batchnorm_keeps_its_digits),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
