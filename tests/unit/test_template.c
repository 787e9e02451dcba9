/* test_template.c: holes are filled exactly, and a hole without a value or a value without a hole is said at
 * its place. */
#include "amdimc.h"
#include "samples.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *directory;

static int set_up(void **state)
{
    (void)state;
    directory = scratch_begin();
    return 0;
}

static void expand(FILE *out, const char *template, const Fill *fill, int fills)
{
    Arena *a = arena_new();
    scratch_write("a.c.tmpl", template, strlen(template));
    template_expand(a, out, directory, "a.c.tmpl", fill, fills);
    arena_free(a);
}

static void expect_text(const char *template, const Fill *fill, int fills, const char *want)
{
    char *got = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&got, &length);
    expand(out, template, fill, fills);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(got, want);
    free(got);
}

static void substitution_is_exact(void **state)
{
    (void)state;
    const Fill fill[] = {{"name", "conv_3"}, {"in", "8"}, {"in_side", "32"}, {"empty", ""}};
    expect_text("static void @name@_part(int @in@);\n@name@(@in@@in_side@)@empty@;", fill, 4,
                "static void conv_3_part(int 8);\nconv_3(832);");
}

/* What a value holds is no template: its own @...@ stays. */
static void values_are_not_expanded(void **state)
{
    (void)state;
    const Fill fill[] = {{"a", "@b@"}, {"b", "2"}};
    expect_text("@a@ @b@\n", fill, 2, "@b@ 2\n");
}

static void other_ats_are_text(void **state)
{
    (void)state;
    const Fill fill[] = {{"a", "1"}};
    expect_text("a@b.c @ @@ @A@ @a1@ @a@@ @", fill, 1, "a@b.c @ @@ @A@ @a1@ 1@ @");
}

static void template_without_holes_is_copied(void **state)
{
    (void)state;
    expect_text("int x;\n\n\treturn 0; /* % \\ */\n", NULL, 0, "int x;\n\n\treturn 0; /* % \\ */\n");
}

/* Expands in a child, which is to abort with `want` in what it says. */
static void expect_abort(const char *template, const Fill *fill, int fills, const char *want)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        expand(fopen("/dev/null", "w"), template, fill, fills);
        _exit(0);
    }
    close(pipes[1]);
    char said[1024] = {0};
    size_t count = 0;
    for (ssize_t n; (n = read(pipes[0], said + count, sizeof said - 1 - count)) > 0; count += (size_t)n)
        ;
    close(pipes[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    if (!strstr(said, want))
        fail_msg("\"%s\" is not in \"%s\"", want, said);
}

static void unknown_hole_is_said_at_its_place(void **state)
{
    (void)state;
    const Fill fill[] = {{"name", "x"}, {"in", "3"}};
    expect_abort("int @name@;\nint @in@ = @side@;\n", fill, 2,
                 "/a.c.tmpl:2:12: nothing fills the hole @side@");
    expect_abort("@nam@@name@@in@", fill, 2, "/a.c.tmpl:1:1: nothing fills the hole @nam@");
    expect_abort("\n\n  @names@@name@@in@", fill, 2, "/a.c.tmpl:3:3: nothing fills the hole @names@");
}

static void unused_value_is_named(void **state)
{
    (void)state;
    const Fill fill[] = {{"name", "x"}, {"side", "3"}};
    expect_abort("int @name@;\n", fill, 2, "/a.c.tmpl: no hole @side@");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(substitution_is_exact),
        cmocka_unit_test(values_are_not_expanded),
        cmocka_unit_test(other_ats_are_text),
        cmocka_unit_test(template_without_holes_is_copied),
        cmocka_unit_test(unknown_hole_is_said_at_its_place),
        cmocka_unit_test(unused_value_is_named),
    };
    return cmocka_run_group_tests_name("template", tests, set_up, scratch_tear_down);
}
