/* dots.h: products of maps of bfloat16 by dot products of pairs (AVX512_BF16's VDPBF16PS), where the
 * processor has them: a lane's sum += two numbers by two, twice what a multiply-add of floats does.
 *
 * A pair is two numbers of bfloat16 that follow each other along the depth, the first in a word's lower half.
 * A product takes its left rows where they lie, a word at a time for all lanes, and its right matrix rounded,
 * in panels of pairs: packed[panel][depth / 2][PANEL]. What it writes is a map: the tail comes while the tile
 * is in registers. For a weight's gradient, whose depth is the pixels, both factors' rows of two pixels are
 * laced into pairs first.
 *
 * So every product is made whole: zeros and masks that sparse.h and masked.h go by save less. */
#ifndef DOTS_H
#define DOTS_H

#include "bfloat16.h"
#include "vectors.h"

#if !HAS_VECTORS
#error "dot products of pairs are made by vectors"
#endif

typedef uint32_t Pair;

/* ---- the unit ---- */

INLINE Words load_pairs(const Pair *p)
{
    return *(const Words *)p;
}

INLINE void store_pairs(Pair *p, Words pairs)
{
    *(Words *)p = pairs;
}

/* sum + left . right, lane by lane. Without the instruction it is as exact, and slower than floats' own: for
 * tests, and for a folder of C that came to another processor. */
INLINE Vec add_dots(Vec sum, Words left, Words right)
{
#if defined __AVX512BF16__
    return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
#else
    const Words second = (Words){0} + 0xffff0000u;
    sum += (Vec)(left & second) * (Vec)(right & second);
    return sum + (Vec)(left << 16) * (Vec)(right << 16);
#endif
}

INLINE Pair pair_of(const Bfloat16 *numbers)
{
    Pair pair;
    memcpy(&pair, numbers, sizeof pair);
    return pair;
}

/* ---- packing ---- */

/* Words of a packed panel. */
#define PANEL_PAIRS(depth) ((size_t)(depth) / 2 * PANEL)

INLINE Pair rounded_pair(float first, float second)
{
    return bfloat16_of(first).bits | (Pair)bfloat16_of(second).bits << 16;
}

/* One panel of w (depth, columns). */
SHARED void pack_pairs(const float *w, int depth, int columns, int panel, Pair *packed)
{
    const int first = panel * PANEL, width = MIN_OF(PANEL, columns - first);
    Pair *to = packed + (size_t)panel * PANEL_PAIRS(depth);
    for (int k = 0; k < depth; k += 2, to += PANEL) {
        const float *from = w + (size_t)k * columns + first;
        ELEMENTWISE for (int j = 0; j < width; j++) to[j] = rounded_pair(from[j], from[columns + j]);
        SCALAR for (int j = width; j < PANEL; j++) to[j] = 0;
    }
}

/* One panel of transposed w, w (columns, depth). */
SHARED void pack_pairs_transposed(const float *w, int depth, int columns, int panel, Pair *packed)
{
    const int first = panel * PANEL, width = MIN_OF(PANEL, columns - first);
    Pair *to = packed + (size_t)panel * PANEL_PAIRS(depth);
    if (width < PANEL)
        memset(to, 0, sizeof *to * PANEL_PAIRS(depth));
    for (int block = 0; block < depth; block += 2 * LANES)
        for (int j = 0; j < width; j++) {
            const float *from = w + (size_t)(first + j) * depth;
            for (int k = block; k < MIN_OF(block + 2 * LANES, depth); k += 2)
                to[(size_t)k / 2 * PANEL + j] = rounded_pair(from[k], from[k + 1]);
        }
}

/* ---- products of maps ---- */

/* y (pixels, columns) = left (pixels, depth) . the packed matrix, then the tail: a pixel's row of the left
 * factor is a patch of `from`, and goes to a patch of `to`, over whose taps the columns go. */
typedef struct {
    const Bfloat16 *left, *addend, *mask;
    const Pair *packed;
    const float *bias;
    Bfloat16 *y;
    Conv from; /* left is its x */
    Conv to;   /* y is its x; its patches do not overlap */
} DotsProduct;

