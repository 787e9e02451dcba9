/* tensorboard.c: RUN/events.out.tfevents.SECONDS.HOST, the curves of a run for TensorBoard.
 *
 * A file is records of TensorFlow's (length, checksum, payload, checksum), each an Event of event.proto in
 * the encoding of protocol buffers: the format's version first, then the start of a session, then a scalar
 * each. The start names the step that comes next; of a folder's older files TensorBoard drops what they have
 * of it and of later steps, so that a run gone on with has one curve. Scalars are written at most once a
 * second, about 60 bytes each, and whenever the caller says always. */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double WRITE_EVERY = 1, FLUSH_EVERY = 1; /* seconds */

/* ---- protocol buffers ---- */

enum { MOST_BYTES = 256, MOST_TAG = 64 }; /* an Event with its longest tag has 120 */

typedef struct {
    uint8_t bytes[MOST_BYTES];
    size_t count;
} Message;

typedef enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 } WireType;

/* Numbers of the fields, from event.proto and summary.proto. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    SESSION_LOG_STATUS = 1,
    SESSION_START = 1,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
};

static void put_varint(Message *m, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        m->bytes[m->count++] = (uint8_t)(value | 0x80);
    m->bytes[m->count++] = (uint8_t)value;
}

/* Little-endian on every machine. */
static void put_fixed(Message *m, uint64_t bits, int bytes)
{
    for (int i = 0; i < bytes; i++)
        m->bytes[m->count++] = (uint8_t)(bits >> (8 * i));
}

static void put_key(Message *m, int field, WireType type)
{
    put_varint(m, (uint64_t)field << 3 | type);
}

static void put_number(Message *m, int field, uint64_t value)
{
    put_key(m, field, VARINT);
    put_varint(m, value);
}

static void put_double(Message *m, int field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, FIXED64);
    put_fixed(m, bits, 8);
}

static void put_float(Message *m, int field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, FIXED32);
    put_fixed(m, bits, 4);
}

static void put_bytes(Message *m, int field, const void *bytes, size_t count)
{
    put_key(m, field, LENGTH);
    put_varint(m, count);
    memcpy(m->bytes + m->count, bytes, count);
    m->count += count;
}

static void put_text(Message *m, int field, const char *text)
{
    put_bytes(m, field, text, strlen(text));
}

static void put_message(Message *m, int field, const Message *inner)
{
    put_bytes(m, field, inner->bytes, inner->count);
}

/* ---- records ---- */

/* CRC-32C (Castagnoli), bit by bit: a record is short, and there are few in a second. */
static uint32_t crc32c(const uint8_t *bytes, size_t count)
{
    const uint32_t polynomial = 0x82f63b78; /* its bits mirrored */
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    }
    return ~crc;
}

