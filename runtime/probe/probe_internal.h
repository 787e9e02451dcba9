/* probe_internal.h: what the probes share. Sums are taken in an order that does not depend on the threads. */
#ifndef PROBE_INTERNAL_H
#define PROBE_INTERNAL_H

#include "runtime.h"

/* ---- probe_rows.c ---- */

size_t round_up(size_t n, size_t step);
/* There are rows, and their labels are below `classes`; `split` is what a fault calls them. */
bool probe_check_labels(int classes, const ProbeRows *rows, const char *split, Fault *f);
bool probe_not_finite(Fault *f); /* false, with the fault that features are not finite */
/* Each column's mean and one over its deviation; scale 0 where it does not vary. */
bool probe_find_scales(AmdimPool *pool, int dims, const ProbeRows *rows, float *mean, float *scale, Fault *f);
void standardise(size_t dims, const float *x, const float *mean, const float *scale, float *out);
int arg_max(const float *scores, int classes); /* the first of equals */
/* Turns a row's scores into the loss's gradient with respect to them, and returns the loss. */
double softmax_loss(float *scores, int classes, int label);

/* ---- probe_product.c ---- */

enum {
    PRODUCT_ROWS = 8,  /* of a tile: products have a multiple of them */
    PRODUCT_LANES = 8, /* likewise their columns */
};
/* out (m, n) = a (m, depth) times b (depth, n). Element (i, s) of a is a[i * a_row + s * a_step]; rows of b
 * and out lie b_step and out_step apart, aligned to PRODUCT_LANES floats. */
typedef struct {
    size_t m, n, depth;
    const float *a;
    size_t a_row, a_step;
    const float *b;
    size_t b_step;
    float *out;
    size_t out_step;
} Product;
void product(const Product *p);

#endif
