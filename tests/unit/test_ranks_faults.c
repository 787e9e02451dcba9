/* test_ranks_faults.c: what goes wrong in a training of several processes: processes that are killed, stopped
 * or told to end, pictures that one of them cannot read, disks that are full, starts that make no sense. All
 * processes end, one line says why, and the run goes on at another number of processes as if nothing had
 * been.
 *
 * TORTURE_RANK_KILLS=N kills N processes in place of 3, and has one stopped, which takes its time. */
#include "commands.h"
#include "mpi.h"
#include "samples.h"
#include "shell.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* The promise is 30 s; loaded machines get a little more before a test says that a process hangs. */
enum { RANKS = 4, KILLS_BY_DEFAULT = 3, STEPS = 500, END_WITHIN = 30, RUN_WITHIN = 300 };

static char folder[512], program[600], amdimc[PATH_MAX]; /* absolute: commands run in the folder */
static char host[64];
static const char *const run_options = "--seed 1 --threads 1 --checkpoint-every 7";

static const char spec[] = "name: small\ninput: {size: 12}\nbatch: 8\n"
                           "encoder:\n"
                           "  - conv: {out: 8, kernel: 4, stride: 2}\n"
                           "  - residual: {out: 12, kernel: 3}\n"
                           "  - residual: {out: 16, kernel: 3}\n"
                           "  - batchnorm: {}\n"
                           "embedding: {dim: 16}\nloss: {pairs: [1-to-3]}\n"
                           "optimizer: {adam: {lr: 1e-3}}\nschedule: {epochs: 100}\n";

/* ---- helpers ---- */

static void sleep_for(double seconds)
{
    nanosleep(&(struct timespec){(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))}, NULL);
}

static bool run_has(const char *run, const char *file)
{
    struct stat found;
    char name[128];
    snprintf(name, sizeof name, "%s/%s", run, file);
    return stat(scratch_path(name), &found) == 0;
}

/* Waits for the first steps: their metrics are there. */
static void await_first_steps(const char *run)
{
    for (int i = 0; i < 30000 && !run_has(run, "metrics.jsonl"); i++)
        sleep_for(0.001);
}

static void await_steps(const char *run)
{
    await_first_steps(run);
    sleep_for(0.2);
}

static bool says(const MpiEnd *e, const char *words)
{
    return strstr(e->said, words) != NULL;
}

static int times_said(const MpiEnd *e, const char *words)
{
    int times = 0;
    for (const char *at = e->said; (at = strstr(at, words)) != NULL; at++)
        times++;
    return times;
}

static void expect_says(const MpiEnd *e, const char *words)
{
    if (!says(e, words))
        fail_msg("%s (should say: %s)", e->said, words);
}

/* All have ended, in time, with that code. */
static MpiEnd expect_end(MpiRun *r, int code, double within)
{
    MpiEnd e = mpi_wait(r, within);
    if (e.hung || e.code != code)
        fail_msg("%s after %.1f s with %d in place of %d: %s", e.hung ? "hangs" : "ends", e.seconds, e.code,
                 code, e.said);
    for (int i = 0; i < 500 && mpi_left(r) > 0; i++)
        sleep_for(0.01);
    assert_int_equal(mpi_left(r), 0);
    return e;
}

static void expect_trained(int processes, const char *run, const char *more)
{
    MpiRun r = mpi_start(processes, "%s train --out %s %s --threads 1", program, scratch_path(run), more);
    free(expect_end(&r, 0, RUN_WITHIN).said);
}

static void expect_same_weights(const char *a, const char *b)
{
    assert_int_equal(shell("cmp %s/%s/last.safetensors %s/%s/last.safetensors", folder, a, folder, b), 0);
}

static void need_whole_run(void)
{
    char steps[64];
    snprintf(steps, sizeof steps, "--steps %d --seed 1", STEPS);
    if (!run_has("whole", "last.safetensors"))
        expect_trained(2, "whole", steps);
}

/* ---- kills ---- */

static int kills_wanted(void)
{
    const char *text = getenv("TORTURE_RANK_KILLS");
    const int number = text ? (int)strtol(text, NULL, 10) : 0;
    return number > 0 ? number : KILLS_BY_DEFAULT;
}

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* A run of its own, killed from its first steps on or before them; true where it was killed in its steps, in
 * which case the line must be there. Once all is trained, a kill finds nothing. */
