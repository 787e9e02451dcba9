/* decode_jpeg.c: JPEG by libjpeg, a row at a time. Files of several scans, progressive ones among them, are
 * held by libjpeg as coefficients, whole; what they take is known once the header is read. */
#include "decode_internal.h"

#ifdef AMDIM_NO_JPEG

bool decode_jpeg(Source *s, Rows *r)
{
    (void)s;
    return fault(
        r->fault,
        "%s: this program was built without JPEG; install libjpeg (Debian: libjpeg-dev) and build it again",
        r->name);
}

#else

#include <setjmp.h>
#include <jpeglib.h>
#include <jerror.h>

enum { MAX_SCANS = 1000 }; /* beyond what any writer makes of a picture */

typedef struct {
    struct jpeg_error_mgr base; /* first: libjpeg knows only this part */
    jmp_buf leave;
    char text[JMSG_LENGTH_MAX];
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    Source *from;
    Rows *rows;
    bool stopped; /* the fault of `rows` says why */
} Jpeg;

static Jpeg *jpeg_of(j_common_ptr info)
{
    return (Jpeg *)info->err;
}

/* ---- errors and warnings ---- */

static void jpeg_fail(j_common_ptr info)
{
    Jpeg *j = jpeg_of(info);
    info->err->format_message(info, j->text);
    longjmp(j->leave, 1);
}

/* libjpeg warns and goes on. Whether a pixel is at stake:
 *
 *   ADOBE_XFORM       no: a colour transform that Adobe does not define, taken for YCbCr (YCCK) as everywhere
 *   ARITH_BAD_CODE    yes: the rest of a segment is made up
 *   BOGUS_ICC         no: colour profiles are not looked at
 *   BOGUS_PROGRESSION yes: bits of coefficients are missing, or came twice
 *   EXTRANEOUS_DATA   no: stray bytes between complete segments
 *   HIT_MARKER        yes: a segment ended too soon, the rest is made up
 *   HUFF_BAD_CODE     yes: a code that does not exist, zeros in its place
 *   JFIF_MAJOR        no: an odd version of JFIF, of which nothing depends on the version
 *   JPEG_EOF          yes: the file ends too soon; in a progressive file every pixel may miss some bits
 *   MUST_RESYNC       yes: restart markers are missing, so blocks are too
 *   NOT_SEQUENTIAL    no: a sequential file whose scan names coefficients, which have no choice
 *   TOO_MUCH_DATA     (of calls in the wrong order)
 *
 * Traces have a level of 0 or more. */
static bool costs_no_pixel(int code)
{
    return code == JWRN_ADOBE_XFORM || code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR ||
           code == JWRN_NOT_SEQUENTIAL;
}

/* What is damaged is refused, so that nothing is gained by going on. */
static void jpeg_warn(j_common_ptr info, int level)
{
    if (level < 0 && !costs_no_pixel(info->err->msg_code))
        jpeg_fail(info);
}

static void jpeg_silent(j_common_ptr info)
{
    (void)info;
}

static void stop(Jpeg *j)
{
    j->stopped = true;
    longjmp(j->leave, 1);
}

/* Called for every row of blocks of every scan, before there are any pixels. */
static void jpeg_progress(j_common_ptr info)
{
    Jpeg *j = jpeg_of(info);
    j_decompress_ptr d = (j_decompress_ptr)info;
    if (!rows_may_go_on(j->rows, (uint64_t)d->image_width * DCTSIZE) ||
        (d->input_scan_number > MAX_SCANS &&
         !fault(j->rows->fault, "a JPEG file of more than %d scans; write it anew", MAX_SCANS)))
        stop(j);
}

/* ---- bytes ---- */

static void source_begins(j_decompress_ptr info)
{
    (void)info;
}

/* The bytes that libjpeg has taken are gone from `from`. */
static boolean source_refills(j_decompress_ptr info)
{
    Jpeg *j = jpeg_of((j_common_ptr)info);
    if (!source_fill(j->from))
        WARNMS(info, JWRN_JPEG_EOF); /* does not return: jpeg_warn */
    info->src->next_input_byte = j->from->at;
    info->src->bytes_in_buffer = j->from->count;
    j->from->count = 0;
    return TRUE;
}

static void source_skips(j_decompress_ptr info, long bytes)
{
    struct jpeg_source_mgr *source = info->src;
    if (bytes <= 0)
        return;
    if ((size_t)bytes <= source->bytes_in_buffer) {
        source->next_input_byte += bytes;
        source->bytes_in_buffer -= (size_t)bytes;
        return;
    }
    source_skip(jpeg_of((j_common_ptr)info)->from, (uint64_t)bytes - source->bytes_in_buffer);
    source->bytes_in_buffer = 0;
}

static void begin_source(j_decompress_ptr info, Jpeg *j)
{
    j->source = (struct jpeg_source_mgr){.next_input_byte = j->from->at,
                                         .bytes_in_buffer = j->from->count,
                                         .init_source = source_begins,
                                         .fill_input_buffer = source_refills,
                                         .skip_input_data = source_skips,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = source_begins};
    j->from->count = 0;
    info->src = &j->source;
}

