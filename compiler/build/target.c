/* target.c: the machine a program is for, where --target or --static say that it is not this one as it is:
 * its processor, the flags clang takes for it, and which libraries it has. */
#include "build.h"
#include "processor.h"
#include <fnmatch.h>
#include <glob.h>
#include <string.h>

/* What every machine of a triple has, as Debian draws the line. */
static const struct {
    const char *triples, *march;
} baselines[] = {
    {"x86_64-*", "x86-64"},
    {"aarch64-*", "armv8-a"},
    {"arm-*-gnueabihf", "armv7-a"},
    {"riscv64-*", "rv64gc"},
};
/* Of a triple that is not listed: clang's own choice, without -march. */
static const char other_baseline[] = "baseline";

static const char *baseline_of(const char *triple)
{
    for (size_t i = 0; i < COUNT(baselines); i++)
        if (!fnmatch(baselines[i].triples, triple, 0))
            return baselines[i].march;
    return other_baseline;
}

/* Whether the processor has AVX512_BF16; those that have matrix tiles besides are planned for these. A folder
 * may go anywhere. */
static bool has_dots(const Build *b, const char *march)
{
    static const char *const have_it[] = {"cooperlake", "znver[4-9]"};
    for (size_t i = 0; i < COUNT(have_it); i++)
        if (!fnmatch(have_it[i], march, 0))
            return true;
    return !b->is_folder && !strcmp(march, "native") && processor_has_fast_dots();
}

void target_processor(const Build *b, const Overrides *o, Spec *s)
{
    if (b->target && !o->value[OVERRIDE_MARCH] && !strcmp(s->target.march.v, "native"))
        s->target.march.v = baseline_of(b->target);
    s->target.all_processors = !s->target.threads.at.line && !o->value[OVERRIDE_THREADS];
    if (s->target.all_processors)
        s->target.threads.v = processor_count();
    s->target.tiles = strstr(s->target.march.v, "rapids") /* sapphirerapids and what came after it */
                      || (!b->is_folder && !strcmp(s->target.march.v, "native") && processor_permits_tiles());
    s->target.dots = has_dots(b, s->target.march.v);
}

void target_march_flags(Words *w, const Spec *s)
{
    const char *march = s->target.march.v;
    if (!strcmp(march, other_baseline))
        return;
    words_add(w, arena_printf(w->arena, "-march=%s", march));
    if (!strcmp(march, "armv7-a")) /* else clang supposes NEON, which not all of these have */
        words_add(w, "-mfpu=vfpv3-d16");
}

bool target_is_other(const Build *b)
{
    return b->target || b->is_static;
}

/* Debian's gcc for RISC-V with a system, as a folder for each version. Where the one for bare machines is
 * installed as well, clang takes that for it and finds no C library: so it is told. */
#define RISCV_GCC     "/usr/lib/gcc-cross/riscv64-linux-gnu"
#define RISCV_LIBRARY "/usr/riscv64-linux-gnu"
#define RISCV_FLAGS(gcc)                                                                                     \
    "-B" gcc " -L" gcc " -B" RISCV_LIBRARY "/lib -L" RISCV_LIBRARY "/lib -isystem " RISCV_LIBRARY            \
    "/include -Wno-unused-command-line-argument"

static bool is_riscv_linux(const char *triple)
{
    return !fnmatch("riscv64-*linux-gnu", triple, 0);
}

static void add_riscv_flags(Words *w)
{
    glob_t found;
    if (!glob(RISCV_GCC "/*", 0, NULL, &found)) {
        const char *gcc = found.gl_pathv[found.gl_pathc - 1];
        char *flags = arena_printf(w->arena, RISCV_FLAGS("%s"), gcc, gcc);
        for (char *rest = flags, *flag; (flag = strtok_r(rest, " ", &rest));)
            words_add(w, flag);
    }
    globfree(&found);
}

const char *target_clang(Arena *a, const char *triple)
{
    return arena_printf(a, "clang --target=%s%s", triple,
                        is_riscv_linux(triple) ? "$(foreach gcc,$(lastword $(wildcard " RISCV_GCC
                                                 "/*)), " RISCV_FLAGS("$(gcc)") ")"
                                               : "");
}

void target_flags(Words *w, const Build *b)
{
    if (b->target)
        words_add(w, arena_printf(w->arena, "--target=%s", b->target));
    if (b->target && is_riscv_linux(b->target))
        add_riscv_flags(w);
    if (b->is_static)
        words_add(w, "-static");
}

/* ---- libraries ---- */

typedef struct {
    const char *headers[2]; /* in the order they must come in, or NULL */
    const char *statement;  /* as in templates/Makefile.tmpl */
    const char *link, *link_static;
} LibraryRow;

