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
 * or a panel of 32 columns of the right one. */
#ifndef TILES_H
#define TILES_H

#include "kernels.h"
#include <stdatomic.h>

enum { TILE = 16, STEP = 32, PARTS_OF_FLOAT = 3, TILE_NUMBERS = TILE * STEP };
enum { PAIR_NUMBERS = PARTS_OF_FLOAT * 2 * TILE_NUMBERS }; /* of a step of a pair */
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

/* A step of a row: numbers 0 to 15 and 16 to 31, to the same row of a tile of each part. */
INLINE void split(Vec low, Vec high, Part *row)
{
    typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    const Words first = (Words){0} + 0xffff0000u;
    UNROLL for (int part = 0; part < PARTS_OF_FLOAT; part++)
    {
        Words upper = (Words)low >> 16;
        OPAQUE(upper);
        *(Words *)(void *)(row + part * 2 * TILE_NUMBERS) = upper | ((Words)high & first);
        low -= (Vec)((Words)low & first);
        high -= (Vec)((Words)high & first);
    }
}

/* Where row `row` of a step of its pair begins. */
INLINE Part *row_of_pair(Part *pair, int row)
{
    return pair + row / TILE * TILE_NUMBERS + row % TILE * STEP;
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
                      row_of_pair(to, tile * TILE + i));
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

/* A tile of a step from its transposed: numbers i < count[0] of the first rows[0] of 16 rows and i < count[1]
 * of the next rows[1], from `shift` on, become row i. */
SHARED void split_transposed(const float *const row[2 * TILE], const int rows[2], const int count[2],
                             ptrdiff_t shift, float scale, Part *tile)
{
    _Alignas(64) Vec column[2][TILE];
    for (int half = 0; half < 2; half++) {
        const float *const *const from = row + half * TILE;
        _Alignas(64) Vec line[TILE];
        if (rows[half] >= TILE && count[half] >= TILE) {
            UNROLL for (int i = 0; i < TILE; i++) line[i] = load(from[i] + shift);
            transpose(line, column[half]);
            continue;
        }
        ROLLED for (int i = 0; i < TILE; i++) line[i] =
            load_some(i < rows[half] ? from[i] + shift : NULL, i < rows[half] ? count[half] : 0);
        transpose(line, column[half]);
    }
    UNROLL for (int i = 0; i < TILE; i++) split(scale * column[0][i], scale * column[1][i], tile + i * STEP);
}

