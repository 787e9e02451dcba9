/* test_data_tar.c: tar files of KEY.jpg and KEY.cls, made byte by byte: the ways to write names, numbers and
 * labels, which files are which split; what is wrong is refused by name. */
#include "commands.h"
#include "data_sets.h"
#include "samples.h"
#include "toy_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROOM = 64 << 10, BLOCK = 512 };

static uint8_t tar[ROOM];
static size_t size;

static void begin(void)
{
    memset(tar, 0, sizeof tar);
    size = 0;
}

static void set_sum(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
    header[155] = ' ';
}

/* A member, as ustar; its header, for tests to change. */
static uint8_t *add_typed(const char *name, char type, const void *bytes, size_t count)
{
    uint8_t *header = tar + size;
    assert_true(size + 4 * BLOCK + count < ROOM);
    memcpy(header, name, strlen(name) < 100 ? strlen(name) : 100);
    memcpy(header + 100, "0000644\0000001750\0000001750", 24);
    snprintf((char *)header + 124, 12, "%011zo", count);
    memcpy(header + 136, "14000000000", 11);
    header[156] = (uint8_t)type;
    memcpy(header + 257, "ustar\00000", 8);
    set_sum(header);
    if (count)
        memcpy(header + BLOCK, bytes, count);
    size += BLOCK + (count + BLOCK - 1) / BLOCK * BLOCK;
    return header;
}

static uint8_t *add(const char *name, const void *bytes, size_t count)
{
    return add_typed(name, '0', bytes, count);
}

static void add_text(const char *name, const char *text)
{
    add(name, text, strlen(text));
}

/* One that is red by its number. */
static uint8_t *add_picture(const char *name, int number)
{
    Sample s = sample_plain(9, 9, (uint8_t)(number * 20), 1, 2);
    uint8_t *header = add(name, s.bytes, s.count);
    free(s.bytes);
    return header;
}

static void end(const char *name)
{
    size += 2 * BLOCK;
    scratch_write(name, tar, size);
}

/* Pictures 0 ... count - 1, each with a label. */
static void write_numbered(const char *name, int first, int count, int classes)
{
    begin();
    for (int i = first; i < first + count; i++) {
        char member[32], label[16];
        snprintf(member, sizeof member, "%04d.png", i);
        add_picture(member, i);
        snprintf(member, sizeof member, "%04d.cls", i);
        snprintf(label, sizeof label, "%d\n", i % classes);
        add_text(member, label);
    }
    end(name);
}

static int red(const Dataset *d, uint32_t i)
{
    Picture p = picture_of(d, i, 3);
    const int value = p.pixels[0];
    assert_int_equal(p.width, 9);
    picture_free(&p);
    return value / 20;
}

static Dataset *opened_file(const char *name)
{
    Fault f = {.error = 0};
    Dataset *d = data_open(scratch_path(name), SPLIT_TRAIN, 0, &f);
    if (!d)
        fail_msg("%s", f.text);
    return d;
}

/* Refused naming the archive. */
static void refused_file(const char *name, const char *what)
{
    Fault f = {.error = 0};
    Dataset *d = data_open(scratch_path(name), SPLIT_TRAIN, 0, &f);
    if (d)
        fail_msg("not refused: %s", what);
    if (!strstr(f.text, what) || !strstr(f.text, name) || strchr(f.text, '\n'))
        fail_msg("the message is: %s", f.text);
}

/* ---- as it should be ---- */

static void test_shards_of_two_splits(void **state)
{
    (void)state;
    write_numbered("train-0001.tar", 3, 3, 3);
    write_numbered("train-0000.tar", 0, 3, 3);
    write_numbered("test-0000.tar", 6, 2, 4);
    write_numbered("val-0000.tar", 6, 2, 4);
    Dataset *d = opened(SPLIT_TRAIN, 0);
    char text[DATA_TEXT];
    data_describe(d, text, sizeof text);
    assert_string_equal(
        text, "tar files of pictures, 6 images of any size in 4 classes; passed over: 1 other file");
    assert_false(d->undivided);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(red(d, i), i);
        assert_int_equal(d->label[i], i % 3);
    }
    data_close(d);
    d = opened(SPLIT_TRAIN, 1);
    assert_int_equal(d->count, 3);
    assert_int_equal(red(d, 2), 2);
    data_close(d);
    d = opened(SPLIT_TEST, 0);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->label[1], 3);
    assert_int_equal(red(d, 1), 7);
    data_close(d);
}

