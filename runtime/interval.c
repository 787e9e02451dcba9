/* interval.c: how far an accuracy may be off. */
#include "runtime.h"
#include <math.h>

#define NORMAL 1.959963984540054 /* standard deviations on both sides that hold 95 % */

void probe_interval(double share, uint32_t count, double *low, double *high)
{
    double n = count, z2 = NORMAL * NORMAL;
    double centre = (share + z2 / (2 * n)) / (1 + z2 / n);
    double half = NORMAL / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n));
    *low = fmax(0, centre - half);
    *high = fmin(1, centre + half);
}
