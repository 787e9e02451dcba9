/* train.c: the training loop.
 *
 * A run is a function of the spec, the data, the seed and the limit: how often it was stopped and gone on
 * with, saved, or on how many threads it ran leaves no trace in its weights. It is saved at the end of every
 * epoch, every five minutes, as often as --checkpoint-every says, on a signal, when its time is over, at the
 * end, and when it cannot go on; before a probe, too, which leaves no trace in it but its result in the
 * metrics. What cannot be saved ends it; metrics, curves and report are worth a note. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { LEFT_OUT_MOST = 10 };          /* steps in a row that --on-nan skip leaves out */
static const double SAVE_EVERY = 300; /* seconds */
/* The report is drawn at an epoch's end when ten seconds have passed, in between when thirty have, and never
 * takes more than a hundredth of the time. */
static const double REPORT_AT_EPOCH = 10, REPORT_BETWEEN = 30, REPORT_REST = 100;
/* The first is there before the first step, the second, with curves, so soon after; neither waits for
 * features. */
static const double REPORT_EARLY = 4;

typedef struct {
    const AmdimModel *model;
    const Options *options;
    Run run;
    Machine machine;
    Optimizer optimizer;
    Dataset *data;
    Loader *loader;
    Metrics metrics;
    Events events;
    Probing probing;
    Meter meter;
    Progress at;
    double rate_before;        /* the base rate of the step before, or the spec's */
    bool on_disk;              /* last.safetensors is whole and of `at` */
    uint64_t kept_step;        /* of the newest checkpoint that is whole; 0: there is none */
    uint64_t per_epoch, total; /* steps */
    double last_loss;          /* NAN before the first step */
    float *running;            /* the running statistics as they were before the step */
    char blame[128];           /* of the latest step whose loss was not finite */
    float *views;              /* the last step's, free between steps; NULL before the first */
    double saved, reported;    /* when, by clock_seconds */
    double report_took;        /* seconds */
    bool reported_early;       /* or too late for that */
    bool report_lost;          /* it could not be written, which has been said */
    bool is_alone;             /* in failing: the other processes know nothing of it */
    double deadline;           /* likewise; INFINITY without --stop-after */
} Training;

/* ---- the processes of a training ----
 *
 * Process 0 leads: the run's folder, its files and its clock are its own. The others do the same steps, and
 * what they must do at the same step they agree on. */

typedef enum {
    WANTS_SAVE = 1,
    WANTS_STOP = 2,
    HAS_FAILED = 4,
    NOT_FINITE = 8,
    IS_TOLD = 16, /* to save */
    SIGNALS = 256
} Wish;

static bool leads(const Training *t)
{
    return company_leads(t->machine.company);
}

/* What any process wishes. A signal to one is one to all: signal n is bit n - 1 from SIGNALS on, and of
 * several the lowest counts. */
static unsigned agree(const Training *t, unsigned wishes)
{
    const int received = signals_received();
    wishes |= received > 0 ? (unsigned)SIGNALS << (received - 1) : 0;
    wishes = company_agree(t->machine.company, wishes);
    if (wishes >= SIGNALS)
        signals_follow(__builtin_ctz(wishes / SIGNALS) + 1);
    return wishes;
}

/* ---- what is kept ---- */

/* The curves could not be written: the run goes on without them. */
static void go_on_without_metrics(Training *t, const Fault *why)
{
    meter_say(&t->meter, "note: %s; the run goes on without metrics", why->text);
    metrics_close(&t->metrics);
}

static void go_on_without_events(Training *t, const Fault *why)
{
    meter_say(&t->meter, "note: %s; the run goes on without TensorBoard's curves", why->text);
    events_close(&t->events);
}

static void flush_curves(Training *t)
{
    Fault why;
    if (!metrics_flush(&t->metrics, &why))
        go_on_without_metrics(t, &why);
    if (!events_flush(&t->events, &why))
        go_on_without_events(t, &why);
}

static void write_curves(Training *t, const MetricsRow *row, bool is_last)
{
    Fault why;
    if (!metrics_write(&t->metrics, t->model, row, &why))
        go_on_without_metrics(t, &why);
    if (!events_write(&t->events, t->model, row, is_last, &why))
        go_on_without_events(t, &why);
}