static void test_names_of_classes_are_in_byte_order(void **state)
{
    (void)state;
    begin();
    static const char *const names[] = {"zebra\n", "ant", "mole", "zebra"};
    for (int i = 0; i < 4; i++) {
        char member[32];
        snprintf(member, sizeof member, "in/a/%d.cls", i); /* the label may come first */
        add_text(member, names[i]);
        snprintf(member, sizeof member, "in/a/%d.PNG", i);
        add_picture(member, i);
    }
    end("train.tar");
    begin();
    add_picture("1.png", 1);
    add_text("1.cls", "zebra");
    end("test.tar");
    Dataset *d = opened(SPLIT_TRAIN, 0);
    const uint16_t expected[] = {2, 0, 1, 2};
    assert_int_equal(d->classes, 3);
    assert_memory_equal(d->label, expected, sizeof expected);
    assert_string_equal(d->class_name[1], "mole");
    data_close(d);
    d = opened(SPLIT_TEST, 0); /* fewer pictures than names */
    assert_int_equal(d->classes, 3);
    assert_int_equal(d->label[0], 2);
    assert_string_equal(d->class_name[2], "zebra");
    data_close(d);
    begin();
    add_picture("1.png", 1);
    add_text("1.cls", "yak");
    end("test.tar");
    refused(SPLIT_TEST, "test.tar: 1.cls: 'yak', a class that the training split lacks", "");
}

static void test_one_file_and_no_labels(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 3; i++) {
        char member[32];
        snprintf(member, sizeof member, "%d.png", i);
        add_picture(member, i);
    }
    end("mine.tar");
    Dataset *d = opened_file("mine.tar");
    assert_int_equal(d->count, 3);
    assert_true(d->unlabelled && d->undivided);
    data_close(d);
    d = opened(SPLIT_PRETRAIN, 0); /* the folder that it lies in: no name tells a split */
    assert_int_equal(d->count, 3);
    data_close(d);
    refused(SPLIT_TEST, "no tar file named test", data_folder());
}

/* ustar's prefix, GNU's long names, pax records of path and size, sizes in base 256, old headers. */
static void test_every_way_to_write_a_name(void **state)
{
    (void)state;
    char prefix[160], longer[200], record[256];
    memset(prefix, 'p', 150), prefix[150] = '\0';
    memset(longer, 'g', 180), strcpy(longer + 180, ".png");
    begin();
    uint8_t *header = add_picture("a.png", 0);
    memcpy(header + 345, prefix, 150);
    set_sum(header);
    add_typed("././@LongLink", 'L', longer, strlen(longer) + 1);
    add_picture("ggg", 1);
    snprintf(record, sizeof record, "%zu path=%s\n20 comment=anything\n", strlen(longer) + 10, longer);
    longer[0] = 'x';
    memcpy(strchr(record, '='), "=x", 2);
    add_typed("PaxHeaders/x", 'x', record, strlen(record));
    header = add_picture("short", 2);
    header = add_picture("old.png", 3);
    memset(header + 257, 0, 8); /* as before ustar */
    header[156] = '\0';
    set_sum(header);
    header = add_picture("binary.png", 4);
    uint64_t bytes = strtoull((char *)header + 124, NULL, 8);
    memset(header + 124, 0, 12);
    header[124] = 0x80, header[134] = (uint8_t)(bytes >> 8), header[135] = (uint8_t)bytes;
    set_sum(header);
    size_t before = size;
    size += 2 * BLOCK; /* for records, put in below */
    header = add_picture("sized.png", 5);
    bytes = strtoull((char *)header + 124, NULL, 8);
    memset(header + 124, '0', 11);
    set_sum(header);
    const size_t after = size;
    snprintf(record, sizeof record, "13 size=%04llu\n", (unsigned long long)bytes);
    size = before;
    add_typed("PaxHeaders/s", 'x', record, strlen(record));
    size = after;
    end("mine.tar");
    Dataset *d = opened_file("mine.tar");
    assert_int_equal(d->count, 6);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(red(d, i), i);
    data_close(d);
}

