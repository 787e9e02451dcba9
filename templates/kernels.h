/* kernels.h: what every fixed-shape function of a generated program is made of.
 *
 * One source serves every processor: vectors are the compiler's own (vector_size), only their width and the
 * tile's height depend on the target.
 *
 * Maps lie as pixels x channels, (images, side, side, channels). The functions themselves are macros of
 * convolutions.h, scores.h, nce.h, maps.h and batchnorm.h; their products are in vectors.h and the headers
 * that build on it, or in tiles.h. */
#ifndef KERNELS_H
#define KERNELS_H

#include "amdim.h"
#include "blocks.h"
#include <float.h>
#include <math.h>
#include <string.h>
#if defined MAPS_ARE_BFLOAT16 && MAPS_ARE_BFLOAT16 && defined __AVX512BF16__
#include <immintrin.h>
#endif

#if defined __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif

/* INLINE: part of a fixed-shape function; a build may define it as less, which compiles faster. SHARED: an
 * inner loop that all shapes of a program have in common. */
#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif
#define SHARED static __attribute__((noinline, unused))

/* A function of fixed shape: what runs one operation after the other takes no more of the stack than one. */
#define FUNCTION static __attribute__((noinline))

/* Whether products are made by matrix tiles (tiles.h) or by vectors (vectors.h, sparse.h, ...): a program
 * says which its compiler has planned for; benchmarks take what the processor has. */
#if (defined __AMX_BF16__ || defined __AMXBF16__) && defined __AVX512F__ /* clang 14 spells it otherwise */
#define PROCESSOR_HAS_TILES 1
#else
#define PROCESSOR_HAS_TILES 0
#endif
#ifndef MATRIX_TILES
#define MATRIX_TILES PROCESSOR_HAS_TILES
#endif

/* A tile is ROWS x PANEL sums held in registers: as many as the processor has, less two for a row of the
 * panel and one for the left factor; or four matrix tiles. */
#if defined __ARM_ARCH_PROFILE && __ARM_ARCH_PROFILE == 'M' || defined __riscv && __riscv_xlen == 32
#define HAS_VECTORS 0 /* microcontrollers: compilers would keep a vector in memory, an element at a time */
#else
#define HAS_VECTORS 1
#endif
#if !HAS_VECTORS
enum { LANES = 1, VECTORS = 4, ROWS = 4 }; /* 16 sums of 32 registers */
#elif MATRIX_TILES
enum { LANES = 16, VECTORS = 2, ROWS = 32 };
#elif defined __AVX512F__
enum { LANES = 16, VECTORS = 2, ROWS = 12 };
#elif defined __AVX__
enum { LANES = 8, VECTORS = 2, ROWS = 6 };
#elif defined __aarch64__
enum { LANES = 4, VECTORS = 2, ROWS = 12 };
#elif (defined __arm__ && !defined __ARM_NEON) || defined __riscv
enum { LANES = 4, VECTORS = 1, ROWS = 4 }; /* the same */
#else
enum { LANES = 4, VECTORS = 2, ROWS = 4 };
#endif
enum { PANEL = LANES * VECTORS };
_Static_assert((int)PANEL <= (int)MAX_PANEL, "memory is planned for the widest panel");

/* Whether an L1 of 48 KiB feeds units for vectors of 64 bytes: two multiply-adds a cycle on Intel's servers
 * since Ice Lake and most of AMD's since Zen 5. Zen 4, which has the same instructions but VP2INTERSECT,
 * begins one, in an L1 of 32 KiB. */
#if defined __AVX512VBMI2__ && (!defined __SSE4A__ || defined __AVX512VP2INTERSECT__)
#define WIDE_UNITS 1
#else
#define WIDE_UNITS 0
#endif

#if HAS_VECTORS
typedef float Vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define ELEMENT(v, i) ((v)[i])
#else
typedef float Vec;
#define ELEMENT(v, i) (v)
#endif

#define PANELS(columns) (((columns) + PANEL - 1) / PANEL)
#define MIN_OF(a, b)    ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)    ((a) > (b) ? (a) : (b))
#define CEIL_DIV(a, b)  (((a) + (b)-1) / (b))
#define UNROLL          _Pragma("GCC unroll 16")
#define ROLLED          _Pragma("GCC unroll 1") /* where a compiler would unroll without end */

