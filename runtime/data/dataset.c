/* dataset.c: an opened split, whatever its format. */
#include "runtime.h"
#include <stdlib.h>

Dataset *dataset_new(const char *format, uint32_t count, int classes, Fault *f)
{
    Dataset *d = allocate_zero(sizeof *d, "a data set", f);
    if (!d)
        return NULL;
    d->format = format;
    d->count = count;
    d->classes = classes;
    d->class_name = allocate_zero((size_t)classes * sizeof *d->class_name, "the names of the classes", f);
    d->label = allocate_zero((size_t)count * sizeof *d->label, "the labels of the pictures", f);
    d->index = allocate((size_t)count * sizeof *d->index, "the numbers of the pictures", f);
    if (!d->class_name || !d->label || !d->index) {
        data_close(d);
        return NULL;
    }
    d->bytes = (size_t)count * (sizeof *d->label + sizeof *d->index);
    for (uint32_t i = 0; i < count; i++)
        d->index[i] = i;
    return d;
}

void data_close(Dataset *d)
{
    if (!d)
        return;
    if (d->borrowed) {
        free(d);
        return;
    }
    if (d->close)
        d->close(d);
    for (int c = 0; d->class_name && c < d->classes; c++)
        free(d->class_name[c]);
    free(d->class_name);
    free(d->remark);
    free(d->label);
    free(d->index);
    free(d->held_label);
    free(d->held_index);
    free(d);
}
