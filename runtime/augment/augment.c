/* augment.c: from a picture to its views. All of a view's chances are drawn first, from two addresses and
 * each in one order whatever the model asks for, so that one key of the spec does not change what another
 * draws; then the steps are taken on floats in 0..1.
 *
 * The picture's rows are resized as they come, for all of its views at once, so that it is read once and
 * never held. */
#include "augment_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    bool flip;
    Translation translation;
    Jitter jitter;
    bool grayscale;
    bool cropped;
    Box crop;
    Blur blur;
    bool solarized;
} Draws;

/* One of the views under way. */
typedef struct {
    Resizer resizer;
    Draws draws;
    float *out;
} View;

struct Workspace {
    RowSink sink; /* first: what a picture's reader knows of */
    const AmdimModel *model;
    Picture picture; /* for readers that need one whole */
    float *source;   /* one row of the picture, mirrored where the views are, as floats */
    float *before;   /* a view before its translation or blur */
    float *gaussian; /* a blur's weights, and behind them room for a row; NULL where there is no blur */
    int reach;       /* the largest blur's radius */
    int width;       /* of the picture under way */
    bool mirrored;
    /* What is asked for: */
    const ViewAddress *address; /* NULL: as testing sees it */
    int views;
    View view[MAX_VIEWS];
};

static size_t begin_views(RowSink *sink, int width, int height);
static void take_row(RowSink *sink, int y, const uint8_t *row);
static void end_rows(RowSink *sink);

static bool make_room_for_blur(Workspace *w, const AmdimModel *m, Fault *f)
{
    if (!m->augment.has_blur)
        return true;
    w->reach = gaussian_radius(m->augment.blur_sigma[1]);
    const size_t radius = (size_t)w->reach, row = ((size_t)m->size + 2 * radius) * (size_t)m->channels;
    w->gaussian = allocate((radius + 1 + row) * sizeof *w->gaussian, "augmenting pictures", f);
    return w->gaussian != NULL;
}

Workspace *workspace_new(const AmdimModel *m, Fault *f)
{
    if (m->channels != 1 && m->channels != 3) {
        fault(f, "pictures have 1 or 3 channels, not the %d of the spec's input.channels", m->channels);
        return NULL;
    }
    Workspace *w = allocate_zero(sizeof *w, "augmenting pictures", f);
    if (!w)
        return NULL;
    w->sink = (RowSink){.begin = begin_views, .take = take_row, .end = end_rows};
    size_t channels = (size_t)m->channels, floats = (size_t)m->size * (size_t)m->size * channels;
    w->before = allocate(floats * sizeof *w->before, "augmenting pictures", f);
    w->source = allocate(PICTURE_SIDE * channels * sizeof *w->source, "augmenting pictures", f);
    bool done = w->before && w->source && make_room_for_blur(w, m, f);
    for (int v = 0; done && v < MAX_VIEWS; v++)
        done = resizer_init(&w->view[v].resizer, m->size, m->channels, f);
    if (done)
        return w;
    workspace_free(w);
    return NULL;
}

void workspace_free(Workspace *w)
{
    if (!w)
        return;
    for (int v = 0; v < MAX_VIEWS; v++)
        resizer_free(&w->view[v].resizer);
    picture_free(&w->picture);
    free(w->source);
    free(w->before);
    free(w->gaussian);
    free(w);
}

/* ---- chances ---- */

/* What is off draws as many numbers. */
static Draws draw_all(const AmdimAugment *a, int width, int height, const ViewAddress *at, int view)
{
    const double range[JITTERS] = {a->brightness, a->contrast, a->saturation, a->hue};
    Random shared = random_at(at->seed, RANDOM_SHARED, at->epoch, at->image, 0);
    Random own = random_at(at->seed, RANDOM_VIEW, at->epoch, at->image, view);
    Random more = random_at(at->seed, RANDOM_MORE, at->epoch, at->image, view);
    Draws d = {.flip = draw_chance(&shared, a->flip)};
    d.translation = draw_translation(&own, a->translate_max, a->translate_p);
    d.jitter = draw_jitter(&own, range, a->jitter_p);
    d.grayscale = draw_chance(&own, a->grayscale);
    d.translation.on &= a->has_translate;
    d.jitter.on &= a->has_jitter;
    d.cropped = draw_chance(&more, a->crop_p) && a->has_crop;
    d.blur = draw_blur(&more, a->blur_sigma[0], a->blur_sigma[1], a->blur_p);
    d.blur.on &= a->has_blur;
    d.solarized = draw_chance(&more, a->solarize_p) && a->has_solarize;
    if (d.cropped)
        d.crop = draw_crop(&own, a->crop_scale, a->crop_ratio, width, height);
    return d;
}

/* ---- rows ---- */

static size_t source_bytes(const Workspace *w)
{
    return (size_t)w->width * (size_t)w->model->channels * sizeof *w->source;
}

/* The flip is drawn once for all views of an image, so that one mirrored row serves them all. */
static size_t begin_views(RowSink *sink, int width, int height)
{
    Workspace *w = (Workspace *)(void *)sink;
    const AmdimModel *m = w->model;
    w->width = width;
    w->mirrored = false;
    size_t bytes = source_bytes(w);
    for (int v = 0; v < w->views; v++) {
        Draws *d = &w->view[v].draws;
        *d = (Draws){.flip = false};
        if (w->address)
            *d = draw_all(&m->augment, width, height, w->address, w->address->first + v);
        w->mirrored = d->flip;
        Resizer *z = &w->view[v].resizer;
        if (d->cropped)
            resizer_aim(z, d->crop, (Window){.width = m->size, .height = m->size});
        else
            resizer_aim(z, (Box){.width = width, .height = height}, covering(m->size, width, height));
        bytes += resizer_bytes(z);
    }
    return bytes;
}

