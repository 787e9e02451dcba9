/* test_probe.c: what all probes share, and the linear one, whose regression finds the optimum of an objective
 * written down again here, in double. */
#include "runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TRAIN_COUNT = 500, DIMS = 7, CLASSES = 3, TEST_COUNT = 101 };

typedef struct {
    float x[TRAIN_COUNT][DIMS];
    uint16_t label[TRAIN_COUNT];
} Rows;

/* Classes that overlap, on columns of different means and sizes; the last column does not vary. */
static void make_rows(Rows *r, uint64_t seed, double distance)
{
    for (int i = 0; i < TRAIN_COUNT; i++) {
        Random random = random_at(seed, RANDOM_PROBE, 0, (uint64_t)i, 0);
        r->label[i] = (uint16_t)random_below(&random, CLASSES);
        for (int d = 0; d < DIMS; d++) {
            double value = random_normal(&random) + (d % CLASSES == r->label[i] ? distance : 0);
            r->x[i][d] = d == DIMS - 1 ? 0.1f : (float)(value * (d + 1) + 10 * d);
        }
    }
}

static AmdimPool *new_pool(int threads)
{
    Fault f;
    AmdimPool *pool = pool_new(threads, 0, &f);
    assert_non_null(pool);
    return pool;
}

static Logistic fit(const Rows *r, int threads)
{
    Logistic l;
    Fault f = {.error = 0};
    int iterations = 0;
    AmdimPool *pool = new_pool(threads);
    if (!logistic_fit(&l, pool, CLASSES, DIMS, &(ProbeRows){TRAIN_COUNT, r->x[0], r->label, NULL},
                      &iterations, &f))
        fail_msg("%s", f.text);
    assert_true(iterations > 0);
    pool_free(pool);
    return l;
}

static void test_columns_are_standardised(void **state)
{
    (void)state;
    static Rows r;
    make_rows(&r, 1, 1);
    Logistic l = fit(&r, 2);
    for (int d = 0; d < DIMS - 1; d++) {
        double mean = 0, square = 0;
        for (int i = 0; i < TRAIN_COUNT; i++)
            mean += (double)r.x[i][d] / TRAIN_COUNT;
        for (int i = 0; i < TRAIN_COUNT; i++)
            square += pow((double)r.x[i][d] - mean, 2) / TRAIN_COUNT;
        assert_true(fabs((double)l.mean[d] - mean) < 1e-5 * (1 + fabs(mean)));
        assert_true(fabs((double)l.scale[d] * sqrt(square) - 1) < 1e-5);
    }
    assert_true(l.scale[DIMS - 1] == 0);
    logistic_free(&l);
}

/* The mean cross-entropy plus the penalty, straight from the definition. */
static double objective(const Rows *r, const Logistic *l, double weight[DIMS + 1][CLASSES])
{
    double loss = 0, penalty = 0;
    for (int i = 0; i < TRAIN_COUNT; i++) {
        double sum = 0, own = 0;
        for (int k = 0; k < CLASSES; k++) {
            double score = weight[DIMS][k];
            for (int d = 0; d < DIMS; d++)
                score += ((double)r->x[i][d] - (double)l->mean[d]) * (double)l->scale[d] * weight[d][k];
            sum += exp(score);
            own = k == r->label[i] ? score : own;
        }
        loss += log(sum) - own;
    }
    for (int d = 0; d < DIMS; d++)
        for (int k = 0; k < CLASSES; k++)
            penalty += weight[d][k] * weight[d][k] / 2;
    return (loss + penalty) / TRAIN_COUNT;
}

static double gradient_norm(const Rows *r, const Logistic *l, double weight[DIMS + 1][CLASSES])
{
    const double step = 1e-5;
    double square = 0;
    for (int d = 0; d <= DIMS; d++)
        for (int k = 0; k < CLASSES; k++) {
            double kept = weight[d][k];
            weight[d][k] = kept + step;
            double above = objective(r, l, weight);
            weight[d][k] = kept - step;
            double below = objective(r, l, weight);
            weight[d][k] = kept;
            square += pow((above - below) / (2 * step), 2);
        }
    return sqrt(square);
}

