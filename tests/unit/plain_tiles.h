/* plain_tiles.h: the unit of templates/tiles.h in plain C, for machines without one and for sanitizers. It
 * adds in float, as the processors' does. */
#ifndef PLAIN_TILES_H
#define PLAIN_TILES_H

#define MATRIX_TILES    1
#define TILE_UNIT_GIVEN 1

/* Vectors of 64 bytes go by the stack here, to functions that are all inlined or in this file. */
#pragma GCC diagnostic ignored "-Wpsabi"

#include <stdint.h>
#include <string.h>

typedef union {
    float sum[16][16];
    uint16_t part[16][32];
} PlainTile;

static PlainTile plain_tile[8];
static int plain_tiles_ready;

static inline void tiles_begin(void)
{
    plain_tiles_ready = 1;
}

static inline void tiles_end(void)
{
    plain_tiles_ready = 0;
}

static inline void plain_copy(PlainTile *t, void *memory, size_t bytes, int store)
{
    assert_true(plain_tiles_ready);
    for (int row = 0; row < 16; row++) {
        char *const at = (char *)memory + (size_t)row * bytes;
        if (store)
            memcpy(at, t->sum[row], 64);
        else
            memcpy(t->sum[row], at, 64);
    }
}

static inline float plain_number(uint16_t part)
{
    const uint32_t bits = (uint32_t)part << 16;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline void plain_add(PlainTile *t, const PlainTile *left, const PlainTile *right)
{
    for (int k = 0; k < 32; k++) {
        float by[16];
        for (int column = 0; column < 16; column++)
            by[column] = plain_number(right->part[k / 2][2 * column + k % 2]);
        for (int row = 0; row < 16; row++) {
            const float factor = plain_number(left->part[row][k]);
            for (int column = 0; column < 16; column++)
                t->sum[row][column] += factor * by[column];
        }
    }
}

#define TILE_ZERO(t)              memset(&plain_tile[t], 0, sizeof plain_tile[t])
#define TILE_LOAD(t, from, bytes) plain_copy(&plain_tile[t], (void *)(uintptr_t)(from), bytes, 0)
#define TILE_STORE(t, to, bytes)  plain_copy(&plain_tile[t], to, bytes, 1)
#define TILE_ADD(t, left, right)  plain_add(&plain_tile[t], &plain_tile[left], &plain_tile[right])

#endif
