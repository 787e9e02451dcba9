/* train.c: the training loop.
 *
 * A run is a function of the spec, the data, the seed and the limit: how often it was stopped and gone on
 * with, saved, or on how many threads it ran leaves no trace in its weights. It is saved at the end of every
 * epoch, every five minutes, on a signal, when its time is over, at the end, and when the data can no longer
 * be read; before a probe, too, which leaves no trace in it but its result in the metrics. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { SIGNAL_EXIT = 128 };
static const double SAVE_EVERY = 300; /* seconds */
/* The report is drawn at an epoch's end when ten seconds have passed, in between when thirty have, and never
 * takes more than a hundredth of the time. */
static const double REPORT_AT_EPOCH = 10, REPORT_BETWEEN = 30, REPORT_REST = 100;

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
    uint64_t per_epoch, total; /* steps */
    double last_loss;          /* NAN before the first step */
    float *views;              /* the last step's, free between steps; NULL before the first */
    double saved, reported;    /* when, by clock_seconds */
    double report_took;        /* seconds */
    double deadline;           /* likewise; INFINITY without --stop-after */
} Training;

/* ---- the steps ---- */

static void take_gradient(AmdimStep *step, int tensor, const float *gradient)
{
    Training *t = step->taker;
    optimizer_take(&t->optimizer, step->pool, step->params, tensor, gradient);
}

/* A loss that is no number would spoil every parameter: the step ends before its gradients. */
static bool loss_is_finite(AmdimStep *step)
{
    return isfinite(step->loss) && isfinite(step->penalty);
}

static bool save(Training *t, Fault *f)
{
    t->saved = clock_seconds();
    return metrics_flush(&t->metrics, f) && events_flush(&t->events, f) &&
           checkpoint_save(t->model, t->run.weights, t->machine.params, &t->optimizer, &t->at, f);
}

static bool weights_are_finite(const Training *t)
{
    for (size_t i = 0; i < t->model->param_floats; i++)
        if (!isfinite(t->machine.params[i]))
            return false;
    return true;
}

/* Weights that are no numbers do not replace a checkpoint of ones that are: a ReLU may have kept them from
 * the loss. */
static bool save_finite(Training *t, Fault *f)
{
    if (!weights_are_finite(t))
        return fault(f,
                     "the weights after step %" PRIu64
                     " are not finite; lower optimizer.lr in %s, compile and begin anew",
                     t->at.step, t->model->spec);
    return save(t, f);
}

/* `reason` why it failed, if it did. */
static bool report(Training *t, ReportPhase phase, const char *reason, Fault *f)
{
    const ReportState state = {.run = t->run.folder,
                               .phase = phase,
                               .reason = reason,
                               .now = time(NULL),
                               .seed = t->at.seed,
                               .step = t->at.step,
                               .epoch = t->at.step > 0 ? (t->at.step - 1) / t->per_epoch : 0,
                               .total = t->total,
                               .data = t->data,
                               .data_dir = t->options->data,
                               .machine = &t->machine,
                               .room = t->views};
    double begun = clock_seconds();
    bool written = metrics_flush(&t->metrics, f) && report_write(t->model, &state, f);
    t->reported = clock_seconds();
    t->report_took = t->reported - begun;
    return written;
}

/* So that the page does not say that it runs still. Where that fails too, the first reason is told. */
static void report_failure(Training *t, const Fault *why)
{
    Fault second;
    (void)report(t, REPORT_FAILED, why->text, &second);
}

static bool report_is_due(const Training *t, bool epoch_ends)
{
    double waited = clock_seconds() - t->reported;
    return waited > (epoch_ends ? REPORT_AT_EPOCH : REPORT_BETWEEN) && waited > REPORT_REST * t->report_took;
}

/* The forward pass has moved the running statistics by now; they are saved if they are numbers still. */
static bool diverged(Training *t, Fault *f)
{
    if (weights_are_finite(t) && !save(t, f))
        return false;
    return fault(
        f, "the loss of step %" PRIu64 " is not finite; lower optimizer.lr in %s, compile and begin anew",
        t->at.step + 1, t->model->spec);
}

