/* test_children.c: whoever gives up while its children run tells them to end, and waits until they have
 * saved.
 */
#include "build/build.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A program that takes a while to save, once it is told to end. */
static const char saves[] =
    "trap 'sleep 0.3; echo saved > saved; exit 0' TERM; echo > \"$1\"; while :; do sleep 0.05; done";
/* A compiler that does not hear. */
static const char is_deaf[] = "trap '' TERM; echo > \"$1\"; while :; do sleep 0.05; done";

static int set_up(void **state)
{
    (void)state;
    return chdir(scratch_begin());
}

static int tear_down(void **state)
{
    (void)state;
    if (chdir("/"))
        return 1;
    scratch_end();
    return 0;
}

static void start(Children *c, const char *script, const char *begun, bool is_compiler)
{
    const char *argv[] = {"/bin/sh", "-c", script, "sh", begun, NULL};
    if (children_start(c, &(Child){.argv = argv, .log = "log", .is_compiler = is_compiler}) < 0)
        _exit(99);
}

static void wait_for_file(const char *path)
{
    while (access(path, F_OK))
        usleep(1000);
}

/* What a copy of this process ends with that gives up in the midst of it. */
static int exit_code_of_giving_up(void (*begin)(Children *c))
{
    const pid_t child = fork();
    if (!child) {
        Children c;
        alarm(30);
        children_watch(&c);
        begin(&c);
        out_of_memory();
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void begin_two(Children *c)
{
    start(c, saves, "first", false);
    start(c, "trap 'exit 0' TERM; echo > \"$1\"; while :; do sleep 0.05; done", "second", false);
    wait_for_file("first");
    wait_for_file("second");
}

static void programs_save_before_we_end(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of_giving_up(begin_two), EXIT_FAILED);
    assert_int_equal(access("saved", F_OK), 0);
}

static void begin_compiler(Children *c)
{
    start(c, is_deaf, "first", true);
    wait_for_file("first");
}

/* By what is not heard but felt: else the alarm would end us. */
static void compilers_are_not_waited_for_long(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of_giving_up(begin_compiler), EXIT_FAILED);
}

static void begin_none(Children *c)
{
    start(c, "exit 3", "none", false);
    if (WEXITSTATUS(children_next(c).status) != 3)
        _exit(99);
}

static void nothing_is_waited_for_where_nothing_runs(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of_giving_up(begin_none), EXIT_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(programs_save_before_we_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(compilers_are_not_waited_for_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_waited_for_where_nothing_runs, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
