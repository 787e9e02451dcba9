/* probe_knn.c: a vote of the nearest training rows, by cosine.
 *
 * As the field monitors features (Wu et al. 2018, "Unsupervised feature learning via non-parametric instance
 * discrimination"; k as in Caron et al. 2021, "Emerging properties in self-supervised vision transformers"):
 * raw features of unit length, and the k nearest vote with exp(s / 0.07) at similarity s. Of rows equally
 * near the earlier counts, of classes with equal votes the lower. A part takes a block of test rows past all
 * training rows, a panel of them at a time, so that no more than a tile of similarities is ever held. */
#include "probe_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEIGHBOURS = 20,
    BLOCK = 256, /* test rows; rows of a part */
    PANEL = 64,  /* training rows */
};
#define TEMPERATURE 0.07
#define LEAST_NORM  1e-30 /* a shorter row has no direction: its similarity to all is 0 */

typedef struct {
    float similarity;
    uint16_t label;
} Neighbour;

/* A test row's, nearest first. */
typedef struct {
    int count;
    Neighbour at[NEIGHBOURS];
} Near;

/* A worker's. */
typedef struct {
    float *block;      /* (BLOCK, dims) test rows of unit length, zeros behind the last */
    float *panel;      /* (dims, PANEL) training rows likewise, transposed */
    float *similarity; /* (BLOCK, PANEL) */
    double *votes;     /* (classes) */
    Near near[BLOCK];
} Buffer;

typedef struct {
    int classes;
    size_t dims;
    const ProbeRows *train, *test;
    double *train_scale, *test_scale; /* one over each row's norm */
    uint32_t *right;                  /* (blocks of test rows) */
    Buffer *buffer;                   /* (threads) */
    float *floats;                    /* of all buffers */
    double *votes;                    /* of all buffers */
} Knn;

static uint32_t blocks(const ProbeRows *rows)
{
    return (rows->count + BLOCK - 1) / BLOCK;
}

static uint32_t rows_from(const ProbeRows *rows, uint32_t first, uint32_t most)
{
    return rows->count - first < most ? rows->count - first : most;
}

/* ---- lengths ---- */

typedef struct {
    const ProbeRows *rows;
    size_t dims;
    double *scale; /* (count) */
} Norms;

static void norms_part(void *job, int part, int worker)
{
    (void)worker;
    const Norms *n = job;
    uint32_t first = (uint32_t)part * BLOCK, end = first + rows_from(n->rows, first, BLOCK);
    for (uint32_t i = first; i < end; i++) {
        const float *x = n->rows->x + (size_t)i * n->dims;
        double square = 0;
        for (size_t d = 0; d < n->dims; d++)
            square += (double)x[d] * (double)x[d];
        n->scale[i] = sqrt(square) < LEAST_NORM ? 0 : 1 / sqrt(square);
    }
}

/* One over infinity is 0 as well, so a row is looked at again where that came out. */
static bool row_is_finite(const Norms *n, uint32_t i)
{
    if (n->scale[i] > 0)
        return true;
    for (size_t d = 0; d < n->dims; d++)
        if (!isfinite(n->rows->x[(size_t)i * n->dims + d]))
            return false;
    return true;
}

static bool find_norms(AmdimPool *pool, Norms n, Fault *f)
{
    amdim_parallel(pool, norms_part, &n, (int)blocks(n.rows));
    for (uint32_t i = 0; i < n.rows->count; i++)
        if (!row_is_finite(&n, i))
            return probe_not_finite(f);
    return true;
}

/* ---- one block of test rows ---- */

static void load_block(const Knn *k, uint32_t first, uint32_t rows, float *block)
{
    memset(block, 0, BLOCK * k->dims * sizeof *block);
    const float *x = k->test->x + (size_t)first * k->dims;
    for (uint32_t i = 0; i < rows; i++)
        for (size_t d = 0; d < k->dims; d++)
            block[i * k->dims + d] = (float)((double)x[i * k->dims + d] * k->test_scale[first + i]);
}

static void load_panel(const Knn *k, uint32_t first, uint32_t rows, float *panel)
{
    const float *x = k->train->x + (size_t)first * k->dims;
    for (size_t d = 0; d < k->dims; d++) {
        for (uint32_t j = 0; j < rows; j++)
            panel[d * PANEL + j] = (float)((double)x[j * k->dims + d] * k->train_scale[first + j]);
        for (uint32_t j = rows; j < PANEL; j++)
            panel[d * PANEL + j] = 0;
    }
}

static void multiply_panel(const Knn *k, Buffer *b)
{
    product(&(Product){.m = BLOCK,
                       .n = PANEL,
                       .depth = k->dims,
                       .a = b->block,
                       .a_row = k->dims,
                       .a_step = 1,
                       .b = b->panel,
                       .b_step = PANEL,
                       .out = b->similarity,
                       .out_step = PANEL});
}

