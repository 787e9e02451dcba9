/* test_report_pictures.c: the report's pictures are the pictures, its neighbours the nearest, its scores the
 * scores; drawing it leaves no trace in the run, and what cannot be read is no fault. */
#include "report/report_internal.h"
#include "reporting.h"
#include "samples.h"
#include "toy_model.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- reading the page ---- */

static int letter_value(char letter)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(letters, letter);
    return letter && at ? (int)(at - letters) : -1;
}

/* Decodes base64 up to the first other character; the length, and the bytes by malloc. */
static size_t decode_base64(const char *text, uint8_t **out)
{
    size_t count = 0,
           letters = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
    assert_int_equal(letters % 4, 0);
    *out = malloc(letters);
    assert_non_null(*out);
    for (size_t i = 0; i < letters; i += 4) {
        uint32_t bits = 0;
        int known = 0;
        for (int k = 0; k < 4; k++) {
            int value = letter_value(text[i + (size_t)k]);
            known += value >= 0;
            bits = bits << 6 | (uint32_t)(value >= 0 ? value : 0);
        }
        for (int k = 0; k < known - 1; k++)
            (*out)[count++] = (uint8_t)(bits >> (16 - 8 * k));
    }
    return count;
}

typedef struct {
    int width, height;
    uint8_t *rgba; /* by malloc */
} Image;

/* The picture of the first data URI behind `text`. */
static Image image_after(const char *text)
{
    static const char begins[] = "data:image/png;base64,";
    uint8_t *bytes;
    const char *uri = text ? strstr(text, begins) : NULL;
    if (!uri)
        fail_msg("there is no picture");
    size_t count = decode_base64(uri + strlen(begins), &bytes);
    png_image png = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&png, bytes, count));
    png.format = PNG_FORMAT_RGBA;
    Image image = {(int)png.width, (int)png.height, malloc(PNG_IMAGE_SIZE(png))};
    assert_non_null(image.rgba);
    assert_true(png_image_finish_read(&png, NULL, image.rgba, 0, NULL));
    free(bytes);
    return image;
}

/* The n-th place (from 0) where the words stand behind `text`. */
static const char *nth(const char *text, const char *words, int n)
{
    for (text = text ? strstr(text, words) : NULL; text && n > 0; n--)
        text = strstr(text + 1, words);
    if (!text)
        fail_msg("%s is not there often enough", words);
    return text;
}

static uint8_t byte_of(const AmdimModel *m, const float *view, int pixel, int channel)
{
    double value = view[pixel * m->channels + channel] * (double)m->std[channel] + m->mean[channel];
    return (uint8_t)lround(255 * fmin(fmax(value, 0), 1));
}

static void assert_shows(const AmdimModel *m, const char *place, const float *view)
{
    Image image = image_after(place);
    assert_int_equal(image.width, m->size);
    assert_int_equal(image.height, m->size);
    for (int i = 0; i < m->size * m->size; i++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(image.rgba[4 * i + c], byte_of(m, view, i, c % m->channels));
    free(image.rgba);
}

/* ---- data URIs ---- */

static void test_pictures_come_back_from_uris(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 4; channels += channels == 1 ? 2 : 1)
        for (int side = 1; side <= 9; side++) {
            Fault f;
            uint8_t pixels[9 * 9 * 4];
            char *text = NULL;
            size_t length;
            for (size_t i = 0; i < sizeof pixels; i++)
                pixels[i] = (uint8_t)(i * i * 7 + (size_t)side);
            FILE *stream = open_memstream(&text, &length);
            assert_true(png_data_uri(stream, pixels, side, side, channels, &f));
            fclose(stream);
            Image image = image_after(text);
            assert_int_equal(image.width, side);
            for (int i = 0; i < side * side; i++)
                for (int c = 0; c < (channels == 4 ? 4 : 3); c++)
                    assert_int_equal(image.rgba[4 * i + c], pixels[i * channels + (channels == 1 ? 0 : c)]);
            free(image.rgba);
            free(text);
        }
}

/* ---- pictures ---- */

