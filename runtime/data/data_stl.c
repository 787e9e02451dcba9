/* data_stl.c: STL-10 in the binary version (Coates, Ng and Lee 2011). PART_X.bin holds 96 x 96 pictures, each
 * as planes of red, green and blue stored column by column; PART_y.bin a label from 1 to 10 a picture. The
 * parts are train, test and unlabeled, which has no labels and is there to be trained on. */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 96, PLANE = SIDE * SIDE, IMAGE = 3 * PLANE, CLASSES = 10, BLOCK = 4096 };

static const char format[] = "STL-10 binary", below[] = "stl10_binary";
static const char unlabelled_pixels[] = "unlabeled_X.bin";

typedef struct {
    const char *pixels, *labels; /* names of files; no labels: NULL */
} Part;

static const Part train_part = {"train_X.bin", "train_y.bin"}, test_part = {"test_X.bin", "test_y.bin"},
                  unlabelled_part = {unlabelled_pixels, NULL};

static bool stl_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    const DataFile *pixels = d->own;
    uint8_t plane[PLANE];
    if (!picture_reserve(out, SIDE, SIDE, 3, f))
        return false;
    for (int channel = 0; channel < 3; channel++) {
        uint64_t offset = (uint64_t)d->index[i] * IMAGE + (uint64_t)channel * PLANE;
        if (!data_file_read(pixels, plane, PLANE, offset, f))
            return false;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                out->pixels[3 * (y * SIDE + x) + channel] = plane[x * SIDE + y];
    }
    return picture_convert(out, channels, f);
}

static void stl_close(Dataset *d)
{
    DataFile *pixels = d->own;
    data_file_close(pixels);
    free(pixels);
}

/* ---- opening ---- */

static bool read_labels(const DataFile *labels, Dataset *d, Fault *f)
{
    uint8_t block[BLOCK];
    for (uint32_t first = 0; first < d->count; first += BLOCK) {
        uint32_t count = d->count - first < BLOCK ? d->count - first : BLOCK;
        if (!data_file_read(labels, block, count, first, f))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            if (block[i] < 1 || block[i] > CLASSES)
                return fault(f, "%s: image %u has label %u, but %s has labels 1 to %d; fetch the file again",
                             labels->path, first + i, block[i], format, CLASSES);
            d->label[first + i] = (uint16_t)(block[i] - 1);
        }
    }
    return true;
}

/* Whole pictures, as many as there are labels. */
static bool check_sizes(const DataFile *pixels, const DataFile *labels, Fault *f)
{
    unsigned long long bytes = pixels->bytes, images = bytes / IMAGE;
    if (images > UINT32_MAX)
        return fault(f, "%s: more than %u images", pixels->path, UINT32_MAX);
    if (labels->path && bytes != labels->bytes * IMAGE)
        return fault(f, "%s: %llu bytes, but the %llu labels of %s make %llu; fetch both again", pixels->path,
                     bytes, (unsigned long long)labels->bytes, labels->path,
                     (unsigned long long)labels->bytes * IMAGE);
    if (bytes % IMAGE)
        return fault(f, "%s: %llu bytes are not a whole number of %s images of %d; fetch the file again",
                     pixels->path, bytes, format, IMAGE);
    return true;
}

static Dataset *make_dataset(const DataFile *pixels, const DataFile *labels, Fault *f)
{
    uint32_t count = (uint32_t)(pixels->bytes / IMAGE);
    Dataset *d = dataset_new(format, count, labels->path ? CLASSES : 1, f);
    if (!d)
        return NULL;
    d->width = d->height = SIDE;
    d->unlabelled = !labels->path;
    d->read = stl_read;
    d->identify = fingerprint_pixels;
    if (d->unlabelled || read_labels(labels, d, f))
        return d;
    data_close(d);
    return NULL;
}

/* The data set takes the file of the pixels. */
static Dataset *hold_pixels(Dataset *d, DataFile *pixels, Fault *f)
{
    DataFile *own = allocate(sizeof *own, "a data set", f);
    if (!own) {
        data_close(d);
        return NULL;
    }
    *own = *pixels;
    *pixels = (DataFile){.path = NULL};
    d->own = own;
    d->close = stl_close;
    return d;
}

static bool open_named(DataFile *file, const char *dir, const char *name, Fault *f)
{
    bool found;
    return data_file_find(dir, name, &found, f) &&
           (found || fault(f, "%s: %s without %s; fetch it too", dir, format, name)) &&
           data_file_open(file, dir, name, f);
}

static Dataset *open_part(const Part *part, const char *dir, Fault *f)
{
    DataFile pixels = {.path = NULL}, labels = {.path = NULL};
    Dataset *d = NULL;
    if (open_named(&pixels, dir, part->pixels, f) &&
        (!part->labels || open_named(&labels, dir, part->labels, f)) && check_sizes(&pixels, &labels, f))
        d = make_dataset(&pixels, &labels, f);
    if (d)
        d = hold_pixels(d, &pixels, f);
    if (d && part->labels && !data_names_read(d, dir, "class_names.txt", f)) {
        data_close(d);
        d = NULL;
    }
    data_file_close(&pixels);
    data_file_close(&labels);
    return d;
}

/* NULL with a fault. */
static const Part *choose_part(const char *dir, Split split, Fault *f)
{
    bool unlabelled = false;
    if (split == SPLIT_PRETRAIN && !data_file_find(dir, unlabelled_pixels, &unlabelled, f))
        return NULL;
    return split == SPLIT_TEST ? &test_part : unlabelled ? &unlabelled_part : &train_part;
}

static bool holds_part(const char *dir, bool *holds, Fault *f)
{
    const Part *const parts[] = {&train_part, &test_part, &unlabelled_part};
    bool known = true;
    *holds = false;
    for (size_t i = 0; known && !*holds && i < COUNT(parts); i++)
        known = data_file_find(dir, parts[i]->pixels, holds, f);
    return known;
}

/* The folder with the files, by malloc: the one given, or the one that the archive makes. NULL: neither. */
static bool find_place(char **place, const char *dir, Fault *f)
{
    bool holds;
    *place = NULL;
    if (!holds_part(dir, &holds, f))
        return false;
    if (holds)
        return (*place = strdup(dir)) ||
               fault(f, "%s: out of memory for the name of a folder; free some", dir);
    char *inner = data_path(dir, below, f);
    bool known = inner && holds_part(inner, &holds, f);
    if (known && holds)
        *place = inner;
    else
        free(inner);
    return known;
}

bool stl_find(const char *dir, bool *found, Fault *f)
{
    char *place;
    bool known = find_place(&place, dir, f);
    *found = place != NULL;
    free(place);
    return known;
}

Dataset *stl_open(const DataRequest *r, Fault *f)
{
    char *place;
    const Part *part = find_place(&place, r->dir, f) && place ? choose_part(place, r->split, f) : NULL;
    Dataset *d = part ? open_part(part, place, f) : NULL;
    free(place);
    return d;
}
