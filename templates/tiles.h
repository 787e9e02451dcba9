/* tiles.h: products by the processor's matrix tiles (AMX), where it has them.
 *
 * A tile holds 16 rows of 64 bytes. The unit adds to 16x16 floats the product of 16x32 by 32x16 numbers of
 * bfloat16, which are a float's first 16 bits: 8 of its mantissa's 24. A float is the exact sum of three such
 * parts, and of the nine products of two floats' parts these six are made, the small ones first:
 *
 *   first . last + first . middle + middle . middle + middle . first + first . first + last . first
 *
 * What is left out is less than 2^-23 of a product, about what float rounds off each; sums come out nearer to
 * the exact ones than those of fused multiply-adds one after the other (docs/performance.md). Six of these
 * products take less than half of the time of vectors. So here every product is made whole: what other
 * processors do faster by skipping zeros (sparse.h), by a mask (masked.h) or by minimal filtering
 * (winograd.h) has its counterpart at the end.
 *
 * What an infinity leaves over its first part is no number, and so are the sums that it comes to; numbers
 * below 1e-33 lose their last parts, for the unit takes denormal ones as zero.
 *
 * Numbers of a depth go in steps of 32. Within a step a tile's word i holds numbers i and 16 + i, in both
 * factors, so that two vectors become one row of each part by shifts alone.
 *
 * Parts lie as parts[pair of tiles][step][part][2 tiles][16 rows][32]: a pair is 32 rows of the left factor,
 * or a panel of 32 columns of the right one. Of gradients of weights the right factor lies otherwise (Sum).
 */
#ifndef TILES_H
#define TILES_H

#include "kernels.h"
#include <stdatomic.h>

enum { TILE = 16, STEP = 32, PARTS_OF_FLOAT = 3, TILE_NUMBERS = TILE * STEP };
enum {
    PART_NUMBERS = 2 * TILE_NUMBERS,
    PAIR_NUMBERS = PARTS_OF_FLOAT * PART_NUMBERS
}; /* of a step of a pair */
_Static_assert((int)PANEL == 2 * (int)TILE && (int)LANES == (int)TILE,
               "a panel is a pair of tiles, a vector a tile's row");

#define STEPS(depth) CEIL_DIV(depth, STEP)

/* Floats of a packed panel. */
#define PANEL_FLOATS(depth) ((ptrdiff_t)STEPS(depth) * PAIR_NUMBERS / 2)

typedef uint16_t Part; /* a part of a float */

/* ---- the unit
 * ----------------------------------------------------------------------------------------------- */

/* Tiles 0 to 3 are the sums of a pair of rows by a pair of columns, 4 and 5 of the left factor, 6 and 7 of
 * the right one. */
#ifndef TILE_UNIT_GIVEN /* tests give one in plain C */
#include <immintrin.h>

#define TILE_ZERO(t)              _tile_zero(t)
#define TILE_LOAD(t, from, bytes) _tile_loadd(t, from, bytes)
#define TILE_STORE(t, to, bytes)  _tile_stored(t, to, bytes)
#define TILE_ADD(t, left, right)  _tile_dpbf16ps(t, left, right)

/* Before a thread's first product, and after its last. */
INLINE void tiles_begin(void)
{
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } whole = {.palette = 1,
               .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
               .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&whole);
}

INLINE void tiles_end(void)
{
    _tile_release();
}
#endif

/* ---- parts of floats
 * ---------------------------------------------------------------------------------------- */

/* Of a shift and a blend clang would make a shuffle of words, which takes three times as long. */
#if defined __AVX512F__
#define OPAQUE(v) __asm__("" : "+v"(v))
#else
#define OPAQUE(v) (void)(v)
#endif

/* A step of a row: numbers 0 to 15 and 16 to 31, to the same row of a tile of each part, which lie `apart`
 * numbers from each other. */
INLINE void split(Vec low, Vec high, Part *row, ptrdiff_t apart)
{
    typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    const Words first = (Words){0} + 0xffff0000u;
    UNROLL for (int part = 0; part < PARTS_OF_FLOAT; part++)
    {
        Words upper = (Words)low >> 16;
        OPAQUE(upper);
        *(Words *)(void *)(row + part * apart) = upper | ((Words)high & first);
        low -= (Vec)((Words)low & first);
        high -= (Vec)((Words)high & first);
    }
}

/* Where row `row` of a step of its pair begins. */
INLINE Part *row_of_pair(Part *pair, int row)
{
    return pair + row * STEP; /* of one tile and then the other */
}

/* Lanes [first, last) from from[first] on, zeros elsewhere; nothing else is read. */
INLINE Vec load_lanes(const float *from, int first, int last)
{
#if defined __AVX512F__
    return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << last) - (1u << first)), from);
#else
    Vec v = {0};
    for (int lane = first; lane < last; lane++)
        v[lane] = from[lane];
    return v;
#endif
}

/* `count` floats, zeros behind them; of none, zeros. */
INLINE Vec load_some(const float *from, int count)
{
    return count >= LANES ? load(from) : load_lanes(from, 0, MAX_OF(count, 0));
}

/* One panel of scale * w, w (depth, columns). */
SHARED void pack_panel(const float *w, int depth, int columns, float scale, int panel, float *packed)
{
    Part *to = (Part *)(void *)(packed + panel * PANEL_FLOATS(depth));
    for (int k = 0; k < depth; k += STEP, to += PAIR_NUMBERS)
        for (int i = 0; i < TILE; i++)
            for (int tile = 0; tile < 2; tile++) {
                const int column = panel * PANEL + tile * TILE, low = k + i, high = low + TILE;
                const float *from = w + (size_t)low * columns + column;
                split(scale * load_some(from, low < depth ? columns - column : 0),
                      scale * load_some(from + (size_t)TILE * columns, high < depth ? columns - column : 0),
                      row_of_pair(to, tile * TILE + i), PART_NUMBERS);
            }
}

