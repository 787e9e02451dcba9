/* source.c: a file -> the text that marks point into. */
#include "reader.h"

#include <string.h>

static const char BYTE_ORDER_MARK[] = "\xEF\xBB\xBF";

Source *source_read(Arena *a, Diagnostics *d, const char *path)
{
    size_t length;
    const char *why;
    char *text = input_read(a, path, SPEC_BYTES_LIMIT + 1, &length, &why); /* no spec is longer */
    if (!text) {
        diag_error(d, (Mark){0}, "%s: cannot be read: %s", path, why);
        return NULL;
    }
    size_t skipped =
        strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0 ? strlen(BYTE_ORDER_MARK) : 0;
    Source *source = ARENA_NEW(a, Source);
    *source = (Source){arena_copy(a, path, strlen(path)), text + skipped, length - skipped};
    return source;
}
