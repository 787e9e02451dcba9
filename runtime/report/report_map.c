/* report_map.c: the gallery of test pictures as dots in two dimensions, near where f_1 takes them for
 * similar: by the two principal components, and by t-SNE (van der Maaten and Hinton 2008, "Visualizing data
 * using t-SNE"), exact, from the principal components on, so that nothing is drawn at random.
 *
 * Features are of unit length, as for neighbours. They wait in a file without a name until all are there, as
 * the arena makes them; then the arena is free, and holds features, similarities and places. */
#include "report_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LEAST = 16,       /* pictures of which a map says something */
    TURNS = 60,       /* of the power iteration */
    ITERATIONS = 500, /* of t-SNE, as the paper's: the first EARLY with similarities exaggerated */
    EARLY = 125,
    SIDE = 400,
    MARGIN = 8,
    NAMED = 20, /* the most classes with a legend */
};
static const double PERPLEXITY = 30, EXAGGERATION = 12;

typedef struct {
    Album *album;
    const Dataset *test; /* row i is its image album_spread(i) */
    size_t rows, dims;
    float *x;             /* (rows, dims), then of mean 0 */
    float *p;             /* (rows, rows) */
    float *place, *speed; /* (rows, 2) */
    float *gain, *slope;  /* likewise */
    float *axis;          /* (3, dims): two axes, and the next of one that is sought */
    double *sum;          /* (rows) */
    double exaggeration;
} Map;

/* ---- features ---- */

bool map_keep(Album *a, const float *features, int dims)
{
    const size_t bytes = (size_t)dims * sizeof *features;
    if (a->spill == 0)
        a->spill = open(a->state->run, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (a->spill <= 0 || write(a->spill, features, bytes) == (ssize_t)bytes)
        return a->spill > 0;
    close(a->spill); /* else later rows would stand in its place */
    a->spill = -1;
    return false;
}

static size_t floats_of(size_t rows, size_t dims)
{
    return rows * (dims + rows + 8) + 3 * (dims > rows ? dims : rows) + 2 * rows;
}

/* Into the arena; false where too few fit, or are there. */
static bool load(Map *m)
{
    const Machine *k = m->album->state->machine;
    const size_t room = m->album->model->arena_bytes / sizeof(float);
    const off_t end = m->album->spill > 0 ? lseek(m->album->spill, 0, SEEK_END) : 0;
    m->rows = end > 0 ? (size_t)end / (m->dims * sizeof(float)) : 0;
    while (m->rows >= LEAST && floats_of(m->rows, m->dims) > room)
        m->rows--;
    if (m->rows < LEAST)
        return false;
    m->sum = (double *)(void *)k->step.arena;
    m->x = (float *)(void *)(m->sum + m->rows);
    m->p = m->x + m->rows * m->dims;
    m->place = m->p + m->rows * m->rows;
    m->speed = m->place + 2 * m->rows;
    m->gain = m->speed + 2 * m->rows;
    m->slope = m->gain + 2 * m->rows;
    m->axis = m->slope + 2 * m->rows;
    const size_t bytes = m->rows * m->dims * sizeof *m->x;
    return pread(m->album->spill, m->x, bytes, 0) == (ssize_t)bytes;
}

static double dot(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void scale(float *x, size_t count, double by)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(x[i] * by);
}

static void normalise(float *x, size_t count)
{
    const double length = sqrt(dot(x, x, count));
    scale(x, count, length > 0 ? 1 / length : 0);
}

static void centre(Map *m)
{
    for (size_t i = 0; i < m->rows; i++)
        normalise(m->x + i * m->dims, m->dims);
    for (size_t d = 0; d < m->dims; d++) {
        double mean = 0;
        for (size_t i = 0; i < m->rows; i++)
            mean += m->x[i * m->dims + d];
        mean /= (double)m->rows;
        for (size_t i = 0; i < m->rows; i++)
            m->x[i * m->dims + d] -= (float)mean;
    }
}

/* ---- principal components ---- */

/* From the row that is longest, at right angles to the axis before. */
static void find_axis(Map *m, int which)
{
    float *axis = m->axis + (size_t)which * m->dims, *next = m->axis + 2 * m->dims;
    size_t longest = which ? m->rows / 2 : 0;
    memcpy(axis, m->x + longest * m->dims, m->dims * sizeof *axis);
    for (int turn = 0; turn < TURNS; turn++) {
        memset(next, 0, m->dims * sizeof *next);
        for (size_t i = 0; i < m->rows; i++) {
            const float *x = m->x + i * m->dims;
            const float along = (float)dot(axis, x, m->dims);
            for (size_t d = 0; d < m->dims; d++)
                next[d] += along * x[d];
        }
        if (which) {
            const float before = (float)dot(next, m->axis, m->dims);
            for (size_t d = 0; d < m->dims; d++)
                next[d] -= before * m->axis[d];
        }
        normalise(next, m->dims);
        memcpy(axis, next, m->dims * sizeof *axis);
    }
}

static void place_by_components(Map *m)
{
    for (int c = 0; c < 2; c++)
        find_axis(m, c);
    for (size_t i = 0; i < m->rows; i++)
        for (size_t c = 0; c < 2; c++)
            m->place[2 * i + c] = (float)dot(m->x + i * m->dims, m->axis + c * m->dims, m->dims);
}

/* ---- t-SNE ---- */

/* A row's similarities to all others, of the entropy that the perplexity stands for, by bisection. */
static void similarities_part(void *job, int part, int worker)
{
    (void)worker;
    const Map *m = job;
    const size_t self = (size_t)part;
    const double perplexity = fmin(PERPLEXITY, ((double)m->rows - 1) / 3);
    float *p = m->p + self * m->rows;
    double beta = 1, low = 0, high = INFINITY, nearest = INFINITY;
    for (size_t j = 0; j < m->rows; j++) {
        double square = 0;
        for (size_t d = 0; d < m->dims; d++) {
            const double by = (double)m->x[self * m->dims + d] - (double)m->x[j * m->dims + d];
            square += by * by;
        }
        p[j] = (float)square;
        if (j != self)
            nearest = fmin(nearest, square);
    }
    double sum = 0;
    for (int turn = 0; turn < 60; turn++) {
        double weighted = 0;
        sum = 0;
        for (size_t j = 0; j < m->rows; j++)
            if (j != self) {
                const double e = exp(-beta * ((double)p[j] - nearest));
                sum += e;
                weighted += e * ((double)p[j] - nearest);
            }
        const double entropy = log(sum) + beta * weighted / sum;
        *(entropy > log(perplexity) ? &low : &high) = beta;
        if (turn < 59)
            beta = isinf(high) ? beta * 2 : (low + high) / 2;
    }
    for (size_t j = 0; j < m->rows; j++)
        p[j] = j == self ? 0 : (float)(exp(-beta * ((double)p[j] - nearest)) / sum);
}

static void make_symmetric(Map *m)
{
    const float of = 2 * (float)m->rows;
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < i; j++) {
            float *a = m->p + i * m->rows + j, *b = m->p + j * m->rows + i;
            *a = *b = (*a + *b) / of;
        }
}

