/* seeds.c: see readers.h. */
#include "readers.h"
#include "runtime.h"
#include "samples.h"
#include "toy_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <png.h>
#include <zlib.h>
#include <cmocka.h>

enum { SEED_MOST = 100000, SIDE = 12 };

typedef struct {
    uint8_t bytes[SEED_MOST];
    size_t count;
    SeedSink *sink;
    void *arg;
} Seed;

static void put(Seed *s, const void *bytes, size_t count)
{
    assert_true(s->count + count <= SEED_MOST);
    memcpy(s->bytes + s->count, bytes, count);
    s->count += count;
}

static void put_byte(Seed *s, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    put(s, &byte, 1);
}

/* All files of a data set but the last. */
static void put_file(Seed *s, const void *bytes, size_t count)
{
    put_byte(s, (unsigned)count & 255);
    put_byte(s, (unsigned)count >> 8);
    put(s, bytes, count);
}

static void hand_on(Seed *s)
{
    s->sink(s->arg, s->bytes, s->count);
    s->count = 0;
}

static const uint8_t *pixels(void)
{
    static uint8_t p[8 * SIDE * SIDE];
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = (uint8_t)(i * 37 ^ i >> 3);
    return p;
}

/* ---- pictures ---- */

static void hand_on_sample(Seed *s, Sample sample)
{
    put(s, sample.bytes, sample.count);
    free(sample.bytes);
    hand_on(s);
}

static void picture_seeds(Seed *s)
{
    static const int colors[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_PALETTE,
                                 PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
    uint8_t palette[768];
    for (size_t i = 0; i < sizeof palette; i++)
        palette[i] = (uint8_t)(i * 5);
    for (size_t i = 0; i < COUNT(colors); i++)
        for (int deep = 0; deep < 2; deep++) {
            bool indexed = colors[i] == PNG_COLOR_TYPE_PALETTE;
            PngKind kind = {SIDE, 7, deep && !indexed ? 16 : 8, colors[i], deep};
            hand_on_sample(s, sample_png(kind, pixels(), indexed ? palette : NULL));
        }
    for (int channels = 1; channels <= 4; channels += channels == 1 ? 2 : 1)
        hand_on_sample(s, sample_jpeg(SIDE, 9, channels, pixels()));
}

/* ---- data sets ---- */

static void cifar_seeds(Seed *s)
{
    static const char names[] = "airplane\nautomobile\nbird\n";
    for (unsigned choice = 0; choice < 64; choice += 7) {
        bool fine = choice & 1;
        uint8_t record[2 + 3072] = {3, 7};
        size_t size = fine ? 3074 : 3073;
        for (size_t i = 2; i < sizeof record; i++)
            record[i] = (uint8_t)i;
        put_byte(s, choice);
        put_file(s, names, sizeof names - 1);
        put_file(s, record, size);
        put(s, record, size);
        put(s, record, size);
        hand_on(s);
    }
}

static void stl_seeds(Seed *s)
{
    static uint8_t picture[27648];
    for (unsigned choice = 0; choice < 32; choice++) {
        put_byte(s, choice);
        put_file(s, "airplane\nbird\n", 14);
        put_file(s, (uint8_t[]){1, 10}, 2);
        put(s, picture, sizeof picture);
        put(s, picture, sizeof picture);
        hand_on(s);
    }
}

static size_t packed(uint8_t *out, size_t room, const uint8_t *bytes, size_t count)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)bytes,
                  .avail_in = (unsigned)count,
                  .next_out = out,
                  .avail_out = (unsigned)room};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static void idx_seeds(Seed *s)
{
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};
    uint8_t images[16 + 2 * 20] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 5}, small[2][200];
    size_t count[2] = {packed(small[0], 200, labels, sizeof labels),
                       packed(small[1], 200, images, sizeof images)};
    for (unsigned choice = 0; choice < 128; choice += 3) {
        put_byte(s, choice);
        for (unsigned i = 0; i < 4; i++) {
            bool gz = choice >> (1 + i) & 1;
            const uint8_t *file = gz ? small[i / 2] : i < 2 ? labels : images;
            size_t size = gz ? count[i / 2] : i < 2 ? sizeof labels : sizeof images;
            if (i < 3)
                put_file(s, file, size);
            else
                put(s, file, size);
        }
        hand_on(s);
    }
}

/* An array with a header of 80 bytes behind the preamble. */
static size_t npy_file(uint8_t *out, const char *type, const char *shape, size_t data)
{
    enum { FRONT = 10, HEADER = 80 };
    char text[HEADER + 1];
    memset(text, ' ', HEADER);
    int length =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    text[length] = ' ';
    memcpy(out, "\x93NUMPY\1\0\x50\0", FRONT);
    memcpy(out + FRONT, text, HEADER);
    for (size_t i = 0; i < data; i++)
        out[FRONT + HEADER + i] = (uint8_t)(i % 5 == 0);
    return FRONT + HEADER + data;
}

static void npy_seeds(Seed *s)
{
    static const struct {
        const char *labels, *pictures;
        size_t bytes;
    } kinds[] = {{"|u1", "(2, 4, 5)", 1}, {"<i4", "(2, 4, 5, 3)", 4}, {"<i8", "(2, 3, 4, 5)", 8}};
    uint8_t file[400];
    for (unsigned choice = 0; choice < 48; choice++) {
        put_byte(s, choice);
        for (int i = 0; i < 2; i++)
            put_file(s, file, npy_file(file, kinds[choice % 3].labels, "(2,)", 2 * kinds[choice % 3].bytes));
        put(s, file, npy_file(file, "|u1", kinds[choice % 3].pictures, choice % 3 ? 120 : 40));
        hand_on(s);
    }
}

