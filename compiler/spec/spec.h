/* spec.h: a spec, typed, each value with the place it came from. docs/language.md has the language. */
#ifndef SPEC_H
#define SPEC_H

#include "diag.h"

/* ---- spec.c: YAML -> Spec ---- */

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

/* Of products, and of what they are made of. */
typedef enum { PRECISION_FLOAT32, PRECISION_BFLOAT16X3, PRECISION_BFLOAT16, PRECISIONS } Precision;
extern const char *const precision_names[PRECISIONS];

typedef enum { LAYER_CONV, LAYER_RESIDUAL, LAYER_BLOCK, LAYER_POOL, LAYER_BATCHNORM } LayerKind;
typedef struct {
    LayerKind kind;
    Mark at; /* of the layer's name */
    Int out, kernel, stride, pad;
    Int depth;      /* block; 1 in a residual */
    bool reflect;   /* conv: pad_mode */
    bool relu;      /* conv: activation */
    bool maximum;   /* pool: kind */
    Flag batchnorm; /* conv, residual, block */
} SpecLayer;

typedef struct {
    Int from, to; /* n and m */
    Real weight;
    Mark at;
} SpecPair;

typedef struct {
    bool on;
    Mark at; /* of its key */
    Real p;
    Real low, high;             /* crop: scale; blur: sigma */
    Real ratio_low, ratio_high; /* crop */
    Int max;                    /* translate */
    Real brightness, contrast, saturation, hue;
    Real threshold; /* solarize */
} SpecAugmentStep;

typedef struct {
    bool on;
    Mark at; /* of its key */
    Int components, hidden;
    Real temperature;
} SpecMixture;

/* Weights that an encoder reads: the parameters, or constants of a file of its own. */
typedef enum { WEIGHTS_ARE_PARAMS, WEIGHTS_FLOAT32, WEIGHTS_FLOAT16, WEIGHTS_INT8 } WeightType;

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
        SpecMixture mixture;
    } embedding;
    struct {
        int pairs;
        SpecPair *pair;
        Real clip, penalty;
    } loss;
    struct {
        Real flip, grayscale; /* probabilities; 0 is off */
        SpecAugmentStep crop, translate, jitter, blur, solarize;
    } augment;
    struct {
        bool sgd;       /* else Adam */
        Flag decoupled; /* Adam's weight decay: AdamW */
        Real lr, weight_decay, beta1, beta2, eps, momentum;
    } optimizer;
    struct {
        Int epochs, warmup;
        int milestones;
        Mark milestones_at; /* of their list */
        Int *milestone;
        Real gamma;
        bool has_cosine; /* in place of milestones and gamma */
        Real cosine;
    } schedule;
    struct {
        Text march, blas; /* blas: "openblas" or "none" */
        Int threads;
        bool all_processors; /* the threads are as many as this machine has */
        Int memory;          /* bytes; 0: no limit */
        Precision precision;
        Mark precision_at;
        Int ranks; /* shares that the batch is cut into */
        /* What target_processor and the form that is made know: */
        bool tiles;         /* the processor multiplies by matrix tiles */
        bool dots;          /* and maps of bfloat16 by dot products of pairs */
        bool is_static;     /* a program without shared libraries */
        bool is_library;    /* C functions of one thread on memory of the caller's */
        bool is_bare;       /* for a machine without an operating system, where memory and code are short */
        int panel;          /* columns of a packed panel that memory is planned for; 0: the widest there is */
        WeightType weights; /* what an encoder reads */
    } target;
} Spec;

/* "optimizer.adam.lr=1e-4": a key by its path, and one value, as YAML. */
typedef struct {
    const char *text;     /* as it was typed: KEY=VALUE, or KEY=VALUE,VALUE */
    size_t key;           /* bytes of the key, which begins it */
    size_t begin, length; /* the value's place */
} Setting;

/* Options that each set one key, which has the option's name, in a section or none: all that the command
 * lines, sweep, --tune and the generated READMEs know of them. X(KIND, name, section) */
#define OVERRIDES(X)                                                                                         \
    X(BATCH, "batch", NULL)                                                                                  \
    X(MARCH, "march", "target")                                                                              \
    X(THREADS, "threads", "target")                                                                          \
    X(BLAS, "blas", "target")                                                                                \
    X(MEMORY, "memory", "target")                                                                            \
    X(PRECISION, "precision", "target")                                                                      \
    X(RANKS, "ranks", "target")
#define OVERRIDE_KIND(KIND, name, section) OVERRIDE_##KIND,
typedef enum { OVERRIDES(OVERRIDE_KIND) OVERRIDE_KINDS } OverrideKind;
typedef struct {
    const char *name;    /* "march": of the option and of the key */
    const char *section; /* "target", or NULL: the top level */
} OverrideOption;
extern const OverrideOption override_option[OVERRIDE_KINDS];

/* What the command line changes; NULL or 0 where it does not. */
typedef struct {
    const char *pairs;
    const char *value[OVERRIDE_KINDS];
    int settings;
    const Setting *setting; /* each is put over what those before it have made */
} Overrides;
/* Their rows in getopt's table, and what option_next returns for each. */
enum { OVERRIDE_OPTION = 512 };
#define OVERRIDE_ROW(KIND, name, section) {name, required_argument, NULL, OVERRIDE_OPTION + OVERRIDE_##KIND},
/* Takes what option_next returned; false where it is none of these. */
bool override_take(Overrides *o, int option, const char *value);

/* Reads the whole language (docs/language.md) and the ranges it states. All independent errors are
 * reported; NULL when there was one. `source` must outlive the Spec. */
Spec *spec_read(Arena *a, Diagnostics *d, Source *source, const Overrides *o);
/* Reads a file as a source; NULL with a message on d's stream (path, strerror) when it cannot be read. */
Source *source_read(Arena *a, Diagnostics *d, const char *path);
/* The spec with those values in it, as YAML; and of it the value at a path ("optimizer.adam.lr") on one line,
 * or NULL where it is absent. The spec and the overrides are such as spec_read takes. */
char *spec_text(Arena *a, Source *source, const Overrides *o);
const char *spec_value(Arena *a, Source *source, const Overrides *o, const char *path);
const char *layer_kind_name(LayerKind kind); /* "residual" */
/* All of a layer but its channels: "block 4x4 stride 2 depth 3 batchnorm". */
const char *layer_text(Arena *a, const SpecLayer *layer);
/* Pixels that the widest blur reaches: its Gaussian is cut off there (gaussian_radius in runtime/portable/).
 */
int blur_radius(const Spec *s);
/* A canonical text of all that decides what is trained (all but name and, of the target, what is not
 * precision or ranks): equal for equal runs. */
char *spec_canonical(Arena *a, const Spec *s);

/* ---- settings.c, notes.c: what a spec comes to ---- */

typedef struct {
    const char *key;   /* "optimizer.adam.lr" */
    const char *value; /* as YAML and JSON have it: 0.0002, [0.8, 0.999], true; NULL: off */
    bool is_word;      /* which JSON has in quotes */
    Mark at;           /* without a source where it is the default */
} KeyValue;
/* Every key but name, encoder and pairs, in the order of docs/language.md. */
KeyValue *spec_settings(Arena *a, const Spec *s, bool with_target, int *count);

typedef struct {
    const char *text;
    Mark at;
} Note;
/* Augmentations that change nothing. */
Note *augment_notes(Arena *a, const Spec *s, int *count);
/* Shows these, and a schedule that a run of so many epochs does not reach the end of. */
void spec_notes(Arena *a, Diagnostics *d, const Spec *s);

#endif
