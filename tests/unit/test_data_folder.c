/* test_data_folder.c: which pictures of a class are found, in which order, how little of that is held, and
 * what is said of what is passed over. */
#include "data_sets.h"
#include "samples.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- writing ---- */

/* A picture whose red says which it is. */
static void write_plain(const char *name, uint8_t red)
{
    Sample sample = sample_plain(2, 3, red, 0, 0);
    scratch_write(name, sample.bytes, sample.count);
    free(sample.bytes);
}

static void link_to(const char *target, const char *name)
{
    assert_int_equal(symlink(target, scratch_path(name)), 0);
}

static void check_order(const Dataset *d, const uint8_t *reds, uint32_t count)
{
    assert_int_equal(d->count, count);
    for (uint32_t i = 0; i < count; i++) {
        Picture p = picture_of(d, i, 3);
        assert_int_equal(p.pixels[0], reds[i]);
        picture_free(&p);
    }
}

static void check_remark(Split split, const char *remark)
{
    Dataset *d = opened(split, 0);
    if (!d->remark || strcmp(d->remark, remark) != 0)
        fail_msg("the remark is: %s", d->remark ? d->remark : "(none)");
    data_close(d);
}

/* ---- folders below a class's ---- */

/* What torchvision's ImageFolder has: a class's folders by their paths, in each the files by name. */
static void test_folders_below_in_the_order_of_their_paths(void **state)
{
    (void)state;
    write_plain("train/a/z.png", 1);
    write_plain("train/a/d/2.png", 2);
    write_plain("train/a/d/9.png", 3);
    write_plain("train/a/d-e/0.png", 4); /* '-' comes before '/' */
    write_plain("train/a/d/e/1.png", 5);
    write_plain("train/a/d0/1.png", 6); /* '0' after it */
    write_plain("train/a/empty/below/x.png/4.png", 7);
    write_plain("train/b/c/0.png", 8);
    scratch_write("train/b/nothing/notes.txt", "", 0);
    write_plain("test/b/deep/deeper/1.png", 9);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    check_order(d, (uint8_t[]){1, 2, 3, 4, 5, 6, 7, 8}, 8);
    assert_int_equal(d->label[6], 0);
    assert_int_equal(d->label[7], 1);
    data_close(d);
    d = opened(SPLIT_TRAIN, 2);
    check_order(d, (uint8_t[]){1, 2, 8}, 3);
    data_close(d);
    d = opened(SPLIT_TEST, 0);
    check_order(d, (uint8_t[]){9}, 1);
    assert_int_equal(d->label[0], 1);
    data_close(d);
}

static void test_a_class_with_pictures_only_below(void **state)
{
    (void)state;
    write_plain("train/a/below/1.png", 1);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    check_order(d, (uint8_t[]){1}, 1);
    assert_string_equal(listing_folder(d->own, 0), "a/below");
    data_close(d);
}

static void test_links_to_folders_are_followed(void **state)
{
    (void)state;
    write_plain("elsewhere/inner/1.png", 1);
    write_plain("train/a/0.png", 0);
    link_to("../../elsewhere", "train/a/linked");
    link_to("0.png", "train/a/again.png");
    Dataset *d = opened(SPLIT_TRAIN, 0);
    check_order(d, (uint8_t[]){0, 0, 1}, 3);
    assert_null(d->remark);
    data_close(d);
}

/* Links to the folder itself, its class's, the split's, the data set's and the one above that. */
static void test_loops_of_links_end(void **state)
{
    (void)state;
    write_plain("set/train/a/below/1.png", 1);
    write_plain("set/train/b/2.png", 2);
    link_to(".", "set/train/a/below/self");
    link_to("..", "set/train/a/below/class");
    link_to("../..", "set/train/a/below/split");
    link_to("../../..", "set/train/a/below/set");
    link_to("../../../..", "set/train/a/below/above");
    Fault f;
    Dataset *d = data_open(scratch_path("set"), SPLIT_TRAIN, 0, &f);
    assert_non_null(d);
    check_order(d, (uint8_t[]){1, 2}, 2);
    assert_string_equal(d->remark, "passed over: 5 links back to folders above");
    data_close(d);
}

