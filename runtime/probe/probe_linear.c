/* probe_linear.c: the linear probe, a multinomial logistic regression on standardised features.
 *
 * Rows are cut into a fixed number of chunks, whose sums are combined in order, so that the result does not
 * depend on the threads that take them. A chunk goes through its rows a block at a time: standardises them
 * into a buffer (with a column of ones for the bias), multiplies by the weights, takes the softmax, and
 * multiplies the transposed block by what is left. Products are float32 and added up in double. Neither a
 * copy of the data nor their scores are ever held. */
#include "probe_internal.h"
#include <stdlib.h>
#include <string.h>

enum {
    CHUNKS = 16,
    BLOCK = 32, /* rows that are standardised together and stay in cache */
    MOST_ITERATIONS = 1000,
};
#define TOLERANCE 1e-4 /* of the gradient's norm at zero */

/* What a chunk adds up. */
typedef struct {
    double *sum; /* (rows, columns): the gradient */
    double loss;
    uint32_t right;
} Chunk;

/* A worker's buffers. */
typedef struct {
    float *x;      /* (BLOCK, rows) */
    float *scores; /* (BLOCK, columns), then their gradient */
    float *tiles;  /* (PRODUCT_ROWS, columns) of a block's gradient */
} Buffer;

typedef struct {
    const Logistic *l;
    AmdimPool *pool;
    const ProbeRows *data;
    Chunk chunk[CHUNKS];
    Buffer *buffer; /* (threads) */
    float *memory;  /* of all buffers */
    double *sums;   /* of all chunks */
} Pass;

static uint32_t chunk_begin(const Pass *p, int chunk)
{
    return (uint32_t)((uint64_t)p->data->count * (uint64_t)chunk / CHUNKS);
}

/* ---- one block of rows ---- */

/* Rows behind the last are zero. */
static void load_block(const Logistic *l, const float *x, uint32_t count, float *out)
{
    size_t dims = (size_t)l->dims;
    memset(out, 0, BLOCK * l->rows * sizeof *out);
    for (uint32_t i = 0; i < count; i++, x += dims, out += l->rows) {
        standardise(dims, x, l->mean, l->scale, out);
        out[dims] = 1;
    }
}

static void block_scores(const Logistic *l, Buffer *b)
{
    product(&(Product){.m = BLOCK,
                       .n = l->columns,
                       .depth = l->rows,
                       .a = b->x,
                       .a_row = l->rows,
                       .a_step = 1,
                       .b = l->weight,
                       .b_step = l->columns,
                       .out = b->scores,
                       .out_step = l->columns});
}

static void add_block_gradient(const Logistic *l, const Buffer *b, double *sum)
{
    for (size_t d = 0; d < l->rows; d += PRODUCT_ROWS) {
        product(&(Product){.m = PRODUCT_ROWS,
                           .n = l->columns,
                           .depth = BLOCK,
                           .a = b->x + d,
                           .a_row = 1,
                           .a_step = l->rows,
                           .b = b->scores,
                           .b_step = l->columns,
                           .out = b->tiles,
                           .out_step = l->columns});
        for (size_t i = 0; i < PRODUCT_ROWS * l->columns; i++)
            sum[d * l->columns + i] += (double)b->tiles[i];
    }
}

/* ---- passes over all rows ---- */

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
        load_block(l, p->data->x + (size_t)first * (size_t)l->dims, rows, b->x);
        block_scores(l, b);
        for (uint32_t i = 0; i < rows; i++)
            c->loss += softmax_loss(b->scores + i * l->columns, l->classes, p->data->label[first + i]);
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
        load_block(l, p->data->x + (size_t)first * (size_t)l->dims, rows, b->x);
        block_scores(l, b);
        for (uint32_t i = 0; i < rows; i++) {
            const int guess = arg_max(b->scores + i * l->columns, l->classes);
            p->chunk[part].right += guess == p->data->label[first + i];
            if (p->data->guess)
                p->data->guess[first + i] = (uint16_t)guess;
        }
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

