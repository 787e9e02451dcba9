/* test_augment.c: flip and translation exactly, and what holds of a view as a whole: normalised last, and a
 * matter of its address alone. Resizing and cropping are in test_resize.c, colours in test_color.c. */
#include "views.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- flip and translation ---- */

static void test_flip_mirrors(void **state)
{
    (void)state;
    enum { SIZE = 9 };
    Picture p = random_picture(SIZE, SIZE, 3);
    AmdimModel m = plain_model(SIZE, 3);
    m.augment.flip = 1;
    float out[SIZE * SIZE * 3];
    make_view(&m, &p, 1, 0, 0, out);
    for (int i = 0; i < SIZE * SIZE; i++)
        for (int c = 0; c < 3; c++)
            assert_true(out[3 * i + c] == (float)p.pixels[3 * (i + SIZE - 1 - 2 * (i % SIZE)) + c] / 255.0f);
    picture_free(&p);
}

static void test_flip_is_shared_by_the_views(void **state)
{
    (void)state;
    enum { IMAGES = 2000 };
    Picture p = random_picture(2, 2, 3);
    AmdimModel m = plain_model(2, 3);
    m.augment.flip = 0.3;
    int flips = 0;
    for (uint32_t image = 0; image < IMAGES; image++) {
        float first[12], second[12];
        make_view(&m, &p, 1, image, 0, first);
        make_view(&m, &p, 1, image, 1, second);
        assert_memory_equal(first, second, sizeof first);
        flips += first[0] != p.pixels[0] / 255.0f;
    }
    assert_close(flips, 0.3 * IMAGES, 100);
    picture_free(&p);
}

static int reflected(int at, int count)
{
    while (at < 0 || at >= count)
        at = count == 1 ? 0 : at < 0 ? -at : 2 * (count - 1) - at;
    return at;
}

static bool is_shifted(const float *out, const Picture *p, int dx, int dy)
{
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            for (int c = 0; c < 3; c++) {
                int from = reflected(y - dy, p->height) * p->width + reflected(x - dx, p->width);
                if (out[(y * p->width + x) * 3 + c] != (float)p->pixels[3 * from + c] / 255.0f)
                    return false;
            }
    return true;
}

static void test_translation_reflects_uniform_shifts(void **state)
{
    (void)state;
    enum { SIZE = 8, MAX = 2, SHIFTS = 2 * MAX + 1, IMAGES = 2500 };
    Picture p = random_picture(SIZE, SIZE, 3);
    AmdimModel m = plain_model(SIZE, 3);
    m.augment.has_translate = true;
    m.augment.translate_max = MAX;
    m.augment.translate_p = 1;
    int seen[SHIFTS][SHIFTS] = {{0}};
    for (uint32_t image = 0; image < IMAGES; image++) {
        float out[SIZE * SIZE * 3];
        make_view(&m, &p, 1, image, 1, out);
        for (int dy = -MAX; dy <= MAX; dy++)
            for (int dx = -MAX; dx <= MAX; dx++)
                seen[dy + MAX][dx + MAX] += is_shifted(out, &p, dx, dy);
    }
    for (int i = 0; i < SHIFTS * SHIFTS; i++)
        assert_close(seen[i / SHIFTS][i % SHIFTS], (double)IMAGES / (SHIFTS * SHIFTS), 50);
    picture_free(&p);
}

static void test_translation_may_exceed_the_picture(void **state)
{
    (void)state;
    enum { MAX = 11 };
    for (int size = 1; size <= 3; size++) {
        Picture p = random_picture(size, size, 3);
        AmdimModel m = plain_model(size, 3);
        m.augment.has_translate = true;
        m.augment.translate_max = MAX;
        m.augment.translate_p = 1;
        for (uint32_t image = 0; image < 200; image++) {
            float out[27];
            make_view(&m, &p, 2, image, 0, out);
            int matches = 0;
            for (int i = 0; i < (2 * MAX + 1) * (2 * MAX + 1); i++)
                matches += is_shifted(out, &p, i % (2 * MAX + 1) - MAX, i / (2 * MAX + 1) - MAX);
            assert_true(matches > 0);
        }
        picture_free(&p);
    }
}

