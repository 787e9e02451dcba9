/* test_resize.c: bicubic resizing against a slow evaluation of its definition, and the boxes that crops draw,
 * recovered from views of a ramp. */
#include "augment/augment_internal.h"
#include "views.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_FLOATS = 64 * 64 * 3 };

static double pixel_at(const Picture *p, int x, int y, int c)
{
    return p->pixels[(y * p->width + x) * p->channels + c] / 255.0;
}

/* ---- resizing ---- */

static double keys(double x)
{
    x = fabs(x);
    if (x <= 1)
        return 1.5 * x * x * x - 2.5 * x * x + 1;
    return x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

/* Weight of source pixel j of `in` in pixel i of `out`, not normalised; pixels wholly or mostly outside the
 * kernel's support are left out as Pillow leaves them out. */
static double weight_of(int j, int in, int i, int64_t out)
{
    double step = (double)in / (double)out, wide = step > 1 ? step : 1, center = (i + 0.5) * step;
    bool inside = j >= floor(center - 2 * wide + 0.5) && j < floor(center + 2 * wide + 0.5);
    return inside ? keys((j + 0.5 - center) / wide) : 0;
}

/* Pixel (x, y) of the box resized to width x height. */
static double resized_at(const Picture *p, Box box, int64_t width, int64_t height, int x, int y, int c)
{
    double sum = 0, weights = 0;
    for (int v = 0; v < box.height; v++) {
        double down = weight_of(v, box.height, y, height);
        for (int u = 0; u < box.width && down != 0; u++) {
            double weight = down * weight_of(u, box.width, x, width);
            sum += weight * pixel_at(p, box.x + u, box.y + v, c);
            weights += weight;
        }
    }
    return fmin(fmax(sum / weights, 0), 1);
}

static void check_window(const Picture *p, Box box, Window window, int size)
{
    static float out[MAX_FLOATS], row[MAX_FLOATS];
    Resizer z;
    Fault f;
    assert_true(resizer_init(&z, size, p->channels, &f));
    resizer_aim(&z, box, window);
    resizer_begin(&z, out);
    for (int y = z.first_row; y < z.end_row; y++) {
        for (int i = z.first_column * p->channels; i < z.end_column * p->channels; i++)
            row[i] = p->pixels[y * p->width * p->channels + i];
        resizer_take(&z, y, row);
    }
    resizer_finish(&z);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++)
            for (int c = 0; c < p->channels; c++)
                assert_close(out[(y * size + x) * p->channels + c],
                             resized_at(p, box, window.width, window.height, x + (int)window.left,
                                        y + (int)window.top, c),
                             2e-6);
    resizer_free(&z);
}

static void test_resizing_follows_the_definition(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        Picture p = random_picture(23, 41, channels);
        check_window(&p, (Box){0, 0, 23, 41}, (Window){8, 8, 0, 0}, 8);   /* smaller */
        check_window(&p, (Box){5, 7, 6, 3}, (Window){16, 16, 0, 0}, 16);  /* larger, from inside */
        check_window(&p, (Box){1, 0, 20, 5}, (Window){12, 12, 0, 0}, 12); /* one of each */
        check_window(&p, (Box){22, 40, 1, 1}, (Window){4, 4, 0, 0}, 4);   /* from one pixel */
        check_window(&p, (Box){0, 0, 23, 41}, (Window){1, 1, 0, 0}, 1);   /* to one pixel */
        check_window(&p, (Box){0, 0, 23, 41}, (Window){10, 17, 1, 9}, 8); /* a part of the result */
        picture_free(&p);
    }
}

static void test_equal_size_is_untouched(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        Picture p = random_picture(16, 16, channels);
        AmdimModel m = plain_model(16, channels);
        float out[16 * 16 * 3];
        make_view(&m, &p, 1, 0, 0, out);
        for (int i = 0; i < 16 * 16 * channels; i++)
            assert_true(out[i] == p.pixels[i] / 255.0f);
        picture_free(&p);
    }
}

/* Resized to size on the shorter side, then the middle; halves of an offset are rounded to even. */
static void check_cover(int width, int height, int64_t resized_width, int64_t resized_height, int left,
                        int top)
{
    enum { SIZE = 16 };
    Picture p = random_picture(width, height, 3);
    AmdimModel m = plain_model(SIZE, 3);
    float plain[SIZE * SIZE * 3], flipped[SIZE * SIZE * 3];
    augment_none(&m, workspace_for(&m), &p, plain);
    m.augment.flip = 1;
    make_view(&m, &p, 1, 0, 0, flipped);
    Box whole = {0, 0, width, height};
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            for (int c = 0; c < 3; c++) {
                int i = (y * SIZE + x) * 3 + c, mirrored = (int)resized_width - 1 - left - x;
                assert_close(plain[i],
                             resized_at(&p, whole, resized_width, resized_height, left + x, top + y, c),
                             2e-6);
                assert_close(flipped[i],
                             resized_at(&p, whole, resized_width, resized_height, mirrored, top + y, c),
                             2e-6);
            }
    picture_free(&p);
}

