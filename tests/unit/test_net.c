/* test_net.c: shapes, receptive fields, scales and pairs of nets. Impossible nets are in tests/errors. */
#include "amdimc.h"

#include <glob.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    Arena *arena;
    Diagnostics d;
    Source source;
    const Net *net;
} Building;

static const Net *build(Building *b, const char *text)
{
    *b = (Building){.arena = arena_new(), .d = {.stream = stderr}};
    b->source = (Source){"a.yaml", text, strlen(text)};
    Spec *spec = spec_read(b->arena, &b->d, &b->source, &(Overrides){0});
    assert_non_null(spec);
    b->net = net_build(b->arena, &b->d, spec);
    assert_non_null(b->net);
    return b->net;
}

static void end(Building *b)
{
    arena_free(b->arena);
}

#define ENCODER_32                                                                                           \
    "name: a\ninput: {size: 32}\nbatch: 4\n"                                                                 \
    "encoder:\n"                                                                                             \
    "  - conv: {out: 8, kernel: 3}\n"                                                                        \
    "  - residual: {out: 8, kernel: 1}\n"                                                                    \
    "  - block: {out: 16, kernel: 4, stride: 2, depth: 3}\n"                                                 \
    "  - block: {out: 32, kernel: 2, stride: 2, depth: 3}\n"                                                 \
    "  - block: {out: 32, kernel: 3, depth: 3}\n"                                                            \
    "  - block: {out: 32, kernel: 3, depth: 3}\n"                                                            \
    "  - residual: {out: 40, kernel: 3}\n"                                                                   \
    "  - batchnorm: {}\n"

static void expect_layer(const NetLayer *l, int side, int channels, int field, int stride)
{
    assert_int_equal(l->side, side);
    assert_int_equal(l->channels, channels);
    assert_int_equal(l->receptive_field, field);
    assert_int_equal(l->receptive_stride, stride);
}

static void papers_encoder_has_its_scales_and_fields(void **state)
{
    (void)state;
    Building b;
    const Net *n = build(&b, ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [1-to-5, 1-to-7, 5-to-5]}\n");
    assert_int_equal(n->views, 2);
    assert_int_equal(n->batch, 4);
    assert_int_equal(n->images, 8);
    assert_int_equal(n->layers, 8);
    expect_layer(&n->layer[0], 30, 8, 3, 1);
    expect_layer(&n->layer[1], 30, 8, 3, 1);
    expect_layer(&n->layer[2], 14, 16, 6, 2);
    expect_layer(&n->layer[3], 7, 32, 8, 4);
    expect_layer(&n->layer[4], 5, 32, 16, 4);
    expect_layer(&n->layer[5], 3, 32, 24, 4);
    expect_layer(&n->layer[6], 1, 40, 32, 4);
    expect_layer(&n->layer[7], 1, 40, 32, 4);
    for (int i = 1; i < n->layers; i++) {
        assert_int_equal(n->layer[i].side_in, n->layer[i - 1].side);
        assert_int_equal(n->layer[i].channels_in, n->layer[i - 1].channels);
        assert_int_equal(n->layer[i].number, i);
    }
    end(&b);
}

static void scale_is_the_topmost_layer_of_its_side(void **state)
{
    (void)state;
    Building b;
    const Net *n = build(&b, ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [1-to-5]}\n");
    static const int side[] = {1, 3, 5, 7, 14, 30}, layer[] = {7, 5, 4, 3, 2, 1};
    assert_int_equal(n->scales, COUNT(side));
    for (size_t i = 0; i < COUNT(side); i++) {
        assert_int_equal(n->scale[i].scale, side[i]);
        assert_int_equal(n->scale[i].layer->number, layer[i]);
        assert_ptr_equal(net_scale(n, side[i]), &n->scale[i]);
        assert_int_equal(n->scale[i].trained, side[i] == 1 || side[i] == 5);
    }
    assert_null(net_scale(n, 32));
    assert_null(net_scale(n, 2));
    end(&b);
}

static void head_is_the_identity_only_where_f_1_has_dim_channels(void **state)
{
    (void)state;
    Building b;
    const Net *n = build(&b, ENCODER_32 "embedding: {dim: 40}\nloss: {pairs: [1-to-5]}\n");
    assert_true(net_scale(n, 1)->identity);
    assert_false(net_scale(n, 5)->identity);
    end(&b);
    n = build(&b, ENCODER_32 "embedding: {dim: 32}\nloss: {pairs: [1-to-5]}\n");
    assert_false(net_scale(n, 1)->identity);
    assert_false(net_scale(n, 5)->identity);
    end(&b);
}

static void pairs_know_their_scales_and_locations(void **state)
{
    (void)state;
    Building b;
    const Net *n = build(&b, ENCODER_32
                         "embedding: {dim: 8}\n"
                         "loss: {pairs: [5-to-1, 1-to-7, {pair: 7-to-7, weight: 0.5}, 1-to-1, 5-to-7]}\n");
    static const char *const name[] = {"5-to-1", "1-to-7", "7-to-7", "1-to-1", "5-to-7"};
    static const int from[] = {5, 1, 7, 1, 5}, to[] = {1, 7, 7, 1, 7}, located[] = {0, -1, 1, -1, 2};
    assert_int_equal(n->pairs, COUNT(name));
    assert_int_equal(n->located, 3);
    for (size_t i = 0; i < COUNT(name); i++) {
        assert_string_equal(n->pair[i].name, name[i]);
        assert_int_equal(n->pair[i].from->scale, from[i]);
        assert_int_equal(n->pair[i].to->scale, to[i]);
        assert_int_equal(n->pair[i].located, located[i]);
        assert_ptr_equal(n->pair[i].spec, &n->spec->loss.pair[i]);
    }
    /* The first pair that names scale 7 is the second. */
    assert_int_equal(net_scale(n, 7)->at.column, n->spec->loss.pair[1].at.column);
    end(&b);
}

