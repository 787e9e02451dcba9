/* plan.c: lifetimes over the list, results that take over an input's memory, offsets in one arena.
 *
 * A value lives from the operation that makes it to the last that reads it. Values that share memory in place
 * form a family with one lifetime, the union of theirs. Families are placed from the largest to the smallest,
 * each in the smallest gap between those placed before that live at the same time (best fit): near optimal
 * for these lists, and the same for the same list. */
#include "amdimc.h"
#include <stdlib.h>

enum { ALIGNMENT = 64 };

static Value *home(const Graph *g, const Value *v)
{
    Value *h = g->value[v->home];
    while (h->home != h->id)
        h = g->value[h->home];
    return h;
}

static void find_lifetimes(Graph *g)
{
    for (int i = 0; i < g->values; i++) {
        g->value[i]->first = g->value[i]->last = -1;
        g->value[i]->home = i;
    }
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        for (int j = 0; j < op->inputs; j++)
            if (op->in[j])
                op->in[j]->last = i;
        for (int j = 0; j < OP_OUTPUTS; j++)
            if (op->out[j])
                op->out[j]->first = op->out[j]->last = i;
        if (op->scratch)
            op->scratch->first = op->scratch->last = i;
    }
}

static bool read_elsewhere(const Op *op, int input)
{
    for (int j = 0; j < op->inputs; j++)
        if (j != input && op->in[j] == op->in[input])
            return true;
    return false;
}

static void share_in_place(Graph *g)
{
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        int input = op_operand(op->kind, IN_PLACE);
        Value *from = input >= 0 ? op->in[input] : NULL;
        if (!from || from->kind != VALUE_TEMPORARY || op->out[0]->kind != VALUE_TEMPORARY ||
            read_elsewhere(op, input) || from->bytes != op->out[0]->bytes)
            continue;
        Value *family = home(g, from);
        if (family->last != i)
            continue;
        op->out[0]->home = family->id;
        if (op->out[0]->last > family->last)
            family->last = op->out[0]->last;
    }
}

static bool live_together(const Value *a, const Value *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static int larger_first(const void *a, const void *b)
{
    const Value *x = *(Value *const *)a, *y = *(Value *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->id - y->id;
}

static int lower_offset(const void *a, const void *b)
{
    const Value *x = *(Value *const *)a, *y = *(Value *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset ? 1 : x->id - y->id;
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The smallest gap between placed neighbours that live at the same time, or the end. */
static size_t find_offset(Value **placed, int count, const Value *v, Value **neighbour)
{
    int neighbours = 0;
    for (int i = 0; i < count; i++)
        if (live_together(placed[i], v))
            neighbour[neighbours++] = placed[i];
    qsort(neighbour, (size_t)neighbours, sizeof(Value *), lower_offset);
    size_t end = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (int i = 0; i < neighbours; i++) {
        size_t begin = neighbour[i]->offset;
        if (begin > end && begin - end >= v->bytes && begin - end < best_gap) {
            best = end;
            best_gap = begin - end;
        }
        size_t past = aligned(begin + neighbour[i]->bytes);
        if (past > end)
            end = past;
    }
    return best < SIZE_MAX ? best : end;
}

void plan_memory(Graph *g)
{
    find_lifetimes(g);
    share_in_place(g);
    Value **family = ARENA_ARRAY(g->arena, Value *, g->values),
          **neighbour = ARENA_ARRAY(g->arena, Value *, g->values);
    int families = 0;
    for (int i = 0; i < g->values; i++)
        if (g->value[i]->kind == VALUE_TEMPORARY && g->value[i]->home == i)
            family[families++] = g->value[i];
    qsort(family, (size_t)families, sizeof(Value *), larger_first);
    g->arena_bytes = 0;
    for (int i = 0; i < families; i++) {
        family[i]->offset = find_offset(family, i, family[i], neighbour);
        size_t end = aligned(family[i]->offset + family[i]->bytes);
        if (end > g->arena_bytes)
            g->arena_bytes = end;
    }
    for (int i = 0; i < g->values; i++)
        if (g->value[i]->kind == VALUE_TEMPORARY)
            g->value[i]->offset = home(g, g->value[i])->offset;
}

void plan_check(const Graph *g)
{
    for (int i = 0; i < g->values; i++)
        for (int j = 0; j < i; j++) {
            const Value *a = g->value[i], *b = g->value[j];
            if (a->kind != VALUE_TEMPORARY || b->kind != VALUE_TEMPORARY || home(g, a) == home(g, b))
                continue;
            const Value *x = home(g, a), *y = home(g, b);
            if (live_together(x, y) && x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes)
                bug("plan: %s and %s overlap", a->name, b->name);
        }
}
