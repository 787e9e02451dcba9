/* cmd_selfcheck.c: does this program compute what it should, on this machine?
 *
 * On made-up input and weights that hide no path, the gradients of a step are held against central
 * differences of its loss: first of all tensors at once, along the gradient and at random; then of each
 * tensor at random, as often as time allows. Then the step must repeat bit for bit, on any number of threads.
 *
 * A tensor is moved by +h and -h, signs drawn for every number. For an error e of the gradient, the
 * differences are off by 2h times something of variance |e|^2, so their mean square over several draws
 * estimates |e|. Kinks of ReLUs spoil some differences and rounding those of small h, so several h are tried
 * and the best counts.
 *
 * A step on maps of bfloat16 is rounded far more than differences are small: it is held against the same
 * model's step in float32. */
#include "runtime.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 8, NOISE_TRIES = 3 };
static const double SECONDS = 40;       /* for everything, where the steps themselves let it */
static const double ENOUGH_SECONDS = 8; /* after which no other round begins */
static const double TOLERANCE = 0.03;   /* of a gradient's norm */
static const double GOOD_ENOUGH = 0.01; /* no other h is tried */
static const double NOISE_MARGIN = 8;   /* rounding of two losses over what was seen of it */
/* A tensor's gradient is off by a share of its own norm and of this much of the whole's, to which float32 is
 * held where terms cancel. */
static const double WHOLE_SHARE = 1e-3;
/* What a step on maps of bfloat16 may differ by from one of floats: of the gradient's norm, of the loss.
 * Behind many batch normalisations rounding alone does more. So it is where float32's own gradient moves by
 * half as much when every weight is off by what its number of bfloat16 may be. */
static const double BFLOAT16_GRADIENT = 0.2, BFLOAT16_LOSS = 0.02, ROUNDINGS = 2;
static const float BFLOAT16_ROUNDING = 0x1p-9f;
/* What a tensor is moved by, in units of its root mean square: where rounding begins to matter little, and
 * around there, in the order they are tried. */
static const double SMALLEST_REACH = 0x1p-12, LARGEST_REACH = 0x1p-5;
static const double around[] = {1, 4, 0.25, 16, 0.0625};

typedef struct {
    double norm;  /* of its gradient */
    double scale; /* its root mean square */
    double sum;   /* of the squared errors of its directions, relative */
    int directions;
} Checked;

typedef struct {
    const AmdimModel *model;
    Machine machine;
    float *x, *start;     /* input; all parameters */
    float *gradient;      /* (trained_floats) at `start` */
    bool repeating, same; /* a step is held against the gradient in place of giving it */
    Checked *tensor;      /* (tensors) */
    double whole;         /* norm of the gradient */
    double noise;         /* rounding of a loss */
    double step_seconds, begun, deadline;
    int threads;
    char failure[256]; /* the first one; empty without */
    bool too_coarse;   /* it is bfloat16's rounding, not this machine's */
} Selfcheck;

/* Which tensors are moved, and how. */
typedef struct {
    int first, count;
    bool along; /* their own gradients; else at random */
    int round;
} Direction;

static void fails(Selfcheck *c, const char *what, const char *name, double error)
{
    if (!*c->failure)
        snprintf(c->failure, sizeof c->failure, "%s %s is off by %.2g %% of its norm", what, name,
                 100 * error);
}

/* ---- steps ---- */

static void keep_gradient(AmdimStep *step, int tensor, const float *gradient)
{
    Selfcheck *c = step->taker;
    const AmdimTensor *t = &c->model->tensor[tensor];
    float *kept = c->gradient + t->offset;
    if (c->repeating)
        c->same &= memcmp(kept, gradient, t->count * sizeof *gradient) == 0;
    else
        memcpy(kept, gradient, t->count * sizeof *gradient);
}

static bool end_there(AmdimStep *step)
{
    (void)step;
    return false;
}

/* The loss with the parameters as they are. */
static double loss_of(Selfcheck *c)
{
    c->machine.step.forward_done = end_there;
    machine_step(&c->machine);
    return c->machine.step.loss;
}

static void go_to_start(Selfcheck *c)
{
    memcpy(c->machine.params, c->start, c->model->param_floats * sizeof(float));
}

static void step_from_start(Selfcheck *c)
{
    go_to_start(c);
    c->machine.step.forward_done = NULL;
    machine_step(&c->machine);
}

/* ---- setting up ---- */

