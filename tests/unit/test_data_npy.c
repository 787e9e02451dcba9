/* test_data_npy.c: NumPy arrays, made byte by byte: every order of dimensions, every type of labels, the
 * versions of the header; what is wrong is refused by name. */
#include "commands.h"
#include "data_sets.h"
#include "samples.h"
#include "toy_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <png.h>
#include <cmocka.h>

/* A file: magic, version, the length of the dictionary, the dictionary as it is, then the elements. */
static void write_raw(const char *name, int version, const char *header, const void *data, size_t count)
{
    const size_t length = strlen(header), front = version == 1 ? 10 : 12;
    uint8_t *bytes = calloc(1, front + length + count + 1);
    assert_non_null(bytes);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (uint8_t)version;
    bytes[8] = length & 255;
    bytes[9] = (uint8_t)(length >> 8);
    memcpy(bytes + front, header, length);
    memcpy(bytes + front + length, data, count);
    scratch_write(name, bytes, front + length + count);
    free(bytes);
}

static void write_array(const char *name, const char *type, const char *shape, const void *data, size_t count)
{
    char header[256];
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }      \n", type,
             shape);
    write_raw(name, 1, header, data, count);
}

static uint8_t value(uint32_t picture, int y, int x, int c)
{
    return (uint8_t)(picture * 91 + (unsigned)y * 17 + (unsigned)x * 5 + (unsigned)c * 71);
}

typedef enum { GREY, LAST, FIRST } Order;

/* `count` pictures of height x width x channels, by malloc. */
static uint8_t *elements(Order order, uint32_t count, int height, int width, int channels)
{
    const size_t size = (size_t)height * (size_t)width * (size_t)channels;
    uint8_t *bytes = malloc(size * count), *at = bytes;
    assert_non_null(bytes);
    for (uint32_t i = 0; i < count; i++, at += size)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int c = 0; c < channels; c++)
                    at[order == FIRST ? (c * height + y) * width + x : (y * width + x) * channels + c] =
                        value(i, y, x, c);
    return bytes;
}

static void write_pictures(const char *name, Order order, uint32_t count, int height, int width)
{
    const int channels = order == GREY ? 1 : 3;
    char shape[64];
    static const char *const shapes[] = {
        [GREY] = "(%u, %d, %d)", [LAST] = "(%u, %d, %d, 3)", [FIRST] = "(%u, 3, %d, %d)"};
    snprintf(shape, sizeof shape, shapes[order], count, height, width);
    uint8_t *bytes = elements(order, count, height, width, channels);
    write_array(name, "|u1", shape, bytes, count * (size_t)height * (size_t)width * (size_t)channels);
    free(bytes);
}

static void check_picture(const Dataset *d, uint32_t i, uint32_t number, int channels)
{
    Picture p = picture_of(d, i, channels);
    for (int y = 0; y < p.height; y++)
        for (int x = 0; x < p.width; x++)
            for (int c = 0; c < channels; c++)
                assert_int_equal(p.pixels[(y * p.width + x) * channels + c], value(number, y, x, c));
    picture_free(&p);
}

static void refused_file(const char *name, Split split, const char *what)
{
    Fault f = {.error = 0};
    assert_null(data_open(scratch_path(name), split, 0, &f));
    if (!strstr(f.text, what) || !strstr(f.text, name) || strchr(f.text, '\n'))
        fail_msg("the message is: %s", f.text);
}

/* ---- as it should be ---- */

static void test_every_order_of_dimensions(void **state)
{
    (void)state;
    for (Order order = GREY; order <= FIRST; order++) {
        write_pictures("train.npy", order, 5, 6, 7);
        write_pictures("test.npy", order, 2, 6, 7);
        Dataset *d = opened(SPLIT_TRAIN, 0);
        char text[DATA_TEXT];
        data_describe(d, text, sizeof text);
        assert_string_equal(text, "NumPy arrays, 5 images of 7 x 6 without labels");
        assert_false(d->undivided);
        for (uint32_t i = 0; i < 5; i++)
            check_picture(d, i, i, order == GREY ? 1 : 3);
        data_close(d);
        d = opened(SPLIT_TEST, 0);
        assert_int_equal(d->count, 2);
        data_close(d);
    }
}