static void test_what_is_passed_over_is_counted(void **state)
{
    (void)state;
    begin();
    add_typed("set/", '5', "", 0);
    add_picture("set/a.png", 0);
    add_text("set/._a.png", "hidden");
    add_text("set/a.json", "{}");
    add_picture("set/a.seg.png", 9);
    add_text("set/a.cls", "0");
    add_text("set/b.webp", "?");
    add_text("set/b.cls", "1");
    add_typed("set/link.png", '2', "", 0);
    add_picture("set/c.png", 1);
    add_text("set/c.cls", "1");
    end("mine.tar");
    Dataset *d = opened_file("mine.tar");
    assert_int_equal(d->count, 2);
    assert_int_equal(d->label[1], 1);
    assert_string_equal(d->remark, "passed over: 1 .webp, 1 hidden, 4 other files");
    data_close(d);
}

static void test_sums_of_signed_bytes(void **state)
{
    (void)state;
    begin();
    uint8_t *header = add_picture("\xc3\xa9.png", 0);
    int sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += (int8_t)header[i];
    snprintf((char *)header + 148, 8, "%06o", (unsigned)sum);
    end("mine.tar");
    data_close(opened_file("mine.tar"));
}

/* A picture of training in a folder of classes, and in the archive. */
static void add_to_both(const char *name, int number, int view)
{
    Sample s = sample_plain(11, 13, (uint8_t)(number * 30), (uint8_t)(number * 7), (uint8_t)view);
    scratch_write(name, s.bytes, s.count);
    add(name, s.bytes, s.count);
    free(s.bytes);
}

static void add_class(int number)
{
    char name[64];
    snprintf(name, sizeof name, "folder/train/%c/%d.cls", 'a' + number / 3, number);
    add_text(name, number / 3 ? "1" : "0");
}

static void expect_views_of_the_folder(void)
{
    size_t count, other;
    char *folder = views_of("folder", &count), *shards = views_of("shards", &other);
    assert_int_equal(count, other);
    assert_memory_equal(folder, shards, count);
    free(folder);
    free(shards);
}

static void test_the_same_views_as_of_a_folder(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof name, "folder/train/%c/%d.png", 'a' + i / 3, i);
        add_to_both(name, i, 2);
        add_class(i);
    }
    end("shards/train-0000.tar");
    expect_views_of_the_folder();
}

/* KEY.1.png and KEY.2.png, wherever the label lies between them. */
static void test_pairs_are_two_views_of_one_image(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 6; i++)
        for (int view = 1; view <= 2; view++) {
            char name[64];
            snprintf(name, sizeof name, "folder/train/%c/%d.%d.png", 'a' + i / 3, i, view);
            add_to_both(name, i, view);
            if (view == 1 + i % 2)
                add_class(i);
        }
    end("shards/train-0000.tar");
    Dataset *d = opened_file("shards");
    assert_int_equal(d->count, 6);
    assert_int_equal(d->label[3], 1);
    assert_string_equal(d->format, "tar files of pairs of pictures");
    assert_null(d->remark);
    data_close(d);
    expect_views_of_the_folder();
}

/* Beside a picture of the key, or without the other view. */
static void test_views_that_make_no_pair_are_passed_over(void **state)
{
    (void)state;
    begin();
    add_picture("a.1.png", 1);
    add_picture("a.2.png", 2);
    add_picture("a.png", 3);
    add_picture("b.2.png", 4);
    add_text("b.cls", "1");
    add_picture("c.png", 5);
    add_picture("c.3.png", 6);
    end("mine.tar");
    Dataset *d = opened_file("mine.tar");
    assert_int_equal(d->count, 2);
    assert_int_equal(red(d, 0), 3);
    assert_null(d->read_second);
    assert_string_equal(d->remark, "passed over: 5 other files");
    data_close(d);
}

