/* kernel.h: the table of implementations. For each operation an ordered list of rows, each one way to make
 * its result; select.c takes the first that can and pays, and has it write the operation's Plan. Every later
 * pass reads that plan and decides nothing.
 *
 * A row is a file here that holds what the compiler must know of it, and a header in templates/ that holds
 * the inner loops. What both must agree on, sizes of blocks and panels, stands in templates/blocks.h. */
#ifndef KERNEL_H
#define KERNEL_H

#include "amdimc.h"

/* ---- call.c: an operation as C ----
 *
 * An operation is a call of a function of fixed shape. The function is a line of the generated C, a macro of
 * templates/'s headers with the function's name and its constants; operations whose constants are the same
 * share it, so the name is made of them. */
typedef struct {
    Arena *arena;
    const Net *net;
    const char *macro;     /* in lower case */
    const char *name;      /* the function's */
    const char *constants; /* what the macro gets behind the name */
    const char *type;      /* "Conv": a ConvFunction, which takes a ConvJob */
    const char *shape;     /* for people: "3x3, 64 at 30x30 to 128 at 14x14" */
    const char *fields;    /* of the job */
    bool moves;            /* it writes running statistics */
} Call;

/* Of a temporary in C: "float", and where it lies, "AT(512)". */
const char *value_type(const Value *v);
const char *value_place(Arena *a, const Value *v);

