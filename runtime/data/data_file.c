/* data_file.c: what lies at a path; the files of a data set, read at offsets by several threads at once, and
 * lists of names.
 *
 * Packed files, NAME.gz, are unpacked when they are opened: pictures are read in any order. */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what lies at a path ---- */

bool data_look(const char *path, mode_t *mode, Fault *f)
{
    struct stat status;
    *mode = 0;
    if (stat(path, &status) == 0) {
        *mode = status.st_mode;
        return true;
    }
    if (errno != ENOENT && errno != ENOTDIR)
        return fault_errno(f, "%s", path);
    if (lstat(path, &status) == 0)
        return fault(f, "%s: a link to nothing; remove it, or bring back what it leads to", path);
    return true;
}

bool data_folder_find(const char *path, bool *found, Fault *f)
{
    mode_t mode;
    *found = false;
    if (!data_look(path, &mode, f))
        return false;
    if (mode && !S_ISDIR(mode) && !S_ISREG(mode))
        return fault(f, "%s: %s, not a folder; remove it", path, file_kind(mode));
    *found = S_ISDIR(mode);
    return true;
}

bool data_file_find(const char *dir, const char *name, bool *found, Fault *f)
{
    char *path = data_path(dir, name, f);
    mode_t mode = 0;
    bool known = path && data_look(path, &mode, f);
    *found = known && mode && !S_ISDIR(mode);
    free(path);
    return known;
}

bool name_ends_in(const char *name, const char *ending)
{
    const size_t length = strlen(name), tail = strlen(ending);
    return length > tail && strcmp(name + length - tail, ending) == 0;
}

char *data_path(const char *dir, const char *name, Fault *f)
{
    char *path = path_join(dir, name);
    if (!path)
        fault(f, "%s: out of memory for the name of a file; free some", dir);
    return path;
}

/* ---- files ---- */

/* What would block or do something when it is opened is told from a file before. */
static int open_regular(const char *path, Fault *f)
{
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        fault(f, "%s: %s, not a file; replace or remove it", path, file_kind(status.st_mode));
        return -1;
    }
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0)
        fault_errno(f, "%s", path);
    return descriptor;
}

static bool is_packed(const char *name)
{
    size_t length = strlen(name);
    return length > 3 && strcmp(name + length - 3, ".gz") == 0;
}

static bool unpack(DataFile *d, Fault *f)
{
    int unpacked = gzip_unpack(d->descriptor, d->path, f);
    if (unpacked < 0)
        return false;
    close(d->descriptor);
    d->descriptor = unpacked;
    return true;
}

static bool measure(DataFile *d, Fault *f)
{
    struct stat status;
    if (fstat(d->descriptor, &status) != 0)
        return fault_errno(f, "%s", d->path);
    if (!S_ISREG(status.st_mode))
        return fault(f, "%s: %s, not a file; replace or remove it", d->path, file_kind(status.st_mode));
    if (status.st_size == 0)
        return fault(f, "%s: an empty file; fetch it again", d->path);
    d->bytes = (uint64_t)status.st_size;
    return true;
}

bool data_file_open(DataFile *d, const char *dir, const char *name, Fault *f)
{
    *d = (DataFile){.path = data_path(dir, name, f), .descriptor = -1};
    if (!d->path)
        return false;
    d->descriptor = open_regular(d->path, f);
    if (d->descriptor >= 0 && measure(d, f) && (!is_packed(name) || (unpack(d, f) && measure(d, f))))
        return true;
    data_file_close(d);
    return false;
}

void data_file_close(DataFile *d)
{
    if (d->path && d->descriptor >= 0)
        close(d->descriptor);
    free(d->path);
    *d = (DataFile){.path = NULL};
}

bool data_file_read(const DataFile *d, void *out, size_t bytes, uint64_t offset, Fault *f)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(d->descriptor, (char *)out + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno != EINTR)
            return fault_errno(f, "%s: reading failed", d->path);
        if (got == 0)
            return fault(f, "%s: the file has become shorter while in use; fetch it again", d->path);
        if (got > 0)
            done += (size_t)got;
    }
    return true;
}

/* ---- names of classes ---- */

static bool read_names(Dataset *d, FILE *stream, const char *path, Fault *f)
{
    char *line = NULL;
    size_t capacity = 0;
    bool held = true;
    errno = 0;
    for (int c = 0; held && c < d->classes && getline(&line, &capacity, stream) > 0;) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line)
            held = (d->class_name[c++] = strdup(line)) != NULL;
    }
    free(line);
    if (!held || errno == ENOMEM)
        return fault(f, "%s: out of memory for the names of the classes; free some", path);
    return !ferror(stream) || fault_errno(f, "%s: reading failed", path);
}

bool data_names_read(Dataset *d, const char *dir, const char *name, Fault *f)
{
    bool found, done = data_file_find(dir, name, &found, f);
    if (!done || !found)
        return done;
    char *path = data_path(dir, name, f);
    int descriptor = path ? open_regular(path, f) : -1;
    FILE *stream = descriptor >= 0 ? fdopen(descriptor, "r") : NULL;
    if (descriptor >= 0 && !stream) {
        fault_errno(f, "%s", path);
        close(descriptor);
    }
    done = stream && read_names(d, stream, path, f);
    if (stream)
        fclose(stream);
    free(path);
    return done;
}
