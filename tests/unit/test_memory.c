/* test_memory.c: budgets of memory, end to end: from the least that the compiler says will do to no limit at
 * all, gradients agree with the interpreter in double; what is promised is within the budget; less than the
 * least is refused.
 *
 * Their kernels are those that test_program has at -O3; here it is when they run that counts. */
#include "samples.h"
#include "shell.h"
#include "trial.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *cc;

typedef struct {
    const char *name;
    const char *kernel; /* forced; NULL: the fastest */
    const char *text;   /* without its name */
} Case;

static const Case cases[] = {
    {"all-in-chunks", NULL,
     "input: {size: 21}\nbatch: 24\n"
     "encoder:\n"
     "  - conv: {out: 16, kernel: 3, pad: 1, pad_mode: reflect}\n"
     "  - residual: {out: 24, kernel: 3, stride: 3}\n"
     "  - block: {out: 32, kernel: 3, stride: 2, depth: 2}\n"
     "  - residual: {out: 40, kernel: 3}\n"
     "  - batchnorm: {}\n"
     "embedding: {dim: 20}\nloss: {pairs: [1-to-3, 1-to-7, {pair: 3-to-7, weight: 0.5}]}\n"},
    {"a-scale-within", NULL,
     "input: {size: 16}\nviews: 1\nbatch: 18\n"
     "encoder:\n"
     "  - conv: {out: 12, kernel: 3}\n"
     "  - block: {out: 24, kernel: 2, stride: 2, depth: 3}\n"
     "  - conv: {out: 24, kernel: 3, activation: none}\n"
     "  - residual: {out: 30, kernel: 5}\n"
     "embedding: {dim: 30, batchnorm: true}\nloss: {pairs: [1-to-5, 5-to-7, 7-to-7]}\n"},
    {"batchnorm-above", NULL,
     "input: {size: 18, channels: 1}\nbatch: 14\n"
     "encoder:\n"
     "  - conv: {out: 20, kernel: 3}\n"
     "  - residual: {out: 32, kernel: 4, stride: 2}\n"
     "  - block: {out: 32, kernel: 3, depth: 2, batchnorm: true}\n"
     "  - residual: {out: 36, kernel: 5}\n"
     "embedding: {dim: 24}\nloss: {pairs: [1-to-5, 1-to-7]}\n"},
    {"batchnorm-below", NULL,
     "input: {size: 12}\nbatch: 10\n"
     "encoder:\n"
     "  - conv: {out: 16, kernel: 3, batchnorm: true}\n"
     "  - residual: {out: 24, kernel: 4, stride: 2}\n"
     "  - residual: {out: 24, kernel: 4}\n"
     "embedding: {dim: 24}\nloss: {pairs: [1-to-4]}\n"},
    /* OpenBLAS needs no packed weight, so that a chunk has no temporaries at all. */
    {"nothing-in-a-chunk", "openblas",
     "input: {size: 8}\nbatch: 6\n"
     "encoder:\n"
     "  - conv: {out: 20, kernel: 1}\n"
     "  - conv: {out: 12, kernel: 8, batchnorm: true}\n"
     "embedding: {dim: 9}\nloss: {pairs: [1-to-1]}\n"},
};

static void case_begin(Trial *t, const Case *c, uint64_t seed)
{
    char text[4096];
    snprintf(text, sizeof text, "name: %s\n%s", c->name, c->text);
    trial_begin(t, c->name, text, seed);
}

/* By vectors, as the test's own schedules are. */
static pid_t compile_within_kib(const Trial *t, const char *kernel, long budget)
{
    char memory[32];
    snprintf(memory, sizeof memory, "%ldKiB", budget);
    return trial_compile(t,
                         (const char *const[]){"--memory", memory, "--products", kernel ? kernel : "fastest",
                                               "--march", march_by_vectors(), "--cc", cc, NULL});
}

/* The number that stands behind `words` in what the compiler said. */
static double said(const Trial *t, const char *words)
{
    TensorFile log = tensor_file_read(t->log);
    char *text = strndup((const char *)log.bytes, log.count);
    free(log.bytes);
    assert_non_null(text);
    const char *at = strstr(text, words);
    if (!at)
        fail_msg("%s: no `%s` in: %s", t->name, words, text);
    double number = strtod(at + strlen(words), NULL);
    free(text);
    return number;
}

static void expect_refused(const Trial *t, const char *kernel, long budget)
{
    int status;
    const pid_t child = compile_within_kib(t, kernel, budget);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        fail_msg("%s: a budget of %ld KiB: status %x", t->name, budget, (unsigned)status);
}

