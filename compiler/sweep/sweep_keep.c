/* sweep_keep.c: what a sweep's folder remembers.
 *
 * OUT/settings decides the results of every run there, so it must stay: going on with others is refused.
 * OUT/plan may only grow: combinations, seeds, epochs. Both are text, a setting a line. */
#include "sweep.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BYTES = 64 << 20 };
enum { TRIES = 1200, PAUSE_NANOSECONDS = 50 * 1000 * 1000 }; /* a minute */

static bool refuse(const Sweep *s, const char *what)
{
    return build_failed(s->out, what);
}

/* Only one sweep at a time: the lock goes with the process. */
static bool lock(const Sweep *s)
{
    int folder = open(s->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return system_failed(s->out);
    if (!flock(folder, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK)
        return true;
    close(folder);
    return refuse(s, "another sweep is at work in this folder; wait for it, or choose another --out");
}

/* What a sweep that was killed has left running ends by itself, a training when it has saved. All that this
 * sweep starts inherits its lock of the second folder, so that the next one knows. */
static bool wait_for_children(const Sweep *s)
{
    const char *path = arena_printf(s->arena, "%s/untrained", s->out);
    if (!build_directory(s->arena, path))
        return false;
    int folder = open(path, O_RDONLY | O_DIRECTORY);
    if (folder < 0)
        return system_failed(path);
    for (int tries = 0; flock(folder, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK; tries++) {
        if (tries == 0)
            say("amdimc: note: a sweep that was killed here has left a program running; waiting for it to "
                "save");
        if (tries == TRIES)
            return refuse(s, "a program of a sweep that was killed does not end; end it, and try again");
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NANOSECONDS}, NULL);
    }
    return true;
}

/* What a sweep writes is none of what it reads. */
static bool keeps_the_spec(const Sweep *s)
{
    static const char *const written[] = {"settings", "plan", "sweep.csv", "sweep.json", "sweep.html"};
    for (size_t i = 0; i < COUNT(written); i++) {
        const char *path = arena_printf(s->arena, "%s/%s", s->out, written[i]);
        if (file_is_same(path, s->spec))
            return build_failed(path, "is the spec itself; choose another --out");
    }
    return true;
}

/* A file that an earlier sweep here wrote; NULL where none did. */
static bool read_kept(const Sweep *s, const char *path, const char **text)
{
    size_t length;
    const char *why;
    *text = input_read(s->arena, path, MOST_BYTES, &length, &why);
    return *text || errno == ENOENT || build_failed(path, why);
}

/* ---- settings ---- */

static char *settings_text(const Sweep *s)
{
    return arena_printf(s->arena, "data %s\nlimit %s\n%s", s->data ? s->data : "built-in pictures",
                        s->limit ? arena_printf(s->arena, "%jd", (intmax_t)s->limit) : "none", s->canonical);
}

/* The line at *text, which moves on to the next; NULL at the end. */
static char *next_line(Arena *a, const char **text)
{
    if (!**text)
        return NULL;
    size_t length = strcspn(*text, "\n");
    char *line = arena_copy(a, *text, length);
    *text += length + ((*text)[length] == '\n');
    return line;
}

static bool check_settings(const Sweep *s, const char *kept, const char *wanted)
{
    for (;;) {
        const char *was = next_line(s->arena, &kept), *is = next_line(s->arena, &wanted);
        if (!was && !is)
            return true;
        if (was && is && !strcmp(was, is))
            continue;
        return refuse(s, arena_printf(s->arena,
                                      "was begun with `%s`, not `%s`; go on as it was begun, or choose "
                                      "another --out",
                                      was ? was : "", is ? is : ""));
    }
}

static bool keep_settings(const Sweep *s)
{
    const char *path = arena_printf(s->arena, "%s/settings", s->out), *wanted = settings_text(s), *kept;
    if (!read_kept(s, path, &kept))
        return false;
    if (kept)
        return check_settings(s, kept, wanted);
    return sweep_write_text(path, wanted);
}

/* ---- plan ---- */

static bool keep_epochs(Sweep *s, int64_t kept)
{
    if (s->epochs >= kept)
        return true;
    return refuse(s,
                  arena_printf(s->arena,
                               "has been trained for --epochs %jd, not %jd; runs go on, never back: choose "
                               "another --out",
                               (intmax_t)kept, (intmax_t)s->epochs));
}

/* "1-to-5,1-to-7 1,0.5" */
static bool keep_combination(Sweep *s, char *line)
{
    char *weights = strchr(line, ' ');
    if (!weights)
        return refuse(s, "the file plan in it is damaged; choose another --out");
    *weights++ = '\0';
    Diagnostics d = {.stream = stderr, .color = isatty(STDERR_FILENO)};
    if (!plan_add(s, &d, line))
        return false;
    const Combination *c = plan_find(s, line);
    return (c && !strcmp(c->weights, weights)) ||
           refuse(s, arena_printf(s->arena,
                                  "was begun with %s of weights %s, not %s; go on as it was begun, or "
                                  "choose another --out",
                                  line, weights, c ? c->weights : "others"));
}

static bool keep_line(Sweep *s, char *line)
{
    static const char epochs[] = "epochs ", seeds[] = "seeds ", pairs[] = "pairs ";
    if (!strncmp(line, epochs, strlen(epochs)))
        return keep_epochs(s, strtoll(line + strlen(epochs), NULL, 10));
    if (!strncmp(line, pairs, strlen(pairs)))
        return keep_combination(s, line + strlen(pairs));
    if (!strncmp(line, seeds, strlen(seeds))) {
        int64_t kept = strtoll(line + strlen(seeds), NULL, 10);
        s->seeds = kept > s->seeds ? kept : s->seeds;
    }
    return true;
}

static char *plan_text(const Sweep *s)
{
    char *text = arena_printf(s->arena, "epochs %jd\nseeds %jd\n", (intmax_t)s->epochs, (intmax_t)s->seeds);
    for (int i = 0; i < s->combinations; i++)
        text = arena_printf(s->arena, "%spairs %s %s\n", text, s->combination[i].pairs,
                            s->combination[i].weights);
    return text;
}

/* What is there comes first, so that a combination keeps its place and its colour. */
static bool read_plan(Sweep *s, const char *path)
{
    const Combination *wanted = s->combination;
    const int count = s->combinations;
    const char *kept;
    if (!read_kept(s, path, &kept))
        return false;
    if (!kept)
        return true;
    s->combinations = s->capacity = 0;
    for (char *line; (line = next_line(s->arena, &kept));)
        if (!keep_line(s, line))
            return false;
    for (int i = 0; i < count; i++)
        if (!plan_find(s, wanted[i].pairs))
            plan_append(s, &wanted[i]);
    return true;
}

bool keep_plan(Sweep *s)
{
    const char *path = arena_printf(s->arena, "%s/plan", s->out);
    return keeps_the_spec(s) && build_directory(s->arena, s->out) && lock(s) && wait_for_children(s) &&
           keep_settings(s) && read_plan(s, path) && sweep_write_text(path, plan_text(s));
}