static void top_is_the_topmost_trained_layer(void **state)
{
    (void)state;
    Building b;
    assert_int_equal(build(&b, ENCODER_32 "embedding: {dim: 8}\nloss: {pairs: [7-to-7]}\n")->top, 3);
    end(&b);
    assert_int_equal(build(&b, ENCODER_32 "embedding: {dim: 8}\nloss: {pairs: [7-to-5]}\n")->top, 4);
    end(&b);
    assert_int_equal(build(&b, ENCODER_32 "embedding: {dim: 8}\nloss: {pairs: [7-to-1]}\n")->top, 7);
    end(&b);
}

static void padding_and_stride_round_down(void **state)
{
    (void)state;
    Building b;
    const Net *n = build(&b, "name: a\ninput: {size: 13, channels: 1}\nviews: 1\nbatch: 2\n"
                             "encoder:\n"
                             "  - conv: {out: 2, kernel: 5, stride: 2, pad: 2, pad_mode: reflect}\n"
                             "  - residual: {out: 2, kernel: 3, stride: 3, pad: 1}\n"
                             "  - block: {out: 5, kernel: 4, stride: 9, pad: 2, depth: 2}\n"
                             "embedding: {dim: 5}\nloss: {pairs: [1-to-3]}\n");
    assert_int_equal(n->images, 2);
    expect_layer(&n->layer[0], 7, 2, 5, 2);
    expect_layer(&n->layer[1], 3, 2, 9, 6);
    expect_layer(&n->layer[2], 1, 5, 27, 54);
    assert_int_equal(n->layer[0].receptive_begin, -2);
    assert_int_equal(n->layer[1].receptive_begin, -2 - 1 * 2);
    assert_int_equal(n->layer[2].receptive_begin, -2 - 1 * 2 - 2 * 6);
    end(&b);
}

static void pad_as_large_as_reflection_allows(void **state)
{
    (void)state;
    Building b;
    const Net *n = build(&b, "name: a\ninput: {size: 4}\nbatch: 2\n"
                             "encoder: [conv: {out: 2, kernel: 10, pad: 3, pad_mode: reflect}]\n"
                             "embedding: {dim: 5}\nloss: {pairs: [1-to-1]}\n");
    expect_layer(&n->layer[0], 1, 2, 10, 1);
    end(&b);
}

static void receptive_fields_saturate(void **state)
{
    (void)state;
    Building b;
    const Net *n = build(&b, "name: a\ninput: {size: 1}\nbatch: 2\n"
                             "encoder:\n"
                             "  - conv: {out: 1, kernel: 1, stride: 65536}\n"
                             "  - conv: {out: 1, kernel: 1, stride: 65536}\n"
                             "  - conv: {out: 1, kernel: 3, pad: 1, stride: 65536}\n"
                             "embedding: {dim: 5}\nloss: {pairs: [1-to-1]}\n");
    expect_layer(&n->layer[2], 1, 1, INT32_MAX, INT32_MAX);
    assert_int_equal(n->layer[2].receptive_begin, -INT32_MAX);
    end(&b);
}

static void every_spec_of_the_project_builds(void **state)
{
    (void)state;
    glob_t specs;
    assert_int_equal(glob("specs/*.yaml", 0, NULL, &specs), 0);
    assert_true(specs.gl_pathc >= 8);
    for (size_t i = 0; i < specs.gl_pathc; i++) {
        Arena *a = arena_new();
        Diagnostics d = {.stream = stderr};
        Source *source = source_read(a, &d, specs.gl_pathv[i]);
        Spec *spec = source ? spec_read(a, &d, source, &(Overrides){0}) : NULL;
        Net *net = spec ? net_build(a, &d, spec) : NULL;
        assert_non_null(net);
        assert_true(net_scale(net, 1) && net_scale(net, 5) && net_scale(net, 7));
        const char *file = strrchr(specs.gl_pathv[i], '/') + 1;
        assert_string_equal(file, arena_printf(a, "%s.yaml", spec->name.v));
        arena_free(a);
    }
    globfree(&specs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(papers_encoder_has_its_scales_and_fields),
        cmocka_unit_test(scale_is_the_topmost_layer_of_its_side),
        cmocka_unit_test(head_is_the_identity_only_where_f_1_has_dim_channels),
        cmocka_unit_test(pairs_know_their_scales_and_locations),
        cmocka_unit_test(top_is_the_topmost_trained_layer),
        cmocka_unit_test(padding_and_stride_round_down),
        cmocka_unit_test(pad_as_large_as_reflection_allows),
        cmocka_unit_test(receptive_fields_saturate),
        cmocka_unit_test(every_spec_of_the_project_builds),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
