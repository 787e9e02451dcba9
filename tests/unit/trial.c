/* trial.c: see trial.h. */
#include "trial.h"
#include "samples.h"
#include "shell.h"

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

enum { OPTIONS_MOST = 16 };

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

static void path_in(char *to, size_t size, const char *stem, const char *suffix)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", stem, suffix);
    snprintf(to, size, "%s", scratch_path(name));
}

void trial_begin(Trial *t, const char *name, const char *text, uint64_t seed)
{
    char spec[128];
    *t = (Trial){.name = name, .seed = seed};
    path_in(t->spec, sizeof t->spec, name, ".yaml");
    path_in(t->program, sizeof t->program, name, "");
    path_in(t->generated, sizeof t->generated, name, "-c");
    path_in(t->weights, sizeof t->weights, name, "-weights.safetensors");
    path_in(t->batch, sizeof t->batch, name, "-batch.safetensors");
    path_in(t->out, sizeof t->out, name, "-out.safetensors");
    path_in(t->log, sizeof t->log, name, "-log");
    snprintf(spec, sizeof spec, "%s.yaml", name);
    scratch_write(spec, text, strlen(text));
    lowered_begin_file(&t->l, t->spec, PASS_RECOMPUTE);
    t->want = interpreter_new(t->l.step);
    noise_fill(t->want, seed);
    write_weights(t);
    write_batch(t);
    interpret(t->want);
}

void trial_end(Trial *t)
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

bool trial_finish(const Trial *t, pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    TensorFile said = tensor_file_read(t->log);
    fprintf(stderr, "%s: status %x: %.*s\n", t->name, (unsigned)status, (int)said.count, said.bytes);
    free(said.bytes);
    return false;
}

pid_t trial_compile(const Trial *t, const char *const *options)
{
    const char *argv[OPTIONS_MOST] = {amdimc_path(), t->spec, "-o", t->program, "--gen-dir", t->generated};
    size_t count = 6;
    for (; *options; options++) {
        assert_true(count < OPTIONS_MOST - 1);
        argv[count++] = *options;
    }
    return start(argv, t->log);
}

bool trial_replay(const Trial *t, const char *threads, TensorFile *to)
{
    const char *const argv[] = {t->program,  "replay", "--weights", t->weights, "--batch", t->batch,
                                "--threads", threads,  "-o",        t->out,     NULL};
    if (!trial_finish(t, start(argv, t->log)))
        return false;
    *to = tensor_file_read(t->out);
    return true;
}

/* ---- comparing ---- */

static double norm(const double *v, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += v[i] * v[i];
    return sqrt(sum);
}

static void each_number(EachTensor *each, void *job, const char *name, double value)
{
    each(job, name, &value, 1, fabs(value));
}

static void each_loss(const Trial *t, const Interpreter *r, EachTensor *each, void *job)
{
    each_number(each, job, "loss", r->loss);
    each_number(each, job, "penalty", r->penalty);
    for (int i = 0; i < t->l.net->pairs; i++) {
        char name[64];
        snprintf(name, sizeof name, "loss.%s", t->l.net->pair[i].name);
        each_number(each, job, name, r->pair_loss[i]);
    }
}

static void each_embedding(const Trial *t, const Interpreter *r, EachTensor *each, void *job)
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
            double *value = view_in_file_order(&map, interpreter_embedding(r, d), n->views, view);
            each(job, name, value, count, norm(value, count));
            free(value);
        }
}

/* The whole gradient's norm. Every trained tensor must have one. */
static double whole_gradient(const Trial *t, const Interpreter *r)
{
    const Params *all = t->l.params;
    const Graph *g = t->l.step;
    double squares = 0;
    int gradients = 0, trained = 0;
    for (int i = 0; i < g->values; i++)
        if (r->gradient[i]) {
            squares += pow(norm(r->gradient[i], g->value[i]->param->count), 2);
            gradients++;
        }
    for (int i = 0; i < all->count; i++)
        trained += all->param[i]->trained;
    assert_int_equal(gradients, trained);
    return sqrt(squares);
}

/* As docs/program.md counts: relative to the tensor's norm and a little of the whole's, or to the whole where
 * the gradient is zero in exact arithmetic. */
static void each_gradient(const Trial *t, const Interpreter *r, EachTensor *each, void *job)
{
    const Graph *g = t->l.step;
    const double whole = whole_gradient(t, r);
    for (int i = 0; i < g->values; i++) {
        const Param *p = g->value[i]->param;
        if (!r->gradient[i])
            continue;
        char name[256];
        snprintf(name, sizeof name, "grad.%s", p->name);
        double *value = in_file_order(p, r->gradient[i]);
        const double size = norm(value, p->count);
        each(job, name, value, p->count, size < 1e-7 * whole ? whole : size + 1e-4 * whole);
        free(value);
    }
}

void trial_each(const Trial *t, const Interpreter *r, EachTensor *each, void *job)
{
    each_loss(t, r, each, job);
    each_embedding(t, r, each, job);
    each_gradient(t, r, each, job);
}

double trial_error(const TensorFile *f, const char *name, const double *want, size_t count, double size)
{
    double *got = tensor_file_find(f, name, count);
    if (!got)
        return INFINITY;
    for (size_t i = 0; i < count; i++)
        got[i] -= want[i];
    const double error = norm(got, count);
    free(got);
    return error == 0 ? 0 : error / size;
}

/* Half of what docs/program.md allows; float32 alone reaches some 1e-5 through the batchnorms of so few
 * images.
 */
#define TOLERANCE 1e-4

typedef struct {
    const char *where;
    const TensorFile *file;
} Compared;

static void expect_tensor(void *job, const char *name, const double *want, size_t count, double size)
{
    const Compared *c = job;
    const double error = trial_error(c->file, name, want, count, size);
    if (!(error <= TOLERANCE))
        fail_msg("%s: %s: relative error %.2e", c->where, name, error);
}

void trial_expect_near(const Trial *t, const char *where, const TensorFile *file)
{
    trial_each(t, t->want, expect_tensor, &(Compared){where, file});
}

void trial_expect_replay(const Trial *t, const char *where)
{
    TensorFile one, two;
    assert_true(trial_replay(t, "1", &one));
    trial_expect_near(t, where, &one);
    assert_true(trial_replay(t, "2", &two));
    if (one.count != two.count || memcmp(one.bytes, two.bytes, one.count))
        fail_msg("%s: one thread and two differ", where);
    free(one.bytes);
    free(two.bytes);
}
