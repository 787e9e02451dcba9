/* resizer.c: the memory of a resizer (portable/resize.c), for pictures of any size. */
#include "augment_internal.h"
#include <stdlib.h>

static bool axis_init(Axis *a, int size, Fault *f)
{
    size_t count = (size_t)size;
    a->begin = allocate(count * sizeof *a->begin, "resizing pictures", f);
    a->end = allocate(count * sizeof *a->end, "resizing pictures", f);
    return a->begin && a->end;
}

bool resizer_init(Resizer *z, int size, int channels, Fault *f)
{
    size_t count = (size_t)size, taps = (size_t)resizer_taps(PICTURE_SIDE, size);
    *z = (Resizer){.size = size, .channels = channels};
    z->row = allocate(count * (size_t)channels * sizeof *z->row, "resizing pictures", f);
    z->weight = allocate(count * taps * sizeof *z->weight, "resizing pictures", f);
    z->sum = allocate(count * sizeof *z->sum, "resizing pictures", f);
    return axis_init(&z->across, size, f) && axis_init(&z->down, size, f) && z->row && z->weight && z->sum;
}

void resizer_free(Resizer *z)
{
    free(z->across.begin);
    free(z->across.end);
    free(z->down.begin);
    free(z->down.end);
    free(z->weight);
    free(z->sum);
    free(z->row);
}

size_t resizer_bytes(const Resizer *z)
{
    return (size_t)z->size * (size_t)z->across.taps * sizeof *z->weight;
}

void resizer_release(Resizer *z)
{
    pages_give_back(z->weight, KEPT, resizer_bytes(z));
}
