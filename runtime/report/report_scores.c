/* report_scores.c: a pair's scores as maps: one source location of a view against every target location of
 * the image's other view, and of another image's.
 *
 * Both views are encoded with running statistics. s = c tanh(r / c) with r = <phi_n, phi_m> / sqrt(dim). */
#include "report_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 4, MAPS = 2 }; /* maps of an image: over its own view, over the next image's */
static const double OPACITY = 0.85;
static const uint8_t BELOW[3] = {38, 92, 190}, ABOVE[3] = {230, 92, 16};

typedef struct {
    const AmdimPair *pair;
    const AmdimLayer *source, *target;
    uint32_t images;
    int locations; /* of the target: m*m */
    int antecedents;
    float *phi;    /* (images, antecedents, dim) of phi_n at the source location */
    double *score; /* (images, MAPS, locations) */
    uint8_t *heat; /* (locations, 4) */
    double most;   /* the largest |score| */
} Scores;

/* ---- choosing ---- */

/* A map needs locations, and f_1 says most about the whole picture; f_7 is the paper's favourite target. */
static int merit(const AmdimPair *p)
{
    return 4 * (p->to > 1) + 2 * (p->from == 1) + (p->to == 7);
}

static const AmdimPair *best_pair(const AmdimModel *m)
{
    const AmdimPair *best = &m->pair[0];
    for (int i = 1; i < m->pairs; i++) {
        const AmdimPair *p = &m->pair[i];
        if (merit(p) > merit(best) || (merit(p) == merit(best) && p->to > best->to))
            best = p;
    }
    return best;
}

static int middle_location(int scale)
{
    return scale / 2 * scale + scale / 2;
}

/* ---- scoring ---- */

static int target_view(const AmdimModel *m)
{
    return m->views - 1;
}

static uint32_t image_number(const Album *a, uint32_t i)
{
    return album_spread(i, a->state->data->count);
}

static bool read_source(Album *a, void *scores, uint32_t row, float *out, Fault *f)
{
    (void)scores;
    return album_augmented(a, image_number(a, row), 0, out, f);
}

static bool read_target(Album *a, void *scores, uint32_t row, float *out, Fault *f)
{
    (void)scores;
    return album_augmented(a, image_number(a, row), target_view(a->model), out, f);
}

static size_t antecedent_floats(const AmdimModel *m, const Scores *s)
{
    return (size_t)s->antecedents * (size_t)m->embedding_dim;
}

static bool take_source(Album *a, void *scores, uint32_t row, const float *features, Fault *f)
{
    Scores *s = scores;
    const AmdimModel *m = a->model;
    return antecedents(m, s->pair, a->state->machine->params,
                       features + (size_t)middle_location(s->pair->from) * (size_t)m->embedding_dim,
                       s->phi + row * antecedent_floats(m, s), f);
}

static double best_score(const AmdimModel *m, const Scores *s, uint32_t image, const float *phi_m)
{
    double best = -INFINITY;
    const float *phi_n = s->phi + image * antecedent_floats(m, s);
    for (int j = 0; j < s->antecedents; j++, phi_n += m->embedding_dim)
        best = fmax(best, album_score(m, phi_n, phi_m));
    return best;
}

static double *map_of(const Scores *s, uint32_t image, int map)
{
    return s->score + (image * MAPS + (uint32_t)map) * (size_t)s->locations;
}

static void fill_map(const AmdimModel *m, Scores *s, uint32_t image, int map, const float *features)
{
    size_t dim = (size_t)m->embedding_dim;
    double *out = map_of(s, image, map);
    for (int l = 0; l < s->locations; l++) {
        out[l] = best_score(m, s, image, features + (size_t)l * dim);
        s->most = fmax(s->most, fabs(out[l]));
    }
}

/* An image's view is its own target, and the other target of the image before it. */
static bool take_target(Album *a, void *scores, uint32_t row, const float *features, Fault *f)
{
    (void)f;
    Scores *s = scores;
    fill_map(a->model, s, row, 0, features);
    fill_map(a->model, s, (row + s->images - 1) % s->images, 1, features);
    return true;
}

static bool scores_new(Scores *s, const AmdimModel *m, uint32_t pictures, Fault *f)
{
    const AmdimPair *p = best_pair(m);
    *s = (Scores){.pair = p, .source = layer_of_scale(m, p->from), .target = layer_of_scale(m, p->to)};
    s->images = pictures < IMAGES ? pictures : IMAGES;
    s->locations = p->to * p->to;
    s->antecedents = antecedents_of(m, p);
    size_t images = s->images, locations = (size_t)s->locations;
    s->phi = allocate(images * antecedent_floats(m, s) * sizeof *s->phi, "the report's scores", f);
    s->score =
        s->phi ? allocate(images * MAPS * locations * sizeof *s->score, "the report's scores", f) : NULL;
    s->heat = s->score ? allocate(locations * 4, "the report's scores", f) : NULL;
    return s->heat != NULL;
}

