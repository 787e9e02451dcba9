/* data_listed.c: a data set of pictures that are files of their own, by the names in a listing. */
#include "runtime.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool listed_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    char *path = listing_path(d->own, d->index[i], f);
    bool done = path && picture_read_file(out, path, channels, f);
    free(path);
    return done;
}

static bool identify_size(const Dataset *d, uint32_t i, Fingerprint *p, Fault *f)
{
    char *path = listing_path(d->own, d->index[i], f);
    struct stat status;
    bool done = path && (stat(path, &status) == 0 || fault_errno(f, "%s", path));
    if (done)
        fingerprint_number(p, (uint64_t)status.st_size);
    free(path);
    return done;
}

/* Every name; sizes of some files only, for asking takes a network's file system a while. */
static bool listed_identify(const Dataset *d, Fingerprint *p, Fault *f)
{
    const Listing *l = d->own;
    for (int c = 0; c < d->classes; c++)
        if (d->class_name[c])
            fingerprint_text(p, d->class_name[c]);
    for (uint32_t i = 0; i < d->count; i++) {
        char name[NAME_MAX + 1];
        listing_name(l, d->index[i], name);
        fingerprint_text(p, listing_folder(l, d->index[i]));
        fingerprint_text(p, name);
    }
    if (d->read_second) /* whose names follow from these */
        fingerprint_text(p, "pairs");
    for (uint32_t nth = 0; nth < fingerprint_samples(d); nth++)
        if (!identify_size(d, fingerprint_sample(d, nth), p, f))
            return false;
    return true;
}

static void listed_close(Dataset *d)
{
    listing_free(d->own);
    free(d->own);
}

static uint64_t listed_draw(const Dataset *d, uint32_t i)
{
    char name[NAME_MAX + 1];
    listing_name(d->own, d->index[i], name);
    return holdout_draw(listing_folder(d->own, d->index[i]), name);
}

Dataset *listed_new(const char *format, int classes, Listing *l, Fault *f)
{
    Dataset *d = dataset_new(format, l->count, classes, f);
    Listing *own = d ? allocate(sizeof *own, "a data set", f) : NULL;
    if (!own) {
        data_close(d);
        return NULL;
    }
    *own = *l;
    *l = (Listing){.root = NULL};
    d->bytes += listing_bytes(own);
    d->own = own;
    d->read = listed_read;
    d->identify = listed_identify;
    d->draw = listed_draw;
    d->close = listed_close;
    return d;
}
