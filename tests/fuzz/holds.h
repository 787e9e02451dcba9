/* holds.h: how a fuzz target says that something does not hold, and that it hangs. */
#ifndef HOLDS_H
#define HOLDS_H

#include <stdio.h>
#include <stdlib.h>

#define HOLDS(condition, ...)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, __VA_ARGS__);                                                                    \
            fputc('\n', stderr);                                                                             \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* Aborts after so many seconds of a processor's time; 0: no longer. Not libFuzzer's own limit, which counts
 * the time that a paused machine lets pass. */
void watch_time(long seconds);

#endif
