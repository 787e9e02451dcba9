/* test_library.c: --emit=library: the folder builds without a warning, wants nothing but what the manual
 * says, and its numbers are the interpreter's and the program's. */
#include "../library/shim.h"
#include "photos.h"
#include "portable/portable.h"
#include "samples.h"
#include "shell.h"
#include "trial.h"

#include <ctype.h>
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512];

static int set_up(void **state)
{
    (void)state;
    char *sources = realpath("tests/library", NULL), *path = realpath(amdimc_path(), NULL);
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    if (!sources || !path)
        return 1;
    setenv("SOURCES", sources, 1); /* folders may have any name */
    setenv("AMDIMC", path, 1);
    free(sources);
    free(path);
    return 0;
}

/* ---- a library under test ---- */

static void amdimc(const char *arguments)
{
    if (shell("%s %s", amdimc_path(), arguments)) {
        shell("cat %s >&2", scratch_path("log"));
        fail_msg("amdimc %s", arguments);
    }
}

/* "other-one" -> "other_one", "OTHER_ONE". */
static void c_names(const char *name, char *lower, char *upper)
{
    for (; *name; name++) {
        *lower++ = *name == '-' ? '_' : *name;
        *upper++ = *name == '-' ? '_' : (char)toupper(*name);
    }
    *lower = *upper = '\0';
}

#define STRICT "-std=c11 -Wall -Wextra -Wpedantic -Werror -ffp-contract=fast -fno-math-errno"

/* Builds NAME's folder `lib-NAME` of the scratch folder as one that the test loads; once. */
static const Shim *load(const char *name, const char *cc, bool fixed)
{
    char lower[64], upper[64], object[600];
    c_names(name, lower, upper);
    snprintf(object, sizeof object, "%s/lib-%s/%s-%s.so", folder, name, cc, fixed ? "fixed" : "shim");
    if (access(object, F_OK) &&
        shell("cd %s/lib-%s && %s " STRICT " -O1 -march=native -fPIC -shared -o %s -DMODEL=%s -DUPPER=%s "
              "-DHEADER='\"%s%s.h\"' %s -I. -I\"$SOURCES\" \"$SOURCES/shim.c\" "
              "%s.c %s -lm",
              folder, name, cc, object, lower, upper, lower, fixed ? "_weights" : "", fixed ? "-DFIXED" : "",
              lower, fixed ? "*_weights.c" : "")) {
        shell("tail -30 %s >&2", scratch_path("log"));
        fail_msg("%s does not build by %s", name, cc);
    }
    void *library = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    return dlsym(library, "shim");
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0xA5, (bytes + 127) / 64 * 64); /* contents are arbitrary */
    return p;
}

static void set_from_file(const Shim *s, const char *path, float *params)
{
    TensorFile file = tensor_file_read(path);
    for (int i = 0; i < s->tensors; i++) {
        const ShimTensor t = s->tensor(i);
        double *value = tensor_file_find(&file, t.name, t.count);
        assert_non_null(value);
        float *floats = malloc(t.count * sizeof *floats);
        for (size_t k = 0; k < t.count; k++)
            floats[k] = (float)value[k];
        s->set(params, i, floats);
        free(floats);
        free(value);
    }
    free(file.bytes);
}

/* ---- against the interpreter ---- */

typedef struct {
    const char *name, *cc, *text; /* the text without its name */
} Case;

