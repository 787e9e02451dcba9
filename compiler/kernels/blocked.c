/* blocked.c: products of which both factors are packed, block by block (templates/blocked.h): of few rows,
 * for which packing a whole weight takes long, and of long ones. */
#include "blocks.h"
#include "kernel.h"

static const char *const templates[] = {"vectors.h", "blocked.h", NULL};

enum { PARTS = 8 }; /* of the columns of few rows */

/* The depth and the columns of the product are a weight's sides, or of a gradient of x the other way round.
 */
static int depth_of(const Op *op)
{
    return conv_operands(op).weight->dims[op->kind != OP_CONV];
}

static int columns_of(const Op *op)
{
    return conv_operands(op).weight->dims[op->kind == OP_CONV];
}

/* Of floats, where patches lie one behind the other, and panels and vectors are whole. A library, which has
 * no room to spare, streams weights instead. */
static bool can(const Graph *g, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    return !has_tiles(g) && !is_library(g) && !is_on_bfloat16(op) &&
           (op_is_pointwise(op) || (o.y->dims[1] == 1 && o.x->dims[1] == op->kernel)) &&
           depth_of(op) % MAX_PANEL == 0 && columns_of(op) % MAX_PANEL == 0;
}

/* Few rows by no small weight, and long rows; by so many columns that packing the rows pays, and few rows
 * have columns for all parts (docs/performance-notebook.md; AVX2 was measured). */
static bool pays(const Graph *g, const Op *op)
{
    enum { SMALL = 1 << 16 };
    const ConvOperands o = conv_operands(op);
    (void)g;
    if (columns_of(op) < PARTS * MAX_PANEL)
        return false;
    return has_few_rows((int)map_pixels(o.y)) ? value_count(o.weight) >= SMALL
                                              : depth_of(op) >= BLOCKED_LONG_ROW;
}

static void plan(const Graph *g, const Op *op, Plan *p)
{
    const size_t rows = map_pixels(conv_operands(op).y);
    if (has_few_rows((int)rows)) {
        const int panels = columns_of(op) / MAX_PANEL;
        p->parts = panels < PARTS ? panels : PARTS;
        p->worker_floats = BLOCKED_PANEL_FLOATS;
        p->arena_floats = next_multiple(rows, MAX_ROWS) * (size_t)depth_of(op);
    } else {
        p->parts = row_parts(rows, PIXEL_BLOCK);
        p->worker_floats = BLOCKED_SCRATCH;
        p->arena_floats = packed_weight_floats(g, op);
    }
}

const Kernel conv_by_blocked = {"blocked", templates, can, pays, plan, conv_call};
const Kernel conv_grad_x_by_blocked = {"blocked", templates, can, pays, plan, conv_grad_x_call};
