/* test_cross.c: programs for other machines, run by qemu: they replay as the interpreter in double does,
 * pass their selfcheck, train, and go on with runs of this machine's as this one goes on with theirs.
 *
 * A machine whose compiler or qemu is not installed is skipped; `make setup-cross` installs them. */
#include "samples.h"
#include "shell.h"
#include "trial.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *triple, *march; /* what `info` tells */
    const char *linker, *qemu;  /* what must be installed */
} Target;

enum { AARCH64, ARM, RISCV64, X86_64 };
static const Target targets[] = {
    {"aarch64-linux-gnu", "armv8-a", "aarch64-linux-gnu-ld", "qemu-aarch64"},
    {"arm-linux-gnueabihf", "armv7-a", "arm-linux-gnueabihf-ld", "qemu-arm"},
    {"riscv64-linux-gnu", "rv64gc", "riscv64-linux-gnu-ld", "qemu-riscv64"},
    {"x86_64-linux-gnu", "x86-64", "ld", "qemu-x86_64 -cpu Conroe"}, /* which has no AVX */
};

static char folder[256];
static char tiny[65536]; /* specs/tiny.yaml with a batch of four: qemu takes its time */

/* ---- helpers ----
 *
 * The compiler is clang as it is: what stands in for it under sanitizers has none for other machines. */

static bool is_installed(const Target *t)
{
    return !shell("command -v %s && command -v %.*s && test -e /usr/%s/lib/libc.a -o -e /usr/lib/%s/libc.a",
                  t->linker, (int)strcspn(t->qemu, " "), t->qemu, t->triple, t->triple);
}

static void skip_unless_installed(const Target *t)
{
    if (is_installed(t))
        return;
    print_message("skipped: no compiler or no qemu for %s; `make setup-cross` installs them\n", t->triple);
    skip();
}

/* Runs the target's program. */
static int on_target(const Target *t, const char *arguments)
{
    return shell("%s %s/%s %s", t->qemu, folder, t->triple, arguments);
}

static int on_host(const char *arguments)
{
    return shell("%s/host %s", folder, arguments);
}

static void compile_for(const Target *t)
{
    assert_int_equal(
        shell("%s %s/tiny.yaml --target %s --static --blas none --cc clang -o %s/%s --gen-dir %s/gen-%s",
              amdimc_path(), folder, t->triple, folder, t->triple, folder, t->triple),
        0);
}

static void expect_replay(const Target *t)
{
    Trial trial;
    char arguments[2048];
    trial_begin(&trial, t->triple, tiny, 5);
    snprintf(arguments, sizeof arguments, "replay --weights %s --batch %s -o %s", trial.weights, trial.batch,
             trial.out);
    assert_int_equal(on_target(t, arguments), 0);
    TensorFile got = tensor_file_read(trial.out);
    trial_expect_near(&trial, t->triple, &got);
    free(got.bytes);
    trial_end(&trial);
}

/* The field of the last line of a run's metrics. */
static double last_metric(const char *run, const char *field)
{
    char name[128], key[64];
    snprintf(name, sizeof name, "%s/metrics.jsonl", run);
    snprintf(key, sizeof key, "\"%s\":", field);
    TensorFile metrics = tensor_file_read(scratch_path(name));
    assert_true(metrics.count > 0);
    metrics.bytes[metrics.count - 1] = '\0'; /* in place of the last end of a line */
    const char *line = strrchr(metrics.bytes, '\n'), *at = strstr(line ? line : metrics.bytes, key);
    assert_non_null(at);
    const double value = strtod(at + strlen(key), NULL);
    free(metrics.bytes);
    return value;
}

/* Two runs have come equally far, but for rounding. */
static void expect_same_end(const char *a, const char *b, int steps)
{
    assert_true(last_metric(a, "step") == steps && last_metric(b, "step") == steps);
    const double one = last_metric(a, "loss"), other = last_metric(b, "loss");
    if (!(one > 0 && one - other < 1e-3 * one && other - one < 1e-3 * one))
        fail_msg("%s ends with loss %.9g, %s with %.9g", a, one, b, other);
}

/* Three steps here and three there end where six here do, whoever comes first. */
static void expect_runs_to_move(const Target *t)
{
    char first[600], second[600];
    snprintf(first, sizeof first, "train --out %s/here --steps 3 && cp -r %s/here %s/there", folder, folder,
             folder);
    snprintf(second, sizeof second, "train --out %s/there --steps 6 --resume", folder);
    assert_int_equal(on_host(first), 0);
    assert_int_equal(on_target(t, second), 0);
    snprintf(first, sizeof first, "train --out %s/from-there --steps 3", folder);
    snprintf(second, sizeof second, "train --out %s/from-there --steps 6 --resume", folder);
    assert_int_equal(on_target(t, first), 0);
    assert_int_equal(on_host(second), 0);
    snprintf(first, sizeof first, "train --out %s/whole --steps 6", folder);
    assert_int_equal(on_host(first), 0);
    expect_same_end("there", "whole", 6);
    expect_same_end("from-there", "whole", 6);
    assert_int_equal(shell("cd %s && rm -r here there from-there whole", folder), 0);
}

static void expect_computes(const Target *t)
{
    skip_unless_installed(t);
    compile_for(t);
    assert_int_equal(
        shell("%s %s/%s info --json | grep -q '\"march\": \"%s\", \"target\": \"%s\", \"blas\": \"none\"'",
              t->qemu, folder, t->triple, t->march, t->triple),
        0);
    expect_replay(t);
    assert_int_equal(on_target(t, "selfcheck"), 0);
}