static void test_channels_are_as_asked(void **state)
{
    (void)state;
    write_pictures("train.npy", FIRST, 1, 4, 4);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    Picture colour = picture_of(d, 0, 3), grey = picture_of(d, 0, 1);
    assert_true(picture_convert(&colour, 1, &(Fault){.error = 0}));
    assert_memory_equal(colour.pixels, grey.pixels, 16);
    picture_free(&colour);
    picture_free(&grey);
    data_close(d);
    write_array("train.npy", "|u1", "(2, 1, 1, 2)", (uint8_t[]){1, 2, 3, 4}, 4); /* one channel, in front */
    d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->width, 2);
    grey = picture_of(d, 1, 1);
    assert_memory_equal(grey.pixels, ((uint8_t[]){3, 4}), 2);
    picture_free(&grey);
    data_close(d);
}

/* What Python wrote in other ways means the same. */
static void test_headers_in_every_spelling(void **state)
{
    (void)state;
    static const struct {
        int version;
        const char *text;
    } headers[] = {
        {1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3)}"},
        {2, "{\"shape\": (2L, 2L, 3L,), \"fortran_order\": False, \"descr\": \"u1\"}\n"},
        {3, " { 'fortran_order' :False,'descr':'<u1','shape':( 2,2 ,3 ) , } \t\n"},
    };
    for (size_t i = 0; i < COUNT(headers); i++) {
        uint8_t *bytes = elements(GREY, 2, 2, 3, 1);
        write_raw("train.npy", headers[i].version, headers[i].text, bytes, 12);
        free(bytes);
        Dataset *d = opened(SPLIT_TRAIN, 0);
        assert_int_equal(d->count, 2);
        check_picture(d, 1, 1, 1);
        data_close(d);
    }
}

static void test_labels_of_every_type(void **state)
{
    (void)state;
    static const char *const types[] = {"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"};
    write_pictures("train.npy", GREY, 3, 2, 2);
    for (size_t t = 0; t < COUNT(types); t++) {
        const size_t bytes = (size_t)(types[t][2] - '0');
        uint8_t numbers[24] = {0};
        numbers[0] = 7, numbers[2 * bytes] = 4;
        write_array("train.labels.npy", types[t], t % 2 ? "(3, 1)" : "(3,)", numbers, 3 * bytes);
        Dataset *d = opened(SPLIT_TRAIN, 0);
        assert_int_equal(d->classes, 8);
        assert_false(d->unlabelled);
        const uint16_t expected[] = {7, 0, 4};
        assert_memory_equal(d->label, expected, sizeof expected);
        data_close(d);
    }
}

static void test_classes_are_those_of_both_splits(void **state)
{
    (void)state;
    write_pictures("train.npy", GREY, 4, 2, 2);
    write_pictures("test.npy", GREY, 1, 2, 2);
    write_array("train.labels.npy", "|u1", "(4,)", (uint8_t[]){1, 0, 1, 1}, 4);
    write_array("test.labels.npy", "<i2", "(1,)", (uint8_t[]){44, 1}, 2);
    Dataset *d = opened(SPLIT_TRAIN, 2);
    assert_int_equal(d->classes, 301);
    assert_int_equal(d->count, 3); /* two of each class, in the order of the file */
    check_picture(d, 2, 2, 1);
    data_close(d);
    d = opened(SPLIT_TEST, 0);
    assert_int_equal(d->classes, 301);
    assert_int_equal(d->label[0], 300);
    data_close(d);
}

static void test_one_file_is_the_training_split(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    write_pictures("mine.npy", LAST, 3, 2, 2);
    write_array("mine.labels.npy", "|u1", "(3,)", (uint8_t[]){1, 0, 1}, 3);
    Dataset *d = data_open(scratch_path("mine.npy"), SPLIT_PRETRAIN, 0, &f);
    if (!d)
        fail_msg("%s", f.text);
    assert_int_equal(d->classes, 2);
    assert_true(d->undivided);
    data_close(d);
    refused_file("mine.npy", SPLIT_TEST, "without a test split");
    refused(SPLIT_TRAIN, "no pictures found, but mine.npy;", "give that file itself, or name it train.npy");
}

