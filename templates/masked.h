/* masked.h: gradients of x of which a mask keeps half.
 *
 * Before a residual's second convolution, a 1x1, lies a ReLU: of the gradient of its input only what the ReLU
 * let through is wanted (docs/performance-notebook.md). Each of these numbers is a dot product of two rows,
 * dy's and the weight's. A block of the weight, some rows of part of the depth, lies in the L1; as much
 * of a pixel's row of dy in registers. Four products go together, so that what the lanes of their sums hold
 * is added up side by side.
 *
 * Channels of x and of y are multiples of 64. */
#ifndef MASKED_H
#define MASKED_H

#include "sparse.h"

enum {
    MASK_BITS = DEPTH_BLOCK,
    MASKED_VECTORS = WIDE_UNITS ? 16 : 8, /* of a row of dy at most; the more, the fewer sums of lanes */
    MASKED_DEPTH = MASKED_VECTORS * LANES,
    MASKED_SUMS = PIXEL_BLOCK * MASK_BITS
};
_Static_assert(MASKED_DEPTH <= 64 ? 64 % MASKED_DEPTH == 0 : MASKED_DEPTH % 64 == 0 && MASKED_DEPTH <= 256,
               "rows are a whole number of blocks");
_Static_assert(MASKED_SUMS % 2 == 0, "bits begin at a multiple of eight bytes");

/* Floats of a row that a block of the weight has: a whole number of them makes a row. */
INLINE int masked_depth(int out)
{
    int depth = MASKED_DEPTH;
    while (out % depth)
        depth /= 2;
    return depth;
}

/* Its rows, MASK_BITS or half of them. */
INLINE int masked_rows_of_block(int depth)
{
    enum { BLOCK = 1 << 13 }; /* floats */
    return MIN_OF(MASK_BITS, BLOCK / depth);
}

/* ---- four dot products ---- */

/* Of each vector the sum of its lanes. */
INLINE Four sums_of_lanes(const Vec v[4])
{
#if HAS_SHUFFLE
    const Vec of_01 = OF_FOURS(v[0], v[1], 0, 4, 1, 5) + OF_FOURS(v[0], v[1], 2, 6, 3, 7),
              of_23 = OF_FOURS(v[2], v[3], 0, 4, 1, 5) + OF_FOURS(v[2], v[3], 2, 6, 3, 7),
              all = OF_FOURS(of_01, of_23, 0, 1, 4, 5) + OF_FOURS(of_01, of_23, 2, 3, 6, 7);
    Four sum = *(const Four *)&all;
    UNROLL for (int i = 1; i < LANES / 4; i++) sum += ((const Four *)&all)[i];
#else /* before GCC 12 */
    Four sum = {0};
    for (int lane = 0; lane < LANES; lane++)
        sum += (Four){v[0][lane], v[1][lane], v[2][lane], v[3][lane]};
#endif
    return sum;
}

/* left . the weight's rows k[0..3]. Of each two sums are made, where they would wait for each other. */
INLINE Four dot_products(const Vec left[MASKED_VECTORS], const float *block, int depth, const int k[4])
{
    enum { SUMS = WIDE_UNITS ? 2 : 1 };
    Vec sum[4 * SUMS];
    const float *row[4];
    UNROLL for (int i = 0; i < 4; i++)
    {
        row[i] = block + (ptrdiff_t)k[i] * depth;
        OPAQUE_POINTER(row[i]);
    }
    UNROLL for (int v = 0; v < SUMS; v++) UNROLL for (int i = 0; i < 4; i++) sum[v * 4 + i] =
        left[v] * load(row[i] + v * LANES);
    UNROLL for (int v = SUMS; v < MASKED_VECTORS; v++) if (v < depth / LANES)
        UNROLL for (int i = 0; i < 4; i++) sum[v % SUMS * 4 + i] += left[v] * load(row[i] + v * LANES);
    UNROLL for (int i = 4; i < 4 * SUMS; i++) sum[i % 4] += sum[i];
    return sums_of_lanes(sum);
}

/* ---- rows ---- */

/* One block of the weight. */
typedef struct {
    int depth, rows;
    const uint64_t *set; /* of row i, set[i * set_step], from bit `shift` on: what is wanted of the block */
    ptrdiff_t set_step;
    int shift;
    const float *left; /* of row i, left + i * left_step */
    ptrdiff_t left_step;
    const float *block; /* (masked_rows_of_block(), depth) */
    float *sum;         /* of row i, sum + i * MASK_BITS: those wanted, one behind the other */
    Activation *dx;     /* where row i goes, dx + i * dx_step, if this is the `last` of its blocks */
    ptrdiff_t dx_step;
    bool more, last; /* more: there are sums of blocks before */
    bool asks;       /* for the next block's dy, and its mask, which lies as dx does */
    const Activation *mask;
} MaskedRows;

/* The next four of a set; the last of them again if they are fewer. */
INLINE void next_four(uint64_t *set, int k[4])
{
    UNROLL for (int i = 0; i < 4; i++)
    {
        k[i] = i == 0 || *set ? __builtin_ctzll(*set) : k[i - 1];
        *set &= *set - 1;
    }
}

/* What is wanted of row `row` of a block of `rows`. */
INLINE uint64_t wanted_of(const MaskedRows *r, int row, int rows)
{
    return r->set[row * r->set_step] >> r->shift & (~(uint64_t)0 >> (64 - rows));
}

