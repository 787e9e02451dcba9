/* test_probe_heads.c: the MLP and the nearest neighbours read what a line cannot part, at any number of
 * threads; the neighbours are held against a vote written down again here. */
#include "runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 700, DIMS = 5 };

typedef struct {
    float x[MOST][DIMS];
    uint16_t label[MOST];
} Rows;

static ProbeResult run(Probe *probe, int classes, const Rows *train, uint32_t train_count, const Rows *test,
                       uint32_t test_count, int threads)
{
    ProbeResult result;
    Fault f = {.error = 0};
    AmdimPool *pool = pool_new(threads, 0, &f);
    assert_non_null(pool);
    ProbeRows train_rows = {train_count, train->x[0], train->label, NULL};
    ProbeRows test_rows = {test_count, test->x[0], test->label, NULL};
    if (!probe(pool, classes, DIMS, 11, &train_rows, &test_rows, &result, &f))
        fail_msg("%s", f.text);
    pool_free(pool);
    assert_int_equal(result.images, test_count);
    return result;
}

/* Class k lies about the unit vector of axis k, `noise` wide, each row at a length of its own. */
static void make_blobs(Rows *r, uint64_t seed, double noise)
{
    for (int i = 0; i < MOST; i++) {
        Random random = random_at(seed, RANDOM_PROBE, 0, (uint64_t)i, 0);
        double length = random_between(&random, 0.5, 2);
        r->label[i] = (uint16_t)random_below(&random, DIMS);
        for (int d = 0; d < DIMS; d++)
            r->x[i][d] = (float)(length * ((d == r->label[i]) + noise * random_normal(&random)));
    }
}

/* The class is whether the signs of the first two columns agree; no line parts them. */
static void make_xor(Rows *r, uint64_t seed)
{
    for (int i = 0; i < MOST; i++) {
        Random random = random_at(seed, RANDOM_PROBE, 0, (uint64_t)i, 0);
        uint32_t quarter = random_below(&random, 4);
        r->label[i] = (uint16_t)((quarter & 1) ^ (quarter >> 1));
        for (int d = 0; d < DIMS; d++)
            r->x[i][d] = (float)(0.1 * random_normal(&random));
        r->x[i][0] += quarter & 1 ? 1 : -1;
        r->x[i][1] += quarter >> 1 ? 1 : -1;
    }
}

static void test_blobs(void **state)
{
    (void)state;
    static Rows train, test;
    make_blobs(&train, 1, 0.05);
    make_blobs(&test, 2, 0.05);
    ProbeResult mlp = run(probe_mlp, DIMS, &train, 150, &test, MOST, 2);
    assert_true(mlp.accuracy == 1 && mlp.train_accuracy == 1);
    ProbeResult knn = run(probe_knn, DIMS, &train, 600, &test, MOST, 2);
    assert_true(knn.accuracy == 1 && isnan(knn.train_accuracy));
}

static void test_what_no_line_parts(void **state)
{
    (void)state;
    static Rows train, test;
    make_xor(&train, 3);
    make_xor(&test, 4);
    assert_true(run(probe_linear, 2, &train, MOST, &test, MOST, 2).accuracy < 0.65);
    assert_true(run(probe_mlp, 2, &train, 100, &test, MOST, 2).accuracy == 1);
    assert_true(run(probe_knn, 2, &train, MOST, &test, MOST, 2).accuracy == 1);
}

/* Fewer rows than a batch, than a slice of one, than neighbours. */
static void test_few_rows(void **state)
{
    (void)state;
    static Rows train, test;
    make_blobs(&train, 5, 0.05);
    make_blobs(&test, 6, 0.05);
    for (uint16_t i = 0; i < DIMS; i++)
        for (int d = 0; d < DIMS; d++) {
            train.x[i][d] = d == i;
            train.label[i] = i;
        }
    assert_true(run(probe_knn, DIMS, &train, DIMS, &test, 9, 2).accuracy == 1);
    assert_true(run(probe_mlp, DIMS, &train, 9, &test, 9, 2).accuracy == 1);
    assert_true(run(probe_mlp, DIMS, &train, 1, &train, 1, 2).train_accuracy >= 0);
}

