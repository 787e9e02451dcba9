/* test_tiles.c: products by matrix tiles (templates/tiles.h), by a unit in plain C, so that every machine
 * tests them. On a machine that has the unit, test_replay and test_step run it itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "plain_tiles.h"
#include "tiles.h"
#include "tile_sums.h"

#include "noise.h"
#include "kernels/kernel.h"
#include "products.h"

#include <math.h>

/* A float's three parts add up to it, whatever its exponent; of two it is 2^-17 off at most. */
static void parts_are_exact(void **state)
{
    (void)state;
    uint64_t noises = 3;
    for (int exponent = -90; exponent < 120; exponent++) {
        float number[2 * TILE];
        _Alignas(64) Part pair[PAIR_NUMBERS] = {0};
        for (int i = 0; i < 2 * TILE; i++)
            number[i] = ldexpf((float)noise(&noises), exponent);
        split(load(number), load(number + TILE), pair, PART_NUMBERS);
        for (int i = 0; i < 2 * TILE; i++) {
            double sum = 0;
            for (int part = 0; part < PARTS_OF_FLOAT; part++)
                sum += (double)plain_number(pair[part * 2 * TILE_NUMBERS + 2 * (i % TILE) + i / TILE]);
            assert_true(fabs(sum - (double)number[i]) <=
                        (PARTS_OF_FLOAT == 3 ? 0 : ldexp(1, -17) * fabsf(number[i])));
        }
    }
}

static void transposed_is_transposed(void **state)
{
    (void)state;
    _Alignas(64) Vec rows[TILE], columns[TILE];
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            rows[i][j] = (float)(i * TILE + j);
    transpose(rows, columns);
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            assert_true(columns[j][i] == (float)(i * TILE + j));
}

/* Products that do not fit the scratch memory at once: several blocks of pixels, more steps than are split
 * together, with more panels than sums wait for. */
static void large_products(void **state)
{
    (void)state;
    static const struct {
        Conv c;
        const char *what;
    } shape[] = {
        {{IMAGES, 9, 70, 9, 40, 1, 1}, "several blocks of pixels"},
        {{2, 9, 500, 9, 530, 1, 1}, "a packed matrix that is too large for blocks of a pair"},
        {{IMAGES, 7, 590, 7, 33, 1, 1}, "two rounds of steps"},
        {{2, 5, 545, 5, 530, 1, 1}, "two rounds of steps, two groups of panels"},
        {{IMAGES, 9, 64, 7, 64, 3, 1}, "patches of whole steps, in two rounds"},
        {{IMAGES, 8, 32, 4, 64, 2, 2}, "patches side by side"},
        {{2, 5, 290, 5, 270, 1, 1}, "more pairs of rows and of columns than go together"},
    };
    for (size_t i = 0; i < COUNT(shape); i++) {
        check_conv(shape[i].c, shape[i].what, true);
        check_grad_x(shape[i].c, shape[i].what, true);
        check_grad_w(shape[i].c, shape[i].what, 1);
        check_grad_w(shape[i].c, shape[i].what, 2);
    }
}

/* ---- gradients of weights in slices and by cells, of x without overlap ---- */

/* A convolution of kernel = stride, whose patches lie side by side. */
static const Conv side_by_side = {IMAGES, 10, 64, 5, 64, 2, 2};

static void gradient_of_x_pixel_by_pixel(void **state)
{
    (void)state;
    const Conv c = side_by_side;
    const int pixels = c.images * c.out_side * c.out_side;
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_x(&s, c, true);
    single_run(&s);
    float *dy = floats_of(&s, op->in[CONV_GRAD_X_DY]), *weight = floats_of(&s, op->in[CONV_GRAD_X_WEIGHT]),
          *dx = floats_of(&s, op->in[CONV_GRAD_X_ADDEND]), *mask = floats_of(&s, op->in[CONV_GRAD_X_MASK]),
          *packed = packed_backward(c, weight), *scratch = scratch_of(&s);
    const ConvGradXJob j = {.dy = dy, .addend = dx, .mask = mask, .dx = dx, .packed = packed};
    conv_grad_x_pixels(c, &j, scratch, TAIL_ADD | TAIL_MASK, 40, pixels);
    conv_grad_x_pixels(c, &j, scratch, TAIL_ADD | TAIL_MASK, 0, 40);
    expect_near(&s, op->out[0], dx, "patches side by side");
    free(dy);
    free(weight);
    free(mask);
    free(packed);
    free(scratch);
    single_end(&s);
}

