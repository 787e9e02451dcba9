/* kernels.h: what every fixed-shape function of a generated program is made of.
 *
 * Everything here is inlined into a function whose shapes are constants, so bounds, strides and the choices
 * of a product's tail are settled at compile time. One source serves every processor: vectors are the
 * compiler's own (vector_size), only their width and the tile's height depend on the target.
 *
 * Maps lie as pixels x channels, (images, side, side, channels). A product takes its left rows where they lie
 * and its right matrix packed into panels of PANEL columns: packed[panel][depth][PANEL], zeros beyond the
 * last column. */
#ifndef KERNELS_H
#define KERNELS_H

#include "amdim.h"
#include <float.h>
#include <math.h>
#include <string.h>

#if defined __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif

/* INLINE: part of a fixed-shape function; a build may define it as less, which compiles faster. SHARED: an
 * inner loop that all shapes of a program have in common. */
#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif
#define SHARED static __attribute__((noinline, unused))

/* A tile is ROWS x PANEL sums held in registers: as many as the processor has, less two for a row of the
 * panel and one for the left factor. */
#if defined __AVX512F__
enum { LANES = 16, VECTORS = 2, ROWS = 12 };
#elif defined __AVX__
enum { LANES = 8, VECTORS = 2, ROWS = 6 };
#elif defined __aarch64__
enum { LANES = 4, VECTORS = 2, ROWS = 12 };
#else
enum { LANES = 4, VECTORS = 2, ROWS = 4 };
#endif
enum { PANEL = LANES * VECTORS, LINE = 16 }; /* LINE: floats in a line of the cache */

/* Pixels treated together: a whole number of tiles for the products, few enough for the first cache in sums.
 */
enum { PIXEL_BLOCK = 240, SUM_BLOCK = 128 };
_Static_assert(PIXEL_BLOCK % ROWS == 0, "a block of pixels is a whole number of tiles");
typedef float Vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define PANELS(columns) (((columns) + PANEL - 1) / PANEL)
#define MIN_OF(a, b)    ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)    ((a) > (b) ? (a) : (b))
#define CEIL_DIV(a, b)  (((a) + (b)-1) / (b))
#define UNROLL          _Pragma("GCC unroll 16")
#define ROLLED          _Pragma("GCC unroll 1") /* where a compiler would unroll without end */

/* In front of a loop whose rounds do not depend on each other, even where the result lies where an input
 * does, which a compiler has to suspect otherwise. Whatever a round reads on a condition is there without it.
 */
#if defined __clang__
#pragma clang diagnostic ignored "-Wpass-failed" /* where little is optimised they stay loops */
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define ELEMENTWISE _Pragma("GCC ivdep")
#endif

/* Piece number `part` of `parts` even pieces of 0..count: [first, last). */
INLINE int piece(int count, int part, int parts)
{
    return (int)((int64_t)count * part / parts);
}

/* The same in whole tiles: where part `part` begins, so that only the last part ends within a tile. */
INLINE int tile_piece(int rows, int part, int parts)
{
    return MIN_OF(ROWS * piece(CEIL_DIV(rows, ROWS), part, parts), rows);
}

INLINE Vec load(const float *p)
{
    return *(const Vec *)p;
}

INLINE void store(float *p, Vec v)
{
    *(Vec *)p = v;
}

/* v where gate > 0, else 0. */
INLINE Vec where_positive(Vec gate, Vec v)
{
    return (Vec)((Bits)v & (gate > (Vec){0}));
}

/* ---- packing
 * ------------------------------------------------------------------------------------------------ */

/* One panel of scale * w, w (depth, columns). */
SHARED void pack_panel(const float *w, int depth, int columns, float scale, int panel, float *packed)
{
    const int first = panel * PANEL, width = MIN_OF(PANEL, columns - first);
    float *to = packed + (size_t)panel * depth * PANEL;
    for (int k = 0; k < depth; k++, to += PANEL) {
        const float *from = w + (size_t)k * columns + first;
        for (int j = 0; j < width; j++)
            to[j] = scale * from[j];
        for (int j = width; j < PANEL; j++)
            to[j] = 0;
    }
}

/* One panel of scale * transposed w, w (columns, depth). */
SHARED void pack_panel_transposed(const float *w, int depth, int columns, float scale, int panel,
                                  float *packed)
{
    const int first = panel * PANEL, width = MIN_OF(PANEL, columns - first);
    float *to = packed + (size_t)panel * depth * PANEL;
    if (width < PANEL)
        memset(to, 0, sizeof(float) * (size_t)depth * PANEL);
    for (int block = 0; block < depth; block += LANES)
        for (int j = 0; j < width; j++)
            for (int k = block; k < MIN_OF(block + LANES, depth); k++)
                to[(size_t)k * PANEL + j] = scale * w[(size_t)(first + j) * depth + k];
}

/* ---- the tile
 * ------------------------------------------------------------------------------------------------- */

/* What follows a product while its tile is in registers: y = mask(relu(sum + bias + addend)), each only where
 * its bit is set; a mask lets through where it is above 0. */
enum { TAIL_BIAS = 1, TAIL_ADD = 2, TAIL_RELU = 4, TAIL_MASK = 8 };

/* Where a tile goes: its first row's first element in y and what is like y, rows `stride` floats apart, of
 * which `rows` and `width` columns are wanted. */
typedef struct {
    float *y;
    const float *bias, *addend, *mask;
    ptrdiff_t stride;
    int rows, width;
    const float *ahead; /* what to ask for meanwhile */
} Target;

/* Asks for the lines that the tile will read and write when its sums are done, so that they are near by then.
 */
