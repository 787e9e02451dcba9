/* test_bare.c: the model as C functions on machines without an operating system, emulated by qemu:
 * applications of tests/bare/, written from NAME.h alone, encode as `encode` does, have gradients that fit
 * differences of the loss and the interpreter in double, and train specs/cortex-m7.yaml within 512 KiB of
 * memory.
 *
 * A board whose compiler or qemu is not installed is skipped; `make setup-bare` installs them. */
#include "built_in.h"
#include "samples.h"
#include "shell.h"
#include "trial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    const char *name, *triple;
    const char *compile, *link; /* commands */
    const char *begin, *script; /* of tests/bare/ */
    const char *tools, *qemu;
} Board;

#define GCC_ARM   "arm-none-eabi-gcc -mthumb -mfloat-abi=hard"
#define CLANG_ARM "clang --target=thumbv7em-none-eabihf -fshort-enums -isystem /usr/include/newlib"
#define M4        " -mcpu=cortex-m4 -mfpu=fpv4-sp-d16"
#define M7        " -mcpu=cortex-m7 -mfpu=fpv5-sp-d16"
#define RV32      " -march=rv32imafc -mabi=ilp32f"
#define GCC_RV32  "riscv64-unknown-elf-gcc --specs=picolibc.specs" RV32
#define CLANG_RV32                                                                                           \
    "clang --target=riscv32-unknown-elf -isystem /usr/lib/picolibc/riscv64-unknown-elf/include" RV32

static const Board boards[] = {
    {"m4-gcc", "thumbv7em-none-eabihf", GCC_ARM M4 " -O2", GCC_ARM M4, "cortex_m", "mps2.ld", "arm-none-eabi",
     "qemu-system-arm -M mps2-an386"},
    {"m7-clang", "thumbv7em-none-eabihf", CLANG_ARM M7 " -O2", GCC_ARM M7, "cortex_m", "mps2.ld",
     "arm-none-eabi", "qemu-system-arm -M mps2-an500"},
    {"rv32-gcc", "riscv32-unknown-elf", GCC_RV32 " -Os", GCC_RV32, "riscv", "virt.ld", "riscv64-unknown-elf",
     "qemu-system-riscv32 -M virt -bios none"},
    {"rv32-clang", "riscv32-unknown-elf", CLANG_RV32 " -Os", GCC_RV32, "riscv", "virt.ld",
     "riscv64-unknown-elf", "qemu-system-riscv32 -M virt -bios none"},
};
enum { M4_GCC, M7_CLANG, RV32_GCC, RV32_CLANG };

/* What is compiled with what: one of the two warns of nothing that the project's own code is not held to. */
#define STRICT                                                                                               \
    "-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Werror -ffreestanding -ffunction-sections -fdata-sections"

typedef struct {
    const char *spec, *model, *upper; /* the spec's name, and as C has it */
    Trial trial;
} Model;

static Model cortex = {.spec = "cortex-m7", .model = "cortex_m7", .upper = "CORTEX_M7"};
static Model small = {.spec = "small-one", .model = "small_one", .upper = "SMALL_ONE"};

/* Every kind of layer and of head, for a second of an emulated processor's time. */
static const char small_text[] =
    "name: small-one\n"
    "input: {channels: 3, size: 12, mean: [0.4, 0.5, 0.45], std: [0.3, 0.25, 0.28]}\n"
    "batch: 3\n"
    "encoder:\n"
    "  - conv: {out: 5, kernel: 3, pad: 1, pad_mode: reflect, batchnorm: true}\n"
    "  - block: {out: 7, kernel: 2, stride: 2, depth: 2}\n"
    "  - pool: {kernel: 2, stride: 1, kind: max}\n"
    "  - residual: {out: 8, kernel: 3, batchnorm: true}\n"
    "  - pool: {kernel: 3}\n"
    "  - batchnorm: {}\n"
    "embedding: {dim: 6, batchnorm: true}\n"
    "loss: {pairs: [1-to-5, {pair: 3-to-5, weight: 0.5}]}\n"
    "optimizer: {adam: {lr: 1e-3}}\n"
    "schedule: {epochs: 1}\n"
    "target: {blas: none}\n";

