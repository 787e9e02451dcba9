/* sparse.h: products by what a ReLU has let through.
 *
 * Of a map behind a ReLU, and of a gradient behind its mask, half is zero when training begins and two thirds
 * later (docs/performance-notebook.md). A product by such a matrix goes from one number that is not zero to
 * the next: a bit for each of DEPTH_BLOCK numbers of its row says which rows of the other factor are added
 * up. Their sums over a group of panels stay in registers, the block of the other factor in the L1.
 *
 * Columns are a multiple of 64, a whole number of any target's narrow groups; the depth of a map's product of
 * DEPTH_BLOCK, the rows of a weight's gradient of LINE, and what lies together of its patches of a panel.
 * What a zero would make of an infinity, a NaN, does not come up here. */
#ifndef SPARSE_H
#define SPARSE_H

#include "vectors.h"

/* Whether compares make masks of bits, and vectors are spread by them: by intrinsics, which a library, one
 * file without amdim.h, does not include. Measured on wide units alone. */
#if WIDE_UNITS && defined AMDIM_H
#include <immintrin.h>
#define HAS_MASKS 1
#else
#define HAS_MASKS 0
#endif

/* A group's block of the other factor leaves room in the L1 for all else: half, a third where groups are
 * wide, which takes a large L1. What a wide group leaves over is a narrow one. */
enum {
    NARROW_GROUP = LANES == 16 ? 2 : 4, /* panels */
    GROUP = WIDE_UNITS ? 2 * NARROW_GROUP : NARROW_GROUP,
    GROUP_COLUMNS = GROUP * PANEL,
    GROUP_VECTORS = GROUP * VECTORS
};

_Static_assert(SPARSE_COLUMNS % (NARROW_GROUP * PANEL) == 0, "columns are a multiple of a narrow group");
_Static_assert((int)GROUP_COLUMNS <= (int)SPARSE_MOST, "memory is planned for so many columns");
_Static_assert(LINE % LANES == 0, "rows are a multiple of a vector");

/* ---- which numbers are not zero ---- */

/* Bit i of the result: number i of 32 is not zero. */
INLINE uint32_t nonzero_of(const Vec number[32 / LANES])
{
#if HAS_MASKS
    return (uint32_t)_mm512_cmp_ps_mask((__m512)number[0], (__m512){0}, _CMP_NEQ_UQ) |
           (uint32_t)_mm512_cmp_ps_mask((__m512)number[1], (__m512){0}, _CMP_NEQ_UQ) << LANES;
#else
    Bits set = {0};
    UNROLL for (int v = 0; v < 32 / LANES; v++)
    {
        Bits bit;
        UNROLL for (int lane = 0; lane < LANES; lane++) bit[lane] = (int32_t)(1u << (v * LANES + lane));
        set |= (number[v] != (Vec){0}) & bit;
    }
    uint32_t all = 0;
    for (int lane = 0; lane < LANES; lane++)
        all |= (uint32_t)set[lane];
    return all;
#endif
}

INLINE uint32_t nonzero_of_32(const float *x)
{
    Vec number[32 / LANES];
    UNROLL for (int v = 0; v < 32 / LANES; v++) number[v] = load(x + v * LANES);
    return nonzero_of(number);
}

INLINE uint64_t nonzero_of_64(const float *x)
{
    return nonzero_of_32(x) | (uint64_t)nonzero_of_32(x + 32) << 32;
}

/* The same of a map's numbers. */
INLINE uint32_t nonzero_of_activations(const Activation *x)
{
    Vec number[32 / LANES];
    UNROLL for (int v = 0; v < 32 / LANES; v++) number[v] = load_activations(x + v * LANES);
    return nonzero_of(number);
}

INLINE uint64_t nonzero_of_map(const Activation *x)
{
    return nonzero_of_activations(x) | (uint64_t)nonzero_of_activations(x + 32) << 32;
}

/* ---- rows of a product ---- */

/* What will be read soon: `lines` lines of each of some pixels, `step` numbers apart. A little of it is
 * asked for with each row, so that it arrives without holding them up. */
