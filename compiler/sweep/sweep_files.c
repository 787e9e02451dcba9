/* sweep_files.c: small files of OUT, read and written whole. */
#include "sweep.h"
#include <stdlib.h>
#include <string.h>

bool sweep_fault(const Fault *f)
{
    fprintf(stderr, "amdimc: error: %s\n", f->text);
    return false;
}

bool sweep_write_text(const char *path, const char *text)
{
    NewFile file;
    Fault f;
    bool good = file_create(&file, path, &f);
    if (good) {
        fputs(text, file.stream);
        good = file_commit(&file, &f);
    }
    return good || sweep_fault(&f);
}

char *results_text(Arena *a, const char *path)
{
    FILE *stream = fopen(path, "r");
    char *text = NULL;
    size_t capacity = 0;
    if (!stream)
        return NULL;
    ssize_t length = getdelim(&text, &capacity, '\0', stream);
    char *kept = arena_copy(a, length > 0 ? text : "", length > 0 ? strlen(text) : 0);
    free(text);
    fclose(stream);
    return kept;
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
