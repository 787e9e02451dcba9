/* test_options.c: what command lines mean, and what is said of wrong ones. */
#include "runtime.h"
#include "toy_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Splits at spaces and parses; the words live until the next call. */
static bool parse(const char *line, Options *o, Fault *f)
{
    static char text[512];
    char *argv[32], *rest = NULL;
    int argc = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    return options_parse(o, &toy_model, argc, argv, f);
}

static Options parsed(const char *line)
{
    Options o;
    Fault f;
    if (!parse(line, &o, &f))
        fail_msg("%s: %s", line, f.text);
    return o;
}

static void refused(const char *line, const char *words)
{
    Options o;
    Fault f;
    if (parse(line, &o, &f))
        fail_msg("accepted: %s", line);
    if (!strstr(f.text, words))
        fail_msg("%s: %s (should name %s)", line, f.text, words);
}

static void test_every_option_of_train(void **state)
{
    (void)state;
    Options o =
        parsed("/opt/toy train --data D --out R --epochs 3 --steps 70 --seed 18446744073709551615 --resume "
               "--threads 5 --limit 9 --nice --probe-every 4");
    assert_string_equal(o.command, "train");
    assert_string_equal(o.data, "D");
    assert_string_equal(o.out, "R");
    assert_int_equal(o.epochs, 3);
    assert_int_equal(o.steps, 70);
    assert_true(o.seed == UINT64_MAX && o.seed_given);
    assert_true(o.resume);
    assert_true(o.nice);
    assert_int_equal(o.threads, 5);
    assert_int_equal(o.limit, 9);
    assert_int_equal(o.probe_every, 4);
}

static void test_what_is_not_given(void **state)
{
    (void)state;
    Options o = parsed("toy train --out R");
    assert_null(o.data);
    assert_true(o.epochs == -1 && o.steps == -1 && o.limit == -1 && o.count == -1);
    assert_true(o.seed == 0 && !o.seed_given && !o.resume && !o.json && !o.help);
    assert_int_equal(o.threads, toy_model.threads);
    assert_string_equal(parsed("toy encode --weights W -o F").split, "test");
    assert_string_equal(parsed("toy encode --weights W -o -").out, "/dev/stdout");
    assert_false(parsed("toy encode --weights W -o F --labels fine").coarse);
    assert_true(parsed("toy probe --untrained --labels coarse").coarse);
}

static void test_values_behind_an_equals_sign(void **state)
{
    (void)state;
    Options o = parsed("toy encode --weights=a=b --scale=3 --split=train -o -odd.npy= --raw --limit=7");
    assert_true(o.raw && o.limit == 7);
    assert_string_equal(o.weights, "a=b");
    assert_int_equal(o.scale, 3);
    assert_string_equal(o.split, "train");
}

static void test_options_of_other_commands(void **state)
{
    (void)state;
    assert_int_equal(parsed("toy views -o F --count 12").count, 12);
    assert_int_equal(parsed("toy bench --steps 4 --json").steps, 4);
    assert_true(parsed("toy bench --profile").profile && !parsed("toy bench").profile);
    assert_string_equal(parsed("toy replay --weights W --batch B -o F").batch, "B");
    assert_true(parsed("toy probe --untrained --seed 4").untrained);
    assert_true(parsed("toy probe --pixels --limit 2").pixels);
    refused("toy info --seed 3", "--seed");
    refused("toy encode --weights W -o F --resume", "--resume");
    refused("toy encode --weights W -o F --raw", "--scale D is missing beside");
    refused("toy encode --weights W -o F --limit 0", "--limit");
    refused("toy views -o F --raw", "--raw");
    refused("toy train -o R", "-o");
    refused("toy train --out R --lr 1e-40", "--lr 1e-40");
    refused("toy train --out R --lr 0", "--lr 0");
}

static void test_help(void **state)
{
    (void)state;
    assert_true(parsed("toy --help").help);
    assert_null(parsed("toy --help").command);
    assert_string_equal(parsed("toy train --help").command, "train");
    assert_true(parsed("toy train --frob --help").help);
}

static void test_what_needs_no_command(void **state)
{
    (void)state;
    assert_true(parsed("toy -h").help && parsed("toy train -h").help);
    assert_true(parsed("toy --version").version && parsed("toy info --version").version);
    assert_true(parsed("toy --completion bash").completion && parsed("toy --completion=bash").completion);
    refused("toy --completion zsh", "--completion zsh: the shell that it is for is bash");
    refused("toy --completion", "--completion: the shell");
}

static void test_quiet(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "toy train --out R",
        "toy check --data D",
        "toy probe --untrained",
        "toy encode --weights W -o F",
        "toy replay --weights W --batch B -o F",
        "toy views -o F",
        "toy bench",
        "toy selfcheck",
        "toy info",
    };
    char line[128];
    for (size_t i = 0; i < COUNT(lines); i++) {
        assert_false(parsed(lines[i]).quiet);
        snprintf(line, sizeof line, "%s --quiet", lines[i]);
        assert_true(parsed(line).quiet);
        snprintf(line, sizeof line, "%s -q", lines[i]);
        assert_true(parsed(line).quiet);
    }
}

