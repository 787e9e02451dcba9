/* file.c: files that are there whole or not at all, and files that are read.
 *
 * What is written to FOLDER/NAME goes to FOLDER/.NAME.amdim-tmp (where that is too long a name, a digest of
 * it stands for NAME), which file_commit syncs and renames. Whoever writes it holds a lock on it: one that
 * nobody holds was left by a program that died, and whoever writes NAME next takes its name. A link is
 * followed, so that the file it points to is replaced, not the link; the file keeps its mode. What is no
 * regular file (a pipe, /dev/null) is written directly: to rename over it would destroy it. So is a
 * file that standard output goes to: the shell has it open. */
#define _FILE_OFFSET_BITS 64
#include "support.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char temporary_ending[] = ".amdim-tmp", old_ending[] = ".tmp-"; /* of version 0.1, with a PID */

char *path_join(const char *a, const char *b)
{
    size_t length = strlen(a), needed = length + strlen(b) + 2;
    char *path = malloc(needed);
    if (path != NULL)
        snprintf(path, needed, "%s%s%s", a, length > 0 && a[length - 1] != '/' ? "/" : "", b);
    return path;
}

/* ---- where the stream's bytes go ---- */

/* The stream writes through a function of ours, so that the reason of the first failure is kept: stdio
 * forgets it. */
struct FileTarget {
    int descriptor;
    int error; /* errno of the first write that failed, else 0 */
};

static ssize_t target_write(void *cookie, const char *bytes, size_t count)
{
    FileTarget *t = cookie;
    for (size_t done = 0; done < count && t->error == 0;) {
        ssize_t written = write(t->descriptor, bytes + done, count - done);
        if (written < 0 && errno != EINTR)
            t->error = errno;
        else if (written > 0)
            done += (size_t)written;
    }
    errno = t->error;
    return t->error == 0 ? (ssize_t)count : 0; /* 0 is what a stream takes for a failure */
}

static FileTarget *target_new(int descriptor)
{
    FileTarget *t = malloc(sizeof *t);
    if (t != NULL)
        *t = (FileTarget){.descriptor = descriptor};
    return t;
}

/* ---- the temporary ---- */

/* Of a file's name, without its folder. */
static void name_temporary(char name[NAME_MAX + 1], const char *file)
{
    Digest d;
    if (strlen(file) + strlen(temporary_ending) < NAME_MAX) {
        snprintf(name, NAME_MAX + 1, ".%s%s", file, temporary_ending);
        return;
    }
    digest_begin(&d);
    digest_add(&d, file, strlen(file));
    snprintf(name, NAME_MAX + 1, ".%016" PRIx64 "%s", digest_end(&d), temporary_ending);
}

static char *temporary_path(const char *path)
{
    char name[NAME_MAX + 1];
    const char *slash = strrchr(path, '/'), *file = slash != NULL ? slash + 1 : path;
    name_temporary(name, file);
    const size_t needed = (size_t)(file - path) + strlen(name) + 1;
    char *temporary = malloc(needed);
    if (temporary != NULL)
        snprintf(temporary, needed, "%.*s%s", (int)(file - path), path, name);
    return temporary;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool file_is_same(const char *a, const char *b)
{
    struct stat one, other;
    return a != NULL && b != NULL && stat(a, &one) == 0 && stat(b, &other) == 0 && same_file(&one, &other);
}

bool file_is_output(const char *path)
{
    struct stat one, output;
    return stat(path, &one) == 0 && fstat(STDOUT_FILENO, &output) == 0 && same_file(&one, &output);
}

/* Locks an open file that `name` still names; else -1 with errno: EWOULDBLOCK where another program holds the
 * lock, ESTALE where the name is another file's by now. File systems without locks let everybody pass. */
static int lock_named(int descriptor, const char *name)
{
    struct stat open_file, named;
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return -1;
    if (fstat(descriptor, &open_file) != 0)
        return -1;
    bool there = lstat(name, &named) == 0;
    if (!there && errno != ENOENT)
        return -1;
    if (there && same_file(&open_file, &named))
        return 0;
    errno = ESTALE;
    return -1;
}

/* A temporary that a dead program has left: false where it is in use. */
static bool remove_left_over(const char *name)
{
    int descriptor =
        open(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); /* as NFS wants it for a lock */
    if (descriptor < 0)
        return errno == ENOENT || (errno == ELOOP && unlink(name) == 0);
    bool removed = lock_named(descriptor, name) == 0 ? unlink(name) == 0 : errno == ESTALE;
    int error = errno;
    close(descriptor);
    errno = error;
    return removed;
}

static int open_temporary(const char *name)
{
    enum { TRIES = 16 }; /* each lost one is another program that takes the name in between */
    for (int i = 0; i < TRIES; i++) {
        int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 && lock_named(descriptor, name) == 0)
            return descriptor;
        int error = errno;
        if (descriptor >= 0)
            close(descriptor);
        if (descriptor >= 0 && error != ESTALE && error != EWOULDBLOCK) /* ours, whatever went wrong */
            unlink(name);
        errno = error;
        if (error != ESTALE && (error != EEXIST || !remove_left_over(name)))
            return -1;
    }
    return -1;
}

