/* settings.c: what a spec comes to, key by key: values that it gives and, where it gives none, defaults, in
 * the order of docs/language.md. Keys are those of the file, joined by points: optimizer.adam.lr. */
#include "amdimc.h"
#include <stdlib.h>

enum { SETTINGS_MOST = 64 };

typedef struct {
    Arena *arena;
    const char *section;
    KeyValue *list;
    int count;
} Settings;

static void add(Settings *k, const char *key, const char *value, Mark at)
{
    if (k->count == SETTINGS_MOST)
        bug("more than %d settings", SETTINGS_MOST);
    k->list[k->count++] =
        (KeyValue){.key = arena_printf(k->arena, "%s%s", k->section, key), .value = value, .at = at};
}

/* A section or a number that is not there and means nothing. */
static void add_off(Settings *k, const char *key)
{
    add(k, key, NULL, (Mark){0});
}

static void add_int(Settings *k, const char *key, Int value)
{
    add(k, key, arena_printf(k->arena, "%jd", (intmax_t)value.v), value.at);
}

/* The fewest digits that read back as the same number. */
static const char *real_text(Arena *a, double value)
{
    const char *text = "";
    for (int digits = 6; digits <= 17 && (!*text || strtod(text, NULL) != value); digits++)
        text = arena_printf(a, "%.*g", digits, value);
    return text;
}

static void add_real(Settings *k, const char *key, Real value)
{
    add(k, key, real_text(k->arena, value.v), value.at);
}

static void add_flag(Settings *k, const char *key, Flag value)
{
    add(k, key, value.v ? "true" : "false", value.at);
}

static void add_word(Settings *k, const char *key, Text value)
{
    add(k, key, value.v, value.at);
    k->list[k->count - 1].is_word = true;
}

static void add_reals(Settings *k, const char *key, const Real *value, int count)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    for (int i = 0; i < count; i++)
        fprintf(out, "%s%s", i ? ", " : "[", real_text(k->arena, value[i].v));
    fputc(']', out);
    add(k, key, text_stream_close(k->arena, &t), value[0].at);
}

static void add_ends(Settings *k, const char *key, Real low, Real high)
{
    add_reals(k, key, (const Real[]){low, high}, 2);
}

/* ---- sections ---- */

static void add_input(Settings *k, const Spec *s)
{
    const int channels = (int)s->input.channels.v;
    k->section = "";
    add_int(k, "views", s->views);
    add_int(k, "batch", s->batch);
    k->section = "input.";
    add_int(k, "channels", s->input.channels);
    add_int(k, "size", s->input.size);
    add_reals(k, "mean", s->input.mean, channels);
    add_reals(k, "std", s->input.std, channels);
}

static void add_loss(Settings *k, const Spec *s)
{
    const SpecMixture *m = &s->embedding.mixture;
    k->section = "embedding.";
    add_int(k, "dim", s->embedding.dim);
    add_flag(k, "batchnorm", s->embedding.batchnorm);
    if (m->on) {
        add_int(k, "mixture.components", m->components);
        add_int(k, "mixture.hidden", m->hidden);
        add_real(k, "mixture.temperature", m->temperature);
    } else {
        add_off(k, "mixture");
    }
    k->section = "loss.";
    add_real(k, "clip", s->loss.clip);
    add_real(k, "penalty", s->loss.penalty);
}

static bool begin_step(Settings *k, const char *key, const SpecAugmentStep *step)
{
    k->section = step->on ? arena_printf(k->arena, "augment.%s.", key) : "augment.";
    if (!step->on)
        add_off(k, key);
    return step->on;
}

static void add_crop(Settings *k, const SpecAugmentStep *crop)
{
    if (!begin_step(k, "crop", crop))
        return;
    add_ends(k, "scale", crop->low, crop->high);
    add_ends(k, "ratio", crop->ratio_low, crop->ratio_high);
    add_real(k, "p", crop->p);
}

static void add_translate(Settings *k, const SpecAugmentStep *translate)
{
    if (!begin_step(k, "translate", translate))
        return;
    add_int(k, "max", translate->max);
    add_real(k, "p", translate->p);
}

