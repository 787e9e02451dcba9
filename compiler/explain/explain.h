/* explain.h: between explain.c and explain_memory.c, which work out what --explain says, and explain_text.c,
 * explain_chart.c and explain_json.c, which show it. */
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include "amdimc.h"
#include "blocks.h"

/* Trained numbers, and FLOP of a step's products, two per multiply-add. */
typedef struct {
    size_t parameters;
    double forward, step; /* the forward pass alone; with the backward pass */
} Share;

/* The arena while one operation runs. */
typedef struct {
    size_t bytes[PURPOSES];
    size_t live; /* the sum */
} Moment;

/* What one implementation makes of a step's products. */
typedef struct {
    const char *name;
    int operations;
    double flop; /* as run, with what is computed again */
} Implementation;
enum { IMPLEMENTATIONS = 8 };

typedef struct {
    const Program *program;
    Share *layer, *scale, *pair;        /* by number, as in Net */
    Share encoder, heads, scores, step; /* sums over layers, scales, pairs, and of the three */

    int implementations;
    Implementation implementation[IMPLEMENTATIONS]; /* in the order in which they are first met */

    Moment *moment;  /* by number of the step's operation */
    int forward_ops; /* those before losses and embeddings are reported */
    int fullest;     /* the first operation with the most live bytes */
} Explanation;

/* A part of the peak; all together are program->peak.total. */
typedef struct {
    const char *name;
    size_t bytes;
    const char *note;
} MemoryPart;
enum { MEMORY_PARTS = 12 };

/* explain_ranks.c: what each of R processes, of a share each, sends the others in a step. */
typedef enum {
    EXCHANGE_BATCHNORM,
    EXCHANGE_EMBEDDINGS,
    EXCHANGE_SCORES,
    EXCHANGE_RETURNS,
    EXCHANGE_GRADIENTS,
    EXCHANGE_WEIGHTS,
    EXCHANGE_PARTS
} ExchangePart;
typedef struct {
    int meetings[EXCHANGE_PARTS]; /* or transfers */
    double bytes[EXCHANGE_PARTS]; /* to all others together */
    double all;
} Exchange;
typedef struct {
    const char *name, *what, *when;
} ExchangeWords;
extern const ExchangeWords exchange_words[EXCHANGE_PARTS];
Exchange explain_exchange(const Program *p);

Explanation *explain(Arena *a, const Program *p);

/* explain_memory.c: fills in the moments; the parts of the peak, those of the arena at its fullest. */
void explain_arena(Arena *a, Explanation *e);
void explain_memory(const Explanation *e, MemoryPart part[MEMORY_PARTS]);
extern const char *const purpose_names[PURPOSES];

/* table.c: rows are written to `row`, cells apart by '|', and printed in columns as wide as their widest
 * cell, each aligned as its letter of `align` says, l or r. */
typedef struct {
    FILE *row;
    TextStream text;
    const char *align;
} Table;
void table_begin(Table *t, const char *align);
void table_end(Arena *a, Table *t, FILE *stream);

/* explain_chart.c: the arena over the step's operations, drawn in `width` columns. */
void explain_chart(const Explanation *e, int width, FILE *stream);

/* Positive scores a step, scores they are held against, and of these how many for each positive. */
double pair_positives(const NetPair *p, const Net *n);
double pair_negatives(const NetPair *p, const Net *n);
double pair_negatives_each(const NetPair *p, const Net *n);
/* The part of the picture's area that one location of a scale sees, 0 to 1. */
double scale_sight(const NetScale *s, const Net *n);

#endif
