/* test_bench.c: what `bench` tells, and whose time is whose in its profile. */
#include "commands.h"
#include "json.h"
#include "toy_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GIGA 1e9

static const AmdimOp first = {"a", "conv 3x3", "direct", 3, 2e9},
                     second = {"b", "conv 1x1", "direct", 4, 1e9}, third = {"c", "map", "plain", 0, 0},
                     update = {"optimizer", "update", "Adam", 0, 0};

/* Two operations in each of two chunks, an update within the second chunk's first, then a third. All of it
 * takes 15 seconds at pace 1. */
static void run_step(Profile *p, size_t step, double pace)
{
    double t = 100;
    profile_step(p, step);
    profile_begin(p, &first, t);
    profile_begin(p, &second, t += 1 * pace);
    profile_begin(p, &first, t += 2 * pace);
    int interrupted = profile_interrupt(p, &update, t += 0.5 * pace);
    profile_resume(p, interrupted, t += 4 * pace);
    profile_begin(p, &second, t += 1 * pace);
    profile_begin(p, &third, t += 3.5 * pace);
    profile_begin(p, NULL, t += 3 * pace);
    profile_begin(p, NULL, t += 1000); /* which nobody ran for */
}

static void time_goes_to_what_ran(void **state)
{
    (void)state;
    Fault f;
    Profile p;
    profile_new(&p, 2, &f);
    run_step(&p, 1, 7); /* a warm-up, to be forgotten */
    run_step(&p, 0, 1);
    run_step(&p, 1, 10);
    const AmdimOp *const op[] = {&first, &second, &update, &third};
    const double seconds[] = {2.5, 5.5, 4, 3};
    const int runs[] = {2, 2, 1, 1};
    assert_int_equal(p.rows, 4);
    assert_false(p.failed);
    for (int i = 0; i < 4; i++) {
        assert_ptr_equal(p.row[i].op, op[i]);
        assert_float_equal(p.row[i].seconds[0], seconds[i], 1e-9);
        assert_float_equal(p.row[i].seconds[1], 10 * seconds[i], 1e-9);
        assert_int_equal(p.row[i].runs, runs[i]);
    }
    profile_free(&p);
}

static void many_operations_are_told_apart(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static AmdimOp op[MANY];
    Fault f;
    Profile p;
    profile_new(&p, 1, &f);
    profile_step(&p, 0);
    for (int i = 0; i < MANY; i++)
        profile_begin(&p, &op[i], i);
    for (int i = MANY - 1; i >= 0; i -= 3)
        profile_begin(&p, &op[i], MANY);
    assert_int_equal(p.rows, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_float_equal(p.row[i].seconds[0], 1, 0);
        assert_int_equal(p.row[i].runs, 1 + (i % 3 == 0));
    }
    profile_free(&p);
}

static void the_middle_half_counts(void **state)
{
    (void)state;
    double weight[8];
    weigh_middle_half((const double[]){5, 1, 90, 3, 4, 2, 80, 6}, 8, weight); /* sorted: 1 2 3 4 5 6 80 90 */
    const double quarter[] = {0.25, 0, 0, 0.25, 0.25, 0, 0, 0.25};
    assert_memory_equal(weight, quarter, sizeof quarter);
    weigh_middle_half((const double[]){7}, 1, weight);
    assert_true(weight[0] == 1);
    weigh_middle_half((const double[]){9, 8, 1, 7}, 4, weight);
    assert_true(weight[0] == 0 && weight[1] == 0.5 && weight[2] == 0 && weight[3] == 0.5);
    weigh_middle_half((const double[]){2, 2, 2, 2, 9}, 5, weight); /* equal ones count all */
    for (int i = 0; i < 5; i++)
        assert_true(weight[i] == (i < 4 ? 0.25 : 0));
}

/* A profile of run_step's figures at pace 1, as text by malloc. */
typedef void Print(const Profile *p, const ProfileScale *s, FILE *stream);
static char *printed(Print *print)
{
    Fault f;
    Profile p;
    char *text = NULL;
    size_t count = 0;
    profile_new(&p, 1, &f);
    run_step(&p, 0, 1);
    ProfileScale s = {.weight = (const double[]){1}, .seconds = 15, .peak = 4};
    FILE *stream = open_memstream(&text, &count);
    print(&p, &s, stream);
    fclose(stream);
    profile_free(&p);
    return text;
}

