/* test_program.c: compiled programs, end to end: for small specs with odd shapes, what `replay` writes agrees
 * with the interpreter in double as the contract counts errors, and is the same at any number of threads.
 *
 * Uses the compiler $AMDIMC, or build/amdimc. */
#include "noise.h"
#include "lowered.h"
#include "samples.h"
#include "tensor_file.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

/* Half of what the contract allows; float32 alone reaches some 1e-5 through the batchnorms of so few images.
 */
#define TOLERANCE 1e-4

typedef struct {
    const char *name, *blas, *text; /* the text without its name */
} Case;

static const Case cases[] = {
    {"views-one-gray", "none",
     "input: {size: 9, channels: 1}\nviews: 1\nbatch: 2\n"
     "encoder:\n"
     "  - conv: {out: 5, kernel: 3}\n"
     "  - residual: {out: 7, kernel: 3, stride: 2}\n"
     "  - residual: {out: 11, kernel: 3}\n"
     "embedding: {dim: 6}\nloss: {pairs: [1-to-3, 3-to-7], clip: 5}\n"},
    {"reflect-and-stride", "none",
     "input: {size: 13}\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 4, kernel: 5, stride: 2, pad: 2, pad_mode: reflect}\n"
     "  - residual: {out: 9, kernel: 3, stride: 3, pad: 1}\n"
     "  - conv: {out: 17, kernel: 3, activation: none}\n"
     "embedding: {dim: 17}\nloss: {pairs: [1-to-3, {pair: 3-to-7, weight: 0.3}, 7-to-1]}\n"},
    {"batchnorm-everywhere", "none",
     "input: {size: 12}\nbatch: 5\n"
     "encoder:\n"
     "  - batchnorm: {}\n"
     "  - conv: {out: 6, kernel: 3, batchnorm: true}\n"
     "  - block: {out: 13, kernel: 4, stride: 2, depth: 2, batchnorm: true}\n"
     "  - residual: {out: 20, kernel: 4, batchnorm: true}\n"
     "  - batchnorm: {}\n"
     "embedding: {dim: 8, batchnorm: true}\nloss: {pairs: [1-to-4, 4-to-4], penalty: 0.5}\n"},
    {"no-clip-weights", "none",
     "input: {size: 16, channels: 2}\nbatch: 4\n"
     "encoder:\n"
     "  - conv: {out: 3, kernel: 4, stride: 2, pad: 1}\n"
     "  - block: {out: 19, kernel: 2, stride: 2, depth: 3}\n"
     "  - residual: {out: 19, kernel: 4}\n"
     "embedding: {dim: 19}\n"
     "loss: {pairs: [{pair: 1-to-4, weight: 2.5}, {pair: 4-to-8, weight: 0.125}, 8-to-4, 1-to-1], clip: "
     "0}\n"},
    {"one-channel", "none",
     "input: {size: 10, channels: 1}\nbatch: 2\n"
     "encoder:\n"
     "  - conv: {out: 1, kernel: 3}\n"
     "  - residual: {out: 3, kernel: 5}\n"
     "  - residual: {out: 3, kernel: 4}\n"
     "embedding: {dim: 3}\nloss: {pairs: [1-to-4, 4-to-4], penalty: 0}\n"},
    {"dropped-layers", "none",
     "input: {size: 14}\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 5, kernel: 3, batchnorm: true, activation: none}\n"
     "  - residual: {out: 8, kernel: 3, stride: 2, pad: 1}\n"
     "  - conv: {out: 6, kernel: 3, pad: 1}\n"
     "  - block: {out: 33, kernel: 6, depth: 2}\n"
     "embedding: {dim: 10}\nloss: {pairs: [6-to-12, 12-to-6]}\n"},
    {"many-to-one", "none",
     "input: {size: 11}\nviews: 1\nbatch: 6\n"
     "encoder:\n"
     "  - block: {out: 4, kernel: 3, stride: 2, pad: 1, depth: 2}\n"
     "  - batchnorm: {}\n"
     "  - block: {out: 12, kernel: 2, stride: 2, depth: 1, batchnorm: true}\n"
     "  - residual: {out: 15, kernel: 3}\n"
     "embedding: {dim: 34, batchnorm: true}\nloss: {pairs: [3-to-1, 6-to-1, 6-to-3], clip: 20}\n"},
    {"strides-that-skip", "none",
     "input: {size: 20}\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 16, kernel: 1, stride: 3}\n"
     "  - residual: {out: 18, kernel: 2, stride: 3}\n"
     "  - conv: {out: 32, kernel: 2, pad: 1, pad_mode: reflect}\n"
     "  - residual: {out: 35, kernel: 3, stride: 5}\n"
     "embedding: {dim: 35}\nloss: {pairs: [1-to-3, 3-to-3], clip: 10}\n"},
    {"several-panels", "none",
     "input: {size: 9}\nbatch: 17\n"
     "encoder:\n"
     "  - conv: {out: 40, kernel: 3}\n"
     "  - residual: {out: 65, kernel: 3, stride: 2}\n"
     "  - residual: {out: 70, kernel: 3}\n"
     "embedding: {dim: 50}\nloss: {pairs: [1-to-3, {pair: 7-to-3, weight: 0.5}], penalty: 0.01}\n"},
    {"blas-products", "openblas",
     "input: {size: 6, channels: 5}\nbatch: 4\n"
     "encoder:\n"
     "  - conv: {out: 8, kernel: 3}\n"
     "  - residual: {out: 512, kernel: 3, stride: 1}\n"
     "  - residual: {out: 513, kernel: 1}\n"
     "  - residual: {out: 520, kernel: 2, batchnorm: true}\n"
     "embedding: {dim: 515}\nloss: {pairs: [1-to-2]}\n"},
    {"blas-heads", "openblas",
     "input: {size: 8}\nviews: 1\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 9, kernel: 5}\n"
     "  - conv: {out: 512, kernel: 3, stride: 1, activation: none}\n"
     "  - residual: {out: 512, kernel: 2}\n"
     "embedding: {dim: 512, batchnorm: true}\nloss: {pairs: [1-to-2, 2-to-2], clip: 0}\n"},
};

