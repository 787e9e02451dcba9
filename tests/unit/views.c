/* views.c: see views.h. */
#include "views.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

AmdimModel plain_model(int size, int channels)
{
    static const float zeros[3] = {0, 0, 0}, ones[3] = {1, 1, 1};
    return (AmdimModel){.views = 2, .size = size, .channels = channels, .mean = zeros, .std = ones};
}

static Workspace *kept;

int free_workspace(void **state)
{
    (void)state;
    workspace_free(kept);
    kept = NULL;
    return 0;
}

Workspace *workspace_for(const AmdimModel *m)
{
    static int size, channels;
    static double blur;
    Fault f;
    if (kept && size == m->size && channels == m->channels && blur == m->augment.blur_sigma[1])
        return kept;
    workspace_free(kept);
    kept = workspace_new(m, &f);
    if (!kept)
        fail_msg("%s", f.text);
    size = m->size;
    channels = m->channels;
    blur = m->augment.blur_sigma[1];
    return kept;
}

void make_view(const AmdimModel *m, const Picture *p, uint64_t seed, uint32_t image, int view, float *out)
{
    augment_view(m, workspace_for(m), p, seed, 0, image, view, out);
}

Picture new_picture(int width, int height, int channels)
{
    Picture p = {0};
    Fault f;
    if (!picture_reserve(&p, width, height, channels, &f))
        fail_msg("%s", f.text);
    return p;
}

Picture random_picture(int width, int height, int channels)
{
    Picture p = new_picture(width, height, channels);
    Random r = random_at(1, RANDOM_BENCH, (uint64_t)width, (uint64_t)height, channels == 3);
    for (int i = 0; i < width * height * channels; i++)
        p.pixels[i] = (uint8_t)random_u32(&r);
    return p;
}

Picture constant_picture(int size, uint8_t red, uint8_t green, uint8_t blue)
{
    Picture p = new_picture(size, size, 3);
    for (int i = 0; i < size * size; i++)
        memcpy(p.pixels + 3 * i, (uint8_t[]){red, green, blue}, 3);
    return p;
}

void assert_close(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.9g is not %.9g within %g", a, b, tolerance);
}