/* What begins at 0 or 1 is moved from there: a second convolution of zeros would hide the first. */
static void draw_start(const AmdimModel *m, float *params)
{
    static const double vector_bound = 0.25;
    weights_init(m, 0, params);
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        if (!t->trained || (t->init != AMDIM_INIT_ZERO && t->init != AMDIM_INIT_ONE))
            continue;
        double bound = t->rank == 4 ? 1 / sqrt((double)t->dims[1] * t->dims[2] * t->dims[3]) : vector_bound;
        Random r = random_at(0, RANDOM_SELFCHECK, 0, (uint64_t)i, 0);
        for (size_t j = 0; j < t->count; j++)
            params[t->offset + j] += (float)random_between(&r, -bound, bound);
    }
}

static bool set_up(Selfcheck *c, Fault *f)
{
    const AmdimModel *m = c->model;
    if (!machine_new(&c->machine, m, c->threads, f))
        return false;
    if (company_processes(c->machine.company) > 1) { /* how much is checked depends on a process's clock */
        fault(f, "selfcheck is for one process, which holds all ranks: start it without a launcher");
        return company_fails(f);
    }
    c->x = made_up_input(&c->machine, 0, f);
    c->start = c->x ? allocate(m->param_floats * sizeof(float), "the weights", f) : NULL;
    c->gradient = c->start ? allocate_zero(m->trained_floats * sizeof(float), "the gradients", f) : NULL;
    c->tensor = c->gradient ? allocate_zero((size_t)m->tensors * sizeof *c->tensor, "the checks", f) : NULL;
    if (!c->tensor)
        return false;
    draw_start(m, c->start);
    machine_draw_locations(&c->machine, 0, 0);
    c->machine.step.x = c->x;
    c->machine.step.take = keep_gradient;
    c->machine.step.taker = c;
    return true;
}

static void tear_down(Selfcheck *c)
{
    machine_free(&c->machine);
    free(c->x);
    free(c->start);
    free(c->gradient);
    free(c->tensor);
}

static double norm_of(const float *v, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)v[i] * v[i];
    return sqrt(sum);
}

/* The loss at the start, with its weights moved by a bit each: what differs is rounding. */
static void measure_noise(Selfcheck *c)
{
    go_to_start(c);
    double loss = loss_of(c);
    for (int i = 0; i < NOISE_TRIES; i++) {
        Random r = random_at(0, RANDOM_SELFCHECK, 1, (uint64_t)i, 0);
        go_to_start(c);
        for (size_t j = 0; j < c->model->trained_floats; j++)
            c->machine.params[j] *= random_u32(&r) & 1 ? 1 + 0x1p-23f : 1 - 0x1p-24f;
        c->noise = fmax(c->noise, fabs(loss_of(c) - loss));
    }
}

static bool measure(Selfcheck *c)
{
    const AmdimModel *m = c->model;
    double begun = clock_seconds();
    step_from_start(c);
    c->step_seconds = clock_seconds() - begun;
    c->whole = norm_of(c->gradient, m->trained_floats);
    for (int i = 0; i < m->tensors; i++) {
        const AmdimTensor *t = &m->tensor[i];
        if (!t->trained)
            continue;
        c->tensor[i].norm = norm_of(c->gradient + t->offset, t->count);
        c->tensor[i].scale = norm_of(c->start + t->offset, t->count) / sqrt((double)t->count);
    }
    measure_noise(c);
    say_progress(stdout, "a step: loss %.6g, gradient of norm %.6g; %.3g s on %d threads",
                 c->machine.step.loss, c->whole, c->step_seconds, c->threads);
    if (isfinite(c->machine.step.loss) && isfinite(c->whole) && c->whole > 0)
        return true;
    snprintf(c->failure, sizeof c->failure, "loss and gradient of the step should be finite, and not 0");
    return false;
}

/* ---- gradients ---- */

/* Moves one tensor; returns what that adds to the loss, by its gradient. */
static double move_tensor(Selfcheck *c, const Direction *d, int i, double reach)
{
    const AmdimTensor *t = &c->model->tensor[i];
    const Checked *k = &c->tensor[i];
    const float *start = c->start + t->offset, *gradient = c->gradient + t->offset;
    float *p = c->machine.params + t->offset;
    const double h = reach * k->scale, unit = k->norm > 0 ? sqrt((double)t->count) / k->norm : 0;
    Random r = random_at(0, RANDOM_SELFCHECK, 2 + (uint64_t)d->round, (uint64_t)i, 0);
    double change = 0;
    uint32_t signs = 0;
    for (size_t j = 0; j < t->count; j++, signs >>= 1) {
        if (j % 32 == 0 && !d->along)
            signs = random_u32(&r);
        const double by = d->along ? unit * gradient[j] : signs & 1 ? 1 : -1;
        p[j] = (float)(start[j] + h * by);
        change += gradient[j] * ((double)p[j] - start[j]); /* by what float32 makes of it */
    }
    return change;
}

