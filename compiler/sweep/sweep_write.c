/* sweep_write.c: the results as sweep.csv (a line a run), as sweep.json (all there is) and as a table to
 * read.
 */
#include "sweep.h"
#include <math.h>
#include <string.h>

/* ---- CSV ---- */

/* An empty cell where the number is none. */
static void csv_number(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, ",%.9g", value);
    else
        fputc(',', out);
}

static void csv_head(FILE *out, const SweepPairs *all)
{
    fputs("pairs,seed,epochs,steps", out);
    for (Head head = 0; head < HEADS; head++)
        fprintf(out, ",%s,%s_low,%s_high,%s_untrained", head_option[head], head_option[head],
                head_option[head], head_option[head]);
    fputs(",images_per_second,peak_bytes,seconds,loss,penalty", out);
    for (int i = 0; i < all->count; i++)
        fprintf(out, ",loss_%s", all->pair[i].name);
    for (int i = 0; i < all->count; i++)
        fprintf(out, ",accuracy_%s", all->pair[i].name);
    fputc('\n', out);
}

static void csv_pairs(FILE *out, const SweepPairs *all, const Combination *c, const SweepRun *r,
                      Figure *figure)
{
    for (int i = 0; i < all->count; i++) {
        int pair = combination_pair(c, all->pair[i].name);
        csv_number(out, pair < 0 ? NAN : figure(r, pair));
    }
}

static void csv_run(FILE *out, const Sweep *s, const SweepPairs *all, const Combination *c, int seed)
{
    const SweepRun *r = &c->run[seed];
    fprintf(out, "\"%s\",%d,%jd,%ju", c->pairs, seed, (intmax_t)s->epochs, (uintmax_t)r->steps);
    for (Head head = 0; head < HEADS; head++) {
        csv_number(out, figure_accuracy(r, head));
        csv_number(out, figure_low(r, head));
        csv_number(out, figure_high(r, head));
        csv_number(out, figure_untrained(r, head));
    }
    fprintf(out, ",%.9g,%.0f,%.9g,%.9g,%.9g", r->images_per_second, r->peak_bytes, r->seconds, r->loss,
            r->penalty);
    csv_pairs(out, all, c, r, figure_pair_loss);
    csv_pairs(out, all, c, r, figure_pair_accuracy);
    fputc('\n', out);
}

void write_csv(const Sweep *s, FILE *out)
{
    SweepPairs all = sweep_pairs(s);
    csv_head(out, &all);
    for (int i = 0; i < s->combinations; i++)
        for (int seed = 0; seed < s->seeds; seed++)
            if (run_complete(&s->combination[i].run[seed]))
                csv_run(out, s, &all, &s->combination[i], seed);
}

/* ---- JSON ---- */

static void json_number(FILE *out, const char *key, double value)
{
    if (isfinite(value))
        fprintf(out, "\"%s\": %.9g", key, value);
    else
        fprintf(out, "\"%s\": null", key);
}

static void json_pairs(FILE *out, const char *key, const Combination *c, const SweepRun *r, Figure *figure)
{
    fprintf(out, ", \"%s\": {", key);
    for (int i = 0; i < c->trained.count; i++) {
        fputs(i ? ", " : "", out);
        json_number(out, c->trained.pair[i].name, figure(r, i));
    }
    fputc('}', out);
}

static void json_score(FILE *out, const SweepRun *r, Head head)
{
    fprintf(out, ", \"%s\": {", head_option[head]);
    json_number(out, "accuracy", r->score[head].accuracy);
    fputs(", ", out);
    json_number(out, "low", r->score[head].low);
    fputs(", ", out);
    json_number(out, "high", r->score[head].high);
    fprintf(out, ", \"images\": %.0f, ", r->score[head].images);
    json_number(out, "untrained", r->untrained[head].accuracy);
    fputc('}', out);
}

static void json_run(FILE *out, const Combination *c, int seed)
{
    const SweepRun *r = &c->run[seed];
    fprintf(out, "        {\"seed\": %d, \"steps\": %ju, ", seed, (uintmax_t)r->steps);
    json_number(out, "seconds", r->seconds);
    fputs(", ", out);
    json_number(out, "images_per_second", r->images_per_second);
    fprintf(out, ", \"peak_bytes\": %.0f", r->peak_bytes);
    for (Head head = 0; head < HEADS; head++)
        json_score(out, r, head);
    fputs(", ", out);
    json_number(out, "loss", r->loss);
    fputs(", ", out);
    json_number(out, "penalty", r->penalty);
    json_pairs(out, "pair_loss", c, r, figure_pair_loss);
    json_pairs(out, "pair_accuracy", c, r, figure_pair_accuracy);
    fputc('}', out);
}

static void json_summary(FILE *out, const char *key, Summary all)
{
    fprintf(out, "\"%s\": {", key);
    json_number(out, "mean", all.mean);
    fputs(", ", out);
    json_number(out, "deviation", all.spread);
    fputc('}', out);
}

