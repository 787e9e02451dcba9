/* data_file.c: the files of a data set, read at offsets by several threads at once, and lists of names.
 *
 * Packed files, NAME.gz, are unpacked when they are opened: pictures are read in any order. */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool data_file_exists(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    struct stat status;
    bool exists = path && stat(path, &status) == 0 && !S_ISDIR(status.st_mode);
    free(path);
    return exists;
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
        return fault(f, "%s: not a file; replace or remove it", d->path);
    d->bytes = (uint64_t)status.st_size;
    return true;
}

bool data_file_open(DataFile *d, const char *dir, const char *name, Fault *f)
{
    *d = (DataFile){.path = path_join(dir, name), .descriptor = -1};
    if (!d->path)
        return fault(f, "out of memory for a file's name");
    d->descriptor = open(d->path, O_RDONLY | O_CLOEXEC);
    bool opened = d->descriptor >= 0 || fault_errno(f, "%s", d->path);
    if (opened && measure(d, f) && (!is_packed(name) || (unpack(d, f) && measure(d, f))))
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

void data_names_read(Dataset *d, const char *dir, const char *name)
{
    char *path = path_join(dir, name), *line = NULL;
    FILE *stream = path ? fopen(path, "re") : NULL;
    size_t capacity = 0;
    for (int c = 0; stream && c < d->classes && getline(&line, &capacity, stream) > 0;) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line)
            d->class_name[c++] = strdup(line);
    }
    if (stream)
        fclose(stream);
    free(line);
    free(path);
}
