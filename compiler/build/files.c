/* files.c: folders and files that are written whole, or left alone where nothing changes. */
#include "build.h"
#include "support.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_BYTES = 64 << 20 }; /* of a source, a header, libamdim.a */
static const char is_the_spec[] = "is the spec itself; give the output another name";

bool is_directory(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool build_directory(Arena *a, const char *path)
{
    char *partial = arena_copy(a, path, strlen(path));
    for (char *c = partial + (*partial == '/');; c++) {
        char end = *c;
        if (end && end != '/')
            continue;
        *c = 0;
        if (!is_directory(partial) && mkdir(partial, 0777) &&
            !(errno == EEXIST && is_directory(partial))) { /* another process may have made it meanwhile */
            errno = errno == EEXIST ? ENOTDIR : errno;
            return system_failed(partial);
        }
        *c = end;
        if (!end)
            return true;
    }
}

const char *parent_of(Arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? "." : arena_copy(a, path, slash == path ? 1 : (size_t)(slash - path));
}

const char *as_operand(Arena *a, const char *path)
{
    return *path == '-' || *path == '@' ? arena_printf(a, "./%s", path) : path;
}

/* A whole file; NULL when it has said why. */
static const char *read_file(Arena *a, const char *path, size_t *length)
{
    const char *why, *text = input_read(a, path, MOST_BYTES, length, &why);
    if (!text)
        build_failed(path, why);
    return text;
}

const char *build_read(Arena *a, const char *path)
{
    size_t length;
    return read_file(a, path, &length);
}

static bool is_written(Arena *a, const char *path, const char *text, size_t length)
{
    size_t there_length;
    const char *why, *there = input_read(a, path, length + 1, &there_length, &why);
    return there && there_length == length && !memcmp(there, text, length);
}

bool build_is_equal(Arena *a, const char *left, const char *right)
{
    size_t length;
    const char *why, *text = input_read(a, left, MOST_BYTES, &length, &why);
    return text && is_written(a, right, text, length);
}

bool build_begins(Arena *a, const char *path, const char *text)
{
    size_t length;
    const char *why, *begin = input_read(a, path, strlen(text), &length, &why);
    return begin && !strcmp(begin, text);
}

bool build_fault(const Fault *f)
{
    if (strstr(f->text, strerror(ENOMEM)))
        out_of_memory();
    say("amdimc: error: %s", f->text);
    return false;
}

static bool write_file(Arena *a, const Build *b, const char *path, const char *text, size_t length)
{
    NewFile file;
    Fault f;
    if (file_is_same(path, b->spec))
        return build_failed(path, is_the_spec);
    if (is_written(a, path, text, length))
        return true;
    if (!file_create(&file, path, &f))
        return build_fault(&f);
    fwrite(text, 1, length, file.stream); /* file_commit knows of what failed */
    return file_commit(&file, &f) || build_fault(&f);
}

bool build_write_bytes(Arena *a, const Build *b, const char *path, const void *bytes, size_t count)
{
    return write_file(a, b, path, bytes, count);
}

bool build_write_text(Arena *a, const Build *b, const char *path, const char *text)
{
    return write_file(a, b, path, text, strlen(text));
}

bool build_copy(Arena *a, const Build *b, const char *from, const char *to, const char *name)
{
    size_t length = 0;
    const char *text = read_file(a, arena_printf(a, "%s/%s", from, name), &length);
    return text && write_file(a, b, arena_printf(a, "%s/%s", to, name), text, length);
}

bool build_lock(const char *folder)
{
    /* Kept by what stands between us and clang, which is not executed anew; not by what clang may leave
     * behind. */
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return system_failed(folder);
    if (!flock(descriptor, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK)
        return true; /* or there are no locks on that file system */
    say("amdimc: note: another compiler is at work in %s; waiting for it", folder);
    return !flock(descriptor, LOCK_EX) || system_failed(folder);
}

/* ---- what does not stay ---- */

static const char *temporary;
static bool temporary_is_folder;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *position)
{
    (void)st, (void)type, (void)position;
    return remove(path);
}

/* Tried again, as it takes memory. */
static bool remove_folder(const char *path)
{
    enum { OPEN_FOLDERS = 8 };
    return !nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) || errno == ENOENT ||
           !nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) || errno == ENOENT;
}