INLINE void target_prefetch(int tail, const Target *t)
{
    for (int r = 0; r < t->rows; r++)
        for (int i = 0; i < t->width; i += LINE) {
            const ptrdiff_t at = r * t->stride + i;
            __builtin_prefetch(t->y + at, 1);
            if (tail & TAIL_ADD && t->addend != t->y)
                __builtin_prefetch(t->addend + at);
            if (tail & TAIL_MASK)
                __builtin_prefetch(t->mask + at);
        }
}

INLINE void tail_vector(int tail, float *y, Vec sum, const float *bias, const float *addend,
                        const float *mask)
{
    if (tail & TAIL_BIAS)
        sum += load(bias);
    if (tail & TAIL_ADD)
        sum += load(addend);
    if (tail & TAIL_RELU)
        sum = where_positive(sum, sum);
    if (tail & TAIL_MASK)
        sum = where_positive(load(mask), sum);
    store(y, sum);
}

/* A tile at an edge, element by element. */
INLINE void tile_store_edge(int tail, float sum[ROWS][PANEL], Target t)
{
    for (int r = 0; r < t.rows; r++)
        for (int i = 0; i < t.width; i++) {
            const ptrdiff_t at = r * t.stride + i;
            float s = sum[r][i];
            if (tail & TAIL_BIAS)
                s += t.bias[i];
            if (tail & TAIL_ADD)
                s += t.addend[at];
            if (tail & TAIL_RELU)
                s = s > 0 ? s : 0;
            if (tail & TAIL_MASK)
                s = t.mask[at] > 0 ? s : 0;
            t.y[at] = s;
        }
}

INLINE void tile_store(int tail, Vec sum[ROWS][VECTORS], Target t)
{
    if (t.rows < ROWS || t.width < PANEL) {
        float spilled[ROWS][PANEL];
        UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++)
            store(&spilled[r][v * LANES], sum[r][v]);
        tile_store_edge(tail, spilled, t);
        return;
    }
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++)
    {
        const ptrdiff_t at = r * t.stride + v * LANES;
        tail_vector(tail, t.y + at, sum[r][v], tail & TAIL_BIAS ? t.bias + v * LANES : NULL,
                    tail & TAIL_ADD ? t.addend + at : NULL, tail & TAIL_MASK ? t.mask + at : NULL);
    }
}

/* sum[r] += the row that a[r] points at . panel, over `length` of its floats. Meanwhile as many lines from
 * `ahead` on are asked for: what the next tiles will read. */
INLINE void tile_multiply(Vec sum[ROWS][VECTORS], const float *const a[ROWS], int length, const float *panel,
                          const float *ahead)
{
    for (int k = 0; k < length; k++, panel += PANEL) {
        Vec b[VECTORS];
        if (ahead)
            __builtin_prefetch(ahead + (ptrdiff_t)k * LINE);
        UNROLL for (int v = 0; v < VECTORS; v++) b[v] = load(panel + v * LANES);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const float left = a[r][k];
            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += left * b[v];
        }
    }
}

/* A tile of a product whose left rows lie a_stride floats apart. Rows beyond t.rows are read as the last. */
INLINE void tile_of_rows(int tail, const float *first, ptrdiff_t a_stride, int depth, const float *panel,
                         Target t)
{
    const float *a[ROWS];
    Vec sum[ROWS][VECTORS];
    target_prefetch(tail, &t);
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        a[r] = first + MIN_OF(r, t.rows - 1) * a_stride;
        UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = (Vec){0};
    }
    tile_multiply(sum, a, depth, panel, t.ahead);
    tile_store(tail, sum, t);
}

/* A tile of a convolution: row r is patch[r], `runs` runs of `length` floats that lie `jump` apart. */
INLINE void tile_of_patches(int tail, const float *const patch[ROWS], int runs, int length, ptrdiff_t jump,
                            const float *panel, Target t)
{
    const float *a[ROWS];
    Vec sum[ROWS][VECTORS];
    target_prefetch(tail, &t);
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        a[r] = patch[r];
        UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = (Vec){0};
    }
    for (int run = 0; run < runs; run++, panel += (ptrdiff_t)length * PANEL) {
        tile_multiply(sum, a, length, panel, t.ahead ? t.ahead + run * jump : NULL);
        UNROLL for (int r = 0; r < ROWS; r++) a[r] += jump;
    }
    tile_store(tail, sum, t);
}

/* Adds a tile of a product to scattered rows: row r to y[r]. */
SHARED void rows_scattered(const float *first, ptrdiff_t a_stride, int depth, const float *panel,
                           float *const *y, ptrdiff_t shift, int rows, int width)
{
    const float *a[ROWS];
    Vec sum[ROWS][VECTORS];
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        a[r] = first + MIN_OF(r, rows - 1) * a_stride;
        UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = (Vec){0};
    }
    tile_multiply(sum, a, depth, panel, NULL);
    if (rows == ROWS && width == PANEL) {
        UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++)
        {
            float *to = y[r] + shift + v * LANES;
            store(to, load(to) + sum[r][v]);
        }
        return;
    }
    float spilled[ROWS][PANEL];
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++)
        store(&spilled[r][v * LANES], sum[r][v]);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < width; i++)
            y[r][shift + i] += spilled[r][i];
}

/* One function for each tail that a program uses, shared by its shapes. */
#define TILE_TAILS(TAIL)                                                                                     \
    TAIL(0)                                                                                                  \
    TAIL(1)                                                                                                  \
    TAIL(2)                                                                                                  \
    TAIL(3)                                                                                                  \
    TAIL(4) TAIL(5) TAIL(6) TAIL(7) TAIL(8) TAIL(9) TAIL(10) TAIL(11) TAIL(12) TAIL(13) TAIL(14) TAIL(15)
