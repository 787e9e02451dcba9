/* schedule.c: the fastest schedule that keeps to a budget of memory.
 *
 * Two things give memory back for products made twice: activations computed again in the backward pass
 * (recompute.c), and the encoder run a chunk of the images at a time, once for the features and once more for
 * the gradients, so that all its activations are a chunk's. Gradients are the same sums either way, in
 * another order. Every combination of a few amounts of the first with sizes of the second that halve is
 * compiled as far as its plan, which tells its peak and its FLOP exactly; the one that runs the least wins.
 */
#include "amdimc.h"
#include <math.h>
#include <string.h>

static const double recompute_budgets[] = {RECOMPUTE_BUDGET, 2 * RECOMPUTE_BUDGET, 4 * RECOMPUTE_BUDGET, 1};

/* What a chunk costs besides its products, in the FLOP that would take as long: every weight is packed twice
 * and its gradient added to, and products are smaller. About 4 ns a weight, measured (docs/memory.md:
 * amdim.yaml in 4, 8 and 64 chunks). */
static const double FLOP_PER_WEIGHT = 800;

double schedule_cost(const Program *p)
{
    const int chunks = p->schedule.chunk ? p->net->images / p->schedule.chunk : 0;
    return cost_run_flop(p->step) + FLOP_PER_WEIGHT * chunks * (double)p->params->trained_floats;
}

typedef struct {
    Arena *arena;
    const Net *net;
    const Choices *choices;
    size_t budget;
    Program *best;  /* the fastest within the budget */
    Program *least; /* the one that needs the least memory */
} Search;

static void try(Search *s, int chunk, double budget)
{
    Program *p = compile_schedule(s->arena, s->net, s->choices, (Schedule){chunk, budget});
    if (!s->least || p->peak.total < s->least->peak.total)
        s->least = p;
    if (p->peak.total <= s->budget && (!s->best || schedule_cost(p) < schedule_cost(s->best)))
        s->best = p;
}

static void try_chunk(Search *s, int chunk)
{
    for (size_t i = 0; i < COUNT(recompute_budgets); i++)
        try(s, chunk, recompute_budgets[i]);
}

static double mebibytes(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* What the least is made of, and why it is no less. */
static void refuse(Diagnostics *d, const Search *s)
{
    const PeakMemory *m = &s->least->peak;
    const LibraryMemory *l = &s->least->library;
    if (s->net->spec->target.is_library)
        diag_error(d, s->net->spec->target.memory.at,
                   "the library needs at least %.0fKiB: weights %.1f KiB, moments %.1f, work %.1f (a batch "
                   "of views, "
                   "activations and gradients)",
                   ceil((double)l->total / 1024), (double)l->params / 1024, (double)l->state / 1024,
                   (double)(l->total - l->params - l->state) / 1024);
    else
        diag_error(d, s->net->spec->target.memory.at,
                   "the program needs at least %.0fKiB: weights and optimiser %.1f MiB, activations and "
                   "gradients %.1f, "
                   "pictures %.1f, threads %.1f, code and libraries %.1f%s",
                   ceil((double)m->total / 1024), mebibytes(m->weights + m->optimizer), mebibytes(m->arena),
                   mebibytes(m->pictures + m->data), mebibytes(m->threads), mebibytes(m->program),
                   m->meetings
                       ? arena_printf(s->arena, ", meetings of ranks with MPI %.1f", mebibytes(m->meetings))
                       : "");
    const int below = encoder_layers_below_batchnorm(s->net);
    if (below <= s->net->top && s->net->layer[below].spec->kind != LAYER_BATCHNORM)
        diag_note(d, s->net->layer[below].spec->at,
                  "from here up, batchnorm couples the images, so the whole batch is in memory at once");
    diag_note(d, (Mark){0}, "a smaller batch, a narrower encoder or smaller embeddings need less");
}

static Search search(Arena *a, const Net *n, const Choices *c)
{
    Search s = {.arena = a, .net = n, .choices = c, .budget = (size_t)n->spec->target.memory.v};
    try(&s, 0, RECOMPUTE_BUDGET);
    if (s.best)
        return s;
    try_chunk(&s, 0);
    for (int chunk = n->images / 2, last = n->images; chunk > 0 && encoder_layers_below_batchnorm(n); chunk--)
        if (n->images % chunk == 0 && 2 * chunk <= last) {
            try_chunk(&s, chunk);
            last = chunk;
        }
    return s;
}

static const Net *net_with(Arena *a, Diagnostics *d, const Net *n, bool tiles, const char *blas)
{
    Spec *s = ARENA_NEW(a, Spec);
    *s = *n->spec;
    s->target.tiles = tiles;
    s->target.blas.v = blas;
    return net_build(a, d, s);
}

/* What is found with another net, if that fits, which is told, or needs less. */
static Search search_instead(Diagnostics *d, const Search *s, const Net *n, const char *without)
{
    if (!n)
        return *s;
    const Search found = search(s->arena, n, s->choices);
    if (found.best)
        diag_note(d, n->spec->target.memory.at, "%s the program would need %.0fKiB", without,
                  ceil((double)s->least->peak.total / 1024));
    return found.best || found.least->peak.total < s->least->peak.total ? found : *s;
}

/* Whether a product is asked of OpenBLAS. */
static bool asks_openblas(const Choices *c)
{
    bool asks = c && c->forced && !strcmp(c->forced, "openblas");
    for (int i = 0; c && i < c->count; i++)
        asks |= !strcmp(c->choice[i].kernel, "openblas");
    return asks;
}

/* Matrix tiles mostly take more scratch than vectors, and OpenBLAS has memory of its own: where they do not
 * fit, vectors may, and own kernels. */
Program *compile_within(Arena *a, Diagnostics *d, const Net *n, const Choices *c)
{
    Search s = search(a, n, c);
    const char *const blas = n->spec->target.blas.v;
    if (!s.best && n->spec->target.tiles)
        s = search_instead(d, &s, net_with(a, d, n, false, blas),
                           "products are made by vectors: by matrix tiles");
    if (!s.best && s.least->openblas && !asks_openblas(c))
        s = search_instead(d, &s, net_with(a, d, n, s.net->spec->target.tiles, "none"),
                           "no product is made by OpenBLAS: with it");
    if (!s.best)
        refuse(d, &s);
    return s.best;
}
