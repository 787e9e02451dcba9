/* ir_text.c: a list of operations as text, for --emit=ir. */
#include "amdimc.h"
#include "support.h"
#include <string.h>

static void print_shape(const Value *v, FILE *stream)
{
    for (int i = 0; i < v->rank; i++)
        fprintf(stream, "%s%d", i ? "x" : "", v->dims[i]);
}

/* name:SHAPE, with its place in the arena and the last operation that reads it: @BYTES..LAST */
static void print_result(const Value *v, FILE *stream)
{
    fprintf(stream, "%s:", v->name);
    print_shape(v, stream);
    if (v->number != NUMBER_FLOAT32)
        fprintf(stream, ":%s", number_name(v->number));
    if (v->kind == VALUE_TEMPORARY)
        fprintf(stream, "@%zu..%d", v->offset, v->last);
}

static void print_attributes(Arena *a, const Op *op, FILE *stream)
{
    const char *kernel = op_kernel_text(a, op);
    if (op->kernel > 1)
        fprintf(stream, " kernel=%d", op->kernel);
    if (op->stride > 1)
        fprintf(stream, " stride=%d", op->stride);
    if (op->pad)
        fprintf(stream, " pad=%d%s", op->pad, op->reflect ? " reflect" : "");
    if (op->relu)
        fputs(" relu", stream);
    if ((op->pair && op->pair->components && op->kind != OP_BUFFER && op->kind != OP_MIXTURE) ||
        op->kind == OP_COMPONENT || op->kind == OP_COMPONENT_GRAD)
        fprintf(stream, " component=%d", op->component);
    if (op->again)
        fputs(" again", stream);
    if (op->kind == OP_NCE_GRAD)
        fprintf(stream, " weight=%.9g", op->pair->spec->weight.v);
    if (kernel)
        fprintf(stream, " [%s]", kernel);
}

static const char *source_text(Arena *a, const Source *source)
{
    char *text = arena_copy(a, source->name, strlen(source->name));
    text_printable(text);
    return text;
}

void graph_print(const Graph *g, FILE *stream)
{
    fprintf(stream, "%s: %d operations, arena of %zu bytes\n", g->name, g->ops, g->arena_bytes);
    for (int i = 0; i < g->ops; i++) {
        const Op *op = g->op[i];
        fprintf(stream, "%4d  ", i);
        for (int j = 0; j < OP_OUTPUTS && op->out[j]; j++) {
            fputs(j ? ", " : "", stream);
            print_result(op->out[j], stream);
        }
        fprintf(stream, "%s%s", op->out[0] ? " = " : "", op_name(op->kind));
        for (int j = 0; j < op->inputs; j++)
            if (op->in[j])
                fprintf(stream, " %s", op->in[j]->name);
        print_attributes(g->arena, op, stream);
        if (op->at.source)
            fprintf(stream, "  ; %s:%d", source_text(g->arena, op->at.source), op->at.line);
        fputc('\n', stream);
    }
}
