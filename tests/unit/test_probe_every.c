/* test_probe_every.c: probes during training: when they are made, where their result is written, that they
 * leave no other trace, and that a run survives what happens to them. */
#include "commands.h"
#include "event_file.h"
#include "samples.h"
#include "shell.h"
#include "toy_model.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* Twenty pictures are five steps an epoch; with them, encoding takes 3 runs of f_1, and the test pictures
 * 250. */
enum { LIMIT = 2, PER_EPOCH = 5, STEPS = 12, RUNS = 3 + 250, MOST = 32 };

static Options options_of(const char *run, int64_t steps, int64_t every)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s", scratch_path(run));
    Options o = no_options(&toy_model);
    o.out = folder;
    o.limit = LIMIT;
    o.steps = steps;
    o.epochs = 100;
    o.probe_every = every;
    return o;
}

static void trains(const AmdimModel *m, const Options *o, int code)
{
    Fault f = {.error = 0};
    int found = run_quietly(command_train, m, o, &f);
    if (found != code)
        fail_msg("exit status %d: %s", found, f.text);
}

static void train(const char *run, int64_t steps, int64_t every)
{
    Options o = options_of(run, steps, every);
    trains(&toy_model, &o, 0);
}

static void resume(const char *run, int64_t steps, int64_t every)
{
    Options o = options_of(run, steps, every);
    o.resume = true;
    trains(&toy_model, &o, 0);
}

static void refuses(const AmdimModel *m, const Options *o, const char *words)
{
    Fault f = {.error = 0};
    assert_int_equal(run_quietly(command_train, m, o, &f), 1);
    if (!strstr(f.text, words))
        fail_msg("%s (should say %s)", f.text, words);
}

static bool is_there(const char *name)
{
    struct stat found;
    return stat(scratch_path(name), &found) == 0;
}

/* ---- what a run leaves ---- */

typedef struct {
    int count;
    MetricsRow row[MOST];
} Rows;

static void keep(void *arg, const MetricsRow *row)
{
    Rows *rows = arg;
    assert_true(rows->count < MOST);
    rows->row[rows->count++] = *row;
}

static Rows rows_of(const char *run)
{
    char name[128];
    Fault f;
    Rows rows = {.count = 0};
    snprintf(name, sizeof name, "%s/metrics.jsonl", run);
    assert_true(metrics_of_model(&toy_model, scratch_path(name), keep, &rows, &f));
    return rows;
}

static int count_probes(const char *run)
{
    Rows rows = rows_of(run);
    int probes = 0;
    for (int i = 0; i < rows.count; i++)
        probes += !isnan(rows.row[i].probe);
    return probes;
}

static void assert_same_weights(const char *a, const char *b)
{
    const char *folder = scratch_path(".");
    assert_int_equal(shell("cmp %s/%s/last.safetensors %s/%s/last.safetensors", folder, a, folder, b), 0);
}

/* But for the speed, and for what `and_but`, of sed's, takes away. */
static void assert_same_metrics(const char *a, const char *b, const char *and_but)
{
    const char *run[] = {a, b};
    char folder[512];
    snprintf(folder, sizeof folder, "%s", scratch_path("."));
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            shell("sed -E 's/,\"images_per_second\":[0-9.e+]*//; %s' %s/%s/metrics.jsonl > %s/%d", and_but,
                  folder, run[i], folder, i),
            0);
    assert_int_equal(shell("cmp %s/0 %s/1", folder, folder), 0);
}

static void assert_same_run(const char *a, const char *b)
{
    assert_same_weights(a, b);
    assert_same_metrics(a, b, "");
}

/* The accuracy of the weights that a run has left, as `probe` would find it. */
static ProbeResult probed(const char *run, const char *data, uint32_t limit)
{
    Machine k;
    Fault f = {.error = 0};
    ProbeResult r = {.images = 0};
    char name[128];
    ProbeSplits splits = {.data = {.dir = data, .limit = limit}, .head = "linear"};
    snprintf(name, sizeof name, "%s/last.safetensors", run);
    bool good = machine_new(&k, &toy_model, 2, &f) &&
                weights_load(&toy_model, scratch_path(name), k.params, &f) &&
                probe_splits(&k, &splits, &r, &f);
    if (!good)
        fail_msg("%s", f.text);
    machine_free(&k);
    return r;
}

