/* test_color.c: changes of colour against slow evaluations of their definitions, and the chances behind them
 * recovered from views of plain pictures. */
#include "augment/augment_internal.h"
#include "views.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static double clamped(double x)
{
    return fmin(fmax(x, 0), 1);
}

static double luma_of(const double *rgb)
{
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

/* By way of hue, saturation and value, sector by sector. */
static void shift_hue(double *rgb, double shift)
{
    double value = fmax(rgb[0], fmax(rgb[1], rgb[2])), spread = value - fmin(rgb[0], fmin(rgb[1], rgb[2]));
    if (spread == 0)
        return;
    double saturation = spread / value, hue;
    if (value == rgb[0])
        hue = (rgb[1] - rgb[2]) / spread;
    else if (value == rgb[1])
        hue = 2 + (rgb[2] - rgb[0]) / spread;
    else
        hue = 4 + (rgb[0] - rgb[1]) / spread;
    hue = hue / 6 + shift;
    hue = 6 * (hue - floor(hue));
    double part = hue - floor(hue), low = value * (1 - saturation);
    double falling = value * (1 - saturation * part), rising = value * (1 - saturation * (1 - part));
    const double sector[6][3] = {{value, rising, low},  {falling, value, low}, {low, value, rising},
                                 {low, falling, value}, {rising, low, value},  {value, low, falling}};
    memcpy(rgb, sector[(int)floor(hue) % 6], 3 * sizeof *rgb);
}

enum { COLOURS = 500 };

static void random_colours(float *view, Random *r)
{
    for (int i = 0; i < COLOURS * 3; i++)
        view[i] = (float)(random_below(r, 256) / 255.0);
    const float special[] = {0, 0, 0, 1, 1, 1, .5f, .5f, .5f, 1,   0,   0,
                             0, 1, 0, 0, 0, 1, 1,   1,   0,   .3f, .7f, .7f};
    memcpy(view, special, sizeof special);
}

static void test_hue_turns(void **state)
{
    (void)state;
    Random r = random_at(6, RANDOM_BENCH, 0, 0, 0);
    const float shifts[] = {0.2f, -0.2f, 0.5f, -0.5f, 0.01f, 0.97f, -1.3f};
    for (size_t s = 0; s < COUNT(shifts); s++) {
        float view[COLOURS * 3];
        random_colours(view, &r);
        float before[COLOURS * 3];
        memcpy(before, view, sizeof view);
        color_hue(view, COLOURS, shifts[s]);
        for (int i = 0; i < COLOURS; i++) {
            double rgb[3] = {before[3 * i], before[3 * i + 1], before[3 * i + 2]};
            shift_hue(rgb, shifts[s]);
            for (int c = 0; c < 3; c++)
                assert_close(view[3 * i + c], rgb[c], 3e-6);
        }
    }
    float red[3] = {1, 0, 0};
    color_hue(red, 1, 1 / 3.0f);
    assert_close(red[0], 0, 1e-6);
    assert_close(red[1], 1, 1e-6);
    assert_close(red[2], 0, 1e-6);
}

static void test_brightness_contrast_and_saturation(void **state)
{
    (void)state;
    Random r = random_at(7, RANDOM_BENCH, 0, 0, 0);
    const float factors[] = {0, 0.4f, 1, 1.7f};
    for (size_t k = 0; k < COUNT(factors); k++) {
        float view[COLOURS * 3], bright[COLOURS * 3], contrast[COLOURS * 3], saturated[COLOURS * 3];
        random_colours(view, &r);
        memcpy(bright, view, sizeof view);
        memcpy(contrast, view, sizeof view);
        memcpy(saturated, view, sizeof view);
        color_brightness(bright, COLOURS, 3, factors[k]);
        color_contrast(contrast, COLOURS, 3, factors[k]);
        color_saturation(saturated, COLOURS, factors[k]);
        double mean = 0;
        for (int i = 0; i < COLOURS; i++)
            mean += luma_of((double[]){view[3 * i], view[3 * i + 1], view[3 * i + 2]}) / COLOURS;
        for (int i = 0; i < COLOURS * 3; i++) {
            const float *rgb = view + i / 3 * 3;
            double x = view[i], f = factors[k], grey = luma_of((double[]){rgb[0], rgb[1], rgb[2]});
            assert_close(bright[i], clamped(f * x), 1e-6);
            assert_close(contrast[i], clamped(f * x + (1 - f) * mean), 1e-6);
            assert_close(saturated[i], clamped(f * x + (1 - f) * grey), 1e-6);
        }
    }
}

/* Jitter of these ranges, always, and nothing else. */
static AmdimModel jitter_model(double brightness, double contrast, double saturation, double hue)
{
    AmdimModel m = plain_model(4, 3);
    m.augment.has_jitter = true;
    m.augment.jitter_p = 1;
    m.augment.brightness = brightness;
    m.augment.contrast = contrast;
    m.augment.saturation = saturation;
    m.augment.hue = hue;
    return m;
}

static void check_uniform(const double *values, int count, double low, double high)
{
    double sum = 0, squares = 0, least = high, most = low;
    for (int i = 0; i < count; i++) {
        sum += values[i] / count;
        squares += values[i] * values[i] / count;
        least = fmin(least, values[i]);
        most = fmax(most, values[i]);
    }
    double range = high - low;
    assert_true(least >= low - 1e-5 && most <= high + 1e-5);
    assert_close(least, low, 0.01 * range);
    assert_close(most, high, 0.01 * range);
    assert_close(sum, (low + high) / 2, 0.04 * range);
    assert_close(squares - sum * sum, range * range / 12, 0.005 * range * range);
}

enum { DRAWS = 2000 };

static void test_jitter_factors_are_uniform(void **state)
{
    (void)state;
    static double brightness[DRAWS], low_brightness[DRAWS], saturation[DRAWS], hue[DRAWS];
    AmdimModel bright = jitter_model(0.4, 0, 0, 0), dark = jitter_model(1.5, 0, 0, 0),
               vivid = jitter_model(0, 0, 0.3, 0), turned = jitter_model(0, 0, 0, 0.1);
    Picture grey = constant_picture(4, 102, 102, 102), pale = constant_picture(4, 120, 100, 80),
            red = constant_picture(4, 255, 0, 0);
    float out[4 * 4 * 3];
    for (uint32_t i = 0; i < DRAWS; i++) {
        make_view(&bright, &grey, 1, i, 0, out);
        brightness[i] = out[0] / 0.4;
        make_view(&dark, &grey, 1, i, 0, out);
        low_brightness[i] = out[0] / 0.4;
        make_view(&vivid, &pale, 1, i, 0, out);
        saturation[i] = (out[0] - out[2]) / (40 / 255.0);
        make_view(&turned, &red, 1, i, 0, out);
        hue[i] = (out[1] - out[2]) / 6.0;
    }
    check_uniform(brightness, DRAWS, 0.6, 1.4);
    check_uniform(low_brightness, DRAWS, 0, 2.5);
    check_uniform(saturation, DRAWS, 0.7, 1.3);
    check_uniform(hue, DRAWS, -0.1, 0.1);
    picture_free(&grey);
    picture_free(&pale);
    picture_free(&red);
}

static void test_jitter_has_its_probability(void **state)
{
    (void)state;
    AmdimModel m = jitter_model(0.4, 0.4, 0.4, 0.2);
    m.augment.jitter_p = 0.7;
    Picture p = constant_picture(4, 90, 60, 30);
    float out[4 * 4 * 3];
    int changed = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        make_view(&m, &p, 1, i, 0, out);
        changed += out[0] != 90 / 255.0f;
    }
    assert_close(changed, 0.7 * DRAWS, 100);
    picture_free(&p);
}

