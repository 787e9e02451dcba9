/* amdimc.h: the map of the compiler, in the order of its passes.
 *
 *   spec.yaml -read-> Spec -shapes-> Net -lower-> forward IR -differentiate-> step IR
 *     -simplify-> step IR -plan-> placed IR -emit-> C -clang-> program
 *
 * Letters: V views, B images of a batch, N = V*B images of a step (view-major), S the side of a square map,
 * P = S*S its positions, C channels, R the width of the embeddings. Everything a compile makes lives in its
 * arena and goes with it. */
#ifndef AMDIMC_H
#define AMDIMC_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define AMDIMC_VERSION "0.1.0"
#define COUNT(array)   (sizeof(array) / sizeof *(array))

/* ---- arena.c: one owner for all memory ------------------------------------------------------------------
 */

typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *a);
void *arena_zeroed(Arena *a, size_t bytes); /* never NULL: without memory the compiler ends with a message */
char *arena_copy(Arena *a, const char *text, size_t length); /* with a final NUL */
char *arena_printf(Arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define ARENA_NEW(a, Type)          ((Type *)arena_zeroed(a, sizeof(Type)))
#define ARENA_ARRAY(a, Type, count) ((Type *)arena_zeroed(a, sizeof(Type) * (size_t)(count)))

/* ---- diag.c: errors with a place, the line and a caret ---------------------------------------------------
 */

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

/* ---- spec.c: YAML -> Spec -------------------------------------------------------------------------------
 */

/* A value with the place it came from; a default has a mark without a source. */
typedef struct {
    int64_t v;
    Mark at;
} Int;
typedef struct {
    double v;
    Mark at;
} Real;
typedef struct {
    bool v;
    Mark at;
} Flag;
typedef struct {
    const char *v;
    Mark at;
} Text;

typedef enum { LAYER_CONV, LAYER_RESIDUAL, LAYER_BLOCK, LAYER_BATCHNORM } LayerKind;
typedef struct {
    LayerKind kind;
    Mark at; /* of the layer's name */
    Int out, kernel, stride, pad;
    Int depth;      /* block; 1 in a residual */
    bool reflect;   /* conv: pad_mode */
    bool relu;      /* conv: activation */
    Flag batchnorm; /* conv, residual, block */
} SpecLayer;

typedef struct {
    Int from, to; /* n and m */
    Real weight;
    Mark at;
} SpecPair;

typedef struct {
    bool on;
    Real p;
    Real low, high, ratio_low, ratio_high; /* crop: scale and ratio */
    Int max;                               /* translate */
    Real brightness, contrast, saturation, hue;
} SpecAugmentStep;

typedef struct {
    Source *source;
    Text name;
    struct {
        Int channels, size; /* channels 3 unless given */
        Real *mean, *std;   /* (channels) */
    } input;
    Int views, batch;
    int layers;
    SpecLayer *layer;
    struct {
        Int dim;
        Flag batchnorm;
    } embedding;
    struct {
        int pairs;
        SpecPair *pair;
        Real clip, penalty;
    } loss;
    struct {
        Real flip, grayscale; /* probabilities; 0 is off */
        SpecAugmentStep crop, translate, jitter;
    } augment;
    struct {
        bool sgd; /* else Adam */
        Real lr, weight_decay, beta1, beta2, eps, momentum;
    } optimizer;
    struct {
        Int epochs, warmup;
        int milestones;
        Int *milestone;
        Real gamma;
    } schedule;
    struct {
        Text march, blas; /* blas: "openblas" or "none" */
        Int threads;
        Int memory; /* bytes; 0: no limit */
        bool tiles; /* the processor multiplies by matrix tiles: target_processor knows */
    } target;
} Spec;

/* What the command line changes; NULL or 0 where it does not. */
typedef struct {
    const char *pairs, *march, *blas, *memory, *batch, *threads;
} Overrides;

/* Reads the whole language of the contract, section 2, and the ranges it states. All independent errors are
 * reported; NULL when there was one. `source` must outlive the Spec. */
Spec *spec_read(Arena *a, Diagnostics *d, Source *source, const Overrides *o);
/* Reads a file as a source; NULL with a message on d's stream (path, strerror) when it cannot be read. */
Source *source_read(Arena *a, Diagnostics *d, const char *path);
const char *layer_kind_name(LayerKind kind); /* "residual" */
/* A canonical text of all that decides what is trained (all but name and target): equal for equal runs. */
char *spec_canonical(Arena *a, const Spec *s);

/* ---- net.c: layers with shapes, and the table of scales ---------------------------------------------------
 */

typedef struct {
    const SpecLayer *spec;
    int number; /* in the spec's list, from 0 */
    int side_in, side, channels_in, channels;
    int receptive_field;  /* pixels one location sees along a side */
    int receptive_stride; /* pixels from one location to the next */
    int receptive_begin;  /* the first pixel that location 0 sees, below 0 where layers pad */
} NetLayer;

typedef struct {
    int scale;             /* d */
    const NetLayer *layer; /* the top-most layer of d x d */
    bool trained;          /* a pair names it */
    bool identity;         /* its head is the identity: d = 1 and f_1 has R channels */
    Mark at;               /* where a pair first names it, if trained */
} NetScale;

typedef struct {
    const char *name; /* "1-to-5" */
    const SpecPair *spec;
    const NetScale *from, *to;
    int located; /* row of the source locations where n > 1, else -1 */
} NetPair;

typedef struct {
    const Spec *spec;
    int views;
    int batch;  /* B: the images whose other ones are a positive's negatives */
    int share;  /* of the batch, what one process holds: all of it */
    int images; /* N: views * share, or the chunk of them that a list treats at a time */
    int layers;
    NetLayer *layer;
    int scales; /* that exist, by d */
    NetScale *scale;
    int pairs;
    NetPair *pair;
    int located; /* pairs with n > 1 */
    int top;     /* number of the top-most trained layer: what is above is dropped */
} Net;

/* Shapes every layer, finds the scales, resolves the pairs; impossible shapes, missing scales and sizes that
 * overflow are errors at their marks. NULL when there was one. */
Net *net_build(Arena *a, Diagnostics *d, const Spec *s);
const NetScale *net_scale(const Net *n, int d); /* or NULL */

/* ---- ir/ir.c, ir/ops.def: a straight list of operations ---------------------------------------------- */

typedef enum {
#define OP(kind, name, purpose) OP_##kind,
#define OPERAND(kind, name, number, facts)
#include "ir/ops.def"
#undef OP
#undef OPERAND
    OP_COUNT
} OpKind;
const char *op_name(OpKind k);

enum { /* CONV_X, CONV_WEIGHT, ...: the numbers of operands */
#define OP(kind, name, purpose)
#define OPERAND(kind, name, number, facts) kind##_##name = number,
#include "ir/ops.def"
#undef OP
#undef OPERAND
};

/* What passes may know of an operand; ops.def says what each means. */
typedef enum { OPTIONAL = 1, ALIKE = 2, ADDEND = 4 | ALIKE, MASK = 8 | ALIKE, IN_PLACE = 16 | ALIKE } Fact;
int op_operand(OpKind k, Fact fact); /* the number of the operand with that fact, or -1 */
/* What lies in the arena. Scores and their gradients, which take their memory over, are one purpose. */
typedef enum { PURPOSE_ACTIVATIONS, PURPOSE_SCORES, PURPOSE_GRADIENTS, PURPOSE_SCRATCH, PURPOSES } Purpose;
Purpose op_purpose(OpKind k); /* of its results */

typedef enum {
    VALUE_INPUT,     /* the step's views, or source locations */
    VALUE_PARAM,     /* a tensor of files, trained or running */
    VALUE_TEMPORARY, /* made by an operation, placed in the arena by the planner */
    VALUE_OUTER,     /* in the list of a chunk: a temporary of the step's own list, or a chunk's part of it */
} ValueKind;

/* The type of a value's numbers. */
typedef enum { NUMBER_FLOAT32, NUMBER_INT32, NUMBERS } Number;
size_t number_bytes(Number n);
const char *number_name(Number n); /* "float32" */

typedef enum { INIT_ZERO, INIT_ONE, INIT_UNIFORM, INIT_SHORTCUT } Init;

/* A parameter as files know it. */
typedef struct {
    const char *name;  /* "encoder.2.0.conv1.weight" */
    const char *field; /* the same as a C identifier */
    int rank;
    int dims[4]; /* PyTorch's order */
    bool trained;
    Init init;
    double bound;
    size_t offset; /* floats in the block of parameters, by params_place */
    size_t count;
    int index; /* in the model's table of tensors */
} Param;

typedef struct Op Op;
typedef struct Graph Graph;
typedef struct Kernel Kernel; /* kernels/kernel.h */
typedef struct Value Value;
struct Value {
    int id; /* in order of making */
    ValueKind kind;
    Number number;
    const char *name; /* a C identifier, unique in the list */
    int rank;
    int dims[4]; /* activations (N, S, S, C); weights (k*k*in, out); vectors (C) */
    Param *param;
    const Value *outer; /* of a VALUE_OUTER: the step's */

    /* Of the planner. */
    int first, last; /* numbers of the operations between which it lives */
    size_t offset;   /* bytes in the arena */
    size_t bytes;
    int home; /* id of the first of those that share its memory in place one after the other, or its own */
};

/* How an operation is made: chosen by select_kernels, read by all passes behind it. */
typedef struct {
    const Kernel *kernel; /* the implementation */
    int parts;            /* that threads take */
    int slices;           /* of the images or pixels, each with a result of its own that are summed at last
                             (split-K); 1: none */
    size_t arena_floats;  /* of the arena, while it runs: packed weights, slices' results */
    size_t worker_floats; /* of each worker's own scratch */
    int outputs;          /* Winograd: of a tile, along a side */
    bool cells;           /* matrix tiles: a weight's gradient by cells of stride x stride pixels */
    int row_cuts, column_cuts; /* matrix tiles: of a weight's gradient */
    const Value *zeros;   /* sparse, masked: the operand whose zeros are skipped */
} Plan;

enum { OP_INPUTS = 6, OP_OUTPUTS = 3 };

struct Op {
    OpKind kind;
    Mark at;           /* the spec's line it comes from */
    const char *label; /* "encoder.2.0.conv1" */
    int inputs;
    Value **in; /* by number of operand; an absent one is NULL */
    Value *out[OP_OUTPUTS];
    int kernel, stride; /* conv, pool and their gradients */
    int pad;            /* pad and its gradient */
    bool reflect;
    bool relu;           /* conv, batchnorm: the result is max(0, .) */
    const NetPair *pair; /* gather, scores, nce and their gradients */
    Plan plan;
    Value *scratch;    /* plan.arena_floats as a value of the list, or NULL */
    bool again;        /* runs a second time, so that its result need not be kept (recompute) */
    Graph *chunk;      /* encode and its gradient: what each chunk of the images runs */
    Graph *chunk_grad; /* encode: the list that its gradient will run, forward operations so far */
    int chunks;
};

struct Graph {
    Arena *arena;
    const Net *net;
    const char *name; /* "step", "encode_f1" */
    int ops, capacity;
    Op **op;
    int values, value_capacity;
    Value **value;
    Value *x;         /* the views (N, S, S, C) */
    Value **location; /* (located) each (V, B) int32 */
    Value **feature;  /* of a chunk's gradient: what the step keeps of it, in the encode operation's order */
    int results;      /* of encoders: values that are read when a part of the list has run */
    const Value **result;
    size_t arena_bytes;
};

Graph *graph_new(Arena *a, const Net *n, const char *name);
Value *graph_value(Graph *g, ValueKind kind, const char *name, int rank, const int *dims);
Value *graph_value_of(Graph *g, Number number, ValueKind kind, const char *name, int rank, const int *dims);
Value *graph_map(Graph *g, const char *name, int side, int channels); /* a temporary (N, S, S, C) */
Op *graph_op(Graph *g, OpKind kind, Mark at, const char *label);      /* appended; OP_INPUTS empty inputs */
Op *graph_op_wide(Graph *g, OpKind kind, Mark at, const char *label, int inputs);
Value *graph_param(Graph *g,
                   Param *p); /* its value in this list: weights as (k*k*in, out), vectors as they are */
/* A chunk's value that is `whole` of the step's list, or the chunk's images of it. */
Value *graph_outer(Graph *g, const Value *whole, const char *name);
Op *graph_maker(const Graph *g, const Value *v); /* whose first output v is, or NULL */
size_t value_count(const Value *v);
bool graph_any(const Graph *g, bool (*is)(const Op *op)); /* of its operations, those of chunks among them */
/* Checks what every pass must keep: each value made before it is used, once; shapes that fit their operation;
 * names unique. A breach is our bug. */
void graph_check(const Graph *g, const char *pass);

/* ---- lower.c: Net -> forward operations
 * ------------------------------------------------------------------------- */

typedef struct {
    Arena *arena;
    const Net *net;
    int count, capacity;
    Param **param; /* every tensor the net could have; a Graph uses some of them */
} ParamPool;

/* The forward pass of training: encoder up to the top-most trained layer, heads of the trained scales, the
 * pairs' losses, and one OP_REPORT that holds losses and embeddings. With `chunk` images (0: all at once;
 * else a divisor of N), what of the encoder treats images one by one is one OP_ENCODE that runs chunk after
 * chunk and keeps only what is read above it. */
Graph *lower_step(Arena *a, const Net *n, ParamPool *pool, int chunk);
/* Layers from the input up that treat images one by one: none of them has a batchnorm. */
int encoder_layers_below_batchnorm(const Net *n);
/* What `encode` can compute: f_1 (where no pair trains scale 1, the spatial mean of the top-most trained layer),
 * then phi_d of every trained scale. */
typedef struct {
    int scale;           /* d; 0: f_1 */
    const Value *result; /* of the list that lower_encoders makes */
} Feature;
/* Encoding of `images` at a time with running statistics: one list that makes every feature, of which each
 * needs a part; feature[] (scales + 1) and *features are filled in. */
Graph *lower_encoders(Arena *a, const Net *n, ParamPool *pool, int images, Feature *feature, int *features);

/* ---- grad.c: reverse mode over the list
 * --------------------------------------------------------------------------- */

/* Appends the backward pass: what no gradient reaches is not differentiated; each trained tensor's gradient
 * is taken (OP_TAKE) as soon as it is complete. */
void differentiate(Graph *g);

/* ---- simplify.c
 * --------------------------------------------------------------------------------------------------- */

/* Drops operations whose results nothing uses, and lets a product apply the ReLU's mask that would follow it.
 */
void simplify(Graph *g);

/* ---- params.c: the table of tensors
 * ----------------------------------------------------------------------------- */

typedef struct {
    int count;
    Param **param; /* trained first, each group in the order of the layers */
    size_t floats, trained_floats;
} Params;
/* The tensors that the graph's operations read, placed one after the other, each on a multiple of 16 floats.
 */
Params *params_place(Arena *a, const Graph *step, const ParamPool *pool);

/* ---- kernels/select.c: the table of implementations (kernels/kernel.h) ---------------------------------- */

/* Chooses each operation's kernel and writes its Plan; every later pass only reads it. `forced`, where not
 * NULL, names the kernel of every product that it can make, for measurements and tests; the others are
 * "direct". */
void select_kernels(Graph *g, const char *forced);
bool kernel_is_known(const char *name);
const char *op_kernel_name(const Op *op); /* "winograd" */
/* "winograd 3x3", "sparse by dy in 4 slices"; NULL where an operation has one implementation or none. */
const char *op_kernel_text(Arena *a, const Op *op);
/* Whether it takes some 0.6 of a plain product's time on processors without matrix tiles. */
bool kernel_halves(const Graph *g, const Op *op);

/* ---- plan/recompute.c ----------------------------------------------------------------------------------- */

/* Of a step's products, what may be spent where memory is not short; sparse and Winograd's count 0.6 of it. */
extern const double RECOMPUTE_BUDGET;
/* Computes cheap activations a second time in the backward pass instead of keeping them, for `budget` of the
 * step's products at most. */
void recompute(Graph *step, double budget);

/* ---- plan/cost.c: sizes and FLOPs ----------------------------------------------------------------------- */

void cost_scratch(Graph *g); /* a value of the list for each plan's arena_floats; before plan_memory */
size_t cost_worker_scratch(const Graph *g); /* bytes a worker needs of its own */
double cost_op_flop(const Op *op);          /* of its products, two per multiply-add; 0 for what has none */
double cost_step_flop(const Graph *step);   /* the contract's gflop_per_step, in FLOP */
double cost_run_flop(const Graph *step);    /* with what is computed again */

/* The most resident memory that a whole `train` takes, in bytes, by what holds it. */
typedef struct {
    size_t weights;   /* parameters and running statistics */
    size_t optimizer; /* its moments */
    size_t arena;     /* temporaries of the step, or of a feature where they are more */
    size_t pictures;  /* two batches of views: the one in use and the one being made */
    size_t threads;   /* the stack, buffers and scratch of each */
    size_t program;   /* code, shared libraries, buffers of files */
    size_t total;     /* the sum: what the program promises */
    size_t worker;    /* of `threads`, the scratch of one worker: what the step or a feature needs most */
} PeakMemory;
PeakMemory cost_peak(const Graph *step, const Graph *encode, const Params *p, bool openblas);

/* ---- plan.c: lifetimes, in-place results, offsets in one arena
 * -------------------------------------------------------- */

/* Gives each temporary, scratch included, an offset (a multiple of 64) such that no two that live at once
 * overlap, and g->arena_bytes. */
void plan_memory(Graph *g);
void plan_check(const Graph *g); /* a breach is our bug; quadratic, used by tests and once a compile */

/* ---- template.c: C with holes
 * ----------------------------------------------------------------------------------------- */

typedef struct {
    const char *hole, *value;
} Fill;
/* Appends templates/NAME to out with every @hole@ filled; an unknown hole, or a fill no hole uses, is our bug
 * and is reported at the template's own line and column. */
void template_expand(Arena *a, FILE *out, const char *directory, const char *name, const Fill *fill,
                     int fills);

/* ---- emit.c: placed IR -> C text
 * ---------------------------------------------------------------------------------------- */

/* What is given for memory. */
typedef struct {
    int chunk;        /* images that the encoder treats at a time, a divisor of N; or 0: all */
    double recompute; /* of the step's products, what may be spent on activations computed again */
} Schedule;

typedef struct {
    const Net *net;
    const Params *params;
    const Graph *step, *encode;
    int features;
    Feature *feature;
    PeakMemory peak;
    Schedule schedule;
    const char *digest;
    const char *triple;    /* the target's; "native" unless given */
    bool openblas;         /* some product is OpenBLAS's */
    const char *templates; /* directory */
} Program;

/* The whole C source of the program's model, as text. The same spec gives the same bytes. */
char *emit_model(Arena *a, const Program *p);

/* ---- emit/ir_text.c --------------------------------------------------------------------------------------- */

void graph_print(const Graph *g, FILE *stream); /* --emit=ir */

/* ---- explain.c: what a spec amounts to
 * ------------------------------------------------------------------------------------ */

/* Layers, scales and pairs with their shapes, numbers and FLOPs, the parts of p->peak, and the arena over the
 * step: as tables for people, or as one JSON object with the same numbers. */
void explain_text(Arena *a, const Program *p, FILE *stream);
void explain_json(Arena *a, const Program *p, FILE *stream);

/* ---- pytorch.c: Net -> Python text
 * ---------------------------------------------------------------------------------------- */

/* The same model, loss and `replay` as one file of Python for PyTorch. The same spec gives the same bytes. */
char *emit_pytorch(Arena *a, const Net *n, const char *templates);

/* ---- pipeline.c -----------------------------------------------------------------------------------------
 */

/* From the net to placed operations, for the step and every encoder, on that schedule. */
Program *compile_schedule(Arena *a, const Net *n, const char *forced, Schedule schedule);
/* On the fastest schedule there is: with target.memory, the fastest within it (schedule.c), or NULL with an
 * error that names the least that would do. */
Program *compile(Arena *a, Diagnostics *d, const Net *n, const char *templates, const char *forced);
/* 16 hex digits that stand for the text. */
const char *digest_of(Arena *a, const char *text);
Program *compile_within(Arena *a, Diagnostics *d, const Net *n, const char *forced);
/* The same net as if its spec said `blas: none`. */
Program *compile_without_openblas(Arena *a, Diagnostics *d, const Net *n, const char *templates);

/* ---- build.c: files, clang
 * ------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *home;                          /* directory of templates, runtime and LICENSE */
    const char *templates, *runtime, *support; /* directories of sources */
    const char *library;                       /* libamdim.a, the runtime for this machine */
    bool openblas;                             /* some product is OpenBLAS's: link it */
    const char *cc;                            /* the clang to use */
    const char *gen_dir;                       /* where the generated C goes */
    const char *output;                        /* the program */
    const char *target;                        /* the triple of the machine it is for, or NULL: this one */
    bool is_static;                            /* it shall need no shared library */
    bool is_folder;                            /* C only, for machines that are not known */
} Build;

