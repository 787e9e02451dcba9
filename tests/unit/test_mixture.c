/* test_mixture.c: mixtures outside of a step: the antecedents that are made of one embedding, and which of
 * them explains which location on the report's page. */
#include "reporting.h"
#include "samples.h"
#include "toy_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COMPONENTS = 3, HIDDEN = 4, CONV1 = TOY_TENSORS, CONV2, TENSORS, FLOATS = 192 + 32 + 80 };

static AmdimTensor tensors[TENSORS];
static const AmdimPair pair = {
    .name = "1-to-3", .from = 1, .to = TOY_SIDE, .weight = 1, .located = -1, .mixture = true};

/* The toy with two tensors more, behind all others. */
static AmdimModel mixed_toy(void)
{
    AmdimModel m = toy_model;
    memcpy(tensors, m.tensor, sizeof *tensors * TOY_TENSORS);
    tensors[CONV1] = (AmdimTensor){.name = "embed.1.mixture.conv1.weight",
                                   .rank = 4,
                                   .dims = {HIDDEN, TOY_DIM, 1, 1},
                                   .offset = 192,
                                   .count = HIDDEN * TOY_DIM,
                                   .init = AMDIM_INIT_UNIFORM,
                                   .bound = 1};
    tensors[CONV2] = (AmdimTensor){.name = "embed.1.mixture.conv2.weight",
                                   .rank = 4,
                                   .dims = {COMPONENTS * TOY_DIM, HIDDEN, 1, 1},
                                   .offset = 192 + 32,
                                   .count = COMPONENTS * TOY_DIM * HIDDEN,
                                   .init = AMDIM_INIT_UNIFORM,
                                   .bound = 1};
    m.tensors = TENSORS;
    m.tensor = tensors;
    m.param_floats = FLOATS;
    m.mixture = (AmdimMixture){COMPONENTS, HIDDEN, 1, CONV1, CONV2};
    m.pair = &pair;
    m.located = 0;
    return m;
}

/* Element i of component j as the formula has it; weights lie with a row for each input. */
static double component(const float *params, const float *phi, int j, int i)
{
    const float *w1 = params + tensors[CONV1].offset, *w2 = params + tensors[CONV2].offset;
    double sum = phi[i];
    for (int h = 0; h < HIDDEN; h++) {
        double hidden = 0;
        for (int r = 0; r < TOY_DIM; r++)
            hidden += (double)w1[r * HIDDEN + h] * phi[r];
        if (hidden > 0)
            sum += hidden * w2[h * COMPONENTS * TOY_DIM + j * TOY_DIM + i];
    }
    return sum;
}

static void antecedents_are_as_the_formula_has_them(void **state)
{
    (void)state;
    Fault f;
    const AmdimModel m = mixed_toy();
    float params[FLOATS], phi[TOY_DIM], out[COMPONENTS * TOY_DIM];
    for (int i = 0; i < FLOATS; i++)
        params[i] = (float)sin(i * 1.7);
    for (int i = 0; i < TOY_DIM; i++)
        phi[i] = (float)cos(i * 2.3);
    assert_int_equal(antecedents_of(&m, &pair), COMPONENTS);
    assert_true(antecedents(&m, &pair, params, phi, out, &f));
    for (int j = 0; j < COMPONENTS; j++)
        for (int i = 0; i < TOY_DIM; i++)
            assert_true(fabs(out[j * TOY_DIM + i] - component(params, phi, j, i)) < 1e-6);
}

static void a_pair_without_a_mixture_has_its_embedding(void **state)
{
    (void)state;
    Fault f;
    float phi[TOY_DIM] = {1, 2, 3}, out[TOY_DIM];
    assert_int_equal(antecedents_of(&toy_model, toy_model.pair), 1);
    assert_true(antecedents(&toy_model, toy_model.pair, NULL, phi, out, &f));
    assert_memory_equal(phi, out, sizeof phi);
}

