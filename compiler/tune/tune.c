/* tune.c: one program for each of the ways that there are to make a product, and their times.
 *
 * Program number i makes each product in its way number i, so that there are as many programs as the product
 * with the most ways has. What one takes is timed in the step, between the others, as it will run. Programs
 * take turns, and the least time of each way counts; then a program of the best ways has turns with the one
 * that amdimc makes of itself, and where it does not win, no choice is kept. */
#include "tune.h"
#include "processor.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROUNDS = 3, TURNS = 9, FEWEST_STEPS = 5, MOST_STEPS = 2000 };

typedef struct {
    Arena *arena;
    const Build *build;
    const Overrides *overrides;
    const Program *program;
    Products products;
    const char *folder; /* of all that is made on the way */
    bool *compiled;     /* (programs) which could be */
    double seconds;     /* of a run, about */
    Children *children;
    int steps;   /* of a run */
    double peak; /* GFLOP/s */
} Tuning;

static const char *place_of(const Tuning *t, int number, const char *name)
{
    return arena_printf(t->arena, "%s/%d/%s", t->folder, number, name);
}

/* The spec as it was read: a pipe is read once, and a file may be edited meanwhile. */
static const char *spec_of(const Tuning *t)
{
    return arena_printf(t->arena, "%s/%s.yaml", t->folder, t->program->net->spec->name.v);
}

/* ---- programs ---- */

static pid_t start_compiler(const Tuning *t, int number, const char *choices)
{
    Arena *a = t->arena;
    const Build *b = t->build;
    const Overrides *o = t->overrides;
    const char *log = place_of(t, number, "log"), *path = place_of(t, number, "choices.yaml");
    if (!build_directory(a, arena_printf(a, "%s/%d", t->folder, number)) ||
        !build_write_text(a, b, path, choices))
        return -1;
    Words w = {.arena = a};
    words_add(&w, "/proc/self/exe");
    words_option(&w, "-o", place_of(t, number, "program"));
    words_option(&w, "--gen-dir", place_of(t, number, "c"));
    words_option(&w, "--tuned", path);
    words_option(&w, "--cc", b->cc);
    words_option(&w, "--pairs", o->pairs);
    for (int i = 0; i < OVERRIDE_KINDS; i++)
        words_option(&w, arena_printf(a, "--%s", override_option[i].name), o->value[i]);
    words_add(&w, "--quiet");
    words_add(&w, "--");
    words_add(&w, spec_of(t));
    return children_start(t->children, &(Child){.argv = words_end(&w), .log = log});
}

/* What it printed is shown where it failed; a signal is nobody's failure. */
static bool succeeded(const Tuning *t, const Ended *e, const char *log)
{
    if (child_succeeded(e) || t->children->signal)
        return !t->children->signal;
    const char *text = build_read(t->arena, log);
    say_text(text ? text : "");
    return false;
}

/* Numbers [first, last), each by its choices, some at once. One that cannot be, as it needs more memory than
 * there may be, is left out. */
static bool compile_programs(const Tuning *t, int first, int last, const char *const *choices)
{
    const int most = processor_count();
    pid_t *child = ARENA_ARRAY(t->arena, pid_t, last);
    bool good = true;
    for (int next = first; next < last || t->children->count;) {
        if (good && !t->children->signal && next < last && t->children->count < most &&
            t->children->count < CHILDREN) {
            child[next] = start_compiler(t, next, choices[next - first]);
            good = child[next++] > 0;
            continue;
        }
        if (!t->children->count)
            break;
        const Ended e = children_next(t->children);
        for (int i = first; i < next; i++)
            if (child[i] == e.child)
                t->compiled[i] = succeeded(t, &e, place_of(t, i, "log"));
    }
    return good && !t->children->signal;
}

/* The program that amdimc makes of itself, at least, and others, some of which may be missing. */
static bool compile_ways(const Tuning *t, int programs)
{
    const char **choices = ARENA_ARRAY(t->arena, const char *, programs);
    for (int way = 0; way < programs; way++)
        choices[way] = choices_of_way(t->arena, &t->products, way);
    if (!compile_programs(t, 0, programs, choices))
        return false;
    if (!t->compiled[0])
        return build_failed("--tune", "cannot compile the spec; what was said stands above");
    for (int i = 1; i < programs; i++)
        if (!t->compiled[i])
            say("amdimc: note: program %d of %d cannot be compiled, as said above; its ways are not timed",
                i + 1, programs);
    return true;
}

/* One run of `bench`, whose times are taken in as those of way number `way`. */
static bool bench(Tuning *t, int number, bool profiled, int way, double *step)
{
    Arena *a = t->arena;
    const char *log = place_of(t, number, "bench");
    Words w = {.arena = a};
    words_add(&w, place_of(t, number, "program"));
    words_add(&w, "bench");
    words_add(&w, "--json");
    if (profiled)
        words_add(&w, "--profile");
    words_count(&w, "--steps", t->steps);
    unlink(log);
    if (children_start(t->children, &(Child){.argv = words_end(&w), .log = log}) < 0)
        return false;
    const Ended e = children_next(t->children);
    if (!succeeded(t, &e, log))
        return t->children->signal ? false : build_failed("bench", "failed; what it said stands above");
    const char *text = build_read(a, log), *object = text ? strstr(text, "{\"step_seconds\"") : NULL;
    return (object && measure_take(a, arena_copy(a, object, strcspn(object, "\n")), &t->products, way, step,
                                   &t->peak)) ||
           build_failed(log, "is not what `bench --json` prints");
}

