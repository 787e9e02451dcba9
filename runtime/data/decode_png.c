/* decode_png.c: PNG by libpng, a row at a time; interlaced ones whole, since their first pass goes down to
 * the last row.
 *
 * libpng's errors end the decoding: what is critical is missing, damaged or of the wrong checksum. Its
 * warnings do not: they are of chunks beside the pixels (profiles, texts, times, whose checksums do not
 * matter either) or of more compressed data than pixels. */
#include "decode_internal.h"

#ifdef AMDIM_NO_PNG

bool decode_png(Source *s, Rows *r)
{
    (void)s;
    return fault(
        r->fault,
        "%s: this program was built without PNG; install libpng (Debian: libpng-dev) and build it again",
        r->name);
}

#else

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>

typedef struct {
    Source *from;
    Rows *rows;
    uint8_t *whole; /* of an interlaced picture all pixels */
    bool no_memory;
    char text[128];
} Png;

static void png_fail(png_structp png, png_const_charp message)
{
    Png *own = png_get_error_ptr(png);
    snprintf(own->text, sizeof own->text, "%s", message);
    png_longjmp(png, 1);
}

static void png_silent(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

/* libpng's own message would say that the file is at fault. */
static png_voidp png_allocate(png_structp png, png_alloc_size_t bytes)
{
    Png *own = png_get_mem_ptr(png);
    void *memory = malloc(bytes);
    own->no_memory |= !memory;
    return memory;
}

static void png_release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void png_take(png_structp png, png_bytep out, size_t count)
{
    Source *s = ((Png *)png_get_io_ptr(png))->from;
    while (count > 0) {
        if (s->count == 0 && !source_fill(s))
            png_error(png, "the file ends too soon");
        size_t now = count < s->count ? count : s->count;
        memcpy(out, s->at, now);
        out += now;
        count -= now;
        s->at += now;
        s->count -= now;
    }
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

static bool begin_rows(png_structp png, png_infop info, Rows *r, bool whole)
{
    enum {
        STATE = 96 << 10,
        WIDEST = 8,
        ROWS = 3
    }; /* zlib's window too; bytes a pixel and row while unpacked */
    const int stored = png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
    const size_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    if (width > INT_MAX || height > INT_MAX)
        return picture_check_sides(INT_MAX, INT_MAX, r->fault);
    RowsPlan plan = {
        .width = (int)width,
        .height = (int)height,
        .stored = stored,
        .bytes = STATE + ROWS * WIDEST * width + (whole ? (size_t)stored * width * height : 0),
        .kind = whole ? "an interlaced PNG file" : "a PNG file",
        .advice = whole ? "make it smaller, or save it without interlacing" : "make it smaller",
    };
    return rows_begin(r, &plan);
}

static bool read_whole(png_structp png, Png *own)
{
    enum { PASSES = 7 };
    Rows *r = own->rows;
    size_t row = (size_t)r->width * (size_t)r->stored;
    own->whole = malloc(row * (size_t)r->height);
    if (!own->whole)
        return fault(r->fault, "out of memory for a picture of %d x %d pixels; make it smaller", r->width,
                     r->height);
    for (int pass = 0; pass < PASSES; pass++)
        for (int y = 0; y < r->height; y++) {
            png_read_row(png, own->whole + (size_t)y * row, NULL);
            if (!rows_may_go_on(r, (uint64_t)r->width))
                return false;
        }
    for (int y = 0; y < r->height; y++)
        if (!rows_give(r, y, own->whole + (size_t)y * row))
            return false;
    return true;
}

static bool read_rows(png_structp png, Rows *r)
{
    for (int y = 0; y < r->height; y++) {
        png_read_row(png, r->row, NULL);
        if (!rows_give(r, y, r->row))
            return false;
    }
    return true;
}

/* Chunks beside the pixels are passed over, unread: they may be of any size. */
static bool png_pixels(png_structp png, png_infop info, Png *own)
{
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* rows_begin knows what is too large */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_read_fn(png, own, png_take);
    png_read_info(png, info);
    bool whole = png_get_interlace_type(png, info) != PNG_INTERLACE_NONE;
    if (!begin_rows(png, info, own->rows, whole))
        return false;
    png_simplify(png, info);
    if (png_get_rowbytes(png, info) != (size_t)own->rows->width * (size_t)own->rows->stored)
        png_error(png, "rows of another length than its header says");
    if (!(whole ? read_whole(png, own) : read_rows(png, own->rows)))
        return false;
    png_read_end(png, NULL);
    return true;
}

static bool png_guarded(png_structp png, png_infop info, Png *own)
{
    Rows *r = own->rows;
    if (setjmp(png_jmpbuf(png)))
        return own->no_memory
                   ? fault(r->fault, "%s: out of memory for decoding; free some", r->name)
                   : fault(r->fault, "%s: damaged PNG file (%s); replace or remove it", r->name, own->text);
    return png_pixels(png, info, own) || fault(r->fault, "%s: %s", r->name, r->fault->text);
}

bool decode_png(Source *s, Rows *r)
{
    Png own = {.from = s, .rows = r};
    png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &own, png_fail, png_silent, &own,
                                               png_allocate, png_release);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool done = info ? png_guarded(png, info, &own)
                     : fault(r->fault, "%s: out of memory for decoding; free some", r->name);
    png_destroy_read_struct(&png, &info, NULL);
    free(own.whole);
    return done;
}

#endif
