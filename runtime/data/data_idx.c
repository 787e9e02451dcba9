/* data_idx.c: IDX files of the MNIST family (LeCun, Cortes and Burges), packed by gzip or not.
 *
 * PREFIXtrain-images-idx3-ubyte holds a header of four big-endian numbers (a magic one that says bytes in
 * three dimensions; images, rows, columns) and grey pictures row by row; its labels likewise in one
 * dimension. The test split is called t10k or test, the prefix is EMNIST's or none, and a point may stand
 * before idx. */
#include "runtime.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, MAX_SIDE = 65535, MAX_CLASSES = 256, SURE_CLASSES = 10, MAX_NAME = 320 };
enum { IMAGE_DIMENSIONS = 3, LABEL_DIMENSIONS = 1, UNSIGNED_BYTES = 8 };

static const char *const split_words[2][2] = {
    [SPLIT_TRAIN] = {"train", NULL},
    [SPLIT_TEST] = {"t10k", "test"},
};
static const char *const kinds[] = {[LABEL_DIMENSIONS] = "labels", [IMAGE_DIMENSIONS] = "images"};
static const char *const endings[] = {"", ".gz"};

typedef struct {
    DataFile file;
    uint32_t dims[IMAGE_DIMENSIONS];
    uint64_t begin; /* of the data */
} Idx;

/* ---- names ---- */

/* Each way to name a file has a number, from 0; false after the last. */
static bool spell(char *name, const char *prefix, Split split, int dimensions, int spelling)
{
    const char *word = spelling < 8 ? split_words[split][spelling / 4] : NULL;
    if (!word)
        return false;
    snprintf(name, MAX_NAME, "%s%s-%s%cidx%d-ubyte%s", prefix, word, kinds[dimensions],
             spelling & 1 ? '.' : '-', dimensions, endings[spelling / 2 & 1]);
    return true;
}

/* The name of the file that is there: unpacked rather than packed. */
static bool find_name(char *name, const char *dir, const char *prefix, Split split, int dimensions)
{
    for (int i = 0; spell(name, prefix, split, dimensions, i); i++)
        if (data_file_exists(dir, name))
            return true;
    return false;
}

/* The length of the prefix of a file of pictures, or -1. */
static int prefix_length(const char *file)
{
    for (int split = 0; split < 2; split++) {
        char ending[MAX_NAME];
        for (int i = 0; spell(ending, "", (Split)split, IMAGE_DIMENSIONS, i); i++) {
            size_t length = strlen(file), tail = strlen(ending);
            if (length >= tail && strcmp(file + length - tail, ending) == 0 &&
                (length == tail || file[length - tail - 1] == '-'))
                return (int)(length - tail);
        }
    }
    return -1;
}

/* Finds the prefix that all files of the data set share; *found: there is one at all. */
static bool find_prefix(char *prefix, const char *dir, bool *found, Fault *f)
{
    DIR *listing = opendir(dir);
    bool one = true;
    *found = false;
    for (struct dirent *entry; one && listing && (entry = readdir(listing));) {
        int length = prefix_length(entry->d_name);
        if (length < 0)
            continue;
        char here[MAX_NAME];
        snprintf(here, MAX_NAME, "%.*s", length, entry->d_name);
        if (*found && strcmp(here, prefix) != 0)
            one = fault(f, "%s: several data sets, named %s... and %s...; give each a folder of its own", dir,
                        strcmp(here, prefix) < 0 ? here : prefix, strcmp(here, prefix) < 0 ? prefix : here);
        snprintf(prefix, MAX_NAME, "%s", here);
        *found = true;
    }
    if (listing)
        closedir(listing);
    return one;
}

/* ---- headers ---- */

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The header, and that the file is as long as it says. */
static bool read_header(Idx *x, int dimensions, Fault *f)
{
    uint8_t header[4 + 4 * IMAGE_DIMENSIONS];
    size_t size = 4 + 4 * (size_t)dimensions;
    const DataFile *file = &x->file;
    if (file->bytes < size)
        return fault(f, "%s: %llu bytes, but the header alone has %zu; fetch the file again", file->path,
                     (unsigned long long)file->bytes, size);
    if (!data_file_read(file, header, size, 0, f))
        return false;
    if (big_endian(header) != (UNSIGNED_BYTES << 8 | (uint32_t)dimensions))
        return fault(f, "%s: begins with %08x, not with %08x as IDX files of %s do; fetch the file again",
                     file->path, big_endian(header), UNSIGNED_BYTES << 8 | (uint32_t)dimensions,
                     kinds[dimensions]);
    uint64_t expected = 1;
    for (int i = 0; i < dimensions; i++) {
        x->dims[i] = big_endian(header + 4 + 4 * i);
        if (i > 0 && (x->dims[i] < 1 || x->dims[i] > MAX_SIDE))
            return fault(f, "%s: pictures with a side of %u; 1 to %d are possible", file->path, x->dims[i],
                         MAX_SIDE);
        if (__builtin_mul_overflow(expected, x->dims[i], &expected))
            return fault(f, "%s: the header says more than a file can hold; fetch the file again",
                         file->path);
    }
    x->begin = size;
    return file->bytes - size == expected ||
           fault(f, "%s: %llu bytes, but the header says %llu; fetch the file again", file->path,
                 (unsigned long long)file->bytes, (unsigned long long)(expected + size));
}

static void idx_close(Idx *x)
{
    data_file_close(&x->file);
}

static bool idx_file_open(Idx *x, const char *dir, const char *name, int dimensions, Fault *f)
{
    if (!data_file_open(&x->file, dir, name, f))
        return false;
    if (read_header(x, dimensions, f))
        return true;
    idx_close(x);
    return false;
}

