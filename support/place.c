/* place.c: whether something can be made where it shall go. Asked first, and again by the system in the end.
 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder that `path` lies in, by malloc. */
static char *folder_of(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length > 0 ? strndup(path, length) : strdup(".");
}

static bool is_folder(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return false;
    errno = ENOTDIR;
    return S_ISDIR(found.st_mode);
}

static bool lacks_folder(const char *path, const char *folder, Fault *f)
{
    const char *reason = strerror(errno);
    return errno == ENOENT
               ? fault(f,
                       "%s: no file can be made in its directory: %s; make %s first, or choose another place",
                       path, reason, folder)
               : fault(f, "%s: no file can be made in its directory: %s; choose another place", path, reason);
}

bool file_may_be_made(const char *path, Fault *f)
{
    struct stat found;
    bool there = stat(path, &found) == 0;
    if (!there && errno == ENAMETOOLONG)
        return fault_errno(f, "%s: no file can have this name", path);
    if (there && S_ISDIR(found.st_mode))
        return fault(f, "%s is a directory; name a file in it", path);
    if (there &&
        (!S_ISREG(found.st_mode) || file_is_output(path))) /* /dev/null, /dev/stdout: written as it is */
        return true;
    if (path[0] == '\0' || path[strlen(path) - 1] == '/')
        return fault(f, "\"%s\" is no name of a file", path);
    char *folder = folder_of(path);
    if (folder == NULL)
        return fault(f, "out of memory for the name of a folder");
    bool ok = (is_folder(folder) && access(folder, W_OK | X_OK) == 0) || lacks_folder(path, folder, f);
    free(folder);
    return ok;
}

/* `whole` is what shall be made in the end. */
static bool may_be_made_below(const char *path, const char *whole, Fault *f)
{
    struct stat found;
    if (stat(path, &found) == 0) {
        if (!S_ISDIR(found.st_mode))
            return !strcmp(path, whole) ? fault(f, "%s is no folder; choose another place", whole)
                                        : fault(f, "%s: %s is no folder; choose another place", whole, path);
        return access(path, W_OK | X_OK) == 0 ||
               fault_errno(f, "%s: choose another place; nothing can be made in the folder %s", whole, path);
    }
    if (errno != ENOENT && errno != ENOTDIR) /* the latter is found out above */
        return fault_errno(f, "%s: cannot look at %s", whole, path);
    char *folder = folder_of(path);
    if (folder == NULL)
        return fault(f, "out of memory for the name of a folder");
    bool ok = may_be_made_below(folder, whole, f);
    free(folder);
    return ok;
}

bool folder_may_be_made(const char *path, Fault *f)
{
    return path[0] == '\0' ? fault(f, "\"\" is no name of a folder") : may_be_made_below(path, path, f);
}
