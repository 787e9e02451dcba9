/* test_run.c: what a run's folder survives: signals, a second program, damage, a full disk, other data,
 * losses that are no numbers. */
#include "runs.h"
#include "samples.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const char *path_in(const char *run, const char *file)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", run, file);
    return scratch_path(name);
}

static bool is_there(const char *run, const char *file)
{
    struct stat status;
    return lstat(path_in(run, file), &status) == 0;
}

static Options resuming(const char *run, int64_t steps)
{
    Options o = train_options(run, steps);
    o.resume = true;
    return o;
}

static void train_to(const char *run, int64_t steps)
{
    Options o = resuming(run, steps);
    assert_int_equal(train(&toy_model, &o), 0);
}

/* ---- a model that does things in the midst of training ---- */

static int steps_taken;
static void (*meanwhile)(int step);

static void step_and_more(AmdimStep *step)
{
    toy_model.step(step);
    meanwhile(++steps_taken);
}

static AmdimModel model_that(void (*does)(int step))
{
    AmdimModel m = toy_model;
    m.step = step_and_more;
    steps_taken = 0;
    meanwhile = does;
    return m;
}

/* ---- signals ---- */

static int signal_to_send, times;

static void send_signals(int step)
{
    for (int i = 0; step == STOP && i < times; i++)
        raise(signal_to_send);
}

static void expect_saved_by(int signal_number, int count, int code)
{
    char run[32];
    AmdimModel m = model_that(send_signals);
    signal_to_send = signal_number;
    times = count;
    snprintf(run, sizeof run, "by-%d", signal_number);
    Options o = train_options(run, STEPS);
    assert_int_equal(train(&m, &o), code);
    char *metrics = metrics_without_speed(run);
    assert_int_equal(count_lines(metrics), STOP);
    free(metrics);
    train_to(run, STEPS);
    assert_same_run("whole", run);
}

static void test_signals_that_end(void **state)
{
    (void)state;
    train_whole("whole");
    expect_saved_by(SIGINT, 1, 130);
    expect_saved_by(SIGTERM, 2, 143); /* as timeout and process groups send it */
    expect_saved_by(SIGXCPU, 5, 152);
    expect_saved_by(SIGUSR2, 2, 75);
}

static void expect_checkpoint(int step)
{
    Fault f;
    Progress at;
    Optimizer o;
    float params[192];
    assert_true(optimizer_new(&o, &toy_model, &f));
    CheckpointState loaded =
        checkpoint_load(&toy_model, path_in("run", "last.safetensors"), params, &o, &at, &f);
    optimizer_free(&o);
    if (loaded != CHECKPOINT_LOADED)
        fail_msg("%s", f.text);
    assert_int_equal(at.step, step);
}

static void look_after_the_save(int step)
{
    if (step == STOP)
        raise(SIGUSR1);
    if (step == STOP + 1)
        expect_checkpoint(STOP);
}

static void test_a_signal_that_saves(void **state)
{
    (void)state;
    AmdimModel m = model_that(look_after_the_save);
    Options o = train_options("run", STEPS);
    assert_int_equal(train(&m, &o), 0);
    train_whole("whole");
    assert_same_run("whole", "run");
}

static void interrupt_later(int step)
{
    if (step < STOP)
        return;
    raise(SIGINT);
    raise(SIGINT); /* the same wish */
    sleep(1);
    usleep(50000);
    raise(SIGINT);
    sleep(60); /* the program is gone by now */
}

static void test_a_second_interrupt_ends_at_once(void **state)
{
    (void)state;
    AmdimModel m = model_that(interrupt_later);
    Options o = train_options("run", STEPS);
    pid_t child = fork();
    if (child == 0)
        _exit(train(&m, &o));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 130 << 8);
    train_whole("whole");
    train_to("run", STEPS);
    assert_same_run("whole", "run");
}

/* ---- saving ---- */

/* All within the first epoch. */
static void look_at_every_second(int step)
{
    if (step > 2)
        expect_checkpoint((step - 1) / 2 * 2);
}

static void test_checkpoint_every(void **state)
{
    (void)state;
    AmdimModel m = model_that(look_at_every_second);
    Options o = train_options("run", 5);
    o.checkpoint_every = 2;
    assert_int_equal(train(&m, &o), 0);
}

