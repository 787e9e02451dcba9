/* spec_drawn.c: see spec_drawn.h. Numbers are written with all their bits. */
#include "spec_drawn.h"

#include <stdlib.h>
#include <string.h>

static const char *flag(bool value)
{
    return value ? "true" : "false";
}

static void write_reals(FILE *out, const char *key, const Real *value, int64_t count)
{
    fprintf(out, "%s: [", key);
    for (int64_t i = 0; i < count; i++)
        fprintf(out, "%s%.17g", i ? ", " : "", value[i].v);
    fprintf(out, "]");
}

static void write_input(FILE *out, const Spec *s)
{
    fprintf(out, "input: {channels: %jd, size: %jd, ", (intmax_t)s->input.channels.v,
            (intmax_t)s->input.size.v);
    write_reals(out, "mean", s->input.mean, s->input.channels.v);
    fprintf(out, ", ");
    write_reals(out, "std", s->input.std, s->input.channels.v);
    fprintf(out, "}\nviews: %jd\nbatch: %jd\n", (intmax_t)s->views.v, (intmax_t)s->batch.v);
}

static void write_layer(FILE *out, const SpecLayer *l)
{
    fprintf(out, "  - %s: {", layer_kind_name(l->kind));
    if (l->kind != LAYER_BATCHNORM)
        fprintf(out, "kernel: %jd, stride: %jd, pad: %jd", (intmax_t)l->kernel.v, (intmax_t)l->stride.v,
                (intmax_t)l->pad.v);
    if (l->kind == LAYER_POOL)
        fprintf(out, ", kind: %s", l->maximum ? "max" : "mean");
    else if (l->kind != LAYER_BATCHNORM)
        fprintf(out, ", out: %jd, batchnorm: %s", (intmax_t)l->out.v, flag(l->batchnorm.v));
    if (l->kind == LAYER_CONV)
        fprintf(out, ", pad_mode: %s, activation: %s", l->reflect ? "reflect" : "zero",
                l->relu ? "relu" : "none");
    if (l->kind == LAYER_BLOCK)
        fprintf(out, ", depth: %jd", (intmax_t)l->depth.v);
    fprintf(out, "}\n");
}

static void write_loss(FILE *out, const Spec *s)
{
    fprintf(out, "embedding:\n  dim: %jd\n  batchnorm: %s\n", (intmax_t)s->embedding.dim.v,
            flag(s->embedding.batchnorm.v));
    if (s->embedding.mixture.on)
        fprintf(out, "  mixture: {components: %jd, hidden: %jd, temperature: %.17g}\n",
                (intmax_t)s->embedding.mixture.components.v, (intmax_t)s->embedding.mixture.hidden.v,
                s->embedding.mixture.temperature.v);
    fprintf(out, "loss:\n  pairs:\n");
    for (int i = 0; i < s->loss.pairs; i++) {
        const SpecPair *p = &s->loss.pair[i];
        fprintf(out, "    - {pair: %jd-to-%jd, weight: %.17g}\n", (intmax_t)p->from.v, (intmax_t)p->to.v,
                p->weight.v);
    }
    fprintf(out, "  clip: %.17g\n  penalty: %.17g\n", s->loss.clip.v, s->loss.penalty.v);
}

static void write_augment(FILE *out, const Spec *s)
{
    const SpecAugmentStep *crop = &s->augment.crop, *translate = &s->augment.translate,
                          *jitter = &s->augment.jitter, *blur = &s->augment.blur,
                          *solarize = &s->augment.solarize;
    fprintf(out, "augment:\n  flip: %.17g\n", s->augment.flip.v);
    if (crop->on)
        fprintf(out, "  crop: {scale: [%.17g, %.17g], ratio: [%.17g, %.17g], p: %.17g}\n", crop->low.v,
                crop->high.v, crop->ratio_low.v, crop->ratio_high.v, crop->p.v);
    if (translate->on)
        fprintf(out, "  translate: {max: %jd, p: %.17g}\n", (intmax_t)translate->max.v, translate->p.v);
    if (jitter->on)
        fprintf(out,
                "  jitter: {brightness: %.17g, contrast: %.17g, saturation: %.17g, hue: %.17g, p: %.17g}\n",
                jitter->brightness.v, jitter->contrast.v, jitter->saturation.v, jitter->hue.v, jitter->p.v);
    fprintf(out, "  grayscale: %.17g\n", s->augment.grayscale.v);
    if (blur->on)
        fprintf(out, "  blur: {p: %.17g, sigma: [%.17g, %.17g]}\n", blur->p.v, blur->low.v, blur->high.v);
    if (solarize->on)
        fprintf(out, "  solarize: {p: %.17g, threshold: %.17g}\n", solarize->p.v, solarize->threshold.v);
}

