/* test_tensorboard.c: what is in the event files of a run, read by a reader of the tests' own. */
#include "commands.h"
#include "event_file.h"
#include "samples.h"
#include "toy_model.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <cmocka.h>

/* Twenty pictures are five steps an epoch. */
enum { LIMIT = 2, PER_EPOCH = 5 };

static int is_event_file(const struct dirent *entry)
{
    return strstr(entry->d_name, "tfevents") != NULL;
}

/* The folder's event files in the order that TensorBoard reads them in; returns how many there are. */
static int read_files(const char *folder, EventFile *file, int most)
{
    struct dirent **entry;
    char name[1024];
    int count = scandir(scratch_path(folder), &entry, is_event_file, alphasort);
    assert_in_range(count, 0, most);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%s", folder, entry[i]->d_name);
        assert_int_equal(strncmp(entry[i]->d_name, "events.out.tfevents.", 20), 0);
        file[i] = event_file_read(scratch_path(name));
        free(entry[i]);
    }
    free(entry);
    return count;
}

static EventFile read_one(const char *folder)
{
    EventFile file;
    assert_int_equal(read_files(folder, &file, 1), 1);
    return file;
}

static void well(bool done, const Fault *f)
{
    if (!done)
        fail_msg("%s", f->text);
}

static MetricsRow row_of(uint64_t step)
{
    static double loss, accuracy;
    loss = 4 / (double)step;
    accuracy = step == 1 ? (double)NAN : 0.25;
    return (MetricsRow){.step = step,
                        .loss = 2 + loss,
                        .penalty = 3,
                        .lr = 2e-4,
                        .images_per_second = 64,
                        .pair_loss = &loss,
                        .pair_accuracy = &accuracy};
}

/* ---- the tests ---- */

/* RFC 3720, appendix B.4, and the usual check value. */
static void test_checksum_of_the_reader(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0};
    assert_int_equal(crc_32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc_32c(zeros, sizeof zeros), 0x8a9136aa);
}

static void test_a_file(void **state)
{
    (void)state;
    Events e;
    Fault f;
    double value = 0, begun = (double)time(NULL);
    ProbeResult r = {.accuracy = 0.8, .images = 10};
    well(events_open(&e, scratch_path(""), 0, &f), &f);
    for (uint64_t step = 1; step <= 300; step += 299) { /* 300 takes two bytes */
        MetricsRow row = row_of(step);
        well(events_write(&e, &toy_model, &row, true, &f), &f);
    }
    well(events_probe(&e, 300, &r, &f), &f);
    events_close(&e);

    EventFile file = read_one("");
    assert_string_equal(file.event[0].version, "brain.Event:2");
    assert_true(file.event[1].start);
    assert_int_equal(file.event[1].step, 1);
    for (size_t i = 0; i < file.count; i++)
        assert_true(fabs(file.event[i].wall_time - begun) < 60);
    const struct {
        const char *tag;
        int count;
        double value;
    } wanted[] = {{"loss", 2, 2 + 4 / 300.0},
                  {"loss/3-to-1", 2, 4 / 300.0},
                  {"accuracy/3-to-1", 1, 0.25},
                  {"penalty", 2, 3},
                  {"lr", 2, 2e-4},
                  {"images_per_second", 2, 64},
                  {"probe/linear", 1, 0.8},
                  {"probe/linear_low", 1, 0.49016},
                  {"probe/linear_high", 1, 0.94332}};
    size_t scalars = 0;
    for (size_t i = 0; i < COUNT(wanted); i++) {
        assert_int_equal(event_file_scalars(&file, wanted[i].tag, 0, &value), wanted[i].count);
        assert_int_equal(event_file_scalars(&file, wanted[i].tag, 300, NULL), 1);
        assert_true(fabs(value - wanted[i].value) < 1e-5);
        scalars += (size_t)wanted[i].count;
    }
    assert_int_equal(file.count, 2 + scalars);
    event_file_free(&file);
}

/* The first row, those that must be, and no more than one for every second that it took. */
static void test_long_runs_are_thinned(void **state)
{
    (void)state;
    Events e;
    Fault f;
    double begun = clock_seconds();
    well(events_open(&e, scratch_path(""), 0, &f), &f);
    for (uint64_t step = 1; step <= 100; step++) {
        MetricsRow row = row_of(step);
        well(events_write(&e, &toy_model, &row, step % 50 == 0, &f), &f);
    }
    int seconds = (int)(clock_seconds() - begun);
    events_close(&e);
    EventFile file = read_one("");
    assert_in_range(event_file_scalars(&file, "loss", 0, NULL), 3, 3 + seconds);
    assert_int_equal(event_file_scalars(&file, "loss", 100, NULL), 1);
    assert_int_equal(file.event[2].step, 1);
    event_file_free(&file);
}

static int train(const char *run, int64_t steps, bool resume, Fault *f)
{
    char out[1024];
    snprintf(out, sizeof out, "%s", scratch_path(run));
    Options o = no_options(&toy_model);
    o.out = out;
    o.limit = resume ? -1 : LIMIT;
    o.steps = steps;
    o.epochs = 100;
    o.resume = resume;
    return run_quietly(command_train, &toy_model, &o, f);
}

/* The second begins a file of its own though the first is of the same second, and takes back what the first
 * may have of later steps. */
static void test_a_run_that_goes_on(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    EventFile file[2];
    assert_int_equal(train("run", PER_EPOCH + 2, false, &f), 0);
    assert_int_equal(train("run", 2 * PER_EPOCH + 1, true, &f), 0);
    assert_int_equal(train("run", 2 * PER_EPOCH + 1, true, &f), 0); /* nothing is left to do */
    assert_int_equal(read_files("run", file, 2), 2);
    assert_true(file[0].event[1].start && file[0].event[1].step == 1);
    assert_true(file[1].event[1].start && file[1].event[1].step == PER_EPOCH + 3);
    assert_true(file[1].event[2].step == PER_EPOCH + 3); /* the first step's, at once */
    /* The end of the first epoch and of the first run; of the second epoch and of the second run. */
    assert_in_range(event_file_scalars(&file[0], "loss", PER_EPOCH, NULL), 2, 3);
    assert_int_equal(event_file_scalars(&file[0], "loss", PER_EPOCH + 2, NULL), 1);
    assert_int_equal(event_file_scalars(&file[1], "loss/3-to-1", 2 * PER_EPOCH, NULL), 2);
    event_file_free(&file[0]);
    event_file_free(&file[1]);
}

static void test_no_room(void **state)
{
    (void)state;
    Events e;
    Fault f = {.error = 0};
    struct rlimit whole;
    MetricsRow row = row_of(2);
    assert_false(events_open(&e, scratch_path("not/there"), 0, &f));
    assert_non_null(strstr(f.text, "cannot write "));
    assert_non_null(strstr(f.text, "tfevents"));
    well(events_open(&e, scratch_path(""), 0, &f), &f);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &whole), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){150, whole.rlim_max}), 0);
    f.text[0] = '\0';
    bool written = events_write(&e, &toy_model, &row, true, &f) && events_flush(&e, &f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &whole), 0);
    events_close(&e);
    assert_false(written);
    assert_non_null(strstr(f.text, "cannot write "));
    assert_non_null(strstr(f.text, "tfevents"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum_of_the_reader),
        TEST(test_a_file),
        TEST(test_long_runs_are_thinned),
        TEST(test_a_run_that_goes_on),
        TEST(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
