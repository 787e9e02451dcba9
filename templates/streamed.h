/* streamed.h: products that read a weight where it lies, in the type that it has there. A block of a panel's
 * rows at a time is packed into the worker's scratch and multiplied by every pixel, whose sums wait in the
 * result meanwhile: no packed copy of a whole weight is ever held. For encoding one picture, where packing
 * would cost as much as the product, and for machines with little memory.
 *
 * The type of the weight's numbers, one for all of a file, is that of the header included before: float32.h,
 * float16.h or int8.h. */
#ifndef STREAMED_H
#define STREAMED_H

#include "vectors.h"

/* ---- the product of a convolution ---- */

typedef struct {
    const float *x;
    const Number *weight; /* (kernel*kernel*in, out) */
    const float *scale;   /* (out), where the type has one */
    const float *bias, *addend;
    float *y;
    AmdimPool *pool;
} StreamedJob;

typedef float *StreamedFunction(AmdimPool *pool, StreamedJob job);

/* y = tail(x * weight), with STREAM_SCRATCH(PANEL) floats of scratch. */
#define CONV_STREAMED(name, shape, tail)                                                                     \
    FUNCTION_OF_A_ROUND(name, StreamedJob, y, Conv, shape,                                                   \
                        conv_streamed(s, j, amdim_scratch(j->pool, worker), tail), 1)

/* Rows [first, first + rows) of panel `panel`, scaled, zeros beyond the last column. */
SHARED void pack_rows(const StreamedJob *j, int columns, int panel, int first, int rows, float *to)
{
    enum { AHEAD = 12 }; /* rows */
    const int column = panel * PANEL, width = MIN_OF(PANEL, columns - column);
    for (int k = first; k < first + rows; k++, to += PANEL) {
        const Number *from = j->weight + (size_t)k * columns + column;
        /* Rows are too far apart for a processor to foresee. */
        for (int line = 0; line < PANEL; line += LINE)
            __builtin_prefetch(from + (size_t)AHEAD * columns + line);
        if (width == PANEL) {
            UNROLL for (int v = 0; v < VECTORS; v++) store(
                to + v * LANES, scale_numbers(load_numbers(from + v * LANES), j->scale, column + v * LANES));
            continue;
        }
        SCALAR for (int i = 0; i < width; i++) to[i] =
            scale_number(load_number(from + i), j->scale, column + i);
        memset(to + width, 0, sizeof(float) * (size_t)(PANEL - width));
    }
}

/* A block of the depth: of the patches' rows, which are kernel runs of kernel * in floats, `runs` whole ones,
 * or a piece of one. */
typedef struct {
    int row, from;    /* where it begins: a patch's row, and floats into it */
    int runs, length; /* so many runs of so many floats */
} Block;

/* The block that begins at that place: as many whole rows as `most` floats of a patch have room for. */
INLINE Block block_at(Conv c, int most, int row, int from)
{
    const int run = c.kernel * c.in;
    return run <= most ? (Block){row, 0, MIN_OF(most / run, c.kernel - row), run}
                       : (Block){row, from, 1, MIN_OF(most, run - from)};
}

/* A tile of some pixels by a panel of a block, whose rows are b_stride floats apart: packed, or the weight
 * itself. */
typedef struct {
    const float *x; /* pixel r's patch of the block begins at x + at[r], and goes on `jump` floats later */
    size_t at[ROWS];
    ptrdiff_t jump;
    int runs, length, tail;
    const float *b;
    ptrdiff_t b_stride;
    const float *next;  /* what to ask for meanwhile: rows of the panel behind it, or of this one */
    unsigned next_rate; /* of them to a row of this one, in 1 / NEXT_ONE */
    Target to;
} StreamedTile;

enum { NEXT_ONE = 1 << 16 };

/* Of `height` pixels, a constant, of which the last may be one too many: it is read as the one before, then.
 */
