/* torture.h: commands run while something goes wrong, and what must hold afterwards.
 *
 * Everything lies in the scratch folder of samples.h: the program and the compiler's stand-in, the data sets,
 * for each case the files before it and after it as it should be, and a folder for each worker. */
#ifndef TORTURE_H
#define TORTURE_H

#include "families.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* ---- tree.c: folders as a whole ---- */

void tree_remove(const char *folder);
void tree_copy(const char *from, const char *to); /* `to` is made, or emptied */
/* Every file below, by its path within the folder. */
typedef void TreeVisit(void *arg, const char *name);
void tree_each(const char *folder, TreeVisit *visit, void *arg);
char *file_bytes(const char *path, size_t *count); /* by malloc; NULL where there is none */
bool files_equal(const char *a, const char *b);
bool file_exists(const char *path);

/* ---- run.c: one run of a program ---- */

typedef struct {
    char here[400];    /* its working directory */
    char said[420];    /* the file that has its stderr */
    char printed[420]; /* and its stdout */
    char counts[420];  /* Counts */
} Place;
typedef struct {
    Family family;
    Way way;
    int value;
    long number;
} Injection;
typedef struct {
    bool hung;
    int signal, code; /* what ended it; code is its exit status where signal is 0 */
    char *said;       /* by malloc */
} Ended;

void place_make(Place *p, const char *folder); /* with `here` below it, empty */
/* Words are parted by spaces. Without an injection only the counts are taken. */
pid_t run_start(const Place *p, const char *command, const Injection *injection);
Ended run_wait(const Place *p, pid_t child);
Ended run(const Place *p, const char *command, const Injection *injection);
void place_counts(const Place *p, Counts *out);

/* ---- setting.c: what all of it needs ---- */

typedef struct {
    char folder[256];
    char program[300]; /* compiled from a spec of two layers and two pairs */
    char compiler[300];
} Setting;
extern Setting setting;
int setting_make(void **state); /* a group's set-up; compiles */
int setting_remove(void **state);
int workers(void); /* processes at once */
/* Work for every worker, numbered from 0; true where all ended well. What they have to say comes by
 * finding(). */
bool work_at_once(void (*work)(int worker, void *arg), void *arg);
void finding(const char *format, ...) __attribute__((format(printf, 1, 2)));
int findings(void); /* said so far; shows and forgets them */

#endif