/* A case under test: its list with its values, and the files of the scratch folder. */
typedef struct {
    const Case *c;
    Lowered l;
    Interpreter *want;
    char spec[512], program[512], generated[512], weights[512], batch[512], out[512], log[512];
} Trial;

static void path_in(char *to, size_t size, const Case *c, const char *suffix)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", c->name, suffix);
    snprintf(to, size, "%s", scratch_path(name));
}

/* ---- files ---- */

static double *new_doubles(size_t count)
{
    double *p = calloc(count, sizeof *p);
    assert_non_null(p);
    return p;
}

/* A parameter, or its gradient, in PyTorch's order: weights (k*k*in, out) -> (out, in, k, k). */
static double *in_file_order(const Param *p, const double *value)
{
    double *to = new_doubles(p->count);
    const int area = p->rank == 4 ? p->dims[2] * p->dims[3] : 1, in = p->rank == 4 ? p->dims[1] : 1;
    for (int out = 0; out < p->dims[0]; out++)
        for (int i = 0; i < in; i++)
            for (int k = 0; k < area; k++)
                to[(out * in + i) * area + k] = value[(k * in + i) * p->dims[0] + out];
    return to;
}

/* One view of a map (N, S, S, C) as (B, C, S, S). */
static double *view_in_file_order(const Value *v, const double *value, int views, int view)
{
    const size_t area = (size_t)v->dims[1] * (size_t)v->dims[2], channels = (size_t)v->dims[3],
                 count = value_count(v) / (size_t)views;
    double *to = new_doubles(count);
    for (size_t i = 0; i < count; i++) {
        const size_t image = i / (area * channels), channel = i / area % channels, position = i % area;
        to[i] = value[(size_t)view * count + (image * area + position) * channels + channel];
    }
    return to;
}

static void write_weights(const Trial *t)
{
    TensorWriter w;
    tensor_file_begin(&w);
    const Graph *g = t->l.step;
    for (int i = 0; i < g->values; i++) {
        const Param *p = g->value[i]->param;
        if (!p)
            continue;
        double *value = in_file_order(p, t->want->value[i]);
        tensor_file_add(&w, p->name, p->rank, p->dims, false, value);
        free(value);
    }
    tensor_file_end(&w, t->weights);
}

