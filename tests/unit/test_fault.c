/* test_fault.c: a fault is one line whatever goes into it, and memory that cannot be had is one. */
#include "runtime.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_faults_are_formatted(void **state)
{
    (void)state;
    Fault f;
    assert_false(fault(&f, "%s: %d", "here", 7));
    assert_string_equal(f.text, "here: 7");
    errno = ENOENT;
    assert_false(fault_errno(&f, "%s", "file"));
    assert_string_equal(f.text, "file: No such file or directory");
}

static void test_faults_can_be_wrapped(void **state)
{
    (void)state;
    Fault f;
    fault(&f, "too small");
    fault(&f, "a.png: %s", f.text);
    assert_string_equal(f.text, "a.png: too small");
}

static void test_faults_are_one_line(void **state)
{
    (void)state;
    Fault f;
    char name[3000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memcpy(name, "a\nb\tc", 5);
    errno = ENOENT;
    fault_errno(&f, "%s", name);
    assert_memory_equal(f.text, "a?b?cx", 6);
    assert_int_equal(strlen(f.text), sizeof f.text - 1);
}

/* The end of a long line is the reason. */
static void test_the_reason_stays(void **state)
{
    (void)state;
    Fault f;
    char path[4096];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    errno = ENOSPC;
    fault_errno(&f, "cannot write %s", path);
    assert_int_equal(f.error, ENOSPC);
    assert_non_null(strstr(f.text, "cannot write ppp"));
    assert_non_null(strstr(f.text, "ppp ... ppp"));
    assert_string_equal(strrchr(f.text, ':'), ": No space left on device");
    fault(&f, "%s: %s", f.text, "besides");
    assert_int_equal(f.error, 0);
}

static void test_memory_is_aligned(void **state)
{
    (void)state;
    Fault f;
    for (size_t bytes = 0; bytes < 200; bytes += 33) {
        uint8_t *plain = allocate(bytes, "a test", &f), *zero = allocate_zero(bytes, "a test", &f);
        assert_non_null(plain);
        assert_non_null(zero);
        assert_int_equal((uintptr_t)plain % 64, 0);
        assert_int_equal((uintptr_t)zero % 64, 0);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(zero[i], 0);
        free(plain);
        free(zero);
    }
}

static void test_too_much_memory_is_a_fault(void **state)
{
    (void)state;
    Fault f;
    assert_null(allocate(SIZE_MAX, "the moon", &f)); /* rounding up would overflow */
    assert_non_null(strstr(f.text, "out of memory"));
    assert_non_null(strstr(f.text, "the moon"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults_are_formatted), cmocka_unit_test(test_faults_can_be_wrapped),
        cmocka_unit_test(test_faults_are_one_line),  cmocka_unit_test(test_the_reason_stays),
        cmocka_unit_test(test_memory_is_aligned),    cmocka_unit_test(test_too_much_memory_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
