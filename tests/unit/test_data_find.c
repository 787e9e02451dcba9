/* test_data_find.c: folders in which no data set is found, or not the one that is there: the reason is the
 * real one, and says what to do. */
#include "data_sets.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void touch(const char *name)
{
    scratch_write(name, "?", 1);
}

/* A picture in these folders. */
static void write_pictures(const char *const *folder)
{
    Sample sample = sample_plain(2, 2, 1, 2, 3);
    for (; *folder; folder++) {
        char name[128];
        snprintf(name, sizeof name, "%s/1.png", *folder);
        scratch_write(name, sample.bytes, sample.count);
    }
    free(sample.bytes);
}
#define WRITE_PICTURES(...) write_pictures((const char *const[]){__VA_ARGS__, NULL})

static void refused_below(const char *folder, const char *what, const char *todo)
{
    Fault f = {.error = 0};
    assert_null(data_open(scratch_path(folder), SPLIT_TRAIN, 0, &f));
    if (!strstr(f.text, what) || !strstr(f.text, todo))
        fail_msg("the message is: %s", f.text);
}

/* ---- other shapes ---- */

static void test_a_version_for_python(void **state)
{
    (void)state;
    touch("a/cifar-10-batches-py/data_batch_1");
    touch("a/cifar-10-batches-py/batches.meta");
    refused_below("a", "CIFAR-10 in its version for Python", "cifar-10-binary.tar.gz");
    refused_below("a/cifar-10-batches-py", "CIFAR-10 in its version for Python", "cifar-10-binary.tar.gz");
    touch("b/cifar-100-python/train");
    touch("b/cifar-100-python/test");
    touch("b/cifar-100-python/meta");
    refused_below("b", "CIFAR-100 in its version for Python", "cifar-100-binary.tar.gz");
    refused_below("b/cifar-100-python", "CIFAR-100 in its version for Python", "cifar-100-binary.tar.gz");
}

static void test_archives(void **state)
{
    (void)state;
    static const struct {
        const char *name, *todo;
    } archives[] = {{"cifar-10-binary.tar.gz", "unpack it (tar -xf)"},
                    {"pictures.TGZ", "unpack it (tar -xf)"},
                    {"imagenette2.zip", "unpack it (unzip)"},
                    {"pictures.7z", "unpack it and"},
                    {"cifar-10-python.tar.gz", "fetch the binary version"}};
    for (size_t i = 0; i < COUNT(archives); i++) {
        touch(archives[i].name);
        refused(SPLIT_TRAIN, archives[i].name, archives[i].todo);
        refused_below(archives[i].name, archives[i].name, archives[i].todo); /* itself given as the folder */
        assert_int_equal(unlink(scratch_path(archives[i].name)), 0);
    }
}

static void test_packed_files(void **state)
{
    (void)state;
    touch("data_batch_1.bin.gz");
    refused(SPLIT_TRAIN, "but data_batch_1.bin.gz: a file that is packed", "gunzip");
}

static void test_a_file_of_the_set_in_place_of_its_folder(void **state)
{
    (void)state;
    touch("train-images-idx3-ubyte.gz");
    refused_below("train-images-idx3-ubyte.gz", "not a folder; give the folder that it lies in",
                  data_folder());
    touch("b/notes.txt");
    refused_below("b/notes.txt", "not a folder", "the folder that holds the pictures");
}

/* What lies beside the unpacked files does not matter. */
static void test_an_archive_beside_what_it_held(void **state)
{
    (void)state;
    touch("set.tar.gz");
    WRITE_PICTURES("train/a");
    Dataset *d = opened(SPLIT_TRAIN, 0);
    assert_int_equal(d->count, 1);
    data_close(d);
}

