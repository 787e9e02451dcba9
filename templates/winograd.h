/* winograd.h: convolutions with fewer multiplications than they have taps.
 *
 * S. Winograd's minimal filtering F(m, r) makes m neighbouring outputs of r taps from m + r - 1 products
 * instead of m * r; in two dimensions the saving squares (Lavin and Gray, "Fast Algorithms for Convolutional
 * Neural Networks", 2016, section 4):
 *
 *     Y = A'[(G g G') o (B' d B)]A      d: a tile of x, g: the weight's taps, Y: a tile of y
 *
 * A kernel of k at stride s has r = k / s taps over cells of s x s pixels, whose s * s * in channels are one
 * cell's depth; a tile is m x m outputs, read from n x n cells, n = m + r - 1. For each of the n * n points
 * the channels make one product, (tiles, depth) . (depth, out), by the kernels of kernels.h. Backward passes
 * are the transposes of each step. No output but a tile's last needs the point at infinity, so that tiles
 * which hang over the map's edge go without it in that direction. Only small whole numbers, their halves and
 * quarters stand in A and B, so float loses little: 1e-6 of relative error at 256 channels, against 5e-7
 * without.
 *
 * stride * in and out are multiples of 16, a vector of any target. */
#ifndef WINOGRAD_H
#define WINOGRAD_H

#include "vectors.h"

enum { MAX_POINTS = 5, MAX_SQUARE = MAX_POINTS * MAX_POINTS };

typedef struct {
    int rows, columns;
    float at[MAX_POINTS][MAX_POINTS];
} Matrix;

typedef struct {
    Matrix input, filter, output; /* B', G, A' */
} Filtering;

/* By outputs m and taps r. */
static const Filtering FILTERING_2_2 = {
    .input = {3, 3, {{1, -1, 0}, {0, 1, 0}, {0, -1, 1}}},
    .filter = {3, 2, {{1, 0}, {1, 1}, {0, 1}}},
    .output = {2, 3, {{1, 1, 0}, {0, 1, 1}}},
};
static const Filtering FILTERING_3_2 = {
    .input = {4, 4, {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}}},
    .filter = {4, 2, {{1, 0}, {0.5f, 0.5f}, {0.5f, -0.5f}, {0, 1}}},
    .output = {3, 4, {{1, 1, 1, 0}, {0, 1, -1, 0}, {0, 1, 1, 1}}},
};
static const Filtering FILTERING_2_3 = {
    .input = {4, 4, {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}}},
    .filter = {4, 3, {{1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}}},
    .output = {2, 4, {{1, 1, 1, 0}, {0, 1, -1, 1}}},
};
/* Of the points 0, -1, 1/2, 2 and infinity, which lose the least of those tried. */
static const Filtering FILTERING_3_3 = {
    .input = {5,
              5,
              {{1, -1.5f, -1.5f, 1, 0},
               {0, 1, -2.5f, 1, 0},
               {0, -2, -1, 1, 0},
               {0, -0.5f, 0.5f, 1, 0},
               {0, 1, -1.5f, -1.5f, 1}}},
    .filter = {5,
               3,
               {{1, 0, 0},
                {-2.0f / 9, 2.0f / 9, -2.0f / 9},
                {-8.0f / 9, -4.0f / 9, -2.0f / 9},
                {1.0f / 9, 2.0f / 9, 4.0f / 9},
                {0, 0, 1}}},
    .output = {3, 5, {{1, 1, 1, 1, 0}, {0, -1, 0.5f, 2, 0}, {0, 1, 0.25f, 4, 1}}},
};

typedef struct {
    Conv c;
    int outputs; /* m: a tile's side in y */
} Winograd;

INLINE int taps_of(Winograd w)
{
    return w.c.kernel / w.c.stride;
}

INLINE int points_of(Winograd w)
{
    return w.outputs + taps_of(w) - 1;
}

INLINE int square_of(Winograd w) /* points of a tile, products to make */
{
    return points_of(w) * points_of(w);
}

