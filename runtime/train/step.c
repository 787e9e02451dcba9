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

static bool keep_company(Machine *k, Fault *f)
{
    const AmdimModel *m = k->model;
    k->company = company_new(m, &k->step, f);
    if (k->company == NULL)
        return false;
    k->held.count = m->batch / company_processes(k->company);
    k->held.first = company_process(k->company) * k->held.count;
    return true;
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
    k->held = (Held){0, m->batch, m->shares > 1 ? m->batch / m->shares : m->batch};
    if (m->shares > 1 && !keep_company(k, f)) {
        machine_free(k);
        return false;
    }
    return true;
}

bool machine_rests(const Machine *k, const char *command)
{
    const int processes = company_processes(k->company);
    if (processes > 1 && company_leads(k->company))
        note("%s takes one process: the other %d rest", command, processes - 1);
    return !company_leads(k->company);
}

void machine_step(Machine *k)
{
    if (k->company != NULL)
        company_step(k->company);
    else
        k->model->step(&k->step);
}

size_t held_row(const AmdimModel *m, const Held *h, int view, int image)
{
    const int at = image - h->first;
    return (size_t)((at / h->share * m->views + view) * h->share + at % h->share);
}

void machine_free(Machine *k)
{
    company_free(k->company);
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

float *made_up_input(const Machine *k, uint64_t seed, Fault *f)
{
    const AmdimModel *m = k->model;
    size_t floats = (size_t)m->size * (size_t)m->size * (size_t)m->channels;
    float *x = allocate((size_t)(m->views * k->held.count) * floats * sizeof(float), "input", f);
    for (int i = 0; x && i < m->views * k->held.count; i++) {
        const int view = i / k->held.count, image = k->held.first + i % k->held.count;
        Random r = random_at(seed, RANDOM_BENCH, 0, (uint64_t)(view * m->batch + image), 0);
        float *to = x + held_row(m, &k->held, view, image) * floats;
        for (size_t j = 0; j < floats; j++)
            to[j] = (float)random_normal(&r);
    }
    return x;
}
