/* folder.c: the folder of --emit=c, which builds where amdimc never was: the model, the runtime's sources,
 * jsmn, xxhash, the spec, a Makefile and a README. The same spec gives the same bytes. */
#include "build.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- its texts ---- */

char *build_expanded(Arena *a, const Build *b, const char *name, const Fill *fill, int fills)
{
    TextStream t;
    template_expand(a, text_stream_open(&t), b->templates, name, fill, fills);
    return text_stream_close(a, &t);
}

static bool is_native(const Spec *s)
{
    return !strcmp(s->target.march.v, "native");
}

const char *march_line(Arena *a, const Spec *s)
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
                                              "CC := %s\n"
                                              "endif\n",
                                              target_clang(a, b->target))
                               : "";
    return b->is_static ? arena_printf(a, "%sLDFLAGS ?= -static\n", cc) : cc;
}

/* clang says -mcpu=native on some processors; a compiler for another machine knows neither. */
const char native_march_line[] = "MARCH := $(firstword $(foreach m,-march=native -mcpu=native,$(if $(filter "
                                 "1,$(call builds,$m)),$m)))";

/* Of several ranks: MPI's flags, as its own compiler tells them, and what there is to say where that is
 * missing. */
static const char *mpi_lines(const Folder *f)
{
    if (f->net->shares == 1)
        return "";
    return "# Its processes speak MPI.\n"
           "MPICC ?= mpicc\n"
           "comma := ,\n"
           "MPI_FLAGS := $(shell $(MPICC) -show)\n"
           "MPI_COMPILE = -DAMDIM_MPI $(filter -I% -D%,$(MPI_FLAGS))\n"
           "MPI_LINK = $(filter -L% -l% -Wl$(comma)% -pthread,$(MPI_FLAGS))\n"
           "ifneq ($(MAKECMDGOALS),clean)\n"
           "ifeq ($(MPI_FLAGS),)\n"
           "$(error $(MPICC) cannot be run: this program needs MPI (Debian: libopenmpi-dev); MPICC=... names "
           "another)\n"
           "endif\n"
           "endif\n"
           "build/runtime/shares/mpi.o: NEEDED += $(MPI_COMPILE)\n";
}

static char *makefile(Arena *a, const Build *b, const Folder *f)
{
    static const char openblas[] =
        "BLAS  := $(or $(BLAS),$(call builds,-include cblas.h -lopenblas,(void)cblas_sgemm; "
        "openblas_set_num_threads(1)))\n"
        "MODEL := $(if $(filter 0,$(BLAS)),without-openblas/)%s\n"
        "OPENBLAS := $(if $(filter 0,$(BLAS)),,-lopenblas)";
    const char *name = f->net->spec->name.v;
    const Fill fill[] = {
        {"name", name},
        {"openblas", arena_printf(a, f->without_openblas ? openblas : "MODEL := %s", name)},
        {"march", is_native(f->net->spec) ? native_march_line : march_line(a, f->net->spec)},
        {"target", target_lines(a, b)},
        {"mpi", mpi_lines(f)},
        {"link_mpi", f->net->shares > 1 ? " $(MPI_LINK)" : ""},
        {"reference", f->reference_c ? arena_printf(a, " build/float32/%s.o", name) : ""},
        {"told", f->without_openblas ? ", with$(if $(filter 0,$(BLAS)),out) OpenBLAS" : ""},
    };
    return build_expanded(a, b, "Makefile.tmpl", fill, COUNT(fill));
}

static const char *with_option(Arena *a, const char *text, const char *option, const char *value)
{
    return value ? arena_printf(a, "%s --%s %s", text, option, value) : text;
}

const char *overrides_text(Arena *a, const Overrides *o, const Build *b)
{
    const char *text = with_option(a, "", "pairs", o->pairs);
    for (int i = 0; i < OVERRIDE_KINDS; i++)
        text = with_option(a, text, override_option[i].name, o->value[i]);
    text = with_option(a, text, "tuned", b->tuned);
    text = with_option(a, text, "target", b->target);
    if (b->is_static)
        text = arena_printf(a, "%s --static", text);
    return *text ? arena_printf(a, " and the options `%s`", text + 1) : "";
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
                                n->pair[i].name, view, n->batch, net_positions(n->pair[i].from) - 1);
    return arena_copy(a, text, strlen(text) - 1); /* the template ends the last line */
}

