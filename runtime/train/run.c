/* run.c: the folder of a training run: its files' names, whether it is free, and its making.
 *
 * A program that trains holds a lock on the folder, which goes with it however it ends. */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const double PATIENCE = 1; /* seconds in which a program that is ending may end */
enum { LAST, PREVIOUS, METRICS, REPORT, PROBED };
static const char *const files[] = {[LAST] = "last.safetensors",
                                    [PREVIOUS] = "previous.safetensors",
                                    [METRICS] = "metrics.jsonl",
                                    [REPORT] = "report.html",
                                    [PROBED] = "probe.json"};

bool run_open(Run *r, const char *folder, Fault *f)
{
    *r = (Run){.folder = folder, .lock = -1};
    r->checkpoint.last = path_join(folder, files[LAST]);
    r->checkpoint.previous = path_join(folder, files[PREVIOUS]);
    r->metrics = path_join(folder, files[METRICS]);
    r->probe = path_join(folder, files[PROBED]);
    if (r->checkpoint.last && r->checkpoint.previous && r->metrics && r->probe)
        return true;
    run_close(r);
    return fault(f, "out of memory for the names in %s", folder);
}

void run_close(Run *r)
{
    if (r->lock >= 0)
        close(r->lock);
    free(r->checkpoint.last);
    free(r->checkpoint.previous);
    free(r->metrics);
    free(r->probe);
    *r = (Run){.lock = -1};
}

static bool exists(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

bool run_holds_weights(const Run *r)
{
    return exists(r->checkpoint.last) || run_holds_previous(r);
}

bool run_holds_previous(const Run *r)
{
    return exists(r->checkpoint.previous);
}

bool run_is_here(const Run *r, Fault *f)
{
    struct stat claimed, found;
    if (fstat(r->lock, &claimed) == 0 && stat(r->folder, &found) == 0 && claimed.st_dev == found.st_dev &&
        claimed.st_ino == found.st_ino)
        return true;
    return fault(f, "%s: the folder has been moved or removed since the run began there", r->folder);
}

bool run_keeps_last(const Run *r)
{
    Fault f;
    return run_is_here(r, &f) && exists(r->checkpoint.last);
}

/* ---- one program at a time ---- */

/* A program that was killed holds its lock until the system is done with what it wrote. */
static bool lock_within(int descriptor, double seconds)
{
    static const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    const double until = clock_seconds() + seconds;
    while (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || clock_seconds() > until || signals_received())
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static bool lock_folder(Run *r, Fault *f)
{
    r->lock = open(r->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->lock < 0)
        return fault_errno(f, "cannot open the folder %s", r->folder);
    if (lock_within(r->lock, PATIENCE))
        return true;
    if (signals_received())
        return fault(f, "stopped by a signal");
    if (errno == EWOULDBLOCK)
        return fault(f,
                     "%s: another program trains into this folder; wait for its end, or choose another --out",
                     r->folder);
    note("%s: its file system has no locks (%s); see to it that one program at a time trains there",
         r->folder, strerror(errno));
    return true;
}

bool run_claim(Run *r, bool resumes, Fault *f)
{
    struct stat found;
    if (r->lock >= 0)
        return true;
    if (stat(r->folder, &found) != 0) {
        r->was_missing = errno == ENOENT;
        return r->was_missing || fault_errno(f, "cannot open the folder %s", r->folder);
    }
    if (!S_ISDIR(found.st_mode))
        return fault(f, "%s is not a folder; choose another --out", r->folder);
    if (!lock_folder(r, f))
        return false;
    const bool holds_run = run_holds_weights(r) || exists(r->metrics);
    if (r->was_missing && holds_run)
        return fault(f, "%s: another program has begun a run there meanwhile; start again", r->folder);
    if (!resumes && holds_run)
        return fault(f, "%s holds a run; --resume goes on with it, or choose another folder", r->folder);
    return file_remove_left_over(r->folder, files, COUNT(files), f);
}

/* ---- what other commands write ---- */

static bool is_run_file(const char *name)
{
    for (size_t i = 0; i < COUNT(files); i++)
        if (strcmp(name, files[i]) == 0)
            return true;
    return false;
}

static bool is_in_use(const char *folder)
{
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    bool in_use = flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(descriptor);
    return in_use;
}

bool run_may_be_written(const char *path, Fault *f)
{
    const char *slash = strrchr(path, '/');
    if (!is_run_file(slash ? slash + 1 : path))
        return true;
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder)
        return fault(f, "out of memory for a folder's name");
    bool in_use = is_in_use(folder);
    free(folder);
    return !in_use || fault(f, "%s belongs to a run that is under way; choose another name", path);
}

static bool make_one(const char *folder, Fault *f)
{
    struct stat found;
    if (mkdir(folder, 0777) == 0)
        return true;
    int reason = errno;
    if (stat(folder, &found) == 0)
        return S_ISDIR(found.st_mode) || fault(f, "%s is not a folder; choose another --out", folder);
    errno = reason;
    return fault_errno(f, "cannot make the folder %s", folder);
}

bool run_make(const Run *r, Fault *f)
{
    char *path = strdup(r->folder);
    bool ok = path != NULL || fault(f, "out of memory for the names in %s", r->folder);
    for (char *slash = path; ok && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        ok = make_one(path, f);
        *slash = '/';
    }
    free(path);
    return ok && make_one(r->folder, f);
}
