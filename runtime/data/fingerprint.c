/* fingerprint.c: a number that says whether two data sets are the same, so that a run does not go on with
 * other pictures than it began with. Numbers go in as little-endian bytes, texts with their zero byte. */
#include "runtime.h"

#include <inttypes.h>
#include <string.h>

void fingerprint_text(Fingerprint *p, const char *text)
{
    digest_add(&p->digest, text, strlen(text) + 1);
}

static void add_number(Fingerprint *p, uint64_t number, size_t size)
{
    uint8_t bytes[sizeof number];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    digest_add(&p->digest, bytes, size);
}

void fingerprint_number(Fingerprint *p, uint64_t number)
{
    add_number(p, number, sizeof number);
}

uint32_t fingerprint_samples(const Dataset *d)
{
    return d->count < FINGERPRINT_SAMPLES ? d->count : FINGERPRINT_SAMPLES;
}

uint32_t fingerprint_sample(const Dataset *d, uint32_t nth)
{
    const uint32_t last = fingerprint_samples(d) - 1;
    return last ? (uint32_t)((uint64_t)nth * (d->count - 1) / last) : 0;
}

typedef struct {
    RowSink sink; /* first */
    Fingerprint *to;
    size_t row; /* bytes */
} Pixels;

enum { CHANNELS = 3 };

static size_t begin_pixels(RowSink *sink, int width, int height)
{
    (void)height;
    ((Pixels *)(void *)sink)->row = (size_t)width * CHANNELS;
    return 0;
}

static void take_pixels(RowSink *sink, int y, const uint8_t *row)
{
    (void)y;
    const Pixels *p = (Pixels *)(void *)sink;
    digest_add(&p->to->digest, row, p->row);
}

static void end_pixels(RowSink *sink)
{
    (void)sink;
}

bool fingerprint_pixels(const Dataset *d, Fingerprint *p, Fault *f)
{
    Picture picture = {0};
    Pixels pixels = {.sink = {begin_pixels, take_pixels, end_pixels}, .to = p};
    bool read = true;
    for (uint32_t nth = 0; read && nth < fingerprint_samples(d); nth++)
        read = picture_read_rows(d, fingerprint_sample(d, nth), 0, CHANNELS, &picture, &pixels.sink, f);
    picture_free(&picture);
    return read;
}

/* What every format has. Not the images' numbers in the files: what the limit leaves out does not count. */
static void add_labels(const Dataset *d, Fingerprint *p)
{
    fingerprint_text(p, d->format);
    fingerprint_number(p, d->count);
    fingerprint_number(p, (uint64_t)d->width);
    fingerprint_number(p, (uint64_t)d->height);
    fingerprint_number(p, (uint64_t)d->classes);
    for (uint32_t i = 0; i < d->count; i++)
        add_number(p, d->label[i], sizeof d->label[i]);
}

bool data_fingerprint(const Dataset *d, uint64_t *digest, Fault *f)
{
    Fingerprint p;
    digest_begin(&p.digest);
    add_labels(d, &p);
    if (!d->identify(d, &p, f))
        return false;
    *digest = digest_end(&p.digest);
    return true;
}

bool data_identity(const Dataset *d, char *text, size_t size, Fault *f)
{
    uint64_t digest;
    if (!data_fingerprint(d, &digest, f))
        return false;
    snprintf(text, size, "%s, %" PRIu32 " images in %d %s, fingerprint %016" PRIx64, d->format, d->count,
             d->classes, d->classes == 1 ? "class" : "classes", digest);
    return true;
}
