/* emit_manual.c: a library's header, which is its manual (templates/library/model.h.tmpl). */
#include "library.h"
#include <string.h>

/* 1,234,567 */
static const char *grouped(Arena *a, double number)
{
    const char *digits = arena_printf(a, "%.0f", number), *text = "";
    for (size_t i = 0, length = strlen(digits); i < length; i++)
        text = arena_printf(a, "%s%s%c", text, i && (length - i) % 3 == 0 ? "," : "", digits[i]);
    return text;
}

static double multiply_adds(const Graph *g)
{
    return cost_run_flop(g) / 2;
}

/* A line of the comment for each layer and pair. */
static void print_model(Emit *e)
{
    const Net *n = e->program->net;
    fprintf(e->out, " *   input  %d x %d pixels of %d channel%s\n", (int)n->spec->input.size.v,
            (int)n->spec->input.size.v, (int)n->spec->input.channels.v,
            n->spec->input.channels.v > 1 ? "s" : "");
    for (int i = 0; i <= n->top; i++) {
        const NetLayer *l = &n->layer[i];
        fprintf(e->out, " *   %-5d  %s: %d channels at %d x %d\n", l->number, layer_text(e->arena, l->spec),
                l->channels, l->side, l->side);
    }
    for (int i = 0; i < n->pairs; i++)
        fprintf(e->out, " *   pair   %s, weight %s\n", n->pair[i].name, real(e, n->pair[i].spec->weight.v));
    fprintf(e->out, " *   batch  %d images of %d view%s\n *\n", n->batch, n->views, n->views > 1 ? "s" : "");
}

static const char *pair_names(Arena *a, const Net *n, bool located)
{
    const char *text = "";
    for (int i = 0; i < n->pairs; i++)
        if (!located || n->pair[i].located >= 0)
            text = arena_printf(a, "%s%s%s", text, *text ? ", " : "", n->pair[i].name);
    return text;
}

static const char *state_text(const Spec *s)
{
    if (!s->optimizer.sgd)
        return "Adam's first, then its second moments.";
    return s->optimizer.momentum.v > 0 ? "SGD's momentum." : "none: SGD without momentum; may be NULL.";
}

static const char *optimizer_text(Emit *e)
{
    const Spec *s = e->program->net->spec;
    if (!s->optimizer.sgd)
        return arena_printf(e->arena, "Adam%s (betas %s, %s, eps %s, weight decay %s)",
                            s->optimizer.decoupled.v ? "W" : "", real(e, s->optimizer.beta1.v),
                            real(e, s->optimizer.beta2.v), real(e, s->optimizer.eps.v),
                            real(e, s->optimizer.weight_decay.v));
    return arena_printf(e->arena, "SGD (momentum %s, weight decay %s)", real(e, s->optimizer.momentum.v),
                        real(e, s->optimizer.weight_decay.v));
}

/* What the spec has for a rate, which is the caller's to follow. */
static const char *rate_text(Emit *e)
{
    const Spec *s = e->program->net->spec;
    const char *text = arena_printf(e->arena, "%s in the spec", real(e, s->optimizer.lr.v));
    if (s->schedule.warmup.v > 0)
        text = arena_printf(e->arena, "%s, times min(1, (step + 1) / %lld)", text,
                            (long long)s->schedule.warmup.v);
    for (int i = 0; i < s->schedule.milestones; i++)
        text = arena_printf(e->arena, "%s, times %s from epoch %lld on", text, real(e, s->schedule.gamma.v),
                            (long long)s->schedule.milestone[i].v);
    if (s->schedule.has_cosine)
        text = arena_printf(e->arena,
                            "%s, and from the warm-up's end on times %s + %s * (1 + cos(pi * (step - %lld) / "
                            "(T - %lld))) in a run of T steps",
                            text, real(e, s->schedule.cosine.v), real(e, (1 - s->schedule.cosine.v) / 2),
                            (long long)s->schedule.warmup.v, (long long)s->schedule.warmup.v);
    return arena_printf(e->arena, "%s.", text);
}

/* ---- filling ----
 *
 * Paragraphs of comments that holes have made ragged are filled anew: words in a row of lines that begin
 * alike. An entry of a table, which is indented, goes on below its second column. */

enum { COLUMNS = 118, HANGING = 12 };

typedef struct {
    FILE *out;
    int column, indent; /* indent: of the lines that go on */
} Filler;

static void fill_word(Filler *f, const char *word, int length)
{
    if (f->column + 1 + length > COLUMNS)
        f->column = fprintf(f->out, "\n *%*s", f->indent - 2, "");
    else if (f->column > f->indent)
        f->column += fprintf(f->out, " ");
    f->column += fprintf(f->out, "%.*s", length, word);
}

