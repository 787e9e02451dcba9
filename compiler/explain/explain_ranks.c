/* explain_ranks.c: what processes of one share each send each other in a step, and when: the meetings of the
 * list, and weights' gradients. */
#include "explain.h"
#include <string.h>

static bool is_of_batchnorm(const Op *op, const Graph *g)
{
    const Op *maker = graph_maker(g, op->in[ALL_GATHER_X]);
    return maker && (maker->kind == OP_BATCHNORM_SUMS || maker->kind == OP_BATCHNORM_GRAD_SUMS);
}

static ExchangePart part_of(const Graph *g, const Op *op)
{
    if (op->kind == OP_REDUCE_SCATTER)
        return EXCHANGE_RETURNS;
    if (is_of_batchnorm(op, g))
        return EXCHANGE_BATCHNORM;
    return op->out[0]->rank == 4 ? EXCHANGE_EMBEDDINGS : EXCHANGE_SCORES;
}

/* To all R - 1 others. */
static double sent_by(const Op *op, double shares)
{
    const bool returns = op->kind == OP_REDUCE_SCATTER;
    const double given = (double)op->in[returns ? REDUCE_SCATTER_X : ALL_GATHER_X]->bytes;
    return returns ? given / shares * (shares - 1) : given * (shares - 1);
}

static void add_meeting(Exchange *x, const Graph *g, int i)
{
    const Op *op = g->op[i];
    const ExchangePart part = part_of(g, op);
    x->meetings[part]++;
    x->bytes[part] += sent_by(op, g->net->shares);
}

/* A bucket's slices to their processes, and the weights of its own slice to all; slices are as long as the
 * longest. */
static void add_weights(Exchange *x, const Program *p)
{
    const size_t shares = (size_t)p->net->shares, all = p->params->trained_floats;
    for (size_t begin = 0; begin < all; begin += SHARE_BUCKET) {
        const size_t floats = all - begin < SHARE_BUCKET ? all - begin : SHARE_BUCKET;
        x->meetings[EXCHANGE_GRADIENTS]++;
        x->bytes[EXCHANGE_GRADIENTS] +=
            (double)((floats + shares - 1) / shares * (shares - 1) * sizeof(float));
    }
    x->meetings[EXCHANGE_WEIGHTS] = x->meetings[EXCHANGE_GRADIENTS];
    x->bytes[EXCHANGE_WEIGHTS] = x->bytes[EXCHANGE_GRADIENTS];
}

Exchange explain_exchange(const Program *p)
{
    Exchange x = {0};
    const Graph *g = p->step;
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->kind == OP_ALL_GATHER || g->op[i]->kind == OP_REDUCE_SCATTER)
            add_meeting(&x, g, i);
    add_weights(&x, p);
    for (int i = 0; i < EXCHANGE_PARTS; i++)
        x.all += x.bytes[i];
    return x;
}

const ExchangeWords exchange_words[EXCHANGE_PARTS] = {
    [EXCHANGE_BATCHNORM] = {"batchnorm", "sums over a share's rows",
                            "forward and backward, at each batchnorm"},
    [EXCHANGE_EMBEDDINGS] = {"embeddings", "antecedents, to all", "before a pair's scores"},
    [EXCHANGE_SCORES] = {"scores", "sums over a share's scores, and what came of them", "at a pair's NCE"},
    [EXCHANGE_RETURNS] = {"returns", "antecedents' gradients, to whose they are", "after a pair's gradients"},
    [EXCHANGE_GRADIENTS] = {"gradients", "of weights, to who adds them up", "behind the backward pass"},
    [EXCHANGE_WEIGHTS] = {"weights", "as they are after the step, to all", "behind the backward pass"},
};
