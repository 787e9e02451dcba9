/* emit_views.c: a library's pictures: as testing sees them, and as views, with the steps that the spec asks
 * for written out. The chances are drawn as the runtime draws them, those of steps that are off passed over.
 */
#include "library.h"
#include <string.h>

static bool in_colour(const Spec *s)
{
    return s->input.channels.v == 3;
}

static bool is_greyed(const Spec *s)
{
    return s->augment.grayscale.v > 0 && in_colour(s);
}

const char *augmentation_text(Arena *a, const Spec *s)
{
    const struct {
        bool on;
        const char *name;
    } steps[] = {{s->augment.flip.v > 0, "flip"},
                 {s->augment.crop.on, "crop"},
                 {s->augment.translate.on, "translation"},
                 {s->augment.jitter.on, "jitter"},
                 {is_greyed(s), "greyscale"},
                 {s->augment.blur.on, "blur"},
                 {s->augment.solarize.on, "solarizing"}};
    const char *text = "";
    for (size_t i = 0; i < COUNT(steps); i++)
        if (steps[i].on)
            text = arena_printf(a, "%s%s%s", text, *text ? ", " : "", steps[i].name);
    return *text ? text : "the picture itself, for this spec augments nothing";
}

/* ---- as testing sees it ---- */

void emit_pictures(Emit *e)
{
    const Spec *s = e->program->net->spec;
    emit_floats(e, "mean", s->input.mean, (int)s->input.channels.v);
    emit_floats(e, "deviation", s->input.std, (int)s->input.channels.v);
    fprintf(e->out, "\n/* A picture as testing sees it. */\n"
                    "static void load_picture(const uint8_t *picture, float *x)\n{\n"
                    "    for (int i = 0; i < PICTURE; i++)\n        x[i] = (float)picture[i] / 255;\n"
                    "    normalise_view(x, PIXELS, CHANNELS, mean, deviation);\n}\n");
}

/* ---- views ---- */

static bool needs_work(const Spec *s)
{
    return s->augment.crop.on || s->augment.translate.on || s->augment.blur.on;
}

static void emit_work(Emit *e)
{
    const Spec *s = e->program->net->spec;
    if (!needs_work(s))
        return;
    if (s->augment.blur.on)
        fprintf(e->out, "enum { RADIUS = %d }; /* of the widest blur */\n\n", blur_radius(s));
    if (s->augment.crop.on)
        fprintf(e->out, "enum { TAPS = 5 }; /* pixels that one is made of where nothing shrinks */\n\n");
    fprintf(e->out, "/* What a view takes while it is made. */\ntypedef struct {\n");
    if (s->augment.crop.on)
        fprintf(e->out, "    double sum[SIDE];\n    float weight[SIDE * TAPS], row[SIDE * CHANNELS], "
                        "resampled[SIDE * CHANNELS];\n"
                        "    int begin[2][SIDE], end[2][SIDE];\n");
    if (s->augment.translate.on || s->augment.blur.on)
        fprintf(e->out, "    float before[PICTURE]; /* its translation or blur */\n");
    if (s->augment.blur.on)
        fprintf(e->out, "    float gaussian[RADIUS + 1], mirrored[(SIDE + 2 * RADIUS) * CHANNELS];\n");
    fprintf(
        e->out,
        "} ViewWork;\n"
        "_Static_assert(sizeof(ViewWork) <= sizeof((Work *)0)->arena, \"views are made in the arena\");\n\n");
}

/* How a row of the picture is read, mirrored or not. */
static void emit_load_row(Emit *e)
{
    fprintf(e->out,
            "/* A row of the picture as floats. */\n"
            "static void load_row(const uint8_t *row, bool mirrored, float *to)\n{\n"
            "    for (int i = 0; i < SIDE; i++)\n"
            "        for (int c = 0; c < CHANNELS; c++)\n"
            "            to[i * CHANNELS + c] = row[(mirrored ? SIDE - 1 - i : i) * CHANNELS + c];\n}\n\n");
}

