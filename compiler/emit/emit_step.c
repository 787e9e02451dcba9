/* emit_step.c: the functions that run a list of operations: the training step with its chunks, and the
 * encoders. */
#include "emit.h"
#include "kernels/kernel.h"
#include <stdlib.h>
#include <string.h>

static bool names_params(const Emit *e, const Graph *g, int first, int end)
{
    for (int i = 0; i < g->values; i++)
        if (g->value[i]->param && is_named(e, g, g->value[i], first, end))
            return true;
    return false;
}

/* ---- chunks ---- */

/* Where a chunk's value lies in the step's memory: whole, or the chunk's images of it. */
static void emit_outer(Emit *e, const Value *v)
{
    fprintf(e->out, "    %s *const %s = (%s *)(void *)(s->arena + %zu)", value_type(v), v->name,
            value_type(v), v->outer->offset);
    if (v->outer->dims[0] != v->dims[0])
        fprintf(e->out, " + (size_t)chunk * %zu", value_count(v));
    fprintf(e->out, ";\n");
}

/* What the functions of a chunk, or of a part of it, begin with; its temporaries lie in the scratch of the
 * step's operation `of`. */
static void begin_chunk(Emit *e, const Op *of, int first, int end)
{
    const Graph *g = of->chunk;
    fprintf(e->out, "    AmdimPool *const pool = s->pool;\n");
    if (names_params(e, g, first, end))
        fprintf(e->out, "    const Params *const p = (const Params *)(const void *)s->params;\n");
    if (is_named(e, g, g->x, first, end))
        fprintf(e->out, "    const float *const x = s->x + (size_t)chunk * %zu;\n", value_count(g->x));
    if (of->scratch)
        fprintf(e->out, "    char *const arena = s->arena + %zu;\n", of->scratch->offset);
    for (int i = 0; i < g->values; i++)
        if (g->value[i]->kind == VALUE_OUTER && (!e->in_part || is_named(e, g, g->value[i], first, end)))
            emit_outer(e, g->value[i]);
    if (e->in_part)
        fprintf(e->out, "    (void)pool%s;\n", of->scratch ? ", (void)arena" : "");
}

static void begin_step(Emit *e, const Graph *g, int first, int end)
{
    fprintf(e->out, "    AmdimPool *const pool = s->pool;\n    char *const arena = s->arena;\n");
    if (names_params(e, g, first, end))
        fprintf(e->out, e->is_library
                            ? "    const Params *const p = (const Params *)(const void *)s->params;\n"
                            : "    Params *const p = (Params *)(void *)s->params;\n");
    if (is_named(e, g, g->x, first, end))
        fprintf(e->out, "    const float *const x = s->x;\n");
    for (int i = 0; i < g->net->located; i++)
        if (!e->in_part || is_named(e, g, g->location[i], first, end))
            fprintf(e->out, "    const int32_t *const %s = s->locations%s;\n", g->location[i]->name,
                    i == 0   ? ""
                    : i == 1 ? " + IMAGES"
                             : arena_printf(e->arena, " + %d * IMAGES", i));
    if (e->in_part)
        fprintf(e->out, "    (void)pool, (void)arena;\n");
}

/* `of`: of a chunk; NULL: of the step. */
static void emit_body(Emit *e, const Graph *g, const Op *of, int first, int end)
{
    if (of)
        begin_chunk(e, of, first, end);
    else
        begin_step(e, g, first, end);
    if (e->in_part)
        for (int i = 0; i < g->values; i++) {
            const Value *v = g->value[i];
            if (v->kind == VALUE_TEMPORARY && v->first < first && is_named(e, g, v, first, end))
                fprintf(e->out, "    %s *const %s = %s;\n", value_type(v), v->name, value_place(e->arena, v));
        }
    fputc('\n', e->out);
    for (int i = first; i < end; i++)
        emit_op(e, g, i, end, true);
}

/* ---- parts ----
 *
 * A compiler keeps what the operations of a function have in common, addresses above all, on its stack. A
 * library's is bounded (docs/library.md), so that a long list is several functions. */

enum { PART_OPERATIONS = 64 };

/* Buffers are names alone. */
static int part_end(const Graph *g, int first)
{
    int end = first;
    for (int emitted = 0; end < g->ops && emitted < PART_OPERATIONS; end++)
        emitted += g->op[end]->kind != OP_BUFFER;
    return end;
}

static int parts_of(const Emit *e, const Graph *g)
{
    int parts = 0;
    for (int first = 0; first < g->ops; first = part_end(g, first))
        parts++;
    return e->is_library ? parts : 1;
}