/* A score of 5 phi_1's first element with phi_3's, that no plain embedding has. */
static void the_largest_score_is_of_all_components(void **state)
{
    (void)state;
    Machine k;
    Fault f;
    const AmdimModel m = mixed_toy();
    assert_true(machine_new(&k, &m, 1, &f));
    float phi_1[TOY_IMAGES * TOY_DIM] = {0}, phi_3[TOY_IMAGES * TOY_SIDE * TOY_SIDE * TOY_DIM] = {0};
    k.step.embedding[0] = phi_1;
    k.step.embedding[1] = phi_3;
    k.step.locations =
        (const int32_t[]){0}; /* sanitizers see whether a pair that draws none reaches before it */
    memset(k.params, 0, FLOATS * sizeof *k.params);
    phi_1[0] = 2;
    phi_3[(TOY_BATCH * TOY_SIDE * TOY_SIDE + 4) * TOY_DIM] = 3;
    assert_true(fabs(largest_score(&m, &k.step, 0) - 6 / sqrt(TOY_DIM)) < 1e-6);
    k.params[tensors[CONV1].offset] = 1;
    k.params[tensors[CONV2].offset + (COMPONENTS - 1) * TOY_DIM] = 4;
    assert_true(fabs(largest_score(&m, &k.step, 0) - 30 / sqrt(TOY_DIM)) < 1e-6);
    machine_free(&k);
}

/* ---- on the page ---- */

/* The mean posteriors of the legend, in percent. */
static void read_shares(const char *page, double share[COMPONENTS])
{
    const char *at = strstr(page, "class=\"components\"");
    assert_non_null(at);
    for (int j = 0; j < COMPONENTS; j++) {
        int number = 0;
        at = strstr(at, "</i>");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "</i>%d: %lf %%", &number, &share[j]), 2);
        assert_int_equal(number, j + 1);
        at++;
    }
}

static void set(Reporting *r, int tensor, float value)
{
    for (size_t i = 0; i < tensors[tensor].count; i++)
        r->machine.params[tensors[tensor].offset + i] = value;
}

static void the_page_shows_which_component_explains_what(void **state)
{
    (void)state;
    Reporting r;
    double share[COMPONENTS];
    const AmdimModel m = mixed_toy();
    reporting_begin(&r, &m, NULL);
    set(&r, CONV2, 0); /* all components are the same */
    char *page = reporting_page(&r);
    assert_non_null(strstr(page, "The mixture of 1-to-3"));
    assert_int_equal(count_of(page, "aria-label=\"its components\""), TOY_BATCH);
    read_shares(page, share);
    for (int j = 0; j < COMPONENTS; j++)
        assert_true(fabs(share[j] - 33) < 0.1);
    free(page);

    set(&r, CONV1, 2);
    for (int i = 0; i < TOY_DIM; i++) /* a hidden unit for each sign of the sum */
        r.machine.params[tensors[CONV1].offset + (size_t)(i * HIDDEN)] = -2;
    for (int h = 0; h < HIDDEN; h++) /* the last component is no longer like the others */
        r.machine.params[tensors[CONV2].offset + (size_t)(h * COMPONENTS + COMPONENTS - 1) * TOY_DIM] = 9;
    page = reporting_page(&r);
    read_shares(page, share);
    assert_true(fabs(share[0] + share[1] + share[2] - 100) <= 1.5);
    assert_true(fabs(share[2] - share[0]) > 3);
    free(page);
    reporting_end(&r);
}

static void the_page_of_others_has_none(void **state)
{
    (void)state;
    Reporting r;
    reporting_begin(&r, &toy_model, NULL);
    char *page = reporting_page(&r);
    assert_null(strstr(page, "mixture"));
    free(page);
    reporting_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(antecedents_are_as_the_formula_has_them),
        cmocka_unit_test(a_pair_without_a_mixture_has_its_embedding),
        cmocka_unit_test(the_largest_score_is_of_all_components),
        cmocka_unit_test(the_page_shows_which_component_explains_what),
        cmocka_unit_test(the_page_of_others_has_none),
    };
    return cmocka_run_group_tests_name("mixture", tests, scratch_set_up, scratch_tear_down);
}
