/* test_decode.c: JPEG and PNG files of every kind against the pixels that went in, and files that are not
 * whole. */
#include "runtime.h"
#include "samples.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <jpeglib.h>
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

/* ---- JPEG files of every kind, as libjpeg writes them ---- */

typedef struct {
    int width, height, channels; /* 1, 3 or 4 */
    bool ycck, unmarked, progressive, restarts, shared_chroma;
} JpegKind;

/* Of noise that is the same for the same kind. */
static Sample jpeg_of(JpegKind kind)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long count = 0;
    Random r = random_at(2, RANDOM_BENCH, 0, 0, 0);
    uint8_t *row = malloc((size_t)kind.width * (size_t)kind.channels);
    assert_non_null(row);
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &bytes, &count);
    info.image_width = (JDIMENSION)kind.width;
    info.image_height = (JDIMENSION)kind.height;
    info.input_components = kind.channels;
    info.in_color_space = kind.channels == 1 ? JCS_GRAYSCALE : kind.channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&info);
    if (kind.ycck)
        jpeg_set_colorspace(&info, JCS_YCCK);
    if (kind.unmarked)
        info.write_Adobe_marker = FALSE;
    if (kind.progressive)
        jpeg_simple_progression(&info);
    if (kind.restarts)
        info.restart_in_rows = 1;
    if (kind.channels == 3 && !kind.shared_chroma)
        info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        for (int i = 0; i < kind.width * kind.channels; i++)
            row[i] = (uint8_t)(random_u32(&r) % 64 + 2 * info.next_scanline + (unsigned)i);
        JSAMPROW line = row;
        jpeg_write_scanlines(&info, &line, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    free(row);
    return (Sample){bytes, count};
}

static Sample plain_jpeg(int width, int height, int channels)
{
    return jpeg_of((JpegKind){.width = width, .height = height, .channels = channels});
}

/* Four inks as libjpeg gives them, to RGB as Pillow defines it: what is stored is upside down. */
static void check_inks(Sample sample)
{
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    uint8_t inks[4 * 64];
    Picture p = {0};
    Fault f;
    assert_true(decode_picture(&p, sample.bytes, sample.count, 3, "some.file", &f));
    info.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, sample.bytes, sample.count);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_CMYK;
    jpeg_start_decompress(&info);
    for (const uint8_t *rgb = p.pixels; info.output_scanline < info.output_height;) {
        JSAMPROW line = inks;
        jpeg_read_scanlines(&info, &line, 1);
        for (int x = 0; x < p.width; x++, rgb += 3)
            for (int c = 0; c < 3; c++) {
                int white = inks[4 * x + 3];
                assert_int_equal(rgb[c], white - (int)((255 - inks[4 * x + c]) * white / 255.0 + 0.5));
            }
    }
    jpeg_destroy_decompress(&info);
    free(sample.bytes);
    picture_free(&p);
}

static void test_jpeg_of_cmyk(void **state)
{
    (void)state;
    check_inks(plain_jpeg(W, H, 4)); /* Adobe's marker, transform 0 */
    check_inks(jpeg_of((JpegKind){W, H, 4, .ycck = true}));
    check_inks(jpeg_of((JpegKind){W, H, 4, .unmarked = true}));
    check_inks(jpeg_of((JpegKind){W, H, 4, .ycck = true, .unmarked = true}));
    check_inks(jpeg_of((JpegKind){W, H, 4, .progressive = true}));
}

/* Where the bytes are in the sample, which must have them. */
static size_t place_of(const Sample *sample, const char *bytes, size_t count)
{
    const uint8_t *found = memmem(sample->bytes, sample->count, bytes, count);
    assert_non_null(found);
    return (size_t)(found - sample->bytes);
}

static void insert(Sample *sample, size_t at, const void *bytes, size_t count)
{
    sample->bytes = realloc(sample->bytes, sample->count + count);
    assert_non_null(sample->bytes);
    memmove(sample->bytes + at + count, sample->bytes + at, sample->count - at);
    memcpy(sample->bytes + at, bytes, count);
    sample->count += count;
}

