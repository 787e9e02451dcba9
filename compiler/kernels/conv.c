/* conv.c: the calls of a convolution's three products, by whichever kernel. */
#include "kernel.h"
#include <string.h>

/* "grad_w_winograd_4x4_..."; what is direct, tap by tap, goes without saying. */
void conv_begin(Call *c, const Op *op, const char *product)
{
    const Kernel *k = op->plan.kernel;
    const ConvOperands o = conv_operands(op);
    const char *shape = call_shape_name(c, op, o.x, o.y);
    c->macro = arena_printf(c->arena, "%s_%s", op_name(op->kind), k->name);
    c->name = !strcmp(k->name, "direct") ? arena_printf(c->arena, "%s_%s", product, shape)
                                         : arena_printf(c->arena, "%s_%s_%s", product, k->name, shape);
    c->shape = arena_printf(c->arena, "%s%s%s%s", call_window(c, op, o.x, o.y), o.bias ? ", bias" : "",
                            o.addend ? ", sum" : "", o.mask ? ", mask" : "");
    if (op->plan.asked_outputs && op->plan.outputs)
        c->name = arena_printf(c->arena, "%s_f%d", c->name, op->plan.outputs);
    call_shape(c, op, o.x, o.y);
    if (op->plan.outputs)
        call_constant(c, "F(%d, %d)", op->plan.outputs, op->kernel / op->stride);
}

void conv_name_tail(Call *c, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    c->name = arena_printf(c->arena, "%s%s%s%s", c->name, o.bias ? "_bias" : "", o.addend ? "_add" : "",
                           op->relu ? "_relu" : "");
    call_tail(c, o.bias ? "TAIL_BIAS" : NULL, o.addend ? "TAIL_ADD" : NULL, op->relu ? "TAIL_RELU" : NULL);
}

void conv_call(Call *c, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    c->type = "Conv";
    conv_begin(c, op, "conv");
    conv_name_tail(c, op);
    call_constant(c, "%d", op->plan.parts);
    call_field(c, "x", o.x);
    call_field(c, "weight", o.weight);
    call_field(c, "bias", o.bias);
    call_field(c, "addend", o.addend);
    call_result(c, "y", o.y);
    call_scratch(c, "packed", op);
}

void conv_grad_x_operands(Call *c, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    c->type = "ConvGradX";
    call_field(c, "dy", o.y);
    call_field(c, "weight", o.weight);
    call_field(c, "addend", o.addend);
    call_field(c, "mask", o.mask);
    call_result(c, "dx", o.x);
    call_scratch(c, "packed", op);
}

void conv_grad_x_fields(Call *c, const Op *op)
{
    call_constant(c, "%d", op->plan.parts);
    conv_grad_x_operands(c, op);
}

void conv_grad_x_name(Call *c, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    conv_begin(c, op, "grad_x");
    c->name = arena_printf(c->arena, "%s%s%s", c->name, o.addend ? "_add" : "", o.mask ? "_mask" : "");
    call_tail(c, o.addend ? "TAIL_ADD" : NULL, o.mask ? "TAIL_MASK" : NULL, NULL);
}

void conv_grad_x_call(Call *c, const Op *op)
{
    conv_grad_x_name(c, op);
    conv_grad_x_fields(c, op);
}

void conv_grad_w_call(Call *c, const Op *op)
{
    const ConvOperands o = conv_operands(op);
    c->type = "ConvGradW";
    conv_begin(c, op, "grad_w");
    call_field(c, "x", o.x);
    call_field(c, "dy", o.y);
    call_result(c, "dw", o.weight);
    call_more(c, o.weight);
    call_scratch(c, "partial", op);
}

void conv_name_slices(Call *c, const Op *op)
{
    if (op->plan.asked_slices)
        c->name = arena_printf(c->arena, "%s_in_%d", c->name, op->plan.slices);
}
