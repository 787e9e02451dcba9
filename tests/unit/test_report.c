/* test_report.c: metrics come back as written, what is not readable is passed over, and the page drawn from
 * them is whole, small and escaped. */
#include "reporting.h"
#include "samples.h"
#include "toy_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static double loss_of(uint64_t step)
{
    return 1.0 / 3 + 10.0 / (double)step;
}

static void write_rows(uint64_t rows)
{
    Fault f;
    Metrics k;
    assert_true(metrics_open(&k, scratch_path("metrics.jsonl"), &f));
    for (uint64_t step = 1; step <= rows; step++) {
        double pair = loss_of(step) + 1, accuracy = 1 / (double)step;
        MetricsRow row = {.step = step,
                          .epoch = step / 100,
                          .loss = loss_of(step),
                          .penalty = 2,
                          .lr = 1e-4,
                          .images_per_second = 50,
                          .pair_loss = &pair,
                          .pair_accuracy = &accuracy};
        assert_true(metrics_write(&k, &toy_model, &row, &f));
    }
    assert_true(metrics_flush(&k, &f));
    metrics_close(&k);
}

static char *write_report(const AmdimModel *m)
{
    Reporting r;
    reporting_begin(&r, m, NULL);
    char *page = reporting_page(&r);
    reporting_end(&r);
    return page;
}

/* ---- metrics ---- */

typedef struct {
    uint64_t rows, step;
    double loss, pair;
} Seen;

static void see(void *arg, const MetricsRow *row)
{
    Seen *s = arg;
    assert_true((float)row->loss == (float)loss_of(row->step)); /* every float32 survives */
    s->rows++;
    s->step = row->step;
    s->loss = row->loss;
    s->pair = row->pair_loss[0];
}

static Seen read_rows(void)
{
    Fault f;
    Seen s = {0};
    assert_true(metrics_of_model(&toy_model, scratch_path("metrics.jsonl"), see, &s, &f));
    return s;
}

static void test_metrics_come_back(void **state)
{
    (void)state;
    write_rows(7);
    Seen s = read_rows();
    assert_int_equal(s.rows, 7);
    assert_int_equal(s.step, 7);
    assert_true((float)s.pair == (float)(loss_of(7) + 1));
}

static void test_no_file_is_no_rows(void **state)
{
    (void)state;
    assert_int_equal(read_rows().rows, 0);
}

static void test_unreadable_lines_are_passed_over(void **state)
{
    (void)state;
    const char text[] =
        "{\"step\":1,\"epoch\":0}\n\nnonsense\n{\"step\":1,\"epoch\":0,\"loss\":nan,\"3-to-1\":1,"
        "\"penalty\":1,\"lr\":1,\"images_per_second\":1}\n";
    scratch_write("metrics.jsonl", text, sizeof text - 1);
    write_rows(2);
    assert_int_equal(read_rows().rows, 2);
}

static void test_cut(void **state)
{
    (void)state;
    Fault f;
    MetricsEnd last;
    write_rows(9);
    assert_true(metrics_cut(&toy_model, scratch_path("metrics.jsonl"), 4, &last, &f));
    assert_int_equal(read_rows().rows, 4);
    assert_true((float)last.loss == (float)loss_of(4));
    assert_true(metrics_cut(&toy_model, scratch_path("metrics.jsonl"), 0, &last, &f));
    assert_int_equal(read_rows().rows, 0);
    assert_true(isnan(last.loss));
}

/* ---- the page ---- */

/* Two charts for the pairs and four others. */
static void test_page(void **state)
{
    (void)state;
    write_rows(30);
    char *page = write_report(&toy_model);
    assert_int_equal(count_of(page, "<polyline "), 6);
    assert_int_equal(count_of(page, " by step\""), 6);
    assert_int_equal(count_of(page, "<svg "), count_of(page, "</svg>"));
    assert_int_equal(count_of(page, "<section"), count_of(page, "</section>"));
    assert_non_null(strstr(page, "0123456789abcdef"));
    assert_non_null(strstr(page, "prefers-color-scheme: dark"));
    assert_non_null(strstr(page, "</html>"));
    assert_null(strstr(page, "://")); /* nothing is fetched */
    assert_null(strstr(page, "nan"));
    free(page);
}