INLINE void streamed_tile(int height, const StreamedTile *t)
{
    const float *a[ROWS], *b = t->b;
    unsigned asked = 0; /* rows, in 1 / NEXT_ONE */
    Vec sum[ROWS][VECTORS];
    UNROLL for (int r = 0; r < ROWS; r++) a[r] = t->x + t->at[MIN_OF(r, height - 1)];
    tile_begin(sum);
    ROLLED for (int run = 0; run < t->runs; run++)
    {
        ROLLED for (int k = 0; k < t->length; k++, b += t->b_stride)
        {
            Vec w[VECTORS];
            const float *ask = t->next + (ptrdiff_t)(asked / NEXT_ONE) * t->b_stride;
            asked += t->next_rate;
            UNROLL for (int i = 0; i < PANEL; i += LINE) __builtin_prefetch(ask + i, 0, 2);
            UNROLL for (int v = 0; v < VECTORS; v++) w[v] = load(b + v * LANES);
            UNROLL for (int r = 0; r < ROWS; r++) if (r < height)
            {
                const float left = a[r][k];
                UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += left * w[v];
            }
        }
        UNROLL for (int r = 0; r < ROWS; r++) a[r] += t->jump;
    }
    if (t->to.width < PANEL) {
        float spilled[ROWS][PANEL];
        tile_spill(sum, spilled);
        tile_store_edge(t->tail, spilled, &t->to);
        return;
    }
    UNROLL for (int r = 0; r < ROWS; r++) if (r < height && r < t->to.rows)
        UNROLL for (int v = 0; v < VECTORS; v++)
    {
        const ptrdiff_t at = r * t->to.stride + v * LANES;
        tail_vector(t->tail, t->to.y + at, sum[r][v], t->tail & TAIL_BIAS ? t->to.bias + v * LANES : NULL,
                    t->tail & TAIL_ADD ? t->to.addend + at : NULL, NULL);
    }
}

/* A function for every second height where registers are many; few pixels fill no tile of the full one. */
enum { STREAM_STEP = ROWS > 4 ? 2 : ROWS };
#define STREAM_HEIGHTS(HEIGHT) HEIGHT(2) HEIGHT(4) HEIGHT(6) HEIGHT(8) HEIGHT(10) HEIGHT(12)
#define DEFINE_STREAMED(n)                                                                                   \
    SHARED void streamed_tile_##n(const StreamedTile *t)                                                     \
    {                                                                                                        \
        streamed_tile(MIN_OF(n, ROWS), t);                                                                   \
    }
STREAM_HEIGHTS(DEFINE_STREAMED)

/* What does not come up on the target is not compiled. */
INLINE void streamed_tile_by_height(const StreamedTile *t)
{
#define CALL(n)                                                                                              \
    case n:                                                                                                  \
        if ((n) % STREAM_STEP == 0 && (n) <= ROWS)                                                           \
            streamed_tile_##n(t);                                                                            \
        break;
    switch (CEIL_DIV(t->to.rows, STREAM_STEP) * STREAM_STEP) {
        STREAM_HEIGHTS(CALL)
    }
#undef CALL
}

/* A panel's share of a block: every pixel's sums, in tiles of heights that differ by a step at most. Each
 * asks for its share of what follows, so that memory is read as evenly as the tiles compute. */
INLINE void streamed_block(Conv c, const StreamedJob *j, int tail, int panel, bool first, Block b,
                           const float *rows, ptrdiff_t stride, const float *next)
{
    const int column = panel * PANEL, pixels = pixels_of(c), tiles = CEIL_DIV(pixels, ROWS),
              steps = CEIL_DIV(pixels, STREAM_STEP);
    StreamedTile t = {.jump = (ptrdiff_t)c.side * c.in,
                      .runs = b.runs,
                      .length = b.length,
                      .tail = tail,
                      .b = rows,
                      .b_stride = stride,
                      .next_rate = NEXT_ONE / (unsigned)tiles};
    t.x = j->x + b.row * t.jump + b.from;
    ROLLED for (int tile = 0; tile < tiles; tile++)
    {
        const int p = STREAM_STEP * piece(steps, tile, tiles),
                  last = MIN_OF(STREAM_STEP * piece(steps, tile + 1, tiles), pixels);
        const size_t to = (size_t)p * c.out + column;
        t.to = (Target){.y = j->y + to,
                        .bias = tail & TAIL_BIAS ? j->bias + column : NULL,
                        .addend = !(tail & TAIL_ADD) ? NULL
                                  : first            ? j->addend + to
                                                     : j->y + to,
                        .stride = c.out,
                        .rows = last - p,
                        .width = MIN_OF(PANEL, c.out - column)};
        t.next = next + (ptrdiff_t)(b.runs * b.length / tiles * tile) * stride;
        patches_at(c, p, ROWS, last, t.at);
        streamed_tile_by_height(&t);
    }
}

