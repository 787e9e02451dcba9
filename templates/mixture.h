/* mixture.h: the NCE of a pair whose antecedent is a mixture (Bachman et al. 2019, section 3.6).
 *
 * With k components, l_j = s - lse the log of the share that a positive has among itself and its negatives by
 * component j, its loss is -log(mean over j of exp(T l_j)) / T: what weighting each l_j by the posterior q_j,
 * proportional to exp(T l_j), and adding the entropy of q at temperature 1 / T comes to. Its gradient in l_j
 * is -q_j, so that a component's scores have the gradient of a plain NCE whose positives weigh q_j (nce.h).
 *
 * Components are scored one after the other. NCE_SUMS keeps of each what all of them need to meet: two
 * numbers for each source image, and the positives. */
#ifndef MIXTURE_H
#define MIXTURE_H

#include "nce.h"

/* What a component leaves behind of one direction: (3 + P, B). */
typedef struct {
    float *maximum, *sum; /* (B) of the negatives' s, and of exp(s) relative to it */
    float *squares;       /* (B) whose sum is that of all r^2 */
    float *score;         /* (P, B) s of the positives */
} ComponentSums;

INLINE ComponentSums component_sums(Nce n, float *sums, int direction)
{
    float *at = sums + (size_t)direction * (MIXTURE_SUM_ROWS + n.positions) * n.batch;
    return (ComponentSums){at, at + n.batch, at + 2 * (size_t)n.batch, at + 3 * (size_t)n.batch};
}

/* NCE_SUMS: the job's component's part of sums (components, views, 3 + positions, batch), from its raw scores
 * r (views, batch * positions, batch). */
#define NCE_SUMS(name, views, batch, positions, clip, slope, penalty, parts)                                 \
    ROUND(name##_targets, NceJob, NceRounds, NCE_OF(views, batch, positions, clip, slope, penalty, parts),   \
          nce_targets(s, j, amdim_scratch(j->pool, worker), part))                                           \
    ROUND(name##_sources, NceJob, NceRounds, NCE_OF(views, batch, positions, clip, slope, penalty, parts),   \
          component_sources(s, j, part))                                                                     \
    FUNCTION float *name(AmdimPool *pool, NceJob job)                                                        \
    {                                                                                                        \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_targets, &job, (views) * (parts));                                       \
        amdim_parallel(pool, name##_sources, &job, (views) * (parts));                                       \
        return job.sums;                                                                                     \
    }

/* Some source images of a direction, from all parts' sums. */
SHARED void component_sources(NceRounds s, const NceJob *j, int part)
{
    const Nce n = s.nce;
    const int view = part / s.parts, last = piece(n.batch, part % s.parts + 1, s.parts);
    const ComponentSums to = component_sums(n, j->sums, j->component * s.views + view);
    const float *r = j->r + nce_scores_at(n, view, 0);
    for (int b = piece(n.batch, part % s.parts, s.parts); b < last; b++) {
        double top = NCE_EMPTY, sum = 0;
        for (int i = 0; i < s.parts; i++)
            top = MAX_OF(nce_part(s, j, view * s.parts + i).maximum[b], top);
        for (int i = 0; i < s.parts; i++) {
            const NcePart from = nce_part(s, j, view * s.parts + i);
            sum += from.sum[b] * wide_exp(from.maximum[b] - top);
        }
        to.maximum[b] = (float)top;
        to.sum[b] = (float)sum;
        to.squares[b] = b < s.parts ? (float)nce_squares(j)[view * s.parts + b] : 0;
        for (int l = 0; l < n.positions; l++)
            to.score[(size_t)l * n.batch + b] =
                nce_score(n, n.clip > 0, r[((size_t)b * n.positions + (size_t)l) * n.batch + b]);
    }
}

typedef struct {
    AmdimPool *pool;
    float *sums, *statistics, *result; /* result: loss, penalty, accuracy */
    float *scratch;                    /* sources (V, B) of NceSource */
} MixtureJob;

typedef float *MixtureFunction(AmdimPool *pool, MixtureJob job);

typedef struct {
    Nce nce;
    int views, components, parts;
    float temperature;
} Mixture;

/* MIXTURE: from all components' sums the result, its loss, penalty P and accuracy (the share of positives
 * that their likeliest component tells from all negatives), and statistics (components, views, 2 + positions,
 * batch), by which NCE_GRAD takes each component's scores. */
#define MIXTURE(name, views, batch, positions, components, temperature, parts)                               \
    ROUND(name##_sources, MixtureJob, Mixture,                                                               \
          MIXTURE_OF(views, batch, positions, components, temperature, parts), mixture_sources(s, j, part))  \
    FUNCTION float *name(AmdimPool *pool, MixtureJob job)                                                    \
    {                                                                                                        \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_sources, &job, (views) * (parts));                                       \
        mixture_end(MIXTURE_OF(views, batch, positions, components, temperature, parts), &job);              \
        return job.result;                                                                                   \
    }
#define MIXTURE_OF(views, batch, positions, components, temperature, parts)                                  \
    ((Mixture){{batch, positions, 0, 0, 0}, views, components, parts, temperature})