static void fill_words(Filler *f, const char *at, const char *end)
{
    while (at < end) {
        const int length = (int)strcspn(at, " \n");
        if (length)
            fill_word(f, at, length);
        at += length + (at + length < end && at[length] == ' ');
        if (!length && *at != ' ')
            break;
    }
}

/* Columns of blanks behind the comment's margin, or -1 where the line is none of a paragraph's. */
static int text_indent(const char *line)
{
    if (strncmp(line, " * ", 3) != 0)
        return -1;
    return (int)strspn(line + 3, " ");
}

static const char *line_end(const char *line)
{
    return line + strcspn(line, "\n");
}

/* The paragraph that begins here; behind its last line break. */
static const char *fill_paragraph(FILE *out, const char *line)
{
    const int first = (int)strspn(line + 3, " ");
    Filler f = {.out = out, .indent = first ? HANGING : 3};
    /* A table's first column stays as it is. */
    const char *words = line + 3 + first;
    if (first) {
        words += strcspn(words, " \n");
        words += strspn(words, " ");
    }
    f.column = fprintf(out, "%.*s", (int)(words - line), line);
    f.indent = first ? (int)(words - line) : f.indent;
    fill_words(&f, words, line_end(words));
    for (line = line_end(words) + 1; *line; line = line_end(line) + 1) {
        const int indent = text_indent(line);
        if (indent < 0 || line[3 + indent] == '\n' || (first ? indent < HANGING - 4 : indent > 0))
            break;
        fill_words(&f, line + 3 + indent, line_end(line));
    }
    fputc('\n', out);
    return line;
}

char *fill_comments(Arena *a, const char *text)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    while (*text) {
        const bool begins = !strncmp(text, "/* ", 3) && strncmp(text, "/* ----", 7) != 0;
        if (begins || (text_indent(text) >= 0 && text[3] != '\n')) {
            text = fill_paragraph(out, text);
            continue;
        }
        const char *end = line_end(text);
        fprintf(out, "%.*s\n", (int)(end - text), text);
        text = *end ? end + 1 : end;
    }
    return text_stream_close(a, &t);
}

char *emit_manual(Arena *a, const ModelLibrary *l)
{
    const Program *p = l->program;
    const Net *n = p->net;
    const Spec *s = n->spec;
    const LibraryMemory *m = &p->library;
    Emit e = {.arena = a, .program = p, .is_library = true};
    const Fill fill[] = {
        {"name", l->name},
        {"upper", l->upper},
        {"title", s->name.v},
        {"version", AMDIMC_VERSION},
        {"spec", l->spec},
        {"overrides", in_comment(a, l->overrides)},
        {"model_text", emitted(&e, print_model)},
        {"params_bytes", grouped(a, (double)m->params)},
        {"state_bytes", grouped(a, (double)m->state)},
        {"state_text", state_text(s)},
        {"state_null", m->state ? "" : " (there is none)"},
        {"train_text", grouped(a, (double)m->train)},
        {"encode_text", grouped(a, (double)m->encode)},
        {"total_bytes", grouped(a, (double)m->total)},
        {"encode_macs", grouped(a, multiply_adds(p->encode))},
        {"step_macs", grouped(a, multiply_adds(p->step))},
        {"channels", as_number(a, (size_t)s->input.channels.v)},
        {"size", as_number(a, (size_t)s->input.size.v)},
        {"views", as_number(a, (size_t)n->views)},
        {"batch", as_number(a, (size_t)n->batch)},
        {"pairs", as_number(a, (size_t)n->pairs)},
        {"pair_names", pair_names(a, n, false)},
        {"located", as_number(a, (size_t)n->located)},
        {"located_names", n->located ? arena_printf(a, ": %s", pair_names(a, n, true)) : ""},
        {"features", as_number(a, (size_t)p->feature[0].result->dims[3])},
        {"dim", as_number(a, (size_t)s->embedding.dim.v)},
        {"tensors", as_number(a, (size_t)p->params->count)},
        {"params", as_number(a, m->params / sizeof(float))},
        {"state", as_number(a, m->state / sizeof(float))},
        {"train_bytes", as_number(a, m->train)},
        {"encode_bytes", as_number(a, m->encode)},
        {"augment_text", augmentation_text(a, s)},
        {"penalty", real(&e, s->loss.penalty.v)},
        {"optimizer_text", optimizer_text(&e)},
        {"lr_text", rate_text(&e)},
    };
    TextStream t;
    template_expand(a, text_stream_open(&t), l->templates, "library/model.h.tmpl", fill, COUNT(fill));
    return fill_comments(a, text_stream_close(a, &t));
}
