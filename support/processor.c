/* processor.c: see processor.h. */
#include "processor.h"
#include <sched.h>
#if defined __x86_64__
#include <cpuid.h>
#endif
#if defined __x86_64__ && defined __linux__
#include <sys/syscall.h>
#include <unistd.h>
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

int processor_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : CPU_SETSIZE;
}
