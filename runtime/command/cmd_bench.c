/* cmd_bench.c: how long a full training step takes, on made-up input: forward, backward and the update, from
 * the initial weights. The mean of the middle half of the steps is told, by their times; the first two are
 * not counted. A profile tells the same of every operation, over the same steps. */
#include "runtime.h"
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 2, DEFAULT_STEPS = 20 };
#define PEAK_SECONDS 0.2

typedef struct {
    Machine machine;
    Optimizer optimizer;
    float *x;
    double *seconds, *weight; /* (steps) */
    Profile profile;
    AmdimOp draw, update; /* what is not the step's own */
    bool told;            /* the step tells of its operations */
} Bench;

typedef struct {
    double step_seconds, images_per_second, gflop_per_step, gflops;
    double peak_gflops;             /* measured for a profile, else 0 */
    uint64_t peak_bytes, rss_bytes; /* promised; measured, 0 where the system does not tell */
    int threads;
} Figures;

static void begin_operation(AmdimStep *step, const AmdimOp *op)
{
    Bench *b = step->profiler;
    b->told = true;
    profile_begin(&b->profile, op, clock_seconds());
}

static void take_gradient(AmdimStep *step, int tensor, const float *gradient)
{
    Bench *b = step->taker;
    optimizer_take(&b->optimizer, step->pool, step->params, tensor, gradient);
}

static void take_and_time(AmdimStep *step, int tensor, const float *gradient)
{
    Bench *b = step->taker;
    int interrupted = profile_interrupt(&b->profile, &b->update, clock_seconds());
    take_gradient(step, tensor, gradient);
    profile_resume(&b->profile, interrupted, clock_seconds());
}

static void profile_operations(Bench *b, size_t steps, Fault *f)
{
    const bool adam = b->machine.model->optimizer.rule == AMDIM_ADAM;
    b->draw = (AmdimOp){.name = "step", .shape = "set-up, source locations", .kernel = "drawn"};
    b->update = (AmdimOp){.name = "optimizer", .shape = "update", .kernel = adam ? "Adam" : "SGD"};
    profile_new(&b->profile, steps, f);
    b->machine.step.take = take_and_time;
    b->machine.step.begin = begin_operation;
    b->machine.step.profiler = b;
}

static bool bench_new(Bench *b, const AmdimModel *m, const Options *o, size_t steps, Fault *f)
{
    *b = (Bench){0};
    if (!machine_new(&b->machine, m, o->threads, f) ||
        !optimizer_join(&b->optimizer, m, b->machine.company, f))
        return false;
    b->x = made_up_input(&b->machine, o->seed, f);
    b->seconds = allocate(steps * sizeof *b->seconds, "times", f);
    b->weight = b->seconds ? allocate(steps * sizeof *b->weight, "times", f) : NULL;
    if (!b->x || !b->weight)
        return false;
    weights_init(m, o->seed, b->machine.params);
    b->machine.step.x = b->x;
    b->machine.step.take = take_gradient;
    b->machine.step.taker = b;
    if (o->profile)
        profile_operations(b, steps, f);
    return true;
}

static void bench_free(Bench *b)
{
    profile_free(&b->profile);
    optimizer_free(&b->optimizer);
    machine_free(&b->machine);
    free(b->x);
    free(b->seconds);
    free(b->weight);
}

