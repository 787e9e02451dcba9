/* target.c: the machine a program is for, where --target or --static say that it is not this one as it is:
 * its processor, the flags clang takes for it, and which libraries it has. */
#include "build.h"
#include "processor.h"
#include <fnmatch.h>
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

void target_processor(const Build *b, const Overrides *o, Spec *s)
{
    if (b->target && !o->march && !strcmp(s->target.march.v, "native"))
        s->target.march.v = baseline_of(b->target);
    if (!s->target.threads.at.line && !o->threads)
        s->target.threads.v = processor_count();
    s->target.tiles = strstr(s->target.march.v, "rapids") /* sapphirerapids and what came after it */
                      || (!b->is_folder && !strcmp(s->target.march.v, "native") && processor_permits_tiles());
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

void target_flags(Words *w, const Build *b)
{
    if (b->target)
        words_add(w, arena_printf(w->arena, "--target=%s", b->target));
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

bool target_blas(Arena *a, const Build *b, const Overrides *o, Spec *s)
{
    const char *target = b->target ? b->target : "this machine";
    if (!target_is_other(b) || strcmp(s->target.blas.v, "openblas") || target_has(a, b, LIBRARY_OPENBLAS))
        return true;
    const char *why = arena_printf(a, "%s has no%s OpenBLAS that %s can link", target,
                                   b->is_static ? " static" : "", b->cc);
    if (o->blas)
        return build_failed("--blas openblas", arena_printf(a, "%s; try --blas none", why));
    if (s->target.blas.at.source)
        say("amdimc: note: %s: %s; own kernels make all products", s->source->name, why);
    s->target.blas.v = "none";
    return true;
}
