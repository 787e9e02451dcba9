/* report.c: RUN/report.html, one page that needs nothing else: how the run stands, its curves, the encoder,
 * and pictures of what it has learnt. */
#include "report_internal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

enum { REFRESH = 20, EARLY_REFRESH = 5 }; /* seconds */

// clang-format off
static const char style[] =
    ".state { grid-column: 1 / -1; margin: -10px 0 0; color: var(--soft) }\n"
    ".state b { color: var(--ink); font-weight: 600 }\n"
    ".state.running b::before { content: \"\"; display: inline-block; width: 9px; height: 9px;\n"
    "  margin-right: 7px; border-radius: 50%; background: var(--good) }\n"
    ".two { display: grid; grid-template-columns: 1fr 1fr; gap: 16px }\n"
    ".small { grid-column: 1 / -1; display: grid; gap: 16px;\n"
    "  grid-template-columns: repeat(auto-fit, minmax(205px, 1fr)) }\n"
    ".small svg { font-size: 15px }\n"
    "figure { margin: 0; min-width: 0 }\n"
    "figcaption { margin-top: 3px; color: var(--soft); font-size: 12px; line-height: 1.3 }\n"
    "img, image { image-rendering: pixelated }\n"
    "img { display: block; width: 100%; border-radius: 4px }\n"
    ".layers { margin: 0; padding: 0; list-style: none }\n"
    ".layers li { display: grid; grid-template-columns: 150px 1fr; gap: 14px; align-items: center;\n"
    "  --c: var(--soft) }\n"
    ".layers .trained { --c: var(--c0) }\n"
    ".layers path { fill: var(--c); fill-opacity: .55; stroke: var(--card); stroke-width: .75 }\n"
    ".layers .top { fill-opacity: .3 }\n"
    ".layers .right { fill-opacity: .75 }\n"
    ".layers div { padding: 4px 0; line-height: 1.35 }\n"
    ".layers b { font-weight: 600; margin-right: 10px; white-space: nowrap }\n"
    ".layers b + b { font-weight: 400 }\n"
    ".layers i { color: var(--soft); font-style: normal; font-weight: 400; margin-right: 6px }\n"
    ".layers em { color: var(--c); font-style: normal; font-size: 13px }\n"
    ".layers span { display: block; color: var(--soft); font-size: 13px }\n"
    "sub { font-size: 75%; line-height: 0 }\n"
    ".fields { display: grid; gap: 14px }\n"
    ".fields figure { display: grid; grid-template-columns: 170px 1fr; gap: 16px; align-items: center }\n"
    ".fields figcaption { font-size: 13px; line-height: 1.5 }\n"
    ".fields b { display: block; color: var(--ink); font-size: 15px; font-weight: 600 }\n"
    ".fields svg, .maps svg { border-radius: 4px }\n"
    ".field { fill: none; stroke: #fff; stroke-width: 2; vector-effect: non-scaling-stroke }\n"
    ".shade { fill: #000; fill-opacity: .5; fill-rule: evenodd }\n"
    ".fields circle { fill: #ffd23f }\n"
    ".pictures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px 22px }\n"
    ".pictures figure { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px }\n"
    ".pictures.single figure { grid-template-columns: repeat(2, 1fr) }\n"
    ".queries { display: grid; grid-template-columns: 1fr 1fr; gap: 14px 28px }\n"
    ".near { display: grid; grid-template-columns: 1fr 2px repeat(7, 1fr); gap: 5px }\n"
    ".near .query figcaption { color: var(--ink) }\n"
    ".near .same img { outline: 2px solid var(--good); outline-offset: -1px }\n"
    ".near figcaption { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }\n"
    ".near span { display: block }\n"
    ".maps { display: grid; grid-template-columns: 1fr 1fr; gap: 16px 28px }\n"
    ".three { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px }\n"
    ".under { filter: grayscale(1) }\n"
    ".components { display: flex; flex-wrap: wrap; gap: 4px 18px }\n"
    ".components i { display: inline-block; width: 12px; height: 12px; margin-right: 6px; border-radius: 3px;\n"
    "  box-shadow: 0 0 0 1px var(--soft) }\n"
    ".bar { display: flex; align-items: center; gap: 8px }\n"
    ".bar i { width: 160px; height: 12px; border-radius: 3px }\n"
    "@media (max-width: 720px) {\n"
    "  .two, .queries, .maps { grid-template-columns: 1fr }\n"
    "  .two svg { font-size: 15px }\n"
    "  .small { grid-template-columns: 1fr; gap: 12px }\n"
    "  .small svg { font-size: 12px }\n"
    "  .pictures { grid-template-columns: 1fr 1fr; gap: 10px 14px }\n"
    "  .near { grid-template-columns: repeat(4, 1fr) }\n"
    "  .near > i { display: none }\n"
    "  .layers li { grid-template-columns: 96px 1fr }\n"
    "  .fields figure { grid-template-columns: 130px 1fr }\n"
    "}\n";
