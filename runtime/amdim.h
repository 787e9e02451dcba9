/* amdim.h: what a generated program and the runtime say to each other.
 *
 * The generated C exports one symbol, `amdim_model`: constants of the spec, the table of tensors, and the
 * functions that compute. The runtime (data, augmentation, optimiser, checkpoints, commands) reads that
 * description and knows no spec, layer or pair.
 *
 * Letters: V views, B images of a batch, R shares of it, S = B/R images of a share, N = V*S images of a step
 * (view-major: image b of view v is row v*S + b), H = W the side, C channels, R the width of the embeddings.
 * All floats are float32. Activations lie as pixels x channels (N, H, W, C); weights of a k x k convolution
 * as (k*k*in) x out. */
#ifndef AMDIM_H
#define AMDIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- threads ---- */

typedef struct AmdimPool AmdimPool; /* a fixed set of worker threads, the caller's among them */

/* One part of an operation: `part` in 0..parts-1 says which piece to compute; `worker` in 0..threads-1 which
 * thread runs it (it owns the worker's scratch). The result must depend on `part` alone. */
typedef void AmdimPart(void *job, int part, int worker);

/* Runs every part once, in any order, on all threads of the pool, and returns when the last has ended. */
void amdim_parallel(AmdimPool *pool, AmdimPart *run, void *job, int parts);

/* This worker's private scratch memory: AmdimModel.scratch_bytes bytes, aligned to 64. */
void *amdim_scratch(AmdimPool *pool, int worker);

/* ---- tensors ---- */

typedef enum {
    AMDIM_INIT_ZERO,
    AMDIM_INIT_ONE,
    AMDIM_INIT_UNIFORM,  /* uniform in +-bound */
    AMDIM_INIT_SHORTCUT, /* uniform in +-bound, ones on the diagonal where out >= in */
} AmdimInit;

typedef struct {
    const char *name; /* as in files: encoder.2.0.conv1.weight */
    int rank;         /* 4 for a convolution, else 1 */
    int32_t dims[4];  /* in PyTorch's order (out, in, k, k), whatever the layout inside */
    size_t offset;    /* floats from the start of the parameters; a multiple of 16 */
    size_t count;     /* floats; the product of dims */
    bool trained;     /* has a gradient; else a running statistic */
    AmdimInit init;
    float bound;
} AmdimTensor;

/* ---- a step ---- */

typedef struct AmdimStep AmdimStep;

/* An operation of a step, as the generated code names it in front of the call. */
typedef struct {
    const char *name; /* "encoder.2.0.conv1", the layer or pair it belongs to */
    const char
        *shape; /* "conv 4x4 stride 2, 64 at 30x30 to 128 at 14x14, ReLU"; the first word is its kind */
    const char *kernel; /* the implementation: "winograd F(3, 3)", "direct", "sparse", ... */
    int line;           /* of the spec; 0: nowhere */
    double flop; /* of one run: two per multiply-add, as the mathematics needs them; 0: not a product */
} AmdimOp;

/* What follows in the step, until the next one, is the operation {name, shape, kernel, line, flop}. */
#define OPERATION(step, ...)                                                                                 \
    do {                                                                                                     \
        static const AmdimOp op_ = {__VA_ARGS__};                                                            \
        if ((step)->begin)                                                                                   \
            (step)->begin(step, &op_);                                                                       \
    } while (0)
/* What follows is none; behind a step's last operation. */
#define STEP_ENDS(step)                                                                                      \
    do {                                                                                                     \
        if ((step)->begin)                                                                                   \
            (step)->begin(step, NULL);                                                                       \
    } while (0)

/* Takes one trained tensor's gradient, in the layout of the parameters, as soon as it is complete and the
 * step reads the parameter no more: it may change the parameter. `tensor` is an index of
 * AmdimModel.tensors. The gradient's memory is used again after the call. */
typedef void AmdimTake(AmdimStep *step, int tensor, const float *gradient);

/* What a share of the batch gives where shares meet, and where it gets what the others gave. */
typedef struct {
    const float *give;
    float *get;
    int blocks;
    size_t floats; /* of a block */
} AmdimMeeting;

struct AmdimStep {
    AmdimPool *pool;
    char *arena;    /* AmdimModel.arena_bytes, aligned to 64; contents arbitrary */
    float *params;  /* AmdimModel.param_floats: trained tensors, then running statistics */
    const float *x; /* (N, H, W, C) normalised views */
    const int32_t
        *locations;  /* (AmdimModel.located, V, S) row-major source locations, see AmdimPair.located */
    AmdimTake *take; /* who takes the gradients */
    void *taker;     /* for take */
    /* If not NULL, told of each operation as it begins, and with op NULL of the end. An operation that runs
     * several times a step is told of as often. */
    void (*begin)(AmdimStep *step, const AmdimOp *op);
    void *profiler; /* for begin */

