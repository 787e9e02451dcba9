/* tile_sums.h: gradients of weights by the processor's matrix tiles (tiles.h): sums over pixels of the
 * products of two maps' channels, pairs of the left one's, which are transposed, by panels of the right
 * one's. Patches of x by dy make dw as it lies.
 *
 * Where a kernel is twice its stride, dy by x makes dw transposed, quarter by quarter of the kernel: x goes
 * by cells of stride x stride pixels, each split once, though it stands under all four quarters. Pixels of dy
 * then lie as cells do, a row with a zero at its end, so that a quarter's cells are those of the first one
 * some rows further on. A band of dy's rows is summed in two halves, which a row of the right factor's tiles
 * has side by side.
 *
 * The left factor's parts lie as in tiles.h, the right one's as parts[panel][part][2 tiles][rows][32], so
 * that a step may begin at any row. */
#ifndef TILE_SUMS_H
#define TILE_SUMS_H

#include "tiles.h"

typedef struct {
    Conv c;
    bool by_cells, of_map; /* of_map: what x and dy are */
} Sum;

/* What a job's factors are. */
INLINE bool is_of_map(const ConvGradWJob *j)
{
    return MAPS_ARE_BFLOAT16 && j->x_is_map;
}

INLINE int cells_across(Conv c)
{
    return c.out_side + 1;
}

/* A block of the sums. */
typedef struct {
    int pair, pairs, panel, panels;
} SumBlock;

/* Steps that there is room for; by cells a band, whatever that takes of the cache. */
INLINE int most_steps(Sum sum, const SumBlock *b)
{
    const int cached = SUM_CACHED / parts_of(sum.of_map);
    return sum.by_cells ? MOST_SUM_STEPS : MIN_OF(cached / (b->pairs + b->panels), MOST_SUM_STEPS);
}

/* Numbers from a tile of the right factor to the next. */
INLINE ptrdiff_t right_line(Sum sum, const SumBlock *b)
{
    return (ptrdiff_t)most_steps(sum, b) * TILE_NUMBERS + SUM_APART;
}

/* Numbers of a pair's parts, and of a panel's. */
INLINE ptrdiff_t pair_size(Sum sum, const SumBlock *b)
{
    return most_steps(sum, b) * pair_numbers(sum.of_map);
}

INLINE ptrdiff_t panel_size(Sum sum, const SumBlock *b)
{
    return parts_of(sum.of_map) * 2 * right_line(sum, b);
}

/* A map's channels that are a pair or a panel: `count` from `first` on, and where they begin in what is read
 * at a pixel. Of patches and of cells each row has pairs of its own, but a patch that fits one shares it. */
typedef struct {
    int first, count;
    ptrdiff_t at;
} SumChannels;

INLINE SumChannels channels_of_rows(Conv c, int side, int pair)
{
    const int run = side * c.in, pairs = CEIL_DIV(run, PANEL), y = pair / pairs, k = pair % pairs * PANEL;
    return (SumChannels){y * run + k, MIN_OF(PANEL, run - k), (ptrdiff_t)y * c.side * c.in + k};
}

INLINE SumChannels channels_of_dy(Conv c, int pair)
{
    return (SumChannels){pair * PANEL, MIN_OF(PANEL, c.out - pair * PANEL), pair * PANEL};
}

INLINE SumChannels left_channels(Sum sum, int pair)
{
    if (sum.by_cells)
        return channels_of_dy(sum.c, pair);
    if (patch_is_short(sum.c.kernel, sum.c.in))
        return (SumChannels){0, depth_of_patch(sum.c), 0};
    return channels_of_rows(sum.c, sum.c.kernel, pair);
}

INLINE SumChannels right_channels(Sum sum, int panel)
{
    return sum.by_cells ? channels_of_rows(sum.c, sum.c.stride, panel) : channels_of_dy(sum.c, panel);
}

/* What of the maps a block is: `pixels` from `first` on, or `dy_rows` rows and the cells they lie over. */
typedef struct {
    int first, pixels, dy_rows;
    const void *left, *left_end, *right;
} SumRegion;

/* Number i of a map. */
INLINE const void *at_number(Sum sum, const void *map, size_t i)
{
    return number_at(sum.of_map, map, (ptrdiff_t)i);
}

/* Blocks of pixels [first, last), which by cells are whole images. */
INLINE int sum_blocks(Sum sum, const SumBlock *b, int first, int last)
{
    if (sum.by_cells)
        return (last - first) / (sum.c.out_side * sum.c.out_side) * cell_bands(sum.c.out_side);
    return CEIL_DIV(last - first, most_steps(sum, b) * STEP);
}

