/* decode_rows.c: one picture's rows, as a decoder makes them, changed to the channels asked for and handed to
 * whoever takes them; else into the Picture. */
#include "decode_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    SMALL = 64 << 10,     /* bytes: what every thread has for a picture, without asking */
    LOOK_EVERY = 1 << 18, /* pixels: some milliseconds */
};

static bool take_room(Rows *r, const RowsPlan *plan, size_t bytes)
{
    DecodingRoom room;
    if (bytes <= SMALL)
        return true;
    if (!decoding_take(bytes, &room))
        return fault(
            r->fault,
            "%s of %d x %d pixels takes %.1f MiB to decode; of the %.1f MiB that this program promises to "
            "take at most (peak_bytes) %.1f are left for that, and it would need %.1f; %s",
            plan->kind, plan->width, plan->height, (double)bytes / MEBIBYTE, (double)room.promised / MEBIBYTE,
            (double)room.bytes / MEBIBYTE, (double)(room.promised - room.bytes + bytes) / MEBIBYTE,
            plan->advice);
    r->room = bytes;
    return true;
}

bool rows_begin(Rows *r, const RowsPlan *plan)
{
    Picture *p = r->to;
    if (!picture_check_sides(plan->width, plan->height, r->fault))
        return false;
    r->width = plan->width;
    r->height = plan->height;
    r->stored = plan->stored;
    int most = plan->stored > r->channels ? plan->stored : r->channels;
    size_t row = (size_t)plan->width * (size_t)most, bytes = plan->bytes + row;
    if ((r->sink = p->rows))
        bytes += r->sink->begin(r->sink, plan->width, plan->height);
    if (!take_room(r, plan, bytes) ||
        (!r->sink && !picture_reserve(p, plan->width, plan->height, r->channels, r->fault)))
        return false;
    p->width = plan->width;
    p->height = plan->height;
    p->channels = r->channels;
    p->streamed = r->sink != NULL;
    r->row = malloc(row);
    return r->row || fault(r->fault, "out of memory for a row of %d pixels; free some", plan->width);
}

bool rows_may_go_on(Rows *r, uint64_t pixels)
{
    r->unlooked += pixels;
    if (r->unlooked < LOOK_EVERY)
        return true;
    r->unlooked = 0;
    return !signals_received() || fault(r->fault, "stopped by a signal");
}

bool rows_give(Rows *r, int y, const uint8_t *row)
{
    Picture *p = r->to;
    size_t width = (size_t)r->width;
    if (row != r->row)
        memcpy(r->row, row, width * (size_t)r->stored);
    pixels_convert(r->row, width, r->stored, r->channels);
    if (r->sink)
        r->sink->take(r->sink, y, r->row);
    else
        memcpy(p->pixels + (size_t)y * width * (size_t)r->channels, r->row, width * (size_t)r->channels);
    return rows_may_go_on(r, width);
}

void rows_end(Rows *r)
{
    free(r->row);
    if (r->sink)
        r->sink->end(r->sink);
    if (r->room)
        decoding_give(r->room);
}
