/* pipeline.c: the passes, one after the other. */
#include "amdimc.h"

/* FNV-1a, 64 bits. */
const char *digest_of(Arena *a, const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return arena_printf(a, "%016llx", (unsigned long long)hash);
}

static void place_graph(Graph *g, Products products)
{
    select_kernels(g, products);
    cost_scratch(g);
    plan_memory(g);
    plan_check(g);
}

/* What chunks run is made ready first: the step's operation needs all its memory. */
static void finish_chunks(const Graph *g, Products products)
{
    for (int i = 0; i < g->ops; i++) {
        Graph *chunk = g->op[i]->chunk;
        if (!chunk)
            continue;
        simplify(chunk);
        graph_check(chunk, "simplify");
        place_graph(chunk, products);
    }
}

static void finish_step(Graph *g, double recompute_budget, Products products)
{
    graph_check(g, "lower");
    differentiate(g);
    graph_check(g, "differentiate");
    simplify(g);
    graph_check(g, "simplify");
    recompute(g, recompute_budget);
    graph_check(g, "recompute");
    finish_chunks(g, products);
    place_graph(g, products);
}

static void finish_feature(Graph *g, Products products)
{
    graph_check(g, "lower");
    simplify(g);
    graph_check(g, "simplify");
    place_graph(g, products);
}

bool program_any(const Program *p, bool (*is)(const Op *op))
{
    bool any = graph_any(p->step, is);
    for (int i = 0; i < p->features; i++)
        any |= graph_any(p->feature[i], is);
    return any;
}

static bool is_openblas(const Op *op)
{
    return op->blas;
}

Program *compile_schedule(Arena *a, const Net *n, Products products, Schedule schedule)
{
    Program *p = ARENA_NEW(a, Program);
    ParamPool pool = {.arena = a, .net = n};
    const int images = schedule.chunk ? schedule.chunk : n->images;
    Graph *step = lower_step(a, n, &pool, schedule.chunk);
    finish_step(step, schedule.recompute, products);
    p->feature = ARENA_ARRAY(a, Graph *, n->scales + 1);
    p->feature[p->features++] = lower_encode(a, n, &pool, 0, images);
    for (int i = 0; i < n->scales; i++)
        if (n->scale[i].trained)
            p->feature[p->features++] = lower_encode(a, n, &pool, n->scale[i].scale, images);
    for (int i = 0; i < p->features; i++)
        finish_feature(p->feature[i], products);
    p->net = n;
    p->step = step;
    p->schedule = schedule;
    p->params = params_place(a, step, &pool);
    p->openblas = program_any(p, is_openblas);
    p->peak = cost_peak(step, p->params, p->features, p->feature, p->openblas);
    return p;
}
