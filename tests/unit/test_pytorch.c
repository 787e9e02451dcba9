/* test_pytorch.c: the Python that --emit=pytorch writes. It is text that Python accepts, and holds what the
 * spec trains and nothing else; where PyTorch is installed, its replay agrees with the compiled program's.
 *
 * Python is $PYTHON, python3 or /usr/bin/python3, whichever has what a test needs; without one it is skipped.
 */
#include "lowered.h"
#include "noise.h"
#include "samples.h"
#include "tensor_file.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { BATCH_SEED = 11 };
/* The contract's bound on a replay. */
#define TOLERANCE 2e-4

static char folder[256];

/* One view, one channel, batch normalisation everywhere, an identity head, no clipping, plain SGD. */
static const char odd[] =
    "name: odd\ninput: {size: 12, channels: 1}\nviews: 1\nbatch: 6\n"
    "encoder:\n"
    "  - batchnorm: {}\n"
    "  - conv: {out: 6, kernel: 3, stride: 2, pad: 1, pad_mode: reflect, batchnorm: true}\n"
    "  - block: {out: 9, kernel: 3, stride: 2, pad: 1, depth: 2, batchnorm: true}\n"
    "  - conv: {out: 9, kernel: 2, activation: none}\n"
    "  - residual: {out: 11, kernel: 2}\n"
    "embedding: {dim: 11, batchnorm: true}\n"
    "loss: {pairs: [1-to-2, {pair: 6-to-2, weight: 0.3}, 2-to-2], clip: 0, penalty: 1}\n"
    "optimizer: {sgd: {lr: 0.01, momentum: 0}}\n";

/* Only 6-to-12 is trained: the last two layers, and every other head, have no part in it. */
static const char lower_half[] = "name: lower-half\ninput: {size: 14}\nbatch: 3\n"
                                 "encoder:\n"
                                 "  - conv: {out: 5, kernel: 3, activation: none}\n"
                                 "  - residual: {out: 8, kernel: 3, stride: 2, pad: 1}\n"
                                 "  - block: {out: 33, kernel: 6, depth: 2}\n"
                                 "  - batchnorm: {}\n"
                                 "embedding: {dim: 10}\nloss: {pairs: [6-to-12]}\n";

