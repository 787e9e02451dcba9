/* samples.h: files for tests to read, made on the spot in a folder of the test's own. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new empty folder under $TMPDIR or /tmp; one at a time. */
const char *scratch_begin(void);
void scratch_end(void); /* removes it and all that is in it */
/* The same as set-up and tear-down of a group of CMocka's. */
int scratch_set_up(void **state);
int scratch_tear_down(void **state);
/* Writes a file of the folder, making the folders that `name` leads through. */
void scratch_write(const char *name, const void *bytes, size_t count);
/* The path of a file of the folder; valid until the next call. */
const char *scratch_path(const char *name);

/* As root, who may read everything, gives up that he may; false where that is not possible. */
bool as_others(bool others);

typedef struct {
    uint8_t *bytes; /* by malloc */
    size_t count;
} Sample;

typedef struct {
    int width, height;
    int bits;       /* 8 or 16 a sample, big-endian; for a palette 8 */
    int color;      /* libpng's PNG_COLOR_TYPE_... */
    int interlaced; /* 0 or 1 */
} PngKind;

/* `palette` holds 256 colours where the kind has one, else it is NULL. */
Sample sample_png(PngKind kind, const uint8_t *pixels, const uint8_t *palette);
/* 1 channel: grey; 3: RGB, stored as YCbCr without subsampling; 4: CMYK as Adobe stores it. */
Sample sample_jpeg(int width, int height, int channels, const uint8_t *pixels);
/* One colour all over, as PNG. */
Sample sample_plain(int width, int height, uint8_t r, uint8_t g, uint8_t b);

#endif
