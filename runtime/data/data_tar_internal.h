/* data_tar_internal.h: what data_tar.c is made of: a folder's shards, the pictures in them, their classes. */
#ifndef DATA_TAR_INTERNAL_H
#define DATA_TAR_INTERNAL_H

#include "runtime.h"

/* ---- tar_shards.c: the archives of a folder, or the one given ---- */

typedef struct {
    char *name;     /* in the folder */
    uint32_t until; /* the number after its last picture */
} Shard;
typedef struct {
    char *dir;
    Shard *shard[2]; /* by split, by name */
    uint32_t shards[2];
    char *packed;    /* a compressed one, the first by name */
    uint32_t others; /* of no split by their names, where others are of one */
    bool alone;      /* one FILE.tar */
} Shards;
/* Without shards: there are none. Freed in either case. */
bool shards_find(Shards *s, const char *path, Fault *f);
void shards_free(Shards *s);
void shard_list_free(Shard *shard, uint32_t count);

/* ---- tar_labels.c: classes, numbered as they come ---- */

typedef struct {
    char *name;
    uint16_t number;
} ClassName;
typedef enum { LABELS_UNKNOWN, LABELS_NUMBERS, LABELS_NAMES } LabelKind;
/* What both splits share. */
typedef struct {
    LabelKind kind;
    uint32_t numbers; /* of numbers: one more than the largest */
    ClassName *entry; /* (names) of names: by name */
    uint32_t names;
    size_t capacity;
    bool complete; /* a name that is not here is wrong */
} Labelling;
/* The class that KEY.cls of an archive holds: its number, or that of its name among the names so far. */
bool labelling_find(Labelling *l, const char *archive, const char *key, const char *label, uint16_t *number,
                    Fault *f);
uint32_t labelling_classes(const Labelling *l);
/* Names a set's classes and numbers them in byte order. Takes the names. */
bool labelling_end(Labelling *l, Dataset *d, Fault *f);
void labelling_free(Labelling *l);

/* ---- tar_scan.c: a split's members, one after another ---- */

enum { LABEL_ROOM = 256 };
/* KEY.jpg, KEY.1.jpg, KEY.2.jpg. */
typedef enum { VIEW_ALONE, VIEW_FIRST, VIEW_SECOND, VIEWS_OF_KEY } ViewOfKey;
typedef struct {
    Labelling *labelling;
    const DataFile *file; /* the shard under way */
    /* Of the key under way: */
    char key[TAR_NAME], label[LABEL_ROOM];
    bool has_label, has_view[VIEWS_OF_KEY];
    uint32_t block[VIEWS_OF_KEY];
    /* Of all pictures: */
    bool are_pairs;
    uint32_t *blocks, *seconds; /* seconds: of pairs */
    uint16_t *labels;
    uint32_t count, labelled;
    size_t capacity;
    char *unlabelled; /* the first one without a label, by malloc */
    Passed passed;
} TarScan;
/* Of all shards, whose `until` it sets. Places are in blocks of TAR_BLOCK bytes. Freed in either case. */
bool scan_shards(TarScan *s, const char *dir, Shard *shard, uint32_t shards, Fault *f);
void scan_free(TarScan *s);

#endif
