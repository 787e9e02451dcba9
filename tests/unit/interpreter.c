/* interpreter.c: see interpreter.h. Maps are (N, S, S, C), weights (k*k*in, out), scores (V, B*P, B). */
#include "interpreter.h"
#include "interpreter_pairs.h"

#include <math.h>
#include <string.h>

/* ---- windows: what convolutions and pools have in common ---- */

/* A tap of a kernel that reads pixel `from` of x for pixel `to` of y, both counted over all images. */
typedef void EachTap(void *job, size_t from, size_t to, int tap);

static void each_tap(const Op *op, const Value *x, const Value *y, EachTap *f, void *job)
{
    const int side = x->dims[1], out_side = y->dims[1], k = op->kernel;
    size_t to = 0;
    for (int image = 0; image < x->dims[0]; image++)
        for (int row = 0; row < out_side; row++)
            for (int column = 0; column < out_side; column++, to++)
                for (int tap = 0; tap < k * k; tap++) {
                    const int r = row * op->stride + tap / k, c = column * op->stride + tap % k;
                    f(job, ((size_t)image * (size_t)side + (size_t)r) * (size_t)side + (size_t)c, to, tap);
                }
}

typedef struct {
    double *x, *weight, *y;
    int in, out;
    double share; /* pools: 1 / k^2 */
} Window;

static void conv_tap(void *job, size_t from, size_t to, int tap)
{
    const Window *w = job;
    for (int i = 0; i < w->in; i++)
        for (int o = 0; o < w->out; o++)
            w->y[to * (size_t)w->out + (size_t)o] +=
                w->x[from * (size_t)w->in + (size_t)i] * w->weight[(tap * w->in + i) * w->out + o];
}

static void conv_grad_x_tap(void *job, size_t from, size_t to, int tap)
{
    const Window *w = job;
    for (int i = 0; i < w->in; i++)
        for (int o = 0; o < w->out; o++)
            w->x[from * (size_t)w->in + (size_t)i] +=
                w->y[to * (size_t)w->out + (size_t)o] * w->weight[(tap * w->in + i) * w->out + o];
}

static void conv_grad_w_tap(void *job, size_t from, size_t to, int tap)
{
    const Window *w = job;
    for (int i = 0; i < w->in; i++)
        for (int o = 0; o < w->out; o++)
            w->weight[(tap * w->in + i) * w->out + o] +=
                w->x[from * (size_t)w->in + (size_t)i] * w->y[to * (size_t)w->out + (size_t)o];
}

static void pool_tap(void *job, size_t from, size_t to, int tap)
{
    const Window *w = job;
    (void)tap;
    for (int i = 0; i < w->in; i++)
        w->y[to * (size_t)w->out + (size_t)i] += w->share * w->x[from * (size_t)w->in + (size_t)i];
}

static void pool_grad_tap(void *job, size_t from, size_t to, int tap)
{
    const Window *w = job;
    (void)tap;
    for (int i = 0; i < w->in; i++)
        w->x[from * (size_t)w->in + (size_t)i] += w->share * w->y[to * (size_t)w->out + (size_t)i];
}

/* `weight` may be NULL. */
static void windows(const Interpreter *r, const Op *op, const Value *x, const Value *weight, const Value *y,
                    EachTap *f)
{
    Window w = {r->value[x->id], weight ? r->value[weight->id] : NULL, r->value[y->id], x->dims[3],
                y->dims[3],      1.0 / (op->kernel * op->kernel)};
    each_tap(op, x, y, f, &w);
}

/* ---- what precedes and follows ---- */

static double *values_of(const Interpreter *r, const Value *v)
{
    return v ? r->value[v->id] : NULL;
}

void interpret_tail(const Interpreter *r, const Value *result, const Value *addend, const Value *mask)
{
    double *to = r->value[result->id];
    const double *add = values_of(r, addend), *gate = values_of(r, mask);
    for (size_t i = 0; i < value_count(result); i++) {
        to[i] += add ? add[i] : 0;
        to[i] = gate && !(gate[i] > 0) ? 0 : to[i];
    }
}

