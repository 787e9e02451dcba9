/* test_data.c: CIFAR files and folders of pictures, how one is recognised, the limit, and everything that can
 * be wrong with a folder of pictures. */
#include "data_sets.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { PIXELS = 32 * 32, PLANES = 3 * PIXELS, MAX_RECORD = PLANES + 2 };

/* ---- CIFAR ---- */

static uint8_t cifar_value(int image, int channel, int pixel)
{
    return (uint8_t)(image * 31 + channel * 85 + pixel * 7 + pixel / 32);
}

/* A file of `count` images, numbered from `first`; labels are given. With two label bytes the coarse one
 * is 19. */
static void write_cifar(const char *name, int first, int count, const uint8_t *labels, int label_bytes)
{
    size_t size = (size_t)(PLANES + label_bytes);
    uint8_t *bytes = malloc((size_t)count * size + 1);
    assert_non_null(bytes);
    for (int i = 0; i < count; i++) {
        uint8_t *record = bytes + (size_t)i * size;
        record[0] = 19;
        record[label_bytes - 1] = labels[i];
        for (int c = 0; c < 3; c++)
            for (int pixel = 0; pixel < PIXELS; pixel++)
                record[label_bytes + c * PIXELS + pixel] = cifar_value(first + i, c, pixel);
    }
    scratch_write(name, bytes, (size_t)count * size);
    free(bytes);
}

static void check_cifar_image(const Dataset *d, uint32_t i, int number)
{
    Picture p = picture_of(d, i, 3);
    assert_int_equal(p.width, 32);
    assert_int_equal(p.height, 32);
    for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(p.pixels[3 * pixel + c], cifar_value(number, c, pixel));
    picture_free(&p);
}

/* Batches 3 to 5 of one image each, numbered from `first`, of class 9. */
static void write_last_batches(const char *folder, int first)
{
    for (int batch = 3; batch <= 5; batch++) {
        char name[64];
        snprintf(name, sizeof name, "%sdata_batch_%d.bin", folder, batch);
        write_cifar(name, first + batch - 3, 1, (uint8_t[]){9}, 1);
    }
}

static void test_cifar10_batches_in_the_order_of_their_number(void **state)
{
    (void)state;
    enum { SECOND = 40, ALL = 2 + SECOND + 3 }; /* more than are read at once */
    uint8_t labels[SECOND];
    for (int i = 0; i < SECOND; i++)
        labels[i] = (uint8_t)(i % 10);
    write_last_batches("", 2 + SECOND);
    write_cifar("data_batch_2.bin", 2, SECOND, labels, 1);
    write_cifar("data_batch_1.bin", 0, 2, (uint8_t[]){7, 8}, 1);
    write_cifar("test_batch.bin", 100, 2, (uint8_t[]){4, 5}, 1);
    scratch_write("batches.meta.txt", "airplane\nautomobile\n\n", 21);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_string_equal(d->format, "CIFAR-10 binary");
    assert_int_equal(d->count, ALL);
    assert_int_equal(d->classes, 10);
    assert_string_equal(d->class_name[1], "automobile");
    assert_null(d->class_name[2]);
    assert_int_equal(d->label[1], 8);
    for (int i = 0; i < SECOND; i++)
        assert_int_equal(d->label[2 + i], i % 10);
    assert_int_equal(d->label[ALL - 1], 9);
    for (uint32_t i = 0; i < d->count; i += 4)
        check_cifar_image(d, i, (int)i);
    data_close(d);
    d = opened(SPLIT_TEST, 1);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->label[1], 5);
    check_cifar_image(d, 1, 101);
    data_close(d);
}

