/* train_probe.c: the probes of `train --probe-every`: when one is due, and whether there is memory for
 * it, which is known before the first step. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

uint64_t train_peak_bytes(const AmdimModel *m, int threads)
{
    const int more = threads - m->threads;
    return m->peak_bytes + (more > 0 ? (uint64_t)more * m->thread_bytes : 0);
}

/* What would fit is said in words: a smaller --limit, if the training split is what is too large. */
static bool refuse(const AmdimModel *m, const ProbeMemory *need, uint64_t others, Fault *f)
{
    uint64_t limit = m->memory_limit;
    uint64_t images = others < limit ? (limit - others) / need->image : 0;
    char fits[64] = "leave it out, and `probe` afterwards";
    if (images >= (uint64_t)need->classes)
        snprintf(fits, sizeof fits, "--limit %" PRIu64 " fits", images / (uint64_t)need->classes);
    return fault(
        f,
        "--probe-every would hold up to %.1f MiB, more than the %.1f MiB of target.memory in %s; %s, or "
        "compile without target.memory",
        (double)(others + need->training) / MEBIBYTE, (double)limit / MEBIBYTE, m->spec, fits);
}

bool probing_heads(ProbeSplits *splits, const char *list)
{
    static const struct {
        const char *list, *head, *second;
    } known[] = {{"linear", "linear", NULL},
                 {"knn", "knn", NULL},
                 {"linear,knn", "linear", "knn"},
                 {"knn,linear", "linear", "knn"}};
    for (size_t i = 0; i < COUNT(known); i++)
        if (strcmp(known[i].list, list) == 0) {
            splits->head = known[i].head;
            splits->second = known[i].second;
            return true;
        }
    return false;
}

bool probing_begin(Probing *p, const AmdimModel *m, const Options *o, uint32_t limit, uint64_t per_epoch,
                   uint64_t total, Fault *f)
{
    ProbeMemory need;
    *p = (Probing){
        .last = total,
        .splits = {.data = {.dir = o->data, .limit = limit, .holdout = o->holdout}, .head = "linear"}};
    if (o->probe_every == 0)
        return true;
    if (o->probe_heads && !probing_heads(&p->splits, o->probe_heads))
        return fault(f, "--probe-heads %s is none of linear, knn and linear,knn", o->probe_heads);
    if (__builtin_mul_overflow((uint64_t)o->probe_every, per_epoch, &p->every))
        p->every = UINT64_MAX;
    if (!probe_splits_memory(m, &p->splits, o->threads, &need, f))
        return false;
    const uint64_t others = train_peak_bytes(m, o->threads) + need.rest;
    p->bytes = others + need.training;
    return m->memory_limit == 0 || p->bytes <= m->memory_limit || refuse(m, &need, others, f);
}

bool probing_is_due(const Probing *p, uint64_t step)
{
    return p->every > 0 && step > 0 && step != p->done && (step == p->last || step % p->every == 0);
}

static void keep_last(void *kept, const MetricsRow *row)
{
    *(MetricsRow *)kept = *row;
}

bool probing_resume(Probing *p, const AmdimModel *m, const char *metrics, uint64_t step, Fault *f)
{
    MetricsRow last = {.step = 0};
    if (p->every == 0 || step == 0)
        return true;
    if (!metrics_of_model(m, metrics, keep_last, &last, f))
        return false;
    if (last.step != step || !isnan(last.probe) || !isnan(last.knn))
        p->done = step;
    return true;
}
