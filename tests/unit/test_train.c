/* test_train.c: a run leaves the same bytes however it was stopped, gone on with or threaded, and is not
 * lost. */
#include "runs.h"
#include "samples.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- the tests ---- */

static void test_writes_its_files(void **state)
{
    (void)state;
    struct stat page;
    train_whole("deep/er/run");
    char *metrics = metrics_without_speed("deep/er/run");
    assert_int_equal(count_lines(metrics), STEPS);
    assert_true(strncmp(metrics, "{\"step\":1,\"epoch\":0,\"loss\":", 27) == 0);
    assert_non_null(strstr(metrics, "\n{\"step\":6,\"epoch\":1,"));
    assert_non_null(strstr(metrics, "\"3-to-1\":"));
    assert_non_null(strstr(metrics, "\"lr\":0.01\n"));
    assert_int_equal(stat(scratch_path("deep/er/run/report.html"), &page), 0);
    free(metrics);
}

static void test_epochs_from_the_spec(void **state)
{
    (void)state;
    Options o = train_options("run", -1);
    assert_int_equal(train(&toy_model, &o), 0);
    char *metrics = metrics_without_speed("run");
    assert_int_equal(count_lines(metrics), 4 * 5);
    free(metrics);
}

static void test_resumed_is_unstopped(void **state)
{
    (void)state;
    train_whole("whole");
    Options o = train_options("parts", STOP);
    assert_int_equal(train(&toy_model, &o), 0);
    o = train_options("parts", STEPS);
    o.limit = -1; /* the run knows */
    o.resume = true;
    assert_int_equal(train(&toy_model, &o), 0);
    assert_same_run("whole", "parts");
}

static void test_resume_begins_where_there_is_none(void **state)
{
    (void)state;
    train_whole("whole");
    Options o = train_options("new", STEPS);
    o.resume = true;
    assert_int_equal(train(&toy_model, &o), 0);
    assert_same_run("whole", "new");
}

static void test_threads_leave_no_trace(void **state)
{
    (void)state;
    train_whole("two");
    Options o = train_options("five", STEPS);
    o.threads = 5;
    assert_int_equal(train(&toy_model, &o), 0);
    assert_same_run("two", "five");
}

static void test_seed_matters(void **state)
{
    (void)state;
    train_whole("zero");
    Options o = train_options("one", STEPS);
    o.seed = 1;
    assert_int_equal(train(&toy_model, &o), 0);
    char *zero = metrics_without_speed("zero"), *one = metrics_without_speed("one");
    assert_string_not_equal(zero, one);
    free(zero);
    free(one);
}

/* As after a power cut: metrics ahead of the weights, and the last line torn. */
static void test_metrics_beyond_the_weights_are_dropped(void **state)
{
    (void)state;
    train_whole("whole");
    Options o = train_options("cut", STOP);
    assert_int_equal(train(&toy_model, &o), 0);
    add_to_metrics("cut", "{\"step\":4,\"epoch\":0,\"loss\":9,\"3-to-1\":9,\"penalty\":9,\"lr\":9,"
                          "\"images_per_second\":9}\n{\"step\":5,\"epo");
    o = train_options("cut", STEPS);
    o.resume = true;
    assert_int_equal(train(&toy_model, &o), 0);
    assert_same_run("whole", "cut");
}

static void test_run_is_not_overwritten(void **state)
{
    (void)state;
    size_t before, after;
    train_whole("run");
    char *first = weights_of("run", &before);
    Options o = train_options("run", STOP);
    o.seed = 3;
    refuses(&o, "--resume goes on with it");
    char *second = weights_of("run", &after);
    assert_int_equal(before, after);
    assert_memory_equal(first, second, before);
    free(first);
    free(second);
}

static void test_resume_keeps_seed_and_limit(void **state)
{
    (void)state;
    train_whole("run");
    Options o = train_options("run", STEPS + 1);
    o.resume = true;
    o.limit = LIMIT + 1;
    refuses(&o, "was begun with --limit 2");
    o.limit = LIMIT;
    o.seed = 3;
    o.seed_given = true;
    refuses(&o, "was begun with --seed 0");
    o.seed = 0;
    assert_int_equal(train(&toy_model, &o), 0);
}