INLINE SumRegion region_of(Sum sum, const SumBlock *b, const ConvGradWJob *j, int first, int last, int block)
{
    const Conv c = sum.c;
    if (sum.by_cells) {
        const int bands = cell_bands(c.out_side), image = first / (c.out_side * c.out_side) + block / bands,
                  row = piece(c.out_side, block % bands, bands),
                  rows = piece(c.out_side, block % bands + 1, bands) - row;
        const size_t width = (size_t)c.out_side * c.out, line = (size_t)c.stride * c.side * c.in;
        const void *const dy = at_number(sum, j->dy, ((size_t)image * c.out_side + row) * width),
                          *const x = at_number(sum, j->x, ((size_t)image * cells_across(c) + row) * line);
        return (SumRegion){
            .dy_rows = rows, .left = dy, .left_end = at_number(sum, dy, rows * width), .right = x};
    }
    const int pixels = most_steps(sum, b) * STEP, begin = first + block * pixels,
              end = MIN_OF(begin + pixels, last);
    return (SumRegion){.first = begin,
                       .pixels = end - begin,
                       .left = at_number(sum, j->x, patch(c, begin)),
                       .left_end = at_number(sum, j->x, patch(c, end - 1) + c.in),
                       .right = at_number(sum, j->dy, (size_t)begin * c.out)};
}

/* A block's pixels. Of the left map in steps, `left_count` of them, zeros behind; by cells of the right one
 * in rows of tiles, a row's two beside each other, zeros where there is none. */
typedef struct {
    const void *left[MOST_SUM_STEPS * STEP], *right[MOST_SUM_ROWS][2];
    int left_count, steps, rows;
} SumPixels;

INLINE void take_pixels(Sum sum, const ConvGradWJob *j, const SumRegion *region, SumPixels *s)
{
    s->left_count = region->pixels;
    s->steps = STEPS(s->left_count);
    s->rows = s->steps * TILE;
    for (int i = 0; i < s->left_count; i++)
        s->left[i] = at_number(sum, j->x, patch(sum.c, region->first + i));
}

INLINE void take_cells(Sum sum, const float *zeros, const SumRegion *region, SumPixels *s)
{
    const Conv c = sum.c;
    const int across = cells_across(c), half = cells_of_half(c.out_side, region->dy_rows),
              cells = (region->dy_rows + 1) * across;
    const size_t cell = (size_t)c.stride * c.in, line = cell * c.side;
    s->steps = CEIL_DIV(half, TILE);
    s->left_count = s->steps * STEP;
    s->rows = s->steps * TILE + across + 1;
    for (int i = 0; i < s->rows; i++)
        for (int k = 0; k < 2; k++) {
            const int at = i + k * half, x = at % across, y = at / across;
            s->right[i][k] = at < cells ? at_number(sum, region->right, y * line + x * cell) : NULL;
            if (i < s->steps * TILE)
                s->left[i / TILE * STEP + k * TILE + i % TILE] =
                    i < half && y < region->dy_rows && x < c.out_side
                        ? at_number(sum, region->left, ((size_t)y * c.out_side + x) * c.out)
                        : zeros;
        }
}

#if MAPS_ARE_BFLOAT16
/* Half `tile` of the first `pixels` of 32 short patches, laced as by lace_tile. */
INLINE void lace_short(Conv c, const void *const patch_of[STEP], int pixels, int tile, Part *to)
{
    _Alignas(64) Vec line[TILE];
    ROLLED for (int i = 0; i < TILE; i++)
    {
        _Alignas(64) Activation two[2][STEP] = {{{0}}};
        for (int k = 0; k < 2; k++)
            if (i + k * TILE < pixels)
                store((float *)(void *)two[k], gather_numbers(c, patch_of[i + k * TILE], 0));
        line[i] = lace_channels(two[0] + tile * TILE, two[1] + tile * TILE, TILE);
    }
    transpose(line, (Vec *)(void *)to);
}
#endif

/* Half `tile` of the first `rows` of 16 short patches becomes columns; zeros elsewhere. */
INLINE void transpose_short(Conv c, const void *const patch_of[TILE], int rows, int tile, Vec column[TILE])
{
    _Alignas(64) Vec line[TILE];
    ROLLED for (int i = 0; i < TILE; i++)
    {
        Vec half[2] = {{0}, {0}};
        if (i < rows)
            gather_short(c, patch_of[i], &half[0], &half[1]);
        line[i] = half[tile];
    }
    transpose(line, column);
}

