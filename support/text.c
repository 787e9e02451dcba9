/* text.c: text of others (names of files, what a file holds) as it may be shown to people. */
#include "support.h"
#include "utf8.h"

#include <string.h>

void text_printable(char *text)
{
    uint32_t code;
    for (size_t left = strlen(text), bytes; left > 0; text += bytes, left -= bytes) {
        bytes = utf8_next(text, left, &code);
        if (!utf8_harmless(code))
            memset(text, '?', bytes);
    }
}
