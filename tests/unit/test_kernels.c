/* test_kernels.c: the float kernels of templates/kernels.h and winograd.h against the interpreter's naive
 * loops in double, over shapes that are no multiple of anything. Arrays are as long as their contents, so
 * that a sanitizer sees what reads past. */
#include "batchnorm.h"
#include "winograd.h"

#include "products.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sums of up to 4 * 4 * 48 products of order 1. */
#define FILTERED_TOLERANCE 2e-5

/* As much as the kernels use. */

static float *filtered_scratch(const Single *s, const Op *op, Winograd w)
{
    (void)s, (void)op;
    const int rows = depth_of(w) + PANELS(w.c.out) * PANEL;
    return new_floats((size_t)square_of(w) * TILE_SUM_BLOCK * (size_t)rows);
}

static float *filtered_points(const Single *s, const Op *op, Winograd w)
{
    (void)s;
    const int depth = depth_of(w), out = w.c.out;
    const int floats = op->kind == OP_CONV          ? PANELS(out) * PANEL * depth
                       : op->kind == OP_CONV_GRAD_X ? PANELS(depth) * PANEL * out
                                                    : depth * out;
    return new_floats((size_t)square_of(w) * (size_t)floats);
}

#include "filtered.h"

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
    const BatchnormJob j = {.x = from,
                            .weight = weight,
                            .bias = bias,
                            .running_mean = mean,
                            .running_var = var,
                            .y = y,
                            .statistics = statistics};
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
        cmocka_unit_test(filtered_convolutions),
        cmocka_unit_test(batchnorm_keeps_its_digits),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