/* So many steps that a run takes a while. */
static bool find_steps(Tuning *t)
{
    double step = 0;
    t->steps = FEWEST_STEPS;
    if (!bench(t, 0, false, 0, &step))
        return false;
    const double steps = t->seconds / step;
    t->steps = steps < FEWEST_STEPS ? FEWEST_STEPS : steps > MOST_STEPS ? MOST_STEPS : (int)steps;
    return true;
}

static bool time_ways(Tuning *t)
{
    double step;
    for (int round = 0; round < ROUNDS; round++) {
        say_progress(stderr, "timing %d programs, round %d of %d", t->products.most_ways, round + 1, ROUNDS);
        for (int way = 0; way < t->products.most_ways; way++)
            if (t->compiled[way] && !bench(t, way, true, way, &step))
                return false;
    }
    return true;
}

/* ---- what was gained ---- */

/* A step's time without the choices over that with them: of turns the median, between which half of them are.
 */
typedef struct {
    double without, with; /* seconds */
    double low, median, high;
} Gain;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *v)
{
    qsort(v, TURNS, sizeof *v, by_size);
    return v[TURNS / 2];
}

/* Program `number` against program 0. */
static bool compare(Tuning *t, int number, Gain *g)
{
    double without[TURNS], with[TURNS], ratio[TURNS];
    for (int turn = 0; turn < TURNS; turn++) {
        if (!bench(t, 0, false, 0, &without[turn]) || !bench(t, number, false, 0, &with[turn]))
            return false;
        ratio[turn] = without[turn] / with[turn];
    }
    *g = (Gain){.without = median_of(without), .with = median_of(with), .median = median_of(ratio)};
    g->low = ratio[TURNS / 4];
    g->high = ratio[TURNS - 1 - TURNS / 4];
    return true;
}

/* ---- all of it ---- */

static bool finish(const Tuning *t, const char *choices, const char *gain)
{
    const Build *b = t->build;
    const char *text = tuned_text(t->arena, t->program, b->cc, t->peak, choices, gain);
    return build_write_text(t->arena, b, b->output, text) &&
           print_text(arena_printf(t->arena,
                                   "%sgain: %s\n%s has the choices; `amdimc %s --tuned %s -o PROGRAM`\n",
                                   choices, gain, b->output, b->spec, b->output));
}

static bool choose(Tuning *t)
{
    const int last = t->products.most_ways;
    const char *best = choices_of_best(t->arena, &t->products);
    Gain g;
    if (best == no_choices)
        return finish(t, no_choices, "none: what amdimc takes of itself is the fastest of all ways");
    if (!compile_programs(t, last, last + 1, &best))
        return false;
    if (!t->compiled[last])
        return finish(t, no_choices, "none: the fastest ways together cannot be compiled, as said above");
    say_progress(stderr, "timing the fastest ways together against amdimc's own");
    if (!compare(t, last, &g))
        return false;
    const char *figures =
        arena_printf(t->arena,
                     "%.3f times as fast, the median of %d turns (half of them %.3f to %.3f): "
                     "%.4g s a step without the choices, %.4g with",
                     g.median, TURNS, g.low, g.high, g.without, g.with);
    if (g.low > 1)
        return finish(t, best, figures);
    return finish(t, no_choices, arena_printf(t->arena, "none: together, the fastest ways were %s", figures));
}

static bool tune_products(Tuning *t)
{
    const int programs = t->products.most_ways;
    if (programs < 2)
        return finish(t, no_choices, "none: there is one way to make each product here");
    say_progress(stderr, "%s: %d products that can be made in up to %d ways; compiling as many programs",
                 t->program->net->spec->name.v, t->products.count, programs);
    t->compiled = ARENA_ARRAY(t->arena, bool, programs + 1);
    return compile_ways(t, programs) && find_steps(t) && time_ways(t) && choose(t);
}

/* What is made on the way lies in a folder of its own, which an earlier run that was killed may have left. */
static bool make_folder(const Tuning *t)
{
    const char *marker = arena_printf(t->arena, "%s/made-by-amdimc-tune", t->folder);
    struct stat st;
    if (mkdir(t->folder, 0777) && (errno != EEXIST || stat(marker, &st)))
        return errno == EEXIST || errno == ENOENT
                   ? build_failed(t->folder, "is in the way; remove it, or choose another --gen-dir")
                   : system_failed(t->folder);
    temporary_begin(t->folder, true);
    return build_write_text(t->arena, t->build, marker, "") &&
           build_write_text(t->arena, t->build, spec_of(t), t->program->net->spec->source->text);
}

bool tune(Arena *a, const Build *b, const Overrides *o, const Program *p, double seconds)
{
    Children children;
    Tuning t = {.arena = a,
                .build = b,
                .overrides = o,
                .program = p,
                .products = products_of(a, p),
                .folder = arena_printf(a, "%s/tuning", b->gen_dir),
                .seconds = seconds,
                .children = &children};
    if (!build_directory(a, b->gen_dir) || !build_lock(b->gen_dir))
        return false;
    children_watch(&children);
    bool good = make_folder(&t) && tune_products(&t);
    children_end();
    good = temporary_remove(good);
    children_leave(&children);
    return good;
}
