/* source.c: a file -> the text that marks point into. */
#include "reader.h"

#include <errno.h>
#include <string.h>

static const char BYTE_ORDER_MARK[] = "\xEF\xBB\xBF";

/* Up to `limit` bytes: what is no spec is not read whole. */
static char *read_all(Arena *a, FILE *file, size_t limit, size_t *length)
{
    char *text = arena_zeroed(a, limit + 1);
    *length = fread(text, 1, limit, file);
    return ferror(file) ? NULL : text;
}

static Source *cannot_read(Diagnostics *d, const char *path)
{
    const char *reason = strerror(errno);
    diag_error(d, (Mark){0}, "%s: cannot be read: %s", path, reason);
    return NULL;
}

Source *source_read(Arena *a, Diagnostics *d, const char *path)
{
    size_t length;
    FILE *file = fopen(path, "rb");
    if (!file)
        return cannot_read(d, path);
    errno = EIO;
    char *text = read_all(a, file, SPEC_BYTES_LIMIT + 1, &length);
    Source *source = text ? ARENA_NEW(a, Source) : cannot_read(d, path);
    fclose(file);
    if (!source)
        return NULL;
    size_t skipped =
        strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0 ? strlen(BYTE_ORDER_MARK) : 0;
    *source = (Source){arena_copy(a, path, strlen(path)), text + skipped, length - skipped};
    return source;
}
