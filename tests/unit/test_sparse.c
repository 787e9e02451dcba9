/* test_sparse.c: the products of templates/sparse.h, which skip zeros, against the interpreter's naive loops
 * in double; and that no result depends on how the work is cut, if pairs of pixels stay together. */
#define TOGETHER 2 /* with odd numbers of rows: both ways are taken */
#include "sparse.h"

#include "noise.h"
#include "single.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sums of up to 9 * 192 products of order 1, or over 363 pixels, in float. */
#define TOLERANCE 3e-6
enum { IMAGES = 3 };

/* ---- zeros ---- */

/* Half of the numbers; besides them every third row and every fifth column; none. */
typedef enum { ZEROS_HALF, ZEROS_LINES, ZEROS_NONE, ZEROS_WAYS } Zeros;

static const char *name_of(Zeros zeros)
{
    return zeros == ZEROS_HALF ? "half zeros" : zeros == ZEROS_LINES ? "lines of zeros" : "no zeros";
}

static bool is_dropped(Zeros zeros, size_t row, size_t column, uint64_t *state)
{
    const bool half = noise(state) < 0;
    return zeros != ZEROS_NONE && (half || (zeros == ZEROS_LINES && (row % 3 == 1 || column % 5 == 2)));
}

static void drop(Single *s, const Value *v, Zeros zeros)
{
    const size_t count = value_count(v), columns = (size_t)v->dims[3];
    size_t dropped = 0;
    for (size_t i = 0; i < count; i++)
        if (is_dropped(zeros, i / columns, i % columns, &s->noise)) {
            s->want->value[v->id][i] = 0;
            dropped++;
        }
    const size_t percent = 100 * dropped / count;
    assert_in_range(percent,
                    zeros == ZEROS_NONE   ? 0
                    : zeros == ZEROS_HALF ? 45
                                          : 70,
                    zeros == ZEROS_NONE   ? 0
                    : zeros == ZEROS_HALF ? 55
                                          : 78);
}

/* ---- shapes ---- */

typedef struct {
    Conv c;
    bool by_dy; /* else by x */
    Zeros zeros;
    char what[128];
} Case;

static Conv conv_of(int kernel, int stride, int out_side, int in, int out)
{
    return (Conv){IMAGES, (out_side - 1) * stride + kernel, in, out_side, out, kernel, stride};
}

static Case case_of(Conv c, bool by_dy, Zeros zeros)
{
    Case k = {.c = c, .by_dy = by_dy, .zeros = zeros};
    snprintf(k.what, sizeof k.what, "kernel %d, stride %d, %d to %d channels, %s by %s", c.kernel, c.stride,
             c.in, c.out, name_of(zeros), by_dy ? "dy" : "x");
    return k;
}

/* Those of specs; then one group and three, however wide they are here. */
static const int columns_tried[] = {64, 128, 192, GROUP_COLUMNS, 3 * GROUP_COLUMNS};
static const int depths_tried[] = {64, 192};
/* 363, 243 and 147 pixels: no multiple of a block of either kind. */
enum { SIDE = 11, SMALL_SIDE = 9, SMALLER_SIDE = 7 };

typedef void EachMap(const Case *k);

/* The cases in which the left factor has `depth` channels, the result `columns`. */
static void each_map(EachMap *f, bool by_dy, int kernel, int side)
{
    for (size_t i = 0; i < COUNT(columns_tried); i++)
        for (size_t j = 0; j < COUNT(depths_tried); j++)
            for (Zeros zeros = 0; zeros < ZEROS_WAYS; zeros++) {
                const int columns = columns_tried[i], depth = depths_tried[j];
                const Conv c = by_dy ? conv_of(kernel, kernel, side, columns, depth)
                                     : conv_of(kernel, kernel, side, depth, columns);
                const Case k = case_of(c, by_dy, zeros);
                f(&k);
            }
}

/* ---- maps ---- */

static float *packed_weight(Conv c, const float *weight, bool transposed)
{
    const int columns = transposed ? c.kernel * c.kernel * c.in : c.out;
    float *packed = new_floats((size_t)depth_of_patch(c) * (size_t)c.out);
    for (int panel = 0; panel < PANELS(columns); panel++)
        (transposed ? sparse_pack_transposed : sparse_pack)(c, weight, panel, packed);
    return packed;
}

static void run_pixels(const SparseProduct *product, int first, int last)
{
    float *scratch = new_floats(SPARSE_SCRATCH(product->depth));
    sparse_product(product, scratch, first, last);
    free(scratch);
}

