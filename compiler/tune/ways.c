/* ways.c: the products of a step that can be made in more than one way. */
#include "tune.h"
#include <string.h>

/* Activations that are computed again have the label of the first time, and its way. */
static bool is_there(const Products *all, const Op *op)
{
    for (int i = 0; i < all->count; i++) {
        const Choice *c = all->product[i].way;
        if (!strcmp(c->product, op_name(op->kind)) && !strcmp(c->layer, op->label))
            return true;
    }
    return false;
}

static void add_product(Products *all, const Graph *g, const Op *op)
{
    Product p = {0};
    p.ways = kernel_choices(g, op, p.way, MOST_WAYS);
    if (p.ways < 2 || is_there(all, op))
        return;
    all->product[all->count++] = p;
    if (p.ways > all->most_ways)
        all->most_ways = p.ways;
}

static void add_products(Products *all, const Graph *g)
{
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->chunk)
            add_products(all, g->op[i]->chunk);
        else
            add_product(all, g, g->op[i]);
}

static int count_ops(const Graph *g)
{
    int count = g->ops;
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->chunk)
            count += count_ops(g->op[i]->chunk);
    return count;
}

Products products_of(Arena *a, const Program *p)
{
    Products all = {.product = ARENA_ARRAY(a, Product, count_ops(p->step))};
    add_products(&all, p->step);
    return all;
}

int product_best(const Product *p)
{
    static const double NOISE = 0.03; /* of a time */
    int best = 0;
    for (int way = 1; way < p->ways; way++)
        if (p->seconds[way] > 0 && p->seconds[way] < p->seconds[best])
            best = way;
    return p->seconds[best] < (1 - NOISE) * p->seconds[0] ? best : 0;
}

const char *way_text(Arena *a, const Choice *c)
{
    const char *text = c->kernel;
    if (c->outputs)
        text = arena_printf(a, "%s, outputs %d", text, c->outputs);
    return c->slices ? arena_printf(a, "%s, slices %d", text, c->slices) : text;
}
