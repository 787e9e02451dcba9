/* test_checkpoint.c: a state comes back bit by bit, and the state of another program is refused in words. */
#include "commands.h"
#include "samples.h"
#include "toy_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct {
    float params[192];
    Optimizer optimizer;
    Progress progress;
} RunState;

static RunState new_state(const AmdimModel *m)
{
    RunState s = {.progress = {0}};
    Fault f;
    assert_int_equal(m->param_floats, COUNT(s.params));
    assert_true(optimizer_new(&s.optimizer, m, &f));
    return s;
}

/* Bits of all kinds, not numbers among them; pads stay zero. */
static void fill(const AmdimModel *m, float *values, bool trained_only, uint32_t salt)
{
    for (int i = 0; i < m->tensors; i++)
        for (size_t k = 0; k < m->tensor[i].count && (m->tensor[i].trained || !trained_only); k++) {
            uint32_t bits = ((uint32_t)k * 2654435761u + salt) ^ (uint32_t)i << 27;
            memcpy(&values[m->tensor[i].offset + k], &bits, sizeof bits);
        }
}

static RunState filled_state(const AmdimModel *m)
{
    RunState s = new_state(m);
    fill(m, s.params, false, 1);
    for (size_t part = 0; part < optimizer_floats(m) / m->trained_floats; part++)
        fill(m, s.optimizer.moments + part * m->trained_floats, true, 2 + (uint32_t)part);
    s.optimizer.steps = 123456789012345;
    s.progress = (Progress){.seed = UINT64_MAX - 1, .step = 123456789012345, .limit = UINT32_MAX};
    return s;
}

static void check_round_trip(const AmdimModel *m)
{
    Fault f = {{0}};
    const char *path = scratch_path("last.safetensors");
    RunState saved = filled_state(m), loaded = new_state(m);
    assert_true(checkpoint_save(m, path, saved.params, &saved.optimizer, &saved.progress, &f));
    if (!checkpoint_load(m, path, loaded.params, &loaded.optimizer, &loaded.progress, &f))
        fail_msg("%s", f.text);
    assert_memory_equal(loaded.params, saved.params, sizeof saved.params);
    if (optimizer_floats(m) > 0)
        assert_memory_equal(loaded.optimizer.moments, saved.optimizer.moments,
                            optimizer_floats(m) * sizeof(float));
    assert_true(loaded.optimizer.steps == saved.optimizer.steps);
    assert_true(loaded.progress.seed == saved.progress.seed);
    assert_true(loaded.progress.step == saved.progress.step);
    assert_true(loaded.progress.limit == saved.progress.limit);
    optimizer_free(&saved.optimizer);
    optimizer_free(&loaded.optimizer);
}

static AmdimModel sgd_model(double momentum)
{
    AmdimModel m = toy_model;
    m.optimizer = (AmdimOptimizer){.rule = AMDIM_SGD, .lr = 0.1, .momentum = momentum};
    return m;
}

static void test_round_trip(void **state)
{
    (void)state;
    AmdimModel momentum = sgd_model(0.9), plain = sgd_model(0);
    check_round_trip(&toy_model);
    check_round_trip(&momentum);
    check_round_trip(&plain);
}

static void test_same_state_same_bytes(void **state)
{
    (void)state;
    Fault f = {{0}};
    char *bytes[2];
    size_t count[2];
    RunState s = filled_state(&toy_model);
    for (int i = 0; i < 2; i++) {
        const char *path = scratch_path(i == 0 ? "a" : "b");
        assert_true(checkpoint_save(&toy_model, path, s.params, &s.optimizer, &s.progress, &f));
        bytes[i] = read_whole(path, &count[i]);
    }
    assert_int_equal(count[0], count[1]);
    assert_memory_equal(bytes[0], bytes[1], count[0]);
    free(bytes[0]);
    free(bytes[1]);
    optimizer_free(&s.optimizer);
}