static void write_batch(const Trial *t)
{
    const Net *n = t->l.net;
    const Value *x = t->l.step->x;
    TensorWriter w;
    tensor_file_begin(&w);
    for (int view = 0; view < n->views; view++) {
        char name[64];
        snprintf(name, sizeof name, "x.%d", view + 1);
        double *value = view_in_file_order(x, t->want->value[x->id], n->views, view);
        tensor_file_add(&w, name, 4, (int[]){n->batch, x->dims[3], x->dims[1], x->dims[2]}, false, value);
        free(value);
        for (int i = 0; i < n->pairs; i++) {
            if (n->pair[i].located < 0)
                continue;
            const Value *location = t->l.step->location[n->pair[i].located];
            snprintf(name, sizeof name, "loc.%s.%d", n->pair[i].name, view + 1);
            tensor_file_add(&w, name, 1, &n->batch, true, t->want->value[location->id] + view * n->batch);
        }
    }
    tensor_file_end(&w, t->batch);
}

static void trial_begin(Trial *t, const Case *c, uint64_t seed)
{
    *t = (Trial){.c = c};
    path_in(t->spec, sizeof t->spec, c, ".yaml");
    path_in(t->program, sizeof t->program, c, "");
    path_in(t->generated, sizeof t->generated, c, "-c");
    path_in(t->weights, sizeof t->weights, c, "-weights.safetensors");
    path_in(t->batch, sizeof t->batch, c, "-batch.safetensors");
    path_in(t->out, sizeof t->out, c, "-out.safetensors");
    path_in(t->log, sizeof t->log, c, "-log");
    char text[4096], name[128];
    snprintf(text, sizeof text, "name: %s\n%s", c->name, c->text);
    snprintf(name, sizeof name, "%s.yaml", c->name);
    scratch_write(name, text, strlen(text));
    lowered_begin_file(&t->l, t->spec, PASS_RECOMPUTE);
    t->want = interpreter_new(t->l.step);
    noise_fill(t->want, seed);
    write_weights(t);
    write_batch(t);
    interpret(t->want);
}

static void trial_end(Trial *t)
{
    lowered_end(&t->l);
}

/* ---- running ---- */

/* What it prints goes to a file. */
static pid_t start(const char *const *argv, const char *log)
{
    pid_t child;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    const int error = posix_spawn(&child, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error)
        fail_msg("%s: %s", argv[0], strerror(error));
    return child;
}

static void finish(pid_t child, const char *log)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    TensorFile said = tensor_file_read(log);
    fail_msg("%s: status %x: %.*s", log, (unsigned)status, (int)said.count, said.bytes);
}

static const char *compiler(void)
{
    static char path[512];
    const char *directory = getenv("BUILD");
    snprintf(path, sizeof path, "%s/amdimc", directory && *directory ? directory : "build");
    return path;
}

static pid_t start_compiler(const Trial *t)
{
    /* With OpenBLAS, every convolution goes through it, as none of these small ones would by itself. */
    const char *products = strcmp(t->c->blas, "openblas") ? "fastest" : "openblas";
    const char *const argv[] = {compiler(), t->spec,    "-o",         t->program, "--gen-dir", t->generated,
                                "--blas",   t->c->blas, "--products", products,   NULL};
    return start(argv, t->log);
}

static TensorFile replay(const Trial *t, const char *threads)
{
    const char *const argv[] = {t->program,  "replay", "--weights", t->weights, "--batch", t->batch,
                                "--threads", threads,  "-o",        t->out,     NULL};
    finish(start(argv, t->log), t->log);
    return tensor_file_read(t->out);
}

/* ---- comparing ---- */

static double norm(const double *v, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += v[i] * v[i];
    return sqrt(sum);
}