/* What component k of direction `view` has left behind, and where its statistics go. */
INLINE ComponentSums mixture_sums(Mixture s, const MixtureJob *j, int k, int view)
{
    return component_sums(s.nce, j->sums, k * s.views + view);
}

INLINE NceStatistics mixture_statistics(Mixture s, const MixtureJob *j, int k, int view)
{
    const size_t direction = (size_t)k * s.views + (size_t)view;
    return nce_statistics(s.nce, j->statistics + direction * (2 + s.nce.positions) * s.nce.batch);
}

/* How a component sees a positive of score s: log of its share, and what its gradients need of N_b, its
 * negatives' sum of exp(s) relative to their maximum M. */
typedef struct {
    double share;  /* l_k */
    double weight; /* exp(M - lse) */
    double slope;  /* -N_b exp(M - lse) */
    bool wins;     /* against every negative */
} Seeing;

INLINE Seeing component_sees(double s, double top, double negatives)
{
    const double m = s > top ? s : top;
    const double lse = m + wide_log(negatives * wide_exp(top - m) + wide_exp(s - m));
    const double weight = wide_exp(top - lse);
    return (Seeing){s - lse, weight, -negatives * weight, s > top};
}

INLINE Seeing mixture_sees(Mixture s, const MixtureJob *j, int k, int view, int b, int l)
{
    const ComponentSums from = mixture_sums(s, j, k, view);
    return component_sees(from.score[(size_t)l * s.nce.batch + b], from.maximum[b], from.sum[b]);
}

/* e^x - 1 and log(1 + x) without the digits lost that 1 takes, by what exp and log make of the same rounding
 * (Kahan); not those of math.h, which some small machines lack. */
INLINE double wide_expm1(double x)
{
    const double u = WIDE(wide_exp(x)), rest = u - 1;
    return rest == 0 ? x : rest == -1 ? rest : rest * x / wide_log(u);
}

INLINE double wide_log1p(double x)
{
    const double u = WIDE(1 + x), rest = u - 1;
    return rest == 0 ? x : wide_log(u) * x / rest;
}

/* What a positive comes to, as all components see it: its loss, whether its likeliest component finds it, and
 * the components' posteriors. As distances from 1, exponentials keep their digits at small temperatures. */
INLINE void mixture_weigh(int components, float temperature, const Seeing *seen, double *posterior,
                          NceSource *sums)
{
    Seeing likeliest = seen[0];
    double rest = 0;
    for (int k = 1; k < components; k++)
        if (seen[k].share > likeliest.share)
            likeliest = seen[k];
    for (int k = 0; k < components; k++)
        rest += posterior[k] = wide_expm1(temperature * (seen[k].share - likeliest.share));
    for (int k = 0; k < components; k++)
        posterior[k] = (1 + posterior[k]) / (components + rest);
    sums->loss -= likeliest.share + wide_log1p(rest / components) / temperature;
    sums->picked += likeliest.wins;
}

/* The positive (b, l). */
INLINE void mixture_positive(Mixture s, const MixtureJob *j, int view, int b, int l, NceSource *sums)
{
    Seeing seen[MIXTURE_MOST];
    double posterior[MIXTURE_MOST];
    seen[0] = mixture_sees(s, j, 0, view, b, l); /* there is one */
    for (int k = 1; k < s.components; k++)
        seen[k] = mixture_sees(s, j, k, view, b, l);
    mixture_weigh(s.components, s.temperature, seen, posterior, sums);
    for (int k = 0; k < s.components; k++) {
        const NceStatistics to = mixture_statistics(s, j, k, view);
        to.slope[(size_t)l * s.nce.batch + b] = (float)(posterior[k] * seen[k].slope);
        to.weight[b] += (float)(posterior[k] * seen[k].weight);
    }
}

/* Some source images of a direction. */
SHARED void mixture_sources(Mixture s, const MixtureJob *j, int part)
{
    const int view = part / s.parts, batch = s.nce.batch, last = piece(batch, part % s.parts + 1, s.parts);
    for (int b = piece(batch, part % s.parts, s.parts); b < last; b++) {
        NceSource sums = {0};
        for (int k = 0; k < s.components; k++) {
            const NceStatistics to = mixture_statistics(s, j, k, view);
            to.maximum[b] = mixture_sums(s, j, k, view).maximum[b];
            to.weight[b] = 0;
        }
        for (int l = 0; l < s.nce.positions; l++)
            mixture_positive(s, j, view, b, l, &sums);
        ((NceSource *)(void *)j->scratch)[view * batch + b] = sums;
    }
}

SHARED void mixture_end(Mixture s, const MixtureJob *j)
{
    const Nce n = s.nce;
    const double sources = (double)s.views * n.batch, positives = sources * n.positions;
    const NceSource *source = (const NceSource *)(const void *)j->scratch;
    double loss = 0, squares = 0, picked = 0;
    for (int i = 0; i < s.views * n.batch; i++) {
        loss += source[i].loss;
        picked += source[i].picked;
    }
    for (int direction = 0; direction < s.components * s.views; direction++)
        for (int b = 0; b < n.batch; b++)
            squares += component_sums(n, j->sums, direction).squares[b];
    j->result[0] = (float)(loss / positives);
    j->result[1] = (float)(squares / (positives * n.batch * s.components));
    j->result[2] = (float)(picked / positives);
}

#endif
