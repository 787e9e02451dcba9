/* test_tuned.c: the ways that there are to make a product, the file that chooses among them, and --tune,
 * which writes it. */
#include "kernels/kernel.h"
#include "samples.h"
#include "shell.h"
#include "trial.h"
#include "tune/tune.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Each kernel can make some product of it. */
static const char spec[] = "name: ways\ninput: {size: 13}\nbatch: 12\n"
                           "encoder:\n"
                           "  - conv: {out: 64, kernel: 2}\n"
                           "  - residual: {out: 64, kernel: 1}\n"
                           "  - block: {out: 64, kernel: 2, stride: 2, depth: 2}\n"
                           "  - conv: {out: 64, kernel: 3, pad: 1}\n"
                           "  - residual: {out: 64, kernel: 6}\n"
                           "embedding: {dim: 32}\nloss: {pairs: [1-to-6]}\n";

/* ---- ways ---- */

static Op *op_of(const Graph *g, const Choice *c)
{
    for (int i = 0; i < g->ops; i++)
        if (!strcmp(op_name(g->op[i]->kind), c->product) && !strcmp(g->op[i]->label, c->layer))
            return g->op[i];
    fail_msg("there is no %s of %s", c->product, c->layer);
    return NULL;
}

/* The text of an operation's function, as the generated C has it. */
static const char *function_of(Lowered *l, const Op *op, const char **name)
{
    const Call c = op_call(l->arena, l->net, op);
    *name = c.name;
    return arena_printf(l->arena, "%s(%s%s)", c.macro, c.name, c.constants);
}

static Products products_of_lowered(Lowered *l)
{
    lowered_begin(l, spec, PASS_PLAN);
    const Program p = {.net = l->net, .step = l->step};
    return products_of(l->arena, &p);
}

static void every_way_can_be_chosen(void **state)
{
    (void)state;
    Lowered l;
    const Products all = products_of_lowered(&l);
    assert_true(all.count > 10);
    for (int i = 0; i < all.count; i++)
        for (int way = 0; way < all.product[i].ways; way++) {
            const Choice *c = &all.product[i].way[way];
            select_kernels(l.step, &(Choices){.count = 1, .choice = c});
            const Plan *p = &op_of(l.step, c)->plan;
            if (!choice_is_made(c, op_of(l.step, c)) || (c->slices && p->slices != c->slices) ||
                (c->outputs && p->outputs != c->outputs))
                fail_msg("%s of %s is not made by %s", c->product, c->layer, way_text(l.arena, c));
        }
    lowered_end(&l);
}

static void the_first_way_is_the_compilers_own(void **state)
{
    (void)state;
    Lowered l;
    const Products all = products_of_lowered(&l);
    for (int i = 0; i < all.count; i++) {
        const Choice own = all.product[i].way[0];
        select_kernels(l.step, NULL);
        const Plan plan = op_of(l.step, &own)->plan;
        assert_string_equal(plan.kernel->name, own.kernel);
        select_kernels(l.step, &(Choices){.count = 1, .choice = &own});
        const Plan *chosen = &op_of(l.step, &own)->plan;
        assert_int_equal(chosen->parts, plan.parts);
        assert_int_equal(chosen->slices, plan.slices);
        assert_int_equal(chosen->outputs, plan.outputs);
        assert_int_equal(chosen->arena_floats, plan.arena_floats);
    }
    lowered_end(&l);
}

/* Functions that have one name are one function. */
static void ways_that_differ_have_names_that_differ(void **state)
{
    (void)state;
    Lowered l;
    const Products all = products_of_lowered(&l);
    for (int i = 0; i < all.count; i++) {
        const char *text[MOST_WAYS], *name[MOST_WAYS];
        for (int way = 0; way < all.product[i].ways; way++) {
            const Choice *c = &all.product[i].way[way];
            select_kernels(l.step, &(Choices){.count = 1, .choice = c});
            text[way] = function_of(&l, op_of(l.step, c), &name[way]);
            for (int before = 0; before < way; before++)
                if (!strcmp(name[before], name[way]) && strcmp(text[before], text[way]) != 0)
                    fail_msg("%s and %s have one name", text[before], text[way]);
        }
    }
    lowered_end(&l);
}

