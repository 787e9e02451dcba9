/* explain.c: what layers, heads and pairs hold and cost, read off the finished list of operations, so that
 * what is said is what the program does. */
#include "explain.h"
#include <string.h>

/* Whose share an operation or tensor of the encoder or a head is, by its name: encoder.2.0.conv1, embed.5.bn.
 */
static Share *owner_by_name(const Explanation *e, const char *name)
{
    const Net *n = e->program->net;
    int number;
    if (sscanf(name, "encoder.%d", &number) == 1 && number < n->layers)
        return &e->layer[number];
    if (sscanf(name, "embed.%d", &number) == 1 && net_scale(n, number))
        return &e->scale[net_scale(n, number) - n->scale];
    bug("%s belongs to no layer and no head", name);
}

static void count_product(Explanation *e, const Op *op, int times, bool forward)
{
    double flop = op->again ? 0 : times * cost_op_flop(op);
    if (flop == 0)
        return;
    Share *owner = op->pair ? &e->pair[op->pair - e->program->net->pair] : owner_by_name(e, op->label);
    owner->step += flop;
    if (forward)
        owner->forward += flop;
}

static void count_products(Explanation *e)
{
    const Graph *g = e->program->step;
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        count_product(e, op, g->net->shares, i < e->forward_ops);
        for (int j = 0; op->chunk && j < op->chunk->ops; j++)
            count_product(e, op->chunk->op[j], g->net->shares * op->chunks, i < e->forward_ops);
    }
}

static Implementation *implementation_named(Explanation *e, const char *name)
{
    for (int i = 0; i < e->implementations; i++)
        if (!strcmp(e->implementation[i].name, name))
            return &e->implementation[i];
    if (e->implementations == IMPLEMENTATIONS)
        bug("more than %d implementations", IMPLEMENTATIONS);
    e->implementation[e->implementations].name = name;
    return &e->implementation[e->implementations++];
}

static void count_implementations(Explanation *e, const Graph *g, int times)
{
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        if (op->chunk)
            count_implementations(e, op->chunk, times * op->chunks);
        if (!cost_op_flop(op))
            continue;
        Implementation *m = implementation_named(e, op_kernel_name(op));
        m->operations++;
        m->flop += times * cost_op_flop(op);
    }
}

static void count_parameters(Explanation *e)
{
    const Params *all = e->program->params;
    for (int i = 0; i < all->count; i++)
        if (all->param[i]->trained)
            owner_by_name(e, all->param[i]->name)->parameters += all->param[i]->count;
}

static void add(Share *sum, const Share *share)
{
    sum->parameters += share->parameters;
    sum->forward += share->forward;
    sum->step += share->step;
}

static Share sum_of(const Share *share, int count)
{
    Share sum = {0};
    for (int i = 0; i < count; i++)
        add(&sum, &share[i]);
    return sum;
}

static void add_up(Explanation *e)
{
    const Net *n = e->program->net;
    e->encoder = sum_of(e->layer, n->layers);
    e->heads = sum_of(e->scale, n->scales);
    e->scores = sum_of(e->pair, n->pairs);
    add(&e->step, &e->encoder);
    add(&e->step, &e->heads);
    add(&e->step, &e->scores);
}

static int number_of_report(const Graph *g)
{
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->kind == OP_REPORT)
            return i;
    bug("the step reports no loss");
}

Explanation *explain(Arena *a, const Program *p)
{
    const Net *n = p->net;
    Explanation *e = ARENA_NEW(a, Explanation);
    e->program = p;
    e->layer = ARENA_ARRAY(a, Share, n->layers);
    e->scale = ARENA_ARRAY(a, Share, n->scales);
    e->pair = ARENA_ARRAY(a, Share, n->pairs);
    e->forward_ops = number_of_report(p->step);
    count_products(e);
    count_implementations(e, p->step, p->net->shares);
    count_parameters(e);
    add_up(e);
    explain_arena(a, e);
    return e;
}

/* With two views each is the source once; with one it is source and target. */
static double directions(const Net *n)
{
    return n->views;
}

double pair_positives(const NetPair *p, const Net *n)
{
    return directions(n) * n->batch * net_positions(p->to);
}

double pair_negatives_each(const NetPair *p, const Net *n)
{
    return (n->batch - 1) * net_positions(p->to);
}

/* The positives of a source image share theirs. */
double pair_negatives(const NetPair *p, const Net *n)
{
    return directions(n) * n->batch * pair_negatives_each(p, n);
}

double scale_sight(const NetScale *s, const Net *n)
{
    double size = (double)n->spec->input.size.v, field = s->layer->receptive_field;
    double side = field < size ? field / size : 1;
    return side * side;
}
