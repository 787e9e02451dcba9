/* shapes.h: convolutions that are no multiple of anything, for tests of their products. */
#ifndef SHAPES_H
#define SHAPES_H

#include "kernels.h"

#include <stdio.h>

enum { IMAGES = 3 };

typedef void EachConv(Conv c, const char *what);

/* Every kernel 1..5 and stride 1..3, with the channels in turn; sides such that the last columns may go
 * unread. */
static void each_conv(EachConv *f)
{
    static const int channels[] = {1, 3, 5, 17, 33};
    int turn = 0;
    for (int kernel = 1; kernel <= 5; kernel++)
        for (int stride = 1; stride <= 3; stride++)
            for (int out_side = 1; out_side <= 4; out_side += 3, turn++) {
                const int side = (out_side - 1) * stride + kernel + turn % stride;
                const Conv c = {IMAGES, side,  channels[turn % 5], out_side, channels[(turn / 5 + turn) % 5],
                                kernel, stride};
                char what[128];
                snprintf(what, sizeof what, "kernel %d, stride %d, %d to %d channels, side %d to %d", kernel,
                         stride, c.in, c.out, side, out_side);
                f(c, what);
            }
}

#endif
