/* folder.c: the folder of --emit=c, which builds where amdimc never was: the model, the runtime's sources,
 * jsmn, xxhash, the spec, a Makefile and a README. The same spec gives the same bytes. */
#include "build.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- its texts ---- */

static char *expanded(Arena *a, const Build *b, const char *name, const Fill *fill, int fills)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        bug("no memory for %s", name);
    template_expand(a, out, b->templates, name, fill, fills);
    fclose(out);
    char *copy = arena_copy(a, text, length);
    free(text);
    return copy;
}

static bool is_native(const Spec *s)
{
    return !strcmp(s->target.march.v, "native");
}

/* The variable that tells the compiler about the processor. */
static const char *march_line(Arena *a, const Spec *s)
{
    const char *line = "MARCH :=";
    Words flags = {.arena = a};
    target_march_flags(&flags, s);
    for (int i = 0; i < flags.count; i++)
        line = arena_printf(a, "%s %s", line, flags.word[i]);
    return line;
}

/* What --target and --static stand for, where the command line of make says nothing else. */
static const char *target_lines(Arena *a, const Build *b)
{
    const char *cc = b->target ? arena_printf(a,
                                              "ifeq ($(origin CC),default)\n"
                                              "CC := clang --target=%s\n"
                                              "endif\n",
                                              b->target)
                               : "";
    return b->is_static ? arena_printf(a, "%sLDFLAGS ?= -static\n", cc) : cc;
}

static char *makefile(Arena *a, const Build *b, const Folder *f)
{
    /* clang says -mcpu=native on some processors; a compiler for another machine knows neither. */
    static const char native[] = "MARCH := $(firstword $(foreach m,-march=native -mcpu=native,$(if $(filter "
                                 "1,$(call builds,$m)),$m)))";
    static const char openblas[] =
        "BLAS  := $(or $(BLAS),$(call builds,-include cblas.h -lopenblas,(void)cblas_sgemm; "
        "openblas_set_num_threads(1)))\n"
        "MODEL := $(if $(filter 0,$(BLAS)),without-openblas/)%s\n"
        "OPENBLAS := $(if $(filter 0,$(BLAS)),,-lopenblas)";
    const char *name = f->net->spec->name.v;
    const Fill fill[] = {
        {"name", name},
        {"openblas", arena_printf(a, f->without_openblas ? openblas : "MODEL := %s", name)},
        {"march", is_native(f->net->spec) ? native : march_line(a, f->net->spec)},
        {"target", target_lines(a, b)},
        {"told", f->without_openblas ? ", with$(if $(filter 0,$(BLAS)),out) OpenBLAS" : ""},
    };
    return expanded(a, b, "Makefile.tmpl", fill, COUNT(fill));
}

/* " and the options `--batch 8 ...`", or nothing: what the command line changed. */
static const char *overrides_text(Arena *a, const Overrides *o, const Build *b)
{
    const struct {
        const char *option, *value;
    } all[] = {{"--pairs", o->pairs},     {"--batch", o->batch}, {"--march", o->march},
               {"--threads", o->threads}, {"--blas", o->blas},   {"--memory", o->memory},
               {"--target", b->target}};
    const char *text = "";
    for (size_t i = 0; i < COUNT(all); i++)
        if (all[i].value)
            text = arena_printf(a, "%s%s%s %s", text, *text ? " " : "", all[i].option, all[i].value);
    if (b->is_static)
        text = arena_printf(a, "%s%s--static", text, *text ? " " : "");
    return *text ? arena_printf(a, " and the options `%s`", text) : "";
}

/* The tensors that `replay` reads, as a list. */
static const char *batch_text(Arena *a, const Net *n)
{
    const Spec *s = n->spec;
    const char *text = "";
    for (int view = 1; view <= n->views; view++)
        text = arena_printf(a, "%s- `x.%d`: float32 %d x %lld x %lld x %lld, normalised\n", text, view,
                            n->batch, (long long)s->input.channels.v, (long long)s->input.size.v,
                            (long long)s->input.size.v);
    for (int i = 0; i < n->pairs; i++)
        for (int view = 1; n->pair[i].located >= 0 && view <= n->views; view++)
            text = arena_printf(a, "%s- `loc.%s.%d`: int64 %d, source locations from 0 to %d\n", text,
                                n->pair[i].name, view, n->batch,
                                n->pair[i].from->scale * n->pair[i].from->scale - 1);
    return arena_copy(a, text, strlen(text) - 1); /* the template ends the last line */
}

