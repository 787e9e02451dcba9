/* test_fingerprint.c: the same data have the same fingerprint wherever they lie; other data have another. */
#include "data_sets.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

/* Of a folder below the test's own, "" for that itself; NULL for the built-in pictures. */
static uint64_t fingerprint_of(const char *folder, Split split, uint32_t limit)
{
    Fault f;
    uint64_t digest = 0;
    Dataset *d = data_open(folder ? scratch_path(folder) : NULL, split, limit, &f);
    if (!d || !data_fingerprint(d, &digest, &f))
        fail_msg("%s", f.text);
    data_close(d);
    return digest;
}

static uint64_t trained(const char *folder)
{
    return fingerprint_of(folder, SPLIT_PRETRAIN, 0);
}

static void test_built_in_pictures(void **state)
{
    (void)state;
    assert_true(trained(NULL) == fingerprint_of(NULL, SPLIT_TRAIN, 0));
    assert_true(trained(NULL) != fingerprint_of(NULL, SPLIT_TEST, 0));
    assert_true(trained(NULL) != fingerprint_of(NULL, SPLIT_TRAIN, 10));
}

/* ---- records ---- */

enum { RECORD = 1 + 3 * 32 * 32, RECORDS = 6 };

static void write_cifar(const char *name, uint8_t *records, uint32_t from, uint32_t until)
{
    scratch_write(name, records + (size_t)from * RECORD, (size_t)(until - from) * RECORD);
}

static void fill_records(uint8_t *records)
{
    for (size_t i = 0; i < RECORDS * RECORD; i++)
        records[i] = (uint8_t)(i * i >> 5);
    for (size_t i = 0; i < RECORDS; i++)
        records[i * RECORD] = (uint8_t)(i % 2);
}

static void test_records(void **state)
{
    (void)state;
    uint8_t records[RECORDS * RECORD];
    fill_records(records);
    for (int batch = 0; batch < 5; batch++) {
        char name[64];
        snprintf(name, sizeof name, "a/cifar/data_batch_%d.bin", batch + 1);
        write_cifar(name, records, (uint32_t)batch, (uint32_t)batch + 1);
        snprintf(name, sizeof name, "b/elsewhere/data_batch_%d.bin", batch + 1);
        write_cifar(name, records, (uint32_t)batch, (uint32_t)batch + 1);
    }
    const uint64_t before = trained("a/cifar");
    assert_true(before == trained("b/elsewhere"));
    records[3 * RECORD + 77] ^= 1; /* a pixel */
    write_cifar("a/cifar/data_batch_4.bin", records, 3, 4);
    assert_true(before != trained("a/cifar"));
    records[3 * RECORD + 77] ^= 1;
    records[3 * RECORD] = 5; /* a label */
    write_cifar("a/cifar/data_batch_4.bin", records, 3, 4);
    assert_true(before != trained("a/cifar"));
    records[3 * RECORD] = 1;
    write_cifar("a/cifar/data_batch_4.bin", records, 3, 4);
    assert_true(before == trained("a/cifar"));
    write_cifar("a/cifar/data_batch_5.bin", records, 4, 6);
    assert_true(before != trained("a/cifar"));
}

static void test_limit_decides_what_counts(void **state)
{
    (void)state;
    uint8_t records[RECORDS * RECORD];
    fill_records(records);
    for (int batch = 0; batch < 5; batch++) {
        char name[64];
        snprintf(name, sizeof name, "data_batch_%d.bin", batch + 1);
        write_cifar(name, records, (uint32_t)batch, (uint32_t)batch + 1);
    }
    const uint64_t all = fingerprint_of("", SPLIT_TRAIN, 0), two = fingerprint_of("", SPLIT_TRAIN, 2);
    assert_true(all != two);
    records[4 * RECORD + 9] ^= 1; /* the third of its class */
    write_cifar("data_batch_5.bin", records, 4, 5);
    assert_true(all != fingerprint_of("", SPLIT_TRAIN, 0));
    assert_true(two == fingerprint_of("", SPLIT_TRAIN, 2));
}

/* ---- IDX ---- */

