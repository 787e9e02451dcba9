/* readers.h: any bytes at all through each reader of files that come from elsewhere; for libFuzzer
 * (read_bytes.c) and, over the seeds, for test_readers.c. */
#ifndef READERS_H
#define READERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    /* Aborts where something does not hold. Files are written to `folder`, which is as before in the end. */
    void (*take)(const char *folder, const uint8_t *bytes, size_t count);
} Reader;
enum { READERS = 10 };
extern const Reader readers[READERS];
const Reader *reader_named(const char *name); /* or NULL */

/* seeds.c: small files as they should be, written on the spot, in the form that the reader's `take` wants. */
typedef void SeedSink(void *arg, const uint8_t *bytes, size_t count);
void seeds_of(const char *reader, SeedSink *sink, void *arg);

#endif