static double move(Selfcheck *c, const Direction *d, double reach)
{
    double change = 0;
    go_to_start(c);
    for (int i = d->first; i < d->first + d->count; i++)
        if (c->model->tensor[i].trained)
            change += move_tensor(c, d, i, reach);
    return change;
}

/* What errors are relative to: a difference over `reach` 1 either way, as large as it is on the average. */
static double usual_difference(const Selfcheck *c, const Direction *d)
{
    double squares = 0, sum = 0;
    for (int i = d->first; i < d->first + d->count; i++) {
        const Checked *k = &c->tensor[i];
        squares += pow(k->scale * (k->norm + WHOLE_SHARE * c->whole), 2);
        sum += k->scale * k->norm * sqrt((double)c->model->tensor[i].count);
    }
    return 2 * (d->along ? sum : sqrt(squares));
}

/* What the rounding of two losses may make of an error. */
static double rounding(const Selfcheck *c, const Direction *d, double reach)
{
    return NOISE_MARGIN * c->noise / (reach * usual_difference(c, d));
}

static double error_at(Selfcheck *c, const Direction *d, double reach)
{
    const double expected = move(c, d, reach), above = loss_of(c);
    const double expected_below = move(c, d, -reach), below = loss_of(c);
    const double off = fabs((above - below) - (expected - expected_below));
    const double error = off / (reach * usual_difference(c, d)) - rounding(c, d, reach);
    return error < 0 ? 0 : error;
}

/* NAN where time is over before the error is known. */
static double error_along(Selfcheck *c, const Direction *d)
{
    double first = fmin(fmax(SMALLEST_REACH, rounding(c, d, GOOD_ENOUGH)), LARGEST_REACH), best = INFINITY;
    for (size_t i = 0; i < COUNT(around) && !(best <= GOOD_ENOUGH); i++) {
        if (clock_seconds() > c->deadline)
            return NAN;
        double error = error_at(c, d, first * around[i]);
        best = isfinite(error) && error < best ? error : best;
    }
    return best;
}

static void check_all_at_once(Selfcheck *c)
{
    static const char *const ways[] = {"at random", "along the gradient"};
    for (int along = 1; along >= 0; along--) {
        const Direction all = {.count = c->model->tensors, .along = along};
        double error = error_along(c, &all);
        say_progress(stdout, "all tensors at once, %s: within %.2g %%", ways[along], 100 * error);
        if (!(error <= TOLERANCE))
            fails(c, "the gradient of all tensors at once,", ways[along], error);
        if (along && !(rounding(c, &all, LARGEST_REACH) <= TOLERANCE) && !*c->failure)
            snprintf(c->failure, sizeof c->failure, "rounding moves the loss by %.2g, which hides everything",
                     c->noise);
    }
}

/* In an order of its own each round, which spreads over the layers what there is time for. */
static bool check_tensors(Selfcheck *c, Fault *f)
{
    const AmdimModel *m = c->model;
    uint32_t *order = allocate((size_t)m->tensors * sizeof *order, "the order of the checks", f);
    if (!order)
        return false;
    for (int round = 0; round < ROUNDS; round++) {
        if (round > 0 && clock_seconds() > c->begun + ENOUGH_SECONDS)
            break;
        random_order(0, (uint64_t)round, order, (uint32_t)m->tensors);
        for (int i = 0; i < m->tensors && clock_seconds() < c->deadline; i++) {
            Checked *k = &c->tensor[order[i]];
            if (!m->tensor[order[i]].trained)
                continue;
            double error = error_along(c, &(Direction){.first = (int)order[i], .count = 1, .round = round});
            if (isnan(error))
                continue;
            k->sum += error * error;
            k->directions++;
        }
    }
    free(order);
    return true;
}

/* ---- what is said ---- */

/* encoder.3 and embed.5 are groups. */
static size_t group_length(const char *name)
{
    size_t length = strcspn(name, ".");
    return name[length] ? length + 1 + strcspn(name + length + 1, ".") : length;
}

static bool same_group(const char *a, const char *b)
{
    size_t length = group_length(a);
    return group_length(b) == length && strncmp(a, b, length) == 0;
}

