/* report_internal.h: what report.html is made of. report.c puts the page together, each other file writes one
 * part of it.
 *
 * Pictures and features are made one batch at a time, between two steps, in memory that the steps use
 * anyway. What cannot be made (a picture that cannot be read, say) is named on the page in its place. */
#ifndef REPORT_INTERNAL_H
#define REPORT_INTERNAL_H

#include "runtime.h"

/* ---- report_series.c: metrics.jsonl, thinned ---- */

enum {
    LOSS,
    PENALTY,
    RATE,
    SPEED,
    PROBE,
    KNN,
    FIRST_PAIR
}; /* columns; then pairs' losses, then accuracies */

typedef struct {
    int pairs, columns;
    uint64_t rows;     /* in the file */
    uint64_t taken;    /* of them in the points so far */
    uint64_t in_point; /* rows of a whole point */
    int points;
    double *x;       /* (points) mean step */
    double **column; /* (columns)(points) means of what the rows have; NAN where they have nothing */
    uint64_t *seen;  /* (columns) rows of the last point that have a value */
    double *last;    /* (columns) the last value, NAN without one */
    double *memory;
    const char **pair_name; /* (pairs) */
    uint64_t step, epoch;   /* of the last row */
    char rates[256];        /* base rates that --lr gave: "0.001 from step 1 on, 0.0005 from step 301 on" */
} Series;
bool series_read(Series *s, const AmdimModel *m, const char *path, Fault *f);
void series_free(Series *s);
static inline int loss_column(int pair)
{
    return FIRST_PAIR + pair;
}
static inline int accuracy_column(const Series *s, int pair)
{
    return FIRST_PAIR + s->pairs + pair;
}

/* ---- report_album.c: pictures on the page ---- */

typedef struct {
    const AmdimModel *model;
    const ReportState *state;
    FILE *stream; /* the page */
    Workspace *workspace;
    float *room;    /* memory for V*B pictures */
    float *own;     /* the same where the state has none, else NULL */
    uint8_t *bytes; /* the one being written */
    int spill; /* the gallery's features, in a file without a name; 0: none yet, -1: they cannot be kept */
} Album;
bool album_open(Album *a, const AmdimModel *m, const ReportState *state, FILE *stream, Fault *f);
void album_close(Album *a);
float *album_view(const Album *a, int i); /* (H, W, C), the i-th of V*B */
/* Image i of d, as testing sees it, and as training sees its view in the state's epoch. */
bool album_plain(Album *a, const Dataset *d, uint32_t i, float *out, Fault *f);
bool album_augmented(Album *a, uint32_t i, int view, float *out, Fault *f);
/* Encodes `rows` pictures, which `fill` makes, in batches, and hands each one's features on, in order. A
 * batch is the room's: `fill` writes nothing else there. Ends with the first that fails. */
typedef bool AlbumFill(Album *a, void *job, uint32_t row, float *out, Fault *f);
typedef bool AlbumTake(Album *a, void *job, uint32_t row, const float *features, Fault *f);
bool album_encode(Album *a, const AmdimFeature *feature, uint32_t rows, AlbumFill *fill, AlbumTake *take,
                  void *job, Fault *f);
/* The clipped score s = c tanh(r / c) of two embeddings, r = <phi_n, phi_m> / sqrt(dim). */
double album_score(const AmdimModel *m, const float *phi_n, const float *phi_m);
/* The view's picture: as <img>, and as <image> in a drawing whose unit is a pixel of the view. `attributes`
 * is markup. Large ones are shrunk. */
void album_img(Album *a, const float *view, const char *attributes);
void album_svg_image(Album *a, const float *view, const char *attributes);
/* The test split, or of a data set without splits all of it. */
Dataset *album_test_split(const Album *a, Fault *f);
void album_apology(Album *a, const Fault *f); /* in place of a picture */
/* The i-th of `count` images in an order that spreads the first few over all of them. */
uint32_t album_spread(uint32_t i, uint32_t count);

/* ---- report_fields.c: where locations look ---- */

/* The layer that makes scale d, and the pixel (along a side) where the field of its location i begins. */
const AmdimLayer *layer_of_scale(const AmdimModel *m, int d);
double field_begin(const AmdimLayer *l, int i);
/* A frame around the field of the middle location, in a drawing whose unit is a pixel of the view. */
void draw_middle_field(FILE *stream, const AmdimLayer *l);
/* A colour (red, green, blue, opacity) at each location of the layer, in such a drawing. A location's cell
 * lies around the middle of its field, as wide as the step to the next. */
void draw_cells(FILE *stream, const AmdimLayer *l, const uint8_t *colour);

/* ---- the parts ---- */

void report_curves(FILE *stream, const AmdimModel *m, const Series *series); /* report_curves.c */
void report_classes(Album *a);                                               /* report_classes.c */
void report_encoder(Album *a);                                               /* report_encoder.c */
void report_fields(Album *a);                                                /* report_fields.c */
void report_pictures(Album *a);                                              /* report_pictures.c */
void report_neighbours(Album *a);                                            /* report_neighbours.c */
/* report_map.c: keeps one more picture's features of the gallery; the map of all that were kept. */
bool map_keep(Album *a, const float *features, int dims);
void report_map(Album *a, const Dataset *test);
void report_scores(Album *a);  /* report_scores.c */
void report_mixture(Album *a); /* report_mixture.c */

#endif
