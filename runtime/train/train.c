/* train.c: the training loop.
 *
 * A run is a function of the spec, the data, the seed and the limit: how often it was stopped and gone on
 * with, saved, or on how many threads it ran leaves no trace in its weights. It is saved at the end of every
 * epoch, every five minutes, as often as --checkpoint-every says, on a signal, when its time is over, at the
 * end, and when it cannot go on; before a probe, too, which leaves no trace in it but its result in the
 * metrics. What cannot be saved ends it; metrics, curves and report are worth a note. */
#include "training.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { LEFT_OUT_MOST = 10 };          /* steps in a row that --on-nan skip leaves out */
static const double SAVE_EVERY = 300; /* seconds */
/* The first report is there before the first step, the second, with curves, so soon after; neither waits for
 * features. */
static const double REPORT_EARLY = 4;

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

/* What made that loss are the weights before it: of their run no rate helps any more. What helps are others,
 * and those of a checkpoint before the steps that were left out, whose weights are the same. */
static bool advise(const Training *t, uint64_t kept_before, Fault *f)
{
    const bool saved = kept_before < t->at.step;
    const char *skip = t->options->skip_nan ? "" : ", or --resume with --on-nan skip";
    if (training_weights_step(t) == 0)
        return fault(
            f,
            "%s; the weights that it began with make that loss, whatever the --lr: begin with others, by "
            "--weights or another --seed",
            f->text);
    if (!saved && training_leads(t) && !run_keeps_last(&t->run))
        return training_says_what_is_kept(t, f);
    fault(f, "%s; the run %s after step %" PRIu64 ", whose weights make that loss at any --lr", f->text,
          saved ? "is saved" : "stays saved", t->at.step);
    const bool earlier = kept_before > 0 && t->run.checkpoint.keep;
    if (earlier && training_leads(t) && run_holds_previous(&t->run))
        return fault(f, "%s: begin a new run with a --lr lower than %g, from %s by --weights%s", f->text,
                     t->weights_lr, t->run.checkpoint.previous, skip);
    return fault(f, "%s: begin anew with a --lr lower than %g%s", f->text, t->weights_lr, skip);
}

static bool diverged(Training *t, uint64_t step, Fault *f)
{
    const char *times = t->at.left_out >= LEFT_OUT_MOST ? ", like those of the nine before it" : "";
    fault(f, "the loss of step %" PRIu64 " is not finite%s: %s", step, times, t->blame);
    if (!training_weights_are_finite(t)) {
        fault(f, "%s; the weights before it were not, either; try a --lr lower than %g", f->text,
              t->weights_lr);
        return training_says_what_is_kept(t, f);
    }
    Fault why;
    const uint64_t kept_before = t->kept_step;
    if (t->at.step > kept_before && !training_save(t, &why))
        return fault(f, "%s; and %s", f->text, why.text);
    return advise(t, kept_before, f);
}