/* One script, of the page's own, which neither fetches nor writes anything, and ends where it should. */
static void test_script(void **state)
{
    (void)state;
    static const char *const not_there[] = {"src=",    "import", "fetch", "XMLHttp",     "eval(",
                                            "onerror", "cookie", "<!--",  "localStorage"};
    write_rows(3);
    char *page = write_report(&toy_model);
    char *script = strstr(page, "<script"), *end = script ? strstr(script, "</script>\n</body>") : NULL;
    assert_int_equal(count_of(page, "<script"), 1);
    assert_non_null(end);
    assert_ptr_equal(strstr(script, "</"), end);
    *end = '\0';
    for (size_t i = 0; i < COUNT(not_there); i++)
        assert_null(strstr(script, not_there[i]));
    assert_int_equal(count_of(script, "{"), count_of(script, "}"));
    assert_int_equal(count_of(script, "("), count_of(script, ")"));
    free(page);
}

/* What the script shows are the values themselves, not what the drawing has made of them. */
static void test_charts_keep_their_values(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    const double x[] = {1, 20000000, 20000001}, y[] = {0.123456789, NAN, -3e-7}, *curves[] = {y};
    const char *const name[] = {"<a> & \"b\""};
    Chart chart = {.y_label = "loss", .width = 370, .height = 230, .from_zero = true, .points = 3};
    chart.curves = 1;
    chart.x = x;
    chart.y = curves;
    chart.name = name;
    chart_draw(stream, &chart);
    fclose(stream);
    assert_non_null(strstr(text, " data-x=\"1 20000000 20000001\""));
    assert_non_null(strstr(text, " data-y=\"0.123457 - -3e-07\""));
    assert_non_null(strstr(text, " data-name=\"&lt;a&gt; &amp; &quot;b&quot;\""));
    assert_non_null(strstr(text, " data-zero data-x-name=\"step\" data-y-name=\"loss\""));
    assert_non_null(strstr(text, " data-box=\"66 12 350 184\"")); /* where the axes are drawn: */
    assert_non_null(strstr(text, " x2=\"350\" y2=\"184.0\"/>"));
    free(text);
}

static void test_page_without_steps(void **state)
{
    (void)state;
    char *page = write_report(&toy_model);
    assert_int_equal(count_of(page, " by step\""), 6);
    assert_int_equal(count_of(page, "<polyline points=\"\"/>"), 0);
    assert_int_equal(count_of(page, "<polyline "), 0);
    assert_null(strstr(page, "nan"));
    free(page);
}

/* Also in a run so long that a point stands for several steps, of which one has a probe. */
static void test_the_probe_has_a_curve_where_it_was_made(void **state)
{
    (void)state;
    enum { ROWS = 2000 };
    Fault f;
    Metrics k;
    const double one = 1;
    assert_true(metrics_open(&k, scratch_path("metrics.jsonl"), &f));
    for (uint64_t step = 1; step <= ROWS; step++) {
        MetricsRow row = {.step = step, .pair_loss = &one, .pair_accuracy = &one};
        assert_true(metrics_write(&k, &toy_model, &row, &f));
        ProbeResult result = {.accuracy = 0.5 * (double)step / ROWS, .images = 9};
        if (step % (ROWS / 2) == ROWS / 2 - 1) /* within a point, not at its end */
            assert_true(metrics_probe(&k, &result, 1, &f));
    }
    metrics_close(&k);
    char *page = write_report(&toy_model);
    const char *chart = strstr(page, "Linear probe");
    assert_non_null(strstr(page, "<span>linear probe</span><b>50.0 %</b>"));
    assert_non_null(chart);
    const char *points = strstr(chart, "<polyline points=\""), *end = points ? strchr(points, '/') : NULL;
    assert_non_null(end);
    int commas = 0;
    for (const char *c = points; c < end; c++)
        commas += *c == ',';
    assert_int_equal(commas, 2); /* two points */
    free(page);
}

/* Lines of older programs have no accuracies: no curve, and no fault. */
static void test_lines_without_accuracies(void **state)
{
    (void)state;
    const char text[] = "{\"step\":1,\"epoch\":0,\"loss\":2,\"3-to-1\":1.5,\"penalty\":1,\"lr\":1,"
                        "\"images_per_second\":1}\n";
    scratch_write("metrics.jsonl", text, sizeof text - 1);
    char *page = write_report(&toy_model);
    assert_non_null(strstr(page, "3-to-1<span>1.5000</span>"));
    assert_int_equal(count_of(page, "<polyline points=\"\"/>"), 1);
    assert_null(strstr(page, "nan"));
    free(page);
}

