/* test_weights.c: initial values, PyTorch's layout, and files that do not fit the model. */
#include "toy_model.h"
#include "runtime.h"
#include "samples.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const AmdimTensor conv = {"w", 4, {3, 2, 2, 2}, 0, 24, true, AMDIM_INIT_ZERO, 0};

static void test_layout(void **state)
{
    (void)state;
    float torch[24], ours[24], back[24];
    for (int i = 0; i < 24; i++)
        torch[i] = (float)i;
    layout_inward(&conv, torch, ours);
    for (int o = 0; o < 3; o++)
        for (int i = 0; i < 2; i++)
            for (int y = 0; y < 2; y++)
                for (int x = 0; x < 2; x++)
                    assert_true(ours[((y * 2 + x) * 2 + i) * 3 + o] == torch[((o * 2 + i) * 2 + y) * 2 + x]);
    layout_outward(&conv, ours, back);
    assert_memory_equal(back, torch, sizeof torch);
}

static void test_planes(void **state)
{
    (void)state;
    const float pixels[6] = {1, 2, 3, 10, 20, 30}, planes[6] = {1, 10, 2, 20, 3, 30};
    float out[6];
    planes_from_pixels(pixels, 2, 3, out);
    assert_memory_equal(out, planes, sizeof planes);
    pixels_from_planes(planes, 2, 3, out);
    assert_memory_equal(out, pixels, sizeof pixels);
}

static void assert_all(const float *params, int tensor, float value)
{
    const AmdimTensor *t = &toy_model.tensor[tensor];
    for (size_t i = 0; i < t->count; i++)
        assert_true(params[t->offset + i] == value);
}

/* Within +-bound, of its variance, and different all over. */
static void assert_uniform(const float *values, size_t count, float bound)
{
    double square = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(fabsf(values[i]) <= bound);
        square += (double)values[i] * (double)values[i];
        if (i > 0)
            assert_true(values[i] != values[i - 1]);
    }
    double expected = (double)bound * (double)bound / 3;
    assert_true(square / (double)count > 0.5 * expected && square / (double)count < 1.5 * expected);
}

static void test_initial_values(void **state)
{
    (void)state;
    const AmdimModel *m = &toy_model;
    float params[192], again[192], other[192];
    assert_int_equal(m->param_floats, COUNT(params));
    memset(params, 0xff, sizeof params);
    weights_init(m, 7, params);
    weights_init(m, 7, again);
    weights_init(m, 8, other);
    assert_memory_equal(params, again, sizeof params);
    assert_memory_not_equal(params, other, sizeof params);
    assert_uniform(params + m->tensor[TOY_WEIGHT].offset, 72, m->tensor[TOY_WEIGHT].bound);
    assert_all(params, TOY_BN_WEIGHT, 1);
    assert_all(params, TOY_BN_BIAS, 0);
    assert_all(params, TOY_RUNNING_MEAN, 0);
    assert_all(params, TOY_RUNNING_VAR, 1);
    const AmdimTensor *shortcut = &m->tensor[TOY_SHORTCUT];
    for (int i = 0; i < shortcut->dims[1]; i++)
        for (int o = 0; o < shortcut->dims[0]; o++) {
            float value = params[shortcut->offset + (size_t)(i * shortcut->dims[0] + o)];
            assert_true(i == o ? value == 1 : value != 0 && fabsf(value) <= shortcut->bound);
        }
    for (size_t pad = 72; pad < 80; pad++) /* between the first tensor and the second */
        assert_true(params[pad] == 0);
}

static void test_narrow_shortcuts_have_no_diagonal(void **state)
{
    (void)state;
    const AmdimTensor narrow = {"w", 4, {2, 3, 1, 1}, 0, 6, true, AMDIM_INIT_SHORTCUT, 0.01f};
    AmdimModel m = toy_model;
    float params[6];
    m.tensor = &narrow;
    m.tensors = 1;
    m.param_floats = COUNT(params);
    weights_init(&m, 1, params);
    for (size_t i = 0; i < COUNT(params); i++)
        assert_true(fabsf(params[i]) <= 0.01f);
}

/* The same numbers whatever the layout: a row of taps in PyTorch's order is drawn one after the other. */
static void test_drawn_in_pytorchs_order(void **state)
{
    (void)state;
    AmdimTensor flat = {"w", 1, {24}, 0, 24, true, AMDIM_INIT_UNIFORM, 1}, shaped = conv;
    shaped.init = AMDIM_INIT_UNIFORM;
    shaped.bound = 1;
    AmdimModel m = toy_model;
    float torch[24], ours[24], expected[24];
    m.tensors = 1;
    m.param_floats = 24;
    m.tensor = &flat;
    weights_init(&m, 3, torch);
    m.tensor = &shaped;
    weights_init(&m, 3, ours);
    layout_inward(&conv, torch, expected);
    assert_memory_equal(ours, expected, sizeof ours);
}

