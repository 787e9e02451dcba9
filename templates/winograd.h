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
 * the channels make one product, (tiles, depth) . (depth, out), by the kernels of vectors.h. Backward passes
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

/* ---- transforms ---- */

/* B', G and A' of F(m, r): m outputs of r taps, from m + r - 1 points. */
static const float INPUT_2_2[3][3] = {{1, -1, 0}, {0, 1, 0}, {0, -1, 1}};
static const float FILTER_2_2[3][2] = {{1, 0}, {1, 1}, {0, 1}};
static const float OUTPUT_2_2[2][3] = {{1, 1, 0}, {0, 1, 1}};

static const float INPUT_3_2[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};
static const float FILTER_3_2[4][2] = {{1, 0}, {0.5f, 0.5f}, {0.5f, -0.5f}, {0, 1}};
static const float OUTPUT_3_2[3][4] = {{1, 1, 1, 0}, {0, 1, -1, 0}, {0, 1, 1, 1}};

static const float INPUT_2_3[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};
static const float FILTER_2_3[4][3] = {{1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}};
static const float OUTPUT_2_3[2][4] = {{1, 1, 1, 0}, {0, 1, -1, 1}};

/* Of the points 0, -1, 1/2, 2 and infinity, which lose the least of those tried. */
static const float INPUT_3_3[5][5] = {{1, -1.5f, -1.5f, 1, 0},
                                      {0, 1, -2.5f, 1, 0},
                                      {0, -2, -1, 1, 0},
                                      {0, -0.5f, 0.5f, 1, 0},
                                      {0, 1, -1.5f, -1.5f, 1}};
static const float FILTER_3_3[5][3] = {{1, 0, 0},
                                       {-2.0f / 9, 2.0f / 9, -2.0f / 9},
                                       {-8.0f / 9, -4.0f / 9, -2.0f / 9},
                                       {1.0f / 9, 2.0f / 9, 4.0f / 9},
                                       {0, 0, 1}};
static const float OUTPUT_3_3[3][5] = {{1, 1, 1, 1, 0}, {0, -1, 0.5f, 2, 0}, {0, 1, 0.25f, 4, 1}};

/* Where a square of channels lies in memory: (row, column) at `at` + row * row_step + column * step, of which
 * `rows` and `columns` are there; the others are zeros to read, and are not written. */
typedef struct {
    float *at;
    ptrdiff_t row_step, step;
    int height, width;
} Place;

/* A whole one. */
INLINE Place place(const float *at, ptrdiff_t row_step, ptrdiff_t step)
{
    return (Place){(float *)(uintptr_t)at, row_step, step, MAX_POINTS, MAX_POINTS};
}

/* The same square elsewhere. */
INLINE Place place_at(Place p, const float *at)
{
    p.at = (float *)(uintptr_t)at;
    return p;
}

/* to (+)= M from M' of `channels`, whole vectors of them; added if there is `more`. */
typedef void TransformSquare(const Place *from, const Place *to, int channels, bool more);

/* What is text here, not a function, would be optimised on its own first, for any matrix, in vain. */
#define BY_ROW(matrix, i, l)    (matrix)[i][l]
#define BY_COLUMN(matrix, i, l) (matrix)[l][i]

/* sum = sum over l < count of coefficient * term; zeros cost nothing. */
#define COMBINE(sum, coefficient, term, count)                                                               \
    do {                                                                                                     \
        Vec sum_ = {0};                                                                                      \
        bool begun_ = false;                                                                                 \
        UNROLL for (int l = 0; l < (count); l++)                                                             \
        {                                                                                                    \
            const float by_ = coefficient;                                                                   \
            if (by_ == 0)                                                                                    \
                continue;                                                                                    \
            sum_ = begun_ ? sum_ + by_ * (term) : by_ * (term);                                              \
            begun_ = true;                                                                                   \
        }                                                                                                    \
        (sum) = sum_;                                                                                        \
    } while (0)

#define EACH_OF(rows, columns, i, k)                                                                         \
    UNROLL for (int i = 0; i < (rows); i++) UNROLL for (int k = 0; k < (columns); k++)

INLINE void store_more(bool more, float *to, Vec v)
{
    store(to, more ? (Vec)(load(to) + v) : v);
}

