/* data_tar.c: tar files as webdataset has them: KEY.jpg, .jpeg or .png, with KEY.cls beside it, which holds
 * the class as a number or a name. The key is a member's path up to the first point of its name; what belongs
 * to one key lies together. KEY.1.jpg with KEY.2.jpg are one image's two views.
 *
 * Held are the places of the pictures' headers, a number each; pictures are read from the archives as they
 * lie. Shards are taken by name in byte order. Where a name begins with train or test it is of that split;
 * where none does, all are of the training split. */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_CLASSES = UINT16_MAX + 1, LABEL_ROOM = 256 };

static const char format[] = "tar files of pictures", format_of_pairs[] = "tar files of pairs of pictures",
                  ending[] = ".tar";

/* ---- names of classes, numbered as they come ---- */

typedef struct {
    char *name;
    uint16_t number;
} ClassName;

typedef struct {
    ClassName *entry; /* (count) by name */
    uint32_t count;
    size_t capacity;
    bool complete; /* a name that is not here is wrong */
} ClassNames;

static void names_free(ClassNames *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        free(n->entry[i].name);
    free(n->entry);
}

/* Where it is, or belongs. */
static uint32_t names_place(const ClassNames *n, const char *name)
{
    uint32_t low = 0, high = n->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (strcmp(n->entry[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool names_add(ClassNames *n, uint32_t place, const char *name)
{
    if (n->count == n->capacity) {
        const size_t capacity = 2 * n->capacity + 16;
        ClassName *larger = realloc(n->entry, capacity * sizeof *larger);
        if (!larger)
            return false;
        n->entry = larger;
        n->capacity = capacity;
    }
    char *own = strdup(name);
    if (!own)
        return false;
    memmove(n->entry + place + 1, n->entry + place, (n->count - place) * sizeof *n->entry);
    n->entry[place] = (ClassName){own, (uint16_t)n->count++};
    return true;
}

/* ---- archives ---- */

typedef struct {
    char *name;     /* in the folder */
    uint32_t until; /* the number after its last picture */
} Shard;

typedef struct {
    char *dir;
    Shard *shard;
    uint32_t shards;
    uint32_t *block;  /* (pictures) where each one's first header begins, in blocks */
    uint32_t *second; /* (pictures) of pairs: the same of the second view */
} Archives;

static void shards_free(Shard *shard, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(shard[i].name);
    free(shard);
}

static void archives_free(Archives *a)
{
    shards_free(a->shard, a->shards);
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

/* ---- a split's members, one after another ---- */

typedef enum { LABELS_UNKNOWN, LABELS_NUMBERS, LABELS_NAMES } LabelKind;

/* KEY.jpg, KEY.1.jpg, KEY.2.jpg. */
typedef enum { VIEW_ALONE, VIEW_FIRST, VIEW_SECOND, VIEWS_OF_KEY } ViewOfKey;

/* What both splits share. */
typedef struct {
    ClassNames names;
    LabelKind kind;
    uint32_t numbers; /* one more than the largest */
} Labelling;

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
} Scan;

static void scan_free(Scan *s)
{
    free(s->blocks);
    free(s->seconds);
    free(s->labels);
    free(s->unlabelled);
}

static bool no_memory(const Scan *s, Fault *f)
{
    return fault(f, "%s: out of memory for the places of %u pictures; use fewer", s->file->path,
                 s->count + 1);
}

static bool grow_places(uint32_t **places, size_t capacity)
{
    uint32_t *larger = realloc(*places, capacity * sizeof *larger);
    *places = larger ? larger : *places;
    return larger != NULL;
}

static bool make_room(Scan *s, Fault *f)
{
    if (s->count < s->capacity)
        return true;
    const size_t capacity = 2 * s->capacity + 1024;
    if (s->count == UINT32_MAX || !grow_places(&s->blocks, capacity) ||
        (s->are_pairs && !grow_places(&s->seconds, capacity)))
        return no_memory(s, f);
    uint16_t *labels = realloc(s->labels, capacity * sizeof *labels);
    if (!labels)
        return no_memory(s, f);
    s->labels = labels;
    s->capacity = capacity;
    return true;
}

/* A decimal number below MAX_CLASSES; -1: it is a name; -2: it is too large. */
static long label_number(const char *text)
{
    if (text[strspn(text, "0123456789")] != '\0')
        return -1;
    errno = 0;
    const unsigned long number = strtoul(text, NULL, 10);
    return errno == 0 && number < MAX_CLASSES ? (long)number : -2;
}

static bool find_name(Scan *s, uint16_t *label, Fault *f)
{
    ClassNames *n = &s->labelling->names;
    const uint32_t place = names_place(n, s->label);
    if (place == n->count || strcmp(n->entry[place].name, s->label) != 0) {
        if (n->complete)
            return fault(f,
                         "%s: %s.cls: '%s', a class that the training split lacks; remove it or add it there",
                         s->file->path, s->key, s->label);
        if (n->count == MAX_CLASSES)
            return fault(f, "%s: %s.cls: more than %d classes; use fewer", s->file->path, s->key,
                         MAX_CLASSES);
        if (!names_add(n, place, s->label))
            return no_memory(s, f);
    }
    *label = n->entry[place].number;
    return true;
}

/* Of the key under way, as its number among the names so far or as the number that it is. */
static bool find_label(Scan *s, uint16_t *label, Fault *f)
{
    Labelling *l = s->labelling;
    const long number = label_number(s->label);
    const LabelKind kind = number == -1 ? LABELS_NAMES : LABELS_NUMBERS;
    if (number == -2)
        return fault(f, "%s: %s.cls: class %s; 0 to %d are possible", s->file->path, s->key, s->label,
                     MAX_CLASSES - 1);
    if (l->kind != LABELS_UNKNOWN && l->kind != kind)
        return fault(f, "%s: %s.cls: '%s', a %s, but the classes before it are %ss; use one of both",
                     s->file->path, s->key, s->label, kind == LABELS_NAMES ? "name" : "number",
                     kind == LABELS_NAMES ? "number" : "name");
    l->kind = kind;
    if (kind == LABELS_NAMES)
        return find_name(s, label, f);
    if ((uint32_t)number >= l->numbers)
        l->numbers = (uint32_t)number + 1;
    *label = (uint16_t)number;
    return true;
}

static bool refuse_mixture(const Scan *s, Fault *f)
{
    return fault(
        f,
        s->are_pairs
            ? "%s: %s: one picture, where the keys before it have two views, KEY.1 and KEY.2; use one "
              "of both"
            : "%s: %s: two views, where the keys before it have one picture; use one of both",
        s->file->path, s->key);
}

/* The key under way is complete. What makes no picture of it, such as a label alone, is passed over. */
static bool end_key(Scan *s, Fault *f)
{
    const bool alone = s->has_view[VIEW_ALONE], first = s->has_view[VIEW_FIRST],
               second = s->has_view[VIEW_SECOND], pair = !alone && first && second, labelled = s->has_label;
    memset(s->has_view, 0, sizeof s->has_view);
    s->has_label = false;
    if (!pair)
        s->passed.other += first + second;
    if (!alone && !pair) {
        s->passed.other += labelled;
        return true;
    }
    if (s->count > 0 && pair != s->are_pairs)
        return refuse_mixture(s, f);
    s->are_pairs = pair;
    if (!make_room(s, f) || (labelled && !find_label(s, &s->labels[s->count], f)))
        return false;
    if (!labelled && !s->unlabelled && asprintf(&s->unlabelled, "%s: %s", s->file->path, s->key) < 0) {
        s->unlabelled = NULL;
        return no_memory(s, f);
    }
    s->labelled += labelled;
    s->blocks[s->count] = s->block[pair ? VIEW_FIRST : VIEW_ALONE];
    if (pair)
        s->seconds[s->count] = s->block[VIEW_SECOND];
    s->count++;
    return true;
}

static bool read_label(Scan *s, const TarMember *m, Fault *f)
{
    const char *const path = s->file->path;
    if (s->has_label)
        return fault(f, "%s: %s: a second label of the same key; remove one", path, m->name);
    if (m->bytes >= LABEL_ROOM)
        return fault(f, "%s: %s: %llu bytes; a number or a name of a class has %d at most", path, m->name,
                     (unsigned long long)m->bytes, LABEL_ROOM - 1);
    char text[LABEL_ROOM];
    if (!data_file_read(s->file, text, (size_t)m->bytes, m->offset, f))
        return false;
    text[m->bytes] = '\0';
    size_t length = strlen(text), front = strspn(text, " \t\r\n");
    const bool zero = length < m->bytes;
    while (length > front && strchr(" \t\r\n", text[length - 1]))
        length--;
    text[length] = '\0';
    if (zero || length == front || strpbrk(text + front, "\r\n"))
        return fault(f, "%s: %s: neither a number nor the name of a class, a line; replace or remove it",
                     path, m->name);
    memcpy(s->label, text + front, length - front + 1);
    s->has_label = true;
    return true;
}

static bool take_picture(Scan *s, const TarMember *m, ViewOfKey view, uint64_t at, Fault *f)
{
    if (s->has_view[view])
        return fault(f, "%s: %s: a second picture of the same key; give each a key of its own", s->file->path,
                     m->name);
    if (at / TAR_BLOCK > UINT32_MAX)
        return fault(f, "%s: more than 2 TiB; write several", s->file->path);
    s->has_view[view] = true;
    s->block[view] = (uint32_t)(at / TAR_BLOCK);
    return true;
}

/* Of what follows a key: .EXT, .1.EXT or .2.EXT; else false. */
static bool is_view(const char *ends, ViewOfKey *view)
{
    const char *last = strrchr(ends, '.');
    const bool numbered = last - ends == 2 && (ends[1] == '1' || ends[1] == '2');
    *view = !numbered ? VIEW_ALONE : ends[1] == '1' ? VIEW_FIRST : VIEW_SECOND;
    return numbered || last == ends;
}

/* A regular file, whose header begins at `at`. */
static bool take_file(Scan *s, const TarMember *m, uint64_t at, Fault *f)
{
    const char *slash = strrchr(m->name, '/'), *name = slash ? slash + 1 : m->name;
    const char *point = strchr(name, '.');
    if (*name == '.') {
        passed_hidden(&s->passed, name, false);
        return true;
    }
    const size_t length = point ? (size_t)(point - m->name) : strlen(m->name);
    if (strncmp(s->key, m->name, length) != 0 || s->key[length] != '\0') {
        if (!end_key(s, f))
            return false;
        memcpy(s->key, m->name, length);
        s->key[length] = '\0';
    }
    ViewOfKey view;
    if (point && strcasecmp(point, ".cls") == 0)
        return read_label(s, m, f);
    if (point && is_view(point, &view) && picture_is_read(name))
        return take_picture(s, m, view, at, f);
    passed_file(&s->passed, name);
    return true;
}

static bool scan_members(Scan *s, Fault *f)
{
    TarMember m;
    s->key[0] = '\0';
    for (uint64_t at = 0; tar_member(&m, s->file, at, f); at = m.next) {
        if (m.end)
            return end_key(s, f) && tar_check_end(s->file, m.offset, f);
        if (tar_is_regular(&m)) {
            if (!take_file(s, &m, at, f))
                return false;
        } else if (m.type != '5') /* folders */
            s->passed.other++;
        if (signals_received())
            return fault(f, "stopped by a signal");
    }
    return false;
}

static bool scan_shard(Scan *s, const char *dir, const char *name, Fault *f)
{
    DataFile file;
    if (!data_file_open(&file, dir, name, f))
        return false;
    s->file = &file;
    bool done = tar_refuse_packed(&file, f) && scan_members(s, f);
    s->file = NULL;
    data_file_close(&file);
    return done;
}

static bool scan_split(Scan *s, const char *dir, Shard *shard, uint32_t shards, Fault *f)
{
    for (uint32_t i = 0; i < shards; i++) {
        if (!scan_shard(s, dir, shard[i].name, f))
            return false;
        shard[i].until = s->count;
    }
    return !s->labelled || !s->unlabelled ||
           fault(f, "%s: a picture without a .cls beside it, where others have one; add it", s->unlabelled);
}

/* ---- finding ---- */

/* The archives of a folder, or the one given. */
typedef struct {
    char *dir;
    Shard *shard[2]; /* by split, by name */
    uint32_t shards[2];
    char *packed; /* a compressed one, the first by name */
    uint32_t others;
    bool alone;
} Place;

static void place_free(Place *p)
{
    free(p->dir);
    free(p->packed);
    for (int split = 0; split < 2; split++)
        shards_free(p->shard[split], p->shards[split]);
}

static bool out_of_names(const char *dir, Fault *f)
{
    return fault(f, "%s: out of memory for the names of its files; free some", dir);
}

static bool add_shard(Place *p, Split split, const char *name, Fault *f)
{
    const uint32_t count = p->shards[split];
    Shard *larger = realloc(p->shard[split], (count + 1) * sizeof *larger);
    if (!larger)
        return out_of_names(p->dir, f);
    p->shard[split] = larger;
    larger[count] = (Shard){.name = strdup(name)};
    p->shards[split] += larger[count].name != NULL;
    return larger[count].name || out_of_names(p->dir, f);
}

static bool ends_in(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

static bool is_packed(const char *name)
{
    static const char *const endings[] = {".tar.gz", ".tgz", ".tar.bz2", ".tbz",
                                          ".tar.xz", ".txz", ".tar.zst"};
    bool is = false;
    for (size_t i = 0; i < COUNT(endings); i++)
        is |= ends_in(name, endings[i]);
    return is;
}

/* train-0000.tar, train.tar; trains.tar is not. */
static bool begins_with(const char *name, const char *word)
{
    const size_t length = strlen(word);
    const char next = strncmp(name, word, length) == 0 ? name[length] : 'x';
    return !((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z'));
}

/* 0, 1: of that split; 2: of none. */
static int split_of(const char *name)
{
    return begins_with(name, "train") ? SPLIT_TRAIN : begins_with(name, "test") ? SPLIT_TEST : 2;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Shard *)a)->name, ((const Shard *)b)->name);
}

static bool keep_packed(Place *p, const char *name, Fault *f)
{
    if (p->packed && strcmp(p->packed, name) <= 0)
        return true;
    free(p->packed);
    return (p->packed = strdup(name)) || out_of_names(p->dir, f);
}

/* Where `named`, only those that are of a split by their names; else all, for the training split. */
static bool note_name(Place *p, const char *name, bool named, Fault *f)
{
    const int split = named ? split_of(name) : SPLIT_TRAIN;
    const bool packed = is_packed(name);
    bool found;
    if (*name == '.' || (!packed && !ends_in(name, ending)))
        return true;
    if (!data_file_find(p->dir, name, &found, f))
        return false;
    if (!found)
        return true;
    if (split == 2) {
        p->others += !packed;
        return true;
    }
    return packed ? keep_packed(p, name, f) : add_shard(p, (Split)split, name, f);
}

static bool list_folder(Place *p, bool named, Fault *f)
{
    DIR *folder = opendir(p->dir);
    if (!folder)
        return fault_errno(f, "%s", p->dir);
    const struct dirent *entry;
    bool listed = true;
    while (listed && (errno = 0, entry = readdir(folder)))
        listed = note_name(p, entry->d_name, named, f);
    if (listed && errno != 0)
        listed = fault_errno(f, "%s", p->dir);
    closedir(folder);
    for (int split = 0; split < 2; split++)
        if (p->shards[split] > 0)
            qsort(p->shard[split], p->shards[split], sizeof *p->shard[split], by_name);
    return listed;
}

static bool place_file(Place *p, const char *path, Fault *f)
{
    const char *slash = strrchr(path, '/');
    p->dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    p->alone = true;
    return p->dir ? add_shard(p, SPLIT_TRAIN, slash ? slash + 1 : path, f) : out_of_names(path, f);
}

/* Without shards: there are none. */
static bool find_place(Place *p, const char *path, Fault *f)
{
    mode_t mode;
    *p = (Place){.dir = NULL};
    if (!data_look(path, &mode, f))
        return false;
    if (S_ISREG(mode))
        return !ends_in(path, ending) || place_file(p, path, f);
    if (!S_ISDIR(mode))
        return true;
    p->dir = strdup(path);
    if (!p->dir)
        return out_of_names(path, f);
    if (!list_folder(p, true, f))
        return false;
    if (p->shards[SPLIT_TRAIN] + p->shards[SPLIT_TEST] > 0 || p->others == 0)
        return true;
    p->others = 0;
    return list_folder(p, false, f);
}

bool tar_find(const char *dir, bool *found, Fault *f)
{
    Place p;
    bool known = find_place(&p, dir, f);
    *found = known && p.shards[SPLIT_TRAIN] + p.shards[SPLIT_TEST] > 0;
    place_free(&p);
    return known;
}

/* ---- opening ---- */

static bool say_passed(Dataset *d, const Place *p, const Scan *s, Fault *f)
{
    char text[PASSED_TEXT];
    Passed passed = s->passed;
    passed.other += p->others;
    passed_text(&passed, text);
    if (!*text || asprintf(&d->remark, "passed over: %s", text) >= 0)
        return true;
    d->remark = NULL;
    return out_of_names(p->dir, f);
}

/* Names are numbered in byte order. Takes them. */
static bool label_by_names(Dataset *d, ClassNames *names, Fault *f)
{
    uint16_t *number = allocate(names->count * sizeof *number, "the names of the classes", f);
    if (!number)
        return false;
    for (uint32_t i = 0; i < names->count; i++) {
        number[names->entry[i].number] = (uint16_t)i;
        d->class_name[i] = names->entry[i].name;
        names->entry[i].name = NULL;
    }
    for (uint32_t i = 0; i < d->count; i++)
        d->label[i] = number[d->label[i]];
    free(number);
    return true;
}

static bool label_pictures(Dataset *d, const Scan *s, Fault *f)
{
    if (s->labelled)
        memcpy(d->label, s->labels, d->count * sizeof *d->label);
    return !s->labelled || s->labelling->kind != LABELS_NAMES || label_by_names(d, &s->labelling->names, f);
}

/* Takes the shards and the places. */
static bool take_archives(Dataset *d, Place *p, Scan *s, Split split, Fault *f)
{
    Archives *own = allocate(sizeof *own, "a data set", f);
    if (!own)
        return false;
    if (s->count > 0) { /* a block that cannot be made smaller stays as it is */
        grow_places(&s->blocks, s->count);
        if (s->seconds)
            grow_places(&s->seconds, s->count);
    }
    *own = (Archives){p->dir, p->shard[split], p->shards[split], s->blocks, s->seconds};
    d->bytes += s->count * (s->seconds ? 2 : 1) * sizeof *own->block + own->shards * sizeof *own->shard;
    for (uint32_t i = 0; i < own->shards; i++)
        d->bytes += strlen(own->shard[i].name) + 1;
    p->dir = NULL;
    p->shard[split] = NULL;
    p->shards[split] = 0;
    s->blocks = s->seconds = NULL;
    d->own = own;
    d->read = tar_read;
    d->read_second = own->second ? tar_read_second : NULL;
    d->identify = tar_identify;
    d->close = tar_close;
    return true;
}

static Dataset *make_dataset(Place *p, Scan *s, Split split, Fault *f)
{
    const Labelling *l = s->labelling;
    const uint32_t classes = !s->labelled ? 1 : l->kind == LABELS_NAMES ? l->names.count : l->numbers;
    const bool undivided = p->shards[SPLIT_TEST] == 0;
    Dataset *d = dataset_new(s->are_pairs ? format_of_pairs : format, s->count, (int)classes, f);
    if (d && say_passed(d, p, s, f) && label_pictures(d, s, f) && take_archives(d, p, s, split, f)) {
        d->unlabelled = !s->labelled;
        d->undivided = undivided;
        return d;
    }
    data_close(d);
    return NULL;
}

/* The training split numbers the names; the number of numbered classes is that of both splits. */
static Dataset *open_split(Place *p, Split split, Fault *f)
{
    Labelling labelling = {.kind = LABELS_UNKNOWN};
    Scan scan[2] = {{.labelling = &labelling}, {.labelling = &labelling}};
    Dataset *d = NULL;
    bool done = scan_split(&scan[SPLIT_TRAIN], p->dir, p->shard[SPLIT_TRAIN], p->shards[SPLIT_TRAIN], f);
    const bool test_counts = split == SPLIT_TEST || labelling.kind == LABELS_NUMBERS;
    labelling.names.complete = labelling.kind == LABELS_NAMES;
    if (done && test_counts)
        done = scan_split(&scan[SPLIT_TEST], p->dir, p->shard[SPLIT_TEST], p->shards[SPLIT_TEST], f);
    if (done)
        d = make_dataset(p, &scan[split], split, f);
    scan_free(&scan[SPLIT_TRAIN]);
    scan_free(&scan[SPLIT_TEST]);
    names_free(&labelling.names);
    return d;
}

static bool check_place(const Place *p, const char *path, Split split, Fault *f)
{
    if (p->packed)
        return fault(f,
                     "%s/%s: a compressed tar file beside others, and cannot be read as it lies; unpack it "
                     "(gunzip, bunzip2, unxz, unzstd)",
                     p->dir, p->packed);
    if (p->shards[SPLIT_TRAIN] == 0)
        return fault(f, "%s: tar files named test..., but none named train...; add them", path);
    return split != SPLIT_TEST || p->shards[SPLIT_TEST] > 0 ||
           fault(f,
                 "%s: no tar file named test..., such as test-0000.tar, so there is no test split; add "
                 "one%s, or hold out a "
                 "tenth: --holdout 0.1",
                 path, p->alone ? ", and give the folder of both" : "");
}

Dataset *tar_open(const DataRequest *r, Fault *f)
{
    Place p;
    Dataset *d = NULL;
    if (find_place(&p, r->dir, f)) {
        const Split split = holdout_opens(r, p.shards[SPLIT_TEST] > 0);
        if (check_place(&p, r->dir, split, f))
            d = open_split(&p, split, f);
    }
    place_free(&p);
    return d;
}
