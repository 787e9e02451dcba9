/* test_pool.c: every part runs once, on a worker of the pool, whatever the numbers and the timing. */
#include "runtime.h"

#include <stdatomic.h>
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { PARTS_MOST = 300, THREADS_MOST = 5 };

typedef struct {
    AmdimPool *pool;
    atomic_int runs[PARTS_MOST];
    atomic_int busy[THREADS_MOST]; /* workers that run a part just now */
    atomic_int wrong;
    long pause; /* ns in the first part */
} Job;

static void rest(long nanoseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
}

static void part(void *argument, int number, int worker)
{
    Job *job = argument;
    if (worker < 0 || worker >= pool_threads(job->pool) || atomic_fetch_add(&job->busy[worker], 1) != 0)
        atomic_fetch_add(&job->wrong, 1);
    unsigned char *scratch = amdim_scratch(job->pool, worker);
    if ((uintptr_t)scratch % 64 != 0)
        atomic_fetch_add(&job->wrong, 1);
    memset(scratch, number, 100);
    if (number == 0 && job->pause > 0)
        rest(job->pause);
    for (int i = 0; i < 100; i++)
        if (scratch[i] != (unsigned char)number)
            atomic_fetch_add(&job->wrong, 1);
    atomic_fetch_add(&job->runs[number], 1);
    atomic_fetch_sub(&job->busy[worker], 1);
}

static void check_run(AmdimPool *pool, int parts, long pause)
{
    Job job = {.pool = pool, .pause = pause};
    amdim_parallel(pool, part, &job, parts);
    assert_int_equal(atomic_load(&job.wrong), 0);
    for (int i = 0; i < PARTS_MOST; i++)
        assert_int_equal(atomic_load(&job.runs[i]), i < parts);
}

static void test_every_part_runs_once(void **state)
{
    (void)state;
    Fault f;
    for (int threads = 1; threads <= THREADS_MOST; threads++) {
        AmdimPool *pool = pool_new(threads, 100, &f);
        assert_non_null(pool);
        assert_int_equal(pool_threads(pool), threads);
        for (int round = 0; round < 200; round++)
            check_run(pool, round % 7 == 0 ? PARTS_MOST : round % 9, 0);
        pool_free(pool);
    }
}

/* Workers that fell asleep wake up, and a caller that waits for a slow part does too. */
static void test_sleepers_wake(void **state)
{
    (void)state;
    Fault f;
    AmdimPool *pool = pool_new(2, 100, &f);
    assert_non_null(pool);
    for (int round = 0; round < 20; round++) {
        rest(round % 2 == 0 ? 2000000 : 100000);
        check_run(pool, 2, round % 3 == 0 ? 2000000 : 0);
    }
    pool_free(pool);
}

static void count_up(void *argument, int number, int worker)
{
    (void)number, (void)worker;
    atomic_fetch_add((atomic_long *)argument, 1);
}

static void test_back_to_back(void **state)
{
    (void)state;
    Fault f;
    AmdimPool *pool = pool_new(2, 0, &f);
    assert_non_null(pool);
    atomic_long sum = 0;
    for (int round = 0; round < 20000; round++)
        amdim_parallel(pool, count_up, &sum, 3);
    assert_int_equal(atomic_load(&sum), 60000);
    pool_free(pool);
}

static void test_idle_pools_end(void **state)
{
    (void)state;
    Fault f;
    for (int round = 0; round < 50; round++)
        pool_free(pool_new(3, 64, &f));
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_part_runs_once),
        cmocka_unit_test(test_sleepers_wake),
        cmocka_unit_test(test_back_to_back),
        cmocka_unit_test(test_idle_pools_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
