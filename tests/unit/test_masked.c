/* test_masked.c: gradients of x of which only what a mask keeps is made (templates/masked.h), against the
 * interpreter's naive loops in double; and that no result depends on how the work is cut. */
#include "masked.h"
#include "noise.h"
#include "single.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sums of up to 256 products of order 1, in float. */
#define TOLERANCE 1e-6
/* 363 pixels: no multiple of a block. */
enum { IMAGES = 3, SIDE = 11, PIXELS = IMAGES * SIDE * SIDE };

/* What masks keep: half; a number of each pixel, or three; all; nothing. */
typedef enum { KEEP_HALF, KEEP_ONE, KEEP_THREE, KEEP_ALL, KEEP_NONE, KEEP_WAYS } Keep;

static bool is_kept(Keep keep, int pixel, int channel, uint64_t *state)
{
    const bool half = noise(state) < 0;
    switch (keep) {
    case KEEP_HALF: return half;
    case KEEP_ONE: return channel == pixel % 64;
    case KEEP_THREE: return channel == 0 || channel == 31 || channel == 63;
    case KEEP_ALL: return true;
    default: return false;
    }
}

/* As a ReLU leaves it. */
static void make_mask(Single *s, const Value *mask, Keep keep)
{
    double *v = s->want->value[mask->id];
    const int channels = mask->dims[3];
    for (int i = 0; i < PIXELS * channels; i++)
        v[i] = is_kept(keep, i / channels, i % channels, &s->noise) ? 0.25 + fabs(v[i]) : 0;
}

static float *packed_weight(Conv c, const float *weight)
{
    float *packed = new_floats((size_t)c.in * (size_t)c.out);
    for (int block = masked_packs(c) - 1; block >= 0; block--)
        masked_pack(c, weight, block, packed);
    return packed;
}

static void run(Conv c, const ConvGradXJob *j, const Plan *p, int first, int last)
{
    float *scratch = new_floats(p->worker_floats);
    masked_product(c, j, j->dy, scratch, first, last);
    free(scratch);
}

static void check(Conv c, Keep keep)
{
    char what[64];
    snprintf(what, sizeof what, "%d to %d channels, mask %d", c.in, c.out, keep);
    Single s;
    single_begin(&s, 1, IMAGES);
    Op *op = single_grad_x(&s, c, true);
    op->in[CONV_GRAD_X_ADDEND] = NULL;
    single_fill(&s);
    make_mask(&s, op->in[CONV_GRAD_X_MASK], keep);
    interpret(s.want);
    const Plan p = single_plan(&s, "masked");
    assert_ptr_equal(p.zeros, op->in[CONV_GRAD_X_MASK]);

    const size_t count = value_count(op->out[0]);
    float *dy = floats_of(&s, op->in[CONV_GRAD_X_DY]), *weight = floats_of(&s, op->in[CONV_GRAD_X_WEIGHT]),
          *mask = floats_of(&s, op->in[CONV_GRAD_X_MASK]), *packed = packed_weight(c, weight),
          *dx = new_floats(count), *cut = new_floats(count);
    ConvGradXJob j = {.dy = dy, .mask = mask, .packed = packed, .dx = dx};
    run(c, &j, &p, 0, PIXELS);
    j.dx = cut;
    run(c, &j, &p, 243, PIXELS);
    run(c, &j, &p, 0, 7);
    run(c, &j, &p, 7, 243);
    if (memcmp(cut, dx, sizeof(float) * count))
        fail_msg("%s: it matters how pixels are cut", what);
    expect_within(TOLERANCE, &s, op->out[0], dx, what);
    free(cut);
    free(dy);
    free(weight);
    free(mask);
    free(packed);
    single_end(&s);
}

/* Depths of one block, of one of the narrower ones, and of several. */
static void gradients_of_x(void **state)
{
    (void)state;
    static const int channels[] = {64, 128, 192}, depths[] = {64, 128, 192, 256};
    for (size_t i = 0; i < COUNT(channels); i++)
        for (size_t k = 0; k < COUNT(depths); k++)
            for (Keep keep = 0; keep < KEEP_WAYS; keep++)
                check((Conv){IMAGES, SIDE, channels[i], SIDE, depths[k], 1, 1}, keep);
}

static void lanes_are_added_up(void **state)
{
    (void)state;
    Vec v[4];
    for (int i = 0; i < 4; i++)
        for (int lane = 0; lane < LANES; lane++)
            v[i][lane] = (float)((i + 1) * 100 + lane);
    const Four sums = sums_of_lanes(v);
    for (int i = 0; i < 4; i++)
        assert_float_equal(sums[i], LANES * (i + 1) * 100 + LANES * (LANES - 1) / 2, 0);
}

/* Of sets of 1 to 9 bits: all of them in order, the last one repeated until there are four. */
static void sets_come_by_four(void **state)
{
    (void)state;
    for (int bits = 1; bits < 10; bits++) {
        uint64_t set = 0;
        for (int i = 0; i < bits; i++)
            set |= (uint64_t)1 << (7 * i);
        for (int i = 0; i < bits; i += 4) {
            int k[4];
            assert_true(set != 0);
            next_four(&set, k);
            for (int j = 0; j < 4; j++)
                assert_int_equal(k[j], 7 * MIN_OF(i + j, bits - 1));
        }
        assert_true(set == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_are_added_up),
        cmocka_unit_test(sets_come_by_four),
        cmocka_unit_test(gradients_of_x),
    };
    return cmocka_run_group_tests_name("masked", tests, NULL, NULL);
}
