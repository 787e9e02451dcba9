/* embedding.c: what a step says of its embeddings, as floats. */
#include "runtime.h"
#include <string.h>

void step_embedding(const AmdimStep *step, int scale, size_t first, size_t count, float *to)
{
    if (!step->narrow_embeddings) {
        memcpy(to, (const float *)step->embedding[scale] + first, count * sizeof *to);
        return;
    }
    const uint16_t *from = (const uint16_t *)step->embedding[scale] + first;
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16; /* a float's first half */
        memcpy(&to[i], &bits, sizeof to[i]);
    }
}
