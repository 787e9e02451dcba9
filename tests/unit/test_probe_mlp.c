/* test_probe_mlp.c: the MLP's gradients against differences of its loss, which is written down again here.
 *
 * The file under test is included, for its steps are its own business. Dropout is drawn by address, so the
 * same units are dropped each time. */
#include "probe/probe_mlp.c"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { ROWS = 100, DIMS = 5, CLASSES = 3 };

typedef struct {
    float x[ROWS][DIMS];
    uint16_t label[ROWS];
    uint32_t order[ROWS];
    ProbeRows rows;
    AmdimPool *pool;
    Mlp m;
} Bench;

static int bench_new(void **state)
{
    static Bench b;
    Fault f;
    for (uint32_t i = 0; i < ROWS; i++) {
        Random r = random_at(1, RANDOM_PROBE, 0, i, 0);
        b.label[i] = (uint16_t)random_below(&r, CLASSES);
        b.order[i] = ROWS - 1 - i;
        for (int d = 0; d < DIMS; d++)
            b.x[i][d] = (float)(random_normal(&r) + (d == b.label[i]));
    }
    b.rows = (ProbeRows){ROWS, b.x[0], b.label, NULL};
    b.pool = pool_new(2, 0, &f);
    assert_non_null(b.pool);
    assert_true(mlp_new(&b.m, b.pool, CLASSES, DIMS, 2, &f));
    assert_true(probe_find_scales(b.pool, DIMS, &b.rows, b.m.mean, b.m.scale, &f));
    b.m.training = true;
    b.m.step = 3;
    *state = &b;
    return 0;
}

static int bench_free(void **state)
{
    Bench *b = *state;
    free(b->m.memory);
    pool_free(b->pool);
    return 0;
}

/* The mean cross-entropy of a step's forward pass. */
static double loss(Bench *b)
{
    Mlp *m = &b->m;
    double sum = 0;
    batch_scores(m, &b->rows, b->order, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        double scores[CLASSES], all = 0;
        for (size_t k = 0; k < CLASSES; k++) {
            scores[k] = (double)m->bias.value[k];
            for (int g = 0; g < GROUPS; g++)
                scores[k] += (double)m->group[g].scores[i * m->columns + k];
            all += exp(scores[k]);
        }
        sum += log(all) - scores[b->label[b->order[i]]];
    }
    return sum / ROWS;
}

/* Gradients by themselves: at rate 0 Adam leaves the weights where they are. */
static void gradients(Bench *b)
{
    b->m.adam = (AdamStep){.rate = 0, .eps = 1, .keep = 1};
    batch_scores(&b->m, &b->rows, b->order, ROWS);
    amdim_parallel(b->pool, backward_part, &b->m, GROUPS);
    bias_backward(&b->m);
}

static double norm(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Along its own direction a gradient's slope is its length. */
static void check_slope(Bench *b, float *value, const float *gradient, size_t count)
{
    const double length = norm(gradient, count), step = 2e-2;
    float *kept = malloc(count * sizeof *kept);
    assert_non_null(kept);
    assert_true(length > 1e-3);
    memcpy(kept, value, count * sizeof *kept);
    double at[2];
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < count; i++)
            value[i] = kept[i] + (float)((side ? -step : step) * (double)gradient[i] / length);
        at[side] = loss(b);
    }
    memcpy(value, kept, count * sizeof *kept);
    free(kept);
    double slope = (at[0] - at[1]) / (2 * step);
    if (fabs(slope - length) > 1e-2 * length)
        fail_msg("slope %g, gradient %g", slope, length);
}

static void test_gradients(void **state)
{
    Bench *b = *state;
    gradients(b);
    float bias[CLASSES];
    memcpy(bias, b->m.bias.gradient, sizeof bias);
    check_slope(b, b->m.bias.value, bias, CLASSES);
    for (int i = 0; i < GROUPS; i += GROUPS - 1) {
        Group *g = &b->m.group[i];
        check_slope(b, g->w1, g->d_w1, DIMS * UNITS);
        check_slope(b, g->gamma, g->d_gamma, UNITS);
        check_slope(b, g->beta, g->d_beta, UNITS);
        check_slope(b, g->w2, g->d_w2, UNITS * b->m.columns);
    }
}

typedef struct {
    double positive, sum;
} Activity;

static Activity activity(Bench *b, bool training)
{
    Activity a = {0, 0};
    b->m.training = training;
    batch_scores(&b->m, &b->rows, b->order, ROWS);
    for (int g = 0; g < GROUPS; g++)
        for (size_t i = 0; i < ROWS * UNITS; i++) {
            a.positive += b->m.group[g].active[i] > 0;
            a.sum += (double)b->m.group[g].active[i];
        }
    return a;
}

/* After many looks at one batch the running statistics are the batch's, so that training differs from
 * testing by dropout alone: a fifth of the units is gone, and the others make up for it. */
static void test_dropout(void **state)
{
    Bench *b = *state;
    Activity training = {0, 0};
    for (int look = 0; look < 200; look++)
        training = activity(b, true);
    Activity testing = activity(b, false);
    assert_true(fabs(training.positive / testing.positive - 0.8) < 0.01);
    assert_true(fabs(training.sum / testing.sum - 1) < 0.02);
}

/* Whole runs end in the same bits. */
static void test_same_bits_at_any_number_of_threads(void **state)
{
    Bench *b = *state;
    float first[UNITS], bias[CLASSES];
    for (int threads = 1; threads <= 3; threads++) {
        Mlp m;
        Fault f;
        AmdimPool *pool = pool_new(threads, 0, &f);
        assert_non_null(pool);
        assert_true(mlp_new(&m, pool, CLASSES, DIMS, 2, &f));
        assert_true(probe_find_scales(pool, DIMS, &b->rows, m.mean, m.scale, &f));
        uint32_t order[ROWS];
        mlp_train(&m, &b->rows, order);
        if (threads == 1) {
            memcpy(first, m.group[GROUPS - 1].w1, sizeof first);
            memcpy(bias, m.bias.value, sizeof bias);
        }
        assert_memory_equal(first, m.group[GROUPS - 1].w1, sizeof first);
        assert_memory_equal(bias, m.bias.value, sizeof bias);
        free(m.memory);
        pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_same_bits_at_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, bench_new, bench_free);
}
