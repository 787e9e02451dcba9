/* shares.h: what the shares of a batch tell each other, and what each makes of it.
 *
 * A batch of B images is cut into R shares of S images, image b being image b % S of share b / S. A share
 * runs a step on its own images alone but for meetings, where each gives something to all:
 *
 *   batch normalisation: sums over its rows, forward and backward;
 *   a pair: its antecedents, which all score against their own consequents. Antecedents have one location
 *     each and consequents many, so this moves the least. A column of scores, one source image, is then
 * spread over all shares; what its NCE needs are sums over the column (SHARE_SUMS), from which the share of
 * the source image makes the loss and what the column's gradient takes (SHARE_NCE); the gradients of these
 * antecedents, each share's part of which goes back to its share.
 *
 * Whatever is added over shares is added in their order, whichever process holds them, so that no bit depends
 * on that. A pair without a mixture is one of one component (mixture.h). */
#ifndef SHARES_H
#define SHARES_H

#include "batchnorm.h"
#include "mixture.h"

/* ---- meetings ---- */

/* `blocks` blocks of `floats` numbers from every share: (blocks, shares, floats). */
static inline float *gather_shares(AmdimStep *s, const float *give, float *get, int blocks, size_t floats)
{
    s->gather(s, &(AmdimMeeting){give, get, blocks, floats});
    return get;
}

/* Of (blocks, shares, floats) that every share gives, the sum of what is for this one: (blocks, floats).
 * `each` is what came of each. */
static inline float *reduce_shares(AmdimStep *s, int shares, const float *give, float *each, float *sum,
                                   int blocks, size_t floats)
{
    const size_t count = (size_t)blocks * floats;
    s->exchange(s, &(AmdimMeeting){give, each, blocks, floats});
    memcpy(sum, each, sizeof *sum * count);
    for (int k = 1; k < shares; k++)
        for (size_t i = 0; i < count; i++)
            sum[i] += each[k * count + i];
    return sum;
}

/* ---- batch normalisation ---- */

typedef struct {
    const Activation *x;
    float
        *sums; /* (views, BATCHNORM_SUM_ROWS, channels): mean, what of it no float holds, squares about it */
    AmdimPool *pool;
} BatchnormSumsJob;

typedef struct {
    BatchnormJob of;
    const float *all; /* (shares, views, BATCHNORM_SUM_ROWS, channels) */
    bool moves;       /* the running statistics: of a process's shares, the first does */
    Activation *y;
    AmdimPool *pool;
} BatchnormShareJob;

typedef struct {
    BatchnormGradJob of;
    float *sums; /* (views, 2, channels): of dy, of dy * z */
    AmdimPool *pool;
} BatchnormGradSumsJob;

typedef struct {
    BatchnormGradJob of;
    const float *sums, *all; /* its own; (shares, views, 2, channels) */
    Activation *dx;
    AmdimPool *pool;
} BatchnormGradShareJob;

typedef float *BatchnormSumsFunction(AmdimPool *pool, BatchnormSumsJob job);
typedef Activation *BatchnormShareFunction(AmdimPool *pool, BatchnormShareJob job);
typedef float *BatchnormGradSumsFunction(AmdimPool *pool, BatchnormGradSumsJob job);
typedef Activation *BatchnormGradShareFunction(AmdimPool *pool, BatchnormGradShareJob job);

/* BATCHNORM_SUMS, BATCHNORM_SHARE: batchnorm.h's BATCHNORM in two, between which shares meet; likewise its
 * gradient, whose dweight and dbias are the share's own. `rows` are a share's, of one view. */
#define BATCHNORM_SUMS(name, views, rows, channels)                                                          \
    FUNCTION_OF_A_ROUND(name, BatchnormSumsJob, sums, Batchnorm, ((Batchnorm){views, rows, channels}),       \
                        share_batchnorm_sums(s, j, part), BATCHNORM_PARTS(channels))
#define BATCHNORM_SHARE(name, views, rows, channels, shares, tail)                                           \
    FUNCTION_OF_A_ROUND(name, BatchnormShareJob, y, Batchnorm, ((Batchnorm){views, rows, channels}),         \
                        share_batchnorm(s, shares, (tail) == TAIL_RELU, j, part), BATCHNORM_PARTS(channels))
#define BATCHNORM_GRAD_SUMS(name, views, rows, channels, tail)                                               \
    FUNCTION_OF_A_ROUND(name, BatchnormGradSumsJob, sums, Batchnorm, ((Batchnorm){views, rows, channels}),   \
                        share_batchnorm_grad_sums(s, (tail) == TAIL_MASK, j, part),                          \
                        BATCHNORM_PARTS(channels))
