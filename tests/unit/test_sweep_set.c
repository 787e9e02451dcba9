/* test_sweep_set.c: `amdimc sweep --set`, --jobs and --run-with: what becomes of keys and values, the specs
 * that combinations are compiled from, main effects against plain sums, runs at once, and what is refused. */
#include "json.h"
#include "samples.h"
#include "shell.h"
#include "sweeps.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *folder;

/* Two pairs, two rates, one width that does not vary; two at once. */
enum { COMBINATIONS = 4 };
static const char whole[] = "--pairs 1-to-7 --pairs 5-to-5 --set optimizer.adam.lr=1e-3,1e-4 "
                            "--set embedding.dim=16 --limit 40 --epochs 1 --jobs 2";

static int set_up(void **state)
{
    (void)state;
    folder = sweeps_begin(whole);
    return 0;
}

/* ---- options -> values ---- */

static void values_are_cut_outside_of_brackets(void **state)
{
    (void)state;
    static const char *const want[] = {"[0.2, 1]", "{a: [1,2], b: \"x,y\"}", "3", "'p,q'"};
    SetOption option[1] = {0};
    Sweep s = {.arena = arena_new(), .set = option};
    assert_int_equal(set_add(&s, "augment.crop.scale= [0.2, 1],{a: [1,2], b: \"x,y\"} ,3,'p,q'"), -1);
    assert_string_equal(s.set->path, "augment.crop.scale");
    assert_int_equal(s.set->values, COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++) {
        const Setting *v = &s.set->value[i];
        assert_int_equal(v->length, strlen(want[i]));
        assert_memory_equal(v->text + v->begin, want[i], v->length);
    }
    arena_free(s.arena);
}

/* ---- a spec's text with other values ---- */

static Spec *read_text(Arena *a, const char *text, const Overrides *o)
{
    Source *source = ARENA_NEW(a, Source);
    *source = (Source){"text", text, strlen(text)};
    Diagnostics d = {.stream = stderr};
    Spec *spec = spec_read(a, &d, source, o);
    assert_non_null(spec);
    return spec;
}

static Source *tiny(Arena *a)
{
    Diagnostics d = {.stream = stderr};
    Source *source = source_read(a, &d, "specs/tiny.yaml");
    assert_non_null(source);
    return source;
}

/* What is written is the same spec, and the same again. */
static void specs_are_written_as_they_were_read(void **state)
{
    (void)state;
    glob_t specs;
    assert_int_equal(glob("specs/*.yaml", 0, NULL, &specs), 0);
    assert_true(specs.gl_pathc > 3);
    for (size_t i = 0; i < specs.gl_pathc; i++) {
        Arena *a = arena_new();
        Diagnostics d = {.stream = stderr};
        Source *source = source_read(a, &d, specs.gl_pathv[i]);
        const Overrides none = {0};
        Spec *spec = spec_read(a, &d, source, &none);
        const char *text = spec_text(a, source, &none);
        Spec *again = read_text(a, text, &none);
        assert_string_equal(spec_canonical(a, again), spec_canonical(a, spec));
        assert_string_equal(again->name.v, spec->name.v);
        assert_int_equal(again->target.memory.v, spec->target.memory.v);
        assert_string_equal(spec_text(a, again->source, &none), text);
        arena_free(a);
    }
    globfree(&specs);
}

/* A setting, and what of the spec is then what. */
static void expect_set(const char *set, const char *path, const char *want)
{
    Arena *a = arena_new();
    const Setting setting = set_parse(set);
    const Overrides o = {.setting = &setting, .settings = 1}, none = {0};
    Source *source = tiny(a);
    const char *value = spec_value(a, source, &o, path);
    if (want)
        assert_string_equal(value, want);
    else
        assert_null(value);
    Diagnostics d = {.stream = stderr};
    Spec *spec = spec_read(a, &d, source, &o);
    assert_non_null(spec);
    Spec *written = read_text(a, spec_text(a, source, &o), &none);
    assert_string_equal(spec_canonical(a, written), spec_canonical(a, spec));
    arena_free(a);
}