/* What one image's jitter draws, found with one key at a time. */
typedef struct {
    float brightness, contrast, saturation, hue;
} Amounts;

static Amounts recover_amounts(const AmdimModel *m, uint32_t image)
{
    const AmdimAugment *a = &m->augment;
    AmdimModel brightness = jitter_model(a->brightness, 0, 0, 0),
               contrast = jitter_model(0, a->contrast, 0, 0),
               saturation = jitter_model(0, 0, a->saturation, 0), hue = jitter_model(0, 0, 0, a->hue);
    Picture grey = constant_picture(4, 102, 102, 102), pale = constant_picture(4, 120, 100, 80),
            red = constant_picture(4, 255, 0, 0), halves = constant_picture(4, 100, 100, 100);
    memset(halves.pixels, 150, 4 * 4 * 3 / 2);
    Amounts amounts;
    float out[4 * 4 * 3];
    make_view(&brightness, &grey, 1, image, 0, out);
    amounts.brightness = out[0] / 0.4f;
    make_view(&contrast, &halves, 1, image, 0, out);
    amounts.contrast = (out[0] - out[47]) / (50 / 255.0f);
    make_view(&saturation, &pale, 1, image, 0, out);
    amounts.saturation = (out[0] - out[2]) / (40 / 255.0f);
    make_view(&hue, &red, 1, image, 0, out);
    amounts.hue = (out[1] - out[2]) / 6;
    picture_free(&grey);
    picture_free(&pale);
    picture_free(&red);
    picture_free(&halves);
    return amounts;
}

