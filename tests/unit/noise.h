/* noise.h: numbers that look random and are the same in every run, and an interpreter's inputs filled with
 * them. */
#ifndef NOISE_H
#define NOISE_H

#include "interpreter.h"

/* The next of the sequence that `state` leads: uniform in -1..1, a float32. */
double noise(uint64_t *state);
/* The next: uniform in 0..n-1. */
int noise_below(uint64_t *state, int n);

/* Pictures, locations and parameters, such that nothing is special: no weight zero, maps of order 1,
 * batchnorms away from the identity. All float32. */
void noise_fill(Interpreter *r, uint64_t seed);

#endif