static const LibraryRow libraries[LIBRARIES] = {
    [LIBRARY_JPEG] = {{"stdio.h", "jpeglib.h"}, "(void)jpeg_mem_src; jpeg_std_error(0)", "-ljpeg", NULL},
    [LIBRARY_PNG] = {{"png.h", NULL}, "png_access_version_number()", "-lpng", "-lz"},
    [LIBRARY_GZIP] = {{"zlib.h", NULL}, "zlibVersion()", "-lz", NULL},
    [LIBRARY_OPENBLAS] = {{"cblas.h", NULL},
                          "(void)cblas_sgemm; openblas_set_num_threads(1)",
                          "-lopenblas",
                          NULL},
};

void target_link(Words *w, const Build *b, Library library)
{
    words_add(w, libraries[library].link);
    if (b->is_static && libraries[library].link_static)
        words_add(w, libraries[library].link_static);
}

bool target_has(Arena *a, const Build *b, Library library)
{
    const LibraryRow *row = &libraries[library];
    Words w = {.arena = a};
    words_add(&w, b->cc);
    target_flags(&w, b);
    words_add(&w, "-Werror=implicit-function-declaration");
    for (size_t i = 0; i < COUNT(row->headers) && row->headers[i]; i++) {
        words_add(&w, "-include");
        words_add(&w, row->headers[i]);
    }
    words_add(&w, "-x");
    words_add(&w, "c");
    words_add(&w, "-");
    words_add(&w, "-o");
    words_add(&w, "/dev/null"); /* which linkers write to, and do not replace */
    target_link(&w, b, library);
    words_add(&w, "-lm");
    words_add(&w, "-pthread");
    return runs_well(words_end(&w), arena_printf(a, "int main(void) { %s; return 0; }\n", row->statement));
}

/* ---- what cannot be ---- */

/* Clang's exit code for `source`, with those flags, of the target's or not; what it prints is thrown away. */
static int try_clang(Arena *a, const Build *b, const char *const *flags, const char *source)
{
    Words w = {.arena = a};
    words_add(&w, b->cc);
    target_flags(&w, b);
    words_add(&w, "-x");
    words_add(&w, "c");
    words_add(&w, "-");
    for (; *flags; flags++) /* libraries come behind what wants them */
        words_add(&w, *flags);
    return exit_code_of(words_end(&w), source);
}

bool target_is_bare(const char *triple)
{
    const char *end = triple ? strrchr(triple, '-') : NULL;
    return triple && (strstr(triple, "-none") || (end && !strcmp(end, "-elf")));
}

static bool refuse_triple(Arena *a, const Build *b)
{
    return build_failed(
        arena_printf(a, "--target %s", b->target),
        arena_printf(a,
                     "%s knows no such machine; tried are aarch64-linux-gnu, arm-linux-gnueabihf, "
                     "riscv64-linux-gnu, x86_64-linux-gnu and, for --emit=library, "
                     "thumbv7em-none-eabihf, riscv32-unknown-elf",
                     b->cc));
}

/* Whether -march takes the names that -print-supported-cpus lists; elsewhere it takes architectures. */
static bool lists_processors(const char *triple)
{
    if (triple)
        return !fnmatch("x86_64-*", triple, 0) || !fnmatch("i?86-*", triple, 0);
#if defined __x86_64__ || defined __i386__
    return true;
#else
    return false;
#endif
}

/* At its place in the spec, or by the option's name. */
static bool refuse_march(Arena *a, Diagnostics *d, const Spec *s, const char *why)
{
    const Text *march = &s->target.march;
    if (march->at.source != s->source)
        return build_failed(arena_printf(a, "--march %s", march->v), why);
    diag_error(d, march->at, "target.march %s: %s", march->v, why);
    return false;
}

static bool refuse_processor(Arena *a, Diagnostics *d, const Build *b, const Spec *s)
{
    const char *unknown = arena_printf(a, "%s knows no such processor%s%s", b->cc, b->target ? " of " : "",
                                       b->target ? b->target : ""),
               *target = b->target ? arena_printf(a, " --target=%s", b->target) : "";
    return refuse_march(
        a, d, s,
        lists_processors(b->target)
            ? arena_printf(a, "%s; `%s%s -print-supported-cpus` lists them", unknown, b->cc, target)
            : arena_printf(a,
                           "%s; an architecture is wanted, as armv8.2-a, armv7e-m or "
                           "rv64gc, with what it has besides, as armv8.2-a+fp16",
                           unknown));
}

bool target_has_system(Arena *a, const Build *b)
{
    return !target_is_bare(b->target) ||
           build_failed(arena_printf(a, "--target %s", b->target),
                        "a program needs an operating system; --emit=library makes C functions for a bare "
                        "machine");
}