static void test_translation_has_its_probability(void **state)
{
    (void)state;
    enum { SIZE = 16, IMAGES = 2000 };
    Picture p = random_picture(SIZE, SIZE, 3);
    AmdimModel m = plain_model(SIZE, 3);
    m.augment.has_translate = true;
    m.augment.translate_max = 1000; /* as good as never 0 modulo the picture */
    m.augment.translate_p = 0.2;
    int still = 0;
    for (uint32_t image = 0; image < IMAGES; image++) {
        float out[SIZE * SIZE * 3];
        make_view(&m, &p, 3, image, 0, out);
        still += is_shifted(out, &p, 0, 0);
    }
    assert_close(still, 0.8 * IMAGES, 100);
    picture_free(&p);
}

/* ---- blur ---- */

/* The Gaussian of torchvision's gaussian_blur: weights exp(-x^2 / 2 sigma^2) at whole pixels from -half to
 * half, over their sum, and pixels mirrored about the edge's. It has no end here but where nothing is left.
 */
static double gaussian(double sigma, int x)
{
    return exp(-0.5 * x * x / (sigma * sigma));
}

static double blurred(const Picture *p, double sigma, int x, int y, int c)
{
    enum { FAR = 40 };
    double sum = 0, weights = 0;
    for (int dy = -FAR; dy <= FAR; dy++)
        for (int dx = -FAR; dx <= FAR; dx++) {
            int from = reflected(y + dy, p->height) * p->width + reflected(x + dx, p->width);
            double weight = gaussian(sigma, dx) * gaussian(sigma, dy);
            sum += weight * p->pixels[from * p->channels + c] / 255;
            weights += weight;
        }
    return sum / weights;
}

static AmdimModel blurring_model(int size, int channels, double least, double most, double p)
{
    AmdimModel m = plain_model(size, channels);
    m.augment.has_blur = true;
    m.augment.blur_sigma[0] = least;
    m.augment.blur_sigma[1] = most;
    m.augment.blur_p = p;
    return m;
}

static void check_blur(int size, int channels, double sigma)
{
    Picture p = random_picture(size, size, channels);
    AmdimModel m = blurring_model(size, channels, sigma, sigma, 1);
    float out[12 * 12 * 3];
    make_view(&m, &p, 1, 0, 0, out);
    for (int i = 0; i < size * size; i++)
        for (int c = 0; c < channels; c++) /* what lies beyond four deviations, on both axes, is left out */
            assert_close(out[i * channels + c], blurred(&p, sigma, i % size, i / size, c),
                         2 * erfc(4 / sqrt(2)));
    picture_free(&p);
}

static void test_blur_is_a_gaussian(void **state)
{
    (void)state;
    check_blur(12, 3, 0.1);
    check_blur(12, 3, 0.6);
    check_blur(12, 1, 1);
    check_blur(12, 3, 2);
    check_blur(5, 3, 4.5); /* mirrored more than once */
    check_blur(1, 3, 1);
}

/* What sigma it was drawn with, of a picture that is white in the middle alone: there the blurred one has the
 * square of the middle's weight, which falls as sigma grows. */
static double middle_weight(double sigma)
{
    double sum = 0;
    for (int x = -40; x <= 40; x++)
        sum += gaussian(sigma, x);
    return 1 / (sum * sum);
}

static void test_blur_draws_its_sigma(void **state)
{
    (void)state;
    enum { SIZE = 17, IMAGES = 1000, BINS = 10, MIDDLE = (SIZE / 2 * SIZE + SIZE / 2) * 3 };
    const double least = 0.4, most = 1.4, share = 0.6;
    Picture p = constant_picture(SIZE, 0, 0, 0);
    memset(p.pixels + MIDDLE, 255, 3);
    AmdimModel m = blurring_model(SIZE, 3, least, most, share);
    int below[BINS + 1] = {0}, still = 0;
    for (uint32_t image = 0; image < IMAGES; image++) {
        float out[SIZE * SIZE * 3];
        make_view(&m, &p, 4, image, image % 2, out);
        if (out[MIDDLE] == 1) {
            still++;
            continue;
        }
        assert_in_range(out[MIDDLE] * 1e6, middle_weight(most) * 1e6 - 500, middle_weight(least) * 1e6 + 500);
        for (int i = 0; i <= BINS; i++)
            below[i] += out[MIDDLE] > middle_weight(least + (most - least) * i / BINS);
    }
    const double blurs = IMAGES - still;
    assert_close(blurs, share * IMAGES, 4 * sqrt(IMAGES * share * (1 - share)));
    for (int i = 1; i < BINS; i++) {
        const double part = (double)i / BINS;
        assert_close(below[i], part * blurs, 4 * sqrt(blurs * part * (1 - part)));
    }
    picture_free(&p);
}

