/* sweep_write.c: the results as sweep.csv (a line a run) and as sweep.json (all there is). */
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

/* Quotes in it are doubled. */
static void csv_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *c = text; *c; c++)
        fprintf(out, *c == '"' ? "\"\"" : "%c", *c);
    fputc('"', out);
}

/* As it is where that is one cell. */
static void csv_cell(FILE *out, const char *text)
{
    fputc(',', out);
    if (text[strcspn(text, ",\" ")])
        csv_text(out, text);
    else
        fputs(text, out);
}

static void csv_head(FILE *out, const Sweep *s, const SweepPairs *all)
{
    fputs("pairs", out);
    for (int i = 1; i < s->keys; i++)
        csv_cell(out, s->key[i].path);
    fputs(",seed,epochs,steps", out);
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
    csv_text(out, c->pairs);
    for (int i = 1; i < s->keys; i++)
        csv_cell(out, s->key[i].value[c->value[i]]);
    fprintf(out, ",%d,%jd,%ju", seed, (intmax_t)r->epochs, (uintmax_t)r->steps);
    for (Head head = 0; head < HEADS; head++) {
        csv_number(out, figure_accuracy(r, head));
        csv_number(out, figure_low(r, head));
        csv_number(out, figure_high(r, head));
        csv_number(out, figure_untrained(r, head));
    }
    csv_number(out, r->images_per_second);
    csv_number(out, figure_peak(r, 0));
    csv_number(out, r->seconds);
    csv_number(out, r->loss);
    csv_number(out, r->penalty);
    csv_pairs(out, all, c, r, figure_pair_loss);
    csv_pairs(out, all, c, r, figure_pair_accuracy);
    fputc('\n', out);
}

void write_csv(const Sweep *s, FILE *out)
{
    SweepPairs all = sweep_pairs(s);
    csv_head(out, s, &all);
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
    fprintf(out, "        {\"seed\": %d, \"epochs\": %jd, \"steps\": %ju, ", seed, (intmax_t)r->epochs,
            (uintmax_t)r->steps);
    json_number(out, "seconds", r->seconds);
    fputs(", ", out);
    json_number(out, "images_per_second", r->images_per_second);
    fputs(", ", out);
    json_number(out, "peak_bytes", figure_peak(r, 0));
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

static void json_set(FILE *out, const Sweep *s, const Combination *c)
{
    fputs(", \"set\": {", out);
    for (int i = 1; i < s->keys; i++) {
        fputs(i > 1 ? ", " : "", out);
        json_text(out, s->key[i].path);
        fputs(": ", out);
        json_text(out, s->key[i].value[c->value[i]]);
    }
    fputc('}', out);
}

/* ---- JSON: which key did what ---- */

static void json_effect_value(FILE *out, const Effect *e, int value)
{
    const Runs *runs = &e->runs[value];
    fputs("{\"value\": ", out);
    json_text(out, e->key->value[value]);
    fprintf(out, ", \"runs\": %d", runs->count);
    for (Head head = 0; head < HEADS; head++) {
        fprintf(out, ", \"%s\": {", head_option[head]);
        json_summary(out, "accuracy", summarise_runs(runs, figure_accuracy, head));
        fputs(", ", out);
        json_summary(out, "gain", summarise_runs(runs, figure_gain, head));
        fputc('}', out);
    }
    fputc('}', out);
}

static void json_effect(FILE *out, const Sweep *s, int key)
{
    const Effect e = effect_of(s, key);
    fputs("    {\"key\": ", out);
    json_text(out, e.key->path);
    fprintf(out, ", \"matched\": %s, \"left_out\": %d, \"values\": [", e.matched ? "true" : "false",
            e.left_out);
    for (int value = 0; value < e.key->values; value++) {
        fputs(value ? ",\n      " : "\n      ", out);
        json_effect_value(out, &e, value);
    }
    fputs("]}", out);
}

static void json_effects(FILE *out, const Sweep *s)
{
    int written = 0;
    fputs("  \"effects\": [", out);
    for (int key = 0; key < s->keys; key++)
        if (s->key[key].values > 1) {
            fputs(written++ ? ",\n" : "\n", out);
            json_effect(out, s, key);
        }
    fputs("],\n", out);
}

/* ---- JSON: combinations ---- */

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
    fputs("    {\"name\": ", out);
    json_text(out, c->name);
    fputs(", ", out);
    json_named_pairs(out, c);
    json_set(out, s, c);
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
    if (s->holdout)
        fprintf(out, ", \"holdout\": %s", s->holdout);
    fprintf(out, ", \"epochs\": %jd, \"seeds\": %jd,\n", (intmax_t)s->epochs, (intmax_t)s->seeds);
    fprintf(out, "  \"complete\": %d, \"runs\": %d,\n", sweep_complete(s), s->combinations * (int)s->seeds);
    json_effects(out, s);
    fputs("  \"combinations\": [", out);
    for (int i = 0; i < s->combinations; i++) {
        fputs(i ? ",\n" : "\n", out);
        json_combination(out, s, &s->combination[i]);
    }
    fputs("\n  ]\n}\n", out);
}
