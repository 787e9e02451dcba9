/* encode.c: an application that reads weights and pictures and writes f_1 of each picture.
 *
 * Built with -DFIXED it reads no weights: they are the constants of NAME_weights.c. */
#include "model.h"

#ifdef FIXED
#define WEIGHTS_HEADER(m) TEXT(JOIN(m, weights).h)
#include WEIGHTS_HEADER(MODEL)
#endif

#ifndef FIXED
static _Alignas(ALIGNMENT) float params[CONST(PARAMS)];
static float room[CONST(PARAMS)];
#endif
static _Alignas(ALIGNMENT) unsigned char work[CONST(ENCODE_BYTES)];
static unsigned char picture[PIXELS];
static float f1[CONST(FEATURES)];

static void read_weights(void)
{
#ifndef FIXED
    model_read(params, "weights", room, sizeof room);
#endif
}

static void encode(void)
{
#ifdef FIXED
    CALL(encode_fixed)(work, picture, f1);
#else
    CALL(encode)(params, work, picture, f1);
#endif
}

int main(void)
{
    read_weights();
    const File pictures = file_open("in", "pictures"), features = file_new("out", "f_1");
    const size_t count = file_bytes(pictures) / sizeof picture;
    uint64_t instructions = 0;
    for (size_t i = 0; i < count; i++) {
        file_read(pictures, picture, sizeof picture);
        const uint64_t begun = board_instructions();
        encode();
        instructions += board_instructions() - begun;
        file_write(features, f1, sizeof f1);
    }
    file_close(pictures);
    file_close(features);
    print_count(count);
    print(" pictures encoded, ");
    print_count(instructions / count);
    print(" instructions each\n");
    return 0;
}