/* A tile of the left factor is made in as many: half by half transposed, then split. Of a map's numbers at
 * once. */
INLINE int left_tasks(Sum sum)
{
    return sum.of_map ? 1 : 4;
}

/* The parts of a block of pixels that are made meanwhile: of the left factor a tile of a step at a time, of
 * the right one a row of a tile. With each row the next block's numbers are prefetched, as far on as the
 * row's own, and `left_lines` lines of the left map; but not where pixels are long enough for the processor
 * to see by itself what comes. */
enum { LEFT_PREFETCHED = 512, RIGHT_PREFETCHED = 128, LINE_BYTES = 64 }; /* channels; bytes */

typedef struct {
    SumRegion region;
    SumPixels pixels;
    Part *left, *right;                         /* [pair][step], [panel][part][2 tiles][rows] */
    int step, left_tile, task, row, right_tile; /* those to come */
    Shares tasks, rows;
    const void *prefetch_left;
    int left_lines;
    ptrdiff_t right_ahead; /* bytes */
    _Alignas(64) Vec column[2 * TILE];
} SumSplitting;

/* Splitting a region, and prefetching one, over that many products. */
INLINE void begin_sum_splitting(Sum sum, const SumBlock *b, const ConvGradWJob *j, const float *zeros,
                                SumRegion region, SumRegion further, Part *to, int products, SumSplitting *s)
{
    s->region = region;
    if (sum.by_cells)
        take_cells(sum, zeros, &s->region, &s->pixels);
    else
        take_pixels(sum, j, &s->region, &s->pixels);
    const int rows = s->pixels.rows * 2 * b->panels;
    s->left = to;
    s->right = to + b->pairs * pair_size(sum, b);
    s->step = s->left_tile = s->task = s->row = s->right_tile = 0;
    s->tasks = shares_of(s->pixels.steps * 2 * b->pairs * left_tasks(sum), products);
    s->rows = shares_of(rows, products);
    s->prefetch_left = further.left;
    s->left_lines =
        sum.by_cells || sum.c.in < LEFT_PREFETCHED
            ? CEIL_DIV((int)(((const char *)further.left_end - (const char *)further.left) / LINE_BYTES),
                       rows)
            : 0;
    s->right_ahead = (const char *)further.right - (const char *)region.right;
}

/* Task `task` of half `tile` of the left factor's `channels`, of step s->step. */
INLINE void split_left(Sum sum, SumSplitting *s, SumChannels channels, int tile, Part *to)
{
    const bool is_short = patch_is_short(sum.c.kernel, sum.c.in) && sum.c.kernel > 1;
    const int half = s->task % 2 * TILE, first = s->step * STEP + half, pixels = s->pixels.left_count - first,
              count = channels.count - tile * TILE;
    const void *const *const pixel = s->pixels.left + first;
#if MAPS_ARE_BFLOAT16
    if (sum.of_map) {
        if (is_short)
            lace_short(sum.c, pixel, pixels, tile, to);
        else
            lace_tile(pixel, pixels, count, channels.at + tile * TILE, to);
        return;
    }
#endif
    if (s->task < 2 && is_short)
        transpose_short(sum.c, pixel, pixels, tile, s->column + half);
    else if (s->task < 2)
        transpose_rows(pixel, pixels, count, channels.at + tile * TILE, s->column + half);
    else
        split_columns(s->column, half / 2, 1, to);
}

INLINE void split_left_share(Sum sum, const SumBlock *b, SumSplitting *s, int count)
{
    ROLLED for (; count > 0; count--)
    {
        const int pair = s->left_tile / 2, tile = s->left_tile % 2;
        split_left(sum, s, left_channels(sum, b->pair + pair), tile,
                   s->left + pair * pair_size(sum, b) + s->step * pair_numbers(sum.of_map) +
                       tile * TILE_NUMBERS);
        if (++s->task == left_tasks(sum)) {
            s->task = 0;
            if (++s->left_tile == 2 * b->pairs) {
                s->left_tile = 0;
                s->step++;
            }
        }
    }
}

/* 16 columns of both pixels of a row of the right factor's tiles, `count` or fewer from `at` on: NULL where
 * there is none. */
