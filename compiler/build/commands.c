/* commands.c: command lines, and running them. */
#include "build.h"
#include <string.h>
#include <sys/wait.h>

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
    Children c;
    children_watch(&c);
    bool good = false;
    if (children_start(&c, &(Child){.argv = argv, .input = input, .log = "/dev/null", .is_compiler = true}) >
        0) {
        Ended e = children_next(&c);
        good = child_succeeded(&e);
    }
    children_leave(&c);
    return good;
}

bool run_compiler(Children *c, const char *const *argv, const char *hint)
{
    if (children_start(c, &(Child){.argv = argv, .is_compiler = true}) < 0)
        return false;
    Ended e = children_next(c);
    if (child_succeeded(&e) || c->signal)
        return !c->signal;
    int code = WIFEXITED(e.status) ? WEXITSTATUS(e.status) : 0;
    if (code == NOT_FOUND || code == NOT_RUN)
        return build_failed(argv[0], code == NOT_FOUND
                                         ? "not found; install clang, or name one with --cc or $AMDIMC_CC"
                                         : "cannot be run; name a clang with --cc or $AMDIMC_CC");
    say("amdimc: error: the back end failed (%s); what it printed stands above%s", argv[0], hint);
    return false;
}