/* ---- helpers ---- */

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Runs a command of the shell, its output in the folder's log; returns its exit code. */
static int shell(const char *format, ...)
{
    char command[4096], whole[4500];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_in_range(length, 1, sizeof command - 1);
    snprintf(whole, sizeof whole, "{ %s; } >>%.200s/log 2>&1", command, folder);
    int status = system(whole);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The Python that has a module, or NULL. */
static const char *find_python(const char *module)
{
    const char *candidates[] = {getenv("PYTHON"), "python3", "/usr/bin/python3"};
    for (size_t i = 0; i < COUNT(candidates); i++)
        if (candidates[i] && !shell("%s -c 'import %s'", candidates[i], module))
            return candidates[i];
    return NULL;
}

/* As set_up found them. */
static const char *plain_python, *torch_python;

/* The test is skipped where there is no such Python. */
static const char *wanted(const char *python)
{
    if (!python) {
        print_message("no such Python here\n");
        skip();
    }
    return python;
}

static const char *build(void)
{
    const char *directory = getenv("BUILD");
    return directory ? directory : "build";
}

/* The Python for a spec's text; lives in the arena. */
static char *emit(Arena *a, const char *name, const char *text)
{
    Diagnostics d = {.stream = stderr};
    Source *source = ARENA_NEW(a, Source);
    *source = (Source){name, text, strlen(text)};
    const Spec *s = spec_read(a, &d, source, &(Overrides){0});
    assert_non_null(s);
    const Net *n = net_build(a, &d, s);
    assert_non_null(n);
    return emit_pytorch(a, n, "templates");
}

static const char *read_spec(Arena *a, const char *name)
{
    Diagnostics d = {.stream = stderr};
    const Source *source = source_read(a, &d, arena_printf(a, "specs/%s", name));
    assert_non_null(source);
    return source->text;
}

static int count_of(const char *text, const char *piece)
{
    int count = 0;
    for (; (text = strstr(text, piece)); text += strlen(piece))
        count++;
    return count;
}

/* ---- the text ---- */

static void tiny_is_as_expected(void **state)
{
    (void)state;
    static const char path[] = "tests/golden/tiny.py";
    Arena *a = arena_new();
    const char *python = emit(a, "tiny.yaml", read_spec(a, "tiny.yaml"));
    if (getenv("BLESS")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(python, f);
        assert_int_equal(fclose(f), 0);
    }
    TensorFile want = tensor_file_read(path);
    if (strlen(python) != want.count || memcmp(python, want.bytes, want.count))
        fail_msg("%s is not what amdimc writes for specs/tiny.yaml: run `make bless`", path);
    free(want.bytes);
    arena_free(a);
}

static void holds_what_is_trained_and_no_more(void **state)
{
    (void)state;
    Arena *a = arena_new();
    const char *python = emit(a, "half.yaml", lower_half);
    assert_int_equal(count_of(python, "self.encoder["), 2);
    assert_int_equal(count_of(python, "Head("), 1 + 2); /* the class, and heads of 6 and 12 */
    assert_non_null(
        strstr(python, "            # half.yaml:5  12 x 12\n            Conv(3, 5, 3, relu=False),\n"));
    assert_null(strstr(python, "BatchNorm(33)"));
    assert_non_null(strstr(python, "REPRESENTATION = 6 "));
    assert_non_null(strstr(python, "        return {6: f_6, 12: f_12}\n"));
    arena_free(a);
}

static void says_what_the_spec_says(void **state)
{
    (void)state;
    Arena *a = arena_new();
    const char *python = emit(a, "some/folder/odd.yaml", odd);
    assert_non_null(strstr(python, "Conv(1, 6, 3, stride=2, pad=1, reflect=True, batchnorm=True),\n"));
    assert_non_null(strstr(python, "block(6, 9, 3, stride=2, pad=1, depth=2, batchnorm=True),\n"));
    assert_non_null(strstr(python, "'1': nn.Identity(),\n"));
    assert_non_null(strstr(python, "'2': Head(9, batchnorm=True),\n"));
    assert_non_null(strstr(python, "scores = raw  # not clipped\n"));
    assert_non_null(strstr(python, "'6-to-2': 0.3,  # odd.yaml:12\n"));
    assert_non_null(strstr(python, "SGD(\n        parameters, lr=0.01, momentum=0, weight_decay=0.0001)\n"));
    assert_null(strstr(python, "folder"));
    arena_free(a);
}

/* ---- as Python reads it ---- */

static void write_python(const char *name, const char *python)
{
    scratch_write(name, python, strlen(python));
}

static void python_accepts_every_spec(void **state)
{
    (void)state;
    const char *python = wanted(plain_python);
    Arena *a = arena_new();
    DIR *d = opendir("specs");
    assert_non_null(d);
    int specs = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (!strstr(entry->d_name, ".yaml"))
            continue;
        write_python(arena_printf(a, "%s.py", entry->d_name),
                     emit(a, entry->d_name, read_spec(a, entry->d_name)));
        specs++;
    }
    closedir(d);
    assert_true(specs >= 8);
    write_python("odd.py", emit(a, "odd.yaml", odd));
    write_python("lower-half.py", emit(a, "lower-half.yaml", lower_half));
    write_python("quotes.py", emit(a, "a \"\"\" \\ \n \xff.yaml", odd));
    assert_int_equal(shell("%s -m py_compile %s/*.py", python, folder), 0);
    arena_free(a);
}

/* ---- as PyTorch computes it ---- */

typedef struct {
    Lowered l;
    char name[32], program[512], model[512], run[512], batch[512];
} Trial;

static void add_noise(TensorWriter *w, const char *name, int rank, const int *dims, uint64_t *state)
{
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)dims[i];
    double *value = calloc(count, sizeof *value);
    assert_non_null(value);
    for (size_t i = 0; i < count; i++)
        value[i] = 1.5 * noise(state);
    tensor_file_add(w, name, rank, dims, false, value);
    free(value);
}

static void add_locations(TensorWriter *w, const char *name, const Net *n, int scale, uint64_t *state)
{
    double *value = calloc((size_t)n->batch, sizeof *value);
    assert_non_null(value);
    for (int i = 0; i < n->batch; i++)
        value[i] = noise_below(state, scale * scale);
    tensor_file_add(w, name, 1, &n->batch, true, value);
    free(value);
}

static void write_batch(const Trial *t)
{
    const Net *n = t->l.net;
    const int size = (int)n->spec->input.size.v, channels = (int)n->spec->input.channels.v;
    uint64_t state = BATCH_SEED;
    TensorWriter w;
    tensor_file_begin(&w);
    for (int view = 1; view <= n->views; view++) {
        char name[64];
        snprintf(name, sizeof name, "x.%d", view);
        add_noise(&w, name, 4, (int[]){n->batch, channels, size, size}, &state);
        for (int i = 0; i < n->pairs; i++) {
            snprintf(name, sizeof name, "loc.%s.%d", n->pair[i].name, view);
            if (n->pair[i].located >= 0)
                add_locations(&w, name, n, n->pair[i].from->scale, &state);
        }
    }
    tensor_file_end(&w, t->batch);
}