/* What others read of it: names, shapes, PyTorch's layout. */
static void test_contents(void **state)
{
    (void)state;
    Fault f = {{0}};
    TensorFile t;
    RunState s = filled_state(&toy_model);
    float torch[72], stored[72];
    const char *path = scratch_path("last.safetensors");
    assert_true(checkpoint_save(&toy_model, path, s.params, &s.optimizer, &s.progress, &f));
    assert_true(tensors_open(&t, path, &f));
    assert_int_equal(t.count, 1 + TOY_TENSORS + 2 * TOY_TRAINED);
    assert_string_equal(tensors_metadata(&t, "digest"), toy_model.digest);
    assert_string_equal(tensors_metadata(&t, "name"), "toy");
    layout_outward(&toy_model.tensor[TOY_WEIGHT], s.params, torch);
    assert_true(tensors_read(&t, tensors_find(&t, "encoder.0.weight"), stored, &f));
    assert_memory_equal(stored, torch, sizeof torch);
    layout_outward(&toy_model.tensor[TOY_WEIGHT], s.optimizer.moments + toy_model.trained_floats, torch);
    assert_true(tensors_read(&t, tensors_find(&t, "optimizer.encoder.0.weight.exp_avg_sq"), stored, &f));
    assert_memory_equal(stored, torch, sizeof torch);
    assert_null(tensors_find(&t, "optimizer.embed.1.bn.running_mean.exp_avg"));
    tensors_close(&t);
    optimizer_free(&s.optimizer);
}

static void check_refused(const AmdimModel *m, const char *path, const char *message)
{
    Fault f = {{0}};
    RunState s = filled_state(m), before = s;
    assert_false(checkpoint_load(m, path, s.params, &s.optimizer, &s.progress, &f));
    if (strstr(f.text, path) == NULL || strstr(f.text, message) == NULL)
        fail_msg("%s\n  is not: %s", f.text, message);
    assert_memory_equal(s.params, before.params, sizeof s.params);
    assert_true(s.optimizer.steps == before.optimizer.steps);
    optimizer_free(&s.optimizer);
}

static void test_other_programs_are_refused(void **state)
{
    (void)state;
    Fault f = {{0}};
    const char *path = scratch_path("last.safetensors");
    RunState s = filled_state(&toy_model);
    assert_true(checkpoint_save(&toy_model, path, s.params, &s.optimizer, &s.progress, &f));
    optimizer_free(&s.optimizer);
    AmdimModel other = toy_model, sgd = sgd_model(0.9);
    other.digest = "fedcba9876543210";
    check_refused(&other, path,
                  "another spec (toy, digest 0123456789abcdef; this is toy, digest fedcba9876543210)");
    check_refused(&sgd, path, "saved with optimizer adam, this program's is sgd");
    check_refused(&toy_model, scratch_path("none"), "No such file or directory");
}

/* A file with this metadata and all tensors of the model, but of the optimiser's none. */
static void write_weights_only(const char *path, const char *version, int64_t step)
{
    Fault f = {{0}};
    TensorWriter w;
    assert_true(writer_open(&w, path, &f));
    if (version != NULL)
        writer_metadata(&w, "amdimc_version", version);
    writer_metadata(&w, "digest", toy_model.digest);
    writer_metadata(&w, "optimizer", "adam");
    writer_announce(&w, "progress", DTYPE_I64, 1, (int64_t[]){3});
    for (int i = 0; i < TOY_TENSORS; i++)
        weights_announce(&w, toy_model.tensor[i].name, &toy_model.tensor[i]);
    assert_true(writer_give(&w, (int64_t[]){1, step, 0}, 24, &f));
    const float zeros[72] = {0};
    for (int i = 0; i < TOY_TENSORS; i++)
        assert_true(weights_give(&w, &toy_model.tensor[i], zeros, &f));
    assert_true(writer_commit(&w, &f));
}

static void test_other_files_are_refused(void **state)
{
    (void)state;
    const char *path = scratch_path("last.safetensors");
    write_weights_only(path, NULL, 1);
    check_refused(&toy_model, path, "no run to go on from");
    write_weights_only(path, "2", 1);
    check_refused(&toy_model, path, "version 2 of the format, this program reads version 1");
    write_weights_only(path, "1", -1);
    check_refused(&toy_model, path, "out of range");
    write_weights_only(path, "1", 1);
    check_refused(&toy_model, path, "no tensor optimizer.encoder.0.weight.exp_avg (float32, 6x3x2x2)");
}

static void test_failing_to_save_is_reported(void **state)
{
    (void)state;
    Fault f = {{0}};
    RunState s = filled_state(&toy_model);
    assert_false(
        checkpoint_save(&toy_model, scratch_path("none/last"), s.params, &s.optimizer, &s.progress, &f));
    assert_non_null(strstr(f.text, "none/last: No such file or directory"));
    optimizer_free(&s.optimizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_same_state_same_bytes, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_contents, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_other_programs_are_refused, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_other_files_are_refused, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_failing_to_save_is_reported, scratch_set_up, scratch_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
