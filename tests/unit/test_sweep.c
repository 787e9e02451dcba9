/* test_sweep.c: `amdimc sweep` of pairs: what becomes of lists, what it writes down against what its programs
 * say, going on after a signal and with more, and what it refuses. test_sweep_set.c has other keys. */
#include "json.h"
#include "samples.h"
#include "shell.h"
#include "sweeps.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

/* Of the sweep that the group's set-up makes. */
enum {
    SEEDS = 2,
    COMBINATIONS = 2,
    RUNS = SEEDS * COMBINATIONS,
    EPOCHS = 2,
    PER_EPOCH = 25,
    TEST_IMAGES = 2000
};
static const char options[] = "--limit 40 --epochs 2"; /* 400 pictures, in batches of 16 */
static const char *folder;

static void expect_said(const char *what)
{
    expect_in("said", what);
}

static void expect_same_file(const char *one, const char *other)
{
    assert_int_equal(shell("cmp %s/%s %s/%s", folder, one, folder, other), 0);
}

static bool file_exists(const char *name)
{
    return !access(scratch_path(name), F_OK);
}

static int set_up(void **state)
{
    (void)state;
    folder = sweeps_begin("--pairs 5-to-5,1-to-7 --pairs 1-to-7 --limit 40 --epochs 2 --seeds 2");
    return 0;
}

/* ---- lists of pairs ---- */

static Sweep plan(const char *spec, int lists, const char **list)
{
    Sweep s = {.arena = arena_new(), .spec = spec, .out = "out", .lists = lists, .list = list};
    plan_quietly(&s);
    return s;
}

static void lists_are_sorted_and_merged(void **state)
{
    (void)state;
    const char *list[] = {"7-to-1,1-to-7,1-to-5", "1-to-7", "1-to-5,7-to-1,1-to-7"};
    Sweep s = plan("specs/tiny.yaml", 3, list);
    assert_int_equal(s.combinations, 2);
    assert_string_equal(s.combination[0].pairs, "1-to-5,1-to-7,7-to-1");
    assert_string_equal(s.combination[0].folder, "out/1-to-5+1-to-7+7-to-1");
    assert_string_equal(s.combination[1].pairs, "1-to-7");
    arena_free(s.arena);
}

static void pairs_keep_the_weights_of_the_spec(void **state)
{
    (void)state;
    const char *list[] = {"5-to-5,1-to-5"};
    Sweep s = plan("specs/tiny.yaml", 1, list);
    assert_string_equal(s.combination[0].weights, "1,0.5");
    arena_free(s.arena);
}

/* The spec's pairs are 1-to-7 and 5-to-5. */
static void each_is_every_pair_of_the_scales(void **state)
{
    (void)state;
    const char *list[] = {"each", "1-to-1"};
    static const char *const want[] = {"1-to-1", "1-to-5", "1-to-7", "5-to-1", "5-to-5",
                                       "5-to-7", "7-to-1", "7-to-5", "7-to-7"};
    Sweep s = plan("specs/tiny.yaml", 2, list);
    assert_int_equal(s.combinations, COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++)
        assert_string_equal(s.combination[i].pairs, want[i]);
    arena_free(s.arena);
}

/* f_1 where a pair trains it, else the top-most trained layer. */
static void the_layer_that_is_probed(void **state)
{
    (void)state;
    const char *list[] = {"1-to-7", "7-to-1", "5-to-7", "7-to-7"};
    static const int want[] = {4, 4, 2, 1};
    Sweep s = plan("specs/tiny.yaml", 4, list);
    for (size_t i = 0; i < COUNT(want); i++)
        assert_int_equal(s.combination[i].layer, want[i]);
    arena_free(s.arena);
}

/* The names of files have an end. */
static void a_great_many_pairs_have_a_short_name(void **state)
{
    (void)state;
    static const int scales[] = {1, 3, 5, 7, 14, 30};
    char all[1024] = "";
    for (size_t i = 0; i < COUNT(scales); i++)
        for (size_t j = 0; j < COUNT(scales); j++)
            sprintf(all + strlen(all), "%s%d-to-%d", *all ? "," : "", scales[i], scales[j]);
    const char *list[] = {all, all + strlen("1-to-1,")};
    Sweep s = plan("specs/demo.yaml", 2, list);
    assert_int_equal(s.combinations, 2);
    assert_int_equal(strncmp(s.combination[0].name, "36-pairs-", strlen("36-pairs-")), 0);
    assert_int_equal(strncmp(s.combination[1].name, "35-pairs-", strlen("35-pairs-")), 0);
    arena_free(s.arena);
}

