/* test_step.c: what a step gets (locations), what it hands on (gradients of the toy model), and encoding a
 * split. */
#include "toy_model.h"
#include "runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static Machine new_machine(int threads)
{
    Machine k;
    Fault f = {.error = 0};
    if (!machine_new(&k, &toy_model, threads, &f))
        fail_msg("%s", f.text);
    return k;
}

static void test_locations(void **state)
{
    (void)state;
    enum { PLACES = TOY_SIDE * TOY_SIDE, STEPS = 500 };
    Machine k = new_machine(1);
    int seen[PLACES] = {0}, equal_views = 0;
    for (uint64_t step = 0; step < STEPS; step++) {
        machine_draw_locations(&k, 5, step);
        for (int i = 0; i < TOY_IMAGES; i++) {
            assert_in_range(k.locations[i], 0, PLACES - 1);
            seen[k.locations[i]]++;
        }
        equal_views += memcmp(k.locations, k.locations + TOY_BATCH, TOY_BATCH * sizeof *k.locations) == 0;
    }
    for (int i = 0; i < PLACES; i++) /* expected 444, deviation 20 */
        assert_in_range(seen[i], 344, 544);
    assert_true(equal_views < 5);
    machine_free(&k);
}

static void test_locations_depend_on_seed_and_step_alone(void **state)
{
    (void)state;
    Machine k = new_machine(1);
    int32_t first[TOY_IMAGES];
    machine_draw_locations(&k, 5, 77);
    memcpy(first, k.locations, sizeof first);
    machine_draw_locations(&k, 6, 77);
    assert_memory_not_equal(k.locations, first, sizeof first);
    machine_draw_locations(&k, 5, 78);
    assert_memory_not_equal(k.locations, first, sizeof first);
    machine_draw_locations(&k, 5, 77);
    assert_memory_equal(k.locations, first, sizeof first);
    machine_free(&k);
}

static void keep_gradient(AmdimStep *step, int tensor, const float *gradient)
{
    const AmdimTensor *t = &toy_model.tensor[tensor];
    memcpy((float *)step->taker + t->offset, gradient, t->count * sizeof *gradient);
}

static double loss_at(Machine *k)
{
    toy_model.step(&k->step);
    return k->step.loss;
}

static bool stop_here(AmdimStep *step)
{
    assert_non_null(step->embedding[0]);
    assert_non_null(step->embedding[1]);
    return false;
}

static void test_gradients_of_the_toy(void **state)
{
    (void)state;
    Machine k = new_machine(2);
    static float x[TOY_IMAGES * TOY_PICTURE], gradients[192];
    for (int i = 0; i < TOY_IMAGES * TOY_PICTURE; i++)
        x[i] = (float)sin(i);
    k.step.x = x;
    k.step.take = keep_gradient;
    k.step.taker = gradients;
    weights_init(&toy_model, 1, k.params);
    machine_draw_locations(&k, 1, 0);
    toy_model.step(&k.step);
    k.step.forward_done = stop_here;
    for (int t = 0; t < TOY_TRAINED; t++)
        for (size_t i = 0; i < toy_model.tensor[t].count; i++) {
            float *p = &k.params[toy_model.tensor[t].offset + i], kept = *p;
            *p = kept + 0.125f;
            double above = loss_at(&k);
            *p = kept - 0.125f;
            double below = loss_at(&k);
            *p = kept;
            double expected = (above - below) / 0.25; /* exact for a quadratic */
            assert_true(fabs((double)gradients[toy_model.tensor[t].offset + i] - expected) < 1e-5);
        }
    machine_free(&k);
}

/* ---- features ---- */

enum { IMAGES = 2 * TOY_IMAGES + 3 };

typedef struct {
    int broken; /* the first image that cannot be read, or -1 */
} Source;

static bool read_grey(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    const Source *source = d->own;
    if (source->broken >= 0 && i >= (uint32_t)source->broken)
        return fault(f, "image %u is broken", (unsigned)i);
    if (!picture_reserve(out, TOY_SIZE, TOY_SIZE, channels, f))
        return false;
    memset(out->pixels, (int)(10 * i), (size_t)(TOY_SIZE * TOY_SIZE * channels));
    return true;
}

static Dataset grey_pictures(Source *source)
{
    return (Dataset){.count = IMAGES, .read = read_grey, .own = source};
}

static float normalised(int image, int channel)
{
    return ((float)(10 * image) / 255 - toy_model.mean[channel]) / toy_model.std[channel];
}

static void assert_near(float a, float b)
{
    assert_true(fabsf(a - b) < 1e-5f);
}

static void test_features_of_a_split(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    Source source = {-1};
    Dataset d = grey_pictures(&source);
    Machine k = new_machine(2);
    weights_init(&toy_model, 1, k.params);
    const AmdimFeature *colours = &toy_model.feature[3];
    float *features = features_all(&k, colours, &d, &f);
    assert_non_null(features);
    for (int i = 0; i < IMAGES; i++)
        for (int j = 0; j < TOY_SIDE * TOY_SIDE * TOY_DIM; j++)
            assert_near(features[i * TOY_SIDE * TOY_SIDE * TOY_DIM + j], normalised(i, j % TOY_CHANNELS));
    free(features);
    machine_free(&k);
}

static void test_pixels_of_a_split(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    Source source = {-1};
    Dataset d = grey_pictures(&source);
    Machine k = new_machine(2);
    float *pixels = features_pixels(&k, &d, &f);
    assert_non_null(pixels);
    for (int i = 0; i < IMAGES; i++)
        for (int j = 0; j < TOY_PICTURE; j++)
            assert_near(pixels[i * TOY_PICTURE + j], normalised(i, j % TOY_CHANNELS));
    free(pixels);
    machine_free(&k);
}

/* The first broken picture is named, whichever thread meets which. */
static void test_broken_pictures(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    Source source = {TOY_IMAGES + 1};
    Dataset d = grey_pictures(&source);
    for (int threads = 1; threads <= 3; threads++) {
        Machine k = new_machine(threads);
        for (int round = 0; round < 100; round++) {
            assert_null(features_all(&k, &toy_model.feature[0], &d, &f));
            assert_string_equal(f.text, "image 9 is broken");
            f.text[0] = '\0';
            assert_null(features_pixels(&k, &d, &f));
            assert_string_equal(f.text, "image 9 is broken");
            f.text[0] = '\0';
        }
        machine_free(&k);
    }
}

typedef struct {
    uint32_t next;
    int calls;
} Counter;

static bool refuse_second(void *sink, uint32_t first, uint32_t count, const float *features, Fault *f)
{
    Counter *c = sink;
    assert_non_null(features);
    assert_int_equal(first, c->next);
    c->next += count;
    return ++c->calls < 2 || fault(f, "enough");
}

static void test_a_sink_can_stop(void **state)
{
    (void)state;
    Fault f = {.error = 0};
    Source source = {-1};
    Counter counter = {0, 0};
    Dataset d = grey_pictures(&source);
    Machine k = new_machine(2);
    assert_false(features_each(&k, &toy_model.feature[0], &d, refuse_second, &counter, &f));
    assert_string_equal(f.text, "enough");
    assert_int_equal(counter.next, 2 * TOY_IMAGES);
    machine_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locations),
        cmocka_unit_test(test_locations_depend_on_seed_and_step_alone),
        cmocka_unit_test(test_gradients_of_the_toy),
        cmocka_unit_test(test_features_of_a_split),
        cmocka_unit_test(test_pixels_of_a_split),
        cmocka_unit_test(test_broken_pictures),
        cmocka_unit_test(test_a_sink_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