/* Compiles both forms, and has the program train for a few steps, so that no weight is zero any more. */
static void trial_begin(Trial *t, const char *name, const char *text)
{
    *t = (Trial){0};
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->program, sizeof t->program, "%s/%s-program", folder, name);
    snprintf(t->model, sizeof t->model, "%s/%s-model.py", folder, name);
    snprintf(t->run, sizeof t->run, "%s/%s-run", folder, name);
    snprintf(t->batch, sizeof t->batch, "%s/%s-batch.safetensors", folder, name);
    char spec[64];
    snprintf(spec, sizeof spec, "%s.yaml", name);
    scratch_write(spec, text, strlen(text));
    lowered_begin(&t->l, text, PASS_SIMPLIFY);
    assert_int_equal(shell("%s/amdimc %s/%s -o %s --gen-dir %s/c", build(), folder, spec, t->program, folder),
                     0);
    assert_int_equal(shell("%s/amdimc --emit=pytorch %s/%s -o %s", build(), folder, spec, t->model), 0);
    assert_int_equal(shell("%s train --out %s --steps 5 --seed 3", t->program, t->run), 0);
    write_batch(t);
}

static double norm(const double *v, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += v[i] * v[i];
    return sqrt(sum);
}

/* Compares a tensor of both files; its error counts against its own norm and `more`, or against `whole` where
 * it is as good as zero. */
static void expect(const Trial *t, const TensorFile *want, const TensorFile *got, const char *name,
                   size_t count, double more, double whole)
{
    double *x = tensor_file_find(want, name, count), *y = tensor_file_find(got, name, count);
    if (!x || !y)
        fail_msg("%s: no tensor %s of %zu numbers in %s", t->name, name, count,
                 x ? "the program's" : "PyTorch's");
    double size = norm(x, count);
    size = size < 1e-7 * whole ? whole : size + more;
    for (size_t i = 0; i < count; i++)
        y[i] -= x[i];
    const double error = norm(y, count) / size;
    free(x);
    free(y);
    if (!(error <= TOLERANCE))
        fail_msg("%s: %s: relative error %.2e", t->name, name, error);
}

static double whole_gradient(const Trial *t, const TensorFile *f)
{
    double squares = 0;
    for (int i = 0; i < t->l.params->count; i++) {
        const Param *p = t->l.params->param[i];
        char name[256];
        snprintf(name, sizeof name, "grad.%s", p->name);
        double *value = p->trained ? tensor_file_find(f, name, p->count) : NULL;
        squares += value ? pow(norm(value, p->count), 2) : 0;
        free(value);
    }
    return sqrt(squares);
}

static void expect_results(const Trial *t, const TensorFile *want, const TensorFile *got)
{
    const Net *n = t->l.net;
    char name[64];
    expect(t, want, got, "loss", 1, 0, 0);
    expect(t, want, got, "penalty", 1, 0, 0);
    for (int i = 0; i < n->pairs; i++) {
        snprintf(name, sizeof name, "loss.%s", n->pair[i].name);
        expect(t, want, got, name, 1, 0, 0);
    }
    for (int i = 0; i < n->scales; i++)
        for (int view = 1; n->scale[i].trained && view <= n->views; view++) {
            const int d = n->scale[i].scale;
            snprintf(name, sizeof name, "embed.%d.%d", d, view);
            expect(t, want, got, name, (size_t)(n->batch * d * d) * (size_t)n->spec->embedding.dim.v, 0, 0);
        }
}

/* Every trained tensor's, and no other's. */
static void expect_gradients(const Trial *t, const TensorFile *want, const TensorFile *got)
{
    const double whole = whole_gradient(t, want);
    int gradients = 0;
    for (int i = 0; i < t->l.params->count; i++) {
        const Param *p = t->l.params->param[i];
        char name[256];
        snprintf(name, sizeof name, "grad.%s", p->name);
        if (!p->trained)
            continue;
        expect(t, want, got, name, p->count, 1e-4 * whole, whole);
        gradients++;
    }
    uint64_t length;
    memcpy(&length, got->bytes, sizeof length);
    char *header = strndup(got->bytes + sizeof length, (size_t)length);
    assert_int_equal(count_of(header, "\"grad."), gradients);
    free(header);
}

