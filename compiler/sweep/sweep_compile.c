/* sweep_compile.c: every combination that has runs to make -> its spec, and the program compiled from that,
 * as many side by side as there are processors. What fails is reported and left out. */
#include "processor.h"
#include "sweep.h"
#include <unistd.h>

static bool is_missing(const Sweep *s, const Combination *c)
{
    return combination_complete(s, c) < s->seeds;
}

const char *program_of(const Sweep *s, const Combination *c)
{
    return in_folder(s, c->folder, "program");
}

/* The spec stays beside what is made of it. */
static bool write_spec(const Sweep *s, const Combination *c, const char *path)
{
    if (!build_directory(s->arena, c->folder))
        return false;
    if (file_is_same(path, s->spec))
        return build_failed(path, "is the spec itself; choose another --out");
    return sweep_write_text(path, c->spec);
}

/* What the machine lacks is an error only where the command line asks for it: its options are handed on. */
static pid_t start_compiler(const Sweep *s, Children *children, const Combination *c)
{
    const Overrides *o = &s->overrides;
    const char *log = in_folder(s, c->folder, "log"), *spec = in_folder(s, c->folder, "spec.yaml");
    Words w = {.arena = s->arena};
    if (!write_spec(s, c, spec))
        return -1;
    words_add(&w, "/proc/self/exe");
    words_option(&w, "-o", program_of(s, c));
    words_option(&w, "--gen-dir", in_folder(s, c->folder, "c"));
    words_option(&w, "--cc", s->cc);
    words_option(&w, "--march", o->value[OVERRIDE_MARCH]);
    words_option(&w, "--blas", o->value[OVERRIDE_BLAS]);
    words_add(&w, "--");
    words_add(&w, spec);
    unlink(log);
    return children_start(children, &(Child){.argv = words_end(&w), .log = log});
}

void note_failure(Sweep *s, const char *what, const char *why)
{
    s->failed = true;
    build_failed(what, why);
}

static void note_compiled(Sweep *s, const Children *children, Combination *c, const Ended *e)
{
    if (child_succeeded(e))
        return;
    c->uncompiled = true;
    if (children->signal)
        return;
    const char *log = in_folder(s, c->folder, "log"), *text = results_text(s->arena, log);
    say_text(text ? text : "");
    note_failure(s, c->label, "could not be compiled; what was said stands above");
}

void compile_all(Sweep *s, Children *children)
{
    pid_t *compiler = ARENA_ARRAY(s->arena, pid_t, s->combinations);
    int next = 0, missing = 0, most = processor_count();
    for (int i = 0; i < s->combinations; i++)
        missing += is_missing(s, &s->combination[i]);
    if (missing)
        say_progress(stderr, "compiling %d combination%s", missing, missing > 1 ? "s" : "");
    while (next < s->combinations || children->count) {
        Combination *c = &s->combination[next];
        if (next < s->combinations && children->count < most && children->count < CHILDREN &&
            !children->signal) {
            if (is_missing(s, c) && (compiler[next] = start_compiler(s, children, c)) < 0)
                c->uncompiled = s->failed = true;
            next++;
            continue;
        }
        if (!children->count) /* stopped before all were begun */
            return;
        Ended e = children_next(children);
        for (int i = 0; i < next; i++)
            if (compiler[i] == e.child)
                note_compiled(s, children, &s->combination[i], &e);
    }
}
