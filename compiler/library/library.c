/* library.c: the folder of --emit=library. The same spec gives the same bytes. */
#include "library.h"
#include "build/build.h"
#include <ctype.h>
#include <string.h>

/* Names as C has them: "cortex_m7", "CORTEX_M7". */
static const char *c_name(Arena *a, const char *name, bool upper)
{
    char *text = arena_copy(a, name, strlen(name));
    for (char *c = text; *c; c++)
        *c = *c == '-' ? '_' : upper ? (char)toupper((unsigned char)*c) : *c;
    return text;
}

/* ---- its texts ---- */

/* Bare machines that were tried, with the compiler that Debian has for them, the processor's flags, what
 * makes gcc find its C library, and what makes clang be like it. */
static const struct {
    const char *triple, *tools, *march, *libc, *clang, *what;
} bare[] = {
    {"thumbv7em-none-eabihf", "arm-none-eabi-", "-mthumb -march=armv7e-m+fp -mfloat-abi=hard", "",
     " -fshort-enums", "Cortex-M4F and M7"},
    {"riscv32-unknown-elf", "riscv64-unknown-elf-", "-march=rv32imafc -mabi=ilp32f",
     " --specs=picolibc.specs", " -msmall-data-limit=0", "RV32 with float"},
};

void library_target(const Build *b, Spec *s)
{
    enum { BARE_PANEL = 4 }; /* of processors without vectors (templates/kernels.h) */
    s->target.is_library = true;
    s->target.precision = PRECISION_FLOAT32;
    s->target.ranks.v = 1;
    s->target.is_bare = target_is_bare(b->target);
    s->target.panel = s->target.is_bare ? BARE_PANEL : 0;
    s->target.tiles = false;
    s->target.threads.v = 1;
    s->target.all_processors = false;
    s->target.blas.v = "none";
}

static int bare_row(const Build *b)
{
    for (size_t i = 0; b->target && i < COUNT(bare); i++)
        if (!strcmp(b->target, bare[i].triple))
            return (int)i;
    return -1;
}

/* The compiler, where the command line of make says nothing else; what comes with gcc serves clang, too.
 * Above -O2 a bare machine's code doubles for little. */
static const char *target_lines(Arena *a, const Build *b)
{
    static const char unless[] = "ifeq ($(origin CC),default)\nCC := %s\nendif\n";
    const int row = bare_row(b);
    if (!b->target)
        return "";
    if (row < 0)
        return arena_printf(a, unless, target_clang(a, b->target));
    const char *tools = bare[row].tools;
    return arena_printf(a,
                        "%sifeq ($(origin AR),default)\nAR := %sar\nendif\nSIZE ?= %ssize\nCFLAGS ?= -O2\n",
                        arena_printf(a, unless, arena_printf(a, "%sgcc", tools)), tools, tools);
}

/* clang has no C library of its own: it finds the headers of gcc's. */
static const char *bare_march(Arena *a, int row)
{
    return arena_printf(
        a,
        "MARCH := %s\n"
        "ifneq ($(findstring clang,$(CC)),)\n"
        "HEADERS := $(shell printf '\\043include <math.h>\\n' | %sgcc%s -E - 2>/dev/null | \\\n"
        "\tsed -n 's|^[^\"]*\"\\(.*\\)/math.h\".*|\\1|p' | head -n 1)\n"
        "MARCH += --target=%s%s $(HEADERS:%%=-isystem %%)\n"
        "%sendif",
        bare[row].march, bare[row].tools, bare[row].libc, bare[row].triple, bare[row].clang,
        *bare[row].libc ? arena_printf(a, "else\nMARCH +=%s\n", bare[row].libc) : "");
}

static const char *march_text(Arena *a, const Build *b, const Spec *s)
{
    const int row = bare_row(b);
    if (row >= 0)
        return bare_march(a, row);
    return !strcmp(s->target.march.v, "native") ? native_march_line : march_line(a, s);
}

typedef struct {
    ModelLibrary model;
    const Build *build;
    const char *weights_c, *weights_h; /* or NULL */
} LibraryFolder;