/* ---- labels ---- */

/* Which classes occur: the first image of each, plus one. */
typedef struct {
    uint32_t first[MAX_CLASSES];
} Classes;

static bool scan_labels(const Idx *labels, Classes *seen, uint16_t *out, Fault *f)
{
    uint8_t block[BLOCK];
    for (uint32_t first = 0; first < labels->dims[0]; first += BLOCK) {
        uint32_t count = labels->dims[0] - first < BLOCK ? labels->dims[0] - first : BLOCK;
        if (!data_file_read(&labels->file, block, count, labels->begin + first, f))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            if (!seen->first[block[i]])
                seen->first[block[i]] = first + i + 1;
            if (out)
                out[first + i] = block[i];
        }
    }
    return true;
}

/* The number of classes. A label that is too large for digits stands for a class only where no class below it
 * is empty, but class 0, which EMNIST's letters leave out. `seen` and the labels' files are by split. */
static int count_classes(const Classes seen[2], const Idx labels[2], Fault *f)
{
    int largest = 0, empty = 0;
    for (int c = 1; c < MAX_CLASSES; c++) {
        bool occurs = seen[SPLIT_TRAIN].first[c] || seen[SPLIT_TEST].first[c];
        if (occurs)
            largest = c;
        else if (!empty)
            empty = c;
    }
    if (largest < SURE_CLASSES || !empty || empty > largest)
        return largest + 1;
    Split split = seen[SPLIT_TRAIN].first[largest] ? SPLIT_TRAIN : SPLIT_TEST;
    fault(f, "%s: image %u has label %d, but there is no image of class %d; fetch the file again",
          labels[split].file.path, seen[split].first[largest] - 1, largest, empty);
    return 0;
}

/* ---- opening ---- */

static bool idx_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    const Idx *images = d->own;
    size_t pixels = (size_t)d->width * (size_t)d->height;
    return picture_reserve(out, d->width, d->height, 1, f) &&
           data_file_read(&images->file, out->pixels, pixels, images->begin + (uint64_t)d->index[i] * pixels,
                          f) &&
           picture_convert(out, channels, f);
}

static void idx_dataset_close(Dataset *d)
{
    idx_close(d->own);
    free(d->own);
}

static bool open_named(Idx *x, const char *dir, const char *prefix, Split split, int dimensions, Fault *f)
{
    char name[MAX_NAME];
    if (find_name(name, dir, prefix, split, dimensions))
        return idx_file_open(x, dir, name, dimensions, f);
    spell(name, prefix, split, dimensions, 0);
    return fault(f, "%s: IDX files without %s or %s.gz; fetch it too", dir, name, name);
}

/* The labels of both splits, for the number of classes is that of both; those of the other may be missing. */
static bool open_labels(Idx labels[2], const char *dir, const char *prefix, Split wanted, Fault *f)
{
    char name[MAX_NAME];
    for (int split = 0; split < 2; split++)
        if ((split == (int)wanted || find_name(name, dir, prefix, (Split)split, LABEL_DIMENSIONS)) &&
            !open_named(&labels[split], dir, prefix, (Split)split, LABEL_DIMENSIONS, f))
            return false;
    return true;
}

static Dataset *make_dataset(const Idx *images, const Idx labels[2], Split wanted, Fault *f)
{
    if (images->dims[0] != labels[wanted].dims[0]) {
        fault(f, "%s: %u images, but %s has %u labels; fetch both again", images->file.path, images->dims[0],
              labels[wanted].file.path, labels[wanted].dims[0]);
        return NULL;
    }
    Classes seen[2] = {0};
    for (int split = 0; split < 2; split++)
        if (labels[split].file.path && !scan_labels(&labels[split], &seen[split], NULL, f))
            return NULL;
    int classes = count_classes(seen, labels, f);
    Dataset *d = classes ? dataset_new("IDX", images->dims[0], classes, f) : NULL;
    if (!d)
        return NULL;
    d->height = (int)images->dims[1];
    d->width = (int)images->dims[2];
    if (scan_labels(&labels[wanted], &seen[wanted], d->label, f) &&
        (d->own = allocate(sizeof *images, "a data set", f)))
        return d;
    data_close(d);
    return NULL;
}

static Dataset *open_split(const char *dir, const char *prefix, Split wanted, Fault *f)
{
    Idx images = {.begin = 0}, labels[2] = {{.begin = 0}};
    Dataset *d = NULL;
    if (open_named(&images, dir, prefix, wanted, IMAGE_DIMENSIONS, f) &&
        open_labels(labels, dir, prefix, wanted, f))
        d = make_dataset(&images, labels, wanted, f);
    if (d) {
        *(Idx *)d->own = images;
        d->read = idx_read;
        d->identify = fingerprint_pixels;
        d->close = idx_dataset_close;
    } else
        idx_close(&images);
    for (int split = 0; split < 2; split++)
        idx_close(&labels[split]);
    return d;
}

static Dataset *open_here(const char *dir, Split wanted, bool *found, Fault *f)
{
    char prefix[MAX_NAME] = "";
    bool one = find_prefix(prefix, dir, found, f);
    return one && *found ? open_split(dir, prefix, wanted, f) : NULL;
}

Dataset *idx_open(const DataRequest *r, bool *found, Fault *f)
{
    Split wanted = r->split == SPLIT_TEST ? SPLIT_TEST : SPLIT_TRAIN;
    Dataset *d = open_here(r->dir, wanted, found, f);
    char *below = *found ? NULL : path_join(r->dir, "raw"); /* where torchvision unpacks */
    if (below)
        d = open_here(below, wanted, found, f);
    free(below);
    return d;
}
