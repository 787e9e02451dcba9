/* test_pytorch.c: the Python that --emit=pytorch writes. It is text that Python accepts, and holds what the
 * spec trains and nothing else; where PyTorch is installed, its replay agrees with the interpreter's, and
 * with the compiled program's of weights that the program trained. Without a Python that has what a test
 * needs, it is skipped. */
#include "samples.h"
#include "shell.h"
#include "trial.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Both count in double: what differs is the rounding of files to float32. */
#define TOLERANCE 1e-6

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

/* Antecedents of f_1 as it is that are mixtures, of places that are not, and consequents of scale 1. */
static const char mixed[] = "name: mixed\ninput: {size: 12, channels: 1}\nbatch: 5\n"
                            "encoder:\n"
                            "  - conv: {out: 6, kernel: 4, stride: 2}\n"
                            "  - residual: {out: 9, kernel: 3}\n"
                            "  - residual: {out: 11, kernel: 3}\n"
                            "embedding: {dim: 11, mixture: {components: 3, hidden: 8, temperature: 1e-4}}\n"
                            "loss: {pairs: [1-to-3, 3-to-1, {pair: 1-to-5, weight: 0.3}]}\n";

/* ---- helpers ---- */

/* As set_up found them. */
static const char *plain_python, *torch_python;

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
    assert_non_null(strstr(python, "MEAN = [0] * CHANNELS  # default\n"));
    assert_non_null(strstr(python, "'1': nn.Identity(),\n"));
    assert_non_null(strstr(python, "'2': Head(9, batchnorm=True),\n"));
    assert_non_null(strstr(python, "scores = raw  # not clipped\n"));
    assert_non_null(strstr(python, "'6-to-2': 0.3,  # odd.yaml:12\n"));
    assert_non_null(strstr(python, "SGD(\n        parameters, lr=0.01, momentum=0, weight_decay=0.0001)\n"));
    assert_null(strstr(python, "folder"));
    assert_null(strcasestr(python, "mixture"));
    assert_null(strstr(python, "AdamW"));
    python = emit(a, "decoupled.yaml",
                  "name: decoupled\ninput: {size: 4}\nbatch: 2\n"
                  "encoder: [conv: {out: 3, kernel: 3}]\nembedding: {dim: 3}\n"
                  "loss: {pairs: [2-to-2]}\noptimizer: {adam: {decoupled: true, betas: [0, 0.999]}}\n");
    assert_non_null(strstr(python, "torch.optim.AdamW(\n        parameters, lr=0.0002, betas=(0.0, 0.999),\n"
                                   "        eps=1e-08, weight_decay=1e-05)\n"));
    python = emit(a, "mixed.yaml", mixed);
    assert_non_null(strstr(python, "COMPONENTS = 3  # mixed.yaml:8\n"));
    assert_non_null(strstr(python, "        self.embed['1'].mixture = Mixture()\n"));
    assert_non_null(
        strstr(python, "                + mixture_nce(phi[1][1], phi[5][0], self.embed['1'].mixture)\n"));
    assert_non_null(
        strstr(python, "                info_nce(phi[3][0], phi[1][1], locations['3-to-1'][0])\n"));
    python = emit(a, "amdim.yaml", read_spec(a, "amdim.yaml"));
    assert_non_null(strstr(python, "\nMEAN = [0.4914, 0.4824, 0.4467]  # amdim.yaml:8\n"));
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
    write_python("mixed.py", emit(a, "mixed.yaml", mixed));
    write_python("quotes.py", emit(a, "a \"\"\" \\ \n \xff.yaml", odd));
    assert_int_equal(shell("%s -m py_compile %s/*.py", python, folder), 0);
    arena_free(a);
}

/* ---- as PyTorch computes it ---- */

/* Has PyTorch replay the weights of a file on the trial's batch. */
static TensorFile replay_in_pytorch(const Trial *t, const char *python, const char *weights)
{
    assert_int_equal(shell("%s %s/%s.py replay --threads 1 --weights %s --batch %s -o %s/theirs", python,
                           folder, t->name, weights, t->batch, folder),
                     0);
    return tensor_file_read(scratch_path("theirs"));
}

