/* test_program.c: compiled programs, end to end: for small specs with odd shapes, what `replay` writes agrees
 * with the interpreter in double as docs/program.md counts errors, and is the same at any number of threads.
 */
#include "samples.h"
#include "shell.h"
#include "trial.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* `way`: none and openblas are the spec's blas, every convolution through OpenBLAS with the latter, as none
 * of these small ones would go by itself; winograd likewise; vectors takes what is fastest by vectors.
 *
 * Programs are compiled with -O3, as people's are. Those that are quick, with -O1, have shapes of their own,
 * but every kernel of theirs is in one of the others. */
typedef struct {
    const char *name, *way, *text; /* the text without its name */
    enum { THOROUGH, QUICK } optimized;
} Case;

static const Case cases[] = {
    {"views-one-gray", "none",
     "input: {size: 9, channels: 1}\nviews: 1\nbatch: 2\n"
     "encoder:\n"
     "  - conv: {out: 5, kernel: 3}\n"
     "  - residual: {out: 7, kernel: 3, stride: 2}\n"
     "  - residual: {out: 11, kernel: 3}\n"
     "embedding: {dim: 6}\nloss: {pairs: [1-to-3, 3-to-7], clip: 5}\n",
     QUICK},
    {"reflect-and-stride", "none",
     "input: {size: 13}\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 4, kernel: 5, stride: 2, pad: 2, pad_mode: reflect}\n"
     "  - residual: {out: 9, kernel: 3, stride: 3, pad: 1}\n"
     "  - conv: {out: 17, kernel: 3, activation: none}\n"
     "embedding: {dim: 17}\nloss: {pairs: [1-to-3, {pair: 3-to-7, weight: 0.3}, 7-to-1]}\n",
     THOROUGH},
    {"batchnorm-everywhere", "none",
     "input: {size: 12}\nbatch: 5\n"
     "encoder:\n"
     "  - batchnorm: {}\n"
     "  - conv: {out: 6, kernel: 3, batchnorm: true}\n"
     "  - block: {out: 13, kernel: 4, stride: 2, depth: 2, batchnorm: true}\n"
     "  - residual: {out: 20, kernel: 4, batchnorm: true}\n"
     "  - batchnorm: {}\n"
     "embedding: {dim: 8, batchnorm: true}\nloss: {pairs: [1-to-4, 4-to-4], penalty: 0.5}\n",
     THOROUGH},
    {"pools", "none",
     "input: {size: 22}\nbatch: 4\n"
     "encoder:\n"
     "  - pool: {kernel: 2, stride: 1, kind: max}\n"
     "  - conv: {out: 70, kernel: 3, pad: 1}\n"
     "  - pool: {kernel: 3, stride: 2, pad: 1, kind: max}\n"
     "  - residual: {out: 75, kernel: 3}\n"
     "  - pool: {kernel: 3, stride: 2, pad: 1}\n"
     "  - conv: {out: 20, kernel: 3, batchnorm: true}\n"
     "  - pool: {kernel: 3}\n"
     "embedding: {dim: 20}\nloss: {pairs: [1-to-3, 3-to-5, 5-to-11], clip: 8}\n",
     THOROUGH},
    {"no-clip-weights", "none",
     "input: {size: 16, channels: 2}\nbatch: 4\n"
     "encoder:\n"
     "  - conv: {out: 3, kernel: 4, stride: 2, pad: 1}\n"
     "  - block: {out: 19, kernel: 2, stride: 2, depth: 3}\n"
     "  - residual: {out: 19, kernel: 4}\n"
     "embedding: {dim: 19}\n"
     "loss: {pairs: [{pair: 1-to-4, weight: 2.5}, {pair: 4-to-8, weight: 0.125}, 8-to-4, 1-to-1], clip: "
     "0}\n",
     THOROUGH},
    {"one-channel", "none",
     "input: {size: 10, channels: 1}\nbatch: 2\n"
     "encoder:\n"
     "  - conv: {out: 1, kernel: 3}\n"
     "  - residual: {out: 3, kernel: 5}\n"
     "  - residual: {out: 3, kernel: 4}\n"
     "embedding: {dim: 3}\nloss: {pairs: [1-to-4, 4-to-4], penalty: 0}\n",
     QUICK},
    {"dropped-layers", "none",
     "input: {size: 14}\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 5, kernel: 3, batchnorm: true, activation: none}\n"
     "  - residual: {out: 8, kernel: 3, stride: 2, pad: 1}\n"
     "  - conv: {out: 6, kernel: 3, pad: 1}\n"
     "  - block: {out: 33, kernel: 6, depth: 2}\n"
     "embedding: {dim: 10}\nloss: {pairs: [6-to-12, 12-to-6]}\n",
     THOROUGH},
    {"many-to-one", "none",
     "input: {size: 11}\nviews: 1\nbatch: 6\n"
     "encoder:\n"
     "  - block: {out: 4, kernel: 3, stride: 2, pad: 1, depth: 2}\n"
     "  - batchnorm: {}\n"
     "  - block: {out: 12, kernel: 2, stride: 2, depth: 1, batchnorm: true}\n"
     "  - residual: {out: 15, kernel: 3}\n"
     "embedding: {dim: 34, batchnorm: true}\nloss: {pairs: [3-to-1, 6-to-1, 6-to-3], clip: 20}\n",
     QUICK},
    {"strides-that-skip", "none",
     "input: {size: 20}\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 16, kernel: 1, stride: 3}\n"
     "  - residual: {out: 18, kernel: 2, stride: 3}\n"
     "  - conv: {out: 32, kernel: 2, pad: 1, pad_mode: reflect}\n"
     "  - residual: {out: 35, kernel: 3, stride: 5}\n"
     "embedding: {dim: 35}\nloss: {pairs: [1-to-3, 3-to-3], clip: 10}\n",
     THOROUGH},
    {"several-panels", "none",
     "input: {size: 9}\nbatch: 17\n"
     "encoder:\n"
     "  - conv: {out: 40, kernel: 3}\n"
     "  - residual: {out: 65, kernel: 3, stride: 2}\n"
     "  - residual: {out: 70, kernel: 3}\n"
     "embedding: {dim: 50}\nloss: {pairs: [1-to-3, {pair: 7-to-3, weight: 0.5}], penalty: 0.01}\n",
     QUICK},
    {"mixtures", "none",
     "input: {size: 12}\nbatch: 9\n"
     "encoder:\n"
     "  - conv: {out: 6, kernel: 4, stride: 2}\n"
     "  - residual: {out: 9, kernel: 3}\n"
     "  - residual: {out: 37, kernel: 3}\n"
     "embedding: {dim: 37, mixture: {components: 5, hidden: 50, temperature: 0.4}}\n"
     "loss: {pairs: [1-to-3, {pair: 1-to-5, weight: 0.3}, 3-to-1, 1-to-1], clip: 6}\n",
     THOROUGH},
    {"mixture-in-one-view", "none",
     "input: {size: 9, channels: 1}\nviews: 1\nbatch: 4\n"
     "encoder:\n"
     "  - conv: {out: 5, kernel: 3}\n"
     "  - residual: {out: 7, kernel: 3, stride: 2}\n"
     "  - residual: {out: 11, kernel: 3}\n"
     "embedding: {dim: 6, mixture: {components: 2, hidden: 3, temperature: 3}}\n"
     "loss: {pairs: [1-to-3, 3-to-7], clip: 0, penalty: 1}\n",
     QUICK},
    {"mixture-of-a-small-temperature", "none",
     "input: {size: 5}\nbatch: 4\n"
     "encoder:\n"
     "  - conv: {out: 7, kernel: 3}\n"
     "  - residual: {out: 11, kernel: 3}\n"
     "embedding: {dim: 6, mixture: {components: 4, hidden: 3, temperature: 1e-15}}\n"
     "loss: {pairs: [1-to-3]}\n",
     QUICK},
    {"blas-products", "openblas",
     "input: {size: 6, channels: 5}\nbatch: 4\n"
     "encoder:\n"
     "  - conv: {out: 8, kernel: 3}\n"
     "  - residual: {out: 512, kernel: 3, stride: 1}\n"
     "  - residual: {out: 513, kernel: 1}\n"
     "  - residual: {out: 520, kernel: 2, batchnorm: true}\n"
     "embedding: {dim: 515}\nloss: {pairs: [1-to-2]}\n",
     QUICK},
    {"blas-heads", "openblas",
     "input: {size: 8}\nviews: 1\nbatch: 3\n"
     "encoder:\n"
     "  - conv: {out: 9, kernel: 5}\n"
     "  - conv: {out: 512, kernel: 3, stride: 1, activation: none}\n"
     "  - residual: {out: 512, kernel: 2}\n"
     "embedding: {dim: 512, batchnorm: true}\nloss: {pairs: [1-to-2, 2-to-2], clip: 0}\n",
     THOROUGH},
    {"filtered", "winograd",
     "input: {size: 24}\nbatch: 5\n"
     "encoder:\n"
     "  - conv: {out: 16, kernel: 3}\n"
     "  - block: {out: 48, kernel: 4, stride: 2, depth: 2}\n"
     "  - conv: {out: 32, kernel: 2, pad: 1, activation: none}\n"
     "  - residual: {out: 64, kernel: 6, stride: 3, pad: 2}\n"
     "  - block: {out: 64, kernel: 3, depth: 1}\n"
     "  - residual: {out: 80, kernel: 2}\n"
     "embedding: {dim: 48}\nloss: {pairs: [1-to-2, 2-to-4, 4-to-11]}\n",
     THOROUGH},
    {"in-blocks", "blocked",
     "input: {size: 9}\nbatch: 6\n"
     "encoder:\n"
     "  - conv: {out: 32, kernel: 3}\n"
     "  - residual: {out: 64, kernel: 1, batchnorm: true}\n"
     "  - residual: {out: 96, kernel: 3, stride: 2}\n"
     "  - residual: {out: 416, kernel: 3}\n"
     "embedding: {dim: 64}\nloss: {pairs: [1-to-3, 3-to-7]}\n",
     QUICK},
};