static void any_key_can_be_set(void **state)
{
    (void)state;
    expect_set("batch=32", "batch", "32");
    expect_set("optimizer.adam.lr=5e-4", "optimizer", "{adam: {lr: 5e-4, weight_decay: 1e-5}}");
    expect_set("optimizer={sgd: {lr: 0.5}}", "optimizer.sgd.lr", "0.5");
    expect_set("augment.crop.scale=[0.2,1]", "augment.crop", "{scale: [0.2, 1]}");
    expect_set("augment.jitter={hue: .1, p: 0.5}", "augment.jitter.p", "0.5");
    expect_set("augment=null", "augment", NULL);
    expect_set("augment.flip=~", "augment", "{translate: {max: 2}}");
    expect_set("encoder.3.residual.out=64", "encoder.3", "{residual: {out: 64, kernel: 5}}");
    expect_set("encoder[3].residual.out=64", "encoder[3].residual.out", "64");
    expect_set("encoder.4=null", "encoder.4", NULL);
    expect_set("encoder.2.block.depth=4", "encoder[2]", "{block: {out: 32, kernel: 3, depth: 4}}");
    expect_set("loss.pairs=[1-to-5]", "loss", "{pairs: [1-to-5]}");
    expect_set("loss.pairs.5-to-5.weight=2", "loss.pairs.1", "{pair: 5-to-5, weight: 2}");
    expect_set("loss.pairs.0.weight=3", "loss.pairs.1-to-7", "{pair: 1-to-7, weight: 3}");
    expect_set("target.memory=64MiB", "target", "{memory: 64MiB}");
    expect_set("name=other", "name", "other");
}

/* An option's value and a pair's weight from the same command line. */
static void pairs_find_weights_that_are_set(void **state)
{
    (void)state;
    Arena *a = arena_new();
    const Setting setting = set_parse("loss.pairs.5-to-5.weight=4");
    const Overrides o = {
        .setting = &setting, .settings = 1, .pairs = "5-to-5,1-to-5", .value[OVERRIDE_BATCH] = "8"};
    Diagnostics d = {.stream = stderr};
    const Spec *spec = spec_read(a, &d, tiny(a), &o);
    assert_non_null(spec);
    assert_true(spec->loss.pair[0].weight.v == 4 && spec->loss.pair[1].weight.v == 1);
    assert_int_equal(spec->batch.v, 8);
    arena_free(a);
}

/* ---- combinations ---- */

static Sweep plan(int sets, const char *const *set, int lists, const char **list)
{
    Sweep s = {.arena = arena_new(), .spec = "specs/tiny.yaml", .out = "out", .lists = lists, .list = list};
    s.set = ARENA_ARRAY(s.arena, SetOption, sets);
    for (int i = 0; i < sets; i++)
        assert_int_equal(set_add(&s, set[i]), -1);
    assert_int_equal(set_check(&s), -1);
    plan_quietly(&s);
    keys_read(&s);
    return s;
}

static void values_multiply(void **state)
{
    (void)state;
    static const char *const set[] = {"optimizer.adam.lr=1e-4,2e-4,3e-4", "embedding.dim=16,32", "views=2"};
    static const char *const path[] = {"pairs", "embedding.dim", "optimizer.adam.lr", "views"};
    const char *list[] = {"1-to-7", "1-to-5,5-to-5"};
    Sweep s = plan(3, set, 2, list);
    assert_int_equal(s.combinations, 12);
    assert_string_equal(s.combination[0].name, "1-to-7,embedding.dim=16,optimizer.adam.lr=1e-4,views=2");
    assert_string_equal(s.combination[0].label, "1-to-7, dim 16, lr 1e-4");
    assert_string_equal(s.combination[11].label, "1-to-5+5-to-5, dim 32, lr 3e-4");
    assert_int_equal(s.keys, COUNT(path));
    for (size_t i = 0; i < COUNT(path); i++)
        assert_string_equal(s.key[i].path, path[i]);
    assert_int_equal(keys_varying(&s), 3);
    assert_false(losses_compare(&s));
    arena_free(s.arena);
}

static void without_pairs_the_spec_has_them(void **state)
{
    (void)state;
    static const char *const set[] = {"optimizer.adam.lr=1e-4,0.001"};
    Sweep s = plan(1, set, 0, NULL);
    assert_int_equal(s.combinations, 2);
    assert_string_equal(s.combination[1].pairs, "1-to-7,5-to-5");
    assert_string_equal(s.combination[1].weights, "1,0.5");
    assert_string_equal(s.combination[1].label, "lr 0.001");
    assert_true(losses_compare(&s)); /* the same pairs, weights, penalty, batch */
    arena_free(s.arena);
}

static void names_are_as_long_as_tells_keys_apart(void **state)
{
    (void)state;
    static const char *const set[] = {"augment.translate.p=0.5,1", "augment.jitter={hue: 0.1, p: 1}",
                                      "augment.jitter.p=0,0.3"};
    Sweep s = plan(3, set, 0, NULL);
    assert_string_equal(s.combination[0].label, "jitter.p 0, translate.p 0.5");
    assert_int_equal(strncmp(s.combination[0].name, "1-to-7+5-to-5,augment.jitter=hue", 32), 0);
    assert_null(strpbrk(s.combination[0].name, " {}:"));
    arena_free(s.arena);
}

