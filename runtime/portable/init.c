/* init.c: initial values of tensors (portable.h). */
#include "portable.h"

void init_constant(size_t count, float value, float *ours)
{
    for (size_t i = 0; i < count; i++)
        ours[i] = value;
}

void init_uniform(Random random, int outs, int ins, int taps, double bound, float *ours)
{
    const size_t rows = (size_t)ins, columns = (size_t)outs;
    for (size_t o = 0; o < columns; o++)
        for (size_t i = 0; i < rows; i++)
            for (size_t tap = 0; tap < (size_t)taps; tap++)
                ours[(tap * rows + i) * columns + o] = (float)random_between(&random, -bound, bound);
}

void init_diagonal(int outs, int ins, float *ours)
{
    for (int i = 0; i < ins && outs >= ins; i++)
        ours[i * outs + i] = 1;
}