/* Forty links back, walked eight deep, would be 6e12 folders. */
static void test_loops_of_links_without_a_picture_end(void **state)
{
    (void)state;
    Fault f;
    scratch_write("set/class/notes.txt", "", 0);
    for (int i = 0; i < 40; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/class/link-%d", i);
        link_to(".", name);
    }
    alarm(20);
    assert_null(data_open(scratch_path("set"), SPLIT_TRAIN, 0, &f));
    alarm(0);
}

/* Each class leads to the other: what is met on the way is taken, once. */
static void test_classes_that_lead_to_one_another(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1);
    write_plain("train/b/2.png", 2);
    link_to("../b", "train/a/b");
    link_to("../a", "train/b/a");
    Dataset *d = opened(SPLIT_TRAIN, 0);
    check_order(d, (uint8_t[]){1, 2, 2, 1}, 4);
    assert_string_equal(d->remark, "passed over: 2 links back to folders above");
    data_close(d);
}

/* ---- what is passed over ---- */

static void test_what_is_passed_over_is_said(void **state)
{
    (void)state;
    static const char *const names[] = {"a/1.webp",      "a/2.WebP",    "a/d/3.webp", "b/1.bmp",  "b/2.bmp",
                                        "b/x.tif",       "b/x.TIFF",    "b/x.ppm",    "b/x.pgm",  "a/x.gif",
                                        "a/1.txt",       "b/Thumbs.db", "b/labels",   "notes.md", "list.jpg",
                                        ".hidden/x.jpg", "a/.x.jpg",    "a/.DS_Store"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char name[64];
        snprintf(name, sizeof name, "train/%s", names[i]);
        scratch_write(name, "?", 1);
    }
    write_plain("train/a/1.png", 1);
    write_plain("train/b/1.png", 1);
    write_plain("test/b/1.png", 1);
    scratch_write("test/b/1.webp", "?", 1);
    check_remark(SPLIT_TRAIN, "passed over: 3 .webp, 2 .bmp, 1 .tif, 1 .tiff, 1 .ppm, 1 .pgm, 1 .gif, "
                              "1 picture outside of the classes' folders, 2 hidden, 4 other files");
    check_remark(SPLIT_TEST, "passed over: 1 .webp");
    Dataset *d = opened(SPLIT_TEST, 0);
    char text[256];
    data_describe(d, text, sizeof text);
    assert_string_equal(text, "folders of pictures, 1 images of any size in 2 classes; passed over: 1 .webp");
    data_close(d);
}

static void test_a_third_split_is_passed_over(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1);
    write_plain("test/a/1.png", 1);
    write_plain("val/a/1.png", 1);
    check_remark(SPLIT_TRAIN, "passed over: val/");
    scratch_write("test/a/1.bmp", "?", 1);
    check_remark(SPLIT_TEST, "passed over: val/, 1 .bmp");
}

static void test_a_class_without_pictures_says_what_it_holds(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1);
    scratch_write("train/b/1.webp", "?", 1);
    scratch_write("train/b/d/2.webp", "?", 1);
    refused(SPLIT_TRAIN, "train/b: no .jpg, .jpeg or .png files, but 2 .webp", "remove the folder");
}

static void test_an_empty_split_says_what_it_holds(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1);
    scratch_write("test/a/1.webp", "?", 1);
    refused(SPLIT_TEST, "the test split holds no pictures (passed over: 1 .webp)", data_folder());
}

static void test_a_split_smaller_than_a_batch_says_what_it_holds(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1);
    scratch_write("train/a/2.webp", "?", 1);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    Fault f = {.error = 0};
    assert_null(loader_new(&(AmdimModel){.batch = 2}, NULL, d, 0, 0, 1, &f));
    assert_non_null(strstr(f.text, "1 pictures (passed over: 1 .webp), fewer than a batch of 2"));
    data_close(d);
}

static void test_pictures_without_classes_are_counted(void **state)
{
    (void)state;
    write_plain("train/1.png", 1);
    write_plain("train/2.png", 1);
    refused(SPLIT_TRAIN, "train: no class folders, but 2 pictures directly in it", "a folder for each class");
}

/* ---- what is no file ---- */

static void make_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(descriptor >= 0);
    /* the name may be too long for an address: it is made in short and moved */
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(scratch_path("")), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "socket");
    assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(rename("socket", scratch_path(name)), 0);
    assert_int_equal(chdir(here), 0);
    close(descriptor);
}