/* ---- figures ---- */

static void complete_run(SweepRun *r, double linear, double untrained)
{
    r->trained = true;
    for (Head head = 0; head < HEADS; head++) {
        r->score[head] = (Score){.there = true, .accuracy = linear};
        r->untrained[head] = (Score){.there = true, .accuracy = untrained};
    }
}

static void mean_and_spread(void **state)
{
    (void)state;
    SweepRun run[4] = {0};
    Combination c = {.run = run};
    Sweep s = {.arena = arena_new(), .seeds = 4};
    Summary all = summarise(&s, &c, figure_gain, HEAD_KNN);
    assert_true(all.count == 0 && isnan(all.mean) && isnan(all.spread) && isnan(all.largest));

    complete_run(&run[2], 0.5, 0.25);
    all = summarise(&s, &c, figure_gain, HEAD_KNN);
    assert_true(all.count == 1 && all.mean == 0.25 && isnan(all.spread) && all.largest == 0.25);

    complete_run(&run[0], 0.75, 0.25);
    complete_run(&run[3], 1, 0.25);
    run[1].trained = true; /* but not probed */
    all = summarise(&s, &c, figure_gain, HEAD_KNN);
    assert_true(all.count == 3 && all.mean == 0.5 && all.spread == 0.25 && all.largest == 0.75);
    arena_free(s.arena);
}

/* ---- what is written ---- */

/* The accuracy in a file that holds a probe's answer. */
static double answer(const char *name)
{
    Json j = json_read(read_scratch(name));
    double accuracy = json_number(&j, 0, "accuracy");
    assert_true(json_number(&j, 0, "images") == TEST_IMAGES);
    json_free(&j);
    return accuracy;
}

static void expect_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-7 * fmax(1, fabs(want))))
        fail_msg("%.9g, not %.9g", got, want);
}

static void expect_summary(const Json *j, int object, const char *key, const double value[SEEDS])
{
    int summary = json_member(j, object, key);
    expect_near(json_number(j, summary, "mean"), (value[0] + value[1]) / 2);
    expect_near(json_number(j, summary, "deviation"), fabs(value[0] - value[1]) / sqrt(2));
}

static void expect_head(const Json *j, int combination, const char *name, const char *head)
{
    double trained[SEEDS], untrained[SEEDS], gain[SEEDS];
    char path[256];
    int at = json_member(j, combination, head), runs = json_member(j, combination, "runs");
    for (int seed = 0; seed < SEEDS; seed++) {
        snprintf(path, sizeof path, "whole/%s/seed-%d/%s-%d.json", name, seed, head, EPOCHS);
        trained[seed] = answer(path);
        snprintf(path, sizeof path, "whole/untrained/4/seed-%d/%s.json", seed, head);
        untrained[seed] = answer(path);
        gain[seed] = trained[seed] - untrained[seed];
        int run = json_member(j, json_element(j, runs, seed), head);
        expect_near(json_number(j, run, "accuracy"), trained[seed]);
        expect_near(json_number(j, run, "untrained"), untrained[seed]);
        assert_true(json_number(j, run, "low") < trained[seed] &&
                    json_number(j, run, "high") > trained[seed]);
    }
    expect_summary(j, at, "accuracy", trained);
    expect_summary(j, at, "untrained", untrained);
    expect_summary(j, at, "gain", gain);
}

static void json_has_what_the_probes_said(void **state)
{
    (void)state;
    static const char *const name[COMBINATIONS] = {"1-to-7+5-to-5", "1-to-7"};
    Json j = json_read(read_scratch("whole/sweep.json"));
    assert_true(json_number(&j, 0, "complete") == RUNS && json_number(&j, 0, "runs") == RUNS);
    assert_true(json_is(&j, json_member(&j, 0, "data"), "null") && json_number(&j, 0, "limit") == 40);
    int all = json_member(&j, 0, "combinations");
    for (int i = 0; i < COMBINATIONS; i++) {
        int combination = json_element(&j, all, i);
        assert_true(json_is(&j, json_member(&j, combination, "name"), name[i]));
        expect_head(&j, combination, name[i], "linear");
        expect_head(&j, combination, name[i], "knn");
    }
    json_free(&j);
}