static void test_too_few_pictures(void **state)
{
    (void)state;
    struct stat folder;
    AmdimModel big = toy_model;
    big.batch = 64;
    Options o = train_options("none", STEPS);
    Fault f = {.error = 0};
    assert_int_equal(run_quietly(command_train, &big, &o, &f), 1);
    assert_non_null(strstr(f.text, "20"));
    assert_int_equal(stat(scratch_path("none"), &folder), -1); /* not made in vain */
}

static int steps_taken;

static void step_then_signal(AmdimStep *step)
{
    toy_model.step(step);
    if (++steps_taken == STOP)
        raise(SIGTERM);
}

static void test_signal_saves(void **state)
{
    (void)state;
    train_whole("whole");
    AmdimModel stopping = toy_model;
    stopping.step = step_then_signal;
    steps_taken = 0;
    Options o = train_options("stopped", STEPS);
    assert_int_equal(train(&stopping, &o), 128 + SIGTERM);
    char *metrics = metrics_without_speed("stopped");
    assert_int_equal(count_lines(metrics), STOP);
    free(metrics);
    o.resume = true;
    assert_int_equal(train(&toy_model, &o), 0);
    assert_same_run("whole", "stopped");
}

/* The rates in a run's metrics are those of a cosine over `total` steps. */
static void expect_cosine(const AmdimModel *m, const char *run, uint64_t total)
{
    char *metrics = metrics_without_speed(run), *at = metrics;
    for (uint64_t step = 0; step < total; step++) {
        char *lr = strstr(at, "\"lr\":");
        assert_non_null(lr);
        const double want = optimizer_rate(&m->schedule, m->optimizer.lr, step, 0, total);
        assert_true(fabs(strtod(lr + strlen("\"lr\":"), &at) - want) < 1e-8 * want);
    }
    assert_null(strstr(at, "\"lr\":"));
    free(metrics);
}

/* The length that a cosine falls over is the first beginning's, however often the run is gone on with. */
static void test_cosine_keeps_its_length(void **state)
{
    (void)state;
    AmdimModel m = toy_model;
    m.schedule = (AmdimSchedule){.epochs = 4, .warmup = 2, .has_cosine = true, .cosine = 0.1};
    Options o = train_options("whole", STEPS);
    assert_int_equal(train(&m, &o), 0);
    expect_cosine(&m, "whole", STEPS);

    AmdimModel stopping = m;
    stopping.step = step_then_signal;
    steps_taken = 0;
    o = train_options("parts", STEPS);
    assert_int_equal(train(&stopping, &o), 128 + SIGTERM);
    size_t before, after;
    char *first = weights_of("parts", &before);
    Fault f = {.error = 0};
    o.resume = true;
    o.steps = STEPS + 1;
    assert_int_equal(run_quietly(command_train, &m, &o, &f), 1);
    assert_non_null(strstr(f.text, "begun for 12 steps, where its cosine ends, and 13 are asked for"));
    o.steps = -1;
    o.epochs = 1;
    assert_int_equal(run_quietly(command_train, &m, &o, &f), 1);
    assert_non_null(strstr(f.text, "and 5 are asked for"));
    char *second = weights_of("parts", &after);
    assert_int_equal(before, after);
    assert_memory_equal(first, second, before);
    free(first);
    free(second);
    o.epochs = -1; /* nothing is asked for, where the spec's epochs would be 20 steps */
    assert_int_equal(train(&m, &o), 0);
    assert_same_run("whole", "parts");
}

/* Nor do the spec's epochs, fewer than were asked for, count against --steps. */
static void test_cosine_of_so_many_steps_is_gone_on_with_by_them(void **state)
{
    (void)state;
    AmdimModel m = toy_model;
    m.schedule = (AmdimSchedule){.epochs = 1, .has_cosine = true, .cosine = 0.1};
    Options o = train_options("whole", STEPS);
    o.epochs = 4;
    assert_int_equal(train(&m, &o), 0);
    AmdimModel stopping = m;
    stopping.step = step_then_signal;
    steps_taken = 0;
    o = train_options("parts", STEPS);
    o.epochs = 4;
    assert_int_equal(train(&stopping, &o), 128 + SIGTERM);
    Fault f = {.error = 0};
    o.resume = true;
    o.epochs = -1;
    o.steps = STEPS - 1;
    assert_int_equal(run_quietly(command_train, &m, &o, &f), 1);
    assert_non_null(strstr(f.text, "begun for 12 steps, where its cosine ends, and 11 are asked for"));
    o.steps = STEPS;
    assert_int_equal(train(&m, &o), 0);
    assert_same_run("whole", "parts");
}

