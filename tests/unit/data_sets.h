/* data_sets.h: opening data sets that a test has written to a folder of its own. */
#ifndef DATA_SETS_H
#define DATA_SETS_H

#include "runtime.h"

/* Around each test. */
int data_begin(void **state);
int data_end(void **state);
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, data_begin, data_end)

const char *data_folder(void);
Dataset *opened(Split split, uint32_t limit); /* or the test fails */
/* Opening must fail, and the message hold both texts. */
void refused(Split split, const char *what, const char *where);
/* Image i in `channels` channels; freed by picture_free. */
Picture picture_of(const Dataset *d, uint32_t i, int channels);
/* What the toy model's `views` writes of a data set in the folder, whole, by malloc. */
char *views_of(const char *name, size_t *count);

#endif