/* As records store it, so that a checksum over data that hold checksums is one still. */
static uint32_t masked_crc(const uint8_t *bytes, size_t count)
{
    uint32_t crc = crc32c(bytes, count);
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

static bool write_record(Events *e, const Message *payload, Fault *f)
{
    Message head = {.count = 0}, tail = {.count = 0};
    put_fixed(&head, payload->count, 8);
    put_fixed(&head, masked_crc(head.bytes, head.count), 4);
    put_fixed(&tail, masked_crc(payload->bytes, payload->count), 4);
    const Message *parts[] = {&head, payload, &tail};
    for (size_t i = 0; i < COUNT(parts); i++)
        fwrite(parts[i]->bytes, 1, parts[i]->count, e->stream);
    return !ferror(e->stream) || fault_errno(f, "cannot write %s", e->path);
}

/* ---- events ---- */

static Message event_at(uint64_t step)
{
    Message event = {.count = 0};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    put_double(&event, EVENT_WALL_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    put_number(&event, EVENT_STEP, step);
    return event;
}

static bool write_version(Events *e, Fault *f)
{
    Message event = event_at(0);
    put_text(&event, EVENT_FILE_VERSION, "brain.Event:2");
    return write_record(e, &event, f);
}

static bool write_start(Events *e, uint64_t next_step, Fault *f)
{
    Message event = event_at(next_step), session = {.count = 0};
    put_number(&session, SESSION_LOG_STATUS, SESSION_START);
    put_message(&event, EVENT_SESSION_LOG, &session);
    return write_record(e, &event, f);
}

/* "group/name", or the group alone. What is no number has no place on a curve. */
static bool write_scalar(Events *e, uint64_t step, const char *group, const char *name, double value,
                         Fault *f)
{
    char tag[MOST_TAG];
    if (!isfinite(value))
        return true;
    snprintf(tag, sizeof tag, "%s%s%s", group, name ? "/" : "", name ? name : "");
    Message event = event_at(step), summary = {.count = 0}, scalar = {.count = 0};
    put_text(&scalar, VALUE_TAG, tag);
    put_float(&scalar, VALUE_SIMPLE, (float)value);
    put_message(&summary, SUMMARY_VALUE, &scalar);
    put_message(&event, EVENT_SUMMARY, &summary);
    return write_record(e, &event, f);
}

static bool write_row(Events *e, const AmdimModel *m, const MetricsRow *row, Fault *f)
{
    const struct {
        const char *name;
        double value;
    } scalars[] = {{"loss", row->loss},
                   {"penalty", row->penalty},
                   {"lr", row->lr},
                   {"images_per_second", row->images_per_second}};
    for (size_t i = 0; i < COUNT(scalars); i++)
        if (!write_scalar(e, row->step, scalars[i].name, NULL, scalars[i].value, f))
            return false;
    for (int i = 0; i < m->pairs; i++)
        if (!write_scalar(e, row->step, "loss", m->pair[i].name, row->pair_loss[i], f) ||
            !write_scalar(e, row->step, "accuracy", m->pair[i].name, row->pair_accuracy[i], f))
            return false;
    return true;
}

/* ---- the file ---- */

/* By malloc. The name sorts behind those of earlier seconds, which is the order TensorBoard reads them in. */
static char *file_name(const char *folder, time_t seconds)
{
    char host[256] = "", *path = NULL;
    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        if (*c == '/')
            *c = '_';
    if (asprintf(&path, "%s/events.out.tfevents.%010" PRId64 ".%s", folder, (int64_t)seconds,
                 *host ? host : "localhost") < 0)
        return NULL;
    return path;
}

/* A file of its own, also where another was begun in the same second. */
static bool create(Events *e, const char *folder, Fault *f)
{
    int descriptor = -1;
    for (time_t seconds = time(NULL); descriptor < 0; seconds++) {
        free(e->path);
        if (!(e->path = file_name(folder, seconds)))
            return fault(f, "out of memory for the names in %s", folder);
        descriptor = open(e->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && errno != EEXIST)
            return fault_errno(f, "cannot write %s", e->path);
    }
    if ((e->stream = fdopen(descriptor, "w")))
        return true;
    close(descriptor);
    return fault_errno(f, "cannot write %s", e->path);
}

bool events_open(Events *e, const char *folder, uint64_t steps, Fault *f)
{
    *e = (Events){.written = -INFINITY};
    if (create(e, folder, f) && write_version(e, f) && write_start(e, steps + 1, f) && events_flush(e, f))
        return true;
    events_close(e);
    return false;
}

bool events_flush(Events *e, Fault *f)
{
    e->flushed = clock_seconds();
    return !e->stream || fflush(e->stream) == 0 || fault_errno(f, "cannot write %s", e->path);
}

static bool flush_if_due(Events *e, Fault *f)
{
    return clock_seconds() - e->flushed < FLUSH_EVERY || events_flush(e, f);
}

bool events_write(Events *e, const AmdimModel *m, const MetricsRow *row, bool always, Fault *f)
{
    double now = clock_seconds();
    if (!e->stream)
        return true;
    if (!always && now - e->written < WRITE_EVERY)
        return true;
    e->written = now;
    return write_row(e, m, row, f) && flush_if_due(e, f);
}

bool events_probe(Events *e, uint64_t step, const ProbeResult *r, Fault *f)
{
    double low, high;
    char low_name[32], high_name[32];
    const char *head = r->head ? r->head : "linear";
    if (!e->stream)
        return true;
    share_interval(r->accuracy, r->images, &low, &high);
    snprintf(low_name, sizeof low_name, "%s_low", head);
    snprintf(high_name, sizeof high_name, "%s_high", head);
    return write_scalar(e, step, "probe", head, r->accuracy, f) &&
           write_scalar(e, step, "probe", low_name, low, f) &&
           write_scalar(e, step, "probe", high_name, high, f) && events_flush(e, f);
}

void events_close(Events *e)
{
    if (e->stream)
        fclose(e->stream);
    free(e->path);
    *e = (Events){0};
}
