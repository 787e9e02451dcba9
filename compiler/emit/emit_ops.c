/* emit_ops.c: single operations as C: the call with a line above that says what it is, and the line that
 * makes the function it calls. */
#include "emit.h"
#include "kernels/kernel.h"
#include <ctype.h>
#include <string.h>

/* ---- functions of fixed shape ---- */

/* CONV_WINOGRAD(name, constants), in two lines where one is too long. */
static const char *function_line(Arena *a, const Call *c)
{
    char *macro = arena_copy(a, c->macro, strlen(c->macro));
    for (char *m = macro; *m; m++)
        *m = (char)toupper((unsigned char)*m);
    const bool fits = strlen(macro) + strlen(c->name) + strlen(c->constants) + 2 <= WIDTH;
    return fits ? arena_printf(a, "%s(%s%s)", macro, c->name, c->constants)
                : arena_printf(a, "%s(%s,\n%*s%s)", macro, c->name, (int)strlen(macro) + 1, "",
                               c->constants + strlen(", "));
}

static const Function *noted(const Emit *e, const char *name)
{
    for (int i = 0; i < e->functions; i++)
        if (!strcmp(e->function[i].name, name))
            return &e->function[i];
    return NULL;
}

static void note_function(Emit *e, const Op *op)
{
    const Call c = op_call(e->arena, e->program->net, op);
    const char *line = function_line(e->arena, &c);
    const Function *same = noted(e, c.name);
    if (same && strcmp(same->line, line) != 0)
        bug("%s is two functions:\n%s\n%s", c.name, same->line, line);
    if (same)
        return;
    if (e->functions == e->capacity) {
        const Function *old = e->function;
        e->capacity = e->capacity ? 2 * e->capacity : 64;
        e->function = ARENA_ARRAY(e->arena, Function, e->capacity);
        for (int i = 0; i < e->functions; i++)
            e->function[i] = old[i];
    }
    e->function[e->functions++] = (Function){c.name, c.type, line};
}

void note_functions(Emit *e, const Graph *g)
{
    for (int i = 0; i < g->ops; i++)
        if (g->op[i]->chunk)
            note_functions(e, g->op[i]->chunk);
        else if (g->op[i]->plan.kernel)
            note_function(e, g->op[i]);
}

static bool is_first_of_type(const Emit *e, int function)
{
    for (int i = 0; i < function; i++)
        if (!strcmp(e->function[i].type, e->function[function].type))
            return false;
    return true;
}

/* static ConvFunction conv_a, conv_b, ...; */
static void declare_type(Emit *e, const char *type)
{
    int column = fprintf(e->out, "static %sFunction", type);
    const char *before = "";
    for (int i = 0; i < e->functions; i++) {
        const Function *f = &e->function[i];
        if (strcmp(f->type, type))
            continue;
        fputs(before, e->out);
        if (column + (int)strlen(f->name) + 3 > WIDTH)
            column = fprintf(e->out, "\n   ");
        column += fprintf(e->out, " %s", f->name) + 1;
        before = ",";
    }
    fprintf(e->out, ";\n");
}

void emit_declarations(Emit *e)
{
    for (int i = 0; i < e->functions; i++)
        if (is_first_of_type(e, i))
            declare_type(e, e->function[i].type);
}

void emit_functions(Emit *e)
{
    for (int i = 0; i < e->functions; i++)
        fprintf(e->out, "%s\n", e->function[i].line);
}

/* ---- what an operation is ---- */

static const char *op_text(Arena *a, const Op *op, const Call *c)
{
    return arena_printf(a, "%s%s%s%s%s", op_name(op->kind), *c->shape ? " " : "", c->shape,
                        op->relu ? ", ReLU" : "", op->again ? ", again" : "");
}

static void emit_heading(Emit *e, const Op *op, const Call *c, bool told)
{
    const char *kernel = op_kernel_text(e->arena, op), *text = op_text(e->arena, op, c);
    if (!kernel)
        kernel = "direct";
    if (!told) {
        fprintf(e->out, "    /* %s, line %d: %s; %s */\n", op->label, op->at.line, text, kernel);
        return;
    }
    const double flop = cost_op_flop(op);
    fprintf(e->out, "    OPERATION(s, \"%s\", \"%s\", \"%s\", %d, %s);\n", op->label, text, kernel,
            op->at.line, flop > 0 ? arena_printf(e->arena, "%.4g", flop) : "0");
}

/* ---- calls ---- */

/* Chunks find what they read by its place, taking names a parameter by its number, and a library has no
 * embeddings to report. */
