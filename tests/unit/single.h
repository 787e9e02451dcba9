/* single.h: one operation on made-up input, carried out by the interpreter, for kernels to be held against.
 */
#ifndef SINGLE_H
#define SINGLE_H

#include "interpreter.h"
#include "kernels.h"

typedef struct {
    Arena *arena;
    Spec spec; /* its target: 3 threads, own kernels, by vectors unless a test says tiles */
    Net net;
    Graph *g;
    Interpreter *want;
    uint64_t noise;
} Single;

void single_begin(Single *s, int views, int images);
void single_end(Single *s);

Value *single_map(Single *s, const char *name, int side, int channels);
Value *single_vector(Single *s, const char *name, int count);

/* A convolution or one of its gradients, its inputs and its result. The whole tail is bias, addend and ReLU;
 * addend and mask. */
Op *single_conv(Single *s, Conv c, bool whole_tail);
Op *single_grad_x(Single *s, Conv c, bool whole_tail);
Op *single_grad_w(Single *s, Conv c);

/* What the compiler plans for the operation by that kernel. */
Plan single_plan(Single *s, const char *kernel);

/* Noise for all values; a test may then change inputs, and interpret. */
void single_fill(Single *s);
/* Noise, then the operation, which overwrites its results. */
void single_run(Single *s);

/* Arrays as long as their contents, to be freed by the caller: nothing but NAN; a value, or NULL of none. */
float *new_floats(size_t count);
float *floats_of(const Single *s, const Value *v);

/* Fails where the norm of the difference is more than `tolerance` of the value's; frees `got`. */
void expect_within(double tolerance, const Single *s, const Value *v, float *got, const char *what);

#endif
