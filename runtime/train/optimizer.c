/* optimizer.c: Adam and SGD with momentum over all tensors, in parallel (portable/optimize.c has the
 * arithmetic).
 *
 * Moments lie at the offsets of their parameters; Adam's second moments begin at trained_floats. Elements are
 * independent of each other, so blocks of them are what threads take. */
#include "portable/update.h"
#include "runtime.h"
#include <stdlib.h>

enum { BLOCK = 1 << 14 };

int optimizer_moments(const AmdimModel *m)
{
    if (m->optimizer.rule == AMDIM_ADAM)
        return 2;
    return m->optimizer.momentum > 0 ? 1 : 0;
}

size_t optimizer_floats(const AmdimModel *m)
{
    return (size_t)optimizer_moments(m) * m->trained_floats;
}

bool optimizer_allocate(Optimizer *o, Fault *f)
{
    size_t floats = (size_t)optimizer_moments(o->model) * o->floats;
    if (floats == 0)
        return true;
    o->moments = allocate_zero(floats * sizeof *o->moments, "the optimizer's moments", f);
    return o->moments != NULL;
}

bool optimizer_new(Optimizer *o, const AmdimModel *m, Fault *f)
{
    *o = (Optimizer){.model = m, .floats = m->trained_floats};
    return optimizer_allocate(o, f);
}

void optimizer_free(Optimizer *o)
{
    free(o->moments);
    *o = (Optimizer){0};
}

/* From 1 at the warm-up's end to `cosine` at the run's, half a turn. */
static double cosine_share(const AmdimSchedule *s, uint64_t step, uint64_t total)
{
    const double pi = 3.14159265358979323846;
    const uint64_t warmup = (uint64_t)s->warmup;
    if (step < warmup || total <= warmup)
        return 1;
    const double done = (double)(step - warmup) / (double)(total - warmup);
    return s->cosine + (1 - s->cosine) * 0.5 * (1 + cos(pi * done));
}

double optimizer_rate(const AmdimSchedule *s, double base, uint64_t step, uint64_t epoch, uint64_t total)
{
    double rate = base;
    if (s->warmup > 0 && step + 1 < (uint64_t)s->warmup)
        rate *= (double)(step + 1) / (double)s->warmup;
    for (int i = 0; i < s->milestones; i++)
        if (epoch >= (uint64_t)s->milestone[i])
            rate *= s->gamma;
    return s->has_cosine ? rate * cosine_share(s, step, total) : rate;
}

/* One tensor's update; what it needs is worked out once. */
typedef struct {
    size_t count;
    float *params;
    const float *gradient;
    float *moment, *second; /* of this tensor; NULL where the rule has none */
    AdamStep adam;
    float decay, rate, momentum; /* SGD's */
} Update;

/* On x86-64 a second version has wider vectors; the results are the same bits. It is chosen call by call,
 * which a block of elements does not notice, as what the loader chooses (target_clones) runs before
 * sanitizers do. */
#ifdef __x86_64__
__attribute__((target("avx2"))) static void adam_wide(const AdamStep *a, size_t count, float *restrict p,
                                                      const float *restrict gradient, float *restrict m,
                                                      float *restrict v)
{
    adam_elements(a, count, p, gradient, m, v);
}
#endif

void adam_update(const AdamStep *a, size_t count, float *params, const float *gradient, float *moment,
                 float *second)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        adam_wide(a, count, params, gradient, moment, second);
        return;
    }
#endif
    adam_elements(a, count, params, gradient, moment, second);
}

AdamStep optimizer_adam(const AmdimOptimizer *rule, double lr, uint64_t step)
{
    return adam_step((AdamRule){.beta1 = rule->beta1,
                                .beta2 = rule->beta2,
                                .eps = rule->eps,
                                .weight_decay = rule->weight_decay,
                                .decoupled = rule->decoupled},
                     lr, step);
}

static void update(const Update *u, size_t begin, size_t end)
{
    if (u->second != NULL)
        adam_update(&u->adam, end - begin, u->params + begin, u->gradient + begin, u->moment + begin,
                    u->second + begin);
    else if (u->moment != NULL)
        sgd_momentum(end - begin, u->params + begin, u->gradient + begin, u->moment + begin, u->rate,
                     u->momentum, u->decay);
    else
        sgd_plain(end - begin, u->params + begin, u->gradient + begin, u->rate, u->decay);
}

static void update_part(void *job, int part, int worker)
{
    (void)worker;
    const Update *u = job;
    size_t begin = (size_t)part * BLOCK, end = begin + BLOCK < u->count ? begin + BLOCK : u->count;
    update(u, begin, end);
}

static Update update_of(const Optimizer *o, size_t count, float *params, const float *gradient, size_t at)
{
    const AmdimOptimizer *rule = &o->model->optimizer;
    Update u = {
        .count = count,
        .params = params,
        .gradient = gradient,
        .moment = o->moments != NULL ? o->moments + at : NULL,
        .decay = (float)rule->weight_decay,
        .rate = (float)o->lr,
        .momentum = (float)rule->momentum,
    };
    if (rule->rule == AMDIM_ADAM) {
        u.second = u.moment + o->floats;
        u.adam = optimizer_adam(rule, o->lr, o->steps);
    }
    return u;
}

void optimizer_move(const Optimizer *o, size_t count, float *params, const float *gradient, size_t at)
{
    const Update u = update_of(o, count, params, gradient, at);
    update(&u, 0, count);
}

void optimizer_take(Optimizer *o, AmdimPool *pool, float *params, int tensor, const float *gradient)
{
    const AmdimTensor *t = &o->model->tensor[tensor];
    Update u = update_of(o, t->count, params + t->offset, gradient, t->offset);
    amdim_parallel(pool, update_part, &u, (int)((t->count + BLOCK - 1) / BLOCK));
}
