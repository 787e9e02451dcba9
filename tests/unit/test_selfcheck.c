/* test_selfcheck.c: `selfcheck` passes a program that is right, and fails one whose kernels somebody broke.
 */
#include "samples.h"
#include "shell.h"
#include "tensor_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[256];

static bool is_changed(const char *header)
{
    return shell("cmp -s %s/c/%s templates/%s", folder, header, header) == 1;
}

/* A processor with vectors alone, which this machine can stand in for. */
#if defined __x86_64__
#define VECTORS_ALONE "x86-64"
#else
#define VECTORS_ALONE "native"
#endif

/* Compiles with the kernels as the script for sed leaves them and runs; what is said goes to `said`. */
static int selfcheck_with(const char *script)
{
    char sed[1024];
    snprintf(sed, sizeof sed, "sed -i '%s' %s/c/kernels.h %s/c/vectors.h", script, folder, folder);
    assert_int_equal(shell("%s specs/tiny.yaml --blas none --march %s --cc %s -o %s/tiny --gen-dir %s/c",
                           amdimc_path(), VECTORS_ALONE, compiler_with(sed, "-O1"), folder, folder),
                     0);
    assert_true((is_changed("kernels.h") || is_changed("vectors.h")) == (*script != '\0'));
    return shell("%s/tiny selfcheck >%s/said", folder, folder);
}

static void expect_last_line(const char *begin)
{
    TensorFile said = tensor_file_read(scratch_path("said"));
    assert_true(said.count > 0 && said.bytes[said.count - 1] == '\n');
    said.bytes[said.count - 1] = '\0';
    const char *last = strrchr(said.bytes, '\n');
    if (!last || strncmp(last + 1, begin, strlen(begin)) != 0)
        fail_msg("the last line is no \"%s\" in:\n%s", begin, said.bytes);
    free(said.bytes);
}

static void expect_failure(const char *script, const char *begin)
{
    assert_int_equal(selfcheck_with(script), 1);
    expect_last_line(begin);
}

static void passes_what_is_right(void **state)
{
    (void)state;
    assert_int_equal(selfcheck_with(""), 0);
    expect_last_line("selfcheck: passed");
    assert_int_equal(shell("grep -q '^encoder.3 .*2 of 2 tensors' %s/said", folder), 0);
    assert_int_equal(shell("grep -q '^embed.7 .*6 of 6 tensors' %s/said", folder), 0);
    assert_int_equal(shell("%s/tiny selfcheck --threads 1 >%s/said", folder, folder), 0);
    expect_last_line("selfcheck: passed");
}

static void fails_without_a_bias(void **state)
{
    (void)state;
    expect_failure("s/sum.r..v. += load(t->bias.*;/(void)t->bias;/; s/sum += load(bias);/(void)bias;/; "
                   "s/sum = sum + bias + addend;/sum += addend;/",
                   "selfcheck: FAILED: the gradient of");
}

static void fails_without_a_mask(void **state)
{
    (void)state;
    expect_failure(
        "s/sum.r..v. = where_positive(load(t->mask.*;/(void)t->mask;/; "
        "s/sum = where_positive(load(mask), sum);/(void)mask;/; s/return tail .* sum;/return sum;/",
        "selfcheck: FAILED: the gradient of");
}

static void fails_with_one_row_for_all_of_a_gradient(void **state)
{
    (void)state;
    expect_failure("s/left = a.r == height - 1 ? last : r.;/left = a[0];/",
                   "selfcheck: FAILED: the gradient of");
}

/* A sum that depends on how often it was asked for. */
static void fails_what_does_not_repeat(void **state)
{
    (void)state;
    expect_failure(
        "s/sum.r..v. += load(t->bias[^;]*/& + 1e-6f * asked()/; "
        "s/^INLINE void tile_begin/static float asked(void)\\n{\\n    static unsigned times;\\n    "
        "return (float)(times++ % 1021);\\n}\\n\\n&/",
        "selfcheck: FAILED: ");
    assert_int_equal(shell("grep -q '^the step again, on .*: DIFFERENT' %s/said", folder), 0);
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
        cmocka_unit_test(passes_what_is_right),
        cmocka_unit_test(fails_without_a_bias),
        cmocka_unit_test(fails_without_a_mask),
        cmocka_unit_test(fails_with_one_row_for_all_of_a_gradient),
        cmocka_unit_test(fails_what_does_not_repeat),
    };
    return cmocka_run_group_tests_name("selfcheck", tests, set_up, scratch_tear_down);
}
