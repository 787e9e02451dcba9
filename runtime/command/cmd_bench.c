/* cmd_bench.c: how long a full training step takes, on made-up input: forward, backward and the update, from
 * the initial weights. The median of the steps is told; the first two are not counted. */
#include "runtime.h"
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 2, DEFAULT_STEPS = 20 };

typedef struct {
    Machine machine;
    Optimizer optimizer;
    float *x;
    double *seconds; /* (steps) */
} Bench;

typedef struct {
    double step_seconds, images_per_second, gflop_per_step, gflops;
    uint64_t peak_bytes, rss_bytes; /* promised; measured, 0 where the system does not tell */
    int threads;
} Figures;

static void take_gradient(AmdimStep *step, int tensor, const float *gradient)
{
    Bench *b = step->taker;
    optimizer_take(&b->optimizer, step->pool, step->params, tensor, gradient);
}

static bool bench_new(Bench *b, const AmdimModel *m, const Options *o, int64_t steps, Fault *f)
{
    *b = (Bench){0};
    if (!machine_new(&b->machine, m, o->threads, f) || !optimizer_new(&b->optimizer, m, f))
        return false;
    b->x = made_up_input(m, o->seed, f);
    b->seconds = allocate((size_t)steps * sizeof(double), "times", f);
    if (!b->x || !b->seconds)
        return false;
    weights_init(m, o->seed, b->machine.params);
    b->machine.step.x = b->x;
    b->machine.step.take = take_gradient;
    b->machine.step.taker = b;
    return true;
}

static void bench_free(Bench *b)
{
    optimizer_free(&b->optimizer);
    machine_free(&b->machine);
    free(b->x);
    free(b->seconds);
}

static double time_step(Bench *b, uint64_t seed, uint64_t step)
{
    const AmdimModel *m = b->machine.model;
    double begun = clock_seconds();
    machine_draw_locations(&b->machine, seed, step);
    b->optimizer.steps = step;
    b->optimizer.lr = optimizer_rate(m, step, 0);
    m->step(&b->machine.step);
    return clock_seconds() - begun;
}

/* The largest resident size of this process so far. */
static uint64_t resident_peak(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib * 1024;
}

static Figures measure(Bench *b, const Options *o, size_t steps)
{
    const AmdimModel *m = b->machine.model;
    for (uint64_t i = 0; i < WARM_UP; i++)
        time_step(b, o->seed, i);
    for (size_t i = 0; i < steps; i++)
        b->seconds[i] = time_step(b, o->seed, WARM_UP + i);
    Figures g = {.step_seconds = median(b->seconds, steps), .gflop_per_step = m->flop_per_step / 1e9};
    g.images_per_second = m->batch / g.step_seconds;
    g.gflops = g.gflop_per_step / g.step_seconds;
    g.peak_bytes = m->peak_bytes;
    g.rss_bytes = resident_peak();
    g.threads = o->threads;
    return g;
}

static void print_table(const AmdimModel *m, const Figures *g, int64_t steps)
{
    printf("%s, batch %d, %d threads, median of %lld steps\n", m->name, m->batch, g->threads,
           (long long)steps);
    printf("  a step           %10.4g s\n", g->step_seconds);
    printf("  images           %10.1f a second\n", g->images_per_second);
    printf("  products         %10.1f GFLOP a step\n", g->gflop_per_step);
    printf("  speed            %10.1f GFLOP/s\n", g->gflops);
    printf("  memory promised  %10.1f MiB (train, %d threads)\n", (double)g->peak_bytes / MEBIBYTE,
           m->threads);
    if (g->rss_bytes > 0)
        printf("  memory used      %10.1f MiB (here)\n", (double)g->rss_bytes / MEBIBYTE);
}

static void print_json(const Figures *g)
{
    printf(
        "{\"step_seconds\": %.9g, \"images_per_second\": %.9g, \"gflop_per_step\": %.9g, \"gflops\": %.9g, "
        "\"peak_bytes\": %llu, \"threads\": %d",
        g->step_seconds, g->images_per_second, g->gflop_per_step, g->gflops,
        (unsigned long long)g->peak_bytes, g->threads);
    if (g->rss_bytes > 0)
        printf(", \"rss_bytes\": %llu", (unsigned long long)g->rss_bytes);
    printf("}\n");
}

int command_bench(const AmdimModel *m, const Options *o, Fault *f)
{
    Bench b;
    int64_t steps = o->steps < 0 ? DEFAULT_STEPS : o->steps;
    bool ok = bench_new(&b, m, o, steps, f);
    if (ok) {
        Figures g = measure(&b, o, (size_t)steps);
        print_table(m, &g, steps);
        if (o->json)
            print_json(&g);
    }
    bench_free(&b);
    return ok ? 0 : 1;
}
