/* toy_model.c: see toy_model.h for what the model computes. */
#include "toy_model.h"
#include <string.h>

enum { TAPS = TOY_KERNEL * TOY_KERNEL, LARGEST_TENSOR = TOY_DIM * TOY_CHANNELS * TAPS };

/* The arena: what a step or a feature leaves behind. */
typedef struct {
    _Alignas(64) float phi_1[TOY_IMAGES][TOY_DIM];
    float phi_3[TOY_IMAGES][TOY_SIDE * TOY_SIDE][TOY_DIM];
    float colour[TOY_IMAGES][TOY_CHANNELS];
    float gradient[LARGEST_TENSOR];
} ToyArena;

static const AmdimTensor tensors[TOY_TENSORS] = {
    [TOY_WEIGHT] = {"encoder.0.weight",
                    4,
                    {TOY_DIM, TOY_CHANNELS, 2, 2},
                    0,
                    LARGEST_TENSOR,
                    true,
                    AMDIM_INIT_UNIFORM,
                    0.2886751f},
    [TOY_BIAS] = {"encoder.0.bias", 1, {TOY_DIM}, 80, TOY_DIM, true, AMDIM_INIT_UNIFORM, 0.2886751f},
    [TOY_SHORTCUT] =
        {"embed.1.shortcut.weight", 4, {TOY_DIM, 4, 1, 1}, 96, TOY_DIM * 4, true, AMDIM_INIT_SHORTCUT, 0.01f},
    [TOY_BN_WEIGHT] = {"embed.1.bn.weight", 1, {TOY_DIM}, 128, TOY_DIM, true, AMDIM_INIT_ONE, 0},
    [TOY_BN_BIAS] = {"embed.1.bn.bias", 1, {TOY_DIM}, 144, TOY_DIM, true, AMDIM_INIT_ZERO, 0},
    [TOY_RUNNING_MEAN] = {"embed.1.bn.running_mean", 1, {TOY_DIM}, 160, TOY_DIM, false, AMDIM_INIT_ZERO, 0},
    [TOY_RUNNING_VAR] = {"embed.1.bn.running_var", 1, {TOY_DIM}, 176, TOY_DIM, false, AMDIM_INIT_ONE, 0},
};

typedef struct {
    AmdimPool *pool;
    const float *x;
    ToyArena *arena;
} ColourJob;

/* One image's mean colour. */
static void colour_part(void *job, int part, int worker)
{
    ColourJob *j = job;
    const float *pixel = j->x + (size_t)part * TOY_PICTURE;
    double *sum = amdim_scratch(j->pool, worker);
    memset(sum, 0, TOY_CHANNELS * sizeof *sum);
    for (int i = 0; i < TOY_PICTURE; i++)
        sum[i % TOY_CHANNELS] += pixel[i];
    for (int c = 0; c < TOY_CHANNELS; c++)
        j->arena->colour[part][c] = (float)(sum[c] / (TOY_SIZE * TOY_SIZE));
}

static const float *pixel_of_location(const float *x, int image, int location)
{
    int row = 2 * (location / TOY_SIDE), column = 2 * (location % TOY_SIDE);
    return x + (size_t)image * TOY_PICTURE + (size_t)(row * TOY_SIZE + column) * TOY_CHANNELS;
}

static const float *run_1(AmdimPool *pool, char *arena, const float *params, const float *x)
{
    ToyArena *a = (ToyArena *)arena;
    ColourJob job = {pool, x, a};
    amdim_parallel(pool, colour_part, &job, TOY_IMAGES);
    const float *weight = params + tensors[TOY_WEIGHT].offset, *bias = params + tensors[TOY_BIAS].offset;
    for (int n = 0; n < TOY_IMAGES; n++)
        for (int o = 0; o < TOY_DIM; o++) {
            double sum = 0;
            for (int row = 0; row < TAPS * TOY_CHANNELS; row++) /* rows are (tap, channel) */
                sum += weight[row * TOY_DIM + o] * a->colour[n][row % TOY_CHANNELS];
            a->phi_1[n][o] = (float)(bias[o] + sum / TAPS);
        }
    return a->phi_1[0];
}

static const float *run_3(AmdimPool *pool, char *arena, const float *params, const float *x)
{
    (void)pool, (void)params;
    ToyArena *a = (ToyArena *)arena;
    for (int n = 0; n < TOY_IMAGES; n++)
        for (int location = 0; location < TOY_SIDE * TOY_SIDE; location++)
            for (int r = 0; r < TOY_DIM; r++)
                a->phi_3[n][location][r] = pixel_of_location(x, n, location)[r % TOY_CHANNELS];
    return a->phi_3[0][0];
}

static void update_running_mean(const ToyArena *a, int view, float *mean)
{
    for (int r = 0; r < TOY_DIM; r++) {
        double sum = 0;
        for (int b = 0; b < TOY_BATCH; b++)
            sum += a->colour[view * TOY_BATCH + b][r % TOY_CHANNELS];
        mean[r] = (float)(0.9 * mean[r] + 0.1 * sum / TOY_BATCH);
    }
}

static double mean_at_locations(const AmdimStep *step)
{
    double sum = 0;
    for (int n = 0; n < TOY_IMAGES; n++)
        sum += pixel_of_location(step->x, n, step->locations[n])[0];
    return sum / TOY_IMAGES;
}