static void assert_row_has(const MetricsRow *row, const ProbeResult *r)
{
    double low, high;
    share_interval(r->accuracy, r->images, &low, &high);
    assert_true(fabs(row->probe - r->accuracy) < 1e-8);
    assert_true(fabs(row->probe_low - low) < 1e-8 && fabs(row->probe_high - high) < 1e-8);
}

/* ---- the tests ---- */

/* Both on the same features: the neighbours' beside the linear one's, which is what it is alone. */
static void test_two_heads(void **state)
{
    (void)state;
    Options o = options_of("both", STEPS, 2);
    o.probe_heads = "linear,knn";
    trains(&toy_model, &o, 0);
    train("linear", STEPS, 2);
    o = options_of("knn", STEPS, 2);
    o.probe_heads = "knn";
    trains(&toy_model, &o, 0);
    Rows both = rows_of("both"), linear = rows_of("linear"), knn = rows_of("knn");
    for (int i = 0; i < STEPS; i++) {
        const bool made = linear.row[i].step == 2 * PER_EPOCH || linear.row[i].step == STEPS;
        assert_int_equal(!isnan(both.row[i].knn), made);
        assert_int_equal(!isnan(both.row[i].probe), made);
        assert_true(isnan(linear.row[i].knn) && isnan(knn.row[i].probe));
        if (made) {
            assert_true(both.row[i].probe == linear.row[i].probe);
            assert_true(both.row[i].knn == knn.row[i].knn && both.row[i].knn_low == knn.row[i].knn_low);
            assert_true(both.row[i].knn_low < both.row[i].knn && both.row[i].knn < both.row[i].knn_high);
        }
    }
    assert_same_weights("both", "linear");
    assert_same_metrics("both", "linear", "s/,\"probe[a-z_]*\\.knn\":[0-9.e+-]*//g");
}

/* Every test image is taken for something, and as many rightly as the accuracy says. */
static void test_who_is_taken_for_whom(void **state)
{
    (void)state;
    Confusions c;
    Options o = options_of("run", STEPS, 2);
    o.probe_heads = "knn,linear";
    trains(&toy_model, &o, 0);
    assert_true(confusions_read(&c, scratch_path("run/probe.json")));
    assert_int_equal(c.step, STEPS);
    assert_int_equal(c.heads, 2);
    assert_int_equal(c.classes, 10);
    assert_string_equal(c.head[0], "linear");
    assert_string_equal(c.head[1], "knn");
    MetricsRow last = rows_of("run").row[STEPS - 1];
    for (int h = 0; h < 2; h++) {
        uint32_t all = 0, right = 0;
        for (int i = 0; i < 100; i++) {
            all += c.count[h][i];
            right += i % 11 == 0 ? c.count[h][i] : 0;
        }
        assert_int_equal(all, 2000);
        assert_true(fabs((double)right / all - (h ? last.knn : last.probe)) < 1e-8);
    }
    confusions_free(&c);
    size_t count;
    char *page = read_whole(scratch_path("run/report.html"), &count);
    assert_non_null(strstr(page, ">linear probe, "));
    assert_non_null(strstr(page, ">kNN probe, "));
    assert_non_null(strstr(page, " taken for "));
    free(page);
    o = options_of("run", STEPS, 0); /* what goes on keeps them */
    o.resume = true;
    trains(&toy_model, &o, 0);
    page = read_whole(scratch_path("run/report.html"), &count);
    assert_non_null(strstr(page, ">kNN probe, "));
    free(page);
}

static void test_a_damaged_file_of_probes_is_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "{",
        "[1]",
        "{\"step\":1}",
        "{\"step\":1,\"classes\":[],\"heads\":[]}",
        "{\"step\":1,\"classes\":[\"a\"],\"heads\":[{\"head\":\"linear\"}]}",
        "{\"step\":1,\"classes\":[\"a\"],\"heads\":[{\"head\":\"mine\",\"confusion\":[[1]]}]}",
        "{\"step\":1,\"classes\":[\"a\",\"b\"],\"heads\":[{\"head\":\"knn\",\"confusion\":[[1,2],[3]]}]}",
        "{\"step\":1,\"classes\":[1,2],\"heads\":[{\"head\":\"knn\",\"confusion\":[[1,2],[3,[4]]]}]}"};
    static const char good[] =
        "{\"step\":1,\"classes\":[\"a\",null],\"heads\":[{\"head\":\"knn\",\"confusion\":[[1,2],[3,4]]}]}";
    Confusions c;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        scratch_write("probe.json", wrong[i], strlen(wrong[i]));
        if (confusions_read(&c, scratch_path("probe.json")))
            fail_msg("%s", wrong[i]);
        assert_int_equal(c.heads, 0);
    }
    scratch_write("probe.json", good, strlen(good));
    assert_true(confusions_read(&c, scratch_path("probe.json")));
    assert_int_equal(c.count[0][2], 3);
    confusions_free(&c);
    assert_false(confusions_read(&c, scratch_path("nothing.json")));
}