#define DEFINE_TILES(tail)                                                                                   \
    SHARED void rows_##tail(const float *first, ptrdiff_t stride, int depth, const float *panel,             \
                            const Target *t)                                                                 \
    {                                                                                                        \
        tile_of_rows(tail, first, stride, depth, panel, *t);                                                 \
    }                                                                                                        \
    SHARED void patches_##tail(const float *const patch[ROWS], int runs, int length, ptrdiff_t jump,         \
                               const float *panel, const Target *t)                                          \
    {                                                                                                        \
        tile_of_patches(tail, patch, runs, length, jump, panel, *t);                                         \
    }
TILE_TAILS(DEFINE_TILES)

/* `tail` is a constant, so one call is left of each switch. */
INLINE void call_rows(int tail, const float *first, ptrdiff_t stride, int depth, const float *panel,
                      const Target *t)
{
#define CALL(n)                                                                                              \
    case n: rows_##n(first, stride, depth, panel, t); break;
    switch (tail) {
        TILE_TAILS(CALL)
    }
#undef CALL
}

INLINE void call_patches(int tail, const float *const patch[ROWS], int runs, int length, ptrdiff_t jump,
                         const float *panel, const Target *t)
{
#define CALL(n)                                                                                              \
    case n: patches_##n(patch, runs, length, jump, panel, t); break;
    switch (tail) {
        TILE_TAILS(CALL)
    }
#undef CALL
}

/* ---- convolution
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
    int images, side, in; /* x (images, side, side, in), padded where the layer pads */
    int out_side, out;    /* y (images, out_side, out_side, out) */
    int kernel, stride;   /* weight (kernel*kernel*in, out) */
} Conv;

typedef struct {
    const float *x, *weight, *bias, *addend;
    float *y, *packed;
    AmdimPool *pool; /* for a worker's scratch */
} ConvJob;

/* Where the patch of output pixel p (counted over all images) begins in x. */
INLINE size_t patch(Conv c, int p)
{
    if (c.kernel == 1 && c.stride == 1)
        return (size_t)p * c.in;
    const int area = c.out_side * c.out_side, image = p / area, row = p % area / c.out_side,
              column = p % c.out_side;
    return (((size_t)image * c.side + (size_t)row * c.stride) * c.side + (size_t)column * c.stride) * c.in;
}

/* What the tiles behind this one will want from memory, a stream for each panel: what they read, then what
 * lies where they write. Asked for a line at a time between multiplications, it arrives without holding them
 * up. */
INLINE const float *ahead_of(int panel, const float *rows, const float *mask, const float *addend,
                             const float *y)
{
    const float *const second = mask ? mask : addend ? addend : y, *const third = mask && addend ? addend : y;
    return panel == 0 ? rows : panel == 1 ? second : third;
}

/* The tile at pixel p and panel `panel` of y. */
INLINE Target conv_target(Conv c, const ConvJob *j, int tail, int p, int last, int panel)
{
    const int column = panel * PANEL;
    const size_t at = (size_t)p * c.out + column;
    return (Target){.y = j->y + at,
                    .bias = tail & TAIL_BIAS ? j->bias + column : NULL,
                    .addend = tail & TAIL_ADD ? j->addend + at : NULL,
                    .stride = c.out,
                    .rows = MIN_OF(ROWS, last - p),
                    .width = MIN_OF(PANEL, c.out - column)};
}

/* Pixels [first, last) of a 1x1 convolution's y: the rows of the left factor are x's pixels themselves. */
INLINE void conv_rows(Conv c, const ConvJob *j, int tail, int first, int last)
{
    for (int panel = 0; panel < PANELS(c.out); panel++)
        for (int p = first; p < last; p += ROWS) {
            const float *row = j->x + (size_t)p * c.in;
            const size_t next = (size_t)(p + ROWS) * c.out;
            Target t = conv_target(c, j, tail, p, last, panel);
            t.ahead = ahead_of(panel, row + (size_t)ROWS * c.in, NULL,
                               tail & TAIL_ADD ? j->addend + next : NULL, j->y + next);
            call_rows(tail, row, c.in, c.in, j->packed + (size_t)panel * c.in * PANEL, &t);
        }
}

/* Pixels [first, last) of y, a block at most, from their patches where they lie. */
INLINE void conv_patches(Conv c, const ConvJob *j, int tail, int first, int last)
{
    const int run = c.kernel * c.in, depth = c.kernel * run;
    const float *from[PIXEL_BLOCK + ROWS];
    for (int i = 0; i < PIXEL_BLOCK + ROWS; i++)
        from[i] = j->x + patch(c, MIN_OF(first + i, last - 1));
    for (int panel = 0; panel < PANELS(c.out); panel++)
        for (int p = first; p < last; p += ROWS) {
            Target t = conv_target(c, j, tail, p, last, panel);
            t.ahead = panel == 0 ? from[p - first + ROWS] : NULL;
            call_patches(tail, from + (p - first), c.kernel, run, (ptrdiff_t)c.side * c.in,
                         j->packed + (size_t)panel * depth * PANEL, &t);
        }
}

/* Pixels [first, last) of y. */
INLINE void conv_pixels(Conv c, const ConvJob *j, int tail, int first, int last)
{
    for (int block = first; block < last; block += PIXEL_BLOCK) {
        const int end = MIN_OF(block + PIXEL_BLOCK, last);
        if (c.kernel == 1 && c.stride == 1)
            conv_rows(c, j, tail, block, end);
        else
            conv_patches(c, j, tail, block, end);
    }
}

