/* views.h: models, pictures and views for the tests of augmenting. */
#ifndef VIEWS_H
#define VIEWS_H

#include "runtime.h"

/* Two views, mean 0, std 1, every augmentation off. */
AmdimModel plain_model(int size, int channels);
/* A workspace serves every model of its size, channels and widest blur; the last one asked for is kept. */
Workspace *workspace_for(const AmdimModel *m);
int free_workspace(void **state); /* for the end of a group of tests */
/* A view of epoch 0, in workspace_for(m). */
void make_view(const AmdimModel *m, const Picture *p, uint64_t seed, uint32_t image, int view, float *out);

Picture new_picture(int width, int height, int channels);
Picture random_picture(int width, int height, int channels);
Picture constant_picture(int size, uint8_t red, uint8_t green, uint8_t blue);

void assert_close(double a, double b, double tolerance);

#endif