/* One line a group; returns how many of its tensors there was no time for. */
static int say_group(Selfcheck *c, int first, int end)
{
    const AmdimModel *m = c->model;
    int checked = 0, directions = 0, flat = 0;
    double worst = 0;
    for (int i = first; i < end; i++) {
        const Checked *k = &c->tensor[i];
        double error = k->directions ? sqrt(k->sum / k->directions) : 0;
        checked += k->directions > 0;
        directions += k->directions;
        flat += rounding(c, &(Direction){.first = i, .count = 1}, LARGEST_REACH) > TOLERANCE;
        worst = fmax(worst, error);
        if (!(error <= TOLERANCE))
            fails(c, "the gradient of", m->tensor[i].name, error);
    }
    char found[40] = "not checked", doubt[96] = "";
    if (checked > 0)
        snprintf(found, sizeof found, "within %.2g %%", 100 * worst);
    if (flat > 0)
        snprintf(doubt, sizeof doubt, "; rounding may hide errors of %d with gradients near 0", flat);
    say_progress(stdout, "%-12.*s %d of %d tensors, %d directions: %s%s",
                 (int)group_length(m->tensor[first].name), m->tensor[first].name, checked, end - first,
                 directions, found, doubt);
    return end - first - checked;
}

static void say_groups(Selfcheck *c)
{
    const AmdimModel *m = c->model;
    int left_out = 0;
    for (int first = 0, end; first < m->tensors && m->tensor[first].trained; first = end) {
        for (end = first + 1; end < m->tensors && m->tensor[end].trained &&
                              same_group(m->tensor[first].name, m->tensor[end].name);)
            end++;
        left_out += say_group(c, first, end);
    }
    if (left_out > 0)
        say_progress(stdout, "no time was left for %d tensors by themselves", left_out);
}

/* ---- against float32 ---- */

/* The reference's machine, and where its step's gradient goes, (trained_floats). */
typedef struct {
    const AmdimModel *model;
    Machine machine;
    float *gradient;      /* of the step that is being made */
    float *exact, *moved; /* at the start; with the weights moved */
} Reference;

static void keep_of_reference(AmdimStep *step, int tensor, const float *gradient)
{
    Reference *r = step->taker;
    const AmdimTensor *t = &r->model->tensor[tensor];
    memcpy(r->gradient + t->offset, gradient, t->count * sizeof *gradient);
}

/* Both have the same tensors. */
static bool reference_new(Reference *r, const Selfcheck *c, Fault *f)
{
    const AmdimModel *m = c->model->reference;
    *r = (Reference){.model = m};
    r->exact = allocate_zero(m->trained_floats * sizeof *r->exact, "the gradients", f);
    r->moved = r->exact ? allocate_zero(m->trained_floats * sizeof *r->moved, "the gradients", f) : NULL;
    if (!r->moved || !machine_new(&r->machine, m, c->threads, f))
        return false;
    machine_draw_locations(&r->machine, 0, 0);
    r->machine.step.x = c->x;
    r->machine.step.take = keep_of_reference;
    r->machine.step.taker = r;
    memcpy(r->machine.params, c->start, m->param_floats * sizeof *c->start);
    r->gradient = r->exact;
    machine_step(&r->machine);
    return true;
}

static void reference_free(Reference *r)
{
    machine_free(&r->machine);
    free(r->exact);
    free(r->moved);
}

/* Of tensors [first, end): the difference's norm over that of `exact`. */
static double difference(const AmdimModel *m, const float *exact, const float *other, int first, int end)
{
    double of = 0, off = 0;
    for (int i = first; i < end; i++) {
        const AmdimTensor *t = &m->tensor[i];
        for (size_t j = t->offset; t->trained && j < t->offset + t->count; j++) {
            of += (double)exact[j] * exact[j];
            off += ((double)other[j] - exact[j]) * ((double)other[j] - exact[j]);
        }
    }
    return off > 0 ? sqrt(off / of) : 0;
}

/* What rounding may do to this gradient. */
static double moved_by_rounding(const Selfcheck *c, Reference *r)
{
    const AmdimModel *m = r->model;
    Random random = random_at(0, RANDOM_SELFCHECK, 1, NOISE_TRIES, 0);
    memcpy(r->machine.params, c->start, m->param_floats * sizeof *c->start);
    for (size_t i = 0; i < m->trained_floats; i++)
        r->machine.params[i] *= random_u32(&random) & 1 ? 1 + BFLOAT16_ROUNDING : 1 - BFLOAT16_ROUNDING;
    r->gradient = r->moved;
    machine_step(&r->machine);
    return difference(m, r->exact, r->moved, 0, m->tensors);
}