/* What a sweep should find in the metrics of a run. */
typedef struct {
    int rows;
    double speed[EPOCHS * PER_EPOCH];
    double seconds, loss, pair_loss, pair_accuracy; /* of the last epoch; of the first pair */
} Expected;

static void expect_row(void *expected, const MetricsRow *row)
{
    Expected *e = expected;
    assert_true(e->rows < EPOCHS * PER_EPOCH);
    e->speed[e->rows++] = row->images_per_second;
    e->seconds += 16 / row->images_per_second;
    if (row->epoch == EPOCHS - 1) {
        e->loss += row->loss / PER_EPOCH;
        e->pair_loss += row->pair_loss[0] / PER_EPOCH;
        e->pair_accuracy += row->pair_accuracy[0] / PER_EPOCH;
    }
}

/* The median of the steps but the first: as many are below as above. */
static void expect_median(const Expected *e, double median)
{
    int below = 0, above = 0;
    for (int i = 1; i < e->rows; i++) {
        below += e->speed[i] <= median * (1 + 1e-6);
        above += e->speed[i] >= median * (1 - 1e-6);
    }
    assert_true(2 * below >= e->rows - 1 && 2 * above >= e->rows - 1);
}

static void json_has_what_the_metrics_say(void **state)
{
    (void)state;
    const char *const pair = "1-to-7";
    Expected e = {0};
    Fault f;
    if (!metrics_each(scratch_path("whole/1-to-7/seed-1/metrics.jsonl"), &pair, 1, expect_row, &e, &f))
        fail_msg("%s", f.text);
    assert_int_equal(e.rows, EPOCHS * PER_EPOCH);

    Json j = json_read(read_scratch("whole/sweep.json"));
    int combination = json_element(&j, json_member(&j, 0, "combinations"), 1);
    int run = json_element(&j, json_member(&j, combination, "runs"), 1);
    assert_true(json_number(&j, run, "steps") == EPOCHS * PER_EPOCH);
    assert_true(json_number(&j, run, "peak_bytes") > 1e6);
    expect_near(json_number(&j, run, "seconds"), e.seconds);
    expect_near(json_number(&j, run, "loss"), e.loss);
    expect_near(json_number(&j, json_member(&j, run, "pair_loss"), "1-to-7"), e.pair_loss);
    expect_near(json_number(&j, json_member(&j, run, "pair_accuracy"), "1-to-7"), e.pair_accuracy);
    expect_median(&e, json_number(&j, run, "images_per_second"));
    json_free(&j);
}

/* A header, and a line a run with as many cells, the pairs in quotes. */
static void csv_has_a_line_a_run(void **state)
{
    (void)state;
    char *text = read_scratch("whole/sweep.csv"), *rest = text;
    static const char *const begin[1 + RUNS] = {"pairs,seed,epochs,steps,linear,",
                                                "\"1-to-7,5-to-5\",0,2,50,0.", "\"1-to-7,5-to-5\",1,2,50,0.",
                                                "\"1-to-7\",0,2,50,0.", "\"1-to-7\",1,2,50,0."};
    int commas = 0;
    for (int i = 0; i < 1 + RUNS; i++) {
        char *line = strsep(&rest, "\n");
        assert_non_null(rest);
        assert_int_equal(strncmp(line, begin[i], strlen(begin[i])), 0);
        int found = 0;
        bool quoted = false;
        for (const char *c = line; *c; c++) {
            quoted ^= *c == '"';
            found += *c == ',' && !quoted;
        }
        commas = i ? commas : found;
        assert_int_equal(found, commas);
    }
    assert_string_equal(rest, "");
    free(text);
}

/* The base line depends on the encoder alone: another combination's program says the same. */
static void untrained_encoders_are_the_same(void **state)
{
    (void)state;
    for (int seed = 0; seed < SEEDS; seed++)
        for (int i = 0; i < COMBINATIONS; i++) {
            assert_int_equal(
                shell("%s/whole/%s/program probe --untrained --seed %d --limit 40 --head knn --json "
                      "2>/dev/null | tail -n 1 >%s/answer",
                      folder, i ? "1-to-7" : "1-to-7+5-to-5", seed, folder),
                0);
            char kept[64];
            snprintf(kept, sizeof kept, "whole/untrained/4/seed-%d/knn.json", seed);
            expect_same_file("answer", kept);
        }
}

