/* vectors.h: products by the processor's vectors.
 *
 * A product takes its left rows where they lie and its right matrix packed into panels of PANEL columns:
 * packed[panel][depth][PANEL], zeros beyond the last column. Of products, a
 * worker's scratch memory stays unused here; it is there for tiles.h, which offers the same functions. */
#ifndef VECTORS_H
#define VECTORS_H

#include "kernels.h"

_Static_assert(PIXEL_BLOCK % ROWS == 0, "a block of pixels is a whole number of tiles");
_Static_assert(ROWS % 2 == 0, "a tile is a multiple of HEIGHT_STEP high");

/* Floats of a packed panel. */
#define PANEL_FLOATS(depth) ((ptrdiff_t)(depth)*PANEL)

/* ---- four lanes ---- */

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

/* Of each four lanes of a and the four of b those that are named: 0 to 3 are a's, 4 to 7 are b's. */
#define LANE(k, from)              ((k) < 4 ? (from) + (k) : LANES + (from) + (k)-4)
#define LANES_OF(from, i, j, k, l) LANE(i, from), LANE(j, from), LANE(k, from), LANE(l, from)
#if defined __AVX512F__
#define OF_FOURS(a, b, ...)                                                                                  \
    __builtin_shufflevector(a, b, LANES_OF(0, __VA_ARGS__), LANES_OF(4, __VA_ARGS__),                        \
                            LANES_OF(8, __VA_ARGS__), LANES_OF(12, __VA_ARGS__))
#elif defined __AVX__
#define OF_FOURS(a, b, ...) __builtin_shufflevector(a, b, LANES_OF(0, __VA_ARGS__), LANES_OF(4, __VA_ARGS__))
#else
#define OF_FOURS(a, b, ...) __builtin_shufflevector(a, b, LANES_OF(0, __VA_ARGS__))
#endif

#if defined __has_builtin
#define HAS_SHUFFLE (HAS_VECTORS && __has_builtin(__builtin_shufflevector))
#else
#define HAS_SHUFFLE 0
#endif

/* ---- packing ---- */

/* `rows` rows of a panel of scale * w, which lie `columns` floats apart in it, to rows `apart` floats apart;
 * `width` floats of each are there, zeros beyond. */
SHARED void pack_rows_of_panel(const float *w, int rows, ptrdiff_t columns, int width, float scale, float *to,
                               ptrdiff_t apart)
{
    enum { AHEAD = 12 }; /* rows; they lie too far apart for a processor to foresee */
    for (int k = 0; k < rows; k++, to += apart, w += columns) {
        for (int line = 0; line < PANEL; line += LINE)
            __builtin_prefetch(w + AHEAD * columns + line);
        if (width == PANEL) {
            UNROLL for (int v = 0; v < VECTORS; v++) store(to + v * LANES, scale * load(w + v * LANES));
            continue;
        }
        memset(to, 0, sizeof(float) * PANEL);
        SCALAR for (int j = 0; j < width; j++) to[j] = scale * w[j];
    }
}

/* One panel of scale * w, w (depth, columns). */
INLINE void pack_panel(const float *w, int depth, int columns, float scale, int panel, float *packed)
{
    const int first = panel * PANEL;
    pack_rows_of_panel(w + first, depth, columns, MIN_OF(PANEL, columns - first), scale,
                       packed + (size_t)panel * depth * PANEL, PANEL);
}

enum { TRANSPOSED_ROWS = 4 }; /* together, in each four lanes of a vector */

/* A vector of each of TRANSPOSED_ROWS rows of w, `depth` floats apart, as columns, which lie `apart` floats
 * apart. */
INLINE void store_columns(const float *w, ptrdiff_t depth, float scale, float *to, ptrdiff_t apart)
{
#if HAS_SHUFFLE
    Vec row[TRANSPOSED_ROWS];
    UNROLL for (int i = 0; i < TRANSPOSED_ROWS; i++) row[i] = scale * load(w + i * depth);
    const Vec low_01 = OF_FOURS(row[0], row[1], 0, 4, 1, 5), high_01 = OF_FOURS(row[0], row[1], 2, 6, 3, 7),
              low_23 = OF_FOURS(row[2], row[3], 0, 4, 1, 5), high_23 = OF_FOURS(row[2], row[3], 2, 6, 3, 7);
    const Vec column[TRANSPOSED_ROWS] = {
        OF_FOURS(low_01, low_23, 0, 1, 4, 5), OF_FOURS(low_01, low_23, 2, 3, 6, 7),
        OF_FOURS(high_01, high_23, 0, 1, 4, 5), OF_FOURS(high_01, high_23, 2, 3, 6, 7)};
    UNROLL for (int four = 0; four < LANES / TRANSPOSED_ROWS; four++)
        UNROLL for (int i = 0; i < TRANSPOSED_ROWS; i++)
    {
        Four *const at = (Four *)(to + (four * TRANSPOSED_ROWS + i) * apart);
        *at = ((const Four *)&column[i])[four];
    }
#else
    for (int i = 0; i < LANES; i++)
        for (int row = 0; row < TRANSPOSED_ROWS; row++)
            to[i * apart + row] = scale * w[row * depth + i];
#endif
}

