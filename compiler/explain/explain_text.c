/* explain_text.c: --explain for people: tables and a chart, plain ASCII, at most 100 columns wide for specs
 * of usual sizes. */
#include "explain.h"
#include <string.h>

#include <inttypes.h>

enum { WIDTH = 100 };

static double gflop(double flop)
{
    return flop / 1e9;
}

static double mebibytes(double bytes)
{
    return bytes / (1 << 20);
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* 5011200 as 5,011,200. */
static const char *grouped(Arena *a, uint64_t n)
{
    if (n < 1000)
        return arena_printf(a, "%" PRIu64, n);
    return arena_printf(a, "%s,%03" PRIu64, grouped(a, n / 1000), n % 1000);
}

/* What is given for memory, in products. */
static void text_schedule(const Explanation *e, FILE *stream)
{
    const Program *p = e->program;
    const double shares = p->net->shares, run = shares * cost_run_flop(p->step),
                 once = cost_batch_flop(p->step);
    fprintf(stream, "  schedule    %.3f GFLOP computed again to save memory, %.1f %%\n", gflop(run - once),
            percent(run - once, once));
    if (p->schedule.chunk)
        fprintf(stream, "              the encoder in %d chunks of %d images, forward twice\n",
                p->net->images / p->schedule.chunk, p->schedule.chunk);
}

static void text_summary(Arena *a, const Explanation *e, FILE *stream)
{
    const Program *p = e->program;
    const Spec *s = p->net->spec;
    int size = (int)s->input.size.v, channels = (int)s->input.channels.v;
    fprintf(stream, "%s\n", s->name.v);
    fprintf(stream, "  a step      %d images, %d view%s of each, %dx%d pixels, %d channel%s\n", p->net->batch,
            p->net->views, p->net->views > 1 ? "s" : "", size, size, channels, channels > 1 ? "s" : "");
    fprintf(stream, "  parameters  %s\n", grouped(a, e->step.parameters));
    fprintf(stream, "  products    %.3f GFLOP a step, %.3f of them forward\n", gflop(e->step.step),
            gflop(e->step.forward));
    fprintf(stream, "  memory      %.1f MiB at most, with %d thread%s", mebibytes((double)p->peak.total),
            (int)s->target.threads.v, s->target.threads.v > 1 ? "s" : "");
    if (s->target.all_processors)
        fprintf(stream, ", as many as this machine has processors");
    if (s->target.memory.v)
        fprintf(stream, "; %.1f MiB allowed", mebibytes((double)s->target.memory.v));
    fputc('\n', stream);
    text_schedule(e, stream);
}

/* ---- settings ---- */

static void text_settings(Arena *a, const Spec *s, FILE *stream)
{
    Table t;
    int count;
    const KeyValue *setting = spec_settings(a, s, true, &count);
    fprintf(stream, "\nsettings (where from: a line of the spec, an option, or the default)\n");
    table_begin(&t, "lll");
    for (int i = 0; i < count; i++) {
        const Mark at = setting[i].at;
        const char *from = !at.source               ? "default"
                           : at.source == s->source ? arena_printf(a, "line %d", at.line)
                                                    : at.source->name;
        fprintf(t.row, "%s|%s|%s\n", setting[i].key, setting[i].value ? setting[i].value : "off", from);
    }
    table_end(a, &t, stream);
}

/* ---- encoder ---- */

void explain_layers(Arena *a, const Net *n, FILE *stream)
{
    Table t;
    fprintf(stream, "encoder (sees, stride: pixels that one location sees, and to the next)\n");
    table_begin(&t, "rrlrrr");
    fprintf(t.row, "line||layer|output|sees|stride\n");
    for (int i = 0; i < n->layers; i++) {
        const NetLayer *l = &n->layer[i];
        fprintf(t.row, "%d|%d|%s|%dx%dx%d|%d|%d\n", l->spec->at.line, l->number, layer_text(a, l->spec),
                l->side, l->side, l->channels, l->receptive_field, l->receptive_stride);
    }
    table_end(a, &t, stream);
}

static void share_cells(Arena *a, const Share *s, FILE *row)
{
    fprintf(row, "%s|%.3f|%.3f", grouped(a, s->parameters), gflop(s->forward), gflop(s->step));
}

static void text_layers(Arena *a, const Explanation *e, FILE *stream)
{
    const Net *n = e->program->net;
    Table t;
    fprintf(stream, "\nencoder (sees, stride: pixels that one location sees, and to the next; "
                    "products in GFLOP)\n");
    table_begin(&t, "rrlrrrrrr");
    fprintf(t.row, "line||layer|output|sees|stride|parameters|forward|step\n");
    for (int i = 0; i < n->layers; i++) {
        const NetLayer *l = &n->layer[i];
        fprintf(t.row, "%d|%d|%s|%dx%dx%d|%d|%d|", l->spec->at.line, l->number, layer_text(a, l->spec),
                l->side, l->side, l->channels, l->receptive_field, l->receptive_stride);
        if (i <= n->top)
            share_cells(a, &e->layer[i], t.row);
        else
            fprintf(t.row, "not used||");
        fputc('\n', t.row);
    }
    table_end(a, &t, stream);
}

/* ---- scales, pairs, products ---- */

static const char *embedding_text(Arena *a, const Net *n, const NetScale *s)
{
    if (!s->trained)
        return "none";
    const SpecMixture *m = &n->spec->embedding.mixture;
    const char *head = s->identity ? "identity" : "head";
    return m->on && s->scale == 1 ? arena_printf(a, "%s, %d components", head, (int)m->components.v) : head;
}

static void text_scales(Arena *a, const Explanation *e, FILE *stream)
{
    const Net *n = e->program->net;
    Table t;
    fprintf(stream, "\nscales (sees: pixels and part of the picture that one location sees; products of "
                    "heads in GFLOP)\n");
    table_begin(&t, "rrrlrrrrr");
    fprintf(t.row, "scale|layer|features|embedding|parameters|forward|step|sees|\n");
    for (int i = 0; i < n->scales; i++) {
        const NetScale *s = &n->scale[i];
        fprintf(t.row, "%d|%d|%dx%dx%d|%s|", s->scale, s->layer->number, s->scale, s->scale,
                s->layer->channels, embedding_text(a, n, s));
        if (s->trained)
            share_cells(a, &e->scale[i], t.row);
        else
            fputs("||", t.row);
        fprintf(t.row, "|%dx%d|%.1f %%\n", s->layer->receptive_field, s->layer->receptive_field,
                100 * scale_sight(s, n));
    }
    table_end(a, &t, stream);
}

static void text_pairs(Arena *a, const Explanation *e, FILE *stream)
{
    const Net *n = e->program->net;
    Table t;
    fprintf(stream, "\npairs (scores a step: positives, and negatives, so many for each; products in GFLOP, "
                    "and share)\n");
    table_begin(&t, "lrrrrrrr");
    fprintf(t.row, "pair|weight|positives|negatives|for each|forward|step|share\n");
    for (int i = 0; i < n->pairs; i++) {
        const NetPair *p = &n->pair[i];
        fprintf(t.row, "%s|%g|%s|", p->name, p->spec->weight.v, grouped(a, (uint64_t)pair_positives(p, n)));
        fprintf(t.row, "%s|", grouped(a, (uint64_t)pair_negatives(p, n)));
        fprintf(t.row, "%s|", grouped(a, (uint64_t)pair_negatives_each(p, n)));
        fprintf(t.row, "%.3f|%.3f|%.1f %%\n", gflop(e->pair[i].forward), gflop(e->pair[i].step),
                percent(e->pair[i].step, e->step.step));
    }
    table_end(a, &t, stream);
}

static void text_products(Arena *a, const Explanation *e, FILE *stream)
{
    const struct {
        const char *name;
        const Share *share;
    } rows[] = {{"encoder", &e->encoder}, {"heads", &e->heads}, {"pairs", &e->scores}, {"all", &e->step}};
    Table t;
    fprintf(stream, "\nproducts (in GFLOP, and shares of the step's)\n");
    table_begin(&t, "lrrrr");
    fprintf(t.row, "|parameters|forward|step|share\n");
    for (size_t i = 0; i < COUNT(rows); i++) {
        fprintf(t.row, "%s|", rows[i].name);
        share_cells(a, rows[i].share, t.row);
        fprintf(t.row, "|%.1f %%\n", percent(rows[i].share->step, e->step.step));
    }
    table_end(a, &t, stream);
}

/* Sparse and Winograd multiply fewer numbers than that. */
static void text_implementations(Arena *a, const Explanation *e, FILE *stream)
{
    double all = 0;
    for (int i = 0; i < e->implementations; i++)
        all += e->implementation[i].flop;
    Table t;
    fprintf(stream, "\nimplementations (of all products as run; GFLOP as the mathematics has them)\n");
    table_begin(&t, "lrrr");
    fprintf(t.row, "|operations|GFLOP|share\n");
    for (int i = 0; i < e->implementations; i++)
        fprintf(t.row, "%s|%d|%.3f|%.1f %%\n", e->implementation[i].name, e->implementation[i].operations,
                gflop(e->implementation[i].flop), percent(e->implementation[i].flop, all));
    table_end(a, &t, stream);
}

/* ---- memory ---- */

static void text_memory(Arena *a, const Explanation *e, FILE *stream)
{
    size_t total = e->program->peak.total;
    MemoryPart part[MEMORY_PARTS];
    explain_memory(e, part);
    Table t;
    fprintf(stream, "\nmemory (the peak; of the arena, when it is fullest: in operation %d of the step)\n",
            e->fullest);
    table_begin(&t, "lrrrl");
    fprintf(t.row, "|bytes|MiB|share|\n");
    for (int i = 0; i < MEMORY_PARTS; i++)
        if (part[i].bytes || strcmp(part[i].name, "meetings") != 0)
            fprintf(t.row, "%s|%s|%.1f|%.1f %%|%s\n", part[i].name, grouped(a, part[i].bytes),
                    mebibytes((double)part[i].bytes), percent((double)part[i].bytes, (double)total),
                    part[i].note);
    fprintf(t.row, "peak|%s|%.1f||%s\n", grouped(a, total), mebibytes((double)total),
            e->program->net->spec->target.is_library ? "params, state and work of a step"
                                                     : "resident memory of a whole `train`, never more");
    table_end(a, &t, stream);
}

static void text_ranks(Arena *a, const Explanation *e, FILE *stream)
{
    const Net *n = e->program->net;
    if (n->shares == 1)
        return;
    const Exchange x = explain_exchange(e->program);
    Table t;
    fprintf(stream,
            "\nranks (%d shares of %d image%s; what each of %d processes sends to all others in a step)\n",
            n->shares, n->share, n->share > 1 ? "s" : "", n->shares);
    table_begin(&t, "lrrll");
    fprintf(t.row, "|transfers|bytes||\n");
    for (int i = 0; i < EXCHANGE_PARTS; i++)
        fprintf(t.row, "%s|%d|%s|%s|%s\n", exchange_words[i].name, x.meetings[i],
                grouped(a, (size_t)x.bytes[i]), exchange_words[i].what, exchange_words[i].when);
    fprintf(t.row, "all||%s||\n", grouped(a, (size_t)x.all));
    table_end(a, &t, stream);
}

/* Of memory that its caller has. */
static void text_library(Arena *a, const LibraryMemory *m, FILE *stream)
{
    const struct {
        const char *name;
        size_t bytes;
        const char *note;
    } part[] = {{"params", m->params, "weights and running statistics"},
                {"state", m->state, "moments"},
                {"work", m->train, "to train: a batch of views, activations, gradients"},
                {"", m->encode, "to encode one picture"}};
    Table t;
    fprintf(stream, "\nlibrary (amdimc --emit=library; one thread, no code and libraries counted)\n");
    if (!m->total) {
        fprintf(stream, "  needs more than target.memory; `amdimc --emit=library` says how much\n");
        return;
    }
    table_begin(&t, "lrrl");
    fprintf(t.row, "|bytes|MiB|\n");
    for (size_t i = 0; i < COUNT(part); i++)
        fprintf(t.row, "%s|%s|%.1f|%s\n", part[i].name, grouped(a, part[i].bytes),
                mebibytes((double)part[i].bytes), part[i].note);
    fprintf(t.row, "all|%s|%.1f|to train\n", grouped(a, m->total), mebibytes((double)m->total));
    table_end(a, &t, stream);
}

void explain_text(Arena *a, const Program *p, const LibraryMemory *library, FILE *stream)
{
    Explanation *e = explain(a, p);
    text_summary(a, e, stream);
    text_layers(a, e, stream);
    text_scales(a, e, stream);
    text_pairs(a, e, stream);
    text_products(a, e, stream);
    text_implementations(a, e, stream);
    text_memory(a, e, stream);
    text_ranks(a, e, stream);
    text_library(a, library, stream);
    text_settings(a, p->net->spec, stream);
    fprintf(stream, "\narena (live bytes over the %d operations of a step)\n", p->step->ops);
    explain_chart(e, WIDTH, stream);
}