static void test_the_gradient_vanishes(void **state)
{
    (void)state;
    static Rows r;
    make_rows(&r, 2, 1);
    Logistic l = fit(&r, 2);
    double weight[DIMS + 1][CLASSES] = {{0}};
    double before = gradient_norm(&r, &l, weight);
    for (size_t d = 0; d <= DIMS; d++)
        for (size_t k = 0; k < CLASSES; k++)
            weight[d][k] = (double)l.weight[d * l.columns + k];
    assert_true(before > 0.1);
    assert_true(gradient_norm(&r, &l, weight) < 2e-4 * before);
    logistic_free(&l);
}

static void test_same_result_at_any_number_of_threads(void **state)
{
    (void)state;
    static Rows r;
    make_rows(&r, 3, 0.5);
    Logistic one = fit(&r, 1);
    for (int threads = 2; threads <= 3; threads++) {
        Logistic more = fit(&r, threads);
        assert_memory_equal(one.weight, more.weight, one.rows * one.columns * sizeof *one.weight);
        logistic_free(&more);
    }
    logistic_free(&one);
}

static ProbeResult probe(const Rows *train, const Rows *test)
{
    ProbeResult result;
    Fault f = {.error = 0};
    AmdimPool *pool = new_pool(2);
    ProbeRows train_rows = {TRAIN_COUNT, train->x[0], train->label, NULL};
    ProbeRows test_rows = {TEST_COUNT, test->x[0], test->label, NULL};
    if (!probe_linear(pool, CLASSES, DIMS, 0, &train_rows, &test_rows, &result, &f))
        fail_msg("%s", f.text);
    pool_free(pool);
    return result;
}

static void test_separable_classes(void **state)
{
    (void)state;
    static Rows train, test;
    make_rows(&train, 4, 20);
    make_rows(&test, 5, 20);
    ProbeResult result = probe(&train, &test);
    assert_true(result.accuracy == 1);
    assert_true(result.train_accuracy == 1);
    assert_int_equal(result.images, TEST_COUNT);
}

static void test_labels_without_meaning(void **state)
{
    (void)state;
    static Rows train, test;
    make_rows(&train, 6, 0);
    make_rows(&test, 7, 0);
    ProbeResult result = probe(&train, &test);
    assert_true(result.accuracy > 0.15 && result.accuracy < 0.55);
}

/* Accuracy is counted here again, from the weights. */
static void test_accuracy(void **state)
{
    (void)state;
    static Rows r;
    make_rows(&r, 8, 1);
    Logistic l = fit(&r, 1);
    int right = 0;
    for (int i = 0; i < TEST_COUNT; i++) {
        double score[CLASSES];
        int best = 0;
        for (size_t k = 0; k < CLASSES; k++) {
            score[k] = (double)l.weight[DIMS * l.columns + k];
            for (size_t d = 0; d < DIMS; d++)
                score[k] += (double)((r.x[i][d] - l.mean[d]) * l.scale[d] * l.weight[d * l.columns + k]);
            best = score[k] > score[best] ? (int)k : best;
        }
        right += best == r.label[i];
    }
    Fault f;
    double accuracy = 0;
    AmdimPool *pool = new_pool(2);
    assert_true(logistic_accuracy(&l, pool, &(ProbeRows){TEST_COUNT, r.x[0], r.label, NULL}, &accuracy, &f));
    assert_true(fabs(accuracy - (double)right / TEST_COUNT) < 1e-12);
    assert_true(accuracy > 0.5 && accuracy < 1);
    pool_free(pool);
    logistic_free(&l);
}

/* Many classes and more columns than a tile; a class that has no image is never the answer. */
static void test_many_classes(void **state)
{
    (void)state;
    enum { MANY = 37, WIDE = 45, ROWS = 360 };
    static float x[ROWS][WIDE];
    static uint16_t label[ROWS];
    for (int i = 0; i < ROWS; i++) {
        Random random = random_at(9, RANDOM_PROBE, 0, (uint64_t)i, 0);
        label[i] = (uint16_t)(i % (MANY - 1));
        for (int d = 0; d < WIDE; d++)
            x[i][d] = (float)(random_normal(&random) + (d == label[i] ? 30 : 0));
    }
    ProbeResult result;
    Fault f = {.error = 0};
    AmdimPool *pool = new_pool(2);
    ProbeRows rows = {ROWS, x[0], label, NULL};
    assert_true(probe_linear(pool, MANY, WIDE, 0, &rows, &rows, &result, &f));
    assert_true(result.accuracy == 1);
    pool_free(pool);
}