typedef struct {
    const Activation *at;
    ptrdiff_t step;
    int lines;
    int share; /* pixels a row, in 1/65536 */
} SparseAhead;

/* One block of the depth, one group of panels, whose columns lie side by side. */
typedef struct {
    int rows, panels;
    const uint64_t *set; /* of row i, set[i * set_step]: bit k for its number k */
    ptrdiff_t set_step;
    const float *left; /* of row i, left + i * left_step */
    ptrdiff_t left_step;
    const float *right; /* (the block's depth, the group's columns) of the other factor */
    float *sum; /* of row i, sum + i * sum_step: what the depths before add up to, if there are `more` */
    ptrdiff_t sum_step;
    bool more;
    SparseAhead ahead[2];
    const float *next; /* row i of the next block of pixels, next + i * left_step, asked for with row i; or
                        * NULL */
    int next_lines;
} SparseRows;

/* Panels of a group of `columns` at most. */
INLINE int group_panels(int columns)
{
    return GROUP > NARROW_GROUP && columns < GROUP_COLUMNS ? NARROW_GROUP : GROUP;
}

/* RUN(panels, ...) with the group's panels as a constant. */
#define OF_GROUP(r, RUN, ...)                                                                                \
    do {                                                                                                     \
        if (GROUP > NARROW_GROUP && (r)->panels == NARROW_GROUP)                                             \
            RUN(NARROW_GROUP, __VA_ARGS__);                                                                  \
        else                                                                                                 \
            RUN(GROUP, __VA_ARGS__);                                                                         \
    } while (0)

/* Rows that go together: two, where registers hold the sums of both. */
#ifndef TOGETHER /* tests choose */
#if defined __AVX512F__ || defined __aarch64__
#define TOGETHER 2
#else
#define TOGETHER 1
#endif
#endif

/* The next number of a set, which has one. */
INLINE int next_of(uint64_t *set)
{
    const int k = __builtin_ctzll(*set);
    *set &= *set - 1;
    return k;
}

/* sum[i] += left[i][k], whose numbers lie `step` apart, times the block's row k, for rows i from first to
 * last. */
INLINE void sparse_add_row(const SparseRows *r, int panels, int k, const float *const left[2], int first,
                           int last, ptrdiff_t step, Vec sum[2][GROUP_VECTORS])
{
    const float *right = r->right + (ptrdiff_t)k * (panels * PANEL);
    OPAQUE_POINTER(right);
    const float by[2] = {first == 0 ? left[0][k * step] : 0, last == 2 ? left[1][k * step] : 0};
    UNROLL for (int v = 0; v < GROUP_VECTORS; v++) if (v < panels * VECTORS)
    {
        const Vec of_row = load(right + v * LANES);
        UNROLL for (int i = 0; i < 2; i++) if (i >= first && i < last) sum[i][v] += by[i] * of_row;
    }
}

/* The same for every k of a set. */
INLINE void sparse_add(const SparseRows *r, int panels, uint64_t set, const float *const left[2], int first,
                       int last, ptrdiff_t step, Vec sum[2][GROUP_VECTORS])
{
    while (set)
        sparse_add_row(r, panels, next_of(&set), left, first, last, step, sum);
}

/* The sums of row `row`, and if `count` is 2 of the next. Two rows read what both have once, but in a narrow
 * group of wide units. What is left goes in turn on these, a number of one row with one of the other: the
 * sums of one row are too few to keep two multiply-adds a cycle busy. */
