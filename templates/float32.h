/* float32.h: a streamed weight's numbers as floats (streamed.h). */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "kernels.h"

typedef float Number;

enum { NUMBERS_ARE_FLOATS = 1 };

INLINE Vec load_numbers(const Number *from)
{
    return load(from);
}

INLINE float load_number(const Number *from)
{
    return *from;
}

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
