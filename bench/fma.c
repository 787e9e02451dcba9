/* fma.c: what the processor's multiply-add units can do: independent chains in registers, no memory.
 * usage: fma THREADS [SECONDS]; prints GFLOP/s. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined __AVX512F__
enum { LANES = 16 };
#elif defined __AVX__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { CHAINS = 12, ROUNDS = 1 << 16, MAX_THREADS = 64 };
typedef float Vec __attribute__((vector_size(4 * LANES)));

/* A function of vectors: clang splits those of 64 bytes into halves where none is passed on. */
static inline __attribute__((always_inline)) Vec multiply_add(Vec sum, Vec factor, Vec addend)
{
    return sum * factor + addend;
}

static double seconds_wanted;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Writes the rate to *result, a double. */
static void *chains(void *result)
{
    Vec sum[CHAINS], factor, addend;
    for (int i = 0; i < LANES; i++) {
        factor[i] = 0.999f;
        addend[i] = 0.001f;
    }
    for (int c = 0; c < CHAINS; c++)
        sum[c] = addend;
    double start = now(), rounds = 0;
    do {
        for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 16
            for (int c = 0; c < CHAINS; c++)
                sum[c] = multiply_add(sum[c], factor, addend);
        rounds += ROUNDS;
    } while (now() - start < seconds_wanted);
    double rate = rounds * CHAINS * LANES * 2 / (now() - start) / 1e9;
    for (int c = 0; c < CHAINS; c++)
        rate += 1e-30 * (double)sum[c][0]; /* so that the sums are wanted */
    *(double *)result = rate;
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    seconds_wanted = argc > 2 ? atof(argv[2]) : 1;
    if (threads < 1 || threads > MAX_THREADS || !(seconds_wanted > 0)) {
        fprintf(stderr, "usage: fma THREADS [SECONDS]\n");
        return 2;
    }
    pthread_t thread[MAX_THREADS];
    double rate[MAX_THREADS], sum = 0;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, chains, &rate[i])) {
            perror("fma");
            return 1;
        }
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        sum += rate[i];
    }
    printf("%.2f\n", sum);
    return 0;
}
