/* test_fuzz.c: what `make fuzz` holds, over its seeds once: every spec of specs/ and tests/errors/, whole and
 * cut short, and valid specs at random as far as C. */
#include "draw.h"
#include "spec_drawn.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "commands.h"

enum { RANDOM_SPECS = 40, CUTS = 7 };

/* tests/fuzz/spec_to_c.c; it aborts where something does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(const char *text, size_t size)
{
    assert_int_equal(LLVMFuzzerTestOneInput((const uint8_t *)text, size), 0);
}

static void test_seeds(void **state)
{
    (void)state;
    glob_t seeds;
    assert_int_equal(glob("specs/*.yaml", 0, NULL, &seeds), 0);
    assert_int_equal(glob("tests/errors/*.yaml", GLOB_APPEND, NULL, &seeds), 0);
    for (size_t i = 0; i < seeds.gl_pathc; i++) {
        size_t size;
        char *text = read_whole(seeds.gl_pathv[i], &size);
        for (size_t cut = 1; cut <= CUTS; cut++)
            take(text, size * cut / CUTS);
        free(text);
    }
    globfree(&seeds);
}

/* An error of the last pass that makes one. */
static void test_no_memory(void **state)
{
    (void)state;
    size_t size;
    char *text = read_whole("specs/tiny.yaml", &size), limited[8192];
    int length = snprintf(limited, sizeof limited, "%s\ntarget: {memory: 1KiB}\n", text);
    assert_in_range(length, size, sizeof limited - 1);
    take(limited, (size_t)length);
    free(text);
}

static void test_random_specs(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RANDOM_SPECS; seed++) {
        Arena *a = arena_new();
        Diagnostics d = {.stream = stderr};
        const Spec *drawn = draw_spec(a, seed);
        char *text = spec_drawn(a, drawn);
        Source source = {drawn->name.v, text, strlen(text)};
        const Spec *read = spec_read(a, &d, &source, &(Overrides){0});
        assert_non_null(read);
        assert_true(spec_equal(a, drawn, read));
        assert_non_null(net_build(a, &d, read));
        take(text, source.length);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_random_specs),
    };
    return cmocka_run_group_tests_name("fuzz", tests, NULL, NULL);
}