static char *makefile(Arena *a, const Build *b, const LibraryFolder *l)
{
    const Spec *s = l->model.program->net->spec;
    const char *name = l->model.name;
    const bool hosted = !s->target.is_bare;
    const char *headers =
        l->weights_h ? arena_printf(a, "%s.h %s_weights.h", name, name) : arena_printf(a, "%s.h", name);
    const Fill rules[] = {
        {"name", name}, {"title", s->name.v}, {"version", AMDIMC_VERSION}, {"headers", headers}};
    const Fill fill[] = {
        {"name", name},
        {"target", target_lines(a, b)},
        {"sections", hosted ? "" : "-ffunction-sections -fdata-sections "},
        {"sources",
         l->weights_c ? arena_printf(a, "%s.c %s_weights.c", name, name) : arena_printf(a, "%s.c", name)},
        {"march", march_text(a, b, s)},
        {"all", hosted ? arena_printf(a, "lib%s.a lib%s.so %s.pc example", name, name, name)
                       : arena_printf(a, "lib%s.a", name)},
        {"pic", hosted ? "-fPIC " : ""},
        {"hosted", hosted ? build_expanded(a, b, "library/hosted.mk.tmpl", rules, COUNT(rules)) : ""},
        {"made", hosted ? arena_printf(a, " lib%s.so %s.pc example", name, name) : ""},
        {"phony", hosted ? " install" : ""},
    };
    return build_expanded(a, b, "library/Makefile.tmpl", fill, COUNT(fill));
}

static char *readme(Arena *a, const Build *b, const LibraryFolder *l)
{
    const ModelLibrary *m = &l->model;
    const Spec *s = m->program->net->spec;
    const LibraryMemory *bytes = &m->program->library;
    const bool hosted = !s->target.is_bare;
    const int row = bare_row(b);
    const char *march = s->target.march.v;
    const Fill fill[] = {
        {"name", m->name},
        {"upper", m->upper},
        {"title", s->name.v},
        {"version", AMDIMC_VERSION},
        {"spec", m->spec},
        {"overrides", m->overrides},
        {"weights_rows", l->weights_c
                             ? arena_printf(a,
                                            "| %s_weights.c, .h | an encoder with trained weights as "
                                            "constants, which needs %s.h and nothing else of this folder |\n",
                                            m->name, m->name)
                             : ""},
        {"builds",
         hosted ? arena_printf(
                      a, "lib%s.a, lib%s.so, %s.pc, the example; `make install PREFIX=DIR`; `make size`",
                      m->name, m->name, m->name)
                : arena_printf(a, "lib%s.a; `make size`", m->name)},
        {"make_more", hosted ? arena_printf(a, "            # lib%s.a, lib%s.so, %s.pc, ./example", m->name,
                                            m->name, m->name)
                             : arena_printf(a, "            # lib%s.a", m->name)},
        {"processor", row >= 0 ? arena_printf(a, "It is planned for `%s` (%s).", b->target, bare[row].what)
                      : !strcmp(march, "native")
                          ? "The library runs on processors like the one that builds it."
                          : arena_printf(a, "The library runs on `%s`, as -march knows it.", march)},
        {"params_bytes", as_number(a, bytes->params)},
        {"state_bytes", as_number(a, bytes->state)},
        {"train_bytes", as_number(a, bytes->train)},
        {"encode_bytes", as_number(a, bytes->encode)},
        {"size", as_number(a, (size_t)s->input.size.v)},
        {"channels", as_number(a, (size_t)s->input.channels.v)},
        {"features", as_number(a, (size_t)m->program->feature[0].result->dims[3])},
    };
    return build_expanded(a, b, "library/README.md.tmpl", fill, COUNT(fill));
}

static char *example(Arena *a, const Build *b, const LibraryFolder *l)
{
    Emit e = {.arena = a, .program = l->model.program};
    const char *lr = real(&e, l->model.program->net->spec->optimizer.lr.v);
    const Fill fill[] = {{"name", l->model.name},
                         {"upper", l->model.upper},
                         {"lr", strpbrk(lr, ".e") ? lr : arena_printf(a, "%s.0", lr)}};
    return build_expanded(a, b, "library/example.c.tmpl", fill, COUNT(fill));
}

static const char *python_list(Arena *a, const Net *n, bool located)
{
    const char *text = "";
    for (int i = 0; i < n->pairs; i++)
        if (!located || n->pair[i].located >= 0)
            text = arena_printf(a, "%s%s\"%s\"", text, *text ? ", " : "", n->pair[i].name);
    return text;
}