INLINE void sparse_multiply(const SparseRows *r, int panels, int row, int count, ptrdiff_t step,
                            Vec sum[2][GROUP_VECTORS])
{
    const float *left[2] = {NULL, NULL};
    uint64_t set[2] = {0, 0};
    UNROLL for (int i = 0; i < 2; i++) if (i < count)
    {
        const float *before = r->sum + (row + i) * r->sum_step;
        left[i] = r->left + (row + i) * r->left_step;
        set[i] = r->set[(row + i) * r->set_step];
        UNROLL for (int v = 0; v < GROUP_VECTORS; v++) if (v < panels * VECTORS) sum[i][v] =
            r->more ? load(before + v * LANES) : (Vec){0};
    }
    if (count == 2) {
        if (panels == GROUP) {
            const uint64_t both = set[0] & set[1];
            sparse_add(r, panels, both, left, 0, 2, step, sum);
            set[0] &= ~both;
            set[1] &= ~both;
        }
        while (WIDE_UNITS && set[0] && set[1]) {
            sparse_add_row(r, panels, next_of(&set[0]), left, 0, 1, step, sum);
            sparse_add_row(r, panels, next_of(&set[1]), left, 1, 2, step, sum);
        }
        sparse_add(r, panels, set[1], left, 1, 2, step, sum);
    }
    sparse_add(r, panels, set[0], left, 0, 1, step, sum);
}

/* Into the L1; wide units, whose group's block fills most of theirs, into the L2. */
enum { ASK_INTO = WIDE_UNITS ? 2 : 3 };

/* The share of `count` rows from `row` on. */
INLINE void sparse_ask(const SparseRows *r, int row, int count)
{
    UNROLL for (int i = 0; i < 2; i++)
    {
        const SparseAhead a = r->ahead[i];
        if (!a.lines)
            continue;
        for (int pixel = row * a.share >> 16; pixel < (row + count) * a.share >> 16; pixel++)
            for (int line = 0; line < a.lines; line++)
                __builtin_prefetch(a.at + pixel * a.step + line * LINE, 0, ASK_INTO);
    }
}

/* Lines of a row of the next block, into the L2: where the L3 is far, it takes as long to bring a block as
 * the products of one take. Maps of bfloat16 are taken to floats beforehand. */
enum { ASKS_FOR_NEXT = WIDE_UNITS && !MAPS_ARE_BFLOAT16 };

INLINE void ask_for_next(const float *row, int lines)
{
    for (int line = 0; line < lines; line++)
        __builtin_prefetch(row + line * LINE, 0, 2);
}

INLINE void sparse_sums_at(const SparseRows *r, int panels, int row, int count, ptrdiff_t step)
{
    Vec sum[2][GROUP_VECTORS];
    float *to = r->sum + row * r->sum_step;
    if (!WIDE_UNITS) /* which wait less for the L2 than such a burst takes */
        UNROLL for (int i = 0; i < 2; i++) if (i < count) for (int line = 0; line < panels * PANEL;
                                                               line += LINE)
            __builtin_prefetch(to + (count + i) * r->sum_step + line, 1);
    sparse_ask(r, row, count);
    sparse_multiply(r, panels, row, count, step, sum);
    UNROLL for (int i = 0; i < 2; i++) if (i < count)
        UNROLL for (int v = 0; v < GROUP_VECTORS; v++) if (v < panels * VECTORS)
            store(to + i * r->sum_step + v * LANES, sum[i][v]);
}

/* The sums of every row, whose numbers lie `step` apart. */
INLINE void sparse_sums(int panels, const SparseRows *r, ptrdiff_t step)
{
    int row = 0;
    for (; row + TOGETHER <= r->rows; row += TOGETHER)
        sparse_sums_at(r, panels, row, TOGETHER, step);
    for (; row < r->rows; row++)
        sparse_sums_at(r, panels, row, 1, step);
}

SHARED void sparse_sums_of_rows(const SparseRows *r)
{
    OF_GROUP(r, sparse_sums, r, 1);
}

/* Where rows go, in a map, and what is like it. */
typedef struct {
    Activation *y;
    const float *bias;
    const Activation *addend, *mask;
} SparseTarget;

