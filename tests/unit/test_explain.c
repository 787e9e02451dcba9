/* test_explain.c: what --explain says, by the compiler itself: the tiny spec's tables and JSON as expected,
 * and for every spec numbers that add up to what its program promises.
 *
 * BLESS=1 in the environment rewrites the expected outputs; the difference is for a reader to judge. */
#include "amdimc.h"
#include "commands.h"
#include "json.h"
#include "samples.h"

#include <ctype.h>
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- running the compiler ---- */

/* Runs amdimc with these arguments, which a shell reads; returns its exit code and what it prints on stdout.
 */
static int run(char **printed, const char *arguments)
{
    const char *build = getenv("BUILD");
    char command[1024];
    snprintf(command, sizeof command, "%.400s/amdimc %.500s 2>/dev/null", build ? build : "build", arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t capacity = 0;
    *printed = NULL;
    if (getdelim(printed, &capacity, '\0', pipe) < 0)
        (*printed)[0] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What it prints on success, of a processor that is the same on every machine; the caller frees it. */
static char *amdimc(const char *option, const char *spec)
{
    char arguments[512], *printed;
    snprintf(arguments, sizeof arguments, "%s %s --march x86-64-v3", option, spec);
    if (run(&printed, arguments) != 0)
        fail_msg("amdimc %s failed", arguments);
    return printed;
}

static void expect_exit(int code, const char *arguments)
{
    char *printed;
    assert_int_equal(run(&printed, arguments), code);
    assert_string_equal(printed, "");
    free(printed);
}

static Json explained(const char *arguments)
{
    return json_read(amdimc("--explain=json", arguments));
}

/* ---- numbers of the JSON ---- */

/* The sum of a key over the objects of a list. */
static double sum(const Json *j, const char *list, const char *key)
{
    int array = json_member(j, 0, list);
    double total = 0;
    for (int i = 0; i < j->token[array].size; i++)
        total += json_number(j, json_element(j, array, i), key);
    return total;
}

/* The object of a list whose key has this value. */
static int find(const Json *j, const char *list, const char *key, const char *value)
{
    int array = json_member(j, 0, list);
    for (int i = 0; i < j->token[array].size; i++) {
        int object = json_element(j, array, i);
        if (json_is(j, json_member(j, object, key), value))
            return object;
    }
    fail_msg("no %s is %s in %s", key, value, list);
    return -1;
}

static void expect_number(const Json *j, int object, const char *key, double wanted)
{
    double found = json_number(j, object, key);
    if (!(fabs(found - wanted) <= 1e-9 * fabs(wanted)))
        fail_msg("%s is %.15g, not %.15g", key, found, wanted);
}

/* ---- as expected ---- */

static void expect_golden(const char *option, const char *golden)
{
    char *said = amdimc(option, "specs/tiny.yaml --threads 2");
    if (getenv("BLESS")) {
        FILE *file = fopen(golden, "wb");
        assert_non_null(file);
        assert_true(fputs(said, file) >= 0);
        assert_int_equal(fclose(file), 0);
    }
    size_t length;
    char *wanted = read_whole(golden, &length);
    assert_string_equal(said, wanted);
    free(wanted);
    free(said);
}

static void tables_are_as_expected(void **state)
{
    (void)state;
    expect_golden("--explain", "tests/golden/tiny.explain.txt");
}

static void json_is_as_expected(void **state)
{
    (void)state;
    expect_golden("--explain=json", "tests/golden/tiny.explain.json");
}

/* ---- every spec ---- */

static void products_and_parameters_add_up(const Json *j)
{
    static const char *const keys[] = {"gflop_forward", "gflop_per_step"};
    for (size_t i = 0; i < COUNT(keys); i++)
        expect_number(j, 0, keys[i],
                      sum(j, "layers", keys[i]) + sum(j, "scales", keys[i]) + sum(j, "pairs", keys[i]));
    expect_number(j, 0, "parameters", sum(j, "layers", "parameters") + sum(j, "scales", "parameters"));
    assert_true(json_number(j, 0, "gflop_forward") < json_number(j, 0, "gflop_per_step") / 2);
    for (int i = 0; i < j->token[json_member(j, 0, "pairs")].size; i++) {
        int pair = json_element(j, json_member(j, 0, "pairs"), i);
        double share = json_number(j, pair, "gflop_per_step") / json_number(j, 0, "gflop_per_step");
        assert_true(fabs(json_number(j, pair, "share") - share) < 1e-8);
        /* The scores, and the gradients of both sides of them. */
        expect_number(j, pair, "gflop_per_step", 3 * json_number(j, pair, "gflop_forward"));
    }
}

/* Bytes are whole and below 2^53, so that sums of doubles are exact. */
static void memory_adds_up(const Json *j)
{
    int memory = json_member(j, 0, "memory"), at = memory + 1;
    double parts = 0, peak = json_number(j, memory, "peak_bytes");
    for (int i = 0; i < j->token[memory].size; i++) {
        double bytes = strtod(j->text + j->token[at + 1].start, NULL);
        assert_true(bytes >= 0);
        if (!json_is(j, at, "peak_bytes"))
            parts += bytes;
        at = json_behind(j, at + 1);
    }
    assert_true(parts == peak);
    assert_true(json_number(j, 0, "peak_bytes") == peak);
}

static double live_bytes(const Json *j, int object)
{
    return json_number(j, object, "activations_bytes") + json_number(j, object, "scores_bytes") +
           json_number(j, object, "gradients_bytes") + json_number(j, object, "scratch_bytes");
}

static void arena_is_fullest_where_it_says(const Json *j)
{
    int operations = json_member(j, 0, "operations"), memory = json_member(j, 0, "memory");
    double arena = json_number(j, 0, "arena_bytes"), most = 0;
    for (int i = 0; i < j->token[operations].size; i++)
        most = fmax(most, live_bytes(j, json_element(j, operations, i)));
    int fullest = json_element(j, operations, (int)json_number(j, 0, "fullest_operation"));
    assert_true(live_bytes(j, fullest) == most);
    assert_true(live_bytes(j, memory) == most);
    assert_true(most + json_number(j, memory, "unused_bytes") == arena);
}

static void numbers_add_up(void **state)
{
    Json j = explained(*state);
    products_and_parameters_add_up(&j);
    memory_adds_up(&j);
    arena_is_fullest_where_it_says(&j);
    json_free(&j);
}

static void tables_fit_a_terminal(void **state)
{
    char *text = amdimc("--explain", *state);
    int column = 0;
    for (const char *c = text; *c; c++) {
        assert_true(*c == '\n' || isprint((unsigned char)*c));
        column = *c == '\n' ? 0 : column + 1;
        assert_true(column <= 100);
        assert_false(*c == ' ' && c[1] == '\n');
    }
    assert_int_equal(column, 0);
    free(text);
}

/* The value of `.NAME = ` in the generated C. */
static double emitted(const char *text, const char *name)
{
    char field[64];
    snprintf(field, sizeof field, ".%s = ", name);
    const char *at = strstr(text, field);
    assert_non_null(at);
    return strtod(at + strlen(field), NULL);
}

static void says_what_the_program_promises(void **state)
{
    const char *spec = *state;
    char option[600], path[600];
    size_t length;
    Json j = explained(spec);
    const jsmntok_t *name = &j.token[json_member(&j, 0, "name")];
    snprintf(option, sizeof option, "--emit=c -o %.500s", scratch_begin());
    free(amdimc(option, spec));
    snprintf(path, sizeof path, "%.*s.c", name->end - name->start, j.text + name->start);
    char *text = read_whole(scratch_path(path), &length);
    assert_true(emitted(text, "peak_bytes") == json_number(&j, 0, "peak_bytes"));
    assert_true(emitted(text, "arena_bytes") == json_number(&j, 0, "arena_bytes"));
    assert_true(fabs(emitted(text, "flop_per_step") / 1e9 - json_number(&j, 0, "gflop_per_step")) < 1e-6);
    free(text);
    scratch_end();
    json_free(&j);
}

/* ---- the example ---- */

static void expect_scale(const Json *j, const char *scale, double layer, double field, double sees)
{
    int object = find(j, "scales", "scale", scale);
    expect_number(j, object, "layer", layer);
    expect_number(j, object, "receptive_field", field);
    expect_number(j, object, "receptive_stride", 4);
    expect_number(j, object, "sees", sees);
}

static void expect_scores(const Json *j, const char *pair, double positives, double each)
{
    int object = find(j, "pairs", "pair", pair);
    expect_number(j, object, "positives", positives);
    expect_number(j, object, "negatives_each", each);
}

static void example_is_explained(void **state)
{
    (void)state;
    Json j = explained("specs/amdim.yaml");
    assert_true(fabs(json_number(&j, 0, "gflop_per_step") - 113.1) < 0.05);
    expect_number(&j, 0, "parameters", 5011200);
    expect_scale(&j, "7", 3, 8, 1.0 / 16);
    expect_scale(&j, "5", 4, 16, 1.0 / 4);
    expect_scale(&j, "1", 7, 32, 1);
    assert_true(json_is(&j, json_member(&j, find(&j, "scales", "scale", "1"), "embedding"), "identity"));
    assert_true(json_is(&j, json_member(&j, find(&j, "scales", "scale", "7"), "embedding"), "head"));
    assert_true(json_is(&j, json_member(&j, find(&j, "scales", "scale", "3"), "embedding"), "null"));
    /* Two directions of 64 images; 63 others. */
    expect_scores(&j, "1-to-7", 2 * 64 * 49, 63 * 49);
    expect_scores(&j, "5-to-5", 2 * 64 * 25, 63 * 25);
    expect_number(&j, find(&j, "pairs", "pair", "5-to-5"), "negatives", 2.0 * 64 * 63 * 25);
    json_free(&j);
}

static void one_view_has_one_direction(void **state)
{
    (void)state;
    Json j = explained("specs/local-dim.yaml");
    expect_scores(&j, "1-to-7", 64 * 49, 63 * 49);
    json_free(&j);
}

static void what_no_pair_needs_costs_nothing(void **state)
{
    (void)state;
    Json j = explained("specs/amdim.yaml --pairs 5-to-7");
    int top = json_element(&j, json_member(&j, 0, "layers"), 4),
        above = json_element(&j, json_member(&j, 0, "layers"), 5);
    assert_true(json_is(&j, json_member(&j, top, "used"), "true"));
    assert_true(json_number(&j, top, "parameters") > 0);
    assert_true(json_is(&j, json_member(&j, above, "used"), "false"));
    assert_true(json_number(&j, above, "parameters") == 0);
    assert_true(json_number(&j, above, "gflop_per_step") == 0);
    products_and_parameters_add_up(&j);
    json_free(&j);
}

static void memory_follows_the_spec(void **state)
{
    (void)state;
    Json adam = explained("specs/tiny.yaml --threads 2"), threads = explained("specs/tiny.yaml --threads 3");
    int memory = json_member(&adam, 0, "memory");
    double trained = json_number(&adam, memory, "optimizer_bytes") / 2,
           pictures = 2.0 * 32 * 16 * 16 * 3 * sizeof(float);
    assert_true(trained >= sizeof(float) * json_number(&adam, 0, "parameters"));
    assert_true(json_number(&adam, memory, "weights_bytes") > trained);
    assert_true(json_number(&adam, memory, "pictures_bytes") == pictures);
    double two = json_number(&adam, memory, "threads_bytes");
    double three = json_number(&threads, json_member(&threads, 0, "memory"), "threads_bytes");
    assert_true(2 * three == 3 * two);
    Json limited = explained("specs/tiny.yaml --memory 64MiB");
    assert_true(json_number(&limited, 0, "memory_limit_bytes") == 64.0 * 1024 * 1024);
    json_free(&limited);
    json_free(&threads);
    json_free(&adam);
}

/* ---- how it ends, and what is said about it ---- */

static void fails_well(void **state)
{
    (void)state;
    expect_exit(2, "--explain=xml specs/tiny.yaml");
    expect_exit(2, "--explain");
    expect_exit(1, "--explain tests/errors/batch-one.yaml");
    expect_exit(1, "--explain=json tests/errors/batch-one.yaml");
    expect_exit(1, "--explain specs/tiny.yaml >/dev/full");
}

/* A word as the manual page spells it: every dash behind a backslash. */
static void escape_dashes(const char *word, char *escaped)
{
    for (; *word; word++) {
        if (*word == '-')
            *escaped++ = '\\';
        *escaped++ = *word;
    }
    *escaped = '\0';
}

/* ---- forms ---- */

/* The whole number behind `#define NAME ` in a header. */
static double defined(const char *header, const char *name)
{
    char line[64];
    snprintf(line, sizeof line, "#define %s ", name);
    const char *at = strstr(header, line);
    assert_non_null(at);
    return strtod(at + strlen(line) + strcspn(at + strlen(line), "0123456789"), NULL);
}

/* What a library takes is what its header says, within its own limit as well as without one. */
static void library_takes_what_its_header_says(void **state)
{
    (void)state;
    static const char *const options[] = {"", " --memory 10MiB", " --static --threads 3"};
    char arguments[700];
    size_t length;
    for (size_t i = 0; i < COUNT(options); i++) {
        snprintf(arguments, sizeof arguments, "--emit=library%s -o %.500s/library", i == 1 ? options[i] : "",
                 scratch_begin());
        free(amdimc(arguments, "specs/tiny.yaml"));
        snprintf(arguments, sizeof arguments, "specs/tiny.yaml%s", options[i]);
        Json j = explained(arguments);
        const int library = json_member(&j, 0, "library");
        char *header = read_whole(scratch_path("library/tiny.h"), &length);
        assert_true(json_number(&j, library, "params_bytes") == 4 * defined(header, "TINY_PARAMS"));
        assert_true(json_number(&j, library, "state_bytes") == 4 * defined(header, "TINY_STATE"));
        assert_true(json_number(&j, library, "train_bytes") == defined(header, "TINY_TRAIN_BYTES"));
        assert_true(json_number(&j, library, "encode_bytes") == defined(header, "TINY_ENCODE_BYTES"));
        free(header);
        json_free(&j);
        scratch_end();
    }
}

/* A static program has no shared libraries resident; the least that a limit refuses with follows. */
static void static_programs_take_less(void **state)
{
    (void)state;
    Json shared = explained("specs/tiny.yaml --blas none"),
         alone = explained("specs/tiny.yaml --blas none --static");
    const double least = json_number(&alone, 0, "peak_bytes"), most = json_number(&shared, 0, "peak_bytes");
    assert_true(json_number(&alone, 0, "arena_bytes") == json_number(&shared, 0, "arena_bytes"));
    assert_true(most - least > 1 << 20);
    char arguments[200];
    snprintf(arguments, sizeof arguments, "--check specs/tiny.yaml --blas none --memory %.0fKiB",
             ceil(least / 1024));
    char static_too[300];
    snprintf(static_too, sizeof static_too, "%s --static", arguments);
    free(amdimc(static_too, ""));
    json_free(&alone);
    json_free(&shared);
}

static void every_option_is_in_manual_and_completion(void **state)
{
    (void)state;
    size_t length;
    char *help = amdimc("--help", ""), *manual = read_whole("docs/amdimc.1", &length);
    char *completion = read_whole("docs/amdimc.bash-completion", &length);
    int options = 0;
    for (const char *at = help; (at = strstr(at, "--")); at += length) {
        char option[64], escaped[128];
        length = 2 + strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-");
        snprintf(option, sizeof option, "%.*s", (int)length, at);
        escape_dashes(option, escaped);
        if (!strstr(manual, escaped) || !strstr(completion, option))
            fail_msg("%s is in --help, but not in both of docs/amdimc.1 and docs/amdimc.bash-completion",
                     option);
        options++;
    }
    assert_true(options >= 12);
    free(completion);
    free(manual);
    free(help);
}

/* ---- all ---- */

static int test_every_spec(void)
{
    glob_t specs;
    if (glob("specs/*.yaml", 0, NULL, &specs) != 0) {
        fprintf(stderr, "test_explain: no specs/*.yaml here; run it from the project's root\n");
        return 1;
    }
    int failed = 0;
    for (size_t i = 0; i < specs.gl_pathc; i++) {
        char *spec = specs.gl_pathv[i];
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(numbers_add_up, spec),
            cmocka_unit_test_prestate(tables_fit_a_terminal, spec),
            cmocka_unit_test_prestate(says_what_the_program_promises, spec),
        };
        failed += _cmocka_run_group_tests(spec, tests, COUNT(tests), NULL, NULL);
    }
    globfree(&specs);
    return failed;
}

/* As a word of its own: `direct` is not in "directory". */
static bool has_word(const char *text, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += length)
        if ((at == text || !isalpha((unsigned char)at[-1])) && !isalpha((unsigned char)at[length]))
            return true;
    return false;
}

