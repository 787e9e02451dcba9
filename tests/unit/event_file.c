/* event_file.c: see event_file.h. The checksum is a division of polynomials, highest power first, as the
 * textbooks have it; the runtime's goes from the lowest. */
#include "event_file.h"
#include "commands.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint32_t mirrored(uint32_t word, int bits)
{
    uint32_t out = 0;
    for (int i = 0; i < bits; i++)
        out |= (word >> i & 1) << (bits - 1 - i);
    return out;
}

uint32_t crc_32c(const void *bytes, size_t count)
{
    const uint8_t *byte = bytes;
    uint32_t remainder = 0xffffffff;
    for (size_t i = 0; i < count; i++) {
        remainder ^= mirrored(byte[i], 8) << 24;
        for (int bit = 0; bit < 8; bit++) {
            bool over = remainder & 0x80000000;
            remainder = remainder << 1 ^ (over ? 0x1edc6f41 : 0);
        }
    }
    return mirrored(remainder, 32) ^ 0xffffffff;
}

/* ---- bytes ---- */

typedef struct {
    const uint8_t *at, *end;
} Bytes;

static Bytes take(Bytes *b, uint64_t count)
{
    assert_true(count <= (uint64_t)(b->end - b->at));
    Bytes taken = {b->at, b->at + count};
    b->at += count;
    return taken;
}

static uint64_t take_fixed(Bytes *b, int bytes)
{
    uint64_t value = 0;
    Bytes taken = take(b, (uint64_t)bytes);
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | taken.at[i];
    return value;
}

static uint64_t take_varint(Bytes *b)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = *take(b, 1).at;
        assert_in_range(shift, 0, 63);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
}

static void take_checksum(Bytes *b, Bytes of)
{
    uint32_t stored = (uint32_t)take_fixed(b, 4) - 0xa282ead8;
    assert_int_equal(stored << 15 | stored >> 17, crc_32c(of.at, (size_t)(of.end - of.at)));
}

/* ---- messages ---- */

typedef struct {
    uint64_t number;
    Bytes inner; /* of a field with a length */
    uint64_t bits;
} Field;

static Field take_field(Bytes *b)
{
    uint64_t key = take_varint(b);
    Field field = {.number = key >> 3};
    switch (key & 7) {
    case 0: field.bits = take_varint(b); break;
    case 1: field.bits = take_fixed(b, 8); break;
    case 2: field.inner = take(b, take_varint(b)); break;
    case 5: field.bits = take_fixed(b, 4); break;
    default: fail_msg("a field of type %d", (int)(key & 7));
    }
    return field;
}

static void copy_text(char *out, size_t size, Bytes text)
{
    size_t length = (size_t)(text.end - text.at);
    assert_in_range(length, 1, size - 1);
    memcpy(out, text.at, length);
    out[length] = '\0';
}

/* Summary.Value: the tag, and a float. */
static void read_value(FileEvent *e, Bytes value)
{
    while (value.at < value.end) {
        Field field = take_field(&value);
        assert_in_range(field.number, 1, 2);
        if (field.number == 1) {
            copy_text(e->tag, sizeof e->tag, field.inner);
        } else {
            uint32_t bits = (uint32_t)field.bits;
            float number;
            memcpy(&number, &bits, sizeof number);
            e->value = (double)number;
        }
    }
}

static FileEvent read_event(Bytes payload)
{
    FileEvent e = {0};
    while (payload.at < payload.end) {
        Field inner, field = take_field(&payload);
        switch (field.number) {
        case 1: memcpy(&e.wall_time, &field.bits, sizeof e.wall_time); break;
        case 2: e.step = field.bits; break;
        case 3: copy_text(e.version, sizeof e.version, field.inner); break;
        case 5: /* a summary, of one value */
            inner = take_field(&field.inner);
            assert_int_equal(inner.number, 1);
            assert_true(field.inner.at == field.inner.end);
            read_value(&e, inner.inner);
            break;
        case 7: /* a session's log: its status is START */
            inner = take_field(&field.inner);
            assert_true(inner.number == 1 && inner.bits == 1);
            e.start = true;
            break;
        default: fail_msg("an event with field %d", (int)field.number);
        }
    }
    return e;
}

EventFile event_file_read(const char *path)
{
    EventFile e = {0};
    size_t count;
    char *text = read_whole(path, &count);
    Bytes file = {(const uint8_t *)text, (const uint8_t *)text + count};
    while (file.at < file.end) {
        Bytes length = {file.at, file.at + 8};
        uint64_t bytes = take_fixed(&file, 8);
        take_checksum(&file, length);
        Bytes payload = take(&file, bytes);
        take_checksum(&file, payload);
        e.event = realloc(e.event, (e.count + 1) * sizeof *e.event);
        assert_non_null(e.event);
        e.event[e.count++] = read_event(payload);
    }
    free(text);
    return e;
}

void event_file_free(EventFile *e)
{
    free(e->event);
    *e = (EventFile){0};
}

int event_file_scalars(const EventFile *e, const char *tag, uint64_t step, double *value)
{
    int found = 0;
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->event[i].tag, tag) == 0 && e->event[i].step >= step) {
            found++;
            if (value)
                *value = e->event[i].value;
        }
    return found;
}
