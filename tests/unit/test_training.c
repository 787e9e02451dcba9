/* A spec's whole way with the real compiler and clang: it compiles without a warning, trains, learns, repeats
 * bit for bit at any number of threads, and survives being stopped. */
#include "samples.h"
#include "shell.h"
#include "support.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256], program[300];

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is not there", path);
    char *text = NULL;
    size_t length = 0;
    if (getdelim(&text, &length, 0, f) < 0)
        fail_msg("%s is empty", path);
    fclose(f);
    return text;
}

static char *read_run(const char *run, const char *file)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s/%s", folder, run, file);
    return read_text(path);
}

static int same_weights(const char *a, const char *b)
{
    return shell("cmp %s/%s/last.safetensors %s/%s/last.safetensors", folder, a, folder, b);
}

static int compile_tiny(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    snprintf(program, sizeof program, "%s/tiny", folder);
    return shell("%s specs/tiny.yaml --threads 2 -o %s --gen-dir %s/c", amdimc_path(), program, folder);
}

/* The mean of "loss" over `count` lines of metrics.jsonl from line `first` on. */
static double mean_loss(const char *metrics, int first, int count)
{
    double sum = 0;
    int line = 0, found = 0;
    for (const char *at = metrics; at && *at; line++) {
        const char *loss = strstr(at, "\"loss\":");
        if (line >= first && found < count && loss) {
            sum += strtod(loss + 7, NULL);
            found++;
        }
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    assert_int_equal(found, count);
    return sum / count;
}

static void learns(void **state)
{
    (void)state;
    assert_int_equal(shell("%s train --out %s/learns --steps 400 --seed 3", program, folder), 0);
    char *metrics = read_run("learns", "metrics.jsonl");
    double before = mean_loss(metrics, 0, 5), after = mean_loss(metrics, 380, 20);
    free(metrics);
    /* Chance is log(1 + 15 * 49) + log(1 + 15 * 25) / 2 = 9.6; learning takes it well below. */
    assert_true(before > 8);
    assert_true(after < before - 2);
    assert_int_equal(shell("%s probe --json --limit 100 --weights %s/learns/last.safetensors >%s/answer",
                           program, folder, folder),
                     0);
    assert_int_equal(shell("grep -q '\"images\": 2000, \"low\": ' %s/answer", folder), 0);
    assert_int_equal(shell("test $(wc -l <%s/answer) -eq 1", folder), 0); /* alone on standard output */
}

static void repeats_at_any_number_of_threads(void **state)
{
    (void)state;
    assert_int_equal(shell("%s train --out %s/one --steps 40 --seed 5 --threads 1", program, folder), 0);
    assert_int_equal(shell("%s train --out %s/two --steps 40 --seed 5 --threads 2", program, folder), 0);
    assert_int_equal(shell("%s train --out %s/again --steps 40 --seed 5 --threads 2", program, folder), 0);
    assert_int_equal(shell("%s train --out %s/three --steps 40 --seed 5 --threads 3", program, folder), 0);
    assert_int_equal(shell("%s train --out %s/other --steps 40 --seed 6", program, folder), 0);
    assert_int_equal(same_weights("one", "two"), 0);
    assert_int_equal(same_weights("two", "again"), 0);
    assert_int_equal(same_weights("two", "three"), 0);
    assert_int_equal(same_weights("two", "other"), 1);
}

static int count_lines(const char *run)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s/metrics.jsonl", folder, run);
    FILE *f = fopen(path, "rb");
    int lines = 0;
    for (int c; f && (c = getc(f)) != EOF;)
        lines += c == '\n';
    if (f)
        fclose(f);
    return lines;
}

/* Trains in a child, stops it by `signal_number` as soon as metrics show a step, and returns its exit code.
 */
