/* test_file.c: a file is there whole or not at all, one program at a time writes it, and what is no file is
 * never waited for. */
#include "samples.h"
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char path[512], temporary[520], previous[512];

static int set_up(void **state)
{
    scratch_set_up(state);
    snprintf(path, sizeof path, "%s", scratch_path("file"));
    snprintf(temporary, sizeof temporary, "%s", scratch_path(".file.amdim-tmp"));
    snprintf(previous, sizeof previous, "%s", scratch_path("before"));
    return 0;
}

static void write_text(const char *text, const char *keep)
{
    NewFile n;
    Fault f = {.error = 0};
    if (!file_create(&n, path, &f))
        fail_msg("%s", f.text);
    fputs(text, n.stream);
    if (!file_commit_keeping(&n, keep, &f))
        fail_msg("%s", f.text);
}

static void expect_text(const char *where, const char *text)
{
    char found[64] = "";
    FILE *stream = fopen(where, "r");
    assert_non_null(stream);
    assert_true(fread(found, 1, sizeof found - 1, stream) <= sizeof found);
    fclose(stream);
    assert_string_equal(found, text);
}

static bool is_there(const char *where)
{
    struct stat status;
    return lstat(where, &status) == 0;
}

static void test_replaces_and_keeps_the_mode(void **state)
{
    (void)state;
    struct stat status;
    write_text("one", NULL);
    assert_int_equal(chmod(path, 0600), 0);
    write_text("two", NULL);
    expect_text(path, "two");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_false(is_there(temporary));
}

static void test_keeps_what_it_replaces(void **state)
{
    (void)state;
    unlink(path);
    write_text("one", previous); /* nothing is there to be kept */
    assert_false(is_there(previous));
    write_text("two", previous);
    expect_text(previous, "one");
    write_text("three", previous);
    expect_text(previous, "two");
    expect_text(path, "three");
    /* As after a kill between the link and the rename: both names are one file's. */
    unlink(previous);
    assert_int_equal(link(path, previous), 0);
    write_text("four", previous);
    expect_text(previous, "three");
    expect_text(path, "four");
}

static void test_discards(void **state)
{
    (void)state;
    NewFile n;
    Fault f;
    write_text("one", NULL);
    assert_true(file_create(&n, path, &f));
    fputs("two", n.stream);
    file_discard(&n);
    file_discard(&n);
    expect_text(path, "one");
    assert_false(is_there(temporary));
}

static void test_takes_the_name_of_a_dead_writer(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        NewFile n;
        Fault f;
        if (file_create(&n, path, &f))
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_true(is_there(temporary));
    write_text("mine", NULL);
    expect_text(path, "mine");
    assert_false(is_there(temporary));
}

static void test_one_writer_at_a_time(void **state)
{
    (void)state;
    NewFile first, second;
    Fault f;
    assert_true(file_create(&first, path, &f));
    assert_false(file_create(&second, path, &f));
    assert_non_null(strstr(f.text, "another program is writing it"));
    fputs("first", first.stream);
    assert_true(file_commit(&first, &f));
    expect_text(path, "first");
}

/* Somebody else's link in the temporary's place is not written through. */
static void test_no_link_is_followed_at_the_temporary(void **state)
{
    (void)state;
    char target[512];
    snprintf(target, sizeof target, "%s", scratch_path("target"));
    scratch_write("target", "old", 3);
    assert_int_equal(symlink(target, temporary), 0);
    write_text("new", NULL);
    expect_text(target, "old");
    expect_text(path, "new");
}

static void test_a_link_to_the_file_is_followed(void **state)
{
    (void)state;
    char target[512];
    snprintf(target, sizeof target, "%s", scratch_path("target"));
    scratch_write("target", "old", 3);
    unlink(path);
    assert_int_equal(symlink(target, path), 0);
    write_text("new", NULL);
    expect_text(target, "new");
    unlink(path);
}

static void test_says_why_it_cannot_be_written(void **state)
{
    (void)state;
    NewFile n;
    Fault f;
    assert_true(file_create(&n, "/dev/full", &f));
    for (int i = 0; i < 100000; i++)
        fputs("much", n.stream);
    errno = 0;
    assert_false(file_commit(&n, &f));
    assert_string_equal(f.text, "cannot write /dev/full: No space left on device");
    assert_true(file_create(&n, "/dev/full", &f));
    for (int i = 0; i < 100000; i++)
        fputs("much", n.stream);
    errno = ENOTTY;
    assert_false(file_fault(&n, &f));
    assert_string_equal(f.text, "cannot write /dev/full: No space left on device");
    file_discard(&n);
}

static void test_removes_what_is_left_over(void **state)
{
    (void)state;
    static const char *const names[] = {"file", "other"};
    static const char *const gone[] = {".file.amdim-tmp", ".other.amdim-tmp", "file.tmp-999999999"};
    static const char *const stay[] = {"file.tmp", "file.tmp-", "file.tmp-12x", ".mine.amdim-tmp"};
    Fault f;
    NewFile busy;
    char alive[64];
    snprintf(alive, sizeof alive, "file.tmp-%ld", (long)getppid());
    scratch_write(alive, "", 0);
    for (size_t i = 0; i < 3; i++)
        scratch_write(gone[i], "", 0);
    for (size_t i = 0; i < 4; i++)
        scratch_write(stay[i], "", 0);
    assert_true(file_remove_left_over(scratch_path("."), names, 2, &f));
    for (size_t i = 0; i < 3; i++)
        assert_false(is_there(scratch_path(gone[i])));
    for (size_t i = 0; i < 4; i++)
        assert_true(is_there(scratch_path(stay[i])));
    assert_true(is_there(scratch_path(alive)));

    assert_true(file_create(&busy, path, &f));
    assert_true(file_remove_left_over(scratch_path("."), names, 2, &f));
    assert_true(is_there(temporary));
    file_discard(&busy);
}