static bool names_input(const Emit *e, const Op *op, int input)
{
    switch (op->kind) {
    case OP_TAKE: return input == TAKE_GRADIENT;
    case OP_REPORT: return !e->is_library || input < e->program->net->pairs;
    default: return !op->chunk;
    }
}

bool is_named(const Emit *e, const Graph *g, const Value *v, int first, int end)
{
    for (int i = first; i < end; i++) {
        const Op *op = g->op[i];
        for (int j = 0; j < op->inputs; j++)
            if (op->in[j] == v && names_input(e, op, j))
                return true;
        if (op->out[0] == v && v->kind == VALUE_OUTER)
            return true;
    }
    return false;
}

/* The fields of a call, from `column` on; a line ends before a field that would be too long for it. */
static void emit_fields(FILE *out, const char *fields, int column)
{
    enum { INDENT = 8, END = 4 };
    for (bool first = true; *fields; first = false) {
        const char *end = strstr(fields, ", .");
        const int length = end ? (int)(end + 1 - fields) : (int)strlen(fields);
        if (column + length + END > WIDTH)
            column = fprintf(out, "\n%*s", INDENT, "") - 1;
        else if (!first)
            column += fprintf(out, " ");
        column += fprintf(out, "%.*s", length, fields);
        fields += end ? length + 1 : length;
    }
}

/* The second and third results have names of their own. */
static void emit_more_results(Emit *e, const Op *op)
{
    for (int j = 1; j < OP_OUTPUTS && op->out[j]; j++)
        fprintf(e->out, "%s%s = AT(%zu)%s", j == 1 ? "    float *const " : ", *const ", op->out[j]->name,
                op->out[j]->offset, j + 1 == OP_OUTPUTS || !op->out[j + 1] ? ";\n" : "");
}

/* The first result is what the function returns. */
static void emit_call(Emit *e, const Graph *g, int i, int end, const Call *c)
{
    const Value *result = g->op[i]->out[0];
    emit_more_results(e, g->op[i]);
    int column = fprintf(e->out, "    ");
    if (result && result->kind == VALUE_TEMPORARY && is_named(e, g, result, i + 1, end))
        column += fprintf(e->out, "%s *const %s = ", value_type(result), result->name);
    column += fprintf(e->out, "%s(pool, (%sJob){", c->name, c->type);
    emit_fields(e->out, c->fields, column);
    fprintf(e->out, "});\n");
}

/* The same fields with the result by its name, where it has one. */
static const char *with_named_result(Arena *a, const char *fields, const Value *result)
{
    const char *place = value_place(a, result), *at = strstr(fields, place);
    if (!at)
        return fields;
    return arena_printf(a, "%.*s%s%s", (int)(at - fields), fields, result->name, at + strlen(place));
}

/* A library's: the result is named first, and the call is a statement. */
static void emit_run(Emit *e, const Graph *g, int i, int end, const Call *c)
{
    const Value *result = g->op[i]->out[0];
    const char *fields = c->fields;
    emit_more_results(e, g->op[i]);
    if (result && result->kind == VALUE_TEMPORARY && is_named(e, g, result, i + 1, end)) {
        fprintf(e->out, "    %s *const %s = %s;\n", value_type(result), result->name,
                value_place(e->arena, result));
        fields = with_named_result(e->arena, fields, result);
    }
    int column = fprintf(e->out, "    RUN(%s, %sJob, ", c->name, c->type);
    emit_fields(e->out, fields, column);
    fprintf(e->out, ");\n");
}

/* ---- operations that are statements of their own ---- */

static bool reports_bfloat16(const Net *n, const Op *op)
{
    for (int i = 0; i < n->scales; i++)
        if (n->scale[i].trained && op->in[n->pairs + i]->number == NUMBER_BFLOAT16)
            return true;
    return false;
}

static void emit_report(Emit *e, const Op *op)
{
    const Net *n = e->program->net;
    fprintf(e->out, "    /* losses%s are known */\n    s->loss = s->penalty = 0;\n",
            e->is_library ? "" : " and embeddings");
    for (int i = 0; i < n->pairs; i++)
        fprintf(e->out, "    step_takes_pair(s, %d, %s, %s); /* %s */\n", i,
                real(e, n->pair[i].spec->weight.v), op->in[i]->name, n->pair[i].name);
    fprintf(e->out, "    s->loss += %s * s->penalty;\n", real(e, n->spec->loss.penalty.v));
    if (e->is_library) {
        fprintf(e->out, "    if (!goes_on(s))\n        return%s;\n", e->in_part ? " false" : "");
        return;
    }
    for (int i = 0, scale = 0; i < n->scales; i++)
        if (n->scale[i].trained)
            fprintf(e->out, "    s->embedding[%d] = %s;\n", scale++, op->in[n->pairs + i]->name);
    if (reports_bfloat16(n, op))
        fprintf(e->out, "    s->narrow_embeddings = true;\n");
    fprintf(e->out, "    if (s->forward_done && !s->forward_done(s))\n        return;\n");
}

