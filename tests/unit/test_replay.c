/* test_replay.c: replay's file holds what the toy model's formulas say, in PyTorch's order; wrong batches are
 * named. */
#include "commands.h"
#include "samples.h"
#include "toy_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { PIXELS = TOY_SIZE * TOY_SIZE };

/* A batch to replay; a test changes what it wants wrong. */
typedef struct {
    float x[TOY_VIEWS][TOY_BATCH][TOY_CHANNELS][PIXELS];
    int64_t location[TOY_VIEWS][TOY_BATCH];
    int views;        /* written */
    int64_t channels; /* announced; fewer leaves the rest of each view out */
    bool narrow;      /* locations as float32 */
} Batch;

static char weights[1024], batch[1024], out[1024];

static int set_up(void **state)
{
    (void)state;
    Fault f;
    Options o = no_options(&toy_model);
    scratch_begin();
    char run[1024];
    snprintf(run, sizeof run, "%s", scratch_path("run"));
    snprintf(weights, sizeof weights, "%s", scratch_path("run/last.safetensors"));
    snprintf(batch, sizeof batch, "%s", scratch_path("batch.safetensors"));
    snprintf(out, sizeof out, "%s", scratch_path("out.safetensors"));
    o.out = run;
    o.limit = 1;
    o.steps = 0;
    assert_int_equal(run_quietly(command_train, &toy_model, &o, &f), 0);
    return 0;
}

static Batch *new_batch(void)
{
    static Batch b; /* of one test at a time */
    b = (Batch){.views = TOY_VIEWS, .channels = TOY_CHANNELS};
    Random r = random_at(7, RANDOM_BENCH, 0, 0, 0);
    float *x = &b.x[0][0][0][0];
    for (size_t i = 0; i < sizeof b.x / sizeof *x; i++)
        x[i] = (float)random_normal(&r);
    for (int i = 0; i < TOY_IMAGES; i++)
        b.location[i / TOY_BATCH][i % TOY_BATCH] = random_below(&r, TOY_SIDE * TOY_SIDE);
    return &b;
}

static void announce(TensorWriter *w, const Batch *b)
{
    const int64_t views[] = {TOY_BATCH, b->channels, TOY_SIZE, TOY_SIZE}, locations[] = {TOY_BATCH};
    for (int v = 0; v < b->views; v++) {
        writer_announce(w, v ? "x.2" : "x.1", DTYPE_F32, COUNT(views), views);
        writer_announce(w, v ? "loc.3-to-1.2" : "loc.3-to-1.1", b->narrow ? DTYPE_F32 : DTYPE_I64,
                        COUNT(locations), locations);
    }
}

static void write_batch(const Batch *b)
{
    Fault f;
    TensorWriter w;
    size_t view = (size_t)(TOY_BATCH * b->channels * PIXELS) * sizeof(float);
    size_t locations = TOY_BATCH * (b->narrow ? sizeof(float) : sizeof(int64_t));
    assert_true(writer_open(&w, batch, &f));
    announce(&w, b);
    for (int v = 0; v < b->views; v++) {
        assert_true(writer_give(&w, b->x[v], view, &f));
        assert_true(writer_give(&w, b->location[v], locations, &f));
    }
    assert_true(writer_commit(&w, NULL, &f));
}

static int replay(Fault *f)
{
    Options o = no_options(&toy_model);
    o.weights = weights;
    o.batch = batch;
    o.out = out;
    return run_quietly(command_replay, &toy_model, &o, f);
}

static void refuses(const Batch *b, const char *words)
{
    Fault f = {.error = 0};
    write_batch(b);
    assert_int_equal(replay(&f), 1);
    if (!strstr(f.text, words))
        fail_msg("%s (should say %s)", f.text, words);
    FILE *written = fopen(out, "rb");
    assert_null(written);
}

/* A tensor of a file as floats, its shape checked. */
static float *read_floats(const char *path, const char *name, int rank, const int64_t *dims)
{
    Fault f;
    TensorFile t;
    if (!tensors_open(&t, path, &f))
        fail_msg("%s", f.text);
    const Stored *s = tensors_find(&t, name);
    if (!s)
        fail_msg("no tensor %s", name);
    assert_int_equal(s->dtype, DTYPE_F32);
    assert_int_equal(s->rank, rank);
    assert_memory_equal(s->dims, dims, (size_t)rank * sizeof *dims);
    float *values = malloc((size_t)s->count * sizeof *values);
    assert_true(tensors_read(&t, s, values, &f));
    tensors_close(&t);
    return values;
}

static double read_scalar(const char *name)
{
    const int64_t one[] = {1};
    float *value = read_floats(out, name, 1, one), number = *value;
    free(value);
    return number;
}

/* Tensor t of a file, under a prefix. */
static float *read_like(const char *path, const char *prefix, int t)
{
    char name[128];
    int64_t dims[4];
    const AmdimTensor *tensor = &toy_model.tensor[t];
    for (int i = 0; i < tensor->rank; i++)
        dims[i] = tensor->dims[i];
    snprintf(name, sizeof name, "%s%s", prefix, tensor->name);
    return read_floats(path, name, tensor->rank, dims);
}

static int first_pixel(int64_t location)
{
    return (int)(location / TOY_SIDE * 2 * TOY_SIZE + location % TOY_SIDE * 2);
}

static double mean_at_locations(const Batch *b)
{
    double sum = 0;
    for (int v = 0; v < TOY_VIEWS; v++)
        for (int i = 0; i < TOY_BATCH; i++)
            sum += b->x[v][i][0][first_pixel(b->location[v][i])];
    return sum / TOY_IMAGES;
}