/* ---- writing ---- */

static bool is_link(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

/* Opened by name anew it would not be the same: a socket cannot be, and one that was closed stands for
 * /dev/null, which is not to be written (standard.c). */
static bool names_output(const char *path)
{
    static const char *const names[] = {"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(path, names[i]))
            return true;
    return false;
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
    if (!exists && errno == ENAMETOOLONG) /* that of the temporary is not too long */
        return -1;
    const bool output = exists && (names_output(path) || (S_ISREG(status.st_mode) && file_is_output(path)));
    const bool direct = output || (exists && !S_ISREG(status.st_mode));
    n->path = exists && !direct && is_link(path) ? realpath(path, NULL) : strdup(path);
    if (n->path == NULL)
        return -1;
    if (output) /* behind what it holds */
        return fflush(stdout) == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0) : -1;
    if (direct)
        return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    n->temporary = temporary_path(n->path);
    int descriptor = n->temporary != NULL ? open_temporary(n->temporary) : -1;
    if (descriptor >= 0 && exists)
        (void)fchmod(descriptor, status.st_mode & 07777); /* where it may not be, the file is a new one's */
    return descriptor;
}

/* Waits for whoever reads a pipe, but not for somebody who might. */
static void make_blocking(int descriptor)
{
    int flags = fcntl(descriptor, F_GETFL);
    if (flags >= 0)
        (void)fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK);
}

static bool open_stream(NewFile *n, int descriptor)
{
    make_blocking(descriptor);
    n->target = target_new(descriptor);
    if (n->target != NULL)
        n->stream = fopencookie(n->target, "w", (cookie_io_functions_t){.write = target_write});
    return n->stream != NULL;
}

/* Closes, and forgets; the temporary is gone if it is still there. */
static void drop(NewFile *n, int descriptor)
{
    if (n->stream != NULL)
        fclose(n->stream);
    if (descriptor >= 0 && n->temporary != NULL)
        unlink(n->temporary);
    if (descriptor >= 0)
        close(descriptor);
    free(n->target);
    free(n->path);
    free(n->temporary);
    *n = (NewFile){0};
}

bool file_create(NewFile *n, const char *path, Fault *f)
{
    *n = (NewFile){0};
    int descriptor = open_target(n, path);
    if (descriptor >= 0 && open_stream(n, descriptor))
        return true;
    if (descriptor < 0 && errno == EWOULDBLOCK)
        fault(f, "cannot create %s: another program is writing it; wait for its end", path);
    else if (descriptor < 0 && errno == ENXIO)
        fault(f, "cannot create %s: it is a pipe that nobody reads, or a socket", path);
    else
        fault_errno(f, "cannot create %s", path);
    drop(n, descriptor);
    return false;
}

bool file_set_mode(const NewFile *n, mode_t mode, Fault *f)
{
    return n->temporary == NULL || fchmod(n->target->descriptor, mode) == 0 ||
           fault_errno(f, "cannot set the mode of %s", n->path);
}

bool file_fault(const NewFile *n, Fault *f)
{
    if (n->target->error != 0)
        errno = n->target->error;
    return fault_errno(f, "cannot write %s", n->path);
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

/* All bytes are on the disk, or errno says why not. */
static bool flush(NewFile *n)
{
    errno = 0;
    bool written = fflush(n->stream) == 0 && !ferror(n->stream);
    if (!written)
        errno = n->target->error != 0 ? n->target->error : errno != 0 ? errno : EIO;
    return written && (n->temporary == NULL || fsync(n->target->descriptor) == 0);
}

bool file_flush(NewFile *n, Fault *f)
{
    return flush(n) || fault_errno(f, "cannot write %s", n->path);
}

/* To a name that is nobody's yet. */
static bool copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FileTarget target = {.descriptor = out};
    char block[1 << 14];
    ssize_t got = in >= 0 && out >= 0 ? 1 : -1;
    while (got > 0 && (got = read(in, block, sizeof block)) > 0)
        if (target_write(&target, block, (size_t)got) == 0)
            got = -1;
    bool copied = got == 0 && fsync(out) == 0;
    int error = errno;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    errno = error;
    return copied;
}

