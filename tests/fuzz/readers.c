/* readers.c: see readers.h.
 *
 * What is held of each: no crash, leak or hang; what is refused is refused by one line that says something;
 * what is accepted is as the reader's header promises, and can be read to its end.
 *
 * A data set is more than one file. Its bytes begin with one that chooses (which variant, which split, packed
 * or not); then each file but the last as a length of two bytes and its bytes; the last is what is left. */
#include "readers.h"
#include "holds.h"
#include "runtime.h"
#include "toy_model.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 512, IMAGES_READ = 3, FLOATS_READ = 4096 };

/* Larger pictures only cost time; nothing in the readers asks for a side but to multiply it. */
enum { PIXELS_MOST = 4 << 20 };

typedef struct {
    const uint8_t *at;
    size_t left;
} Bytes;

static unsigned take_byte(Bytes *b)
{
    if (b->left == 0)
        return 0;
    b->left--;
    return *b->at++;
}

static Bytes take_file(Bytes *b)
{
    size_t low = take_byte(b), length = low | (size_t)take_byte(b) << 8;
    Bytes file = {b->at, length < b->left ? length : b->left};
    b->at += file.left;
    b->left -= file.left;
    return file;
}

/* ---- what holds of all ---- */

static void check_refusal(const Fault *f)
{
    HOLDS(*f->text, "refused without a word");
    char printable[sizeof f->text];
    memcpy(printable, f->text, sizeof printable);
    text_printable(printable);
    HOLDS(strcmp(printable, f->text) == 0, "not one line that can be shown: %s", f->text);
}

/* ---- files ---- */

static void write_file(const char *path, Bytes b)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    HOLDS(file >= 0 && write(file, b.at, b.left) == (ssize_t)b.left && close(file) == 0, "cannot write %s",
          path);
}

/* A file of a folder; `path` has PATH_ROOM. */
static void put_file(char *path, const char *folder, const char *name, Bytes b)
{
    snprintf(path, PATH_ROOM, "%s/%s", folder, name);
    write_file(path, b);
}

/* A file in memory, whose path is written. */
static int memory_file(char *path, const uint8_t *bytes, size_t count)
{
    int file = memfd_create("bytes", MFD_CLOEXEC);
    HOLDS(file >= 0 && write(file, bytes, count) == (ssize_t)count, "no file in memory");
    snprintf(path, PATH_ROOM, "/proc/self/fd/%d", file);
    return file;
}

/* ---- JPEG and PNG ---- */

static uint32_t big_endian(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | *at++;
    return value;
}

/* Whether a file may say that its picture is large: the frame of a JPEG, or a PNG's header, anywhere. */
static bool may_be_large(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i + 16 < count; i++) {
        const uint8_t *at = bytes + i;
        bool frame = at[0] == 0xff && at[1] >= 0xc0 && at[1] <= 0xcf;
        if (frame && (uint64_t)big_endian(at + 5, 2) * big_endian(at + 7, 2) > PIXELS_MOST)
            return true;
        if (memcmp(at, "IHDR", 4) == 0 &&
            (uint64_t)big_endian(at + 4, 4) * big_endian(at + 8, 4) > PIXELS_MOST)
            return true;
    }
    return false;
}

static void check_picture(const Picture *p, int channels)
{
    HOLDS(p->width > 0 && p->height > 0 && p->channels == channels, "%d x %d x %d", p->width, p->height,
          p->channels);
    size_t bytes = (size_t)p->width * (size_t)p->height * (size_t)channels;
    HOLDS(p->capacity >= bytes, "%zu bytes in room for %zu", bytes, p->capacity);
    uint8_t sum = 0;
    for (size_t i = 0; i < bytes; i++)
        sum ^= p->pixels[i];
    __asm__ volatile("" : : "r"(sum)); /* each was read */
}

/* Rows one by one, held against the picture as a whole. */
typedef struct {
    RowSink sink;
    const Picture *whole; /* or NULL: it was refused */
    int channels, next;
    bool begun, ended;
} Compared;

