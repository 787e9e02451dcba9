/* listing.c: the names of a split's pictures, in order, in little memory.
 *
 * Folders are held by their paths, each with the number after its last picture. The names in a folder are
 * sorted and packed: of BLOCK of them the first is whole, of each other the length that it shares with the
 * one before, and the rest. What numbered scans or photographs are called takes a third of its length so. */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16 };

bool listing_begin(Listing *l, const char *root, const DataRequest *r, Fault *f)
{
    *l = (Listing){.root = strdup(root), .tell = r->tell, .teller = r->teller};
    return l->root || fault(f, "%s: out of memory for the name of a folder; free some", root);
}

bool listing_tell(Listing *l, const Fault *f)
{
    if (!l->tell)
        return false;
    l->tell(l->teller, f);
    l->told++;
    return true;
}

static void forget_fresh(Listing *l)
{
    free(l->fresh.text);
    free(l->fresh.begin);
    l->fresh = (FreshNames){.count = 0};
}

void listing_free(Listing *l)
{
    forget_fresh(l);
    free(l->root);
    free(l->pool);
    free(l->block);
    free(l->place);
    *l = (Listing){.root = NULL};
}

size_t listing_bytes(const Listing *l)
{
    return l->pool_length + l->blocks * sizeof *l->block + l->places * sizeof *l->place;
}

/* ---- room ---- */

/* Room for `more` elements behind `used` in *array. It doubles: what is not used yet takes no memory. */
static bool make_room(void *array, uint32_t used, size_t more, size_t *capacity, size_t size)
{
    void *now, *larger;
    size_t wanted = used + more, bytes;
    if (wanted <= *capacity)
        return true;
    memcpy(&now, array, sizeof now);
    if (__builtin_mul_overflow(2 * wanted, size, &bytes) || !(larger = realloc(now, bytes)))
        return false;
    memcpy(array, &larger, sizeof larger);
    *capacity = 2 * wanted;
    return true;
}

static bool no_memory(const Listing *l, Fault *f)
{
    return fault(f, "%s: out of memory for the names of %u pictures; use fewer", l->root,
                 l->count + l->fresh.count + 1);
}

/* Room for `bytes` at the end of a text that is to stay below 1 GiB, and its offsets in 32 bits. */
static bool text_room(const Listing *l, char **text, uint32_t length, size_t bytes, size_t *capacity,
                      Fault *f)
{
    if (bytes > UINT32_MAX / 4 - length)
        return fault(f, "%s: the names of its pictures take more than 1 GiB; use fewer", l->root);
    return make_room(text, length, bytes, capacity, 1) || no_memory(l, f);
}

static bool pool_room(Listing *l, size_t bytes, Fault *f)
{
    return text_room(l, &l->pool, l->pool_length, bytes, &l->pool_capacity, f);
}

/* ---- folders ---- */

const char *listing_place(const Listing *l, uint32_t place)
{
    return l->pool + l->place[place].path;
}

bool listing_add_place(Listing *l, int64_t above, const char *name, Fault *f)
{
    const size_t front = above < 0 ? 0 : strlen(listing_place(l, (uint32_t)above)) + 1;
    const size_t bytes = front + strlen(name) + 1;
    if (!pool_room(l, bytes, f))
        return false;
    if (!make_room(&l->place, l->places, 1, &l->place_capacity, sizeof *l->place))
        return no_memory(l, f);
    char *end = l->pool + l->pool_length;
    if (front) {
        memcpy(end, listing_place(l, (uint32_t)above), front - 1);
        end[front - 1] = '/';
    }
    strcpy(end + front, name);
    l->place[l->places++] = (ListedPlace){.path = l->pool_length};
    l->pool_length += (uint32_t)bytes;
    return true;
}

static int by_path(const void *a, const void *b, void *pool)
{
    return strcmp((const char *)pool + ((const ListedPlace *)a)->path,
                  (const char *)pool + ((const ListedPlace *)b)->path);
}

void listing_order(Listing *l, uint32_t first)
{
    uint32_t kept = first, until = first ? l->place[first - 1].until : 0;
    if (l->places > first)
        qsort_r(l->place + first, l->places - first, sizeof *l->place, by_path, l->pool);
    for (uint32_t i = first; i < l->places; i++) {
        ListedPlace p = l->place[i];
        if (p.until == 0)
            continue;
        p.until = until += p.until;
        l->place[kept++] = p;
    }
    l->places = kept;
}