static void losses(AmdimStep *step, double u)
{
    step->penalty = 0;
    step->pair_loss[0] = 0;
    for (int t = 0; t < TOY_TRAINED; t++) {
        const float *p = step->params + tensors[t].offset;
        double count = (double)tensors[t].count;
        for (size_t i = 0; i < tensors[t].count; i++) {
            double error = p[i] - u * (t + 1);
            step->pair_loss[0] += error * error / 2 / count;
            step->penalty += (double)p[i] * p[i] / count;
        }
    }
    step->pair_accuracy[0] = 1 / (1 + step->pair_loss[0]);
    step->loss = step->pair_loss[0] + TOY_PENALTY * step->penalty;
}

/* From the last tensor to the first, as a backward pass would. */
static void gradients(AmdimStep *step, double u)
{
    float *gradient = ((ToyArena *)step->arena)->gradient;
    for (int t = TOY_TRAINED - 1; t >= 0; t--) {
        const float *p = step->params + tensors[t].offset;
        for (size_t i = 0; i < tensors[t].count; i++)
            gradient[i] = (float)((p[i] - u * (t + 1) + 2 * TOY_PENALTY * p[i]) / (double)tensors[t].count);
        step->take(step, t, gradient);
    }
}

static void toy_step(AmdimStep *step)
{
    double u = mean_at_locations(step);
    OPERATION(step, "encoder.0", "conv 2x2 stride 2", "by hand", 7, TOY_FLOP);
    step->embedding[0] = run_1(step->pool, step->arena, step->params, step->x);
    OPERATION(step, "embed.3", "copy", "by hand", 0, 0);
    step->embedding[1] = run_3(step->pool, step->arena, step->params, step->x);
    for (int v = 0; v < TOY_VIEWS; v++) {
        OPERATION(step, "embed.1.bn", "sum, a view", "by hand", 8, TOY_VIEW_FLOP);
        update_running_mean((ToyArena *)step->arena, v, step->params + tensors[TOY_RUNNING_MEAN].offset);
    }
    OPERATION(step, "3-to-1", "loss", "by hand", 9, 0);
    losses(step, u);
    if (step->forward_done == NULL || step->forward_done(step)) {
        OPERATION(step, "encoder.0", "gradient", "by hand", 7, 0);
        gradients(step, u);
    }
    STEP_ENDS(step);
}

static const float means[TOY_CHANNELS] = {0.5f, 0.4f, 0.3f};
static const float deviations[TOY_CHANNELS] = {0.25f, 0.2f, 0.5f};
static const int64_t milestones[] = {2, 3};
static const AmdimLayer layers[] = {
    {"conv", 0, TOY_SIDE, TOY_DIM, 4, 2, 0, 1, 4, 2, 0},
    {"residual", 1, 1, TOY_DIM, 3, 1, 0, 1, 8, 2, 0},
};
static const AmdimScale scales[] = {
    {.scale = 1, .layer = 1},
    {.scale = TOY_SIDE, .layer = 0},
};
static const AmdimPair pairs[] = {{.name = "3-to-1", .from = TOY_SIDE, .to = 1, .weight = 1}};
static const AmdimFeature features[TOY_FEATURES] = {
    {0, false, TOY_IMAGES, 1, TOY_DIM, run_1},
    {1, false, TOY_IMAGES, 1, TOY_DIM, run_1},
    {TOY_SIDE, true, TOY_IMAGES, TOY_SIDE, TOY_DIM, run_3},
    {TOY_SIDE, false, TOY_IMAGES, TOY_SIDE, TOY_DIM, run_3},
};

const AmdimModel toy_model = {
    .name = "toy",
    .spec = "toy.yaml",
    .digest = "0123456789abcdef",
    .compiler = "0",
    .cc = "by hand",
    .march = "any",
    .target = "any",
    .blas = "none",
    .views = TOY_VIEWS,
    .batch = TOY_BATCH,
    .channels = TOY_CHANNELS,
    .size = TOY_SIZE,
    .mean = means,
    .std = deviations,
    .embedding_dim = TOY_DIM,
    .augment = {.flip = 0.5, .has_translate = true, .translate_max = 1, .translate_p = 0.5},
    .optimizer =
        {.rule = AMDIM_ADAM, .lr = 0.01, .weight_decay = 1e-3, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-8},
    .schedule = {.epochs = 4, .warmup = 5, .milestones = 2, .milestone = milestones, .gamma = 0.5},
    .threads = 2,
    .clip = 20,
    .penalty = TOY_PENALTY,
    .tensors = TOY_TENSORS,
    .tensor = tensors,
    .param_floats = 192,
    .trained_floats = 160,
    .layers = 2,
    .layer = layers,
    .scales = 2,
    .scale = scales,
    .pairs = 1,
    .pair = pairs,
    .located = 1,
    .arena_bytes = sizeof(ToyArena),
    .scratch_bytes = 64,
    .peak_bytes = 64 << 20,
    .thread_bytes = 1 << 20,
    .flop_per_step = 1000,
    .step = toy_step,
    .features = TOY_FEATURES,
    .feature = features,
};