static char *readme(Arena *a, const Build *b, const Folder *f)
{
    static const char openblas[] =
        "| OpenBLAS | the largest products | own kernels make them (without-openblas/)"
        " | libopenblas-dev |\n";
    static const char mpi[] =
        "| MPI | what joins its processes | needed: `mpicc -show` tells make how | libopenmpi-dev, "
        "openmpi-bin |\n";
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
        {"mpi", f->net->shares > 1 ? mpi : ""},
        {"batch", batch_text(a, f->net)},
    };
    return build_expanded(a, b, "README.md.tmpl", fill, COUNT(fill));
}

/* ---- its files ---- */

/* The names of files that the folder has of its own. */
static bool name_is_free(Diagnostics *d, const Folder *f, Text name)
{
    static const char *const taken[] = {"build",    "clean",    "runtime",    "support", "without-openblas",
                                        "Makefile", "makefile", "GNUmakefile"};
    bool is_taken = f->reference_c && !strcmp(name.v, "float32");
    for (size_t i = 0; i < COUNT(taken); i++)
        is_taken |= !strcmp(name.v, taken[i]);
    if (is_taken)
        diag_error(d, name.at, "a folder of C has a `%s` of its own: name the model something else", name.v);
    return !is_taken;
}

static bool has_our_makefile(Arena *a, const char *folder)
{
    return build_begins(a, arena_printf(a, "%s/Makefile", folder), "# Builds ./"); /* as Makefile.tmpl does */
}

/* A folder written before is written anew; what somebody else put there is not overwritten. */
static bool is_ours(Arena *a, const char *folder)
{
    static const char *const names[] = {"Makefile", "README.md", "LICENSE"};
    for (size_t i = 0; i < COUNT(names) && !has_our_makefile(a, folder); i++) {
        const char *path = arena_printf(a, "%s/%s", folder, names[i]);
        if (!access(path, F_OK))
            return build_failed(path, "there already, and not by amdimc; choose a folder of its own");
    }
    return true;
}

static const char *without_slashes(Arena *a, const char *folder)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    return arena_copy(a, folder, length);
}

/* A folder of sources with those below it. */
static bool copy_sources(Arena *a, const Build *b, const char *from, const char *to)
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
            !build_copy(a, b, from, to, source.word[i]))
            return false;
    }
    return true;
}

/* The folder as it shall be, in `b->gen_dir`; its Makefile first, which says whose it is. */
static bool write_all(Arena *a, const Build *b, const void *what)
{
    const Folder *f = what;
    const char *folder = b->gen_dir, *runtime = arena_printf(a, "%s/runtime", folder);
    const Spec *s = f->net->spec;
    return build_write_text(a, b, arena_printf(a, "%s/Makefile", folder), makefile(a, b, f)) &&
           build_write_text(a, b, arena_printf(a, "%s/README.md", folder), readme(a, b, f)) &&
           build_copy(a, b, b->home, folder, "LICENSE") && build_write(a, b, s, f->model_c, f->reference_c) &&
           (!f->without_openblas || build_write_model(a, b, s, arena_printf(a, "%s/without-openblas", folder),
                                                      f->without_openblas)) &&
           copy_sources(a, b, b->runtime, runtime) &&
           copy_sources(a, b, b->support, arena_printf(a, "%s/support", folder)) &&
           build_copy_header_libraries(a, b, runtime) &&
           build_write_text(a, b, arena_printf(a, "%s/%s.yaml", folder, s->name.v), s->source->text);
}

/* ---- whole or not at all ---- */

/* Its Makefile, which says whose it is, is the first file of a stage. */
static bool is_stage(Arena *a, const char *path)
{
    Words all = {.arena = a};
    return is_directory(path) && (has_our_makefile(a, path) || (files_below(&all, path) && !all.count));
}

