/* tar_labels.c: the classes of pictures in tar files, which KEY.cls gives as numbers or as names. */
#include "data_tar_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = UINT16_MAX + 1 };

void labelling_free(Labelling *l)
{
    for (uint32_t i = 0; i < l->names; i++)
        free(l->entry[i].name);
    free(l->entry);
}

/* Where it is, or belongs. */
static uint32_t name_place(const Labelling *l, const char *name)
{
    uint32_t low = 0, high = l->names;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (strcmp(l->entry[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool add_name(Labelling *l, uint32_t place, const char *name)
{
    if (l->names == l->capacity) {
        const size_t capacity = 2 * l->capacity + 16;
        ClassName *larger = realloc(l->entry, capacity * sizeof *larger);
        if (!larger)
            return false;
        l->entry = larger;
        l->capacity = capacity;
    }
    char *own = strdup(name);
    if (!own)
        return false;
    memmove(l->entry + place + 1, l->entry + place, (l->names - place) * sizeof *l->entry);
    l->entry[place] = (ClassName){own, (uint16_t)l->names++};
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

static bool find_name(Labelling *l, const char *archive, const char *key, const char *label, uint16_t *number,
                      Fault *f)
{
    const uint32_t place = name_place(l, label);
    if (place == l->names || strcmp(l->entry[place].name, label) != 0) {
        if (l->complete)
            return fault(f,
                         "%s: %s.cls: '%s', a class that the training split lacks; remove it or add it there",
                         archive, key, label);
        if (l->names == MAX_CLASSES)
            return fault(f, "%s: %s.cls: more than %d classes; use fewer", archive, key, MAX_CLASSES);
        if (!add_name(l, place, label))
            return fault(f, "%s: out of memory for the names of %u classes; use fewer", archive,
                         l->names + 1);
    }
    *number = l->entry[place].number;
    return true;
}

bool labelling_find(Labelling *l, const char *archive, const char *key, const char *label, uint16_t *number,
                    Fault *f)
{
    const long given = label_number(label);
    const LabelKind kind = given == -1 ? LABELS_NAMES : LABELS_NUMBERS;
    if (given == -2)
        return fault(f, "%s: %s.cls: class %s; 0 to %d are possible", archive, key, label, MAX_CLASSES - 1);
    if (l->kind != LABELS_UNKNOWN && l->kind != kind)
        return fault(f, "%s: %s.cls: '%s', a %s, but the classes before it are %ss; use one of both", archive,
                     key, label, kind == LABELS_NAMES ? "name" : "number",
                     kind == LABELS_NAMES ? "number" : "name");
    l->kind = kind;
    if (kind == LABELS_NAMES)
        return find_name(l, archive, key, label, number, f);
    if ((uint32_t)given >= l->numbers)
        l->numbers = (uint32_t)given + 1;
    *number = (uint16_t)given;
    return true;
}

uint32_t labelling_classes(const Labelling *l)
{
    return l->kind == LABELS_NAMES ? l->names : l->numbers;
}

bool labelling_end(Labelling *l, Dataset *d, Fault *f)
{
    if (l->kind != LABELS_NAMES)
        return true;
    uint16_t *number = allocate(l->names * sizeof *number, "the names of the classes", f);
    if (!number)
        return false;
    for (uint32_t i = 0; i < l->names; i++) {
        number[l->entry[i].number] = (uint16_t)i;
        d->class_name[i] = l->entry[i].name;
        l->entry[i].name = NULL;
    }
    for (uint32_t i = 0; i < d->count; i++)
        d->label[i] = number[d->label[i]];
    free(number);
    return true;
}
