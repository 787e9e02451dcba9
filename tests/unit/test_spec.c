/* test_spec.c: what a spec says is what the Spec holds: values, marks, defaults, values of the command line.
 * What a spec may not say is in tests/errors. */
#include "amdimc.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "name: tiny\ninput: {size: 8}\nbatch: 4\n"
#define BODY                                                                                                 \
    "encoder:\n"                                                                                             \
    "  - conv: {out: 4, kernel: 3}\n"                                                                        \
    "  - residual: {out: 8, kernel: 6}\n"                                                                    \
    "embedding: {dim: 8}\n"
#define LOSS  "loss: {pairs: [1-to-6]}\n"
#define SMALL HEAD BODY LOSS

typedef struct {
    Arena *arena;
    Diagnostics d;
    char *said;
    size_t said_length;
    Source source;
    Spec *spec;
} Reading;

static void read_with(Reading *r, const char *text, size_t length, const Overrides *o)
{
    *r = (Reading){.arena = arena_new(), .source = {"a.yaml", text, length}};
    r->d.stream = open_memstream(&r->said, &r->said_length);
    assert_non_null(r->d.stream);
    r->spec = spec_read(r->arena, &r->d, &r->source, o);
    fflush(r->d.stream);
    assert_true((r->spec == NULL) == (r->d.errors > 0));
}

static Spec *read_spec(Reading *r, const char *text)
{
    read_with(r, text, strlen(text), &(Overrides){0});
    if (!r->spec)
        fail_msg("%s", r->said);
    return r->spec;
}

static void end(Reading *r)
{
    fclose(r->d.stream);
    free(r->said);
    arena_free(r->arena);
}

static void expect_real(Real value, double expected)
{
    assert_true(value.v == expected);
}

static void expect_mark(const Reading *r, Mark at, int line, int column, int length)
{
    assert_ptr_equal(at.source, &r->source);
    assert_int_equal(at.line, line);
    assert_int_equal(at.column, column);
    assert_int_equal(at.length, length);
}

/* ---- defaults ---- */

static void absent_keys_have_their_defaults(void **state)
{
    (void)state;
    Reading r;
    const Spec *s = read_spec(&r, SMALL);
    assert_int_equal(s->input.channels.v, 3);
    for (int i = 0; i < 3; i++) {
        expect_real(s->input.mean[i], 0);
        expect_real(s->input.std[i], 1);
    }
    assert_int_equal(s->views.v, 2);
    assert_null(s->views.at.source);
    assert_false(s->embedding.batchnorm.v);
    expect_real(s->loss.clip, 20);
    expect_real(s->loss.penalty, 0.05);
    expect_real(s->loss.pair[0].weight, 1);
    assert_false(s->augment.crop.on || s->augment.translate.on || s->augment.jitter.on);
    expect_real(s->augment.flip, 0);
    expect_real(s->augment.grayscale, 0);
    assert_int_equal(s->schedule.epochs.v, 300);
    assert_int_equal(s->schedule.warmup.v, 500);
    assert_int_equal(s->schedule.milestones, 2);
    assert_int_equal(s->schedule.milestone[0].v, 250);
    assert_int_equal(s->schedule.milestone[1].v, 280);
    expect_real(s->schedule.gamma, 0.2);
    assert_false(s->schedule.has_cosine);
    assert_string_equal(s->target.march.v, "native");
    assert_string_equal(s->target.blas.v, "openblas");
    assert_int_equal(s->target.threads.v, 2);
    assert_int_equal(s->target.memory.v, 0);
    end(&r);
}

static void absent_layer_keys_have_their_defaults(void **state)
{
    (void)state;
    Reading r;
    const Spec *s = read_spec(&r, SMALL);
    const SpecLayer *conv = &s->layer[0], *residual = &s->layer[1];
    assert_int_equal(conv->kind, LAYER_CONV);
    assert_int_equal(conv->stride.v, 1);
    assert_int_equal(conv->pad.v, 0);
    assert_true(conv->relu);
    assert_false(conv->reflect || conv->batchnorm.v);
    assert_int_equal(residual->kind, LAYER_RESIDUAL);
    assert_int_equal(residual->depth.v, 1);
    assert_false(residual->batchnorm.v);
    end(&r);
}

static void absent_optimizer_is_the_examples_adam(void **state)
{
    (void)state;
    static const char *const text[] = {SMALL, SMALL "optimizer: {adam: {}}\n"};
    for (size_t i = 0; i < COUNT(text); i++) {
        Reading r;
        const Spec *s = read_spec(&r, text[i]);
        assert_false(s->optimizer.sgd);
        expect_real(s->optimizer.lr, 2e-4);
        expect_real(s->optimizer.beta1, 0.8);
        expect_real(s->optimizer.beta2, 0.999);
        expect_real(s->optimizer.eps, 1e-8);
        expect_real(s->optimizer.weight_decay, 1e-5);
        end(&r);
    }
}