static void test_the_previous_checkpoint_stays(void **state)
{
    (void)state;
    train_to("run", STOP);
    assert_false(is_there("run", "previous.safetensors"));
    train_to("run", STOP); /* nothing new is nothing to save */
    assert_false(is_there("run", "previous.safetensors"));
    char *before, *previous;
    size_t before_count, previous_count;
    before = weights_of("run", &before_count);
    train_to("run", STOP + 1);
    previous = read_whole(path_in("run", "previous.safetensors"), &previous_count);
    assert_int_equal(before_count, previous_count);
    assert_memory_equal(before, previous, before_count);
    free(before);
    free(previous);
}

static void damage(const char *run, const char *file)
{
    FILE *stream = fopen(path_in(run, file), "r+b");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, -200, SEEK_END), 0);
    int byte = fgetc(stream);
    assert_int_equal(fseek(stream, -200, SEEK_END), 0);
    fputc(byte ^ 0x40, stream);
    assert_int_equal(fclose(stream), 0);
}

static void test_a_damaged_checkpoint(void **state)
{
    (void)state;
    Fault f;
    char *said;
    train_whole("whole");
    train_to("run", STOP);
    train_to("run", STOP + 2);
    damage("run", "last.safetensors");
    Options o = resuming("run", STOP + 2);
    assert_int_equal(train_saying(&toy_model, &o, &said, &f), 0);
    assert_non_null(strstr(said, "last.safetensors: damaged"));
    assert_non_null(strstr(said, "previous.safetensors, of step 3"));
    free(said);
    train_to("run", STEPS);
    assert_same_run("whole", "run");

    damage("run", "last.safetensors");
    damage("run", "previous.safetensors");
    refuses(&o, "no checkpoint of the run is whole");
    refuses(&o, "; begin anew in another folder");
    Options anew = train_options("run", STEPS);
    assert_int_equal(unlink(path_in("run", "last.safetensors")), 0);
    refuses(&anew, "holds a run");
}

/* A whole previous checkpoint is not pushed out by a damaged last one. */
static void test_a_damaged_checkpoint_replaces_none(void **state)
{
    (void)state;
    size_t before_count, after_count;
    train_to("run", STOP);
    train_to("run", STOP + 1);
    char *before = read_whole(path_in("run", "previous.safetensors"), &before_count);
    damage("run", "last.safetensors");
    train_to("run", STOP + 1);
    char *after = read_whole(path_in("run", "previous.safetensors"), &after_count);
    assert_int_equal(before_count, after_count);
    assert_memory_equal(before, after, before_count);
    free(before);
    free(after);
}

static void test_leftovers_are_removed(void **state)
{
    (void)state;
    train_to("run", STOP);
    scratch_write("run/.last.safetensors.amdim-tmp", "x", 1);
    scratch_write("run/metrics.jsonl.tmp-999999999", "x", 1);
    scratch_write("run/notes.tmp", "x", 1);
    train_to("run", STOP + 1);
    assert_false(is_there("run", ".last.safetensors.amdim-tmp"));
    assert_false(is_there("run", "metrics.jsonl.tmp-999999999"));
    assert_true(is_there("run", "notes.tmp"));
}