static void tables_have_operations_and_sums(void **state)
{
    (void)state;
    char *text = printed(profile_print);
    assert_string_equal(
        text, "\n"
              "  line  operation  implementation        ms    share    GFLOP  GFLOP/s  of peak  shape\n"
              "     3  a          direct          2500.000   16.7 %    4.000      1.6   40.0 %  conv 3x3\n"
              "     4  b          direct          5500.000   36.7 %    2.000      0.4    9.1 %  conv 1x1\n"
              "        optimizer  Adam            4000.000   26.7 %                             update\n"
              "        c          plain           3000.000   20.0 %                             map\n"
              "        sum                       15000.000  100.0 %    6.000      0.4   10.0 %\n"
              "\n"
              " count  kind       implementation        ms    share    GFLOP  GFLOP/s  of peak\n"
              "     2  conv       direct          8000.000   53.3 %    6.000      0.8   18.8 %\n"
              "     1  update     Adam            4000.000   26.7 %\n"
              "     1  map        plain           3000.000   20.0 %\n");
    free(text);
}

static void json_has_every_field(void **state)
{
    (void)state;
    Json j = json_read(printed(profile_json));
    int b = json_element(&j, 0, 1), optimizer = json_element(&j, 0, 2);
    assert_true(json_is(&j, json_member(&j, b, "name"), "b"));
    assert_true(json_is(&j, json_member(&j, b, "shape"), "conv 1x1"));
    assert_true(json_is(&j, json_member(&j, b, "implementation"), "direct"));
    assert_float_equal(json_number(&j, b, "line"), 4, 0);
    assert_float_equal(json_number(&j, b, "seconds"), 5.5, 1e-7);
    assert_float_equal(json_number(&j, b, "gflop"), 2, 1e-7);
    assert_float_equal(json_number(&j, b, "gflops"), 2 / 5.5, 1e-7);
    assert_float_equal(json_number(&j, b, "share"), 5.5 / 15, 1e-7);
    assert_float_equal(json_number(&j, b, "of_peak"), 2 / 5.5 / 4, 1e-7);
    assert_float_equal(json_number(&j, optimizer, "gflop"), 0, 0);
    assert_float_equal(json_number(&j, optimizer, "of_peak"), 0, 0);
    json_free(&j);
}

static char *bench(const AmdimModel *m, int steps, bool profile, bool json)
{
    Options o = no_options(m);
    Fault f = {.error = 0};
    char *text = NULL;
    o.steps = steps, o.profile = profile, o.json = json;
    if (run_to_text(command_bench, m, &o, &text, &f) != 0)
        fail_msg("%s", f.text);
    return text;
}

static void says_its_figures(void **state)
{
    (void)state;
    Json j = json_read(bench(&toy_model, 3, false, true));
    double seconds = json_number(&j, 0, "step_seconds");
    assert_true(seconds > 0);
    assert_float_equal(json_number(&j, 0, "images_per_second") * seconds, TOY_BATCH, 1e-6);
    assert_float_equal(json_number(&j, 0, "threads"), toy_model.threads, 0);
    assert_null(strstr(j.text, "operations"));
    json_free(&j);
    char *text = bench(&toy_model, 3, false, false);
    assert_non_null(strstr(text, "the middle half of 3 steps"));
    assert_null(strstr(text, "kernel"));
    free(text);
}

enum { OPERATIONS = 7 };
static const struct {
    const char *name, *shape, *kernel, *line;
    double flop; /* a step */
} expected[OPERATIONS] = {
    {"step", "set-up, source locations", "drawn", "0", 0},
    {"encoder.0", "conv 2x2 stride 2", "by hand", "7", TOY_FLOP},
    {"embed.3", "copy", "by hand", "0", 0},
    {"embed.1.bn", "sum, a view", "by hand", "8", TOY_VIEWS *TOY_VIEW_FLOP},
    {"3-to-1", "loss", "by hand", "9", 0},
    {"encoder.0", "gradient", "by hand", "7", 0},
    {"optimizer", "update", "Adam", "0", 0},
};

