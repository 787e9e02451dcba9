/* override.c: values of the command line, in place of the spec's.
 *
 * They are put into the tree before it is read, so that the spec's own types and ranges hold for them; each
 * has its option as its source. Values of --set come first (setting.c). --pairs takes names only: a pair that
 * the spec lists too keeps the spec's weight, any other has weight 1. */
#include "reader.h"

#include <string.h>

static Node *empty_node(Arena *a, NodeKind kind, Mark at)
{
    Node *n = ARENA_NEW(a, Node);
    n->kind = kind;
    n->at = at;
    return n;
}

static Node *key_node(Arena *a, const char *key, Mark at)
{
    Node *n = empty_node(a, NODE_SCALAR, at);
    n->text = key;
    n->length = strlen(key);
    return n;
}

/* Puts the value's content where the key's is, or the key at the end of the mapping. */
static Node *put(Arena *a, Node *mapping, const char *key, Node *value)
{
    Node *old = node_child(mapping, key);
    if (!old) {
        value->key = key_node(a, key, value->at);
        node_append(mapping, value);
        return value;
    }
    node_replace(old, value);
    return old;
}

/* Puts the value under section.key, or under key alone. What is no mapping is left for the reader to refuse.
 */
static void override(Arena *a, Node *root, const char *section, const char *key, Node *value)
{
    Node *into = root;
    if (section) {
        into = node_child(root, section);
        if (!into)
            into = put(a, root, section, empty_node(a, NODE_MAPPING, value->at));
    }
    if (into->kind == NODE_MAPPING)
        put(a, into, key, value);
}

/* The weight the spec gives to the pair, or NULL. */
static const Node *find_weight(const Node *root, const Node *name)
{
    const Node *loss = node_child(root, "loss");
    const Node *pairs = loss && loss->kind == NODE_MAPPING ? node_child(loss, "pairs") : NULL;
    for (const Node *item = pairs ? pairs->first : NULL; item; item = item->next) {
        const Node *pair = item->kind == NODE_MAPPING ? node_child(item, "pair") : NULL;
        if (pair && pair->kind == NODE_SCALAR && node_is(pair, name->text))
            return node_child(item, "weight");
    }
    return NULL;
}

static Node *pair_item(Arena *a, const Node *root, Node *name)
{
    const Node *weight = find_weight(root, name);
    if (!weight)
        return name;
    Node *item = empty_node(a, NODE_MAPPING, name->at), *copy = ARENA_NEW(a, Node);
    *copy = *weight;
    copy->next = NULL;
    put(a, item, "pair", name);
    node_append(item, copy);
    return item;
}

static Node *pair_list(Arena *a, const Node *root, const Source *source)
{
    Node *list = empty_node(a, NODE_LIST, (Mark){source, 1, 1, 1});
    for (size_t begin = 0, length; begin <= source->length; begin += length + 1) {
        length = strcspn(source->text + begin, ",");
        node_append(list, pair_item(a, root, option_scalar(a, source, begin, length)));
    }
    return list;
}

#define OVERRIDE_NAMES(KIND, name, section) [OVERRIDE_##KIND] = {name, section},
const OverrideOption override_option[OVERRIDE_KINDS] = {OVERRIDES(OVERRIDE_NAMES)};

bool override_take(Overrides *o, int option, const char *value)
{
    const int kind = option - OVERRIDE_OPTION;
    if (kind < 0 || kind >= OVERRIDE_KINDS)
        return false;
    o->value[kind] = value;
    return true;
}

void override_tree(Reader *r, Node *root, const Overrides *o)
{
    Arena *a = r->arena;
    if (root->kind != NODE_MAPPING)
        return;
    for (int i = 0; i < o->settings; i++)
        set_value(r, root, &o->setting[i]);
    for (int i = 0; i < OVERRIDE_KINDS; i++) {
        if (!o->value[i])
            continue;
        const OverrideOption *option = &override_option[i];
        const Source *source = option_source(a, arena_printf(a, "--%s", option->name), o->value[i]);
        override(a, root, option->section, option->name, option_scalar(a, source, 0, source->length));
    }
    if (o->pairs)
        override(a, root, "loss", "pairs", pair_list(a, root, option_source(a, "--pairs", o->pairs)));
}
