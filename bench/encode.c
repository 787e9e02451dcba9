/* encode.c: pictures a second that a library (amdimc --emit=library) encodes, one by one, on one thread: the
 * median of several rounds. Compiled for a model: MODEL and UPPER are what its names begin with, HEADER its
 * header. */
#define _POSIX_C_SOURCE 200809L
#include HEADER
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PASTE(a, b)    a##_##b
#define EXPANDED(a, b) PASTE(a, b)
#define FUNCTION(name) EXPANDED(MODEL, name)
#define CONSTANT(name) EXPANDED(UPPER, name)

enum { ROUNDS = 15 };

static _Alignas(64) float params[CONSTANT(PARAMS)], state[CONSTANT(STATE) + 1];
static _Alignas(64) unsigned char work[CONSTANT(ENCODE_BYTES)];
static uint8_t picture[CONSTANT(SIZE) * CONSTANT(SIZE) * CONSTANT(CHANNELS)];
static float f1[CONSTANT(FEATURES)];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds_of(int pictures)
{
    const double begun = now();
    for (int i = 0; i < pictures; i++) {
        picture[i % sizeof picture] ^= 1;
        FUNCTION(encode)(params, work, picture, f1);
    }
    return now() - begun;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    double rate[ROUNDS];
    FUNCTION(init)(params, state, 1);
    for (size_t i = 0; i < sizeof picture; i++)
        picture[i] = (uint8_t)(i * 37 % 251);
    /* A round takes a tenth of a second or more. */
    const double once = seconds_of(2) / 2;
    const int pictures = once < 0.1 ? (int)(0.1 / once) + 1 : 1;
    for (int i = 0; i < ROUNDS; i++)
        rate[i] = pictures / seconds_of(pictures);
    qsort(rate, ROUNDS, sizeof *rate, by_size);
    printf("%.1f\n", rate[ROUNDS / 2]);
    return f1[0] != f1[0];
}
