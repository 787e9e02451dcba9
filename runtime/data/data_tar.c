/* data_tar.c: tar files as webdataset has them: KEY.jpg, .jpeg or .png, with KEY.cls beside it, which holds
 * the class as a number or a name. The key is a member's path up to the first point of its name; what belongs
 * to one key lies together. KEY.1.jpg with KEY.2.jpg are one image's two views.
 *
 * Held are the places of the pictures' headers, a number each; pictures are read from the archives as they
 * lie. Shards are taken by name in byte order. Where a name begins with train or test it is of that split;
 * where none does, all are of the training split. */
#include "data_tar_internal.h"

#include <stdlib.h>
#include <string.h>

static const char format[] = "tar files of pictures", format_of_pairs[] = "tar files of pairs of pictures";

typedef struct {
    char *dir;
    Shard *shard;
    uint32_t shards;
    uint32_t *block;  /* (pictures) where each one's first header begins, in blocks */
    uint32_t *second; /* (pictures) of pairs: the same of the second view */
} Archives;

static void archives_free(Archives *a)
{
    shard_list_free(a->shard, a->shards);
    free(a->dir);
    free(a->block);
    free(a->second);
}

static const Shard *shard_of(const Archives *a, uint32_t picture)
{
    uint32_t low = 0, high = a->shards - 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (a->shard[middle].until <= picture)
            low = middle + 1;
        else
            high = middle;
    }
    return &a->shard[low];
}

/* ---- reading ---- */

/* Of the picture's views the one whose places are in `block`. */
static bool open_member(const Archives *a, uint32_t picture, const uint32_t *block, DataFile *file,
                        TarMember *m, Fault *f)
{
    if (!data_file_open(file, a->dir, shard_of(a, picture)->name, f))
        return false;
    if (tar_member(m, file, (uint64_t)block[picture] * TAR_BLOCK, f)) {
        if (!m->end && tar_is_regular(m) && picture_is_read(m->name))
            return true;
        fault(f, "%s: the file has changed while in use; begin again", file->path);
    }
    data_file_close(file);
    return false;
}

static bool decode_member(const DataFile *file, const TarMember *m, int channels, Picture *out, Fault *f)
{
    char *name;
    if (m->bytes == 0)
        return fault(f, "%s: %s: an empty file, not a picture; replace or remove it", file->path, m->name);
    if (asprintf(&name, "%s: %s", file->path, m->name) < 0)
        return fault(f, "%s: out of memory for the name of a picture; free some", file->path);
    bool done = decode_picture_file(out, file->descriptor, m->offset, m->bytes, channels, name, f);
    free(name);
    return done;
}

static bool read_view(const Dataset *d, uint32_t i, const uint32_t *block, int channels, Picture *out,
                      Fault *f)
{
    DataFile file;
    TarMember m;
    if (!open_member(d->own, d->index[i], block, &file, &m, f))
        return false;
    bool done = decode_member(&file, &m, channels, out, f);
    data_file_close(&file);
    return done;
}

static bool tar_read(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    return read_view(d, i, ((const Archives *)d->own)->block, channels, out, f);
}

static bool tar_read_second(const Dataset *d, uint32_t i, int channels, Picture *out, Fault *f)
{
    return read_view(d, i, ((const Archives *)d->own)->second, channels, out, f);
}

/* Names and sizes of some pictures; how they are dealt out to shards does not count. */
static bool tar_identify(const Dataset *d, Fingerprint *p, Fault *f)
{
    const Archives *a = d->own;
    for (int c = 0; c < d->classes; c++)
        fingerprint_text(p, d->class_name[c] ? d->class_name[c] : "");
    for (uint32_t nth = 0; nth < fingerprint_samples(d); nth++)
        for (const uint32_t *block = a->block; block; block = block == a->block ? a->second : NULL) {
            DataFile file;
            TarMember m;
            if (!open_member(a, d->index[fingerprint_sample(d, nth)], block, &file, &m, f))
                return false;
            data_file_close(&file);
            fingerprint_text(p, m.name);
            fingerprint_number(p, m.bytes);
        }
    return true;
}

static void tar_close(Dataset *d)
{
    archives_free(d->own);
    free(d->own);
}

/* ---- opening ---- */

bool tar_find(const char *dir, bool *found, Fault *f)
{
    Shards all;
    bool known = shards_find(&all, dir, f);
    *found = known && all.shards[SPLIT_TRAIN] + all.shards[SPLIT_TEST] > 0;
    shards_free(&all);
    return known;
}

