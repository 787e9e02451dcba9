/* sweep_run.c: does what is missing: once all is compiled, trains and probes one run after the other, alone
 * on the machine, so that their speeds can be compared; or, where --jobs says so, some at once.
 *
 * Every seed is trained with all combinations before the next one begins: a sweep that is stopped has
 * something to compare. What fails is reported and left out; the rest goes on.
 *
 * A run is a walk of programs one after the other: the base line's probes, unless another run has them, the
 * training, its probes. A job is a place where one runs; each program that ends lets its job's run take its
 * next step. */
#include "processor.h"
#include "sweep.h"
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* ---- a run's programs ---- */

typedef enum { RUN_WAITS, RUN_UNDER_WAY, RUN_ENDED } RunState;

/* A run, as messages name it, and where it is. */
typedef struct {
    int index; /* of the combination */
    const Combination *combination;
    SweepRun *run;
    int seed, number;
    RunState state;
} Task;

/* What a job's program does. */
typedef enum { PROBE_UNTRAINED, TRAIN, PROBE } Doing;

/* A place for one run at a time. */
typedef struct {
    int number;
    Task *task;  /* NULL: free */
    pid_t child; /* its program; 0: none, for it waits for another run's base line */
    Doing doing;
    const char *log, *answer; /* of the program; the answer's file, of a probe */
    size_t logged;            /* bytes of the log before it */
    bool told;                /* that it probes what it has trained */
} Job;

typedef struct {
    Sweep *sweep;
    Children *children;
    bool (*keep)(const Sweep *s);
    int tasks;
    Task *task;    /* (tasks), in the order in which they begin */
    Job *job;      /* (sweep->jobs) */
    int threads;   /* of each program; 0: its spec's */
    bool answered; /* a probe has been answered: the data can be probed */
    bool stopped;
} Work;

__attribute__((format(printf, 3, 4))) static void tell(const Work *k, const Task *t, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say_progress(stderr, "[%d/%d] %s, seed %d: %s", t->number, k->tasks, t->combination->label, t->seed,
                 text);
}

static bool task_failed(const Work *k, const Task *t, const char *doing, const char *why)
{
    note_failure(k->sweep,
                 arena_printf(k->sweep->arena, "%s, seed %d: %s", t->combination->label, t->seed, doing),
                 why);
    return false;
}

static const char *child_failure(Arena *a, const Ended *e, const char *log)
{
    if (WIFSIGNALED(e->status))
        return arena_printf(a, "was killed by signal %d (%s)", WTERMSIG(e->status),
                            strsignal(WTERMSIG(e->status)));
    const char *said = last_line(a, log);
    return *said ? arena_printf(a, "failed: %s", said)
                 : arena_printf(a, "failed with status %d and said nothing", WEXITSTATUS(e->status));
}

/* Behind the shell, which puts the command of --run-with before it, or alone. */
static void add_program(const Work *k, const Task *t, Words *w)
{
    const Sweep *s = k->sweep;
    if (s->run_with) {
        words_add(w, "/bin/sh");
        words_add(w, "-c");
        words_add(w, arena_printf(s->arena, "%s \"$@\"", s->run_with));
        words_add(w, "amdimc");
    }
    words_add(w, program_of(s, t->combination));
}

static void add_common(const Work *k, const Task *t, Words *w)
{
    const Sweep *s = k->sweep;
    words_count(w, "--seed", t->seed);
    words_option(w, "--data", s->data);
    if (s->limit)
        words_count(w, "--limit", s->limit);
    words_option(w, "--holdout", s->holdout);
    const int own = t->combination->threads ? t->combination->threads : processor_count();
    if (k->threads && k->threads < own)
        words_count(w, "--threads", k->threads);
}

/* False when it could not be started, which is then said. */
static bool start(const Work *k, Job *j, Words *w)
{
    j->logged = file_bytes(j->log);
    setenv("AMDIMC_JOB", arena_printf(k->sweep->arena, "%d", j->number), true);
    j->child = children_start(
        k->children, &(Child){.argv = words_end(w), .log = j->log, .is_wrapped = k->sweep->run_with != NULL});
    return j->child > 0;
}

