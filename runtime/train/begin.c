/* begin.c: what a training has before its first step: weights, moments, data and curves, new ones or those
 * that the run left. */
#include "training.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool training_is_finished(const Training *t)
{
    return t->at.step >= t->total && !probing_is_due(&t->probing, t->at.step);
}

/* More threads than the promise was made for may be too many for the spec's budget. */
bool training_fits(const Training *t, Fault *f)
{
    const AmdimModel *m = t->model;
    const int threads = t->options->threads;
    const uint64_t peak = train_peak_bytes(m, threads), limit = m->memory_limit;
    if (limit == 0 || threads <= m->threads || peak <= limit)
        return true;
    return fault(f,
                 "--threads %d would hold up to %.1f MiB, more than the %.1f MiB of target.memory in %s; "
                 "--threads %" PRIu64 " fits, or compile without target.memory",
                 threads, (double)peak / MEBIBYTE, (double)limit / MEBIBYTE, m->spec,
                 (uint64_t)m->threads + (limit - m->peak_bytes) / m->thread_bytes);
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A cosine ends where the run was to end when it was first begun. --steps alone asks for so many, whatever
 * the spec's epochs come to. */
static bool settle_cosine(Training *t, Fault *f)
{
    const Options *o = t->options;
    if (!t->model->schedule.has_cosine)
        return true;
    t->total = at_most(t->total, INT64_MAX); /* as a checkpoint holds it */
    if (t->at.total == 0)
        t->at.total = t->total;
    const uint64_t asked = o->epochs < 0 && o->steps >= 0 ? (uint64_t)o->steps : t->total;
    if (t->at.total != t->total && t->at.total != asked && (o->steps >= 0 || o->epochs >= 0))
        return fault(f,
                     "%s was begun for %" PRIu64 " steps, where its cosine ends, and %" PRIu64
                     " are asked for; leave --steps and --epochs out, or choose another folder",
                     t->run.folder, t->at.total, asked);
    t->total = t->at.total;
    return true;
}

static void count_steps(Training *t)
{
    const Options *o = t->options;
    uint64_t epochs = (uint64_t)(o->epochs >= 0 ? o->epochs : t->model->schedule.epochs);
    t->per_epoch = t->data->count / (uint32_t)t->model->batch;
    if (__builtin_mul_overflow(epochs, t->per_epoch, &t->total))
        t->total = UINT64_MAX;
    if (o->steps >= 0)
        t->total = at_most(t->total, (uint64_t)o->steps);
}

/* A resumed run keeps the seed and the limit it was begun with. */
static bool agrees_with_run(const Training *t, Fault *f)
{
    const Options *o = t->options;
    if (o->seed_given && o->seed != t->at.seed)
        return fault(f, "%s was begun with --seed %" PRIu64 "; leave --seed out, or choose another folder",
                     t->run.folder, t->at.seed);
    if (o->limit < 0 || (uint64_t)o->limit == t->at.limit)
        return true;
    if (t->at.limit == 0)
        return fault(f, "%s was begun without --limit; leave it out, or choose another folder",
                     t->run.folder);
    return fault(f, "%s was begun with --limit %" PRIu32 "; leave --limit out, or choose another folder",
                 t->run.folder, t->at.limit);
}

static bool resume(Training *t, Optimizer *to, Fault *f)
{
    const Options *o = t->options;
    if (checkpoint_load_newest(t->model, &t->run.checkpoint, t->machine.params, to, &t->at, f) !=
            CHECKPOINT_LOADED ||
        !agrees_with_run(t, f))
        return false;
    if (o->weights)
        note("--weights %s is left aside: %s is gone on with", o->weights, t->run.folder);
    t->on_disk = t->run.checkpoint.keep && (o->lr == 0 || o->lr == t->at.lr);
    t->kept_step = t->at.step;
    t->rate_before = t->at.lr;
    t->at.lr = o->lr > 0 ? o->lr : t->at.lr;
    return true;
}

static bool begin(Training *t, Fault *f)
{
    const Options *o = t->options;
    t->at = (Progress){.seed = o->seed,
                       .limit = o->limit < 0 ? 0 : (uint32_t)o->limit,
                       .lr = o->lr > 0 ? o->lr : t->model->optimizer.lr};
    t->rate_before = t->model->optimizer.lr;
    weights_init(t->model, t->at.seed, t->machine.params);
    return !o->weights || weights_load_fitting(t->model, o->weights, t->machine.params, f);
}

/* What process 0 has begun with or resumed, all have. */
static bool follow(Training *t, Optimizer *whole)
{
    const Company *c = t->machine.company;
    company_tell(c, &t->at, sizeof t->at);
    company_tell(c, &t->on_disk, sizeof t->on_disk);
    company_tell(c, &t->kept_step, sizeof t->kept_step);
    company_tell(c, t->machine.params, t->model->param_floats * sizeof *t->machine.params);
    company_tell(c, whole->moments, optimizer_floats(t->model) * sizeof *whole->moments);
    company_keep_moments(t->machine.company, whole);
    t->optimizer.steps = t->at.step;
    company_keeps(t->kept_step);
    return true;
}

static bool begin_or_resume(Training *t, Optimizer *to, Fault *f)
{
    return t->options->resume && run_holds_weights(&t->run) ? resume(t, to, f) : begin(t, f);
}

/* Of several processes, the first reads: the others may not see the folder. */
static bool begin_together(Training *t, Fault *f)
{
    if (company_processes(t->machine.company) == 1)
        return begin_or_resume(t, &t->optimizer, f);
    Optimizer whole;
    bool ok = optimizer_new(&whole, t->model, f) && (!training_leads(t) || begin_or_resume(t, &whole, f)) &&
              follow(t, &whole);
    optimizer_free(&whole);
    return ok;
}

/* A run goes on with the pictures that it was begun with, wherever they lie now. */
static bool check_data(Training *t, Fault *f)
{
    char now[sizeof t->at.data];
    const char *dir = t->options->data;
    if (!data_identity(t->data, now, sizeof now, f) ||
        !company_compare(t->machine.company, now, "the data", f))
        return false;
    if (t->at.data[0] != '\0' && strcmp(t->at.data, now) != 0) {
        fault(f,
              "%s is trained on %s, but %s%s: %s; give the data that it was begun with%s, or choose another "
              "folder",
              t->run.folder, t->at.data, dir ? "--data " : "without --data there are the built-in pictures",
              dir ? dir : "", now,
              t->data->undivided || t->options->holdout > 0 ? ", and its --holdout" : "");
        return company_fails(f);
    }
    memcpy(t->at.data, now, sizeof now);
    return true;
}

static bool open_data(Training *t, Fault *f)
{
    const Options *o = t->options;
    t->data = data_request(
        &(DataRequest){.dir = o->data, .split = SPLIT_PRETRAIN, .limit = t->at.limit, .holdout = o->holdout},
        f);
    if (!t->data || !check_data(t, f))
        return false;
    t->loader =
        loader_new(t->model, &t->machine.held, t->data, t->at.seed, t->at.step, t->options->threads, f);
    if (!t->loader)
        return false;
    count_steps(t);
    return settle_cosine(t, f);
}

/* The base rate of the steps so far: that of a --lr which no step followed is not among them. Metrics have
 * nine digits of it, the checkpoint all. */
static double rate_of_metrics(const Training *t, const MetricsEnd *before)
{
    const double was = before->base_lr > 0 ? before->base_lr : t->model->optimizer.lr;
    return fabs(was - t->at.lr) <= 1e-8 * t->at.lr ? t->at.lr : was;
}

/* Where the curves cannot be written there are none. */
static void open_curves(Training *t)
{
    Fault why;
    MetricsEnd before;
    const bool open = metrics_cut(t->model, t->run.metrics, t->at.step, &before, &why) &&
                      probing_resume(&t->probing, t->model, t->run.metrics, t->at.step, &why) &&
                      metrics_open(&t->metrics, t->run.metrics, &why);
    t->last_loss = before.loss;
    if (before.whole)
        t->rate_before = rate_of_metrics(t, &before);
    if (!open)
        training_without_metrics(t, &why);
    if (!training_is_finished(t) && !events_open(&t->events, t->run.folder, t->at.step, &why))
        training_without_events(t, &why);
}

/* A program of one share knows nothing of others that its launcher has started. */
static bool claim(Training *t, Fault *f)
{
    const int processes = company_launched();
    if (!training_leads(t) || run_claim(&t->run, t->options->resume, f))
        return true;
    if (t->model->shares > 1 || processes == 1)
        return false;
    return fault(f,
                 "%s (%d processes were started, and this program was compiled for one: --ranks %d of the "
                 "compiler makes one for all)",
                 f->text, processes, processes);
}

static bool open_run(Training *t, Fault *f)
{
    meter_begin(&t->meter, stderr, t->model->batch, t->total, t->per_epoch);
    if (!training_leads(t))
        return true;
    if (!run_make(&t->run, f) || !claim(t, f))
        return false;
    open_curves(t);
    return true;
}

bool training_begin(Training *t, Fault *f)
{
    const Options *o = t->options;
    if (!claim(t, f) || !begin_together(t, f) || !open_data(t, f) ||
        (training_leads(t) &&
         !probing_begin(&t->probing, t->model, o, t->at.limit, t->per_epoch, t->total, f)) ||
        !open_run(t, f))
        return false;
    t->weights_lr = t->at.step > 0 ? t->rate_before : t->at.lr;
    return true;
}
