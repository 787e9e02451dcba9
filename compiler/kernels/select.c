/* select.c: which kernel makes each operation: the table of implementations, and the choice from it. */
#include "kernel.h"
#include <string.h>

enum { MOST_ROWS = 8 };

/* For each operation that is a call its rows in the order in which they are asked; the last that can is for
 * want of any that pays. */
static const Kernel *const rows[OP_COUNT][MOST_ROWS] = {
    [OP_CONV] = {&conv_by_winograd, &conv_by_sparse, &conv_by_blas, &conv_by_tiles, &conv_by_direct},
    [OP_CONV_GRAD_X] = {&conv_grad_x_by_winograd, &conv_grad_x_by_sparse, &conv_grad_x_by_masked,
                        &conv_grad_x_by_blas, &conv_grad_x_by_tiles, &conv_grad_x_by_direct},
    [OP_CONV_GRAD_W] = {&conv_grad_w_by_winograd, &conv_grad_w_by_sparse, &conv_grad_w_by_blas,
                        &conv_grad_w_by_tiles, &conv_grad_w_by_direct},
    [OP_SCORES] = {&scores_by_tiles, &scores_by_direct},
    [OP_SCORES_GRAD_A] = {&scores_grad_a_by_tiles, &scores_grad_a_by_direct},
    [OP_SCORES_GRAD_T] = {&scores_grad_t_by_tiles, &scores_grad_t_by_direct},
    [OP_BIAS_GRAD] = {&bias_grad_by_direct},
    [OP_PAD] = {&pad_by_direct},
    [OP_PAD_GRAD] = {&pad_grad_by_direct},
    [OP_POOL] = {&pool_by_direct},
    [OP_POOL_GRAD] = {&pool_grad_by_direct},
    [OP_MEAN] = {&mean_by_direct},
    [OP_GATHER] = {&gather_by_direct},
    [OP_GATHER_GRAD] = {&gather_grad_by_direct},
    [OP_RELU_GRAD] = {&relu_grad_by_direct},
    [OP_ADD] = {&add_by_direct},
    [OP_BATCHNORM] = {&batchnorm_by_direct},
    [OP_BATCHNORM_GRAD] = {&batchnorm_grad_by_direct},
    [OP_NORMALIZE] = {&normalize_by_direct},
    [OP_NCE] = {&nce_by_direct},
    [OP_NCE_GRAD] = {&nce_grad_by_direct},
};

bool kernel_is_known(const char *name)
{
    for (int kind = 0; kind < OP_COUNT; kind++)
        for (int i = 0; i < MOST_ROWS && rows[kind][i]; i++)
            if (!strcmp(rows[kind][i]->name, name))
                return true;
    return false;
}

static bool can_make(const Kernel *k, const Graph *g, const Op *op)
{
    return !k->can || k->can(g, op);
}

/* The first that pays, or the one forced; else the last that can. */
static const Kernel *choose(const Graph *g, const Op *op, const char *forced)
{
    const Kernel *last = NULL;
    for (int i = 0; i < MOST_ROWS && rows[op->kind][i]; i++) {
        const Kernel *k = rows[op->kind][i];
        if (!can_make(k, g, op))
            continue;
        if (forced ? !strcmp(k->name, forced) : !k->pays || k->pays(g, op))
            return k;
        last = k;
    }
    return last;
}

void select_kernels(Graph *g, const char *forced)
{
    for (int i = 0; i < g->ops; i++) {
        Op *op = g->op[i];
        op->plan = (Plan){.kernel = choose(g, op, forced), .slices = 1};
        if (op->plan.kernel)
            op->plan.kernel->plan(g, op, &op->plan);
        else if (op->chunk)
            op->plan.arena_floats = op->chunk->arena_bytes / sizeof(float);
    }
}

bool kernel_halves(const Graph *g, const Op *op)
{
    return op->kind == OP_CONV && (sparse_operand(g, op) || winograd_pays(op));
}

const char *op_kernel_name(const Op *op)
{
    return op->plan.kernel ? op->plan.kernel->name : "none";
}

const char *op_kernel_text(Arena *a, const Op *op)
{
    const Plan *p = &op->plan;
    if (!p->kernel || !rows[op->kind][1])
        return NULL;
    const char *text = p->kernel->name;
    if (p->outputs)
        text = arena_printf(a, "%s %dx%d", text, p->outputs, p->outputs);
    if (p->zeros && op->kind == OP_CONV_GRAD_W)
        text = arena_printf(a, "%s by %s", text, p->zeros == op->in[CONV_GRAD_W_X] ? "x" : "dy");
    if (p->cells)
        text = arena_printf(a, "%s by cells", text);
    return p->slices > 1 ? arena_printf(a, "%s in %d slices", text, p->slices) : text;
}

bool op_includes(const Op *op, const char *template_name)
{
    const char *const *t = op->plan.kernel ? op->plan.kernel->templates : NULL;
    for (; t && *t; t++)
        if (!strcmp(*t, template_name))
            return true;
    return false;
}

Call op_call(Arena *a, const Net *n, const Op *op)
{
    Call c = {.arena = a, .net = n, .macro = op_name(op->kind), .constants = "", .fields = ""};
    if (!op->plan.kernel)
        bug("%s of %s has no function", op_name(op->kind), op->label);
    op->plan.kernel->call(&c, op);
    return c;
}
