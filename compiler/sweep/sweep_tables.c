/* sweep_tables.c: the page's tables: a row a combination, a row a value of each key, a row a run.
 *
 * Keys that do not vary have no column. What is wider than the screen scrolls under its first column. */
#include "sweep.h"
#include <math.h>

/* ---- cells ---- */

static const char *table_begin(void)
{
    return "<div class=\"scroll\"><table class=\"numbers results\">\n<tr>";
}

/* Whether the key has a column: where none varies, the pairs do. */
static bool is_column(const Sweep *s, int key)
{
    return s->key[key].values > 1 || (key == 0 && keys_varying(s) == 0);
}

static void write_heads(const Sweep *s, FILE *out)
{
    for (int i = 0; i < s->keys; i++)
        if (is_column(s, i)) {
            fputs("<th title=\"", out);
            html_text(out, s->key[i].path);
            fputs("\">", out);
            html_text(out, s->key[i].name);
            fputs("</th>", out);
        }
}

/* The first of them with the combination's colour. */
static void write_values(const Sweep *s, const Combination *c, FILE *out)
{
    const int colour = (int)(c - s->combination);
    bool first = true;
    for (int i = 0; i < s->keys; i++) {
        if (!is_column(s, i))
            continue;
        if (first)
            fprintf(out, "<td class=\"c%d%s\"><i></i>", colour % CHART_COLOURS,
                    colour < CHART_COLOURS ? "" : " ring");
        else
            fputs("<td>", out);
        html_text(out, s->key[i].value[c->value[i]]);
        fputs("</td>", out);
        first = false;
    }
}

static void write_cell(FILE *out, const char *text)
{
    fprintf(out, "<td>%s</td>", text);
}

static void write_mean(const Sweep *s, Summary all, bool is_best, FILE *out)
{
    fprintf(out, "<td><span%s>%s</span>", is_best ? " class=\"best\"" : "",
            shown_percent(s->arena, all.mean));
    if (isfinite(all.spread))
        fprintf(out, " <small>± %s</small>", shown_percent(s->arena, all.spread));
    fputs("</td>", out);
}

/* ---- combinations ---- */

static double best_mean(const Sweep *s, Head head)
{
    double most = -INFINITY;
    for (int i = 0; i < s->combinations; i++)
        most = fmax(most, summarise(s, &s->combination[i], figure_accuracy, head).mean);
    return most;
}

static void write_accuracy(const Sweep *s, const Combination *c, Head head, FILE *out)
{
    Arena *a = s->arena;
    const Summary all = summarise(s, c, figure_accuracy, head);
    write_mean(s, all, all.mean >= best_mean(s, head), out);
    fprintf(out, "<td><small>%s–%s</small></td>", shown_percent(a, summarise(s, c, figure_low, head).mean),
            shown_percent(a, summarise(s, c, figure_high, head).mean));
    write_cell(out, shown_points(a, summarise(s, c, figure_gain, head).mean));
}

static void write_row(const Sweep *s, const Combination *c, FILE *out)
{
    Arena *a = s->arena;
    fputs("<tr>", out);
    write_values(s, c, out);
    if (!combination_complete(s, c)) {
        fprintf(out, "<td colspan=\"%d\">%s</td></tr>\n", losses_compare(s) ? 10 : 9,
                c->uncompiled ? "could not be compiled" : "no run is complete");
        return;
    }
    for (Head head = 0; head < HEADS; head++)
        write_accuracy(s, c, head, out);
    write_cell(out, shown_speed(a, summarise(s, c, figure_speed, 0).mean));
    write_cell(out, shown_mebibytes(a, summarise(s, c, figure_peak, 0).largest));
    write_cell(out, shown_duration(a, summarise(s, c, figure_seconds, 0).mean));
    if (losses_compare(s))
        write_cell(out, shown_loss(a, summarise(s, c, figure_loss, 0).mean));
    fputs("</tr>\n", out);
}

static const char *results_note(const Sweep *s)
{
    return arena_printf(s->arena,
                        "Accuracies in percent of the test images: means over the seeds and their standard "
                        "deviation; the 95 %% "
                        "interval over the test images; and what training gained over the same encoder "
                        "untrained. Speed is the "
                        "median step's, memory the largest measured, time that of all steps.%s%s",
                        s->jobs > 1 ? " Runs shared the machine: their speeds do not compare." : "",
                        losses_compare(s)
                            ? " Loss is the last epoch's."
                            : " Losses are left out: what they sum is not the same in all combinations.");
}

void write_results(const Sweep *s, FILE *out)
{
    page_section_begin(out, SECTION_WHOLE, "Results", results_note(s));
    fputs(table_begin(), out);
    write_heads(s, out);
    fprintf(out,
            "<th>linear</th><th>interval</th><th>gain</th><th>kNN</th><th>interval</th><th>gain</th>"
            "<th>images/s</th><th>MiB</th><th>time</th>%s</tr>\n",
            losses_compare(s) ? "<th>loss</th>" : "");
    for (int i = 0; i < s->combinations; i++)
        write_row(s, &s->combination[i], out);
    fputs("</table></div>\n", out);
    page_section_end(out);
}

