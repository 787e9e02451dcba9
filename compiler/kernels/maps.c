/* maps.c: operations that treat every image of a map alone, or every number, and sums of a bias's gradient
 * (templates/maps.h, convolutions.h): memory is what they wait for, so there is one row for each. */
#include "blocks.h"
#include "kernel.h"

static void plan_images(const Graph *g, const Op *op, Plan *p, const Value *map)
{
    (void)g, (void)op;
    p->parts = image_parts(map->dims[0], value_count(map) / (size_t)map->dims[0]);
}

/* ---- padding ---- */

static const Value *padded_map(const Op *op)
{
    return op->kind == OP_PAD ? op->in[PAD_X] : op->out[0];
}

static void plan_pad(const Graph *g, const Op *op, Plan *p)
{
    plan_images(g, op, p, padded_map(op));
}

static void call_pad(Call *c, const Op *op)
{
    const bool grad = op->kind == OP_PAD_GRAD;
    const Value *inner = padded_map(op), *addend = grad ? op->in[PAD_GRAD_ADDEND] : NULL,
                *mask = grad ? op->in[PAD_GRAD_MASK] : NULL;
    c->type = "Map";
    c->name = arena_printf(c->arena, "%s%d%s_%d_at_%d%s%s%s", c->macro, op->pad,
                           op->reflect ? "_reflect" : "", inner->dims[3], inner->dims[1],
                           call_images(c, inner), addend ? "_add" : "", mask ? "_mask" : "");
    c->shape = arena_printf(c->arena, "%d around %s", op->pad, call_map(c, inner));
    call_constant(c, "%s, %d, %d, %d", call_image_count(c, inner), inner->dims[1], inner->dims[3], op->pad);
    call_constant(c, "%s", op->reflect ? "PAD_MIRROR" : "PAD_ZEROS");
    call_constant(c, "%d", op->plan.parts);
    call_field(c, "x", op->in[grad ? PAD_GRAD_DY : PAD_X]);
    call_field(c, "addend", addend);
    call_field(c, "mask", mask);
    call_result(c, "y", op->out[0]);
}

const Kernel pad_by_direct = {"direct", NULL, NULL, NULL, plan_pad, call_pad};
const Kernel pad_grad_by_direct = {"direct", NULL, NULL, NULL, plan_pad, call_pad};

/* ---- pooling ---- */

static const Value *pooled_map(const Op *op)
{
    return op->kind == OP_POOL ? op->in[POOL_X] : op->out[0];
}

static void plan_pool(const Graph *g, const Op *op, Plan *p)
{
    plan_images(g, op, p, pooled_map(op));
}

static void call_pool(Call *c, const Op *op)
{
    const bool grad = op->kind == OP_POOL_GRAD;
    const Value *x = pooled_map(op), *y = grad ? op->in[POOL_GRAD_DY] : op->out[0],
                *addend = grad ? op->in[POOL_GRAD_ADDEND] : NULL;
    c->type = "Map";
    c->name = arena_printf(c->arena, "%s_%s%s", c->macro, call_shape_name(c, op, x, y), addend ? "_add" : "");
    c->shape = arena_printf(c->arena, "%s%s", call_window(c, op, x, y), addend ? ", sum" : "");
    call_shape(c, op, x, y);
    call_constant(c, "%d", op->plan.parts);
    call_field(c, "x", grad ? y : x);
    call_field(c, "addend", addend);
    call_result(c, "y", op->out[0]);
}

const Kernel pool_by_direct = {"direct", NULL, NULL, NULL, plan_pool, call_pool};
const Kernel pool_grad_by_direct = {"direct", NULL, NULL, NULL, plan_pool, call_pool};

static void plan_max_pool(const Graph *g, const Op *op, Plan *p)
{
    plan_images(g, op, p, op->in[op->kind == OP_MAX_POOL ? MAX_POOL_X : MAX_POOL_GRAD_X]);
}

