/* test_ranks.c: a batch cut into shares: gradients agree with the interpreter in double, which knows of no
 * shares; what a training leaves behind is the same bytes for any number of processes and threads; what is
 * wrong is said.
 *
 * Programs of several ranks are linked with MPI: where that is not installed, what needs it is skipped. */
#include "mpi.h"
#include "samples.h"
#include "shell.h"
#include "tensor_file.h"
#include "trial.h"

#include <math.h>
#include <setjmp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *cc;
static char folder[512], amdimc[PATH_MAX]; /* absolute: commands run in the folder */

/* ---- agreement ---- */

typedef struct {
    const char *name, *ranks, *text; /* the text without its name */
    bool in_chunks;                  /* in the least memory that will do */
} Case;

static const Case cases[] = {
    {"pairs-of-all-kinds", "3",
     "input: {size: 16}\nbatch: 6\n"
     "encoder:\n"
     "  - conv: {out: 12, kernel: 3}\n"
     "  - block: {out: 24, kernel: 2, stride: 2, depth: 2}\n"
     "  - residual: {out: 24, kernel: 3}\n"
     "  - residual: {out: 40, kernel: 5}\n"
     "  - batchnorm: {}\n"
     "embedding: {dim: 20}\nloss: {pairs: [1-to-5, 1-to-7, {pair: 5-to-5, weight: 0.5}, 7-to-1, 1-to-1]}\n",
     false},
    {"batchnorm-everywhere", "5",
     "input: {size: 12}\nbatch: 5\n"
     "encoder:\n"
     "  - batchnorm: {}\n"
     "  - conv: {out: 6, kernel: 3, batchnorm: true}\n"
     "  - block: {out: 13, kernel: 4, stride: 2, depth: 2, batchnorm: true}\n"
     "  - residual: {out: 20, kernel: 4, batchnorm: true}\n"
     "  - batchnorm: {}\n"
     "embedding: {dim: 8, batchnorm: true}\nloss: {pairs: [1-to-4, 4-to-4], penalty: 0.5}\n",
     false},
    {"one-view-and-pools", "2",
     "input: {size: 22, channels: 1}\nviews: 1\nbatch: 4\n"
     "encoder:\n"
     "  - pool: {kernel: 2, stride: 1, kind: max}\n"
     "  - conv: {out: 20, kernel: 3, pad: 1}\n"
     "  - pool: {kernel: 3, stride: 2, pad: 1}\n"
     "  - residual: {out: 25, kernel: 3, stride: 2}\n"
     "  - residual: {out: 30, kernel: 5}\n"
     "embedding: {dim: 30}\nloss: {pairs: [1-to-5, 5-to-11], clip: 0}\n",
     false},
    {"mixtures", "4",
     "input: {size: 12}\nbatch: 8\n"
     "encoder:\n"
     "  - conv: {out: 6, kernel: 4, stride: 2}\n"
     "  - residual: {out: 9, kernel: 3}\n"
     "  - residual: {out: 37, kernel: 3}\n"
     "embedding: {dim: 37, mixture: {components: 5, hidden: 50, temperature: 0.4}}\n"
     "loss: {pairs: [1-to-3, {pair: 1-to-5, weight: 0.3}, 3-to-1, 1-to-1], clip: 6}\n",
     false},
    {"in-chunks", "2",
     "input: {size: 24}\nbatch: 24\n"
     "encoder:\n"
     "  - conv: {out: 32, kernel: 3, pad: 1}\n"
     "  - residual: {out: 48, kernel: 3, stride: 3}\n"
     "  - block: {out: 48, kernel: 2, stride: 2, depth: 2}\n"
     "  - residual: {out: 48, kernel: 4}\n"
     "embedding: {dim: 20}\nloss: {pairs: [1-to-4, 4-to-8]}\n",
     true},
};

static void case_begin(Trial *t, const Case *c, uint64_t seed)
{
    char text[4096];
    snprintf(text, sizeof text, "name: %s\n%s", c->name, c->text);
    trial_begin(t, c->name, text, seed);
}