    /* Of a model of several shares (AmdimModel.shares): all their steps run at once, and meet here, each in
     * the same meetings in the same order. */
    int share;          /* which of them this is, from 0 */
    bool moves_running; /* it moves the running statistics, which the shares of a process have in common */
    /* Each gives `blocks` blocks; all get (blocks, shares, floats). */
    void (*gather)(AmdimStep *step, const AmdimMeeting *m);
    /* Each gives (blocks, shares, floats), a block for each share; and gets (shares, blocks, floats), what
     * each gave for it. */
    void (*exchange)(AmdimStep *step, const AmdimMeeting *m);
    void *company; /* for gather and exchange */

    /* What the step leaves behind, written before the first gradient is taken. */
    double loss;           /* the objective: sum of weight * pair's loss, + penalty weight * sum of P */
    double penalty;        /* sum of P over pairs, unweighted */
    double *pair_loss;     /* (pairs) unweighted */
    double *pair_accuracy; /* (pairs) share of the positives that score above all their negatives */
    /* (scales) where each phi_d lies, (N, d, d, R), during forward_done: floats, or numbers of bfloat16 where
     * the step says that they are narrow. */
    const void **embedding;
    bool narrow_embeddings;
    /* Asked, if not NULL, before forward_done, of a model of several shares: whether the embeddings of all of
     * them are to be there then. Losses are. */
    bool (*wants_embeddings)(const AmdimStep *step);
    /* Called, if not NULL, when all of the above is known and the backward pass has not begun; false ends the
     * step there (no gradient is taken). */
    bool (*forward_done)(AmdimStep *step);
};

/* ---- processes ---- */

/* What carries bytes between the processes of one training, P of them, each of which calls the same functions
 * in the same order. What fails ends the process, and with it the others. */
typedef struct {
    /* Joins the others; the number of this one, and of all. False, having said why, where that is not
     * possible. */
    bool (*join)(int *process, int *processes);
    /* Gets `bytes` from each process, in their order. */
    void (*gather)(const void *give, void *get, size_t bytes);
    /* Gives `bytes` to each process, and gets as many from each. */
    void (*exchange)(const void *give, void *get, size_t bytes);
    /* All get what process 0 has there. */
    void (*tell)(void *memory, size_t bytes);
    /* As gather and exchange, going on while the process does: a handle, which `arrived` asks for, and `wait`
     * waits for and frees. */
    void *(*gather_begin)(const void *give, void *get, size_t bytes);
    void *(*exchange_begin)(const void *give, void *get, size_t bytes);
    bool (*arrived)(void *handle);
    void (*wait)(void *handle);
    const char *(*name)(void); /* "Open MPI 4.1.4" */
    void (*leave)(void);       /* when all have ended well */
    void (*abandon)(int code); /* ends all processes */
} AmdimWire;

extern const AmdimWire
    amdim_wire; /* of runtime/shares/mpi.c, which programs of several shares are linked with */

/* ---- the model ---- */

/* A layer of the encoder, as the spec has it. Along a side, location i of its output sees `receptive_field`
 * pixels from receptive_begin + i * receptive_stride on; some of them lie outside of the picture where layers
 * pad. */
typedef struct {
    const char *kind; /* "residual" */
    int number;       /* in the spec's list, from 0 */
    int side, channels;
    int kernel, stride, pad; /* 0, 1 and 0 for a batchnorm */
    int depth;               /* residuals in a block; else 1 */
    int receptive_field, receptive_stride, receptive_begin;
} AmdimLayer;

/* A trained scale. */
typedef struct {
    int scale; /* d */
    int layer; /* the encoder layer that makes f_d: its number in the spec's list, and AmdimModel.layer's row
                */
} AmdimScale;

typedef struct {
    const char *name; /* "1-to-5" */
    int from, to;     /* n and m */
    double weight;
    int located;  /* row of AmdimStep.locations where n > 1, else -1 */
    bool mixture; /* its antecedents are AmdimModel.mixture's components */
} AmdimPair;

/* Antecedents of scale 1 as mixtures (section 3.6): components phi_1^j = phi_1 + W2_j relu(W1 phi_1). */
typedef struct {
    int components, hidden; /* components 0: there is none */
    double temperature;
    int conv1, conv2; /* W1 and all of W2: rows of AmdimModel.tensor */
} AmdimMixture;