/* In front of a loop whose rounds do not depend on each other, even where the result lies where an input
 * does, which a compiler has to suspect otherwise. Whatever a round reads on a condition is there without it.
 * VECTORWISE: the same with so long a round that one vector at a time is enough. */
#if defined __clang__
#pragma clang diagnostic ignored "-Wpass-failed" /* where little is optimised they stay loops */
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#define VECTORWISE  _Pragma("clang loop vectorize(assume_safety) interleave(disable) unroll(disable)")
#else
#define ELEMENTWISE _Pragma("GCC ivdep")
#define VECTORWISE  ELEMENTWISE
#endif

/* In front of an innermost loop at an edge, which is not worth the code of vectors. */
#if defined __clang__
#define SCALAR _Pragma("clang loop vectorize(disable) unroll(disable)")
#else
#define SCALAR ROLLED
#endif

/* Piece number `part` of `parts` even pieces of 0..count: [first, last). */
INLINE int piece(int count, int part, int parts)
{
    return (int)((int64_t)count * part / parts);
}

/* The same in whole tiles: where part `part` begins, so that only the last part ends within a tile. */
INLINE int tile_piece(int rows, int part, int parts)
{
    return MIN_OF(ROWS * piece(CEIL_DIV(rows, ROWS), part, parts), rows);
}

/* Hides how a pointer came about. What lies behind it is at constant distances from one register then: a
 * compiler would hold all distances in memory, or address by a base and an index, for which Intel's
 * processors take two operations in place of one. */
#define OPAQUE_POINTER(p) __asm__("" : "+r"(p))

INLINE Vec load(const float *p)
{
    return *(const Vec *)p;
}

INLINE void store(float *p, Vec v)
{
    *(Vec *)p = v;
}

/* ---- numbers of maps ---- */

/* What activations and their gradients are, which a program says (precision bfloat16). Operations that read
 * them as they come do so by these. */
#ifndef MAPS_ARE_BFLOAT16
#define MAPS_ARE_BFLOAT16 0
#endif
#if MAPS_ARE_BFLOAT16
/* A float's first 16 bits, 8 of its mantissa's 24. */
typedef struct {
    uint16_t bits;
} Bfloat16;