/* 1e-3 is what the spec itself has, and 0.001 the same number. */
static void a_key_that_is_not_set_has_the_specs_value(void **state)
{
    (void)state;
    static const char *const set[] = {"optimizer.adam.lr=0.001,1e-4", "augment.crop={scale: [0.5, 1]},null"};
    Sweep s = plan(2, set, 0, NULL);
    Diagnostics d = {.stream = stderr};
    assert_true(plan_add(&s, &d, NULL, NULL, 0));
    keys_read(&s);
    assert_int_equal(s.combinations, 5);
    const SweepKey *crop = &s.key[1], *lr = &s.key[2];
    assert_true(crop->values == 2 && lr->values == 2);
    assert_string_equal(lr->value[s.combination[4].value[2]], "0.001");
    assert_string_equal(lr->value[0], "1e-4"); /* numbers ascend */
    assert_string_equal(crop->value[s.combination[4].value[1]], "absent");
    arena_free(s.arena);
}

/* Initial weights depend on the encoder and its input, not on the rest. */
static void encoders_have_base_lines_of_their_own(void **state)
{
    (void)state;
    static const char *const set[] = {"encoder.3.residual.out=48,64", "optimizer.adam.lr=1e-3,1e-4"};
    Sweep s = plan(2, set, 0, NULL);
    assert_string_equal(s.combination[0].untrained, s.combination[1].untrained);
    assert_string_equal(s.combination[2].untrained, s.combination[3].untrained);
    assert_string_not_equal(s.combination[0].untrained, s.combination[2].untrained);
    arena_free(s.arena);
}

static void epochs_may_be_swept(void **state)
{
    (void)state;
    static const char *const set[] = {"schedule.epochs=3,5"};
    Sweep s = plan(1, set, 0, NULL);
    s.epochs = s.spec_epochs;
    assert_true(epochs_of(&s, &s.combination[0]) == 3 && epochs_of(&s, &s.combination[1]) == 5);
    arena_free(s.arena);
}

/* ---- main effects ---- */

enum { EFFECT_RUNS = 4 };

/* Two keys of two values, without the last combination: accuracies 0.1, 0.2, 0.4. */
static Sweep three_of_four(Combination *c, SweepRun *run, SweepKey *key, int values[][2])
{
    static const double accuracy[EFFECT_RUNS] = {0.1, 0.2, 0.4, 0.9};
    static const char *two[] = {"1", "2"};
    for (int i = 0; i < EFFECT_RUNS; i++) {
        run[i].trained = i < 3;
        for (Head head = 0; head < HEADS; head++)
            run[i].score[head] = run[i].untrained[head] = (Score){.there = true, .accuracy = accuracy[i]};
        c[i] = (Combination){.run = &run[i], .value = values[i]};
        values[i][0] = i / 2;
        values[i][1] = i % 2;
    }
    key[0] = key[1] = (SweepKey){.path = "a", .name = "a", .values = 2, .value = two};
    return (Sweep){.arena = arena_new(),
                   .seeds = 1,
                   .combinations = EFFECT_RUNS,
                   .combination = c,
                   .keys = 2,
                   .key = key};
}

static void only_runs_with_a_like_count(void **state)
{
    (void)state;
    Combination c[EFFECT_RUNS];
    SweepRun run[EFFECT_RUNS] = {0};
    SweepKey key[2];
    int values[EFFECT_RUNS][2];
    Sweep s = three_of_four(c, run, key, values);
    const Effect first = effect_of(&s, 0), second = effect_of(&s, 1);
    assert_true(first.matched && first.left_out == 1);
    assert_true(first.runs[0].run[0] == &run[0] && first.runs[1].run[0] == &run[2]);
    assert_true(second.runs[0].run[0] == &run[0] && second.runs[1].run[0] == &run[1]);
    EffectSize size = effect_size(&first, HEAD_LINEAR);
    assert_true(size.low == 0.1 && size.high == 0.4 && size.lowest == 0 && size.highest == 1);
    assert_true(isnan(size.within));

    run[3].trained = true;
    const Effect all = effect_of(&s, 1);
    assert_true(all.matched && all.left_out == 0 && all.runs[0].count == 2 && all.runs[1].count == 2);
    size = effect_size(&all, HEAD_KNN);
    assert_true(fabs(size.low - 0.25) < 1e-12 && fabs(size.high - 0.55) < 1e-12);
    assert_true(fabs(size.within - sqrt((0.045 + 0.245) / 2)) < 1e-12);
    arena_free(s.arena);
}

