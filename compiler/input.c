/* input.c: files of others, read whole.
 *
 * A FIFO, a socket or a device would hold us up for ever, or give what is no file's. */
#include "amdimc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_BYTES = 64 * 1024 };

/* What it is, where that is nothing to read. */
static const char *refused_kind(mode_t mode, bool pipe_is_fine)
{
    switch (mode & S_IFMT) {
    case S_IFREG: return NULL;
    case S_IFDIR: return strerror(EISDIR);
    case S_IFIFO: return pipe_is_fine ? NULL : "it is a FIFO, not a file";
    case S_IFSOCK: return "it is a socket, not a file";
    default: return "it is a device, not a file";
    }
}

/* A name for what was opened before us, as shells make it of `<(command)`. */
static bool is_descriptor(const char *path)
{
    static const char *const names[] = {"/dev/stdin", "/dev/fd/", "/proc/self/fd/"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (!strncmp(path, names[i], strlen(names[i])))
            return true;
    return false;
}

/* Looked at before it is opened, as to open some devices does something; and after, as names may be given
 * anew. */
static int open_input(const char *path, struct stat *status, const char **why)
{
    bool pipe_is_fine = is_descriptor(path);
    if (stat(path, status))
        return -1;
    if ((*why = refused_kind(status->st_mode, pipe_is_fine)))
        return -1;
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (descriptor < 0)
        return -1;
    if (!fstat(descriptor, status) && !(*why = refused_kind(status->st_mode, pipe_is_fine)) &&
        !fcntl(descriptor, F_SETFL, O_RDONLY)) /* a pipe's writer may take its time */
        return descriptor;
    close(descriptor);
    return -1;
}

static char *grow(Arena *a, const char *text, size_t length, size_t capacity)
{
    char *larger = arena_zeroed(a, capacity + 1);
    if (length)
        memcpy(larger, text, length);
    return larger;
}

/* NULL with errno. */
static char *read_descriptor(Arena *a, int descriptor, size_t capacity, size_t most, size_t *length)
{
    char *text = grow(a, NULL, 0, capacity);
    *length = 0;
    while (*length < most) {
        if (*length == capacity) {
            capacity = capacity > most / 2 ? most : 2 * capacity;
            text = grow(a, text, *length, capacity);
        }
        ssize_t got = read(descriptor, text + *length, capacity - *length);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return NULL;
        *length += got > 0 ? (size_t)got : 0;
    }
    return text;
}

char *input_read(Arena *a, const char *path, size_t most, size_t *length, const char **why)
{
    struct stat status;
    *why = NULL;
    int descriptor = open_input(path, &status, why);
    if (descriptor < 0) {
        errno = *why ? EINVAL : errno;
        *why = *why ? *why : strerror(errno);
        return NULL;
    }
    size_t known =
        status.st_size > 0 ? (size_t)status.st_size + 1 : FIRST_BYTES; /* one more, to find the end */
    char *text = read_descriptor(a, descriptor, known < most ? known : most, most, length);
    if (!text)
        *why = strerror(errno);
    close(descriptor);
    return text;
}
