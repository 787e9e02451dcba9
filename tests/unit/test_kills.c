/* test_kills.c: runs that are killed, at random moments and in the midst of a save, and gone on with until
 * they are done: their weights are those of the run that nobody disturbed, and nothing is left over. And what
 * signals do.
 *
 * TORTURE_KILLS=N kills N runs in place of 8. */
#include "samples.h"
#include "shell.h"
#include "torture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { KILLS_BY_DEFAULT = 8, KILLS_OF_A_RUN = 3, STEPS = 90, COMMAND_ROOM = 800 };

static char whole[400]; /* the folder of the run that nobody disturbed */
static double whole_seconds;
static Counts whole_calls;
static _Atomic long *killed; /* of all workers */

static void command_of(char *command, const char *more)
{
    snprintf(command, COMMAND_ROOM, "%s train --data %s/folders --out run --epochs %d --seed 1 %s",
             setting.program, setting.folder, STEPS / 3, more);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wait_for(double time)
{
    nanosleep(&(struct timespec){(time_t)time, (long)(1e9 * (time - (double)(time_t)time))}, NULL);
}

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* ---- what must hold in the end ---- */

static void expect_no_left_over(void *arg, const char *name)
{
    if (strstr(name, "-tmp"))
        finding("%s: %s is left over", (const char *)arg, name);
}

/* A line for each step, in order. */
static void expect_metrics(const Place *p, const char *what)
{
    char path[700];
    size_t count;
    snprintf(path, sizeof path, "%s/run/metrics.jsonl", p->here);
    char *text = file_bytes(path, &count), *at = text;
    int step = 0;
    while (at && *at) {
        char wanted[40], *end = strchr(at, '\n');
        snprintf(wanted, sizeof wanted, "{\"step\":%d,", step + 1);
        if (!end || strncmp(at, wanted, strlen(wanted)) != 0)
            break;
        step++;
        at = end + 1;
    }
    if (step != STEPS || !at || *at)
        finding("%s: the metrics have %d whole steps in order, then: %.80s", what, step, at ? at : "nothing");
    free(text);
}

static bool same_weights(const Place *p)
{
    char a[700], b[700];
    snprintf(a, sizeof a, "%s/run/last.safetensors", p->here);
    snprintf(b, sizeof b, "%s/run/last.safetensors", whole);
    return files_equal(a, b);
}

/* Goes on to the end without further ado. */
static void expect_finished(const Place *p, const char *what)
{
    char command[COMMAND_ROOM];
    command_of(command, "--resume");
    Ended e = run(p, command, NULL);
    if (e.signal || e.code)
        finding("%s: going on ends by signal %d, exit %d: %s", what, e.signal, e.code, e.said);
    else if (!same_weights(p))
        finding("%s: other weights: %s", what, e.said);
    tree_each(p->here, expect_no_left_over, (void *)(uintptr_t)what);
    expect_metrics(p, what);
    free(e.said);
}

/* ---- kills ---- */

static int kills_wanted(void)
{
    const char *text = getenv("TORTURE_KILLS");
    int number = text ? (int)strtol(text, NULL, 10) : 0;
    return number > 0 ? number : KILLS_BY_DEFAULT;
}

static void kill_at_random_time(const Place *p, const char *command, uint64_t *state)
{
    pid_t child = run_start(p, command, NULL);
    wait_for(whole_seconds * (draw(state) % 1000) / 1000);
    kill(child, SIGKILL);
    Ended e = run_wait(p, child);
    atomic_fetch_add(killed, e.signal == SIGKILL);
    free(e.said);
}

/* In a call that is part of writing a file: before it, or of a write, halfway. */
static void kill_in_save(const Place *p, const char *command, uint64_t *state)
{
    static const Family families[] = {FAMILY_WRITE, FAMILY_SYNC, FAMILY_RENAME};
    Family family = families[draw(state) % 3];
    long calls = whole_calls.calls[family], number = 1 + (long)(draw(state) % (calls > 0 ? calls : 1));
    Ended e = run(p, command, &(Injection){family, WAY_SIGNAL, SIGKILL, number});
    atomic_fetch_add(killed, e.signal == SIGKILL);
    free(e.said);
}

static void kill_runs(int worker, void *arg)
{
    Place p;
    char folder[300], command[COMMAND_ROOM], what[100];
    (void)arg;
    snprintf(folder, sizeof folder, "%s/killer-%d", setting.folder, worker);
    place_make(&p, folder);
    for (int i = worker; i < kills_wanted(); i += workers()) {
        uint64_t state = 1000003u * (uint64_t)i;
        tree_copy(p.here, p.here);
        for (uint32_t k = 0, kills = 1 + draw(&state) % KILLS_OF_A_RUN; k < kills; k++) {
            command_of(command, k > 0 ? "--resume" : "");
            if (i % 4 == 0)
                kill_in_save(&p, command, &state);
            else
                kill_at_random_time(&p, command, &state);
        }
        snprintf(what, sizeof what, "killed run %d", i);
        expect_finished(&p, what);
    }
}

static void test_kills(void **state)
{
    (void)state;
    killed = mmap(NULL, sizeof *killed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(killed != MAP_FAILED);
    assert_true(work_at_once(kill_runs, NULL));
    assert_int_equal(findings(), 0);
    print_message("%d runs, killed %ld times\n", kills_wanted(), (long)*killed);
    assert_true(*killed > 0);
}

/* ---- signals that save ---- */

/* A run that takes steps for long without an epoch's end, so that all it saves is for a signal. */
static pid_t start_long(const Place *p, const char *more)
{
    char command[COMMAND_ROOM], weights[700];
    tree_copy(p->here, p->here);
    snprintf(command, sizeof command, "%s train --out run --epochs 40 --seed 1 %s", setting.program, more);
    pid_t child = run_start(p, command, NULL);
    snprintf(weights, sizeof weights, "%s/run/metrics.jsonl", p->here);
    for (int i = 0; i < 1000 && !file_exists(weights); i++)
        wait_for(0.01);
    wait_for(0.02);
    return child;
}

static bool holds_weights(const Place *p)
{
    char path[700];
    snprintf(path, sizeof path, "%s/run/last.safetensors", p->here);
    return file_exists(path);
}

static void expect_saved(const Place *p, pid_t child, const char *what, int code)
{
    Ended e = run_wait(p, child);
    if (e.signal || e.code != code)
        finding("%s: signal %d, exit %d in place of %d: %s", what, e.signal, e.code, code, e.said);
    else if (!holds_weights(p))
        finding("%s: nothing is saved: %s", what, e.said);
    tree_each(p->here, expect_no_left_over, (void *)(uintptr_t)what);
    free(e.said);
}

static Place signal_place(void)
{
    Place p;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/signals", setting.folder);
    place_make(&p, folder);
    return p;
}

static void test_signals_save_and_end(void **state)
{
    static const struct {
        int number, code;
        const char *name;
    } signals[] = {{SIGINT, 130, "SIGINT"},
                   {SIGTERM, 143, "SIGTERM"},
                   {SIGHUP, 129, "SIGHUP"},
                   {SIGXCPU, 152, "SIGXCPU"},
                   {SIGUSR2, 75, "SIGUSR2"}};
    (void)state;
    Place p = signal_place();
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        pid_t child = start_long(&p, "");
        kill(child, signals[i].number);
        expect_saved(&p, child, signals[i].name, signals[i].code);
    }
    assert_int_equal(findings(), 0);
}

/* As timeout(1), a shell and a batch system send them: to the program, to its group, or to both. */
static void test_signals_in_a_row(void **state)
{
    (void)state;
    Place p = signal_place();
    for (int i = 0; i < 6; i++) {
        pid_t child = start_long(&p, "");
        kill(child, SIGTERM);
        if (i > 0)
            wait_for(2e-4 * i);
        kill(i % 2 ? -child : child, SIGTERM);
        expect_saved(&p, child, "two SIGTERMs", 143);
    }
    pid_t child = start_long(&p, "");
    kill(child, SIGINT);
    kill(-child, SIGTERM);
    kill(child, SIGHUP);
    Ended e = run_wait(&p, child);
    if (e.signal || e.code <= 128 || !holds_weights(&p))
        finding("three signals: signal %d, exit %d: %s", e.signal, e.code, e.said);
    free(e.said);
    assert_int_equal(findings(), 0);
}

/* timeout(1) sends the signal to what it has started, and then to its own group, which is the same. */
static void test_timeout(void **state)
{
    (void)state;
    Place p = signal_place();
    char command[COMMAND_ROOM];
    tree_copy(p.here, p.here);
    snprintf(command, sizeof command, "/usr/bin/timeout -s TERM 0.7 %s train --out run --epochs 40 --seed 1",
             setting.program);
    expect_saved(&p, run_start(&p, command, NULL), "timeout", 124);
    assert_int_equal(findings(), 0);
}

static void test_sigusr1_saves_and_goes_on(void **state)
{
    (void)state;
    Place p = signal_place();
    pid_t child = start_long(&p, "");
    assert_false(holds_weights(&p));
    kill(child, SIGUSR1);
    for (int i = 0; i < 500 && !holds_weights(&p); i++)
        wait_for(0.01);
    if (!holds_weights(&p))
        finding("SIGUSR1 saves nothing");
    wait_for(0.1);
    siginfo_t ended = {.si_pid = 0};
    waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid)
        finding("SIGUSR1 ends the run");
    kill(child, SIGTERM);
    expect_saved(&p, child, "SIGUSR1, then SIGTERM", 143);
    assert_int_equal(findings(), 0);
}

