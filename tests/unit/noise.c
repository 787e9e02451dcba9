/* noise.c: see noise.h. */
#include "noise.h"

#include <math.h>

/* A linear congruential generator, of which the upper bits are used. */
static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

double noise(uint64_t *state)
{
    return (float)((double)next(state) / 0x40000000 - 1);
}

int noise_below(uint64_t *state, int n)
{
    return (int)(next(state) % (uint32_t)n);
}

/* Weights that keep the size of what passes; vectors around 1 where they scale, around 0 where they shift. */
static void fill_param(uint64_t *state, const Param *p, const Value *v, double *to)
{
    const double bound = p->rank == 4 ? sqrt(3.0 / v->dims[0]) : 0.5, centre = p->init == INIT_ONE;
    for (size_t i = 0; i < p->count; i++)
        to[i] = (float)(centre + bound * noise(state));
}

static void fill_locations(Interpreter *r, uint64_t *state)
{
    const Net *n = r->g->net;
    for (int i = 0; i < n->pairs; i++) {
        if (n->pair[i].located < 0)
            continue;
        const Value *v = r->g->location[n->pair[i].located];
        for (size_t k = 0; k < value_count(v); k++)
            r->value[v->id][k] = noise_below(state, n->pair[i].from->scale * n->pair[i].from->scale);
    }
}

void noise_fill(Interpreter *r, uint64_t seed)
{
    uint64_t state = seed;
    for (int i = 0; i < r->g->values; i++)
        if (r->g->value[i]->param)
            fill_param(&state, r->g->value[i]->param, r->g->value[i], r->value[i]);
    for (size_t i = 0; i < value_count(r->g->x); i++)
        r->value[r->g->x->id][i] = (float)(1.5 * noise(&state));
    fill_locations(r, &state);
}