static bool say_passed(Dataset *d, const Shards *all, const TarScan *s, Fault *f)
{
    char text[PASSED_TEXT];
    Passed passed = s->passed;
    passed.other += all->others;
    passed_text(&passed, text);
    if (!*text || asprintf(&d->remark, "passed over: %s", text) >= 0)
        return true;
    d->remark = NULL;
    return fault(f, "%s: out of memory for a remark; free some", all->dir);
}

static bool label_pictures(Dataset *d, const TarScan *s, Fault *f)
{
    if (s->labelled)
        memcpy(d->label, s->labels, d->count * sizeof *d->label);
    return !s->labelled || labelling_end(s->labelling, d, f);
}

/* Takes the shards and the places. */
static bool take_archives(Dataset *d, Shards *all, TarScan *s, Split split, Fault *f)
{
    Archives *own = allocate(sizeof *own, "a data set", f);
    if (!own)
        return false;
    *own = (Archives){all->dir, all->shard[split], all->shards[split], s->blocks, s->seconds};
    d->bytes += sizeof *own->block * s->count * (s->seconds ? 2 : 1) + own->shards * sizeof *own->shard;
    for (uint32_t i = 0; i < own->shards; i++)
        d->bytes += strlen(own->shard[i].name) + 1;
    all->dir = NULL;
    all->shard[split] = NULL;
    all->shards[split] = 0;
    s->blocks = s->seconds = NULL;
    d->own = own;
    d->read = tar_read;
    d->read_second = own->second ? tar_read_second : NULL;
    d->identify = tar_identify;
    d->close = tar_close;
    return true;
}

static Dataset *make_dataset(Shards *all, TarScan *s, Split split, Fault *f)
{
    const uint32_t classes = s->labelled ? labelling_classes(s->labelling) : 1;
    const bool undivided = all->shards[SPLIT_TEST] == 0;
    Dataset *d = dataset_new(s->are_pairs ? format_of_pairs : format, s->count, (int)classes, f);
    if (d && say_passed(d, all, s, f) && label_pictures(d, s, f) && take_archives(d, all, s, split, f)) {
        d->unlabelled = !s->labelled;
        d->undivided = undivided;
        return d;
    }
    data_close(d);
    return NULL;
}

/* The training split numbers the names; the number of numbered classes is that of both splits. */
static Dataset *open_split(Shards *all, Split split, Fault *f)
{
    Labelling labelling = {.kind = LABELS_UNKNOWN};
    TarScan scan[2] = {{.labelling = &labelling}, {.labelling = &labelling}};
    Dataset *d = NULL;
    bool done =
        scan_shards(&scan[SPLIT_TRAIN], all->dir, all->shard[SPLIT_TRAIN], all->shards[SPLIT_TRAIN], f);
    const bool test_counts = split == SPLIT_TEST || labelling.kind == LABELS_NUMBERS;
    labelling.complete = labelling.kind == LABELS_NAMES;
    if (done && test_counts)
        done = scan_shards(&scan[SPLIT_TEST], all->dir, all->shard[SPLIT_TEST], all->shards[SPLIT_TEST], f);
    if (done)
        d = make_dataset(all, &scan[split], split, f);
    scan_free(&scan[SPLIT_TRAIN]);
    scan_free(&scan[SPLIT_TEST]);
    labelling_free(&labelling);
    return d;
}

static bool check_shards(const Shards *all, const char *path, Split split, Fault *f)
{
    if (all->packed)
        return fault(f,
                     "%s/%s: a compressed tar file beside others, and cannot be read as it lies; unpack it "
                     "(gunzip, bunzip2, unxz, unzstd)",
                     all->dir, all->packed);
    if (all->shards[SPLIT_TRAIN] == 0)
        return fault(f, "%s: tar files named test..., but none named train...; add them", path);
    return split != SPLIT_TEST || all->shards[SPLIT_TEST] > 0 ||
           fault(f,
                 "%s: no tar file named test..., such as test-0000.tar, so there is no test split; add "
                 "one%s, or hold out a tenth: --holdout 0.1",
                 path, all->alone ? ", and give the folder of both" : "");
}

Dataset *tar_open(const DataRequest *r, Fault *f)
{
    Shards all;
    Dataset *d = NULL;
    if (shards_find(&all, r->dir, f)) {
        const Split split = holdout_opens(r, all.shards[SPLIT_TEST] > 0);
        if (check_shards(&all, r->dir, split, f))
            d = open_split(&all, split, f);
    }
    shards_free(&all);
    return d;
}
