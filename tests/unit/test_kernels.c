/* test_kernels.c: the float kernels of templates/kernels.h and vectors.h against the interpreter's naive
 * loops in double, over shapes that are no multiple of anything. Arrays are as long as their contents, so
 * that a sanitizer sees what reads past. */
#include "batchnorm.h"
#include "vectors.h"

#include "products.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- batch normalisation ---- */

/* Means that dwarf the deviations, as features have them: the mean's rounding must not show. */
static void batchnorm_keeps_its_digits(void **state)
{
    (void)state;
    enum { VIEWS = 2, SIDE = 7, CHANNELS = 5 };
    Single s;
    single_begin(&s, VIEWS, VIEWS * IMAGES);
    Op *op = graph_op(s.g, OP_BATCHNORM, (Mark){0}, "batchnorm");
    op->in[BATCHNORM_X] = single_map(&s, "x", SIDE, CHANNELS);
    op->in[BATCHNORM_WEIGHT] = single_vector(&s, "weight", CHANNELS);
    op->in[BATCHNORM_BIAS] = single_vector(&s, "bias", CHANNELS);
    op->out[0] = single_map(&s, "y", SIDE, CHANNELS);
    op->out[1] = graph_value(s.g, VALUE_TEMPORARY, "statistics", 3, (int[]){VIEWS, 2, CHANNELS});
    single_fill(&s);
    double *x = s.want->value[op->in[BATCHNORM_X]->id];
    for (size_t i = 0; i < value_count(op->in[BATCHNORM_X]); i++)
        x[i] = (float)(x[i] + 30.0 * (double)(i % CHANNELS));
    interpret(s.want);
    float *from = floats_of(&s, op->in[BATCHNORM_X]), *weight = floats_of(&s, op->in[BATCHNORM_WEIGHT]),
          *bias = floats_of(&s, op->in[BATCHNORM_BIAS]), *y = new_floats(value_count(op->out[0])),
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

/* By views the same numbers come of it as of all views at once, bit for bit, whatever channels are left over
 * by groups and by vectors, dx in dy's place, and the parts in any order. */
static void check_views(int channels, bool relu)
{
    enum { VIEWS = 2, ROWS_OF_VIEW = 37 };
    const Batchnorm b = {VIEWS, ROWS_OF_VIEW, channels};
    const size_t count = (size_t)VIEWS * ROWS_OF_VIEW * (size_t)channels;
    float *x = new_floats(count), *dy[2], *y[2], *numbers[2], *statistics[2];
    double *partial = calloc((size_t)VIEWS * 2 * (size_t)channels, sizeof *partial);
    assert_non_null(partial);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)((i * 2654435761u) % 1000) / 500 - 1;
    for (int way = 0; way < 2; way++) {
        dy[way] = new_floats(count);
        y[way] = new_floats(count);
        numbers[way] =
            new_floats((size_t)channels * 6); /* weight, bias, running mean and variance, dweight, dbias */
        statistics[way] = new_floats((size_t)VIEWS * 2 * (size_t)channels);
        for (size_t i = 0; i < count; i++)
            dy[way][i] = (float)((i * 40503u) % 1000) / 500 - 1;
        for (int i = 0; i < 6 * channels; i++)
            numbers[way][i] = 1 + (float)(i % 7) / 8;
        float *const n = numbers[way];
        const BatchnormJob j = {.x = x,
                                .weight = n,
                                .bias = n + channels,
                                .running_mean = n + 2 * channels,
                                .running_var = n + 3 * channels,
                                .y = y[way],
                                .statistics = statistics[way],
                                .partial = (float *)(void *)partial};
        const BatchnormGradJob g = {.dy = dy[way],
                                    .x = x,
                                    .weight = n,
                                    .statistics = statistics[way],
                                    .mask = y[way],
                                    .dx = dy[way],
                                    .dweight = n + 4 * channels,
                                    .dbias = n + 5 * channels,
                                    .partial = (float *)(void *)partial};
        const int parts = BATCHNORM_PARTS(channels);
        for (int part = 0; part < parts && way == 0; part++)
            batchnorm_channels(b, relu, &j, batchnorm_first(channels, part),
                               batchnorm_first(channels, part + 1));
        for (int part = 0; part < parts && way == 0; part++)
            batchnorm_grad_channels(b, relu, &g, batchnorm_first(channels, part),
                                    batchnorm_first(channels, part + 1));
        for (int part = VIEWS * parts; part-- > 0 && way == 1;)
            batchnorm_view(b, relu, &j, part);
        if (way == 1)
            batchnorm_end(b, &j);
        for (int part = VIEWS * parts; part-- > 0 && way == 1;)
            batchnorm_grad_part(b, relu, &g, part);
        if (way == 1)
            batchnorm_grad_end(b, &g);
    }
    assert_memory_equal(y[0], y[1], count * sizeof(float));
    assert_memory_equal(dy[0], dy[1], count * sizeof(float));
    assert_memory_equal(numbers[0], numbers[1], (size_t)channels * 6 * sizeof(float));
    for (int way = 0; way < 2; way++) {
        free(dy[way]);
        free(y[way]);
        free(numbers[way]);
        free(statistics[way]);
    }
    free(partial);
    free(x);
}