static void emit_load(Emit *e)
{
    if (!e->program->net->spec->augment.crop.on) {
        fprintf(e->out,
                "/* The picture, 0..1. */\n"
                "static void load_view(const uint8_t *picture, bool mirrored, float *view)\n{\n"
                "    for (int y = 0; y < SIDE; y++)\n"
                "        load_row(picture + y * SIDE * CHANNELS, mirrored, view + y * SIDE * CHANNELS);\n"
                "    for (int i = 0; i < PICTURE; i++)\n        view[i] = view[i] / 255;\n}\n\n");
        return;
    }
    fprintf(
        e->out,
        "/* A box of the picture, resized to the whole view, 0..1. */\n"
        "static void load_view(ViewWork *w, const uint8_t *picture, bool mirrored, Box box, float *view)\n{\n"
        "    Resizer z = {.size = SIDE,\n                 .channels = CHANNELS,\n"
        "                 .across = {.begin = w->begin[0], .end = w->end[0]},\n"
        "                 .down = {.begin = w->begin[1], .end = w->end[1]},\n"
        "                 .weight = w->weight,\n                 .sum = w->sum,\n                 .row = "
        "w->resampled};\n"
        "    resizer_aim(&z, box, (Window){.width = SIDE, .height = SIDE});\n"
        "    resizer_begin(&z, view);\n"
        "    for (int y = z.first_row; y < z.end_row; y++) {\n"
        "        load_row(picture + y * SIDE * CHANNELS, mirrored, w->row);\n"
        "        resizer_take(&z, y, w->row);\n    }\n    resizer_finish(&z);\n}\n\n");
}

/* Numbers that steps which are off would have drawn before those that are on: so many are passed over. */
typedef struct {
    Emit *e;
    const char *stream;
    int skipped;
    const char *what;
} Drawing;

static void draw(Drawing *d, bool on, int units, const char *name, const char *text)
{
    if (!on) {
        d->skipped += units;
        d->what = arena_printf(d->e->arena, "%s%s%s", d->what, *d->what ? ", " : "", name);
        return;
    }
    if (d->skipped)
        fprintf(d->e->out, "        random_skip(&%s, %d); /* off: %s */\n", d->stream, d->skipped, d->what);
    d->skipped = 0;
    d->what = "";
    fprintf(d->e->out, "        %s\n", text);
}

static const char *range_text(Emit *e, double low, double high)
{
    return arena_printf(e->arena, "(const double[]){%s, %s}", real(e, low), real(e, high));
}

static bool may_be_whole(const Spec *s)
{
    return s->augment.crop.on && s->augment.crop.p.v < 1;
}

/* Chances of keys that the language once lacked, which have a stream of their own. */
static void emit_more_draws(Emit *e)
{
    const Spec *s = e->program->net->spec;
    Arena *a = e->arena;
    const SpecAugmentStep *blur = &s->augment.blur, *solarize = &s->augment.solarize;
    if (!may_be_whole(s) && !blur->on && !solarize->on)
        return;
    Drawing d = {.e = e, .stream = "more", .what = ""};
    fprintf(e->out, "        Random more = random_at(seed, RANDOM_MORE, epoch, number, view);\n");
    draw(&d, may_be_whole(s), 1, "whether it is cropped",
         arena_printf(a, "const bool cropped = draw_chance(&more, %s);", real(e, s->augment.crop.p.v)));
    draw(&d, blur->on, 2, "blur",
         arena_printf(a, "const Blur blur = draw_blur(&more, %s, %s, %s);", real(e, blur->low.v),
                      real(e, blur->high.v), real(e, blur->p.v)));
    draw(&d, solarize->on, 1, "solarizing",
         arena_printf(a, "const bool solarized = draw_chance(&more, %s);", real(e, solarize->p.v)));
}