static char *early_page;

static void step_and_read(AmdimStep *step)
{
    size_t count;
    if (!early_page)
        early_page = read_whole(scratch_path("early/report.html"), &count);
    toy_model.step(step);
}

/* Before the first step, without what waits for features; then the whole one. */
static void test_report_is_there_from_the_start(void **state)
{
    (void)state;
    size_t count;
    AmdimModel m = toy_model;
    Options o = train_options("early", STEPS);
    m.step = step_and_read;
    early_page = NULL;
    assert_int_equal(train(&m, &o), 0);
    char *page = read_whole(scratch_path("early/report.html"), &count);
    assert_non_null(early_page);
    assert_non_null(strstr(early_page, "running</b>: step 0 of 12"));
    assert_non_null(strstr(early_page, "http-equiv=\"refresh\" content=\"5\""));
    assert_non_null(strstr(early_page, "Pictures and their views"));
    assert_null(strstr(early_page, "Nearest neighbours"));
    assert_non_null(strstr(page, "finished</b> after step 12"));
    assert_non_null(strstr(page, "Nearest neighbours"));
    free(early_page);
    free(page);
}

/* What a run of ten steps, two epochs, says of its schedule and of what in its spec changes nothing. */
static void test_says_what_has_no_effect(void **state)
{
    (void)state;
    static const char *const notes[] = {"augment.jitter changes nothing: its p is 0"};
    static const int64_t late[] = {1, 2, 7};
    AmdimModel m = toy_model;
    Fault f = {.error = 0};
    char *said;
    Options o = train_options("fine", 10);
    m.schedule = (AmdimSchedule){.epochs = 4, .warmup = 10, .milestones = 1, .milestone = late};
    assert_int_equal(train_saying(&m, &o, &said, &f), 0);
    assert_null(strstr(said, "note:"));
    free(said);
    o = train_options("short", 10);
    m.notes = 1;
    m.note = notes;
    m.schedule = (AmdimSchedule){.epochs = 4, .warmup = 40, .milestones = 3, .milestone = late};
    assert_int_equal(train_saying(&m, &o, &said, &f), 0);
    assert_non_null(strstr(said, "note: augment.jitter changes nothing: its p is 0\n"));
    assert_non_null(strstr(said, "the run of 10 steps ends within the warm-up of 40: its rate gets no higher "
                                 "than 0.0025, where lr is 0.01;"));
    assert_non_null(strstr(said, "the run of 2 epochs never reaches 2 and 7 of schedule.milestones"));
    free(said);
    o.resume = true; /* there is nothing left to do */
    assert_int_equal(train_saying(&m, &o, &said, &f), 0);
    assert_null(strstr(said, "note:"));
    free(said);
}

/* Whoever goes away may hang up on it; not where hanging up is ignored, as under nohup. */
static void step_then_hang_up(AmdimStep *step)
{
    toy_model.step(step);
    if (++steps_taken == STOP)
        raise(SIGHUP);
}

static void test_hang_up(void **state)
{
    (void)state;
    signal(SIGHUP, SIG_DFL); /* whoever runs the tests may ignore it */
    AmdimModel stopping = toy_model;
    stopping.step = step_then_hang_up;
    steps_taken = 0;
    Options o = train_options("hung-up", STEPS);
    assert_int_equal(train(&stopping, &o), 128 + SIGHUP);
    signal(SIGHUP, SIG_IGN);
    steps_taken = 0;
    Options ignoring = train_options("not-hung-up", STEPS);
    assert_int_equal(train(&stopping, &ignoring), 0);
    assert_int_equal(steps_taken, STEPS);
    signal(SIGHUP, SIG_DFL);
}

/* The second step outlasts the time; it is finished, and no other begins. */
static void step_slowly(AmdimStep *step)
{
    toy_model.step(step);
    if (++steps_taken == 2)
        sleep(1);
}

static void test_stop_after(void **state)
{
    (void)state;
    train_whole("unhurried");
    AmdimModel slow = toy_model;
    slow.step = step_slowly;
    steps_taken = 0;
    Options o = train_options("in-time", STEPS);
    o.stop_after = 1;
    assert_int_equal(train(&slow, &o), 0);
    assert_in_range(steps_taken, 1, 2); /* 1 on a machine that is slower still */
    o.resume = true;
    o.stop_after = 3600;
    assert_int_equal(train(&toy_model, &o), 0);
    assert_same_run("unhurried", "in-time");
}

