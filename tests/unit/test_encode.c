/* test_encode.c: encode and views write what the model and the augmentation say, shaped for NumPy and
 * PyTorch. */
#include "commands.h"
#include "samples.h"
#include "toy_model.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { LIMIT = 1, HEADER = 128, PIXELS = TOY_SIZE * TOY_SIZE };

static char run[1024], weights[1024], out[1024];

static int set_up(void **state)
{
    (void)state;
    Fault f;
    Options o = no_options(&toy_model);
    scratch_begin();
    snprintf(run, sizeof run, "%s", scratch_path("run"));
    snprintf(weights, sizeof weights, "%s", scratch_path("run/last.safetensors"));
    snprintf(out, sizeof out, "%s", scratch_path("out.npy"));
    o.out = run;
    o.limit = LIMIT;
    o.steps = 0;
    assert_int_equal(run_quietly(command_train, &toy_model, &o, &f), 0);
    return 0;
}

static Options write_options(int scale)
{
    Options o = no_options(&toy_model);
    o.weights = weights;
    o.out = out;
    o.scale = scale;
    return o;
}

static void runs_well(RunCommand *command, const Options *o)
{
    Fault f = {.error = 0};
    if (run_quietly(command, &toy_model, o, &f) != 0)
        fail_msg("%s", f.text);
}

static void refuses(RunCommand *command, const Options *o, const char *words)
{
    Fault f = {.error = 0};
    assert_int_equal(run_quietly(command, &toy_model, o, &f), 1);
    if (!strstr(f.text, words))
        fail_msg("%s (should say %s)", f.text, words);
}

/* An .npy file; its data begin at HEADER. The header must name this type and shape. */
static char *read_array(const char *path, const char *descr, const char *shape, size_t bytes)
{
    size_t count;
    char *file = read_whole(path, &count);
    assert_int_equal(count, HEADER + bytes);
    assert_memory_equal(file, "\x93NUMPY\x01\x00", 8);
    file[HEADER - 1] = '\0';
    assert_non_null(strstr(file + 10, descr));
    assert_non_null(strstr(file + 10, shape));
    return file;
}

/* Image i of a split of the built-in pictures, channels first; augmented if `view` is 0 or 1. */
static void picture_planes(Split split, uint32_t i, int view, uint64_t seed, float *planes)
{
    Fault f;
    Picture picture = {0};
    float pixels[PIXELS * TOY_CHANNELS];
    Dataset *d = data_open(NULL, split, 0, &f);
    Workspace *w = workspace_new(&toy_model, &f);
    assert_true(d && w && d->read(d, i, TOY_CHANNELS, &picture, &f));
    if (view < 0)
        augment_none(&toy_model, w, &picture, pixels);
    else
        augment_view(&toy_model, w, &picture, seed, 0, i, view, pixels);
    planes_from_pixels(pixels, PIXELS, TOY_CHANNELS, planes);
    workspace_free(w);
    picture_free(&picture);
    data_close(d);
}

static void test_embedding_of_the_test_split(void **state)
{
    (void)state;
    Options o = write_options(TOY_SIDE);
    runs_well(command_encode, &o);
    size_t floats = TOY_DIM * TOY_SIDE * TOY_SIDE;
    char *file = read_array(out, "'<f4'", "(2000, 6, 3, 3)", 2000 * floats * sizeof(float));
    const uint32_t images[] = {0, 5, 1999};
    for (size_t n = 0; n < COUNT(images); n++) {
        float planes[TOY_CHANNELS][PIXELS];
        const float *phi = (const float *)(void *)(file + HEADER) + images[n] * floats;
        picture_planes(SPLIT_TEST, images[n], -1, 0, planes[0]);
        for (int r = 0; r < TOY_DIM; r++)
            for (int y = 0; y < TOY_SIDE; y++)
                for (int x = 0; x < TOY_SIDE; x++)
                    assert_true(*phi++ == planes[r % TOY_CHANNELS][2 * y * TOY_SIZE + 2 * x]);
    }
    free(file);
}