static bool has_way(const Products *all, const char *kernel, int slices, int outputs)
{
    for (int i = 0; i < all->count; i++)
        for (int way = 0; way < all->product[i].ways; way++) {
            const Choice *c = &all->product[i].way[way];
            if (!strcmp(c->kernel, kernel) && c->slices == slices && c->outputs == outputs)
                return true;
        }
    return false;
}

static void ways_are_kernels_and_cuts(void **state)
{
    (void)state;
    Lowered l;
    const Products all = products_of_lowered(&l);
    assert_true(has_way(&all, "winograd", 0, 2));
    assert_true(has_way(&all, "winograd", 0, 3));
    assert_true(has_way(&all, "sparse", 0, 0));
    assert_true(has_way(&all, "masked", 0, 0));
    assert_true(has_way(&all, "openblas", 0, 0));
    assert_true(has_way(&all, "direct", 1, 0));
    assert_true(has_way(&all, "direct", 8, 0));
    lowered_end(&l);
}

static void a_way_wins_by_more_than_noise(void **state)
{
    (void)state;
    assert_int_equal(product_best(&(Product){.ways = 3, .seconds = {1.0, 0.98, 1.2}}), 0);
    assert_int_equal(product_best(&(Product){.ways = 3, .seconds = {1.0, 0.95, 0.9}}), 2);
    assert_int_equal(product_best(&(Product){.ways = 3, .seconds = {1.0, 0, 0.9}}),
                     2); /* one was not measured */
}

/* ---- times ---- */

static void times_are_taken_by_product_and_layer(void **state)
{
    (void)state;
    static const char json[] =
        "{\"step_seconds\": 0.5, \"threads\": 1, \"peak_gflops\": 100, \"operations\": ["
        "{\"name\": \"encoder.0\", \"line\": 5, \"shape\": \"conv 3x3, 3 at 32x32\", \"seconds\": 0.1, "
        "\"share\": 1},"
        "{\"name\": \"encoder.0\", \"line\": 5, \"shape\": \"conv_grad_w 3x3\", \"seconds\": 0.25},"
        "{\"name\": \"encoder.1\", \"line\": 6, \"shape\": \"conv 3x3\", \"seconds\": 7},"
        "{\"name\": \"encoder.0\", \"line\": 5, \"shape\": \"conv 3x3, again\", \"seconds\": 0.2}]}";
    Product product[] = {{.ways = 2, .way = {{"conv", "encoder.0", "direct", 0, 0}}},
                         {.ways = 2, .way = {{"conv_grad_w", "encoder.0", "direct", 0, 0}}}};
    const Products all = {.count = 2, .most_ways = 2, .product = product};
    double step = 0, peak = 0;
    Arena *a = arena_new();
    assert_true(measure_take(a, json, &all, 1, &step, &peak));
    assert_true(step == 0.5 && peak == 100);
    assert_true(product[0].seconds[1] > 0.3 - 1e-9 && product[0].seconds[1] < 0.3 + 1e-9);
    assert_true(product[1].seconds[1] == 0.25);
    assert_true(product[0].seconds[0] == 0);
    assert_false(measure_take(a, "nothing of that", &all, 1, &step, &peak));
    assert_false(measure_take(a, "{\"step_seconds\": 0.5, \"operations\": [{\"name", &all, 1, &step, &peak));
    arena_free(a);
}

/* ---- the file ---- */

static char *diagnose(Arena *a, const char *text, const Choices **read)
{
    TextStream t;
    Diagnostics d = {.stream = text_stream_open(&t)};
    scratch_write("choices.yaml", text, strlen(text));
    *read = tuned_read(a, &d, scratch_path("choices.yaml"));
    return text_stream_close(a, &t);
}

static void a_file_says_how_products_are_made(void **state)
{
    (void)state;
    Arena *a = arena_new();
    const Choices *c;
    const char *said = diagnose(a,
                                "spec: x\nmachine: \"a: b\"\nproducts:\n"
                                "  - {product: conv, layer: encoder.0, by: direct}\n"
                                "  - {product: conv_grad_w, layer: encoder.1.conv1, by: sparse, slices: 4}\n",
                                &c);
    assert_string_equal(said, "");
    assert_int_equal(c->count, 2);
    assert_string_equal(c->choice[0].kernel, "direct");
    assert_int_equal(c->choice[0].slices, 0);
    assert_string_equal(c->choice[1].product, "conv_grad_w");
    assert_string_equal(c->choice[1].layer, "encoder.1.conv1");
    assert_int_equal(c->choice[1].slices, 4);
    assert_string_equal(diagnose(a, "products: []\n", &c), "");
    assert_int_equal(c->count, 0);
    arena_free(a);
}