enum { PICTURES = 6, TRAINED_ON = 64, SIZE = 28, STEPS = 40, ELF_SECONDS = 120 };
enum { MEMORY = 512 * 1024, ENCODE_STACK = 4096, STEP_STACK = 16384 };

static char folder[256], kept[512], sources[512]; /* scratch; where linker maps stay; tests/bare */

/* ---- helpers ---- */

static void runs(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void runs(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_in_range(length, 1, sizeof command - 1);
    remove(scratch_path("log"));
    if (!shell("%s", command))
        return;
    TensorFile log = tensor_file_read(scratch_path("log"));
    const size_t most = 3000, from = log.count > most ? log.count - most : 0;
    fail_msg("failed: %s\n%.*s", command, (int)(log.count - from), log.bytes + from);
}

/* Line by line: CMocka cuts what is long. */
static void print_file(const char *name)
{
    TensorFile said = tensor_file_read(scratch_path(name));
    for (size_t at = 0, length; at < said.count; at += length + 1) {
        const char *end = memchr(said.bytes + at, '\n', said.count - at);
        length = end ? (size_t)(end - said.bytes) - at : said.count - at;
        print_message("%.*s\n", (int)length, said.bytes + at);
    }
    free(said.bytes);
}

static void skip_unless_installed(const Board *b)
{
    if (!shell("echo '#include <math.h>' | %s -x c -E - && command -v %.*s", b->link,
               (int)strcspn(b->qemu, " "), b->qemu))
        return;
    print_message("skipped: no compiler, no C library or no qemu for %s; `make setup-bare` installs them\n",
                  b->name);
    skip();
}

static void write_floats(const char *model, const char *file, const double *value, size_t count)
{
    char name[512];
    float *real = malloc(count * sizeof *real + 1);
    assert_non_null(real);
    for (size_t i = 0; i < count; i++)
        real[i] = (float)value[i];
    snprintf(name, sizeof name, "%s/%s", model, file);
    scratch_write(name, real, count * sizeof *real);
    free(real);
}

/* A whole file of float32 that an application wrote, by malloc. */
static float *read_floats(const char *of, const char *file, size_t count)
{
    char name[512];
    snprintf(name, sizeof name, "%s/out/%s", of, file);
    TensorFile got = tensor_file_read(scratch_path(name));
    assert_int_equal(got.count, count * sizeof(float));
    return (float *)(void *)got.bytes;
}

/* ---- what the host hands over ---- */

static void write_weights(const Model *m)
{
    TensorFile weights = tensor_file_read(m->trial.weights);
    for (int i = 0; i < m->trial.l.params->count; i++) {
        const Param *p = m->trial.l.params->param[i];
        char name[256];
        double *value = tensor_file_find(&weights, p->name, p->count);
        assert_non_null(value);
        snprintf(name, sizeof name, "weights/%s", p->name);
        write_floats(m->model, name, value, p->count);
        free(value);
    }
    free(weights.bytes);
}

static void write_views(const Model *m)
{
    const Net *n = m->trial.l.net;
    const Value *x = m->trial.l.step->x;
    const size_t view_floats = value_count(x) / (size_t)n->views;
    double *views = calloc(view_floats * (size_t)n->views, sizeof *views);
    TensorFile batch = tensor_file_read(m->trial.batch);
    for (int view = 0; view < n->views; view++) {
        char name[32];
        snprintf(name, sizeof name, "x.%d", view + 1);
        double *value = tensor_file_find(&batch, name, view_floats);
        assert_true(views && value);
        memcpy(views + view_floats * (size_t)view, value, view_floats * sizeof *value);
        free(value);
    }
    write_floats(m->model, "in/x", views, view_floats * (size_t)n->views);
    free(views);
    free(batch.bytes);
}

/* (located pairs, views, batch), as 32-bit integers. */
static void write_locations(const Model *m)
{
    const Net *n = m->trial.l.net;
    int32_t drawn[64];
    size_t count = 0;
    char name[128];
    for (int i = 0; i < n->pairs; i++) {
        if (n->pair[i].located < 0)
            continue;
        const double *at = m->trial.want->value[m->trial.l.step->location[n->pair[i].located]->id];
        for (int j = 0; j < n->views * n->batch; j++) {
            assert_true(count < COUNT(drawn));
            drawn[count++] = (int32_t)at[j];
        }
    }
    snprintf(name, sizeof name, "%s/in/locations", m->model);
    scratch_write(name, drawn, count * sizeof *drawn);
}

/* Files for the applications, from weights and a batch that are not special in any way. */
static void model_begin(Model *m, const char *text)
{
    trial_begin(&m->trial, m->spec, text, 5);
    write_weights(m);
    write_views(m);
    write_locations(m);
    runs("mkdir %s/%s/out", folder, m->model);
}

/* ---- building and running ---- */

/* The library for the board's processor, as an object. */
static void build_library(const Board *b, const Model *m)
{
    if (!shell("test -e %s/%s-%s.o", folder, b->name, m->model))
        return;
    runs("test -d %s/%s-%s || %s --emit=library %s --target %s -o %s/%s-%s", folder, b->triple, m->model,
         amdimc_path(), m->trial.spec, b->triple, folder, b->triple, m->model);
    runs("%s %s -c %s/%s-%s/%s.c -o %s/%s-%s.o", b->compile, STRICT, folder, b->triple, m->model, m->model,
         folder, b->name, m->model);
}

/* `also` is another C file, by its path, or "". */
static void build_application(const Board *b, const Model *m, const char *name, const char *options,
                              const char *also)
{
    const char *at = folder, *const parts[] = {name, "model", "semihosting", b->begin};
    build_library(b, m);
    for (size_t i = 0; i < COUNT(parts); i++)
        runs("%s %s -DMODEL=%s -DMODEL_UPPER=%s %s -I%s/%s-%s -Itests/bare -c tests/bare/%s.c -o %s/%zu.o",
             b->compile, STRICT, m->model, m->upper, options, at, b->triple, m->model, parts[i], at, i);
    runs("%s -nostartfiles -Wl,--gc-sections,-z,noexecstack,-Map,%s/%s-%s-%s.map -Ltests/bare -T %s -o "
         "%s/app.elf "
         "%s/[0-3].o %s/%s-%s.o %s -lm",
         b->link, kept, b->name, m->model, name, b->script, at, at, at, b->name, m->model, also);
}

/* None of what stands for an operating system is in there. */
static void expect_bare(const Board *b)
{
    assert_int_equal(shell("%s-nm %s/app.elf | grep -E ' (_?malloc|_?sbrk|_?write|_?open|printf|_exit)$'",
                           b->tools, folder),
                     1);
}

/* Memory and flash of the application, from its sections. */
static void say_sizes(const Board *b, const Model *m, const char *name)
{
    char line[128];
    size_t bytes[2] = {0};
    runs("%s-size -A -d %s/app.elf | awk '$1 ~ /^.(stack|data|bss)$/ {ram += $2} "
         "$1 ~ /^.(text|data|ARM.exidx)$/ {flash += $2} END {print ram, flash}' >%s/sizes",
         b->tools, folder, folder);
    TensorFile sizes = tensor_file_read(scratch_path("sizes"));
    snprintf(line, sizeof line, "%.*s", (int)sizes.count, sizes.bytes);
    free(sizes.bytes);
    assert_int_equal(sscanf(line, "%zu %zu", &bytes[0], &bytes[1]), 2);
    print_message("%s, %s of %s: %zu bytes of RAM, stack included, %zu of flash\n", b->name, name, m->spec,
                  bytes[0], bytes[1]);
    assert_in_range(bytes[0], 1, MEMORY);
}

static void run_application(const Board *b, const Model *m, const char *name)
{
    expect_bare(b);
    say_sizes(b, m, name);
    runs(
        "cd %s/%s && timeout %d %s -nographic -monitor none -serial none -icount shift=0 -semihosting-config "
        "enable=on,target=native -kernel ../app.elf >../said 2>&1 </dev/null || { cat ../said; false; }",
        folder, m->model, ELF_SECONDS, b->qemu);
    print_file("said");
}

/* ---- encode ---- */

/* PNG files for the program, their pixels for the application. */
static void write_pictures(const Model *m)
{
    const Value *x = m->trial.l.step->x;
    const int size = x->dims[1], channels = x->dims[3];
    const size_t count = (size_t)size * (size_t)size * (size_t)channels;
    uint8_t *pixels = malloc(PICTURES * count);
    char name[256];
    uint64_t seed = 7;
    assert_non_null(pixels);
    for (size_t i = 0; i < PICTURES * count; i++)
        pixels[i] = (uint8_t)noise_below(&seed, 256);
    for (int i = 0; i < PICTURES; i++) {
        const PngKind kind = {size, size, 8, channels == 1 ? 0 : 2, 0};
        Sample png = sample_png(kind, pixels + (size_t)i * count, NULL);
        for (int test = 0; test < 2; test++) {
            snprintf(name, sizeof name, "%s-data/%s/a/%d.png", m->model, test ? "test" : "train", i);
            scratch_write(name, png.bytes, png.count);
        }
        free(png.bytes);
    }
    snprintf(name, sizeof name, "%s/in/pictures", m->model);
    scratch_write(name, pixels, PICTURES * count);
    free(pixels);
}

/* The compiled program's f_1, by malloc; its place in what is returned by *at. */
static TensorFile encode_on_host(const Model *m, size_t *count, const float **at)
{
    enum { HEADER = 128 };
    if (shell("test -x %s", m->trial.program))
        runs("%s %s --memory 64MiB --blas none --cc %s -o %s --gen-dir %s", amdimc_path(), m->trial.spec,
             quick_compiler(), m->trial.program, m->trial.generated);
    runs("%s encode --weights %s --data %s/%s-data -o %s/f_1.npy", m->trial.program, m->trial.weights, folder,
         m->model, folder);
    TensorFile file = tensor_file_read(scratch_path("f_1.npy"));
    assert_true(file.count > HEADER);
    *at = (const float *)(const void *)(file.bytes + HEADER);
    *count = (file.count - HEADER) / sizeof(float);
    return file;
}

static double relative_error(const float *got, const float *want, size_t count)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        off += pow((double)got[i] - (double)want[i], 2);
        size += pow((double)want[i], 2);
    }
    return sqrt(off / size);
}

