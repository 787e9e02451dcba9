/* spec_drawn.h: a Spec written as a spec: every key, no default left to the reader. */
#ifndef SPEC_DRAWN_H
#define SPEC_DRAWN_H

#include "amdimc.h"

/* Reading the text gives an equal Spec, marks aside. */
char *spec_drawn(Arena *a, const Spec *s);
/* Whether two specs say the same: canonical text, name and target. */
bool spec_equal(Arena *a, const Spec *left, const Spec *right);

#endif