/* Behind all that are as near. */
static void near_add(Near *near, float similarity, uint16_t label)
{
    if (near->count == NEIGHBOURS && similarity <= near->at[NEIGHBOURS - 1].similarity)
        return;
    int i = near->count < NEIGHBOURS ? near->count++ : NEIGHBOURS - 1;
    for (; i > 0 && near->at[i - 1].similarity < similarity; i--)
        near->at[i] = near->at[i - 1];
    near->at[i] = (Neighbour){similarity, label};
}

static int vote(const Near *near, int classes, double *votes)
{
    int best = 0;
    memset(votes, 0, (size_t)classes * sizeof *votes);
    for (int i = 0; i < near->count; i++)
        votes[near->at[i].label] += exp(((double)near->at[i].similarity - 1) / TEMPERATURE);
    for (int c = 1; c < classes; c++)
        if (votes[c] > votes[best])
            best = c;
    return best;
}

static void block_part(void *job, int part, int worker)
{
    Knn *k = job;
    Buffer *b = &k->buffer[worker];
    uint32_t first = (uint32_t)part * BLOCK, rows = rows_from(k->test, first, BLOCK);
    load_block(k, first, rows, b->block);
    memset(b->near, 0, sizeof b->near);
    for (uint32_t begin = 0, count; begin < k->train->count && !signals_received(); begin += count) {
        count = rows_from(k->train, begin, PANEL);
        load_panel(k, begin, count, b->panel);
        multiply_panel(k, b);
        for (uint32_t i = 0; i < rows; i++)
            for (uint32_t j = 0; j < count; j++)
                near_add(&b->near[i], b->similarity[i * PANEL + j], k->train->label[begin + j]);
    }
    k->right[part] = 0;
    for (uint32_t i = 0; i < rows; i++) {
        const int guess = vote(&b->near[i], k->classes, b->votes);
        k->right[part] += guess == k->test->label[first + i];
        if (k->test->guess)
            k->test->guess[first + i] = (uint16_t)guess;
    }
}

/* ---- all of them ---- */

static void knn_free(Knn *k)
{
    free(k->train_scale);
    free(k->test_scale);
    free(k->right);
    free(k->buffer);
    free(k->floats);
    free(k->votes);
}

static bool knn_allocate(Knn *k, size_t threads, Fault *f)
{
    size_t block = BLOCK * k->dims, panel = PANEL * k->dims, all = block + panel + BLOCK * PANEL;
    k->train_scale = allocate(k->train->count * sizeof *k->train_scale, "the probe's norms", f);
    k->test_scale = allocate(k->test->count * sizeof *k->test_scale, "the probe's norms", f);
    k->right = allocate(blocks(k->test) * sizeof *k->right, "the probe's counts", f);
    k->buffer = allocate(threads * sizeof *k->buffer, "the probe", f);
    k->floats = allocate(threads * all * sizeof *k->floats, "the probe's buffers", f);
    k->votes = allocate(threads * (size_t)k->classes * sizeof *k->votes, "the probe's votes", f);
    if (!k->train_scale || !k->test_scale || !k->right || !k->buffer || !k->floats || !k->votes)
        return false;
    for (size_t i = 0; i < threads; i++) {
        Buffer *b = &k->buffer[i];
        b->block = k->floats + i * all;
        b->panel = b->block + block;
        b->similarity = b->panel + panel;
        b->votes = k->votes + i * (size_t)k->classes;
    }
    return true;
}

size_t knn_bytes(int classes, int dims, int threads)
{
    size_t floats = (BLOCK + PANEL) * (size_t)dims + BLOCK * PANEL;
    return (size_t)threads * (sizeof(Buffer) + floats * sizeof(float) + (size_t)classes * sizeof(double));
}

/* Nothing is drawn at random. */
bool probe_knn(AmdimPool *pool, int classes, int dims, uint64_t seed, const ProbeRows *train,
               const ProbeRows *test, ProbeResult *out, Fault *f)
{
    (void)seed;
    *out = (ProbeResult){.images = test->count, .train_accuracy = (double)NAN};
    Knn k = {.classes = classes, .dims = (size_t)dims, .train = train, .test = test};
    bool done = probe_check_labels(classes, test, "test", f) &&
                probe_check_labels(classes, train, "training", f) &&
                knn_allocate(&k, (size_t)pool_threads(pool), f) &&
                find_norms(pool, (Norms){train, k.dims, k.train_scale}, f) &&
                find_norms(pool, (Norms){test, k.dims, k.test_scale}, f);
    if (done) {
        amdim_parallel(pool, block_part, &k, (int)blocks(test));
        uint32_t right = 0;
        for (uint32_t i = 0; i < blocks(test); i++)
            right += k.right[i];
        out->accuracy = (double)right / test->count;
        done = !signals_received() || fault(f, "stopped by a signal");
    }
    knn_free(&k);
    return done;
}