#define BATCHNORM_GRAD_SHARE(name, views, rows, channels, shares, tail)                                      \
    FUNCTION_OF_A_ROUND(name, BatchnormGradShareJob, dx, Batchnorm, ((Batchnorm){views, rows, channels}),    \
                        share_batchnorm_grad(s, shares, (tail) == TAIL_MASK, j, part),                       \
                        BATCHNORM_PARTS(channels))

/* The channels of a part. */
typedef struct {
    int first, width;
} ShareChannels;

INLINE ShareChannels share_channels(Batchnorm b, int part)
{
    const int first = batchnorm_first(b.channels, part);
    return (ShareChannels){first, batchnorm_first(b.channels, part + 1) - first};
}

SHARED void share_batchnorm_sums(Batchnorm b, const BatchnormSumsJob *j, int part)
{
    const ShareChannels c = share_channels(b, part);
    for (int view = 0; view < b.views; view++) {
        float *to = j->sums + (size_t)view * BATCHNORM_SUM_ROWS * b.channels + c.first;
        BatchnormSums sums;
        batchnorm_sums_of(b, j->x + (size_t)view * b.rows * b.channels + c.first, c.width, &sums);
        for (int i = 0; i < c.width; i++) {
            to[i] = sums.mean[i];
            to[b.channels + i] = (float)sums.rest[i];
            to[2 * (size_t)b.channels + i] = (float)sums.squares[i];
        }
    }
}

/* All shares' sums as those of one: squares about the common mean are those about each share's own, and its
 * distance (Chan, Golub and LeVeque, 1979). */
INLINE void share_batchnorm_meet(Batchnorm b, int shares, const float *all, int view, ShareChannels c,
                                 BatchnormSums *to)
{
    const size_t share = (size_t)b.views * BATCHNORM_SUM_ROWS * b.channels, row = (size_t)b.channels;
    const float *from = all + (size_t)view * BATCHNORM_SUM_ROWS * b.channels + c.first;
    for (int i = 0; i < c.width; i++) {
        double mean = 0, squares = 0;
        for (int k = 0; k < shares; k++)
            mean += (double)from[k * share + i] + from[k * share + row + i];
        mean /= shares;
        for (int k = 0; k < shares; k++) {
            const double distance = (double)from[k * share + i] + from[k * share + row + i] - mean;
            squares += from[k * share + 2 * row + i] + b.rows * distance * distance;
        }
        to->mean[i] = (float)mean;
        to->rest[i] = mean - to->mean[i];
        to->squares[i] = squares;
    }
}

SHARED void share_batchnorm(Batchnorm b, int shares, bool relu, const BatchnormShareJob *j, int part)
{
    const ShareChannels c = share_channels(b, part);
    for (int view = 0; view < b.views; view++) {
        BatchnormSums sums;
        share_batchnorm_meet(b, shares, j->all, view, c, &sums);
        batchnorm_apply(b, (double)b.rows * shares, relu, &j->of, &sums, view, c.first, c.width);
        if (j->moves)
            batchnorm_move_part(&j->of, (double)b.rows * shares, &sums, c.first, c.width);
    }
}

SHARED void share_batchnorm_grad_sums(Batchnorm b, bool relu, const BatchnormGradSumsJob *j, int part)
{
    const ShareChannels c = share_channels(b, part);
    for (int view = 0; view < b.views; view++) {
        float *to = j->sums + (size_t)view * 2 * b.channels + c.first;
        BatchnormGradSums sums;
        batchnorm_grad_sums_of(b, relu, batchnorm_grad_view(b, relu, &j->of, view, c.first), c.width, &sums);
        for (int i = 0; i < c.width; i++) {
            to[i] = (float)sums.sum[i];
            to[b.channels + i] = (float)sums.dot[i];
        }
    }
}

SHARED void share_batchnorm_grad(Batchnorm b, int shares, bool relu, const BatchnormGradShareJob *j, int part)
{
    const ShareChannels c = share_channels(b, part);
    const size_t share = (size_t)b.views * 2 * b.channels;
    double dweight[BATCHNORM_WIDTH] = {0}, dbias[BATCHNORM_WIDTH] = {0};
    for (int view = 0; view < b.views; view++) {
        const size_t at = (size_t)view * 2 * b.channels + c.first;
        BatchnormGradSums sums = {{0}, {0}};
        for (int i = 0; i < c.width; i++) {
            for (int k = 0; k < shares; k++) {
                sums.sum[i] += j->all[k * share + at + i];
                sums.dot[i] += j->all[k * share + at + b.channels + i];
            }
            dbias[i] += j->sums[at + i];
            dweight[i] += j->sums[at + b.channels + i];
        }
        batchnorm_grad_apply(b, (double)b.rows * shares, relu,
                             batchnorm_grad_view(b, relu, &j->of, view, c.first), j->of.weight + c.first,
                             &sums, c.width);
    }
    for (int i = 0; i < c.width; i++) {
        j->of.dweight[c.first + i] = (float)dweight[i];
        j->of.dbias[c.first + i] = (float)dbias[i];
    }
}

