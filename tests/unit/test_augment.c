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

/* ---- the whole ---- */

static AmdimModel full_model(void)
{
    AmdimModel m = plain_model(32, 3);
    m.augment = (AmdimAugment){.flip = 0.5,
                               .has_crop = true,
                               .crop_scale = {0.3, 1},
                               .crop_ratio = {0.7, 1.4},
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
        cmocka_unit_test(test_mean_and_std_come_last),
        cmocka_unit_test(test_views_depend_on_their_address_alone),
        cmocka_unit_test(test_other_numbers_of_channels_are_refused),
        cmocka_unit_test(test_chances_take_as_many_numbers_as_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, free_workspace);
}
