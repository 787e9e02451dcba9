/* test_onnx.c: --emit=onnx: the file is read again and interpreted in double, and gives what the program's
 * `encode` gives; and where a Python has ONNX Runtime, that agrees, too. */
#include "onnx.pb-c.h"
#include "photos.h"
#include "samples.h"
#include "shell.h"
#include "tensor_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 22, COUNT = 7, MAPS = 256, NAMED = 64 };

static char folder[512];

/* Strides, pads, reflection, both pools, batchnorm everywhere, channels that a shortcut lacks. */
static const char everything[] =
    "name: everything\ninput: {size: 22, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.25]}\nbatch: 3\n"
    "encoder:\n  - pool: {kernel: 2, stride: 1, kind: max}\n  - conv: {out: 10, kernel: 3, pad: 1, pad_mode: "
    "reflect}\n"
    "  - pool: {kernel: 3, stride: 2, pad: 1, kind: max}\n  - residual: {out: 15, kernel: 3, pad: 1, "
    "batchnorm: true}\n"
    "  - block: {out: 18, kernel: 3, stride: 2, pad: 1, depth: 2, batchnorm: true}\n  - batchnorm: {}\n"
    "  - pool: {kernel: 3, stride: 2, pad: 1}\n  - conv: {out: 20, kernel: 3, batchnorm: true, activation: "
    "none}\n"
    "embedding: {dim: 20, batchnorm: true}\nloss: {pairs: [1-to-3, 3-to-6]}\nschedule: {epochs: 9, warmup: "
    "0, milestones: []}\n",
                  /* No pair trains scale 1: f_1 is a mean over positions. */
    no_one[] =
        "name: no-one\ninput: {size: 22}\nbatch: 3\n"
        "encoder:\n  - conv: {out: 8, kernel: 6, stride: 2, pad: 1}\n  - residual: {out: 12, kernel: 2, "
        "stride: 2}\n"
        "embedding: {dim: 9}\nloss: {pairs: [5-to-10]}\nschedule: {epochs: 9, warmup: 0, milestones: []}\n";