static void relu(Interpreter *r, const Value *v)
{
    double *y = r->value[v->id];
    for (size_t i = 0; i < value_count(v); i++) {
        r->relu_pattern = (r->relu_pattern ^ (y[i] > 0)) * 1099511628211u;
        y[i] = y[i] <= 0 ? 0 : y[i];
    }
}

static void conv(Interpreter *r, const Op *op)
{
    const Value *y = op->out[0];
    const double *bias = values_of(r, op->in[CONV_BIAS]);
    double *to = r->value[y->id];
    windows(r, op, op->in[CONV_X], op->in[CONV_WEIGHT], y, conv_tap);
    for (size_t i = 0; bias && i < value_count(y); i++)
        to[i] += bias[i % (size_t)y->dims[3]];
    interpret_tail(r, y, op->in[CONV_ADDEND], NULL);
    if (op->relu)
        relu(r, y);
}

static void bias_grad(Interpreter *r, const Op *op)
{
    const Value *dy = op->in[BIAS_GRAD_DY];
    for (size_t i = 0; i < value_count(dy); i++)
        r->value[op->out[0]->id][i % (size_t)dy->dims[3]] += r->value[dy->id][i];
}

/* The row or column that position i of a padded map shows; -1: a zero. */
static int shown(int i, int pad, int side, bool reflect)
{
    const int at = i - pad;
    if (at >= 0 && at < side)
        return at;
    return !reflect ? -1 : at < 0 ? -at : 2 * side - 2 - at;
}

/* Forward: padded from inner; backward: inner += padded. */
static void pad(Interpreter *r, const Op *op, const Value *inner, const Value *padded, bool backward)
{
    const int side = inner->dims[1], channels = inner->dims[3];
    double *in = r->value[inner->id], *out = r->value[padded->id];
    for (int image = 0; image < inner->dims[0]; image++)
        for (int row = 0; row < padded->dims[1]; row++)
            for (int column = 0; column < padded->dims[1]; column++, out += channels) {
                const int y = shown(row, op->pad, side, op->reflect),
                          x = shown(column, op->pad, side, op->reflect);
                if (y < 0 || x < 0)
                    continue;
                double *pixel = in + (((size_t)image * (size_t)side + (size_t)y) * (size_t)side + (size_t)x) *
                                         (size_t)channels;
                for (int i = 0; i < channels; i++)
                    *(backward ? pixel + i : out + i) += *(backward ? out + i : pixel + i);
            }
}

/* The number in x that is output number `at` of a window's channel: the first of the largest. */
static size_t maximum_of(const Interpreter *r, const Op *op, const Value *x, const Value *y, size_t at)
{
    const size_t channels = (size_t)x->dims[3], side = (size_t)x->dims[1], out = (size_t)y->dims[1];
    const size_t image = at / channels / out / out;
    const int row = (int)(at / channels / out % out) * op->stride - op->pad,
              column = (int)(at / channels % out) * op->stride - op->pad;
    const double *from = r->value[x->id];
    size_t best = SIZE_MAX;
    for (int i = row; i < row + op->kernel; i++)
        for (int k = column; k < column + op->kernel; k++) {
            if (i < 0 || k < 0 || i >= (int)side || k >= (int)side)
                continue;
            const size_t number = ((image * side + (size_t)i) * side + (size_t)k) * channels + at % channels;
            if (best == SIZE_MAX || from[number] > from[best])
                best = number;
        }
    return best;
}

static void max_pool(Interpreter *r, const Op *op)
{
    const Value *x = op->in[MAX_POOL_X], *y = op->out[0];
    for (size_t i = 0; i < value_count(y); i++)
        r->value[y->id][i] = r->value[x->id][maximum_of(r, op, x, y, i)];
}