/* One panel of scale * transposed w, w (columns, depth). */
SHARED void pack_panel_transposed(const float *w, int depth, int columns, float scale, int panel,
                                  float *packed)
{
    Part *to = (Part *)(void *)(packed + panel * PANEL_FLOATS(depth));
    for (int tile = 0; tile < 2; tile++) {
        const float *row[2 * TILE];
        const int first = panel * PANEL + tile * TILE, width = MAX_OF(MIN_OF(TILE, columns - first), 0);
        for (int i = 0; i < width; i++) {
            row[i] = w + (size_t)(first + i) * depth;
            row[TILE + i] = row[i] + TILE;
        }
        for (int k = 0; k < depth; k += STEP)
            split_transposed(row, (const int[]){width, k + TILE < depth ? width : 0},
                             (const int[]){depth - k, depth - k - TILE}, k, scale,
                             row_of_pair(to + (ptrdiff_t)(k / STEP) * PAIR_NUMBERS, tile * TILE));
    }
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

/* Pixels and steps whose parts lie in the second cache at once, and the panels whose sums wait there for
 * further steps. */
enum { TILE_PIXELS = 128, MOST_STEPS = 16, MOST_PANELS = 16 };

/* Rows whose parts are made meanwhile, a step of a row at a time. */
typedef struct {
    const float *row[TILE_PIXELS];
    ptrdiff_t at[MOST_STEPS]; /* where a step lies in a row, if steps are `whole` */
    bool whole;
    Conv from;
    int rows, first, steps; /* steps: `steps` from `first` on */
    Part *to;               /* [pair][step] */
    int step, done;         /* of row `done`, the next step */
} Splitting;

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

/* Lanes 0 to 31 of a patch that is no longer, as a first layer's. */
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

/* Steps [s->step, end) of row s->done. */
INLINE void split_row(const Splitting *s, int end)
{
    const float *const row = s->row[s->done];
    Part *to = row_of_pair(s->to + ((ptrdiff_t)(s->done / PANEL) * s->steps + s->step) * PAIR_NUMBERS,
                           s->done % PANEL);
    for (int step = s->step; step < end; step++, to += PAIR_NUMBERS) {
        const float *from = row + s->at[step];
        for (int line = 0; line < STEP; line += LINE)
            __builtin_prefetch(from + (ptrdiff_t)TILE_PIXELS * s->from.stride * s->from.in + line, 0, 2);
        Vec low, high;
        if (s->whole) {
            low = load(from);
            high = load(from + TILE);
        } else if (depth_of_patch(s->from) <= STEP) {
            gather_short(s->from, row, &low, &high);
        } else {
            gather_step(s->from, row, s->first + step, &low, &high);
        }
        split(low, high, to);
    }
}

INLINE void split_more(Splitting *s, int count)
{
    while (count > 0 && s->done < s->rows) {
        const int end = MIN_OF(s->step + count, s->steps);
        split_row(s, end);
        count -= end - s->step;
        s->step = end;
        if (end == s->steps) {
            s->step = 0;
            s->done++;
        }
    }
}

/* A pair's sums that have their tail to come, a row at a time. */
typedef struct {
    const float *sums; /* [32 rows][PANEL] */
    const size_t *at;  /* of row i, at[i] + shift in y */
    ptrdiff_t shift;
    int column; /* of the bias */
    int rows, width, done;
} Ending;

INLINE void end_row(const TileProduct *p, int tail, const Ending *e, int row)
{
    const float *sums = e->sums + row * PANEL;
    const size_t at = e->at[row] + (size_t)e->shift;
    if (e->width == PANEL) {
        UNROLL for (int v = 0; v < VECTORS; v++)
            tail_vector(tail, p->y + at + v * LANES, load(sums + v * LANES),
                        tail & TAIL_BIAS ? p->bias + e->column + v * LANES : NULL,
                        tail & TAIL_ADD ? p->addend + at + v * LANES : NULL,
                        tail & TAIL_MASK ? p->mask + at + v * LANES : NULL);
        return;
    }
    for (int i = 0; i < e->width; i++)
        p->y[at + (size_t)i] = tail_number(tail, sums[i], tail & TAIL_BIAS ? p->bias[e->column + i] : 0,
                                           tail & TAIL_ADD ? p->addend[at + (size_t)i] : 0,
                                           tail & TAIL_MASK ? p->mask[at + (size_t)i] : 0);
}

INLINE void end_more(const TileProduct *p, int tail, Ending *e, int count)
{
    for (; count > 0 && e->done < e->rows; count--)
        end_row(p, tail, e, e->done++);
}

/* Asks for where the rows will end, and what of it their tail reads. */
INLINE void ask_more(const TileProduct *p, int tail, const Ending *e, int first, int count)
{
    for (int row = first; row < MIN_OF(first + count, e->rows); row++) {
        const size_t at = e->at[row] + (size_t)e->shift;
        for (int line = 0; line < PANEL; line += LINE) {
            __builtin_prefetch(p->y + at + line, 1);
            if (tail & TAIL_ADD && p->addend != p->y)
                __builtin_prefetch(p->addend + at + line);
            if (tail & TAIL_MASK)
                __builtin_prefetch(p->mask + at + line);
        }
    }
}

/* Sums of a pair of rows by a panel, in tiles 0 to 3, += the six products of a step. */
INLINE void add_step(const Part *left, const Part *right)
{
#define LEFT(part)                                                                                           \
    TILE_LOAD(4, left + (part)*2 * TILE_NUMBERS, 64);                                                        \
    TILE_LOAD(5, left + ((part)*2 + 1) * TILE_NUMBERS, 64)
#define RIGHT(part)                                                                                          \
    TILE_LOAD(6, right + (part)*2 * TILE_NUMBERS, 64);                                                       \
    TILE_LOAD(7, right + ((part)*2 + 1) * TILE_NUMBERS, 64)
#define ADD                                                                                                  \
    TILE_ADD(0, 4, 6);                                                                                       \
    TILE_ADD(1, 4, 7);                                                                                       \
    TILE_ADD(2, 5, 6);                                                                                       \
    TILE_ADD(3, 5, 7)
    LEFT(0);
    RIGHT(2);
    ADD;
    RIGHT(1);
    ADD;
    LEFT(1);
    ADD;
    RIGHT(0);
    ADD;
    LEFT(0);
    ADD;
    LEFT(2);
    ADD;
#undef LEFT
#undef RIGHT
#undef ADD
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
              groups = CEIL_DIV(panels, group), cut = stage % cuts, of = stage / cuts % groups;
    Stage s = {.first = first + stage / cuts / groups * TILE_PIXELS,
               .panel = of * group,
               .step = cut * MOST_STEPS,
               .begins = cut == 0,
               .ends = cut == cuts - 1};
    s.pixels = MIN_OF(TILE_PIXELS, last - s.first);
    s.panels = MIN_OF(group, panels - s.panel);
    s.steps = MIN_OF(MOST_STEPS, STEPS(depth) - s.step);
    return s;
}

INLINE void begin_splitting(const TileProduct *p, Stage next, Part *to, Splitting *s)
{
    const Conv c = p->from;
    const int run = c.kernel * c.in;
    s->from = c;
    s->whole = run % STEP == 0;
    s->rows = next.pixels;
    s->first = next.step;
    s->steps = next.steps;
    s->to = to;
    s->step = s->done = 0;
    for (int i = 0; i < next.pixels; i++)
        s->row[i] = p->left + patch(c, next.first + i);
    for (int i = 0; i < next.steps; i++) {
        const int k = (next.step + i) * STEP;
        s->at[i] = s->whole ? (ptrdiff_t)(k / run) * c.side * c.in + k % run : 0;
    }
}

/* The tail of a pair of rows by a panel; none before the last step. */
INLINE Ending ending_of(const TileProduct *p, Stage s, int panel, int pair, const float *sums,
                        const size_t *at)
{
    const int width = p->to.in, column = panel % PANELS(width) * PANEL;
    return (Ending){.sums = sums,
                    .at = at + pair * PANEL,
                    .shift = tap_at(p->to, panel / PANELS(width)) + column,
                    .column = column,
                    .rows = s.ends ? MIN_OF(PANEL, s.pixels - pair * PANEL) : 0,
                    .width = MIN_OF(PANEL, width - column)};
}

/* Pixels [first, last). While a pair of rows is multiplied by a panel, the sums before it get their tail, and
 * a share of the next stage's rows is split. */
INLINE void tile_product(const TileProduct *p, int tail, float *scratch, int first, int last)
{
    const int depth = depth_of_patch(p->from), panels = p->to.kernel * p->to.kernel * PANELS(p->to.in),
              cuts = CEIL_DIV(STEPS(depth), MOST_STEPS),
              groups = cuts > 1 ? CEIL_DIV(panels, MOST_PANELS) : 1,
              stages = CEIL_DIV(last - first, TILE_PIXELS) * cuts * groups;
    Part *const parts = (Part *)(void *)scratch;
    const ptrdiff_t block = (ptrdiff_t)TILE_PIXELS / PANEL * MIN_OF(STEPS(depth), MOST_STEPS) * PAIR_NUMBERS;
    float *const waiting = scratch + block; /* two blocks of 2 bytes */
    _Alignas(64) float one[PANEL * PANEL];
    size_t at[2][TILE_PIXELS];
    Splitting next;
    Ending ending = {0};
    if (stages == 0)
        return;
    tiles_begin();
    begin_splitting(p, stage_at(depth, panels, first, last, 0), parts, &next);
    split_more(&next, TILE_PIXELS * MOST_STEPS);
    for (int stage = 0; stage < stages; stage++) {
        const Stage s = stage_at(depth, panels, first, last, stage);
        const Part *left = parts + stage % 2 * block;
        const int pairs = CEIL_DIV(s.pixels, PANEL), rounds = s.panels * pairs * s.steps;
        size_t *const to = at[stage / (cuts * groups) % 2];
        next.rows = next.done = 0;
        if (stage + 1 < stages)
            begin_splitting(p, stage_at(depth, panels, first, last, stage + 1),
                            parts + (stage + 1) % 2 * block, &next);
        const int share = CEIL_DIV(next.rows * next.steps, rounds), rows = CEIL_DIV(PANEL, s.steps);
        if (s.begins)
            for (int i = 0; i < s.pixels; i++)
                to[i] = patch(p->to, s.first + i);
        atomic_signal_fence(memory_order_seq_cst); /* what is split is written before tiles are loaded */
        for (int i = 0; i < s.panels; i++)
            for (int pair = 0; pair < pairs; pair++) {
                const int panel = s.panel + i;
                float *sums =
                    cuts == 1 ? one : waiting + ((ptrdiff_t)i * (TILE_PIXELS / PANEL) + pair) * PANEL * PANEL;
                const Part *a = left + (ptrdiff_t)pair * s.steps * PAIR_NUMBERS,
                           *b = (const Part *)(const void *)(p->packed + panel * PANEL_FLOATS(depth)) +
                                (ptrdiff_t)s.step * PAIR_NUMBERS;
                const Ending now = ending_of(p, s, panel, pair, sums, to);
                begin_sums(sums, PANEL, !s.begins);
                for (int k = 0; k < s.steps; k++, a += PAIR_NUMBERS, b += PAIR_NUMBERS) {
                    add_step(a, b);
                    end_more(p, tail, &ending, rows);
                    ask_more(p, tail, &now, k * rows, rows);
                    split_more(&next, share);
                }
                store_sums(sums, PANEL);
                ending = now;
            }
        split_more(&next, TILE_PIXELS * MOST_STEPS);
    }
    end_more(p, tail, &ending, PANEL);
    tiles_end();
}

/* One function for each tail that a program uses, shared by its shapes. */
#define DEFINE_TILE_PRODUCT(tail)                                                                            \
    SHARED void tile_product_##tail(const TileProduct *p, float *scratch, int first, int last)               \
    {                                                                                                        \
        tile_product(p, tail, scratch, first, last);                                                         \
    }
EACH_TAIL(DEFINE_TILE_PRODUCT)

/* `tail` is a constant, so one call is left of the switch. */
INLINE void call_tile_product(const TileProduct *p, int tail, float *scratch, int first, int last)
{
#define CALL(n)                                                                                              \
    case n: tile_product_##n(p, scratch, first, last); break;
    switch (tail) {
        EACH_TAIL(CALL)
    }
#undef CALL
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
    call_tile_product(&p, tail, scratch, first, last);
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
    call_tile_product(&p, tail, scratch, first, last);
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

/* The pixels that go together, and the most pairs of rows and of columns of dw: the parts of two such blocks
 * lie in the second cache. */
enum { SUM_PIXELS = 128, SUM_STEPS = SUM_PIXELS / STEP, SUM_PAIRS = 8 };

/* A block of dw: pairs of its rows, of which each of the kernel's rows (kernel*in floats) has its own, by
 * panels of its columns. */
typedef struct {
    int pair, pairs, panel, panels;
} WeightBlock;

#define ROW_PAIRS(c) ((c).kernel * CEIL_DIV((c).kernel * (c).in, PANEL))

/* A pair's rows of dw, `count` from `first` on, and where they begin in a patch. */
typedef struct {
    int first, count;
    ptrdiff_t at;
} PairRows;

INLINE PairRows rows_of_pair(Conv c, int pair)
{
    const int run = c.kernel * c.in, pairs = CEIL_DIV(run, PANEL), ky = pair / pairs,
              k = pair % pairs * PANEL;
    return (PairRows){ky * run + k, MIN_OF(PANEL, run - k), (ptrdiff_t)ky * c.side * c.in + k};
}

/* The parts of a block of pixels that are made meanwhile: of x's patches a tile of a step at a time, of dy a
 * row of both tiles. */
typedef struct {
    Conv c;
    WeightBlock b;
    const float *x[SUM_PIXELS];
    const float *dy;
    int pixels;
    Part *left, *right; /* [pair][step], [panel][step] */
    int tiles, rows;    /* made so far */
} SumSplitting;

INLINE void begin_sum_splitting(const ConvGradWJob *j, int first, int last, Part *to, SumSplitting *s)
{
    s->dy = j->dy + (size_t)first * s->c.out;
    s->pixels = MIN_OF(SUM_PIXELS, last - first);
    s->left = to;
    s->right = to + (ptrdiff_t)s->b.pairs * SUM_STEPS * PAIR_NUMBERS;
    s->tiles = s->rows = 0;
    for (int i = 0; i < s->pixels; i++)
        s->x[i] = j->x + patch(s->c, first + i);
}

INLINE void split_tile_of_x(const SumSplitting *s, int number)
{
    const int tiles = 2 * s->b.pairs, step = number / tiles, pair = number % tiles / 2, tile = number % 2,
              first = step * STEP, pixels = s->pixels - first;
    const PairRows rows = rows_of_pair(s->c, s->b.pair + pair);
    const ptrdiff_t at = rows.at + tile * TILE;
    for (int i = 0; i < MIN_OF(STEP, pixels); i++)
        __builtin_prefetch(s->x[first + i] + at + (ptrdiff_t)SUM_PIXELS * s->c.stride * s->c.in, 0, 2);
    split_transposed(s->x + first, (const int[]){pixels, pixels - TILE},
                     (const int[]){rows.count - tile * TILE, rows.count - tile * TILE}, at, 1,
                     s->left + (ptrdiff_t)(pair * SUM_STEPS + step) * PAIR_NUMBERS + tile * TILE_NUMBERS);
}

INLINE void split_row_of_dy(const SumSplitting *s, int number)
{
    const int step = number / (TILE * s->b.panels), i = number / s->b.panels % TILE,
              panel = number % s->b.panels, low = step * STEP + i, high = low + TILE,
              column = (s->b.panel + panel) * PANEL;
    Part *const to = s->right + (ptrdiff_t)(panel * SUM_STEPS + step) * PAIR_NUMBERS + i * STEP;
    for (int tile = 0; tile < 2; tile++) {
        const int columns = s->c.out - column - tile * TILE;
        const float *from = s->dy + (ptrdiff_t)low * s->c.out + column + tile * TILE,
                    *further = from + (ptrdiff_t)TILE * s->c.out;
        __builtin_prefetch(from + (ptrdiff_t)SUM_PIXELS * s->c.out, 0, 2);
        __builtin_prefetch(further + (ptrdiff_t)SUM_PIXELS * s->c.out, 0, 2);
        split(load_some(from, low < s->pixels ? columns : 0),
              load_some(further, high < s->pixels ? columns : 0), to + tile * TILE_NUMBERS);
    }
}

INLINE void split_sum_more(SumSplitting *s, int tiles, int rows)
{
    const int all_tiles = s->b.pairs * SUM_STEPS * 2, all_rows = s->b.panels * SUM_STEPS * TILE;
    if (s->pixels == 0)
        return;
    for (; tiles > 0 && s->tiles < all_tiles; tiles--)
        split_tile_of_x(s, s->tiles++);
    for (; rows > 0 && s->rows < all_rows; rows--)
        split_row_of_dy(s, s->rows++);
}

/* dw's rows x columns (+)= a pair by a panel, while a share of the next block is split. */
INLINE void sum_pair(const Part *left, const Part *right, int steps, float *dw, ptrdiff_t columns, int rows,
                     int width, bool more, SumSplitting *next, int tiles, int lines)
{
    _Alignas(64) float some[PANEL * PANEL];
    const bool whole = rows == PANEL && width == PANEL;
    float *const sums = whole ? dw : some;
    const ptrdiff_t stride = whole ? columns : PANEL;
    begin_sums(sums, stride, more && whole);
    for (int k = 0; k < steps; k++) {
        add_step(left + (ptrdiff_t)k * PAIR_NUMBERS, right + (ptrdiff_t)k * PAIR_NUMBERS);
        split_sum_more(next, tiles, lines);
    }
    store_sums(sums, stride);
    if (!whole)
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < width; i++)
                dw[r * columns + i] = some[r * PANEL + i] + (more ? dw[r * columns + i] : 0);
}

/* A block of dw of SUM_PAIRS each way at most, over pixels [first, last), in order. Scratch: the parts of two
 * blocks of pixels. */
SHARED void tile_sum(const Conv *shape, const ConvGradWJob *j, float *scratch, float *dw, bool more,
                     const WeightBlock *b, int first, int last)
{
    enum { ALL = SUM_PIXELS * SUM_PAIRS };
    const Conv c = *shape;
    Part *const parts = (Part *)(void *)scratch;
    const ptrdiff_t size = (ptrdiff_t)(b->pairs + b->panels) * SUM_STEPS * PAIR_NUMBERS;
    SumSplitting next = {.c = c, .b = *b};
    tiles_begin();
    begin_sum_splitting(j, first, last, parts, &next);
    split_sum_more(&next, ALL, ALL);
    for (int block = first, turn = 0; block < last; block += SUM_PIXELS, turn = !turn) {
        const Part *const left = parts + turn * size, *const right = left + (ptrdiff_t)b->pairs * SUM_STEPS *
                                                                                PAIR_NUMBERS;
        const int steps = STEPS(MIN_OF(SUM_PIXELS, last - block)),
                  tiles = CEIL_DIV(2 * SUM_STEPS, b->panels * steps),
                  lines = CEIL_DIV(TILE * SUM_STEPS, b->pairs * steps);
        next.pixels = 0;
        if (block + SUM_PIXELS < last)
            begin_sum_splitting(j, block + SUM_PIXELS, last, parts + !turn * size, &next);
        atomic_signal_fence(memory_order_seq_cst); /* what is split is written before tiles are loaded */
        for (int i = 0; i < b->pairs; i++)
            for (int k = 0; k < b->panels; k++) {
                const PairRows rows = rows_of_pair(c, b->pair + i);
                const int column = (b->panel + k) * PANEL;
                sum_pair(left + (ptrdiff_t)i * SUM_STEPS * PAIR_NUMBERS,
                         right + (ptrdiff_t)k * SUM_STEPS * PAIR_NUMBERS, steps,
                         dw + (size_t)rows.first * c.out + column, c.out, rows.count,
                         MIN_OF(PANEL, c.out - column), more || block > first, &next, tiles, lines);
            }
        split_sum_more(&next, ALL, ALL);
    }
    tiles_end();
}

/* The rows' pairs [pair0, pair1) by panels [panel0, panel1) of dw. */
INLINE void tile_sums(Conv c, const ConvGradWJob *j, float *scratch, float *dw, bool more, int pair0,
                      int pair1, int panel0, int panel1, int first, int last)
{
    for (int pair = pair0; pair < pair1; pair += SUM_PAIRS)
        for (int panel = panel0; panel < panel1; panel += SUM_PAIRS) {
            const WeightBlock b = {pair, MIN_OF(SUM_PAIRS, pair1 - pair), panel,
                                   MIN_OF(SUM_PAIRS, panel1 - panel)};
            tile_sum(&c, j, scratch, dw, more, &b, first, last);
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
    tile_sums(c, j, scratch, j->dw, j->more, piece(pairs, cut, GRAD_W_CUTS(pairs)),
              piece(pairs, cut + 1, GRAD_W_CUTS(pairs)), piece(panels, panel_cut, cuts),
              piece(panels, panel_cut + 1, cuts), 0, c.images * c.out_side * c.out_side);
}

/* Slice `slice` of the images, into its own dw. */
INLINE void conv_grad_w_slice(Conv c, const ConvGradWJob *j, float *scratch, int slice, int slices)
{
    const int area = c.out_side * c.out_side;
    tile_sums(c, j, scratch, j->partial + (size_t)slice * depth_of_patch(c) * c.out, false, 0, ROW_PAIRS(c),
              0, PANELS(c.out), area * piece(c.images, slice, slices),
              area * piece(c.images, slice + 1, slices));
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
    tile_sums(c, j, scratch, j->partial + (size_t)slice * depth_of_patch(c) * c.out, false, pair,
              MIN_OF(pair + SUM_PAIRS, ROW_PAIRS(c)), 0, PANELS(c.out), tile_piece(pixels, slice, slices),
              tile_piece(pixels, slice + 1, slices));
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

INLINE void winograd_grad_w(Winograd w, const ConvGradWJob *j, float *scratch, int part, int parts)
{
    tile_sums(w.c, j, scratch, j->dw, j->more, piece(ROW_PAIRS(w.c), part, parts),
              piece(ROW_PAIRS(w.c), part + 1, parts), 0, PANELS(w.c.out), 0,
              w.c.images * w.c.out_side * w.c.out_side);
}

#endif