static char *python(Arena *a, const Build *b, const LibraryFolder *l)
{
    const Program *p = l->model.program;
    const Net *n = p->net;
    const LibraryMemory *m = &p->library;
    const Fill fill[] = {
        {"name", l->model.name},
        {"title", n->spec->name.v},
        {"channels", as_number(a, (size_t)n->spec->input.channels.v)},
        {"size", as_number(a, (size_t)n->spec->input.size.v)},
        {"views", as_number(a, (size_t)n->views)},
        {"batch", as_number(a, (size_t)n->batch)},
        {"features", as_number(a, (size_t)p->feature[0].result->dims[3])},
        {"dim", as_number(a, (size_t)n->spec->embedding.dim.v)},
        {"pair_list", python_list(a, n, false)},
        {"located_list", python_list(a, n, true)},
        {"params", as_number(a, m->params / sizeof(float))},
        {"state", as_number(a, m->state / sizeof(float))},
        {"train_bytes", as_number(a, m->train)},
        {"encode_bytes", as_number(a, m->encode)},
        {"tensors", as_number(a, (size_t)p->params->count)},
    };
    return build_expanded(a, b, "library/model.py.tmpl", fill, COUNT(fill));
}

/* ---- the folder ---- */

static bool write_file(Arena *a, const Build *b, const char *name, const char *text)
{
    return build_write_text(a, b, arena_printf(a, "%s/%s", b->gen_dir, name), text);
}

static bool write_all(Arena *a, const Build *b, const void *what)
{
    const LibraryFolder *l = what;
    const char *name = l->model.name;
    return write_file(a, b, "Makefile", makefile(a, b, l)) &&
           write_file(a, b, "README.md", readme(a, b, l)) &&
           build_copy(a, b, b->home, b->gen_dir, "LICENSE") &&
           write_file(a, b, arena_printf(a, "%s.h", name), emit_manual(a, &l->model)) &&
           write_file(a, b, arena_printf(a, "%s.c", name), emit_library(a, &l->model)) &&
           (!l->weights_c || (write_file(a, b, arena_printf(a, "%s_weights.h", name), l->weights_h) &&
                              write_file(a, b, arena_printf(a, "%s_weights.c", name), l->weights_c))) &&
           write_file(a, b, "example.c", example(a, b, l)) &&
           write_file(a, b, arena_printf(a, "%s.py", name), python(a, b, l));
}

/* What makes views knows grey pictures and pictures in colour. */
static bool can_augment(Diagnostics *d, const Spec *s)
{
    if ((!s->augment.crop.on && !s->augment.jitter.on) || s->input.channels.v == 1 ||
        s->input.channels.v == 3)
        return true;
    diag_error(d, s->input.channels.at, "a library %s pictures of 1 or 3 channels, not of %d",
               s->augment.crop.on ? "crops" : "jitters", (int)s->input.channels.v);
    return false;
}

LibraryMemory library_memory(Arena *a, const Build *b, const Net *n)
{
    TextStream t;
    Spec *s = ARENA_NEW(a, Spec);
    *s = *n->spec;
    library_target(b, s);
    Diagnostics unsaid = {.stream = text_stream_open(&t)};
    const Net *same = net_build(a, &unsaid, s);
    const Program *p = same ? compile(a, &unsaid, same, NULL) : NULL;
    text_stream_close(a, &t);
    return p ? p->library : (LibraryMemory){0};
}

/* The encoder anew, of constants of that type. */
static const Program *with_constants(Arena *a, Diagnostics *d, const Program *p, WeightType type)
{
    Spec *s = ARENA_NEW(a, Spec);
    *s = *p->net->spec;
    s->target.weights = type;
    const Net *same = net_build(a, d, s);
    return same ? compile_schedule(a, same, NULL, p->schedule) : NULL;
}

static bool add_constants(Arena *a, Diagnostics *d, LibraryFolder *l, const TrainedWeights *trained)
{
    ModelLibrary fixed = l->model;
    fixed.program = with_constants(a, d, l->model.program, trained->type);
    return fixed.program &&
           emit_constants(a, &fixed, trained->path, trained->type, &l->weights_c, &l->weights_h);
}

bool library_write(Arena *a, Diagnostics *d, const Build *b, const Program *p, const Overrides *o,
                   const TrainedWeights *trained)
{
    const Spec *s = p->net->spec;
    const char *name = c_name(a, s->name.v, false);
    if (!library_name_is_free(a, d, name, s->name.at) || !can_augment(d, s))
        return false;
    Emit e = {.arena = a, .program = p};
    LibraryFolder l = {.model = {.program = p,
                                 .name = name,
                                 .upper = c_name(a, s->name.v, true),
                                 .spec = in_comment(a, spec_name(&e)),
                                 .overrides = overrides_text(a, o, b),
                                 .templates = b->templates,
                                 .runtime = b->runtime}};
    return (!trained->path || add_constants(a, d, &l, trained)) && folder_put(a, b, "", write_all, &l);
}
