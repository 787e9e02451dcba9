/* select.c: whose kernel makes each product: ours, or with `blas: openblas` OpenBLAS's where it is the
 * faster. */
#include "amdimc.h"
#include <string.h>

/* OpenBLAS wants its rows as a 1x1 convolution has them. */
static bool blas_can(const Op *op)
{
    return (op->kind == OP_CONV || op->kind == OP_CONV_GRAD_X || op->kind == OP_CONV_GRAD_W) &&
           op->kernel == 1 && op->stride == 1;
}

/* Blocking for the cache pays where both sides of the weight are large; below, our kernels' fused tails win.
 */
static bool blas_pays(const Op *op)
{
    enum { LARGE = 512 };
    const Value *w = op->kind == OP_CONV_GRAD_W ? op->out[0] : op->in[1];
    return w->dims[0] >= LARGE && w->dims[1] >= LARGE;
}

void select_kernels(Graph *g)
{
    bool openblas = !strcmp(g->net->spec->target.blas.v, "openblas");
    for (int i = 0; i < g->ops; i++)
        g->op[i]->blas = openblas && blas_can(g->op[i]) && blas_pays(g->op[i]);
}
