/* trial.h: one spec on trial: compiled to a program whose `replay` is held against the interpreter in double.
 * Everything it writes lies in the scratch folder of samples.h.
 *
 * Uses the compiler $BUILD/amdimc, or build/amdimc. */
#ifndef TRIAL_H
#define TRIAL_H

#include "lowered.h"
#include "noise.h"
#include "tensor_file.h"

#include <sys/types.h>

typedef struct {
    const char *name;
    uint64_t seed;
    Lowered l;
    Interpreter *want; /* of the weights and the batch that are in the files, interpreted */
    char spec[512], program[512], generated[512], weights[512], batch[512], out[512], log[512];
} Trial;

/* `text` is a spec; it, weights and a batch go to files. `name` must stay. */
void trial_begin(Trial *t, const char *name, const char *text, uint64_t seed);
void trial_end(Trial *t);

/* Starts the compiler with `options`, which end with NULL, behind what it needs. */
pid_t trial_compile(const Trial *t, const char *const *options);
/* Waits for a child of the trial; false, with what it printed on stderr, where it failed. */
bool trial_finish(const Trial *t, pid_t child);
/* Runs `replay`, whose file is then in *to, to be freed by the caller. */
bool trial_replay(const Trial *t, const char *threads, TensorFile *to);

/* The tensors that `replay` writes, as `r` has them, in the order of files. `size` is what docs/program.md
 * has the error's norm divided by. */
typedef void EachTensor(void *job, const char *name, const double *value, size_t count, double size);
void trial_each(const Trial *t, const Interpreter *r, EachTensor *each, void *job);
/* Fails the test where a tensor of the file is off by more than its rule leaves float32 for: 1e-4,
 * half of what it allows. `where` is what the failure calls the program. */
void trial_expect_near(const Trial *t, const char *where, const TensorFile *file);
/* The same of a replay on one thread; one on two must be the same file. */
void trial_expect_replay(const Trial *t, const char *where);
/* The norm of the difference over `size`; INFINITY where the file has no such tensor. */
double trial_error(const TensorFile *f, const char *name, const double *want, size_t count, double size);

#endif
