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

static int rows_of(OpKind kind)
{
    int count = 0;
    for (size_t i = 0; i < COUNT(rows); i++)
        count += rows[i].kind == kind;
    return count;
}

bool product_is_known(const char *name)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows_of(rows[i].kind) > 1 && !strcmp(op_name(rows[i].kind), name))
            return true;
    return false;
}

static bool is_among(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

int kernel_names(const char *into[MOST_KERNELS])
{
    int count = 0;
    for (size_t i = 0; i < COUNT(rows) && count < MOST_KERNELS; i++) {
        const char *name = rows[i].kernel->name;
        if (rows_of(rows[i].kind) > 1 && !is_among(name, into, count))
            into[count++] = name;
    }
    return count;
}

bool kernel_is_known(const char *name)
{
    const char *names[MOST_KERNELS];
    return is_among(name, names, kernel_names(names));
}

static bool can_make(const Kernel *k, const Graph *g, const Op *op)
{
    return !k->can || k->can(g, op);
}

/* The one so named that can, or NULL. */
static const Kernel *named(const Graph *g, const Op *op, const char *name)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].kind == op->kind && !strcmp(rows[i].kernel->name, name) &&
            can_make(rows[i].kernel, g, op))
            return rows[i].kernel;
    return NULL;
}

static const Kernel *first_that_pays(const Graph *g, const Op *op)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        const Kernel *k = rows[i].kernel;
        if (rows[i].kind == op->kind && can_make(k, g, op) && (!k->pays || k->pays(g, op)))
            return k;
    }
    return NULL;
}

static const Kernel *last_that_can(const Graph *g, const Op *op)
{
    const Kernel *last = NULL;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].kind == op->kind && can_make(rows[i].kernel, g, op))
            last = rows[i].kernel;
    return last;
}

static const Kernel *choose(const Graph *g, const Op *op, const char *forced)
{
    const Kernel *k = forced ? named(g, op, forced) : first_that_pays(g, op);
    return k ? k : last_that_can(g, op);
}

static const Choice *choice_for(const Choices *c, const Op *op)
{
    for (int i = 0; c && i < c->count; i++)
        if (!strcmp(c->choice[i].product, op_name(op->kind)) && !strcmp(c->choice[i].layer, op->label))
            return &c->choice[i];
    return NULL;
}

static Plan begin_plan(const Graph *g, const Op *op, const Choices *c)
{
    const Choice *chosen = choice_for(c, op);
    const Kernel *k = chosen ? named(g, op, chosen->kernel) : NULL;
    if (k)
        return (Plan){
            .kernel = k, .slices = 1, .asked_slices = chosen->slices, .asked_outputs = chosen->outputs};
    return (Plan){.kernel = choose(g, op, c ? c->forced : NULL), .slices = 1};
}

static void plan_op(const Graph *g, Op *op)
{
    const Kernel *k = op->plan.kernel;
    if (k && is_on_bfloat16(op))
        plan_bfloat16(g, op);
    else if (k && k->plan)
        k->plan(g, op, &op->plan);
    else if (op->chunk)
        op->plan.arena_floats = op->chunk->arena_bytes / sizeof(float);
}

void select_kernels(Graph *g, const Choices *c)
{
    for (int i = 0; i < g->ops; i++) {
        g->op[i]->plan = (Plan){0};
        g->op[i]->plan = begin_plan(g, g->op[i], c);
        plan_op(g, g->op[i]);
    }
}

/* ---- other ways ---- */

bool choice_is_made(const Choice *c, const Op *op)
{
    return op->plan.kernel && !strcmp(op->plan.kernel->name, c->kernel);
}

/* Ways to make one operation, as they are found. */
typedef struct {
    const Graph *graph;
    const Op *op;
    Choice *into;
    int count, most;
} Ways;

static bool is_there(const Ways *w, const Choice *c)
{
    for (int i = 0; i < w->count; i++)
        if (!strcmp(w->into[i].kernel, c->kernel) && w->into[i].slices == c->slices &&
            w->into[i].outputs == c->outputs)
            return true;
    return false;
}

/* What comes of it, for a kernel may take less than it is asked for. What takes much more memory than the
 * operation's own plan is no way. */
static Plan add_way(Ways *w, const Kernel *k, int slices, int outputs)
{
    enum { LITTLE = 1 << 21 }; /* floats */
    Op tried = *w->op;
    tried.plan = (Plan){.kernel = k, .slices = 1, .asked_slices = slices, .asked_outputs = outputs};
    plan_op(w->graph, &tried);
    const Choice c = {.product = op_name(tried.kind),
                      .layer = tried.label,
                      .kernel = k->name,
                      .slices = tried.kind == OP_CONV_GRAD_W && (tried.plan.slices > 1 || slices)
                                    ? tried.plan.slices
                                    : 0, /* of other products they are not asked for */
                      .outputs = tried.plan.outputs};
    const bool fits =
        tried.plan.arena_floats <= LITTLE || tried.plan.arena_floats <= w->op->plan.arena_floats;
    if (w->count < w->most && fits && !is_there(w, &c))
        w->into[w->count++] = c;
    return tried.plan;
}

/* Cuts of a sum, and sizes of a tile, around those that the kernel takes of itself. */
static void add_ways(Ways *w, const Kernel *k)
{
    enum { MANY = 8 };
    const Plan p = add_way(w, k, 0, 0);
    if (p.outputs)
        add_way(w, k, 0, p.outputs == 2 ? 3 : 2);
    if (w->op->kind != OP_CONV_GRAD_W || p.outputs || !strcmp(k->name, "openblas"))
        return;
    if (p.slices > 1)
        add_way(w, k, 1, 0);
    add_way(w, k, p.slices > 1 ? (p.slices + 1) / 2 : MANY, 0);
    add_way(w, k, 2 * p.slices, 0);
}

int kernel_choices(const Graph *g, const Op *op, Choice *into, int most)
{
    Ways w = {.graph = g, .op = op, .into = into, .most = most};
    if (rows_of(op->kind) < 2 || !op->plan.kernel)
        return 0;
    add_way(&w, op->plan.kernel, op->plan.asked_slices, op->plan.asked_outputs);
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].kind == op->kind && can_make(rows[i].kernel, g, op))
            add_ways(&w, rows[i].kernel);
    return w.count;
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
    if (is_on_bfloat16(op))
        call_bfloat16(&c, op);
    return c;
}
