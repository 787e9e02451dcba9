/* probe_mlp.c: the MLP probe: one hidden layer with batchnorm, ReLU and dropout on standardised features.
 *
 *   scores = dropout(relu(batchnorm(x W1))) W2 + b2
 *
 * Cross-entropy and Adam, its rate half a cosine that falls to 0.
 *
 * The hidden units are cut into fixed groups. A group owns its columns of W1 and rows of W2, with their
 * batchnorm, gradients and moments, so that it goes forwards and backwards on its own; only the scores are
 * sums over groups, taken in order. So the result is the same at any number of threads. */
#include "probe_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HIDDEN = 1024,
    UNITS = 64, /* of a group */
    GROUPS = HIDDEN / UNITS,
    BATCH = 256, /* rows of a step; fewer where there are fewer */
    SLICES = 16, /* a batch's parts where rows are on their own */
    SLICE = BATCH / SLICES,
    EPOCHS = 40,
    LEAST_STEPS = 400, /* so that few rows are learnt as well */
};
#define DROPOUT      0.2
#define BN_EPSILON   1e-5f
#define BN_MOMENTUM  0.1f
#define KEPT_SCALE   ((float)(1 / (1 - DROPOUT)))
#define DROPPED_BITS ((uint32_t)(DROPOUT * 4294967296.0)) /* of 2^32 draws */

/* What streams of RANDOM_PROBE are for. */
enum { DRAW_INIT, DRAW_DROPOUT };

/* Trained numbers with their Adam. */
typedef struct {
    size_t count;
    float *value, *gradient, *first, *second;
} Trained;

typedef struct {
    Trained all;                   /* of which these four are parts, as are their gradients: */
    float *w1, *gamma, *beta, *w2; /* (rows, UNITS), (UNITS), (UNITS), (UNITS, columns) */
    float *d_w1, *d_gamma, *d_beta, *d_w2;
    float *running_mean, *running_var; /* (UNITS) */
    float *deviation;                  /* (UNITS) one over the batch's */
    float *normal;                     /* (BATCH, UNITS) x W1, then normalised */
    float *active;                     /* (BATCH, UNITS) what W2 takes */
    float *delta;                      /* (BATCH, UNITS) the gradient of `active`, then of x W1 */
    float *w2_turned;                  /* (columns, UNITS) */
    float *scores;                     /* (BATCH, columns) this group's share */
} Group;

typedef struct {
    AmdimPool *pool;
    int classes;
    size_t dims, rows, columns; /* rows, columns: dims and classes, rounded up with zeros */
    uint64_t seed, step;
    float *memory; /* of everything below */
    Group group[GROUPS];
    Trained bias;        /* b2 (columns) */
    float *mean, *scale; /* (dims) */
    size_t stride;       /* of x; no power of two, so that its columns do not share a few sets of a cache */
    float *x;            /* (BATCH, stride) standardised */
    float *scores;       /* (BATCH, columns), then their gradient */

    bool training;         /* or counting who is right */
    const ProbeRows *data; /* rows order[0..batch-1] of which are the batch */
    const uint32_t *order;
    uint32_t batch;
    AdamStep adam; /* of this step */
    uint32_t right[SLICES];
} Mlp;

/* ---- memory ---- */

/* The next `count` floats, or with no memory yet only where they would end. */
static float *take(float *memory, size_t *used, size_t count)
{
    float *taken = memory ? memory + *used : NULL;
    *used += round_up(count, 16);
    return taken;
}

static Trained take_trained(float *memory, size_t *used, size_t count)
{
    Trained t = {.count = count};
    t.value = take(memory, used, count);
    t.gradient = take(memory, used, count);
    t.first = take(memory, used, count);
    t.second = take(memory, used, count);
    return t;
}

static void place_group(Mlp *m, Group *g, size_t *used)
{
    size_t w1 = m->rows * UNITS, w2 = UNITS * m->columns;
    g->all = take_trained(m->memory, used, w1 + UNITS + UNITS + w2);
    g->running_mean = take(m->memory, used, UNITS);
    g->running_var = take(m->memory, used, UNITS);
    g->deviation = take(m->memory, used, UNITS);
    g->normal = take(m->memory, used, BATCH * UNITS);
    g->active = take(m->memory, used, BATCH * UNITS);
    g->delta = take(m->memory, used, BATCH * UNITS);
    g->w2_turned = take(m->memory, used, w2);
    g->scores = take(m->memory, used, BATCH * m->columns);
    if (!m->memory)
        return;
    g->w1 = g->all.value, g->d_w1 = g->all.gradient;
    g->gamma = g->w1 + w1, g->d_gamma = g->d_w1 + w1;
    g->beta = g->gamma + UNITS, g->d_beta = g->d_gamma + UNITS;
    g->w2 = g->beta + UNITS, g->d_w2 = g->d_beta + UNITS;
}

