/* sgemm.c: OpenBLAS's product of two N x N matrices. usage: sgemm THREADS [N] [TIMES]; prints the median
 * GFLOP/s. */
#include "processor.h"
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    processor_begin_again_for_openblas(openblas_get_corename(), argv);
    int threads = argc > 1 ? atoi(argv[1]) : 1, n = argc > 2 ? atoi(argv[2]) : 2048,
        times = argc > 3 ? atoi(argv[3]) : 9;
    if (threads < 1 || n < 1 || times < 1) {
        fprintf(stderr, "usage: sgemm THREADS [N] [TIMES]\n");
        return 2;
    }
    size_t count = (size_t)n * (size_t)n;
    float *a = malloc(3 * count * sizeof *a), *b = a + count, *c = b + count;
    double *rate = malloc((size_t)times * sizeof *rate);
    if (!a || !rate) {
        perror("sgemm");
        return 1;
    }
    for (size_t i = 0; i < 3 * count; i++)
        a[i] = (float)(i % 17) / 17;
    openblas_set_num_threads(threads);
    for (int i = -1; i < times; i++) { /* one to warm up */
        double start = now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, c, n);
        if (i >= 0)
            rate[i] = 2.0 * n * n * n / (now() - start) / 1e9;
    }
    qsort(rate, (size_t)times, sizeof *rate, by_size);
    printf("%.2f\n", rate[times / 2]);
    free(rate);
    free(a);
    return 0;
}
