/* json_text.c: a text as JSON has it. */
#include "support.h"
#include "utf8.h"
#include <string.h>

static void put_character(FILE *stream, const char *text, size_t bytes, uint32_t code)
{
    if (code == '"' || code == '\\')
        fprintf(stream, "\\%c", (char)code);
    else if (code == UTF8_INVALID)
        fputs("\\ufffd", stream);
    else if (!utf8_harmless(code)) /* none of which has more than four digits */
        fprintf(stream, "\\u%04x", (unsigned)code);
    else
        fwrite(text, 1, bytes, stream);
}

void json_text(FILE *stream, const char *text)
{
    if (!text) {
        fputs("null", stream);
        return;
    }
    uint32_t code;
    fputc('"', stream);
    for (size_t left = strlen(text), bytes; left > 0; text += bytes, left -= bytes) {
        bytes = utf8_next(text, left, &code);
        put_character(stream, text, bytes, code);
    }
    fputc('"', stream);
}
