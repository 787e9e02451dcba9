/* keep.c: what is kept of a run: checkpoints, curves, the report. Process 0 writes them; what all processes
 * must know of it they agree on. */
#include "training.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The report is drawn at an epoch's end when ten seconds have passed, in between when thirty have, and never
 * takes more than a hundredth of the time. */
static const double REPORT_AT_EPOCH = 10, REPORT_BETWEEN = 30, REPORT_REST = 100;

/* ---- the processes of a training ---- */

uint64_t training_weights_step(const Training *t)
{
    return t->at.step - t->at.left_out;
}

bool training_leads(const Training *t)
{
    return company_leads(t->machine.company);
}

unsigned training_agree(const Training *t, unsigned wishes)
{
    const int received = signals_received();
    wishes |= received > 0 ? (unsigned)SIGNALS << (received - 1) : 0;
    wishes = company_agree(t->machine.company, wishes);
    if (wishes >= SIGNALS)
        signals_follow(__builtin_ctz(wishes / SIGNALS) + 1);
    return wishes;
}

/* ---- what is kept ---- */

void training_without_metrics(Training *t, const Fault *why)
{
    meter_say(&t->meter, "note: %s; the run goes on without metrics", why->text);
    metrics_close(&t->metrics);
}

void training_without_events(Training *t, const Fault *why)
{
    meter_say(&t->meter, "note: %s; the run goes on without TensorBoard's curves", why->text);
    events_close(&t->events);
}

static void flush_curves(Training *t)
{
    Fault why;
    if (!metrics_flush(&t->metrics, &why))
        training_without_metrics(t, &why);
    if (!events_flush(&t->events, &why))
        training_without_events(t, &why);
}

void training_write_curves(Training *t, const MetricsRow *row, bool is_last)
{
    Fault why;
    if (!metrics_write(&t->metrics, t->model, row, &why))
        training_without_metrics(t, &why);
    if (!events_write(&t->events, t->model, row, is_last, &why))
        training_without_events(t, &why);
}

bool training_says_what_is_kept(const Training *t, Fault *f)
{
    if (t->kept_step == 0)
        return fault(f, "%s; nothing of the run was saved before", f->text);
    Fault gone;
    if (training_leads(t) && (!run_is_here(&t->run, &gone) || !run_holds_weights(&t->run)))
        return fault(f, "%s; what was saved there, last after step %" PRIu64 ", is gone, or elsewhere",
                     f->text, t->kept_step);
    return fault(f, "%s; the last good checkpoint is of step %" PRIu64 ", and --resume goes on with it",
                 f->text, t->kept_step);
}

/* Steps that are left out change no weights, which may be those that no step can be made with any more. So
 * the checkpoint of before them stays the previous one. */
static bool keeps_same_weights(const Training *t)
{
    return t->at.left_out > 0 && t->kept_step >= training_weights_step(t);
}

static bool keep_checkpoint(Training *t, Fault *f)
{
    if (!training_leads(t))
        return checkpoint_help(t->model, &t->optimizer, f);
    CheckpointFiles files = t->run.checkpoint;
    files.keep = files.keep && !keeps_same_weights(t);
    return run_is_here(&t->run, f) &&
           checkpoint_save(t->model, &files, t->machine.params, &t->optimizer, &t->at, f);
}

/* What is on disk may have been removed since. */
static bool is_kept(Training *t)
{
    const bool lost = t->on_disk && training_leads(t) && !run_keeps_last(&t->run);
    if (t->on_disk)
        t->on_disk = !(training_agree(t, lost ? IS_LOST : 0) & IS_LOST);
    return t->on_disk;
}

bool training_save(Training *t, Fault *f)
{
    t->saved = clock_seconds();
    flush_curves(t);
    if (is_kept(t))
        return true;
    if (!keep_checkpoint(t, f)) {
        t->is_alone = true;
        return training_says_what_is_kept(t, f);
    }
    training_agree(t, 0); /* that it is there */
    t->on_disk = true;
    t->run.checkpoint.keep = t->run.checkpoint.keep || !keeps_same_weights(t);
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

bool training_weights_are_finite(const Training *t)
{
    bool own = are_finite(t->machine.params, t->model->param_floats) &&
               are_finite(t->optimizer.moments, (size_t)optimizer_moments(t->model) * t->optimizer.floats);
    return !(training_agree(t, own ? 0 : NOT_FINITE) & NOT_FINITE);
}

bool training_save_finite(Training *t, Fault *f)
{
    if (training_weights_are_finite(t))
        return training_save(t, f);
    fault(f, "the weights after step %" PRIu64 " are not finite, at a base rate of %g; a lower --lr may help",
          t->at.step, t->weights_lr);
    return training_says_what_is_kept(t, f);
}

/* `reason` why it failed, if it did. */
static void draw_report(Training *t, ReportPhase phase, const char *reason, bool early)
{
    Fault why;
    if (!training_leads(t))
        return;
    /* No step comes any more where there was none, or where a signal ended the wait for its pictures. */
    if (!early && !t->views)
        t->views = loader_end(t->loader);
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
    bool written = run_is_here(&t->run, &why) && report_write(t->model, &state, &why);
    t->reported = clock_seconds();
    t->report_took = t->reported - begun;
    if (!written && !t->report_lost)
        meter_say(&t->meter, "note: %s; the run goes on without a report", why.text);
    t->report_lost |= !written;
}

void training_report(Training *t, ReportPhase phase, const char *reason)
{
    draw_report(t, phase, reason, false);
    t->reported_early = true;
}

void training_report_early(Training *t)
{
    const double reported = t->reported;
    draw_report(t, REPORT_RUNNING, NULL, true);
    t->reported = reported;
}

bool training_report_is_due(const Training *t, bool epoch_ends)
{
    double waited = clock_seconds() - t->reported;
    return waited > (epoch_ends ? REPORT_AT_EPOCH : REPORT_BETWEEN) && waited > REPORT_REST * t->report_took;
}

bool training_failed_but_saved(Training *t, Fault *f)
{
    Fault second;
    if (!training_save_finite(t, &second))
        return fault(f, "%s (and the run could not be saved: %s)", f->text, second.text);
    return fault(f,
                 "%s (the run is saved after step %" PRIu64
                 "; --resume goes on with it on the same data; on mended ones, which are others, "
                 "--weights %s begins a new run)",
                 f->text, t->at.step, t->run.checkpoint.last);
}