static void scores_free(Scores *s)
{
    free(s->phi);
    free(s->score);
    free(s->heat);
}

/* ---- drawing ---- */

static void draw_heat(Album *a, const Scores *s, const double *map)
{
    uint8_t *to = s->heat;
    for (int i = 0; i < s->locations; i++, to += 4) {
        memcpy(to, map[i] < 0 ? BELOW : ABOVE, 3);
        to[3] = (uint8_t)lround(255 * OPACITY * fabs(map[i]) / fmax(s->most, 1e-12));
    }
    draw_cells(a->stream, s->target, s->heat);
}

static double mean_score(const Scores *s, const double *map)
{
    double sum = 0;
    for (int i = 0; i < s->locations; i++)
        sum += map[i];
    return sum / s->locations;
}

/* Leaves the <svg> open. */
static bool draw_view(Album *a, uint32_t image, int view, const char *attributes, Fault *f)
{
    if (!album_augmented(a, image_number(a, image), view, album_view(a, 0), f))
        return false;
    int size = a->model->size;
    fprintf(a->stream, "<figure><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"a view\">", size, size);
    album_svg_image(a, album_view(a, 0), attributes);
    return true;
}

static bool write_source(Album *a, const Scores *s, uint32_t image, Fault *f)
{
    if (!draw_view(a, image, 0, "", f))
        return false;
    draw_middle_field(a->stream, s->source);
    fprintf(a->stream, "</svg><figcaption>f<sub>%d</sub></figcaption></figure>\n", s->pair->from);
    return true;
}

static bool write_map(Album *a, const Scores *s, uint32_t image, int map, Fault *f)
{
    const double *scores = map_of(s, image, map);
    if (!draw_view(a, (image + (uint32_t)map) % s->images, target_view(a->model), "class=\"under\"", f))
        return false;
    draw_heat(a, s, scores);
    double mean = round(10 * mean_score(s, scores)) / 10;
    fprintf(a->stream, "</svg><figcaption>%s: mean %s%.1f</figcaption></figure>\n",
            map ? "another image" : "own image", mean < 0 ? "−" : "", fabs(mean));
    return true;
}

static void write_bar(FILE *stream, const Scores *s)
{
    fprintf(stream,
            "<p class=\"bar\">−%.1f<i style=\"background: linear-gradient(to right, rgb(%d %d %d / %g), "
            "transparent, rgb(%d %d %d / %g))\"></i>+%.1f</p>\n",
            s->most, BELOW[0], BELOW[1], BELOW[2], OPACITY, ABOVE[0], ABOVE[1], ABOVE[2], OPACITY, s->most);
}

static bool write_images(Album *a, const Scores *s, Fault *f)
{
    bool ok = true;
    fputs("<div class=\"maps\">\n", a->stream);
    for (uint32_t i = 0; ok && i < s->images; i++) {
        fputs("<div class=\"three\">\n", a->stream);
        ok = write_source(a, s, i, f);
        for (int map = 0; ok && map < MAPS; map++)
            ok = write_map(a, s, i, map, f);
        fputs("</div>\n", a->stream);
    }
    fputs("</div>\n", a->stream);
    return ok;
}

static void write_note(FILE *stream, const AmdimModel *m, const Scores *s)
{
    const char *whose = m->views == 2 ? "a view's" : "a picture's";
    const char *whom = m->views == 2 ? "the image's other view" : "the picture itself";
    const char *which = s->pair->from > 1 ? "middle " : "";
    fprintf(stream,
            "<p>Scores of %s %sf<sub>%d</sub> with every f<sub>%d</sub> of %s, and of another image's", whose,
            which, s->pair->from, s->pair->to, whom);
    if (m->clip > 0)
        fprintf(stream, "; clipped at %g", m->clip);
    if (s->pair->mixture)
        fputs("; of the mixture's components, by the one of the highest score", stream);
    fputs(".</p>\n", stream);
}

void report_scores(Album *a)
{
    Scores s;
    Fault f;
    bool ok = scores_new(&s, a->model, a->state->data->count, &f) &&
              album_encode(a, feature_of_scale(a->model, s.pair->from, false), s.images, read_source,
                           take_source, &s, &f) &&
              album_encode(a, feature_of_scale(a->model, s.pair->to, false), s.images, read_target,
                           take_target, &s, &f);
    char title[64];
    snprintf(title, sizeof title, "Scores of %s", s.pair->name);
    page_section_begin(a->stream, SECTION_WHOLE, title, NULL);
    if (ok) {
        write_note(a->stream, a->model, &s);
        write_bar(a->stream, &s);
        ok = write_images(a, &s, &f);
    }
    if (!ok)
        album_apology(a, &f);
    scores_free(&s);
    page_section_end(a->stream);
}