static void write_training(FILE *out, const Spec *s)
{
    fprintf(out, "optimizer: {%s: {lr: %.17g, weight_decay: %.17g, ", s->optimizer.sgd ? "sgd" : "adam",
            s->optimizer.lr.v, s->optimizer.weight_decay.v);
    if (s->optimizer.sgd)
        fprintf(out, "momentum: %.17g}}\n", s->optimizer.momentum.v);
    else
        fprintf(out, "betas: [%.17g, %.17g], eps: %.17g, decoupled: %s}}\n", s->optimizer.beta1.v,
                s->optimizer.beta2.v, s->optimizer.eps.v, s->optimizer.decoupled.v ? "true" : "false");
    if (s->schedule.has_cosine) {
        fprintf(out, "schedule: {epochs: %jd, warmup: %jd, cosine: %.17g}\n", (intmax_t)s->schedule.epochs.v,
                (intmax_t)s->schedule.warmup.v, s->schedule.cosine.v);
        return;
    }
    fprintf(out, "schedule: {epochs: %jd, warmup: %jd, gamma: %.17g, milestones: [",
            (intmax_t)s->schedule.epochs.v, (intmax_t)s->schedule.warmup.v, s->schedule.gamma.v);
    for (int i = 0; i < s->schedule.milestones; i++)
        fprintf(out, "%s%jd", i ? ", " : "", (intmax_t)s->schedule.milestone[i].v);
    fprintf(out, "]}\n");
}

static void write_target(FILE *out, const Spec *s)
{
    static const char *const unit[] = {"KiB", "MiB", "GiB"};
    fprintf(out, "target:\n  march: \"%s\"\n  threads: %jd\n  blas: %s\n  precision: %s\n", s->target.march.v,
            (intmax_t)s->target.threads.v, s->target.blas.v, precision_names[s->target.precision]);
    if (s->target.memory.v == 0)
        return;
    int64_t count = s->target.memory.v >> 10;
    size_t i = 0;
    for (; i + 1 < COUNT(unit) && count % 1024 == 0; i++)
        count /= 1024;
    fprintf(out, "  memory: %jd%s\n", (intmax_t)count, unit[i]);
}

char *spec_drawn(Arena *a, const Spec *s)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        bug("no memory for the text of a spec");
    fprintf(out, "name: \"%s\"\n", s->name.v);
    write_input(out, s);
    fprintf(out, "encoder:\n");
    for (int i = 0; i < s->layers; i++)
        write_layer(out, &s->layer[i]);
    write_loss(out, s);
    write_augment(out, s);
    write_training(out, s);
    write_target(out, s);
    fclose(out);
    char *kept = arena_copy(a, text, length);
    free(text);
    return kept;
}

bool spec_equal(Arena *a, const Spec *left, const Spec *right)
{
    return strcmp(spec_canonical(a, left), spec_canonical(a, right)) == 0 &&
           strcmp(left->name.v, right->name.v) == 0 &&
           strcmp(left->target.march.v, right->target.march.v) == 0 &&
           strcmp(left->target.blas.v, right->target.blas.v) == 0 &&
           left->target.threads.v == right->target.threads.v &&
           left->target.precision == right->target.precision &&
           left->target.memory.v == right->target.memory.v;
}
