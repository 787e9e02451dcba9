/* test_ir.c: the printed operations of small specs against tests/golden/NAME.ir (BLESS=1 writes them anew),
 * what is dropped because no pair trains it, which products skip zeros, and the checks after every pass on
 * all specs of the project. */
#include "kernels/kernel.h"
#include "lowered.h"

#include <glob.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- golden lists ---- */

static char *whole_file(const char *path)
{
    char *text = NULL;
    size_t length = 0;
    FILE *from = fopen(path, "r"), *to = open_memstream(&text, &length);
    if (!from)
        fail_msg("%s cannot be read; BLESS=1 writes it", path);
    for (int c; (c = fgetc(from)) != EOF;)
        fputc(c, to);
    fclose(from);
    assert_int_equal(fclose(to), 0);
    return text;
}

static char *printed(const Graph *g)
{
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    graph_print(g, to);
    assert_int_equal(fclose(to), 0);
    return text;
}

static void bless(const char *path, const char *text)
{
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    fputs(text, to);
    assert_int_equal(fclose(to), 0);
}

/* Ends with `l`. */
static void expect_printed(const char *name, Lowered *l)
{
    char path[128], *got = printed(l->step);
    snprintf(path, sizeof path, "tests/golden/%s.ir", name);
    if (getenv("BLESS"))
        bless(path, got);
    char *want = whole_file(path);
    assert_string_equal(got, want);
    free(want);
    free(got);
    lowered_end(l);
}

static void expect_golden(const char *name, const char *spec)
{
    Lowered l;
    lowered_begin(&l, spec, PASS_PLAN);
    expect_printed(name, &l);
}

static void local_dim_prints_as_expected(void **state)
{
    (void)state;
    expect_golden("local-dim", "name: a\n"
                               "input: {size: 8}\n"
                               "views: 1\n"
                               "batch: 4\n"
                               "encoder:\n"
                               "  - conv: {out: 8, kernel: 3}\n"
                               "  - residual: {out: 16, kernel: 4, stride: 2}\n"
                               "  - residual: {out: 24, kernel: 2}\n"
                               "embedding: {dim: 24}\n"
                               "loss:\n"
                               "  pairs: [1-to-2]\n");
}

static void amdim_prints_as_expected(void **state)
{
    (void)state;
    expect_golden("amdim", "name: a\n"
                           "input: {size: 12}\n"
                           "batch: 2\n"
                           "encoder:\n"
                           "  - conv: {out: 4, kernel: 3, pad: 1, pad_mode: reflect, batchnorm: true}\n"
                           "  - block: {out: 8, kernel: 4, stride: 2, depth: 2}\n"
                           "  - residual: {out: 8, kernel: 3, batchnorm: true}\n"
                           "  - residual: {out: 16, kernel: 3}\n"
                           "  - batchnorm: {}\n"
                           "embedding: {dim: 16, batchnorm: true}\n"
                           "loss:\n"
                           "  pairs: [1-to-3, {pair: 3-to-5, weight: 0.5}]\n");
}

/* Wide enough for every kernel of a convolution but OpenBLAS, which takes 2 million weights. */
#define EVERY_KERNEL                                                                                         \
    "name: a\n"                                                                                              \
    "input: {size: 18}\n"                                                                                    \
    "batch: 32\n"                                                                                            \
    "encoder:\n"                                                                                             \
    "  - conv: {out: 64, kernel: 3}\n"                                                                       \
    "  - residual: {out: 64, kernel: 1}\n"                                                                   \
    "  - residual: {out: 128, kernel: 4, stride: 2}\n"                                                       \
    "  - residual: {out: 128, kernel: 3}\n"                                                                  \
    "  - residual: {out: 128, kernel: 5}\n"                                                                  \
    "embedding: {dim: 128}\n"                                                                                \
    "loss: {pairs: [1-to-5]}\n"