typedef struct {
    const float *dy, *weight, *addend, *mask;
    float *dx, *packed; /* packed[tap][panel][out][PANEL]: each tap's weights transposed */
    AmdimPool *pool;
} ConvGradXJob;

/* Pixels [first, last) of a 1x1 convolution's dx. */
INLINE void conv_grad_x_pixels(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    for (int block = first; block < last; block += PIXEL_BLOCK)
        for (int panel = 0; panel < PANELS(c.in); panel++)
            for (int p = block; p < MIN_OF(block + PIXEL_BLOCK, last); p += ROWS) {
                const int column = panel * PANEL;
                const size_t at = (size_t)p * c.in + column, next = (size_t)(p + ROWS) * c.in;
                const Target t = {.y = j->dx + at,
                                  .addend = tail & TAIL_ADD ? j->addend + at : NULL,
                                  .mask = tail & TAIL_MASK ? j->mask + at : NULL,
                                  .stride = c.in,
                                  .rows = MIN_OF(ROWS, last - p),
                                  .width = MIN_OF(PANEL, c.in - column),
                                  .ahead = ahead_of(panel, j->dy + (size_t)(p + ROWS) * c.out,
                                                    tail & TAIL_MASK ? j->mask + next : NULL,
                                                    tail & TAIL_ADD ? j->addend + next : NULL, j->dx + next)};
                call_rows(tail, j->dy + (size_t)p * c.out, c.out, c.out,
                          j->packed + (size_t)panel * c.out * PANEL, &t);
            }
}

/* What patches add up in: dx of images [first, last) = the addend, or 0. */
INLINE void conv_grad_x_begin(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    const size_t image = (size_t)c.side * c.side * c.in, begin = (size_t)first * image,
                 bytes = (size_t)(last - first) * image * sizeof(float);
    if (!(tail & TAIL_ADD))
        memset(j->dx + begin, 0, bytes);
    else if (j->dx != j->addend)
        memcpy(j->dx + begin, j->addend + begin, bytes);
}

/* The mask, once every patch has added its share. */
INLINE void conv_grad_x_end(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    const size_t image = (size_t)c.side * c.side * c.in;
    if (tail & TAIL_MASK)
        for (size_t i = (size_t)first * image; i < (size_t)last * image; i++)
            j->dx[i] = j->mask[i] > 0 ? j->dx[i] : 0;
}

/* dx of images [first, last): every tap of the kernel adds its product to the pixels it read. */
INLINE void conv_grad_x_images(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    const int area = c.out_side * c.out_side;
    conv_grad_x_begin(c, j, tail, first, last);
    for (int block = first * area; block < last * area; block += PIXEL_BLOCK) {
        const int end = MIN_OF(block + PIXEL_BLOCK, last * area);
        float *to[PIXEL_BLOCK];
        for (int i = 0; i < end - block; i++)
            to[i] = j->dx + patch(c, block + i);
        for (int panel = 0; panel < PANELS(c.in); panel++)
            for (int tap = 0; tap < c.kernel * c.kernel; tap++) {
                const float *packed = j->packed + ((size_t)tap * PANELS(c.in) + panel) * c.out * PANEL;
                const int column = panel * PANEL, width = MIN_OF(PANEL, c.in - column);
                const ptrdiff_t shift =
                    ((ptrdiff_t)(tap / c.kernel) * c.side + tap % c.kernel) * c.in + column;
                for (int p = block; p < end; p += ROWS)
                    rows_scattered(j->dy + (size_t)p * c.out, c.out, c.out, packed, to + (p - block), shift,
                                   MIN_OF(ROWS, end - p), width);
            }
    }
    conv_grad_x_end(c, j, tail, first, last);
}

/* Part `part` of `parts` of dx. Patches overlap in an image, which is one part's then. */
INLINE void conv_grad_x_part(Conv c, const ConvGradXJob *j, int tail, int part, int parts)
{
    const int pixels = c.images * c.side * c.side;
    if (c.kernel == 1 && c.stride == 1)
        conv_grad_x_pixels(c, j, tail, tile_piece(pixels, part, parts), tile_piece(pixels, part + 1, parts));
    else
        conv_grad_x_images(c, j, tail, piece(c.images, part, parts), piece(c.images, part + 1, parts));
}

typedef struct {
    const float *x, *dy;
    float *dw, *partial; /* partial: one dw a slice of the images, where they are sliced */
    bool more;           /* added to what dw holds */
    AmdimPool *pool;
} ConvGradWJob;

/* dw[r][..] (+)= sum over `pixels` of x[i][r] * dy[i][..] for `rows` rows: x[i] + shift points at the pixel's
 * first of them, dy is packed (pixels, PANEL). What lies a line behind ahead[i] + shift is asked for: the
 * caller says what will be read soon. */