static const Case cases[] = {
    {"two-views", "gcc",
     "input: {size: 16, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4]}\nbatch: 6\n"
     "encoder:\n  - conv: {out: 12, kernel: 3}\n  - block: {out: 40, kernel: 2, stride: 2, depth: 2}\n"
     "  - residual: {out: 40, kernel: 3}\n  - residual: {out: 64, kernel: 5}\n  - batchnorm: {}\n"
     "embedding: {dim: 24}\nloss: {pairs: [1-to-7, {pair: 5-to-5, weight: 0.5}, 7-to-5]}\n"
     "augment: {flip: 0.5, translate: {max: 2}}\n"},
    {"one-view-grey", "clang",
     "input: {size: 9, channels: 1}\nviews: 1\nbatch: 2\n"
     "encoder:\n  - conv: {out: 5, kernel: 3}\n  - residual: {out: 7, kernel: 3, stride: 2}\n"
     "  - residual: {out: 11, kernel: 3}\n"
     "embedding: {dim: 6}\nloss: {pairs: [1-to-3, 3-to-7], clip: 5}\noptimizer: {sgd: {lr: 0.1, momentum: "
     "0.9}}\n"},
    {"pools-and-pads", "gcc",
     "input: {size: 22}\nbatch: 4\n"
     "encoder:\n  - pool: {kernel: 2, stride: 1, kind: max}\n  - conv: {out: 70, kernel: 3, pad: 1, "
     "pad_mode: reflect}\n"
     "  - pool: {kernel: 3, stride: 2, pad: 1, kind: max}\n  - residual: {out: 75, kernel: 3}\n"
     "  - pool: {kernel: 3, stride: 2, pad: 1}\n  - conv: {out: 20, kernel: 3, batchnorm: true}\n  - pool: "
     "{kernel: 3}\n"
     "embedding: {dim: 20}\nloss: {pairs: [1-to-3, 3-to-5, 5-to-11], clip: 8}\n"
     "augment: {crop: {scale: [0.3, 1], ratio: [0.7, 1.4]}, jitter: {brightness: 0.4, hue: 0.1}, grayscale: "
     "0.25}\n"},
    {"batchnorm-everywhere", "clang",
     "input: {size: 12}\nbatch: 5\n"
     "encoder:\n  - batchnorm: {}\n  - conv: {out: 6, kernel: 3, batchnorm: true}\n"
     "  - block: {out: 13, kernel: 4, stride: 2, depth: 2, batchnorm: true}\n"
     "  - residual: {out: 20, kernel: 4, batchnorm: true}\n  - batchnorm: {}\n"
     "embedding: {dim: 8, batchnorm: true}\nloss: {pairs: [1-to-4, 4-to-4], penalty: 0.5}\n"
     "optimizer: {sgd: {lr: 0.1, momentum: 0}}\n"},
    {"no-scale-one", "gcc",
     "input: {size: 16, channels: 2}\nbatch: 4\n"
     "encoder:\n  - conv: {out: 64, kernel: 4, stride: 2, pad: 1}\n  - block: {out: 128, kernel: 2, stride: "
     "2, depth: 3}\n"
     "embedding: {dim: 130}\nloss: {pairs: [{pair: 4-to-8, weight: 0.125}, 8-to-4], clip: 0}\n"},
    {"mixture", "gcc",
     "input: {size: 9, channels: 1}\nbatch: 3\n"
     "encoder:\n  - conv: {out: 5, kernel: 3}\n  - residual: {out: 7, kernel: 3, stride: 2}\n"
     "  - residual: {out: 11, kernel: 3}\n"
     "embedding: {dim: 6, mixture: {components: 3, hidden: 5}}\nloss: {pairs: [1-to-3, 3-to-7]}\n"},
    {"deep", "gcc", /* several functions a step */
     "input: {size: 5}\nbatch: 6\n"
     "encoder:\n  - conv: {out: 5, kernel: 3}\n  - block: {out: 7, kernel: 3, depth: 15}\n"
     "embedding: {dim: 7}\nloss: {pairs: [1-to-3, 3-to-1]}\n"},
    {"in-chunks", "clang",
     "input: {size: 32}\nbatch: 16\ntarget: {memory: 1700KiB}\n"
     "encoder:\n  - conv: {out: 16, kernel: 3}\n  - block: {out: 24, kernel: 4, stride: 2, depth: 2}\n"
     "  - block: {out: 32, kernel: 4, stride: 2, depth: 1}\n  - residual: {out: 32, kernel: 6}\n"
     "embedding: {dim: 16}\nloss: {pairs: [1-to-6]}\n"},
};

static const char *named(char *text, size_t size, const Case *c)
{
    snprintf(text, size, "name: %s\n%s", c->name, c->text);
    return text;
}

typedef struct {
    const Shim *s;
    const char *where;
    const float *gradients;
    const ShimResult *result;
    const Net *net;
} Compared;

static double number_of(const Compared *c, const char *name)
{
    if (!strcmp(name, "loss"))
        return c->result->loss;
    if (!strcmp(name, "penalty"))
        return c->result->penalty;
    for (int i = 0; i < c->net->pairs; i++)
        if (!strcmp(name + strlen("loss."), c->net->pair[i].name))
            return c->result->pair_loss[i];
    fail_msg("%s", name);
    return 0;
}

static void expect_near(const Compared *c, const char *name, const double *want, const float *got,
                        size_t count, double size)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (got[i] - want[i]) * (got[i] - want[i]);
    if (!(sqrt(squares) <= 1e-4 * size))
        fail_msg("%s: %s: relative error %.2e", c->where, name, sqrt(squares) / size);
}