static bool kill_one(int processes, const char *run, uint64_t *state)
{
    char line[160];
    const int rank = (int)(draw(state) % (uint32_t)processes);
    MpiRun r = mpi_start(processes, "%s train --out %s --steps %d %s --resume", program, scratch_path(run),
                         STEPS, run_options);
    const pid_t process = mpi_process(&r, rank);
    assert_true(process > 0);
    if (draw(state) % 4 > 0)
        await_first_steps(run);
    sleep_for(1e-3 * (draw(state) % 400));
    const bool was_there = mpi_left(&r) == processes;
    kill(process, SIGKILL);
    MpiEnd e = mpi_wait(&r, END_WITHIN);
    snprintf(line, sizeof line, "error: rank %d on %s is gone", rank, host);
    const bool in_steps = was_there && e.code != 0 && says(&e, "from step") && !says(&e, "trained");
    /* MPICH's launcher may end all first, and says so. */
    if (e.hung || (in_steps && !says(&e, line) && !says(&e, "YOUR APPLICATION TERMINATED")))
        fail_msg("killed rank %d of %d: %s: %s", rank, processes, e.hung ? "hangs" : "no line", e.said);
    free(e.said);
    return in_steps;
}

static void killed_processes_end_all(void **state)
{
    static const int processes[] = {4, 2, 4};
    (void)state;
    mpi_wanted();
    need_whole_run();
    int in_steps = 0;
    for (int i = 0; i < kills_wanted(); i++) {
        char run[32], rest[64];
        uint64_t random = 7919u * (uint64_t)(i + 1);
        snprintf(run, sizeof run, "killed-%d", i);
        snprintf(rest, sizeof rest, "--steps %d --seed 1 --resume", STEPS);
        in_steps += kill_one(processes[i % 3], run, &random);
        expect_trained(1 << draw(&random) % 3, run, rest);
        expect_same_weights("whole", run);
    }
    print_message("%d killed, %d of them in their steps\n", kills_wanted(), in_steps);
    assert_true(in_steps > kills_wanted() / 4);
}

/* Its sockets stay open, and it says nothing: as a machine that is gone. */
static void a_silent_process_ends_all(void **state)
{
    char line[160];
    (void)state;
    if (getenv("TORTURE_RANK_KILLS") == NULL) {
        print_message("skipped: takes its time; TORTURE_RANK_KILLS asks for it\n");
        skip();
    }
    mpi_wanted();
    MpiRun r = mpi_start(4, "%s train --out %s %s", program, scratch_path("silent"), run_options);
    await_steps("silent");
    const pid_t process = mpi_process(&r, 3);
    assert_int_equal(kill(process, SIGSTOP), 0);
    snprintf(line, sizeof line, "error: rank 3 on %s is gone: nothing was heard of it", host);
    MpiEnd e = mpi_wait(&r, END_WITHIN);
    kill(process, SIGKILL);
    assert_false(e.hung);
    expect_says(&e, line);
    free(e.said);
}

/* ---- signals ---- */

static void a_signal_to_one_is_one_to_all(void **state)
{
    static const struct {
        int signal, rank, code;
    } cases[] = {{SIGTERM, 2, 143}, {SIGUSR2, 1, 75}};
    (void)state;
    mpi_wanted();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char run[32];
        snprintf(run, sizeof run, "signal-%d", cases[i].signal);
        MpiRun r = mpi_start(4, "%s train --out %s --seed 1 --threads 1", program, scratch_path(run));
        await_steps(run);
        assert_int_equal(kill(mpi_process(&r, cases[i].rank), cases[i].signal), 0);
        MpiEnd e = expect_end(&r, cases[i].code, END_WITHIN);
        assert_int_equal(times_said(&e, "stopped by a signal after step"), 1);
        assert_true(run_has(run, "last.safetensors"));
        free(e.said);
    }
}

static void sigusr1_to_one_saves_and_goes_on(void **state)
{
    (void)state;
    mpi_wanted();
    MpiRun r = mpi_start(2, "%s train --out %s --seed 1 --threads 1", program, scratch_path("saves"));
    await_steps("saves");
    assert_false(run_has("saves", "last.safetensors"));
    assert_int_equal(kill(mpi_process(&r, 1), SIGUSR1), 0);
    for (int i = 0; i < 1000 && !run_has("saves", "last.safetensors"); i++)
        sleep_for(0.01);
    sleep_for(0.1);
    assert_int_equal(mpi_left(&r), 2);
    assert_int_equal(kill(mpi_process(&r, 0), SIGINT), 0);
    MpiEnd e = expect_end(&r, 130, END_WITHIN);
    assert_int_equal(times_said(&e, "saved after step"), 1);
    free(e.said);
}

