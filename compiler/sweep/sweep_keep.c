/* sweep_keep.c: what a sweep's folder remembers.
 *
 * OUT/settings decides the results of every run there, so it must stay once there is one: going on with
 * others is refused.
 * OUT/plan may only grow: combinations, seeds, epochs. Both are text, a setting a line. */
#include "sweep.h"
#include <dirent.h>
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

static const char holdout_line[] = "holdout ";

static char *settings_text(const Sweep *s)
{
    return arena_printf(s->arena, "data %s\nlimit %s\n%s%s\n%s", s->data ? s->data : "built-in pictures",
                        s->limit ? arena_printf(s->arena, "%jd", (intmax_t)s->limit) : "none", holdout_line,
                        s->holdout ? s->holdout : "none", s->canonical);
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

static bool begins_with(const char *text, const char *word)
{
    return !strncmp(text, word, strlen(word));
}

static bool check_settings(const Sweep *s, const char *kept, const char *wanted)
{
    for (;;) {
        const char *is = next_line(s->arena, &wanted),
                   *was = is && begins_with(is, holdout_line) && !begins_with(kept, holdout_line)
                              ? "holdout none" /* as folders of before have it, by saying nothing */
                              : next_line(s->arena, &kept);
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

/* Whether a file that ends so lies so many folders below this one. */
static bool holds_file(Arena *a, const char *folder, int folders, const char *ending)
{
    DIR *entries = opendir(folder);
    bool holds = false;
    for (const struct dirent *e; entries && !holds && (e = readdir(entries));) {
        const char *end = strrchr(e->d_name, '.');
        if (*e->d_name != '.')
            holds = folders ? holds_file(a, arena_printf(a, "%s/%s", folder, e->d_name), folders - 1, ending)
                            : end && !strcmp(end, ending);
    }
    if (entries)
        closedir(entries);
    return holds;
}

/* Answers of probes, or a run: OUT/untrained/LAYER/seed-S/HEAD.json, OUT/NAME/seed-S/last.safetensors. */
static bool holds_results(const Sweep *s)
{
    return holds_file(s->arena, in_folder(s, s->out, "untrained"), 2, ".json") ||
           holds_file(s->arena, s->out, 2, ".safetensors");
}

/* Settings under which nothing was done, a mistyped --data say, bind nobody. */
static bool keep_settings(const Sweep *s)
{
    const char *path = arena_printf(s->arena, "%s/settings", s->out), *wanted = settings_text(s), *kept;
    if (!read_kept(s, path, &kept))
        return false;
    if (kept && holds_results(s))
        return check_settings(s, kept, wanted);
    return sweep_write_text(path, wanted);
}

/* ---- plan ---- */

static bool keep_epochs(const Sweep *s, int64_t kept)
{
    if (s->epochs >= kept)
        return true;
    return refuse(s,
                  arena_printf(s->arena,
                               "has been trained for --epochs %jd, not %jd; runs go on, never back: choose "
                               "another --out",
                               (intmax_t)kept, (intmax_t)s->epochs));
}

/* Programs refuse more epochs where a cosine has begun, which must not be found out with the plan changed. */
static bool check_cosines(const Sweep *s, int64_t kept)
{
    for (int i = 0; s->epochs > kept && i < s->combinations; i++) {
        const Combination *c = &s->combination[i];
        if (c->has_cosine && !c->epochs && holds_file(s->arena, c->folder, 1, ".safetensors"))
            return refuse(
                s, arena_printf(s->arena,
                                "was begun for --epochs %jd, where the cosine of its runs ends, not %jd; go "
                                "on as it was begun, or choose another --out",
                                (intmax_t)kept, (intmax_t)s->epochs));
    }
    return true;
}

/* A combination on its way in: "pairs 1-to-5,1-to-7 1,0.5", then a line "set KEY=VALUE" for each setting. */
typedef struct {
    int64_t epochs;              /* of the whole plan */
    const char *pairs, *weights; /* pairs NULL: none */
    int settings, capacity;
    Setting *setting;
} Kept;

static void keep_setting(Sweep *s, Kept *k, const char *text)
{
    if (k->settings == k->capacity) {
        const Setting *old = k->setting;
        k->capacity = 2 * k->capacity + 8;
        k->setting = ARENA_ARRAY(s->arena, Setting, k->capacity);
        if (k->settings)
            memcpy(k->setting, old, sizeof *old * (size_t)k->settings);
    }
    k->setting[k->settings++] = set_parse(text);
}

static bool damaged(const Sweep *s)
{
    return refuse(s, "the file plan in it is damaged; choose another --out");
}

/* What was read of it so far is all of it. */
static bool keep_combination(Sweep *s, Kept *k)
{
    if (!k->pairs)
        return true;
    Diagnostics d = {.stream = stderr, .color = isatty(STDERR_FILENO)};
    const int before = s->combinations;
    if (!plan_add(s, &d, k->pairs, k->setting, k->settings))
        return false;
    const Combination *c = s->combinations > before ? &s->combination[before] : NULL;
    if (!c || strcmp(c->pairs, k->pairs))
        return damaged(s);
    if (strcmp(c->weights, k->weights))
        return refuse(s, arena_printf(s->arena,
                                      "was begun with %s of weights %s, not %s; go on as it was begun, or "
                                      "choose another --out",
                                      c->pairs, k->weights, c->weights));
    *k = (Kept){.epochs = k->epochs};
    return true;
}

/* Where the line begins with the word and a blank, what follows these; else NULL. */
static const char *behind(const char *line, const char *word)
{
    size_t length = strlen(word);
    return !strncmp(line, word, length) && line[length] == ' ' ? line + length + 1 : NULL;
}

static bool begin_combination(const Sweep *s, Kept *k, const char *text)
{
    size_t pairs = strcspn(text, " ");
    if (!text[pairs])
        return damaged(s);
    k->pairs = arena_copy(s->arena, text, pairs);
    k->weights = text + pairs + 1;
    return true;
}

static bool keep_line(Sweep *s, Kept *k, const char *line)
{
    const char *rest;
    if ((rest = behind(line, "set"))) {
        if (!strchr(rest, '=') || !k->pairs)
            return damaged(s);
        keep_setting(s, k, rest);
        return true;
    }
    if ((rest = behind(line, "pairs")))
        return keep_combination(s, k) && begin_combination(s, k, rest);
    if ((rest = behind(line, "epochs"))) {
        k->epochs = strtoll(rest, NULL, 10);
        return keep_epochs(s, k->epochs);
    }
    if ((rest = behind(line, "seeds"))) {
        int64_t kept = strtoll(rest, NULL, 10);
        s->seeds = kept > s->seeds ? kept : s->seeds;
    }
    return true;
}

static char *plan_text(const Sweep *s)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    fprintf(out, "epochs %jd\nseeds %jd\n", (intmax_t)s->epochs, (intmax_t)s->seeds);
    for (int i = 0; i < s->combinations; i++) {
        const Combination *c = &s->combination[i];
        fprintf(out, "pairs %s %s\n", c->pairs, c->weights);
        for (int j = 0; j < c->settings; j++)
            fprintf(out, "set %.*s=%.*s\n", (int)c->setting[j].key, c->setting[j].text,
                    (int)c->setting[j].length, c->setting[j].text + c->setting[j].begin);
    }
    return text_stream_close(s->arena, &t);
}

/* What is there comes first, so that a combination keeps its place and its colour. */
static bool read_plan(Sweep *s, const char *path)
{
    const Combination *wanted = s->combination;
    const int count = s->combinations;
    Kept k = {0};
    const char *kept;
    if (!read_kept(s, path, &kept))
        return false;
    if (!kept)
        return true;
    s->combinations = s->capacity = 0;
    for (char *line; (line = next_line(s->arena, &kept));)
        if (!keep_line(s, &k, line))
            return false;
    if (!keep_combination(s, &k) || !check_cosines(s, k.epochs))
        return false;
    for (int i = 0; i < count; i++)
        if (!plan_find(s, &wanted[i]))
            plan_append(s, &wanted[i]);
    return true;
}

bool keep_plan(Sweep *s)
{
    const char *path = arena_printf(s->arena, "%s/plan", s->out);
    return keeps_the_spec(s) && build_directory(s->arena, s->out) && lock(s) && wait_for_children(s) &&
           keep_settings(s) && read_plan(s, path) && sweep_write_text(path, plan_text(s));
}
