/* emit_op.c: one operation as C: the line that makes its function, a macro of templates/'s headers, and the
 * call. Operations of the same shape share a function; its name is made of all that is constant in it. */
#include "emit.h"
#include <ctype.h>
#include <string.h>

typedef struct {
    Emit *e;
    const char *macro, *name;
    const char *constants; /* what the macro gets behind the name */
    const char *job;       /* type of the function's argument */
    const char *call;      /* fields of the argument */
} Piece;

/* Another argument of the macro. */
static void constant(Piece *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void constant(Piece *p, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length >= (int)sizeof text)
        bug("an argument of %s is too long", p->macro);
    p->constants = arena_printf(p->e->arena, "%s, %s", p->constants, text);
}

/* A C literal that reads back to the same float. */
static void constant_float(Piece *p, double v)
{
    const char *digits = arena_printf(p->e->arena, "%.9g", v);
    constant(p, "%s%sf", digits, strpbrk(digits, ".e") ? "" : ".0");
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

/* Those of three bits of a tail that are there. */
static void constant_tail(Piece *p, const char *a, const char *b, const char *c)
{
    const char *part[3] = {a, b, c}, *tail = "";
    for (int i = 0; i < 3; i++)
        if (part[i])
            tail = arena_printf(p->e->arena, "%s%s%s", tail, *tail ? " | " : "", part[i]);
    constant(p, "%s", *tail ? tail : "TAIL_NONE");
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

static void constant_shape(Piece *p, const Op *op, const Value *x, const Value *y)
{
    constant(p, "SHAPE(%d, %d, %d, %d, %d, %d, %d)", x->dims[0], x->dims[1], x->dims[3], y->dims[1],
             y->dims[3], op->kernel, op->stride);
}

/* The way to make a convolution's product. */
static const char *conv_way(const Op *op)
{
    if (op->sparse)
        return op_is_by_mask(op) ? "masked" : "sparse";
    return op->blas ? "blas" : op->winograd ? "winograd" : "direct";
}

/* "conv_grad_w_winograd_4x4_..."; what is direct, tap by tap, goes without saying. */
static const char *conv_name(Piece *p, const Op *op, const Value *x, const Value *y)
{
    const char *way = conv_way(op), *kind = op_name(op->kind), *shape = conv_shape(p, op, x, y);
    return !strcmp(way, "direct") ? arena_printf(p->e->arena, "%s_%s", kind, shape)
                                  : arena_printf(p->e->arena, "%s_%s_%s", kind, way, shape);
}

/* The macro of the kind and the way, and what all of them get first. */
static void conv_macro(Piece *p, const Op *op, const char *way, const Value *x, const Value *y)
{
    p->macro = arena_printf(p->e->arena, "%s_%s", op_name(op->kind), way);
    constant_shape(p, op, x, y);
    if (op->winograd)
        constant(p, "%d", op->winograd);
}

static void piece_conv(Piece *p, const Op *op)
{
    const Value *x = op->in[0], *y = op->out[0], *bias = op->in[2], *addend = op->in[3];
    p->job = "ConvJob";
    p->name = arena_printf(p->e->arena, "%s%s%s%s", conv_name(p, op, x, y), bias ? "_bias" : "",
                           addend ? "_add" : "", op->relu ? "_relu" : "");
    conv_macro(p, op, conv_way(op), x, y);
    constant_tail(p, bias ? "TAIL_BIAS" : NULL, addend ? "TAIL_ADD" : NULL, op->relu ? "TAIL_RELU" : NULL);
    constant(p, "%d",
             op->winograd ? row_parts(winograd_tiles(op) * (size_t)x->dims[0], 24)
                          : row_parts(pixels_of(y), 240));
    argument(p, "x", x);
    argument(p, "weight", op->in[1]);
    argument(p, "bias", bias);
    argument(p, "addend", addend);
    argument(p, "y", y);
    argument_scratch(p, "packed", op);
}

/* Pieces of the pixels where patches do not overlap, else of the images. */
static int grad_x_parts(const Op *op)
{
    const Value *dy = op->in[0], *dx = op->out[0];
    if (op->sparse || (op->kernel == 1 && op->stride == 1 && !op->blas))
        return row_parts(pixels_of(dy), 240);
    return filled_image_parts(op, dx->dims[0],
                              (int)(op->winograd ? winograd_tiles(op) : pixels_of(dy) / (size_t)dy->dims[0]));
}

static void piece_conv_grad_x(Piece *p, const Op *op)
{
    const Value *dy = op->in[0], *dx = op->out[0], *addend = op->in[2], *mask = op->in[3];
    p->job = "ConvGradXJob";
    p->name = arena_printf(p->e->arena, "%s%s%s", conv_name(p, op, dx, dy), addend ? "_add" : "",
                           mask ? "_mask" : "");
    conv_macro(p, op, conv_way(op), dx, dy);
    if (!op_is_by_mask(op))
        constant_tail(p, addend ? "TAIL_ADD" : NULL, mask ? "TAIL_MASK" : NULL, NULL);
    constant(p, "%d", grad_x_parts(op));
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
    const bool direct = !op->sparse && !op->blas && !op->winograd;
    const int slices = op->sparse ? sparse_slices(op) : direct ? grad_w_slices(op) : 1;
    p->job = "ConvGradWJob";
    p->name = conv_name(p, op, x, dy);
    conv_macro(p, op, direct && slices > 1 ? "sliced" : conv_way(op), x, dy);
    if (op->sparse) {
        p->name = arena_printf(p->e->arena, "%s_by_%s", p->name, op->sparse == x ? "x" : "dy");
        constant(p, "%s", op->sparse == x ? "BY_X" : "BY_DY");
        constant(p, "%d, %d", slices, channel_parts(dw->dims[0], 32));
    } else if (slices > 1) {
        constant(p, "%d", slices);
    } else if (op->blas) {
        constant(p, "%d", channel_parts(dw->dims[0], 64));
    } else if (op->winograd) {
        constant(p, "%d", winograd_grad_w_parts(op, (int)p->e->program->net->spec->target.threads.v));
    }
    argument(p, "x", x);
    argument(p, "dy", dy);
    argument(p, "dw", dw);
    argument_more(p, dw);
    argument_scratch(p, "partial", op);
}

static void piece_bias_grad(Piece *p, const Op *op)
{
    const Value *dy = op->in[0];
    p->job = "BiasGradJob";
    p->name = arena_printf(p->e->arena, "bias_grad_%d_at_%d%s", dy->dims[3], dy->dims[1], of_images(p, dy));
    constant(p, "%zu, %d, %d", pixels_of(dy), dy->dims[3], bias_grad_slices(op));
    argument(p, "dy", dy);
    argument(p, "db", op->out[0]);
    argument_more(p, op->out[0]);
    argument_scratch(p, "partial", op);
}

static void piece_pointwise(Piece *p, const Op *op)
{
    const size_t count = value_count(op->out[0]);
    p->job = "MapJob";
    p->name = arena_printf(p->e->arena, "%s_%zu", p->macro, count);
    constant(p, "%zu", count);
    argument(p, "x", op->in[0]);
    argument(p, op->kind == OP_RELU_GRAD ? "mask" : "addend", op->in[1]);
    argument(p, "y", op->out[0]);
}

/* How an operation that treats every image alone is cut. */
static void constant_image_parts(Piece *p, const Value *v)
{
    constant(p, "%d", image_parts(v->dims[0], value_count(v) / (size_t)v->dims[0]));
}

static void piece_pad(Piece *p, const Op *op)
{
    bool grad = op->kind == OP_PAD_GRAD;
    const Value *inner = grad ? op->out[0] : op->in[0];
    p->job = "MapJob";
    p->name = arena_printf(p->e->arena, "%s%d%s_%d_at_%d%s%s%s", p->macro, op->pad,
                           op->reflect ? "_reflect" : "", inner->dims[3], inner->dims[1], of_images(p, inner),
                           grad && op->in[1] ? "_add" : "", grad && op->in[2] ? "_mask" : "");
    constant(p, "%d, %d, %d, %d", inner->dims[0], inner->dims[1], inner->dims[3], op->pad);
    constant(p, "%s", op->reflect ? "PAD_MIRROR" : "PAD_ZEROS");
    constant_image_parts(p, inner);
    argument(p, "x", op->in[0]);
    argument(p, "addend", grad ? op->in[1] : NULL);
    argument(p, "mask", grad ? op->in[2] : NULL);
    argument(p, "y", op->out[0]);
}

static void piece_pool(Piece *p, const Op *op)
{
    bool grad = op->kind == OP_POOL_GRAD;
    const Value *x = grad ? op->out[0] : op->in[0], *y = grad ? op->in[0] : op->out[0];
    p->job = "MapJob";
    p->name = arena_printf(p->e->arena, "%s_%s%s", p->macro, conv_shape(p, op, x, y),
                           grad && op->in[1] ? "_add" : "");
    constant_shape(p, op, x, y);
    constant_image_parts(p, x);
    argument(p, "x", op->in[0]);
    argument(p, "addend", grad ? op->in[1] : NULL);
    argument(p, "y", op->out[0]);
}

static void constant_positions(Piece *p, const Value *map)
{
    constant(p, "%d, %d, %d", map->dims[0], map->dims[1] * map->dims[2], map->dims[3]);
    constant_image_parts(p, map);
}

static void piece_mean(Piece *p, const Op *op)
{
    const Value *x = op->in[0];
    p->job = "MapJob";
    p->name = arena_printf(p->e->arena, "mean_%d_at_%d%s", x->dims[3], x->dims[1], of_images(p, x));
    constant_positions(p, x);
    argument(p, "x", x);
    argument(p, "y", op->out[0]);
}

static void piece_gather(Piece *p, const Op *op)
{
    bool grad = op->kind == OP_GATHER_GRAD;
    const Value *map = grad ? op->out[0] : op->in[0], *addend = grad ? op->in[2] : NULL;
    p->job = "GatherJob";
    p->name = arena_printf(p->e->arena, "%s_%d_at_%d%s", p->macro, map->dims[3], map->dims[1],
                           addend ? "_add" : "");
    constant_positions(p, map);
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
    p->job = grad ? "BatchnormGradJob" : op->kind == OP_NORMALIZE ? "NormalizeJob" : "BatchnormJob";
    p->name = arena_printf(p->e->arena, "%s_%d_at_%d%s%s", p->macro, channels, x->dims[1], of_images(p, x),
                           relu ? "_relu" : "");
    if (op->kind != OP_NORMALIZE)
        constant(p, "%d", views);
    constant(p, "%d, %d", rows, channels);
    constant_tail(p, !relu ? NULL : grad ? "TAIL_MASK" : "TAIL_RELU", NULL, NULL);
    argument(p, grad ? "dy" : "x", op->in[0]);
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
    p->job = "ScoresJob";
    p->name = arena_printf(p->e->arena, "%s_at_%d%s", p->macro, side, addend ? "_add" : "");
    constant(p, "%d, %d, %d, %d", n->views, n->batch, side, dim);
    if (op->kind != OP_SCORES)
        constant_tail(p, addend ? "TAIL_ADD" : NULL, NULL, NULL);
    constant(p, "%d",
             op->kind == OP_SCORES_GRAD_A ? scores_slices(n)
                                          : image_parts(n->batch, (size_t)side * side * dim));
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
    p->job = "NceJob";
    p->name = arena_printf(p->e->arena, "nce_%d_to_%d_%s", pair->from->scale, pair->to->scale,
                           op->kind == OP_NCE ? "loss" : "grad");
    constant(p, "%d, %d, %d", n->views, n->batch, positions);
    constant_float(p, n->spec->loss.clip.v);
    constant_float(p, pair->spec->weight.v * share / (batch * positions));
    constant_float(p, 2 * n->spec->loss.penalty.v * share / (batch * batch * positions));
    argument(p, "r", op->in[0]);
    if (op->kind == OP_NCE_GRAD) {
        argument(p, "statistics", op->in[1]);
        argument(p, "dr", op->out[0]);
        return;
    }
    constant(p, "%d", parts);
    argument(p, "result", op->out[0]);
    argument(p, "statistics", op->out[1]);
    size_t at = op->scratch->offset, squares = (size_t)n->views * parts,
           sources = (size_t)n->views * n->batch;
    p->call = arena_printf(p->e->arena,
                           "%s, .squares = bytes_at(arena, %zu), .sources = bytes_at(arena, %zu), "
                           ".sums = at(arena, %zu)",
                           p->call, at, at + 8 * squares, at + 8 * squares + 16 * sources);
}

static Piece piece_of(Emit *e, const Op *op)
{
    Piece p = {.e = e, .macro = op_name(op->kind), .constants = "", .call = ""};
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
    default: bug("%s has no function", op_name(op->kind));
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
    enum { WIDTH = 120 };
    const Piece p = piece_of(e, op);
    if (!first_of_its_name(e, p.name))
        return;
    char *macro = arena_copy(e->arena, p.macro, strlen(p.macro));
    for (char *c = macro; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    const int column = fprintf(e->out, "%s(%s", macro, p.name);
    const char *constants = p.constants;
    if (column + (int)strlen(constants) + 1 > WIDTH) {
        fprintf(e->out, ",\n%*s", (int)strlen(macro) + 1, "");
        constants += 2;
    }
    fprintf(e->out, "%s)\n", constants);
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