static void absent_keys_of_sgd_are_its_own_examples(void **state)
{
    (void)state;
    Reading r;
    const Spec *s = read_spec(&r, SMALL "optimizer: {sgd: {momentum: 0.5}}\n");
    assert_true(s->optimizer.sgd);
    expect_real(s->optimizer.lr, 0.1);
    expect_real(s->optimizer.momentum, 0.5);
    expect_real(s->optimizer.weight_decay, 1e-4);
    end(&r);
}

static void absent_keys_inside_augmentations(void **state)
{
    (void)state;
    Reading r;
    const Spec *s = read_spec(&r, SMALL "augment: {crop: {}, translate: {}, jitter: {hue: 0.1}, blur: {}, "
                                        "solarize: {}}\n");
    assert_true(s->augment.crop.on && s->augment.translate.on && s->augment.jitter.on);
    assert_true(s->augment.blur.on && s->augment.solarize.on);
    expect_real(s->augment.crop.p, 1);
    expect_real(s->augment.blur.p, 1);
    expect_real(s->augment.blur.low, 0.1);
    expect_real(s->augment.blur.high, 2);
    expect_real(s->augment.solarize.p, 1);
    expect_real(s->augment.solarize.threshold, 0.5);
    expect_real(s->augment.crop.low, 0.08);
    expect_real(s->augment.crop.high, 1);
    expect_real(s->augment.crop.ratio_low, 3.0 / 4.0);
    expect_real(s->augment.crop.ratio_high, 4.0 / 3.0);
    assert_int_equal(s->augment.translate.max.v, 4);
    expect_real(s->augment.translate.p, 1);
    expect_real(s->augment.jitter.brightness, 0);
    expect_real(s->augment.jitter.hue, 0.1);
    expect_real(s->augment.jitter.p, 1);
    end(&r);
}

/* ---- values and marks ---- */

static void every_key_arrives(void **state)
{
    (void)state;
    Reading r;
    const Spec *s = read_spec(
        &r, "name: full-1\n"
            "input: {channels: 2, size: 64, mean: [0.5, -1], std: [.25, 2.]}\n"
            "views: 1\nbatch: 65536\n"
            "encoder:\n"
            "  - conv: {out: 1, kernel: 5, stride: 2, pad: 2, pad_mode: reflect, batchnorm: true, "
            "activation: none}\n"
            "  - residual: {out: 3, kernel: 4, stride: 2, pad: 2, batchnorm: true}\n"
            "  - block: {out: 3, kernel: 1, depth: 1024}\n"
            "  - batchnorm: {}\n"
            "embedding: {dim: 7, batchnorm: true, mixture: {components: 64, hidden: 9, temperature: 0.5}}\n"
            "loss: {pairs: [1-to-7, {pair: 65536-to-10, weight: 2.5}], clip: 0, penalty: 0}\n"
            "augment: {flip: 1, grayscale: 0.5, crop: {scale: [0.5, 0.5], ratio: [1, 2]},\n"
            "          translate: {max: 0, p: 0.25},\n"
            "          jitter: {brightness: 1, contrast: 2, saturation: 3, hue: 0.5, p: 0}}\n"
            "optimizer: {adam: {lr: 1e-3, betas: [0, 0.5], eps: 1e-6, weight_decay: 0}}\n"
            "schedule: {epochs: 1, warmup: 0, milestones: [], gamma: 1e0}\n"
            "target: {march: x86-64-v3, threads: 1024, blas: none, memory: 3GiB}\n");
    expect_real(s->input.mean[1], -1);
    expect_real(s->input.std[0], 0.25);
    expect_real(s->input.std[1], 2);
    assert_int_equal(s->batch.v, 65536);
    assert_int_equal(s->layers, 4);
    assert_int_equal(s->layer[0].stride.v, 2);
    assert_int_equal(s->layer[0].pad.v, 2);
    assert_true(s->layer[0].reflect && s->layer[0].batchnorm.v && !s->layer[0].relu);
    assert_int_equal(s->layer[1].pad.v, 2);
    assert_int_equal(s->layer[2].depth.v, 1024);
    assert_int_equal(s->layer[3].kind, LAYER_BATCHNORM);
    assert_true(s->embedding.batchnorm.v);
    assert_true(s->embedding.mixture.on);
    assert_int_equal(s->embedding.mixture.components.v, 64);
    assert_int_equal(s->embedding.mixture.hidden.v, 9);
    expect_real(s->embedding.mixture.temperature, 0.5);
    assert_int_equal(s->loss.pairs, 2);
    assert_int_equal(s->loss.pair[1].from.v, 65536);
    assert_int_equal(s->loss.pair[1].to.v, 10);
    expect_real(s->loss.pair[1].weight, 2.5);
    expect_real(s->loss.clip, 0);
    expect_real(s->augment.flip, 1);
    expect_real(s->augment.crop.low, 0.5);
    expect_real(s->augment.crop.ratio_high, 2);
    expect_real(s->augment.translate.p, 0.25);
    expect_real(s->augment.jitter.saturation, 3);
    expect_real(s->optimizer.beta2, 0.5);
    assert_int_equal(s->schedule.milestones, 0);
    expect_real(s->schedule.gamma, 1);
    assert_string_equal(s->target.march.v, "x86-64-v3");
    assert_string_equal(s->target.blas.v, "none");
    assert_true(s->target.memory.v == INT64_C(3) << 30);
    end(&r);
}