static void train(const char *name, const char *text)
{
    char file[64];
    snprintf(file, sizeof file, "%s.yaml", name);
    scratch_write(file, text, strlen(text));
    const char *cc = quick_compiler();
    assert_int_equal(shell("%s %s/%s.yaml -o %s/%s --gen-dir %s/%s-c --cc %s", amdimc_path(), folder, name,
                           folder, name, folder, name, cc),
                     0);
    assert_int_equal(
        shell("cd %s && ./%s train --data data --out %s-run --steps 6 --seed 5", folder, name, name), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    char *path = realpath(amdimc_path(), NULL), *python = realpath("tests/unit/onnx_runtime.py", NULL);
    setenv("AMDIMC", path, 1);
    setenv("ONNX_RUNTIME", python, 1);
    free(path);
    free(python);
    photos_write("data", "train", SIDE, COUNT);
    photos_write("data", "test", SIDE, COUNT);
    uint8_t pictures[COUNT][SIDE * SIDE * 3];
    for (int i = 0; i < COUNT; i++)
        photo_draw(SIDE, i, pictures[i]);
    scratch_write("pictures", pictures, sizeof pictures);
    train("everything", everything);
    train("no-one", no_one);
    return 0;
}

/* ---- a small interpreter ---- */

typedef struct {
    const char *name;
    int dims[4]; /* (N, C, H, W) */
    double *value;
} Map;

typedef struct {
    Onnx__Model *model;
    int maps;
    Map map[MAPS];
} Runtime;

static size_t map_count(const Map *m)
{
    return (size_t)m->dims[0] * (size_t)m->dims[1] * (size_t)m->dims[2] * (size_t)m->dims[3];
}

static Map *new_map(Runtime *r, const char *name, int n, int c, int h, int w)
{
    assert_true(r->maps < MAPS);
    Map *m = &r->map[r->maps++];
    *m = (Map){.name = name, .dims = {n, c, h, w}};
    m->value = calloc(map_count(m), sizeof *m->value);
    return m;
}

static double *at(const Map *m, int n, int c, int y, int x)
{
    return &m->value[((size_t)(n * m->dims[1] + c) * (size_t)m->dims[2] + (size_t)y) * (size_t)m->dims[3] +
                     (size_t)x];
}

static const Map *find(const Runtime *r, const char *name)
{
    for (int i = 0; i < r->maps; i++)
        if (!strcmp(r->map[i].name, name))
            return &r->map[i];
    fail_msg("no value %s", name);
    return NULL;
}

static const Onnx__Tensor *tensor(const Runtime *r, const char *name)
{
    for (size_t i = 0; i < r->model->graph->n_initializer; i++)
        if (!strcmp(r->model->graph->initializer[i]->name, name))
            return r->model->graph->initializer[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static double number(const Onnx__Tensor *t, size_t i)
{
    float value;
    assert_int_equal(t->data_type, ONNX__NUMBER_TYPE__FLOAT32);
    memcpy(&value, t->raw_data.data + i * sizeof value, sizeof value);
    return value;
}

static const Onnx__Attribute *attribute(const Onnx__Node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attribute; i++)
        if (!strcmp(n->attribute[i]->name, name))
            return n->attribute[i];
    return NULL;
}

static int first_of(const Onnx__Node *n, const char *name, int otherwise)
{
    const Onnx__Attribute *a = attribute(n, name);
    return a ? (int)a->ints[0] : otherwise;
}

/* Of what a window at (y, x) covers of a map: DO(value) for what lies in it. */
typedef struct {
    int kernel, stride, pad;
} Window;

static Window window_of(const Onnx__Node *n)
{
    return (Window){first_of(n, "kernel_shape", 0), first_of(n, "strides", 1), first_of(n, "pads", 0)};
}

static Map *map_of_windows(Runtime *r, const Onnx__Node *n, const Map *x, Window w, int channels)
{
    const int side = (x->dims[2] + 2 * w.pad - w.kernel) / w.stride + 1;
    return new_map(r, n->output[0], x->dims[0], channels, side, side);
}

#define EACH(m, n, c, y, x)                                                                                  \
    for (int n = 0; n < (m)->dims[0]; n++)                                                                   \
        for (int c = 0; c < (m)->dims[1]; c++)                                                               \
            for (int y = 0; y < (m)->dims[2]; y++)                                                           \
                for (int x = 0; x < (m)->dims[3]; x++)

static void run_conv(Runtime *r, const Onnx__Node *node)
{
    const Map *in = find(r, node->input[0]);
    const Onnx__Tensor *w = tensor(r, node->input[1]),
                       *bias = node->n_input > 2 ? tensor(r, node->input[2]) : NULL;
    const Window v = window_of(node);
    Map *out = map_of_windows(r, node, in, v, (int)w->dims[0]);
    EACH(out, n, c, y, x)
    {
        double sum = bias ? number(bias, (size_t)c) : 0;
        for (int i = 0; i < in->dims[1]; i++)
            for (int ky = 0; ky < v.kernel; ky++)
                for (int kx = 0; kx < v.kernel; kx++)
                    sum += *at(in, n, i, y * v.stride + ky, x * v.stride + kx) *
                           number(w, (size_t)(((c * in->dims[1] + i) * v.kernel + ky) * v.kernel + kx));
        *at(out, n, c, y, x) = sum;
    }
}

static void run_pool(Runtime *r, const Onnx__Node *node)
{
    const bool is_max = !strcmp(node->op_type, "MaxPool");
    const Map *in = find(r, node->input[0]);
    const Window v = window_of(node);
    Map *out = map_of_windows(r, node, in, v, in->dims[1]);
    EACH(out, n, c, y, x)
    {
        double sum = 0, most = -INFINITY;
        for (int ky = 0; ky < v.kernel; ky++)
            for (int kx = 0; kx < v.kernel; kx++) {
                const int row = y * v.stride + ky - v.pad, column = x * v.stride + kx - v.pad;
                if (row < 0 || column < 0 || row >= in->dims[2] || column >= in->dims[3])
                    continue;
                sum += *at(in, n, c, row, column);
                most = fmax(most, *at(in, n, c, row, column));
            }
        *at(out, n, c, y, x) = is_max ? most : sum / (v.kernel * v.kernel);
    }
}

static int mirrored(int i, int count)
{
    return i < 0 ? -i : i >= count ? 2 * (count - 1) - i : i;
}

static void run_pad(Runtime *r, const Onnx__Node *node)
{
    const Map *in = find(r, node->input[0]);
    const Onnx__Attribute *mode = attribute(node, "mode");
    const bool reflects = mode && mode->s.len == 7 && !memcmp(mode->s.data, "reflect", 7);
    int64_t pads[8];
    memcpy(pads, tensor(r, node->input[1])->raw_data.data, sizeof pads);
    Map *out = new_map(r, node->output[0], in->dims[0], in->dims[1] + (int)pads[5],
                       in->dims[2] + (int)(pads[2] + pads[6]), in->dims[3] + (int)(pads[3] + pads[7]));
    EACH(out, n, c, y, x)
    {
        int row = y - (int)pads[2], column = x - (int)pads[3];
        if (reflects) {
            row = mirrored(row, in->dims[2]);
            column = mirrored(column, in->dims[3]);
        }
        const bool inside =
            c < in->dims[1] && row >= 0 && column >= 0 && row < in->dims[2] && column < in->dims[3];
        *at(out, n, c, y, x) = inside ? *at(in, n, c, row, column) : 0;
    }
}

static void run_batchnorm(Runtime *r, const Onnx__Node *node)
{
    const Map *in = find(r, node->input[0]);
    const double eps = attribute(node, "epsilon")->f;
    Map *out = new_map(r, node->output[0], in->dims[0], in->dims[1], in->dims[2], in->dims[3]);
    EACH(out, n, c, y, x)
    {
        const size_t i = (size_t)c;
        *at(out, n, c, y, x) = (*at(in, n, c, y, x) - number(tensor(r, node->input[3]), i)) /
                                   sqrt(number(tensor(r, node->input[4]), i) + eps) *
                                   number(tensor(r, node->input[1]), i) +
                               number(tensor(r, node->input[2]), i);
    }
}

static void run_mean(Runtime *r, const Onnx__Node *node)
{
    const Map *in = find(r, node->input[0]);
    Map *out = new_map(r, node->output[0], in->dims[0], in->dims[1], 1, 1);
    EACH(in, n, c, y, x) * at(out, n, c, 0, 0) += *at(in, n, c, y, x) / (in->dims[2] * in->dims[3]);
}

/* Of one map, or of two; of a map and a number a channel. */
static void run_pointwise(Runtime *r, const Onnx__Node *node)
{
    const Map *in = find(r, node->input[0]);
    const char *type = node->op_type;
    const bool by_channel = !strcmp(type, "Sub") || !strcmp(type, "Div");
    Map *out = new_map(r, node->output[0], in->dims[0], in->dims[1], in->dims[2], in->dims[3]);
    EACH(out, n, c, y, x)
    {
        const double value = *at(in, n, c, y, x),
                     own = by_channel ? number(tensor(r, node->input[1]), (size_t)c) : 0;
        double *to = at(out, n, c, y, x);
        *to = !strcmp(type, "Relu")  ? fmax(0, value)
              : !strcmp(type, "Add") ? value + *at(find(r, node->input[1]), n, c, y, x)
              : !strcmp(type, "Sub") ? value - own
              : !strcmp(type, "Div") ? value / own
                                     : value; /* Identity, Flatten */
    }
}

static const struct {
    const char *type;
    void (*run)(Runtime *r, const Onnx__Node *node);
} runs[] = {{"Conv", run_conv},
            {"AveragePool", run_pool},
            {"MaxPool", run_pool},
            {"Pad", run_pad},
            {"BatchNormalization", run_batchnorm},
            {"GlobalAveragePool", run_mean},
            {"Relu", run_pointwise},
            {"Add", run_pointwise},
            {"Sub", run_pointwise},
            {"Div", run_pointwise},
            {"Identity", run_pointwise},
            {"Flatten", run_pointwise}};

static void run_node(Runtime *r, const Onnx__Node *node)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        if (!strcmp(runs[i].type, node->op_type)) {
            runs[i].run(r, node);
            return;
        }
    fail_msg("a node of type %s", node->op_type);
}

static Onnx__Model *read_model(const char *path)
{
    TensorFile file = tensor_file_read(path);
    Onnx__Model *m = onnx__model__unpack(NULL, file.count, (const uint8_t *)file.bytes);
    free(file.bytes);
    assert_non_null(m);
    return m;
}

/* The output, of all pictures at once. */
static const Map *run_model(Runtime *r, Onnx__Model *m)
{
    uint8_t pixels[SIDE * SIDE * 3];
    *r = (Runtime){.model = m};
    Map *x = new_map(r, "x", COUNT, 3, SIDE, SIDE);
    for (int n = 0; n < COUNT; n++) {
        photo_draw(SIDE, n, pixels);
        for (int i = 0; i < SIDE * SIDE * 3; i++)
            *at(x, n, i % 3, i / 3 / SIDE, i / 3 % SIDE) = pixels[i] / 255.0;
    }
    for (size_t i = 0; i < m->graph->n_node; i++)
        run_node(r, m->graph->node[i]);
    return find(r, m->graph->output[0]->name);
}

static void runtime_free(Runtime *r)
{
    for (int i = 0; i < r->maps; i++)
        free(r->map[i].value);
    onnx__model__free_unpacked(r->model, NULL);
}

/* ---- tests ---- */

/* An .npy file of the scratch folder holds the map. */
static void expect_file(const char *file, const Map *got)
{
    TensorFile want = tensor_file_read(scratch_path(file));
    const size_t count = map_count(got);
    assert_true(want.count > count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, want.bytes + want.count - (count - i) * sizeof value, sizeof value);
        if (!(fabs(got->value[i] - value) <= 1e-4))
            fail_msg("%s: number %zu is %g, not %g", file, i, (double)value, got->value[i]);
    }
    free(want.bytes);
}