static void write_packed(const char *name, const void *bytes, size_t count)
{
    scratch_write(name, "", 0);
    gzFile packed = gzopen(scratch_path(name), "wb");
    assert_non_null(packed);
    assert_int_equal(gzwrite(packed, bytes, (unsigned)count), count);
    assert_int_equal(gzclose(packed), Z_OK);
}

static void test_packing_does_not_count(void **state)
{
    (void)state;
    const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20, 30, 40};
    const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};
    scratch_write("a/train-images-idx3-ubyte", images, sizeof images);
    scratch_write("a/train-labels-idx1-ubyte", labels, sizeof labels);
    write_packed("b/train-images.idx3-ubyte.gz", images, sizeof images);
    write_packed("b/train-labels.idx1-ubyte.gz", labels, sizeof labels);
    assert_true(trained("a") == trained("b"));
    write_packed("b/train-images.idx3-ubyte.gz",
                 (uint8_t[sizeof images]){0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1}, sizeof images);
    assert_true(trained("a") != trained("b"));
}

/* ---- folders ---- */

static void write_picture(const char *name, int side)
{
    Sample sample = sample_plain(side, side, 9, 9, 9);
    scratch_write(name, sample.bytes, sample.count);
    free(sample.bytes);
}

static void test_folders(void **state)
{
    (void)state;
    for (int place = 0; place < 2; place++)
        for (int number = 0; number < 200; number++) {
            char name[64];
            snprintf(name, sizeof name, "%s/train/%c/%03d.png", place ? "b/below" : "a", "xy"[number % 2],
                     number);
            write_picture(name, 3);
        }
    const uint64_t before = trained("a"), one = fingerprint_of("a", SPLIT_TRAIN, 1);
    assert_true(before == trained("b/below"));
    write_picture("a/train/x/000.png", 300); /* the first is one of those whose size is asked for */
    assert_true(before != trained("a"));
    write_picture("a/train/x/000.png", 3);
    assert_true(before == trained("a"));
    char from[1024];
    snprintf(from, sizeof from, "%s", scratch_path("a/train/x/100.png"));
    assert_int_equal(rename(from, scratch_path("a/train/x/100.PNG")), 0);
    assert_true(before != trained("a"));
    assert_true(one == fingerprint_of("a", SPLIT_TRAIN, 1));
    snprintf(from, sizeof from, "%s", scratch_path("b/below/train/x"));
    assert_int_equal(rename(from, scratch_path("b/below/train/xx")), 0);
    assert_true(before != trained("b/below"));
}

static void test_a_lost_file_is_named(void **state)
{
    (void)state;
    write_picture("train/x/1.png", 3);
    Fault f;
    uint64_t digest;
    Dataset *d = data_open(scratch_path(""), SPLIT_TRAIN, 0, &f);
    assert_non_null(d);
    assert_int_equal(unlink(scratch_path("train/x/1.png")), 0);
    assert_false(data_fingerprint(d, &digest, &f));
    assert_non_null(strstr(f.text, "train/x/1.png: No such file"));
    data_close(d);
}

static void test_samples_reach_from_the_first_to_the_last(void **state)
{
    (void)state;
    for (uint32_t count = 1; count < 1000; count += 7) {
        const Dataset d = {.count = count};
        const uint32_t samples = fingerprint_samples(&d);
        assert_true(samples == (count < FINGERPRINT_SAMPLES ? count : FINGERPRINT_SAMPLES));
        assert_true(fingerprint_sample(&d, 0) == 0);
        assert_true(fingerprint_sample(&d, samples - 1) == count - 1);
        for (uint32_t nth = 1; nth < samples; nth++)
            assert_true(fingerprint_sample(&d, nth) > fingerprint_sample(&d, nth - 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_in_pictures),
        WITH_FOLDER(test_records),
        WITH_FOLDER(test_limit_decides_what_counts),
        WITH_FOLDER(test_packing_does_not_count),
        WITH_FOLDER(test_folders),
        WITH_FOLDER(test_a_lost_file_is_named),
        cmocka_unit_test(test_samples_reach_from_the_first_to_the_last),
    };
    return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}
