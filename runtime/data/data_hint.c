/* data_hint.c: what was probably meant by a folder in which no format was found, and what to do about it.
 * What cannot be looked into is not guessed about. */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { NAME = NAME_MAX + 1, MOST_FOLDERS = 200, MOST_ENTRIES = 1000 };

/* ---- looking ---- */

/* The mode of dir/name, links followed; 0 where that cannot be told. */
static mode_t mode_below(const char *dir, const char *name)
{
    struct stat status;
    char *path = path_join(dir, name);
    bool known = path && stat(path, &status) == 0;
    free(path);
    return known ? status.st_mode : 0;
}

static bool has_file(const char *dir, const char *name)
{
    return S_ISREG(mode_below(dir, name));
}

static bool has_folder(const char *dir, const char *name)
{
    return S_ISDIR(mode_below(dir, name));
}

/* Keeps the first name in byte order, so that the same folder always gives the same message. */
static void keep_first(char kept[NAME], const char *name)
{
    if (!*kept || strcmp(name, kept) < 0)
        snprintf(kept, NAME, "%s", name);
}

static bool ends_in(const char *name, const char *const *endings)
{
    size_t length = strlen(name);
    for (; *endings; endings++) {
        size_t tail = strlen(*endings);
        if (length > tail && strcasecmp(name + length - tail, *endings) == 0)
            return true;
    }
    return false;
}

static bool is_archive(const char *name)
{
    static const char *const endings[] = {".tar", ".tgz", ".txz", ".tbz", ".zip", ".7z",
                                          ".rar", ".gz",  ".xz",  ".bz2", ".zst", NULL};
    return ends_in(name, endings);
}

/* Arrays and records, in which other programs keep pictures. */
static bool is_foreign(const char *name)
{
    static const char *const endings[] = {".npy", ".npz",  ".pt",        ".pth",     ".pkl",   ".pickle",
                                          ".mat", ".h5",   ".hdf5",      ".parquet", ".arrow", ".tfrecord",
                                          ".mdb", ".lmdb", ".tfrecords", ".rec",     ".beton", NULL};
    return ends_in(name, endings);
}

/* Whether the first entries of a folder are pictures. */
static bool holds_pictures(DIR *folder)
{
    const struct dirent *entry;
    for (int i = 0; i < MOST_ENTRIES && (entry = readdir(folder)); i++)
        if (entry->d_name[0] != '.' && picture_is_read(entry->d_name))
            return true;
    return false;
}

/* What lies in a folder. The names are the first in byte order, or empty. */
typedef struct {
    uint32_t entries, pictures, folders;
    char archive[NAME], foreign[NAME];
    char class_folder[NAME]; /* a folder that holds pictures */
    char inner[NAME];        /* a folder that holds a data set */
    char closed[NAME];       /* a folder that cannot be read */
    Passed passed;
} Contents;

static void note_folder(Contents *c, const char *dir, const char *name, bool (*holds)(const char *dir))
{
    if (c->folders++ >= MOST_FOLDERS)
        return;
    char *path = path_join(dir, name);
    DIR *folder = path ? opendir(path) : NULL;
    if (!folder)
        keep_first(c->closed, name);
    else if (holds(path))
        keep_first(c->inner, name);
    else if (holds_pictures(folder))
        keep_first(c->class_folder, name);
    if (folder)
        closedir(folder);
    free(path);
}

static void note_file(Contents *c, const char *name)
{
    static const char *const labels[] = {".labels.npy", NULL}; /* of pictures, which are named instead */
    if (picture_is_read(name))
        c->pictures++;
    else
        passed_file(&c->passed, name);
    if (is_archive(name))
        keep_first(c->archive, name);
    if (is_foreign(name) && !ends_in(name, labels))
        keep_first(c->foreign, name);
}

static void note_entry(Contents *c, const char *dir, const struct dirent *entry,
                       bool (*holds)(const char *dir))
{
    if (entry->d_name[0] == '.')
        return;
    bool unsure = entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN;
    c->entries++;
    if (entry->d_type == DT_DIR || (unsure && has_folder(dir, entry->d_name)))
        note_folder(c, dir, entry->d_name, holds);
    else
        note_file(c, entry->d_name);
}

