/* inject.c: a library to preload, which makes a call of the system or of malloc fail, or stops the program in
 * it. families.h says how it is told.
 *
 * The program's children do not inherit it. What glibc does within its own functions is out of reach, but for
 * malloc: of streams their calls are failed instead, and marked as the stream's error. */
#include "families.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static Counts *counts; /* NULL: main has not begun, or nothing is asked for */
static int family, way, value;
static long number;

/* Whether this call is to fail, with errno set. */
static bool meets(Family f)
{
    if (!counts)
        return false;
    long call = atomic_fetch_add(&counts->calls[f], 1) + 1;
    if ((int)f != family || way == WAY_NONE || (way == WAY_FROM ? call < number : call != number))
        return false;
    atomic_fetch_add(&counts->met, 1);
    if (way == WAY_SIGNAL && value != SIGKILL)
        kill(getpid(), value);
    if (way == WAY_ONCE || way == WAY_FROM)
        errno = value;
    return true;
}

/* The same of calls that have nothing to do in part. */
static bool fails(Family f)
{
    if (!meets(f))
        return false;
    if (way == WAY_SIGNAL && value == SIGKILL)
        kill(getpid(), SIGKILL);
    return way == WAY_ONCE || way == WAY_FROM;
}

static void *original(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/* ---- the beginning ---- */

typedef int Main(int argc, char **argv, char **environment);
static Main *program_main;

static int main_counted(int argc, char **argv, char **environment)
{
    char path[512];
    const char *told = getenv("INJECT");
    if (told && sscanf(told, "%d %ld %d %d %511s", &family, &number, &way, &value, path) == 5) {
        int file = open(path, O_RDWR | O_CLOEXEC);
        void *map = mmap(NULL, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        unsetenv("LD_PRELOAD");
        unsetenv("INJECT");
        counts = map == MAP_FAILED ? NULL : map;
    }
    return program_main(argc, argv, environment);
}

int __libc_start_main(Main *begin, int argc, char **argv, Main *init, void (*fini)(void),
                      void (*loader)(void), void *stack)
{
    int (*start)(Main *, int, char **, Main *, void (*)(void), void (*)(void), void *);
    *(void **)&start = original("__libc_start_main");
    program_main = begin;
    return start(main_counted, argc, argv, init, fini, loader, stack);
}

/* ---- memory: by glibc's own names, for dlsym itself asks for memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    return fails(FAMILY_MEMORY) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(FAMILY_MEMORY) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(FAMILY_MEMORY) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(FAMILY_MEMORY) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (fails(FAMILY_MEMORY))
        return ENOMEM;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

/* ---- calls that only fail or do not ---- */

#define WRAP(f, type, failure, name, parameters, arguments)                                                  \
    type name parameters                                                                                     \
    {                                                                                                        \
        static type(*real) parameters;                                                                       \
        if (!real)                                                                                           \
            *(void **)&real = original(#name);                                                               \
        return fails(f) ? (failure) : real arguments;                                                        \
    }

#define WRAP_OPEN(name)                                                                                      \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        va_list more;                                                                                        \
        va_start(more, flags);                                                                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                              \
        va_end(more);                                                                                        \
        static int (*real)(const char *, int, ...);                                                          \
        if (!real)                                                                                           \
            *(void **)&real = original(#name);                                                               \
        return fails(FAMILY_OPEN) ? -1 : real(path, flags, mode);                                            \
    }

#define WRAP_OPENAT(name)                                                                                    \
    int name(int folder, const char *path, int flags, ...)                                                   \
    {                                                                                                        \
        va_list more;                                                                                        \
        va_start(more, flags);                                                                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                              \
        va_end(more);                                                                                        \
        static int (*real)(int, const char *, int, ...);                                                     \
        if (!real)                                                                                           \
            *(void **)&real = original(#name);                                                               \
        return fails(FAMILY_OPEN) ? -1 : real(folder, path, flags, mode);                                    \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP(FAMILY_OPEN, FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
WRAP(FAMILY_OPEN, FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode))
WRAP(FAMILY_OPEN, FILE *, NULL, fdopen, (int file, const char *mode), (file, mode))
WRAP(FAMILY_OPEN, FILE *, NULL, fopencookie,
     (void *restrict cookie, const char *restrict mode, cookie_io_functions_t functions),
     (cookie, mode, functions))
WRAP(FAMILY_OPEN, FILE *, NULL, tmpfile, (void), ())
WRAP(FAMILY_OPEN, FILE *, NULL, tmpfile64, (void), ())
WRAP(FAMILY_OPEN, int, -1, mkstemp, (char *name), (name))
WRAP(FAMILY_OPEN, int, -1, mkostemp, (char *name, int flags), (name, flags))
WRAP(FAMILY_OPEN, int, -1, mkostemp64, (char *name, int flags), (name, flags))
WRAP(FAMILY_OPEN, int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))

WRAP(FAMILY_SYNC, int, -1, fsync, (int file), (file))
WRAP(FAMILY_SYNC, int, -1, fdatasync, (int file), (file))

WRAP(FAMILY_RENAME, int, -1, rename, (const char *from, const char *to), (from, to))
WRAP(FAMILY_RENAME, int, -1, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(FAMILY_RENAME, int, -1, link, (const char *from, const char *to), (from, to))
WRAP(FAMILY_RENAME, int, -1, linkat, (int a, const char *from, int b, const char *to, int flags),
     (a, from, b, to, flags))
WRAP(FAMILY_RENAME, int, -1, symlink, (const char *from, const char *to), (from, to))
WRAP(FAMILY_RENAME, int, -1, unlink, (const char *path), (path))
WRAP(FAMILY_RENAME, int, -1, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
WRAP(FAMILY_RENAME, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(FAMILY_RENAME, int, -1, fchmod, (int file, mode_t mode), (file, mode))
WRAP(FAMILY_RENAME, int, -1, chmod, (const char *path, mode_t mode), (path, mode))

WRAP(FAMILY_STATUS, int, -1, stat, (const char *restrict path, struct stat *restrict s), (path, s))
WRAP(FAMILY_STATUS, int, -1, lstat, (const char *restrict path, struct stat *restrict s), (path, s))
WRAP(FAMILY_STATUS, int, -1, fstat, (int file, struct stat *s), (file, s))
WRAP(FAMILY_STATUS, int, -1, stat64, (const char *restrict path, struct stat64 *restrict s), (path, s))
WRAP(FAMILY_STATUS, int, -1, lstat64, (const char *restrict path, struct stat64 *restrict s), (path, s))
WRAP(FAMILY_STATUS, int, -1, fstat64, (int file, struct stat64 *s), (file, s))
WRAP(FAMILY_STATUS, int, -1, access, (const char *path, int mode), (path, mode))
WRAP(FAMILY_STATUS, char *, NULL, realpath, (const char *restrict path, char *restrict out), (path, out))
WRAP(FAMILY_STATUS, off_t, -1, lseek, (int file, off_t offset, int whence), (file, offset, whence))
WRAP(FAMILY_STATUS, off64_t, -1, lseek64, (int file, off64_t offset, int whence), (file, offset, whence))
WRAP(FAMILY_STATUS, int, -1, fseeko, (FILE * stream, off_t offset, int whence), (stream, offset, whence))
WRAP(FAMILY_STATUS, int, -1, fseeko64, (FILE * stream, off64_t offset, int whence), (stream, offset, whence))
WRAP(FAMILY_STATUS, int, -1, flock, (int file, int operation), (file, operation))
WRAP(FAMILY_STATUS, ssize_t, -1, readlink, (const char *restrict path, char *restrict out, size_t size),
     (path, out, size))

WRAP(FAMILY_MAP, void *, MAP_FAILED, mmap,
     (void *at, size_t size, int can, int flags, int file, off_t offset),
     (at, size, can, flags, file, offset))
WRAP(FAMILY_MAP, void *, MAP_FAILED, mmap64,
     (void *at, size_t size, int can, int flags, int file, off64_t offset),
     (at, size, can, flags, file, offset))

WRAP(FAMILY_TRUNCATE, int, -1, ftruncate, (int file, off_t size), (file, size))
WRAP(FAMILY_TRUNCATE, int, -1, ftruncate64, (int file, off64_t size), (file, size))
WRAP(FAMILY_TRUNCATE, int, -1, truncate, (const char *path, off_t size), (path, size))

WRAP(FAMILY_LIST, DIR *, NULL, opendir, (const char *path), (path))
WRAP(FAMILY_LIST, DIR *, NULL, fdopendir, (int file), (file))
WRAP(FAMILY_LIST, struct dirent *, NULL, readdir, (DIR * folder), (folder))
WRAP(FAMILY_LIST, struct dirent64 *, NULL, readdir64, (DIR * folder), (folder))

WRAP(FAMILY_PROCESS, pid_t, -1, fork, (void), ())
WRAP(FAMILY_PROCESS, int, -1, pipe, (int ends[2]), (ends))
WRAP(FAMILY_PROCESS, int, -1, pipe2, (int ends[2], int flags), (ends, flags))

typedef int (*SortEntries)(const struct dirent **, const struct dirent **);
typedef int (*FilterEntry)(const struct dirent *);
WRAP(FAMILY_LIST, int, -1, scandir,
     (const char *restrict path, struct dirent ***restrict out, FilterEntry filter, SortEntries sort),
     (path, out, filter, sort))
typedef int (*SortEntries64)(const struct dirent64 **, const struct dirent64 **);
typedef int (*FilterEntry64)(const struct dirent64 *);
WRAP(FAMILY_LIST, int, -1, scandir64,
     (const char *restrict path, struct dirent64 ***restrict out, FilterEntry64 filter, SortEntries64 sort),
     (path, out, filter, sort))

/* These return what failed. */
WRAP(FAMILY_THREAD, int, value, pthread_create,
     (pthread_t *restrict thread, const pthread_attr_t *restrict kind, void *(*begin)(void *),
      void *restrict arg),
     (thread, kind, begin, arg))
WRAP(FAMILY_PROCESS, int, value, posix_spawn,
     (pid_t *restrict child, const char *restrict path, const posix_spawn_file_actions_t *restrict actions,
      const posix_spawnattr_t *restrict kind, char *const argv[restrict], char *const environment[restrict]),
     (child, path, actions, kind, argv, environment))
WRAP(FAMILY_PROCESS, int, value, posix_spawnp,
     (pid_t *restrict child, const char *restrict path, const posix_spawn_file_actions_t *restrict actions,
      const posix_spawnattr_t *restrict kind, char *const argv[restrict], char *const environment[restrict]),
     (child, path, actions, kind, argv, environment))

/* A descriptor is gone even where closing it says that something failed. */
int close(int file)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = original("close");
    bool failed = fails(FAMILY_CLOSE);
    int error = errno, code = real(file);
    if (!failed)
        return code;
    errno = error;
    return -1;
}

/* ---- reading and writing ---- */

/* How much of it is done: all, part, or (-1) nothing, for it fails. */
static ssize_t share(Family f, size_t bytes)
{
    if (!meets(f))
        return (ssize_t)bytes;
    if (way == WAY_SIGNAL)
        return value == SIGKILL && f == FAMILY_READ ? (kill(getpid(), SIGKILL), 0) : (ssize_t)bytes;
    return way == WAY_SHORT ? (ssize_t)(bytes > 1 ? 1 : bytes) : -1;
}

ssize_t read(int file, void *out, size_t bytes)
{
    static ssize_t (*real)(int, void *, size_t);
    if (!real)
        *(void **)&real = original("read");
    ssize_t part = share(FAMILY_READ, bytes);
    return part < 0 ? -1 : real(file, out, (size_t)part);
}

#define WRAP_PREAD(name, offset_type)                                                                        \
    ssize_t name(int file, void *out, size_t bytes, offset_type offset)                                      \
    {                                                                                                        \
        static ssize_t (*real)(int, void *, size_t, offset_type);                                            \
        if (!real)                                                                                           \
            *(void **)&real = original(#name);                                                               \
        ssize_t part = share(FAMILY_READ, bytes);                                                            \
        return part < 0 ? -1 : real(file, out, (size_t)part, offset);                                        \
    }
WRAP_PREAD(pread, off_t)
WRAP_PREAD(pread64, off64_t)

/* One that is to be killed writes half before. */
static bool is_torn(size_t bytes, ssize_t *part)
{
    long call = counts ? atomic_load(&counts->calls[FAMILY_WRITE]) + 1 : 0;
    bool torn = counts && family == FAMILY_WRITE && way == WAY_SIGNAL && value == SIGKILL && call == number;
    *part = torn ? (ssize_t)(bytes / 2) : share(FAMILY_WRITE, bytes);
    return torn;
}

ssize_t write(int file, const void *bytes, size_t count)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        *(void **)&real = original("write");
    ssize_t part;
    bool torn = is_torn(count, &part);
    ssize_t done = part < 0 ? -1 : real(file, bytes, (size_t)part);
    if (torn)
        kill(getpid(), SIGKILL);
    return done;
}

#define WRAP_PWRITE(name, offset_type)                                                                       \
    ssize_t name(int file, const void *bytes, size_t count, offset_type offset)                              \
    {                                                                                                        \
        static ssize_t (*real)(int, const void *, size_t, offset_type);                                      \
        if (!real)                                                                                           \
            *(void **)&real = original(#name);                                                               \
        ssize_t part;                                                                                        \
        bool torn = is_torn(count, &part);                                                                   \
        ssize_t done = part < 0 ? -1 : real(file, bytes, (size_t)part, offset);                              \
        if (torn)                                                                                            \
            kill(getpid(), SIGKILL);                                                                         \
        return done;                                                                                         \
    }
WRAP_PWRITE(pwrite, off_t)
WRAP_PWRITE(pwrite64, off64_t)

/* ---- streams ---- */

/* glibc's own mark of a stream in error, which ferror asks for. */
static bool stream_fails(FILE *stream, Family f)
{
    enum { ERROR_SEEN = 0x20 };
    if (!stream || stream == stderr || !fails(f))
        return false;
    stream->_flags |= ERROR_SEEN;
    return true;
}

size_t fread(void *restrict out, size_t size, size_t count, FILE *restrict stream)
{
    static size_t (*real)(void *, size_t, size_t, FILE *);
    if (!real)
        *(void **)&real = original("fread");
    return stream_fails(stream, FAMILY_READ) ? 0 : real(out, size, count, stream);
}

char *fgets(char *restrict out, int size, FILE *restrict stream)
{
    static char *(*real)(char *, int, FILE *);
    if (!real)
        *(void **)&real = original("fgets");
    return stream_fails(stream, FAMILY_READ) ? NULL : real(out, size, stream);
}

ssize_t getline(char **restrict out, size_t *restrict room, FILE *restrict stream)
{
    static ssize_t (*real)(char **, size_t *, FILE *);
    if (!real)
        *(void **)&real = original("getline");
    return stream_fails(stream, FAMILY_READ) ? -1 : real(out, room, stream);
}

size_t fwrite(const void *restrict bytes, size_t size, size_t count, FILE *restrict stream)
{
    static size_t (*real)(const void *, size_t, size_t, FILE *);
    if (!real)
        *(void **)&real = original("fwrite");
    return stream_fails(stream, FAMILY_STREAM) ? 0 : real(bytes, size, count, stream);
}

int fflush(FILE *stream)
{
    static int (*real)(FILE *);
    if (!real)
        *(void **)&real = original("fflush");
    return stream_fails(stream, FAMILY_STREAM) ? EOF : real(stream);
}

int fclose(FILE *stream)
{
    static int (*real)(FILE *);
    if (!real)
        *(void **)&real = original("fclose");
    bool failed = stream_fails(stream, FAMILY_STREAM);
    int error = errno, code = real(stream);
    if (!failed)
        return code;
    errno = error;
    return EOF;
}
