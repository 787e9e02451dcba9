/* amdimc.h: the map of the compiler, in the order of its passes; a folder a stage, and a header in each for
 * what it hands on.
 *
 *   spec.yaml -read-> Spec -shapes-> Net -lower-> forward IR -differentiate-> step IR
 *     -simplify, recompute-> step IR -select-> kernels -plan-> placed IR -emit-> C -clang-> program
 *
 * Letters: V views, B images of a batch, N = V*B images of a step (view-major), S the side of a square map,
 * P = S*S its positions, C channels, R the width of the embeddings. Three words for what is one with one
 * process and no budget of memory: the batch, whose other images are a positive's negatives; the share of it
 * that a process holds; the chunk of that which the encoder treats at a time. Everything a compile makes
 * lives in its arena and goes with it. */
#ifndef AMDIMC_H
#define AMDIMC_H

#include "diag.h"      /* memory, errors */
#include "ir/ir.h"     /* Graph, Op, Value */
#include "net/net.h"   /* Net */
#include "spec/spec.h" /* Spec */

#define AMDIMC_VERSION "0.2.0"

/* ---- ir/lower.c: Net -> forward operations ---- */

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
/* What `encode` can compute: f_1 (where no pair trains scale 1, the spatial mean of the top-most trained
 * layer), then of every trained scale f_d, where that is not f_1, and phi_d. */
typedef struct {
    int scale;           /* d; 0: f_1 */
    bool raw;            /* f_d itself, not its embedding */
    const Value *result; /* of the list that lower_encoders makes */
} Feature;
/* Encoding of `images` at a time with running statistics: one list that makes every feature, of which each
 * needs a part; feature[] (2 * scales + 1) and *features are filled in. */
Graph *lower_encoders(Arena *a, const Net *n, ParamPool *pool, int images, Feature *feature, int *features);

/* ---- ir/grad.c: reverse mode over the list ---- */

/* Appends the backward pass: what no gradient reaches is not differentiated; each trained tensor's gradient
 * is taken (OP_TAKE) as soon as it is complete. */
void differentiate(Graph *g);

/* ---- ir/simplify.c ---- */

/* Drops operations whose results nothing uses, and lets a product apply the ReLU's mask that would follow it.
 */
void simplify(Graph *g);

/* ---- ir/params.c: the table of tensors ---- */

typedef struct {
    int count;
    Param **param; /* trained first, each group in the order of the layers */
    size_t floats, trained_floats;
} Params;
/* The tensors that the graph's operations read, placed one after the other, each on a multiple of 16 floats.
 */
Params *params_place(Arena *a, const Graph *step, const ParamPool *pool);

/* ---- kernels/select.c: the table of implementations (kernels/kernel.h) ---- */

/* How a product is to be made, as a file of --tuned says. */
typedef struct {
    const char *product; /* "conv_grad_w" */
    const char *layer;   /* the operation's label */
    const char *kernel;  /* "winograd" */
    int slices, outputs; /* of its Plan; 0: what the kernel takes of itself */
} Choice;
typedef struct {
    const char *forced; /* the kernel of every product that it can make, for measurements and tests; the
                           others are made by the last row that can. Or NULL */
    int count;
    const Choice *choice;
} Choices;
/* Chooses each operation's kernel and writes its Plan; every later pass only reads it. A choice that cannot
 * be is none; `c` may be NULL. */
void select_kernels(Graph *g, const Choices *c);
bool kernel_is_known(const char *name); /* of products */
enum { MOST_KERNELS = 16 };
/* The kernels of products, each once, in the order of the table; returns how many. */
int kernel_names(const char *into[MOST_KERNELS]);
bool product_is_known(const char *name); /* an operation that more than one kernel can make */
/* The operation's own plan, then the other ways that there are to make it, at most `most`; returns how many.
 * 0 for what is not a product. */
