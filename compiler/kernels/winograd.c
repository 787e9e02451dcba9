/* winograd.c: which convolutions are made by Winograd's minimal filtering (templates/winograd.h), and what
 * memory they need for it. */
#include "amdimc.h"

/* As in templates/winograd.h. */
enum { VECTOR = 16, TILE_BLOCK = 24, TILE_SUM_BLOCK = 64 };

/* A convolution's geometry, whichever of its three products the operation is. */
typedef struct {
    int images, out_side, taps;
    int depth, out; /* of one point's product: channels of a cell of stride x stride pixels, of y */
    int run;        /* floats that lie together in x */
} Geometry;

static Geometry geometry_of(const Op *op)
{
    const Value *x = op->kind == OP_CONV_GRAD_X ? op->out[0] : op->in[0];
    const Value *y = op->kind == OP_CONV ? op->out[0] : op->in[op->kind == OP_CONV_GRAD_X ? 0 : 1];
    return (Geometry){
        .images = x->dims[0],
        .out_side = y->dims[1],
        .taps = op->kernel / op->stride,
        .depth = op->stride * op->stride * x->dims[3],
        .out = y->dims[3],
        .run = op->stride * x->dims[3],
    };
}

static int tiles_across(Geometry g, int outputs)
{
    return (g.out_side + outputs - 1) / outputs;
}

static int square(Geometry g, int outputs)
{
    int points = outputs + g.taps - 1;
    return points * points;
}

/* Products in one dimension of an image: those of a tile, for each tile; a tile that hangs over makes one
 * fewer. */
static int products_across(Geometry g, int outputs)
{
    return tiles_across(g, outputs) * (outputs + g.taps - 1) - (g.out_side % outputs > 0);
}

static bool can_filter(const Op *op, Geometry g)
{
    return op->kernel % op->stride == 0 && (g.taps == 2 || g.taps == 3) && g.run % VECTOR == 0 &&
           g.out % VECTOR == 0;
}

/* Transforms cost a pass over both maps and over the weight: worth it where the products are many, their
 * matrices large, and a quarter of the multiplications goes. A very large weight grows by its points beyond
 * what it saves. */
static bool pays(Geometry g, int outputs)
{
    enum { LEAST_CHANNELS = 64, LEAST_ROWS = 96, LARGEST = 1 << 24 /* floats of the weight's points */ };
    const int now = products_across(g, outputs), before = g.out_side * g.taps;
    const int rows = g.images * tiles_across(g, outputs) * tiles_across(g, outputs);
    return 4.0 * now * now <= 3.0 * before * before && g.depth >= LEAST_CHANNELS && g.out >= LEAST_CHANNELS &&
           rows >= LEAST_ROWS && (double)square(g, outputs) * g.depth * g.out <= LARGEST;
}

int winograd_outputs(const Op *op, bool always)
{
    const Geometry g = geometry_of(op);
    if (!can_filter(op, g))
        return 0;
    int outputs = products_across(g, 3) < products_across(g, 2) ? 3 : 2;
    return always || pays(g, outputs) ? outputs : 0;
}

size_t winograd_tiles(const Op *op)
{
    const size_t across = (size_t)tiles_across(geometry_of(op), op->winograd);
    return across * across;
}

/* Of each kind of tiles: those inside, over one edge (twice), over both. */
size_t winograd_filled_rows(const Op *op, int images)
{
    enum { ROWS = 12 };
    const Geometry g = geometry_of(op);
    const size_t inside = (size_t)(g.out_side / op->winograd), over = g.out_side % op->winograd > 0,
                 points = (size_t)(op->winograd + g.taps - 1);
    const size_t tiles[] = {inside * inside, inside * over, inside * over, over},
                 products[] = {points * points, points * (points - 1), points * (points - 1),
                               (points - 1) * (points - 1)};
    size_t filled = 0;
    for (int kind = 0; kind < 4; kind++)
        filled += ((size_t)images * tiles[kind] + ROWS - 1) / ROWS * ROWS * products[kind];
    return filled / (points * points);
}

size_t winograd_scratch_floats(const Op *op)
{
    const Geometry g = geometry_of(op);
    const size_t points = (size_t)square(g, op->winograd);
    switch (op->kind) {
    case OP_CONV: return points * packed_floats(g.depth, g.out);
    case OP_CONV_GRAD_X: return points * packed_floats(g.out, g.depth);
    default: return points * (size_t)g.depth * (size_t)g.out;
    }
}

/* Of scratch for a weight's gradient in so many parts: points of a block of tiles. */
static size_t grad_w_floats(const Op *op, int parts)
{
    const Geometry g = geometry_of(op);
    const int rows = (g.depth / VECTOR + parts - 1) / parts * VECTOR;
    return (size_t)square(g, op->winograd) * TILE_SUM_BLOCK * ((size_t)rows + packed_floats(1, g.out));
}

/* As few as threads, from 2 to 8, for each part makes the points of dy anew; from 4 on where a block of tiles
 * would not fit the second cache. */
int winograd_grad_w_parts(const Op *op, int threads)
{
    enum { LEAST = 2, LEAST_IN_CACHE = 4, MOST = 8, SECOND_CACHE = 1 << 18 /* floats */ };
    const int lines = geometry_of(op).depth / VECTOR, most = lines < MOST ? lines : MOST;
    int parts = threads < LEAST ? LEAST : threads;
    if (parts < LEAST_IN_CACHE && grad_w_floats(op, parts) > SECOND_CACHE)
        parts = (LEAST_IN_CACHE + parts - 1) / parts * parts;
    return parts < most ? parts : most;
}

size_t winograd_worker_floats(const Op *op, int threads)
{
    const Geometry g = geometry_of(op);
    if (op->kind == OP_CONV_GRAD_W)
        return grad_w_floats(op, winograd_grad_w_parts(op, threads));
    return (size_t)square(g, op->winograd) * TILE_BLOCK * (size_t)(g.depth + g.out);
}
