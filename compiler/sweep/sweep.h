/* sweep.h: `amdimc sweep`, which compiles, trains and probes combinations of pairs and compares them.
 *
 *   command line, OUT/plan -plan-> combinations -run-> files of OUT -results-> figures -write, page-> tables
 *
 * OUT keeps all that a sweep knows, so that the same command goes on where it was stopped:
 *
 *   settings, plan          what must stay as it is; what may only grow
 *   PAIRS/program, c/, log  a combination (1-to-5+1-to-7), compiled
 *   PAIRS/seed-S/           a run: all that `train` keeps, trained.json, HEAD-EPOCHS.json, log
 *   untrained/L/seed-S/     HEAD.json of the untrained layer L, the base line of all that are probed there
 *   sweep.csv, .json, .html the results so far
 *
 * Initial weights are drawn by seed and place in the table of tensors, in which the encoder comes first: they
 * do not depend on the heads. Everything lives in the sweep's arena. What returns false has said why. */
#ifndef SWEEP_H
#define SWEEP_H

#include "amdimc.h"
#include "build/build.h"
#include "page.h"
#include "support.h"

typedef enum { HEAD_LINEAR, HEAD_KNN, HEADS } Head;
extern const char *const head_option[HEADS]; /* as `probe --head` calls it */

/* What a probe said. */
typedef struct {
    bool there;
    double accuracy, low, high, images;
} Score;

enum { CURVE_POINTS = 120 };

/* One pair of a run: means of the last epoch, and curves of CURVE_POINTS means of as many steps each. */
typedef struct {
    double loss, accuracy; /* accuracy: share of the positives found; NAN where it was not measured */
    double loss_curve[CURVE_POINTS], accuracy_curve[CURVE_POINTS];
} PairCurves;

/* One seed of a combination. */
typedef struct {
    const char *folder;
    bool trained; /* for all the epochs that are wanted; else nothing below but the scores is there */
    Score score[HEADS], untrained[HEADS];
    uint64_t steps;
    double seconds;           /* in steps */
    double images_per_second; /* the median of all steps but the first */
    double peak_bytes;        /* of resident memory, measured */
    double loss, penalty;     /* means of the last epoch */
    PairCurves *pair;         /* (pairs) */
    int points;
    double step[CURVE_POINTS]; /* where the curves' points are */
} SweepRun;

typedef struct {
    const char *name; /* "1-to-5" */
    int from, to;     /* n and m */
    double weight;
} SweepPair;

/* By n and m. */
typedef struct {
    int count;
    SweepPair *pair;   /* (count) */
    const char **name; /* (count) the pairs' */
} SweepPairs;

typedef struct {
    const char *pairs;   /* "1-to-5,1-to-7", by n and m */
    const char *weights; /* "1,0.5" */
    const char *name;    /* "1-to-5+1-to-7" */
    const char *folder;
    SweepPairs trained;
    int layer;       /* the encoder's layer that is probed */
    bool uncompiled; /* the compiler failed */
    SweepRun *run;   /* (seeds) */
} Combination;

typedef struct {
    Arena *arena;

    /* Of the command line. */
    const char *spec, *out;
    const char *data;             /* NULL: the built-in pictures */
    int64_t epochs, limit, seeds; /* epochs 0: the spec's; limit 0: none */
    int lists;
    const char **list;   /* of --pairs */
    const char *cc;      /* NULL: the compiler's own choice */
    Overrides overrides; /* but pairs */

    /* Of the spec. */
    Source *source;
    const char *title;     /* its name */
    const char *canonical; /* all that decides what is trained but the pairs */
    int batch;
    int64_t spec_epochs;

    int combinations, capacity;
    Combination *combination;
    bool busy;   /* runs may still become complete */
    bool failed; /* something did, and the rest went on */
} Sweep;

/* ---- sweep.c ---- */

extern const char sweep_usage[];  /* the options, for --help */
int sweep(int argc, char **argv); /* argv[0] is "sweep"; the exit code */