enum { TAR_SEED = 20 * TAR_BLOCK };

/* Behind what `out` has; how much it then has. */
static size_t tar_add(uint8_t *out, size_t at, const char *name, char type, const void *bytes, size_t count)
{
    uint8_t *header = out + at;
    unsigned sum = 0;
    assert_true(at + 3 * TAR_BLOCK + count <= TAR_SEED);
    snprintf((char *)header, 100, "%s", name);
    snprintf((char *)header + 124, 12, "%011zo", count);
    memset(header + 148, ' ', 8);
    header[156] = (uint8_t)type;
    memcpy(header + 257, "ustar\00000", 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
    memcpy(header + TAR_BLOCK, bytes, count);
    return at + TAR_BLOCK + (count + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

static void tar_seeds(Seed *s)
{
    static const char *const labels[] = {"1", "cat\n", "0"};
    Sample png = sample_plain(5, 4, 9, 8, 7);
    for (unsigned choice = 0; choice < 24; choice++) {
        uint8_t file[TAR_SEED] = {0};
        size_t count = tar_add(file, 0, "a/", '5', "", 0);
        count = tar_add(file, count, "././@LongLink", 'L', "a/long.png", 11);
        count = tar_add(file, count, "a/l", '0', png.bytes, png.count);
        count = tar_add(file, count, "a/long.cls", '0', labels[choice % 3], strlen(labels[choice % 3]));
        count = tar_add(file, count, "PaxHeaders/b", 'x', "16 path=a/b.png\n", 16);
        count = tar_add(file, count, "x", '0', png.bytes, png.count);
        count = tar_add(file, count, "a/b.cls", '0', labels[choice % 3], strlen(labels[choice % 3]));
        count += 2 * TAR_BLOCK;
        put_byte(s, choice);
        put_file(s, file, count);
        put(s, file, count);
        hand_on(s);
    }
    free(png.bytes);
}

static void gzip_seeds(Seed *s)
{
    uint8_t text[600], small[700];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i % 7 * i);
    for (size_t count = 0; count <= sizeof text; count += 200) {
        size_t size = packed(small, sizeof small, text, count);
        put(s, small, size);
        hand_on(s);
        put(s, small, size); /* two members are one file */
        put(s, small, size);
        hand_on(s);
    }
}

/* ---- tensors ---- */

static void put_header(Seed *s, const char *header, size_t data)
{
    uint64_t length = strlen(header);
    put(s, &length, sizeof length);
    put(s, header, length);
    for (size_t i = 0; i < data; i++)
        put_byte(s, (unsigned)i);
    hand_on(s);
}

static void safetensors_seeds(Seed *s)
{
    put_header(s, "{}", 0);
    put_header(s, "{\"__metadata__\":{\"format\":\"pt\",\"a\\u00e9\\ud83d\\ude00\":\"\\n\"}}", 0);
    put_header(s, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24);
    put_header(s,
               "{\"a\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[8,10]},"
               "\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}   ",
               10);
}

/* What the program itself writes, and its weights without all that makes them a run. */
static void checkpoint_seeds(Seed *s)
{
    const AmdimModel *m = &toy_model;
    Optimizer o;
    Fault f = {.error = 0};
    char path[] = "/tmp/amdim-seed-XXXXXX";
    int file = mkstemp(path);
    float *params = allocate_zero(m->param_floats * sizeof *params, "weights", &f);
    assert_true(file >= 0 && params && optimizer_new(&o, m, &f));
    weights_init(m, 1, params);
    assert_true(checkpoint_save(m, &(CheckpointFiles){.last = path}, params, &o,
                                &(Progress){.seed = 1, .step = 2, .lr = 0.1}, &f));
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    s->count = fread(s->bytes, 1, SEED_MOST, stream);
    fclose(stream);
    hand_on(s);
    close(file);
    unlink(path);
    optimizer_free(&o);
    free(params);
}

static void metrics_seeds(Seed *s)
{
    static const char lines[] =
        "{\"step\":1,\"epoch\":0,\"loss\":1.5,\"1-to-5\":1,\"5-to-5\":0.5,\"accuracy.1-to-5\":0.25,"
        "\"accuracy.5-to-5\":0,\"penalty\":0.01,\"lr\":0.001,\"images_per_second\":100}\n"
        "{\"step\":2,\"epoch\":0,\"loss\":1.25,\"1-to-5\":1,\"5-to-5\":0.5,\"penalty\":0.01,\"lr\":0.001,"
        "\"images_per_second\":100,\"probe\":0.5,\"probe_low\":0.4,\"probe_high\":0.6}\n"
        "{\"step\":3,\"epoch\":0,\"lo";
    put(s, lines, sizeof lines - 1);
    hand_on(s);
}

void seeds_of(const char *reader, SeedSink *sink, void *arg)
{
    static const struct {
        const char *reader;
        void (*make)(Seed *s);
    } makers[] = {
        {"picture", picture_seeds},
        {"cifar", cifar_seeds},
        {"stl", stl_seeds},
        {"idx", idx_seeds},
        {"npy", npy_seeds},
        {"tar", tar_seeds},
        {"gzip", gzip_seeds},
        {"safetensors", safetensors_seeds},
        {"checkpoint", checkpoint_seeds},
        {"metrics", metrics_seeds},
    };
    Seed *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->sink = sink;
    s->arg = arg;
    for (size_t i = 0; i < COUNT(makers); i++)
        if (strcmp(makers[i].reader, reader) == 0)
            makers[i].make(s);
    free(s);
}