/* The toy model's tensors with small whole numbers, one of them left out or changed, and one too many. */
static void write_weights(const char *path, int changed, const AmdimTensor *to)
{
    TensorWriter w;
    Fault f = {.error = 0};
    assert_true(writer_open(&w, path, &f));
    for (int i = 0; i < TOY_TENSORS; i++) {
        const AmdimTensor *t = i == changed ? to : &toy_model.tensor[i];
        if (t != NULL)
            weights_announce(&w, toy_model.tensor[i].name, t);
    }
    writer_announce(&w, "other", DTYPE_I64, 0, NULL);
    for (int i = 0; i < TOY_TENSORS; i++) {
        const AmdimTensor *t = i == changed ? to : &toy_model.tensor[i];
        for (size_t k = 0; t != NULL && k < t->count; k++)
            assert_true(writer_give(&w, &(float){(float)(100 * i) + (float)k}, sizeof(float), &f));
    }
    assert_true(writer_give(&w, &(int64_t){5}, sizeof(int64_t), &f));
    assert_true(writer_commit(&w, NULL, &f));
}

static void test_loading(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    float params[192], torch[72], ours[72];
    const char *path = scratch_path("w.safetensors");
    write_weights(path, -1, NULL);
    memset(params, 0xff, sizeof params);
    assert_true(weights_load(&toy_model, path, params, &f));
    for (int i = 0; i < 72; i++)
        torch[i] = (float)i;
    layout_inward(&toy_model.tensor[TOY_WEIGHT], torch, ours);
    assert_memory_equal(params, ours, sizeof ours);
    for (int i = 0; i < TOY_DIM; i++)
        assert_true(params[toy_model.tensor[TOY_RUNNING_VAR].offset + (size_t)i] == 600.0f + (float)i);
    for (size_t pad = 72; pad < 80; pad++)
        assert_true(params[pad] == 0);
}

static void check_refused(int changed, const AmdimTensor *to, const char *message)
{
    Fault f = {.error = 0};
    float params[192], before[192];
    const char *path = scratch_path("w.safetensors");
    write_weights(path, changed, to);
    memset(params, 1, sizeof params);
    memcpy(before, params, sizeof params);
    assert_false(weights_load(&toy_model, path, params, &f));
    if (strstr(f.text, message) == NULL)
        fail_msg("%s\n  is not: %s", f.text, message);
    assert_memory_equal(params, before, sizeof params);
}

static void test_what_does_not_fit(void **state)
{
    (void)state;
    AmdimTensor other = toy_model.tensor[TOY_WEIGHT];
    check_refused(TOY_WEIGHT, NULL, "w.safetensors: no tensor encoder.0.weight (float32, 6x3x2x2)");
    check_refused(TOY_BN_BIAS, NULL, "w.safetensors: no tensor embed.1.bn.bias (float32, 6)");
    other.dims[1] = 2, other.dims[2] = 3;
    check_refused(TOY_WEIGHT, &other, "tensor encoder.0.weight is 6x2x3x2, but the model's is 6x3x2x2");
    other.rank = 1, other.dims[0] = 72;
    check_refused(TOY_WEIGHT, &other, "tensor encoder.0.weight is 72, but the model's is 6x3x2x2");
}

static void test_types_that_do_not_fit(void **state)
{
    (void)state;
    const AmdimTensor tensor = {"other", 1, {1}, 0, 1, true, AMDIM_INIT_ZERO, 0};
    AmdimModel m = toy_model;
    Fault f = {.error = 0};
    float params[1];
    const char *path = scratch_path("w.safetensors");
    write_weights(path, -1, NULL);
    m.tensor = &tensor;
    m.tensors = 1;
    m.param_floats = 1;
    assert_false(weights_load(&m, path, params, &f));
    assert_non_null(strstr(f.text, "w.safetensors: tensor other is not float32"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_planes),
        cmocka_unit_test(test_initial_values),
        cmocka_unit_test(test_narrow_shortcuts_have_no_diagonal),
        cmocka_unit_test(test_drawn_in_pytorchs_order),
        cmocka_unit_test_setup_teardown(test_loading, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_what_does_not_fit, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_types_that_do_not_fit, scratch_set_up, scratch_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