/* What the compiler gives it without a limit, in KiB. */
static long unlimited_kib(Trial *t, const char *kernel)
{
    const Schedule schedule = {.recompute = RECOMPUTE_BUDGET};
    const Program *p = compile_schedule(t->l.arena, t->l.net, &(Choices){.forced = kernel}, schedule);
    return (long)((p->peak.total + 1023) / 1024);
}

static void expect_within(const Trial *t, const char *kernel, long budget)
{
    assert_true(trial_finish(t, compile_within_kib(t, kernel, budget)));
    assert_true(1024 * (said(t, "peak of ") - 0.05) <= (double)budget); /* printed to a tenth of a MiB */
    char where[128];
    snprintf(where, sizeof where, "%s in %ld KiB", t->name, budget);
    trial_expect_replay(t, where);
}

static void budgets_keep_the_gradients(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        Trial t;
        case_begin(&t, &cases[i], 400 + i);
        const char *kernel = cases[i].kernel;
        const long unlimited = unlimited_kib(&t, kernel);
        expect_refused(&t, kernel, 1024);
        const long least = (long)said(&t, "needs at least ");
        assert_in_range(least, 1025, unlimited);
        expect_refused(&t, kernel, least * 95 / 100);
        expect_within(&t, kernel, least);
        if (i < 2)
            expect_within(&t, kernel, (least + unlimited) / 2);
        trial_end(&t);
    }
}

/* NULL where it does not fit. */
static const Program *program_within(const Trial *t, long budget, bool tiles)
{
    Spec *spec = ARENA_NEW(t->l.arena, Spec);
    Net *net = ARENA_NEW(t->l.arena, Net);
    FILE *nowhere = fopen("/dev/null", "w");
    Diagnostics d = {.stream = nowhere};
    *spec = *t->l.net->spec;
    *net = *t->l.net;
    spec->target.memory.v = budget * 1024;
    spec->target.tiles = tiles;
    net->spec = spec;
    const Program *p = compile_within(t->l.arena, &d, net, NULL);
    fclose(nowhere);
    return p;
}

/* What matrix tiles do not fit is made by vectors, as far down as these go. */
static void vectors_meet_what_tiles_do_not(void **state)
{
    (void)state;
    Trial t;
    case_begin(&t, &cases[0], 500);
    bool by_tiles = false, by_vectors = false;
    for (long budget = 2 * unlimited_kib(&t, NULL);; budget -= 64) {
        const Program *p = program_within(&t, budget, true), *vectors = program_within(&t, budget, false);
        if (!p) {
            assert_null(vectors);
            break;
        }
        assert_true(p->peak.total <= (size_t)budget * 1024);
        by_tiles |= p->net->spec->target.tiles;
        by_vectors |= !p->net->spec->target.tiles;
        assert_int_not_equal(p->net->spec->target.tiles, by_vectors);
    }
    assert_true(by_tiles && by_vectors);
    trial_end(&t);
}

static int check_within(const char *spec, const char *options, long budget)
{
    return shell("%s --check %s %s --memory %ldKiB >%s 2>&1", amdimc_path(), spec, options, budget,
                 scratch_path("said"));
}

/* KiB, as the compiler says when it has too few. */
static long least_with(const char *spec, const char *options)
{
    assert_int_equal(check_within(spec, options, 1024), 1);
    TensorFile said = tensor_file_read(scratch_path("said"));
    const char words[] = "needs at least ", *at = memmem(said.bytes, said.count, words, strlen(words));
    assert_non_null(at);
    const long least = strtol(at + strlen(words), NULL, 10);
    free(said.bytes);
    return least;
}

/* Here tiles need less than vectors: the least of both is named. */
static void the_least_is_of_tiles_or_vectors(void **state)
{
    (void)state;
    static const char spec[] = "specs/local-dim.yaml",
                      options[] = "--march sapphirerapids --precision bfloat16 --threads 1";
    const long least = least_with(spec, options);
    assert_int_equal(check_within(spec, options, least), 0);
    assert_int_equal(check_within(spec, options, least - 1), 1);
}