INLINE int depth_of(Winograd w)
{
    return w.c.stride * w.c.stride * w.c.in;
}

/* Tiles come kind by kind, each in the order of images, rows and columns: those that lie in y, those that
 * hang over its right edge, over its lower edge, over both. */
enum { OVER_RIGHT = 1, OVER_BOTTOM = 2, TILE_KINDS = 4 };

/* How many lie in y side by side, or hang over its edge. */
INLINE int tiles_across(Winograd w, bool over)
{
    return over ? w.c.out_side % w.outputs > 0 : w.c.out_side / w.outputs;
}

INLINE int tiles_of_kind(Winograd w, int kind) /* in an image */
{
    return tiles_across(w, kind & OVER_BOTTOM) * tiles_across(w, kind & OVER_RIGHT);
}

INLINE int tiles_of(Winograd w) /* in an image, of all kinds */
{
    return CEIL_DIV(w.c.out_side, w.outputs) * CEIL_DIV(w.c.out_side, w.outputs);
}

/* Whether tiles of the kind need that point: infinity is the last one each way. */
INLINE bool has_point(Winograd w, int kind, int point)
{
    const int side = points_of(w), row = point / side, column = point % side;
    return !(kind & OVER_BOTTOM && row == side - 1) && !(kind & OVER_RIGHT && column == side - 1);
}

INLINE const Filtering *filtering_of(Winograd w)
{
    if (taps_of(w) == 2)
        return w.outputs == 2 ? &FILTERING_2_2 : &FILTERING_3_2;
    return w.outputs == 2 ? &FILTERING_2_3 : &FILTERING_3_3;
}

/* ---- transforms of a vector's channels
 * ------------------------------------------------------------------------------------------------ */

INLINE float coefficient(const Matrix *m, bool transposed, int row, int column)
{
    return transposed ? m->at[column][row] : m->at[row][column];
}

/* One row of the matrix times a column of vectors that lie `step` apart; zeros cost nothing. */
INLINE Vec combine(const Matrix *m, bool transposed, int row, const Vec *v, int step)
{
    const int columns = transposed ? m->rows : m->columns;
    Vec sum = {0};
    bool begun = false;
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
    {
        const float c = i < columns ? coefficient(m, transposed, row, i) : 0;
        if (c == 0)
            continue;
        sum = begun ? sum + c * v[i * step] : c * v[i * step];
        begun = true;
    }
    return sum;
}

/* to (rows, rows) = M from M', from (columns, columns), both with rows of MAX_POINTS vectors; M is transposed
 * before if so wanted. */
INLINE void transform(const Matrix *m, bool transposed, const Vec *from, Vec *to)
{
    const int rows = transposed ? m->columns : m->rows, columns = transposed ? m->rows : m->columns;
    Vec half[MAX_SQUARE];
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int k = 0; k < MAX_POINTS; k++) if (i < rows && k < columns) half[i * MAX_POINTS + k] =
            combine(m, transposed, i, from + k, MAX_POINTS);
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int k = 0; k < MAX_POINTS; k++) if (i < rows && k < rows) to[i * MAX_POINTS + k] =
            combine(m, transposed, k, half + i * MAX_POINTS, 1);
}

/* A square of vectors in memory, (row, column) at p + row * row_step + column * step, of which `rows` and
 * `columns` are there; the others are zeros to read, and are not written. */
typedef struct {
    ptrdiff_t row_step, step;
    int rows, columns;
} Square;

INLINE void load_square(int side, const float *p, Square s, Vec *to)
{
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int k = 0; k < MAX_POINTS; k++) if (i < side && k < side) to[i * MAX_POINTS + k] =
            i < s.rows && k < s.columns ? load(p + i * s.row_step + k * s.step) : (Vec){0};
}