/* Embeddings are not among what a library gives. */
static void expect_tensor(void *job, const char *name, const double *want, size_t count, double size)
{
    const Compared *c = job;
    if (!strncmp(name, "embed.", 6))
        return;
    float number = 0;
    if (strncmp(name, "grad.", 5) != 0) {
        number = (float)number_of(c, name);
        expect_near(c, name, want, &number, 1, size);
        return;
    }
    for (int i = 0; i < c->s->tensors; i++) {
        const ShimTensor t = c->s->tensor(i);
        if (strcmp(t.name, name + 5) != 0)
            continue;
        assert_int_equal(t.count, count);
        float *values = malloc(count * sizeof *values);
        c->s->get(c->gradients, i, values);
        expect_near(c, name, want, values, count, size);
        free(values);
        return;
    }
    fail_msg("no tensor for %s", name);
}

/* The batch of the trial's file, put as it is. */
static void put_batch(const Shim *s, const Trial *t, void *work, int32_t *locations)
{
    const size_t floats = (size_t)s->channels * (size_t)(s->size * s->size), batch = (size_t)s->batch;
    TensorFile file = tensor_file_read(t->batch);
    float *x = malloc(floats * sizeof *x);
    for (int v = 0; v < s->views; v++) {
        char name[64];
        snprintf(name, sizeof name, "x.%d", v + 1);
        double *value = tensor_file_find(&file, name, batch * floats);
        for (int b = 0; b < s->batch; b++) {
            for (size_t i = 0; i < floats; i++)
                x[i] = (float)value[(size_t)b * floats + i];
            s->put_float(work, v, b, x);
        }
        free(value);
        for (int p = 0; p < t->l.net->pairs; p++) {
            if (t->l.net->pair[p].located < 0)
                continue;
            value = t->want->value[t->l.step->location[t->l.net->pair[p].located]->id] + v * s->batch;
            for (int b = 0; b < s->batch; b++)
                locations[(t->l.net->pair[p].located * s->views + v) * s->batch + b] = (int32_t)value[b];
        }
    }
    free(x);
    free(file.bytes);
}

static void check_case(const Case *c)
{
    char text[2048], arguments[1500];
    Trial t;
    trial_begin(&t, c->name, named(text, sizeof text, c), 7);
    snprintf(arguments, sizeof arguments, "--emit=library %s -o %s/lib-%s", t.spec, folder, c->name);
    amdimc(arguments);
    const Shim *s = load(c->name, c->cc, false);
    float *params = aligned(s->params * sizeof(float)), *gradients = aligned(s->params * sizeof(float));
    void *work = aligned(s->train_bytes);
    int32_t *locations = calloc((size_t)(s->located + 1) * (size_t)(s->views * s->batch), sizeof *locations);
    ShimResult result;
    s->init(params, aligned(s->state * sizeof(float)), 1);
    set_from_file(s, t.weights, params);
    put_batch(s, &t, work, locations);
    for (int round = 0; round < 2; round++) { /* views stay */
        s->gradients(params, work, s->located ? locations : NULL, gradients, &result);
        trial_each(
            &t, t.want, expect_tensor,
            &(Compared){.s = s, .where = c->name, .gradients = gradients, .result = &result, .net = t.l.net});
    }
    free(params);
    free(gradients);
    free(work);
    free(locations);
    trial_end(&t);
}

static void agrees_with_the_interpreter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

/* ---- what it wants of a machine ---- */

/* With and without a C library's functions known to the compiler; of any processor. */
static void expect_little(const Case *c, const char *cc, const char *flags)
{
    char lower[64], upper[64], object[600];
    c_names(c->name, lower, upper);
    snprintf(object, sizeof object, "%s/lib-%s/o.o", folder, c->name);
    if (shell("cd %s/lib-%s && %s " STRICT " %s -c -o o.o %s.c", folder, c->name, cc, flags, lower)) {
        shell("tail -20 %s >&2", scratch_path("log"));
        fail_msg("%s %s %s", c->name, cc, flags);
    }
    /* memcpy and its kin, and functions of math.h */
    assert_int_equal(shell("! nm -u %s | grep -vE ' (memcpy|memset|memmove|_GLOBAL_OFFSET_TABLE_|"
                           "(sqrt|exp|log|pow|floor|fabs|fmax|fmin|copysign|nearbyint|ceil)f?)$'",
                           object),
                     0);
    assert_int_equal(shell("! nm %s | grep -E ' [bBcC] '", object), 0);
    /* what begins as data is a table of constants with addresses */
    assert_int_equal(
        shell("! objdump -h %s | awk '$2 == \".data\" || $2 == \".bss\" {print $3}' | grep -v '^0*$'",
              object),
        0);
    assert_int_equal(shell("! nm %s | awk '$2 ~ /^[TDR]$/ {print $3}' | grep -v '^%s_'", object, lower), 0);
}