static char *readme(Arena *a, const Build *b, const Folder *f)
{
    static const char openblas[] =
        "| OpenBLAS | the largest products | own kernels make them (without-openblas/)"
        " | libopenblas-dev |\n";
    const char *march = f->net->spec->target.march.v;
    const Fill fill[] = {
        {"name", f->net->spec->name.v},
        {"version", AMDIMC_VERSION},
        {"overrides", overrides_text(a, f->overrides, b)},
        {"processor", is_native(f->net->spec)
                          ? "The program runs on processors like the one that builds it, by vectors. For "
                            "matrix tiles (AMX),\n"
                            "generate the folder with `--march sapphirerapids`."
                          : arena_printf(a, "The program runs on `%s`, as -march knows it.", march)},
        {"openblas", f->without_openblas ? openblas : ""},
        {"batch", batch_text(a, f->net)},
    };
    return expanded(a, b, "README.md.tmpl", fill, COUNT(fill));
}

/* ---- its files ---- */

/* The names of files that the folder has of its own. */
static bool name_is_free(Diagnostics *d, Text name)
{
    static const char *const taken[] = {"build", "clean", "runtime", "support", "without-openblas"};
    for (size_t i = 0; i < COUNT(taken); i++)
        if (!strcmp(name.v, taken[i])) {
            diag_error(d, name.at, "a folder of C has a `%s` of its own: name the model something else",
                       name.v);
            return false;
        }
    return true;
}

/* A folder written before is written anew; what somebody else put there is not overwritten. */
static bool is_ours(Arena *a, const char *folder)
{
    static const char first[] = "# Builds ./"; /* of Makefile.tmpl */
    static const char *const names[] = {"Makefile", "README.md", "LICENSE"};
    char begin[sizeof first] = "";
    FILE *f = fopen(arena_printf(a, "%s/Makefile", folder), "rb");
    if (f) {
        if (!fgets(begin, sizeof begin, f))
            *begin = 0;
        fclose(f);
    }
    for (size_t i = 0; i < COUNT(names) && strcmp(begin, first); i++) {
        const char *path = arena_printf(a, "%s/%s", folder, names[i]);
        if (!access(path, F_OK))
            return build_failed(path, "there already, and not by amdimc; choose a folder of its own");
    }
    return true;
}

/* A folder of sources with those below it. */
static bool copy_sources(Arena *a, const char *from, const char *to)
{
    Words source = {.arena = a};
    if (!sources_below(&source, from))
        return false;
    for (int i = 0; i < source.count; i++) {
        const char *slash = strrchr(source.word[i], '/');
        const int length = slash ? (int)(slash - source.word[i]) : 0;
        if (!strcmp(source.word[i], "amdim.h")) /* lies beside the model */
            continue;
        if (!build_directory(a, arena_printf(a, "%s/%.*s", to, length, source.word[i])) ||
            !build_copy(a, from, to, source.word[i]))
            return false;
    }
    return true;
}

static bool write_model_without_openblas(Arena *a, const Folder *f, const char *folder)
{
    const char *to = arena_printf(a, "%s/without-openblas", folder);
    return build_directory(a, to) &&
           build_write_text(a, arena_printf(a, "%s/%s.c", to, f->net->spec->name.v), f->without_openblas);
}

bool folder_write(Arena *a, Diagnostics *d, const Build *b, const Folder *f)
{
    const char *folder = b->gen_dir, *runtime = arena_printf(a, "%s/runtime", folder);
    const Spec *s = f->net->spec;
    return name_is_free(d, s->name) && is_ours(a, folder) && build_directory(a, folder) &&
           build_write_text(a, arena_printf(a, "%s/Makefile", folder), makefile(a, b, f)) &&
           build_write_text(a, arena_printf(a, "%s/README.md", folder), readme(a, b, f)) &&
           build_copy(a, b->home, folder, "LICENSE") && build_write(a, b, s, f->model_c) &&
           (!f->without_openblas || write_model_without_openblas(a, f, folder)) &&
           copy_sources(a, b->runtime, runtime) &&
           copy_sources(a, b->support, arena_printf(a, "%s/support", folder)) &&
           build_copy_header_libraries(a, b, runtime) &&
           build_write_text(a, arena_printf(a, "%s/%s.yaml", folder, s->name.v), s->source->text);
}