/* Points lie in an order of their own, `step` floats apart; what the kind of tile does not need is zero. */
INLINE void load_points(Winograd w, int kind, const float *p, ptrdiff_t step, Vec *to)
{
    const int side = points_of(w);
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int k = 0; k < MAX_POINTS; k++) if (i < side && k < side) to[i * MAX_POINTS + k] =
            has_point(w, kind, i * side + k) ? load(p + (i * side + k) * step) : (Vec){0};
}

INLINE void store_points(int side, float *p, ptrdiff_t step, const Vec *from)
{
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int k = 0; k < MAX_POINTS; k++) if (i < side && k < side)
            store(p + (i * side + k) * step, from[i * MAX_POINTS + k]);
}

/* ---- where tiles lie
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
    size_t cell, pixel; /* its first float in x and, channels aside, its first pixel in y */
    Square cells, outputs;
} Tile;

/* Tile t of its kind, counted over all images. */
INLINE Tile tile_at(Winograd w, int kind, int t)
{
    const Conv c = w.c;
    const int across = tiles_across(w, kind & OVER_RIGHT), in_image = t % tiles_of_kind(w, kind),
              image = t / tiles_of_kind(w, kind), inside = tiles_across(w, false) * w.outputs,
              row = kind & OVER_BOTTOM ? inside : in_image / across * w.outputs,
              column = kind & OVER_RIGHT ? inside : in_image % across * w.outputs,
              cells = c.out_side + taps_of(w) - 1;
    const size_t first =
        ((size_t)image * c.side + (size_t)row * c.stride) * c.side + (size_t)column * c.stride;
    return (Tile){
        .cell = first * c.in,
        .pixel = ((size_t)image * c.out_side + (size_t)row) * c.out_side + (size_t)column,
        .cells = {.row_step = (ptrdiff_t)c.stride * c.side * c.in,
                  .step = (ptrdiff_t)c.stride * c.in,
                  .rows = MIN_OF(points_of(w), cells - row),
                  .columns = MIN_OF(points_of(w), cells - column)},
        .outputs = {.row_step = (ptrdiff_t)c.out_side * c.out,
                    .step = c.out,
                    .rows = MIN_OF(w.outputs, c.out_side - row),
                    .columns = MIN_OF(w.outputs, c.out_side - column)},
    };
}

/* Where channel k of a cell lies from the cell's first: a cell is `stride` runs of stride * in floats. */
INLINE ptrdiff_t in_cell(Winograd w, int k)
{
    const int run = w.c.stride * w.c.in;
    return (ptrdiff_t)(k / run) * w.c.side * w.c.in + k % run;
}

/* The row of the weight for channel k of the cell under tap (row, column). */
INLINE int weight_row(Winograd w, int row, int column, int k)
{
    const Conv c = w.c;
    const int run = c.stride * c.in;
    return ((row * c.stride + k / run) * c.kernel + column * c.stride) * c.in + k % run;
}

/* What a cell's or an output's square is, whole where that is known, so that nothing is asked of it. */
INLINE Square whole(Square s, int side)
{
    s.rows = s.columns = side;
    return s;
}

/* Points of the cells' channels [first, last) of one tile: B' d B. */
INLINE void points_of_cells(Winograd w, const float *x, Square cells, int first, int last, float *to,
                            ptrdiff_t point_step)
{
    Vec d[MAX_SQUARE], v[MAX_SQUARE];
    for (int k = first; k < last; k += LANES) {
        load_square(points_of(w), x + in_cell(w, k), cells, d);
        transform(&filtering_of(w)->input, false, d, v);
        store_points(points_of(w), to + (k - first), point_step, v);
    }
}

INLINE void cells_to_points(Winograd w, int kind, const float *x, const Tile *tile, int first, int last,
                            float *to, ptrdiff_t point_step)
{
    if (kind == 0)
        points_of_cells(w, x + tile->cell, whole(tile->cells, points_of(w)), first, last, to, point_step);
    else
        points_of_cells(w, x + tile->cell, tile->cells, first, last, to, point_step);
}