static void test_spreading_meets_every_image_once(void **state)
{
    (void)state;
    for (uint32_t count = 1; count < 60; count++) {
        bool met[60] = {false};
        for (uint32_t i = 0; i < count; i++) {
            uint32_t image = album_spread(i, count);
            assert_true(image < count && !met[image]);
            met[image] = true;
        }
    }
    assert_true(album_spread(UINT32_MAX - 2, UINT32_MAX) < UINT32_MAX);
}

/* Image `i` of d as testing sees it (view -1) or as a view of the trial's seed and epoch. */
static void prepare(const Reporting *r, const Dataset *d, uint32_t i, int view, float *out)
{
    Fault f;
    Picture p = {0};
    Workspace *w = workspace_new(&r->model, &f);
    assert_non_null(w);
    assert_true(d->read(d, i, r->model.channels, &p, &f));
    if (view < 0)
        augment_none(&r->model, w, &p, out);
    else
        augment_view(&r->model, w, &p, r->state.seed, r->state.epoch, i, view, out);
    picture_free(&p);
    workspace_free(w);
}

static void test_pictures_and_views(void **state)
{
    (void)state;
    Reporting r;
    float view[TOY_PICTURE];
    reporting_begin(&r, &toy_model, NULL);
    char *page = reporting_page(&r);
    const char *figures = nth(page, "<div class=\"pictures\">", 0);
    for (int i = 0; i < 16; i++) {
        uint32_t image = album_spread((uint32_t)i, r.data->count);
        const char *figure = nth(figures, "<figure>", i);
        for (int v = -1; v < TOY_VIEWS; v++) {
            prepare(&r, r.data, image, v, view);
            assert_shows(&r.model, nth(figure, "<img ", v + 1), view);
        }
    }
    free(page);
    reporting_end(&r);
}

static void test_one_view_one_channel_few_pictures(void **state)
{
    (void)state;
    Reporting r;
    float view[16 * 16];
    AmdimModel m = toy_model;
    m.views = m.channels = 1;
    m.batch = TOY_IMAGES; /* what a feature takes */
    m.size = 16;          /* no fewer numbers than the toy reads */
    reporting_begin(&r, &m, NULL);
    r.data->count = 8;
    char *page = reporting_page(&r);
    const char *figures = nth(page, "<div class=\"pictures single\">", 0);
    prepare(&r, r.data, album_spread(7, 8), 0, view);
    assert_shows(&r.model, nth(nth(figures, "<figure>", 7), "<img ", 1), view);
    assert_int_equal(count_of(page, "training picture"), 8 + 1); /* and the words over the fields */
    free(page);
    reporting_end(&r);
}

/* ---- drawings ---- */

/* Before `end`. */
static int count_before(const char *text, const char *end, const char *words)
{
    const char *until = strstr(text, end);
    int found = 0;
    for (; (text = strstr(text, words)) && text < until; text++)
        found++;
    return found;
}

/* A dot a picture of the gallery, on both maps, with its class for the pointer. */
static void test_map(void **state)
{
    (void)state;
    Reporting r;
    reporting_begin(&r, &toy_model, NULL);
    char *page = reporting_page(&r), *again = reporting_page(&r);
    const char *components = strstr(page, "aria-label=\"the two principal components\"");
    const char *sne = strstr(page, "aria-label=\"t-SNE\"");
    assert_string_equal(page, again);
    assert_non_null(components);
    assert_non_null(sne);
    const int dots = count_before(components, "</svg>", "<circle ");
    assert_in_range(dots, 16, 512);
    assert_int_equal(count_before(sne, "</svg>", "<circle "), dots);
    assert_int_equal(count_before(sne, "</svg>", "<title>"), dots);
    assert_true(count_before(sne, "</svg>", "<title>disc, picture ") > 0);
    assert_null(strstr(components, "nan"));
    free(page);
    free(again);
    reporting_end(&r);
}

