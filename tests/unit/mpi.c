/* mpi.c: see mpi.h. */
#include "mpi.h"
#include "commands.h"
#include "samples.h"
#include "shell.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const double POLL = 0.01, PATIENCE = 30; /* seconds */

/* $MPIRUN, beside $AMDIMC_MPICC, is another MPI's. */
static const char *mpirun(void)
{
    const char *named = getenv("MPIRUN");
    return named != NULL && *named != '\0' ? named : "mpirun";
}

bool mpi_is_installed(void)
{
    return shell("command -v ${AMDIMC_MPICC:-mpicc} && command -v %s", mpirun()) == 0;
}

void mpi_wanted(void)
{
    if (mpi_is_installed())
        return;
    print_message("skipped: no mpicc or no mpirun; `make setup-mpi` installs them\n");
    skip();
}

/* Open MPI asks root whether that is meant, counts processors, and binds processes to them: version 4 goes by
 * the first four, version 5 by the last two. MPICH does none of that. */
static void settle_environment(void)
{
    static const char *const settings[][2] = {
        {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
        {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
        {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
        {"OMPI_MCA_hwloc_base_binding_policy", "none"},
        {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
        {"PRTE_MCA_hwloc_default_binding_policy", "none"},
    };
    for (size_t i = 0; i < COUNT(settings); i++)
        setenv(settings[i][0], settings[i][1], 1);
}

const char *mpi_launch(int processes)
{
    static char text[512];
    settle_environment();
    snprintf(text, sizeof text, "%s -n %d", mpirun(), processes);
    return text;
}

/* ---- processes ---- */

/* Whether the process has the setting NAME=VALUE in the environment that it was started with. */
static bool has_setting(const char *environment, size_t count, const char *setting)
{
    for (size_t at = 0; at < count; at += strlen(environment + at) + 1)
        if (strcmp(environment + at, setting) == 0)
            return true;
    return false;
}

/* Ends with two zero bytes; the number of bytes before them, 0 where it has none or it is not ours to see. */
static size_t environment_of(const char *process, char *to, size_t size)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/environ", process);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t count = 0;
    for (ssize_t n; file >= 0 && count + 2 < size && (n = read(file, to + count, size - 2 - count)) > 0;)
        count += (size_t)n;
    if (file >= 0)
        close(file);
    to[count] = to[count + 1] = '\0';
    return count;
}

/* Of the run's, those of the rank, or of any where it is -1; the last one found, and how many. */
static int find_processes(const MpiRun *r, int rank, pid_t *found)
{
    static char environment[1 << 17];
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK"};
    int count = 0;
    DIR *processes = opendir("/proc");
    assert_non_null(processes);
    for (struct dirent *p; (p = readdir(processes));) {
        if (!isdigit((unsigned char)p->d_name[0]))
            continue;
        const size_t bytes = environment_of(p->d_name, environment, sizeof environment);
        bool is_it = false;
        for (size_t i = 0; i < COUNT(names) && has_setting(environment, bytes, r->mark); i++) {
            for (int k = rank < 0 ? 0 : rank; k <= (rank < 0 ? 63 : rank); k++) {
                char setting[64];
                snprintf(setting, sizeof setting, "%s=%d", names[i], k);
                is_it |= has_setting(environment, bytes, setting);
            }
        }
        if (is_it)
            *found = (pid_t)strtol(p->d_name, NULL, 10);
        count += is_it;
    }
    closedir(processes);
    return count;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * POLL)}, NULL);
}

pid_t mpi_process(const MpiRun *r, int rank)
{
    for (double until = clock_seconds() + PATIENCE; clock_seconds() < until; nap()) {
        pid_t found = 0;
        if (find_processes(r, rank, &found) > 0)
            return found;
    }
    return 0;
}

int mpi_left(const MpiRun *r)
{
    pid_t found;
    return find_processes(r, -1, &found);
}

/* ---- runs ---- */

static _Noreturn void become(const MpiRun *r, const char *command)
{
    const int out = open(r->said, O_WRONLY | O_CREAT | O_TRUNC, 0666), in = open("/dev/null", O_RDONLY);
    if (out < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(127);
    char *mark = strdup(r->mark);
    if (mark && !putenv(mark))
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

MpiRun mpi_start(int processes, const char *format, ...)
{
    static int number;
    char rest[3500], command[4096], name[32];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    assert_in_range(length, 1, sizeof rest - 1);
    snprintf(command, sizeof command, "exec %s %s", mpi_launch(processes), rest);
    MpiRun r = {.begun = clock_seconds()};
    snprintf(name, sizeof name, "said-%d", ++number);
    snprintf(r.mark, sizeof r.mark, "AMDIM_TEST_RUN=%ld-%d", (long)getpid(), number);
    snprintf(r.said, sizeof r.said, "%s", scratch_path(name));
    r.launcher = fork();
    assert_true(r.launcher >= 0);
    if (r.launcher == 0)
        become(&r, command);
    return r;
}

static void kill_all(const MpiRun *r)
{
    kill(r->launcher, SIGKILL);
    for (pid_t found = 0; find_processes(r, -1, &found) > 0; nap())
        kill(found, SIGKILL);
}

MpiEnd mpi_wait(MpiRun *r, double seconds)
{
    MpiEnd e = {.hung = true};
    int status = 0;
    size_t count;
    const double until = clock_seconds() + seconds;
    do {
        const pid_t ended = waitpid(r->launcher, &status, WNOHANG);
        assert_true(ended >= 0 || errno == EINTR);
        e.hung = ended != r->launcher;
        if (e.hung)
            nap();
    } while (e.hung && clock_seconds() < until);
    if (e.hung) {
        kill_all(r);
        waitpid(r->launcher, &status, 0);
    }
    e.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    e.seconds = clock_seconds() - r->begun;
    e.said = read_whole(r->said, &count);
    return e;
}
