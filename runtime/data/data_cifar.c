/* data_cifar.c: CIFAR-10 and CIFAR-100 in the binary version (Krizhevsky 2009). A record is one label byte,
 * or a coarse and a fine one, and 32 x 32 pixels as planes of red, green and blue. Labels are held, pixels
 * are read when they are asked for. */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>

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
    const char *files[2][MAX_FILES + 1]; /* of each split, ended by NULL */
    int labels;                          /* bytes: coarse, fine; or the one there is */
    const char *names[MAX_LABELS];       /* files, one a byte */
    int classes[MAX_LABELS];
} Variant;

static const Variant variants[] = {
    {.format = "CIFAR-10 binary",
     .below = "cifar-10-batches-bin",
     .files = {[SPLIT_TRAIN] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                "data_batch_4.bin", "data_batch_5.bin"},
               [SPLIT_TEST] = {"test_batch.bin"}},
     .labels = 1,
     .names = {"batches.meta.txt"},
     .classes = {10}},
    {.format = "CIFAR-100 binary",
     .below = "cifar-100-binary",
     .files = {[SPLIT_TRAIN] = {"train.bin"}, [SPLIT_TEST] = {"test.bin"}},
     .labels = 2,
     .names = {"coarse_label_names.txt", "fine_label_names.txt"},
     .classes = {20, 100}},
};

typedef struct {
    DataFile file;
    uint32_t first, records; /* numbers of its images in the split */
} Batch;

typedef struct {
    const Variant *variant;
    int label; /* the byte that counts */
    int batches;
    Batch batch[MAX_FILES];
} Cifar;

static size_t record_size(const Variant *v)
{
    return (size_t)v->labels + 3 * PIXELS;
}

/* ---- reading ---- */

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
        !data_file_read(&b->file, record, size, (uint64_t)(d->index[i] - b->first) * size, f))
        return false;
    const uint8_t *planes = record + c->variant->labels;
    for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int channel = 0; channel < 3; channel++)
            out->pixels[3 * pixel + channel] = planes[channel * PIXELS + pixel];
    return picture_convert(out, channels, f);
}

/* ---- opening ---- */

static bool read_labels(const Cifar *c, const Batch *b, uint16_t *label, Fault *f)
{
    uint8_t block[BLOCK * MAX_RECORD];
    size_t size = record_size(c->variant);
    int classes = c->variant->classes[c->label];
    for (uint32_t first = 0; first < b->records; first += BLOCK) {
        uint32_t count = b->records - first < BLOCK ? b->records - first : BLOCK;
        if (!data_file_read(&b->file, block, count * size, (uint64_t)first * size, f))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            label[first + i] = block[i * size + (size_t)c->label];
            if (label[first + i] >= classes)
                return fault(f, "%s: image %u has label %u, but %s has labels 0 to %d; fetch the file again",
                             b->file.path, first + i, label[first + i], c->variant->format, classes - 1);
        }
    }
    return true;
}

static void cifar_free(Cifar *c)
{
    for (int i = 0; i < c->batches; i++)
        data_file_close(&c->batch[i].file);
    free(c);
}

static void cifar_close(Dataset *d)
{
    cifar_free(d->own);
}

/* Whole records only, and no more images than a split can number. */
static bool measure_batch(const Variant *v, Batch *b, Fault *f)
{
    uint64_t bytes = b->file.bytes, size = record_size(v);
    if (bytes % size)
        return fault(f, "%s: %llu bytes are not a whole number of %s records of %llu; fetch the file again",
                     b->file.path, (unsigned long long)bytes, v->format, (unsigned long long)size);
    if (bytes / size > UINT32_MAX - b->first)
        return fault(f, "%s: more than %u images in a split", b->file.path, UINT32_MAX);
    b->records = (uint32_t)(bytes / size);
    return true;
}

/* Opens dir/name as the next file of the split. */
static bool add_batch(Cifar *c, const char *dir, const char *name, Fault *f)
{
    Batch *b = &c->batch[c->batches];
    *b = (Batch){.first = c->batches ? b[-1].first + b[-1].records : 0};
    if (!data_file_open(&b->file, dir, name, f))
        return false;
    c->batches++;
    return measure_batch(c->variant, b, f);
}

static bool name_missing(const Variant *v, const char *dir, const char *name, Fault *f)
{
    return fault(f, "%s: %s without %s; fetch it too", dir, v->format, name);
}

/* How many files the split has: all of them, or the first alone, which is enough to try things with. With
 * others missing the set was copied in part. */
