/* test_manners.c: what both command lines answer to whoever mistypes, asks for help, wants quiet, JSON, or
 * completion. */
#include "json.h"
#include "samples.h"
#include "shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char program[512];

/* What the command printed on stdout is in the file `out`, on stderr in `err`. */
static int run(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    char out[512], err[512];
    snprintf(out, sizeof out, "%s", scratch_path("out"));
    snprintf(err, sizeof err, "%s", scratch_path("err"));
    return shell("{ %s; } >%s 2>%s </dev/null", command, out, err);
}

static char *text_of(const char *name)
{
    FILE *file = fopen(scratch_path(name), "r");
    assert_non_null(file);
    char *text = NULL;
    size_t size = 0;
    if (getdelim(&text, &size, '\0', file) < 0)
        text[0] = '\0';
    fclose(file);
    return text;
}

static bool holds(const char *name, const char *words)
{
    char *text = text_of(name);
    bool found = strstr(text, words);
    if (!found)
        print_message("%s has: %s\n", name, text);
    free(text);
    return found;
}

static bool is_empty(const char *name)
{
    char *text = text_of(name);
    bool empty = !*text;
    if (!empty)
        print_message("%s has: %s\n", name, text);
    free(text);
    return empty;
}

#define assert_says(words) assert_true(holds("err", words))

/* ---- help and version ---- */

static const char *const commands[] = {"",       "train", "check", "probe",     "encode",
                                       "replay", "views", "bench", "selfcheck", "info"};

static void help_and_version_of_every_command(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *const asks[] = {"-h", "--help", "--version"};
        for (int ask = 0; ask < 3; ask++) {
            assert_int_equal(run("%s %s %s", program, commands[i], asks[ask]), 0);
            assert_true(is_empty("err"));
            assert_true(holds("out", ask < 2 ? "usage: p " : "(tiny, compiled by amdimc "));
        }
        assert_int_equal(run("%s %s -h", program, commands[i]), 0);
        assert_true(holds("out", *commands[i] ? "--quiet" : "--completion"));
    }
}

static void help_and_version_of_the_compiler(void **state)
{
    (void)state;
    const char *const before[] = {"",          "sweep",    "--check",      "--explain",
                                  "--emit=ir", "--emit=c", "sweep x.yaml", "x.yaml -o p"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        const char *const asks[] = {"-h", "--help", "--version"};
        for (int ask = 0; ask < 3; ask++) {
            assert_int_equal(run("%s %s %s", amdimc_path(), before[i], asks[ask]), 0);
            assert_true(is_empty("err"));
            assert_true(holds("out", ask < 2 ? "usage: amdimc " : "amdimc "));
        }
    }
}

/* ---- did you mean ---- */

