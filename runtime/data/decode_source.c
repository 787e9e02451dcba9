/* decode_source.c: the bytes of one encoded picture, from memory or from an open file, which several threads
 * may read at once. A file is never held whole. */
#include "decode_internal.h"

#include <errno.h>
#include <unistd.h>

bool source_fill(Source *s)
{
    size_t wanted = s->left < SOURCE_BUFFER ? (size_t)s->left : SOURCE_BUFFER, got = 0;
    if (s->descriptor < 0 || wanted == 0 || s->error != 0 || s->shorter)
        return false;
    while (got < wanted && !s->shorter) {
        ssize_t now = pread(s->descriptor, s->buffer + got, wanted - got, (off_t)(s->offset + got));
        if (now < 0 && errno != EINTR) {
            s->error = errno;
            return false;
        }
        s->shorter = now == 0;
        got += now > 0 ? (size_t)now : 0;
    }
    s->at = s->buffer;
    s->count = got;
    s->offset += got;
    s->left -= got;
    return got > 0;
}

void source_skip(Source *s, uint64_t bytes)
{
    uint64_t here = bytes < s->count ? bytes : s->count;
    s->at += here;
    s->count -= (size_t)here;
    bytes -= here;
    uint64_t beyond = bytes < s->left ? bytes : s->left;
    s->offset += beyond;
    s->left -= beyond;
}

bool source_failed(const Source *s, const char *name, Fault *f)
{
    if (s->error != 0) {
        errno = s->error;
        fault_errno(f, "%s: reading failed", name);
    } else if (s->shorter) {
        fault(f, "%s: the file has become shorter while in use; fetch it again", name);
    }
    return s->error != 0 || s->shorter;
}
