/* shim.h: a library of a model as a table, the same for all (shim.c). */
#ifndef SHIM_H
#define SHIM_H

#include <stddef.h>
#include <stdint.h>

enum { SHIM_PAIRS = 16 };

typedef struct {
    float loss, penalty, pair_loss[SHIM_PAIRS], pair_accuracy[SHIM_PAIRS];
} ShimResult;

typedef struct {
    const char *name;
    int rank;
    const int *dims;
    size_t count;
} ShimTensor;

typedef struct {
    int channels, size, views, batch, pairs, located, features, dim, tensors;
    size_t params, state, train_bytes, encode_bytes;
    ShimTensor (*tensor)(int number);
    void (*init)(float *params, float *state, uint64_t seed);
    void (*set)(float *params, int tensor, const float *values);
    void (*get)(const float *params, int tensor, float *values);
    void (*encode)(const float *params, void *work, const uint8_t *picture, float *f1);
    void (*encode_float)(const float *params, void *work, const float *x, float *f1);
    void (*encode_fixed)(void *work, const uint8_t *picture, float *f1); /* or NULL */
    void (*put)(void *work, int place, const uint8_t *picture, uint64_t seed, uint64_t epoch,
                uint32_t number);
    void (*put_float)(void *work, int view, int place, const float *x);
    void (*step)(float *params, float *state, void *work, uint64_t seed, uint64_t step, float lr,
                 ShimResult *to);
    void (*gradients)(const float *params, void *work, const int32_t *locations, float *gradients,
                      ShimResult *to);
} Shim;

#endif
