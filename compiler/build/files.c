/* files.c: folders and files that are written whole, or left alone where nothing changes. */
#include "build.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool is_directory(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool build_directory(Arena *a, const char *path)
{
    char *partial = arena_copy(a, path, strlen(path));
    for (char *c = partial + (*partial == '/');; c++) {
        char end = *c;
        if (end && end != '/')
            continue;
        *c = 0;
        if (!is_directory(partial) && mkdir(partial, 0777))
            return build_failed(partial, strerror(errno == EEXIST ? ENOTDIR : errno));
        *c = end;
        if (!end)
            return true;
    }
}

/* A whole file, or NULL. */
static char *read_file(Arena *a, const char *path, size_t *length)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f)
        return NULL;
    char *text = NULL;
    if (!fstat(fileno(f), &st) && S_ISREG(st.st_mode)) {
        text = arena_zeroed(a, (size_t)st.st_size + 1);
        *length = fread(text, 1, (size_t)st.st_size, f);
    }
    fclose(f);
    return text;
}

const char *build_read(Arena *a, const char *path)
{
    size_t length;
    const char *text = read_file(a, path, &length);
    if (!text)
        build_failed(path, strerror(errno));
    return text;
}

static bool is_special(const char *path)
{
    struct stat st;
    return !stat(path, &st) && !S_ISREG(st.st_mode);
}

/* Beside its name and renamed over it, so that a full disk leaves what was there; but right into what is no
 * file, as /dev/stdout. */
static bool write_file(Arena *a, const char *path, const char *text, size_t length)
{
    size_t there_length = 0;
    const char *there = read_file(a, path, &there_length);
    if (there && there_length == length && !memcmp(there, text, length))
        return true;
    const char *temporary = is_special(path) ? NULL : arena_printf(a, "%s.tmp-%ld", path, (long)getpid());
    FILE *f = fopen(temporary ? temporary : path, "wb");
    if (!f)
        return build_failed(path, strerror(errno));
    bool good = fwrite(text, 1, length, f) == length;
    good = !fclose(f) && good && (!temporary || !rename(temporary, path));
    if (!good) {
        build_failed(path, strerror(errno));
        if (temporary)
            unlink(temporary);
    }
    return good;
}

bool build_write_text(Arena *a, const char *path, const char *text)
{
    return write_file(a, path, text, strlen(text));
}

bool build_copy(Arena *a, const char *from, const char *to, const char *name)
{
    size_t length = 0;
    const char *path = arena_printf(a, "%s/%s", from, name), *text = read_file(a, path, &length);
    if (!text)
        return build_failed(path, strerror(errno));
    return write_file(a, arena_printf(a, "%s/%s", to, name), text, length);
}

static bool is_source(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".c") || !strcmp(dot, ".h"));
}

static bool list_sources(Words *w, const char *root, const char *below)
{
    struct dirent **entry;
    int count = scandir(arena_printf(w->arena, "%s/%s", root, below), &entry, NULL, alphasort);
    bool good = count >= 0 || build_failed(root, strerror(errno));
    for (int i = 0; i < count; i++) {
        const char *name = entry[i]->d_name;
        const char *path = arena_printf(w->arena, "%s%s%s", below, *below ? "/" : "", name);
        if (is_source(name))
            words_add(w, path);
        else if (*name != '.' && is_directory(arena_printf(w->arena, "%s/%s", root, path)))
            good = list_sources(w, root, path) && good;
        free(entry[i]);
    }
    if (count >= 0)
        free(entry);
    return good;
}

bool sources_below(Words *w, const char *root)
{
    return list_sources(w, root, "");
}