static void marks_point_at_the_written_value(void **state)
{
    (void)state;
    Reading r;
    const Spec *s = read_spec(&r, HEAD BODY "loss:\n  pairs: [1-to-6, {pair: '6-to-6', weight: 12.5}]\n");
    expect_mark(&r, s->name.at, 1, 7, 4);
    expect_mark(&r, s->input.size.at, 2, 15, 1);
    expect_mark(&r, s->layer[1].at, 6, 5, 8);
    expect_mark(&r, s->layer[1].out.at, 6, 21, 1);
    expect_mark(&r, s->loss.pair[0].at, 9, 11, 6);
    expect_mark(&r, s->loss.pair[1].at, 9, 26, 8);
    expect_mark(&r, s->loss.pair[1].weight.at, 9, 44, 4);
    end(&r);
}

static void marks_count_bytes_on_wide_lines(void **state)
{
    (void)state;
    Reading r;
    const Spec *s =
        read_spec(&r, "# \xC3\xA4\r\n\"name\": \"tiny\" # \xE6\x97\xA5\r\n"
                      "input: {size: 8}\nbatch: 4\n" BODY "loss: {\"pairs\":\n [1-to-6] } # \xC3\xB6\n");
    expect_mark(&r, s->name.at, 2, 9, 6);
    expect_mark(&r, s->batch.at, 4, 8, 1);
    expect_mark(&r, s->loss.pair[0].at, 10, 3, 6);
    end(&r);
}

static void keys_of_a_cosine_and_of_filters_arrive(void **state)
{
    (void)state;
    Reading r;
    const Spec *s = read_spec(&r, SMALL "augment: {crop: {p: 0.25}, blur: {p: 0.5, sigma: [0.5, 8]},\n"
                                        "          solarize: {p: 0.125, threshold: 0.75}}\n"
                                        "optimizer: {adam: {decoupled: true}}\n"
                                        "schedule: {epochs: 7, warmup: 3, cosine: 0.0625}\n");
    expect_real(s->augment.crop.p, 0.25);
    expect_real(s->augment.blur.p, 0.5);
    expect_real(s->augment.blur.low, 0.5);
    expect_real(s->augment.blur.high, 8);
    expect_real(s->augment.solarize.p, 0.125);
    expect_real(s->augment.solarize.threshold, 0.75);
    assert_true(s->optimizer.decoupled.v);
    assert_true(s->schedule.has_cosine);
    expect_real(s->schedule.cosine, 0.0625);
    assert_int_equal(s->schedule.milestones, 0);
    end(&r);
}

/* Whether the texts train the same. */
static bool are_the_same(const char *one, const char *other)
{
    Reading a, b;
    bool same = strcmp(spec_canonical((read_spec(&a, one), a.arena), a.spec),
                       spec_canonical((read_spec(&b, other), b.arena), b.spec)) == 0;
    end(&a);
    end(&b);
    return same;
}

/* A run of a spec from before a key was there is gone on with: the key at its default leaves no trace. */
static void later_keys_at_their_defaults_leave_no_trace(void **state)
{
    (void)state;
    assert_true(are_the_same(SMALL "augment: {crop: {}}\n", SMALL "augment: {crop: {p: 1.0}}\n"));
    assert_true(are_the_same(SMALL, SMALL "optimizer: {adam: {decoupled: false}}\n"));
    assert_true(are_the_same(SMALL "augment: {translate: {max: 4}}\n", SMALL "augment: {translate: {}}\n"));
    assert_false(are_the_same(SMALL "augment: {crop: {}}\n", SMALL "augment: {crop: {p: 0.9}}\n"));
    assert_false(are_the_same(SMALL, SMALL "augment: {blur: {}}\n"));
    assert_false(are_the_same(SMALL "augment: {blur: {}}\n", SMALL "augment: {blur: {sigma: [0.1, 2.1]}}\n"));
    assert_false(are_the_same(SMALL, SMALL "augment: {solarize: {}}\n"));
    assert_false(are_the_same(SMALL, SMALL "optimizer: {adam: {decoupled: true}}\n"));
    assert_false(are_the_same(SMALL "schedule: {milestones: []}\n", SMALL "schedule: {cosine: 0}\n"));
    assert_false(are_the_same(SMALL "schedule: {cosine: 0.1}\n", SMALL "schedule: {cosine: 0}\n"));
    Reading r;
    const char *text = spec_canonical((read_spec(&r, SMALL "augment: {crop: {}}\n"), r.arena), r.spec);
    static const char *const later[] = {"crop_p", "blur", "solarize", "decoupled", "cosine", "components"};
    for (size_t i = 0; i < COUNT(later); i++)
        assert_null(strstr(text, later[i]));
    end(&r);
}