static void the_compiler_says_what_was_meant(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
    } wrong[] = {
        {"--thread 3 specs/tiny.yaml",
         "amdimc: unknown option --thread; did you mean --threads? `amdimc --help`"},
        {"--batch-size=3", "unknown option --batch-size=3; did you mean --batch?"},
        {"specs/tiny.yaml --output x", "unknown option --output; did you mean -o?"},
        {"specs/tiny.yaml -Wall -o p", "amdimc: unknown option -Wall; `amdimc --help`"},
        {"-dash.yaml -o p", "amdimc: unknown option -dash.yaml; "},
        {"specs/tiny.yaml -qW", "amdimc: unknown option -qW; "},
        {"swep specs/tiny.yaml", "there is no command or file swep; did you mean sweep?"},
        {"explain specs/tiny.yaml", "did you mean --explain?"},
        {"train", "train is a command of programs: `amdimc SPEC.yaml -o PROGRAM` compiles one"},
        {"help", "did you mean --help?"},
        {"--emit=pytoch specs/tiny.yaml",
         "--emit=pytoch is not there: c, library, pytorch, onnx or ir; did you mean "
         "pytorch?"},
        {"--emit=rust specs/tiny.yaml", "onnx or ir; `amdimc --help`"},
        {"--explain=jsn specs/tiny.yaml", "did you mean json?"},
        {"--products wino", "did you mean winograd?"},
        {"--products streamd", "fastest, streamed, dots, winograd, sparse, openblas, blocked, tiles, direct "
                               "or masked; did you mean streamed?"},
        {"--weights-type flaot16", "did you mean float16?"},
        {"--completion fish", "--completion fish is not there: bash; "},
        {"sweep --epoch 3",
         "amdimc: sweep: unknown option --epoch; did you mean --epochs? `amdimc sweep --help`"},
        {"sweep specs/tiny.yaml -Wall", "amdimc: sweep: unknown option -Wall; "},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(run("%s %s", amdimc_path(), wrong[i].arguments), 2);
        assert_true(is_empty("out"));
        assert_says(wrong[i].says);
    }
    assert_int_equal(run("%s sweep specs/tiny.yaml --set lr=1e-3,2e-3 --out none", amdimc_path()), 1);
    assert_says("unknown key lr; did you mean optimizer.adam.lr?");
    assert_int_equal(run("%s --check specs/tiny.yaml --blas opnblas", amdimc_path()), 1);
    assert_says("note: did you mean openblas?");
    assert_int_equal(run("amdimc=\"$(realpath '%s')\"; cd '%s' && echo x >-Wall && \"$amdimc\" x.yaml -Wall",
                         amdimc_path(), scratch_path(".")),
                     2);
    assert_says("unknown option -Wall; a file of that name is written ./ in front; ");
}

static void programs_say_what_was_meant(void **state)
{
    (void)state;
    assert_int_equal(run("%s trian --out r", program), 2);
    assert_says("p: error: unknown command trian; did you mean train?");
    assert_int_equal(run("%s train --out r --epoch 3", program), 2);
    assert_says("did you mean --epochs?");
}

/* ---- quiet ---- */

static void quiet_commands_print_results_alone(void **state)
{
    (void)state;
    const char *run_folder = scratch_path("quiet");
    char folder[512];
    snprintf(folder, sizeof folder, "%s", run_folder);
    assert_int_equal(run("%s train --out %s --steps 25 --probe-every 1 --limit 20 --quiet", program, folder),
                     0);
    assert_true(is_empty("out") && is_empty("err"));
    assert_int_equal(run("%s train --out %s --steps 30 --resume --limit 20 -q", program, folder), 0);
    assert_true(is_empty("out") && is_empty("err"));
    assert_int_equal(run("%s train --out %s --steps 30 --quiet", program, folder), 1);
    assert_says("holds a run"); /* errors stay */
    assert_int_equal(run("%s train --out %s --steps 30 --resume -q --weights x", program, folder), 0);
    assert_says("note: --weights x is left aside"); /* and notes */
    assert_int_equal(run("%s probe -q --weights %s", program, folder), 1);
    assert_says("is a folder; did you mean ");
    assert_says("/quiet/last.safetensors?");
    assert_int_equal(run("%s views --quiet -o %s.npy", program, folder), 0);
    assert_true(is_empty("out") && is_empty("err"));
    assert_int_equal(run("%s encode -q --weights %s/last.safetensors -o %s.npy", program, folder, folder), 0);
    assert_true(is_empty("out") && is_empty("err"));
    assert_int_equal(run("%s probe -q --pixels --limit 20 --head knn", program), 0);
    assert_true(holds("out", "knn probe: ") && is_empty("err"));
    assert_int_equal(run("%s selfcheck --quiet", program), 0);
    assert_true(holds("out", "selfcheck: passed\n") && is_empty("err"));
    char *text = text_of("out");
    assert_string_equal(text, "selfcheck: passed\n");
    free(text);
}

static void a_quiet_compiler_prints_nothing(void **state)
{
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", scratch_path("."));
    assert_int_equal(run("%s specs/tiny.yaml --cc %s -o %s/q --gen-dir %s/qc --quiet", amdimc_path(),
                         quick_compiler(), folder, folder),
                     0);
    assert_true(is_empty("out") && is_empty("err"));
    assert_int_equal(run("%s specs/none.yaml -o %s/q -q", amdimc_path(), folder), 1);
    assert_says("specs/none.yaml");
}

