/* tiles.c: the memory that products by matrix tiles need (templates/tiles.h and tile_sums.h), where the
 * target may have them. */
#include "amdimc.h"
#include <string.h>

/* As in templates/tiles.h and tile_sums.h. */
enum {
    STEP = 32,
    PAIR = 32,
    PARTS = 3,
    PAIR_FLOATS = PARTS * PAIR * STEP / 2, /* of a step, numbers of two bytes */
    APART_FLOATS = PARTS * 2 * STEP / 2,   /* that keep a panel's tiles apart */
    TILE_PIXELS = 128,
    MOST_STEPS = 16,
    MOST_PANELS = 16,
    CACHED = 256,
    SUM_PAIRS = 8,
    SUM_CACHED = 32,
    MOST_SUM_STEPS = 8
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t pieces(size_t n, size_t of)
{
    return (n + of - 1) / of;
}

/* What the machine has is not asked: a spec makes the same C everywhere, which a processor with tiles and one
 * without compile each in its own way. */
bool target_may_have_tiles(const Spec *s)
{
    const char *march = s->target.march.v;
    /* sapphirerapids and what came after it */
    return strstr(march, "rapids") || !strcmp(march, "native");
}

size_t tiles_packed_floats(int depth, int columns)
{
    return pieces((size_t)columns, PAIR) * pieces((size_t)depth, STEP) * PAIR_FLOATS;
}

/* Two blocks of rows' parts, and sums that wait for further steps. */
static size_t product_floats(size_t depth, size_t panels)
{
    const size_t steps = pieces(depth, STEP), pixels = steps * panels <= CACHED ? PAIR : TILE_PIXELS,
                 waiting = steps > MOST_STEPS ? smaller(panels, MOST_PANELS) : 0;
    return 2 * (pixels / PAIR) * smaller(steps, MOST_STEPS) * PAIR_FLOATS + waiting * PAIR * pixels;
}

/* Sums over pixels of pairs by panels: parts of two blocks of pixels, and the sums. */
static size_t sum_floats(size_t pairs, size_t panels)
{
    const size_t rows = smaller(pairs, SUM_PAIRS), columns = smaller(panels, SUM_PAIRS),
                 steps = smaller(SUM_CACHED, (rows + columns) * MOST_SUM_STEPS);
    return 2 * (steps * PAIR_FLOATS + columns * APART_FLOATS) + rows * columns * PAIR * PAIR;
}

/* The same by cells of stride x stride pixels, under each quarter of the kernel; and zeros. */
static size_t cells_floats(const Op *op, size_t depth, size_t out)
{
    enum { QUARTERS = 4 };
    const size_t panels = (size_t)op->stride * pieces(depth / (size_t)op->kernel / 2, PAIR),
                 rows = smaller(pieces(out, PAIR), SUM_PAIRS), columns = smaller(panels, SUM_PAIRS);
    return 2 * ((rows + columns) * MOST_SUM_STEPS * PAIR_FLOATS + columns * APART_FLOATS) +
           QUARTERS * rows * columns * PAIR * PAIR + out;
}

bool tiles_may_have_cells(const Op *op)
{
    return op->winograd && op->kernel == 2 * op->stride;
}

static size_t grad_w_floats(const Op *op, size_t depth, size_t out)
{
    const size_t run = depth / (size_t)op->kernel,
                 row_pairs = depth <= STEP ? 1 : (size_t)op->kernel * pieces(run, PAIR),
                 floats = sum_floats(row_pairs, pieces(out, PAIR));
    return tiles_may_have_cells(op) ? larger(floats, cells_floats(op, depth, out)) : floats;
}

size_t tiles_worker_floats(const Graph *g, const Op *op)
{
    const size_t batch = (size_t)g->net->batch, taps = (size_t)(op->kernel * op->kernel);
    switch (op->kind) {
    case OP_CONV: {
        const Value *w = op->in[1];
        return product_floats((size_t)w->dims[0], pieces((size_t)w->dims[1], PAIR));
    }
    case OP_CONV_GRAD_X: {
        const Value *w = op->in[1];
        return product_floats((size_t)w->dims[1], taps * pieces((size_t)w->dims[0] / taps, PAIR));
    }
    case OP_CONV_GRAD_W: {
        const Value *dw = op->out[0];
        return grad_w_floats(op, (size_t)dw->dims[0], (size_t)dw->dims[1]);
    }
    case OP_SCORES: return product_floats((size_t)op->in[0]->dims[3], pieces(batch, PAIR));
    case OP_SCORES_GRAD_T: return product_floats(batch, pieces((size_t)op->out[0]->dims[3], PAIR));
    case OP_SCORES_GRAD_A: return sum_floats(pieces(batch, PAIR), pieces((size_t)op->out[0]->dims[3], PAIR));
    default: return 0;
    }
}
