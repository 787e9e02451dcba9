/* test_checkpoint.c: a state comes back bit by bit, the state of another program is refused in words, and
 * where the last file is damaged the one before it serves. */
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

/* Bits of all kinds, but finite numbers; pads stay zero. */
static void fill(const AmdimModel *m, float *values, bool trained_only, uint32_t salt)
{
    for (int i = 0; i < m->tensors; i++)
        for (size_t k = 0; k < m->tensor[i].count && (m->tensor[i].trained || !trained_only); k++) {
            uint32_t bits = ((uint32_t)k * 2654435761u + salt) ^ (uint32_t)i << 27;
            bits &= ~(1u << 23);
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
    s.progress = (Progress){.seed = UINT64_MAX - 1,
                            .step = 123456789012345,
                            .limit = UINT32_MAX,
                            .left_out = 7,
                            .lr = 0.1,
                            .total = 223456789012345,
                            .data = "a set, 9 images"};
    return s;
}

/* FILE, and FILE.previous to keep what it replaces. */
static bool save(const AmdimModel *m, const char *name, const RunState *s, Fault *f)
{
    char last[512], previous[512];
    snprintf(last, sizeof last, "%s", scratch_path(name));
    snprintf(previous, sizeof previous, "%s.previous", last);
    const CheckpointFiles files = {.last = last, .previous = previous, .keep = true};
    return checkpoint_save(m, &files, s->params, &s->optimizer, &s->progress, f);
}

static void check_round_trip(const AmdimModel *m)
{
    Fault f = {.error = 0};
    const char *path = scratch_path("last.safetensors");
    RunState saved = filled_state(m), loaded = new_state(m);
    assert_true(save(m, "last.safetensors", &saved, &f));
    if (checkpoint_load(m, path, loaded.params, &loaded.optimizer, &loaded.progress, &f) != CHECKPOINT_LOADED)
        fail_msg("%s", f.text);
    assert_memory_equal(loaded.params, saved.params, sizeof saved.params);
    if (optimizer_floats(m) > 0)
        assert_memory_equal(loaded.optimizer.moments, saved.optimizer.moments,
                            optimizer_floats(m) * sizeof(float));
    assert_true(loaded.optimizer.steps == saved.optimizer.steps);
    assert_true(loaded.progress.seed == saved.progress.seed);
    assert_true(loaded.progress.step == saved.progress.step);
    assert_true(loaded.progress.limit == saved.progress.limit);
    assert_true(loaded.progress.left_out == saved.progress.left_out);
    assert_true(loaded.progress.lr == saved.progress.lr);
    assert_true(loaded.progress.total == (m->schedule.has_cosine ? saved.progress.total : 0));
    assert_string_equal(loaded.progress.data, saved.progress.data);
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
    AmdimModel momentum = sgd_model(0.9), plain = sgd_model(0), cosine = toy_model;
    cosine.schedule = (AmdimSchedule){.has_cosine = true};
    check_round_trip(&cosine);
    check_round_trip(&toy_model);
    check_round_trip(&momentum);
    check_round_trip(&plain);
}

static void test_same_state_same_bytes(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    char *bytes[2];
    size_t count[2];
    RunState s = filled_state(&toy_model);
    for (int i = 0; i < 2; i++) {
        const char *path = scratch_path(i == 0 ? "a" : "b");
        assert_true(save(&toy_model, i == 0 ? "a" : "b", &s, &f));
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
    Fault f = {.error = 0};
    TensorFile t;
    RunState s = filled_state(&toy_model);
    float torch[72], stored[72];
    const char *path = scratch_path("last.safetensors");
    assert_true(save(&toy_model, "last.safetensors", &s, &f));
    assert_true(tensors_open(&t, path, &f));
    assert_int_equal(t.count, 2 + TOY_TENSORS + 2 * TOY_TRAINED); /* and progress, and the digest */
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

static void check_not_loaded(CheckpointState as, const AmdimModel *m, const char *path, const char *message)
{
    Fault f = {.error = 0};
    RunState s = filled_state(m), before = s;
    assert_int_equal(checkpoint_load(m, path, s.params, &s.optimizer, &s.progress, &f), as);
    if (strstr(f.text, path) == NULL || strstr(f.text, message) == NULL)
        fail_msg("%s\n  is not: %s", f.text, message);
    assert_memory_equal(s.params, before.params, sizeof s.params);
    assert_true(s.optimizer.steps == before.optimizer.steps);
    optimizer_free(&s.optimizer);
}

static void check_refused(const AmdimModel *m, const char *path, const char *message)
{
    check_not_loaded(CHECKPOINT_REFUSED, m, path, message);
}

static void check_not_whole(const AmdimModel *m, const char *path, const char *message)
{
    check_not_loaded(CHECKPOINT_NOT_WHOLE, m, path, message);
}

static void test_other_programs_are_refused(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    const char *path = scratch_path("last.safetensors");
    RunState s = filled_state(&toy_model);
    AmdimModel spec = toy_model, other = toy_model, shorter = toy_model, sgd = sgd_model(0.9);
    spec.settings = 3;
    spec.setting = (const char *const[]){"channels 3", "dim 6", "pair 3-to-1 1"};
    assert_true(save(&spec, "last.safetensors", &s, &f));
    optimizer_free(&s.optimizer);
    other = shorter = spec;
    other.digest = shorter.digest = "fedcba9876543210";
    other.setting = (const char *const[]){"channels 3", "dim 64", "pair 3-to-1 1"};
    shorter.settings = 2;
    check_refused(&other, path,
                  "another spec (toy), with `dim 6` where this one (toy) has `dim 64`; go on with");
    check_refused(&shorter, path, "with `pair 3-to-1 1` where this one (toy) has `nothing more`");
    other.settings = 4;
    other.setting = (const char *const[]){"channels 3", "dim 6", "pair 3-to-1 1", "precision bfloat16"};
    check_refused(&other, path, "with `precision float32` where this one (toy) has `precision bfloat16`");
    other.setting = (const char *const[]){"channels 3", "dim 6", "pair 3-to-1 1", "ranks 2"};
    check_refused(&other, path, "with `ranks 1` where this one (toy) has `ranks 2`");
    check_refused(&sgd, path, "saved with optimizer adam, this program's is sgd");
    check_not_whole(&toy_model, scratch_path("none"), "No such file or directory");
}

enum { BEFORE_DIGESTS = 3, VALUES = 5 }; /* of progress */

/* A file with this metadata and all tensors of the model, but of the optimiser's none. */
static void write_weights_only(const char *path, const char *version, int64_t step, int values,
                               bool is_signed)
{
    Fault f = {.error = 0};
    TensorWriter w;
    assert_true(writer_open(&w, path, &f));
    if (version != NULL)
        writer_metadata(&w, "amdimc_version", version);
    writer_metadata(&w, "digest", toy_model.digest);
    writer_metadata(&w, "optimizer", "adam");
    if (is_signed)
        writer_sign(&w);
    writer_announce(&w, "progress", DTYPE_I64, 1, (int64_t[]){values});
    for (int i = 0; i < TOY_TENSORS; i++)
        weights_announce(&w, toy_model.tensor[i].name, &toy_model.tensor[i]);
    assert_true(writer_give(&w, (int64_t[]){1, step, 0, 0, 0}, 8 * (size_t)values, &f));
    const float zeros[72] = {0};
    for (int i = 0; i < TOY_TENSORS; i++)
        assert_true(weights_give(&w, &toy_model.tensor[i], zeros, &f));
    assert_true(writer_commit(&w, NULL, &f));
}

static void test_other_files_are_refused(void **state)
{
    (void)state;
    const char *path = scratch_path("last.safetensors");
    write_weights_only(path, NULL, 1, BEFORE_DIGESTS, false);
    check_refused(&toy_model, path, "no run to go on from");
    write_weights_only(path, "3", 1, VALUES, true);
    check_refused(&toy_model, path, "version 3 of the format, this program reads version 2");
    write_weights_only(path, "2", 1, VALUES, false);
    check_not_whole(&toy_model, path, "the digest does not fit");
    write_weights_only(path, "1", -1, BEFORE_DIGESTS, false);
    check_not_whole(&toy_model, path, "out of range");
    write_weights_only(path, "1", (int64_t)1 << 62, BEFORE_DIGESTS, false);
    check_not_whole(&toy_model, path, "out of range");
    write_weights_only(path, "1", 1, BEFORE_DIGESTS, false);
    check_not_whole(&toy_model, path, "no tensor optimizer.encoder.0.weight.exp_avg (float32, 6x3x2x2)");
}

/* What version 0.1 wrote: one key of ours, no digest, a progress of three values. */
static void test_checkpoints_of_version_0_1(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    TensorWriter w;
    AmdimModel plain = sgd_model(0);
    RunState loaded = new_state(&plain);
    const char *path = scratch_path("old.safetensors");
    const float values[72] = {[0] = 1.5f};
    assert_true(writer_open(&w, path, &f));
    writer_metadata(&w, "amdimc_version", "1");
    writer_metadata(&w, "name", "toy");
    writer_metadata(&w, "digest", toy_model.digest);
    writer_metadata(&w, "optimizer", "sgd");
    writer_announce(&w, "progress", DTYPE_I64, 1, (int64_t[]){3});
    for (int i = 0; i < TOY_TENSORS; i++)
        weights_announce(&w, toy_model.tensor[i].name, &toy_model.tensor[i]);
    assert_true(writer_give(&w, (int64_t[]){11, 22, 33}, 24, &f));
    for (int i = 0; i < TOY_TENSORS; i++)
        assert_true(weights_give(&w, &toy_model.tensor[i], values, &f));
    assert_true(writer_commit(&w, NULL, &f));
    CheckpointState loading =
        checkpoint_load(&plain, path, loaded.params, &loaded.optimizer, &loaded.progress, &f);
    if (loading != CHECKPOINT_LOADED)
        fail_msg("%s", f.text);
    assert_true(loaded.progress.seed == 11 && loaded.progress.step == 22 && loaded.progress.limit == 33);
    assert_true(loaded.progress.lr == plain.optimizer.lr && loaded.progress.left_out == 0);
    assert_string_equal(loaded.progress.data, "");
    assert_true(loaded.params[toy_model.tensor[TOY_BIAS].offset] == 1.5f);
    optimizer_free(&loaded.optimizer);
}

static void test_values_that_are_not_finite(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    RunState s = filled_state(&toy_model);
    s.params[toy_model.tensor[TOY_BIAS].offset + 2] = -1.0f / 0.0f;
    assert_true(save(&toy_model, "last.safetensors", &s, &f));
    assert_int_equal(checkpoint_load(&toy_model, scratch_path("last.safetensors"), s.params, &s.optimizer,
                                     &s.progress, &f),
                     CHECKPOINT_NOT_WHOLE);
    if (!strstr(f.text, "tensor encoder.0.bias holds a value that is not finite (-inf, element 2)"))
        fail_msg("%s", f.text);
    optimizer_free(&s.optimizer);
}

static void flip_bit(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static void test_the_previous_serves_where_the_last_is_damaged(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    char last[512], previous[512];
    snprintf(last, sizeof last, "%s", scratch_path("last"));
    snprintf(previous, sizeof previous, "%s.previous", last);
    CheckpointFiles files = {.last = last, .previous = previous};
    RunState s = filled_state(&toy_model), loaded = new_state(&toy_model);
    s.progress.step = 100;
    assert_true(save(&toy_model, "last", &s, &f));
    s.progress.step = 200;
    assert_true(save(&toy_model, "last", &s, &f));
#define LOAD()                                                                                               \
    checkpoint_load_newest(&toy_model, &files, loaded.params, &loaded.optimizer, &loaded.progress, &f)
    assert_int_equal(LOAD(), CHECKPOINT_LOADED);
    assert_true(loaded.progress.step == 200 && files.keep);
    flip_bit(last, -100);
    assert_int_equal(LOAD(), CHECKPOINT_LOADED);
    assert_true(loaded.progress.step == 100 && !files.keep);
    flip_bit(previous, 60);
    assert_int_equal(LOAD(), CHECKPOINT_NOT_WHOLE);
    assert_non_null(strstr(f.text, last));
    assert_non_null(strstr(f.text, previous));
    assert_non_null(strstr(f.text, "no checkpoint of the run is whole"));

    /* One of another spec is whole, and no reason to take an older one. */
    AmdimModel other = toy_model;
    other.digest = "fedcba9876543210";
    flip_bit(previous, 60);
    assert_true(save(&other, "last", &s, &f));
    assert_int_equal(LOAD(), CHECKPOINT_REFUSED);
    optimizer_free(&s.optimizer);
    optimizer_free(&loaded.optimizer);
}

static void test_failing_to_save_is_reported(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    RunState s = filled_state(&toy_model);
    assert_false(save(&toy_model, "none/last", &s, &f));
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
        cmocka_unit_test_setup_teardown(test_checkpoints_of_version_0_1, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_values_that_are_not_finite, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_the_previous_serves_where_the_last_is_damaged, scratch_set_up,
                                        scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_failing_to_save_is_reported, scratch_set_up, scratch_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