/* Each case by one compiler in one way, among them every way by each compiler. */
static void wants_little(void **state)
{
    (void)state;
    static const char *const compilers[] = {"gcc", "clang"};
    static const char *const ways[] = {"-O2", "-O2 -ffreestanding -march=native",
                                       "-Os -march=x86-64-v3 -fPIC"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *way = ways[i % 3];
        if (strstr(way, "v3") && shell("echo | gcc -march=x86-64-v3 -E -"))
            way = ways[0]; /* another processor */
        expect_little(&cases[i], compilers[i % 2], way);
    }
}

/* ---- the stack ---- */

enum { STACK = 256 << 10 };

typedef struct {
    const Shim *s;
    float *params, *state, *f1;
    void *work;
    uint8_t *picture;
    void (*run)(const void *job);
} StackJob;

static void run_encode(const void *job)
{
    const StackJob *j = job;
    j->s->encode(j->params, j->work, j->picture, j->f1);
}

static void run_step(const void *job)
{
    const StackJob *j = job;
    ShimResult result;
    for (int b = 0; b < j->s->batch; b++)
        j->s->put(j->work, b, j->picture, 1, 0, (uint32_t)b);
    j->s->step(j->params, j->state, j->work, 1, 0, 1e-3f, &result);
}

static void run_init(const void *job)
{
    const StackJob *j = job;
    j->s->init(j->params, j->state, 1);
}

static void run_nothing(const void *job)
{
    (void)job;
}

static void *on_thread(void *job)
{
    ((const StackJob *)job)->run(job);
    return NULL;
}

/* Bytes of a painted stack that a thread has written. */
static size_t stack_of(StackJob *job, void (*run)(const void *job))
{
    unsigned char *stack = aligned(STACK);
    pthread_attr_t attributes;
    pthread_t thread;
    job->run = run;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstack(&attributes, stack, STACK), 0);
    assert_int_equal(pthread_create(&thread, &attributes, on_thread, job), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    size_t untouched = 0;
    while (stack[untouched] == 0xA5)
        untouched++;
    free(stack);
    return STACK - untouched;
}

static void expect_stack(const Case *c)
{
    enum { ENCODE = 4 << 10, STEP = 16 << 10 };
    const Shim *s = load(c->name, c->cc, false);
    StackJob job = {.s = s,
                    .params = aligned(s->params * sizeof(float)),
                    .state = aligned(s->state * sizeof(float)),
                    .f1 = aligned((size_t)s->features * sizeof(float)),
                    .work = aligned(s->train_bytes > s->encode_bytes ? s->train_bytes : s->encode_bytes),
                    .picture = calloc((size_t)(s->size * s->size * s->channels), 1)};
    const size_t none = stack_of(&job, run_nothing);
    assert_in_range(stack_of(&job, run_init) - none, 1, STEP);
    assert_in_range(stack_of(&job, run_encode) - none, 1, ENCODE);
    assert_in_range(stack_of(&job, run_step) - none, 1, STEP);
    free(job.params);
    free(job.state);
    free(job.f1);
    free(job.work);
    free(job.picture);
}

/* Sanitizers have frames of their own. */
static void skip_where_frames_differ(void)
{
#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip();
#endif
#endif
}

static void keeps_to_its_stack(void **state)
{
    (void)state;
    skip_where_frames_differ();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_stack(&cases[i]);
}

/* Deeper than any other case: compilers keep what operations have in common on the stack. */
static void keeps_to_its_stack_when_deep(void **state)
{
    (void)state;
    skip_where_frames_differ();
    static const char text[] = "name: deepest\ninput: {channels: 1, size: 2}\nbatch: 2\n"
                               "encoder:\n  - block: {out: 2, kernel: 2, depth: 640}\n"
                               "embedding: {dim: 2}\nloss: {pairs: [1-to-1]}\n";
    scratch_write("deepest.yaml", text, strlen(text));
    char arguments[600];
    snprintf(arguments, sizeof arguments, "--emit=library %s/deepest.yaml -o %s/lib-deepest", folder, folder);
    amdimc(arguments);
    expect_stack(&(Case){"deepest", "gcc", NULL});
}

/* ---- against the program ---- */

enum { SIDE = 24, PICTURE = SIDE * SIDE * 3, TRAIN = 12, TEST = 7, BATCH = 4, STEPS = 3 };

