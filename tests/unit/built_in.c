/* built_in.c: see built_in.h. */
#include "built_in.h"
#include "runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void built_in_pictures(int count, int size, uint8_t *pixels)
{
    Fault f;
    Picture p = {0};
    Dataset *d = data_open(NULL, SPLIT_TRAIN, 0, &f);
    assert_non_null(d);
    for (int i = 0; i < count; i++) {
        assert_true(d->read(d, (uint32_t)i, 1, &p, &f) && p.width >= size);
        const int margin = (p.width - size) / 2;
        for (int y = 0; y < size; y++, pixels += size)
            memcpy(pixels, p.pixels + (y + margin) * p.width + margin, (size_t)size);
    }
    picture_free(&p);
    data_close(d);
}
