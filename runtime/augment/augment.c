/* augment.c: from a picture to its views. All of a view's chances are drawn first, from one address and in
 * one order whatever the model asks for, so that one key of the spec does not change what another draws; then
 * the steps are taken on floats in 0..1.
 *
 * The picture's rows are resized as they come, for all of its views at once, so that it is read once and
 * never held. */
#include "augment_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE, JITTERS };

typedef struct {
    bool flip;
    Box crop;
    bool translate;
    int64_t dx, dy;
    bool jitter;
    float amount[JITTERS]; /* factors, and the hue's shift */
    int order[JITTERS];    /* in which they are applied */
    bool grayscale;
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
    float *before;   /* a view before its translation */
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
    bool done = w->before && w->source;
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
    free(w);
}

/* ---- chances ---- */

typedef struct {
    int width, height;
} Side;

/* Uniform in 0..n-1 from exactly one unit. */
static int64_t draw_below(Random *r, int64_t n)
{
    return (int64_t)(random_unit(r) * (double)n);
}

static bool draw_box(Random *r, const AmdimAugment *a, Side side, Box *box)
{
    double area = (double)side.width * side.height * random_between(r, a->crop_scale[0], a->crop_scale[1]);
    double aspect = exp(random_between(r, log(a->crop_ratio[0]), log(a->crop_ratio[1])));
    double width = nearbyint(sqrt(area * aspect)), height = nearbyint(sqrt(area / aspect));
    if (width < 1 || width > side.width || height < 1 || height > side.height)
        return false;
    box->width = (int)width;
    box->height = (int)height;
    box->y = (int)draw_below(r, side.height - box->height + 1);
    box->x = (int)draw_below(r, side.width - box->width + 1);
    return true;
}

/* The largest box in the middle whose aspect ratio is allowed. */
static Box central_box(const AmdimAugment *a, Side side)
{
    double aspect = (double)side.width / side.height;
    Box box = {.width = side.width, .height = side.height};
    if (aspect < a->crop_ratio[0])
        box.height = (int)fmax(1, nearbyint(side.width / a->crop_ratio[0]));
    else if (aspect > a->crop_ratio[1])
        box.width = (int)fmax(1, nearbyint(side.height * a->crop_ratio[1]));
    box.x = (side.width - box.width) / 2;
    box.y = (side.height - box.height) / 2;
    return box;
}

static Box draw_crop(Random *r, const AmdimAugment *a, Side side)
{
    enum { TRIES = 10 };
    Box box;
    for (int i = 0; i < TRIES; i++)
        if (draw_box(r, a, side, &box))
            return box;
    return central_box(a, side);
}

static void draw_jitter(Random *r, const AmdimAugment *a, Draws *d)
{
    const double range[JITTERS] = {a->brightness, a->contrast, a->saturation, a->hue};
    d->jitter = random_unit(r) < a->jitter_p && a->has_jitter;
    for (int i = 0; i < JITTERS; i++) {
        double middle = i == HUE ? 0 : 1, least = i == HUE ? -range[i] : fmax(0, 1 - range[i]);
        d->amount[i] = (float)random_between(r, least, middle + range[i]);
        d->order[i] = i;
    }
    for (int i = JITTERS - 1; i > 0; i--) {
        int j = (int)draw_below(r, i + 1), last = d->order[i];
        d->order[i] = d->order[j];
        d->order[j] = last;
    }
}

/* The crop takes as many numbers as it has tries, and so is drawn last. */
static Draws draw_all(const AmdimAugment *a, Side side, const ViewAddress *at, int view)
{
    Draws d;
    Random shared = random_at(at->seed, RANDOM_SHARED, at->epoch, at->image, 0);
    Random own = random_at(at->seed, RANDOM_VIEW, at->epoch, at->image, view);
    d.flip = random_unit(&shared) < a->flip;
    d.translate = random_unit(&own) < a->translate_p && a->has_translate;
    d.dx = draw_below(&own, 2 * (int64_t)a->translate_max + 1) - a->translate_max;
    d.dy = draw_below(&own, 2 * (int64_t)a->translate_max + 1) - a->translate_max;
    draw_jitter(&own, a, &d);
    d.grayscale = random_unit(&own) < a->grayscale;
    if (a->has_crop)
        d.crop = draw_crop(&own, a, side);
    return d;
}

