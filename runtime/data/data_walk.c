/* data_walk.c: the folder of a class walked whole: which pictures there are, and what is passed over.
 *
 * The order is that of torchvision's ImageFolder: folders by their path, those with pictures directly in the
 * class's folder first; in a folder by name; all in byte order. Links are followed, but not back to a folder
 * that they are in. */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- one folder ---- */

typedef struct {
    Listing *listing;
    uint32_t place;   /* the folder's number there */
    const char *path; /* its whole path */
    DIR *folder;
    Passed *passed;
    bool flat; /* folders in it are passed over */
} Visit;

static bool same_folder(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether a folder is the one at `path` or one that this leads through. */
static bool on_the_way(const char *path, const struct stat *target, bool *back, Fault *f)
{
    char *above = strdup(path);
    if (!above)
        return fault(f, "%s: out of memory for the name of a folder; free some", path);
    bool known = true;
    *back = false;
    for (char *end = above + strlen(above); known && !*back && end && end != above;
         end = strrchr(above, '/')) {
        struct stat status;
        *end = '\0';
        known = stat(above, &status) == 0 || fault_errno(f, "%s", above);
        *back = known && same_folder(&status, target);
    }
    free(above);
    return known;
}

/* Whether it is above the folder at `path`, as far up as one may look. */
static bool is_above(const char *path, const struct stat *target)
{
    char above[PATH_MAX];
    struct stat status, below = {.st_ino = 0};
    size_t length = (size_t)snprintf(above, sizeof above, "%s", path);
    while (length + sizeof "/.." <= sizeof above) {
        length += (size_t)snprintf(above + length, sizeof above - length, "/..");
        if (stat(above, &status) != 0 || same_folder(&status, &below))
            return false;
        if (same_folder(&status, target))
            return true;
        below = status;
    }
    return false;
}

bool walk_leads_back(const char *path, const struct stat *target, bool *back, Fault *f)
{
    if (!on_the_way(path, target, back, f))
        return false;
    *back = *back || is_above(path, target);
    return true;
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
    return errno == ENOENT || errno == ELOOP || fault_errno(f, "%s/%s", v->path, entry->d_name);
}

static bool visit_folder(const Visit *v, const struct dirent *entry, const struct stat *status, Fault *f)
{
    bool back = false;
    if (v->flat) {
        v->passed->folders++;
        return true;
    }
    if (entry->d_type != DT_DIR && !walk_leads_back(v->path, status, &back, f))
        return false;
    v->passed->loops += back;
    return back || listing_add_place(v->listing, v->place, entry->d_name, f);
}

/* What is no file cannot be a picture, and would block whoever opens it. */
static bool visit_picture(const Visit *v, const struct dirent *entry, mode_t mode, Fault *f)
{
    if (S_ISREG(mode) || v->listing->tell)
        return listing_add_name(v->listing, entry->d_name, f);
    if (mode)
        return fault(f, "%s/%s: %s, not a picture; remove it", v->path, entry->d_name, file_kind(mode));
    return fault(f, "%s/%s: a link to nothing; remove it, or bring back what it leads to", v->path,
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
    return errno == 0 || fault_errno(f, "%s", v->path);
}

/* Lists the names in one folder, and the folders in it as further ones. */
static bool visit(Listing *l, uint32_t place, bool flat, Passed *passed, Fault *f)
{
    if (signals_received())
        return fault(f, "stopped by a signal");
    char *path = flat ? strdup(l->root) : data_path(l->root, listing_place(l, place), f);
    if (!path && flat)
        fault(f, "%s: out of memory for the name of a folder; free some", l->root);
    DIR *folder = path ? opendir(path) : NULL;
    if (path && !folder)
        fault_errno(f, "%s", path);
    bool done =
        folder ? read_entries(&(Visit){l, place, path, folder, passed, flat}, f) : path && listing_tell(l, f);
    if (folder)
        closedir(folder);
    free(path);
    return done && listing_end_place(l, place, f);
}

bool walk_class(Listing *l, const char *class_name, Passed *passed, Fault *f)
{
    const uint32_t first = l->places;
    bool done = listing_add_place(l, -1, class_name, f);
    for (uint32_t i = first; done && i < l->places; i++)
        done = visit(l, i, false, passed, f);
    if (done)
        listing_order(l, first);
    return done;
}

bool walk_flat(Listing *l, Passed *passed, Fault *f)
{
    bool done = listing_add_place(l, -1, "", f) && visit(l, 0, true, passed, f);
    if (done)
        listing_order(l, 0);
    return done;
}
