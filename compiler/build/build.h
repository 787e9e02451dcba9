/* build.h: what the files that call clang share. */
#ifndef BUILD_H
#define BUILD_H

#include "amdimc.h"
#include "support.h"
#include <signal.h>
#include <sys/types.h>

/* A command line that grows; words_end() closes it as exec wants it. */
typedef struct {
    Arena *arena;
    int count, capacity;
    const char **word;
} Words;
void words_add(Words *w, const char *word);
void words_option(Words *w, const char *name, const char *value); /* both, unless the value is NULL */
void words_count(Words *w, const char *name, int64_t value);
const char *const *words_end(Words *w);

/* ---- children.c: programs that run for this one ---- */

enum { CHILDREN = 64 };
typedef struct {
    sigset_t before, watched; /* the signals that were blocked before; those that are waited for */
    int signal;               /* the first that asked to stop, or 0 */
    double asked;             /* when the last did, by clock_seconds */
    bool told;                /* all have been told to end */
    int count;
    pid_t child[CHILDREN];
    bool is_compiler[CHILDREN];
} Children;
/* From here on signals that ask to stop reach the children, and stop nothing here but a flag. */
void children_watch(Children *c);
/* No longer; one that came meanwhile has its effect now. */
void children_leave(Children *c);

typedef struct {
    const char *const *argv;
    const char *input; /* what it reads, a pipe's buffer at most; NULL: nothing */
    const char *log;   /* the file that what it prints is added to */
    const char *made;  /* a compiler's result, removed where we are killed; or NULL */
    bool is_compiler;  /* it starts others, and has nothing to save: all of them end at once where we end */
    bool is_wrapped;   /* it starts others, which save: all of them are told to end where we or it do */
} Child;
enum { NOT_RUN = 126, NOT_FOUND = 127 };               /* exit statuses of what could not be started */
pid_t children_start(Children *c, const Child *child); /* -1 when it has said why it cannot */
typedef struct {
    pid_t child;
    int status;        /* as wait's */
    size_t peak_bytes; /* of resident memory */
} Ended;
void children_tell(Children *c, int signal_number); /* all of them, and what they have started */
Ended children_next(Children *c);                   /* waits for the next of them to end; there must be one */
bool child_succeeded(const Ended *e);
/* Tells whatever runs to end, and waits until it has; so does a process that gives up, at its exit. */
void children_end(void);

/* ---- files.c, commands.c ---- */

bool is_directory(const char *path);
bool build_fault(const Fault *f);                   /* says it; always false */
const char *parent_of(Arena *a, const char *path);  /* the folder it lies in */
const char *build_read(Arena *a, const char *path); /* a whole file as text; NULL when it has said why */
/* A path that no program takes for an option, or for a file of options (`-x`, `@x`). */
const char *as_operand(Arena *a, const char *path);
bool build_is_equal(Arena *a, const char *left, const char *right); /* two files' bytes */
bool build_begins(Arena *a, const char *path, const char *text);    /* whether a file does so */
bool build_copy(Arena *a, const Build *b, const char *from, const char *to,
                const char *name); /* between two folders, as build_write_text */
/* A model in a folder, which is made; the headers that it includes, and those that they include, in gen_dir.
 */
bool build_write_model(Arena *a, const Build *b, const Spec *s, const char *folder, const char *model_c);
/* Adds the paths of the C files and headers in a folder and those below it, from that folder on; always in
 * the same order. */
bool sources_below(Words *w, const char *root);
bool files_below(Words *w, const char *root); /* likewise all files but hidden ones */
/* Runs clang to make a file, and shows its errors when it has ended; `hint` ends the message that it failed.
 */
bool run_compiler(Arena *a, Children *c, const char *const *argv, const char *made, const char *hint);
/* Runs a command that reads `input`, throws away what it prints, and says whether it ended well. */
bool runs_well(const char *const *argv, const char *input);
/* What a program prints on stdout and stderr, or NULL where it fails. */
const char *output_of(Arena *a, const char *const *argv);
int exit_code_of(const char *const *argv, const char *input); /* the same; NOT_FOUND and NOT_RUN among them */
bool compiler_not_run(const char *cc,
                      int code); /* says why the compiler did not run, by that code; always false */

/* A file, or a folder with all that is in it, that is gone when the process ends, however that comes; one at
 * a time. What is no longer there when it ends has been put in its place. */
void temporary_begin(const char *path, bool is_folder);
/* Now. Returns `good`, whether all was well so far, or false when it was and this cannot be done, which it
 * has said. */
bool temporary_remove(bool good);

/* ---- folder.c: folders that are there whole or not at all ---- */

/* Writes all files to b->gen_dir, a Makefile that begins `# Builds ./` first. */
typedef bool FolderWriter(Arena *a, const Build *b, const void *what);
/* Has them written beside the folder b->gen_dir, then moved to it. A folder written before is written anew;
 * what somebody else put there is not overwritten. `spec`, or NULL: the name of a copy of the spec, which may
 * be the spec itself. */
bool folder_put(Arena *a, const Build *b, const char *spec, FolderWriter *write, const void *what);
char *build_expanded(Arena *a, const Build *b, const char *name, const Fill *fill,
                     int fills); /* of a template */
/* " and the options `--batch 8 ...`", or nothing: what the command line changed. */
const char *overrides_text(Arena *a, const Overrides *o, const Build *b);
/* "MARCH := -march=...": the variable of a Makefile that tells the compiler about the processor. */
const char *march_line(Arena *a, const Spec *s);
extern const char native_march_line[]; /* the same, found out where it is built */

/* ---- target.c: the machine a program is for ----
 *
 * Libraries that a program may be linked with, where its target has them. */
typedef enum { LIBRARY_JPEG, LIBRARY_PNG, LIBRARY_GZIP, LIBRARY_OPENBLAS, LIBRARIES } Library;
/* Tried out by linking a small program for the target. */
bool target_has(Arena *a, const Build *b, Library library);
void target_link(Words *w, const Build *b, Library library);
/* --target and -static. */
void target_flags(Words *w, const Build *b);
/* The same for another machine, as a Makefile calls clang. */
const char *target_clang(Arena *a, const char *triple);
/* -march, and what else clang wants to know of that processor. */
void target_march_flags(Words *w, const Spec *s);

/* ---- mpi.c ---- */

/* What carries bytes between the processes of a program of several ranks, by the MPI that is here. */
bool mpi_add(Words *w, const Build *b);

#endif