/* Row `row` of dx: its sums where they are wanted, zeros elsewhere. */
#if HAS_MASKS
enum { SPREADS = 1 };
INLINE void masked_spread(const MaskedRows *r, int row, int rows)
{
    const uint64_t set = wanted_of(r, row, rows);
    const float *sum = r->sum + row * MASK_BITS;
    UNROLL for (int v = 0; v < MASK_BITS / LANES; v++) if (v < rows / LANES)
    {
        const __mmask16 lanes = (__mmask16)(set >> (v * LANES));
        store_activations(r->dx + row * r->dx_step + v * LANES,
                          (Vec)_mm512_maskz_expand_ps(lanes, (__m512)load(sum)));
        sum += __builtin_popcount(lanes);
    }
}
#else
enum { SPREADS = 0 };
INLINE void masked_spread(const MaskedRows *r, int row, int rows)
{
    (void)r, (void)row, (void)rows;
}
#endif

/* Of every row what is wanted, to r->sum; with the sums of the blocks before, or to dx, as the constants say.
 * A processor that spreads the numbers of a vector does so a row later, when they have been stored. */
INLINE void masked_rows(const MaskedRows *r, int depth, bool more, bool last)
{
    const int rows = masked_rows_of_block(depth);
    for (int row = 0; row < r->rows; row++) {
        const float *dy = r->left + row * r->left_step;
        float *sum = r->sum + row * MASK_BITS;
        Activation *dx = r->dx + row * r->dx_step;
        Vec left[MASKED_VECTORS];
        UNROLL for (int v = 0; v < MASKED_VECTORS; v++) if (v < depth / LANES) left[v] = load(dy + v * LANES);
        if (last && !SPREADS)
            UNROLL for (int v = 0; v < MASK_BITS / LANES; v++) if (v < rows / LANES)
                store_activations(dx + v * LANES, (Vec){0});
        for (uint64_t set = wanted_of(r, row, rows); set; sum += 4) {
            int k[4];
            next_four(&set, k);
            Four four = dot_products(left, r->block, depth, k);
            if (more)
                four += *(const Four *)sum;
            if (!last || SPREADS)
                *(Four *)sum = four;
            else
                UNROLL for (int i = 0; i < 4; i++) dx[k[i]] = activation_of(four[i]);
        }
        if (ASKS_FOR_NEXT && r->asks) {
            ask_for_next(dy + PIXEL_BLOCK * r->left_step, depth / LINE);
            if (!more)
                ask_for_next((const float *)(const void *)(r->mask + (PIXEL_BLOCK + row) * r->dx_step),
                             (int)r->dx_step / LINE);
        }
        if (SPREADS && last && row > 0)
            masked_spread(r, row - 1, rows);
    }
    if (SPREADS && last && r->rows > 0)
        masked_spread(r, r->rows - 1, rows);
}

INLINE void masked_rows_of(const MaskedRows *r, int depth)
{
    if (r->last && r->more)
        masked_rows(r, depth, true, true);
    else if (r->last)
        masked_rows(r, depth, false, true);
    else
        masked_rows(r, depth, r->more, false);
}

/* One function for each depth that masked_depth() gives: rows are multiples of 64. */
SHARED void masked_rows_by_depth(const MaskedRows *r)
{
    if (r->depth == MASKED_DEPTH)
        masked_rows_of(r, MASKED_DEPTH);
    else if (MASKED_DEPTH > 128 && r->depth == 128)
        masked_rows_of(r, 128);
    else if (MASKED_DEPTH > 64)
        masked_rows_of(r, 64);
}

/* ---- maps ---- */

/* Blocks of a weight. */
INLINE int masked_packs(Conv c)
{
    const int depth = masked_depth(c.out);
    return c.in / masked_rows_of_block(depth) * (c.out / depth);
}

/* Block `block` of the packed weight, in order: [in / rows][out / depth][rows][depth]. */
SHARED void masked_pack(Conv c, const float *weight, int block, float *packed)
{
    const int out = c.out, depth = masked_depth(out), blocks = out / depth,
              rows = masked_rows_of_block(depth);
    const float *from = weight + (size_t)(block / blocks) * (size_t)rows * out + block % blocks * depth;
    float *to = packed + (size_t)block * (size_t)rows * depth;
    for (int row = 0; row < rows; row++)
        memcpy(to + row * depth, from + (size_t)row * out, sizeof(float) * (size_t)depth);
}

/* dx of pixels [first, last), from dy as floats, where the mask, a ReLU's result, is not zero; else 0.
 * Scratch (MASKED_SCRATCH): sums of a block's pixels, and behind them the bits of their masks. */
SHARED void masked_product(Conv c, const MapConvGradXJob *j, const float *dy, float *scratch, int first,
                           int last)
{
    const int depth = masked_depth(c.out), rows = masked_rows_of_block(depth), sets = c.in / MASK_BITS;
    uint64_t *const set = (uint64_t *)(void *)(scratch + MASKED_SUMS);
    for (int begin = first; begin < last; begin += PIXEL_BLOCK) {
        MaskedRows r = {.depth = depth,
                        .rows = MIN_OF(PIXEL_BLOCK, last - begin),
                        .set_step = sets,
                        .left_step = c.out,
                        .block = j->packed,
                        .sum = scratch,
                        .dx_step = c.in,
                        .mask = j->mask + (size_t)begin * c.in};
        for (int i = 0; i < r.rows * sets; i++)
            set[i] = nonzero_of_map(j->mask + (size_t)begin * c.in + (size_t)i * MASK_BITS);
        for (int channel = 0; channel < c.in; channel += rows) {
            r.set = set + channel / MASK_BITS;
            r.shift = channel % MASK_BITS;
            r.dx = j->dx + (size_t)begin * c.in + channel;
            for (int k = 0; k < c.out; k += depth, r.block += rows * depth) {
                r.left = dy + (size_t)begin * c.out + k;
                r.more = k > 0;
                r.last = k + depth == c.out;
                r.asks = channel == 0 && last - begin > PIXEL_BLOCK;
                masked_rows_by_depth(&r);
            }
        }
    }
}

#endif
