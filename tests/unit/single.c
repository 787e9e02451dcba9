/* single.c: see single.h. */
#include "single.h"
#include "kernels/kernel.h"
#include "noise.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

void single_begin(Single *s, int views, int images)
{
    *s = (Single){.arena = arena_new(), .net = {.views = views, .images = images}, .noise = 1};
    s->spec = (Spec){.target = {.march = {.v = "native"}, .blas = {.v = "none"}, .threads = {.v = 3}}};
    s->net.spec = &s->spec;
    s->g = graph_new(s->arena, &s->net, "single");
}

void single_end(Single *s)
{
    arena_free(s->arena);
}

/* ---- the operation ---- */

Value *single_map(Single *s, const char *name, int side, int channels)
{
    return graph_map(s->g, name, side, channels);
}

Value *single_vector(Single *s, const char *name, int count)
{
    return graph_value(s->g, VALUE_PARAM, name, 1, &count);
}

static Value *weight_of(Single *s, const char *name, Conv c)
{
    return graph_value(s->g, VALUE_PARAM, name, 2, (int[]){c.kernel * c.kernel * c.in, c.out});
}

static Op *convolution(Single *s, OpKind kind, Conv c)
{
    Op *op = graph_op(s->g, kind, (Mark){0}, "conv");
    op->kernel = c.kernel;
    op->stride = c.stride;
    return op;
}

Op *single_conv(Single *s, Conv c, bool whole_tail)
{
    Op *op = convolution(s, OP_CONV, c);
    op->in[CONV_X] = single_map(s, "x", c.side, c.in);
    op->in[CONV_WEIGHT] = weight_of(s, "weight", c);
    op->in[CONV_BIAS] = whole_tail ? single_vector(s, "bias", c.out) : NULL;
    op->in[CONV_ADDEND] = whole_tail ? single_map(s, "addend", c.out_side, c.out) : NULL;
    op->relu = whole_tail;
    op->out[0] = single_map(s, "y", c.out_side, c.out);
    return op;
}

Op *single_grad_x(Single *s, Conv c, bool whole_tail)
{
    Op *op = convolution(s, OP_CONV_GRAD_X, c);
    op->in[CONV_GRAD_X_DY] = single_map(s, "dy", c.out_side, c.out);
    op->in[CONV_GRAD_X_WEIGHT] = weight_of(s, "weight", c);
    op->in[CONV_GRAD_X_ADDEND] = whole_tail ? single_map(s, "addend", c.side, c.in) : NULL;
    op->in[CONV_GRAD_X_MASK] = whole_tail ? single_map(s, "mask", c.side, c.in) : NULL;
    op->out[0] = single_map(s, "dx", c.side, c.in);
    return op;
}

Op *single_grad_w(Single *s, Conv c)
{
    Op *op = convolution(s, OP_CONV_GRAD_W, c);
    op->in[CONV_GRAD_W_X] = single_map(s, "x", c.side, c.in);
    op->in[CONV_GRAD_W_DY] = single_map(s, "dy", c.out_side, c.out);
    op->out[0] = weight_of(s, "dw", c);
    return op;
}

Plan single_plan(Single *s, const char *kernel)
{
    select_kernels(s->g, &(Choices){.forced = kernel});
    const Op *op = s->g->op[0];
    assert_string_equal(op->plan.kernel->name, kernel);
    return op->plan;
}

void single_fill(Single *s)
{
    s->want = interpreter_new(s->g);
    for (int i = 0; i < s->g->values; i++)
        for (size_t k = 0; k < value_count(s->g->value[i]); k++)
            s->want->value[i][k] = noise(&s->noise);
}

void single_run(Single *s)
{
    single_fill(s);
    interpret(s->want);
}

/* ---- the kernel's side ---- */

float *new_floats(size_t count)
{
    float *p = malloc(count * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < count; i++)
        p[i] = NAN;
    return p;
}

float *floats_of(const Single *s, const Value *v)
{
    if (!v)
        return NULL;
    float *p = new_floats(value_count(v));
    for (size_t i = 0; i < value_count(v); i++)
        p[i] = (float)s->want->value[v->id][i];
    return p;
}

void expect_within(double tolerance, const Single *s, const Value *v, float *got, const char *what)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < value_count(v); i++) {
        error += pow(got[i] - s->want->value[v->id][i], 2);
        size += pow(s->want->value[v->id][i], 2);
    }
    free(got);
    if (!(sqrt(error) <= tolerance * sqrt(size)))
        fail_msg("%s: relative error %.2e", what, sqrt(error / size));
}
