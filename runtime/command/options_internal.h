/* options_internal.h: the tables that a command line is parsed, explained and completed by. */
#ifndef OPTIONS_INTERNAL_H
#define OPTIONS_INTERNAL_H

#include "runtime.h"

typedef enum {
    TRAIN = 1,
    PROBE = 2,
    ENCODE = 4,
    REPLAY = 8,
    VIEWS = 16,
    BENCH = 32,
    INFO = 64,
    SELFCHECK = 128,
    CHECK = 256,
    ALL = 2 * CHECK - 1 /* of the last one */
} CommandBit;

typedef struct {
    const char *name;
    CommandBit bit;
    const char *says;
} CommandRow;

typedef enum {
    TEXT,   /* const char * */
    OUTPUT, /* likewise, - for standard output */
    WORD,   /* the same, one of those that `value` has between bars: "stop|skip" */
    NUMBER, /* int64_t */
    SMALL,  /* int */
    SEED,   /* uint64_t */
    TIME,   /* int64_t, of seconds */
    RATE,   /* double, above 0 */
    SHARE,  /* double, between 0 and 1 */
    FLAG,   /* bool, without a value */
} Kind;

typedef struct {
    const char *name, *value; /* value: what the usage calls it */
    Kind kind;
    size_t field;          /* offset in Options */
    unsigned takes, needs; /* CommandBits */
    uint64_t low, high;    /* of a number */
    const char *says;
} OptionRow;

/* Without a command. */
typedef struct {
    const char *name, *value, *says;
} PlainOptionRow;

enum { OPTION_ROWS_MOST = 64 };

/* Each ends with a row without a name. */
extern const CommandRow option_commands[];
extern const OptionRow option_rows[];
extern const PlainOptionRow option_plain[];

const CommandRow *option_command_named(const char *name); /* NULL: there is none */

#endif
