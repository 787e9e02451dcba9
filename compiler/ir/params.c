/* params.c: the tensors of files, one after the other in one block of floats, trained ones first. */
#include "amdimc.h"

enum { PARAM_ALIGNMENT = 16 }; /* floats */

static bool graph_uses(const Graph *g, const Param *p)
{
    for (int i = 0; i < g->values; i++)
        if (g->value[i]->param == p)
            return true;
    return false;
}

Params *params_place(Arena *a, const Graph *step, const ParamPool *pool)
{
    Params *all = ARENA_NEW(a, Params);
    all->param = ARENA_ARRAY(a, Param *, pool->count);
    for (int trained = 1; trained >= 0; trained--) {
        for (int i = 0; i < pool->count; i++) {
            Param *p = pool->param[i];
            if (p->trained != trained || !graph_uses(step, p))
                continue;
            p->index = all->count;
            p->offset = all->floats;
            all->param[all->count++] = p;
            all->floats += (p->count + PARAM_ALIGNMENT - 1) / PARAM_ALIGNMENT * PARAM_ALIGNMENT;
        }
        if (trained)
            all->trained_floats = all->floats;
    }
    return all;
}