/* Of a spec, f_1 (scale 0) or phi_d. */
static void check(const char *name, int scale, const char *output)
{
    char option[32] = "";
    if (scale)
        snprintf(option, sizeof option, "--scale %d", scale);
    assert_int_equal(
        shell("cd %s && \"$AMDIMC\" --emit=onnx %s.yaml --weights %s-run/last.safetensors -o %s-%d.onnx %s",
              folder, name, name, name, scale, option),
        0);
    assert_int_equal(
        shell("cd %s && ./%s encode --data data --weights %s-run/last.safetensors -o %s-%d.npy %s", folder,
              name, name, name, scale, option),
        0);
    char file[128];
    snprintf(file, sizeof file, "%s-%d.onnx", name, scale);
    Runtime r;
    const Map *got = run_model(&r, read_model(scratch_path(file)));
    assert_string_equal(r.model->graph->output[0]->name, output);
    snprintf(file, sizeof file, "%s-%d.npy", name, scale);
    expect_file(file, got);
    runtime_free(&r);
}

/* `encode --raw`: what the head of scale d reads, and the representation itself. */
static void check_raw(const char *name, int scale, const char *layer)
{
    assert_int_equal(shell("cd %s && \"$AMDIMC\" --emit=onnx %s.yaml --weights %s-run/last.safetensors -o "
                           "raw.onnx --scale %d",
                           folder, name, name, scale),
                     0);
    assert_int_equal(
        shell(
            "cd %s && ./%s encode --data data --weights %s-run/last.safetensors -o raw.npy --scale %d --raw",
            folder, name, name, scale),
        0);
    Runtime r;
    run_model(&r, read_model(scratch_path("raw.onnx")));
    expect_file("raw.npy", find(&r, layer));
    runtime_free(&r);
}

