/* tiles.h: products by the processor's matrix tiles (AMX), where it has them.
 *
 * A tile holds 16 rows of 64 bytes. The unit adds to 16x16 floats the product of 16x32 by 32x16 numbers of
 * bfloat16, which are a float's first 16 bits: 8 of its mantissa's 24. A float is the exact sum of three such
 * parts, and of the nine products of two floats' parts these six are made, the small ones first:
 *
 *   first . last + first . middle + middle . middle + middle . first + first . first + last . first
 *
 * With PARTS_OF_FLOAT of 2 they are rounded, a float is their sum but for 2^-17 of it, and three products are
 * made (precision bfloat16x3):
 *
 *   first . last + last . first + first . first
 *
 * What is left out is less than 2^-23 of a product, about what float rounds off each; sums come out nearer to
 * the exact ones than those of fused multiply-adds one after the other (docs/performance-notebook.md). Six of
 * these products take less than half of the time of vectors. So here every product is made whole: what other
 * processors do faster by skipping zeros (sparse.h), by a mask (masked.h) or by Winograd
 * (winograd.h) has its counterpart at the end. Gradients of weights, sums over pixels, are in tile_sums.h.
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

#ifndef PARTS_OF_FLOAT
#define PARTS_OF_FLOAT 3 /* numbers of bfloat16 that stand for a float */
#endif

/* Numbers of bfloat16: of a tile, of a part of a pair's step, and of all of a float's. */
enum {
    TILE_NUMBERS = TILE * STEP,
    PART_NUMBERS = 2 * TILE_NUMBERS,
    PAIR_NUMBERS = PARTS_OF_FLOAT * PART_NUMBERS
};
_Static_assert((int)PANEL == (int)TILE_PAIR && (int)TILE_PAIR == 2 * (int)TILE && (int)LANES == (int)TILE,
               "a panel is a pair of tiles, a vector a tile's row");
_Static_assert((int)PAIR_NUMBERS == 2 * PAIR_FLOATS(PARTS_OF_FLOAT),
               "memory is planned for numbers of two bytes");

#define STEPS(depth) CEIL_DIV(depth, STEP)

/* Floats of a packed panel. */
#define PANEL_FLOATS(depth) ((ptrdiff_t)STEPS(depth) * PAIR_NUMBERS / 2)

typedef uint16_t Part; /* a part of a float */

/* ---- numbers of a factor ---- */

/* Factors of a product are floats or, `of_map`, numbers of maps of bfloat16, each of which is its one part.
 * It is a constant wherever it is asked. */
INLINE int parts_of(bool of_map)
{
    return of_map ? 1 : PARTS_OF_FLOAT;
}

/* Of a step of a pair. */
INLINE ptrdiff_t pair_numbers(bool of_map)
{
    return (ptrdiff_t)parts_of(of_map) * PART_NUMBERS;
}

INLINE const void *number_at(bool of_map, const void *first, ptrdiff_t i)
{
    return (const char *)first + i * (ptrdiff_t)(of_map ? sizeof(Part) : sizeof(float));
}

/* ---- the unit ---- */

/* Tiles 0 to 3 are the sums of a pair of rows by a pair of columns, 4 and 5 of the left factor, 6 and 7 of
 * the right one. */
#ifndef TILE_UNIT_GIVEN /* tests give one in plain C */
#if !PROCESSOR_HAS_TILES
#error                                                                                                       \
    "this model is planned for matrix tiles (AMX): compile it with -march=sapphirerapids, or have it made anew for another --march"
#endif
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

/* ---- parts of floats ---- */

/* Of a shift and a blend clang would make a shuffle of words, which takes three times as long. */
#if defined __AVX512F__
#define OPAQUE(v) __asm__("" : "+v"(v))
#else
#define OPAQUE(v) (void)(v)
#endif

/* Of a float that has no third part, the nearest number of bfloat16, of two the even one, in place of its
 * first bits: what is left is half as large. */
INLINE Vec round_part(Vec v)
{
    const Words bits = (Words)v;
    return PARTS_OF_FLOAT < 3 ? (Vec)(bits + 0x7fff + (bits >> 16 & 1)) : v;
}