/* A large picture comes by rows, and is the same. */
typedef struct {
    RowSink sink;
    const Picture *whole;
    int rows;
} Kept;

static size_t held_begin(RowSink *sink, int width, int height)
{
    const Kept *h = (Kept *)(void *)sink;
    assert_int_equal(width, h->whole->width);
    assert_int_equal(height, h->whole->height);
    return 0;
}

static void held_take(RowSink *sink, int y, const uint8_t *row)
{
    Kept *h = (Kept *)(void *)sink;
    const size_t bytes = 3 * (size_t)h->whole->width;
    assert_int_equal(y, h->rows++);
    assert_memory_equal(row, h->whole->pixels + (size_t)y * bytes, bytes);
}

static void held_end(RowSink *sink)
{
    (void)sink;
}

static void test_large_pictures_come_by_rows(void **state)
{
    (void)state;
    for (Order order = GREY; order <= FIRST; order++) {
        write_pictures("train.npy", order, 2, 90, 200);
        Dataset *d = opened(SPLIT_TRAIN, 0);
        Picture whole = picture_of(d, 1, 3), room = {.width = 0};
        Kept held = {.sink = {held_begin, held_take, held_end}, .whole = &whole};
        Fault f;
        if (order != GREY)
            check_picture(d, 1, 1, 3);
        assert_true(picture_read_rows(d, 1, 0, 3, &room, &held.sink, &f));
        assert_int_equal(held.rows, 90);
        assert_null(room.pixels); /* none was held */
        picture_free(&whole);
        picture_free(&room);
        data_close(d);
    }
}

/* ---- the commands ---- */

static void test_the_same_views_as_of_a_folder(void **state)
{
    (void)state;
    enum { COUNT_EACH = 3, SIDE = 11 };
    uint8_t *bytes = elements(LAST, 2 * COUNT_EACH, SIDE, SIDE, 3);
    for (int i = 0; i < 2 * COUNT_EACH; i++) {
        char name[64];
        Sample s = sample_png((PngKind){SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, 0},
                              bytes + (size_t)i * SIDE * SIDE * 3, NULL);
        snprintf(name, sizeof name, "folder/train/%c/%d.png", 'a' + i / COUNT_EACH, i);
        scratch_write(name, s.bytes, s.count);
        free(s.bytes);
    }
    free(bytes);
    write_pictures("last/train.npy", LAST, 2 * COUNT_EACH, SIDE, SIDE);
    write_pictures("first.npy", FIRST, 2 * COUNT_EACH, SIDE, SIDE);
    size_t count, other;
    char *folder = views_of("folder", &count);
    static const char *const same[] = {"last", "first.npy"};
    for (size_t i = 0; i < COUNT(same); i++) {
        char *views = views_of(same[i], &other);
        assert_int_equal(count, other);
        assert_memory_equal(folder, views, count);
        free(views);
    }
    free(folder);
}

static void test_check_reads_what_there_is(void **state)
{
    (void)state;
    char path[1024], *text;
    Options o = no_options(&toy_model);
    Fault f = {.error = 0};
    write_pictures("one.npy", LAST, 3, 9, 9);
    snprintf(path, sizeof path, "%s", scratch_path("one.npy"));
    o.data = path;
    assert_int_equal(run_to_text(command_check, &toy_model, &o, &text, &f), 0);
    assert_string_equal(text, "3 pictures read, 0 wrong\n");
    free(text);
}

static uint64_t fingerprint(void)
{
    Dataset *d = opened(SPLIT_TRAIN, 0);
    uint64_t digest;
    Fault f;
    assert_true(data_fingerprint(d, &digest, &f));
    data_close(d);
    return digest;
}

