/* keys.c: how a program trains, in its spec's own words, for info, report and the beginning of a run. */
#include "runtime.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

void keys_describe(const AmdimModel *m, const char *section, char *text, size_t size)
{
    const size_t length = strlen(section);
    size_t used = 0;
    *text = '\0';
    for (int i = 0; i < m->keys && used < size; i++) {
        const AmdimKey *k = &m->key[i];
        if (strncmp(k->name, section, length) != 0 || k->name[length] != '.')
            continue;
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s %s%s", used ? "; " : "", k->name + length + 1,
                             k->value ? k->value : "off", k->given || !k->value ? "" : " (default)");
    }
}

/* The run ends before the rate is the whole one. */
static void note_warmup(const AmdimModel *m, uint64_t total, double lr)
{
    const uint64_t warmup = (uint64_t)m->schedule.warmup;
    if (total >= warmup)
        return;
    note("the run of %" PRIu64 " steps ends within the warm-up of %" PRIu64
         ": its rate gets no higher than %g, where lr is %g; train for longer, or give the spec a smaller "
         "schedule.warmup",
         total, warmup, lr * (double)total / (double)warmup, lr);
}

static void note_milestones(const AmdimModel *m, uint64_t total, uint64_t per_epoch)
{
    char text[256] = "";
    const uint64_t epochs = total / per_epoch + (total % per_epoch != 0);
    size_t used = 0;
    int past = 0;
    for (int i = 0; i < m->schedule.milestones; i++) {
        if ((uint64_t)m->schedule.milestone[i] < epochs)
            continue;
        if (used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%" PRId64, past ? " and " : "",
                                     m->schedule.milestone[i]);
        past++;
    }
    if (past)
        note("the run of %" PRIu64
             " epoch%s never reaches %s of schedule.milestones, where the rate would fall",
             epochs, epochs > 1 ? "s" : "", text);
}

void keys_note(const AmdimModel *m, uint64_t total, uint64_t per_epoch, double lr)
{
    for (int i = 0; i < m->notes; i++)
        note("%s", m->note[i]);
    note_warmup(m, total, lr);
    note_milestones(m, total, per_epoch);
}
