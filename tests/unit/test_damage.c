/* test_damage.c: a checkpoint of specs/tiny.yaml with a byte changed, cut short or grown is never taken for
 * whole, by any reader that the commands use; a run goes on from the previous one then. Files of other
 * writers are read as ever.
 *
 * TORTURE_BYTES=N changes every N-th byte in place of every 997th; `make torture` all of them. */
#include "commands.h"
#include "runtime.h"
#include "samples.h"
#include "shell.h"
#include "torture.h"
#include "toy_model.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { EVERY_BY_DEFAULT = 997, CUT = 97, GROWN_MOST = 64, CHANGES_FOR_ALL = 64 };

/* generated/tiny/tiny.c's amdim_model: all of a real program but its main. */
static const AmdimModel *const model = &amdim_model;

typedef struct {
    char path[600];
    int file;
    char *bytes; /* as they should be */
    size_t count;
    float *params;
    Optimizer optimizer;
} Saved;

static Saved saved;

static int save_a_checkpoint(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    snprintf(setting.folder, sizeof setting.folder, "%s", scratch_begin());
    snprintf(saved.path, sizeof saved.path, "%s", scratch_path("last.safetensors"));
    saved.params = allocate_zero(model->param_floats * sizeof(float), "weights", &f);
    assert_true(saved.params && optimizer_new(&saved.optimizer, model, &f));
    weights_init(model, 1, saved.params);
    for (size_t i = 0; i < optimizer_floats(model); i++)
        saved.optimizer.moments[i] = (float)(i % 1000) * 1e-3f;
    CheckpointFiles files = {.last = saved.path, .previous = NULL};
    Progress p = {
        .seed = 1, .step = 100, .lr = 1e-3, .data = "built-in pictures, fingerprint 0123456789abcdef"};
    assert_true(checkpoint_save(model, &files, saved.params, &saved.optimizer, &p, &f));
    saved.bytes = read_whole(saved.path, &saved.count);
    saved.file = open(saved.path, O_RDWR | O_CLOEXEC);
    return saved.file < 0;
}

static int forget_the_checkpoint(void **state)
{
    (void)state;
    close(saved.file);
    free(saved.bytes);
    free(saved.params);
    optimizer_free(&saved.optimizer);
    scratch_end();
    return 0;
}

/* ---- the readers ---- */

static bool header_is_taken(Fault *f)
{
    TensorFile t;
    if (!tensors_open(&t, saved.path, f))
        return false;
    tensors_close(&t);
    return true;
}

/* Whichever reader takes the file as it is now; NULL: none does. The others all begin with the first. */
static const char *taken_by(bool by_all)
{
    Fault f = {.error = 0};
    Progress p;
    if (header_is_taken(&f))
        return "tensors_open";
    if (!strstr(f.text, saved.path))
        return "nobody, but nobody names it either";
    if (by_all && weights_load(model, saved.path, saved.params, &f))
        return "weights_load";
    if (by_all &&
        checkpoint_load(model, saved.path, saved.params, &saved.optimizer, &p, &f) == CHECKPOINT_LOADED)
        return "checkpoint_load";
    return NULL;
}

static void expect_refused(const char *what, size_t where)
{
    const char *reader = taken_by(true);
    if (reader)
        fail_msg("%s %zu of %zu: taken by %s", what, where, saved.count, reader);
}

static void expect_whole(void)
{
    Fault f = {.error = 0};
    Progress p;
    if (checkpoint_load(model, saved.path, saved.params, &saved.optimizer, &p, &f) != CHECKPOINT_LOADED)
        fail_msg("%s", f.text);
    assert_true(p.step == 100);
}

static void put_at(size_t at, const void *bytes, size_t count)
{
    assert_int_equal(pwrite(saved.file, bytes, count, (off_t)at), count);
}

/* ---- damage ---- */

static size_t every(void)
{
    const char *text = getenv("TORTURE_BYTES");
    long number = text ? strtol(text, NULL, 10) : 0;
    return number > 0 ? (size_t)number : EVERY_BY_DEFAULT;
}