static bool look_into(Contents *c, const char *dir, bool (*holds)(const char *dir), Fault *f)
{
    *c = (Contents){.entries = 0};
    DIR *folder = opendir(dir);
    if (!folder)
        return fault_errno(f, "--data %s", dir);
    const struct dirent *entry;
    while (errno = 0, entry = readdir(folder))
        note_entry(c, dir, entry, holds);
    bool whole = errno == 0 || fault_errno(f, "--data %s", dir);
    closedir(folder);
    return whole;
}

/* ---- splits under other names ---- */

static bool stands_for(Split split, const char *name)
{
    static const char *const names[2][9] = {
        [SPLIT_TRAIN] = {"train", "training", "trainset", NULL},
        [SPLIT_TEST] = {"test", "testing", "testset", "val", "valid", "validation", "eval", "dev", NULL},
    };
    for (const char *const *known = names[split == SPLIT_TEST ? SPLIT_TEST : SPLIT_TRAIN]; *known; known++)
        if (strcasecmp(name, *known) == 0)
            return strcmp(name, "train") != 0 && strcmp(name, "test") != 0;
    return false;
}

bool data_split_elsewhere(const char *dir, Split split, char name[NAME])
{
    DIR *folder = opendir(dir);
    const struct dirent *entry;
    *name = '\0';
    while (folder && (entry = readdir(folder)))
        if (stands_for(split, entry->d_name) && has_folder(dir, entry->d_name))
            keep_first(name, entry->d_name);
    if (folder)
        closedir(folder);
    return *name != '\0';
}

/* ---- what may be wrong, the surest first; true: explained ---- */