INLINE void find_pixels(Sum sum, const SumSplitting *s, int row, ptrdiff_t at, const void *two[2])
{
    if (sum.by_cells) {
        for (int k = 0; k < 2; k++) {
            const void *const pixel = s->pixels.right[row][k];
            two[k] = pixel ? at_number(sum, pixel, (size_t)at) : NULL;
            if (pixel)
                __builtin_prefetch((const char *)two[k] + s->right_ahead, 0, 2);
        }
        return;
    }
    const int low = row / TILE * STEP + row % TILE, high = low + TILE;
    const void *const from = at_number(sum, s->region.right, (size_t)low * sum.c.out + (size_t)at),
                      *const from_high = at_number(sum, from, (size_t)TILE * sum.c.out);
    if (sum.c.out < RIGHT_PREFETCHED) {
        __builtin_prefetch((const char *)from + s->right_ahead, 0, 2);
        __builtin_prefetch((const char *)from_high + s->right_ahead, 0, 2);
    }
    two[0] = low < s->pixels.left_count ? from : NULL;
    two[1] = high < s->pixels.left_count ? from_high : NULL;
}

/* These columns as a row of a tile of each part, which lie `apart` numbers from each other. */
INLINE void split_pixels(Sum sum, const void *const two[2], int count, Part *row, ptrdiff_t apart)
{
    const bool whole = !sum.by_cells && sum.c.out % PANEL == 0;
#if MAPS_ARE_BFLOAT16
    if (sum.of_map) {
        store((float *)(void *)row, lace_channels(two[0], two[1], whole ? TILE : count));
        return;
    }
#endif
    if (whole && two[1])
        split(load(two[0]), load(two[1]), row, apart);
    else
        split(load_some(two[0], two[0] ? count : 0), load_some(two[1], two[1] ? count : 0), row, apart);
}

INLINE void split_right_share(Sum sum, const SumBlock *b, SumSplitting *s, int count)
{
    const ptrdiff_t line = right_line(sum, b);
    int row = s->row, tile = s->right_tile;
    ROLLED for (; count > 0; count--)
    {
        const SumChannels channels = right_channels(sum, b->panel + tile / 2);
        const int half = tile % 2 * TILE;
        const void *two[2];
        find_pixels(sum, s, row, channels.at + half, two);
        split_pixels(sum, two, channels.count - half,
                     s->right + (tile / 2 * parts_of(sum.of_map) * 2 + tile % 2) * line + row * STEP,
                     2 * line);
        ROLLED for (int i = 0; i < s->left_lines; i++)
        {
            __builtin_prefetch(s->prefetch_left, 0, 2);
            s->prefetch_left = (const char *)s->prefetch_left + LINE_BYTES;
        }
        if (++tile == 2 * b->panels) {
            tile = 0;
            row++;
        }
    }
    s->row = row;
    s->right_tile = tile;
}

INLINE void split_sum_share(Sum sum, const SumBlock *b, SumSplitting *s)
{
    split_left_share(sum, b, s, next_share(&s->tasks));
    split_right_share(sum, b, s, next_share(&s->rows));
}

INLINE void split_sum_rest(Sum sum, const SumBlock *b, SumSplitting *s)
{
    split_left_share(sum, b, s, last_share(&s->tasks));
    split_right_share(sum, b, s, last_share(&s->rows));
}

/* Where the sums of a pair by a panel lie: as in tiles, or in dw. */
typedef struct {
    float *at;
    ptrdiff_t stride;
} PairSums;

/* A pair by a panel, added to `from` if there is `more`, while shares of the next block are split. */
INLINE void sum_pair(Sum sum, const SumBlock *b, const Part *left, const Part *right, int steps,
                     PairSums from, bool more, PairSums to, SumSplitting *next)
{
    begin_sums(from.at, from.stride, more);
    ROLLED for (int k = 0; k < steps; k++, left += pair_numbers(sum.of_map), right += TILE_NUMBERS)
        ROLLED for (int product = 0; product < products_of(sum.of_map); product++)
    {
        load_factors(sum.of_map, product, packed_left(left), right, right_line(sum, b));
        split_sum_share(sum, b, next);
        add_product();
    }
    store_sums(to.at, to.stride);
}

/* Whether they can lie in dw. */
INLINE bool fits_tiles(Sum sum, SumChannels rows, SumChannels columns)
{
    return !sum.by_cells && rows.count == PANEL && columns.count == PANEL;
}

INLINE PairSums sums_in_dw(Sum sum, SumChannels rows, SumChannels columns, float *dw)
{
    return (PairSums){dw + (size_t)rows.first * sum.c.out + columns.first, sum.c.out};
}