/* Of a worker, on a file of its own. */
static void change_bytes(int worker, void *arg)
{
    uint64_t header;
    (void)arg;
    memcpy(&header, saved.bytes, sizeof header);
    snprintf(saved.path, sizeof saved.path, "%s/changed-%d", setting.folder, worker);
    saved.file = open(saved.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (pwrite(saved.file, saved.bytes, saved.count, 0) != (ssize_t)saved.count)
        abort();
    size_t changes = 0, at = 0;
    while (at < saved.count) {
        bool in_header = at < header + sizeof header; /* it has more ways to go wrong */
        for (int whole = 0; whole < 2 && changes % (size_t)workers() == (size_t)worker; whole++) {
            char changed = (char)(whole ? ~saved.bytes[at] : saved.bytes[at] ^ 1 << changes % 8);
            bool written = pwrite(saved.file, &changed, 1, (off_t)at) == 1;
            const char *reader = taken_by(in_header || changes / (size_t)workers() % CHANGES_FOR_ALL == 0);
            if (reader || !written)
                finding("byte %zu of %zu, %s: taken by %s", at, saved.count, whole ? "whole" : "a bit",
                        reader);
        }
        if (pwrite(saved.file, &saved.bytes[at], 1, (off_t)at) != 1)
            abort();
        changes++;
        at += in_header && every() > 3 ? 3 : every();
    }
    Fault f = {.error = 0};
    if (!header_is_taken(&f))
        finding("not whole in the end: %s", f.text);
}

static void test_every_byte(void **state)
{
    (void)state;
    expect_whole();
    assert_true(work_at_once(change_bytes, NULL));
    assert_int_equal(findings(), 0);
}

/* A page that never reached the disk. */
static void test_pages_of_zeros(void **state)
{
    (void)state;
    static const char zeros[4096];
    for (size_t at = 0; at < saved.count; at += sizeof zeros * (every() > 1 ? 16 : 1)) {
        size_t count = saved.count - at < sizeof zeros ? saved.count - at : sizeof zeros;
        if (memcmp(saved.bytes + at, zeros, count) == 0)
            continue;
        put_at(at, zeros, count);
        expect_refused("page of zeros at", at);
        put_at(at, saved.bytes + at, count);
    }
    expect_whole();
}

static void test_grown(void **state)
{
    (void)state;
    for (size_t more = 1; more <= GROWN_MOST; more++) {
        char noise[GROWN_MOST];
        for (size_t i = 0; i < more; i++)
            noise[i] = (char)(i * 167 + more);
        assert_int_equal(ftruncate(saved.file, (off_t)(saved.count + more)), 0);
        expect_refused("grown by zeros", more);
        put_at(saved.count, noise, more);
        expect_refused("grown by noise", more);
    }
    assert_int_equal(ftruncate(saved.file, (off_t)saved.count), 0);
    expect_whole();
}

/* From the end down, so that what is left is as it was. */
static void test_cut(void **state)
{
    (void)state;
    size_t step = every() > 1 ? 97 * CUT : CUT;
    for (size_t length = saved.count / step * step;; length -= step) {
        assert_int_equal(ftruncate(saved.file, (off_t)length), 0);
        if (length < saved.count)
            expect_refused("cut to", length);
        if (length == 0)
            break;
    }
    put_at(0, saved.bytes, saved.count);
    expect_whole();
}

/* ---- a run goes on from the one before ---- */

static void train_toy(const char *run, int64_t steps, bool resume, int code)
{
    Fault f = {.error = 0};
    Options o = no_options(&toy_model);
    char out[600];
    snprintf(out, sizeof out, "%s", scratch_path(run));
    o.out = out;
    o.steps = steps;
    o.checkpoint_every = 2;
    o.resume = resume;
    int ended = run_quietly(command_train, &toy_model, &o, &f);
    if (ended != code)
        fail_msg("%d, not %d: %s", ended, code, f.text);
}

static void test_previous_is_taken(void **state)
{
    (void)state;
    size_t count, good_count;
    train_toy("good", 8, false, 0);
    char *good = read_whole(scratch_path("good/last.safetensors"), &good_count);
    train_toy("run", 6, false, 0);
    char *last = read_whole(scratch_path("run/last.safetensors"), &count);
    char *previous = read_whole(scratch_path("run/previous.safetensors"), &count);
    for (size_t at = 0; at < count; at += count / 40 + 1) {
        last[at] ^= 4;
        scratch_write("run/last.safetensors", last, count);
        scratch_write("run/previous.safetensors", previous, count);
        last[at] ^= 4;
        train_toy("run", 8, true, 0);
        size_t resumed_count;
        char *resumed = read_whole(scratch_path("run/last.safetensors"), &resumed_count);
        assert_int_equal(resumed_count, good_count);
        assert_memory_equal(resumed, good, good_count);
        free(resumed);
    }
    previous[count / 2] ^= 4; /* now neither is whole */
    last[count / 2] ^= 4;
    scratch_write("run/last.safetensors", last, count);
    scratch_write("run/previous.safetensors", previous, count);
    train_toy("run", 8, true, 1);
    free(good);
    free(last);
    free(previous);
}

/* ---- files of others ---- */

/* As safetensors' own writer has them: the widest types first, then by name; the header padded to 8 bytes. */
static void test_other_writers(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    assert_non_null(stream);
    fprintf(stream, "{\"__metadata__\":{\"format\":\"pt\"}");
    size_t at = 0, total = 0;
    for (int i = 0; i < model->tensors; i++) {
        const AmdimTensor *t = &model->tensor[i];
        fprintf(stream, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[", t->name);
        for (int d = 0; d < t->rank; d++)
            fprintf(stream, "%s%d", d ? "," : "", (int)t->dims[d]);
        fprintf(stream, "],\"data_offsets\":[%zu,%zu]}", at, at + 4 * t->count);
        at += 4 * t->count;
    }
    fprintf(stream, "}");
    fflush(stream);
    while (length % 8) {
        fputc(' ', stream);
        fflush(stream);
    }
    total = 8 + length + at;
    uint8_t *bytes = calloc(total, 1);
    assert_non_null(bytes);
    uint64_t header = length;
    memcpy(bytes, &header, 8);
    memcpy(bytes + 8, text, length);
    for (size_t i = 0; i < at / 4; i++)
        memcpy(bytes + 8 + length + 4 * i, &(float){(float)i}, 4);
    scratch_write("torch.safetensors", bytes, total);
    if (!weights_load(model, scratch_path("torch.safetensors"), saved.params, &f))
        fail_msg("%s", f.text);
    float torch[4];
    assert_in_range(model->tensor[1].count, 4, SIZE_MAX);
    memcpy(torch, bytes + 8 + length + 4 * model->tensor[0].count, sizeof torch);
    if (model->tensor[1].rank == 1)
        assert_memory_equal(saved.params + model->tensor[1].offset, torch, sizeof torch);
    fclose(stream);
    free(text);
    free(bytes);
}

static void test_safetensors_own_writer(void **state)
{
    (void)state;
    const char *python = wanted(find_python("safetensors.numpy, numpy"));
    Fault f = {.error = 0};
    FILE *script = fopen(scratch_path("write.py"), "w");
    assert_non_null(script);
    fprintf(script, "import numpy, sys\nfrom safetensors.numpy import save_file\nsave_file({");
    for (int i = 0; i < model->tensors; i++) {
        const AmdimTensor *t = &model->tensor[i];
        fprintf(script, "'%s': numpy.full((", t->name);
        for (int d = 0; d < t->rank; d++)
            fprintf(script, "%d,", (int)t->dims[d]);
        fprintf(script, "), %d, 'float32'),", i);
    }
    fprintf(script, "}, sys.argv[1], metadata={'format': 'np'})\n");
    fclose(script);
    char out[600];
    snprintf(out, sizeof out, "%s", scratch_path("numpy.safetensors"));
    assert_int_equal(shell("%s %s %s", python, scratch_path("write.py"), out), 0);
    if (!weights_load(model, out, saved.params, &f))
        fail_msg("%s", f.text);
    for (int i = 0; i < model->tensors; i++)
        assert_true(saved.params[model->tensor[i].offset] == (float)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_pages_of_zeros),
        cmocka_unit_test(test_grown),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_previous_is_taken),
        cmocka_unit_test(test_other_writers),
        cmocka_unit_test(test_safetensors_own_writer),
    };
    return cmocka_run_group_tests_name("damage", tests, save_a_checkpoint, forget_the_checkpoint);
}
