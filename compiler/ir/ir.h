/* ir.h: a straight list of operations on named values of fixed shape: what lowering makes, differentiation
 * appends to, planning places, and emission writes. No control flow. */
#ifndef IR_H
#define IR_H

#include "net/net.h"

/* ---- ir/ir.c, ir/ops.def: a straight list of operations ---- */

typedef enum {
#define OP(kind, name, purpose) OP_##kind,
#define OPERAND(kind, name, number, facts)
#include "ir/ops.def"
#undef OP
#undef OPERAND
    OP_COUNT
} OpKind;
const char *op_name(OpKind k);

enum { /* CONV_X, CONV_WEIGHT, ...: the numbers of operands */
#define OP(kind, name, purpose)
#define OPERAND(kind, name, number, facts) kind##_##name = number,
#include "ir/ops.def"
#undef OP
#undef OPERAND
};

/* What passes may know of an operand; ops.def says what each means. */
typedef enum { OPTIONAL = 1, ALIKE = 2, ADDEND = 4 | ALIKE, MASK = 8 | ALIKE, IN_PLACE = 16 | ALIKE } Fact;
int op_operand(OpKind k, Fact fact); /* the number of the operand with that fact, or -1 */
/* What lies in the arena. Scores and their gradients, which take their memory over, are one purpose. */
typedef enum { PURPOSE_ACTIVATIONS, PURPOSE_SCORES, PURPOSE_GRADIENTS, PURPOSE_SCRATCH, PURPOSES } Purpose;
Purpose op_purpose(OpKind k); /* of its results */

typedef enum {
    VALUE_INPUT,     /* the step's views, or source locations */
    VALUE_PARAM,     /* a tensor of files, trained or running */
    VALUE_TEMPORARY, /* made by an operation, placed in the arena by the planner */
    VALUE_OUTER,     /* in the list of a chunk: a temporary of the step's own list, or a chunk's part of it */
} ValueKind;

/* The type of a value's numbers. */
typedef enum { NUMBER_FLOAT32, NUMBER_BFLOAT16, NUMBER_INT32, NUMBERS } Number;
size_t number_bytes(Number n);
const char *number_name(Number n);       /* "float32" */
Number activation_number(const Spec *s); /* of maps, and their gradients */

typedef enum { INIT_ZERO, INIT_ONE, INIT_UNIFORM, INIT_SHORTCUT } Init;

/* A parameter as files know it. */
typedef struct {
    const char *name;  /* "encoder.2.0.conv1.weight" */
    const char *field; /* the same as a C identifier */
    int rank;
    int dims[4]; /* PyTorch's order */
    bool trained;
    Init init;
    double bound;
    size_t offset; /* floats in the block of parameters, by params_place */
    size_t count;
    int index; /* in the model's table of tensors */
} Param;

typedef struct Op Op;
typedef struct Graph Graph;
typedef struct Kernel Kernel; /* kernels/kernel.h */
typedef struct Value Value;
struct Value {
    int id; /* in order of making */
    ValueKind kind;
    Number number;
    const char *name; /* a C identifier, unique in the list */
    int rank;
    int dims[4]; /* activations (N, S, S, C); weights (k*k*in, out); vectors (C) */
    Param *param;
    const Value *outer; /* of a VALUE_OUTER: the step's */

    /* Of the planner. */
    int first, last; /* numbers of the operations between which it lives */
    size_t offset;   /* bytes in the arena */
    size_t bytes;
    int home; /* id of the first of those that share its memory in place one after the other, or its own */
};

/* How an operation is made: chosen by select_kernels, read by all passes behind it. */
typedef struct {
    const Kernel *kernel; /* the implementation */
    int parts;            /* that threads take */
    int slices;           /* of the images or pixels, each with a result of its own that are summed at last
                             (split-K); 1: none */
    size_t arena_floats;  /* of the arena, while it runs: packed weights, slices' results */
    size_t worker_floats; /* of each worker's own scratch */
    int outputs;          /* Winograd: of a tile, along a side */
    bool cells;           /* matrix tiles: a weight's gradient by cells of stride x stride pixels */
    int row_cuts, column_cuts; /* matrix tiles: of a weight's gradient */
    int block;                 /* a weight's gradient by maps of bfloat16: images that are taken together */
    const Value *zeros;        /* sparse, masked: the operand whose zeros are skipped */
    int asked_slices, asked_outputs; /* what a Choice asks for; 0: nothing */
} Plan;

enum { OP_INPUTS = 7, OP_OUTPUTS = 3 };

struct Op {
    OpKind kind;
    Mark at;           /* the spec's line it comes from */
    const char *label; /* "encoder.2.0.conv1" */
    int inputs;
    Value **in; /* by number of operand; an absent one is NULL */
    Value *out[OP_OUTPUTS];
    int kernel, stride; /* conv, pool and their gradients */
    int pad;            /* pad and its gradient */
    bool reflect;
    bool relu; /* conv, batchnorm: the result is max(0, .). What is not `relu` counts as linear (grad.c,
                  simplify.c, sparse.c): another activation is an operation of its own. */
    const NetPair *pair; /* gather, scores, nce and their gradients */
    int component;       /* of a mixture, from 0: which one it makes or is about */
    Plan plan;
    Value *scratch;    /* plan.arena_floats as a value of the list, or NULL */
    bool again;        /* runs a second time, so that its result need not be kept (recompute) */
    Graph *chunk;      /* encode and its gradient: what each chunk of the images runs */
    Graph *chunk_grad; /* encode: the list that its gradient will run, forward operations so far */
    int chunks;
};

struct Graph {
    Arena *arena;
    const Net *net;
    const char *name; /* "step", "encode_f1" */
    int ops, capacity;
    Op **op;
    int values, value_capacity;
    Value **value;
    Value *x;         /* the views (N, S, S, C) */
    Value **location; /* (located) each (V, S) int32 */
    Value **feature;  /* of a chunk's gradient: what the step keeps of it, in the encode operation's order */
    int results;      /* of encoders: values that are read when a part of the list has run */
    const Value **result;
    size_t arena_bytes;
};

Graph *graph_new(Arena *a, const Net *n, const char *name);
Value *graph_value(Graph *g, ValueKind kind, const char *name, int rank, const int *dims);
Value *graph_value_of(Graph *g, Number number, ValueKind kind, const char *name, int rank, const int *dims);
/* A temporary (N, S, S, C): an activation of the encoder and the heads, in the spec's precision; and in
 * floats. */
Value *graph_map(Graph *g, const char *name, int side, int channels);
Value *graph_float_map(Graph *g, const char *name, int side, int channels);
Op *graph_op(Graph *g, OpKind kind, Mark at, const char *label); /* appended; OP_INPUTS empty inputs */
Op *graph_op_wide(Graph *g, OpKind kind, Mark at, const char *label, int inputs);
Value *graph_param(Graph *g,
                   Param *p); /* its value in this list: weights as (k*k*in, out), vectors as they are */
/* A chunk's value that is `whole` of the step's list, or the chunk's images of it. */
Value *graph_outer(Graph *g, const Value *whole, const char *name);
Op *graph_maker(const Graph *g, const Value *v); /* whose first output v is, or NULL */
size_t value_count(const Value *v);
bool graph_any(const Graph *g, bool (*is)(const Op *op)); /* of its operations, those of chunks among them */
/* Checks what every pass must keep: each value made before it is used, once; shapes that fit their operation;
 * names unique. A breach is our bug. */
void graph_check(const Graph *g, const char *pass);

#endif
