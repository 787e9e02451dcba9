/* test_decode.c: JPEG and PNG files of every kind against the pixels that went in, and files that are not
 * whole. */
#include "runtime.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>
#include <cmocka.h>

enum { W = 19, H = 13, PIXELS = W * H };

static uint8_t colour[PIXELS * 3], grey[PIXELS];

static int make_pixels(void **state)
{
    (void)state;
    Random r = random_at(1, RANDOM_BENCH, 0, 0, 0);
    for (int i = 0; i < PIXELS * 3; i++)
        colour[i] = (uint8_t)random_u32(&r);
    for (int i = 0; i < PIXELS; i++)
        grey[i] = (uint8_t)random_u32(&r);
    return 0;
}

static int luma(const uint8_t *rgb)
{
    return (int)(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] + 0.5);
}

/* Decodes, checks the shape, and frees the sample. */
static void decode(Picture *p, Sample sample, int channels)
{
    Fault f;
    if (!decode_picture(p, sample.bytes, sample.count, channels, "some.file", &f))
        fail_msg("%s", f.text);
    free(sample.bytes);
    assert_int_equal(p->width, W);
    assert_int_equal(p->height, H);
    assert_int_equal(p->channels, channels);
}

static void check_colour_as_grey(const Picture *p)
{
    for (int i = 0; i < PIXELS; i++)
        assert_int_equal(p->pixels[i], luma(colour + 3 * i));
}

static void check_grey_as_colour(const Picture *p)
{
    for (int i = 0; i < PIXELS * 3; i++)
        assert_int_equal(p->pixels[i], grey[i / 3]);
}

static void test_png_of_colour_and_grey(void **state)
{
    (void)state;
    Picture p = {0};
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        PngKind rgb = {W, H, 8, PNG_COLOR_TYPE_RGB, interlaced},
                luminance = {W, H, 8, PNG_COLOR_TYPE_GRAY, interlaced};
        decode(&p, sample_png(rgb, colour, NULL), 3);
        assert_memory_equal(p.pixels, colour, sizeof colour);
        decode(&p, sample_png(rgb, colour, NULL), 1);
        check_colour_as_grey(&p);
        decode(&p, sample_png(luminance, grey, NULL), 1);
        assert_memory_equal(p.pixels, grey, sizeof grey);
        decode(&p, sample_png(luminance, grey, NULL), 3);
        check_grey_as_colour(&p);
    }
    picture_free(&p);
}

static void test_png_alpha_is_dropped(void **state)
{
    (void)state;
    uint8_t rgba[PIXELS * 4], veiled[PIXELS * 2];
    for (int i = 0; i < PIXELS; i++) {
        memcpy(rgba + 4 * i, colour + 3 * i, 3);
        rgba[4 * i + 3] = (uint8_t)i;
        veiled[2 * i] = grey[i];
        veiled[2 * i + 1] = (uint8_t)i;
    }
    Picture p = {0};
    decode(&p, sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB_ALPHA, 0}, rgba, NULL), 3);
    assert_memory_equal(p.pixels, colour, sizeof colour);
    decode(&p, sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_GRAY_ALPHA, 0}, veiled, NULL), 1);
    assert_memory_equal(p.pixels, grey, sizeof grey);
    picture_free(&p);
}

static void test_png_of_16_bits(void **state)
{
    (void)state;
    uint8_t wide[PIXELS * 6];
    for (int i = 0; i < PIXELS * 3; i++)
        wide[2 * i] = wide[2 * i + 1] = colour[i]; /* 257 * colour, big-endian */
    Picture p = {0};
    decode(&p, sample_png((PngKind){W, H, 16, PNG_COLOR_TYPE_RGB, 0}, wide, NULL), 3);
    assert_memory_equal(p.pixels, colour, sizeof colour);
    picture_free(&p);
}

static void test_png_palette(void **state)
{
    (void)state;
    uint8_t palette[256 * 3];
    for (int i = 0; i < 256 * 3; i++)
        palette[i] = (uint8_t)(i * 7 + 3);
    Picture p = {0};
    decode(&p, sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_PALETTE, 0}, grey, palette), 3);
    for (int i = 0; i < PIXELS; i++)
        assert_memory_equal(p.pixels + 3 * i, palette + 3 * grey[i], 3);
    picture_free(&p);
}

/* JPEG is lossy: slow waves come back nearly as they were. */
static uint8_t slow_wave(int i, int channel)
{
    int x = i % W, y = i / W;
    return (uint8_t)(60 + 5 * x * (channel != 1) + 7 * y * (channel != 0));
}

static void test_jpeg_of_colour_and_grey(void **state)
{
    (void)state;
    uint8_t rgb[PIXELS * 3], mono[PIXELS];
    for (int i = 0; i < PIXELS * 3; i++)
        rgb[i] = slow_wave(i / 3, i % 3);
    for (int i = 0; i < PIXELS; i++)
        mono[i] = slow_wave(i, 2);
    Picture p = {0};
    decode(&p, sample_jpeg(W, H, 3, rgb), 3);
    for (int i = 0; i < PIXELS * 3; i++)
        assert_true(abs(p.pixels[i] - rgb[i]) <= 3);
    decode(&p, sample_jpeg(W, H, 3, rgb), 1);
    for (int i = 0; i < PIXELS; i++)
        assert_true(abs(p.pixels[i] - luma(rgb + 3 * i)) <= 3);
    decode(&p, sample_jpeg(W, H, 1, mono), 1);
    for (int i = 0; i < PIXELS; i++)
        assert_true(abs(p.pixels[i] - mono[i]) <= 3);
    decode(&p, sample_jpeg(W, H, 1, mono), 3);
    for (int i = 0; i < PIXELS * 3; i++)
        assert_true(abs(p.pixels[i] - mono[i / 3]) <= 3);
    picture_free(&p);
}

