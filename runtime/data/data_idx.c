/* data_idx.c: IDX files of the MNIST family (LeCun, Cortes and Burges), packed by gzip or not.
 *
 * PREFIXtrain-images-idx3-ubyte holds a header of four big-endian numbers (a magic one that says bytes in
 * three dimensions; images, rows, columns) and grey pictures row by row; its labels likewise in one
 * dimension. QMNIST's labels (Yadav and Bottou 2019) are rows of eight 32-bit numbers, the class first. The
 * test split is called t10k or test, the prefix is EMNIST's, QMNIST's or none, and a point may stand before
 * idx. */
#include "decode_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, MAX_SIDE = 65535, MAX_CLASSES = 256, SURE_CLASSES = 10, MAX_NAME = 320 };
enum { MAX_DIMENSIONS = 3, TABLE_COLUMNS = 8, UNSIGNED_BYTES = 0x08, INTEGERS = 0x0c };

/* What a file holds. */
typedef struct {
    const char *what, *ending; /* in its name */
    int dimensions;
    uint32_t type;  /* in its magic number */
    uint32_t bytes; /* of a number */
} Kind;

static const Kind images_kind = {"images", "idx3-ubyte", 3, UNSIGNED_BYTES, 1},
                  labels_kind = {"labels", "idx1-ubyte", 1, UNSIGNED_BYTES, 1},
                  table_kind = {"labels", "idx2-int", 2, INTEGERS, 4};

static const char *const split_words[2][2] = {
    [SPLIT_TRAIN] = {"train", NULL},
    [SPLIT_TEST] = {"t10k", "test"},
};
static const char *const packings[] = {"", ".gz"};

typedef struct {
    DataFile file;
    const Kind *kind;
    uint32_t dims[MAX_DIMENSIONS];
    uint64_t begin; /* of the data */
} Idx;

/* ---- names ---- */

/* Each way to name a file has a number, from 0; false after the last. */
static bool spell(char *name, const char *prefix, Split split, const Kind *kind, int spelling)
{
    const char *word = spelling < 8 ? split_words[split][spelling / 4] : NULL;
    if (!word)
        return false;
    snprintf(name, MAX_NAME, "%s%s-%s%c%s%s", prefix, word, kind->what, spelling & 1 ? '.' : '-',
             kind->ending, packings[spelling / 2 & 1]);
    return true;
}

/* The name of the file that is there: unpacked rather than packed. */
static bool find_name(char *name, const char *dir, const char *prefix, Split split, const Kind *kind,
                      bool *found, Fault *f)
{
    bool known = true;
    *found = false;
    for (int i = 0; known && !*found && spell(name, prefix, split, kind, i); i++)
        known = data_file_find(dir, name, found, f);
    return known;
}

/* The length of the prefix of a file of pictures, or -1. */
static int prefix_length(const char *file)
{
    for (int split = 0; split < 2; split++) {
        char ending[MAX_NAME];
        for (int i = 0; spell(ending, "", (Split)split, &images_kind, i); i++) {
            size_t length = strlen(file), tail = strlen(ending);
            if (length >= tail && strcmp(file + length - tail, ending) == 0 &&
                (length == tail || file[length - tail - 1] == '-'))
                return (int)(length - tail);
        }
    }
    return -1;
}

static bool take_prefix(char *prefix, const char *file, int length, const char *dir, bool *found, Fault *f)
{
    char here[MAX_NAME];
    snprintf(here, MAX_NAME, "%.*s", length, file);
    const int order = *found ? strcmp(here, prefix) : 0;
    if (order != 0)
        return fault(f, "%s: several data sets, named %s... and %s...; give each a folder of its own", dir,
                     order < 0 ? here : prefix, order < 0 ? prefix : here);
    snprintf(prefix, MAX_NAME, "%s", here);
    *found = true;
    return true;
}

/* Finds the prefix that all files of the data set share; *found: there is one at all. */
static bool find_prefix(char *prefix, const char *dir, bool *found, Fault *f)
{
    bool fine = data_folder_find(dir, found, f);
    if (!fine || !*found)
        return fine;
    *found = false;
    DIR *listing = opendir(dir);
    if (!listing)
        return fault_errno(f, "%s", dir);
    const struct dirent *entry;
    while (fine && (errno = 0, entry = readdir(listing))) {
        int length = entry->d_type == DT_DIR ? -1 : prefix_length(entry->d_name);
        if (length >= 0)
            fine = take_prefix(prefix, entry->d_name, length, dir, found, f);
    }
    if (fine && errno != 0)
        fine = fault_errno(f, "%s", dir);
    closedir(listing);
    return fine;
}

