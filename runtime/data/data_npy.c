/* data_npy.c: NumPy arrays: train.npy and test.npy, with train.labels.npy and test.labels.npy if they are
 * there; or one FILE.npy, with FILE.labels.npy beside it, which is the training split.
 *
 * Pictures are uint8, N x H x W, N x H x W x C or N x C x H x W with C 1 or 3, and are read from the file as
 * they are needed. Labels are N whole numbers of any type from 0 up. */
#include "decode_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = 4096, MAX_CLASSES = UINT16_MAX + 1 };

static const char format[] = "NumPy arrays", ending[] = ".npy", labels_ending[] = ".labels.npy";

/* Pictures in a file. */
typedef struct {
    DataFile file;
    uint64_t begin;
    uint32_t count;
    int width, height, channels;
    bool planes; /* a picture's channels one after another */
} Pictures;

typedef struct {
    DataFile file;
    uint64_t begin;
    uint32_t count, bytes; /* of a number */
    bool is_signed;
} Labels;

/* ---- reading ---- */

/* One row, at `to`, with its channels beside one another; `line` has room for one channel of it. */
static bool read_row(const Pictures *p, uint64_t picture, int y, uint8_t *to, uint8_t *line, Fault *f)
{
    const size_t width = (size_t)p->width, channels = (size_t)p->channels;
    const uint64_t plane = (uint64_t)p->height * width, row = (uint64_t)y * width;
    if (!p->planes || channels == 1)
        return data_file_read(&p->file, to, width * channels, picture + row * channels, f);
    for (size_t c = 0; c < channels; c++) {
        if (!data_file_read(&p->file, line, width, picture + c * plane + row, f))
            return false;
        for (size_t x = 0; x < width; x++)
            to[x * channels + c] = line[x];
    }
    return true;
}

/* A large one row by row, so that it need not be held. */
static bool read_rows(const Pictures *p, uint64_t picture, int channels, Picture *out, Fault *f)
{
    Rows rows = {.to = out, .channels = channels, .name = p->file.path, .fault = f};
    const size_t width = (size_t)p->width;
    const RowsPlan plan = {.width = p->width,
                           .height = p->height,
                           .stored = p->channels,
                           .bytes = width,
                           .kind = "a picture of a NumPy array",
                           .advice = "make the pictures smaller"};
    bool done = rows_begin(&rows, &plan);
    uint8_t *line = done ? allocate(width, "a row of a picture", f) : NULL;
    done = line != NULL;
    for (int y = 0; done && y < p->height; y++)
        done = read_row(p, picture, y, rows.row, line, f) && rows_give(&rows, y, rows.row);
    free(line);
    rows_end(&rows);
    return done;
}

/* A small one at once; its planes a block at a time. */
static bool read_whole(const Pictures *p, uint64_t picture, Picture *out, Fault *f)
{
    const size_t pixels = (size_t)p->width * (size_t)p->height, channels = (size_t)p->channels;
    uint8_t block[BLOCK];
    if (!p->planes)
        return data_file_read(&p->file, out->pixels, pixels * channels, picture, f);
    for (size_t c = 0; c < channels; c++)
        for (size_t first = 0; first < pixels; first += BLOCK) {
            const size_t count = pixels - first < BLOCK ? pixels - first : BLOCK;
            if (!data_file_read(&p->file, block, count, picture + c * pixels + first, f))
                return false;
            for (size_t i = 0; i < count; i++)
                out->pixels[(first + i) * channels + c] = block[i];
        }
    return true;
}

static bool array_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    enum { LARGE = 1 << 14 }; /* pixels */
    const Pictures *p = d->own;
    const uint64_t pixels = (uint64_t)p->width * (uint64_t)p->height;
    const uint64_t picture = p->begin + d->index[i] * pixels * (uint64_t)p->channels;
    if (out->rows && pixels > LARGE)
        return read_rows(p, picture, channels, out, f);
    return picture_reserve(out, p->width, p->height, p->channels, f) && read_whole(p, picture, out, f) &&
           picture_convert(out, channels, f);
}

static void array_close(Dataset *d)
{
    Pictures *p = d->own;
    data_file_close(&p->file);
    free(p);
}