static int priority_of_step;

static void step_and_look(AmdimStep *step)
{
    toy_model.step(step);
    priority_of_step = getpriority(PRIO_PROCESS, 0);
}

/* In a child, for nobody takes a lowered priority back. */
static void test_nice(void **state)
{
    (void)state;
    AmdimModel looking = toy_model;
    looking.step = step_and_look;
    Options o = train_options("nice", 1);
    o.nice = true;
    pid_t child = fork();
    if (child == 0)
        _exit(train(&looking, &o) == 0 && priority_of_step == 19 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static bool (*real_done)(AmdimStep *);
static int infinite_from, infinite_until; /* of steps_taken */

static bool spoil(AmdimStep *step)
{
    if (steps_taken > infinite_from && steps_taken <= infinite_until)
        step->loss = step->pair_loss[0] = NAN;
    return real_done(step);
}

static void step_then_infinite(AmdimStep *step)
{
    steps_taken++;
    real_done = step->forward_done;
    step->forward_done = spoil;
    toy_model.step(step);
    step->forward_done = real_done;
}

static void test_infinite_loss(void **state)
{
    (void)state;
    size_t count_a, count_b;
    Options o = train_options("stopped", STOP);
    assert_int_equal(train(&toy_model, &o), 0);
    AmdimModel diverging = toy_model;
    diverging.step = step_then_infinite;
    steps_taken = 0;
    infinite_from = STOP;
    infinite_until = INT_MAX;
    o = train_options("diverged", STEPS);
    Fault f = {.error = 0};
    assert_int_equal(run_quietly(command_train, &diverging, &o, &f), 1);
    assert_non_null(
        strstr(f.text, "the loss of step 4 is not finite: pair 3-to-1, with a largest score of "));
    assert_non_null(strstr(f.text, "the run is saved after step 3"));
    assert_non_null(strstr(f.text, "--lr lower than"));
    char *a = weights_of("stopped", &count_a), *b = weights_of("diverged", &count_b);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(a, b, count_a);
    char *metrics = metrics_without_speed("diverged");
    assert_int_equal(count_lines(metrics), STOP);
    free(metrics);
    free(a);
    free(b);
}

/* A limit on the size of files stands in for a full disk. */
static void test_full_disk_keeps_the_old(void **state)
{
    (void)state;
    size_t before, after;
    struct rlimit whole, tiny;
    Options o = train_options("run", STOP);
    assert_int_equal(train(&toy_model, &o), 0);
    char *first = weights_of("run", &before);
    o = train_options("run", STEPS);
    o.resume = true;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &whole), 0);
    tiny = (struct rlimit){before / 2, whole.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    Fault f = {.error = 0};
    int code = run_quietly(command_train, &toy_model, &o, &f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &whole), 0);
    assert_int_equal(code, 1);
    assert_non_null(strstr(f.text, "cannot write"));
    char *second = weights_of("run", &after);
    assert_int_equal(before, after);
    assert_memory_equal(first, second, before);
    free(first);
    free(second);

    assert_int_equal(train(&toy_model, &o), 0); /* and the run goes on once there is room */
    train_whole("whole");
    assert_same_run("whole", "run");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_writes_its_files),
        TEST(test_report_is_there_from_the_start),
        TEST(test_epochs_from_the_spec),
        TEST(test_resumed_is_unstopped),
        TEST(test_resume_begins_where_there_is_none),
        TEST(test_threads_leave_no_trace),
        TEST(test_seed_matters),
        TEST(test_metrics_beyond_the_weights_are_dropped),
        TEST(test_run_is_not_overwritten),
        TEST(test_resume_keeps_seed_and_limit),
        TEST(test_too_few_pictures),
        TEST(test_signal_saves),
        TEST(test_cosine_keeps_its_length),
        TEST(test_cosine_of_so_many_steps_is_gone_on_with_by_them),
        TEST(test_says_what_has_no_effect),
        TEST(test_hang_up),
        TEST(test_stop_after),
        TEST(test_nice),
        TEST(test_infinite_loss),
        TEST(test_full_disk_keeps_the_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