/* The pixels of `odd` are those of `plain`; frees both. */
static void same_pixels(Sample plain, Sample odd)
{
    Picture p = {0}, q = {0};
    Fault f;
    assert_true(decode_picture(&p, plain.bytes, plain.count, 3, "some.file", &f));
    if (!decode_picture(&q, odd.bytes, odd.count, 3, "odd.file", &f))
        fail_msg("%s", f.text);
    assert_memory_equal(p.pixels, q.pixels, (size_t)p.width * (size_t)p.height * 3);
    picture_free(&p);
    picture_free(&q);
    free(plain.bytes);
    free(odd.bytes);
}

static void test_odd_marks_cost_no_pixel(void **state)
{
    (void)state;
    enum { VERSION = 5, TRANSFORM = 11, AFTER_TABLES = 4 };
    static const int versions[] = {0x0000, 0x0100, 0x0102, 0x0200, 0xffff};
    const JpegKind kind = {.width = W, .height = H, .channels = 3};
    for (size_t i = 0; i < COUNT(versions); i++) {
        Sample odd = jpeg_of(kind);
        size_t at = place_of(&odd, "JFIF", VERSION) + VERSION;
        odd.bytes[at] = (uint8_t)(versions[i] >> 8);
        odd.bytes[at + 1] = (uint8_t)versions[i];
        same_pixels(jpeg_of(kind), odd);
    }

    Sample ycck = jpeg_of((JpegKind){W, H, 4, .ycck = true});
    ycck.bytes[place_of(&ycck, "Adobe", 5) + TRANSFORM] = 9; /* libjpeg takes it for 2 */
    same_pixels(jpeg_of((JpegKind){W, H, 4, .ycck = true}), ycck);

    Sample stray = jpeg_of(kind);
    insert(&stray, place_of(&stray, "\xff\xdb", 2), "stray", 5);
    same_pixels(jpeg_of(kind), stray);

    Sample zeros = jpeg_of(kind);
    size_t scan = place_of(&zeros, "\xff\xda", 2);
    assert_memory_equal(zeros.bytes + scan + 11, "\x00\x3f\x00", 3); /* coefficients 0 to 63, all bits */
    memset(zeros.bytes + scan + 11, 0, 3);
    same_pixels(jpeg_of(kind), zeros);
}

static void test_bytes_behind_the_end_do_not_matter(void **state)
{
    (void)state;
    Sample jpeg = plain_jpeg(W, H, 3),
           png = sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB, 0}, colour, NULL);
    insert(&jpeg, jpeg.count, "MotionPhoto", 11);
    insert(&png, png.count, "\x00\x00\x00", 3);
    same_pixels(plain_jpeg(W, H, 3), jpeg);
    same_pixels(sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB, 0}, colour, NULL), png);
}

/* Profiles and texts that are damaged, of wrong checksums or absurd say nothing about pixels. */
static void test_chunks_beside_the_pixels_do_not_matter(void **state)
{
    (void)state;
    static const char *const names[] = {"iCCP", "sRGB", "gAMA", "tEXt", "zTXt", "eXIf", "pHYs", "abCd"};
    for (size_t i = 0; i < COUNT(names); i++)
        for (int interlaced = 0; interlaced < 2; interlaced++) {
            const PngKind kind = {W, H, 8, PNG_COLOR_TYPE_RGB, interlaced};
            char chunk[16] = "\0\0\0\4namewhatcrc.";
            memcpy(chunk + 4, names[i], 4);
            Sample odd = sample_png(kind, colour, NULL);
            insert(&odd, 33, chunk, sizeof chunk); /* behind IHDR */
            same_pixels(sample_png(kind, colour, NULL), odd);
        }
}

static void refuses(Sample sample, const char *why)
{
    Picture p = {0};
    Fault f = {.error = 0};
    assert_false(decode_picture(&p, sample.bytes, sample.count, 3, "some.file", &f));
    if (!strstr(f.text, "some.file: ") || !strstr(f.text, why))
        fail_msg("%s (should say %s)", f.text, why);
    free(sample.bytes);
    picture_free(&p);
}

