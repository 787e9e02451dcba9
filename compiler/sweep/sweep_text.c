/* sweep_text.c: the results as tables for a terminal. */
#include "sweep.h"
#include <math.h>
#include <string.h>

enum { NAME_LEAST = 12 };

static void put_accuracy(FILE *out, const Sweep *s, Summary all)
{
    const char *spread =
        isfinite(all.spread) ? arena_printf(s->arena, "+- %s", shown_percent(s->arena, all.spread)) : "";
    fprintf(out, "  %5s %-8s", shown_percent(s->arena, all.mean), spread);
}

/* ---- a row a combination ---- */

static int longest_label(const Sweep *s)
{
    int longest = NAME_LEAST;
    for (int i = 0; i < s->combinations; i++) {
        int length = (int)strlen(s->combination[i].label);
        longest = length > longest ? length : longest;
    }
    return longest;
}

static void put_row(FILE *out, const Sweep *s, const Combination *c)
{
    Arena *a = s->arena;
    for (Head head = 0; head < HEADS; head++) {
        put_accuracy(out, s, summarise(s, c, figure_accuracy, head));
        fprintf(out, "  %5s", shown_points(a, summarise(s, c, figure_gain, head).mean));
    }
    fprintf(out, "  %8s  %6s", shown_speed(a, summarise(s, c, figure_speed, 0).mean),
            shown_mebibytes(a, summarise(s, c, figure_peak, 0).largest));
    if (losses_compare(s))
        fprintf(out, "  %8s", shown_loss(a, summarise(s, c, figure_loss, 0).mean));
    fprintf(out, "  %4d\n", combination_complete(s, c));
}

static void put_combinations(FILE *out, const Sweep *s)
{
    int width = longest_label(s);
    fprintf(out, "%-*s  %-14s  %5s  %-14s  %5s  %8s  %6s", width, "combination", "linear, %", "gain",
            "kNN, %", "gain", "images/s", "MiB");
    fputs(losses_compare(s) ? "      loss  runs\n" : "  runs\n", out);
    for (int i = 0; i < s->combinations; i++) {
        const Combination *c = &s->combination[i];
        fprintf(out, "%-*s", width, c->label);
        if (combination_complete(s, c))
            put_row(out, s, c);
        else
            fputs("  no run is complete\n", out);
    }
    fputs("gain: over the untrained encoder, in points; +-: the standard deviation over the seeds\n", out);
}

/* ---- a row a value ---- */

static int longest_value(const Sweep *s)
{
    int longest = NAME_LEAST;
    for (int i = 0; i < s->keys; i++)
        for (int j = 0; j < s->key[i].values; j++) {
            int length = (int)strlen(s->key[i].name) + 1 + (int)strlen(s->key[i].value[j]);
            longest = length > longest ? length : longest;
        }
    return longest;
}

static void put_effect(FILE *out, const Sweep *s, int key, int width)
{
    const Effect e = effect_of(s, key);
    for (int value = 0; value < e.key->values; value++) {
        const Runs *runs = &e.runs[value];
        fprintf(out, "%-*s", width, arena_printf(s->arena, "%s %s", e.key->name, e.key->value[value]));
        for (Head head = 0; head < HEADS && runs->count; head++)
            put_accuracy(out, s, summarise_runs(runs, figure_accuracy, head));
        fprintf(out, runs->count ? "  %4d\n" : "  no run is complete\n", runs->count);
    }
}

static void put_effects(FILE *out, const Sweep *s)
{
    const int width = longest_value(s);
    fprintf(out, "\n%-*s  %-14s  %-14s  %4s\n", width, "which key did what", "linear, %", "kNN, %", "runs");
    for (int key = 0; key < s->keys; key++)
        if (s->key[key].values > 1)
            put_effect(out, s, key, width);
    fputs("+-: the standard deviation over the other keys and the seeds\n", out);
}

void write_text(const Sweep *s, FILE *out)
{
    put_combinations(out, s);
    if (keys_varying(s) > 1 && any_run(s))
        put_effects(out, s);
}