static void emit_draws(Emit *e)
{
    const Spec *s = e->program->net->spec;
    Arena *a = e->arena;
    const bool draws = s->augment.translate.on || s->augment.jitter.on || is_greyed(s) || s->augment.crop.on;
    if (!draws)
        return;
    Drawing d = {.e = e, .stream = "own", .what = ""};
    fprintf(e->out, "        Random own = random_at(seed, RANDOM_VIEW, epoch, number, view);\n");
    draw(&d, s->augment.translate.on, 3, "translation",
         arena_printf(a, "const Translation moved = draw_translation(&own, %d, %s);",
                      (int)s->augment.translate.max.v, real(e, s->augment.translate.p.v)));
    draw(&d, s->augment.jitter.on, 8, "jitter",
         arena_printf(a, "const Jitter jitter = draw_jitter(&own, (const double[]){%s, %s, %s, %s}, %s);",
                      real(e, s->augment.jitter.brightness.v), real(e, s->augment.jitter.contrast.v),
                      real(e, s->augment.jitter.saturation.v), real(e, s->augment.jitter.hue.v),
                      real(e, s->augment.jitter.p.v)));
    draw(&d, is_greyed(s), 1, "greyscale",
         arena_printf(a, "const bool grey = draw_chance(&own, %s);", real(e, s->augment.grayscale.v)));
    draw(&d, s->augment.crop.on, 0, "crop",
         arena_printf(a, "const Box box = %sdraw_crop(&own, %s, %s, SIDE, SIDE)%s;",
                      may_be_whole(s) ? "cropped ? " : "",
                      range_text(e, s->augment.crop.low.v, s->augment.crop.high.v),
                      range_text(e, s->augment.crop.ratio_low.v, s->augment.crop.ratio_high.v),
                      may_be_whole(s) ? " : (Box){.width = SIDE, .height = SIDE}" : ""));
}

static void emit_steps(Emit *e)
{
    const Spec *s = e->program->net->spec;
    fprintf(e->out, s->augment.crop.on ? "        load_view(v, picture, mirrored, box, to);\n"
                                       : "        load_view(picture, mirrored, to);\n");
    if (s->augment.translate.on)
        fprintf(e->out,
                "        if (moved.on) {\n            memcpy(v->before, to, sizeof v->before);\n"
                "            translate(v->before, SIDE, CHANNELS, moved.dx, moved.dy, to);\n        }\n");
    if (s->augment.jitter.on)
        fprintf(e->out, "        if (jitter.on)\n            jitter_%s(&jitter, PIXELS, to);\n",
                in_colour(s) ? "colour" : "grey");
    if (is_greyed(s))
        fprintf(e->out, "        if (grey)\n            color_grey(to, PIXELS);\n");
    if (s->augment.blur.on)
        fprintf(e->out,
                "        if (blur.on)\n            blur_view(blur.sigma, SIDE, CHANNELS, v->gaussian, "
                "v->mirrored, v->before, to);\n");
    if (s->augment.solarize.on)
        fprintf(e->out,
                "        if (solarized)\n            solarize_view(to, PIXELS, CHANNELS, (float)%s);\n",
                real(e, s->augment.solarize.threshold.v));
    fprintf(e->out, "        normalise_view(to, PIXELS, CHANNELS, mean, deviation);\n");
}

void emit_put(Emit *e, const ModelLibrary *l)
{
    const Spec *s = e->program->net->spec;
    const bool works = needs_work(s);
    emit_work(e);
    emit_load_row(e);
    emit_load(e);
    fprintf(e->out,
            "void %s_put(void *work, int place, const uint8_t *picture, uint64_t seed, uint64_t epoch, "
            "uint32_t number)\n"
            "{\n    Work *const w = work;\n",
            l->name);
    if (works)
        fprintf(e->out, "    ViewWork *const v = (ViewWork *)(void *)w->arena;\n");
    if (s->augment.flip.v > 0)
        fprintf(e->out,
                "    Random shared = random_at(seed, RANDOM_SHARED, epoch, number, 0);\n"
                "    const bool mirrored = draw_chance(&shared, %s);\n",
                real(e, s->augment.flip.v));
    else
        fprintf(e->out, "    const bool mirrored = false;\n");
    fprintf(e->out, "    for (int view = 0; view < VIEWS; view++) {\n"
                    "        float *const to = w->x + (size_t)(view * BATCH + place) * PICTURE;\n");
    if (!works && s->augment.flip.v == 0 && !s->augment.jitter.on && !is_greyed(s) && !s->augment.solarize.on)
        fprintf(e->out, "        (void)seed, (void)epoch, (void)number;\n");
    emit_more_draws(e);
    emit_draws(e);
    emit_steps(e);
    fprintf(e->out, "    }\n}\n");
}
