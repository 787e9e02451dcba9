/* lower_ops.c: operations and weights as lowering appends them to a graph. */
#include "lower_internal.h"
#include "blocks.h"

#include <math.h>
#include <string.h>

static char *identifier_of(Arena *a, const char *name)
{
    char *field = arena_copy(a, name, strlen(name));
    for (char *c = field; *c; c++)
        if (*c == '.')
            *c = '_';
    return field;
}

static Param *pool_param(ParamPool *pool, const char *name, int rank, const int *dims, bool trained,
                         Init init, double bound)
{
    for (int i = 0; i < pool->count; i++)
        if (!strcmp(pool->param[i]->name, name))
            return pool->param[i];
    if (pool->count == pool->capacity) {
        Param **old = pool->param;
        pool->capacity = pool->capacity ? 2 * pool->capacity : 256;
        pool->param = ARENA_ARRAY(pool->arena, Param *, pool->capacity);
        for (int i = 0; i < pool->count; i++)
            pool->param[i] = old[i];
    }
    Param *p = ARENA_NEW(pool->arena, Param);
    *p = (Param){.name = name,
                 .field = identifier_of(pool->arena, name),
                 .rank = rank,
                 .trained = trained,
                 .init = init,
                 .bound = bound,
                 .count = 1};
    for (int i = 0; i < rank; i++) {
        p->dims[i] = dims[i];
        p->count *= (size_t)dims[i];
    }
    return pool->param[pool->count++] = p;
}

const char *lower_name(Lower *l, const char *prefix, const char *suffix)
{
    return arena_printf(l->pool->arena, "%s.%s", prefix, suffix);
}

const char *lower_identifier(Lower *l, const char *label, const char *suffix)
{
    return identifier_of(l->g->arena, arena_printf(l->g->arena, "%s%s", label, suffix));
}

Value *param_weight(Lower *l, const char *name, int out, int in, int kernel, Init init, double bound)
{
    int dims[4] = {out, in, kernel, kernel};
    return graph_param(l->g, pool_param(l->pool, name, 4, dims, true, init, bound));
}

Value *param_vector(Lower *l, const char *name, int count, bool trained, Init init, double bound)
{
    return graph_param(l->g, pool_param(l->pool, name, 1, &count, trained, init, bound));
}

double fan_in_bound(int in, int kernel)
{
    return 1.0 / sqrt((double)in * kernel * kernel);
}

Value *op_pad(Lower *l, Value *x, int amount, bool reflect, Mark at, const char *label)
{
    if (!amount)
        return x;
    Op *op = graph_op(l->g, OP_PAD, at, label);
    op->in[PAD_X] = x;
    op->pad = amount;
    op->reflect = reflect;
    return op->out[0] =
               graph_map(l->g, lower_identifier(l, label, "_padded"), x->dims[1] + 2 * amount, x->dims[3]);
}

Value *op_convert(Lower *l, Value *x, Number number, Mark at, const char *label, const char *name)
{
    if (x->number == number)
        return x;
    for (int i = 0; i < l->g->ops; i++)
        if (l->g->op[i]->kind == OP_CONVERT && l->g->op[i]->in[CONVERT_X] == x)
            return l->g->op[i]->out[0];
    Op *op = graph_op(l->g, OP_CONVERT, at, label);
    op->in[CONVERT_X] = x;
    return op->out[0] = graph_value_of(l->g, number, VALUE_TEMPORARY, name, x->rank, x->dims);
}

Value *op_floats(Lower *l, Value *x, Mark at, const char *label)
{
    return op_convert(l, x, NUMBER_FLOAT32, at, label, arena_printf(l->g->arena, "%s_float32", x->name));
}

Value *op_conv(Lower *l, Value *x, Value *weight, Value *bias, Value *addend, int kernel, int stride,
               bool relu, Mark at, const char *label, const char *result)
{
    Op *op = graph_op(l->g, OP_CONV, at, label);
    op->in[CONV_X] = x;
    op->in[CONV_WEIGHT] = weight;
    op->in[CONV_BIAS] = bias;
    op->in[CONV_ADDEND] = addend;
    op->kernel = kernel;
    op->stride = stride;
    op->relu = relu;
    return op->out[0] = graph_map(l->g, result, (x->dims[1] - kernel) / stride + 1, weight->dims[1]);
}

Value *op_all_gather(Lower *l, Value *x, Mark at, const char *label, const char *result, int rank,
                     const int *dims)
{
    for (int i = 0; i < l->g->ops; i++)
        if (l->g->op[i]->kind == OP_ALL_GATHER && l->g->op[i]->in[ALL_GATHER_X] == x)
            return l->g->op[i]->out[0];
    Op *op = graph_op(l->g, OP_ALL_GATHER, at, label);
    op->in[ALL_GATHER_X] = x;
    return op->out[0] = graph_value(l->g, VALUE_TEMPORARY, result, rank, dims);
}

Value *op_gather_behind(Lower *l, Value *x, Mark at, const char *label)
{
    return op_all_gather(l, x, at, label, arena_printf(l->g->arena, "%s_of_all", x->name), 2,
                         (int[]){l->g->net->shares, (int)value_count(x)});
}

static Value *op_batchnorm_sums(Lower *l, Value *x, Mark at, const char *label)
{
    Op *op = graph_op(l->g, OP_BATCHNORM_SUMS, at, label);
    op->in[BATCHNORM_SUMS_X] = x;
    op->out[0] = graph_value(l->g, VALUE_TEMPORARY, lower_identifier(l, label, "_sums"), 3,
                             (int[]){l->g->net->views, BATCHNORM_SUM_ROWS, x->dims[3]});
    return op_gather_behind(l, op->out[0], at, label);
}

Value *op_batchnorm(Lower *l, Value *x, bool relu, Mark at, const char *label, const char *result)
{
    int channels = x->dims[3];
    Value *all = l->training && l->g->net->shares > 1 ? op_batchnorm_sums(l, x, at, label) : NULL;
    /* Both have the same operands. */
    Op *op = graph_op(l->g, l->training ? OP_BATCHNORM : OP_NORMALIZE, at, label);
    op->in[BATCHNORM_X] = x;
    op->in[BATCHNORM_WEIGHT] = param_vector(l, lower_name(l, label, "weight"), channels, true, INIT_ONE, 0);
    op->in[BATCHNORM_BIAS] = param_vector(l, lower_name(l, label, "bias"), channels, true, INIT_ZERO, 0);
    op->in[BATCHNORM_RUNNING_MEAN] =
        param_vector(l, lower_name(l, label, "running_mean"), channels, false, INIT_ZERO, 0);
    op->in[BATCHNORM_RUNNING_VAR] =
        param_vector(l, lower_name(l, label, "running_var"), channels, false, INIT_ONE, 0);
    op->in[BATCHNORM_ALL] = all;
    op->relu = relu;
    op->out[0] = graph_map(l->g, result, x->dims[1], channels);
    if (l->training)
        op->out[1] = graph_value(l->g, VALUE_TEMPORARY, lower_identifier(l, label, "_statistics"), 3,
                                 (int[]){l->g->net->views, 2, channels});
    return op->out[0];
}