static void kernels_print_as_expected(void **state)
{
    (void)state;
    Lowered l;
    lowered_begin(&l, EVERY_KERNEL, PASS_PLAN);
    expect_printed("kernels", &l);
    lowered_begin_tiles(&l, EVERY_KERNEL, PASS_PLAN);
    expect_printed("kernels-tiles", &l);
}

/* ---- what is dropped ---- */

#define ENCODER_32                                                                                           \
    "name: a\ninput: {size: 32}\nbatch: 4\n"                                                                 \
    "encoder:\n"                                                                                             \
    "  - conv: {out: 8, kernel: 3}\n"                                                                        \
    "  - residual: {out: 8, kernel: 1}\n"                                                                    \
    "  - block: {out: 16, kernel: 4, stride: 2, depth: 3}\n"                                                 \
    "  - block: {out: 32, kernel: 2, stride: 2, depth: 3}\n"                                                 \
    "  - block: {out: 32, kernel: 3, depth: 3}\n"                                                            \
    "  - block: {out: 32, kernel: 3, depth: 3}\n"                                                            \
    "  - residual: {out: 40, kernel: 3}\n"                                                                   \
    "  - batchnorm: {}\n"

/* Whether any operation, value or parameter belongs to a part of the net. */
static bool has_part(const Lowered *l, const char *label, const char *identifier)
{
    for (int i = 0; i < l->step->ops; i++)
        if (!strncmp(l->step->op[i]->label, label, strlen(label)))
            return true;
    for (int i = 0; i < l->step->values; i++)
        if (strstr(l->step->value[i]->name, identifier))
            return true;
    for (int i = 0; i < l->params->count; i++)
        if (!strncmp(l->params->param[i]->name, label, strlen(label)))
            return true;
    return false;
}

static void untrained_heads_are_not_there(void **state)
{
    (void)state;
    Lowered l;
    lowered_begin(&l, ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [1-to-7]}\n", PASS_SIMPLIFY);
    assert_true(has_part(&l, "embed.7", "embed_7"));
    assert_true(has_part(&l, "encoder.7", "encoder_7"));
    assert_false(has_part(&l, "embed.5", "embed_5"));
    assert_false(has_part(&l, "embed.1", "embed_1"));
    lowered_end(&l);
}

static void layers_above_the_trained_scales_are_not_there(void **state)
{
    (void)state;
    Lowered l;
    lowered_begin(&l, ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [7-to-7]}\n", PASS_SIMPLIFY);
    assert_true(has_part(&l, "encoder.3", "encoder_3"));
    for (char layer = '4'; layer <= '7'; layer++) {
        const char label[] = {'e', 'n', 'c', 'o', 'd', 'e', 'r', '.', layer, 0};
        const char identifier[] = {'e', 'n', 'c', 'o', 'd', 'e', 'r', '_', layer, 0};
        assert_false(has_part(&l, label, identifier));
    }
    lowered_end(&l);
}

static int count_ops(const Graph *g, OpKind kind)
{
    int count = 0;
    for (int i = 0; i < g->ops; i++)
        count += g->op[i]->kind == kind;
    return count;
}

static void every_trained_tensor_is_taken_once(void **state)
{
    (void)state;
    Lowered l;
    lowered_begin(&l, ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [1-to-5, 1-to-7, 5-to-5]}\n",
                  PASS_SIMPLIFY);
    int trained = 0;
    for (int i = 0; i < l.params->count; i++)
        trained += l.params->param[i]->trained;
    assert_int_equal(count_ops(l.step, OP_TAKE), trained);
    for (int i = 0; i < l.step->ops; i++)
        for (int j = 0; j < i && l.step->op[i]->kind == OP_TAKE; j++)
            assert_false(l.step->op[j]->kind == OP_TAKE &&
                         l.step->op[j]->in[TAKE_PARAM] == l.step->op[i]->in[TAKE_PARAM]);
    lowered_end(&l);
}

