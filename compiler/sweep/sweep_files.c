/* sweep_files.c: small files of OUT, read and written whole. */
#include "sweep.h"
#include <string.h>
#include <sys/stat.h>

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

char *line_before(Arena *a, const char *text, size_t *end)
{
    while (*end > 0 && text[*end - 1] == '\n')
        --*end;
    size_t begin = *end;
    while (begin > 0 && text[begin - 1] != '\n')
        begin--;
    char *line = arena_copy(a, text + begin, *end - begin);
    *end = begin;
    return line;
}

const char *last_line(Arena *a, const char *path)
{
    char *text = results_text(a, path);
    size_t end = text ? strlen(text) : 0;
    return text ? line_before(a, text, &end) : "";
}

size_t file_bytes(const char *path)
{
    struct stat status;
    return stat(path, &status) ? 0 : (size_t)status.st_size;
}

const char *in_folder(const Sweep *s, const char *folder, const char *name)
{
    return arena_printf(s->arena, "%s/%s", folder, name);
}
