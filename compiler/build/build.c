/* build.c: generated files on the disk, and clang. */
#include "build.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

bool build_locate(Arena *a, Build *b)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return build_failed("/proc/self/exe", strerror(errno));
    self[length] = 0;
    char *slash = strrchr(self, '/');
    *slash = 0; /* the executable's folder; one up is a checkout or PREFIX */
    char *up = strrchr(self, '/');
    const char *top = arena_copy(a, self, up ? (size_t)(up - self) : 0);
    const char *home = arena_printf(a, "%s/share/amdimc", top),
               *library = arena_printf(a, "%s/lib/amdimc", top);
    if (!is_directory(home)) {
        home = top;
        library = self;
    }
    b->home = home;
    b->templates = arena_printf(a, "%s/templates", home);
    b->runtime = arena_printf(a, "%s/runtime", home);
    b->support = arena_printf(a, "%s/support", home);
    b->library = arena_printf(a, "%s/libamdim.a", library);
    if (!is_directory(b->templates) || !is_directory(b->runtime) || !is_directory(b->support))
        return build_failed(
            home,
            "holds no templates/, runtime/ and support/: run amdimc from its checkout, or `make install` it");
    return true;
}

static bool copy_included(Words *copied, const Build *b, const char *text);

static bool copy_header(Words *copied, const Build *b, const char *name)
{
    for (int i = 0; i < copied->count; i++)
        if (!strcmp(copied->word[i], name))
            return true;
    const char *text = build_read(copied->arena, arena_printf(copied->arena, "%s/%s", b->templates, name));
    words_add(copied, name);
    return text && build_copy(copied->arena, b->templates, b->gen_dir, name) &&
           copy_included(copied, b, text);
}

/* The headers of templates/ that a text includes, and those that they include. */
static bool copy_included(Words *copied, const Build *b, const char *text)
{
    Words header = {.arena = copied->arena};
    if (!sources_below(&header, b->templates))
        return false;
    for (int i = 0; i < header.count; i++)
        if (strstr(text, arena_printf(copied->arena, "#include \"%s\"\n", header.word[i])) &&
            !copy_header(copied, b, header.word[i]))
            return false;
    return true;
}

bool build_write(Arena *a, const Build *b, const Spec *s, const char *model_c)
{
    return build_directory(a, b->gen_dir) &&
           build_write_text(a, arena_printf(a, "%s/%s.c", b->gen_dir, s->name.v), model_c) &&
           copy_included(&(Words){.arena = a}, b, model_c) &&
           build_copy(a, b->runtime, b->gen_dir, "amdim.h");
}

/* Headers of libraries that are nothing else, which programs for other machines are compiled with. */
static const struct {
    const char *name, *package;
} header_libraries[] = {{"jsmn.h", "libjsmn-dev"}, {"xxhash.h", "libxxhash-dev"}};

/* From an installation of amdimc, else from where the library is installed itself. */
static bool copy_header_library(Arena *a, const Build *b, const char *name, const char *package,
                                const char *to)
{
    const char *const places[] = {b->runtime, "/usr/include", "/usr/local/include"};
    for (size_t i = 0; i < COUNT(places); i++)
        if (!access(arena_printf(a, "%s/%s", places[i], name), R_OK))
            return build_copy(a, places[i], to, name);
    return build_failed(name, arena_printf(a, "not found; install Debian's %s", package));
}

bool build_copy_header_libraries(Arena *a, const Build *b, const char *to)
{
    for (size_t i = 0; i < COUNT(header_libraries); i++)
        if (!copy_header_library(a, b, header_libraries[i].name, header_libraries[i].package, to))
            return false;
    return true;
}

/* ---- programs ---- */

static void add_model(Words *w, const Build *b, const Spec *s)
{
    static const char *const flags[] = {"-std=c17",        "-O3",   "-ffp-contract=fast",
                                        "-fno-math-errno", "-Wall", "-Wextra",
                                        "-Wpedantic",      "-s"}; /* what ships carries no symbols */
    words_add(w, b->cc);
    for (size_t i = 0; i < COUNT(flags); i++)
        words_add(w, flags[i]);
    target_march_flags(w, s);
    words_add(w, "-o");
    words_add(w, b->output);
    words_add(w, arena_printf(w->arena, "%s/%s.c", b->gen_dir, s->name.v));
}

/* The C files of a folder, and its headers' folder. */
static bool add_sources(Words *w, const char *root)
{
    Words source = {.arena = w->arena};
    if (!sources_below(&source, root))
        return false;
    words_add(w, arena_printf(w->arena, "-I%s", root));
    for (int i = 0; i < source.count; i++)
        if (strrchr(source.word[i], '.')[1] == 'c')
            words_add(w, arena_printf(w->arena, "%s/%s", root, source.word[i]));
    return true;
}

static bool add_runtime(Words *w, const Build *b)
{
    static const char *const flags[] = {"-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-ffunction-sections",
                                        "-fdata-sections", "-Wl,--gc-sections"};
    for (size_t i = 0; i < COUNT(flags); i++)
        words_add(w, flags[i]);
    return add_sources(w, b->runtime) && add_sources(w, b->support);
}

/* A library of the target's, or the macro that does without. */
static void add_picture_library(Words *w, const Build *b, Library library, const char *name)
{
    if (target_has(w->arena, b, library)) {
        target_link(w, b, library);
        return;
    }
    words_add(w, arena_printf(w->arena, "-DAMDIM_NO_%s", name));
    fprintf(stderr, "amdimc: note: %s will read no %s: %s has no%s library for it\n", b->output, name,
            b->target ? b->target : "this machine", b->is_static ? " static" : "");
}

static bool add_runtime_of_target(Words *w, const Build *b)
{
    target_flags(w, b);
    words_add(w, arena_printf(w->arena, "-I%s", b->gen_dir)); /* jsmn.h, xxhash.h */
    if (!build_copy_header_libraries(w->arena, b, b->gen_dir) || !add_runtime(w, b))
        return false;
    add_picture_library(w, b, LIBRARY_JPEG, "JPEG");
    add_picture_library(w, b, LIBRARY_PNG, "PNG");
    add_picture_library(w, b, LIBRARY_GZIP, "GZIP");
    return true;
}

bool build_program(Arena *a, const Build *b, const Spec *s)
{
    Words w = {.arena = a};
    add_model(&w, b, s);
    if (target_is_other(b)) {
        if (!add_runtime_of_target(&w, b))
            return false;
    } else {
        words_add(&w, b->library);
        target_link(&w, b, LIBRARY_JPEG);
        target_link(&w, b, LIBRARY_PNG);
        target_link(&w, b, LIBRARY_GZIP);
    }
    if (b->openblas)
        target_link(&w, b, LIBRARY_OPENBLAS);
    words_add(&w, "-lm");
    words_add(&w, "-pthread");
    return run_compiler(words_end(&w),
                        b->target ? "; Debian's cross compilers come by `make setup-cross`" : "");
}