static void test_other_pixels_or_labels_are_other_data(void **state)
{
    (void)state;
    uint8_t *bytes = elements(GREY, 3, 4, 4, 1);
    write_array("train.npy", "|u1", "(3, 4, 4)", bytes, 48);
    write_array("train.labels.npy", "|u1", "(3,)", (uint8_t[]){1, 0, 1}, 3);
    const uint64_t before = fingerprint();
    assert_true(before == fingerprint());
    write_array("train.labels.npy", "|u1", "(3,)", (uint8_t[]){1, 1, 0}, 3);
    assert_true(before != fingerprint());
    write_array("train.labels.npy", "<i8", "(3,)", (uint64_t[]){1, 0, 1}, 24);
    assert_true(before == fingerprint()); /* another type, the same labels */
    bytes[47]++;
    write_array("train.npy", "|u1", "(3, 4, 4)", bytes, 48);
    assert_true(before != fingerprint());
    free(bytes);
}

/* ---- what is wrong ---- */

static void test_wrong_arrays_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *shape;
        size_t bytes;
        const char *what;
    } wrong[] = {
        {"<f4", "(1, 2, 2)", 16, "elements of type '<f4'; pictures are uint8"},
        {">u2", "(1, 2, 2)", 8, "elements of type '>u2'; pictures are uint8"},
        {"|i1", "(1, 2, 2)", 4, "elements of type '|i1'; pictures are uint8"},
        {"|b1", "(1, 2, 2)", 4, "elements of type '|b1'"},
        {"|u1", "()", 1, "an array of 0 dimensions"},
        {"|u1", "(4,)", 4, "an array of 1 dimension;"},
        {"|u1", "(2, 2)", 4, "an array of 2 dimensions"},
        {"|u1", "(1, 2, 2, 1, 1)", 4, "an array of 5 dimensions"},
        {"|u1", "(1, 2, 2, 4)", 16, "shape (1, 2, 2, 4); pictures are N x H x W"},
        {"|u1", "(1, 0, 2)", 0, "pictures of 2 x 0"},
        {"|u1", "(1, 1, 70000)", 70000, "a side must be 1 to 65535"},
        {"|u1", "(2, 2, 2)", 7, "7 bytes behind the header, but its shape makes 8"},
        {"|u1", "(2, 2, 2)", 9, "9 bytes behind the header, but its shape makes 8"},
        {"|u1", "(4294967295, 65535, 65535)", 7, "more than a file can hold"},
        {"|u1", "(5000000000, 65535, 65535)", 7, "more than a file can hold"},
        {"|u1", "(99999999999999999999, 2, 2)", 8, "a header that is not that of a plain array"},
        {"|u1", "(2, -2, 2)", 8, "a header that is not"},
        {"|u1", "(2, 2, 2", 8, "a header that is not"},
        {"|u1", "(0, 2, 2)", 0, "the training split holds no pictures"},
    };
    static uint8_t zeros[70000];
    for (size_t i = 0; i < COUNT(wrong); i++) {
        write_array("train.npy", wrong[i].type, wrong[i].shape, zeros, wrong[i].bytes);
        refused(SPLIT_TRAIN, wrong[i].what, data_folder());
    }
}

static void test_wrong_headers_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "    ",
        "{}",
        "{'descr': '|u1', 'fortran_order': False, }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1), 'shape': (1, 1, 1)}",
        "{'descr': '|u1', 'shape': (1, 1, 1), 'shape': (1, 1, 1)}",
        "{'descr': [('x', '|u1')], 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': Maybe, 'shape': (1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1)} and more",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1 1 1)}",
        "{'descr': '|u1 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '0123456789abcdef', 'fortran_order': False, 'shape': (1, 1, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1)",
        "{'descr': '|u1', 'fortran_order': False, 'other': 1}",
    };
    for (size_t i = 0; i < COUNT(headers); i++) {
        write_raw("train.npy", 1, headers[i], "\1", 1);
        refused(SPLIT_TRAIN, "a header that is not that of a plain array", "train.npy");
    }
    const char fortran[] = "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 1, 1)}";
    write_raw("train.npy", 1, fortran, "\1", 1);
    refused(SPLIT_TRAIN, "in Fortran's order", "numpy.ascontiguousarray");
    write_raw("train.npy", 4, fortran, "\1", 1);
    refused(SPLIT_TRAIN, "version 4 of NumPy's format", "train.npy");
    scratch_write("train.npy", "PK\3\4 an archive", 15);
    refused(SPLIT_TRAIN, "does not begin as a NumPy array does", "train.npy");
    scratch_write("train.npy", "", 0);
    refused(SPLIT_TRAIN, "an empty file", "train.npy");
}

