/* pictures.c: the built-in labelled pictures, drawn as they are asked for, so that a program can be tried
 * with no data at hand.
 *
 * Ten classes, five told apart by shape and five by texture, all the same when mirrored left to right.
 * Colours, which of ink and ground is lighter, place, size, a mild turn, and what the ground looks like say
 * nothing about the class: single pixels hardly help, looking at edges does. Picture i of a split is of class
 * i % 10 and depends on (split, i) alone. */
#include "runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 32,
    TRAIN_COUNT = 10000,
    TEST_COUNT = 2000,
    BLOBS = 4,
    PICTURE_SEED = 1, /* of the pictures that every program draws */
};

/* What a picture's figure is made of. Lengths are in pixels. */
typedef struct {
    double x, y;         /* the middle of a shape, the phase of a texture */
    double size;         /* from the middle to the outermost point of a shape; the period of a texture */
    double thin;         /* 0..1, thin to thick */
    double sine, cosine; /* of the turn */
} Figure;

/* ---- figures: how far inside the ink a point lies, negative outside ---- */

static double disc(const Figure *g, double x, double y)
{
    return g->size * (0.75 + 0.25 * g->thin) - sqrt(x * x + y * y);
}

static double ring(const Figure *g, double x, double y)
{
    double half = 1.2 + 0.8 * g->thin;
    return half - fabs(sqrt(x * x + y * y) - (g->size - half));
}

static double square(const Figure *g, double x, double y)
{
    return g->size * 0.75 - fmax(fabs(x), fabs(y));
}

static double triangle(const Figure *g, double x, double y)
{
    double slanted = 0.8660254 * fabs(x) - 0.5 * y;
    return 0.5 * g->size - fmax(slanted, y);
}

static double cross(const Figure *g, double x, double y)
{
    double half = 1.5 + 1.2 * g->thin;
    double flat = fmin(g->size - fabs(x), half - fabs(y));
    return fmax(flat, fmin(half - fabs(x), g->size - fabs(y)));
}

/* The distance into the nearer half of a wave of this period: positive in one half, negative in the other. */
static double wave(double u, double period)
{
    return 0.25 * period - fabs(u - period * floor(u / period) - 0.5 * period);
}

static double level_stripes(const Figure *g, double x, double y)
{
    (void)x;
    return wave(y, g->size);
}

static double upright_stripes(const Figure *g, double x, double y)
{
    (void)y;
    return wave(x, g->size);
}

static double checks(const Figure *g, double x, double y)
{
    double across = wave(x, 1.5 * g->size), down = wave(y, 1.5 * g->size);
    return fmin(fabs(across), fabs(down)) * (across * down < 0 ? -1 : 1);
}

static double dots(const Figure *g, double x, double y)
{
    double period = 1.2 * g->size;
    double across = x - period * (floor(x / period) + 0.5), down = y - period * (floor(y / period) + 0.5);
    return period * (0.27 + 0.06 * g->thin) - sqrt(across * across + down * down);
}

/* Rings around one another, all over the picture. */
static double ripples(const Figure *g, double x, double y)
{
    return wave(sqrt(x * x + y * y), g->size);
}

typedef struct {
    const char *name;
    double (*inside)(const Figure *g, double x, double y);
    double least, most; /* size */
} Class;

static const Class classes[] = {
    {"disc", disc, 7, 12},
    {"ring", ring, 7, 12},
    {"square", square, 8, 13},
    {"triangle", triangle, 9, 14},
    {"cross", cross, 8, 13},
    {"level stripes", level_stripes, 4.5, 9},
    {"upright stripes", upright_stripes, 4.5, 9},
    {"checks", checks, 4.5, 9},
    {"dots", dots, 4.5, 9},
    {"ripples", ripples, 4.5, 9},
};

/* A shape lies inside the picture but for a little; a texture's middle may be anywhere. */
static Figure draw_figure(Random *r, const Class *c)
{
    Figure g = {.size = random_between(r, c->least, c->most), .thin = random_unit(r)};
    double turn = random_between(r, -0.25, 0.25), slack = fmax(0, 0.5 * SIDE - g.size + 1);
    g.sine = sin(turn);
    g.cosine = cos(turn);
    g.x = 0.5 * SIDE + random_between(r, -slack, slack);
    g.y = 0.5 * SIDE + random_between(r, -slack, slack);
    return g;
}

/* ---- colours and the ground ---- */

typedef struct {
    float c[3];
} Colour;

typedef struct {
    float x, y, reach; /* middle; where it has faded out */
    Colour change;     /* at the middle */
} Blob;

typedef struct {
    Colour first, across, down; /* at the top left corner, and what a pixel's step adds */
    Blob blob[BLOBS];
    int blobs;
    float noise;
} Ground;

static double luma(Colour k)
{
    return 0.299 * k.c[0] + 0.587 * k.c[1] + 0.114 * k.c[2];
}

/* A colour of the given luma and a random hue, as vivid as stays within 0.05..0.95. */
static Colour draw_colour(Random *r, double light)
{
    Colour k;
    for (int c = 0; c < 3; c++)
        k.c[c] = (float)random_unit(r);
    double middle = luma(k), most = 1;
    for (int c = 0; c < 3; c++) {
        double away = k.c[c] - middle, room = away > 0 ? 0.95 - light : light - 0.05;
        if (fabs(away) > 1e-6)
            most = fmin(most, room / fabs(away));
    }
    for (int c = 0; c < 3; c++)
        k.c[c] = (float)(light + most * (k.c[c] - middle));
    return k;
}

