/* report_encoder.c: the encoder as a pile of maps, the input at the bottom.
 *
 * A map is drawn as a slab: as wide as its side, on a scale where the input fills the drawing, and as high as
 * the number of its channels on a logarithmic one. */
#include "report_internal.h"
#include <math.h>

enum { WIDTH = 150, HEIGHT = 48, DEPTH = 14, THIN = 3, THICK = 26 };

static double thickness(int channels, int most)
{
    return most > 1 ? THIN + (THICK - THIN) * log(channels) / log(most) : THIN;
}

static int most_channels(const AmdimModel *m)
{
    int most = m->channels;
    for (int i = 0; i < m->layers; i++)
        if (m->layer[i].channels > most)
            most = m->layer[i].channels;
    return most;
}

/* Front, top and right-hand face; the depth shrinks with the width. */
static void draw_slab(FILE *s, const AmdimModel *m, int side, int channels)
{
    double width = fmax(5, (WIDTH - DEPTH - 4) * (double)side / m->size);
    double depth = DEPTH * width / (WIDTH - DEPTH - 4), high = thickness(channels, most_channels(m));
    double left = (WIDTH - width - depth) / 2, top = (HEIGHT - high - depth) / 2 + depth;
    fprintf(s, "<svg viewBox=\"0 0 %d %d\" aria-hidden=\"true\">", WIDTH, HEIGHT);
    fprintf(s, "<path d=\"M%.1f %.1fh%.1fv%.1fh-%.1fz\"/>", left, top, width, high, width);
    fprintf(s, "<path class=\"top\" d=\"M%.1f %.1fl%.1f -%.1fh%.1fl-%.1f %.1fz\"/>", left, top, depth, depth,
            width, depth, depth);
    fprintf(s, "<path class=\"right\" d=\"M%.1f %.1fl%.1f -%.1fv%.1fl-%.1f %.1fz\"/></svg>", left + width,
            top, depth, depth, high, depth, depth);
}

static const AmdimScale *scale_made_by(const AmdimModel *m, int layer)
{
    for (int i = 0; i < m->scales; i++)
        if (m->scale[i].layer == layer)
            return &m->scale[i];
    return NULL;
}

static void write_pairs(FILE *s, const AmdimModel *m, int scale)
{
    bool first = true;
    fprintf(s, "<em>f<sub>%d</sub>", scale);
    for (int i = 0; i < m->pairs; i++) {
        const AmdimPair *p = &m->pair[i];
        if (p->from != scale && p->to != scale)
            continue;
        fprintf(s, "%s %s", first ? ":" : ",", p->name);
        first = false;
    }
    fputs("</em>", s);
}

static void write_numbers(FILE *s, const AmdimLayer *l)
{
    fputs("<span>", s);
    if (l->kernel > 0)
        fprintf(s, "kernel %d × %d, ", l->kernel, l->kernel);
    if (l->stride > 1)
        fprintf(s, "stride %d, ", l->stride);
    if (l->pad > 0)
        fprintf(s, "pad %d, ", l->pad);
    fprintf(s, "sees %d × %d pixels", l->receptive_field, l->receptive_field);
    if (l->side > 1 && l->receptive_stride > 1)
        fprintf(s, ", every %d", l->receptive_stride);
    fputs("</span>", s);
}

static void write_layer(FILE *s, const AmdimModel *m, const AmdimLayer *l)
{
    const AmdimScale *scale = scale_made_by(m, l->number);
    fprintf(s, "<li%s>", scale ? " class=\"trained\"" : "");
    draw_slab(s, m, l->side, l->channels);
    fprintf(s, "<div><b><i>%d</i>%s", l->number, l->kind);
    if (l->depth > 1)
        fprintf(s, " of %d", l->depth);
    fprintf(s, "</b> <b>%d × %d × %d</b>", l->channels, l->side, l->side);
    if (scale)
        write_pairs(s, m, scale->scale);
    write_numbers(s, l);
    fputs("</div></li>\n", s);
}

void report_encoder(Album *a)
{
    FILE *s = a->stream;
    const AmdimModel *m = a->model;
    page_section_begin(
        s, SECTION_HALF, "The encoder",
        "From the input at the bottom to the top-most layer that a pair trains: channels × rows × "
        "columns. Coloured maps are the scales that the pairs compare.");
    fputs("<ol class=\"layers\">\n", s);
    for (int i = m->layers - 1; i >= 0; i--)
        write_layer(s, m, &m->layer[i]);
    fputs("<li>", s);
    draw_slab(s, m, m->size, m->channels);
    fprintf(s, "<div><b>input</b> <b>%d × %d × %d</b><span>%d view%s of an image</span></div></li>\n",
            m->channels, m->size, m->size, m->views, m->views > 1 ? "s" : "");
    fputs("</ol>\n", s);
    page_section_end(s);
}