/* Runs the product as a whole; cut between pairs of pixels it must give the same bits. */
static void run_and_recut(const SparseProduct *product, size_t count, int pixels, const char *what)
{
    const int cuts[] = {0, 2, 64, 130, 138, pixels};
    SparseProduct again = *product;
    again.y = new_floats(count);
    again.addend = product->addend ? again.y : NULL;
    memcpy(again.y, product->y, sizeof(float) * count); /* the addend, if there is one */
    run_pixels(product, 0, pixels);
    for (size_t i = COUNT(cuts) - 1; i > 0; i--)
        run_pixels(&again, cuts[i - 1], cuts[i]);
    if (memcmp(again.y, product->y, sizeof(float) * count))
        fail_msg("%s: it matters how pixels are cut", what);
    free(again.y);
}

static void check_conv(const Case *k, bool whole_tail)
{
    Single s;
    const Conv c = k->c;
    single_begin(&s, 1, c.images);
    const Op *op = single_conv(&s, c, whole_tail);
    single_fill(&s);
    drop(&s, op->in[CONV_X], k->zeros);
    interpret(s.want);
    const size_t count = value_count(op->out[0]);
    float *x = floats_of(&s, op->in[CONV_X]), *weight = floats_of(&s, op->in[CONV_WEIGHT]),
          *bias = floats_of(&s, op->in[CONV_BIAS]), *packed = packed_weight(c, weight, false),
          *y = whole_tail ? floats_of(&s, op->in[CONV_ADDEND]) : new_floats(count);
    const SparseProduct product = {.left = x,
                                   .packed = packed,
                                   .bias = bias,
                                   .addend = whole_tail ? y : NULL,
                                   .y = y,
                                   .depth = c.in,
                                   .to = pixels_of_y(c),
                                   .ends = sparse_ends_of(whole_tail ? TAIL_BIAS | TAIL_ADD | TAIL_RELU : 0)};
    run_and_recut(&product, count, pixels_of(c), k->what);
    expect_within(TOLERANCE, &s, op->out[0], y, k->what);
    free(x);
    free(weight);
    free(bias);
    free(packed);
    single_end(&s);
}

static void check_conv_plain(const Case *k)
{
    check_conv(k, false);
}

/* The sum is formed in place, as the planner has it. */
static void check_conv_with_tail(const Case *k)
{
    check_conv(k, true);
}

static void check_grad_x(const Case *k, bool whole_tail)
{
    Single s;
    const Conv c = k->c;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_x(&s, c, whole_tail);
    single_fill(&s);
    drop(&s, op->in[CONV_GRAD_X_DY], k->zeros);
    interpret(s.want);
    const size_t count = value_count(op->out[0]);
    float *dy = floats_of(&s, op->in[CONV_GRAD_X_DY]), *weight = floats_of(&s, op->in[CONV_GRAD_X_WEIGHT]),
          *mask = floats_of(&s, op->in[CONV_GRAD_X_MASK]), *packed = packed_weight(c, weight, true),
          *dx = whole_tail ? floats_of(&s, op->in[CONV_GRAD_X_ADDEND]) : new_floats(count);
    const SparseProduct product = {.left = dy,
                                   .packed = packed,
                                   .addend = whole_tail ? dx : NULL,
                                   .mask = mask,
                                   .y = dx,
                                   .depth = c.out,
                                   .to = c,
                                   .ends = sparse_ends_of(whole_tail ? TAIL_ADD | TAIL_MASK : 0)};
    run_and_recut(&product, count, pixels_of(c), k->what);
    expect_within(TOLERANCE, &s, op->out[0], dx, k->what);
    free(dy);
    free(weight);
    free(mask);
    free(packed);
    single_end(&s);
}

static void check_grad_x_plain(const Case *k)
{
    check_grad_x(k, false);
}

static void check_grad_x_with_tail(const Case *k)
{
    check_grad_x(k, true);
}

