/* holdout.c: --holdout, a test split of a data set that has none.
 *
 * Every picture has a number that only its name decides. Of each class those with the smallest numbers are
 * the test split: the same on every machine, and the same but for a few when pictures are added. */
#include "runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t draw;
    uint32_t image; /* of the data set as it is opened */
    uint16_t label;
    bool held;
} Drawn;

static int by_class_and_draw(const void *a, const void *b)
{
    const Drawn *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    if (x->draw != y->draw)
        return x->draw < y->draw ? -1 : 1;
    return x->image < y->image ? -1 : 1;
}

static int by_image(const void *a, const void *b)
{
    const Drawn *x = a, *y = b;
    return x->image < y->image ? -1 : 1;
}

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

static void hold_of_class(Drawn *first, uint32_t count, double share)
{
    uint32_t held = (uint32_t)lround(share * count);
    held = held < count ? held : count - 1;
    for (uint32_t i = 0; i < held; i++)
        first[i].held = true;
}

static void hold(Drawn *drawn, uint32_t count, double share)
{
    qsort(drawn, count, sizeof *drawn, by_class_and_draw);
    for (uint32_t first = 0, end = 0; first < count; first = end) {
        while (end < count && drawn[end].label == drawn[first].label)
            end++;
        hold_of_class(drawn + first, end - first, share);
    }
    qsort(drawn, count, sizeof *drawn, by_image);
}

Split holdout_opens(const DataRequest *r, bool has_test)
{
    const bool all = !has_test && (r->holdout > 0 || r->whole);
    return r->split == SPLIT_TEST && !all ? SPLIT_TEST : SPLIT_TRAIN;
}

bool holdout_keep(Dataset *d, double share, bool test, Fault *f)
{
    Drawn *drawn = allocate_zero((size_t)d->count * sizeof *drawn, "choosing test pictures", f);
    if (!drawn)
        return false;
    for (uint32_t i = 0; i < d->count; i++)
        drawn[i] = (Drawn){d->draw ? d->draw(d, i) : draw_number(d->index[i]), i, d->label[i], false};
    hold(drawn, d->count, share);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->count; i++)
        if (drawn[i].held == test) {
            d->label[kept] = d->label[i];
            d->index[kept++] = d->index[i];
        }
    d->count = kept;
    free(drawn);
    return true;
}