static void test_modes_stay(void **state)
{
    (void)state;
    static const char *const files[] = {"last.safetensors", "metrics.jsonl", "report.html"};
    struct stat status;
    train_to("run", STOP);
    for (size_t i = 0; i < COUNT(files); i++)
        assert_int_equal(chmod(path_in("run", files[i]), 0600), 0);
    train_to("run", STEPS);
    for (size_t i = 0; i < COUNT(files); i++) {
        assert_int_equal(stat(path_in("run", files[i]), &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
}

/* ---- a second program ---- */

static void train_into_the_same_folder(int step)
{
    if (step != STOP)
        return;
    Fault f;
    Options o = train_options("run", STEPS);
    for (int i = 0; i < 2; i++, o.resume = true) {
        assert_int_equal(run_quietly(command_train, &toy_model, &o, &f), 1);
        if (!strstr(f.text, "another program trains into this folder"))
            fail_msg("%s", f.text);
    }
    meanwhile = send_signals; /* the inner program has forgotten that the outer one watches signals */
    times = 0;
}

static void test_one_program_a_folder(void **state)
{
    (void)state;
    AmdimModel m = model_that(train_into_the_same_folder);
    Options o = train_options("run", STEPS);
    assert_int_equal(train(&m, &o), 0);
    train_whole("whole");
    assert_same_run("whole", "run");
}

static bool may_last_be_written;

static void ask_for_last(int step)
{
    Fault f;
    if (step == STOP)
        may_last_be_written = run_may_be_written(path_in("run", "last.safetensors"), &f);
}

static void test_files_of_a_run_under_way(void **state)
{
    (void)state;
    Fault f;
    AmdimModel m = model_that(ask_for_last);
    Options o = train_options("run", STEPS);
    may_last_be_written = true;
    assert_int_equal(train(&m, &o), 0);
    assert_false(may_last_be_written);
    assert_true(run_may_be_written(path_in("run", "last.safetensors"), &f));
    assert_true(run_may_be_written("last.safetensors", &f));
}

/* Between the first look at a folder that is not there and its making, somebody may train into it. */
static void test_a_run_that_was_begun_meanwhile(void **state)
{
    (void)state;
    Run r;
    Fault f;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", scratch_path("run"));
    assert_true(run_open(&r, folder, &f) && run_claim(&r, true, &f));
    train_to("run", STOP);
    assert_false(run_claim(&r, true, &f));
    if (!strstr(f.text, "another program has begun a run there meanwhile"))
        fail_msg("%s", f.text);
    run_close(&r);
}

/* Weights that a link leads to on another file system. */
static void test_the_previous_checkpoint_from_elsewhere(void **state)
{
    (void)state;
    struct stat here, there;
    char elsewhere[] = "/dev/shm/amdim-test-XXXXXX", weights[64];
    if (!mkdtemp(elsewhere))
        skip();
    train_to("run", STOP);
    assert_int_equal(stat(path_in("run", "last.safetensors"), &here), 0);
    assert_int_equal(stat(elsewhere, &there), 0);
    size_t before_count, previous_count;
    char *before = weights_of("run", &before_count);
    snprintf(weights, sizeof weights, "%s/weights", elsewhere);
    FILE *copy = fopen(weights, "wb");
    assert_true(copy && fwrite(before, 1, before_count, copy) == before_count && fclose(copy) == 0);
    assert_int_equal(unlink(path_in("run", "last.safetensors")), 0);
    assert_int_equal(symlink(weights, path_in("run", "last.safetensors")), 0);
    train_to("run", STEPS);
    char *previous = read_whole(path_in("run", "previous.safetensors"), &previous_count);
    expect_checkpoint(STEPS);
    assert_true(previous_count > 0 && is_there("run", "last.safetensors"));
    train_whole("whole");
    assert_same_run("whole", "run");
    free(before);
    free(previous);
    unlink(weights);
    rmdir(elsewhere);
}

/* What cannot be read for now is no reason to take an older one, and to write over it then. */
static void test_a_checkpoint_that_cannot_be_read_now(void **state)
{
    (void)state;
    train_to("run", STOP);
    train_to("run", STOP + 1);
    assert_int_equal(unlink(path_in("run", "last.safetensors")), 0);
    assert_int_equal(symlink("last.safetensors", path_in("run", "last.safetensors")), 0);
    Options o = resuming("run", STEPS);
    refuses(&o, "Too many levels of symbolic links");
    assert_int_equal(unlink(path_in("run", "last.safetensors")), 0);
    train_to("run", STEPS);
    train_whole("whole");
    assert_same_run("whole", "run");
}

static void test_a_file_is_no_folder(void **state)
{
    (void)state;
    scratch_write("file", "x", 1);
    Options o = train_options("file", STEPS);
    refuses(&o, "is not a folder; choose another --out");
}

/* ---- other data ---- */

static void write_pictures(const char *data, int pictures)
{
    Sample s = sample_plain(8, 8, 200, 100, 50);
    for (int i = 0; i < pictures; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s/train/%c/%d.png", data, 'a' + i % 2, i);
        scratch_write(name, s.bytes, s.count);
    }
    free(s.bytes);
}

static void test_other_data_are_refused(void **state)
{
    (void)state;
    char data[512], moved[512], more[512];
    write_pictures("data", 8);
    write_pictures("more", 10);
    snprintf(data, sizeof data, "%s", scratch_path("data"));
    snprintf(more, sizeof more, "%s", scratch_path("more"));
    snprintf(moved, sizeof moved, "%s", scratch_path("moved"));
    Options o = train_options("run", STOP);
    o.limit = -1;
    o.data = data;
    assert_int_equal(train(&toy_model, &o), 0);
    o.steps = STEPS;
    o.resume = true;
    o.data = NULL;
    refuses(&o, "is trained on folders of pictures, 8 images in 2 classes");
    refuses(&o,
            "without --data there are the built-in pictures: built-in pictures, 10000 images in 10 classes");
    o.data = more;
    refuses(&o, "folders of pictures, 10 images in 2 classes");
    assert_int_equal(rename(data, moved), 0);
    o.data = moved; /* the same, wherever they lie */
    assert_int_equal(train(&toy_model, &o), 0);

    o = resuming("other", STEPS);
    train_to("other", STOP);
    o.data = moved;
    refuses(&o, "is trained on built-in pictures, 20 images");
}

/* It is a part of what the data are. */
static void test_another_holdout_is_named(void **state)
{
    (void)state;
    char split[512], data[512];
    write_pictures("divided", 16);
    snprintf(split, sizeof split, "%s", scratch_path("divided/train"));
    snprintf(data, sizeof data, "%s", scratch_path("classes"));
    assert_int_equal(rename(split, data), 0);
    Options o = train_options("held", STEPS);
    o.limit = -1;
    o.data = data;
    o.holdout = 0.25;
    assert_int_equal(train(&toy_model, &o), 0);
    o.resume = true;
    o.holdout = 0;
    refuses(&o, "give the data that it was begun with, and its --holdout, or");
}

/* Mended data are other data: what the message offers can be followed. */
static void test_a_damaged_picture_in_a_run(void **state)
{
    (void)state;
    char data[512], from[512];
    write_pictures("data", 8);
    snprintf(data, sizeof data, "%s", scratch_path("data"));
    scratch_write("data/train/a/2.png", "\x89PNG\r\n\x1a\n", 8);
    Options o = train_options("damaged", STEPS);
    o.limit = -1;
    o.data = data;
    refuses(&o, "2.png: damaged PNG file (the file ends too soon); replace or remove it (the run is saved "
                "after step 1; ");
    write_pictures("data", 8);
    o.resume = true;
    refuses(&o, "give the data that it was begun with");
    snprintf(from, sizeof from, "%s", path_in("damaged", "last.safetensors"));
    o = train_options("mended", STEPS);
    o.limit = -1;
    o.data = data;
    o.weights = from;
    assert_int_equal(train(&toy_model, &o), 0);
}

/* Moves the folder of `run` away in the third step. */
static void step_that_loses_the_folder(AmdimStep *step)
{
    char from[512];
    toy_model.step(step);
    snprintf(from, sizeof from, "%s", scratch_path("run"));
    if (++steps_taken == 3)
        assert_int_equal(rename(from, scratch_path("moved")), 0);
}

/* And another program begins there what this one must not write over. */
static void step_that_loses_the_place(AmdimStep *step)
{
    step_that_loses_the_folder(step);
    if (steps_taken != 3)
        return;
    scratch_write("run/last.safetensors", "another's", 9);
    scratch_write("run/report.html", "another's", 9);
}

static Fault train_losing(void (*step)(AmdimStep *step))
{
    Fault f = {.error = 0};
    AmdimModel losing = toy_model;
    losing.step = step;
    steps_taken = 0;
    Options o = train_options("run", STEPS);
    o.checkpoint_every = 1;
    assert_int_equal(run_quietly(command_train, &losing, &o, &f), 1);
    assert_true(is_there("moved", "last.safetensors"));
    return f;
}

static void test_a_folder_that_is_gone(void **state)
{
    (void)state;
    Fault f = train_losing(step_that_loses_the_folder);
    if (!strstr(f.text, "; what was saved there, last after step 2, is gone, or elsewhere"))
        fail_msg("%s", f.text);
}

static void test_another_run_in_its_place(void **state)
{
    (void)state;
    Fault f = train_losing(step_that_loses_the_place);
    if (!strstr(f.text, "run: the folder has been moved or removed since the run began there; what was saved "
                        "there, last after step 2, is gone, or elsewhere"))
        fail_msg("%s", f.text);
    assert_false(is_there("run", "previous.safetensors"));
    const char *const files[] = {"last.safetensors", "report.html"};
    for (size_t i = 0; i < COUNT(files); i++) {
        size_t count;
        char *text = read_whole(path_in("run", files[i]), &count);
        assert_int_equal(count, 9);
        free(text);
    }
}

/* ---- what is not worth a run ---- */

static void test_metrics_that_cannot_be_written(void **state)
{
    (void)state;
    Fault f;
    char *said;
    train_whole("whole");
    train_to("run", STOP);
    assert_int_equal(unlink(path_in("run", "metrics.jsonl")), 0);
    assert_int_equal(symlink("/dev/full", path_in("run", "metrics.jsonl")), 0);
    Options o = resuming("run", STEPS);
    assert_int_equal(train_saying(&toy_model, &o, &said, &f), 0);
    const char *once = strstr(said, "the run goes on without metrics");
    assert_non_null(once);
    assert_null(strstr(once + 1, "the run goes on without metrics"));
    free(said);
    size_t count_a, count_b;
    char *a = weights_of("whole", &count_a), *b = weights_of("run", &count_b);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(a, b, count_a);
    free(a);
    free(b);
}

static void test_a_report_that_cannot_be_written(void **state)
{
    (void)state;
    Fault f;
    char *said;
    train_to("run", STOP);
    assert_int_equal(unlink(path_in("run", "report.html")), 0);
    assert_int_equal(mkdir(path_in("run", "report.html"), 0777), 0);
    Options o = resuming("run", STEPS);
    assert_int_equal(train_saying(&toy_model, &o, &said, &f), 0);
    assert_non_null(strstr(said, "the run goes on without a report"));
    free(said);
}

static void test_going_on_past_the_end(void **state)
{
    (void)state;
    Fault f;
    char *said;
    train_to("run", STEPS);
    Options o = resuming("run", 2);
    assert_int_equal(train_saying(&toy_model, &o, &said, &f), 0);
    char words[64];
    snprintf(words, sizeof words, "the run has made %d steps, and 2 are asked for", STEPS);
    assert_non_null(strstr(said, words));
    free(said);
}

static void test_emptied_metrics_are_noticed(void **state)
{
    (void)state;
    Fault f;
    char *said;
    train_to("run", STOP);
    assert_int_equal(truncate(path_in("run", "metrics.jsonl"), 0), 0);
    Options o = resuming("run", STEPS);
    assert_int_equal(train_saying(&toy_model, &o, &said, &f), 0);
    assert_non_null(strstr(said, "holds lines of 0 of the 3 steps"));
    free(said);
    train_whole("whole");
    Options again = resuming("whole", STEPS);
    assert_int_equal(train_saying(&toy_model, &again, &said, &f), 0);
    assert_null(strstr(said, "holds lines"));
    free(said);
}

/* ---- losses that are no numbers ---- */

static bool (*real_done)(AmdimStep *);
static int bad_from, bad_until; /* steps, from 1; the bad ones run up to bad_until */

static bool spoil(AmdimStep *step)
{
    if (steps_taken >= bad_from && steps_taken <= bad_until)
        step->loss = step->pair_loss[0] = NAN;
    return real_done(step);
}

static void step_spoilt(AmdimStep *step)
{
    steps_taken++;
    real_done = step->forward_done;
    step->forward_done = spoil;
    toy_model.step(step);
    step->forward_done = real_done;
}

static AmdimModel model_spoilt(int from, int until)
{
    AmdimModel m = toy_model;
    m.step = step_spoilt;
    steps_taken = 0;
    bad_from = from;
    bad_until = until;
    return m;
}

static void test_bad_steps_are_left_out(void **state)
{
    (void)state;
    Fault f;
    char *said;
    AmdimModel m = model_spoilt(4, 5);
    Options o = train_options("run", STEPS);
    o.skip_nan = true;
    assert_int_equal(train_saying(&m, &o, &said, &f), 0);
    assert_non_null(
        strstr(said, "step 4 is left out: its loss is not finite: pair 3-to-1, with a largest score of "));
    assert_non_null(strstr(said, "step 5 is left out"));
    free(said);
    char *metrics = metrics_without_speed("run");
    assert_int_equal(count_lines(metrics), STEPS);
    assert_non_null(strstr(metrics, "\n{\"step\":4,\"epoch\":0,\"loss\":null,\"3-to-1\":null,"));
    assert_non_null(strstr(metrics, "\n{\"step\":6,\"epoch\":1,\"loss\":"));
    free(metrics);
    train_to("run", STEPS + 1); /* lines with null are lines */
    metrics = metrics_without_speed("run");
    assert_int_equal(count_lines(metrics), STEPS + 1);
    free(metrics);
}

/* A step left out changes nothing: the run is one whose model does nothing there. */
static void step_skipped(AmdimStep *step)
{
    steps_taken++;
    if (steps_taken == 4 || steps_taken == 5)
        step->loss = 0;
    else
        toy_model.step(step);
}

static void test_a_step_left_out_changes_nothing(void **state)
{
    (void)state;
    AmdimModel spoilt = model_spoilt(4, 5), still = toy_model;
    Options o = train_options("spoilt", STEPS);
    o.skip_nan = true;
    assert_int_equal(train(&spoilt, &o), 0);
    still.step = step_skipped;
    steps_taken = 0;
    o = train_options("still", STEPS);
    assert_int_equal(train(&still, &o), 0);
    size_t count_a, count_b;
    char *a = weights_of("spoilt", &count_a), *b = weights_of("still", &count_b);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(a, b, count_a);
    free(a);
    free(b);
}

static void test_ten_bad_steps_end_the_run(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    AmdimModel m = model_spoilt(3, INT_MAX);
    Options o = train_options("run", 100);
    o.skip_nan = true;
    o.epochs = 20;
    o.steps = 8; /* six of them bad: the count goes on where the run does */
    assert_int_equal(train(&m, &o), 0);
    o.steps = 100;
    o.resume = true;
    assert_int_equal(run_quietly(command_train, &m, &o, &f), 1);
    if (!strstr(f.text, "the loss of step 12 is not finite, like those of the nine before it"))
        fail_msg("%s", f.text);
}

static void refuses_with(const AmdimModel *m, const Options *o, const char *words)
{
    Fault f = {.error = 0};
    assert_int_equal(run_quietly(command_train, m, o, &f), 1);
    if (!strstr(f.text, words))
        fail_msg("%s (should say %s)", f.text, words);
}

static void assert_same_files(const char *run_a, const char *name_a, const char *run_b, const char *name_b)
{
    size_t count_a, count_b;
    char *a = read_whole(path_in(run_a, name_a), &count_a), *b = read_whole(path_in(run_b, name_b), &count_b);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(a, b, count_a);
    free(a);
    free(b);
}

/* No rate helps weights whose loss is not finite: what helps is said, and nothing that would is given up. */
static void test_a_lower_rate_comes_too_late(void **state)
{
    (void)state;
    size_t count_a, count_b;
    AmdimModel m = model_spoilt(4, INT_MAX);
    Options o = train_options("run", STEPS);
    o.checkpoint_every = 2;
    refuses_with(
        &m, &o,
        "the run is saved after step 3, whose weights make that loss at any --lr: begin a new run with "
        "a --lr lower than 0.01, from ");
    char *before = read_whole(path_in("run", "previous.safetensors"), &count_a);
    o = resuming("run", STEPS);
    o.lr = 1e-6;
    m = model_spoilt(1, INT_MAX);
    refuses_with(&m, &o, "the run stays saved after step 3, ");
    refuses_with(&m, &o, "a --lr lower than 0.01, from "); /* which those weights were made with */
    refuses_with(&m, &o, "previous.safetensors by --weights, or --resume with --on-nan skip");
    char *after = read_whole(path_in("run", "previous.safetensors"), &count_b);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(before, after, count_a);
    free(before);
    free(after);
    o = train_options("first", STEPS);
    refuses_with(&m, &o, "the weights that it began with make that loss, whatever the --lr");
    o = train_options("left-out", 100); /* ten steps later they are the same */
    o.skip_nan = true;
    o.checkpoint_every = 1;
    m = model_spoilt(1, INT_MAX);
    refuses_with(&m, &o, "the weights that it began with make that loss, whatever the --lr");
    o = train_options("left-out-later", 100);
    o.skip_nan = true;
    o.checkpoint_every = 1;
    m = model_spoilt(4, INT_MAX);
    refuses_with(&m, &o, "begin a new run with a --lr lower than 0.01, from ");
    train_to("good", 2);
    assert_same_files("left-out-later", "previous.safetensors", "good", "last.safetensors");
    o.resume = true; /* a step more of the kind changes nothing about that */
    o.lr = 1e-9;
    refuses_with(&m, &o, "begin a new run with a --lr lower than 0.01, from ");
    assert_same_files("left-out-later", "previous.safetensors", "good", "last.safetensors");
}

static void test_the_largest_score(void **state)
{
    (void)state;
    Machine k;
    Fault f;
    char text[128];
    assert_true(machine_new(&k, &toy_model, 1, &f));
    float phi_1[TOY_IMAGES * TOY_DIM] = {0}, phi_3[TOY_IMAGES * TOY_SIDE * TOY_SIDE * TOY_DIM] = {0};
    k.step.embedding[0] = phi_1;
    k.step.embedding[1] = phi_3;
    for (int i = 0; i < TOY_VIEWS * TOY_BATCH; i++)
        k.locations[i] = 4;
    /* View 2's image 3 at location 4, and view 1's image 0: sqrt(dim) * 3 * 5 / dim. */
    phi_3[((TOY_BATCH + 3) * TOY_SIDE * TOY_SIDE + 4) * TOY_DIM] = -3;
    phi_1[0] = 5;
    phi_3[((TOY_BATCH + 3) * TOY_SIDE * TOY_SIDE + 5) * TOY_DIM] = 1e6f; /* not drawn */
    assert_true(fabs(largest_score(&toy_model, &k.step, 0) - 15 / sqrt(TOY_DIM)) < 1e-6);
    k.step.loss = k.step.pair_loss[0] = INFINITY;
    diverged_describe(&toy_model, &k.step, text, sizeof text);
    assert_string_equal(text, "pair 3-to-1, with a largest score of 6.12");
    phi_1[7] = NAN;
    diverged_describe(&toy_model, &k.step, text, sizeof text);
    assert_string_equal(text, "pair 3-to-1, with a largest score of nan");
    machine_free(&k);
}

/* ---- rates and weights to begin with ---- */

static double rate_at(const char *metrics, int step)
{
    char begin[32];
    snprintf(begin, sizeof begin, "{\"step\":%d,", step);
    const char *line = strstr(metrics, begin), *rate = line ? strstr(line, "\"lr\":") : NULL;
    assert_non_null(rate);
    return strtod(rate + strlen("\"lr\":"), NULL);
}

static void test_another_rate(void **state)
{
    (void)state;
    train_to("run", STOP);
    char *said;
    Fault f;
    Options o = resuming("run", STOP + 1);
    o.lr = 0.005;
    assert_int_equal(train_saying(&toy_model, &o, &said, &f), 0);
    assert_non_null(strstr(said, "base lr 0.005 from here on, in place of 0.01\n"));
    free(said);
    train_to("run", STEPS); /* the run remembers */
    train_whole("whole");
    char *metrics = metrics_without_speed("run"), *whole = metrics_without_speed("whole");
    for (int step = 1; step <= STEPS; step++)
        assert_true(fabs(rate_at(metrics, step) - rate_at(whole, step) / (step <= STOP ? 1 : 2)) < 1e-9);
    /* Said where it changes, and nowhere else. */
    const char *changed = strstr(metrics, "\"base_lr\":0.005");
    assert_non_null(changed);
    assert_true(changed > strstr(metrics, "{\"step\":4,") && changed < strstr(metrics, "{\"step\":5,"));
    assert_null(strstr(changed + strlen("\"base_lr\""), "base_lr"));
    assert_null(strstr(whole, "base_lr"));
    size_t count;
    char *page = read_whole(path_in("run", "report.html"), &count);
    assert_non_null(strstr(page, "0.005 from step 4 on"));
    free(page);
    free(metrics);
    free(whole);
}

/* A rate is in the metrics from its first step on, whichever command makes that. */
static void test_a_rate_without_a_step(void **state)
{
    (void)state;
    train_to("run", STOP);
    Options o = resuming("run", STOP);
    o.lr = 0.005;
    assert_int_equal(train(&toy_model, &o), 0);
    train_to("run", STEPS);
    char *metrics = metrics_without_speed("run");
    const char *changed = strstr(metrics, "\"base_lr\":0.005");
    assert_non_null(changed);
    assert_true(changed > strstr(metrics, "{\"step\":4,") && changed < strstr(metrics, "{\"step\":5,"));
    free(metrics);
    /* of more digits than metrics have: once, too */
    o = train_options("digits", STOP);
    o.lr = 0.00123456789012;
    assert_int_equal(train(&toy_model, &o), 0);
    train_to("digits", STEPS);
    metrics = metrics_without_speed("digits");
    changed = strstr(metrics, "base_lr");
    assert_non_null(changed);
    assert_null(strstr(changed + 1, "base_lr"));
    free(metrics);
}

static void test_weights_to_begin_with(void **state)
{
    (void)state;
    Fault f;
    char *said, from[512];
    train_to("before", STOP);
    snprintf(from, sizeof from, "%s", path_in("before", "last.safetensors"));
    AmdimTensor wider[TOY_TENSORS];
    memcpy(wider, toy_model.tensor, sizeof wider);
    wider[TOY_BIAS].name = "encoder.0.other";
    AmdimModel other = toy_model;
    other.tensor = wider;
    Options o = train_options("after", 0);
    o.weights = from;
    assert_int_equal(train_saying(&other, &o, &said, &f), 0);
    assert_non_null(strstr(
        said,
        "6 of 7 tensors taken; begun anew, as missing or of another shape or type there: encoder.0.other"));
    free(said);
    TensorFile a, b;
    float value_a[72], value_b[72];
    assert_true(tensors_open(&a, from, &f));
    assert_true(tensors_open(&b, path_in("after", "last.safetensors"), &f));
    assert_true(tensors_read(&a, tensors_find(&a, "encoder.0.weight"), value_a, &f));
    assert_true(tensors_read(&b, tensors_find(&b, "encoder.0.weight"), value_b, &f));
    assert_memory_equal(value_a, value_b, sizeof value_a);
    assert_true(tensors_read(&b, tensors_find(&b, "optimizer.encoder.0.weight.exp_avg"), value_b, &f));
    for (size_t i = 0; i < COUNT(value_b); i++)
        assert_true(value_b[i] == 0);
    tensors_close(&a);
    tensors_close(&b);

    o = resuming("before", STEPS);
    o.weights = from;
    assert_int_equal(train_saying(&toy_model, &o, &said, &f), 0);
    assert_non_null(strstr(said, "is left aside"));
    free(said);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_signals_that_end),
        TEST(test_a_signal_that_saves),
        TEST(test_a_second_interrupt_ends_at_once),
        TEST(test_checkpoint_every),
        TEST(test_the_previous_checkpoint_stays),
        TEST(test_a_damaged_checkpoint),
        TEST(test_a_damaged_checkpoint_replaces_none),
        TEST(test_leftovers_are_removed),
        TEST(test_modes_stay),
        TEST(test_one_program_a_folder),
        TEST(test_files_of_a_run_under_way),
        TEST(test_a_run_that_was_begun_meanwhile),
        TEST(test_the_previous_checkpoint_from_elsewhere),
        TEST(test_a_checkpoint_that_cannot_be_read_now),
        TEST(test_a_file_is_no_folder),
        TEST(test_other_data_are_refused),
        TEST(test_another_holdout_is_named),
        TEST(test_a_damaged_picture_in_a_run),
        TEST(test_a_folder_that_is_gone),
        TEST(test_another_run_in_its_place),
        TEST(test_metrics_that_cannot_be_written),
        TEST(test_a_report_that_cannot_be_written),
        TEST(test_going_on_past_the_end),
        TEST(test_emptied_metrics_are_noticed),
        TEST(test_bad_steps_are_left_out),
        TEST(test_a_step_left_out_changes_nothing),
        TEST(test_ten_bad_steps_end_the_run),
        TEST(test_a_lower_rate_comes_too_late),
        TEST(test_the_largest_score),
        TEST(test_another_rate),
        TEST(test_a_rate_without_a_step),
        TEST(test_weights_to_begin_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
