/* build.c: generated files on the disk, and clang. */
#include "amdimc.h"
#include <dirent.h>
#include <errno.h>
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

static const char *const model_flags[] = {"-std=c17", "-O3", "-ffp-contract=fast", "-fno-math-errno"};

static bool run(const char *const *argv)
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
    fprintf(stderr, "amdimc: error: the back end failed (%s); what it printed stands above\n", argv[0]);
    return false;
}

bool build_program(Arena *a, const Build *b, const Spec *s)
{
    enum { MAX_ARGUMENTS = 32 };
    const char *argv[MAX_ARGUMENTS];
    int n = 0;
    argv[n++] = b->cc;
    for (size_t i = 0; i < COUNT(model_flags); i++)
        argv[n++] = model_flags[i];
    argv[n++] = arena_printf(a, "-march=%s", s->target.march.v);
    argv[n++] = "-Wall";
    argv[n++] = "-Wextra";
    argv[n++] = "-Wpedantic";
    argv[n++] = "-s"; /* what ships carries no symbols */
    argv[n++] = "-o";
    argv[n++] = b->output;
    argv[n++] = arena_printf(a, "%s/%s.c", b->gen_dir, s->name.v);
    argv[n++] = b->library;
    argv[n++] = "-ljpeg";
    argv[n++] = "-lpng";
    if (b->openblas)
        argv[n++] = "-lopenblas";
    argv[n++] = "-lm";
    argv[n++] = "-pthread";
    argv[n] = NULL;
    return run(argv);
}
