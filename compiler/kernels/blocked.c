/* blocked.c: products of which both factors are packed, block by block (templates/blocked.h): of few rows,
 * for which packing a whole weight takes long, and of long ones. */
#include "blocks.h"
#include "kernel.h"
#include <string.h>

static const char *const templates[] = {"vectors.h", "blocked.h", NULL};

static bool has_few_rows(const Value *y)
{
    return map_pixels(y) <= BLOCKED_FEW_ROWS;
}

/* Of floats, where patches lie one behind the other, and panels and vectors are whole. */
static bool can(const Graph *g, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    const Value *w = o.weight;
    return !has_tiles(g) && !is_library(g) && !is_on_bfloat16(op) &&
           (op_is_pointwise(op) || (o.y->dims[1] == 1 && o.x->dims[1] == op->kernel)) &&
           w->dims[0] % MAX_PANEL == 0 && w->dims[1] % MAX_PANEL == 0;
}

/* Few rows, whose weight is no small one; and rows of 1024 numbers, where OpenBLAS, which is as fast, is not
 * asked for (docs/performance-notebook.md). */
static bool pays(const Graph *g, const Op *op)
{
    enum { SMALL = 1 << 16, LONG = 1024 };
    const ConvOperands o = conv_operands(op);
    const int depth = o.weight->dims[op->kind != OP_CONV];
    if (value_count(o.weight) < SMALL || sparse_operand(g, op))
        return false;
    return has_few_rows(o.y) || (depth >= LONG && strcmp(g->net->spec->target.blas.v, "openblas") != 0);
}

/* Parts of the columns of few rows, whose depth is the weight's other side; of many, parts of the rows. */
static void plan(const Graph *g, const Op *op, Plan *p)
{
    enum { PARTS = 8 };
    const ConvOperands o = conv_operands(op);
    const int is_back = op->kind != OP_CONV, depth = o.weight->dims[is_back],
              columns = o.weight->dims[!is_back];
    p->worker_floats = BLOCKED_SCRATCH;
    if (has_few_rows(o.y)) {
        const int panels = columns / MAX_PANEL;
        p->parts = panels < PARTS ? panels : PARTS;
        p->arena_floats = next_multiple(map_pixels(o.y), MAX_ROWS) * (size_t)depth;
    } else {
        p->parts = row_parts(map_pixels(o.y), PIXEL_BLOCK);
        p->arena_floats = packed_weight_floats(g, op);
    }
}

const Kernel conv_by_blocked = {"blocked", templates, can, pays, plan, conv_call};
const Kernel conv_grad_x_by_blocked = {"blocked", templates, can, pays, plan, conv_grad_x_call};