static void without_any_like_all_runs_count(void **state)
{
    (void)state;
    Combination c[EFFECT_RUNS];
    SweepRun run[EFFECT_RUNS] = {0};
    SweepKey key[2];
    int values[EFFECT_RUNS][2];
    Sweep s = three_of_four(c, run, key, values);
    run[1].trained = run[2].trained = false;
    run[3].trained = true; /* differs from the first in both keys */
    const Effect e = effect_of(&s, 0);
    assert_false(e.matched);
    assert_true(e.left_out == 0 && e.runs[0].count == 1 && e.runs[1].count == 1);
    arena_free(s.arena);
}

static void percentages_are_rounded_one_way(void **state)
{
    (void)state;
    Arena *a = arena_new();
    assert_string_equal(shown_percent(a, 0.2485), "24.9");
    assert_string_equal(shown_percent(a, 0.2435), "24.4");
    assert_string_equal(shown_between(a, 0.2435, 0.2485), "0.5");
    assert_string_equal(shown_between(a, 0.23649, 0.24951), "1.4"); /* 23.6 to 25.0 */
    assert_string_equal(shown_points(a, -0.0125), "-1.3");
    assert_string_equal(shown_points(a, 0.0125), "+1.3");
    assert_string_equal(shown_percent(a, NAN), "-");
    assert_true(percent_rounded(0.2485) == 24.9);
    arena_free(a);
}

/* ---- a whole sweep ---- */

static double answer(const Json *all, int combination)
{
    int at = json_element(all, json_member(all, 0, "combinations"), combination);
    char path[256], name[128];
    int text = json_member(all, at, "name");
    const jsmntok_t *token = &all->token[text];
    snprintf(name, sizeof name, "%.*s", token->end - token->start, all->text + token->start);
    snprintf(path, sizeof path, "whole/%s/seed-0/linear-1.json", name);
    Json j = json_read(read_scratch(path));
    double accuracy = json_number(&j, 0, "accuracy");
    json_free(&j);
    return accuracy;
}

static void expect_effect(const Json *j, int number, const char *key, const char *value, double mean)
{
    int effect = json_element(j, json_member(j, 0, "effects"), number);
    assert_true(json_is(j, json_member(j, effect, "key"), key));
    int first = json_element(j, json_member(j, effect, "values"), 0);
    assert_true(json_is(j, json_member(j, first, "value"), value));
    assert_true(json_number(j, first, "runs") == 2);
    int accuracy = json_member(j, json_member(j, first, "linear"), "accuracy");
    assert_true(fabs(json_number(j, accuracy, "mean") - mean) < 1e-7);
}

static void effects_are_means_of_the_probes(void **state)
{
    (void)state;
    Json j = json_read(read_scratch("whole/sweep.json"));
    double a[COMBINATIONS];
    for (int i = 0; i < COMBINATIONS; i++)
        a[i] = answer(&j, i);
    assert_true(json_number(&j, 0, "complete") == COMBINATIONS);
    expect_effect(&j, 0, "pairs", "1-to-7", (a[0] + a[1]) / 2);
    expect_effect(&j, 1, "optimizer.adam.lr", "1e-4", (a[1] + a[3]) / 2);
    json_free(&j);
}

static void csv_has_a_column_a_key(void **state)
{
    (void)state;
    expect_in("whole/sweep.csv", "pairs,embedding.dim,optimizer.adam.lr,seed,epochs,steps,linear,");
    expect_in("whole/sweep.csv", "\"1-to-7\",16,1e-3,0,1,25,");
    expect_in("whole/sweep.csv", "\"5-to-5\",16,1e-4,0,1,25,");
}

/* What does not vary has no column; losses of other pairs have none either. */
static void page_shows_what_varies(void **state)
{
    (void)state;
    expect_in("whole/sweep.html", "Which key did what");
    expect_in("whole/sweep.html", "<h2>optimizer.adam.lr</h2>");
    expect_in("whole/sweep.html", "<th title=\"optimizer.adam.lr\">lr</th>");
    expect_not_in("whole/sweep.html", "title=\"embedding.dim\"");
    expect_not_in("whole/sweep.html", "<th>loss</th>");
    expect_in("whole/sweep.html",
              "data-name=\"1-to-7, lr 1e-4\""); /* what the pointer reads off the curves */
    expect_not_in("whole/sweep.html", "nan");
}