/* ---- headers ---- */

static bool refuse_type(const NpyHeader *h, const char *path, const char *wanted, Fault *f)
{
    return fault(f, "%s: elements of type '%s'; %s", path, h->type, wanted);
}

static bool check_order(const NpyHeader *h, const char *path, Fault *f)
{
    return !h->fortran || fault(f,
                                "%s: in Fortran's order; write it with numpy.save of "
                                "numpy.ascontiguousarray(...)",
                                path);
}

static bool is_colour(uint64_t side)
{
    return side == 1 || side == 3;
}

/* Where both the second and the last dimension could be channels, they are the last. */
static bool take_sides(Pictures *p, const NpyHeader *h, Fault *f)
{
    const char *path = p->file.path, *shapes = "N x H x W, N x H x W x C or N x C x H x W with C 1 or 3";
    if (h->rank != 3 && h->rank != 4)
        return fault(f, "%s: an array of %d dimension%s; pictures are %s", path, h->rank,
                     h->rank == 1 ? "" : "s", shapes);
    if (h->rank == 4 && !is_colour(h->dims[1]) && !is_colour(h->dims[3]))
        return fault(f, "%s: shape (%llu, %llu, %llu, %llu); pictures are %s", path,
                     (unsigned long long)h->dims[0], (unsigned long long)h->dims[1],
                     (unsigned long long)h->dims[2], (unsigned long long)h->dims[3], shapes);
    p->planes = h->rank == 4 && !is_colour(h->dims[3]);
    const uint64_t height = h->dims[p->planes ? 2 : 1], width = h->dims[p->planes ? 3 : 2];
    if (height < 1 || width < 1 || height > PICTURE_SIDE || width > PICTURE_SIDE)
        return fault(f, "%s: pictures of %llu x %llu; a side must be 1 to %d", path,
                     (unsigned long long)width, (unsigned long long)height, PICTURE_SIDE);
    p->width = (int)width;
    p->height = (int)height;
    p->channels = h->rank == 3 ? 1 : (int)h->dims[p->planes ? 1 : 3];
    return true;
}

/* The bytes of a number of a type such as |u1 or <i8, little-endian; 0: it is none that is read. */
static uint32_t number_bytes(const NpyHeader *h)
{
    const char *t = h->type;
    const bool order = *t == '|' || *t == '<' || *t == '=' || *t == '>';
    const char kind = t[order], size = kind ? t[order + 1] : '\0';
    if ((kind != 'u' && kind != 'i') || t[order + 2] != '\0' || !strchr("1248", size) || !size)
        return 0;
    return *t == '>' && size != '1' ? 0 : (uint32_t)(size - '0');
}

static bool is_signed(const NpyHeader *h)
{
    return strchr(h->type, 'i') != NULL;
}

static bool take_count(uint32_t *count, const NpyHeader *h, const char *path, Fault *f)
{
    *count = (uint32_t)h->dims[0];
    return h->dims[0] <= UINT32_MAX || fault(f, "%s: more than %u images; use fewer", path, UINT32_MAX);
}

static bool pictures_read_header(Pictures *p, Fault *f)
{
    NpyHeader h;
    const char *path = p->file.path;
    if (!npy_read_header(&h, &p->file, f))
        return false;
    p->begin = h.begin;
    if (number_bytes(&h) != 1 || is_signed(&h))
        return refuse_type(&h, path, "pictures are uint8, '|u1'; write them with .astype(numpy.uint8)", f);
    return check_order(&h, path, f) && take_sides(p, &h, f) && npy_check_length(&h, &p->file, 1, f) &&
           take_count(&p->count, &h, path, f);
}

static bool labels_read_header(Labels *l, Fault *f)
{
    NpyHeader h;
    const char *path = l->file.path;
    if (!npy_read_header(&h, &l->file, f))
        return false;
    l->begin = h.begin;
    l->bytes = number_bytes(&h);
    l->is_signed = is_signed(&h);
    if (l->bytes == 0)
        return refuse_type(&h, path,
                           "labels are little-endian whole numbers; write them with .astype(numpy.int64)", f);
    if (h.rank != 1 && (h.rank != 2 || h.dims[1] != 1))
        return fault(f, "%s: an array of %d dimensions; labels are N whole numbers, a line", path, h.rank);
    return npy_check_length(&h, &l->file, l->bytes, f) && take_count(&l->count, &h, path, f);
}

