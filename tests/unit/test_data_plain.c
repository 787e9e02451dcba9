/* test_data_plain.c: pictures without splits: folders of classes, one flat folder, and the test split that is
 * held out of them. */
#include "data_sets.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

enum { CATS = 20, DOGS = 10, OWLS = 1 };

/* A picture whose red says which it is. */
static void write_plain(const char *name, uint8_t red)
{
    Sample sample = sample_plain(2, 3, red, 0, 0);
    scratch_write(name, sample.bytes, sample.count);
    free(sample.bytes);
}

static void write_many(const char *folder, int count, uint8_t first)
{
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/%02d.png", folder, i);
        write_plain(name, (uint8_t)(first + i));
    }
}

static void write_classes(void)
{
    write_many("cats", CATS, 0);
    write_many("dogs/deep/down", DOGS, 100);
    write_many("owls", OWLS, 200);
}

static Dataset *held_out(Split split, double share)
{
    Fault f;
    Dataset *d = data_request(&(DataRequest){.dir = data_folder(), .split = split, .holdout = share}, &f);
    if (!d)
        fail_msg("%s", f.text);
    return d;
}

static uint8_t red_of(const Dataset *d, uint32_t i)
{
    Picture p = picture_of(d, i, 3);
    const uint8_t red = p.pixels[0];
    picture_free(&p);
    return red;
}

static void test_classes_without_a_split(void **state)
{
    (void)state;
    write_classes();
    write_plain("stray.png", 9);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->count, CATS + DOGS + OWLS);
    assert_int_equal(d->classes, 3);
    assert_true(d->undivided);
    assert_string_equal(d->class_name[1], "dogs");
    assert_string_equal(d->remark, "passed over: 1 picture outside of the classes' folders");
    assert_int_equal(red_of(d, 0), 0);
    assert_int_equal(red_of(d, CATS), 100);
    assert_int_equal(d->label[CATS + DOGS], 2);
    data_close(d);
    refused(SPLIT_TEST, "no test split", "--holdout 0.1");
}

/* `train --out` beside the classes leaves a folder there that is none. */
static void test_a_run_is_no_class(void **state)
{
    (void)state;
    write_classes();
    scratch_write("night/metrics.jsonl", "{}\n", 3);
    scratch_write("run/last.safetensors", "", 0);
    scratch_write("run/report.html", "", 0);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->count, CATS + DOGS + OWLS);
    assert_int_equal(d->classes, 3);
    assert_string_equal(d->remark, "passed over: 2 folders beside the pictures");
    data_close(d);
}

/* A share of none would be noticed when it is too late. */
static void test_a_share_of_nothing_is_refused(void **state)
{
    (void)state;
    Fault f;
    write_classes();
    const Split both[] = {SPLIT_TRAIN, SPLIT_TEST};
    for (size_t i = 0; i < COUNT(both); i++) {
        assert_null(
            data_request(&(DataRequest){.dir = data_folder(), .split = both[i], .holdout = 0.001}, &f));
        assert_non_null(strstr(f.text, "--holdout 0.001: "));
        assert_non_null(strstr(f.text, "none of 31 pictures is held out"));
    }
}

/* What training leaves is what the test split has, without a second index. */
static void test_what_is_held_out_can_be_borrowed(void **state)
{
    (void)state;
    Fault f;
    write_classes();
    Dataset *train = held_out(SPLIT_TRAIN, 0.25), *test = held_out(SPLIT_TEST, 0.25);
    Dataset *borrowed = holdout_borrow(train, &f);
    assert_non_null(borrowed);
    assert_int_equal(borrowed->count, test->count);
    assert_memory_equal(borrowed->label, test->label, test->count * sizeof *test->label);
    for (uint32_t i = 0; i < test->count; i++)
        assert_int_equal(red_of(borrowed, i), red_of(test, i));
    data_close(borrowed);
    data_close(train);
    data_close(test);
    Dataset *all = opened(SPLIT_TRAIN, 0);
    borrowed = holdout_borrow(all, &f);
    assert_int_equal(borrowed->count, all->count);
    data_close(borrowed);
    data_close(all);
}

/* Every picture is in one of the splits; each class gives its share, and none all it has. */
static void test_a_share_of_each_class_is_held_out(void **state)
{
    (void)state;
    write_classes();
    Dataset *train = held_out(SPLIT_TRAIN, 0.2), *test = held_out(SPLIT_TEST, 0.2);
    assert_int_equal(test->count, 4 + 2);
    assert_int_equal(train->count, CATS + DOGS + OWLS - test->count);
    assert_int_equal(test->classes, 3);
    int seen[256] = {0}, cats = 0;
    for (uint32_t i = 0; i < train->count; i++)
        seen[red_of(train, i)]++;
    for (uint32_t i = 0; i < test->count; i++) {
        seen[red_of(test, i)]++;
        cats += test->label[i] == 0;
        assert_true(i == 0 || test->index[i] > test->index[i - 1]);
    }
    assert_int_equal(cats, 4);
    for (int i = 0; i < CATS; i++)
        assert_int_equal(seen[i], 1);
    uint64_t a, b;
    Fault f;
    assert_true(data_fingerprint(train, &a, &f));
    data_close(train);
    train = held_out(SPLIT_TRAIN, 0.3);
    assert_true(data_fingerprint(train, &b, &f));
    assert_true(a != b);
    data_close(train);
    data_close(test);
}

