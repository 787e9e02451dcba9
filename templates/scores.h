/* scores.h: the raw scores of pairs, and their gradients: the products on either side of the NCE, by those
 * included before, vectors.h or tiles.h.
 *
 * For each of `views` directions, of a pair whose consequents are side x side locations of `dim` numbers:
 *
 *     r (targets * side * side, batch) = <a, t> / sqrt(dim)     a row a location, a column a source image
 *
 * of a (batch, dim), antecedents of the direction's view, and t (targets * side * side, dim), consequents of
 * the other. Targets are the whole batch, or a share of it. */
#ifndef SCORES_H
#define SCORES_H

#include "kernels.h"

/* Consequents are a map's, of which matrix tiles want floats. */
#define CONSEQUENTS_ARE_NARROW (MAPS_ARE_BFLOAT16 && !MATRIX_TILES)
#if CONSEQUENTS_ARE_NARROW
typedef Bfloat16 Consequent;
#else
typedef float Consequent;
#endif

typedef struct {
    const float *a; /* of all views, one behind the other, as everything here */
    const Consequent *t;
    float *r; /* scores, or their gradient */
    float *da;
    Consequent *dt;
    const float *addend; /* to da */
    const Consequent *dt_addend;
    float *packed; /* a in panels; or the slices of da */
    AmdimPool *pool;
} ScoresJob, ScoresGradTJob;

typedef struct {
    int views, batch, targets, side, dim;
} Scores;

typedef float *ScoresFunction(AmdimPool *pool, ScoresJob job);
typedef Consequent *ScoresGradTFunction(AmdimPool *pool, ScoresJob job);

/* SCORES: r, which is overwritten. A part is a piece of a direction's target images. */
#define SCORES(name, views, batch, targets, side, dim, parts)                                                \
    FUNCTION_OF_ROUNDS(name, ScoresJob, r, Scores, ((Scores){views, batch, targets, side, dim}),             \
                       scores_pack(s, j, part), (views)*PANELS(batch),                                       \
                       scores_part(s, j, amdim_scratch(j->pool, worker), part, parts), (views) * (parts))

/* SCORES_GRAD_A: da = transposed r . t / sqrt(dim), r being the scores' gradient: over `slices` slices of a
 * direction's target images first. With TAIL_ADD, not TAIL_NONE, the addend is added, which may be da. */
#define SCORES_GRAD_A(name, views, batch, targets, side, dim, tail, slices)                                  \
    FUNCTION_OF_ROUNDS(name, ScoresJob, da, Scores, ((Scores){views, batch, targets, side, dim}),            \
                       scores_grad_a_slice(s, j, amdim_scratch(j->pool, worker), part, slices),              \
                       (views) * (slices), scores_grad_a_sum(s, j, tail, part, slices), SCORES_SUMS)

/* SCORES_GRAD_T: dt = r . a / sqrt(dim), in parts as the scores; the tail as for da. */
#define SCORES_GRAD_T(name, views, batch, targets, side, dim, tail, parts)                                   \
    FUNCTION_OF_ROUNDS(name, ScoresJob, dt, Scores, ((Scores){views, batch, targets, side, dim}),            \
                       scores_grad_t_pack(s, j, part), (views)*PANELS(dim),                                  \
                       scores_grad_t_part(s, j, amdim_scratch(j->pool, worker), tail, part, parts),          \
                       (views) * (parts))

enum { SCORES_SUMS = 4 }; /* pieces of da to sum slices in */

INLINE float scores_scale(Scores s)
{
    return (float)(1 / sqrt((double)s.dim));
}

/* Where a view's antecedents, consequents and scores begin. */
INLINE size_t antecedents_at(Scores s, int view)
{
    return (size_t)view * s.batch * s.dim;
}

INLINE size_t consequents_at(Scores s, int view)
{
    return (size_t)view * s.targets * (s.side * s.side) * s.dim;
}

INLINE size_t scores_at(Scores s, int view)
{
    return (size_t)view * s.targets * (s.side * s.side) * s.batch;
}

/* The product of a direction as a 1x1 convolution of maps with a location's numbers. */
INLINE Conv scores_product(Scores s, int in, int out)
{
    return (Conv){s.targets, s.side, in, s.side, out, 1, 1};
}