static void raw_features_are_the_layers(void **state)
{
    (void)state;
    check_raw("everything", 1, "encoder_7");
    check_raw("everything", 3, "encoder_6");
    check_raw("everything", 6, "encoder_5");
    check_raw("no-one", 5, "encoder_1");
    check_raw("no-one", 10, "encoder_0");
    assert_int_equal(shell("cd %s && ./no-one encode --data data --weights no-one-run/last.safetensors -o "
                           "raw.npy --raw 2>said; "
                           "test $? = 2 && grep -q -e '--scale D is missing' said",
                           folder),
                     0);
}

/* The first pictures of each class, which are the first of all here. */
static void encodes_as_many_as_are_wanted(void **state)
{
    (void)state;
    assert_int_equal(
        shell(
            "cd %s && for split in train test; do ./no-one encode --data data --split $split --weights "
            "no-one-run/last.safetensors -o all.npy && ./no-one encode --data data --split $split --weights "
            "no-one-run/last.safetensors -o some.npy --limit 3 && head -c $((128 + 3 * 12 * 4)) all.npy | "
            "tail -c +129 >some && tail -c +129 some.npy | cmp - some || exit 1; done",
            folder),
        0);
}

static void agrees_with_encode(void **state)
{
    (void)state;
    check("everything", 0, "f_1");
    check("everything", 1, "phi_1"); /* the identity */
    check("everything", 3, "phi_3");
    check("everything", 6, "phi_6");
    check("no-one", 0, "f_1");
    check("no-one", 5, "phi_5");
    check("no-one", 10, "phi_10");
}

