/* test_processor.c: a program whose OpenBLAS is older than the processor begins again, with kernels that the
 * processor has; and only then. */
#include "processor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char variable[] = "OPENBLAS_CORETYPE", again[] = "again";
enum { RESTARTED = 10, RETURNED = 11 };

/* What a process ends with that has loaded an OpenBLAS with `core`'s kernels. */
static int exit_code_with(const char *core, const char *set)
{
    const pid_t child = fork();
    if (!child) {
        char name[] = "test_processor", argument[sizeof again];
        memcpy(argument, again, sizeof again);
        if (set ? setenv(variable, set, 1) : unsetenv(variable))
            _exit(1);
        processor_begin_again_for_openblas(core, (char *[]){name, argument, NULL});
        _exit(RETURNED);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool has_avx2(void)
{
#if defined __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static void test_older_than_the_processor(void **state)
{
    (void)state;
    assert_int_equal(exit_code_with("Prescott", NULL), has_avx2() ? RESTARTED : RETURNED);
}

static void test_what_the_user_said(void **state)
{
    (void)state;
    assert_int_equal(exit_code_with("Prescott", "Prescott"), RETURNED);
}

static void test_of_its_age(void **state)
{
    (void)state;
    assert_int_equal(exit_code_with("Haswell", NULL), RETURNED);
    assert_int_equal(exit_code_with("SkylakeX", NULL), RETURNED);
}

/* Begun again: the variable names kernels that are no fewer than AVX2's. */
static int begun_again(void)
{
    const char *core = getenv(variable);
    return core && (!strcmp(core, "Haswell") || !strcmp(core, "SkylakeX")) ? RESTARTED : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], again))
        return begun_again();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_older_than_the_processor),
        cmocka_unit_test(test_what_the_user_said),
        cmocka_unit_test(test_of_its_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
