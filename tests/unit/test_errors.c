/* test_errors.c: every spec in tests/errors is refused with exactly the diagnostics beside it.
 *
 * BLESS=1 in the environment rewrites the expected diagnostics; the difference is for a reader to judge. */
#include "amdimc.h"

#include <glob.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* All that the compiler says of the spec at `path`; the caller frees it. */
static char *diagnose(const char *path, int *errors)
{
    char *said = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&said, &length);
    assert_non_null(stream);
    Diagnostics d = {.stream = stream};
    Arena *a = arena_new();
    Source *source = source_read(a, &d, path);
    assert_non_null(source);
    source->name = base_name(path);
    Spec *spec = spec_read(a, &d, source, &(Overrides){0});
    Net *net = spec ? net_build(a, &d, spec) : NULL;
    assert_null(net);
    *errors = d.errors;
    arena_free(a);
    fclose(stream);
    return said;
}

static char *read_expected(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is missing; BLESS=1 writes it", path);
    char *text = NULL;
    size_t capacity = 0;
    if (getdelim(&text, &capacity, '\0', file) < 0)
        fail_msg("%s is empty", path);
    fclose(file);
    return text;
}

static void bless(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void refused_as_expected(void **state)
{
    const char *spec = *state;
    char expected[512];
    int errors;
    int stem = (int)(strlen(spec) - strlen(".yaml"));
    snprintf(expected, sizeof expected, "%.*s.expected", stem, spec);
    char *said = diagnose(spec, &errors);
    assert_true(errors > 0);
    if (getenv("BLESS"))
        bless(expected, said);
    char *wanted = read_expected(expected);
    assert_string_equal(said, wanted);
    free(wanted);
    free(said);
}

int main(void)
{
    glob_t specs;
    if (glob("tests/errors/*.yaml", 0, NULL, &specs) != 0) {
        fprintf(stderr, "test_errors: no tests/errors/*.yaml here; run it from the project's root\n");
        return EXIT_FAILURE;
    }
    struct CMUnitTest *tests = calloc(specs.gl_pathc, sizeof *tests);
    if (!tests)
        return EXIT_FAILURE;
    for (size_t i = 0; i < specs.gl_pathc; i++)
        tests[i] = (struct CMUnitTest){base_name(specs.gl_pathv[i]), refused_as_expected, NULL, NULL,
                                       specs.gl_pathv[i]};
    int failed = _cmocka_run_group_tests("errors", tests, specs.gl_pathc, NULL, NULL);
    free(tests);
    globfree(&specs);
    return failed;
}
