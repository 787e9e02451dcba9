/* test_loss.c: the loss of docs/language.md, written down here a second time in double, against the
 * operations that the compiler makes of it and against the float code of templates/nce.h.
 *
 *     r(b; b', l) = <phi_n(x_b^u)_i, phi_m(x_b'^v)_l> / sqrt(dim)          s = c * tanh(r / c)
 *     L(u -> v) = mean over b, l of -s(b; b, l) + log(e^s(b; b, l) + sum over b' != b, l' of e^s(b; b', l'))
 *     P(u -> v) = mean over b, b', l of r^2 */
#include "lowered.h"
#include "nce.h"
#include "noise.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the formulas, on raw scores r[(b' * P + l) * B + b] ---- */

typedef struct {
    int batch, positions;
    double clip;
    const double *r;
} Scores;

static double clipped(const Scores *s, int b, int other, int l)
{
    const double r = s->r[(other * s->positions + l) * s->batch + b];
    return s->clip > 0 ? s->clip * tanh(r / s->clip) : r;
}

/* e^s relative to e^top, over the positive and all its negatives. */
static double partition(const Scores *s, int b, int l, double top)
{
    double sum = exp(clipped(s, b, b, l) - top);
    for (int other = 0; other < s->batch; other++)
        for (int k = 0; other != b && k < s->positions; k++)
            sum += exp(clipped(s, b, other, k) - top);
    return sum;
}

/* Scores of these tests are far from where e^(s - top) underflows for what matters: top is the largest s of
 * all. */
static double largest(const Scores *s, int b)
{
    double top = clipped(s, b, 0, 0);
    for (int other = 0; other < s->batch; other++)
        for (int k = 0; k < s->positions; k++)
            top = fmax(top, clipped(s, b, other, k));
    return top;
}

static double loss_of(const Scores *s)
{
    double sum = 0;
    for (int b = 0; b < s->batch; b++)
        for (int l = 0; l < s->positions; l++) {
            const double top = largest(s, b);
            sum += log(partition(s, b, l, top)) + top - clipped(s, b, b, l);
        }
    return sum / (s->batch * s->positions);
}

static double penalty_of(const Scores *s)
{
    double sum = 0;
    for (int i = 0; i < s->batch * s->positions * s->batch; i++)
        sum += s->r[i] * s->r[i];
    return sum / (s->batch * s->batch * s->positions);
}

/* Of weight * L + penalty * P with respect to each r. */
static void gradient_of(const Scores *s, double weight, double penalty, double *dr)
{
    const double positives = s->batch * s->positions;
    memset(dr, 0, sizeof *dr * (size_t)(s->batch * s->positions * s->batch));
    for (int b = 0; b < s->batch; b++)
        for (int l = 0; l < s->positions; l++) {
            const double top = largest(s, b), sum = partition(s, b, l, top);
            for (int other = 0; other < s->batch; other++)
                for (int k = 0; k < s->positions; k++)
                    if (other != b || k == l)
                        dr[(other * s->positions + k) * s->batch + b] +=
                            weight / positives *
                            (exp(clipped(s, b, other, k) - top) / sum - (other == b ? 1 : 0));
        }
    for (int b = 0; b < s->batch; b++)
        for (int other = 0; other < s->batch; other++)
            for (int k = 0; k < s->positions; k++) {
                const int at = (other * s->positions + k) * s->batch + b;
                const double bent = s->clip > 0 ? 1 - pow(clipped(s, b, other, k) / s->clip, 2) : 1;
                dr[at] = dr[at] * bent + penalty / (positives * s->batch) * 2 * s->r[at];
            }
}

/* ---- the compiler's operations ---- */

/* One direction's raw scores, from the embeddings and the drawn locations. */
static double *raw_scores(const Interpreter *r, const NetPair *pair, int u, int v)
{
    const Net *n = r->g->net;
    const int dim = (int)n->spec->embedding.dim.v, from = pair->from->scale * pair->from->scale,
              to = pair->to->scale * pair->to->scale;
    const double *a = interpreter_embedding(r, pair->from->scale),
                 *t = interpreter_embedding(r, pair->to->scale);
    double *raw = ARENA_ARRAY(r->g->arena, double, n->batch *to * n->batch);
    for (int b = 0; b < n->batch; b++) {
        const int image = u * n->batch + b;
        const int drawn = pair->located < 0 ? 0 : (int)r->value[r->g->location[pair->located]->id][image];
        for (int target = 0; target < n->batch * to; target++)
            for (int i = 0; i < dim; i++)
                raw[target * n->batch + b] += a[(image * from + drawn) * dim + i] *
                                              t[(v * n->batch * to + target) * dim + i] / sqrt(dim);
    }
    return raw;
}

static void expect_near(double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("%.17g, not %.17g", got, want);
}