static const char style_of_classes[] =
    ".map { background: var(--page); border-radius: 6px }\n"
    ".map circle, .dotted i { --c: hsl(var(--h, 210) 62% var(--light)); --light: 44% }\n"
    ".map circle { opacity: .8 }\n"
    "figure .map circle:hover { opacity: 1; stroke: var(--ink); stroke-width: 1.5 }\n"
    ".dotted i { width: 10px; height: 10px; border: 0; border-radius: 5px; background: var(--c) }\n"
    "@media (prefers-color-scheme: dark) { .map circle, .dotted i { --light: 66% } }\n"
    ".probes { display: grid; gap: 20px 28px; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)) }\n"
    ".probes h3 { margin: 0 0 6px; font-size: 14px; font-weight: 600 }\n"
    ".matrix { overflow-x: auto; max-height: 560px }\n"
    ".matrix table { font-size: 12px; width: auto; border-collapse: separate; border-spacing: 2px }\n"
    ".matrix th, .matrix td { padding: 3px 5px; border: 0; text-align: center; white-space: nowrap;\n"
    "  vertical-align: middle; overflow-wrap: normal }\n"
    ".matrix th:first-child, .matrix td:first-child { text-align: left; padding-left: 0; color: var(--soft) }\n"
    ".matrix thead th { vertical-align: bottom }\n"
    ".matrix thead span { writing-mode: vertical-rl; transform: rotate(180deg) }\n"
    ".matrix b { font-weight: 600 }\n"
    ".matrix .cell { min-width: 27px; border-radius: 3px; --share: 0%; background: color-mix(in srgb,\n"
    "  var(--c) var(--share), var(--page)) }\n"
    ".matrix .right { --c: var(--good) }\n"
    ".matrix .wrong { --c: var(--c1) }\n";
// clang-format on

/* ---- the parts that are words ---- */

static void write_state(FILE *s, const ReportState *state)
{
    static const char *const classes[] = {"running", "stopped", "finished", "failed"};
    char drawn[32] = "";
    struct tm when;
    if (localtime_r(&state->now, &when))
        strftime(drawn, sizeof drawn, "%Y-%m-%d %H:%M:%S", &when);
    fprintf(s, "<p class=\"state %s\"><b>", classes[state->phase]);
    switch (state->phase) {
    case REPORT_RUNNING:
        fprintf(s, "running</b>: step %" PRIu64 " of %" PRIu64 ", epoch %" PRIu64, state->step, state->total,
                state->epoch);
        break;
    case REPORT_STOPPED:
        fprintf(s, "stopped</b> after step %" PRIu64 " of %" PRIu64 ": go on with --resume", state->step,
                state->total);
        break;
    case REPORT_FINISHED: fprintf(s, "finished</b> after step %" PRIu64, state->step); break;
    case REPORT_FAILED:
        fprintf(s, "failed</b> after step %" PRIu64 ": ", state->step);
        html_text(s, state->reason);
        break;
    }
    fprintf(s, "; drawn %s</p>\n", drawn);
}

static void format_pairs(char *text, size_t size, const AmdimModel *m, bool weighted)
{
    size_t used = 0;
    for (int i = 0; i < m->pairs && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", m->pair[i].name);
        if (weighted && used < size)
            used += (size_t)snprintf(text + used, size - used, " × %g", m->pair[i].weight);
    }
}

/* The spec's keys of a section, each with its value. */
static void write_keys(FILE *s, const AmdimModel *m, const char *section, const char *name)
{
    char text[KEYS_TEXT];
    keys_describe(m, section, text, sizeof text);
    if (*text)
        page_fact(s, name, "%s", text);
}