static const char photos[] =
    "name: photos\ninput: {size: 24, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.25]}\nbatch: 4\n"
    "encoder:\n  - conv: {out: 32, kernel: 3, pad: 1, pad_mode: reflect}\n  - block: {out: 48, kernel: 4, "
    "stride: 2, depth: 2}\n"
    "  - residual: {out: 64, kernel: 3, batchnorm: true}\n  - conv: {out: 96, kernel: 9}\n"
    "embedding: {dim: 32}\nloss: {pairs: [1-to-9, 9-to-11]}\n"
    "augment:\n  flip: 0.5\n  crop: {scale: [0.3, 1], ratio: [0.7, 1.4], p: 0.7}\n  translate: {max: 3, p: "
    "0.8}\n"
    "  jitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.2, p: 0.8}\n  grayscale: 0.25\n"
    "  blur: {p: 0.5, sigma: [0.3, 1.5]}\n  solarize: {p: 0.3, threshold: 0.6}\n"
    "optimizer: {adam: {lr: 1e-3, weight_decay: 0.1, decoupled: true}}\nschedule: {epochs: 9, warmup: 0, "
    "milestones: []}\n";

/* The program, by vectors as a library is, its data, a short run of it, what it encodes and its views; and
 * the library. */
static void begin_photos(void)
{
    static bool begun;
    char arguments[2000];
    if (begun)
        return;
    begun = true;
    scratch_write("photos.yaml", photos, strlen(photos));
    photos_write("photos-data", "train", SIDE, TRAIN);
    photos_write("photos-data", "test", SIDE, TEST);
    snprintf(arguments, sizeof arguments,
             "%s/photos.yaml -o %s/photos --gen-dir %s/photos-c --cc %s --march %s", folder, folder, folder,
             quick_compiler(), march_by_vectors());
    amdimc(arguments);
    assert_int_equal(shell("cd %s && ./photos train --data photos-data --out photos-run --steps %d --seed 5",
                           folder, STEPS),
                     0);
    assert_int_equal(
        shell("cd %s && ./photos train --data photos-data --out photos-none --steps 0 --seed 5", folder), 0);
    assert_int_equal(
        shell(
            "cd %s && ./photos encode --data photos-data --weights photos-run/last.safetensors -o photos.npy",
            folder),
        0);
    assert_int_equal(
        shell("cd %s && ./photos views --data photos-data --count %d --seed 3 -o photos-views.npy", folder,
              TRAIN),
        0);
    snprintf(arguments, sizeof arguments, "--emit=library %s/photos.yaml -o %s/lib-photos", folder, folder);
    amdimc(arguments);
}

/* Behind the header of an .npy file. */
static float *read_array(const char *name, size_t floats)
{
    TensorFile file = tensor_file_read(scratch_path(name));
    assert_true(file.count > floats * sizeof(float));
    float *to = malloc(floats * sizeof *to);
    memcpy(to, file.bytes + file.count - floats * sizeof(float), floats * sizeof(float));
    free(file.bytes);
    return to;
}

static double distance(const float *a, const float *b, size_t count)
{
    double squares = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        squares += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(squares / size);
}

static void encodes_as_the_program(void **state)
{
    (void)state;
    begin_photos();
    const Shim *s = load("photos", "clang", false);
    const size_t features = (size_t)s->features;
    float *params = aligned(s->params * sizeof(float)), *want = read_array("photos.npy", TEST * features),
          *f1 = aligned(4 * features), *floats = malloc(PICTURE * sizeof *floats),
          *again = aligned(4 * features);
    void *work = aligned(s->encode_bytes);
    memset(params, 0, s->params * sizeof(float));
    set_from_file(s, scratch_path("photos-run/last.safetensors"), params);
    for (int i = 0; i < TEST; i++) {
        static const float mean[] = {0.4f, 0.5f, 0.6f}, std[] = {0.2f, 0.3f, 0.25f};
        uint8_t pixels[PICTURE];
        photo_draw(SIDE, i, pixels);
        s->encode(params, work, pixels, f1);
        assert_true(distance(f1, want + (size_t)i * features, features) < 1e-5);
        for (int k = 0; k < PICTURE; k++)
            floats[k % 3 * SIDE * SIDE + k / 3] = (pixels[k] / 255.0f - mean[k % 3]) / std[k % 3];
        s->encode_float(params, work, floats, again);
        assert_true(distance(again, f1, features) < 1e-6);
    }
    free(params);
    free(want);
    free(f1);
    free(again);
    free(floats);
    free(work);
}

/* Where the views lie in the work memory is no promise, so they are told by what a step makes of them: that
 * of views as the program has them. */