/* rows[i][j] of 16 rows becomes columns[j][i]. */
INLINE void transpose(const Vec rows[TILE], Vec columns[TILE])
{
    Vec half[TILE], quarter[TILE];
    /* Pairs of rows by lanes, then fours, eights, sixteens. */
    UNROLL for (int i = 0; i < TILE; i += 2)
    {
        half[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12,
                                          28, 13, 29);
        half[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11,
                                              27, 14, 30, 15, 31);
    }
    UNROLL for (int i = 0; i < TILE; i += 4) UNROLL for (int k = 0; k < 2; k++)
    {
        const Vec a = half[i + k], b = half[i + 2 + k];
        quarter[i + 2 * k] =
            __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
        quarter[i + 2 * k + 1] =
            __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
    /* quarter[4 * i + k]: of rows 4 * i to 4 * i + 3 columns k, 4 + k, 8 + k, 12 + k, four lanes each. */
    UNROLL for (int k = 0; k < 4; k++)
    {
        const Vec a = quarter[k], b = quarter[4 + k], c = quarter[8 + k], d = quarter[12 + k];
        const Vec ab02 =
                      __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27),
                  ab13 = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30,
                                                 31),
                  cd02 =
                      __builtin_shufflevector(c, d, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27),
                  cd13 = __builtin_shufflevector(c, d, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30,
                                                 31);
        /* ab02: a's column k, a's column 8 + k, b's, b's. */
        columns[k] =
            __builtin_shufflevector(ab02, cd02, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        columns[8 + k] =
            __builtin_shufflevector(ab02, cd02, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        columns[4 + k] =
            __builtin_shufflevector(ab13, cd13, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        columns[12 + k] =
            __builtin_shufflevector(ab13, cd13, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
}

/* Numbers i < count of the first `rows` of 16 rows, from `shift` on, become column i; zeros elsewhere. */
SHARED void transpose_rows(const float *const row[TILE], int rows, int count, ptrdiff_t shift,
                           Vec column[TILE])
{
    _Alignas(64) Vec line[TILE];
    if (rows >= TILE && count >= TILE) {
        UNROLL for (int i = 0; i < TILE; i++) line[i] = load(row[i] + shift);
    } else {
        ROLLED for (int i = 0; i < TILE; i++) line[i] =
            i < rows ? load_some(row[i] + shift, count) : (Vec){0};
    }
    transpose(line, column);
}

/* Rows first to first + 7 of a tile from 16 columns of a step's first half, and 16 of its second. */
SHARED void split_columns(const Vec column[2 * TILE], int first, float scale, Part *tile)
{
    UNROLL for (int i = 0; i < TILE / 2; i++) split(
        scale * column[first + i], scale * column[TILE + first + i], tile + (first + i) * STEP, PART_NUMBERS);
}

/* One panel of scale * transposed w, w (columns, depth). */
SHARED void pack_panel_transposed(const float *w, int depth, int columns, float scale, int panel,
                                  float *packed)
{
    Part *to = (Part *)(void *)(packed + panel * PANEL_FLOATS(depth));
    for (int tile = 0; tile < 2; tile++) {
        const float *row[TILE];
        const int first = panel * PANEL + tile * TILE, width = MAX_OF(MIN_OF(TILE, columns - first), 0);
        for (int i = 0; i < width; i++)
            row[i] = w + (size_t)(first + i) * depth;
        for (int k = 0; k < depth; k += STEP) {
            Part *const rows = row_of_pair(to + (ptrdiff_t)(k / STEP) * PAIR_NUMBERS, tile * TILE);
            _Alignas(64) Vec column[2 * TILE];
            transpose_rows(row, width, depth - k, k, column);
            transpose_rows(row, k + TILE < depth ? width : 0, depth - k - TILE, k + TILE, column + TILE);
            split_columns(column, 0, scale, rows);
            split_columns(column, TILE / 2, scale, rows);
        }
    }
}

/* ---- shares of work
 * ------------------------------------------------------------------------------------------------------ */

/* Work that is spread over products of the unit, a share with each: the vectors make it while the unit
 * multiplies. A processor looks a few hundred instructions ahead, so shares are small. */
typedef struct {
    int done, all;
    uint64_t due, rate; /* in 65536ths */
} Shares;

INLINE Shares shares_of(int all, int products)
{
    return (Shares){.all = all, .rate = CEIL_DIV((uint64_t)all << 16, (uint64_t)products)};
}

/* How much is to be done with the next product. */
INLINE int next_share(Shares *s)
{
    s->due += s->rate;
    const int end = MIN_OF((int)(s->due >> 16), s->all), share = end - s->done;
    s->done = end;
    return share;
}

INLINE int last_share(Shares *s)
{
    const int share = s->all - s->done;
    s->done = s->all;
    return share;
}

/* ---- a step
 * ----------------------------------------------------------------------------------------------------------
 */

enum { PRODUCTS = 6 }; /* of parts, for one of floats */

/* Tiles 4 to 7 for product `number` of a step; what the one before has left there stays. `line`: numbers from
 * a tile of the right factor to the next. */
INLINE void load_factors(int number, const Part *left, const Part *right, ptrdiff_t line)
{
#define LEFT(part)                                                                                           \
    TILE_LOAD(4, left + (part)*2 * TILE_NUMBERS, 64);                                                        \
    TILE_LOAD(5, left + ((part)*2 + 1) * TILE_NUMBERS, 64)
#define RIGHT(part)                                                                                          \
    TILE_LOAD(6, right + (part)*2 * line, 64);                                                               \
    TILE_LOAD(7, right + ((part)*2 + 1) * line, 64)
    switch (number) {
    case 0:
        LEFT(0);
        RIGHT(2);
        break;
    case 1: RIGHT(1); break;
    case 2: LEFT(1); break;
    case 3: RIGHT(0); break;
    case 4: LEFT(0); break;
    case 5: LEFT(2); break;
    }
#undef LEFT
#undef RIGHT
}

/* Sums of a pair of rows by a panel, in tiles 0 to 3, += the product of the factors. */
INLINE void add_product(void)
{
    TILE_ADD(0, 4, 6);
    TILE_ADD(1, 4, 7);
    TILE_ADD(2, 5, 6);
    TILE_ADD(3, 5, 7);
}

INLINE void begin_sums(const float *sums, ptrdiff_t stride, bool more)
{
    const size_t bytes = sizeof(float) * (size_t)stride;
    if (!more) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
        return;
    }
    TILE_LOAD(0, sums, bytes);
    TILE_LOAD(1, sums + TILE, bytes);
    TILE_LOAD(2, sums + TILE * stride, bytes);
    TILE_LOAD(3, sums + TILE * stride + TILE, bytes);
}

INLINE void store_sums(float *sums, ptrdiff_t stride)
{
    const size_t bytes = sizeof(float) * (size_t)stride;
    TILE_STORE(0, sums, bytes);
    TILE_STORE(1, sums + TILE, bytes);
    TILE_STORE(2, sums + TILE * stride, bytes);
    TILE_STORE(3, sums + TILE * stride + TILE, bytes);
}

/* ---- products of maps
 * ------------------------------------------------------------------------------------------------ */

/* y (pixels, columns) = left (pixels, depth) . the packed matrix, then the tail: a pixel's row of the left
 * factor is a patch of `from`, and goes to a patch of `to`, over whose taps the columns go. */
typedef struct {
    const float *left, *packed, *bias, *addend, *mask;
    float *y;
    Conv from; /* left is its x */
    Conv to;   /* y is its x */
} TileProduct;

/* The most pixels of a block and the most steps whose parts lie in a cache at once, and the panels whose sums
 * wait there for further steps. */
enum { TILE_PIXELS = 128, MOST_STEPS = 16, MOST_PANELS = 16 };

/* Pixels of a block. Parts of one pair of rows stay in the first cache, or close to it; but every block reads
 * all of the packed matrix, which is dear if it does not lie in the second: CACHED steps of panels are 1.5
 * MiB. */
INLINE int pixels_of_block(int steps, int panels)
{
    enum { CACHED = 256 };
    return steps * panels <= CACHED ? PANEL : TILE_PIXELS;
}

/* Whether pixels' patches lie one after the other. */
INLINE bool is_pointwise(Conv c)
{
    return c.kernel == 1 && c.stride == 1;
}

/* Rows whose parts are made meanwhile, a step of a row at a time. */
typedef struct {
    const float *left;             /* row 0, if pointwise */
    const float *row[TILE_PIXELS]; /* if not */
    ptrdiff_t at[MOST_STEPS];      /* where a step lies in a row, if steps are whole */
    int first, steps;              /* steps: `steps` from `first` on */
    Part *to;                      /* [pair][step] */
    int next_row, next_step;
    Shares work; /* steps of rows */
} Splitting;

/* Whether no step is cut by the end of a patch's row. */
INLINE bool has_whole_steps(Conv c)
{
    return c.kernel * c.in % STEP == 0;
}

/* Step `step` of a patch that is cut anywhere: its two vectors, from as many rows of the patch as they touch.
 */
SHARED void gather_step(Conv from, const float *patch_of, int step, Vec *low, Vec *high)
{
    const int run = from.kernel * from.in, length = MIN_OF(STEP, depth_of_patch(from) - step * STEP);
    const ptrdiff_t jump = (ptrdiff_t)from.side * from.in;
    const float *row = patch_of + step * STEP / run * jump;
    int column = step * STEP % run;
    *low = *high = (Vec){0};
    for (int i = 0; i < length;) {
        const int lane = i % TILE, count = MIN_OF(MIN_OF(run - column, length - i), TILE - lane);
        Vec *const to = i < TILE ? low : high;
        *to = (Vec)((Bits)*to | (Bits)load_lanes(row + column - lane, lane, lane + count));
        i += count;
        column += count;
        if (column == run) {
            column = 0;
            row += jump;
        }
    }
}

/* A patch of one step or less, as a first layer's. */
#define IS_SHORT(c) ((c).kernel * (c).kernel * (c).in <= STEP)

INLINE void gather_short(Conv from, const float *patch_of, Vec *low, Vec *high)
{
    const int run = from.kernel * from.in;
    Bits first = {0}, second = {0};
    for (int row = 0, at = 0; row < from.kernel; row++, at += run) {
        const float *lane_0 = patch_of + (ptrdiff_t)row * from.side * from.in - at;
        first |= (Bits)load_lanes(lane_0, MIN_OF(at, TILE), MIN_OF(at + run, TILE));
        second |= (Bits)load_lanes(lane_0 + TILE, MAX_OF(at - TILE, 0), MAX_OF(at + run - TILE, 0));
    }
    *low = (Vec)first;
    *high = (Vec)second;
}

/* A step of a row. What lies in one piece the processor asks for by itself, but not the next rows of patches.
 */
INLINE void split_step(Conv from, const Splitting *s, int row, int step, Part *to)
{
    Vec low, high;
    if (has_whole_steps(from)) {
        const float *at = is_pointwise(from) ? s->left + (ptrdiff_t)row * from.in + (s->first + step) * STEP
                                             : s->row[row] + s->at[step];
        if (!is_pointwise(from))
            for (int line = 0; line < STEP; line += LINE)
                __builtin_prefetch(at + (ptrdiff_t)TILE_PIXELS * from.stride * from.in + line, 0, 2);
        low = load(at);
        high = load(at + TILE);
    } else if (IS_SHORT(from)) {
        gather_short(from, s->row[row], &low, &high);
    } else {
        gather_step(from, s->row[row], s->first + step, &low, &high);
    }
    split(low, high, to, PART_NUMBERS);
}

INLINE void split_share(Conv from, Splitting *s, int count)
{
    const int depth = depth_of_patch(from), steps = STEPS(depth) <= MOST_STEPS ? STEPS(depth) : s->steps;
    int row = s->next_row, step = s->next_step;
    ROLLED for (; count > 0; count--)
    {
        split_step(
            from, s, row, step,
            row_of_pair(s->to + ((ptrdiff_t)(row / PANEL) * steps + step) * PAIR_NUMBERS, row % PANEL));
        if (++step == steps) {
            step = 0;
            row++;
        }
    }
    s->next_row = row;
    s->next_step = step;
}

/* A pair's sums that have their tail to come, a row at a time. */
typedef struct {
    const float *sums; /* [32 rows][PANEL] */
    const size_t *at;  /* of row i, at[i] + shift in y; if y is pointwise, shift + i rows */
    ptrdiff_t shift;
    int column; /* of the bias */
    int width, rows;
    Shares work; /* rows, if their tail comes now */
} Ending;

INLINE size_t end_of_row(Conv to, const Ending *e, int row)
{
    return is_pointwise(to) ? (size_t)(e->shift + (ptrdiff_t)row * to.in) : e->at[row] + (size_t)e->shift;
}

INLINE void end_row(const TileProduct *p, int tail, const Ending *e, int row)
{
    const float *sums = e->sums + row * PANEL;
    const size_t at = end_of_row(p->to, e, row);
    if (p->to.in % PANEL == 0 || e->width == PANEL) {
        UNROLL for (int v = 0; v < VECTORS; v++)
            tail_vector(tail, p->y + at + v * LANES, load(sums + v * LANES),
                        tail & TAIL_BIAS ? p->bias + e->column + v * LANES : NULL,
                        tail & TAIL_ADD ? p->addend + at + v * LANES : NULL,
                        tail & TAIL_MASK ? p->mask + at + v * LANES : NULL);
        return;
    }
    ROLLED for (int i = 0; i < e->width; i++) p->y[at + (size_t)i] = tail_number(
        tail, sums[i], tail & TAIL_BIAS ? p->bias[e->column + i] : 0,
        tail & TAIL_ADD ? p->addend[at + (size_t)i] : 0, tail & TAIL_MASK ? p->mask[at + (size_t)i] : 0);
}

/* Asks for where a row will end, and for its mask. */
INLINE void ask_row(const TileProduct *p, int tail, size_t at)
{
    UNROLL for (int line = 0; line < PANEL; line += LINE)
    {
        __builtin_prefetch(p->y + at + line, 1);
        if (tail & TAIL_MASK)
            __builtin_prefetch(p->mask + at + line);
    }
}

/* The last `count` rows of those of `e` that are done, while for as many rows of `next` is asked. */
INLINE void end_share(const TileProduct *p, int tail, const Ending *e, const Ending *next, int count)
{
    ROLLED for (int row = e->work.done - count; row < e->work.done; row++)
    {
        if (row < next->rows)
            ask_row(p, tail, end_of_row(p->to, next, row));
        end_row(p, tail, e, row);
    }
}

/* What is multiplied while something else is split: some steps of a block of pixels, by some panels. */
typedef struct {
    int first, pixels, panel, panels, step, steps;
    bool begins, ends; /* with the first step, with the last */
} Stage;

/* Stage number `stage` of the pixels [first, last): all steps of a block before the next panels, all panels
 * before the next block. */
INLINE Stage stage_at(int depth, int panels, int first, int last, int stage)
{
    const int cuts = CEIL_DIV(STEPS(depth), MOST_STEPS), group = cuts > 1 ? MOST_PANELS : panels,
              groups = CEIL_DIV(panels, group), cut = stage % cuts, of = stage / cuts % groups,
              block = pixels_of_block(STEPS(depth), panels);
    Stage s = {.first = first + stage / cuts / groups * block,
               .panel = of * group,
               .step = cut * MOST_STEPS,
               .begins = cut == 0,
               .ends = cut == cuts - 1};
    s.pixels = MIN_OF(block, last - s.first);
    s.panels = MIN_OF(group, panels - s.panel);
    s.steps = cuts == 1 ? STEPS(depth) : MIN_OF(MOST_STEPS, STEPS(depth) - s.step);
    return s;
}

INLINE int pairs_of(Stage s)
{
    return CEIL_DIV(s.pixels, PANEL);
}

/* Splitting a stage's rows, over that many products. */
INLINE void begin_splitting(const TileProduct *p, Stage next, Part *to, int products, Splitting *s)
{
    const Conv c = p->from;
    const int run = c.kernel * c.in;
    s->first = next.step;
    s->steps = next.steps;
    s->to = to;
    s->next_row = s->next_step = 0;
    s->work = shares_of(next.pixels * next.steps, products);
    if (is_pointwise(c)) {
        s->left = p->left + patch(c, next.first);
    }
    if (!is_pointwise(c) || !has_whole_steps(c))
        for (int i = 0; i < next.pixels; i++)
            s->row[i] = p->left + patch(c, next.first + i);
    if (!is_pointwise(c))
        for (int i = 0; i < next.steps; i++) {
            const int k = (next.step + i) * STEP;
            s->at[i] = (ptrdiff_t)(k / run) * c.side * c.in + k % run;
        }
}

/* The tail of a pair of rows by a panel; none before the last step. */
INLINE Ending ending_of(const TileProduct *p, Stage s, int panel, int pair, const float *sums,
                        const size_t *at)
{
    const int width = p->to.in, column = panel % PANELS(width) * PANEL, row = pair * PANEL;
    const ptrdiff_t shift = tap_at(p->to, panel / PANELS(width)) + column;
    return (Ending){.sums = sums,
                    .at = at + row,
                    .shift = is_pointwise(p->to) ? shift + ((ptrdiff_t)s.first + row) * width : shift,
                    .column = column,
                    .width = MIN_OF(PANEL, width - column),
                    .rows = MIN_OF(PANEL, s.pixels - row),
                    .work = {.all = s.ends ? MIN_OF(PANEL, s.pixels - row) : 0}};
}

/* Pixels [first, last). With every product of the unit go a share of the tail of the sums before, and of the
 * next stage's rows a share of their splitting. Both are between a product's loads and its sums, for loads
 * wait until what is stored before them is written. */
INLINE void tile_product(const TileProduct *p, int tail, float *scratch, int first, int last)
{
    const int depth = depth_of_patch(p->from), panels = p->to.kernel * p->to.kernel * PANELS(p->to.in),
              cuts = CEIL_DIV(STEPS(depth), MOST_STEPS),
              groups = cuts > 1 ? CEIL_DIV(panels, MOST_PANELS) : 1,
              pixels = pixels_of_block(STEPS(depth), panels),
              stages = CEIL_DIV(last - first, pixels) * cuts * groups;
    Part *const parts = (Part *)(void *)scratch;
    const ptrdiff_t block = (ptrdiff_t)pixels / PANEL * MIN_OF(STEPS(depth), MOST_STEPS) * PAIR_NUMBERS;
    float *const waiting = scratch + block; /* two blocks of 2 bytes */
    _Alignas(64) float one[PANEL * PANEL];
    size_t at[2][TILE_PIXELS];
    Splitting next;
    Ending ending = {0};
    if (stages == 0)
        return;
    tiles_begin();
    begin_splitting(p, stage_at(depth, panels, first, last, 0), parts, 1, &next);
    split_share(p->from, &next, last_share(&next.work));
    ROLLED for (int stage = 0; stage < stages; stage++)
    {
        const Stage s = stage_at(depth, panels, first, last, stage);
        const Part *left = parts + stage % 2 * block;
        const int pairs = pairs_of(s), products = s.steps * PRODUCTS;
        const uint64_t rate = shares_of(PANEL, products).rate;
        size_t *const to = at[stage / (cuts * groups) % 2];
        next.work = (Shares){0};
        if (stage + 1 < stages)
            begin_splitting(p, stage_at(depth, panels, first, last, stage + 1),
                            parts + (stage + 1) % 2 * block, s.panels * pairs * products, &next);
        if (s.begins && !is_pointwise(p->to))
            for (int i = 0; i < s.pixels; i++)
                to[i] = patch(p->to, s.first + i);
        atomic_signal_fence(memory_order_seq_cst); /* what is split is written before tiles are loaded */
        ROLLED for (int i = 0; i < s.panels; i++) ROLLED for (int pair = 0; pair < pairs; pair++)
        {
            const int panel = s.panel + i;
            float *sums =
                cuts == 1 ? one : waiting + ((ptrdiff_t)i * (pixels / PANEL) + pair) * PANEL * PANEL;
            const Part *a = left + (ptrdiff_t)pair * s.steps * PAIR_NUMBERS,
                       *b = (const Part *)(const void *)(p->packed + panel * PANEL_FLOATS(depth)) +
                            (ptrdiff_t)s.step * PAIR_NUMBERS;
            const Ending now = ending_of(p, s, panel, pair, sums, to);
            ending.work.rate = rate;
            begin_sums(sums, PANEL, !s.begins);
            ROLLED for (int k = 0; k < s.steps; k++, a += PAIR_NUMBERS, b += PAIR_NUMBERS)
                ROLLED for (int product = 0; product < PRODUCTS; product++)
            {
                load_factors(product, a, b, TILE_NUMBERS);
                const int rows = next_share(&ending.work);
                end_share(p, tail, &ending, &now, rows);
                split_share(p->from, &next, next_share(&next.work));
                add_product();
            }
            store_sums(sums, PANEL);
            ending = now;
        }
        split_share(p->from, &next, last_share(&next.work));
    }
    const int rows = last_share(&ending.work);
    end_share(p, tail, &ending, &ending, rows);
    tiles_end();
}

/* Pixels [first, last) of y. */
INLINE void conv_pixels(Conv c, const ConvJob *j, float *scratch, int tail, int first, int last)
{
    const TileProduct p = {.left = j->x,
                           .packed = j->packed,
                           .bias = j->bias,
                           .addend = j->addend,
                           .y = j->y,
                           .from = c,
                           .to = pixels_of_y(c)};
    tile_product(&p, tail, scratch, first, last);
}

/* dx of what pixels [first, last) of dy stand for, where patches do not overlap and leave nothing out. */
INLINE void conv_grad_x_pixels(Conv c, const ConvGradXJob *j, float *scratch, int tail, int first, int last)
{
    const TileProduct p = {.left = j->dy,
                           .packed = j->packed,
                           .addend = j->addend,
                           .mask = j->mask,
                           .y = j->dx,
                           .from = pixels_of_y(c),
                           .to = c};
    tile_product(&p, tail, scratch, first, last);
}

/* dx of images [first, last): every tap of the kernel adds its product to the pixels it read. */
INLINE void conv_grad_x_images(Conv c, const ConvGradXJob *j, float *scratch, int tail, int first, int last)
{
    const int area = c.out_side * c.out_side;
    const ConvGradXJob sums = {.dy = j->dy, .packed = j->packed, .addend = j->dx, .dx = j->dx};
    conv_grad_x_begin(c, j, tail, first, last);
    conv_grad_x_pixels(c, &sums, scratch, TAIL_ADD, first * area, last * area);
    conv_grad_x_end(c, j, tail, first, last);
}

/* Part `part` of `parts` of dx. Patches overlap in an image, which is one part's then. */
INLINE void conv_grad_x_part(Conv c, const ConvGradXJob *j, float *scratch, int tail, int part, int parts)
{
    const int pixels = c.images * c.side * c.side;
    if (c.kernel == 1 && c.stride == 1)
        conv_grad_x_pixels(c, j, scratch, tail, tile_piece(pixels, part, parts),
                           tile_piece(pixels, part + 1, parts));
    else
        conv_grad_x_images(c, j, scratch, tail, piece(c.images, part, parts),
                           piece(c.images, part + 1, parts));
}

/* ---- gradients of weights
 * ----------------------------------------------------------------------------------------- */

/* Sums over pixels of the products of two maps' channels: pairs of the left one's, which are transposed, by
 * panels of the right one's. Patches of x by dy make dw as it lies.
 *
 * Where a kernel is twice its stride, dy by x makes dw transposed, quarter by quarter of the kernel: x goes
 * by cells of stride x stride pixels, each split once, though it stands under all four quarters. Pixels of dy
 * then lie as cells do, a row with a zero at its end, so that a quarter's cells are those of the first one
 * some rows further on. A band of dy's rows is summed in two halves, which a row of the right factor's tiles
 * has side by side. */
typedef struct {
    Conv c;
    bool by_cells;
} Sum;

enum { QUARTERS = 4 };

/* The most pairs and panels that go together, the steps of all of them whose parts lie in the second cache
 * well, and the most steps and rows of the right factor: with few pixels to a block, sums are loaded and
 * stored often. */
enum { SUM_PAIRS = 8, SUM_CACHED = 32, MOST_SUM_STEPS = 8, MOST_SUM_ROWS = MOST_SUM_STEPS * TILE };

INLINE int cells_across(Conv c)
{
    return c.out_side + 1;
}

/* Bands of an image; 0: a row is too long. */
INLINE int bands_of(Conv c)
{
    const int furthest = CEIL_DIV(cells_across(c) + 1, TILE) * TILE,
              rows = MAX_OF(MOST_SUM_ROWS - furthest, 0) / cells_across(c) * 2;
    return rows > 0 ? CEIL_DIV(c.out_side, rows) : 0;
}

INLINE int cells_of_half(Conv c, int rows)
{
    return CEIL_DIV(rows, 2) * cells_across(c);
}

/* Whether it can be, and pays: cells at rows' ends and in a last step are multiplied for nothing. */
INLINE bool has_cells(Conv c)
{
    const int bands = bands_of(c), rows = bands > 0 ? CEIL_DIV(c.out_side, bands) : 0;
    return c.kernel == 2 * c.stride && c.side == c.stride * cells_across(c) && bands > 0 &&
           c.stride * c.in % TILE == 0 && c.out % TILE == 0 &&
           5 * CEIL_DIV(cells_of_half(c, rows), TILE) * STEP <= 6 * rows * c.out_side;
}

/* A block of the sums. */
typedef struct {
    int pair, pairs, panel, panels;
} SumBlock;

/* Steps that there is room for; by cells a band, whatever that takes of the cache. */
INLINE int most_steps(Sum sum, const SumBlock *b)
{
    return sum.by_cells ? MOST_SUM_STEPS : MIN_OF(SUM_CACHED / (b->pairs + b->panels), MOST_SUM_STEPS);
}

/* Numbers from a tile of the right factor to the next: a row more than needed, for a row's parts would fight
 * for one place in the first cache. */
INLINE ptrdiff_t right_line(Sum sum, const SumBlock *b)
{
    return (ptrdiff_t)most_steps(sum, b) * TILE_NUMBERS + STEP;
}

/* Numbers of a pair's parts, and of a panel's. */
INLINE ptrdiff_t pair_size(Sum sum, const SumBlock *b)
{
    return (ptrdiff_t)most_steps(sum, b) * PAIR_NUMBERS;
}

INLINE ptrdiff_t panel_size(Sum sum, const SumBlock *b)
{
    return PARTS_OF_FLOAT * 2 * right_line(sum, b);
}

/* A map's channels that are a pair or a panel: `count` from `first` on, and where they begin in what is read
 * at a pixel. Of patches and of cells each row has pairs of its own, but a patch that fits one shares it. */
typedef struct {
    int first, count;
    ptrdiff_t at;
} SumChannels;

INLINE SumChannels channels_of_rows(Conv c, int side, int pair)
{
    const int run = side * c.in, pairs = CEIL_DIV(run, PANEL), y = pair / pairs, k = pair % pairs * PANEL;
    return (SumChannels){y * run + k, MIN_OF(PANEL, run - k), (ptrdiff_t)y * c.side * c.in + k};
}

INLINE SumChannels channels_of_dy(Conv c, int pair)
{
    return (SumChannels){pair * PANEL, MIN_OF(PANEL, c.out - pair * PANEL), pair * PANEL};
}

INLINE SumChannels left_channels(Sum sum, int pair)
{
    if (sum.by_cells)
        return channels_of_dy(sum.c, pair);
    if (IS_SHORT(sum.c))
        return (SumChannels){0, depth_of_patch(sum.c), 0};
    return channels_of_rows(sum.c, sum.c.kernel, pair);
}

INLINE SumChannels right_channels(Sum sum, int panel)
{
    return sum.by_cells ? channels_of_rows(sum.c, sum.c.stride, panel) : channels_of_dy(sum.c, panel);
}

#define PAIRS_OF_ROWS(c, side) ((side)*CEIL_DIV((side) * (c).in, PANEL))
#define ROW_PAIRS(c)           (IS_SHORT(c) ? 1 : PAIRS_OF_ROWS(c, (c).kernel))

/* What of the maps a block is: `pixels` from `first` on, or `dy_rows` rows and the cells they lie over. */
typedef struct {
    int first, pixels, dy_rows;
    const float *left, *left_end, *right;
} SumRegion;

INLINE int sum_blocks(Sum sum, const SumBlock *b, int first, int last) /* by cells of whole images */
{
    if (sum.by_cells)
        return (last - first) / (sum.c.out_side * sum.c.out_side) * bands_of(sum.c);
    return CEIL_DIV(last - first, most_steps(sum, b) * STEP);
}

INLINE SumRegion region_of(Sum sum, const SumBlock *b, const ConvGradWJob *j, int first, int last, int block)
{
    const Conv c = sum.c;
    if (sum.by_cells) {
        const int bands = bands_of(c), image = first / (c.out_side * c.out_side) + block / bands,
                  row = piece(c.out_side, block % bands, bands),
                  rows = piece(c.out_side, block % bands + 1, bands) - row;
        const size_t width = (size_t)c.out_side * c.out, line = (size_t)c.stride * c.side * c.in;
        const float *const dy = j->dy + ((size_t)image * c.out_side + row) * width,
                           *const x = j->x + ((size_t)image * cells_across(c) + row) * line;
        return (SumRegion){.dy_rows = rows, .left = dy, .left_end = dy + rows * width, .right = x};
    }
    const int pixels = most_steps(sum, b) * STEP, begin = first + block * pixels,
              end = MIN_OF(begin + pixels, last);
    return (SumRegion){.first = begin,
                       .pixels = end - begin,
                       .left = j->x + patch(c, begin),
                       .left_end = j->x + patch(c, end - 1) + c.in,
                       .right = j->dy + (size_t)begin * c.out};
}

/* A block's pixels. Of the left map in steps, as far as `pixels`, zeros behind; by cells of the right one in
 * rows of tiles, a row's two beside each other, zeros where there is none. */
typedef struct {
    const float *left[MOST_SUM_STEPS * STEP], *right[MOST_SUM_ROWS][2];
    int pixels, steps, rows;
} SumPixels;

INLINE void take_pixels(Conv c, const ConvGradWJob *j, const SumRegion *region, SumPixels *s)
{
    s->pixels = region->pixels;
    s->steps = STEPS(s->pixels);
    s->rows = s->steps * TILE;
    for (int i = 0; i < s->pixels; i++)
        s->left[i] = j->x + patch(c, region->first + i);
}

INLINE void take_cells(Conv c, const float *zeros, const SumRegion *region, SumPixels *s)
{
    const int across = cells_across(c), half = cells_of_half(c, region->dy_rows),
              cells = (region->dy_rows + 1) * across;
    const size_t cell = (size_t)c.stride * c.in, line = cell * c.side;
    s->steps = CEIL_DIV(half, TILE);
    s->pixels = s->steps * STEP;
    s->rows = s->steps * TILE + across + 1;
    for (int i = 0; i < s->rows; i++)
        for (int k = 0; k < 2; k++) {
            const int at = i + k * half, x = at % across, y = at / across;
            s->right[i][k] = at < cells ? region->right + y * line + x * cell : NULL;
            if (i < s->steps * TILE)
                s->left[i / TILE * STEP + k * TILE + i % TILE] =
                    i < half && y < region->dy_rows && x < c.out_side
                        ? region->left + ((size_t)y * c.out_side + x) * c.out
                        : zeros;
        }
}

/* Half `tile` of the first `rows` of 16 short patches becomes columns; zeros elsewhere. */
INLINE void transpose_short(Conv c, const float *const patch_of[TILE], int rows, int tile, Vec column[TILE])
{
    _Alignas(64) Vec line[TILE];
    ROLLED for (int i = 0; i < TILE; i++)
    {
        Vec half[2] = {{0}, {0}};
        if (i < rows)
            gather_short(c, patch_of[i], &half[0], &half[1]);
        line[i] = half[tile];
    }
    transpose(line, column);
}

/* A tile of the left factor is made in as many: half by half transposed, then split. */
enum { LEFT_TASKS = 4 };

/* The parts of a block of pixels that are made meanwhile: of the left factor a tile of a step at a time, of
 * the right one a row of a tile. With each row the next block's numbers are asked for, as far on as the row's
 * own, and `left_asked` lines of the left map; but not where pixels are long enough for the processor to see
 * by itself what comes. */
enum { LEFT_FORESEEN = 512, RIGHT_FORESEEN = 128 }; /* channels */

typedef struct {
    SumRegion region;
    SumPixels of;
    Part *left, *right;                         /* [pair][step], [panel][part][2 tiles][rows] */
    int step, left_tile, task, row, right_tile; /* those to come */
    Shares tasks, rows;
    const float *ask_left;
    int left_asked;
    ptrdiff_t right_ahead;
    _Alignas(64) Vec column[2 * TILE];
} SumSplitting;

/* Splitting a region, and asking for one, over that many products. */
INLINE void begin_sum_splitting(Sum sum, const SumBlock *b, const ConvGradWJob *j, const float *zeros,
                                SumRegion region, SumRegion further, Part *to, int products, SumSplitting *s)
{
    s->region = region;
    if (sum.by_cells)
        take_cells(sum.c, zeros, &s->region, &s->of);
    else
        take_pixels(sum.c, j, &s->region, &s->of);
    const int rows = s->of.rows * 2 * b->panels;
    s->left = to;
    s->right = to + b->pairs * pair_size(sum, b);
    s->step = s->left_tile = s->task = s->row = s->right_tile = 0;
    s->tasks = shares_of(s->of.steps * 2 * b->pairs * LEFT_TASKS, products);
    s->rows = shares_of(rows, products);
    s->ask_left = further.left;
    s->left_asked = sum.by_cells || sum.c.in < LEFT_FORESEEN
                        ? CEIL_DIV((int)((further.left_end - further.left) / LINE), rows)
                        : 0;
    s->right_ahead = further.right - region.right;
}

INLINE void split_left_share(Sum sum, const SumBlock *b, SumSplitting *s, int count)
{
    ROLLED for (; count > 0; count--)
    {
        const SumChannels channels = left_channels(sum, b->pair + s->left_tile / 2);
        const int tile = s->left_tile % 2, half = s->task % 2 * TILE, first = s->step * STEP + half,
                  pixels = s->of.pixels - first;
        if (s->task < 2 && IS_SHORT(sum.c) && sum.c.kernel > 1)
            transpose_short(sum.c, s->of.left + first, pixels, tile, s->column + half);
        else if (s->task < 2)
            transpose_rows(s->of.left + first, pixels, channels.count - tile * TILE,
                           channels.at + tile * TILE, s->column + half);
        else
            split_columns(s->column, half / 2, 1,
                          s->left +
                              (ptrdiff_t)(s->left_tile / 2 * most_steps(sum, b) + s->step) * PAIR_NUMBERS +
                              tile * TILE_NUMBERS);
        if (++s->task == LEFT_TASKS) {
            s->task = 0;
            if (++s->left_tile == 2 * b->pairs) {
                s->left_tile = 0;
                s->step++;
            }
        }
    }
}

/* 16 columns of both pixels of a row of the right factor's tiles, `count` or fewer from `at` on. */
INLINE void load_pixels(Sum sum, const SumSplitting *s, int row, ptrdiff_t at, int count, Vec two[2])
{
    if (sum.by_cells) {
        const float *const *pixel = s->of.right[row];
        for (int k = 0; k < 2; k++) {
            two[k] = (Vec){0};
            if (pixel[k] == NULL)
                continue;
            __builtin_prefetch(pixel[k] + at + s->right_ahead, 0, 2);
            two[k] = load_some(pixel[k] + at, count);
        }
        return;
    }
    const int low = row / TILE * STEP + row % TILE, high = low + TILE;
    const float *from = s->region.right + (ptrdiff_t)low * sum.c.out + at,
                *from_high = from + (ptrdiff_t)TILE * sum.c.out;
    if (sum.c.out < RIGHT_FORESEEN) {
        __builtin_prefetch(from + s->right_ahead, 0, 2);
        __builtin_prefetch(from_high + s->right_ahead, 0, 2);
    }
    if (sum.c.out % PANEL == 0 && high < s->of.pixels) {
        two[0] = load(from);
        two[1] = load(from_high);
    } else {
        two[0] = load_some(from, low < s->of.pixels ? count : 0);
        two[1] = load_some(from_high, high < s->of.pixels ? count : 0);
    }
}

INLINE void split_right_share(Sum sum, const SumBlock *b, SumSplitting *s, int count)
{
    const ptrdiff_t line = right_line(sum, b);
    int row = s->row, tile = s->right_tile;
    ROLLED for (; count > 0; count--)
    {
        const SumChannels channels = right_channels(sum, b->panel + tile / 2);
        const int half = tile % 2 * TILE;
        Vec two[2];
        load_pixels(sum, s, row, channels.at + half, channels.count - half, two);
        split(two[0], two[1], s->right + (tile / 2 * PARTS_OF_FLOAT * 2 + tile % 2) * line + row * STEP,
              2 * line);
        ROLLED for (int i = 0; i < s->left_asked; i++, s->ask_left += LINE)
            __builtin_prefetch(s->ask_left, 0, 2);
        if (++tile == 2 * b->panels) {
            tile = 0;
            row++;
        }
    }
    s->row = row;
    s->right_tile = tile;
}

INLINE void split_sum_share(Sum sum, const SumBlock *b, SumSplitting *s)
{
    split_left_share(sum, b, s, next_share(&s->tasks));
    split_right_share(sum, b, s, next_share(&s->rows));
}

INLINE void split_sum_rest(Sum sum, const SumBlock *b, SumSplitting *s)
{
    split_left_share(sum, b, s, last_share(&s->tasks));
    split_right_share(sum, b, s, last_share(&s->rows));
}

/* Where the sums of a pair by a panel lie: as in tiles, or in dw. */
typedef struct {
    float *at;
    ptrdiff_t stride;
} PairSums;

/* A pair by a panel, added to `from` if there is `more`, while shares of the next block are split. */
INLINE void sum_pair(Sum sum, const SumBlock *b, const Part *left, const Part *right, int steps,
                     PairSums from, bool more, PairSums to, SumSplitting *next)
{
    begin_sums(from.at, from.stride, more);
    ROLLED for (int k = 0; k < steps; k++, left += PAIR_NUMBERS, right += TILE_NUMBERS)
        ROLLED for (int product = 0; product < PRODUCTS; product++)
    {
        load_factors(product, left, right, right_line(sum, b));
        split_sum_share(sum, b, next);
        add_product();
    }
    store_sums(to.at, to.stride);
}

/* Whether they can lie in dw. */
INLINE bool fits_tiles(Sum sum, SumChannels rows, SumChannels columns)
{
    return !sum.by_cells && rows.count == PANEL && columns.count == PANEL;
}

INLINE PairSums sums_in_dw(Sum sum, SumChannels rows, SumChannels columns, float *dw)
{
    return (PairSums){dw + (size_t)rows.first * sum.c.out + columns.first, sum.c.out};
}

/* A pair by a panel is put, or added, where it belongs. */
INLINE void end_sums(Sum sum, SumChannels rows, SumChannels columns, const float *sums, float *dw, bool more)
{
    const PairSums to = sums_in_dw(sum, rows, columns, dw);
    for (int r = 0; r < rows.count; r++)
        for (int i = 0; i < columns.count; i++)
            to.at[r * to.stride + i] = sums[r * PANEL + i] + (more ? to.at[r * to.stride + i] : 0);
}

/* By cells, under a quarter of the kernel: transposed. A cell's channels and y's are multiples of 16. */
INLINE void end_quarter(Sum sum, SumChannels rows, SumChannels columns, int quarter, const float *sums,
                        float *dw)
{
    const Conv c = sum.c;
    const int run = c.stride * c.in, y = quarter / 2 * c.stride + columns.first / run,
              x = quarter % 2 * c.stride;
    float *const quarter_of =
        dw + ((size_t)(y * c.kernel + x) * c.in + columns.first % run) * c.out + rows.first;
    for (int r = 0; r < rows.count; r += TILE)
        for (int k = 0; k < columns.count; k += TILE) {
            _Alignas(64) Vec tile[TILE], transposed[TILE];
            for (int i = 0; i < TILE; i++)
                tile[i] = load(sums + (r + i) * PANEL + k);
            transpose(tile, transposed);
            for (int i = 0; i < TILE; i++) {
                float *const to = quarter_of + (size_t)(k + i) * c.out + r;
                store(to, transposed[i]);
            }
        }
}

/* A block of the sums, SUM_PAIRS each way at most, over pixels [first, last), in order; then to dw. Scratch:
 * the parts of two blocks of pixels, sums as they lie in tiles, and zeros for a pixel of dy. */
INLINE void tile_sum(Sum sum, const ConvGradWJob *j, float *scratch, float *dw, bool more, const SumBlock *b,
                     int first, int last)
{
    enum { PAIR_SUMS = PANEL * PANEL };
    const int quarters = sum.by_cells ? QUARTERS : 1, blocks = sum_blocks(sum, b, first, last),
              all = b->pairs * quarters * b->panels;
    const ptrdiff_t pair_numbers = pair_size(sum, b), panel_numbers = panel_size(sum, b),
                    size = b->pairs * pair_numbers + b->panels * panel_numbers;
    Part *const parts = (Part *)(void *)scratch;
    float *const sums = scratch + size, *const zeros = sums + (ptrdiff_t)all * PAIR_SUMS;
    SumSplitting next;
    if (sum.by_cells)
        memset(zeros, 0, sizeof *zeros * (size_t)sum.c.out);
    tiles_begin();
    SumRegion region = region_of(sum, b, j, first, last, 0),
              further = region_of(sum, b, j, first, last, MIN_OF(1, blocks - 1));
    begin_sum_splitting(sum, b, j, zeros, region, further, parts, 1, &next);
    split_sum_rest(sum, b, &next);
    ROLLED for (int block = 0; block < blocks; block++)
    {
        const Part *const left = parts + block % 2 * size, *const right = left + b->pairs * pair_numbers;
        const int steps = next.of.steps, products = all * steps * PRODUCTS;
        next.tasks = next.rows = (Shares){0};
        if (block + 1 < blocks) {
            region = further;
            further = region_of(sum, b, j, first, last, MIN_OF(block + 2, blocks - 1));
            begin_sum_splitting(sum, b, j, zeros, region, further, parts + (block + 1) % 2 * size, products,
                                &next);
        }
        atomic_signal_fence(memory_order_seq_cst); /* what is split is written before tiles are loaded */
        float *pair_sums = sums;
        ROLLED for (int i = 0; i < b->pairs; i++) ROLLED for (int quarter = 0; quarter < quarters; quarter++)
            ROLLED for (int k = 0; k < b->panels; k++, pair_sums += PAIR_SUMS)
        {
            const int shift = quarter / 2 * cells_across(sum.c) + quarter % 2;
            const SumChannels rows = left_channels(sum, b->pair + i),
                              columns = right_channels(sum, b->panel + k);
            const bool in_dw = fits_tiles(sum, rows, columns);
            const PairSums whole = sums_in_dw(sum, rows, columns, dw), apart = {pair_sums, PANEL};
            sum_pair(sum, b, left + i * pair_numbers, right + k * panel_numbers + shift * STEP, steps,
                     in_dw && block == 0 ? whole : apart, block > 0 || (in_dw && more),
                     in_dw && block + 1 == blocks ? whole : apart, &next);
        }
        split_sum_rest(sum, b, &next);
    }
    tiles_end();
    for (int i = 0; i < all; i++) {
        const SumChannels rows = left_channels(sum, b->pair + i / b->panels / quarters),
                          columns = right_channels(sum, b->panel + i % b->panels);
        if (sum.by_cells)
            end_quarter(sum, rows, columns, i / b->panels % quarters, sums + (ptrdiff_t)i * PAIR_SUMS, dw);
        else if (!fits_tiles(sum, rows, columns))
            end_sums(sum, rows, columns, sums + (ptrdiff_t)i * PAIR_SUMS, dw, more);
    }
}

/* Pairs [pair0, pair1) by panels [panel0, panel1). */
INLINE void tile_sums(Sum sum, const ConvGradWJob *j, float *scratch, float *dw, bool more, int pair0,
                      int pair1, int panel0, int panel1, int first, int last)
{
    for (int pair = pair0; pair < pair1; pair += SUM_PAIRS)
        for (int panel = panel0; panel < panel1; panel += SUM_PAIRS) {
            const SumBlock b = {pair, MIN_OF(SUM_PAIRS, pair1 - pair), panel,
                                MIN_OF(SUM_PAIRS, panel1 - panel)};
            tile_sum(sum, j, scratch, dw, more, &b, first, last);
        }
}

/* How the work is cut: into blocks of dw; or into slices of the images, each with a whole dw of its own. */
#define GRAD_W_CUTS(pairs) MAX_OF(CEIL_DIV(pairs, SUM_PAIRS), MIN_OF(pairs, 2))
#define GRAD_W_PARTS(c)    (GRAD_W_CUTS(ROW_PAIRS(c)) * GRAD_W_CUTS(PANELS((c).out)))

/* Part `part` of GRAD_W_PARTS blocks. */
INLINE void conv_grad_w_part(Conv c, const ConvGradWJob *j, float *scratch, int part)
{
    const int pairs = ROW_PAIRS(c), panels = PANELS(c.out), cuts = GRAD_W_CUTS(panels), cut = part / cuts,
              panel_cut = part % cuts;
    tile_sums((Sum){c, false}, j, scratch, j->dw, j->more, piece(pairs, cut, GRAD_W_CUTS(pairs)),
              piece(pairs, cut + 1, GRAD_W_CUTS(pairs)), piece(panels, panel_cut, cuts),
              piece(panels, panel_cut + 1, cuts), 0, c.images * c.out_side * c.out_side);
}

/* Slice `slice` of the images, into its own dw. */
INLINE void sum_slice(Sum sum, int pairs, int panels, const ConvGradWJob *j, float *scratch, int slice,
                      int slices)
{
    const Conv c = sum.c;
    const int area = c.out_side * c.out_side;
    tile_sums(sum, j, scratch, j->partial + (size_t)slice * depth_of_patch(c) * c.out, false, 0, pairs, 0,
              panels, area * piece(c.images, slice, slices), area * piece(c.images, slice + 1, slices));
}

INLINE void conv_grad_w_slice(Conv c, const ConvGradWJob *j, float *scratch, int slice, int slices)
{
    sum_slice((Sum){c, false}, ROW_PAIRS(c), PANELS(c.out), j, scratch, slice, slices);
}

/* ---- what vectors make by zeros (sparse.h)
 * ---------------------------------------------------------------------- */

INLINE void sparse_conv(Conv c, const ConvJob *j, float *scratch, int tail, int first, int last)
{
    conv_pixels(c, j, scratch, tail, first, last);
}

INLINE void sparse_grad_x(Conv c, const ConvGradXJob *j, float *scratch, int tail, int first, int last)
{
    conv_grad_x_pixels(c, j, scratch, tail, first, last);
}

/* A part is a slice of the pixels, or of that one's dw as many pairs of rows as go together. */

INLINE int sparse_grad_w_parts(Conv c, int factor, int slices)
{
    (void)factor;
    return slices * CEIL_DIV(ROW_PAIRS(c), SUM_PAIRS);
}

INLINE void sparse_grad_w(Conv c, const ConvGradWJob *j, float *scratch, int factor, int slices, int part)
{
    (void)factor;
    const int pixels = c.images * c.out_side * c.out_side, slice = part % slices,
              pair = part / slices * SUM_PAIRS;
    tile_sums((Sum){c, false}, j, scratch, j->partial + (size_t)slice * depth_of_patch(c) * c.out, false,
              pair, MIN_OF(pair + SUM_PAIRS, ROW_PAIRS(c)), 0, PANELS(c.out),
              tile_piece(pixels, slice, slices), tile_piece(pixels, slice + 1, slices));
}

INLINE void sparse_grad_w_end(Conv c, const ConvGradWJob *j, int factor, int slices, int part, int parts)
{
    (void)factor;
    sum_slices(j->partial, slices, (size_t)depth_of_patch(c) * c.out, 1, j->more ? j->dw : NULL, j->dw, part,
               parts);
}

/* ---- what vectors make by a mask (masked.h)
 * --------------------------------------------------------------------- */

INLINE int masked_packs(Conv c)
{
    return PANELS(c.in);
}

INLINE void masked_pack(Conv c, const float *weight, int panel, float *packed)
{
    pack_panel_transposed(weight, c.out, c.in, 1, panel, packed);
}

INLINE void masked_product(Conv c, const ConvGradXJob *j, float *scratch, int first, int last)
{
    conv_grad_x_pixels(c, j, scratch, TAIL_MASK, first, last);
}

/* ---- what vectors make by minimal filtering (winograd.h)
 * -------------------------------------------------------- */

typedef struct {
    Conv c;
    int outputs; /* a tile's side in y, in whose units the work is cut */
} Winograd;

INLINE int depth_of(Winograd w)
{
    return w.c.stride * w.c.stride * w.c.in;
}

INLINE int tiles_of(Winograd w)
{
    return CEIL_DIV(w.c.out_side, w.outputs) * CEIL_DIV(w.c.out_side, w.outputs);
}

INLINE void winograd_pack(Winograd w, const float *weight, int panel, float *packed)
{
    pack_panel(weight, depth_of_patch(w.c), w.c.out, 1, panel, packed);
}

/* Part `part` of PANELS(depth_of(w)). */
INLINE void winograd_pack_transposed(Winograd w, const float *weight, int part, float *packed)
{
    const int panels = PANELS(w.c.in), all = w.c.kernel * w.c.kernel * panels, parts = PANELS(depth_of(w));
    for (int panel = piece(all, part, parts); panel < piece(all, part + 1, parts); panel++)
        pack_panel_transposed(weight + (size_t)(panel / panels) * w.c.in * w.c.out, w.c.out, w.c.in, 1,
                              panel % panels, packed + panel / panels * panels * PANEL_FLOATS(w.c.out));
}

/* As many pixels as tiles [first, last) are of all tiles. */
INLINE void winograd_conv(Winograd w, const ConvJob *j, float *scratch, int tail, int first, int last)
{
    const int pixels = w.c.images * w.c.out_side * w.c.out_side, tiles = w.c.images * tiles_of(w);
    conv_pixels(w.c, j, scratch, tail, piece(pixels, first, tiles), piece(pixels, last, tiles));
}

INLINE void winograd_grad_x(Winograd w, const ConvGradXJob *j, float *scratch, int tail, int first, int last)
{
    conv_grad_x_images(w.c, j, scratch, tail, first, last);
}

/* Part `part` of `parts`: by cells a slice of the images, one at least, else pairs of dw's rows. */
INLINE void winograd_grad_w(Winograd w, const ConvGradWJob *j, float *scratch, int part, int parts)
{
    const Conv c = w.c;
    const int slices = MIN_OF(parts, c.images);
    if (!has_cells(c))
        tile_sums((Sum){c, false}, j, scratch, j->dw, j->more, piece(ROW_PAIRS(c), part, parts),
                  piece(ROW_PAIRS(c), part + 1, parts), 0, PANELS(c.out), 0,
                  c.images * c.out_side * c.out_side);
    else if (part < slices)
        sum_slice((Sum){c, true}, PANELS(c.out), PAIRS_OF_ROWS(c, c.stride), j, scratch, part, slices);
}

INLINE void winograd_grad_w_end(Winograd w, const ConvGradWJob *j, int part, int parts)
{
    const Conv c = w.c;
    if (has_cells(c))
        sum_slices(j->partial, MIN_OF(parts, c.images), (size_t)depth_of_patch(c) * c.out, 1,
                   j->more ? j->dw : NULL, j->dw, part, parts);
}

#endif