static void notation_of_yaml_does_not_matter(void **state)
{
    (void)state;
    Reading flow, block;
    const Spec *a = read_spec(&flow, SMALL);
    const Spec *b =
        read_spec(&block, "%YAML 1.2\n---\nloss:\n  penalty: 5.0e-2 # as the default\n  pairs:\n  - 1-to-6\n"
                          "embedding:\n  dim: 8\n"
                          "encoder:\n- conv:\n    kernel: 3\n    out: 4\n- residual: {kernel: 6, out: 8}\n"
                          "batch: +4\ninput:\n  size: 8\nname: 'other'\ntarget: {threads: 1}\n...\n");
    char *one = spec_canonical(flow.arena, a), *other = spec_canonical(block.arena, b);
    assert_string_equal(one, other);
    end(&flow);
    end(&block);
}

static void canonical_text_tells_what_trains_differently(void **state)
{
    (void)state;
    static const char *const change[] = {
        "name: tiny\ninput: {size: 9}\nbatch: 4\n" BODY LOSS,
        HEAD "views: 1\n" BODY LOSS,
        HEAD BODY "loss: {pairs: [6-to-1]}\n",
        HEAD BODY "loss: {pairs: [{pair: 1-to-6, weight: 1.0000001}]}\n",
        HEAD BODY "loss: {pairs: [1-to-6], clip: 20.000000001}\n",
        SMALL "augment: {flip: 0.5}\n",
        SMALL "augment: {jitter: {}}\n",
        SMALL "optimizer: {sgd: {}}\n",
        SMALL "schedule: {milestones: [250]}\n",
    };
    Reading r;
    const Spec *small = read_spec(&r, SMALL);
    char *base = spec_canonical(r.arena, small);
    for (size_t i = 0; i < COUNT(change); i++) {
        Reading changed;
        const Spec *s = read_spec(&changed, change[i]);
        assert_string_not_equal(base, spec_canonical(changed.arena, s));
        end(&changed);
    }
    end(&r);
}

/* ---- what it comes to: docs/language.md has the defaults ---- */

static const KeyValue *find_setting(const KeyValue *list, int count, const char *key)
{
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].key, key) == 0)
            return &list[i];
    return NULL;
}

/* "3/4" is 0.75. */
static double fraction(const char *text, char **end)
{
    double value = strtod(text, end);
    return **end == '/' ? value / strtod(*end + 1, end) : value;
}

/* Whether a value is what the page says: the same word, number, or numbers of a list. */
static bool says_the_same(const char *page, const char *value)
{
    for (;;) {
        char *page_end, *value_end;
        while (*page && strchr("[], ", *page))
            page++;
        while (*value && strchr("[], ", *value))
            value++;
        double wanted = fraction(page, &page_end), got = strtod(value, &value_end);
        if (page_end == page)
            return strcmp(page, value) == 0;
        if (value_end == value || fabs(wanted - got) > 1e-15 * fabs(wanted))
            return false;
        page = page_end;
        value = value_end;
    }
}

/* Cell `number`, from 0, of a row "| cell | cell |", without blanks around it and without backquotes. */
static char *cell_of(Arena *a, const char *row, int number)
{
    const char *begin = row + 1, *end;
    for (; number > 0 && (begin = strchr(begin, '|')); number--)
        begin++;
    if (!begin || !(end = strchr(begin, '|')))
        return arena_printf(a, "%s", "");
    char *text = arena_copy(a, begin, (size_t)(end - begin)), *to = text;
    for (const char *c = text; *c; c++)
        if (*c != '`')
            *to++ = *c;
    while (to > text && to[-1] == ' ')
        to--;
    *to = '\0';
    return text + strspn(text, " ");
}

typedef struct {
    Arena *arena;
    const KeyValue *list;
    int count, compared;
    bool *found; /* (count) */
} Page;