/* The same of transposed w, whose own rows lie `depth` floats apart; `width` of them are there, and but for a
 * whole panel rows are PANEL floats apart. */
SHARED void pack_columns_of_panel(const float *w, int rows, ptrdiff_t depth, int width, float scale,
                                  float *to, ptrdiff_t apart)
{
    if (width < PANEL)
        memset(to, 0, sizeof(float) * (size_t)rows * PANEL);
    for (int block = 0; block < rows; block += LINE) /* so that no line is read twice */
        for (int j = 0; j < width; j += TRANSPOSED_ROWS) {
            const float *from = w + j * depth + block;
            float *const at = to + block * apart + j;
            const int end = MIN_OF(rows - block, LINE), left = MIN_OF(width - j, TRANSPOSED_ROWS);
            if (left == TRANSPOSED_ROWS && end == LINE) {
                ROLLED for (int k = 0; k < LINE; k += LANES)
                    store_columns(from + k, depth, scale, at + k * apart, apart);
                continue;
            }
            SCALAR for (int i = 0; i < left; i++, from += depth) SCALAR for (int k = 0; k < end; k++)
                at[k * apart + i] = scale * from[k];
        }
}

/* One panel of scale * transposed w, w (columns, depth). */
INLINE void pack_panel_transposed(const float *w, int depth, int columns, float scale, int panel,
                                  float *packed)
{
    const int first = panel * PANEL;
    pack_columns_of_panel(w + (size_t)first * depth, depth, depth, MIN_OF(PANEL, columns - first), scale,
                          packed + (size_t)panel * depth * PANEL, PANEL);
}

/* ---- the tile ---- */

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
    ROLLED for (int r = 0; r < t->rows; r++) ROLLED for (int i = 0; i < t->width; i += LINE)
    {
        const ptrdiff_t at = r * t->stride + i;
        __builtin_prefetch(t->y + at, 1);
        if (tail & TAIL_ADD && t->addend != t->y)
            __builtin_prefetch(t->addend + at);
        if (tail & TAIL_MASK)
            __builtin_prefetch(t->mask + at);
    }
}

/* In front of a statement for each vector of a tile's sums. */
#define EACH_VECTOR(r, v) UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < VECTORS; v++)

INLINE void tile_begin(Vec sum[ROWS][VECTORS])
{
    EACH_VECTOR(r, v) sum[r][v] = (Vec){0};
}

INLINE void tile_spill(Vec sum[ROWS][VECTORS], float spilled[ROWS][PANEL])
{
    EACH_VECTOR(r, v) store(&spilled[r][v * LANES], sum[r][v]);
}

/* A tile at an edge, element by element. */
SHARED void tile_store_edge(int tail, float spilled[ROWS][PANEL], const Target *t)
{
    ROLLED for (int r = 0; r < t->rows; r++) SCALAR for (int i = 0; i < t->width; i++)
    {
        const ptrdiff_t at = r * t->stride + i;
        t->y[at] = tail_number(tail, spilled[r][i], tail & TAIL_BIAS ? t->bias[i] : 0,
                               tail & TAIL_ADD ? t->addend[at] : 0, tail & TAIL_MASK ? t->mask[at] : 0);
    }
}

/* Every bit of the tail is asked for once a tile: less than the code of a function for each tail costs. */
INLINE void tile_store(int tail, Vec sum[ROWS][VECTORS], const Target *t)
{
    if (t->rows < ROWS || t->width < PANEL) {
        float spilled[ROWS][PANEL];
        tile_spill(sum, spilled);
        tile_store_edge(tail, spilled, t);
        return;
    }
    if (tail & TAIL_BIAS)
        EACH_VECTOR(r, v) sum[r][v] += load(t->bias + v * LANES);
    if (tail & TAIL_ADD)
        EACH_VECTOR(r, v) sum[r][v] += load(t->addend + r * t->stride + v * LANES);
    if (tail & TAIL_RELU)
        EACH_VECTOR(r, v) sum[r][v] = relu_of(sum[r][v]);
    if (tail & TAIL_MASK)
        EACH_VECTOR(r, v) sum[r][v] = where_positive(load(t->mask + r * t->stride + v * LANES), sum[r][v]);
    EACH_VECTOR(r, v) store(t->y + r * t->stride + v * LANES, sum[r][v]);
}

/* sum[r] += the row that a[r] points at . panel, over `length` of its floats. Meanwhile as many lines from
 * `ahead` on are asked for: what the next tiles will read. */
