/* random_specs.c: valid specs drawn at random, each compiled and its `replay` held against the interpreter in
 * double, as docs/program.md counts errors.
 *
 *   random_specs FIRST COUNT [DIR]     seeds FIRST to FIRST + COUNT - 1; specs that fail are kept in DIR (.)
 *
 * A float32 may be further from the interpreter than that tolerance without any mistake: a
 * batchnorm over two values makes gradients that are differences of nearly equal numbers, and a ReLU whose
 * input is within a rounding of zero lets through or not. So where a tensor is beyond the tolerance, the
 * interpreter itself is run again with every operation's results rounded as float32 would, and the tensor may
 * be off by MARGIN times the most that it moved; how many needed that is counted. */
#include "draw.h"
#include "samples.h"
#include "spec_drawn.h"
#include "trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 2e-4 /* docs/program.md, replay */
#define ROUNDING  0x1p-24

enum {
    JITTERS = 8, /* runs of the rounded interpreter */
    MARGIN = 8,  /* what is summed inside an operation may cancel, too: a batchnorm's gradient most of all */
};

typedef struct {
    const Trial *trial;
    const TensorFile *file;
    Interpreter *jittered[JITTERS]; /* once needed */
    int beyond, excused;            /* tensors */
} Check;

/* ---- what rounding does ---- */

static double mean_square(const double *v, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += v[i] * v[i];
    return sum / (double)count;
}

/* The products that an operation sums into a number. */
static double summed(const Op *op)
{
    switch (op->kind) {
    case OP_CONV: return op->in[CONV_WEIGHT]->dims[0];
    case OP_CONV_GRAD_X: return op->kernel * op->kernel * op->in[CONV_GRAD_X_WEIGHT]->dims[1];
    case OP_CONV_GRAD_W: return (double)value_count(op->in[CONV_GRAD_W_DY]) / op->in[CONV_GRAD_W_DY]->dims[3];
    default: return 1;
    }
}

/* Off by a rounding of the number, or, in a map or a weight's gradient, by those of a sum of typical numbers,
 * one a term, where that is more: what nearly cancels was such a sum. A zero stays one: it is what a ReLU
 * stopped. */
static void round_results(Interpreter *r, const Op *op)
{
    const double roundings = sqrt(summed(op));
    for (int j = 0; j < OP_OUTPUTS; j++) {
        const Value *v = op->out[j];
        if (!v)
            continue;
        double *value = r->value[v->id];
        const size_t count = value_count(v);
        const double typical = v->rank % 2 ? 0 : roundings * sqrt(mean_square(value, count));
        for (size_t i = 0; i < count; i++)
            if (value[i] != 0)
                value[i] += ROUNDING * fmax(fabs(value[i]), typical) * noise(&r->state);
    }
}

static void jitter(Check *c)
{
    for (int i = 0; i < JITTERS; i++) {
        Interpreter *r = c->jittered[i] = interpreter_new(c->trial->l.step);
        noise_fill(r, c->trial->seed);
        r->after = round_results;
        r->state = (uint64_t)i;
        interpret(r);
    }
}

typedef struct {
    const char *name;
    const double *want;
    double size, moved;
} Moved;

static void measure_move(void *job, const char *name, const double *value, size_t count, double size)
{
    Moved *m = job;
    (void)size; /* the exact gradient's counts */
    if (strcmp(name, m->name))
        return;
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += pow(value[i] - m->want[i], 2);
    m->moved = fmax(m->moved, sqrt(sum) / m->size);
}

static double sensitivity(Check *c, const char *name, const double *want, double size)
{
    Moved m = {name, want, size, 0};
    if (!c->jittered[0])
        jitter(c);
    for (int i = 0; i < JITTERS; i++)
        trial_each(c->trial, c->jittered[i], measure_move, &m);
    return m.moved;
}

/* ---- one spec ---- */

static void check_tensor(void *job, const char *name, const double *want, size_t count, double size)
{
    Check *c = job;
    const double error = trial_error(c->file, name, want, count, size);
    if (error <= TOLERANCE)
        return;
    const double moved = sensitivity(c, name, want, size);
    if (error <= TOLERANCE + MARGIN * moved) {
        c->excused++;
        return;
    }
    printf("%s: %s: relative error %.2e; rounding moves it by %.2e\n", c->trial->name, name, error, moved);
    c->beyond++;
}