static void expect_features(const Model *m, double tolerance)
{
    size_t count;
    const float *want;
    TensorFile file = encode_on_host(m, &count, &want);
    float *got = read_floats(m->model, "f_1", count);
    const double error = relative_error(got, want, count);
    print_message("f_1 of %s is off by %.2g\n", m->spec, error);
    if (!(error <= tolerance))
        fail_msg("%s: f_1 is off by %.3g", m->spec, error);
    free(got);
    free(file.bytes);
}

static void encodes(const Board *b, const Model *m)
{
    skip_unless_installed(b);
    write_pictures(m);
    build_application(b, m, "encode", "", "");
    run_application(b, m, "encode");
    expect_features(m, 1e-5);
}

/* Weights that lie in flash as constants of a type, read there. */
static void encodes_from_flash(const Board *b, const Model *m, const char *type, double tolerance)
{
    char options[512], object[512];
    skip_unless_installed(b);
    write_pictures(m);
    runs("%s --emit=library %s --target %s --weights %s --weights-type %s -o %s/flash", amdimc_path(),
         m->trial.spec, b->triple, m->trial.weights, type, folder);
    runs("%s %s -c %s/flash/%s_weights.c -o %s/weights.o", b->compile, STRICT, folder, m->model, folder);
    snprintf(options, sizeof options, "-DFIXED -I%s/flash", folder);
    snprintf(object, sizeof object, "%s/weights.o", folder);
    build_application(b, m, "encode", options, object);
    run_application(b, m, "encode");
    expect_features(m, tolerance);
    runs("rm -r %s/flash", folder);
}

