/* diag.h: what every pass uses: one owner for all memory, and errors with a place. */
#ifndef DIAG_H
#define DIAG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- arena.c: one owner for all memory ---- */

typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *a);
void *arena_zeroed(Arena *a, size_t bytes); /* never NULL: without memory the compiler ends with a message */
char *arena_copy(Arena *a, const char *text, size_t length); /* with a final NUL */
char *arena_printf(Arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define ARENA_NEW(a, Type)          ((Type *)arena_zeroed(a, sizeof(Type)))
#define ARENA_ARRAY(a, Type, count) ((Type *)arena_zeroed(a, sizeof(Type) * (size_t)(count)))

/* ---- diag.c: errors with a place, the line and a caret ---- */

typedef struct {
    const char *name; /* as in messages: the file, or "--pairs" for what came from the command line */
    const char *text; /* with a final NUL; may hold NUL bytes before that */
    size_t length;
} Source;

typedef struct {
    const Source *source; /* NULL: nowhere (a default) */
    int line, column;     /* from 1; the column in bytes */
    int length;           /* bytes the tildes underline, at least 1 */
} Mark;

typedef struct {
    FILE *stream;
    int errors;
    bool color;
} Diagnostics;

/* `FILE:LINE:COL: error: MESSAGE`, the source line, a caret and tildes. Lines longer than a terminal are
 * shown in part; bytes that are no printable UTF-8 are shown as `?`. Counts as an error. */
void diag_error(Diagnostics *d, Mark at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A hint below an error: `FILE:LINE:COL: note: MESSAGE` with its line where the mark has a source, else
 * `note: MESSAGE`. */
void diag_note(Diagnostics *d, Mark at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* `amdimc: error: PATH: WHY`, for what is no spec's fault; always false. */
bool build_failed(const char *path, const char *why);
/* What a command ends with. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128 };
/* `WHO: MESSAGE; ...` for a wrong command line; returns EXIT_USAGE. */
int usage_error(const char *who, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ours, not the user's: says where in the compiler, asks for a report, aborts. */
#define bug(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void bug_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
