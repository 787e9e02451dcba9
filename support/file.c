/* file.c: files that are there whole or not at all.
 *
 * What is written goes to PATH.tmp-PID, which file_commit syncs and renames over PATH. A link is followed, so
 * that the file it points to is replaced, not the link. What is no regular file (a pipe, /dev/null) is
 * written directly: to rename over it would destroy it. */
#define _FILE_OFFSET_BITS 64
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *path_join(const char *a, const char *b)
{
    size_t length = strlen(a), needed = length + strlen(b) + 2;
    char *path = malloc(needed);
    if (path != NULL)
        snprintf(path, needed, "%s%s%s", a, length > 0 && a[length - 1] != '/' ? "/" : "", b);
    return path;
}

static char *temporary_name(const char *path)
{
    size_t needed = strlen(path) + 32;
    char *name = malloc(needed);
    if (name != NULL)
        snprintf(name, needed, "%s.tmp-%ld", path, (long)getpid());
    return name;
}

/* A file of this very name can only be left from a process that had our number and died. */
static int open_temporary(const char *name)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    int descriptor = open(name, flags, 0666);
    if (descriptor < 0 && errno == EEXIST && unlink(name) == 0)
        descriptor = open(name, flags, 0666);
    return descriptor;
}

static bool is_link(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

/* Sets n's names and opens what is to be written; -1 with errno. */
static int open_target(NewFile *n, const char *path)
{
    struct stat status;
    bool exists = stat(path, &status) == 0;
    if (exists && S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    bool direct = exists && !S_ISREG(status.st_mode);
    n->path = exists && !direct && is_link(path) ? realpath(path, NULL) : strdup(path);
    if (n->path == NULL)
        return -1;
    if (direct)
        return open(path, O_WRONLY | O_CLOEXEC);
    n->temporary = temporary_name(n->path);
    return n->temporary != NULL ? open_temporary(n->temporary) : -1;
}

static void free_names(NewFile *n)
{
    free(n->path);
    free(n->temporary);
    n->path = n->temporary = NULL;
}

bool file_create(NewFile *n, const char *path, Fault *f)
{
    *n = (NewFile){0};
    int descriptor = open_target(n, path);
    if (descriptor >= 0)
        n->stream = fdopen(descriptor, "wb");
    if (n->stream != NULL)
        return true;
    fault_errno(f, "cannot create %s", path);
    if (descriptor >= 0) {
        close(descriptor);
        if (n->temporary != NULL)
            unlink(n->temporary);
    }
    free_names(n);
    return false;
}

/* The rename itself must survive a loss of power. File systems that cannot sync a directory say EINVAL. */
static bool sync_directory(const char *path)
{
    char *directory = strdup(path);
    if (directory == NULL)
        return false;
    char *slash = strrchr(directory, '/');
    if (slash != NULL)
        slash[slash == directory ? 1 : 0] = '\0';
    int descriptor = open(slash != NULL ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (descriptor < 0)
        return errno == EACCES; /* a directory we may write to but not read */
    bool synced = fsync(descriptor) == 0 || errno == EINVAL;
    int error = errno;
    close(descriptor);
    errno = error;
    return synced;
}

/* Leaves nothing in the stream's buffer, and the reason in errno. */
static bool flush_and_close(NewFile *n)
{
    errno = 0;
    bool written = fflush(n->stream) == 0 && !ferror(n->stream);
    if (written && n->temporary != NULL)
        written = fsync(fileno(n->stream)) == 0;
    int error = written || errno != 0 ? errno : EIO; /* a write before has failed, for a reason now unknown */
    if (fclose(n->stream) != 0 && written) {
        written = false;
        error = errno;
    }
    n->stream = NULL;
    errno = error;
    return written;
}

bool file_commit(NewFile *n, Fault *f)
{
    bool done = flush_and_close(n);
    if (done && n->temporary != NULL)
        done = rename(n->temporary, n->path) == 0 && sync_directory(n->path);
    if (!done) {
        fault_errno(f, "cannot write %s", n->path);
        if (n->temporary != NULL)
            unlink(n->temporary);
    }
    free_names(n);
    return done;
}

void file_discard(NewFile *n)
{
    if (n->stream == NULL)
        return;
    fclose(n->stream);
    if (n->temporary != NULL)
        unlink(n->temporary);
    free_names(n);
    n->stream = NULL;
}
