/* probe.c: the linear probe, a multinomial logistic regression on standardised features.
 *
 * Rows are cut into a fixed number of chunks, whose sums are combined in order, so that the result does not
 * depend on the threads that take them. A chunk goes through its rows a block at a time: standardises them
 * into a buffer (with a column of ones for the bias), multiplies by the weights, takes the softmax, and
 * multiplies the transposed block by what is left. Both products are float32 tiles of DEEP x LANES; tiles are
 * added up in double. Neither a copy of the data nor their scores are ever held. */
#include "runtime.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNKS = 16,
    BLOCK = 32, /* rows that are standardised together and stay in cache */
    DEEP = 8,   /* rows of a tile */
    MOST_ITERATIONS = 1000,
};
#define TOLERANCE 1e-4 /* of the gradient's norm at zero */
#define CONSTANT  1e-7 /* deviation over mean below which a column only varies by float32's rounding */

/* As wide as the machine's registers; classes of a tile. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), may_alias));

/* What a chunk adds up. */
typedef struct {
    double *sum; /* (rows, columns): the gradient; or its first `dims`: a moment of the columns */
    double loss;
    uint32_t right;
} Chunk;

/* A worker's buffers. */
typedef struct {
    float *x;      /* (BLOCK, rows) */
    float *scores; /* (BLOCK, columns), then their gradient */
} Buffer;

typedef struct {
    const Logistic *l;
    AmdimPool *pool;
    uint32_t count;
    const float *x;
    const uint16_t *label;
    Chunk chunk[CHUNKS];
    Buffer *buffer; /* (threads) */
    float *memory;  /* of all buffers */
    double *sums;   /* of all chunks */
} Pass;

static uint32_t chunk_begin(const Pass *p, int chunk)
{
    return (uint32_t)((uint64_t)p->count * (uint64_t)chunk / CHUNKS);
}

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/* ---- one block of rows ---- */

/* sum[i] = sum over `depth` of a's element i times b's lanes. a's DEEP elements lie a_row apart; a and b move
 * on by their steps. */
static inline void multiply_tile(size_t depth, const float *a, size_t a_row, size_t a_step, const float *b,
                                 size_t b_step, Lanes sum[DEEP])
{
    Lanes total[DEEP] = {0};
    for (size_t s = 0; s < depth; s++, a += a_step, b += b_step)
        for (size_t i = 0; i < DEEP; i++)
            total[i] += a[i * a_row] * *(const Lanes *)b;
    for (size_t i = 0; i < DEEP; i++)
        sum[i] = total[i];
}

/* Rows behind the last are zero. */
static void standardise(const Logistic *l, const float *x, uint32_t count, float *out)
{
    size_t dims = (size_t)l->dims;
    memset(out, 0, BLOCK * l->rows * sizeof *out);
    for (uint32_t i = 0; i < count; i++, x += dims, out += l->rows) {
        for (size_t d = 0; d < dims; d++)
            out[d] = (x[d] - l->mean[d]) * l->scale[d];
        out[dims] = 1;
    }
}

static void block_scores(const Logistic *l, Buffer *b)
{
    Lanes tile[DEEP];
    for (size_t i = 0; i < BLOCK; i += DEEP)
        for (size_t k = 0; k < l->columns; k += LANES) {
            multiply_tile(l->rows, b->x + i * l->rows, l->rows, 1, l->weight + k, l->columns, tile);
            for (size_t t = 0; t < DEEP; t++)
                *(Lanes *)(b->scores + (i + t) * l->columns + k) = tile[t];
        }
}

static void add_block_gradient(const Logistic *l, const Buffer *b, double *sum)
{
    Lanes tile[DEEP];
    for (size_t d = 0; d < l->rows; d += DEEP)
        for (size_t k = 0; k < l->columns; k += LANES) {
            multiply_tile(BLOCK, b->x + d, 1, l->rows, b->scores + k, l->columns, tile);
            for (size_t t = 0; t < DEEP; t++)
                for (size_t j = 0; j < LANES; j++)
                    sum[(d + t) * l->columns + k + j] += (double)tile[t][j];
        }
}

static int arg_max(const float *scores, int classes)
{
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (scores[k] > scores[best])
            best = k;
    return best;
}

/* Turns a row's scores into the loss's gradient with respect to them, and returns the loss. */
static double softmax_loss(float *scores, int classes, int label)
{
    float most = scores[arg_max(scores, classes)], own = scores[label];
    double sum = 0;
    for (int k = 0; k < classes; k++) {
        scores[k] = expf(scores[k] - most);
        sum += (double)scores[k];
    }
    for (int k = 0; k < classes; k++)
        scores[k] = (float)((double)scores[k] / sum);
    scores[label] -= 1;
    return log(sum) - (double)(own - most);
}

/* ---- passes over all rows ---- */

