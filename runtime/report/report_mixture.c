/* report_mixture.c: which of a mixture's components explains which location of some test pictures.
 *
 * A test picture, as it is, is its own positive at every location; negatives are all locations of a batch of
 * others. The posterior of component j at location l is q(j | l) = e^(tau l_jl) / sum_i e^(tau l_il) where
 * l_jl is the log of the share that the positive has among itself and its negatives (section 3.6 of the
 * paper). Pictures are encoded with running statistics. */
#include "report_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 8, LARGEST_SIDE = 65536 };
static const double COLOUR_OPACITY = 0.75;

typedef struct {
    const AmdimPair *pair;
    const AmdimLayer *target;
    const Dataset *test; /* row i is its image album_spread(i) */
    uint32_t rows, shown;
    int components, locations;
    float *phi;       /* (shown, components, dim) */
    double *positive; /* (shown, components, locations) scores, then posteriors */
    double *most;     /* (shown, components) the largest score of a negative */
    double *rest;     /* (shown, components) sum of e^(s - most) over negatives */
    uint8_t *colour;  /* (locations, 4) */
} Posteriors;

/* A map needs locations; f_7 is the paper's favourite target. One pair at least has the mixture. */
static int merit(const AmdimPair *p)
{
    return p->mixture ? 1 + p->to + (p->to == 7 ? LARGEST_SIDE : 0) : 0;
}

static const AmdimPair *mixture_pair(const AmdimModel *m)
{
    const AmdimPair *best = &m->pair[0];
    for (int i = 1; i < m->pairs; i++)
        if (merit(&m->pair[i]) > merit(best))
            best = &m->pair[i];
    return best;
}

static bool posteriors_new(Posteriors *p, const AmdimModel *m, const Dataset *test, Fault *f)
{
    const AmdimPair *pair = mixture_pair(m);
    *p = (Posteriors){.pair = pair, .target = layer_of_scale(m, pair->to), .test = test};
    p->rows = test->count < (uint32_t)m->batch ? test->count : (uint32_t)m->batch;
    p->shown = p->rows < SHOWN ? p->rows : SHOWN;
    p->components = m->mixture.components;
    p->locations = pair->to * pair->to;
    const size_t all = p->shown * (size_t)p->components, locations = (size_t)p->locations;
    p->phi = allocate(all * (size_t)m->embedding_dim * sizeof *p->phi, "the report's mixtures", f);
    p->positive =
        p->phi ? allocate((all * locations + 2 * all) * sizeof *p->positive, "the report's mixtures", f)
               : NULL;
    p->colour = p->positive ? allocate(locations * 4, "the report's mixtures", f) : NULL;
    if (!p->colour)
        return false;
    p->most = p->positive + all * locations;
    p->rest = p->most + all;
    for (size_t i = 0; i < all; i++) {
        p->most[i] = -INFINITY;
        p->rest[i] = 0;
    }
    return true;
}

static void posteriors_free(Posteriors *p)
{
    free(p->phi);
    free(p->positive);
    free(p->colour);
}

/* ---- scoring ---- */

static bool read_picture(Album *a, void *posteriors, uint32_t row, float *out, Fault *f)
{
    const Dataset *test = ((Posteriors *)posteriors)->test;
    return album_plain(a, test, album_spread(row, test->count), out, f);
}

static bool take_antecedent(Album *a, void *posteriors, uint32_t row, const float *features, Fault *f)
{
    Posteriors *p = posteriors;
    float *to = p->phi + row * (size_t)p->components * (size_t)a->model->embedding_dim;
    return antecedents(a->model, p->pair, a->state->machine->params, features, to, f);
}

static double *positives_of(const Posteriors *p, size_t component)
{
    return p->positive + component * (size_t)p->locations;
}

static void add_negative(Posteriors *p, size_t component, double score)
{
    double *most = &p->most[component], *rest = &p->rest[component];
    if (score > *most) {
        *rest = *rest * exp(*most - score) + 1;
        *most = score;
    } else {
        *rest += exp(score - *most);
    }
}

/* `component` counts over all pictures that are shown. */
static void score_with(const AmdimModel *m, Posteriors *p, size_t component, bool own, const float *features)
{
    const size_t dim = (size_t)m->embedding_dim;
    for (int l = 0; l < p->locations; l++) {
        double score = album_score(m, p->phi + component * dim, features + (size_t)l * dim);
        if (own)
            positives_of(p, component)[l] = score;
        else
            add_negative(p, component, score);
    }
}

static bool take_consequents(Album *a, void *posteriors, uint32_t row, const float *features, Fault *f)
{
    (void)f;
    Posteriors *p = posteriors;
    for (uint32_t i = 0; i < p->shown; i++)
        for (int j = 0; j < p->components; j++)
            score_with(a->model, p, i * (size_t)p->components + (size_t)j, row == i, features);
    return true;
}

/* The log of a positive's share, from its score; log(e^s + e^(most + log(rest))) without overflow. */
static double log_share(double score, double most, double rest)
{
    const double others = most + log(rest) - score;
    return others > 0 ? -others - log1p(exp(-others)) : -log1p(exp(others));
}