INLINE void sparse_ends_at(const SparseRows *r, int panels, int row, int count, int tail, SparseTarget t,
                           const size_t *at)
{
    Vec sum[2][GROUP_VECTORS];
    UNROLL for (int i = 0; i < 2; i++) if (i < count) for (int line = 0; line < panels * PANEL; line += LINE)
    {
        const size_t next = at[row + count + i] + (size_t)line;
        __builtin_prefetch(t.y + next, 1);
        if (tail & TAIL_ADD && t.addend != t.y)
            __builtin_prefetch(t.addend + next);
        if (tail & TAIL_MASK)
            __builtin_prefetch(t.mask + next);
    }
    if (ASKS_FOR_NEXT && r->next)
        for (int i = 0; i < count; i++)
            ask_for_next(r->next + (row + i) * r->left_step, r->next_lines);
    sparse_multiply(r, panels, row, count, 1, sum);
    UNROLL for (int i = 0; i < 2; i++) if (i < count)
        UNROLL for (int v = 0; v < GROUP_VECTORS; v++) if (v < panels * VECTORS)
    {
        const size_t to = at[row + i] + (size_t)(v * LANES);
        tail_activations(tail, t.y + to, sum[i][v], tail & TAIL_BIAS ? t.bias + v * LANES : NULL,
                         tail & TAIL_ADD ? t.addend + to : NULL, tail & TAIL_MASK ? t.mask + to : NULL);
    }
}

/* The last block: the sums, then the tail; row i goes to y + at[i]. at[] goes TOGETHER rows further. */
INLINE void sparse_ends(int panels, const SparseRows *r, int tail, SparseTarget t, const size_t *at)
{
    int row = 0;
    for (; row + TOGETHER <= r->rows; row += TOGETHER)
        sparse_ends_at(r, panels, row, TOGETHER, tail, t, at);
    for (; row < r->rows; row++)
        sparse_ends_at(r, panels, row, 1, tail, t, at);
}

/* One function for each tail, as for tiles. */
#define DEFINE_SPARSE_ENDS(tail)                                                                             \
    SHARED void sparse_ends_##tail(const SparseRows *r, const SparseTarget *t, const size_t *at)             \
    {                                                                                                        \
        OF_GROUP(r, sparse_ends, r, tail, *t, at);                                                           \
    }
EACH_TAIL(DEFINE_SPARSE_ENDS)

typedef void SparseEnds(const SparseRows *r, const SparseTarget *t, const size_t *at);

INLINE SparseEnds *sparse_ends_of(int tail)
{
#define OF(n)                                                                                                \
    case n: return sparse_ends_##n;
    switch (tail) {
        EACH_TAIL(OF)
    }
#undef OF
    return NULL;
}

/* ---- maps ---- */

/* y (pixels, columns) = left (pixels, depth) . the packed matrix, then the tail. It is packed group by group,
 * (depth, the group's columns) each. `to` says where pixel and
 * column lie in y: column over the taps of a kernel that is as large as its stride, as in a gradient of x. */
typedef struct {
    const float *left, *packed, *bias;
    const Activation *addend, *mask;
    Activation *y;
    int depth;
    Conv to; /* y is its x */
    SparseEnds *ends;
} SparseProduct;

INLINE int columns_of(Conv to)
{
    return to.kernel * to.kernel * to.in;
}

/* Where the panel of a column is packed, whose rows lie `apart` floats apart there. Of `run` columns that lie
 * together in y, all groups are as wide as can be. */
INLINE float *sparse_packed(float *packed, int depth, int run, int column, int *apart)
{
    const int in_run = column % run, begin = in_run / GROUP_COLUMNS * GROUP_COLUMNS, within = in_run - begin;
    *apart = group_panels(run - begin) * PANEL;
    return packed + (ptrdiff_t)(column - within) * depth + within;
}

/* Panel `panel` of a weight, for y. */
INLINE void sparse_pack(Conv c, const float *weight, int panel, float *packed)
{
    const int column = panel * PANEL;
    int apart;
    float *const to = sparse_packed(packed, c.in, c.out, column, &apart);
    pack_rows_of_panel(weight + column, c.in, c.out, PANEL, 1, to, apart);
}

/* The same, transposed tap by tap, for dx. */
INLINE void sparse_pack_transposed(Conv c, const float *weight, int panel, float *packed)
{
    const int column = panel * PANEL;
    int apart;
    float *const to = sparse_packed(packed, c.out, c.kernel * c.in, column, &apart);
    pack_columns_of_panel(weight + (ptrdiff_t)column * c.out, c.out, c.out, PANEL, 1, to, apart);
}

