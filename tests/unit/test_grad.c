/* test_grad.c: the backward list's gradients against central differences of the forward list's objective,
 * both in double.
 *
 * Of every trained tensor up to SAMPLES elements are moved by STEP either way. The difference errs by STEP^2
 * / 6 times a third derivative, and by some 1e-16 / STEP of the objective's rounding: ABSOLUTE covers the
 * latter and the gradients that are zero in exact arithmetic, RELATIVE the former. Between the two points the
 * objective must be smooth: an element whose move makes a ReLU change its mind is left out, which is rare. */
#include "lowered.h"
#include "noise.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#define STEP     1e-5
#define RELATIVE 1e-6
#define ABSOLUTE 1e-9
enum { SAMPLES = 24 };

typedef struct {
    double difference, size; /* squares, over the samples */
    int samples, left_out;
} Agreement;

static double moved(Interpreter *r, double *element, double by)
{
    const double before = *element;
    *element += by;
    interpret_forward(r);
    *element = before;
    return r->loss;
}

static void check_element(Interpreter *r, double *element, double gradient, uint64_t pattern, Agreement *a)
{
    const double above = moved(r, element, STEP);
    const bool smooth = r->relu_pattern == pattern;
    const double below = moved(r, element, -STEP);
    if (!smooth || r->relu_pattern != pattern) {
        a->left_out++;
        return;
    }
    a->samples++;
    a->difference += pow((above - below) / (2 * STEP) - gradient, 2);
    a->size += gradient * gradient;
}

static Agreement check_param(Interpreter *r, const Value *v, const double *gradient, uint64_t *state)
{
    Agreement a = {0};
    const int count = (int)v->param->count;
    interpret_forward(r);
    const uint64_t pattern = r->relu_pattern;
    for (int k = 0; k < (count < SAMPLES ? count : SAMPLES); k++) {
        const int at = count <= SAMPLES ? k : noise_below(state, count);
        check_element(r, r->value[v->id] + at, gradient[at], pattern, &a);
    }
    return a;
}

/* A bias that a batchnorm follows at once: the mean takes it away again. */
static bool zero_gradient(const Param *p)
{
    return strstr(p->name, "shortcut.bias") != NULL;
}

static void expect_agreement(const Param *p, Agreement a)
{
    const double error = sqrt(a.difference), size = sqrt(a.size);
    if (a.left_out > 2 + a.samples / 4)
        fail_msg("%s: %d of the samples left out", p->name, a.left_out);
    if (!(error <= RELATIVE * size + ABSOLUTE))
        fail_msg("%s: the gradient is off by %.2e of %.2e", p->name, error, size);
    if (!zero_gradient(p) && !(size > 100 * ABSOLUTE))
        fail_msg("%s: no gradient worth the name, %.2e of %d", p->name, size, a.samples);
}

/* Nobody wants the views' gradient: none is made, but that a first batchnorm's comes with its parameters',
 * unread. */
static void expect_no_gradient_of_views(const Graph *g)
{
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        for (int j = 0; j < op->inputs; j++)
            assert_false(op->in[j] && !strcmp(op->in[j]->name, "d_x"));
        assert_false(op->kind != OP_BATCHNORM_GRAD && op->out[0] && !strcmp(op->out[0]->name, "d_x"));
    }
}

static void check_spec(const char *encoder, const char *rest, Pass last)
{
    Lowered l;
    char text[2048];
    snprintf(text, sizeof text, "name: a\nencoder:\n%s%s", encoder, rest);
    lowered_begin(&l, text, last);
    expect_no_gradient_of_views(l.step);
    Interpreter *r = interpreter_new(l.step);
    noise_fill(r, 2);
    interpret(r);
    uint64_t state = 5;
    int trained = 0;
    for (int i = 0; i < l.step->values; i++) {
        const Param *p = l.step->value[i]->param;
        if (!p)
            continue;
        trained += p->trained;
        assert_int_equal(p->trained, r->gradient[i] != NULL);
        if (p->trained)
            expect_agreement(p, check_param(r, l.step->value[i], r->gradient[i], &state));
    }
    assert_true(trained > 0);
    lowered_end(&l);
}

/* As differentiated, and after what is folded and computed again. */
static void check(const char *encoder, const char *rest)
{
    check_spec(encoder, rest, PASS_DIFFERENTIATE);
    check_spec(encoder, rest, PASS_RECOMPUTE);
}

#define SMALL "input: {size: 6, channels: 2}\nbatch: 3\n"
#define ONE   "input: {size: 6, channels: 2}\nviews: 1\nbatch: 4\n"

