/* build.c: generated files on the disk, and clang. */
#include "build.h"
#include "support.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool build_locate(Arena *a, Build *b)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return system_failed("/proc/self/exe");
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
    return text && build_copy(copied->arena, b, b->templates, b->gen_dir, name) &&
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

static bool write_model(Arena *a, const Build *b, const Spec *s, const char *folder, const char *model_c)
{
    return build_directory(a, folder) &&
           build_write_text(a, b, arena_printf(a, "%s/%s.c", folder, s->name.v), model_c) &&
           copy_included(&(Words){.arena = a}, b, model_c);
}

static const char *reference_folder(Arena *a, const Build *b)
{
    return arena_printf(a, "%s/float32", b->gen_dir);
}

bool build_write(Arena *a, const Build *b, const Spec *s, const char *model_c, const char *reference_c)
{
    return write_model(a, b, s, b->gen_dir, model_c) &&
           (!reference_c || write_model(a, b, s, reference_folder(a, b), reference_c)) &&
           build_copy(a, b, b->runtime, b->gen_dir, "amdim.h");
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
            return build_copy(a, b, places[i], to, name);
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

/* Of what the linker writes to gen_dir. */
static const char *linked_name(Arena *a, const Spec *s)
{
    return arena_printf(a, ".%s.amdimc-linked", s->name.v);
}

bool build_is_generated(Arena *a, const Build *b, const Spec *s, const char *path)
{
    Words all = {.arena = a};
    words_add(&all, arena_printf(a, "%s.c", s->name.v));
    words_add(&all, linked_name(a, s));
    words_add(&all, "amdim.h");
    if (!sources_below(&all, b->templates))
        return true;
    for (int i = 0; i < all.count; i++) {
        const char *made = arena_printf(a, "%s/%s", b->gen_dir, all.word[i]), *slash = strrchr(path, '/');
        bool same_name =
            !strcmp(slash ? slash + 1 : path, all.word[i]) && file_is_same(parent_of(a, path), b->gen_dir);
        if (same_name || file_is_same(path, made))
            return !build_failed(path, "is a file of the generated C; give the output another name");
    }
    return false;
}

/* As a compiler takes the first of its words for its name. */
static const char *as_program(Arena *a, const char *cc)
{
    return strchr(cc, '/') ? as_operand(a, cc) : cc;
}

static void add_model(Words *w, const Build *b, const Spec *s, const char *linked)
{
    static const char *const flags[] = {"-std=c17",        "-O3",   "-ffp-contract=fast",
                                        "-fno-math-errno", "-Wall", "-Wextra",
                                        "-Wpedantic",      "-s"}; /* what ships carries no symbols */
    words_add(w, as_program(w->arena, b->cc));
    for (size_t i = 0; i < COUNT(flags); i++)
        words_add(w, flags[i]);
    target_march_flags(w, s);
    words_add(w, "-o");
    words_add(w, linked);
    words_add(w, as_operand(w->arena, arena_printf(w->arena, "%s/%s.c", b->gen_dir, s->name.v)));
    if (s->target.precision != PRECISION_BFLOAT16)
        return;
    words_add(w, arena_printf(w->arena, "-I%s", as_operand(w->arena, b->gen_dir)));
    words_add(
        w, as_operand(w->arena, arena_printf(w->arena, "%s/%s.c", reference_folder(w->arena, b), s->name.v)));
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
    say("amdimc: note: %s will read no %s: %s has no%s library for it", b->output, name,
        b->target ? b->target : "this machine", b->is_static ? " static" : "");
}

static bool add_runtime_of_target(Words *w, const Build *b)
{
    target_flags(w, b);
    words_add(w, arena_printf(w->arena, "-I%s", as_operand(w->arena, b->gen_dir))); /* jsmn.h, xxhash.h */
    if (!build_copy_header_libraries(w->arena, b, b->gen_dir) || !add_runtime(w, b))
        return false;
    add_picture_library(w, b, LIBRARY_JPEG, "JPEG");
    add_picture_library(w, b, LIBRARY_PNG, "PNG");
    add_picture_library(w, b, LIBRARY_GZIP, "GZIP");
    return true;
}

static bool add_mpi(Words *w, const Build *b, const Spec *s)
{
    if (b->target || b->is_static)
        return build_failed(b->output,
                            arena_printf(w->arena,
                                         "a program of %d ranks is for this machine, with shared libraries: "
                                         "for others, `amdimc --emit=c` makes a folder that builds there",
                                         (int)s->target.ranks.v));
    return mpi_add(w, b);
}

static bool add_all(Words *w, const Build *b, const Spec *s, const char *linked)
{
    add_model(w, b, s, linked);
    if (target_is_other(b)) {
        if (!add_runtime_of_target(w, b))
            return false;
    } else {
        words_add(w, b->library);
        target_link(w, b, LIBRARY_JPEG);
        target_link(w, b, LIBRARY_PNG);
        target_link(w, b, LIBRARY_GZIP);
    }
    if (s->target.ranks.v > 1 && !add_mpi(w, b, s))
        return false;
    if (b->openblas)
        target_link(w, b, LIBRARY_OPENBLAS);
    words_add(w, "-lm");
    words_add(w, "-pthread");
    return true;
}

/* What was there stays readable, writable or private; whoever may read it may run it. */
static mode_t mode_of(const char *output, mode_t linked)
{
    struct stat there;
    mode_t permissions = S_IRWXU | S_IRWXG | S_IRWXO;
    if (stat(output, &there))
        return linked & permissions;
    return (there.st_mode & permissions) | (there.st_mode & (S_IRUSR | S_IRGRP | S_IROTH)) >> 2;
}

static void copy_bytes(FILE *from, FILE *to)
{
    char bytes[1 << 16];
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, from)) > 0;)
        fwrite(bytes, 1, got, to);
}

/* From where the linker wrote it to where it shall be: whole, or what was there stays. */
static bool copy_program(FILE *linked, const char *output, mode_t mode)
{
    NewFile file;
    Fault f;
    if (!file_create(&file, output, &f))
        return build_fault(&f);
    copy_bytes(linked, file.stream);
    if (ferror(linked)) {
        file_discard(&file);
        return build_failed(output, "what was linked cannot be read again");
    }
    if (!file_set_mode(&file, mode, &f)) {
        file_discard(&file);
        return build_fault(&f);
    }
    return file_commit(&file, &f) || build_fault(&f);
}

static bool deliver(const Build *b, const char *linked)
{
    struct stat status;
    if (stat(linked, &status) || !S_ISREG(status.st_mode) || !status.st_size)
        return build_failed(b->cc, "said that all went well, and made no program; is it a clang?");
    FILE *file = fopen(linked, "rb");
    if (!file)
        return system_failed(linked);
    bool good = copy_program(file, b->output, mode_of(b->output, status.st_mode));
    fclose(file);
    return good;
}

bool build_program(Arena *a, const Build *b, const Spec *s)
{
    const char *linked = as_operand(a, arena_printf(a, "%s/%s", b->gen_dir, linked_name(a, s)));
    Words w = {.arena = a};
    if (!add_all(&w, b, s, linked))
        return false;
    Children c;
    children_watch(&c);
    temporary_begin(linked, false);
    bool good = run_compiler(a, &c, words_end(&w), linked,
                             b->target ? "; Debian's cross compilers come by `make setup-cross`" : "") &&
                deliver(b, linked);
    good = temporary_remove(good);
    children_leave(&c);
    return good;
}