/* ---- gradients ---- */

typedef struct {
    const Model *model;
    float *result; /* loss, penalty, losses of pairs */
    int losses;
    double worst;
} Given;

/* As docs/program.md has it. */
static void expect_tensor(void *job, const char *name, const double *want, size_t count, double size)
{
    const double tolerance = 2e-4;
    Given *g = job;
    float *got = NULL;
    double squares = 0;
    if (strncmp(name, "embed.", 6) == 0)
        return;
    if (strncmp(name, "grad.", 5) == 0)
        got = read_floats(g->model->model, name + 5, count);
    for (size_t i = 0; i < count; i++)
        squares += pow((double)(got ? got[i] : g->result[g->losses++]) - want[i], 2);
    free(got);
    if (!(sqrt(squares) <= tolerance * size))
        fail_msg("%s is off by %.3g of %.3g", name, sqrt(squares), size);
    g->worst = fmax(g->worst, size > 0 ? sqrt(squares) / size : 0);
}

static void gradients_fit(const Board *b, const Model *m)
{
    skip_unless_installed(b);
    build_application(b, m, "gradients", "", "");
    run_application(b, m, "gradients");
    Given g = {.model = m, .result = read_floats(m->model, "result", (size_t)m->trial.l.net->pairs + 2)};
    trial_each(&m->trial, m->trial.want, expect_tensor, &g);
    assert_int_equal(g.losses, m->trial.l.net->pairs + 2);
    print_message("losses and gradients of %s are off by %.2g at most\n", m->spec, g.worst);
    free(g.result);
}

