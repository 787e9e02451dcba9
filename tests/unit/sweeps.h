/* sweeps.h: `amdimc sweep` of specs/tiny.yaml, and the files that it leaves in the scratch folder. */
#ifndef SWEEPS_H
#define SWEEPS_H

#include "sweep/sweep.h"

/* Begins the scratch folder with a sweep in `whole`. Programs are compiled with -O1: they run for less time
 * than -O3 would take. Returns the folder; the test fails where the sweep does. */
const char *sweeps_begin(const char *arguments);
/* A sweep whose --out is `out` in the scratch folder; what it says goes to the scratch file `said`. The exit
 * code. */
int sweep_tiny(const char *arguments, const char *out);
/* plan_lists() with what it says thrown away; the test fails where that does. */
void plan_quietly(Sweep *s);

/* A file of the scratch folder, by malloc. */
char *read_scratch(const char *name);
void expect_in(const char *file, const char *what);
void expect_not_in(const char *file, const char *what);

#endif
