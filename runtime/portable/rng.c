/* rng.c: Philox4x32-10 behind addresses. The seed keys one block that mixes (time, index); its 128 bits,
 * which no two addresses of a seed share, become the key and half of the counter of the address's own stream.
 * The other half counts the stream's blocks and tells purposes and views apart. */
#include "portable.h"

#include <math.h>

enum { PHILOX_ROUNDS = 10, PHILOX_WORDS = 4 };

static void philox(uint32_t word[static 4], const uint32_t counter[static 4], const uint32_t key[static 2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c0;
        uint64_t product1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

Random random_at(uint64_t seed, RandomPurpose purpose, uint64_t time, uint64_t index, int view)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t address[4] = {(uint32_t)time, (uint32_t)(time >> 32), (uint32_t)index,
                                 (uint32_t)(index >> 32)};
    uint32_t mixed[4];
    philox(mixed, address, key);
    return (Random){
        .key = {mixed[0], mixed[1]},
        .counter = {0, (uint32_t)purpose << 24 | (uint32_t)view << 16, mixed[2], mixed[3]},
        .used = PHILOX_WORDS,
    };
}

uint32_t random_u32(Random *r)
{
    if (r->used == PHILOX_WORDS) {
        philox(r->word, r->counter, r->key);
        if (++r->counter[0] == 0)
            r->counter[1]++;
        r->used = 0;
    }
    return r->word[r->used++];
}

double random_unit(Random *r)
{
    uint32_t high = random_u32(r) >> 5, low = random_u32(r) >> 6;
    return (high * 67108864.0 + low) * 0x1p-53;
}

double random_between(Random *r, double low, double high)
{
    return low + (high - low) * random_unit(r);
}

/* The high half of word * n is uniform once the first 2^32 mod n values of the low half are refused. */
uint32_t random_below(Random *r, uint32_t n)
{
    uint64_t product = (uint64_t)random_u32(r) * n;
    if ((uint32_t)product < n) {
        uint32_t refused = -n % n;
        while ((uint32_t)product < refused)
            product = (uint64_t)random_u32(r) * n;
    }
    return (uint32_t)(product >> 32);
}

void random_skip(Random *r, int units)
{
    for (int i = 0; i < units; i++)
        random_unit(r);
}

double random_normal(Random *r)
{
    double radius = sqrt(-2 * log(1 - random_unit(r)));
    return radius * cos(6.283185307179586 * random_unit(r));
}

void random_order(uint64_t seed, uint64_t epoch, uint32_t *order, uint32_t n)
{
    Random r = random_at(seed, RANDOM_ORDER, epoch, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = random_below(&r, i), last = order[i - 1];
        order[i - 1] = order[j];
        order[j] = last;
    }
}
