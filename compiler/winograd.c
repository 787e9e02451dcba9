/* winograd.c: which convolutions are made by Winograd's minimal filtering (templates/winograd.h), and what
 * memory they need for it. */
#include "amdimc.h"

/* As in templates/winograd.h. */
enum { VECTOR = 16, TILE_BLOCK = 24, TILE_SUM_BLOCK = 64, GRAD_W_PARTS = 4 };

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

/* Products in one dimension of an image: those of a tile, for each tile. */
static int products_across(Geometry g, int outputs)
{
    return tiles_across(g, outputs) * (outputs + g.taps - 1);
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

size_t winograd_worker_floats(const Op *op)
{
    const Geometry g = geometry_of(op);
    const size_t points = (size_t)square(g, op->winograd);
    if (op->kind != OP_CONV_GRAD_W)
        return points * TILE_BLOCK * (size_t)(g.depth + g.out);
    const int lines = g.depth / VECTOR, parts = lines < GRAD_W_PARTS ? lines : GRAD_W_PARTS,
              rows = (lines + parts - 1) / parts * VECTOR;
    return points * TILE_SUM_BLOCK * ((size_t)rows + packed_floats(1, g.out));
}
