/* sweep.h: `amdimc sweep`, which compiles, trains and probes combinations of pairs and of other values of a
 * spec's keys, and compares them.
 *
 *   command line, OUT/plan -plan-> combinations -run-> files of OUT -results-> figures -write, page-> tables
 *
 * OUT keeps all that a sweep knows, so that the same command goes on where it was stopped:
 *
 *   settings, plan          what must stay as it is; what may only grow
 *   NAME/spec.yaml          a combination (1-to-5+1-to-7,optimizer.adam.lr=1e-4): the whole spec
 *   NAME/program, c/, log   the same, compiled
 *   NAME/seed-S/            a run: all that `train` keeps, trained.json, HEAD-EPOCHS.json, log
 *   untrained/L/seed-S/     HEAD.json of the untrained layer L, the base line of all that are probed there;
 *                           L-DIGEST where the combination has an encoder of its own
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
    int64_t epochs; /* that are wanted */
    bool trained;   /* for all the epochs that are wanted; else nothing below but the scores is there */
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
    const char *pairs;      /* "1-to-5,1-to-7", by n and m */
    const char *pairs_name; /* "1-to-5+1-to-7" */
    const char *weights;    /* "1,0.5" */
    int settings;
    const Setting *setting; /* of --set, by key */
    const char *set;        /* the same as lines, "optimizer.adam.lr=1e-4" */
    const char *name;       /* "1-to-5+1-to-7,optimizer.adam.lr=1e-4" */
    const char *folder;
    const char *spec;      /* the whole, as YAML */
    const char *canonical; /* all that decides what is trained, as lines */
    const char *losses;    /* what a loss sums, as text, */
    const char *negatives; /* and over how many each of its pairs is */
    const char *label;     /* as it is shown: what tells it from the others */
    int *value;            /* (keys) which of the key's values it has */
    SweepPairs trained;
    int layer;             /* the encoder's layer that is probed */
    const char *untrained; /* the folder of its base line below OUT/untrained */
    int batch;
    int threads;     /* 0: as many as there are processors */
    int64_t epochs;  /* its spec's, where --set gives them; else 0: the sweep's */
    bool has_cosine; /* so that its runs keep the epochs that they were begun for */
    bool uncompiled; /* the compiler failed */
    SweepRun *run;   /* (seeds) */
} Combination;

/* One --set: a key, and the values that it shall have. */
typedef struct {
    const char *path; /* "optimizer.adam.lr" */
    int values;
    Setting *value; /* (values) */
} SetOption;

/* A key that combinations set, and the values that they have; the first is "pairs". */
typedef struct {
    const char *path;
    const char *name; /* the last words of the path, as many as tell it from the others: "lr" */
    int values;
    const char **value; /* (values) numbers ascend, others as they come */
} SweepKey;

typedef struct {
    Arena *arena;

    /* Of the command line. */
    const char *spec, *out;
    const char *data;             /* NULL: the built-in pictures */
    const char *holdout;          /* the share of data without a test split that is to be one, or NULL */
    int64_t epochs, limit, seeds; /* epochs 0: the spec's; limit 0: none */
    bool epochs_given;
    int lists;
    const char **list; /* of --pairs; none: the spec's own */
    int set_options;
    SetOption *set;       /* of --set, by path */
    int jobs;             /* runs at once */
    const char *run_with; /* a command of the shell before each program, or NULL */
    const char *cc;       /* NULL: the compiler's own choice */
    Overrides overrides;  /* but pairs and settings */

    /* Of the spec. */
    Source *source;
    const char *title;     /* its name */
    const char *canonical; /* all that decides what is trained but the pairs and --set */
    int64_t spec_epochs;

    int combinations, capacity;
    Combination *combination;
    int keys;
    SweepKey *key; /* "pairs", then those of --set by path */
    bool busy;     /* runs may still become complete */
    bool failed;   /* something did, and the rest went on */
} Sweep;

/* ---- sweep.c ---- */

extern const char sweep_usage[];  /* the options, for --help */
int sweep(int argc, char **argv); /* argv[0] is "sweep"; the exit code */

