/* grad.c: reverse mode over the list of operations, one rule an operation.
 *
 * Walking the forward operations backwards, `pending` holds the sum of the gradient contributions met so far
 * for each value. A later contribution takes the pending sum as its addend, so that sums cost no pass of
 * their own and can be formed in place; a contribution that is the gradient of the result itself (a
 * shortcut's) costs nothing. All contributions to a value come from operations behind it, so its sum is
 * complete when its maker is reached. */
#include "amdimc.h"

typedef struct {
    Graph *g;
    int forward;       /* operations of the forward list */
    Value **pending;   /* by value number of it */
    bool *wanted;      /* values whose gradient something trained depends on */
    Graph *step;       /* of a chunk: the list in whose memory the weights' gradients add up; else NULL */
    Value **buffer;    /* of a chunk: (buffers) those gradients */
    Param **buffer_of; /* (buffers) */
    int buffers;
} Reverse;

static Value *like(Reverse *r, const Value *v)
{
    return graph_value_of(r->g, v->number, VALUE_TEMPORARY, arena_printf(r->g->arena, "d_%s", v->name),
                          v->rank, v->dims);
}

static Op *op_like(Reverse *r, OpKind kind, const Op *forward)
{
    Op *op = graph_op(r->g, kind, forward->at, forward->label);
    op->kernel = forward->kernel;
    op->stride = forward->stride;
    op->pad = forward->pad;
    op->reflect = forward->reflect;
    op->pair = forward->pair;
    op->component = forward->component;
    return op;
}

/* Contributes `op`'s result to the gradient of v; its addend is what is pending. */
static void contribute(Reverse *r, Op *op, Value *v)
{
    const int addend = op_operand(op->kind, ADDEND);
    if (addend >= 0)
        op->in[addend] = r->pending[v->id];
    else if (r->pending[v->id])
        bug("%s of %s adds to no gradient", op_name(op->kind), op->label);
    r->pending[v->id] = op->out[0] = like(r, v);
}

/* Contributes an existing gradient as it is. */
static void contribute_alias(Reverse *r, Value *gradient, Value *v, const Op *forward)
{
    if (!r->pending[v->id]) {
        r->pending[v->id] = gradient;
        return;
    }
    Op *op = op_like(r, OP_ADD, forward);
    op->in[ADD_B] = gradient;
    contribute(r, op, v);
}

static void take(Reverse *r, const Op *forward, Value *gradient, Value *param)
{
    if (r->step)
        return;
    Op *op = op_like(r, OP_TAKE, forward);
    op->in[TAKE_GRADIENT] = gradient;
    op->in[TAKE_PARAM] = param;
}

/* Where a weight's gradient goes: a value of its own, or of the step's where chunks add up. */
static Value *weight_gradient(Reverse *r, const Op *forward, const Value *weight)
{
    if (!r->step)
        return like(r, weight);
    Op *buffer = graph_op(r->step, OP_BUFFER, forward->at, forward->label);
    buffer->out[0] = graph_value(r->step, VALUE_TEMPORARY, arena_printf(r->g->arena, "d_%s", weight->name),
                                 weight->rank, weight->dims);
    r->buffer[r->buffers] = buffer->out[0];
    r->buffer_of[r->buffers++] = weight->param;
    return graph_outer(r->g, buffer->out[0], buffer->out[0]->name);
}

static void grad_pad(Reverse *r, const Op *f, Value *dy)
{
    Op *op = op_like(r, OP_PAD_GRAD, f);
    op->in[PAD_GRAD_DY] = dy;
    contribute(r, op, f->in[PAD_X]);
}

/* The one forward operation that reads the value, or NULL. That a batchnorm's sums do, too, does not count.
 */
static const Op *only_reader(const Reverse *r, const Value *v)
{
    const Op *reader = NULL;
    int reads = 0;
    for (int i = 0; i < r->forward; i++)
        for (int j = 0; j < r->g->op[i]->inputs; j++)
            if (r->g->op[i]->in[j] == v && r->g->op[i]->kind != OP_BATCHNORM_SUMS) {
                reader = r->g->op[i];
                reads++;
            }
    return reads == 1 ? reader : NULL;
}

