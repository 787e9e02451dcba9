/* nce.h: noise-contrastive estimation of one n-to-m pair in one direction, on its raw scores.
 *
 * With r a raw score and s = c * tanh(r / c), the loss of a positive (source image b, target location l of b)
 * is -s(b; b, l) + log(exp(s(b; b, l)) + N_b),   N_b = sum of exp(s) over all locations of all other images
 * (Bachman et al. 2019, equations 3 and 4; clipping and penalty: section 3.2 there). Sums of exponentials are
 * kept relative to their maximum. Scores lie as (targets, sources): a row is one location of one target
 * image, images in order, so that work runs along source images. */
#ifndef NCE_H
#define NCE_H

#include "kernels.h"

typedef struct {
    int batch, positions; /* B source images; P locations of a target image */
    float clip;           /* c; 0: no clipping */
    float slope, penalty; /* what the gradient of L and of r^2 is multiplied by */
} Nce;

/* e^x for x <= 0, to one unit in the last place or two; 0 below -87. Above 0 it is a number that nobody
 * reads. */
INLINE float exp_negative(float x)
{
    const float halves = x * 1.44269504f, n = floorf(halves + 0.5f);
    const float rest = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * rest + 1.3981999507e-3f;
    p = p * rest + 8.3334519073e-3f;
    p = p * rest + 4.1665795894e-2f;
    p = p * rest + 1.6666665459e-1f;
    p = p * rest + 5.0000001201e-1f;
    p = p * rest * rest + rest + 1;
    const float whole = n > -127 ? MIN_OF(n, 127) : -127;
    const int32_t exponent = ((int32_t)whole + 127) * (1 << 23);
    float power;
    memcpy(&power, &exponent, sizeof power);
    return x < -87 ? 0 : p * power;
}

INLINE float tanh_clip(float x)
{
    const float a = fabsf(x), e = exp_negative(-2 * a), q = x * x;
    const float far = (1 - e) / (1 + e);
    float near = -5.70498872745e-3f;
    near = near * q + 2.06390887954e-2f;
    near = near * q - 5.37397155531e-2f;
    near = near * q + 1.33314422036e-1f;
    near = near * q - 3.33332819422e-1f;
    near = near * q * a + a;
    return copysignf(a < 0.625f ? near : far, x);
}

/* s of r; `clips`: n.clip > 0, a constant, so that nothing is asked in loops. */
INLINE float nce_score(Nce n, bool clips, float r)
{
    return clips ? n.clip * tanh_clip(r / n.clip) : r;
}

/* ds/dr at r: 1 - (s/c)^2, written so that nothing cancels where s comes close to c. */
INLINE float nce_slope(Nce n, bool clips, float r)
{
    if (!clips)
        return 1;
    const float e = exp_negative(-2 * fabsf(r / n.clip));
    return 4 * e / ((1 + e) * (1 + e));
}

enum { NCE_BLOCK = 64 };  /* squares added up apart from each other, so that they are vectors */
#define NCE_EMPTY (-1e9f) /* below every score that training survives: the maximum of nothing */

/* What a part of the target images gives for every source image: the maximum of the negatives' s, the sum of
 * exp(s) relative to it; and the sum of all r^2. */
typedef struct {
    float *maximum, *sum; /* (B) */
    double squares;
} NcePart;

INLINE void nce_begin(Nce n, NcePart *part)
{
    part->squares = 0;
    for (int b = 0; b < n.batch; b++) {
        part->maximum[b] = NCE_EMPTY;
        part->sum[b] = 0;
    }
}

/* Adds a target image, whose scores are r (P, B); as a source it is `own`. s (P, B) and top (B) are scratch.
 */
INLINE void nce_target_if(bool clips, Nce n, const float *r, int own, NcePart *part, float *s, float *top)
{
    const int batch = n.batch;
    memcpy(top, part->maximum, sizeof(float) * (size_t)batch);
    for (int l = 0; l < n.positions; l++) {
        float squares[NCE_BLOCK] = {0}, square = 0;
        for (int begin = 0; begin < batch; begin += NCE_BLOCK)
            VECTORWISE for (int b = begin; b < MIN_OF(begin + NCE_BLOCK, batch); b++)
            {
                const float raw = r[(size_t)l * batch + b];
                s[(size_t)l * batch + b] = nce_score(n, clips, raw);
                squares[b - begin] += raw * raw;
            }
        for (int i = 0; i < NCE_BLOCK; i++)
            square += squares[i];
        part->squares += square;
        s[(size_t)l * batch + own] = NCE_EMPTY; /* its own image is no negative */
        for (int b = 0; b < batch; b++)
            top[b] = s[(size_t)l * batch + b] > top[b] ? s[(size_t)l * batch + b] : top[b];
    }
    VECTORWISE for (int b = 0; b < batch; b++) part->sum[b] *= exp_negative(part->maximum[b] - top[b]);
    for (int l = 0; l < n.positions; l++)
        VECTORWISE for (int b = 0; b < batch; b++) part->sum[b] +=
            exp_negative(s[(size_t)l * batch + b] - top[b]);
    memcpy(part->maximum, top, sizeof(float) * (size_t)batch);
}

