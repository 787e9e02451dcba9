/* model.h: how a generated program is written down: its tensors as one list, its memory, its losses. It
 * includes what every program has; products come before it (vectors.h or tiles.h, and those that build on
 * them). */
#ifndef MODEL_H
#define MODEL_H

#include "batchnorm.h"
#include "convolutions.h"
#include "maps.h"
#include "nce.h"
#include "scores.h"

/* A program lists its tensors once, as T(field, name in files, trained, rank, shape, floats, init, bound),
 * and these make of each: a member of Params, which lies as the runtime's block of parameters does; a number;
 * a row of the table that the runtime reads. */
#define SHAPE_OF(...)                                                                                        \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define TENSOR_FIELD(field, name, trained, rank, shape, floats, init, bound)                                 \
    float field[((floats) + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT];
#define TENSOR_NUMBER(field, ...) TENSOR_##field,
#define TENSOR_ROW(field, name, trained, rank, shape, floats, init, bound)                                   \
    [TENSOR_##field] = {                                                                                     \
        name, rank, shape, offsetof(Params, field) / sizeof(float), floats, trained, AMDIM_INIT_##init,      \
        bound},
enum { TENSOR_ALIGNMENT = 16 }; /* floats */

/* Temporaries lie in one arena, each at the place that the compiler planned for it while it lives: so many
 * bytes from its beginning, `arena` in the function at hand. */
#define AT(bytes)     ((float *)(void *)(arena + (bytes)))
#define MAP_AT(bytes) ((Activation *)(void *)(arena + (bytes)))

/* A running statistic that the step moves. */
#define RUNNING(field) (p->field)

/* What a build for a machine that was not known says of itself; else what was planned for. */
#ifdef BUILT_MARCH
#define MARCH_OF(planned) BUILT_MARCH
#else
#define MARCH_OF(planned) planned
#endif
#ifdef BUILT_TARGET
#define TARGET_OF(planned) BUILT_TARGET
#else
#define TARGET_OF(planned) planned
#endif

/* What encodes a feature: segments of the encoder, calls that have `pool`, `arena`, `p` and `x`; the result.
 */
#define FEATURE(name, result, ...)                                                                           \
    static const float *name(AmdimPool *pool, char *arena, const float *params, const float *x)              \
    {                                                                                                        \
        const Params *const p = (const Params *)(const void *)params;                                        \
        (void)p; /* where no layer has weights */                                                            \
        __VA_ARGS__;                                                                                         \
        return result;                                                                                       \
    }

/* A pair's result, its loss, penalty and accuracy, as part of the step's. */
static inline void step_takes_pair(AmdimStep *s, int pair, double weight, const float *result)
{
    s->pair_loss[pair] = result[0];
    s->loss += weight * s->pair_loss[pair];
    s->penalty += result[1];
    s->pair_accuracy[pair] = result[2];
}

#endif
