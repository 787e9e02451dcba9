/* diverged.c: what is said of a step whose loss is not finite: the pair, and how large its scores were.
 *
 * Scores are made again in double, one by one: this happens once in a run, if ever. */
#include "runtime.h"
#include <math.h>
#include <stdlib.h>

/* One scale's embeddings, (N, locations, R). */
typedef struct {
    const AmdimStep *step;
    int row; /* of the model's scales */
    int locations;
} Embedding;

static Embedding embedding_of(const AmdimModel *m, const AmdimStep *step, int scale)
{
    int row = 0;
    while (m->scale[row].scale != scale)
        row++;
    return (Embedding){step, row, scale * scale};
}

/* One location's, in `to` (R). */
static const float *row_of(const AmdimModel *m, const Embedding *e, int view, int image, int location,
                           float *to)
{
    const size_t row = (size_t)(view * m->batch + image) * (size_t)e->locations + (size_t)location,
                 dim = (size_t)m->embedding_dim;
    step_embedding(e->step, e->row, row * dim, dim, to);
    return to;
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

/* Of one antecedent with all consequents of the other view. */
static double largest_score_of(const AmdimModel *m, const Embedding *to, int view, const float *antecedent,
                               float *row, double most)
{
    for (int b = 0; b < m->batch; b++)
        for (int l = 0; l < to->locations; l++)
            most = larger(most, score(m, antecedent, row_of(m, to, m->views - 1 - view, b, l, row)));
    return most;
}

/* `room` holds the antecedents of a location, its embedding and that of a consequent. */
static bool largest_score_of_view(const AmdimModel *m, const AmdimStep *step, const AmdimPair *pair, int view,
                                  float *room, double *most)
{
    Fault f;
    const Embedding from = embedding_of(m, step, pair->from), to = embedding_of(m, step, pair->to);
    const size_t dim = (size_t)m->embedding_dim;
    float *const embedding = room + (size_t)antecedents_of(m, pair) * dim, *const row = embedding + dim;
    const int32_t *drawn =
        pair->located < 0 ? NULL
                          : step->locations + (size_t)(pair->located * m->views + view) * (size_t)m->batch;
    for (int a = 0; a < m->batch && !isnan(*most) && !signals_received(); a++) {
        const float *phi = row_of(m, &from, view, a, drawn ? drawn[a] : 0, embedding);
        if (!antecedents(m, pair, step->params, phi, room, &f))
            return false;
        for (int j = 0; j < antecedents_of(m, pair); j++)
            *most = largest_score_of(m, &to, view, room + (size_t)j * dim, row, *most);
    }
    return true;
}

double largest_score(const AmdimModel *m, const AmdimStep *step, int pair)
{
    Fault f;
    double most = 0;
    const size_t floats = (size_t)(antecedents_of(m, &m->pair[pair]) + 2) * (size_t)m->embedding_dim;
    float *room = allocate(floats * sizeof *room, "antecedents", &f);
    bool ok = room != NULL;
    for (int view = 0; ok && view < m->views; view++)
        ok = largest_score_of_view(m, step, &m->pair[pair], view, room, &most);
    free(room);
    return ok ? most : -1;
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
    if (most < 0)
        snprintf(text, size, "pair %s", name);
    else
        snprintf(text, size, "pair %s, with a largest score of %.3g", name, isnan(most) ? NAN : most);
}