/* ---- failures ---- */

/* The limit on a file's size stands in for a full disk. */
static void a_full_disk_ends_all(void **state)
{
    char name[128];
    const struct rlimit full = {.rlim_cur = 4096, .rlim_max = 4096};
    (void)state;
    mpi_wanted();
    MpiRun r = mpi_start(4, "%s train --out %s --seed 1 --threads 1", program, scratch_path("full"));
    await_steps("full");
    assert_int_equal(kill(mpi_process(&r, 2), SIGUSR1), 0);
    for (int i = 0; i < 1000 && !run_has("full", "last.safetensors"); i++)
        sleep_for(0.01);
    sleep_for(0.5); /* a step or more, so that there is something new to save */
    assert_int_equal(prlimit(mpi_process(&r, 0), RLIMIT_FSIZE, &full, NULL), 0);
    assert_int_equal(kill(mpi_process(&r, 1), SIGTERM), 0);
    MpiEnd e = expect_end(&r, 1, END_WITHIN);
    snprintf(name, sizeof name, "rank 0 on %s: ", host);
    expect_says(&e, name);
    expect_says(&e, "last.safetensors: File too large; the last good checkpoint is of step");
    assert_int_equal(times_said(&e, "is gone"), 0);
    free(e.said);
    expect_trained(2, "full", "--resume --stop-after 1");
}

static void a_loss_that_is_not_finite_is_said_once(void **state)
{
    (void)state;
    mpi_wanted();
    MpiRun r =
        mpi_start(4, "%s train --out %s --lr 1e20 --seed 1 --threads 1", program, scratch_path("stop"));
    MpiEnd e = expect_end(&r, 1, RUN_WITHIN);
    assert_int_equal(times_said(&e, "is not finite"), 1);
    free(e.said);
    r = mpi_start(4, "%s train --out %s --lr 1e20 --seed 1 --threads 1 --on-nan skip", program,
                  scratch_path("skip"));
    e = expect_end(&r, 1, RUN_WITHIN);
    assert_int_equal(times_said(&e, "is left out"), 10);
    assert_int_equal(times_said(&e, "like those of the nine before it"), 1);
    free(e.said);
}

/* ---- pictures ---- */

enum { PICTURES = 16 };

/* Two classes of noise; of the picture `damaged`, if there is one, the middle is not what was written. */
static void write_pictures(const char *set, int damaged)
{
    uint64_t random = 5;
    for (int i = 0; i < PICTURES; i++) {
        enum { SIZE = 14, BYTES = SIZE * SIZE * 3 };
        uint8_t pixels[BYTES];
        char name[64];
        for (int k = 0; k < BYTES; k++)
            pixels[k] = (uint8_t)draw(&random);
        Sample s = sample_png((PngKind){SIZE, SIZE, 8, 2, 0}, pixels, NULL);
        if (i == damaged)
            memset(s.bytes + s.count / 2, 0, s.count / 4);
        snprintf(name, sizeof name, "%s/train/%c/%02d.png", set, 'a' + i % 2, i);
        scratch_write(name, s.bytes, s.count);
        snprintf(name, sizeof name, "%s/test/%c/%02d.png", set, 'a' + i % 2, i);
        scratch_write(name, s.bytes, s.count);
        free(s.bytes);
    }
}

/* One process meets it; all save, and the line names picture, rank and host. */
static void a_damaged_picture_of_one_ends_all(void **state)
{
    char data[600], on[80];
    (void)state;
    mpi_wanted();
    write_pictures("damaged", 5);
    snprintf(data, sizeof data, "%s", scratch_path("damaged"));
    MpiRun r = mpi_start(4, "%s train --out %s --data %s --seed 1 --threads 1", program,
                         scratch_path("lacking"), data);
    MpiEnd e = expect_end(&r, 1, RUN_WITHIN);
    snprintf(on, sizeof on, " on %s: ", host);
    expect_says(&e, on);
    expect_says(&e, "05.png: damaged PNG file");
    expect_says(&e, "the run is saved after step");
    assert_int_equal(times_said(&e, "error: "), 1);
    assert_true(run_has("lacking", "last.safetensors"));
    free(e.said);
}

