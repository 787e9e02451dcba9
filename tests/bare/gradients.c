/* gradients.c: an application that holds the gradients of a step against central differences of its loss, as
 * the command selfcheck does, and writes them for the host to compare.
 *
 * The weights are moved by +h and -h: all at once along the gradient and at random, then each tensor at
 * random. Rounding spoils small h and kinks of ReLUs large ones, so several are tried and the best counts.
 * The model says nothing of where a tensor lies in params: it is taken out and put back whole, by way of the
 * work memory, and views are put anew before each step. */
#include "model.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const double TOLERANCE = 0.03;   /* of a gradient's norm */
static const double GOOD_ENOUGH = 0.01; /* no other h is tried */
static const double WHOLE_SHARE =
    1e-3; /* of the whole gradient's norm, by which any tensor's may be off, too */
static const double NOISE_MARGIN = 8; /* rounding of two losses over what was seen of it */
static const double SMALLEST = 0x1p-12, LARGEST = 0x1p-5; /* h, in units of a tensor's root mean square */
static const double around[] = {1, 4, 0.25, 16,
                                0.0625}; /* what is tried, beginning where rounding matters little */
enum { NOISE_TRIES = 3, TRIED = sizeof around / sizeof *around };

static _Alignas(ALIGNMENT) float params[CONST(PARAMS)];
static _Alignas(ALIGNMENT) float start[CONST(PARAMS)];
static _Alignas(ALIGNMENT) float gradients[CONST(PARAMS)];
static _Alignas(ALIGNMENT) unsigned char work[CONST(TRAIN_BYTES)];
static int32_t locations[LOCATIONS + 1];
static float view[PIXELS];

static struct {
    double norm, scale; /* of its gradient; its root mean square */
} known[CONST(TENSORS)];
static double whole, noise; /* the gradient's norm; rounding of a loss */

typedef struct {
    int first, end; /* the tensors that are moved */
    bool along;     /* their gradients; else at random */
} Direction;

/* ---- steps ---- */

static void put_views(void)
{
    const File x = file_open("in", "x");
    for (int v = 0; v < CONST(VIEWS); v++)
        for (int place = 0; place < CONST(BATCH); place++) {
            file_read(x, view, sizeof view);
            CALL(put_float)(work, v, place, view);
        }
    file_close(x);
}

static Result step(float *to)
{
    put_views();
    return CALL(gradients)(params, work, LOCATIONS ? locations : NULL, to);
}

static double loss(void)
{
    return (double)step(NULL).loss;
}

/* ---- tensors ---- */

static bool is_trained(const Tensor *t)
{
    return !strstr(t->name, ".running_");
}

/* Where a tensor's values may lie for a while, and behind them its gradient. */
static float *values_of(const float *from, int tensor, size_t behind)
{
    const size_t count = CALL(tensors)[tensor].count;
    float *room = (float *)work + behind;
    if ((behind + count) * sizeof *room > sizeof work)
        board_fail("there is no room for", CALL(tensors)[tensor].name);
    CALL(get)(from, tensor, room);
    return room;
}

