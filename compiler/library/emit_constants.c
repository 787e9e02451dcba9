/* emit_constants.c: trained weights as constants, and the encoder that reads them where they lie. Weights of
 * convolutions are of the type asked for, all else, which is little, of float32. */
#include "library.h"
#include "kernels/kernel.h"
#include <math.h>
#include <string.h>

/* ---- numbers ---- */

/* IEEE 754's binary16, to nearest, ties to even; of a number that it holds. */
uint16_t half_of(float value)
{
    enum { EXPONENT_BIAS = 15, FRACTION_BITS = 10 };
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    int exponent;
    const double magnitude = frexp(fabs((double)value), &exponent); /* in 0.5..1, or 0 */
    if (magnitude == 0)
        return sign;
    /* Below the least normal number the last place stays what it is there. */
    const int least = 2 - EXPONENT_BIAS, above = exponent > least ? exponent : least;
    const double places = nearbyint(ldexp(magnitude, exponent - above + FRACTION_BITS + 1));
    return (uint16_t)(sign + ((above - least) << FRACTION_BITS) + (int)places);
}

static const float HALF_MOST = 65504;

enum { BYTE_MOST = 127 };

/* What each of (outs) channels is a whole number of, the largest in magnitude being BYTE_MOST. */
static float scale_of(const float *torch, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(torch[i]));
    return most / BYTE_MOST;
}

/* Where the scale is a denormal number, which is rounded, it may be too small for the largest. */
static int byte_of(float value, float scale)
{
    const float byte = scale > 0 ? nearbyintf(value / scale) : 0;
    return (int)fmaxf(-BYTE_MOST, fminf(byte, BYTE_MOST));
}

/* ---- arrays ---- */

typedef struct {
    Emit *e;
    WeightType type;
    float **value; /* of every tensor, in PyTorch's order */
    size_t bytes;  /* of constants so far */
} Constants;

static void print_number(FILE *out, size_t i, int column, const char *text)
{
    fprintf(out, "%s%s,", i % (size_t)column ? " " : "\n    ", text);
}

/* Number i of (k*k*in, out) in PyTorch's order. */
static float number_inward(const Param *p, const float *torch, size_t i)
{
    const size_t outs = (size_t)p->dims[0], ins = (size_t)p->dims[1], taps = p->count / (outs * ins);
    const size_t out = i % outs, in = i / outs % ins, tap = i / outs / ins;
    return torch[(out * ins + in) * taps + tap];
}

static void print_floats(Constants *c, const char *name, const char *suffix, size_t count,
                         float (*number)(const Param *p, const float *torch, size_t i), const Param *p,
                         const float *torch)
{
    enum { COLUMNS = 8 };
    fprintf(c->e->out, "static const float %s%s[] = {", name, suffix);
    for (size_t i = 0; i < count; i++) {
        char text[40];
        snprintf(text, sizeof text, "%.9g", (double)number(p, torch, i));
        print_number(c->e->out, i, COLUMNS, strpbrk(text, ".e") ? strcat(text, "f") : strcat(text, ".0f"));
    }
    fprintf(c->e->out, "\n};\n");
    c->bytes += count * sizeof(float);
}

static float number_as_it_is(const Param *p, const float *torch, size_t i)
{
    (void)p;
    return torch[i];
}

static float scale_of_channel(const Param *p, const float *torch, size_t out)
{
    const size_t each = p->count / (size_t)p->dims[0];
    return scale_of(torch + out * each, each);
}

static void print_halves(Constants *c, const Param *p, const float *torch)
{
    enum { COLUMNS = 14 };
    fprintf(c->e->out, "static const uint16_t %s[] = {", p->field);
    for (size_t i = 0; i < p->count; i++) {
        char text[16];
        snprintf(text, sizeof text, "0x%04x", half_of(number_inward(p, torch, i)));
        print_number(c->e->out, i, COLUMNS, text);
    }
    fprintf(c->e->out, "\n};\n");
    c->bytes += p->count * sizeof(uint16_t);
}

static void print_bytes(Constants *c, const Param *p, const float *torch)
{
    enum { COLUMNS = 20 };
    const size_t outs = (size_t)p->dims[0];
    fprintf(c->e->out, "static const int8_t %s[] = {", p->field);
    for (size_t i = 0; i < p->count; i++) {
        const float scale = scale_of_channel(p, torch, i % outs), value = number_inward(p, torch, i);
        char text[16];
        snprintf(text, sizeof text, "%d", byte_of(value, scale));
        print_number(c->e->out, i, COLUMNS, text);
    }
    fprintf(c->e->out, "\n};\n");
    c->bytes += p->count;
    print_floats(c, p->field, "_scale", outs, scale_of_channel, p, torch);
}