/* What a library sets aside for a blur, and what one takes. */
static void test_blur_s_reach(void **state)
{
    (void)state;
    for (double sigma = 0.1; sigma < 100; sigma *= 1.037) {
        const int radius = gaussian_radius(sigma);
        float weight[500];
        double sum;
        assert_in_range(radius, 1, 499);
        gaussian_weights(sigma, radius, weight);
        sum = weight[0];
        for (int i = 1; i <= radius; i++)
            sum += 2 * (double)weight[i];
        assert_close(sum, 1, 1e-5);
        assert_true(gaussian(sigma, radius + 1) < 4e-4);
    }
}

/* ---- solarize, and a crop now and then ---- */

static AmdimModel solarizing_model(int size, int channels, double threshold, double p)
{
    AmdimModel m = plain_model(size, channels);
    m.augment.has_solarize = true;
    m.augment.solarize_threshold = threshold;
    m.augment.solarize_p = p;
    return m;
}

static void test_solarize_inverts_what_is_bright(void **state)
{
    (void)state;
    enum { SIZE = 16 };
    for (int channels = 1; channels <= 3; channels += 2)
        for (int least = 0; least <= 255; least += 51) {
            Picture p = new_picture(SIZE, SIZE, channels);
            AmdimModel m = solarizing_model(SIZE, channels, least / 255.0, 1);
            float out[SIZE * SIZE * 3];
            for (int i = 0; i < SIZE * SIZE * channels; i++)
                p.pixels[i] = (uint8_t)(i * 7);
            make_view(&m, &p, 1, 0, 0, out);
            for (int i = 0; i < SIZE * SIZE * channels; i++) {
                const float before = (float)p.pixels[i] / 255.0f;
                assert_true(out[i] == (p.pixels[i] < least ? before : 1 - before));
            }
            picture_free(&p);
        }
}

static void test_solarize_has_its_probability(void **state)
{
    (void)state;
    enum { IMAGES = 4000 };
    const double share = 0.2;
    Picture p = constant_picture(2, 200, 10, 200);
    AmdimModel m = solarizing_model(2, 3, 0.5, share);
    int count[2] = {0}, both = 0;
    for (uint32_t image = 0; image < IMAGES; image++) {
        bool solarized[2];
        for (int view = 0; view < 2; view++) {
            float out[12];
            make_view(&m, &p, 1, image, view, out);
            assert_true(out[1] == (float)10 / 255.0f);
            count[view] += solarized[view] = out[0] < 0.5f;
        }
        both += solarized[0] && solarized[1];
    }
    const double most = 4 * sqrt(IMAGES * share * (1 - share));
    assert_close(count[0], share * IMAGES, most);
    assert_close(count[1], share * IMAGES, most);
    assert_close(both, share * share * IMAGES, most); /* each view has a chance of its own */
    picture_free(&p);
}

static void test_crop_has_its_probability(void **state)
{
    (void)state;
    enum { SIZE = 16, IMAGES = 2000 };
    const double share = 0.7;
    Picture p = random_picture(SIZE, SIZE, 3);
    AmdimModel m = plain_model(SIZE, 3), always;
    m.augment.has_crop = true;
    m.augment.crop_scale[0] = m.augment.crop_scale[1] = 0.25;
    m.augment.crop_ratio[0] = m.augment.crop_ratio[1] = 1;
    always = m;
    m.augment.crop_p = share;
    always.augment.crop_p = 1;
    int whole = 0;
    for (uint32_t image = 0; image < IMAGES; image++) {
        float out[SIZE * SIZE * 3], cropped[SIZE * SIZE * 3];
        make_view(&m, &p, 3, image, 0, out);
        make_view(&always, &p, 3, image, 0, cropped);
        const bool is_whole = is_shifted(out, &p, 0, 0);
        assert_true(is_whole || memcmp(out, cropped, sizeof out) == 0); /* the same crop, if there is one */
        whole += is_whole;
    }
    assert_close(whole, (1 - share) * IMAGES, 4 * sqrt(IMAGES * share * (1 - share)));
    picture_free(&p);
}