static void test_check_names_the_member(void **state)
{
    (void)state;
    char path[1024], *text;
    Options o = no_options(&toy_model);
    Fault f = {.error = 0};
    begin();
    add_picture("a/1.png", 0);
    add_text("a/2.png", "hello");
    add("a/3.png", "", 0);
    end("mine.tar");
    snprintf(path, sizeof path, "%s", scratch_path("mine.tar"));
    o.data = path;
    assert_int_equal(run_to_text(command_check, &toy_model, &o, &text, &f), 1);
    assert_non_null(strstr(text, "mine.tar: a/2.png: neither a JPEG nor a PNG file"));
    assert_non_null(strstr(text, "mine.tar: a/3.png: an empty file"));
    assert_non_null(strstr(text, "3 pictures read, 2 wrong"));
    free(text);
}

static uint64_t fingerprint(const char *name)
{
    Dataset *d = opened_file(name);
    uint64_t digest;
    Fault f;
    assert_true(data_fingerprint(d, &digest, &f));
    data_close(d);
    return digest;
}

static void test_the_fingerprint_is_of_names_sizes_and_labels(void **state)
{
    (void)state;
    write_numbered("train-a.tar", 0, 6, 2);
    const uint64_t one = fingerprint("train-a.tar");
    write_numbered("two/train-0.tar", 0, 4, 2);
    write_numbered("two/train-1.tar", 4, 2, 2);
    assert_true(fingerprint("two") == one);
    write_numbered("train-a.tar", 0, 6, 3);
    assert_true(fingerprint("train-a.tar") != one);
    write_numbered("train-a.tar", 1, 6, 2);
    assert_true(fingerprint("train-a.tar") != one);
    uint64_t pair[2];
    for (int i = 0; i < 2; i++) { /* the second view is not looked into, but its size is */
        begin();
        add_picture("a.1.png", 1);
        add_text("a.2.png", i ? "longer" : "short");
        end("pair.tar");
        pair[i] = fingerprint("pair.tar");
    }
    assert_true(pair[0] != pair[1]);
}

/* What an index of 100,000 pictures takes stays within what the compiler sets aside (INDEX in cost.c). */
static void test_a_hundred_thousand_pictures_take_little(void **state)
{
    (void)state;
    enum { PROMISED = 3300 << 10, ORDER = sizeof(uint32_t) };
    write_numbered("mine.tar", 0, 20, 2);
    Dataset *d = opened_file("mine.tar");
    const size_t each = (d->bytes + d->count * ORDER) / d->count;
    assert_true(each >= sizeof(uint16_t) + 3 * sizeof(uint32_t));
    assert_true(each * 100000 < PROMISED);
    data_close(d);
}

/* ---- what is wrong ---- */

static void test_every_cut_of_an_archive_is_refused(void **state)
{
    (void)state;
    begin();
    add_typed("././@LongLink", 'L', "longer.png", 11);
    add_picture("l", 0);
    add_text("longer.cls", "3");
    const size_t whole = size;
    end("mine.tar");
    for (size_t kept = 1; kept <= whole; kept += kept % BLOCK == 0 || kept % BLOCK == 511 ? 1 : 85) {
        scratch_write("mine.tar", tar, kept);
        refused_file("mine.tar", "; write or fetch it again");
    }
    scratch_write("mine.tar", tar, whole);
    refused_file("mine.tar", "no mark of its end: it is cut short");
    scratch_write("mine.tar", tar, whole + BLOCK); /* one block of the mark will do */
    data_close(opened_file("mine.tar"));
}

static void test_damaged_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        int at;
        const char *text, *what;
        bool summed;
    } wrong[] = {
        {0, "z", "the header's sum is wrong", false},
        {148, "zzzz", "the header's sum is wrong", false},
        {124, "0000000000z", "a size that is no number", true},
        {124, "77777777777", "bytes, but the archive ends after", true},
        {124, "\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "a size that is no number, or too large",
         true},
        {124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "a size that is no number, or too large",
         true},
        {124, "\x80\1\1\1\x7f\xff\xff\xff\xff\xff\xff\xff", "a size that is no number, or too large", true},
        {156, "S", "a sparse file", true},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        begin();
        uint8_t *header = add_picture("a.png", 0);
        memcpy(header + wrong[i].at, wrong[i].text, strlen(wrong[i].text));
        if (wrong[i].summed)
            set_sum(header);
        end("mine.tar");
        refused_file("mine.tar", wrong[i].what);
    }
}

