/* emit_op.c: one operation as C: which template, how its holes are filled, how the function is called.
 * Operations of the same shape share a function; its name is made of all that is constant in it. */
#include "emit.h"
#include <math.h>
#include <string.h>

enum { MAX_FILLS = 24 };

typedef struct {
    Emit *e;
    const char *template_name, *name;
    const char *job;  /* type of the function's argument */
    const char *call; /* fields of the argument */
    int fills;
    Fill fill[MAX_FILLS];
} Piece;

static void fill(Piece *p, const char *hole, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void fill(Piece *p, const char *hole, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (p->fills == MAX_FILLS || length >= (int)sizeof text)
        bug("hole %s: too many or too long", hole);
    p->fill[p->fills++] = (Fill){hole, arena_copy(p->e->arena, text, (size_t)length)};
}

/* A C literal that reads back to the same float. */
static void fill_float(Piece *p, const char *hole, double v)
{
    const char *digits = arena_printf(p->e->arena, "%.9g", v);
    fill(p, hole, "%s%sf", digits, strpbrk(digits, ".e") ? "" : ".0");
}

/* `, .field = value` for what is there. */
static void argument(Piece *p, const char *field, const Value *v)
{
    if (v)
        p->call = arena_printf(p->e->arena, "%s%s.%s = %s", p->call, *p->call ? ", " : "", field, v->name);
}

/* A gradient that chunks add up: the first stores, the others add. */
static void argument_more(Piece *p, const Value *gradient)
{
    if (gradient->kind == VALUE_OUTER)
        p->call = arena_printf(p->e->arena, "%s, .more = chunk > 0", p->call);
}

static void argument_scratch(Piece *p, const char *field, const Op *op)
{
    if (op->scratch)
        p->call = arena_printf(p->e->arena, "%s, .%s = at(arena, %zu)", p->call, field, op->scratch->offset);
}

/* Pieces of the images for a map operation: small enough that what a piece reads stays in a core's cache, at
 * least eight where there are so many images, whatever the number of threads. */
static int image_parts(int images, size_t floats_per_image)
{
    enum { CACHED_FLOATS = 48 << 10, LEAST = 8 };
    size_t fit = CACHED_FLOATS / floats_per_image;
    int parts = fit ? (int)(((size_t)images + fit - 1) / fit) : images;
    if (parts < LEAST)
        parts = LEAST;
    return parts < images ? parts : images;
}

/* Pieces of a product's rows, of whole tiles: blocks that meet the whole weight in the cache, not so many
 * that handing them out shows, at least eight where there are so many tiles, as many for each of a few
 * threads. */
static int row_parts(size_t rows, size_t block)
{
    enum { TILE = 12, LEAST = 8, MOST = 64, EVEN = 4 };
    size_t parts = (rows + block - 1) / block, tiles = (rows + TILE - 1) / TILE;
    parts = parts < LEAST ? LEAST : parts > MOST ? MOST : (parts + EVEN - 1) / EVEN * EVEN;
    return (int)(parts < tiles ? parts : tiles);
}

static size_t pixels_of(const Value *v)
{
    return (size_t)v->dims[0] * v->dims[1] * v->dims[1];
}

/* Pieces of whole images that keep two, four and eight threads busy for the shortest time, all in all: their
 * rows fill their last tile, and their number leaves nobody waiting. */
static int filled_image_parts(const Op *op, int images, int rows_per_image)
{
    enum { TILE = 12, BLOCK = 24, MOST = 16 * BLOCK };
    int best = images;
    int64_t least = INT64_MAX;
    for (int parts = 1; parts <= images; parts++) {
        const int each = (images + parts - 1) / parts;
        const int64_t rows = (int64_t)each * rows_per_image;
        if (rows > MOST && parts < images)
            continue;
        const int64_t whole = op->winograd ? (int64_t)winograd_filled_rows(op, each)
                                           : (rows + TILE - 1) / TILE * TILE,
                      filled = whole < BLOCK ? BLOCK : whole;
        int64_t busy = 0;
        for (int threads = 2; threads <= 8; threads *= 2)
            busy += (parts + threads - 1) / threads * threads * filled;
        if (busy < least) {
            least = busy;
            best = parts;
        }
    }
    return best;
}

static int channel_parts(int channels, int width)
{
    return (channels + width - 1) / width;
}

/* Those of three words that are there, with `between` between them; "" if none. */
static const char *joined(Piece *p, const char *between, const char *a, const char *b, const char *c)
{
    const char *part[3] = {a, b, c}, *text = "";
    for (int i = 0; i < 3; i++)
        if (part[i])
            text = arena_printf(p->e->arena, "%s%s%s", text, *text ? between : "", part[i]);
    return text;
}

static void fill_tail(Piece *p, const char *a, const char *b, const char *c)
{
    const char *tail = joined(p, " | ", a, b, c);
    fill(p, "tail", "%s", *tail ? tail : "0");
}

static void fill_then(Piece *p, const char *a, const char *b, const char *c)
{
    const char *then = joined(p, ", ", a, b, c);
    fill(p, "then", "%s%s", *then ? "; then " : "", then);
}

static const char *conv_what(Piece *p, const Op *op)
{
    return arena_printf(p->e->arena, "convolution %dx%d%s", op->kernel, op->kernel,
                        op->stride > 1 ? arena_printf(p->e->arena, " at stride %d", op->stride) : "");
}

/* "_of_8" where the operation treats fewer images than a step has, as a chunk's do. */
static const char *of_images(Piece *p, const Value *map)
{
    return map->dims[0] == p->e->program->net->images ? ""
                                                      : arena_printf(p->e->arena, "_of_%d", map->dims[0]);
}

/* "3x3_256_to_128_at_7": of x's side, in and out channels. */
static const char *conv_shape(Piece *p, const Op *op, const Value *x, const Value *y)
{
    const char *stride = op->stride > 1 ? arena_printf(p->e->arena, "_stride%d", op->stride) : "";
    return arena_printf(p->e->arena, "%dx%d%s_%d_to_%d_at_%d%s", op->kernel, op->kernel, stride, x->dims[3],
                        y->dims[3], x->dims[1], of_images(p, x));
}

/* The geometry's holes, which all convolutions' templates have. */
static void fill_conv(Piece *p, const Op *op, const Value *x, const Value *y)
{
    fill(p, "what", "%s", conv_what(p, op));
    fill(p, "name", "%s", p->name);
    fill(p, "images", "%d", x->dims[0]);
    fill(p, "side", "%d", x->dims[1]);
    fill(p, "in", "%d", x->dims[3]);
    fill(p, "out_side", "%d", y->dims[1]);
    fill(p, "out", "%d", y->dims[3]);
    fill(p, "kernel", "%d", op->kernel);
    fill(p, "stride", "%d", op->stride);
    if (op->winograd)
        fill(p, "outputs", "%d", op->winograd);
}

/* The way to make a convolution's product, in names. */
static const char *conv_way(const Op *op)
{
    if (op->sparse)
        return op_is_by_mask(op) ? "_masked" : "_sparse";
    return op->blas ? "_blas" : op->winograd ? "_winograd" : "";
}

/* "conv_grad_x", of whose templates there is one for each way. */
static void conv_template(Piece *p, const Op *op, const char *kind)
{
    p->template_name = arena_printf(p->e->arena, "%s%s.c.tmpl", kind, conv_way(op));
}

static const char *conv_name(Piece *p, const Op *op, const char *kind, const Value *x, const Value *y)
{
    return arena_printf(p->e->arena, "%s%s_%s", kind, conv_way(op), conv_shape(p, op, x, y));
}

static void piece_conv(Piece *p, const Op *op)
{
    const Value *x = op->in[0], *y = op->out[0], *bias = op->in[2], *addend = op->in[3];
    conv_template(p, op, "conv");
    p->job = "ConvJob";
    p->name = arena_printf(p->e->arena, "%s%s%s%s", conv_name(p, op, "conv", x, y), bias ? "_bias" : "",
                           addend ? "_add" : "", op->relu ? "_relu" : "");
    fill_conv(p, op, x, y);
    if (!op->blas && !op->winograd && !op->sparse)
        fill(p, "depth", "%d", op->in[1]->dims[0]);
    fill_then(p, bias ? "bias" : NULL, addend ? "sum" : NULL, op->relu ? "ReLU" : NULL);
    fill_tail(p, bias ? "TAIL_BIAS" : NULL, addend ? "TAIL_ADD" : NULL, op->relu ? "TAIL_RELU" : NULL);
    if (op->winograd) {
        fill(p, "parts", "%d", row_parts(winograd_tiles(op) * (size_t)x->dims[0], 24));
    } else {
        fill(p, "pixels", "%zu", pixels_of(y));
        fill(p, "parts", "%d", row_parts(pixels_of(y), 240));
    }
    argument(p, "x", x);
    argument(p, "weight", op->in[1]);
    argument(p, "bias", bias);
    argument(p, "addend", addend);
    argument(p, "y", y);
    argument_scratch(p, "packed", op);
}

static void piece_conv_grad_x(Piece *p, const Op *op)
{
    const Value *dy = op->in[0], *dx = op->out[0], *addend = op->in[2], *mask = op->in[3];
    conv_template(p, op, "conv_grad_x");
    p->job = "ConvGradXJob";
    p->name = arena_printf(p->e->arena, "%s%s%s", conv_name(p, op, "conv_grad_x", dx, dy),
                           addend ? "_add" : "", mask ? "_mask" : "");
    fill_conv(p, op, dx, dy);
    if (!op_is_by_mask(op)) {
        fill_then(p, addend ? "sum" : NULL, mask ? "ReLU's mask" : NULL, NULL);
        fill_tail(p, addend ? "TAIL_ADD" : NULL, mask ? "TAIL_MASK" : NULL, NULL);
    }
    if (op->sparse)
        fill(p, "pixels", "%zu", pixels_of(dy));
    if (op->sparse || (op->kernel == 1 && op->stride == 1 && !op->blas))
        fill(p, "parts", "%d", row_parts(pixels_of(dy), 240));
    else
        fill(p, "parts", "%d",
             filled_image_parts(
                 op, dx->dims[0],
                 (int)(op->winograd ? winograd_tiles(op) : pixels_of(dy) / (size_t)dy->dims[0])));
    argument(p, "dy", dy);
    argument(p, "weight", op->in[1]);
    argument(p, "addend", addend);
    argument(p, "mask", mask);
    argument(p, "dx", dx);
    argument_scratch(p, "packed", op);
}

static void piece_conv_grad_w(Piece *p, const Op *op)
{
    const Value *x = op->in[0], *dy = op->in[1], *dw = op->out[0];
    const int slices = op->sparse ? sparse_slices(op) : op->blas || op->winograd ? 1 : grad_w_slices(op);
    conv_template(p, op, slices == 1 || op->sparse ? "conv_grad_w" : "conv_grad_w_sliced");
    p->job = "ConvGradWJob";
    p->name = conv_name(p, op, "conv_grad_w", x, dy);
    if (op->sparse) {
        const char *by = op->sparse == x ? "x" : "dy";
        p->name = arena_printf(p->e->arena, "%s_by_%s", p->name, by);
        fill(p, "by", "%s", by);
        fill(p, "factor", "%s", op->sparse == x ? "BY_X" : "BY_DY");
        fill(p, "slices", "%d", slices);
        fill(p, "s", "%s", slices > 1 ? "s" : "");
        fill(p, "parts", "%d", channel_parts(dw->dims[0], 32));
    } else if (slices > 1) {
        fill(p, "slices", "%d", slices);
    }
    fill_conv(p, op, x, dy);
    fill(p, "depth", "%d", dw->dims[0]);
    if (op->blas)
        fill(p, "parts", "%d", channel_parts(dw->dims[0], 64));
    if (op->winograd)
        fill(p, "parts", "%d", winograd_grad_w_parts(op, (int)p->e->program->net->spec->target.threads.v));
    argument(p, "x", x);
    argument(p, "dy", dy);
    argument(p, "dw", dw);
    argument_more(p, dw);
    argument_scratch(p, "partial", op);
}

static void piece_bias_grad(Piece *p, const Op *op)
{
    const Value *dy = op->in[0];
    p->template_name = "bias_grad.c.tmpl";
    p->job = "BiasGradJob";
    p->name = arena_printf(p->e->arena, "bias_grad_%d_at_%d%s", dy->dims[3], dy->dims[1], of_images(p, dy));
    fill(p, "name", "%s", p->name);
    fill(p, "pixels", "%d", dy->dims[0] * dy->dims[1] * dy->dims[1]);
    fill(p, "channels", "%d", dy->dims[3]);
    fill(p, "slices", "%d", bias_grad_slices(op));
    fill(p, "s", "%s", bias_grad_slices(op) > 1 ? "s" : "");
    argument(p, "dy", dy);
    argument(p, "db", op->out[0]);
    argument_more(p, op->out[0]);
    argument_scratch(p, "partial", op);
}

static void piece_pointwise(Piece *p, const Op *op)
{
    bool relu = op->kind == OP_RELU_GRAD;
    size_t count = value_count(op->out[0]);
    p->template_name = "pointwise.c.tmpl";
    p->job = "MapJob";
    p->name = arena_printf(p->e->arena, "%s_%zu", op_name(op->kind), count);
    fill(p, "what", "%s", relu ? "gradient through a ReLU: dy where y > 0" : "sum of two gradients");
    fill(p, "name", "%s", p->name);
    fill(p, "piece", "%s_piece", op_name(op->kind));
    fill(p, "count", "%zu", count);
    fill(p, "parts", "%d", 16);
    argument(p, "x", op->in[0]);
    argument(p, relu ? "mask" : "addend", op->in[1]);
    argument(p, "y", op->out[0]);
}

/* Operations that treat every image alone: `call` computes one, `image` being its number. */
static void piece_map(Piece *p, const Value *v, const char *job, const char *what, const char *call)
{
    p->template_name = "map.c.tmpl";
    p->job = job;
    fill(p, "what", "%s", what);
    fill(p, "name", "%s", p->name);
    fill(p, "job", "%s", job);
    fill(p, "call", "%s", call);
    fill(p, "images", "%d", v->dims[0]);
    fill(p, "parts", "%d", image_parts(v->dims[0], value_count(v) / (size_t)v->dims[0]));
}

static void piece_pad(Piece *p, const Op *op)
{
    bool grad = op->kind == OP_PAD_GRAD;
    const Value *inner = grad ? op->out[0] : op->in[0];
    Arena *a = p->e->arena;
    const char *reflect = op->reflect ? "true" : "false";
    const char *add = grad && op->in[1] ? "true" : "false", *mask = grad && op->in[2] ? "true" : "false";
    p->name = arena_printf(a, "%s%d%s_%d_at_%d%s%s%s", op_name(op->kind), op->pad,
                           op->reflect ? "_reflect" : "", inner->dims[3], inner->dims[1], of_images(p, inner),
                           grad && op->in[1] ? "_add" : "", grad && op->in[2] ? "_mask" : "");
    const char *call = grad ? arena_printf(a, "pad_grad_image(%d, %d, %d, %s, %s, %s, job, image)",
                                           inner->dims[1], inner->dims[3], op->pad, reflect, add, mask)
                            : arena_printf(a, "pad_image(%d, %d, %d, %s, job, image)", inner->dims[1],
                                           inner->dims[3], op->pad, reflect);
    piece_map(p, inner, "MapJob",
              arena_printf(a, "%s%d %s pixels around maps of %dx%d", grad ? "gradient through " : "", op->pad,
                           op->reflect ? "mirrored" : "zero", inner->dims[1], inner->dims[1]),
              call);
    argument(p, "x", op->in[0]);
    argument(p, "addend", grad ? op->in[1] : NULL);
    argument(p, "mask", grad ? op->in[2] : NULL);
    argument(p, "y", op->out[0]);
}

static void piece_pool(Piece *p, const Op *op)
{
    bool grad = op->kind == OP_POOL_GRAD;
    const Value *x = grad ? op->out[0] : op->in[0], *y = grad ? op->in[0] : op->out[0];
    Arena *a = p->e->arena;
    p->name = arena_printf(a, "%s_%s%s", op_name(op->kind), conv_shape(p, op, x, y),
                           grad && op->in[1] ? "_add" : "");
    const char *geometry = arena_printf(a, "(Conv){%d, %d, %d, %d, %d, %d, %d}", x->dims[0], x->dims[1],
                                        x->dims[3], y->dims[1], y->dims[3], op->kernel, op->stride);
    const char *call =
        grad ? arena_printf(a, "pool_grad_image(%s, %s, job, image)", geometry, op->in[1] ? "true" : "false")
             : arena_printf(a, "pool_image(%s, job, image)", geometry);
    piece_map(p, x, "MapJob",
              arena_printf(a, "%smean over %dx%d at stride %d, %d channels padded to %d",
                           grad ? "gradient through the " : "", op->kernel, op->kernel, op->stride,
                           x->dims[3], y->dims[3]),
              call);
    argument(p, "x", op->in[0]);
    argument(p, "addend", grad ? op->in[1] : NULL);
    argument(p, "y", op->out[0]);
}

static void piece_mean(Piece *p, const Op *op)
{
    const Value *x = op->in[0];
    p->name = arena_printf(p->e->arena, "mean_%d_at_%d%s", x->dims[3], x->dims[1], of_images(p, x));
    piece_map(
        p, x, "MapJob", "the mean over an image's positions",
        arena_printf(p->e->arena, "mean_image(%d, %d, job, image)", x->dims[1] * x->dims[2], x->dims[3]));
    argument(p, "x", x);
    argument(p, "y", op->out[0]);
}

static void piece_gather(Piece *p, const Op *op)
{
    bool grad = op->kind == OP_GATHER_GRAD;
    const Value *map = grad ? op->out[0] : op->in[0], *addend = grad ? op->in[2] : NULL;
    int positions = map->dims[1] * map->dims[2], channels = map->dims[3];
    Arena *a = p->e->arena;
    p->name =
        arena_printf(a, "%s_%d_at_%d%s", op_name(op->kind), channels, map->dims[1], addend ? "_add" : "");
    const char *call = grad ? arena_printf(a, "gather_grad_image(%d, %d, %s, job, image)", positions,
                                           channels, addend ? "true" : "false")
                            : arena_printf(a, "gather_image(%d, %d, job, image)", positions, channels);
    piece_map(p, map, "GatherJob",
              grad ? "gradient of an antecedent at its drawn location"
                   : "the antecedent at each image's drawn location",
              call);
    argument(p, "x", op->in[0]);
    argument(p, "location", op->in[1]);
    argument(p, "addend", addend);
    argument(p, "y", op->out[0]);
}

static void piece_batchnorm(Piece *p, const Op *op)
{
    bool grad = op->kind == OP_BATCHNORM_GRAD;
    const Value *x = grad ? op->in[1] : op->in[0];
    bool relu = grad ? op->in[4] != NULL : op->relu;
    int views = op->kind == OP_NORMALIZE ? 1 : p->e->program->net->views, channels = x->dims[3];
    int rows = x->dims[0] * x->dims[1] * x->dims[2] / views;
    p->name = arena_printf(p->e->arena, "%s_%d_at_%d%s%s", op_name(op->kind), channels, x->dims[1],
                           of_images(p, x), relu ? "_relu" : "");
    fill(p, "name", "%s", p->name);
    fill(p, "rows", "%d", rows);
    fill(p, "channels", "%d", channels);
    fill(p, "relu", "%s", relu ? "true" : "false");
    fill(p, "then", "%s", relu ? grad ? ", through its ReLU" : ", then ReLU" : "");
    argument(p, grad ? "dy" : "x", op->in[0]);
    if (op->kind == OP_NORMALIZE) {
        p->template_name = "normalize.c.tmpl";
        p->job = "NormalizeJob";
        fill(p, "parts", "%d", rows < 16 ? rows : 16);
    } else {
        p->template_name = "batchnorm.c.tmpl";
        p->job = grad ? "BatchnormGradJob" : "BatchnormJob";
        fill(p, "what", "%sbatch normalisation", grad ? "gradient of " : "");
        fill(p, "job", "%s", p->job);
        fill(p, "channels_of", "%s_channels", op_name(op->kind));
        fill(p, "views", "%d", views);
        fill(p, "parts", "%d", channel_parts(channels, 64));
    }
    if (grad) {
        argument(p, "x", op->in[1]);
        argument(p, "weight", op->in[2]);
        argument(p, "statistics", op->in[3]);
        argument(p, "mask", op->in[4]);
        argument(p, "dx", op->out[0]);
        argument(p, "dweight", op->out[1]);
        argument(p, "dbias", op->out[2]);
    } else {
        argument(p, "weight", op->in[1]);
        argument(p, "bias", op->in[2]);
        argument(p, "running_mean", op->in[3]);
        argument(p, "running_var", op->in[4]);
        argument(p, "y", op->out[0]);
        argument(p, "statistics", op->out[1]);
    }
}

static void piece_scores(Piece *p, const Op *op)
{
    const Net *n = p->e->program->net;
    int side = op->pair->to->scale, dim = (int)n->spec->embedding.dim.v;
    const Value *addend = op->kind == OP_SCORES ? NULL : op->in[2];
    p->template_name = arena_printf(p->e->arena, "%s.c.tmpl", op_name(op->kind));
    p->job = "ScoresJob";
    p->name = arena_printf(p->e->arena, "%s_at_%d%s", op_name(op->kind), side, addend ? "_add" : "");
    fill(p, "name", "%s", p->name);
    fill(p, "views", "%d", n->views);
    fill(p, "batch", "%d", n->batch);
    fill(p, "side", "%d", side);
    fill(p, "area", "%d", side * side);
    fill(p, "dim", "%d", dim);
    fill_float(p, "scale", 1 / sqrt((double)dim));
    if (op->kind != OP_SCORES)
        fill(p, "then", "%s", addend ? " + what is there" : "");
    if (op->kind == OP_SCORES_GRAD_A) {
        fill(p, "slices", "%d", scores_slices(n));
        fill(p, "sums", "%d", 4);
        fill(p, "addend", addend ? "j->addend + (size_t)view * %d" : "NULL", n->batch * dim);
    } else {
        fill(p, "parts", "%d", image_parts(n->batch, (size_t)side * side * dim));
    }
    if (op->kind == OP_SCORES_GRAD_T) {
        fill(p, "tail", addend ? "TAIL_ADD" : "0");
        fill(p, "addend", addend ? "j->addend + target" : "NULL");
    }
    argument(p, op->kind == OP_SCORES ? "a" : "r", op->in[0]);
    argument(p, op->kind == OP_SCORES_GRAD_T ? "a" : "t", op->in[1]);
    argument(p, "addend", addend);
    argument(p, op->kind == OP_SCORES ? "r" : op->kind == OP_SCORES_GRAD_A ? "da" : "dt", op->out[0]);
    argument_scratch(p, "packed", op);
}

static void piece_nce(Piece *p, const Op *op)
{
    const Net *n = p->e->program->net;
    const NetPair *pair = op->pair;
    const int positions = pair->to->scale * pair->to->scale, parts = nce_parts(n);
    const double batch = n->batch, share = 1.0 / n->views;
    const char *id = arena_printf(p->e->arena, "%d_to_%d", pair->from->scale, pair->to->scale);
    p->job = "NceJob";
    fill(p, "id", "%s", id);
    fill(p, "pair", "%s", pair->name);
    fill(p, "views", "%d", n->views);
    fill(p, "batch", "%d", n->batch);
    fill(p, "positions", "%d", positions);
    p->call = ".pool = pool";
    argument(p, "r", op->in[0]);
    if (op->kind == OP_NCE_GRAD) {
        p->template_name = "nce_grad.c.tmpl";
        p->name = arena_printf(p->e->arena, "nce_%s_grad", id);
        p->call = arena_printf(p->e->arena, "%s, .statistics = %s, .dr = %s", p->call, op->in[1]->name,
                               op->out[0]->name);
        return;
    }
    p->template_name = "nce.c.tmpl";
    p->name = arena_printf(p->e->arena, "nce_%s_loss", id);
    fill(p, "weight", "%.9g", pair->spec->weight.v);
    fill(p, "negatives", "%d", (n->batch - 1) * positions);
    fill(p, "others", "%d", n->batch - 1);
    fill_float(p, "clip", n->spec->loss.clip.v);
    fill_float(p, "slope", pair->spec->weight.v * share / (batch * positions));
    fill_float(p, "penalty", 2 * n->spec->loss.penalty.v * share / (batch * batch * positions));
    fill(p, "parts", "%d", parts);
    size_t at = op->scratch->offset, squares = (size_t)n->views * parts,
           sources = (size_t)n->views * n->batch;
    p->call = arena_printf(p->e->arena,
                           "%s, .result = %s, .statistics = %s, .squares = bytes_at(arena, %zu), "
                           ".sources = bytes_at(arena, %zu), .sums = at(arena, %zu)",
                           p->call, op->out[0]->name, op->out[1]->name, at, at + 8 * squares,
                           at + 8 * squares + 16 * sources);
}

static Piece piece_of(Emit *e, const Op *op)
{
    Piece p = {.e = e, .call = ""};
    switch (op->kind) {
    case OP_CONV: piece_conv(&p, op); break;
    case OP_CONV_GRAD_X: piece_conv_grad_x(&p, op); break;
    case OP_CONV_GRAD_W: piece_conv_grad_w(&p, op); break;
    case OP_BIAS_GRAD: piece_bias_grad(&p, op); break;
    case OP_RELU_GRAD:
    case OP_ADD: piece_pointwise(&p, op); break;
    case OP_PAD:
    case OP_PAD_GRAD: piece_pad(&p, op); break;
    case OP_POOL:
    case OP_POOL_GRAD: piece_pool(&p, op); break;
    case OP_MEAN: piece_mean(&p, op); break;
    case OP_GATHER:
    case OP_GATHER_GRAD: piece_gather(&p, op); break;
    case OP_BATCHNORM:
    case OP_NORMALIZE:
    case OP_BATCHNORM_GRAD: piece_batchnorm(&p, op); break;
    case OP_SCORES:
    case OP_SCORES_GRAD_A:
    case OP_SCORES_GRAD_T: piece_scores(&p, op); break;
    case OP_NCE:
    case OP_NCE_GRAD: piece_nce(&p, op); break;
    default: bug("%s is no product of a template", op_name(op->kind));
    }
    return p;
}

static bool first_of_its_name(Emit *e, const char *name)
{
    for (int i = 0; i < e->emitted; i++)
        if (!strcmp(e->name[i], name))
            return false;
    if (e->emitted == e->capacity) {
        const char **old = e->name;
        e->capacity = e->capacity ? 2 * e->capacity : 64;
        e->name = ARENA_ARRAY(e->arena, const char *, e->capacity);
        for (int i = 0; i < e->emitted; i++)
            e->name[i] = old[i];
    }
    e->name[e->emitted++] = name;
    return true;
}

void emit_op_function(Emit *e, const Op *op)
{
    Piece p = piece_of(e, op);
    if (first_of_its_name(e, p.name))
        template_expand(e->arena, e->out, e->program->templates, p.template_name, p.fill, p.fills);
}

/* The fields of a call, from `column` on; a line ends before a field that would be too long for it. */
static void emit_fields(FILE *out, const char *fields, int column)
{
    enum { WIDTH = 110, INDENT = 8 };
    for (bool first = true; *fields; first = false) {
        const char *end = strstr(fields, ", .");
        const int length = end ? (int)(end + 1 - fields) : (int)strlen(fields);
        if (column + length > WIDTH)
            column = fprintf(out, "\n%*s", INDENT, "") - 1;
        else if (!first)
            column += fprintf(out, " ");
        column += fprintf(out, "%.*s", length, fields);
        fields += end ? length + 1 : length;
    }
}

void emit_op_call(Emit *e, const Op *op)
{
    Piece p = piece_of(e, op);
    int column = fprintf(e->out, "    %s(pool, (%s){", p.name, p.job);
    emit_fields(e->out, p.call, column);
    fprintf(e->out, "});\n");
}
