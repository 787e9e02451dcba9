/* ir.c: the list of operations: making, checking and printing it. */
#include "amdimc.h"
#include <string.h>

static const char *const op_names[] = {
#define OP(kind, name) name,
#include "ops.def"
#undef OP
};

const char *op_name(OpKind k)
{
    return op_names[k];
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
    Value *v = ARENA_NEW(g->arena, Value);
    v->id = v->home = g->values;
    v->kind = kind;
    v->name = name;
    for (int i = 2; name_taken(g, v->name); i++)
        v->name = arena_printf(g->arena, "%s_%d", name, i);
    v->rank = rank;
    for (int i = 0; i < rank; i++)
        v->dims[i] = dims[i];
    v->bytes = value_count(v) * sizeof(float);
    g->value = grown(g->arena, g->value, g->values, &g->value_capacity, sizeof *g->value);
    return g->value[g->values++] = v;
}

Value *graph_param(Graph *g, Param *p)
{
    for (int i = 0; i < g->values; i++)
        if (g->value[i]->param == p)
            return g->value[i];
    char *name = arena_copy(g->arena, p->name, strlen(p->name));
    for (char *c = name; *c; c++)
        if (*c == '.')
            *c = '_';
    int matrix[2] = {p->dims[1] * p->dims[2] * p->dims[3], p->dims[0]};
    Value *v = p->rank == 4 ? graph_value(g, VALUE_PARAM, name, 2, matrix)
                            : graph_value(g, VALUE_PARAM, name, 1, p->dims);
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
    Value *v = graph_value(g, VALUE_OUTER, name, whole->rank, dims);
    v->outer = whole;
    return v;
}

Value *graph_map(Graph *g, const char *name, int side, int channels)
{
    return graph_value(g, VALUE_TEMPORARY, name, 4, (int[]){g->net->images, side, side, channels});
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

/* The optional inputs that are summed into, or mask, the first output element by element. */
static void check_tail(const Op *op, int first, int count, const char *pass)
{
    for (int i = first; i < first + count; i++)
        if (op->in[i] && !same_shape(op->in[i], op->out[0]))
            bug("after %s: %s of %s: %s is not shaped like %s", pass, op_name(op->kind), op->label,
                op->in[i]->name, op->out[0]->name);
}

static void check_shapes(const Op *op, const char *pass)
{
    const Value *x = op->in[0], *y = op->out[0], *w = op->in[1];
    switch (op->kind) {
    case OP_CONV:
        if (w->dims[0] != op->kernel * op->kernel * x->dims[3] || w->dims[1] != y->dims[3] ||
            (x->dims[1] - op->kernel) / op->stride + 1 != y->dims[1])
            bug("after %s: conv %s does not fit its shapes", pass, op->label);
        check_tail(op, 3, 1, pass);
        break;
    case OP_CONV_GRAD_X:
        if (w->dims[0] != op->kernel * op->kernel * y->dims[3] || w->dims[1] != x->dims[3] ||
            (y->dims[1] - op->kernel) / op->stride + 1 != x->dims[1])
            bug("after %s: conv_grad_x %s does not fit its shapes", pass, op->label);
        check_tail(op, 2, 2, pass);
        break;
    case OP_PAD_GRAD: check_tail(op, 1, 2, pass); break;
    case OP_POOL_GRAD: check_tail(op, 1, 1, pass); break;
    case OP_GATHER_GRAD:
    case OP_SCORES_GRAD_A:
    case OP_SCORES_GRAD_T: check_tail(op, 2, 1, pass); break;
    case OP_RELU_GRAD:
    case OP_ADD: check_tail(op, 0, 2, pass); break;
    case OP_BATCHNORM_GRAD:
    case OP_NCE_GRAD: check_tail(op, 0, 1, pass); break;
    case OP_TAKE:
        if (!same_shape(x, w))
            bug("after %s: the gradient %s is not shaped like %s", pass, x->name, w->name);
        break;
    default: break;
    }
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

static void print_shape(const Value *v, FILE *stream)
{
    for (int i = 0; i < v->rank; i++)
        fprintf(stream, "%s%d", i ? "x" : "", v->dims[i]);
}

static void print_attributes(const Op *op, FILE *stream)
{
    if (op->kernel > 1)
        fprintf(stream, " kernel=%d", op->kernel);
    if (op->stride > 1)
        fprintf(stream, " stride=%d", op->stride);
    if (op->pad)
        fprintf(stream, " pad=%d%s", op->pad, op->reflect ? " reflect" : "");
    if (op->relu)
        fputs(" relu", stream);
    if (op->again)
        fputs(" again", stream);
    if (op->kind == OP_NCE_GRAD)
        fprintf(stream, " weight=%.9g", op->pair->spec->weight.v);
}

void graph_print(const Graph *g, FILE *stream)
{
    fprintf(stream, "%s: %d operations, arena of %zu bytes\n", g->name, g->ops, g->arena_bytes);
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        fprintf(stream, "%4d  ", i);
        for (int j = 0; j < OP_OUTPUTS; j++)
            if (op->out[j]) {
                fprintf(stream, "%s%s:", j ? ", " : "", op->out[j]->name);
                print_shape(op->out[j], stream);
                if (op->out[j]->kind == VALUE_TEMPORARY)
                    fprintf(stream, "@%zu", op->out[j]->offset);
            }
        fprintf(stream, "%s%s", op->out[0] ? " = " : "", op_name(op->kind));
        for (int j = 0; j < op->inputs; j++)
            if (op->in[j])
                fprintf(stream, " %s", op->in[j]->name);
        print_attributes(op, stream);
        if (op->at.source)
            fprintf(stream, "  ; %s:%d", op->at.source->name, op->at.line);
        fputc('\n', stream);
    }
}
