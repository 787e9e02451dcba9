/* lower_internal.h: what lower.c is made of: operations, layers and heads, losses. */
#ifndef LOWER_INTERNAL_H
#define LOWER_INTERNAL_H

#include "amdimc.h"

typedef struct {
    Graph *g;
    ParamPool *pool;
    bool training;
} Lower;

/* ---- lower_ops.c: each appends an operation and returns its result, `at` and `label` being of the layer
 * ---- */

/* PREFIX.SUFFIX, a tensor's or a label; and in C. */
const char *lower_name(Lower *l, const char *prefix, const char *suffix);
const char *lower_identifier(Lower *l, const char *label, const char *suffix);
Value *param_weight(Lower *l, const char *name, int out, int in, int kernel, Init init, double bound);
Value *param_vector(Lower *l, const char *name, int count, bool trained, Init init, double bound);
double fan_in_bound(int in, int kernel);
/* x itself where there is nothing to pad. */
Value *op_pad(Lower *l, Value *x, int amount, bool reflect, Mark at, const char *label);
/* x as numbers of that type; x itself where it is. Nothing is converted twice. */
Value *op_convert(Lower *l, Value *x, Number number, Mark at, const char *label, const char *name);
/* As losses and files want it. */
Value *op_floats(Lower *l, Value *x, Mark at, const char *label);
/* y = conv(x) + bias + addend, then ReLU; bias and addend may be NULL. x is already padded. */
Value *op_conv(Lower *l, Value *x, Value *weight, Value *bias, Value *addend, int kernel, int stride,
               bool relu, Mark at, const char *label, const char *result);
/* With running statistics outside training. */
Value *op_batchnorm(Lower *l, Value *x, bool relu, Mark at, const char *label, const char *result);
/* What every share gives, in their order. Nothing is gathered twice. */
Value *op_all_gather(Lower *l, Value *x, Mark at, const char *label, const char *result, int rank,
                     const int *dims);
/* (R, count): what the shares give one behind the other. */
Value *op_gather_behind(Lower *l, Value *x, Mark at, const char *label);

/* ---- lower_layers.c ---- */

Value *lower_layer(Lower *l, const NetLayer *layer, Value *x);
/* The embedding of scale d: the identity, or conv1, ReLU, conv2 plus a shortcut, and batchnorm
 * (docs/language.md, "Heads"). */
Value *lower_head(Lower *l, const NetScale *s, Value *features);
/* What files read of a head. */
Value *lower_embedding(Lower *l, const NetScale *s, Value *head);

/* ---- lower_loss.c ---- */

/* Consequents, of which there are many, are read as they come; products by matrix tiles want floats. */
Value *lower_consequents(Lower *l, const NetScale *s, Value *head);
/* The components phi_1 + W2_j relu(W1 phi_1) of a mixture (section 3.6; docs/language.md, "Mixtures"). */
Value **lower_components(Lower *l, Value *phi);
/* A pair's result of three floats, whichever way it is made; `component` is of a mixture. */
Value *lower_loss(Lower *l, const NetPair *pair, Value *const *component, Value *from, Value *to);

#endif