static void convolutions(void **state)
{
    (void)state;
    check("  - conv: {out: 3, kernel: 2}\n  - conv: {out: 4, kernel: 5}\n",
          SMALL "embedding: {dim: 5}\nloss: {pairs: [1-to-5]}\n");
    check(
        "  - conv: {out: 3, kernel: 3, stride: 2, pad: 1}\n  - conv: {out: 4, kernel: 3, activation: none}\n",
        SMALL "embedding: {dim: 4}\nloss: {pairs: [1-to-3]}\n");
    check("  - conv: {out: 3, kernel: 2}\n"
          "  - conv: {out: 3, kernel: 4, stride: 3, pad: 3, pad_mode: reflect}\n  - conv: {out: 4, kernel: "
          "3}\n",
          SMALL "embedding: {dim: 5}\nloss: {pairs: [1-to-3]}\n");
}

static void convolutions_with_batchnorm(void **state)
{
    (void)state;
    check("  - conv: {out: 3, kernel: 2, batchnorm: true}\n"
          "  - conv: {out: 4, kernel: 3, stride: 2, pad: 1, batchnorm: true, activation: none}\n"
          "  - conv: {out: 4, kernel: 3, batchnorm: true}\n",
          SMALL "embedding: {dim: 5}\nloss: {pairs: [1-to-3]}\n");
}

static void residuals(void **state)
{
    (void)state;
    check("  - conv: {out: 3, kernel: 1}\n  - residual: {out: 3, kernel: 1}\n  - residual: {out: 5, kernel: "
          "2}\n"
          "  - residual: {out: 5, kernel: 3, stride: 2, pad: 1}\n  - residual: {out: 6, kernel: 3}\n",
          SMALL "embedding: {dim: 4}\nloss: {pairs: [1-to-3]}\n");
    check("  - residual: {out: 4, kernel: 3, stride: 2, pad: 1}\n  - residual: {out: 4, kernel: 3}\n",
          SMALL "embedding: {dim: 3}\nloss: {pairs: [1-to-3]}\n");
    check("  - conv: {out: 3, kernel: 1}\n  - residual: {out: 5, kernel: 2, stride: 2, batchnorm: true}\n"
          "  - residual: {out: 5, kernel: 3, batchnorm: true}\n",
          SMALL "embedding: {dim: 3}\nloss: {pairs: [1-to-3]}\n");
}

static void blocks(void **state)
{
    (void)state;
    check("  - conv: {out: 3, kernel: 1}\n  - block: {out: 4, kernel: 2, stride: 2, depth: 3}\n"
          "  - block: {out: 6, kernel: 3, depth: 2, batchnorm: true}\n",
          SMALL "embedding: {dim: 3}\nloss: {pairs: [1-to-3]}\n");
}

/* Windows that overlap, that hang over, that leave pixels out; before anything trained; sums of gradients. */
static void pools(void **state)
{
    (void)state;
    check("  - conv: {out: 3, kernel: 1}\n  - pool: {kernel: 3, stride: 1, kind: max}\n"
          "  - pool: {kernel: 2, stride: 1}\n  - residual: {out: 5, kernel: 3}\n",
          SMALL "embedding: {dim: 4}\nloss: {pairs: [1-to-3]}\n");
    check("  - pool: {kernel: 3, stride: 2, pad: 1, kind: max}\n  - conv: {out: 3, kernel: 1, activation: "
          "none}\n"
          "  - pool: {kernel: 3, kind: max}\n",
          SMALL "embedding: {dim: 3}\nloss: {pairs: [1-to-3]}\n");
    check("  - conv: {out: 4, kernel: 2, activation: none}\n  - pool: {kernel: 3, stride: 2, pad: 1}\n"
          "  - pool: {kernel: 1, kind: max}\n  - pool: {kernel: 1}\n  - residual: {out: 5, kernel: 3}\n",
          SMALL "embedding: {dim: 4}\nloss: {pairs: [1-to-3, 3-to-5]}\n");
}

static void batchnorm_layers(void **state)
{
    (void)state;
    check("  - batchnorm: {}\n  - conv: {out: 3, kernel: 4}\n  - batchnorm: {}\n  - residual: {out: 4, "
          "kernel: 3}\n"
          "  - batchnorm: {}\n",
          SMALL "embedding: {dim: 4}\nloss: {pairs: [1-to-3]}\n");
}