/* A pair by a panel is put, or added, where it belongs. */
INLINE void end_sums(Sum sum, SumChannels rows, SumChannels columns, const float *sums, float *dw, bool more)
{
    const PairSums to = sums_in_dw(sum, rows, columns, dw);
    for (int r = 0; r < rows.count; r++)
        for (int i = 0; i < columns.count; i++)
            to.at[r * to.stride + i] = sums[r * PANEL + i] + (more ? to.at[r * to.stride + i] : 0);
}

/* By cells, under a quarter of the kernel: transposed. A cell's channels and y's are multiples of 16. */
INLINE void end_quarter(Sum sum, SumChannels rows, SumChannels columns, int quarter, const float *sums,
                        float *dw)
{
    const Conv c = sum.c;
    const int run = c.stride * c.in, y = quarter / 2 * c.stride + columns.first / run,
              x = quarter % 2 * c.stride;
    float *const to = dw + ((size_t)(y * c.kernel + x) * c.in + columns.first % run) * c.out + rows.first;
    for (int r = 0; r < rows.count; r += TILE)
        for (int k = 0; k < columns.count; k += TILE) {
            _Alignas(64) Vec tile[TILE], transposed[TILE];
            for (int i = 0; i < TILE; i++)
                tile[i] = load(sums + (r + i) * PANEL + k);
            transpose(tile, transposed);
            for (int i = 0; i < TILE; i++)
                store(to + (size_t)(k + i) * c.out + r, transposed[i]);
        }
}

/* A block of the sums, SUM_PAIRS each way at most, over pixels [first, last), in order; then to dw. Scratch:
 * the parts of two blocks of pixels, sums as they lie in tiles, and zeros for a pixel of dy. */
INLINE void tile_sum(Sum sum, const ConvGradWJob *j, float *scratch, float *dw, bool more, const SumBlock *b,
                     int first, int last)
{
    enum { PAIR_SUMS = PANEL * PANEL };
    const int quarters = sum.by_cells ? QUARTERS : 1, blocks = sum_blocks(sum, b, first, last),
              all = b->pairs * quarters * b->panels;
    const ptrdiff_t of_pair = pair_size(sum, b), of_panel = panel_size(sum, b),
                    size = b->pairs * of_pair + b->panels * of_panel;
    Part *const parts = (Part *)(void *)scratch;
    float *const sums = scratch + size, *const zeros = sums + (ptrdiff_t)all * PAIR_SUMS;
    SumSplitting next;
    if (sum.by_cells)
        memset(zeros, 0, sizeof *zeros * (size_t)sum.c.out);
    tiles_begin();
    SumRegion region = region_of(sum, b, j, first, last, 0),
              further = region_of(sum, b, j, first, last, MIN_OF(1, blocks - 1));
    begin_sum_splitting(sum, b, j, zeros, region, further, parts, 1, &next);
    split_sum_rest(sum, b, &next);
    ROLLED for (int block = 0; block < blocks; block++)
    {
        const Part *const left = parts + block % 2 * size, *const right = left + b->pairs * of_pair;
        const int steps = next.pixels.steps, products = all * steps * products_of(sum.of_map);
        next.tasks = next.rows = (Shares){0};
        if (block + 1 < blocks) {
            region = further;
            further = region_of(sum, b, j, first, last, MIN_OF(block + 2, blocks - 1));
            begin_sum_splitting(sum, b, j, zeros, region, further, parts + (block + 1) % 2 * size, products,
                                &next);
        }
        atomic_signal_fence(memory_order_seq_cst); /* what is split is written before tiles are loaded */
        float *pair_sums = sums;
        ROLLED for (int i = 0; i < b->pairs; i++) ROLLED for (int quarter = 0; quarter < quarters; quarter++)
            ROLLED for (int k = 0; k < b->panels; k++, pair_sums += PAIR_SUMS)
        {
            const int shift = quarter / 2 * cells_across(sum.c) + quarter % 2;
            const SumChannels rows = left_channels(sum, b->pair + i),
                              columns = right_channels(sum, b->panel + k);
            const bool in_dw = fits_tiles(sum, rows, columns);
            const PairSums final = sums_in_dw(sum, rows, columns, dw), kept = {pair_sums, PANEL};
            sum_pair(sum, b, left + i * of_pair, right + k * of_panel + shift * STEP, steps,
                     in_dw && block == 0 ? final : kept, block > 0 || (in_dw && more),
                     in_dw && block + 1 == blocks ? final : kept, &next);
        }
        split_sum_rest(sum, b, &next);
    }
    tiles_end();
    for (int i = 0; i < all; i++) {
        const SumChannels rows = left_channels(sum, b->pair + i / b->panels / quarters),
                          columns = right_channels(sum, b->panel + i % b->panels);
        if (sum.by_cells)
            end_quarter(sum, rows, columns, i / b->panels % quarters, sums + (ptrdiff_t)i * PAIR_SUMS, dw);
        else if (!fits_tiles(sum, rows, columns))
            end_sums(sum, rows, columns, sums + (ptrdiff_t)i * PAIR_SUMS, dw, more);
    }
}