/* "; --resume goes on from step 100", behind a reason. */
static bool and_what_is_kept(const Training *t, Fault *f)
{
    if (t->kept_step == 0)
        return fault(f, "%s; nothing of the run was saved before", f->text);
    return fault(f, "%s; the last good checkpoint is of step %" PRIu64 ", and --resume goes on with it",
                 f->text, t->kept_step);
}

static bool keep_checkpoint(Training *t, Fault *f)
{
    return leads(t)
               ? checkpoint_save(t->model, &t->run.checkpoint, t->machine.params, &t->optimizer, &t->at, f)
               : checkpoint_help(t->model, &t->optimizer, f);
}

static bool save(Training *t, Fault *f)
{
    t->saved = clock_seconds();
    flush_curves(t);
    if (t->on_disk)
        return true;
    if (!keep_checkpoint(t, f)) {
        t->is_alone = true;
        return and_what_is_kept(t, f);
    }
    agree(t, 0); /* that it is there */
    t->on_disk = t->run.checkpoint.keep = true;
    t->kept_step = t->at.step;
    company_keeps(t->kept_step);
    return true;
}

static bool are_finite(const float *value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(value[i]))
            return false;
    return true;
}

/* Moments too: a run that cannot be resumed for their sake is lost. */
static bool weights_are_finite(const Training *t)
{
    bool own = are_finite(t->machine.params, t->model->param_floats) &&
               are_finite(t->optimizer.moments, (size_t)optimizer_moments(t->model) * t->optimizer.floats);
    return !(agree(t, own ? 0 : NOT_FINITE) & NOT_FINITE);
}

/* Weights that are no numbers do not replace a checkpoint of ones that are: a ReLU may have kept them from
 * the loss. */
static bool save_finite(Training *t, Fault *f)
{
    if (weights_are_finite(t))
        return save(t, f);
    fault(f, "the weights after step %" PRIu64 " are not finite, at a base rate of %g; a lower --lr may help",
          t->at.step, t->at.lr);
    return and_what_is_kept(t, f);
}

/* `reason` why it failed, if it did. */
static void draw_report(Training *t, ReportPhase phase, const char *reason, bool early)
{
    Fault why;
    if (!leads(t))
        return;
    const ReportState state = {.run = t->run.folder,
                               .phase = phase,
                               .reason = reason,
                               .early = early,
                               .now = time(NULL),
                               .seed = t->at.seed,
                               .step = t->at.step,
                               .epoch = t->at.step > 0 ? (t->at.step - 1) / t->per_epoch : 0,
                               .total = t->total,
                               .data = t->data,
                               .data_dir = t->options->data,
                               .holdout = t->options->holdout,
                               .machine = &t->machine,
                               .room = t->views};
    double begun = clock_seconds();
    flush_curves(t);
    bool written = report_write(t->model, &state, &why);
    t->reported = clock_seconds();
    t->report_took = t->reported - begun;
    if (!written && !t->report_lost)
        meter_say(&t->meter, "note: %s; the run goes on without a report", why.text);
    t->report_lost |= !written;
}

static void report(Training *t, ReportPhase phase, const char *reason)
{
    draw_report(t, phase, reason, false);
    t->reported_early = true;
}

/* The next whole one comes when it would without these. */
static void report_early(Training *t)
{
    const double reported = t->reported;
    draw_report(t, REPORT_RUNNING, NULL, true);
    t->reported = reported;
}

static bool report_is_due(const Training *t, bool epoch_ends)
{
    double waited = clock_seconds() - t->reported;
    return waited > (epoch_ends ? REPORT_AT_EPOCH : REPORT_BETWEEN) && waited > REPORT_REST * t->report_took;
}

/* The data or the probe failed, not the run: what was trained is kept. */
static bool failed_but_saved(Training *t, Fault *f)
{
    Fault second;
    if (!save_finite(t, &second))
        return fault(f, "%s (and the run could not be saved: %s)", f->text, second.text);
    return fault(f, "%s (the run is saved after step %" PRIu64 ", and --resume goes on with it)", f->text,
                 t->at.step);
}

