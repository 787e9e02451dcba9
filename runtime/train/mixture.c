/* mixture.c: the antecedents that a pair compares with its consequents, made one location at a time where a
 * step's own are gone or were never made. Sums are in double. */
#include "runtime.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int antecedents_of(const AmdimModel *m, const AmdimPair *pair)
{
    return pair->mixture ? m->mixture.components : 1;
}

static const float *weight_of(const AmdimModel *m, const float *params, int tensor)
{
    return params + m->tensor[tensor].offset;
}

/* out (columns) = x (rows) times w (rows, columns), where x is not zero. */
static void multiply(const double *x, const float *w, int rows, int columns, double *out)
{
    memset(out, 0, (size_t)columns * sizeof *out);
    for (int i = 0; i < rows; i++, w += columns)
        for (int j = 0; j < columns; j++)
            out[j] += x[i] * w[j];
}

/* `room` has space for dim + hidden + components * dim numbers. */
static void make_components(const AmdimModel *m, const float *params, const float *phi, double *room,
                            float *out)
{
    const AmdimMixture *x = &m->mixture;
    const int dim = m->embedding_dim, all = x->components * dim;
    double *from = room, *hidden = from + dim, *added = hidden + x->hidden;
    for (int i = 0; i < dim; i++)
        from[i] = phi[i];
    multiply(from, weight_of(m, params, x->conv1), dim, x->hidden, hidden);
    for (int i = 0; i < x->hidden; i++)
        hidden[i] = hidden[i] < 0 ? 0 : hidden[i]; /* which leaves what is no number */
    multiply(hidden, weight_of(m, params, x->conv2), x->hidden, all, added);
    for (int i = 0; i < all; i++)
        out[i] = (float)(from[i % dim] + added[i]);
}

bool antecedents(const AmdimModel *m, const AmdimPair *pair, const float *params, const float *phi,
                 float *out, Fault *f)
{
    const size_t dim = (size_t)m->embedding_dim;
    if (!pair->mixture) {
        memcpy(out, phi, dim * sizeof *out);
        return true;
    }
    const size_t components = (size_t)m->mixture.components;
    double *room =
        allocate((dim + (size_t)m->mixture.hidden + components * dim) * sizeof *room, "a mixture", f);
    if (room)
        make_components(m, params, phi, room, out);
    free(room);
    return room != NULL;
}
