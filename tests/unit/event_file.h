/* event_file.h: TensorBoard's event files, read for tests without the runtime's own code. */
#ifndef EVENT_FILE_H
#define EVENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    double wall_time;
    uint64_t step;
    char version[32]; /* "" unless the event says the file's version */
    bool start;       /* of a session */
    char tag[64];     /* of a scalar; "" without one */
    double value;
} FileEvent;

typedef struct {
    FileEvent *event; /* by malloc */
    size_t count;
} EventFile;

/* Fails the test where a length, a checksum or a field is not as it should be. */
EventFile event_file_read(const char *path);
void event_file_free(EventFile *e);
/* How many scalars of that name there are at or behind `step`; the last one's value to *value, if not NULL.
 */
int event_file_scalars(const EventFile *e, const char *tag, uint64_t step, double *value);
/* CRC-32C (Castagnoli). */
uint32_t crc_32c(const void *bytes, size_t count);

#endif
