/* diverged.c: what is said of a step whose loss is not finite: the pair, and how large its scores were.
 *
 * Scores are made again in double, one by one: this happens once in a run, if ever. */
#include "runtime.h"
#include <math.h>

/* The rows of one scale's embeddings. */
typedef struct {
    const float *value; /* (N, locations, R) */
    int locations;
} Embedding;

static Embedding embedding_of(const AmdimModel *m, const AmdimStep *step, int scale)
{
    int row = 0;
    while (m->scale[row].scale != scale)
        row++;
    return (Embedding){step->embedding[row], scale * scale};
}

static const float *row_of(const AmdimModel *m, const Embedding *e, int view, int image, int location)
{
    size_t row = (size_t)(view * m->batch + image) * (size_t)e->locations + (size_t)location;
    return e->value + row * (size_t)m->embedding_dim;
}

static double score(const AmdimModel *m, const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < m->embedding_dim; i++)
        sum += (double)a[i] * b[i];
    return sum / sqrt(m->embedding_dim);
}

/* NAN where one is no number. */
static double larger(double most, double value)
{
    return isnan(most) || isnan(value) ? NAN : fmax(most, fabs(value));
}

static double largest_score_of_view(const AmdimModel *m, const AmdimStep *step, const AmdimPair *pair,
                                    int view)
{
    const Embedding from = embedding_of(m, step, pair->from), to = embedding_of(m, step, pair->to);
    const int32_t *drawn = step->locations + (size_t)(pair->located * m->views + view) * (size_t)m->batch;
    double most = 0;
    for (int a = 0; a < m->batch && !isnan(most) && !signals_received(); a++) {
        const float *antecedent = row_of(m, &from, view, a, pair->located < 0 ? 0 : drawn[a]);
        for (int b = 0; b < m->batch; b++)
            for (int l = 0; l < to.locations; l++)
                most = larger(most, score(m, antecedent, row_of(m, &to, m->views - 1 - view, b, l)));
    }
    return most;
}

double largest_score(const AmdimModel *m, const AmdimStep *step, int pair)
{
    double most = 0;
    for (int view = 0; view < m->views; view++)
        most = larger(most, largest_score_of_view(m, step, &m->pair[pair], view));
    return most;
}

/* The first pair whose loss is not finite; where clipping hides all of that and the penalty alone is not, the
 * one of the largest score. */
static int pair_to_blame(const AmdimModel *m, const AmdimStep *step, double *most)
{
    int worst = 0;
    for (int i = 0; i < m->pairs; i++)
        if (!isfinite(step->pair_loss[i])) {
            *most = largest_score(m, step, i);
            return i;
        }
    *most = largest_score(m, step, 0);
    for (int i = 1; i < m->pairs && !isnan(*most); i++) {
        double score = largest_score(m, step, i);
        if (isnan(score) || score > *most) {
            *most = score;
            worst = i;
        }
    }
    return worst;
}

void diverged_describe(const AmdimModel *m, const AmdimStep *step, char *text, size_t size)
{
    double most;
    const char *name = m->pair[pair_to_blame(m, step, &most)].name;
    snprintf(text, size, "pair %s, with a largest score of %.3g", name, isnan(most) ? NAN : most);
}