/* Returns the floats that it takes. */
static size_t place(Mlp *m)
{
    size_t used = 0;
    for (int i = 0; i < GROUPS; i++)
        place_group(m, &m->group[i], &used);
    m->bias = take_trained(m->memory, &used, m->columns);
    m->mean = take(m->memory, &used, m->dims);
    m->scale = take(m->memory, &used, m->dims);
    m->x = take(m->memory, &used, BATCH * m->stride);
    m->scores = take(m->memory, &used, BATCH * m->columns);
    return used;
}

static void init_part(void *job, int part, int worker)
{
    (void)worker;
    Mlp *m = job;
    Group *g = &m->group[part];
    Random r = random_at(m->seed, RANDOM_PROBE, 0, (uint64_t)part, DRAW_INIT);
    double bound1 = 1 / sqrt((double)m->dims), bound2 = 1 / sqrt(HIDDEN);
    for (size_t i = 0; i < m->dims * UNITS; i++)
        g->w1[i] = (float)random_between(&r, -bound1, bound1);
    for (size_t u = 0; u < UNITS; u++) {
        g->gamma[u] = g->running_var[u] = 1;
        for (size_t k = 0; k < (size_t)m->classes; k++)
            g->w2[u * m->columns + k] = (float)random_between(&r, -bound2, bound2);
    }
}

/* Everything is zero but what init_part draws. */
static bool mlp_new(Mlp *m, AmdimPool *pool, int classes, int dims, uint64_t seed, Fault *f)
{
    *m = (Mlp){.pool = pool, .classes = classes, .dims = (size_t)dims, .seed = seed};
    m->rows = round_up(m->dims, PRODUCT_ROWS);
    m->columns = round_up((size_t)classes, PRODUCT_LANES);
    m->stride = round_up(m->dims, 16) + PRODUCT_LANES;
    m->memory = allocate_zero(place(m) * sizeof *m->memory, "the probe", f);
    if (!m->memory)
        return false;
    place(m);
    amdim_parallel(pool, init_part, m, GROUPS);
    return true;
}

/* ---- forwards ---- */

static uint32_t slice_begin(const Mlp *m, int slice)
{
    uint32_t begin = (uint32_t)slice * SLICE;
    return begin < m->batch ? begin : m->batch;
}

static void load_part(void *job, int part, int worker)
{
    (void)worker;
    Mlp *m = job;
    for (uint32_t i = slice_begin(m, part); i < slice_begin(m, part + 1); i++)
        standardise(m->dims, m->data->x + (size_t)m->order[i] * m->dims, m->mean, m->scale,
                    m->x + i * m->stride);
}

/* Of products: what lies behind the batch's last row is of an earlier batch, and is not read. */
static size_t padded_batch(const Mlp *m)
{
    return round_up(m->batch, PRODUCT_ROWS);
}

/* The batch's mean into mean and one over its deviation into g->deviation; the running statistics follow. */
static void batch_moments(const Mlp *m, Group *g, float mean[static UNITS])
{
    float count = (float)m->batch, var[UNITS] = {0};
    memset(mean, 0, UNITS * sizeof *mean);
    for (size_t i = 0; i < m->batch; i++)
        for (size_t u = 0; u < UNITS; u++)
            mean[u] += g->normal[i * UNITS + u];
    for (size_t u = 0; u < UNITS; u++)
        mean[u] /= count;
    for (size_t i = 0; i < m->batch; i++)
        for (size_t u = 0; u < UNITS; u++) {
            float from_mean = g->normal[i * UNITS + u] - mean[u];
            var[u] += from_mean * from_mean;
        }
    for (size_t u = 0; u < UNITS; u++) {
        float unbiased = var[u] / (count > 1 ? count - 1 : 1);
        g->deviation[u] = 1 / sqrtf(var[u] / count + BN_EPSILON);
        g->running_mean[u] += BN_MOMENTUM * (mean[u] - g->running_mean[u]);
        g->running_var[u] += BN_MOMENTUM * (unbiased - g->running_var[u]);
    }
}

