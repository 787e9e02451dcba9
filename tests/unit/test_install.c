/* test_install.c: `make install` and `make uninstall`, and a checkout, in folders of awkward names. */
#include "samples.h"
#include "shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *folder;

/* The make that runs the tests has options and variables of its own. */
static int make(const char *arguments)
{
    const char *build = getenv("BUILD");
    return shell("env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s %s BUILD=%s", arguments,
                 build && *build ? build : "build");
}

static void expect_installed_and_removed(const char *prefix, const char *quoted)
{
    char arguments[1024];
    snprintf(arguments, sizeof arguments, "install %s", quoted);
    assert_int_equal(make(arguments), 0);
    assert_int_equal(
        shell("\"%s/bin/amdimc\" specs/tiny.yaml --cc %s -o \"%s/bin/tiny\" --gen-dir \"%s/c\" && "
              "\"%s/bin/tiny\" info",
              prefix, quick_compiler(), prefix, prefix, prefix),
        0);
    assert_int_equal(shell("echo mine >\"%s/share/amdimc/specs/mine.yaml\"", prefix), 0);
    snprintf(arguments, sizeof arguments, "uninstall %s", quoted);
    assert_int_equal(make(arguments), 0);
    assert_int_equal(
        shell(
            "cd \"%s\" && rm -r c && find . | sort | tr '\\n' ' ' >%s/said && grep -Fxq \". ./bin ./bin/tiny "
            "./share ./share/amdimc ./share/amdimc/specs ./share/amdimc/specs/mine.yaml \" %s/said",
            prefix, folder, folder),
        0);
}

static void into_a_prefix_with_blanks(void **state)
{
    (void)state;
    char prefix[512], quoted[600];
    assert_int_equal(shell("mkdir %s/in && echo thesis >%s/in/thesis", folder, folder), 0);
    snprintf(prefix, sizeof prefix, "%s/in st'all \\$x", folder);
    snprintf(quoted, sizeof quoted, "PREFIX=\"%s/in st'all \\$\\$x\"", folder);
    expect_installed_and_removed(prefix, quoted);
    assert_int_equal(shell("grep -q thesis %s/in/thesis && test ! -e st", folder), 0);
}

static void into_a_destination_with_blanks(void **state)
{
    (void)state;
    char prefix[512], quoted[600];
    snprintf(prefix, sizeof prefix, "%s/stage d/opt/my stuff", folder);
    snprintf(quoted, sizeof quoted, "DESTDIR=\"%s/stage d\" PREFIX=\"/opt/my stuff\"", folder);
    expect_installed_and_removed(prefix, quoted);
}

static void uninstall_leaves_what_install_did_not_write(void **state)
{
    (void)state;
    assert_int_equal(
        shell("mkdir -p \"%s/my stuff/lib/amdimc\" \"%s/my stuff/bin\" %s/my && echo x >%s/my/thesis && "
              "echo x >\"%s/my stuff/bin/amdimc\"",
              folder, folder, folder, folder, folder),
        0);
    char arguments[600];
    snprintf(arguments, sizeof arguments, "uninstall PREFIX=\"%s/my stuff\"", folder);
    assert_int_equal(make(arguments), 0);
    assert_int_equal(shell("test -e %s/my/thesis && test -d \"%s/my stuff/lib/amdimc\" && test -e "
                           "\"%s/my stuff/bin/amdimc\"",
                           folder, folder, folder),
                     0);
}

/* Folders that were there, empty, are not install's; one that is installed into twice is still known. */
static void uninstall_leaves_folders_that_were_there(void **state)
{
    (void)state;
    char arguments[600];
    assert_int_equal(shell("mkdir -p %s/p/bin %s/p/share/man/man1", folder, folder), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(arguments, sizeof arguments, "install PREFIX=%s/p", folder);
        assert_int_equal(make(arguments), 0);
    }
    snprintf(arguments, sizeof arguments, "uninstall PREFIX=%s/p", folder);
    assert_int_equal(make(arguments), 0);
    assert_int_equal(
        shell("cd %s/p && test \"$(find . | sort | tr '\\n' ' ')\" = \". ./bin ./share ./share/man "
              "./share/man/man1 \"",
              folder),
        0);
}

/* Objects are taken along, as it is not the building of each that is tested; one is built there, as they
 * were. */
static void builds_and_runs_in_a_checkout_with_blanks(void **state)
{
    (void)state;
    const char *build = getenv("BUILD");
    build = build && *build ? build : "build";
    assert_int_equal(shell("mkdir \"%s/it's my stuff\" && "
                           "cp -a Makefile LICENSE docs tools compiler runtime support templates specs "
                           "\"%s/it's my stuff\" && "
                           "mkdir \"%s/it's my stuff/build\" && cd %s && "
                           "cp -a amdimc libamdim.a compiler runtime support \"%s/it's my stuff/build\"",
                           folder, folder, folder, build, folder),
                     0);
    assert_int_equal(
        shell("cd \"%s/it's my stuff\" && touch support/clock.c compiler/main.c && "
              "export ${BUILD_CFLAGS:+CFLAGS=\"$BUILD_CFLAGS\"} PATH && "
              "env -u BUILD -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s all && test build/amdimc -nt "
              "compiler/main.c && "
              "env -u BUILD -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s install PREFIX=-inst && test -x "
              "./-inst/bin/amdimc && "
              "env -u BUILD -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s uninstall PREFIX=-inst && test -z "
              "\"$(ls "
              "./-inst)\"",
              folder),
        0);
    assert_int_equal(shell("cd \"%s/it's my stuff\" && cp specs/tiny.yaml ./-dash.yaml && "
                           "build/amdimc --cc %s -o -x --gen-dir @c -- -dash.yaml && ./-x info",
                           folder, quick_compiler()),
                     0);
    assert_int_equal(
        shell("cd \"%s/it's my stuff\" && build/amdimc --emit=c specs/tiny.yaml -o 'a c' && cd 'a c' && "
              "env -u BUILD -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -j2 CFLAGS=-O0 tiny && ./tiny info",
              folder),
        0);
}

static void refuses_a_build_folder_that_make_cannot_name(void **state)
{
    (void)state;
    assert_int_not_equal(
        shell("env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD='a b' clean 2>%s/said", folder), 0);
    assert_int_equal(shell("grep -q \"BUILD='a b': name a folder\" %s/said", folder), 0);
}

static int set_up(void **state)
{
    (void)state;
    folder = scratch_begin();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(into_a_prefix_with_blanks),
        cmocka_unit_test(into_a_destination_with_blanks),
        cmocka_unit_test(uninstall_leaves_what_install_did_not_write),
        cmocka_unit_test(uninstall_leaves_folders_that_were_there),
        cmocka_unit_test(builds_and_runs_in_a_checkout_with_blanks),
        cmocka_unit_test(refuses_a_build_folder_that_make_cannot_name),
    };
    return cmocka_run_group_tests_name("install", tests, set_up, scratch_tear_down);
}