static void test_representation_of_the_training_split(void **state)
{
    (void)state;
    Options o = write_options(0);
    o.split = "train";
    runs_well(command_encode, &o);
    free(read_array(out, "'<f4'", "(10000, 6)", 10000 * TOY_DIM * sizeof(float)));
}

static void test_pixels_are_what_the_encoder_gets(void **state)
{
    (void)state;
    Options o = write_options(0);
    o.pixels = true;
    o.weights = NULL;
    o.limit = 3;
    runs_well(command_encode, &o);
    size_t floats = TOY_CHANNELS * PIXELS;
    char *file = read_array(out, "'<f4'", "(30, 3, 8, 8)", sizeof(float) * 30 * floats);
    float planes[TOY_CHANNELS * PIXELS];
    picture_planes(SPLIT_TEST, 0, -1, 0, planes);
    assert_memory_equal(file + HEADER, planes, sizeof planes);
    free(file);
    free(read_array(scratch_path("out.labels.npy"), "'<i8'", "(30,)", sizeof(int64_t) * 30));
}

/* f_d itself, and f_1 as a map of one location. */
static void test_raw_features_are_maps(void **state)
{
    (void)state;
    Options o = write_options(TOY_SIDE);
    o.raw = true;
    runs_well(command_encode, &o);
    free(read_array(out, "'<f4'", "(2000, 6, 3, 3)", sizeof(float) * 2000 * TOY_DIM * TOY_SIDE * TOY_SIDE));
    o.scale = 1;
    runs_well(command_encode, &o);
    char *raw = read_array(out, "'<f4'", "(2000, 6, 1, 1)", sizeof(float) * 2000 * TOY_DIM);
    o = write_options(0);
    runs_well(command_encode, &o);
    char *representation = read_array(out, "'<f4'", "(2000, 6)", sizeof(float) * 2000 * TOY_DIM);
    assert_memory_equal(raw + HEADER, representation + HEADER, sizeof(float) * 2000 * TOY_DIM);
    free(representation);
    free(raw);
    o = write_options(4);
    o.raw = true;
    refuses(command_encode, &o, "scale 4; the scales it has: 1, 3");
}

/* Of either split, in file order, with the labels that they have. */
static void test_the_first_of_each_class(void **state)
{
    (void)state;
    enum { FIRST = 3, CLASSES = 10, ROWS = FIRST * CLASSES };
    for (int split = 0; split < 2; split++) {
        Fault f;
        Options o = write_options(0);
        o.split = split ? "train" : "test";
        runs_well(command_encode, &o);
        size_t count;
        char *all = read_whole(out, &count);
        o.limit = FIRST;
        runs_well(command_encode, &o);
        char *some = read_array(out, "'<f4'", "(30, 6)", sizeof(float) * ROWS * TOY_DIM);
        char *labels = read_array(scratch_path("out.labels.npy"), "'<i8'", "(30,)", sizeof(int64_t) * ROWS);
        const size_t row = sizeof(float) * TOY_DIM;
        Dataset *d = data_open(NULL, split ? SPLIT_TRAIN : SPLIT_TEST, 0, &f);
        int taken[CLASSES] = {0}, rows = 0;
        for (uint32_t i = 0; i < d->count; i++) {
            if (taken[d->label[i]]++ >= FIRST)
                continue;
            assert_memory_equal(some + HEADER + row * (size_t)rows, all + HEADER + row * i, row);
            assert_int_equal(((const int64_t *)(void *)(labels + HEADER))[rows++], d->label[i]);
        }
        assert_int_equal(rows, ROWS);
        data_close(d);
        free(labels);
        free(some);
        free(all);
    }
}