static void compare_row(Page *p, const char *section, const char *row)
{
    const char *name = cell_of(p->arena, row, 0), *page = cell_of(p->arena, row, 2);
    const char *key = *section ? arena_printf(p->arena, "%s.%s", section, name) : name;
    const KeyValue *s = find_setting(p->list, p->count, key);
    if (!s)
        return;
    p->found[s - p->list] = true;
    if (strcmp(page, "required") == 0 || s->at.source)
        return;
    const char *value = s->value ? s->value : "off";
    if (strcmp(page, "no limit") == 0)
        page = "off";
    if (strncmp(page, "as many as the compiling machine has", 36) == 0)
        return; /* main.c asks the machine */
    if (strcmp(page, "dim") == 0)
        page = find_setting(p->list, p->count, "embedding.dim")->value;
    if (strstr(page, " each"))
        page = arena_printf(p->arena, "%.*s, %c, %c", 1, page, *page, *page);
    if (!says_the_same(page, value))
        fail_msg("%s is %s by default, docs/language.md says %s", key, value, page);
    p->compared++;
}

/* Each row of the page's tables of keys against a spec; every key that settings.c lists has a row. Returns
 * how many defaults were compared. */
static int compare_with_page(const char *text)
{
    Reading r;
    const Spec *s = read_spec(&r, text);
    Page p = {.arena = r.arena};
    p.list = spec_settings(r.arena, s, true, &p.count);
    p.found = ARENA_ARRAY(r.arena, bool, p.count);
    FILE *page = fopen("docs/language.md", "r");
    assert_non_null(page);
    char *row = NULL, section[64] = "";
    size_t capacity = 0;
    bool in_keys = false;
    while (getline(&row, &capacity, page) > 0) {
        if (strncmp(row, "## ", 3) == 0)
            in_keys = strcmp(row, "## Keys\n") == 0;
        if (sscanf(row, "### %63s", section) == 1 && strcmp(section, "Top") == 0)
            section[0] = '\0';
        if (in_keys && *row == '|')
            compare_row(&p, section, row);
    }
    free(row);
    fclose(page);
    for (int i = 0; i < p.count; i++)
        if (!p.found[i])
            fail_msg("docs/language.md has no row for %s", p.list[i].key);
    end(&r);
    return p.compared;
}

static void defaults_are_those_of_the_page(void **state)
{
    (void)state;
    static const char all_on[] =
        SMALL "augment: {crop: {}, translate: {}, jitter: {}, blur: {}, solarize: {}}\n";
    const int off = compare_with_page(SMALL), on = compare_with_page(all_on);
    assert_in_range(off, 25, 40);
    assert_in_range(on, off + 5, 60);
    compare_with_page(SMALL "optimizer: {sgd: {}}\n");
    compare_with_page(SMALL "schedule: {cosine: 0}\n");
    compare_with_page(HEAD "encoder:\n  - residual: {out: 8, kernel: 8}\n"
                           "embedding: {mixture: {components: 3}, dim: 8}\n" LOSS);
}

static void settings_say_where_they_are_from(void **state)
{
    (void)state;
    Reading r;
    int count, target;
    const Spec *s = read_spec(&r, SMALL "augment: {jitter: {hue: 0.1}}\nschedule: {milestones: [3, 5]}\n"
                                        "target: {memory: 1536MiB, blas: none}\n");
    const KeyValue *all = spec_settings(r.arena, s, true, &target);
    spec_settings(r.arena, s, false, &count);
    assert_int_equal(target, count + 6);
    assert_string_equal(find_setting(all, target, "augment.jitter.hue")->value, "0.1");
    assert_non_null(find_setting(all, target, "augment.jitter.hue")->at.source);
    assert_null(find_setting(all, target, "augment.jitter.p")->at.source);
    assert_null(find_setting(all, target, "augment.crop")->value);
    assert_string_equal(find_setting(all, target, "schedule.milestones")->value, "[3, 5]");
    assert_string_equal(find_setting(all, target, "input.mean")->value, "[0, 0, 0]");
    assert_string_equal(find_setting(all, target, "loss.clip")->value, "20");
    assert_string_equal(find_setting(all, target, "target.memory")->value, "1536MiB");
    assert_true(find_setting(all, target, "target.blas")->is_word);
    end(&r);
}

/* ---- notes ---- */

/* The notes that --check shows of a spec. */
static char *notes_of(const char *text)
{
    Reading r;
    char *said = NULL;
    size_t length;
    const Spec *s = read_spec(&r, text);
    Diagnostics d = {.stream = open_memstream(&said, &length)};
    spec_notes(r.arena, &d, s);
    fclose(d.stream);
    assert_int_equal(d.errors, 0);
    end(&r);
    return said;
}

static void expect_note(const char *text, const char *words)
{
    char *said = notes_of(text);
    if (!*words && *said)
        fail_msg("%s: nothing is to be noted, and this is: %s", text, said);
    if (*words && (!strstr(said, words) || !strstr(said, "note: ")))
        fail_msg("%s: no note says \"%s\", but: %s", text, words, said);
    free(said);
}