static bool check_replay(const Trial *t, int *excused)
{
    TensorFile one = {0}, three = {0};
    bool good = trial_replay(t, "1", &one) && trial_replay(t, "3", &three);
    Check c = {.trial = t, .file = &one};
    if (good)
        trial_each(t, t->want, check_tensor, &c);
    if (good && (one.count != three.count || memcmp(one.bytes, three.bytes, one.count))) {
        printf("%s: one thread and three differ\n", t->name);
        good = false;
    }
    free(one.bytes);
    free(three.bytes);
    *excused += c.excused;
    return good && c.beyond == 0;
}

/* Reads back as it was drawn, and fits together. */
static bool check_text(Arena *a, const Spec *drawn, const char *text)
{
    Diagnostics d = {.stream = stdout};
    Source source = {drawn->name.v, text, strlen(text)};
    const Spec *s = spec_read(a, &d, &source, &(Overrides){0});
    if (!s || !net_build(a, &d, s))
        return false;
    if (!spec_equal(a, drawn, s))
        printf("%s: another spec is read than was written\n", drawn->name.v);
    return spec_equal(a, drawn, s);
}

/* Small products go to OpenBLAS or Winograd only where they are made to. NULL: the fastest. */
static const char *kernel_of(uint64_t seed)
{
    static const char *const kernels[] = {NULL, "openblas", "winograd"};
    return kernels[seed % COUNT(kernels)];
}

/* What the step takes when the encoder treats some divisor of the images at a time: a budget that a schedule
 * of that kind is needed for. */
static const char *budget_of(const Trial *t, const char *kernel, uint64_t seed)
{
    const Net *n = t->l.net;
    uint64_t state = seed;
    int chunk = 1 + noise_below(&state, n->images);
    while (n->images % chunk)
        chunk--;
    const Program *p =
        compile_schedule(t->l.arena, n, &(Choices){.forced = kernel}, (Schedule){chunk, RECOMPUTE_BUDGET});
    return arena_printf(t->l.arena, "%zuKiB", p->peak.total / 1024 + 1);
}

static bool has_mpi(void)
{
    static int known = -1;
    if (known < 0)
        known = system("mpicc -show >/dev/null 2>&1") == 0;
    return known;
}

/* Some number of shares that the batch can be cut into. */
static const char *ranks_of(const Trial *t, uint64_t seed)
{
    uint64_t state = seed;
    const int batch = t->l.net->batch;
    int ranks = 1 + noise_below(&state, batch);
    while (batch % ranks)
        ranks--;
    return arena_printf(t->l.arena, "%d", ranks);
}

static bool check_program(const Spec *drawn, const char *text, uint64_t seed, int *excused)
{
    static Trial t;
    scratch_begin();
    trial_begin(&t, drawn->name.v, text, seed);
    const char *kernel = kernel_of(seed);
    const char *options[] = {"--products", kernel ? kernel : "fastest", NULL, NULL, NULL};
    if (seed % 4 < 2) {
        options[2] = "--memory";
        options[3] = budget_of(&t, kernel, seed);
    } else if (seed % 4 == 2 && has_mpi()) {
        options[2] = "--ranks";
        options[3] = ranks_of(&t, seed);
    }
    bool good = trial_finish(&t, trial_compile(&t, options));
    good = good && check_replay(&t, excused);
    trial_end(&t);
    scratch_end();
    return good;
}

static void keep(const char *folder, const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.yaml", folder, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file))
        perror(path);
    else
        printf("%s: kept as %s\n", name, path);
}

static bool check_seed(uint64_t seed, const char *folder, int *excused)
{
    Arena *a = arena_new();
    const Spec *drawn = draw_spec(a, seed);
    const char *text = spec_drawn(a, drawn);
    const bool good = check_text(a, drawn, text) && check_program(drawn, text, seed, excused);
    if (!good)
        keep(folder, drawn->name.v, text);
    fflush(stdout);
    arena_free(a);
    return good;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: random_specs FIRST COUNT [DIR]\n");
        return 2;
    }
    const uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
    uint64_t disagreements = 0;
    int excused = 0;
    for (uint64_t seed = first; seed < first + count; seed++)
        disagreements += !check_seed(seed, argc > 3 ? argv[3] : ".", &excused);
    printf("%d tensors were off by more than %g, within what rounding does\n", excused, TOLERANCE);
    printf("%ju specs, %ju disagreements\n", (uintmax_t)count, (uintmax_t)disagreements);
    return disagreements > 0;
}
