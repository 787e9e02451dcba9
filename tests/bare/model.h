/* model.h: the names of the one model that an application is built with, `-DMODEL=tiny -DMODEL_UPPER=TINY`,
 * so that its source serves any; and the files in which the host hands over weights and fetches gradients.
 *
 * Each tensor is a file of its own, float32 in PyTorch's order: weights/encoder.0.weight. */
#ifndef MODEL_H
#define MODEL_H

#include "board.h"

#define TEXT(name)      TEXT_OF(name)
#define TEXT_OF(name)   #name
#define JOIN(a, b)      JOIN_OF(a, b)
#define JOIN_OF(a, b)   a##_##b
#define MODEL_HEADER(m) TEXT(m.h)

#include MODEL_HEADER(MODEL)

#define CALL(name)  JOIN(MODEL, name)
#define CONST(name) JOIN(MODEL_UPPER, name)

enum {
    ALIGNMENT = 64, /* of params, state and work */
    PIXELS = CONST(SIZE) * CONST(SIZE) * CONST(CHANNELS),
    LOCATIONS = CONST(LOCATED) * CONST(VIEWS) * CONST(BATCH),
};

typedef CALL(tensor) Tensor;
typedef CALL(result) Result;

/* `room` is for one tensor at a time. */
void model_read(float *params, const char *folder, float *room, size_t room_bytes);
/* Params, or gradients in their layout; running statistics only where `all`. */
void model_write(const float *params, const char *folder, float *room, size_t room_bytes);

#endif
