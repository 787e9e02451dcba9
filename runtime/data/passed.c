/* passed.c: what a folder of pictures holds besides the pictures that are read, counted by kind, so that
 * nobody wonders where they are. */
#include "runtime.h"

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
    p->folders += more->folders;
    p->loops += more->loops;
    p->lost += more->lost;
}

/* Behind what the text holds, which has room for everything. */
static void write_count(char text[PASSED_TEXT], uint32_t count, const char *one, const char *many)
{
    size_t length = strlen(text);
    if (count)
        snprintf(text + length, PASSED_TEXT - length, "%s%u %s", length ? ", " : "", count,
                 count == 1 ? one : many);
}

void passed_text(const Passed *p, char text[PASSED_TEXT])
{
    *text = '\0';
    for (size_t i = 0; i < PASSED_KINDS; i++)
        write_count(text, p->picture[i], unread_endings[i], unread_endings[i]);
    write_count(text, p->stray, "picture outside of the classes' folders",
                "pictures outside of the classes' folders");
    write_count(text, p->folders, "folder beside the pictures", "folders beside the pictures");
    write_count(text, p->hidden, "hidden", "hidden");
    write_count(text, p->loops, "link back to a folder above", "links back to folders above");
    write_count(text, p->lost, "link to nothing", "links to nothing");
    write_count(text, p->other, "other file", "other files");
}