static void test_encoder_and_fields(void **state)
{
    (void)state;
    Reporting r;
    reporting_begin(&r, &toy_model, NULL);
    char *page = reporting_page(&r);
    const char *layers = nth(page, "<ol class=\"layers\">", 0);
    assert_int_equal(count_before(layers, "</ol>", "<li"), toy_model.layers + 1); /* and the input */
    assert_int_equal(count_of(layers, "class=\"trained\""), 2);
    assert_non_null(strstr(nth(layers, "<li", 1), "<b>6 × 3 × 3</b><em>f<sub>3</sub>: 3-to-1</em>"));
    assert_non_null(strstr(nth(layers, "<li", 0), "<em>f<sub>1</sub>: 3-to-1</em>"));
    const char *fields = nth(page, "<div class=\"fields\">", 0);
    assert_int_equal(count_before(fields, "</section>", "<circle "), 1 + 3 * 3);
    assert_non_null(strstr(nth(fields, "<figure>", 1),
                           "<rect class=\"field\" x=\"2\" y=\"2\" width=\"4\" height=\"4\"/>"));
    free(page);
    reporting_end(&r);
}

/* ---- neighbours ---- */

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < TOY_DIM; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Among the first 512 of the spread-out order, but for the query itself: how many are nearer. */
static int rank_of(const float *features, uint32_t count, uint32_t query, uint32_t row)
{
    int nearer = 0;
    const float *q = features + (size_t)album_spread(query, count) * TOY_DIM;
    double own = cosine(q, features + (size_t)album_spread(row, count) * TOY_DIM);
    for (uint32_t i = 0; i < 512; i++)
        nearer += i != query && cosine(q, features + (size_t)album_spread(i, count) * TOY_DIM) > own + 1e-9;
    return nearer;
}

static void test_neighbours_are_the_nearest(void **state)
{
    (void)state;
    enum { QUERIES = 8, NEAREST = 7 };
    Fault f;
    Reporting r;
    float view[TOY_PICTURE];
    reporting_begin(&r, &toy_model, NULL);
    Dataset *test = data_open(NULL, SPLIT_TEST, 0, &f);
    float *features = features_all(&r.machine, &toy_model.feature[0], test, &f);
    assert_non_null(features);
    char *page = reporting_page(&r);
    int shown = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        const char *row = nth(page, "<div class=\"near\">", (int)q);
        prepare(&r, test, album_spread(q, test->count), -1, view);
        assert_shows(&r.model, nth(row, "<figure class=\"query\">", 0), view);
        for (uint32_t i = 0; i < 512; i++) {
            if (i == q)
                continue;
            int rank = rank_of(features, test->count, q, i);
            if (rank >= NEAREST)
                continue;
            const char *figure = nth(row, "<figure ", 1 + rank);
            bool same =
                test->label[album_spread(i, test->count)] == test->label[album_spread(q, test->count)];
            prepare(&r, test, album_spread(i, test->count), -1, view);
            assert_shows(&r.model, figure, view);
            assert_true((strncmp(figure, "<figure class=\"same\"", 20) == 0) == same);
            shown++;
        }
    }
    assert_int_equal(shown, QUERIES * NEAREST);
    free(page);
    free(features);
    data_close(test);
    reporting_end(&r);
}

/* As set/SPLIT/CLASS/NUMBER.png; frees the sample. */
static void write_in_both_splits(Sample s, const char *class_name, int number)
{
    static const char *const splits[] = {"train", "test"};
    for (size_t i = 0; i < COUNT(splits); i++) {
        char name[64];
        snprintf(name, sizeof name, "set/%s/%s/%d.png", splits[i], class_name, number);
        scratch_write(name, s.bytes, s.count);
    }
    free(s.bytes);
}

