/* peak.c: what the processor's multiply-add units do at most: independent chains in registers, no memory.
 *
 * The runtime is compiled once for all machines of an architecture, so the widest units are found while
 * running. Matrix tiles are not among them. */
#include "processor.h"
#include "runtime.h"
#include <stdatomic.h>
#include <time.h>
#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

enum {
    ROUNDS = 1 << 12, /* of a run: some 20 microseconds, between two looks at the clock */
    SLICES = 10,      /* of the time; the fastest counts */
};

/* Defines a run: ROUNDS multiply-adds in each of `chains` chains, which start apart lest a compiler merge
 * them. A multiply-add takes 4 or 5 cycles and a processor has up to 4 units for it, so that 16 chains keep
 * them busy; fewer where there are but 16 registers. */
#define CHAINS(name, attribute, Vec, chains, splat, multiply_add)                                            \
    static attribute float name(void)                                                                        \
    {                                                                                                        \
        Vec sum[chains], factor = splat(0.999f), addend = splat(0.001f);                                     \
        for (int c = 0; c < (chains); c++)                                                                   \
            sum[c] = splat((float)c);                                                                        \
        for (int r = 0; r < ROUNDS; r++)                                                                     \
            _Pragma("GCC unroll 16") for (int c = 0; c < (chains); c++) sum[c] =                             \
                multiply_add(sum[c], factor, addend);                                                        \
        for (int c = 1; c < (chains); c++)                                                                   \
            sum[0] += sum[c];                                                                                \
        return sum[0][0];                                                                                    \
    }

typedef float Four __attribute__((vector_size(16)));
#define SPLAT_FOUR(x)  ((Four){(x), (x), (x), (x)})
#define PLAIN(a, b, c) ((a) * (b) + (c))
enum { MANY = 16, FEW = 12 };

#if defined __x86_64__
CHAINS(run_avx512, __attribute__((target("avx512f"))), __m512, MANY, _mm512_set1_ps, _mm512_fmadd_ps)
CHAINS(run_avx2, __attribute__((target("avx2,fma"))), __m256, FEW, _mm256_set1_ps, _mm256_fmadd_ps)
#endif
#if defined __aarch64__
CHAINS(run_plain, , float32x4_t, MANY, vdupq_n_f32, vfmaq_f32) /* adds to the first */
#else
CHAINS(run_plain, , Four, FEW, SPLAT_FOUR, PLAIN)
#endif

typedef struct {
    float (*run)(void);
    int chains, lanes;
} Units;

static Units widest_units(void)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return (Units){run_avx512, MANY, sizeof(__m512) / sizeof(float)};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (Units){run_avx2, FEW, sizeof(__m256) / sizeof(float)};
#endif
#if defined __aarch64__
    return (Units){run_plain, MANY, sizeof(Four) / sizeof(float)};
#else
    return (Units){run_plain, FEW, sizeof(Four) / sizeof(float)};
#endif
}

typedef struct {
    Units units;
    double until;
    atomic_uint rate; /* MFLOP/s, of all parts */
} Job;

/* A part's rate is over the time that its thread ran, so that other work on the machine does not count. */
static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void multiply(void *job, int part, int worker)
{
    (void)part, (void)worker;
    Job *j = job;
    double runs = 0, begun = thread_seconds();
    volatile float wanted = 0; /* so that the results are */
    do {
        wanted = wanted + j->units.run();
        runs++;
    } while (clock_seconds() < j->until);
    double flop = 2.0 * ROUNDS * j->units.chains * j->units.lanes * runs;
    atomic_fetch_add(&j->rate, (unsigned)(flop / (thread_seconds() - begun) / 1e6));
}

double multiply_add_peak(AmdimPool *pool, double seconds)
{
    int threads = pool_threads(pool), processors = processor_count();
    unsigned best = 0;
    for (int i = 0; i < SLICES; i++) {
        Job job = {.units = widest_units(), .until = clock_seconds() + seconds / SLICES};
        amdim_parallel(pool, multiply, &job, threads < processors ? threads : processors);
        unsigned rate = atomic_load(&job.rate);
        best = rate > best ? rate : best;
    }
    return best / 1e3;
}
