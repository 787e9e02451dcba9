/* test_pictures.c: the built-in pictures are the same at every reading, evenly labelled, varied, and not to
 * be told apart by single pixels. */
#include "runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { CLASSES = 10, FLOATS = 32 * 32 * 3 };

static Dataset *opened(Split split, uint32_t limit)
{
    Fault f;
    Dataset *d = data_open(NULL, split, limit, &f);
    if (!d)
        fail_msg("%s", f.text);
    return d;
}

static void read_one(const Dataset *d, uint32_t i, int channels, Picture *p)
{
    Fault f;
    assert_true(d->read(d, i, channels, p, &f));
    assert_int_equal(p->width, 32);
    assert_int_equal(p->height, 32);
    assert_int_equal(p->channels, channels);
}

static void test_splits_are_evenly_labelled(void **state)
{
    (void)state;
    const struct {
        Split split;
        uint32_t count;
    } expected[] = {{SPLIT_TRAIN, 10000}, {SPLIT_TEST, 2000}};
    for (size_t s = 0; s < COUNT(expected); s++) {
        Dataset *d = opened(expected[s].split, 0);
        assert_int_equal(d->count, expected[s].count);
        assert_int_equal(d->classes, CLASSES);
        for (uint32_t i = 0; i < d->count; i++)
            assert_int_equal(d->label[i], i % CLASSES);
        for (int c = 0; c < CLASSES; c++)
            assert_non_null(d->class_name[c]);
        data_close(d);
    }
}

static void test_limit_takes_the_first(void **state)
{
    (void)state;
    Dataset *d = opened(SPLIT_TRAIN, 7);
    assert_int_equal(d->count, 70);
    assert_int_equal(d->index[69], 69);
    data_close(d);
}

static void test_pictures_depend_on_split_and_number_alone(void **state)
{
    (void)state;
    Dataset *train = opened(SPLIT_TRAIN, 0), *again = opened(SPLIT_TRAIN, 100), *test = opened(SPLIT_TEST, 0);
    Picture a = {0}, b = {0};
    read_one(train, 123, 3, &b);
    for (uint32_t i = 0; i < 50; i++) {
        read_one(train, i, 3, &a);
        read_one(again, i, 3, &b);
        assert_memory_equal(a.pixels, b.pixels, FLOATS);
        read_one(test, i, 3, &b);
        assert_memory_not_equal(a.pixels, b.pixels, FLOATS);
        read_one(train, i + CLASSES, 3, &b);
        assert_memory_not_equal(a.pixels, b.pixels, FLOATS);
    }
    picture_free(&a);
    picture_free(&b);
    data_close(train);
    data_close(again);
    data_close(test);
}

static void test_one_channel_is_luma(void **state)
{
    (void)state;
    Dataset *d = opened(SPLIT_TRAIN, 0);
    Picture colour = {0}, grey = {0};
    read_one(d, 4, 3, &colour);
    read_one(d, 4, 1, &grey);
    for (int i = 0; i < 32 * 32; i++) {
        const uint8_t *rgb = colour.pixels + 3 * i;
        assert_true(fabs(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] - grey.pixels[i]) <= 0.501);
    }
    picture_free(&colour);
    picture_free(&grey);
    data_close(d);
}

/* The largest and the least luma of every picture lie far enough apart to see the figure. */
static void test_figures_stand_out(void **state)
{
    (void)state;
    Dataset *d = opened(SPLIT_TEST, 0);
    Picture p = {0};
    for (uint32_t i = 0; i < 500; i++) {
        read_one(d, i, 1, &p);
        int least = 255, most = 0;
        for (int k = 0; k < 32 * 32; k++) {
            least = p.pixels[k] < least ? p.pixels[k] : least;
            most = p.pixels[k] > most ? p.pixels[k] : most;
        }
        assert_true(most - least >= 50);
    }
    picture_free(&p);
    data_close(d);
}

/* Nearest mean picture of a class: little better than guessing, for colour and place say nothing. */
static void test_single_pixels_hardly_help(void **state)
{
    (void)state;
    static double mean[CLASSES][FLOATS];
    Dataset *train = opened(SPLIT_TRAIN, 200), *test = opened(SPLIT_TEST, 0);
    Picture p = {0};
    for (uint32_t i = 0; i < train->count; i++) {
        read_one(train, i, 3, &p);
        for (int k = 0; k < FLOATS; k++)
            mean[train->label[i]][k] += p.pixels[k] / 200.0;
    }
    int right = 0;
    for (uint32_t i = 0; i < test->count; i++) {
        read_one(test, i, 3, &p);
        double nearest = INFINITY;
        int best = 0;
        for (int c = 0; c < CLASSES; c++) {
            double distance = 0;
            for (int k = 0; k < FLOATS; k++)
                distance += (p.pixels[k] - mean[c][k]) * (p.pixels[k] - mean[c][k]);
            if (distance < nearest) {
                nearest = distance;
                best = c;
            }
        }
        right += best == test->label[i];
    }
    assert_true(right < 0.3 * test->count);
    picture_free(&p);
    data_close(train);
    data_close(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits_are_evenly_labelled),
        cmocka_unit_test(test_limit_takes_the_first),
        cmocka_unit_test(test_pictures_depend_on_split_and_number_alone),
        cmocka_unit_test(test_one_channel_is_luma),
        cmocka_unit_test(test_figures_stand_out),
        cmocka_unit_test(test_single_pixels_hardly_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