static void print_param(Constants *c, const Param *p)
{
    const float *torch = c->value[p->index];
    if (p->rank != 4)
        print_floats(c, p->field, "", p->count, number_as_it_is, p, torch);
    else if (c->type == WEIGHTS_FLOAT16)
        print_halves(c, p, torch);
    else if (c->type == WEIGHTS_INT8)
        print_bytes(c, p, torch);
    else
        print_floats(c, p->field, "", p->count, number_inward, p, torch);
}

static bool is_read(const Graph *g, const Param *p)
{
    for (int i = 0; i < g->ops; i++)
        for (int j = 0; j < g->op[i]->inputs; j++)
            if (g->op[i]->in[j] && g->op[i]->in[j]->param && !strcmp(g->op[i]->in[j]->param->name, p->name))
                return true;
    return false;
}

static void print_constants(Constants *c)
{
    const Params *all = c->e->program->params;
    for (int i = 0; i < all->count; i++)
        if (is_read(c->e->program->encode, all->param[i]))
            print_param(c, all->param[i]);
}

/* ---- the files ---- */

static void print_functions(Emit *e)
{
    note_functions(e, e->program->encode);
    emit_functions(e);
}

static const char *type_text(WeightType type)
{
    return type == WEIGHTS_FLOAT16 ? "16-bit floats (IEEE 754's binary16)"
           : type == WEIGHTS_INT8  ? "8-bit integers with a scale an output channel"
                                   : "32-bit floats";
}

static char *expanded(Arena *a, const ModelLibrary *l, const char *name, const Fill *fill, int fills)
{
    TextStream t;
    template_expand(a, text_stream_open(&t), l->templates, name, fill, fills);
    return text_stream_close(a, &t);
}

/* One that float16 cannot hold would become infinite. */
static bool are_in_range(const ModelLibrary *l, const char *path, float **value, WeightType type)
{
    const Params *all = l->program->params;
    for (int i = 0; i < all->count; i++)
        for (size_t k = 0; type == WEIGHTS_FLOAT16 && all->param[i]->rank == 4 && k < all->param[i]->count;
             k++)
            if (fabsf(value[i][k]) > HALF_MOST) {
                say("amdimc: error: %s: tensor %s holds %g, which float16 cannot; take --weights-type "
                    "float32",
                    path, all->param[i]->name, (double)value[i][k]);
                return false;
            }
    return true;
}

bool emit_constants(Arena *a, const ModelLibrary *l, const char *path, WeightType type, const char **c_text,
                    const char **h_text)
{
    float **value = weights_of_file(a, path, l->program->params);
    if (!value || !are_in_range(l, path, value, type))
        return false;
    const LibraryMemory *m = &l->program->library;
    const char *title = l->program->net->spec->name.v, *slash = strrchr(path, '/');
    Emit e = {.arena = a, .program = l->program, .is_library = true};
    Constants c = {.e = &e, .type = type, .value = value};
    TextStream t;
    e.out = text_stream_open(&t);
    print_constants(&c);
    const char *constants = text_stream_close(a, &t);
    const Fill in_c[] = {
        {"name", l->name},
        {"upper", l->upper},
        {"title", title},
        {"version", AMDIMC_VERSION},
        {"spec", l->spec},
        {"type_text", type_text(type)},
        {"weights_file", in_comment(a, slash ? slash + 1 : path)},
        {"sources", "@sources@"},
        {"constants", constants},
        {"function_lines", emitted(&e, print_functions)},
        {"encode_arena_bytes", as_number(a, m->encode_arena)},
        {"encode_scratch_bytes", as_number(a, m->encode_scratch)},
        {"encode", emitted(&e, emit_encoder)},
        {"pictures", emitted(&e, emit_pictures)},
    };
    const Fill in_h[] = {{"name", l->name},
                         {"upper", l->upper},
                         {"title", title},
                         {"type_text", type_text(type)},
                         {"constant_bytes", as_number(a, c.bytes)}};
    *c_text =
        put_sources(a, l, fill_comments(a, expanded(a, l, "library/weights.c.tmpl", in_c, COUNT(in_c))));
    *h_text = fill_comments(a, expanded(a, l, "library/weights.h.tmpl", in_h, COUNT(in_h)));
    return true;
}