static void test_splits_under_other_names(void **state)
{
    (void)state;
    WRITE_PICTURES("a/Train/x", "b/train/x", "b/val/x", "c/train/x", "c/TEST/x", "d/test/x", "d/training/x",
                   "e/val/x");
    refused_below("a", "no folder train/, but Train/", "ln -s 'Train'");
    refused_below("d", "no folder train/, but training/", "ln -s 'training'");
    refused_below("e", "no folder train/, but val/", "ln -s 'val'");
    Fault f;
    assert_null(data_open(scratch_path("b"), SPLIT_TEST, 0, &f));
    assert_non_null(strstr(f.text, "no folder test/, but val/"));
    assert_non_null(strstr(f.text, "/b/test'"));
    assert_null(data_open(scratch_path("c"), SPLIT_TEST, 0, &f));
    assert_non_null(strstr(f.text, "no folder test/, but TEST/"));
    assert_int_equal(symlink("val", scratch_path("b/test")), 0); /* as it says */
    Dataset *d = data_open(scratch_path("b"), SPLIT_TEST, 0, &f);
    assert_non_null(d);
    assert_int_equal(d->count, 1);
    data_close(d);
}

static void test_a_split_in_place_of_the_set(void **state)
{
    (void)state;
    WRITE_PICTURES("set/train/a", "set/test/a");
    refused_below("set/train", "one split of a data set", "the folder above");
    refused_below("set/test/", "one split of a data set", "the folder above");
}

static void test_a_folder_above_the_set(void **state)
{
    (void)state;
    WRITE_PICTURES("a/imagenette2/train/x", "a/other/y");
    touch("b/mnist/MNIST/raw/t10k-images-idx3-ubyte.gz");
    refused_below("a", "lies in a folder below", "/a/imagenette2");
    refused_below("b/mnist", "lies in a folder below", "/b/mnist/MNIST");
}

static void test_files_of_other_programs(void **state)
{
    (void)state;
    touch("a/train.npz");
    touch("a/test.npz");
    refused_below("a", "but test.npz", "not read");
    refused_below("a/train.npz", "not a folder", "not read");
    touch("b/train-00000.parquet");
    refused_below("b", "but train-00000.parquet", "not read");
    touch("c/1.webp");
    touch("c/2.webp");
    touch("c/list.txt");
    refused_below("c", "no pictures found, but 2 .webp, 1 other file", "train/CLASS");
    touch("e/faces.labels.npy");
    touch("e/faces.npy");
    refused_below("e", "but faces.npy;", "give that file itself");
    assert_int_equal(mkdir(scratch_path("d"), 0700), 0);
    refused_below("d", "an empty folder", "train/CLASS");
}

/* ---- what may not be read ---- */

/* Refused while the mode of `name` is 0, naming it. */
static void refused_without(const char *name, mode_t mode, const char *named)
{
    assert_int_equal(chmod(scratch_path(name), mode), 0);
    if (!as_others(true))
        skip();
    Fault f = {.error = 0};
    Dataset *d = data_open(scratch_path("set"), SPLIT_TRAIN, 0, &f);
    assert_true(as_others(false));
    assert_int_equal(chmod(scratch_path(name), 0700), 0);
    assert_null(d);
    if (!strstr(f.text, named) || !strstr(f.text, "Permission denied"))
        fail_msg("the message is: %s", f.text);
}

static void test_folders_that_may_not_be_read(void **state)
{
    (void)state;
    WRITE_PICTURES("set/train/a/deep", "set/train/b");
    refused_without("set", 0, "set: the folder cannot be read");
    refused_without("set", 0100, "set: the folder cannot be read");
    refused_without("set", 0400, "set: the folder cannot be entered");
    refused_without("set/train", 0, "set/train");
    refused_without("set/train/b", 0, "set/train/b");
    refused_without("set/train/a/deep", 0, "set/train/a/deep");
    assert_int_equal(symlink("train/b/1.png", scratch_path("set/linked")), 0);
    Fault f;
    Dataset *d = data_open(scratch_path("set"), SPLIT_TRAIN, 0, &f);
    assert_non_null(d);
    data_close(d);
}

static void test_folders_of_pictures_that_may_not_be_read(void **state)
{
    (void)state;
    WRITE_PICTURES("set/cats");
    refused_without("set/cats", 0, "set: no pictures found, but cats/ cannot be read");
}

