/* emit_library.c: the one C file of a library: inner loops, tensors, the training step, the encoder, and the
 * functions of its header. */
#include "library.h"
#include "kernels/kernel.h"
#include <stdlib.h>
#include <string.h>

char *emitted(Emit *e, void (*print)(Emit *e))
{
    FILE *before = e->out;
    TextStream t;
    e->out = text_stream_open(&t);
    print(e);
    e->out = before;
    return text_stream_close(e->arena, &t);
}

const char *as_number(Arena *a, size_t n)
{
    return arena_printf(a, "%zu", n);
}

/* ---- sources ---- */

/* Headers of inner loops, NULL for that of a streamed weight's numbers, and the runtime's sources that need
 * nothing of a system (runtime/portable). */
static const char *const headers[] = {
    "blocks.h", "serial.h",       "kernels.h", "vectors.h", NULL,        "streamed.h",  "sparse.h",
    "masked.h", "convolutions.h", "scores.h",  "nce.h",     "mixture.h", "batchnorm.h", "maps.h",
};
static const char *const portable[] = {"portable.h", "unit.h",   "rng.c",   "layout.c", "init.c", "update.h",
                                       "optimize.c", "resize.c", "color.c", "draws.c",  "views.c"};

static const char *read_source(Arena *a, const char *folder, const char *name)
{
    enum { MOST = 1 << 20 };
    size_t length;
    const char *why, *path = arena_printf(a, "%s/%s", folder, name),
                     *text = input_read(a, path, MOST, &length, &why);
    if (!text) {
        say("amdimc: error: %s: %s; is the installation complete?", path, why);
        exit(EXIT_FAILED);
    }
    return text;
}

static const char *numbers_header(WeightType t)
{
    return t == WEIGHTS_FLOAT16 ? "float16.h" : t == WEIGHTS_INT8 ? "int8.h" : "float32.h";
}

static char *sources_of(Arena *a, const ModelLibrary *l, const char *body)
{
    AmalgamatedFile file[COUNT(headers) + COUNT(portable)];
    const char *numbers = numbers_header(l->program->net->spec->target.weights);
    int files = 0;
    for (size_t i = 0; i < COUNT(headers); i++)
        file[files++] =
            (AmalgamatedFile){.text = read_source(a, l->templates, headers[i] ? headers[i] : numbers)};
    const char *folder = arena_printf(a, "%s/portable", l->runtime);
    for (size_t i = 0; i < COUNT(portable); i++)
        file[files++] = (AmalgamatedFile){.text = read_source(a, folder, portable[i]),
                                          .is_source = portable[i][strlen(portable[i]) - 1] == 'c'};
    return amalgamate(a, file, files, body);
}

/* ---- tensors ---- */

/* "(3*3*16, 32)", or "(32)". */
static const char *layout_text(Arena *a, const Param *p)
{
    if (p->rank != 4)
        return arena_printf(a, "(%d)", p->dims[0]);
    return p->dims[2] * p->dims[3] == 1
               ? arena_printf(a, "(%d, %d)", p->dims[1], p->dims[0])
               : arena_printf(a, "(%d*%d*%d, %d)", p->dims[2], p->dims[3], p->dims[1], p->dims[0]);
}

static size_t padded_count(const Params *all, int i)
{
    const size_t end = i + 1 < all->count ? all->param[i + 1]->offset : all->floats;
    return end - all->param[i]->offset;
}

static void print_params(Emit *e)
{
    const Params *all = e->program->params;
    fprintf(e->out, "/* params: a weight of a convolution lies as (k*k*in, out); each begins at a multiple "
                    "of 64 bytes. */\n"
                    "typedef struct {\n");
    for (int i = 0; i < all->count; i++)
        fprintf(e->out, "    float %s[%zu]; /* %s */\n", all->param[i]->field, padded_count(all, i),
                layout_text(e->arena, all->param[i]));
    fprintf(e->out, "} Params;\n");
}

static void print_tensor_rows(Emit *e)
{
    const Params *all = e->program->params;
    for (int i = 0; i < all->count; i++) {
        const Param *p = all->param[i];
        fprintf(e->out, "    {\"%s\", %d, {", p->name, p->rank);
        for (int k = 0; k < p->rank; k++)
            fprintf(e->out, "%s%d", k ? ", " : "", p->dims[k]);
        fprintf(e->out, "}, %zu},\n", p->count);
    }
}

