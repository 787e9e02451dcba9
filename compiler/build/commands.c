/* commands.c: command lines, and running them. */
#include "build.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_BYTES = 16 << 20 }; /* of what a compiler prints */

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

void words_option(Words *w, const char *name, const char *value)
{
    if (value) {
        words_add(w, name);
        words_add(w, value);
    }
}

void words_count(Words *w, const char *name, int64_t value)
{
    words_add(w, name);
    words_add(w, arena_printf(w->arena, "%jd", (intmax_t)value));
}

const char *const *words_end(Words *w)
{
    words_add(w, NULL);
    return w->word;
}

int exit_code_of(const char *const *argv, const char *input)
{
    Children c;
    children_watch(&c);
    int code = NOT_RUN;
    if (children_start(&c, &(Child){.argv = argv, .input = input, .log = "/dev/null", .is_compiler = true}) >
        0) {
        Ended e = children_next(&c);
        code = child_succeeded(&e) ? 0 : WIFEXITED(e.status) ? WEXITSTATUS(e.status) : 1;
    }
    children_leave(&c);
    return code;
}

bool runs_well(const char *const *argv, const char *input)
{
    return exit_code_of(argv, input) == 0;
}

bool compiler_not_run(const char *cc, int code)
{
    return build_failed(cc, code == NOT_FOUND
                                ? "not found; install clang, or name one with --cc or $AMDIMC_CC"
                                : "cannot be run; name a clang with --cc or $AMDIMC_CC");
}

/* Runs it; what it prints, or NULL where that cannot be had. */
static bool run_told(Arena *a, Children *c, const Child *child, Ended *e, const char **told)
{
    int memory = memfd_create("printed", MFD_CLOEXEC);
    if (memory < 0)
        return system_failed(child->argv[0]);
    size_t length;
    const char *why, *printed = arena_printf(a, "/proc/self/fd/%d", memory);
    Child logged = *child;
    logged.log = printed;
    bool started = children_start(c, &logged) > 0;
    if (started) {
        *e = children_next(c);
        *told = input_read(a, printed, MOST_BYTES, &length, &why);
    }
    close(memory);
    return started;
}

/* What it prints may hold the names of files, and is shown as such. */
static bool run_shown(Arena *a, Children *c, const Child *child, Ended *e)
{
    const char *told = NULL;
    if (!run_told(a, c, child, e, &told))
        return false;
    say_text(told ? told : "");
    return true;
}

const char *output_of(Arena *a, const char *const *argv)
{
    Children c;
    Ended e = {0};
    const char *told = NULL;
    children_watch(&c);
    const bool ran = run_told(a, &c, &(Child){.argv = argv, .is_compiler = true}, &e, &told);
    children_leave(&c);
    return ran && child_succeeded(&e) ? told : NULL;
}

bool run_compiler(Arena *a, Children *c, const char *const *argv, const char *made, const char *hint)
{
    Ended e = {0};
    if (!run_shown(a, c, &(Child){.argv = argv, .made = made, .is_compiler = true}, &e))
        return false;
    if (child_succeeded(&e) || c->signal)
        return !c->signal;
    int code = WIFEXITED(e.status) ? WEXITSTATUS(e.status) : 0;
    if (code == NOT_FOUND || code == NOT_RUN)
        return compiler_not_run(argv[0], code);
    say("amdimc: error: the back end failed (%s); what it printed stands above%s", argv[0], hint);
    return false;
}
