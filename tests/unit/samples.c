/* samples.c: see samples.h. A test that cannot make its files fails at once. */
#include "samples.h"

#include <errno.h>
#include <ftw.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <jpeglib.h>
#include <png.h>
#include <cmocka.h>

static char folder[512];

const char *scratch_begin(void)
{
    const char *place = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/amdim-test-XXXXXX", place && *place ? place : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path) && errno != ENOENT;
}

/* What a test has killed may still have a child that ends, and removes or writes its temporaries meanwhile.
 */
void scratch_end(void)
{
    const struct timespec tenth = {.tv_nsec = 100000000};
    int left;
    for (int tries = 0; (left = nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS)) && tries < 100; ++tries)
        nanosleep(&tenth, NULL);
    assert_int_equal(left, 0);
}

int scratch_set_up(void **state)
{
    (void)state;
    scratch_begin();
    return 0;
}

int scratch_tear_down(void **state)
{
    (void)state;
    scratch_end();
    return 0;
}

const char *scratch_path(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

bool as_others(bool others)
{
    enum { READ_ALL = 1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH };
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0)
        return false;
    data[0].effective = others ? data[0].effective & ~(unsigned)READ_ALL : data[0].permitted;
    return syscall(SYS_capset, &header, data) == 0;
}

void scratch_write(const char *name, const void *bytes, size_t count)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", scratch_path(name));
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0777);
    }
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, count, stream), count);
    assert_int_equal(fclose(stream), 0);
}

/* ---- PNG ---- */

static void append(png_structp png, png_bytep bytes, size_t count)
{
    Sample *sample = png_get_io_ptr(png);
    sample->bytes = realloc(sample->bytes, sample->count + count);
    assert_non_null(sample->bytes);
    memcpy(sample->bytes + sample->count, bytes, count);
    sample->count += count;
}

Sample sample_png(PngKind kind, const uint8_t *pixels, const uint8_t *palette)
{
    Sample sample = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    png_set_write_fn(png, &sample, append, NULL);
    png_set_IHDR(png, info, (png_uint_32)kind.width, (png_uint_32)kind.height, kind.bits, kind.color,
                 kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_color colours[256];
    for (int i = 0; palette && i < 256; i++)
        colours[i] = (png_color){palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]};
    if (palette)
        png_set_PLTE(png, info, colours, 256);
    png_write_info(png, info);
    size_t row = png_get_rowbytes(png, info);
    for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
        for (int y = 0; y < kind.height; y++)
            png_write_row(png, pixels + (size_t)y * row);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return sample;
}

Sample sample_plain(int width, int height, uint8_t r, uint8_t g, uint8_t b)
{
    size_t count = (size_t)width * (size_t)height;
    uint8_t *pixels = malloc(3 * count);
    assert_non_null(pixels);
    for (size_t i = 0; i < count; i++) {
        pixels[3 * i] = r;
        pixels[3 * i + 1] = g;
        pixels[3 * i + 2] = b;
    }
    Sample sample = sample_png((PngKind){width, height, 8, PNG_COLOR_TYPE_RGB, 0}, pixels, NULL);
    free(pixels);
    return sample;
}

/* ---- JPEG ---- */

Sample sample_jpeg(int width, int height, int channels, const uint8_t *pixels)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long count = 0;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &bytes, &count);
    info.image_width = (JDIMENSION)width;
    info.image_height = (JDIMENSION)height;
    info.input_components = channels;
    info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 100, TRUE);
    info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        uint8_t row_copy[4 * 64];
        size_t row = (size_t)width * (size_t)channels;
        assert_true(row <= sizeof row_copy);
        memcpy(row_copy, pixels + info.next_scanline * row, row);
        JSAMPROW line = row_copy;
        jpeg_write_scanlines(&info, &line, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    return (Sample){bytes, count};
}
