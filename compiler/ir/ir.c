/* ir.c: the list of operations: making and checking it. */
#include "amdimc.h"
#include <string.h>

enum { MOST_OPERANDS = 7 };

/* What ops.def says. */
static const struct {
    const char *name;
    Purpose purpose;
} ops[OP_COUNT] = {
#define OP(kind, name, purpose) [OP_##kind] = {name, PURPOSE_##purpose},
#define OPERAND(kind, name, number, facts)
#include "ops.def"
#undef OP
#undef OPERAND
};

/* A fact of an operand that is there stands beside THERE. */
enum { THERE = 32 };
static const unsigned char operand_facts[OP_COUNT][MOST_OPERANDS] = {
#define OP(kind, name, purpose)
#define OPERAND(kind, name, number, facts) [OP_##kind][number] = THERE | (facts),
#include "ops.def"
#undef OP
#undef OPERAND
};

const char *op_name(OpKind k)
{
    return ops[k].name;
}

Purpose op_purpose(OpKind k)
{
    return ops[k].purpose;
}

static bool has_fact(OpKind k, int operand, Fact fact)
{
    return (operand_facts[k][operand] & fact) == (unsigned)fact;
}

int op_operand(OpKind k, Fact fact)
{
    for (int i = 0; i < MOST_OPERANDS; i++)
        if (has_fact(k, i, fact))
            return i;
    return -1;
}

static const struct {
    const char *name;
    size_t bytes;
} numbers[NUMBERS] = {
    [NUMBER_FLOAT32] = {"float32", sizeof(float)},
    [NUMBER_BFLOAT16] = {"bfloat16", sizeof(uint16_t)},
    [NUMBER_INT32] = {"int32", sizeof(int32_t)},
};

size_t number_bytes(Number n)
{
    return numbers[n].bytes;
}

const char *number_name(Number n)
{
    return numbers[n].name;
}

Graph *graph_new(Arena *a, const Net *n, const char *name)
{
    Graph *g = ARENA_NEW(a, Graph);
    g->arena = a;
    g->net = n;
    g->name = name;
    g->location = ARENA_ARRAY(a, Value *, n->located ? n->located : 1);
    return g;
}

static void *grown(Arena *a, void *old, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return old;
    *capacity = *capacity ? 2 * *capacity : 64;
    void *larger = arena_zeroed(a, (size_t)*capacity * size);
    if (old)
        memcpy(larger, old, (size_t)count * size);
    return larger;
}

static bool name_taken(const Graph *g, const char *name)
{
    for (int i = 0; i < g->values; i++)
        if (!strcmp(g->value[i]->name, name))
            return true;
    return false;
}

Value *graph_value(Graph *g, ValueKind kind, const char *name, int rank, const int *dims)
{
    return graph_value_of(g, NUMBER_FLOAT32, kind, name, rank, dims);
}

Value *graph_value_of(Graph *g, Number number, ValueKind kind, const char *name, int rank, const int *dims)
{
    Value *v = ARENA_NEW(g->arena, Value);
    v->id = v->home = g->values;
    v->kind = kind;
    v->number = number;
    v->name = name;
    for (int i = 2; name_taken(g, v->name); i++)
        v->name = arena_printf(g->arena, "%s_%d", name, i);
    v->rank = rank;
    for (int i = 0; i < rank; i++)
        v->dims[i] = dims[i];
    v->bytes = value_count(v) * number_bytes(number);
    g->value = grown(g->arena, g->value, g->values, &g->value_capacity, sizeof *g->value);
    return g->value[g->values++] = v;
}

Value *graph_param(Graph *g, Param *p)
{
    for (int i = 0; i < g->values; i++)
        if (g->value[i]->param == p)
            return g->value[i];
    int matrix[2] = {p->dims[1] * p->dims[2] * p->dims[3], p->dims[0]};
    Value *v = p->rank == 4 ? graph_value(g, VALUE_PARAM, p->field, 2, matrix)
                            : graph_value(g, VALUE_PARAM, p->field, 1, p->dims);
    v->param = p;
    return v;
}

Value *graph_outer(Graph *g, const Value *whole, const char *name)
{
    int dims[4];
    for (int i = 0; i < whole->rank; i++)
        dims[i] = whole->dims[i];
    if (whole->rank == 4)
        dims[0] = g->net->images;
    Value *v = graph_value_of(g, whole->number, VALUE_OUTER, name, whole->rank, dims);
    v->outer = whole;
    return v;
}

static Value *map_of(Graph *g, Number number, const char *name, int side, int channels)
{
    return graph_value_of(g, number, VALUE_TEMPORARY, name, 4, (int[]){g->net->images, side, side, channels});
}

