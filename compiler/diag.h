/* diag.h: what every pass uses: one owner for all memory, and errors with a place. */
#ifndef DIAG_H
#define DIAG_H

#include "support.h"
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- arena.c: one owner for all memory ---- */

typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *a);
void *arena_zeroed(Arena *a, size_t bytes); /* never NULL: without memory the compiler ends with a message */
char *arena_copy(Arena *a, const char *text, size_t length); /* with a final NUL */
char *arena_printf(Arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A stream whose text is kept in the arena once it is closed, as `length` bytes and a NUL. */
typedef struct {
    FILE *stream;
    char *text;
    size_t length, capacity;
    bool failed; /* for want of memory */
} TextStream;
FILE *text_stream_open(TextStream *t); /* t->stream */
char *text_stream_close(Arena *a, TextStream *t);
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
/* A line on standard error. What is not printable in it is shown as `?`. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with many lines, as of another program. */
void say_text(const char *text);
/* `amdimc: error: PATH: WHY`, for what is no spec's fault; always false. */
bool build_failed(const char *path, const char *why);
bool system_failed(const char *path); /* the same, with errno's reason */
/* Says so and ends the compiler. What is running is told to end, too (build/children.c). */
_Noreturn void out_of_memory(void);
/* What a command ends with. What reads a command line says GO_ON where it is to be carried out. */
enum { GO_ON = -1, EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128 };
/* `WHO: MESSAGE; ...` for a wrong command line; returns EXIT_USAGE. */
int usage_error(const char *who, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* To standard output, which is closed behind it: false when that failed, which is then said. */
bool print_text(const char *text);
/* Ours, not the user's: says where in the compiler, asks for a report, aborts. */
#define bug(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void bug_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- options.c: command lines ---- */

typedef struct {
    const char *who; /* as in messages */
    int argc;
    char **argv;
    const char *letters; /* as getopt's, with "-:" in front */
    const struct option *options;
    bool ended; /* the options have */
} OptionReader;
enum { OPTION_OPERAND = 1, OPTION_WRONG = '?' };
/* The next option, its value in optarg; OPTION_OPERAND; -1 at the end; OPTION_WRONG when it has said what is
 * wrong.
 */
int option_next(OptionReader *r);
/* Which of `count` words an option's value is; -1 when it has said that it is none, which there are, and
 * which of them may have been meant. `option` as it is typed in front of a value: "--emit=", "--weights-type
 * ". */
int option_word(const char *who, const char *option, const char *value, const char *const *word,
                size_t count);
/* Takes the only operand there may be; GO_ON, or EXIT_USAGE when it has said that it is one too many. */
int option_spec(const char *who, const char **spec, const char *word);

/* ---- input.c: files of others ---- */

/* A file's bytes with a NUL behind them, `most` of them at most; NULL with *why; errno is ENOENT where it
 * is not there. A directory, a FIFO, a socket and a device are refused. Only what was opened before we began,
 * /dev/stdin and /dev/fd/N, may be a pipe: nothing else is waited for. */
char *input_read(Arena *a, const char *path, size_t most, size_t *length, const char **why);

#endif