/* ---- sweep_files.c: small files, whole ---- */

bool sweep_write_text(const char *path, const char *text);
char *results_text(Arena *a, const char *path);    /* a whole file, or NULL */
const char *last_line(Arena *a, const char *path); /* of a file, without its end; "" where there is none */

/* ---- sweep_plan.c: lists of pairs -> combinations ---- */

/* Reads the spec with every list of the command line; what is wrong with any of them is shown. */
bool plan_lists(Sweep *s);
/* Adds one more list, unless it is there already. */
bool plan_add(Sweep *s, Diagnostics *d, const char *list);
void plan_append(Sweep *s, const Combination *c);
const Combination *plan_find(const Sweep *s, const char *pairs); /* or NULL */

/* ---- sweep_keep.c: OUT/settings and OUT/plan ---- */

/* Makes OUT, and keeps other sweeps out of it until this process ends. Refuses an OUT of other settings, puts
 * its combinations before the sweep's, takes its seeds where they are more, and keeps the sum there. */
bool keep_plan(Sweep *s);

/* ---- sweep_run.c: what is missing ---- */

/* Compiles, trains and probes; `note` is called whenever a run is complete. Ends early on a signal, or when
 * `note` fails. */
void run_all(Sweep *s, Children *c, bool (*keep)(const Sweep *s));

/* ---- sweep_results.c: OUT's files -> figures ---- */

void results_read(Sweep *s);
void results_read_run(Sweep *s, int combination, int seed);
bool run_complete(const SweepRun *r);               /* trained and probed, and its base line is there */
Score score_parse(const char *text);                /* the object that `probe --json` prints; or NULL */
Score score_read(const Sweep *s, const char *path); /* a file with it */
/* Where the answers of probes are kept, after the epochs that are wanted and before the first. */
const char *score_path(const Sweep *s, const SweepRun *r, Head head);
const char *untrained_path(const Sweep *s, const Combination *c, int seed, Head head);
typedef struct {
    double epochs;     /* that a run has behind it */
    double peak_bytes; /* that training took so far */
} Trained;
Trained trained_read(const Sweep *s, const SweepRun *r);
bool trained_write(const Sweep *s, const SweepRun *r, const Trained *t);

/* ---- sweep_summary.c: figures over the seeds ---- */

typedef struct {
    int count; /* of complete runs; without one the rest is NAN */
    double mean, largest;
    double spread; /* the standard deviation, by n - 1; NAN for one run */
} Summary;
typedef double Figure(const SweepRun *r, int which);
Figure figure_accuracy, figure_low, figure_high, figure_untrained, figure_gain; /* which: the Head */
Figure figure_pair_loss, figure_pair_accuracy;                                  /* which: the pair */
Figure figure_loss, figure_penalty, figure_speed, figure_peak, figure_seconds;  /* which: unused */
Figure figure_loss_at, figure_accuracy_at; /* which: the pair times CURVE_POINTS, and the point */
Summary summarise(const Sweep *s, const Combination *c, Figure *figure, int which);
int combination_complete(const Sweep *s, const Combination *c); /* complete runs */
int sweep_complete(const Sweep *s);
SweepPairs sweep_pairs(const Sweep *s);                       /* the pairs of all combinations, by n and m */
int combination_pair(const Combination *c, const char *name); /* its number there, or -1 */

/* ---- sweep_write.c, sweep_page.c, sweep_dots.c ---- */

void write_csv(const Sweep *s, FILE *out);  /* a line for each complete run */
void write_json(const Sweep *s, FILE *out); /* everything */
void write_text(const Sweep *s, FILE *out); /* a table to read */
void write_page(const Sweep *s, FILE *out); /* a page to look at */
/* As SVG: for each combination the untrained encoder's accuracy, and its own with every seed's. */
void draw_dots(const Sweep *s, Head head, FILE *out);

#endif
