/* library.h: --emit=library: the model as C functions on memory of the caller's. amalgamate.c puts the inner
 * loops together as one file with the model's own code, which emit_library.c writes; emit_manual.c its
 * header, emit_views.c what makes views of pictures, emit_constants.c trained weights as constants,
 * taken_names.c says which names it cannot have, library.c the folder. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include "emit/emit.h"

/* ---- amalgamate.c ---- */

typedef struct {
    const char *text;
    bool is_source; /* a .c file, whose functions become static; else a header */
} AmalgamatedFile;
/* The items of the files that `body` reaches, in their order. */
char *amalgamate(Arena *a, const AmalgamatedFile *file, int files, const char *body);

/* ---- what a library is made of ---- */

typedef struct {
    const Program *program;
    const char *name, *upper;        /* "cortex_m7", "CORTEX_M7": what its names begin with */
    const char *spec, *overrides;    /* the file, and what the command line changed, for people */
    const char *templates, *runtime; /* directories of sources */
} ModelLibrary;

/* ---- taken_names.c ---- */

/* Whether no module of Python, library of the system or file of the folder has the name, as C spells it; else
 * an error at the spec's. */
bool library_name_is_free(Arena *a, Diagnostics *d, const char *name, Mark at);

/* ---- emit_library.c ---- */

char *emit_library(Arena *a, const ModelLibrary *l); /* NAME.c */
/* The text with what it reaches of inner loops and the runtime in place of its hole for them. */
char *put_sources(Arena *a, const ModelLibrary *l, const char *body);
/* What a function of Emit's prints, as text. */
char *emitted(Emit *e, void (*print)(Emit *e));
const char *as_number(Arena *a, size_t n);

/* ---- emit_manual.c ---- */

char *emit_manual(Arena *a, const ModelLibrary *l); /* NAME.h */
char *fill_comments(Arena *a, const char *text);    /* with their paragraphs filled anew */

/* ---- emit_constants.c ---- */

uint16_t half_of(float value); /* IEEE 754's binary16, to nearest, of a number that it holds */
/* NAME_weights.c and NAME_weights.h, with the weights of the file at `path`; false when it has said why not.
 * The program is one for that type of weights. */
bool emit_constants(Arena *a, const ModelLibrary *l, const char *path, WeightType type, const char **c_text,
                    const char **h_text);

/* ---- emit_views.c ---- */

void emit_pictures(Emit *e); /* load_picture: a picture as testing sees it */
void emit_put(Emit *e, const ModelLibrary *l);
const char *augmentation_text(Arena *a, const Spec *s); /* "flip, crop, ..." */

#endif