static bool start_probe(const Work *k, Job *j, Head head, const char *weights)
{
    Words w = {.arena = k->sweep->arena};
    add_program(k, j->task, &w);
    words_add(&w, "probe");
    words_add(&w, "--json");
    words_option(&w, "--head", head_option[head]);
    words_option(&w, "--weights", weights);
    if (!weights)
        words_add(&w, "--untrained");
    add_common(k, j->task, &w);
    return start(k, j, &w);
}

static bool start_untrained(const Work *k, Job *j, Head head, const char *answer)
{
    Arena *a = k->sweep->arena;
    const char *folder = arena_copy(a, answer, (size_t)(strrchr(answer, '/') - answer));
    tell(k, j->task, "probing the untrained encoder, %s", head_option[head]);
    j->doing = PROBE_UNTRAINED;
    j->answer = answer;
    j->log =
        arena_printf(a, "%s/%s.log", folder, head_option[head]); /* another job may be at the other head */
    return build_directory(a, folder) && start_probe(k, j, head, NULL);
}

static bool start_training_to(const Work *k, Job *j, int64_t epochs)
{
    const Task *t = j->task;
    Words w = {.arena = k->sweep->arena};
    j->doing = TRAIN;
    j->answer = NULL;
    j->log = in_folder(k->sweep, t->run->folder, "log");
    add_program(k, t, &w);
    words_add(&w, "train");
    words_add(&w, "--resume");
    words_option(&w, "--out", t->run->folder);
    words_count(&w, "--epochs", epochs);
    add_common(k, t, &w);
    return start(k, j, &w);
}

static bool start_training(const Work *k, Job *j)
{
    tell(k, j->task, "training");
    return start_training_to(k, j, j->task->run->epochs);
}

static bool start_trained(const Work *k, Job *j, Head head, const char *answer)
{
    const Task *t = j->task;
    if (!j->told)
        tell(k, t, "probing");
    j->told = true;
    j->doing = PROBE;
    j->answer = answer;
    j->log = in_folder(k->sweep, t->run->folder, "log");
    return start_probe(k, j, head, in_folder(k->sweep, t->run->folder, "last.safetensors"));
}

/* ---- a run's next step ---- */

typedef enum { STEP_STARTED, STEP_WAITS, STEP_NONE, STEP_FAILED } Step;

static Step started(bool good)
{
    return good ? STEP_STARTED : STEP_FAILED;
}

/* Another job is making that answer. */
static bool is_under_way(const Work *k, const char *answer)
{
    for (int i = 0; i < k->sweep->jobs; i++)
        if (k->job[i].child && k->job[i].answer && !strcmp(k->job[i].answer, answer))
            return true;
    return false;
}

static Step next_step(const Work *k, Job *j)
{
    const Sweep *s = k->sweep;
    const Task *t = j->task;
    bool waits = false;
    for (Head head = 0; head < HEADS; head++) {
        const char *answer = untrained_path(s, t->combination, t->seed, head);
        if (is_under_way(k, answer))
            waits = true;
        else if (!score_read(s, answer).there)
            return started(start_untrained(k, j, head, answer));
    }
    if (trained_read(s, t->run).epochs < (double)t->run->epochs)
        return started(start_training(k, j));
    for (Head head = 0; head < HEADS; head++) {
        const char *answer = score_path(s, t->run, head);
        if (!score_read(s, answer).there)
            return started(start_trained(k, j, head, answer));
    }
    return waits ? STEP_WAITS : STEP_NONE;
}

/* ---- what became of a step ---- */

static bool keep_answer(const Work *k, const Job *j, const char *doing)
{
    Arena *a = k->sweep->arena;
    const char *line = last_answer(a, j->log, j->logged);
    if (!line)
        return task_failed(k, j->task, doing, arena_printf(a, "no accuracy at the end of %s", j->log));
    return sweep_write_text(j->answer, arena_printf(a, "%s\n", line)) ||
           task_failed(k, j->task, doing, "its answer could not be kept");
}

