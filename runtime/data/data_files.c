/* data_files.c: whether a file is one of the data, by where it lies, so that nothing is written over them. */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>

/* The path of a file that is there, links followed, begins with the folder's. */
static bool lies_in(const char *folder, const char *path)
{
    char *real_folder = realpath(folder, NULL), *real_path = realpath(path, NULL);
    const size_t length = real_folder ? strlen(real_folder) : 0;
    const bool lies = length > 0 && real_path && strncmp(real_path, real_folder, length) == 0 &&
                      (real_path[length] == '/' || real_folder[length - 1] == '/');
    free(real_folder);
    free(real_path);
    return lies;
}

/* An array by another name than a data set's (data_npy.c): a program has written it. */
static bool is_other_array(const char *path)
{
    static const char *const data[] = {"train.npy", "test.npy", "train.labels.npy", "test.labels.npy"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *point = strrchr(name, '.');
    bool is = point && strcmp(point, ".npy") == 0;
    for (size_t i = 0; i < COUNT(data); i++)
        is &= strcmp(name, data[i]) != 0;
    return is;
}

bool data_has_file(const char *dir, const char *path)
{
    char *labels = npy_labels_path(dir);
    const bool has = file_is_same(path, dir) || (is_other_array(dir) && file_is_same(path, labels)) ||
                     (lies_in(dir, path) && !is_other_array(path));
    free(labels);
    return has;
}