/* Once taken, a parameter may change: nothing reads it any more, not even to compute an activation again. */
static void nothing_reads_a_tensor_that_was_taken(void **state)
{
    (void)state;
    Lowered l;
    int again = 0;
    lowered_begin(&l, ENCODER_32 "embedding: {dim: 32}\nloss: {pairs: [1-to-5, 1-to-7, 5-to-5]}\n",
                  PASS_RECOMPUTE);
    for (int i = 0; i < l.step->ops; i++) {
        again += l.step->op[i]->again;
        for (int k = i + 1; k < l.step->ops && l.step->op[i]->kind == OP_TAKE; k++)
            for (int j = 0; j < l.step->op[k]->inputs; j++)
                assert_ptr_not_equal(l.step->op[k]->in[j], l.step->op[i]->in[TAKE_PARAM]);
    }
    assert_true(again > 0);
    lowered_end(&l);
}

/* Every mask that a product can apply is applied by it. */
static void masks_are_folded(void **state)
{
    (void)state;
    Lowered l;
    const char *spec = ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [1-to-5, 1-to-7, 5-to-5]}\n";
    lowered_begin(&l, spec, PASS_DIFFERENTIATE);
    assert_true(count_ops(l.step, OP_RELU_GRAD) > 10);
    lowered_end(&l);
    lowered_begin(&l, spec, PASS_SIMPLIFY);
    assert_int_equal(count_ops(l.step, OP_RELU_GRAD), 0);
    lowered_end(&l);
}

/* ---- gradients that are nothing but rounding ---- */

static int count_kind(const Lowered *l, OpKind kind)
{
    int count = 0;
    for (int i = 0; i < l->step->ops; i++)
        count += l->step->op[i]->kind == kind;
    return count;
}

/* The heads' shortcuts have biases, and a batchnorm behind their sums takes every mean away; the first
 * layer's bias has a ReLU behind it. */
static void a_bias_before_a_batchnorm_has_no_gradient(void **state)
{
    (void)state;
    Lowered l;
    lowered_begin(&l, ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [1-to-5, 5-to-7]}\n", PASS_PLAN);
    assert_int_equal(count_kind(&l, OP_ZERO), 2);
    assert_int_equal(count_kind(&l, OP_BIAS_GRAD), 1);
    lowered_end(&l);
}

/* ---- which products skip zeros ---- */

static bool is_product(const Op *op)
{
    return op->kind == OP_CONV || op->kind == OP_CONV_GRAD_X || op->kind == OP_CONV_GRAD_W;
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && !strcmp(text + strlen(text) - strlen(end), end);
}

/* Of specs/amdim.yaml. A residual's hidden layer is behind a ReLU, and its gradient behind the ReLU's mask,
 * which says what of it is made; its sum is behind nothing. The first residual's x is a convolution's with a
 * ReLU. The last one has a pixel an image, too few. */
static const Value *skipping_input(const Op *op)
{
    const bool gradient_of_x = op->kind == OP_CONV_GRAD_X;
    if (op->plan.outputs || !strncmp(op->label, "encoder.6.", strlen("encoder.6.")))
        return NULL;
    if (ends_with(op->label, ".conv2"))
        return op->in[gradient_of_x ? CONV_GRAD_X_MASK : CONV_X];
    if (!strcmp(op->label, "encoder.1.conv1"))
        return op->in[CONV_X];
    if (ends_with(op->label, ".conv1") && op->kind != OP_CONV)
        return op->in[gradient_of_x ? CONV_GRAD_X_DY : CONV_GRAD_W_DY];
    return NULL;
}

static void expect_sparse(const Op *op, const Value *want)
{
    if (op->plan.zeros != want)
        fail_msg("%s %s goes by %s instead of %s", op_name(op->kind), op->label,
                 op->plan.zeros ? op->plan.zeros->name : "all", want ? want->name : "all");
}

