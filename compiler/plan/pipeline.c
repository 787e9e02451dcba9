/* pipeline.c: the passes, one after the other. */
#include "amdimc.h"
#include "kernels/kernel.h"

/* FNV-1a, 64 bits. */
const char *digest_of(Arena *a, const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return arena_printf(a, "%016llx", (unsigned long long)hash);
}

static void place_graph(Graph *g, const Choices *c)
{
    select_kernels(g, c);
    cost_scratch(g);
    plan_memory(g);
    plan_check(g);
}

/* Chunks first: where nothing is left to do backwards, the step's operation goes, too. */
static void simplify_all(Graph *g)
{
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->chunk) {
            simplify(g->op[i]->chunk);
            graph_check(g->op[i]->chunk, "simplify");
        }
    simplify(g);
    graph_check(g, "simplify");
}

/* Chunks first: the step's operation needs all the memory of what it runs. */
static void place_all(Graph *g, const Choices *c)
{
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->chunk)
            place_graph(g->op[i]->chunk, c);
    place_graph(g, c);
}

static void finish_step(Graph *g, double recompute_budget, const Choices *c)
{
    graph_check(g, "lower");
    differentiate(g);
    graph_check(g, "differentiate");
    simplify_all(g);
    recompute(g, recompute_budget);
    graph_check(g, "recompute");
    place_all(g, c);
}

static void finish_encoders(Graph *g, const Choices *c)
{
    graph_check(g, "lower");
    simplify(g);
    graph_check(g, "simplify");
    place_graph(g, c);
}

static bool is_openblas(const Op *op)
{
    return op_includes(op, "blas.h");
}

/* A library encodes one picture at a time. */
static int images_of_encoders(const Net *n, Schedule schedule)
{
    return n->spec->target.is_library ? 1 : schedule.chunk ? schedule.chunk : n->images;
}

Program *compile_schedule(Arena *a, const Net *n, const Choices *c, Schedule schedule)
{
    Program *p = ARENA_NEW(a, Program);
    ParamPool pool = {.arena = a, .net = n};
    Graph *step = lower_step(a, n, &pool, schedule.chunk);
    finish_step(step, schedule.recompute, c);
    p->feature = ARENA_ARRAY(a, Feature, 2 * n->scales + 1);
    Graph *encode = lower_encoders(a, n, &pool, images_of_encoders(n, schedule), p->feature, &p->features);
    if (n->spec->target.is_library) /* f_1 alone */
        encode->results = p->features = 1;
    finish_encoders(encode, c);
    p->net = n;
    p->step = step;
    p->encode = encode;
    p->schedule = schedule;
    p->params = params_place(a, step, &pool);
    p->openblas = graph_any(step, is_openblas) || graph_any(encode, is_openblas);
    p->peak = cost_peak(step, encode, p->params, p->openblas);
    if (n->spec->target.is_library) {
        p->library = cost_library(step, encode, p->params);
        p->peak = cost_library_parts(&p->library);
    }
    return p;
}
