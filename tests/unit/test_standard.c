/* test_standard.c: no file ever gets the number of a standard stream that was closed. */
#include "support.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ALL = 7 };

static bool is_null(int descriptor)
{
    struct stat here, null;
    return !fstat(descriptor, &here) && !stat("/dev/null", &null) && here.st_rdev == null.st_rdev;
}

/* In a child: closes those of the set, has them opened, and looks at what is there. */
static bool holds_with_closed(unsigned set)
{
    struct stat before[3], after;
    for (int i = 0; i < 3; i++)
        if (set >> i & 1)
            close(i);
        else if (fstat(i, &before[i]))
            return false;
    standard_streams_open();
    for (int i = 0; i < 3; i++)
        if (set >> i & 1 ? !is_null(i) : fstat(i, &after) || after.st_ino != before[i].st_ino)
            return false;
    char byte = 0;
    int next = open("/dev/null", O_RDONLY);
    return next > STDERR_FILENO && (!(set & 1) || read(STDIN_FILENO, &byte, 1) == 0) &&
           (!(set & 2) || write(STDOUT_FILENO, &byte, 1) < 0) &&
           (!(set & 4) || write(STDERR_FILENO, &byte, 1) == 1);
}

static void test_every_set_of_closed_streams(void **state)
{
    (void)state;
    for (unsigned set = 0; set <= ALL; set++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0)
            _exit(holds_with_closed(set) ? 0 : 1);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_set_of_closed_streams)};
    return cmocka_run_group_tests_name("standard", tests, NULL, NULL);
}