/* A tile of it: row r from left + from[r] to y + to[r] + shift, `width` columns, bias[0] the first one's. */
typedef struct {
    const size_t *from, *to;
    size_t shift;
    const Pair *panel;
    const float *bias;
    int rows, width;
    const Bfloat16 *ahead; /* what to ask for meanwhile */
} DotsTile;

SHARED void dots_store_edge(const DotsProduct *p, int tail, float spilled[ROWS][PANEL], const DotsTile *t)
{
    ROLLED for (int r = 0; r < t->rows; r++)
    {
        const size_t at = t->to[r] + t->shift;
        SCALAR for (int i = 0; i < t->width; i++) p->y[at + (size_t)i] =
            bfloat16_of(tail_number(tail, spilled[r][i], tail & TAIL_BIAS ? t->bias[i] : 0,
                                    tail & TAIL_ADD ? float_of(p->addend[at + (size_t)i]) : 0,
                                    tail & TAIL_MASK ? float_of(p->mask[at + (size_t)i]) : 0));
    }
}

/* Every bit of the tail is asked for once a tile, as in vectors.h. */
INLINE void dots_store(const DotsProduct *p, int tail, Vec sum[ROWS][VECTORS], const DotsTile *t)
{
    if (t->rows < ROWS || t->width < PANEL) {
        float spilled[ROWS][PANEL];
        tile_spill(sum, spilled);
        dots_store_edge(p, tail, spilled, t);
        return;
    }
    if (tail & TAIL_BIAS)
        EACH_VECTOR(r, v) sum[r][v] += load(t->bias + v * LANES);
    if (tail & TAIL_ADD)
        EACH_VECTOR(r, v) sum[r][v] += load_activations(p->addend + t->to[r] + t->shift + v * LANES);
    if (tail & TAIL_RELU)
        EACH_VECTOR(r, v) sum[r][v] = relu_of(sum[r][v]);
    if (tail & TAIL_MASK)
        EACH_VECTOR(r, v)
        {
            const Vec gate = load_activations(p->mask + t->to[r] + t->shift + v * LANES);
            sum[r][v] = where_positive(gate, sum[r][v]);
        }
    EACH_VECTOR(r, v) store_activations(p->y + t->to[r] + t->shift + v * LANES, sum[r][v]);
}

/* sum[r] += the row that a[r] points at . panel, over `length` of its numbers. */
INLINE void dots_multiply(Vec sum[ROWS][VECTORS], const Bfloat16 *const a[ROWS], int length,
                          const Pair *panel, const Bfloat16 *ahead)
{
    enum { NUMBERS_OF_LINE = 2 * LINE };
    ROLLED for (int k = 0; k < length; k += 2, panel += PANEL)
    {
        Words b[VECTORS];
        if (ahead)
            __builtin_prefetch(ahead + (ptrdiff_t)k / 2 * NUMBERS_OF_LINE);
        UNROLL for (int v = 0; v < VECTORS; v++) b[v] = load_pairs(panel + v * LANES);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const Words left = (Words){0} + pair_of(a[r] + k);
            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = add_dots(sum[r][v], left, b[v]);
        }
    }
}

/* Rows of the left factor are `runs` runs of `length` numbers that lie `jump` apart. */
SHARED void dots_tile(const DotsProduct *p, int tail, int runs, int length, ptrdiff_t jump, const DotsTile *t)
{
    const Bfloat16 *a[ROWS];
    const Pair *panel = t->panel;
    Vec sum[ROWS][VECTORS];
    ROLLED for (int r = 0; r < t->rows; r++)
    {
        const size_t at = t->to[r] + t->shift;
        __builtin_prefetch(p->y + at, 1);
        if (tail & TAIL_ADD && p->addend != p->y)
            __builtin_prefetch(p->addend + at);
        if (tail & TAIL_MASK)
            __builtin_prefetch(p->mask + at);
    }
    UNROLL for (int r = 0; r < ROWS; r++) a[r] = p->left + t->from[r];
    tile_begin(sum);
    ROLLED for (int run = 0; run < runs; run++, panel += (ptrdiff_t)length / 2 * PANEL)
    {
        dots_multiply(sum, a, length, panel, t->ahead ? t->ahead + run * jump : NULL);
        UNROLL for (int r = 0; r < ROWS; r++) a[r] += jump;
    }
    dots_store(p, tail, sum, t);
}