static void makes_the_program_s_views(void **state)
{
    (void)state;
    begin_photos();
    const Shim *s = load("photos", "gcc", false);
    float *params = aligned(s->params * sizeof(float)), *gradients = aligned(s->params * sizeof(float)),
          *other = aligned(s->params * sizeof(float)),
          *views = read_array("photos-views.npy", (size_t)TRAIN * 2 * PICTURE);
    void *work = aligned(s->train_bytes);
    int32_t locations[2 * BATCH] = {0};
    ShimResult result;
    s->init(params, aligned(s->state * sizeof(float)), 1);
    for (int first = 0; first < TRAIN; first += BATCH) {
        for (int b = 0; b < BATCH; b++) {
            uint8_t pixels[PICTURE];
            photo_draw(SIDE, first + b, pixels);
            s->put(work, b, pixels, 3, 0, (uint32_t)(first + b));
        }
        s->gradients(params, work, locations, gradients, &result);
        for (int b = 0; b < BATCH; b++)
            for (int v = 0; v < 2; v++)
                s->put_float(work, v, b, views + (size_t)((first + b) * 2 + v) * PICTURE);
        s->gradients(params, work, locations, other, &result);
        assert_true(distance(gradients, other, s->params) < 1e-4);
    }
    free(params);
    free(gradients);
    free(other);
    free(views);
    free(work);
}

/* The same pictures in the same order: three steps give the program's weights, running statistics included.
 */
static void trains_as_the_program(void **state)
{
    (void)state;
    begin_photos();
    const Shim *s = load("photos", "gcc", false);
    float *params = aligned(s->params * sizeof(float)), *moments = aligned(s->state * sizeof(float)),
          *begun = aligned(s->params * sizeof(float));
    void *work = aligned(s->train_bytes);
    uint32_t order[TRAIN];
    random_order(5, 0, order, TRAIN);
    s->init(params, moments, 5);
    memset(begun, 0, s->params * sizeof(float));
    set_from_file(s, scratch_path("photos-none/last.safetensors"), begun);
    assert_true(distance(params, begun, s->params) < 1e-6);
    for (int step = 0; step < STEPS; step++) {
        ShimResult result;
        for (int b = 0; b < BATCH; b++) {
            uint8_t pixels[PICTURE];
            const uint32_t number = order[step * BATCH + b];
            photo_draw(SIDE, (int)number, pixels);
            s->put(work, b, pixels, 5, 0, number);
        }
        s->step(params, moments, work, 5, (uint64_t)step, 1e-3f, &result);
        assert_true(isfinite(result.loss));
    }
    float *want = aligned(s->params * sizeof(float));
    memset(want, 0, s->params * sizeof(float));
    set_from_file(s, scratch_path("photos-run/last.safetensors"), want);
    for (size_t i = 0; i < s->params; i++) {
        params[i] -= begun[i];
        want[i] -= begun[i];
    }
    /* Adam's first steps are the gradient's sign, which rounding decides where it is next to nothing. */
    assert_true(distance(params, want, s->params) < 2e-2);
    free(params);
    free(moments);
    free(begun);
    free(want);
    free(work);
}

static void changes_nothing_without_a_rate_or_a_loss(void **state)
{
    (void)state;
    begin_photos();
    const Shim *s = load("photos", "clang", false);
    const size_t bytes = s->params * sizeof(float), state_bytes = s->state * sizeof(float);
    float *params = aligned(bytes), *moments = aligned(state_bytes), *before = malloc(bytes),
          *floats = calloc(PICTURE, sizeof *floats);
    void *work = aligned(s->train_bytes);
    ShimResult still, moved;
    s->init(params, moments, 1);
    memcpy(before, params, bytes);
    for (int b = 0; b < BATCH; b++) {
        uint8_t pixels[PICTURE];
        photo_draw(SIDE, b, pixels);
        s->put(work, b, pixels, 1, 0, (uint32_t)b);
    }
    s->step(params, moments, work, 1, 0, 0, &still);
    assert_memory_equal(params, before, bytes);
    floats[5] = INFINITY; /* a ReLU would stop a NaN */
    s->step(params, moments, work, 1, 0, -1, &moved);
    assert_memory_equal(params, before, bytes);
    assert_true(moved.loss == still.loss);
    s->put_float(work, 1, 2, floats);
    s->step(params, moments, work, 1, 0, 1e-3f, &moved);
    assert_false(isfinite(moved.loss));
    assert_memory_equal(params, before, bytes);
    for (size_t i = 0; i < s->state; i++)
        assert_true(moments[i] == 0);
    free(params);
    free(moments);
    free(before);
    free(floats);
    free(work);
}

/* ---- weights in flash ---- */

