/* int8.h: a streamed weight's numbers as whole ones, each times its column's scale (streamed.h). */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "kernels.h"

typedef int8_t Number;

enum { NUMBERS_ARE_FLOATS = 0 };

INLINE float load_number(const Number *from)
{
    return *from;
}

#if HAS_VECTORS
typedef Number Bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

INLINE Vec load_numbers(const Number *from)
{
    return __builtin_convertvector(*(const Bytes *)(const void *)from, Vec);
}
#else
INLINE Vec load_numbers(const Number *from)
{
    return load_number(from);
}
#endif

/* Numbers of columns from `column` on as what they stand for. */
INLINE Vec scale_numbers(Vec numbers, const float *scale, int column)
{
    return numbers * load(scale + column);
}

INLINE float scale_number(float number, const float *scale, int column)
{
    return number * scale[column];
}

#endif
