/* test_data_pairs.c: NAME.1.EXT and NAME.2.EXT as two real views of one image: when they are taken for such,
 * what each view is made of, and what else a data set is asked for. */
#include "data_sets.h"
#include "samples.h"
#include "views.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A picture whose red says which it is. */
static void write_plain(const char *name, uint8_t red)
{
    Sample sample = sample_plain(8, 8, red, 0, 0);
    scratch_write(name, sample.bytes, sample.count);
    free(sample.bytes);
}

/* cat.10.1 lies between cat.1.1 and cat.1.2 in byte order. */
static void write_pairs(const char *folder)
{
    static const char *const names[] = {"cat.1", "cat.10", "cat"};
    for (int i = 0; i < 3; i++)
        for (int view = 1; view <= 2; view++) {
            char name[128];
            snprintf(name, sizeof name, "%s%s.%d.png", folder, names[i], view);
            write_plain(name, (uint8_t)(10 * (i + 1) + view));
        }
}

/* Red of one view, without augmentation. */
static int red_of(const Dataset *d, uint32_t image, int view)
{
    Fault f;
    const AmdimModel m = plain_model(8, 3);
    float out[8 * 8 * 3], *to = out;
    if (!augment_read(&m, workspace_for(&m), d, &(ViewAddress){.image = image, .first = view}, 1, &to, &f))
        fail_msg("%s", f.text);
    return (int)lround(255 * out[0]);
}

static void test_a_flat_folder_of_pairs(void **state)
{
    (void)state;
    write_pairs("");
    Dataset *d = opened(SPLIT_PRETRAIN, 0);
    assert_int_equal(d->count, 3);
    assert_true(d->unlabelled);
    assert_string_equal(d->format, "flat folder of pairs of pictures");
    assert_null(d->remark);
    /* cat.1.1, cat.1.2, cat.1, cat.10.1, cat.10.2, cat.2 is the order of bytes */
    assert_int_equal(red_of(d, 0, 0), 11);
    assert_int_equal(red_of(d, 0, 1), 12);
    assert_int_equal(red_of(d, 1, 0), 31);
    assert_int_equal(red_of(d, 1, 1), 32);
    assert_int_equal(red_of(d, 2, 0), 21);
    assert_int_equal(red_of(d, 2, 1), 22);
    data_close(d);
}

static void test_both_views_are_made_at_once(void **state)
{
    (void)state;
    Fault f;
    write_pairs("");
    const AmdimModel m = plain_model(8, 3);
    float first[8 * 8 * 3], second[8 * 8 * 3];
    Dataset *d = opened(SPLIT_PRETRAIN, 0);
    assert_true(augment_read(&m, workspace_for(&m), d, &(ViewAddress){.image = 0}, 2,
                             (float *const[]){first, second}, &f));
    assert_int_equal(lround(255 * first[0]), 11);
    assert_int_equal(lround(255 * second[0]), 12);
    assert_true(augment_read_none(&m, workspace_for(&m), d, 0, first, &f)); /* testing has the first */
    assert_int_equal(lround(255 * first[0]), 11);
    data_close(d);
}

/* One flip for both, and else each view's own chances: those that it has of a picture that both are of. */
static void test_each_view_is_augmented_by_itself(void **state)
{
    (void)state;
    Fault f;
    AmdimModel m = plain_model(8, 3);
    m.augment = (AmdimAugment){.flip = 0.5, .has_jitter = true, .brightness = 0.9, .jitter_p = 1};
    write_plain("a.1.png", 100);
    write_plain("a.2.png", 100);
    Dataset *pairs = opened(SPLIT_PRETRAIN, 0);
    float of_pair[2][8 * 8 * 3], of_one[2][8 * 8 * 3];
    const ViewAddress at = {.seed = 5, .epoch = 2};
    assert_true(
        augment_read(&m, workspace_for(&m), pairs, &at, 2, (float *const[]){of_pair[0], of_pair[1]}, &f));
    pairs->read_second = NULL;
    assert_true(
        augment_read(&m, workspace_for(&m), pairs, &at, 2, (float *const[]){of_one[0], of_one[1]}, &f));
    assert_memory_equal(of_pair, of_one, sizeof of_one);
    assert_true(of_pair[0][0] != of_pair[1][0]);
    data_close(pairs);
}

