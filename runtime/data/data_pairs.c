/* data_pairs.c: two real views of one image, such as two cameras' or two moments', as NAME.1.EXT and
 * NAME.2.EXT in one folder. Held is the first's number; the second's name follows from its own. */
#include "runtime.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The digit of NAME.1.EXT or NAME.2.EXT; NULL: it is another name. */
static char *digit_of(char *name)
{
    char *end = strrchr(name, '.');
    const bool fits = end && end - name >= 3 && end[-2] == '.' && (end[-1] == '1' || end[-1] == '2');
    return fits ? end - 1 : NULL;
}

/* ---- reading ---- */

/* The second's path, by malloc. */
static char *second_path(const Listing *l, uint32_t number, Fault *f)
{
    char *path = listing_path(l, number, f), *digit = path ? digit_of(path) : NULL;
    if (digit)
        *digit = '2';
    return path;
}

static bool read_second(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    char *path = second_path(d->own, d->index[i], f);
    bool done = path && picture_read_file(out, path, channels, f);
    free(path);
    return done;
}

/* ---- joining ---- */

static bool range_holds(const Listing *l, uint32_t low, uint32_t end, const char *name)
{
    char other[NAME_MAX + 1];
    while (low < end) {
        const uint32_t middle = low + (end - low) / 2;
        listing_name(l, middle, other);
        const int order = strcmp(other, name);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            end = middle;
    }
    return false;
}

typedef struct {
    uint32_t firsts, alone; /* pictures NAME.1.EXT with their second; pictures that have no other */
    uint32_t one_alone;     /* the first such */
} Pairing;

static Pairing look_for_pairs(const Listing *l)
{
    Pairing p = {.firsts = 0};
    /* Of the folder under way the pictures are first, ... end - 1, and their names ascend; no folder is
     * empty. */
    for (uint32_t i = 0, first = 0, end = 0, place = 0; i < l->count; i++) {
        char name[NAME_MAX + 1];
        if (i == end) {
            first = end;
            end = l->place[place++].until;
        }
        listing_name(l, i, name);
        char *digit = digit_of(name);
        const bool is_first = digit && *digit == '1';
        if (digit)
            *digit = is_first ? '2' : '1';
        if (!digit || !range_holds(l, first, end, name)) {
            p.one_alone = p.alone++ ? p.one_alone : i;
        } else {
            p.firsts += is_first;
        }
    }
    return p;
}

static void keep_firsts(Dataset *d)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        char name[NAME_MAX + 1];
        listing_name(d->own, d->index[i], name);
        const char *digit = digit_of(name);
        if (digit && *digit == '1') {
            d->label[kept] = d->label[i];
            d->index[kept++] = d->index[i];
        }
    }
    d->count = kept;
}

static bool say_alone(Dataset *d, const Pairing *p, Fault *f)
{
    char name[NAME_MAX + 1], *remark;
    listing_name(d->own, p->one_alone, name);
    if (asprintf(&remark,
                 "%s%s%u pictures have a second view beside them, but %s has none: each is by itself",
                 d->remark ? d->remark : "", d->remark ? "; " : "", p->firsts, name) < 0)
        return fault(f, "out of memory for what is said of pairs; free some");
    free(d->remark);
    d->remark = remark;
    return true;
}

bool pairs_join(Dataset *d, const char *format, Fault *f)
{
    const Pairing p = look_for_pairs(d->own);
    if (p.firsts == 0)
        return true;
    if (p.alone > 0)
        return say_alone(d, &p, f);
    keep_firsts(d);
    d->format = format;
    d->read_second = read_second;
    return true;
}