static void replay_well(const Batch *b)
{
    Fault f = {.error = 0};
    write_batch(b);
    if (replay(&f) != 0)
        fail_msg("%s", f.text);
}

static void assert_near(double value, double wanted)
{
    if (fabs(value - wanted) > 1e-5 * fmax(1, fabs(wanted))) /* float32 sums of a hundred terms */
        fail_msg("%.9g, not %.9g", value, wanted);
}

static void test_losses(void **state)
{
    (void)state;
    const Batch *b = new_batch();
    replay_well(b);
    double u = mean_at_locations(b), loss = 0, penalty = 0;
    for (int t = 0; t < TOY_TRAINED; t++) {
        float *p = read_like(weights, "", t);
        size_t count = toy_model.tensor[t].count;
        for (size_t i = 0; i < count; i++) {
            loss += pow(p[i] - u * (t + 1), 2) / 2 / (double)count;
            penalty += (double)p[i] * p[i] / (double)count;
        }
        free(p);
    }
    assert_near(read_scalar("loss.3-to-1"), loss);
    assert_near(read_scalar("penalty"), penalty);
    assert_near(read_scalar("loss"), loss + TOY_PENALTY * penalty);
}

/* The formula is the same for every element, so in PyTorch's order gradients follow the file's weights. */
static void test_gradients(void **state)
{
    (void)state;
    const Batch *b = new_batch();
    replay_well(b);
    double u = mean_at_locations(b);
    for (int t = 0; t < TOY_TRAINED; t++) {
        float *p = read_like(weights, "", t), *gradient = read_like(out, "grad.", t);
        size_t count = toy_model.tensor[t].count;
        for (size_t i = 0; i < count; i++)
            assert_near(gradient[i], (p[i] - u * (t + 1) + 2 * TOY_PENALTY * p[i]) / (double)count);
        free(p);
        free(gradient);
    }
}

static void test_embeddings(void **state)
{
    (void)state;
    const Batch *b = new_batch();
    const int64_t dims[] = {TOY_BATCH, TOY_DIM, TOY_SIDE, TOY_SIDE}, one[] = {TOY_BATCH, TOY_DIM, 1, 1};
    replay_well(b);
    for (int v = 0; v < TOY_VIEWS; v++) {
        float *phi = read_floats(out, v ? "embed.3.2" : "embed.3.1", COUNT(dims), dims), *next = phi;
        for (int i = 0; i < TOY_BATCH; i++)
            for (int r = 0; r < TOY_DIM; r++)
                for (int location = 0; location < TOY_SIDE * TOY_SIDE; location++)
                    assert_true(*next++ == b->x[v][i][r % TOY_CHANNELS][first_pixel(location)]);
        free(phi);
        free(read_floats(out, v ? "embed.1.2" : "embed.1.1", COUNT(one), one));
    }
}

static void test_nothing_is_updated(void **state)
{
    (void)state;
    size_t before, after;
    char *first = read_whole(weights, &before);
    replay_well(new_batch());
    char *second = read_whole(weights, &after);
    assert_int_equal(before, after);
    assert_memory_equal(first, second, before);
    free(first);
    free(second);
}

static void test_missing_view(void **state)
{
    (void)state;
    Batch *b = new_batch();
    b->views = 1;
    refuses(b, "no tensor x.2 (float32, 4 x 3 x 8 x 8)");
}

static void test_wrong_shape(void **state)
{
    (void)state;
    Batch *b = new_batch();
    b->channels = 1;
    refuses(b, "tensor x.1 is float32, 4 x 1 x 8 x 8; this program needs float32, 4 x 3 x 8 x 8");
}

/* More dimensions than are kept of any tensor. */
static void test_too_many_dimensions(void **state)
{
    (void)state;
    static const char header[] =
        "{\"x.1\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}";
    uint8_t bytes[8 + sizeof header - 1 + 4] = {sizeof header - 1};
    Fault f = {.error = 0};
    memcpy(bytes + 8, header, sizeof header - 1);
    scratch_write("batch.safetensors", bytes, sizeof bytes);
    assert_int_equal(replay(&f), 1);
    assert_non_null(strstr(f.text, "tensor x.1 has 9 dimensions; this program needs float32, 4 x 3 x 8 x 8"));
}

static void test_wrong_type(void **state)
{
    (void)state;
    Batch *b = new_batch();
    b->narrow = true;
    refuses(b, "tensor loc.3-to-1.1 is float32, 4; this program needs int64, 4");
}

static void test_location_out_of_range(void **state)
{
    (void)state;
    Batch *b = new_batch();
    b->location[1][2] = TOY_SIDE * TOY_SIDE;
    refuses(b, "tensor loc.3-to-1.2: location 9 of image 2 is not in 0 to 8");
    b->location[1][2] = -1;
    refuses(b, "location -1 of image 2");
}

static void test_values_that_are_no_numbers(void **state)
{
    (void)state;
    Batch *b = new_batch();
    b->x[1][2][1][5] = NAN; /* image 2, channel 1: element (2 * 3 + 1) * 64 + 5 */
    refuses(b, "tensor x.2 holds a value that is not finite (nan, element 453)");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_losses),
        TEST(test_gradients),
        TEST(test_embeddings),
        TEST(test_nothing_is_updated),
        TEST(test_missing_view),
        TEST(test_wrong_shape),
        TEST(test_too_many_dimensions),
        TEST(test_wrong_type),
        TEST(test_location_out_of_range),
        TEST(test_values_that_are_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