size_t augment_holds(const AmdimModel *m, Workspace *w, int width, int height, int views)
{
    w->model = m;
    w->address = NULL;
    w->views = views;
    return begin_views(&w->sink, width, height);
}

/* Columns from `from` to `to` of the row, mirrored or not, as floats. */
static void load_row(Workspace *w, const uint8_t *row, int from, int to)
{
    const int channels = w->model->channels;
    if (!w->mirrored) {
        for (int i = from * channels; i < to * channels; i++)
            w->source[i] = row[i];
        return;
    }
    for (int x = from; x < to; x++) {
        const uint8_t *pixel = row + (size_t)(w->width - 1 - x) * (size_t)channels;
        for (int c = 0; c < channels; c++)
            w->source[x * channels + c] = pixel[c];
    }
}

static bool wants_row(const Resizer *z, int y)
{
    return y >= z->first_row && y < z->end_row;
}

static void take_row(RowSink *sink, int y, const uint8_t *row)
{
    Workspace *w = (Workspace *)(void *)sink;
    int from = w->width, to = 0;
    for (int v = 0; v < w->views; v++) {
        Resizer *z = &w->view[v].resizer;
        if (y == 0)
            resizer_begin(z, w->view[v].out);
        if (!wants_row(z, y))
            continue;
        from = z->first_column < from ? z->first_column : from;
        to = z->end_column > to ? z->end_column : to;
    }
    load_row(w, row, from, to);
    for (int v = 0; v < w->views; v++)
        if (wants_row(&w->view[v].resizer, y))
            resizer_take(&w->view[v].resizer, y, w->source);
}

/* What rows of a large picture were put in goes back to the system. */
static void end_rows(RowSink *sink)
{
    Workspace *w = (Workspace *)(void *)sink;
    for (int v = 0; v < w->views; v++)
        resizer_release(&w->view[v].resizer);
    pages_give_back(w->source, KEPT, source_bytes(w));
}

/* ---- views ---- */

static void finish_view(Workspace *w, View *view)
{
    const AmdimModel *m = w->model;
    const Draws *d = &view->draws;
    size_t pixels = (size_t)m->size * (size_t)m->size;
    resizer_finish(&view->resizer);
    if (d->translation.on) {
        memcpy(w->before, view->out, pixels * (size_t)m->channels * sizeof *w->before);
        translate(w->before, m->size, m->channels, d->translation.dx, d->translation.dy, view->out);
    }
    if (d->jitter.on && m->channels == 3)
        jitter_colour(&d->jitter, pixels, view->out);
    else if (d->jitter.on)
        jitter_grey(&d->jitter, pixels, view->out);
    if (d->grayscale && m->channels == 3)
        color_grey(view->out, pixels);
    if (d->blur.on)
        blur_view(d->blur.sigma, m->size, m->channels, w->gaussian, w->gaussian + w->reach + 1, w->before,
                  view->out);
    if (d->solarized)
        solarize_view(view->out, pixels, m->channels, (float)m->augment.solarize_threshold);
    normalise_view(view->out, pixels, m->channels, m->mean, m->std);
}

static void ask(Workspace *w, const AmdimModel *m, const ViewAddress *at, int views, float *const *out)
{
    w->model = m;
    w->address = at;
    w->views = views;
    for (int v = 0; v < views; v++)
        w->view[v].out = out[v];
}

static void finish_views(Workspace *w)
{
    for (int v = 0; v < w->views; v++)
        finish_view(w, &w->view[v]);
}

static bool read_views(Workspace *w, const Dataset *d, uint32_t image, int view, Fault *f)
{
    if (!picture_read_rows(d, image, view, w->model->channels, &w->picture, &w->sink, f))
        return false;
    finish_views(w);
    return true;
}

bool augment_read(const AmdimModel *m, Workspace *w, const Dataset *d, const ViewAddress *at, int views,
                  float *const *out, Fault *f)
{
    bool done = true;
    const int at_once = d->read_second ? 1 : views;
    for (int v = 0; done && v < views; v += at_once) {
        ViewAddress from = *at;
        from.first += v;
        ask(w, m, &from, at_once, out + v);
        done = read_views(w, d, at->image, from.first, f);
    }
    return done;
}

bool augment_read_none(const AmdimModel *m, Workspace *w, const Dataset *d, uint32_t image, float *out,
                       Fault *f)
{
    ask(w, m, NULL, 1, &out);
    return read_views(w, d, image, 0, f);
}

void augment_view(const AmdimModel *m, Workspace *w, const Picture *p, uint64_t seed, uint64_t epoch,
                  uint32_t image, int view, float *out)
{
    ask(w, m, &(ViewAddress){seed, epoch, image, view}, 1, &out);
    picture_hand_on(p, &w->sink);
    finish_views(w);
}

void augment_none(const AmdimModel *m, Workspace *w, const Picture *p, float *out)
{
    ask(w, m, NULL, 1, &out);
    picture_hand_on(p, &w->sink);
    finish_views(w);
}