static void test_what_was_meant(void **state)
{
    (void)state;
    refused("toy trian --out R", "unknown command trian; did you mean train? See `toy --help`");
    refused("toy help", "did you mean --help?");
    refused("toy xyzzy", "unknown command xyzzy; see `toy --help`");
    refused("toy --seed 3 train", "the command comes first: `toy train --seed ...`");
    refused("toy --seed 3", "a command is missing in front of --seed");
    refused("toy --versoin", "did you mean --version?");
    refused("toy train --out R --epoch=3",
            "unknown option --epoch=3; did you mean --epochs? See `toy train --help`");
    refused("toy train --out R --checkpoint 3", "did you mean --checkpoint-every?");
    refused("toy train --out R -epochs 3", "did you mean --epochs?");
    refused("toy train -o R", "did you mean --out?");
    refused("toy encode --weights W --output F", "did you mean -o?");
    refused("toy train --out R -help", "did you mean --help?");
    refused("toy train --out R --json", "unknown option --json, which is for probe, bench, info; see");
    refused("toy train --out R --xyzzy", "unknown option --xyzzy; see");
    refused("toy probe --untrained --head linaer", "--head linaer; did you mean linear?");
    refused("toy probe --untrained --head svm", "--head svm; see");
    refused("toy probe --untrained --labels corse", "did you mean coarse?");
    refused("toy encode --weights W -o F --split tset", "did you mean test?");
    refused("toy train --out R --on-nan skp", "did you mean skip?");
}

static void test_usage_names_the_options(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    options_usage(&toy_model, "toy", "replay", stream);
    fclose(stream);
    assert_non_null(
        strstr(text, "usage: toy replay --weights FILE --batch FILE [--threads T] [--quiet] -o FILE\n"));
    assert_null(strstr(text, "--resume"));
    free(text);

    stream = open_memstream(&text, &size);
    options_usage(&toy_model, "toy", NULL, stream);
    fclose(stream);
    assert_non_null(strstr(text, "\n  train "));
    assert_non_null(strstr(text, "\n  info "));
    free(text);
}

static void test_missing(void **state)
{
    (void)state;
    refused("toy", "toy --help");
    refused("toy frob", "unknown command frob; see `toy --help`");
    refused("toy train", "--out RUN; see `toy train --help`");
    refused("toy train --out", "value is missing after --out");
    refused("toy train --out --resume", "value is missing after --out");
    refused("toy train --out=", "value is missing after --out");
    refused("toy replay --weights W -o F", "--batch");
    refused("toy encode -o F", "--weights");
    refused("toy encode --weights W --pixels -o F", "no encoder takes part in --pixels");
    refused("toy encode --pixels --scale 1 -o F", "no encoder takes part in --pixels");
    assert_true(parsed("toy encode --pixels -o F").pixels);
}

static void test_unexpected(void **state)
{
    (void)state;
    refused("toy train --out R --frob", "unknown option --frob");
    refused("toy train --out R extra", "unexpected argument extra");
    refused("toy train --out R --out S", "twice: --out");
    refused("toy train --out R --resume=yes", "no value belongs to --resume");
    refused("toy train --ou R", "unknown option --ou");
}

static void test_bad_numbers(void **state)
{
    (void)state;
    const char *bad[] = {"x", "-1", "+1", "1.5", "3x", "0x3", "99999999999999999999"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char line[128];
        snprintf(line, sizeof line, "toy train --out R --epochs %s", bad[i]);
        refused(line, "--epochs");
    }
    refused("toy train --out R --threads 0", "from 1 to");
    refused("toy train --out R --limit 0", "from 1 to");
    refused("toy train --out R --limit 4294967296", "from 1 to 4294967295; see `toy train --help`");
    refused("toy bench --steps 0", "from 1 to");
    refused("toy train --out R --profile", "unknown option --profile");
    refused("toy train --out R --probe-every 0", "from 1 to");
    assert_int_equal(parsed("toy train --out R --steps 0").steps, 0);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {{"90", 90},        {"90s", 90},     {"30m", 1800},
                {"8h", 28800},     {"1h30m", 5400}, {"2d1s", 172801},
                {"1h0m90s", 3690}, {"0h1s", 1},     {"4294967295", 4294967295}};
    static const char *const bad[] = {
        "0", "0s", "h", "1x", "1m1h", "1h1h", "1h30", "-5m", "1.5h", "4294967296s", "99999999999999999999d",
        "m5"};
    char line[128];
    for (size_t i = 0; i < COUNT(good); i++) {
        snprintf(line, sizeof line, "toy train --out R --stop-after %s", good[i].text);
        if (parsed(line).stop_after != good[i].seconds)
            fail_msg("%s is %lld s", good[i].text, (long long)parsed(line).stop_after);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(line, sizeof line, "toy train --out R --stop-after %s", bad[i]);
        refused(line, "is not a time such as 90s, 30m, 8h or 1h30m; see `toy train --help`");
    }
    assert_int_equal(parsed("toy train --out R").stop_after, 0);
}

static void test_choices(void **state)
{
    (void)state;
    refused("toy encode --weights W -o F --split both", "both");
    refused("toy probe --untrained --labels rough", "neither fine nor coarse: --labels rough");
    assert_string_equal(parsed("toy probe --untrained --head mlp").head, "mlp");
    assert_string_equal(parsed("toy probe --untrained --head knn").head, "knn");
    refused("toy probe --untrained --head svm", "none of linear, mlp and knn: --head svm");
    refused("toy probe", "exactly one");
    refused("toy probe --weights W --pixels", "exactly one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_option_of_train),
        cmocka_unit_test(test_what_is_not_given),
        cmocka_unit_test(test_values_behind_an_equals_sign),
        cmocka_unit_test(test_options_of_other_commands),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_what_needs_no_command),
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_what_was_meant),
        cmocka_unit_test(test_usage_names_the_options),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_unexpected),
        cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
