/* decode.c: JPEG and PNG files in memory -> pixels.
 *
 * A file is decoded in its own 1 or 3 channels into the Picture and changed to the channels asked for in
 * place. Both libraries report errors by a call that must not return, hence setjmp; all that is used after it
 * lies in structs of the caller. AMDIM_NO_JPEG and AMDIM_NO_PNG leave a library out. */
#include "runtime.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#ifndef AMDIM_NO_JPEG
#include <jpeglib.h>
#include <jerror.h>
#endif
#ifndef AMDIM_NO_PNG
#include <png.h>
#endif

enum { MAX_SIDE = 65535 };

/* ---- pictures in memory ---- */

void picture_free(Picture *p)
{
    free(p->pixels);
    free(p->encoded);
    *p = (Picture){0};
}

/* Room for `bytes` bytes a pixel; what the picture held is kept. */
static bool make_room(Picture *p, int width, int height, int bytes, Fault *f)
{
    if (width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE)
        return fault(f, "a picture of %d x %d pixels: a side must be 1 to %d", width, height, MAX_SIDE);
    uint64_t needed = (uint64_t)width * (uint64_t)height * (uint64_t)bytes;
    if (needed <= p->capacity)
        return true;
    uint8_t *pixels = needed <= SIZE_MAX ? realloc(p->pixels, (size_t)needed) : NULL;
    if (!pixels)
        return fault(f, "out of memory: %.1f MiB for a picture of %d x %d pixels; make it smaller",
                     (double)needed / (1024 * 1024), width, height);
    p->pixels = pixels;
    p->capacity = (size_t)needed;
    return true;
}

bool picture_reserve(Picture *p, int width, int height, int channels, Fault *f)
{
    if (channels != 1 && channels != 3)
        return fault(f, "pictures have 1 or 3 channels, not the %d of the spec's input.channels", channels);
    if (!make_room(p, width, height, channels, f))
        return false;
    p->width = width;
    p->height = height;
    p->channels = channels;
    return true;
}

static void colour_to_grey(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *rgb = pixels + 3 * i;
        pixels[i] = (uint8_t)((299u * rgb[0] + 587u * rgb[1] + 114u * rgb[2] + 500) / 1000);
    }
}

static void grey_to_colour(uint8_t *pixels, size_t count)
{
    for (size_t i = count; i-- > 0;)
        pixels[3 * i] = pixels[3 * i + 1] = pixels[3 * i + 2] = pixels[i];
}

bool picture_convert(Picture *p, int channels, Fault *f)
{
    int before = p->channels;
    if (!picture_reserve(p, p->width, p->height, channels, f))
        return false;
    size_t count = (size_t)p->width * (size_t)p->height;
    if (before > channels)
        colour_to_grey(p->pixels, count);
    else if (before < channels)
        grey_to_colour(p->pixels, count);
    return true;
}

/* ---- JPEG ---- */

#ifdef AMDIM_NO_JPEG

static bool decode_jpeg(Picture *p, const uint8_t *bytes, size_t count, const char *name, Fault *f)
{
    (void)p, (void)bytes, (void)count;
    return fault(
        f,
        "%s: this program was built without JPEG; install libjpeg (Debian: libjpeg-dev) and build it again",
        name);
}

#else

typedef struct {
    struct jpeg_error_mgr base; /* first: libjpeg knows only this part */
    jmp_buf leave;
    bool damaged;
    char text[JMSG_LENGTH_MAX];
} JpegErrors;

static void jpeg_fail(j_common_ptr info)
{
    JpegErrors *errors = (JpegErrors *)info->err;
    info->err->format_message(info, errors->text);
    longjmp(errors->leave, 1);
}

/* Stray bytes between complete segments and odd colour marks are common and cost no pixel; every other
 * warning means that libjpeg has made pixels up. */
static void jpeg_warn(j_common_ptr info, int level)
{
    JpegErrors *errors = (JpegErrors *)info->err;
    int code = info->err->msg_code;
    if (level >= 0 || errors->damaged || code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM)
        return;
    errors->damaged = true;
    info->err->format_message(info, errors->text);
}

static void jpeg_silent(j_common_ptr info)
{
    (void)info;
}

/* Adobe's programs store CMYK upside down, and say that they wrote it. */
static void cmyk_to_rgb(uint8_t *pixels, size_t count, bool inverted)
{
    uint8_t flip = inverted ? 0 : 255;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *cmyk = pixels + 4 * i;
        unsigned black = cmyk[3] ^ flip;
        for (int c = 0; c < 3; c++)
            pixels[3 * i + (size_t)c] = (uint8_t)(((cmyk[c] ^ flip) * black + 127) / 255);
    }
}

static bool jpeg_pixels(j_decompress_ptr info, Picture *p, const uint8_t *bytes, size_t count, Fault *f)
{
    jpeg_mem_src(info, bytes, (unsigned long)count);
    jpeg_read_header(info, TRUE);
    bool cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    bool grey = info->jpeg_color_space == JCS_GRAYSCALE;
    info->out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    int width = (int)info->image_width, height = (int)info->image_height, stored = cmyk ? 4 : grey ? 1 : 3;
    if (!picture_reserve(p, width, height, grey ? 1 : 3, f) || !make_room(p, width, height, stored, f))
        return false;
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = p->pixels + (size_t)info->output_scanline * (size_t)width * (size_t)stored;
        jpeg_read_scanlines(info, &row, 1);
    }
    if (cmyk)
        cmyk_to_rgb(p->pixels, (size_t)width * (size_t)height, info->saw_Adobe_marker);
    return jpeg_finish_decompress(info);
}