static void print_offset_rows(Emit *e)
{
    const Params *all = e->program->params;
    for (int i = 0; i < all->count; i++)
        fprintf(e->out, "    OFFSET(%s),\n", all->param[i]->field);
}

static void print_init(Emit *e)
{
    static const char *const how[] = {
        [INIT_ZERO] = "ZEROS", [INIT_ONE] = "ONES", [INIT_UNIFORM] = "UNIFORM", [INIT_SHORTCUT] = "SHORTCUT"};
    const Params *all = e->program->params;
    for (int i = 0; i < all->count; i++)
        fprintf(e->out, "    {%s, %.9g}, /* %s */\n", how[all->param[i]->init], all->param[i]->bound,
                all->param[i]->name);
}

/* ---- constants ---- */

static void print_constants(Emit *e)
{
    const Program *p = e->program;
    const Net *n = p->net;
    const Spec *s = n->spec;
    const int side = (int)s->input.size.v, channels = (int)s->input.channels.v;
    fprintf(e->out,
            "enum {\n    VIEWS = %d,\n    BATCH = %d,\n    IMAGES = VIEWS * BATCH,\n    DIM = %d,\n    SIDE "
            "= %d,\n"
            "    PIXELS = SIDE * SIDE,\n    CHANNELS = %d,\n    PICTURE = PIXELS * CHANNELS, /* numbers of a "
            "view */\n"
            "    TRAINED = %zu, /* floats of params that are trained, which come first */\n"
            "    RUNNING_FLOATS = %zu, /* and of running statistics */\n",
            n->views, n->batch, (int)s->embedding.dim.v, side, channels, p->params->trained_floats,
            p->params->floats - p->params->trained_floats);
    if (p->schedule.chunk)
        fprintf(e->out, "    CHUNK = %d, /* images that the encoder treats at a time */\n",
                p->schedule.chunk);
    fprintf(e->out, "};\n");
}

static void print_functions(Emit *e)
{
    note_functions(e, e->program->step);
    note_functions(e, e->program->encode);
    emit_functions(e);
}

/* ---- the optimiser ---- */

static const char *float_text(Arena *a, double v)
{
    const char *digits = arena_printf(a, "%.9g", v);
    return arena_printf(a, "%s%sf", digits, strpbrk(digits, ".e") ? "" : ".0");
}

static bool has_momentum(const Spec *s)
{
    return s->optimizer.sgd && s->optimizer.momentum.v > 0;
}

static void print_take(Emit *e)
{
    const Spec *s = e->program->net->spec;
    fprintf(
        e->out,
        "/* Takes a tensor's gradient, complete: the step reads the tensor no more. */\n"
        "static void take(AmdimStep *s, size_t offset, size_t count, const float *gradient)\n{\n"
        "    if (s->gradients)\n        memcpy(s->gradients + offset, gradient, count * sizeof *gradient);\n"
        "    else\n");
    if (!s->optimizer.sgd)
        fprintf(e->out,
                "        adam_elements(&s->adam, count, s->trained + offset, gradient, s->moments + offset,\n"
                "                      s->moments + TRAINED + offset);\n}\n");
    else if (has_momentum(s))
        fprintf(e->out,
                "        sgd_momentum(count, s->trained + offset, gradient, s->moments + offset, s->rate, "
                "%s, %s);\n}\n",
                float_text(e->arena, s->optimizer.momentum.v),
                float_text(e->arena, s->optimizer.weight_decay.v));
    else
        fprintf(e->out, "        sgd_plain(count, s->trained + offset, gradient, s->rate, %s);\n}\n",
                float_text(e->arena, s->optimizer.weight_decay.v));
}

static const char *begin_step_text(Emit *e)
{
    const Spec *s = e->program->net->spec;
    if (s->optimizer.sgd)
        return "    s.rate = lr;\n";
    return arena_printf(e->arena,
                        "    s.adam = adam_step((AdamRule){.beta1 = %s, .beta2 = %s, .eps = %s, "
                        ".weight_decay = %s%s}, (double)lr,\n                       step_number);\n",
                        real(e, s->optimizer.beta1.v), real(e, s->optimizer.beta2.v),
                        real(e, s->optimizer.eps.v), real(e, s->optimizer.weight_decay.v),
                        s->optimizer.decoupled.v ? ", .decoupled = true" : "");
}