static void test_every_other_epoch_and_at_the_end(void **state)
{
    (void)state;
    train("run", STEPS, 2);
    Rows rows = rows_of("run");
    assert_int_equal(rows.count, STEPS);
    for (int i = 0; i < STEPS; i++)
        assert_int_equal(!isnan(rows.row[i].probe),
                         rows.row[i].step == 2 * PER_EPOCH || rows.row[i].step == STEPS);
    ProbeResult r = probed("run", NULL, LIMIT);
    assert_int_equal(r.images, 2000);
    assert_row_has(&rows.row[STEPS - 1], &r);
    assert_true(isnan(rows.row[0].probe_low) && isnan(rows.row[0].probe_high));
}

static int is_event_file(const struct dirent *entry)
{
    return strstr(entry->d_name, "tfevents") != NULL;
}

static void test_tensorboard_has_them(void **state)
{
    (void)state;
    struct dirent **entry;
    char name[512];
    double value = 0;
    train("run", STEPS, 2);
    assert_int_equal(scandir(scratch_path("run"), &entry, is_event_file, alphasort), 1);
    snprintf(name, sizeof name, "run/%s", entry[0]->d_name);
    EventFile file = event_file_read(scratch_path(name));
    assert_int_equal(event_file_scalars(&file, "probe/linear", 0, &value), 2);
    assert_int_equal(event_file_scalars(&file, "probe/linear", STEPS, NULL), 1);
    assert_true((float)value == (float)rows_of("run").row[STEPS - 1].probe);
    event_file_free(&file);
    free(entry[0]);
    free(entry);
}

static void test_no_trace_in_the_run(void **state)
{
    (void)state;
    train("without", STEPS, 0);
    train("with", STEPS, 1);
    assert_int_equal(count_probes("without"), 0);
    assert_int_equal(count_probes("with"), 3);
    assert_same_weights("without", "with");
    assert_same_metrics("without", "with", "s/,\"probe.*}/}/");
}

static void test_resumed_is_unstopped(void **state)
{
    (void)state;
    train("whole", STEPS, 1);
    train("parts", 3, 0);
    resume("parts", PER_EPOCH, 0);
    assert_int_equal(count_probes("parts"), 0);
    resume("parts", STEPS, 1); /* makes up for the one after the first epoch */
    assert_same_run("whole", "parts");
    resume("parts", STEPS, 1); /* has nothing left to do */
    assert_same_run("whole", "parts");
}

static int runs, happens_at;

static const float *run_then_signal(AmdimPool *pool, char *arena, const float *params, const float *x)
{
    if (++runs == happens_at)
        raise(SIGTERM);
    return toy_model.feature[0].run(pool, arena, params, x);
}

static const float *run_then_remove(AmdimPool *pool, char *arena, const float *params, const float *x)
{
    if (++runs == happens_at)
        assert_int_equal(unlink(scratch_path("run/last.safetensors")), 0);
    return toy_model.feature[0].run(pool, arena, params, x);
}

static const float *run_then_move(AmdimPool *pool, char *arena, const float *params, const float *x)
{
    char from[512];
    snprintf(from, sizeof from, "%s", scratch_path("run"));
    if (++runs == happens_at) {
        assert_int_equal(rename(from, scratch_path("moved")), 0);
        scratch_write("run/probe.json", "another's", 9);
    }
    return toy_model.feature[0].run(pool, arena, params, x);
}

typedef const float *RunFeature(AmdimPool *pool, char *arena, const float *params, const float *x);

/* The toy to whose f_1 something happens at its n-th run, counted from the beginning of the first probe. */
static AmdimModel model_with(RunFeature *run, int n)
{
    static AmdimFeature features[TOY_FEATURES];
    AmdimModel m = toy_model;
    memcpy(features, toy_model.feature, sizeof features);
    features[0].run = run;
    m.feature = features;
    runs = 0;
    happens_at = n;
    return m;
}

static AmdimModel stopping_at(int n)
{
    return model_with(run_then_signal, n);
}