static void emit_parts(Emit *e, const Graph *g, const Op *of)
{
    int part = 0;
    e->in_part = true;
    for (int first = 0, end; first < g->ops; first = end) {
        end = part_end(g, first);
        e->part_first = first;
        fprintf(e->out, "FUNCTION bool %s_%d(AmdimStep *s%s)\n{\n", g->name, ++part, of ? ", int chunk" : "");
        emit_body(e, g, of, first, end);
        fprintf(e->out, "    return true;\n}\n\n");
    }
    e->in_part = false;
}

/* Each in turn, until one is left early. */
static void emit_turns(Emit *e, const Graph *g, const Op *of, int parts)
{
    fprintf(e->out, "    (void)(");
    for (int i = 0; i < parts; i++)
        fprintf(e->out, "%s%s_%d(s%s)", i ? " &&\n           " : "", g->name, i + 1, of ? ", chunk" : "");
    fprintf(e->out, ");\n");
}

/* Behind its comment and head, what a list's function does. */
static void emit_list(Emit *e, const Graph *g, const Op *of, const char *head)
{
    const int parts = parts_of(e, g);
    if (parts > 1)
        emit_parts(e, g, of);
    fputs(head, e->out);
    if (parts > 1)
        emit_turns(e, g, of, parts);
    else
        emit_body(e, g, of, 0, g->ops);
}

static void emit_chunk(Emit *e, const Op *of)
{
    const Graph *g = of->chunk;
    emit_list(
        e, g, of,
        arena_printf(e->arena,
                     "/* Chunk `chunk` of %d, %d images: %s.\n"
                     " * Its temporaries, %zu bytes, lie where those of the other chunks do. */\n"
                     "static void %s(AmdimStep *s, int chunk)\n{\n",
                     of->chunks, g->net->images,
                     of->kind == OP_ENCODE
                         ? "the encoder, of which the step keeps what is read above it"
                         : "the encoder again, and backwards; the weights' gradients add up over the chunks",
                     g->arena_bytes, g->name));
    fprintf(e->out, "}\n\n");
}

/* ---- the step ---- */

void emit_step(Emit *e)
{
    const Graph *g = e->program->step;
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->chunk)
            emit_chunk(e, g->op[i]);
    emit_list(
        e, g, NULL,
        "/* One step: losses and embeddings, then every gradient, given away as soon as it is complete. */\n"
        "static void step(AmdimStep *s)\n{\n");
    fprintf(e->out, e->is_library ? "}\n\n" : "    STEP_ENDS(s);\n}\n\n");
}

/* ---- encoders ----
 *
 * All features are one list, of which each needs a part: what several have in common is a function of its
 * own, a segment of operations that the same features need. */

typedef struct {
    const Graph *g;
    int features;
    bool *needed; /* (features, ops) */
} Needs;

static bool *needs_of(const Needs *n, int feature)
{
    return n->needed + (size_t)feature * (size_t)n->g->ops;
}

/* What makes the result, and what makes that. */
static void mark_needed(const Graph *g, const Value *result, bool *needed)
{
    bool *wanted = ARENA_ARRAY(g->arena, bool, g->values);
    wanted[result->id] = true;
    for (int i = g->ops - 1; i >= 0; i--) {
        needed[i] = wanted[g->op[i]->out[0]->id];
        for (int j = 0; needed[i] && j < g->op[i]->inputs; j++)
            if (g->op[i]->in[j])
                wanted[g->op[i]->in[j]->id] = true;
    }
}

static bool same_needs(const Needs *n, int left, int right)
{
    for (int f = 0; f < n->features; f++)
        if (needs_of(n, f)[left] != needs_of(n, f)[right])
            return false;
    return true;
}

/* The end of the segment that begins with operation `first`. */
static int segment_end(const Needs *n, int first)
{
    int end = first + 1;
    while (end < n->g->ops && same_needs(n, first, end))
        end++;
    return end;
}

/* "encoder_0_to_3", "embed_7": of the first and the last operation's layers. */
static const char *segment_name(Arena *a, const Graph *g, int first, int end)
{
    const char *from = g->op[first]->label, *to = g->op[end - 1]->label;
    int low, high;
    if (sscanf(from, "encoder.%d", &low) == 1 && sscanf(to, "encoder.%d", &high) == 1)
        return low == high ? arena_printf(a, "encoder_layer_%d", low)
                           : arena_printf(a, "encoder_layers_%d_to_%d", low, high);
    if (sscanf(from, "features.%d", &low) == 1)
        return arena_printf(a, "features_of_%d", low);
    if (sscanf(from, "embed.%d", &low) == 1)
        return arena_printf(a, "head_of_%d", low);
    if (sscanf(from, "encoder.%d", &low) == 1)
        return arena_printf(a, "encoder_from_%d", low); /* and the mean over positions */
    return "mean_over_positions";
}

