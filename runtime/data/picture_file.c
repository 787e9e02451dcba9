/* picture_file.c: a file that holds one picture. */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_whole(Picture *p, int descriptor, size_t *size, const char *path, Fault *f)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return fault_errno(f, "%s", path);
    if (!S_ISREG(status.st_mode) || status.st_size <= 0 || (uint64_t)status.st_size > SIZE_MAX)
        return fault(f, "%s: not a file with a picture; replace or remove it", path);
    *size = (size_t)status.st_size;
    if (*size > p->encoded_capacity) {
        uint8_t *larger = realloc(p->encoded, *size);
        if (!larger)
            return fault(f, "%s: out of memory for %zu bytes; make the file smaller", path, *size);
        p->encoded = larger;
        p->encoded_capacity = *size;
    }
    for (size_t done = 0; done < *size;) {
        ssize_t got = read(descriptor, p->encoded + done, *size - done);
        if (got < 0 && errno != EINTR)
            return fault_errno(f, "%s: reading failed", path);
        if (got == 0)
            return fault(f, "%s: the file has become shorter while in use; fetch it again", path);
        if (got > 0)
            done += (size_t)got;
    }
    return true;
}

bool picture_read_file(Picture *p, const char *path, int channels, Fault *f)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return fault_errno(f, "%s", path);
    size_t size = 0;
    bool done = read_whole(p, descriptor, &size, path, f);
    close(descriptor);
    return done && decode_picture(p, p->encoded, size, channels, path, f);
}
