/* shapes.c: every product of specs/amdim.yaml, of the narrower cifar10-quick.yaml, and the largest of the
 * paper's, shape by shape, on one thread: our kernels against OpenBLAS (patches unfolded a tile at a time),
 * forward with a ReLU behind it, gradient of x, gradient of the weight; then those that Winograd
 * makes faster, and those that skip zeros (and gradients of x that a mask keeps), against our own kernels tap
 * by tap; the last two where products are by vectors. usage: shapes [ROUNDS]; prints GFLOP/s, medians, the
 * two in turn. */
#include "blas.h"
#include "kernels.h"
#if MATRIX_TILES /* every product by them, whole */
#include "tile_sums.h"
#include "tiles.h"
#else
#include "blocked.h"
#include "masked.h"
#include "sparse.h"
#include "winograd.h"
#endif
#include "processor.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { IMAGES = 8, STEP_IMAGES = 128, SLICES = 8, MAX_ROUNDS = 99, LARGEST_SCRATCH = 1 << 19 /* floats */ };
enum { THREADS = 2 }; /* that gradients of weights are cut for */

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
    int outputs; /* of a tile, where Winograd makes the products */
    bool by_dy;  /* the gradient of the weight skips dy's zeros, else x's */
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
                                  s->packed_t + tap * PANELS(c.in) * PANEL_FLOATS(c.out));
}

#if !MATRIX_TILES
/* Whether rows are so long that they are multiplied block by block, as by the compiler where OpenBLAS does
 * not take them. */
static bool is_blocked(Conv c, int depth)
{
    return is_pointwise(c) && depth >= BLOCKED_LONG_ROW;
}
#endif

static void ours_forward(const Shape *s)
{
    const ConvJob j = {.x = s->x, .y = s->y, .packed = s->packed};
#if !MATRIX_TILES
    if (is_blocked(s->c, s->c.in)) {
        blocked_part(blocked_conv(s->c, &j), s->scratch, TAIL_RELU, 0, 1);
        return;
    }
#endif
    conv_pixels(s->c, &j, s->scratch, TAIL_RELU, 0, s->c.images * s->c.out_side * s->c.out_side);
}

static void blas_forward(const Shape *s)
{
    const ConvJob j = {.x = s->x, .weight = s->w, .y = s->y};
    conv_blas(s->c, &j, s->unfolded, TAIL_RELU, 0, s->c.images * s->c.out_side * s->c.out_side);
}

static void ours_grad_x(const Shape *s)
{
    const ConvGradXJob j = {.dy = s->y, .mask = s->x, .dx = s->dx, .packed = s->packed_t};
#if !MATRIX_TILES
    if (is_blocked(s->c, s->c.out)) {
        blocked_part(blocked_grad_x(s->c, &j), s->scratch, TAIL_MASK, 0, 1);
        return;
    }
#endif
    conv_grad_x_part(s->c, &j, s->scratch, TAIL_MASK, 0, 1);
}

static void blas_grad_x(const Shape *s)
{
    const ConvGradXJob j = {.dy = s->y, .weight = s->w, .mask = s->x, .dx = s->dx};
    conv_grad_x_blas(s->c, &j, s->unfolded, TAIL_MASK, 0, s->c.images);
}

static void ours_grad_w(const Shape *s)
{
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw};
#if MATRIX_TILES
    conv_grad_w_tiles(s->c, &j, s->scratch, 1, 1, 0);
#else
    for (int part = 0; part < grad_w_parts(s->c, THREADS); part++)
        conv_grad_w_part(s->c, &j, s->scratch, THREADS, part);
#endif
}

static void blas_grad_w(const Shape *s)
{
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw};
    const int depth = s->c.kernel * s->c.kernel * s->c.in, parts = CEIL_DIV(depth, 256);
    for (int part = 0; part < parts; part++)
        conv_grad_w_blas(s->c, &j, s->unfolded, piece(depth, part, parts), piece(depth, part + 1, parts));
}

#if !MATRIX_TILES
/* Weights are transformed anew each time, as in a step. */
static void winograd_forward(const Shape *s)
{
    const Winograd w = winograd_of(s->c, s->outputs);
    const ConvJob j = {.x = s->x, .y = s->y, .packed = s->points};
    for (int panel = 0; panel < PANELS(w.c.out); panel++)
        winograd_pack(w, s->w, panel, s->points);
    winograd_conv(w, &j, s->scratch, TAIL_RELU, 0, w.c.images * tiles_of(w));
}

static void winograd_gradient_of_x(const Shape *s)
{
    const Winograd w = winograd_of(s->c, s->outputs);
    const ConvGradXJob j = {.dy = s->y, .mask = s->x, .dx = s->dx, .packed = s->points};
    for (int panel = 0; panel < PANELS(depth_of(w)); panel++)
        winograd_pack_transposed(w, s->w, panel, s->points);
    winograd_grad_x(w, &j, j.dy, s->scratch, TAIL_MASK, 0, w.c.images);
}