/* The data or the report failed, not the run: what was trained is kept. */
static bool failed_but_saved(Training *t, Fault *f)
{
    Fault second;
    if (!save(t, &second))
        return fault(f, "%s (and the run could not be saved)", f->text);
    return fault(f, "%s (the run is saved after step %" PRIu64 ", and --resume goes on with it)", f->text,
                 t->at.step);
}

static bool train_step(Training *t, Fault *f)
{
    AmdimStep *step = &t->machine.step;
    double begun = clock_seconds();
    uint64_t epoch = t->at.step / t->per_epoch;
    if (!(step->x = t->views = loader_next(t->loader, f)))
        return signals_received() || failed_but_saved(t, f); /* a signal ends a picture under way */
    machine_draw_locations(&t->machine, t->at.seed, t->at.step);
    t->optimizer.steps = t->at.step;
    t->optimizer.lr = optimizer_rate(t->model, t->at.step, epoch);
    t->model->step(step);
    if (!loss_is_finite(step))
        return diverged(t, f);

    double seconds = clock_seconds() - begun;
    t->at.step++;
    t->last_loss = step->loss;
    MetricsRow row = {.step = t->at.step,
                      .epoch = epoch,
                      .loss = step->loss,
                      .penalty = step->penalty,
                      .lr = t->optimizer.lr,
                      .images_per_second = t->model->batch / fmax(seconds, 1e-9),
                      .pair_loss = step->pair_loss,
                      .pair_accuracy = step->pair_accuracy};
    meter_step(&t->meter, t->at.step, step->loss);
    bool is_last = t->at.step % t->per_epoch == 0 || t->at.step == t->total;
    return metrics_write(&t->metrics, t->model, &row, f) &&
           events_write(&t->events, t->model, &row, is_last, f);
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

/* The run is saved. A signal abandons the probe; --resume makes up for it. */
static bool probe(Training *t, Fault *f)
{
    ProbeResult result;
    char text[256];
    if (is_stopping(t))
        return true;
    if (!probe_splits(&t->machine, &t->probing.splits, &result, f))
        return signals_received() || failed_but_saved(t, f);
    t->probing.done = t->at.step;
    probe_describe(&result, text, sizeof text);
    meter_say(&t->meter, "linear probe after step %" PRIu64 ": %s", t->at.step, text);
    return metrics_probe(&t->metrics, &result, f) && events_probe(&t->events, t->at.step, &result, f);
}

static bool train_steps(Training *t, Fault *f)
{
    t->saved = t->reported = clock_seconds();
    if (probing_is_due(&t->probing, t->at.step) && !probe(t, f))
        return false;
    while (t->at.step < t->total && !is_stopping(t)) {
        if (!train_step(t, f))
            return false;
        bool epoch_ends = t->at.step % t->per_epoch == 0, probes = probing_is_due(&t->probing, t->at.step);
        if ((epoch_ends || probes || clock_seconds() - t->saved > SAVE_EVERY) && !save_finite(t, f))
            return false;
        if (probes && !probe(t, f))
            return false;
        if (report_is_due(t, epoch_ends) && !report(t, REPORT_RUNNING, NULL, f))
            return failed_but_saved(t, f);
    }
    return save_finite(t, f) && report(t, is_finished(t) ? REPORT_FINISHED : REPORT_STOPPED, NULL, f);
}

/* ---- setting up ---- */

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
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

static bool begin_or_resume(Training *t, Fault *f)
{
    const Options *o = t->options;
    if (o->resume && run_holds_weights(&t->run))
        return checkpoint_load(t->model, t->run.weights, t->machine.params, &t->optimizer, &t->at, f) &&
               agrees_with_run(t, f);
    t->at = (Progress){.seed = o->seed, .step = 0, .limit = o->limit < 0 ? 0 : (uint32_t)o->limit};
    weights_init(t->model, t->at.seed, t->machine.params);
    return true;
}

static bool open_data(Training *t, Fault *f)
{
    t->data = data_open(t->options->data, SPLIT_PRETRAIN, t->at.limit, f);
    if (!t->data)
        return false;
    t->loader = loader_new(t->model, t->data, t->at.seed, t->at.step, t->options->threads, f);
    if (!t->loader)
        return false;
    count_steps(t);
    return true;
}

static bool open_run(Training *t, Fault *f)
{
    return run_make(&t->run, f) && metrics_cut(t->model, t->run.metrics, t->at.step, &t->last_loss, f) &&
           probing_resume(&t->probing, t->model, t->run.metrics, t->at.step, f) &&
           metrics_open(&t->metrics, t->run.metrics, f) &&
           (is_finished(t) || events_open(&t->events, t->run.folder, t->at.step, f));
}

static bool set_up(Training *t, Fault *f)
{
    const Options *o = t->options;
    if (!run_open(&t->run, o->out, f) || (!o->resume && !run_must_be_new(&t->run, f)))
        return false;
    if (!machine_new(&t->machine, t->model, o->threads, f) || !optimizer_new(&t->optimizer, t->model, f))
        return false;
    if (!begin_or_resume(t, f) || !open_data(t, f) ||
        !probing_begin(&t->probing, t->model, o, t->at.limit, t->per_epoch, t->total, f) || !open_run(t, f))
        return false;
    t->machine.step.take = take_gradient;
    t->machine.step.taker = t;
    t->machine.step.forward_done = loss_is_finite;
    meter_begin(&t->meter, stderr, t->model->batch, t->total, t->per_epoch);
    return true;
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
    run_close(&t->run);
}

/* ---- what is said ---- */

static void say_plan(const Training *t)
{
    const AmdimModel *m = t->model;
    fprintf(stderr, "%s:", m->name);
    for (int i = 0; i < m->pairs; i++)
        fprintf(stderr, "%s %s", i ? "," : "", m->pair[i].name);
    char found[256];
    data_describe(t->data, found, sizeof found);
    fprintf(stderr, " on %s\n", found);
    fprintf(stderr,
            "from step %" PRIu64 " to %" PRIu64 ", %" PRIu64 " an epoch; batch %d, seed %" PRIu64 "\n",
            t->at.step, t->total, t->per_epoch, m->batch, t->at.seed);
    fprintf(stderr, "%d threads", t->options->threads);
    if (t->options->threads == m->threads) /* for these the promise was made */
        fprintf(stderr, ", at most %.1f MiB of memory", (double)m->peak_bytes / MEBIBYTE);
    if (t->probing.every > 0)
        fprintf(stderr, ", and %.1f MiB while probing", (double)t->probing.bytes / MEBIBYTE);
    fprintf(stderr, "; %s keeps weights, metrics and report\n", t->run.folder);
}

static void say_end(const Training *t)
{
    printf("trained %" PRIu64 " steps", t->at.step);
    if (isfinite(t->last_loss))
        printf(" to loss %.4f", t->last_loss);
    printf("; weights in %s, report in %s/report.html\n", t->run.weights, t->run.folder);
}

static int say_stopped(const Training *t, int signal_number)
{
    fprintf(stderr,
            "stopped by a signal after step %" PRIu64 "; the run is saved, and --resume goes on with it\n",
            t->at.step);
    return SIGNAL_EXIT + signal_number;
}

static int say_time_over(const Training *t)
{
    printf("stopped after step %" PRIu64 ", for the time of --stop-after is over; the run is saved, and "
           "--resume goes on with it\n",
           t->at.step);
    return 0;
}

/* Threads that are made later are as humble. To lower one's priority always succeeds. */
static void step_aside(void)
{
    enum { LOWEST = 19 };
    setpriority(PRIO_PROCESS, 0, LOWEST);
}

int command_train(const AmdimModel *m, const Options *o, Fault *f)
{
    Training t = {.model = m, .options = o, .last_loss = NAN, .deadline = INFINITY};
    int code = 1;
    signals_watch();
    if (o->nice)
        step_aside();
    if (o->stop_after > 0)
        t.deadline = clock_seconds() + (double)o->stop_after;
    if (set_up(&t, f)) {
        say_plan(&t);
        bool trained = train_steps(&t, f);
        if (!trained)
            report_failure(&t, f);
        meter_end(&t.meter);
        int stopped = signals_received();
        bool finished = is_finished(&t);
        if (trained && stopped && !finished)
            code = say_stopped(&t, stopped);
        else if (trained && !finished)
            code = say_time_over(&t);
        else if (trained) {
            say_end(&t);
            code = 0;
        }
    }
    tear_down(&t);
    return code;
}