/* Of a gradient that is further off than it may be: whether that is rounding. */
static bool is_rounding(const Selfcheck *c, Reference *r, double whole)
{
    const double moved = moved_by_rounding(c, r);
    say_progress(stdout, "weights off by a rounding alone move float32's gradient by %.2g %%", 100 * moved);
    return whole <= ROUNDINGS * moved;
}

static void compare_with(Selfcheck *c, Reference *r, double loss)
{
    const AmdimModel *m = c->model;
    for (int first = 0, end; first < m->tensors && m->tensor[first].trained; first = end) {
        for (end = first + 1; end < m->tensors && m->tensor[end].trained &&
                              same_group(m->tensor[first].name, m->tensor[end].name);)
            end++;
        say_progress(stdout, "%-12.*s %d tensors: within %.2g %% of float32's gradient",
                     (int)group_length(m->tensor[first].name), m->tensor[first].name, end - first,
                     100 * difference(m, r->exact, c->gradient, first, end));
    }
    const double reference = r->machine.step.loss, off = fabs(loss - reference) / fabs(reference),
                 whole = difference(m, r->exact, c->gradient, 0, m->tensors);
    say_progress(stdout, "all tensors: within %.2g %%; the loss: within %.2g %%", 100 * whole, 100 * off);
    if (!(whole <= BFLOAT16_GRADIENT)) {
        c->too_coarse = is_rounding(c, r, whole);
        fails(c, "the gradient of all tensors at once,", "against float32,", whole);
    } else if (!(off <= BFLOAT16_LOSS) && !*c->failure)
        snprintf(c->failure, sizeof c->failure, "the loss is %.6g, and %.6g in float32", loss, reference);
}

static bool check_reference(Selfcheck *c, Fault *f)
{
    Reference r;
    step_from_start(c);
    const bool ok = reference_new(&r, c, f);
    if (ok)
        compare_with(c, &r, c->machine.step.loss);
    reference_free(&r);
    return ok;
}

/* ---- repeatability ---- */

static void check_repeat(Selfcheck *c, AmdimPool *pool, const char *how)
{
    AmdimPool *own = c->machine.step.pool;
    const double loss = c->machine.step.loss;
    c->machine.step.pool = pool;
    c->repeating = c->same = true;
    step_from_start(c);
    c->machine.step.pool = own;
    c->same &= memcmp(&loss, &c->machine.step.loss, sizeof loss) == 0;
    say_progress(stdout, "the step again, on %s: %s", how, c->same ? "the same bits" : "DIFFERENT");
    if (!c->same && !*c->failure)
        snprintf(c->failure, sizeof c->failure, "the step again, on %s, gives other bits", how);
}

static bool check_repeats(Selfcheck *c, Fault *f)
{
    int other = c->threads == 1 ? 2 : 1;
    AmdimPool *pool = pool_new(other, c->model->scratch_bytes, f);
    if (!pool)
        return false;
    c->repeating = false;
    step_from_start(c); /* what is compared with */
    check_repeat(c, c->machine.step.pool, "as many threads");
    check_repeat(c, pool, other == 1 ? "one thread" : "two threads");
    pool_free(pool);
    return true;
}

static bool check_everything(Selfcheck *c, Fault *f)
{
    c->begun = clock_seconds();
    if (!set_up(c, f))
        return false;
    if (c->model->reference) {
        if (measure(c) && !check_reference(c, f))
            return false;
    } else if (measure(c)) {
        c->deadline = INFINITY;
        check_all_at_once(c);
        c->deadline = c->begun + SECONDS - c->step_seconds * (2 + c->threads); /* what repeating takes */
        if (!check_tensors(c, f))
            return false;
        say_groups(c);
    }
    return check_repeats(c, f);
}

int command_selfcheck(const AmdimModel *m, const Options *o, Fault *f)
{
    Selfcheck c = {.model = m, .threads = o->threads};
    bool done = check_everything(&c, f);
    tear_down(&c);
    if (!done)
        return 1;
    if (!*c.failure) {
        printf("selfcheck: passed\n");
        return 0;
    }
    printf("selfcheck: FAILED: %s\n", c.failure);
    fault(
        f,
        c.too_coarse
            ? "bfloat16 is too coarse for %s, which loses more than a fifth of its gradient: compile it with "
              "--precision float32"
            : "on this machine %s computes what it should not: compile it anew, for the processor that it "
              "runs "
              "on",
        m->name);
    return 1;
}
