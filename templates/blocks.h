/* blocks.h: the sizes that kernels and the compiler's plans agree on: blocks, panels, and the scratch that
 * they take. Both include this header, so that memory is planned for what is used. Floats, unless said. */
#ifndef BLOCKS_H
#define BLOCKS_H

enum {
    LINE = 16,      /* of a line of the cache, and a vector at its widest */
    MAX_PANEL = 32, /* columns of the widest panel of packed weights that any processor's kernels have */
    MAX_ROWS = 12,  /* of the tallest tile of sums held in vector registers */

    /* Pixels treated together: a whole number of tiles for the products, few enough for the L1 in sums over
     * them. */
    PIXEL_BLOCK = 240,
    SUM_BLOCK = 128,
    /* Tiles of a weight's gradient whose rows of x are copied together, on processors whose tiles have
     * COPIED_ROWS rows, or half as many of twice the rows (vectors.h); all their floats of a pixel. */
    GRAD_W_GROUP = 22,
    COPIED_ROWS = 6,
    COPIED_FLOATS = GRAD_W_GROUP * COPIED_ROWS + 2 * LINE,

    BATCHNORM_WIDTH = 64, /* channels that one part of a batch normalisation owns */

    STREAM_DEPTH = 128, /* rows of a panel of a streamed weight that lie in the L1 (streamed.h) */
};

/* Whether each number of x is in one patch of a convolution: these lie side by side, or there is but one. */
static inline int patches_tile(int kernel, int stride, int side, int out_side)
{
    return side == out_side * kernel && (kernel == stride || out_side == 1);
}

/* ---- maps of bfloat16 (bfloat16.h) ---- */

/* Floats of what a part takes, x and y: half of a small L2. Of dx by Winograd, whose products want many
 * tiles. And of the images that a weight's gradient takes together: of a last cache. */
enum { BFLOAT16_BLOCK = 1 << 16, BFLOAT16_SUMS = 1 << 18, BFLOAT16_SUM_BLOCK = 3 << 19 };
/* Rows of consequents that scores take to floats together: a whole number of any tiles. */
enum { SCORES_ROWS = 120 };
/* Floats up to a whole line. */
#define ROUNDED_UP(floats) (((floats) + LINE - 1) / LINE * LINE)

/* Of a worker's scratch for a weight's gradient by vectors: a block of packed dy, copied rows of x, where
 * there are some, and where the patches of two blocks lie, in numbers of 8 bytes. */
#define GRAD_W_SCRATCH(panel, copied) (SUM_BLOCK * ((panel) + (copied) + 2 * 2))
/* For a streamed product: the rows of one panel, or sums of as many columns. */
#define STREAM_SCRATCH(panel) (STREAM_DEPTH * (panel))

/* ---- blocks of both factors (blocked.h) ---- */

enum {
    BLOCKED_ROWS = 96,           /* of a block of many rows, a whole number of any tiles */
    BLOCKED_DEPTH = 384,         /* of a block, at most: half of a small L2 */
    BLOCKED_PANEL_FLOATS = 6144, /* of a panel of as much of the depth, three quarters of a small L1 */
    BLOCKED_FEW_ROWS = 240,      /* that are all packed once, as one block */
    BLOCKED_LONG_ROW = 1024, /* of the left factor: so many numbers are read sooner when they are packed */
};
/* A worker's scratch for a block of many rows; few rows want BLOCKED_PANEL_FLOATS. */
enum { BLOCKED_SCRATCH = BLOCKED_ROWS * BLOCKED_DEPTH };

static inline int has_few_rows(int rows)
{
    return rows <= BLOCKED_FEW_ROWS;
}

/* ---- OpenBLAS (blas.h) ---- */

enum { UNFOLDED = 1 << 17 }; /* of a worker's scratch for unfolded patches: at least one patch */

/* ---- Winograd (winograd.h) ---- */

enum {
    TILE_BLOCK = 24,     /* tiles whose points are made together, in products */
    TILE_SUM_BLOCK = 64, /* and in gradients of weights */
};
/* From one point's plane of so many floats to the next's. A transform reads or writes a line of every plane,
 * and planes a power of two apart would share one set of the L1. */
#define PLANE_STEP(floats) ((floats) + 3 * LINE)

/* ---- sparse and masked products (sparse.h, masked.h) ---- */

enum {
    DEPTH_BLOCK = 64,    /* rows of the weight that lie in the L1, and pixels of a weight's gradient */
    SPARSE_COLUMNS = 64, /* that there must be a multiple of */
    SPARSE_MOST = 128,   /* columns that go together, where groups are wide: memory is planned for these */
    SPARSE_ROWS = 128,   /* of a weight's gradient, that go together */
    SPARSE_STEP = SPARSE_ROWS + LINE, /* no power of two: lines of different sets */
};
/* Of a worker's scratch: sums of a block of pixels, and a bit for each of its `depth` numbers a pixel. */
#define SPARSE_SCRATCH(depth) (PIXEL_BLOCK * (SPARSE_MOST + (depth) / DEPTH_BLOCK * 2))
/* For a masked one: of a block of pixels as many sums as a set has bits, and a bit for each of its channels.
 */
