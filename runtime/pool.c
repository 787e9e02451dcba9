/* pool.c: a fixed set of threads that share the parts of one operation at a time.
 *
 * A step has hundreds of operations, many of them shorter than a thread takes to wake. So both sides first
 * spin for as long as parts of an operation differ, some hundred microseconds, and only then sleep.
 * `remaining` is the one thing workers wait on: whoever lowers it owns a part of the operation under way, and
 * the caller starts no other before that part has ended. What the operation is (run, job, low, high) may
 * therefore be read after a part is owned, and only then.
 *
 * Every other worker takes parts from the last one down: so of two threads each comes back to the images that
 * it treated in the operation before, of which its cache may hold the rest. */
#include "processor.h"
#include "runtime.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPINS = 10000, /* pauses before sleeping, of 20 to 40 ns each */
    ALIGNMENT = 64,
};

typedef struct {
    AmdimPool *pool;
    int number;
    pthread_t thread;
} Worker;

struct AmdimPool {
    int threads; /* the caller's among them, as worker 0 */
    int spins;
    char *scratch;
    size_t scratch_stride;
    Worker *worker; /* (threads - 1) started ones */
    int started;

    AmdimPart *run;
    void *job;
    _Alignas(ALIGNMENT) atomic_int remaining;  /* parts nobody owns yet */
    atomic_int low, high;                      /* those owned from the first on, and the end of the others */
    _Alignas(ALIGNMENT) atomic_int unfinished; /* parts that have not ended */

    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    atomic_int sleepers; /* workers that wait for `work` */
    atomic_bool caller_sleeps;
    atomic_bool stopping;
};

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#else
    sched_yield();
#endif
}

/* Runs the parts that are still to be had. */
static void run_parts(AmdimPool *pool, int worker)
{
    int remaining = atomic_load_explicit(&pool->remaining, memory_order_relaxed);
    while (remaining > 0) {
        if (!atomic_compare_exchange_weak_explicit(&pool->remaining, &remaining, remaining - 1,
                                                   memory_order_acquire, memory_order_relaxed))
            continue;
        const int part = worker % 2 ? atomic_fetch_sub_explicit(&pool->high, 1, memory_order_relaxed) - 1
                                    : atomic_fetch_add_explicit(&pool->low, 1, memory_order_relaxed);
        pool->run(pool->job, part, worker);
        if (atomic_fetch_sub(&pool->unfinished, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
        remaining = atomic_load_explicit(&pool->remaining, memory_order_relaxed);
    }
}

static bool work_there(AmdimPool *pool)
{
    return atomic_load(&pool->remaining) > 0 || atomic_load(&pool->stopping);
}

static void wait_for_work(AmdimPool *pool)
{
    for (int i = 0; i < pool->spins; i++) {
        if (work_there(pool))
            return;
        spin_pause();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!work_there(pool))
        pthread_cond_wait(&pool->work, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    Worker *w = argument;
    while (!atomic_load(&w->pool->stopping)) {
        wait_for_work(w->pool);
        run_parts(w->pool, w->number);
    }
    return NULL;
}

/* A flag is set, and then another is read, by exchanges: qemu up to 7.2, for one, lets plain stores of ARM
 * pass the loads behind them, and then nobody would be woken.
 *
 * To be called after `remaining` or `stopping` was set. A worker counts itself as a sleeper before it looks a
 * last time; so either it sees the change or it is seen here. */
static void wake_workers(AmdimPool *pool)
{
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_end(AmdimPool *pool)
{
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load(&pool->unfinished) == 0)
            return;
        spin_pause();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_exchange(&pool->caller_sleeps, true);
    while (atomic_load(&pool->unfinished) > 0)
        pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

void amdim_parallel(AmdimPool *pool, AmdimPart *run, void *job, int parts)
{
    if (pool->threads == 1 || parts <= 1) {
        for (int part = 0; part < parts; part++)
            run(job, part, 0);
        return;
    }
    pool->run = run;
    pool->job = job;
    atomic_store_explicit(&pool->low, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->high, parts, memory_order_relaxed);
    atomic_store(&pool->unfinished, parts);
    atomic_exchange(&pool->remaining, parts);
    wake_workers(pool);
    run_parts(pool, 0);
    wait_for_end(pool);
}

void *amdim_scratch(AmdimPool *pool, int worker)
{
    return pool->scratch + (size_t)worker * pool->scratch_stride;
}

int pool_threads(const AmdimPool *pool)
{
    return pool->threads;
}

static bool start_workers(AmdimPool *pool, Fault *f)
{
    for (; pool->started < pool->threads - 1; pool->started++) {
        Worker *w = &pool->worker[pool->started];
        *w = (Worker){.pool = pool, .number = pool->started + 1};
        int error = pthread_create(&w->thread, NULL, worker_main, w);
        if (error != 0)
            return fault(f, "cannot start thread %d of %d: %s; try fewer --threads", w->number + 1,
                         pool->threads, strerror(error));
    }
    return true;
}

static bool allocate_parts(AmdimPool *pool, size_t scratch_bytes, Fault *f)
{
    size_t threads = (size_t)pool->threads;
    if (scratch_bytes > SIZE_MAX / threads - ALIGNMENT)
        return fault(f, "out of memory: the threads' scratch memory is larger than the machine can address");
    pool->scratch_stride = (scratch_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (pool->scratch_stride == 0)
        pool->scratch_stride = ALIGNMENT;
    pool->scratch = allocate(threads * pool->scratch_stride, "the threads' scratch memory", f);
    pool->worker = allocate(threads * sizeof *pool->worker, "the threads", f);
    return pool->scratch != NULL && pool->worker != NULL;
}

AmdimPool *pool_new(int threads, size_t scratch_bytes, Fault *f)
{
    AmdimPool *pool = allocate_zero(sizeof *pool, "the threads", f);
    if (pool == NULL)
        return NULL;
    pool->threads = threads;
    pool->spins =
        threads <= processor_count() ? SPINS : 0; /* a spinning thread would keep a working one waiting */
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    if (!allocate_parts(pool, scratch_bytes, f) || !start_workers(pool, f)) {
        pool_free(pool);
        return NULL;
    }
    return pool;
}

void pool_free(AmdimPool *pool)
{
    if (pool == NULL)
        return;
    atomic_exchange(&pool->stopping, true);
    wake_workers(pool);
    for (int i = 0; i < pool->started; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->scratch);
    free(pool->worker);
    free(pool);
}
