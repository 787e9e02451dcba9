/* data.c: what a folder holds, found by looking, and one split of it opened as a Dataset. */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    const char *holds; /* for the message when nothing fits */
    Dataset *(*open)(const char *dir, Split split, bool *found, Fault *f);
} Format;

static const Format formats[] = {
    {"CIFAR-10 or CIFAR-100 binary files", cifar_open},
    {"folders train/CLASS and test/CLASS of JPEG and PNG files", folder_open},
};

Dataset *dataset_new(const char *format, uint32_t count, int classes, Fault *f)
{
    Dataset *d = allocate_zero(sizeof *d, "a data set", f);
    if (!d)
        return NULL;
    d->format = format;
    d->count = count;
    d->classes = classes;
    d->class_name = allocate_zero((size_t)classes * sizeof *d->class_name, "the names of the classes", f);
    d->label = allocate_zero((size_t)count * sizeof *d->label, "the labels of the pictures", f);
    d->index = allocate((size_t)count * sizeof *d->index, "the numbers of the pictures", f);
    if (!d->class_name || !d->label || !d->index) {
        data_close(d);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++)
        d->index[i] = i;
    return d;
}

void data_close(Dataset *d)
{
    if (!d)
        return;
    if (d->close)
        d->close(d);
    for (int c = 0; d->class_name && c < d->classes; c++)
        free(d->class_name[c]);
    free(d->class_name);
    free(d->label);
    free(d->index);
    free(d);
}

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

static void fault_nothing_found(const char *dir, Fault *f)
{
    char known[512] = "";
    for (size_t i = 0, length = 0; i < COUNT(formats) && length < sizeof known; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? "; or " : "",
                                   formats[i].holds);
    fault(f, "--data %s: no pictures found; it may hold %s", dir, known);
}

static Dataset *open_folder(const char *dir, Split split, Fault *f)
{
    struct stat status;
    if (stat(dir, &status) != 0) {
        fault_errno(f, "--data %s", dir);
        return NULL;
    }
    if (!S_ISDIR(status.st_mode)) {
        fault(f, "--data %s: not a folder; give the folder that holds the pictures", dir);
        return NULL;
    }
    for (size_t i = 0; i < COUNT(formats); i++) {
        bool found = false;
        Dataset *d = formats[i].open(dir, split, &found, f);
        if (found)
            return d;
    }
    fault_nothing_found(dir, f);
    return NULL;
}

Dataset *data_open(const char *dir, Split split, uint32_t limit, Fault *f)
{
    Dataset *d = dir ? open_folder(dir, split, f) : pictures_open(split, f);
    if (!d)
        return NULL;
    bool usable = d->count > 0 || fault(f, "%s: the %s split holds no pictures", dir,
                                        split == SPLIT_TRAIN ? "training" : "test");
    if (usable && limit && split == SPLIT_TRAIN)
        usable = keep_first(d, limit, f);
    if (!usable) {
        data_close(d);
        return NULL;
    }
    return d;
}
