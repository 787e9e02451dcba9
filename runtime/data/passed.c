/* passed.c: what a folder of pictures holds besides the pictures that are read, counted by kind, so that
 * nobody wonders where they are. */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const read_endings[] = {".jpg", ".jpeg", ".png"};

/* Pictures all the same; torchvision's ImageFolder reads the first six. */
static const char *const unread_endings[PASSED_KINDS] = {
    ".webp", ".bmp",  ".tif",  ".tiff", ".ppm", ".pgm", ".pbm", ".gif",
    ".jfif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".tga",
};

static const char *ending_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot > name ? dot : "";
}

bool picture_is_read(const char *name)
{
    const char *ending = ending_of(name);
    for (size_t i = 0; i < COUNT(read_endings); i++)
        if (strcasecmp(ending, read_endings[i]) == 0)
            return true;
    return false;
}

/* Its kind, or PASSED_KINDS. */
static size_t unread_kind(const char *name)
{
    size_t kind = 0;
    while (kind < PASSED_KINDS && strcasecmp(ending_of(name), unread_endings[kind]) != 0)
        kind++;
    return kind;
}

void passed_file(Passed *p, const char *name)
{
    size_t kind = unread_kind(name);
    if (kind < PASSED_KINDS)
        p->picture[kind]++;
    else
        p->other++;
}

void passed_hidden(Passed *p, const char *name, bool folder)
{
    if (folder || picture_is_read(name) || unread_kind(name) < PASSED_KINDS)
        p->hidden++;
}

void passed_add(Passed *p, const Passed *more)
{
    for (size_t i = 0; i < PASSED_KINDS; i++)
        p->picture[i] += more->picture[i];
    p->other += more->other;
    p->hidden += more->hidden;
    p->stray += more->stray;
    p->loops += more->loops;
    p->lost += more->lost;
}

static void write_count(FILE *stream, uint32_t count, const char *one, const char *many, bool *first)
{
    if (count == 0)
        return;
    fprintf(stream, "%s%u %s", *first ? "" : ", ", count, count == 1 ? one : many);
    *first = false;
}

static void write_counts(FILE *stream, const Passed *p)
{
    bool first = true;
    for (size_t i = 0; i < PASSED_KINDS; i++)
        write_count(stream, p->picture[i], unread_endings[i], unread_endings[i], &first);
    write_count(stream, p->stray, "picture outside of the classes' folders",
                "pictures outside of the classes' folders", &first);
    write_count(stream, p->hidden, "hidden", "hidden", &first);
    write_count(stream, p->loops, "link back to a folder above", "links back to folders above", &first);
    write_count(stream, p->lost, "link to nothing", "links to nothing", &first);
    write_count(stream, p->other, "other file", "other files", &first);
}

bool passed_text(const Passed *p, char **text, Fault *f)
{
    size_t length;
    *text = NULL;
    FILE *stream = open_memstream(text, &length);
    if (!stream)
        return fault(f, "out of memory for the names of kinds of files; free some");
    write_counts(stream, p);
    bool written = !ferror(stream);
    if (fclose(stream) == 0 && written)
        return true;
    free(*text);
    *text = NULL;
    return fault(f, "out of memory for the names of kinds of files; free some");
}
