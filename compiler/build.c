/* build.c: generated files on the disk, and clang. */
#include "build.h"
#include "processor.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

bool build_failed(const char *path, const char *why)
{
    fprintf(stderr, "amdimc: error: %s: %s\n", path, why);
    return false;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

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
    b->library = arena_printf(a, "%s/libamdim.a", library);
    if (!is_directory(b->templates) || !is_directory(b->runtime))
        return build_failed(
            home, "holds no templates/ and runtime/: run amdimc from its checkout, or `make install` it");
    return true;
}

bool build_directory(Arena *a, const char *path)
{
    char *partial = arena_copy(a, path, strlen(path));
    for (char *c = partial + (*partial == '/');; c++) {
        char end = *c;
        if (end && end != '/')
            continue;
        *c = 0;
        if (!is_directory(partial) && mkdir(partial, 0777))
            return build_failed(partial, strerror(errno == EEXIST ? ENOTDIR : errno));
        *c = end;
        if (!end)
            return true;
    }
}

/* A whole file, or NULL. */
static char *read_file(Arena *a, const char *path, size_t *length)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f)
        return NULL;
    char *text = NULL;
    if (!fstat(fileno(f), &st) && S_ISREG(st.st_mode)) {
        text = arena_zeroed(a, (size_t)st.st_size + 1);
        *length = fread(text, 1, (size_t)st.st_size, f);
    }
    fclose(f);
    return text;
}

static bool is_special(const char *path)
{
    struct stat st;
    return !stat(path, &st) && !S_ISREG(st.st_mode);
}

/* Beside its name and renamed over it, so that a full disk leaves what was there; but right into what is no
 * file, as /dev/stdout. */
static bool write_file(Arena *a, const char *path, const char *text, size_t length)
{
    size_t there_length = 0;
    const char *there = read_file(a, path, &there_length);
    if (there && there_length == length && !memcmp(there, text, length))
        return true;
    const char *temporary = is_special(path) ? NULL : arena_printf(a, "%s.tmp-%ld", path, (long)getpid());
    FILE *f = fopen(temporary ? temporary : path, "wb");
    if (!f)
        return build_failed(path, strerror(errno));
    bool good = fwrite(text, 1, length, f) == length;
    good = !fclose(f) && good && (!temporary || !rename(temporary, path));
    if (!good) {
        build_failed(path, strerror(errno));
        if (temporary)
            unlink(temporary);
    }
    return good;
}

bool build_write_text(Arena *a, const char *path, const char *text)
{
    return write_file(a, path, text, strlen(text));
}

bool build_copy(Arena *a, const char *from, const char *to, const char *name)
{
    size_t length = 0;
    const char *path = arena_printf(a, "%s/%s", from, name), *text = read_file(a, path, &length);
    if (!text)
        return build_failed(path, strerror(errno));
    return write_file(a, arena_printf(a, "%s/%s", to, name), text, length);
}

/* The headers of templates/ that the model includes. */
static bool copy_headers(Arena *a, const Build *b, const char *model_c)
{
    DIR *d = opendir(b->templates);
    if (!d)
        return build_failed(b->templates, strerror(errno));
    bool good = true;
    for (struct dirent *entry; good && (entry = readdir(d));)
        if (strstr(model_c, arena_printf(a, "#include \"%s\"\n", entry->d_name)))
            good = build_copy(a, b->templates, b->gen_dir, entry->d_name);
    closedir(d);
    return good;
}

bool build_write(Arena *a, const Build *b, const Spec *s, const char *model_c)
{
    return build_directory(a, b->gen_dir) &&
           build_write_text(a, arena_printf(a, "%s/%s.c", b->gen_dir, s->name.v), model_c) &&
           copy_headers(a, b, model_c) && build_copy(a, b->runtime, b->gen_dir, "amdim.h");
}

/* From an installation of amdimc, else from where it is installed itself. */
bool build_copy_jsmn(Arena *a, const Build *b, const char *to)
{
    const char *const places[] = {b->runtime, "/usr/include", "/usr/local/include"};
    for (size_t i = 0; i < COUNT(places); i++)
        if (!access(arena_printf(a, "%s/jsmn.h", places[i]), R_OK))
            return build_copy(a, places[i], to, "jsmn.h");
    return build_failed("jsmn.h", "not found; install Debian's libjsmn-dev");
}

/* ---- running clang ---- */

void words_add(Words *w, const char *word)
{
    if (w->count == w->capacity) {
        const char **old = w->word;
        w->capacity = w->capacity ? 2 * w->capacity : 32;
        w->word = ARENA_ARRAY(w->arena, const char *, w->capacity);
        if (w->count)
            memcpy(w->word, old, sizeof *old * (size_t)w->count);
    }
    w->word[w->count++] = word;
}

const char *const *words_end(Words *w)
{
    words_add(w, NULL);
    return w->word;
}

bool runs_well(const char *const *argv, const char *input)
{
    int end[2], status = -1;
    pid_t child;
    if (pipe2(end, O_CLOEXEC))
        return false;
    /* What a pipe holds at once is written before anybody reads. */
    bool good = write(end[1], input, strlen(input)) == (ssize_t)strlen(input);
    close(end[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, end[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    good = good && !posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)argv, environ) &&
           waitpid(child, &status, 0) == child;
    posix_spawn_file_actions_destroy(&actions);
    close(end[0]);
    return good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run(const char *const *argv, const char *hint)
{
    pid_t child;
    int status, error = posix_spawnp(&child, argv[0], NULL, NULL, (char *const *)argv, environ);
    if (error)
        return build_failed(argv[0], error == ENOENT
                                         ? "not found; install clang, or name one with --cc or $AMDIMC_CC"
                                         : strerror(error));
    if (waitpid(child, &status, 0) < 0)
        return build_failed(argv[0], strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    fprintf(stderr, "amdimc: error: the back end failed (%s); what it printed stands above%s\n", argv[0],
            hint);
    return false;
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
    if (!strcmp(s->target.march.v, "native") && !processor_permits_tiles())
        words_add(w, "-DMATRIX_TILES=0"); /* the processor may have them nevertheless */
    words_add(w, "-o");
    words_add(w, b->output);
    words_add(w, arena_printf(w->arena, "%s/%s.c", b->gen_dir, s->name.v));
}

static int is_c(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && !strcmp(dot, ".c");
}

/* The runtime's sources, always in the same order. */
static bool add_runtime(Words *w, const Build *b)
{
    static const char *const flags[] = {"-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-ffunction-sections",
                                        "-fdata-sections", "-Wl,--gc-sections"};
    struct dirent **source;
    int count = scandir(b->runtime, &source, is_c, alphasort);
    if (count < 0)
        return build_failed(b->runtime, strerror(errno));
    for (size_t i = 0; i < COUNT(flags); i++)
        words_add(w, flags[i]);
    for (int i = 0; i < count; i++) {
        words_add(w, arena_printf(w->arena, "%s/%s", b->runtime, source[i]->d_name));
        free(source[i]);
    }
    free(source);
    return true;
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
    words_add(w, arena_printf(w->arena, "-I%s", b->gen_dir)); /* jsmn.h */
    if (!build_copy_jsmn(w->arena, b, b->gen_dir) || !add_runtime(w, b))
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
    return run(words_end(&w), b->target ? "; Debian's cross compilers come by `make setup-cross`" : "");
}