/* A picture of another size that is not cropped is seen as testing sees it. */
static void test_what_is_not_cropped_covers(void **state)
{
    (void)state;
    Picture p = random_picture(23, 14, 3);
    AmdimModel m = plain_model(8, 3);
    float out[8 * 8 * 3], covering[8 * 8 * 3];
    augment_none(&m, workspace_for(&m), &p, covering);
    m.augment.has_crop = true;
    m.augment.crop_scale[0] = m.augment.crop_ratio[0] = 0.5;
    m.augment.crop_scale[1] = m.augment.crop_ratio[1] = 1;
    make_view(&m, &p, 1, 0, 0, out);
    assert_memory_equal(out, covering, sizeof out);
    picture_free(&p);
}

/* ---- the whole ---- */

static AmdimModel full_model(void)
{
    AmdimModel m = plain_model(32, 3);
    m.augment = (AmdimAugment){.flip = 0.5,
                               .has_crop = true,
                               .crop_scale = {0.3, 1},
                               .crop_ratio = {0.7, 1.4},
                               .crop_p = 1,
                               .has_translate = true,
                               .translate_max = 4,
                               .translate_p = 0.8,
                               .has_jitter = true,
                               .brightness = 0.4,
                               .contrast = 0.4,
                               .saturation = 0.4,
                               .hue = 0.2,
                               .jitter_p = 0.8,
                               .grayscale = 0.25};
    return m;
}

static void test_mean_and_std_come_last(void **state)
{
    (void)state;
    const float mean[3] = {0.25f, 0.5f, 0.75f}, std[3] = {0.5f, 0.25f, 2};
    Picture p = random_picture(40, 32, 3);
    AmdimModel m = full_model(), scaled = full_model();
    scaled.mean = mean;
    scaled.std = std;
    float plain[32 * 32 * 3], normal[32 * 32 * 3];
    for (uint32_t image = 0; image < 50; image++) {
        make_view(&m, &p, 1, image, 0, plain);
        make_view(&scaled, &p, 1, image, 0, normal);
        for (int i = 0; i < 32 * 32 * 3; i++) {
            assert_true(plain[i] >= 0 && plain[i] <= 1);
            assert_close(normal[i], (plain[i] - mean[i % 3]) / std[i % 3], 1e-6);
        }
    }
    picture_free(&p);
}

static void test_views_depend_on_their_address_alone(void **state)
{
    (void)state;
    enum { FLOATS = 32 * 32 * 3, BYTES = FLOATS * sizeof(float) };
    Picture p = random_picture(48, 36, 3);
    AmdimModel m = full_model();
    Fault f;
    Workspace *w = workspace_new(&m, &f);
    assert_non_null(w);
    static float first[8][FLOATS], again[FLOATS];
    for (int i = 0; i < 8; i++)
        augment_view(&m, w, &p, 1, 2, (uint32_t)i / 2, i % 2, first[i]);
    for (int i = 7; i >= 0; i--) {
        make_view(&m, &p, 9, 9, 1, again); /* something else in between, in another workspace */
        augment_view(&m, workspace_for(&m), &p, 1, 2, (uint32_t)i / 2, i % 2, again);
        assert_memory_equal(first[i], again, BYTES);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(first[i], first[j], BYTES);
    }
    augment_view(&m, w, &p, 2, 2, 0, 0, again);
    assert_memory_not_equal(first[0], again, BYTES);
    augment_view(&m, w, &p, 1, 3, 0, 0, again);
    assert_memory_not_equal(first[0], again, BYTES);
    workspace_free(w);
    picture_free(&p);
}

/* Keys that are there and never act change nothing that others draw; nor do they where they act. */
static void test_later_keys_leave_the_others_draws(void **state)
{
    (void)state;
    enum { FLOATS = 32 * 32 * 3 };
    Picture p = random_picture(48, 36, 3);
    AmdimModel m = full_model(), idle = full_model(), solarized = full_model();
    static float plain[FLOATS], other[FLOATS];
    idle.augment.has_blur = idle.augment.has_solarize = true;
    idle.augment.blur_sigma[0] = idle.augment.blur_sigma[1] = 1;
    solarized.augment.has_solarize = true;
    solarized.augment.solarize_p = 1;
    solarized.augment.solarize_threshold = 0;
    for (uint32_t image = 0; image < 20; image++) {
        make_view(&m, &p, 1, image, 0, plain);
        make_view(&idle, &p, 1, image, 0, other);
        assert_memory_equal(plain, other, sizeof plain);
        make_view(&solarized, &p, 1, image, 0, other);
        for (int i = 0; i < FLOATS; i++)
            assert_true(other[i] == 1 - plain[i]);
    }
    picture_free(&p);
}