static void expect_refused(const char *what, const char *reason)
{
    Fault f;
    alarm(5);
    assert_int_equal(file_open_to_read(what, &f), -1);
    alarm(0);
    if (!strstr(f.text, what) || !strstr(f.text, reason))
        fail_msg("%s", f.text);
}

static void test_only_files_are_read(void **state)
{
    (void)state;
    Fault f;
    int descriptor;
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_refused(path, "it is a named pipe, not a file");
    unlink(path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    int bound = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(bound, (struct sockaddr *)&address, sizeof address), 0);
    expect_refused(path, "it is a socket or a device, not a file");
    close(bound);
    unlink(path);
    expect_refused(path, "No such file or directory");
    expect_refused("/dev/zero", "it is a device, not a file");
    expect_refused("/", "it is a folder, not a file");
    scratch_write("file", "text", 4);
    assert_true((descriptor = file_open_to_read(path, &f)) >= 0);
    close(descriptor);
}

static void test_a_pipe_that_nobody_reads(void **state)
{
    (void)state;
    NewFile n;
    Fault f;
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(5);
    assert_false(file_create(&n, path, &f));
    alarm(0);
    assert_non_null(strstr(f.text, "a pipe that nobody reads"));
    unlink(path);
}

static int temporaries(void)
{
    DIR *folder = opendir(scratch_path("."));
    const struct dirent *entry;
    int found = 0;
    assert_non_null(folder);
    while ((entry = readdir(folder)))
        found += strstr(entry->d_name, ".amdim-tmp") != NULL;
    closedir(folder);
    return found;
}

/* Names as long as there are, beside which one with an ending would be too long; two of them at once. */
static void test_names_as_long_as_there_are(void **state)
{
    (void)state;
    static const char *const text[] = {"one", "other"};
    char name[2][NAME_MAX + 1], where[2][sizeof path + NAME_MAX];
    NewFile n[2];
    Fault f = {.error = 0};
    const int before = temporaries();
    for (int length = NAME_MAX - 11; length <= NAME_MAX; length++) {
        for (int i = 0; i < 2; i++) {
            memset(name[i], 'a' + i, (size_t)length);
            name[i][length] = '\0';
            snprintf(where[i], sizeof where[i], "%s", scratch_path(name[i]));
            if (!file_create(&n[i], where[i], &f))
                fail_msg("of %d bytes: %s", length, f.text);
            fputs(text[i], n[i].stream);
        }
        for (int i = 0; i < 2; i++) {
            assert_true(file_commit(&n[i], &f));
            expect_text(where[i], text[i]);
        }
        assert_int_equal(temporaries(), before);
    }
}

/* What is too long is said before anything is written. */
static void test_names_longer_than_there_are(void **state)
{
    (void)state;
    char name[NAME_MAX + 2];
    NewFile n;
    Fault f = {.error = 0};
    memset(name, 'x', NAME_MAX + 1);
    name[NAME_MAX + 1] = '\0';
    assert_false(file_may_be_made(scratch_path(name), &f));
    assert_non_null(strstr(f.text, "no file can have this name: File name too long"));
    assert_false(file_create(&n, scratch_path(name), &f));
    assert_non_null(strstr(f.text, "File name too long"));
}

/* The temporary of such a name goes, too. */
static void test_removes_what_is_left_of_long_names(void **state)
{
    (void)state;
    char name[NAME_MAX + 1];
    Fault f;
    memset(name, 'x', NAME_MAX);
    name[NAME_MAX] = '\0';
    const char *const names[] = {name};
    const int before = temporaries();
    pid_t child = fork();
    if (child == 0) {
        NewFile n;
        if (file_create(&n, scratch_path(name), &f))
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(temporaries(), before + 1);
    assert_true(file_remove_left_over(scratch_path("."), names, 1, &f));
    assert_int_equal(temporaries(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaces_and_keeps_the_mode),
        cmocka_unit_test(test_keeps_what_it_replaces),
        cmocka_unit_test(test_discards),
        cmocka_unit_test(test_takes_the_name_of_a_dead_writer),
        cmocka_unit_test(test_one_writer_at_a_time),
        cmocka_unit_test(test_no_link_is_followed_at_the_temporary),
        cmocka_unit_test(test_a_link_to_the_file_is_followed),
        cmocka_unit_test(test_says_why_it_cannot_be_written),
        cmocka_unit_test(test_removes_what_is_left_over),
        cmocka_unit_test(test_only_files_are_read),
        cmocka_unit_test(test_a_pipe_that_nobody_reads),
        cmocka_unit_test(test_names_as_long_as_there_are),
        cmocka_unit_test(test_names_longer_than_there_are),
        cmocka_unit_test(test_removes_what_is_left_of_long_names),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
