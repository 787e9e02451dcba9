/* interpreter_pairs.c: see interpreter_pairs.h. */
#include "interpreter_pairs.h"

#include <math.h>
#include <string.h>

/* Where each image's drawn position begins in a map. */
static size_t drawn(const Interpreter *r, const Value *map, const Value *location, int image)
{
    const int positions = map->dims[1] * map->dims[2];
    return ((size_t)image * (size_t)positions + (size_t)r->value[location->id][image]) * (size_t)map->dims[3];
}

static void gather(Interpreter *r, const Op *op)
{
    const size_t channels = (size_t)op->in[GATHER_X]->dims[3];
    for (int image = 0; image < op->in[GATHER_X]->dims[0]; image++)
        memcpy(r->value[op->out[0]->id] + (size_t)image * channels,
               r->value[op->in[GATHER_X]->id] + drawn(r, op->in[GATHER_X], op->in[GATHER_LOCATION], image),
               channels * sizeof(double));
}

static void gather_grad(Interpreter *r, const Op *op)
{
    const Value *dx = op->out[0];
    const size_t channels = (size_t)dx->dims[3];
    for (int image = 0; image < dx->dims[0]; image++)
        for (size_t i = 0; i < channels; i++)
            r->value[dx->id][drawn(r, dx, op->in[GATHER_GRAD_LOCATION], image) + i] +=
                r->value[op->in[GATHER_GRAD_DA]->id][(size_t)image * channels + i];
    interpret_tail(r, dx, op->in[GATHER_GRAD_ADDEND], NULL);
}

/* One raw score, or its gradient: view v's source image b with the other view's target location t. */
typedef struct {
    size_t score, antecedent, consequent; /* numbers of the score and of the two embeddings' rows */
} Score;
typedef void EachScore(void *job, Score s);

static void each_score(const Value *scores, EachScore *f, void *job)
{
    const size_t views = (size_t)scores->dims[0], targets = (size_t)scores->dims[1],
                 batch = (size_t)scores->dims[2];
    for (size_t v = 0; v < views; v++)
        for (size_t t = 0; t < targets; t++)
            for (size_t b = 0; b < batch; b++)
                f(job, (Score){(v * targets + t) * batch + b, v * batch + b, (views - 1 - v) * targets + t});
}

typedef struct {
    double *score, *antecedent, *consequent;
    size_t dim;
} Scoring;

static void score_product(void *job, Score at)
{
    const Scoring *s = job;
    for (size_t i = 0; i < s->dim; i++)
        s->score[at.score] += s->antecedent[at.antecedent * s->dim + i] *
                              s->consequent[at.consequent * s->dim + i] / sqrt((double)s->dim);
}

static void score_grad_antecedent(void *job, Score at)
{
    const Scoring *s = job;
    for (size_t i = 0; i < s->dim; i++)
        s->antecedent[at.antecedent * s->dim + i] +=
            s->score[at.score] * s->consequent[at.consequent * s->dim + i] / sqrt((double)s->dim);
}

static void score_grad_consequent(void *job, Score at)
{
    const Scoring *s = job;
    for (size_t i = 0; i < s->dim; i++)
        s->consequent[at.consequent * s->dim + i] +=
            s->score[at.score] * s->antecedent[at.antecedent * s->dim + i] / sqrt((double)s->dim);
}

static void scores(Interpreter *r, const Value *score, const Value *antecedent, const Value *consequent,
                   EachScore *f)
{
    Scoring s = {r->value[score->id], r->value[antecedent->id], r->value[consequent->id],
                 (size_t)antecedent->dims[3]};
    each_score(score, f, &s);
}

/* One direction's raw scores. */
typedef struct {
    const double *raw; /* (B * P, B) */
    int batch, positions;
    double clip;
} Direction;

static Direction direction(const Interpreter *r, const Value *score, int view)
{
    const int targets = score->dims[1], batch = score->dims[2];
    return (Direction){r->value[score->id] + (size_t)view * (size_t)targets * (size_t)batch, batch,
                       targets / batch, r->g->net->spec->loss.clip.v};
}

