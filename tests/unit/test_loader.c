/* test_loader.c: batches are what random_order and augment_view say, for any number of threads and from any
 * step on; faults of pictures reach the caller. */
#include "runtime.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { SIZE = 16, BATCH = 6, FLOATS = SIZE * SIZE * 3, LIMIT = 2, COUNT_OF_SET = 20 };

static const float mean[3] = {0.5f, 0.4f, 0.3f}, std[3] = {0.25f, 0.5f, 1};

static AmdimModel new_model(int views)
{
    return (AmdimModel){.views = views,
                        .batch = BATCH,
                        .size = SIZE,
                        .channels = 3,
                        .mean = mean,
                        .std = std,
                        .augment = {.flip = 0.5,
                                    .has_crop = true,
                                    .crop_scale = {0.3, 1},
                                    .crop_ratio = {0.7, 1.4},
                                    .crop_p = 1,
                                    .has_jitter = true,
                                    .hue = 0.2,
                                    .jitter_p = 0.5}};
}

/* Twenty of the built-in pictures: three batches an epoch, two images left out. */
static Dataset *new_set(void)
{
    Fault f;
    Dataset *d = data_open(NULL, SPLIT_TRAIN, LIMIT, &f);
    if (!d)
        fail_msg("%s", f.text);
    assert_int_equal(d->count, COUNT_OF_SET);
    return d;
}

static Loader *new_loader(const AmdimModel *m, const Dataset *d, uint64_t step, int threads)
{
    Fault f;
    Loader *l = loader_new(m, NULL, d, 5, step, threads, &f);
    if (!l)
        fail_msg("%s", f.text);
    return l;
}

static const float *next_of(Loader *l)
{
    Fault f;
    const float *x = loader_next(l, &f);
    if (!x)
        fail_msg("%s", f.text);
    return x;
}

static void check_step(const AmdimModel *m, const Dataset *d, uint64_t step, const float *x)
{
    uint32_t order[COUNT_OF_SET];
    float expected[FLOATS];
    Picture p = {0};
    Fault f;
    Workspace *w = workspace_new(m, &f);
    assert_non_null(w);
    uint64_t epoch = step / 3, first = step % 3 * BATCH;
    random_order(5, epoch, order, COUNT_OF_SET);
    for (int v = 0; v < m->views; v++)
        for (int b = 0; b < BATCH; b++) {
            uint32_t image = order[first + (uint64_t)b];
            assert_true(d->read(d, image, 3, &p, &f));
            augment_view(m, w, &p, 5, epoch, image, v, expected);
            assert_memory_equal(x + (v * BATCH + b) * FLOATS, expected, sizeof expected);
        }
    workspace_free(w);
    picture_free(&p);
}

static void test_batches_are_as_defined(void **state)
{
    (void)state;
    Dataset *d = new_set();
    for (int views = 1; views <= 2; views++)
        for (int threads = 1; threads <= 5; threads += 2) {
            AmdimModel m = new_model(views);
            Loader *l = new_loader(&m, d, 0, threads);
            for (uint64_t step = 0; step < 10; step++)
                check_step(&m, d, step, next_of(l));
            loader_free(l);
        }
    data_close(d);
}

/* Whatever is being prepared: its memory is free then. */
static void test_its_end_leaves_memory_of_a_batch(void **state)
{
    (void)state;
    Dataset *d = new_set();
    AmdimModel m = new_model(2);
    for (int steps = 0; steps < 3; steps++) {
        Loader *l = new_loader(&m, d, 0, 3);
        for (int step = 0; step < steps; step++)
            next_of(l);
        float *room = loader_end(l);
        assert_non_null(room);
        for (int i = 0; i < 2 * BATCH * FLOATS; i++)
            room[i] = -1;
        usleep(20000); /* in which threads that were left would have made a batch */
        for (int i = 0; i < 2 * BATCH * FLOATS; i++)
            assert_true(room[i] == -1);
        loader_free(l);
    }
    data_close(d);
}

static void test_any_step_can_be_the_first(void **state)
{
    (void)state;
    Dataset *d = new_set();
    AmdimModel m = new_model(2);
    for (uint64_t first = 1; first < 8; first++) {
        Loader *l = new_loader(&m, d, first, 2);
        for (uint64_t step = first; step < first + 3; step++)
            check_step(&m, d, step, next_of(l));
        loader_free(l);
    }
    data_close(d);
}