/* A step of a row: numbers 0 to 15 and 16 to 31, to the same row of a tile of each part, which lie `apart`
 * numbers from each other. */
INLINE void split(Vec low, Vec high, Part *row, ptrdiff_t apart)
{
    const Words first = (Words){0} + 0xffff0000u;
    UNROLL for (int part = 0; part < PARTS_OF_FLOAT; part++)
    {
        const Words l = (Words)round_part(low), h = (Words)round_part(high);
        Words upper = l >> 16;
        OPAQUE(upper);
        *(Words *)(void *)(row + part * apart) = upper | (h & first);
        low -= (Vec)(l & first);
        high -= (Vec)(h & first);
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
SHARED void transpose_rows(const void *const row[TILE], int rows, int count, ptrdiff_t shift,
                           Vec column[TILE])
{
    _Alignas(64) Vec line[TILE];
    if (rows >= TILE && count >= TILE) {
        UNROLL for (int i = 0; i < TILE; i++) line[i] = load((const float *)row[i] + shift);
    } else {
        ROLLED for (int i = 0; i < TILE; i++) line[i] =
            i < rows ? load_some((const float *)row[i] + shift, count) : (Vec){0};
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
        const void *row[TILE];
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

/* ---- numbers of maps ---- */

#if MAPS_ARE_BFLOAT16
/* Numbers [first, last) of 32 from from[first] on, zeros elsewhere; nothing else is read. */
INLINE Vec load_numbers(const Activation *from, int first, int last)
{
#if defined __AVX512BW__
    return (Vec)_mm512_maskz_loadu_epi16((__mmask32)(((uint64_t)1 << last) - ((uint64_t)1 << first)), from);
#else
    Activation numbers[STEP] = {{0}};
    memcpy(numbers + first, from + first, sizeof *from * (size_t)(last - first));
    return load((const float *)(const void *)numbers);
#endif
}

/* A channel's word of two pixels, `first` in the lower half, for `count` or fewer channels; a pixel that is
 * NULL is 0. */
INLINE Vec lace_channels(const Activation *first, const Activation *second, int count)
{
    Words low = {0}, high = {0};
    if (count >= LANES) {
        low = first ? load_bits(first) : low;
        high = second ? load_bits(second) : high;
    } else {
        SCALAR for (int i = 0; i < count; i++)
        {
            low[i] = first ? first[i].bits : 0;
            high[i] = second ? second[i].bits : 0;
        }
    }
    return (Vec)(low | high << 16);
}

/* The same of 16 channels from number `shift` on of the first `pixels` of 32 pixels: row i of the tile is
 * channel i, its words are pixels j and 16 + j. */
SHARED void lace_tile(const void *const pixel[STEP], int pixels, int count, ptrdiff_t shift, Part *tile)
{
    _Alignas(64) Vec line[TILE];
    const Activation *const *at = (const Activation *const *)pixel;
    if (pixels >= STEP && count >= TILE) {
        UNROLL for (int i = 0; i < TILE; i++) line[i] =
            (Vec)(load_bits(at[i] + shift) | load_bits(at[TILE + i] + shift) << 16);
    } else {
        ROLLED for (int i = 0; i < TILE; i++) line[i] = lace_channels(
            i < pixels ? at[i] + shift : NULL, TILE + i < pixels ? at[TILE + i] + shift : NULL, count);
    }
    transpose(line, (Vec *)(void *)tile);
}

/* One panel of w (depth, columns), rounded: a step's word i is numbers 2 * i and 2 * i + 1 of the depth, as
 * they lie in maps. */
SHARED void pack_numbers(const float *w, int depth, int columns, int panel, float *packed)
{
    Part *to = (Part *)(void *)packed + (size_t)panel * STEPS(depth) * PART_NUMBERS;
    for (int tile = 0; tile < 2; tile++, to += TILE_NUMBERS)
        for (int k = 0; k < STEPS(depth) * STEP; k += 2) {
            const int column = panel * PANEL + tile * TILE;
            const float *from = w + (size_t)k * columns + column;
            const Words low = rounded_bits(load_some(from, k < depth ? columns - column : 0)),
                        high = rounded_bits(load_some(from + columns, k + 1 < depth ? columns - column : 0));
            store((float *)(void *)(to + k / STEP * PART_NUMBERS + k % STEP / 2 * STEP),
                  (Vec)(low | high << 16));
        }
}

/* One panel of transposed w, w (columns, depth). */
SHARED void pack_numbers_transposed(const float *w, int depth, int columns, int panel, float *packed)
{
    Part *to = (Part *)(void *)packed + (size_t)panel * STEPS(depth) * PART_NUMBERS;
    for (int k = 0; k < depth; k += STEP, to += PART_NUMBERS)
        for (int tile = 0; tile < 2; tile++) {
            const int first = panel * PANEL + tile * TILE;
            _Alignas(64) Activation row[TILE][STEP];
            for (int i = 0; i < TILE; i++)
                for (int half = 0; half < STEP; half += TILE)
                    store_activations(row[i] + half, load_some(w + (size_t)(first + i) * depth + k + half,
                                                               first + i < columns ? depth - k - half : 0));
            transpose((const Vec *)(const void *)row, (Vec *)(void *)(to + tile * TILE_NUMBERS));
        }
}
#endif

/* ---- shares of work ---- */

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

/* ---- a step ---- */

/* Of parts, for one of numbers. */
INLINE int products_of(bool of_map)
{
    return of_map ? 1 : PARTS_OF_FLOAT == 3 ? 6 : 3;
}

/* Where a pair's step of the left factor lies: numbers from one row of a tile to the next, from its first
 * tile to its second, and from its first part to its second. */
typedef struct {
    const Part *at;
    ptrdiff_t row, tile, part;
} Left;

/* As parts lie. */
INLINE Left packed_left(const Part *pair)
{
    return (Left){pair, STEP, TILE_NUMBERS, PART_NUMBERS};
}

/* Tiles 4 to 7 for product `number` of a step; what the one before has left there stays. `line`: numbers from
 * a tile of the right factor to the next. */
INLINE void load_factors(bool of_map, int number, Left left, const Part *right, ptrdiff_t line)
{
#define LEFT(n)                                                                                              \
    TILE_LOAD(4, left.at + (n)*left.part, sizeof(Part) * (size_t)left.row);                                  \
    TILE_LOAD(5, left.at + (n)*left.part + left.tile, sizeof(Part) * (size_t)left.row)
#define RIGHT(n)                                                                                             \
    TILE_LOAD(6, right + (n)*2 * line, 64);                                                                  \
    TILE_LOAD(7, right + ((n)*2 + 1) * line, 64)
    if (of_map) {
        LEFT(0);
        RIGHT(0);
        return;
    }
#if PARTS_OF_FLOAT == 3
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
#else
    switch (number) {
    case 0:
        LEFT(0);
        RIGHT(1);
        break;
    case 1:
        LEFT(1);
        RIGHT(0);
        break;
    case 2: LEFT(0); break;
    }
#endif
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

/* ---- products of maps ---- */

/* y (pixels, columns) = left (pixels, depth) . the packed matrix, then the tail: a pixel's row of the left
 * factor is a patch of `from`, and goes to a patch of `to`, over whose taps the columns go. */
typedef struct {
    const void *left, *addend, *mask;
    const float *packed, *bias;
    void *y;
    Conv from;           /* left is its x */
    Conv to;             /* y is its x */
    bool of_map, to_map; /* what left is, and y, addend and mask */
} TileProduct;

/* Rows whose parts are made meanwhile, a step of a row at a time. */
typedef struct {
    const void *left;             /* row 0, if pointwise */
    const void *row[TILE_PIXELS]; /* if not */
    ptrdiff_t at[MOST_STEPS];     /* where a step lies in a row, if steps are whole */
    int first, steps;             /* steps: `steps` from `first` on */
    Part *to;                     /* [pair][step] */
    int next_row, next_step;
    Shares work; /* rows' steps, or as many as go together */
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

#if MAPS_ARE_BFLOAT16
/* Step `step` of a patch that is cut anywhere, of a map's numbers. */
INLINE Vec gather_numbers(Conv from, const Activation *patch_of, int step)
{
    const int run = from.kernel * from.in, length = MIN_OF(STEP, depth_of_patch(from) - step * STEP);
    const ptrdiff_t jump = (ptrdiff_t)from.side * from.in;
    const Activation *row = patch_of + step * STEP / run * jump;
    Bits step_of = {0};
    for (int i = 0, column = step * STEP % run; i < length; column = 0, row += jump) {
        const int count = MIN_OF(run - column, length - i);
        step_of |= (Bits)load_numbers(row + column - i, i, i + count);
        i += count;
    }
    return (Vec)step_of;
}
#endif

/* Where a whole step lies. What lies in one piece the processor prefetches by itself, but not the next rows
 * of patches: of these the first step is prefetched, where some go together. */
INLINE const void *whole_step(bool of_map, Conv from, const Splitting *s, int row, int step)
{
    if (is_pointwise(from))
        return number_at(of_map, s->left, (ptrdiff_t)row * from.in + (s->first + step) * STEP);
    const void *at = number_at(of_map, s->row[row], s->at[step]);
    for (int line = 0; line < STEP; line += of_map ? 2 * LINE : LINE)
        __builtin_prefetch(number_at(of_map, at, (ptrdiff_t)TILE_PIXELS * from.stride * from.in + line), 0,
                           2);
    return at;
}

/* Steps of a row that are split together: of a map's, as many as lie side by side in every patch. */
INLINE int steps_together(bool of_map, Conv from)
{
    const int run = from.kernel * from.in;
    return !of_map || run % (2 * STEP) ? 1 : run % (4 * STEP) ? 2 : 4;
}

#if MAPS_ARE_BFLOAT16
/* Steps of a row of a map, which are copied. */
INLINE void copy_steps(Conv from, const Splitting *s, int row, int step, Part *to)
{
    if (!has_whole_steps(from)) {
        store((float *)(void *)to, gather_numbers(from, s->row[row], s->first + step));
        return;
    }
    const Part *whole = whole_step(true, from, s, row, step);
    UNROLL for (int i = 0; i < steps_together(true, from); i++) store(
        (float *)(void *)(to + i * PART_NUMBERS), load((const float *)(const void *)(whole + i * STEP)));
}
#endif

/* A step of a row, or as many as go together. */
INLINE void split_steps(bool of_map, Conv from, const Splitting *s, int row, int step, Part *to)
{
#if MAPS_ARE_BFLOAT16
    if (of_map) {
        copy_steps(from, s, row, step, to);
        return;
    }
#endif
    Vec low, high;
    if (has_whole_steps(from)) {
        const float *whole = whole_step(of_map, from, s, row, step);
        low = load(whole);
        high = load(whole + TILE);
    } else if (patch_is_short(from.kernel, from.in)) {
        gather_short(from, s->row[row], &low, &high);
    } else {
        gather_step(from, s->row[row], s->first + step, &low, &high);
    }
    split(low, high, to, PART_NUMBERS);
}

INLINE void split_share(bool of_map, Conv from, Splitting *s, int count)
{
    const int depth = depth_of_patch(from), steps = STEPS(depth) <= MOST_STEPS ? STEPS(depth) : s->steps;
    int row = s->next_row, step = s->next_step;
    ROLLED for (; count > 0; count--)
    {
        split_steps(of_map, from, s, row, step,
                    row_of_pair(s->to + ((ptrdiff_t)(row / PANEL) * steps + step) * pair_numbers(of_map),
                                row % PANEL));
        step += steps_together(of_map, from);
        if (step == steps) {
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

/* The tail of a vector and of a number, whose place in y is `at` and column is `column`. */
INLINE void end_vector(const TileProduct *p, int tail, Vec sum, size_t at, int column)
{
    const float *bias = tail & TAIL_BIAS ? p->bias + column : NULL;
    if (p->to_map)
        tail_activations(tail, (Activation *)p->y + at, sum, bias,
                         tail & TAIL_ADD ? (const Activation *)p->addend + at : NULL,
                         tail & TAIL_MASK ? (const Activation *)p->mask + at : NULL);
    else
        tail_vector(tail, (float *)p->y + at, sum, bias,
                    tail & TAIL_ADD ? (const float *)p->addend + at : NULL,
                    tail & TAIL_MASK ? (const float *)p->mask + at : NULL);
}

INLINE float number_of(const TileProduct *p, const void *map, size_t at)
{
    return p->to_map ? activation(((const Activation *)map)[at]) : ((const float *)map)[at];
}

INLINE void end_number(const TileProduct *p, int tail, float sum, size_t at, int column)
{
    const float y = tail_number(tail, sum, tail & TAIL_BIAS ? p->bias[column] : 0,
                                tail & TAIL_ADD ? number_of(p, p->addend, at) : 0,
                                tail & TAIL_MASK ? number_of(p, p->mask, at) : 0);
    if (p->to_map)
        ((Activation *)p->y)[at] = activation_of(y);
    else
        ((float *)p->y)[at] = y;
}

INLINE void end_row(const TileProduct *p, int tail, const Ending *e, int row)
{
    const float *sums = e->sums + row * PANEL;
    const size_t at = end_of_row(p->to, e, row);
    if (p->to.in % PANEL == 0 || e->width == PANEL) {
        UNROLL for (int v = 0; v < VECTORS; v++)
            end_vector(p, tail, load(sums + v * LANES), at + v * LANES, e->column + v * LANES);
        return;
    }
    ROLLED for (int i = 0; i < e->width; i++) end_number(p, tail, sums[i], at + (size_t)i, e->column + i);
}

/* Prefetches where a row will end, and its mask. */
INLINE void prefetch_row(const TileProduct *p, int tail, size_t at)
{
    UNROLL for (int line = 0; line < PANEL; line += p->to_map ? 2 * LINE : LINE)
    {
        __builtin_prefetch(number_at(p->to_map, p->y, (ptrdiff_t)at + line), 1);
        if (tail & TAIL_MASK)
            __builtin_prefetch(number_at(p->to_map, p->mask, (ptrdiff_t)at + line));
    }
}

/* The last `count` rows of those of `e` that are done, while as many rows of `next` are prefetched. */
INLINE void end_share(const TileProduct *p, int tail, const Ending *e, const Ending *next, int count)
{
    ROLLED for (int row = e->work.done - count; row < e->work.done; row++)
    {
        if (row < next->rows)
            prefetch_row(p, tail, end_of_row(p->to, next, row));
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
INLINE Stage stage_at(bool of_map, int depth, int panels, int first, int last, int stage)
{
    const int cuts = CEIL_DIV(STEPS(depth), MOST_STEPS), group = cuts > 1 ? MOST_PANELS : panels,
              groups = CEIL_DIV(panels, group), cut = stage % cuts, of = stage / cuts % groups,
              block = tile_pixels(parts_of(of_map), STEPS(depth), panels);
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
    s->work = shares_of(next.pixels * next.steps / steps_together(p->of_map, c), products);
    if (is_pointwise(c)) {
        s->left = number_at(p->of_map, p->left, (ptrdiff_t)patch(c, next.first));
    }
    if (!is_pointwise(c) || !has_whole_steps(c))
        for (int i = 0; i < next.pixels; i++)
            s->row[i] = number_at(p->of_map, p->left, (ptrdiff_t)patch(c, next.first + i));
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

/* Whether the unit loads the left factor from where it lies: rows of a map that are whole steps. */
INLINE bool loads_map(const TileProduct *p)
{
    return p->of_map && is_pointwise(p->from) && has_whole_steps(p->from);
}

/* A pair of rows of a stage: as they lie in the map, or as they were split. A pair that the pixels do not
 * fill is split, for nothing behind them may be read. */
INLINE Left left_of_pair(const TileProduct *p, Stage s, const Part *split, int pair)
{
    const int first = pair * PANEL;
    if (loads_map(p) && s.pixels - first >= PANEL)
        return (Left){(const Part *)p->left + ((ptrdiff_t)s.first + first) * p->from.in + s.step * STEP,
                      p->from.in, (ptrdiff_t)TILE * p->from.in, 0};
    return packed_left(split + (ptrdiff_t)pair * s.steps * pair_numbers(p->of_map));
}

/* Pixels [first, last). With every product of the unit go a share of the tail of the sums before, and of the
 * next stage's rows a share of their splitting. Both are between a product's loads and its sums, for loads
 * wait until what is stored before them is written. */
INLINE void tile_product(const TileProduct *p, int tail, float *scratch, int first, int last)
{
    const int depth = depth_of_patch(p->from), panels = p->to.kernel * p->to.kernel * PANELS(p->to.in),
              cuts = CEIL_DIV(STEPS(depth), MOST_STEPS),
              groups = cuts > 1 ? CEIL_DIV(panels, MOST_PANELS) : 1,
              pixels = tile_pixels(parts_of(p->of_map), STEPS(depth), panels),
              stages = CEIL_DIV(last - first, pixels) * cuts * groups;
    Part *const parts = (Part *)(void *)scratch;
    const ptrdiff_t size = pair_numbers(p->of_map),
                    block = (ptrdiff_t)pixels / PANEL * MIN_OF(STEPS(depth), MOST_STEPS) * size;
    float *const waiting = scratch + block; /* two blocks of 2 bytes */
    _Alignas(64) float one[PANEL * PANEL];
    size_t at[2][TILE_PIXELS];
    Splitting next;
    Ending ending = {0};
    if (stages == 0)
        return;
    next.left = p->left; /* which compilers do not see to be unused where nothing is split */
    next.to = parts;
    next.next_row = next.next_step = 0;
    tiles_begin();
    if (!loads_map(p)) {
        begin_splitting(p, stage_at(p->of_map, depth, panels, first, last, 0), parts, 1, &next);
        split_share(p->of_map, p->from, &next, last_share(&next.work));
    }
    ROLLED for (int stage = 0; stage < stages; stage++)
    {
        const Stage s = stage_at(p->of_map, depth, panels, first, last, stage);
        Part *const left = parts + stage % 2 * block;
        const int pairs = pairs_of(s), products = s.steps * products_of(p->of_map);
        const uint64_t rate = shares_of(PANEL, products).rate;
        size_t *const to = at[stage / (cuts * groups) % 2];
        next.work = (Shares){0};
        if (loads_map(p) && s.pixels % PANEL > 0) {
            begin_splitting(p, s, left, 1, &next);
            split_share(p->of_map, p->from, &next, last_share(&next.work));
        } else if (!loads_map(p) && stage + 1 < stages)
            begin_splitting(p, stage_at(p->of_map, depth, panels, first, last, stage + 1),
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
            const Part *b =
                (const Part *)(const void *)p->packed + ((ptrdiff_t)panel * STEPS(depth) + s.step) * size;
            Left a = left_of_pair(p, s, left, pair);
            const ptrdiff_t step = a.part ? size : STEP;
            const Ending now = ending_of(p, s, panel, pair, sums, to);
            ending.work.rate = rate;
            begin_sums(sums, PANEL, !s.begins);
            ROLLED for (int k = 0; k < s.steps; k++, a.at += step, b += size)
                ROLLED for (int product = 0; product < products_of(p->of_map); product++)
            {
                load_factors(p->of_map, product, a, b, TILE_NUMBERS);
                const int rows = next_share(&ending.work);
                end_share(p, tail, &ending, &now, rows);
                split_share(p->of_map, p->from, &next, next_share(&next.work));
                add_product();
            }
            store_sums(sums, PANEL);
            ending = now;
        }
        split_share(p->of_map, p->from, &next, last_share(&next.work));
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
    if (is_pointwise(c))
        conv_grad_x_pixels(c, j, scratch, tail, tile_piece(pixels, part, parts),
                           tile_piece(pixels, part + 1, parts));
    else
        conv_grad_x_images(c, j, scratch, tail, piece(c.images, part, parts),
                           piece(c.images, part + 1, parts));
}

#endif
