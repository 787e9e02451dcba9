/* step.c: all that a step needs, allocated once, before the first. */
#include "runtime.h"
#include <stdlib.h>

static bool allocate_results(Machine *k, const AmdimModel *m, Fault *f)
{
    size_t locations = (size_t)m->located * (size_t)m->views * (size_t)m->batch;
    k->locations = allocate_zero(locations * sizeof *k->locations, "the source locations", f);
    k->step.pair_loss = allocate_zero((size_t)m->pairs * sizeof *k->step.pair_loss, "the losses", f);
    k->step.pair_accuracy =
        allocate_zero((size_t)m->pairs * sizeof *k->step.pair_accuracy, "the accuracies", f);
    k->step.embedding = allocate_zero((size_t)m->scales * sizeof *k->step.embedding, "the embeddings", f);
    return k->locations != NULL && k->step.pair_loss != NULL && k->step.pair_accuracy != NULL &&
           k->step.embedding != NULL;
}

bool machine_new(Machine *k, const AmdimModel *m, int threads, Fault *f)
{
    *k = (Machine){.model = m};
    if (m->tiles && !processor_permits_tiles())
        return fault(f,
                     "%s was compiled for a processor with matrix tiles (AMX), which this one lacks or its "
                     "system does not permit; compile it here, or for vectors: amdimc --march x86-64-v4",
                     m->name);
    if (m->start != NULL)
        m->start();
    k->pool = pool_new(threads, m->scratch_bytes, f);
    k->params = k->pool != NULL ? allocate_zero(m->param_floats * sizeof(float), "the weights", f) : NULL;
    k->step.arena = k->params != NULL ? allocate(m->arena_bytes, "the activations", f) : NULL;
    if (k->step.arena == NULL || !allocate_results(k, m, f)) {
        machine_free(k);
        return false;
    }
    k->step.pool = k->pool;
    k->step.params = k->params;
    k->step.locations = k->locations;
    return true;
}

void machine_free(Machine *k)
{
    pool_free(k->pool);
    free(k->params);
    free(k->locations);
    free(k->step.arena);
    free(k->step.pair_loss);
    free(k->step.pair_accuracy);
    free(k->step.embedding);
    *k = (Machine){0};
}

void machine_draw_locations(Machine *k, uint64_t seed, uint64_t step)
{
    const AmdimModel *m = k->model;
    for (int p = 0; p < m->pairs; p++) {
        const AmdimPair *pair = &m->pair[p];
        if (pair->located < 0)
            continue;
        uint32_t places = (uint32_t)pair->from * (uint32_t)pair->from;
        for (int v = 0; v < m->views; v++) {
            Random r = random_at(seed, RANDOM_LOCATION, step, (uint64_t)pair->located, v);
            int32_t *location = k->locations + (size_t)(pair->located * m->views + v) * (size_t)m->batch;
            for (int b = 0; b < m->batch; b++)
                location[b] = (int32_t)random_below(&r, places);
        }
    }
}

float *made_up_input(const AmdimModel *m, uint64_t seed, Fault *f)
{
    size_t floats = (size_t)m->size * (size_t)m->size * (size_t)m->channels;
    int images = m->views * m->batch;
    float *x = allocate((size_t)images * floats * sizeof(float), "input", f);
    for (int i = 0; x && i < images; i++) {
        Random r = random_at(seed, RANDOM_BENCH, 0, (uint64_t)i, 0);
        for (size_t j = 0; j < floats; j++)
            x[(size_t)i * floats + j] = (float)random_normal(&r);
    }
    return x;
}
