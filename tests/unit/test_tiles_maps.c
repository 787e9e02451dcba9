/* test_tiles_maps.c: products of maps of bfloat16 by matrix tiles (precision bfloat16), by a unit in plain C,
 * so that every machine tests them. What is read and written lies in arrays as long as their contents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MAPS_ARE_BFLOAT16 1
#include "plain_tiles.h"
#include "tiles.h"
#include "tile_sums.h"
#include "bfloat16.h"

#include "shapes.h"
#include "kernels/kernel.h"
#include "single.h"

#include <stdlib.h>

/* Of y and dx, which are rounded: a sum that is near the middle of two numbers may go the other way. Of dw,
 * floats, what the order of a sum makes of it. */
#define ROUNDED 1e-3
#define SUMMED  3e-6

/* ---- values ---- */

static void begin(Single *s, int images)
{
    single_begin(s, 1, images);
    s->spec.target.tiles = true;
    s->spec.target.precision = PRECISION_BFLOAT16;
}

/* Maps hold rounded numbers; then the operation is interpreted. */
static void run(Single *s)
{
    const Op *op = s->g->op[0];
    for (int i = 0; i < s->g->values; i++)
        if (s->g->value[i]->rank == 4)
            s->g->value[i]->number = NUMBER_BFLOAT16;
    single_fill(s);
    for (int i = 0; i < s->g->values; i++)
        for (size_t k = 0; s->g->value[i]->number == NUMBER_BFLOAT16 && k < value_count(s->g->value[i]); k++)
            s->want->value[i][k] = float_of(bfloat16_of((float)s->want->value[i][k]));
    interpret(s->want);
    assert_true(is_on_bfloat16(op));
}

static Bfloat16 *new_map(size_t count)
{
    Bfloat16 *map = malloc(count * sizeof *map);
    assert_non_null(map);
    for (size_t i = 0; i < count; i++)
        map[i] = bfloat16_of(NAN);
    return map;
}

static Bfloat16 *map_of(const Single *s, const Value *v)
{
    if (!v)
        return NULL;
    Bfloat16 *map = new_map(value_count(v));
    for (size_t i = 0; i < value_count(v); i++)
        map[i] = bfloat16_of((float)s->want->value[v->id][i]);
    return map;
}

static void expect_map(const Single *s, const Value *v, Bfloat16 *got, const char *what)
{
    float *floats = new_floats(value_count(v));
    for (size_t i = 0; i < value_count(v); i++)
        floats[i] = float_of(got[i]);
    free(got);
    expect_within(ROUNDED, s, v, floats, what);
}

static float *floats_or_none(size_t count)
{
    return count ? new_floats(count) : NULL;
}

/* ---- y ---- */

/* In two pieces, the second first and beginning within an image; an addend lies where y goes. */
static void check_conv(Conv c, const char *what, bool whole_tail)
{
    const int pixels = pixels_of(c), tail = whole_tail ? TAIL_BIAS | TAIL_ADD | TAIL_RELU : TAIL_NONE;
    Single s;
    begin(&s, c.images);
    const Op *op = single_conv(&s, c, whole_tail);
    run(&s);
    const Plan plan = single_plan(&s, "tiles");
    Bfloat16 *x = map_of(&s, op->in[CONV_X]),
             *y = whole_tail ? map_of(&s, op->in[CONV_ADDEND]) : new_map(value_count(op->out[0]));
    float *weight = floats_of(&s, op->in[CONV_WEIGHT]), *bias = floats_of(&s, op->in[CONV_BIAS]),
          *packed = new_floats(plan.arena_floats), *scratch = floats_or_none(plan.worker_floats);
    for (int panel = 0; panel < PANELS(c.out); panel++)
        pack_numbers(weight, depth_of_patch(c), c.out, panel, packed);
    const Bfloat16ConvJob j = {
        .x = x, .bias = bias, .addend = whole_tail ? y : NULL, .y = y, .packed = packed};
    bfloat16_tiles(c, &j, scratch, tail, pixels / 2, pixels);
    bfloat16_tiles(c, &j, scratch, tail, 0, pixels / 2);
    expect_map(&s, op->out[0], y, what);
    free(x);
    free(weight);
    free(bias);
    free(packed);
    free(scratch);
    single_end(&s);
}

static void check_both_convs(Conv c, const char *what)
{
    check_conv(c, what, false);
    check_conv(c, what, true);
}

/* ---- dx ---- */

static void check_grad_x(Conv c, const char *what, bool whole_tail)
{
    Single s;
    begin(&s, c.images);
    const Op *op = single_grad_x(&s, c, whole_tail);
    run(&s);
    const Plan plan = single_plan(&s, "tiles");
    Bfloat16 *dy = map_of(&s, op->in[CONV_GRAD_X_DY]), *mask = map_of(&s, op->in[CONV_GRAD_X_MASK]),
             *dx = whole_tail ? map_of(&s, op->in[CONV_GRAD_X_ADDEND]) : new_map(value_count(op->out[0]));
    float *weight = floats_of(&s, op->in[CONV_GRAD_X_WEIGHT]), *packed = new_floats(plan.arena_floats),
          *scratch = floats_or_none(plan.worker_floats);
    const Bfloat16ConvGradXJob j = {.dy = dy,
                                    .weight = weight,
                                    .addend = whole_tail ? dx : NULL,
                                    .mask = mask,
                                    .dx = dx,
                                    .packed = packed};
    for (int part = 0; part < TAP_PANELS(c); part++)
        pack_tap_numbers(c, &j, part);
    for (int part = plan.parts - 1; part >= 0; part--)
        bfloat16_tiles_grad_x(c, &j, scratch, whole_tail ? TAIL_ADD | TAIL_MASK : TAIL_NONE, part,
                              plan.parts);
    expect_map(&s, op->out[0], dx, what);
    free(dy);
    free(mask);
    free(weight);
    free(packed);
    free(scratch);
    single_end(&s);
}