typedef struct {
    double flip; /* probability */
    bool has_crop;
    double crop_scale[2], crop_ratio[2], crop_p;
    bool has_translate;
    int translate_max; /* pixels */
    double translate_p;
    bool has_jitter;
    double brightness, contrast, saturation, hue, jitter_p;
    double grayscale; /* probability */
    bool has_blur;
    double blur_sigma[2], blur_p; /* pixels */
    bool has_solarize;
    double solarize_threshold, solarize_p;
} AmdimAugment;

typedef enum { AMDIM_ADAM, AMDIM_SGD } AmdimRule;

typedef struct {
    AmdimRule rule;
    double lr, weight_decay;
    double beta1, beta2, eps; /* Adam */
    bool decoupled;           /* its weight decay: AdamW */
    double momentum;          /* SGD */
} AmdimOptimizer;

typedef struct {
    int64_t epochs, warmup; /* warm-up in steps */
    int milestones;
    const int64_t *milestone; /* epochs */
    double gamma;
    bool has_cosine; /* in place of milestones */
    double cosine;   /* the share of the rate that it ends at */
} AmdimSchedule;

/* A key of the spec and its value: optimizer.adam.lr is 0.0002. */
typedef struct {
    const char *name;
    const char *value; /* as JSON has it; NULL: off */
    bool given;        /* in the spec, or on the compiler's command line; else the default */
} AmdimKey;

/* What `encode` can compute of `images` pictures at a time, with running statistics: f_1 first, then of every
 * trained scale f_d, where that is not f_1, and phi_d. */
typedef struct {
    int scale;    /* d; 0 for the representation f_1 */
    bool raw;     /* f_d itself, of the layer's channels; else its embedding phi_d */
    int images;   /* that one run takes: n */
    int side;     /* 1, or d */
    int channels; /* the layer's, or R */
    /* x (n, H, W, C) -> (n, side, side, channels), which lies in the arena until it is used again */
    const float *(*run)(AmdimPool *pool, char *arena, const float *params, const float *x);
} AmdimFeature;

typedef struct AmdimModel {
    const char *name;   /* the spec's */
    const char *spec;   /* file name the spec was compiled from */
    const char *digest; /* 16 hex digits over the canonical spec: what must match to resume a run */
    int settings;       /* of the canonical spec */
    const char *const *setting;
    int keys; /* but for those of encoder, loss.pairs and target */
    const AmdimKey *key;
    int notes; /* on what in the spec changes nothing */
    const char *const *note;
    const char *compiler; /* amdimc's version */
    const char *cc;       /* the back end's version string */
    const char *march, *target, *blas;
    const char *precision; /* "float32" */
    /* Of precision bfloat16 the same model in float32, whose step `selfcheck` compares with; else NULL. */
    const struct AmdimModel *reference;

    int views, batch, channels, size;
    int shares;              /* R that the batch is cut into, of S = B/R images; N is V*S */
    const AmdimWire *wire;   /* between processes; NULL where there is one share */
    size_t bucket;           /* floats of gradients that processes exchange at a time */
    int buckets;             /* that fill or are on their way at once */
    const float *mean, *std; /* (C) on pixels in 0..1 */
    int embedding_dim;
    AmdimMixture mixture;
    AmdimAugment augment;
    AmdimOptimizer optimizer;
    AmdimSchedule schedule;
    int threads;          /* when --threads is not given */
    double clip, penalty; /* of the loss */

    int tensors;
    const AmdimTensor *tensor;
    size_t param_floats;   /* all tensors, each padded to 16 floats */
    size_t trained_floats; /* of them the trained, which come first */
    int layers;            /* up to the top-most that a pair trains */
    const AmdimLayer *layer;
    int scales;
    const AmdimScale *scale;
    int pairs;
    const AmdimPair *pair;
    int located; /* rows of AmdimStep.locations */

    size_t arena_bytes;    /* for step and every feature's run */
    size_t scratch_bytes;  /* per worker */
    size_t peak_bytes;     /* promised for a whole `train` at `threads` threads */
    size_t thread_bytes;   /* what each thread more than these adds to it */
    size_t data_bytes;     /* of them for a data set's index and for pictures being decoded, together */
    size_t decoding_bytes; /* of these for decoding, however large the index is; both 0: no bound */
    uint64_t memory_limit; /* the spec's target.memory in bytes, 0: none */
    double flop_per_step;  /* products of forward and backward, two per multiply-add */

    bool tiles;          /* its products use the processor's matrix tiles, which the system has to permit */
    void (*start)(void); /* or NULL; called once, before the first step or feature */
    const char *(*openblas_core)(void); /* or NULL: without OpenBLAS; whose kernels it takes */
    void (*step)(AmdimStep *step);
    int features;
    const AmdimFeature *feature;
} AmdimModel;

extern const AmdimModel amdim_model, amdim_reference; /* the latter where the model names it */

#endif