/* ---- sweep_files.c: small files, whole ---- */

bool sweep_write_text(const char *path, const char *text);
char *results_text(Arena *a, const char *path);    /* a whole file, or NULL */
const char *last_line(Arena *a, const char *path); /* of a file, without its end; "" where there is none */

size_t file_bytes(const char *path);
const char *in_folder(const Sweep *s, const char *folder, const char *name);
/* The line that ends before `end`, which moves to where it begins. */
char *line_before(Arena *a, const char *text, size_t *end);

/* ---- sweep_set.c: --set ---- */

/* Takes one --set apart, KEY=V1,V2; what to end with where it is wrong, or GO_ON. */
int set_add(Sweep *s, const char *text);
/* Likewise of all of them together, and sorts them. */
int set_check(Sweep *s);
/* "KEY=VALUE" as a setting; its text stays. */
Setting set_parse(const char *text);
bool set_number(const char *text, double *number); /* whether a value is one */
bool set_same_value(const char *a, const char *b); /* 1e-4 and 0.0001 are one */
/* Settings by key. */
bool set_same(Arena *a, const Setting *left, int lefts, const Setting *right, int rights);

/* ---- sweep_plan.c: lists of pairs and values of keys -> combinations ---- */

enum { COMBINATIONS_MOST = 10000 };

/* Reads the spec with every combination of the command line; what is wrong with any value is shown. */
bool plan_lists(Sweep *s);
/* Adds one more combination, unless it is there already. `list` NULL: the spec's own pairs. */
bool plan_add(Sweep *s, Diagnostics *d, const char *list, const Setting *setting, int settings);
void plan_append(Sweep *s, const Combination *c);
/* One of the same pairs and settings; or NULL. */
const Combination *plan_find(const Sweep *s, const Combination *c);
int64_t epochs_of(const Sweep *s, const Combination *c); /* that its runs are trained for */

/* ---- sweep_keys.c: combinations -> keys and their values ---- */

/* Fills in the sweep's keys, and each combination's values and label. */
void keys_read(Sweep *s);
int keys_varying(const Sweep *s); /* that have more than one value */
/* Whether every combination's loss measures the same, so that losses may stand side by side. */
bool losses_compare(const Sweep *s);
bool pair_losses_compare(const Sweep *s); /* likewise one pair's, unweighted */

/* ---- sweep_keep.c: OUT/settings and OUT/plan ---- */

/* Makes OUT, and keeps other sweeps out of it until this process ends. Refuses an OUT of other settings, puts
 * its combinations before the sweep's, takes its seeds where they are more, and keeps the sum there. */
bool keep_plan(Sweep *s);

/* ---- sweep_compile.c, sweep_run.c: what is missing ---- */

void compile_all(Sweep *s, Children *children);
const char *program_of(const Sweep *s, const Combination *c);
void note_failure(Sweep *s, const char *what, const char *why); /* says it; the sweep has failed */
/* Compiles, trains and probes; `keep` is called whenever a run is complete. Ends early on a signal, or when
 * `keep` fails. */
void run_all(Sweep *s, Children *c, bool (*keep)(const Sweep *s));

/* ---- sweep_results.c: OUT's files -> figures ---- */

void results_read(Sweep *s);
void results_read_run(Sweep *s, int combination, int seed);
bool run_complete(const SweepRun *r);               /* trained and probed, and its base line is there */
Score score_parse(const char *text);                /* the object that `probe --json` prints; or NULL */
Score score_read(const Sweep *s, const char *path); /* a file with it */
/* The last line behind `from` bytes that is a probe's answer, or NULL: a command that runs the program may
 * say something, too. */
const char *last_answer(Arena *a, const char *path, size_t from);
/* Where the answers of probes are kept, after the epochs that are wanted and before the first. */
const char *score_path(const Sweep *s, const SweepRun *r, Head head);
const char *untrained_path(const Sweep *s, const Combination *c, int seed, Head head);
typedef struct {
    double epochs;     /* that a run has behind it */
    double peak_bytes; /* that training took so far */
} Trained;
Trained trained_read(const Sweep *s, const SweepRun *r);
bool trained_write(const Sweep *s, const SweepRun *r, const Trained *t);