static void notes_what_changes_nothing(void **state)
{
    (void)state;
    static const char nothing[] = "";
    expect_note(SMALL, nothing);
    expect_note(SMALL
                "augment: {flip: 0.5, crop: {}, translate: {}, jitter: {hue: 0.1}, grayscale: 0.2, blur: {}, "
                "solarize: {}}\n",
                nothing);
    expect_note(SMALL "augment: {jitter: {}}\n", "augment.jitter changes nothing: brightness, contrast");
    expect_note(SMALL "augment: {jitter: {hue: 0.1, p: 0}}\n", "augment.jitter changes nothing: its p is 0");
    expect_note(SMALL "augment: {translate: {max: 0}}\n", "augment.translate changes nothing: its max is 0");
    expect_note(SMALL "augment: {translate: {p: 0}}\n", "augment.translate changes nothing: its p is 0");
    expect_note(SMALL "augment: {crop: {p: 0}}\n", "augment.crop changes nothing: its p is 0");
    expect_note(SMALL "augment: {crop: {scale: [1, 1], ratio: [1, 1]}}\n", "it is the whole picture");
    expect_note(SMALL "augment: {crop: {scale: [1, 1]}}\n", nothing);
    expect_note(SMALL "augment: {blur: {p: 0}}\n", "augment.blur changes nothing");
    expect_note(SMALL "augment: {solarize: {p: 0}}\n", "augment.solarize changes nothing");
    expect_note(SMALL "augment: {flip: 0}\n", "augment.flip changes nothing");
    expect_note("name: tiny\ninput: {size: 8, channels: 1}\nbatch: 4\n" BODY LOSS
                "augment: {grayscale: 0.5, jitter: {brightness: 0.1}}\n",
                "augment.grayscale changes nothing: it needs three channels, red, green and blue");
    expect_note("name: tiny\ninput: {size: 8, channels: 1}\nbatch: 4\n" BODY LOSS
                "augment: {jitter: {hue: 0.1}}\n",
                "saturation and hue need three channels, red, green and blue");
}

static void notes_schedules_that_end_too_soon(void **state)
{
    (void)state;
    static const char nothing[] = "";
    expect_note(
        SMALL "schedule: {epochs: 10}\n", /* 51 steps an epoch would outlast 500, of 4 images each */
        "a run of 10 epochs ends within its warm-up of 500 steps (the default), before lr is reached, unless "
        "the data have at least 204 images (51 batches of 4)");
    expect_note(SMALL "schedule: {epochs: 10}\n", "never reaches 250 and 280 (the default)");
    expect_note(SMALL "schedule: {epochs: 260, warmup: 0}\n",
                "a run of 260 epochs, the first of which is 0, never reaches 280");
    expect_note(SMALL "schedule: {epochs: 10, warmup: 100, milestones: [9]}\n", nothing);
    expect_note(SMALL "schedule: {epochs: 10, warmup: 100, milestones: [8, 10]}\n", "never reaches 10;");
    expect_note(SMALL "schedule: {epochs: 1, warmup: 29, milestones: []}\n", nothing);
    expect_note(SMALL "schedule: {epochs: 1, warmup: 30, milestones: []}\n", "a run of 1 epoch ends within");
    expect_note(SMALL "schedule: {epochs: 10, cosine: 0}\n", "warm-up of 500 steps");
    expect_note(SMALL "schedule: {epochs: 10, warmup: 5, cosine: 0}\n", nothing);
}

/* ---- the command line ---- */

static void options_replace_values(void **state)
{
    (void)state;
    Reading r;
    Overrides o = {.value = {[OVERRIDE_BATCH] = "16",
                             [OVERRIDE_MARCH] = "znver3",
                             [OVERRIDE_THREADS] = "7",
                             [OVERRIDE_BLAS] = "none",
                             [OVERRIDE_MEMORY] = "64KiB"}};
    const char *text = "name: tiny\ninput: {size: 8}\nbatch: 1\n" BODY LOSS "target: {threads: 0}\n";
    read_with(&r, text, strlen(text), &o);
    assert_non_null(r.spec);
    assert_int_equal(r.spec->batch.v, 16);
    assert_string_equal(r.spec->batch.at.source->name, "--batch");
    assert_string_equal(r.spec->target.march.v, "znver3");
    assert_int_equal(r.spec->target.threads.v, 7);
    assert_string_equal(r.spec->target.blas.v, "none");
    assert_int_equal(r.spec->target.memory.v, 65536);
    end(&r);
}

static void a_mixture_has_defaults_and_a_place_in_the_digest(void **state)
{
    (void)state;
    Reading without, with;
    const Spec *plain = read_spec(&without, SMALL);
    assert_false(plain->embedding.mixture.on);
    assert_null(strstr(spec_canonical(without.arena, plain), "components"));
    const Spec *s = read_spec(&with, HEAD "encoder:\n  - residual: {out: 8, kernel: 8}\n"
                                          "embedding: {mixture: {components: 3}, dim: 8}\n" LOSS);
    assert_int_equal(s->embedding.mixture.hidden.v, 8);
    expect_real(s->embedding.mixture.temperature, 1);
    assert_non_null(strstr(spec_canonical(with.arena, s), "components 3\n"));
    end(&without);
    end(&with);
}