typedef struct {
    const Trial *t;
    const TensorFile *got;
    int gradients;
} Replayed;

static void expect_tensor(void *job, const char *name, const double *value, size_t count, double size)
{
    Replayed *r = job;
    const double error = trial_error(r->got, name, value, count, size);
    if (!(error <= TOLERANCE))
        fail_msg("%s: %s: relative error %.2e", r->t->name, name, error);
    r->gradients += !strncmp(name, "grad.", strlen("grad."));
}

static int gradients_in(const TensorFile *f)
{
    uint64_t length;
    memcpy(&length, f->bytes, sizeof length);
    char *header = strndup(f->bytes + sizeof length, (size_t)length);
    const int count = count_of(header, "\"grad.");
    free(header);
    return count;
}

static void begin(Trial *t, const char *name, const char *text)
{
    trial_begin(t, name, text, 11);
    assert_int_equal(shell("%s --emit=pytorch %s -o %s/%s.py", amdimc_path(), t->spec, folder, name), 0);
}

/* Every trained tensor has its gradient, and no other. */
static void check_replay(const char *python, const char *name, const char *text)
{
    Trial t;
    begin(&t, name, text);
    TensorFile got = replay_in_pytorch(&t, python, t.weights);
    Replayed r = {&t, &got, 0};
    trial_each(&t, t.want, expect_tensor, &r);
    assert_int_equal(gradients_in(&got), r.gradients);
    free(got.bytes);
    trial_end(&t);
}

static void replay_agrees_with_the_interpreter(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    Arena *a = arena_new();
    check_replay(python, "tiny", read_spec(a, "tiny.yaml"));
    check_replay(python, "odd", odd);
    check_replay(python, "lower-half", lower_half);
    check_replay(python, "mixed", mixed);
    check_replay(python, "mixed-one-view", arena_printf(a, "views: 1\n%s", mixed));
    arena_free(a);
}

