/* test_winograd.c: convolutions and their gradients by Winograd's F(m, r) (templates/winograd.h)
 * against the interpreter, in the memory that the compiler plans for them. */
#include "winograd.h"

#include "kernels/kernel.h"
#include "single.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

/* Sums of up to 4 * 4 * 48 products of order 1. */
#define WINOGRAD_TOLERANCE 2e-5
enum { IMAGES = 3 };

/* For tiles of w.outputs, whether the compiler would choose them or not. */
static Plan plan_of(const Single *s, const Op *op, Winograd w)
{
    Plan p = {.outputs = w.outputs};
    winograd_plan(s->g, op, &p);
    return p;
}

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
                    f(winograd_of(c, outputs), what);
                }
}

static void check_winograd(Winograd w, const char *what)
{
    Single s;
    const Conv c = w.c;
    single_begin(&s, 1, c.images);
    Op *op = single_conv(&s, c, true);
    const Plan p = plan_of(&s, op, w);
    single_run(&s);
    float *x = floats_of(&s, op->in[CONV_X]), *weight = floats_of(&s, op->in[CONV_WEIGHT]),
          *bias = floats_of(&s, op->in[CONV_BIAS]), *y = floats_of(&s, op->in[CONV_ADDEND]),
          *scratch = new_floats(p.worker_floats), *packed = new_floats(p.arena_floats);
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
    Op *op = single_grad_x(&s, c, true);
    const Plan p = plan_of(&s, op, w);
    single_run(&s);
    float *dy = floats_of(&s, op->in[CONV_GRAD_X_DY]), *weight = floats_of(&s, op->in[CONV_GRAD_X_WEIGHT]),
          *dx = floats_of(&s, op->in[CONV_GRAD_X_ADDEND]), *mask = floats_of(&s, op->in[CONV_GRAD_X_MASK]),
          *scratch = new_floats(p.worker_floats), *packed = new_floats(p.arena_floats);
    const ConvGradXJob j = {
        .dy = dy, .weight = weight, .addend = dx, .mask = mask, .dx = dx, .packed = packed};
    for (int panel = 0; panel < PANELS(depth_of(w)); panel++)
        winograd_pack_transposed(w, weight, panel, packed);
    for (int part = 0; part < 2; part++)
        winograd_grad_x(w, &j, dy, scratch, TAIL_ADD | TAIL_MASK, part ? 1 : 0, part ? c.images : 1);
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
    Op *op = single_grad_w(&s, c);
    const Plan p = plan_of(&s, op, w);
    single_run(&s);
    float *x = floats_of(&s, op->in[CONV_GRAD_W_X]), *dy = floats_of(&s, op->in[CONV_GRAD_W_DY]),
          *dw = new_floats(value_count(op->out[0])), *partial = new_floats(p.arena_floats),
          *scratch = new_floats(p.worker_floats);
    ConvGradWJob j = {.x = x, .dy = dy, .dw = dw, .partial = partial};
    const int parts = p.parts;
    for (int time = 0; time < 2; time++) {
        j.more = time > 0;
        for (int part = 0; part < parts; part++)
            winograd_grad_w(w, &j, scratch, part, parts);
        for (int part = 0; part < parts; part++)
            winograd_grad_w_end(w, &j, part, parts);
    }
    for (size_t i = 0; i < value_count(op->out[0]); i++) /* made, and added to itself */
        dw[i] /= 2;
    expect_within(WINOGRAD_TOLERANCE, &s, op->out[0], dw, what);
    free(x);
    free(dy);
    free(partial);
    free(scratch);
    single_end(&s);
}

static void convolutions_by_tiles(void **state)
{
    (void)state;
    each_winograd(check_winograd);
}

static void gradients_of_x_by_tiles(void **state)
{
    (void)state;
    each_winograd(check_winograd_grad_x);
}

static void gradients_of_weights_by_tiles(void **state)
{
    (void)state;
    each_winograd(check_winograd_grad_w);
}

/* 14 x 14 outputs are 16 tiles of 3 x 3, 4 over either edge with 12 of 16 products, 1 over both with 9. Of 12
 * images they fill a kernel's tiles of 12 rows; of 11 some rows are filled up. */
static void products_of_tiles_over_the_edge(void **state)
{
    (void)state;
    Single s;
    single_begin(&s, 1, 12);
    const Op *op = single_conv(&s, (Conv){12, 30, 16, 14, 16, 4, 2}, false);
    assert_int_equal(winograd_outputs(op), 3);
    assert_int_equal(winograd_filled_tiles(op, 12), (192 * 16 + 2 * 48 * 12 + 12 * 9) / 16);
    assert_int_equal(winograd_filled_tiles(op, 11), (180 * 16 + 2 * 48 * 12 + 12 * 9) / 16);
    arena_free(s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_by_tiles),
        cmocka_unit_test(gradients_of_x_by_tiles),
        cmocka_unit_test(gradients_of_weights_by_tiles),
        cmocka_unit_test(products_of_tiles_over_the_edge),
    };
    return cmocka_run_group_tests_name("winograd", tests, NULL, NULL);
}