static void heads(void **state)
{
    (void)state;
    const char *encoder = "  - conv: {out: 3, kernel: 4}\n  - residual: {out: 5, kernel: 3}\n";
    check(encoder, SMALL "embedding: {dim: 4, batchnorm: true}\nloss: {pairs: [1-to-3]}\n");
    check(encoder, SMALL "embedding: {dim: 5}\nloss: {pairs: [1-to-3]}\n");
    check(encoder, SMALL "embedding: {dim: 7}\nloss: {pairs: [1-to-1]}\n");
}

static void one_view(void **state)
{
    (void)state;
    check("  - conv: {out: 3, kernel: 4}\n  - residual: {out: 5, kernel: 3, batchnorm: true}\n",
          ONE "embedding: {dim: 4}\nloss: {pairs: [1-to-3, 3-to-1, 3-to-3]}\n");
}

static void pairs_that_share_scales(void **state)
{
    (void)state;
    const char *encoder = "  - conv: {out: 3, kernel: 2}\n  - residual: {out: 4, kernel: 3}\n"
                          "  - residual: {out: 5, kernel: 3}\n";
    check(encoder,
          SMALL "embedding: {dim: 4}\nloss: {pairs: [1-to-5, 1-to-3, 3-to-5, 5-to-3, 3-to-3, 5-to-1]}\n");
    check(encoder, SMALL "embedding: {dim: 5}\nloss: {pairs: [1-to-5, 1-to-3, 1-to-1, 3-to-1]}\n");
    check(encoder, ONE "embedding: {dim: 5}\nloss: {pairs: [1-to-5, 5-to-5, 3-to-1]}\n");
}

static void weights_clip_and_penalty(void **state)
{
    (void)state;
    const char *encoder = "  - conv: {out: 3, kernel: 4}\n  - residual: {out: 5, kernel: 3}\n";
    check(encoder, SMALL "embedding: {dim: 4}\nloss: {pairs: [{pair: 1-to-3, weight: 0.25}], clip: 0}\n");
    check(encoder,
          SMALL "embedding: {dim: 4}\nloss: {pairs: [{pair: 1-to-3, weight: 3}, 3-to-1], clip: 1.5}\n");
    check(encoder, SMALL "embedding: {dim: 4}\nloss: {pairs: [1-to-3], penalty: 0}\n");
    check(encoder,
          ONE "embedding: {dim: 4}\nloss: {pairs: [{pair: 3-to-1, weight: 0.5}, 1-to-3], penalty: 2}\n");
}

/* Of a head's embedding and of f_1 itself; hidden layers of another width; pairs that share the components; a
 * pair whose target is what its antecedent is made of; posteriors that are nearly even and nearly certain. */
static void mixtures(void **state)
{
    (void)state;
    const char *encoder = "  - conv: {out: 3, kernel: 2}\n  - residual: {out: 4, kernel: 3}\n"
                          "  - residual: {out: 5, kernel: 3}\n";
    check(encoder, SMALL "embedding: {dim: 4, mixture: {components: 2}}\nloss: {pairs: [1-to-3]}\n");
    check(encoder, SMALL "embedding: {dim: 5, mixture: {components: 3, hidden: 7, temperature: 0.2}}\n"
                         "loss: {pairs: [1-to-3, 3-to-3, {pair: 1-to-5, weight: 0.5}]}\n");
    check(encoder, SMALL "embedding: {dim: 4, mixture: {components: 2, hidden: 3, temperature: 5}}\n"
                         "loss: {pairs: [1-to-1, 3-to-1, 1-to-5], clip: 1.5, penalty: 2}\n");
    check(encoder, ONE "embedding: {dim: 5, mixture: {components: 4, hidden: 9, temperature: 2}}\n"
                       "loss: {pairs: [1-to-5, 5-to-1], clip: 0}\n");
}

static void layers_above_the_trained_scales(void **state)
{
    (void)state;
    check("  - conv: {out: 3, kernel: 2}\n  - residual: {out: 4, kernel: 3}\n  - conv: {out: 5, kernel: 3, "
          "pad: 1}\n"
          "  - residual: {out: 6, kernel: 3}\n",
          SMALL "embedding: {dim: 4}\nloss: {pairs: [3-to-5]}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolutions_with_batchnorm),
        cmocka_unit_test(residuals),
        cmocka_unit_test(blocks),
        cmocka_unit_test(pools),
        cmocka_unit_test(batchnorm_layers),
        cmocka_unit_test(heads),
        cmocka_unit_test(one_view),
        cmocka_unit_test(pairs_that_share_scales),
        cmocka_unit_test(weights_clip_and_penalty),
        cmocka_unit_test(mixtures),
        cmocka_unit_test(layers_above_the_trained_scales),
    };
    return cmocka_run_group_tests_name("grad", tests, NULL, NULL);
}
