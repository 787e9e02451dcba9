/* tree.c: see torture.h. Whoever cannot do as asked ends the process: it is the test that is broken then. */
#include "torture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_ROOM = 700 };

static void broken(const char *what, const char *path)
{
    fprintf(stderr, "the test itself cannot %s %s\n", what, path);
    exit(1);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind;
    return walk->level > 0 && remove(path) && errno != ENOENT;
}

/* A child of what was killed may still end, and remove or write its temporaries meanwhile. */
static void tree_empty(const char *folder)
{
    const struct timespec tenth = {.tv_nsec = 100000000};
    for (int tries = 0; nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); ++tries) {
        if (tries == 100)
            broken("empty", folder);
        nanosleep(&tenth, NULL);
    }
}

void tree_remove(const char *folder)
{
    tree_empty(folder);
    rmdir(folder);
}

char *file_bytes(const char *path, size_t *count)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0)
        return NULL;
    *count = (size_t)status.st_size;
    char *bytes = malloc(*count + 1);
    if (!bytes || read(file, bytes, *count) != (ssize_t)*count)
        broken("read", path);
    bytes[*count] = '\0';
    close(file);
    return bytes;
}

static void copy_file(const char *from, const char *to)
{
    size_t count;
    char *bytes = file_bytes(from, &count);
    int file = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (!bytes || file < 0 || write(file, bytes, count) != (ssize_t)count || close(file) != 0)
        broken("copy", from);
    free(bytes);
}

static void each_below(const char *folder, const char *name, bool folders, TreeVisit *visit, void *arg)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    DIR *listing = opendir(path);
    if (!listing)
        broken("list", path);
    for (struct dirent *entry; (entry = readdir(listing));) {
        char below[PATH_ROOM];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s%s%s", name, *name ? "/" : "", entry->d_name);
        bool is_folder = entry->d_type == DT_DIR;
        if (is_folder == folders)
            visit(arg, below);
        if (is_folder)
            each_below(folder, below, folders, visit, arg);
    }
    closedir(listing);
}

void tree_each(const char *folder, TreeVisit *visit, void *arg)
{
    each_below(folder, "", false, visit, arg);
}

typedef struct {
    const char *from, *to;
    bool folders;
} Copy;

static void copy_entry(void *arg, const char *name)
{
    const Copy *c = arg;
    char from[PATH_ROOM], to[PATH_ROOM];
    snprintf(from, sizeof from, "%s/%s", c->from, name);
    snprintf(to, sizeof to, "%s/%s", c->to, name);
    if (!c->folders)
        copy_file(from, to);
    else if (mkdir(to, 0777) != 0)
        broken("make", to);
}

void tree_copy(const char *from, const char *to)
{
    if (mkdir(to, 0777) != 0)
        tree_empty(to);
    each_below(from, "", true, copy_entry, &(Copy){from, to, true});
    each_below(from, "", false, copy_entry, &(Copy){from, to, false});
}

bool file_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

bool files_equal(const char *a, const char *b)
{
    size_t count[2] = {0, 0};
    char *bytes[2] = {file_bytes(a, &count[0]), file_bytes(b, &count[1])};
    bool equal = bytes[0] && bytes[1] && count[0] == count[1] && memcmp(bytes[0], bytes[1], count[0]) == 0;
    free(bytes[0]);
    free(bytes[1]);
    return equal;
}