static size_t rows_begin(RowSink *sink, int width, int height)
{
    Compared *c = (Compared *)sink;
    HOLDS(!c->begun && width > 0 && height > 0, "begun twice");
    HOLDS(!c->whole || (width == c->whole->width && height == c->whole->height), "another size by rows");
    c->begun = true;
    return 0;
}

static void rows_take(RowSink *sink, int y, const uint8_t *row)
{
    Compared *c = (Compared *)sink;
    HOLDS(c->begun && !c->ended && y == c->next++, "row %d in place of %d", y, c->next - 1);
    size_t bytes = c->whole ? (size_t)c->whole->width * (size_t)c->channels : 0;
    HOLDS(!c->whole || memcmp(row, c->whole->pixels + (size_t)y * bytes, bytes) == 0, "row %d is another", y);
}

static void rows_end(RowSink *sink)
{
    Compared *c = (Compared *)sink;
    HOLDS(c->begun && !c->ended, "an end without a beginning");
    c->ended = true;
}

static void check_rows(int file, size_t count, const Picture *whole, int channels)
{
    Fault f = {.error = 0};
    Compared c = {.sink = {rows_begin, rows_take, rows_end}, .whole = whole, .channels = channels};
    Picture p = {.rows = &c.sink};
    bool decoded = decode_picture_file(&p, file, 0, count, channels, "picture", &f);
    HOLDS(decoded == (whole != NULL), "whole %d, by rows %d: %s", whole != NULL, decoded, f.text);
    HOLDS(c.begun == c.ended, "no end");
    HOLDS(!decoded || (p.streamed ? c.next == whole->height : !c.begun), "%d rows", c.next);
    if (!decoded)
        check_refusal(&f);
    picture_free(&p);
}

static void take_picture(const char *folder, const uint8_t *bytes, size_t count)
{
    (void)folder;
    if (may_be_large(bytes, count))
        return;
    char path[PATH_ROOM];
    int file = memory_file(path, bytes, count);
    Picture p = {.width = 0};
    for (int channels = 1; channels <= 3; channels += 2) {
        Fault f = {.error = 0};
        bool decoded = decode_picture(&p, bytes, count, channels, "picture", &f);
        if (decoded)
            check_picture(&p, channels);
        else
            check_refusal(&f);
        check_rows(file, count, decoded ? &p : NULL, channels);
    }
    picture_free(&p);
    close(file);
}

/* ---- data sets ---- */

static void read_image(const Dataset *d, uint32_t i, Picture *p)
{
    for (int channels = 1; channels <= 3; channels += 2) {
        Fault f = {.error = 0};
        if (d->read(d, i, channels, p, &f))
            check_picture(p, channels);
        else
            check_refusal(&f);
    }
}

static void check_data(const char *folder, Split split, uint32_t limit, bool coarse)
{
    Fault f = {.error = 0};
    Dataset *d =
        data_request(&(DataRequest){.dir = folder, .split = split, .limit = limit, .coarse = coarse}, &f);
    if (!d) {
        check_refusal(&f);
        return;
    }
    HOLDS(d->count > 0 && d->classes > 0, "%u images in %d classes", d->count, d->classes);
    Picture p = {.width = 0};
    for (uint32_t i = 0; i < d->count; i++)
        HOLDS(d->label[i] < d->classes, "image %u has label %u of %d", i, d->label[i], d->classes);
    for (uint32_t i = 0; i < d->count && i < IMAGES_READ; i++) {
        read_image(d, i, &p);
        read_image(d, d->count - 1 - i, &p);
    }
    picture_free(&p);
    data_close(d);
}

static const Split splits[] = {SPLIT_TRAIN, SPLIT_TEST, SPLIT_PRETRAIN};