/* What memory an interrupted training took counts for the run that goes on. That of a command which runs the
 * program, on another machine maybe, is none of its own. */
static bool keep_training(const Work *k, const Task *t, const Ended *e)
{
    Trained so_far = trained_read(k->sweep, t->run);
    if (!k->sweep->run_with && (double)e->peak_bytes > so_far.peak_bytes)
        so_far.peak_bytes = (double)e->peak_bytes;
    if (child_succeeded(e))
        so_far.epochs = (double)t->run->epochs;
    return trained_write(k->sweep, t->run, &so_far);
}

/* False when it failed, which is then said, or was stopped. */
static bool take_result(const Work *k, const Job *j, const Ended *e)
{
    static const char *const names[] = {"probe of the untrained encoder", "training", "probe"};
    Arena *a = k->sweep->arena;
    bool kept = j->doing != TRAIN || keep_training(k, j->task, e);
    if (child_succeeded(e))
        return kept && (j->doing == TRAIN || keep_answer(k, j, names[j->doing]));
    if (!k->children->signal && !k->stopped)
        task_failed(k, j->task, names[j->doing],
                    arena_printf(a, "%s; all it said is in %s", child_failure(a, e, j->log), j->log));
    return false;
}

static void say_result(const Work *k, const Task *t)
{
    const SweepRun *r = t->run;
    Arena *a = k->sweep->arena;
    const char *memory =
        r->peak_bytes > 0 ? arena_printf(a, ", %s MiB", shown_mebibytes(a, r->peak_bytes)) : "";
    tell(k, t, "linear %s %% (untrained %s %%), kNN %s %% (untrained %s %%), %s images/s%s",
         shown_percent(a, r->score[HEAD_LINEAR].accuracy),
         shown_percent(a, r->untrained[HEAD_LINEAR].accuracy), shown_percent(a, r->score[HEAD_KNN].accuracy),
         shown_percent(a, r->untrained[HEAD_KNN].accuracy), shown_speed(a, r->images_per_second), memory);
}

/* Without an answer to any probe so far, what is wrong with the data would be wrong for all. */
static void end_hopeless(Work *k, const Job *j)
{
    if (j->doing != PROBE_UNTRAINED || k->answered || k->stopped || k->children->signal)
        return;
    say("amdimc: no other run is tried, as no probe has been answered");
    k->sweep->failed = k->stopped = true;
    children_tell(k->children, SIGTERM);
}

/* The run is over, by whatever. */
static void end_run(Work *k, Job *j, bool good)
{
    Task *t = j->task;
    t->state = RUN_ENDED;
    j->task = NULL;
    j->told = false;
    if (!good) {
        k->sweep->failed = true;
        return;
    }
    results_read_run(k->sweep, t->index, t->seed);
    if (!run_complete(t->run)) {
        task_failed(k, t, "results", arena_printf(k->sweep->arena, "cannot be read in %s", t->run->folder));
        return;
    }
    say_result(k, t);
    if (k->keep(k->sweep))
        return;
    k->sweep->failed = k->stopped = true; /* there is no use in going on */
    children_tell(k->children, SIGTERM);
}

/* ---- the jobs ---- */

static Task *next_task(const Work *k)
{
    for (int i = 0; i < k->tasks; i++) {
        Task *t = &k->task[i];
        if (t->state == RUN_WAITS && !t->combination->uncompiled && !run_complete(t->run))
            return t;
    }
    return NULL;
}

static void begin_run(const Work *k, Job *j)
{
    j->task = next_task(k);
    if (j->task)
        j->task->state = RUN_UNDER_WAY;
}