static void json_head(FILE *out, const Sweep *s, const Combination *c, Head head)
{
    fprintf(out, "      \"%s\": {", head_option[head]);
    json_summary(out, "accuracy", summarise(s, c, figure_accuracy, head));
    fputs(", ", out);
    json_number(out, "low", summarise(s, c, figure_low, head).mean);
    fputs(", ", out);
    json_number(out, "high", summarise(s, c, figure_high, head).mean);
    fputs(", ", out);
    json_summary(out, "untrained", summarise(s, c, figure_untrained, head));
    fputs(", ", out);
    json_summary(out, "gain", summarise(s, c, figure_gain, head));
    fputs("},\n", out);
}

static void json_named_pairs(FILE *out, const Combination *c)
{
    fputs("\"pairs\": [", out);
    for (int i = 0; i < c->trained.count; i++)
        fprintf(out, "%s{\"pair\": \"%s\", \"weight\": %.17g}", i ? ", " : "", c->trained.pair[i].name,
                c->trained.pair[i].weight);
    fputc(']', out);
}

static void json_combination(FILE *out, const Sweep *s, const Combination *c)
{
    static const struct {
        const char *key;
        Figure *figure;
    } rows[] = {{"images_per_second", figure_speed},
                {"peak_bytes", figure_peak},
                {"seconds", figure_seconds},
                {"loss", figure_loss},
                {"penalty", figure_penalty}};
    int written = 0;
    fprintf(out, "    {\"name\": \"%s\", ", c->name);
    json_named_pairs(out, c);
    fprintf(out, ", \"probed_layer\": %d,\n", c->layer);
    for (Head head = 0; head < HEADS; head++)
        json_head(out, s, c, head);
    for (size_t i = 0; i < COUNT(rows); i++) {
        fputs(i ? ", " : "      ", out);
        json_summary(out, rows[i].key, summarise(s, c, rows[i].figure, 0));
    }
    fputs(",\n      \"runs\": [", out);
    for (int seed = 0; seed < s->seeds; seed++)
        if (run_complete(&c->run[seed])) {
            fputs(written++ ? ",\n" : "\n", out);
            json_run(out, c, seed);
        }
    fputs("]}", out);
}

void write_json(const Sweep *s, FILE *out)
{
    fputs("{\n  \"spec\": ", out);
    json_text(out, s->spec);
    fputs(", \"name\": ", out);
    json_text(out, s->title);
    fputs(", \"data\": ", out);
    json_text(out, s->data);
    fputs(s->limit ? ", \"limit\": " : ", \"limit\": null", out);
    if (s->limit)
        fprintf(out, "%jd", (intmax_t)s->limit);
    fprintf(out, ", \"epochs\": %jd, \"seeds\": %jd,\n", (intmax_t)s->epochs, (intmax_t)s->seeds);
    fprintf(out, "  \"complete\": %d, \"runs\": %d,\n  \"combinations\": [", sweep_complete(s),
            s->combinations * (int)s->seeds);
    for (int i = 0; i < s->combinations; i++) {
        fputs(i ? ",\n" : "\n", out);
        json_combination(out, s, &s->combination[i]);
    }
    fputs("\n  ]\n}\n", out);
}

/* ---- text ---- */

static void text_accuracy(FILE *out, Summary all)
{
    char spread[32] = "";
    if (isfinite(all.spread))
        snprintf(spread, sizeof spread, "+- %.2f", 100 * all.spread);
    fprintf(out, "  %6.2f %-8s", 100 * all.mean, spread);
}

static int longest_name(const Sweep *s)
{
    int longest = 12;
    for (int i = 0; i < s->combinations; i++) {
        int length = (int)strlen(s->combination[i].name);
        longest = length > longest ? length : longest;
    }
    return longest;
}

static void text_row(FILE *out, const Sweep *s, const Combination *c)
{
    for (Head head = 0; head < HEADS; head++) {
        text_accuracy(out, summarise(s, c, figure_accuracy, head));
        fprintf(out, "  %+6.2f", 100 * summarise(s, c, figure_gain, head).mean);
    }
    fprintf(out, "  %8.1f  %6.1f  %8.4f  %4d\n", summarise(s, c, figure_speed, 0).mean,
            summarise(s, c, figure_peak, 0).largest / MEBIBYTE, summarise(s, c, figure_loss, 0).mean,
            combination_complete(s, c));
}

void write_text(const Sweep *s, FILE *out)
{
    int width = longest_name(s);
    fprintf(out, "%-*s  %-15s  %6s  %-15s  %6s  %8s  %6s  %8s  %4s\n", width, "combination", "linear, %",
            "gain", "kNN, %", "gain", "images/s", "MiB", "loss", "runs");
    for (int i = 0; i < s->combinations; i++) {
        const Combination *c = &s->combination[i];
        fprintf(out, "%-*s", width, c->name);
        if (combination_complete(s, c))
            text_row(out, s, c);
        else
            fputs("  no run is complete\n", out);
    }
    fputs("gain: over the untrained encoder, in points; +-: the standard deviation over the seeds\n", out);
}