int kernel_choices(const Graph *g, const Op *op, Choice *into, int most);
/* Whether the operation is made by that choice's kernel, maybe in fewer slices. */
bool choice_is_made(const Choice *c, const Op *op);
const char *op_kernel_name(const Op *op); /* "winograd" */
/* "winograd F(3, 3)", "sparse by dy in 4 slices"; NULL where an operation has one implementation or none. */
const char *op_kernel_text(Arena *a, const Op *op);
/* Whether it takes some 0.6 of a plain product's time on processors without matrix tiles. */
bool kernel_halves(const Graph *g, const Op *op);

/* ---- plan/recompute.c ---- */

/* Of a step's products, what may be spent where memory is not short; sparse and Winograd's count 0.6 of it.
 * Of specs/amdim.yaml it takes the first convolution, the first residual, the sums of two more and one of
 * their hidden layers: 121 MiB. */
#define RECOMPUTE_BUDGET 0.03
/* Computes cheap activations a second time in the backward pass instead of keeping them, for `budget` of the
 * step's products at most. */
void recompute(Graph *step, double budget);

/* ---- plan/cost.c: sizes and FLOPs ---- */

void cost_scratch(Graph *g); /* a value of the list for each plan's arena_floats; before plan_memory */
size_t cost_worker_scratch(const Graph *g); /* bytes a worker needs of its own */
double cost_op_flop(const Op *op);          /* of its products, two per multiply-add; 0 for what has none */
double cost_step_flop(const Graph *step);   /* of a share's step */
double cost_run_flop(const Graph *step);    /* with what is computed again */
double cost_batch_flop(const Graph *step);  /* of all shares: gflop_per_step, in FLOP: docs/program.md */

/* The most resident memory that a whole `train` takes, in bytes, by what holds it. */
typedef struct {
    size_t weights;     /* parameters and running statistics */
    size_t optimizer;   /* its moments */
    size_t arena;       /* temporaries of the step, or of a feature where they are more */
    size_t pictures;    /* two batches of views: the one in use and the one being made */
    size_t threads;     /* the stack, buffers and scratch of each */
    size_t program;     /* code, shared libraries, buffers of files */
    size_t meetings;    /* of several ranks: what shares exchange, and what carries it */
    size_t data;        /* a data set's index, and pictures while they are decoded */
    size_t decoding;    /* of `data`, what is for decoding however large the index is */
    size_t total;       /* the sum: what the program promises */
    size_t worker;      /* of `threads`, the scratch of one worker: what the step or a feature needs most */
    size_t each_thread; /* what one more would add to the total */
} PeakMemory;
int cost_buckets(const Graph *step, const Params *p); /* of gradients, that a process has room for at once */
PeakMemory cost_peak(const Graph *step, const Graph *encode, const Params *p, bool openblas);
/* The memory of a library's caller, in bytes. */
typedef struct {
    size_t params, state;  /* weights and running statistics; moments */
    size_t train, encode;  /* work memory, of which: */
    size_t arena, scratch; /* of a step; the arena is for making views, too */
    size_t encode_arena, encode_scratch;
    size_t total; /* to train: what target.memory limits */
} LibraryMemory;
LibraryMemory cost_library(const Graph *step, const Graph *encode, const Params *p);
PeakMemory cost_library_parts(const LibraryMemory *m); /* the same by what holds it, in a step */

/* ---- plan/plan.c: lifetimes, in-place results, offsets in one arena ---- */

/* Gives each temporary, scratch included, an offset (a multiple of 64) such that no two that live at once
 * overlap, and g->arena_bytes. */
void plan_memory(Graph *g);
void plan_check(const Graph *g); /* a breach is our bug; quadratic, used by tests and once a compile */

/* ---- emit/template.c: text with holes ---- */

typedef struct {
    const char *hole, *value;
} Fill;
/* Appends templates/NAME to out with every @hole@ filled; an unknown hole, or a fill no hole uses, is our bug
 * and is reported at the template's own line and column. */
