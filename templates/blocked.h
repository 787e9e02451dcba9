/* blocked.h: products of which both factors are packed, block by block.
 *
 * vectors.h reads left rows where they lie, and the right matrix from panels that are all packed before. Long
 * rows, a power of two apart, then share few sets of the L1, and where rows are few packing takes as long as
 * a fifth of the product. Here a block of the left rows lies in the L2, tile by tile, as much of a panel in
 * the L1 (K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication", 2008). Few rows
 * are packed once for all parts, which are of columns and pack panels of their own; of many the right matrix
 * is packed once, and parts are of rows.
 *
 * A product of a 1x1 kernel, or of one patch an image. Columns and depth are multiples of MAX_PANEL. */
#ifndef BLOCKED_H
#define BLOCKED_H

#include "vectors.h"

/* Of the depth, in a block. */
enum { DEPTH_AT_ONCE = MIN_OF((int)BLOCKED_DEPTH, BLOCKED_PANEL_FLOATS / PANEL) };

_Static_assert(BLOCKED_ROWS % ROWS == 0, "a block is a whole number of tiles");
_Static_assert(MAX_ROWS % ROWS == 0, "memory is planned for few rows in the tallest tiles");

/* y (rows, columns) = tail(x (rows, depth) * weight), the weight (depth, columns), or transposed. What is
 * packed once: few rows of x, packed[tile][depth][ROWS], or for many the weight in panels. */
typedef struct {
    const float *x, *weight, *bias, *addend, *mask;
    float *y, *packed;
    int rows, depth, columns;
    bool transposed;
} Blocked;

INLINE Blocked blocked_conv(Conv c, const ConvJob *j)
{
    return (Blocked){.x = j->x,
                     .weight = j->weight,
                     .bias = j->bias,
                     .addend = j->addend,
                     .y = j->y,
                     .packed = j->packed,
                     .rows = pixels_of(c),
                     .depth = depth_of_patch(c),
                     .columns = c.out};
}

INLINE Blocked blocked_grad_x(Conv c, const ConvGradXJob *j)
{
    return (Blocked){.x = j->dy,
                     .weight = j->weight,
                     .addend = j->addend,
                     .mask = j->mask,
                     .y = j->dx,
                     .packed = j->packed,
                     .rows = pixels_of(c),
                     .depth = c.out,
                     .columns = depth_of_patch(c),
                     .transposed = true};
}

/* ---- packing ---- */

/* Rows [first, last) of x, `depth` floats from `k` on, as tiles (depth, ROWS); missing rows are the last. */
SHARED void pack_tiles(const Blocked *b, int first, int last, int k, int depth, float *to)
{
    ROLLED for (int tile = first; tile < last; tile += ROWS, to += (ptrdiff_t)depth * ROWS)
        ROLLED for (int r = 0; r < ROWS; r++)
    {
        const float *from = b->x + (ptrdiff_t)MIN_OF(tile + r, last - 1) * b->depth + k;
        SCALAR for (int i = 0; i < depth; i++) to[i * ROWS + r] = from[i];
    }
}

/* The depth's [k, k + depth) of a panel of the weight. */
SHARED void pack_of_panel(const Blocked *b, int panel, int k, int depth, float *to)
{
    const ptrdiff_t column = panel * PANEL;
    if (b->transposed)
        pack_columns_of_panel(b->weight + column * b->depth + k, depth, b->depth, PANEL, 1, to, PANEL);
    else
        pack_rows_of_panel(b->weight + (ptrdiff_t)k * b->columns + column, depth, b->columns, PANEL, 1, to,
                           PANEL);
}

/* Parts of what is packed once, a tile of the rows or a panel. */
INLINE int blocked_packs(int rows, int columns)
{
    return has_few_rows(rows) ? CEIL_DIV(rows, ROWS) : PANELS(columns);
}

INLINE void blocked_pack(Blocked b, int part)
{
    const int row = part * ROWS;
    if (has_few_rows(b.rows))
        pack_tiles(&b, row, MIN_OF(row + ROWS, b.rows), 0, b.depth, b.packed + (ptrdiff_t)row * b.depth);
    else
        pack_of_panel(&b, part, 0, b.depth, b.packed + part * PANEL_FLOATS(b.depth));
}

/* ---- the product ---- */

/* A tile (depth, ROWS) by a panel. A line is prefetched with each step meanwhile, from `ahead` on, `step`
 * bytes apart. */
