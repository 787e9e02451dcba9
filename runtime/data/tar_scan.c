/* tar_scan.c: where the pictures of tar files lie, which belong to one key, and what labels they have. */
#include "data_tar_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void scan_free(TarScan *s)
{
    free(s->blocks);
    free(s->seconds);
    free(s->labels);
    free(s->unlabelled);
}

static bool no_memory(const TarScan *s, Fault *f)
{
    return fault(f, "%s: out of memory for the places of %u pictures; use fewer", s->file->path,
                 s->count + 1);
}

static bool resize_places(uint32_t **places, size_t capacity)
{
    uint32_t *larger = realloc(*places, capacity * sizeof *larger);
    *places = larger ? larger : *places;
    return larger != NULL;
}

/* To what is used; a block that cannot be made smaller stays as it is. */
static void trim_places(TarScan *s)
{
    if (s->count > 0 && resize_places(&s->blocks, s->count) && s->are_pairs)
        resize_places(&s->seconds, s->count);
}

static bool make_room(TarScan *s, Fault *f)
{
    if (s->count < s->capacity)
        return true;
    const size_t capacity = 2 * s->capacity + 1024;
    if (s->count == UINT32_MAX || !resize_places(&s->blocks, capacity) ||
        (s->are_pairs && !resize_places(&s->seconds, capacity)))
        return no_memory(s, f);
    uint16_t *labels = realloc(s->labels, capacity * sizeof *labels);
    if (!labels)
        return no_memory(s, f);
    s->labels = labels;
    s->capacity = capacity;
    return true;
}

static bool refuse_mixture(const TarScan *s, Fault *f)
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
static bool end_key(TarScan *s, Fault *f)
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
    if (!make_room(s, f) ||
        (labelled && !labelling_find(s->labelling, s->file->path, s->key, s->label, &s->labels[s->count], f)))
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

static bool read_label(TarScan *s, const TarMember *m, Fault *f)
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

static bool take_picture(TarScan *s, const TarMember *m, ViewOfKey view, uint64_t at, Fault *f)
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
static bool take_file(TarScan *s, const TarMember *m, uint64_t at, Fault *f)
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

static bool scan_members(TarScan *s, Fault *f)
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

static bool scan_shard(TarScan *s, const char *dir, const char *name, Fault *f)
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

bool scan_shards(TarScan *s, const char *dir, Shard *shard, uint32_t shards, Fault *f)
{
    for (uint32_t i = 0; i < shards; i++) {
        if (!scan_shard(s, dir, shard[i].name, f))
            return false;
        shard[i].until = s->count;
    }
    trim_places(s);
    return !s->labelled || !s->unlabelled ||
           fault(f, "%s: a picture without a .cls beside it, where others have one; add it", s->unlabelled);
}
