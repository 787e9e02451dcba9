/* layout.c: tensors in PyTorch's order and in ours (portable/layout.c). */
#include "runtime.h"
#include <string.h>

void layout_inward(const AmdimTensor *t, const float *torch, float *ours)
{
    if (t->rank == 4)
        layout_weight_inward(t->dims[0], t->dims[1], t->dims[2] * t->dims[3], torch, ours);
    else
        memcpy(ours, torch, t->count * sizeof *ours);
}

void layout_outward(const AmdimTensor *t, const float *ours, float *torch)
{
    if (t->rank == 4)
        layout_weight_outward(t->dims[0], t->dims[1], t->dims[2] * t->dims[3], ours, torch);
    else
        memcpy(torch, ours, t->count * sizeof *torch);
}