/* Pixels [first, last). */
SHARED void dots_pixels(const DotsProduct *p, int tail, int first, int last)
{
    const int run = p->from.kernel * p->from.in, panels = PANELS(p->to.in),
              all = p->to.kernel * p->to.kernel * panels;
    const ptrdiff_t jump = (ptrdiff_t)p->from.side * p->from.in;
    ROLLED for (int block = first; block < last; block += PIXEL_BLOCK)
    {
        const int end = MIN_OF(block + PIXEL_BLOCK, last);
        size_t from[PIXEL_BLOCK + ROWS], to[PIXEL_BLOCK + ROWS];
        patches_at(p->from, block, PIXEL_BLOCK + ROWS, last, from);
        patches_at(p->to, block, PIXEL_BLOCK + ROWS, last, to);
        ROLLED for (int panel = 0; panel < all; panel++) ROLLED for (int at = block; at < end; at += ROWS)
        {
            const int i = at - block, column = panel % panels * PANEL;
            const DotsTile t = {.from = from + i,
                                .to = to + i,
                                .shift = (size_t)(tap_at(p->to, panel / panels) + column),
                                .panel = p->packed + (size_t)panel * PANEL_PAIRS(depth_of_patch(p->from)),
                                .bias = tail & TAIL_BIAS ? p->bias + column : NULL,
                                .rows = MIN_OF(ROWS, end - at),
                                .width = MIN_OF(PANEL, p->to.in - column),
                                .ahead = panel == 0 ? p->left + from[i + ROWS] : NULL};
            dots_tile(p, tail, p->from.kernel, run, jump, &t);
        }
    }
}

/* Pixels [first, last) of y. */
SHARED void dots_conv(Conv c, const Bfloat16ConvJob *j, int tail, int first, int last)
{
    const DotsProduct p = {.left = j->x,
                           .packed = (const Pair *)(const void *)j->packed,
                           .bias = j->bias,
                           .addend = j->addend,
                           .y = j->y,
                           .from = c,
                           .to = pixels_of_y(c)};
    dots_pixels(&p, tail, first, last);
}

/* dx of what pixels [first, last) of dy stand for. */
SHARED void dots_grad_x(Conv c, const Bfloat16ConvGradXJob *j, int tail, int first, int last)
{
    const DotsProduct p = {.left = j->dy,
                           .packed = (const Pair *)(const void *)j->packed,
                           .addend = j->addend,
                           .mask = j->mask,
                           .y = j->dx,
                           .from = pixels_of_y(c),
                           .to = c};
    dots_pixels(&p, tail, first, last);
}

#define BFLOAT16_CONV_DOTS(name, shape, tail, parts)                                                         \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvJob, y, Conv, shape,                                                \
                       pack_pairs(j->weight, depth_of_patch(s), s.out, part, (Pair *)(void *)j->packed),     \
                       PANELS(s.out),                                                                        \
                       dots_conv(s, j, tail, tile_piece(pixels_of(s), part, parts),                          \
                                 tile_piece(pixels_of(s), part + 1, parts)),                                 \
                       parts)

/* Of a kernel as large as its stride, or as x. */
#define BFLOAT16_CONV_GRAD_X_DOTS(name, shape, tail, parts)                                                  \
    FUNCTION_OF_ROUNDS(name, Bfloat16ConvGradXJob, dx, Conv, shape, pack_tap_pairs(s, j, part),              \
                       TAP_PANELS(s),                                                                        \
                       dots_grad_x(s, j, tail, tile_piece(pixels_of(s), part, parts),                        \
                                   tile_piece(pixels_of(s), part + 1, parts)),                               \
                       parts)

/* packed[tap][panel]. */
INLINE void pack_tap_pairs(Conv c, const Bfloat16ConvGradXJob *j, int part)
{
    const int panels = PANELS(c.in), tap = part / panels;
    pack_pairs_transposed(j->weight + (size_t)tap * c.in * c.out, c.out, c.in, part % panels,
                          (Pair *)(void *)j->packed + (size_t)tap * panels * PANEL_PAIRS(c.out));
}

/* ---- the gradient of a weight ---- */