/* Not damaged, but not read. */
static void test_other_kinds_are_told_from_damage(void **state)
{
    (void)state;
    enum { PROCESS = 1, PRECISION = 4, HEIGHT = 5 };
    static uint8_t line[70000 * 3];
    refuses(sample_png((PngKind){70000, 1, 8, PNG_COLOR_TYPE_RGB, 0}, line, NULL),
            "70000 x 1 pixels: a side must be 1 to 65535");
    static const struct {
        int at, value, bytes;
        const char *why;
    } frames[] = {
        {PROCESS, 0xc3, 1, "SOF type 0xc3"}, /* lossless */
        {PRECISION, 12, 1, "precision 12"},
        {HEIGHT, 0, 2, "Empty JPEG image"},
        {HEIGHT, 0xff, 2, "65500 pixels"},
    };
    for (size_t i = 0; i < COUNT(frames); i++) {
        Sample odd = plain_jpeg(W, H, 3);
        uint8_t *frame = odd.bytes + place_of(&odd, "\xff\xc0", 2);
        for (int b = 0; b < frames[i].bytes; b++)
            frame[frames[i].at + b] = (uint8_t)frames[i].value;
        Sample again = {malloc(odd.count), odd.count};
        assert_non_null(again.bytes);
        memcpy(again.bytes, odd.bytes, odd.count);
        refuses(odd, "a kind of JPEG file that is not read");
        refuses(again, frames[i].why);
    }
}

static void test_missing_restarts_are_a_fault(void **state)
{
    (void)state;
    Sample sample = jpeg_of((JpegKind){W, H, 3, .restarts = true});
    Picture p = {0};
    Fault f;
    size_t at = place_of(&sample, "\xff\xd0", 2);
    assert_true(decode_picture(&p, sample.bytes, sample.count, 3, "some.file", &f));
    sample.bytes[at + 1] = 0xd3;
    assert_false(decode_picture(&p, sample.bytes, sample.count, 3, "some.file", &f));
    assert_non_null(strstr(f.text, "some.file: damaged JPEG"));
    free(sample.bytes);
    picture_free(&p);
}

/* ---- row by row, from files ---- */

typedef struct {
    RowSink sink;
    const Picture *expected;
    int begun, rows, ended;
} Comparer;

static size_t compare_begin(RowSink *sink, int width, int height)
{
    Comparer *c = (Comparer *)(void *)sink;
    assert_int_equal(width, c->expected->width);
    assert_int_equal(height, c->expected->height);
    c->begun++;
    return 0;
}

static void compare_row(RowSink *sink, int y, const uint8_t *row)
{
    Comparer *c = (Comparer *)(void *)sink;
    size_t bytes = (size_t)c->expected->width * (size_t)c->expected->channels;
    assert_int_equal(y, c->rows++);
    assert_memory_equal(row, c->expected->pixels + (size_t)y * bytes, bytes);
}

static void compare_end(RowSink *sink)
{
    ((Comparer *)(void *)sink)->ended++;
}

/* From the middle of a file, in both numbers of channels; frees the sample. */
static void check_rows(Sample sample)
{
    enum { BEFORE = 1000 };
    Fault f = {.error = 0};
    uint8_t *file = calloc(1, BEFORE + sample.count + 1);
    assert_non_null(file);
    memcpy(file + BEFORE, sample.bytes, sample.count);
    scratch_write("rows", file, BEFORE + sample.count + 1);
    int descriptor = open(scratch_path("rows"), O_RDONLY);
    for (int channels = 1; channels <= 3; channels += 2) {
        Picture whole = {0}, p = {0};
        Comparer c = {.sink = {compare_begin, compare_row, compare_end}, .expected = &whole};
        assert_true(decode_picture(&whole, sample.bytes, sample.count, channels, "whole", &f));
        p.rows = &c.sink;
        if (!decode_picture_file(&p, descriptor, BEFORE, sample.count, channels, "rows", &f))
            fail_msg("%s", f.text);
        assert_true(p.streamed && !p.pixels);
        assert_int_equal(c.rows, whole.height);
        assert_true(c.begun == 1 && c.ended == 1);
        picture_free(&whole);
    }
    close(descriptor);
    free(file);
    free(sample.bytes);
}

