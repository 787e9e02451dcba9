/* data_walk.c: the pictures of a class, its folder walked whole: which there are, in which order, and how
 * little of that is held.
 *
 * The order is that of torchvision's ImageFolder: folders by their path, those with pictures directly in the
 * class's folder first; in a folder by name; all in byte order. Links are followed, but not back to a folder
 * that they are in. Held are a pool with the names of the files and the paths of the folders, and where in it
 * each file's name begins. */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what is held ---- */

bool walk_begin(Walk *w, const char *root, bool lenient, Fault *f)
{
    *w = (Walk){.root = strdup(root), .lenient = lenient};
    return w->root || fault(f, "%s: out of memory for the name of a folder; free some", root);
}

void walk_free(Walk *w)
{
    free(w->root);
    free(w->pool);
    free(w->name);
    free(w->place);
    *w = (Walk){.root = NULL};
}

/* The array with room for `more`, or NULL. Room doubles: what is not used yet takes no memory. */
static void *with_room(void *array, uint32_t used, uint32_t more, size_t *capacity, size_t size)
{
    size_t wanted = (size_t)used + more, bytes;
    if (wanted <= *capacity)
        return array;
    if (__builtin_mul_overflow(2 * wanted, size, &bytes))
        return NULL;
    void *larger = realloc(array, bytes);
    if (larger)
        *capacity = 2 * wanted;
    return larger;
}

static bool no_memory(const Walk *w, Fault *f)
{
    return fault(f, "%s: out of memory for the names of %u pictures; use fewer", w->root, w->count + 1);
}

/* Room for `bytes` at the end of the pool. */
static char *pool_end(Walk *w, size_t bytes, Fault *f)
{
    if (bytes > UINT32_MAX / 4 - w->pool_length) { /* so there are no more names either */
        fault(f, "%s: the names of its pictures take more than 1 GiB; use fewer", w->root);
        return NULL;
    }
    char *pool = with_room(w->pool, w->pool_length, (uint32_t)bytes, &w->pool_capacity, 1);
    if (!pool) {
        no_memory(w, f);
        return NULL;
    }
    w->pool = pool;
    return pool + w->pool_length;
}

static bool hold_name(Walk *w, const char *name, Fault *f)
{
    const size_t bytes = strlen(name) + 1;
    char *end = pool_end(w, bytes, f);
    if (!end)
        return false;
    uint32_t *begin = with_room(w->name, w->count, 1, &w->name_capacity, sizeof *begin);
    if (!begin)
        return no_memory(w, f);
    w->name = begin;
    memcpy(end, name, bytes);
    w->name[w->count++] = w->pool_length;
    w->pool_length += (uint32_t)bytes;
    return true;
}

/* A folder `name` in the one whose path begins at `above` in the pool; above: UINT32_MAX, below the root. */
static bool hold_place(Walk *w, uint32_t above, const char *name, Fault *f)
{
    const size_t front = above == UINT32_MAX ? 0 : strlen(w->pool + above), bytes = front + strlen(name) + 2;
    char *end = pool_end(w, bytes, f);
    if (!end)
        return false;
    WalkPlace *place = with_room(w->place, w->places, 1, &w->place_capacity, sizeof *place);
    if (!place)
        return no_memory(w, f);
    w->place = place;
    int length = snprintf(end, bytes, "%s%s%s", front ? w->pool + above : "", front ? "/" : "", name);
    w->place[w->places++] = (WalkPlace){.path = w->pool_length};
    w->pool_length += (uint32_t)length + 1;
    return true;
}

/* ---- order ---- */

static int by_held_name(const void *a, const void *b, void *pool)
{
    return strcmp((const char *)pool + *(const uint32_t *)a, (const char *)pool + *(const uint32_t *)b);
}

static int by_path(const void *a, const void *b, void *pool)
{
    return by_held_name(&((const WalkPlace *)a)->path, &((const WalkPlace *)b)->path, pool);
}

/* Puts the folders from `first` on in order, numbers their pictures and forgets those that have none. */
static void order_places(Walk *w, uint32_t first)
{
    uint32_t kept = first, until = first ? w->place[first - 1].until : 0;
    if (w->places > first)
        qsort_r(w->place + first, w->places - first, sizeof *w->place, by_path, w->pool);
    for (uint32_t i = first; i < w->places; i++) {
        WalkPlace p = w->place[i];
        if (p.until == 0)
            continue;
        until += p.until;
        w->place[kept++] = (WalkPlace){.path = p.path, .names = p.names, .until = until};
    }
    w->places = kept;
}

/* ---- one folder ---- */

typedef struct {
    Walk *walk;
    uint32_t path;    /* of the folder, in the pool */
    const char *text; /* the folder's whole path, for messages */
    DIR *folder;
    Passed *passed;
} Visit;

static bool same_folder(const char *path, const struct stat *other)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_dev == other->st_dev && status.st_ino == other->st_ino;
}

/* Whether a folder is the one at `path` or any that its path leads through, up to the root of all. */
static bool leads_back(const char *path, const struct stat *target)
{
    enum { MOST_ABOVE = 64 };
    char above[4096];
    snprintf(above, sizeof above, "%s", path);
    for (char *slash = above + strlen(above); slash && slash != above; slash = strrchr(above, '/')) {
        *slash = '\0';
        if (same_folder(above, target))
            return true;
    }
    snprintf(above, sizeof above, "%s", path);
    for (int i = 0; i < MOST_ABOVE && strlen(above) + 4 < sizeof above; i++) {
        strcat(above, "/..");
        if (same_folder(above, target))
            return true;
    }
    return false;
}