static void reads_weights_where_they_lie(void **state)
{
    (void)state;
    static const struct {
        const char *type, *cc;
        double tolerance;
    } types[] = {{"float32", "gcc", 1e-6}, {"float16", "clang", 2e-3}, {"int8", "gcc", 5e-2}};
    begin_photos();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char arguments[1500];
        snprintf(arguments, sizeof arguments,
                 "--emit=library %s/photos.yaml -o %s/lib-photos --weights %s/photos-run/last.safetensors "
                 "--weights-type %s",
                 folder, folder, folder, types[i].type);
        amdimc(arguments);
        assert_int_equal(shell("rm -f %s/lib-photos/*.so", folder), 0);
        const Shim *s = load("photos", types[i].cc, true);
        const size_t features = (size_t)s->features;
        float *f1 = aligned(4 * features), *want = read_array("photos.npy", TEST * features),
              *all = malloc(TEST * features * sizeof *all);
        void *work = aligned(s->encode_bytes);
        for (int k = 0; k < TEST; k++) {
            uint8_t pixels[PICTURE];
            photo_draw(SIDE, k, pixels);
            s->encode_fixed(work, pixels, f1);
            memcpy(all + (size_t)k * features, f1, features * sizeof *f1);
        }
        const double error = distance(all, want, TEST * features);
        assert_true(error < types[i].tolerance);
        assert_true(error > 0 || i == 0); /* it is not float32 by another name */
        free(f1);
        free(want);
        free(all);
        free(work);
    }
}

/* ---- the folder ---- */

static void builds_and_installs(void **state)
{
    (void)state;
    begin_photos();
    assert_int_equal(shell("cd %s/lib-photos && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s CC=gcc "
                           "CFLAGS=-O1 && ./example | "
                           "grep -c '^step' | grep -qx 10",
                           folder),
                     0);
    assert_int_equal(
        shell("cd %s/lib-photos && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s CC=gcc CFLAGS=-O1 install "
              "PREFIX=\"/it's here\" DESTDIR=\"$PWD/to\" && test -f \"to/it's here/include/photos.h\" && "
              "test -f \"to/it's here/lib/libphotos.a\" && test -x \"to/it's here/lib/libphotos.so\" && "
              "grep -Fqx \"prefix=/it's here\" \"to/it's here/lib/pkgconfig/photos.pc\"",
              folder),
        0);
    assert_int_equal(shell("cd %s/lib-photos && echo '#include \"photos.h\"' | clang -x c++ -std=c++11 -Wall "
                           "-Wextra -Wpedantic "
                           "-Werror -fsyntax-only -I. -",
                           folder),
                     0);
    assert_int_equal(shell("cd %s/lib-photos && rm -f *-shim.so *-fixed.so && env -u MAKEFLAGS -u MFLAGS -u "
                           "MAKELEVEL make -s size CC=gcc CFLAGS=-O1 && "
                           "env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s clean && ! ls | grep -E "
                           "'^build$|[.](a|so|pc)$|^example$'",
                           folder),
                     0);
}

static void two_models_are_one_program(void **state)
{
    (void)state;
    static const char
        lone[] =
            "name: lone\ninput: {size: 12}\nbatch: 6\nencoder:\n  - conv: {out: 8, kernel: 3, stride: 2}\n"
            "  - residual: {out: 12, kernel: 5}\nembedding: {dim: 8}\nloss: {pairs: [1-to-5]}\n",
        other[] = "name: other-one\ninput: {size: 8, channels: 1}\nbatch: 8\nviews: 1\n"
                  "encoder:\n  - conv: {out: 6, kernel: 4, stride: 2}\n  - residual: {out: 8, kernel: 3}\n"
                  "embedding: {dim: 4}\nloss: {pairs: [1-to-3, 3-to-3]}\n";
    char arguments[1000];
    scratch_write("lone.yaml", lone, strlen(lone));
    scratch_write("other-one.yaml", other, strlen(other));
    snprintf(arguments, sizeof arguments, "--emit=library %s/lone.yaml -o %s/lone", folder, folder);
    amdimc(arguments);
    snprintf(arguments, sizeof arguments, "--emit=library %s/other-one.yaml -o %s/other", folder, folder);
    amdimc(arguments);
    assert_int_equal(shell("cd %s && gcc " STRICT " -O1 -o two -Ilone -Iother \"$SOURCES/two.c\" lone/lone.c "
                           "other/other_one.c -lm && ./two",
                           folder),
                     0);
}

static void python_agrees(void **state)
{
    (void)state;
    const char *python = wanted(find_python("numpy"));
    begin_photos();
    assert_int_equal(
        shell("cd %s/lib-photos && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s CC=gcc CFLAGS=-O1 && cd "
              ".. && "
              "%s \"$SOURCES/numpy.py\" lib-photos photos-run/last.safetensors photos.npy",
              folder, python),
        0);
}