/* One that is there already was left by a compiler that was killed: nobody else is at work here. */
static bool begin_stage(Arena *a, const char *path)
{
    if (mkdir(path, 0777)) {
        if (errno != EEXIST)
            return system_failed(path);
        if (!is_stage(a, path))
            return build_failed(path, "is in the way; remove it");
        temporary_begin(path, true);
        if (!temporary_remove(true))
            return false;
        if (mkdir(path, 0777))
            return system_failed(path);
    }
    temporary_begin(path, true);
    return true;
}

/* Inside a folder that is there, else beside it. */
static const char *stage_of(Arena *a, const char *folder)
{
    if (is_directory(folder))
        return arena_printf(a, "%s/.amdimc-tmp", folder);
    const char *slash = strrchr(folder, '/');
    return arena_printf(a, "%s/.%s.amdimc-tmp", parent_of(a, folder), slash ? slash + 1 : folder);
}

/* A spec in the very folder is what would be written, and stays. */
static bool is_kept(Arena *a, const Build *b, const char *from, const char *to)
{
    return file_is_same(to, b->spec) || build_is_equal(a, from, to);
}

static bool may_replace(Arena *a, const Build *b, const char *stage, const char *spec, const Words *all)
{
    const bool is_ours = has_our_makefile(a, b->gen_dir);
    for (int i = 0; i < all->count; i++) {
        const char *to = arena_printf(a, "%s/%s", b->gen_dir, all->word[i]);
        if (is_directory(to))
            return build_failed(to, "is a directory where a file shall go; remove it");
        if (strcmp(all->word[i], spec) && file_is_same(to, b->spec))
            return build_failed(to, "is the spec itself; choose another folder");
        if (!is_ours && !access(to, F_OK) &&
            !is_kept(a, b, arena_printf(a, "%s/%s", stage, all->word[i]), to))
            return build_failed(to, "there already, and not by amdimc; choose a folder of its own");
    }
    return true;
}

/* File by file into a folder that was there, where others may lie, too. */
static bool move_all(Arena *a, const Build *b, const char *stage, const char *spec)
{
    Words all = {.arena = a};
    if (!files_below(&all, stage) || !may_replace(a, b, stage, spec, &all))
        return false;
    for (int i = 0; i < all.count; i++) {
        const char *from = arena_printf(a, "%s/%s", stage, all.word[i]),
                   *to = arena_printf(a, "%s/%s", b->gen_dir, all.word[i]);
        if (is_kept(a, b, from, to))
            continue;
        if (!build_directory(a, parent_of(a, to)))
            return false;
        if (rename(from, to))
            return system_failed(to);
    }
    return true;
}

static bool write_staged(Arena *a, const Build *b, const char *spec, FolderWriter *write, const void *what)
{
    bool is_there = is_directory(b->gen_dir);
    Build staged = *b;
    staged.gen_dir = stage_of(a, b->gen_dir);
    if (!begin_stage(a, staged.gen_dir) || !write(a, &staged, what))
        return false;
    if (is_there)
        return move_all(a, b, staged.gen_dir, spec);
    return !rename(staged.gen_dir, b->gen_dir) || system_failed(b->gen_dir);
}

bool folder_put(Arena *a, const Build *b, const char *spec, FolderWriter *write, const void *what)
{
    Build to = *b;
    to.gen_dir = without_slashes(a, b->gen_dir);
    const char *parent = parent_of(a, to.gen_dir); /* which stays, whatever becomes of the folder */
    if (!is_ours(a, to.gen_dir) || !build_directory(a, parent) || !build_lock(parent))
        return false;
    Children none;
    children_watch(&none); /* signals wait until all is in its place */
    bool good = write_staged(a, &to, spec, write, what);
    good = temporary_remove(good);
    children_leave(&none);
    return good;
}

bool folder_write(Arena *a, Diagnostics *d, const Build *b, const Folder *f)
{
    const Text name = f->net->spec->name;
    return name_is_free(d, f, name) && folder_put(a, b, arena_printf(a, "%s.yaml", name.v), write_all, f);
}
