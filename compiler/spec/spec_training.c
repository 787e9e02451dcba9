/* spec_training.c: the sections that say how to train: augment, optimizer, schedule. */
#include "reader.h"
#include <math.h>

static const Range SHARE = {0, 1, true, false, "a number above 0, at most 1"};
static const Range HUE = {0, 0.5, false, false, "a number from 0 to 0.5"};

/* A low and a high end. */
static void read_ends(Reader *r, const Node *n, const char *path, const Range *range, Real *low, Real *high)
{
    Real end[2] = {*low, *high};
    if (!read_reals(r, n, path, 2, range, end))
        return;
    if (end[0].v > end[1].v)
        problem(r, end[1].at, "%s: the second number must not be below the first", path);
    *low = end[0];
    *high = end[1];
}

/* ---- augment ---- */

static void read_crop_scale(Reader *r, const Node *n, const char *path, void *record)
{
    SpecAugmentStep *crop = &((Spec *)record)->augment.crop;
    read_ends(r, n, path, &SHARE, &crop->low, &crop->high);
}

static void read_crop_ratio(Reader *r, const Node *n, const char *path, void *record)
{
    SpecAugmentStep *crop = &((Spec *)record)->augment.crop;
    read_ends(r, n, path, &POSITIVE, &crop->ratio_low, &crop->ratio_high);
}

static const Field CROP[] = {
    OTHER_FIELD("scale", false, read_crop_scale),
    OTHER_FIELD("ratio", false, read_crop_ratio),
    REAL_FIELD("p", Spec, augment.crop.p, PROBABILITY),
};
static const Field TRANSLATE[] = {
    INT_FIELD("max", false, Spec, augment.translate.max, 0, SIZE_LIMIT),
    REAL_FIELD("p", Spec, augment.translate.p, PROBABILITY),
};
static const Field JITTER[] = {
    REAL_FIELD("brightness", Spec, augment.jitter.brightness, NOT_NEGATIVE),
    REAL_FIELD("contrast", Spec, augment.jitter.contrast, NOT_NEGATIVE),
    REAL_FIELD("saturation", Spec, augment.jitter.saturation, NOT_NEGATIVE),
    REAL_FIELD("hue", Spec, augment.jitter.hue, HUE),
    REAL_FIELD("p", Spec, augment.jitter.p, PROBABILITY),
};
static void read_blur_sigma(Reader *r, const Node *n, const char *path, void *record)
{
    SpecAugmentStep *blur = &((Spec *)record)->augment.blur;
    read_ends(r, n, path, &POSITIVE, &blur->low, &blur->high);
}

static const Field BLUR[] = {
    REAL_FIELD("p", Spec, augment.blur.p, PROBABILITY),
    OTHER_FIELD("sigma", false, read_blur_sigma),
};
static const Field SOLARIZE[] = {
    REAL_FIELD("p", Spec, augment.solarize.p, PROBABILITY),
    REAL_FIELD("threshold", Spec, augment.solarize.threshold, PROBABILITY),
};
static const Fields CROP_FIELDS = FIELDS(CROP);
static const Fields TRANSLATE_FIELDS = FIELDS(TRANSLATE);
static const Fields JITTER_FIELDS = FIELDS(JITTER);
static const Fields BLUR_FIELDS = FIELDS(BLUR);
static const Fields SOLARIZE_FIELDS = FIELDS(SOLARIZE);

static void read_step(Reader *r, const Node *n, const char *path, const Fields *fields, Spec *s,
                      SpecAugmentStep *step)
{
    step->at = n->key->at;
    step->on = read_fields(r, n, path, fields, s);
}

static void read_crop(Reader *r, const Node *n, const char *path, void *record)
{
    read_step(r, n, path, &CROP_FIELDS, record, &((Spec *)record)->augment.crop);
}

static void read_translate(Reader *r, const Node *n, const char *path, void *record)
{
    read_step(r, n, path, &TRANSLATE_FIELDS, record, &((Spec *)record)->augment.translate);
}

static void read_jitter(Reader *r, const Node *n, const char *path, void *record)
{
    read_step(r, n, path, &JITTER_FIELDS, record, &((Spec *)record)->augment.jitter);
}

static void read_blur(Reader *r, const Node *n, const char *path, void *record)
{
    read_step(r, n, path, &BLUR_FIELDS, record, &((Spec *)record)->augment.blur);
}

static void read_solarize(Reader *r, const Node *n, const char *path, void *record)
{
    read_step(r, n, path, &SOLARIZE_FIELDS, record, &((Spec *)record)->augment.solarize);
}

static const Field AUGMENT[] = {
    REAL_FIELD("flip", Spec, augment.flip, PROBABILITY),
    OTHER_FIELD("crop", false, read_crop),
    OTHER_FIELD("translate", false, read_translate),
    OTHER_FIELD("jitter", false, read_jitter),
    REAL_FIELD("grayscale", Spec, augment.grayscale, PROBABILITY),
    OTHER_FIELD("blur", false, read_blur),
    OTHER_FIELD("solarize", false, read_solarize),
};
const Fields AUGMENT_FIELDS = FIELDS(AUGMENT);

int blur_radius(const Spec *s)
{
    const double reach = 4; /* standard deviations */
    return (int)ceil(reach * s->augment.blur.high.v);
}

/* ---- optimizer, schedule ---- */