/* Finds templates and runtime beside the executable: of a checkout (build/amdimc) or of an installation
 * (PREFIX/bin). */
bool build_locate(Arena *a, Build *b);
/* Writes NAME.c and the headers it includes to gen_dir; a file whose bytes are the same is left alone. */
bool build_write(Arena *a, const Build *b, const Spec *s, const char *model_c);
/* Writes a whole file or nothing; one whose bytes are the same is left alone. */
bool build_write_text(Arena *a, const char *path, const char *text);
bool build_copy(Arena *a, const char *from, const char *to,
                const char *name);                /* between two folders, likewise */
bool build_directory(Arena *a, const char *path); /* makes it and those above it */
/* Runs clang; what it prints is shown whole. For another machine the runtime is compiled too, without what
 * the machine has no library for. */
bool build_program(Arena *a, const Build *b, const Spec *s);
bool build_copy_jsmn(Arena *a, const Build *b,
                     const char *to); /* the header that the runtime's sources need */

/* ---- target.c: programs for other machines --------------------------------------------------------------
 */

bool target_is_other(const Build *b); /* --target or --static was given */
/* For another machine `march: native` becomes the triple's baseline, unless the command line says it. Finds out
 * whether the processor has matrix tiles: this one's are asked for `native`, but for a folder. */
void target_processor(const Build *b, const Overrides *o, Spec *s);
/* Where that machine has no OpenBLAS, the products are left to own kernels; an error, and false, where the
 * command line asks for it by name. */
bool target_blas(Arena *a, const Build *b, const Overrides *o, Spec *s);

/* ---- folder.c: --emit=c
 * --------------------------------------------------------------------------------------------------- */

typedef struct {
    const Net *net;
    const Overrides *overrides;   /* for the README */
    const char *model_c;          /* the model's source */
    const char *without_openblas; /* the same with own kernels alone; NULL where model_c is that itself */
} Folder;

/* Writes b->gen_dir: sources, Makefile, README; all that building needs but the libraries, each of which may
 * be missing. A name that the folder uses itself is an error at its mark; a folder with files of somebody
 * else's is refused. */
bool folder_write(Arena *a, Diagnostics *d, const Build *b, const Folder *f);

#endif
