/* holdout.c: --holdout, a test split of a data set that has none.
 *
 * Every picture has a number that only its name decides. Of each class those with the smallest numbers are
 * the test split: the same on every machine, and the same but for a few when pictures are added. */
#include "runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t holdout_draw(const char *folder, const char *name)
{
    Digest d;
    digest_begin(&d);
    digest_add(&d, folder, strlen(folder) + 1);
    digest_add(&d, name, strlen(name) + 1);
    return digest_end(&d);
}

static uint64_t draw_number(uint32_t number)
{
    Digest d;
    const uint8_t bytes[] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
                             (uint8_t)(number >> 24)};
    digest_begin(&d);
    digest_add(&d, bytes, sizeof bytes);
    return digest_end(&d);
}

static uint64_t draw_of(const Dataset *d, uint32_t i)
{
    return d->draw ? d->draw(d, i) : draw_number(d->index[i]);
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Pictures in the order of their classes, those of one where it ends those of the class before. */
typedef struct {
    uint32_t *picture; /* (count) */
    uint32_t *end;     /* (classes) */
    uint64_t *draw;    /* as many as the largest class has pictures */
} ByClass;

static void by_class_free(ByClass *c)
{
    free(c->picture);
    free(c->end);
    free(c->draw);
}

/* A counting sort. */
static bool by_class_of(ByClass *c, const Dataset *d)
{
    uint32_t most = 1, before = 0;
    c->picture = malloc((d->count + (size_t)1) * sizeof *c->picture);
    c->end = calloc((size_t)d->classes, sizeof *c->end);
    for (uint32_t i = 0; c->end && i < d->count; i++)
        c->end[d->label[i]]++;
    for (int l = 0; c->end && l < d->classes; l++) {
        const uint32_t count = c->end[l];
        most = count > most ? count : most;
        c->end[l] = before;
        before += count;
    }
    c->draw = malloc(most * sizeof *c->draw);
    if (!c->picture || !c->end || !c->draw)
        return false;
    for (uint32_t i = 0; i < d->count; i++)
        c->picture[c->end[d->label[i]]++] = i;
    return true;
}

/* One more than the largest draw that is held, of `count` pictures `held`. */
static uint64_t threshold_of(const Dataset *d, const uint32_t *picture, uint32_t count, uint32_t held,
                             uint64_t *draw)
{
    if (held == 0)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        draw[i] = draw_of(d, picture[i]);
    qsort(draw, count, sizeof *draw, ascending);
    return draw[held - 1] + 1;
}

static uint32_t held_of(uint32_t count, double share)
{
    const uint32_t held = (uint32_t)lround(share * count);
    return held < count ? held : count > 0 ? count - 1 : 0;
}

/* Thresholds by class; NULL without memory. */
static uint64_t *find_thresholds(const Dataset *d, double share)
{
    ByClass c = {NULL, NULL, NULL};
    uint64_t *threshold = by_class_of(&c, d) ? calloc((size_t)d->classes, sizeof *threshold) : NULL;
    for (int l = 0; threshold && l < d->classes; l++) {
        const uint32_t begin = l > 0 ? c.end[l - 1] : 0, count = c.end[l] - begin;
        threshold[l] = threshold_of(d, c.picture + begin, count, held_of(count, share), c.draw);
    }
    by_class_free(&c);
    return threshold;
}

/* Those below their class's threshold, or the others, stay; what goes is kept apart. */
static bool divide(Dataset *d, const uint64_t *threshold, bool test)
{
    uint32_t kept = 0;
    d->held_label = malloc((size_t)d->count * sizeof *d->held_label);
    d->held_index = malloc((size_t)d->count * sizeof *d->held_index);
    if (!d->held_label || !d->held_index)
        return false;
    for (uint32_t i = 0; i < d->count; i++) {
        const uint16_t label = d->label[i];
        const uint32_t index = d->index[i];
        if ((draw_of(d, i) < threshold[label]) == test) {
            d->label[kept] = label;
            d->index[kept++] = index;
        } else {
            d->held_label[d->held] = label;
            d->held_index[d->held++] = index;
        }
    }
    d->count = kept;
    return true;
}

/* Arrays of what is held have as many elements as there are. */
static void trim(Dataset *d)
{
    const size_t held = d->held ? d->held : 1;
    void *label = realloc(d->held_label, held * sizeof *d->held_label);
    void *index = realloc(d->held_index, held * sizeof *d->held_index);
    d->held_label = label ? label : d->held_label;
    d->held_index = index ? index : d->held_index;
    d->bytes += held * (sizeof *d->held_label + sizeof *d->held_index);
}

bool holdout_keep(Dataset *d, double share, bool test, Fault *f)
{
    uint64_t *threshold = find_thresholds(d, share);
    const bool done = threshold && divide(d, threshold, test);
    free(threshold);
    if (!done)
        return fault(f, "out of memory for choosing test pictures; free some");
    trim(d);
    return true;
}

Dataset *holdout_borrow(const Dataset *d, Fault *f)
{
    Dataset *b = allocate(sizeof *b, "a data set", f);
    if (!b)
        return NULL;
    *b = *d;
    b->borrowed = true;
    if (d->held) {
        b->count = d->held;
        b->label = d->held_label;
        b->index = d->held_index;
    }
    return b;
}
Split holdout_opens(const DataRequest *r, bool has_test)
{
    const bool all = !has_test && (r->holdout > 0 || r->whole);
    return r->split == SPLIT_TEST && !all ? SPLIT_TEST : SPLIT_TRAIN;
}
