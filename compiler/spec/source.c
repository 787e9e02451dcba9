/* source.c: a file, or an option -> the text that marks point into. */
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

Source *option_source(Arena *a, const char *option, const char *text)
{
    Source *source = ARENA_NEW(a, Source);
    *source = (Source){option, text, strlen(text)};
    return source;
}

Node *option_scalar(Arena *a, const Source *source, size_t begin, size_t length)
{
    Node *n = ARENA_NEW(a, Node);
    n->kind = NODE_SCALAR;
    n->plain = true;
    n->text = arena_copy(a, source->text + begin, length);
    n->length = length;
    n->at = (Mark){source, 1, (int)begin + 1, length > 0 ? (int)length : 1};
    return n;
}
