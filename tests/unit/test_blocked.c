/* test_blocked.c: products of which both factors are packed (templates/blocked.h), against the interpreter's
 * naive loops in double; and that no result depends on how the work is cut. Arrays are as long as their
 * contents, so that a sanitizer sees what reads past. */
#include "blocked.h"
#include "single.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sums of up to 1,152 products of order 1, in float. */
#define TOLERANCE 3e-6

static void run(const Blocked *b, const Plan *p, int tail, int parts)
{
    for (int part = blocked_packs(b->rows, b->columns) - 1; part >= 0; part--)
        blocked_pack(*b, part);
    for (int part = parts - 1; part >= 0; part--) {
        float *scratch = new_floats(p->worker_floats);
        blocked_part(*b, scratch, tail, part, parts);
        free(scratch);
    }
}

/* In as many parts as the compiler has, and in one. The sum is formed in place, as the planner has it. */
static void check(Blocked b, int tail, Single *s, const Op *op, const char *what)
{
    const Plan p = single_plan(s, "blocked");
    const size_t count = value_count(op->out[0]);
    float *y = new_floats(count), *whole = new_floats(count), *packed = new_floats(p.arena_floats);
    b.packed = packed;
    b.y = whole;
    run(&b, &p, tail, 1);
    if (tail & TAIL_ADD) {
        memcpy(y, b.addend, sizeof(float) * count);
        b.addend = y;
    }
    b.y = y;
    run(&b, &p, tail, p.parts);
    if (memcmp(y, whole, sizeof(float) * count))
        fail_msg("%s: it matters how the work is cut", what);
    free(packed);
    free(whole);
    expect_within(TOLERANCE, s, op->out[0], y, what);
}

static void check_conv(Conv c, bool whole_tail, const char *what)
{
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_conv(&s, c, whole_tail);
    single_run(&s);
    float *x = floats_of(&s, op->in[CONV_X]), *weight = floats_of(&s, op->in[CONV_WEIGHT]),
          *bias = floats_of(&s, op->in[CONV_BIAS]), *addend = floats_of(&s, op->in[CONV_ADDEND]);
    const ConvJob j = {.x = x, .weight = weight, .bias = bias, .addend = addend};
    check(blocked_conv(c, &j), whole_tail ? TAIL_BIAS | TAIL_ADD | TAIL_RELU : TAIL_NONE, &s, op, what);
    free(x);
    free(weight);
    free(bias);
    free(addend);
    single_end(&s);
}

static void check_grad_x(Conv c, bool whole_tail, const char *what)
{
    Single s;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_x(&s, c, whole_tail);
    single_run(&s);
    float *dy = floats_of(&s, op->in[CONV_GRAD_X_DY]), *weight = floats_of(&s, op->in[CONV_GRAD_X_WEIGHT]),
          *addend = floats_of(&s, op->in[CONV_GRAD_X_ADDEND]),
          *mask = floats_of(&s, op->in[CONV_GRAD_X_MASK]);
    const ConvGradXJob j = {.dy = dy, .weight = weight, .addend = addend, .mask = mask};
    check(blocked_grad_x(c, &j), whole_tail ? TAIL_ADD | TAIL_MASK : TAIL_NONE, &s, op, what);
    free(dy);
    free(weight);
    free(addend);
    free(mask);
    single_end(&s);
}

/* Depths of a block, of less, of several and a piece; rows of no whole tile, few and many. */
static const Conv shapes[] = {
    {1, 1, 32, 1, 32, 1, 1},    {5, 1, 384, 1, 64, 1, 1},  {61, 2, 32, 2, 800, 1, 1},
    {7, 3, 128, 1, 96, 3, 1},   {13, 3, 32, 1, 416, 3, 1}, {3, 9, 64, 9, 448, 1, 1},
    {2, 13, 416, 13, 96, 1, 1}, {241, 1, 96, 1, 32, 1, 1}, {242, 2, 32, 1, 64, 2, 2},
};

static void each(void (*check_one)(Conv c, bool whole_tail, const char *what))
{
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int whole_tail = 0; whole_tail < 2; whole_tail++) {
            const Conv c = shapes[i];
            char what[64];
            snprintf(what, sizeof what, "%dx%d, %d to %d, %d pixels%s", c.kernel, c.kernel, c.in, c.out,
                     pixels_of(c), whole_tail ? ", tail" : "");
            check_one(c, whole_tail, what);
        }
}

static void forward(void **state)
{
    (void)state;
    each(check_conv);
}

static void gradients_of_x(void **state)
{
    (void)state;
    each(check_grad_x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward),
        cmocka_unit_test(gradients_of_x),
    };
    return cmocka_run_group_tests_name("blocked", tests, NULL, NULL);
}
