/* join.c: a process finds the others of its training, and leaves them. */
#include "shares_internal.h"
#include <stdlib.h>
#include <unistd.h>

/* A launcher is joined once in a process's life. */
static const AmdimWire *joined;
static int number, all;

static bool join(const AmdimWire *wire, Fault *f)
{
    if (!wire->join(&number, &all))
        return fault(f, "the other processes cannot be joined");
    joined = wire;
    return all == 1 || watch_begin(wire, number, all, f);
}

bool company_join(const AmdimModel *m, int *process, int *processes, Fault *f)
{
    if (joined == NULL && !join(m->wire, f))
        return false;
    *process = number;
    *processes = all;
    if (all > m->shares || m->shares % all != 0) {
        fault(
            f,
            "%d processes cannot share %d ranks evenly: start as many as divide %d, or compile with another "
            "--ranks",
            all, m->shares, m->shares);
        return company_fails(f);
    }
    if (number > 0)
        progress_silence();
    return true;
}

/* Who is watched no more can be missed no more: first all must have come here. */
static void meet_last(void)
{
    enum { MOST = 4096 }; /* processes */
    char here = 0, there[MOST];
    joined->gather(&here, there, 1);
}

void company_part(void)
{
    if (joined == NULL)
        return;
    if (all > 1)
        meet_last();
    watch_part();
    joined->leave();
    joined = NULL;
}

bool company_fails(Fault *f)
{
    company_part();
    if (number > 0)
        f->text[0] = '\0';
    return false;
}

void company_end(int code)
{
    if (joined == NULL)
        return;
    if (code == 0) {
        company_part();
        return;
    }
    watch_fail(code);
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
    company_end(1);
    exit(1);
}
