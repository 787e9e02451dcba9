/* sweep_keys.c: combinations -> the keys that they set, each key's values, and what tells a combination from
 * the others.
 *
 * A combination that does not set a key that others set has the value of its spec, where that has one. */
#include "sweep.h"
#include <stdlib.h>
#include <string.h>

static const char pairs_path[] = "pairs", absent[] = "absent";

/* ---- a key's values ---- */

/* Settings up to that of the path: what is set later is a part of it, and a key of its own. */
static int settings_to(const Combination *c, const char *path)
{
    for (int i = 0; i < c->settings; i++)
        if (c->setting[i].key == strlen(path) && !strncmp(c->setting[i].text, path, strlen(path)))
            return i + 1;
    return c->settings;
}

static const char *value_of(const Sweep *s, const Combination *c, const char *path)
{
    if (path == pairs_path)
        return c->pairs_name;
    Overrides o = s->overrides;
    o.pairs = c->pairs;
    o.setting = c->setting;
    o.settings = settings_to(c, path);
    const char *value = spec_value(s->arena, s->source, &o, path);
    return value ? value : absent;
}

static int by_number(const void *left, const void *right)
{
    double a, b;
    set_number(*(const char *const *)left, &a);
    set_number(*(const char *const *)right, &b);
    return (a > b) - (a < b);
}

static int find_value(const SweepKey *k, const char *value)
{
    int i = 0;
    while (i < k->values && !set_same_value(k->value[i], value))
        i++;
    return i;
}

static SweepKey read_key(const Sweep *s, const char *path)
{
    SweepKey k = {.path = path, .name = path, .value = ARENA_ARRAY(s->arena, const char *, s->combinations)};
    bool numbers = true;
    double number;
    for (int i = 0; i < s->combinations; i++) {
        const char *value = value_of(s, &s->combination[i], path);
        if (find_value(&k, value) < k.values)
            continue;
        numbers = numbers && set_number(value, &number);
        k.value[k.values++] = value;
    }
    if (numbers)
        qsort(k.value, (size_t)k.values, sizeof *k.value, by_number);
    return k;
}

/* ---- keys ---- */

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Each once, in their order. */
static int all_paths(const Sweep *s, const char **path)
{
    int count = 0, kept = 0;
    for (int i = 0; i < s->combinations; i++)
        for (int j = 0; j < s->combination[i].settings; j++) {
            const Setting *v = &s->combination[i].setting[j];
            path[count++] = arena_copy(s->arena, v->text, v->key);
        }
    qsort(path, (size_t)count, sizeof *path, by_text);
    for (int i = 0; i < count; i++)
        if (!kept || strcmp(path[kept - 1], path[i]))
            path[kept++] = path[i];
    return kept;
}

/* The path from its last `words` words on. */
static const char *last_words(const char *path, int words)
{
    const char *at = path + strlen(path);
    while (at > path && (at[-1] != '.' || --words > 0))
        at--;
    return at;
}

static void name_keys(Sweep *s)
{
    for (int i = 1; i < s->keys; i++)
        for (int words = 1, clash = 1; clash; words++) {
            s->key[i].name = last_words(s->key[i].path, words);
            clash = 0;
            for (int j = 1; j < s->keys; j++)
                clash |= j != i && !strcmp(s->key[i].name, last_words(s->key[j].path, words));
        }
}

/* loss.pairs says no more than the pairs do, unless it is about their weights. */
static bool is_pairs_again(const Sweep *s, const SweepKey *k)
{
    return !strcmp(k->path, "loss.pairs") && k->values == s->key[0].values;
}

/* ---- what tells combinations apart ---- */

static const char *label_of(const Sweep *s, const Combination *c)
{
    const char *label = "";
    for (int i = 0; i < s->keys; i++) {
        const SweepKey *k = &s->key[i];
        if (k->values > 1)
            label = arena_printf(s->arena, "%s%s%s%s%s", label, *label ? ", " : "", i ? k->name : "",
                                 i ? " " : "", k->value[c->value[i]]);
    }
    return *label ? label : c->pairs_name;
}

void keys_read(Sweep *s)
{
    int most = 1;
    for (int i = 0; i < s->combinations; i++)
        most += s->combination[i].settings;
    const char **path = ARENA_ARRAY(s->arena, const char *, most);
    const int paths = all_paths(s, path);
    s->key = ARENA_ARRAY(s->arena, SweepKey, paths + 1);
    s->key[0] = read_key(s, pairs_path);
    s->keys = 1;
    for (int i = 0; i < paths; i++) {
        s->key[s->keys] = read_key(s, path[i]);
        s->keys += !is_pairs_again(s, &s->key[s->keys]);
    }
    name_keys(s);
    for (int i = 0; i < s->combinations; i++) {
        Combination *c = &s->combination[i];
        c->value = ARENA_ARRAY(s->arena, int, s->keys);
        for (int j = 0; j < s->keys; j++)
            c->value[j] = find_value(&s->key[j], value_of(s, c, s->key[j].path));
        c->label = label_of(s, c);
    }
}

int keys_varying(const Sweep *s)
{
    int varying = 0;
    for (int i = 0; i < s->keys; i++)
        varying += s->key[i].values > 1;
    return varying;
}

bool losses_compare(const Sweep *s)
{
    for (int i = 1; i < s->combinations; i++)
        if (strcmp(s->combination[0].losses, s->combination[i].losses))
            return false;
    return true;
}

bool pair_losses_compare(const Sweep *s)
{
    for (int i = 1; i < s->combinations; i++)
        if (strcmp(s->combination[0].negatives, s->combination[i].negatives))
            return false;
    return true;
}
