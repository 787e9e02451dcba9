/* data_folder.c: train/CLASS/PICTURE and test/CLASS/PICTURE, JPEG and PNG files of any size.
 *
 * Classes are numbered by the names of the folders under train/, in byte order, in both splits. Hidden files
 * and files with other endings are passed over. Held are the labels and one pool with the names of the files.
 */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_CLASSES = UINT16_MAX + 1 };

typedef struct {
    char *root;      /* DIR/train or DIR/test */
    char *pool;      /* names of the files, each ended by a zero byte */
    uint32_t *name;  /* (count) where each begins in the pool */
    uint32_t *until; /* (classes) the number after each class's last picture */
    uint32_t pool_length, count;
    size_t pool_capacity, name_capacity;
} Folder;

typedef struct {
    struct dirent **entry; /* sorted by name in byte order */
    int count;
} Listing;

/* ---- listings ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int may_be_folder(const struct dirent *entry)
{
    return entry->d_name[0] != '.' &&
           (entry->d_type == DT_DIR || entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN);
}

static bool may_be_picture(const struct dirent *entry)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    const char *dot = strrchr(entry->d_name, '.');
    if (!dot || dot == entry->d_name || entry->d_name[0] == '.' || entry->d_type == DT_DIR)
        return false;
    for (size_t i = 0; i < COUNT(endings); i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static void listing_free(Listing *l)
{
    for (int i = 0; i < l->count; i++)
        free(l->entry[i]);
    free(l->entry);
}

static bool is_folder(const char *path)
{
    struct stat status;
    return path && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The class folders of one split; links and unknown entries count when they lead to a folder. */
static bool list_classes(Listing *l, const char *root, Fault *f)
{
    l->count = scandir(root, &l->entry, may_be_folder, by_name);
    if (l->count < 0) {
        *l = (Listing){0};
        return fault_errno(f, "%s", root);
    }
    int kept = 0;
    for (int i = 0; i < l->count; i++) {
        char *path = l->entry[i]->d_type == DT_DIR ? NULL : path_join(root, l->entry[i]->d_name);
        if (l->entry[i]->d_type == DT_DIR || is_folder(path))
            l->entry[kept++] = l->entry[i];
        else
            free(l->entry[i]);
        free(path);
    }
    l->count = kept;
    if (kept > MAX_CLASSES)
        return fault(f, "%s: %d class folders, but at most %d are possible", root, kept, MAX_CLASSES);
    return true;
}

/* ---- reading ---- */

static bool folder_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    const Folder *o = d->own;
    char *path;
    if (asprintf(&path, "%s/%s/%s", o->root, d->class_name[d->label[i]], o->pool + o->name[d->index[i]]) < 0)
        return fault(f, "%s: out of memory for a file's name; free some", o->root);
    bool done = picture_read_file(out, path, channels, f);
    free(path);
    return done;
}

/* ---- the names held ---- */

static void folder_free(Folder *o)
{
    if (!o)
        return;
    free(o->root);
    free(o->pool);
    free(o->name);
    free(o->until);
    free(o);
}

