/* picture_file.c: a file that holds one picture. */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opening a pipe or a device may wait for ever, unless told not to. */
static int open_file(const char *path, uint64_t *bytes, Fault *f)
{
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool failed = descriptor < 0;
    int error = errno;
    if (failed ? stat(path, &status) != 0 : fstat(descriptor, &status) != 0) {
        errno = failed ? error : errno;
        fault_errno(f, "%s", path);
    } else if (!S_ISREG(status.st_mode)) {
        fault(f, "%s: %s, not a file with a picture; remove it", path, file_kind(status.st_mode));
    } else if (failed) {
        errno = error;
        fault_errno(f, "%s", path);
    } else if (status.st_size <= 0) {
        fault(f, "%s: an empty file, not a picture; replace or remove it", path);
    } else {
        *bytes = (uint64_t)status.st_size;
        return descriptor;
    }
    if (!failed)
        close(descriptor);
    return -1;
}

bool picture_read_file(Picture *p, const char *path, int channels, Fault *f)
{
    uint64_t bytes = 0;
    int descriptor = open_file(path, &bytes, f);
    if (descriptor < 0)
        return false;
    bool done = decode_picture_file(p, descriptor, 0, bytes, channels, path, f);
    close(descriptor);
    return done;
}
