/* update.h: the update of a block of elements, to be inlined for a processor's vectors (portable.h). */
#ifndef UPDATE_H
#define UPDATE_H

#include "portable.h"
#include <math.h>

/* The same bits however many of them go together. */
static inline __attribute__((always_inline)) void adam_elements(const AdamStep *a, size_t count,
                                                                float *restrict p,
                                                                const float *restrict gradient,
                                                                float *restrict m, float *restrict v)
{
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i] + a->decay * p[i];
        m[i] += (g - m[i]) * a->new1;
        v[i] = a->beta2 * v[i] + a->new2 * g * g;
        p[i] = a->keep * p[i] - a->rate * m[i] / (sqrtf(v[i]) * a->root_correction + a->eps);
    }
}

#endif
