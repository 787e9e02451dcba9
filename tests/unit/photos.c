/* photos.c: see photos.h. */
#include "photos.h"
#include "samples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void photo_draw(int side, int number, uint8_t *to)
{
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            for (int c = 0; c < 3; c++)
                *to++ = (uint8_t)(127.5 + 127 * sin(0.2 * (number + 1) * (x + c) +
                                                    0.15 * y * (number % 3 - 1) + number));
}

void photos_write(const char *folder, const char *split, int side, int count)
{
    for (int i = 0; i < count; i++) {
        uint8_t *pixels = malloc((size_t)(side * side * 3));
        char name[128];
        photo_draw(side, i, pixels);
        Sample png = sample_png((PngKind){side, side, 8, 2, 0}, pixels, NULL);
        snprintf(name, sizeof name, "%s/%s/a/%02d.png", folder, split, i);
        scratch_write(name, png.bytes, png.count);
        free(png.bytes);
        free(pixels);
    }
}