/* The spec that a combination was compiled from makes the same program by itself. */
static void each_combination_keeps_its_spec(void **state)
{
    (void)state;
    static const char spec[] = "whole/5-to-5,embedding.dim=16,optimizer.adam.lr=1e-4/spec.yaml";
    expect_in(spec, "\nembedding: {dim: 16}\n");
    expect_in(spec, "\noptimizer: {adam: {lr: 1e-4, weight_decay: 1e-5}}\n");
    expect_in(spec, "\n  - block: {out: 32, kernel: 2, stride: 2, depth: 2}\n");
    expect_in(spec, "loss: {pairs: [{pair: 5-to-5, weight: 0.5}]}\n");
    assert_int_equal(
        shell("%s --emit=ir '%s/%s' >%s/one && %s --emit=ir specs/tiny.yaml --pairs 5-to-5 >%s/other; "
              "! cmp -s %s/one %s/other",
              amdimc_path(), folder, spec, folder, amdimc_path(), folder, folder, folder),
        0);
}

/* Runs at once are those that come one after the other. */
static void runs_at_once_are_the_same(void **state)
{
    (void)state;
    static const char name[] = "5-to-5,embedding.dim=16,optimizer.adam.lr=1e-4";
    assert_int_equal(
        sweep_tiny("--pairs 5-to-5 --set optimizer.adam.lr=1e-4 --set embedding.dim=16 --limit 40 "
                   "--epochs 1",
                   "alone"),
        0);
    assert_int_equal(
        shell("cd %s && cmp alone/%s/seed-0/last.safetensors whole/%s/seed-0/last.safetensors && "
              "cmp alone/%s/seed-0/knn-1.json whole/%s/seed-0/knn-1.json && "
              "cmp alone/untrained/2/seed-0/linear.json whole/untrained/2/seed-0/linear.json",
              folder, name, name, name, name),
        0);
    expect_in("alone/sweep.html", "<th>loss</th>"); /* one combination compares with itself */
}

/* More values join a sweep; what is there stays. */
static void a_sweep_grows_by_values(void **state)
{
    (void)state;
    assert_int_equal(shell("cp -r %s/whole %s/grown", folder, folder), 0);
    assert_int_equal(
        sweep_tiny("--pairs 1-to-7 --set embedding.dim=16 --set optimizer.adam.lr=1e-2 --limit 40 "
                   "--epochs 1",
                   "grown"),
        0);
    expect_in("said", "4 of 5 runs are complete already");
    expect_in("said", "5 of 5 runs complete");
    expect_in("grown/sweep.csv", "\"1-to-7\",16,1e-2,");
    expect_in("grown/plan", "pairs 1-to-7 1\nset embedding.dim=16\nset optimizer.adam.lr=1e-2\n");
    /* only 1-to-7 has a run at every rate */
    Json j = json_read(read_scratch("grown/sweep.json"));
    int effect = json_element(&j, json_member(&j, 0, "effects"), 1);
    assert_true(json_number(&j, effect, "left_out") == 2);
    json_free(&j);
    assert_int_equal(sweep_tiny(whole, "grown"), 0);
    expect_in("said", "5 of 5 runs are complete already");
    /* a value is a value, however it is spelled */
    assert_int_equal(
        sweep_tiny("--pairs 1-to-7 --set embedding.dim=16 --set optimizer.adam.lr=0.010 --limit 40 "
                   "--epochs 1",
                   "grown"),
        0);
    expect_in("said", "5 of 5 runs are complete already");
    expect_not_in("grown/plan", "0.010");
}

static void the_spec_stays_what_it_was(void **state)
{
    (void)state;
    assert_int_equal(shell("sed 's/flip: 0.5/flip: 0.25/' specs/tiny.yaml >%s/tiny.yaml && "
                           "! %s sweep %s/tiny.yaml %s --out %s/whole >%s/said 2>&1",
                           folder, amdimc_path(), folder, whole, folder, folder),
                     0);
    expect_in("said", "was begun with `flip 0.5`, not `flip 0.25`");
}

/* Stopped while two train under a command, gone on with one after the other and without it: the same bytes.
 */