SHARED void nce_target(Nce n, const float *r, int own, NcePart *part, float *s, float *top)
{
    if (n.clip > 0)
        nce_target_if(true, n, r, own, part, s, top);
    else
        nce_target_if(false, n, r, own, part, s, top);
}

/* What the gradient needs of one direction: (2 + P, B), with lse(b, l) = log(exp(s(b; b, l)) + N_b). A
 * positive's slope is kept, not lse: where the positive has won, exp(s - lse) - 1 would be what rounding
 * leaves of 1 - 1. */
typedef struct {
    float *maximum; /* (B) M, the negatives' maximum */
    float *weight;  /* (B) sum over l of exp(M - lse(b, l)) */
    float *slope;   /* (P, B) dL/ds of s(b; b, l): -N_b exp(-lse(b, l)) */
} NceStatistics;

INLINE NceStatistics nce_statistics(Nce n, float *at)
{
    return (NceStatistics){at, at + n.batch, at + 2 * (size_t)n.batch};
}

/* Sums over a source image's positives. */
typedef struct {
    double loss;
    int picked; /* that score above every negative: told from all of them */
} NceSource;

/* Source image b, from all parts' sums and the direction's scores r (B * P, B). */
INLINE NceSource nce_source(Nce n, const float *r, const NcePart *part, int parts, int b, NceStatistics to)
{
    NceSource sums = {0};
    double top = NCE_EMPTY, negatives = 0, weight = 0;
    for (int i = 0; i < parts; i++)
        top = part[i].maximum[b] > top ? part[i].maximum[b] : top;
    for (int i = 0; i < parts; i++)
        negatives += part[i].sum[b] * wide_exp(part[i].maximum[b] - top);
    for (int l = 0; l < n.positions; l++) {
        const double s = nce_score(n, n.clip > 0, r[((size_t)b * n.positions + (size_t)l) * n.batch + b]),
                     m = s > top ? s : top;
        const double lse = m + wide_log(negatives * wide_exp(top - m) + wide_exp(s - m));
        sums.loss += lse - s;
        sums.picked += s > top;
        weight += wide_exp(top - lse);
        to.slope[(size_t)l * n.batch + b] = (float)(-negatives * wide_exp(top - lse));
    }
    to.maximum[b] = (float)top;
    to.weight[b] = (float)weight;
    return sums;
}

/* dr of one target image's rows: with w_b = sum over l of exp(-lse(b, l)), a negative's dL/ds is exp(s) *
 * w_b, a positive's is kept; then through tanh, and the penalty's 2r. dr may be r. */
INLINE void nce_grad_target_if(bool clips, Nce n, const float *r, int target, NceStatistics from, float *dr)
{
    const int batch = n.batch;
    for (int l = 0; l < n.positions; l++) {
        const float *raw = r + (size_t)l * batch;
        const float own = raw[target];
        const float positive = from.slope[(size_t)l * batch + target];
        VECTORWISE for (int b = 0; b < batch; b++)
        {
            const float s = nce_score(n, clips, raw[b]);
            const float negative = exp_negative(s - from.maximum[b]) * from.weight[b];
            dr[(size_t)l * batch + b] = n.slope * negative * nce_slope(n, clips, raw[b]) + n.penalty * raw[b];
        }
        dr[(size_t)l * batch + target] = n.slope * positive * nce_slope(n, clips, own) + n.penalty * own;
    }
}

SHARED void nce_grad_target(Nce n, const float *r, int target, NceStatistics from, float *dr)
{
    if (n.clip > 0)
        nce_grad_target_if(true, n, r, target, from, dr);
    else
        nce_grad_target_if(false, n, r, target, from, dr);
}

/* ---- functions of a pair: `views` directions, `batch` images, `positions` locations of an image ---- */

typedef struct {
    AmdimPool *pool;
    const float *r;
    float *dr, *statistics, *result; /* result: loss, penalty, accuracy */
    float *sums;                     /* of a mixture (mixture.h) */
    int component;                   /* of one, else 0 */
    float *scratch; /* squares (V, parts) of double, sources (V, B) of NceSource, sums (V, parts, 2, B) */
} NceJob;

typedef float *NceFunction(AmdimPool *pool, NceJob job);

/* A pair's NCE, its target images cut into `parts` in each direction. */
typedef struct {
    Nce nce;
    int views, parts;
} NceRounds;

/* NCE: from raw scores r (views, batch * positions, batch) the result, its loss, penalty P and accuracy (the
 * share of positives that score above all their negatives), means over directions; and the statistics (views,
 * 2 + positions, batch). NCE_GRAD: the gradient dr of the pair's weighted loss and penalty from r and the
 * statistics; dr may be r. `slope` is the pair's weight / (views * batch * positions), `penalty` 2 * the
 * penalty's weight / (views * batch * batch * positions). */