static void test_files_that_may_not_be_read(void **state)
{
    (void)state;
    uint8_t record[3074] = {0};
    scratch_write("set/train.bin", record, sizeof record);
    scratch_write("set/fine_label_names.txt", "apple\n", 6);
    refused_without("set/train.bin", 0, "set/train.bin");
    refused_without("set/fine_label_names.txt", 0, "set/fine_label_names.txt");
    assert_int_equal(unlink(scratch_path("set/train.bin")), 0);
    assert_int_equal(mkdir(scratch_path("set/raw"), 0700), 0);
    refused_without("set/raw", 0, "set/raw");
}

static void test_links_that_lead_nowhere(void **state)
{
    (void)state;
    touch("set/x");
    assert_int_equal(symlink("/nowhere/at/all", scratch_path("set/train")), 0);
    refused_below("set", "set/train: a link to nothing", "remove it");
    assert_int_equal(unlink(scratch_path("set/train")), 0);
    assert_int_equal(symlink("data_batch_1.bin", scratch_path("set/data_batch_1.bin")), 0);
    refused_below("set", "data_batch_1.bin: Too many levels of symbolic links", "");
    assert_int_equal(symlink("gone", scratch_path("dir")), 0);
    refused_below("dir", "dir: No such file", "");
}

/* ---- what is no file ---- */

static void test_pipes_in_place_of_files(void **state)
{
    (void)state;
    static const char *const names[] = {"data_batch_1.bin", "train.bin", "train_X.bin",
                                        "train-images-idx3-ubyte.gz"};
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(mkfifo(scratch_path(names[i]), 0600), 0);
        refused(SPLIT_TRAIN, names[i], "a named pipe, not a file");
        assert_int_equal(unlink(scratch_path(names[i])), 0);
    }
    assert_int_equal(mkfifo(scratch_path("train"), 0600), 0);
    refused(SPLIT_TRAIN, "/train: a named pipe, not a folder", "remove it");
    refused_below("train", "a named pipe, not a folder", "give the folder");
    Fault f;
    assert_null(data_open("/dev/null", SPLIT_TRAIN, 0, &f));
    assert_non_null(strstr(f.text, "--data /dev/null: a device, not a folder"));
}

static void test_pipes_in_place_of_names_and_labels(void **state)
{
    (void)state;
    uint8_t record[3074] = {0};
    scratch_write("a/train.bin", record, sizeof record);
    assert_int_equal(mkfifo(scratch_path("a/fine_label_names.txt"), 0600), 0);
    refused_below("a", "fine_label_names.txt: a named pipe, not a file", "remove it");
    scratch_write("b/train-images-idx3-ubyte", (uint8_t[]){0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9},
                  17);
    assert_int_equal(mkfifo(scratch_path("b/train-labels-idx1-ubyte"), 0600), 0);
    refused_below("b", "train-labels-idx1-ubyte: a named pipe, not a file", "remove it");
    static uint8_t picture[96 * 96 * 3];
    scratch_write("c/train_X.bin", picture, sizeof picture);
    assert_int_equal(symlink("/dev/zero", scratch_path("c/train_y.bin")), 0);
    refused_below("c", "train_y.bin: a device, not a file", "remove it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_a_version_for_python),
        WITH_FOLDER(test_archives),
        WITH_FOLDER(test_packed_files),
        WITH_FOLDER(test_a_file_of_the_set_in_place_of_its_folder),
        WITH_FOLDER(test_an_archive_beside_what_it_held),
        WITH_FOLDER(test_splits_under_other_names),
        WITH_FOLDER(test_a_split_in_place_of_the_set),
        WITH_FOLDER(test_a_folder_above_the_set),
        WITH_FOLDER(test_files_of_other_programs),
        WITH_FOLDER(test_folders_that_may_not_be_read),
        WITH_FOLDER(test_folders_of_pictures_that_may_not_be_read),
        WITH_FOLDER(test_files_that_may_not_be_read),
        WITH_FOLDER(test_links_that_lead_nowhere),
        WITH_FOLDER(test_pipes_in_place_of_files),
        WITH_FOLDER(test_pipes_in_place_of_names_and_labels),
    };
    return cmocka_run_group_tests_name("data_find", tests, NULL, NULL);
}