/* A run's file holds more than weights; the rest is ignored. */
static void takes_what_the_program_trained(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    Trial t;
    begin(&t, "trained", odd);
    assert_true(trial_finish(&t, trial_compile(&t, (const char *[]){"--blas", "none", NULL})));
    assert_int_equal(shell("%s train --out %s/run --steps 5 --seed 3", t.program, folder), 0);
    snprintf(t.weights, sizeof t.weights, "%s", scratch_path("run/last.safetensors"));
    TensorFile mine, theirs = replay_in_pytorch(&t, python, t.weights);
    assert_true(trial_replay(&t, "1", &mine));
    double *loss = tensor_file_find(&mine, "loss", 1);
    assert_non_null(loss);
    assert_true(trial_error(&theirs, "loss", loss, 1, fabs(*loss)) <= 1e-5);
    free(loss);
    free(mine.bytes);
    free(theirs.bytes);
    /* And back: what the module saves, the program goes on with, and all of it fits. */
    assert_int_equal(
        shell("cd %s && %s -c 'import trained; m = trained.Model(); m.load(\"run/last.safetensors\"); "
              "m.save(\"back.safetensors\")' && %s train --weights back.safetensors --out back --steps 0 "
              "2>said; "
              "! grep 'begun anew' said && %s encode --weights run/last.safetensors -o one.npy && "
              "%s encode --weights back.safetensors -o other.npy && cmp one.npy other.npy",
              folder, python, t.program, t.program, t.program),
        0);
    trial_end(&t);
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

/* Of at most 64 numbers. */
static void write_tensor(const char *path, const char *name, int rank, const int *dims)
{
    static const double zeros[64];
    TensorWriter w;
    tensor_file_begin(&w);
    tensor_file_add(&w, name, rank, dims, false, zeros);
    tensor_file_end(&w, scratch_path(path));
}

/* The docstring's two examples. */
static void encodes_and_trains_as_it_says(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    Arena *a = arena_new();
    write_python("example.py", emit(a, "tiny.yaml", read_spec(a, "tiny.yaml")));
    arena_free(a);
    static const char example[] = "from example import *\n"
                                  "pixels = torch.rand(VIEWS * BATCH, CHANNELS, SIZE, SIZE)\n"
                                  "model = Model()\n"
                                  "optimizer = make_optimizer(model.train().parameters())\n"
                                  "losses = []\n"
                                  "for _ in range(4):\n"
                                  "    optimizer.zero_grad()\n"
                                  "    step = model(normalize(pixels), draw_locations(BATCH))\n"
                                  "    step['loss'].backward()\n"
                                  "    optimizer.step()\n"
                                  "    losses.append(step['loss'].item())\n"
                                  "assert losses[-1] < losses[0], losses\n"
                                  "vectors = model.eval().representation(normalize(pixels))\n"
                                  "assert vectors.shape == (VIEWS * BATCH, 48)\n";
    scratch_write("use.py", example, sizeof example - 1);
    assert_int_equal(shell("%s %s/use.py", python, folder), 0);
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
    expect_failure(python, "nowhere", "missing", "nowhere: No such file or directory");
    assert_int_equal(
        shell("cd %s && cp missing kept && %s failing.py replay --weights missing --batch misshapen "
              "-o ./missing 2>said; test $? = 1 && "
              "grep -q 'missing would be read and written over' said && cmp kept missing",
              folder, python),
        0);
}

static void says_how_it_is_used(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    Arena *a = arena_new();
    write_python("usage.py", emit(a, "odd.yaml", odd));
    arena_free(a);
    assert_int_equal(shell("%s %s/usage.py 2>%s/said", python, folder, folder), 2);
    TensorFile said = tensor_file_read(scratch_path("said"));
    assert_non_null(strstr(said.bytes, "usage: usage.py"));
    assert_non_null(strstr(said.bytes, "    replay "));
    free(said.bytes);
}

/* PyTorch is not bound by what the program may hold. */
static void needs_no_memory_of_the_program(void **state)
{
    (void)state;
    assert_int_equal(shell("%s --check specs/tiny.yaml --memory 1MiB", amdimc_path()), 1);
    assert_int_equal(
        shell("%s --emit=pytorch specs/tiny.yaml --memory 1MiB -o %s/small.py", amdimc_path(), folder), 0);
}

/* Of `bench --threads 1 --json` with odd.yaml, in the folder. */
static void expect_figures(void)
{
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

static void bench_tells_its_figures(void **state)
{
    (void)state;
    const char *python = wanted(torch_python);
    Arena *a = arena_new();
    write_python("bench.py", emit(a, "odd.yaml", odd));
    arena_free(a);
    assert_int_equal(shell("%s %s/bench.py bench --steps 2 --threads 1 --json --autocast >%s/figures", python,
                           folder, folder),
                     0);
    expect_figures();
    assert_int_equal(
        shell("%s %s/bench.py bench --steps 2 --threads 1 --json >%s/figures", python, folder, folder), 0);
    expect_figures();
    if (shell("%s -c 'import torch; torch.compile'", python) == 0)
        assert_int_equal(shell("%s %s/bench.py bench --steps 1 --threads 1 --fused", python, folder), 0);
    else
        for (const char *const *o = (const char *const[]){"--fused", "--compile", NULL}; *o; o++)
            assert_int_equal(shell("%s %s/bench.py bench %s 2>&1 | grep -q 'error: .* need PyTorch 2'",
                                   python, folder, *o),
                             0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    setenv("OMP_NUM_THREADS", "1", 1); /* what is computed is small */
    plain_python = find_python("py_compile");
    torch_python = find_python("torch");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_is_as_expected),
        cmocka_unit_test(holds_what_is_trained_and_no_more),
        cmocka_unit_test(says_what_the_spec_says),
        cmocka_unit_test(python_accepts_every_spec),
        cmocka_unit_test(replay_agrees_with_the_interpreter),
        cmocka_unit_test(takes_what_the_program_trained),
        cmocka_unit_test(encodes_and_trains_as_it_says),
        cmocka_unit_test(failures_name_the_tensor),
        cmocka_unit_test(says_how_it_is_used),
        cmocka_unit_test(needs_no_memory_of_the_program),
        cmocka_unit_test(bench_tells_its_figures),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