/* ---- headers ---- */

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The numbers of elements in each dimension. */
static bool check_dimensions(const Idx *x, Fault *f)
{
    const char *path = x->file.path;
    if (x->kind == &table_kind && x->dims[1] != TABLE_COLUMNS)
        return fault(f, "%s: rows of %u numbers, where QMNIST's have %d; fetch the file again", path,
                     x->dims[1], TABLE_COLUMNS);
    for (int i = 1; i < x->kind->dimensions; i++)
        if (x->dims[i] < 1 || x->dims[i] > MAX_SIDE)
            return fault(f, "%s: pictures with a side of %u; 1 to %d are possible", path, x->dims[i],
                         MAX_SIDE);
    return true;
}

/* That the file is as long as its header says. */
static bool check_length(const Idx *x, Fault *f)
{
    const DataFile *file = &x->file;
    uint64_t expected = x->kind->bytes;
    for (int i = 0; i < x->kind->dimensions; i++)
        if (__builtin_mul_overflow(expected, x->dims[i], &expected))
            return fault(f, "%s: the header says more than a file can hold; fetch the file again",
                         file->path);
    return file->bytes - x->begin == expected ||
           fault(f, "%s: %llu bytes, but the header says %llu; fetch the file again", file->path,
                 (unsigned long long)file->bytes, (unsigned long long)(expected + x->begin));
}

static bool read_header(Idx *x, Fault *f)
{
    uint8_t header[4 + 4 * MAX_DIMENSIONS];
    const DataFile *file = &x->file;
    const Kind *kind = x->kind;
    const uint32_t magic = kind->type << 8 | (uint32_t)kind->dimensions;
    x->begin = 4 + 4 * (uint64_t)kind->dimensions;
    if (file->bytes < x->begin)
        return fault(f, "%s: %llu bytes, but the header alone has %llu; fetch the file again", file->path,
                     (unsigned long long)file->bytes, (unsigned long long)x->begin);
    if (!data_file_read(file, header, (size_t)x->begin, 0, f))
        return false;
    if (big_endian(header) != magic)
        return fault(f, "%s: begins with %08x, not with %08x as IDX files of %s do; fetch the file again",
                     file->path, big_endian(header), magic, kind->what);
    for (int i = 0; i < kind->dimensions; i++)
        x->dims[i] = big_endian(header + 4 + 4 * i);
    return check_dimensions(x, f) && check_length(x, f);
}

static void idx_close(Idx *x)
{
    data_file_close(&x->file);
}

static bool idx_file_open(Idx *x, const char *dir, const char *name, const Kind *kind, Fault *f)
{
    x->kind = kind;
    if (!data_file_open(&x->file, dir, name, f))
        return false;
    if (read_header(x, f))
        return true;
    idx_close(x);
    return false;
}

/* ---- labels ---- */

/* Which classes occur: the first image of each, plus one. */
typedef struct {
    uint32_t first[MAX_CLASSES];
} Classes;

/* Image i's class, from its bytes of the file. */
static bool read_label(const Idx *labels, uint32_t i, const uint8_t *bytes, uint8_t *label, Fault *f)
{
    const uint32_t number = labels->kind == &table_kind ? big_endian(bytes) : *bytes;
    *label = (uint8_t)number;
    return number < MAX_CLASSES ||
           fault(f, "%s: image %u has label %d; 0 to %d are possible; fetch the file again",
                 labels->file.path, i, (int)number, MAX_CLASSES - 1);
}