void template_expand(Arena *a, FILE *out, const char *directory, const char *name, const Fill *fill,
                     int fills);

/* ---- emit/emit.c: placed IR -> C text ---- */

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
    LibraryMemory library; /* where target.is_library */
    Schedule schedule;
    const char *canonical, *digest; /* of the spec: which runs the program may resume */
    const char *triple;             /* the target's; "native" unless given */
    bool openblas;                  /* some product is OpenBLAS's */
    bool is_reference;              /* it is that of another program */
} Program;

/* The whole C source of the program's model, as text. The same spec gives the same bytes. */
char *emit_model(Arena *a, const Program *p);

/* ---- emit/ir_text.c ---- */

void graph_print(const Graph *g, FILE *stream); /* --emit=ir */

/* ---- explain/explain.c: what a spec amounts to ---- */

/* Layers, scales and pairs with their shapes, numbers and FLOPs, the parts of p->peak, and the arena over the
 * step, and what the spec takes as a library: as tables for people, or as one JSON object with the same
 * numbers. */
void explain_text(Arena *a, const Program *p, const LibraryMemory *library, FILE *stream);
void explain_json(Arena *a, const Program *p, const LibraryMemory *library, FILE *stream);
/* The table of layers alone, of a net whose pairs could not be resolved. */
void explain_layers(Arena *a, const Net *n, FILE *stream);

/* ---- emit/pytorch.c: Net -> Python text ---- */

/* The same model, loss and `replay` as one file of Python for PyTorch. The same spec gives the same bytes. */
char *emit_pytorch(Arena *a, const Net *n, const char *templates);

/* ---- emit/onnx.c: Net and trained weights -> ONNX ---- */

/* The bytes of an ONNX model (opset 17): x (N, C, S, S), pixels in 0..1, to f_1 (N, channels), or where
 * `scale` is not 0 phi_d (N, dim, d, d), with the weights of a file. The same spec and weights give the same
 * bytes. NULL when it has said why not. */
uint8_t *emit_onnx(Arena *a, const Net *n, const char *weights, int scale, size_t *bytes);

/* ---- plan/pipeline.c, plan/compile.c, plan/schedule.c ---- */

/* From the net to placed operations, for the step and every encoder, on that schedule. */
Program *compile_schedule(Arena *a, const Net *n, const Choices *c, Schedule schedule);
/* On the fastest schedule there is: with target.memory, the fastest within it (schedule.c), or NULL with an
 * error that names the least that would do. */
Program *compile(Arena *a, Diagnostics *d, const Net *n, const Choices *c);
/* 16 hex digits that stand for the text. */
const char *digest_of(Arena *a, const char *text);
Program *compile_within(Arena *a, Diagnostics *d, const Net *n, const Choices *c);
/* What a step of it takes, in FLOP: those of its products and, by its chunks, what else costs as long. */
double schedule_cost(const Program *p);
/* The same net as if its spec said `blas: none`. */
Program *compile_without_openblas(Arena *a, Diagnostics *d, const Net *n, const Choices *c);
/* Whether a program has the same model in float32 besides, which `selfcheck` compares with; and that one, by
 * own kernels and without a limit of memory. */
bool program_has_reference(const Program *p);
Program *compile_reference(Arena *a, Diagnostics *d, const Net *n);

/* ---- build/build.c: files, clang ---- */