static void pairs_option_keeps_weights_of_the_spec(void **state)
{
    (void)state;
    Reading r;
    const char *text =
        HEAD BODY "loss: {clip: 5, pairs: [1-to-6, {pair: 6-to-6, weight: 0.5}], penalty: 1}\n";
    read_with(&r, text, strlen(text), &(Overrides){.pairs = "6-to-1,6-to-6"});
    assert_non_null(r.spec);
    assert_int_equal(r.spec->loss.pairs, 2);
    expect_real(r.spec->loss.pair[0].weight, 1);
    expect_real(r.spec->loss.pair[1].weight, 0.5);
    assert_string_equal(r.spec->loss.pair[1].at.source->name, "--pairs");
    assert_int_equal(r.spec->loss.pair[1].at.column, 8);
    expect_real(r.spec->loss.clip, 5);
    expect_real(r.spec->loss.penalty, 1);
    end(&r);
}

static void expect_refusal(const char *text, const Overrides *o, const char *beginning)
{
    Reading r;
    read_with(&r, text, strlen(text), o);
    assert_null(r.spec);
    if (strncmp(r.said, beginning, strlen(beginning)) != 0)
        fail_msg("expected \"%s\", got \"%s\"", beginning, r.said);
    end(&r);
}

static void options_are_checked_where_they_stand(void **state)
{
    (void)state;
    expect_refusal(SMALL, &(Overrides){.value[OVERRIDE_BATCH] = "1"},
                   "--batch:1:1: error: batch: an integer from 2");
    expect_refusal(SMALL, &(Overrides){.value[OVERRIDE_BATCH] = ""}, "--batch:1:1: error: batch: an integer");
    expect_refusal(SMALL, &(Overrides){.value[OVERRIDE_THREADS] = "0x2"},
                   "--threads:1:1: error: target.threads: an integer");
    expect_refusal(SMALL, &(Overrides){.value[OVERRIDE_MARCH] = "a b"}, "--march:1:1: error: target.march: ");
    expect_refusal(SMALL, &(Overrides){.value[OVERRIDE_BLAS] = "mkl"},
                   "--blas:1:1: error: target.blas: openblas or none");
    expect_refusal(SMALL, &(Overrides){.value[OVERRIDE_MEMORY] = "12"},
                   "--memory:1:1: error: target.memory: a whole");
    expect_refusal(SMALL, &(Overrides){.pairs = "1-to-6,,6-to-1"},
                   "--pairs:1:8: error: loss.pairs[1]: a pair");
    expect_refusal(SMALL, &(Overrides){.pairs = "1-to-6,"}, "--pairs:1:8: error: loss.pairs[1]: a pair");
    expect_refusal(SMALL, &(Overrides){.pairs = ""}, "--pairs:1:1: error: loss.pairs[0]: a pair");
    expect_refusal(SMALL, &(Overrides){.pairs = "1-to-6,1-to-6"},
                   "--pairs:1:8: error: loss.pairs: the pair 1-to-6");
    expect_refusal("name: 7\n", &(Overrides){.value[OVERRIDE_BATCH] = "1"},
                   "a.yaml:1:1: error: input is missing\n");
}

static void options_survive_any_shape_of_spec(void **state)
{
    (void)state;
    Overrides o = {.pairs = "1-to-6", .value[OVERRIDE_THREADS] = "2"};
    expect_refusal("- a\n", &o, "a.yaml:1:1: error: a spec: a mapping");
    expect_refusal(HEAD BODY "loss: [1]\n", &o, "a.yaml:8:7: error: loss: a mapping");
    expect_refusal(HEAD BODY "loss: {pairs: [{pair: [1]}, 3, {weight: 1}]}\ntarget: 5\n", &o,
                   "a.yaml:9:9: error: target: a mapping");
    Reading r;
    read_with(&r, HEAD BODY, strlen(HEAD BODY), &o);
    assert_non_null(r.spec);
    assert_int_equal(r.spec->loss.pairs, 1);
    end(&r);
}

/* ---- hostile text ---- */

static char *repeat(const char *before, const char *text, size_t times)
{
    size_t begin = strlen(before), length = strlen(text);
    char *all = malloc(begin + length * times + 1);
    assert_non_null(all);
    memcpy(all, before, begin);
    for (size_t i = 0; i < times; i++)
        memcpy(all + begin + i * length, text, length);
    all[begin + length * times] = '\0';
    return all;
}