static void check_replay(const char *python, const char *name, const char *text)
{
    Trial t;
    trial_begin(&t, name, text);
    char mine[600], theirs[600];
    snprintf(mine, sizeof mine, "%s/%s-program.safetensors", folder, name);
    snprintf(theirs, sizeof theirs, "%s/%s-pytorch.safetensors", folder, name);
    assert_int_equal(
        shell("%s replay --weights %s/last.safetensors --batch %s -o %s", t.program, t.run, t.batch, mine),
        0);
    assert_int_equal(shell("%s %s replay --weights %s/last.safetensors --batch %s -o %s", python, t.model,
                           t.run, t.batch, theirs),
                     0);
    TensorFile want = tensor_file_read(theirs), got = tensor_file_read(mine);
    expect_results(&t, &want, &got);
    expect_gradients(&t, &want, &got);
    free(want.bytes);
    free(got.bytes);
    lowered_end(&t.l);
}

static void replay_agrees_with_the_program(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    Arena *a = arena_new();
    check_replay(python, "tiny", read_spec(a, "tiny.yaml"));
    check_replay(python, "odd", odd);
    arena_free(a);
}

static void expect_failure(const char *python, const char *weights, const char *batch, const char *message)
{
    assert_int_equal(
        shell("%s %s/failing.py replay --weights %s/%s --batch %s/%s -o %s/none.safetensors 2>%s/said",
              python, folder, folder, weights, folder, batch, folder, folder),
        1);
    TensorFile said = tensor_file_read(scratch_path("said"));
    if (!strstr(said.bytes, message) || count_of(said.bytes, "\n") != 1)
        fail_msg("not one line with \"%s\" but:\n%s", message, said.bytes);
    free(said.bytes);
    assert_int_equal(shell("test -e %s/none.safetensors", folder), 1);
}

static void write_tensor(const char *path, const char *name, int rank, const int *dims)
{
    uint64_t state = BATCH_SEED;
    TensorWriter w;
    tensor_file_begin(&w);
    add_noise(&w, name, rank, dims, &state);
    tensor_file_end(&w, scratch_path(path));
}

/* The names are in the messages, of what is missing and of what has another shape. */
static void failures_name_the_tensor(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    static const char text[] =
        "name: failing\ninput: {size: 4}\nbatch: 2\nencoder: [conv: {out: 3, kernel: 3}]\n"
        "embedding: {dim: 3}\nloss: {pairs: [2-to-2]}\n";
    Arena *a = arena_new();
    write_python("failing.py", emit(a, "failing.yaml", text));
    arena_free(a);
    write_tensor("missing", "encoder.0.bias", 1, (int[]){3});
    write_tensor("misshapen", "encoder.0.weight", 4, (int[]){3, 3, 1, 3});
    scratch_write("cut", "\10\0\0\0\0\0\0\0{\"a\":", 12);
    expect_failure(python, "missing", "missing",
                   "missing: no tensor encoder.0.weight (float32, 3 x 3 x 3 x 3)");
    expect_failure(python, "misshapen", "missing", "tensor encoder.0.weight is float32, 3 x 3 x 1 x 3; ");
    expect_failure(python, "cut", "missing", "cut: not a safetensors file, or cut short");
}

static void bench_tells_its_figures(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    Arena *a = arena_new();
    write_python("bench.py", emit(a, "odd.yaml", odd));
    arena_free(a);
    assert_int_equal(
        shell("%s %s/bench.py bench --steps 2 --threads 1 --json >%s/figures", python, folder, folder), 0);
    TensorFile f = tensor_file_read(scratch_path("figures"));
    double seconds = 0, images = 0, peak = 0;
    int threads = 0;
    assert_int_equal(
        sscanf(f.bytes,
               "{\"step_seconds\": %lf, \"images_per_second\": %lf, \"peak_bytes\": %lf, \"threads\": %d}",
               &seconds, &images, &peak, &threads),
        4);
    assert_true(fabs(images * seconds - 6) < 1e-6); /* the batch */
    assert_true(peak > 1 << 20);
    assert_int_equal(threads, 1);
    free(f.bytes);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    plain_python = find_python("py_compile");
    torch_python = find_python("torch");
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
        cmocka_unit_test(tiny_is_as_expected),
        cmocka_unit_test(holds_what_is_trained_and_no_more),
        cmocka_unit_test(says_what_the_spec_says),
        cmocka_unit_test(python_accepts_every_spec),
        cmocka_unit_test(replay_agrees_with_the_program),
        cmocka_unit_test(failures_name_the_tensor),
        cmocka_unit_test(bench_tells_its_figures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
