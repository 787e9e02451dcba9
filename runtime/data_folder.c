/* data_folder.c: train/CLASS/PICTURE and test/CLASS/PICTURE, JPEG and PNG files of any size.
 *
 * Classes are numbered by the names of the folders under train/, in byte order, in both splits. Hidden files
 * and files with other endings are passed over. Held are the labels and one pool with the names of the files.
 */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_CLASSES = UINT16_MAX + 1 };

typedef struct {
    char *root;      /* DIR/train or DIR/test */
    char *pool;      /* names of the files, each ended by a zero byte */
    uint32_t *name;  /* (count) where each begins in the pool */
    uint32_t *until; /* (classes) the number after each class's last picture */
    size_t pool_length;
    uint32_t count;
} Folder;

typedef struct {
    struct dirent **entry; /* sorted by name in byte order */
    int count;
} Listing;

/* ---- listings ----------------------------------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int may_be_folder(const struct dirent *entry)
{
    return entry->d_name[0] != '.' &&
           (entry->d_type == DT_DIR || entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN);
}

static int may_be_picture(const struct dirent *entry)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    const char *dot = strrchr(entry->d_name, '.');
    if (!dot || dot == entry->d_name || entry->d_name[0] == '.' || entry->d_type == DT_DIR)
        return 0;
    for (size_t i = 0; i < COUNT(endings); i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return 1;
    return 0;
}

static bool list(Listing *l, const char *path, int (*wanted)(const struct dirent *), Fault *f)
{
    l->entry = NULL;
    l->count = scandir(path, &l->entry, wanted, by_name);
    if (l->count >= 0)
        return true;
    l->count = 0;
    return fault_errno(f, "%s", path);
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
    if (!list(l, root, may_be_folder, f))
        return false;
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

/* ---- reading ------------------------------------------------------------------------------------------ */

static bool read_whole(Picture *p, int descriptor, size_t *size, const char *path, Fault *f)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return fault_errno(f, "%s", path);
    if (!S_ISREG(status.st_mode) || status.st_size <= 0 || (uint64_t)status.st_size > SIZE_MAX)
        return fault(f, "%s: not a file with a picture; replace or remove it", path);
    *size = (size_t)status.st_size;
    if (*size > p->encoded_capacity) {
        uint8_t *larger = realloc(p->encoded, *size);
        if (!larger)
            return fault(f, "%s: out of memory for %zu bytes; make the file smaller", path, *size);
        p->encoded = larger;
        p->encoded_capacity = *size;
    }
    for (size_t done = 0; done < *size;) {
        ssize_t got = read(descriptor, p->encoded + done, *size - done);
        if (got < 0 && errno != EINTR)
            return fault_errno(f, "%s: reading failed", path);
        if (got == 0)
            return fault(f, "%s: the file has become shorter while in use; fetch it again", path);
        if (got > 0)
            done += (size_t)got;
    }
    return true;
}

static bool read_picture(Picture *p, const char *path, int channels, Fault *f)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return fault_errno(f, "%s", path);
    size_t size = 0;
    bool done = read_whole(p, descriptor, &size, path, f);
    close(descriptor);
    return done && decode_picture(p, p->encoded, size, channels, path, f);
}

static bool folder_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    const Folder *o = d->own;
    char *path;
    if (asprintf(&path, "%s/%s/%s", o->root, d->class_name[d->label[i]], o->pool + o->name[d->index[i]]) < 0)
        return fault(f, "%s: out of memory for a file's name; free some", o->root);
    bool done = read_picture(out, path, channels, f);
    free(path);
    return done;
}

/* ---- the names held ----------------------------------------------------------------------------------- */

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

/* Makes room for the names of the listing. */
static bool reserve_names(Folder *o, const Listing *l, Fault *f)
{
    size_t length = o->pool_length;
    for (int i = 0; i < l->count; i++)
        length += strlen(l->entry[i]->d_name) + 1;
    if (length > UINT32_MAX) /* so there are no more names either */
        return fault(f, "%s: the names of its pictures take more than 4 GiB; use fewer", o->root);
    size_t count = (size_t)o->count + (size_t)l->count;
    char *pool = realloc(o->pool, length);
    if (pool)
        o->pool = pool;
    uint32_t *name = count <= SIZE_MAX / sizeof *name ? realloc(o->name, count * sizeof *name) : NULL;
    if (name)
        o->name = name;
    return (pool && name) || fault(f, "out of memory for the names of %zu pictures; use fewer", count);
}

static bool hold_names(Folder *o, const Listing *l, Fault *f)
{
    if (l->count == 0)
        return true;
    if (!reserve_names(o, l, f))
        return false;
    for (int i = 0; i < l->count; i++) {
        size_t bytes = strlen(l->entry[i]->d_name) + 1;
        memcpy(o->pool + o->pool_length, l->entry[i]->d_name, bytes);
        o->name[o->count++] = (uint32_t)o->pool_length;
        o->pool_length += bytes;
    }
    return true;
}

/* Holds the pictures of one class of the split, which may be none in the test split. */
static bool hold_class(Folder *o, const char *class_name, bool required, Fault *f)
{
    char *path = path_join(o->root, class_name);
    Listing pictures = {0};
    bool done =
        path ? list(&pictures, path, may_be_picture, f) : fault(f, "out of memory for a folder's name");
    if (done && required && pictures.count == 0)
        done = fault(f, "%s: no .jpg, .jpeg or .png files; add some or remove the folder", path);
    done = done && hold_names(o, &pictures, f);
    listing_free(&pictures);
    free(path);
    return done;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

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