static void expect_target(const Target *t)
{
    expect_computes(t);
    expect_runs_to_move(t);
}

/* ---- tests ---- */

static void aarch64(void **state)
{
    (void)state;
    expect_target(&targets[AARCH64]);
}

/* 32 bits wide. */
static void arm(void **state)
{
    (void)state;
    expect_target(&targets[ARM]);
}

static void riscv64(void **state)
{
    (void)state;
    expect_target(&targets[RISCV64]);
}

/* Its runs are this machine's; to train, which writes a report, takes qemu ten times as long as others. */
static void x86_64_without_avx(void **state)
{
    (void)state;
    expect_computes(&targets[X86_64]);
}

/* All that a small machine needs is in one small file. */
static void static_aarch64_is_small(void **state)
{
    (void)state;
    skip_unless_installed(&targets[AARCH64]);
    assert_int_equal(shell("test $(stat -c %%s %s/%s) -lt 2000000", folder, targets[AARCH64].triple), 0);
}

/* Debian's libraries for this machine are no use to another. */
static void says_what_it_cannot_read(void **state)
{
    (void)state;
    static const uint8_t pixels[3 * 16];
    skip_unless_installed(&targets[AARCH64]);
    Sample jpeg = sample_jpeg(4, 4, 3, pixels);
    scratch_write("data/train/a/1.jpg", jpeg.bytes, jpeg.count);
    scratch_write("data/test/a/1.jpg", jpeg.bytes, jpeg.count);
    free(jpeg.bytes);
    assert_int_equal(shell("%s %s/%s views --data %s/data -o %s/views.npy 2>%s/said", targets[AARCH64].qemu,
                           folder, targets[AARCH64].triple, folder, folder, folder),
                     1);
    assert_int_equal(shell("grep -q 'this program was built without JPEG' %s/said", folder), 0);
}

/* A make of its own in a folder of C: what the make that runs the tests was told is none of its business. */
static void make_folder(const char *options, const char *arguments)
{
    assert_int_equal(shell("%s --emit=c %s/tiny.yaml %s -o %s/c", amdimc_path(), folder, options, folder), 0);
    assert_int_equal(
        shell("cd %s/c && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u CC make -s -j2 CFLAGS=-O1 %s "
              ">../said 2>&1",
              folder, arguments),
        0);
    assert_int_equal(shell("echo 'built tiny without JPEG, without PNG' | cmp - %s/said", folder), 0);
}

static void expect_folder_trains(const Target *t)
{
    assert_int_equal(
        shell("%s %s/c/tiny train --out %s/c/run --steps 1 && rm -r %s/c", t->qemu, folder, folder, folder),
        0);
}

static void folder_builds_by_another_compiler(void **state)
{
    (void)state;
    skip_unless_installed(&targets[AARCH64]);
    if (shell("command -v aarch64-linux-gnu-gcc")) {
        print_message("skipped: no aarch64-linux-gnu-gcc; `make setup-cross` installs it\n");
        skip();
    }
    make_folder("", "CC=aarch64-linux-gnu-gcc LDFLAGS=-static");
    expect_folder_trains(&targets[AARCH64]);
}

static void folder_is_for_its_target(void **state)
{
    (void)state;
    skip_unless_installed(&targets[RISCV64]);
    make_folder("--target riscv64-linux-gnu --static", "");
    expect_folder_trains(&targets[RISCV64]);
}

/* What is wrong with a target is said in a line. */
static void refuses(const char *options, const char *says)
{
    assert_int_equal(shell("%s %s/tiny.yaml %s --cc clang -o %s/refused --gen-dir %s/refused-c 2>%s/said",
                           amdimc_path(), folder, options, folder, folder, folder),
                     1);
    if (shell("grep -q '^amdimc: error: .*%s' %s/said", says, folder))
        fail_msg("%s: no line with \"%s\"", options, says);
}

static void refuses_what_the_target_lacks(void **state)
{
    (void)state;
    skip_unless_installed(&targets[AARCH64]);
    refuses("--target aarch64-linux-gnu --static --blas openblas",
            "aarch64-linux-gnu has no static OpenBLAS");
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    if (shell("sed 's/^batch: 16$/batch: 4/' specs/tiny.yaml >%s/tiny.yaml && grep -q '^batch: 4$' "
              "%s/tiny.yaml",
              folder, folder))
        return 1;
    TensorFile text = tensor_file_read(scratch_path("tiny.yaml"));
    if (text.count >= sizeof tiny)
        return 1;
    memcpy(tiny, text.bytes, text.count);
    free(text.bytes);
    return shell("%s %s/tiny.yaml --blas none -o %s/host --gen-dir %s/gen-host", amdimc_path(), folder,
                 folder, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aarch64),
        cmocka_unit_test(static_aarch64_is_small),
        cmocka_unit_test(says_what_it_cannot_read),
        cmocka_unit_test(arm),
        cmocka_unit_test(riscv64),
        cmocka_unit_test(x86_64_without_avx),
        cmocka_unit_test(folder_builds_by_another_compiler),
        cmocka_unit_test(folder_is_for_its_target),
        cmocka_unit_test(refuses_what_the_target_lacks),
    };
    return cmocka_run_group_tests_name("cross", tests, set_up, scratch_tear_down);
}
