/* decode.c: JPEG and PNG files -> pixels, whole or row by row.
 *
 * Neither the file nor, where the format allows it, the picture is ever held whole. Both libraries report
 * errors by a call that must not return, hence setjmp; all that is used after it lies in structs of the
 * caller. AMDIM_NO_JPEG and AMDIM_NO_PNG leave a library out. */
#include "decode_internal.h"

#include <string.h>

static bool begins_with(const Source *s, const char *magic, size_t length)
{
    return s->count >= length && memcmp(s->at, magic, length) == 0;
}

static bool decode(Source *s, Picture *p, int channels, const char *name, Fault *f)
{
    Rows rows = {.to = p, .channels = channels, .name = name, .fault = f};
    bool done = false;
    if (channels != 1 && channels != 3)
        return fault(f, "pictures have 1 or 3 channels, not the %d of the spec's input.channels", channels);
    if (s->count == 0)
        source_fill(s);
    if (source_failed(s, name, f))
        return false;
    if (begins_with(s, "\xff\xd8\xff", 3))
        done = decode_jpeg(s, &rows);
    else if (begins_with(s, "\x89PNG\r\n\x1a\n", 8))
        done = decode_png(s, &rows);
    else
        fault(f, "%s: neither a JPEG nor a PNG file; replace or remove it", name);
    rows_end(&rows);
    return done || (source_failed(s, name, f), false);
}

bool decode_picture(Picture *p, const uint8_t *bytes, size_t count, int channels, const char *name, Fault *f)
{
    Source s = {.at = bytes, .count = count, .descriptor = -1};
    return decode(&s, p, channels, name, f);
}

bool decode_picture_file(Picture *p, int descriptor, uint64_t offset, uint64_t bytes, int channels,
                         const char *name, Fault *f)
{
    uint8_t buffer[SOURCE_BUFFER];
    Source s = {.descriptor = descriptor, .offset = offset, .left = bytes, .buffer = buffer};
    return decode(&s, p, channels, name, f);
}