static void test_jpeg_of_cmyk(void **state)
{
    (void)state;
    uint8_t stored[PIXELS * 4];
    for (int i = 0; i < PIXELS; i++) {
        for (int c = 0; c < 3; c++)
            stored[4 * i + c] = slow_wave(i, c);
        stored[4 * i + 3] = 204; /* a fifth of black */
    }
    Picture p = {0};
    decode(&p, sample_jpeg(W, H, 4, stored), 3);
    for (int i = 0; i < PIXELS; i++)
        for (int c = 0; c < 3; c++)
            assert_true(abs(p.pixels[3 * i + c] - stored[4 * i + c] * 4 / 5) <= 4);
    picture_free(&p);
}

/* At every length short of the whole, and the name is told. */
static void check_every_cut(Sample sample)
{
    Picture p = {0};
    Fault f;
    assert_true(decode_picture(&p, sample.bytes, sample.count, 3, "some.file", &f));
    for (size_t count = 0; count < sample.count; count++) {
        uint8_t *cut = malloc(count + 1); /* of its own, so that reading on would be noticed */
        assert_non_null(cut);
        memcpy(cut, sample.bytes, count);
        f.text[0] = '\0';
        if (decode_picture(&p, cut, count, 3, "some.file", &f))
            fail_msg("%zu of %zu bytes were taken for a picture", count, sample.count);
        assert_non_null(strstr(f.text, "some.file: "));
        free(cut);
    }
    free(sample.bytes);
    picture_free(&p);
}

static void test_truncated_files_are_faults(void **state)
{
    (void)state;
    check_every_cut(sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB, 0}, colour, NULL));
    check_every_cut(sample_jpeg(W, H, 3, colour));
    check_every_cut(sample_jpeg(W, H, 1, grey));
}

static void test_damaged_png_is_a_fault(void **state)
{
    (void)state;
    Sample sample = sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB, 0}, colour, NULL);
    Picture p = {0};
    Fault f;
    for (size_t i = 0; i < sample.count; i++) {
        sample.bytes[i] ^= 0x10;
        bool taken = decode_picture(&p, sample.bytes, sample.count, 3, "some.file", &f);
        sample.bytes[i] ^= 0x10;
        if (taken)
            fail_msg("byte %zu was wrong and not noticed", i);
    }
    free(sample.bytes);
    picture_free(&p);
}

/* No code of a scan is all ones (0xff is written with a zero behind it): noticed, though the file ends as it
 * should. */
static void test_damaged_jpeg_is_a_fault(void **state)
{
    (void)state;
    Sample sample = sample_jpeg(W, H, 3, colour);
    Picture p = {0};
    Fault f;
    for (size_t i = sample.count / 2; i < sample.count - 3; i += 2) {
        sample.bytes[i] = 0xff;
        sample.bytes[i + 1] = 0;
    }
    assert_false(decode_picture(&p, sample.bytes, sample.count, 3, "some.file", &f));
    assert_non_null(strstr(f.text, "some.file: damaged JPEG"));
    free(sample.bytes);
    picture_free(&p);
}

static void test_other_files_are_faults(void **state)
{
    (void)state;
    Picture p = {0};
    Fault f;
    assert_false(decode_picture(&p, (const uint8_t *)"GIF89a..", 8, 3, "a.png", &f));
    assert_string_equal(f.text, "a.png: neither a JPEG nor a PNG file; replace or remove it");
}

static void test_shapes_are_checked(void **state)
{
    (void)state;
    Picture p = {0};
    Fault f;
    assert_false(picture_reserve(&p, 65536, 1, 3, &f));
    assert_non_null(strstr(f.text, "65536 x 1"));
    assert_false(picture_reserve(&p, 1, 0, 3, &f));
    assert_false(picture_reserve(&p, 4, 4, 2, &f));
    assert_non_null(strstr(f.text, "1 or 3 channels"));
    assert_null(p.pixels);
    assert_true(picture_reserve(&p, 65535, 1, 3, &f));
    assert_int_equal(p.capacity, 65535 * 3);
    uint8_t *pixels = p.pixels;
    assert_true(picture_reserve(&p, 2, 2, 1, &f));
    assert_ptr_equal(p.pixels, pixels); /* used again */
    picture_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_of_colour_and_grey),
        cmocka_unit_test(test_png_alpha_is_dropped),
        cmocka_unit_test(test_png_of_16_bits),
        cmocka_unit_test(test_png_palette),
        cmocka_unit_test(test_jpeg_of_colour_and_grey),
        cmocka_unit_test(test_jpeg_of_cmyk),
        cmocka_unit_test(test_truncated_files_are_faults),
        cmocka_unit_test(test_damaged_png_is_a_fault),
        cmocka_unit_test(test_damaged_jpeg_is_a_fault),
        cmocka_unit_test(test_other_files_are_faults),
        cmocka_unit_test(test_shapes_are_checked),
    };
    return cmocka_run_group_tests(tests, make_pixels, NULL);
}
