/* tar_shards.c: which tar files a folder has, and of which split each is by its name. */
#include "data_tar_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char ending[] = ".tar";

void shard_list_free(Shard *shard, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(shard[i].name);
    free(shard);
}

void shards_free(Shards *s)
{
    free(s->dir);
    free(s->packed);
    for (int split = 0; split < 2; split++)
        shard_list_free(s->shard[split], s->shards[split]);
}

static bool out_of_names(const char *dir, Fault *f)
{
    return fault(f, "%s: out of memory for the names of its files; free some", dir);
}

static bool add_shard(Shards *s, Split split, const char *name, Fault *f)
{
    const uint32_t count = s->shards[split];
    Shard *larger = realloc(s->shard[split], (count + 1) * sizeof *larger);
    if (!larger)
        return out_of_names(s->dir, f);
    s->shard[split] = larger;
    larger[count] = (Shard){.name = strdup(name)};
    s->shards[split] += larger[count].name != NULL;
    return larger[count].name || out_of_names(s->dir, f);
}

static bool is_packed(const char *name)
{
    static const char *const endings[] = {".tar.gz", ".tgz", ".tar.bz2", ".tbz",
                                          ".tar.xz", ".txz", ".tar.zst"};
    bool is = false;
    for (size_t i = 0; i < COUNT(endings); i++)
        is |= name_ends_in(name, endings[i]);
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

static bool keep_packed(Shards *s, const char *name, Fault *f)
{
    if (s->packed && strcmp(s->packed, name) <= 0)
        return true;
    free(s->packed);
    return (s->packed = strdup(name)) || out_of_names(s->dir, f);
}

/* Where `named`, only those that are of a split by their names; else all, for the training split. */
static bool note_name(Shards *s, const char *name, bool named, Fault *f)
{
    const int split = named ? split_of(name) : SPLIT_TRAIN;
    const bool packed = is_packed(name);
    bool found;
    if (*name == '.' || (!packed && !name_ends_in(name, ending)))
        return true;
    if (!data_file_find(s->dir, name, &found, f))
        return false;
    if (!found)
        return true;
    if (split == 2) {
        s->others += !packed;
        return true;
    }
    return packed ? keep_packed(s, name, f) : add_shard(s, (Split)split, name, f);
}

static bool list_folder(Shards *s, bool named, Fault *f)
{
    DIR *folder = opendir(s->dir);
    if (!folder)
        return fault_errno(f, "%s", s->dir);
    const struct dirent *entry;
    bool listed = true;
    while (listed && (errno = 0, entry = readdir(folder)))
        listed = note_name(s, entry->d_name, named, f);
    if (listed && errno != 0)
        listed = fault_errno(f, "%s", s->dir);
    closedir(folder);
    for (int split = 0; split < 2; split++)
        if (s->shards[split] > 0)
            qsort(s->shard[split], s->shards[split], sizeof *s->shard[split], by_name);
    return listed;
}

static bool place_file(Shards *s, const char *path, Fault *f)
{
    const char *slash = strrchr(path, '/');
    s->dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    s->alone = true;
    return s->dir ? add_shard(s, SPLIT_TRAIN, slash ? slash + 1 : path, f) : out_of_names(path, f);
}

bool shards_find(Shards *s, const char *path, Fault *f)
{
    mode_t mode;
    *s = (Shards){.dir = NULL};
    if (!data_look(path, &mode, f))
        return false;
    if (S_ISREG(mode))
        return !name_ends_in(path, ending) || place_file(s, path, f);
    if (!S_ISDIR(mode))
        return true;
    s->dir = strdup(path);
    if (!s->dir)
        return out_of_names(path, f);
    if (!list_folder(s, true, f))
        return false;
    if (s->shards[SPLIT_TRAIN] + s->shards[SPLIT_TEST] > 0 || s->others == 0)
        return true;
    s->others = 0;
    return list_folder(s, false, f);
}
