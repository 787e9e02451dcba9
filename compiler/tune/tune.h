/* tune.h: --tune, which times the ways that there are to make each product of a step on this machine, and the
 * file of choices that comes of it, which --tuned reads. A way is a kernel, and how it cuts the product. Bits
 * depend on the choices alone: the same file, the same program. */
#ifndef TUNE_H
#define TUNE_H

#include "amdimc.h"
#include "build/build.h"

/* ---- tuned.c: the file ---- */

/* Its choices; NULL when it has said what is wrong. */
const Choices *tuned_read(Arena *a, Diagnostics *d, const char *path);
/* Says how many of them the program could not follow: of another spec, or for another processor. */
void tuned_note(const Choices *c, const char *path, const Program *p);
/* Where it goes unless -o says: specs/amdim.yaml -> specs/amdim.tuned.yaml. */
const char *tuned_path(Arena *a, const char *spec);

/* ---- ways.c: what can be chosen ---- */

enum { MOST_WAYS = 16 };

typedef struct {
    int ways;                  /* the program's own first */
    Choice way[MOST_WAYS];     /* of one product */
    double seconds[MOST_WAYS]; /* of a step, the least of all rounds; 0: not measured */
} Product;
typedef struct {
    int count, most_ways;
    Product *product; /* those that can be made in more than one way */
} Products;
Products products_of(Arena *a, const Program *p);
/* The fastest, where that is not within what times differ by anyhow; else 0. */
int product_best(const Product *p);
const char *way_text(Arena *a, const Choice *c); /* "winograd, outputs 2" */

/* ---- measure.c: what `bench --json` tells ---- */

/* Adds a run's times: of each product those of way number `way`. *step gets the seconds of a step, *peak,
 * where the run was profiled, GFLOP/s of multiply-adds. False where the text is none of that. */
bool measure_take(Arena *a, const char *json, const Products *products, int way, double *step, double *peak);

/* ---- write.c: the file as text ---- */

extern const char no_choices[];
/* The list of products: each in its way number `way`, if it has one and that is not its own; each in its
 * fastest, with the times; or no_choices. */
const char *choices_of_way(Arena *a, const Products *p, int way);
const char *choices_of_best(Arena *a, const Products *p);
/* All of it: also where and with what gain they were found. `peak`: GFLOP/s. */
const char *tuned_text(Arena *a, const Program *p, const char *cc, double peak, const char *choices,
                       const char *gain);

/* ---- tune.c ---- */

#define TUNE_SECONDS 1.5
/* Compiles a program for each of the ways, times them in turn, in runs of about so many seconds, and writes
 * b->output. */
bool tune(Arena *a, const Build *b, const Overrides *o, const Program *p, double seconds);

#endif