/* Classes overlap, so that a last bit that differed would move rows across the borders. */
static void test_any_number_of_threads(void **state)
{
    (void)state;
    static Rows train, test;
    make_blobs(&train, 7, 0.9);
    make_blobs(&test, 8, 0.9);
    for (size_t h = 0; h < 2; h++) {
        Probe *probe = h ? probe_knn : probe_mlp;
        ProbeResult one = run(probe, DIMS, &train, 120, &test, MOST, 1);
        assert_true(one.accuracy > 0.3 && one.accuracy < 0.9);
        for (int threads = 2; threads <= 3; threads++) {
            ProbeResult more = run(probe, DIMS, &train, 120, &test, MOST, threads);
            assert_memory_equal(&one, &more, sizeof one);
        }
    }
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < DIMS; d++) {
        ab += (double)a[d] * (double)b[d];
        aa += (double)a[d] * (double)a[d];
        bb += (double)b[d] * (double)b[d];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* The class that the 20 nearest of train's first `count` rows vote for. */
static int plain_vote(const Rows *train, int count, const float *x)
{
    bool taken[MOST] = {false};
    double votes[DIMS] = {0};
    for (int k = 0; k < 20 && k < count; k++) {
        int nearest = -1;
        for (int j = 0; j < count; j++)
            if (!taken[j] && (nearest < 0 || cosine(train->x[j], x) > cosine(train->x[nearest], x)))
                nearest = j;
        taken[nearest] = true;
        votes[train->label[nearest]] += exp(cosine(train->x[nearest], x) / 0.07);
    }
    int best = 0;
    for (int c = 1; c < DIMS; c++)
        best = votes[c] > votes[best] ? c : best;
    return best;
}

/* The first count is whole panels of training rows, the second is not. */
static void test_neighbours_vote(void **state)
{
    (void)state;
    static Rows train, test;
    make_blobs(&train, 9, 0.7);
    make_blobs(&test, 10, 0.7);
    for (uint32_t count = 128; count <= 165; count += 37) {
        uint32_t right = 0, rows = 301;
        for (uint32_t i = 0; i < rows; i++)
            right += plain_vote(&train, (int)count, test.x[i]) == test.label[i];
        double accuracy = run(probe_knn, DIMS, &train, count, &test, rows, 2).accuracy;
        assert_true(accuracy == (double)right / rows);
        assert_true(accuracy > 0.4 && accuracy < 0.95);
    }
}

/* Of 30 equal rows the first 20 are the neighbours; where votes are equal, the lower class has it; a row of
 * zeros is as far from all. */
static void test_ties(void **state)
{
    (void)state;
    static Rows train, test;
    for (int i = 0; i < 30; i++) {
        train.label[i] = i < 12 ? 3 : 1;
        for (int d = 0; d < DIMS; d++)
            train.x[i][d] = test.x[i][d] = (float)(d + 1);
    }
    test.label[0] = 3;
    assert_true(run(probe_knn, DIMS, &train, 30, &test, 1, 1).accuracy == 1);
    train.label[10] = train.label[11] = 1;
    test.label[0] = 1;
    assert_true(run(probe_knn, DIMS, &train, 30, &test, 1, 1).accuracy == 1);
    memset(test.x[0], 0, sizeof test.x[0]);
    assert_true(run(probe_knn, DIMS, &train, 30, &test, 1, 1).accuracy == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blobs),           cmocka_unit_test(test_what_no_line_parts),
        cmocka_unit_test(test_few_rows),        cmocka_unit_test(test_any_number_of_threads),
        cmocka_unit_test(test_neighbours_vote), cmocka_unit_test(test_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