/* Pull and push of a row; pushes are still to be divided by the sum over all rows. */
static void forces_part(void *job, int part, int worker)
{
    (void)worker;
    const Map *m = job;
    const float *p = m->p + (size_t)part * m->rows, *y = m->place + 2 * part;
    float pull[2] = {0}, push[2] = {0}, sum = 0;
    for (size_t j = 0; j < m->rows; j++) {
        const float dx = y[0] - m->place[2 * j], dy = y[1] - m->place[2 * j + 1];
        const float near = 1 / (1 + dx * dx + dy * dy), pulled = p[j] * near, pushed = near * near;
        sum += near;
        pull[0] += pulled * dx;
        pull[1] += pulled * dy;
        push[0] += pushed * dx;
        push[1] += pushed * dy;
    }
    m->sum[part] = (double)sum - 1; /* but for itself */
    for (int c = 0; c < 2; c++) {
        m->slope[2 * part + c] = pull[c];
        m->axis[2 * part + c] = push[c]; /* the axes have done their service */
    }
}

static void move(Map *m, int iteration)
{
    const double momentum = iteration < EARLY ? 0.5 : 0.8;
    const double exaggeration = iteration < EARLY ? EXAGGERATION : 1;
    const double rate = fmax((double)m->rows / EXAGGERATION / 4, 50);
    double sum = 0;
    for (size_t i = 0; i < m->rows; i++)
        sum += m->sum[i];
    for (size_t i = 0; i < 2 * m->rows; i++) {
        const double slope = 4 * (exaggeration * (double)m->slope[i] - (double)m->axis[i] / sum);
        const bool goes_on = slope * (double)m->speed[i] < 0;
        m->gain[i] = (float)fmax(goes_on ? m->gain[i] + 0.2 : m->gain[i] * 0.8, 0.01);
        m->speed[i] = (float)(momentum * (double)m->speed[i] - rate * (double)m->gain[i] * slope);
        m->place[i] += m->speed[i];
    }
}