/* Scratch (SPARSE_SCRATCH): sums of a block's pixels, and behind them the bits of their rows. */
enum { SPARSE_SUMS = PIXEL_BLOCK * GROUP_COLUMNS };
_Static_assert(SPARSE_SUMS % 2 == 0, "bits begin at a multiple of eight bytes");

/* Pixels [first, last). One function for all shapes: what depends on the shape is the least of it. */
SHARED void sparse_product(const SparseProduct *s, float *scratch, int first, int last)
{
    const int blocks = s->depth / DEPTH_BLOCK;
    const Conv to = s->to;
    const int run = to.kernel * to.in; /* columns that lie together: a group has no others */
    float *const sums = scratch;
    uint64_t *const sets = (uint64_t *)(void *)(scratch + SPARSE_SUMS);
    for (int begin = first; begin < last; begin += PIXEL_BLOCK) {
        const int pixels = MIN_OF(PIXEL_BLOCK, last - begin);
        const float *left = s->left + (size_t)begin * s->depth;
        size_t at[PIXEL_BLOCK + TOGETHER];
        for (int i = 0; i < pixels * blocks; i++)
            sets[i] = nonzero_of_64(left + (size_t)i * DEPTH_BLOCK);
        patches_at(to, begin, pixels + TOGETHER, last, at);
        for (int column = 0, panels; column < columns_of(to); column += panels * PANEL) {
            panels = group_panels(run - column % run);
            const ptrdiff_t shift = tap_at(to, column / to.in) + column % to.in;
            const SparseTarget t = {.y = s->y + shift,
                                    .bias = s->bias ? s->bias + column : NULL,
                                    .addend = s->addend ? s->addend + shift : NULL,
                                    .mask = s->mask ? s->mask + shift : NULL};
            SparseRows r = {.rows = pixels,
                            .panels = panels,
                            .set = sets,
                            .set_step = blocks,
                            .left = left,
                            .left_step = s->depth,
                            .right = s->packed + (ptrdiff_t)column * s->depth,
                            .sum = sums,
                            .sum_step = GROUP_COLUMNS};
            if (ASKS_FOR_NEXT && column == 0 && last - begin > PIXEL_BLOCK) {
                r.next = left + (size_t)PIXEL_BLOCK * s->depth;
                r.next_lines = s->depth / LINE;
            }
            for (int block = 0; block < blocks - 1; block++) {
                sparse_sums_of_rows(&r);
                r.set++;
                r.left += DEPTH_BLOCK;
                r.right += DEPTH_BLOCK * panels * PANEL;
                r.more = true;
            }
            s->ends(&r, &t, at);
        }
    }
}

/* y of pixels [first, last), from x as floats. */
INLINE void sparse_conv(Conv c, const MapConvJob *j, const float *x, float *scratch, int tail, int first,
                        int last)
{
    const SparseProduct product = {.left = x,
                                   .packed = j->packed,
                                   .bias = j->bias,
                                   .addend = j->addend,
                                   .y = j->y,
                                   .depth = c.in,
                                   .to = pixels_of_y(c),
                                   .ends = sparse_ends_of(tail)};
    sparse_product(&product, scratch, first, last);
}

/* dx, from dy as floats. */
INLINE void sparse_grad_x(Conv c, const MapConvGradXJob *j, const float *dy, float *scratch, int tail,
                          int first, int last)
{
    const SparseProduct product = {.left = dy,
                                   .packed = j->packed,
                                   .addend = j->addend,
                                   .mask = j->mask,
                                   .y = j->dx,
                                   .depth = c.out,
                                   .to = c,
                                   .ends = sparse_ends_of(tail)};
    sparse_product(&product, scratch, first, last);
}

/* ---- the gradient of a weight ---- */

/* dw (depth, out) = x' dy is summed over the pixels by x, of a 1x1 convolution, whose channels are its rows;
 * or transposed by dy. A part has up to SPARSE_ROWS of these rows and a slice of the pixels; slices add up
 * afterwards, in their order. */