static void call_max_pool(Call *c, const Op *op)
{
    const bool grad = op->kind == OP_MAX_POOL_GRAD;
    const Value *x = op->in[grad ? MAX_POOL_GRAD_X : MAX_POOL_X],
                *y = grad ? op->in[MAX_POOL_GRAD_DY] : op->out[0],
                *addend = grad ? op->in[MAX_POOL_GRAD_ADDEND] : NULL;
    c->type = grad ? "MaxPoolGrad" : "Map";
    c->name = arena_printf(c->arena, "%s_%s%s%s", c->macro, call_shape_name(c, op, x, y),
                           op->pad ? arena_printf(c->arena, "_pad%d", op->pad) : "", addend ? "_add" : "");
    c->shape =
        arena_printf(c->arena, "%s%s%s", call_window(c, op, x, y),
                     op->pad ? arena_printf(c->arena, ", pad %d", op->pad) : "", addend ? ", sum" : "");
    call_constant(c, "%s, %d, %d, %d, %d, %d, %d, %d", call_image_count(c, x), x->dims[1], x->dims[3],
                  y->dims[1], op->kernel, op->stride, op->pad, op->plan.parts);
    call_field(c, "dy", grad ? y : NULL);
    call_field(c, "x", x);
    call_field(c, "addend", addend);
    call_result(c, grad ? "dx" : "y", op->out[0]);
}

const Kernel max_pool_by_direct = {"direct", NULL, NULL, NULL, plan_max_pool, call_max_pool};
const Kernel max_pool_grad_by_direct = {"direct", NULL, NULL, NULL, plan_max_pool, call_max_pool};

/* ---- positions ---- */

static void call_positions(Call *c, const Op *op, const Value *map)
{
    c->shape = call_map(c, map);
    call_constant(c, "%s, %d, %d, %d", call_image_count(c, map), map->dims[1] * map->dims[2], map->dims[3],
                  op->plan.parts);
}

static void plan_mean(const Graph *g, const Op *op, Plan *p)
{
    plan_images(g, op, p, op->in[MEAN_X]);
}

static void call_mean(Call *c, const Op *op)
{
    const Value *x = op->in[MEAN_X];
    c->type = "Map";
    c->name = arena_printf(c->arena, "mean_%d_at_%d%s", x->dims[3], x->dims[1], call_images(c, x));
    call_positions(c, op, x);
    call_field(c, "x", x);
    call_result(c, "y", op->out[0]);
}

const Kernel mean_by_direct = {"direct", NULL, NULL, NULL, plan_mean, call_mean};

static const Value *gathered_map(const Op *op)
{
    return op->kind == OP_GATHER ? op->in[GATHER_X] : op->out[0];
}

static void plan_gather(const Graph *g, const Op *op, Plan *p)
{
    plan_images(g, op, p, gathered_map(op));
}

static void call_gather(Call *c, const Op *op)
{
    const bool grad = op->kind == OP_GATHER_GRAD;
    const Value *map = gathered_map(op), *addend = grad ? op->in[GATHER_GRAD_ADDEND] : NULL;
    c->type = "Gather";
    c->name =
        arena_printf(c->arena, "%s_%d_at_%d%s", c->macro, map->dims[3], map->dims[1], addend ? "_add" : "");
    call_positions(c, op, map);
    call_field(c, "x", op->in[grad ? GATHER_GRAD_DA : GATHER_X]);
    call_field(c, "location", op->in[grad ? GATHER_GRAD_LOCATION : GATHER_LOCATION]);
    call_field(c, "addend", addend);
    call_result(c, "y", op->out[0]);
    if (map->number == NUMBER_BFLOAT16) {
        c->macro = arena_printf(c->arena, "bfloat16_%s", c->macro);
        c->type = grad ? "Bfloat16GatherGrad" : "Bfloat16Gather";
    }
}

const Kernel gather_by_direct = {"direct", NULL, NULL, NULL, plan_gather, call_gather};
const Kernel gather_grad_by_direct = {"direct", NULL, NULL, NULL, plan_gather, call_gather};

/* ---- components of a mixture ---- */

static const Value *components_map(const Op *op)
{
    return op->kind == OP_COMPONENT ? op->in[COMPONENT_X] : op->out[0];
}

static void plan_component(const Graph *g, const Op *op, Plan *p)
{
    plan_images(g, op, p, op->kind == OP_COMPONENT ? op->out[0] : op->in[COMPONENT_GRAD_DY]);
}