static void test_other_sizes_are_covered(void **state)
{
    (void)state;
    check_cover(20, 31, 16, 24, 0, 4);
    check_cover(31, 20, 24, 16, 4, 0);
    check_cover(16, 21, 16, 21, 0, 2); /* 2.5 */
    check_cover(21, 16, 21, 16, 2, 0);
    check_cover(23, 16, 23, 16, 4, 0); /* 3.5 */
    check_cover(5, 4, 20, 16, 2, 0);
    check_cover(3, 40, 16, 213, 0, 98); /* 98.5 */
}

/* ---- crop ---- */

enum { RAMP = 64, RAMP_STEP = 4, RAMP_VIEW = 16 };

/* Red grows to the right, green downwards: bicubic resizing keeps slopes, so a view tells its box. */
static Picture ramp_picture(void)
{
    Picture p = new_picture(RAMP, RAMP, 3);
    for (int i = 0; i < RAMP * RAMP; i++)
        memcpy(p.pixels + 3 * i,
               (uint8_t[]){(uint8_t)(i % RAMP * RAMP_STEP), (uint8_t)(i / RAMP * RAMP_STEP), 0}, 3);
    return p;
}

/* Where along one axis the box begins and how long it is, from two pixels of a view that lie as far from its
 * middle. When shrinking, slopes are kept nearly, and what is off on one side is off on the other. */
static void recover_side(double at5, double at10, int *begin, int *length)
{
    double from = at5 * 255 / RAMP_STEP + 0.5, to = at10 * 255 / RAMP_STEP + 0.5;
    double side = (to - from) / 5 * RAMP_VIEW;
    *length = (int)lrint(side);
    *begin = (int)lrint((from + to - *length) / 2);
    assert_close(*length, side, 0.25);
    assert_close(*begin, (from + to - *length) / 2, 0.1);
}

static Box recover_box(const AmdimModel *m, const Picture *p, uint32_t image, int view)
{
    float out[RAMP_VIEW * RAMP_VIEW * 3];
    make_view(m, p, 1, image, view, out);
    Box box;
    recover_side(out[(8 * RAMP_VIEW + 5) * 3], out[(8 * RAMP_VIEW + 10) * 3], &box.x, &box.width);
    recover_side(out[(5 * RAMP_VIEW + 8) * 3 + 1], out[(10 * RAMP_VIEW + 8) * 3 + 1], &box.y, &box.height);
    assert_true(box.x >= 0 && box.y >= 0 && box.x + box.width <= RAMP && box.y + box.height <= RAMP);
    return box;
}

static AmdimModel crop_model(double least, double most, double narrow, double wide)
{
    AmdimModel m = plain_model(RAMP_VIEW, 3);
    m.augment.has_crop = true;
    m.augment.crop_p = 1;
    m.augment.crop_scale[0] = least;
    m.augment.crop_scale[1] = most;
    m.augment.crop_ratio[0] = narrow;
    m.augment.crop_ratio[1] = wide;
    return m;
}

static void test_crops_are_drawn_as_told(void **state)
{
    (void)state;
    enum { IMAGES = 4000 };
    Picture p = ramp_picture();
    AmdimModel m = crop_model(0.2, 0.5, 0.5, 2); /* no box is too large, so none is drawn again */
    double area = 0, area_squares = 0, aspect = 0, aspect_squares = 0, least = 1, most = 0;
    int at_left = 0, at_right = 0, at_top = 0, at_bottom = 0, differing = 0;
    for (uint32_t image = 0; image < IMAGES; image++) {
        Box box = recover_box(&m, &p, image, 0), other = recover_box(&m, &p, image, 1);
        double share = (double)box.width * box.height / (RAMP * RAMP),
               ratio = log2((double)box.width / box.height);
        area += share / IMAGES;
        area_squares += share * share / IMAGES;
        aspect += ratio / IMAGES;
        aspect_squares += ratio * ratio / IMAGES;
        least = fmin(least, share);
        most = fmax(most, share);
        assert_true(fabs(ratio) < 1.08);
        at_left += box.x == 0;
        at_right += box.x + box.width == RAMP;
        at_top += box.y == 0;
        at_bottom += box.y + box.height == RAMP;
        differing += memcmp(&box, &other, sizeof box) != 0;
    }
    assert_close(area, 0.35, 0.007);
    assert_close(area_squares - area * area, 0.3 * 0.3 / 12, 0.0006);
    assert_close(aspect, 0, 0.04);
    assert_close(aspect_squares - aspect * aspect, 2.0 * 2 / 12, 0.03);
    assert_close(least, 0.2, 0.015);
    assert_close(most, 0.5, 0.02);
    assert_true(at_left > 80 && abs(at_left - at_right) < 80); /* about one in 30 */
    assert_true(at_top > 80 && abs(at_top - at_bottom) < 80);
    assert_true(differing > IMAGES * 99 / 100);
    picture_free(&p);
}

