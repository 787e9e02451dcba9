/* meetings.c: how long processes take to gather so many bytes from each of them, by the program's own wire (AmdimWire): a line
 * of JSON, [[bytes, seconds], ...], the medians of several rounds. Run under mpirun; see bench/cluster-model. */
#include "amdim.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 41, LARGEST = 1 << 22 };

static const size_t sizes[] = {64, 1 << 12, 1 << 16, 1 << 18, 1 << 20, LARGEST};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_seconds(const char *give, char *get, size_t bytes)
{
    double seconds[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        const double begun = now();
        amdim_wire.gather(give, get, bytes);
        seconds[i] = now() - begun;
    }
    qsort(seconds, ROUNDS, sizeof *seconds, ascending);
    return seconds[ROUNDS / 2];
}

int main(void)
{
    int process, processes;
    if (!amdim_wire.join(&process, &processes))
        return 1;
    char *give = calloc(1, LARGEST), *get = malloc((size_t)processes * LARGEST);
    if (give == NULL || get == NULL)
        amdim_wire.abandon(1);
    median_seconds(give, get, LARGEST); /* memory is touched, connections are there */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const double seconds = median_seconds(give, get, sizes[i]);
        if (process == 0)
            printf("%s[%zu, %.9g]", i == 0 ? "[" : ", ", sizes[i], seconds);
    }
    if (process == 0)
        printf("]\n");
    free(give);
    free(get);
    amdim_wire.leave();
    return 0;
}