/* Labels of the file's former pictures would be taken for those of its present ones. */
static void test_no_labels_are_left_of_others(void **state)
{
    (void)state;
    size_t count;
    Options o = write_options(0);
    runs_well(command_encode, &o);
    free(read_whole(scratch_path("out.labels.npy"), &count));
    Sample s = sample_plain(TOY_SIZE, TOY_SIZE, 1, 2, 3);
    scratch_write("flat/1.png", s.bytes, s.count);
    free(s.bytes);
    char flat[512];
    snprintf(flat, sizeof flat, "%s", scratch_path("flat"));
    o.data = flat;
    runs_well(command_encode, &o);
    free(read_array(out, "'<f4'", "(1, 6)", sizeof(float) * TOY_DIM));
    assert_int_not_equal(access(scratch_path("out.labels.npy"), F_OK), 0);
}

static void test_labels_beside(void **state)
{
    (void)state;
    Fault f;
    Options o = write_options(0);
    runs_well(command_encode, &o);
    char *file = read_array(scratch_path("out.labels.npy"), "'<i8'", "(2000,)", 2000 * sizeof(int64_t));
    const int64_t *label = (const int64_t *)(void *)(file + HEADER);
    Dataset *d = data_open(NULL, SPLIT_TEST, 0, &f);
    for (uint32_t i = 0; i < d->count; i++)
        assert_int_equal(label[i], d->label[i]);
    data_close(d);
    free(file);
}

/* Runs `command` in a process whose standard output is `descriptor`, which -o names. */
static pid_t write_to_output(RunCommand *command, const Options *o, int descriptor)
{
    Options to = *o;
    to.out = "/dev/stdout";
    const pid_t child = fork();
    if (child == 0) {
        Fault f;
        const bool ok = dup2(descriptor, STDOUT_FILENO) == STDOUT_FILENO && file_may_be_made(to.out, &f) &&
                        command(&toy_model, &to, &f) == 0 && fflush(stdout) == 0;
        _exit(!ok);
    }
    close(descriptor);
    return child;
}

