/* data.c: what a folder or a file holds, found by looking, and one split of it opened as a Dataset. */
#include "runtime.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    const char *holds; /* for the message when nothing fits */
    bool (*find)(const char *dir, bool *found, Fault *f);
    Dataset *(*open)(const DataRequest *r, Fault *f);
} Format;

enum { FORMATS_TEXT = 600 };

static const Format formats[] = {
    {"CIFAR-10 or CIFAR-100 binary files", cifar_find, cifar_open},
    {"STL-10 binary files", stl_find, stl_open},
    {"IDX files of the MNIST family, also as .gz", idx_find, idx_open},
    {"folders train/CLASS and test/CLASS of JPEG and PNG files", folder_find, folder_open},
    {"NumPy arrays train.npy and test.npy", array_find, array_open},
    {"tar files of KEY.jpg and KEY.cls", tar_find, tar_open},
};

/* What any folder of pictures may be, and is where nothing better fits. */
static const Format plain_formats[] = {
    {"folders CLASS of them, without a split", classes_find, classes_open},
    {"JPEG and PNG files alone, without labels", flat_find, flat_open},
};

/* Keeps the first `limit` images of each class. */
static bool keep_first(Dataset *d, uint32_t limit, Fault *f)
{
    uint32_t *seen = allocate_zero((size_t)d->classes * sizeof *seen, "counting the classes", f);
    if (!seen)
        return false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        if (seen[d->label[i]]++ >= limit)
            continue;
        d->label[kept] = d->label[i];
        d->index[kept++] = d->index[i];
    }
    d->count = kept;
    free(seen);
    return true;
}

static const char *name_of(Split split)
{
    return split == SPLIT_TEST ? "test" : "training";
}

static bool holds_any(const char *dir)
{
    Fault ignored;
    bool found = false;
    for (size_t i = 0; i < COUNT(formats) && !found; i++)
        if (!formats[i].find(dir, &found, &ignored))
            found = false;
    return found;
}

static void name_formats(const Format *format, size_t count, char known[FORMATS_TEXT])
{
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(known);
        snprintf(known + length, FORMATS_TEXT - length, "%s%s", length ? "; or " : "", format[i].holds);
    }
}

static void fault_nothing_found(const char *dir, Fault *f)
{
    char known[FORMATS_TEXT] = "";
    name_formats(formats, COUNT(formats), known);
    name_formats(plain_formats, COUNT(plain_formats), known);
    data_explain(dir, holds_any, known, f);
}

/* That it is a file, or a folder that may be read and searched: else every file in it would seem to be the
 * reason. */
static bool check_place(const char *dir, mode_t *mode, Fault *f)
{
    struct stat status;
    if (stat(dir, &status) != 0)
        return fault_errno(f, "--data %s", dir);
    *mode = status.st_mode;
    if (S_ISREG(*mode))
        return true;
    if (!S_ISDIR(*mode)) {
        data_explain_file(dir, *mode, holds_any, f);
        return false;
    }
    DIR *folder = opendir(dir);
    if (!folder)
        return fault_errno(f, "--data %s: the folder cannot be read", dir);
    bool searched = fstatat(dirfd(folder), ".", &status, 0) == 0 ||
                    fault_errno(f, "--data %s: the folder cannot be entered", dir);
    closedir(folder);
    return searched;
}

/* The first that fits; NULL where none does, or with a fault that keeps from telling. */
static const Format *find_format(const Format *format, size_t count, const char *dir, bool *known, Fault *f)
{
    bool found = false;
    *known = true;
    for (size_t i = 0; i < count; i++) {
        *known = format[i].find(dir, &found, f);
        if (!*known || found)
            return *known ? &format[i] : NULL;
    }
    return NULL;
}

static Dataset *open_place(const DataRequest *r, Fault *f)
{
    bool known;
    mode_t mode = 0;
    if (!check_place(r->dir, &mode, f))
        return NULL;
    const Format *format = find_format(formats, COUNT(formats), r->dir, &known, f);
    if (!format && known && S_ISREG(mode))
        data_explain_file(r->dir, mode, holds_any, f);
    if (!format && (!known || S_ISREG(mode) || data_is_else(r->dir, holds_any, f)))
        return NULL;
    if (!format)
        format = find_format(plain_formats, COUNT(plain_formats), r->dir, &known, f);
    if (format)
        return format->open(r, f);
    if (known)
        fault_nothing_found(r->dir, f);
    return NULL;
}

static bool divide(Dataset *d, const DataRequest *r, Fault *f)
{
    const char *dir = r->dir ? r->dir : "the built-in pictures";
    if (!d->undivided && r->holdout > 0)
        return fault(f, "--holdout: %s: there is a test split, or a place for one (%s); leave --holdout out",
                     dir, d->format);
    if (r->holdout > 0) {
        const uint32_t all = d->count;
        d->undivided = false;
        return holdout_keep(d, r->holdout, r->split == SPLIT_TEST, f) &&
               ((d->count > 0 && d->count < all) ||
                fault(f, "--holdout %g: %s: none of %u pictures is held out; give a larger share", r->holdout,
                      dir, all));
    }
    return !d->undivided || r->split != SPLIT_TEST || r->whole ||
           fault(f,
                 "%s: no test split; add one, or hold out a tenth of the pictures, in training too: "
                 "--holdout 0.1",
                 dir);
}

static bool fits_request(Dataset *d, const DataRequest *r, Fault *f)
{
    if (!divide(d, r, f))
        return false;
    if (d->count == 0)
        return fault(f, "%s: the %s split holds no pictures%s%s%s%s", r->dir, name_of(r->split),
                     d->remark ? " (" : "", d->remark ? d->remark : "", d->remark ? ")" : "",
                     r->holdout > 0 ? "; try another --holdout" : "");
    if (r->coarse && !d->coarse)
        return fault(f, "--labels coarse: there are none in %s; leave it out", d->format);
    return r->limit == 0 || (r->split == SPLIT_TEST && !r->limits_test) || keep_first(d, r->limit, f);
}

Dataset *data_request(const DataRequest *r, Fault *f)
{
    Dataset *d = r->dir ? open_place(r, f) : pictures_open(r->split, f);
    if (!d || fits_request(d, r, f))
        return d;
    data_close(d);
    return NULL;
}

Dataset *data_open(const char *dir, Split split, uint32_t limit, Fault *f)
{
    return data_request(&(DataRequest){.dir = dir, .split = split, .limit = limit}, f);
}

void data_describe(const Dataset *d, char *text, size_t size)
{
    char sides[40] = "any size", classes[40] = "without labels";
    if (d->width)
        snprintf(sides, sizeof sides, "%d x %d", d->width, d->height);
    if (!d->unlabelled)
        snprintf(classes, sizeof classes, "in %d %s%s", d->classes, d->coarse ? "coarse " : "",
                 d->classes == 1 ? "class" : "classes");
    snprintf(text, size, "%s, %u images of %s %s%s%s", d->format, d->count, sides, classes,
             d->remark ? "; " : "", d->remark ? d->remark : "");
}

void data_say(const Dataset *d, Split split)
{
    char text[DATA_TEXT];
    const char *part = split != SPLIT_TEST ? "training split" : d->undivided ? "all pictures" : "test split";
    data_describe(d, text, sizeof text);
    if (d->remark) /* what is passed over is no progress */
        say_line(stderr, "%s: %s", part, text);
    else
        say_progress(stderr, "%s: %s", part, text);
}