INLINE void grad_w_tile(int rows, const float *const *x, const float *const *ahead, size_t shift,
                        const float *dy, int pixels, float *dw, ptrdiff_t columns, int width, bool first)
{
    /* Loops go to ROWS, which is known before inlining, so that all of them are unrolled and the sums stay in
     * registers. */
    Vec sum[ROWS][VECTORS];
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = (Vec){0};
    for (int i = 0; i < pixels; i++) {
        const float *a = x[i] + shift;
        Vec b[VECTORS];
        __builtin_prefetch(ahead[i] + shift + LINE);
        UNROLL for (int v = 0; v < VECTORS; v++) b[v] = load(dy + i * PANEL + v * LANES);
        UNROLL for (int r = 0; r < ROWS; r++) if (r < rows)
        {
            const float left = a[r];
            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += left * b[v];
        }
    }
    if (width == PANEL) {
        UNROLL for (int r = 0; r < ROWS; r++) if (r < rows) UNROLL for (int v = 0; v < VECTORS; v++)
        {
            float *to = dw + r * columns + v * LANES;
            store(to, first ? sum[r][v] : (Vec)(sum[r][v] + load(to)));
        }
        return;
    }
    float spilled[ROWS][PANEL];
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++)
        store(&spilled[r][v * LANES], sum[r][v]);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < width; i++)
            dw[r * columns + i] = first ? spilled[r][i] : dw[r * columns + i] + spilled[r][i];
}

/* A function for each height, shared by all shapes; heights above ROWS are never asked for. */
#define GRAD_W_HEIGHTS(HEIGHT)                                                                               \
    HEIGHT(1)                                                                                                \
    HEIGHT(2)                                                                                                \
    HEIGHT(3)                                                                                                \
    HEIGHT(4)                                                                                                \
    HEIGHT(5)                                                                                                \
    HEIGHT(6)                                                                                                \
    HEIGHT(7)                                                                                                \
    HEIGHT(8)                                                                                                \
    HEIGHT(9)                                                                                                \
    HEIGHT(10)                                                                                               \
    HEIGHT(11)                                                                                               \
    HEIGHT(12)
#define DEFINE_HEIGHT(n)                                                                                     \
    SHARED void grad_w_rows_##n(const float *const *x, const float *const *ahead, size_t shift,              \
                                const float *dy, int pixels, float *dw, ptrdiff_t columns, int width,        \
                                bool first)                                                                  \
    {                                                                                                        \
        grad_w_tile(MIN_OF(n, ROWS), x, ahead, shift, dy, pixels, dw, columns, width, first);                \
    }
GRAD_W_HEIGHTS(DEFINE_HEIGHT)

INLINE void grad_w_rows(int rows, const float *const *x, const float *const *ahead, size_t shift,
                        const float *dy, int pixels, float *dw, ptrdiff_t columns, int width, bool first)
{
#define CALL(n)                                                                                              \
    case n: grad_w_rows_##n(x, ahead, shift, dy, pixels, dw, columns, width, first); break;
    switch (rows) {
        GRAD_W_HEIGHTS(CALL)
    }
#undef CALL
}

/* One panel of `pixels` rows of dy (pixels, columns), zeros beyond the last column. */
SHARED void pack_pixels(const float *dy, int pixels, int columns, int width, float *packed)
{
    for (int i = 0; i < pixels; i++, packed += PANEL) {
        const float *from = dy + (size_t)i * columns;
        for (int line = 0; line < PANEL; line += LINE)
            __builtin_prefetch(from + PANEL + line); /* the next panel's */
        if (width == PANEL) {
            UNROLL for (int v = 0; v < VECTORS; v++) store(packed + v * LANES, load(from + v * LANES));
            continue;
        }
        memcpy(packed, from, sizeof(float) * (size_t)width);
        memset(packed + width, 0, sizeof(float) * (size_t)(PANEL - width));
    }
}

/* The block of dw with the row tiles [tile0, tile1) and the panels [panel0, panel1), over the pixels of
 * images [first, last), blocks of pixels in order. Each of the kernel's rows (kernel*in floats) is cut into
 * tiles of its own, of heights that differ by one at most. */
INLINE void conv_grad_w_block(Conv c, const ConvGradWJob *j, float *dw, bool more, int tile0, int tile1,
                              int panel0, int panel1, int first, int last)
{
    const int area = c.out_side * c.out_side, run = c.kernel * c.in, tiles = CEIL_DIV(run, ROWS);
    for (int block = first * area; block < last * area; block += SUM_BLOCK) {
        const int pixels = MIN_OF(SUM_BLOCK, last * area - block);
        const float *x[SUM_BLOCK], *ahead[SUM_BLOCK]; /* the block's pixels, and the next one's */
        float dy[SUM_BLOCK * PANEL];
        for (int i = 0; i < pixels; i++) {
            x[i] = j->x + patch(c, block + i);
            ahead[i] = j->x + patch(c, MIN_OF(block + SUM_BLOCK + i, last * area - 1));
            __builtin_prefetch(x[i]);
        }
        for (int panel = panel0; panel < panel1; panel++) {
            const int column = panel * PANEL, width = MIN_OF(PANEL, c.out - column);
            pack_pixels(j->dy + (size_t)block * c.out + column, pixels, c.out, width, dy);
            for (int tile = tile0; tile < tile1; tile++) {
                const int ky = tile / tiles, row = piece(run, tile % tiles, tiles);
                grad_w_rows(piece(run, tile % tiles + 1, tiles) - row, x, ahead,
                            (size_t)ky * c.side * c.in + (size_t)row, dy, pixels,
                            dw + ((size_t)ky * run + (size_t)row) * c.out + column, c.out, width,
                            block == first * area && !more);
            }
        }
    }
}

/* How the work is cut: into blocks of dw; or into slices of the images, each with a whole dw of its own. */
#define GRAD_W_TILES(c)      ((c).kernel * CEIL_DIV((c).kernel * (c).in, ROWS))
#define GRAD_W_PANEL_CUTS(c) MIN_OF(PANELS((c).out), 4)
#define GRAD_W_TILE_CUTS(c)  MIN_OF(GRAD_W_TILES(c), CEIL_DIV(GRAD_W_TILES(c), 24) + 1)
#define GRAD_W_PARTS(c)      (GRAD_W_PANEL_CUTS(c) * GRAD_W_TILE_CUTS(c))

