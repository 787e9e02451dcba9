/* two.c: two models in one program, each of which encodes and trains; it ends well where both losses fall. */
#include "lone.h"
#include "other_one.h"
#include <stdio.h>

enum { STEPS = 30 };

static _Alignas(64) float lone_params[LONE_PARAMS], lone_state[LONE_STATE + 1], lone_f1[LONE_FEATURES];
static _Alignas(64) unsigned char lone_work[LONE_TRAIN_BYTES];
static _Alignas(64) float other_params[OTHER_ONE_PARAMS],
    other_state[OTHER_ONE_STATE + 1], other_f1[OTHER_ONE_FEATURES];
static _Alignas(64) unsigned char other_work[OTHER_ONE_TRAIN_BYTES];
static uint8_t lone_picture[LONE_SIZE * LONE_SIZE * LONE_CHANNELS],
    other_picture[OTHER_ONE_SIZE * OTHER_ONE_SIZE * OTHER_ONE_CHANNELS];

static void draw(uint8_t *picture, size_t bytes, unsigned number)
{
    for (size_t i = 0; i < bytes; i++)
        picture[i] = (uint8_t)((i * (number + 1) * 23 + number * 71) % 251);
}

int main(void)
{
    float lone_first = 0, lone_last = 0, other_first = 0, other_last = 0;
    lone_init(lone_params, lone_state, 1);
    other_one_init(other_params, other_state, 1);
    for (unsigned step = 0; step < STEPS; step++) {
        for (unsigned place = 0; place < LONE_BATCH; place++) {
            draw(lone_picture, sizeof lone_picture, place);
            lone_put(lone_work, (int)place, lone_picture, 1, step, place);
        }
        for (unsigned place = 0; place < OTHER_ONE_BATCH; place++) {
            draw(other_picture, sizeof other_picture, place);
            other_one_put(other_work, (int)place, other_picture, 1, step, place);
        }
        lone_last = lone_step(lone_params, lone_state, lone_work, 1, step, 2e-3f).loss;
        other_last = other_one_step(other_params, other_state, other_work, 1, step, 2e-3f).loss;
        lone_first = step ? lone_first : lone_last;
        other_first = step ? other_first : other_last;
    }
    lone_encode(lone_params, lone_work, lone_picture, lone_f1);
    other_one_encode(other_params, other_work, other_picture, other_f1);
    printf("%g %g %g %g\n", lone_first, lone_last, other_first, other_last);
    return !(lone_last < lone_first && other_last < other_first && lone_f1[0] == lone_f1[0] &&
             other_f1[0] == other_f1[0]);
}