/* A function for a matrix M (rows, columns), or the transposed of one, BY_COLUMN, of what lies as numbers of
 * a type. */
#define DEFINE_TRANSFORM(name, Number, load_numbers, order, matrix, rows, columns)                           \
    SHARED void name(const Place *from, const Place *to, int channels, bool more)                            \
    {                                                                                                        \
        const Place in = *from, out = *to; /* for all a compiler knows, vectors are stored in them */        \
        ROLLED for (int c = 0; c < channels; c += LANES)                                                     \
        {                                                                                                    \
            Vec square[(columns) * (columns)], half[(rows) * (columns)], result[(rows) * (rows)];            \
            const Number *source = (const Number *)(const void *)in.at + c;                                  \
            float *target = out.at + c;                                                                      \
            if (in.height >= (columns) && in.width >= (columns))                                             \
                UNROLL for (int i = 0; i < (columns); i++, source += in.row_step)                            \
                {                                                                                            \
                    OPAQUE_POINTER(source);                                                                  \
                    UNROLL for (int k = 0; k < (columns); k++) square[i * (columns) + k] =                   \
                        load_numbers(source + k * in.step);                                                  \
                }                                                                                            \
            else                                                                                             \
                EACH_OF(columns, columns, i, k)                                                              \
            square[i * (columns) + k] = i < in.height && k < in.width                                        \
                                            ? load_numbers(source + i * in.row_step + k * in.step)           \
                                            : (Vec){0};                                                      \
            EACH_OF(rows, columns, i, k)                                                                     \
            COMBINE(half[i * (columns) + k], order(matrix, i, l), square[l * (columns) + k], columns);       \
            EACH_OF(rows, rows, i, k)                                                                        \
            COMBINE(result[i * (rows) + k], order(matrix, k, l), half[i * (columns) + l], columns);          \
            if (out.height >= (rows) && out.width >= (rows))                                                 \
                UNROLL for (int i = 0; i < (rows); i++, target += out.row_step)                              \
                {                                                                                            \
                    OPAQUE_POINTER(target);                                                                  \
                    UNROLL for (int k = 0; k < (rows); k++)                                                  \
                        store_more(more, target + k * out.step, result[i * (rows) + k]);                     \
                }                                                                                            \
            else                                                                                             \
                EACH_OF(rows, rows, i, k)                                                                    \
            if (i < out.height && k < out.width)                                                             \
                store_more(more, target + i * out.row_step + k * out.step, result[i * (rows) + k]);          \
        }                                                                                                    \
    }

typedef struct {
    int taps;                                               /* r */
    TransformSquare *cells_to_points, *points_to_cells;     /* B' d B; of gradients B v B' */
    TransformSquare *taps_to_points, *points_to_taps;       /* G g G'; of gradients G' v G */
    TransformSquare *points_to_outputs, *outputs_to_points; /* A' m A; of gradients A dy A' */
} Transforms;