/* ---- pixels ---- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* What libjpeg will hold: tables; for each component some rows of blocks and its rows brought to full size;
 * and of several scans all coefficients. */
static size_t held_bytes(const struct jpeg_decompress_struct *info, bool whole)
{
    enum { TABLES = 40 << 10, ROWS = DCTSIZE + 2 };
    size_t bytes = TABLES;
    for (int i = 0; i < info->num_components; i++) {
        const jpeg_component_info *c = &info->comp_info[i];
        const size_t across = (size_t)c->h_samp_factor, down = (size_t)c->v_samp_factor;
        bytes += (size_t)c->width_in_blocks * DCTSIZE * down * ROWS;
        bytes +=
            round_up(info->image_width, (size_t)info->max_h_samp_factor) * (size_t)info->max_v_samp_factor;
        if (whole)
            bytes +=
                round_up(c->width_in_blocks, across) * round_up(c->height_in_blocks, down) * sizeof(JBLOCK);
    }
    return bytes;
}

/* Four inks to RGB as Pillow does it, to the bit: taken to be stored upside down, as Adobe's programs store
 * them, whether or not the file says that one of these wrote it. Here `white` is 255 less the black. */
static void cmyk_to_rgb(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *cmyk = pixels + 4 * i;
        const unsigned white = cmyk[3];
        for (int c = 0; c < 3; c++) {
            unsigned ink = (255u - cmyk[c]) * white + 128;
            pixels[3 * i + (size_t)c] = (uint8_t)(white - (((ink >> 8) + ink) >> 8));
        }
    }
}

static bool begin_rows(j_decompress_ptr info, Rows *r)
{
    bool whole = jpeg_has_multiple_scans(info), cmyk = info->out_color_space == JCS_CMYK;
    RowsPlan plan = {.width = (int)info->image_width,
                     .height = (int)info->image_height,
                     .stored = cmyk                                     ? 4
                               : info->out_color_space == JCS_GRAYSCALE ? 1
                                                                        : 3,
                     .bytes = held_bytes(info, whole),
                     .kind = whole ? "a progressive JPEG file" : "a JPEG file",
                     .advice = whole ? "make it smaller, or baseline (jpegtran)" : "make it smaller"};
    if (!rows_begin(r, &plan))
        return false;
    info->mem->max_memory_to_use = (long)plan.bytes;
    if (cmyk)
        r->stored = 3; /* once cmyk_to_rgb has been there */
    return true;
}

static bool jpeg_pixels(j_decompress_ptr info, Rows *r)
{
    jpeg_read_header(info, TRUE);
    bool cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    bool grey = info->jpeg_color_space == JCS_GRAYSCALE;
    info->out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    if (!begin_rows(info, r))
        return false;
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = r->row;
        const int y = (int)info->output_scanline;
        jpeg_read_scanlines(info, &row, 1);
        if (cmyk)
            cmyk_to_rgb(r->row, (size_t)r->width);
        if (!rows_give(r, y, r->row))
            return false;
    }
    return jpeg_finish_decompress(info);
}

/* Kinds of JPEG that the library does not decode, or not to colours or grey. */
static bool is_unknown_kind(int code)
{
    return code == JERR_IMAGE_TOO_BIG || code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED ||
           code == JERR_CONVERSION_NOTIMPL || code == JERR_FRACT_SAMPLE_NOTIMPL || code == JERR_EMPTY_IMAGE;
}

static bool fault_within(const Jpeg *j)
{
    const Rows *r = j->rows;
    const int code = j->base.msg_code;
    if (j->stopped)
        return fault(r->fault, "%s: %s", r->name, r->fault->text);
    if (code == JERR_OUT_OF_MEMORY)
        return fault(r->fault, "%s: out of memory for decoding; free some", r->name);
    if (is_unknown_kind(code))
        return fault(r->fault, "%s: a kind of JPEG file that is not read (%s); write it anew", r->name,
                     j->text);
    return fault(r->fault, "%s: damaged JPEG file (%s); replace or remove it", r->name, j->text);
}

static bool jpeg_guarded(j_decompress_ptr info, Jpeg *j)
{
    Rows *r = j->rows;
    if (setjmp(j->leave))
        return fault_within(j);
    jpeg_create_decompress(info);
    j->progress.progress_monitor = jpeg_progress;
    info->progress = &j->progress;
    begin_source(info, j);
    return jpeg_pixels(info, r) || fault(r->fault, "%s: %s", r->name, r->fault->text);
}

bool decode_jpeg(Source *s, Rows *r)
{
    struct jpeg_decompress_struct info = {0};
    Jpeg j = {.from = s, .rows = r};
    info.err = jpeg_std_error(&j.base);
    j.base.error_exit = jpeg_fail;
    j.base.emit_message = jpeg_warn;
    j.base.output_message = jpeg_silent;
    bool done = jpeg_guarded(&info, &j);
    jpeg_destroy_decompress(&info);
    return done;
}

#endif