static double norm_of(const float *v, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

/* Marsaglia's xorshift. */
static uint64_t next_random(uint64_t *r)
{
    *r ^= *r << 13;
    *r ^= *r >> 7;
    return *r ^= *r << 17;
}

static uint64_t random_of(int stream, int tensor)
{
    uint64_t r = 0x9e3779b97f4a7c15u * (uint64_t)(1 + stream + NOISE_TRIES * tensor);
    next_random(&r);
    return r;
}

/* Moves one tensor; returns what that adds to the loss, by its gradient. */
static double move_tensor(const Direction *d, int i, double reach)
{
    const size_t count = CALL(tensors)[i].count;
    float *value = values_of(start, i, 0);
    const float *slope = values_of(gradients, i, count);
    const double h = reach * known[i].scale,
                 unit = known[i].norm > 0 ? sqrt((double)count) / known[i].norm : 0;
    uint64_t r = random_of(0, i);
    double change = 0;
    for (size_t j = 0; j < count; j++) {
        const double by = d->along ? unit * (double)slope[j] : next_random(&r) >> 63 ? 1 : -1;
        const float moved = (float)((double)value[j] + h * by);
        change += (double)slope[j] * ((double)moved - (double)value[j]); /* by what float32 makes of it */
        value[j] = moved;
    }
    CALL(set)(params, i, value);
    return change;
}

static double move(const Direction *d, double reach)
{
    double change = 0;
    memcpy(params, start, sizeof params);
    for (int i = d->first; i < d->end; i++)
        if (is_trained(&CALL(tensors)[i]))
            change += move_tensor(d, i, reach);
    return change;
}

/* ---- before anything is compared ---- */

/* Every weight moved by a bit: what the loss differs by then is rounding. */
static void measure_noise(double at_start)
{
    for (int try = 0; try < NOISE_TRIES; try++) {
        memcpy(params, start, sizeof params);
        for (int i = 0; i < CONST(TENSORS); i++) {
            float *value = values_of(start, i, 0);
            uint64_t r = random_of(try, i);
            for (size_t j = 0; is_trained(&CALL(tensors)[i]) && j < CALL(tensors)[i].count; j++)
                value[j] *= next_random(&r) >> 63 ? 1 + 0x1p-23f : 1 - 0x1p-24f;
            CALL(set)(params, i, value);
        }
        noise = fmax(noise, fabs(loss() - at_start));
    }
}

static void measure_tensors(void)
{
    double squares = 0;
    for (int i = 0; i < CONST(TENSORS); i++) {
        const size_t count = CALL(tensors)[i].count;
        if (!is_trained(&CALL(tensors)[i]))
            continue;
        known[i].scale = norm_of(values_of(start, i, 0), count) / sqrt((double)count);
        known[i].norm = norm_of(values_of(gradients, i, 0), count);
        squares += known[i].norm * known[i].norm;
    }
    whole = sqrt(squares);
}

static void write_result(const Result *r)
{
    const File file = file_new("out", "result");
    file_write(file, &r->loss, sizeof r->loss);
    file_write(file, &r->penalty, sizeof r->penalty);
    file_write(file, r->pair_loss, sizeof r->pair_loss);
    file_close(file);
}

static void begin(void)
{
    model_read(start, "weights", (float *)work, sizeof work);
    if (LOCATIONS > 0) {
        const File file = file_open("in", "locations");
        file_read(file, locations, LOCATIONS * sizeof *locations);
        file_close(file);
    }
    memcpy(params, start, sizeof params);
    const Result r = step(gradients);
    write_result(&r);
    measure_tensors();
    measure_noise((double)r.loss);
    print("loss ");
    print_real((double)r.loss);
    print(", gradient of norm ");
    print_real(whole);
    print("\n");
    if (!isfinite(r.loss) || !isfinite(whole) || !(whole > 0))
        board_fail("loss and gradient", "should be finite, and not 0");
}

/* ---- differences ---- */

/* What errors are relative to: a difference over `reach` 1 either way, as large as it is on the average. */
static double usual_difference(const Direction *d)
{
    double squares = 0, sum = 0;
    for (int i = d->first; i < d->end; i++) {
        const double size = known[i].scale * (known[i].norm + WHOLE_SHARE * whole);
        squares += size * size;
        sum += known[i].scale * known[i].norm * sqrt((double)CALL(tensors)[i].count);
    }
    return 2 * (d->along ? sum : sqrt(squares));
}

static double rounding(const Direction *d, double reach)
{
    return NOISE_MARGIN * noise / (reach * usual_difference(d));
}

static double error_at(const Direction *d, double reach)
{
    const double expected = move(d, reach), above = loss();
    const double expected_below = move(d, -reach), below = loss();
    const double off = fabs((above - below) - (expected - expected_below));
    return fmax(off / (reach * usual_difference(d)) - rounding(d, reach), 0);
}

static double error_along(const Direction *d)
{
    const double first = fmin(fmax(SMALLEST, rounding(d, GOOD_ENOUGH)), LARGEST);
    double best = INFINITY;
    for (int i = 0; i < TRIED && !(best <= GOOD_ENOUGH); i++) {
        const double error = error_at(d, first * around[i]);
        best = error < best ? error : best;
    }
    return best;
}

static void check(const char *name, const Direction *d)
{
    const double percent = 100, error = error_along(d);
    print(name);
    print(": within ");
    print_real(percent * error);
    print(" %\n");
    if (!(error <= TOLERANCE))
        board_fail("the gradient does not fit differences of the loss:", name);
}

int main(void)
{
    begin();
    check("all tensors, along the gradient", &(Direction){0, CONST(TENSORS), true});
    check("all tensors, at random", &(Direction){0, CONST(TENSORS), false});
    if (rounding(&(Direction){0, CONST(TENSORS), true}, LARGEST) > TOLERANCE)
        board_fail("rounding of the loss", "hides everything");
    for (int i = 0; i < CONST(TENSORS); i++)
        if (is_trained(&CALL(tensors)[i]))
            check(CALL(tensors)[i].name, &(Direction){i, i + 1, false});
    model_write(gradients, "out", (float *)work, sizeof work);
    return 0;
}
