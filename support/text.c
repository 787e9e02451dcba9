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

void text_fit(char *to, size_t size, const char *from)
{
    static const char gap[] = " ... ";
    size_t length = strlen(from), room = size - 1;
    if (length <= room) {
        memcpy(to, from, length + 1);
        return;
    }
    size_t tail = (room - strlen(gap)) / 2, head = room - strlen(gap) - tail;
    memcpy(to, from, head);
    memcpy(to + head, gap, strlen(gap));
    memcpy(to + head + strlen(gap), from + length - tail, tail + 1);
}