/* ---- labels ---- */

static uint64_t little_endian(const uint8_t *bytes, uint32_t count)
{
    uint64_t number = 0;
    while (count-- > 0)
        number = number << 8 | bytes[count];
    return number;
}

static bool refuse_label(const Labels *l, uint32_t i, uint64_t number, bool negative, Fault *f)
{
    if (negative)
        return fault(f, "%s: image %u has label %lld; 0 to %d are possible", l->file.path, i,
                     (long long)(int64_t)(number | (l->bytes < 8 ? UINT64_MAX << 8 * l->bytes : 0)),
                     MAX_CLASSES - 1);
    return fault(f, "%s: image %u has label %llu; 0 to %d are possible", l->file.path, i,
                 (unsigned long long)number, MAX_CLASSES - 1);
}

/* Raises *classes to what the labels need; writes them where `out` is not NULL. */
static bool scan_labels(const Labels *l, int *classes, uint16_t *out, Fault *f)
{
    uint8_t block[BLOCK];
    const uint32_t at_once = BLOCK / l->bytes;
    for (uint32_t first = 0, count; first < l->count; first += count) {
        count = l->count - first < at_once ? l->count - first : at_once;
        if (!data_file_read(&l->file, block, (size_t)count * l->bytes, l->begin + (uint64_t)first * l->bytes,
                            f))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            const uint64_t number = little_endian(block + (size_t)i * l->bytes, l->bytes);
            const bool negative = l->is_signed && number >> (8 * l->bytes - 1);
            if (negative || number >= MAX_CLASSES)
                return refuse_label(l, first + i, number, negative, f);
            if ((int)number >= *classes)
                *classes = (int)number + 1;
            if (out)
                out[first + i] = (uint16_t)number;
        }
    }
    return true;
}

/* ---- opening ---- */

/* Where a data set lies: the folder, and the names of the splits' files without their endings. NULL: there is
 * no such split. */
typedef struct {
    char *dir, *stem[2]; /* by malloc; stem by split */
    bool alone;          /* one FILE.npy */
} Place;

static void place_free(Place *p)
{
    free(p->dir);
    free(p->stem[SPLIT_TRAIN]);
    free(p->stem[SPLIT_TEST]);
}

static char *name_of(const char *stem, const char *end, Fault *f)
{
    char *name;
    if (asprintf(&name, "%s%s", stem, end) >= 0)
        return name;
    fault(f, "out of memory for the name of a file; free some");
    return NULL;
}

static bool open_pictures(Pictures *p, const Place *place, Split split, Fault *f)
{
    char *name = name_of(place->stem[split], ending, f);
    bool done = name && data_file_open(&p->file, place->dir, name, f) && pictures_read_header(p, f);
    free(name);
    return done;
}

/* Leaves it closed where the split has none. */
static bool open_labels(Labels *l, const Place *place, Split split, Fault *f)
{
    bool found = false;
    char *name = place->stem[split] ? name_of(place->stem[split], labels_ending, f) : NULL;
    bool done = !place->stem[split] ||
                (name && data_file_find(place->dir, name, &found, f) &&
                 (!found || (data_file_open(&l->file, place->dir, name, f) && labels_read_header(l, f))));
    free(name);
    return done;
}

static bool check_labels(const Pictures *p, const Labels labels[2], const Place *place, Split split, Fault *f)
{
    const Labels *own = &labels[split], *other = &labels[!split];
    if (!own->file.path && other->file.path)
        return fault(f, "%s: no labels, but %s; write %s%s too, or remove it", p->file.path, other->file.path,
                     place->stem[split], labels_ending);
    return !own->file.path || own->count == p->count ||
           fault(f, "%s: %u labels, but %s has %u images; write both again", own->file.path, own->count,
                 p->file.path, p->count);
}