/* Whether a convolution's bias changes nothing: all that becomes of its result is sums that go into a
 * batchnorm of the same list, which takes their mean away. What would be computed for its gradient is
 * rounding. */
static bool bias_has_no_effect(const Reverse *r, const Op *conv)
{
    const Op *last = conv;
    while (!last->relu) {
        const Value *y = last->out[0];
        const Op *reader = only_reader(r, y);
        if (reader && reader->kind == OP_BATCHNORM)
            return true;
        if (!reader || reader->kind != OP_CONV || reader->in[CONV_ADDEND] != y)
            return false;
        last = reader;
    }
    return false;
}

static void grad_conv(Reverse *r, const Op *f, Value *dy)
{
    Value *x = f->in[CONV_X], *weight = f->in[CONV_WEIGHT], *bias = f->in[CONV_BIAS],
          *addend = f->in[CONV_ADDEND];
    if (f->relu) {
        Op *mask = op_like(r, OP_RELU_GRAD, f);
        mask->in[RELU_GRAD_DY] = dy;
        mask->in[RELU_GRAD_Y] = f->out[0];
        dy = mask->out[0] = like(r, f->out[0]);
    }
    Op *dw = op_like(r, OP_CONV_GRAD_W, f);
    dw->in[CONV_GRAD_W_X] = x;
    dw->in[CONV_GRAD_W_DY] = dy;
    dw->out[0] = weight_gradient(r, f, weight);
    if (bias) {
        const bool zero = bias_has_no_effect(r, f);
        Op *db = op_like(r, zero ? OP_ZERO : OP_BIAS_GRAD, f);
        if (!zero)
            db->in[BIAS_GRAD_DY] = dy;
        db->out[0] = weight_gradient(r, f, bias);
        take(r, f, db->out[0], bias);
    }
    /* Before x's own: where the addend is x (a shortcut), dy is then the sum that the product adds to. */
    if (addend && r->wanted[addend->id])
        contribute_alias(r, dy, addend, f);
    if (r->wanted[x->id]) {
        Op *dx = op_like(r, OP_CONV_GRAD_X, f);
        dx->in[CONV_GRAD_X_DY] = dy;
        dx->in[CONV_GRAD_X_WEIGHT] = weight;
        contribute(r, dx, x);
    }
    take(r, f, dw->out[0], weight);
}

static void grad_pool(Reverse *r, const Op *f, Value *dy)
{
    Op *op = op_like(r, OP_POOL_GRAD, f);
    op->in[POOL_GRAD_DY] = dy;
    contribute(r, op, f->in[POOL_X]);
}

static void grad_max_pool(Reverse *r, const Op *f, Value *dy)
{
    Op *op = op_like(r, OP_MAX_POOL_GRAD, f);
    op->in[MAX_POOL_GRAD_DY] = dy;
    op->in[MAX_POOL_GRAD_X] = f->in[MAX_POOL_X];
    contribute(r, op, f->in[MAX_POOL_X]);
}

/* The sums that its gradients need of every share. */
static void gather_batchnorm_grad(Reverse *r, const Op *f, Op *grad)
{
    const Net *n = r->g->net;
    Op *op = op_like(r, OP_BATCHNORM_GRAD_SUMS, f), *all = op_like(r, OP_ALL_GATHER, f);
    op->in[BATCHNORM_GRAD_SUMS_DY] = grad->in[BATCHNORM_GRAD_DY];
    op->in[BATCHNORM_GRAD_SUMS_X] = grad->in[BATCHNORM_GRAD_X];
    op->in[BATCHNORM_GRAD_SUMS_STATISTICS] = grad->in[BATCHNORM_GRAD_STATISTICS];
    op->in[BATCHNORM_GRAD_SUMS_Y] = grad->in[BATCHNORM_GRAD_Y];
    const char *name = arena_printf(r->g->arena, "d_%s_sums", f->out[0]->name);
    op->out[0] = graph_value(r->g, VALUE_TEMPORARY, name, 3,
                             (int[]){n->views, 2, grad->in[BATCHNORM_GRAD_X]->dims[3]});
    all->in[ALL_GATHER_X] = op->out[0];
    all->out[0] = graph_value(r->g, VALUE_TEMPORARY, arena_printf(r->g->arena, "%s_of_all", name), 2,
                              (int[]){n->shares, (int)value_count(op->out[0])});
    grad->in[BATCHNORM_GRAD_SUMS] = op->out[0];
    grad->in[BATCHNORM_GRAD_ALL] = all->out[0];
}

