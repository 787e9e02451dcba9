/* data_cifar.c: CIFAR-10 and CIFAR-100 in the binary version (Krizhevsky 2009). A record is one label byte,
 * or a coarse and a fine one, and 32 x 32 pixels as planes of red, green and blue. Labels are held, pixels
 * are read when they are asked for. */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SIDE = 32,
    PIXELS = SIDE * SIDE,
    MAX_LABELS = 2,
    MAX_RECORD = MAX_LABELS + 3 * PIXELS,
    BLOCK = 16, /* records read at once for their labels */
    MAX_FILES = 5,
};

typedef struct {
    const char *format;
    const char *below;                   /* the folder in which the archive packs the files */
    const char *files[2][MAX_FILES + 1]; /* of each split, ended by NULL; any of them may be missing */
    const char *names;
    int classes;
    int labels; /* bytes; the last one counts */
} Variant;

static const Variant variants[] = {
    {.format = "CIFAR-10 binary",
     .below = "cifar-10-batches-bin",
     .files = {[SPLIT_TRAIN] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                "data_batch_4.bin", "data_batch_5.bin"},
               [SPLIT_TEST] = {"test_batch.bin"}},
     .names = "batches.meta.txt",
     .classes = 10,
     .labels = 1},
    {.format = "CIFAR-100 binary",
     .below = "cifar-100-binary",
     .files = {[SPLIT_TRAIN] = {"train.bin"}, [SPLIT_TEST] = {"test.bin"}},
     .names = "fine_label_names.txt",
     .classes = 100,
     .labels = 2},
};

typedef struct {
    char *path;
    int descriptor;
    uint32_t first, records; /* numbers of its images in the split */
} Batch;

typedef struct {
    const Variant *variant;
    int batches;
    Batch batch[MAX_FILES];
} Cifar;

static size_t record_size(const Variant *v)
{
    return (size_t)v->labels + 3 * PIXELS;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static bool read_at(const Batch *b, void *out, size_t bytes, uint64_t offset, Fault *f)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(b->descriptor, (char *)out + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno != EINTR)
            return fault_errno(f, "%s: reading failed", b->path);
        if (got == 0)
            return fault(f, "%s: the file has become shorter while in use; fetch it again", b->path);
        if (got > 0)
            done += (size_t)got;
    }
    return true;
}

static const Batch *batch_of(const Cifar *c, uint32_t index)
{
    const Batch *b = c->batch;
    while (index - b->first >= b->records)
        b++;
    return b;
}

static bool cifar_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    const Cifar *c = d->own;
    const Batch *b = batch_of(c, d->index[i]);
    uint8_t record[MAX_RECORD];
    size_t size = record_size(c->variant);
    if (!picture_reserve(out, SIDE, SIDE, 3, f) ||
        !read_at(b, record, size, (uint64_t)(d->index[i] - b->first) * size, f))
        return false;
    const uint8_t *planes = record + c->variant->labels;
    for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int channel = 0; channel < 3; channel++)
            out->pixels[3 * pixel + channel] = planes[channel * PIXELS + pixel];
    return picture_convert(out, channels, f);
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static bool read_labels(const Variant *v, const Batch *b, uint16_t *label, Fault *f)
{
    uint8_t block[BLOCK * MAX_RECORD];
    size_t size = record_size(v);
    for (uint32_t first = 0; first < b->records; first += BLOCK) {
        uint32_t count = b->records - first < BLOCK ? b->records - first : BLOCK;
        if (!read_at(b, block, count * size, (uint64_t)first * size, f))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            label[first + i] = block[i * size + (size_t)v->labels - 1];
            if (label[first + i] >= v->classes)
                return fault(f, "%s: image %u has label %u, but %s has labels 0 to %d; fetch the file again",
                             b->path, first + i, label[first + i], v->format, v->classes - 1);
        }
    }
    return true;
}

static void cifar_free(Cifar *c)
{
    for (int i = 0; i < c->batches; i++) {
        close(c->batch[i].descriptor);
        free(c->batch[i].path);
    }
    free(c);
}

static void cifar_close(Dataset *d)
{
    cifar_free(d->own);
}