/* Names are given once, and weights are the file's numbers, those of heads too. */
static void expect_weights(const Onnx__Model *m, const char *path)
{
    TensorFile weights = tensor_file_read(scratch_path(path));
    int heads = 0;
    for (size_t i = 0; i < m->graph->n_initializer; i++) {
        const Onnx__Tensor *t = m->graph->initializer[i];
        size_t count = 1;
        for (size_t d = 0; d < t->n_dims; d++)
            count *= (size_t)t->dims[d];
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(t->name, m->graph->initializer[k]->name);
        if (t->data_type != ONNX__NUMBER_TYPE__FLOAT32 || !strncmp(t->name, "input.", 6))
            continue;
        double *value = tensor_file_find(&weights, t->name, count);
        assert_non_null(value);
        for (size_t k = 0; k < count; k++)
            assert_true(number(t, k) == value[k]);
        free(value);
        heads += !strncmp(t->name, "embed.3.", 8);
    }
    assert_int_equal(heads, 2 + 2 + 4 + 4); /* conv1 and 2, the shortcut, bn_hidden, bn */
    free(weights.bytes);
}

/* Named once, after their layers. */
static void expect_nodes(const Onnx__Model *m)
{
    static const char *const wanted_nodes[][2] = {{"Sub", "normalise.mean"},
                                                  {"Div", "normalise.std"},
                                                  {"Pad", "encoder.1.pad"},
                                                  {"Conv", "encoder.1"},
                                                  {"Relu", "encoder.1.relu"},
                                                  {"MaxPool", "encoder.2"},
                                                  {"AveragePool", "encoder.3.pool"},
                                                  {"Pad", "encoder.3.pool.channels"},
                                                  {"Conv", "encoder.4.0.conv1"},
                                                  {"BatchNormalization", "encoder.4.1.bn"},
                                                  {"Relu", "encoder.4.1.bn.relu"},
                                                  {"Add", "encoder.4.1.conv2.sum"},
                                                  {"BatchNormalization", "encoder.5"},
                                                  {"Conv", "embed.3.shortcut"}};
    for (size_t i = 0; i < m->graph->n_node; i++)
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(m->graph->node[i]->name, m->graph->node[k]->name);
            assert_string_not_equal(m->graph->node[i]->output[0], m->graph->node[k]->output[0]);
        }
    for (size_t i = 0; i < sizeof wanted_nodes / sizeof *wanted_nodes; i++) {
        bool found = false;
        for (size_t k = 0; k < m->graph->n_node; k++)
            found |= !strcmp(m->graph->node[k]->op_type, wanted_nodes[i][0]) &&
                     !strcmp(m->graph->node[k]->name, wanted_nodes[i][1]);
        if (!found)
            fail_msg("no %s named %s", wanted_nodes[i][0], wanted_nodes[i][1]);
    }
}

