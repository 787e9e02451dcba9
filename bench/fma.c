/* fma.c: what the processor's multiply-add units can do. usage: fma THREADS [SECONDS]; prints GFLOP/s. */
#include "runtime.h"
#include <stdlib.h>

enum { MAX_THREADS = 1024 };

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    double seconds = argc > 2 ? atof(argv[2]) : 1;
    if (threads < 1 || threads > MAX_THREADS || !(seconds > 0)) {
        fprintf(stderr, "usage: fma THREADS [SECONDS]\n");
        return 2;
    }
    Fault f;
    AmdimPool *pool = pool_new(threads, 1, &f);
    if (!pool) {
        fprintf(stderr, "fma: %s\n", f.text);
        return 1;
    }
    printf("%.2f\n", multiply_add_peak(pool, seconds));
    pool_free(pool);
    return 0;
}