static void test_rows_are_those_of_the_whole(void **state)
{
    (void)state;
    uint8_t palette[256 * 3];
    for (int i = 0; i < 256 * 3; i++)
        palette[i] = (uint8_t)(i * 7 + 3);
    scratch_begin();
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        check_rows(sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB, interlaced}, colour, NULL));
        check_rows(sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_GRAY, interlaced}, grey, NULL));
        check_rows(sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_PALETTE, interlaced}, grey, palette));
        check_rows(sample_png((PngKind){W / 2, H, 16, PNG_COLOR_TYPE_GRAY, interlaced}, colour, NULL));
        check_rows(sample_png((PngKind){W / 2, H, 8, PNG_COLOR_TYPE_RGB_ALPHA, interlaced}, colour, NULL));
        check_rows(sample_png((PngKind){W, 1, 8, PNG_COLOR_TYPE_RGB, interlaced}, colour, NULL));
        check_rows(sample_png((PngKind){1, H, 8, PNG_COLOR_TYPE_RGB, interlaced}, colour, NULL));
    }
    for (int progressive = 0; progressive < 2; progressive++) {
        check_rows(jpeg_of((JpegKind){300, 200, 3, .progressive = progressive})); /* more than one buffer */
        check_rows(jpeg_of((JpegKind){300, 20, 3, .progressive = progressive, .shared_chroma = true}));
        check_rows(jpeg_of((JpegKind){W, H, 1, .progressive = progressive}));
        check_rows(jpeg_of((JpegKind){W, H, 4, .progressive = progressive}));
        check_rows(jpeg_of((JpegKind){1, 1, 3, .progressive = progressive}));
    }
    scratch_end();
}

/* Longer than a buffer, and at its end. */
static void test_segments_are_skipped(void **state)
{
    (void)state;
    static char segment[2 + 65535] = "\xff\xe7\xff\xff";
    scratch_begin();
    Sample sample = plain_jpeg(W, H, 3);
    for (int i = 0; i < 2; i++)
        insert(&sample, 2, segment, sizeof segment);
    check_rows(sample);
    scratch_end();
}

static void refuses_file(const char *name, const char *why)
{
    Picture p = {0};
    Fault f = {.error = 0};
    assert_false(picture_read_file(&p, scratch_path(name), 3, &f));
    if (!strstr(f.text, scratch_path(name)) || !strstr(f.text, why))
        fail_msg("%s (should say %s)", f.text, why);
}

/* Without waiting for anybody to write. */
static void test_what_is_no_file_is_refused(void **state)
{
    (void)state;
    Picture p = {0};
    Fault f = {.error = 0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    scratch_begin();
    assert_int_equal(mkfifo(scratch_path("pipe.jpg"), 0600), 0);
    refuses_file("pipe.jpg", ": a named pipe");
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch_path("socket.jpg"));
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    refuses_file("socket.jpg", ": a socket");
    close(listener);
    assert_int_equal(mkdir(scratch_path("folder.jpg"), 0700), 0);
    refuses_file("folder.jpg", ": a folder");
    assert_int_equal(symlink("/dev/zero", scratch_path("device.jpg")), 0);
    refuses_file("device.jpg", ": a device");
    scratch_write("empty.jpg", "", 0);
    refuses_file("empty.jpg", ": an empty file");
    refuses_file("none.jpg", "No such file");
    scratch_write("short.jpg", "\xff\xd8\xff", 3);
    int descriptor = open(scratch_path("short.jpg"), O_RDONLY);
    assert_false(decode_picture_file(&p, descriptor, 0, 4, 3, "short.jpg", &f));
    assert_non_null(strstr(f.text, "short.jpg: the file has become shorter"));
    close(descriptor);
    descriptor = open(scratch_path("short.jpg"), O_WRONLY);
    assert_false(decode_picture_file(&p, descriptor, 0, 3, 3, "short.jpg", &f));
    assert_non_null(strstr(f.text, "short.jpg: reading failed: "));
    close(descriptor);
    scratch_end();
}

/* ---- the room for decoding ---- */

static void allow(size_t bytes)
{
    const AmdimModel m = {.data_bytes = bytes, .decoding_bytes = 1, .peak_bytes = (size_t)20 << 20};
    decoding_allow(&m);
}

static bool decodes(Sample sample, Fault *f)
{
    Picture p = {0};
    Picture whole = {.width = 0};
    Comparer c = {.sink = {compare_begin, compare_row, compare_end}, .expected = &whole};
    assert_true(decode_picture(&whole, sample.bytes, sample.count, 3, "some.file", f));
    allow((size_t)2 << 20);
    p.rows = &c.sink;
    bool done = decode_picture(&p, sample.bytes, sample.count, 3, "some.file", f);
    allow(SIZE_MAX);
    assert_true(c.begun == 1 && c.ended == 1);
    free(sample.bytes);
    picture_free(&whole);
    return done;
}

