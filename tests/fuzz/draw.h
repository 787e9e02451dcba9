/* draw.h: valid specs at random. */
#ifndef DRAW_H
#define DRAW_H

#include "amdimc.h"

/* The spec of a seed: every feature of the language, small enough to be interpreted in about a second. It has
 * no source and no marks; spec_drawn gives it both. */
Spec *draw_spec(Arena *a, uint64_t seed);

#endif
