/* emit.h: between emit.c, which writes the program's file, and emit_op.c, which writes one operation. */
#ifndef EMIT_H
#define EMIT_H

#include "amdimc.h"

typedef struct {
    Arena *arena;
    const Program *program;
    FILE *out;         /* the file under way */
    int emitted;       /* fixed-shape functions written so far, by name */
    const char **name; /* (emitted) */
    int capacity;
} Emit;

/* Writes the fixed-shape function that computes `op`, unless one of its shape is there already. */
void emit_op_function(Emit *e, const Op *op);
/* Writes the statement that calls it, in a function that has `pool`, `arena` and the values' names. */
void emit_op_call(Emit *e, const Op *op);

#endif
