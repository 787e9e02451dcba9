/* test_optimizer.c: Adam and SGD against the formulas of torch.optim in double, and the schedule. */
#include "runtime.h"
#include "samples.h"
#include "shell.h"
#include "toy_model.h"

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
    double g = gradient + (o->decoupled ? 0 : o->weight_decay * r->p);
    if (o->decoupled)
        r->p -= lr * o->weight_decay * r->p;
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

/* Twelve steps at rates up to 0.12 and a decay of 0.5 take a third of the weights away. */
static void test_adam_decoupled(void **state)
{
    (void)state;
    check_rule((AmdimOptimizer){.rule = AMDIM_ADAM,
                                .weight_decay = 0.5,
                                .beta1 = 0.8,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .decoupled = true});
    check_rule(
        (AmdimOptimizer){.rule = AMDIM_ADAM, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-2, .decoupled = true});
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
    assert_true(fabs(optimizer_rate(&m->schedule, m->optimizer.lr, step, epoch, 0) - expected) < 1e-12);
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

/* The rate by the formula of docs/language.md, for whole runs. */
static void test_cosine(void **state)
{
    (void)state;
    static const struct {
        int64_t warmup;
        double cosine;
        uint64_t total;
    } runs[] = {{0, 0, 1},      {0, 0, 100},     {10, 0, 100}, {10, 0.25, 37},
                {99, 0.1, 100}, {100, 0.1, 100}, {500, 0, 150}};
    for (size_t r = 0; r < COUNT(runs); r++) {
        const double w = (double)runs[r].warmup, c = runs[r].cosine, whole = (double)runs[r].total, lr = 0.03;
        const AmdimSchedule s = {.warmup = runs[r].warmup, .has_cosine = true, .cosine = c};
        for (uint64_t step = 0; step < runs[r].total; step++) {
            const double t = (double)step;
            double expected = lr * (w > 0 ? fmin(1, (t + 1) / w) : 1);
            if (t >= w)
                expected *= c + (1 - c) * 0.5 * (1 + cos(acos(-1) * (t - w) / (whole - w)));
            assert_true(fabs(optimizer_rate(&s, lr, step, step / 3, runs[r].total) - expected) < 1e-15);
        }
    }
}

/* ---- against PyTorch, where it is installed ---- */

enum { UPDATES = 20, WEIGHTS = 37 };

/* A rate that rises, and then falls along a cosine. */
static double rate_of(int update)
{
    const AmdimSchedule s = {.warmup = 5, .has_cosine = true, .cosine = 0.1};
    return optimizer_rate(&s, 0.02, (uint64_t)update, 0, UPDATES);
}

/* Twenty updates by the runtime; the gradients and rates that they had are written for Python. */
static void update_here(const AmdimOptimizer *rule, float *params)
{
    const AmdimTensor tensor = {.name = "w", .rank = 1, .dims = {WEIGHTS}, .count = WEIGHTS, .trained = true};
    AmdimModel m = {.tensors = 1, .tensor = &tensor, .trained_floats = WEIGHTS, .optimizer = *rule};
    Fault f;
    Optimizer o;
    AmdimPool *pool = pool_new(1, 0, &f);
    assert_non_null(pool);
    assert_true(optimizer_new(&o, &m, &f));
    FILE *input = fopen(scratch_path("updates"), "w");
    assert_non_null(input);
    for (int i = 0; i < WEIGHTS; i++)
        fprintf(input, "%.9g ", params[i] = made_up(-1, (size_t)i));
    for (int update = 0; update < UPDATES; update++) {
        float gradient[WEIGHTS];
        o.lr = rate_of(update);
        o.steps = (uint64_t)update;
        fprintf(input, "\n%.17g ", o.lr);
        for (int i = 0; i < WEIGHTS; i++)
            fprintf(input, "%.9g ", gradient[i] = made_up(update, (size_t)i));
        optimizer_take(&o, pool, params, 0, gradient);
    }
    assert_int_equal(fclose(input), 0);
    optimizer_free(&o);
    pool_free(pool);
}

static const char *folder;

/* The module's make_optimizer on the same numbers in double. */
static void expect_pytorch_s_updates(const char *python, const char *optimizer, const AmdimOptimizer *rule)
{
    static const char script[] = "import sys\n"
                                 "from updating import *\n"
                                 "rows = [list(map(float, line.split())) for line in open(sys.argv[1])]\n"
                                 "w = nn.Parameter(torch.tensor(rows[0], dtype=torch.float64))\n"
                                 "optimizer = make_optimizer([w])\n"
                                 "for rate, *gradient in rows[1:]:\n"
                                 "    optimizer.param_groups[0]['lr'] = rate\n"
                                 "    w.grad = torch.tensor(gradient, dtype=torch.float64)\n"
                                 "    optimizer.step()\n"
                                 "open(sys.argv[2], 'w').write(' '.join(repr(x) for x in w.tolist()))\n";
    float params[WEIGHTS];
    char spec[512];
    snprintf(spec, sizeof spec,
             "name: updating\ninput: {size: 4}\nbatch: 2\n"
             "encoder: [conv: {out: 3, kernel: 3}]\nembedding: {dim: 3}\n"
             "loss: {pairs: [2-to-2]}\noptimizer: {%s}\n",
             optimizer);
    scratch_write("updating.yaml", spec, strlen(spec));
    assert_int_equal(
        shell("%s --emit=pytorch %s/updating.yaml -o %s/updating.py", amdimc_path(), folder, folder), 0);
    scratch_write("update.py", script, sizeof script - 1);
    update_here(rule, params);
    assert_int_equal(shell("%s %s/update.py %s/updates %s/updated", python, folder, folder, folder), 0);
    FILE *updated = fopen(scratch_path("updated"), "r");
    assert_non_null(updated);
    for (int i = 0; i < WEIGHTS; i++) {
        double want;
        assert_int_equal(fscanf(updated, "%lf", &want), 1);
        if (!(fabs((double)params[i] - want) < 2e-6))
            fail_msg("%s: weight %d is %.9g, PyTorch's %.9g", optimizer, i, (double)params[i], want);
    }
    fclose(updated);
}

static void test_updates_are_pytorch_s(void **state)
{
    (void)state;
    const char *python = wanted(find_python("torch"));
    folder = scratch_begin();
    const AmdimOptimizer adam = {
        .rule = AMDIM_ADAM, .lr = 0.02, .weight_decay = 0.5, .beta1 = 0.7, .beta2 = 0.99, .eps = 1e-4};
    AmdimOptimizer decoupled = adam;
    decoupled.decoupled = true;
    expect_pytorch_s_updates(python, "adam: {lr: 0.02, betas: [0.7, 0.99], eps: 1e-4, weight_decay: 0.5}",
                             &adam);
    expect_pytorch_s_updates(
        python, "adam: {lr: 0.02, betas: [0.7, 0.99], eps: 1e-4, weight_decay: 0.5, decoupled: true}",
        &decoupled);
    expect_pytorch_s_updates(
        python, "sgd: {lr: 0.02, momentum: 0.8, weight_decay: 0.5}",
        &(AmdimOptimizer){.rule = AMDIM_SGD, .lr = 0.02, .weight_decay = 0.5, .momentum = 0.8});
    scratch_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adam),          cmocka_unit_test(test_adam_decoupled),
        cmocka_unit_test(test_sgd),           cmocka_unit_test(test_moments_are_only_what_the_rule_needs),
        cmocka_unit_test(test_large_tensors), cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_cosine),        cmocka_unit_test(test_updates_are_pytorch_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
