/* test_target.c: what cannot be compiled for is refused in one line, before anything is compiled. */
#include "samples.h"
#include "shell.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    (void)state;
    scratch_begin();
    char *path = realpath(amdimc_path(), NULL), *spec = realpath("specs/tiny.yaml", NULL);
    setenv("AMDIMC", path, 1);
    setenv("SPEC", spec, 1);
    free(path);
    free(spec);
    return 0;
}

/* One line, the exit code 1, and nothing made. */
static void refuses(const char *arguments, const char *words)
{
    const int got =
        shell("cd %s && \"$AMDIMC\" %s \"$SPEC\" -o made --gen-dir generated 2>said; code=$?; cat said; "
              "test $(wc -l <said) = 1 && test ! -e made && test ! -e generated && grep -qF -e '%s' said && "
              "exit $code; "
              "exit 99",
              scratch_path(""), arguments, words);
    if (got != 1)
        fail_msg("%s: exit %d, not 1 saying `%s`", arguments, got, words);
}

static void machines_that_clang_does_not_know(void **state)
{
    (void)state;
    refuses("--target bogus", "--target bogus: ");
    refuses("--target bogus", "aarch64-linux-gnu");
    refuses("--target xtensa-esp32-elf", "knows no such machine");
    refuses("--target arc-linux", "knows no such machine"); /* whose types clang knows */
    refuses("--emit=c --target xtensa", "knows no such machine");
    refuses("--emit=library --target bogus-none-eabi", "thumbv7em-none-eabihf");
}

static void processors_that_clang_does_not_know(void **state)
{
    (void)state;
    refuses("--march z80", "--march z80: ");
    refuses("--target x86_64-linux-gnu --march z80", "--target=x86_64-linux-gnu -print-supported-cpus");
    refuses("--target aarch64-linux-gnu --march haswell", "of aarch64-linux-gnu");
    refuses("--target aarch64-linux-gnu --march native", "--march native: ");
    refuses("--emit=library --target riscv64-linux-gnu --march armv8-a", "knows no such processor");
}

/* Of a spec at its place, whatever is made of it, as long as it has to do with the processor. */
static void processors_of_a_spec(void **state)
{
    (void)state;
    static const char *const made[] = {"--check", "--explain", "--emit=ir", "-o made"};
    for (size_t i = 0; i < COUNT(made); i++)
        assert_int_equal(
            shell(
                "cd %s && { cat \"$SPEC\"; echo 'target: {march: z80}'; } >z80.yaml && "
                "line=$(wc -l <z80.yaml) && { \"$AMDIMC\" %s z80.yaml >printed 2>said; test $? = 1; } && "
                "test ! -s printed && test ! -e made && "
                "grep -q \"^z80.yaml:$line:17: error: target.march z80: .*knows no such processor\" said && "
                "tail -n1 said | grep -q '\\^~~$'",
                scratch_path(""), made[i]),
            0);
    refuses("--check --march z80", "--march z80: ");
    assert_int_equal(
        shell("cd %s && \"$AMDIMC\" --check --cc ./none --march z80 \"$SPEC\"", scratch_path("")), 0);
}

/* Which clang lists, and does not take as -march: architectures it takes. */
static void processors_where_architectures_are_wanted(void **state)
{
    (void)state;
    refuses("--emit=c --target aarch64-linux-gnu --march cortex-a72", "an architecture is wanted");
    refuses("--emit=library --target thumbv7em-none-eabihf --march cortex-m7", "armv7e-m");
}

/* Clang has code for them, and the machine's C library has none. */
static void processors_that_the_library_is_not_for(void **state)
{
    (void)state;
    if (shell("echo 'int main(void) { return 0; }' | clang --target=arm-linux-gnueabihf -x c - -o %s/probe "
              "2>%s/probe.log",
              scratch_path(""), scratch_path("")) != 0)
        skip();
    refuses("--target arm-linux-gnueabihf --march armv7e-m", "--march armv7e-m: the C library of");
}

static void machines_without_a_system_or_a_library(void **state)
{
    (void)state;
    refuses("--target thumbv7em-none-eabihf", "--emit=library");
    refuses("--target riscv32-unknown-elf", "needs an operating system");
    refuses("--emit=c --target thumbv7em-none-eabihf", "needs an operating system");
    refuses("--target sparc64-linux-gnu", "make setup-cross");
    refuses("--ranks 2 --static", "a program of 2 ranks is for this machine");
}

static void a_compiler_that_is_none_or_not_there(void **state)
{
    (void)state;
    refuses("--static --cc ./none", "./none: not found; install clang");
    refuses("--static --cc false", "false: compiles no C");
    refuses("--target aarch64-linux-gnu --cc ./none", "./none: not found; install clang");
}

/* The spec's own errors come first; a folder for a machine that clang knows needs no library of it. */
static void says_what_matters_first(void **state)
{
    (void)state;
    assert_int_equal(shell("cd %s && sed 's/1-to-7/1-to-6/' \"$SPEC\" >wrong.yaml && \"$AMDIMC\" --target "
                           "bogus wrong.yaml -o made "
                           "2>said; test $? = 1 && grep -q 'no 6x6 scale' said && ! grep -q bogus said",
                           scratch_path("")),
                     0);
    assert_int_equal(shell("cd %s && \"$AMDIMC\" --emit=c --target sparc64-linux-gnu \"$SPEC\" -o folder && "
                           "\"$AMDIMC\" --emit=library --target thumbv7em-none-eabihf \"$SPEC\" -o library",
                           scratch_path("")),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_that_clang_does_not_know),
        cmocka_unit_test(processors_that_clang_does_not_know),
        cmocka_unit_test(processors_of_a_spec),
        cmocka_unit_test(processors_where_architectures_are_wanted),
        cmocka_unit_test(processors_that_the_library_is_not_for),
        cmocka_unit_test(machines_without_a_system_or_a_library),
        cmocka_unit_test(a_compiler_that_is_none_or_not_there),
        cmocka_unit_test(says_what_matters_first),
    };
    return cmocka_run_group_tests_name("target", tests, set_up, scratch_tear_down);
}