/* While it encodes; when it has encoded all, and fits. */
static void test_a_signal_abandons_the_probe(void **state)
{
    (void)state;
    const int when[] = {2, RUNS};
    train("whole", STEPS, 1);
    for (size_t i = 0; i < COUNT(when); i++) {
        char run[16];
        snprintf(run, sizeof run, "stopped-%d", when[i]);
        AmdimModel m = stopping_at(when[i]);
        Options o = options_of(run, STEPS, 1);
        trains(&m, &o, 128 + SIGTERM);
        assert_int_equal(rows_of(run).count, PER_EPOCH);
        assert_int_equal(count_probes(run), 0);
        resume(run, STEPS, 1);
        assert_same_run("whole", run);
    }
}

static void test_a_signal_in_the_last_probe(void **state)
{
    (void)state;
    train("whole", 3, 1);
    AmdimModel m = stopping_at(2);
    Options o = options_of("stopped", 3, 1);
    trains(&m, &o, 128 + SIGTERM);
    resume("stopped", 3, 1);
    assert_same_run("whole", "stopped");
    assert_int_equal(count_probes("stopped"), 1);
}

/* What was saved before the last probe may be gone behind it. */
static void test_what_was_saved_is_gone(void **state)
{
    (void)state;
    train("whole", 3, 1);
    AmdimModel m = model_with(run_then_remove, 2);
    Options o = options_of("run", 3, 1);
    trains(&m, &o, 0);
    assert_same_run("whole", "run");
    m = model_with(run_then_move, 2);
    o.resume = true;
    o.steps = PER_EPOCH;
    refuses(&m, &o, "what was saved there, last after step 5, is gone, or elsewhere");
    size_t count;
    free(read_whole(scratch_path("run/probe.json"), &count));
    assert_int_equal(count, 9);
    assert_false(is_there("run/report.html"));
}

static void test_memory_is_kept_to(void **state)
{
    (void)state;
    AmdimModel m = toy_model;
    ProbeMemory need;
    Fault f;
    ProbeSplits splits = {.data = {.limit = 100}, .head = "linear"};
    assert_true(probe_splits_memory(&m, &splits, m.threads, &need, &f));
    m.memory_limit = m.peak_bytes + need.training + need.rest;
    Options o = options_of("run", 1, 1);
    o.limit = -1; /* all 10000 */
    refuses(&m, &o, "--limit 100 fits");
    o.limit = 101;
    refuses(&m, &o, "--limit 100 fits");
    assert_false(is_there("run"));
    o.limit = 100;
    trains(&m, &o, 0);
    m.memory_limit = m.peak_bytes;
    o = options_of("none", 1, 1);
    refuses(&m, &o, "toy.yaml; leave it out, and `probe` afterwards");
    assert_false(is_there("none"));
    o.probe_every = 0;
    trains(&m, &o, 0);
}

/* The promise is made for the spec's threads; the budget holds for any number. */
static void test_threads_keep_to_the_memory(void **state)
{
    (void)state;
    AmdimModel m = toy_model;
    m.memory_limit = m.peak_bytes + m.thread_bytes + m.thread_bytes / 2;
    Options o = options_of("none", 0, 1);
    o.probe_every = 0;
    o.threads = m.threads + 2;
    char fits[64];
    snprintf(fits, sizeof fits, "--threads %d fits", m.threads + 1);
    refuses(&m, &o, fits);
    assert_false(is_there("none"));
    o.threads = m.threads + 1;
    trains(&m, &o, 0);
    m.memory_limit = 0;
    o = options_of("any", 0, 1);
    o.probe_every = 0;
    o.threads = m.threads + 2;
    trains(&m, &o, 0);
}

static void write_picture(const char *name, Sample s)
{
    scratch_write(name, s.bytes, s.count);
    free(s.bytes);
}

static Options options_with_data(int64_t steps)
{
    static char data[1024];
    snprintf(data, sizeof data, "%s", scratch_path("data"));
    Options o = options_of("run", steps, 1);
    o.data = data;
    return o;
}

/* Eight pictures for training are two steps an epoch. */
static void write_training_pictures(void)
{
    char name[64];
    for (uint8_t i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "data/train/%s/%d.png", i % 2 ? "blue" : "red", i);
        write_picture(name, i % 2 ? sample_plain(9, 9, 0, i, 200) : sample_plain(8, 10, 200, i, 0));
    }
}