/* ---- steps ---- */

/* Mirrors an index about the first and the last pixel, as often as it takes. */
static int reflect(int64_t at, int count)
{
    if (count == 1)
        return 0;
    int64_t period = 2 * ((int64_t)count - 1), place = (at % period + period) % period;
    return (int)(place < count ? place : period - place);
}

static void translate(const float *in, int size, int channels, int64_t dx, int64_t dy, float *out)
{
    size_t row = (size_t)size * (size_t)channels;
    for (int y = 0; y < size; y++) {
        const float *from = in + (size_t)reflect(y - dy, size) * row;
        float *to = out + (size_t)y * row;
        for (int x = 0; x < size; x++) {
            const float *pixel = from + (size_t)reflect(x - dx, size) * (size_t)channels;
            for (int c = 0; c < channels; c++)
                *to++ = pixel[c];
        }
    }
}

/* Factors of 1 and no shift of hue are left out, as are changes that need colour with one channel. */
static void jitter(const Draws *d, size_t pixels, int channels, float *view)
{
    for (int i = 0; i < JITTERS; i++) {
        int kind = d->order[i];
        float amount = d->amount[kind];
        if (amount == (kind == HUE ? 0 : 1))
            continue;
        if (kind == BRIGHTNESS)
            color_brightness(view, pixels, channels, amount);
        else if (kind == CONTRAST)
            color_contrast(view, pixels, channels, amount);
        else if (kind == SATURATION && channels == 3)
            color_saturation(view, pixels, amount);
        else if (kind == HUE && channels == 3)
            color_hue(view, pixels, amount);
    }
}

static void normalise(const AmdimModel *m, float *view)
{
    size_t pixels = (size_t)m->size * (size_t)m->size, channels = (size_t)m->channels;
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < channels; c++)
            view[i * channels + c] = (view[i * channels + c] - m->mean[c]) / m->std[c];
}

/* ---- rows ---- */

/* The whole picture resized so that its shorter side is the view's, and the middle of that. */
static Window covering(int64_t size, int64_t width, int64_t height)
{
    Window window = {.width = size, .height = size};
    if (width < height)
        window.height = size * height / width;
    else
        window.width = size * width / height;
    window.left = (int64_t)nearbyint((double)(window.width - size) / 2);
    window.top = (int64_t)nearbyint((double)(window.height - size) / 2);
    return window;
}

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
            *d = draw_all(&m->augment, (Side){width, height}, w->address, w->address->first + v);
        w->mirrored = d->flip;
        Resizer *z = &w->view[v].resizer;
        if (w->address && m->augment.has_crop)
            resizer_aim(z, d->crop, (Window){.width = m->size, .height = m->size});
        else
            resizer_aim(z, (Box){.width = width, .height = height}, covering(m->size, width, height));
        bytes += resizer_bytes(z);
    }
    return bytes;
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
    if (d->translate) {
        memcpy(w->before, view->out, pixels * (size_t)m->channels * sizeof *w->before);
        translate(w->before, m->size, m->channels, d->dx, d->dy, view->out);
    }
    if (d->jitter)
        jitter(d, pixels, m->channels, view->out);
    if (d->grayscale && m->channels == 3)
        color_grey(view->out, pixels);
    normalise(m, view->out);
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

static bool read_views(Workspace *w, const Dataset *d, uint32_t image, Fault *f)
{
    if (!picture_read_rows(d, image, w->model->channels, &w->picture, &w->sink, f))
        return false;
    finish_views(w);
    return true;
}

bool augment_read(const AmdimModel *m, Workspace *w, const Dataset *d, const ViewAddress *at, int views,
                  float *const *out, Fault *f)
{
    ask(w, m, at, views, out);
    return read_views(w, d, at->image, f);
}

bool augment_read_none(const AmdimModel *m, Workspace *w, const Dataset *d, uint32_t image, float *out,
                       Fault *f)
{
    ask(w, m, NULL, 1, &out);
    return read_views(w, d, image, f);
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