/* ---- values of a key ---- */

static const char *effect_note(const Sweep *s, const Effect *e)
{
    Arena *a = s->arena;
    const EffectSize size = effect_size(e, HEAD_LINEAR);
    const char *text = "No run is complete.";
    if (isfinite(size.low))
        text =
            arena_printf(a, "Linear probe: from %s %% (%s) to %s %% (%s), %s points apart.",
                         shown_percent(a, size.low), e->key->value[size.lowest], shown_percent(a, size.high),
                         e->key->value[size.highest], shown_between(a, size.low, size.high));
    if (isfinite(size.within))
        text = arena_printf(a, "%s Runs of one value differ by %s, over the other keys and the seeds.", text,
                            shown_percent(a, size.within));
    if (!e->matched)
        return arena_printf(a, "%s No runs differ in this key alone: what other keys did is in it, too.",
                            text);
    if (e->left_out)
        return arena_printf(a, "%s Left out: %d run%s without a like at every value.", text, e->left_out,
                            e->left_out > 1 ? "s" : "");
    return text;
}

static void write_value(const Sweep *s, const Effect *e, int value, FILE *out)
{
    fputs("<tr><td>", out);
    html_text(out, e->key->value[value]);
    fprintf(out, "</td><td>%d</td>", e->runs[value].count);
    for (Head head = 0; head < HEADS; head++) {
        const Summary all = summarise_runs(&e->runs[value], figure_accuracy, head);
        write_mean(s, all, all.mean >= effect_size(e, head).high, out);
    }
    fputs("</tr>\n", out);
}

static void write_effect(const Sweep *s, int key, SectionWidth width, FILE *out)
{
    const Effect e = effect_of(s, key);
    DotRow *row = ARENA_ARRAY(s->arena, DotRow, e.key->values);
    for (int value = 0; value < e.key->values; value++)
        row[value] = (DotRow){e.key->value[value], -1, e.runs[value]};
    page_section_begin(out, width, e.key->path, effect_note(s, &e));
    draw_dots(row, e.key->values, HEAD_LINEAR, width, out);
    fputs(table_begin(), out);
    fputs("<th>", out);
    html_text(out, e.key->name);
    fputs("</th><th>runs</th><th>linear</th><th>kNN</th></tr>\n", out);
    for (int value = 0; value < e.key->values; value++)
        write_value(s, &e, value, out);
    fputs("</table></div>\n", out);
    page_section_end(out);
}

void write_effects(const Sweep *s, FILE *out)
{
    const int keys = keys_varying(s);
    const SectionWidth width = keys == 3 || keys > 4 ? SECTION_THIRD : SECTION_HALF;
    page_section_begin(
        out, SECTION_WHOLE, "Which key did what",
        "For each value of a key the mean accuracy of all runs that have it, over the other keys' values and "
        "the "
        "seeds, and their standard deviation. Small dots are runs; the ring is the untrained encoder.");
    page_section_end(out);
    for (int key = 0; key < s->keys; key++)
        if (s->key[key].values > 1)
            write_effect(s, key, width, out);
}

/* ---- runs ---- */

static void write_run(const Sweep *s, const Combination *c, int seed, FILE *out)
{
    const SweepRun *r = &c->run[seed];
    Arena *a = s->arena;
    fputs("<tr>", out);
    write_values(s, c, out);
    fprintf(out, "<td><a href=\"%s/seed-%d/report.html\">%d</a></td>", c->name, seed, seed);
    for (Head head = 0; head < HEADS; head++) {
        write_cell(out, shown_percent(a, r->score[head].accuracy));
        write_cell(out, shown_percent(a, r->untrained[head].accuracy));
    }
    write_cell(out, shown_speed(a, r->images_per_second));
    write_cell(out, shown_mebibytes(a, figure_peak(r, 0)));
    write_cell(out, shown_duration(a, r->seconds));
    if (losses_compare(s))
        write_cell(out, shown_loss(a, r->loss));
    fputs("</tr>\n", out);
}

void write_runs(const Sweep *s, FILE *out)
{
    fputs("<section class=\"whole\"><details><summary>Every run</summary>\n", out);
    fputs(table_begin(), out);
    write_heads(s, out);
    fprintf(out,
            "<th>seed</th><th>linear</th><th>untrained</th><th>kNN</th><th>untrained</th><th>images/s</th>"
            "<th>MiB</th><th>time</th>%s</tr>\n",
            losses_compare(s) ? "<th>loss</th>" : "");
    for (int i = 0; i < s->combinations; i++)
        for (int seed = 0; seed < s->seeds; seed++)
            if (run_complete(&s->combination[i].run[seed]))
                write_run(s, &s->combination[i], seed, out);
    fputs("</table></div></details></section>\n", out);
}