INLINE void tile_multiply(Vec sum[ROWS][VECTORS], const float *const a[ROWS], int length, const float *panel,
                          const float *ahead)
{
    ROLLED for (int k = 0; k < length; k++, panel += PANEL)
    {
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

/* A tile of a product whose left rows lie a_stride floats apart. Rows beyond t->rows are read as the last. */
SHARED void tile_of_rows(int tail, const float *first, ptrdiff_t a_stride, int depth, const float *panel,
                         const Target *t)
{
    const float *a[ROWS];
    Vec sum[ROWS][VECTORS];
    target_prefetch(tail, t);
    UNROLL for (int r = 0; r < ROWS; r++) a[r] = first + MIN_OF(r, t->rows - 1) * a_stride;
    tile_begin(sum);
    tile_multiply(sum, a, depth, panel, t->ahead);
    tile_store(tail, sum, t);
}

/* What a block of a product's depth does of the tail: the first takes the addend, the others add to what it
 * left in the result, the last does the rest. */
INLINE int tail_of_block(int tail, bool first, bool last)
{
    return (first ? tail & TAIL_ADD : TAIL_ADD) | (last ? tail & ~TAIL_ADD : TAIL_NONE);
}

/* A tile of a convolution: row r is the patch at x + at[r], `runs` runs of `length` floats that lie `jump`
 * apart. */
SHARED void tile_of_patches(int tail, const float *x, const size_t at[ROWS], int runs, int length,
                            ptrdiff_t jump, const float *panel, const Target *t)
{
    const float *a[ROWS];
    Vec sum[ROWS][VECTORS];
    target_prefetch(tail, t);
    UNROLL for (int r = 0; r < ROWS; r++) a[r] = x + at[r];
    tile_begin(sum);
    ROLLED for (int run = 0; run < runs; run++, panel += (ptrdiff_t)length * PANEL)
    {
        tile_multiply(sum, a, length, panel, t->ahead ? t->ahead + run * jump : NULL);
        UNROLL for (int r = 0; r < ROWS; r++) a[r] += jump;
    }
    tile_store(tail, sum, t);
}

/* Adds a tile of a product to scattered rows: row r to y + at[r]. */
SHARED void tile_scattered(const float *first, ptrdiff_t a_stride, int depth, const float *panel, float *y,
                           const size_t *at, int rows, int width)
{
    const float *a[ROWS];
    Vec sum[ROWS][VECTORS];
    UNROLL for (int r = 0; r < ROWS; r++) a[r] = first + MIN_OF(r, rows - 1) * a_stride;
    tile_begin(sum);
    tile_multiply(sum, a, depth, panel, NULL);
    if (rows == ROWS && width == PANEL) {
        EACH_VECTOR(r, v)
        {
            float *to = y + at[r] + v * LANES;
            store(to, load(to) + sum[r][v]);
        }
        return;
    }
    float spilled[ROWS][PANEL];
    tile_spill(sum, spilled);
    ROLLED for (int r = 0; r < rows; r++) SCALAR for (int i = 0; i < width; i++) y[at[r] + i] +=
        spilled[r][i];
}

/* ---- convolution ---- */

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
SHARED void conv_rows(Conv c, const ConvJob *j, int tail, int first, int last)
{
    ROLLED for (int panel = 0; panel < PANELS(c.out); panel++) ROLLED for (int p = first; p < last; p += ROWS)
    {
        const float *row = j->x + (size_t)p * c.in;
        const size_t next = (size_t)(p + ROWS) * c.out;
        Target t = conv_target(c, j, tail, p, last, panel);
        t.ahead = ahead_of(panel, row + (size_t)ROWS * c.in, NULL, tail & TAIL_ADD ? j->addend + next : NULL,
                           j->y + next);
        tile_of_rows(tail, row, c.in, c.in, j->packed + (size_t)panel * c.in * PANEL, &t);
    }
}

/* Pixels [first, last) of y, a block at most, from their patches where they lie. */
SHARED void conv_patches(Conv c, const ConvJob *j, int tail, int first, int last)
{
    const int run = c.kernel * c.in, depth = c.kernel * run;
    size_t from[PIXEL_BLOCK + ROWS];
    patches_at(c, first, PIXEL_BLOCK + ROWS, last, from);
    ROLLED for (int panel = 0; panel < PANELS(c.out); panel++) ROLLED for (int p = first; p < last; p += ROWS)
    {
        Target t = conv_target(c, j, tail, p, last, panel);
        t.ahead = panel == 0 ? j->x + from[p - first + ROWS] : NULL;
        tile_of_patches(tail, j->x, from + (p - first), c.kernel, run, (ptrdiff_t)c.side * c.in,
                        j->packed + (size_t)panel * depth * PANEL, &t);
    }
}

/* Pixels [first, last) of y. */
SHARED void conv_pixels(Conv c, const ConvJob *j, float *scratch, int tail, int first, int last)
{
    (void)scratch;
    ROLLED for (int block = first; block < last; block += PIXEL_BLOCK)
    {
        const int end = MIN_OF(block + PIXEL_BLOCK, last);
        if (is_pointwise(c))
            conv_rows(c, j, tail, block, end);
        else
            conv_patches(c, j, tail, block, end);
    }
}

/* The tile at pixel p and panel `panel` of dx, of a 1x1 convolution. */
INLINE void conv_grad_x_tile(Conv c, const ConvGradXJob *j, int tail, int p, int last, int panel)
{
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
    tile_of_rows(tail, j->dy + (size_t)p * c.out, c.out, c.out, j->packed + (size_t)panel * c.out * PANEL,
                 &t);
}

/* Pixels [first, last) of a 1x1 convolution's dx. */
SHARED void conv_grad_x_pixels(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    ROLLED for (int block = first; block < last; block += PIXEL_BLOCK)
        ROLLED for (int panel = 0; panel < PANELS(c.in); panel++)
            ROLLED for (int p = block; p < MIN_OF(block + PIXEL_BLOCK, last); p += ROWS)
                conv_grad_x_tile(c, j, tail, p, last, panel);
}

/* dx of images [first, last): every tap of the kernel adds its product to the pixels it read. */
SHARED void conv_grad_x_images(Conv c, const ConvGradXJob *j, float *scratch, int tail, int first, int last)
{
    (void)scratch;
    const int area = c.out_side * c.out_side;
    conv_grad_x_begin(c, j, tail, first, last);
    ROLLED for (int block = first * area; block < last * area; block += PIXEL_BLOCK)
    {
        const int end = MIN_OF(block + PIXEL_BLOCK, last * area);
        size_t to[PIXEL_BLOCK];
        patches_at(c, block, end - block, end, to);
        ROLLED for (int panel = 0; panel < PANELS(c.in); panel++)
            ROLLED for (int tap = 0; tap < c.kernel * c.kernel; tap++)
        {
            const float *packed = j->packed + ((size_t)tap * PANELS(c.in) + panel) * c.out * PANEL;
            const int column = panel * PANEL;
            ROLLED for (int p = block; p < end; p += ROWS) tile_scattered(
                j->dy + (size_t)p * c.out, c.out, c.out, packed, j->dx + tap_at(c, tap) + column,
                to + (p - block), MIN_OF(ROWS, end - p), MIN_OF(PANEL, c.in - column));
        }
    }
    conv_grad_x_end(c, j, tail, first, last);
}

/* Part `part` of `parts` of dx. Patches overlap in an image, which is one part's then. */
SHARED void conv_grad_x_part(Conv c, const ConvGradXJob *j, float *scratch, int tail, int part, int parts)
{
    const int pixels = c.images * c.side * c.side;
    if (is_pointwise(c))
        conv_grad_x_pixels(c, j, tail, tile_piece(pixels, part, parts), tile_piece(pixels, part + 1, parts));
    else
        conv_grad_x_images(c, j, scratch, tail, piece(c.images, part, parts),
                           piece(c.images, part + 1, parts));
}

/* ---- the gradient of a weight ---- */

/* What is prefetched while a tile is summed: a place for each pixel, `step` bytes apart. Every `pixels` of
 * them begin anew, `apart` bytes from where those before began. */
typedef struct {
    const char *from;
    ptrdiff_t step, apart;
    int pixels;
} Ahead;

/* Sums over `pixels` of products of x at x + at[i], `rows` of its floats, and dy, packed (pixels, PANEL): to
 * `width` columns of rows of dw, `columns` apart, which are overwritten by the `first`, else added to.
 * Meanwhile the line behind x + at_next[i] is prefetched. Without `at`, pixels are `step` floats apart in x
 * and `dy_step` in dy, and what is prefetched is `ahead`. */
typedef struct {
    const float *x, *dy;
    const size_t *at, *at_next;
    ptrdiff_t step, dy_step;
    Ahead ahead;
    int pixels, rows, width;
    float *dw;
    ptrdiff_t columns;
    bool first;
} GradWTile;

SHARED void grad_w_store_edge(float spilled[ROWS][PANEL], const GradWTile *t)
{
    ROLLED for (int r = 0; r < t->rows; r++) SCALAR for (int i = 0; i < t->width; i++)
    {
        float *to = t->dw + r * t->columns + i;
        *to = t->first ? spilled[r][i] : *to + spilled[r][i];
    }
}

/* Whether a block's rows of x are copied first. A tile of few rows uses little of each line of x that it
 * fetches, and lines that are a power of two apart push each other out of the L1, by which wide units lose
 * most. A library, which does without amdim.h, has no memory to spare. */
#ifdef AMDIM_H
enum { COPIES_ROWS = HAS_VECTORS && ((int)ROWS == (int)COPIED_ROWS || WIDE_UNITS) };
#else
enum { COPIES_ROWS = 0 };
#endif

/* A tile's sums of `height` rows to where they go. */
INLINE void grad_w_end(int height, Vec sum[ROWS][VECTORS], const GradWTile *t)
{
    const int last = t->rows - 1;
    if (t->width < PANEL) {
        float spilled[ROWS][PANEL];
        tile_spill(sum, spilled);
        grad_w_store_edge(spilled, t);
        return;
    }
    if (!t->first)
        EACH_VECTOR(r, v) if (r < height) sum[r][v] += load(t->dw + MIN_OF(r, last) * t->columns + v * LANES);
    EACH_VECTOR(r, v)
    if (r < height - 1 || (r < height && r == last))
        store(t->dw + r * t->columns + v * LANES, sum[r][v]);
}

/* Of `height` rows, a constant, of which the last may be one too many: it is read as the one before, then. */
INLINE void grad_w_tile(int height, bool stepped, const GradWTile *t)
{
    /* Loops go to ROWS, which is known before inlining, so that all of them are unrolled and the sums stay in
     * registers. */
    Vec sum[ROWS][VECTORS];
    const float *dy = t->dy;
    const int last = t->rows - 1;
    tile_begin(sum);
    const float *x = t->x;
    const char *piece_ahead = t->ahead.from;
    ROLLED for (int first = 0; first < t->pixels; first += t->ahead.pixels, piece_ahead += t->ahead.apart)
    {
        const char *ahead = piece_ahead;
        ROLLED for (int i = first; i < MIN_OF(first + t->ahead.pixels, t->pixels);
                    i++, dy += stepped ? t->dy_step : PANEL)
        {
            const float *a = stepped ? x : t->x + t->at[i];
            Vec b[VECTORS];
            __builtin_prefetch(stepped ? (const void *)ahead : t->x + t->at_next[i] + LINE);
            UNROLL for (int v = 0; v < VECTORS; v++) b[v] = load(dy + v * LANES);
            UNROLL for (int r = 0; r < ROWS; r++) if (r < height)
            {
                const float left = a[r == height - 1 ? last : r];
                UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += left * b[v];
            }
            x += t->step;
            ahead += t->ahead.step;
        }
    }
    grad_w_end(height, sum, t);
}

/* A function for each height, or for every second where there are many. */
enum { HEIGHT_STEP = ROWS > 6 ? 2 : 1 };
#define GRAD_W_HEIGHTS(HEIGHT)                                                                               \
    HEIGHT(1) HEIGHT(2) HEIGHT(3) HEIGHT(4) HEIGHT(5) HEIGHT(6) HEIGHT(8) HEIGHT(10) HEIGHT(12)
#define DEFINE_HEIGHT(n)                                                                                     \
    SHARED void grad_w_rows_##n(const GradWTile *t)                                                          \
    {                                                                                                        \
        grad_w_tile(MIN_OF(n, ROWS), false, t);                                                              \
    }                                                                                                        \
    SHARED void grad_w_steps_##n(const GradWTile *t)                                                         \
    {                                                                                                        \
        grad_w_tile(MIN_OF(n, ROWS), true, t);                                                               \
    }
GRAD_W_HEIGHTS(DEFINE_HEIGHT)

/* What does not come up on the target is not compiled. */
INLINE void grad_w_rows(const GradWTile *t)
{
#define CALL(n)                                                                                              \
    case n:                                                                                                  \
        if ((n) % HEIGHT_STEP == 0 && (n) <= ROWS && !t->at)                                                 \
            grad_w_steps_##n(t);                                                                             \
        else if ((n) % HEIGHT_STEP == 0 && (n) <= ROWS)                                                      \
            grad_w_rows_##n(t);                                                                              \
        break;
    switch (CEIL_DIV(t->rows, HEIGHT_STEP) * HEIGHT_STEP) {
        GRAD_W_HEIGHTS(CALL)
    }
#undef CALL
}

/* The first row of tile `tile` of `tiles`, which are cut at multiples of the step, so that none but the last
 * is computed with a row too many. */
INLINE int grad_w_row(int rows, int tile, int tiles)
{
    return MIN_OF(HEIGHT_STEP * piece(CEIL_DIV(rows, HEIGHT_STEP), tile, tiles), rows);
}

/* Number `at` of what a job has as a map, whose numbers may be of bfloat16. */
INLINE const Activation *in_map(const float *map, size_t at)
{
    return (const Activation *)(const void *)map + at;
}

/* One panel of `pixels` rows of dy (pixels, columns), zeros beyond the last column. */
SHARED void pack_pixels(const Activation *dy, int pixels, int columns, int width, float *packed)
{
    ROLLED for (int i = 0; i < pixels; i++, packed += PANEL)
    {
        const Activation *from = dy + (size_t)i * columns;
        for (int line = 0; line < PANEL; line += LINE)
            __builtin_prefetch(from + PANEL + line); /* the next panel's */
        if (width == PANEL) {
            UNROLL for (int v = 0; v < VECTORS; v++)
                store(packed + v * LANES, load_activations(from + v * LANES));
            continue;
        }
        SCALAR for (int k = 0; k < PANEL; k++) packed[k] = k < width ? activation(from[k]) : 0;
    }
}

/* Tiles of one of the kernel's rows (kernel*in floats), which is cut into tiles of heights that differ by one
 * at most: as many as go together. */
enum { GROUP_TILES = GRAD_W_GROUP * MIN_OF((int)COPIED_ROWS, ROWS) / ROWS };
_Static_assert(GROUP_TILES *ROWS + 2 * LINE <= COPIED_FLOATS, "memory is planned for the rows of a group");
typedef struct {
    int ky, count;
    int first[GRAD_W_GROUP + 1]; /* the first row of each, and behind the last */
} GradWGroup;

INLINE GradWGroup grad_w_group(Conv c, int tile, int end, int most)
{
    const int run = c.kernel * c.in, tiles = CEIL_DIV(run, ROWS), from = tile % tiles;
    GradWGroup g = {.ky = tile / tiles, .count = MIN_OF(MIN_OF(tiles - from, end - tile), most)};
    ROLLED for (int i = 0; i <= g.count; i++) g.first[i] = grad_w_row(run, from + i, tiles);
    return g;
}

/* The last vector ends with them. */
INLINE void copy_floats(const float *from, int count, float *to)
{
    if (count < LANES) {
        SCALAR for (int i = 0; i < count; i++) to[i] = from[i];
        return;
    }
    ROLLED for (int i = 0; i + LANES < count; i += LANES) store(to + i, load(from + i));
    store(to + count - LANES, load(from + count - LANES));
}

/* A block's rows of the group, `step` floats apart. */
SHARED void copy_rows(const float *x, const size_t *at, int pixels, int rows, ptrdiff_t step, float *to)
{
    ROLLED for (int i = 0; i < pixels; i++, to += step) copy_floats(x + at[i], rows, to);
}

/* `count` numbers of a map, which are of bfloat16 or floats; whole vectors of them first. */
INLINE void copy_activations(const Activation *from, int count, float *to)
{
    const int whole = count / LANES * LANES;
    ROLLED for (int i = 0; i < whole; i += LANES) store(to + i, load_activations(from + i));
    SCALAR for (int i = whole; i < count; i++) to[i] = activation(from[i]);
}

/* The same of a map's. */
SHARED void copy_rows_of_map(const Activation *x, const size_t *at, int pixels, int rows, ptrdiff_t step,
                             float *to)
{
    ROLLED for (int i = 0; i < pixels; i++, to += step) copy_activations(x + at[i], rows, to);
}

/* Of how many lines a copied pixel is: an odd number, so that pixels use all of the L1's sets. */
INLINE ptrdiff_t step_of_copy(int rows)
{
    return (CEIL_DIV(rows, LINE) | 1) * LINE;
}

/* A block of dw: row tiles and panels, over the pixels of some images. */
typedef struct {
    float *dw;
    bool more;
    int tile0, tile1, panel0, panel1; /* [tile0, tile1), [panel0, panel1) */
    int first, last;                  /* pixels [first, last) */
} GradWBlock;

/* Blocks of pixels in order. Each of the kernel's rows (kernel*in floats) is cut into tiles of its own, of
 * heights that differ by one at most. */
SHARED void grad_w_in_place(Conv c, const ConvGradWJob *j, float *scratch, GradWBlock b)
{
    const int run = c.kernel * c.in, tiles = CEIL_DIV(run, ROWS);
    float *const dy = scratch;
    size_t *const patches = (size_t *)(void *)(scratch + (size_t)SUM_BLOCK * PANEL),
                  *const at[2] = {patches,
                                  patches + SUM_BLOCK}; /* of the block's pixels and of the next's, in turn */
    patches_at(c, b.first, SUM_BLOCK, b.last, at[0]);
    int turn = 0;
    ROLLED for (int block = b.first; block < b.last; block += SUM_BLOCK, turn = 1 - turn)
    {
        const int pixels = MIN_OF(SUM_BLOCK, b.last - block);
        patches_at(c, MIN_OF(block + SUM_BLOCK, b.last - 1), SUM_BLOCK, b.last, at[1 - turn]);
        ROLLED for (int i = 0; i < pixels; i++) __builtin_prefetch(j->x + at[turn][i]);
        ROLLED for (int panel = b.panel0; panel < b.panel1; panel++)
        {
            const int column = panel * PANEL;
            GradWTile t = {.dy = dy,
                           .at = at[turn],
                           .at_next = at[1 - turn],
                           .ahead = {.from = (const char *)j->x, .pixels = pixels},
                           .pixels = pixels,
                           .width = MIN_OF(PANEL, c.out - column),
                           .columns = c.out,
                           .first = block == b.first && !b.more};
            pack_pixels(in_map(j->dy, (size_t)block * c.out + column), pixels, c.out, t.width, dy);
            ROLLED for (int tile = b.tile0; tile < b.tile1; tile++)
            {
                const int ky = tile / tiles, row = grad_w_row(run, tile % tiles, tiles);
                t.x = j->x + (size_t)ky * c.side * c.in + row;
                t.rows = grad_w_row(run, tile % tiles + 1, tiles) - row;
                t.dw = b.dw + ((size_t)ky * run + (size_t)row) * c.out + column;
                grad_w_rows(&t);
            }
        }
    }
}

/* Of a whole dw, one panel wide. */
INLINE int grad_w_tiles(Conv c)
{
    return c.kernel * CEIL_DIV(c.kernel * c.in, ROWS);
}

/* Whether a panel of dy is packed for the tiles of a group: few read its rows sooner where they lie, unless
 * these are so long that they push each other out of the L1. */
INLINE bool packs_dy(Conv c, int width, int tiles)
{
    enum { FEW_TILES = 12, LONG_ROW = 256 };
    return MAPS_ARE_BFLOAT16 || width < PANEL || tiles > FEW_TILES || c.out > LONG_ROW;
}

/* Memory that some tiles prefetch, one after the other. */
typedef struct {
    Ahead ahead; /* the first's */
    int tiles;
} Stream;

enum { PIECES = 4, PIECE_PIXELS = SUM_BLOCK / PIECES }; /* of a tile's share, and pixels meanwhile */

/* Contiguous bytes, in even shares. */
INLINE Stream stream_of_bytes(const void *from, ptrdiff_t bytes, int tiles)
{
    const ptrdiff_t step = CEIL_DIV(bytes, (ptrdiff_t)tiles * SUM_BLOCK);
    return (Stream){{from, step, step * PIECE_PIXELS, PIECE_PIXELS}, tiles};
}

/* Rows of so many bytes, a piece each; as many as the tiles have pieces. */
INLINE Stream stream_of_rows(const void *from, int rows, ptrdiff_t bytes, ptrdiff_t apart, int tiles)
{
    return (Stream){{from, CEIL_DIV(bytes, PIECE_PIXELS), apart, PIECE_PIXELS},
                    MIN_OF(CEIL_DIV(rows, PIECES), tiles)};
}

/* The share of tile `tile`; of those behind the last, the last's again. */
INLINE Ahead ahead_of_tile(Stream s, int tile)
{
    s.ahead.from += MIN_OF(tile, s.tiles - 1) * PIECES * s.ahead.apart;
    return s.ahead;
}

/* What a block of dw reads of x, and of dy, for `pixels` pixels from `first` on. */
INLINE Stream stream_of_x(Conv c, const ConvGradWJob *j, GradWBlock b, int first, int pixels, int tiles)
{
    const int run = c.kernel * c.in, all = grad_w_tiles(c), row = grad_w_row(run, b.tile0, all);
    const ptrdiff_t size = j->x_is_map ? sizeof(Activation) : sizeof(float);
    const size_t from = patch(c, first),
                 to = patch(c, first + pixels - 1) + (size_t)(c.kernel - 1) * c.side * c.in + run;
    const char *const x = (const char *)j->x + from * size;
    if (is_pointwise(c) && b.tile1 - b.tile0 < all)
        return stream_of_rows(x + row * size, pixels, (grad_w_row(run, b.tile1, all) - row) * size,
                              c.in * size, tiles);
    return stream_of_bytes(x, (ptrdiff_t)(to - from) * size, tiles);
}

INLINE Stream stream_of_dy(Conv c, const ConvGradWJob *j, GradWBlock b, int first, int pixels, int tiles)
{
    const int column = b.panel0 * PANEL, width = MIN_OF(b.panel1 * PANEL, c.out) - column;
    const ptrdiff_t size = sizeof(Activation);
    const Activation *const dy = in_map(j->dy, (size_t)first * c.out + column);
    if (width < c.out)
        return stream_of_rows(dy, pixels, width * size, c.out * size, tiles);
    return stream_of_bytes(dy, (ptrdiff_t)pixels * c.out * size, tiles);
}

/* The same where several panels of dy meet rows of x: these are copied, some tiles' at a time. What the next
 * block of pixels is copied from is prefetched meanwhile, evenly, of x by the first half of the tiles, then
 * of dy: in bursts it would hold up the tiles, and without it the copies wait for memory. */
SHARED void grad_w_copied(Conv c, const ConvGradWJob *j, float *scratch, GradWBlock b)
{
    const int run = c.kernel * c.in, tiles = (b.tile1 - b.tile0) * (b.panel1 - b.panel0),
              half = CEIL_DIV(tiles, 2);
    float *const dy = scratch, *const x = dy + (size_t)SUM_BLOCK * PANEL;
    size_t *const at = (size_t *)(void *)(x + (size_t)SUM_BLOCK * COPIED_FLOATS);
    ROLLED for (int block = b.first; block < b.last; block += SUM_BLOCK)
    {
        const int pixels = MIN_OF(SUM_BLOCK, b.last - block), next_block = MIN_OF(block + pixels, b.last - 1),
                  next_pixels = MIN_OF(SUM_BLOCK, b.last - next_block);
        const Stream next_x = stream_of_x(c, j, b, next_block, next_pixels, half),
                     next_dy = stream_of_dy(c, j, b, next_block, next_pixels, half);
        int count = 0; /* of tiles so far */
        patches_at(c, block, pixels, b.last, at);
        ROLLED for (int tile = b.tile0, next; tile < b.tile1; tile = next)
        {
            const GradWGroup g = grad_w_group(c, tile, b.tile1, GROUP_TILES);
            const int rows = g.first[g.count] - g.first[0];
            GradWTile t = {.step = step_of_copy(rows),
                           .pixels = pixels,
                           .columns = c.out,
                           .first = block == b.first && !b.more};
            next = tile + g.count;
            const size_t row = (size_t)g.ky * c.side * c.in + g.first[0];
            if (j->x_is_map)
                copy_rows_of_map(in_map(j->x, row), at, pixels, rows, t.step, x);
            else
                copy_rows(j->x + row, at, pixels, rows, t.step, x);
            ROLLED for (int panel = b.panel0; panel < b.panel1; panel++)
            {
                const int column = panel * PANEL;
                t.width = MIN_OF(PANEL, c.out - column);
                const Activation *const columns = in_map(j->dy, (size_t)block * c.out + column);
                const bool packs = packs_dy(c, t.width, g.count);
                if (packs)
                    pack_pixels(columns, pixels, c.out, t.width, dy);
                t.dy = packs ? dy : (const float *)(const void *)columns;
                t.dy_step = packs ? PANEL : c.out;
                ROLLED for (int i = 0; i < g.count; i++, count++)
                {
                    t.x = x + (g.first[i] - g.first[0]);
                    t.rows = g.first[i + 1] - g.first[i];
                    t.dw = b.dw + ((size_t)g.ky * run + (size_t)g.first[i]) * c.out + column;
                    t.ahead = count < next_x.tiles ? ahead_of_tile(next_x, count)
                                                   : ahead_of_tile(next_dy, count - next_x.tiles);
                    grad_w_rows(&t);
                }
            }
        }
    }
}

/* GRAD_W_SCRATCH(PANEL, COPIED_FLOATS) floats of scratch, or without copied ones where no row is copied. */
INLINE void grad_w_block(Conv c, const ConvGradWJob *j, float *scratch, GradWBlock b)
{
    enum { FEWEST_PANELS = 2, FEWEST_ROWS = 2 * LINE };
    if (MAPS_ARE_BFLOAT16 ||
        (COPIES_ROWS && b.panel1 - b.panel0 >= FEWEST_PANELS && c.kernel * c.in >= FEWEST_ROWS))
        grad_w_copied(c, j, scratch, b);
    else
        grad_w_in_place(c, j, scratch, b);
}

/* How the work is cut: into blocks of dw; or into slices of the images, each with a whole dw of its own.
 * Where rows are copied, every column meets them, and there are as many even pieces of rows, of a group at
 * most, as busy all `threads`. */
INLINE int grad_w_panel_cuts(Conv c, int threads)
{
    return COPIES_ROWS && grad_w_tiles(c) >= threads ? 1 : MIN_OF(PANELS(c.out), 4);
}

INLINE int grad_w_tile_cuts(Conv c, int threads)
{
    const int tiles = grad_w_tiles(c), groups = CEIL_DIV(tiles, GROUP_TILES);
    return MIN_OF(tiles, COPIES_ROWS ? CEIL_DIV(groups, threads) * threads : CEIL_DIV(tiles, 24) + 1);
}

INLINE int grad_w_parts(Conv c, int threads)
{
    return grad_w_panel_cuts(c, threads) * grad_w_tile_cuts(c, threads);
}

/* Part `part` of these. */
INLINE GradWBlock grad_w_part(Conv c, float *dw, bool more, int threads, int part)
{
    const int tiles = grad_w_tiles(c), tile_cuts = grad_w_tile_cuts(c, threads),
              panel_cuts = grad_w_panel_cuts(c, threads), tile_cut = part / panel_cuts,
              panel_cut = part % panel_cuts;
    return (GradWBlock){.dw = dw,
                        .more = more,
                        .tile0 = piece(tiles, tile_cut, tile_cuts),
                        .tile1 = piece(tiles, tile_cut + 1, tile_cuts),
                        .panel0 = piece(PANELS(c.out), panel_cut, panel_cuts),
                        .panel1 = piece(PANELS(c.out), panel_cut + 1, panel_cuts),
                        .last = pixels_of(c)};
}

SHARED void conv_grad_w_part(Conv c, const ConvGradWJob *j, float *scratch, int threads, int part)
{
    grad_w_block(c, j, scratch, grad_w_part(c, j->dw, j->more, threads, part));
}

/* Slice `slice` of the images, into its own dw. */
INLINE GradWBlock grad_w_slice(Conv c, float *partial, int slice, int slices)
{
    const int area = c.out_side * c.out_side;
    return (GradWBlock){.dw = partial + (size_t)slice * (c.kernel * c.kernel * c.in) * c.out,
                        .tile1 = grad_w_tiles(c),
                        .panel1 = PANELS(c.out),
                        .first = piece(c.images, slice, slices) * area,
                        .last = piece(c.images, slice + 1, slices) * area};
}

SHARED void conv_grad_w_slice(Conv c, const ConvGradWJob *j, float *scratch, int slice, int slices)
{
    grad_w_block(c, j, scratch, grad_w_slice(c, j->partial, slice, slices));
}

#endif