static void test_what_exceeds_the_room_is_refused(void **state)
{
    (void)state;
    enum { SIDE = 1000 };
    Fault f = {.error = 0};
    uint8_t *pixels = calloc(3, (size_t)SIDE * SIDE);
    assert_non_null(pixels);
    assert_true(decodes(sample_png((PngKind){SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, 0}, pixels, NULL), &f));
    assert_true(
        decodes(sample_png((PngKind){SIDE / 2, SIDE / 2, 8, PNG_COLOR_TYPE_RGB, 1}, pixels, NULL), &f));
    assert_true(decodes(plain_jpeg(SIDE, SIDE, 3), &f));
    assert_true(decodes(jpeg_of((JpegKind){SIDE / 2, SIDE / 2, 3, .progressive = true}), &f));

    assert_false(decodes(sample_png((PngKind){SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, 1}, pixels, NULL), &f));
    const char *const words[] = {"some.file: an interlaced PNG file of 1000 x 1000 pixels",
                                 " 3.0 MiB",
                                 "20.0 MiB",
                                 "2.0",
                                 "peak_bytes",
                                 "without interlacing"};
    for (size_t i = 0; i < COUNT(words); i++)
        if (!strstr(f.text, words[i]))
            fail_msg("%s (should say %s)", f.text, words[i]);
    assert_false(decodes(jpeg_of((JpegKind){SIDE, SIDE, 3, .progressive = true}), &f));
    assert_non_null(strstr(f.text, "some.file: a progressive JPEG file of 1000 x 1000 pixels"));
    free(pixels);
}

/* What an index takes is not there for pictures; some always is. */
static void test_an_index_takes_of_the_room(void **state)
{
    (void)state;
    const AmdimModel m = {.data_bytes = 1000, .decoding_bytes = 200, .peak_bytes = 5000};
    DecodingRoom room;
    decoding_allow(&m);
    decoding_leave(700);
    assert_false(decoding_take(301, &room));
    assert_true(room.bytes == 300 && room.promised == 5000);
    assert_true(decoding_take(300, &room));
    decoding_give(300);
    decoding_leave(5000);
    assert_false(decoding_take(201, &room));
    assert_true(decoding_take(200, &room));
    decoding_give(200);
    allow(SIZE_MAX);
}

typedef struct {
    volatile bool freed;
    bool waited;
} Waiter;

static void *take_much(void *argument)
{
    Waiter *w = argument;
    DecodingRoom room;
    assert_true(decoding_take(600, &room));
    w->waited = w->freed;
    decoding_give(600);
    return NULL;
}

static void test_large_pictures_wait_for_one_another(void **state)
{
    (void)state;
    Waiter w = {.freed = false};
    DecodingRoom room;
    pthread_t thread;
    allow(1000);
    assert_true(decoding_take(500, &room));
    assert_int_equal(pthread_create(&thread, NULL, take_much, &w), 0);
    usleep(20000);
    w.freed = true;
    decoding_give(500);
    pthread_join(thread, NULL);
    assert_true(w.waited);
    allow(SIZE_MAX);
}

/* The most memory that this process has had resident, in KiB. */
static long most_resident(void)
{
    char line[128];
    long most = -1;
    FILE *status = fopen("/proc/self/status", "r");
    assert_non_null(status);
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &most) == 1)
            break;
    fclose(status);
    return most;
}

static void forget_most_resident(void)
{
    int descriptor = open("/proc/self/clear_refs", O_WRONLY);
    if (descriptor < 0 || write(descriptor, "5", 1) != 1)
        skip();
    close(descriptor);
}

