/* test_torture.c: every call of the system, and of malloc, that a command makes fails in turn; after each
 * failure the program has ended well or said why not in one line, and nothing that was there is lost, torn or
 * left over.
 *
 * TORTURE_MOST=N tries at most N of a command's calls of a kind, spread evenly; `make torture` tries all.
 * TORTURE_CASE=WORD tries only the commands whose name has the word. */
#include "cases.h"
#include "samples.h"
#include "shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { MOST_BY_DEFAULT = 1, MOST_CASES = 40 };

static const char *const family_name[FAMILIES] = {
    [FAMILY_MEMORY] = "memory", [FAMILY_OPEN] = "open",         [FAMILY_READ] = "read",
    [FAMILY_WRITE] = "write",   [FAMILY_STREAM] = "stream",     [FAMILY_SYNC] = "sync",
    [FAMILY_RENAME] = "rename", [FAMILY_CLOSE] = "close",       [FAMILY_STATUS] = "status",
    [FAMILY_MAP] = "map",       [FAMILY_TRUNCATE] = "truncate", [FAMILY_LIST] = "list",
    [FAMILY_THREAD] = "thread", [FAMILY_PROCESS] = "process",
};

typedef struct {
    _Atomic long runs[FAMILIES], refused[FAMILIES];
} Tally;

typedef struct {
    const Case *c;
    const Injection *injection;
    const Failure *failure;
    const Place *place;
    char before[400], after[400]; /* trees */
    const Ended *ended;
    bool reached; /* the call was made */
} Trial;

static Counts calls[MOST_CASES];
static Tally *tally; /* of all workers */

static void say(const Trial *t, const char *what, const char *more)
{
    finding("%s, %s %ld %s %s: %s%s; signal %d, exit %d: %s", t->c->name, family_name[t->injection->family],
            t->injection->number,
            t->injection->way == WAY_FROM    ? "and on"
            : t->injection->way == WAY_SHORT ? "short"
                                             : "once",
            t->injection->way == WAY_SHORT ? "" : strerror(t->injection->value), what, more, t->ended->signal,
            t->ended->code, t->ended->said);
}

/* ---- what is said ---- */

static int count_of(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        count++;
    return count;
}

/* On either stream: `check` lists what is wrong on its standard output. */
static bool says(const Trial *t, const char *reason)
{
    size_t count;
    char *printed = file_bytes(t->place->printed, &count);
    bool found = strstr(t->ended->said, reason) || (printed && strstr(printed, reason));
    free(printed);
    return found;
}

static void check_said(const Trial *t)
{
    const Ended *e = t->ended;
    int errors = count_of(e->said, "error: ");
    if (e->hung || e->signal)
        say(t, e->hung ? "hangs" : "crashes", "");
    else if (e->code != 0 && e->code != 1)
        say(t, "ends with a code that is neither 0 nor 1", "");
    else if (t->c->several ? (errors > 0) != e->code : errors != e->code)
        say(t, "does not say one line for one failure", "");
    else if (e->code == 1 && t->failure->reason && !says(t, t->failure->reason))
        say(t, "does not say why: ", t->failure->reason);
    if (strstr(e->said, "(null)") || strstr(e->said, "Success"))
        say(t, "says nothing", "");
}

/* ---- what is left ---- */

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

/* Whose bytes depend on the clock or the speed, or where the run stands; these are looked at by other means.
 */
static bool varies(const Trial *t, const char *name)
{
    static const char *const words[] = {"report.html", "events.out", "metrics.jsonl", "probe.json", "sweep/"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(name, words[i]))
            return true;
    return t->c->resume && ends_with(name, ".safetensors");
}

/* Of a failure after which what is half written may stay until the next run: where nothing can be removed, or
 * be told from others' files, or there is no memory left to say what is to be removed. */
static bool may_leave(const Trial *t)
{
    Family f = t->injection->family;
    bool lasting = t->injection->way == WAY_FROM;
    bool said = t->ended->code == 1 || strstr(t->ended->said, "the run goes on without");
    return said && (f == FAMILY_RENAME || f == FAMILY_STATUS || (f == FAMILY_MEMORY && lasting));
}

static bool is_half_written(const char *name)
{
    return strstr(name, "-tmp") || ends_with(name, "-linked") || strncmp(name, "amdim-", 6) == 0;
}

static void check_left(void *arg, const char *name)
{
    const Trial *t = arg;
    char now[700], before[700], after[700];
    snprintf(now, sizeof now, "%s/%s", t->place->here, name);
    snprintf(before, sizeof before, "%s/%s", t->before, name);
    snprintf(after, sizeof after, "%s/%s", t->after, name);
    if (is_half_written(name)) {
        if (!may_leave(t))
            say(t, "leaves ", name);
    } else if (!varies(t, name) && !files_equal(now, after) &&
               (t->ended->code == 0 || !files_equal(now, before)))
        say(t, "leaves another file than before or after: ", name);
}

static void check_kept(void *arg, const char *name)
{
    const Trial *t = arg;
    char now[700], after[700];
    snprintf(now, sizeof now, "%s/%s", t->place->here, name);
    snprintf(after, sizeof after, "%s/%s", t->after, name);
    if (!file_exists(now) && file_exists(after))
        say(t, "loses ", name);
}

static void check_all_there(void *arg, const char *name)
{
    const Trial *t = arg;
    char now[700];
    snprintf(now, sizeof now, "%s/%s", t->place->here, name);
    if (!file_exists(now) && !strstr(name, "events.out") &&
        !strstr(t->ended->said, "the run goes on without"))
        say(t, "ends well without ", name);
}

