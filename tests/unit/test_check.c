/* test_check.c: check lists each file that is wrong, with its reason, in the order of the files, and nothing
 * else. */
#include "commands.h"
#include "samples.h"
#include "toy_model.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <png.h>
#include <cmocka.h>

static void write_pictures(const char *split, int count)
{
    Sample sample = sample_plain(20, 18, 1, 2, 3);
    for (int i = 0; i < 2 * count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/%c/%04d.png", split, 'a' + i / count, i % count);
        scratch_write(name, sample.bytes, sample.count);
    }
    free(sample.bytes);
}

static int check_at(int threads, char **text, Fault *f)
{
    Options o = no_options(&toy_model);
    static char dir[1024];
    snprintf(dir, sizeof dir, "%s", scratch_path("."));
    dir[strlen(dir) - 2] = '\0';
    o.data = dir;
    o.threads = threads;
    *f = (Fault){.error = 0};
    return run_to_text(command_check, &toy_model, &o, text, f);
}

static void test_whole_data_are_well(void **state)
{
    (void)state;
    char *text;
    Fault f;
    write_pictures("train", 3);
    write_pictures("test", 2);
    assert_int_equal(check_at(2, &text, &f), 0);
    assert_string_equal(text, "10 pictures read, 0 wrong\n");
    free(text);
}

/* What is wrong is of five kinds, in both splits and in several chunks. */
static void test_all_that_is_wrong_is_listed(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"train/a/0001.png", "neither a JPEG nor a PNG file"},
        {"train/a/1100.png", "an empty file"},
        {"train/a/1200.png", "damaged PNG file"},
        {"train/b/0000.png", "a named pipe"},
        {"train/b/1299.png", "damaged JPEG file"},
        {"test/a/0001.png", "damaged PNG file"},
    };
    write_pictures("train", 1300);
    write_pictures("test", 2);
    scratch_write(wrong[0][0], "hello", 5);
    scratch_write(wrong[1][0], "", 0);
    scratch_write(wrong[2][0], "\x89PNG\r\n\x1a\n", 8);
    assert_int_equal(remove(scratch_path(wrong[3][0])), 0);
    assert_int_equal(mkfifo(scratch_path(wrong[3][0]), 0600), 0);
    scratch_write(wrong[4][0], "\xff\xd8\xff\xe0", 4);
    scratch_write(wrong[5][0], "\x89PNG\r\n\x1a\n", 8);
    for (int threads = 1; threads <= 3; threads++) {
        char *text, *rest, *line;
        Fault f;
        assert_int_equal(check_at(threads, &text, &f), 1);
        assert_non_null(strstr(f.text, "6 "));
        rest = text;
        for (size_t i = 0; i < COUNT(wrong); i++) {
            line = strsep(&rest, "\n");
            if (!rest || !strstr(line, wrong[i][0]) || !strstr(line, wrong[i][1]))
                fail_msg("%s (should name %s: %s)", line, wrong[i][0], wrong[i][1]);
        }
        assert_string_equal(rest, "2604 pictures read, 6 wrong\n");
        free(text);
    }
}

static void test_a_split_may_be_absent_or_broken(void **state)
{
    (void)state;
    char *text;
    Fault f;
    write_pictures("train", 2);
    assert_int_equal(check_at(1, &text, &f), 0);
    assert_string_equal(text, "4 pictures read, 0 wrong\n");
    free(text);
    write_pictures("test", 1);
    write_pictures("test/c", 1); /* a class that train/ lacks */
    assert_int_equal(check_at(1, &text, &f), 1);
    assert_non_null(strstr(text, "test/c: "));
    assert_non_null(strstr(text, "\n6 pictures read, 1 wrong\n"));
    free(text);
}

/* That there is no test split is not wrong, even where the training split cannot be opened. */
static void test_a_broken_split_alone_is_wrong_once(void **state)
{
    (void)state;
    char *text;
    Fault f;
    scratch_write("train.npy", "hello", 5);
    assert_int_equal(check_at(1, &text, &f), 1);
    assert_non_null(strstr(text, "train.npy: "));
    assert_non_null(strstr(text, "\n0 pictures read, 1 wrong\n"));
    free(text);
}

