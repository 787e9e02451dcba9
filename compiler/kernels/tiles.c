/* tiles.c: products by matrix tiles (templates/tiles.h and tile_sums.h), on a target that has them: then
 * every product but OpenBLAS's is theirs, whole, whatever is known of zeros. */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"tiles.h", "tile_sums.h", NULL};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- products of maps ---- */

/* Two blocks of rows' parts, and sums that wait for further steps. */
static size_t product_floats(int parts, int depth, int panels)
{
    const int steps = ceil_div(depth, STEP);
    const size_t pixels = (size_t)tile_pixels(parts, steps, panels),
                 waiting = steps > MOST_STEPS ? smaller((size_t)panels, MOST_PANELS) : 0;
    return 2 * (pixels / TILE_PAIR) * smaller((size_t)steps, MOST_STEPS) * PAIR_FLOATS((size_t)parts) +
           waiting * TILE_PAIR * pixels;
}

size_t tiles_product_floats(const Graph *g, int depth, int columns)
{
    return product_floats(parts_of_float(g), depth, ceil_div(columns, TILE_PAIR));
}

static void plan_conv(const Graph *g, const Op *op, Plan *p)
{
    const Value *w = op->in[CONV_WEIGHT];
    p->parts = row_parts(map_pixels(op->out[0]), PIXEL_BLOCK);
    p->arena_floats = packed_weight_floats(g, op);
    p->worker_floats = product_floats(parts_of_factors(g, op), w->dims[0], ceil_div(w->dims[1], TILE_PAIR));
}

/* Parts of the images, as patches may overlap; of the pixels where there are none. */
static void plan_conv_grad_x(const Graph *g, const Op *op, Plan *p)
{
    const Value *dy = op->in[CONV_GRAD_X_DY], *w = op->in[CONV_GRAD_X_WEIGHT];
    const int taps = op->kernel * op->kernel;
    p->parts = op_is_pointwise(op) || (is_on_bfloat16(op) && op_patches_tile(op))
                   ? row_parts(map_pixels(dy), PIXEL_BLOCK)
                   : filled_image_parts(op, dy->dims[0], dy->dims[1] * dy->dims[2], filled_pixels);
    p->arena_floats = packed_weight_floats(g, op);
    p->worker_floats =
        product_floats(parts_of_factors(g, op), w->dims[1], taps * ceil_div(w->dims[0] / taps, TILE_PAIR));
}

/* Of floats tiles.h offers vectors.h's functions under the same names. */
static void call_conv(Call *c, const Op *op)
{
    conv_call(c, op);
    c->macro = is_on_bfloat16(op) ? "conv_tiles" : "conv_direct";
}

static void call_grad_x(Call *c, const Op *op)
{
    conv_grad_x_call(c, op);
    c->macro = is_on_bfloat16(op) ? "conv_grad_x_tiles" : "conv_grad_x_direct";
}

/* ---- sums over pixels: gradients of weights ---- */

/* Parts of the floats of so many steps, numbers of two bytes, and what keeps the two tiles of each panel
 * apart. */
static size_t parts_floats(size_t parts, size_t steps, size_t panels)
{
    return steps * PAIR_FLOATS(parts) + panels * parts * 2 * SUM_APART / 2;
}

/* Of so many pairs by panels: parts of two blocks of pixels, and the sums. */
static size_t sum_floats(int parts, int pairs, int panels)
{
    const size_t rows = smaller((size_t)pairs, SUM_PAIRS), columns = smaller((size_t)panels, SUM_PAIRS),
                 steps = smaller(SUM_CACHED / (size_t)parts, (rows + columns) * MOST_SUM_STEPS);
    return 2 * parts_floats((size_t)parts, steps, columns) + rows * columns * TILE_PAIR * TILE_PAIR;
}

size_t tiles_sum_floats(const Graph *g, int rows, int columns)
{
    return sum_floats(parts_of_float(g), ceil_div(rows, TILE_PAIR), ceil_div(columns, TILE_PAIR));
}

static int row_pairs_of(const Op *op)
{
    return row_pairs(op->kernel, op->in[CONV_GRAD_W_X]->dims[3]);
}

/* Whether it can go by cells, and whether that pays: cells at rows' ends and in a last step are multiplied
 * for nothing, a fifth of them at most. */