static void wrong_files_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"products: [{product: convolve, layer: a, by: direct}]\n",
         "choices.yaml:1:22: error: products[0].product: conv,"},
        {"products: [{product: pool, layer: a, by: direct}]\n",
         "choices.yaml:1:22: error: products[0].product: conv,"},
        {"products: [{product: conv, layer: a, by: fast}]\n",
         "choices.yaml:1:42: error: products[0].by: winograd,"},
        {"products: [{product: conv, layer: a}]\n", "products[0]: by is missing"},
        {"products: [{product: conv, layer: a, by: direct, slices: 0}]\n", "products[0].slices"},
        {"products: [{product: conv, layer: a, by: winograd, outputs: 4}]\n", "products[0].outputs"},
        {"products: [{product: conv_grad_w, layer: a, by: tiles, outputs: 2}]\n",
         "outputs are of winograd's tiles, and conv_grad_w of a is by tiles"},
        {"products: [{product: conv, layer: a, by: direct, slices: 2}]\n",
         "slices are of gradients of weights by direct, dots, sparse or tiles, not of conv by direct"},
        {"products: [{product: conv_grad_w, layer: a, by: winograd, slices: 2}]\n",
         "not of conv_grad_w by winograd"},
        {"products: [{product: conv, layer: a, by: direct}, {product: conv, layer: a, by: sparse}]\n",
         "choices.yaml:1:51: error: products: conv of a is given twice"},
        {"products: {}\n", "choices.yaml:1:11: error: products"},
        {"layers: []\nproducts: []\n", "unknown key layers"},
        {"spec: x\n", "products is missing"},
    };
    Arena *a = arena_new();
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const Choices *c;
        const char *said = diagnose(a, wrong[i][0], &c);
        assert_null(c);
        if (!strstr(said, wrong[i][1]))
            fail_msg("of %s\"%s\" is wanted, not\n%s", wrong[i][0], wrong[i][1], said);
    }
    arena_free(a);
}

/* ---- programs ---- */

/* Each product in its way number `number`, the ways in a circle. */
static void write_choices(int number)
{
    Lowered l;
    const Products all = products_of_lowered(&l);
    FILE *out = fopen(scratch_path("choices.yaml"), "w");
    assert_non_null(out);
    fputs("products:\n", out);
    for (int i = 0; i < all.count; i++) {
        const Choice *c = &all.product[i].way[number % all.product[i].ways];
        fprintf(out, "  - {product: %s, layer: %s, by: %s", c->product, c->layer, c->kernel);
        if (c->slices)
            fprintf(out, ", slices: %d", c->slices);
        if (c->outputs)
            fprintf(out, ", outputs: %d", c->outputs);
        fputs("}\n", out);
    }
    assert_int_equal(fclose(out), 0);
    lowered_end(&l);
}

static void programs_agree_however_they_are_made(void **state)
{
    (void)state;
    enum { FILES = 4 };
    char choices[512];
    for (int number = 1; number <= FILES; number++) {
        Trial t;
        trial_begin(&t, "ways", spec, 2); /* with which no activation is a hair from 0 */
        write_choices(number);
        snprintf(choices, sizeof choices, "%s", scratch_path("choices.yaml"));
        const char *const options[] = {"--tuned", choices,          "--march", march_by_vectors(),
                                       "--cc",    quick_compiler(), NULL};
        assert_true(trial_finish(&t, trial_compile(&t, options)));
        trial_expect_replay(&t, choices);
        trial_end(&t);
    }
}

static bool log_has(const char *text)
{
    FILE *log = fopen(scratch_path("log"), "r");
    char *all = NULL;
    size_t room = 0;
    const bool found = log && getdelim(&all, &room, '\0', log) > 0 && strstr(all, text);
    free(all);
    if (log)
        fclose(log);
    return found;
}

static char folder[512], cc[512], compiler[PATH_MAX];

