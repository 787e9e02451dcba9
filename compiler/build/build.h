/* build.h: what the files that call clang share. */
#ifndef BUILD_H
#define BUILD_H

#include "amdimc.h"

/* A command line that grows; words_end() closes it as exec wants it. */
typedef struct {
    Arena *arena;
    int count, capacity;
    const char **word;
} Words;
void words_add(Words *w, const char *word);
const char *const *words_end(Words *w);

/* ---- files.c, commands.c ---- */

bool is_directory(const char *path);
const char *build_read(Arena *a, const char *path); /* a whole file as text; NULL when it has said why */
/* Adds the paths of the C files and headers in a folder and those below it, from that folder on; always in
 * the same order. */
bool sources_below(Words *w, const char *root);
/* Runs clang, whose errors are shown as they are; `hint` ends the message that it failed. */
bool run_compiler(const char *const *argv, const char *hint);
/* Runs a command that reads `input`, throws away what it prints, and says whether it ended well. */
bool runs_well(const char *const *argv, const char *input);

/* ---- target.c: the machine a program is for ----
 *
 * Libraries that a program may be linked with, where its target has them. */
typedef enum { LIBRARY_JPEG, LIBRARY_PNG, LIBRARY_GZIP, LIBRARY_OPENBLAS, LIBRARIES } Library;
/* Tried out by linking a small program for the target. */
bool target_has(Arena *a, const Build *b, Library library);
void target_link(Words *w, const Build *b, Library library);
/* --target and -static. */
void target_flags(Words *w, const Build *b);
/* -march, and what else clang wants to know of that processor. */
void target_march_flags(Words *w, const Spec *s);

#endif
