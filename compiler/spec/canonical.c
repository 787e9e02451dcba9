/* canonical.c: a spec as one text, the same for specs that train the same.
 *
 * Order, comments, notation and defaults of the file leave no trace in it; nor does what changes nothing of
 * what is trained: name, and target but for its precision and ranks. Every number keeps all its bits. Keys
 * that the language once lacked have a line only where they are not at their defaults, so that older runs may
 * be gone on with. */
#include "amdimc.h"

#include <string.h>

static void put_int(FILE *out, const char *key, Int value)
{
    fprintf(out, "%s %jd\n", key, (intmax_t)value.v);
}

static void put_real(FILE *out, const char *key, Real value)
{
    fprintf(out, "%s %.17g\n", key, value.v);
}

static void put_input(FILE *out, const Spec *s)
{
    put_int(out, "channels", s->input.channels);
    put_int(out, "size", s->input.size);
    for (int64_t i = 0; i < s->input.channels.v; i++) {
        put_real(out, "mean", s->input.mean[i]);
        put_real(out, "std", s->input.std[i]);
    }
    put_int(out, "views", s->views);
    put_int(out, "batch", s->batch);
}

static void put_layer(FILE *out, const SpecLayer *l)
{
    fprintf(out, "layer %s out %jd kernel %jd stride %jd pad %jd depth %jd reflect %d relu %d batchnorm %d\n",
            layer_kind_name(l->kind), (intmax_t)l->out.v, (intmax_t)l->kernel.v, (intmax_t)l->stride.v,
            (intmax_t)l->pad.v, (intmax_t)l->depth.v, l->reflect, l->relu, l->batchnorm.v);
    if (l->kind == LAYER_POOL)
        fprintf(out, "maximum %d\n", l->maximum);
}

static void put_loss(FILE *out, const Spec *s)
{
    put_int(out, "dim", s->embedding.dim);
    fprintf(out, "hidden_batchnorm %d\n", s->embedding.batchnorm.v);
    if (s->embedding.mixture.on) {
        put_int(out, "components", s->embedding.mixture.components);
        put_int(out, "components_hidden", s->embedding.mixture.hidden);
        put_real(out, "temperature", s->embedding.mixture.temperature);
    }
    for (int i = 0; i < s->loss.pairs; i++) {
        const SpecPair *p = &s->loss.pair[i];
        fprintf(out, "pair %jd-to-%jd %.17g\n", (intmax_t)p->from.v, (intmax_t)p->to.v, p->weight.v);
    }
    put_real(out, "clip", s->loss.clip);
    put_real(out, "penalty", s->loss.penalty);
}

static void put_augment(FILE *out, const Spec *s)
{
    const SpecAugmentStep *crop = &s->augment.crop, *translate = &s->augment.translate,
                          *jitter = &s->augment.jitter, *blur = &s->augment.blur,
                          *solarize = &s->augment.solarize;
    put_real(out, "flip", s->augment.flip);
    if (crop->on)
        fprintf(out, "crop %.17g %.17g %.17g %.17g\n", crop->low.v, crop->high.v, crop->ratio_low.v,
                crop->ratio_high.v);
    if (crop->on && crop->p.v != 1)
        put_real(out, "crop_p", crop->p);
    if (translate->on)
        fprintf(out, "translate %jd %.17g\n", (intmax_t)translate->max.v, translate->p.v);
    if (jitter->on)
        fprintf(out, "jitter %.17g %.17g %.17g %.17g %.17g\n", jitter->brightness.v, jitter->contrast.v,
                jitter->saturation.v, jitter->hue.v, jitter->p.v);
    put_real(out, "grayscale", s->augment.grayscale);
    if (blur->on)
        fprintf(out, "blur %.17g %.17g %.17g\n", blur->low.v, blur->high.v, blur->p.v);
    if (solarize->on)
        fprintf(out, "solarize %.17g %.17g\n", solarize->threshold.v, solarize->p.v);
}

static void put_training(FILE *out, const Spec *s)
{
    fprintf(out, "optimizer %s\n", s->optimizer.sgd ? "sgd" : "adam");
    put_real(out, "lr", s->optimizer.lr);
    put_real(out, "weight_decay", s->optimizer.weight_decay);
    if (s->optimizer.sgd) {
        put_real(out, "momentum", s->optimizer.momentum);
    } else {
        put_real(out, "beta1", s->optimizer.beta1);
        put_real(out, "beta2", s->optimizer.beta2);
        put_real(out, "eps", s->optimizer.eps);
        if (s->optimizer.decoupled.v)
            fprintf(out, "decoupled 1\n");
    }
    put_int(out, "epochs", s->schedule.epochs);
    put_int(out, "warmup", s->schedule.warmup);
    if (s->schedule.has_cosine) {
        put_real(out, "cosine", s->schedule.cosine);
        return;
    }
    for (int i = 0; i < s->schedule.milestones; i++)
        put_int(out, "milestone", s->schedule.milestone[i]);
    put_real(out, "gamma", s->schedule.gamma);
}

/* Nothing where they are as ever, so that such runs go on with programs of versions that knew neither. */
static void put_target(FILE *out, const Spec *s)
{
    if (s->target.precision != PRECISION_FLOAT32)
        fprintf(out, "precision %s\n", precision_names[s->target.precision]);
    if (s->target.ranks.v > 1)
        put_int(out, "ranks", s->target.ranks);
}

char *spec_canonical(Arena *a, const Spec *s)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    put_input(out, s);
    for (int i = 0; i < s->layers; i++)
        put_layer(out, &s->layer[i]);
    put_loss(out, s);
    put_augment(out, s);
    put_training(out, s);
    put_target(out, s);
    return text_stream_close(a, &t);
}
