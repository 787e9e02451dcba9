/* test_emit_c.c: the folder that --emit=c writes. It builds with clang and with gcc, with and without the
 * libraries, without a warning; what is built replays as the interpreter in double does. */
#include "samples.h"
#include "shell.h"
#include "trial.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Small, but with products by OpenBLAS when the command line asks for it. */
static const char heads[] = "name: heads\ninput: {size: 6}\nviews: 1\nbatch: 3\n"
                            "encoder:\n"
                            "  - conv: {out: 9, kernel: 3}\n"
                            "  - conv: {out: 40, kernel: 3, activation: none}\n"
                            "  - residual: {out: 40, kernel: 2}\n"
                            "embedding: {dim: 40, batchnorm: true}\n"
                            "loss: {pairs: [1-to-2, 2-to-2], clip: 0}\n";

static char folder[256];

/* ---- helpers ---- */

/* What the last command that was asked for it said, by malloc. */
static char *read_said(void)
{
    return tensor_file_read(scratch_path("said")).bytes;
}

static void begin(Trial *t, const char *name, const char *text, const char *options)
{
    trial_begin(t, name, text, 21);
    snprintf(t->program, sizeof t->program, "%s/%s.c/%s", folder, name, name);
    assert_int_equal(shell("%s --emit=c %s %s -o %s/%s.c", amdimc_path(), t->spec, options, folder, name), 0);
}

/* A make of its own: what the make that runs the tests was told is none of its business. */
static int make_in(const char *name, const char *arguments)
{
    return shell("cd %s/%s.c && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make %s >../said 2>&1", folder, name,
                 arguments);
}

/* It says what it has built, and nothing more: no warning of any kind. */
static void build(const char *name, const char *arguments, const char *what)
{
    char silent[512], expected[128];
    snprintf(silent, sizeof silent, "-s -j2 %s", arguments);
    snprintf(expected, sizeof expected, "built %s %s\n", name, what);
    int code = make_in(name, silent);
    char *said = read_said();
    if (code || strcmp(said, expected))
        fail_msg("make %s: exit %d, not \"%s\" but:\n%s", arguments, code, expected, said);
    free(said);
}

/* Of tiny, what `info` would call its processor, were it built with these arguments. */
static void expect_built_for(const char *arguments, const char *march)
{
    char dry[256];
    snprintf(dry, sizeof dry, "-n build/tiny.o %s", arguments);
    assert_int_equal(make_in("tiny", dry), 0);
    if (shell("grep -qF -e '-DBUILT_MARCH='\\''\"%s\"'\\' %s/said", march, folder))
        fail_msg("make %s: not for %s:\n%s", arguments, march, read_said());
}

/* ---- tests ---- */

static void builds_with_either_compiler(void **state)
{
    (void)state;
    TensorFile text = tensor_file_read("specs/tiny.yaml");
    Trial t;
    begin(&t, "tiny", text.bytes, "");
    build("tiny", "CC=clang CFLAGS='-O1 -Wall -Wextra -Wpedantic'", "with JPEG, with PNG");
    trial_expect_replay(&t, t.name);
    expect_built_for("CC='gcc -march=x86-64-v2' MARCH= CFLAGS=-O1", "x86-64-v2");
    expect_built_for("CC=gcc CFLAGS='-O1 -march=haswell'", "haswell"); /* behind the planned one */
    expect_built_for("CC=gcc CFLAGS=-O1 MARCH=-mcpu=native", "-mcpu=native");
    expect_built_for("CC=gcc CFLAGS=-O1 MARCH=", "baseline");
    build("tiny", "CC=gcc CFLAGS='-O1 -Wall -Wextra -Wpedantic'", "with JPEG, with PNG");
    trial_expect_replay(&t, t.name);
    /* It says what it was built by and for, not what was planned. */
    assert_int_equal(shell("%s info | grep -qF \"GCC $(gcc -dumpfullversion)\" && "
                           "%s info | grep -qF \"$(gcc -dumpmachine), march native\"",
                           t.program, t.program),
                     0);
    assert_int_equal(shell("%s train --out %s/run --steps 3", t.program, folder), 0);
    trial_end(&t);
    free(text.bytes);
}

/* Of tiny, as the test before left it. */
static void builds_again_what_has_changed(void **state)
{
    (void)state;
    static const char same[] = "-q CC=gcc CFLAGS='-O1 -Wall -Wextra -Wpedantic'";
    char without[128];
    snprintf(without, sizeof without, "%s JPEG=0", same);
    assert_int_equal(make_in("tiny", same), 0);
    assert_int_equal(shell("touch %s/tiny.c/kernels.h", folder), 0);
    assert_int_equal(make_in("tiny", same), 1);
    assert_int_equal(make_in("tiny", "-t CC=gcc CFLAGS='-O1 -Wall -Wextra -Wpedantic'"), 0);
    assert_int_equal(make_in("tiny", same), 0);
    assert_int_equal(make_in("tiny", without), 1);
    assert_int_equal(make_in("tiny", "clean"), 0);
    assert_int_equal(shell("test ! -e %s/tiny.c/tiny && test ! -e %s/tiny.c/build", folder, folder), 0);
}

/* A picture that the program has no library for. */
static void expect_refused(const Trial *t, const char *picture, const char *library)
{
    assert_int_equal(shell("mkdir -p %s/%s.data/train/a %s/%s.data/test/a && cp %s/%s %s/%s.data/train/a && "
                           "cp %s/%s %s/%s.data/test/a",
                           folder, library, folder, library, folder, picture, folder, library, folder,
                           picture, folder, library),
                     0);
    assert_int_equal(shell("%s views --data %s/%s.data -o %s/views.npy 2>%s/said", t->program, folder,
                           library, folder, folder),
                     1);
    char *said = read_said(), line[512];
    snprintf(line, sizeof line, "%s: this program was built without %s; install lib", picture, library);
    if (!strstr(said, line) || strchr(said, '\n') != said + strlen(said) - 1)
        fail_msg("not one line with \"%s\" but:\n%s", line, said);
    free(said);
}