static bool jpeg_guarded(j_decompress_ptr info, JpegErrors *errors, Picture *p, const uint8_t *bytes,
                         size_t count, const char *name, Fault *f)
{
    if (setjmp(errors->leave))
        return fault(f, "%s: damaged JPEG file (%s); replace or remove it", name, errors->text);
    jpeg_create_decompress(info);
    if (!jpeg_pixels(info, p, bytes, count, f))
        return fault(f, "%s: %s", name, f->text);
    return !errors->damaged ||
           fault(f, "%s: damaged JPEG file (%s); replace or remove it", name, errors->text);
}

static bool decode_jpeg(Picture *p, const uint8_t *bytes, size_t count, const char *name, Fault *f)
{
    struct jpeg_decompress_struct info = {0};
    JpegErrors errors = {.damaged = false};
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = jpeg_fail;
    errors.base.emit_message = jpeg_warn;
    errors.base.output_message = jpeg_silent;
    bool done = jpeg_guarded(&info, &errors, p, bytes, count, name, f);
    jpeg_destroy_decompress(&info);
    return done;
}

#endif

/* ---- PNG ---- */

#ifdef AMDIM_NO_PNG

static bool decode_png(Picture *p, const uint8_t *bytes, size_t count, const char *name, Fault *f)
{
    (void)p, (void)bytes, (void)count;
    return fault(
        f, "%s: this program was built without PNG; install libpng (Debian: libpng-dev) and build it again",
        name);
}

#else

typedef struct {
    const uint8_t *bytes;
    size_t count, at;
    png_bytep *rows; /* (height) */
    char text[128];
} PngSource;

static void png_fail(png_structp png, png_const_charp message)
{
    PngSource *source = png_get_error_ptr(png);
    snprintf(source->text, sizeof source->text, "%s", message);
    png_longjmp(png, 1);
}

static void png_silent(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static void png_take(png_structp png, png_bytep out, size_t count)
{
    PngSource *source = png_get_io_ptr(png);
    if (count > source->count - source->at)
        png_error(png, "the file ends too soon");
    memcpy(out, source->bytes + source->at, count);
    source->at += count;
}

/* Whatever is stored becomes 8 bits of grey or of RGB. */
static void png_simplify(png_structp png, png_infop info)
{
    if (png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_scale_16(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

static bool png_pixels(png_structp png, png_infop info, PngSource *source, Picture *p, Fault *f)
{
    png_set_user_limits(png, MAX_SIDE, MAX_SIDE);
    png_set_read_fn(png, source, png_take);
    png_read_info(png, info);
    png_simplify(png, info);
    int width = (int)png_get_image_width(png, info), height = (int)png_get_image_height(png, info);
    if (!picture_reserve(p, width, height, png_get_channels(png, info), f))
        return false;
    source->rows = allocate((size_t)height * sizeof *source->rows, "the rows of a picture", f);
    if (!source->rows)
        return false;
    for (int y = 0; y < height; y++)
        source->rows[y] = p->pixels + (size_t)y * (size_t)width * (size_t)p->channels;
    png_read_image(png, source->rows);
    png_read_end(png, NULL);
    return true;
}

static bool png_guarded(png_structp png, png_infop info, PngSource *source, Picture *p, const char *name,
                        Fault *f)
{
    if (setjmp(png_jmpbuf(png)))
        return fault(f, "%s: damaged PNG file (%s); replace or remove it", name, source->text);
    return png_pixels(png, info, source, p, f) || fault(f, "%s: %s", name, f->text);
}

static bool decode_png(Picture *p, const uint8_t *bytes, size_t count, const char *name, Fault *f)
{
    PngSource source = {.bytes = bytes, .count = count};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, png_fail, png_silent);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool done = info ? png_guarded(png, info, &source, p, name, f)
                     : fault(f, "%s: out of memory for decoding; free some", name);
    png_destroy_read_struct(&png, &info, NULL);
    free(source.rows);
    return done;
}

#endif

/* ---- either ---- */

static bool begins_with(const uint8_t *bytes, size_t count, const char *magic, size_t length)
{
    return count >= length && memcmp(bytes, magic, length) == 0;
}

bool decode_picture(Picture *p, const uint8_t *bytes, size_t count, int channels, const char *name, Fault *f)
{
    bool done;
    if (begins_with(bytes, count, "\xff\xd8\xff", 3))
        done = decode_jpeg(p, bytes, count, name, f);
    else if (begins_with(bytes, count, "\x89PNG\r\n\x1a\n", 8))
        done = decode_png(p, bytes, count, name, f);
    else
        return fault(f, "%s: neither a JPEG nor a PNG file; replace or remove it", name);
    return done && picture_convert(p, channels, f);
}
