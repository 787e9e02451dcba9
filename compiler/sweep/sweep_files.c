/* sweep_files.c: small files of OUT, read and written whole. */
#include "sweep.h"
#include <string.h>

enum { MOST_BYTES = 64 << 20 }; /* a log's, say, of which the rest is not looked at */

bool sweep_write_text(const char *path, const char *text)
{
    NewFile file;
    Fault f;
    bool good = file_create(&file, path, &f);
    if (good) {
        fputs(text, file.stream);
        good = file_commit(&file, &f);
    }
    return good || build_fault(&f);
}

char *results_text(Arena *a, const char *path)
{
    size_t length;
    const char *why;
    return input_read(a, path, MOST_BYTES, &length, &why);
}

const char *last_line(Arena *a, const char *path)
{
    char *text = results_text(a, path);
    size_t end = text ? strlen(text) : 0, begin;
    while (end > 0 && text[end - 1] == '\n')
        end--;
    for (begin = end; begin > 0 && text[begin - 1] != '\n';)
        begin--;
    return text ? arena_copy(a, text + begin, end - begin) : "";
}