typedef struct {
    const char *spec;                          /* the file */
    const char *weights;                       /* a run's, or NULL */
    const char *tuned;                         /* a file of choices, or NULL */
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
bool build_write(Arena *a, const Build *b, const Spec *s, const char *model_c, const char *reference_c);
/* An output is never one of the inputs, and can be put where it shall go: else false, before anything is
 * made. */
bool build_may_write(Arena *a, const Build *b, const char *path);
/* Whether gen_dir holds nothing by those names that amdimc did not write; else it says so. */
bool build_may_generate(Arena *a, const Build *b, const Spec *s);
/* Whether it is one of those that a program's compilation writes to gen_dir, which is there; then it says so.
 */
bool build_is_generated(Arena *a, const Build *b, const Spec *s, const char *path);
bool build_write_text(Arena *a, const Build *b, const char *path, const char *text); /* whole or not at all */
bool build_write_bytes(Arena *a, const Build *b, const char *path, const void *bytes,
                       size_t count);             /* likewise */
bool build_directory(Arena *a, const char *path); /* makes it and those above it */
/* Runs clang; what it prints is shown whole. For another machine the runtime is compiled too, without what
 * the machine has no library for. */
bool build_program(Arena *a, const Build *b, const Spec *s);
/* Keeps other compilers out of a folder for as long as this process, or one that it started, lives; waits for
 * one that is at work there. */
bool build_lock(const char *folder);
bool build_copy_header_libraries(Arena *a, const Build *b,
                                 const char *to); /* the headers that the runtime's sources need */

/* ---- build/weights.c: trained weights ---- */

/* Every tensor of `p` from a safetensors file, by its index, in PyTorch's order; NULL when it has said why
 * not: none is missing, misshapen or without numbers, and a checkpoint's digest fits. */
float **weights_of_file(Arena *a, const char *path, const Params *p);

/* ---- build/target.c: programs for other machines ---- */

bool target_is_bare(const char *triple);          /* it names a machine without a system; NULL does not */
bool target_has_system(Arena *a, const Build *b); /* else says that a program needs one */
bool target_is_other(const Build *b);             /* --target or --static was given */
/* For another machine `march: native` becomes the triple's baseline, unless the command line says it. Finds
 * out whether the processor has matrix tiles: this one's are asked for `native`, but for a folder. */
void target_processor(const Build *b, const Overrides *o, Spec *s);
/* Whether clang knows the triple and the processor, and, of what this compiler `compiles` for another
 * machine, whether it can be linked; an error, and false, where not, before anything is compiled. Without
 * clang nothing is known of what is not compiled here. */
bool target_check(Arena *a, Diagnostics *d, const Build *b, const Spec *s, bool compiles);
/* Where that machine has no OpenBLAS, the products are left to own kernels; an error, and false, where the
 * command line asks for it by name. */
bool target_blas(Arena *a, const Build *b, const Overrides *o, Spec *s);

/* ---- build/folder.c: --emit=c ---- */

typedef struct {
    const Net *net;
    const Overrides *overrides;   /* for the README */
    const char *model_c;          /* the model's source */
    const char *reference_c;      /* its reference's, or NULL */
    const char *without_openblas; /* the same with own kernels alone; NULL where model_c is that itself */
} Folder;

/* Writes b->gen_dir: sources, Makefile, README; all that building needs but the libraries, each of which may
 * be missing. A name that the folder uses itself is an error at its mark; a folder with files of somebody
 * else's is refused. */
bool folder_write(Arena *a, Diagnostics *d, const Build *b, const Folder *f);

/* ---- library/: --emit=library ---- */

/* What a library is planned for: one thread, own kernels, no matrix tiles, which a system has to permit; on a
 * bare machine (a triple without a system) as little memory and code as can be. */
void library_target(const Build *b, Spec *s);
/* What it takes; all 0 where the spec's memory does not suffice for one. */
LibraryMemory library_memory(Arena *a, const Build *b, const Net *n);
/* A file of trained weights, or NULL, and the type that they are to have as constants. */
typedef struct {
    const char *path;
    WeightType type;
} TrainedWeights;
/* Writes b->gen_dir: the model as one C file with its header, Makefile, README, an example, Python's module.
 */
bool library_write(Arena *a, Diagnostics *d, const Build *b, const Program *p, const Overrides *o,
                   const TrainedWeights *trained);

#endif
