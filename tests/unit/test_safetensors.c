/* test_safetensors.c: tensors come back as they went out, and no file, however made, is believed unchecked.
 */
#include "commands.h"
#include "samples.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A file of this header and so many bytes of data. */
static void write_file(const char *header, size_t header_length, size_t data)
{
    unsigned char *bytes = calloc(8 + header_length + data, 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)header_length >> 8 * i);
    memcpy(bytes + 8, header, header_length);
    for (size_t i = 0; i < data; i++)
        bytes[8 + header_length + i] = (unsigned char)i;
    scratch_write("t.safetensors", bytes, 8 + header_length + data);
    free(bytes);
}

static void check_refused(const char *header, size_t data, const char *message)
{
    TensorFile t;
    Fault f = {.error = 0};
    write_file(header, strlen(header), data);
    if (tensors_open(&t, scratch_path("t.safetensors"), &f))
        fail_msg("accepted: %s", header);
    if (strstr(f.text, "t.safetensors: ") == NULL || strstr(f.text, message) == NULL)
        fail_msg("%s\n  gave: %s\n  not: %s", header, f.text, message);
}

static TensorFile open_header(const char *header, size_t data)
{
    TensorFile t;
    Fault f = {.error = 0};
    write_file(header, strlen(header), data);
    if (!tensors_open(&t, scratch_path("t.safetensors"), &f))
        fail_msg("%s\n  gave: %s", header, f.text);
    return t;
}

static void write_sample(const char *path)
{
    TensorWriter w;
    Fault f = {.error = 0};
    const float numbers[6] = {1, -2, NAN, INFINITY, 1e-42f, 6};
    const int64_t whole[2] = {INT64_MIN, INT64_MAX};
    assert_true(writer_open(&w, path, &f));
    writer_metadata(&w, "a", "1");
    writer_metadata(&w, "quote\"back\\line\n", "\x01 \xc3\xa9");
    writer_announce(&w, "z.weight", DTYPE_F32, 2, (int64_t[]){2, 3});
    writer_announce(&w, "count", DTYPE_I64, 1, (int64_t[]){2});
    writer_announce(&w, "n\"\\\t", DTYPE_F32, 0, NULL);
    writer_announce(&w, "empty", DTYPE_F32, 2, (int64_t[]){0, 5});
    assert_true(writer_give(&w, numbers, 8, &f));
    assert_true(writer_give(&w, numbers + 2, 16, &f));
    assert_true(writer_give(&w, whole, sizeof whole, &f));
    assert_true(writer_give(&w, numbers, 4, &f));
    assert_true(writer_commit(&w, NULL, &f));
}

static void test_round_trip(void **state)
{
    (void)state;
    TensorFile t;
    Fault f = {.error = 0};
    const char *path = scratch_path("r.safetensors");
    write_sample(path);
    assert_true(tensors_open(&t, path, &f));
    assert_int_equal(t.count, 4);
    assert_string_equal(tensors_metadata(&t, "a"), "1");
    assert_string_equal(tensors_metadata(&t, "quote\"back\\line\n"), "\x01 \xc3\xa9");
    assert_null(tensors_metadata(&t, "b"));
    assert_null(tensors_find(&t, "b"));
    const Stored *s = tensors_find(&t, "z.weight");
    assert_int_equal(s->rank, 2);
    assert_int_equal(s->dims[1], 3);
    assert_int_equal(s->begin % 8, 0);
    const float expected[6] = {1, -2, NAN, INFINITY, 1e-42f, 6};
    float numbers[6];
    assert_true(tensors_read(&t, s, numbers, &f));
    assert_memory_equal(numbers, expected, sizeof expected);
    int64_t whole[2];
    assert_true(tensors_read(&t, tensors_find(&t, "count"), whole, &f));
    assert_true(whole[0] == INT64_MIN && whole[1] == INT64_MAX);
    assert_int_equal(tensors_find(&t, "n\"\\\t")->rank, 0);
    assert_int_equal(tensors_find(&t, "n\"\\\t")->count, 1);
    assert_int_equal(tensors_find(&t, "empty")->count, 0);
    tensors_close(&t);
}

