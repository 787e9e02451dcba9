/* standard.c: standard input, output and error, there from the beginning.
 *
 * A program that was started without one (`2>&-`) would give its number to the first file it opens, and then
 * write messages into it. */
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void standard_streams_open(void)
{
    /* Nobody misses messages; results that go nowhere are a failed write, as they would be without us. */
    static const int mode[] = {
        [STDIN_FILENO] = O_RDONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_WRONLY};
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
        if (fcntl(i, F_GETFD) < 0 && errno == EBADF && open("/dev/null", mode[i]) != i)
            _Exit(EXIT_FAILURE); /* without /dev/null there is nowhere to say so */
}