/* Every tail there is: each adds up the same sums as the one that only stores them. */
static void every_tail_is_its_own(void **state)
{
    (void)state;
    enum { DEPTH = 64, COLUMNS = 2 * GROUP_COLUMNS, PIXELS = 5, COUNT_OF_Y = PIXELS * COLUMNS };
    uint64_t noises = 7;
    float left[PIXELS * DEPTH], packed[DEPTH * COLUMNS], bias[COLUMNS], sums[COUNT_OF_Y], y[COUNT_OF_Y];
    float addend[COUNT_OF_Y], mask[COUNT_OF_Y], *scratch = new_floats(SPARSE_SCRATCH(DEPTH));
    for (int i = 0; i < PIXELS * DEPTH; i++)
        left[i] = noise(&noises) < 0 ? 0 : (float)noise(&noises);
    for (int i = 0; i < DEPTH * COLUMNS; i++)
        packed[i] = (float)noise(&noises);
    for (int i = 0; i < COUNT_OF_Y; i++) {
        bias[i % COLUMNS] = (float)noise(&noises);
        addend[i] = (float)noise(&noises);
        mask[i] = (float)noise(&noises);
    }
    SparseProduct product = {.left = left, .packed = packed, .bias = bias, .addend = addend, .mask = mask};
    product.depth = DEPTH;
    product.to = (Conv){.images = 1, .in = COLUMNS, .kernel = 1, .stride = 1};
    product.y = sums;
    product.ends = sparse_ends_of(0);
    sparse_product(&product, scratch, 0, PIXELS);
    product.y = y;
    for (int tail = 1; tail < 16; tail++) {
        product.ends = sparse_ends_of(tail);
        sparse_product(&product, scratch, 0, PIXELS);
        for (int i = 0; i < COUNT_OF_Y; i++) {
            float want = sums[i];
            want += tail & TAIL_BIAS ? bias[i % COLUMNS] : 0;
            want += tail & TAIL_ADD ? addend[i] : 0;
            want = tail & TAIL_RELU && !(want > 0) ? 0 : want;
            want = tail & TAIL_MASK && !(mask[i] > 0) ? 0 : want;
            if (y[i] != want)
                fail_msg("tail %d: %g at %d instead of %g", tail, (double)y[i], i, (double)want);
        }
    }
    free(scratch);
}

/* ---- gradients of weights ---- */

/* The parts of both rounds, as they come or the other way round; the second round in `ends` pieces. */
static float *grad_w_of(const Case *k, ConvGradWJob j, const float *start, size_t count, int slices,
                        bool backwards, int ends)
{
    float *dw = new_floats(count), *partial = new_floats(count * (size_t)slices);
    j.dw = dw;
    j.partial = partial;
    if (j.more)
        memcpy(dw, start, sizeof(float) * count);
    const int factor = k->by_dy ? BY_DY : BY_X, parts = sparse_grad_w_parts(k->c, factor, slices);
    for (int i = 0; i < parts; i++) {
        float *scratch = new_floats(SPARSE_GRAD_W_SCRATCH);
        sparse_grad_w(k->c, &j, scratch, factor, slices, backwards ? parts - 1 - i : i);
        free(scratch);
    }
    for (int i = 0; i < ends; i++)
        sparse_grad_w_end(k->c, &j, factor, slices, backwards ? ends - 1 - i : i, ends);
    free(partial);
    return dw;
}

static void check_grad_w(const Case *k, int slices, bool more)
{
    Single s;
    const Conv c = k->c;
    single_begin(&s, 1, c.images);
    const Op *op = single_grad_w(&s, c);
    const Value *by = op->in[k->by_dy ? CONV_GRAD_W_DY : CONV_GRAD_W_X];
    single_fill(&s);
    drop(&s, by, k->zeros);
    float *start = floats_of(&s, op->out[0]);
    interpret(s.want);
    const size_t count = value_count(op->out[0]);
    for (size_t i = 0; more && i < count; i++)
        s.want->value[op->out[0]->id][i] += (double)start[i];
    float *x = floats_of(&s, op->in[CONV_GRAD_W_X]), *dy = floats_of(&s, op->in[CONV_GRAD_W_DY]);
    const ConvGradWJob j = {.x = x, .dy = dy, .more = more};
    float *dw = grad_w_of(k, j, start, count, slices, false, 1),
          *cut = grad_w_of(k, j, start, count, slices, true, 3);
    if (memcmp(cut, dw, sizeof(float) * count))
        fail_msg("%s: it matters how parts are cut", k->what);
    expect_within(TOLERANCE, &s, op->out[0], dw, k->what);
    free(cut);
    free(x);
    free(dy);
    free(start);
    single_end(&s);
}

static void check_grad_w_each_way(const Case *k)
{
    check_grad_w(k, 1, false);
    check_grad_w(k, 1, true);
    check_grad_w(k, 3, false);
    check_grad_w(k, 3, true);
}

/* By dy of larger kernels: `in` channels of x, of which a patch has some for each tap. */
static void check_grad_w_of_patches(int kernel, int stride, int in)
{
    for (size_t j = 0; j < COUNT(depths_tried); j++)
        for (Zeros zeros = 0; zeros < ZEROS_WAYS; zeros++) {
            const Case k = case_of(conv_of(kernel, stride, SMALL_SIDE, in, depths_tried[j]), true, zeros);
            check_grad_w_each_way(&k);
        }
}

