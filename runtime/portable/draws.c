/* draws.c: a view's chances, each a function of what it needs (portable.h). */
#include "portable.h"
#include <math.h>

bool draw_chance(Random *r, double p)
{
    return random_unit(r) < p;
}

/* Uniform in 0..n-1 from exactly one unit. */
static int64_t draw_below(Random *r, int64_t n)
{
    return (int64_t)(random_unit(r) * (double)n);
}

Translation draw_translation(Random *r, int max, double p)
{
    Translation t = {.on = draw_chance(r, p)};
    t.dx = draw_below(r, 2 * (int64_t)max + 1) - max;
    t.dy = draw_below(r, 2 * (int64_t)max + 1) - max;
    return t;
}

Jitter draw_jitter(Random *r, const double range[JITTERS], double p)
{
    Jitter jitter = {.on = draw_chance(r, p)};
    for (int i = 0; i < JITTERS; i++) {
        const double middle = i == HUE ? 0 : 1, least = i == HUE ? -range[i] : fmax(0, 1 - range[i]);
        jitter.amount[i] = (float)random_between(r, least, middle + range[i]);
        jitter.order[i] = i;
    }
    for (int i = JITTERS - 1; i > 0; i--) {
        const int j = (int)draw_below(r, i + 1), last = jitter.order[i];
        jitter.order[i] = jitter.order[j];
        jitter.order[j] = last;
    }
    return jitter;
}

Blur draw_blur(Random *r, double least, double most, double p)
{
    Blur blur = {.on = draw_chance(r, p)};
    blur.sigma = fmin(random_between(r, least, most), most); /* a sum may be rounded up */
    return blur;
}

/* Whether it lies in the picture. */
static bool draw_box(Random *r, const double scale[2], const double ratio[2], int width, int height, Box *box)
{
    const double area = (double)width * height * random_between(r, scale[0], scale[1]);
    const double aspect = exp(random_between(r, log(ratio[0]), log(ratio[1])));
    const double wide = nearbyint(sqrt(area * aspect)), high = nearbyint(sqrt(area / aspect));
    if (wide < 1 || wide > width || high < 1 || high > height)
        return false;
    box->width = (int)wide;
    box->height = (int)high;
    box->y = (int)draw_below(r, height - box->height + 1);
    box->x = (int)draw_below(r, width - box->width + 1);
    return true;
}

/* The largest box in the middle whose aspect ratio is allowed. */
static Box central_box(const double ratio[2], int width, int height)
{
    const double aspect = (double)width / height;
    Box box = {.width = width, .height = height};
    if (aspect < ratio[0])
        box.height = (int)fmax(1, nearbyint(width / ratio[0]));
    else if (aspect > ratio[1])
        box.width = (int)fmax(1, nearbyint(height * ratio[1]));
    box.x = (width - box.width) / 2;
    box.y = (height - box.height) / 2;
    return box;
}

Box draw_crop(Random *r, const double scale[2], const double ratio[2], int width, int height)
{
    enum { TRIES = 10 };
    Box box;
    for (int i = 0; i < TRIES; i++)
        if (draw_box(r, scale, ratio, width, height, &box))
            return box;
    return central_box(ratio, width, height);
}