/* Behind all operations so far. */
static void move_last(Graph *g, Op *op)
{
    int to = 0;
    for (int i = 0; i < g->ops; i++)
        if (g->op[i] != op)
            g->op[to++] = g->op[i];
    g->op[to] = op;
}

static void grad_batchnorm(Reverse *r, const Op *f, Value *dy)
{
    Op *op = op_like(r, OP_BATCHNORM_GRAD, f);
    Value *x = f->in[BATCHNORM_X], *weight = f->in[BATCHNORM_WEIGHT], *bias = f->in[BATCHNORM_BIAS];
    op->in[BATCHNORM_GRAD_DY] = dy;
    op->in[BATCHNORM_GRAD_X] = x;
    op->in[BATCHNORM_GRAD_WEIGHT] = weight;
    op->in[BATCHNORM_GRAD_STATISTICS] = f->out[1];
    op->in[BATCHNORM_GRAD_Y] = f->relu ? f->out[0] : NULL;
    if (f->in[BATCHNORM_ALL]) {
        gather_batchnorm_grad(r, f, op);
        move_last(r->g, op);
    }
    Value *before = r->pending[x->id], *dx = op->out[0] = like(r, x);
    op->out[1] = like(r, weight);
    op->out[2] = like(r, bias);
    if (!before)
        r->pending[x->id] = dx;
    else if (r->wanted[x->id])
        contribute_alias(r, dx, x, f);
    take(r, f, op->out[1], weight);
    take(r, f, op->out[2], bias);
}

static void grad_convert(Reverse *r, const Op *f, Value *dy)
{
    Value *x = f->in[CONVERT_X];
    Op *op = op_like(r, OP_CONVERT, f);
    op->in[CONVERT_X] = dy;
    op->out[0] = like(r, x);
    contribute_alias(r, op->out[0], x, f);
}

static void grad_gather(Reverse *r, const Op *f, Value *dy)
{
    Op *op = op_like(r, OP_GATHER_GRAD, f);
    op->in[GATHER_GRAD_DA] = dy;
    op->in[GATHER_GRAD_LOCATION] = f->in[GATHER_LOCATION];
    contribute(r, op, f->in[GATHER_X]);
}

static void grad_scores(Reverse *r, const Op *f, Value *dr)
{
    Op *da = op_like(r, OP_SCORES_GRAD_A, f);
    da->in[SCORES_GRAD_A_DR] = dr;
    da->in[SCORES_GRAD_A_T] = f->in[SCORES_T];
    contribute(r, da, f->in[SCORES_A]);
    Op *dt = op_like(r, OP_SCORES_GRAD_T, f);
    dt->in[SCORES_GRAD_T_DR] = dr;
    dt->in[SCORES_GRAD_T_A] = f->in[SCORES_A];
    contribute(r, dt, f->in[SCORES_T]);
}

/* The root: its own result needs no gradient from behind, the objective's weights are constants. */
static void grad_nce(Reverse *r, const Op *f)
{
    Op *op = op_like(r, OP_NCE_GRAD, f);
    op->in[NCE_GRAD_R] = f->in[NCE_R];
    op->in[NCE_GRAD_STATISTICS] = f->out[1];
    contribute(r, op, f->in[NCE_R]);
}