/* Whole records only, and no more images than a split can number. */
static bool measure_batch(const Variant *v, Batch *b, Fault *f)
{
    struct stat status;
    if (fstat(b->descriptor, &status) != 0)
        return fault_errno(f, "%s", b->path);
    uint64_t bytes = (uint64_t)status.st_size, size = record_size(v);
    if (bytes % size)
        return fault(f, "%s: %llu bytes are not a whole number of %s records of %llu; fetch the file again",
                     b->path, (unsigned long long)bytes, v->format, (unsigned long long)size);
    if (bytes / size > UINT32_MAX - b->first)
        return fault(f, "%s: more than %u images in a split", b->path, UINT32_MAX);
    b->records = (uint32_t)(bytes / size);
    return true;
}

/* Opens dir/name as the next file of the split; a file that is not there is passed over. */
static bool add_batch(Cifar *c, const char *dir, const char *name, Fault *f)
{
    Batch *b = &c->batch[c->batches];
    char *path = path_join(dir, name);
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0) {
        bool missing = path && errno == ENOENT;
        if (!missing)
            fault_errno(f, "%s", path ? path : name);
        free(path);
        return missing;
    }
    uint32_t first = c->batches ? b[-1].first + b[-1].records : 0;
    *b = (Batch){.path = path, .descriptor = descriptor, .first = first};
    c->batches++;
    return measure_batch(c->variant, b, f);
}

static Cifar *open_batches(const Variant *v, const char *dir, Split split, Fault *f)
{
    Cifar *c = allocate_zero(sizeof *c, "a data set", f);
    if (!c)
        return NULL;
    c->variant = v;
    bool fine = true;
    for (const char *const *name = v->files[split]; fine && *name; name++)
        fine = add_batch(c, dir, *name, f);
    if (fine && c->batches == 0)
        fine = fault(f, "%s: %s without %s; fetch it too", dir, v->format, v->files[split][0]);
    if (!fine) {
        cifar_free(c);
        return NULL;
    }
    return c;
}

/* One name a line. Names only make reports nicer, so a missing file or line is no fault. */
static void read_names(Dataset *d, const char *dir, const char *file)
{
    char *path = path_join(dir, file), *line = NULL;
    FILE *stream = path ? fopen(path, "re") : NULL;
    size_t capacity = 0;
    for (int c = 0; stream && c < d->classes && getline(&line, &capacity, stream) > 0;) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line)
            d->class_name[c++] = strdup(line);
    }
    if (stream)
        fclose(stream);
    free(line);
    free(path);
}

static Dataset *open_variant(const Variant *v, const char *dir, Split split, Fault *f)
{
    Cifar *c = open_batches(v, dir, split, f);
    if (!c)
        return NULL;
    const Batch *last = &c->batch[c->batches - 1];
    Dataset *d = dataset_new(v->format, last->first + last->records, v->classes, f);
    if (!d) {
        cifar_free(c);
        return NULL;
    }
    d->own = c;
    d->read = cifar_read;
    d->close = cifar_close;
    read_names(d, dir, v->names);
    for (int i = 0; i < c->batches; i++)
        if (!read_labels(v, &c->batch[i], d->label + c->batch[i].first, f)) {
            data_close(d);
            return NULL;
        }
    return d;
}

/* ---- finding ------------------------------------------------------------------------------------------ */

static bool file_exists(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    struct stat status;
    bool exists = path && stat(path, &status) == 0 && S_ISREG(status.st_mode);
    free(path);
    return exists;
}

static bool holds_variant(const Variant *v, const char *dir)
{
    for (int split = 0; split < 2; split++)
        for (const char *const *name = v->files[split]; *name; name++)
            if (file_exists(dir, *name))
                return true;
    return false;
}

Dataset *cifar_open(const char *dir, Split split, bool *found, Fault *f)
{
    for (size_t i = 0; i < 2 * COUNT(variants); i++) {
        const Variant *v = &variants[i % COUNT(variants)];
        char *below = i < COUNT(variants) ? NULL : path_join(dir, v->below);
        const char *place = below ? below : dir;
        *found = holds_variant(v, place);
        Dataset *d = *found ? open_variant(v, place, split, f) : NULL;
        free(below);
        if (*found)
            return d;
    }
    return NULL;
}