/* Step number `step` of the run; its times are kept as those of the measured step `slot`. */
static void time_step(Bench *b, uint64_t seed, uint64_t step, size_t slot)
{
    const AmdimModel *m = b->machine.model;
    const bool profiled = b->machine.step.begin != NULL;
    double begun = clock_seconds();
    if (profiled) {
        profile_step(&b->profile, slot);
        profile_begin(&b->profile, &b->draw, begun);
    }
    machine_draw_locations(&b->machine, seed, step);
    b->optimizer.steps = step;
    b->optimizer.lr = optimizer_rate(&m->schedule, m->optimizer.lr, step, 0, UINT64_MAX);
    machine_step(&b->machine);
    double ended = clock_seconds();
    if (profiled)
        profile_begin(&b->profile, NULL, ended);
    b->seconds[slot] = ended - begun;
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
    Figures g = {
        .gflop_per_step = m->flop_per_step / 1e9, .peak_bytes = m->peak_bytes, .threads = o->threads};
    if (o->profile)
        g.peak_gflops = multiply_add_peak(b->machine.pool, PEAK_SECONDS);
    for (uint64_t i = 0; i < WARM_UP; i++)
        time_step(b, o->seed, i, 0);
    for (size_t i = 0; i < steps; i++)
        time_step(b, o->seed, WARM_UP + i, i);
    weigh_middle_half(b->seconds, steps, b->weight);
    for (size_t i = 0; i < steps; i++)
        g.step_seconds += b->weight[i] * b->seconds[i];
    g.images_per_second = m->batch / g.step_seconds;
    g.gflops = g.gflop_per_step / g.step_seconds;
    g.rss_bytes = resident_peak();
    return g;
}

static ProfileScale scale_of(const Bench *b, const Figures *g)
{
    return (ProfileScale){.weight = b->weight, .seconds = g->step_seconds, .peak = g->peak_gflops};
}

static void print_profile(const Bench *b, const Figures *g)
{
    if (!b->told) {
        printf("\n%s tells of no operations: it has no profile. amdimc compiles one that does.\n",
               b->machine.model->name);
        return;
    }
    if (b->machine.held.count > b->machine.held.share)
        note("the operations are those of the first of this process's ranks: at its meetings the others run");
    ProfileScale scale = scale_of(b, g);
    printf("  peak             %10.1f GFLOP/s (multiply-adds of vectors in registers, here)\n",
           g->peak_gflops);
    profile_print(&b->profile, &scale, stdout);
}

static void print_table(const Bench *b, const Figures *g, size_t steps)
{
    const AmdimModel *m = b->machine.model;
    printf("%s, batch %d, %d threads, the middle half of %zu steps\n", m->name, m->batch, g->threads, steps);
    printf("  a step           %10.4g s\n", g->step_seconds);
    printf("  images           %10.1f a second\n", g->images_per_second);
    printf("  products         %10.1f GFLOP a step\n", g->gflop_per_step);
    printf("  speed            %10.1f GFLOP/s\n", g->gflops);
    printf("  memory promised  %10.1f MiB (train, %d threads)\n", (double)g->peak_bytes / MEBIBYTE,
           m->threads);
    if (g->rss_bytes > 0)
        printf("  memory used      %10.1f MiB (here)\n", (double)g->rss_bytes / MEBIBYTE);
}

static void print_json(const Bench *b, const Figures *g, bool profiled)
{
    printf(
        "{\"step_seconds\": %.9g, \"images_per_second\": %.9g, \"gflop_per_step\": %.9g, \"gflops\": %.9g, "
        "\"peak_bytes\": %llu, \"threads\": %d",
        g->step_seconds, g->images_per_second, g->gflop_per_step, g->gflops,
        (unsigned long long)g->peak_bytes, g->threads);
    if (g->rss_bytes > 0)
        printf(", \"rss_bytes\": %llu", (unsigned long long)g->rss_bytes);
    if (profiled) {
        printf(", \"peak_gflops\": %.9g, \"operations\": ", g->peak_gflops);
        ProfileScale scale = scale_of(b, g);
        if (b->told)
            profile_json(&b->profile, &scale, stdout);
        else
            printf("[]");
    }
    printf("}\n");
}

int command_bench(const AmdimModel *m, const Options *o, Fault *f)
{
    Bench b;
    size_t steps = o->steps < 0 ? DEFAULT_STEPS : (size_t)o->steps;
    bool ok = bench_new(&b, m, o, steps, f);
    if (ok) {
        Figures g = measure(&b, o, steps);
        ok = !b.profile.failed;
        if (!company_leads(b.machine.company)) {
            /* process 0 prints */
        } else if (ok && o->json) {
            print_json(&b, &g, o->profile);
        } else if (ok) {
            print_table(&b, &g, steps);
            if (o->profile)
                print_profile(&b, &g);
        }
    }
    bench_free(&b);
    return ok ? 0 : 1;
}