/* Points of a tile of dy, channels [channel, channel + LANES): A dy A'. */
INLINE void outputs_to_points(Winograd w, int kind, const float *dy, const Tile *tile, int channel, float *to,
                              ptrdiff_t point_step)
{
    Vec d[MAX_SQUARE], v[MAX_SQUARE];
    const float *from = dy + tile->pixel * (size_t)w.c.out + channel;
    if (kind == 0)
        load_square(w.outputs, from, whole(tile->outputs, w.outputs), d);
    else
        load_square(w.outputs, from, tile->outputs, d);
    transform(&filtering_of(w)->output, true, d, v);
    store_points(points_of(w), to, point_step, v);
}

/* ---- the weight
 * ------------------------------------------------------------------------------------------------ */

/* G g G' of channel k of the cells and LANES channels of y from `column` on. */
INLINE void filter_points(Winograd w, const float *weight, int k, int column, Vec *points)
{
    Vec g[MAX_SQUARE];
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int l = 0; l < MAX_POINTS; l++) if (i < taps_of(w) && l < taps_of(w))
            g[i * MAX_POINTS + l] = load(weight + (size_t)weight_row(w, i, l, k) * w.c.out + column);
    transform(&filtering_of(w)->filter, false, g, points);
}

/* One panel of every point's (depth, out): packed[point][panel][depth][PANEL]. */
INLINE void winograd_pack(Winograd w, const float *weight, int panel, float *packed)
{
    const int depth = depth_of(w);
    const ptrdiff_t point_step = (ptrdiff_t)PANELS(w.c.out) * depth * PANEL;
    float *to = packed + (size_t)panel * depth * PANEL;
    for (int k = 0; k < depth; k++, to += PANEL)
        for (int i = 0; i < PANEL; i += LANES) {
            Vec points[MAX_SQUARE] = {{0}};
            if (panel * PANEL + i < w.c.out)
                filter_points(w, weight, k, panel * PANEL + i, points);
            store_points(points_of(w), to + i, point_step, points);
        }
}

/* As filter_points, of LANES channels of the cells from k on and one of y. */
INLINE void filter_points_of_rows(Winograd w, const float *weight, int k, int column, Vec *points)
{
    Vec g[MAX_SQUARE];
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int l = 0; l < MAX_POINTS; l++) if (i < taps_of(w) && l < taps_of(w))
    {
        float lanes[LANES];
        UNROLL for (int lane = 0; lane < LANES; lane++) lanes[lane] =
            weight[(size_t)(weight_row(w, i, l, k) + lane) * w.c.out + column];
        g[i * MAX_POINTS + l] = load(lanes);
    }
    transform(&filtering_of(w)->filter, false, g, points);
}

/* One panel of every point's (out, depth): packed[point][panel][out][PANEL]. */
INLINE void winograd_pack_transposed(Winograd w, const float *weight, int panel, float *packed)
{
    const ptrdiff_t point_step = (ptrdiff_t)PANELS(depth_of(w)) * w.c.out * PANEL;
    float *to = packed + (size_t)panel * w.c.out * PANEL;
    for (int i = 0; i < PANEL; i += LANES)
        for (int column = 0; column < w.c.out; column++) {
            Vec points[MAX_SQUARE] = {{0}};
            if (panel * PANEL + i < depth_of(w))
                filter_points_of_rows(w, weight, panel * PANEL + i, column, points);
            store_points(points_of(w), to + (ptrdiff_t)column * PANEL + i, point_step, points);
        }
}

/* ---- the three products
 * ------------------------------------------------------------------------------------------------ */

/* A point's product as a 1x1 convolution. */
INLINE Conv point_product(Winograd w)
{
    return (Conv){.in = depth_of(w), .out = w.c.out, .kernel = 1, .stride = 1};
}