/* One batch is enough to try things; more of them without the others are a set that was copied in part. */
static void test_missing_batches_are_said(void **state)
{
    (void)state;
    write_cifar("data_batch_1.bin", 0, 1, (uint8_t[]){1}, 1);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_string_equal(d->remark, "without data_batch_2.bin to data_batch_5.bin");
    data_close(d);
    write_cifar("data_batch_2.bin", 0, 1, (uint8_t[]){1}, 1);
    refused(SPLIT_TRAIN, "without data_batch_3.bin", data_folder());
    write_last_batches("", 0);
    d = opened(SPLIT_TRAIN, 0);
    assert_null(d->remark);
    data_close(d);
    assert_int_equal(unlink(scratch_path("data_batch_3.bin")), 0);
    refused(SPLIT_TRAIN, "without data_batch_3.bin", "fetch it too");
    write_last_batches("", 0);
    assert_int_equal(unlink(scratch_path("data_batch_1.bin")), 0);
    refused(SPLIT_TRAIN, "without data_batch_1.bin", "fetch it too");
}

static void test_empty_batches_are_refused(void **state)
{
    (void)state;
    write_cifar("data_batch_1.bin", 0, 1, (uint8_t[]){1}, 1);
    write_cifar("data_batch_2.bin", 0, 1, (uint8_t[]){1}, 1);
    write_last_batches("", 0);
    scratch_write("data_batch_4.bin", "", 0);
    refused(SPLIT_TRAIN, "data_batch_4.bin: an empty file", data_folder());
    scratch_write("test_batch.bin", "", 0);
    refused(SPLIT_TEST, "test_batch.bin: an empty file", data_folder());
    scratch_write("below/train.bin", "", 0);
    Fault f;
    assert_null(data_open(scratch_path("below"), SPLIT_TRAIN, 0, &f));
    assert_non_null(strstr(f.text, "train.bin: an empty file"));
}

static void test_cifar_in_one_channel(void **state)
{
    (void)state;
    write_cifar("data_batch_1.bin", 3, 1, (uint8_t[]){0}, 1);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    Picture p = {0};
    Fault f;
    assert_true(d->read(d, 0, 1, &p, &f));
    assert_int_equal(p.channels, 1);
    for (int pixel = 0; pixel < PIXELS; pixel++) {
        double luma = 0.299 * cifar_value(3, 0, pixel) + 0.587 * cifar_value(3, 1, pixel) +
                      0.114 * cifar_value(3, 2, pixel);
        assert_int_equal(p.pixels[pixel], (int)(luma + 0.5));
    }
    assert_false(d->read(d, 0, 2, &p, &f));
    picture_free(&p);
    data_close(d);
}

static void test_cifar100_has_fine_labels(void **state)
{
    (void)state;
    write_cifar("cifar-100-binary/train.bin", 0, 2, (uint8_t[]){99, 0}, 2);
    write_cifar("cifar-100-binary/test.bin", 9, 1, (uint8_t[]){42}, 2);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_string_equal(d->format, "CIFAR-100 binary");
    assert_int_equal(d->classes, 100);
    assert_int_equal(d->label[0], 99);
    check_cifar_image(d, 1, 1);
    data_close(d);
    d = opened(SPLIT_TEST, 0);
    assert_int_equal(d->label[0], 42);
    check_cifar_image(d, 0, 9);
    data_close(d);
}

static Dataset *opened_coarse(Split split, uint32_t limit, Fault *f)
{
    return data_request(&(DataRequest){.dir = data_folder(), .split = split, .limit = limit, .coarse = true},
                        f);
}

/* The coarse label is 19 in all of them, and the limit counts the classes that were asked for. */
static void test_cifar100_has_coarse_labels(void **state)
{
    (void)state;
    Fault f;
    write_cifar("train.bin", 0, 3, (uint8_t[]){99, 0, 5}, 2);
    write_cifar("test.bin", 9, 1, (uint8_t[]){42}, 2);
    scratch_write("coarse_label_names.txt", "aquatic_mammals\nfish\n", 21);
    scratch_write("fine_label_names.txt", "apple\n", 6);
    Dataset *d = opened_coarse(SPLIT_TRAIN, 2, &f);
    assert_non_null(d);
    assert_int_equal(d->classes, 20);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->label[0], 19);
    assert_int_equal(d->label[1], 19);
    assert_string_equal(d->class_name[1], "fish");
    check_cifar_image(d, 1, 1);
    char text[128];
    data_describe(d, text, sizeof text);
    assert_string_equal(text, "CIFAR-100 binary, 2 images of 32 x 32 in 20 coarse classes");
    data_close(d);
    d = opened_coarse(SPLIT_TEST, 0, &f);
    assert_non_null(d);
    assert_int_equal(d->label[0], 19);
    data_close(d);
    d = opened(SPLIT_TRAIN, 2);
    assert_int_equal(d->count, 3);
    assert_string_equal(d->class_name[0], "apple");
    data_close(d);
}