static void moments_part(void *job, int part, int worker)
{
    (void)worker;
    Pass *p = job;
    const Logistic *l = p->l;
    size_t dims = (size_t)l->dims;
    double *sum = p->chunk[part].sum;
    memset(sum, 0, dims * sizeof *sum);
    for (uint32_t i = chunk_begin(p, part); i < chunk_begin(p, part + 1); i++)
        for (size_t d = 0; d < dims; d++)
            sum[d] += (double)p->x[i * dims + d];
}

static void deviations_part(void *job, int part, int worker)
{
    (void)worker;
    Pass *p = job;
    const Logistic *l = p->l;
    size_t dims = (size_t)l->dims;
    double *sum = p->chunk[part].sum;
    memset(sum, 0, dims * sizeof *sum);
    for (uint32_t i = chunk_begin(p, part); i < chunk_begin(p, part + 1); i++)
        for (size_t d = 0; d < dims; d++) {
            double from_mean = (double)p->x[i * dims + d] - (double)l->mean[d];
            sum[d] += from_mean * from_mean;
        }
}

static void loss_part(void *job, int part, int worker)
{
    Pass *p = job;
    const Logistic *l = p->l;
    Chunk *c = &p->chunk[part];
    Buffer *b = &p->buffer[worker];
    uint32_t end = chunk_begin(p, part + 1);
    c->loss = 0;
    memset(c->sum, 0, l->rows * l->columns * sizeof *c->sum);
    for (uint32_t first = chunk_begin(p, part), rows; first < end; first += rows) {
        rows = end - first < BLOCK ? end - first : BLOCK;
        standardise(l, p->x + (size_t)first * (size_t)l->dims, rows, b->x);
        block_scores(l, b);
        for (uint32_t i = 0; i < rows; i++)
            c->loss += softmax_loss(b->scores + i * l->columns, l->classes, p->label[first + i]);
        add_block_gradient(l, b, c->sum);
    }
}

static void accuracy_part(void *job, int part, int worker)
{
    Pass *p = job;
    const Logistic *l = p->l;
    Buffer *b = &p->buffer[worker];
    uint32_t end = chunk_begin(p, part + 1);
    p->chunk[part].right = 0;
    for (uint32_t first = chunk_begin(p, part), rows; first < end; first += rows) {
        rows = end - first < BLOCK ? end - first : BLOCK;
        standardise(l, p->x + (size_t)first * (size_t)l->dims, rows, b->x);
        block_scores(l, b);
        for (uint32_t i = 0; i < rows; i++)
            p->chunk[part].right += arg_max(b->scores + i * l->columns, l->classes) == p->label[first + i];
    }
}

/* Sum number i over all chunks. */
static double total(const Pass *p, size_t i)
{
    double sum = 0;
    for (int c = 0; c < CHUNKS; c++)
        sum += p->chunk[c].sum[i];
    return sum;
}

static void pass_free(Pass *p)
{
    free(p->buffer);
    free(p->memory);
    free(p->sums);
}

static bool pass_new(Pass *p, const Logistic *l, AmdimPool *pool, uint32_t count, const float *x,
                     const uint16_t *label, Fault *f)
{
    *p = (Pass){.l = l, .pool = pool, .count = count, .x = x, .label = label};
    size_t threads = (size_t)pool_threads(pool), weights = l->rows * l->columns;
    size_t block = BLOCK * (l->rows + l->columns);
    p->buffer = allocate(threads * sizeof *p->buffer, "the probe", f);
    p->memory = allocate(threads * block * sizeof *p->memory, "the probe's buffers", f);
    p->sums = allocate(CHUNKS * weights * sizeof *p->sums, "the probe's gradients", f);
    if (p->buffer == NULL || p->memory == NULL || p->sums == NULL) {
        pass_free(p);
        return false;
    }
    for (size_t i = 0; i < threads; i++)
        p->buffer[i] = (Buffer){p->memory + i * block, p->memory + i * block + BLOCK * l->rows};
    for (size_t i = 0; i < CHUNKS; i++)
        p->chunk[i].sum = p->sums + i * weights;
    return true;
}

/* ---- the regression ---- */

static bool find_scales(Logistic *l, Pass *p, Fault *f)
{
    amdim_parallel(p->pool, moments_part, p, CHUNKS);
    for (size_t d = 0; d < (size_t)l->dims; d++)
        l->mean[d] = (float)(total(p, d) / p->count);
    amdim_parallel(p->pool, deviations_part, p, CHUNKS);
    for (size_t d = 0; d < (size_t)l->dims; d++) {
        double deviation = sqrt(total(p, d) / p->count);
        if (!isfinite(deviation))
            return fault(
                f, "the features hold numbers that are not finite; were the weights trained to the end?");
        l->scale[d] = deviation > CONSTANT * fabs((double)l->mean[d]) ? (float)(1 / deviation) : 0;
    }
    return true;
}