static void test_pipes_and_the_like_are_no_pictures(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1);
    assert_int_equal(mkfifo(scratch_path("train/a/pipe.jpg"), 0600), 0);
    refused(SPLIT_TRAIN, "train/a/pipe.jpg: a named pipe, not a picture", "remove it");
    assert_int_equal(unlink(scratch_path("train/a/pipe.jpg")), 0);
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    link_to("../../pipe", "train/a/2.png");
    refused(SPLIT_TRAIN, "train/a/2.png: a named pipe", "remove it");
    assert_int_equal(unlink(scratch_path("train/a/2.png")), 0);
    make_socket("train/a/3.png");
    refused(SPLIT_TRAIN, "train/a/3.png: a socket", "remove it");
    assert_int_equal(unlink(scratch_path("train/a/3.png")), 0);
    link_to("/dev/zero", "train/a/4.png");
    refused(SPLIT_TRAIN, "train/a/4.png: a device", "remove it");
    assert_int_equal(unlink(scratch_path("train/a/4.png")), 0);
    assert_int_equal(mkfifo(scratch_path("train/a/pipe"), 0600), 0); /* which nobody opens */
    check_remark(SPLIT_TRAIN, "passed over: 1 other file");
}

static void test_links_to_nothing(void **state)
{
    (void)state;
    write_plain("train/a/1.png", 1);
    link_to("gone", "train/a/folder");
    link_to("ring", "train/a/ring");
    check_remark(SPLIT_TRAIN, "passed over: 2 links to nothing");
    link_to("gone.png", "train/a/2.png");
    refused(SPLIT_TRAIN, "train/a/2.png: a link to nothing", "remove it");
    assert_int_equal(unlink(scratch_path("train/a/2.png")), 0);
    link_to("gone", "train/b");
    refused(SPLIT_TRAIN, "train/b: a link to nothing", "remove it");
    assert_int_equal(unlink(scratch_path("train/b")), 0);
    link_to("b", "train/b");
    refused(SPLIT_TRAIN, "train/b: Too many levels of symbolic links", data_folder());
}

static void count_told(void *told, const Fault *f)
{
    (void)f;
    ++*(int *)told;
}

/* Whoever wants to know of all that is wrong is told of folders, and meets files as he reads. */
static void test_whoever_wants_to_know_gets_the_rest(void **state)
{
    int told = 0;
    (void)state;
    write_plain("train/a/1.png", 1);
    link_to("gone.png", "train/a/2.png");
    link_to("/dev/null", "train/a/3.png");
    scratch_write("train/b/notes", "x", 1);
    Fault f;
    Dataset *d = data_request(&(DataRequest){.dir = data_folder(), .tell = count_told, .teller = &told}, &f);
    assert_non_null(d);
    assert_int_equal(told, 1);
    assert_int_equal(d->count, 3);
    Picture p = {0};
    for (uint32_t i = 1; i < 3; i++) {
        assert_false(d->read(d, i, 3, &p, &f));
        assert_non_null(strstr(f.text, i == 1 ? "2.png" : "3.png"));
    }
    picture_free(&p);
    data_close(d);
}

/* ---- names in little memory ---- */

static void test_names_are_packed_and_unpacked(void **state)
{
    (void)state;
    enum { FOLDERS = 3, NAMES = 50 };
    Listing l;
    Fault f;
    char name[NAME_MAX + 1], expected[NAME_MAX + 1];
    assert_true(listing_begin(&l, "root", &(DataRequest){.dir = NULL}, &f));
    for (int p = FOLDERS - 1; p >= 0; p--) { /* neither folders nor names come in order */
        snprintf(name, sizeof name, "folder-%d", p);
        assert_true(listing_add_place(&l, -1, name, &f));
        for (int i = 0; i < NAMES; i++) {
            int number = i * 7 % NAMES;
            memset(name, 'x', NAME_MAX); /* of any length, the longest possible too */
            snprintf(name + NAME_MAX - 4 - number * 4, 5, "%d%03d", p, number);
            assert_true(listing_add_name(&l, number % 2 ? name : name + NAME_MAX - 4 - number * 4, &f));
        }
        assert_true(listing_add_name(&l, "\377\376", &f));
        assert_true(listing_end_place(&l, l.places - 1, &f));
    }
    assert_true(listing_add_place(&l, 0, "empty", &f));
    assert_true(listing_end_place(&l, l.places - 1, &f));
    listing_order(&l, 0);
    assert_int_equal(l.places, FOLDERS);
    assert_int_equal(l.count, FOLDERS * (NAMES + 1));
    for (uint32_t i = 0; i < l.count; i++) {
        const uint32_t p = i / (NAMES + 1);
        snprintf(expected, sizeof expected, "folder-%u", p);
        assert_string_equal(listing_folder(&l, i), expected);
        listing_name(&l, i, name);
        if (i % (NAMES + 1) > 0) {
            listing_name(&l, i - 1, expected);
            assert_true(strcmp(expected, name) < 0);
        }
        if (i % (NAMES + 1) == NAMES)
            assert_string_equal(name, "\377\376");
        else
            assert_int_equal(name[strlen(name) - 4], '0' + (int)p);
    }
    char *path = listing_path(&l, 0, &f);
    assert_string_equal(path, "root/folder-0/0000");
    free(path);
    listing_free(&l);
}

