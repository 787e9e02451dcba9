/* reader.h: the parts of the spec's reader, in the order of its work.
 *
 *   text -yaml.c-> tree of marked nodes -override.c, setting.c-> the same with the command line's values
 *     -spec.c-> Spec
 *     -write.c-> text
 *
 * spec.c holds the language as tables of fields; fields.c reads a mapping by such a table, value.c one value.
 * All of them report through problem.c, which puts what they find in the order of the file. */
#ifndef AMDIMC_READER_H
#define AMDIMC_READER_H

#include "amdimc.h"

enum { SPEC_BYTES_LIMIT = 1024 * 1024 };

/* ---- problem.c: errors, gathered and then shown by line ---- */

typedef struct Problem Problem;
typedef struct {
    Arena *arena;
    const Source *source; /* the spec's file: its errors come before the command line's */
    Problem *latest;
    int problems;
} Reader;

void problem(Reader *r, Mark at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A hint that is shown below the latest problem; at most one each. */
void problem_note(Reader *r, Mark at, const char *format, ...) __attribute__((format(printf, 3, 4)));
void problems_show(const Reader *r, Diagnostics *d);

/* ---- yaml.c: text -> tree ---- */

typedef enum { NODE_SCALAR, NODE_LIST, NODE_MAPPING } NodeKind;
typedef struct Node Node;
struct Node {
    NodeKind kind;
    Mark at;
    const char *text; /* of a scalar, with a final NUL */
    size_t length;
    bool plain; /* a scalar without quotes */
    Node *key;  /* of a value in a mapping: the scalar before its colon */
    Node *first, *last, *next;
    int count; /* of children */
};

/* The one document of the source; NULL with a problem where it is none. */
Node *yaml_tree(Reader *r, Source *source);
/* The same of `length` bytes from `begin` in a text that is no file. */
Node *yaml_value(Reader *r, const Source *source, size_t begin, size_t length);
void node_append(Node *parent, Node *child);
void node_replace(Node *old, const Node *value);        /* its content; its key and its place stay */
Node *node_child(const Node *mapping, const char *key); /* or NULL */
bool node_is(const Node *scalar, const char *text);

/* ---- source.c ---- */

Source *option_source(Arena *a, const char *option, const char *text);
/* A scalar of `length` bytes from `begin` in the option's text. */
Node *option_scalar(Arena *a, const Source *source, size_t begin, size_t length);

/* ---- override.c: values of the command line ---- */

/* Puts what `o` names in place of the tree's own values; each has its option as its source. */
void override_tree(Reader *r, Node *root, const Overrides *o);

/* ---- setting.c: any key by its path ---- */

/* Puts the value at its path, or takes the key out where it is null. Sections that are not there are made;
 * whether the language has the key is for the tables to say. */
void set_value(Reader *r, Node *root, const Setting *s);
/* The node at a path of the tree, or NULL. */
const Node *node_at(Arena *a, const Node *root, const char *path);

/* ---- value.c: one node -> one typed value ---- */

typedef struct {
    double low, high;
    bool above_low, below_high; /* the ends themselves are out of range */
    const char *wanted;         /* "a number above 0" */
} Range;

extern const Range ANY, POSITIVE, NOT_NEGATIVE, PROBABILITY, DECAY;

/* Each reports what is wrong at the node, under the key's `path`, and then returns false. */
bool read_int(Reader *r, const Node *n, const char *path, int64_t low, int64_t high, Int *into);
bool read_real(Reader *r, const Node *n, const char *path, const Range *range, Real *into);
bool read_flag(Reader *r, const Node *n, const char *path, Flag *into);
bool read_reals(Reader *r, const Node *n, const char *path, int count, const Range *range, Real *into);
/* One of some words: its number, or 0. */
int read_one_of(Reader *r, const Node *n, const char *path, const char *const *words, int count);
/* One of two words; *second says which. */
void read_either(Reader *r, const Node *n, const char *path, const char *one, const char *other,
                 bool *second);
/* A text that is no number, boolean or null. */
bool read_text(Reader *r, const Node *n, const char *path, const char *wanted, Text *into);
bool check_list(Reader *r, const Node *n, const char *path, const char *wanted);
/* Whether a list may be read item by item: not empty, not too long. */
bool check_count(Reader *r, const Node *n, const char *path, int most);
/* `path`: `wanted` is wanted, not what the node is. */
void problem_unwanted(Reader *r, const Node *n, const char *path, const char *wanted);
/* Digits without sign or leading zeros, up to the first other character; past `high` they are high + 1. */
int64_t parse_digits(const char **text, int64_t high);

enum { SIZE_LIMIT = 65536 }; /* of sizes, channels, scales */

/* ---- fields.c: a mapping, by a table of its keys ---- */

typedef struct Fields Fields;
typedef enum {
    FIELD_INT,
    FIELD_REAL,
    FIELD_FLAG,
    FIELD_SECTION, /* a mapping with fields of its own, for the same record */
    FIELD_OTHER,   /* has a function */
    FIELD_LATER,   /* read by the section's own function, which needs other keys first */
} FieldKind;

typedef struct {
    const char *key;
    FieldKind kind;
    bool required;
    size_t offset;     /* of an Int, a Real or a Flag in the record */
    int64_t low, high; /* of an Int */
    const Range *range;
    const Fields *section;
    void (*read)(Reader *r, const Node *value, const char *path, void *record);
} Field;

struct Fields {
    const Field *field;
    size_t count;
};
#define FIELDS(array)                                                                                        \
    {                                                                                                        \
        array, COUNT(array)                                                                                  \
    }

/* Rows of a table: the key, whether it is required, where its value goes, what is allowed. */
#define INT_FIELD(name, must, Type, member, least, most)                                                     \
    {                                                                                                        \
        .key = (name), .kind = FIELD_INT, .required = (must), .offset = offsetof(Type, member),              \
        .low = (least), .high = (most)                                                                       \
    }
#define REAL_FIELD(name, Type, member, allowed)                                                              \
    {                                                                                                        \
        .key = (name), .kind = FIELD_REAL, .offset = offsetof(Type, member), .range = &(allowed)             \
    }
#define FLAG_FIELD(name, Type, member)                                                                       \
    {                                                                                                        \
        .key = (name), .kind = FIELD_FLAG, .offset = offsetof(Type, member)                                  \
    }
#define OTHER_FIELD(name, must, function)                                                                    \
    {                                                                                                        \
        .key = (name), .kind = FIELD_OTHER, .required = (must), .read = (function)                           \
    }
#define LATER_FIELD(name)                                                                                    \
    {                                                                                                        \
        .key = (name), .kind = FIELD_LATER                                                                   \
    }
#define SECTION_FIELD(name, must, fields)                                                                    \
    {                                                                                                        \
        .key = (name), .kind = FIELD_SECTION, .required = (must), .section = &(fields)                       \
    }

/* Unknown, repeated and missing keys are problems; false where `n` is no mapping. */
bool read_fields(Reader *r, const Node *n, const char *path, const Fields *fields, void *record);
/* A mapping of exactly one of the keys. */
void read_variant(Reader *r, const Node *n, const char *path, const Fields *fields, void *record);

/* ---- spec_layers.c, spec_training.c, spec_target.c: sections of the language, for spec.c ---- */

void read_encoder(Reader *r, const Node *n, const char *path, void *spec);

void default_training(Arena *a, Spec *s);
void read_optimizer(Reader *r, const Node *n, const char *path, void *spec);
void read_schedule(Reader *r, const Node *n, const char *path, void *spec);
extern const Fields AUGMENT_FIELDS;

void default_target(Spec *s);
extern const Fields TARGET_FIELDS;

#endif