static bool same(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The folder itself is train/ or test/ of a data set. */
static bool explain_split(const char *dir, Fault *f)
{
    static const char *const names[] = {"../train", "../test"};
    bool is_one = false;
    for (size_t i = 0; i < COUNT(names) && !is_one; i++) {
        char *path = path_join(dir, names[i]);
        is_one = path && same(dir, path);
        free(path);
    }
    if (is_one)
        fault(f, "--data %s: one split of a data set; give the folder above it, which holds train/ and test/",
              dir);
    return is_one;
}

static bool explain_python(const char *dir, Fault *f)
{
    bool ten = has_folder(dir, "cifar-10-batches-py") ||
               (has_file(dir, "data_batch_1") && has_file(dir, "batches.meta"));
    bool hundred = has_folder(dir, "cifar-100-python") || (has_file(dir, "train") && has_file(dir, "meta"));
    if (ten || hundred)
        fault(f,
              "--data %s: CIFAR-%s in its version for Python, which is not read; fetch the binary version, "
              "cifar-%s-binary.tar.gz, and unpack it here",
              dir, ten ? "10" : "100", ten ? "10" : "100");
    return ten || hundred;
}

static bool explain_inner(const char *dir, const Contents *c, Fault *f)
{
    if (*c->inner)
        fault(f, "--data %s: the data set lies in a folder below; give %s%s%s", dir, dir,
              dir[strlen(dir) - 1] == '/' ? "" : "/", c->inner);
    return *c->inner;
}

static bool explain_name(const char *dir, Fault *f)
{
    char name[NAME];
    bool train = data_split_elsewhere(dir, SPLIT_TRAIN, name);
    if (train || data_split_elsewhere(dir, SPLIT_TEST, name))
        fault(f, "--data %s: no folder train/, but %s/; %s: ln -s '%s' '%s/%s'", dir, name,
              train ? "if it is to be that, link it" : "add train/CLASS/ with pictures, and link this one",
              name, dir, train ? "train" : "test");
    return *name;
}

/* "Unpack it there", or that it is no use. */
static void write_archive(const char *what, const char *name, Fault *f)
{
    static const char *const tars[] = {".tar",    ".tgz",     ".txz",     ".tbz", ".tar.gz",
                                       ".tar.xz", ".tar.bz2", ".tar.zst", NULL};
    static const char *const zips[] = {".zip", NULL}, *const packed[] = {".gz", ".xz", ".bz2", ".zst", NULL};
    const char *with = ends_in(name, tars) ? " (tar -xf)" : ends_in(name, zips) ? " (unzip)" : "";
    if (strstr(name, "cifar") && strstr(name, "python"))
        fault(f, "%s: CIFAR in its version for Python, which is not read; fetch the binary version", what);
    else if (ends_in(name, packed) && !ends_in(name, tars))
        fault(f, "%s: a file that is packed; unpack it (gunzip, unxz, bunzip2, unzstd)", what);
    else
        fault(f, "%s: an archive that is not unpacked; unpack it%s and give the folder it makes%s", what,
              with, ends_in(name, tars) ? "; one of KEY.jpg and KEY.cls may stay a tar file (gunzip)" : "");
}

static bool explain_archive(const char *dir, const Contents *c, Fault *f)
{
    if (!*c->archive)
        return false;
    char what[sizeof f->text / 2];
    snprintf(what, sizeof what, "--data %s: no pictures found, but %s", dir, c->archive);
    write_archive(what, c->archive, f);
    return true;
}

static bool explain_foreign(const char *dir, const Contents *c, Fault *f)
{
    static const char *const arrays[] = {".npy", NULL};
    if (ends_in(c->foreign, arrays))
        fault(f, "--data %s: no pictures found, but %s; give that file itself, or name it train.npy", dir,
              c->foreign);
    else if (*c->foreign)
        fault(f,
              "--data %s: no pictures found, but %s, a kind of file that is not read; write JPEG or PNG "
              "files from it, as train/CLASS/x.png and test/CLASS/x.png",
              dir, c->foreign);
    return *c->foreign;
}

/* What is in a folder that cannot be read may be what was looked for. */
static bool explain_closed(const char *dir, const Contents *c, Fault *f)
{
    if (!*c->closed)
        return false;
    char *path = path_join(dir, c->closed);
    DIR *folder = path ? opendir(path) : NULL;
    if (!folder)
        fault_errno(f, "--data %s: no pictures found, but %s/ cannot be read", dir, c->closed);
    else
        closedir(folder);
    free(path);
    return !folder;
}

/* Not one of the formats: how it looks. */
static void explain_listing(const char *dir, const Contents *c, const char *formats, Fault *f)
{
    char text[PASSED_TEXT];
    passed_text(&c->passed, text);
    if (c->entries == 0)
        fault(f, "--data %s: an empty folder; it may hold %s", dir, formats);
    else if (*text)
        fault(f, "--data %s: no pictures found, but %s; it may hold %s", dir, text, formats);
    else
        fault(f, "--data %s: no pictures found; it may hold %s", dir, formats);
}

bool data_is_else(const char *dir, bool (*holds)(const char *dir), Fault *f)
{
    Contents c;
    if (explain_split(dir, f) || explain_python(dir, f) || !look_into(&c, dir, holds, f))
        return true;
    return explain_inner(dir, &c, f) || explain_name(dir, f);
}

void data_explain(const char *dir, bool (*holds)(const char *dir), const char *formats, Fault *f)
{
    if (explain_split(dir, f) || explain_python(dir, f))
        return;
    Contents c;
    if (!look_into(&c, dir, holds, f))
        return;
    if (explain_inner(dir, &c, f) || explain_name(dir, f) || explain_archive(dir, &c, f) ||
        explain_foreign(dir, &c, f) || explain_closed(dir, &c, f))
        return;
    explain_listing(dir, &c, formats, f);
}

/* ---- a file in place of a folder ---- */

/* The folder that a file lies in, where that is a data set; by malloc, or NULL. */
static char *set_around(const char *path, bool (*holds)(const char *dir))
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (dir && holds(dir))
        return dir;
    free(dir);
    return NULL;
}

void data_explain_file(const char *path, mode_t mode, bool (*holds)(const char *dir), Fault *f)
{
    char what[sizeof f->text / 2];
    snprintf(what, sizeof what, "--data %s", path);
    char *around = S_ISREG(mode) ? set_around(path, holds) : NULL;
    if (!S_ISREG(mode))
        fault(f, "%s: %s, not a folder; give the folder that holds the pictures", what, file_kind(mode));
    else if (around)
        fault(f, "%s: a file, not a folder; give the folder that it lies in, %s", what, around);
    else if (is_archive(path))
        write_archive(what, path, f);
    else if (is_foreign(path))
        fault(f,
              "%s: a file, not a folder, and of a kind that is not read; give a folder of JPEG or PNG files, "
              "train/CLASS/x.png and test/CLASS/x.png",
              what);
    else
        fault(f, "%s: a file, not a folder; give the folder that holds the pictures", what);
    free(around);
}