static void apply(float *view, Amounts amounts, const int order[4])
{
    for (int i = 0; i < 4; i++) {
        if (order[i] == 0)
            color_brightness(view, 16, 3, amounts.brightness);
        else if (order[i] == 1)
            color_contrast(view, 16, 3, amounts.contrast);
        else if (order[i] == 2)
            color_saturation(view, 16, amounts.saturation);
        else
            color_hue(view, 16, amounts.hue);
    }
}

/* All orders of four, as digits. */
static int list_orders(int orders[24][4])
{
    int count = 0;
    for (int code = 0; code < 256; code++) {
        int order[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6}, seen = 0;
        for (int i = 0; i < 4; i++)
            seen |= 1 << order[i];
        if (seen == 15)
            memcpy(orders[count++], order, sizeof order);
    }
    return count;
}

/* The view must be what some order of the four recovered changes makes, and every order must occur. Also
 * shows that one key's value does not change what another draws. */
static void test_jitter_comes_in_every_order(void **state)
{
    (void)state;
    int orders[24][4], alone[24] = {0};
    assert_int_equal(list_orders(orders), 24);
    AmdimModel m = jitter_model(0.8, 0.8, 0.8, 0.16);
    Picture p = random_picture(4, 4, 3);
    for (uint32_t image = 0; image < 1000; image++) {
        Amounts amounts = recover_amounts(&m, image);
        float out[48];
        make_view(&m, &p, 1, image, 0, out);
        int matches = 0, last = 0;
        for (int o = 0; o < 24; o++) {
            float view[48], worst = 0;
            for (int i = 0; i < 48; i++)
                view[i] = p.pixels[i] / 255.0f;
            apply(view, amounts, orders[o]);
            for (int i = 0; i < 48; i++)
                worst = fmaxf(worst, fabsf(view[i] - out[i]));
            if (worst < 1e-4f) {
                matches++;
                last = o;
            }
        }
        assert_true(matches > 0);
        alone[last] += matches == 1;
    }
    for (int o = 0; o < 24; o++)
        assert_true(alone[o] > 5);
    picture_free(&p);
}

static void test_grayscale(void **state)
{
    (void)state;
    Picture p = constant_picture(4, 250, 100, 20);
    AmdimModel m = plain_model(4, 3);
    m.augment.grayscale = 0.25;
    float out[4 * 4 * 3];
    int grey = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        make_view(&m, &p, 1, i, 0, out);
        if (out[0] == 250 / 255.0f)
            continue;
        grey++;
        for (int k = 0; k < 48; k++)
            assert_close(out[k], (0.299 * 250 + 0.587 * 100 + 0.114 * 20) / 255, 1e-6);
    }
    assert_close(grey, 0.25 * DRAWS, 100);
    picture_free(&p);
}

static void test_one_channel_ignores_what_needs_colour(void **state)
{
    (void)state;
    Picture p = random_picture(4, 4, 1);
    AmdimModel m = jitter_model(0, 0, 0.5, 0.5);
    m.channels = 1;
    m.augment.grayscale = 1;
    float out[16];
    double mean = 0;
    for (uint32_t image = 0; image < 20; image++) {
        make_view(&m, &p, 1, image, 0, out);
        for (int i = 0; i < 16; i++)
            assert_true(out[i] == p.pixels[i] / 255.0f);
    }
    for (int i = 0; i < 16; i++) {
        p.pixels[i] = (uint8_t)(100 + p.pixels[i] / 8);
        mean += p.pixels[i] / 255.0 / 16;
    }
    m.augment.contrast = 0.5;
    make_view(&m, &p, 1, 0, 0, out);
    double factor = (out[0] - mean) / (p.pixels[0] / 255.0 - mean);
    assert_true(factor > 0.5 && factor < 1.5 && fabs(factor - 1) > 1e-3);
    for (int i = 0; i < 16; i++)
        assert_close(out[i], mean + factor * (p.pixels[i] / 255.0 - mean), 1e-5);
    picture_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hue_turns),
        cmocka_unit_test(test_brightness_contrast_and_saturation),
        cmocka_unit_test(test_jitter_factors_are_uniform),
        cmocka_unit_test(test_jitter_has_its_probability),
        cmocka_unit_test(test_jitter_comes_in_every_order),
        cmocka_unit_test(test_grayscale),
        cmocka_unit_test(test_one_channel_ignores_what_needs_colour),
    };
    return cmocka_run_group_tests(tests, NULL, free_workspace);
}