static void check_both_grads_x(Conv c, const char *what)
{
    check_grad_x(c, what, false);
    check_grad_x(c, what, true);
}

/* ---- dw ---- */

enum { ONE_ORDER, SLICES, CELLS };

/* Made, and added to itself. */
static void check_grad_w(Conv c, const char *what, int how)
{
    enum { PIECES = 2 };
    Single s;
    begin(&s, c.images);
    const Op *op = single_grad_w(&s, c);
    run(&s);
    const size_t count = value_count(op->out[0]),
                 room = how == CELLS ? tiles_cells_floats(s.g, op) : single_plan(&s, "tiles").worker_floats;
    Bfloat16 *x = map_of(&s, op->in[CONV_GRAD_W_X]), *dy = map_of(&s, op->in[CONV_GRAD_W_DY]);
    float *dw = new_floats(count), *partial = new_floats(PIECES * count), *scratch = new_floats(room);
    const Bfloat16ConvGradWJob given = {.x = x, .dy = dy, .dw = dw, .partial = partial};
    ConvGradWJob j = grad_w_of(&given);
    for (int time = 0; time < 2; time++) {
        j.more = time > 0;
        for (int part = 0; how == ONE_ORDER && part < PIECES * PIECES; part++)
            conv_grad_w_tiles(c, &j, scratch, PIECES, PIECES, part);
        for (int part = 0; how == SLICES && part < SLICED_PARTS(c, PIECES); part++)
            conv_grad_w_sliced(c, &j, scratch, PIECES, part);
        for (int slice = 0; how == CELLS && slice < PIECES; slice++)
            conv_grad_w_cells(c, &j, scratch, PIECES, slice);
        for (int part = 0; how != ONE_ORDER && part < 3; part++)
            end_slices(c, &j, PIECES, part, 3);
    }
    for (size_t i = 0; i < count; i++)
        dw[i] /= 2;
    expect_within(SUMMED, &s, op->out[0], dw, what);
    free(x);
    free(dy);
    free(partial);
    free(scratch);
    single_end(&s);
}

static void check_grad_w_in_one_order(Conv c, const char *what)
{
    check_grad_w(c, what, ONE_ORDER);
}

/* ---- tests ---- */

static void convolutions(void **state)
{
    (void)state;
    each_conv(check_both_convs);
}

static void gradients_of_x(void **state)
{
    (void)state;
    each_conv(check_both_grads_x);
}

static void gradients_of_weights(void **state)
{
    (void)state;
    each_conv(check_grad_w_in_one_order);
    check_grad_w((Conv){IMAGES, 20, 5, 19, 17, 2, 1}, "several blocks of pixels", ONE_ORDER);
    check_grad_w((Conv){IMAGES, 20, 5, 19, 17, 2, 1}, "several blocks of pixels, in slices", SLICES);
    check_grad_w((Conv){IMAGES, 12, 3, 10, 33, 3, 1}, "short patches", SLICES);
}

/* What does not fit the scratch memory at once. */
static void large_products(void **state)
{
    (void)state;
    static const struct {
        Conv c;
        const char *what;
    } shape[] = {
        {{IMAGES, 9, 70, 9, 40, 1, 1}, "several blocks of pixels"},
        {{2, 9, 800, 9, 1000, 1, 1}, "a packed matrix that is too large for blocks of a pair"},
        {{IMAGES, 7, 590, 7, 33, 1, 1}, "two rounds of steps"},
        {{2, 5, 545, 5, 530, 1, 1}, "two rounds of steps, two groups of panels"},
        {{IMAGES, 9, 64, 7, 64, 3, 1}, "patches of whole steps, in two rounds"},
        {{IMAGES, 8, 32, 4, 64, 2, 2}, "patches side by side"},
        {{IMAGES, 3, 64, 1, 96, 3, 1}, "one patch"},
    };
    for (size_t i = 0; i < COUNT(shape); i++) {
        check_both_convs(shape[i].c, shape[i].what);
        check_both_grads_x(shape[i].c, shape[i].what);
        check_grad_w(shape[i].c, shape[i].what, ONE_ORDER);
    }
}

static void gradients_of_weights_by_cells(void **state)
{
    (void)state;
    check_grad_w((Conv){IMAGES, 30, 48, 14, 64, 4, 2}, "an image at once", CELLS);
    check_grad_w((Conv){IMAGES, 32, 16, 15, 16, 4, 2}, "bands of unlike lengths, one odd", CELLS);
    check_grad_w((Conv){IMAGES, 15, 48, 14, 80, 2, 1}, "cells of one pixel", CELLS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(gradients_of_x),
        cmocka_unit_test(gradients_of_weights),
        cmocka_unit_test(large_products),
        cmocka_unit_test(gradients_of_weights_by_cells),
    };
    return cmocka_run_group_tests_name("tiles on maps", tests, NULL, NULL);
}