typedef struct {
    Logistic *l;
    Pass *pass;
} Fit;

/* The mean cross-entropy and the penalty at `weights`. */
static double fit_objective(void *arg, const double *weights, double *gradient)
{
    Fit *fit = arg;
    Logistic *l = fit->l;
    Pass *p = fit->pass;
    size_t count = l->rows * l->columns, penalised = (size_t)l->dims * l->columns;
    for (size_t i = 0; i < count; i++)
        l->weight[i] = (float)weights[i];
    amdim_parallel(p->pool, loss_part, p, CHUNKS);
    double value = 0, scale = 1 / (double)p->count;
    for (int c = 0; c < CHUNKS; c++)
        value += p->chunk[c].loss * scale;
    for (size_t i = 0; i < count; i++) {
        double decay = i < penalised ? weights[i] * scale : 0;
        gradient[i] = total(p, i) * scale + decay;
        value += decay * weights[i] / 2;
    }
    return value;
}

static bool check_labels(int classes, uint32_t count, const uint16_t *label, const char *split, Fault *f)
{
    if (count == 0)
        return fault(f, "the %s split has no images to probe with", split);
    for (uint32_t i = 0; i < count; i++)
        if (label[i] >= classes)
            return fault(f, "image %u of the %s split has label %d, but there are %d classes", i, split,
                         label[i], classes);
    return true;
}

static bool allocate_logistic(Logistic *l, int classes, int dims, Fault *f)
{
    *l = (Logistic){.classes = classes, .dims = dims};
    l->rows = round_up((size_t)dims + 1, DEEP);
    l->columns = round_up((size_t)classes, LANES);
    l->mean = allocate_zero(l->rows * sizeof *l->mean, "the probe", f);
    l->scale = allocate_zero(l->rows * sizeof *l->scale, "the probe", f);
    l->weight = allocate_zero(l->rows * l->columns * sizeof *l->weight, "the probe's weights", f);
    return l->mean != NULL && l->scale != NULL && l->weight != NULL;
}

/* L-BFGS from zero, in double; what is kept is float32. */
static bool minimise(Logistic *l, Pass *p, int *iterations, Fault *f)
{
    size_t count = l->rows * l->columns;
    double *weights = allocate_zero(count * sizeof *weights, "the probe's weights", f);
    Fit fit = {l, p};
    bool done = weights != NULL && lbfgs_minimise(fit_objective, &fit, count, weights, TOLERANCE,
                                                  MOST_ITERATIONS, iterations, f);
    for (size_t i = 0; done && i < count; i++)
        l->weight[i] = (float)weights[i];
    free(weights);
    return done;
}

bool logistic_fit(Logistic *l, AmdimPool *pool, int classes, int dims, uint32_t count, const float *x,
                  const uint16_t *label, int *iterations, Fault *f)
{
    Pass p;
    if (!check_labels(classes, count, label, "training", f))
        return false;
    bool done = allocate_logistic(l, classes, dims, f);
    if (done && (done = pass_new(&p, l, pool, count, x, label, f))) {
        done = find_scales(l, &p, f) && minimise(l, &p, iterations, f);
        pass_free(&p);
    }
    if (!done)
        logistic_free(l);
    return done;
}

bool logistic_accuracy(const Logistic *l, AmdimPool *pool, uint32_t count, const float *x,
                       const uint16_t *label, double *accuracy, Fault *f)
{
    Pass p;
    if (!pass_new(&p, l, pool, count, x, label, f))
        return false;
    amdim_parallel(pool, accuracy_part, &p, CHUNKS);
    uint32_t right = 0;
    for (int c = 0; c < CHUNKS; c++)
        right += p.chunk[c].right;
    *accuracy = (double)right / count;
    pass_free(&p);
    return true;
}

void logistic_free(Logistic *l)
{
    free(l->mean);
    free(l->scale);
    free(l->weight);
    *l = (Logistic){0};
}

/* The test split is looked at once, when the regression is done. */
bool probe_linear(AmdimPool *pool, int classes, int dims, uint32_t train_count, const float *train,
                  const uint16_t *train_label, uint32_t test_count, const float *test,
                  const uint16_t *test_label, ProbeResult *out, Fault *f)
{
    Logistic l;
    *out = (ProbeResult){.images = test_count};
    if (!check_labels(classes, test_count, test_label, "test", f) ||
        !logistic_fit(&l, pool, classes, dims, train_count, train, train_label, &out->iterations, f))
        return false;
    bool done = logistic_accuracy(&l, pool, train_count, train, train_label, &out->train_accuracy, f) &&
                logistic_accuracy(&l, pool, test_count, test, test_label, &out->accuracy, f);
    logistic_free(&l);
    return done;
}
