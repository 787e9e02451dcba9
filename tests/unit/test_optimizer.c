/* test_optimizer.c: Adam and SGD against the formulas of torch.optim in double, and the schedule. */
#include "toy_model.h"
#include "runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { STEPS = 12 };

static float made_up(int step, size_t i)
{
    return (float)sin(0.7 * step + 1.3 * (double)i) * (i % 5 == 0 ? 1e-3f : 1.0f);
}

/* One parameter's state, in double. */
typedef struct {
    double p, first, second;
} Reference;

static void reference_step(const AmdimOptimizer *o, Reference *r, double gradient, int step, double lr)
{
    double g = gradient + o->weight_decay * r->p;
    if (o->rule == AMDIM_SGD) {
        r->first = step == 0 ? g : o->momentum * r->first + g;
        r->p -= lr * r->first;
        return;
    }
    r->first = o->beta1 * r->first + (1 - o->beta1) * g;
    r->second = o->beta2 * r->second + (1 - o->beta2) * g * g;
    double first = r->first / (1 - pow(o->beta1, step + 1)),
           second = r->second / (1 - pow(o->beta2, step + 1));
    r->p -= lr * first / (sqrt(second) + o->eps);
}

static void check_rule(AmdimOptimizer rule)
{
    enum { TENSOR = TOY_WEIGHT, OTHER = TOY_BIAS };
    AmdimModel m = toy_model;
    m.optimizer = rule;
    Fault f;
    Optimizer o;
    Machine k;
    assert_true(machine_new(&k, &m, 2, &f));
    assert_true(optimizer_new(&o, &m, &f));
    const AmdimTensor *t = &m.tensor[TENSOR];
    Reference *reference = calloc(t->count, sizeof *reference);
    float *gradient = calloc(t->count, sizeof *gradient);
    for (size_t i = 0; i < t->count; i++)
        reference[i].p = k.params[t->offset + i] = made_up(-1, i);
    for (int step = 0; step < STEPS; step++) {
        o.lr = 0.01 * (step + 1);
        for (size_t i = 0; i < t->count; i++) {
            gradient[i] = made_up(step, i);
            reference_step(&rule, &reference[i], (double)gradient[i], step, o.lr);
        }
        optimizer_take(&o, k.pool, k.params, TENSOR, gradient);
        o.steps++;
    }
    for (size_t i = 0; i < t->count; i++)
        assert_true(fabs((double)k.params[t->offset + i] - reference[i].p) <
                    2e-6 * (1 + fabs(reference[i].p)));
    for (size_t i = 0; i < m.tensor[OTHER].count; i++)
        assert_true(k.params[m.tensor[OTHER].offset + i] == 0);
    free(reference);
    free(gradient);
    optimizer_free(&o);
    machine_free(&k);
}

static void test_adam(void **state)
{
    (void)state;
    check_rule(
        (AmdimOptimizer){.rule = AMDIM_ADAM, .weight_decay = 0.1, .beta1 = 0.8, .beta2 = 0.999, .eps = 1e-8});
    check_rule((AmdimOptimizer){.rule = AMDIM_ADAM, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-2});
    check_rule((AmdimOptimizer){.rule = AMDIM_ADAM, .beta1 = 0, .beta2 = 0, .eps = 1e-3});
}

static void test_sgd(void **state)
{
    (void)state;
    check_rule((AmdimOptimizer){.rule = AMDIM_SGD, .momentum = 0.9, .weight_decay = 0.1});
    check_rule((AmdimOptimizer){.rule = AMDIM_SGD, .weight_decay = 0.1});
    check_rule((AmdimOptimizer){.rule = AMDIM_SGD});
}

static void test_moments_are_only_what_the_rule_needs(void **state)
{
    (void)state;
    AmdimModel m = toy_model;
    assert_int_equal(optimizer_floats(&m), 2 * m.trained_floats);
    m.optimizer = (AmdimOptimizer){.rule = AMDIM_SGD, .momentum = 0.9};
    assert_int_equal(optimizer_floats(&m), m.trained_floats);
    m.optimizer.momentum = 0;
    assert_int_equal(optimizer_floats(&m), 0);
}

/* A tensor of several blocks, the last not full: every element is updated once. */
static void test_large_tensors(void **state)
{
    (void)state;
    enum { LARGE = 100003 };
    const AmdimTensor tensor = {"large", 1, {LARGE}, 0, LARGE, true, AMDIM_INIT_ZERO, 0};
    AmdimModel m = toy_model;
    m.tensor = &tensor;
    m.tensors = 1;
    m.param_floats = m.trained_floats = LARGE + 13;
    m.optimizer = (AmdimOptimizer){.rule = AMDIM_SGD, .momentum = 0.5};
    Fault f;
    Optimizer o;
    Machine k;
    float *gradient = calloc(LARGE, sizeof *gradient);
    assert_true(machine_new(&k, &m, 3, &f));
    assert_true(optimizer_new(&o, &m, &f));
    o.lr = 1;
    for (int i = 0; i < LARGE; i++)
        gradient[i] = (float)i;
    optimizer_take(&o, k.pool, k.params, 0, gradient);
    for (int i = 0; i < LARGE; i++)
        assert_true(k.params[i] == -(float)i);
    free(gradient);
    optimizer_free(&o);
    machine_free(&k);
}

static void assert_rate(const AmdimModel *m, uint64_t step, uint64_t epoch, double expected)
{
    assert_true(fabs(optimizer_rate(&m->schedule, m->optimizer.lr, step, epoch) - expected) < 1e-12);
}

static void test_schedule(void **state)
{
    (void)state;
    const AmdimModel *m = &toy_model; /* lr 0.01, warm-up 5, epochs 2 and 3, gamma 0.5 */
    assert_rate(m, 0, 0, 0.002);
    assert_rate(m, 3, 0, 0.008);
    assert_rate(m, 4, 0, 0.01);
    assert_rate(m, 400, 1, 0.01);
    assert_rate(m, 400, 2, 0.005);
    assert_rate(m, 400, 3, 0.0025);
    assert_rate(m, 400, 9, 0.0025);
    assert_rate(m, 0, 2, 0.001);
    AmdimModel cold = toy_model;
    cold.schedule.warmup = 0;
    assert_rate(&cold, 0, 0, 0.01);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_moments_are_only_what_the_rule_needs),
        cmocka_unit_test(test_large_tensors),
        cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