static void is_as_others_read_it(void **state)
{
    (void)state;
    check("everything", 3, "phi_3");
    Onnx__Model *m = read_model(scratch_path("everything-3.onnx"));
    assert_int_equal(m->ir_version, 8);
    assert_int_equal(m->n_opset_import, 1);
    assert_string_equal(m->opset_import[0]->domain, "");
    assert_int_equal(m->opset_import[0]->version, 17);
    assert_string_equal(m->producer_name, "amdimc");
    assert_string_equal(m->graph->name, "everything");
    assert_int_equal(m->graph->n_input, 1);
    assert_string_equal(m->graph->input[0]->name, "x");
    const Onnx__Shape *in = m->graph->input[0]->type->tensor_type->shape,
                      *out = m->graph->output[0]->type->tensor_type->shape;
    const int wanted_in[] = {0, 3, SIDE, SIDE}, wanted_out[] = {0, 20, 3, 3};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(in->dim[i]->value_case,
                         i ? ONNX__DIMENSION__VALUE_SIZE : ONNX__DIMENSION__VALUE_NAME);
        assert_int_equal(out->dim[i]->value_case,
                         i ? ONNX__DIMENSION__VALUE_SIZE : ONNX__DIMENSION__VALUE_NAME);
        if (i) {
            assert_int_equal(in->dim[i]->size, wanted_in[i]);
            assert_int_equal(out->dim[i]->size, wanted_out[i]);
        }
    }
    expect_weights(m, "everything-run/last.safetensors");
    expect_nodes(m);
    onnx__model__free_unpacked(m, NULL);
    /* f_1 alone has no heads. */
    assert_int_equal(shell("cd %s && ! grep -q embed everything-0.onnx", folder), 0);
}

static void same_bytes_every_time(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(shell("cd %s && \"$AMDIMC\" --emit=onnx no-one.yaml --weights "
                               "no-one-run/last.safetensors -o same%d.onnx",
                               folder, i),
                         0);
    assert_int_equal(
        shell(
            "cd %s && cmp same0.onnx same1.onnx && \"$AMDIMC\" --emit=onnx --precision bfloat16 no-one.yaml "
            "--weights no-one-run/last.safetensors -o same2.onnx 2>said && cmp same0.onnx same2.onnx && "
            "grep -q 'an ONNX graph computes in float32' said",
            folder),
        0);
}