static const Op *mixture_of(const Reverse *r, const Value *sums)
{
    for (int i = 0; i < r->forward; i++)
        if (r->g->op[i]->kind == OP_MIXTURE && r->g->op[i]->in[MIXTURE_SUMS] == sums)
            return r->g->op[i];
    bug("%s are of no mixture", sums->name);
}

static Value *scores_again(Reverse *r, const Value *once)
{
    const Op *scores = graph_maker(r->g, once);
    Op *again = op_like(r, OP_SCORES, scores);
    again->again = true;
    again->in[SCORES_A] = scores->in[SCORES_A];
    again->in[SCORES_T] = scores->in[SCORES_T];
    return again->out[0] =
               graph_value(r->g, VALUE_TEMPORARY, arena_printf(r->g->arena, "%s_again", once->name),
                           once->rank, once->dims);
}

/* The root of a mixture's component. Its scores are made again, for those of all components would be as many
 * times as much memory. */
static void grad_nce_sums(Reverse *r, const Op *f)
{
    Value *again = scores_again(r, f->in[NCE_SUMS_R]);
    Op *op = op_like(r, OP_NCE_GRAD, f);
    op->in[NCE_GRAD_R] = again;
    op->in[NCE_GRAD_STATISTICS] = mixture_of(r, f->in[NCE_SUMS_SUMS])->out[1];
    contribute(r, op, f->in[NCE_SUMS_R]);
}

/* The one operation of that kind which reads v. */
static const Op *reader_of(const Reverse *r, OpKind kind, const Value *v)
{
    for (int i = 0; i < r->forward; i++)
        for (int j = 0; j < r->g->op[i]->inputs; j++)
            if (r->g->op[i]->kind == kind && r->g->op[i]->in[j] == v)
                return r->g->op[i];
    bug("no %s reads %s", op_name(kind), v->name);
}

/* The root of a pair of several shares; a mixture's scores are made again, as above. */
static void grad_share_sums(Reverse *r, const Op *f)
{
    const Op *nce = reader_of(r, OP_SHARE_NCE, f->in[SHARE_SUMS_SUMS]);
    Value *scores = f->pair->components ? scores_again(r, f->in[SHARE_SUMS_R]) : f->in[SHARE_SUMS_R];
    Op *op = op_like(r, OP_SHARE_NCE_GRAD, f);
    op->in[SHARE_NCE_GRAD_R] = scores;
    op->in[SHARE_NCE_GRAD_ALL] = reader_of(r, OP_ALL_GATHER, nce->out[0])->out[0];
    op->in[SHARE_NCE_GRAD_SLOPE] = nce->out[1];
    contribute(r, op, f->in[SHARE_SUMS_R]);
}

/* Every share has a gradient of all antecedents; each gets the sum of those of its own. */
static void grad_all_gather(Reverse *r, const Op *f, Value *dy)
{
    Op *op = op_like(r, OP_REDUCE_SCATTER, f);
    const Value *x = f->in[ALL_GATHER_X];
    op->in[REDUCE_SCATTER_X] = dy;
    op->out[0] = like(r, x);
    op->out[1] = graph_value(r->g, VALUE_TEMPORARY, arena_printf(r->g->arena, "%s_of_all", op->out[0]->name),
                             2, (int[]){r->g->net->shares, (int)value_count(x)});
    contribute_alias(r, op->out[0], f->in[ALL_GATHER_X], f);
}

static void grad_component(Reverse *r, const Op *f, Value *dy)
{
    contribute_alias(r, dy, f->in[COMPONENT_PHI], f);
    Op *op = op_like(r, OP_COMPONENT_GRAD, f);
    op->in[COMPONENT_GRAD_DY] = dy;
    contribute(r, op, f->in[COMPONENT_X]);
}

static void reverse(Reverse *r, int forward);

/* The chunk's own list backwards, from the gradients of what the step keeps of it; the gradients of weights
 * add up over the chunks in the step's memory. */
