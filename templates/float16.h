/* float16.h: a streamed weight's numbers as IEEE 754's binary16 (streamed.h). */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "kernels.h"

typedef uint16_t Number;

enum { NUMBERS_ARE_FLOATS = 0 };

INLINE float load_number(const Number *from)
{
    const uint32_t magnitude = (uint32_t)(*from & 0x7fff) << 13;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    return *from & 0x8000 ? value * -0x1p112f : value * 0x1p112f;
}

#if HAS_VECTORS
typedef Number Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

/* Exponent and fraction, moved to where a float has them, are the value times 2^-112. */
INLINE Vec load_numbers(const Number *from)
{
    const Bits bits = __builtin_convertvector(*(const Halves *)(const void *)from, Bits),
               magnitude = (bits & 0x7fff) << 13, sign = (bits & 0x8000) << 16;
    return (Vec)((Bits)((Vec)magnitude * 0x1p112f) | sign);
}
#else
INLINE Vec load_numbers(const Number *from)
{
    return load_number(from);
}
#endif

/* Numbers of columns from `column` on as what they stand for; `scale` is NULL. */
INLINE Vec scale_numbers(Vec numbers, const float *scale, int column)
{
    (void)scale, (void)column;
    return numbers;
}

INLINE float scale_number(float number, const float *scale, int column)
{
    (void)scale, (void)column;
    return number;
}

#endif