/* ---- the steps ---- */

static void take_gradient(AmdimStep *step, int tensor, const float *gradient)
{
    Training *t = step->taker;
    optimizer_take(&t->optimizer, step->pool, step->params, tensor, gradient);
}

static bool is_finite(const AmdimStep *step)
{
    return isfinite(step->loss) && isfinite(step->penalty);
}

/* A loss that is no number would spoil every parameter: the step ends before its gradients. */
static bool forward_done(AmdimStep *step)
{
    Training *t = step->taker;
    if (is_finite(step))
        return true;
    diverged_describe(t->model, step, t->blame, sizeof t->blame);
    return false;
}

static bool wants_embeddings(const AmdimStep *step)
{
    return !is_finite(step);
}

static size_t running_floats(const AmdimModel *m)
{
    return m->param_floats - m->trained_floats;
}

/* False where the loss was not finite; nothing has changed then. */
static bool run_step(Training *t)
{
    const AmdimModel *m = t->model;
    float *running = t->machine.params + m->trained_floats;
    memcpy(t->running, running, running_floats(m) * sizeof *running);
    machine_step(&t->machine);
    if (is_finite(&t->machine.step))
        return true;
    memcpy(running, t->running, running_floats(m) * sizeof *running);
    return false;
}

static bool diverged(Training *t, uint64_t step, Fault *f)
{
    const char *times = t->at.left_out >= LEFT_OUT_MOST ? ", like those of the nine before it" : "";
    const char *other = t->options->skip_nan ? "" : ", or --on-nan skip";
    fault(f, "the loss of step %" PRIu64 " is not finite%s: %s", step, times, t->blame);
    if (!weights_are_finite(t)) {
        fault(f, "%s; the weights before it were not, either; try a --lr lower than %g", f->text, t->at.lr);
        return and_what_is_kept(t, f);
    }
    Fault why;
    if (!save(t, &why))
        return fault(f, "%s; and %s", f->text, why.text);
    return fault(f,
                 "%s; the run is saved after step %" PRIu64
                 ", and --resume goes on with it: try a --lr lower than %g%s",
                 f->text, t->at.step, t->at.lr, other);
}

/* The step keeps its number, its pictures and its rate. */
static bool leave_out(Training *t, Fault *f)
{
    t->at.left_out++;
    if (leads(t))
        meter_say(&t->meter, "note: step %" PRIu64 " is left out: its loss is not finite: %s", t->at.step,
                  t->blame);
    return t->at.left_out < LEFT_OUT_MOST || diverged(t, t->at.step, f);
}

static bool train_step(Training *t, Fault *f)
{
    const AmdimModel *m = t->model;
    AmdimStep *step = &t->machine.step;
    double begun = clock_seconds();
    uint64_t epoch = t->at.step / t->per_epoch;
    step->x = t->views = loader_next(t->loader, f);
    const bool lacks = !t->views && !signals_received();
    const unsigned wishes = agree(t, lacks ? HAS_FAILED : 0);
    if (wishes & HAS_FAILED) {
        company_hear(t->machine.company, lacks, f);
        return failed_but_saved(t, f);
    }
    if (wishes >= SIGNALS)
        return true;
    machine_draw_locations(&t->machine, t->at.seed, t->at.step);
    t->optimizer.steps = t->at.step;
    t->optimizer.lr = optimizer_rate(&m->schedule, t->at.lr, t->at.step, epoch, t->total);
    bool finite = run_step(t);
    if (!finite && !t->options->skip_nan)
        return diverged(t, t->at.step + 1, f);

    double seconds = clock_seconds() - begun;
    t->on_disk = false;
    t->at.step++;
    if (finite) {
        t->last_loss = step->loss;
        t->at.left_out = 0;
    }
    MetricsRow row = {.step = t->at.step,
                      .epoch = epoch,
                      .loss = finite ? step->loss : NAN,
                      .penalty = step->penalty,
                      .lr = t->optimizer.lr,
                      .base_lr = t->at.lr != t->rate_before ? t->at.lr : 0,
                      .images_per_second = m->batch / fmax(seconds, 1e-9),
                      .pair_loss = step->pair_loss,
                      .pair_accuracy = step->pair_accuracy};
    bool is_last = t->at.step % t->per_epoch == 0 || t->at.step == t->total;
    t->rate_before = t->at.lr;
    write_curves(t, &row, is_last);
    meter_step(&t->meter, t->at.step, step->loss);
    return finite || leave_out(t, f);
}