/* ---- JSON ---- */

static void json_is_alone_on_standard_output(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *key;
    } calls[] = {
        {"probe --pixels --limit 20 --json", "accuracy"},
        {"probe --pixels --limit 20 --head knn --json --quiet", "accuracy"},
        {"bench --steps 2 --json", "step_seconds"},
        {"bench --steps 2 --json --profile", "operations"},
        {"info --json", "threads"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        assert_int_equal(run("%s %s", program, calls[i].arguments), 0);
        Json j = json_read(text_of("out"));
        assert_true(json_member(&j, 0, calls[i].key) > 0);
        assert_null(strchr(strchr(j.text, '\n') + 1, '\n')); /* one line */
        json_free(&j);
    }
    assert_int_equal(run("%s --explain=json specs/tiny.yaml", amdimc_path()), 0);
    Json j = json_read(text_of("out"));
    assert_true(json_member(&j, 0, "threads") > 0);
    json_free(&j);
    assert_int_equal(run("%s probe --json --weights none", program), 1);
    assert_true(is_empty("out"));
}

/* ---- completion ---- */

/* What bash offers for a line, its words separated by a blank, in one line. `=` is a word of its own there.
 */
static void assert_offers(const char *script, const char *function, const char *words, int at,
                          const char *offers)
{
    char *text;
    int code =
        run("bash -c 'source \"$1\"; COMP_WORDS=(%s); COMP_CWORD=%d; %s; echo \"${COMPREPLY[*]}\"' bash %s",
            words, at, function, script);
    assert_int_equal(code, 0);
    assert_true(is_empty("err"));
    text = text_of("out");
    text[strcspn(text, "\n")] = '\0';
    if (strcmp(text, offers) != 0)
        fail_msg("%s: %s, not %s", words, text, offers);
    free(text);
}

static void bash_completes_programs(void **state)
{
    (void)state;
    char script[512];
    snprintf(script, sizeof script, "%s", scratch_path("completion"));
    assert_int_equal(run("%s --completion bash >%s", program, script), 0);
    assert_int_equal(run("bash -n %s", script), 0);
    assert_offers(script, "_amdim_p", "./p tr", 1, "train");
    assert_offers(script, "_amdim_p", "./p --v", 1, "--version");
    assert_offers(script, "_amdim_p", "./p probe --h", 2, "--help --head --holdout");
    assert_offers(script, "_amdim_p", "./p probe --head k", 3, "knn");
    assert_offers(script, "_amdim_p", "./p probe --head = l", 4, "linear");
    assert_offers(script, "_amdim_p", "./p encode --split \"\"", 3, "train test");
    assert_offers(script, "_amdim_p", "./p train --epochs \"\"", 3, "");
    assert_offers(script, "_amdim_p", "./p train --data Makef", 3, "Makefile");
    assert_offers(script, "_amdim_p", "./p train --out run", 3, "runtime");
    assert_offers(script, "_amdim_p", "./p info --j", 2, "--json");
    assert_offers(script, "_amdim_p", "./p views --js", 2, "");
    assert_int_equal(run("bash -c 'source %s; complete -p p'", script), 0);
    assert_true(holds("out", "-F _amdim_p p"));
    assert_int_equal(
        run("cp %s '%s' && '%s' --completion bash >%s && bash -c 'source %s; complete -p \"it'\\''s 1\"'",
            program, scratch_path("it'\\''s 1"), scratch_path("it'\\''s 1"), script, script),
        0);
}