#define MASKED_SCRATCH(channels) (PIXEL_BLOCK * (DEPTH_BLOCK + (channels) / DEPTH_BLOCK * 2))
/* For a weight's gradient: a block of pixels of both factors. */
#define SPARSE_GRAD_W_SCRATCH (DEPTH_BLOCK * (SPARSE_STEP + SPARSE_MOST))

/* ---- NCE (nce.h) ----
 *
 * Of the arena, while a pair's NCE runs: a sum of squares for each part, what each source image comes to
 * (NCE_SOURCE_BYTES at most), and for each part and source image NCE_SUMS numbers. */

enum { NCE_MOST_PARTS = 16, NCE_SQUARE_BYTES = 8, NCE_SOURCE_BYTES = 16, NCE_SUMS = 2 };

/* ---- mixtures (mixture.h) ---- */

enum {
    MIXTURE_MOST = 64,    /* components */
    MIXTURE_SUM_ROWS = 3, /* that a component leaves behind of each source image, besides its positives */
};

/* ---- shares of a batch (shares.h) ---- */

enum {
    BATCHNORM_SUM_ROWS =
        3,              /* a share's sums of a channel: mean, what of it no float holds, squares about it */
    SHARE_SUM_ROWS = 3, /* of a source image: the maximum of the negatives' s that are here, the sum of exp(s)
                           relative to it; and numbers whose sum is that of all r^2 */
    SHARE_BUCKET = 1 << 17, /* floats of gradients that processes exchange at a time */
    SHARE_RESULTS = 4, /* sums over a share: of losses, of r^2, of positives that were picked, and nothing */
};

/* ---- matrix tiles (tiles.h, tile_sums.h) ---- */

enum {
    TILE = 16,      /* rows of a tile, and columns of its sums */
    TILE_PAIR = 32, /* rows, or columns, of a pair of tiles: a panel */
    STEP = 32,      /* numbers of a row that one product of the unit takes */
};
/* Of a step of a pair, whose floats are so many parts of two bytes. */
#define PAIR_FLOATS(parts) ((parts)*TILE_PAIR * STEP / 2)

/* Products: the most pixels of a block and the most steps whose parts lie in a cache at once, and the panels
 * whose sums wait there for further steps. */
enum { TILE_PIXELS = 128, MOST_STEPS = 16, MOST_PANELS = 16 };

/* Pixels of a block. Parts of one pair of rows stay in the L1, or close to it; but every block reads all of
 * the packed matrix, which is dear if it does not lie in the L2: CACHED parts of steps of panels are 1.5 MiB.
 */
static inline int tile_pixels(int parts, int steps, int panels)
{
    enum { CACHED = 768 };
    return parts * steps * panels <= CACHED ? TILE_PAIR : TILE_PIXELS;
}

/* Sums over pixels: the most pairs and panels that go together; the parts of steps of all of them that lie in
 * the L2 well, and the most steps and rows of the right factor: with few, sums are loaded and stored often.
 */
enum { SUM_PAIRS = 8, SUM_CACHED = 96, MOST_SUM_STEPS = 8, MOST_SUM_ROWS = MOST_SUM_STEPS * TILE };

/* Whether a patch is no longer than a step. */
static inline int patch_is_short(int kernel, int in)
{
    return kernel * kernel * in <= STEP;
}

/* Pairs of tiles of a weight's rows, `rows` times `rows` taps of `in` channels: each row of taps has its own.
 */
static inline int pairs_of_rows(int rows, int in)
{
    return rows * ((rows * in + TILE_PAIR - 1) / TILE_PAIR);
}

/* The same of a kernel; a short patch is in one. */
static inline int row_pairs(int kernel, int in)
{
    return patch_is_short(kernel, in) ? 1 : pairs_of_rows(kernel, in);
}

/* Numbers between a panel's tiles, lest a row's parts fight for one place in the L1. */
enum { SUM_APART = STEP };

/* A weight's gradient by cells of stride x stride pixels, for a kernel of twice its stride: a cell of x is
 * read once for the four quarters of the kernel that lie over it. Cells go in bands of rows. */
enum { QUARTERS = 4 };

/* Bands of an image whose y is out_side x out_side; 0: a row is too long. */
static inline int cell_bands(int out_side)
{
    const int across = out_side + 1, furthest = (across + 1 + TILE - 1) / TILE * TILE,
              room = MOST_SUM_ROWS - furthest, rows = (room > 0 ? room : 0) / across * 2;
    return rows > 0 ? (out_side + rows - 1) / rows : 0;
}

/* Cells that the two halves of `rows` rows of y each lie over. */
static inline int cells_of_half(int out_side, int rows)
{
    return (rows + 1) / 2 * (out_side + 1);
}

#endif
