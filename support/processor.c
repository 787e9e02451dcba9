/* processor.c: see processor.h. */
#include "processor.h"
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
#if defined __x86_64__
#include <cpuid.h>
#endif
#if defined __x86_64__ && defined __linux__
#include <sys/syscall.h>
#endif

bool processor_permits_tiles(void)
{
#if defined __x86_64__ && defined __linux__
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

#if defined __x86_64__
/* Of CPUID's leaf 7, in EDX. */
static bool has_fp16(void)
{
    enum { LEAF = 7, AVX512_FP16 = 1 << 23 };
    unsigned a, b, c, d;
    return __get_cpuid_count(LEAF, 0, &a, &b, &c, &d) && d & AVX512_FP16;
}
#endif

bool processor_has_fast_dots(void)
{
#if defined __x86_64__
    return __builtin_cpu_supports("avx512bf16") && !(__builtin_cpu_is("intel") && has_fp16());
#else
    return false;
#endif
}

/* What OpenBLAS calls its kernels for this processor's vectors; NULL: none are known to be better than
 * SSE3's. */
static const char *fitting_core(void)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

void processor_begin_again_for_openblas(const char *core, char **argv)
{
    static const char variable[] = "OPENBLAS_CORETYPE", unknown[] = "Prescott";
    const char *better = fitting_core();
    /* What the system was asked to run; /proc/self/exe may be a loader that was told the program. */
    const char *self = (const char *)(uintptr_t)getauxval(AT_EXECFN); /* NOLINT: an address */
    if (self && better && strcmp(core, unknown) == 0 && !getenv(variable) && setenv(variable, better, 1) == 0)
        execv(self, argv); /* if that fails, products are slow, and right */
}

int processor_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : CPU_SETSIZE;
}