typedef struct {
    const Activation *left,
        *right; /* (pixels, rows), the one with zeros; and the map of the other's patches */
    int rows;
    Conv of; /* right is its x, a patch `columns` long */
    int columns, slices;
    float *partial; /* (slices, rows, columns) */
} SparseSum;

INLINE SparseSum sparse_sum_by(int factor, Conv c, const MapConvGradWJob *j, int slices)
{
    if (factor == BY_DY)
        return (SparseSum){j->dy, j->x, c.out, c, depth_of_patch(c), slices, j->partial};
    return (SparseSum){j->x, j->dy, c.in, pixels_of_y(c), c.out, slices, j->partial};
}

/* A block of DEPTH_BLOCK pixels at most, as a part sees it. */
typedef struct {
    float *left;  /* (pixels, SPARSE_STEP): the part's rows */
    float *right; /* (DEPTH_BLOCK, the group's columns) of the other factor */
    uint64_t set[SPARSE_ROWS];
} SparseBlock;

/* A line of each of up to 32 pixels, `step` apart; in bit i of set[k]: number k of pixel i is not zero. */
INLINE void sparse_copy_line(const Activation *from, ptrdiff_t step, int pixels, float *to,
                             uint32_t set[LINE])
{
    typedef uint32_t Set __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    Set sum[LINE / LANES], bit = {0};
    UNROLL for (int v = 0; v < LINE / LANES; v++) sum[v] = (Set){0};
    bit += 1;
    for (int i = 0; i < pixels; i++, bit += bit)
        UNROLL for (int v = 0; v < LINE / LANES; v++)
        {
            const Vec x = load_activations(from + i * step + v * LANES);
            store(to + i * SPARSE_STEP + v * LANES, x);
            sum[v] |= (Set)(x != (Vec){0}) & bit;
        }
    UNROLL for (int v = 0; v < LINE / LANES; v++) * (Set *)(set + v * LANES) = sum[v];
}

/* `rows` numbers of each pixel, from which on, and where they are not zero. */
INLINE void sparse_block_rows(const Activation *from, ptrdiff_t step, int pixels, int rows, SparseBlock *b)
{
    for (int row = 0; row < rows; row += LINE) {
        uint32_t low[LINE], high[LINE];
        sparse_copy_line(from + row, step, MIN_OF(pixels, 32), b->left + row, low);
        sparse_copy_line(from + 32 * step + row, step, pixels - 32, b->left + 32 * SPARSE_STEP + row, high);
        for (int i = 0; i < LINE; i++)
            b->set[row + i] = low[i] | (uint64_t)high[i] << 32;
    }
}

/* The rows of dw over a group's columns. */
SHARED void sparse_block_sums(const SparseBlock *b, int panels, SparseAhead left, SparseAhead right, int rows,
                              float *dw, ptrdiff_t columns, bool more)
{
    const SparseRows r = {.ahead = {left, right},
                          .rows = rows,
                          .panels = panels,
                          .set = b->set,
                          .set_step = 1,
                          .left = b->left,
                          .left_step = 1,
                          .right = b->right,
                          .sum = dw,
                          .sum_step = columns,
                          .more = more};
    OF_GROUP(&r, sparse_sums, &r, SPARSE_STEP);
}

/* A group of columns of the patches that begin at from[]. */
INLINE void sparse_block_columns(const SparseSum *s, const size_t *from, int pixels, int column, int panels,
                                 SparseBlock *b)
{
    const int run = s->of.kernel * s->of.in; /* floats of a patch that lie together */
    for (int panel = 0; panel < panels; panel++) {
        const int at = column + panel * PANEL;
        const Activation *right = s->right + (size_t)(at / run) * s->of.side * s->of.in + at % run;
        for (int i = 0; i < pixels; i++)
            UNROLL for (int v = 0; v < VECTORS; v++)
                store(b->right + (i * panels + panel) * PANEL + v * LANES,
                      load_activations(right + from[i] + v * LANES));
    }
}

