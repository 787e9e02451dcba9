/* winograd.c: convolutions by Winograd's F(m, r) (templates/winograd.h): fewer multiplications, for
 * transforms of both maps and of the weight. */
#include "blocks.h"
#include "kernel.h"
#include <limits.h>

static const char *const templates[] = {"vectors.h", "winograd.h", NULL};

/* A convolution's geometry, whichever of its three products the operation is. */
typedef struct {
    int images, out_side, taps;
    int depth, out; /* of one point's product: channels of a cell of stride x stride pixels, of y */
    int run;        /* floats that lie together in x */
} Geometry;

static Geometry geometry_of(const Op *op)
{
    const ConvOperands o = conv_operands(op);
    return (Geometry){
        .images = o.x->dims[0],
        .out_side = o.y->dims[1],
        .taps = op->kernel / op->stride,
        .depth = op->stride * op->stride * o.x->dims[3],
        .out = o.y->dims[3],
        .run = op->stride * o.x->dims[3],
    };
}

static int tiles_across(Geometry g, int outputs)
{
    return ceil_div(g.out_side, outputs);
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

/* The kernel is two or three strides wide, and an int counts the numbers of a cell. */
static bool has_cells(const Op *op)
{
    const int64_t depth = (int64_t)op->stride * op->stride * conv_operands(op).x->dims[3];
    return (op->kernel == 2 * op->stride || op->kernel == 3 * op->stride) && depth <= INT_MAX;
}

int winograd_outputs(const Op *op)
{
    if (!has_cells(op))
        return 0;
    const Geometry g = geometry_of(op);
    const bool can = g.run % LINE == 0 && g.out % LINE == 0;
    if (!can || op->plan.asked_outputs)
        return can ? op->plan.asked_outputs : 0;
    return products_across(g, 3) < products_across(g, 2) ? 3 : 2;
}

/* Transforms cost a pass over both maps and over the weight: worth it where the products are many, their
 * matrices large, and a quarter of the multiplications goes. A very large weight grows by its points beyond
 * what it saves. */
bool winograd_pays(const Op *op)
{
    enum { LEAST_CHANNELS = 64, LEAST_ROWS = 64, LARGEST = 1 << 24 /* floats of the weight's points */ };
    const int outputs = winograd_outputs(op);
    if (!outputs)
        return false;
    const Geometry g = geometry_of(op);
    const int now = products_across(g, outputs), before = g.out_side * g.taps;
    const int64_t rows = (int64_t)g.images * tiles_across(g, outputs) * tiles_across(g, outputs);
    return 4.0 * now * now <= 3.0 * before * before && g.depth >= LEAST_CHANNELS && g.out >= LEAST_CHANNELS &&
           rows >= LEAST_ROWS && (double)square(g, outputs) * g.depth * g.out <= LARGEST;
}

/* Its transforms take more of the stack than a library may. */
static bool can(const Graph *g, const Op *op)
{
    return !has_tiles(g) && !is_library(g) && winograd_outputs(op);
}

static bool pays(const Graph *g, const Op *op)
{
    (void)g;
    return winograd_pays(op);
}

static int tiles_of_image(Geometry g, int outputs)
{
    return tiles_across(g, outputs) * tiles_across(g, outputs);
}

/* Rows that the products of a part of so many images make: of each kind of tiles, those inside, over one edge
 * (twice), over both. */
int64_t winograd_filled_tiles(const Op *op, int images)
{
    const Geometry g = geometry_of(op);
    const int outputs = winograd_outputs(op);
    const size_t inside = (size_t)(g.out_side / outputs), over = g.out_side % outputs > 0,
                 points = (size_t)(outputs + g.taps - 1);
    const size_t tiles[] = {inside * inside, inside * over, inside * over, over},
                 products[] = {points * points, points * (points - 1), points * (points - 1),
                               (points - 1) * (points - 1)};
    size_t rows = 0;
    for (size_t kind = 0; kind < COUNT(tiles); kind++)
        rows += next_multiple((size_t)images * tiles[kind], MAX_ROWS) * products[kind];
    return (int64_t)(rows / (points * points));
}

/* Channels of the cells that a part of a weight's gradient has, and of y in whole panels. */
static size_t part_rows(Geometry g, int parts)
{
    return (size_t)ceil_div(g.depth / LINE, parts) * LINE;
}

static size_t panel_columns(Geometry g)
{
    return next_multiple((size_t)g.out, MAX_PANEL);
}

size_t winograd_block_points(const Op *op, int outputs, int parts)
{
    const Geometry g = geometry_of(op);
    return (size_t)square(g, outputs) * TILE_SUM_BLOCK * (part_rows(g, parts) + panel_columns(g));
}

/* As few as threads, from 2 to 8, for each part makes the points of dy anew. */
int winograd_grad_w_parts(const Op *op, int threads)
{
    enum { LEAST = 2, MOST = 8 };
    const int lines = geometry_of(op).depth / LINE, most = lines < MOST ? lines : MOST,
              parts = threads < LEAST ? LEAST : threads;
    return parts < most ? parts : most;
}

void winograd_plan(const Graph *graph, const Op *op, Plan *p)
{
    const Geometry g = geometry_of(op);
    const size_t points = (size_t)square(g, p->outputs);
    const int tiles = tiles_of_image(g, p->outputs);
    /* Of a block of tiles, of both maps. */
    p->worker_floats =
        points * (PLANE_STEP(TILE_BLOCK * (size_t)g.depth) + PLANE_STEP(TILE_BLOCK * (size_t)g.out));
    switch (op->kind) {
    case OP_CONV:
        p->parts = row_parts((size_t)tiles * (size_t)g.images, TILE_BLOCK);
        p->arena_floats = points * PLANE_STEP(packed_floats(graph, g.depth, g.out));
        break;
    case OP_CONV_GRAD_X:
        p->parts = filled_image_parts(op, g.images, tiles, winograd_filled_tiles);
        p->arena_floats = points * PLANE_STEP(packed_floats(graph, g.out, g.depth));
        break;
    default:
        p->parts = winograd_grad_w_parts(op, (int)graph->net->spec->target.threads.v);
        p->arena_floats = points * PLANE_STEP((size_t)g.depth * (size_t)g.out);
        p->worker_floats = points * (PLANE_STEP(TILE_SUM_BLOCK * part_rows(g, p->parts)) +
                                     PLANE_STEP(TILE_SUM_BLOCK * panel_columns(g)));
    }
}

static void plan(const Graph *g, const Op *op, Plan *p)
{
    p->outputs = winograd_outputs(op);
    winograd_plan(g, op, p);
}

static void call_grad_w(Call *c, const Op *op)
{
    conv_grad_w_call(c, op);
    call_constant(c, "%d", op->plan.parts);
}

const Kernel conv_by_winograd = {"winograd", templates, can, pays, plan, conv_call};
const Kernel conv_grad_x_by_winograd = {"winograd", templates, can, pays, plan, conv_grad_x_call};
const Kernel conv_grad_w_by_winograd = {"winograd", templates, can, pays, plan, call_grad_w};