static void products_behind_a_relu_skip_zeros(void **state)
{
    (void)state;
    Lowered l;
    int forward = 0, by_x = 0, by_dy = 0, by_mask = 0;
    lowered_begin_file(&l, "specs/amdim.yaml", PASS_PLAN);
    for (int i = 0; i < l.step->ops; i++) {
        const Op *op = l.step->op[i];
        expect_sparse(op, is_product(op) ? skipping_input(op) : NULL);
        forward += op->plan.zeros && op->kind == OP_CONV;
        by_x += op->plan.zeros && op->kind == OP_CONV_GRAD_W && op->plan.zeros == op->in[CONV_GRAD_W_X];
        by_mask += op->plan.kernel && !strcmp(op->plan.kernel->name, "masked");
        by_dy += op->plan.zeros && op->kind != OP_CONV &&
                 strstr(op->plan.zeros->name, "d_") == op->plan.zeros->name;
        if (op->plan.zeros && strcmp(op->label, "encoder.1.conv1"))
            assert_non_null(strstr(op->plan.zeros->name, "_hidden"));
    }
    assert_true(forward > 10 && by_x > 10 && by_dy > 10 && by_mask > 10);
    lowered_end(&l);
}

static void products_tap_by_tap_skip_nothing(void **state)
{
    (void)state;
    static const char *const ways[] = {"direct", "winograd", "openblas"};
    for (size_t way = 0; way < COUNT(ways); way++) {
        Lowered l;
        lowered_begin_file(&l, "specs/amdim.yaml", PASS_RECOMPUTE);
        select_kernels(l.step, &(Choices){.forced = ways[way]});
        for (int i = 0; i < l.step->ops; i++)
            expect_sparse(l.step->op[i], NULL);
        lowered_end(&l);
    }
}

/* How many products, weights' gradients aside, that kernel makes of a spec's. */
static int made_by(const char *text, const char *kernel)
{
    Lowered l;
    int count = 0;
    lowered_begin(&l, text, PASS_PLAN);
    for (int i = 0; i < l.step->ops; i++) {
        const Op *op = l.step->op[i];
        count +=
            (op->kind == OP_CONV || op->kind == OP_CONV_GRAD_X) && !strcmp(op->plan.kernel->name, kernel);
    }
    lowered_end(&l);
    return count;
}

#define WIDE(channels, target)                                                                               \
    "name: a\ninput: {size: 8}\nbatch: 16\n"                                                                 \
    "encoder:\n"                                                                                             \
    "  - conv: {out: " channels ", kernel: 3, activation: none}\n"                                           \
    "  - conv: {out: " channels ", kernel: 1, activation: none}\n"                                           \
    "  - conv: {out: 256, kernel: 6, activation: none}\n"                                                    \
    "embedding: {dim: 256}\nloss: {pairs: [1-to-6]}\ntarget: {march: x86-64-v3, blas: " target "}\n"

/* The layer of 32 rows, the wide one with many, and the two products of the head that read it; OpenBLAS takes
 * what is largest. */
static void long_and_few_rows_come_in_blocks(void **state)
{
    (void)state;
    assert_int_equal(made_by(WIDE("512", "openblas"), "blocked"), 2);
    assert_int_equal(made_by(WIDE("1024", "openblas"), "blocked"), 2 + 2 + 2);
    assert_int_equal(made_by(WIDE("2048", "none"), "blocked"), 2 + 2 + 2);
    assert_int_equal(made_by(WIDE("2048", "openblas"), "openblas"), 2);
}

#define RESIDUAL_16(batch, out, batchnorm)                                                                   \
    "name: a\ninput: {size: 16}\nbatch: " batch "\n"                                                         \
    "encoder:\n"                                                                                             \
    "  - conv: {out: " out ", kernel: 3}\n"                                                                  \
    "  - block: {out: " out ", kernel: 2, stride: 2, depth: 2, batchnorm: " batchnorm "}\n"                  \
    "  - residual: {out: 80, kernel: 7}\n"                                                                   \
    "embedding: {dim: 24}\nloss: {pairs: [1-to-7]}\n"

