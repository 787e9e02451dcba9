/* report_fields.c: the receptive fields of the trained scales, to size over a picture. */
#include "report_internal.h"
#include <math.h>

enum { DOTS = 16 }; /* the most locations along a side that are marked one by one */

const AmdimLayer *layer_of_scale(const AmdimModel *m, int d)
{
    int i = 0;
    while (m->scale[i].scale != d)
        i++;
    return &m->layer[m->scale[i].layer];
}

double field_begin(const AmdimLayer *l, int i)
{
    return l->receptive_begin + (double)i * l->receptive_stride;
}

void draw_middle_field(FILE *stream, const AmdimLayer *l)
{
    double begin = field_begin(l, l->side / 2);
    fprintf(stream, "<rect class=\"field\" x=\"%g\" y=\"%g\" width=\"%d\" height=\"%d\"/>", begin, begin,
            l->receptive_field, l->receptive_field);
}

void draw_cells(FILE *stream, const AmdimLayer *l, const uint8_t *colour)
{
    Fault f;
    double begin = field_begin(l, 0) + (l->receptive_field - l->receptive_stride) / 2.0;
    double side = (double)l->side * l->receptive_stride;
    fprintf(stream, "<image x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" href=\"", begin, begin, side, side);
    (void)png_data_uri(stream, colour, l->side, l->side, 4, &f); /* without memory it stays empty */
    fputs("\"/>", stream);
}

/* What is outside of the middle location's field, dimmed. */
static void draw_shade(FILE *stream, const AmdimLayer *l, int low, int high)
{
    double begin = field_begin(l, l->side / 2);
    int side = l->receptive_field;
    fprintf(stream, "<path class=\"shade\" d=\"M%d %dH%dV%dH%dzM%g %gh%dv%dh-%dz\"/>", low, low, high, high,
            low, begin, begin, side, side, side);
}

static void draw_dots(FILE *stream, const AmdimLayer *l, int size)
{
    double radius = size / 64.0;
    for (int y = 0; y < l->side; y++)
        for (int x = 0; x < l->side; x++)
            fprintf(stream, "<circle cx=\"%g\" cy=\"%g\" r=\"%g\"/>",
                    field_begin(l, x) + l->receptive_field / 2.0,
                    field_begin(l, y) + l->receptive_field / 2.0, radius);
}

/* How far fields reach beyond the picture, where a layer pads; as much of it as is shown. */
static int margin(const AmdimModel *m)
{
    double most = 0;
    for (int i = 0; i < m->scales; i++) {
        const AmdimLayer *l = layer_of_scale(m, m->scale[i].scale);
        double begin = field_begin(l, l->side / 2);
        most = fmax(most, fmax(-begin, begin + l->receptive_field - m->size));
    }
    return (int)fmin(most, m->size / 2);
}

static void write_caption(FILE *s, const AmdimLayer *l)
{
    fprintf(s, "<b>f<sub>%d</sub>, ", l->side);
    fprintf(s, l->side > 1 ? "%d × %d locations</b>" : "one location</b>", l->side, l->side);
    fprintf(s, "A location sees %d × %d pixels", l->receptive_field, l->receptive_field);
    if (l->side > 1)
        fprintf(s, ", the next one as many, %d further on", l->receptive_stride);
    fputs(".", s);
}

/* The first drawing holds the picture, the others refer to it. */
static void draw_scale(Album *a, const AmdimScale *scale, bool first)
{
    FILE *s = a->stream;
    const AmdimLayer *l = layer_of_scale(a->model, scale->scale);
    int size = a->model->size, low = -margin(a->model), high = size - low;
    fprintf(s, "<figure><svg viewBox=\"%d %d %d %d\">", low, low, high - low, high - low);
    if (first)
        album_svg_image(a, album_view(a, 0), "id=\"seen\"");
    else
        fputs("<use href=\"#seen\"/>", s);
    draw_shade(s, l, low, high);
    if (l->side <= DOTS)
        draw_dots(s, l, size);
    draw_middle_field(s, l);
    fputs("</svg><figcaption>", s);
    write_caption(s, l);
    fputs("</figcaption></figure>\n", s);
}

void report_fields(Album *a)
{
    Fault f;
    page_section_begin(
        a->stream, SECTION_HALF, "What a location sees",
        "The receptive field of the middle location of each trained scale, to size over a training "
        "picture. Dots are the middles of all locations' fields.");
    if (album_plain(a, a->state->data, 0, album_view(a, 0), &f)) {
        fputs("<div class=\"fields\">\n", a->stream);
        for (int i = 0; i < a->model->scales; i++)
            draw_scale(a, &a->model->scale[i], i == 0);
        fputs("</div>\n", a->stream);
    } else {
        album_apology(a, &f);
    }
    page_section_end(a->stream);
}