/* A panel of y, a block of the patches' floats after the other. Few pixels read the rows of floats where they
 * lie: packing them would not pay, and what one tile has read the next finds in the L2. */
INLINE void streamed_panel(Conv c, const StreamedJob *j, float *scratch, int tail, int panel)
{
    enum { FEW_TILES = 6, CACHED = 1024 }; /* rows of a panel */
    const bool lies =
        NUMBERS_ARE_FLOATS && c.out - panel * PANEL >= PANEL && pixels_of(c) <= FEW_TILES * ROWS;
    const int run = c.kernel * c.in, most = lies ? CACHED : STREAM_DEPTH;
    Block b = block_at(c, most, 0, 0);
    ROLLED while (b.row < c.kernel)
    {
        const int row = b.from + b.length == run ? b.row + b.runs : b.row, k = b.row * run + b.from,
                  tail_now = tail_of_block(tail, k == 0, row == c.kernel);
        const Block after = block_at(c, most, row, row == b.row ? b.from + b.length : 0);
        if (lies) {
            const float *weight = (const float *)(const void *)j->weight + panel * PANEL,
                        *next = row == c.kernel ? weight + PANEL
                                                : weight + (size_t)(after.row * run + after.from) * c.out;
            streamed_block(c, j, tail_now, panel, k == 0, b, weight + (size_t)k * c.out, c.out, next);
        } else {
            pack_rows(j, c.out, panel, k, b.runs * b.length, scratch);
            streamed_block(c, j, tail_now, panel, k == 0, b, scratch, PANEL, scratch);
        }
        b = after;
    }
}

/* ---- of one pixel ---- */

/* Rows of the weight that one pixel wants: its numbers that are not zero, ROWS_AT_ONCE together, so that sums
 * are loaded and stored once for all of them. */
enum { ROWS_AT_ONCE = 4 };

typedef struct {
    int count;
    float left[ROWS_AT_ONCE];
    size_t at[ROWS_AT_ONCE]; /* of the row's first number in the weight */
} WantedRows;

/* sum (columns) += left . rows; missing rows have a left of 0. */
INLINE void add_rows_of(const Number *weight, const WantedRows *w, int columns, float *sum)
{
    int i = 0;
    for (; i + LANES <= columns; i += LANES) {
        Vec total = load(sum + i);
        UNROLL for (int r = 0; r < ROWS_AT_ONCE; r++) total +=
            w->left[r] * load_numbers(weight + w->at[r] + i);
        store(sum + i, total);
    }
    for (; i < columns; i++)
        UNROLL for (int r = 0; r < ROWS_AT_ONCE; r++) sum[i] +=
            w->left[r] * load_number(weight + w->at[r] + i);
}

SHARED void add_rows(const Number *weight, WantedRows *w, int columns, float *sum)
{
    for (int r = w->count; r < ROWS_AT_ONCE; r++) {
        w->left[r] = 0;
        w->at[r] = w->at[0];
    }
    if (w->count)
        add_rows_of(weight, w, columns, sum);
    w->count = 0;
}

/* Columns [first, first + columns) of pixel p, whose sums wait in the scratch. */
INLINE void streamed_columns(Conv c, const StreamedJob *j, float *scratch, int tail, int p, int first,
                             int columns)
{
    const int run = c.kernel * c.in;
    const float *x = j->x + patch(c, p);
    const size_t to = (size_t)p * c.out + first;
    WantedRows w = {.count = 0};
    memset(scratch, 0, sizeof(float) * (size_t)columns);
    ROLLED for (int row = 0; row < c.kernel; row++, x += (size_t)c.side * c.in)
        ROLLED for (int k = 0; k < run; k++)
    {
        if (x[k] == 0)
            continue;
        w.left[w.count] = x[k];
        w.at[w.count++] = ((size_t)row * run + k) * c.out + first;
        if (w.count == ROWS_AT_ONCE)
            add_rows(j->weight, &w, columns, scratch);
    }
    add_rows(j->weight, &w, columns, scratch);
    for (int i = 0; i < columns; i++)
        j->y[to + i] = tail_number(tail, scale_number(scratch[i], j->scale, first + i),
                                   tail & TAIL_BIAS ? j->bias[first + i] : 0,
                                   tail & TAIL_ADD ? j->addend[to + i] : 0, 0);
}

