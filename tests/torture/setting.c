/* setting.c: see torture.h. */
#include "torture.h"
#include "samples.h"
#include "shell.h"
#include "tensor_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <zlib.h>

Setting setting;

static const char spec[] = "name: torture\n"
                           "input: {channels: 3, size: 8}\n"
                           "batch: 2\n"
                           "encoder:\n"
                           "  - conv: {out: 4, kernel: 3, batchnorm: true}\n"
                           "  - residual: {out: 6, kernel: 6}\n"
                           "embedding: {dim: 6}\n"
                           "loss: {pairs: [1-to-6, 6-to-6]}\n"
                           "augment: {flip: 0.5, crop: {scale: [0.3, 1.0]}}\n"
                           "optimizer: {adam: {lr: 1e-3}}\n"
                           "schedule: {epochs: 2}\n"
                           "target: {threads: 2, blas: none}\n";

/* ---- data ---- */

/* JPEG and PNG in two classes and both splits. */
static void write_folders(void)
{
    char name[64];
    uint8_t pixels[3 * 10 * 10];
    for (int i = 0; i < 10; i++) {
        for (size_t k = 0; k < sizeof pixels; k++)
            pixels[k] = (uint8_t)(k * (3 + (size_t)i) + 40 * (size_t)i);
        Sample s =
            i % 3 ? sample_jpeg(10, 10, 3, pixels) : sample_plain(9 + i, 8, (uint8_t)(20 * i), 90, 200);
        snprintf(name, sizeof name, "folders/%s/%c/%d.%s", i < 6 ? "train" : "test", 'a' + i % 2, i,
                 i % 3 ? "jpg" : "png");
        scratch_write(name, s.bytes, s.count);
        free(s.bytes);
    }
}

static void write_packed(const char *name, const uint8_t *bytes, size_t count)
{
    gzFile file = gzopen(scratch_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)count), (int)count);
    assert_int_equal(gzclose(file), Z_OK);
}

enum { IDX_IMAGES = 6, IDX_SIDE = 9 };

static void write_idx(void)
{
    uint8_t labels[8 + IDX_IMAGES] = {0, 0, 8, 1, 0, 0, 0, IDX_IMAGES};
    uint8_t images[16 + IDX_IMAGES * IDX_SIDE * IDX_SIDE] = {0, 0, 8, 3,        0, 0, 0, IDX_IMAGES,
                                                             0, 0, 0, IDX_SIDE, 0, 0, 0, IDX_SIDE};
    for (size_t i = 0; i < IDX_IMAGES; i++)
        labels[8 + i] = i % 2;
    for (size_t i = 16; i < sizeof images; i++)
        images[i] = (uint8_t)(i * 29);
    scratch_write("idx/train-labels-idx1-ubyte", labels, sizeof labels);
    scratch_write("idx/t10k-images-idx3-ubyte", images, sizeof images);
    write_packed("idx/t10k-labels-idx1-ubyte.gz", labels, sizeof labels);
    write_packed("idx/train-images-idx3-ubyte.gz", images, sizeof images);
}

/* What `replay` takes. */
static void write_batch(void)
{
    TensorWriter w;
    double x[2 * 3 * 8 * 8];
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (double)(i % 17) / 16 - 0.5;
    tensor_file_begin(&w);
    tensor_file_add(&w, "x.1", 4, (const int[]){2, 3, 8, 8}, 0, x);
    tensor_file_add(&w, "x.2", 4, (const int[]){2, 3, 8, 8}, 0, x);
    tensor_file_add(&w, "loc.6-to-6.1", 1, (const int[]){2}, 1, (const double[]){3, 35});
    tensor_file_add(&w, "loc.6-to-6.2", 1, (const int[]){2}, 1, (const double[]){0, 7});
    tensor_file_end(&w, scratch_path("batch.safetensors"));
}

/* ---- set-up ---- */

/* In place of clang: hands on the program that is there. */
static void write_stand_in(void)
{
    static const char text[] = "#!/bin/sh\n"
                               "out=; while [ $# -gt 0 ]; do [ \"$1\" != -o ] || out=$2; shift; done\n"
                               "[ -z \"$out\" ] || exec cp \"${0%/*}/torture\" \"$out\"\n";
    scratch_write("cc", text, sizeof text - 1);
    assert_int_equal(shell("chmod +x %s", scratch_path("cc")), 0);
}

int setting_make(void **state)
{
    (void)state;
    const char *build = getenv("BUILD");
    snprintf(setting.folder, sizeof setting.folder, "%s", scratch_begin());
    snprintf(setting.program, sizeof setting.program, "%s/torture", setting.folder);
    char *compiler = realpath(amdimc_path(), NULL);
    assert_non_null(compiler);
    /* By a name without blanks, for commands are cut at these: the checkout's path may have some. */
    snprintf(setting.compiler, sizeof setting.compiler, "%s/amdimc", setting.folder);
    assert_int_equal(symlink(compiler, setting.compiler), 0);
    free(compiler);
    scratch_write("torture.yaml", spec, sizeof spec - 1);
    write_folders();
    write_idx();
    write_batch();
    write_stand_in();
    if (shell("cp %s/tests/inject.so %s", build && *build ? build : "build", setting.folder) ||
        shell("%s %s/torture.yaml -o %s --gen-dir %s/c", amdimc_path(), setting.folder, setting.program,
              setting.folder)) {
        (void)!system("cat \"$TMPDIR\"/*/log");
        return 1;
    }
    return 0;
}

int setting_remove(void **state)
{
    (void)state;
    scratch_end();
    return 0;
}

/* ---- workers ---- */

int workers(void)
{
    const char *jobs = getenv("TORTURE_JOBS");
    long found = jobs ? strtol(jobs, NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
    return found < 1 ? 1 : found > 64 ? 64 : (int)found;
}

bool work_at_once(void (*work)(int worker, void *arg), void *arg)
{
    int count = workers();
    pid_t child[64];
    bool good = true;
    fflush(NULL);
    for (int i = 0; i < count; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            work(i, arg);
            _exit(0);
        }
    }
    for (int i = 0; i < count; i++) {
        int status = -1;
        if (waitpid(child[i], &status, 0) != child[i] || status != 0)
            good = false;
    }
    return good;
}

static void findings_path(char *path, size_t room)
{
    snprintf(path, room, "%s/findings", setting.folder);
}

void finding(const char *format, ...)
{
    char path[300], text[3000];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text - 1, format, args);
    va_end(args);
    if (length > (int)sizeof text - 2)
        length = sizeof text - 2;
    for (int i = 0; i < length; i++)
        if (text[i] == '\n')
            text[i] = '|';
    text[length++] = '\n';
    findings_path(path, sizeof path);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, text, (size_t)length) != length)
        abort();
    close(file);
}

int findings(void)
{
    char path[300];
    size_t count;
    int lines = 0;
    findings_path(path, sizeof path);
    char *text = file_bytes(path, &count);
    for (char *at = text; at && (at = strchr(at, '\n')); at++)
        lines++;
    if (text)
        fputs(text, stdout);
    unlink(path);
    free(text);
    return lines;
}