static void call_component(Call *c, const Op *op)
{
    const bool grad = op->kind == OP_COMPONENT_GRAD;
    const Value *one = grad ? op->in[COMPONENT_GRAD_DY] : op->out[0],
                *addend = op->in[grad ? COMPONENT_GRAD_ADDEND : COMPONENT_PHI];
    const int channels = one->dims[3], components = components_map(op)->dims[3] / channels;
    c->type = "Component";
    c->name = arena_printf(c->arena, "%s_of_%d%s", c->macro, channels, grad && addend ? "_add" : "");
    c->shape = arena_printf(c->arena, "%d of %d, %s", op->component, components, call_map(c, one));
    call_constant(c, "%s, %d, %d, %d", call_image_count(c, one), components, channels, op->plan.parts);
    call_number(c, "component", op->component);
    call_field(c, "x", op->in[grad ? COMPONENT_GRAD_DY : COMPONENT_X]);
    call_field(c, "addend", addend);
    call_result(c, "y", op->out[0]);
}

const Kernel component_by_direct = {"direct", NULL, NULL, NULL, plan_component, call_component};
const Kernel component_grad_by_direct = {"direct", NULL, NULL, NULL, plan_component, call_component};

/* ---- every number ---- */

static void call_numbers(Call *c, const Op *op)
{
    const bool relu = op->kind == OP_RELU_GRAD;
    const size_t count = value_count(op->out[0]);
    c->type = "Map";
    c->name = arena_printf(c->arena, "%s_%zu", c->macro, count);
    c->shape = call_map(c, op->out[0]);
    call_constant(c, "%zu", count);
    call_field(c, "x", op->in[relu ? RELU_GRAD_DY : ADD_A]);
    call_field(c, relu ? "mask" : "addend", op->in[relu ? RELU_GRAD_Y : ADD_B]);
    call_result(c, "y", op->out[0]);
}

static void call_convert(Call *c, const Op *op)
{
    const Value *x = op->in[CONVERT_X];
    const bool widens = x->number == NUMBER_BFLOAT16;
    const size_t count = value_count(x);
    c->type = widens ? "Widen" : "Narrow";
    c->macro = widens ? "widen" : "narrow";
    c->name = arena_printf(c->arena, "%s_%zu", c->macro, count);
    c->shape = call_map(c, x);
    call_constant(c, "%zu", count);
    call_field(c, "x", x);
    call_result(c, "y", op->out[0]);
}

const Kernel convert_by_direct = {"direct", NULL, NULL, NULL, NULL, call_convert};
const Kernel relu_grad_by_direct = {"direct", NULL, NULL, NULL, NULL, call_numbers};
const Kernel add_by_direct = {"direct", NULL, NULL, NULL, NULL, call_numbers};

/* ---- a bias's gradient ---- */

/* Over slices of the pixels first, in double. */
static void plan_bias_grad(const Graph *g, const Op *op, Plan *p)
{
    enum { SLICES = 8 };
    const Value *dy = op->in[BIAS_GRAD_DY];
    const int blocks = ceil_div((int)map_pixels(dy), PIXEL_BLOCK);
    (void)g;
    p->slices = blocks < SLICES ? blocks : SLICES;
    p->arena_floats = sizeof(double) / sizeof(float) * (size_t)p->slices * (size_t)dy->dims[3];
}

static void call_bias_grad(Call *c, const Op *op)
{
    const Value *dy = op->in[BIAS_GRAD_DY];
    c->type = "BiasGrad";
    c->name = arena_printf(c->arena, "bias_grad_%d_at_%d%s", dy->dims[3], dy->dims[1], call_images(c, dy));
    c->shape = call_map(c, dy);
    call_constant(c, "%zu, %d, %d", map_pixels(dy), dy->dims[3], op->plan.slices);
    call_field(c, "dy", dy);
    call_result(c, "db", op->out[0]);
    call_more(c, op->out[0]);
    call_scratch(c, "partial", op);
}

const Kernel bias_grad_by_direct = {"direct", NULL, NULL, NULL, plan_bias_grad, call_bias_grad};
