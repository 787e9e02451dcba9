/* digest.c: a digest of bytes, XXH64 of Debian's xxhash.h, whose code is in the header. The state is kept as
 * plain numbers, so that nobody else needs that header. */
#include "support.h"
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH64_state_t) <= sizeof(Digest), "a Digest holds the state of XXH64");

static void keep(Digest *d, const XXH64_state_t *state)
{
    memcpy(d, state, sizeof *state);
}

static XXH64_state_t kept(const Digest *d)
{
    XXH64_state_t state;
    memcpy(&state, d, sizeof state);
    return state;
}

void digest_begin(Digest *d)
{
    XXH64_state_t state;
    XXH64_reset(&state, 0);
    keep(d, &state);
}

void digest_add(Digest *d, const void *bytes, size_t count)
{
    if (count == 0)
        return;
    XXH64_state_t state = kept(d);
    XXH64_update(&state, bytes, count);
    keep(d, &state);
}

uint64_t digest_end(const Digest *d)
{
    XXH64_state_t state = kept(d);
    return XXH64_digest(&state);
}