static void every_kernel_is_in_help_and_docs(void **state)
{
    (void)state;
    static const char *const docs[] = {"docs/amdimc.1", "docs/amdimc.bash-completion", "docs/hacking.md"};
    const char *name[MOST_KERNELS];
    const int count = kernel_names(name);
    assert_true(count >= 9);
    char *help = amdimc("--help", "");
    for (int i = 0; i < count; i++)
        assert_true(has_word(help, name[i]));
    free(help);
    for (size_t d = 0; d < COUNT(docs); d++) {
        size_t length;
        char *text = read_whole(docs[d], &length);
        for (int i = 0; i < count; i++)
            if (!has_word(text, name[i]))
                fail_msg("%s does not name the kernel %s", docs[d], name[i]);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_as_expected),
        cmocka_unit_test(json_is_as_expected),
        cmocka_unit_test(example_is_explained),
        cmocka_unit_test(one_view_has_one_direction),
        cmocka_unit_test(what_no_pair_needs_costs_nothing),
        cmocka_unit_test(memory_follows_the_spec),
        cmocka_unit_test(library_takes_what_its_header_says),
        cmocka_unit_test(static_programs_take_less),
        cmocka_unit_test(fails_well),
        cmocka_unit_test(every_option_is_in_manual_and_completion),
        cmocka_unit_test(every_kernel_is_in_help_and_docs),
    };
    return test_every_spec() + cmocka_run_group_tests(tests, NULL, NULL);
}
