/* call.c: the text of an operation's function and of its call, put together piece by piece. */
#include "kernel.h"
#include <string.h>

void call_constant(Call *c, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length >= (int)sizeof text)
        bug("an argument of %s is too long", c->macro);
    c->constants = arena_printf(c->arena, "%s, %s", c->constants, text);
}

void call_float(Call *c, double v)
{
    const char *digits = arena_printf(c->arena, "%.9g", v);
    call_constant(c, "%s%sf", digits, strpbrk(digits, ".e") ? "" : ".0");
}

void call_tail(Call *c, const char *first, const char *second, const char *third)
{
    const char *bit[3] = {first, second, third}, *tail = "";
    for (int i = 0; i < 3; i++)
        if (bit[i])
            tail = arena_printf(c->arena, "%s%s%s", tail, *tail ? " | " : "", bit[i]);
    call_constant(c, "%s", *tail ? tail : "TAIL_NONE");
}

const char *value_type(const Value *v)
{
    return v->number == NUMBER_BFLOAT16 ? "Bfloat16" : "float";
}

const char *value_place(Arena *a, const Value *v)
{
    return arena_printf(a, "%s(%zu)", v->number == NUMBER_BFLOAT16 ? "MAP_AT" : "AT", v->offset);
}

static void add_field(Call *c, const char *field, const char *value)
{
    c->fields = arena_printf(c->arena, "%s%s.%s = %s", c->fields, *c->fields ? ", " : "", field, value);
}

/* Parameters are members of the program's struct of them, or constants; running statistics lie where the
 * step says while it moves them (RUNNING). */
static const char *param_place(const Call *c, const Param *p)
{
    if (c->net->spec->target.weights != WEIGHTS_ARE_PARAMS)
        return p->field;
    return arena_printf(c->arena, c->moves && !p->trained ? "RUNNING(%s)" : "p->%s", p->field);
}

void call_field(Call *c, const char *field, const Value *v)
{
    if (v)
        add_field(c, field, v->param ? param_place(c, v->param) : v->name);
}

void call_number(Call *c, const char *field, int number)
{
    add_field(c, field, arena_printf(c->arena, "%d", number));
}

void call_share(Call *c)
{
    add_field(c, "share", "s->share");
}

void call_moves(Call *c)
{
    add_field(c, "moves", "s->moves_running");
}

void call_scale(Call *c, const Value *weight)
{
    add_field(c, "scale", arena_printf(c->arena, "%s_scale", weight->param->field));
}

void call_result(Call *c, const char *field, const Value *v)
{
    add_field(c, field, v->kind == VALUE_TEMPORARY ? value_place(c->arena, v) : v->name);
}

/* A library encodes one. */
const char *call_image_count(const Call *c, const Value *map)
{
    if (c->net->spec->target.is_library && map->dims[0] == 1)
        return "1";
    return map->dims[0] == c->net->images ? "IMAGES" : "CHUNK";
}

void call_scratch(Call *c, const char *field, const Op *op)
{
    if (op->scratch)
        add_field(c, field, arena_printf(c->arena, "AT(%zu)", op->scratch->offset));
}

void call_more(Call *c, const Value *gradient)
{
    if (gradient->kind == VALUE_OUTER)
        add_field(c, "more", "chunk > 0");
}

const char *call_images(const Call *c, const Value *map)
{
    return map->dims[0] == c->net->images ? "" : arena_printf(c->arena, "_of_%d", map->dims[0]);
}

const char *call_shape_name(const Call *c, const Op *op, const Value *x, const Value *y)
{
    const char *stride = op->stride > 1 ? arena_printf(c->arena, "_stride%d", op->stride) : "";
    return arena_printf(c->arena, "%dx%d%s_%d_to_%d_at_%d%s", op->kernel, op->kernel, stride, x->dims[3],
                        y->dims[3], x->dims[1], call_images(c, x));
}

const char *call_map(const Call *c, const Value *map)
{
    return arena_printf(c->arena, "%d at %dx%d", map->dims[3], map->dims[1], map->dims[2]);
}

const char *call_window(const Call *c, const Op *op, const Value *x, const Value *y)
{
    const char *stride = op->stride > 1 ? arena_printf(c->arena, " stride %d", op->stride) : "";
    return arena_printf(c->arena, "%dx%d%s, %s to %s", op->kernel, op->kernel, stride, call_map(c, x),
                        call_map(c, y));
}

void call_shape(Call *c, const Op *op, const Value *x, const Value *y)
{
    call_constant(c, "SHAPE(%s, %d, %d, %d, %d, %d, %d)", call_image_count(c, x), x->dims[1], x->dims[3],
                  y->dims[1], y->dims[3], op->kernel, op->stride);
}
