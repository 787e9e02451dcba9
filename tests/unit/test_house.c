/* test_house.c: what must stay true of the sources as a whole: no circle of files, no arrow from the compiler
 * to the runtime. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_files_use_each_other_in_circles),
        cmocka_unit_test(the_compiler_uses_nothing_of_the_runtime),
        cmocka_unit_test(no_function_is_chosen_by_the_loader),
    };
    return cmocka_run_group_tests_name("house", tests, NULL, NULL);
}
