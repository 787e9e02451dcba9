/* families.h: the kinds of calls that inject.so counts and fails, and how it is told; for inject.c and the
 * tests.
 *
 * $INJECT is "FAMILY NUMBER WAY VALUE PATH": call NUMBER of the family, counted from 1 from the beginning of
 * main, in all threads, meets WAY. PATH is a file of Counts, which goes on counting after a kill. */
#ifndef FAMILIES_H
#define FAMILIES_H

#include <stdatomic.h>

typedef enum {
    FAMILY_MEMORY,   /* malloc and its kin, strdup's within */
    FAMILY_OPEN,     /* open, openat, fopen, fdopen, mkstemp */
    FAMILY_READ,     /* read, pread, fread, fgets, getline */
    FAMILY_WRITE,    /* write, pwrite */
    FAMILY_STREAM,   /* fwrite, fflush, fclose of what was written: where a stream's own writing shows */
    FAMILY_SYNC,     /* fsync, fdatasync */
    FAMILY_RENAME,   /* rename, link, symlink, unlink, mkdir */
    FAMILY_CLOSE,    /* close */
    FAMILY_STATUS,   /* stat, lstat, fstat, access, realpath, lseek, fseeko, flock, fcntl */
    FAMILY_MAP,      /* mmap */
    FAMILY_TRUNCATE, /* ftruncate, truncate */
    FAMILY_LIST,     /* opendir, fdopendir, readdir, scandir */
    FAMILY_THREAD,   /* pthread_create */
    FAMILY_PROCESS,  /* fork, posix_spawn, pipe, waitpid */
    FAMILIES,
} Family;

typedef enum {
    WAY_NONE,   /* only count */
    WAY_ONCE,   /* fail with errno VALUE */
    WAY_FROM,   /* and all calls after it */
    WAY_SHORT,  /* of reads and writes: do one byte; of others nothing */
    WAY_SIGNAL, /* send the process signal VALUE, then do it; of SIGKILL a write first does half */
} Way;

typedef struct {
    _Atomic long calls[FAMILIES];
    _Atomic long met; /* how many met the way */
} Counts;

#endif
