/* data_flat.c: JPEG and PNG files in one folder, in the order of their names; they have no labels. */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>

bool flat_find(const char *dir, bool *found, Fault *f)
{
    *found = false;
    DIR *folder = opendir(dir);
    if (!folder)
        return errno == ENOTDIR || fault_errno(f, "--data %s", dir);
    const struct dirent *entry;
    while (!*found && (errno = 0, entry = readdir(folder)))
        *found = entry->d_name[0] != '.' && entry->d_type != DT_DIR && picture_is_read(entry->d_name);
    const bool known = *found || errno == 0 || fault_errno(f, "--data %s", dir);
    closedir(folder);
    return known;
}

static bool say_passed(Dataset *d, const Passed *passed, Fault *f)
{
    char text[PASSED_TEXT];
    passed_text(passed, text);
    if (!*text || asprintf(&d->remark, "passed over: %s", text) >= 0)
        return true;
    d->remark = NULL;
    return fault(f, "out of memory for what is passed over; free some");
}

Dataset *flat_open(const DataRequest *r, Fault *f)
{
    Listing l;
    Passed passed = {.other = 0};
    Dataset *d = NULL;
    if (!listing_begin(&l, r->dir, r, f))
        return NULL;
    if (walk_flat(&l, &passed, f))
        d = listed_new("flat folder of pictures", 1, &l, f);
    listing_free(&l);
    if (!d)
        return NULL;
    d->unlabelled = d->undivided = true;
    if (say_passed(d, &passed, f) && pairs_join(d, "flat folder of pairs of pictures", f))
        return d;
    data_close(d);
    return NULL;
}
