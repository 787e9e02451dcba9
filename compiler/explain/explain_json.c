/* explain_json.c: --explain=json: one object with what explain_text.c shows. All texts in it are names of the
 * spec language and of operations, which need no escapes. */
#include "explain.h"

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

/* Digits enough to give every count of FLOP back. */
static void json_gflop(const char *key, double flop, FILE *out)
{
    fprintf(out, ", \"%s\": %.15g", key, flop / 1e9);
}

static void json_share(const Share *s, FILE *out)
{
    fprintf(out, ", \"parameters\": %zu", s->parameters);
    json_gflop("gflop_forward", s->forward, out);
    json_gflop("gflop_per_step", s->step, out);
}

/* By key, off ones null; and which of them are defaults. */
static void json_settings(Arena *a, const Spec *s, FILE *out)
{
    int count, defaults = 0;
    const KeyValue *setting = spec_settings(a, s, true, &count);
    fprintf(out, "  \"keys\": {");
    for (int i = 0; i < count; i++) {
        const char *quote = setting[i].value && setting[i].is_word ? "\"" : "";
        fprintf(out, "%s\n    \"%s\": %s%s%s", i ? "," : "", setting[i].key, quote,
                setting[i].value ? setting[i].value : "null", quote);
    }
    fprintf(out, "\n  },\n  \"defaults\": [");
    for (int i = 0; i < count; i++)
        if (!setting[i].at.source)
            fprintf(out, "%s\n    \"%s\"", defaults++ ? "," : "", setting[i].key);
    fprintf(out, "\n  ],\n");
}

static void json_layers(const Explanation *e, FILE *out)
{
    const Net *n = e->program->net;
    fprintf(out, "  \"layers\": [");
    for (int i = 0; i < n->layers; i++) {
        const NetLayer *l = &n->layer[i];
        const SpecLayer *s = l->spec;
        fprintf(out, "%s\n    {\"layer\": %d, \"line\": %d, \"kind\": \"%s\"", i ? "," : "", l->number,
                s->at.line, layer_kind_name(s->kind));
        if (s->kind != LAYER_BATCHNORM)
            fprintf(out, ", \"kernel\": %d, \"stride\": %d, \"pad\": %d", (int)s->kernel.v, (int)s->stride.v,
                    (int)s->pad.v);
        if (s->kind == LAYER_BLOCK)
            fprintf(out, ", \"depth\": %d", (int)s->depth.v);
        if (s->kind == LAYER_POOL)
            fprintf(out, ", \"pool\": \"%s\"", s->maximum ? "max" : "mean");
        else if (s->kind != LAYER_BATCHNORM)
            fprintf(out, ", \"batchnorm\": %s", boolean(s->batchnorm.v));
        if (s->kind == LAYER_CONV)
            fprintf(out, ", \"pad_mode\": \"%s\", \"activation\": \"%s\"", s->reflect ? "reflect" : "zero",
                    s->relu ? "relu" : "none");
        fprintf(out, ", \"used\": %s, \"size\": %d, \"channels\": %d", boolean(i <= n->top), l->side,
                l->channels);
        fprintf(out, ", \"receptive_field\": %d, \"receptive_stride\": %d", l->receptive_field,
                l->receptive_stride);
        json_share(&e->layer[i], out);
        fputc('}', out);
    }
    fprintf(out, "\n  ],\n");
}

static const char *embedding_json(const NetScale *s)
{
    if (!s->trained)
        return "null";
    return s->identity ? "\"identity\"" : "\"head\"";
}

static void json_scales(const Explanation *e, FILE *out)
{
    const Net *n = e->program->net;
    fprintf(out, "  \"scales\": [");
    for (int i = 0; i < n->scales; i++) {
        const NetScale *s = &n->scale[i];
        fprintf(out, "%s\n    {\"scale\": %d, \"layer\": %d, \"channels\": %d, \"embedding\": %s",
                i ? "," : "", s->scale, s->layer->number, s->layer->channels, embedding_json(s));
        fprintf(out, ", \"receptive_field\": %d, \"receptive_stride\": %d, \"sees\": %.9g",
                s->layer->receptive_field, s->layer->receptive_stride, scale_sight(s, n));
        json_share(&e->scale[i], out);
        fputc('}', out);
    }
    fprintf(out, "\n  ],\n");
}

static void json_pairs(const Explanation *e, FILE *out)
{
    const Net *n = e->program->net;
    fprintf(out, "  \"pairs\": [");
    for (int i = 0; i < n->pairs; i++) {
        const NetPair *p = &n->pair[i];
        fprintf(out, "%s\n    {\"pair\": \"%s\", \"from\": %d, \"to\": %d, \"weight\": %.17g", i ? "," : "",
                p->name, p->from->scale, p->to->scale, p->spec->weight.v);
        if (p->components)
            fprintf(out, ", \"components\": %d", p->components);
        fprintf(out, ", \"positives\": %.0f, \"negatives\": %.0f, \"negatives_each\": %.0f",
                pair_positives(p, n), pair_negatives(p, n), pair_negatives_each(p, n));
        json_gflop("gflop_forward", e->pair[i].forward, out);
        json_gflop("gflop_per_step", e->pair[i].step, out);
        fprintf(out, ", \"share\": %.9g}", e->step.step > 0 ? e->pair[i].step / e->step.step : 0);
    }
    fprintf(out, "\n  ],\n");
}

