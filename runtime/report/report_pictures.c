/* report_pictures.c: sixteen training pictures, each with its views. */
#include "report_internal.h"
#include <inttypes.h>

enum { PICTURES = 16 };

/* False, with the reason, where the picture cannot be read. */
static bool write_picture(Album *a, uint32_t i, Fault *f)
{
    char attributes[64];
    float *view = album_view(a, 0);
    if (!album_plain(a, a->state->data, i, view, f))
        return false;
    fputs("<figure>", a->stream);
    snprintf(attributes, sizeof attributes, "alt=\"training picture %" PRIu32 "\"", i);
    album_img(a, view, attributes);
    for (int v = 0; v < a->model->views && album_augmented(a, i, v, view, f); v++) {
        snprintf(attributes, sizeof attributes, "alt=\"view %d of it\"", v + 1);
        album_img(a, view, attributes);
    }
    fputs("</figure>\n", a->stream);
    return true;
}

void report_pictures(Album *a)
{
    Fault f;
    const ReportState *s = a->state;
    const bool two = a->model->views == 2;
    char note[200];
    snprintf(note, sizeof note,
             "Each picture as testing sees it, and the %s that training makes of it in epoch %" PRIu64
             " (counted from 0).",
             two ? "two views" : "view", s->epoch);
    page_section_begin(a->stream, SECTION_WHOLE, "Pictures and their views", note);
    fprintf(a->stream, "<div class=\"pictures%s\">\n", two ? "" : " single");
    bool ok = true;
    for (uint32_t i = 0; ok && i < PICTURES && i < s->data->count; i++)
        ok = write_picture(a, album_spread(i, s->data->count), &f);
    fputs("</div>\n", a->stream);
    if (!ok)
        album_apology(a, &f);
    page_section_end(a->stream);
}
