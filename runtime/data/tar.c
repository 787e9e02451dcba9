/* tar.c: the members of a tar file, one after another, where they lie: ustar and what came before it, GNU's
 * long names and numbers in base 256, pax records of path and size. Every header's sum is verified. */
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = TAR_BLOCK, PAX_MOST = 16 << 10 };

/* Fields of a header, by their places in it. */
enum { NAME = 0, NAME_BYTES = 100, SIZE = 124, SIZE_BYTES = 12, SUM = 148, SUM_BYTES = 8, TYPE = 156 };
enum { MAGIC = 257, PREFIX = 345, PREFIX_BYTES = 155 };

/* What headers in front of a member's own say of it. */
typedef struct {
    char name[TAR_NAME]; /* empty: nothing */
    uint64_t bytes;
    bool sized;
} Ahead;

static bool wrong(const DataFile *file, uint64_t at, const char *what, Fault *f)
{
    return fault(f, "%s: %s, at byte %llu; write or fetch it again", file->path, what,
                 (unsigned long long)at);
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* ---- numbers ---- */

/* Big-endian in base 256, as GNU tar writes what octal has no room for. */
static bool binary_number(const uint8_t *field, size_t size, uint64_t *number)
{
    *number = field[0] & 0x7f;
    for (size_t i = 1; i < size; i++) {
        if (*number >> 55)
            return false;
        *number = *number << 8 | field[i];
    }
    return true;
}

static bool octal_number(const uint8_t *field, size_t size, uint64_t *number)
{
    size_t i = 0;
    *number = 0;
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        *number = *number << 3 | (uint64_t)(field[i] - '0');
    return i == size || field[i] == ' ' || field[i] == '\0';
}

static bool header_number(const uint8_t *field, size_t size, uint64_t *number)
{
    return field[0] & 0x80 ? binary_number(field, size, number) : octal_number(field, size, number);
}

/* Of all bytes, those of the sum itself counted as spaces. Some old programs took bytes for signed. */
static bool sum_is_right(const uint8_t *header)
{
    uint64_t stored;
    int64_t sum = 0, as_signed = 0;
    for (int i = 0; i < BLOCK; i++) {
        const uint8_t byte = i >= SUM && i < SUM + SUM_BYTES ? ' ' : header[i];
        sum += byte;
        as_signed += (int8_t)byte;
    }
    return octal_number(header + SUM, SUM_BYTES, &stored) &&
           ((int64_t)stored == sum || (int64_t)stored == as_signed);
}

/* ---- headers in front ---- */

static bool take_name(Ahead *a, const DataFile *file, uint64_t at, const char *name, size_t length, Fault *f)
{
    if (length >= TAR_NAME)
        return wrong(file, at, "a member with a name of more than 1023 bytes", f);
    memcpy(a->name, name, length);
    a->name[length] = '\0';
    return true;
}

static bool take_long_name(Ahead *a, const DataFile *file, const TarMember *m, Fault *f)
{
    char name[TAR_NAME + 1];
    if (m->bytes > TAR_NAME)
        return wrong(file, m->offset, "a member with a name of more than 1023 bytes", f);
    if (!data_file_read(file, name, (size_t)m->bytes, m->offset, f))
        return false;
    name[m->bytes] = '\0';
    return take_name(a, file, m->offset, name, strlen(name), f);
}

/* One record's key and value; `value` ends with a line feed, in whose place a zero byte is. */
static bool take_record(Ahead *a, const DataFile *file, uint64_t at, const char *key, const char *value,
                        size_t length, Fault *f)
{
    static const char sparse[] = "GNU.sparse.";
    if (strncmp(key, sparse, strlen(sparse)) == 0)
        return wrong(file, at, "a sparse file, which is not read (tar without --sparse)", f);
    if (strcmp(key, "path") == 0)
        return take_name(a, file, at, value, length, f);
    if (strcmp(key, "size") != 0)
        return true;
    char *end;
    errno = 0;
    a->bytes = strtoull(value, &end, 10);
    a->sized = true;
    return (errno == 0 && *value >= '0' && *value <= '9' && *end == '\0') ||
           wrong(file, at, "a pax record of a size that is no number", f);
}

/* Records are LENGTH KEY=VALUE and a line feed; the length counts all of that. */
static bool take_pax(Ahead *a, const DataFile *file, const TarMember *m, Fault *f)
{
    char text[PAX_MOST + 1];
    if (m->bytes > PAX_MOST)
        return wrong(file, m->offset, "pax records of more than 16 KiB", f);
    if (!data_file_read(file, text, (size_t)m->bytes, m->offset, f))
        return false;
    text[m->bytes] = '\0';
    for (char *at = text, *const end = text + m->bytes; at < end;) {
        char *key;
        errno = 0;
        const unsigned long length = *at >= '0' && *at <= '9' ? strtoul(at, &key, 10) : 0;
        if (length == 0 || errno != 0 || length > (size_t)(end - at) || at[length - 1] != '\n')
            return wrong(file, m->offset, "damaged pax records", f);
        at[length - 1] = '\0';
        char *value = *key == ' ' && key < at + length ? strchr(key, '=') : NULL;
        if (!value)
            return wrong(file, m->offset, "damaged pax records", f);
        *value++ = '\0';
        if (!take_record(a, file, m->offset, key + 1, value, (size_t)(at + length - 1 - value), f))
            return false;
        at += length;
    }
    return true;
}

/* ---- members ---- */

/* The name of the header itself: ustar has a part of it in front. */
static void own_name(const uint8_t *header, char name[TAR_NAME])
{
    const char *last = (const char *)header + NAME, *first = (const char *)header + PREFIX;
    const bool ustar = memcmp(header + MAGIC, "ustar", 6) == 0;
    snprintf(name, TAR_NAME, "%.*s%s%.*s", ustar ? PREFIX_BYTES : 0, first, ustar && *first ? "/" : "",
             NAME_BYTES, last);
}

/* Links, devices and folders have no bytes, whatever their header says. */
static bool has_bytes(char type)
{
    return type < '1' || type > '6';
}

static bool check_room(const TarMember *m, const DataFile *file, Fault *f)
{
    const uint64_t left = file->bytes - m->offset;
    return m->bytes <= left ||
           fault(f, "%s: %s: %llu bytes, but the archive ends after %llu of them; write or fetch it again",
                 file->path, m->name, (unsigned long long)m->bytes, (unsigned long long)left);
}

/* The header at m->offset, which is then behind it. */
static bool take_header(TarMember *m, const DataFile *file, Fault *f)
{
    static const uint8_t zeros[BLOCK];
    uint8_t header[BLOCK];
    const uint64_t at = m->offset;
    if (file->bytes < BLOCK || at > file->bytes - BLOCK)
        return wrong(file, at, at == file->bytes ? "no mark of its end: it is cut short" : "cut short", f);
    if (!data_file_read(file, header, BLOCK, at, f))
        return false;
    m->offset += BLOCK;
    m->end = memcmp(header, zeros, BLOCK) == 0;
    if (m->end)
        return true;
    if (!sum_is_right(header))
        return wrong(file, at,
                     at ? "a damaged header (its sum is wrong)"
                        : "no tar file, or a damaged one (the header's sum is wrong)",
                     f);
    own_name(header, m->name);
    m->type = (char)header[TYPE];
    if (!header_number(header + SIZE, SIZE_BYTES, &m->bytes) || m->bytes > INT64_MAX - BLOCK)
        return wrong(file, at, "a header with a size that is no number, or too large", f);
    m->bytes = has_bytes(m->type) ? m->bytes : 0;
    if (m->type == 'S')
        return wrong(file, at, "a sparse file, which is not read (tar without --sparse)", f);
    return true;
}

static bool is_ahead(char type)
{
    return type && strchr("LKxXg", type);
}

static bool take_ahead(Ahead *a, const DataFile *file, const TarMember *m, Fault *f)
{
    switch (m->type) {
    case 'L': return take_long_name(a, file, m, f);
    case 'x':
    case 'X': return take_pax(a, file, m, f);
    default: /* of links, and of all that follows */ return true;
    }
}

bool tar_member(TarMember *m, const DataFile *file, uint64_t at, Fault *f)
{
    Ahead ahead = {.sized = false};
    *m = (TarMember){.offset = at};
    while (take_header(m, file, f)) {
        if (m->end)
            return true;
        if (ahead.sized && has_bytes(m->type) && !is_ahead(m->type))
            m->bytes = ahead.bytes;
        if (*ahead.name && !is_ahead(m->type))
            memcpy(m->name, ahead.name, sizeof m->name);
        if (!check_room(m, file, f))
            return false;
        if (!is_ahead(m->type)) {
            m->next = m->offset + padded(m->bytes);
            return true;
        }
        if (!take_ahead(&ahead, file, m, f))
            return false;
        m->offset += padded(m->bytes);
    }
    return false;
}

bool tar_check_end(const DataFile *file, uint64_t at, Fault *f)
{
    uint8_t bytes[8 * BLOCK];
    for (size_t count; at < file->bytes; at += count) {
        count = file->bytes - at < sizeof bytes ? (size_t)(file->bytes - at) : sizeof bytes;
        if (!data_file_read(file, bytes, count, at, f))
            return false;
        for (size_t i = 0; i < count; i++)
            if (bytes[i])
                return fault(
                    f,
                    "%s: more bytes behind its end, at byte %llu, as of files put together; write it "
                    "again as one (tar -A)",
                    file->path, (unsigned long long)(at + i));
    }
    return true;
}

bool tar_is_regular(const TarMember *m)
{
    return m->type == '0' || m->type == '\0' || m->type == '7';
}

bool tar_refuse_packed(const DataFile *file, Fault *f)
{
    static const struct {
        const char *by, *magic, *undo;
        size_t bytes;
    } packings[] = {{"gzip", "\x1f\x8b", "gunzip", 2},
                    {"bzip2", "BZh", "bunzip2", 3},
                    {"xz",
                     "\xfd"
                     "7zXZ",
                     "unxz", 5},
                    {"zstd", "\x28\xb5\x2f\xfd", "unzstd", 4}};
    char magic[5] = "";
    const size_t there = file->bytes < sizeof magic ? (size_t)file->bytes : sizeof magic;
    if (!data_file_read(file, magic, there, 0, f))
        return false;
    for (size_t i = 0; i < COUNT(packings); i++)
        if (there >= packings[i].bytes && memcmp(magic, packings[i].magic, packings[i].bytes) == 0)
            return fault(f, "%s: compressed by %s, and cannot be read as it lies; unpack it (%s)", file->path,
                         packings[i].by, packings[i].undo);
    return true;
}
