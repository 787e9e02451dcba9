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

static void nce_grad(Interpreter *r, const Op *op)
{
    const Net *n = r->g->net;
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
                dr[(size_t)t * (size_t)d.batch + (size_t)b] =
                    weight / pairs * slope(&d, lse, b, t) * bent +
                    penalty / (pairs * d.batch) * 2 * raw_score(&d, b, t);
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
