/* moments.c: an optimizer of which each process holds the moments of what it moves. */
#include "runtime.h"

bool optimizer_join(Optimizer *o, const AmdimModel *m, Company *c, Fault *f)
{
    *o = (Optimizer){.model = m, .floats = m->trained_floats, .company = c};
    return (c == NULL || company_optimizes(c, o, f)) && optimizer_allocate(o, f);
}

const float *optimizer_moment(const Optimizer *o, int kind, int tensor)
{
    if (o->company != NULL)
        return company_moments(o->company, kind, tensor);
    return o->moments + (size_t)kind * o->floats + o->model->tensor[tensor].offset;
}
