/* interpreter.h: the list of operations carried out in double, straight from the definitions of
 * compiler/ir/ops.def: naive loops, no packing, no tiles, one array a value. What compiled programs and the
 * gradients' rules are held against. */
#ifndef INTERPRETER_H
#define INTERPRETER_H

#include "amdimc.h"

typedef struct Interpreter Interpreter;
struct Interpreter {
    Graph *g;
    double **value;    /* by value number; inputs, locations too, and parameters are the caller's to fill */
    double **gradient; /* of parameters, by value number: where OP_TAKE gave one away, else NULL */

    /* As OP_REPORT knows them. */
    double loss, penalty; /* the objective; the unweighted sum of P over pairs */
    double *pair_loss;    /* (pairs) unweighted */

    uint64_t
        relu_pattern; /* a hash of which ReLUs of the forward pass let through: equal within a linear piece */

    /* Called, if not NULL, after every operation, whose results it may change before they are rounded to
     * bfloat16, where they are. */
    void (*after)(Interpreter *r, const Op *op);
    uint64_t state; /* for `after` */
};

/* All values zero. Lives in the graph's arena. */
Interpreter *interpreter_new(Graph *g);
/* Up to and with OP_REPORT, or the whole list where there is none. */
void interpret_forward(Interpreter *r);
void interpret(Interpreter *r);

/* By name; a missing one is the test's mistake and aborts. */
Value *interpreter_named(const Interpreter *r, const char *name);
double *interpreter_value(const Interpreter *r, const char *name);
/* phi_d, (N, d, d, R). */
double *interpreter_embedding(const Interpreter *r, int scale);

#endif
