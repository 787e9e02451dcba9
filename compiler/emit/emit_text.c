/* emit_text.c: names and numbers as they may stand in generated C. */
#include "emit.h"
#include <stdlib.h>
#include <string.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Only what a spec can hold without quotes is left as it is. */
const char *quoted(Arena *a, const char *text)
{
    char *out = arena_zeroed(a, 4 * strlen(text) + 3), *to = out;
    *to++ = '"';
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\' || *c == '?')
            to += sprintf(to, "\\%03o", *c);
        else
            *to++ = (char)*c;
    }
    *to++ = '"';
    return out;
}

const char *in_comment(Arena *a, const char *text)
{
    char *out = arena_copy(a, text, strlen(text));
    for (char *c = out; *c; c++)
        if (*c < ' ' || *c > '~' || (*c == '*' && c[1] == '/') || (*c == '/' && c[1] == '*'))
            *c = '?';
    return out;
}

const char *spec_name(const Emit *e)
{
    return base_name(e->program->net->spec->source->name);
}

const char *real(Emit *e, double value)
{
    const char *text = arena_printf(e->arena, "%.15g", value);
    return strtod(text, NULL) == value ? text : arena_printf(e->arena, "%.17g", value);
}

void emit_floats(Emit *e, const char *name, const Real *value, int count)
{
    fprintf(e->out, "static const float %s[] = {", name);
    for (int i = 0; i < count; i++)
        fprintf(e->out, "%s%.9g", i ? ", " : "", value[i].v);
    fprintf(e->out, "};\n");
}
