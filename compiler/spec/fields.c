/* fields.c: a mapping, read by the table of its keys.
 *
 * A key that the table lacks is a problem with the nearest key as a hint, a repeated one a problem with the
 * first as a note; keys that are required and absent are named where the mapping's own key stands. */
#include "reader.h"
#include "support.h"

#include <string.h>

enum { KEY_LIMIT = 32, FIELD_LIMIT = 32 };

/* The number of the key that the writer most likely meant, or the count. */
static size_t nearest_field(const Fields *fields, const Node *key)
{
    Nearest nearest;
    nearest_begin(&nearest, key->text, strlen(key->text));
    for (size_t i = 0; i < fields->count; i++)
        nearest_try(&nearest, fields->field[i].key);
    for (size_t i = 0; nearest.word && i < fields->count; i++)
        if (fields->field[i].key == nearest.word)
            return i;
    return fields->count;
}

static const char *list_keys(Arena *a, const Fields *fields)
{
    const char *list = fields->count > 0 ? "" : "none";
    for (size_t i = 0; i < fields->count; i++)
        list = arena_printf(a, "%s%s%s", list, i > 0 ? ", " : "", fields->field[i].key);
    return list;
}

static const char *prefix(Arena *a, const char *path)
{
    return *path ? arena_printf(a, "%s: ", path) : "";
}

/* Where a key lies that was written a section too high: `lr: 1e-3` at the top. */
static const char *deeper(const char *path, const char *key)
{
    static const char *const paths[] = {
        "optimizer.adam.lr",
        "optimizer.adam.betas",
        "optimizer.adam.eps",
        "optimizer.adam.weight_decay",
        "optimizer.sgd.momentum",
        "schedule.epochs",
        "schedule.warmup",
        "schedule.milestones",
        "schedule.gamma",
        "schedule.cosine",
        "input.channels",
        "input.size",
        "input.mean",
        "input.std",
        "embedding.dim",
        "embedding.mixture",
        "loss.pairs",
        "loss.clip",
        "loss.penalty",
        "augment.flip",
        "augment.crop",
        "augment.translate",
        "augment.jitter",
        "augment.grayscale",
        "augment.blur",
        "augment.solarize",
        "optimizer.adam",
        "optimizer.sgd",
        "target.march",
        "target.threads",
        "target.blas",
        "target.memory",
        "target.precision",
        "target.ranks",
    };
    const size_t above = strlen(path);
    for (size_t i = 0; i < COUNT(paths); i++)
        if (!strcmp(strrchr(paths[i], '.') + 1, key) && !strncmp(paths[i], path, above) &&
            (above == 0 || paths[i][above] == '.'))
            return paths[i];
    return NULL;
}

/* Returns the number of the field that may have been meant, or the count. */
static size_t problem_unknown(Reader *r, const Node *key, const char *path, const Fields *fields)
{
    size_t nearest = nearest_field(fields, key);
    const char *shown = key->length > 0 ? key->text : "\"\"", *rest = key->length > KEY_LIMIT ? "..." : "";
    const char *below = deeper(path, key->text);
    const char *hint = below ? arena_printf(r->arena, "did you mean %s?", below)
                       : nearest < fields->count
                           ? arena_printf(r->arena, "did you mean %s?", fields->field[nearest].key)
                           : arena_printf(r->arena, "the keys here: %s", list_keys(r->arena, fields));
    problem(r, key->at, "%sunknown key %.*s%s; %s", prefix(r->arena, path), KEY_LIMIT, shown, rest, hint);
    return nearest;
}

static void read_field(Reader *r, const Field *f, const Node *value, const char *path, void *record)
{
    void *into = (char *)record + f->offset;
    switch (f->kind) {
    case FIELD_INT: read_int(r, value, path, f->low, f->high, into); break;
    case FIELD_REAL: read_real(r, value, path, f->range, into); break;
    case FIELD_FLAG: read_flag(r, value, path, into); break;
    case FIELD_SECTION: read_fields(r, value, path, f->section, record); break;
    case FIELD_OTHER: f->read(r, value, path, record); break;
    case FIELD_LATER: break;
    }
}

static const char *join(Arena *a, const char *path, const char *key)
{
    return *path ? arena_printf(a, "%s.%s", path, key) : key;
}

static size_t find_field(const Fields *fields, const Node *key)
{
    size_t i = 0;
    while (i < fields->count && !node_is(key, fields->field[i].key))
        i++;
    return i;
}

static void problem_missing(Reader *r, const Node *n, const char *path, const Fields *fields,
                            const bool *present)
{
    const Node *owner = n->key ? n->key : n->first ? n->first->key : n;
    for (size_t i = 0; i < fields->count; i++)
        if (fields->field[i].required && !present[i])
            problem(r, owner->at, "%s%s is missing", prefix(r->arena, path), fields->field[i].key);
}

static bool check_mapping(Reader *r, const Node *n, const char *path)
{
    if (n->kind == NODE_MAPPING)
        return true;
    problem_unwanted(r, n, *path ? path : "a spec", "a mapping of keys to values");
    return false;
}

static void problem_twice(Reader *r, const Node *value, const char *path, const Node *first)
{
    problem(r, value->key->at, "%s is given twice", path);
    problem_note(r, first->key->at, "the first is here");
}

bool read_fields(Reader *r, const Node *n, const char *path, const Fields *fields, void *record)
{
    const Node *given[FIELD_LIMIT] = {NULL};
    bool present[FIELD_LIMIT + 1] = {false}; /* given, or misspelt */
    if (!check_mapping(r, n, path))
        return false;
    for (const Node *value = n->first; value; value = value->next) {
        size_t i = find_field(fields, value->key);
        if (i == fields->count) {
            present[problem_unknown(r, value->key, path, fields)] = true;
            continue;
        }
        const char *value_path = join(r->arena, path, fields->field[i].key);
        if (given[i])
            problem_twice(r, value, value_path, given[i]);
        else
            read_field(r, &fields->field[i], value, value_path, record);
        given[i] = given[i] ? given[i] : value;
        present[i] = true;
    }
    problem_missing(r, n, path, fields, present);
    return true;
}

void read_variant(Reader *r, const Node *n, const char *path, const Fields *fields, void *record)
{
    if (n->kind != NODE_MAPPING || n->count == 0) {
        problem_unwanted(r, n, path,
                         arena_printf(r->arena, "a mapping of one key (%s)", list_keys(r->arena, fields)));
        return;
    }
    size_t i = find_field(fields, n->first->key);
    if (i == fields->count)
        problem_unknown(r, n->first->key, path, fields);
    else
        read_field(r, &fields->field[i], n->first, join(r->arena, path, fields->field[i].key), record);
    if (n->count > 1)
        problem(r, n->first->next->key->at, "%s: one of %s is wanted, and here is a second key", path,
                list_keys(r->arena, fields));
}
