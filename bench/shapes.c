/* shapes.c: every product of specs/amdim.yaml, of the narrower cifar10-quick.yaml, and the largest of the
 * paper's, shape by shape, on one thread: our kernels against OpenBLAS (patches unfolded a tile at a time),
 * forward with a ReLU behind it, gradient of x, gradient of the weight; then those that minimal filtering
 * makes faster, against our own kernels tap by tap. usage: shapes [ROUNDS]; prints GFLOP/s, medians, the two
 * in turn. */
#include "blas.h"
#include "kernels.h"
#include "winograd.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { IMAGES = 8, FILTERED_IMAGES = 128, MAX_ROUNDS = 99 };

/* kernels.h wants the runtime's pool only for scratch, which this program has itself. */
void amdim_parallel(AmdimPool *pool, AmdimPart *run, void *job, int parts)
{
    (void)pool, (void)run, (void)job, (void)parts;
    abort();
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, int count)
{
    qsort(v, (size_t)count, sizeof *v, by_size);
    return v[count / 2];
}

static float *some(size_t count)
{
    float *v = aligned_alloc(64, (count * sizeof *v + 63) / 64 * 64);
    if (!v)
        abort();
    for (size_t i = 0; i < count; i++)
        v[i] = (float)(int)(i * 2654435761u % 2048 - 1024) / 1024;
    return v;
}

typedef struct {
    Conv c;
    float *x, *w, *y, *dx, *dw, *packed, *packed_t, *unfolded;
    float *points, *scratch;
    int rounds;
} Shape;

typedef void Run(const Shape *s);

static void pack(const Shape *s)
{
    const Conv c = s->c;
    const int taps = c.kernel * c.kernel, depth = taps * c.in;
    for (int panel = 0; panel < PANELS(c.out); panel++)
        pack_panel(s->w, depth, c.out, 1, panel, s->packed);
    for (int tap = 0; tap < taps; tap++)
        for (int panel = 0; panel < PANELS(c.in); panel++)
            pack_panel_transposed(s->w + (size_t)tap * c.in * c.out, c.out, c.in, 1, panel,
                                  s->packed_t + (size_t)tap * PANELS(c.in) * c.out * PANEL);
}

static void ours_forward(const Shape *s)
{
    const ConvJob j = {.x = s->x, .y = s->y, .packed = s->packed};
    conv_pixels(s->c, &j, TAIL_RELU, 0, s->c.images * s->c.out_side * s->c.out_side);
}

static void blas_forward(const Shape *s)
{
    const ConvJob j = {.x = s->x, .weight = s->w, .y = s->y};
    conv_blas(s->c, &j, s->unfolded, TAIL_RELU, 0, s->c.images * s->c.out_side * s->c.out_side);
}

static void ours_grad_x(const Shape *s)
{
    const ConvGradXJob j = {.dy = s->y, .mask = s->x, .dx = s->dx, .packed = s->packed_t};
    conv_grad_x_images(s->c, &j, TAIL_MASK, 0, s->c.images);
}

static void blas_grad_x(const Shape *s)
{
    const ConvGradXJob j = {.dy = s->y, .weight = s->w, .mask = s->x, .dx = s->dx};
    conv_grad_x_blas(s->c, &j, s->unfolded, TAIL_MASK, 0, s->c.images);
}

static void ours_grad_w(const Shape *s)
{
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw};
    const Conv c = s->c;
    for (int part = 0; part < GRAD_W_PARTS(c); part++)
        conv_grad_w_part(c, &j, part);
}

static void blas_grad_w(const Shape *s)
{
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw};
    const int depth = s->c.kernel * s->c.kernel * s->c.in, parts = CEIL_DIV(depth, 256);
    for (int part = 0; part < parts; part++)
        conv_grad_w_blas(s->c, &j, s->unfolded, piece(depth, part, parts), piece(depth, part + 1, parts));
}

/* The shapes that minimal filtering makes faster: name, then side, in, out_side, out, kernel, stride of the
 * convolution and outputs of a tile. Transforms want them as constants, as a generated program has them. */
