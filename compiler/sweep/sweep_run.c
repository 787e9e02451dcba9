/* sweep_run.c: does what is missing: compiles combinations side by side, then trains and probes one run after
 * the other, alone on the machine, so that their speeds can be compared.
 *
 * Every seed is trained with all combinations before the next one begins: a sweep that is stopped has
 * something to compare. What fails is reported and left out; the rest goes on. */
#include "sweep.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- compiling ---- */

static bool is_missing(const Sweep *s, const Combination *c)
{
    return combination_complete(s, c) < s->seeds;
}

static void add_option(Words *w, const char *name, const char *value)
{
    if (value) {
        words_add(w, name);
        words_add(w, value);
    }
}

static void add_count(Words *w, const char *name, int64_t value)
{
    words_add(w, name);
    words_add(w, arena_printf(w->arena, "%jd", (intmax_t)value));
}

static const char *in_folder(const Sweep *s, const char *folder, const char *name)
{
    return arena_printf(s->arena, "%s/%s", folder, name);
}

static const char *program_of(const Sweep *s, const Combination *c)
{
    return in_folder(s, c->folder, "program");
}

static pid_t start_compiler(const Sweep *s, Children *children, const Combination *c)
{
    const Overrides *o = &s->overrides;
    const char *log = in_folder(s, c->folder, "log");
    Words w = {.arena = s->arena};
    words_add(&w, "/proc/self/exe");
    add_option(&w, "--pairs", c->pairs);
    add_option(&w, "-o", program_of(s, c));
    add_option(&w, "--gen-dir", in_folder(s, c->folder, "c"));
    add_option(&w, "--cc", s->cc);
    add_option(&w, "--batch", o->batch);
    add_option(&w, "--march", o->march);
    add_option(&w, "--threads", o->threads);
    add_option(&w, "--blas", o->blas);
    add_option(&w, "--memory", o->memory);
    words_add(&w, "--");
    words_add(&w, s->spec);
    if (!build_directory(s->arena, c->folder))
        return -1;
    unlink(log);
    return children_start(children, &(Child){.argv = words_end(&w), .log = log});
}

static void note_failure(Sweep *s, const char *what, const char *why)
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
    note_failure(s, c->pairs, "could not be compiled; what was said stands above");
}

static int processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return count < CHILDREN ? count : CHILDREN;
}