static void tune_writes_a_file_that_tuned_reads(void **state)
{
    (void)state;
    static const char small[] = "name: small\ninput: {size: 10}\nbatch: 4\n"
                                "encoder: [{conv: {out: 16, kernel: 3}}, {conv: {out: 16, kernel: 8}}]\n"
                                "embedding: {dim: 8}\nloss: {pairs: [1-to-8]}\n";
    scratch_write("small.yaml", small, sizeof small - 1);
    snprintf(cc, sizeof cc, "%s", quick_compiler());
    snprintf(folder, sizeof folder, "%s", scratch_path("."));
    assert_non_null(realpath(amdimc_path(), compiler));
    /* A pipe is read once, for all the programs. */
    assert_int_equal(shell("cd %s && cat small.yaml | %s --tune=0.01 /dev/stdin -o small.tuned.yaml --cc %s "
                           "--gen-dir c",
                           folder, compiler, cc),
                     0);
    assert_true(log_has("gain: "));
    assert_int_equal(access(scratch_path("small.tuned.yaml"), F_OK), 0);
    assert_int_not_equal(access(scratch_path("c/tuning"), F_OK), 0);
    assert_int_equal(
        shell("%s %s/small.yaml --tuned %s/small.tuned.yaml --check", amdimc_path(), folder, folder), 0);
    assert_false(log_has("count for nothing"));
    /* A spec is none: what --tune would write over it, --tuned would not read. */
    assert_int_equal(shell("%s --tune %s/small.yaml -o %s/small.yaml", amdimc_path(), folder, folder), 1);
    assert_true(log_has("is the spec itself"));
}

static void what_cannot_be_compiled_is_left_out(void **state)
{
    (void)state;
    /* Enough for amdimc's own choices, and not for OpenBLAS. */
    assert_int_equal(
        shell("cd %s && rm small.tuned.yaml && %s --tune=0.01 small.yaml --cc %s --gen-dir c --memory 9MiB "
              "--march %s",
              folder, compiler, cc, march_by_vectors()),
        0);
    assert_true(log_has("cannot be compiled, as said above"));
    assert_int_equal(access(scratch_path("small.tuned.yaml"), F_OK), 0);
}

static void a_folder_of_somebody_else_s_stays(void **state)
{
    (void)state;
    scratch_write("mine/tuning/thesis", "x", 1);
    assert_int_equal(shell("cd %s && %s --tune=0.01 small.yaml --cc %s --gen-dir mine", folder, compiler, cc),
                     1);
    assert_true(log_has("tuning: is in the way"));
    assert_int_equal(access(scratch_path("mine/tuning/thesis"), F_OK), 0);
}

static void choices_for_another_spec_are_noted(void **state)
{
    (void)state;
    static const char other[] = "products: [{product: conv, layer: nowhere, by: direct}]\n";
    scratch_write("other.yaml", other, sizeof other - 1);
    assert_int_equal(shell("%s specs/tiny.yaml --tuned %s --emit=ir >/dev/null", amdimc_path(),
                           scratch_path("other.yaml")),
                     0);
    assert_true(log_has("note: 1 of the 1 choices of"));
}

static void options_that_contradict_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "--tune --tuned x specs/tiny.yaml",
        "--tune --products direct specs/tiny.yaml",
        "--tune --target aarch64-linux-gnu specs/tiny.yaml",
        "--tune=0 specs/tiny.yaml",
        "--tune=soon specs/tiny.yaml",
        "--tuned x --products direct specs/tiny.yaml -o x",
        "--tuned x --emit=library specs/tiny.yaml -o x",
    };
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(shell("%s %s", amdimc_path(), wrong[i]), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_can_be_chosen),
        cmocka_unit_test(the_first_way_is_the_compilers_own),
        cmocka_unit_test(ways_that_differ_have_names_that_differ),
        cmocka_unit_test(ways_are_kernels_and_cuts),
        cmocka_unit_test(a_way_wins_by_more_than_noise),
        cmocka_unit_test(times_are_taken_by_product_and_layer),
        cmocka_unit_test(a_file_says_how_products_are_made),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(programs_agree_however_they_are_made),
        cmocka_unit_test(tune_writes_a_file_that_tuned_reads),
        cmocka_unit_test(what_cannot_be_compiled_is_left_out),
        cmocka_unit_test(a_folder_of_somebody_else_s_stays),
        cmocka_unit_test(choices_for_another_spec_are_noted),
        cmocka_unit_test(options_that_contradict_are_refused),
    };
    return cmocka_run_group_tests_name("tuned", tests, scratch_set_up, scratch_tear_down);
}