/* Channels and pixels such that products skip zeros: forward by a convolution's result and by hidden layers;
 * gradients of x, with a mask and in patches, or only what a mask keeps; gradients of weights by x and by dy,
 * cut into 8 slices. */
static const Case skipping = {"skips-zeros", "vectors",
                              "input: {size: 13}\nbatch: 12\n"
                              "encoder:\n"
                              "  - conv: {out: 64, kernel: 2}\n"
                              "  - residual: {out: 64, kernel: 1}\n"
                              "  - block: {out: 128, kernel: 2, stride: 2, depth: 2}\n"
                              "  - conv: {out: 64, kernel: 2, pad: 1}\n"
                              "  - residual: {out: 64, kernel: 7}\n"
                              "embedding: {dim: 64}\nloss: {pairs: [1-to-6, 6-to-7]}\n",
                              THOROUGH};
static const char *const skipping_functions[] = {
    "conv_sparse_1x1_64_to_64_at_12_relu(",
    "conv_sparse_1x1_128_to_128_at_6_add(",
    "grad_x_sparse_1x1_64_to_64_at_12_add_mask(",
    "grad_x_sparse_2x2_stride2_64_to_128_at_12_add(",
    "grad_x_masked_1x1_64_to_64_at_12(",
    "grad_x_masked_1x1_128_to_128_at_6(",
    "grad_w_sparse_1x1_64_to_64_at_12_by_x(",
    "grad_w_sparse_1x1_128_to_128_at_6_by_dy(",
    "grad_w_sparse_2x2_stride2_64_to_128_at_12_by_dy(",
};