/* `previous` becomes another name of what lies at `path`, which keeps its own. File systems without links
 * have the file renamed: for a moment there is only `previous`. One that lies on another file system, behind
 * a link, is copied. */
static bool keep_previous(const char *path, const char *previous)
{
    char *name = temporary_path(previous);
    if (name == NULL)
        return false;
    bool kept = (unlink(name) == 0 || errno == ENOENT) && (link(path, name) == 0 || errno == ENOENT);
    if (!kept && errno == EXDEV)
        kept = copy_file(path, name);
    if (kept)
        kept = rename(name, previous) == 0 || errno == ENOENT;
    else if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK)
        kept = rename(path, previous) == 0;
    int error = errno;
    unlink(name); /* where both were the same file, rename leaves it */
    free(name);
    errno = error;
    return kept;
}

bool file_commit_keeping(NewFile *n, const char *previous, Fault *f)
{
    int descriptor = n->target->descriptor;
    bool done = flush(n);
    if (done && n->temporary != NULL)
        done = (previous == NULL || keep_previous(n->path, previous)) && rename(n->temporary, n->path) == 0 &&
               sync_directory(n->path);
    if (!done)
        fault_errno(f, "cannot write %s", n->path);
    if (done) { /* the name is the file's own by now */
        free(n->temporary);
        n->temporary = NULL;
    }
    drop(n, descriptor);
    return done;
}

bool file_commit(NewFile *n, Fault *f)
{
    return file_commit_keeping(n, NULL, f);
}

void file_discard(NewFile *n)
{
    if (n->stream != NULL)
        drop(n, n->target->descriptor);
}

/* ---- what is left over ---- */

/* NAME.tmp-PID, of a program of version 0.1 that has ended. */
static bool is_old_temporary(const char *file, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(file, name, length) != 0 || strncmp(file + length, old_ending, strlen(old_ending)) != 0)
        return false;
    const char *number = file + length + strlen(old_ending);
    char *end = NULL;
    long process = *number >= '0' && *number <= '9' ? strtol(number, &end, 10) : 0;
    return process > 0 && *end == '\0' && kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

static bool is_temporary_of(const char *file, const char *name)
{
    char temporary[NAME_MAX + 1];
    name_temporary(temporary, name);
    return is_old_temporary(file, name) || strcmp(file, temporary) == 0;
}

static bool remove_temporary(const char *folder, const char *file, Fault *f)
{
    char *path = path_join(folder, file);
    bool removed = path != NULL && (remove_left_over(path) || errno == EWOULDBLOCK);
    if (!removed)
        fault_errno(f, "cannot remove %s/%s, which a program that died has left", folder, file);
    free(path);
    return removed;
}

bool file_remove_left_over(const char *folder, const char *const *name, int names, Fault *f)
{
    DIR *listing = opendir(folder);
    if (listing == NULL)
        return fault_errno(f, "cannot read the folder %s", folder);
    bool removed = true;
    for (struct dirent *entry; removed && (errno = 0, entry = readdir(listing)) != NULL;)
        for (int i = 0; removed && i < names; i++)
            if (is_temporary_of(entry->d_name, name[i]))
                removed = remove_temporary(folder, entry->d_name, f);
    if (removed && errno != 0)
        removed = fault_errno(f, "cannot read the folder %s", folder);
    closedir(listing);
    return removed;
}

/* ---- reading ---- */

const char *file_kind(mode_t mode)
{
    return S_ISREG(mode)    ? "a file"
           : S_ISDIR(mode)  ? "a folder"
           : S_ISFIFO(mode) ? "a named pipe"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

int file_open_to_read(const char *path, Fault *f)
{
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) {
        if (errno == ENXIO) /* what open says of a socket */
            fault(f, "cannot open %s: it is a socket or a device, not a file", path);
        else
            fault_errno(f, "cannot open %s", path);
        return -1;
    }
    if (fstat(descriptor, &status) != 0) {
        fault_errno(f, "cannot read %s", path);
    } else if (!S_ISREG(status.st_mode)) {
        fault(f, "cannot read %s: it is %s, not a file", path, file_kind(status.st_mode));
    } else {
        make_blocking(descriptor);
        return descriptor;
    }
    close(descriptor);
    return -1;
}