static void compile_all(Sweep *s, Children *children)
{
    pid_t *compiler = ARENA_ARRAY(s->arena, pid_t, s->combinations);
    int next = 0, missing = 0, most = processors();
    for (int i = 0; i < s->combinations; i++)
        missing += is_missing(s, &s->combination[i]);
    if (missing)
        say_progress(stderr, "compiling %d combination%s", missing, missing > 1 ? "s" : "");
    while (next < s->combinations || children->count) {
        Combination *c = &s->combination[next];
        if (next < s->combinations && children->count < most && !children->signal) {
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

/* ---- one program after the other ---- */

/* A run under way, as messages name it. */
typedef struct {
    Sweep *sweep;
    Children *children;
    const Combination *combination;
    SweepRun *run;
    int seed, number;
} Task;

__attribute__((format(printf, 2, 3))) static void tell(const Task *t, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say_progress(stderr, "[%d/%d] %s, seed %d: %s", t->number, t->sweep->combinations * (int)t->sweep->seeds,
                 t->combination->name, t->seed, text);
}

static bool task_failed(const Task *t, const char *doing, const char *why)
{
    note_failure(t->sweep,
                 arena_printf(t->sweep->arena, "%s, seed %d: %s", t->combination->pairs, t->seed, doing),
                 why);
    return false;
}

static const char *child_failure(Arena *a, const Ended *e, const char *log)
{
    if (WIFSIGNALED(e->status))
        return arena_printf(a, "was killed by signal %d (%s)", WTERMSIG(e->status),
                            strsignal(WTERMSIG(e->status)));
    return arena_printf(a, "failed: %s", last_line(a, log));
}

/* Runs the program alone. False when it failed, which is then said, or was stopped. */
static bool run_program(const Task *t, Words *w, const char *doing, const char *log, Ended *e)
{
    if (children_start(t->children, &(Child){.argv = words_end(w), .log = log}) < 0) {
        t->sweep->failed = true;
        return false;
    }
    *e = children_next(t->children);
    if (child_succeeded(e))
        return true;
    if (!t->children->signal)
        task_failed(t, doing,
                    arena_printf(t->sweep->arena, "%s; all it said is in %s",
                                 child_failure(t->sweep->arena, e, log), log));
    return false;
}

static void add_data(const Sweep *s, Words *w)
{
    add_option(w, "--data", s->data);
    if (s->limit)
        add_count(w, "--limit", s->limit);
}

/* The answer is the last line. */
static bool keep_answer(const Task *t, const char *doing, const char *log, const char *answer)
{
    const char *line = last_line(t->sweep->arena, log);
    if (!score_parse(line).there)
        return task_failed(t, doing,
                           arena_printf(t->sweep->arena, "no accuracy in the last line of %s", log));
    return sweep_write_text(answer, arena_printf(t->sweep->arena, "%s\n", line)) ||
           task_failed(t, doing, "its answer could not be kept");
}

static bool probe(const Task *t, Head head, const char *weights, const char *log, const char *answer)
{
    const Sweep *s = t->sweep;
    Words w = {.arena = s->arena};
    Ended e;
    words_add(&w, program_of(s, t->combination));
    words_add(&w, "probe");
    words_add(&w, "--json");
    add_option(&w, "--head", head_option[head]);
    add_option(&w, "--weights", weights);
    if (!weights)
        words_add(&w, "--untrained");
    add_count(&w, "--seed", t->seed);
    add_data(s, &w);
    const char *doing = weights ? "probe" : "probe of the untrained encoder";
    return run_program(t, &w, doing, log, &e) && keep_answer(t, doing, log, answer);
}

/* The base line, unless another combination of the same layer has it already. */
static bool probe_untrained(const Task *t)
{
    const Sweep *s = t->sweep;
    for (Head head = 0; head < HEADS; head++) {
        const char *answer = untrained_path(s, t->combination, t->seed, head);
        const char *folder = arena_copy(s->arena, answer, (size_t)(strrchr(answer, '/') - answer));
        if (score_read(s, answer).there)
            continue;
        tell(t, "probing the untrained encoder, %s", head_option[head]);
        if (!build_directory(s->arena, folder) || !probe(t, head, NULL, in_folder(s, folder, "log"), answer))
            return false;
    }
    return true;
}

/* What memory an interrupted training took counts for the run that goes on. */
static bool train(const Task *t)
{
    const Sweep *s = t->sweep;
    Trained so_far = trained_read(s, t->run);
    Words w = {.arena = s->arena};
    Ended e = {0};
    if (so_far.epochs >= (double)s->epochs)
        return true;
    tell(t, "training");
    words_add(&w, program_of(s, t->combination));
    words_add(&w, "train");
    words_add(&w, "--resume");
    add_option(&w, "--out", t->run->folder);
    add_count(&w, "--seed", t->seed);
    add_count(&w, "--epochs", s->epochs);
    add_data(s, &w);
    bool good = run_program(t, &w, "training", in_folder(s, t->run->folder, "log"), &e);
    if ((double)e.peak_bytes > so_far.peak_bytes)
        so_far.peak_bytes = (double)e.peak_bytes;
    if (good)
        so_far.epochs = (double)s->epochs;
    return (e.child == 0 || trained_write(s, t->run, &so_far)) && good;
}

static bool probe_trained(const Task *t)
{
    const Sweep *s = t->sweep;
    tell(t, "probing");
    for (Head head = 0; head < HEADS; head++) {
        const char *answer = score_path(s, t->run, head);
        if (!score_read(s, answer).there && !probe(t, head, in_folder(s, t->run->folder, "last.safetensors"),
                                                   in_folder(s, t->run->folder, "log"), answer))
            return false;
    }
    return true;
}

static void say_result(const Task *t)
{
    const SweepRun *r = t->run;
    tell(t, "linear %.2f %% (untrained %.2f %%), kNN %.2f %% (untrained %.2f %%), %.1f images/s, %.1f MiB",
         100 * r->score[HEAD_LINEAR].accuracy, 100 * r->untrained[HEAD_LINEAR].accuracy,
         100 * r->score[HEAD_KNN].accuracy, 100 * r->untrained[HEAD_KNN].accuracy, r->images_per_second,
         r->peak_bytes / MEBIBYTE);
}

static bool complete(const Task *t)
{
    return build_directory(t->sweep->arena, t->run->folder) && probe_untrained(t) && train(t) &&
           probe_trained(t);
}

static void say_begun(const Sweep *s)
{
    int there = sweep_complete(s), all = s->combinations * (int)s->seeds;
    if (there)
        say_progress(stderr, "%d of %d runs are complete already", there, all);
}

/* True when there is no use in going on. */
static bool run_one(Task *t, int combination, bool (*keep)(const Sweep *s))
{
    if (t->combination->uncompiled || run_complete(t->run))
        return false;
    if (!complete(t)) { /* which is said, or the sweep is stopped */
        t->sweep->failed = true;
        return false;
    }
    results_read_run(t->sweep, combination, t->seed);
    if (!run_complete(t->run)) {
        task_failed(t, "results", arena_printf(t->sweep->arena, "cannot be read in %s", t->run->folder));
        return false;
    }
    say_result(t);
    if (keep(t->sweep))
        return false;
    t->sweep->failed = true;
    return true;
}

void run_all(Sweep *s, Children *children, bool (*keep)(const Sweep *s))
{
    int number = 0;
    say_begun(s);
    compile_all(s, children);
    for (int seed = 0; seed < s->seeds; seed++)
        for (int i = 0; i < s->combinations; i++) {
            const Combination *c = &s->combination[i];
            Task t = {s, children, c, &c->run[seed], seed, ++number};
            if (children->signal || run_one(&t, i, keep))
                return;
        }
}