static bool compiles(const Trial *t, const Case *c, const char *memory)
{
    return trial_finish(
        t, trial_compile(t, (const char *const[]){"--ranks", c->ranks, "--cc", cc, "--blas", "none",
                                                  memory ? "--memory" : NULL, memory, NULL}));
}

/* What the compiler says is the least that will do. */
static const char *least_memory(const Trial *t, const Case *c)
{
    static char least[32];
    long kib = 0;
    char line[512];
    assert_false(compiles(t, c, "1KiB"));
    FILE *log = fopen(t->log, "r");
    assert_non_null(log);
    while (fgets(line, sizeof line, log)) {
        const char *at = strstr(line, "needs at least ");
        kib = at ? strtol(at + strlen("needs at least "), NULL, 10) : kib;
    }
    fclose(log);
    assert_true(kib > 0);
    snprintf(least, sizeof least, "%ldKiB", kib);
    return least;
}

static void compile_case(const Trial *t, const Case *c)
{
    assert_true(compiles(t, c, c->in_chunks ? least_memory(t, c) : NULL));
}

static void expect_in_code(const Trial *t, const char *wanted)
{
    assert_int_equal(shell("grep -q -F '%s' '%s/%s.c'", wanted, t->generated, t->name), 0);
}

static void shares_agree_with_the_interpreter(void **state)
{
    (void)state;
    mpi_wanted();
    for (size_t i = 0; i < COUNT(cases); i++) {
        Trial t;
        case_begin(&t, &cases[i], 300 + i);
        compile_case(&t, &cases[i]);
        trial_expect_replay(&t, cases[i].name);
        if (cases[i].in_chunks)
            expect_in_code(&t, "chunk < ");
        trial_end(&t);
    }
}

/* By as many processes as there are ranks, and by one: the same file. */
static void processes_replay_the_same(void **state)
{
    (void)state;
    mpi_wanted();
    Trial t;
    case_begin(&t, &cases[0], 300);
    compile_case(&t, &cases[0]);
    TensorFile one, three;
    assert_true(trial_replay(&t, "1", &one));
    assert_int_equal(shell("%s '%s' replay --weights '%s' --batch '%s' --threads 1 -o '%s'", mpi_launch(3),
                           t.program, t.weights, t.batch, t.out),
                     0);
    three = tensor_file_read(t.out);
    assert_int_equal(one.count, three.count);
    assert_memory_equal(one.bytes, three.bytes, one.count);
    free(one.bytes);
    free(three.bytes);
    trial_end(&t);
}

/* ---- training ---- */

static const char small[] =
    "name: small\ninput: {size: 16}\nbatch: 8\n"
    "encoder:\n"
    "  - conv: {out: 16, kernel: 3, batchnorm: true}\n"
    "  - block: {out: 32, kernel: 2, stride: 2, depth: 1}\n"
    "  - block: {out: 128, kernel: 3, depth: 2}\n"
    "  - residual: {out: 160, kernel: 5}\n"
    "  - batchnorm: {}\n"
    "embedding: {dim: 64, mixture: {components: 2}}\nloss: {pairs: [1-to-5, 5-to-7]}\n"
    "augment: {flip: 0.5, translate: {max: 2}}\n"
    "optimizer: {adam: {lr: 1e-3}}\nschedule: {epochs: 1, warmup: 4, cosine: 0.1}\n";

static void compile_small(const char *ranks)
{
    scratch_write("small.yaml", small, strlen(small));
    assert_int_equal(shell("cd '%s' && '%s' --ranks %s --cc '%s' --blas none small.yaml -o small --gen-dir g",
                           folder, amdimc, ranks, cc),
                     0);
}

/* Trains by so many processes; what it prints is in RUN.log. */
static int train(int processes, const char *run, const char *more)
{
    return shell("cd '%s' && %s ./small train --limit 8 --out %s %s >%s.log 2>&1", folder,
                 mpi_launch(processes), run, more, run);
}

static void expect_same_weights(const char *a, const char *b)
{
    assert_int_equal(shell("cd '%s' && cmp %s/last.safetensors %s/last.safetensors", folder, a, b), 0);
}

