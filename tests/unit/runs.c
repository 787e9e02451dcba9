/* runs.c: see runs.h. */
#include "runs.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

Options train_options(const char *run, int64_t steps)
{
    static char folder[2][1024]; /* a test compares two runs at most */
    static int next;
    char *out = folder[next++ % 2];
    snprintf(out, sizeof folder[0], "%s", scratch_path(run));
    Options o = no_options(&toy_model);
    o.out = out;
    o.limit = LIMIT;
    o.steps = steps;
    return o;
}

int train(const AmdimModel *m, const Options *o)
{
    Fault f = {.error = 0};
    int code = run_quietly(command_train, m, o, &f);
    if (code == 1)
        print_message("%s\n", f.text);
    return code;
}

void refuses(const Options *o, const char *words)
{
    Fault f = {.error = 0};
    assert_int_equal(run_quietly(command_train, &toy_model, o, &f), 1);
    if (!strstr(f.text, words))
        fail_msg("%s (should say %s)", f.text, words);
}

char *metrics_without_speed(const char *run)
{
    char name[256], *kept = NULL;
    size_t count;
    snprintf(name, sizeof name, "%s/metrics.jsonl", run);
    char *text = read_whole(scratch_path(name), &count), *rest = NULL;
    FILE *stream = open_memstream(&kept, &count);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *speed = strstr(line, ",\"images_per_second\":");
        assert_non_null(speed);
        fprintf(stream, "%.*s\n", (int)(speed - line), line);
    }
    fclose(stream);
    free(text);
    return kept;
}

char *weights_of(const char *run, size_t *count)
{
    char name[256];
    snprintf(name, sizeof name, "%s/last.safetensors", run);
    return read_whole(scratch_path(name), count);
}

void assert_same_run(const char *a, const char *b)
{
    size_t count_a, count_b;
    char *weights_a = weights_of(a, &count_a), *weights_b = weights_of(b, &count_b);
    assert_int_equal(count_a, count_b);
    assert_memory_equal(weights_a, weights_b, count_a);
    char *metrics_a = metrics_without_speed(a), *metrics_b = metrics_without_speed(b);
    assert_string_equal(metrics_a, metrics_b);
    free(weights_a);
    free(weights_b);
    free(metrics_a);
    free(metrics_b);
}

void add_to_metrics(const char *run, const char *text)
{
    char name[256];
    snprintf(name, sizeof name, "%s/metrics.jsonl", run);
    FILE *stream = fopen(scratch_path(name), "a");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

int count_lines(const char *text)
{
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

void train_whole(const char *run)
{
    Options o = train_options(run, STEPS);
    assert_int_equal(train(&toy_model, &o), 0);
}

int train_saying(const AmdimModel *m, const Options *o, char **said, Fault *f)
{
    return run_saying(command_train, m, o, said, f);
}
