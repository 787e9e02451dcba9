/* geometry.c: shapes of products, and how work is cut into parts. */
#include "blocks.h"
#include "kernel.h"

size_t next_multiple(size_t n, size_t of)
{
    return (n + of - 1) / of * of;
}

int ceil_div(int n, int by)
{
    return (n + by - 1) / by;
}

size_t map_pixels(const Value *map)
{
    return (size_t)map->dims[0] * map->dims[1] * map->dims[2];
}

ConvOperands conv_operands(const Op *op)
{
    switch (op->kind) {
    case OP_CONV:
        return (ConvOperands){.x = op->in[CONV_X],
                              .y = op->out[0],
                              .weight = op->in[CONV_WEIGHT],
                              .bias = op->in[CONV_BIAS],
                              .addend = op->in[CONV_ADDEND]};
    case OP_CONV_GRAD_X:
        return (ConvOperands){.x = op->out[0],
                              .y = op->in[CONV_GRAD_X_DY],
                              .weight = op->in[CONV_GRAD_X_WEIGHT],
                              .addend = op->in[CONV_GRAD_X_ADDEND],
                              .mask = op->in[CONV_GRAD_X_MASK]};
    case OP_CONV_GRAD_W:
        return (ConvOperands){.x = op->in[CONV_GRAD_W_X], .y = op->in[CONV_GRAD_W_DY], .weight = op->out[0]};
    default: bug("%s is no convolution's product", op_name(op->kind));
    }
}

bool op_is_pointwise(const Op *op)
{
    return op->kernel == 1 && op->stride == 1;
}

bool op_patches_tile(const Op *op)
{
    const ConvOperands o = conv_operands(op);
    return patches_tile(op->kernel, op->stride, o.x->dims[1], o.y->dims[1]);
}

bool has_tiles(const Graph *g)
{
    return g->net->spec->target.tiles;
}

bool is_library(const Graph *g)
{
    return g->net->spec->target.is_library;
}

bool is_bare(const Graph *g)
{
    return g->net->spec->target.is_bare;
}

bool by_tiles(const Graph *g, const Op *op)
{
    (void)op;
    return has_tiles(g);
}

bool by_vectors(const Graph *g, const Op *op)
{
    (void)op;
    return !has_tiles(g);
}

int parts_of_float(const Graph *g)
{
    enum { EXACT = 3 };
    return g->net->spec->target.precision == PRECISION_BFLOAT16X3 ? EXACT - 1 : EXACT;
}

bool is_on_bfloat16(const Op *op)
{
    switch (op->kind) {
    case OP_CONV_GRAD_W: return op->in[CONV_GRAD_W_X]->number == NUMBER_BFLOAT16;
    case OP_CONV:
    case OP_CONV_GRAD_X:
    case OP_PAD:
    case OP_PAD_GRAD:
    case OP_POOL:
    case OP_POOL_GRAD:
    case OP_MAX_POOL:
    case OP_MAX_POOL_GRAD:
    case OP_MEAN:
    case OP_RELU_GRAD:
    case OP_ADD: return op->out[0]->number == NUMBER_BFLOAT16;
    default: return false;
    }
}

int parts_of_factors(const Graph *g, const Op *op)
{
    return is_on_bfloat16(op) ? 1 : parts_of_float(g);
}

int panel_of(const Graph *g)
{
    const int panel = g->net->spec->target.panel;
    return panel ? panel : MAX_PANEL;
}

size_t grad_w_scratch(const Graph *g)
{
    return GRAD_W_SCRATCH((size_t)panel_of(g), is_library(g) ? 0 : COPIED_FLOATS);
}

static size_t packed_parts(const Graph *g, int parts, int depth, int columns)
{
    return has_tiles(g) ? (size_t)ceil_div(columns, TILE_PAIR) * (size_t)ceil_div(depth, STEP) *
                              PAIR_FLOATS((size_t)parts)
                        : (size_t)depth * next_multiple((size_t)columns, (size_t)panel_of(g));
}

size_t packed_floats(const Graph *g, int depth, int columns)
{
    return packed_parts(g, parts_of_float(g), depth, columns);
}

size_t packed_weight_floats(const Graph *g, const Op *op)
{
    const Value *w = conv_operands(op).weight;
    const int taps = op->kernel * op->kernel, parts = parts_of_factors(g, op);
    if (op->kind == OP_CONV)
        return packed_parts(g, parts, w->dims[0], w->dims[1]);
    return (size_t)taps * packed_parts(g, parts, w->dims[1], w->dims[0] / taps);
}

/* At least eight where there are so many images. */
int image_parts(int images, size_t floats_per_image)
{
    enum { CACHED_FLOATS = 48 << 10, LEAST = 8 };
    const size_t fit = CACHED_FLOATS / floats_per_image;
    int parts = fit ? (int)(((size_t)images + fit - 1) / fit) : images;
    if (parts < LEAST)
        parts = LEAST;
    return parts < images ? parts : images;
}

/* Not so many that handing them out shows, at least eight where there are so many tiles, as many for each of
 * a few threads. */
int row_parts(size_t rows, size_t block)
{
    enum { LEAST = 8, MOST = 64, EVEN = 4 };
    size_t parts = (rows + block - 1) / block, tiles = (rows + MAX_ROWS - 1) / MAX_ROWS;
    parts = parts < LEAST ? LEAST : parts > MOST ? MOST : (parts + EVEN - 1) / EVEN * EVEN;
    return (int)(parts < tiles ? parts : tiles);
}

int64_t filled_pixels(const Op *op, int images)
{
    const Value *y = conv_operands(op).y;
    return (int64_t)next_multiple((size_t)images * y->dims[1] * y->dims[2], MAX_ROWS);
}

int filled_image_parts(const Op *op, int images, int rows_per_image,
                       int64_t (*filled)(const Op *op, int images))
{
    enum { BLOCK = 2 * MAX_ROWS, MOST = 16 * BLOCK, FEWEST_THREADS = 2, MOST_THREADS = 8 };
    int best = images;
    int64_t least = INT64_MAX;
    for (int parts = 1; parts <= images; parts++) {
        const int each = ceil_div(images, parts);
        if ((int64_t)each * rows_per_image > MOST && parts < images)
            continue;
        const int64_t rows = filled(op, each), time = rows < BLOCK ? BLOCK : rows;
        int64_t busy = 0;
        for (int threads = FEWEST_THREADS; threads <= MOST_THREADS; threads *= 2)
            busy += (parts + threads - 1) / threads * threads * time;
        if (busy < least) {
            least = busy;
            best = parts;
        }
    }
    return best;
}