static void same_bytes_every_time(void **state)
{
    (void)state;
    begin_photos();
    char arguments[1000];
    snprintf(arguments, sizeof arguments, "--emit=library %s/photos.yaml -o %s/again", folder, folder);
    for (int i = 0; i < 2; i++) {
        amdimc(arguments);
        assert_int_equal(
            shell("cd %s && cp again/photos.c once%d.c && cp again/photos.h once%d.h", folder, i, i), 0);
    }
    assert_int_equal(shell("cd %s && cmp once0.c once1.c && cmp once0.h once1.h", folder), 0);
    snprintf(arguments, sizeof arguments, "--emit=library --ranks 2 %s/photos.yaml -o %s/again", folder,
             folder);
    amdimc(arguments); /* ranks are 1 here */
    assert_int_equal(shell("cd %s && cmp once0.c again/photos.c", folder), 0);
}

/* ---- refusals ---- */

static void refuses(const char *arguments, int code, const char *words)
{
    char command[1500];
    snprintf(
        command, sizeof command,
        "cd %s && \"$AMDIMC\" %s 2>said; code=$?; cat said; grep -qF -e \"%s\" said && exit $code; exit 99",
        folder, arguments, words);
    const int got = shell("%s", command);
    if (got != code)
        fail_msg("%s: exit %d, not %d saying `%s`", arguments, got, code, words);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    begin_photos();
    refuses("--emit=library photos.yaml", 2, "-o is missing");
    refuses("--emit=library photos.yaml -o l --weights-type int8", 2, "give both");
    refuses("--emit=library photos.yaml -o l --weights photos-run/last.safetensors --weights-type int4", 2,
            "float16 or int8");
    refuses("photos.yaml -o p --weights photos-run/last.safetensors", 2, "--weights goes with");
    refuses("--emit=library photos.yaml -o l --weights none.safetensors", 1, "none.safetensors");
    refuses("--emit=library photos.yaml -o l --weights photos.yaml", 1, "not a safetensors file");
    refuses("--emit=library photos.yaml -o l --memory 100KiB", 1, "the library needs at least");
    assert_int_equal(shell("cd %s && mkdir taken && echo all: >taken/Makefile", folder), 0);
    refuses("--emit=library photos.yaml -o taken", 1, "not by amdimc");
    static const char *const names[] = {"numpy", "lambda", "stdio", "pthread"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(
            shell("cd %s && sed 's/^name: photos/name: %s/' photos.yaml >named.yaml", folder, names[i]), 0);
        refuses("--emit=library named.yaml -o l", 1, "name the model something else");
    }
    assert_int_equal(
        shell("cd %s && printf '%%s\\n' 'name: four' 'input: {channels: 4, size: 7}' 'batch: 4' 'encoder:' "
              "'  - conv: {out: 4, kernel: 7}' 'embedding: {dim: 4}' 'loss: {pairs: [1-to-1]}' "
              "'augment: {jitter: {brightness: 0.4}}' >four.yaml",
              folder),
        0);
    refuses("--emit=library four.yaml -o l", 1, "a library jitters pictures of 1 or 3 channels, not of 4");
    assert_int_equal(shell("test ! -e %s/l", folder), 0);
}

/* The least that a refusal names is enough. */
static void the_least_memory_is_enough(void **state)
{
    (void)state;
    begin_photos();
    assert_int_equal(shell("cd %s && \"$AMDIMC\" --emit=library photos.yaml -o least --memory 100KiB 2>said; "
                           "least=$(sed -n 's/.*at least \\([0-9]*KiB\\).*/\\1/p' said) && "
                           "\"$AMDIMC\" --emit=library photos.yaml -o least --memory $least && "
                           "gcc " STRICT " -O1 -c -o least.o least/photos.c",
                           folder),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_interpreter),
        cmocka_unit_test(wants_little),
        cmocka_unit_test(keeps_to_its_stack),
        cmocka_unit_test(keeps_to_its_stack_when_deep),
        cmocka_unit_test(encodes_as_the_program),
        cmocka_unit_test(makes_the_program_s_views),
        cmocka_unit_test(trains_as_the_program),
        cmocka_unit_test(changes_nothing_without_a_rate_or_a_loss),
        cmocka_unit_test(reads_weights_where_they_lie),
        cmocka_unit_test(builds_and_installs),
        cmocka_unit_test(two_models_are_one_program),
        cmocka_unit_test(python_agrees),
        cmocka_unit_test(same_bytes_every_time),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(the_least_memory_is_enough),
    };
    return cmocka_run_group_tests_name("library", tests, set_up, scratch_tear_down);
}