/* ---- pairs ---- */

/* A pair's NCE seen from one share: its own `targets` images against the sources of all `shares`. */
typedef struct {
    Nce nce;
    int views, targets, shares, components, parts;
    float temperature;
} ShareNce;

typedef struct {
    AmdimPool *pool;
    int share;     /* which of them this is */
    int component; /* of a mixture, else 0 */
    const float *r;
    float *dr;
    float *sums;      /* (components, views, SHARE_SUM_ROWS, B): see SHARE_SUMS */
    float *positives; /* (components, views, P, S): s of its own */
    const float *all; /* (shares) of what they gave: sums, or marks */
    float *marks;     /* SHARE_RESULTS, then (components, views, 2, S): see SHARE_NCE */
    float *slope;     /* (components, views, P, S): dL/ds of its positives */
    float *result;    /* loss, penalty, accuracy */
    float *scratch;
} ShareNceJob;

typedef float *ShareNceFunction(AmdimPool *pool, ShareNceJob job);

#define SHARE_NCE_OF(views, batch, targets, shares, positions, components, temperature, clip, slope,         \
                     penalty, parts)                                                                         \
    ((ShareNce){                                                                                             \
        {batch, positions, clip, slope, penalty}, views, targets, shares, components, parts, temperature})

/* SHARE_SUMS: the component's part of sums and positives, from its raw scores r (views, targets * positions,
 * batch).
 * SHARE_NCE: from all shares' sums and its own positives, for each source image of its own what the gradient
 * of its column needs wherever the column's rows are (NceStatistics' maximum and weight), in marks, with what
 * the share adds to the result; and the slopes of its positives.
 * SHARE_RESULT: the pair's result from all shares' marks.
 * SHARE_NCE_GRAD: dr of a component's r, from all shares' marks and its own slopes; dr may be r. */