/* A class without pictures hides nothing of the others. */
static void test_what_is_wrong_with_folders_hides_no_picture(void **state)
{
    (void)state;
    char *text;
    Fault f;
    write_pictures("train", 2);
    scratch_write("train/a/0001.png", "hello", 5);
    scratch_write("train/empty/notes.txt", "hello", 5);
    write_pictures("test", 1);
    scratch_write("test/unknown/0.png", "hello", 5);
    scratch_write("test/b/0000.png", "hello", 5);
    assert_int_equal(check_at(2, &text, &f), 1);
    const char *const wrong[] = {"train/empty: no .jpg", "train/a/0001.png: neither",
                                 "test/unknown: a class that the training split lacks",
                                 "test/b/0000.png: neither", "6 pictures read, 4 wrong\n"};
    const char *at = text;
    for (size_t i = 0; i < COUNT(wrong); i++)
        if (!(at = strstr(at, wrong[i])))
            fail_msg("no %s in its place in:\n%s", wrong[i], text);
    free(text);
}

static void test_no_data_are_wrong_once(void **state)
{
    (void)state;
    char *text;
    Fault f;
    assert_int_equal(check_at(1, &text, &f), 1);
    assert_ptr_equal(strchr(text, '\n') + 1, strstr(text, "0 pictures read, 1 wrong\n"));
    free(text);
}

/* What cannot be listed is not said to hold no pictures. */
static void test_a_folder_that_may_not_be_read_is_wrong_once(void **state)
{
    (void)state;
    char *text;
    Fault f;
    write_pictures("train", 2);
    assert_int_equal(chmod(scratch_path("train/b"), 0), 0);
    if (!as_others(true))
        skip();
    int code = check_at(1, &text, &f);
    assert_true(as_others(false));
    assert_int_equal(chmod(scratch_path("train/b"), 0700), 0);
    assert_int_equal(code, 1);
    if (!strstr(text, "train/b: Permission denied\n2 pictures read, 1 wrong\n"))
        fail_msg("%s", text);
    free(text);
}

/* A picture that training would refuse for its size is refused here. */
static void test_the_promise_counts(void **state)
{
    (void)state;
    enum { SIDE = 600 };
    const AmdimModel m = {.data_bytes = 1 << 20, .decoding_bytes = 1 << 19, .peak_bytes = 5 << 20},
                     any = {.data_bytes = SIZE_MAX, .decoding_bytes = SIZE_MAX};
    char *text;
    Fault f;
    uint8_t *pixels = calloc(3, SIDE * SIDE);
    assert_non_null(pixels);
    write_pictures("train", 2);
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        Sample sample = sample_png((PngKind){SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, interlaced}, pixels, NULL);
        scratch_write(interlaced ? "train/b/x1.png" : "train/b/x0.png", sample.bytes, sample.count);
        free(sample.bytes);
    }
    /* Of this one the row alone would fit, but not what two views hold of it. */
    Sample wide = sample_png((PngKind){25000, 1, 8, PNG_COLOR_TYPE_RGB, 0}, pixels, NULL);
    scratch_write("train/b/x2.png", wide.bytes, wide.count);
    free(wide.bytes);
    free(pixels);
    decoding_allow(&m);
    int code = check_at(2, &text, &f);
    decoding_allow(&any);
    assert_int_equal(code, 1);
    assert_non_null(strstr(text, "train/b/x1.png: an interlaced PNG file of 600 x 600 pixels"));
    assert_non_null(strstr(text, "train/b/x2.png: a PNG file of 25000 x 1 pixels"));
    assert_non_null(strstr(text, "\n7 pictures read, 2 wrong\n"));
    free(text);
}

/* In a process of its own, which says what it found before it reads pictures for seconds. */
static void test_a_signal_ends_it(void **state)
{
    (void)state;
    enum { SIDE = 2000, PICTURES = 60 };
    Sample sample = sample_plain(SIDE, SIDE, 1, 2, 3);
    for (int i = 0; i < PICTURES; i++) {
        char name[32];
        snprintf(name, sizeof name, "train/a/%02d.png", i);
        scratch_write(name, sample.bytes, sample.count);
    }
    free(sample.bytes);
    Options o = no_options(&toy_model);
    o.data = scratch_path("");
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        Fault f;
        dup2(ends[1], STDERR_FILENO);
        if (!freopen("/dev/null", "w", stdout))
            _exit(99);
        _exit(command_check(&toy_model, &o, &f));
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGINT), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_data_are_well, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_all_that_is_wrong_is_listed, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_wrong_with_folders_hides_no_picture, scratch_set_up,
                                        scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_a_broken_split_alone_is_wrong_once, scratch_set_up,
                                        scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_a_split_may_be_absent_or_broken, scratch_set_up,
                                        scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_no_data_are_wrong_once, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_may_not_be_read_is_wrong_once, scratch_set_up,
                                        scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_the_promise_counts, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_a_signal_ends_it, scratch_set_up, scratch_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