static void read_betas(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    Real beta[2] = {s->optimizer.beta1, s->optimizer.beta2};
    read_reals(r, n, path, 2, &DECAY, beta);
    s->optimizer.beta1 = beta[0];
    s->optimizer.beta2 = beta[1];
}

static const Field ADAM[] = {
    REAL_FIELD("lr", Spec, optimizer.lr, POSITIVE),
    OTHER_FIELD("betas", false, read_betas),
    REAL_FIELD("eps", Spec, optimizer.eps, NOT_NEGATIVE),
    REAL_FIELD("weight_decay", Spec, optimizer.weight_decay, NOT_NEGATIVE),
    FLAG_FIELD("decoupled", Spec, optimizer.decoupled),
};
static const Field SGD[] = {
    REAL_FIELD("lr", Spec, optimizer.lr, POSITIVE),
    REAL_FIELD("momentum", Spec, optimizer.momentum, DECAY),
    REAL_FIELD("weight_decay", Spec, optimizer.weight_decay, NOT_NEGATIVE),
};
static const Fields ADAM_FIELDS = FIELDS(ADAM);
static const Fields SGD_FIELDS = FIELDS(SGD);

static void read_sgd(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    s->optimizer.sgd = true;
    s->optimizer.lr.v = 0.1;
    s->optimizer.momentum.v = 0.9;
    s->optimizer.weight_decay.v = 1e-4;
    read_fields(r, n, path, &SGD_FIELDS, s);
}

static const Field OPTIMIZER[] = {
    SECTION_FIELD("adam", false, ADAM_FIELDS),
    OTHER_FIELD("sgd", false, read_sgd),
};
static const Fields OPTIMIZER_FIELDS = FIELDS(OPTIMIZER);

void read_optimizer(Reader *r, const Node *n, const char *path, void *record)
{
    read_variant(r, n, path, &OPTIMIZER_FIELDS, record);
}

static void read_milestones(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    s->schedule.milestones_at = n->at;
    if (!check_list(r, n, path, "a list of epochs"))
        return;
    Int *milestone = ARENA_ARRAY(r->arena, Int, n->count);
    int i = 0;
    for (const Node *item = n->first; item; item = item->next, i++) {
        const char *item_path = arena_printf(r->arena, "%s[%d]", path, i);
        if (read_int(r, item, item_path, 0, INT32_MAX, &milestone[i]) && i > 0 &&
            milestone[i].v <= milestone[i - 1].v)
            problem(r, item->at, "%s: milestones ascend, and %d is not above %d", item_path,
                    (int)milestone[i].v, (int)milestone[i - 1].v);
    }
    s->schedule.milestone = milestone;
    s->schedule.milestones = n->count;
}

static const Field SCHEDULE[] = {
    INT_FIELD("epochs", false, Spec, schedule.epochs, 1, INT32_MAX),
    INT_FIELD("warmup", false, Spec, schedule.warmup, 0, INT32_MAX),
    OTHER_FIELD("milestones", false, read_milestones),
    REAL_FIELD("gamma", Spec, schedule.gamma, NOT_NEGATIVE),
    REAL_FIELD("cosine", Spec, schedule.cosine, DECAY),
};
static const Fields SCHEDULE_FIELDS = FIELDS(SCHEDULE);

static void check_alone(Reader *r, const Spec *s, const char *other, Mark at)
{
    if (!at.source)
        return;
    problem(
        r, s->schedule.cosine.at,
        "schedule.cosine: a rate that falls along a cosine has no milestones and no gamma; leave one out");
    problem_note(r, at, "%s here", other);
}

void read_schedule(Reader *r, const Node *n, const char *path, void *record)
{
    Spec *s = record;
    read_fields(r, n, path, &SCHEDULE_FIELDS, s);
    s->schedule.has_cosine = s->schedule.cosine.at.source != NULL;
    if (!s->schedule.has_cosine)
        return;
    check_alone(r, s, "milestones are", s->schedule.milestones_at);
    check_alone(r, s, "gamma is", s->schedule.gamma.at);
    s->schedule.milestones = 0;
}

/* ---- defaults ---- */

static void default_augment(Spec *s)
{
    s->augment.crop.low.v = 0.08;
    s->augment.crop.high.v = 1;
    s->augment.crop.ratio_low.v = 3.0 / 4.0;
    s->augment.crop.ratio_high.v = 4.0 / 3.0;
    s->augment.translate.max.v = 4;
    s->augment.blur.low.v = 0.1;
    s->augment.blur.high.v = 2;
    s->augment.solarize.threshold.v = 0.5;
    s->augment.crop.p.v = s->augment.translate.p.v = s->augment.jitter.p.v = s->augment.blur.p.v =
        s->augment.solarize.p.v = 1;
}

static void default_adam(Spec *s)
{
    s->optimizer.lr.v = 2e-4;
    s->optimizer.beta1.v = 0.8;
    s->optimizer.beta2.v = 0.999;
    s->optimizer.eps.v = 1e-8;
    s->optimizer.weight_decay.v = 1e-5;
}

static void default_schedule(Arena *a, Spec *s)
{
    s->schedule.epochs.v = 300;
    s->schedule.warmup.v = 500;
    s->schedule.gamma.v = 0.2;
    s->schedule.milestones = 2;
    s->schedule.milestone = ARENA_ARRAY(a, Int, 2);
    s->schedule.milestone[0].v = 250;
    s->schedule.milestone[1].v = 280;
}

void default_training(Arena *a, Spec *s)
{
    default_augment(s);
    default_adam(s);
    default_schedule(a, s);
}