static Colour draw_change(Random *r, double most)
{
    double light = random_between(r, -most, most);
    Colour k;
    for (int c = 0; c < 3; c++)
        k.c[c] = (float)(light + random_between(r, -most, most));
    return k;
}

static Ground draw_ground(Random *r, double light)
{
    Ground w = {.first = draw_colour(r, light), .blobs = (int)random_below(r, BLOBS + 1)};
    Colour across = draw_change(r, 0.12), down = draw_change(r, 0.12);
    for (int c = 0; c < 3; c++) {
        w.across.c[c] = across.c[c] / SIDE;
        w.down.c[c] = down.c[c] / SIDE;
        w.first.c[c] -= 0.5f * (across.c[c] + down.c[c]);
    }
    for (int b = 0; b < w.blobs; b++) {
        w.blob[b].x = (float)random_between(r, 0, SIDE);
        w.blob[b].y = (float)random_between(r, 0, SIDE);
        w.blob[b].reach = (float)random_between(r, 5, 14);
        w.blob[b].change = draw_change(r, 0.09);
    }
    w.noise = (float)random_between(r, 0.01, 0.08);
    return w;
}

static Colour ground_at(const Ground *w, float x, float y)
{
    Colour k;
    for (int c = 0; c < 3; c++)
        k.c[c] = w->first.c[c] + x * w->across.c[c] + y * w->down.c[c];
    for (int b = 0; b < w->blobs; b++) {
        const Blob *blob = &w->blob[b];
        float dx = x - blob->x, dy = y - blob->y;
        float near = 1 - (dx * dx + dy * dy) / (blob->reach * blob->reach);
        if (near > 0)
            for (int c = 0; c < 3; c++)
                k.c[c] += near * near * blob->change.c[c];
    }
    return k;
}

/* ---- a picture ---- */

/* Lightness of ink and ground, either of them the lighter, far enough apart for the eye. */
static void draw_lightness(Random *r, double *ink, double *ground)
{
    double apart = random_between(r, 0.28, 0.5), darker = random_between(r, 0.15, 0.85 - apart);
    bool light_ink = random_below(r, 2);
    *ink = light_ink ? darker + apart : darker;
    *ground = light_ink ? darker : darker + apart;
}

static uint8_t byte_of(float value)
{
    float clamped = value < 0 ? 0 : value > 1 ? 1 : value;
    return (uint8_t)(255 * clamped + 0.5f);
}

static void draw_pixels(Random *r, const Class *class, const Figure *g, const Ground *w, Colour ink,
                        uint8_t *out)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++, out += 3) {
            double dx = x + 0.5 - g->x, dy = y + 0.5 - g->y;
            double inside = class->inside(g, g->cosine * dx + g->sine * dy, g->cosine * dy - g->sine * dx);
            float cover = (float)fmin(fmax(inside + 0.5, 0), 1);
            Colour k = ground_at(w, (float)x, (float)y);
            uint32_t grains = random_u32(r);
            for (int c = 0; c < 3; c++, grains >>= 8) {
                float grain = w->noise * ((float)(grains & 255) / 127.5f - 1);
                out[c] = byte_of(k.c[c] + cover * (ink.c[c] - k.c[c]) + grain);
            }
        }
}

static bool pictures_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    const Split *split = d->own;
    if (!picture_reserve(out, SIDE, SIDE, 3, f))
        return false;
    uint32_t number = d->index[i];
    const Class *class = &classes[number % COUNT(classes)];
    Random r = random_at(PICTURE_SEED, RANDOM_PICTURE, *split, number, 0);
    double ink_light, ground_light;
    draw_lightness(&r, &ink_light, &ground_light);
    Figure figure = draw_figure(&r, class);
    Ground ground = draw_ground(&r, ground_light);
    Colour ink = draw_colour(&r, ink_light);
    draw_pixels(&r, class, &figure, &ground, ink, out->pixels);
    return picture_convert(out, channels, f);
}

/* They are drawn in floating point, so a pixel may differ between machines; the code that draws them does
 * not. */
static bool pictures_identify(const Dataset *d, Fingerprint *p, Fault *f)
{
    (void)d;
    (void)f;
    fingerprint_number(p, PICTURE_SEED);
    return true;
}

static void pictures_close(Dataset *d)
{
    free(d->own);
}

static bool name_classes(Dataset *d, Fault *f)
{
    for (int c = 0; c < d->classes; c++)
        if (!(d->class_name[c] = strdup(classes[c].name)))
            return fault(f, "out of memory for the names of the built-in classes; free some");
    return true;
}

Dataset *pictures_open(Split split, Fault *f)
{
    uint32_t count = split == SPLIT_TEST ? TEST_COUNT : TRAIN_COUNT;
    Dataset *d = dataset_new("built-in pictures", count, (int)COUNT(classes), f);
    Split *own = d ? allocate(sizeof *own, "a data set", f) : NULL;
    if (!own) {
        data_close(d);
        return NULL;
    }
    *own = split == SPLIT_TEST ? SPLIT_TEST : SPLIT_TRAIN;
    d->own = own;
    d->read = pictures_read;
    d->identify = pictures_identify;
    d->close = pictures_close;
    d->width = d->height = SIDE;
    for (uint32_t i = 0; i < count; i++)
        d->label[i] = (uint16_t)(i % COUNT(classes));
    if (name_classes(d, f))
        return d;
    data_close(d);
    return NULL;
}
