/* data_folder.c: train/CLASS/PICTURE and test/CLASS/PICTURE, JPEG and PNG files of any size.
 *
 * Classes are numbered by the names of the folders under train/, in byte order, in both splits. A class's
 * folder is walked whole (data_walk.c). Hidden files and files with other endings are passed over, and
 * counted.
 */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_CLASSES = UINT16_MAX + 1 };

/* The class folders of a split, by name in byte order. */
typedef struct {
    char **name;
    int count;
    size_t capacity;
} Classes;

/* ---- class folders ---- */

static void classes_free(Classes *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->name[i]);
    free(c->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_class(Classes *c, const char *name, const char *root, Fault *f)
{
    if (c->count == MAX_CLASSES)
        return fault(f, "%s: more than %d class folders; use fewer", root, MAX_CLASSES);
    if ((size_t)c->count == c->capacity) {
        size_t capacity = 2 * c->capacity + 16;
        char **larger = realloc(c->name, capacity * sizeof *larger);
        if (!larger)
            return fault(f, "%s: out of memory for the names of its classes; free some", root);
        c->name = larger;
        c->capacity = capacity;
    }
    c->name[c->count] = strdup(name);
    if (!c->name[c->count])
        return fault(f, "%s: out of memory for the names of its classes; free some", root);
    c->count++;
    return true;
}

/* `train --out` beside the classes: a run's folder is none, whatever it is called. */
static bool holds_run(const char *root, const char *name)
{
    static const char *const files[] = {"last.safetensors", "metrics.jsonl"};
    char *folder = path_join(root, name);
    struct stat status;
    bool holds = false;
    for (size_t i = 0; folder && i < COUNT(files) && !holds; i++) {
        char *path = path_join(folder, files[i]);
        holds = path && stat(path, &status) == 0;
        free(path);
    }
    free(folder);
    return holds;
}

/* Links and entries of unknown kind count as what they lead to. */
static bool look_at_entry(Classes *c, const char *root, const struct dirent *entry, Passed *passed, Fault *f)
{
    const char *name = entry->d_name;
    mode_t mode = entry->d_type == DT_DIR ? S_IFDIR : S_IFREG;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return true;
    if (name[0] == '.') {
        passed_hidden(passed, name, S_ISDIR(mode));
        return true;
    }
    if (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) {
        char *path = data_path(root, name, f);
        bool known = path && data_look(path, &mode, f);
        free(path);
        if (!known)
            return false;
    }
    if (S_ISDIR(mode) && !holds_run(root, name))
        return add_class(c, name, root, f);
    if (S_ISDIR(mode))
        passed->folders++;
    else if (picture_is_read(name))
        passed->stray++;
    else
        passed_file(passed, name);
    return true;
}

static bool list_classes(Classes *c, const char *root, Passed *passed, Fault *f)
{
    DIR *folder = opendir(root);
    if (!folder)
        return fault_errno(f, "%s", root);
    const struct dirent *entry;
    bool listed = true;
    while (listed && (errno = 0, entry = readdir(folder)))
        listed = look_at_entry(c, root, entry, passed, f);
    if (listed && errno != 0)
        listed = fault_errno(f, "%s", root);
    closedir(folder);
    if (c->count > 0)
        qsort(c->name, (size_t)c->count, sizeof *c->name, by_name);
    return listed;
}

/* Every class of the split must be one of the training split's. */
static bool check_classes(Listing *l, const Classes *split, const Classes *train, const char *root, Fault *f)
{
    for (int i = 0, c = 0; i < split->count; i++) {
        while (c < train->count && strcmp(train->name[c], split->name[i]) < 0)
            c++;
        if ((c == train->count || strcmp(train->name[c], split->name[i]) != 0) &&
            !fault(f, "%s/%s: a class that the training split lacks; remove it or add it to train/", root,
                   split->name[i]) &&
            !listing_tell(l, f))
            return false;
    }
    return true;
}

/* ---- opening ---- */

/* One split on its way to be a data set. */
typedef struct {
    const char *dir, *train_root, *root; /* DIR; DIR/train, or DIR; that, or DIR/test */
    bool required;                       /* every class must have a picture */
    bool undivided;                      /* there is no test split */
    Classes train, split;
    Listing listing;
    uint32_t *until; /* (classes) the number after each class's last picture */
    Passed passed;
} Opening;

static bool name_empty(const Opening *o, const char *class_name, const Passed *passed, Fault *f)
{
    char text[PASSED_TEXT];
    passed_text(passed, text);
    return fault(f, "%s/%s: no .jpg, .jpeg or .png files%s%s; add some or remove the folder", o->root,
                 class_name, *text ? ", but " : "", text);
}

static bool walk_one(Opening *o, const char *class_name, Fault *f)
{
    Passed passed = {.other = 0};
    const uint32_t before = o->listing.count, told = o->listing.told;
    if (!walk_class(&o->listing, class_name, &passed, f))
        return false;
    passed_add(&o->passed, &passed);
    if (!o->required || o->listing.count > before || o->listing.told > told) /* told: it cannot be read */
        return true;
    return name_empty(o, class_name, &passed, f) || listing_tell(&o->listing, f);
}

/* Both lists are in byte order, so the split's classes come in the order of their numbers. */
static bool walk_classes(Opening *o, Fault *f)
{
    o->until = allocate((size_t)o->train.count * sizeof *o->until, "the classes", f);
    if (!o->until)
        return false;
    for (int c = 0, i = 0; c < o->train.count; c++) {
        const char *name = o->train.name[c];
        while (i < o->split.count && strcmp(o->split.name[i], name) < 0)
            i++;
        if (i < o->split.count && strcmp(o->split.name[i], name) == 0) {
            if (!walk_one(o, name, f))
                return false;
            i++;
        }
        o->until[c] = o->listing.count;
    }
    return true;
}

/* A split under another name, beside those that are read, is passed over too. */
static bool say_passed(Dataset *d, const Opening *o, Fault *f)
{
    char text[PASSED_TEXT], other[NAME_MAX + 1];
    *other = '\0';
    passed_text(&o->passed, text);
    const char *behind = "";
    const bool apart = strcmp(o->dir, o->root) != 0;
    if (apart && data_split_elsewhere(o->dir, SPLIT_TEST, other))
        behind = *text ? "/, " : "/";
    else if (!*text)
        return true;
    if (asprintf(&d->remark, "passed over: %s%s%s", other, behind, text) >= 0)
        return true;
    d->remark = NULL;
    return fault(f, "%s: out of memory for what is passed over; free some", o->root);
}

/* Takes the names of the classes. */
static void label_pictures(Dataset *d, Opening *o)
{
    uint32_t i = 0;
    for (int c = 0; c < d->classes; c++) {
        d->class_name[c] = o->train.name[c];
        o->train.name[c] = NULL;
        for (; i < o->until[c]; i++)
            d->label[i] = (uint16_t)c;
    }
}

static Dataset *make_dataset(Opening *o, Fault *f)
{
    Dataset *d = listed_new("folders of pictures", o->train.count, &o->listing, f);
    if (!d)
        return NULL;
    if (!say_passed(d, o, f)) {
        data_close(d);
        return NULL;
    }
    label_pictures(d, o);
    d->undivided = o->undivided;
    if (pairs_join(d, "folders of pairs of pictures", f))
        return d;
    data_close(d);
    return NULL;
}

/* The lists of both splits, which may be the same one. */
static bool list_both(Opening *o, Fault *f)
{
    Passed in_train = {.other = 0};
    if (!list_classes(&o->train, o->train_root, &in_train, f) ||
        !list_classes(&o->split, o->root, &o->passed, f))
        return false;
    if (o->train.count > 0)
        return true;
    if (in_train.stray)
        return fault(
            f, "%s: no class folders, but %u picture%s directly in it; put them into a folder for each class",
            o->train_root, in_train.stray, in_train.stray == 1 ? "" : "s");
    return fault(f, "%s: no class folders; it must hold one folder of pictures for each class",
                 o->train_root);
}

static Dataset *open_split(const char *train_root, const DataRequest *r, const char *root, bool undivided,
                           Fault *f)
{
    Opening o = {.dir = r->dir,
                 .train_root = train_root,
                 .root = root,
                 .required = root == train_root,
                 .undivided = undivided};
    Dataset *d = NULL;
    if (listing_begin(&o.listing, root, r, f) && list_both(&o, f) &&
        check_classes(&o.listing, &o.split, &o.train, root, f) && walk_classes(&o, f))
        d = make_dataset(&o, f);
    classes_free(&o.train);
    classes_free(&o.split);
    listing_free(&o.listing);
    free(o.until);
    return d;
}

/* ---- finding ---- */

typedef struct {
    char *train, *test; /* their paths, by malloc */
    bool has_train, has_test;
} Roots;

static bool find_roots(Roots *r, const char *dir, Fault *f)
{
    *r = (Roots){.train = data_path(dir, "train", f)};
    r->test = r->train ? data_path(dir, "test", f) : NULL;
    return r->test && data_folder_find(r->train, &r->has_train, f) &&
           data_folder_find(r->test, &r->has_test, f);
}

static void roots_free(Roots *r)
{
    free(r->train);
    free(r->test);
}

bool folder_find(const char *dir, bool *found, Fault *f)
{
    Roots r;
    bool known = find_roots(&r, dir, f);
    *found = known && (r.has_train || r.has_test);
    roots_free(&r);
    return known;
}

static bool name_missing(const char *dir, Split split, Fault *f)
{
    const char *const name = split == SPLIT_TEST ? "test" : "train";
    char other[NAME_MAX + 1];
    if (data_split_elsewhere(dir, split, other))
        return fault(f, "%s: no folder %s/, but %s/; if it is to be that, link it: ln -s '%s' '%s/%s'", dir,
                     name, other, other, dir, name);
    if (split == SPLIT_TEST)
        return fault(
            f,
            "%s: no folder test/ beside train/; add test/CLASS/ with pictures to test on, or hold out "
            "a tenth of train/: --holdout 0.1",
            dir);
    return fault(f, "%s: no folder train/ beside test/; the classes are numbered by it", dir);
}

Dataset *folder_open(const DataRequest *r, Fault *f)
{
    Roots roots;
    Dataset *d = NULL;
    const bool found = find_roots(&roots, r->dir, f);
    const bool tests = found && holdout_opens(r, roots.has_test) == SPLIT_TEST;
    if (found && !roots.has_train)
        name_missing(r->dir, SPLIT_TRAIN, f);
    else if (tests && !roots.has_test)
        name_missing(r->dir, SPLIT_TEST, f);
    else if (found)
        d = open_split(roots.train, r, tests ? roots.test : roots.train, !roots.has_test, f);
    roots_free(&roots);
    return d;
}

/* ---- without splits ---- */

enum { DEPTH = 8 }; /* of folders below a class's that are looked into */

static bool has_picture_below(const char *path, int depth);

/* A folder, but none that would lead round in a circle, as links may. */
static bool leads_on(const char *path, const char *below, unsigned char type)
{
    Fault f;
    struct stat status;
    bool back = false;
    if (type == DT_DIR)
        return true;
    return (type == DT_LNK || type == DT_UNKNOWN) && stat(below, &status) == 0 && S_ISDIR(status.st_mode) &&
           walk_leads_back(path, &status, &back, &f) && !back;
}

static bool is_picture_or_holds_one(const char *path, const struct dirent *entry, int depth)
{
    if (entry->d_name[0] == '.')
        return false;
    if (picture_is_read(entry->d_name))
        return true;
    if (depth == 0)
        return false;
    char *below = path_join(path, entry->d_name);
    const bool has = below && leads_on(path, below, entry->d_type) && has_picture_below(below, depth - 1);
    free(below);
    return has;
}

/* What cannot be read has none. */
static bool has_picture_below(const char *path, int depth)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    bool has = false;
    while (folder && !has && !signals_received() && (entry = readdir(folder)))
        has = is_picture_or_holds_one(path, entry, depth);
    if (folder)
        closedir(folder);
    return has;
}

/* A folder in which there is a folder with pictures. */
bool classes_find(const char *dir, bool *found, Fault *f)
{
    *found = false;
    DIR *folder = opendir(dir);
    if (!folder)
        return errno == ENOTDIR || fault_errno(f, "--data %s", dir);
    const struct dirent *entry;
    while (!*found && !signals_received() && (entry = readdir(folder))) {
        if (entry->d_name[0] == '.' || entry->d_type == DT_REG)
            continue;
        char *below = path_join(dir, entry->d_name);
        *found = below && has_picture_below(below, DEPTH);
        free(below);
    }
    closedir(folder);
    return *found || !signals_received() || fault(f, "stopped by a signal");
}

Dataset *classes_open(const DataRequest *r, Fault *f)
{
    return open_split(r->dir, r, r->dir, true, f);
}