static void test_says_how_the_run_stands(void **state)
{
    (void)state;
    const struct {
        ReportPhase phase;
        const char *words;
        bool refreshes, pictures;
    } cases[] = {{REPORT_RUNNING, "running</b>: step 12 of 40, epoch 3; drawn 1970-01-", true, true},
                 {REPORT_STOPPED, "stopped</b> after step 12 of 40: go on with --resume; drawn", false, true},
                 {REPORT_FINISHED, "finished</b> after step 12; drawn", false, true},
                 {REPORT_FAILED, "failed</b> after step 12: no &lt;reason&gt;; drawn", false, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        Reporting r;
        reporting_begin(&r, &toy_model, NULL);
        r.state.phase = cases[i].phase;
        r.state.now = 100000;
        r.state.reason = r.state.phase == REPORT_FAILED ? "no <reason>" : NULL;
        char *page = reporting_page(&r);
        assert_non_null(strstr(page, cases[i].words));
        assert_true((strstr(page, "http-equiv=\"refresh\"") != NULL) == cases[i].refreshes);
        assert_true((strstr(page, "data:image/png") != NULL) == cases[i].pictures);
        free(page);
        reporting_end(&r);
    }
}

static void test_long_runs_are_thinned(void **state)
{
    (void)state;
    write_rows(20000);
    char *page = write_report(&toy_model);
    const char *points = strstr(page, "<polyline points=\"");
    int count = 1;
    for (points += strlen("<polyline points=\""); *points != '"'; points++)
        count += *points == ' ';
    assert_in_range(count, 300, 600);
    assert_non_null(strstr(page, ">20000<"));
    free(page);
}

static void test_one_page_of_the_same_metrics(void **state)
{
    (void)state;
    write_rows(30);
    char *first = write_report(&toy_model), *second = write_report(&toy_model);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void test_names_are_escaped(void **state)
{
    (void)state;
    AmdimModel m = toy_model;
    m.spec = "<script>\"a&b\".yaml";
    char *page = write_report(&m);
    assert_int_equal(count_of(page, "<script"), 1); /* the page's own */
    assert_non_null(strstr(page, "&lt;script&gt;&quot;a&amp;b&quot;.yaml"));
    free(page);
}

static void test_numbers_of_axes(void **state)
{
    (void)state;
    const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},       {0.25, "0.25"},     {-3, "-3"},     {0.1 + 0.2, "0.3"}, {5e-4, "5e-4"},
                 {1e-4, "1e-4"}, {1.5e-7, "1.5e-7"}, {2500, "2.5k"}, {20000, "20k"},     {3e6, "3M"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[32];
        chart_number(text, sizeof text, cases[i].value);
        assert_string_equal(text, cases[i].text);
    }
}

static char *draw_constant(double value)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    const double x[] = {0, 1}, y[] = {value, value}, *curves[] = {y};
    chart_draw(
        stream,
        &(Chart){
            .y_label = "loss", .width = 370, .height = 230, .points = 2, .curves = 1, .x = x, .y = curves});
    fclose(stream);
    return text;
}

static void test_flat_curves(void **state)
{
    (void)state;
    char *zero = draw_constant(0), *two = draw_constant(2);
    assert_non_null(strstr(zero, ">0.2</text>"));
    assert_non_null(strstr(zero, ">0.8</text>"));
    assert_non_null(strstr(two, ">2.2</text>"));
    free(zero);
    free(two);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_metrics_come_back),
        TEST(test_no_file_is_no_rows),
        TEST(test_unreadable_lines_are_passed_over),
        TEST(test_cut),
        TEST(test_page),
        TEST(test_script),
        TEST(test_charts_keep_their_values),
        TEST(test_page_without_steps),
        TEST(test_the_probe_has_a_curve_where_it_was_made),
        TEST(test_lines_without_accuracies),
        TEST(test_says_how_the_run_stands),
        TEST(test_long_runs_are_thinned),
        TEST(test_one_page_of_the_same_metrics),
        TEST(test_names_are_escaped),
        cmocka_unit_test(test_numbers_of_axes),
        cmocka_unit_test(test_flat_curves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