static bool count_batches(const Variant *v, const char *dir, const char *const *name, int *count, Fault *f)
{
    int missing = -1;
    *count = 0;
    for (int i = 0; name[i]; i++) {
        bool found;
        if (!data_file_find(dir, name[i], &found, f))
            return false;
        *count += found;
        if (!found && missing < 0)
            missing = i;
    }
    return missing < 0 || (*count == 1 && missing == 1) || name_missing(v, dir, name[missing], f);
}

static Cifar *open_batches(const Variant *v, const char *dir, const DataRequest *r, Fault *f)
{
    Cifar *c = allocate_zero(sizeof *c, "a data set", f);
    if (!c)
        return NULL;
    c->variant = v;
    c->label = r->coarse ? 0 : v->labels - 1;
    const char *const *name = v->files[r->split == SPLIT_TEST ? SPLIT_TEST : SPLIT_TRAIN];
    int count = 0;
    bool fine = count_batches(v, dir, name, &count, f);
    for (int i = 0; fine && i < count; i++)
        fine = add_batch(c, dir, name[i], f);
    if (!fine) {
        cifar_free(c);
        return NULL;
    }
    return c;
}

/* What a set of the first batch alone lacks. */
static bool say_missing(Dataset *d, const Cifar *c, Split split, Fault *f)
{
    const char *const *name = c->variant->files[split == SPLIT_TEST ? SPLIT_TEST : SPLIT_TRAIN];
    int all = 0;
    while (name[all])
        all++;
    if (c->batches == all)
        return true;
    if (asprintf(&d->remark, "without %s to %s", name[c->batches], name[all - 1]) >= 0)
        return true;
    d->remark = NULL;
    return fault(f, "out of memory for the names of files; free some");
}

static Dataset *open_variant(const Variant *v, const char *dir, const DataRequest *r, Fault *f)
{
    Cifar *c = open_batches(v, dir, r, f);
    if (!c)
        return NULL;
    const Batch *last = &c->batch[c->batches - 1];
    Dataset *d = dataset_new(v->format, last->first + last->records, v->classes[c->label], f);
    if (!d) {
        cifar_free(c);
        return NULL;
    }
    d->own = c;
    d->read = cifar_read;
    d->identify = fingerprint_pixels;
    d->close = cifar_close;
    d->width = d->height = SIDE;
    d->coarse = r->coarse && v->labels == MAX_LABELS;
    bool fine = say_missing(d, c, r->split, f) && data_names_read(d, dir, v->names[c->label], f);
    for (int i = 0; fine && i < c->batches; i++)
        fine = read_labels(c, &c->batch[i], d->label + c->batch[i].first, f);
    if (fine)
        return d;
    data_close(d);
    return NULL;
}

/* ---- finding ---- */

static bool holds_variant(const Variant *v, const char *dir, bool *holds, Fault *f)
{
    bool known = true;
    *holds = false;
    for (int split = 0; split < 2; split++)
        for (const char *const *name = v->files[split]; known && !*holds && *name; name++)
            known = data_file_find(dir, *name, holds, f);
    return known;
}

typedef struct {
    const Variant *variant; /* NULL: none */
    char *dir;              /* that holds its files, by malloc */
} Place;

static bool look_in(Place *p, const char *dir, const Variant *v, Fault *f)
{
    bool holds = false;
    bool known = holds_variant(v, dir, &holds, f);
    if (!known || !holds)
        return known;
    *p = (Place){.variant = v, .dir = strdup(dir)};
    return p->dir || fault(f, "%s: out of memory for the name of a folder; free some", dir);
}

/* In the folder itself, then in those that the archives make. */
static bool find_place(Place *p, const char *dir, Fault *f)
{
    bool known = true;
    *p = (Place){.variant = NULL};
    for (size_t i = 0; known && !p->variant && i < COUNT(variants); i++)
        known = look_in(p, dir, &variants[i], f);
    for (size_t i = 0; known && !p->variant && i < COUNT(variants); i++) {
        char *below = data_path(dir, variants[i].below, f);
        known = below && look_in(p, below, &variants[i], f);
        free(below);
    }
    return known;
}

bool cifar_find(const char *dir, bool *found, Fault *f)
{
    Place p;
    bool known = find_place(&p, dir, f);
    *found = p.variant != NULL;
    free(p.dir);
    return known;
}

Dataset *cifar_open(const DataRequest *r, Fault *f)
{
    Place p;
    Dataset *d = find_place(&p, r->dir, f) && p.variant ? open_variant(p.variant, p.dir, r, f) : NULL;
    free(p.dir);
    return d;
}