static void expect_well(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* What comes out of ends[0] when a command writes to ends[1] is what lies in `whole`. */
static void expect_through(RunCommand *command, const Options *o, const int ends[2], const char *whole,
                           size_t count)
{
    char *got = malloc(count + 1);
    size_t came = 0;
    assert_non_null(got);
    const pid_t child = write_to_output(command, o, ends[1]);
    for (ssize_t more; (more = read(ends[0], got + came, count + 1 - came)) > 0;)
        came += (size_t)more;
    close(ends[0]);
    expect_well(child);
    assert_int_equal(came, count);
    assert_memory_equal(got, whole, count);
    free(got);
}

static void expect_alone(RunCommand *command, const Options *o)
{
    size_t count, in_file;
    int ends[2], status;
    runs_well(command, o);
    char *whole = read_whole(out, &count);
    expect_well(write_to_output(command, o, open(scratch_path("file"), O_WRONLY | O_CREAT | O_TRUNC, 0600)));
    char *file = read_whole(scratch_path("file"), &in_file);
    assert_int_equal(in_file, count);
    assert_memory_equal(file, whole, count);
    assert_int_equal(pipe(ends), 0);
    expect_through(command, o, ends, whole, count);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    expect_through(command, o, ends, whole, count);
    /* As a closed one is: what goes nowhere is no success. */
    const pid_t child = write_to_output(command, o, open("/dev/null", O_RDONLY));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    free(file);
    free(whole);
}

/* A file, a pipe or a socket: neither a line of ours is there, nor are labels beside it. */
static void test_standard_output_is_the_array_alone(void **state)
{
    (void)state;
    Options o = write_options(0);
    expect_alone(command_encode, &o);
    assert_int_not_equal(access("/dev/stdout.labels.npy", F_OK), 0);
    o.count = 1;
    expect_alone(command_views, &o);
}

static void test_scale_that_is_not_there(void **state)
{
    (void)state;
    Options o = write_options(4);
    refuses(command_encode, &o, "scale 4; the scales it has: 1, 3");
}

static void test_views_are_those_of_training(void **state)
{
    (void)state;
    enum { SHOWN = 35 }; /* more than a chunk */
    Options o = write_options(0);
    o.count = SHOWN;
    o.seed = 11;
    runs_well(command_views, &o);
    size_t bytes = sizeof(float) * SHOWN * TOY_VIEWS * TOY_PICTURE;
    char *file = read_array(out, "'<f4'", "(35, 2, 3, 8, 8)", bytes);
    for (uint32_t i = 0; i < SHOWN; i += SHOWN - 1)
        for (int v = 0; v < TOY_VIEWS; v++) {
            float planes[TOY_PICTURE];
            picture_planes(SPLIT_TRAIN, i, v, 11, planes);
            assert_memory_equal(planes, file + HEADER + sizeof planes * (i * TOY_VIEWS + (size_t)v),
                                sizeof planes);
        }
    free(file);
}

/* What command_views says on stderr, by malloc. */
static char *said_by_views(const Options *o)
{
    Fault f = {.error = 0};
    size_t count;
    fflush(stderr);
    int before = dup(STDERR_FILENO), said = open(scratch_path("said"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(before >= 0 && dup2(said, STDERR_FILENO) >= 0);
    int code = command_views(&toy_model, o, &f);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    close(said);
    assert_int_equal(code, 0);
    return read_whole(scratch_path("said"), &count);
}

static void test_views_say_what_they_are_of(void **state)
{
    (void)state;
    char data[1024];
    Sample picture = sample_plain(8, 8, 1, 2, 3);
    scratch_write("data/train/a/below/1.png", picture.bytes, picture.count);
    scratch_write("data/train/a/2.bmp", "?", 1);
    free(picture.bytes);
    snprintf(data, sizeof data, "%s", scratch_path("data"));
    Options o = write_options(0);
    o.data = data;
    char *said = said_by_views(&o);
    assert_string_equal(said, "training split: folders of pictures, 1 images of any size in 1 class; passed "
                              "over: 1 .bmp\n");
    free(said);
}

static void test_more_views_than_pictures(void **state)
{
    (void)state;
    Options o = write_options(0);
    o.count = 10001;
    refuses(command_views, &o, "holds 10000 images; --count 10001");
}

/* Weights that are finite, and too large for what follows. */
static void test_features_that_are_no_numbers(void **state)
{
    (void)state;
    Fault f;
    TensorWriter w;
    char path[1024];
    snprintf(path, sizeof path, "%s", scratch_path("huge.safetensors"));
    assert_true(writer_open(&w, path, &f));
    for (int i = 0; i < TOY_TENSORS; i++)
        weights_announce(&w, toy_model.tensor[i].name, &toy_model.tensor[i]);
    float huge[72];
    for (size_t i = 0; i < COUNT(huge); i++)
        huge[i] = 3e38f;
    for (int i = 0; i < TOY_TENSORS; i++)
        assert_true(weights_give(&w, &toy_model.tensor[i], huge, &f));
    assert_true(writer_commit(&w, NULL, &f));
    Options o = write_options(0);
    o.weights = path;
    refuses(command_encode, &o, "are not finite: are the weights those of a run that diverged");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_embedding_of_the_test_split),
        TEST(test_representation_of_the_training_split),
        TEST(test_raw_features_are_maps),
        TEST(test_pixels_are_what_the_encoder_gets),
        TEST(test_the_first_of_each_class),
        TEST(test_labels_beside),
        TEST(test_standard_output_is_the_array_alone),
        TEST(test_scale_that_is_not_there),
        TEST(test_features_that_are_no_numbers),
        TEST(test_views_are_those_of_training),
        TEST(test_views_say_what_they_are_of),
        TEST(test_more_views_than_pictures),
        TEST(test_no_labels_are_left_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
