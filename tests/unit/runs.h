/* runs.h: runs of the toy model, in the scratch folder of samples.h. */
#ifndef RUNS_H
#define RUNS_H

#include "commands.h"
#include "toy_model.h"

/* Twenty pictures are five steps an epoch. */
enum { LIMIT = 2, STEPS = 12, STOP = 3 };

/* Into a folder of that name; two of them stay, as a test compares two runs at most. */
Options train_options(const char *run, int64_t steps);
int train(const AmdimModel *m, const Options *o); /* the exit code */
void train_whole(const char *run);                /* STEPS steps */
/* Training fails, and its fault says these words. */
void refuses(const Options *o, const char *words);
/* The exit code; what is printed on stderr comes by malloc. */
int train_saying(const AmdimModel *m, const Options *o, char **said, Fault *f);

/* By malloc: metrics.jsonl without the speeds, the last field of every line; the bytes of last.safetensors.
 */
char *metrics_without_speed(const char *run);
char *weights_of(const char *run, size_t *count);
void add_to_metrics(const char *run, const char *text);
int count_lines(const char *text);
void assert_same_run(const char *a, const char *b); /* weights and metrics, speeds apart */

#endif