/* Of a machine and processor whose code clang makes: what a program is compiled and linked with. */
static bool can_link(Arena *a, Diagnostics *d, const Build *b, const Spec *s)
{
    static const char program[] = "#include <math.h>\n#include <pthread.h>\n#include <stdio.h>\n"
                                  "int main(int argc, char **argv)\n{\n    pthread_t thread;\n"
                                  "    (void)argv;\n    printf(\"%g\", cos(argc));\n"
                                  "    return pthread_create(&thread, 0, 0, 0);\n}\n";
    static const char *const compile[] = {"-fsyntax-only", NULL};
    static const char *const link[] = {"-o", "/dev/null", "-lm", "-pthread", NULL};
    Words tuned = {.arena = a};
    target_march_flags(&tuned, s);
    for (size_t i = 0; link[i]; i++)
        words_add(&tuned, link[i]);
    const char *target = b->target ? arena_printf(a, "--target %s", b->target) : "--static";
    if (!target_has_system(a, b))
        return false;
    if (!try_clang(a, b, words_end(&tuned), program))
        return true;
    if (!try_clang(a, b, link, program)) /* as another width of words, or profile, than its library's */
        return refuse_march(a, d, s,
                            arena_printf(a,
                                         "the C library of %s is for other processors; %s is what every "
                                         "machine of it has",
                                         b->target ? b->target : "this machine",
                                         b->target ? baseline_of(b->target) : "native"));
    if (!b->target)
        return build_failed(target, "no static C library is found; install Debian's libc6-dev");
    return build_failed(
        target, arena_printf(a,
                             "no %s found for it; `make setup-cross` installs Debian's for the machines "
                             "that it has, --emit=c makes a folder that is built there",
                             try_clang(a, b, compile, program) ? "C library's headers are"
                                                               : "linker or no C library is"));
}

/* Down to assembly: of some machines clang knows the types, but has no code. */
static const char *const to_assembly[] = {"-S", "-o", "/dev/null", NULL};

/* It runs, and compiles nothing at all for the target: why. */
static bool refuse_compiler(Arena *a, const Build *b)
{
    static const char is_clang[] = "#ifndef __clang__\n#error\n#endif\n";
    const Build own = {.cc = b->cc};
    if (try_clang(a, &own, to_assembly, is_clang))
        return build_failed(b->cc, "compiles no C as clang does; name a clang with --cc or $AMDIMC_CC");
    return refuse_triple(a, b);
}

static bool knows_processor(Arena *a, const Build *b, const Spec *s)
{
    Words flags = {.arena = a};
    target_march_flags(&flags, s);
    for (size_t i = 0; to_assembly[i]; i++)
        words_add(&flags, to_assembly[i]);
    return !try_clang(a, b, words_end(&flags), "");
}

static bool refuse_ranks(Arena *a, const Build *b, const Spec *s)
{
    return build_failed(b->output,
                        arena_printf(a,
                                     "a program of %d ranks is for this machine, with shared libraries: for "
                                     "others, `amdimc --emit=c` makes a folder that builds there",
                                     (int)s->target.ranks.v));
}

bool target_check(Arena *a, Diagnostics *d, const Build *b, const Spec *s, bool compiles)
{
    const bool is_native = !strcmp(s->target.march.v, "native");
    if (!target_is_other(b) && is_native)
        return true;
    if (compiles && target_is_other(b) && s->target.ranks.v > 1)
        return refuse_ranks(a, b, s);
    const int code = try_clang(a, b, to_assembly, "");
    if (code == NOT_FOUND || code == NOT_RUN) /* what is compiled elsewhere, or never, needs none */
        return !compiles || compiler_not_run(b->cc, code);
    if (code)
        return refuse_compiler(a, b);
    if (!(is_native && b->is_folder) && !knows_processor(a, b, s)) /* a folder's is known where it is built */
        return refuse_processor(a, d, b, s);
    return !compiles || !target_is_other(b) || can_link(a, d, b, s);
}

bool target_blas(Arena *a, const Build *b, const Overrides *o, Spec *s)
{
    const char *target = b->target ? b->target : "this machine";
    if (!target_is_other(b) || strcmp(s->target.blas.v, "openblas") || target_has(a, b, LIBRARY_OPENBLAS))
        return true;
    const char *why = arena_printf(a, "%s has no%s OpenBLAS that %s can link", target,
                                   b->is_static ? " static" : "", b->cc);
    if (o->value[OVERRIDE_BLAS])
        return build_failed("--blas openblas", arena_printf(a, "%s; try --blas none", why));
    if (s->target.blas.at.source)
        say("amdimc: note: %s: %s; own kernels make all products", s->source->name, why);
    s->target.blas.v = "none";
    return true;
}