/* The error of a tensor of the file relative to `size`. */
static void expect(const Trial *t, const TensorFile *f, const char *name, const double *want, size_t count,
                   double size)
{
    double *got = tensor_file_find(f, name, count);
    if (!got)
        fail_msg("%s: no tensor %s of %zu numbers", t->c->name, name, count);
    for (size_t i = 0; i < count; i++)
        got[i] -= want[i];
    const double error = norm(got, count) / size;
    free(got);
    if (!(error <= TOLERANCE))
        fail_msg("%s: %s: relative error %.2e", t->c->name, name, error);
}

static void expect_number(const Trial *t, const TensorFile *f, const char *name, double want)
{
    expect(t, f, name, &want, 1, fabs(want));
}

static void expect_losses(const Trial *t, const TensorFile *f)
{
    expect_number(t, f, "loss", t->want->loss);
    expect_number(t, f, "penalty", t->want->penalty);
    for (int i = 0; i < t->l.net->pairs; i++) {
        char name[64];
        snprintf(name, sizeof name, "loss.%s", t->l.net->pair[i].name);
        expect_number(t, f, name, t->want->pair_loss[i]);
    }
}

static void expect_embeddings(const Trial *t, const TensorFile *f)
{
    const Net *n = t->l.net;
    const int dim = (int)n->spec->embedding.dim.v;
    for (int i = 0; i < n->scales; i++)
        for (int view = 0; n->scale[i].trained && view < n->views; view++) {
            const int d = n->scale[i].scale;
            const Value map = {.rank = 4, .dims = {n->images, d, d, dim}};
            const size_t count = value_count(&map) / (size_t)n->views;
            char name[64];
            snprintf(name, sizeof name, "embed.%d.%d", d, view + 1);
            double *want = view_in_file_order(&map, interpreter_embedding(t->want, d), n->views, view);
            expect(t, f, name, want, count, norm(want, count));
            free(want);
        }
}

/* As the contract counts: relative to the tensor's norm and a little of the whole's, or to the whole where
 * the gradient is zero in exact arithmetic. */
static void expect_gradients(const Trial *t, const TensorFile *f)
{
    const Params *all = t->l.params;
    const Graph *g = t->l.step;
    double squares = 0;
    int gradients = 0, trained = 0;
    for (int i = 0; i < g->values; i++)
        if (t->want->gradient[i]) {
            squares += pow(norm(t->want->gradient[i], g->value[i]->param->count), 2);
            gradients++;
        }
    for (int i = 0; i < all->count; i++)
        trained += all->param[i]->trained;
    assert_int_equal(gradients, trained);
    const double whole = sqrt(squares);
    for (int i = 0; i < g->values; i++) {
        const Param *p = g->value[i]->param;
        if (!t->want->gradient[i])
            continue;
        char name[256];
        snprintf(name, sizeof name, "grad.%s", p->name);
        double *want = in_file_order(p, t->want->gradient[i]);
        const double size = norm(want, p->count);
        expect(t, f, name, want, p->count, size < 1e-7 * whole ? whole : size + 1e-4 * whole);
        free(want);
    }
}

static void expect_replay(const Trial *t)
{
    TensorFile one = replay(t, "1");
    expect_losses(t, &one);
    expect_embeddings(t, &one);
    expect_gradients(t, &one);
    TensorFile two = replay(t, "2");
    if (one.count != two.count || memcmp(one.bytes, two.bytes, one.count))
        fail_msg("%s: one thread and two differ", t->c->name);
    free(one.bytes);
    free(two.bytes);
}

/* ---- tests ---- */

/* Two at a time, for there is a compiler to wait for in each. */
static void programs_agree_with_the_interpreter(void **state)
{
    (void)state;
    static Trial trial[COUNT(cases)];
    pid_t child[COUNT(cases)];
    for (size_t i = 0; i < COUNT(cases) + 1; i++) {
        if (i < COUNT(cases)) {
            trial_begin(&trial[i], &cases[i], 100 + i);
            child[i] = start_compiler(&trial[i]);
        }
        if (i > 0) {
            finish(child[i - 1], trial[i - 1].log);
            expect_replay(&trial[i - 1]);
            trial_end(&trial[i - 1]);
        }
    }
}

static int set_up(void **state)
{
    (void)state;
    scratch_begin();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_agree_with_the_interpreter),
    };
    return cmocka_run_group_tests_name("program", tests, set_up, tear_down);
}