static void test_every_cut_of_a_file_is_refused(void **state)
{
    (void)state;
    write_pictures("train.npy", GREY, 2, 2, 2);
    size_t count;
    char *whole = read_whole(scratch_path("train.npy"), &count);
    for (size_t kept = 1; kept < count; kept++) {
        scratch_write("train.npy", whole, kept);
        refused(SPLIT_TRAIN, "train.npy: ", "");
    }
    free(whole);
}

static void test_a_long_header_is_refused(void **state)
{
    (void)state;
    char *header = malloc(6001);
    assert_non_null(header);
    memset(header, ' ', 6000);
    header[6000] = '\0';
    write_raw("train.npy", 2, header, "\1", 1);
    refused(SPLIT_TRAIN, "a header of 6000 bytes", "train.npy");
    free(header);
}

static void test_wrong_labels_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *shape, *bytes;
        size_t count;
        const char *what;
    } wrong[] = {
        {"|u1", "(3,)", "\0\0\0", 3, "3 labels, but "},
        {"<f8", "(2,)", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, "elements of type '<f8'; labels are"},
        {">i4", "(2,)", "\0\0\0\0\0\0\0\1", 8, "elements of type '>i4'; labels are little-endian"},
        {"<U3", "(2,)", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "elements of type '<U3'"},
        {"|u1", "(1, 2)", "\0\0", 2, "an array of 2 dimensions; labels are"},
        {"|u1", "()", "\0", 1, "an array of 0 dimensions; labels are"},
        {"|u1", "(2,)", "\0", 1, "1 bytes behind the header, but its shape makes 2"},
        {"|i1", "(2,)", "\0\xff", 2, "image 1 has label -1; 0 to 65535"},
        {"<i8", "(2,)", "\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0", 16, "image 0 has label -9223372036854775808"},
        {"<u4", "(2,)", "\0\0\0\0\0\0\1", 8, "image 1 has label 65536; 0 to 65535"},
    };
    write_pictures("train.npy", GREY, 2, 2, 2);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        write_array("train.labels.npy", wrong[i].type, wrong[i].shape, wrong[i].bytes, wrong[i].count);
        refused(SPLIT_TRAIN, wrong[i].what, "train.labels.npy");
    }
}

static void test_a_missing_file_is_named(void **state)
{
    (void)state;
    write_pictures("train.npy", GREY, 2, 2, 2);
    refused(SPLIT_TEST, "no test.npy beside train.npy", data_folder());
    write_pictures("test.npy", GREY, 1, 2, 2);
    write_array("test.labels.npy", "|u1", "(1,)", "\0", 1);
    refused(SPLIT_TRAIN, "train.npy: no labels, but ", "test.labels.npy");
    assert_int_equal(unlink(scratch_path("train.npy")), 0);
    refused(SPLIT_TRAIN, "no train.npy beside test.npy", data_folder());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_every_order_of_dimensions),
        WITH_FOLDER(test_channels_are_as_asked),
        WITH_FOLDER(test_headers_in_every_spelling),
        WITH_FOLDER(test_labels_of_every_type),
        WITH_FOLDER(test_classes_are_those_of_both_splits),
        WITH_FOLDER(test_one_file_is_the_training_split),
        WITH_FOLDER(test_large_pictures_come_by_rows),
        WITH_FOLDER(test_the_same_views_as_of_a_folder),
        WITH_FOLDER(test_check_reads_what_there_is),
        WITH_FOLDER(test_other_pixels_or_labels_are_other_data),
        WITH_FOLDER(test_wrong_arrays_are_refused),
        WITH_FOLDER(test_wrong_headers_are_refused),
        WITH_FOLDER(test_every_cut_of_a_file_is_refused),
        WITH_FOLDER(test_a_long_header_is_refused),
        WITH_FOLDER(test_wrong_labels_are_refused),
        WITH_FOLDER(test_a_missing_file_is_named),
    };
    return cmocka_run_group_tests_name("NumPy arrays", tests, NULL, NULL);
}