static void place_by_neighbours(Map *m)
{
    AmdimPool *pool = m->album->state->machine->pool;
    const double spread = sqrt(dot(m->place, m->place, 2 * m->rows) / (2 * (double)m->rows));
    scale(m->place, 2 * m->rows, spread > 0 ? 1e-4 / spread : 0);
    amdim_parallel(pool, similarities_part, m, (int)m->rows);
    make_symmetric(m);
    for (size_t i = 0; i < 2 * m->rows; i++) {
        m->speed[i] = 0;
        m->gain[i] = 1;
    }
    for (int i = 0; i < ITERATIONS; i++) {
        amdim_parallel(pool, forces_part, m, (int)m->rows);
        move(m, i);
    }
}

/* ---- drawing ---- */

static void write_colour(const Map *m, int class)
{
    if (!m->test->unlabelled)
        fprintf(m->album->stream, " style=\"--h: %.0f\"", 360.0 * class / m->test->classes);
}

static void write_name(const Map *m, int class)
{
    if (m->test->class_name[class])
        html_text(m->album->stream, m->test->class_name[class]);
    else
        fprintf(m->album->stream, "class %d", class);
}

static void draw_dot(const Map *m, size_t row, const float *low, double unit)
{
    FILE *s = m->album->stream;
    const uint32_t image = album_spread((uint32_t)row, m->test->count);
    const double x = MARGIN + (m->place[2 * row] - low[0]) * unit,
                 y = SIDE - MARGIN - (m->place[2 * row + 1] - low[1]) * unit;
    fprintf(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"", x, y);
    if (!m->test->unlabelled)
        write_colour(m, m->test->label[image]);
    fputs("><title>", s);
    if (!m->test->unlabelled) {
        write_name(m, m->test->label[image]);
        fputs(", ", s);
    }
    fprintf(s, "picture %" PRIu32 "</title></circle>\n", image);
}

/* One unit on both axes. */
static void draw(const Map *m, const char *title)
{
    FILE *s = m->album->stream;
    float low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < 2 * m->rows; i++) {
        low[i % 2] = fminf(low[i % 2], m->place[i]);
        high[i % 2] = fmaxf(high[i % 2], m->place[i]);
    }
    const double wide = fmax(high[0] - low[0], high[1] - low[1]);
    const double unit = wide > 0 ? (SIDE - 2 * MARGIN) / wide : 0;
    for (int c = 0; c < 2; c++)
        low[c] -= (float)((wide - (high[c] - low[c])) / 2);
    fprintf(s, "<figure><svg class=\"map\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", SIDE,
            SIDE, title);
    for (size_t i = 0; i < m->rows; i++)
        draw_dot(m, i, low, unit);
    fprintf(s, "</svg><figcaption>%s</figcaption></figure>\n", title);
}

static void write_legend(const Map *m)
{
    FILE *s = m->album->stream;
    if (m->test->unlabelled || m->test->classes > NAMED)
        return;
    fputs("<ul class=\"legend dotted\">\n", s);
    for (int i = 0; i < m->test->classes; i++) {
        fputs("<li><i", s);
        write_colour(m, i);
        fputs("></i>", s);
        write_name(m, i);
        fputs("</li>\n", s);
    }
    fputs("</ul>\n", s);
}

void report_map(Album *a, const Dataset *test)
{
    Map m = {.album = a, .test = test, .dims = (size_t)a->model->feature[0].channels};
    if (!load(&m))
        return;
    page_section_begin(a->stream, SECTION_WHOLE, "A map of test pictures", NULL);
    fprintf(
        a->stream, "<p>A dot is a picture, and lies near those that f<sub>1</sub> takes for similar%s</p>\n",
        test->unlabelled ? "."
                         : "; its colour is its class, which training did not see. In t-SNE's, neighbours "
                           "mean something, distances between groups and their sizes do not.");
    write_legend(&m);
    fputs("<div class=\"two\">\n", a->stream);
    centre(&m);
    place_by_components(&m);
    draw(&m, "the two principal components");
    place_by_neighbours(&m);
    draw(&m, "t-SNE");
    fputs("</div>\n", a->stream);
    page_section_end(a->stream);
}