static void winograd_gradient_of_w(const Shape *s)
{
    const Winograd w = winograd_of(s->c, s->outputs);
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw, .partial = s->points};
    for (int part = 0; part < THREADS; part++)
        winograd_grad_w(w, &j, s->scratch, part, THREADS);
}

/* ---- skipping zeros ---- */

static void sparse_forward(const Shape *s)
{
    const ConvJob j = {.x = s->x, .y = s->y, .packed = s->packed};
    sparse_conv(s->c, &j, j.x, s->scratch, TAIL_RELU, 0, s->c.images * s->c.out_side * s->c.out_side);
}

static void sparse_gradient_of_x(const Shape *s)
{
    const ConvGradXJob j = {.dy = s->y, .mask = s->x, .dx = s->dx, .packed = s->packed_t};
    sparse_grad_x(s->c, &j, j.dy, s->scratch, TAIL_MASK, 0, s->c.images * s->c.out_side * s->c.out_side);
}

/* A ReLU's mask, of which half is zero, of a residual's second convolution. */
static void masked_grad_x(const Shape *s)
{
    const ConvGradXJob j = {.dy = s->y, .mask = s->x, .dx = s->dx, .packed = s->packed_t};
    masked_product(s->c, &j, j.dy, s->scratch, 0, s->c.images * s->c.out_side * s->c.out_side);
}

/* As the compiler has it: SLICES parts at least. */
static int sparse_slices(const Shape *s)
{
    const int parts = CEIL_DIV(s->by_dy ? s->c.out : s->c.in, SPARSE_ROWS);
    return parts < SLICES ? SLICES / parts : 1;
}

static void sparse_gradient_of_w(const Shape *s)
{
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw, .partial = s->points};
    const int slices = sparse_slices(s);
    const int factor = s->by_dy ? BY_DY : BY_X;
    for (int part = 0; part < sparse_grad_w_parts(s->c, factor, slices); part++)
        sparse_grad_w(s->c, &j, s->scratch, factor, slices, part);
    sparse_grad_w_end(s->c, &j, factor, slices, 0, 1);
}

/* What a program would do instead: a small weight's gradient is summed over slices of the images. */
static void dense_grad_w(const Shape *s)
{
    enum { SMALL = 1 << 14 };
    const size_t count = (size_t)s->c.kernel * s->c.kernel * s->c.in * s->c.out;
    const ConvGradWJob j = {.x = s->x, .dy = s->y, .dw = s->dw, .partial = s->points};
    if (count > SMALL) {
        ours_grad_w(s);
        return;
    }
    for (int slice = 0; slice < SLICES; slice++)
        conv_grad_w_slice(s->c, &j, s->scratch, slice, SLICES);
    sum_slices(s->points, SLICES, count, 1, NULL, s->dw, 0, 1);
}

#endif

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
    s.packed = some((size_t)(PANELS(c.out) * PANEL_FLOATS((ptrdiff_t)depth)));
    s.packed_t = some((size_t)(c.kernel * c.kernel * PANELS(c.in) * PANEL_FLOATS(c.out)));
    s.scratch = some(LARGEST_SCRATCH);
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

/* A product that there is no such kernel for has no rates. */
static void print_pair(const double rate[2])
{
    if (rate[0] > 0)
        printf("  %8.1f %8.1f", rate[0], rate[1]);
    else
        printf("  %8s %8s", "-", "-");
}

static void print_rates(const Shape *s, const double forward[2], const double grad_x[2],
                        const double grad_w[2])
{
    const Conv c = s->c;
    printf("%dx%d stride %d %5d to %4d at %2d", c.kernel, c.kernel, c.stride, c.in, c.out, c.side);
    print_pair(forward);
    print_pair(grad_x);
    print_pair(grad_w);
}

static void measure(Conv c, int rounds)
{
    const Shape s = shape_new(c, rounds);
    double forward[2], grad_x[2], grad_w[2];
    compare(&s, ours_forward, blas_forward, forward);
    compare(&s, ours_grad_x, blas_grad_x, grad_x);
    compare(&s, ours_grad_w, blas_grad_w, grad_w);
    print_rates(&s, forward, grad_x, grad_w);
    printf("\n");
    shape_free(&s);
}

#if !MATRIX_TILES
static void measure_winograd(Conv c, int outputs, int rounds)
{
    const Winograd w = winograd_of(c, outputs);
    Shape s = shape_new(c, rounds);
    s.outputs = outputs;
    s.points = some((size_t)square_of(w) * (depth_of(w) + PANEL) * (c.out + PANEL));
    free(s.scratch);
    s.scratch = some(LARGEST_SCRATCH + (size_t)square_of(w) * TILE_SUM_BLOCK * (depth_of(w) + c.out + PANEL));
    double forward[2], grad_x[2], grad_w[2];
    compare(&s, winograd_forward, ours_forward, forward);
    compare(&s, winograd_gradient_of_x, ours_grad_x, grad_x);
    compare(&s, winograd_gradient_of_w, ours_grad_w, grad_w);
    print_rates(&s, forward, grad_x, grad_w);
    printf("\n");
    shape_free(&s);
}

