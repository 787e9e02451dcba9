/* compile.c: a net on the fastest schedule that its memory allows. */
#include "amdimc.h"

Program *compile(Arena *a, Diagnostics *d, const Net *n, const Choices *c)
{
    Program *p = n->spec->target.memory.v
                     ? compile_within(a, d, n, c)
                     : compile_schedule(a, n, c, (Schedule){.recompute = RECOMPUTE_BUDGET});
    if (!p)
        return NULL;
    p->canonical = spec_canonical(a, n->spec);
    p->digest = digest_of(a, p->canonical);
    p->triple = "native";
    return p;
}

Program *compile_without_openblas(Arena *a, Diagnostics *d, const Net *n, const Choices *c)
{
    Spec *s = ARENA_NEW(a, Spec);
    *s = *n->spec;
    s->target.blas.v = "none";
    const Net *same = net_build(a, d, s);
    Program *p = same ? compile(a, d, same, c) : NULL;
    if (!p)
        diag_note(d, (Mark){0},
                  "this is the model without OpenBLAS, which the folder has for machines that lack it");
    return p;
}

bool program_has_reference(const Program *p)
{
    return p->net->spec->target.precision == PRECISION_BFLOAT16;
}

Program *compile_reference(Arena *a, Diagnostics *d, const Net *n)
{
    Spec *s = ARENA_NEW(a, Spec);
    *s = *n->spec;
    s->target.precision = PRECISION_FLOAT32;
    s->target.blas.v = "none";
    s->target.memory.v = 0;
    const Net *same = net_build(a, d, s);
    Program *p = same ? compile(a, d, same, NULL) : NULL;
    if (p)
        p->is_reference = true;
    return p;
}