/* ---- sweep_summary.c: figures over runs ---- */

/* Complete ones. */
typedef struct {
    int count;
    const SweepRun **run; /* (count) */
} Runs;
Runs runs_of(const Sweep *s, const Combination *c);

typedef struct {
    int count; /* of runs; without one the rest is NAN */
    double mean, largest;
    double spread; /* the standard deviation, by n - 1; NAN for one run */
} Summary;
typedef double Figure(const SweepRun *r, int which);
Figure figure_accuracy, figure_low, figure_high, figure_untrained, figure_gain; /* which: the Head */
Figure figure_pair_loss, figure_pair_accuracy;                                  /* which: the pair */
Figure figure_loss, figure_penalty, figure_speed, figure_seconds;               /* which: unused */
Figure figure_peak;                        /* NAN where it was not measured */
Figure figure_loss_at, figure_accuracy_at; /* which: the pair times CURVE_POINTS, and the point */
Summary summarise_runs(const Runs *runs, Figure *figure, int which);
Summary summarise(const Sweep *s, const Combination *c, Figure *figure, int which);
int combination_complete(const Sweep *s, const Combination *c); /* complete runs */
int sweep_complete(const Sweep *s);
SweepPairs sweep_pairs(const Sweep *s);                       /* the pairs of all combinations, by n and m */
int combination_pair(const Combination *c, const char *name); /* its number there, or -1 */

/* ---- sweep_effects.c: which key did what ---- */

/* A key's main effect: for each value the runs that have it, over the other keys' values and the seeds. Those
 * count that have a like, with each other value of the key and nothing else changed, so that means compare;
 * where no run has, all do. */
typedef struct {
    const SweepKey *key;
    Runs *runs; /* (key->values) */
    bool matched;
    int left_out; /* complete runs that do not count */
} Effect;
Effect effect_of(const Sweep *s, int key);
/* By how much the means of values differ, and how much runs of one value do; NAN where nothing can be said.
 */
typedef struct {
    double low, high;    /* the means' ends */
    int lowest, highest; /* values that have them */
    double within;       /* the standard deviation within values, pooled */
} EffectSize;
EffectSize effect_size(const Effect *e, Head head);

/* ---- sweep_shown.c: figures as people read them, rounded alike wherever they stand ---- */

double percent_rounded(double share);                         /* what shown_percent shows */
const char *shown_percent(Arena *a, double share);            /* "52.3", without a unit, like all of them */
const char *shown_between(Arena *a, double low, double high); /* of two percentages that stand beside it */
const char *shown_points(Arena *a, double share);             /* "+3.1": a difference of shares */
const char *shown_speed(Arena *a, double images_per_second);
const char *shown_mebibytes(Arena *a, double bytes);
const char *shown_loss(Arena *a, double loss);
const char *shown_duration(Arena *a, double seconds); /* with its unit */

/* ---- sweep_write.c, sweep_text.c, sweep_page.c, sweep_tables.c, sweep_curves.c, sweep_dots.c ---- */

void write_csv(const Sweep *s, FILE *out);  /* a line for each complete run */
void write_json(const Sweep *s, FILE *out); /* everything */
void write_text(const Sweep *s, FILE *out); /* tables to read */
void write_page(const Sweep *s, FILE *out); /* a page to look at */
/* Parts of the page. */
void write_results(const Sweep *s, FILE *out); /* a row a combination */
void write_effects(const Sweep *s, FILE *out); /* a section a key */
void write_runs(const Sweep *s, FILE *out);    /* a row a run */
void write_pairs(const Sweep *s, FILE *out);   /* every pair's curves */
const SweepRun *any_run(const Sweep *s);       /* a complete one, or NULL */
/* As SVG, a row each: the untrained encoder's accuracy, the mean of the runs and every run's. */
typedef struct {
    const char *name;
    int colour; /* of the style sheet, or -1: none of a combination's */
    Runs runs;
} DotRow;
void draw_dots(const DotRow *row, int rows, Head head, SectionWidth section, FILE *out);

#endif