/* A weight is read once for each of so few pixels, and once for all of more. */
INLINE void conv_streamed(Conv c, const StreamedJob *j, float *scratch, int tail)
{
    enum { FEW = 2, COLUMNS = STREAM_SCRATCH(PANEL) };
    if (pixels_of(c) > FEW)
        ROLLED for (int panel = 0; panel < PANELS(c.out); panel++) streamed_panel(c, j, scratch, tail, panel);
    else
        ROLLED for (int p = 0; p < pixels_of(c); p++) ROLLED for (int i = 0; i < c.out; i += COLUMNS)
            streamed_columns(c, j, scratch, tail, p, i, MIN_OF(COLUMNS, c.out - i));
}

/* ---- dx ---- */

/* dx = tail(dy * transposed weight), with as much scratch. */
#define CONV_GRAD_X_STREAMED(name, shape, tail)                                                              \
    FUNCTION_OF_A_ROUND(name, ConvGradXJob, dx, Conv, shape,                                                 \
                        conv_grad_x_streamed(s, j, amdim_scratch(j->pool, worker), tail), 1)

/* A block of the depth, of a 1x1 kernel: every pixel's share of a panel of dx. */
INLINE void grad_x_block(Conv c, const ConvGradXJob *j, int tail, int panel, bool first, int from, int depth,
                         const float *packed)
{
    const int column = panel * PANEL, pixels = pixels_of(c);
    ROLLED for (int p = 0; p < pixels; p += ROWS)
    {
        const size_t to = (size_t)p * c.in + column;
        const Target t = {.y = j->dx + to,
                          .addend = !(tail & TAIL_ADD) ? NULL
                                    : first            ? j->addend + to
                                                       : j->dx + to,
                          .mask = tail & TAIL_MASK ? j->mask + to : NULL,
                          .stride = c.in,
                          .rows = MIN_OF(ROWS, pixels - p),
                          .width = MIN_OF(PANEL, c.in - column)};
        tile_of_rows(tail, j->dy + (size_t)p * c.out + from, c.out, depth, packed, &t);
    }
}

/* The same of tap `tap` of a larger kernel: added where the pixels' patches lie. */
INLINE void grad_x_tap_block(Conv c, const ConvGradXJob *j, int tap, int panel, int from, int depth,
                             const float *packed)
{
    const int column = panel * PANEL, pixels = pixels_of(c);
    size_t at[ROWS];
    ROLLED for (int p = 0; p < pixels; p += ROWS)
    {
        patches_at(c, p, ROWS, pixels, at);
        tile_scattered(j->dy + (size_t)p * c.out + from, c.out, depth, packed,
                       j->dx + tap_at(c, tap) + column, at, MIN_OF(ROWS, pixels - p),
                       MIN_OF(PANEL, c.in - column));
    }
}

SHARED void conv_grad_x_streamed(Conv c, const ConvGradXJob *j, float *scratch, int tail)
{
    const bool overlaps = !is_pointwise(c);
    if (overlaps)
        conv_grad_x_begin(c, j, tail, 0, c.images);
    ROLLED for (int panel = 0; panel < PANELS(c.in); panel++)
        ROLLED for (int tap = 0; tap < c.kernel * c.kernel; tap++)
            ROLLED for (int k = 0; k < c.out; k += STREAM_DEPTH)
    {
        const int depth = MIN_OF(STREAM_DEPTH, c.out - k);
        pack_columns_of_panel(j->weight + ((size_t)tap * c.in + panel * PANEL) * c.out + k, depth, c.out,
                              MIN_OF(PANEL, c.in - panel * PANEL), 1, scratch, PANEL);
        if (overlaps)
            grad_x_tap_block(c, j, tap, panel, k, depth, scratch);
        else
            grad_x_block(c, j, tail_of_block(tail, k == 0, k + depth == c.out), panel, k == 0, k, depth,
                         scratch);
    }
    if (overlaps)
        conv_grad_x_end(c, j, tail, 0, c.images);
}

#endif