/* ---- locations ---- */

static void print_locate(Emit *e)
{
    const Net *n = e->program->net;
    if (!n->located)
        return;
    fprintf(e->out, "/* Draws the source locations of a step. */\n"
                    "static void draw_locations(uint64_t seed, uint64_t step_number, int32_t *to)\n{\n"
                    "    static const uint32_t places[] = {");
    for (int i = 0, shown = 0; i < n->pairs; i++)
        if (n->pair[i].located >= 0)
            fprintf(e->out, "%s%d * %d", shown++ ? ", " : "", n->pair[i].from->scale, n->pair[i].from->scale);
    fprintf(e->out,
            "};\n"
            "    for (int pair = 0; pair < %d; pair++)\n"
            "        for (int view = 0; view < VIEWS; view++) {\n"
            "            Random r = random_at(seed, RANDOM_LOCATION, step_number, (uint64_t)pair, view);\n"
            "            for (int b = 0; b < BATCH; b++)\n"
            "                *to++ = (int32_t)random_below(&r, places[pair]);\n"
            "        }\n}\n\n",
            n->located);
}

/* ---- the file ---- */

static size_t at_least_one(size_t n)
{
    return n ? n : 1;
}

static char *body_of(Arena *a, const ModelLibrary *l)
{
    const Program *p = l->program;
    const Net *n = p->net;
    const Spec *s = n->spec;
    const LibraryMemory *m = &p->library;
    Emit e = {.arena = a, .program = p, .is_library = true};
    const char *functions = emitted(&e, print_functions);
    TextStream put;
    e.out = text_stream_open(&put);
    emit_put(&e, l);
    const Fill fill[] = {
        {"name", l->name},
        {"title", s->name.v},
        {"upper", l->upper},
        {"version", AMDIMC_VERSION},
        {"spec", l->spec},
        {"sources", "@sources@"},
        {"constants", emitted(&e, print_constants)},
        {"params", emitted(&e, print_params)},
        {"tensor_rows", emitted(&e, print_tensor_rows)},
        {"offset_rows", emitted(&e, print_offset_rows)},
        {"function_lines", functions},
        {"running_room", as_number(a, at_least_one(p->params->floats - p->params->trained_floats))},
        {"location_room", as_number(a, at_least_one((size_t)n->located * (size_t)n->images))},
        {"arena_bytes", as_number(a, m->arena)},
        {"scratch_bytes", as_number(a, m->scratch)},
        {"step_fields", s->optimizer.sgd ? "    float rate;\n" : "    AdamStep adam;\n"},
        {"take", emitted(&e, print_take)},
        {"step", emitted(&e, emit_step)},
        {"encode_arena_bytes", as_number(a, m->encode_arena)},
        {"encode_scratch_bytes", as_number(a, m->encode_scratch)},
        {"encode", emitted(&e, emit_encoder)},
        {"init", emitted(&e, print_init)},
        {"clear_state", m->state
                            ? arena_printf(a, "    memset(state, 0, %s_STATE * sizeof *state);\n", l->upper)
                            : "    (void)state;\n"},
        {"pictures", emitted(&e, emit_pictures)},
        {"put", text_stream_close(a, &put)},
        {"locate", emitted(&e, print_locate)},
        {"locate_call",
         n->located ? "    draw_locations(seed, step_number, w->locations);\n" : "    (void)seed;\n"},
        {"begin_step", begin_step_text(&e)},
    };
    TextStream t;
    template_expand(a, text_stream_open(&t), l->templates, "library/model.c.tmpl", fill, COUNT(fill));
    return text_stream_close(a, &t);
}

char *put_sources(Arena *a, const ModelLibrary *l, const char *body)
{
    static const char hole[] = "@sources@";
    const char *at = strstr(body, hole);
    return arena_printf(a, "%.*s%s%s", (int)(at - body), body, sources_of(a, l, at), at + strlen(hole));
}

char *emit_library(Arena *a, const ModelLibrary *l)
{
    return put_sources(a, l, body_of(a, l));
}