static void goes_on_after_a_signal(void **state)
{
    (void)state;
    static const char name[] = "1-to-7,embedding.dim=16,optimizer.adam.lr=1e-4";
    int code = shell(
        "%s sweep specs/tiny.yaml --cc %s/cc %s --seeds 2 --run-with nice --out %s/stopped >%s/said 2>&1 "
        "& sweep=$!; until [ -e %s/stopped/%s/seed-0/metrics.jsonl ]; do sleep 0.01; done; "
        "kill -TERM $sweep; wait $sweep",
        amdimc_path(), folder, whole, folder, folder, folder, name);
    assert_int_equal(code, 143);
    expect_in("said", "stopped by a signal");
    assert_int_equal(sweep_tiny("--set embedding.dim=16 --pairs 5-to-5 --pairs 1-to-7 --set "
                                "optimizer.adam.lr=1e-4,1e-3 --limit 40 --epochs 1",
                                "stopped"),
                     0);
    expect_in("said", "8 of 8 runs complete");
    assert_int_equal(shell("cd %s && for run in whole/1* whole/5*; do cmp $run/seed-0/last.safetensors "
                           "stopped/${run#whole/}/seed-0/last.safetensors && cmp $run/seed-0/linear-1.json "
                           "stopped/${run#whole/}/seed-0/linear-1.json || exit 1; done",
                           folder),
                     0);
}

/* ---- a command before each run ---- */

static void a_command_runs_the_programs(void **state)
{
    (void)state;
    char arguments[512];
    snprintf(arguments, sizeof arguments,
             "--pairs 1-to-7 --set batch=8,16 --limit 8 --epochs 1 --jobs 2 --run-with 'echo $AMDIMC_JOB "
             ">>%s/jobs; nice -n 1'",
             folder);
    assert_int_equal(sweep_tiny(arguments, "wrapped"), 0);
    expect_in("said", "2 of 2 runs complete");
    /* two base lines, two trainings, four probes */
    assert_int_equal(
        shell("test $(grep -cx '[01]' %s/jobs) = 8 && test $(sort -u %s/jobs | wc -l) = 2", folder, folder),
        0);
    Json j = json_read(read_scratch("wrapped/sweep.json"));
    int combination = json_element(&j, json_member(&j, 0, "combinations"), 0);
    int run = json_element(&j, json_member(&j, combination, "runs"), 0);
    assert_true(json_is(&j, json_member(&j, run, "peak_bytes"), "null")); /* whose would it be? */
    json_free(&j);
}

static void what_a_command_says_is_no_answer(void **state)
{
    (void)state;
    char arguments[512];
    snprintf(
        arguments, sizeof arguments,
        "--pairs 1-to-7 --set batch=16 --limit 8 --epochs 1 --run-with 'f() { \"$@\" && echo; echo took 1 s; "
        "}; f'");
    assert_int_equal(sweep_tiny(arguments, "talks"), 0);
    assert_int_equal(
        sweep_tiny("--pairs 1-to-7 --set batch=8 --limit 8 --epochs 1 --run-with no-such-command", "missing"),
        1);
    expect_in("said", "no-such-command");
    expect_in("said", "0 of 1 runs complete");
}

/* ---- what is refused ---- */

/* ---- data without a test split, without labels ---- */

static void write_plain(const char *name, int number)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%02d.png", name, number);
    Sample sample = sample_plain(6, 6, (uint8_t)(3 * number), (uint8_t)(7 * number), 90);
    scratch_write(path, sample.bytes, sample.count);
    free(sample.bytes);
}

static void a_share_of_the_data_is_probed(void **state)
{
    (void)state;
    char arguments[512];
    for (int i = 0; i < 40; i++) {
        write_plain("held/a", i);
        write_plain("held/b", i + 40);
    }
    snprintf(arguments, sizeof arguments, "--pairs 1-to-7 --data %s/held --epochs 1 --holdout", folder);
    char call[600];
    snprintf(call, sizeof call, "%s 0.25", arguments);
    assert_int_equal(sweep_tiny(call, "held-out"), 0);
    expect_in("held-out/untrained/4/seed-0/linear.json", "\"images\": 20");
    expect_in("held-out/sweep.json", "\"holdout\": 0.25");
    expect_in("held-out/sweep.html", "0.25 of them held out");
    snprintf(call, sizeof call, "%s 0.5", arguments);
    assert_int_equal(sweep_tiny(call, "held-out"), 1);
    expect_in("said", "begun with `holdout 0.25`, not `holdout 0.5`");
    snprintf(call, sizeof call, "%s 25", arguments);
    assert_int_equal(sweep_tiny(call, "held-out"), 2);
    expect_in("said", "--holdout 25 is not a share above 0 and below 1");
    static const char *const none[] = {"0.1.2", "0.", "00.1", "0.0"};
    for (size_t i = 0; i < COUNT(none); i++) {
        snprintf(call, sizeof call, "%s %s", arguments, none[i]);
        assert_int_equal(sweep_tiny(call, "held-out"), 2);
    }
}