static void bash_completes_the_compiler(void **state)
{
    (void)state;
    char script[512];
    snprintf(script, sizeof script, "%s", scratch_path("completion"));
    assert_int_equal(
        run("%s --completion bash >%s && cmp %s docs/amdimc.bash-completion", amdimc_path(), script, script),
        0);
    assert_offers(script, "_amdimc", "amdimc sw", 1, "sweep");
    assert_offers(script, "_amdimc", "amdimc --emit = py", 3, "pytorch");
    assert_offers(script, "_amdimc", "amdimc --qu", 1, "--quiet");
    assert_offers(script, "_amdimc", "amdimc sweep --v", 2, "--version");
    assert_offers(script, "_amdimc", "amdimc specs/ti", 1, "specs/tiny.yaml");
    assert_offers(script, "_amdimc", "amdimc --completion b", 2, "bash");
}

/* Each option that --help names is offered, and the other way round. */
static void completion_and_help_name_the_same_options(void **state)
{
    (void)state;
    char script[512];
    snprintf(script, sizeof script, "%s", scratch_path("completion"));
    assert_int_equal(run("%s --completion bash >%s", amdimc_path(), script), 0);
    assert_int_equal(
        run("%s --help | grep -oE '(^|[ [])--[a-z-]+' | tr -d ' [' | sort -u >%s.said; "
            "bash -c 'source %s; COMP_WORDS=(amdimc --); COMP_CWORD=1; _amdimc; printf \"%%s\\n\" "
            "\"${COMPREPLY[@]}\"; COMP_WORDS=(amdimc sweep --); COMP_CWORD=2; _amdimc; printf \"%%s\\n\" "
            "\"${COMPREPLY[@]}\"' | sort -u >%s.offered; diff %s.said %s.offered",
            amdimc_path(), script, script, script, script, script),
        0);
}

/* ---- -o ---- */

static void a_place_that_is_not_there_is_refused_at_once(void **state)
{
    (void)state;
    char log[512];
    snprintf(log, sizeof log, "%s", scratch_path("called"));
    char commands_text[600];
    snprintf(commands_text, sizeof commands_text, "echo called >>%s", log);
    const char *cc = compiler_with(commands_text, "");
    static const char *const forms[] = {"", "--emit=pytorch", "--emit=onnx --weights w"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        /* The spec is not there either: it was not read. */
        assert_int_equal(run("%s specs/none.yaml %s --cc %s -o no/such/dir/p", amdimc_path(), forms[i], cc),
                         1);
        assert_says("amdimc: error: no/such/dir/p: no file can be made in its directory: No such file or "
                    "directory; make no/such/dir first, or");
    }
    assert_int_equal(run("%s specs/tiny.yaml --cc %s -o no/such/dir/p", amdimc_path(), cc), 1);
    assert_int_equal(run("test ! -e %s && test ! -e no", log), 0);
    assert_int_equal(run("%s specs/none.yaml -o Makefile/p", amdimc_path()), 1);
    assert_says("Makefile");
    assert_int_equal(run("%s specs/none.yaml -o specs", amdimc_path()), 1);
    assert_says("specs is a directory; name a file in it");
    assert_int_equal(run("%s --emit=c specs/none.yaml -o Makefile/c", amdimc_path()), 1);
    assert_says("Makefile/c: Makefile is no folder");
    assert_int_equal(run("%s sweep specs/none.yaml --pairs 1-to-7 --out Makefile/c", amdimc_path()), 1);
    assert_says("Makefile/c: Makefile is no folder");
    assert_int_equal(run("%s specs/none.yaml --gen-dir Makefile/c -o p", amdimc_path()), 1);
    assert_says("Makefile/c: Makefile is no folder");

    assert_int_equal(run("%s encode --weights none --data none -o no/such/f.npy", program), 1);
    assert_says("p: error: no/such/f.npy: no file can be made in its directory: No such file or directory; "
                "make no/such first");
    assert_int_equal(run("%s views --data none -o no/such/f.npy", program), 1);
    assert_says("make no/such first");
    assert_int_equal(run("%s replay --weights none --batch none -o specs", program), 1);
    assert_says("specs is a directory");
    assert_int_equal(run("%s train --data none --out Makefile/r", program), 1);
    assert_says("Makefile/r: Makefile is no folder");
}

