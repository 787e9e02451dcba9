/* augment.c: from a picture to a view. All of a view's chances are drawn first, from one address and in one
 * order whatever the model asks for, so that one key of the spec does not change what another draws; then the
 * steps are taken on floats in 0..1. */
#include "augment_internal.h"

#include <math.h>
#include <stdlib.h>

struct Workspace {
    Resizer resizer;
    float *before; /* the view before its translation */
};

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

Workspace *workspace_new(const AmdimModel *m, Fault *f)
{
    if (m->channels != 1 && m->channels != 3) {
        fault(f, "pictures have 1 or 3 channels, not the %d of the spec's input.channels", m->channels);
        return NULL;
    }
    Workspace *w = allocate_zero(sizeof *w, "augmenting pictures", f);
    if (!w)
        return NULL;
    size_t floats = (size_t)m->size * (size_t)m->size * (size_t)m->channels;
    w->before = allocate(floats * sizeof *w->before, "augmenting pictures", f);
    if (!resizer_init(&w->resizer, m->size, m->channels, f) || !w->before) {
        workspace_free(w);
        return NULL;
    }
    return w;
}

void workspace_free(Workspace *w)
{
    if (!w)
        return;
    resizer_free(&w->resizer);
    free(w->before);
    free(w);
}

/* ---- chances ---- */

/* Uniform in 0..n-1 from exactly one unit. */
static int64_t draw_below(Random *r, int64_t n)
{
    return (int64_t)(random_unit(r) * (double)n);
}

static bool draw_box(Random *r, const AmdimAugment *a, const Picture *p, Box *box)
{
    double area = (double)p->width * p->height * random_between(r, a->crop_scale[0], a->crop_scale[1]);
    double aspect = exp(random_between(r, log(a->crop_ratio[0]), log(a->crop_ratio[1])));
    double width = nearbyint(sqrt(area * aspect)), height = nearbyint(sqrt(area / aspect));
    if (width < 1 || width > p->width || height < 1 || height > p->height)
        return false;
    box->width = (int)width;
    box->height = (int)height;
    box->y = (int)draw_below(r, p->height - box->height + 1);
    box->x = (int)draw_below(r, p->width - box->width + 1);
    return true;
}

/* The largest box in the middle whose aspect ratio is allowed. */
static Box central_box(const AmdimAugment *a, const Picture *p)
{
    double aspect = (double)p->width / p->height;
    Box box = {.width = p->width, .height = p->height};
    if (aspect < a->crop_ratio[0])
        box.height = (int)fmax(1, nearbyint(p->width / a->crop_ratio[0]));
    else if (aspect > a->crop_ratio[1])
        box.width = (int)fmax(1, nearbyint(p->height * a->crop_ratio[1]));
    box.x = (p->width - box.width) / 2;
    box.y = (p->height - box.height) / 2;
    return box;
}

static Box draw_crop(Random *r, const AmdimAugment *a, const Picture *p)
{
    enum { TRIES = 10 };
    Box box;
    for (int i = 0; i < TRIES; i++)
        if (draw_box(r, a, p, &box))
            return box;
    return central_box(a, p);
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
static Draws draw_all(const AmdimAugment *a, const Picture *p, uint64_t seed, uint64_t epoch, uint32_t image,
                      int view)
{
    Draws d;
    Random shared = random_at(seed, RANDOM_SHARED, epoch, image, 0);
    Random own = random_at(seed, RANDOM_VIEW, epoch, image, view);
    d.flip = random_unit(&shared) < a->flip;
    d.translate = random_unit(&own) < a->translate_p && a->has_translate;
    d.dx = draw_below(&own, 2 * (int64_t)a->translate_max + 1) - a->translate_max;
    d.dy = draw_below(&own, 2 * (int64_t)a->translate_max + 1) - a->translate_max;
    draw_jitter(&own, a, &d);
    d.grayscale = random_unit(&own) < a->grayscale;
    if (a->has_crop)
        d.crop = draw_crop(&own, a, p);
    return d;
}

/* ---- steps ---- */

/* The whole picture resized so that its shorter side is the view's, and the middle of that. */
static void cover(Workspace *w, const Picture *p, bool mirrored, float *out)
{
    int64_t size = w->resizer.size, width = p->width, height = p->height;
    Window window = {.width = size, .height = size};
    if (width < height)
        window.height = size * height / width;
    else
        window.width = size * width / height;
    window.left = (int64_t)nearbyint((double)(window.width - size) / 2);
    window.top = (int64_t)nearbyint((double)(window.height - size) / 2);
    resize_window(&w->resizer, p, mirrored, (Box){.width = p->width, .height = p->height}, window, out);
}

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

void augment_view(const AmdimModel *m, Workspace *w, const Picture *p, uint64_t seed, uint64_t epoch,
                  uint32_t image, int view, float *out)
{
    Draws d = draw_all(&m->augment, p, seed, epoch, image, view);
    size_t pixels = (size_t)m->size * (size_t)m->size;
    float *first = d.translate ? w->before : out;
    if (m->augment.has_crop)
        resize_window(&w->resizer, p, d.flip, d.crop, (Window){.width = m->size, .height = m->size}, first);
    else
        cover(w, p, d.flip, first);
    if (d.translate)
        translate(first, m->size, m->channels, d.dx, d.dy, out);
    if (d.jitter)
        jitter(&d, pixels, m->channels, out);
    if (d.grayscale && m->channels == 3)
        color_grey(out, pixels);
    normalise(m, out);
}

void augment_none(const AmdimModel *m, Workspace *w, const Picture *p, float *out)
{
    cover(w, p, false, out);
    normalise(m, out);
}