/* ---- bits ---- */

/* What any float may be; a negative zero is one, nothing else. */
static float some_float(uint64_t *state)
{
    static const float special[] = {0, -0.0f, FLT_MIN, -FLT_MIN, FLT_MAX, INFINITY, -INFINITY, NAN};
    const int i = noise_below(state, 2 * (int)COUNT(special));
    return i < (int)COUNT(special) ? special[i] : (float)noise(state);
}

static void rows_know_their_zeros(void **state)
{
    (void)state;
    uint64_t noises = 1;
    for (int round = 0; round < 100; round++) {
        float row[DEPTH_BLOCK];
        uint64_t want = 0;
        for (int i = 0; i < DEPTH_BLOCK; i++) {
            row[i] = some_float(&noises);
            want |= (uint64_t)(row[i] != 0) << i;
        }
        const uint64_t got = nonzero_of_64(row);
        if (got != want)
            fail_msg("round %d: %016jx instead of %016jx", round, (uintmax_t)got, (uintmax_t)want);
    }
}

/* Of `pixels` numbers each, which the block takes over. */
static void check_columns(int pixels, int rows, uint64_t *noises)
{
    const int step = rows + LINE;
    float *from = new_floats((size_t)(pixels * step)), *left = new_floats(DEPTH_BLOCK * SPARSE_STEP);
    for (int i = 0; i < pixels * step; i++)
        from[i] = some_float(noises);
    SparseBlock b = {.left = left};
    sparse_block_rows(from, step, pixels, rows, &b);
    for (int row = 0; row < rows; row++) {
        uint64_t want = 0;
        for (int i = 0; i < pixels; i++) {
            want |= (uint64_t)(from[i * step + row] != 0) << i;
            assert_memory_equal(&left[i * SPARSE_STEP + row], &from[i * step + row], sizeof(float));
        }
        if (b.set[row] != want)
            fail_msg("%d pixels, row %d: %016jx instead of %016jx", pixels, row, (uintmax_t)b.set[row],
                     (uintmax_t)want);
    }
    free(from);
    free(left);
}

static void columns_know_their_zeros(void **state)
{
    (void)state;
    static const int pixels[] = {1, 31, 32, 33, 63, DEPTH_BLOCK};
    uint64_t noises = 2;
    for (size_t i = 0; i < COUNT(pixels); i++)
        for (int rows = LINE; rows <= SPARSE_ROWS; rows += 7 * LINE)
            check_columns(pixels[i], rows, &noises);
}

/* ---- */

static void convolutions(void **state)
{
    (void)state;
    each_map(check_conv_plain, false, 1, SIDE);
    each_map(check_conv_with_tail, false, 1, SIDE);
}

static void gradients_of_x(void **state)
{
    (void)state;
    each_map(check_grad_x_plain, true, 1, SIDE);
    each_map(check_grad_x_with_tail, true, 1, SIDE);
}

static void gradients_of_x_in_patches(void **state)
{
    (void)state;
    each_map(check_grad_x_plain, true, 2, SMALL_SIDE);
    each_map(check_grad_x_with_tail, true, 2, SMALL_SIDE);
    each_map(check_grad_x_plain, true, 3, SMALLER_SIDE);
}

static void gradients_of_weights_by_x(void **state)
{
    (void)state;
    each_map(check_grad_w_each_way, false, 1, SIDE);
    /* A part of 128 rows and one of a line. */
    const Case k = case_of(conv_of(1, 1, SIDE, SPARSE_ROWS + LINE, 64), false, ZEROS_HALF);
    check_grad_w_each_way(&k);
}

static void gradients_of_weights_by_dy(void **state)
{
    (void)state;
    each_map(check_grad_w_each_way, true, 1, SIDE);
    /* Patches of 64, 192 and 256 numbers; then of two that lie together, and of three that overlap. */
    check_grad_w_of_patches(2, 2, 16);
    check_grad_w_of_patches(2, 2, 48);
    check_grad_w_of_patches(2, 2, 64);
    check_grad_w_of_patches(3, 1, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_know_their_zeros),
        cmocka_unit_test(columns_know_their_zeros),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(gradients_of_x),
        cmocka_unit_test(gradients_of_x_in_patches),
        cmocka_unit_test(every_tail_is_its_own),
        cmocka_unit_test(gradients_of_weights_by_x),
        cmocka_unit_test(gradients_of_weights_by_dy),
    };
    return cmocka_run_group_tests_name("sparse", tests, NULL, NULL);
}