#define NCE(name, views, batch, positions, clip, slope, penalty, parts)                                      \
    ROUND(name##_targets, NceJob, NceRounds, NCE_OF(views, batch, positions, clip, slope, penalty, parts),   \
          nce_targets(s, j, amdim_scratch(j->pool, worker), part))                                           \
    ROUND(name##_sources, NceJob, NceRounds, NCE_OF(views, batch, positions, clip, slope, penalty, parts),   \
          nce_sources(s, j, part))                                                                           \
    FUNCTION float *name(AmdimPool *pool, NceJob job)                                                        \
    {                                                                                                        \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_targets, &job, (views) * (parts));                                       \
        amdim_parallel(pool, name##_sources, &job, (views) * (parts));                                       \
        nce_end(NCE_OF(views, batch, positions, clip, slope, penalty, parts), &job);                         \
        return job.result;                                                                                   \
    }
#define NCE_GRAD(name, views, batch, positions, clip, slope, penalty)                                        \
    FUNCTION_OF_A_ROUND(name, NceJob, dr, NceRounds,                                                         \
                        NCE_OF(views, batch, positions, clip, slope, penalty, 0), nce_grad_part(s, j, part), \
                        (views) * (batch))
#define NCE_OF(views, batch, positions, clip, slope, penalty, parts)                                         \
    ((NceRounds){{batch, positions, clip, slope, penalty}, views, parts})

_Static_assert(sizeof(double) == NCE_SQUARE_BYTES && sizeof(NceSource) <= NCE_SOURCE_BYTES,
               "the compiler plans memory for them");

/* The sum of squares of each part. */
INLINE double *nce_squares(const NceJob *j)
{
    return (double *)(void *)j->scratch;
}

/* What each source image comes to. */
INLINE NceSource *nce_source_of(NceRounds s, const NceJob *j)
{
    return (NceSource *)(void *)(nce_squares(j) + s.views * s.parts);
}

/* Maxima and sums of a part. */
INLINE NcePart nce_part(NceRounds s, const NceJob *j, int part)
{
    const int batch = s.nce.batch;
    float *all = (float *)(void *)(nce_source_of(s, j) + s.views * batch),
          *sums = all + (size_t)part * NCE_SUMS * batch;
    return (NcePart){.maximum = sums, .sum = sums + batch};
}

/* Where a direction's scores, or those from its target image `target` on, begin. */
INLINE size_t nce_scores_at(Nce n, int view, int target)
{
    return ((size_t)view * n.batch + (size_t)target) * n.positions * n.batch;
}

INLINE NceStatistics nce_statistics_of(NceRounds s, const NceJob *j, int view)
{
    const size_t direction = (size_t)j->component * s.views + (size_t)view;
    return nce_statistics(s.nce, j->statistics + direction * (2 + s.nce.positions) * s.nce.batch);
}

/* A part of a direction's target images: what their scores add for every source image. */
SHARED void nce_targets(NceRounds s, const NceJob *j, float *scratch, int part)
{
    const Nce n = s.nce;
    const int view = part / s.parts, last = piece(n.batch, part % s.parts + 1, s.parts);
    float *top = scratch + n.positions * n.batch;
    NcePart sums = nce_part(s, j, part);
    nce_begin(n, &sums);
    for (int target = piece(n.batch, part % s.parts, s.parts); target < last; target++)
        nce_target(n, j->r + nce_scores_at(n, view, target), target, &sums, scratch, top);
    nce_squares(j)[part] = sums.squares;
}

/* Some source images of a direction: what they add to losses and accuracy, and what their gradients need. */
SHARED void nce_sources(NceRounds s, const NceJob *j, int part)
{
    const Nce n = s.nce;
    const int view = part / s.parts, last = piece(n.batch, part % s.parts + 1, s.parts);
    NcePart sums[NCE_MOST_PARTS];
    for (int i = 0; i < s.parts; i++)
        sums[i] = nce_part(s, j, view * s.parts + i);
    for (int b = piece(n.batch, part % s.parts, s.parts); b < last; b++)
        nce_source_of(s, j)[view * n.batch + b] =
            nce_source(n, j->r + nce_scores_at(n, view, 0), sums, s.parts, b, nce_statistics_of(s, j, view));
}

SHARED void nce_end(NceRounds s, const NceJob *j)
{
    const Nce n = s.nce;
    const double sources = (double)s.views * n.batch, positives = sources * n.positions;
    double loss = 0, squares = 0, picked = 0;
    for (int i = 0; i < s.views * n.batch; i++) {
        loss += nce_source_of(s, j)[i].loss;
        picked += nce_source_of(s, j)[i].picked;
    }
    for (int i = 0; i < s.views * s.parts; i++)
        squares += nce_squares(j)[i];
    j->result[0] = (float)(loss / positives);
    j->result[1] = (float)(squares / (positives * n.batch));
    j->result[2] = (float)(picked / positives);
}

/* A target image of a direction. */
SHARED void nce_grad_part(NceRounds s, const NceJob *j, int part)
{
    const Nce n = s.nce;
    const int view = part / n.batch, target = part % n.batch;
    const size_t at = nce_scores_at(n, view, target);
    nce_grad_target(n, j->r + at, target, nce_statistics_of(s, j, view), j->dr + at);
}

#endif