#define FILTERED_SHAPES(SHAPE)                                                                               \
    SHAPE(filtered_64_to_128_at_30, 30, 64, 14, 128, 4, 2, 3)                                                \
    SHAPE(filtered_32_to_64_at_30, 30, 32, 14, 64, 4, 2, 3)                                                  \
    SHAPE(filtered_256_to_256_at_7, 7, 256, 5, 256, 3, 1, 3)                                                 \
    SHAPE(filtered_128_to_128_at_7, 7, 128, 5, 128, 3, 1, 3)                                                 \
    SHAPE(filtered_256_to_256_at_5, 5, 256, 3, 256, 3, 1, 3)                                                 \
    SHAPE(filtered_128_to_128_at_5, 5, 128, 3, 128, 3, 1, 3)

/* Weights are transformed anew each time, as in a step. */
INLINE void filtered_forward(Winograd w, const Shape *s)
{
    const ConvJob j = {.x = s->x, .y = s->y, .packed = s->points};
    for (int panel = 0; panel < PANELS(w.c.out); panel++)
        winograd_pack(w, s->w, panel, s->points);
    winograd_conv(w, &j, s->scratch, TAIL_RELU, 0, w.c.images * tiles_of(w));
}

INLINE void filtered_grad_x(Winograd w, const Shape *s)
{
    const ConvGradXJob j = {.dy = s->y, .mask = s->x, .dx = s->dx, .packed = s->points};
    for (int panel = 0; panel < PANELS(depth_of(w)); panel++)
        winograd_pack_transposed(w, s->w, panel, s->points);
    winograd_grad_x(w, &j, s->scratch, TAIL_MASK, 0, w.c.images);
}

INLINE void filtered_grad_w(Winograd w, const Shape *s)
{
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw, .partial = s->points};
    for (int part = 0; part < WINOGRAD_GRAD_W_PARTS(w); part++)
        winograd_grad_w(w, &j, s->scratch, part);
}

typedef struct {
    Winograd w;
    Run *forward, *grad_x, *grad_w;
} Filtered;

#define FILTERED_WINOGRAD(side, in, out_side, out, kernel, stride, outputs)                                  \
    {                                                                                                        \
        {FILTERED_IMAGES, side, in, out_side, out, kernel, stride}, outputs                                  \
    }
#define DEFINE_FILTERED(name, ...)                                                                           \
    static void name##_forward(const Shape *s)                                                               \
    {                                                                                                        \
        filtered_forward((Winograd)FILTERED_WINOGRAD(__VA_ARGS__), s);                                       \
    }                                                                                                        \
    static void name##_grad_x(const Shape *s)                                                                \
    {                                                                                                        \
        filtered_grad_x((Winograd)FILTERED_WINOGRAD(__VA_ARGS__), s);                                        \
    }                                                                                                        \
    static void name##_grad_w(const Shape *s)                                                                \
    {                                                                                                        \
        filtered_grad_w((Winograd)FILTERED_WINOGRAD(__VA_ARGS__), s);                                        \
    }
FILTERED_SHAPES(DEFINE_FILTERED)

/* GFLOP/s of each in turn, as many as there are tap by tap. */
static void compare(const Shape *s, Run *ours, Run *other, double rate[2])
{
    const Conv c = s->c;
    const double flop = 2.0 * c.images * c.out_side * c.out_side * c.kernel * c.kernel * c.in * c.out;
    const int times = 1 + (int)(2e8 / flop);
    double sample[2][MAX_ROUNDS];
    for (int round = -1; round < s->rounds; round++)
        for (int side = 0; side < 2; side++) {
            double start = now();
            for (int i = 0; i < times; i++)
                (side ? other : ours)(s);
            if (round >= 0)
                sample[side][round] = flop * times / (now() - start) / 1e9;
        }
    for (int side = 0; side < 2; side++)
        rate[side] = median(sample[side], s->rounds);
}

static Shape shape_new(Conv c, int rounds)
{
    const size_t depth = (size_t)c.kernel * c.kernel * c.in, x = (size_t)c.images * c.side * c.side * c.in,
                 y = (size_t)c.images * c.out_side * c.out_side * c.out;
    Shape s = {.c = c, .rounds = rounds};
    s.x = some(x);
    s.w = some(depth * c.out);
    s.y = some(y);
    s.dx = some(x);
    s.dw = some(depth * c.out);
    s.packed = some(depth * (c.out + PANEL));
    s.packed_t = some((size_t)c.kernel * c.kernel * c.out * (c.in + PANEL));
    s.unfolded = some(UNFOLDED > depth ? UNFOLDED : depth);
    pack(&s);
    return s;
}

