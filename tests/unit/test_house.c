/* test_house.c: what must stay true of the sources as a whole: no circle of files, no arrow from the compiler
 * to the runtime, nothing of a system in what libraries are made of. */
#include "samples.h"
#include "shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *build_folder(void)
{
    const char *folder = getenv("BUILD");
    return folder ? folder : "build";
}

static void no_files_use_each_other_in_circles(void **state)
{
    (void)state;
    const char *build = build_folder();
    assert_int_equal(shell("tests/circles '%s/compiler' '%s/support'", build, build), 0);
    assert_int_equal(shell("tests/circles '%s/runtime' '%s/support'", build, build), 0);
}

static void the_compiler_uses_nothing_of_the_runtime(void **state)
{
    (void)state;
    assert_int_equal(shell("find runtime -name '*.h' -exec basename '{}' ';' | while read -r header; do "
                           "! grep -rn \"#include \\\"$header\\\"\" compiler support || exit 1; done"),
                     0);
}

/* Sanitizers are not ready when the loader chooses (IFUNC, target_clones): a program would end at its start.
 */
static void no_function_is_chosen_by_the_loader(void **state)
{
    (void)state;
    assert_int_equal(shell("nm '%s/libamdim.a' | grep -q ' T adam_update$'", build_folder()), 0);
    assert_int_equal(shell("nm '%s/libamdim.a' | grep ' i '", build_folder()), 1);
}

/* ---- runtime/portable, whose sources amdimc takes apart and makes libraries of ---- */

#define PORTABLE "runtime/portable/*.[ch]"
#define STRICT   "-std=c11 -Wall -Wextra -Wpedantic -Wmissing-prototypes -Werror"

static const char *const compilers[] = {"gcc", "clang"};

static void portable_sources_include_each_other_and_no_system(void **state)
{
    (void)state;
    assert_int_equal(shell("cat " PORTABLE " | grep -E '^ *# *include' | tr -d '<>\"' | sort -u | "
                           "while read -r directive header; do case $header in "
                           "math.h | string.h | stdbool.h | stddef.h | stdint.h) ;; "
                           "*) test -f runtime/portable/$header || exit 1 ;; esac; done"),
                     0);
}

static void portable_sources_have_no_conditions_but_guards(void **state)
{
    (void)state;
    assert_int_equal(shell("! grep -hE '^ *#' " PORTABLE " | grep -vE "
                           "'^#(include .*|ifndef [A-Z]+_H|define [A-Z]+_H|endif)$'"),
                     0);
}

static void libraries_have_every_portable_source(void **state)
{
    (void)state;
    assert_int_equal(
        shell("for source in " PORTABLE "; do "
              "grep -q \"\\\"${source##*/}\\\"\" compiler/library/emit_library.c || exit 1; done"),
        0);
}

static void portable_sources_want_little(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof compilers / sizeof *compilers; i++) {
        assert_int_equal(shell("root=$PWD && cd '%s' && rm -f *.o && "
                               "%s " STRICT " -ffreestanding -O1 -c \"$root\"/runtime/portable/*.c",
                               scratch_path("."), compilers[i]),
                         0);
        assert_int_equal(shell("cd '%s' && nm *.o | awk '$2 == \"T\" {print $3}' >own && test -s own && "
                               "! nm -u *.o | awk '$1 == \"U\" {print $2}' | grep -vxFf own | grep -vxE "
                               "'memcpy|memset|memmove|_GLOBAL_OFFSET_TABLE_|"
                               "(ceil|copysign|cos|exp|fabs|floor|fmax|fmin|log|nearbyint|pow|sin|sqrt)f?'",
                               scratch_path(".")),
                         0);
        assert_int_equal(shell("! nm '%s'/*.o | grep -E ' [bBcCdD] '", scratch_path(".")), 0);
    }
}

/* A name that two of them have, or one of them and a header of templates/, would mean both. */
static void portable_names_are_their_own(void **state)
{
    (void)state;
    assert_int_equal(
        shell("printf '#include \"%%s\"\\n' kernels.h vectors.h float32.h streamed.h sparse.h masked.h "
              "model.h \"$PWD\"/runtime/portable/*.c >'%s'",
              scratch_path("one.c")),
        0);
    for (size_t i = 0; i < sizeof compilers / sizeof *compilers; i++)
        assert_int_equal(shell("%s " STRICT " -Wno-unused-function -DINLINE='static inline' "
                               "-Itemplates -Iruntime -fsyntax-only '%s'",
                               compilers[i], scratch_path("one.c")),
                         0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_files_use_each_other_in_circles),
        cmocka_unit_test(the_compiler_uses_nothing_of_the_runtime),
        cmocka_unit_test(no_function_is_chosen_by_the_loader),
        cmocka_unit_test(portable_sources_include_each_other_and_no_system),
        cmocka_unit_test(portable_sources_have_no_conditions_but_guards),
        cmocka_unit_test(libraries_have_every_portable_source),
        cmocka_unit_test(portable_sources_want_little),
        cmocka_unit_test(portable_names_are_their_own),
    };
    return cmocka_run_group_tests_name("house", tests, scratch_set_up, scratch_tear_down);
}