static void test_without_test_pictures(void **state)
{
    (void)state;
    Reporting r;
    for (int i = 0; i < 4; i++)
        write_in_both_splits(sample_plain(8, 8, (uint8_t)(40 * i), 100, 50), "one", i);
    char dir[1024];
    snprintf(dir, sizeof dir, "%s", scratch_path("set"));
    reporting_begin(&r, &toy_model, dir);
    char *page = reporting_page(&r);
    assert_null(strstr(page, "No pictures here"));
    assert_int_equal(count_of(page, "<figure class=\"query\">"), 4); /* each of them with the three others */
    assert_int_equal(count_of(page, "<figure class=\"same\">"), 4 * 3);
    free(page);
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/test/one/%d.png", i);
        assert_int_equal(unlink(scratch_path(name)), 0);
    }
    page = reporting_page(&r);
    assert_int_equal(count_of(page, "No pictures here"), 1);
    scratch_write("set/train/one/0.png", "no picture", 10);
    free(page);
    page = reporting_page(&r);
    assert_int_equal(count_of(page, "No pictures here: "), 4); /* wherever the first picture is wanted */
    assert_non_null(strstr(page, "0.png"));
    free(page);
    reporting_end(&r);
}

/* ---- scores ---- */

static const AmdimPair one_to_three = {
    .name = "1-to-3", .from = 1, .to = TOY_SIDE, .weight = 1, .located = -1};

static double score(const AmdimModel *m, const float *phi_1, const float *phi_3)
{
    double r = 0;
    for (int i = 0; i < TOY_DIM; i++)
        r += (double)phi_1[i] * phi_3[i];
    return m->clip * tanh(r / sqrt(TOY_DIM) / m->clip);
}

/* Features of the first four images' views, from one batch: phi_1 of view 1, phi_3 of view 2. */
static void encode_by_hand(const Reporting *r, float phi_1[4][TOY_DIM], float phi_3[4][9][TOY_DIM])
{
    static float x[TOY_IMAGES][TOY_PICTURE];
    const Machine *k = &r->machine;
    for (int view = 0; view < 2; view++) {
        for (uint32_t i = 0; i < 4; i++)
            prepare(r, r->data, album_spread(i, r->data->count), view, x[i]);
        const float *out = toy_model.feature[1 + view].run(k->pool, k->step.arena, k->params, x[0]);
        if (view == 0)
            memcpy(phi_1, out, 4 * sizeof *phi_1);
        else
            memcpy(phi_3, out, 4 * sizeof *phi_3);
    }
}

static void test_score_maps(void **state)
{
    (void)state;
    Reporting r;
    float phi_1[4][TOY_DIM], phi_3[4][9][TOY_DIM];
    double want[4][2][9], most = 0;
    AmdimModel m = toy_model;
    m.pair = &one_to_three;
    m.clip = 0.2; /* so that it matters */
    reporting_begin(&r, &m, NULL);
    encode_by_hand(&r, phi_1, phi_3);
    for (int i = 0; i < 4; i++)
        for (int map = 0; map < 2; map++)
            for (int l = 0; l < 9; l++) {
                want[i][map][l] = score(&m, phi_1[i], phi_3[(i + map) % 4][l]);
                most = fmax(most, fabs(want[i][map][l]));
            }
    char *page = reporting_page(&r);
    for (int i = 0; i < 4; i++)
        for (int map = 0; map < 2; map++) {
            const char *figure = nth(nth(page, "<div class=\"three\">", i), "<figure>", 1 + map);
            const char *drawn = nth(figure, "<image ", 1);
            assert_true(strncmp(drawn, "<image x=\"1\" y=\"1\" width=\"6\" height=\"6\"", 38) == 0);
            Image heat = image_after(drawn);
            assert_int_equal(heat.width, TOY_SIDE);
            for (int l = 0; l < 9; l++) {
                double s = want[i][map][l];
                int alpha = (int)lround(255 * 0.85 * fabs(s) / most);
                assert_in_range(heat.rgba[4 * l + 3], alpha > 0 ? alpha - 1 : 0, alpha + 1);
                assert_true((heat.rgba[4 * l] > heat.rgba[4 * l + 2]) == (s >= 0) || alpha <= 1);
            }
            free(heat.rgba);
        }
    free(page);
    reporting_end(&r);
}

/* ---- the page as a whole ---- */

