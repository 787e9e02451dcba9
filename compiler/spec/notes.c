/* notes.c: what a spec allows and its writer may not have meant: a warm-up that a short run does not outlast,
 * milestones past the last epoch, augmentations that change nothing. None of it is an error. */
#include "amdimc.h"

/* A warm-up is worth a note where an epoch needs more steps than that for the run to outlast it; how many it
 * has is the data's to say. Of a default the writer may not have thought. */
enum { STEPS_BY_DEFAULT = 10, STEPS_GIVEN = 30, NOTES_MOST = 16 };

typedef struct {
    Arena *arena;
    Note *list;
    int count;
} Notes;

static const char *by_default(Mark at)
{
    return at.source ? "" : " (the default)";
}

static void add(Notes *n, Mark at, const char *text)
{
    if (n->count == NOTES_MOST)
        bug("more than %d notes", NOTES_MOST);
    n->list[n->count++] = (Note){text, at};
}

/* ---- augment ---- */

static void add_idle(Notes *n, const char *key, Mark at, const char *why)
{
    add(n, at, arena_printf(n->arena, "augment.%s changes nothing: %s", key, why));
}

static const char *why_crop_idles(const SpecAugmentStep *s)
{
    const bool whole = s->low.v == 1 && s->ratio_low.v == 1 && s->ratio_high.v == 1;
    return whole ? "of scale 1 and ratio 1 it is the whole picture" : NULL;
}

static const char *why_translate_idles(const SpecAugmentStep *s)
{
    return s->max.v == 0 ? "its max is 0" : NULL;
}

static const char *why_jitter_idles(const SpecAugmentStep *s, bool in_colour)
{
    if (s->brightness.v > 0 || s->contrast.v > 0)
        return NULL;
    if (s->saturation.v == 0 && s->hue.v == 0)
        return "brightness, contrast, saturation and hue are 0, as they are unless they are given";
    return in_colour ? NULL : "saturation and hue need three channels, red, green and blue";
}

static void look_at_step(Notes *n, const char *key, const SpecAugmentStep *step, const char *why)
{
    if (step->on && (why || step->p.v == 0))
        add_idle(n, key, step->at, why ? why : "its p is 0");
}

static void look_at_chance(Notes *n, const char *key, Real p)
{
    if (p.at.source && p.v == 0)
        add_idle(n, key, p.at, "its probability is 0");
}

static void look_at_augment(Notes *n, const Spec *s)
{
    const bool in_colour = s->input.channels.v == 3;
    const SpecAugmentStep *crop = &s->augment.crop, *translate = &s->augment.translate,
                          *jitter = &s->augment.jitter;
    look_at_chance(n, "flip", s->augment.flip);
    look_at_step(n, "crop", crop, why_crop_idles(crop));
    look_at_step(n, "translate", translate, why_translate_idles(translate));
    look_at_step(n, "jitter", jitter, why_jitter_idles(jitter, in_colour));
    look_at_chance(n, "grayscale", s->augment.grayscale);
    if (!in_colour && s->augment.grayscale.v > 0)
        add_idle(n, "grayscale", s->augment.grayscale.at, "it needs three channels, red, green and blue");
    look_at_step(n, "blur", &s->augment.blur, NULL);
    look_at_step(n, "solarize", &s->augment.solarize, NULL);
}

Note *augment_notes(Arena *a, const Spec *s, int *count)
{
    Notes n = {.arena = a, .list = ARENA_ARRAY(a, Note, NOTES_MOST)};
    look_at_augment(&n, s);
    *count = n.count;
    return n.list;
}

/* ---- schedule ---- */

/* Where a value stands, or the number of epochs that makes it matter. */
static Mark or_epochs(Mark at, const Spec *s)
{
    return at.source ? at : s->schedule.epochs.at;
}

static void look_at_warmup(Notes *n, const Spec *s)
{
    const int64_t warmup = s->schedule.warmup.v, epochs = s->schedule.epochs.v, steps = warmup / epochs + 1;
    if (steps <= (s->schedule.warmup.at.source ? STEPS_GIVEN : STEPS_BY_DEFAULT))
        return;
    add(n, or_epochs(s->schedule.warmup.at, s),
        arena_printf(
            n->arena,
            "schedule.warmup: a run of %jd epoch%s ends within its warm-up of %jd steps%s, before lr is "
            "reached, unless the data have at least %jd images (%jd batches of %jd)",
            (intmax_t)epochs, epochs > 1 ? "s" : "", (intmax_t)warmup, by_default(s->schedule.warmup.at),
            (intmax_t)(steps * s->batch.v), (intmax_t)steps, (intmax_t)s->batch.v));
}

static void look_at_milestones(Notes *n, const Spec *s)
{
    const char *text = "";
    const int64_t epochs = s->schedule.epochs.v;
    int past = 0;
    Mark at = s->schedule.milestones_at;
    for (int i = 0; i < s->schedule.milestones; i++) {
        const Int milestone = s->schedule.milestone[i];
        if (milestone.v < epochs)
            continue;
        text = arena_printf(n->arena, "%s%s%jd", text, past ? " and " : "", (intmax_t)milestone.v);
        at = past++ ? at : milestone.at;
    }
    if (past)
        add(n, or_epochs(at, s),
            arena_printf(
                n->arena,
                "schedule.milestones: a run of %jd epoch%s, the first of which is 0, never reaches %s%s; "
                "give others, or [] for none",
                (intmax_t)epochs, epochs > 1 ? "s" : "", text, by_default(s->schedule.milestones_at)));
}

void spec_notes(Arena *a, Diagnostics *d, const Spec *s)
{
    Notes n = {.arena = a, .list = ARENA_ARRAY(a, Note, NOTES_MOST)};
    look_at_augment(&n, s);
    look_at_warmup(&n, s);
    look_at_milestones(&n, s);
    for (int i = 0; i < n.count; i++)
        diag_note(d, n.list[i].at, "%s", n.list[i].text);
}
