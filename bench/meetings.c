/* meetings.c: how long processes take to gather so many bytes from each of them, by the program's own wire
 * (AmdimWire): a line of JSON, [[bytes, seconds], ...]. Run under mpirun; see bench/cluster-model.
 *
 * As in a step, each process works before it meets: what counts is the time of rounds that work and meet less
 * that of rounds that only work, so that waiting for processes which have no processor at the moment is in
 * it. */
#include "amdim.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 40, WORK = 3000000, LARGEST = 1 << 22 };

static const size_t sizes[] = {64, 1 << 12, 1 << 16, 1 << 18, 1 << 20, LARGEST};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Some milliseconds of a processor. */
static double work(double x)
{
    for (int i = 0; i < WORK; i++)
        x = x * 0.999999 + 1e-6;
    return x;
}

/* Seconds of ROUNDS; bytes 0: without meeting. */
static double time_rounds(const char *give, char *get, size_t bytes)
{
    static volatile double kept;
    const double begun = now();
    for (int i = 0; i < ROUNDS; i++) {
        kept = work(kept);
        if (bytes > 0)
            amdim_wire.gather(give, get, bytes);
    }
    return now() - begun;
}

static double meeting_seconds(const char *give, char *get, size_t bytes)
{
    const double worked = time_rounds(give, get, 0);
    amdim_wire.gather(give, get, sizes[0]); /* nobody begins before all have worked */
    const double seconds = (time_rounds(give, get, bytes) - worked) / ROUNDS;
    return seconds > 0 ? seconds : 0;
}

int main(void)
{
    int process, processes;
    if (!amdim_wire.join(&process, &processes))
        return 1;
    char *give = calloc(1, LARGEST), *get = malloc((size_t)processes * LARGEST);
    if (give == NULL || get == NULL)
        amdim_wire.abandon(1);
    meeting_seconds(give, get, LARGEST); /* memory is touched, connections are there */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const double seconds = meeting_seconds(give, get, sizes[i]);
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