/* What an entry is, links followed; 0: a link that leads nowhere. */
static bool mode_of(const Visit *v, const struct dirent *entry, struct stat *status, Fault *f)
{
    static const struct {
        unsigned char type;
        mode_t mode;
    } known[] = {{DT_REG, S_IFREG},   {DT_DIR, S_IFDIR}, {DT_FIFO, S_IFIFO},
                 {DT_SOCK, S_IFSOCK}, {DT_CHR, S_IFCHR}, {DT_BLK, S_IFBLK}};
    *status = (struct stat){.st_mode = 0};
    for (size_t i = 0; i < COUNT(known); i++)
        if (known[i].type == entry->d_type) {
            status->st_mode = known[i].mode;
            return true;
        }
    if (fstatat(dirfd(v->folder), entry->d_name, status, 0) == 0)
        return true;
    *status = (struct stat){.st_mode = 0};
    return errno == ENOENT || errno == ELOOP || fault_errno(f, "%s/%s", v->text, entry->d_name);
}

static bool visit_folder(const Visit *v, const struct dirent *entry, const struct stat *status, Fault *f)
{
    if (entry->d_type != DT_DIR && leads_back(v->text, status)) {
        v->passed->loops++;
        return true;
    }
    return hold_place(v->walk, v->path, entry->d_name, f);
}

/* What is no file cannot be a picture, and would block whoever opens it. */
static bool visit_picture(const Visit *v, const struct dirent *entry, mode_t mode, Fault *f)
{
    if (S_ISREG(mode) || v->walk->lenient)
        return hold_name(v->walk, entry->d_name, f);
    if (mode)
        return fault(f, "%s/%s: %s, not a picture; remove it", v->text, entry->d_name, data_kind(mode));
    return fault(f, "%s/%s: a link to nothing; remove it, or bring back what it leads to", v->text,
                 entry->d_name);
}

static bool visit_entry(const Visit *v, const struct dirent *entry, Fault *f)
{
    const char *name = entry->d_name;
    struct stat status;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return true;
    if (name[0] == '.') {
        passed_hidden(v->passed, name, entry->d_type == DT_DIR);
        return true;
    }
    if (!mode_of(v, entry, &status, f))
        return false;
    if (S_ISDIR(status.st_mode))
        return visit_folder(v, entry, &status, f);
    if (picture_is_read(name))
        return visit_picture(v, entry, status.st_mode, f);
    if (status.st_mode)
        passed_file(v->passed, name);
    else
        v->passed->lost++;
    return true;
}

static bool read_entries(const Visit *v, Fault *f)
{
    const struct dirent *entry;
    while (errno = 0, entry = readdir(v->folder))
        if (!visit_entry(v, entry, f))
            return false;
    return errno == 0 || fault_errno(f, "%s", v->text);
}

/* Holds the names in one folder, and the folders in it as further ones. A listing would take several times
 * the memory. */
static bool visit(Walk *w, uint32_t number, Passed *passed, Fault *f)
{
    const uint32_t path = w->place[number].path, first = w->count;
    char *text = data_path(w->root, w->pool + path, f);
    DIR *folder = text ? opendir(text) : NULL;
    if (text && !folder)
        fault_errno(f, "%s", text);
    bool done = folder && read_entries(&(Visit){w, path, text, folder, passed}, f);
    if (folder)
        closedir(folder);
    free(text);
    if (w->count > first)
        qsort_r(w->name + first, w->count - first, sizeof *w->name, by_held_name, w->pool);
    w->place[number].names = first;
    w->place[number].until = w->count - first; /* their number, until the folders are in order */
    return done;
}

/* ---- a class ---- */

bool walk_class(Walk *w, const char *class_name, Passed *passed, Fault *f)
{
    const uint32_t first = w->places;
    bool done = hold_place(w, UINT32_MAX, class_name, f);
    for (uint32_t i = first; done && i < w->places; i++)
        done = visit(w, i, passed, f);
    if (done)
        order_places(w, first);
    return done;
}

/* ---- what was found ---- */

static const WalkPlace *place_of(const Walk *w, uint32_t i, uint32_t *first)
{
    uint32_t low = 0, high = w->places - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (w->place[middle].until <= i)
            low = middle + 1;
        else
            high = middle;
    }
    *first = low ? w->place[low - 1].until : 0;
    return &w->place[low];
}

const char *walk_folder(const Walk *w, uint32_t i)
{
    uint32_t first;
    return w->pool + place_of(w, i, &first)->path;
}

const char *walk_name(const Walk *w, uint32_t i)
{
    uint32_t first;
    const WalkPlace *p = place_of(w, i, &first);
    return w->pool + w->name[p->names + (i - first)];
}

char *walk_path(const Walk *w, uint32_t i, Fault *f)
{
    char *path;
    if (asprintf(&path, "%s/%s/%s", w->root, walk_folder(w, i), walk_name(w, i)) >= 0)
        return path;
    fault(f, "%s: out of memory for the name of a file; free some", w->root);
    return NULL;
}