static bool pass_new(Pass *p, const Logistic *l, AmdimPool *pool, const ProbeRows *data, Fault *f)
{
    *p = (Pass){.l = l, .pool = pool, .data = data};
    size_t threads = (size_t)pool_threads(pool), weights = l->rows * l->columns;
    size_t x = BLOCK * l->rows, scores = BLOCK * l->columns, tiles = PRODUCT_ROWS * l->columns;
    size_t all = x + scores + tiles;
    p->buffer = allocate(threads * sizeof *p->buffer, "the probe", f);
    p->memory = allocate(threads * all * sizeof *p->memory, "the probe's buffers", f);
    p->sums = allocate(CHUNKS * weights * sizeof *p->sums, "the probe's gradients", f);
    if (p->buffer == NULL || p->memory == NULL || p->sums == NULL) {
        pass_free(p);
        return false;
    }
    for (size_t i = 0; i < threads; i++) {
        float *memory = p->memory + i * all;
        p->buffer[i] = (Buffer){memory, memory + x, memory + x + scores};
    }
    for (size_t i = 0; i < CHUNKS; i++)
        p->chunk[i].sum = p->sums + i * weights;
    return true;
}

/* ---- the regression ---- */

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
    double value = 0, scale = 1 / (double)p->data->count;
    for (int c = 0; c < CHUNKS; c++)
        value += p->chunk[c].loss * scale;
    for (size_t i = 0; i < count; i++) {
        double decay = i < penalised ? weights[i] * scale : 0;
        gradient[i] = total(p, i) * scale + decay;
        value += decay * weights[i] / 2;
    }
    return value;
}

static bool allocate_logistic(Logistic *l, int classes, int dims, Fault *f)
{
    *l = (Logistic){.classes = classes, .dims = dims};
    l->rows = round_up((size_t)dims + 1, PRODUCT_ROWS);
    l->columns = round_up((size_t)classes, PRODUCT_LANES);
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

bool logistic_fit(Logistic *l, AmdimPool *pool, int classes, int dims, const ProbeRows *rows, int *iterations,
                  Fault *f)
{
    Pass p;
    if (!probe_check_labels(classes, rows, "training", f))
        return false;
    bool done =
        allocate_logistic(l, classes, dims, f) && probe_find_scales(pool, dims, rows, l->mean, l->scale, f);
    if (done && (done = pass_new(&p, l, pool, rows, f))) {
        done = minimise(l, &p, iterations, f);
        pass_free(&p);
    }
    if (!done)
        logistic_free(l);
    return done;
}

bool logistic_accuracy(const Logistic *l, AmdimPool *pool, const ProbeRows *rows, double *accuracy, Fault *f)
{
    Pass p;
    if (!pass_new(&p, l, pool, rows, f))
        return false;
    amdim_parallel(pool, accuracy_part, &p, CHUNKS);
    uint32_t right = 0;
    for (int c = 0; c < CHUNKS; c++)
        right += p.chunk[c].right;
    *accuracy = (double)right / rows->count;
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

size_t logistic_bytes(int classes, int dims, int threads)
{
    size_t rows = round_up((size_t)dims + 1, PRODUCT_ROWS),
           columns = round_up((size_t)classes, PRODUCT_LANES);
    size_t weights = rows * columns;
    size_t buffers = (BLOCK * rows + (BLOCK + PRODUCT_ROWS) * columns) * sizeof(float) + sizeof(Buffer);
    size_t model = (2 * rows + weights) * sizeof(float), start = weights * sizeof(double);
    return model + start + lbfgs_bytes(weights) + CHUNKS * weights * sizeof(double) +
           (size_t)threads * buffers;
}

/* Nothing is drawn at random. */
bool probe_linear(AmdimPool *pool, int classes, int dims, uint64_t seed, const ProbeRows *train,
                  const ProbeRows *test, ProbeResult *out, Fault *f)
{
    (void)seed;
    Logistic l;
    int iterations = 0;
    *out = (ProbeResult){.images = test->count};
    if (!probe_check_labels(classes, test, "test", f) ||
        !logistic_fit(&l, pool, classes, dims, train, &iterations, f))
        return false;
    bool done = logistic_accuracy(&l, pool, train, &out->train_accuracy, f) &&
                logistic_accuracy(&l, pool, test, &out->accuracy, f);
    logistic_free(&l);
    return done;
}