static void expect_loss(const char *views_and_loss)
{
    Lowered l;
    char text[1024];
    snprintf(text, sizeof text,
             "name: a\ninput: {size: 7, channels: 2}\nbatch: 3\nencoder:\n"
             "  - conv: {out: 4, kernel: 3}\n  - residual: {out: 5, kernel: 3}\n  - residual: {out: 6, "
             "kernel: 3}\n"
             "embedding: {dim: 5}\n%s",
             views_and_loss);
    lowered_begin(&l, text, PASS_LOWER);
    Interpreter *r = interpreter_new(l.step);
    noise_fill(r, 3);
    interpret_forward(r);
    double objective = 0, penalty = 0;
    for (int i = 0; i < l.net->pairs; i++) {
        const NetPair *pair = &l.net->pair[i];
        double loss = 0;
        for (int u = 0; u < l.net->views; u++) {
            const Scores s = {l.net->batch, pair->to->scale * pair->to->scale, l.net->spec->loss.clip.v,
                              raw_scores(r, pair, u, l.net->views - 1 - u)};
            loss += loss_of(&s) / l.net->views;
            penalty += penalty_of(&s) / l.net->views;
        }
        expect_near(r->pair_loss[i], loss, 1e-12);
        objective += pair->spec->weight.v * loss;
    }
    expect_near(r->penalty, penalty, 1e-12);
    expect_near(r->loss, objective + l.net->spec->loss.penalty.v * penalty, 1e-12);
    lowered_end(&l);
}

static void operations_compute_the_documented_loss(void **state)
{
    (void)state;
    expect_loss("loss: {pairs: [1-to-3]}\n");
    expect_loss("loss: {pairs: [3-to-5, 5-to-3, 3-to-3, 3-to-1], clip: 4}\n");
    expect_loss(
        "loss: {pairs: [{pair: 1-to-5, weight: 0.25}, {pair: 5-to-5, weight: 3}], penalty: 0.7, clip: 0}\n");
    expect_loss("views: 1\nloss: {pairs: [1-to-3, 5-to-3, 1-to-1], penalty: 0}\n");
}

/* ---- templates/nce.h ---- */

typedef struct {
    int batch, positions, parts;
    double clip, size, shift; /* scores uniform in shift +- size */
    double lead; /* that positives have over negatives; with one, no penalty: beside it nothing else would
                    show */
} NceCase;

static const NceCase nce_cases[] = {
    {2, 1, 1, 20, 3, 0, 0},    {2, 1, 2, 0, 3, 0, 0},     {5, 9, 1, 20, 8, 0, 0},   {5, 9, 3, 0, 8, 0, 0},
    {7, 25, 7, 20, 60, 0, 0},  {7, 25, 4, 0, 60, 0, 0},   {17, 4, 16, 10, 1, 0, 0}, {3, 49, 2, 0, 2, 58, 0},
    {3, 49, 2, 20, 2, -58, 0}, {4, 16, 3, 0, 2, -300, 0}, {4, 16, 3, 0.5, 2, 0, 0}, {5, 9, 2, 20, 1, 0, 12},
    {5, 9, 2, 0, 1, 0, 14},    {4, 4, 1, 2, 0.5, 9, 0.5},
};

/* As NCE does: the targets in parts, then every source. */
static NceSource float_loss(Nce n, const float *r, int parts, NceStatistics statistics, double *squares)
{
    float *sums = malloc(sizeof *sums * (size_t)(2 * parts * n.batch)),
          *scratch = malloc(sizeof *scratch * (size_t)((n.positions + 1) * n.batch));
    NcePart *part = malloc(sizeof *part * (size_t)parts);
    NceSource all = {0};
    *squares = 0;
    for (int i = 0; i < parts; i++) {
        part[i] = (NcePart){.maximum = sums + 2 * i * n.batch, .sum = sums + (2 * i + 1) * n.batch};
        nce_begin(n, &part[i]);
        for (int target = piece(n.batch, i, parts); target < piece(n.batch, i + 1, parts); target++)
            nce_target(n, r + (size_t)(target * n.positions * n.batch), target, &part[i], scratch,
                       scratch + n.positions * n.batch);
        *squares += part[i].squares;
    }
    for (int b = 0; b < n.batch; b++) {
        const NceSource source = nce_source(n, r, part, parts, b, statistics);
        all.loss += source.loss;
        all.picked += source.picked;
    }
    free(sums);
    free(scratch);
    free(part);
    return all;
}

/* Positives above every score of another image's locations; of raw scores, which clipping leaves in order. */
static int picked_of(const Scores *s)
{
    int picked = 0;
    for (int b = 0; b < s->batch; b++)
        for (int l = 0; l < s->positions; l++) {
            bool above = true;
            for (int t = 0; t < s->batch * s->positions; t++)
                above &= t / s->positions == b ||
                         s->r[t * s->batch + b] < s->r[(b * s->positions + l) * s->batch + b];
            picked += above;
        }
    return picked;
}