/* ---- threads ---- */

/* An absent target.threads is what this machine has, in every account of it; the bits are the same. */
static void absent_threads_are_the_processors(void **state)
{
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", scratch_path("."));
    assert_int_equal(
        run("sed 's/threads: *[0-9]*,* *//' specs/tiny.yaml >%s/t.yaml && ! grep -q threads %s/t.yaml",
            folder, folder),
        0);
    assert_int_equal(run("%s --explain=json %s/t.yaml", amdimc_path(), folder), 0);
    Json explained = json_read(text_of("out"));
    assert_int_equal(run("nproc"), 0);
    char *processors = text_of("out");
    assert_true(json_number(&explained, 0, "threads") == atof(processors));
    assert_int_equal(run("%s --explain %s/t.yaml", amdimc_path(), folder), 0);
    char says[64];
    snprintf(says, sizeof says, "with %d thread", atoi(processors));
    assert_true(holds("out", says) && holds("out", ", as many as this machine has processors"));
    free(processors);

    assert_int_equal(
        run("%s --explain %s/t.yaml --threads 2 | { ! grep 'as many as'; }", amdimc_path(), folder), 0);

    /* As if the machine had one. */
    assert_int_equal(
        run("taskset -c \"$(taskset -pc $$ | grep -oE '[0-9]+' | tail -1)\" %s %s/t.yaml --cc %s -o %s/one "
            "--gen-dir %s/one-c",
            amdimc_path(), folder, quick_compiler(), folder, folder),
        0);
    assert_int_equal(run("%s %s/t.yaml --cc %s -o %s/all --gen-dir %s/all-c", amdimc_path(), folder,
                         quick_compiler(), folder, folder),
                     0);
    assert_int_equal(run("%s/one info --json", folder), 0);
    Json one = json_read(text_of("out"));
    assert_int_equal(run("%s/all info --json", folder), 0);
    Json all = json_read(text_of("out"));
    assert_true(json_number(&one, 0, "threads") == 1);
    assert_true(json_number(&all, 0, "threads") == json_number(&explained, 0, "threads"));
    assert_true(json_number(&all, 0, "peak_bytes") == json_number(&explained, 0, "peak_bytes"));
    if (json_number(&all, 0, "threads") > 1)
        assert_true(json_number(&all, 0, "peak_bytes") > json_number(&one, 0, "peak_bytes"));
    json_free(&one);
    json_free(&all);
    json_free(&explained);
    assert_int_equal(run("%s/one train -q --out %s/r1 --steps 4 && %s/all train -q --out %s/r2 --steps 4 && "
                         "cmp %s/r1/last.safetensors %s/r2/last.safetensors",
                         folder, folder, folder, folder, folder, folder),
                     0);
}

static int set_up(void **state)
{
    (void)state;
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    snprintf(program, sizeof program, "%s/p", folder);
    return shell("%s specs/tiny.yaml --cc %s -o %s --gen-dir %s/c", amdimc_path(), quick_compiler(), program,
                 folder);
}

static int tear_down(void **state)
{
    (void)state;
    scratch_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_version_of_every_command),
        cmocka_unit_test(help_and_version_of_the_compiler),
        cmocka_unit_test(the_compiler_says_what_was_meant),
        cmocka_unit_test(programs_say_what_was_meant),
        cmocka_unit_test(quiet_commands_print_results_alone),
        cmocka_unit_test(a_quiet_compiler_prints_nothing),
        cmocka_unit_test(json_is_alone_on_standard_output),
        cmocka_unit_test(bash_completes_programs),
        cmocka_unit_test(bash_completes_the_compiler),
        cmocka_unit_test(completion_and_help_name_the_same_options),
        cmocka_unit_test(a_place_that_is_not_there_is_refused_at_once),
        cmocka_unit_test(absent_threads_are_the_processors),
    };
    return cmocka_run_group_tests_name("manners", tests, set_up, tear_down);
}