static void test_what_cannot_be_probed(void **state)
{
    (void)state;
    static Rows r;
    static const char *const heads[] = {"linear", "mlp", "knn"};
    ProbeRows whole = {TRAIN_COUNT, r.x[0], r.label, NULL}, three = {3, r.x[0], r.label, NULL}, none = {0};
    ProbeResult result;
    AmdimPool *pool = new_pool(1);
    for (size_t h = 0; h < COUNT(heads); h++) {
        Fault f = {.error = 0};
        Probe *head = probe_named(heads[h]);
        make_rows(&r, 10, 1);
        assert_false(head(pool, CLASSES, DIMS, 0, &none, &whole, &result, &f));
        assert_string_equal(f.text, "the training split has no images to probe with");
        assert_false(head(pool, CLASSES, DIMS, 0, &whole, &none, &result, &f));
        assert_string_equal(f.text, "the test split has no images to probe with");
        r.label[3] = CLASSES;
        assert_false(head(pool, CLASSES, DIMS, 0, &whole, &three, &result, &f));
        assert_string_equal(f.text, "image 3 of the training split has label 3, but there are 3 classes");
        r.label[3] = 0;
        r.x[4][2] = NAN;
        assert_false(head(pool, CLASSES, DIMS, 0, &whole, &three, &result, &f));
        assert_non_null(strstr(f.text, "not finite"));
    }
    pool_free(pool);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(probe_named("linear") == probe_linear);
    assert_true(probe_named("mlp") == probe_mlp);
    assert_true(probe_named("knn") == probe_knn);
    assert_true(probe_named("") == NULL && probe_named("kn") == NULL && probe_named("mlps") == NULL);
}

static void assert_interval(double share, uint32_t count, double low, double high)
{
    double found_low, found_high;
    share_interval(share, count, &found_low, &found_high);
    assert_true(fabs(found_low - low) < 5e-5 && fabs(found_high - high) < 5e-5);
    assert_true((share > 0 || found_low == 0) && (share < 1 || found_high == 1));
}

/* Worked out apart, from the roots of (p - share)^2 = z^2 p (1 - p) / count. */
static void test_interval(void **state)
{
    (void)state;
    assert_interval(0.8, 10, 0.4902, 0.9433);
    assert_interval(0, 10, 0, 0.2775);
    assert_interval(1, 10, 0.7225, 1);
    assert_interval(0.5, 1, 0.0546, 0.9454);
    assert_interval(0.6560, 10000, 0.6466, 0.6652);
}

/* Rosenbrock's valley: not convex, badly conditioned, minimum 0 at (1, 1). */
static double rosenbrock(void *calls, const double *x, double *gradient)
{
    ++*(int *)calls;
    double along = 1 - x[0], across = x[1] - x[0] * x[0];
    gradient[0] = -2 * along - 400 * x[0] * across;
    gradient[1] = 200 * across;
    return along * along + 100 * across * across;
}

static void test_lbfgs(void **state)
{
    (void)state;
    Fault f;
    double x[2] = {-1.2, 1};
    int calls = 0, iterations = 0;
    assert_true(lbfgs_minimise(rosenbrock, &calls, 2, x, 1e-10, 500, &iterations, &f));
    assert_true(fabs(x[0] - 1) < 1e-6 && fabs(x[1] - 1) < 1e-6);
    assert_true(iterations < 100 && calls < 200);
    x[0] = x[1] = 1;
    assert_true(lbfgs_minimise(rosenbrock, &calls, 2, x, 1e-10, 500, &iterations, &f));
    assert_int_equal(iterations, 0);
    x[0] = -1.2;
    assert_true(lbfgs_minimise(rosenbrock, &calls, 2, x, 1e-10, 3, &iterations, &f));
    assert_int_equal(iterations, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_are_standardised),
        cmocka_unit_test(test_the_gradient_vanishes),
        cmocka_unit_test(test_same_result_at_any_number_of_threads),
        cmocka_unit_test(test_separable_classes),
        cmocka_unit_test(test_labels_without_meaning),
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_many_classes),
        cmocka_unit_test(test_what_cannot_be_probed),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_lbfgs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
