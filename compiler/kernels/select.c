/* select.c: which kernel makes each product: ours tap by tap, by minimal filtering, or by what a ReLU let
 * through; or with `blas: openblas` OpenBLAS's; whichever is the fastest. */
#include "amdimc.h"
#include <string.h>

static bool is_convolution(const Op *op)
{
    return op->kind == OP_CONV || op->kind == OP_CONV_GRAD_X || op->kind == OP_CONV_GRAD_W;
}

/* Our kernels lead wherever they were measured but on plain products by a weight that no second cache holds a
 * panel of, unless they skip zeros; there OpenBLAS's blocking pays (docs/performance.md has the table). */
static bool blas_pays(const Op *op)
{
    enum { LARGE = 1 << 21 }; /* numbers of the weight */
    const Value *w = op->kind == OP_CONV_GRAD_W ? op->out[0] : op->in[1];
    return op->kernel == 1 && op->stride == 1 && value_count(w) >= LARGE;
}

static void select_kernel(const Graph *g, Op *op, Products products, bool openblas)
{
    if (products == PRODUCTS_FASTEST || products == PRODUCTS_WINOGRAD)
        op->winograd = winograd_outputs(op, products == PRODUCTS_WINOGRAD);
    if (!op->winograd && products == PRODUCTS_FASTEST)
        op->sparse = sparse_input(g, op);
    if (openblas && !op->winograd && !op->sparse)
        op->blas = products == PRODUCTS_OPENBLAS || (products == PRODUCTS_FASTEST && blas_pays(op));
}

void select_kernels(Graph *g, Products products)
{
    bool openblas = !strcmp(g->net->spec->target.blas.v, "openblas");
    for (int i = 0; i < g->ops; i++)
        if (is_convolution(g->op[i]))
            select_kernel(g, g->op[i], products, openblas);
}
