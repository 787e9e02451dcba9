/* explain_memory.c: what lies in the arena while each operation of the step runs, and the parts of the peak.
 *
 * Values that share memory in place count once, as the one that was written last. */
#include "explain.h"

const char *const purpose_names[PURPOSES] = {"activations", "scores", "gradients", "scratch"};

/* `purpose` is by the number of the value whose memory it is. */
static void write_value(const Graph *g, Purpose *purpose, const Value *v, Purpose what)
{
    if (!v)
        return;
    if (g->value[v->home]->home != v->home)
        bug("%s takes over memory that was taken over", v->name);
    purpose[v->home] = what;
}

static Moment moment_at(const Graph *g, const Purpose *purpose, int op)
{
    Moment m = {0};
    for (int i = 0; i < g->values; i++) {
        const Value *v = g->value[i];
        if (v->kind != VALUE_TEMPORARY || v->home != i || op < v->first || op > v->last)
            continue;
        m.bytes[purpose[i]] += v->bytes;
        m.live += v->bytes;
    }
    return m;
}

void explain_arena(Arena *a, Explanation *e)
{
    const Graph *g = e->program->step;
    Purpose *purpose = ARENA_ARRAY(a, Purpose, g->values);
    e->moment = ARENA_ARRAY(a, Moment, g->ops);
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        for (int j = 0; j < OP_OUTPUTS; j++)
            write_value(g, purpose, op->out[j],
                        op->kind == OP_BUFFER && i > e->forward_ops ? PURPOSE_GRADIENTS
                                                                    : op_purpose(op->kind));
        write_value(g, purpose, op->scratch, PURPOSE_SCRATCH);
        e->moment[i] = moment_at(g, purpose, i);
        if (e->moment[i].live > e->moment[e->fullest].live)
            e->fullest = i;
    }
}

void explain_memory(const Explanation *e, MemoryPart part[MEMORY_PARTS])
{
    const PeakMemory *peak = &e->program->peak;
    const Moment *full = &e->moment[e->fullest];
    const bool is_library = e->program->net->spec->target.is_library,
               is_static = e->program->net->spec->target.is_static;
    const MemoryPart parts[MEMORY_PARTS] = {
        {"weights", peak->weights, "parameters and running statistics"},
        {"optimizer", peak->optimizer, "moments"},
        {"activations", full->bytes[PURPOSE_ACTIVATIONS], "arena: maps and embeddings"},
        {"scores", full->bytes[PURPOSE_SCORES], "arena: scores of pairs, their gradients, losses"},
        {"gradients", full->bytes[PURPOSE_GRADIENTS], "arena: of maps and weights"},
        {"scratch", full->bytes[PURPOSE_SCRATCH], "arena: of the operation or chunk that runs"},
        {"unused", peak->arena - full->live, "arena: what is free then"},
        {"pictures", peak->pictures,
         is_library ? "a batch of views, source locations"
                    : "two batches of views, one in use and one being made"},
        {"threads", peak->threads, is_library ? "scratch of the one" : "stacks, buffers and scratch of each"},
        {"program", peak->program,
         is_library  ? "not counted: code lies in flash"
         : is_static ? "code, file buffers"
                     : "code, shared libraries, file buffers"},
        {"meetings", peak->meetings, "of shares: what is exchanged, MPI"},
        {"data", peak->data, is_library ? "the caller's" : "index of 100,000 files, pictures being decoded"},
    };
    for (int i = 0; i < MEMORY_PARTS; i++)
        part[i] = parts[i];
}