static void folder_close(Dataset *d)
{
    folder_free(d->own);
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

static bool hold_name(Folder *o, const char *name, Fault *f)
{
    const uint32_t bytes = (uint32_t)strlen(name) + 1;
    if (bytes > UINT32_MAX / 4 - o->pool_length) /* so there are no more names either */
        return fault(f, "%s: the names of its pictures take more than 1 GiB; use fewer", o->root);
    char *pool = with_room(o->pool, o->pool_length, bytes, &o->pool_capacity, 1);
    if (pool)
        o->pool = pool;
    uint32_t *begin = with_room(o->name, o->count, 1, &o->name_capacity, sizeof *begin);
    if (begin)
        o->name = begin;
    if (!pool || !begin)
        return fault(f, "out of memory for the names of %u pictures; use fewer", (unsigned)o->count + 1);
    memcpy(pool + o->pool_length, name, bytes);
    begin[o->count++] = o->pool_length;
    o->pool_length += bytes;
    return true;
}

static int by_held_name(const void *a, const void *b, void *pool)
{
    return strcmp((const char *)pool + *(const uint32_t *)a, (const char *)pool + *(const uint32_t *)b);
}

/* In byte order. A listing would take several times the memory. */
static bool hold_names(Folder *o, const char *path, Fault *f)
{
    DIR *folder = opendir(path);
    if (!folder)
        return fault_errno(f, "%s", path);
    const uint32_t first = o->count;
    const struct dirent *entry;
    bool held = true;
    while (held && (errno = 0, entry = readdir(folder)))
        if (may_be_picture(entry))
            held = hold_name(o, entry->d_name, f);
    if (held && errno != 0)
        held = fault_errno(f, "%s", path);
    closedir(folder);
    if (o->count > first)
        qsort_r(o->name + first, o->count - first, sizeof *o->name, by_held_name, o->pool);
    return held;
}

/* Holds the pictures of one class of the split, which may be none in the test split. */
static bool hold_class(Folder *o, const char *class_name, bool required, Fault *f)
{
    char *path = path_join(o->root, class_name);
    const uint32_t before = o->count;
    bool done = path ? hold_names(o, path, f) : fault(f, "out of memory for a folder's name");
    if (done && required && o->count == before)
        done = fault(f, "%s: no .jpg, .jpeg or .png files; add some or remove the folder", path);
    free(path);
    return done;
}

/* ---- opening ---- */

/* Every class of the split must be one of the training split's. */
static bool check_classes(const Listing *split, const Listing *train, const char *root, Fault *f)
{
    for (int i = 0, c = 0; i < split->count; i++) {
        const char *name = split->entry[i]->d_name;
        while (c < train->count && strcmp(train->entry[c]->d_name, name) < 0)
            c++;
        if (c == train->count || strcmp(train->entry[c]->d_name, name) != 0)
            return fault(f, "%s/%s: a class that the training split lacks; remove it or add it to train/",
                         root, name);
    }
    return true;
}

/* Both listings are in byte order, so the split's classes come in the order of their numbers. */
static bool hold_classes(Folder *o, const Listing *split, const Listing *train, bool required, Fault *f)
{
    o->until = allocate((size_t)train->count * sizeof *o->until, "the classes", f);
    if (!o->until)
        return false;
    for (int c = 0, i = 0; c < train->count; c++) {
        const char *name = train->entry[c]->d_name;
        if (i < split->count && strcmp(split->entry[i]->d_name, name) == 0) {
            if (!hold_class(o, name, required, f))
                return false;
            i++;
        }
        o->until[c] = o->count;
    }
    return true;
}

static Dataset *make_dataset(Folder *o, const Listing *train, Fault *f)
{
    Dataset *d = dataset_new("folders of pictures", o->count, train->count, f);
    if (!d)
        return NULL;
    bool named = true;
    uint32_t i = 0;
    for (int c = 0; c < d->classes && named; c++) {
        d->class_name[c] = strdup(train->entry[c]->d_name);
        named = d->class_name[c] != NULL;
        for (; i < o->until[c]; i++)
            d->label[i] = (uint16_t)c;
    }
    if (!named) {
        fault(f, "out of memory for the names of %d classes", d->classes);
        data_close(d);
        return NULL;
    }
    d->bytes += o->pool_length + o->count * sizeof *o->name + (size_t)train->count * sizeof *o->until;
    d->own = o;
    d->read = folder_read;
    d->close = folder_close;
    return d;
}

static Folder *folder_new(const char *root, Fault *f)
{
    Folder *o = allocate_zero(sizeof *o, "a data set", f);
    if (!o || (o->root = strdup(root)))
        return o;
    fault(f, "out of memory for a folder's name");
    folder_free(o);
    return NULL;
}

static Dataset *open_listed(const Listing *split, const Listing *train, const char *root, bool required,
                            Fault *f)
{
    Folder *o = folder_new(root, f);
    Dataset *d = NULL;
    if (o && check_classes(split, train, root, f) && hold_classes(o, split, train, required, f))
        d = make_dataset(o, train, f);
    if (!d)
        folder_free(o);
    return d;
}

/* `required`: every class must have a picture. */
static Dataset *open_split(const char *train_root, const char *root, bool required, Fault *f)
{
    Listing train = {0}, split = {0};
    Dataset *d = NULL;
    if (list_classes(&train, train_root, f) && list_classes(&split, root, f)) {
        if (train.count > 0)
            d = open_listed(&split, &train, root, required, f);
        else
            fault(f, "%s: no class folders; it must hold one folder of pictures for each class", train_root);
    }
    listing_free(&train);
    listing_free(&split);
    return d;
}

Dataset *folder_open(const DataRequest *r, bool *found, Fault *f)
{
    const char *dir = r->dir;
    char *train = path_join(dir, "train"), *test = path_join(dir, "test");
    bool has_train = is_folder(train), has_test = is_folder(test);
    Dataset *d = NULL;
    *found = has_train || has_test;
    if (!*found)
        d = NULL;
    else if (!has_train)
        fault(f, "%s: no folder train/ beside test/; the classes are numbered by it", dir);
    else if (r->split == SPLIT_TEST && !has_test)
        fault(f, "%s: no folder test/ beside train/; add test/CLASS/ with pictures to test on", dir);
    else
        d = open_split(train, r->split == SPLIT_TEST ? test : train, r->split != SPLIT_TEST, f);
    free(train);
    free(test);
    return d;
}