#define SHARE_SUMS(name, ...)                                                                                \
    ROUND(name##_targets, ShareNceJob, ShareNce, SHARE_NCE_OF(__VA_ARGS__),                                  \
          share_targets(s, j, amdim_scratch(j->pool, worker), part))                                         \
    ROUND(name##_sources, ShareNceJob, ShareNce, SHARE_NCE_OF(__VA_ARGS__), share_sources(s, j, part))       \
    FUNCTION float *name(AmdimPool *pool, ShareNceJob job)                                                   \
    {                                                                                                        \
        const ShareNce s = SHARE_NCE_OF(__VA_ARGS__);                                                        \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_targets, &job, s.views *s.parts);                                        \
        amdim_parallel(pool, name##_sources, &job, s.views);                                                 \
        return job.sums;                                                                                     \
    }
#define SHARE_NCE(name, ...)                                                                                 \
    ROUND(name##_sources, ShareNceJob, ShareNce, SHARE_NCE_OF(__VA_ARGS__), share_nce_sources(s, j, part))   \
    FUNCTION float *name(AmdimPool *pool, ShareNceJob job)                                                   \
    {                                                                                                        \
        const ShareNce s = SHARE_NCE_OF(__VA_ARGS__);                                                        \
        job.pool = pool;                                                                                     \
        amdim_parallel(pool, name##_sources, &job, s.views *s.parts);                                        \
        share_nce_end(s, &job);                                                                              \
        return job.marks;                                                                                    \
    }
#define SHARE_RESULT(name, ...)                                                                              \
    FUNCTION float *name(AmdimPool *pool, ShareNceJob job)                                                   \
    {                                                                                                        \
        (void)pool;                                                                                          \
        share_result(SHARE_NCE_OF(__VA_ARGS__), &job);                                                       \
        return job.result;                                                                                   \
    }
#define SHARE_NCE_GRAD(name, views, batch, targets, ...)                                                     \
    FUNCTION_OF_A_ROUND(name, ShareNceJob, dr, ShareNce, SHARE_NCE_OF(views, batch, targets, __VA_ARGS__),   \
                        share_grad_part(s, j, amdim_scratch(j->pool, worker), part), (views) * (targets))

/* Where the rows of a direction's target image begin in its scores. */
INLINE size_t share_scores_at(ShareNce s, int view, int target)
{
    return ((size_t)view * s.targets + (size_t)target) * s.nce.positions * s.nce.batch;
}

/* Direction `view` of component k, counted through. */
INLINE size_t share_direction(ShareNce s, int k, int view)
{
    return (size_t)k * s.views + (size_t)view;
}

/* A part's sums, in the scratch behind all parts' squares. */
INLINE NcePart share_part(ShareNce s, const ShareNceJob *j, int part)
{
    double *squares = (double *)(void *)j->scratch;
    float *sums = (float *)(void *)(squares + s.views * s.parts) + (size_t)part * NCE_SUMS * s.nce.batch;
    return (NcePart){.maximum = sums, .sum = sums + s.nce.batch};
}

SHARED void share_targets(ShareNce s, const ShareNceJob *j, float *scratch, int part)
{
    const Nce n = s.nce;
    const int view = part / s.parts, last = piece(s.targets, part % s.parts + 1, s.parts);
    float *top = scratch + n.positions * n.batch;
    NcePart sums = share_part(s, j, part);
    nce_begin(n, &sums);
    for (int target = piece(s.targets, part % s.parts, s.parts); target < last; target++)
        nce_target(n, j->r + share_scores_at(s, view, target), j->share * s.targets + target, &sums, scratch,
                   top);
    ((double *)(void *)j->scratch)[part] = sums.squares;
}

/* A direction: its parts' sums as one, and its positives. */
SHARED void share_sources(ShareNce s, const ShareNceJob *j, int view)
{
    const Nce n = s.nce;
    const size_t direction = share_direction(s, j->component, view);
    float *maximum = j->sums + direction * SHARE_SUM_ROWS * n.batch, *sum = maximum + n.batch,
          *squares = sum + n.batch, *positive = j->positives + direction * n.positions * s.targets;
    for (int b = 0; b < n.batch; b++) {
        double top = NCE_EMPTY, all = 0;
        for (int i = 0; i < s.parts; i++)
            top = MAX_OF(share_part(s, j, view * s.parts + i).maximum[b], top);
        for (int i = 0; i < s.parts; i++) {
            const NcePart from = share_part(s, j, view * s.parts + i);
            all += from.sum[b] * wide_exp(from.maximum[b] - top);
        }
        maximum[b] = (float)top;
        sum[b] = (float)all;
        squares[b] = b < s.parts ? (float)((double *)(void *)j->scratch)[view * s.parts + b] : 0;
    }
    for (int target = 0; target < s.targets; target++)
        for (int l = 0; l < n.positions; l++)
            positive[(size_t)l * s.targets + target] =
                nce_score(n, n.clip > 0,
                          j->r[share_scores_at(s, view, target) + (size_t)l * n.batch +
                               (size_t)(j->share * s.targets + target)]);
}

/* All shares' negatives of source image b, of one direction and component. */
typedef struct {
    double maximum, sum;
} ShareNegatives;

INLINE ShareNegatives share_negatives(ShareNce s, const float *all, size_t direction, int b)
{
    const size_t batch = (size_t)s.nce.batch, share = (size_t)s.components * s.views * SHARE_SUM_ROWS * batch;
    const float *from = all + direction * SHARE_SUM_ROWS * batch + (size_t)b;
    ShareNegatives n = {NCE_EMPTY, 0};
    for (int k = 0; k < s.shares; k++)
        n.maximum = MAX_OF((double)from[k * share], n.maximum);
    for (int k = 0; k < s.shares; k++)
        n.sum += from[k * share + batch] * wide_exp(from[k * share] - n.maximum);
    return n;
}

/* What the mixture's own arithmetic takes: of one source image, each component's negatives. */
typedef struct {
    ShareNegatives negatives[MIXTURE_MOST];
    double weight[MIXTURE_MOST]; /* what each column's gradient takes, added up over the positives */
} ShareSource;

/* Where s of the positive (own image i, l) by component k lies in positives, and its slope in slope. */
INLINE size_t share_positive_at(ShareNce s, int k, int view, int i, int l)
{
    return (share_direction(s, k, view) * s.nce.positions + (size_t)l) * s.targets + (size_t)i;
}

INLINE Seeing share_sees(const ShareNceJob *j, const ShareSource *source, int k, size_t positive)
{
    return component_sees(j->positives[positive], source->negatives[k].maximum, source->negatives[k].sum);
}

/* As mixture_positive, of the positive (own image i, l). */
INLINE void share_positive(ShareNce s, const ShareNceJob *j, int view, int i, int l, ShareSource *source,
                           NceSource *sums)
{
    Seeing seen[MIXTURE_MOST];
    double posterior[MIXTURE_MOST];
    seen[0] = share_sees(j, source, 0, share_positive_at(s, 0, view, i, l));
    for (int k = 1; k < s.components; k++)
        seen[k] = share_sees(j, source, k, share_positive_at(s, k, view, i, l));
    mixture_weigh(s.components, s.temperature, seen, posterior, sums);
    for (int k = 0; k < s.components; k++) {
        j->slope[share_positive_at(s, k, view, i, l)] = (float)(posterior[k] * seen[k].slope);
        source->weight[k] += posterior[k] * seen[k].weight;
    }
}

/* Some of a direction's own source images. */
SHARED void share_nce_sources(ShareNce s, const ShareNceJob *j, int part)
{
    const int view = part / s.parts, last = piece(s.targets, part % s.parts + 1, s.parts);
    for (int i = piece(s.targets, part % s.parts, s.parts); i < last; i++) {
        NceSource sums = {0};
        ShareSource source;
        for (int k = 0; k < s.components; k++) {
            source.negatives[k] =
                share_negatives(s, j->all, share_direction(s, k, view), j->share * s.targets + i);
            source.weight[k] = 0;
        }
        for (int l = 0; l < s.nce.positions; l++)
            share_positive(s, j, view, i, l, &source, &sums);
        for (int k = 0; k < s.components; k++) {
            float *mark = j->marks + SHARE_RESULTS + share_direction(s, k, view) * 2 * s.targets + i;
            mark[0] = (float)source.negatives[k].maximum;
            mark[s.targets] = (float)source.weight[k];
        }
        ((NceSource *)(void *)j->scratch)[view * s.targets + i] = sums;
    }
}

SHARED void share_nce_end(ShareNce s, const ShareNceJob *j)
{
    const NceSource *source = (const NceSource *)(const void *)j->scratch;
    double loss = 0, squares = 0, picked = 0;
    for (int i = 0; i < s.views * s.targets; i++) {
        loss += source[i].loss;
        picked += source[i].picked;
    }
    for (int direction = 0; direction < s.components * s.views; direction++)
        for (int b = 0; b < s.nce.batch; b++)
            squares += j->sums[((size_t)direction * SHARE_SUM_ROWS + 2) * s.nce.batch + (size_t)b];
    const float results[SHARE_RESULTS] = {(float)loss, (float)squares, (float)picked};
    memcpy(j->marks, results, sizeof results);
}

/* Floats of a share's marks. */
INLINE size_t share_marks(ShareNce s)
{
    return SHARE_RESULTS + (size_t)s.components * s.views * 2 * s.targets;
}

SHARED void share_result(ShareNce s, const ShareNceJob *j)
{
    const double sources = (double)s.views * s.nce.batch, positives = sources * s.nce.positions;
    double sum[SHARE_RESULTS] = {0};
    for (int k = 0; k < s.shares; k++)
        for (int i = 0; i < SHARE_RESULTS; i++)
            sum[i] += j->all[(size_t)k * share_marks(s) + (size_t)i];
    j->result[0] = (float)(sum[0] / positives);
    j->result[1] = (float)(sum[1] / (positives * s.nce.batch * s.components));
    j->result[2] = (float)(sum[2] / positives);
}

/* A target image of a direction. The marks of all sources, and this image's slopes where a positive's column
 * is, as NCE_GRAD takes them (nce.h). */
SHARED void share_grad_part(ShareNce s, const ShareNceJob *j, float *scratch, int part)
{
    const Nce n = s.nce;
    const int view = part / s.targets, target = part % s.targets, own = j->share * s.targets + target;
    const size_t direction = share_direction(s, j->component, view), at = share_scores_at(s, view, target);
    const NceStatistics from = nce_statistics(n, scratch);
    for (int k = 0; k < s.shares; k++) {
        const float *mark = j->all + (size_t)k * share_marks(s) + SHARE_RESULTS + direction * 2 * s.targets;
        memcpy(from.maximum + k * s.targets, mark, sizeof(float) * (size_t)s.targets);
        memcpy(from.weight + k * s.targets, mark + s.targets, sizeof(float) * (size_t)s.targets);
    }
    for (int l = 0; l < n.positions; l++)
        from.slope[(size_t)l * n.batch + (size_t)own] =
            j->slope[(direction * n.positions + (size_t)l) * s.targets + (size_t)target];
    nce_grad_target(n, j->r + at, own, from, j->dr + at);
}

#endif