static void test_impossible_crops_become_the_largest_in_the_middle(void **state)
{
    (void)state;
    Picture p = ramp_picture();
    AmdimModel wide = crop_model(1, 1, 3, 4), narrow = crop_model(1, 1, 0.2, 0.25),
               any = crop_model(2, 2, 0.5, 2);
    Box box = recover_box(&wide, &p, 0, 0);
    assert_memory_equal(&box, &((Box){0, 21, 64, 21}), sizeof box);
    box = recover_box(&narrow, &p, 0, 0);
    assert_memory_equal(&box, &((Box){24, 0, 16, 64}), sizeof box);
    box = recover_box(&any, &p, 0, 0);
    assert_memory_equal(&box, &((Box){0, 0, 64, 64}), sizeof box);
    picture_free(&p);
}

static void test_crops_resize_as_defined(void **state)
{
    (void)state;
    Picture ramp = ramp_picture(), p = random_picture(RAMP, RAMP, 3);
    AmdimModel m = crop_model(0.1, 1, 0.5, 2);
    for (uint32_t image = 0; image < 10; image++) {
        Box box = recover_box(&m, &ramp, image, 0);
        float out[RAMP_VIEW * RAMP_VIEW * 3];
        make_view(&m, &p, 1, image, 0, out);
        for (int i = 0; i < RAMP_VIEW * RAMP_VIEW * 3; i++)
            assert_close(
                out[i],
                resized_at(&p, box, RAMP_VIEW, RAMP_VIEW, i / 3 % RAMP_VIEW, i / 3 / RAMP_VIEW, i % 3), 2e-6);
    }
    picture_free(&ramp);
    picture_free(&p);
}

/* ---- room ---- */

enum { MOST_SIZE = 48, LONGEST = 300 };

static void expect_taps(const Axis *a, int size, int room)
{
    assert_in_range(a->taps, 1, room);
    for (int i = 0; i < size; i++)
        assert_in_range(a->end[i] - a->begin[i], 1, a->taps);
}

static void check_room(int size, int longest, Box box, Window window)
{
    int begin[2][MOST_SIZE], end[2][MOST_SIZE], room = resizer_taps(longest, size);
    Resizer z = {.size = size,
                 .channels = 1,
                 .across = {.begin = begin[0], .end = end[0]},
                 .down = {.begin = begin[1], .end = end[1]}};
    resizer_aim(&z, box, window);
    expect_taps(&z.across, size, room);
    expect_taps(&z.down, size, room);
}

/* Whoever lays out a resizer's memory knows the longest side, and what is cut out of it is not known yet. */
static void test_no_box_takes_more_taps_than_there_is_room_for(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 7, 16, MOST_SIZE}, sides[] = {1, 2, 3, 15, 16, 17, 100, LONGEST};
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (size_t w = 0; w < COUNT(sides); w++)
            for (size_t h = 0; h < COUNT(sides); h++) {
                int size = sizes[s], longest = sides[w] > sides[h] ? sides[w] : sides[h];
                Box box = {.width = sides[w], .height = sides[h]};
                check_room(size, longest, box, (Window){.width = size, .height = size});
                check_room(size, longest, box, covering(size, box.width, box.height));
            }
    /* What libraries give, whose boxes are no larger than a view (compiler/library/emit_views.c). */
    for (int size = 1; size <= MOST_SIZE; size++)
        assert_int_equal(resizer_taps(size, size), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resizing_follows_the_definition),
        cmocka_unit_test(test_equal_size_is_untouched),
        cmocka_unit_test(test_other_sizes_are_covered),
        cmocka_unit_test(test_crops_are_drawn_as_told),
        cmocka_unit_test(test_impossible_crops_become_the_largest_in_the_middle),
        cmocka_unit_test(test_crops_resize_as_defined),
        cmocka_unit_test(test_no_box_takes_more_taps_than_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, free_workspace);
}