/* Part `part` of GRAD_W_PARTS blocks. */
INLINE void conv_grad_w_part(Conv c, const ConvGradWJob *j, int part)
{
    const int tile_cut = part / GRAD_W_PANEL_CUTS(c), panel_cut = part % GRAD_W_PANEL_CUTS(c);
    conv_grad_w_block(c, j, j->dw, j->more, piece(GRAD_W_TILES(c), tile_cut, GRAD_W_TILE_CUTS(c)),
                      piece(GRAD_W_TILES(c), tile_cut + 1, GRAD_W_TILE_CUTS(c)),
                      piece(PANELS(c.out), panel_cut, GRAD_W_PANEL_CUTS(c)),
                      piece(PANELS(c.out), panel_cut + 1, GRAD_W_PANEL_CUTS(c)), 0, c.images);
}

/* Slice `slice` of the images, into its own dw. */
INLINE void conv_grad_w_slice(Conv c, const ConvGradWJob *j, int slice, int slices)
{
    conv_grad_w_block(c, j, j->partial + (size_t)slice * (c.kernel * c.kernel * c.in) * c.out, false, 0,
                      GRAD_W_TILES(c), 0, PANELS(c.out), piece(c.images, slice, slices),
                      piece(c.images, slice + 1, slices));
}

/* to = addend + scale * the sum of the slices, in their order; `count` floats each; addend may be NULL. */
SHARED void sum_slices(const float *partial, int slices, size_t count, float scale, const float *addend,
                       float *to, int part, int parts)
{
    for (size_t i = count * (size_t)part / (size_t)parts; i < count * (size_t)(part + 1) / (size_t)parts;
         i++) {
        float sum = 0;
        for (int slice = 0; slice < slices; slice++)
            sum += partial[(size_t)slice * count + i];
        to[i] = (addend ? addend[i] : 0) + scale * sum;
    }
}

typedef struct {
    const float *dy;
    float *db;
    bool more; /* added to what db holds */
} BiasGradJob;

/* db of channels [first, last): sums over blocks of pixels, added up in double. */
INLINE void bias_grad_channels(int pixels, int channels, const BiasGradJob *j, int first, int last)
{
    enum { WIDTH = 64 };
    for (int c = first; c < last; c += WIDTH) {
        const int width = MIN_OF(WIDTH, last - c);
        double total[WIDTH] = {0};
        for (int block = 0; block < pixels; block += PIXEL_BLOCK) {
            float sum[WIDTH] = {0};
            for (int p = block; p < MIN_OF(block + PIXEL_BLOCK, pixels); p++)
                for (int i = 0; i < width; i++)
                    sum[i] += j->dy[(size_t)p * channels + c + i];
            for (int i = 0; i < width; i++)
                total[i] += sum[i];
        }
        for (int i = 0; i < width; i++)
            j->db[c + i] = (float)(j->more ? j->db[c + i] + total[i] : total[i]);
    }
}

/* ---- padding, pooling, positions
 * ------------------------------------------------------------------------------------ */

/* to += scale * from; shared, so that maps' functions stay small. */
SHARED void add_scaled(float *restrict to, const float *restrict from, float scale, int count)
{
    for (int i = 0; i < count; i++)
        to[i] += scale * from[i];
}

/* The row or column that a padded one mirrors (the edge is not repeated); -1 where zeros stand. */
INLINE int pad_source(int i, int pad, int side, bool reflect)
{
    i -= pad;
    if (i < 0)
        return reflect ? -i : -1;
    if (i >= side)
        return reflect ? 2 * (side - 1) - i : -1;
    return i;
}

typedef struct {
    const float *x, *addend, *mask;
    float *y;
} MapJob;

/* y (images, side + 2*pad, side + 2*pad, channels) from x (images, side, side, channels). */
INLINE void pad_image(int side, int channels, int pad, bool reflect, const MapJob *j, int image)
{
    const int padded = side + 2 * pad;
    const float *x = j->x + (size_t)image * side * side * channels;
    float *y = j->y + (size_t)image * padded * padded * channels;
    for (int row = 0; row < padded; row++)
        for (int column = 0; column < padded; column++, y += channels) {
            const int r = pad_source(row, pad, side, reflect), c = pad_source(column, pad, side, reflect);
            if (r < 0 || c < 0)
                memset(y, 0, sizeof(float) * (size_t)channels);
            else
                memcpy(y, x + ((size_t)r * side + (size_t)c) * channels, sizeof(float) * (size_t)channels);
        }
}

/* dx = mask(addend + what of dy lies over or mirrors each pixel). */
INLINE void pad_grad_image(int side, int channels, int pad, bool reflect, bool add, bool mask,
                           const MapJob *j, int image)
{
    const int padded = side + 2 * pad;
    const size_t count = (size_t)side * side * channels;
    const float *dy = j->x + (size_t)image * padded * padded * channels;
    float *dx = j->y + image * count;
    if (!add)
        memset(dx, 0, count * sizeof(float));
    else if (j->y != j->addend)
        memcpy(dx, j->addend + image * count, count * sizeof(float));
    for (int row = 0; row < padded; row++)
        for (int column = 0; column < padded; column++, dy += channels) {
            const int r = pad_source(row, pad, side, reflect), c = pad_source(column, pad, side, reflect);
            if (r < 0 || c < 0)
                continue;
            add_scaled(dx + ((size_t)r * side + (size_t)c) * channels, dy, 1, channels);
        }
    if (mask)
        for (size_t i = 0; i < count; i++)
            dx[i] = j->mask[image * count + i] > 0 ? dx[i] : 0;
}