/* Twenty pictures of noise, which nothing compresses, four times as large as they are shown. */
static void test_pages_stay_small(void **state)
{
    (void)state;
    enum { SIDE = 128, PICTURES = 20 };
    Reporting r;
    static uint8_t pixels[SIDE * SIDE * 3];
    for (int i = 0; i < PICTURES; i++) {
        Random random = random_at(1, RANDOM_PICTURE, 0, (uint64_t)i, 0);
        for (size_t k = 0; k < sizeof pixels; k++)
            pixels[k] = (uint8_t)random_u32(&random);
        write_in_both_splits(sample_png((PngKind){SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, 0}, pixels, NULL),
                             "noise", i);
    }
    char dir[1024];
    snprintf(dir, sizeof dir, "%s", scratch_path("set"));
    AmdimModel m = toy_model;
    m.size = SIDE;
    reporting_begin(&r, &m, dir);
    char *page = reporting_page(&r);
    assert_null(strstr(page, "No pictures here"));
    Image image = image_after(strstr(page, "<img "));
    assert_int_equal(image.width, SIDE / 2);
    free(image.rgba);
    assert_in_range(strlen(page), 1 << 20, 5 << 19); /* all pictures are there, in 2.5 MiB */
    free(page);
    reporting_end(&r);
}

static void take(AmdimStep *step, int tensor, const float *gradient)
{
    optimizer_take(step->taker, step->pool, step->params, tensor, gradient);
}

/* The parameters after three steps of training, with a report after each, or without. */
static void train(bool reports, float *params)
{
    Fault f;
    Reporting r;
    Optimizer o;
    reporting_begin(&r, &toy_model, NULL);
    assert_true(optimizer_new(&o, &toy_model, &f));
    Loader *l = loader_new(&toy_model, NULL, r.data, r.state.seed, 0, 2, &f);
    assert_non_null(l);
    r.machine.step.take = take;
    r.machine.step.taker = &o;
    for (o.steps = 0; o.steps < 3; o.steps++) {
        o.lr = optimizer_rate(&toy_model.schedule, toy_model.optimizer.lr, o.steps, 0, 0);
        r.machine.step.x = r.state.room = loader_next(l, &f);
        assert_non_null(r.machine.step.x);
        machine_draw_locations(&r.machine, r.state.seed, o.steps);
        toy_model.step(&r.machine.step);
        if (reports)
            free(reporting_page(&r));
    }
    memcpy(params, r.machine.params, toy_model.param_floats * sizeof *params);
    loader_free(l);
    optimizer_free(&o);
    reporting_end(&r);
}

static void test_reports_leave_no_trace(void **state)
{
    (void)state;
    float with[192], without[192], before[192];
    Reporting r;
    reporting_begin(&r, &toy_model, NULL);
    memcpy(before, r.machine.params, sizeof before);
    reporting_end(&r);
    train(true, with);
    train(false, without);
    assert_memory_equal(with, without, sizeof with);
    assert_memory_not_equal(with, before, sizeof with);
}

/* The same pictures, whether in the room of the last step's views or in memory of the report's own. */
static void test_room_does_not_matter(void **state)
{
    (void)state;
    Reporting r;
    float room[TOY_IMAGES * TOY_PICTURE];
    reporting_begin(&r, &toy_model, NULL);
    char *own = reporting_page(&r);
    for (size_t i = 0; i < COUNT(room); i++)
        room[i] = 1e9f; /* what happens to lie there */
    r.state.room = room;
    char *lent = reporting_page(&r);
    assert_string_equal(own, lent);
    free(own);
    free(lent);
    reporting_end(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_come_back_from_uris),
        cmocka_unit_test(test_spreading_meets_every_image_once),
        TEST(test_pictures_and_views),
        TEST(test_one_view_one_channel_few_pictures),
        TEST(test_encoder_and_fields),
        TEST(test_map),
        TEST(test_neighbours_are_the_nearest),
        TEST(test_without_test_pictures),
        TEST(test_score_maps),
        TEST(test_pages_stay_small),
        TEST(test_reports_leave_no_trace),
        TEST(test_room_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
