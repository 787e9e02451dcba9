/* select.c: which kernel makes each operation, by the table of implementations (rows.def). */
#include "kernel.h"
#include <string.h>

static const struct {
    OpKind kind;
    const Kernel *kernel;
} rows[] = {
#define ROW(operation, name) {OP_##operation, &name},
#include "rows.def"
#undef ROW
};

bool kernel_is_known(const char *name)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        if (!strcmp(rows[i].kernel->name, name))
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
    for (size_t i = 0; i < COUNT(rows); i++) {
        const Kernel *k = rows[i].kernel;
        if (rows[i].kind != op->kind || !can_make(k, g, op))
            continue;
        if (forced ? !strcmp(k->name, forced) : !k->pays || k->pays(g, op))
            return k;
        last = k;
    }
    return last;
}

static int rows_of(OpKind kind)
{
    int count = 0;
    for (size_t i = 0; i < COUNT(rows); i++)
        count += rows[i].kind == kind;
    return count;
}

void select_kernels(Graph *g, const char *forced)
{
    for (int i = 0; i < g->ops; i++) {
        Op *op = g->op[i];
        op->plan = (Plan){.kernel = choose(g, op, forced), .slices = 1};
        const Kernel *k = op->plan.kernel;
        if (k && k->plan)
            k->plan(g, op, &op->plan);
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
    if (rows_of(op->kind) < 2)
        return NULL;
    const char *text = p->kernel->name;
    if (p->outputs)
        text = arena_printf(a, "%s F(%d, %d)", text, p->outputs, op->kernel / op->stride);
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
    Call c = {.arena = a, .net = n, .macro = op_name(op->kind), .shape = "", .constants = "", .fields = ""};
    if (!op->plan.kernel)
        bug("%s of %s has no function", op_name(op->kind), op->label);
    op->plan.kernel->call(&c, op);
    return c;
}
