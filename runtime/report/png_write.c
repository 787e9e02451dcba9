/* png_write.c: a small picture as a PNG inside of a page: `data:image/png;base64,...`.
 *
 * The PNG goes out as libpng makes it, three bytes to four letters; nothing of it is held. AMDIM_NO_PNG
 * leaves libpng out. */
#include "runtime.h"

#ifdef AMDIM_NO_PNG

bool png_can_write(Fault *f)
{
    return fault(
        f, "this program was built without PNG; install libpng (Debian: libpng-dev) and build it again");
}

bool png_data_uri(FILE *stream, const uint8_t *pixels, int width, int height, int channels, Fault *f)
{
    (void)stream, (void)pixels, (void)width, (void)height, (void)channels;
    return png_can_write(f);
}

#else

#include <png.h>

bool png_can_write(Fault *f)
{
    (void)f;
    return true;
}

/* A byte stream as base64. */
typedef struct {
    FILE *stream;
    uint8_t byte[3];
    int bytes; /* waiting for their third */
} Base64;

static void put_letters(Base64 *b)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)b->byte[0] << 16 | (uint32_t)b->byte[1] << 8 | b->byte[2];
    for (int i = 0; i < 4; i++)
        fputc(i <= b->bytes ? letters[bits >> (18 - 6 * i) & 63] : '=', b->stream);
    *b = (Base64){.stream = b->stream};
}

static void put_bytes(png_structp png, png_bytep bytes, size_t count)
{
    Base64 *b = png_get_io_ptr(png);
    for (size_t i = 0; i < count; i++) {
        b->byte[b->bytes++] = bytes[i];
        if (b->bytes == 3)
            put_letters(b);
    }
}

/* Chunks are small enough for the stream's own buffer. */
static void put_nothing(png_structp png)
{
    (void)png;
}

static int color_type(int channels)
{
    switch (channels) {
    case 1: return PNG_COLOR_TYPE_GRAY;
    case 3: return PNG_COLOR_TYPE_RGB;
    default: return PNG_COLOR_TYPE_RGB_ALPHA;
    }
}

/* libpng's own would print beside the program's one line. */
static void png_fail(png_structp png, png_const_charp text)
{
    (void)text;
    png_longjmp(png, 1);
}

static void png_silent(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

/* Small tables for deflate: the picture is small too. */
static void put_picture(png_structp png, png_infop info, const uint8_t *pixels, int width, int height,
                        int channels)
{
    enum { MEMORY_LEVEL = 4 };
    size_t row = (size_t)width * (size_t)channels;
    png_set_compression_mem_level(png, MEMORY_LEVEL);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, color_type(channels),
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < height; y++)
        png_write_row(png, pixels + (size_t)y * row);
    png_write_end(png, NULL);
}

bool png_data_uri(FILE *stream, const uint8_t *pixels, int width, int height, int channels, Fault *f)
{
    Base64 out = {.stream = stream};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_fail, png_silent);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return fault(f, "out of memory for a picture of the report");
    }
    fputs("data:image/png;base64,", stream);
    png_set_write_fn(png, &out, put_bytes, put_nothing);
    put_picture(png, info, pixels, width, height, channels);
    png_destroy_write_struct(&png, &info);
    if (out.bytes > 0)
        put_letters(&out);
    return true;
}

#endif