static void grad_encode(Reverse *r, const Op *f)
{
    Graph *chunk = f->chunk_grad, *step = r->g;
    Reverse c = {.g = chunk, .step = step};
    c.pending = ARENA_ARRAY(step->arena, Value *, chunk->values);
    c.buffer = ARENA_ARRAY(step->arena, Value *, chunk->values);
    c.buffer_of = ARENA_ARRAY(step->arena, Param *, chunk->values);
    const int forward_values = chunk->values;
    for (int i = 1; i < f->inputs; i++) {
        const Value *feature = chunk->feature[i - 1];
        if (feature->id >= forward_values)
            bug("%s is no value of the chunk's forward pass", feature->name);
        const char *name = arena_printf(step->arena, "d_%s", feature->name);
        c.pending[feature->id] = graph_outer(chunk, r->pending[f->in[i]->id], name);
    }
    reverse(&c, chunk->ops);

    Op *op = graph_op_wide(step, OP_ENCODE_GRAD, f->at, f->label, f->inputs + c.buffers);
    op->in[ENCODE_GRAD_X] = f->in[ENCODE_X];
    for (int i = 1; i < f->inputs; i++)
        op->in[i] = r->pending[f->in[i]->id];
    for (int i = 0; i < c.buffers; i++)
        op->in[f->inputs + i] = c.buffer[i];
    op->chunk = chunk;
    op->chunks = f->chunks;
    for (int i = 0; i < c.buffers; i++)
        take(r, f, c.buffer[i], graph_param(step, c.buffer_of[i]));
}

static void reverse_op(Reverse *r, const Op *f)
{
    Value *dy = f->out[0] ? r->pending[f->out[0]->id] : NULL;
    const bool wanted = dy && r->wanted[f->out[0]->id];
    switch (f->kind) {
    case OP_NCE: grad_nce(r, f); return;
    case OP_NCE_SUMS: grad_nce_sums(r, f); return;
    case OP_SHARE_SUMS: grad_share_sums(r, f); return;
    case OP_ENCODE: grad_encode(r, f); return;
    default: break;
    }
    if (!wanted)
        return;
    switch (f->kind) {
    case OP_PAD: grad_pad(r, f, dy); break;
    case OP_CONV: grad_conv(r, f, dy); break;
    case OP_POOL: grad_pool(r, f, dy); break;
    case OP_MAX_POOL: grad_max_pool(r, f, dy); break;
    case OP_BATCHNORM: grad_batchnorm(r, f, dy); break;
    case OP_CONVERT: grad_convert(r, f, dy); break;
    case OP_GATHER: grad_gather(r, f, dy); break;
    case OP_SCORES: grad_scores(r, f, dy); break;
    case OP_COMPONENT: grad_component(r, f, dy); break;
    case OP_ALL_GATHER: grad_all_gather(r, f, dy); break;
    case OP_BUFFER: break; /* the encode that fills it has been met */
    default: bug("no gradient of %s", op_name(f->kind));
    }
}

/* What an encode fills depends on the encoder's weights. */
static bool depends_on_trained(const Reverse *r, const Op *op)
{
    bool wanted = op->kind == OP_BUFFER;
    for (int j = 0; j < op->inputs; j++)
        if (op->in[j])
            wanted |= r->wanted[op->in[j]->id] || (op->in[j]->param && op->in[j]->param->trained);
    return wanted;
}

/* The first `forward` operations backwards; pending may hold gradients from outside. */
static void reverse(Reverse *r, int forward)
{
    r->forward = forward;
    r->wanted = ARENA_ARRAY(r->g->arena, bool, r->g->values);
    for (int i = 0; i < forward; i++)
        for (int j = 0; j < OP_OUTPUTS; j++)
            if (r->g->op[i]->out[j])
                r->wanted[r->g->op[i]->out[j]->id] = depends_on_trained(r, r->g->op[i]);
    for (int i = forward - 1; i >= 0; i--)
        reverse_op(r, r->g->op[i]);
}

void differentiate(Graph *g)
{
    Reverse r = {.g = g, .pending = ARENA_ARRAY(g->arena, Value *, g->values)};
    reverse(&r, g->ops);
}