static void test_bytes_of_a_file(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"k\":\"v\"},\"x\":{\"dtype\":\"F32\",\"shape\":[1],"
                                 "\"data_offsets\":[0,4]}}";
    TensorWriter w;
    Fault f = {.error = 0};
    size_t count;
    const char *path = scratch_path("b.safetensors");
    assert_true(writer_open(&w, path, &f));
    writer_metadata(&w, "k", "v");
    writer_announce(&w, "x", DTYPE_F32, 1, (int64_t[]){1});
    assert_true(writer_give(&w, &(float){1}, 4, &f));
    assert_true(writer_commit(&w, NULL, &f));
    char *whole = read_whole(path, &count);
    size_t padded = (strlen(header) + 7) / 8 * 8;
    assert_int_equal(count, 8 + padded + 4);
    assert_int_equal((unsigned char)whole[0], padded);
    assert_memory_equal(whole + 8, header, strlen(header));
    for (size_t i = strlen(header); i < padded; i++)
        assert_int_equal(whole[8 + i], ' ');
    assert_memory_equal(whole + 8 + padded, "\x00\x00\x80\x3f", 4);
    free(whole);
}

static void test_too_little_given_is_a_fault(void **state)
{
    (void)state;
    TensorWriter w;
    TensorFile t;
    Fault f = {.error = 0};
    const char *path = scratch_path("s.safetensors");
    assert_true(writer_open(&w, path, &f));
    writer_announce(&w, "x", DTYPE_F32, 1, (int64_t[]){2});
    assert_true(writer_give(&w, &(float){1}, 4, &f));
    assert_false(writer_commit(&w, NULL, &f));
    assert_non_null(strstr(f.text, "promised 8 bytes of tensors and given 4"));
    assert_false(tensors_open(&t, path, &f));
    assert_non_null(strstr(f.text, "No such file"));
    writer_discard(&w);
}

#define DESCRIPTION "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void test_what_is_allowed(void **state)
{
    (void)state;
    TensorFile t = open_header("{}", 0);
    assert_int_equal(t.count, 0);
    assert_null(tensors_find(&t, "x"));
    tensors_close(&t);
    t = open_header("{ }", 0);
    tensors_close(&t);
    /* other types, keys in any order, keys of later versions, many dimensions */
    t = open_header(
        "{\"h\":{\"data_offsets\":[0,4],\"new\":{\"a\":[{}],\"b\":\"\"},\"shape\":[],\"dtype\":\"BF16\"},"
        "\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]},"
        "\"d\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[4,8]}}  ",
        16);
    assert_int_equal(tensors_find(&t, "h")->dtype, DTYPE_OTHER);
    assert_int_equal(tensors_find(&t, "d")->dtype, DTYPE_OTHER);
    assert_int_equal(tensors_find(&t, "x")->dtype, DTYPE_F32);
    unsigned char data[8];
    Fault f = {.error = 0};
    assert_true(tensors_read(&t, tensors_find(&t, "x"), data, &f));
    for (int i = 0; i < 8; i++)
        assert_int_equal(data[i], 8 + i);
    tensors_close(&t);
}