/* ---- training ---- */

/* The program's own pictures, grey, without their margins. */
static void write_built_in(const Model *m)
{
    static uint8_t pixels[TRAINED_ON * SIZE * SIZE];
    char name[128];
    built_in_pictures(TRAINED_ON, SIZE, pixels);
    snprintf(name, sizeof name, "%s/in/pictures", m->model);
    scratch_write(name, pixels, sizeof pixels);
}

/* The same application on this machine, with a library for it. */
static void train_here(const Model *m)
{
    runs("%s --emit=library %s -o %s/here", amdimc_path(), m->trial.spec, folder);
    runs("mkdir %s/here/out && ln -s ../%s/in %s/here/in", folder, m->model, folder);
    runs("cd %s/here && clang -std=c17 -D_GNU_SOURCE -O1 -ffp-contract=fast -DMODEL=%s -DMODEL_UPPER=%s -I. "
         "-I%s -o train "
         "%s/train.c %s/model.c %s/hosted.c %s.c -lm && ./train",
         folder, m->model, m->upper, sources, sources, sources, sources, m->model);
}

static double mean_of(const float *v, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += (double)v[i];
    return sum / count;
}

static void trains(const Board *b, const Model *m)
{
    enum { COMPARED = 8 };
    skip_unless_installed(b);
    write_built_in(m);
    build_application(b, m, "train", "", "");
    run_application(b, m, "train");
    train_here(m);
    float *loss = read_floats(m->model, "losses", STEPS), *here = read_floats("here", "losses", STEPS);
    const double first = mean_of(loss, COMPARED), last = mean_of(loss + STEPS - COMPARED, COMPARED);
    print_message("loss from %.4f to %.4f\n", first, last);
    assert_true(isfinite(last) && last < first - 0.1);
    /* Where a gradient is next to nothing, rounding decides the sign of Adam's step; from there on the two go
     * their own ways. */
    const double begun = relative_error(loss, here, COMPARED), error = relative_error(loss, here, STEPS);
    print_message("losses differ from those of this machine by %.2g in the first %d steps, by %.2g in all\n",
                  begun, (int)COMPARED, error);
    assert_true(begun < 1e-5);
    assert_true(error < 1e-2);
    free(loss);
    free(here);
}

/* ---- stack ---- */

static void takes_little_stack(const Board *b, const Model *m)
{
    skip_unless_installed(b);
    char name[128];
    build_application(b, m, "stack", "", "");
    run_application(b, m, "stack");
    snprintf(name, sizeof name, "%s/out/stack", m->model);
    TensorFile file = tensor_file_read(scratch_path(name));
    uint32_t bytes[3]; /* encode, a batch put, step */
    assert_int_equal(file.count, sizeof bytes);
    memcpy(bytes, file.bytes, sizeof bytes);
    free(file.bytes);
    assert_in_range(bytes[0], 1, ENCODE_STACK);
    assert_in_range(bytes[1], 1, STEP_STACK);
    assert_in_range(bytes[2], 1, STEP_STACK);
}

/* ---- the folder ---- */

