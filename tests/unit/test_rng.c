/* test_rng.c: Philox against the known answers that come with Random123, and what is made of its words. */
#include "runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void known_answer(const uint32_t counter[4], const uint32_t key[2], const uint32_t expected[4])
{
    Random r = {
        .key = {key[0], key[1]}, .counter = {counter[0], counter[1], counter[2], counter[3]}, .used = 4};
    for (int i = 0; i < 4; i++)
        assert_int_equal(random_u32(&r), expected[i]);
}

static void test_known_answers(void **state)
{
    (void)state;
    known_answer((uint32_t[]){0, 0, 0, 0}, (uint32_t[]){0, 0},
                 (uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    known_answer((uint32_t[]){0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                 (uint32_t[]){0xffffffff, 0xffffffff},
                 (uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    known_answer((uint32_t[]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                 (uint32_t[]){0xa4093822, 0x299f31d0},
                 (uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

static uint64_t first_of(uint64_t seed, RandomPurpose purpose, uint64_t time, uint64_t index, int view)
{
    Random r = random_at(seed, purpose, time, index, view);
    uint64_t high = random_u32(&r);
    return high << 32 | random_u32(&r);
}

static void test_every_part_of_the_address_counts(void **state)
{
    (void)state;
    const uint64_t high = (uint64_t)1 << 32;
    const uint64_t first[] = {
        first_of(5, RANDOM_VIEW, 7, 9, 0),        first_of(6, RANDOM_VIEW, 7, 9, 0),
        first_of(5 + high, RANDOM_VIEW, 7, 9, 0), first_of(5, RANDOM_SHARED, 7, 9, 0),
        first_of(5, RANDOM_VIEW, 8, 9, 0),        first_of(5, RANDOM_VIEW, 7 + high, 9, 0),
        first_of(5, RANDOM_VIEW, 7, 10, 0),       first_of(5, RANDOM_VIEW, 7, 9 + high, 0),
        first_of(5, RANDOM_VIEW, 9, 7, 0),        first_of(5, RANDOM_VIEW, 7, 9, 1),
    };
    for (size_t i = 0; i < COUNT(first); i++)
        for (size_t j = 0; j < i; j++)
            assert_true(first[i] != first[j]);
    assert_true(first[0] == first_of(5, RANDOM_VIEW, 7, 9, 0));
}

static void test_the_counter_carries(void **state)
{
    (void)state;
    Random r = random_at(1, RANDOM_BENCH, 0, 0, 0), start = r;
    uint32_t begin = random_u32(&start);
    r.counter[0] = UINT32_MAX;
    for (int i = 0; i < 4; i++)
        random_u32(&r);
    assert_int_not_equal(random_u32(&r), begin);
}

static void test_units_are_uniform(void **state)
{
    (void)state;
    enum { DRAWS = 100000, BINS = 10 };
    Random r = random_at(2, RANDOM_BENCH, 0, 0, 0);
    int bin[BINS] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double u = random_unit(&r);
        assert_true(u >= 0 && u < 1);
        bin[(int)(u * BINS)]++;
    }
    for (int i = 0; i < BINS; i++)
        assert_true(abs(bin[i] - DRAWS / BINS) < 500); /* over five standard deviations */
}

static void test_units_have_53_bits(void **state)
{
    (void)state;
    Random ones = {.word = {0, 0, 0xffffffff, 0xffffffff}, .used = 2};
    assert_true(random_unit(&ones) == 1 - 0x1p-53);
    Random least = {.word = {0, 0, 0, 1u << 6}, .used = 2};
    assert_true(random_unit(&least) == 0x1p-53);
}

static void test_between_keeps_to_its_bounds(void **state)
{
    (void)state;
    Random r = random_at(3, RANDOM_BENCH, 0, 0, 0);
    double least = 9, most = -9;
    for (int i = 0; i < 10000; i++) {
        double x = random_between(&r, -2, 3);
        least = fmin(least, x);
        most = fmax(most, x);
    }
    assert_true(least >= -2 && least < -1.99 && most < 3 && most > 2.99);
}

static void test_below_is_unbiased(void **state)
{
    (void)state;
    enum { DRAWS = 60000 };
    Random r = random_at(4, RANDOM_BENCH, 0, 0, 0);
    int count[3] = {0};
    for (int i = 0; i < DRAWS; i++)
        count[random_below(&r, 3)]++;
    for (int i = 0; i < 3; i++)
        assert_true(abs(count[i] - DRAWS / 3) < 600);
    assert_int_equal(random_below(&r, 1), 0);
    /* Without refusals a third of the values below 3 * 2^30 would come up twice as often as the rest. */
    const uint32_t n = 3u << 30;
    int multiple = 0;
    for (int i = 0; i < DRAWS; i++)
        multiple += random_below(&r, n) % 3 == 0;
    assert_true(abs(multiple - DRAWS / 3) < 600);
}

static void test_normals_have_their_moments(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    Random r = random_at(5, RANDOM_BENCH, 0, 0, 0);
    double sum = 0, squares = 0, fourth = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = random_normal(&r);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / DRAWS) < 0.02);
    assert_true(fabs(squares / DRAWS - 1) < 0.03);
    assert_true(fabs(fourth / DRAWS - 3) < 0.2);
}

static void test_orders_are_permutations(void **state)
{
    (void)state;
    enum { N = 1000 };
    uint32_t order[N], other[N];
    bool seen[N] = {false};
    random_order(1, 0, order, N);
    for (int i = 0; i < N; i++) {
        assert_true(order[i] < N && !seen[order[i]]);
        seen[order[i]] = true;
    }
    random_order(1, 1, other, N);
    assert_memory_not_equal(order, other, sizeof order);
    random_order(2, 0, other, N);
    assert_memory_not_equal(order, other, sizeof order);
    random_order(1, 0, other, N);
    assert_memory_equal(order, other, sizeof order);
}

static void test_every_order_is_as_likely(void **state)
{
    (void)state;
    enum { EPOCHS = 24000 };
    int count[64] = {0}; /* by the first three of four, two bits each */
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint32_t order[4];
        random_order(3, epoch, order, 4);
        count[order[0] | order[1] << 2 | order[2] << 4]++;
    }
    int orders = 0;
    for (int i = 0; i < 64; i++) {
        orders += count[i] > 0;
        assert_true(count[i] == 0 || abs(count[i] - EPOCHS / 24) < 160);
    }
    assert_int_equal(orders, 24);
}

/* At every place within a block of words, and beyond it. */
static void test_skipping_is_drawing(void **state)
{
    (void)state;
    for (int before = 0; before < 5; before++)
        for (int units = 0; units < 9; units++) {
            Random drawn = random_at(2, RANDOM_VIEW, 3, 4, 1);
            for (int i = 0; i < before; i++)
                random_u32(&drawn);
            Random skipped = drawn;
            for (int i = 0; i < units; i++)
                random_unit(&drawn);
            random_skip(&skipped, units);
            for (int i = 0; i < 8; i++)
                assert_int_equal(random_u32(&skipped), random_u32(&drawn));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_every_part_of_the_address_counts),
        cmocka_unit_test(test_the_counter_carries),
        cmocka_unit_test(test_skipping_is_drawing),
        cmocka_unit_test(test_units_are_uniform),
        cmocka_unit_test(test_units_have_53_bits),
        cmocka_unit_test(test_between_keeps_to_its_bounds),
        cmocka_unit_test(test_below_is_unbiased),
        cmocka_unit_test(test_normals_have_their_moments),
        cmocka_unit_test(test_orders_are_permutations),
        cmocka_unit_test(test_every_order_is_as_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