static double distance(const float *got, const double *want, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += pow(got[i] - want[i], 2);
    return sqrt(sum);
}

static double length(const double *v, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += v[i] * v[i];
    return sqrt(sum);
}

/* A float's rounding of a score of size 60 is 4e-6, which is an exponential's relative error, so 1e-5 of the
 * gradient. */
static void expect_float_code(const NceCase *c, uint64_t seed)
{
    const int count = c->batch * c->positions * c->batch;
    const double weight = 1.5, penalty = c->lead > 0 ? 0 : 0.05, positives = c->batch * c->positions;
    double *raw = malloc(sizeof *raw * (size_t)count), *want = malloc(sizeof *want * (size_t)count);
    float *r = malloc(sizeof *r * (size_t)count),
          *kept = malloc(sizeof *kept * (size_t)((2 + c->positions) * c->batch));
    for (int i = 0; i < count; i++)
        raw[i] = r[i] = (float)(c->shift + c->size * noise(&seed) +
                                (i / c->batch / c->positions == i % c->batch ? c->lead : 0));
    const Scores s = {c->batch, c->positions, c->clip, raw};
    const Nce n = {c->batch, c->positions, (float)c->clip, (float)(weight / positives),
                   (float)(2 * penalty / (positives * c->batch))};
    const NceStatistics statistics = nce_statistics(n, kept);
    double squares;
    const NceSource source = float_loss(n, r, c->parts, statistics, &squares);
    const double loss = source.loss / positives;
    const double top = c->clip > 0 ? c->clip : c->size + fabs(c->shift);
    assert_true(fabs(loss - loss_of(&s)) <= 1e-6 * (loss_of(&s) + top));
    if (c->clip == 0 ||
        c->clip > 2 * (c->size + fabs(c->shift) + c->lead)) /* clipping makes no two scores one */
        assert_int_equal(source.picked, picked_of(&s));
    expect_near(squares / (positives * c->batch), penalty_of(&s), 1e-6);
    for (int target = 0; target < c->batch; target++) /* in place, as the program does it */
        nce_grad_target(n, r + target * c->positions * c->batch, target, statistics,
                        r + target * c->positions * c->batch);
    gradient_of(&s, weight, penalty, want);
    const double error = distance(r, want, count) / length(want, count);
    if (!(error <= (top > 100 ? 5e-5 : 1e-5)))
        fail_msg("B %d, P %d, clip %g, scores %g +- %g: the gradient is off by %.2e", c->batch, c->positions,
                 c->clip, c->shift, c->size, error);
    free(raw);
    free(want);
    free(r);
    free(kept);
}

static void float_code_agrees_with_the_formulas(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(nce_cases); i++)
        expect_float_code(&nce_cases[i], 11 + i);
}

/* All of -87..0, where e^x is a normal float: 2 units in the last place. */
static void exp_negative_is_near_exp(void **state)
{
    (void)state;
    for (int i = 0; i <= 87000 * 4; i++) {
        const float x = (float)(-i / 4000.0);
        const double want = exp(x);
        if (!(fabs(exp_negative(x) - want) <= 2.5e-7 * want))
            fail_msg("e^%.9g: %.9g, not %.9g", (double)x, (double)exp_negative(x), want);
    }
    assert_true(exp_negative(0) == 1);
    assert_true(exp_negative(-87.5f) == 0 && exp_negative(-1000) == 0 && exp_negative(-1e9f) == 0 &&
                exp_negative(-INFINITY) == 0);
}

/* Small arguments, where relative errors count, and up to where tanh is 1. */
static void tanh_clip_is_near_tanh(void **state)
{
    (void)state;
    for (int i = -200000; i <= 200000; i++) {
        const float x = (float)(i / 20000.0);
        const double want = tanh(x);
        if (!(fabs(tanh_clip(x) - want) <= 3e-7 * fabs(want)))
            fail_msg("tanh %.9g: %.9g, not %.9g", (double)x, (double)tanh_clip(x), want);
    }
    for (float x = 1e-30f; x < 1e-2f; x *= 1.7f)
        assert_true(fabs(tanh_clip(x) - tanh(x)) <= 3e-7 * x && tanh_clip(-x) == -tanh_clip(x));
    assert_true(tanh_clip(0) == 0 && tanh_clip(30) == 1 && tanh_clip(-1000) == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_compute_the_documented_loss),
        cmocka_unit_test(float_code_agrees_with_the_formulas),
        cmocka_unit_test(exp_negative_is_near_exp),
        cmocka_unit_test(tanh_clip_is_near_tanh),
    };
    return cmocka_run_group_tests_name("loss", tests, NULL, NULL);
}