static void max_pool_grad(Interpreter *r, const Op *op)
{
    const Value *x = op->in[MAX_POOL_GRAD_X], *dy = op->in[MAX_POOL_GRAD_DY];
    for (size_t i = 0; i < value_count(dy); i++)
        r->value[op->out[0]->id][maximum_of(r, op, x, dy, i)] += r->value[dy->id][i];
    interpret_tail(r, op->out[0], op->in[MAX_POOL_GRAD_ADDEND], NULL);
}

static void mean(Interpreter *r, const Op *op)
{
    const Value *x = op->in[MEAN_X];
    const size_t channels = (size_t)x->dims[3], positions = (size_t)x->dims[1] * (size_t)x->dims[2];
    for (size_t i = 0; i < value_count(x); i++)
        r->value[op->out[0]->id][i / (positions * channels) * channels + i % channels] +=
            r->value[x->id][i] / (double)positions;
}

/* ---- batch normalisation ---- */

#define EPS 1e-5

/* Element `row` of channel c of a view: the views' rows lie one after the other. */
static size_t element(const Value *x, int views, int view, size_t row, int c)
{
    const size_t rows = value_count(x) / (size_t)views / (size_t)x->dims[3];
    return ((size_t)view * rows + row) * (size_t)x->dims[3] + (size_t)c;
}

static void batchnorm_channel(Interpreter *r, const Op *op, int view, int c)
{
    const Value *x = op->in[BATCHNORM_X];
    const int views = r->g->net->views;
    const size_t rows = value_count(x) / (size_t)views / (size_t)x->dims[3];
    const double *from = r->value[x->id];
    double sum = 0, squares = 0,
           *statistics = r->value[op->out[1]->id] + (size_t)view * 2 * (size_t)x->dims[3];
    for (size_t row = 0; row < rows; row++)
        sum += from[element(x, views, view, row, c)];
    const double average = sum / (double)rows;
    for (size_t row = 0; row < rows; row++)
        squares += pow(from[element(x, views, view, row, c)] - average, 2);
    const double inverse = 1 / sqrt(squares / (double)rows + EPS);
    statistics[c] = average;
    statistics[x->dims[3] + c] = inverse;
    for (size_t row = 0; row < rows; row++) {
        const size_t at = element(x, views, view, row, c);
        r->value[op->out[0]->id][at] =
            (from[at] - average) * inverse * r->value[op->in[BATCHNORM_WEIGHT]->id][c] +
            r->value[op->in[BATCHNORM_BIAS]->id][c];
    }
}

static void batchnorm(Interpreter *r, const Op *op)
{
    for (int view = 0; view < r->g->net->views; view++)
        for (int c = 0; c < op->in[BATCHNORM_X]->dims[3]; c++)
            batchnorm_channel(r, op, view, c);
    if (op->relu)
        relu(r, op->out[0]);
}

static void normalize(Interpreter *r, const Op *op)
{
    const Value *x = op->in[NORMALIZE_X];
    const double *weight = r->value[op->in[NORMALIZE_WEIGHT]->id],
                 *bias = r->value[op->in[NORMALIZE_BIAS]->id];
    const double *running_mean = r->value[op->in[NORMALIZE_RUNNING_MEAN]->id],
                 *running_var = r->value[op->in[NORMALIZE_RUNNING_VAR]->id];
    for (size_t i = 0; i < value_count(x); i++) {
        const size_t c = i % (size_t)x->dims[3];
        r->value[op->out[0]->id][i] =
            (r->value[x->id][i] - running_mean[c]) / sqrt(running_var[c] + EPS) * weight[c] + bias[c];
    }
    if (op->relu)
        relu(r, op->out[0]);
}

