/* test_data_idx.c: IDX files under all their names, packed and not, and what can be wrong with one. */
#include "data_sets.h"
#include "samples.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

enum { WIDTH = 5, HEIGHT = 4, PIXELS = WIDTH * HEIGHT, MOST = 64, ROOM = 16 + MOST * PIXELS };

static uint8_t value(int image, int pixel)
{
    return (uint8_t)(image * 41 + pixel * 11);
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* As it is, or packed where the name says so. */
static void write_file(const char *name, const uint8_t *bytes, size_t count)
{
    scratch_write(name, bytes, count);
    if (!strstr(name, ".gz"))
        return;
    gzFile packed = gzopen(scratch_path(name), "wb");
    assert_non_null(packed);
    assert_int_equal(gzwrite(packed, bytes, (unsigned)count), count);
    assert_int_equal(gzclose(packed), Z_OK);
}

/* `count` images, numbered from `first`, under a header that speaks of `said`. Returns the bytes written. */
static size_t make_images(uint8_t *bytes, int first, int count, uint32_t said)
{
    put_u32(bytes, 0x803);
    put_u32(bytes + 4, said);
    put_u32(bytes + 8, HEIGHT);
    put_u32(bytes + 12, WIDTH);
    for (int i = 0; i < count; i++)
        for (int pixel = 0; pixel < PIXELS; pixel++)
            bytes[16 + i * PIXELS + pixel] = value(first + i, pixel);
    return 16 + (size_t)count * PIXELS;
}

static void write_images(const char *name, int first, int count)
{
    uint8_t bytes[ROOM];
    write_file(name, bytes, make_images(bytes, first, count, (uint32_t)count));
}

static void write_labels(const char *name, const uint8_t *labels, int count)
{
    uint8_t bytes[8 + MOST];
    put_u32(bytes, 0x801);
    put_u32(bytes + 4, (uint32_t)count);
    memcpy(bytes + 8, labels, (size_t)count);
    write_file(name, bytes, 8 + (size_t)count);
}

static void check_image(const Dataset *d, uint32_t i, int number)
{
    Picture p = picture_of(d, i, 1);
    assert_int_equal(p.width, WIDTH);
    assert_int_equal(p.height, HEIGHT);
    for (int pixel = 0; pixel < PIXELS; pixel++)
        assert_int_equal(p.pixels[pixel], value(number, pixel));
    picture_free(&p);
}

/* Three training images from number 0 on, two test images from number 10 on. */
static void write_set(const char *train_x, const char *train_y, const char *test_x, const char *test_y)
{
    write_images(train_x, 0, 3);
    write_labels(train_y, (uint8_t[]){5, 0, 5}, 3);
    write_images(test_x, 10, 2);
    write_labels(test_y, (uint8_t[]){9, 5}, 2);
}

static void check_set(void)
{
    char text[128];
    Dataset *d = opened(SPLIT_TRAIN, 0);
    data_describe(d, text, sizeof text);
    assert_string_equal(text, "IDX, 3 images of 5 x 4 in 10 classes");
    assert_int_equal(d->label[0], 5);
    assert_int_equal(d->label[1], 0);
    for (uint32_t i = 0; i < 3; i++)
        check_image(d, i, (int)i);
    data_close(d);
    d = opened(SPLIT_TEST, 1); /* which the limit leaves whole */
    assert_int_equal(d->count, 2);
    assert_int_equal(d->classes, 10);
    assert_int_equal(d->label[0], 9);
    assert_int_equal(d->label[1], 5);
    check_image(d, 0, 10);
    check_image(d, 1, 11);
    data_close(d);
}

static void test_names_with_a_dash(void **state)
{
    (void)state;
    write_set("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
              "t10k-labels-idx1-ubyte");
    check_set();
    Dataset *d = opened(SPLIT_PRETRAIN, 1);
    assert_int_equal(d->count, 2);
    check_image(d, 1, 1);
    data_close(d);
}

static void test_names_with_a_point(void **state)
{
    (void)state;
    write_set("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte.gz",
              "t10k-labels.idx1-ubyte.gz");
    check_set();
}

static void test_packed_names_in_a_folder_below(void **state)
{
    (void)state;
    write_set("raw/train-images-idx3-ubyte.gz", "raw/train-labels-idx1-ubyte.gz",
              "raw/t10k-images-idx3-ubyte.gz", "raw/t10k-labels-idx1-ubyte.gz");
    check_set();
}

static void test_names_of_emnist(void **state)
{
    (void)state;
    write_set("emnist-digits-train-images-idx3-ubyte", "emnist-digits-train-labels-idx1-ubyte.gz",
              "emnist-digits-test-images-idx3-ubyte.gz", "emnist-digits-test-labels-idx1-ubyte");
    check_set();
    write_images("emnist-letters-train-images-idx3-ubyte", 0, 1);
    refused(SPLIT_TRAIN, "emnist-digits-... and emnist-letters-...", "folder of its own");
}

/* Unpacking leaves nothing behind. */
static void test_unpacked_files_have_no_name(void **state)
{
    (void)state;
    scratch_write("temporary/keep", "", 0);
    assert_int_equal(setenv("TMPDIR", scratch_path("temporary"), 1), 0);
    write_set("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte",
              "t10k-labels-idx1-ubyte");
    Dataset *d = opened(SPLIT_TRAIN, 0);
    struct dirent **entry;
    int count = scandir(scratch_path("temporary"), &entry, NULL, NULL);
    for (int i = 0; i < count; i++)
        free(entry[i]);
    free(entry);
    assert_int_equal(count, 3); /* keep, the folder and the one above it */
    check_image(d, 2, 2);
    data_close(d);
    assert_int_equal(setenv("TMPDIR", scratch_path("missing"), 1), 0);
    refused(SPLIT_TRAIN, "TMPDIR", "missing");
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

static void test_grey_is_repeated_in_three_channels(void **state)
{
    (void)state;
    write_images("train-images-idx3-ubyte", 3, 1);
    write_labels("train-labels-idx1-ubyte", (uint8_t[]){0}, 1);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    Picture p = picture_of(d, 0, 3);
    for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(p.pixels[3 * pixel + c], value(3, pixel));
    picture_free(&p);
    assert_int_equal(d->classes, 1);
    data_close(d);
}

typedef struct {
    RowSink sink;
    const Picture *expected;
    int rows;
} Comparer;

static size_t compare_begin(RowSink *sink, int width, int height)
{
    const Comparer *c = (Comparer *)(void *)sink;
    assert_true(width == c->expected->width && height == c->expected->height);
    return 0;
}

static void compare_row(RowSink *sink, int y, const uint8_t *row)
{
    Comparer *c = (Comparer *)(void *)sink;
    const size_t bytes = (size_t)c->expected->width * (size_t)c->expected->channels;
    assert_int_equal(y, c->rows++);
    assert_memory_equal(row, c->expected->pixels + (size_t)y * bytes, bytes);
}

static void compare_end(RowSink *sink)
{
    (void)sink;
}

static void test_large_pictures_come_row_by_row(void **state)
{
    (void)state;
    enum { WIDE = 200, HIGH = 150, HEADER = 16 };
    static uint8_t images[HEADER + 2 * WIDE * HIGH];
    put_u32(images, 0x803);
    put_u32(images + 4, 2);
    put_u32(images + 8, HIGH);
    put_u32(images + 12, WIDE);
    for (int i = 0; i < 2 * WIDE * HIGH; i++)
        images[HEADER + i] = (uint8_t)(i * 31 % 251);
    write_file("train-images-idx3-ubyte", images, sizeof images);
    write_labels("train-labels-idx1-ubyte", (uint8_t[]){0, 1}, 2);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    for (int channels = 1; channels <= 3; channels += 2)
        for (uint32_t i = 0; i < 2; i++) {
            Fault f;
            Picture whole = picture_of(d, i, channels), p = {0};
            Comparer c = {.sink = {compare_begin, compare_row, compare_end}, .expected = &whole};
            assert_int_equal(whole.pixels[channels], images[HEADER + i * WIDE * HIGH + 1]);
            assert_true(picture_read_rows(d, i, 0, channels, &p, &c.sink, &f));
            assert_true(c.rows == HIGH && p.streamed && !p.pixels);
            picture_free(&whole);
        }
    data_close(d);
}

static void test_more_classes_than_digits(void **state)
{
    (void)state;
    uint8_t labels[26];
    for (int i = 0; i < 26; i++)
        labels[i] = (uint8_t)(i + 1);
    write_images("train-images-idx3-ubyte", 0, 26);
    write_labels("train-labels-idx1-ubyte", labels, 26);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->classes, 27);
    assert_int_equal(d->label[25], 26);
    data_close(d);
    labels[7] = 200;
    write_labels("train-labels-idx1-ubyte", labels, 26);
    refused(SPLIT_TRAIN, "train-labels-idx1-ubyte: image 7 has label 200", "class 8");
    labels[7] = 8;
    write_labels("train-labels-idx1-ubyte", labels, 26);
    write_labels("t10k-labels-idx1-ubyte", (uint8_t[]){1, 28}, 2);
    refused(SPLIT_TRAIN, "t10k-labels-idx1-ubyte: image 1 has label 28", "class 27");
}

static void test_missing_files_are_named(void **state)
{
    (void)state;
    write_images("t10k-images-idx3-ubyte", 0, 1);
    refused(SPLIT_TEST, "without t10k-labels-idx1-ubyte", data_folder());
    refused(SPLIT_TRAIN, "without train-images-idx3-ubyte", data_folder());
    write_labels("t10k-labels-idx1-ubyte", (uint8_t[]){4, 4}, 2);
    refused(SPLIT_TEST, "t10k-images-idx3-ubyte: 1 images", "t10k-labels-idx1-ubyte has 2 labels");
}

/* ---- labels that are rows of numbers ---- */

enum { COLUMNS = 8 };

/* The class first, then the writer's number and such. */
static size_t make_table(uint8_t *bytes, const uint8_t *labels, int count)
{
    put_u32(bytes, 0xc02);
    put_u32(bytes + 4, (uint32_t)count);
    put_u32(bytes + 8, COLUMNS);
    for (int i = 0; i < count; i++)
        for (int c = 0; c < COLUMNS; c++)
            put_u32(bytes + 12 + 4 * (i * COLUMNS + c), c ? 70000u * (uint32_t)c : labels[i]);
    return 12 + 4 * (size_t)count * COLUMNS;
}

static void write_table(const char *name, const uint8_t *labels, int count)
{
    uint8_t bytes[12 + 4 * MOST * COLUMNS];
    write_file(name, bytes, make_table(bytes, labels, count));
}

static void test_labels_of_qmnist(void **state)
{
    (void)state;
    write_images("qmnist-train-images-idx3-ubyte.gz", 0, 3);
    write_table("qmnist-train-labels-idx2-int.gz", (uint8_t[]){5, 0, 5}, 3);
    write_images("qmnist-test-images-idx3-ubyte", 10, 2);
    write_table("qmnist-test-labels.idx2-int", (uint8_t[]){9, 5}, 2);
    check_set();
}

/* More than are read at once. */
static void test_many_labels_of_qmnist(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static uint8_t images[16 + MANY * PIXELS], table[12 + 4 * MANY * COLUMNS];
    uint8_t labels[MANY];
    for (int i = 0; i < MANY; i++)
        labels[i] = (uint8_t)(i * 7 % 10);
    write_file("train-images-idx3-ubyte", images, make_images(images, 0, MANY, MANY));
    write_file("train-labels-idx2-int", table, make_table(table, labels, MANY));
    Dataset *d = opened(SPLIT_TRAIN, 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(d->label[i], labels[i]);
    data_close(d);
}

static void test_wrong_tables_are_refused(void **state)
{
    (void)state;
    static const char name[] = "qmnist-train-labels-idx2-int";
    uint8_t bytes[12 + 4 * 3 * COLUMNS];
    write_images("qmnist-train-images-idx3-ubyte", 0, 3);
    refused(SPLIT_TRAIN, "without qmnist-train-labels-idx2-int", "fetch it too");
    size_t size = make_table(bytes, (uint8_t[]){1, 2, 3}, 3);
    write_file(name, bytes, size - 1);
    refused(SPLIT_TRAIN, "idx2-int: 107 bytes", "says 108");
    bytes[2] = 0x0d; /* floats */
    write_file(name, bytes, size);
    refused(SPLIT_TRAIN, "idx2-int: begins with 00000d02", "00000c02");
    bytes[2] = 0x0c;
    put_u32(bytes + 8, COLUMNS - 1);
    write_file(name, bytes, size);
    refused(SPLIT_TRAIN, "idx2-int: rows of 7 numbers", "8");
    put_u32(bytes + 8, COLUMNS);
    put_u32(bytes + 12 + 4 * COLUMNS, (uint32_t)-1);
    write_file(name, bytes, size);
    refused(SPLIT_TRAIN, "idx2-int: image 1 has label -1", "0 to 255");
    put_u32(bytes + 12 + 4 * COLUMNS, 256);
    write_file(name, bytes, size);
    refused(SPLIT_TRAIN, "idx2-int: image 1 has label 256", "0 to 255");
    write_table(name, (uint8_t[]){1, 2}, 2);
    refused(SPLIT_TRAIN, "3 images", "2 labels");
}

static void test_wrong_headers_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    static const char name[] = "train-images-idx3-ubyte";
    write_labels("train-labels-idx1-ubyte", (uint8_t[]){0, 1, 2}, 3);
    write_file(name, bytes, make_images(bytes, 0, 3, 3) - 1);
    refused(SPLIT_TRAIN, "train-images-idx3-ubyte: 75 bytes", "says 76");
    write_file(name, bytes, make_images(bytes, 0, 3, 3) + 1);
    refused(SPLIT_TRAIN, "train-images-idx3-ubyte: 77 bytes", "says 76");
    write_file(name, bytes, 15);
    refused(SPLIT_TRAIN, "train-images-idx3-ubyte: 15 bytes", "header");
    bytes[2] = 0x0d; /* floats */
    write_file(name, bytes, 76);
    refused(SPLIT_TRAIN, "train-images-idx3-ubyte: begins with 00000d03", "00000803");
    make_images(bytes, 0, 3, 3);
    put_u32(bytes + 8, 0);
    write_file(name, bytes, 16);
    refused(SPLIT_TRAIN, "train-images-idx3-ubyte", "side of 0");
    put_u32(bytes + 4, UINT32_MAX);
    put_u32(bytes + 8, 65535);
    put_u32(bytes + 12, 65535);
    write_file(name, bytes, 76);
    refused(SPLIT_TRAIN, "train-images-idx3-ubyte: 76 bytes", "says 18446181");
}

static void test_damaged_packing_is_refused(void **state)
{
    (void)state;
    static const char name[] = "train-images-idx3-ubyte.gz";
    uint8_t bytes[ROOM];
    write_labels("train-labels-idx1-ubyte", (uint8_t[]){0, 1, 2}, 3);
    scratch_write(name, bytes, make_images(bytes, 0, 3, 3));
    refused(SPLIT_TRAIN, name, "not a gzip file");
    write_images(name, 0, 3);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    data_close(d);
    assert_int_equal(truncate(scratch_path(name), 40), 0);
    refused(SPLIT_TRAIN, name, "cut off");
    write_images(name, 0, 3);
    FILE *packed = fopen(scratch_path(name), "r+b");
    assert_non_null(packed);
    assert_int_equal(fseek(packed, -6, SEEK_END), 0); /* in the checksum */
    assert_int_equal(fgetc(packed) >= 0, 1);
    assert_int_equal(fseek(packed, -6, SEEK_END), 0);
    fputs("??", packed);
    assert_int_equal(fclose(packed), 0);
    refused(SPLIT_TRAIN, name, "damaged or cut off (incorrect data check)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_names_with_a_dash),
        WITH_FOLDER(test_names_with_a_point),
        WITH_FOLDER(test_packed_names_in_a_folder_below),
        WITH_FOLDER(test_names_of_emnist),
        WITH_FOLDER(test_unpacked_files_have_no_name),
        WITH_FOLDER(test_grey_is_repeated_in_three_channels),
        WITH_FOLDER(test_large_pictures_come_row_by_row),
        WITH_FOLDER(test_more_classes_than_digits),
        WITH_FOLDER(test_missing_files_are_named),
        WITH_FOLDER(test_labels_of_qmnist),
        WITH_FOLDER(test_many_labels_of_qmnist),
        WITH_FOLDER(test_wrong_tables_are_refused),
        WITH_FOLDER(test_wrong_headers_are_refused),
        WITH_FOLDER(test_damaged_packing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