static void write_facts(FILE *s, const AmdimModel *m, const ReportState *state, const Series *series)
{
    char pairs[1024], data[DATA_TEXT];
    format_pairs(pairs, sizeof pairs, m, true);
    data_describe(state->data, data, sizeof data);
    page_section_begin(s, SECTION_WHOLE, "What was trained", NULL);
    page_facts_begin(s);
    page_fact(s, "spec", "%s, digest %s", m->spec, m->digest);
    page_fact(s, "data", "%s; seed %" PRIu64, data, state->seed);
    page_fact(s, "input", "%d × %d, %d channel%s, %d view%s", m->size, m->size, m->channels,
              m->channels > 1 ? "s" : "", m->views, m->views > 1 ? "s" : "");
    page_fact(s, "batch", "%d images", m->batch);
    page_fact(s, "pairs × weight", "%s", pairs);
    page_fact(s, "embedding", "%d wide, clip %g, penalty × %g", m->embedding_dim, m->clip, m->penalty);
    if (m->mixture.components)
        page_fact(s, "mixture", "%d components of f_1, hidden layer %d wide, temperature %g",
                  m->mixture.components, m->mixture.hidden, m->mixture.temperature);
    write_keys(s, m, "augment", "augmentation");
    write_keys(s, m, "optimizer", "optimizer");
    write_keys(s, m, "schedule", "schedule");
    if (*series->rates)
        page_fact(s, "base rate by --lr", "%s", series->rates);
    page_fact(s, "compiled by", "%s and %s", m->compiler, m->cc);
    page_fact(s, "for", "%s, march %s, blas %s", m->target, m->march, m->blas);
    page_fact(s, "memory promised", "%.1f MiB at %d threads", (double)m->peak_bytes / MEBIBYTE, m->threads);
    page_facts_end(s);
    page_section_end(s);
}

/* ---- the page ---- */

static void write_pictures(Album *a)
{
    Fault f;
    if (!png_can_write(&f)) {
        page_section_begin(a->stream, SECTION_HALF, "Pictures", NULL);
        album_apology(a, &f);
        page_section_end(a->stream);
        return;
    }
    report_fields(a);
    report_pictures(a);
    if (a->state->early)
        return;
    report_neighbours(a);
    report_scores(a);
    if (a->model->mixture.components)
        report_mixture(a);
}

static void write_page(Album *a, const Series *series)
{
    FILE *s = a->stream;
    const AmdimModel *m = a->model;
    char pairs[1024], subtitle[1100];
    const int refresh = a->state->early ? EARLY_REFRESH : REFRESH;
    format_pairs(pairs, sizeof pairs, m, false);
    snprintf(subtitle, sizeof subtitle, "pairs %s", pairs);
    page_begin(s, &(Page){.heading = m->name,
                          .what = "training report",
                          .subtitle = subtitle,
                          .style = style,
                          .more_style = style_of_classes,
                          .refresh = a->state->phase == REPORT_RUNNING ? refresh : 0});
    write_state(s, a->state);
    report_curves(s, m, series);
    report_classes(a);
    report_encoder(a);
    if (a->state->phase != REPORT_FAILED)
        write_pictures(a);
    write_facts(s, m, a->state, series);
    page_end(s);
}

static bool write_file(const AmdimModel *m, const ReportState *state, const Series *series, const char *path,
                       Fault *f)
{
    NewFile file;
    Album album;
    if (!file_create(&file, path, f))
        return false;
    if (!album_open(&album, m, state, file.stream, f)) {
        file_discard(&file);
        return false;
    }
    write_page(&album, series);
    album_close(&album);
    return file_commit(&file, f);
}

bool report_write(const AmdimModel *m, const ReportState *state, Fault *f)
{
    Series series;
    char *metrics = path_join(state->run, "metrics.jsonl"), *page = path_join(state->run, "report.html");
    bool ok = metrics && page ? series_read(&series, m, metrics, f)
                              : fault(f, "out of memory for the names in %s", state->run);
    if (ok) {
        ok = write_file(m, state, &series, page, f);
        series_free(&series);
    }
    free(metrics);
    free(page);
    return ok;
}