static bool time_is_over(const Training *t)
{
    return clock_seconds() >= t->deadline;
}

static bool is_finished(const Training *t)
{
    return t->at.step >= t->total && !probing_is_due(&t->probing, t->at.step);
}

static bool is_stopping(const Training *t)
{
    return signals_received() || time_is_over(t);
}

static void tell_probe(Training *t, const ProbeResult *result)
{
    Fault why;
    char text[256];
    probe_describe(result, text, sizeof text);
    meter_progress(&t->meter, "%s probe after step %" PRIu64 ": %s", result->head, t->at.step, text);
    if (!metrics_probe(&t->metrics, result, &why))
        go_on_without_metrics(t, &why);
    if (!events_probe(&t->events, t->at.step, result, &why))
        go_on_without_events(t, &why);
}

/* The run is saved. A signal abandons the probe; --resume makes up for it. */
static bool probe(Training *t, Fault *f)
{
    ProbeResult result[PROBE_HEADS];
    ProbeSplits splits = t->probing.splits;
    if (is_stopping(t))
        return true;
    splits.step = t->at.step;
    splits.keep = t->run.probe;
    if (!probe_splits(&t->machine, &splits, result, f)) {
        if (signals_received())
            return true;
        t->is_alone = company_processes(t->machine.company) > 1; /* the others wait for its next step */
        return t->is_alone ? and_what_is_kept(t, f) : failed_but_saved(t, f);
    }
    t->probing.done = t->at.step;
    for (int i = 0; i < (splits.second ? 2 : 1); i++)
        tell_probe(t, &result[i]);
    return true;
}

static bool save_is_due(const Training *t)
{
    uint64_t every = (uint64_t)t->options->checkpoint_every;
    return t->at.step % t->per_epoch == 0 || clock_seconds() - t->saved > SAVE_EVERY ||
           (every > 0 && t->at.step % every == 0);
}

static bool train_steps(Training *t, Fault *f)
{
    t->saved = t->reported = clock_seconds();
    if (!is_finished(t) && !is_stopping(t))
        report_early(t);
    if (probing_is_due(&t->probing, t->at.step) && !probe(t, f))
        return false;
    bool stops = agree(t, is_stopping(t) ? WANTS_STOP : 0) != 0;
    while (t->at.step < t->total && !stops) {
        if (!train_step(t, f))
            return false;
        bool probes = probing_is_due(&t->probing, t->at.step), told = signals_take_save();
        bool saves = probes || told || (leads(t) && save_is_due(t));
        const unsigned wishes = agree(t, (saves ? WANTS_SAVE : 0) | (told ? IS_TOLD : 0) |
                                             (leads(t) && is_stopping(t) ? WANTS_STOP : 0));
        stops = wishes >= SIGNALS || wishes & WANTS_STOP;
        if (wishes & WANTS_SAVE && !save_finite(t, f))
            return false;
        if (wishes & IS_TOLD)
            meter_progress(&t->meter, "saved after step %" PRIu64, t->at.step);
        if (probes && !probe(t, f))
            return false;
        if (report_is_due(t, t->at.step % t->per_epoch == 0)) {
            report(t, REPORT_RUNNING, NULL);
        } else if (!t->reported_early && clock_seconds() - t->reported > REPORT_EARLY) {
            t->reported_early = true;
            report_early(t);
        }
    }
    if (!save_finite(t, f))
        return false;
    report(t, is_finished(t) ? REPORT_FINISHED : REPORT_STOPPED, NULL);
    return true;
}