/* Scores of one picture's positive at one location, into posteriors. */
static void normalise(const AmdimModel *m, Posteriors *p, uint32_t image, int location)
{
    double most = -INFINITY, sum = 0;
    const size_t first = image * (size_t)p->components, end = first + (size_t)p->components;
    for (size_t c = first; c < end; c++) {
        double *q = &positives_of(p, c)[location];
        *q = m->mixture.temperature * log_share(*q, p->most[c], p->rest[c]);
        most = fmax(most, *q);
    }
    for (size_t c = first; c < end; c++) {
        double *q = &positives_of(p, c)[location];
        sum += *q = exp(*q - most);
    }
    for (size_t c = first; c < end; c++)
        positives_of(p, c)[location] /= sum;
}

static bool find_posteriors(Album *a, Posteriors *p, Fault *f)
{
    const AmdimModel *m = a->model;
    if (!album_encode(a, feature_of_scale(m, 1, false), p->shown, read_picture, take_antecedent, p, f) ||
        !album_encode(a, feature_of_scale(m, p->pair->to, false), p->rows, read_picture, take_consequents, p,
                      f))
        return false;
    for (uint32_t i = 0; i < p->shown; i++)
        for (int l = 0; l < p->locations; l++)
            normalise(m, p, i, l);
    return true;
}

/* ---- drawing ---- */

/* Hues evenly around the circle; where there are many, every other one is darker. */
static void colour_of(const Posteriors *p, int component, uint8_t colour[3])
{
    const double hue = 6.0 * component / p->components;
    const double value = p->components > 6 && component % 2 ? 150 : 235;
    for (int c = 0; c < 3; c++) {
        double away = fabs(fmod(hue + (c ? 8 - 2 * c : 0) + 3, 6) - 3);
        colour[c] = (uint8_t)lround(value * (0.15 + 0.85 * fmin(fmax(2 - away, 0), 1)));
    }
}

/* Each location's colour is the mean of the components' by their posteriors. */
static void draw_posteriors(Album *a, const Posteriors *p, uint32_t image)
{
    for (int l = 0; l < p->locations; l++) {
        double mean[3] = {0};
        for (int j = 0; j < p->components; j++) {
            uint8_t colour[3];
            colour_of(p, j, colour);
            for (int c = 0; c < 3; c++)
                mean[c] += positives_of(p, image * (size_t)p->components + (size_t)j)[l] * colour[c];
        }
        for (int c = 0; c < 3; c++)
            p->colour[l * 4 + c] = (uint8_t)lround(mean[c]);
        p->colour[l * 4 + 3] = (uint8_t)lround(255 * COLOUR_OPACITY);
    }
    draw_cells(a->stream, p->target, p->colour);
}

static bool write_picture(Album *a, const Posteriors *p, uint32_t image, Fault *f)
{
    const int size = a->model->size;
    float *view = album_view(a, 0);
    if (!album_plain(a, p->test, album_spread(image, p->test->count), view, f))
        return false;
    fputs("<figure>", a->stream);
    album_img(a, view, "alt=\"a test picture\"");
    fprintf(a->stream, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"its components\">", size, size);
    album_svg_image(a, view, "class=\"under\"");
    draw_posteriors(a, p, image);
    fputs("</svg></figure>\n", a->stream);
    return true;
}

/* Of all locations that are shown. */
static double share_of(const Posteriors *p, int component)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->shown; i++)
        for (int l = 0; l < p->locations; l++)
            sum += positives_of(p, i * (size_t)p->components + (size_t)component)[l];
    return sum / ((double)p->shown * p->locations);
}

static void write_legend(FILE *stream, const Posteriors *p)
{
    fputs("<p class=\"components\">", stream);
    for (int j = 0; j < p->components; j++) {
        uint8_t colour[3];
        colour_of(p, j, colour);
        fprintf(stream, "<span><i style=\"background: rgb(%d %d %d)\"></i>%d: %.0f %%</span>\n", colour[0],
                colour[1], colour[2], j + 1, 100 * share_of(p, j));
    }
    fputs("</p>\n", stream);
}

static bool write_pictures(Album *a, const Posteriors *p, Fault *f)
{
    bool ok = true;
    fprintf(
        a->stream,
        "<p>Test pictures, and the posterior of each component at each f<sub>%d</sub> of the picture itself, "
        "against those of %u others: a location has the mean of the components' colours. Below, each "
        "component's "
        "mean posterior over what is shown.</p>\n",
        p->pair->to, (unsigned)p->rows - 1);
    write_legend(a->stream, p);
    fputs("<div class=\"pictures single\">\n", a->stream);
    for (uint32_t i = 0; ok && i < p->shown; i++)
        ok = write_picture(a, p, i, f);
    fputs("</div>\n", a->stream);
    return ok;
}

void report_mixture(Album *a)
{
    Fault f;
    Posteriors p = {0};
    char title[64];
    snprintf(title, sizeof title, "The mixture of %s", mixture_pair(a->model)->name);
    page_section_begin(a->stream, SECTION_WHOLE, title, NULL);
    Dataset *test = album_test_split(a, &f);
    bool ok = test && posteriors_new(&p, a->model, test, &f) && find_posteriors(a, &p, &f) &&
              write_pictures(a, &p, &f);
    if (!ok)
        album_apology(a, &f);
    posteriors_free(&p);
    data_close(test);
    page_section_end(a->stream);
}