/* Each process is started with its own copy. */
static void copies_that_differ_are_refused(void **state)
{
    char copy[3][600];
    (void)state;
    mpi_wanted();
    write_pictures("copy", -1);
    write_pictures("lacks", -1);
    snprintf(copy[0], sizeof copy[0], "%s", scratch_path("lacks/train/a/02.png"));
    assert_int_equal(unlink(copy[0]), 0);
    snprintf(copy[0], sizeof copy[0], "%s", scratch_path("copy"));
    snprintf(copy[1], sizeof copy[1], "%s", scratch_path("lacks"));
    snprintf(copy[2], sizeof copy[2], "%s", scratch_path("differs"));
    MpiRun r = mpi_start(4,
                         "sh -c 'd=%s; [ ${OMPI_COMM_WORLD_RANK-$PMI_RANK} = 2 ] && d=%s; "
                         "exec %s train --data $d --out %s --threads 1'",
                         copy[0], copy[1], program, copy[2]);
    MpiEnd e = expect_end(&r, 1, RUN_WITHIN);
    expect_says(&e, "the data of rank 2 is not that of rank 0");
    expect_says(&e, "15 images");
    assert_int_equal(times_said(&e, "error: "), 1);
    assert_false(run_has("differs", "metrics.jsonl"));
    free(e.said);
}

/* ---- starts ---- */

static void a_folder_in_use_is_refused(void **state)
{
    (void)state;
    mpi_wanted();
    MpiRun first = mpi_start(2, "%s train --out %s --threads 1", program, scratch_path("in-use"));
    await_steps("in-use");
    MpiRun second = mpi_start(2, "%s train --out %s --threads 1 --resume", program, scratch_path("in-use"));
    MpiEnd e = expect_end(&second, 1, RUN_WITHIN);
    expect_says(&e, "another program trains into this folder");
    free(e.said);
    assert_int_equal(kill(mpi_process(&first, 1), SIGTERM), 0);
    free(expect_end(&first, 143, END_WITHIN).said);
}

static void processes_without_ranks_are_refused(void **state)
{
    (void)state;
    mpi_wanted();
    MpiRun r = mpi_start(3, "%s train --out %s --threads 1", program, scratch_path("three"));
    MpiEnd e = expect_end(&r, 1, RUN_WITHIN);
    expect_says(&e, "3 processes cannot share 4 ranks evenly");
    assert_int_equal(times_said(&e, "error: "), 1);
    free(e.said);
    assert_int_equal(
        shell("cd '%s' && %s --cc %s small.yaml -o alone --gen-dir g1", folder, amdimc, quick_compiler()), 0);
    r = mpi_start(2, "%s/alone train --out %s --threads 1", folder, scratch_path("two-alone"));
    e = expect_end(&r, 1, RUN_WITHIN);
    expect_says(&e, "2 processes were started, and this program was compiled for one: --ranks 2");
    free(e.said);
}

/* ---- set-up ---- */

static int set_up(void **state)
{
    scratch_set_up(state);
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    snprintf(program, sizeof program, "%s", scratch_path("small"));
    gethostname(host, sizeof host - 1);
    if (!mpi_is_installed())
        return 0; /* each test says so */
    scratch_write("small.yaml", spec, strlen(spec));
    return realpath(amdimc_path(), amdimc) == NULL ||
           shell("cd '%s' && '%s' --ranks %d --cc %s --blas none small.yaml -o small --gen-dir g", folder,
                 amdimc, RANKS, quick_compiler()) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_processes_end_all),
        cmocka_unit_test(a_silent_process_ends_all),
        cmocka_unit_test(a_signal_to_one_is_one_to_all),
        cmocka_unit_test(sigusr1_to_one_saves_and_goes_on),
        cmocka_unit_test(a_full_disk_ends_all),
        cmocka_unit_test(a_loss_that_is_not_finite_is_said_once),
        cmocka_unit_test(a_damaged_picture_of_one_ends_all),
        cmocka_unit_test(copies_that_differ_are_refused),
        cmocka_unit_test(a_folder_in_use_is_refused),
        cmocka_unit_test(processes_without_ranks_are_refused),
    };
    return cmocka_run_group_tests_name("ranks faults", tests, set_up, scratch_tear_down);
}