static void test_names_are_unescaped(void **state)
{
    (void)state;
    TensorFile t = open_header("{\"a\\u00e9\\u20AC\\ud83d\\ude00\\/\\n\":" DESCRIPTION "}", 8);
    assert_non_null(tensors_find(&t, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/\n"));
    tensors_close(&t);
    check_refused("{\"a\\ud83d\":" DESCRIPTION "}", 8, "not valid JSON text");
    check_refused("{\"a\\ud83d\\u0041\":" DESCRIPTION "}", 8, "not valid JSON text");
    check_refused("{\"a\\ude00\":" DESCRIPTION "}", 8, "not valid JSON text");
    check_refused("{\"a\\u0000\":" DESCRIPTION "}", 8, "not valid JSON text");
    check_refused("{\"a\n\":" DESCRIPTION "}", 8, "not valid JSON text");
}

static void test_bad_json(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "  ",
        "[]",
        "[1]",
        "{ ",
        "{}}",
        "{}{}",
        "{} x",
        "nil",
        "{\"x\"}",
        "{\"x\":}",
        "{\"x\" " DESCRIPTION "}",
        "{1:2}",
        "{\"x\":" DESCRIPTION " \"y\":" DESCRIPTION "}",
        "{\"x\":\"y\":" DESCRIPTION "}",
        "{\"x\":" DESCRIPTION "",
        "{\"x\":{\"dtype\":\"F32\",\"shape\":[2}}",
        "{\"x\":[]:\"y\"}",
        "{[]:1}",
        "{\"x\":{\"shape\":[\"a\":1]}}",
        "{\"x\\q\":" DESCRIPTION "}",
    };
    for (size_t i = 0; i < COUNT(headers); i++)
        check_refused(headers[i], 8, "damaged header: not the JSON");
}

static void test_bad_tensors(void **state)
{
    (void)state;
    static const struct {
        const char *description, *message;
    } cases[] = {
        {"1", "tensor x: its description is not a JSON object"},
        {"{}", "missing"},
        {"{\"dtype\":\"F32\",\"shape\":[2]}", "missing"},
        {"{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}", "dtype is not a string"},
        {"{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}", "shape is not a list"},
        {"{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}", "not a size"},
        {"{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}", "not a size"},
        {"{\"dtype\":\"F32\",\"shape\":[2e0],\"data_offsets\":[0,8]}", "not a size"},
        {"{\"dtype\":\"F32\",\"shape\":[02],\"data_offsets\":[0,8]}", "not a size"},
        {"{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}", "not a size"},
        {"{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,8]}", "not a size"},
        {"{\"dtype\":\"F32\",\"shape\":[99999999999999999999999],\"data_offsets\":[0,8]}", "not a size"},
        {"{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}", "can be counted"},
        {"{\"dtype\":\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]}", "disagree"},
        {"{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}", "disagree"},
        {"{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,8]}", "disagree"},
        {"{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}", "not two numbers"},
        {"{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}", "not two numbers"},
        {"{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[[],8]}", "not two numbers"},
        {"{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}", "outside the file"},
        {"{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}", "outside the file"},
        {"{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[18446744073709551608,18446744073709551615]}",
         "outside the file"},
        {"{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", "twice"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char header[512];
        snprintf(header, sizeof header, "{\"x\":%s}", cases[i].description);
        check_refused(header, 8, cases[i].message);
    }
    check_refused("{\"x\":" DESCRIPTION ",\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
                  16, "tensor x is there twice");
    check_refused("{\"x\":" DESCRIPTION ",\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
                  16, "tensors x and y overlap");
    check_refused("{\"__metadata__\":[]}", 0, "__metadata__");
    check_refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__");
    check_refused("{\"__metadata__\":{\"a\":1}}", 0, "a string is missing");
}

static void check_bytes_refused(const void *bytes, size_t count)
{
    TensorFile t;
    Fault f = {.error = 0};
    scratch_write("t.safetensors", bytes, count);
    assert_false(tensors_open(&t, scratch_path("t.safetensors"), &f));
    assert_non_null(strstr(f.text, "not a safetensors file, or cut short"));
}

static void test_bad_lengths(void **state)
{
    (void)state;
    check_bytes_refused("", 0);
    check_bytes_refused("\x02\0\0\0", 4);
    check_bytes_refused("\x00\0\0\0\0\0\0\0{}", 10);
    check_bytes_refused("\x03\0\0\0\0\0\0\0{}", 10);
    check_bytes_refused("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    check_bytes_refused("\x02\0\0\0\0\0\0\x80{}", 10);
    write_file("{}\0 ", 4, 0);
    TensorFile t;
    Fault f;
    assert_false(tensors_open(&t, scratch_path("t.safetensors"), &f));
    assert_false(tensors_open(&t, scratch_path("none"), &f));
    assert_non_null(strstr(f.text, "No such file or directory"));
    assert_false(tensors_open(&t, scratch_path("."), &f));
}

/* Every file that is one byte off a good one is read or refused, and what is read lies inside the file. */
static void test_damage_never_leads_outside(void **state)
{
    (void)state;
    size_t count;
    int accepted = 0;
    write_sample(scratch_path("r.safetensors"));
    unsigned char *good = (unsigned char *)read_whole(scratch_path("r.safetensors"), &count);
    static const unsigned char changes[] = {0, '"', '{', '}', '[', ']', ',', ':', '9', '\\', 0xff};
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < COUNT(changes); c++) {
            unsigned char kept = good[i];
            TensorFile t;
            Fault f = {.error = 0};
            good[i] = changes[c];
            scratch_write("t.safetensors", good, count);
            good[i] = kept;
            if (!tensors_open(&t, scratch_path("t.safetensors"), &f)) {
                assert_true(strlen(f.text) > 0);
                continue;
            }
            accepted++;
            for (int k = 0; k < t.count; k++)
                assert_true(t.tensor[k].begin + t.tensor[k].bytes <= count);
            tensors_close(&t);
        }
    assert_true(accepted > 0);
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_bytes_of_a_file, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_too_little_given_is_a_fault, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_allowed, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_names_are_unescaped, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_json, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_tensors, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_lengths, scratch_set_up, scratch_tear_down),
        cmocka_unit_test_setup_teardown(test_damage_never_leads_outside, scratch_set_up, scratch_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