static double raw_score(const Direction *d, int b, int target)
{
    return d->raw[(size_t)target * (size_t)d->batch + (size_t)b];
}

static double clipped(const Direction *d, int b, int target)
{
    const double raw = raw_score(d, b, target);
    return d->clip > 0 ? d->clip * tanh(raw / d->clip) : raw;
}

/* log of the sum of e^s over the positive (b; b, l) and the locations of all other images. */
static double log_sum(const Direction *d, int b, int l)
{
    const int own = b * d->positions + l;
    double top = clipped(d, b, own), sum = 0;
    for (int t = 0; t < d->batch * d->positions; t++)
        if (t / d->positions != b)
            top = fmax(top, clipped(d, b, t));
    for (int t = 0; t < d->batch * d->positions; t++)
        if (t / d->positions != b || t == own)
            sum += exp(clipped(d, b, t) - top);
    return top + log(sum);
}

/* What a compiled program keeps for the gradient: the negatives' maximum M, the sum over l of e^(M - lse),
 * the positives' slopes. */
static void nce_statistics(const Direction *d, int b, double *statistics)
{
    double top = -INFINITY, weight = 0;
    for (int t = 0; t < d->batch * d->positions; t++)
        if (t / d->positions != b)
            top = fmax(top, clipped(d, b, t));
    for (int l = 0; l < d->positions; l++) {
        const double lse = log_sum(d, b, l);
        statistics[(2 + l) * d->batch + b] = exp(clipped(d, b, b * d->positions + l) - lse) - 1;
        weight += exp(top - lse);
    }
    statistics[b] = top;
    statistics[d->batch + b] = weight;
}

static void nce(Interpreter *r, const Op *op)
{
    const int views = r->g->net->views;
    double *result = r->value[op->out[0]->id];
    for (int view = 0; view < views; view++) {
        const Direction d = direction(r, op->in[NCE_R], view);
        const double pairs = (double)views * d.batch * d.positions;
        for (int b = 0; b < d.batch; b++) {
            for (int l = 0; l < d.positions; l++)
                result[0] += (log_sum(&d, b, l) - clipped(&d, b, b * d.positions + l)) / pairs;
            for (int t = 0; t < d.batch * d.positions; t++)
                result[1] += pow(raw_score(&d, b, t), 2) / (pairs * d.batch);
            nce_statistics(
                &d, b, r->value[op->out[1]->id] + (size_t)view * (size_t)(2 + d.positions) * (size_t)d.batch);
        }
    }
}

/* dL/ds of source b's score with target t: the share of e^s in each sum that holds it, less 1 for its own
 * positive. */
static double slope(const Direction *d, const double *lse, int b, int t)
{
    const double s = clipped(d, b, t);
    if (t / d->positions == b)
        return exp(s - lse[t % d->positions]) - 1;
    double sum = 0;
    for (int l = 0; l < d->positions; l++)
        sum += exp(s - lse[l]);
    return sum;
}

/* ---- mixtures ---- */

/* The numbers of component j, view v of sums or statistics (k, V, rows, B). */
static double *component_rows(const Interpreter *r, const Value *v, int component, int view)
{
    return r->value[v->id] +
           ((size_t)component * (size_t)v->dims[1] + (size_t)view) * (size_t)v->dims[2] * (size_t)v->dims[3];
}

static void component(Interpreter *r, const Op *op)
{
    const Value *x = op->in[COMPONENT_X], *y = op->out[0];
    for (int image = 0; image < y->dims[0]; image++)
        for (int i = 0; i < y->dims[3]; i++)
            r->value[y->id][image * y->dims[3] + i] =
                r->value[op->in[COMPONENT_PHI]->id][image * y->dims[3] + i] +
                r->value[x->id][image * x->dims[3] + op->component * y->dims[3] + i];
}

