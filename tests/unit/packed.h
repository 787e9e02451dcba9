/* packed.h: weights as the products want them that the test includes before: vectors.h or tiles.h. */
#ifndef PACKED_H
#define PACKED_H

#include "single.h"

__attribute__((unused)) static float *packed_forward(Conv c, const float *weight)
{
    const int depth = c.kernel * c.kernel * c.in;
    float *packed = new_floats((size_t)(PANELS(c.out) * PANEL_FLOATS(depth)));
    for (int panel = 0; panel < PANELS(c.out); panel++)
        pack_panel(weight, depth, c.out, 1, panel, packed);
    return packed;
}

__attribute__((unused)) static float *packed_backward(Conv c, const float *weight)
{
    const ptrdiff_t tap_floats = PANELS(c.in) * PANEL_FLOATS(c.out);
    float *packed = new_floats((size_t)(c.kernel * c.kernel * tap_floats));
    for (int tap = 0; tap < c.kernel * c.kernel; tap++)
        for (int panel = 0; panel < PANELS(c.in); panel++)
            pack_panel_transposed(weight + tap * c.in * c.out, c.out, c.in, 1, panel,
                                  packed + tap * tap_floats);
    return packed;
}

#endif
