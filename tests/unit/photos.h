/* photos.h: smooth pictures in colour that tests know, as a data set of the scratch folder (samples.h). */
#ifndef PHOTOS_H
#define PHOTOS_H

#include <stdint.h>

/* Picture `number`, (side, side, 3): each of another colour and place. */
void photo_draw(int side, int number, uint8_t *to);
/* The first `count` as FOLDER/SPLIT/a/00.png, ..., of one class. */
void photos_write(const char *folder, const char *split, int side, int count);

#endif