Value *graph_map(Graph *g, const char *name, int side, int channels)
{
    return map_of(g, activation_number(g->net->spec), name, side, channels);
}

Value *graph_float_map(Graph *g, const char *name, int side, int channels)
{
    return map_of(g, NUMBER_FLOAT32, name, side, channels);
}

Number activation_number(const Spec *s)
{
    return s->target.precision == PRECISION_BFLOAT16 ? NUMBER_BFLOAT16 : NUMBER_FLOAT32;
}

Op *graph_op(Graph *g, OpKind kind, Mark at, const char *label)
{
    return graph_op_wide(g, kind, at, label, OP_INPUTS);
}

Op *graph_op_wide(Graph *g, OpKind kind, Mark at, const char *label, int inputs)
{
    Op *op = ARENA_NEW(g->arena, Op);
    op->inputs = inputs;
    op->in = ARENA_ARRAY(g->arena, Value *, inputs);
    op->kind = kind;
    op->at = at;
    op->label = label;
    op->kernel = op->stride = 1;
    g->op = grown(g->arena, g->op, g->ops, &g->capacity, sizeof *g->op);
    return g->op[g->ops++] = op;
}

Op *graph_maker(const Graph *g, const Value *v)
{
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->out[0] == v)
            return g->op[i];
    return NULL;
}

size_t value_count(const Value *v)
{
    size_t count = 1;
    for (int i = 0; i < v->rank; i++)
        count *= (size_t)v->dims[i];
    return count;
}

bool graph_any(const Graph *g, bool (*is)(const Op *op))
{
    for (int i = 0; i < g->ops; i++)
        if (is(g->op[i]) || (g->op[i]->chunk && graph_any(g->op[i]->chunk, is)))
            return true;
    return false;
}

static bool same_shape(const Value *a, const Value *b)
{
    return a->rank == b->rank && !memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank);
}

static void check_operand(const Op *op, int i, const char *pass)
{
    const Value *v = op->in[i];
    if (!v && !has_fact(op->kind, i, OPTIONAL))
        bug("after %s: %s of %s lacks its operand %d", pass, op_name(op->kind), op->label, i);
    if (v && has_fact(op->kind, i, ALIKE) && !same_shape(v, op->out[0]))
        bug("after %s: %s of %s: %s is not shaped like %s", pass, op_name(op->kind), op->label, v->name,
            op->out[0]->name);
}

/* What ops.def says of the operands, and the geometry of products. */
static void check_shapes(const Op *op, const char *pass)
{
    for (int i = 0; i < MOST_OPERANDS; i++)
        if (operand_facts[op->kind][i] & THERE)
            check_operand(op, i, pass);
    const bool backward = op->kind == OP_CONV_GRAD_X;
    if (op->kind == OP_CONV || backward) {
        const Value *w = op->in[backward ? CONV_GRAD_X_WEIGHT : CONV_WEIGHT],
                    *x = backward ? op->out[0] : op->in[CONV_X],
                    *y = backward ? op->in[CONV_GRAD_X_DY] : op->out[0];
        if (w->dims[0] != op->kernel * op->kernel * x->dims[3] || w->dims[1] != y->dims[3] ||
            (x->dims[1] - op->kernel) / op->stride + 1 != y->dims[1])
            bug("after %s: %s of %s does not fit its shapes", pass, op_name(op->kind), op->label);
    }
    if (op->kind == OP_TAKE && !same_shape(op->in[TAKE_GRADIENT], op->in[TAKE_PARAM]))
        bug("after %s: the gradient %s is not shaped like %s", pass, op->in[TAKE_GRADIENT]->name,
            op->in[TAKE_PARAM]->name);
}

void graph_check(const Graph *g, const char *pass)
{
    bool *made = ARENA_ARRAY(g->arena, bool, g->values);
    for (int i = 0; i < g->values; i++) {
        made[i] = g->value[i]->kind != VALUE_TEMPORARY;
        if (g->value[i]->id != i)
            bug("after %s: value %d carries number %d", pass, i, g->value[i]->id);
    }
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        for (int j = 0; j < op->inputs; j++)
            if (op->in[j] && !made[op->in[j]->id])
                bug("after %s: %s of %s uses %s before it is made", pass, op_name(op->kind), op->label,
                    op->in[j]->name);
        for (int j = 0; j < OP_OUTPUTS; j++) {
            if (op->out[j] && op->out[j]->kind != VALUE_OUTER && made[op->out[j]->id])
                bug("after %s: %s is made twice", pass, op->out[j]->name);
            if (op->out[j])
                made[op->out[j]->id] = true;
        }
        check_shapes(op, pass);
    }
}