#define DEFINE_TRANSFORMS(m, r)                                                                              \
    DEFINE_TRANSFORM(cells_to_points_##m##_##r, Activation, load_activations, BY_ROW, INPUT_##m##_##r,       \
                     m + r - 1, m + r - 1)                                                                   \
    DEFINE_TRANSFORM(points_to_cells_##m##_##r, float, load, BY_COLUMN, INPUT_##m##_##r, m + r - 1,          \
                     m + r - 1)                                                                              \
    DEFINE_TRANSFORM(taps_to_points_##m##_##r, float, load, BY_ROW, FILTER_##m##_##r, m + r - 1, r)          \
    DEFINE_TRANSFORM(points_to_taps_##m##_##r, float, load, BY_COLUMN, FILTER_##m##_##r, r, m + r - 1)       \
    DEFINE_TRANSFORM(points_to_outputs_##m##_##r, float, load, BY_ROW, OUTPUT_##m##_##r, m, m + r - 1)       \
    DEFINE_TRANSFORM(outputs_to_points_##m##_##r, Activation, load_activations, BY_COLUMN, OUTPUT_##m##_##r, \
                     m + r - 1, m)                                                                           \
    __attribute__((unused)) static const Transforms TRANSFORMS_##m##_##r = {                                 \
        r,                                                                                                   \
        cells_to_points_##m##_##r,                                                                           \
        points_to_cells_##m##_##r,                                                                           \
        taps_to_points_##m##_##r,                                                                            \
        points_to_taps_##m##_##r,                                                                            \
        points_to_outputs_##m##_##r,                                                                         \
        outputs_to_points_##m##_##r,                                                                         \
    };
DEFINE_TRANSFORMS(2, 2)
DEFINE_TRANSFORMS(3, 2)
DEFINE_TRANSFORMS(2, 3)
DEFINE_TRANSFORMS(3, 3)

/* ---- the shape ---- */

typedef struct {
    Conv c;
    int outputs; /* m: a tile's side in y */
    const Transforms *by;
} Winograd;

/* In a program's lines: the outputs and transforms of F(m, r). Functions of those that no line names are not
 * compiled. */
#define F(m, r) m, &TRANSFORMS_##m##_##r

/* The same where they are not known beforehand. */
INLINE Winograd winograd_of(Conv c, int outputs)
{
    const bool two = c.kernel / c.stride == 2;
    return outputs == 2 ? (Winograd){c, 2, two ? &TRANSFORMS_2_2 : &TRANSFORMS_2_3}
                        : (Winograd){c, 3, two ? &TRANSFORMS_3_2 : &TRANSFORMS_3_3};
}

INLINE int points_of(Winograd w)
{
    return w.outputs + w.by->taps - 1;
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

/* ---- where tiles lie ---- */

typedef struct {
    size_t cell, pixel;   /* its first float in x and, channels aside, its first pixel in y */
    Place cells, outputs; /* their first channels aside */
} Tile;

/* Tile t of its kind, counted over all images. */
INLINE Tile tile_at(Winograd w, int kind, int t)
{
    const Conv c = w.c;
    const int across = tiles_across(w, kind & OVER_RIGHT), in_image = t % tiles_of_kind(w, kind),
              image = t / tiles_of_kind(w, kind), inside = tiles_across(w, false) * w.outputs,
              row = kind & OVER_BOTTOM ? inside : in_image / across * w.outputs,
              column = kind & OVER_RIGHT ? inside : in_image % across * w.outputs,
              cells = c.out_side + w.by->taps - 1;
    const size_t first =
        ((size_t)image * c.side + (size_t)row * c.stride) * c.side + (size_t)column * c.stride;
    return (Tile){
        .cell = first * c.in,
        .pixel = ((size_t)image * c.out_side + (size_t)row) * c.out_side + (size_t)column,
        .cells = {.row_step = (ptrdiff_t)c.stride * c.side * c.in,
                  .step = (ptrdiff_t)c.stride * c.in,
                  .height = MIN_OF(points_of(w), cells - row),
                  .width = MIN_OF(points_of(w), cells - column)},
        .outputs = {.row_step = (ptrdiff_t)c.out_side * c.out,
                    .step = c.out,
                    .height = MIN_OF(w.outputs, c.out_side - row),
                    .width = MIN_OF(w.outputs, c.out_side - column)},
    };
}

/* Where a vector of a cell's channels lies from the cell's first: a cell is `stride` runs of stride * in
 * floats. */
typedef struct {
    ptrdiff_t at;
    int left; /* of the run */
} Channels;

INLINE Channels channels_from(Winograd w, int k)
{
    const int run = w.c.stride * w.c.in;
    return (Channels){(ptrdiff_t)(k / run) * w.c.side * w.c.in + k % run, run - k % run};
}

/* Points of the cells' channels [first, last) of one tile. */
SHARED void points_of_cells(const Winograd *w, const Activation *x, const Tile *tile, int first, int last,
                            float *to, ptrdiff_t point_step)
{
    ROLLED for (int k = first, run; k < last; k += run)
    {
        const Channels c = channels_from(*w, k);
        const Place cells = place_at(tile->cells, (const void *)(x + tile->cell + c.at)),
                    points = place(to + (k - first), points_of(*w) * point_step, point_step);
        run = MIN_OF(c.left, last - k);
        w->by->cells_to_points(&cells, &points, run, false);
    }
}

/* Points of `channels` of one tile of dy. */
SHARED void points_of_outputs(const Winograd *w, const Activation *dy, const Tile *tile, int channel,
                              int channels, float *to, ptrdiff_t point_step)
{
    const Place outputs =
                    place_at(tile->outputs, (const void *)(dy + tile->pixel * (size_t)w->c.out + channel)),
                points = place(to, points_of(*w) * point_step, point_step);
    w->by->outputs_to_points(&outputs, &points, channels, false);
}

/* ---- the weight ---- */

/* Channel k of a cell under the first tap, and the taps' steps, in a weight whose rows are `out` floats. */
INLINE Place taps_of(Winograd w, const float *weight, int k)
{
    const Conv c = w.c;
    const int run = c.stride * c.in, row = k / run * c.kernel * c.in + k % run;
    const ptrdiff_t step = (ptrdiff_t)c.stride * c.in * c.out;
    return place(weight + (ptrdiff_t)row * c.out, c.kernel * step, step);
}

/* From one point's packed (depth, columns) to the next's. */
INLINE ptrdiff_t packed_step_of(int depth, int columns)
{
    return PLANE_STEP(PANELS(columns) * PANEL_FLOATS(depth));
}

/* From one point's gradient of the weight to the next's. */
INLINE ptrdiff_t dw_step_of(const Winograd *w)
{
    return PLANE_STEP((ptrdiff_t)depth_of(*w) * w->c.out);
}

/* Panel `panel` of every point's (depth, out): packed[point][panel][depth][PANEL]. */
SHARED void pack_points(const Winograd *w, const float *weight, int panel, float *packed)
{
    const int depth = depth_of(*w), side = points_of(*w), column = panel * PANEL,
              width = MIN_OF(PANEL, w->c.out - column);
    const ptrdiff_t point_step = packed_step_of(depth, w->c.out);
    ROLLED for (int k = 0; k < depth; k++)
    {
        float *to = packed + ((ptrdiff_t)panel * depth + k) * PANEL;
        const Place taps = taps_of(*w, weight + column, k), points = place(to, side * point_step, point_step);
        w->by->taps_to_points(&taps, &points, width, false);
        for (int p = 0; width < PANEL && p < side * side; p++)
            memset(to + p * point_step + width, 0, sizeof(float) * (size_t)(PANEL - width));
    }
}

/* A vector of cells' channels, from k on, of LANES channels of y: (taps, channel of y, LANES). */
SHARED void gather_taps(const Winograd *w, const float *weight, int k, float *to)
{
    const Place taps = taps_of(*w, weight, k);
    ROLLED for (int tap = 0; tap < w->by->taps * w->by->taps; tap++, to += LANES * LANES)
    {
        const float *from = taps.at + tap / w->by->taps * taps.row_step + tap % w->by->taps * taps.step;
        ROLLED for (int lane = 0; lane < LANES; lane++, from += w->c.out)
            SCALAR for (int i = 0; i < LANES; i++) to[i * LANES + lane] = from[i];
    }
}

/* Panel `panel` of every point's (out, depth): packed[point][panel][out][PANEL]. */
SHARED void pack_points_transposed(const Winograd *w, const float *weight, int panel, float *packed)
{
    enum { SQUARE = LANES * LANES };
    const int out = w->c.out, side = points_of(*w), taps = w->by->taps;
    const ptrdiff_t point_step = packed_step_of(out, depth_of(*w));
    float gathered[MAX_SQUARE * SQUARE];
    ROLLED for (int i = 0; i < PANEL; i += LANES) ROLLED for (int column = 0; column < out; column += LANES)
    {
        float *to = packed + ((ptrdiff_t)panel * out + column) * PANEL + i;
        if (panel * PANEL + i < depth_of(*w))
            gather_taps(w, weight + column, panel * PANEL + i, gathered);
        else
            memset(gathered, 0, sizeof gathered);
        ROLLED for (int k = 0; k < LANES; k++, to += PANEL)
        {
            const Place from = place(gathered + k * LANES, taps * SQUARE, SQUARE),
                        points = place(to, side * point_step, point_step);
            w->by->taps_to_points(&from, &points, LANES, false);
        }
    }
}

INLINE void winograd_pack(Winograd w, const float *weight, int panel, float *packed)
{
    pack_points(&w, weight, panel, packed);
}

INLINE void winograd_pack_transposed(Winograd w, const float *weight, int panel, float *packed)
{
    pack_points_transposed(&w, weight, panel, packed);
}

/* ---- the three products ---- */

/* result (tiles, columns) = left (tiles, depth) . packed. A block's rows are few, and the points of a large
 * weight more than an L2 holds, so that each panel comes from the L3. Wide units are done with one sooner
 * than the processor brings the next unasked: there the first tiles prefetch it, or `next` while the last
 * panel is multiplied. */
SHARED void point_rows(const float *left, float *packed, const float *next, int depth, int columns, int tiles,
                       float *result)
{
    const Conv c = {.in = depth, .out = columns, .kernel = 1, .stride = 1};
    const ConvJob j = {.x = left, .packed = packed, .y = result};
    if (!WIDE_UNITS) {
        conv_rows(c, &j, TAIL_NONE, 0, tiles);
        return;
    }
    ROLLED for (int panel = 0; panel < PANELS(columns); panel++, packed += PANEL_FLOATS(depth))
    {
        const float *const ahead = panel + 1 < PANELS(columns) ? packed + PANEL_FLOATS(depth) : next;
        ROLLED for (int p = 0, line = 0; p < tiles; p += ROWS, line += LINE)
        {
            Target t = conv_target(c, &j, TAIL_NONE, p, tiles, panel);
            t.ahead = line < PANEL ? ahead + (ptrdiff_t)line * depth : NULL;
            tile_of_rows(TAIL_NONE, left + (ptrdiff_t)p * depth, depth, depth, packed, &t);
        }
    }
}

/* A tile's outputs, from where they lie at m, rows `row_step` apart; then the tail. */
SHARED void store_outputs(const Winograd *w, const MapConvJob *j, int tail, const Tile *tile, const Place *m)
{
    const Place s = tile->outputs;
    const MapConvJob job = *j; /* for all a compiler knows, vectors are stored in it */
    const int out = w->c.out;
    ROLLED for (int i = 0; i < s.height; i++) ROLLED for (int k = 0; k < s.width; k++)
    {
        const float *from = m->at + i * m->row_step + k * m->step;
        const size_t at = tile->pixel * (size_t)out + (size_t)(i * s.row_step + k * s.step);
        ROLLED for (int channel = 0; channel < out; channel += LANES)
        {
            const size_t to = at + (size_t)channel;
            tail_activations(tail, job.y + to, load(from + channel),
                             tail & TAIL_BIAS ? job.bias + channel : NULL,
                             tail & TAIL_ADD ? job.addend + to : NULL, NULL);
        }
    }
}

/* Tiles [first, last) of a kind. Scratch: TILE_BLOCK tiles' points of the cells, then of the outputs, whose
 * place the outputs take. */
SHARED void conv_kind(const Winograd *w, const MapConvJob *j, float *scratch, int tail, int kind, int first,
                      int last)
{
    const int depth = depth_of(*w), side = points_of(*w), square = side * side, out = w->c.out;
    const ptrdiff_t v_step = PLANE_STEP((ptrdiff_t)TILE_BLOCK * depth),
                    m_step = PLANE_STEP((ptrdiff_t)TILE_BLOCK * out),
                    packed_step = packed_step_of(depth, out);
    float *const v = scratch, *const m = scratch + square * v_step;
    ROLLED for (int block = first; block < last; block += TILE_BLOCK)
    {
        const int tiles = MIN_OF(TILE_BLOCK, last - block);
        ROLLED for (int t = 0; t < tiles; t++)
        {
            const Tile tile = tile_at(*w, kind, block + t);
            points_of_cells(w, j->x, &tile, 0, depth, v + (ptrdiff_t)t * depth, v_step);
        }
        ROLLED for (int p = 0; p < square; p++)
        {
            if (has_point(*w, kind, p))
                point_rows(v + p * v_step, j->packed + p * packed_step,
                           j->packed + (p + 1) % square * packed_step, depth, out, tiles, m + p * m_step);
            else
                memset(m + p * m_step, 0, sizeof(float) * (size_t)tiles * out);
        }
        ROLLED for (int t = 0; t < tiles; t++)
        {
            const Tile tile = tile_at(*w, kind, block + t);
            const Place points = place(m + (ptrdiff_t)t * out, side * m_step, m_step),
                        outputs = place(points.at, w->outputs * m_step, m_step);
            w->by->points_to_outputs(&points, &outputs, out, false);
            store_outputs(w, j, tail, &tile, &outputs);
        }
    }
}

/* Tiles [first, last) of all. */
INLINE void winograd_conv(Winograd w, const MapConvJob *j, float *scratch, int tail, int first, int last)
{
    ROLLED for (int kind = 0, begin = 0, end; kind < TILE_KINDS; kind++, begin = end)
    {
        end = begin + w.c.images * tiles_of_kind(w, kind);
        conv_kind(&w, j, scratch, tail, kind, MAX_OF(first, begin) - begin, MIN_OF(last, end) - begin);
    }
}

/* What tiles [first, last) of a kind add to dx, in floats. Scratch as for winograd_conv. */
SHARED void grad_x_kind(const Winograd *w, const ConvGradXJob *j, const Activation *dy, float *scratch,
                        int kind, int first, int last)
{
    const int depth = depth_of(*w), side = points_of(*w), square = side * side, out = w->c.out;
    const ptrdiff_t v_step = PLANE_STEP((ptrdiff_t)TILE_BLOCK * depth),
                    m_step = PLANE_STEP((ptrdiff_t)TILE_BLOCK * out),
                    packed_step = packed_step_of(out, depth);
    float *const v = scratch, *const m = scratch + square * v_step;
    ROLLED for (int block = first; block < last; block += TILE_BLOCK)
    {
        const int tiles = MIN_OF(TILE_BLOCK, last - block);
        ROLLED for (int t = 0; t < tiles; t++)
        {
            const Tile tile = tile_at(*w, kind, block + t);
            points_of_outputs(w, dy, &tile, 0, out, m + (ptrdiff_t)t * out, m_step);
        }
        ROLLED for (int p = 0; p < square; p++)
        {
            if (has_point(*w, kind, p))
                point_rows(m + p * m_step, j->packed + p * packed_step,
                           j->packed + (p + 1) % square * packed_step, out, depth, tiles, v + p * v_step);
            else
                memset(v + p * v_step, 0, sizeof(float) * (size_t)tiles * depth);
        }
        ROLLED for (int t = 0; t < tiles; t++)
        {
            const Tile tile = tile_at(*w, kind, block + t);
            ROLLED for (int k = 0, run; k < depth; k += run)
            {
                const Channels c = channels_from(*w, k);
                const Place points = place(v + (ptrdiff_t)t * depth + k, side * v_step, v_step),
                            cells = place_at(tile.cells, j->dx + tile.cell + c.at);
                run = c.left;
                w->by->points_to_cells(&points, &cells, run, true);
            }
        }
    }
}

/* dx of images [first, last), in floats, from dy as it comes. */
INLINE void winograd_grad_x(Winograd w, const ConvGradXJob *j, const Activation *dy, float *scratch, int tail,
                            int first, int last)
{
    conv_grad_x_begin(w.c, j, tail, first, last);
    ROLLED for (int kind = 0; kind < TILE_KINDS; kind++)
        grad_x_kind(&w, j, dy, scratch, kind, first * tiles_of_kind(w, kind), last * tiles_of_kind(w, kind));
    conv_grad_x_end(w.c, j, tail, first, last);
}

/* One point's dw (rows, out): sums over `tiles` tiles of v (tiles, rows) and m, in panels (TILE_SUM_BLOCK,
 * PANEL). */
SHARED void point_sums(const float *v, const float *m, int rows, int tiles, int out, float *dw, bool first)
{
    const int row_tiles = CEIL_DIV(rows, ROWS);
    GradWTile sum = {.dy = m,
                     .step = rows,
                     .dy_step = PANEL,
                     .ahead = {.step = (ptrdiff_t)sizeof(float) * rows, .pixels = tiles},
                     .pixels = tiles,
                     .columns = out,
                     .first = first};
    ROLLED for (int column = 0; column < out; column += PANEL, sum.dy += TILE_SUM_BLOCK * PANEL)
    {
        sum.width = MIN_OF(PANEL, out - column);
        ROLLED for (int tile = 0; tile < row_tiles; tile++)
        {
            const int row = grad_w_row(rows, tile, row_tiles);
            sum.x = v + row;
            sum.ahead.from = (const char *)(sum.x + LINE);
            sum.rows = grad_w_row(rows, tile + 1, row_tiles) - row;
            sum.dw = dw + (size_t)row * out + column;
            grad_w_rows(&sum);
        }
    }
}

/* Adds the tiles of a kind to rows [row0, row1) of every point's dw, points[point][depth][out]: sums over
 * blocks of tiles, in order. begun[point]: something is there already. */
SHARED void grad_w_kind(const Winograd *w, const MapConvGradWJob *j, float *scratch, int kind, int row0,
                        int row1, bool begun[MAX_SQUARE])
{
    const int square = square_of(*w), all = w->c.images * tiles_of_kind(*w, kind), rows = row1 - row0,
              out = w->c.out;
    const ptrdiff_t v_step = PLANE_STEP((ptrdiff_t)TILE_SUM_BLOCK * rows),
                    panel_step = (ptrdiff_t)TILE_SUM_BLOCK * PANEL,
                    m_step = PLANE_STEP(panel_step * PANELS(out)), dw_step = dw_step_of(w);
    float *const v = scratch, *const m = scratch + square * v_step;
    ROLLED for (int block = 0; block < all; block += TILE_SUM_BLOCK)
    {
        const int tiles = MIN_OF(TILE_SUM_BLOCK, all - block);
        ROLLED for (int t = 0; t < tiles; t++)
        {
            const Tile tile = tile_at(*w, kind, block + t);
            points_of_cells(w, j->x, &tile, row0, row1, v + (ptrdiff_t)t * rows, v_step);
            ROLLED for (int i = 0; i < out; i += PANEL)
                points_of_outputs(w, j->dy, &tile, i, MIN_OF(PANEL, out - i),
                                  m + i / PANEL * panel_step + (ptrdiff_t)t * PANEL, m_step);
        }
        ROLLED for (int p = 0; p < square; p++)
        {
            if (!has_point(*w, kind, p))
                continue;
            point_sums(v + p * v_step, m + p * m_step, rows, tiles, out,
                       j->partial + p * dw_step + (ptrdiff_t)row0 * out, !begun[p]);
            begun[p] = true;
        }
    }
}

/* The points of part `part` of `parts` of dw, cut by the cells' channels. Each makes the points of all of dy
 * anew. A point that no kind of tile has is zero. Scratch: TILE_SUM_BLOCK tiles' points of the part's
 * channels of the cells, and of dy in panels. */
SHARED void grad_w_points(const Winograd *w, const MapConvGradWJob *j, float *scratch, int part, int parts)
{
    const int lines = depth_of(*w) / LINE, row0 = LINE * piece(lines, part, parts),
              row1 = LINE * piece(lines, part + 1, parts), out = w->c.out;
    bool begun[MAX_SQUARE] = {false};
    ROLLED for (int kind = 0; kind < TILE_KINDS; kind++) grad_w_kind(w, j, scratch, kind, row0, row1, begun);
    for (int p = 0; p < square_of(*w); p++)
        if (!begun[p])
            memset(j->partial + p * dw_step_of(w) + (ptrdiff_t)row0 * out, 0,
                   sizeof(float) * (size_t)(row1 - row0) * out);
}

/* That part of dw = G' points G. */
SHARED void grad_w_taps(const Winograd *w, const MapConvGradWJob *j, int part, int parts)
{
    const int lines = depth_of(*w) / LINE, out = w->c.out;
    const ptrdiff_t point_step = dw_step_of(w);
    ROLLED for (int k = LINE * piece(lines, part, parts); k < LINE * piece(lines, part + 1, parts); k++)
    {
        const Place points = place(j->partial + (size_t)k * out, points_of(*w) * point_step, point_step),
                    taps = taps_of(*w, j->dw, k);
        w->by->points_to_taps(&points, &taps, out, j->more);
    }
}

INLINE void winograd_grad_w(Winograd w, const MapConvGradWJob *j, float *scratch, int part, int parts)
{
    grad_w_points(&w, j, scratch, part, parts);
}

INLINE void winograd_grad_w_end(Winograd w, const MapConvGradWJob *j, int part, int parts)
{
    grad_w_taps(&w, j, part, parts);
}

#endif