/* With z the normalised x: dx = weight / deviation * (dy - mean of dy - z * mean of dy * z). */
static void batchnorm_grad_channel(Interpreter *r, const Op *op, int view, int c)
{
    const Value *x = op->in[BATCHNORM_GRAD_X];
    const int views = r->g->net->views;
    const size_t rows = value_count(x) / (size_t)views / (size_t)x->dims[3];
    const double *dy = r->value[op->in[BATCHNORM_GRAD_DY]->id], *from = r->value[x->id],
                 *gate = values_of(r, op->in[BATCHNORM_GRAD_Y]);
    const double *statistics =
        r->value[op->in[BATCHNORM_GRAD_STATISTICS]->id] + (size_t)view * 2 * (size_t)x->dims[3];
    const double average = statistics[c], inverse = statistics[x->dims[3] + c];
    double sum = 0, dot = 0;
    for (size_t row = 0; row < rows; row++) {
        const size_t at = element(x, views, view, row, c);
        const double d = gate && !(gate[at] > 0) ? 0 : dy[at];
        sum += d;
        dot += d * (from[at] - average) * inverse;
    }
    for (size_t row = 0; row < rows; row++) {
        const size_t at = element(x, views, view, row, c);
        const double d = gate && !(gate[at] > 0) ? 0 : dy[at], z = (from[at] - average) * inverse;
        r->value[op->out[0]->id][at] = r->value[op->in[BATCHNORM_GRAD_WEIGHT]->id][c] * inverse *
                                       (d - sum / (double)rows - z * dot / (double)rows);
    }
    r->value[op->out[1]->id][c] += dot;
    r->value[op->out[2]->id][c] += sum;
}

static void batchnorm_grad(Interpreter *r, const Op *op)
{
    for (int view = 0; view < r->g->net->views; view++)
        for (int c = 0; c < op->in[BATCHNORM_GRAD_X]->dims[3]; c++)
            batchnorm_grad_channel(r, op, view, c);
}

/* ---- the list ---- */

static void run_op(Interpreter *r, const Op *op)
{
    Value *const *in = op->in, *const *out = op->out;
    switch (op->kind) {
    case OP_PAD: pad(r, op, in[PAD_X], out[0], false); break;
    case OP_CONV: conv(r, op); break;
    case OP_POOL: windows(r, op, in[POOL_X], NULL, out[0], pool_tap); break;
    case OP_MAX_POOL: max_pool(r, op); break;
    case OP_MAX_POOL_GRAD: max_pool_grad(r, op); break;
    case OP_BATCHNORM: batchnorm(r, op); break;
    case OP_NORMALIZE: normalize(r, op); break;
    case OP_MEAN: mean(r, op); break;
    case OP_PAD_GRAD:
        pad(r, op, out[0], in[PAD_GRAD_DY], true);
        interpret_tail(r, out[0], in[PAD_GRAD_ADDEND], in[PAD_GRAD_MASK]);
        break;
    case OP_CONV_GRAD_X:
        windows(r, op, out[0], in[CONV_GRAD_X_WEIGHT], in[CONV_GRAD_X_DY], conv_grad_x_tap);
        interpret_tail(r, out[0], in[CONV_GRAD_X_ADDEND], in[CONV_GRAD_X_MASK]);
        break;
    case OP_CONV_GRAD_W:
        windows(r, op, in[CONV_GRAD_W_X], out[0], in[CONV_GRAD_W_DY], conv_grad_w_tap);
        break;
    case OP_BIAS_GRAD: bias_grad(r, op); break;
    case OP_ZERO: break; /* results begin as zeros */
    case OP_RELU_GRAD: interpret_tail(r, out[0], in[RELU_GRAD_DY], in[RELU_GRAD_Y]); break;
    case OP_POOL_GRAD:
        windows(r, op, out[0], NULL, in[POOL_GRAD_DY], pool_grad_tap);
        interpret_tail(r, out[0], in[POOL_GRAD_ADDEND], NULL);
        break;
    case OP_BATCHNORM_GRAD: batchnorm_grad(r, op); break;
    case OP_CONVERT: interpret_tail(r, out[0], in[CONVERT_X], NULL); break;
    case OP_ADD:
        interpret_tail(r, out[0], in[ADD_A], NULL);
        interpret_tail(r, out[0], in[ADD_B], NULL);
        break;
    case OP_TAKE: r->gradient[in[TAKE_PARAM]->id] = r->value[in[TAKE_GRADIENT]->id]; break;
    default: interpret_pair_op(r, op);
    }
}