INLINE float float_of(Bfloat16 number)
{
    const uint32_t bits = (uint32_t)number.bits << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearest, of two the even one. What arithmetic makes of no number stays one: its bits are not all set.
 */
INLINE Bfloat16 bfloat16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (Bfloat16){(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

typedef Bfloat16 Activation;

INLINE float activation(Activation a)
{
    return float_of(a);
}

INLINE Activation activation_of(float x)
{
    return bfloat16_of(x);
}

#if HAS_VECTORS
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

/* Their bits, in the lower half of words. */
INLINE Words load_bits(const Activation *p)
{
    return __builtin_convertvector(*(const Halves *)(const void *)p, Words);
}

INLINE Vec load_activations(const Activation *p)
{
    return (Vec)(load_bits(p) << 16);
}

/* The bits of the nearest numbers, in the lower half of words. */
INLINE Words rounded_bits(Vec v)
{
    const Words bits = (Words)v;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* The same of a vector; AVX512_BF16 takes denormal numbers as zero. */
INLINE void store_activations(Activation *p, Vec v)
{
#if defined __AVX512BF16__
    _Static_assert(LANES == 16, "a vector is as wide as the instruction's");
    *(Halves *)(void *)p = (Halves)_mm512_cvtneps_pbh((__m512)v);
#else
    *(Halves *)(void *)p = __builtin_convertvector(rounded_bits(v), Halves);
#endif
}
#else
INLINE Vec load_activations(const Activation *p)
{
    return float_of(*p);
}

INLINE void store_activations(Activation *p, Vec v)
{
    *p = bfloat16_of(v);
}
#endif
#else
typedef float Activation;

INLINE float activation(Activation a)
{
    return a;
}

INLINE Activation activation_of(float x)
{
    return x;
}

INLINE Vec load_activations(const Activation *p)
{
    return load(p);
}

INLINE void store_activations(Activation *p, Vec v)
{
    store(p, v);
}
#endif

/* 0 for what is not above it; NaN stays NaN, so that the loss shows it. */
INLINE Vec relu_of(Vec v)
{
#if HAS_VECTORS
    return (Vec)((Bits)v & ~(v <= (Vec){0}));
#else
    return v <= 0 ? 0 : v;
#endif
}

INLINE float relu_number(float x)
{
    return x <= 0 ? 0 : x;
}

/* v where gate > 0, else 0. */
INLINE Vec where_positive(Vec gate, Vec v)
{
#if HAS_VECTORS
    return (Vec)((Bits)v & (gate > (Vec){0}));
#else
    return gate > 0 ? v : 0;
#endif
}

/* Of microcontrollers many have an FPU for single precision alone: a root or an exponential in double would
 * take thousands of instructions. WIDE(x): x as these functions see it. */
#if HAS_VECTORS
INLINE double wide_exp(double x)
{
    return exp(x);
}

INLINE double wide_log(double x)
{
    return log(x);
}

#define WIDE(x) (x)
#else
INLINE double wide_exp(double x)
{
    return expf((float)x);
}

INLINE double wide_log(double x)
{
    return logf((float)x);
}

#define WIDE(x) ((double)(float)(x))
#endif

/* x / sqrt(square). */
#if HAS_VECTORS
INLINE float over_root(float x, double square)
{
    return (float)(x / sqrt(square));
}
#else
INLINE float over_root(float x, double square)
{
    return x / sqrtf((float)square);
}
#endif

/* ---- functions of fixed shape
 *
 * A program has a line for each of its functions: a macro with the function's name, its shape, and how its
 * work is cut. A function takes the pool and a job, which says where the operands lie, and works in rounds of
 * parts that the pool's threads share: float *name(AmdimPool *pool, Job job), which returns the result. Its
 * type, ConvFunction and the like, declares it: `static ConvFunction conv_a, conv_b;`.
 * ------------------------------------------------------------------------------------------------ */

/* A round. `run` does its part number `part`, by `worker`, for the job `*j` and the shape `s`. */
#define ROUND(name, Job, Shape, shape, run)                                                                  \
    static void name(void *job, int part, int worker)                                                        \
    {                                                                                                        \
        const Job *const j = job;                                                                            \
        const Shape s = shape;                                                                               \
        (void)s, (void)part, (void)worker;                                                                   \
        run;                                                                                                 \
    }

/* A function of one round, in `parts` parts; it returns the job's `result`. */
#define FUNCTION_OF_A_ROUND(name, Job, result, Shape, shape, run, parts)                                     \
    ROUND(name##_part, Job, Shape, shape, run)                                                               \
    FUNCTION __typeof__(((Job *)0)->result) name(AmdimPool *pool, Job job)                                   \
    {                                                                                                        \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_part, &job, parts);                                                      \
        return job.result;                                                                                   \
    }

/* A function of two rounds; the numbers of parts may depend on the shape `s`. */
#define FUNCTION_OF_ROUNDS(name, Job, result, Shape, shape, first, firsts, second, seconds)                  \
    ROUND(name##_first, Job, Shape, shape, first)                                                            \
    ROUND(name##_second, Job, Shape, shape, second)                                                          \
    FUNCTION __typeof__(((Job *)0)->result) name(AmdimPool *pool, Job job)                                   \
    {                                                                                                        \
        const Shape s = shape;                                                                               \
        (void)s;                                                                                             \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_first, &job, firsts);                                                    \
        amdim_parallel(pool, name##_second, &job, seconds);                                                  \
        return job.result;                                                                                   \
    }

/* ---- the tile ---- */

/* What follows a product while its tile is in registers: y = mask(relu(sum + bias + addend)), each only where
 * its bit is set; a mask lets through where it is above 0. */
enum { TAIL_NONE = 0, TAIL_BIAS = 1, TAIL_ADD = 2, TAIL_RELU = 4, TAIL_MASK = 8 };

/* As a list of what a macro does with each. */
#define EACH_TAIL(DO)                                                                                        \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)

INLINE void tail_vector(int tail, float *y, Vec sum, const float *bias, const float *addend,
                        const float *mask)
{
    if (tail & TAIL_BIAS)
        sum += load(bias);
    if (tail & TAIL_ADD)
        sum += load(addend);
    if (tail & TAIL_RELU)
        sum = relu_of(sum);
    if (tail & TAIL_MASK)
        sum = where_positive(load(mask), sum);
    store(y, sum);
}

/* The same of a map's. */
INLINE void tail_activations(int tail, Activation *y, Vec sum, const float *bias, const Activation *addend,
                             const Activation *mask)
{
    if (tail & TAIL_BIAS)
        sum += load(bias);
    if (tail & TAIL_ADD)
        sum += load_activations(addend);
    if (tail & TAIL_RELU)
        sum = relu_of(sum);
    if (tail & TAIL_MASK)
        sum = where_positive(load_activations(mask), sum);
    store_activations(y, sum);
}

/* The same for one number, of which what the tail does not have is 0. */
INLINE float tail_number(int tail, float sum, float bias, float addend, float mask)
{
    sum = sum + bias + addend;
    if (tail & TAIL_RELU)
        sum = relu_number(sum);
    return tail & TAIL_MASK && !(mask > 0) ? 0 : sum;
}

#if MAPS_ARE_BFLOAT16
/* to = from, as floats. */
SHARED void widen(const Bfloat16 *from, size_t count, float *to)
{
    ELEMENTWISE for (size_t i = 0; i < count; i++) to[i] = float_of(from[i]);
}

/* to = tail(sum) rounded, of TAIL_ADD, TAIL_RELU and TAIL_MASK; the tail is a constant. */
INLINE void narrow_by(int tail, const float *sum, const Bfloat16 *addend, const Bfloat16 *gate, size_t count,
                      Bfloat16 *to)
{
    const size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        tail_activations(tail, to + i, load(sum + i), NULL, tail & TAIL_ADD ? addend + i : NULL,
                         tail & TAIL_MASK ? gate + i : NULL);
    for (size_t i = whole; i < count; i++)
        to[i] = bfloat16_of(tail_number(tail, sum[i], 0, tail & TAIL_ADD ? float_of(addend[i]) : 0,
                                        tail & TAIL_MASK ? float_of(gate[i]) : 0));
}

/* to = from, rounded. */
SHARED void narrow(const float *from, size_t count, Bfloat16 *to)
{
    narrow_by(TAIL_NONE, from, NULL, NULL, count, to);
}

/* to = tail(sum), rounded: the tails that there are of y and of dx. */
SHARED void narrow_tail(int tail, const float *sum, const Bfloat16 *addend, const Bfloat16 *gate,
                        size_t count, Bfloat16 *to)
{
#define OF(n)                                                                                                \
    case n: narrow_by(n, sum, addend, gate, count, to); break;
    switch (tail) {
        OF(TAIL_NONE)
        OF(TAIL_ADD)
        OF(TAIL_RELU)
        OF(TAIL_ADD | TAIL_RELU)
        OF(TAIL_MASK)
        OF(TAIL_ADD | TAIL_MASK)
    }
#undef OF
}
#endif

/* ---- convolution ---- */

typedef struct {
    int images, side, in; /* x (images, side, side, in), padded where the layer pads */
    int out_side, out;    /* y (images, out_side, out_side, out) */
    int kernel, stride;   /* weight (kernel*kernel*in, out) */
} Conv;

/* In a program's lines: a convolution's shape, of seven numbers in the order above. */
#define SHAPE(...) ((Conv){__VA_ARGS__})

typedef struct {
    const float *x, *weight, *bias, *addend;
    float *y, *packed;
    AmdimPool *pool; /* for a worker's scratch */
} ConvJob;

/* Whether pixels' patches lie one after the other. */
INLINE bool is_pointwise(Conv c)
{
    return c.kernel == 1 && c.stride == 1;
}

/* Where the patch of output pixel p (counted over all images) begins in x. */
INLINE size_t patch(Conv c, int p)
{
    if (is_pointwise(c))
        return (size_t)p * c.in;
    const int area = c.out_side * c.out_side, image = p / area, row = p % area / c.out_side,
              column = p % c.out_side;
    return (((size_t)image * c.side + (size_t)row * c.stride) * c.side + (size_t)column * c.stride) * c.in;
}

/* The same for `count` pixels from `first` on; those from `end` on count as the one before it. Divisions are
 * for the first of them. */
SHARED void patches_at(Conv c, int first, int count, int end, size_t *at)
{
    const size_t step = (size_t)c.stride * c.in, row_step = step * c.side,
                 image_step = ((size_t)c.side - (size_t)c.out_side * c.stride) * c.side * c.in;
    if (is_pointwise(c)) {
        ROLLED for (int i = 0; i < count; i++) at[i] = (size_t)MIN_OF(first + i, end - 1) * c.in;
        return;
    }
    int row = first / c.out_side % c.out_side, column = first % c.out_side;
    size_t patch_at = patch(c, first);
    ROLLED for (int i = 0; i < count; i++)
    {
        at[i] = patch_at;
        if (first + i + 1 >= end)
            continue;
        patch_at += step;
        if (++column < c.out_side)
            continue;
        column = 0;
        patch_at += row_step - step * c.out_side;
        if (++row < c.out_side)
            continue;
        row = 0;
        patch_at += image_step;
    }
}

/* Where a tap's first channel lies in a patch. */
INLINE ptrdiff_t tap_at(Conv c, int tap)
{
    return ((ptrdiff_t)(tap / c.kernel) * c.side + tap % c.kernel) * c.in;
}

/* A convolution's y, pixel by pixel: what a 1x1 kernel reads. */
INLINE Conv pixels_of_y(Conv c)
{
    return (Conv){.images = c.images,
                  .side = c.out_side,
                  .in = c.out,
                  .out_side = c.out_side,
                  .kernel = 1,
                  .stride = 1};
}

INLINE int pixels_of(Conv c) /* of y */
{
    return c.images * c.out_side * c.out_side;
}

INLINE int depth_of_patch(Conv c)
{
    return c.kernel * c.kernel * c.in;
}

typedef struct {
    const float *dy, *weight, *addend, *mask;
    float *dx, *packed; /* packed[tap][panel]: each tap's weights transposed, in panels; or dy (blocked.h) */
    AmdimPool *pool;
} ConvGradXJob;

/* What patches add up in: dx of images [first, last) = the addend, or 0. */
INLINE void conv_grad_x_begin(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    const size_t image = (size_t)c.side * c.side * c.in, begin = (size_t)first * image,
                 bytes = (size_t)(last - first) * image * sizeof(float);
    if (!(tail & TAIL_ADD))
        memset(j->dx + begin, 0, bytes);
    else if (j->dx != j->addend)
        memcpy(j->dx + begin, j->addend + begin, bytes);
}

/* The mask, once every patch has added its share. */
INLINE void conv_grad_x_end(Conv c, const ConvGradXJob *j, int tail, int first, int last)
{
    const size_t image = (size_t)c.side * c.side * c.in;
    if (tail & TAIL_MASK)
        for (size_t i = (size_t)first * image; i < (size_t)last * image; i++)
            j->dx[i] = j->mask[i] > 0 ? j->dx[i] : 0;
}

typedef struct {
    const float *x, *dy;
    float *dw, *partial; /* partial: one dw a slice of the images, where they are sliced */
    bool more;           /* added to what dw holds */
    bool x_is_map; /* as dy always is to vectors.h: of numbers that may be bfloat16; else it is floats */
    AmdimPool *pool;
} ConvGradWJob;

/* The same on maps as a program has them, which some kernels read and write as they come. */
#if MAPS_ARE_BFLOAT16
typedef struct {
    const Bfloat16 *x, *addend;
    const float *weight, *bias;
    Bfloat16 *y;
    float *packed;
    AmdimPool *pool;
} Bfloat16ConvJob;

typedef struct {
    const Bfloat16 *dy, *addend, *mask;
    const float *weight;
    Bfloat16 *dx;
    float *packed;
    AmdimPool *pool;
} Bfloat16ConvGradXJob;

typedef struct {
    const Bfloat16 *x, *dy;
    float *dw, *partial;
    bool more;
    AmdimPool *pool;
} Bfloat16ConvGradWJob;

typedef Bfloat16ConvJob MapConvJob;
typedef Bfloat16ConvGradXJob MapConvGradXJob;
typedef Bfloat16ConvGradWJob MapConvGradWJob;
#else
typedef ConvJob MapConvJob;
typedef ConvGradXJob MapConvGradXJob;
typedef ConvGradWJob MapConvGradWJob;
#endif

/* Of which factor a weight's gradient skips zeros. */
enum { BY_X, BY_DY };

/* to = addend + scale * the sum of the slices, in their order; `count` floats each; addend may be NULL. */
SHARED void sum_slices(const float *partial, int slices, size_t count, float scale, const float *addend,
                       float *to, int part, int parts)
{
    for (size_t i = count * (size_t)part / (size_t)parts; i < count * (size_t)(part + 1) / (size_t)parts;
         i++) {
        float sum = 0;
        for (int slice = 0; slice < slices; slice++)
            sum += partial[(size_t)slice * count + i];
        to[i] = (addend ? addend[i] : 0) + scale * sum;
    }
}

#endif
