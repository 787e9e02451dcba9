/* test_data_stl.c: STL-10's binary files, whose planes lie column by column, and which part is for what. */
#include "data_sets.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { SIDE = 96, PLANE = SIDE * SIDE, IMAGE = 3 * PLANE };

/* Unlike at x and y, so that a picture lying on its side shows. */
static uint8_t value(int image, int channel, int x, int y)
{
    return (uint8_t)(image * 37 + channel * 90 + x * 3 + y * 5 + x * y % 7);
}

/* `count` images, numbered from `first`, and `extra` bytes. */
static void write_images(const char *name, int first, int count, size_t extra)
{
    size_t size = (size_t)count * IMAGE + extra;
    uint8_t *bytes = calloc(1, size + 1), *at = bytes;
    assert_non_null(bytes);
    for (int i = first; i < first + count; i++)
        for (int channel = 0; channel < 3; channel++)
            for (int x = 0; x < SIDE; x++)
                for (int y = 0; y < SIDE; y++)
                    *at++ = value(i, channel, x, y);
    scratch_write(name, bytes, size);
    free(bytes);
}

static void check_image(const Dataset *d, uint32_t i, int number)
{
    Picture p = picture_of(d, i, 3);
    assert_int_equal(p.width, SIDE);
    assert_int_equal(p.height, SIDE);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(p.pixels[3 * (y * SIDE + x) + c], value(number, c, x, y));
    picture_free(&p);
}

static void check_description(const Dataset *d, const char *expected)
{
    char text[128];
    data_describe(d, text, sizeof text);
    assert_string_equal(text, expected);
}

static void write_train(const uint8_t *labels, int count)
{
    write_images("train_X.bin", 0, count, 0);
    scratch_write("train_y.bin", labels, (size_t)count);
}

static void test_labelled_parts(void **state)
{
    (void)state;
    write_train((uint8_t[]){10, 1, 3}, 3);
    write_images("test_X.bin", 5, 2, 0);
    scratch_write("test_y.bin", (uint8_t[]){2, 10}, 2);
    write_images("unlabeled_X.bin", 20, 4, 0);
    scratch_write("class_names.txt", "airplane\nbird\n", 14);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    check_description(d, "STL-10 binary, 3 images of 96 x 96 in 10 classes");
    assert_string_equal(d->class_name[1], "bird");
    const uint16_t labels[] = {9, 0, 2};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(d->label[i], labels[i]);
        check_image(d, i, (int)i);
    }
    data_close(d);
    d = opened(SPLIT_TEST, 1); /* which the limit leaves whole */
    assert_int_equal(d->count, 2);
    assert_int_equal(d->label[0], 1);
    assert_int_equal(d->label[1], 9);
    check_image(d, 1, 6);
    data_close(d);
}

static void test_unlabelled_part_is_trained_on(void **state)
{
    (void)state;
    write_train((uint8_t[]){10}, 1);
    write_images("unlabeled_X.bin", 20, 4, 0);
    Dataset *d = opened(SPLIT_PRETRAIN, 0);
    check_description(d, "STL-10 binary, 4 images of 96 x 96 without labels");
    check_image(d, 0, 20);
    check_image(d, 3, 23);
    data_close(d);
    d = opened(SPLIT_PRETRAIN, 3);
    assert_int_equal(d->count, 3);
    check_image(d, 2, 22);
    data_close(d);
}

static void test_labelled_part_is_trained_on_alone(void **state)
{
    (void)state;
    write_images("stl10_binary/train_X.bin", 0, 4, 0);
    scratch_write("stl10_binary/train_y.bin", (uint8_t[]){7, 7, 7, 8}, 4);
    Dataset *d = opened(SPLIT_PRETRAIN, 2);
    check_description(d, "STL-10 binary, 3 images of 96 x 96 in 10 classes");
    const uint32_t kept[] = {0, 1, 3};
    for (uint32_t i = 0; i < d->count; i++) {
        assert_int_equal(d->index[i], kept[i]);
        check_image(d, i, (int)kept[i]);
    }
    data_close(d);
}

static void test_one_channel_is_luma(void **state)
{
    (void)state;
    write_train((uint8_t[]){1}, 1);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    Picture p = picture_of(d, 0, 1);
    int x = 50, y = 3;
    double luma = 0.299 * value(0, 0, x, y) + 0.587 * value(0, 1, x, y) + 0.114 * value(0, 2, x, y);
    assert_int_equal(p.pixels[y * SIDE + x], (int)(luma + 0.5));
    picture_free(&p);
    data_close(d);
}

static void test_missing_parts_are_named(void **state)
{
    (void)state;
    write_images("unlabeled_X.bin", 0, 1, 0);
    refused(SPLIT_TRAIN, "without train_X.bin", "fetch it too");
    refused(SPLIT_TEST, "without test_X.bin", "fetch it too");
    write_images("train_X.bin", 0, 1, 0);
    refused(SPLIT_TRAIN, "without train_y.bin", "fetch it too");
}

static void test_wrong_sizes_are_refused(void **state)
{
    (void)state;
    write_images("unlabeled_X.bin", 0, 1, 7);
    refused(SPLIT_PRETRAIN, "unlabeled_X.bin: 27655 bytes", "27648");
    write_train((uint8_t[]){1, 2, 3}, 3);
    assert_int_equal(truncate(scratch_path("train_X.bin"), 2 * IMAGE), 0);
    refused(SPLIT_TRAIN, "train_X.bin: 55296 bytes", "3 labels");
    refused(SPLIT_TRAIN, "train_y.bin", "82944");
    scratch_write("unlabeled_X.bin", "", 0);
    refused(SPLIT_PRETRAIN, "unlabeled_X.bin", "an empty file");
}

static void test_wrong_labels_are_refused(void **state)
{
    (void)state;
    write_train((uint8_t[]){1, 11, 3}, 3);
    refused(SPLIT_TRAIN, "train_y.bin: image 1 has label 11", "1 to 10");
    write_train((uint8_t[]){1, 10, 0}, 3);
    refused(SPLIT_TRAIN, "train_y.bin: image 2 has label 0", "1 to 10");
}

static void test_file_that_shrinks_is_a_fault(void **state)
{
    (void)state;
    write_train((uint8_t[]){1, 2}, 2);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(truncate(scratch_path("train_X.bin"), IMAGE + 5), 0);
    Picture p = {0};
    Fault f;
    assert_true(d->read(d, 0, 3, &p, &f));
    assert_false(d->read(d, 1, 3, &p, &f));
    assert_non_null(strstr(f.text, "train_X.bin"));
    picture_free(&p);
    data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_labelled_parts),
        WITH_FOLDER(test_unlabelled_part_is_trained_on),
        WITH_FOLDER(test_labelled_part_is_trained_on_alone),
        WITH_FOLDER(test_one_channel_is_luma),
        WITH_FOLDER(test_missing_parts_are_named),
        WITH_FOLDER(test_wrong_sizes_are_refused),
        WITH_FOLDER(test_wrong_labels_are_refused),
        WITH_FOLDER(test_file_that_shrinks_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