static void page_stands_alone(void **state)
{
    (void)state;
    char *page = read_scratch("whole/sweep.html");
    assert_non_null(strstr(page, "4 of 4"));
    assert_non_null(strstr(page, "1-to-7+5-to-5/seed-1/report.html"));
    assert_non_null(strstr(page, "<script id=\"charts\">"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "http-equiv")); /* nothing is under way */
    assert_null(strstr(page, "nan"));
    free(page);
}

/* ---- going on ---- */

/* Stops a sweep as soon as it trains. */
static void begin_and_stop(const char *arguments, const char *out)
{
    int code = shell("%s sweep specs/tiny.yaml --cc %s/cc %s --out %s/%s >%s/said 2>&1 & sweep=$!; "
                     "until [ -e %s/%s/1-to-7/seed-0/metrics.jsonl ]; do sleep 0.01; done; "
                     "kill -TERM $sweep; wait $sweep",
                     amdimc_path(), folder, arguments, folder, out, folder, folder, out);
    assert_int_equal(code, 143);
    expect_said("stopped by a signal");
}

static void goes_on_after_a_signal(void **state)
{
    (void)state;
    char arguments[256];
    snprintf(arguments, sizeof arguments, "--pairs 1-to-7 %s", options);
    begin_and_stop(arguments, "stopped");
    assert_int_equal(sweep_tiny(arguments, "stopped"), 0);
    expect_said("1 of 1 runs complete");
    expect_same_file("stopped/1-to-7/seed-0/last.safetensors", "whole/1-to-7/seed-0/last.safetensors");
    expect_same_file("stopped/1-to-7/seed-0/linear-2.json", "whole/1-to-7/seed-0/linear-2.json");
    expect_same_file("stopped/untrained/4/seed-0/knn.json", "whole/untrained/4/seed-0/knn.json");

    assert_int_equal(sweep_tiny("--pairs 1-to-7 --limit 40 --epochs 3", "stopped"), 0);
    assert_true(answer("stopped/1-to-7/seed-0/linear-3.json") > 0);
    assert_int_equal(shell("grep -q '^\"1-to-7\",0,3,75,' %s/stopped/sweep.csv", folder), 0);
}

/* Nothing is left to do, so nothing is compiled; the order of lists and fewer of them make no difference. */
static void a_complete_sweep_is_only_written_anew(void **state)
{
    (void)state;
    assert_int_equal(shell("cp %s/whole/sweep.json %s/before", folder, folder), 0);
    assert_int_equal(sweep_tiny("--pairs 1-to-7 --limit 40 --epochs 2 --cc /bin/false", "whole"), 0);
    expect_said("4 of 4 runs are complete already");
    expect_same_file("before", "whole/sweep.json");
}

/* ---- what goes wrong ---- */

static void other_settings_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
    } cases[] = {
        {"--limit 41 --epochs 2", "was begun with `limit 40`, not `limit 41`"},
        {"--epochs 2", "was begun with `limit 40`, not `limit none`"},
        {"--limit 40 --epochs 2 --batch 8", "was begun with `batch 16`, not `batch 8`"},
        {"--limit 40 --epochs 2 --data specs", "was begun with `data built-in pictures`, not `data /"},
        {"--limit 40 --epochs 1", "has been trained for --epochs 2, not 1"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments, "--pairs 1-to-7 %s", cases[i].arguments);
        assert_int_equal(sweep_tiny(arguments, "whole"), 1);
        expect_said(cases[i].says);
    }
    assert_int_equal(shell("sed 's/weight: 0.5/weight: 2/' specs/tiny.yaml >%s/tiny.yaml", folder), 0);
    assert_int_equal(shell("%s sweep %s/tiny.yaml --pairs 1-to-7 %s --out %s/whole >%s/said 2>&1",
                           amdimc_path(), folder, options, folder, folder),
                     1);
    expect_said("was begun with 1-to-7,5-to-5 of weights 1,0.5, not 1,2");
}

static int sweep_cosine(const char *arguments)
{
    return shell("%s sweep %s/cosine.yaml --pairs 1-to-7 --limit 20 %s --out %s/cosine >%s/said 2>&1",
                 amdimc_path(), folder, arguments, folder, folder);
}

