/* report_classes.c: what the latest probes of the run took for what: accuracy by class, and who is taken for
 * whom, of few classes as a matrix, of many by the mistake that is made most often. */
#include "report_internal.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MATRIX = 20 }; /* the most classes whose matrix can be read */

typedef struct {
    FILE *stream;
    const Dataset *test;
    int classes;
    const uint32_t *count; /* (classes, classes) */
} Matrix;

static void write_name(const Matrix *k, int class)
{
    const char *name = class < k->test->classes ? k->test->class_name[class] : NULL;
    if (name)
        html_text(k->stream, name);
    else
        fprintf(k->stream, "class %d", class);
}

static uint32_t cell(const Matrix *k, int class, int guess)
{
    return k->count[class * k->classes + guess];
}

static uint32_t images_of(const Matrix *k, int class)
{
    uint32_t sum = 0;
    for (int i = 0; i < k->classes; i++)
        sum += cell(k, class, i);
    return sum;
}

/* In percent; of a class without images 0. */
static double share(const Matrix *k, int class, int guess)
{
    const uint32_t all = images_of(k, class);
    return all ? 100.0 * cell(k, class, guess) / all : 0;
}

/* Its class and its names are there for the pointer, too. */
static void write_cell(const Matrix *k, int class, int guess)
{
    FILE *s = k->stream;
    const double percent = share(k, class, guess);
    fprintf(s, "<td class=\"cell %s\" style=\"--share: %.0f%%\" title=\"", class == guess ? "right" : "wrong",
            percent * 0.8);
    write_name(k, class);
    fputs(" taken for ", s);
    write_name(k, guess);
    fprintf(s, ": %" PRIu32 " of %" PRIu32 "\">", cell(k, class, guess), images_of(k, class));
    if (lround(percent) > 0)
        fprintf(s, "%ld", lround(percent));
    fputs("</td>", s);
}

static void write_matrix(const Matrix *k)
{
    FILE *s = k->stream;
    fputs("<thead><tr><th></th>", s);
    for (int i = 0; i < k->classes; i++) {
        fputs("<th><span>", s);
        write_name(k, i);
        fputs("</span></th>", s);
    }
    fputs("</tr></thead>\n", s);
    for (int class = 0; class < k->classes; class ++) {
        fputs("<tr><th>", s);
        write_name(k, class);
        fputs("</th>", s);
        for (int guess = 0; guess < k->classes; guess++)
            write_cell(k, class, guess);
        fputs("</tr>\n", s);
    }
}

/* The class that `class` is taken for most often, wrongly; -1: never. */
static int worst_guess(const Matrix *k, int class)
{
    int worst = -1;
    for (int i = 0; i < k->classes; i++)
        if (i != class && cell(k, class, i) > (worst < 0 ? 0 : cell(k, class, worst)))
            worst = i;
    return worst;
}

static void write_list(const Matrix *k)
{
    FILE *s = k->stream;
    fputs("<thead><tr><th>class</th><th>right, %</th><th>most often taken for</th><th>%</th></tr></thead>\n",
          s);
    for (int class = 0; class < k->classes; class ++) {
        const int worst = worst_guess(k, class);
        fputs("<tr><th>", s);
        write_name(k, class);
        fputs("</th>", s);
        write_cell(k, class, class);
        fputs("<td>", s);
        if (worst >= 0)
            write_name(k, worst);
        fputs("</td>", s);
        if (worst >= 0)
            write_cell(k, class, worst);
        fputs("</tr>\n", s);
    }
}

static double accuracy(const Matrix *k)
{
    uint64_t right = 0, all = 0;
    for (int i = 0; i < k->classes; i++) {
        right += cell(k, i, i);
        all += images_of(k, i);
    }
    return all ? 100 * (double)right / (double)all : 0;
}

static void write_head(const Matrix *k, const char *head)
{
    fprintf(k->stream, "<div><h3>%s probe, %.1f %%</h3>\n<div class=\"matrix\"><table>\n", head, accuracy(k));
    if (k->classes <= MATRIX)
        write_matrix(k);
    else
        write_list(k);
    fputs("</table></div></div>\n", k->stream);
}

static void write_section(FILE *s, const Confusions *c, const Dataset *test)
{
    char note[256];
    snprintf(note, sizeof note, "The test pictures by the %s after step %" PRIu64 ". %s",
             c->heads > 1 ? "probes" : "probe", c->step,
             c->classes <= MATRIX
                 ? "A row is a class, and shares out its pictures, in percent, over what they "
                   "are taken for. What is right lies on the diagonal."
                 : "A row is a class; shares are in percent of its pictures.");
    page_section_begin(s, SECTION_WHOLE, "Classes", note);
    fputs("<div class=\"probes\">\n", s);
    for (int i = 0; i < c->heads; i++)
        write_head(&(Matrix){s, test, c->classes, c->count[i]},
                   strcmp(c->head[i], "knn") == 0 ? "kNN" : c->head[i]);
    fputs("</div>\n", s);
    page_section_end(s);
}

/* Nothing without a probe, or where it was of steps that the run has lost. */
void report_classes(Album *a)
{
    Fault f;
    Confusions c;
    const ReportState *state = a->state;
    char *path = path_join(state->run, "probe.json");
    Dataset *test = NULL;
    if (path && confusions_read(&c, path)) {
        if (c.step <= state->step && (test = album_test_split(a, &f)))
            write_section(a->stream, &c, test);
        if (test)
            data_close(test);
        confusions_free(&c);
    }
    free(path);
}