static void operations_add_up_to_the_step(void **state)
{
    (void)state;
    Json j = json_read(bench(&toy_model, 200, true, true));
    int list = json_member(&j, 0, "operations");
    double step = json_number(&j, 0, "step_seconds"), seconds = 0, shares = 0;
    double peak = json_number(&j, 0, "peak_gflops");
    assert_true(peak > 0);
    assert_int_equal(j.token[list].size, OPERATIONS);
    for (int i = 0; i < OPERATIONS; i++) {
        int op = json_element(&j, list, i);
        assert_true(json_is(&j, json_member(&j, op, "name"), expected[i].name));
        assert_true(json_is(&j, json_member(&j, op, "shape"), expected[i].shape));
        assert_true(json_is(&j, json_member(&j, op, "implementation"), expected[i].kernel));
        assert_true(json_is(&j, json_member(&j, op, "line"), expected[i].line));
        double own = json_number(&j, op, "seconds"), gflops = json_number(&j, op, "gflops");
        assert_true(own > 0);
        assert_float_equal(json_number(&j, op, "gflop"), expected[i].flop / GIGA, 1e-15);
        assert_float_equal(gflops * own, expected[i].flop / GIGA, 1e-12);
        assert_float_equal(json_number(&j, op, "of_peak"), gflops / peak, 1e-7);
        seconds += own;
        shares += json_number(&j, op, "share");
    }
    assert_float_equal(seconds, step, 0.03 * step);
    assert_float_equal(shares, 1, 0.03);
    json_free(&j);
    char *text = bench(&toy_model, 3, true, false);
    assert_non_null(strstr(text, "     7  encoder.0   by hand"));
    assert_non_null(strstr(text, " count  kind"));
    free(text);
}

/* As of a program from before there were profiles. */
static void step_that_tells_nothing(AmdimStep *step)
{
    AmdimStep silent = *step;
    silent.begin = NULL;
    toy_model.step(&silent);
}

static void a_step_may_tell_nothing(void **state)
{
    (void)state;
    AmdimModel m = toy_model;
    m.step = step_that_tells_nothing;
    char *text = bench(&m, 3, true, false);
    assert_non_null(strstr(text, "toy tells of no operations: it has no profile"));
    assert_null(strstr(text, "kernel"));
    free(text);
    Json j = json_read(bench(&m, 3, true, true));
    assert_int_equal(j.token[json_member(&j, 0, "operations")].size, 0);
    assert_true(json_number(&j, 0, "step_seconds") > 0);
    json_free(&j);
}

/* GFLOP/s of one chain, which waits for every result. */
static double rate_of_one_chain(void)
{
    enum { LONG = 10000000 };
    volatile float factor = 0.999f, addend = 0.001f;
    float sum = 1, f = factor, a = addend;
    double begun = clock_seconds();
    for (int i = 0; i < LONG; i++)
        sum = sum * f + a;
    double rate = 2.0 * LONG / (clock_seconds() - begun) / GIGA;
    assert_true(sum > 0.9f && sum < 1.1f);
    return rate;
}

static void no_chain_is_faster_than_the_peak(void **state)
{
    (void)state;
    Fault f;
    AmdimPool *pool = pool_new(1, 1, &f);
    assert_non_null(pool);
    double peak = multiply_add_peak(pool, 0.1);
    assert_true(peak > 4 * rate_of_one_chain());
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_goes_to_what_ran),
        cmocka_unit_test(many_operations_are_told_apart),
        cmocka_unit_test(the_middle_half_counts),
        cmocka_unit_test(tables_have_operations_and_sums),
        cmocka_unit_test(json_has_every_field),
        cmocka_unit_test(says_its_figures),
        cmocka_unit_test(operations_add_up_to_the_step),
        cmocka_unit_test(a_step_may_tell_nothing),
        cmocka_unit_test(no_chain_is_faster_than_the_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