static void normalise(const Mlp *m, Group *g)
{
    float mean[UNITS];
    if (m->training)
        batch_moments(m, g, mean);
    else
        for (size_t u = 0; u < UNITS; u++) {
            mean[u] = g->running_mean[u];
            g->deviation[u] = 1 / sqrtf(g->running_var[u] + BN_EPSILON);
        }
    for (size_t i = 0; i < m->batch; i++)
        for (size_t u = 0; u < UNITS; u++) {
            float normal = (g->normal[i * UNITS + u] - mean[u]) * g->deviation[u];
            float y = normal * g->gamma[u] + g->beta[u];
            g->normal[i * UNITS + u] = normal;
            g->active[i * UNITS + u] = y > 0 ? y : 0;
        }
}

static void drop(const Mlp *m, Group *g, int part)
{
    Random r = random_at(m->seed, RANDOM_PROBE, m->step, (uint64_t)part, DRAW_DROPOUT);
    for (size_t i = 0; i < m->batch * UNITS; i++)
        g->active[i] *= random_u32(&r) < DROPPED_BITS ? 0 : KEPT_SCALE;
}

static void forward_part(void *job, int part, int worker)
{
    (void)worker;
    Mlp *m = job;
    Group *g = &m->group[part];
    product(&(Product){.m = padded_batch(m),
                       .n = UNITS,
                       .depth = m->rows,
                       .a = m->x,
                       .a_row = m->stride,
                       .a_step = 1,
                       .b = g->w1,
                       .b_step = UNITS,
                       .out = g->normal,
                       .out_step = UNITS});
    normalise(m, g);
    if (m->training)
        drop(m, g, part);
    product(&(Product){.m = padded_batch(m),
                       .n = m->columns,
                       .depth = UNITS,
                       .a = g->active,
                       .a_row = UNITS,
                       .a_step = 1,
                       .b = g->w2,
                       .b_step = m->columns,
                       .out = g->scores,
                       .out_step = m->columns});
}

/* The scores of a slice of rows; from them their gradient, or how many are right. */
static void scores_part(void *job, int part, int worker)
{
    (void)worker;
    Mlp *m = job;
    m->right[part] = 0;
    for (uint32_t i = slice_begin(m, part); i < slice_begin(m, part + 1); i++) {
        float *row = m->scores + i * m->columns;
        int label = m->data->label[m->order[i]];
        for (size_t k = 0; k < (size_t)m->classes; k++) {
            row[k] = m->bias.value[k];
            for (size_t g = 0; g < GROUPS; g++)
                row[k] += m->group[g].scores[i * m->columns + k];
        }
        const int guess = arg_max(row, m->classes);
        m->right[part] += guess == label;
        if (!m->training && m->data->guess)
            m->data->guess[m->order[i]] = (uint16_t)guess;
        if (!m->training)
            continue;
        softmax_loss(row, m->classes, label);
        for (size_t k = 0; k < (size_t)m->classes; k++)
            row[k] /= (float)m->batch;
    }
}

/* ---- backwards ---- */

static void learn(const Mlp *m, const Trained *t)
{
    adam_update(&m->adam, t->count, t->value, t->gradient, t->first, t->second);
}

static void multiply_by_w2_turned(const Mlp *m, Group *g)
{
    for (size_t u = 0; u < UNITS; u++)
        for (size_t k = 0; k < m->columns; k++)
            g->w2_turned[k * UNITS + u] = g->w2[u * m->columns + k];
    product(&(Product){.m = padded_batch(m),
                       .n = UNITS,
                       .depth = m->columns,
                       .a = m->scores,
                       .a_row = m->columns,
                       .a_step = 1,
                       .b = g->w2_turned,
                       .b_step = UNITS,
                       .out = g->delta,
                       .out_step = UNITS});
}

/* From the gradient of `active` to that of x W1, through dropout, ReLU and batchnorm, all in place. */
static void normalise_backward(const Mlp *m, Group *g)
{
    float d_gamma[UNITS] = {0}, d_beta[UNITS] = {0}, share = 1 / (float)m->batch;
    for (size_t i = 0; i < m->batch; i++)
        for (size_t u = 0; u < UNITS; u++) {
            size_t at = i * UNITS + u;
            float delta = g->active[at] > 0 ? g->delta[at] * KEPT_SCALE : 0;
            g->delta[at] = delta;
            d_beta[u] += delta;
            d_gamma[u] += delta * g->normal[at];
        }
    for (size_t i = 0; i < m->batch; i++)
        for (size_t u = 0; u < UNITS; u++) {
            size_t at = i * UNITS + u;
            float centred = g->delta[at] - share * (d_beta[u] + g->normal[at] * d_gamma[u]);
            g->delta[at] = g->gamma[u] * g->deviation[u] * centred;
        }
    memcpy(g->d_gamma, d_gamma, sizeof d_gamma);
    memcpy(g->d_beta, d_beta, sizeof d_beta);
}

