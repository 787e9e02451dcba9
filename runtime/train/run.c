/* run.c: the folder of a training run: its files' names, whether it is free, and its making. */
#include "runtime.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void run_close(Run *r)
{
    free(r->weights);
    free(r->metrics);
    *r = (Run){0};
}

bool run_open(Run *r, const char *folder, Fault *f)
{
    *r = (Run){folder, path_join(folder, "last.safetensors"), path_join(folder, "metrics.jsonl")};
    if (r->weights && r->metrics)
        return true;
    run_close(r);
    return fault(f, "out of memory for the names in %s", folder);
}

static bool exists(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

bool run_holds_weights(const Run *r)
{
    return exists(r->weights);
}

bool run_must_be_new(const Run *r, Fault *f)
{
    if (!exists(r->weights) && !exists(r->metrics))
        return true;
    return fault(f, "%s holds a run; --resume goes on with it, or choose another folder", r->folder);
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