static void write_pictures(void)
{
    static const uint8_t pixels[3 * 16];
    Sample jpeg = sample_jpeg(4, 4, 3, pixels), png = sample_plain(4, 4, 1, 2, 3);
    scratch_write("a.jpg", jpeg.bytes, jpeg.count);
    scratch_write("a.png", png.bytes, png.count);
    free(jpeg.bytes);
    free(png.bytes);
}

/* A library that is not found is left out unasked, here libjpeg, whose header cannot be used. */
static void builds_without_libraries(void **state)
{
    (void)state;
    Trial t;
    begin(&t, "heads", heads, "--products openblas");
    build("heads", "CC=gcc CFLAGS='-O1 -Wall -Wextra'", "with JPEG, with PNG, with OpenBLAS");
    trial_expect_replay(&t, t.name);
    scratch_write("none/jpeglib.h", "#error none\n", 12);
    build("heads", "CC=gcc CFLAGS='-O1 -Wall -Wextra' CPPFLAGS=-I../none PNG=0 BLAS=0",
          "without JPEG, without PNG, without OpenBLAS");
    trial_expect_replay(&t, t.name);
    assert_int_equal(shell("%s info | grep -q 'blas none'", t.program), 0);
    write_pictures();
    expect_refused(&t, "a.jpg", "JPEG");
    expect_refused(&t, "a.png", "PNG");
    trial_end(&t);
}

/* What OpenBLAS makes in one model may be all that a header of the other is for. */
static void has_the_headers_of_both_models(void **state)
{
    (void)state;
    static const char wide[] = "name: wide\ninput: {size: 4}\nbatch: 64\nencoder:\n"
                               "  - conv: {out: 2048, kernel: 2, stride: 2, activation: none}\n"
                               "  - conv: {out: 1024, kernel: 1}\n"
                               "embedding: {dim: 16}\nloss: {pairs: [2-to-2]}\n";
    Trial t;
    begin(&t, "wide", wide, "--march x86-64-v3");
    assert_int_equal(
        shell("cd %s/wide.c && grep -q blas.h wide.c && ! grep -q blas.h without-openblas/wide.c", folder),
        0);
    assert_int_equal(
        shell("cd %s/wide.c && clang -std=c17 -D_GNU_SOURCE -I. -Iruntime -Isupport -march=x86-64-v3 -Wall "
              "-Wextra -Werror -fsyntax-only without-openblas/wide.c",
              folder),
        0);
    trial_end(&t);
}

/* The same spec gives the same bytes, none of which say where they were made. */
static void holds_the_spec_and_no_traces(void **state)
{
    (void)state;
    assert_int_equal(shell("%s --emit=c specs/tiny.yaml --batch 8 -o %s/one", amdimc_path(), folder), 0);
    assert_int_equal(shell("%s --emit=c specs/tiny.yaml --batch 8 -o %s/two", amdimc_path(), folder), 0);
    assert_int_equal(shell("diff -r %s/one %s/two", folder, folder), 0);
    assert_int_equal(shell("cmp specs/tiny.yaml %s/one/tiny.yaml", folder), 0);
    assert_int_equal(shell("grep -q 'tiny.yaml and the options .--batch 8.;' %s/one/README.md", folder), 0);
    assert_int_equal(shell("grep -rF \"$PWD\" %s/one", folder), 1);
    assert_int_equal(shell("grep -rF %s %s/one", folder, folder), 1);
}

static void refuses_names_of_its_own(void **state)
{
    (void)state;
    char text[sizeof heads + 16];
    snprintf(text, sizeof text, "name: runtime%s", strchr(heads, '\n'));
    scratch_write("runtime.yaml", text, strlen(text));
    assert_int_equal(
        shell("%s --emit=c %s/runtime.yaml -o %s/refused 2>%s/said", amdimc_path(), folder, folder, folder),
        1);
    char *said = read_said();
    assert_non_null(strstr(said, "runtime.yaml:1:7: error: a folder of C has a `runtime` of its own: "));
    free(said);
    assert_int_equal(shell("test -e %s/refused", folder), 1);
}

static void overwrites_nobody_elses_files(void **state)
{
    (void)state;
    scratch_write("taken/Makefile", "all:\n", 5);
    assert_int_equal(
        shell("%s --emit=c specs/tiny.yaml -o %s/taken 2>%s/said", amdimc_path(), folder, folder), 1);
    char *said = read_said();
    assert_non_null(strstr(said, "/taken/Makefile: there already, and not by amdimc; "));
    free(said);
    TensorFile left = tensor_file_read(scratch_path("taken/Makefile"));
    assert_string_equal(left.bytes, "all:\n");
    free(left.bytes);
    assert_int_equal(shell("test $(ls %s/taken) = Makefile", folder), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_with_either_compiler),   cmocka_unit_test(builds_again_what_has_changed),
        cmocka_unit_test(builds_without_libraries),      cmocka_unit_test(has_the_headers_of_both_models),
        cmocka_unit_test(holds_the_spec_and_no_traces),  cmocka_unit_test(refuses_names_of_its_own),
        cmocka_unit_test(overwrites_nobody_elses_files),
    };
    return cmocka_run_group_tests_name("emit_c", tests, set_up, scratch_tear_down);
}