/* Refused, and nothing is changed by it. */
static void a_cosine_that_has_begun_gets_no_more_epochs(void **state)
{
    (void)state;
    assert_int_equal(shell("sed 's/milestones: \\[\\]/cosine: 0/' specs/tiny.yaml >%s/cosine.yaml", folder),
                     0);
    assert_int_equal(shell("grep -q cosine: %s/cosine.yaml", folder), 0);
    assert_int_equal(sweep_cosine("--epochs 1"), 0);
    assert_int_equal(sweep_cosine("--epochs 2"), 1);
    expect_said("was begun for --epochs 1, where the cosine of its runs ends, not 2;");
    assert_int_equal(sweep_cosine("--epochs 1 --seeds 2"), 0);
    expect_said("2 of 2 runs complete");
}

static void wrong_lists_come_before_all_else(void **state)
{
    (void)state;
    assert_int_equal(sweep_tiny("--pairs 1-to-7 --pairs 1-to-7,1-to-6 --pairs x", "wrong"), 1);
    expect_said("--pairs:1:8: error: pair 1-to-6: the encoder has no 6x6 scale");
    expect_said("--pairs:1:1: error: loss.pairs");
    assert_int_equal(sweep_tiny("--pairs 1-to-7 --data nowhere", "wrong"), 1);
    expect_said("nowhere: No such file or directory");
    assert_false(file_exists("wrong"));
}

static void usage_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
    } cases[] = {
        {"", "sweep: --pairs is missing"},
        {"--pairs 1-to-7 --out=", "sweep: --out is missing"},
        {"--pairs 1-to-7 specs/demo.yaml", "specs/demo.yaml is one too many"},
        {"--pairs 1-to-7 --static", "unknown option --static"},
        {"--pairs 1-to-7 --epochs 0", "--epochs 0 is not a whole number from 1"},
        {"--pairs 1-to-7 --seeds 2x", "--seeds 2x is not a whole number from 1"},
        {"--pairs 1-to-7 --limit -3", "--limit -3 is not a whole number from 1"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(sweep_tiny(cases[i].arguments, "wrong"), 2);
        expect_said(cases[i].says);
    }
    assert_int_equal(shell("%s sweep >%s/said 2>&1", amdimc_path(), folder), 2);
    expect_said("no spec given");
    assert_false(file_exists("wrong"));
}

static void one_sweep_at_a_time(void **state)
{
    (void)state;
    int whole = open(scratch_path("whole"), O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(whole, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(sweep_tiny("--pairs 1-to-7 --limit 40 --epochs 2", "whole"), 1);
    expect_said("another sweep is at work");
    close(whole);
}

static void what_fails_is_reported(void **state)
{
    (void)state;
    assert_int_equal(sweep_tiny("--pairs 1-to-7 --pairs 5-to-5 --cc /bin/false", "failed"), 1);
    expect_said("amdimc: error: 5-to-5: could not be compiled");
    expect_said("0 of 2 runs complete");
    assert_int_equal(shell("mkdir %s/empty", folder), 0);
    char arguments[512];
    snprintf(arguments, sizeof arguments, "--pairs 1-to-7 --data %s/empty", folder);
    assert_int_equal(sweep_tiny(arguments, "no-data"), 1);
    expect_said("amdimc: error: 1-to-7, seed 0: probe of the untrained encoder: failed: program: error: ");
    Json j = json_read(read_scratch("no-data/sweep.json"));
    assert_true(json_number(&j, 0, "complete") == 0);
    json_free(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_sorted_and_merged),
        cmocka_unit_test(pairs_keep_the_weights_of_the_spec),
        cmocka_unit_test(each_is_every_pair_of_the_scales),
        cmocka_unit_test(the_layer_that_is_probed),
        cmocka_unit_test(a_great_many_pairs_have_a_short_name),
        cmocka_unit_test(mean_and_spread),
        cmocka_unit_test(json_has_what_the_probes_said),
        cmocka_unit_test(json_has_what_the_metrics_say),
        cmocka_unit_test(csv_has_a_line_a_run),
        cmocka_unit_test(untrained_encoders_are_the_same),
        cmocka_unit_test(page_stands_alone),
        cmocka_unit_test(a_complete_sweep_is_only_written_anew),
        cmocka_unit_test(goes_on_after_a_signal),
        cmocka_unit_test(other_settings_are_refused),
        cmocka_unit_test(a_cosine_that_has_begun_gets_no_more_epochs),
        cmocka_unit_test(wrong_lists_come_before_all_else),
        cmocka_unit_test(usage_is_checked),
        cmocka_unit_test(one_sweep_at_a_time),
        cmocka_unit_test(what_fails_is_reported),
    };
    return cmocka_run_group_tests_name("sweep", tests, set_up, scratch_tear_down);
}