SHARED void tile_of_packed(int tail, const float *a, int depth, const float *panel, const char *ahead,
                           ptrdiff_t step, const Target *t)
{
    Vec sum[ROWS][VECTORS];
    target_prefetch(tail, t);
    tile_begin(sum);
    ROLLED for (int k = 0; k < depth; k++, a += ROWS, panel += PANEL, ahead += step)
    {
        Vec right[VECTORS];
        __builtin_prefetch(ahead);
        UNROLL for (int v = 0; v < VECTORS; v++) right[v] = load(panel + v * LANES);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const float left = a[r];
            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += left * right[v];
        }
    }
    tile_store(tail, sum, t);
}

/* A block: rows [first, last) and the depth's [k, k + depth), in tiles, `tile_step` floats apart. */
typedef struct {
    const float *x;
    ptrdiff_t tile_step;
    int first, last, k, depth;
} RowBlock;

/* A block by a panel of as much of the depth. Its tiles prefetch even shares of the `next` panel, if there is
 * one: that of many rows lies packed behind it. */
SHARED void block_by_panel(const Blocked *b, int tail, const RowBlock *block, int panel, const float *packed,
                           const float *next)
{
    const int now = tail_of_block(tail, block->k == 0, block->k + block->depth == b->depth);
    const float *const addend = block->k == 0 ? b->addend : b->y, *x = block->x;
    const int tiles = CEIL_DIV(block->last - block->first, ROWS);
    const ptrdiff_t step = next ? (ptrdiff_t)sizeof(float) * CEIL_DIV((int)PANEL, tiles) : 0;
    const char *ahead = (const char *)(next ? next : packed);
    ROLLED for (int row = block->first; row < block->last;
                row += ROWS, x += block->tile_step, ahead += step * block->depth)
    {
        const ptrdiff_t at = (ptrdiff_t)row * b->columns + panel * PANEL;
        const Target t = {.y = b->y + at,
                          .bias = now & TAIL_BIAS ? b->bias + panel * PANEL : NULL,
                          .addend = now & TAIL_ADD ? addend + at : NULL,
                          .mask = now & TAIL_MASK ? b->mask + at : NULL,
                          .stride = b->columns,
                          .rows = MIN_OF(ROWS, block->last - row),
                          .width = PANEL};
        tile_of_packed(now, x, block->depth, packed, ahead, step, &t);
    }
}

/* Panels [first, last) of few rows. */
SHARED void blocked_columns(const Blocked *b, float *scratch, int tail, int first, int last)
{
    RowBlock block = {.tile_step = (ptrdiff_t)b->depth * ROWS, .last = b->rows};
    ROLLED for (; block.k < b->depth; block.k += DEPTH_AT_ONCE)
    {
        block.x = b->packed + (ptrdiff_t)block.k * ROWS;
        block.depth = MIN_OF(DEPTH_AT_ONCE, b->depth - block.k);
        ROLLED for (int panel = first; panel < last; panel++)
        {
            pack_of_panel(b, panel, block.k, block.depth, scratch);
            block_by_panel(b, tail, &block, panel, scratch, NULL);
        }
    }
}

/* Rows [first, last) of many, in even blocks. */
SHARED void blocked_rows(const Blocked *b, float *scratch, int tail, int first, int last)
{
    const int rows = last - first, blocks = CEIL_DIV(rows, BLOCKED_ROWS);
    RowBlock block = {.x = scratch};
    ROLLED for (int i = 0; i < blocks; i++)
    {
        block.first = first + tile_piece(rows, i, blocks);
        block.last = first + tile_piece(rows, i + 1, blocks);
        ROLLED for (block.k = 0; block.k < b->depth; block.k += DEPTH_AT_ONCE)
        {
            block.depth = MIN_OF(DEPTH_AT_ONCE, b->depth - block.k);
            block.tile_step = (ptrdiff_t)block.depth * ROWS;
            pack_tiles(b, block.first, block.last, block.k, block.depth, scratch);
            const float *packed = b->packed + (ptrdiff_t)block.k * PANEL;
            ROLLED for (int panel = 0; panel < PANELS(b->columns); panel++, packed += PANEL_FLOATS(b->depth))
                block_by_panel(b, tail, &block, panel, packed, packed + PANEL_FLOATS(b->depth));
        }
    }
}

INLINE void blocked_part(Blocked b, float *scratch, int tail, int part, int parts)
{
    if (has_few_rows(b.rows))
        blocked_columns(&b, scratch, tail, piece(PANELS(b.columns), part, parts),
                        piece(PANELS(b.columns), part + 1, parts));
    else
        blocked_rows(&b, scratch, tail, tile_piece(b.rows, part, parts), tile_piece(b.rows, part + 1, parts));
}

#endif