static void test_coarse_labels_of_others_are_refused(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    write_cifar("data_batch_1.bin", 0, 1, (uint8_t[]){3}, 1);
    assert_null(opened_coarse(SPLIT_TRAIN, 0, &f));
    assert_non_null(strstr(f.text, "--labels coarse: there are none in CIFAR-10 binary"));
    assert_null(data_request(&(DataRequest){.coarse = true}, &f));
    assert_non_null(strstr(f.text, "built-in pictures"));
}

static void test_coarse_labels_are_checked(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    uint8_t record[MAX_RECORD] = {20, 3};
    scratch_write("train.bin", record, sizeof record);
    assert_null(opened_coarse(SPLIT_TRAIN, 0, &f));
    assert_non_null(strstr(f.text, "train.bin: image 0 has label 20"));
}

/* Where nothing is without labels, what is trained on has them. */
static void test_pretraining_takes_the_training_split(void **state)
{
    (void)state;
    write_cifar("train.bin", 0, 3, (uint8_t[]){3, 3, 4}, 2);
    write_cifar("test.bin", 7, 1, (uint8_t[]){0}, 2);
    Dataset *d = opened(SPLIT_PRETRAIN, 1);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->label[1], 4);
    check_cifar_image(d, 1, 2);
    char text[128];
    data_describe(d, text, sizeof text);
    assert_string_equal(text, "CIFAR-100 binary, 2 images of 32 x 32 in 100 classes");
    data_close(d);
}

static void test_limit_keeps_the_first_of_each_class(void **state)
{
    (void)state;
    write_cifar("cifar-10-batches-bin/data_batch_1.bin", 0, 6, (uint8_t[]){1, 1, 1, 2, 0, 1}, 1);
    write_cifar("cifar-10-batches-bin/data_batch_2.bin", 6, 4, (uint8_t[]){2, 2, 1, 0}, 1);
    write_last_batches("cifar-10-batches-bin/", 10);
    Dataset *d = opened(SPLIT_TRAIN, 2);
    const uint32_t kept[] = {0, 1, 3, 4, 6, 9, 10, 11};
    const uint16_t labels[] = {1, 1, 2, 0, 2, 0, 9, 9};
    assert_int_equal(d->count, COUNT(kept));
    for (uint32_t i = 0; i < d->count; i++) {
        assert_int_equal(d->index[i], kept[i]);
        assert_int_equal(d->label[i], labels[i]);
        check_cifar_image(d, i, (int)kept[i]);
    }
    data_close(d);
}

static void test_damaged_cifar_is_refused(void **state)
{
    (void)state;
    write_cifar("data_batch_1.bin", 0, 2, (uint8_t[]){3, 10}, 1);
    refused(SPLIT_TRAIN, "image 1 has label 10", "data_batch_1.bin");
    refused(SPLIT_TEST, "CIFAR-10", "test_batch.bin");
    uint8_t stub[3074] = {0};
    scratch_write("data_batch_1.bin", stub, sizeof stub);
    refused(SPLIT_TRAIN, "3074 bytes", "data_batch_1.bin");
}

static void test_cifar_that_shrinks_is_a_fault(void **state)
{
    (void)state;
    write_cifar("data_batch_1.bin", 0, 2, (uint8_t[]){3, 4}, 1);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(truncate(scratch_path("data_batch_1.bin"), 4000), 0);
    Picture p = {0};
    Fault f;
    assert_true(d->read(d, 0, 3, &p, &f));
    assert_false(d->read(d, 1, 3, &p, &f));
    assert_non_null(strstr(f.text, "data_batch_1.bin"));
    picture_free(&p);
    data_close(d);
}