/* ---- setting up ---- */

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A cosine ends where the run was to end when it was first begun. */
static bool settle_cosine(Training *t, Fault *f)
{
    const Options *o = t->options;
    if (!t->model->schedule.has_cosine)
        return true;
    t->total = at_most(t->total, INT64_MAX); /* as a checkpoint holds it */
    if (t->at.total == 0)
        t->at.total = t->total;
    if (t->at.total != t->total && (o->steps >= 0 || o->epochs >= 0))
        return fault(f,
                     "%s was begun for %" PRIu64 " steps, where its cosine ends, and %" PRIu64
                     " are asked for; leave --steps and --epochs out, or choose another folder",
                     t->run.folder, t->at.total, t->total);
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
    bool ok = optimizer_new(&whole, t->model, f) && (!leads(t) || begin_or_resume(t, &whole, f)) &&
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
              "%s is trained on %s, but %s%s: %s; give the data that it was begun with, or choose another "
              "folder",
              t->run.folder, t->at.data, dir ? "--data " : "without --data there are the built-in pictures",
              dir ? dir : "", now);
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

/* Where the curves cannot be written there are none. */
static void open_curves(Training *t)
{
    Fault why;
    const bool open = metrics_cut(t->model, t->run.metrics, t->at.step, &t->last_loss, &why) &&
                      probing_resume(&t->probing, t->model, t->run.metrics, t->at.step, &why) &&
                      metrics_open(&t->metrics, t->run.metrics, &why);
    if (!open)
        go_on_without_metrics(t, &why);
    if (!is_finished(t) && !events_open(&t->events, t->run.folder, t->at.step, &why))
        go_on_without_events(t, &why);
}

/* A program of one share knows nothing of others that its launcher has started. */
static bool claim(Training *t, Fault *f)
{
    const int processes = company_launched();
    if (!leads(t) || run_claim(&t->run, t->options->resume, f))
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
    if (!leads(t))
        return true;
    if (!run_make(&t->run, f) || !claim(t, f))
        return false;
    open_curves(t);
    return true;
}

static bool new_machine(Training *t, Fault *f)
{
    const AmdimModel *m = t->model;
    t->running = allocate(running_floats(m) * sizeof *t->running, "the running statistics", f);
    if (!t->running || !machine_new(&t->machine, m, t->options->threads, f) ||
        !optimizer_join(&t->optimizer, m, t->machine.company, f))
        return false;
    t->machine.step.take = take_gradient;
    t->machine.step.taker = t;
    t->machine.step.forward_done = forward_done;
    t->machine.step.wants_embeddings = wants_embeddings;
    return true;
}

static bool set_up(Training *t, Fault *f)
{
    const Options *o = t->options;
    return run_open(&t->run, o->out, f) && new_machine(t, f) && claim(t, f) && begin_together(t, f) &&
           open_data(t, f) &&
           (!leads(t) || probing_begin(&t->probing, t->model, o, t->at.limit, t->per_epoch, t->total, f)) &&
           open_run(t, f);
}

static void tear_down(Training *t)
{
    meter_end(&t->meter);
    metrics_close(&t->metrics);
    events_close(&t->events);
    loader_free(t->loader);
    if (t->data)
        data_close(t->data);
    optimizer_free(&t->optimizer);
    machine_free(&t->machine);
    free(t->running);
    run_close(&t->run);
}

/* ---- what is said ---- */

/* "4 ranks of 16 images, 2 in each of 2 processes" */
static void say_ranks(const Training *t)
{
    const AmdimModel *m = t->model;
    const int processes = company_processes(t->machine.company);
    if (m->shares <= 1)
        return;
    if (processes > 1 && leads(t) && processor_count() < t->options->threads)
        note("%d threads of each process share %d processor%s that the launcher has bound it to; mpirun's "
             "--bind-to none "
             "gives them all",
             t->options->threads, processor_count(), processor_count() > 1 ? "s" : "");
    if (processes == 1)
        say_progress(stderr, "%d ranks of %d images in one process", m->shares, m->batch / m->shares);
    else
        say_progress(stderr, "%d ranks of %d images, %d in each of %d processes, by %s", m->shares,
                     m->batch / m->shares, m->shares / processes, processes, m->wire->name());
}