static void check_printed(const Trial *t)
{
    char after[420];
    snprintf(after, sizeof after, "%s.printed", t->after);
    if (t->ended->code == 0 && t->c->same_output && !files_equal(t->place->printed, after))
        say(t, "ends well and prints something else", "");
}

/* ---- going on after it ---- */

/* Without a failure, all is as if there had been none. */
static void check_again(const Trial *t)
{
    char command[1200], now[700], after[700];
    expand(command, sizeof command, t->c->resume ? t->c->resume : t->c->command);
    Ended e = run(t->place, command, NULL);
    Trial again = *t;
    again.ended = &e;
    snprintf(now, sizeof now, "%s/run/last.safetensors", t->place->here);
    snprintf(after, sizeof after, "%s/run/last.safetensors", t->after);
    if (e.signal || e.code)
        say(&again, "cannot be gone on with", "");
    else if (t->c->resume && !files_equal(now, after))
        say(&again, "goes on to other weights", "");
    else {
        tree_each(t->place->here, check_left, &again);
        tree_each(t->after, check_all_there, &again);
    }
    free(e.said);
}

/* ---- all of them ---- */

static void try_one(Trial *t)
{
    char command[1200];
    Counts met;
    expand(command, sizeof command, t->c->command);
    tree_copy(t->before, t->place->here);
    Ended e = run(t->place, command, t->injection);
    t->ended = &e;
    place_counts(t->place, &met);
    t->reached = met.met > 0;
    atomic_fetch_add(&tally->runs[t->injection->family], t->reached);
    atomic_fetch_add(&tally->refused[t->injection->family], e.code == 1);
    check_said(t);
    if (!e.hung && !e.signal) {
        tree_each(t->place->here, check_left, t);
        tree_each(t->before, check_kept, t);
        if (e.code == 0)
            tree_each(t->after, check_all_there, t);
        check_printed(t);
        if (e.code != 0 || t->c->resume)
            check_again(t);
    }
    free(e.said);
}

static long most(void)
{
    const char *text = getenv("TORTURE_MOST");
    long number = text ? strtol(text, NULL, 10) : 0;
    return number > 0 ? number : MOST_BY_DEFAULT;
}

static bool is_wanted(const Case *c)
{
    const char *word = getenv("TORTURE_CASE");
    return !word || strstr(c->name, word);
}

static void case_path(char *path, size_t room, int number, const char *what)
{
    snprintf(path, room, "%s/case-%d-%s", setting.folder, number, what);
}

/* Every worker takes each `workers()`-th of all that is to be tried. */
static void work(int worker, void *arg)
{
    Place place;
    char folder[300];
    long turn = 0;
    (void)arg;
    snprintf(folder, sizeof folder, "%s/worker-%d", setting.folder, worker);
    place_make(&place, folder);
    for (int i = 0; i < case_count; i++)
        for (int k = 0; k < failure_count && is_wanted(&cases[i]); k++) {
            const Failure *f = &failures[k];
            long count = calls[i].calls[f->family], tries = count < most() ? count : most();
            for (long n = 0; n < tries; n++) {
                if (turn++ % workers() != worker)
                    continue;
                Injection injection = {f->family, f->way, f->value,
                                       1 + (n * count + (n + k) * 7919 % count) / tries};
                if (injection.number > count || tries == count)
                    injection.number = n + 1;
                Trial t = {.c = &cases[i], .injection = &injection, .failure = f, .place = &place};
                case_path(t.before, sizeof t.before, i, "before");
                case_path(t.after, sizeof t.after, i, "after");
                try_one(&t);
            }
        }
}

/* Makes the trees before and after, and counts the calls. */
static void prepare(int number)
{
    Place place;
    const Case *c = &cases[number];
    char command[1200], folder[300], tree[400], printed[420];
    snprintf(folder, sizeof folder, "%s/preparing", setting.folder);
    place_make(&place, folder);
    tree_copy(place.here, place.here);
    expand(command, sizeof command, c->first);
    if (shell("cd %s && { %s; }", place.here, command))
        fail_msg("%s: %s", c->name, command);
    case_path(tree, sizeof tree, number, "before");
    tree_copy(place.here, tree);
    expand(command, sizeof command, c->command);
    Ended e = run(&place, command, NULL);
    if (e.signal || e.code)
        fail_msg("%s: %s", c->name, e.said);
    case_path(tree, sizeof tree, number, "after");
    tree_copy(place.here, tree);
    snprintf(printed, sizeof printed, "%s.printed", tree);
    assert_int_equal(rename(place.printed, printed), 0);
    place_counts(&place, &calls[number]);
    assert_true(calls[number].calls[FAMILY_MEMORY] > 0);
    free(e.said);
    tree_remove(folder);
}

static void show_tally(void)
{
    long runs = 0, refused = 0;
    for (int i = 0; i < FAMILIES; i++) {
        if (tally->runs[i])
            print_message("%s: %ld failed, %ld runs ended with 1\n", family_name[i], (long)tally->runs[i],
                          (long)tally->refused[i]);
        runs += tally->runs[i];
        refused += tally->refused[i];
    }
    print_message("all: %ld failed, %ld runs ended with 1\n", runs, refused);
    assert_true(runs > 0 && refused > 0);
}

static void test_every_call_fails(void **state)
{
    (void)state;
    assert_true(case_count <= MOST_CASES);
    for (int i = 0; i < case_count; i++)
        if (is_wanted(&cases[i]))
            prepare(i);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(tally != MAP_FAILED);
    bool done = work_at_once(work, NULL);
    assert_int_equal(findings(), 0);
    assert_true(done);
    show_tally();
    munmap(tally, sizeof *tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_call_fails)};
    return cmocka_run_group_tests_name("torture", tests, setting_make, setting_remove);
}