/* ---- folders ---- */

/* A picture whose red says which it is. */
static void write_plain(const char *name, int width, int height, uint8_t red)
{
    Sample sample = sample_plain(width, height, red, 0, 0);
    scratch_write(name, sample.bytes, sample.count);
    free(sample.bytes);
}

static void check_plain(const Dataset *d, uint32_t i, const char *class_name, uint8_t red)
{
    Picture p = picture_of(d, i, 3);
    assert_int_equal(p.pixels[0], red);
    assert_string_equal(d->class_name[d->label[i]], class_name);
    picture_free(&p);
}

static void test_folders_in_byte_order(void **state)
{
    (void)state;
    write_plain("train/b/2.PNG", 3, 2, 4);
    write_plain("train/b/10.png", 5, 4, 3);
    write_plain("train/B/z.png", 1, 1, 2);
    write_plain("train/B/Z.Png", 2, 9, 1);
    write_plain("train/.hidden/x.png", 1, 1, 9);
    write_plain("train/b/.y.png", 1, 1, 9);
    scratch_write("train/b/notes.txt", "no picture", 10);
    scratch_write("train/list.png", "no folder", 9);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_string_equal(d->format, "folders of pictures");
    assert_int_equal(d->classes, 2);
    assert_int_equal(d->count, 4);
    check_plain(d, 0, "B", 1);
    check_plain(d, 1, "B", 2);
    check_plain(d, 2, "b", 3);
    check_plain(d, 3, "b", 4);
    char text[256];
    data_describe(d, text, sizeof text);
    assert_string_equal(text, "folders of pictures, 4 images of any size in 2 classes; passed over: "
                              "1 picture outside of the classes' folders, 2 hidden, 1 other file");
    data_close(d);
    d = opened(SPLIT_TRAIN, 1);
    assert_int_equal(d->count, 2);
    check_plain(d, 0, "B", 1);
    check_plain(d, 1, "b", 3);
    data_close(d);
}

static void test_folders_of_jpeg(void **state)
{
    (void)state;
    uint8_t grey[8 * 8];
    memset(grey, 200, sizeof grey);
    Sample sample = sample_jpeg(8, 8, 1, grey);
    scratch_write("train/a/1.jpg", sample.bytes, sample.count);
    scratch_write("train/a/2.JPEG", sample.bytes, sample.count);
    free(sample.bytes);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->count, 2);
    check_plain(d, 0, "a", 200);
    check_plain(d, 1, "a", 200);
    data_close(d);
}

static void test_test_folders_take_the_training_numbers(void **state)
{
    (void)state;
    write_plain("train/a/x.png", 1, 1, 0);
    write_plain("train/b/x.png", 1, 1, 0);
    write_plain("train/c/x.png", 1, 1, 0);
    write_plain("test/c/y.png", 1, 1, 7);
    write_plain("test/b/y.png", 1, 1, 6);
    Dataset *d = opened(SPLIT_TEST, 1);
    assert_int_equal(d->classes, 3);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->label[0], 1);
    check_plain(d, 0, "b", 6);
    check_plain(d, 1, "c", 7);
    data_close(d);
}

static void test_linked_folders_are_followed(void **state)
{
    (void)state;
    write_plain("elsewhere/x.png", 1, 1, 5);
    write_plain("train/a/x.png", 1, 1, 4);
    char target[1024];
    snprintf(target, sizeof target, "%s", scratch_path("elsewhere"));
    assert_int_equal(symlink(target, scratch_path("train/b")), 0);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->count, 2);
    check_plain(d, 1, "b", 5);
    data_close(d);
}

static void test_wrong_folders_are_refused(void **state)
{
    (void)state;
    write_plain("train/a/x.png", 1, 1, 0);
    refused(SPLIT_TEST, "no folder test/", data_folder());
    write_plain("test/a/x.png", 1, 1, 0);
    write_plain("test/aa/x.png", 1, 1, 0);
    refused(SPLIT_TEST, "lacks", "test/aa");
    scratch_write("train/empty/notes.txt", "", 0);
    refused(SPLIT_TRAIN, "no .jpg, .jpeg or .png files", "train/empty");
}