INLINE void scores_pack(Scores s, const ScoresJob *j, int part)
{
    const int panels = PANELS(s.batch), view = part / panels;
    pack_panel_transposed(j->a + antecedents_at(s, view), s.dim, s.batch, scores_scale(s), part % panels,
                          j->packed + view * panels * PANEL_FLOATS(s.dim));
}

/* Rows of a part's target images: [first, last). */
typedef struct {
    int first, last;
} ScoresRows;

INLINE ScoresRows scores_rows(Scores s, int part, int parts)
{
    const int area = s.side * s.side;
    return (ScoresRows){area * piece(s.targets, part % parts, parts),
                        area * piece(s.targets, part % parts + 1, parts)};
}

INLINE void scores_part(Scores s, const ScoresJob *j, float *scratch, int part, int parts)
{
    const int view = part / parts, other = s.views - 1 - view;
    const ScoresRows rows = scores_rows(s, part, parts);
    const Consequent *t = j->t + consequents_at(s, other);
    ConvJob product = {.y = j->r + scores_at(s, view),
                       .packed = j->packed + view * PANELS(s.batch) * PANEL_FLOATS(s.dim)};
#if CONSEQUENTS_ARE_NARROW
    float *const to = product.y;
    product.x = scratch;
    ROLLED for (int row = rows.first, count; row < rows.last; row += count)
    {
        count = MIN_OF(SCORES_ROWS, rows.last - row);
        copy_activations(t + (size_t)row * s.dim, count * s.dim, scratch);
        product.y = to + (size_t)row * s.batch;
        conv_pixels(scores_product(s, s.dim, s.batch), &product, NULL, TAIL_NONE, 0, count);
    }
#else
    product.x = t;
    conv_pixels(scores_product(s, s.dim, s.batch), &product, scratch, TAIL_NONE, rows.first, rows.last);
#endif
}

INLINE void scores_grad_a_slice(Scores s, const ScoresJob *j, float *scratch, int part, int slices)
{
    const int view = part / slices, other = s.views - 1 - view;
    const ConvGradWJob product = {.x = j->r + scores_at(s, view),
                                  .dy = (const void *)(j->t + consequents_at(s, other)),
                                  .partial = j->packed + slices * antecedents_at(s, view)};
    conv_grad_w_slice(scores_product(s, s.batch, s.dim), &product, scratch, part % slices, slices);
}

INLINE void scores_grad_a_sum(Scores s, const ScoresJob *j, int tail, int part, int slices)
{
    for (int view = 0; view < s.views; view++) {
        const size_t at = antecedents_at(s, view);
        sum_slices(j->packed + slices * at, slices, (size_t)s.batch * s.dim, scores_scale(s),
                   tail == TAIL_ADD ? j->addend + at : NULL, j->da + at, part, SCORES_SUMS);
    }
}

INLINE void scores_grad_t_pack(Scores s, const ScoresJob *j, int part)
{
    const int panels = PANELS(s.dim), view = part / panels;
    pack_panel(j->a + antecedents_at(s, view), s.batch, s.dim, scores_scale(s), part % panels,
               j->packed + view * panels * PANEL_FLOATS(s.batch));
}

INLINE void scores_grad_t_part(Scores s, const ScoresJob *j, float *scratch, int tail, int part, int parts)
{
    const int view = part / parts, other = s.views - 1 - view;
    const ScoresRows rows = scores_rows(s, part, parts);
    const size_t target = consequents_at(s, other);
    ConvJob product = {.x = j->r + scores_at(s, view),
                       .packed = j->packed + view * PANELS(s.dim) * PANEL_FLOATS(s.batch)};
#if CONSEQUENTS_ARE_NARROW
    const float *const from = product.x;
    product.y = scratch;
    ROLLED for (int row = rows.first, count; row < rows.last; row += count)
    {
        const size_t at = target + (size_t)row * s.dim;
        count = MIN_OF(SCORES_ROWS, rows.last - row);
        product.x = from + (size_t)row * s.batch;
        conv_pixels(scores_product(s, s.batch, s.dim), &product, NULL, TAIL_NONE, 0, count);
        narrow_tail(tail, scratch, tail == TAIL_ADD ? j->dt_addend + at : NULL, NULL, (size_t)count * s.dim,
                    j->dt + at);
    }
#else
    product.y = j->dt + target;
    product.addend = tail == TAIL_ADD ? j->dt_addend + target : NULL;
    conv_pixels(scores_product(s, s.batch, s.dim), &product, scratch, tail, rows.first, rows.last);
#endif
}

#endif
