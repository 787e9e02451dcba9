/* sweep_page.c: the results as sweep.html: what each key did, tables, accuracies as dots, and every pair's
 * curves over each other.
 *
 * Combination i has the style sheet's colour i everywhere. Probes are what is compared; losses only where
 * they measure the same. */
#include "sweep.h"
#include <math.h>

enum { REFRESH = 30 }; /* seconds, while runs are under way */

// clang-format off
static const char style[] =
    ".scroll { overflow-x: auto; max-width: 100% }\n"
    ".results { white-space: nowrap }\n"
    ".results td { white-space: nowrap }\n"
    ".results small, .value small { color: var(--soft); font-size: 12px }\n"
    ".results i { display: inline-block; width: 10px; height: 10px; border-radius: 5px; background: var(--c);\n"
    "  margin-right: 8px }\n"
    ".results .ring i { background: none; border: 2.5px solid var(--c) }\n"
    ".results th:first-child, .results td:first-child { position: sticky; left: 0; background: var(--card);\n"
    "  padding-right: 10px }\n"
    "@media (max-width: 720px) { .results td:first-child { white-space: normal; min-width: 132px;\n"
    "  max-width: 40vw; overflow-wrap: anywhere } }\n"
    ".results .best { font-weight: 650; color: var(--good) }\n"
    "a { color: inherit }\n"
    "summary { cursor: pointer; font-weight: 600 }\n"
    ".any { --c: var(--ink) }\n"
    ".dots .gain { stroke: var(--c); stroke-width: 2; opacity: .35 }\n"
    ".dots .spread { stroke: var(--c); stroke-width: 5; opacity: .35; stroke-linecap: round }\n"
    ".dots .seed { opacity: .55 }\n"
    ".dots .untrained { fill: var(--card); stroke: var(--soft); stroke-width: 2 }\n"
    ".dots .mean { stroke: var(--card); stroke-width: 1.5 }\n"
    ".dots .name { fill: var(--ink) }\n"
    ".dots .value { fill: var(--c); font-weight: 600 }\n";
// clang-format on

/* ---- head ---- */

static const char *plural(Arena *a, int64_t count, const char *what)
{
    return arena_printf(a, "%jd %s%s", (intmax_t)count, what, count == 1 ? "" : "s");
}

/* "pairs, optimizer.adam.lr and embedding.dim" */
static const char *varied(const Sweep *s)
{
    const char *text = "";
    int left = keys_varying(s);
    for (int i = 0; i < s->keys; i++)
        if (s->key[i].values > 1) {
            text = arena_printf(s->arena, "%s%s%s", text,
                                !*text     ? ""
                                : left > 1 ? ", "
                                           : " and ",
                                s->key[i].path);
            left--;
        }
    return *text ? text : "pairs";
}

/* Some combinations may have epochs of their own. */
static const char *epochs_text(const Sweep *s)
{
    int64_t least = epochs_of(s, s->combination), most = least;
    for (int i = 1; i < s->combinations; i++) {
        const int64_t epochs = epochs_of(s, &s->combination[i]);
        least = epochs < least ? epochs : least;
        most = epochs > most ? epochs : most;
    }
    if (least < most)
        return arena_printf(s->arena, "%jd to %s", (intmax_t)least, plural(s->arena, most, "epoch"));
    return plural(s->arena, most, "epoch");
}

static const char *subtitle(const Sweep *s)
{
    Arena *a = s->arena;
    const char *data = s->data ? s->data : "the built-in pictures",
               *limit = s->limit ? arena_printf(a, ", %jd images of each class", (intmax_t)s->limit) : "",
               *held = s->holdout ? arena_printf(a, ", %s of them held out", s->holdout) : "";
    return arena_printf(a, "%s of %s, %s each, %s on %s%s%s", plural(a, s->combinations, "combination"),
                        varied(s), plural(a, s->seeds, "seed"), epochs_text(s), data, limit, held);
}

/* The combination with the largest mean of a figure, or NULL. */
static const Combination *best(const Sweep *s, Figure *figure, int which)
{
    const Combination *found = NULL;
    double most = -INFINITY;
    for (int i = 0; i < s->combinations; i++) {
        Summary all = summarise(s, &s->combination[i], figure, which);
        if (all.count && all.mean > most) {
            most = all.mean;
            found = &s->combination[i];
        }
    }
    return found;
}

static void best_tile(const Sweep *s, Head head, const char *name, FILE *out)
{
    const Combination *c = best(s, figure_accuracy, head);
    if (c)
        page_tile(out, arena_printf(s->arena, "%s: %s", name, c->label), "%s %%",
                  shown_percent(s->arena, summarise(s, c, figure_accuracy, head).mean));
}

static void write_tiles(const Sweep *s, FILE *out)
{
    const Combination *fastest = s->jobs > 1 ? NULL : best(s, figure_speed, 0);
    page_tiles_begin(out);
    page_tile(out, "runs complete", "%d of %d", sweep_complete(s), s->combinations * (int)s->seeds);
    best_tile(s, HEAD_LINEAR, "best linear probe", out);
    best_tile(s, HEAD_KNN, "best kNN", out);
    if (fastest)
        page_tile(out, arena_printf(s->arena, "fastest: %s", fastest->label), "%s images/s",
                  shown_speed(s->arena, summarise(s, fastest, figure_speed, 0).mean));
    page_tiles_end(out);
}

/* ---- dots ---- */

/* Where one key varies, combinations are its values. */
static const char *dots_title(const Sweep *s, const char *what)
{
    return keys_varying(s) == 1 ? arena_printf(s->arena, "%s by %s", what, varied(s)) : what;
}

static void write_dots(const Sweep *s, Head head, const char *what, FILE *out)
{
    DotRow *row = ARENA_ARRAY(s->arena, DotRow, s->combinations);
    for (int i = 0; i < s->combinations; i++)
        row[i] = (DotRow){s->combination[i].label, i, runs_of(s, &s->combination[i])};
    page_section_begin(out, SECTION_HALF, dots_title(s, what),
                       "Accuracy. Ring: the untrained encoder. Large dot: the mean of the seeds, with the "
                       "standard deviation "
                       "as a bar; small dots: each.");
    draw_dots(row, s->combinations, head, SECTION_HALF, out);
    page_section_end(out);
}

void write_page(const Sweep *s, FILE *out)
{
    page_begin(out, &(Page){.heading = s->title,
                            .what = arena_printf(s->arena, "sweep of %s", varied(s)),
                            .subtitle = subtitle(s),
                            .style = style,
                            .refresh = s->busy ? REFRESH : 0});
    write_tiles(s, out);
    write_results(s, out);
    if (any_run(s)) {
        if (keys_varying(s) > 1)
            write_effects(s, out);
        write_dots(s, HEAD_LINEAR, "Linear probe", out);
        write_dots(s, HEAD_KNN, "Nearest neighbours", out);
        write_pairs(s, out);
        write_runs(s, out);
    }
    page_end(out);
}