static void test_classes_of_pairs(void **state)
{
    (void)state;
    Fault f;
    write_pairs("train/dogs/deep/");
    write_plain("train/cats/x.1.jpg.2.png", 2); /* the last number counts */
    write_plain("train/cats/x.1.jpg.1.png", 1);
    write_pairs("test/dogs/");
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->count, 4);
    assert_int_equal(d->classes, 2);
    assert_int_equal(d->label[0], 0);
    assert_int_equal(d->label[1], 1);
    assert_int_equal(red_of(d, 0, 1), 2);
    assert_int_equal(red_of(d, 1, 1), 12);
    data_close(d);
    d = opened(SPLIT_TRAIN, 1); /* images, not pictures */
    assert_int_equal(d->count, 2);
    data_close(d);
    d = opened(SPLIT_TEST, 0);
    assert_int_equal(d->count, 3);
    uint64_t before, after;
    assert_true(data_fingerprint(d, &before, &f));
    d->read_second = NULL;
    assert_true(data_fingerprint(d, &after, &f));
    assert_true(before != after);
    data_close(d);
}

static void test_one_without_another_leaves_all_alone(void **state)
{
    (void)state;
    write_pairs("");
    write_plain("odd.1.png", 99);
    Dataset *d = opened(SPLIT_PRETRAIN, 0);
    assert_int_equal(d->count, 7);
    assert_null(d->read_second);
    assert_string_equal(d->remark,
                        "3 pictures have a second view beside them, but odd.1.png has none: each is by "
                        "itself");
    data_close(d);
}

static void expect_no_pairs(uint32_t count)
{
    Dataset *d = opened(SPLIT_PRETRAIN, 0);
    assert_int_equal(d->count, count);
    assert_null(d->read_second);
    assert_null(d->remark);
    data_close(d);
}

/* Another ending, another folder, other numbers, no name. */
static void test_names_that_are_none_of_a_pair(void **state)
{
    (void)state;
    write_plain("all/a.1.png", 1);
    write_plain("all/below/a.2.png", 2);
    write_plain("all/b.1.png", 1);
    write_plain("all/b.2.PNG", 2);
    write_plain("all/c.2.png", 2);
    write_plain("all/c.3.png", 3);
    write_plain("all/1.png", 1);
    write_plain("all/2.png", 1);
    expect_no_pairs(8);
}

static void test_a_second_that_is_damaged_is_named(void **state)
{
    (void)state;
    Fault f;
    write_plain("a.1.png", 1);
    scratch_write("a.2.png", "no picture", 10);
    Dataset *d = opened(SPLIT_PRETRAIN, 0);
    assert_int_equal(d->count, 1);
    const AmdimModel m = plain_model(8, 3);
    float out[2][8 * 8 * 3];
    assert_false(augment_read(&m, workspace_for(&m), d, &(ViewAddress){.image = 0}, 2,
                              (float *const[]){out[0], out[1]}, &f));
    assert_non_null(strstr(f.text, "a.2.png"));
    data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_a_flat_folder_of_pairs),
        WITH_FOLDER(test_both_views_are_made_at_once),
        WITH_FOLDER(test_each_view_is_augmented_by_itself),
        WITH_FOLDER(test_classes_of_pairs),
        WITH_FOLDER(test_one_without_another_leaves_all_alone),
        WITH_FOLDER(test_names_that_are_none_of_a_pair),
        WITH_FOLDER(test_a_second_that_is_damaged_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, free_workspace);
}
