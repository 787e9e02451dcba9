/* probe_product.c: the probes' matrix products, in tiles that stay in registers.
 *
 * The runtime is compiled once for all machines of an architecture, so the wide version is chosen while
 * running. */
#include "probe_internal.h"

typedef float Lanes __attribute__((vector_size(PRODUCT_LANES * sizeof(float)), may_alias));

/* One tile of `rows` x PRODUCT_LANES, `rows` being a constant once this is inlined. */
static inline __attribute__((always_inline)) void tile(const Product *p, size_t rows, size_t i, size_t k)
{
    const float *a = p->a + i * p->a_row, *b = p->b + k;
    const size_t depth = p->depth, a_row = p->a_row, a_step = p->a_step, b_step = p->b_step;
    Lanes total[PRODUCT_ROWS] = {0};
    for (size_t s = 0; s < depth; s++, a += a_step, b += b_step)
        for (size_t t = 0; t < rows; t++)
            total[t] += a[t * a_row] * *(const Lanes *)b;
    for (size_t t = 0; t < rows; t++)
        *(Lanes *)(p->out + (i + t) * p->out_step + k) = total[t];
}

#if defined(__x86_64__)
static __attribute__((target("avx2,fma"))) void product_wide(const Product *p)
{
    for (size_t i = 0; i < p->m; i += PRODUCT_ROWS)
        for (size_t k = 0; k < p->n; k += PRODUCT_LANES)
            tile(p, PRODUCT_ROWS, i, k);
}

static bool machine_is_wide(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
static bool machine_is_wide(void)
{
    return false;
}

static void product_wide(const Product *p)
{
    (void)p;
}
#endif

/* Lanes are two registers where those hold four floats, so half the rows fill as many. */
static void product_narrow(const Product *p)
{
    for (size_t i = 0; i < p->m; i += PRODUCT_ROWS / 2)
        for (size_t k = 0; k < p->n; k += PRODUCT_LANES)
            tile(p, PRODUCT_ROWS / 2, i, k);
}

void product(const Product *p)
{
    if (machine_is_wide())
        product_wide(p);
    else
        product_narrow(p);
}