static void shape_free(const Shape *s)
{
    float *all[] = {s->x,      s->w,        s->y,        s->dx,     s->dw,
                    s->packed, s->packed_t, s->unfolded, s->points, s->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void print_rates(const Shape *s, const double forward[2], const double grad_x[2],
                        const double grad_w[2])
{
    const Conv c = s->c;
    printf("%dx%d stride %d %5d to %4d at %2d  %8.1f %8.1f  %8.1f %8.1f  %8.1f %8.1f\n", c.kernel, c.kernel,
           c.stride, c.in, c.out, c.side, forward[0], forward[1], grad_x[0], grad_x[1], grad_w[0], grad_w[1]);
}

static void measure(Conv c, int rounds)
{
    const Shape s = shape_new(c, rounds);
    double forward[2], grad_x[2], grad_w[2];
    compare(&s, ours_forward, blas_forward, forward);
    compare(&s, ours_grad_x, blas_grad_x, grad_x);
    compare(&s, ours_grad_w, blas_grad_w, grad_w);
    print_rates(&s, forward, grad_x, grad_w);
    shape_free(&s);
}

static void measure_filtered(const Filtered *f, int rounds)
{
    const Winograd w = f->w;
    Shape s = shape_new(w.c, rounds);
    s.points = some((size_t)square_of(w) * (depth_of(w) + PANEL) * (w.c.out + PANEL));
    s.scratch = some((size_t)square_of(w) * TILE_SUM_BLOCK * (depth_of(w) + w.c.out + PANEL));
    double forward[2], grad_x[2], grad_w[2];
    compare(&s, f->forward, ours_forward, forward);
    compare(&s, f->grad_x, ours_grad_x, grad_x);
    compare(&s, f->grad_w, ours_grad_w, grad_w);
    print_rates(&s, forward, grad_x, grad_w);
    shape_free(&s);
}

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? atoi(argv[1]) : 5;
    if (rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: shapes [ROUNDS], at most %d\n", MAX_ROUNDS);
        return 2;
    }
    static const struct {
        int side, in, out_side, out, kernel, stride;
    } shape[] = {
        {32, 3, 30, 64, 3, 1},    {30, 64, 30, 64, 1, 1},   {30, 64, 14, 128, 4, 2}, {14, 128, 14, 128, 1, 1},
        {14, 128, 7, 256, 2, 2},  {7, 256, 7, 256, 1, 1},   {7, 256, 5, 256, 3, 1},  {5, 256, 5, 256, 1, 1},
        {5, 256, 3, 256, 3, 1},   {3, 256, 3, 256, 1, 1},   {3, 256, 1, 512, 3, 1},  {7, 256, 7, 512, 1, 1},
        {7, 512, 7, 512, 1, 1},   {30, 32, 30, 32, 1, 1},   {30, 32, 14, 64, 4, 2},  {14, 64, 14, 64, 1, 1},
        {14, 64, 7, 128, 2, 2},   {7, 128, 7, 128, 1, 1},   {7, 128, 5, 128, 3, 1},  {7, 1024, 7, 1024, 1, 1},
        {5, 1024, 5, 2048, 1, 1}, {5, 2048, 5, 2048, 1, 1},
    };
    openblas_set_num_threads(1);
    printf("GFLOP/s, one thread             forward + ReLU       gradient of x   gradient of weight\n"
           "                                  ours OpenBLAS      ours OpenBLAS      ours OpenBLAS\n");
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        measure((Conv){IMAGES * (shape[i].side < 8 ? 4 : 1), shape[i].side, shape[i].in, shape[i].out_side,
                       shape[i].out, shape[i].kernel, shape[i].stride},
                rounds);
    printf("                              filtered  by taps  filtered  by taps  filtered  by taps\n");
#define FILTERED_ROW(name, ...)                                                                              \
    {FILTERED_WINOGRAD(__VA_ARGS__), name##_forward, name##_grad_x, name##_grad_w},
    static const Filtered filtered[] = {FILTERED_SHAPES(FILTERED_ROW)};
    for (size_t i = 0; i < sizeof filtered / sizeof *filtered; i++)
        measure_filtered(&filtered[i], rounds);
    return 0;
}
