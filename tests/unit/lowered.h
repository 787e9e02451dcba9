/* lowered.h: a spec taken through the compiler's passes, for tests of what stands between. */
#ifndef LOWERED_H
#define LOWERED_H

#include "amdimc.h"

/* How far the list of a training step goes. */
typedef enum { PASS_LOWER, PASS_DIFFERENTIATE, PASS_SIMPLIFY, PASS_RECOMPUTE, PASS_PLAN } Pass;

typedef struct {
    Arena *arena;
    Diagnostics d;
    Source source;
    const Net *net;
    ParamPool pool;
    Graph *step;
    Params *params; /* once simplified */
} Lowered;

/* The test fails where the spec is wrong. Every pass is followed by graph_check, the last by plan_check. */
void lowered_begin(Lowered *l, const char *text, Pass last);
void lowered_begin_file(Lowered *l, const char *path, Pass last);
void lowered_begin_tiles(Lowered *l, const char *text, Pass last); /* for a target with matrix tiles */
void lowered_end(Lowered *l);

/* The passes after lowering, as the compiler runs them. */
void lowered_run(Graph *g, bool backward, Pass last);

#endif