/* The number of classes is that of both splits. */
static Dataset *make_dataset(const Pictures *p, const Labels labels[2], Split split, Fault *f)
{
    int classes = 1;
    for (int i = 0; i < 2; i++)
        if (labels[i].file.path && !scan_labels(&labels[i], &classes, NULL, f))
            return NULL;
    Dataset *d = dataset_new(format, p->count, classes, f);
    if (!d)
        return NULL;
    d->width = p->width;
    d->height = p->height;
    d->unlabelled = !labels[split].file.path;
    if ((d->unlabelled || scan_labels(&labels[split], &classes, d->label, f)) &&
        (d->own = allocate(sizeof *p, "a data set", f)))
        return d;
    data_close(d);
    return NULL;
}

static Dataset *open_split(const Place *place, Split split, Fault *f)
{
    Pictures p = {.begin = 0};
    Labels labels[2] = {{.begin = 0}};
    Dataset *d = NULL;
    if (open_pictures(&p, place, split, f) && open_labels(&labels[SPLIT_TRAIN], place, SPLIT_TRAIN, f) &&
        open_labels(&labels[SPLIT_TEST], place, SPLIT_TEST, f) && check_labels(&p, labels, place, split, f))
        d = make_dataset(&p, labels, split, f);
    if (d) {
        *(Pictures *)d->own = p;
        d->undivided = !place->stem[SPLIT_TEST];
        d->read = array_read;
        d->identify = fingerprint_pixels;
        d->close = array_close;
    } else
        data_file_close(&p.file);
    for (int i = 0; i < 2; i++)
        data_file_close(&labels[i].file);
    return d;
}

/* ---- finding ---- */

static bool no_memory(const char *dir, Fault *f)
{
    return fault(f, "%s: out of memory for the name of a file; free some", dir);
}

/* FILE.npy itself. */
static bool place_file(Place *p, const char *path, Fault *f)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    p->dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    p->stem[SPLIT_TRAIN] = strndup(name, strlen(name) - strlen(ending));
    p->alone = true;
    return (p->dir && p->stem[SPLIT_TRAIN]) || no_memory(path, f);
}

static bool place_stem(Place *p, const char *dir, Split split, const char *stem, Fault *f)
{
    char name[32];
    bool found;
    snprintf(name, sizeof name, "%s%s", stem, ending);
    if (!data_file_find(dir, name, &found, f))
        return false;
    return !found || (p->stem[split] = strdup(stem)) || no_memory(dir, f);
}

/* Without stems: there is none. */
static bool find_place(Place *p, const char *path, Fault *f)
{
    mode_t mode;
    *p = (Place){.dir = NULL};
    if (!data_look(path, &mode, f))
        return false;
    if (S_ISREG(mode))
        return !name_ends_in(path, ending) || place_file(p, path, f);
    return ((p->dir = strdup(path)) || no_memory(path, f)) && place_stem(p, path, SPLIT_TRAIN, "train", f) &&
           place_stem(p, path, SPLIT_TEST, "test", f);
}

bool array_find(const char *dir, bool *found, Fault *f)
{
    Place p;
    bool known = find_place(&p, dir, f);
    *found = known && (p.stem[SPLIT_TRAIN] || p.stem[SPLIT_TEST]);
    place_free(&p);
    return known;
}

static bool name_missing(const Place *p, const char *path, Split split, Fault *f)
{
    if (p->alone)
        return fault(f,
                     "%s: one array is the training split, without a test split; give a folder that holds "
                     "train.npy and test.npy, or hold out a tenth: --holdout 0.1",
                     path);
    if (split == SPLIT_TEST)
        return fault(f, "%s: no test.npy beside train.npy; write it too, or hold out a tenth: --holdout 0.1",
                     path);
    return fault(f, "%s: no train.npy beside test.npy; write it too", path);
}

Dataset *array_open(const DataRequest *r, Fault *f)
{
    Place p;
    Dataset *d = NULL;
    if (find_place(&p, r->dir, f)) {
        const Split split = holdout_opens(r, p.stem[SPLIT_TEST] != NULL);
        if (p.stem[split])
            d = open_split(&p, split, f);
        else
            name_missing(&p, r->dir, split, f);
    }
    place_free(&p);
    return d;
}
