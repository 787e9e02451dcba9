/* sparse.c: which products go by the numbers of one factor that are not zero (templates/sparse.h), or make
 * only what a mask keeps (templates/masked.h), and what memory they need for it. */
#include "amdimc.h"

/* As in templates/sparse.h, where the widest panel is meant. */
enum {
    PIXEL_BLOCK = 240,
    DEPTH_BLOCK = 64,
    COLUMNS = 64,
    PANEL = 32,
    LINE = 16,
    SPARSE_ROWS = 128,
    SPARSE_STEP = SPARSE_ROWS + LINE
};

/* Floats of a weight's gradient in all its slices. */
enum { LARGEST_SUMS = 1 << 23 };

static bool is_masked(const Op *op)
{
    return op->kind == OP_CONV_GRAD_X && op->in[3];
}

/* A ReLU's result, or a gradient behind its mask. */
static bool makes_zeros(const Op *op)
{
    switch (op->kind) {
    case OP_CONV:
    case OP_BATCHNORM:
    case OP_NORMALIZE: return op->relu;
    case OP_CONV_GRAD_X: return is_masked(op);
    case OP_PAD_GRAD: return op->in[2] != NULL;
    case OP_RELU_GRAD: return true;
    default: return false;
    }
}

static bool is_sparse(const Graph *g, const Value *v)
{
    const Op *maker = graph_maker(g, v);
    return maker && makes_zeros(maker);
}

static bool is_pointwise(const Op *op)
{
    return op->kernel == 1 && op->stride == 1;
}

/* Each: whether the operation can go by that input, were it sparse. */

static bool can_conv(const Op *op)
{
    return is_pointwise(op) && op->in[0]->dims[3] % DEPTH_BLOCK == 0 && op->out[0]->dims[3] % COLUMNS == 0;
}

/* Patches must lie side by side: each number of dx is one sum then. */
static bool can_grad_x(const Op *op)
{
    const Value *dy = op->in[0], *dx = op->out[0];
    return op->kernel == op->stride && dx->dims[1] == dy->dims[1] * op->stride &&
           dy->dims[3] % DEPTH_BLOCK == 0 && dx->dims[3] % COLUMNS == 0;
}

/* Whether only what the mask keeps can be made. */
static bool can_mask(const Op *op)
{
    return is_pointwise(op) && !op->in[2] && op->in[0]->dims[3] % DEPTH_BLOCK == 0 &&
           op->out[0]->dims[3] % COLUMNS == 0;
}

/* Rows are channels of the sparse one, columns the numbers of the other one's patches. */
static bool can_grad_w(const Value *rows, int columns)
{
    enum { LEAST_ROWS = 64 };
    return rows->dims[3] % LINE == 0 && rows->dims[3] >= LEAST_ROWS && columns % COLUMNS == 0;
}

static bool can_grad_w_by_x(const Op *op)
{
    return is_pointwise(op) && can_grad_w(op->in[0], op->in[1]->dims[3]);
}

static bool can_grad_w_by_dy(const Op *op)
{
    const int run = op->kernel * op->in[0]->dims[3];
    return run % PANEL == 0 && can_grad_w(op->in[1], op->kernel * run);
}

/* Of the product. */
static int pixels_of(const Op *op)
{
    const Value *y = op->kind == OP_CONV ? op->out[0] : op->in[op->kind == OP_CONV_GRAD_W];
    return y->dims[0] * y->dims[1] * y->dims[2];
}

const Value *sparse_input(const Graph *g, const Op *op)
{
    enum { LEAST_PIXELS = 512 }; /* for a block of the weight that is fetched to the first cache */
    if (pixels_of(op) < LEAST_PIXELS)
        return NULL;
    const bool by_first = op->kind == OP_CONV          ? can_conv(op)
                          : op->kind == OP_CONV_GRAD_X ? can_grad_x(op)
                                                       : can_grad_w_by_x(op);
    if (op->kind == OP_CONV_GRAD_W && value_count(op->out[0]) > LARGEST_SUMS)
        return NULL;
    if (by_first && is_sparse(g, op->in[0]))
        return op->in[0];
    if (op->kind == OP_CONV_GRAD_W && can_grad_w_by_dy(op) && is_sparse(g, op->in[1]))
        return op->in[1];
    return is_masked(op) && can_mask(op) ? op->in[3] : NULL;
}

bool op_is_by_mask(const Op *op)
{
    return op->sparse && is_masked(op) && op->sparse == op->in[3];
}

/* So many that there are PARTS parts; each is a block of pixels at least, and all their sums are not too much
 * memory. */
int sparse_slices(const Op *op)
{
    enum { PARTS = 8 };
    const int parts = (op->sparse->dims[3] + SPARSE_ROWS - 1) / SPARSE_ROWS,
              blocks = (pixels_of(op) + DEPTH_BLOCK - 1) / DEPTH_BLOCK,
              fit = LARGEST_SUMS / (int)value_count(op->out[0]);
    int slices = (PARTS + parts - 1) / parts;
    slices = slices < blocks ? slices : blocks;
    slices = slices < fit ? slices : fit;
    return slices > 1 ? slices : 1;
}

/* A map's sums of COLUMNS, and a bit for each number of op->sparse, be it the left factor or the mask. */
size_t sparse_worker_floats(const Op *op)
{
    if (op->kind == OP_CONV_GRAD_W)
        return DEPTH_BLOCK * (SPARSE_STEP + COLUMNS);
    return (size_t)PIXEL_BLOCK * (COLUMNS + (size_t)op->sparse->dims[3] / DEPTH_BLOCK * 2);
}