static bool scan_labels(const Idx *labels, Classes *seen, uint16_t *out, Fault *f)
{
    uint8_t block[BLOCK], label;
    const uint32_t size = labels->kind == &table_kind ? TABLE_COLUMNS * table_kind.bytes : 1;
    for (uint32_t first = 0, count; first < labels->dims[0]; first += count) {
        const uint32_t rest = labels->dims[0] - first;
        count = rest < BLOCK / size ? rest : BLOCK / size;
        if (!data_file_read(&labels->file, block, (size_t)count * size,
                            labels->begin + (uint64_t)first * size, f))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            if (!read_label(labels, first + i, block + (size_t)i * size, &label, f))
                return false;
            if (!seen->first[label])
                seen->first[label] = first + i + 1;
            if (out)
                out[first + i] = label;
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

/* A large one row by row, each from the file. */
static bool read_rows(const Dataset *d, uint64_t offset, int channels, Picture *out, Fault *f)
{
    const Idx *images = d->own;
    Rows rows = {.to = out, .channels = channels, .name = images->file.path, .fault = f};
    const RowsPlan plan = {.width = d->width,
                           .height = d->height,
                           .stored = 1,
                           .kind = "an IDX picture",
                           .advice = "make the pictures smaller"};
    const size_t width = (size_t)d->width;
    bool done = rows_begin(&rows, &plan);
    for (int y = 0; done && y < d->height; y++)
        done = data_file_read(&images->file, rows.row, width, offset + (uint64_t)y * width, f) &&
               rows_give(&rows, y, rows.row);
    rows_end(&rows);
    return done;
}

static bool idx_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    enum { LARGE = 1 << 14 }; /* pixels */
    const Idx *images = d->own;
    size_t pixels = (size_t)d->width * (size_t)d->height;
    if (out->rows && pixels > LARGE)
        return read_rows(d, images->begin + (uint64_t)d->index[i] * pixels, channels, out, f);
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

/* Which kind of labels the split has, or NULL; `name` is that of their file. */
static bool find_labels(char *name, const char *dir, const char *prefix, Split split, const Kind **kind,
                        Fault *f)
{
    const Kind *const kinds[] = {&labels_kind, &table_kind};
    bool known = true, found = false;
    *kind = NULL;
    for (size_t i = 0; known && !found && i < COUNT(kinds); i++) {
        known = find_name(name, dir, prefix, split, kinds[i], &found, f);
        if (found)
            *kind = kinds[i];
    }
    return known;
}

static bool name_missing(const char *dir, const char *prefix, Split split, const Kind *kind, Fault *f)
{
    char name[MAX_NAME];
    spell(name, prefix, split, kind, 0);
    return fault(f, "%s: IDX files without %s or %s.gz; fetch it too", dir, name, name);
}

static bool open_images(Idx *x, const char *dir, const char *prefix, Split split, Fault *f)
{
    char name[MAX_NAME];
    bool found;
    return find_name(name, dir, prefix, split, &images_kind, &found, f) &&
           (found || name_missing(dir, prefix, split, &images_kind, f)) &&
           idx_file_open(x, dir, name, &images_kind, f);
}

/* The labels of both splits, for the number of classes is that of both; those of the other may be missing. */
static bool open_labels(Idx labels[2], const char *dir, const char *prefix, Split wanted, Fault *f)
{
    static const char qmnist[] = "qmnist-";
    char name[MAX_NAME];
    for (int split = 0; split < 2; split++) {
        const Kind *kind;
        if (!find_labels(name, dir, prefix, (Split)split, &kind, f))
            return false;
        if (!kind && split == (int)wanted)
            return name_missing(dir, prefix, wanted, strcmp(prefix, qmnist) == 0 ? &table_kind : &labels_kind,
                                f);
        if (kind && !idx_file_open(&labels[split], dir, name, kind, f))
            return false;
    }
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
    if (open_images(&images, dir, prefix, wanted, f) && open_labels(labels, dir, prefix, wanted, f))
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

/* The folder with the files, by malloc, and their prefix: in the one given, or where torchvision unpacks.
 * NULL: neither. */
static bool find_place(char **place, char *prefix, const char *dir, Fault *f)
{
    char *const candidates[] = {strdup(dir), data_path(dir, "raw", f)};
    bool known = candidates[0] && candidates[1];
    if (!known)
        fault(f, "%s: out of memory for the name of a folder; free some", dir);
    *place = NULL;
    for (size_t i = 0; i < COUNT(candidates); i++) {
        bool found = false;
        known = known && (*place || find_prefix(prefix, candidates[i], &found, f));
        if (known && found)
            *place = candidates[i];
        else
            free(candidates[i]);
    }
    return known;
}

bool idx_find(const char *dir, bool *found, Fault *f)
{
    char prefix[MAX_NAME] = "", *place;
    bool known = find_place(&place, prefix, dir, f);
    *found = place != NULL;
    free(place);
    return known;
}

Dataset *idx_open(const DataRequest *r, Fault *f)
{
    char prefix[MAX_NAME] = "", *place;
    Dataset *d = NULL;
    if (find_place(&place, prefix, r->dir, f) && place)
        d = open_split(place, prefix, r->split == SPLIT_TEST ? SPLIT_TEST : SPLIT_TRAIN, f);
    free(place);
    return d;
}
