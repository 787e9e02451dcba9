/* report_album.c: pictures as views, and views as pictures on the page. */
#include "report_internal.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { THUMB = 64 }; /* the longest side of a picture on the page, in its own pixels */

static size_t picture_floats(const AmdimModel *m)
{
    return (size_t)m->size * (size_t)m->size * (size_t)m->channels;
}

bool album_open(Album *a, const AmdimModel *m, const ReportState *state, FILE *stream, Fault *f)
{
    *a = (Album){.model = m, .state = state, .stream = stream, .room = state->room};
    if (!a->room)
        a->room = a->own = allocate_zero((size_t)(m->views * m->batch) * picture_floats(m) * sizeof *a->own,
                                         "the report's pictures", f);
    a->bytes = allocate(THUMB * THUMB * 3, "the report's pictures", f);
    if (a->room && a->bytes)
        a->workspace = workspace_new(m, f);
    if (a->workspace)
        return true;
    album_close(a);
    return false;
}

void album_close(Album *a)
{
    workspace_free(a->workspace);
    if (a->spill > 0)
        close(a->spill);
    free(a->own);
    free(a->bytes);
}

float *album_view(const Album *a, int i)
{
    return a->room + (size_t)i * picture_floats(a->model);
}

bool album_plain(Album *a, const Dataset *d, uint32_t i, float *out, Fault *f)
{
    return augment_read_none(a->model, a->workspace, d, i, out, f);
}

bool album_augmented(Album *a, uint32_t i, int view, float *out, Fault *f)
{
    const ReportState *s = a->state;
    return augment_read(a->model, a->workspace, s->data, &(ViewAddress){s->seed, s->epoch, i, view}, 1, &out,
                        f);
}

/* What is left of the last batch keeps the pictures it has. */
bool album_encode(Album *a, const AmdimFeature *feature, uint32_t rows, AlbumFill *fill, AlbumTake *take,
                  void *job, Fault *f)
{
    const Machine *k = a->state->machine;
    size_t floats = (size_t)(feature->side * feature->side) * (size_t)feature->channels;
    for (uint32_t row = 0, count; row < rows; row += count) {
        count = rows - row < (uint32_t)feature->images ? rows - row : (uint32_t)feature->images;
        for (uint32_t i = 0; i < count; i++)
            if (!fill(a, job, row + i, album_view(a, (int)i), f))
                return false;
        const float *features = feature->run(k->pool, k->step.arena, k->params, a->room);
        for (uint32_t i = 0; i < count; i++)
            if (!take(a, job, row + i, features + i * floats, f))
                return false;
    }
    return true;
}

double album_score(const AmdimModel *m, const float *phi_n, const float *phi_m)
{
    double r = 0;
    for (int i = 0; i < m->embedding_dim; i++)
        r += (double)phi_n[i] * phi_m[i];
    r /= sqrt(m->embedding_dim);
    return m->clip > 0 ? m->clip * tanh(r / m->clip) : r;
}

/* ---- onto the page ---- */

/* Pixels of the view that one of the picture stands for, along a side. */
static int shrinking(const AmdimModel *m)
{
    return (m->size + THUMB - 1) / THUMB;
}

static int picture_side(const AmdimModel *m)
{
    return (m->size + shrinking(m) - 1) / shrinking(m);
}

/* The mean of the block of pixels, without the normalisation, as a byte. */
static uint8_t block_byte(const AmdimModel *m, const float *view, int row, int column, int channel)
{
    int step = shrinking(m), pixels = 0;
    double sum = 0;
    for (int y = row * step; y < (row + 1) * step && y < m->size; y++)
        for (int x = column * step; x < (column + 1) * step && x < m->size; x++, pixels++)
            sum += view[(size_t)(y * m->size + x) * (size_t)m->channels + (size_t)channel];
    double value = sum / pixels * m->std[channel] + m->mean[channel];
    return (uint8_t)lround(255 * fmin(fmax(value, 0), 1));
}

/* Without memory for libpng the picture stays empty. */
static void write_uri(Album *a, const float *view)
{
    const AmdimModel *m = a->model;
    Fault f;
    int side = picture_side(m);
    uint8_t *to = a->bytes;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            for (int c = 0; c < m->channels; c++)
                *to++ = block_byte(m, view, y, x, c);
    (void)png_data_uri(a->stream, a->bytes, side, side, m->channels, &f);
}

void album_img(Album *a, const float *view, const char *attributes)
{
    fputs("<img src=\"", a->stream);
    write_uri(a, view);
    fprintf(a->stream, "\" %s>", attributes);
}

void album_svg_image(Album *a, const float *view, const char *attributes)
{
    int side = picture_side(a->model) * shrinking(a->model);
    fputs("<image href=\"", a->stream);
    write_uri(a, view);
    fprintf(a->stream, "\" width=\"%d\" height=\"%d\" %s/>", side, side, attributes);
}

Dataset *album_test_split(const Album *a, Fault *f)
{
    const ReportState *s = a->state;
    if (s->data->undivided || s->data->held)
        return holdout_borrow(s->data, f);
    return data_request(
        &(DataRequest){.dir = s->data_dir, .split = SPLIT_TEST, .holdout = s->holdout, .whole = true}, f);
}

void album_apology(Album *a, const Fault *f)
{
    fputs("<p class=\"apology\">No pictures here: ", a->stream);
    html_text(a->stream, f->text);
    fputs("</p>\n", a->stream);
}

/* ---- choosing ---- */

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

/* Multiples of the golden section fill a circle evenly, however many there are. */
uint32_t album_spread(uint32_t i, uint32_t count)
{
    uint32_t stride = (uint32_t)(0.6180339887498949 * count);
    while (common_divisor(stride, count) != 1)
        stride++;
    return (uint32_t)((uint64_t)i * stride % count);
}