static void add_jitter(Settings *k, const SpecAugmentStep *jitter)
{
    if (!begin_step(k, "jitter", jitter))
        return;
    add_real(k, "brightness", jitter->brightness);
    add_real(k, "contrast", jitter->contrast);
    add_real(k, "saturation", jitter->saturation);
    add_real(k, "hue", jitter->hue);
    add_real(k, "p", jitter->p);
}

/* A probability is off at 0, which an absent key has. */
static void add_chance(Settings *k, const char *key, Real p)
{
    k->section = "augment.";
    if (p.at.source)
        add_real(k, key, p);
    else
        add_off(k, key);
}

static void add_augment(Settings *k, const Spec *s)
{
    const SpecAugmentStep *blur = &s->augment.blur, *solarize = &s->augment.solarize;
    add_chance(k, "flip", s->augment.flip);
    add_crop(k, &s->augment.crop);
    add_translate(k, &s->augment.translate);
    add_jitter(k, &s->augment.jitter);
    add_chance(k, "grayscale", s->augment.grayscale);
    if (begin_step(k, "blur", blur)) {
        add_real(k, "p", blur->p);
        add_ends(k, "sigma", blur->low, blur->high);
    }
    if (begin_step(k, "solarize", solarize)) {
        add_real(k, "p", solarize->p);
        add_real(k, "threshold", solarize->threshold);
    }
}

static void add_optimizer(Settings *k, const Spec *s)
{
    k->section = s->optimizer.sgd ? "optimizer.sgd." : "optimizer.adam.";
    add_real(k, "lr", s->optimizer.lr);
    if (s->optimizer.sgd) {
        add_real(k, "momentum", s->optimizer.momentum);
        add_real(k, "weight_decay", s->optimizer.weight_decay);
        return;
    }
    add_ends(k, "betas", s->optimizer.beta1, s->optimizer.beta2);
    add_real(k, "eps", s->optimizer.eps);
    add_real(k, "weight_decay", s->optimizer.weight_decay);
    add_flag(k, "decoupled", s->optimizer.decoupled);
}

static void add_milestones(Settings *k, const Spec *s)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    fputc('[', out);
    for (int i = 0; i < s->schedule.milestones; i++)
        fprintf(out, "%s%jd", i ? ", " : "", (intmax_t)s->schedule.milestone[i].v);
    fputc(']', out);
    add(k, "milestones", text_stream_close(k->arena, &t), s->schedule.milestones_at);
}

static void add_schedule(Settings *k, const Spec *s)
{
    k->section = "schedule.";
    add_int(k, "epochs", s->schedule.epochs);
    add_int(k, "warmup", s->schedule.warmup);
    if (s->schedule.has_cosine) {
        add_real(k, "cosine", s->schedule.cosine);
        return;
    }
    add_milestones(k, s);
    add_real(k, "gamma", s->schedule.gamma);
    add_off(k, "cosine");
}

static const char *memory_text(Arena *a, int64_t bytes)
{
    static const char *const unit[] = {"KiB", "MiB", "GiB"};
    int64_t count = bytes >> 10;
    size_t i = 0;
    for (; i + 1 < COUNT(unit) && count % 1024 == 0; i++)
        count /= 1024;
    return arena_printf(a, "%jd%s", (intmax_t)count, unit[i]);
}

static void add_target(Settings *k, const Spec *s)
{
    k->section = "target.";
    add_word(k, "march", s->target.march);
    add_int(k, "threads", s->target.threads);
    add_word(k, "blas", s->target.blas);
    if (s->target.memory.v)
        add_word(k, "memory", (Text){memory_text(k->arena, s->target.memory.v), s->target.memory.at});
    else
        add_off(k, "memory");
    add_word(k, "precision", (Text){precision_names[s->target.precision], s->target.precision_at});
    add_int(k, "ranks", s->target.ranks);
}

KeyValue *spec_settings(Arena *a, const Spec *s, bool with_target, int *count)
{
    Settings k = {.arena = a, .list = ARENA_ARRAY(a, KeyValue, SETTINGS_MOST)};
    add_input(&k, s);
    add_loss(&k, s);
    add_augment(&k, s);
    add_optimizer(&k, s);
    add_schedule(&k, s);
    if (with_target)
        add_target(&k, s);
    *count = k.count;
    return k.list;
}
