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

static const Format formats[] = {
    {"CIFAR-10 or CIFAR-100 binary files", cifar_find, cifar_open},
    {"STL-10 binary files", stl_find, stl_open},
    {"IDX files of the MNIST family, also as .gz", idx_find, idx_open},
    {"folders train/CLASS and test/CLASS of JPEG and PNG files", folder_find, folder_open},
    {"NumPy arrays train.npy and test.npy", array_find, array_open},
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

static void fault_nothing_found(const char *dir, Fault *f)
{
    char known[512] = "";
    for (size_t i = 0, length = 0; i < COUNT(formats) && length < sizeof known; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? "; or " : "",
                                   formats[i].holds);
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

static Dataset *open_place(const DataRequest *r, Fault *f)
{
    mode_t mode = 0;
    if (!check_place(r->dir, &mode, f))
        return NULL;
    for (size_t i = 0; i < COUNT(formats); i++) {
        bool found = false;
        if (!formats[i].find(r->dir, &found, f))
            return NULL;
        if (found)
            return formats[i].open(r, f);
    }
    if (S_ISREG(mode))
        data_explain_file(r->dir, mode, holds_any, f);
    else
        fault_nothing_found(r->dir, f);
    return NULL;
}

static bool fits_request(Dataset *d, const DataRequest *r, Fault *f)
{
    if (d->count == 0)
        return fault(f, "%s: the %s split holds no pictures%s%s%s", r->dir, name_of(r->split),
                     d->remark ? " (" : "", d->remark ? d->remark : "", d->remark ? ")" : "");
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
    data_describe(d, text, sizeof text);
    if (d->remark) /* what is passed over is no progress */
        say_line(stderr, "%s split: %s", name_of(split), text);
    else
        say_progress(stderr, "%s split: %s", name_of(split), text);
}