static void take_cifar(const char *folder, const uint8_t *bytes, size_t count)
{
    Bytes b = {bytes, count};
    unsigned choice = take_byte(&b);
    bool fine = choice & 1;
    char names[PATH_ROOM], first[PATH_ROOM], last[PATH_ROOM];
    put_file(names, folder, fine ? "fine_label_names.txt" : "batches.meta.txt", take_file(&b));
    put_file(first, folder, fine ? "test.bin" : "data_batch_1.bin", take_file(&b));
    put_file(last, folder, fine ? "train.bin" : choice & 2 ? "test_batch.bin" : "data_batch_5.bin", b);
    check_data(folder, splits[choice / 4 % 3], choice >> 4, choice & 1);
    unlink(names), unlink(first), unlink(last);
}

static void take_stl(const char *folder, const uint8_t *bytes, size_t count)
{
    Bytes b = {bytes, count};
    unsigned choice = take_byte(&b);
    static const char *const pixels[] = {"train_X.bin", "test_X.bin", "unlabeled_X.bin"};
    char names[PATH_ROOM], labels[PATH_ROOM], pictures[PATH_ROOM];
    put_file(names, folder, "class_names.txt", take_file(&b));
    put_file(labels, folder, choice & 1 ? "train_y.bin" : "test_y.bin", take_file(&b));
    put_file(pictures, folder, pixels[choice / 2 % 3], b);
    check_data(folder, splits[choice / 8 % 3], choice >> 5, false);
    unlink(names), unlink(labels), unlink(pictures);
}

static void take_idx(const char *folder, const uint8_t *bytes, size_t count)
{
    Bytes b = {bytes, count};
    unsigned choice = take_byte(&b);
    static const char *const words[] = {"train", "t10k"};
    char name[64], path[4][PATH_ROOM];
    for (int i = 0; i < 4; i++) { /* labels of one split and the other, then pictures */
        bool pictures = i >= 2;
        snprintf(name, sizeof name, "%s-%s-idx%d-ubyte%s", words[(i ^ choice) & 1],
                 pictures ? "images" : "labels", pictures ? 3 : 1, choice >> (1 + i) & 1 ? ".gz" : "");
        put_file(path[i], folder, name, i < 3 ? take_file(&b) : b);
    }
    check_data(folder, splits[choice / 32 % 3], choice >> 7, false);
    for (int i = 0; i < 4; i++)
        unlink(path[i]);
}

/* Labels of both splits, then pictures. */
static void take_npy(const char *folder, const uint8_t *bytes, size_t count)
{
    Bytes b = {bytes, count};
    unsigned choice = take_byte(&b);
    static const char *const names[] = {"train.labels.npy", "test.labels.npy"};
    char path[3][PATH_ROOM];
    for (int i = 0; i < 2; i++)
        put_file(path[i], folder, names[(i ^ choice) & 1], take_file(&b));
    put_file(path[2], folder, choice & 1 ? "test.npy" : "train.npy", b);
    for (int i = 0; i < 2; i++)
        if (choice >> (1 + i) & 1)
            unlink(path[i]);
    check_data(folder, choice & 1 ? SPLIT_TEST : SPLIT_TRAIN, choice >> 5, false);
    for (int i = 0; i < 3; i++)
        unlink(path[i]);
}

static void take_tar(const char *folder, const uint8_t *bytes, size_t count)
{
    Bytes b = {bytes, count};
    unsigned choice = take_byte(&b);
    char path[2][PATH_ROOM];
    put_file(path[0], folder, choice & 1 ? "test-0.tar" : "train-1.tar", take_file(&b));
    put_file(path[1], folder, "train-0.tar", b);
    if (choice & 2)
        unlink(path[0]);
    if (!may_be_large(bytes, count))
        check_data(folder, choice & 4 ? SPLIT_TEST : SPLIT_TRAIN, choice >> 5, false);
    unlink(path[0]), unlink(path[1]);
}