static void component_grad(Interpreter *r, const Op *op)
{
    const Value *dy = op->in[COMPONENT_GRAD_DY], *dx = op->out[0];
    for (int image = 0; image < dy->dims[0]; image++)
        for (int i = 0; i < dy->dims[3]; i++)
            r->value[dx->id][image * dx->dims[3] + op->component * dy->dims[3] + i] =
                r->value[dy->id][image * dy->dims[3] + i];
    interpret_tail(r, dx, op->in[COMPONENT_GRAD_ADDEND], NULL);
}

/* Of each source image the negatives' maximum, their sum of e^s relative to it, the sum of all r^2, and the
 * positives' s. */
static void nce_sums(Interpreter *r, const Op *op)
{
    for (int view = 0; view < r->g->net->views; view++) {
        const Direction d = direction(r, op->in[NCE_SUMS_R], view);
        double *sums = component_rows(r, op->in[NCE_SUMS_SUMS], op->component, view);
        for (int b = 0; b < d.batch; b++) {
            double top = -INFINITY, sum = 0, squares = 0;
            for (int t = 0; t < d.batch * d.positions; t++) {
                squares += pow(raw_score(&d, b, t), 2);
                if (t / d.positions != b)
                    top = fmax(top, clipped(&d, b, t));
                else
                    sums[(3 + t % d.positions) * d.batch + b] = clipped(&d, b, t);
            }
            for (int t = 0; t < d.batch * d.positions; t++)
                if (t / d.positions != b)
                    sum += exp(clipped(&d, b, t) - top);
            sums[b] = top;
            sums[d.batch + b] = sum;
            sums[2 * d.batch + b] = squares;
        }
    }
}

/* log of a component's share of the positive (b, l), s - lse; *lse is that sum's. */
static double log_share(const double *sums, int batch, int b, int l, double *lse)
{
    const double s = sums[(3 + l) * batch + b], top = fmax(sums[b], s);
    *lse = top + log(sums[batch + b] * exp(sums[b] - top) + exp(s - top));
    return s - *lse;
}

/* Section 3.6: the loss of the positive (b, l), -log(mean of e^(T l_j)) / T; and for each component's
 * gradient the posterior's share of the plain NCE's statistics. */
static double mixture_positive(Interpreter *r, const Op *op, int view, int b, int l)
{
    const Value *sums = op->in[MIXTURE_SUMS];
    const int components = sums->dims[0], batch = sums->dims[3];
    const double temperature = r->g->net->spec->embedding.mixture.temperature.v;
    double rest = 0, lse, top = -INFINITY;
    for (int k = 0; k < components; k++)
        top = fmax(top, log_share(component_rows(r, sums, k, view), batch, b, l, &lse));
    for (int k = 0; k < components; k++)
        rest += expm1(temperature * (log_share(component_rows(r, sums, k, view), batch, b, l, &lse) - top));
    for (int k = 0; k < components; k++) {
        const double *from = component_rows(r, sums, k, view);
        double *to = component_rows(r, op->out[1], k, view);
        const double share = log_share(from, batch, b, l, &lse),
                     posterior = exp(temperature * (share - top)) / (components + rest);
        to[b] = from[b];
        to[batch + b] += posterior * exp(from[b] - lse);
        to[(2 + l) * batch + b] = posterior * (exp(share) - 1);
    }
    return -top - log1p(rest / components) / temperature;
}

static void mixture(Interpreter *r, const Op *op)
{
    const Value *sums = op->in[MIXTURE_SUMS];
    const int components = sums->dims[0], views = sums->dims[1], positions = sums->dims[2] - 3,
              batch = sums->dims[3];
    const double pairs = (double)views * batch * positions;
    double *result = r->value[op->out[0]->id];
    for (int view = 0; view < views; view++)
        for (int b = 0; b < batch; b++) {
            for (int l = 0; l < positions; l++)
                result[0] += mixture_positive(r, op, view, b, l) / pairs;
            for (int k = 0; k < components; k++)
                result[1] += component_rows(r, sums, k, view)[2 * batch + b] / (pairs * batch * components);
        }
}