/* In as many slices as the compiler plans, of which none is empty. */
static void check_slices(Conv c, int planned, const char *what)
{
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_w(&s, c);
    single_run(&s);
    s.spec.target.tiles = true;
    const int slices = single_plan(&s, "tiles").slices;
    assert_int_equal(slices, planned);
    const size_t count = value_count(op->out[0]);
    float *x = floats_of(&s, op->in[CONV_GRAD_W_X]), *dy = floats_of(&s, op->in[CONV_GRAD_W_DY]),
          *partial = new_floats((size_t)slices * count), *dw = new_floats(count), *scratch = scratch_of(&s);
    const ConvGradWJob j = {.x = x, .dy = dy, .dw = dw, .partial = partial};
    for (int part = SLICED_PARTS(c, slices) - 1; part >= 0; part--)
        conv_grad_w_sliced(c, &j, scratch, slices, part);
    for (int part = 0; part < 2; part++)
        end_slices(c, &j, slices, part, 2);
    expect_near(&s, op->out[0], dw, what);
    free(x);
    free(dy);
    free(partial);
    free(scratch);
    single_end(&s);
}

static void gradient_of_a_weight_in_slices(void **state)
{
    (void)state;
    check_slices((Conv){IMAGES, 9, 300, 9, 48, 1, 1}, 3, "slices and pairs of rows");
    check_slices((Conv){33, 1, 48, 1, 32, 1, 1}, 2, "as many slices as tiles, the last with a pixel");
}

/* Kernels of twice their stride: an image at once, and in bands; more channels of either map than go
 * together, and channels that do not fill a panel. */
static void check_cells(Conv c, const char *what)
{
    enum { SLICES = 2 };
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_w(&s, c);
    single_run(&s);
    const int slices = MIN_OF(SLICES, c.images);
    const size_t count = value_count(op->out[0]);
    float *x = floats_of(&s, op->in[CONV_GRAD_W_X]), *dy = floats_of(&s, op->in[CONV_GRAD_W_DY]),
          *dw = new_floats(count), *partial = new_floats((size_t)slices * count),
          *scratch = new_floats(tiles_cells_floats(s.g, op));
    ConvGradWJob j = {.x = x, .dy = dy, .dw = dw, .partial = partial};
    for (int time = 0; time < 2; time++) {
        j.more = time > 0;
        for (int slice = 0; slice < slices; slice++)
            conv_grad_w_cells(c, &j, scratch, slices, slice);
        for (int part = 0; part < 3; part++)
            end_slices(c, &j, slices, part, 3);
    }
    for (size_t i = 0; i < count; i++) /* made, and added to itself */
        dw[i] /= 2;
    expect_near(&s, op->out[0], dw, what);
    free(x);
    free(dy);
    free(partial);
    free(scratch);
    single_end(&s);
}

static void gradient_of_a_weight_by_cells(void **state)
{
    (void)state;
    static const struct {
        Conv c;
        const char *what;
    } shape[] = {
        {{IMAGES, 30, 48, 14, 64, 4, 2}, "an image at once"},
        {{IMAGES, 62, 16, 30, 48, 4, 2}, "bands"},
        {{IMAGES, 32, 16, 15, 16, 4, 2}, "bands of unlike lengths, one odd"},
        {{1, 126, 16, 62, 16, 4, 2}, "the longest rows"},
        {{IMAGES, 15, 48, 14, 80, 2, 1}, "cells of one pixel"},
        {{IMAGES, 45, 16, 14, 16, 6, 3}, "cells of nine"},
        {{1, 30, 144, 14, 272, 4, 2}, "more pairs and panels than go together"},
    };
    for (size_t i = 0; i < COUNT(shape); i++)
        check_cells(shape[i].c, shape[i].what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_exact),
        cmocka_unit_test(transposed_is_transposed),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolutions_gradients_of_x),
        cmocka_unit_test(convolutions_gradients_of_weights),
        cmocka_unit_test(large_products),
        cmocka_unit_test(gradient_of_x_pixel_by_pixel),
        cmocka_unit_test(gradient_of_a_weight_in_slices),
        cmocka_unit_test(gradient_of_a_weight_by_cells),
    };
    return cmocka_run_group_tests_name("tiles", tests, NULL, NULL);
}