/* Shapes that Winograd makes faster. */
static void print_winograd(int rounds)
{
    static const struct {
        int side, in, out_side, out, kernel, stride;
    } shape[] = {
        {30, 64, 14, 128, 4, 2}, {30, 32, 14, 64, 4, 2}, {7, 256, 5, 256, 3, 1},
        {7, 128, 5, 128, 3, 1},  {5, 256, 3, 256, 3, 1}, {5, 128, 3, 128, 3, 1},
    };
    printf("                              winograd  by taps  winograd  by taps  winograd  by taps\n");
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        measure_winograd((Conv){STEP_IMAGES, shape[i].side, shape[i].in, shape[i].out_side, shape[i].out,
                                shape[i].kernel, shape[i].stride},
                         3, rounds);
}

/* Numbers of order 1, each of which is zero but for one of `every`; the same in every run. */
static void fill_sparse(float *v, size_t count, int every)
{
    uint64_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const uint32_t upper = (uint32_t)(state >> 33);
        v[i] = upper % (uint32_t)every ? 0 : (float)(upper + 1.0) / 0x80000000;
    }
}

/* Layers that change the channels make a hidden layer, so that it is their dy that has zeros. */
static void measure_sparse(Conv c, int every, int rounds)
{
    Shape s = shape_new(c, rounds);
    const size_t weight = (size_t)c.kernel * c.kernel * c.in * c.out;
    const int depth = c.in > c.out ? c.in : c.out;
    s.by_dy = c.kernel > 1 || c.out > c.in;
    s.points = some(SLICES * weight);
    free(s.scratch);
    s.scratch =
        some(LARGEST_SCRATCH + (size_t)MAX_OF(SPARSE_SCRATCH(depth), SPARSE_GRAD_W_SCRATCH)); /* for each */
    fill_sparse(s.x, (size_t)c.images * c.side * c.side * c.in, every);
    double forward[2] = {0}, grad_x[2], grad_w[2], by_mask[2] = {0};
    if (c.kernel == 1)
        compare(&s, sparse_forward, ours_forward, forward);
    fill_sparse(s.y, (size_t)c.images * c.out_side * c.out_side * c.out, every);
    compare(&s, sparse_gradient_of_x, ours_grad_x, grad_x);
    compare(&s, sparse_gradient_of_w, dense_grad_w, grad_w);
    print_rates(&s, forward, grad_x, grad_w);
    if (c.kernel == 1)
        compare(&s, masked_grad_x, ours_grad_x, by_mask);
    print_pair(by_mask);
    printf("\n");
    shape_free(&s);
}

static void print_sparse(int every, int rounds)
{
    static const struct {
        int side, in, out_side, out, kernel, stride;
    } shape[] = {
        {30, 64, 30, 64, 1, 1}, {14, 128, 14, 128, 1, 1}, {14, 128, 7, 256, 2, 2},
        {7, 256, 7, 256, 1, 1}, {5, 256, 5, 256, 1, 1},   {7, 256, 7, 512, 1, 1},
        {7, 512, 7, 512, 1, 1}, {14, 64, 14, 64, 1, 1},   {7, 128, 7, 128, 1, 1},
    };
    printf("1 of %d numbers not zero           sparse    dense    sparse    dense    sparse    dense    "
           "masked    dense\n",
           every);
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        measure_sparse((Conv){STEP_IMAGES, shape[i].side, shape[i].in, shape[i].out_side, shape[i].out,
                              shape[i].kernel, shape[i].stride},
                       every, rounds);
}

#endif

int main(int argc, char **argv)
{
    processor_begin_again_for_openblas(openblas_get_corename(), argv);
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
    if (MATRIX_TILES && !processor_permits_tiles()) {
        fprintf(stderr, "shapes: the system does not permit the processor's matrix tiles\n");
        return 1;
    }
    openblas_set_num_threads(1);
    printf("GFLOP/s, one thread             forward + ReLU       gradient of x   gradient of weight\n"
           "                                  ours OpenBLAS      ours OpenBLAS      ours OpenBLAS\n");
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        measure((Conv){IMAGES * (shape[i].side < 8 ? 4 : 1), shape[i].side, shape[i].in, shape[i].out_side,
                       shape[i].out, shape[i].kernel, shape[i].stride},
                rounds);
#if !MATRIX_TILES
    print_winograd(rounds);
    print_sparse(2, rounds);
    print_sparse(3, rounds);
#endif
    return 0;
}
