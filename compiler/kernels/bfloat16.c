/* bfloat16.c: operations on maps of bfloat16 (templates/bfloat16.h): a block of images is taken to floats, on
 * which any row's kernel works, and the result is rounded. */
#include "blocks.h"
#include "kernel.h"
#include <ctype.h>
#include <string.h>

static size_t image_floats(const Value *map)
{
    return value_count(map) / (size_t)map->dims[0];
}

/* Of so many images; each map begins at a line. */
static size_t block_floats(const Value *map, int images)
{
    return ROUNDED_UP((size_t)images * image_floats(map));
}

/* ---- y and dx of a convolution ---- */

static bool is_by(const Op *op, const char *kernel)
{
    return !strcmp(op->plan.kernel->name, kernel);
}

/* Of so many pieces, images or pixels, as many parts as keep a piece's floats times theirs within a block; at
 * least eight where there are so many. */
static int block_parts(int pieces, size_t floats, size_t block)
{
    enum { LEAST = 8 };
    const size_t fit = floats < block ? block / floats : 1;
    const int parts = ceil_div(pieces, fit < (size_t)pieces ? (int)fit : pieces),
              least = pieces < LEAST ? pieces : LEAST;
    return parts > least ? parts : least;
}

/* Pieces are pixels where those are all that a pixel of y reads, else images. */
static void plan_product(const Op *op, Plan *p)
{
    const ConvOperands o = conv_operands(op);
    const int pieces = op_is_pointwise(op) ? (int)map_pixels(o.x) : o.x->dims[0];
    const size_t x = value_count(o.x) / (size_t)pieces, y = value_count(o.y) / (size_t)pieces;
    p->parts = block_parts(pieces, x + y, BFLOAT16_BLOCK);
    const size_t most = (size_t)ceil_div(pieces, p->parts);
    const bool writes_maps = is_by(op, "sparse") || is_by(op, "masked");
    const size_t left = op->kind == OP_CONV ? x : y, result = op->kind == OP_CONV ? y : x;
    p->worker_floats += ROUNDED_UP(most * left) + (writes_maps ? 0 : ROUNDED_UP(most * result));
}

/* Winograd's reads and writes maps as they come, but for dx. */
static void plan_winograd(const Op *op, Plan *p)
{
    if (op->kind != OP_CONV_GRAD_X)
        return;
    const int images = op->out[0]->dims[0],
              parts = block_parts(images, image_floats(op->out[0]), BFLOAT16_SUMS);
    p->parts = parts > p->parts ? parts : p->parts;
    p->worker_floats += block_floats(op->out[0], ceil_div(images, p->parts));
}

/* Matrix tiles read and write maps as they come, but for dx where patches add up in it. */
static void plan_tiles(const Op *op, Plan *p)
{
    if (op->kind != OP_CONV_GRAD_X || op_patches_tile(op))
        return;
    const int images = op->out[0]->dims[0];
    p->parts = block_parts(images, image_floats(op->out[0]), BFLOAT16_SUMS);
    p->worker_floats += block_floats(op->out[0], ceil_div(images, p->parts));
}

static void plan_rounded(const Graph *g, const Op *op, Plan *p)
{
    p->kernel->plan(g, op, p);
    if (is_by(op, "dots"))
        return;
    if (is_by(op, "tiles")) {
        plan_tiles(op, p);
        return;
    }
    if (is_by(op, "winograd"))
        plan_winograd(op, p);
    else
        plan_product(op, p);
    p->arena_floats += ROUNDED_UP(value_count(conv_operands(op).weight));
}

/* ---- dw ---- */

/* Kernels that copy what they read of maps take it as they do; OpenBLAS sees a block's images. */
static bool sums_blocks(const Op *op)
{
    return op->kind == OP_CONV_GRAD_W && is_by(op, "openblas");
}

/* The most images that divide all of them and fit. */
static int sum_images(const Value *x, const Value *dy)
{
    const size_t fit = BFLOAT16_SUM_BLOCK / (image_floats(x) + image_floats(dy));
    int parts = 1;
    while (parts < x->dims[0] && (x->dims[0] % parts || (size_t)(x->dims[0] / parts) > fit))
        parts++;
    return x->dims[0] / parts;
}

/* The kernel is planned for a block's images. */
static void plan_sum(const Graph *g, Op *op, Plan *p)
{
    if (!sums_blocks(op)) {
        p->kernel->plan(g, op, p);
        return;
    }
    Value *x = op->in[CONV_GRAD_W_X], *dy = op->in[CONV_GRAD_W_DY];
    const int all = x->dims[0];
    p->block = sum_images(x, dy);
    x->dims[0] = dy->dims[0] = p->block;
    p->kernel->plan(g, op, p);
    x->dims[0] = dy->dims[0] = all;
    p->arena_floats += block_floats(x, p->block) + block_floats(dy, p->block);
}

/* ---- maps ---- */

static void plan_images(const Graph *g, const Op *op, Plan *p)
{
    const Value *x = op->in[0], *y = op->out[0];
    if (p->kernel->plan)
        p->kernel->plan(g, op, p);
    if (op->kind == OP_RELU_GRAD || op->kind == OP_ADD)
        return;
    p->worker_floats +=
        block_floats(x, 1) + block_floats(y, 1) + (op->kind == OP_MAX_POOL_GRAD ? block_floats(y, 1) : 0);
}

void plan_bfloat16(const Graph *g, Op *op)
{
    switch (op->kind) {
    case OP_CONV:
    case OP_CONV_GRAD_X: plan_rounded(g, op, &op->plan); break;
    case OP_CONV_GRAD_W: plan_sum(g, op, &op->plan); break;
    default: plan_images(g, op, &op->plan);
    }
}

/* ---- calls ---- */

static const char *upper(Arena *a, const char *text)
{
    char *copy = arena_copy(a, text, strlen(text));
    for (char *c = copy; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return copy;
}

/* Of the kernel's constants the first is the shape of all images: "SHAPE(IMAGES, ...)". */
static void call_sum(Call *c, const Op *op)
{
    const char *constants = c->constants + strlen(", "), *images = strchr(constants, '(') + 1,
               *rest = strchr(images, ','), *end = strchr(rest, ')') + 1;
    c->constants =
        arena_printf(c->arena, ", %.*s, %d, %s(%s_of_floats, SHAPE(%d%s)", (int)(end - constants), constants,
                     op->plan.block, upper(c->arena, c->macro), c->name, op->plan.block, rest);
    c->macro = "conv_grad_w";
}

void call_bfloat16(Call *c, const Op *op)
{
    if (sums_blocks(op))
        call_sum(c, op);
    if (op->kind == OP_ADD || op->kind == OP_RELU_GRAD) /* of floats there are some, too */
        c->name = arena_printf(c->arena, "bfloat16_%s", c->name);
    c->macro = arena_printf(c->arena, "bfloat16_%s", c->macro);
    c->type = arena_printf(c->arena, "Bfloat16%s", c->type);
}
