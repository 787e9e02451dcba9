/* processor.c: what a system has to permit before a process may use all of its processor. */
#include "runtime.h"
#if defined __x86_64__ && defined __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Linux keeps 8 KiB more of each thread of a process that asks for matrix tiles (its Documentation,
 * arch/x86/xstate). */
bool processor_permits_tiles(void)
{
#if defined __x86_64__ && defined __linux__
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

bool processor_permit_tiles(Fault *f)
{
    return processor_permits_tiles() ||
           fault(
               f,
               "this program was compiled for a processor with matrix tiles (AMX), which this machine lacks "
               "or its system does not permit; compile it here, or for less with --march x86-64-v4");
}