/* The step keeps its number, its pictures and its rate. */
static bool leave_out(Training *t, Fault *f)
{
    t->at.left_out++;
    if (training_leads(t))
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
    const unsigned wishes = training_agree(t, lacks ? HAS_FAILED : 0);
    if (wishes & HAS_FAILED) {
        company_hear(t->machine.company, lacks, f);
        return training_failed_but_saved(t, f);
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
        t->weights_lr = t->at.lr;
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
    training_write_curves(t, &row, is_last);
    meter_step(&t->meter, t->at.step, step->loss);
    return finite || leave_out(t, f);
}

static bool time_is_over(const Training *t)
{
    return clock_seconds() >= t->deadline;
}

static bool is_stopping(const Training *t)
{
    return signals_received() || time_is_over(t);
}

static void tell_probe(Training *t, const ProbeResult *result, int heads)
{
    Fault why;
    char text[256];
    if (!metrics_probe(&t->metrics, result, heads, &why))
        training_without_metrics(t, &why);
    for (int i = 0; i < heads; i++) {
        probe_describe(&result[i], text, sizeof text);
        meter_progress(&t->meter, "%s probe after step %" PRIu64 ": %s", result[i].head, t->at.step, text);
        if (!events_probe(&t->events, t->at.step, &result[i], &why))
            training_without_events(t, &why);
    }
}

/* In the place of a folder that has been moved there may be another program's. */
static bool folder_is_here(const void *run)
{
    Fault f;
    return run_is_here(run, &f);
}

/* The run is saved, and does not stop here. A signal abandons the probe; --resume makes up for it. */
static bool probe(Training *t, Fault *f)
{
    ProbeResult result[PROBE_HEADS];
    ProbeSplits splits = t->probing.splits;
    splits.step = t->at.step;
    splits.keep = t->run.probe;
    splits.may_keep = folder_is_here;
    splits.keeper = &t->run;
    if (!probe_splits(&t->machine, &splits, result, f)) {
        if (signals_received())
            return true;
        t->is_alone = company_processes(t->machine.company) > 1; /* the others wait for its next step */
        return t->is_alone ? training_says_what_is_kept(t, f) : training_failed_but_saved(t, f);
    }
    t->probing.done = t->at.step;
    tell_probe(t, result, splits.second ? 2 : 1);
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
    if (!training_is_finished(t) && !is_stopping(t))
        training_report_early(t);
    bool stops = training_agree(t, is_stopping(t) ? WANTS_STOP : 0) != 0;
    if (probing_is_due(&t->probing, t->at.step) && !stops && !probe(t, f))
        return false;
    while (t->at.step < t->total && !stops) {
        if (!train_step(t, f))
            return false;
        bool probes = probing_is_due(&t->probing, t->at.step), told = signals_take_save();
        bool saves = probes || told || (training_leads(t) && save_is_due(t));
        const unsigned wishes = training_agree(t, (saves ? WANTS_SAVE : 0) | (told ? IS_TOLD : 0) |
                                                      (training_leads(t) && is_stopping(t) ? WANTS_STOP : 0));
        stops = wishes >= SIGNALS || wishes & WANTS_STOP;
        if (wishes & WANTS_SAVE && !training_save_finite(t, f))
            return false;
        if (wishes & IS_TOLD)
            meter_progress(&t->meter, "saved after step %" PRIu64, t->at.step);
        if (probes && !stops && !probe(t, f))
            return false;
        if (training_report_is_due(t, t->at.step % t->per_epoch == 0)) {
            training_report(t, REPORT_RUNNING, NULL);
        } else if (!t->reported_early && clock_seconds() - t->reported > REPORT_EARLY) {
            t->reported_early = true;
            training_report_early(t);
        }
    }
    if (!training_save_finite(t, f))
        return false;
    training_report(t, training_is_finished(t) ? REPORT_FINISHED : REPORT_STOPPED, NULL);
    return true;
}

/* ---- setting up ---- */

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
    return training_fits(t, f) && run_open(&t->run, t->options->out, f) && new_machine(t, f) &&
           training_begin(t, f);
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
    if (processes > 1 && training_leads(t) && processor_count() < t->options->threads)
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
    if (t->at.step > t->total)
        say_progress(stderr, "the run has made %" PRIu64 " steps, and %" PRIu64 " are asked for", t->at.step,
                     t->total);
    else
        say_progress(stderr,
                     "from step %" PRIu64 " to %" PRIu64 ", %" PRIu64 " an epoch; batch %d, seed %" PRIu64,
                     t->at.step, t->total, t->per_epoch, m->batch, t->at.seed);
    say_ranks(t);
    snprintf(memory, sizeof memory, ", at most %.1f MiB of memory%s",
             (double)(train_peak_bytes(m, t->options->threads) + company_bytes(t->machine.company)) /
                 MEBIBYTE,
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
    if (training_leads(t))
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
    if (training_leads(t))
        say_rate(t);
    if (t->at.step < t->total && training_leads(t))
        keys_note(t->model, t->total, t->per_epoch, t->at.lr);
    bool trained = train_steps(t, f);
    if (!trained)
        training_report(t, REPORT_FAILED, f->text); /* so that the page does not say that it runs still */
    meter_end(&t->meter);
    if (!t->is_alone)
        company_ends_together();
    if (!trained && !training_leads(t) && !t->is_alone)
        f->text[0] = '\0'; /* process 0 says it */
    if (!trained)
        return 1;
    f->text[0] = '\0'; /* of a batch or a probe that a signal has abandoned */
    if (training_is_finished(t)) {
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
