/* pipeline.c: the passes, one after the other. */
#include "amdimc.h"
#include <math.h>

/* FNV-1a, 64 bits: which specs' runs may be resumed by this program. */
static const char *digest_of(Arena *a, const Spec *s)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = spec_canonical(a, s); *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return arena_printf(a, "%016llx", (unsigned long long)hash);
}

static void finish_graph(Graph *g, bool backward, Products products)
{
    graph_check(g, "lower");
    if (backward) {
        differentiate(g);
        graph_check(g, "differentiate");
    }
    simplify(g);
    graph_check(g, "simplify");
    if (backward) {
        recompute(g);
        graph_check(g, "recompute");
    }
    select_kernels(g, products);
    cost_scratch(g);
    plan_memory(g);
    plan_check(g);
}

static bool uses_openblas(const Graph *g)
{
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->blas)
            return true;
    return false;
}

/* The budget is kept to, or refused with the least that would do. */
static bool fits_memory(Diagnostics *d, const Program *p)
{
    const Int memory = p->net->spec->target.memory;
    const double mebibyte = 1 << 20;
    if (!memory.v || p->peak.total <= (size_t)memory.v)
        return true;
    diag_error(d, memory.at,
               "the program needs %.0f MiB: weights and optimiser %.1f, activations and gradients %.1f, the "
               "rest %.1f",
               ceil((double)p->peak.total / mebibyte),
               (double)(p->peak.weights + p->peak.optimizer) / mebibyte, (double)p->peak.arena / mebibyte,
               (double)(p->peak.total - p->peak.weights - p->peak.optimizer - p->peak.arena) / mebibyte);
    diag_note(d, (Mark){0}, "a smaller batch or a narrower encoder needs less");
    return false;
}

Program *compile(Arena *a, Diagnostics *d, const Net *n, const char *templates, Products products)
{
    Program *p = ARENA_NEW(a, Program);
    ParamPool pool = {.arena = a, .net = n};
    Graph *step = lower_step(a, n, &pool);
    finish_graph(step, true, products);
    p->feature = ARENA_ARRAY(a, Graph *, n->scales + 1);
    p->feature[p->features++] = lower_encode(a, n, &pool, 0);
    for (int i = 0; i < n->scales; i++)
        if (n->scale[i].trained)
            p->feature[p->features++] = lower_encode(a, n, &pool, n->scale[i].scale);
    for (int i = 0; i < p->features; i++)
        finish_graph(p->feature[i], false, products);
    p->net = n;
    p->step = step;
    p->params = params_place(a, step, &pool);
    p->openblas = uses_openblas(step);
    for (int i = 0; i < p->features; i++)
        p->openblas |= uses_openblas(p->feature[i]);
    p->peak = cost_peak(step, p->params, p->features, p->feature, p->openblas);
    p->digest = digest_of(a, n->spec);
    p->triple = "native";
    p->templates = templates;
    return fits_memory(d, p) ? p : NULL;
}

Program *compile_without_openblas(Arena *a, Diagnostics *d, const Net *n, const char *templates)
{
    Spec *s = ARENA_NEW(a, Spec);
    *s = *n->spec;
    s->target.blas.v = "none";
    const Net *same = net_build(a, d, s);
    Program *p = same ? compile(a, d, same, templates, PRODUCTS_FASTEST) : NULL;
    if (!p)
        diag_note(d, (Mark){0},
                  "this is the model without OpenBLAS, which the folder has for machines that lack it");
    return p;
}