/* ---- names ---- */

bool listing_add_name(Listing *l, const char *name, Fault *f)
{
    FreshNames *n = &l->fresh;
    const size_t bytes = strlen(name) + 1;
    if (bytes > NAME_MAX + 1)
        return fault(f, "%s: a name of %zu bytes; %d are possible", l->root, bytes - 1, NAME_MAX);
    if (!text_room(l, &n->text, n->length, bytes, &n->text_capacity, f))
        return false;
    if (!make_room(&n->begin, n->count, 1, &n->begin_capacity, sizeof *n->begin))
        return no_memory(l, f);
    memcpy(n->text + n->length, name, bytes);
    n->begin[n->count++] = n->length;
    n->length += (uint32_t)bytes;
    return true;
}

static int by_name(const void *a, const void *b, void *text)
{
    return strcmp((const char *)text + *(const uint32_t *)a, (const char *)text + *(const uint32_t *)b);
}

static size_t shared_length(const char *a, const char *b)
{
    size_t length = 0;
    while (a[length] && a[length] == b[length])
        length++;
    return length;
}

/* The first name of a block. */
static bool pack_whole(Listing *l, const char *name, Fault *f)
{
    const size_t bytes = strlen(name) + 1;
    if (!pool_room(l, bytes, f))
        return false;
    if (!make_room(&l->block, l->blocks, 1, &l->block_capacity, sizeof *l->block))
        return no_memory(l, f);
    l->block[l->blocks++] = l->pool_length;
    memcpy(l->pool + l->pool_length, name, bytes);
    l->pool_length += (uint32_t)bytes;
    return true;
}

static bool pack_rest(Listing *l, const char *before, const char *name, Fault *f)
{
    const size_t shared = shared_length(before, name), bytes = strlen(name + shared) + 1;
    if (!pool_room(l, 1 + bytes, f))
        return false;
    l->pool[l->pool_length++] = (char)(unsigned char)shared;
    memcpy(l->pool + l->pool_length, name + shared, bytes);
    l->pool_length += (uint32_t)bytes;
    return true;
}

bool listing_end_place(Listing *l, uint32_t place, Fault *f)
{
    const FreshNames *n = &l->fresh;
    const uint32_t first = l->blocks;
    bool packed = true;
    if (n->count > 0)
        qsort_r(n->begin, n->count, sizeof *n->begin, by_name, n->text);
    for (uint32_t i = 0; packed && i < n->count; i++) {
        const char *name = n->text + n->begin[i];
        packed = i % BLOCK ? pack_rest(l, n->text + n->begin[i - 1], name, f) : pack_whole(l, name, f);
    }
    l->place[place].block = first;
    l->place[place].until = n->count; /* their number, until the folders are in order */
    l->count += n->count;
    forget_fresh(l);
    return packed;
}

/* ---- what was found ---- */

static uint32_t place_of(const Listing *l, uint32_t i)
{
    uint32_t low = 0, high = l->places - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (l->place[middle].until <= i)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const char *listing_folder(const Listing *l, uint32_t i)
{
    return listing_place(l, place_of(l, i));
}

void listing_name(const Listing *l, uint32_t i, char name[NAME_MAX + 1])
{
    const uint32_t place = place_of(l, i), nth = i - (place ? l->place[place - 1].until : 0);
    const char *at = l->pool + l->block[l->place[place].block + nth / BLOCK];
    strcpy(name, at);
    for (uint32_t k = 0; k < nth % BLOCK; k++) {
        at += strlen(at) + 1;
        const size_t shared = (unsigned char)*at++;
        strcpy(name + shared, at);
    }
}

char *listing_path(const Listing *l, uint32_t i, Fault *f)
{
    char name[NAME_MAX + 1], *path;
    listing_name(l, i, name);
    const char *folder = listing_folder(l, i);
    if (asprintf(&path, "%s%s%s/%s", l->root, *folder ? "/" : "", folder, name) >= 0)
        return path;
    fault(f, "%s: out of memory for the name of a file; free some", l->root);
    return NULL;
}