/* The tail of LANES channels of a tile. */
INLINE void store_outputs(Winograd w, const ConvJob *j, int tail, Square s, size_t at, int channel,
                          const Vec *y)
{
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int k = 0; k < MAX_POINTS;
                    k++) if (i < w.outputs && k < w.outputs && i < s.rows && k < s.columns)
    {
        const size_t to = at + (size_t)(i * s.row_step + k * s.step);
        tail_vector(tail, j->y + to, y[i * MAX_POINTS + k], tail & TAIL_BIAS ? j->bias + channel : NULL,
                    tail & TAIL_ADD ? j->addend + to : NULL, NULL);
    }
}

/* Y = A' m A of LANES channels of a tile, then the tail. */
INLINE void points_to_outputs(Winograd w, int kind, const float *m, ptrdiff_t m_step, const ConvJob *j,
                              int tail, Square outputs, size_t at, int channel)
{
    Vec points[MAX_SQUARE], y[MAX_SQUARE];
    load_points(w, kind, m, m_step, points);
    transform(&filtering_of(w)->output, false, points, y);
    store_outputs(w, j, tail, outputs, at, channel, y);
}

/* Tiles [first, last) of a kind. Scratch: TILE_BLOCK tiles' points of the cells, then of the outputs. */
INLINE void winograd_conv_kind(Winograd w, const ConvJob *j, float *scratch, int tail, int kind, int first,
                               int last)
{
    const int depth = depth_of(w), square = square_of(w);
    const ptrdiff_t v_step = (ptrdiff_t)TILE_BLOCK * depth, m_step = (ptrdiff_t)TILE_BLOCK * w.c.out,
                    packed_step = (ptrdiff_t)PANELS(w.c.out) * depth * PANEL;
    float *const v = scratch, *const m = scratch + square * v_step;
    for (int block = first; block < last; block += TILE_BLOCK) {
        const int tiles = MIN_OF(TILE_BLOCK, last - block);
        for (int t = 0; t < tiles; t++) {
            const Tile tile = tile_at(w, kind, block + t);
            cells_to_points(w, kind, j->x, &tile, 0, depth, v + (ptrdiff_t)t * depth, v_step);
        }
        for (int p = 0; p < square; p++) {
            if (!has_point(w, kind, p))
                continue;
            const ConvJob product = {
                .x = v + p * v_step, .y = m + p * m_step, .packed = j->packed + p * packed_step};
            conv_rows(point_product(w), &product, 0, 0, tiles);
        }
        for (int t = 0; t < tiles; t++) {
            const Tile tile = tile_at(w, kind, block + t);
            for (int channel = 0; channel < w.c.out; channel += LANES) {
                const float *from = m + (ptrdiff_t)t * w.c.out + channel;
                const size_t at = tile.pixel * (size_t)w.c.out + (size_t)channel;
                if (kind == 0)
                    points_to_outputs(w, 0, from, m_step, j, tail, whole(tile.outputs, w.outputs), at,
                                      channel);
                else
                    points_to_outputs(w, kind, from, m_step, j, tail, tile.outputs, at, channel);
            }
        }
    }
}

/* Tiles [first, last) of all. */
INLINE void winograd_conv(Winograd w, const ConvJob *j, float *scratch, int tail, int first, int last)
{
    ROLLED for (int kind = 0, begin = 0, end; kind < TILE_KINDS; kind++, begin = end)
    {
        end = begin + w.c.images * tiles_of_kind(w, kind);
        winograd_conv_kind(w, j, scratch, tail, kind, MAX_OF(first, begin) - begin,
                           MIN_OF(last, end) - begin);
    }
}

/* Adds LANES channels of a tile to its cells. */
INLINE void add_cells(Winograd w, Square s, float *dx, const Vec *d)
{
    UNROLL for (int i = 0; i < MAX_POINTS; i++)
        UNROLL for (int k = 0; k < MAX_POINTS;
                    k++) if (i < points_of(w) && k < points_of(w) && i < s.rows && k < s.columns)
    {
        float *to = dx + i * s.row_step + k * s.step;
        store(to, load(to) + d[i * MAX_POINTS + k]);
    }
}