/* ---- bfloat16 ---- */

static void round_numbers(double *number, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float x = (float)number[i];
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        float rounded;
        memcpy(&rounded, &bits, sizeof rounded);
        number[i] = isfinite(x) ? rounded : x;
    }
}

/* A product by a weight on maps of bfloat16 is made of a rounded copy of it. */
static const Value *rounded_weight(const Op *op)
{
    const Value *map = op->out[0];
    const int weight = op->kind == OP_CONV          ? CONV_WEIGHT
                       : op->kind == OP_CONV_GRAD_X ? CONV_GRAD_X_WEIGHT
                                                    : -1;
    return weight >= 0 && map->number == NUMBER_BFLOAT16 ? op->in[weight] : NULL;
}

/* As a program does: operands of products before, results once. */
static void run_rounded(Interpreter *r, const Op *op)
{
    const Value *weight = rounded_weight(op);
    double *kept = weight ? r->value[weight->id] : NULL;
    if (weight) {
        r->value[weight->id] = ARENA_ARRAY(r->g->arena, double, value_count(weight));
        memcpy(r->value[weight->id], kept, value_count(weight) * sizeof *kept);
        round_numbers(r->value[weight->id], value_count(weight));
    }
    run_op(r, op);
    if (r->after)
        r->after(r, op);
    if (weight)
        r->value[weight->id] = kept;
    for (int j = 0; j < OP_OUTPUTS; j++)
        if (op->out[j] && op->out[j]->number == NUMBER_BFLOAT16)
            round_numbers(r->value[op->out[j]->id], value_count(op->out[j]));
}

static void run_until(Interpreter *r, bool forward_only)
{
    r->relu_pattern = 14695981039346656037u;
    for (int i = 0; i < r->g->ops; i++) {
        const Op *op = r->g->op[i];
        for (int j = 0; j < OP_OUTPUTS; j++)
            if (op->out[j])
                memset(r->value[op->out[j]->id], 0, value_count(op->out[j]) * sizeof(double));
        run_rounded(r, op);
        if (forward_only && op->kind == OP_REPORT)
            return;
    }
}

Interpreter *interpreter_new(Graph *g)
{
    Interpreter *r = ARENA_NEW(g->arena, Interpreter);
    r->g = g;
    r->value = ARENA_ARRAY(g->arena, double *, g->values);
    r->gradient = ARENA_ARRAY(g->arena, double *, g->values);
    r->pair_loss = ARENA_ARRAY(g->arena, double, g->net->pairs);
    for (int i = 0; i < g->values; i++)
        r->value[i] = ARENA_ARRAY(g->arena, double, value_count(g->value[i]));
    return r;
}

void interpret_forward(Interpreter *r)
{
    run_until(r, true);
}

void interpret(Interpreter *r)
{
    run_until(r, false);
}

Value *interpreter_named(const Interpreter *r, const char *name)
{
    for (int i = 0; i < r->g->values; i++)
        if (!strcmp(r->g->value[i]->name, name))
            return r->g->value[i];
    bug("the list has no value %s", name);
}

double *interpreter_value(const Interpreter *r, const char *name)
{
    return r->value[interpreter_named(r, name)->id];
}

double *interpreter_embedding(const Interpreter *r, int scale)
{
    const Graph *g = r->g;
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->kind == OP_REPORT)
            return r->value[g->op[i]->in[g->net->pairs + (net_scale(g->net, scale) - g->net->scale)]->id];
    bug("the list reports nothing");
}
