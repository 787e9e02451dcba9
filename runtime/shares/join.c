/* join.c: a process finds the others of its training, and leaves them. */
#include "shares_internal.h"
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* A launcher is joined once in a process's life. */
static const AmdimWire *joined;
static int number, all;
static bool together; /* all processes come to the same end, good or bad */

/* Whether a launcher has started this process: all of them leave their word in the environment. Without one
 * nothing of MPI is begun, which would take time and memory, and want a launcher's helpers to be installed.
 */
static bool is_launched(void)
{
    static const char *const names[] = {
        "OMPI_COMM_WORLD_RANK", "PMIX_RANK",         "PMI_RANK",       "PMI_ID",
        "SLURM_STEP_NUM_TASKS", "MPI_LOCALRANKID",   "FLUX_TASK_RANK", "PALS_RANKID",
        "MV2_COMM_WORLD_RANK",  "JSM_NAMESPACE_RANK"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (getenv(names[i]) != NULL)
            return true;
    return false;
}

static bool join(const AmdimWire *wire, Fault *f)
{
    all = 1;
    if (!is_launched())
        return true;
    if (!wire->join(&number, &all))
        return fault(f, "the other processes cannot be joined");
    joined = wire;
    return all == 1 || watch_begin(wire, number, all, f);
}

bool company_join(const AmdimModel *m, int *process, int *processes, Fault *f)
{
    if (all == 0 && !join(m->wire, f))
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

int company_launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    int most = 1;
    for (size_t i = 0; i < COUNT(names); i++) {
        const char *text = getenv(names[i]);
        const long processes = text != NULL ? strtol(text, NULL, 10) : 0;
        if (processes > most && processes <= INT_MAX)
            most = (int)processes;
    }
    return most;
}

/* Who is watched no more can be missed no more: first all must have come here. */
static void meet_last(void)
{
    enum { MOST = 4096 }; /* processes */
    char here = 0, there[MOST];
    joined->gather(&here, there, 1);
}

static void part(void)
{
    if (all > 1)
        meet_last();
    watch_part();
    joined->leave();
    joined = NULL;
}

void company_ends_together(void)
{
    together = true;
}

bool company_fails(Fault *f)
{
    company_ends_together();
    if (number > 0)
        f->text[0] = '\0';
    return false;
}

/* Launchers end all processes when one has failed. Hence those that fail together do so when process 0 has
 * said why. */
void company_end(int code)
{
    if (joined == NULL)
        return;
    if (code == 0 || together) {
        part();
        return;
    }
    watch_fail(code);
    joined->abandon(code);
}

const char *company_name(void)
{
    static char text[256];
    char host[128] = "";
    if (joined == NULL || all == 1 || together)
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