static void any_number_of_processes_trains_the_same(void **state)
{
    (void)state;
    mpi_wanted();
    compile_small("4");
    assert_int_equal(shell("cd '%s' && ./small train --limit 8 --steps 10 --threads 2 --out alone", folder),
                     0);
    assert_int_equal(train(1, "one", "--steps 10 --threads 1"), 0);
    assert_int_equal(train(2, "two", "--steps 10 --threads 2"), 0);
    assert_int_equal(train(4, "four", "--steps 10 --threads 1"), 0);
    expect_same_weights("alone", "one");
    expect_same_weights("alone", "two");
    expect_same_weights("alone", "four");
}

/* From four processes to one to two. */
static void a_run_moves_between_them(void **state)
{
    (void)state;
    mpi_wanted();
    compile_small("4");
    assert_int_equal(train(2, "whole", "--steps 10 --threads 1"), 0);
    assert_int_equal(train(4, "moved", "--steps 10 --threads 1 --checkpoint-every 3 --stop-after 1"), 0);
    assert_int_equal(train(1, "moved", "--resume --threads 2 --stop-after 1"), 0);
    assert_int_equal(train(2, "moved", "--resume --threads 1"), 0);
    expect_same_weights("whole", "moved");
}

static long promised_kib(const char *options)
{
    char text[64] = "";
    assert_int_equal(
        shell("cd '%s' && '%s' --explain=json %s small.yaml | tr ',{}' '\\n' | sed -n 's/^ *\"peak_bytes\": "
              "//p' | head -1 >promised",
              folder, amdimc, options),
        0);
    FILE *file = fopen(scratch_path("promised"), "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    return strtol(text, NULL, 10) / 1024;
}

static void promises_hold(void **state)
{
    (void)state;
    mpi_wanted();
    if (shell("command -v /usr/bin/time") != 0) {
        print_message("skipped: no /usr/bin/time\n");
        skip();
    }
    compile_small("2 --threads 1");
    const long promised = promised_kib("--ranks 2 --threads 1 --blas none");
    assert_int_equal(
        shell("cd '%s' && %s sh -c '/usr/bin/time -f %%M -o held.$$ ./small train --limit 8 --steps 10 --out "
              "memory' && test $(ls held.* | wc -l) = 2 && cat held.* && for held in $(cat held.*); do test "
              "$held -le %ld && test $((2 * held)) -ge %ld || exit 1; done",
              folder, mpi_launch(2), promised, promised),
        0);
}

/* ---- what is said ---- */

static void expect_said(const char *command, const char *wanted)
{
    assert_int_not_equal(shell("cd '%s' && '%s' %s >said 2>&1", folder, amdimc, command), 0);
    assert_int_equal(
        shell("cat '%s'; grep -q -F '%s' '%s'", scratch_path("said"), wanted, scratch_path("said")), 0);
}

static void wrong_numbers_are_refused_where_they_stand(void **state)
{
    (void)state;
    scratch_write("small.yaml", small, strlen(small));
    expect_said("--check --ranks 3 small.yaml", "3 shares do not divide a batch of 8; 2 and 4 do");
    expect_said("--check --ranks 16 small.yaml", "16 shares do not divide a batch of 8; 8 does");
    expect_said("--check --ranks 0 small.yaml", "target.ranks: an integer from 1 to");
    expect_said("--ranks 2 --static small.yaml -o s --gen-dir g",
                "is for this machine, with shared libraries");
    char with[2048];
    snprintf(with, sizeof with, "%starget:\n  ranks: 5\n", small);
    scratch_write("small.yaml", with, strlen(with));
    expect_said("--check small.yaml",
                "small.yaml:16:10: error: target.ranks: 5 shares do not divide a batch of 8; 4 and 8");
}

static void a_missing_mpi_is_named(void **state)
{
    (void)state;
    scratch_write("small.yaml", small, strlen(small));
    assert_int_not_equal(
        shell("cd '%s' && AMDIMC_MPICC=no-such-mpicc '%s' --ranks 2 small.yaml -o s --gen-dir g >said 2>&1",
              folder, amdimc),
        0);
    assert_int_equal(
        shell("grep -q 'no-such-mpicc: cannot be run.*make setup-mpi' '%s'", scratch_path("said")), 0);
}

/* More processes than ranks, or a number that does not divide them. */
static void wrong_launches_are_refused(void **state)
{
    (void)state;
    mpi_wanted();
    compile_small("4");
    assert_int_not_equal(train(3, "three", "--steps 2 --threads 1"), 0);
    assert_int_equal(
        shell("grep -q '3 processes cannot share 4 ranks evenly' '%s'", scratch_path("three.log")), 0);
}

/* What --explain says is sent, against the shapes: of two views of S images each, an antecedent of `dim`
 * floats goes to R - 1 others; gradients and weights, R - 1 of R parts of them. */
static void what_is_sent_is_explained(void **state)
{
    (void)state;
    const char text[] =
        "name: sent\ninput: {size: 16}\nbatch: 12\nencoder:\n"
        "  - conv: {out: 8, kernel: 4, stride: 2, pad: 1}\n  - residual: {out: 24, kernel: 8}\n"
        "embedding: {dim: 24}\nloss: {pairs: [1-to-8]}\n";
    enum { RANKS = 3, SHARE = 4, VIEWS = 2, DIM = 24, CHANNELS = 8, PADDED = 16 };
    scratch_write("sent.yaml", text, strlen(text));
    assert_int_equal(shell("cd '%s' && '%s' --explain=json --ranks 3 sent.yaml >sent.json", folder, amdimc),
                     0);
    const long embeddings = 4L * VIEWS * SHARE * DIM * (RANKS - 1);
    const long weights = 4 * 4 * 3 * CHANNELS + PADDED + 8 * 8 * CHANNELS * DIM +
                         DIM * DIM +                                                   /* the encoder */
                         CHANNELS * DIM + DIM * DIM + CHANNELS * DIM + 3 * 2 * PADDED; /* the head of 8 */
    assert_int_equal(
        shell("cd '%s' && cat sent.json && grep -q '\"embeddings\": {\"transfers\": 1, \"bytes\": %ld}' "
              "sent.json && grep -q '\"returns\": {\"transfers\": 1, \"bytes\": %ld}' sent.json && grep -q "
              "'\"gradients\": {\"transfers\": 1, \"bytes\": %ld}' sent.json",
              folder, embeddings, embeddings, 4 * ((weights + RANKS - 1) / RANKS) * (RANKS - 1)),
        0);
}

/* What the folder of --emit=c builds is the same program. */
static void a_folder_builds_with_mpi(void **state)
{
    (void)state;
    mpi_wanted();
    scratch_write("small.yaml", small, strlen(small));
    assert_int_equal(
        shell("cd '%s' && '%s' --emit=c --ranks 2 --blas none small.yaml -o folder && make -s -C folder "
              "CC='%s' "
              "CFLAGS=-O1 && cd folder && %s ./small train --limit 8 --steps 2 --threads 1 --out run",
              folder, amdimc, cc, mpi_launch(2)),
        0);
}

static int set_up(void **state)
{
    scratch_set_up(state);
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    assert_non_null(realpath(amdimc_path(), amdimc));
    cc = quick_compiler();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_agree_with_the_interpreter),
        cmocka_unit_test(processes_replay_the_same),
        cmocka_unit_test(any_number_of_processes_trains_the_same),
        cmocka_unit_test(a_run_moves_between_them),
        cmocka_unit_test(promises_hold),
        cmocka_unit_test(wrong_numbers_are_refused_where_they_stand),
        cmocka_unit_test(a_missing_mpi_is_named),
        cmocka_unit_test(wrong_launches_are_refused),
        cmocka_unit_test(what_is_sent_is_explained),
        cmocka_unit_test(a_folder_builds_with_mpi),
    };
    return cmocka_run_group_tests_name("ranks", tests, set_up, scratch_tear_down);
}
