/* cmd_encode.c: features of a split as FILE.npy, and the labels beside it as FILE.labels.npy.
 * Where pictures have none, none are left there.
 *
 * f_1 is (N, channels); phi_d is (N, R, d, d), f_d itself (N, channels, d, d), in PyTorch's order, and so are
 * the pictures themselves, (N, C, H, W). Features go to the file batch by batch. */
#include "runtime.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    NpyWriter file;
    const AmdimFeature *feature;
    float *planes; /* one image's features, channels first */
} Encoding;

static bool give_batch(void *sink, uint32_t first, uint32_t count, const float *features, Fault *f)
{
    (void)first; /* batches come in order */
    Encoding *e = sink;
    int pixels = e->feature->side * e->feature->side;
    size_t floats = (size_t)pixels * (size_t)e->feature->channels;
    for (uint32_t i = 0; i < count; i++) {
        planes_from_pixels(features + i * floats, pixels, e->feature->channels, e->planes);
        if (!npy_give(&e->file, e->planes, floats * sizeof(float), f))
            return false;
    }
    return true;
}

/* f_1 is the representation, where it is trained. */
static const AmdimFeature *find_feature(const AmdimModel *m, int scale, bool raw, Fault *f)
{
    char scales[256] = "";
    const bool is_representation = raw && scale == 1 && feature_of_scale(m, 1, false);
    const AmdimFeature *found = is_representation ? &m->feature[0] : feature_of_scale(m, scale, raw);
    if (found)
        return found;
    for (int i = 0; i < m->features; i++) {
        size_t used = strlen(scales);
        if (m->feature[i].scale > 0 && !m->feature[i].raw)
            snprintf(scales + used, sizeof scales - used, "%s%d", used ? ", " : "", m->feature[i].scale);
    }
    fault(f, "no pair of %s trains scale %d; the scales it has: %s", m->name, scale, scales);
    return NULL;
}

/* No encoder: a batch of pictures stays what it is. */
static const float *unchanged(AmdimPool *pool, char *arena, const float *params, const float *x)
{
    (void)pool, (void)arena, (void)params;
    return x;
}

static AmdimFeature picture_feature(const AmdimModel *m)
{
    enum { IMAGES = 32 };
    return (AmdimFeature){.images = IMAGES, .side = m->size, .channels = m->channels, .run = unchanged};
}

/* A pipe or a device has nothing beside it, and standard output has not, whatever it is. */
static bool has_labels_beside(const char *path)
{
    struct stat found;
    return !file_is_output(path) && (stat(path, &found) != 0 || S_ISREG(found.st_mode));
}

/* Written before the features are made, so that only two renames lie between those of before and both new. */
static bool write_labels(NpyWriter *w, const Dataset *d, const char *path, Fault *f)
{
    const int64_t dims[1] = {d->count};
    if (!npy_open(w, path, "<i8", 1, dims, f))
        return false;
    for (uint32_t i = 0; i < d->count; i++) {
        int64_t label = d->label[i];
        if (!npy_give(w, &label, sizeof label, f))
            return false;
    }
    return file_flush(&w->file, f);
}

/* Labels of what the file held before would be taken for its own. */
static bool remove_labels(const char *path, Fault *f)
{
    if (unlink(path) == 0)
        note("%s is removed: these pictures have no labels", path);
    else if (errno != ENOENT)
        return fault_errno(f, "%s: the labels of other pictures; cannot remove them", path);
    return true;
}

/* A map, of four dimensions, where a scale was asked for. */
static bool write_features(Machine *k, const AmdimFeature *feature, bool is_map, const Dataset *d,
                           const char *path, Fault *f)
{
    Encoding e = {.feature = feature};
    int64_t dims[4] = {d->count, feature->channels, feature->side, feature->side};
    size_t floats = (size_t)feature->channels * (size_t)feature->side * (size_t)feature->side;
    e.planes = allocate(floats * sizeof(float), "an image's features", f);
    bool ok = e.planes && npy_open(&e.file, path, "<f4", is_map ? 4 : 2, dims, f);
    if (ok) {
        ok = features_each(k, feature, d, give_batch, &e, f) && npy_commit(&e.file, f);
        npy_discard(&e.file);
    }
    free(e.planes);
    return ok;
}

static bool encode(Machine *k, const AmdimFeature *feature, bool is_map, const Dataset *d, const char *path,
                   Fault *f)
{
    if (!has_labels_beside(path))
        return write_features(k, feature, is_map, d, path, f);
    NpyWriter labels = {.given = 0};
    char *labels_path = npy_labels_path(path);
    bool ok = (labels_path || fault(f, "out of memory for a file name")) &&
              (d->unlabelled || write_labels(&labels, d, labels_path, f)) &&
              write_features(k, feature, is_map, d, path, f) &&
              (d->unlabelled ? remove_labels(labels_path, f) : npy_commit(&labels, f));
    npy_discard(&labels);
    free(labels_path);
    return ok;
}

static bool encode_split(Machine *k, const AmdimFeature *feature, const Options *o, Fault *f)
{
    Split split = strcmp(o->split, "train") == 0 ? SPLIT_TRAIN : SPLIT_TEST;
    const DataRequest request = {.dir = o->data,
                                 .split = split,
                                 .limit = o->limit > 0 ? (uint32_t)o->limit : 0,
                                 .limits_test = true,
                                 .coarse = o->coarse,
                                 .holdout = o->holdout,
                                 .whole = !o->split_given};
    Dataset *d = data_request(&request, f);
    if (!d)
        return false;
    if (o->data)
        data_say(d, split);
    bool ok = encode(k, feature, o->scale > 0 || o->pixels, d, o->out, f);
    const char *part = d->undivided && !o->split_given ? "the data set, which has no splits"
                       : split == SPLIT_TEST           ? "the test split"
                                                       : "the train split";
    if (ok)
        say_written(o->out, "%s %u images of %s; %s in %s", o->pixels ? "prepared" : "encoded",
                    (unsigned)d->count, part, o->pixels ? "pixels" : "features", o->out);
    data_close(d);
    return ok;
}

int command_encode(const AmdimModel *m, const Options *o, Fault *f)
{
    Machine k;
    signals_watch();
    const AmdimFeature pixels = picture_feature(m);
    const AmdimFeature *feature = o->pixels ? &pixels : find_feature(m, o->scale, o->raw, f);
    if (!feature || !machine_new(&k, m, o->threads, f))
        return 1;
    if (machine_rests(&k, "encode")) {
        machine_free(&k);
        return 0;
    }
    bool ok = (o->pixels || weights_load(m, o->weights, k.params, f)) && encode_split(&k, feature, o, f);
    machine_free(&k);
    return exit_code(ok);
}
