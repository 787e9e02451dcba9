/* simplify.c: drops what nothing uses, and folds a ReLU's mask into the operation that makes what it masks,
 * also where a batchnorm's gradient has it. */
#include "amdimc.h"

/* Operations that are wanted for what they do, not for a result. */
static bool has_effect(const Op *op)
{
    return op->kind == OP_TAKE || op->kind == OP_REPORT || op->kind == OP_ENCODE ||
           (op->kind == OP_ENCODE_GRAD && op->chunk->ops > 0) || op->kind == OP_NCE_SUMS ||
           op->kind == OP_SHARE_SUMS || (op->out[0] && op->out[0]->kind == VALUE_OUTER);
}

static bool any_result_used(const Op *op, const bool *used)
{
    for (int j = 0; j < OP_OUTPUTS; j++)
        if (op->out[j] && used[op->out[j]->id])
            return true;
    return false;
}

static void drop_unused(Graph *g)
{
    bool *used = ARENA_ARRAY(g->arena, bool, g->values), *kept = ARENA_ARRAY(g->arena, bool, g->ops);
    for (int i = 0; i < g->results; i++)
        used[g->result[i]->id] = true;
    for (int i = g->ops - 1; i >= 0; i--) {
        const Op *op = g->op[i];
        kept[i] = has_effect(op) || any_result_used(op, used);
        for (int j = 0; kept[i] && j < op->inputs; j++)
            if (op->in[j])
                used[op->in[j]->id] = true;
    }
    int ops = 0;
    for (int i = 0; i < g->ops; i++)
        if (kept[i])
            g->op[ops++] = g->op[i];
    g->ops = ops;
}

static int uses(const Graph *g, const Value *v)
{
    int count = 0;
    for (int i = 0; i < g->ops; i++)
        for (int j = 0; j < g->op[i]->inputs; j++)
            count += g->op[i]->in[j] == v;
    return count;
}

static void fold_masks(Graph *g)
{
    int ops = 0;
    Op **kept = ARENA_ARRAY(g->arena, Op *, g->ops);
    for (int i = 0; i < g->ops; i++) {
        Op *op = g->op[i], *source = op->kind == OP_RELU_GRAD ? graph_maker(g, op->in[RELU_GRAD_DY]) : NULL;
        const int mask = source ? op_operand(source->kind, MASK) : -1;
        if (mask >= 0 && !source->in[mask] && uses(g, op->in[RELU_GRAD_DY]) == 1) {
            source->in[mask] = op->in[RELU_GRAD_Y];
            source->out[0] = op->out[0];
            continue;
        }
        kept[ops++] = op;
    }
    g->op = kept;
    g->ops = g->capacity = ops;
}

/* The operand that is the ReLU's result behind a batchnorm, of a gradient, or of its sums, that reads dy; or
 * -1. */
static int relu_of_batchnorm(const Op *op, const Value *dy)
{
    if (op->kind == OP_BATCHNORM_GRAD && op->in[BATCHNORM_GRAD_DY] == dy)
        return BATCHNORM_GRAD_Y;
    if (op->kind == OP_BATCHNORM_GRAD_SUMS && op->in[BATCHNORM_GRAD_SUMS_DY] == dy)
        return BATCHNORM_GRAD_SUMS_Y;
    return -1;
}

/* Takes the ReLU from those that read dy, if all of them have it; returns its result, or NULL. */
static Value *take_relu(Graph *g, const Value *dy)
{
    Value *y = NULL;
    int readers = 0;
    for (int i = 0; i < g->ops; i++) {
        const int relu = relu_of_batchnorm(g->op[i], dy);
        if (relu >= 0 && g->op[i]->in[relu]) {
            y = g->op[i]->in[relu];
            readers++;
        }
    }
    if (!readers || uses(g, dy) != readers)
        return NULL;
    for (int i = 0; i < g->ops; i++)
        if (relu_of_batchnorm(g->op[i], dy) >= 0)
            g->op[i]->in[relu_of_batchnorm(g->op[i], dy)] = NULL;
    return y;
}

/* A batchnorm's gradient would apply the mask in each of its passes, and a product makes less behind one. */
static void move_masks(Graph *g)
{
    for (int i = 0; i < g->ops; i++) {
        Op *op = g->op[i];
        const int mask = op_operand(op->kind, MASK);
        if (mask >= 0 && !op->in[mask] && op->out[0])
            op->in[mask] = take_relu(g, op->out[0]);
    }
}

/* Renumbers the values that are still there. */
static void drop_values(Graph *g)
{
    bool *there = ARENA_ARRAY(g->arena, bool, g->values);
    for (int i = 0; i < g->ops; i++) {
        for (int j = 0; j < g->op[i]->inputs; j++)
            if (g->op[i]->in[j])
                there[g->op[i]->in[j]->id] = true;
        for (int j = 0; j < OP_OUTPUTS; j++)
            if (g->op[i]->out[j])
                there[g->op[i]->out[j]->id] = true;
    }
    int values = 0;
    for (int i = 0; i < g->values; i++)
        if (there[i] || g->value[i]->kind == VALUE_INPUT) {
            g->value[values] = g->value[i];
            g->value[values]->id = g->value[values]->home = values;
            values++;
        }
    g->values = values;
}

void simplify(Graph *g)
{
    drop_unused(g);
    fold_masks(g);
    move_masks(g);
    drop_values(g);
}