/* Under the same path: a new run is not begun, nor the base line of its seed. */
static void other_data_are_refused(void **state)
{
    (void)state;
    char arguments[512];
    snprintf(arguments, sizeof arguments, "--pairs 1-to-7 --data %s/held --epochs 1 --holdout 0.25 --seeds 2",
             folder);
    write_plain("held/a", 80);
    assert_int_equal(sweep_tiny(arguments, "held-out"), 1);
    expect_in("said", "1-to-7, seed 0: cannot be gone on with, so nothing is added to it");
    expect_in("said", "is trained on folders of pictures, 60 images in 2 classes");
    assert_true(access(scratch_path("held-out/untrained/4/seed-1/linear.json"), F_OK));
    assert_int_equal(unlink(scratch_path("held/a/80.png")), 0);
    assert_int_equal(sweep_tiny(arguments, "held-out"), 0);
    expect_in("said", "2 of 2 runs complete");
}

/* Two runs, of which the second is not begun. */
static void without_any_answer_the_sweep_ends(void **state)
{
    (void)state;
    char arguments[512];
    for (int i = 0; i < 40; i++)
        write_plain("flat", i);
    snprintf(arguments, sizeof arguments, "--data %s/flat --epochs 1 --set optimizer.adam.lr=1e-3,1e-4",
             folder);
    assert_int_equal(sweep_tiny(arguments, "unlabelled"), 1);
    expect_in("said", "pictures without labels, which a probe cannot learn");
    expect_in("said", "no other run is tried");
    expect_not_in("said", "[2/2]");
    /* nothing was done, so other settings may follow */
    assert_int_equal(sweep_tiny("--limit 40 --epochs 1 --set batch=8 --cc /bin/false", "unlabelled"), 1);
    expect_not_in("said", "was begun with");
    expect_in("unlabelled/settings", "limit 40");
}

static void wrong_values_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *set, *says;
    } cases[] = {
        {"optimzer.adam.lr=1e-4", "--set:1:1: error: unknown key optimzer; did you mean optimizer?"},
        {"augmentation.jitter.p=1", "unknown key augmentation; did you mean augment?"},
        {"optimizer.adam.lrr=1e-4", "--set:1:16: error: optimizer.adam: unknown key lrr; did you mean lr?"},
        {"optimizer.adam.lr=1e-4,-1",
         "--set:1:24: error: optimizer.adam.lr: a number above 0 is wanted, not -1"},
        {"optimizer.adam.lr=fast", "optimizer.adam.lr: a number above 0 is wanted, not fast"},
        {"optimizer.sgd.lr=0.1", "optimizer is adam in this spec, not sgd; its keys are optimizer.adam.KEY"},
        {"encoder.9.conv.out=8", "--set:1:9: error: encoder has no 9; its items are numbered from 0 to 4"},
        {"encoder.1.conv.out=8",
         "encoder.1 is block in this spec, not conv; its keys are encoder.1.block.KEY"},
        {"encoder.1.out=8", "encoder.1 is block in this spec, not out; its keys are encoder.1.block.KEY"},
        {"batch.size=8", "batch is a value in this spec, 16, and has no keys such as size"},
        {"batch=null", "batch is missing"},
        {"loss.pairs.7-to-7.weight=1", "loss.pairs has no 7-to-7"},
        {"loss.pairs=[1-to-6]", "pair 1-to-6: the encoder has no 6x6 scale"},
        {"augment.crop.scale=[0.2,1", "--set:1:20: error: this is no YAML"},
        {"augment.crop.scale=[0.2,1],[1,0.2]", "--set:1:31: error: augment.crop.scale: the second number"},
        {"augment.translate.p=0.5,2", "--set:1:25: error: augment.translate.p: a number from 0 to 1"},
        {"encoder.0.conv.kernel=17", "encoder[0].conv"},
        {"batch=#64", "--set:1:7: error: a value is missing"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments, "--set '%s'", cases[i].set);
        assert_int_equal(sweep_tiny(arguments, "wrong"), 1);
        expect_in("said", cases[i].says);
    }
    assert_true(access(scratch_path("wrong"), F_OK));
}

/* Each wrong value once, however many combinations it is in. */
static void a_wrong_value_is_said_once(void **state)
{
    (void)state;
    assert_int_equal(
        sweep_tiny("--set batch=8,1,16 --set embedding.dim=16,0,32 --pairs 1-to-7 --pairs 5-to-5", "wrong"),
        1);
    assert_int_equal(shell("test $(grep -c error: %s/said) = 2", folder), 0);
    assert_int_equal(
        sweep_tiny("--set encoder.1.block.out=32,64 --set encoder.2.block.out=32,64,16", "wrong"), 1);
    expect_in("said", "--set:1:27: error: encoder[2].block.out: at least the 32 channels");
}