/* Part `part` of sparse_grad_w_parts. */
SHARED void sparse_sum(const SparseSum *s, float *scratch, int part)
{
    const int pixels = s->of.images * s->of.out_side * s->of.out_side, blocks = CEIL_DIV(pixels, DEPTH_BLOCK),
              slice = part % s->slices, first = piece(blocks, slice, s->slices),
              last = piece(blocks, slice + 1, s->slices);
    const int cut = part / s->slices, cuts = CEIL_DIV(s->rows, SPARSE_ROWS),
              row = LINE * piece(s->rows / LINE, cut, cuts),
              rows = LINE * piece(s->rows / LINE, cut + 1, cuts) - row;
    /* Floats of the map that a pixel of the product stands for. */
    const ptrdiff_t pixel = (ptrdiff_t)s->of.stride * s->of.stride * s->of.in;
    float *const sum = s->partial + ((size_t)slice * s->rows + (size_t)row) * s->columns;
    SparseBlock b = {.left = scratch, .right = scratch + DEPTH_BLOCK * SPARSE_STEP};
    for (int block = first; block < last; block++) {
        const int begin = block * DEPTH_BLOCK, count = MIN_OF(DEPTH_BLOCK, pixels - begin);
        size_t from[DEPTH_BLOCK];
        patches_at(s->of, begin, count, pixels, from);
        const Activation *left = s->left + (size_t)begin * s->rows + row;
        sparse_block_rows(left, s->rows, count, rows, &b);
        const int share = DEPTH_BLOCK * 65536 / rows;
        SparseAhead next = {left + (ptrdiff_t)DEPTH_BLOCK * s->rows, s->rows, rows / LINE, share};
        SparseAhead patches = {.at = s->right + from[0] + DEPTH_BLOCK * pixel, .share = share};
        for (int column = 0, panels; column < s->columns; column += panels * PANEL) {
            panels = group_panels(s->columns - column);
            patches.lines = (int)(pixel * panels * PANEL / s->columns / LINE); /* that go with the group */
            patches.step = patches.lines * LINE;
            sparse_block_columns(s, from, count, column, panels, &b);
            sparse_block_sums(&b, panels, next, patches, rows, sum + column, s->columns, block > first);
            next.lines = 0;
            patches.at += DEPTH_BLOCK * patches.step;
        }
    }
}

/* Part `part` of `parts` of dw (depth, out) (+)= the slices of its transposed. */
SHARED void sum_transposed(const float *partial, int slices, int depth, int out, bool more, float *dw,
                           int part, int parts)
{
    const int lines = depth / LINE, last = LINE * piece(lines, part + 1, parts);
    for (int line = LINE * piece(lines, part, parts); line < last; line += LINE)
        ROLLED for (int column = 0; column < out; column++) ROLLED for (int k = line; k < line + LINE; k++)
        {
            float *const to = dw + (size_t)k * out + column;
            float sum = more ? *to : 0;
            SCALAR for (int slice = 0; slice < slices; slice++) sum +=
                partial[((size_t)slice * out + (size_t)column) * depth + (size_t)k];
            *to = sum;
        }
}

INLINE int sparse_grad_w_parts(Conv c, int factor, int slices)
{
    return CEIL_DIV(factor == BY_DY ? c.out : c.in, SPARSE_ROWS) * slices;
}

INLINE void sparse_grad_w(Conv c, const MapConvGradWJob *j, float *scratch, int factor, int slices, int part)
{
    const SparseSum sum = sparse_sum_by(factor, c, j, slices);
    sparse_sum(&sum, scratch, part);
}

/* Part `part` of `parts` of dw from the slices. */
INLINE void sparse_grad_w_end(Conv c, const MapConvGradWJob *j, int factor, int slices, int part, int parts)
{
    if (factor == BY_DY)
        sum_transposed(j->partial, slices, depth_of_patch(c), c.out, j->more, j->dw, part, parts);
    else
        sum_slices(j->partial, slices, (size_t)depth_of_patch(c) * c.out, 1, j->more ? j->dw : NULL, j->dw,
                   part, parts);
}

#endif
