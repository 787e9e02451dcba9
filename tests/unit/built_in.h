/* built_in.h: the pictures that programs draw themselves, for tests that do not know the runtime. */
#ifndef BUILT_IN_H
#define BUILT_IN_H

#include <stdint.h>

/* The first `count` of the training split, grey, their middle size x size pixels. */
void built_in_pictures(int count, int size, uint8_t *pixels);

#endif