/* Adds B v B' of LANES channels of a tile to its cells. */
INLINE void points_to_cells(Winograd w, int kind, const float *v, ptrdiff_t v_step, Square cells, float *dx)
{
    Vec points[MAX_SQUARE], d[MAX_SQUARE];
    load_points(w, kind, v, v_step, points);
    transform(&filtering_of(w)->input, true, points, d);
    add_cells(w, cells, dx, d);
}

/* What tiles [first, last) of a kind add to dx. Scratch as for winograd_conv. */
INLINE void winograd_grad_x_kind(Winograd w, const ConvGradXJob *j, float *scratch, int kind, int first,
                                 int last)
{
    const int depth = depth_of(w), square = square_of(w);
    const ptrdiff_t v_step = (ptrdiff_t)TILE_BLOCK * depth, m_step = (ptrdiff_t)TILE_BLOCK * w.c.out,
                    packed_step = (ptrdiff_t)PANELS(depth) * w.c.out * PANEL;
    float *const v = scratch, *const m = scratch + square * v_step;
    for (int block = first; block < last; block += TILE_BLOCK) {
        const int tiles = MIN_OF(TILE_BLOCK, last - block);
        for (int t = 0; t < tiles; t++) {
            const Tile tile = tile_at(w, kind, block + t);
            for (int channel = 0; channel < w.c.out; channel += LANES)
                outputs_to_points(w, kind, j->dy, &tile, channel, m + (ptrdiff_t)t * w.c.out + channel,
                                  m_step);
        }
        for (int p = 0; p < square; p++) {
            if (!has_point(w, kind, p))
                continue;
            const ConvGradXJob product = {
                .dy = m + p * m_step, .dx = v + p * v_step, .packed = j->packed + p * packed_step};
            conv_grad_x_pixels(point_product(w), &product, 0, 0, tiles);
        }
        for (int t = 0; t < tiles; t++) {
            const Tile tile = tile_at(w, kind, block + t);
            for (int k = 0; k < depth; k += LANES) {
                const float *from = v + (ptrdiff_t)t * depth + k;
                float *dx = j->dx + tile.cell + in_cell(w, k);
                if (kind == 0)
                    points_to_cells(w, 0, from, v_step, whole(tile.cells, points_of(w)), dx);
                else
                    points_to_cells(w, kind, from, v_step, tile.cells, dx);
            }
        }
    }
}

/* dx of images [first, last). */
INLINE void winograd_grad_x(Winograd w, const ConvGradXJob *j, float *scratch, int tail, int first, int last)
{
    conv_grad_x_begin(w.c, j, tail, first, last);
    ROLLED for (int kind = 0; kind < TILE_KINDS; kind++) winograd_grad_x_kind(
        w, j, scratch, kind, first * tiles_of_kind(w, kind), last * tiles_of_kind(w, kind));
    conv_grad_x_end(w.c, j, tail, first, last);
}

/* Adds the tiles of a kind to rows [row0, row1) of every point's dw, points[point][depth][out]: sums over
 * blocks of tiles, in order. begun[point]: something is there already. */
