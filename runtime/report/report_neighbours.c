/* report_neighbours.c: test pictures, and those among the others that f_1 takes for the most similar.
 *
 * The gallery is a sample of the test split, encoded batch by batch. Queries are its first pictures; of the
 * rest nothing is held but who is near. */
#include "report_internal.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { QUERIES = 8, NEAREST = 7, GALLERY = 512 };

typedef struct {
    uint32_t row; /* of the gallery */
    double similarity;
} Neighbour;

typedef struct {
    const Dataset *test; /* row i of the gallery is its image album_spread(i) */
    int dims;
    uint32_t queries;
    float *query; /* (queries, dims) of length 1 */
    int known[QUERIES];
    Neighbour nearest[QUERIES][NEAREST]; /* (queries)(known) the most similar first */
} Search;

/* ---- searching ---- */

static bool read_row(Album *a, void *search, uint32_t row, float *out, Fault *f)
{
    const Dataset *test = ((Search *)search)->test;
    return album_plain(a, test, album_spread(row, test->count), out, f);
}

static double dot(const float *a, const float *b, int dims)
{
    double sum = 0;
    for (int i = 0; i < dims; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* Of equals, the first to come stays ahead. */
static void offer(Search *s, uint32_t query, uint32_t row, double similarity)
{
    Neighbour *n = s->nearest[query];
    int at = s->known[query];
    if (at == NEAREST && similarity <= n[NEAREST - 1].similarity)
        return;
    at = at < NEAREST ? s->known[query]++ : NEAREST - 1;
    for (; at > 0 && n[at - 1].similarity < similarity; at--)
        n[at] = n[at - 1];
    n[at] = (Neighbour){row, similarity};
}

static float *query_of(const Search *s, uint32_t row)
{
    return s->query + row * (size_t)s->dims;
}

static void keep_query(Search *s, uint32_t row, const float *x, double length)
{
    float *query = query_of(s, row);
    for (int i = 0; i < s->dims; i++)
        query[i] = length > 0 ? (float)(x[i] / length) : 0;
}

/* Rows come in order: a query meets those before it when it comes itself. */
static bool take_row(Album *a, void *search, uint32_t row, const float *features, Fault *f)
{
    (void)f;
    Search *s = search;
    (void)map_keep(a, features, s->dims); /* without it there is no map */
    double length = sqrt(dot(features, features, s->dims));
    for (uint32_t q = 0; q < row && q < s->queries; q++) {
        double similarity = length > 0 ? dot(query_of(s, q), features, s->dims) / length : 0;
        offer(s, q, row, similarity);
        if (row < s->queries)
            offer(s, row, q, similarity);
    }
    if (row < s->queries)
        keep_query(s, row, features, length);
    return true;
}

static uint32_t at_most(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool search(Album *a, Search *s, const Dataset *test, Fault *f)
{
    const AmdimFeature *f_1 = &a->model->feature[0];
    uint32_t rows = at_most(GALLERY, test->count);
    *s = (Search){.test = test, .dims = f_1->channels, .queries = at_most(QUERIES, rows)};
    s->query = allocate(s->queries * (size_t)s->dims * sizeof *s->query, "the report's features", f);
    return s->query && album_encode(a, f_1, rows, read_row, take_row, s, f);
}

/* ---- writing ---- */

static bool same_class(const Search *s, uint32_t row, uint32_t other)
{
    const Dataset *t = s->test;
    return !t->unlabelled && t->label[album_spread(row, t->count)] == t->label[album_spread(other, t->count)];
}

static void write_class(FILE *stream, const Dataset *test, uint32_t image)
{
    uint16_t label = test->label[image];
    if (test->unlabelled)
        html_format(stream, "picture %" PRIu32, image);
    else if (test->class_name[label])
        html_text(stream, test->class_name[label]);
    else
        html_format(stream, "class %u", (unsigned)label);
}

/* `similarity` is NULL for the query itself. */
static bool write_row(Album *a, const Search *s, uint32_t row, uint32_t query, const double *similarity,
                      Fault *f)
{
    uint32_t image = album_spread(row, s->test->count);
    float *view = album_view(a, 0);
    if (!album_plain(a, s->test, image, view, f))
        return false;
    fprintf(a->stream, "<figure class=\"%s\">",
            !similarity                 ? "query"
            : same_class(s, row, query) ? "same"
                                        : "other");
    album_img(a, view, "alt=\"\"");
    fputs("<figcaption>", a->stream);
    write_class(a->stream, s->test, image);
    if (similarity)
        fprintf(a->stream, "<span>%.2f</span>", *similarity);
    fputs("</figcaption></figure>\n", a->stream);
    return true;
}

static bool write_query(Album *a, const Search *s, uint32_t query, Fault *f)
{
    fputs("<div class=\"near\">\n", a->stream);
    bool ok = write_row(a, s, query, query, NULL, f);
    fputs("<i></i>\n", a->stream);
    for (int i = 0; ok && i < s->known[query]; i++) {
        const Neighbour *n = &s->nearest[query][i];
        ok = write_row(a, s, n->row, query, &n->similarity, f);
    }
    fputs("</div>\n", a->stream);
    return ok;
}

static void write_note(Album *a, const Search *s)
{
    FILE *stream = a->stream;
    int shown = 0, same = 0;
    for (uint32_t q = 0; q < s->queries; q++)
        for (int i = 0; i < s->known[q]; i++, shown++)
            same += same_class(s, s->nearest[q][i].row, q);
    fprintf(stream, "<p>%s, each followed by those that f<sub>1</sub>",
            s->test->undivided ? "Pictures" : "Test pictures");
    if (!feature_of_scale(a->model, 1, false))
        fputs(" (here the spatial mean of the top-most trained layer)", stream);
    fputs(" takes for the most similar, and the cosine.", stream);
    if (!s->test->unlabelled)
        fprintf(
            stream,
            " No label was used in training; %d of %d neighbours are of the picture's class, one of %d, and "
            "outlined.",
            same, shown, s->test->classes);
    fputs("</p>\n", stream);
}

static bool write_neighbours(Album *a, const Dataset *test, Fault *f)
{
    Search s;
    bool ok = search(a, &s, test, f);
    if (ok) {
        write_note(a, &s);
        fputs("<div class=\"queries\">\n", a->stream);
        for (uint32_t q = 0; ok && q < s.queries; q++)
            ok = write_query(a, &s, q, f);
        fputs("</div>\n", a->stream);
    }
    free(s.query);
    return ok;
}

void report_neighbours(Album *a)
{
    Fault f;
    Dataset *test = album_test_split(a, &f);
    page_section_begin(a->stream, SECTION_WHOLE, "Nearest neighbours", NULL);
    if (!test || !write_neighbours(a, test, &f))
        album_apology(a, &f);
    page_section_end(a->stream);
    if (test)
        report_map(a, test);
    data_close(test);
}