/* Mean over kernel x kernel windows; channels from `in` to `out` are zero. */
INLINE void pool_image(Conv c, const MapJob *j, int image)
{
    const float *x = j->x + (size_t)image * c.side * c.side * c.in;
    float *y = j->y + (size_t)image * c.out_side * c.out_side * c.out;
    const float share = 1.0f / (float)(c.kernel * c.kernel);
    for (int p = 0; p < c.out_side * c.out_side; p++, y += c.out) {
        const float *window = x + patch(c, p);
        memset(y, 0, sizeof(float) * (size_t)c.out);
        ROLLED for (int ky = 0; ky < c.kernel; ky++) ROLLED for (int kx = 0; kx < c.kernel; kx++)
            add_scaled(y, window + ((size_t)ky * c.side + (size_t)kx) * c.in, share, c.in);
    }
}

INLINE void pool_grad_image(Conv c, bool add, const MapJob *j, int image)
{
    const size_t count = (size_t)c.side * c.side * c.in;
    const float *dy = j->x + (size_t)image * c.out_side * c.out_side * c.out;
    float *dx = j->y + image * count;
    const float share = 1.0f / (float)(c.kernel * c.kernel);
    if (!add)
        memset(dx, 0, count * sizeof(float));
    else if (j->y != j->addend)
        memcpy(dx, j->addend + image * count, count * sizeof(float));
    for (int p = 0; p < c.out_side * c.out_side; p++, dy += c.out) {
        float *window = dx + patch(c, p);
        ROLLED for (int ky = 0; ky < c.kernel; ky++) ROLLED for (int kx = 0; kx < c.kernel; kx++)
            add_scaled(window + ((size_t)ky * c.side + (size_t)kx) * c.in, dy, share, c.in);
    }
}

/* y (images, channels): the mean over `positions`. */
INLINE void mean_image(int positions, int channels, const MapJob *j, int image)
{
    const float *x = j->x + (size_t)image * positions * channels;
    float *y = j->y + (size_t)image * channels;
    memset(y, 0, sizeof(float) * (size_t)channels);
    for (int p = 0; p < positions; p++)
        add_scaled(y, x + (size_t)p * channels, 1.0f / (float)positions, channels);
}

typedef struct {
    const float *x, *addend;
    const int32_t *location; /* (images) */
    float *y;
} GatherJob;

INLINE void gather_image(int positions, int channels, const GatherJob *j, int image)
{
    memcpy(j->y + (size_t)image * channels,
           j->x + ((size_t)image * positions + (size_t)j->location[image]) * channels,
           sizeof(float) * (size_t)channels);
}

INLINE void gather_grad_image(int positions, int channels, bool add, const GatherJob *j, int image)
{
    const size_t count = (size_t)positions * channels;
    const float *da = j->x + (size_t)image * channels;
    float *dx = j->y + image * count;
    if (!add)
        memset(dx, 0, count * sizeof(float));
    else if (j->y != j->addend)
        memcpy(dx, j->addend + image * count, count * sizeof(float));
    add_scaled(dx + (size_t)j->location[image] * channels, da, 1, channels);
}

/* ---- pointwise
 * -------------------------------------------------------------------------------------------------------- */

INLINE void relu_grad_piece(size_t first, size_t last, const MapJob *j)
{
    ELEMENTWISE for (size_t i = first; i < last; i++) j->y[i] = j->mask[i] > 0 ? j->x[i] : 0;
}

INLINE void add_piece(size_t first, size_t last, const MapJob *j)
{
    ELEMENTWISE for (size_t i = first; i < last; i++) j->y[i] = j->x[i] + j->addend[i];
}

/* ---- batch normalisation
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
    const float *x, *weight, *bias;
    float *running_mean, *running_var;
    float *y, *statistics; /* statistics (views, 2, channels): mean, 1 / sqrt(var + eps) */
} BatchnormJob;

typedef struct {
    const float *x, *weight, *bias, *running_mean, *running_var;
    float *y;
} NormalizeJob;

typedef struct {
    int views, rows, channels; /* x (views, rows, channels); a view's rows are its images' positions */
} Batchnorm;

enum {
    BATCHNORM_WIDTH = 64, /* channels that one part owns */
    BATCHNORM_BLOCK = 16, /* rows summed in float: few, for what is summed may all but cancel */
};
#define BATCHNORM_EPS      1e-5
#define BATCHNORM_MOMENTUM 0.1

/* sum[i] = sum over rows of term(row, i), in float over blocks of rows and in double over blocks. */
#define BATCHNORM_SUM(sum, width, rows, term)                                                                \
    do {                                                                                                     \
        for (int i = 0; i < (width); i++)                                                                    \
            (sum)[i] = 0;                                                                                    \
        ROLLED for (int block = 0; block < (rows); block += BATCHNORM_BLOCK)                                 \
        {                                                                                                    \
            float part_[BATCHNORM_WIDTH] = {0};                                                              \
            ROLLED for (int row = block; row < MIN_OF(block + BATCHNORM_BLOCK, (rows));                      \
                        row++) for (int i = 0; i < (width); i++) part_[i] += (term);                         \
            for (int i = 0; i < (width); i++)                                                                \
                (sum)[i] += part_[i];                                                                        \
        }                                                                                                    \
    } while (0)

/* Training: statistics of each view of its own; running statistics take the views in turn (unbiased
 * variance). The sum of distances from a first mean corrects it to far below a float's last place, which
 * matters where a channel's mean is large beside its deviation; what of the mean no float holds goes into the
 * shift. */