/* Of a block: its pairs of pixels; tiles whose rows of x are laced together, and panels of dy. Both stay in
 * the L2; the more there are, the more tiles share the lacing. */
enum {
    SUM_PAIRS_OF_PIXELS = SUM_BLOCK / 2,
    LACED_TILES = 8,
    LACED_WORDS = (CEIL_DIV(LACED_TILES * ROWS, LINE) | 1) * LINE,
    LACED_PANELS = 6
};
_Static_assert(SUM_PAIRS_OF_PIXELS *(LACED_WORDS + LACED_PANELS * (int)PANEL) + 2 * SUM_BLOCK <=
                   (int)GRAD_W_SCRATCH(PANEL, COPIED_FLOATS),
               "memory is planned for as much as floats take");

/* Pairs of LANES channels of two pixels; of one alone where the second is NULL. */
INLINE void lace_vector(const Bfloat16 *first, const Bfloat16 *second, Pair *to)
{
    store_pairs(to, second ? load_bits(first) | load_bits(second) << 16 : load_bits(first));
}

/* The same of `count` channels; the last vector may begin within the one before. */
INLINE void lace(const Bfloat16 *first, const Bfloat16 *second, int count, Pair *to)
{
    if (count < LANES) {
        SCALAR for (int i = 0; i < count; i++) to[i] =
            first[i].bits | (second ? (Pair)second[i].bits << 16 : 0);
        return;
    }
    for (int i = 0; i < count; i += LANES) {
        const int at = MIN_OF(i, count - LANES);
        lace_vector(first + at, second ? second + at : NULL, to + at);
    }
}

/* Pairs of `count` channels of each two of `pixels` pixels, from x + at[i] on; `step` words apart. */
SHARED void lace_patches(const Bfloat16 *x, const size_t *at, int pixels, int count, ptrdiff_t step, Pair *to)
{
    ROLLED for (int i = 0; i < pixels; i += 2, to += step)
        lace(x + at[i], i + 1 < pixels ? x + at[i + 1] : NULL, count, to);
}

/* One panel of `pixels` pixels of dy (pixels, columns), zeros beyond the last column. */
SHARED void lace_panel(const Bfloat16 *dy, int pixels, int columns, int width, Pair *to)
{
    ROLLED for (int i = 0; i < pixels; i += 2, to += PANEL)
    {
        const Bfloat16 *from = dy + (size_t)i * columns, *second = i + 1 < pixels ? from + columns : NULL;
        if (width == PANEL) {
            lace(from, second, PANEL, to);
            continue;
        }
        memset(to, 0, sizeof *to * PANEL);
        lace(from, second, width, to);
    }
}

/* A tile of dw: `rows` of x's channels, x[pair * step + row], by a panel of dy's. */
typedef struct {
    GradWTile to; /* where it goes, how many rows and columns */
    const Pair *x, *dy;
    ptrdiff_t step;
    int pairs;
} DotsSum;

/* Of `height` rows, a constant, of which the last may be one too many: it is read as the one before, then. */
INLINE void dots_sum(int height, const DotsSum *t)
{
    Vec sum[ROWS][VECTORS];
    const Pair *x = t->x, *dy = t->dy;
    const int last = t->to.rows - 1;
    tile_begin(sum);
    ROLLED for (int i = 0; i < t->pairs; i++, x += t->step, dy += PANEL)
    {
        Words b[VECTORS];
        UNROLL for (int v = 0; v < VECTORS; v++) b[v] = load_pairs(dy + v * LANES);
        UNROLL for (int r = 0; r < ROWS; r++) if (r < height)
        {
            const Words left = (Words){0} + x[r == height - 1 ? last : r];
            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = add_dots(sum[r][v], left, b[v]);
        }
    }
    grad_w_end(height, sum, &t->to);
}

#define DEFINE_DOTS(n)                                                                                       \
    SHARED void dots_sum_##n(const DotsSum *t)                                                               \
    {                                                                                                        \
        dots_sum(MIN_OF(n, ROWS), t);                                                                        \
    }
GRAD_W_HEIGHTS(DEFINE_DOTS)