static int train_and_stop(const char *run, int signal_number)
{
    char out[600];
    snprintf(out, sizeof out, "%s/%s", folder, run);
    pid_t child = fork();
    if (!child) {
        freopen("/dev/null", "w", stdout);
        freopen("/dev/null", "w", stderr);
        execl(program, program, "train", "--out", out, "--steps", "100000", "--seed", "7", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 3000 && count_lines(run) < 1; i++)
        usleep(10000);
    kill(child, signal_number);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void goes_on_after_a_signal(void **state)
{
    (void)state;
    assert_int_equal(train_and_stop("stopped", SIGTERM), 143);
    int done = count_lines("stopped"), all = done + 30;
    assert_true(done > 0);
    assert_int_equal(shell("%s train --out %s/stopped --steps %d --seed 7", program, folder, all),
                     1); /* holds a run */
    assert_int_equal(shell("%s train --out %s/stopped --steps %d --seed 7 --resume", program, folder, all),
                     0);
    assert_int_equal(shell("%s train --out %s/whole --steps %d --seed 7", program, folder, all), 0);
    assert_int_equal(same_weights("stopped", "whole"), 0);
    assert_int_equal(count_lines("stopped"), all);
    assert_int_equal(train_and_stop("interrupted", SIGINT), 130);
}

/* What was printed has arrived, or the program fails; what is read is not written over. */
static void says_what_it_cannot_write(void **state)
{
    (void)state;
    assert_int_equal(shell("%s --help >/dev/full 2>%s/said", program, folder), 1);
    assert_int_equal(shell("grep -q 'No space left on device' %s/said", folder), 0);
    assert_int_equal(shell("%s train --out %s/read --steps 1 --limit 2", program, folder), 0);
    assert_int_equal(shell("cd %s/read && cp last.safetensors before && ln last.safetensors other && "
                           "%s encode --weights last.safetensors -o other 2>said",
                           folder, program),
                     1);
    assert_int_equal(
        shell("cd %s/read && cmp before last.safetensors && grep -q 'would be read and written over' said",
              folder),
        0);
}

/* An array of zeros; `header` is what Python would say of it. */
static void write_zeros(const char *name, const char *header, size_t bytes)
{
    enum { HEADER = 128 };
    char begin[HEADER];
    memset(begin, ' ', sizeof begin);
    memcpy(begin, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(begin + 10, header, strlen(header));
    begin[HEADER - 1] = '\n';
    FILE *file = fopen(scratch_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(begin, 1, sizeof begin, file), sizeof begin);
    assert_int_equal(fseek(file, (long)(HEADER + bytes - 1), SEEK_SET), 0);
    assert_int_equal(fputc(0, file), 0);
    assert_int_equal(fclose(file), 0);
}

/* Features go beside pictures, not over them or their labels. */
static void data_is_not_written_over(void **state)
{
    (void)state;
    enum { PICTURES = 8, FLOATS = 8 * 8 * 3 };
    static const char pictures[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8, 8, 3), }",
                      labels[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (8,), }";
    static const struct {
        const char *data, *out;
        int code;
    } cases[] = {{"pics.npy", "pics.npy", 1}, {"pics.npy", "pics", 1},   {"both", "both/test.npy", 1},
                 {"both", "both/test", 1},    {"both", "both/f.npy", 0}, {"both", "both/f.npy", 0},
                 {"both", "both.npy", 0},     {"both", "both.npy", 0}};
    assert_int_equal(mkdir(scratch_path("both"), 0777), 0);
    static const char *const names[] = {"pics", "both/train", "both/test"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.npy", names[i]);
        write_zeros(name, pictures, PICTURES * FLOATS);
        snprintf(name, sizeof name, "%s.labels.npy", names[i]);
        write_zeros(name, labels, PICTURES);
    }
    assert_int_equal(shell("cd %s && tar -cf before.tar pics.npy pics.labels.npy both", folder), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(shell("cd %s && %s encode --pixels --data %s -o %s 2>said", folder, program,
                               cases[i].data, cases[i].out),
                         cases[i].code);
        assert_int_equal(shell("cd %s && tar -df before.tar && { test %d = 0 || grep -q 'of --data: it would "
                               "be written over' said; }",
                               folder, cases[i].code),
                         0);
    }
}

/* generated/tiny/tiny.c is what a newcomer reads first, so it must be what the compiler writes today. */
static void sample_is_current(void **state)
{
    (void)state;
    assert_int_equal(shell("%s specs/tiny.yaml --threads 2 --emit=c -o %s/sample", amdimc_path(), folder), 0);
    if (getenv("BLESS"))
        assert_int_equal(shell("cp %s/sample/tiny.c generated/tiny/tiny.c", folder), 0);
    if (shell("cmp %s/sample/tiny.c generated/tiny/tiny.c", folder))
        fail_msg("generated/tiny/tiny.c is not what amdimc writes for specs/tiny.yaml: run `make bless`");
}

/* Weights that a rate has blown up beyond floats make scores that are no numbers, in the very next step,
 * whatever ReLU, batchnorm and pooling lie between. */
static void nan_reaches_the_loss(void **state)
{
    (void)state;
    const int code = shell("cat >%s/dead.yaml <<'E'\n"
                           "name: dead\n"
                           "input: {channels: 3, size: 8}\n"
                           "batch: 4\n"
                           "encoder:\n"
                           "  - conv: {out: 8, kernel: 3, activation: none}\n"
                           "  - batchnorm: {}\n"
                           "  - conv: {out: 8, kernel: 1}\n"
                           "  - residual: {out: 8, kernel: 1, batchnorm: true}\n"
                           "  - pool: {kernel: 2, kind: max}\n"
                           "  - conv: {out: 8, kernel: 3}\n"
                           "embedding: {dim: 8}\n"
                           "loss: {pairs: [1-to-1]}\n"
                           "optimizer: {sgd: {lr: 1e38, momentum: 0}}\n"
                           "target: {threads: 1}\n"
                           "E\n"
                           "%s %s/dead.yaml -q --gen-dir %s/dead-c -o %s/dead && cd %s && "
                           "! ./dead train --out dead-run --steps 8 -q 2>said && "
                           "grep -q 'the loss of step 2 is not finite' said",
                           folder, amdimc_path(), folder, folder, folder, folder);
    assert_int_equal(code, 0);
}

/* All that clang has to say of a program it says before it optimizes; gcc follows values as it does, which
 * takes seconds: of the two that have the most kinds of code between them. */
static void check_compiles(const char *spec)
{
    static const char *const compilers[] = {"clang -fsyntax-only", "gcc -fsyntax-only",
                                            "gcc -O1 -c -o model.o"};
    const bool follow = !strcmp(spec, "amdim.yaml") || !strcmp(spec, "stl10-paper.yaml");
    assert_int_equal(
        shell("rm -rf %s/spec && %s --emit=c specs/%s -o %s/spec", folder, amdimc_path(), spec, folder), 0);
    for (size_t i = 0; i < (follow ? 3 : 2); i++)
        if (shell("cd %s/spec && %s -std=c17 -Wall -Wextra -Wpedantic -Werror *.c", folder, compilers[i]))
            fail_msg("%s: %s warns:\n%s", spec, compilers[i], read_run(".", "log"));
}

static void every_spec_compiles_without_a_warning(void **state)
{
    (void)state;
    DIR *d = opendir("specs");
    assert_non_null(d);
    int specs = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".yaml"))
            continue;
        check_compiles(entry->d_name);
        specs++;
    }
    closedir(d);
    assert_true(specs >= 8);
}

/* The folder of --emit=c is all that its program needs. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns),
        cmocka_unit_test(repeats_at_any_number_of_threads),
        cmocka_unit_test(goes_on_after_a_signal),
        cmocka_unit_test(sample_is_current),
        cmocka_unit_test(nan_reaches_the_loss),
        cmocka_unit_test(every_spec_compiles_without_a_warning),
        cmocka_unit_test(says_what_it_cannot_write),
        cmocka_unit_test(data_is_not_written_over),
    };
    return cmocka_run_group_tests(tests, compile_tiny, scratch_tear_down);
}