INLINE void batchnorm_channels(Batchnorm b, bool relu, const BatchnormJob *j, int first, int last)
{
    const int width = last - first;
    for (int view = 0; view < b.views; view++) {
        const float *x = j->x + (size_t)view * b.rows * b.channels + first;
        float *y = j->y + (size_t)view * b.rows * b.channels + first;
        float *kept = j->statistics + (size_t)view * 2 * b.channels + first;
        double sum[BATCHNORM_WIDTH], drift[BATCHNORM_WIDTH];
        float mean[BATCHNORM_WIDTH], scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH];
#define DISTANCE (x[(size_t)row * b.channels + i] - mean[i])
        BATCHNORM_SUM(sum, width, b.rows, x[(size_t)row * b.channels + i]);
        for (int i = 0; i < width; i++)
            mean[i] = (float)(sum[i] / b.rows);
        BATCHNORM_SUM(drift, width, b.rows, DISTANCE);
        BATCHNORM_SUM(sum, width, b.rows, DISTANCE * DISTANCE);
        for (int i = 0; i < width; i++) {
            const double rest = drift[i] / b.rows, exact = mean[i] + rest, squares = sum[i] - drift[i] * rest;
            const double var = squares / b.rows, unbiased = squares / (b.rows - 1);
            float *running_mean = j->running_mean + first + i, *running_var = j->running_var + first + i;
            *running_mean += (float)(BATCHNORM_MOMENTUM * (exact - *running_mean));
            *running_var += (float)(BATCHNORM_MOMENTUM * (unbiased - *running_var));
            kept[i] = (float)exact;
            kept[b.channels + i] = (float)(1 / sqrt(var + BATCHNORM_EPS));
            scale[i] = kept[b.channels + i] * j->weight[first + i];
            shift[i] = (float)(j->bias[first + i] - rest * scale[i]);
        }
        for (int row = 0; row < b.rows; row++)
            ELEMENTWISE for (int i = 0; i < width; i++)
            {
                const size_t at = (size_t)row * b.channels + i;
                const float value = DISTANCE * scale[i] + shift[i];
                y[at] = relu && !(value > 0) ? 0 : value;
            }
#undef DISTANCE
    }
}

/* Testing: y = (x - running mean) / sqrt(running var + eps) * weight + bias. */
INLINE void normalize_rows(Batchnorm b, bool relu, const NormalizeJob *j, int first, int last)
{
    for (int c = 0; c < b.channels; c += BATCHNORM_WIDTH) {
        const int width = MIN_OF(BATCHNORM_WIDTH, b.channels - c);
        float scale[BATCHNORM_WIDTH];
        for (int i = 0; i < width; i++)
            scale[i] = (float)(j->weight[c + i] / sqrt(j->running_var[c + i] + BATCHNORM_EPS));
        for (int row = first; row < last; row++)
            ELEMENTWISE for (int i = 0; i < width; i++)
            {
                const size_t at = (size_t)row * b.channels + c + i;
                const float value = (j->x[at] - j->running_mean[c + i]) * scale[i] + j->bias[c + i];
                j->y[at] = relu && !(value > 0) ? 0 : value;
            }
    }
}

typedef struct {
    const float *dy, *x, *weight, *statistics, *mask; /* mask: y, where a ReLU follows */
    float *dx, *dweight, *dbias;
} BatchnormGradJob;

/* With z = (x - mean) * inv: dx = weight * inv * (dy - mean(dy) - z * mean(dy * z)), a view at a time. */
INLINE void batchnorm_grad_channels(Batchnorm b, bool relu, const BatchnormGradJob *j, int first, int last)
{
    const int width = last - first;
    double dweight[BATCHNORM_WIDTH] = {0}, dbias[BATCHNORM_WIDTH] = {0};
    for (int view = 0; view < b.views; view++) {
        const size_t begin = (size_t)view * b.rows * b.channels + first;
        const float *x = j->x + begin, *dy = j->dy + begin, *mask = relu ? j->mask + begin : dy;
        const float *mean = j->statistics + (size_t)view * 2 * b.channels + first, *inv = mean + b.channels;
        float *dx = j->dx + begin;
#define DY(at) (relu && !(mask[at] > 0) ? 0 : dy[at])
#define AT     ((size_t)row * b.channels + i)
        double sum[BATCHNORM_WIDTH], dot[BATCHNORM_WIDTH];
        BATCHNORM_SUM(sum, width, b.rows, DY(AT));
        BATCHNORM_SUM(dot, width, b.rows, DY(AT) * (x[AT] - mean[i]) * inv[i]);
        float scale[BATCHNORM_WIDTH], shift[BATCHNORM_WIDTH], slope[BATCHNORM_WIDTH];
        for (int i = 0; i < width; i++) {
            dbias[i] += sum[i];
            dweight[i] += dot[i];
            scale[i] = j->weight[first + i] * inv[i];
            shift[i] = (float)(sum[i] / b.rows);
            slope[i] = (float)(dot[i] / b.rows) * inv[i];
        }
        for (int row = 0; row < b.rows; row++)
            ELEMENTWISE for (int i = 0; i < width; i++) dx[AT] =
                scale[i] * (DY(AT) - shift[i] - (x[AT] - mean[i]) * slope[i]);
#undef DY
#undef AT
    }
    for (int i = 0; i < width; i++) {
        j->dweight[first + i] = (float)dweight[i];
        j->dbias[first + i] = (float)dbias[i];
    }
}

#endif
