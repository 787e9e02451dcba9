/* join.c: a process finds the others of its training, and leaves them. */
#include "shares_internal.h"
#include <stdlib.h>
#include <unistd.h>

/* A launcher is joined once in a process's life. */
static const AmdimWire *joined;
static int number, all;

bool company_join(const AmdimModel *m, int *process, int *processes, Fault *f)
{
    if (joined == NULL && !m->wire->join(&number, &all))
        return fault(f, "the other processes cannot be joined");
    joined = m->wire;
    *process = number;
    *processes = all;
    if (all > m->shares || m->shares % all != 0)
        return fault(
            f,
            "%d processes cannot share %d ranks evenly: start as many as divide %d, or compile with another "
            "--ranks",
            all, m->shares, m->shares);
    if (number > 0)
        progress_silence();
    return true;
}

void company_part(void)
{
    if (joined != NULL)
        joined->leave();
    joined = NULL;
}

void company_end(int code)
{
    if (joined == NULL)
        return;
    if (code == 0)
        company_part();
    else
        joined->abandon(code);
}

const char *company_name(void)
{
    static char text[256];
    char host[128] = "";
    if (joined == NULL || all == 1)
        return "";
    gethostname(host, sizeof host - 1);
    snprintf(text, sizeof text, "rank %d on %s: ", number, host);
    return text;
}

void *company_allocate(size_t bytes, const char *what)
{
    enum { ALIGNMENT = 64 };
    void *memory = NULL;
    if (posix_memalign(&memory, ALIGNMENT, bytes > 0 ? bytes : ALIGNMENT) == 0)
        return memory;
    say_line(stderr, "%serror: out of memory for %s", company_name(), what);
    if (joined != NULL)
        joined->abandon(1);
    exit(1);
}