void call_constant(Call *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void call_float(Call *c, double v); /* as a literal that reads back to the same float */
/* The bits of a tail (templates/kernels.h) that are there; NULL where one is not. */
void call_tail(Call *c, const char *first, const char *second, const char *third);
void call_field(Call *c, const char *field, const Value *v); /* none where v is NULL */
/* The operation's first result, which the function returns. */
void call_result(Call *c, const char *field, const Value *v);
void call_number(Call *c, const char *field, int number);
void call_share(Call *c); /* the number of the share that runs */
void call_moves(Call *c); /* whether it is the one that moves the running statistics */
void call_scratch(Call *c, const char *field, const Op *op);
void call_scale(Call *c, const Value *weight);  /* what an INT8 weight's columns are multiplied by */
void call_more(Call *c, const Value *gradient); /* where chunks add it up, the first stores, the others add */
/* "_of_8" where the map holds fewer images than a step has, as a chunk's do; else "". */
const char *call_images(const Call *c, const Value *map);
const char *call_image_count(const Call *c, const Value *map); /* "IMAGES", or "CHUNK" */
const char *call_map(const Call *c, const Value *map);         /* for people: "64 at 30x30" */
/* Of a window's geometry: "3x3_256_to_128_at_7" (x's side, in and out channels), for people, and as a
 * constant. */
const char *call_shape_name(const Call *c, const Op *op, const Value *x, const Value *y);
const char *call_window(const Call *c, const Op *op, const Value *x, const Value *y);
void call_shape(Call *c, const Op *op, const Value *x, const Value *y);

/* ---- rows ---- */

/* `can`, where not NULL, says whether the operation can be made so, on its target; `pays`, where not NULL,
 * whether that was measured to be faster than the rows behind it. `plan` fills in all but the kernel; NULL
 * where the templates cut the work alike for all shapes and nothing but operands is needed. */
struct Kernel {
    const char *name;             /* in --emit=ir, --explain, comments and names of functions */
    const char *const *templates; /* headers that the generated C includes for it, up to a NULL, or NULL */
    bool (*can)(const Graph *g, const Op *op);
    bool (*pays)(const Graph *g, const Op *op);
    void (*plan)(const Graph *g, const Op *op, Plan *p);
    void (*call)(Call *c, const Op *op);
};

#define ROW(operation, kernel) extern const Kernel kernel;
#include "rows.def"
#undef ROW

/* ---- select.c ---- */

Call op_call(Arena *a, const Net *n, const Op *op);
bool op_includes(const Op *op, const char *template_name); /* its kernel wants that header */

/* ---- geometry.c: shapes of products, and how work is cut ----
 *
 * Parts depend on the spec alone, never on the threads that a program is run with, so neither do the bits of
 * results. */

size_t next_multiple(size_t n, size_t of); /* n itself, or above */
int ceil_div(int n, int by);
size_t map_pixels(const Value *map); /* of all images */

/* A convolution's operands, whichever of its three products the operation is: what is not one of them is
 * NULL. */
typedef struct {
    const Value *x, *y, *weight; /* or their gradients */
    const Value *bias, *addend, *mask;
} ConvOperands;
ConvOperands conv_operands(const Op *op);
bool op_is_pointwise(const Op *op); /* 1x1 at stride 1 */
bool op_patches_tile(const Op *op); /* each number of x is in one patch */
bool is_on_bfloat16(const Op *op);  /* is one of templates/bfloat16.h */

/* Numbers of bfloat16 that a number has where matrix tiles make the products, of floats and of an operation's
 * factors. */
int parts_of_float(const Graph *g);
int parts_of_factors(const Graph *g, const Op *op);
int panel_of(const Graph *g); /* columns of a panel, those of the widest that the target may have */
bool is_library(const Graph *g);
bool is_bare(const Graph *g);
/* Of a worker's scratch for a weight's gradient by vectors, whichever the processor has. */
size_t grad_w_scratch(const Graph *g);
/* Floats of a matrix packed in panels for the target's products, vectors' or matrix tiles'. */
size_t packed_floats(const Graph *g, int depth, int columns);
/* Of a convolution's weight, or of its gradient of x, each tap transposed. */
size_t packed_weight_floats(const Graph *g, const Op *op);

/* Parts of the images for an operation on maps: what a part reads stays in a core's cache. */
int image_parts(int images, size_t floats_per_image);
/* Parts of a product's rows, whole tiles of them, of about `block` rows. */
int row_parts(size_t rows, size_t block);
/* Parts of whole images that keep two, four and eight threads busy for the shortest time, all in all;
 * `filled` is how many rows a part of so many images makes, unwanted ones too that fill a tile. */
int filled_image_parts(const Op *op, int images, int rows_per_image,
                       int64_t (*filled)(const Op *op, int images));
int64_t filled_pixels(const Op *op, int images); /* of y, up to whole tiles */

/* ---- conv.c: what the rows of convolutions have in common ---- */

/* The name, "grad_x_sparse_1x1_...", and the shape. */
void conv_begin(Call *c, const Op *op, const char *product);
/* The calls of the three products; that of a weight's gradient up to the constants that say how it is cut. */
void conv_call(Call *c, const Op *op);
void conv_grad_x_call(Call *c, const Op *op);
void conv_name_tail(Call *c, const Op *op);       /* of y's product: name and constant */
void conv_grad_x_name(Call *c, const Op *op);     /* name, shape and tail */
void conv_grad_x_operands(Call *c, const Op *op); /* the job's fields */
void conv_grad_x_fields(Call *c, const Op *op);   /* and the parts: what follows name, shape and tail */
void conv_grad_w_call(Call *c, const Op *op);
void conv_name_slices(Call *c, const Op *op); /* where they are not those that the shape has of itself */

/* ---- shares.c: batch normalisation where the batch is cut into shares ---- */

void call_batchnorm_share(Call *c, const Op *op);
void call_batchnorm_grad_share(Call *c, const Op *op);

/* ---- bfloat16.c: operations on maps of bfloat16, by the rows of those on floats ---- */

/* The kernel's plan, and what pieces as floats need besides. */
void plan_bfloat16(const Graph *g, Op *op);
/* The kernel's call as one on maps of bfloat16. */
void call_bfloat16(Call *c, const Op *op);

/* ---- what rows ask of each other ---- */

bool has_tiles(const Graph *g); /* the target has matrix tiles */
/* `can` of kernels that go by what the target has, whatever the operation. */
bool by_tiles(const Graph *g, const Op *op);
bool by_vectors(const Graph *g, const Op *op);
/* Of a worker's scratch for a product of rows of `depth` by `columns`, and for sums over pixels. */
size_t tiles_product_floats(const Graph *g, int depth, int columns);
size_t tiles_sum_floats(const Graph *g, int rows, int columns);
bool has_pixels_for_blocks(ConvOperands o); /* enough for blocks of the weight that are fetched to the L1 */
/* The operand that holds zeros of a ReLU, or of a gradient behind its mask, and by which the product can be
 * made; or NULL. */
const Value *sparse_operand(const Graph *g, const Op *op);
int sparse_slices(const Op *op, const Value *zeros); /* of the pixels, for a gradient of a weight */
int winograd_outputs(const Op *op);                  /* of a tile, along a side; 0: not possible */
bool winograd_pays(const Op *op);
/* Rows that the products of a part of so many images make, those of tiles over the map's edge among them. */
int64_t winograd_filled_tiles(const Op *op, int images);
/* The rest of the plan for tiles of p->outputs. */
void winograd_plan(const Graph *g, const Op *op, Plan *p);
/* Of a gradient of a weight: parts, and numbers of the points of a part's block of tiles. */
int winograd_grad_w_parts(const Op *op, int threads);
size_t winograd_block_points(const Op *op, int outputs, int parts);
size_t tiles_cells_floats(const Graph *g,
                          const Op *op); /* of a worker's scratch, for a weight's gradient by cells */
int direct_grad_w_slices(const Op *op);  /* of the images; 1: none */
/* A weight's gradient over blocks of it, or over slices of the images, whose macro's name ends in _SLICED. */
void direct_plan_grad_w(const Graph *g, const Op *op, Plan *p);
void direct_call_grad_w(Call *c, const Op *op);

#endif
