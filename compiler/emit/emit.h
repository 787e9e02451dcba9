/* emit.h: between the files that write the program's model: emit.c the whole, emit_ops.c single operations,
 * emit_step.c the functions that run them, emit_tables.c what describes the model to the runtime. */
#ifndef EMIT_H
#define EMIT_H

#include "amdimc.h"

enum { WIDTH = 124 }; /* columns of a line of generated C */

/* A function of fixed shape: a line of the generated C. */
typedef struct {
    const char *name, *type; /* "Conv" */
    const char *line;
} Function;

typedef struct {
    Arena *arena;
    const Program *program;
    bool is_library; /* calls are written as a library has them */
    bool in_part;    /* of a list that is several functions */
    int part_first;  /* operation of the part */
    FILE *out;
    int functions, capacity; /* those that operations have called so far */
    Function *function;
} Emit;

/* ---- emit_ops.c ---- */

/* Notes the function of fixed shape that computes each operation of the list, and of its chunks. */
void note_functions(Emit *e, const Graph *g);
void emit_declarations(Emit *e); /* of those noted, several a line */
void emit_functions(Emit *e);    /* their lines */
/* Operation number i as statements of a function that runs those up to `end`, and has `pool`, `arena`, `p`
 * (Params) and the values' names. `told`: it is a step's, whose profile is told of it; else a comment says
 * the same. */
void emit_op(Emit *e, const Graph *g, int i, int end, bool told);
/* Whether the C of operations number `first` to `end` - 1 says the value's name: as an input, or as where a
 * chunk's result goes. */
bool is_named(const Emit *e, const Graph *g, const Value *v, int first, int end);

/* ---- emit_step.c ---- */

void emit_step(Emit *e);
void emit_encoders(Emit *e);
void emit_encoder(Emit *e);                               /* a library's: of the first feature alone */
const char *feature_function(Arena *a, const Feature *f); /* "encode_phi_5" */

/* ---- emit_tables.c ---- */

void emit_params(Emit *e); /* all tensors: names, shapes, initial values; and the struct they lie in */
void emit_tables(Emit *e); /* everything else that the runtime reads */

/* ---- emit_text.c ---- */

void emit_floats(Emit *e, const char *name, const Real *value, int count); /* a static array */

const char *real(Emit *e, double value); /* as a spec would say it, where that gives the same number back */
const char *spec_name(const Emit *e);    /* the spec's file, without its folders */
const char *quoted(Arena *a, const char *text);     /* as a C string literal */
const char *in_comment(Arena *a, const char *text); /* as it may stand in a comment */

#endif
