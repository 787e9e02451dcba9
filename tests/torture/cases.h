/* cases.h: the commands whose every call is failed in turn. */
#ifndef CASES_H
#define CASES_H

#include "torture.h"

/* In `first` and `command`, PROGRAM and COMPILER stand for the programs, DATA for the folder of data sets. */
typedef struct {
    const char *name;
    const char *first;   /* commands of a shell that make the files which are there before */
    const char *command; /* what is failed */
    const char *resume;  /* brings a run to its end after a failure, in place of `command` anew; or NULL */
    bool same_output;    /* what is printed is a function of the input */
    bool several;        /* says a line for each thing that failed */
} Case;
extern const Case cases[];
extern const int case_count;

/* A way to fail that families have. */
typedef struct {
    Family family;
    Way way;
    int value;
    const char
        *reason; /* what the message must hold where the run fails; NULL: anything that says something */
} Failure;
extern const Failure failures[];
extern const int failure_count;

void expand(char *out, size_t room, const char *text);

#endif