static void say_plan(const Training *t)
{
    const AmdimModel *m = t->model;
    char pairs[512] = "", found[DATA_TEXT], memory[128] = "";
    for (int i = 0; i < m->pairs; i++) {
        size_t used = strlen(pairs);
        snprintf(pairs + used, sizeof pairs - used, "%s %s", i ? "," : "", m->pair[i].name);
    }
    data_describe(t->data, found, sizeof found);
    say_progress(stderr, "%s:%s on %s", m->name, pairs, found);
    say_progress(stderr,
                 "from step %" PRIu64 " to %" PRIu64 ", %" PRIu64 " an epoch; batch %d, seed %" PRIu64,
                 t->at.step, t->total, t->per_epoch, m->batch, t->at.seed);
    say_ranks(t);
    if (t->options->threads == m->threads) /* for these the promise was made */
        snprintf(memory, sizeof memory, ", at most %.1f MiB of memory%s",
                 (double)(m->peak_bytes + company_bytes(t->machine.company)) / MEBIBYTE,
                 company_processes(t->machine.company) > 1 ? " in each process" : "");
    size_t used = strlen(memory);
    if (t->probing.every > 0)
        snprintf(memory + used, sizeof memory - used, ", and %.1f MiB while probing",
                 (double)t->probing.bytes / MEBIBYTE);
    say_progress(stderr, "%d threads%s; %s keeps weights, metrics and report", t->options->threads, memory,
                 t->run.folder);
}

/* --lr gives another rate than the spec, or than the run had. */
static void say_rate(const Training *t)
{
    if (t->at.lr != t->rate_before)
        say_line(stderr, "base lr %g from here on, in place of %g", t->at.lr, t->rate_before);
}

static void say_end(const Training *t)
{
    char loss[64] = "";
    if (isfinite(t->last_loss))
        snprintf(loss, sizeof loss, " to loss %.4f", t->last_loss);
    say_progress(stdout, "trained %" PRIu64 " steps%s; weights in %s, report in %s/report.html", t->at.step,
                 loss, t->run.checkpoint.last, t->run.folder);
}

static int say_stopped(const Training *t)
{
    if (leads(t))
        fprintf(stderr,
                "stopped by a signal after step %" PRIu64
                "; the run is saved, and --resume goes on with it\n",
                t->at.step);
    return signals_exit_code();
}

static int say_time_over(const Training *t)
{
    say_progress(stdout,
                 "stopped after step %" PRIu64
                 ", for the time of --stop-after is over; the run is saved, and "
                 "--resume goes on with it",
                 t->at.step);
    return 0;
}

/* Threads that are made later are as humble. To lower one's priority always succeeds. */
static void step_aside(void)
{
    enum { LOWEST = 19 };
    setpriority(PRIO_PROCESS, 0, LOWEST);
}

static int train(Training *t, Fault *f)
{
    say_plan(t);
    if (leads(t))
        say_rate(t);
    if (t->at.step < t->total && leads(t))
        keys_note(t->model, t->total, t->per_epoch, t->at.lr);
    bool trained = train_steps(t, f);
    if (!trained)
        report(t, REPORT_FAILED, f->text); /* so that the page does not say that it runs still */
    meter_end(&t->meter);
    if (!t->is_alone)
        company_ends_together();
    if (!trained && !leads(t) && !t->is_alone)
        f->text[0] = '\0'; /* process 0 says it */
    if (!trained)
        return 1;
    if (is_finished(t)) {
        say_end(t);
        return 0;
    }
    return signals_received() ? say_stopped(t) : say_time_over(t);
}

int command_train(const AmdimModel *m, const Options *o, Fault *f)
{
    Training t = {.model = m, .options = o, .last_loss = NAN, .deadline = INFINITY, .run = {.lock = -1}};
    signals_watch();
    if (o->nice)
        step_aside();
    if (o->stop_after > 0)
        t.deadline = clock_seconds() + (double)o->stop_after;
    int code = set_up(&t, f) ? train(&t, f) : exit_code(false);
    tear_down(&t);
    return code;
}