/* Values of earlier segments lie where those left them. */
static void emit_earlier(Emit *e, const Graph *g, int first, int end)
{
    for (int v = 0; v < g->values; v++) {
        const Value *value = g->value[v];
        bool read = false;
        for (int i = first; i < end && !read; i++)
            for (int j = 0; j < g->op[i]->inputs; j++)
                read |= g->op[i]->in[j] == value;
        if (read && value->kind == VALUE_TEMPORARY && value->first < first)
            fprintf(e->out, "    const %s *const %s = %s;\n", value_type(value), value->name,
                    value_place(e->arena, value));
    }
}

static bool reads(const Graph *g, int first, int end, bool (*is)(const Graph *g, const Value *v))
{
    for (int i = first; i < end; i++)
        for (int j = 0; j < g->op[i]->inputs; j++)
            if (g->op[i]->in[j] && is(g, g->op[i]->in[j]))
                return true;
    return false;
}

static bool is_x(const Graph *g, const Value *v)
{
    return v == g->x;
}

static bool is_param(const Graph *g, const Value *v)
{
    (void)g;
    return v->param;
}

static void emit_segment(Emit *e, const Graph *g, int first, int end)
{
    fprintf(e->out, "static void %s(AmdimPool *pool, char *arena%s%s)\n{\n",
            segment_name(e->arena, g, first, end), reads(g, first, end, is_param) ? ", const Params *p" : "",
            reads(g, first, end, is_x) ? ", const float *x" : "");
    emit_earlier(e, g, first, end);
    for (int i = first; i < end; i++)
        emit_op(e, g, i, end, false);
    fprintf(e->out, "}\n\n");
}

const char *feature_function(Arena *a, const Feature *f)
{
    return f->scale ? arena_printf(a, "encode_%s_%d", f->raw ? "f" : "phi", f->scale) : "encode_f_1";
}

static void emit_feature(Emit *e, const Needs *n, int feature)
{
    const Feature *f = &e->program->feature[feature];
    int column = fprintf(e->out, "FEATURE(%s, AT(%zu)", feature_function(e->arena, f), f->result->offset);
    const char *before = ",";
    for (int first = 0, end; first < n->g->ops; first = end) {
        end = segment_end(n, first);
        if (!needs_of(n, feature)[first])
            continue;
        const char *call = arena_printf(
            e->arena, "%s(pool, arena%s%s)", segment_name(e->arena, n->g, first, end),
            reads(n->g, first, end, is_param) ? ", p" : "", reads(n->g, first, end, is_x) ? ", x" : "");
        column += fprintf(e->out, "%s", before);
        if (column + (int)strlen(call) + 2 > WIDTH)
            column = fprintf(e->out, "\n       ");
        column += fprintf(e->out, " %s", call);
        before = ";";
    }
    fprintf(e->out, ")\n");
}

void emit_encoders(Emit *e)
{
    const Program *p = e->program;
    Needs n = {.g = p->encode, .features = p->features};
    n.needed = ARENA_ARRAY(e->arena, bool, p->features * p->encode->ops);
    for (int f = 0; f < p->features; f++)
        mark_needed(p->encode, p->feature[f].result, needs_of(&n, f));
    fprintf(
        e->out,
        "/* Encoders, of %d images as testing sees them, with running statistics: each feature is made by "
        "the segments\n * that it needs, and what one leaves in the arena the next reads. */\n\n",
        p->encode->net->images);
    for (int first = 0, end; first < p->encode->ops; first = end) {
        end = segment_end(&n, first);
        emit_segment(e, p->encode, first, end);
    }
    for (int f = 0; f < p->features; f++)
        emit_feature(e, &n, f);
    fputc('\n', e->out);
}

void emit_encoder(Emit *e)
{
    const Graph *g = e->program->encode;
    const bool has_params = e->program->net->spec->target.weights == WEIGHTS_ARE_PARAMS;
    fprintf(
        e->out,
        "/* f_1 of one picture, x (SIZE, SIZE, CHANNELS) of the work memory, with running statistics. */\n"
        "static void encode(%sEncodeWork *w, float *f1)\n{\n"
        "    AmdimPool own = {w->scratch}, *const pool = &own;\n"
        "    char *const arena = w->arena;\n    const float *const x = w->x;\n\n",
        has_params ? "const Params *p, " : "");
    if (has_params && !names_params(e, g, 0, g->ops))
        fprintf(e->out, "    (void)p;\n");
    for (int i = 0; i < g->ops; i++)
        emit_op(e, g, i, g->ops, true);
    fprintf(e->out, "    memcpy(f1, AT(%zu), sizeof(float) * %zu);\n}\n\n",
            e->program->feature[0].result->offset, value_count(e->program->feature[0].result));
}
