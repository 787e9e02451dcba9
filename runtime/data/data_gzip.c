/* data_gzip.c: a packed file (zlib) -> a file without a name, which is gone when it is closed.
 *
 * It lies in $TMPDIR or /tmp, so that it takes no memory of the program's. AMDIM_NO_GZIP leaves zlib out. */
#include "runtime.h"

#ifdef AMDIM_NO_GZIP

int gzip_unpack(int packed, const char *path, Fault *f)
{
    (void)packed;
    fault(f,
          "%s: this program was built without gzip; unpack the file (gunzip), or install zlib (Debian: "
          "zlib1g-dev) and build it again",
          path);
    return -1;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 16384 };

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

/* Where the file system cannot make a file without a name, one whose name is taken away at once. */
static int nameless_file(Fault *f)
{
    const char *folder = temporary_folder();
    int descriptor = open(folder, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor >= 0)
        return descriptor;
    char *name = path_join(folder, "amdim-XXXXXX");
    descriptor = name ? mkostemp(name, O_CLOEXEC) : -1;
    if (descriptor >= 0)
        unlink(name);
    else
        fault_errno(f, "%s: no file can be made there to unpack into; set TMPDIR to a folder of your own",
                    folder);
    free(name);
    return descriptor;
}

static bool write_whole(int descriptor, const uint8_t *bytes, size_t count, const char *path, Fault *f)
{
    for (size_t done = 0; done < count;) {
        ssize_t written = write(descriptor, bytes + done, count - done);
        if (written < 0 && errno != EINTR)
            return fault_errno(f, "%s: unpacking into %s failed; set TMPDIR to a folder with more room", path,
                               temporary_folder());
        if (written > 0)
            done += (size_t)written;
    }
    return true;
}

/* Why reading ended: true at the end of the file. */
static bool say_failure(gzFile from, const char *path, Fault *f)
{
    int reason = errno, code = Z_OK;
    const char *what = gzerror(from, &code);
    if (code == Z_OK || code == Z_STREAM_END)
        return true;
    if (code == Z_MEM_ERROR)
        return fault(f, "%s: out of memory for unpacking; free some, or unpack the file (gunzip)", path);
    if (code == Z_ERRNO)
        return fault(f, "%s: reading failed: %s", path, strerror(reason));
    const char *colon = strstr(what, ": "); /* behind "<fd:4>" */
    return fault(f, "%s: damaged or cut off (%s); fetch it again", path, colon ? colon + strlen(": ") : what);
}

static bool copy_unpacked(gzFile from, int to, const char *path, Fault *f)
{
    uint8_t block[BLOCK];
    int got;
    while ((got = gzread(from, block, BLOCK)) > 0) {
        if (gzdirect(from))
            return fault(f, "%s: not a gzip file, for all its name; fetch it again", path);
        if (signals_received())
            return fault(f, "stopped by a signal");
        if (!write_whole(to, block, (size_t)got, path, f))
            return false;
    }
    return say_failure(from, path, f);
}

int gzip_unpack(int packed, const char *path, Fault *f)
{
    int source = fcntl(packed, F_DUPFD_CLOEXEC, 0); /* gzclose closes what it is given */
    gzFile from = source >= 0 ? gzdopen(source, "rb") : NULL;
    if (!from) {
        if (source >= 0)
            close(source);
        fault(f, "%s: out of memory for unpacking; free some, or unpack the file (gunzip)", path);
        return -1;
    }
    int to = nameless_file(f);
    if (to >= 0 && !copy_unpacked(from, to, path, f)) {
        close(to);
        to = -1;
    }
    gzclose(from);
    return to;
}

#endif