static const char *quick; /* a compiler */

static void case_begin(Trial *t, const Case *c, uint64_t seed)
{
    char text[4096];
    snprintf(text, sizeof text, "name: %s\n%s", c->name, c->text);
    trial_begin(t, c->name, text, seed);
}

static pid_t case_compile(const Trial *t, const Case *c)
{
    const bool as_it_comes = !strcmp(c->way, "none"), by_blas = !strcmp(c->way, "openblas"),
               by_vectors = !strcmp(c->way, "vectors");
    const char *blas = by_blas ? "openblas" : "none",
               *products = as_it_comes || by_vectors ? "fastest" : c->way,
               *march = as_it_comes || by_blas ? "native" : march_by_vectors();
    return trial_compile(t, (const char *const[]){"--blas", blas, "--products", products, "--march", march,
                                                  c->optimized == QUICK ? "--cc" : NULL, quick, NULL});
}

/* Two at a time, for there is a compiler to wait for in each. */
static void programs_agree_with_the_interpreter(void **state)
{
    (void)state;
    static Trial trial[COUNT(cases)];
    pid_t child[COUNT(cases)];
    for (size_t i = 0; i < COUNT(cases) + 1; i++) {
        if (i < COUNT(cases)) {
            case_begin(&trial[i], &cases[i], 100 + i);
            child[i] = case_compile(&trial[i], &cases[i]);
        }
        if (i > 0) {
            assert_true(trial_finish(&trial[i - 1], child[i - 1]));
            trial_expect_replay(&trial[i - 1], trial[i - 1].name);
            trial_end(&trial[i - 1]);
        }
    }
}

static void expect_functions(const Trial *t)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.c", t->generated, t->name);
    TensorFile code = tensor_file_read(path);
    for (size_t i = 0; i < COUNT(skipping_functions); i++)
        if (!memmem(code.bytes, code.count, skipping_functions[i], strlen(skipping_functions[i])))
            fail_msg("%s has no %s", path, skipping_functions[i]);
    free(code.bytes);
}

static void programs_that_skip_zeros_agree(void **state)
{
    (void)state;
    Trial t;
    case_begin(&t, &skipping, 200);
    assert_true(trial_finish(&t, case_compile(&t, &skipping)));
    expect_functions(&t);
    trial_expect_replay(&t, t.name);
    trial_end(&t);
}

static int set_up(void **state)
{
    (void)state;
    scratch_begin();
    quick = quick_compiler();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_agree_with_the_interpreter),
        cmocka_unit_test(programs_that_skip_zeros_agree),
    };
    return cmocka_run_group_tests_name("program", tests, set_up, scratch_tear_down);
}