/* Behind a chunk that ends with the first convolution there are gradients of weights alone. */
static void a_chunk_may_read_no_weights(void **state)
{
    (void)state;
    static const char text[] = "name: unread\ninput: {size: 33}\nbatch: 4\nencoder:\n"
                               "  - conv: {out: 20, kernel: 7, stride: 4, activation: none}\n"
                               "  - conv: {out: 40, kernel: 7, batchnorm: true}\n"
                               "embedding: {dim: 40}\nloss: {pairs: [1-to-7]}\n"
                               "schedule: {milestones: []}\n";
    static const char march[] = "x86-64-v3";
    scratch_write("unread.yaml", text, strlen(text));
    char spec[512];
    snprintf(spec, sizeof spec, "%s", scratch_path("unread.yaml"));
    assert_int_equal(
        shell("%s --emit=c %s -o %s.c --march %s --precision bfloat16 --threads 1 --memory %ldKiB && "
              "cd %s.c && grep -q encode_chunk_grad unread.c && "
              "clang -std=c17 -D_GNU_SOURCE -I. -Iruntime -Isupport -march=%s -Wall -Wextra -Wpedantic "
              "-Werror -fsyntax-only unread.c",
              amdimc_path(), spec, spec, march,
              least_with(spec, "--march x86-64-v3 --precision bfloat16 --threads 1"), spec, march),
        0);
}

/* Nothing that learns lies below the first batchnorm: there is nothing to do backwards, in chunks or at all.
 */
static void chunks_of_pools_have_no_gradient(void **state)
{
    (void)state;
    static const char text[] = "name: pooled\ninput: {size: 32}\nbatch: 16\nencoder:\n"
                               "  - pool: {kernel: 3, stride: 1, pad: 1, kind: max}\n"
                               "  - pool: {kernel: 3, stride: 1, pad: 1}\n"
                               "  - pool: {kernel: 8, kind: max}\n"
                               "  - batchnorm: {}\n"
                               "  - conv: {out: 16, kernel: 4}\n"
                               "embedding: {dim: 16}\nloss: {pairs: [1-to-4, 4-to-4]}\n";
    Trial t;
    trial_begin(&t, "pooled", text, 700);
    expect_refused(&t, NULL, 1024);
    const long least = (long)said(&t, "needs at least ");
    const Program *p = program_within(&t, least, false);
    assert_non_null(p);
    int forward = 0;
    for (int i = 0; i < p->step->ops; i++) {
        assert_int_not_equal(p->step->op[i]->kind, OP_ENCODE_GRAD);
        forward += p->step->op[i]->kind == OP_ENCODE;
    }
    assert_int_equal(forward, 1);
    expect_within(&t, NULL, least);
    trial_end(&t);
}

/* The default is OpenBLAS for what it is fastest at: where its buffers do not fit, own kernels may; but not
 * where it was asked for. */
static void own_kernels_meet_what_openblas_does_not(void **state)
{
    (void)state;
    static const char text[] = "name: wide\ninput: {size: 4}\nbatch: 64\n"
                               "encoder:\n  - conv: {out: 2048, kernel: 2, stride: 2}\n"
                               "  - conv: {out: 1024, kernel: 1}\n"
                               "embedding: {dim: 16}\nloss: {pairs: [2-to-2]}\ntarget: {threads: 2}\n";
    scratch_write("wide.yaml", text, strlen(text));
    char spec[512];
    snprintf(spec, sizeof spec, "%s", scratch_path("wide.yaml"));
    const long least = least_with(spec, "--march x86-64-v3");
    assert_int_equal(least, least_with(spec, "--march x86-64-v3 --blas none"));
    assert_int_equal(check_within(spec, "--march x86-64-v3", least), 0);
    assert_int_equal(shell("grep -q 'no product is made by OpenBLAS: with it the program would need' %s",
                           scratch_path("said")),
                     0);
    assert_int_equal(check_within(spec, "--march x86-64-v3 --products openblas", least), 1);
}

/* By the measure that schedules are chosen by. */
static void more_memory_is_no_slower(void **state)
{
    (void)state;
    Trial t;
    case_begin(&t, &cases[0], 500);
    double cost = 0, flop = 0;
    for (long budget = unlimited_kib(&t, NULL); budget > 0; budget -= 64) {
        const Program *p = program_within(&t, budget, false);
        if (!p)
            break;
        assert_true(p->peak.total <= (size_t)budget * 1024);
        assert_true(schedule_cost(p) >= cost);
        assert_true(fabs(cost_step_flop(p->step) - cost_step_flop(t.l.step)) < 1);
        cost = schedule_cost(p);
        flop = cost_run_flop(p->step);
    }
    assert_true(flop > 1.2 * cost_step_flop(t.l.step)); /* the least runs the encoder twice */
    trial_end(&t);
}

static bool skips_zeros(const Op *op)
{
    return op->plan.zeros != NULL;
}