/* A signal in every call of a save: it ends with a status of its own or, in the last save, well; and nothing
 * is lost. */
static void test_signals_in_a_save(void **state)
{
    static const int signals[] = {SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    (void)state;
    Place p = signal_place();
    char command[COMMAND_ROOM];
    for (int i = 0; i < 12; i++) {
        Family family = i % 3 == 0 ? FAMILY_WRITE : i % 3 == 1 ? FAMILY_SYNC : FAMILY_RENAME;
        long calls = whole_calls.calls[family];
        assert_true(calls > 0);
        tree_copy(p.here, p.here);
        command_of(command, "");
        Ended e =
            run(&p, command, &(Injection){family, WAY_SIGNAL, signals[i % 4], 1 + i * (calls - 1) / 12});
        int number = signals[i % 4], code = number == SIGUSR1 ? 0 : number == SIGUSR2 ? 75 : 128 + number;
        if (e.signal || (e.code != 0 && e.code != code))
            finding("signal %d in a save: signal %d, exit %d: %s", number, e.signal, e.code, e.said);
        expect_finished(&p, "a signal in a save");
        free(e.said);
    }
    assert_int_equal(findings(), 0);
}

/* ---- set-up ---- */

static int run_whole(void **state)
{
    Place p;
    char folder[300], command[COMMAND_ROOM];
    if (setting_make(state))
        return 1;
    snprintf(folder, sizeof folder, "%s/whole", setting.folder);
    place_make(&p, folder);
    snprintf(whole, sizeof whole, "%s", p.here);
    command_of(command, "");
    double begun = seconds();
    Ended e = run(&p, command, NULL);
    whole_seconds = seconds() - begun;
    place_counts(&p, &whole_calls);
    int code = e.code;
    free(e.said);
    return code;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills),
        cmocka_unit_test(test_signals_save_and_end),
        cmocka_unit_test(test_signals_in_a_row),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_sigusr1_saves_and_goes_on),
        cmocka_unit_test(test_signals_in_a_save),
    };
    return cmocka_run_group_tests_name("kills", tests, run_whole, setting_remove);
}