static void batchnorm_by_views_is_the_same(void **state)
{
    (void)state;
    static const int channels[] = {1, 5, 16, 20, 32, 40, 64, 72, 96, 131};
    for (size_t i = 0; i < COUNT(channels); i++) {
        check_views(channels[i], false);
        check_views(channels[i], true);
    }
}

/* Panels of a matrix and of its transposed, whole and cut at both ends. */
static void panels_hold_the_matrix(void **state)
{
    (void)state;
    static const int sizes[] = {1, 3, 16, 19, 40, 64};
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t k = 0; k < COUNT(sizes); k++) {
            const int depth = sizes[i], columns = sizes[k], panels = PANELS(columns);
            const size_t count = (size_t)depth * (size_t)columns,
                         room = (size_t)(panels * PANEL_FLOATS(depth));
            float *w = new_floats(count), *turned = new_floats(count), *packed = new_floats(room),
                  *packed_turned = new_floats(room);
            for (int row = 0; row < depth; row++)
                for (int column = 0; column < columns; column++)
                    w[row * columns + column] = turned[column * depth + row] = (float)(row * 100 + column);
            for (int panel = 0; panel < panels; panel++) {
                pack_panel(w, depth, columns, 2, panel, packed);
                pack_panel_transposed(turned, depth, columns, 2, panel, packed_turned);
            }
            for (int row = 0; row < depth; row++)
                for (int column = 0; column < panels * PANEL; column++) {
                    const size_t at = (size_t)(column / PANEL * PANEL_FLOATS(depth)) + (size_t)row * PANEL +
                                      (size_t)column % PANEL;
                    const float want = column < columns ? 2 * w[row * columns + column] : 0;
                    assert_float_equal(packed[at], want, 0);
                    assert_float_equal(packed_turned[at], want, 0);
                }
            free(w);
            free(turned);
            free(packed);
            free(packed_turned);
        }
}

/* Of NaN a ReLU must not make 0, or a dead network trains on with a finite loss. */
static void relu_shows_nan(void **state)
{
    (void)state;
    float x[LANES], y[LANES];
    for (int i = 0; i < LANES; i++)
        x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? -1 : 2;
    tail_vector(TAIL_RELU, y, load(x), NULL, NULL, NULL);
    for (int i = 0; i < LANES; i++) {
        const float number = tail_number(TAIL_RELU, x[i], 0, 0, 0);
        assert_true(i % 3 == 0 ? isnan(y[i]) : y[i] == (i % 3 == 1 ? 0 : 2));
        assert_memory_equal(&number, &y[i], isnan(number) ? 0 : sizeof number);
        assert_int_equal(isnan(number), isnan(y[i]));
    }
    assert_false(signbit(tail_number(TAIL_RELU, -0.0f, 0, 0, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels_hold_the_matrix),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolutions_gradients_of_x),
        cmocka_unit_test(convolutions_gradients_of_weights),
        cmocka_unit_test(batchnorm_keeps_its_digits),
        cmocka_unit_test(batchnorm_by_views_is_the_same),
        cmocka_unit_test(relu_shows_nan),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
