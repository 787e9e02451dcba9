/* recompute.c: activations that are cheaper to compute again than to keep.
 *
 * What the forward pass makes and the backward pass reads lives through the step's fullest moment. Operations
 * whose results cost little time a byte are run a second time just before the backward pass needs them, from
 * inputs that are there anyway; in between their memory is free. The gradients are the same bits. */
#include "amdimc.h"

/* What a map must hold of all that is kept for the backward pass, to be worth a line of code; less where
 * memory is short. */
static const double LEAST_SHARE = 1.0 / 32, LEAST_SHARE_WHERE_SHORT = 1.0 / 512;

typedef struct {
    Graph *g;
    int report;     /* number of the operation that ends the forward pass */
    int *first_use; /* by value: the first operation behind the report that reads it, or g->ops */
    int *last_use;  /* by value: the last one, or -1 */
    bool *chosen;   /* by operation */
    Op **again;     /* by value: the operation that makes it a second time */
    double least;   /* bytes a map must have */
    int *before;    /* by value: the operation in front of which that one goes */
} Recompute;

static void find_uses(Recompute *r)
{
    const Graph *g = r->g;
    for (int i = 0; i < g->values; i++) {
        r->first_use[i] = g->ops;
        r->last_use[i] = -1;
    }
    for (int i = g->ops - 1; i > r->report; i--)
        for (int j = 0; j < g->op[i]->inputs; j++) {
            const Value *v = g->op[i]->in[j];
            if (!v)
                continue;
            r->first_use[v->id] = i;
            if (r->last_use[v->id] < i)
                r->last_use[v->id] = i;
        }
}

/* Every input is there when the operation runs again: it is the program's, or is read by the backward pass
 * later still. */
static bool inputs_are_there(const Recompute *r, const Op *op)
{
    for (int j = 0; j < op->inputs; j++) {
        const Value *v = op->in[j];
        if (v && v->kind == VALUE_TEMPORARY && r->last_use[v->id] < r->first_use[op->out[0]->id])
            return false;
    }
    return true;
}

static bool can_run_again(const Recompute *r, const Op *op)
{
    return (op->kind == OP_CONV || op->kind == OP_PAD) && r->last_use[op->out[0]->id] > r->report &&
           (double)op->out[0]->bytes >= r->least && inputs_are_there(r, op);
}

static double kept_bytes(const Recompute *r)
{
    double bytes = 0;
    for (int i = 0; i < r->report; i++)
        if (r->g->op[i]->out[0] && r->last_use[r->g->op[i]->out[0]->id] > r->report)
            bytes += (double)r->g->op[i]->out[0]->bytes;
    return bytes;
}

/* In FLOP of a plain product that would take as long. Whether a product that could be faster is made so does
 * not count: every choice of kernels has the same schedule. */
static double time_of(const Recompute *r, const Op *op)
{
    return (kernel_halves(r->g, op) ? 0.6 : 1) * cost_op_flop(op);
}

static double time_per_byte(const Recompute *r, const Op *op)
{
    return time_of(r, op) / (double)op->out[0]->bytes;
}

/* The cheapest a byte first, as long as the budget lasts. */
static void choose(Recompute *r, double budget)
{
    const Graph *g = r->g;
    double left = budget * cost_step_flop(g);
    for (;;) {
        int best = -1;
        for (int i = 0; i < r->report; i++)
            if (!r->chosen[i] && can_run_again(r, g->op[i]) && time_of(r, g->op[i]) <= left &&
                (best < 0 || time_per_byte(r, g->op[i]) < time_per_byte(r, g->op[best])))
                best = i;
        if (best < 0)
            return;
        r->chosen[best] = true;
        left -= time_of(r, g->op[best]);
    }
}

static Op *copy_op(Recompute *r, const Op *op)
{
    Graph *g = r->g;
    Op *copy = ARENA_NEW(g->arena, Op);
    *copy = *op;
    copy->again = true;
    copy->in = ARENA_ARRAY(g->arena, Value *, op->inputs);
    for (int j = 0; j < op->inputs; j++)
        copy->in[j] = op->in[j];
    const Value *v = op->out[0];
    copy->out[0] = graph_value_of(g, v->number, VALUE_TEMPORARY, arena_printf(g->arena, "%s_again", v->name),
                                  v->rank, v->dims);
    return copy;
}

/* From the last to the first, so that what an operation run again reads is known to be wanted before it. */
static void place(Recompute *r)
{
    for (int i = r->report - 1; i >= 0; i--) {
        const Op *op = r->g->op[i];
        if (!r->chosen[i] || !can_run_again(r, op))
            continue;
        int id = op->out[0]->id, before = r->first_use[id];
        r->again[id] = copy_op(r, op);
        r->before[id] = before;
        for (int j = 0; j < op->inputs; j++)
            if (op->in[j] && op->in[j]->kind == VALUE_TEMPORARY && before < r->first_use[op->in[j]->id])
                r->first_use[op->in[j]->id] = before;
    }
}

static void read_again(const Recompute *r, Op *op, int values)
{
    for (int j = 0; j < op->inputs; j++)
        if (op->in[j] && op->in[j]->id < values && r->again[op->in[j]->id])
            op->in[j] = r->again[op->in[j]->id]->out[0];
}

/* The list anew, with the second runs in their places (those of one place in forward order). */
static void insert(Recompute *r, int values)
{
    Graph *g = r->g;
    Op **op = ARENA_ARRAY(g->arena, Op *, 2 * g->ops);
    int ops = 0;
    for (int i = 0; i < g->ops; i++) {
        for (int j = 0; i > r->report && j < r->report; j++) {
            const Value *v = g->op[j]->out[0];
            if (!v || !r->again[v->id] || r->before[v->id] != i)
                continue;
            read_again(r, r->again[v->id], values);
            op[ops++] = r->again[v->id];
        }
        if (i > r->report)
            read_again(r, g->op[i], values);
        op[ops++] = g->op[i];
    }
    g->capacity = 2 * g->ops;
    g->op = op;
    g->ops = ops;
}

void recompute(Graph *g, double budget)
{
    int values = g->values;
    Recompute r = {.g = g, .report = -1};
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->kind == OP_REPORT)
            r.report = i;
    r.first_use = ARENA_ARRAY(g->arena, int, values);
    r.last_use = ARENA_ARRAY(g->arena, int, values);
    r.chosen = ARENA_ARRAY(g->arena, bool, g->ops);
    r.before = ARENA_ARRAY(g->arena, int, values);
    r.again = ARENA_ARRAY(g->arena, Op *, values);
    find_uses(&r);
    r.least = (budget > RECOMPUTE_BUDGET ? LEAST_SHARE_WHERE_SHORT : LEAST_SHARE) * kept_bytes(&r);
    choose(&r, budget);
    place(&r);
    insert(&r, values);
}