static void large_texts_end_soon(void **state)
{
    (void)state;
    static const struct {
        const char *before, *text;
        size_t times;
        const char *said;
    } large[] = {
        {"", "# padding\n", 110000, "a.yaml:1:1: error: the file is larger than 1 MiB"},
        {"", "[", 500000, "a.yaml:1:17: error: nested deeper than 16 levels"},
        {"", "{a: ", 200000, "a.yaml:1:65: error: nested deeper than 16 levels"},
        {"[", "a,", 400000, "a.yaml:1:800002: error: this is no YAML"},
        {"", "k: 1\n", 200000, "a.yaml:1:1: error: "},
        {"", "- x\n", 250000, "a.yaml:1:1: error: a spec: a mapping"},
        {"", "x", 1000000, "a.yaml:1:1: error: a spec: a mapping"},
    };
    for (size_t i = 0; i < COUNT(large); i++) {
        char *text = repeat(large[i].before, large[i].text, large[i].times);
        expect_refusal(text, &(Overrides){0}, large[i].said);
        free(text);
    }
}

/* Whatever is left out of a spec, the reader returns, with a diagnostic or a Spec. */
static void every_cut_and_every_changed_byte_is_survived(void **state)
{
    (void)state;
    static const char text[] = SMALL "augment: {crop: {scale: [0.3, 1.0]}}\n";
    static const char byte[] = {'\0', '\n', '\t', ':', '-', '{', ']', '"', '&', '9', '\xC3'};
    char changed[sizeof text];
    for (size_t at = 0; at < sizeof text - 1; at++) {
        Reading r;
        memcpy(changed, text, at);
        changed[at] = '\0';
        read_with(&r, changed, at, &(Overrides){0});
        end(&r);
        for (size_t i = 0; i < COUNT(byte); i++) {
            memcpy(changed, text, sizeof text);
            changed[at] = byte[i];
            read_with(&r, changed, sizeof text - 1, &(Overrides){.pairs = "1-to-6"});
            end(&r);
        }
    }
}

/* ---- files ---- */

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    static const char *const path[] = {"tests/unit/no-such-spec.yaml", "tests"};
    static const char *const why[] = {"No such file or directory", "Is a directory"};
    for (size_t i = 0; i < COUNT(path); i++) {
        char *said = NULL;
        size_t length = 0;
        Diagnostics d = {.stream = open_memstream(&said, &length)};
        Arena *a = arena_new();
        assert_non_null(d.stream);
        assert_null(source_read(a, &d, path[i]));
        fclose(d.stream);
        assert_non_null(strstr(said, path[i]));
        assert_non_null(strstr(said, why[i]));
        assert_int_equal(d.errors, 1);
        free(said);
        arena_free(a);
    }
}

static void a_byte_order_mark_is_no_part_of_the_text(void **state)
{
    (void)state;
    const char *folder = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/amdimc-spec-XXXXXX", folder ? folder : "/tmp");
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    FILE *file = fdopen(descriptor, "wb");
    assert_non_null(file);
    fputs("\xEF\xBB\xBFname: x\n", file);
    fclose(file);
    Arena *a = arena_new();
    Diagnostics d = {.stream = stderr};
    Source *source = source_read(a, &d, path);
    unlink(path);
    assert_non_null(source);
    assert_int_equal(source->length, strlen("name: x\n"));
    assert_string_equal(source->text, "name: x\n");
    assert_string_equal(source->name, path);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_have_their_defaults),
        cmocka_unit_test(absent_layer_keys_have_their_defaults),
        cmocka_unit_test(absent_optimizer_is_the_examples_adam),
        cmocka_unit_test(absent_keys_of_sgd_are_its_own_examples),
        cmocka_unit_test(absent_keys_inside_augmentations),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(marks_point_at_the_written_value),
        cmocka_unit_test(marks_count_bytes_on_wide_lines),
        cmocka_unit_test(keys_of_a_cosine_and_of_filters_arrive),
        cmocka_unit_test(later_keys_at_their_defaults_leave_no_trace),
        cmocka_unit_test(defaults_are_those_of_the_page),
        cmocka_unit_test(settings_say_where_they_are_from),
        cmocka_unit_test(notes_what_changes_nothing),
        cmocka_unit_test(notes_schedules_that_end_too_soon),
        cmocka_unit_test(notation_of_yaml_does_not_matter),
        cmocka_unit_test(canonical_text_tells_what_trains_differently),
        cmocka_unit_test(options_replace_values),
        cmocka_unit_test(a_mixture_has_defaults_and_a_place_in_the_digest),
        cmocka_unit_test(pairs_option_keeps_weights_of_the_spec),
        cmocka_unit_test(options_are_checked_where_they_stand),
        cmocka_unit_test(options_survive_any_shape_of_spec),
        cmocka_unit_test(large_texts_end_soon),
        cmocka_unit_test(every_cut_and_every_changed_byte_is_survived),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(a_byte_order_mark_is_no_part_of_the_text),
    };
    return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