bool temporary_remove(bool good)
{
    const char *path = temporary;
    temporary = NULL;
    if (!path)
        return good;
    bool removed = temporary_is_folder ? remove_folder(path) : !unlink(path) || errno == ENOENT;
    return good && (removed || system_failed(path));
}

/* Once nobody is left to write there. */
static void remove_at_exit(void)
{
    children_end();
    (void)temporary_remove(false);
}

void temporary_begin(const char *path, bool is_folder)
{
    static bool is_registered;
    if (!is_registered && atexit(remove_at_exit))
        out_of_memory();
    is_registered = true;
    temporary = path;
    temporary_is_folder = is_folder;
}

/* ---- what may be written ---- */

/* *ours: whether it is a part of the compiler. False, which is said, where that cannot be found out. */
static bool find_ours(Arena *a, const Build *b, const char *path, bool *ours)
{
    const char *const folders[] = {b->templates, b->runtime, b->support};
    *ours = (strchr(b->cc, '/') && file_is_same(path, b->cc)) || file_is_same(path, b->library) ||
            file_is_same(path, "/proc/self/exe");
    for (size_t i = 0; i < COUNT(folders); i++) {
        Words all = {.arena = a};
        if (!files_below(&all, folders[i]))
            return false;
        for (int j = 0; j < all.count; j++)
            *ours |= file_is_same(path, arena_printf(a, "%s/%s", folders[i], all.word[j]));
    }
    return true;
}

/* What is there already, by that name or another. */
static bool may_overwrite(Arena *a, const Build *b, const char *path)
{
    if (is_directory(path))
        return build_failed(path, "is a directory; name a file in it");
    if (file_is_same(path, b->spec))
        return build_failed(path, is_the_spec);
    if (b->weights && file_is_same(path, b->weights))
        return build_failed(path, "is the weights that are read; give the output another name");
    if (b->tuned && file_is_same(path, b->tuned))
        return build_failed(path, "is the choices that are read; give the output another name");
    struct stat st;
    if (!lstat(path, &st) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        return build_failed(path, "is a FIFO or a socket, not a file");
    bool ours;
    if (!find_ours(a, b, path, &ours))
        return false;
    return !ours || build_failed(path, "is a part of the compiler; give the output another name");
}

bool build_may_write(Arena *a, const Build *b, const char *path)
{
    const char *folder = parent_of(a, path);
    struct stat st;
    Fault f;
    if (!stat(path, &st)) {
        if (!may_overwrite(a, b, path))
            return false;
        if (!S_ISREG(st.st_mode)) /* /dev/null, a pipe behind /dev/stdout: nothing is put in a folder */
            return true;
    }
    if (b->gen_dir && !strcmp(folder, b->gen_dir)) /* will be there */
        return true;
    return file_may_be_made(path, &f) || build_fault(&f);
}

/* ---- listing ---- */

static bool is_source(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".c") || !strcmp(dot, ".h"));
}

static bool any_file(const char *name)
{
    return *name != '.';
}

/* Links are followed; one to nothing is no folder. */
static bool find_folder(const char *path, bool *found)
{
    struct stat st;
    bool there = !stat(path, &st);
    if (!there && errno != ENOENT)
        return system_failed(path);
    *found = there && S_ISDIR(st.st_mode);
    return true;
}

/* Those files whose names are taken. */
static bool list_files(Words *w, const char *root, const char *below, bool (*is_taken)(const char *name))
{
    struct dirent **entry;
    int count = scandir(arena_printf(w->arena, "%s/%s", root, below), &entry, NULL, alphasort);
    bool good = count >= 0 || system_failed(root);
    for (int i = 0; i < count; i++) {
        const char *name = entry[i]->d_name;
        const char *path = arena_printf(w->arena, "%s%s%s", below, *below ? "/" : "", name);
        bool is_folder = false;
        good = good && (*name == '.' || find_folder(arena_printf(w->arena, "%s/%s", root, path), &is_folder));
        if (is_folder)
            good = list_files(w, root, path, is_taken) && good;
        else if (is_taken(name))
            words_add(w, path);
        free(entry[i]);
    }
    if (count >= 0)
        free(entry);
    return good;
}

bool sources_below(Words *w, const char *root)
{
    return list_files(w, root, "", is_source);
}

bool files_below(Words *w, const char *root)
{
    return list_files(w, root, "", any_file);
}
