/* shim.c: any library of a model behind names that are the same for all, for tests that load it; written from
 * its header alone. MODEL and UPPER are what its names begin with, HEADER its header. */
#include HEADER
#include "shim.h"

#define PASTE(a, b)    a##_##b
#define EXPANDED(a, b) PASTE(a, b)
#define FUNCTION(name) EXPANDED(MODEL, name)
#define CONSTANT(name) EXPANDED(UPPER, name)

static void gradients(const float *params, void *work, const int32_t *locations, float *to,
                      ShimResult *result)
{
    const FUNCTION(result) r = FUNCTION(gradients)(params, work, locations, to);
    *result = (ShimResult){.loss = r.loss, .penalty = r.penalty};
    for (int i = 0; i < CONSTANT(PAIRS); i++) {
        result->pair_loss[i] = r.pair_loss[i];
        result->pair_accuracy[i] = r.pair_accuracy[i];
    }
}

static void step(float *params, float *state, void *work, uint64_t seed, uint64_t number, float lr,
                 ShimResult *result)
{
    const FUNCTION(result) r = FUNCTION(step)(params, state, work, seed, number, lr);
    *result = (ShimResult){.loss = r.loss, .penalty = r.penalty};
    for (int i = 0; i < CONSTANT(PAIRS); i++)
        result->pair_loss[i] = r.pair_loss[i];
}

static ShimTensor tensor(int number)
{
    const FUNCTION(tensor) *t = &FUNCTION(tensors)[number];
    return (ShimTensor){t->name, t->rank, t->dims, t->count};
}

const Shim shim = {
    .channels = CONSTANT(CHANNELS),
    .size = CONSTANT(SIZE),
    .views = CONSTANT(VIEWS),
    .batch = CONSTANT(BATCH),
    .pairs = CONSTANT(PAIRS),
    .located = CONSTANT(LOCATED),
    .features = CONSTANT(FEATURES),
    .dim = CONSTANT(DIM),
    .tensors = CONSTANT(TENSORS),
    .params = CONSTANT(PARAMS),
    .state = CONSTANT(STATE),
    .train_bytes = CONSTANT(TRAIN_BYTES),
    .encode_bytes = CONSTANT(ENCODE_BYTES),
    .tensor = tensor,
    .init = FUNCTION(init),
    .set = FUNCTION(set),
    .get = FUNCTION(get),
    .encode = FUNCTION(encode),
    .encode_float = FUNCTION(encode_float),
#ifdef FIXED
    .encode_fixed = FUNCTION(encode_fixed),
#endif
    .put = FUNCTION(put),
    .put_float = FUNCTION(put_float),
    .step = step,
    .gradients = gradients,
};