/* A picture of 27 MB, in a file of 27 kB and one of many, and 36 MB of coefficients that are not kept. */
static void test_pictures_are_not_held(void **state)
{
    (void)state;
    enum { SIDE = 3000, MOST = 3 << 10 };
    static const float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
    const AmdimModel m = {.views = 2, .batch = 2, .size = 32, .channels = 3, .mean = mean, .std = std};
    static float out[2][32 * 32 * 3];
    scratch_begin();
    Sample png = sample_plain(SIDE, SIDE, 1, 2, 3),
           jpeg = jpeg_of((JpegKind){SIDE, SIDE, 3, .shared_chroma = true});
    scratch_write("train/a/large.png", png.bytes, png.count);
    scratch_write("train/a/large.jpg", jpeg.bytes, jpeg.count);
    free(png.bytes);
    free(jpeg.bytes);
    Fault f = {.error = 0};
    Dataset *d = data_open(scratch_path(""), SPLIT_TRAIN, 0, &f);
    Workspace *w = workspace_new(&m, &f);
    assert_true(d && w && d->count == 2);
    forget_most_resident();
    long before = most_resident();
    for (uint32_t i = 0; i < 2; i++)
        if (!augment_read(&m, w, d, &(ViewAddress){0, 0, i, 0}, 2, (float *[]){out[0], out[1]}, &f))
            fail_msg("%s", f.text);
    if (most_resident() - before > MOST)
        fail_msg("%ld KiB more", most_resident() - before);
    workspace_free(w);
    data_close(d);
    scratch_end();
}

/* ---- signals ---- */

static void ends_by_a_signal(Sample sample)
{
    Picture p = {0};
    Fault f = {.error = 0};
    signals_watch();
    assert_true(decode_picture(&p, sample.bytes, sample.count, 3, "large", &f));
    raise(SIGTERM);
    assert_false(decode_picture(&p, sample.bytes, sample.count, 3, "large", &f));
    assert_string_equal(f.text, "large: stopped by a signal");
    free(sample.bytes);
    picture_free(&p);
    decode(&p, sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB, 0}, colour, NULL),
           3); /* small ones are read */
    picture_free(&p);
    signals_watch(); /* forgets it */
}

static void test_a_signal_ends_a_large_picture(void **state)
{
    (void)state;
    uint8_t *pixels = calloc(3, 600 * 600);
    assert_non_null(pixels);
    ends_by_a_signal(sample_png((PngKind){600, 600, 8, PNG_COLOR_TYPE_RGB, 0}, pixels, NULL));
    ends_by_a_signal(sample_png((PngKind){600, 600, 8, PNG_COLOR_TYPE_RGB, 1}, pixels, NULL));
    ends_by_a_signal(plain_jpeg(600, 600, 3));
    ends_by_a_signal(jpeg_of((JpegKind){600, 600, 3, .progressive = true}));
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    free(pixels);
}

/* ---- damage ---- */

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
    check_every_cut(sample_png((PngKind){W, H, 8, PNG_COLOR_TYPE_RGB, 1}, colour, NULL));
    check_every_cut(jpeg_of((JpegKind){W, H, 3, .progressive = true}));
    check_every_cut(jpeg_of((JpegKind){W, H, 4, .shared_chroma = true}));
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
        cmocka_unit_test(test_odd_marks_cost_no_pixel),
        cmocka_unit_test(test_bytes_behind_the_end_do_not_matter),
        cmocka_unit_test(test_chunks_beside_the_pixels_do_not_matter),
        cmocka_unit_test(test_other_kinds_are_told_from_damage),
        cmocka_unit_test(test_missing_restarts_are_a_fault),
        cmocka_unit_test(test_rows_are_those_of_the_whole),
        cmocka_unit_test(test_segments_are_skipped),
        cmocka_unit_test(test_what_is_no_file_is_refused),
        cmocka_unit_test(test_what_exceeds_the_room_is_refused),
        cmocka_unit_test(test_an_index_takes_of_the_room),
        cmocka_unit_test(test_large_pictures_wait_for_one_another),
        cmocka_unit_test(test_pictures_are_not_held),
        cmocka_unit_test(test_a_signal_ends_a_large_picture),
        cmocka_unit_test(test_truncated_files_are_faults),
        cmocka_unit_test(test_damaged_png_is_a_fault),
        cmocka_unit_test(test_damaged_jpeg_is_a_fault),
        cmocka_unit_test(test_other_files_are_faults),
        cmocka_unit_test(test_shapes_are_checked),
    };
    return cmocka_run_group_tests(tests, make_pixels, NULL);
}