/* Pairs [pair0, pair1) by panels [panel0, panel1). */
INLINE void tile_sums(Sum sum, const ConvGradWJob *j, float *scratch, float *dw, bool more, int pair0,
                      int pair1, int panel0, int panel1, int first, int last)
{
    for (int pair = pair0; pair < pair1; pair += SUM_PAIRS)
        for (int panel = panel0; panel < panel1; panel += SUM_PAIRS) {
            const SumBlock b = {pair, MIN_OF(SUM_PAIRS, pair1 - pair), panel,
                                MIN_OF(SUM_PAIRS, panel1 - panel)};
            tile_sum(sum, j, scratch, dw, more, &b, first, last);
        }
}

/* Part `part` of row_cuts by column_cuts blocks of dw. */
INLINE void conv_grad_w_tiles(Conv c, const ConvGradWJob *j, float *scratch, int row_cuts, int column_cuts,
                              int part)
{
    const int pairs = row_pairs(c.kernel, c.in), panels = PANELS(c.out), row = part / column_cuts,
              column = part % column_cuts;
    tile_sums((Sum){c, false, is_of_map(j)}, j, scratch, j->dw, j->more, piece(pairs, row, row_cuts),
              piece(pairs, row + 1, row_cuts), piece(panels, column, column_cuts),
              piece(panels, column + 1, column_cuts), 0, pixels_of(c));
}

/* A slice's own dw. */
INLINE float *dw_of_slice(Conv c, const ConvGradWJob *j, int slice)
{
    return j->partial + (size_t)slice * depth_of_patch(c) * c.out;
}

/* Of slices of the pixels, each with as many parts as there are SUM_PAIRS pairs of dw's rows. */
#define SLICED_PARTS(c, slices) ((slices)*CEIL_DIV(row_pairs((c).kernel, (c).in), SUM_PAIRS))
INLINE void conv_grad_w_sliced(Conv c, const ConvGradWJob *j, float *scratch, int slices, int part)
{
    const int pixels = pixels_of(c), slice = part % slices, pair = part / slices * SUM_PAIRS;
    tile_sums((Sum){c, false, is_of_map(j)}, j, scratch, dw_of_slice(c, j, slice), false, pair,
              MIN_OF(pair + SUM_PAIRS, row_pairs(c.kernel, c.in)), 0, PANELS(c.out),
              tile_piece(pixels, slice, slices), tile_piece(pixels, slice + 1, slices));
}

/* By cells, slice `slice` of the images. */
INLINE void conv_grad_w_cells(Conv c, const ConvGradWJob *j, float *scratch, int slices, int slice)
{
    const int area = c.out_side * c.out_side;
    tile_sums((Sum){c, true, is_of_map(j)}, j, scratch, dw_of_slice(c, j, slice), false, 0, PANELS(c.out), 0,
              pairs_of_rows(c.stride, c.in), area * piece(c.images, slice, slices),
              area * piece(c.images, slice + 1, slices));
}

/* Part `part` of `parts` of dw, from all slices'. */
INLINE void end_slices(Conv c, const ConvGradWJob *j, int slices, int part, int parts)
{
    sum_slices(j->partial, slices, (size_t)depth_of_patch(c) * c.out, 1, j->more ? j->dw : NULL, j->dw, part,
               parts);
}

/* Slice `slice` of the images, for scores' gradients (scores.h). */
INLINE void conv_grad_w_slice(Conv c, const ConvGradWJob *j, float *scratch, int slice, int slices)
{
    const int area = c.out_side * c.out_side;
    tile_sums((Sum){c, false, is_of_map(j)}, j, scratch, dw_of_slice(c, j, slice), false, 0,
              row_pairs(c.kernel, c.in), 0, PANELS(c.out), area * piece(c.images, slice, slices),
              area * piece(c.images, slice + 1, slices));
}

#endif