static void usage_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
    } cases[] = {
        {"--set batch", "--set batch: KEY=VALUE is wanted"},
        {"--set batch=", "a value is missing"},
        {"--set batch=8,,16", "a value is missing"},
        {"--set =8", "is no key"},
        {"--set optimizer.=8", "is no key"},
        {"--set a..b=8", "is no key"},
        {"--set encoder[3]x=8", "is no key"},
        {"--set encoder]3=8", "is no key"},
        {"--set encoder[3=8", "is no key"},
        {"--set encoder[]=8", "is no key"},
        {"--set .batch=8", "is no key"},
        {"--set batch=8,16,8", "the value 8 is there twice"},
        {"--set optimizer.adam.lr=1e-3,0.001", "the value 0.001 is there twice"},
        {"--set batch=8 --set batch=16", "--set batch is given twice; list its values in one"},
        {"--batch 8 --set batch=16", "--batch sets batch, and so does --set batch=16"},
        {"--pairs 1-to-7 --set loss.pairs=[1-to-5]", "--pairs sets loss.pairs"},
        {"--epochs 3 --set schedule.epochs=5", "--epochs sets schedule.epochs"},
        {"--set batch=8 --jobs 0", "--jobs 0 is not a whole number from 1 to"},
        {"--set batch=8 --jobs 1000", "--jobs 1000 is not a whole number from 1 to"},
        {"--set batch=8 --run-with ''", "--run-with names no command"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(sweep_tiny(cases[i].arguments, "wrong"), 2);
        expect_in("said", cases[i].says);
    }
}

/* `amdimc sweep ... 2>&1 | head` trains on. */
static void it_outlives_its_reader(void **state)
{
    (void)state;
    assert_int_equal(
        shell("(%s sweep specs/tiny.yaml --set optimizer.adam.lr=1e-3,1e-4 --limit 20 --epochs 1 "
              "--out %s/unread 2>&1; echo $? >%s/code) | head -1 >/dev/null; "
              "[ -s %s/code ] && [ \"$(cat %s/code)\" != 141 ] && [ \"$(wc -l <%s/unread/sweep.csv)\" = 3 ]",
              amdimc_path(), folder, folder, folder, folder, folder),
        0);
}

static void a_value_without_effect_is_noted(void **state)
{
    (void)state;
    assert_int_equal(sweep_tiny("--pairs 1-to-7 --set loss.pairs.5-to-5.weight=1,2 --cc /bin/false", "noted"),
                     1);
    expect_in("said",
              "1-to-7,loss.pairs.5-to-5.weight=2 trains the same as 1-to-7,loss.pairs.5-to-5.weight=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_cut_outside_of_brackets),
        cmocka_unit_test(specs_are_written_as_they_were_read),
        cmocka_unit_test(any_key_can_be_set),
        cmocka_unit_test(pairs_find_weights_that_are_set),
        cmocka_unit_test(values_multiply),
        cmocka_unit_test(without_pairs_the_spec_has_them),
        cmocka_unit_test(names_are_as_long_as_tells_keys_apart),
        cmocka_unit_test(a_key_that_is_not_set_has_the_specs_value),
        cmocka_unit_test(encoders_have_base_lines_of_their_own),
        cmocka_unit_test(epochs_may_be_swept),
        cmocka_unit_test(only_runs_with_a_like_count),
        cmocka_unit_test(without_any_like_all_runs_count),
        cmocka_unit_test(percentages_are_rounded_one_way),
        cmocka_unit_test(effects_are_means_of_the_probes),
        cmocka_unit_test(csv_has_a_column_a_key),
        cmocka_unit_test(page_shows_what_varies),
        cmocka_unit_test(each_combination_keeps_its_spec),
        cmocka_unit_test(runs_at_once_are_the_same),
        cmocka_unit_test(a_sweep_grows_by_values),
        cmocka_unit_test(the_spec_stays_what_it_was),
        cmocka_unit_test(goes_on_after_a_signal),
        cmocka_unit_test(a_command_runs_the_programs),
        cmocka_unit_test(what_a_command_says_is_no_answer),
        cmocka_unit_test(a_share_of_the_data_is_probed),
        cmocka_unit_test(other_data_are_refused),
        cmocka_unit_test(without_any_answer_the_sweep_ends),
        cmocka_unit_test(it_outlives_its_reader),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(a_wrong_value_is_said_once),
        cmocka_unit_test(usage_is_checked),
        cmocka_unit_test(a_value_without_effect_is_noted),
    };
    return cmocka_run_group_tests_name("sweep_set", tests, set_up, scratch_tear_down);
}