static void test_wrong_pax_records_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
    } wrong[] = {
        {"12 path=a.png\n", "damaged pax records"},
        {"x path=a.png\n", "damaged pax records"},
        {"99999999999999999999999 path=a\n", "damaged pax records"},
        {"200 path=a.png\n", "damaged pax records"},
        {"8 patha\n", "damaged pax records"},
        {"0 path=a\n", "damaged pax records"},
        {"2\n", "damaged pax records"},
        {"9 size=x\n", "a size that is no number"},
        {"33 size=999999999999999999999999\n", "a pax record of a size"},
        {"28 size=9000000000000000000\n", "bytes, but the archive ends after"},
        {"22 GNU.sparse.major=1\n", "a sparse file"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        begin();
        add_typed("PaxHeaders/a", 'x', wrong[i].text, strlen(wrong[i].text));
        add_picture("a.png", 0);
        end("mine.tar");
        refused_file("mine.tar", wrong[i].what);
    }
}

static void test_names_that_are_too_long_are_refused(void **state)
{
    (void)state;
    char name[2000];
    memset(name, 'n', sizeof name);
    begin();
    add_typed("././@LongLink", 'L', name, sizeof name);
    add_picture("a.png", 0);
    end("mine.tar");
    refused_file("mine.tar", "a name of more than 1023 bytes");
}

static void refused_label(const char *text, size_t count, const char *what)
{
    begin();
    add_picture("a.png", 0);
    add_text("a.cls", "1");
    add_picture("b.png", 0);
    add("b.cls", text, count);
    end("mine.tar");
    refused_file("mine.tar", what);
}

static void test_wrong_labels_are_refused(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'c', sizeof text);
    refused_label("65536", 5, "b.cls: class 65536; 0 to 65535");
    refused_label("99999999999999999999999", 23, "b.cls: class 9");
    refused_label("cat", 3, "b.cls: 'cat', a name, but the classes before it are numbers");
    refused_label("", 0, "b.cls: neither a number nor the name");
    refused_label(" \n", 2, "b.cls: neither a number nor the name");
    refused_label("1\n2", 3, "b.cls: neither a number nor the name");
    refused_label("1\0002", 3, "b.cls: neither a number nor the name");
    refused_label(text, sizeof text, "b.cls: 300 bytes; a number");
}

static void test_keys_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    begin();
    add_picture("a.png", 0);
    add_picture("b.png", 0);
    add_text("b.cls", "1");
    end("mine.tar");
    refused_file("mine.tar", "mine.tar: a: a picture without a .cls beside it");
    begin();
    add_picture("a.png", 0);
    add_picture("a.jpg", 0);
    end("mine.tar");
    refused_file("mine.tar", "a.jpg: a second picture of the same key");
    begin();
    add_picture("a.png", 0);
    add_text("a.cls", "1");
    add_text("a.cls", "2");
    end("mine.tar");
    refused_file("mine.tar", "a.cls: a second label of the same key");
    begin();
    add_picture("a.1.png", 0);
    add_picture("a.2.png", 0);
    add_picture("a.2.jpg", 0);
    end("mine.tar");
    refused_file("mine.tar", "a.2.jpg: a second picture of the same key");
    begin();
    add_picture("a.1.png", 0);
    add_picture("a.2.png", 0);
    add_picture("b.png", 0);
    end("mine.tar");
    refused_file("mine.tar", "mine.tar: b: one picture, where the keys before it have two views");
    begin();
    add_picture("a.png", 0);
    add_picture("b.1.png", 0);
    add_picture("b.2.png", 0);
    end("mine.tar");
    refused_file("mine.tar", "mine.tar: b: two views, where the keys before it have one picture");
}

static void test_an_archive_without_pictures(void **state)
{
    (void)state;
    begin();
    end("mine.tar");
    refused_file("mine.tar", "holds no pictures");
    begin();
    add_text("a.webp", "?");
    end("mine.tar");
    refused_file("mine.tar", "holds no pictures (passed over: 1 .webp)");
    scratch_write("mine.tar", "", 0);
    refused_file("mine.tar", "an empty file");
}