/* Pictures so large that even one alone has pixels enough for its kernel to skip zeros. */
static void chunks_skip_zeros(void **state)
{
    (void)state;
    Trial t;
    trial_begin(&t, "chunks-skip-zeros",
                "name: chunks-skip-zeros\ninput: {size: 26}\nviews: 1\nbatch: 8\n"
                "encoder:\n"
                "  - conv: {out: 64, kernel: 3}\n"
                "  - block: {out: 64, kernel: 1, depth: 2}\n"
                "  - residual: {out: 64, kernel: 6, stride: 6}\n"
                "  - residual: {out: 64, kernel: 4}\n"
                "embedding: {dim: 20}\nloss: {pairs: [1-to-4]}\n",
                600);
    expect_refused(&t, NULL, 1024);
    const long least = (long)said(&t, "needs at least ");
    const Program *p = program_within(&t, least, false);
    assert_non_null(p);
    int forward = 0, backward = 0;
    for (int i = 0; i < p->step->ops; i++) {
        const Op *op = p->step->op[i];
        forward += op->kind == OP_ENCODE && graph_any(op->chunk, skips_zeros);
        backward += op->kind == OP_ENCODE_GRAD && graph_any(op->chunk, skips_zeros);
    }
    assert_true(forward > 0 && backward > 0);
    expect_within(&t, NULL, least);
    trial_end(&t);
}

/* A map that a step in chunks keeps is anything to the step, but behind a ReLU to the encoders: these skip
 * its zeros and need scratch for it that the step does not. */
static void encoders_have_their_scratch(void **state)
{
    (void)state;
    Trial t;
    trial_begin(&t, "encoders-scratch",
                "name: encoders-scratch\ninput: {size: 26}\nviews: 1\nbatch: 4\n"
                "encoder:\n"
                "  - conv: {out: 2048, kernel: 3}\n"
                "  - conv: {out: 64, kernel: 1, batchnorm: true}\n"
                "  - conv: {out: 20, kernel: 24}\n"
                "embedding: {dim: 20}\nloss: {pairs: [1-to-1]}\n",
                601);
    const Schedule schedule = {.chunk = 1};
    const Program *p = compile_schedule(t.l.arena, t.l.net, NULL, schedule);
    const size_t most = cost_worker_scratch(p->encode);
    assert_true(most > cost_worker_scratch(p->step));
    assert_int_equal(p->peak.worker, most);
    trial_end(&t);
}

/* The most that a whole `train` of six steps has resident, in KiB, as a shell sees it while it runs. */
static double trained_kib(const char *program)
{
    assert_int_equal(
        shell("cd %s; ./%s train --out run --steps 6 >said 2>&1 & child=$!; while "
              "now=$(sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$child/status 2>/dev/null) && "
              "test \"$now\"; do most=$now; done; wait $child && echo $most >most",
              scratch_path("."), program),
        0);
    TensorFile most = tensor_file_read(scratch_path("most"));
    const double kib = strtod(most.bytes, NULL);
    free(most.bytes);
    return kib;
}

/* Static programs have no shared libraries; by clang as it is, for sanitizers need those. */
static void static_programs_take_what_is_promised(void **state)
{
    (void)state;
    const char *to = scratch_path(".");
    assert_int_equal(shell("%s specs/tiny.yaml --static --blas none --cc clang -o %s/static --gen-dir "
                           "%s/static.c 2>%s/said && %s/static info --json | "
                           "sed 's/.*\"peak_bytes\": //; s/}//' >%s/promised",
                           amdimc_path(), to, to, to, to, to),
                     0);
    TensorFile file = tensor_file_read(scratch_path("promised"));
    const double promised = strtod(file.bytes, NULL) / 1024, slack = MEBIBYTE / 1024 * 4,
                 most = trained_kib("static");
    free(file.bytes);
    if (!(most <= promised && promised <= 1.05 * most + slack))
        fail_msg("%.0f KiB are promised, %.0f measured", promised, most);
}

static int set_up(void **state)
{
    (void)state;
    scratch_begin();
    cc = quick_compiler();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_keep_the_gradients),
        cmocka_unit_test(more_memory_is_no_slower),
        cmocka_unit_test(vectors_meet_what_tiles_do_not),
        cmocka_unit_test(the_least_is_of_tiles_or_vectors),
        cmocka_unit_test(a_chunk_may_read_no_weights),
        cmocka_unit_test(chunks_of_pools_have_no_gradient),
        cmocka_unit_test(own_kernels_meet_what_openblas_does_not),
        cmocka_unit_test(chunks_skip_zeros),
        cmocka_unit_test(encoders_have_their_scratch),
        cmocka_unit_test(static_programs_take_what_is_promised),
    };
    return cmocka_run_group_tests_name("memory", tests, set_up, scratch_tear_down);
}