INLINE void dots_sum_rows(const DotsSum *t)
{
#define CALL(n)                                                                                              \
    case n:                                                                                                  \
        if ((n) % HEIGHT_STEP == 0 && (n) <= ROWS)                                                           \
            dots_sum_##n(t);                                                                                 \
        break;
    switch (CEIL_DIV(t->to.rows, HEIGHT_STEP) * HEIGHT_STEP) {
        GRAD_W_HEIGHTS(CALL)
    }
#undef CALL
}

/* A group of tiles by the laced panels [panel0, panel1), over one block. */
SHARED void dots_tiles(Conv c, GradWGroup g, const GradWBlock *b, DotsSum t, int panel0, int panel1)
{
    const int run = c.kernel * c.in;
    const Pair *const x = t.x;
    ROLLED for (int panel = panel0; panel < panel1; panel++, t.dy += SUM_PAIRS_OF_PIXELS * PANEL)
    {
        const int column = panel * PANEL;
        t.to.width = MIN_OF(PANEL, c.out - column);
        ROLLED for (int i = 0; i < g.count; i++)
        {
            t.x = x + (g.first[i] - g.first[0]);
            t.to.rows = g.first[i + 1] - g.first[i];
            t.to.dw = b->dw + ((size_t)g.ky * run + (size_t)g.first[i]) * c.out + column;
            dots_sum_rows(&t);
        }
    }
}

/* Blocks of pixels in order. */
SHARED void dots_grad_w(Conv c, const Bfloat16ConvGradWJob *j, float *scratch, GradWBlock b)
{
    Pair *const dy = (Pair *)(void *)scratch, *const x = dy + LACED_PANELS * SUM_PAIRS_OF_PIXELS * PANEL;
    size_t *const at = (size_t *)(void *)(x + SUM_PAIRS_OF_PIXELS * LACED_WORDS);
    ROLLED for (int block = b.first; block < b.last; block += SUM_BLOCK)
    {
        const int pixels = MIN_OF(SUM_BLOCK, b.last - block);
        patches_at(c, block, pixels, b.last, at);
        ROLLED for (int panel0 = b.panel0; panel0 < b.panel1; panel0 += LACED_PANELS)
        {
            const int panel1 = MIN_OF(panel0 + LACED_PANELS, b.panel1);
            ROLLED for (int panel = panel0; panel < panel1; panel++) lace_panel(
                j->dy + (size_t)block * c.out + panel * PANEL, pixels, c.out,
                MIN_OF(PANEL, c.out - panel * PANEL), dy + (panel - panel0) * SUM_PAIRS_OF_PIXELS * PANEL);
            ROLLED for (int tile = b.tile0, next; tile < b.tile1; tile = next)
            {
                const GradWGroup g = grad_w_group(c, tile, b.tile1, LACED_TILES);
                const int rows = g.first[g.count] - g.first[0];
                const DotsSum t = {.to = {.columns = c.out, .first = block == b.first && !b.more},
                                   .x = x,
                                   .dy = dy,
                                   .step = step_of_copy(rows),
                                   .pairs = CEIL_DIV(pixels, 2)};
                next = tile + g.count;
                lace_patches(j->x + (size_t)g.ky * c.side * c.in + g.first[0], at, pixels, rows, t.step, x);
                dots_tiles(c, g, &b, t, panel0, panel1);
            }
        }
    }
}

#define BFLOAT16_CONV_GRAD_W_DOTS(name, shape, threads)                                                      \
    FUNCTION_OF_A_ROUND(                                                                                     \
        name, Bfloat16ConvGradWJob, dw, Conv, shape,                                                         \
        dots_grad_w(s, j, amdim_scratch(j->pool, worker), grad_w_part(s, j->dw, j->more, threads, part)),    \
        grad_w_parts(shape, threads))
#define BFLOAT16_CONV_GRAD_W_DOTS_SLICED(name, shape, slices)                                                \
    FUNCTION_OF_ROUNDS(                                                                                      \
        name, Bfloat16ConvGradWJob, dw, Conv, shape,                                                         \
        dots_grad_w(s, j, amdim_scratch(j->pool, worker), grad_w_slice(s, j->partial, part, slices)),        \
        slices,                                                                                              \
        sum_slices(j->partial, slices, numbers_of_weight(s), 1, j->more ? j->dw : NULL, j->dw, part,         \
                   slices),                                                                                  \
        slices)

#endif
