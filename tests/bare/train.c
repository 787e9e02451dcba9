/* train.c: an application that trains from the model's initial values, on pictures in the order of their
 * file, and writes the loss of every step and the weights of the end. */
#include "model.h"

#ifndef STEPS
#define STEPS 40
#endif
#ifndef RATE
#define RATE 1e-3f
#endif
enum { WARMUP = 10, SEED = 1, SAID_EVERY = STEPS < 400 ? 5 : STEPS / 80 };

static _Alignas(ALIGNMENT) float params[CONST(PARAMS)];
static _Alignas(ALIGNMENT) float state[CONST(STATE)];
static _Alignas(ALIGNMENT) unsigned char work[CONST(TRAIN_BYTES)];
static unsigned char picture[PIXELS];

/* Puts the next batch of the file, over and over. */
static void put_batch(File pictures, size_t count, uint64_t step)
{
    for (int place = 0; place < CONST(BATCH); place++) {
        const uint64_t nth = step * CONST(BATCH) + (uint64_t)place;
        const uint32_t number = (uint32_t)(nth % count);
        file_seek(pictures, number * sizeof picture);
        file_read(pictures, picture, sizeof picture);
        CALL(put)(work, place, picture, SEED, nth / count, number);
    }
}

static void say(uint64_t step, const Result *r)
{
    if (step % SAID_EVERY != 0 && step != STEPS - 1)
        return;
    print("step ");
    print_count(step);
    print(": loss ");
    print_real((double)r->loss);
    print("\n");
}

int main(void)
{
    const File pictures = file_open("in", "pictures"), losses = file_new("out", "losses");
    const size_t count = file_bytes(pictures) / sizeof picture;
    uint64_t instructions = 0;
    CALL(init)(params, state, SEED);
    for (uint64_t step = 0; step < STEPS; step++) {
        put_batch(pictures, count, step);
        const float rate = step < WARMUP ? RATE * (float)(step + 1) / WARMUP : RATE;
        const uint64_t begun = board_instructions();
        const Result r = CALL(step)(params, state, work, SEED, step, rate);
        instructions += board_instructions() - begun;
        file_write(losses, &r.loss, sizeof r.loss);
        say(step, &r);
    }
    print_count(instructions / STEPS);
    print(" instructions a step\n");
    file_close(losses);
    file_close(pictures);
    model_write(params, "out", (float *)work, sizeof work);
    return 0;
}
