/* template.c: text with holes. @name@ is a hole; every hole must have a value and every value a hole. */
#include "amdimc.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 16 };

static char *template_text(Arena *a, const char *path)
{
    size_t length;
    const char *why;
    char *text = input_read(a, path, MOST_BYTES, &length, &why);
    if (!text) {
        say("amdimc: error: %s: %s; is the installation complete?", path, why);
        exit(EXIT_FAILED);
    }
    if (length == MOST_BYTES)
        bug("%s is longer than %d bytes", path, MOST_BYTES - 1);
    return text;
}

/* The hole that begins at `at` (an @), or 0 where this @ begins none. */
static size_t hole_length(const char *at)
{
    size_t n = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_");
    return n && at[1 + n] == '@' ? n : 0;
}

static int find_fill(const Fill *fill, int fills, const char *name, size_t length)
{
    for (int i = 0; i < fills; i++)
        if (strlen(fill[i].hole) == length && !memcmp(fill[i].hole, name, length))
            return i;
    return -1;
}

void template_expand(Arena *a, FILE *out, const char *directory, const char *name, const Fill *fill,
                     int fills)
{
    const char *path = arena_printf(a, "%s/%s", directory, name), *text = template_text(a, path);
    bool *used = ARENA_ARRAY(a, bool, fills ? fills : 1);
    int line = 1;
    const char *line_start = text;
    for (const char *c = text; *c; c++) {
        size_t length = *c == '@' ? hole_length(c) : 0;
        if (!length) {
            fputc(*c, out);
            if (*c == '\n') {
                line++;
                line_start = c + 1;
            }
            continue;
        }
        int i = find_fill(fill, fills, c + 1, length);
        if (i < 0)
            bug("%s:%d:%d: nothing fills the hole @%.*s@", path, line, (int)(c - line_start) + 1, (int)length,
                c + 1);
        used[i] = true;
        fputs(fill[i].value, out);
        c += length + 1;
    }
    for (int i = 0; i < fills; i++)
        if (!used[i])
            bug("%s: no hole @%s@", path, fill[i].hole);
}