/* Grey comes before blur, and that before solarizing: a Gaussian of what is brighter than the threshold and
 * would have been inverted is not what an inverted Gaussian is. */
static void test_later_steps_come_in_their_order(void **state)
{
    (void)state;
    enum { SIZE = 12, PIXELS = SIZE * SIZE };
    const double sigma = 1;
    Picture p = random_picture(SIZE, SIZE, 3);
    AmdimModel m = blurring_model(SIZE, 3, sigma, sigma, 1);
    m.augment.grayscale = 1;
    float soft[PIXELS * 3], out[PIXELS * 3], room[PIXELS * 3], weight[5], row[(SIZE + 8) * 3];
    augment_none(&m, workspace_for(&m), &p, soft);
    color_grey(soft, PIXELS);
    blur_view(sigma, SIZE, 3, weight, row, room, soft);
    make_view(&m, &p, 1, 0, 0, out);
    assert_memory_equal(out, soft, sizeof out);
    m.augment.has_solarize = true;
    m.augment.solarize_p = 1;
    m.augment.solarize_threshold = 0.5;
    solarize_view(soft, PIXELS, 3, 0.5f);
    make_view(&m, &p, 1, 0, 0, out);
    assert_memory_equal(out, soft, sizeof out);
    picture_free(&p);
}

static void test_other_numbers_of_channels_are_refused(void **state)
{
    (void)state;
    AmdimModel m = plain_model(8, 2);
    Fault f;
    assert_null(workspace_new(&m, &f));
    assert_non_null(strstr(f.text, "1 or 3 channels"));
}

/* ---- chances, for who skips what is off ---- */

static Random any_stream(void)
{
    return random_at(1, RANDOM_VIEW, 2, 3, 1);
}

static void expect_units(Random *drawn, int units)
{
    Random skipped = any_stream();
    random_skip(&skipped, units);
    for (int i = 0; i < 8; i++)
        assert_int_equal(random_u32(&skipped), random_u32(drawn));
}

static void test_chances_take_as_many_numbers_as_they_say(void **state)
{
    (void)state;
    static const double ranges[][JITTERS] = {{0}, {0.4, 0.4, 0.4, 0.2}};
    for (int on = 0; on <= 1; on++) {
        Random r = any_stream();
        assert_int_equal(draw_chance(&r, on), on);
        expect_units(&r, 1);
        r = any_stream();
        assert_int_equal(draw_translation(&r, 4 * on, on).on, on);
        expect_units(&r, 3);
        r = any_stream();
        assert_int_equal(draw_jitter(&r, ranges[on], on).on, on);
        expect_units(&r, 8);
        r = any_stream();
        assert_int_equal(draw_blur(&r, 0.1, 0.1 + 2 * on, on).on, on);
        expect_units(&r, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_mirrors),
        cmocka_unit_test(test_flip_is_shared_by_the_views),
        cmocka_unit_test(test_translation_reflects_uniform_shifts),
        cmocka_unit_test(test_translation_may_exceed_the_picture),
        cmocka_unit_test(test_translation_has_its_probability),
        cmocka_unit_test(test_blur_is_a_gaussian),
        cmocka_unit_test(test_blur_draws_its_sigma),
        cmocka_unit_test(test_blur_s_reach),
        cmocka_unit_test(test_solarize_inverts_what_is_bright),
        cmocka_unit_test(test_solarize_has_its_probability),
        cmocka_unit_test(test_crop_has_its_probability),
        cmocka_unit_test(test_what_is_not_cropped_covers),
        cmocka_unit_test(test_later_keys_leave_the_others_draws),
        cmocka_unit_test(test_later_steps_come_in_their_order),
        cmocka_unit_test(test_mean_and_std_come_last),
        cmocka_unit_test(test_views_depend_on_their_address_alone),
        cmocka_unit_test(test_other_numbers_of_channels_are_refused),
        cmocka_unit_test(test_chances_take_as_many_numbers_as_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, free_workspace);
}