static void emit_buffer(Emit *e, const Op *op)
{
    const Value *v = op->out[0];
    fprintf(e->out, "    %s *const %s = %s; /* %s: a buffer for ", value_type(v), v->name,
            value_place(e->arena, v), op->label);
    for (int i = 0; i < v->rank; i++)
        fprintf(e->out, "%s%d", i ? "x" : "", v->dims[i]);
    fprintf(e->out, " */\n");
}

/* ---- meetings of shares ---- */

/* Maps are given a view at a time, all else at once. */
static int blocks_of(const Net *n, const Value *maps)
{
    return maps->rank == 4 ? n->views : 1;
}

static void emit_meeting_heading(Emit *e, const Op *op, const Value *given)
{
    fprintf(e->out, "    OPERATION(s, \"%s\", \"%s of %d shares, %zu bytes from each\", \"%s\", %d, 0);\n",
            op->label, op_name(op->kind), e->program->net->shares, given->bytes, "meeting", op->at.line);
}

static void emit_all_gather(Emit *e, const Op *op)
{
    const Value *x = op->in[ALL_GATHER_X], *y = op->out[0];
    const int blocks = blocks_of(e->program->net, y);
    emit_meeting_heading(e, op, x);
    fprintf(e->out, "    float *const %s = gather_shares(s, %s, AT(%zu), %d, %zu);\n", y->name, x->name,
            y->offset, blocks, value_count(x) / (size_t)blocks);
}

static void emit_reduce_scatter(Emit *e, const Op *op)
{
    const Value *x = op->in[REDUCE_SCATTER_X], *y = op->out[0];
    const int blocks = blocks_of(e->program->net, y);
    emit_meeting_heading(e, op, x);
    fprintf(e->out, "    float *const %s = reduce_shares(s, SHARES, %s, AT(%zu), AT(%zu), %d, %zu);\n",
            y->name, x->name, op->out[1]->offset, y->offset, blocks, value_count(y) / (size_t)blocks);
}

void emit_op(Emit *e, const Graph *g, int i, int end, bool told)
{
    const Op *op = g->op[i];
    const bool needs_name = !e->in_part || (op->out[0] && is_named(e, g, op->out[0], i + 1, end));
    if (op->kind == OP_BUFFER && !needs_name)
        return;
    if (told && i > (e->in_part ? e->part_first : 0) && op->at.line != g->op[i - 1]->at.line)
        fputc('\n', e->out);
    switch (op->kind) {
    case OP_REPORT: emit_report(e, op); return;
    case OP_BUFFER: emit_buffer(e, op); return;
    case OP_ALL_GATHER: emit_all_gather(e, op); return;
    case OP_REDUCE_SCATTER: emit_reduce_scatter(e, op); return;
    case OP_TAKE:
        if (e->is_library)
            fprintf(e->out, "    take(s, OFFSET(%s), %zu, %s);\n", op->in[TAKE_PARAM]->name,
                    value_count(op->in[TAKE_PARAM]), op->in[TAKE_GRADIENT]->name);
        else
            fprintf(e->out, "    s->take(s, TENSOR_%s, %s);\n", op->in[TAKE_PARAM]->name,
                    op->in[TAKE_GRADIENT]->name);
        return;
    case OP_ENCODE:
    case OP_ENCODE_GRAD:
        fprintf(e->out, "    for (int chunk = 0; chunk < %d; chunk++)\n        %s(s, chunk);\n", op->chunks,
                op->chunk->name);
        return;
    case OP_ZERO:
        fprintf(e->out, "    ");
        if (needs_name)
            fprintf(e->out, "float *const %s = ", op->out[0]->name);
        fprintf(e->out, "memset(AT(%zu), 0, sizeof(float) * %zu); /* the batchnorm takes it away */\n",
                op->out[0]->offset, value_count(op->out[0]));
        return;
    default: break;
    }
    const Call c = op_call(e->arena, e->program->net, op);
    emit_heading(e, op, &c, told && !e->is_library);
    if (e->is_library)
        emit_run(e, g, i, end, &c);
    else
        emit_call(e, g, i, end, &c);
}
