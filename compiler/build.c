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

static bool failed(const char *path, const char *why)
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
        return failed("/proc/self/exe", strerror(errno));
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
    b->templates = arena_printf(a, "%s/templates", home);
    b->runtime = arena_printf(a, "%s/runtime", home);
    b->library = arena_printf(a, "%s/libamdim.a", library);
    if (!is_directory(b->templates) || !is_directory(b->runtime))
        return failed(home,
                      "holds no templates/ and runtime/: run amdimc from its checkout, or `make install` it");
    return true;
}

/* Makes a folder and those above it. */
static bool make_directories(Arena *a, const char *path)
{
    char *partial = arena_copy(a, path, strlen(path));
    for (char *c = partial + 1;; c++) {
        char end = *c;
        if (end && end != '/')
            continue;
        *c = 0;
        if (mkdir(partial, 0777) && errno != EEXIST)
            return failed(partial, strerror(errno));
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

/* Beside its name and renamed over it, so that a full disk leaves what was there. */
static bool write_file(Arena *a, const char *path, const char *text, size_t length)
{
    size_t there_length = 0;
    const char *there = read_file(a, path, &there_length);
    if (there && there_length == length && !memcmp(there, text, length))
        return true;
    const char *temporary = arena_printf(a, "%s.tmp-%ld", path, (long)getpid());
    FILE *f = fopen(temporary, "wb");
    if (!f)
        return failed(temporary, strerror(errno));
    bool good = fwrite(text, 1, length, f) == length;
    good = !fclose(f) && good && !rename(temporary, path);
    if (!good) {
        failed(path, strerror(errno));
        unlink(temporary);
    }
    return good;
}

bool build_write_text(Arena *a, const char *path, const char *text)
{
    return write_file(a, path, text, strlen(text));
}

static bool copy_file(Arena *a, const char *from, const char *to_directory, const char *name)
{
    size_t length = 0;
    const char *path = arena_printf(a, "%s/%s", from, name), *text = read_file(a, path, &length);
    if (!text)
        return failed(path, strerror(errno));
    return write_file(a, arena_printf(a, "%s/%s", to_directory, name), text, length);
}

bool build_write(Arena *a, const Build *b, const Spec *s, const char *model_c)
{
    return make_directories(a, b->gen_dir) &&
           write_file(a, arena_printf(a, "%s/%s.c", b->gen_dir, s->name.v), model_c, strlen(model_c)) &&
           copy_file(a, b->templates, b->gen_dir, "kernels.h") &&
           copy_file(a, b->templates, b->gen_dir, "nce.h") &&
           (!b->openblas || copy_file(a, b->templates, b->gen_dir, "blas.h")) &&
           copy_file(a, b->runtime, b->gen_dir, "amdim.h");
}

static const char *const model_flags[] = {"-std=c17", "-O3", "-ffp-contract=fast", "-fno-math-errno"};

static const char *makefile_text(Arena *a, const Build *b, const Spec *s)
{
    return arena_printf(
        a,
        "# Builds ./%s. CC and CFLAGS are yours to set; what the code needs is in the rules.\n"
        "CC     ?= cc\n"
        "CFLAGS ?= -O3 -march=%s\n"
        "NEEDED  = -std=c17 -D_GNU_SOURCE -ffp-contract=fast -fno-math-errno -pthread -I.\n"
        "OBJECTS = %s.o $(patsubst %%.c,%%.o,$(wildcard runtime/*.c))\n\n"
        "%s: $(OBJECTS)\n\t$(CC) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $(OBJECTS) -ljpeg -lpng%s -lm\n\n"
        "%%.o: %%.c $(wildcard *.h runtime/*.h)\n\t$(CC) $(NEEDED) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<\n\n"
        "clean:\n\trm -f %s $(OBJECTS)\n.PHONY: clean\n",
        s->name.v, s->target.march.v, s->name.v, s->name.v, b->openblas ? " -lopenblas" : "", s->name.v);
}

bool build_write_folder(Arena *a, const Build *b, const Spec *s, const char *model_c)
{
    const char *runtime = arena_printf(a, "%s/runtime", b->gen_dir);
    if (!build_write(a, b, s, model_c) || !make_directories(a, runtime))
        return false;
    DIR *d = opendir(b->runtime);
    if (!d)
        return failed(b->runtime, strerror(errno));
    bool good = true;
    for (struct dirent *entry; good && (entry = readdir(d));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && (!strcmp(dot, ".c") || !strcmp(dot, ".h")))
            good = copy_file(a, b->runtime, runtime, entry->d_name);
    }
    closedir(d);
    const char *makefile = makefile_text(a, b, s);
    return good && write_file(a, arena_printf(a, "%s/Makefile", b->gen_dir), makefile, strlen(makefile));
}

static bool run(const char *const *argv)
{
    pid_t child;
    int status, error = posix_spawnp(&child, argv[0], NULL, NULL, (char *const *)argv, environ);
    if (error)
        return failed(argv[0], error == ENOENT
                                   ? "not found; install clang, or name one with --cc or $AMDIMC_CC"
                                   : strerror(error));
    if (waitpid(child, &status, 0) < 0)
        return failed(argv[0], strerror(errno));
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