static void test_archives_put_together_are_refused(void **state)
{
    (void)state;
    begin();
    add_picture("a.png", 0);
    size += 2 * BLOCK;
    add_picture("b.png", 1);
    end("mine.tar");
    refused_file("mine.tar", "more bytes behind its end");
}

static void test_compressed_ones_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *what;
    } packed[] = {
        {"\x1f\x8b\x08....", "compressed by gzip, and cannot be read as it lies; unpack it (gunzip)"},
        {"BZh91AY", "compressed by bzip2"},
        {"\xfd"
         "7zXZ..",
         "compressed by xz"},
        {"\x28\xb5\x2f\xfd...", "compressed by zstd"},
        {"hello", "cut short"}};
    for (size_t i = 0; i < COUNT(packed); i++) {
        scratch_write("mine.tar", packed[i].bytes, strlen(packed[i].bytes));
        refused_file("mine.tar", packed[i].what);
    }
    scratch_write("a/train-0001.tar.gz", "\x1f\x8b", 2);
    refused_file("a/train-0001.tar.gz", "gunzip");
    refused_file("a", "train-0001.tar.gz");
    write_numbered("a/train-0000.tar", 0, 2, 2);
    refused_file("a", "train-0001.tar.gz: a compressed tar file beside others");
}

static void test_a_split_without_a_name(void **state)
{
    (void)state;
    write_numbered("test-0.tar", 0, 2, 2);
    refused(SPLIT_TRAIN, "but none named train", data_folder());
    assert_int_equal(mkfifo(scratch_path("train-0.tar"), 0600), 0);
    refused(SPLIT_TRAIN, "train-0.tar: a named pipe, not a file", "");
}

/* A member that is another by the time it is read. */
static void test_an_archive_that_changes_is_noticed(void **state)
{
    (void)state;
    write_numbered("mine.tar", 0, 2, 2);
    Dataset *d = opened_file("mine.tar");
    begin();
    add_text("a.txt", "?");
    end("mine.tar");
    Picture p = {.width = 0};
    Fault f;
    assert_false(d->read(d, 0, 3, &p, &f));
    assert_non_null(strstr(f.text, "mine.tar: the file has changed while in use"));
    assert_false(d->read(d, 1, 3, &p, &f));
    assert_non_null(strstr(f.text, "mine.tar"));
    picture_free(&p);
    data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_shards_of_two_splits),
        WITH_FOLDER(test_names_of_classes_are_in_byte_order),
        WITH_FOLDER(test_one_file_and_no_labels),
        WITH_FOLDER(test_every_way_to_write_a_name),
        WITH_FOLDER(test_what_is_passed_over_is_counted),
        WITH_FOLDER(test_sums_of_signed_bytes),
        WITH_FOLDER(test_the_same_views_as_of_a_folder),
        WITH_FOLDER(test_pairs_are_two_views_of_one_image),
        WITH_FOLDER(test_views_that_make_no_pair_are_passed_over),
        WITH_FOLDER(test_check_names_the_member),
        WITH_FOLDER(test_the_fingerprint_is_of_names_sizes_and_labels),
        WITH_FOLDER(test_a_hundred_thousand_pictures_take_little),
        WITH_FOLDER(test_every_cut_of_an_archive_is_refused),
        WITH_FOLDER(test_damaged_headers_are_refused),
        WITH_FOLDER(test_wrong_pax_records_are_refused),
        WITH_FOLDER(test_names_that_are_too_long_are_refused),
        WITH_FOLDER(test_wrong_labels_are_refused),
        WITH_FOLDER(test_keys_that_do_not_fit_are_refused),
        WITH_FOLDER(test_an_archive_without_pictures),
        WITH_FOLDER(test_archives_put_together_are_refused),
        WITH_FOLDER(test_compressed_ones_are_refused),
        WITH_FOLDER(test_a_split_without_a_name),
        WITH_FOLDER(test_an_archive_that_changes_is_noticed),
    };
    return cmocka_run_group_tests_name("tar files", tests, NULL, NULL);
}
