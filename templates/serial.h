/* serial.h: what a library of a model has in the runtime's place: one thread, on memory of the caller's. */
#ifndef SERIAL_H
#define SERIAL_H

#include <stddef.h>

/* What a part of an operation may use while it runs. */
typedef struct {
    char *scratch;
} AmdimPool;

typedef void AmdimPart(void *job, int part, int worker);

/* Every part, one after the other. */
static inline void amdim_parallel(AmdimPool *pool, AmdimPart *run, void *job, int parts)
{
    (void)pool;
    for (int part = 0; part < parts; part++)
        run(job, part, 0);
}

static inline void *amdim_scratch(AmdimPool *pool, int worker)
{
    (void)worker;
    return pool->scratch;
}

/* Calls a function of fixed shape with a job of its type; in a block of its own, so that all jobs have one
 * place on the stack. */
#define RUN(function, Job, ...)                                                                              \
    do {                                                                                                     \
        const Job job_ = {__VA_ARGS__};                                                                      \
        function(pool, job_);                                                                                \
    } while (0)

/* Temporaries lie in one arena, each at the place that was planned for it while it lives: so many bytes from
 * the arena's beginning. */
#define AT(bytes) ((float *)(void *)(arena + (bytes)))

/* Where a tensor begins in params, in floats. */
#define OFFSET(field) (offsetof(Params, field) / sizeof(float))

/* A running statistic, which a step moves in the work memory: params may be constant. */
#define RUNNING(field) (s->running + (OFFSET(field) - TRAINED))

#endif