/* A make of its own: what the make that runs the tests was told is none of its business. */
static void folder_builds(const Board *b, const Model *m, const char *options)
{
    skip_unless_installed(b);
    runs("%s --emit=library %s --target %s -o %s/made", amdimc_path(), m->trial.spec, b->triple, folder);
    runs("cd %s/made && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u CC -u AR make -s size %s >../size "
         "2>../said && "
         "cmp ../said /dev/null",
         folder, options);
    /* Neither data nor bss. */
    runs("tail -n 1 %s/size | grep -E '^ *[0-9]+[[:space:]]+0[[:space:]]+0[[:space:]]'", folder);
    runs("rm -r %s/made", folder);
}

/* ---- tests ---- */

static void m4_encodes(void **state)
{
    (void)state;
    encodes(&boards[M4_GCC], &cortex);
    encodes(&boards[M4_GCC], &small);
}

static void m4_encodes_from_flash(void **state)
{
    (void)state;
    encodes_from_flash(&boards[M4_GCC], &cortex, "float32", 1e-5);
    encodes_from_flash(&boards[M4_GCC], &cortex, "float16", 2e-3);
    encodes_from_flash(&boards[M4_GCC], &cortex, "int8", 5e-2);
}

static void m4_gradients_fit(void **state)
{
    (void)state;
    gradients_fit(&boards[M4_GCC], &small);
}

static void m7_encodes(void **state)
{
    (void)state;
    encodes(&boards[M7_CLANG], &cortex);
}

static void m7_gradients_fit(void **state)
{
    (void)state;
    gradients_fit(&boards[M7_CLANG], &small);
    gradients_fit(&boards[M7_CLANG], &cortex);
}

static void m7_trains(void **state)
{
    (void)state;
    trains(&boards[M7_CLANG], &cortex);
}

static void m4_takes_little_stack(void **state)
{
    (void)state;
    takes_little_stack(&boards[M4_GCC], &cortex);
    takes_little_stack(&boards[M4_GCC], &small);
}

static void m7_takes_little_stack(void **state)
{
    (void)state;
    takes_little_stack(&boards[M7_CLANG], &cortex);
}

static void rv32_gcc_encodes_with_right_gradients(void **state)
{
    (void)state;
    encodes(&boards[RV32_GCC], &small);
    gradients_fit(&boards[RV32_GCC], &small);
    takes_little_stack(&boards[RV32_GCC], &cortex);
}

static void rv32_clang_encodes_with_right_gradients(void **state)
{
    (void)state;
    encodes(&boards[RV32_CLANG], &small);
    gradients_fit(&boards[RV32_CLANG], &small);
    takes_little_stack(&boards[RV32_CLANG], &cortex);
}

static void folders_build_by_gcc_and_clang(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(boards); i += 2) {
        folder_builds(&boards[i], &small, "CFLAGS=-Os");
        folder_builds(&boards[i], &small, "CFLAGS=-Os CC=clang");
    }
}

static int set_up(void **state)
{
    (void)state;
    const char *build = getenv("BUILD");
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    snprintf(kept, sizeof kept, "%s/tests/bare", build && *build ? build : "build");
    char here[256];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(sources, sizeof sources, "%s/tests/bare", here);
    TensorFile text = tensor_file_read("specs/cortex-m7.yaml");
    char *cortex_text = strndup(text.bytes, text.count);
    free(text.bytes);
    model_begin(&cortex, cortex_text);
    model_begin(&small, small_text);
    free(cortex_text);
    return shell("mkdir -p %s", kept);
}

static int tear_down(void **state)
{
    trial_end(&cortex.trial);
    trial_end(&small.trial);
    return scratch_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(m4_encodes),
        cmocka_unit_test(m4_encodes_from_flash),
        cmocka_unit_test(m4_gradients_fit),
        cmocka_unit_test(m4_takes_little_stack),
        cmocka_unit_test(m7_encodes),
        cmocka_unit_test(m7_gradients_fit),
        cmocka_unit_test(m7_takes_little_stack),
        cmocka_unit_test(m7_trains),
        cmocka_unit_test(folders_build_by_gcc_and_clang),
        cmocka_unit_test(rv32_gcc_encodes_with_right_gradients),
        cmocka_unit_test(rv32_clang_encodes_with_right_gradients),
    };
    return cmocka_run_group_tests_name("bare", tests, set_up, tear_down);
}