/* A hundred thousand files, named as ImageNet's, in folders below their classes' stay within what the
 * compiler promises for an index (INDEX in compiler/plan/cost.c). */
static void test_a_hundred_thousand_files_take_little(void **state)
{
    (void)state;
    enum { FILES = 2000, FOLDERS = 2, TIMES = 100000 / FILES, PROMISED = 3300 << 10 }; /* as cost.c has it */
    Listing l;
    Fault f;
    Passed passed = {.other = 0};
    write_plain("train/a/keep.png", 1);
    for (int folder = 0; folder < FOLDERS; folder++) {
        char name[128];
        snprintf(name, sizeof name, "train/a/recordings-of-the-day/session-%03d", folder);
        if (folder == 0)
            assert_int_equal(mkdir(scratch_path("train/a/recordings-of-the-day"), 0700), 0);
        assert_int_equal(mkdir(scratch_path(name), 0700), 0);
        int at = open(scratch_path(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < FILES / FOLDERS; i++) {
            snprintf(name, sizeof name, "n01440764_%05d.JPEG", i);
            int file = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            assert_true(file >= 0);
            close(file);
        }
        close(at);
    }
    assert_true(listing_begin(&l, scratch_path("train"), &(DataRequest){.dir = NULL}, &f));
    assert_true(walk_class(&l, "a", &passed, &f));
    assert_int_equal(l.count, FILES + 1);
    assert_int_equal(l.places, FOLDERS + 1);
    const size_t numbers = sizeof(uint16_t) + 2 * sizeof(uint32_t); /* label, index, order; a picture */
    const size_t held =
        l.pool_length + l.count * numbers + l.blocks * sizeof *l.block + l.places * sizeof *l.place;
    assert_true(held * TIMES < PROMISED);
    char *path = listing_path(&l, FILES, &f);
    assert_non_null(strstr(path, "train/a/recordings-of-the-day/session-001/n01440764_00999.JPEG"));
    free(path);
    listing_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_folders_below_in_the_order_of_their_paths),
        WITH_FOLDER(test_a_class_with_pictures_only_below),
        WITH_FOLDER(test_links_to_folders_are_followed),
        WITH_FOLDER(test_loops_of_links_end),
        WITH_FOLDER(test_loops_of_links_without_a_picture_end),
        WITH_FOLDER(test_classes_that_lead_to_one_another),
        WITH_FOLDER(test_what_is_passed_over_is_said),
        WITH_FOLDER(test_a_third_split_is_passed_over),
        WITH_FOLDER(test_a_class_without_pictures_says_what_it_holds),
        WITH_FOLDER(test_an_empty_split_says_what_it_holds),
        WITH_FOLDER(test_a_split_smaller_than_a_batch_says_what_it_holds),
        WITH_FOLDER(test_pictures_without_classes_are_counted),
        WITH_FOLDER(test_pipes_and_the_like_are_no_pictures),
        WITH_FOLDER(test_links_to_nothing),
        WITH_FOLDER(test_whoever_wants_to_know_gets_the_rest),
        cmocka_unit_test(test_names_are_packed_and_unpacked),
        WITH_FOLDER(test_a_hundred_thousand_files_take_little),
    };
    return cmocka_run_group_tests_name("data_folder", tests, NULL, NULL);
}