static void take_gzip(const char *folder, const uint8_t *bytes, size_t count)
{
    DataFile d;
    Fault f = {.error = 0};
    char path[PATH_ROOM];
    put_file(path, folder, "bytes.gz", (Bytes){bytes, count});
    if (data_file_open(&d, folder, "bytes.gz", &f)) {
        uint8_t *all = malloc(d.bytes + 1);
        HOLDS(all && data_file_read(&d, all, d.bytes, 0, &f), "%s", f.text);
        HOLDS(!data_file_read(&d, all, 1, d.bytes, &f), "a byte behind the last");
        free(all);
        data_file_close(&d);
    } else
        check_refusal(&f);
    unlink(path);
}

/* ---- tensors ---- */

static void read_tensors(const TensorFile *t)
{
    static double room[FLOATS_READ];
    for (int i = 0; i < t->count; i++) {
        const Stored *s = &t->tensor[i];
        Fault f = {.error = 0};
        HOLDS(tensors_find(t, s->name) == s, "%s is not found", s->name);
        HOLDS(s->bytes > sizeof room || tensors_read(t, s, room, &f), "%s", f.text);
    }
}

static void take_safetensors(const char *folder, const uint8_t *bytes, size_t count)
{
    (void)folder;
    TensorFile t;
    Fault f = {.error = 0};
    char path[PATH_ROOM];
    int file = memory_file(path, bytes, count);
    if (tensors_open(&t, path, &f)) {
        read_tensors(&t);
        tensors_metadata(&t, "name");
        tensors_close(&t);
    } else
        check_refusal(&f);
    close(file);
}

static void take_checkpoint(const char *folder, const uint8_t *bytes, size_t count)
{
    (void)folder;
    const AmdimModel *m = &toy_model;
    Optimizer o;
    Progress p;
    Fault f = {.error = 0};
    char path[PATH_ROOM];
    float *params = allocate_zero(m->param_floats * sizeof *params, "weights", &f);
    HOLDS(params && optimizer_new(&o, m, &f), "%s", f.text);
    int file = memory_file(path, bytes, count);
    f = (Fault){.error = 0};
    if (checkpoint_load(m, path, params, &o, &p, &f) != CHECKPOINT_LOADED)
        check_refusal(&f);
    f = (Fault){.error = 0};
    if (!weights_load(m, path, params, &f))
        check_refusal(&f);
    close(file);
    optimizer_free(&o);
    free(params);
}

/* ---- metrics ---- */

static void take_metrics(const char *folder, const uint8_t *bytes, size_t count)
{
    (void)folder;
    static const char *const pairs[] = {"1-to-5", "5-to-5"};
    Fault f = {.error = 0};
    char path[PATH_ROOM];
    int file = memory_file(path, bytes, count);
    MetricsReader *r = metrics_reader_open(path, pairs, 2, &f);
    HOLDS(r && metrics_reader_found(r), "%s", f.text);
    for (const MetricsRow *row; (row = metrics_reader_next(r));) {
        HOLDS(!isinf(row->loss) && !isinf(row->penalty) && !isinf(row->lr), "an infinite number");
        HOLDS(!isinf(row->pair_loss[0]) && !isinf(row->pair_loss[1]), "an infinite loss");
        HOLDS(row->step <= 1ull << 53 && row->epoch <= 1ull << 53, "a count that is none");
        HOLDS(strlen(metrics_reader_line(r)) > 2, "a line of nothing");
    }
    HOLDS(metrics_reader_close(r, &f), "%s", f.text);
    close(file);
}

/* ---- the table ---- */

const Reader readers[READERS] = {
    {"picture", take_picture},
    {"cifar", take_cifar},
    {"stl", take_stl},
    {"idx", take_idx},
    {"npy", take_npy},
    {"tar", take_tar},
    {"gzip", take_gzip},
    {"safetensors", take_safetensors},
    {"checkpoint", take_checkpoint},
    {"metrics", take_metrics},
};

const Reader *reader_named(const char *name)
{
    for (int i = 0; name && i < READERS; i++)
        if (strcmp(readers[i].name, name) == 0)
            return &readers[i];
    return NULL;
}