/* What is missing is said before the first step. */
static void test_no_test_split(void **state)
{
    (void)state;
    write_training_pictures();
    Options o = options_with_data(4);
    o.limit = -1;
    refuses(&toy_model, &o, "no folder test/");
    assert_false(is_there("run"));
}

static void test_a_picture_that_cannot_be_read(void **state)
{
    (void)state;
    write_training_pictures();
    Sample torn = sample_plain(20, 20, 1, 2, 3);
    torn.count -= 30;
    write_picture("data/test/red/torn.png", torn);
    Options o = options_with_data(4);
    o.limit = -1;
    refuses(&toy_model, &o, "torn.png");
    refuses(&toy_model, &o, "--resume goes on with it"); /* the run is there */
    assert_int_equal(rows_of("run").count, 2);
    assert_int_equal(shell("rm %s", scratch_path("data/test/red/torn.png")), 0);
    write_picture("data/test/red/whole.png", sample_plain(20, 20, 200, 3, 0));
    o.resume = true;
    trains(&toy_model, &o, 0);
    Rows rows = rows_of("run");
    assert_int_equal(rows.count, 4);
    assert_true(rows.row[1].probe == 1 && rows.row[3].probe == 1);
}

/* Its classes are on the report as well. */
static void test_a_share_that_is_held_out_is_probed(void **state)
{
    (void)state;
    write_training_pictures();
    Options o = options_with_data(2);
    o.limit = -1;
    o.holdout = 0.2;
    trains(&toy_model, &o, 0);
    FILE *page = fopen(scratch_path("run/report.html"), "r");
    assert_non_null(page);
    char *line = NULL;
    size_t room = 0;
    bool classes = false;
    while (getline(&line, &room, page) >= 0) {
        classes |= strstr(line, "<h2>Classes") != NULL;
        assert_null(strstr(line, "No pictures here"));
    }
    free(line);
    fclose(page);
    assert_true(classes);
}

/* STL-10: what is trained on has no labels; the probe's training pictures are others. */
static void test_the_labelled_part_is_probed(void **state)
{
    (void)state;
    enum { UNLABELLED = 8, LABELLED = 3, TESTED = 5, BYTES = 96 * 96 * 3 };
    uint8_t *pictures = calloc(UNLABELLED, BYTES), label[TESTED];
    assert_non_null(pictures);
    for (size_t i = 0; i < UNLABELLED * BYTES; i++)
        pictures[i] = (uint8_t)(i * i >> 7);
    memset(label, 4, sizeof label); /* a class that unlabelled pictures are not of */
    scratch_write("data/unlabeled_X.bin", pictures, UNLABELLED * BYTES);
    scratch_write("data/train_X.bin", pictures, LABELLED * BYTES);
    scratch_write("data/train_y.bin", label, LABELLED);
    scratch_write("data/test_X.bin", pictures, TESTED * BYTES);
    scratch_write("data/test_y.bin", label, TESTED);
    free(pictures);
    Options o = options_with_data(2);
    o.limit = -1;
    trains(&toy_model, &o, 0);
    Rows rows = rows_of("run");
    assert_row_has(&rows.row[1], &(ProbeResult){.accuracy = 1, .images = TESTED});
}

static void test_time_in_the_probe_is_no_steps(void **state)
{
    (void)state;
    Meter k;
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    meter_begin(&k, nowhere, 4, 100, 10);
    k.stepped -= 1e6;
    meter_say(&k, "probed for %d days", 11);
    meter_step(&k, 1, 2.5);
    assert_true(k.pace < 1e5);
    meter_end(&k);
    fclose(nowhere);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_every_other_epoch_and_at_the_end),
        TEST(test_two_heads),
        TEST(test_who_is_taken_for_whom),
        TEST(test_a_damaged_file_of_probes_is_none),
        TEST(test_tensorboard_has_them),
        TEST(test_no_trace_in_the_run),
        TEST(test_resumed_is_unstopped),
        TEST(test_a_signal_abandons_the_probe),
        TEST(test_a_signal_in_the_last_probe),
        TEST(test_what_was_saved_is_gone),
        TEST(test_memory_is_kept_to),
        TEST(test_threads_keep_to_the_memory),
        TEST(test_no_test_split),
        TEST(test_a_share_that_is_held_out_is_probed),
        TEST(test_a_picture_that_cannot_be_read),
        TEST(test_the_labelled_part_is_probed),
        cmocka_unit_test(test_time_in_the_probe_is_no_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