static void backward_part(void *job, int part, int worker)
{
    (void)worker;
    Mlp *m = job;
    Group *g = &m->group[part];
    multiply_by_w2_turned(m, g);
    product(&(Product){.m = UNITS,
                       .n = m->columns,
                       .depth = m->batch,
                       .a = g->active,
                       .a_row = 1,
                       .a_step = UNITS,
                       .b = m->scores,
                       .b_step = m->columns,
                       .out = g->d_w2,
                       .out_step = m->columns});
    normalise_backward(m, g);
    product(&(Product){.m = m->rows,
                       .n = UNITS,
                       .depth = m->batch,
                       .a = m->x,
                       .a_row = 1,
                       .a_step = m->stride,
                       .b = g->delta,
                       .b_step = UNITS,
                       .out = g->d_w1,
                       .out_step = UNITS});
    learn(m, &g->all);
}

static void bias_backward(Mlp *m)
{
    memset(m->bias.gradient, 0, m->columns * sizeof *m->bias.gradient);
    for (size_t i = 0; i < m->batch; i++)
        for (size_t k = 0; k < m->columns; k++)
            m->bias.gradient[k] += m->scores[i * m->columns + k];
    learn(m, &m->bias);
}

/* ---- training and counting ---- */

static void batch_scores(Mlp *m, const ProbeRows *data, const uint32_t *order, uint32_t batch)
{
    m->data = data;
    m->order = order;
    m->batch = batch;
    amdim_parallel(m->pool, load_part, m, SLICES);
    amdim_parallel(m->pool, forward_part, m, GROUPS);
    amdim_parallel(m->pool, scores_part, m, SLICES);
}

static AdamStep adam_of_step(uint64_t step, uint64_t steps)
{
    static const AmdimOptimizer rule = {
        .rule = AMDIM_ADAM, .lr = 1e-3, .weight_decay = 1e-5, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    return optimizer_adam(&rule, rule.lr * (1 + cos(M_PI * (double)step / (double)steps)) / 2, step);
}

/* An epoch's last rows that fill no batch are left out of it. */
static void mlp_train(Mlp *m, const ProbeRows *data, uint32_t *order)
{
    uint32_t batch = data->count < BATCH ? data->count : BATCH, per_epoch = data->count / batch;
    uint64_t steps = (uint64_t)EPOCHS * per_epoch;
    steps = steps < LEAST_STEPS ? LEAST_STEPS : steps;
    m->training = true;
    for (m->step = 0; m->step < steps && !signals_received(); m->step++) {
        uint32_t at = (uint32_t)(m->step % per_epoch);
        if (at == 0)
            random_order(m->seed, m->step / per_epoch, order, data->count);
        m->adam = adam_of_step(m->step, steps);
        batch_scores(m, data, order + at * batch, batch);
        amdim_parallel(m->pool, backward_part, m, GROUPS);
        bias_backward(m);
    }
}

static double mlp_accuracy(Mlp *m, const ProbeRows *data, uint32_t *order)
{
    uint64_t right = 0;
    m->training = false;
    for (uint32_t i = 0; i < data->count; i++)
        order[i] = i;
    for (uint32_t first = 0, batch; first < data->count; first += batch) {
        batch = data->count - first < BATCH ? data->count - first : BATCH;
        batch_scores(m, data, order + first, batch);
        for (int s = 0; s < SLICES; s++)
            right += m->right[s];
    }
    return (double)right / data->count;
}

bool probe_mlp(AmdimPool *pool, int classes, int dims, uint64_t seed, const ProbeRows *train,
               const ProbeRows *test, ProbeResult *out, Fault *f)
{
    *out = (ProbeResult){.images = test->count};
    if (!probe_check_labels(classes, test, "test", f) || !probe_check_labels(classes, train, "training", f))
        return false;
    Mlp m;
    uint32_t most = train->count > test->count ? train->count : test->count;
    uint32_t *order = allocate(most * sizeof *order, "the probe's order", f);
    bool done = order && mlp_new(&m, pool, classes, dims, seed, f);
    if (done) {
        done = probe_find_scales(pool, dims, train, m.mean, m.scale, f);
        if (done) {
            mlp_train(&m, train, order);
            out->train_accuracy = mlp_accuracy(&m, train, order);
            out->accuracy = mlp_accuracy(&m, test, order);
            done = !signals_received() || fault(f, "stopped by a signal");
        }
        free(m.memory);
    }
    free(order);
    return done;
}
