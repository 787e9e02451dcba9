/* training.h: what the files of the training loop say to each other: train.c (the steps), begin.c (before
 * them), keep.c (what is kept). */
#ifndef TRAINING_H
#define TRAINING_H

#include "runtime.h"

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
    double weights_lr;         /* that of the last step that changed the weights, or of the first */
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

/* ---- keep.c: the processes of a training ----
 *
 * Process 0 leads: the run's folder, its files and its clock are its own. The others do the same steps, and
 * what they must do at the same step they agree on. */

typedef enum {
    WANTS_SAVE = 1,
    WANTS_STOP = 2,
    HAS_FAILED = 4,
    NOT_FINITE = 8,
    IS_TOLD = 16, /* to save */
    IS_LOST = 32, /* what was saved */
    SIGNALS = 256
} Wish;

bool training_leads(const Training *t);
/* The step that made the weights: those left out since have not changed them. */
uint64_t training_weights_step(const Training *t);
/* What any process wishes. A signal to one is one to all: signal n is bit n - 1 from SIGNALS on, and of
 * several the lowest counts. */
unsigned training_agree(const Training *t, unsigned wishes);

/* ---- keep.c: checkpoints, curves, the report ---- */

/* They could not be written: the run goes on without them. */
void training_without_metrics(Training *t, const Fault *why);
void training_without_events(Training *t, const Fault *why);
void training_write_curves(Training *t, const MetricsRow *row, bool is_last);
/* Puts which checkpoint there is behind a reason; always false. */
bool training_says_what_is_kept(const Training *t, Fault *f);
bool training_save(Training *t, Fault *f);
/* Moments too: a run that cannot be resumed for their sake is lost. */
bool training_weights_are_finite(const Training *t);
/* Weights that are no numbers do not replace a checkpoint of ones that are: a ReLU may have kept them from
 * the loss. */
bool training_save_finite(Training *t, Fault *f);
/* The data or the probe failed, not the run: what was trained is kept. Always false. */
bool training_failed_but_saved(Training *t, Fault *f);
/* `reason` why it failed, if it did. */
void training_report(Training *t, ReportPhase phase, const char *reason);
/* Without features. The next whole one comes when it would without these. */
void training_report_early(Training *t);
bool training_report_is_due(const Training *t, bool epoch_ends);

/* ---- begin.c ---- */

bool training_is_finished(const Training *t);
/* Whether the budget has room for so many threads, where they are more than the spec has. */
bool training_fits(const Training *t, Fault *f);
/* Weights, moments, data and curves, as a new run has them or as it left them. The run's folder is open, and
 * so is the machine. */
bool training_begin(Training *t, Fault *f);

#endif