static void json_memory(const Explanation *e, FILE *out)
{
    MemoryPart part[MEMORY_PARTS];
    explain_memory(e, part);
    fprintf(out, "  \"memory\": {");
    for (int i = 0; i < MEMORY_PARTS; i++)
        fprintf(out, "\"%s_bytes\": %zu, ", part[i].name, part[i].bytes);
    fprintf(out, "\"peak_bytes\": %zu},\n", e->program->peak.total);
}

static void json_ranks(const Explanation *e, FILE *out)
{
    const Net *n = e->program->net;
    if (n->shares == 1)
        return;
    const Exchange x = explain_exchange(e->program);
    fprintf(out, "  \"ranks\": {\"shares\": %d, \"images\": %d, ", n->shares, n->share);
    for (int i = 0; i < EXCHANGE_PARTS; i++)
        fprintf(out, "\"%s\": {\"transfers\": %d, \"bytes\": %.0f}, ", exchange_words[i].name, x.meetings[i],
                x.bytes[i]);
    fprintf(out, "\"sent_bytes\": %.0f},\n", x.all);
}

static void json_implementations(const Explanation *e, FILE *out)
{
    fprintf(out, "  \"implementations\": [");
    for (int i = 0; i < e->implementations; i++) {
        fprintf(out, "%s\n    {\"name\": \"%s\", \"operations\": %d", i ? "," : "", e->implementation[i].name,
                e->implementation[i].operations);
        json_gflop("gflop", e->implementation[i].flop, out);
        fputc('}', out);
    }
    fprintf(out, "\n  ],\n");
}

static void json_arena(const Explanation *e, FILE *out)
{
    const Graph *g = e->program->step;
    fprintf(out, "  \"arena_bytes\": %zu,\n  \"fullest_operation\": %d,\n  \"operations\": [",
            e->program->peak.arena, e->fullest);
    for (int i = 0; i < g->ops; i++) {
        fprintf(out, "%s\n    {\"operation\": \"%s\", \"of\": \"%s\", \"pass\": \"%s\"", i ? "," : "",
                op_name(g->op[i]->kind), g->op[i]->label, i <= e->forward_ops ? "forward" : "backward");
        const char *kernel = op_kernel_text(g->arena, g->op[i]);
        if (kernel)
            fprintf(out, ", \"implementation\": \"%s\"", kernel);
        for (int j = 0; j < PURPOSES; j++)
            fprintf(out, ", \"%s_bytes\": %zu", purpose_names[j], e->moment[i].bytes[j]);
        fputc('}', out);
    }
    fprintf(out, "\n  ]\n");
}

/* Null where none fits into the spec's memory. */
static void json_library(const LibraryMemory *m, FILE *stream)
{
    if (m->total)
        fprintf(stream,
                "  \"library\": {\"params_bytes\": %zu, \"state_bytes\": %zu, \"train_bytes\": %zu, "
                "\"encode_bytes\": "
                "%zu, \"total_bytes\": %zu},\n",
                m->params, m->state, m->train, m->encode, m->total);
    else
        fprintf(stream, "  \"library\": null,\n");
}

void explain_json(Arena *a, const Program *p, const LibraryMemory *library, FILE *stream)
{
    const Spec *s = p->net->spec;
    Explanation *e = explain(a, p);
    fprintf(
        stream,
        "{\n  \"name\": \"%s\",\n  \"views\": %d,\n  \"batch\": %d,\n  \"size\": %d,\n  \"channels\": %d,\n",
        s->name.v, p->net->views, p->net->batch, (int)s->input.size.v, (int)s->input.channels.v);
    fprintf(stream, "  \"threads\": %d,\n  \"parameters\": %zu,\n", (int)s->target.threads.v,
            e->step.parameters);
    fprintf(stream, "  \"gflop_forward\": %.15g,\n  \"gflop_per_step\": %.15g,\n  \"peak_bytes\": %zu,\n",
            e->step.forward / 1e9, e->step.step / 1e9, p->peak.total);
    if (s->target.memory.v)
        fprintf(stream, "  \"memory_limit_bytes\": %lld,\n", (long long)s->target.memory.v);
    fprintf(stream, "  \"schedule\": {\"chunk_images\": %d, \"gflop_computed_again\": %.15g},\n",
            p->schedule.chunk ? p->schedule.chunk : p->net->images,
            p->net->shares * (cost_run_flop(p->step) - cost_step_flop(p->step)) / 1e9);
    json_settings(a, s, stream);
    json_layers(e, stream);
    json_scales(e, stream);
    json_pairs(e, stream);
    json_implementations(e, stream);
    json_memory(e, stream);
    json_ranks(e, stream);
    json_library(library, stream);
    json_arena(e, stream);
    fprintf(stream, "}\n");
}