/* The limit is of the pictures that are left for training. */
static void test_the_limit_comes_after_the_holdout(void **state)
{
    (void)state;
    write_classes();
    Fault f;
    Dataset *all = held_out(SPLIT_TRAIN, 0.5);
    Dataset *d = data_request(
        &(DataRequest){.dir = data_folder(), .split = SPLIT_TRAIN, .holdout = 0.5, .limit = 3}, &f);
    assert_non_null(d);
    assert_int_equal(d->count, 3 + 3 + 1);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(d->index[i], all->index[i]);
    data_close(d);
    data_close(all);
}

/* Names decide, not places: another picture moves at most one other. */
static void test_pictures_that_are_added_move_few(void **state)
{
    (void)state;
    write_classes();
    bool held[CATS] = {false};
    int moved = 0;
    Dataset *d = held_out(SPLIT_TEST, 0.2);
    for (uint32_t i = 0; i < 4; i++)
        held[red_of(d, i)] = true;
    data_close(d);
    write_plain("cats/00-new.png", 99);
    d = held_out(SPLIT_TEST, 0.2);
    for (uint32_t i = 0; i < d->count && d->label[i] == 0; i++)
        moved += red_of(d, i) != 99 && !held[red_of(d, i)];
    data_close(d);
    assert_in_range(moved, 0, 1);
}

static void test_training_without_a_test_folder(void **state)
{
    (void)state;
    write_many("train/a", 10, 0);
    refused(SPLIT_TEST, "no folder test/ beside train/", "--holdout 0.1");
    Fault f;
    Dataset *all = data_request(&(DataRequest){.dir = data_folder(), .split = SPLIT_TEST, .whole = true}, &f);
    assert_non_null(all); /* as `encode` asks without --split */
    assert_int_equal(all->count, 10);
    data_close(all);
    Dataset *d = held_out(SPLIT_TEST, 0.1);
    assert_int_equal(d->count, 1);
    data_close(d);
}

static void test_a_test_split_needs_no_holdout(void **state)
{
    (void)state;
    write_many("train/a", 2, 0);
    write_many("test/a", 2, 0);
    Fault f;
    assert_null(data_request(&(DataRequest){.dir = data_folder(), .split = SPLIT_TRAIN, .holdout = 0.5}, &f));
    assert_non_null(strstr(
        f.text, "there is a test split, or a place for one (folders of pictures); leave --holdout out"));
    assert_null(data_request(&(DataRequest){.split = SPLIT_TRAIN, .holdout = 0.5}, &f));
    assert_non_null(strstr(f.text, "built-in pictures"));
}

/* In the order of their names; folders beside them are passed over. */
static void test_a_flat_folder(void **state)
{
    (void)state;
    write_plain("b.png", 2);
    write_plain("a.JPG", 1); /* by what it holds */
    write_plain("c.png", 3);
    scratch_write("notes.txt", "x", 1);
    assert_int_equal(mkdir(scratch_path("empty"), 0700), 0);
    Dataset *d = opened(SPLIT_PRETRAIN, 0);
    assert_int_equal(d->count, 3);
    assert_true(d->unlabelled && d->undivided);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(red_of(d, i), i + 1);
    assert_string_equal(d->remark, "passed over: 1 folder beside the pictures, 1 other file");
    char text[DATA_TEXT];
    data_describe(d, text, sizeof text);
    assert_non_null(strstr(text, "3 images of any size without labels"));
    data_close(d);
    refused(SPLIT_TEST, "no test split", "--holdout");
    Fault f;
    d = data_request(&(DataRequest){.dir = data_folder(), .split = SPLIT_TEST, .whole = true}, &f);
    assert_non_null(d);
    assert_int_equal(d->count, 3);
    data_close(d);
}

static void test_a_broken_picture_of_a_flat_folder_is_named(void **state)
{
    (void)state;
    scratch_write("a.png", "no picture", 10);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    Picture p = {0};
    Fault f;
    assert_false(d->read(d, 0, 3, &p, &f));
    assert_non_null(strstr(f.text, scratch_path("a.png")));
    assert_non_null(strstr(f.text, "neither a JPEG nor a PNG"));
    picture_free(&p);
    data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_classes_without_a_split),
        WITH_FOLDER(test_what_is_held_out_can_be_borrowed),
        WITH_FOLDER(test_a_share_of_each_class_is_held_out),
        WITH_FOLDER(test_a_run_is_no_class),
        WITH_FOLDER(test_a_share_of_nothing_is_refused),
        WITH_FOLDER(test_the_limit_comes_after_the_holdout),
        WITH_FOLDER(test_pictures_that_are_added_move_few),
        WITH_FOLDER(test_training_without_a_test_folder),
        WITH_FOLDER(test_a_test_split_needs_no_holdout),
        WITH_FOLDER(test_a_flat_folder),
        WITH_FOLDER(test_a_broken_picture_of_a_flat_folder_is_named),
    };
    return cmocka_run_group_tests_name("data_plain", tests, NULL, NULL);
}