/* Until its program runs, or its run has to wait, or none is left. */
static void advance(Work *k, Job *j)
{
    while (!j->child && !k->stopped && !k->children->signal) {
        if (!j->task)
            begin_run(k, j);
        if (!j->task)
            return;
        Step step = build_directory(k->sweep->arena, j->task->run->folder) ? next_step(k, j) : STEP_FAILED;
        if (step == STEP_WAITS || step == STEP_STARTED)
            return;
        j->child = 0;
        end_run(k, j, step == STEP_NONE);
    }
}

static void take_end(Work *k, const Ended *e)
{
    for (int i = 0; i < k->sweep->jobs; i++) {
        Job *j = &k->job[i];
        if (j->child != e->child)
            continue;
        bool good = take_result(k, j, e);
        j->child = 0;
        j->answer = NULL;
        k->answered |= good && j->doing != TRAIN;
        if (!good)
            end_hopeless(k, j);
        if (!good)
            end_run(k, j, false);
    }
}

static void say_begun(const Sweep *s)
{
    int there = sweep_complete(s), all = s->combinations * (int)s->seeds;
    if (there)
        say_progress(stderr, "%d of %d runs are complete already", there, all);
}

static void list_tasks(Work *k)
{
    Sweep *s = k->sweep;
    k->task = ARENA_ARRAY(s->arena, Task, s->combinations * s->seeds);
    for (int seed = 0; seed < s->seeds; seed++)
        for (int i = 0; i < s->combinations; i++, k->tasks++)
            k->task[k->tasks] = (Task){.index = i,
                                       .combination = &s->combination[i],
                                       .run = &s->combination[i].run[seed],
                                       .seed = seed,
                                       .number = k->tasks + 1};
}

/* Of this machine's processors, where they are to be shared and nobody says how; bits do not depend on it. */
static int threads_of_each(const Sweep *s)
{
    if (s->jobs == 1 || s->run_with || s->overrides.value[OVERRIDE_THREADS])
        return 0;
    int threads = processor_count() / s->jobs;
    return threads > 1 ? threads : 1;
}

/* A run that a program can look at without training it any further; NULL: there is none. */
static Task *trained_task(const Work *k)
{
    for (int i = 0; i < k->tasks; i++) {
        const Task *t = &k->task[i];
        if (!t->combination->uncompiled && trained_read(k->sweep, t->run).epochs >= 1 &&
            file_bytes(in_folder(k->sweep, t->run->folder, "last.safetensors")) > 0)
            return &k->task[i];
    }
    return NULL;
}

/* Runs on other pictures do not compare. What --data names may have changed since, which only a program can
 * tell: one goes on with a run that has nothing left to do, and refuses other data than that has seen. */
static bool data_are_those_of_before(Work *k)
{
    Job job = {.task = next_task(k) ? trained_task(k) : NULL};
    if (!job.task)
        return true;
    const int64_t epochs = (int64_t)trained_read(k->sweep, job.task->run).epochs;
    if (!start_training_to(k, &job, epochs))
        return false;
    Ended e = children_next(k->children);
    if (child_succeeded(&e) || k->children->signal)
        return true;
    return task_failed(k, job.task, "cannot be gone on with, so nothing is added to it",
                       child_failure(k->sweep->arena, &e, job.log));
}

void run_all(Sweep *s, Children *children, bool (*keep)(const Sweep *s))
{
    Work k = {.sweep = s,
              .children = children,
              .keep = keep,
              .job = ARENA_ARRAY(s->arena, Job, s->jobs),
              .threads = threads_of_each(s)};
    for (int i = 0; i < s->jobs; i++)
        k.job[i].number = i;
    list_tasks(&k);
    k.answered = sweep_complete(s) > 0;
    say_begun(s);
    compile_all(s, children);
    if (!children->signal && !data_are_those_of_before(&k)) {
        s->failed = true;
        return;
    }
    for (;;) {
        for (int i = 0; i < s->jobs; i++)
            advance(&k, &k.job[i]);
        if (!children->count)
            break;
        Ended e = children_next(children);
        take_end(&k, &e);
    }
}
