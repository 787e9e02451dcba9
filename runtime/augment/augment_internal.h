/* augment_internal.h: what augment.c is made of besides portable/: the memory of a resizer. */
#ifndef AUGMENT_INTERNAL_H
#define AUGMENT_INTERNAL_H

#include "runtime.h"

enum { KEPT = 32 << 10 }; /* bytes of a buffer that stay for the next picture */

/* Buffers large enough for every picture; what is not needed is never touched. */
bool resizer_init(Resizer *z, int size, int channels, Fault *f);
void resizer_free(Resizer *z);
size_t resizer_bytes(const Resizer *z); /* that it holds once it is aimed */
void resizer_release(Resizer *z);       /* large buffers go back to the system, whether or not it began */

#endif
