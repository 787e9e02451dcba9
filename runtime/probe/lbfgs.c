/* lbfgs.c: limited-memory BFGS (Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.4 and 7.5).
 *
 * Made for smooth convex functions, whose curvature along a step is positive: a backtracking line search is
 * then all that the update of the inverse Hessian needs. */
#include "runtime.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEMORY = 10, /* pairs of steps and changes of the gradient */
    VECTORS = 5 + 2 * MEMORY,
    TRIALS = 20, /* of a line search */
    REVIEW = 10, /* iterations after which the function must have fallen by LEAST_DECREASE of itself */
};
#define SUFFICIENT_DECREASE 1e-4
#define LEAST_DECREASE      1e-7 /* float32 arithmetic in the function shows no less */

typedef struct {
    Objective *value;
    void *arg;
    size_t count;
    double *x, f, *gradient;              /* where we are */
    double *next, next_f, *next_gradient; /* where the line search is */
    double *direction;
    double *step[MEMORY], *change[MEMORY], curvature[MEMORY]; /* newest at place (pairs - 1) % MEMORY */
    int pairs;                                                /* ever kept */
} Search;

static double dot(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void add(size_t n, double *a, double factor, const double *b)
{
    for (size_t i = 0; i < n; i++)
        a[i] += factor * b[i];
}

static void scale(size_t n, double *a, double factor)
{
    for (size_t i = 0; i < n; i++)
        a[i] *= factor;
}

static double gradient_norm(const Search *s)
{
    return sqrt(dot(s->count, s->gradient, s->gradient));
}

/* direction = -(approximate inverse Hessian) * gradient; the two-loop recursion. */
static void find_direction(Search *s)
{
    double *d = s->direction, weight[MEMORY];
    int kept = s->pairs < MEMORY ? s->pairs : MEMORY;
    memcpy(d, s->gradient, s->count * sizeof *d);
    scale(s->count, d, -1);
    for (int k = 1; k <= kept; k++) {
        int i = (s->pairs - k) % MEMORY;
        weight[i] = dot(s->count, s->step[i], d) / s->curvature[i];
        add(s->count, d, -weight[i], s->change[i]);
    }
    if (kept > 0) {
        int newest = (s->pairs - 1) % MEMORY;
        scale(s->count, d, s->curvature[newest] / dot(s->count, s->change[newest], s->change[newest]));
    }
    for (int k = kept; k >= 1; k--) {
        int i = (s->pairs - k) % MEMORY;
        add(s->count, d, weight[i] - dot(s->count, s->change[i], d) / s->curvature[i], s->step[i]);
    }
}

/* Shortens the step until the function falls enough, to where a parabola through what is known has its
 * minimum; false where it does not fall. */
static bool search_line(Search *s)
{
    double slope = dot(s->count, s->direction, s->gradient);
    double length = s->pairs > 0 ? 1 : 1 / gradient_norm(s);
    for (int trial = 0; slope < 0 && trial < TRIALS; trial++) {
        memcpy(s->next, s->x, s->count * sizeof *s->x);
        add(s->count, s->next, length, s->direction);
        s->next_f = s->value(s->arg, s->next, s->next_gradient);
        double bend = s->next_f - s->f - length * slope;
        if (s->next_f <= s->f + SUFFICIENT_DECREASE * length * slope)
            return true;
        double shorter = -slope * length / (2 * bend);
        length *= shorter > 0.1 ? fmin(shorter, 0.5) : 0.1; /* also where the function is not a number */
    }
    return false;
}

static void swap(double **a, double **b)
{
    double *kept = *a;
    *a = *b;
    *b = kept;
}

/* Moves to `next`, and keeps what it teaches about the curvature. */
static void accept(Search *s)
{
    const int place = s->pairs % MEMORY;
    double *step = s->step[place], *change = s->change[place], curvature = 0, changes = 0;
    for (size_t i = 0; i < s->count; i++) {
        const double changed = s->next_gradient[i] - s->gradient[i];
        curvature += (s->next[i] - s->x[i]) * changed;
        changes += changed * changed;
    }
    if (curvature > 1e-12 * changes) { /* else the pair would take the oldest one's place for nothing */
        for (size_t i = 0; i < s->count; i++) {
            step[i] = s->next[i] - s->x[i];
            change[i] = s->next_gradient[i] - s->gradient[i];
        }
        s->curvature[place] = curvature;
        s->pairs++;
    }
    swap(&s->x, &s->next);
    swap(&s->gradient, &s->next_gradient);
    s->f = s->next_f;
}

/* One iteration; a search that fails along a stale direction is tried once more along the gradient. */
static bool descend(Search *s)
{
    find_direction(s);
    if (!search_line(s)) {
        if (s->pairs == 0)
            return false;
        s->pairs = 0;
        find_direction(s);
        if (!search_line(s))
            return false;
    }
    accept(s);
    return true;
}

static int minimise(Search *s, double tolerance, int most)
{
    s->f = s->value(s->arg, s->x, s->gradient);
    double enough = tolerance * gradient_norm(s), before = INFINITY;
    for (int iteration = 0; iteration < most && !signals_received(); iteration++) {
        bool review = iteration % REVIEW == 0;
        if (gradient_norm(s) <= enough || (review && before - s->f <= LEAST_DECREASE * fabs(s->f)))
            return iteration;
        if (review)
            before = s->f;
        if (!descend(s))
            return iteration;
    }
    return most;
}

bool lbfgs_minimise(Objective *value, void *arg, size_t count, double *x, double tolerance, int most,
                    int *iterations, Fault *f)
{
    Search s = {.value = value, .arg = arg, .count = count};
    double *memory = allocate(lbfgs_bytes(count), "the probe's search", f), *free_part = memory;
    if (memory == NULL)
        return false;
    double **vectors[] = {&s.x, &s.gradient, &s.next, &s.next_gradient, &s.direction};
    for (size_t i = 0; i < COUNT(vectors); i++, free_part += count)
        *vectors[i] = free_part;
    for (int i = 0; i < MEMORY; i++, free_part += 2 * count) {
        s.step[i] = free_part;
        s.change[i] = free_part + count;
    }
    memcpy(s.x, x, count * sizeof *x);
    *iterations = minimise(&s, tolerance, most);
    memcpy(x, s.x, count * sizeof *x);
    free(memory);
    return !signals_received() || fault(f, "stopped by a signal");
}

size_t lbfgs_bytes(size_t count)
{
    return VECTORS * count * sizeof(double);
}
