/* test_npy.c: arrays as NumPy reads them, and files that are whole or not there. */
#include "commands.h"
#include "samples.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void write_floats(const char *path, int rank, const int64_t *dims, const float *data, size_t count)
{
    Fault f = {.error = 0};
    NpyWriter w;
    assert_true(npy_open(&w, path, "<f4", rank, dims, &f));
    assert_true(npy_give(&w, data, count / 2 * sizeof *data, &f));
    assert_true(npy_give(&w, data + count / 2, (count - count / 2) * sizeof *data, &f));
    assert_true(npy_commit(&w, &f));
}

static void check_file(const char *path, const char *dictionary, const float *data, size_t count)
{
    size_t bytes;
    char *whole = read_whole(path, &bytes);
    size_t header = (size_t)(unsigned char)whole[8] + 256 * (size_t)(unsigned char)whole[9];
    assert_memory_equal(whole, "\x93NUMPY\x01\x00", 8);
    assert_int_equal((10 + header) % 64, 0);
    assert_memory_equal(whole + 10, dictionary, strlen(dictionary));
    for (size_t i = strlen(dictionary); i + 1 < header; i++)
        assert_int_equal(whole[10 + i], ' ');
    assert_int_equal(whole[10 + header - 1], '\n');
    assert_int_equal(bytes, 10 + header + count * sizeof *data);
    assert_memory_equal(whole + 10 + header, data, count * sizeof *data);
    free(whole);
}

static void test_shapes(void **state)
{
    (void)state;
    const float data[] = {1, -2, 3.5f, 4, 5, 6};
    const char *path = scratch_path("a.npy");
    write_floats(path, 2, (int64_t[]){2, 3}, data, 6);
    check_file(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", data, 6);
    write_floats(path, 1, (int64_t[]){5}, data, 5);
    check_file(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", data, 5);
    write_floats(path, 0, NULL, data, 1);
    check_file(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", data, 1);
}

static void assert_files(int expected)
{
    int found = 0;
    DIR *folder = opendir(scratch_path("."));
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        found++;
    closedir(folder);
    assert_int_equal(found, expected + 2); /* . and .. */
}

static void test_what_is_missing_is_refused(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    NpyWriter w;
    const char *path = scratch_path("a.npy");
    const float old = 7;
    write_floats(path, 1, (int64_t[]){1}, &old, 1);
    assert_true(npy_open(&w, path, "<f4", 1, (int64_t[]){2}, &f));
    assert_true(npy_give(&w, &old, sizeof old, &f));
    assert_false(npy_commit(&w, &f));
    assert_non_null(strstr(f.text, "promised 8 bytes and given 4"));
    check_file(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &old, 1);
    assert_files(1);
}

static void test_discarding_leaves_the_old_file(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    NpyWriter w;
    const char *path = scratch_path("a.npy");
    const float old = 7;
    write_floats(path, 1, (int64_t[]){1}, &old, 1);
    assert_true(npy_open(&w, path, "<f4", 1, (int64_t[]){2}, &f));
    npy_discard(&w);
    npy_discard(&w);
    check_file(path, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &old, 1);
    assert_files(1);
}

static void test_links_are_followed(void **state)
{
    (void)state;
    const float data = 3;
    char link[512];
    struct stat status;
    snprintf(link, sizeof link, "%s", scratch_path("link.npy"));
    scratch_write("target.npy", "", 0);
    assert_int_equal(symlink("target.npy", link), 0);
    write_floats(link, 1, (int64_t[]){1}, &data, 1);
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    check_file(scratch_path("target.npy"), "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &data,
               1);
}

static void test_devices_are_written_not_replaced(void **state)
{
    (void)state;
    struct stat status;
    const float data = 3;
    write_floats("/dev/null", 1, (int64_t[]){1}, &data, 1);
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
}

static void test_errors_name_the_file(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    NpyWriter w;
    assert_false(npy_open(&w, scratch_path("none/a.npy"), "<f4", 0, NULL, &f));
    assert_non_null(strstr(f.text, "cannot create "));
    assert_non_null(strstr(f.text, "none/a.npy: No such file or directory"));
    assert_false(npy_open(&w, scratch_path("."), "<f4", 0, NULL, &f));
    assert_non_null(strstr(f.text, "Is a directory"));
}

/* The failure is found at the latest when what is buffered goes out. */
static void test_full_disks_are_reported(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    NpyWriter w;
    struct stat status;
    if (stat("/dev/full", &status) != 0)
        skip();
    const float data[2] = {1, 2};
    assert_true(npy_open(&w, "/dev/full", "<f4", 1, (int64_t[]){2}, &f));
    assert_true(npy_give(&w, data, sizeof data, &f));
    assert_false(npy_commit(&w, &f));
    assert_string_equal(f.text, "cannot write /dev/full: No space left on device");
}

static void test_paths_are_joined(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *path = path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shapes, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_missing_is_refused, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_discarding_leaves_the_old_file, scratch_set_up,
                                        scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_links_are_followed, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_errors_name_the_file, scratch_set_up, scratch_tear_down),
        cmocka_unit_test(test_devices_are_written_not_replaced),
        cmocka_unit_test(test_full_disks_are_reported),
        cmocka_unit_test(test_paths_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
