/* sweep_set.c: `--set KEY=V1,V2` -> a key and its values.
 *
 * Values are YAML, cut at commas that stand in no brackets and no quotes: [0.2, 1],[0.5, 1] are two. What
 * they mean, and whether there is such a key, is for the reader of specs to say. */
#include "sweep.h"
#include <stdlib.h>
#include <string.h>

static int wrong(const char *text, const char *why)
{
    return usage_error("amdimc: sweep", "--set %s: %s", text, why);
}

/* ---- one option ---- */

/* Bytes of the value that begins there. */
static size_t value_length(const char *text)
{
    int depth = 0;
    char quote = '\0';
    size_t i = 0;
    for (; text[i]; i++) {
        if (quote) {
            quote = text[i] == quote ? '\0' : quote;
            continue;
        }
        if (text[i] == ',' && depth <= 0)
            break;
        if (text[i] == '"' || text[i] == '\'')
            quote = text[i];
        depth += (text[i] == '[' || text[i] == '{') - (text[i] == ']' || text[i] == '}');
    }
    return i;
}

/* Without the blanks around it. */
static Setting setting_at(const char *text, size_t key, size_t begin, size_t length)
{
    while (length > 0 && text[begin] == ' ') {
        begin++;
        length--;
    }
    while (length > 0 && text[begin + length - 1] == ' ')
        length--;
    return (Setting){.text = text, .key = key, .begin = begin, .length = length};
}

Setting set_parse(const char *text)
{
    size_t key = strcspn(text, "=");
    return setting_at(text, key, key + 1, strlen(text) - key - 1);
}

/* What follows a word of a path, or an item's number in brackets; NULL where the path ends wrongly. */
static const char *next_word(const char *at)
{
    size_t length = strcspn(at, ".[]");
    if (!length)
        return NULL;
    at += length;
    while (*at == '[') {
        length = strcspn(at + 1, ".[]");
        if (!length || at[1 + length] != ']')
            return NULL;
        at += length + 2;
    }
    return *at == '.' && at[1] ? at + 1 : *at ? NULL : at;
}

static bool is_path(const char *path)
{
    const char *at = path;
    while (at && (*at || at == path))
        at = next_word(at);
    return at && !strpbrk(path, " \t\"'{},");
}

bool set_number(const char *text, double *number)
{
    char *end;
    *number = strtod(text, &end);
    return end > text && !*end;
}

bool set_same_value(const char *a, const char *b)
{
    double x, y;
    return !strcmp(a, b) || (set_number(a, &x) && set_number(b, &y) && !(x < y) && !(x > y));
}

static const char *value_of(Arena *a, const Setting *s)
{
    return arena_copy(a, s->text + s->begin, s->length);
}

bool set_same(Arena *a, const Setting *left, int lefts, const Setting *right, int rights)
{
    bool same = lefts == rights;
    for (int i = 0; same && i < lefts; i++)
        same = left[i].key == right[i].key && !strncmp(left[i].text, right[i].text, left[i].key) &&
               set_same_value(value_of(a, &left[i]), value_of(a, &right[i]));
    return same;
}

static bool has_value(Arena *a, const SetOption *o, const Setting *v)
{
    for (int i = 0; i < o->values; i++)
        if (set_same_value(value_of(a, &o->value[i]), value_of(a, v)))
            return true;
    return false;
}

/* A line of OUT/plan holds it. */
static char *on_one_line(Arena *a, const char *text)
{
    char *line = arena_copy(a, text, strlen(text));
    for (char *c = line; *c; c++)
        if (*c == '\n' || *c == '\r' || *c == '\t')
            *c = ' ';
    return line;
}

int set_add(Sweep *s, const char *typed)
{
    const char *text = on_one_line(s->arena, typed);
    size_t key = strcspn(text, "=");
    SetOption *o = &s->set[s->set_options++];
    *o = (SetOption){.path = arena_copy(s->arena, text, key)};
    if (!text[key])
        return wrong(text, "KEY=VALUE is wanted, or KEY=VALUE,VALUE,...");
    if (!is_path(o->path))
        return wrong(text, "what stands before = is no key; keys are written as optimizer.adam.lr");
    o->value = ARENA_ARRAY(s->arena, Setting, strlen(text) - key);
    for (size_t begin = key + 1;;) {
        size_t length = value_length(text + begin);
        Setting v = setting_at(text, key, begin, length);
        if (!v.length)
            return wrong(text, "a value is missing; null leaves the key out of the spec");
        if (has_value(s->arena, o, &v))
            return wrong(
                text, arena_printf(s->arena, "the value %.*s is there twice", (int)v.length, text + v.begin));
        o->value[o->values++] = v;
        if (!text[begin + length])
            return GO_ON;
        begin += length + 1;
    }
}

/* ---- all of them ---- */

static int by_path(const void *left, const void *right)
{
    const SetOption *a = left, *b = right;
    return strcmp(a->path, b->path);
}

static const SetOption *find_option(const Sweep *s, const char *path)
{
    for (int i = 0; i < s->set_options; i++)
        if (!strcmp(s->set[i].path, path))
            return &s->set[i];
    return NULL;
}

static int check_other(const Sweep *s, const char *option, const char *path)
{
    const SetOption *o = find_option(s, path);
    return o ? usage_error("amdimc: sweep", "--%s sets %s, and so does --set %s; give one of them", option,
                           path, o->value->text)
             : GO_ON;
}

/* Options that set a key too. */
static int check_others(const Sweep *s)
{
    int code = s->lists > 0 ? check_other(s, "pairs", "loss.pairs") : GO_ON;
    if (code == GO_ON && s->epochs > 0)
        code = check_other(s, "epochs", "schedule.epochs");
    for (int i = 0; code == GO_ON && i < OVERRIDE_KINDS; i++) {
        const OverrideOption *option = &override_option[i];
        const char *path =
            option->section ? arena_printf(s->arena, "%s.%s", option->section, option->name) : option->name;
        if (s->overrides.value[i])
            code = check_other(s, option->name, path);
    }
    return code;
}

static int check_number(const Sweep *s)
{
    int64_t all = s->lists ? s->lists : 1;
    for (int i = 0; i < s->set_options && all <= COMBINATIONS_MOST; i++)
        all *= s->set[i].values;
    if (all <= COMBINATIONS_MOST)
        return GO_ON;
    return usage_error("amdimc: sweep", "these values multiply to more than %d combinations; give fewer",
                       COMBINATIONS_MOST);
}

/* What is set first is part of what is set later: optimizer comes before optimizer.adam.lr. */
int set_check(Sweep *s)
{
    if (s->set_options)
        qsort(s->set, (size_t)s->set_options, sizeof *s->set, by_path);
    for (int i = 1; i < s->set_options; i++)
        if (!strcmp(s->set[i - 1].path, s->set[i].path))
            return usage_error("amdimc: sweep", "--set %s is given twice; list its values in one, %s=V1,V2",
                               s->set[i].path, s->set[i].path);
    int code = check_others(s);
    return code == GO_ON ? check_number(s) : code;
}