static bool has_cells(const Op *op)
{
    const Value *x = op->in[CONV_GRAD_W_X], *dy = op->in[CONV_GRAD_W_DY];
    const int side = dy->dims[1], bands = cell_bands(side), rows = bands > 0 ? ceil_div(side, bands) : 0;
    return op->kernel == 2 * op->stride && x->dims[1] == op->stride * (side + 1) && bands > 0 &&
           op->stride * x->dims[3] % TILE == 0 && dy->dims[3] % TILE == 0 &&
           5 * ceil_div(cells_of_half(side, rows), TILE) * STEP <= 6 * rows * side && winograd_pays(op);
}

/* Under each quarter of the kernel; and zeros for a pixel of dy. */
size_t tiles_cells_floats(const Graph *g, const Op *op)
{
    const int out = op->in[CONV_GRAD_W_DY]->dims[3],
              panels = pairs_of_rows(op->stride, op->in[CONV_GRAD_W_X]->dims[3]);
    const size_t rows = smaller((size_t)ceil_div(out, TILE_PAIR), SUM_PAIRS),
                 columns = smaller((size_t)panels, SUM_PAIRS);
    return 2 * parts_floats((size_t)parts_of_factors(g, op), (rows + columns) * MOST_SUM_STEPS, columns) +
           QUARTERS * rows * columns * TILE_PAIR * TILE_PAIR + (size_t)out;
}

/* Cuts of so many pairs or panels, for a result that is cut both ways. */
static int cuts(int pairs)
{
    const int blocks = ceil_div(pairs, SUM_PAIRS), least = pairs < 2 ? pairs : 2;
    return blocks > least ? blocks : least;
}

/* Of a product that Winograd would make by vectors: as many as its parts, but 4 at least where a block of its
 * points would be more than 1 MiB. So it was measured with AMX. */
static int filtered_cuts(const Op *op, int outputs, int threads)
{
    enum { LEAST_OF_MANY = 4, MANY = 1 << 18 };
    const int parts = winograd_grad_w_parts(op, threads);
    if (parts >= LEAST_OF_MANY || winograd_block_points(op, outputs, parts) <= MANY)
        return parts;
    return winograd_grad_w_parts(op, ceil_div(LEAST_OF_MANY, parts) * parts);
}

/* By cells over slices of the images; cut as the other kernels cut such a product, for that was measured:
 * where Winograd would pay by rows, where zeros would be skipped over slices of the pixels; else by rows and
 * columns. */
static void plan_conv_grad_w(const Graph *g, const Op *op, Plan *p)
{
    const Value *dw = op->out[0], *zeros = sparse_operand(g, op);
    const int images = op->in[CONV_GRAD_W_X]->dims[0], panels = ceil_div(dw->dims[1], TILE_PAIR),
              outputs = winograd_pays(op) ? winograd_outputs(op) : 0,
              few = outputs ? filtered_cuts(op, outputs, (int)g->net->spec->target.threads.v) : 0;
    p->cells = has_cells(op);
    p->slices = p->cells  ? few < images ? few : images
                : outputs ? 1
                : zeros   ? sparse_slices(op, zeros)
                          : direct_grad_w_slices(op);
    const int most =
        ceil_div((int)map_pixels(op->in[CONV_GRAD_W_DY]), TILE_PAIR); /* so that no slice is empty */
    if (!p->cells && p->slices > most)
        p->slices = most;
    p->row_cuts = outputs ? few : cuts(row_pairs_of(op));
    p->column_cuts = outputs ? 1 : cuts(panels);
    p->arena_floats = p->slices > 1 || p->cells ? (size_t)p->slices * value_count(dw) : 0;
    p->worker_floats =
        p->cells ? tiles_cells_floats(g, op) : sum_floats(parts_of_factors(g, op), row_pairs_of(op), panels);
}

static void call_grad_w(Call *c, const Op *op)
{
    const Plan *p = &op->plan;
    conv_grad_w_call(c, op);
    if (p->cells)
        c->macro = "conv_grad_w_cells";
    else if (p->slices > 1)
        c->macro = "conv_grad_w_tiles_sliced";
    /* How it is cut depends on what is known of zeros, not on the shape alone. */
    if (p->slices > 1)
        c->name = arena_printf(c->arena, "%s_in_%d", c->name, p->slices);
    if (p->cells || p->slices > 1)
        call_constant(c, "%d", p->slices);
    else
        call_constant(c, "%d, %d", p->row_cuts, p->column_cuts);
}

const Kernel conv_by_tiles = {"tiles", templates, by_tiles, NULL, plan_conv, call_conv};
const Kernel conv_grad_x_by_tiles = {"tiles", templates, by_tiles, NULL, plan_conv_grad_x, call_grad_x};
const Kernel conv_grad_w_by_tiles = {"tiles", templates, by_tiles, NULL, plan_conv_grad_w, call_grad_w};