INLINE void winograd_grad_w_kind(Winograd w, const ConvGradWJob *j, float *scratch, int kind, int row0,
                                 int row1, bool begun[MAX_SQUARE])
{
    const int square = square_of(w), all = w.c.images * tiles_of_kind(w, kind), rows = row1 - row0,
              row_tiles = CEIL_DIV(rows, ROWS);
    const ptrdiff_t v_step = (ptrdiff_t)TILE_SUM_BLOCK * rows,
                    m_step = (ptrdiff_t)TILE_SUM_BLOCK * PANEL * PANELS(w.c.out);
    float *const v = scratch, *const m = scratch + square * v_step;
    for (int block = 0; block < all; block += TILE_SUM_BLOCK) {
        const int tiles = MIN_OF(TILE_SUM_BLOCK, all - block);
        for (int t = 0; t < tiles; t++) {
            const Tile tile = tile_at(w, kind, block + t);
            cells_to_points(w, kind, j->x, &tile, row0, row1, v + (ptrdiff_t)t * rows, v_step);
            for (int i = 0; i < w.c.out; i += LANES)
                outputs_to_points(w, kind, j->dy, &tile, i,
                                  m + ((ptrdiff_t)(i / PANEL) * TILE_SUM_BLOCK + t) * PANEL + i % PANEL,
                                  m_step);
        }
        for (int p = 0; p < square; p++) {
            if (!has_point(w, kind, p))
                continue;
            const float *x[TILE_SUM_BLOCK];
            float *const dw = j->partial + ((size_t)p * depth_of(w) + (size_t)row0) * w.c.out;
            for (int t = 0; t < tiles; t++)
                x[t] = v + p * v_step + (ptrdiff_t)t * rows;
            for (int panel = 0; panel < PANELS(w.c.out); panel++)
                for (int tile = 0; tile < row_tiles; tile++) {
                    const int row = piece(rows, tile, row_tiles), column = panel * PANEL;
                    grad_w_rows(piece(rows, tile + 1, row_tiles) - row, x, x, (size_t)row,
                                m + p * m_step + (ptrdiff_t)panel * TILE_SUM_BLOCK * PANEL, tiles,
                                dw + (size_t)row * w.c.out + column, w.c.out, MIN_OF(PANEL, w.c.out - column),
                                !begun[p]);
                }
            begun[p] = true;
        }
    }
}

/* A point that no kind of tile has is zero. */
INLINE void winograd_grad_w_points(Winograd w, const ConvGradWJob *j, float *scratch, int row0, int row1)
{
    bool begun[MAX_SQUARE] = {false};
    ROLLED for (int kind = 0; kind < TILE_KINDS; kind++)
        winograd_grad_w_kind(w, j, scratch, kind, row0, row1, begun);
    for (int p = 0; p < square_of(w); p++)
        if (!begun[p])
            memset(j->partial + ((size_t)p * depth_of(w) + (size_t)row0) * w.c.out, 0,
                   sizeof(float) * (size_t)(row1 - row0) * w.c.out);
}

/* dw = G' points G of rows [row0, row1). */
INLINE void winograd_grad_w_taps(Winograd w, const ConvGradWJob *j, int row0, int row1)
{
    const ptrdiff_t point_step = (ptrdiff_t)depth_of(w) * w.c.out;
    for (int k = row0; k < row1; k++)
        for (int column = 0; column < w.c.out; column += LANES) {
            Vec points[MAX_SQUARE], g[MAX_SQUARE];
            load_points(w, 0, j->partial + (size_t)k * w.c.out + column, point_step, points);
            transform(&filtering_of(w)->filter, true, points, g);
            UNROLL for (int i = 0; i < MAX_POINTS; i++)
                UNROLL for (int l = 0; l < MAX_POINTS; l++) if (i < taps_of(w) && l < taps_of(w))
            {
                float *dw = j->dw + (size_t)weight_row(w, i, l, k) * w.c.out + column;
                store(dw, j->more ? (Vec)(load(dw) + g[i * MAX_POINTS + l]) : g[i * MAX_POINTS + l]);
            }
        }
}

/* The points of part `part` of `parts` of dw, cut by the cells' channels. Each makes the points of all of dy
 * anew. Scratch: TILE_SUM_BLOCK tiles' points of the part's channels of the cells, and of dy in panels. */
INLINE void winograd_grad_w(Winograd w, const ConvGradWJob *j, float *scratch, int part, int parts)
{
    const int lines = depth_of(w) / LINE;
    winograd_grad_w_points(w, j, scratch, LINE * piece(lines, part, parts),
                           LINE * piece(lines, part + 1, parts));
}

/* That part of dw. */
INLINE void winograd_grad_w_end(Winograd w, const ConvGradWJob *j, int part, int parts)
{
    const int lines = depth_of(w) / LINE;
    winograd_grad_w_taps(w, j, LINE * piece(lines, part, parts), LINE * piece(lines, part + 1, parts));
}

#endif