static void test_a_lent_batch_is_left_alone(void **state)
{
    (void)state;
    enum { BYTES = 2 * BATCH * FLOATS * sizeof(float) };
    Dataset *d = new_set();
    AmdimModel m = new_model(2);
    Loader *l = new_loader(&m, d, 0, 2);
    float *copy = malloc(BYTES);
    assert_non_null(copy);
    for (int step = 0; step < 6; step++) {
        const float *x = next_of(l);
        memcpy(copy, x, BYTES);
        for (int i = 0; i < 20; i++) /* some work, while the threads prepare the next batch */
            check_step(&m, d, (uint64_t)step, x);
        assert_memory_equal(copy, x, BYTES);
    }
    free(copy);
    loader_free(l);
    data_close(d);
}

static void test_stopping_needs_no_reading(void **state)
{
    (void)state;
    Dataset *d = new_set();
    AmdimModel m = new_model(2);
    for (int i = 0; i < 20; i++)
        loader_free(new_loader(&m, d, 0, 1 + i % 4));
    loader_free(NULL);
    data_close(d);
}

static void test_a_set_smaller_than_a_batch_is_refused(void **state)
{
    (void)state;
    Dataset *d = new_set();
    AmdimModel m = new_model(2);
    Fault f;
    m.batch = COUNT_OF_SET;
    loader_free(new_loader(&m, d, 0, 1));
    m.batch = COUNT_OF_SET + 1;
    assert_null(loader_new(&m, NULL, d, 5, 0, 1, &f));
    assert_non_null(strstr(f.text, "20 pictures"));
    assert_non_null(strstr(f.text, "batch of 21"));
    data_close(d);
}

static void test_unusable_channels_are_refused(void **state)
{
    (void)state;
    Dataset *d = new_set();
    AmdimModel m = new_model(2);
    Fault f;
    m.channels = 2;
    assert_null(loader_new(&m, NULL, d, 5, 0, 2, &f));
    assert_non_null(strstr(f.text, "1 or 3 channels"));
    data_close(d);
}

/* Twelve pictures in one class, two of them cut short. */
static Dataset *damaged_set(const char *dir, uint32_t first_bad, uint32_t second_bad)
{
    Sample sample = sample_plain(20, 18, 1, 2, 3);
    for (uint32_t i = 0; i < 12; i++) {
        char name[32];
        snprintf(name, sizeof name, "train/a/%02u.png", i);
        scratch_write(name, sample.bytes,
                      i == first_bad || i == second_bad ? sample.count / 2 : sample.count);
    }
    free(sample.bytes);
    Fault f;
    Dataset *d = data_open(dir, SPLIT_TRAIN, 0, &f);
    assert_non_null(d);
    return d;
}

/* Of two that cannot be read, the first in the batch's order is told, whatever thread met which. */
static void test_unreadable_pictures_reach_the_caller(void **state)
{
    (void)state;
    uint32_t order[12];
    random_order(5, 0, order, 12);
    Dataset *d = damaged_set(scratch_begin(), order[BATCH + 1], order[BATCH + 4]);
    char name[32];
    snprintf(name, sizeof name, "train/a/%02u.png", order[BATCH + 1]);
    AmdimModel m = new_model(2);
    for (int threads = 1; threads <= 4; threads++) {
        Loader *l = new_loader(&m, d, 0, threads);
        next_of(l);                   /* the batch before is whole */
        for (int i = 0; i < 2; i++) { /* asking again does not help */
            Fault f;
            assert_null(loader_next(l, &f));
            assert_non_null(strstr(f.text, name));
        }
        loader_free(l);
    }
    data_close(d);
    scratch_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_are_as_defined),
        cmocka_unit_test(test_its_end_leaves_memory_of_a_batch),
        cmocka_unit_test(test_any_step_can_be_the_first),
        cmocka_unit_test(test_a_lent_batch_is_left_alone),
        cmocka_unit_test(test_stopping_needs_no_reading),
        cmocka_unit_test(test_a_set_smaller_than_a_batch_is_refused),
        cmocka_unit_test(test_unusable_channels_are_refused),
        cmocka_unit_test(test_unreadable_pictures_reach_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
