/* net.h: the spec's layers with shapes, the scales they make, the pairs' places among them. */
#ifndef NET_H
#define NET_H

#include "spec/spec.h"

/* ---- net.c: layers with shapes, and the table of scales ---- */

typedef struct {
    const SpecLayer *spec;
    int number; /* in the spec's list, from 0 */
    int side_in, side, channels_in, channels;
    int receptive_field;  /* pixels one location sees along a side */
    int receptive_stride; /* pixels from one location to the next */
    int receptive_begin;  /* the first pixel that location 0 sees, below 0 where layers pad */
} NetLayer;

typedef struct {
    int scale;             /* d */
    const NetLayer *layer; /* the top-most layer of d x d */
    bool trained;          /* a pair names it */
    bool identity;         /* its head is the identity: d = 1 and f_1 has R channels */
    Mark at;               /* where a pair first names it, if trained */
} NetScale;

typedef struct {
    const char *name; /* "1-to-5" */
    const SpecPair *spec;
    const NetScale *from, *to;
    int located;    /* row of the source locations where n > 1, else -1 */
    int components; /* of the antecedent, where it is a mixture; else 0 */
} NetPair;

typedef struct {
    const Spec *spec;
    int views;
    int batch;  /* B: the images whose other ones are a positive's negatives */
    int shares; /* R: equal parts of the batch, each of which runs a step of its own and meets the others */
    int share;  /* S: images of one; B where there is one */
    int images; /* N: views * share, or the chunk of them that a list treats at a time */
    int layers;
    NetLayer *layer;
    int scales; /* that exist, by d */
    NetScale *scale;
    int pairs;
    NetPair *pair;
    int located; /* pairs with n > 1 */
    int top;     /* number of the top-most trained layer: what is above is dropped */
} Net;

/* Shapes every layer, finds the scales, resolves the pairs; impossible shapes, missing scales and sizes that
 * overflow are errors at their marks. NULL when there was one. */
Net *net_build(Arena *a, Diagnostics *d, const Spec *s);
/* The two halves of it: layers and scales; pairs and heads, of a net that the first has made. */
Net *net_shape(Arena *a, Diagnostics *d, const Spec *s);
bool net_resolve(Arena *a, Diagnostics *d, Net *n);
const NetScale *net_scale(const Net *n, int d); /* or NULL */
int net_positions(const NetScale *s);           /* d * d */

#endif
