/* processor.h: what it takes that a process uses all of its processor; for the runtime, the compiler and the
 * benchmarks. */
#ifndef PROCESSOR_H
#define PROCESSOR_H

#include <stdbool.h>

/* Asks for matrix tiles (AMX) for the whole process; Linux keeps 8 KiB more of each of its threads then.
 * False where there are none, or the system refuses. */
bool processor_permits_tiles(void);

/* Whether there are dot products of pairs of bfloat16 (AVX512_BF16) that are faster than multiply-adds of
 * floats. Intel's processors that have matrix tiles, and AVX512_FP16, take four times as long for one. */
bool processor_has_fast_dots(void);

/* Has this program begin again with the same arguments, if its OpenBLAS makes do with `core`'s kernels
 * (openblas_get_corename()) although the processor has wider vectors: a version older than the processor
 * takes those of SSE3. OPENBLAS_CORETYPE says better, and is read when OpenBLAS is loaded. Returns where
 * nothing is gained, or the variable is set. To be called before threads are begun or files are opened, the
 * standard streams apart. */
void processor_begin_again_for_openblas(const char *core, char **argv);

/* Processors this process may use; where the system does not say, more than anyone asks for. */
int processor_count(void);

#endif
