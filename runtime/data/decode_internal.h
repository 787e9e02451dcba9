/* decode_internal.h: what decode.c is made of: where bytes come from, where rows go, and the two formats. */
#ifndef DECODE_INTERNAL_H
#define DECODE_INTERNAL_H

#include "runtime.h"

/* ---- decode_source.c: the bytes of one file, a buffer at a time ---- */

typedef struct {
    const uint8_t *at;     /* the next byte at hand */
    size_t count;          /* bytes at hand */
    int descriptor;        /* -1: there are no others */
    uint64_t offset, left; /* of the bytes behind those at hand, in the file */
    uint8_t *buffer;       /* (SOURCE_BUFFER) where they come to */
    int error;             /* errno of a read that failed */
    bool shorter;          /* the file ended before its size */
} Source;
enum { SOURCE_BUFFER = 16 << 10 };
bool source_fill(Source *s); /* when none are at hand; false: there are no more, or reading failed */
void source_skip(Source *s, uint64_t bytes);
/* True where reading failed, with the fault that says so. */
bool source_failed(const Source *s, const char *name, Fault *f);

/* ---- decode_rows.c: a picture on its way from a decoder to a Picture ---- */

typedef struct {
    Picture *to;
    int channels; /* wanted */
    const char *name;
    Fault *fault;
    int width, height, stored; /* stored: channels as decoded */
    RowSink *sink;             /* who was told of the picture, or NULL */
    uint8_t *row;              /* one row, for the decoder to write to */
    size_t room;               /* bytes taken of the room for decoding */
    uint64_t unlooked;         /* pixels since the last look at signals */
} Rows;
/* Before the decoder allocates anything for the pixels. `bytes` is what it will hold; `kind` says of what
 * file ("a progressive JPEG file"), with what could be done instead in `advice`, where that is too much. */
typedef struct {
    int width, height, stored;
    size_t bytes;
    const char *kind, *advice;
} RowsPlan;
bool rows_begin(Rows *r, const RowsPlan *plan);
/* From the top, each once; `row` is r->row, or is copied. False: a signal was received. */
bool rows_give(Rows *r, int y, const uint8_t *row);
/* For decoders that are long without giving rows: so many pixels were worked on. */
bool rows_may_go_on(Rows *r, uint64_t pixels);
void rows_end(Rows *r); /* once, when the decoder has freed all, even if nothing began */

/* ---- decode_jpeg.c, decode_png.c ---- */

bool decode_jpeg(Source *s, Rows *r);
bool decode_png(Source *s, Rows *r);

#endif