/* How many products of the spec's block skip zeros. */
static int count_sparse(const char *spec, OpKind kind)
{
    Lowered l;
    int count = 0;
    lowered_begin(&l, spec, PASS_PLAN);
    for (int i = 0; i < l.step->ops; i++) {
        const Op *op = l.step->op[i];
        count += op->kind == kind && op->plan.zeros && !op->again &&
                 !strncmp(op->label, "encoder.1.", strlen("encoder.1."));
    }
    lowered_end(&l);
    return count;
}

/* A gradient that came through a batchnorm has no zeros, unlike what goes forward. The mask of the ReLU
 * behind the batchnorm is the product's that makes its gradient. */
static void gradients_behind_a_batchnorm_have_no_zeros(void **state)
{
    (void)state;
    assert_int_equal(count_sparse(RESIDUAL_16("8", "64", "false"), OP_CONV_GRAD_X), 4);
    assert_int_equal(count_sparse(RESIDUAL_16("8", "64", "false"), OP_CONV_GRAD_W), 4);
    assert_int_equal(count_sparse(RESIDUAL_16("8", "64", "true"), OP_CONV_GRAD_X), 2);
    assert_int_equal(count_sparse(RESIDUAL_16("8", "64", "true"), OP_CONV_GRAD_W), 2);
    assert_int_equal(count_sparse(RESIDUAL_16("8", "64", "true"), OP_CONV), 2);
}

/* 8 images in two views are 784 pixels of 7 x 7, 5 are 490. */
static void odd_channels_and_few_pixels_skip_nothing(void **state)
{
    (void)state;
    static const OpKind kinds[] = {OP_CONV, OP_CONV_GRAD_X, OP_CONV_GRAD_W};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        assert_true(count_sparse(RESIDUAL_16("8", "64", "false"), kinds[i]) > 0);
        assert_int_equal(count_sparse(RESIDUAL_16("8", "72", "false"), kinds[i]), 0);
        assert_int_equal(count_sparse(RESIDUAL_16("5", "64", "false"), kinds[i]), 0);
    }
}

/* ---- all specs ---- */

static void every_spec_passes_every_check(void **state)
{
    (void)state;
    glob_t specs;
    assert_int_equal(glob("specs/*.yaml", 0, NULL, &specs), 0);
    for (size_t i = 0; i < specs.gl_pathc; i++) {
        Lowered l;
        lowered_begin_file(&l, specs.gl_pathv[i], PASS_PLAN);
        int features;
        Feature *feature = ARENA_ARRAY(l.arena, Feature, 2 * l.net->scales + 1);
        lowered_run(lower_encoders(l.arena, l.net, &l.pool, l.net->images, feature, &features), false,
                    PASS_PLAN);
        lowered_end(&l);
    }
    globfree(&specs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_dim_prints_as_expected),
        cmocka_unit_test(amdim_prints_as_expected),
        cmocka_unit_test(kernels_print_as_expected),
        cmocka_unit_test(untrained_heads_are_not_there),
        cmocka_unit_test(layers_above_the_trained_scales_are_not_there),
        cmocka_unit_test(every_trained_tensor_is_taken_once),
        cmocka_unit_test(nothing_reads_a_tensor_that_was_taken),
        cmocka_unit_test(masks_are_folded),
        cmocka_unit_test(a_bias_before_a_batchnorm_has_no_gradient),
        cmocka_unit_test(products_behind_a_relu_skip_zeros),
        cmocka_unit_test(products_tap_by_tap_skip_nothing),
        cmocka_unit_test(long_and_few_rows_come_in_blocks),
        cmocka_unit_test(gradients_behind_a_batchnorm_have_no_zeros),
        cmocka_unit_test(odd_channels_and_few_pixels_skip_nothing),
        cmocka_unit_test(every_spec_passes_every_check),
    };
    return cmocka_run_group_tests_name("ir", tests, NULL, NULL);
}