static void test_train_is_required(void **state)
{
    (void)state;
    write_plain("test/a/x.png", 1, 1, 0);
    refused(SPLIT_TEST, "no folder train/", data_folder());
    refused(SPLIT_TRAIN, "no folder train/", data_folder());
}

static void test_folders_without_classes_are_refused(void **state)
{
    (void)state;
    write_plain("train/x.png", 1, 1, 0);
    refused(SPLIT_TRAIN, "no class folders", "train");
}

static void test_empty_test_split_is_refused(void **state)
{
    (void)state;
    write_plain("train/a/x.png", 1, 1, 0);
    scratch_write("test/a/notes.txt", "", 0);
    refused(SPLIT_TEST, "the test split holds no pictures", data_folder());
}

static void test_unreadable_pictures_are_named(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1, 1, 0);
    scratch_write("train/a/2.png", "", 0);
    scratch_write("train/a/3.png", "\x89PNG\r\n\x1a\n", 8);
    write_plain("train/a/4.png", 1, 1, 0);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(unlink(scratch_path("train/a/4.png")), 0);
    Picture p = {0};
    Fault f;
    assert_true(d->read(d, 0, 3, &p, &f));
    for (uint32_t i = 1; i < 4; i++) {
        char name[] = "train/a/0.png";
        name[8] = (char)('1' + i);
        assert_false(d->read(d, i, 3, &p, &f));
        assert_non_null(strstr(f.text, name));
    }
    assert_true(d->read(d, 0, 3, &p, &f));
    picture_free(&p);
    data_close(d);
}

/* ---- finding ---- */

static void test_nothing_recognised(void **state)
{
    (void)state;
    scratch_write("notes.txt", "", 0);
    refused(SPLIT_TRAIN, "CIFAR-10", data_folder());
    refused(SPLIT_TRAIN, "train/CLASS", data_folder());
    refused(SPLIT_TRAIN, "STL-10", "IDX");
}

static void test_no_such_folder(void **state)
{
    (void)state;
    Fault f;
    assert_null(data_open(scratch_path("missing"), SPLIT_TRAIN, 0, &f));
    assert_non_null(strstr(f.text, "missing: No such file"));
    scratch_write("file", "", 0);
    assert_null(data_open(scratch_path("file"), SPLIT_TRAIN, 0, &f));
    assert_non_null(strstr(f.text, "not a folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_cifar10_batches_in_the_order_of_their_number),
        WITH_FOLDER(test_missing_batches_are_said),
        WITH_FOLDER(test_empty_batches_are_refused),
        WITH_FOLDER(test_cifar_in_one_channel),
        WITH_FOLDER(test_cifar100_has_fine_labels),
        WITH_FOLDER(test_cifar100_has_coarse_labels),
        WITH_FOLDER(test_coarse_labels_of_others_are_refused),
        WITH_FOLDER(test_coarse_labels_are_checked),
        WITH_FOLDER(test_pretraining_takes_the_training_split),
        WITH_FOLDER(test_limit_keeps_the_first_of_each_class),
        WITH_FOLDER(test_damaged_cifar_is_refused),
        WITH_FOLDER(test_cifar_that_shrinks_is_a_fault),
        WITH_FOLDER(test_folders_in_byte_order),
        WITH_FOLDER(test_folders_of_jpeg),
        WITH_FOLDER(test_test_folders_take_the_training_numbers),
        WITH_FOLDER(test_linked_folders_are_followed),
        WITH_FOLDER(test_wrong_folders_are_refused),
        WITH_FOLDER(test_train_is_required),
        WITH_FOLDER(test_folders_without_classes_are_refused),
        WITH_FOLDER(test_empty_test_split_is_refused),
        WITH_FOLDER(test_unreadable_pictures_are_named),
        WITH_FOLDER(test_nothing_recognised),
        WITH_FOLDER(test_no_such_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
