/* statistics.c: figures over samples. */
#include "support.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NORMAL 1.959963984540054 /* standard deviations on both sides that hold 95 % */

void share_interval(double share, uint32_t count, double *low, double *high)
{
    double n = count, z2 = NORMAL * NORMAL;
    double centre = (share + z2 / (2 * n)) / (1 + z2 / n);
    double half = NORMAL / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n));
    *low = share <= 0 ? 0 : fmax(0, centre - half); /* where both are equal but for rounding */
    *high = share >= 1 ? 1 : fmin(1, centre + half);
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double median(double *value, size_t count)
{
    qsort(value, count, sizeof *value, by_value);
    return (value[(count - 1) / 2] + value[count / 2]) / 2;
}

void weigh_middle_half(const double *value, size_t count, double *weight)
{
    memcpy(weight, value, count * sizeof *value);
    qsort(weight, count, sizeof *weight, by_value);
    const double low = weight[count / 4], high = weight[count - 1 - count / 4];
    size_t counted = 0;
    for (size_t i = 0; i < count; i++)
        counted += value[i] >= low && value[i] <= high;
    for (size_t i = 0; i < count; i++)
        weight[i] = value[i] >= low && value[i] <= high ? 1.0 / (double)counted : 0;
}