/* dL/ds of a component's score, by what the mixture left behind. */
static double component_slope(const Interpreter *r, const Op *op, const Direction *d, int view, int b, int t)
{
    const double *from = component_rows(r, op->in[NCE_GRAD_STATISTICS], op->component, view);
    if (t / d->positions == b)
        return from[(2 + t % d->positions) * d->batch + b];
    return exp(clipped(d, b, t) - from[b]) * from[d->batch + b];
}

/* ---- gradients of scores ---- */

static void nce_grad(Interpreter *r, const Op *op)
{
    const Net *n = r->g->net;
    const int components = op->pair->components ? op->pair->components : 1;
    const double weight = op->pair->spec->weight.v, penalty = n->spec->loss.penalty.v;
    for (int view = 0; view < n->views; view++) {
        const Direction d = direction(r, op->in[NCE_GRAD_R], view);
        const double pairs = (double)n->views * d.batch * d.positions;
        double *dr = r->value[op->out[0]->id] + (d.raw - r->value[op->in[NCE_GRAD_R]->id]);
        double *lse = ARENA_ARRAY(r->g->arena, double, d.positions);
        for (int b = 0; b < d.batch; b++) {
            for (int l = 0; l < d.positions; l++)
                lse[l] = log_sum(&d, b, l);
            for (int t = 0; t < d.batch * d.positions; t++) {
                const double bent = d.clip > 0 ? 1 - pow(clipped(&d, b, t) / d.clip, 2) : 1;
                const double ds =
                    op->pair->components ? component_slope(r, op, &d, view, b, t) : slope(&d, lse, b, t);
                dr[(size_t)t * (size_t)d.batch + (size_t)b] =
                    weight / pairs * ds * bent +
                    penalty / (pairs * d.batch * components) * 2 * raw_score(&d, b, t);
            }
        }
    }
}

static void report(Interpreter *r, const Op *op)
{
    const Net *n = r->g->net;
    r->loss = r->penalty = 0;
    for (int i = 0; i < n->pairs; i++) {
        const double *result = r->value[op->in[i]->id];
        r->pair_loss[i] = result[0];
        r->loss += n->pair[i].spec->weight.v * result[0];
        r->penalty += result[1];
    }
    r->loss += n->spec->loss.penalty.v * r->penalty;
}

void interpret_pair_op(Interpreter *r, const Op *op)
{
    Value *const *in = op->in, *const *out = op->out;
    switch (op->kind) {
    case OP_GATHER: gather(r, op); break;
    case OP_SCORES: scores(r, out[0], in[SCORES_A], in[SCORES_T], score_product); break;
    case OP_NCE: nce(r, op); break;
    case OP_BUFFER: break; /* results begin as zeros */
    case OP_COMPONENT: component(r, op); break;
    case OP_COMPONENT_GRAD: component_grad(r, op); break;
    case OP_NCE_SUMS: nce_sums(r, op); break;
    case OP_MIXTURE: mixture(r, op); break;
    case OP_REPORT: report(r, op); break;
    case OP_GATHER_GRAD: gather_grad(r, op); break;
    case OP_SCORES_GRAD_A:
        scores(r, in[SCORES_GRAD_A_DR], out[0], in[SCORES_GRAD_A_T], score_grad_antecedent);
        interpret_tail(r, out[0], in[SCORES_GRAD_A_ADDEND], NULL);
        break;
    case OP_SCORES_GRAD_T:
        scores(r, in[SCORES_GRAD_T_DR], in[SCORES_GRAD_T_A], out[0], score_grad_consequent);
        interpret_tail(r, out[0], in[SCORES_GRAD_T_ADDEND], NULL);
        break;
    case OP_NCE_GRAD: nce_grad(r, op); break;
    default: bug("the interpreter knows no %s", op_name(op->kind));
    }
}