static void refuses(const char *arguments, int code, const char *words)
{
    const int got = shell(
        "cd %s && \"$AMDIMC\" %s 2>said; code=$?; cat said; grep -qF -e \"%s\" said && exit $code; exit 99",
        folder, arguments, words);
    if (got != code)
        fail_msg("%s: exit %d, not %d saying `%s`", arguments, got, code, words);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    refuses("--emit=onnx no-one.yaml -o m.onnx", 2, "--weights is missing");
    refuses("--emit=onnx no-one.yaml --weights no-one-run/last.safetensors", 2, "-o is missing");
    refuses("--emit=onnx no-one.yaml --weights no-one-run/last.safetensors -o m.onnx --scale big", 2,
            "no scale");
    refuses("--emit=onnx no-one.yaml --weights no-one-run/last.safetensors -o m.onnx --scale 1", 1, "10, 5");
    refuses("--emit=onnx no-one.yaml --weights no-one-run/last.safetensors -o m.onnx --weights-type int8", 2,
            "ONNX has float32");
    refuses("--check no-one.yaml --scale 5", 2, "--scale goes with");
    refuses("--emit=onnx no-one.yaml --weights everything-run/last.safetensors -o m.onnx", 1, "no tensor");
    refuses("--emit=onnx no-one.yaml --weights none -o m.onnx", 1, "none");
    refuses("--emit=onnx no-one.yaml --weights no-one-run/last.safetensors -o no-one-run/last.safetensors", 1,
            "another name");
    refuses("--emit=onnx no-one.yaml --weights no-one-run/last.safetensors -o no-one.yaml", 1, "no-one.yaml");
    assert_int_equal(shell("test ! -e %s/m.onnx", folder), 0);
}

/* Readers of protobuf take no more; said before weights of that size are looked for. */
static void refuses_what_no_reader_takes(void **state)
{
    (void)state;
    static const char huge[] =
        "name: huge\ninput: {size: 2}\nbatch: 2\nencoder:\n  - conv: {out: 20000, kernel: 1}\n"
        "  - conv: {out: 20000, kernel: 2}\nembedding: {dim: 8}\nloss: {pairs: [1-to-2]}\n"
        "schedule: {epochs: 9, warmup: 0, milestones: []}\n";
    scratch_write("huge.yaml", huge, sizeof huge - 1);
    refuses("--emit=onnx huge.yaml --weights none -o m.onnx", 1, "less than 2");
}

/* What was there stays where weights do not fit, or the disk is full. */
static void keeps_what_was_there(void **state)
{
    (void)state;
    scratch_write("kept.onnx", "before", 6);
    refuses("--emit=onnx no-one.yaml --weights everything-run/last.safetensors -o kept.onnx", 1, "no tensor");
    assert_int_equal(shell("cd %s && ( ulimit -f 1; \"$AMDIMC\" --emit=onnx no-one.yaml --weights "
                           "no-one-run/last.safetensors -o kept.onnx 2>small; test $? = 1 ) && "
                           "test \"$(cat kept.onnx)\" = before && test \"$(ls -A | grep -c kept)\" = 1",
                           folder),
                     0);
}

static void lists_its_options(void **state)
{
    (void)state;
    assert_int_equal(shell("\"$AMDIMC\" --help >%s/help && grep -q -e '^  --scale d' %s/help && "
                           "grep -q -e '^  --weights FILE .*--emit=onnx' %s/help",
                           folder, folder, folder),
                     0);
}

static void onnx_runtime_agrees(void **state)
{
    (void)state;
    const char *python = wanted(find_python("onnxruntime, onnx"));
    agrees_with_encode(state);
    for (int scale = 0; scale < 11; scale++)
        assert_int_equal(shell("cd %s && for name in everything no-one; do test ! -e $name-%d.onnx || "
                               "%s \"$ONNX_RUNTIME\" $name-%d.onnx $name-%d.npy pictures || exit 1; done",
                               folder, scale, python, scale, scale),
                         0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_encode),
        cmocka_unit_test(raw_features_are_the_layers),
        cmocka_unit_test(encodes_as_many_as_are_wanted),
        cmocka_unit_test(is_as_others_read_it),
        cmocka_unit_test(same_bytes_every_time),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(refuses_what_no_reader_takes),
        cmocka_unit_test(keeps_what_was_there),
        cmocka_unit_test(lists_its_options),
        cmocka_unit_test(onnx_runtime_agrees),
    };
    return cmocka_run_group_tests_name("onnx", tests, set_up, scratch_tear_down);
}
