/* setting.c: a value of the command line for any key of the language, by the key's path.
 *
 * A path is words with dots between them: a list's items by their numbers (encoder.3.block.depth), loss.pairs
 * by the pairs' names too (loss.pairs.1-to-5.weight). The value is YAML; null takes the key out. Keys that
 * the language does not have are put into the tree like any other, for its tables name them with what was
 * meant. */
#include "reader.h"

#include <string.h>

/* A walk along the path. */
typedef struct {
    Reader *r;
    const Source *source;
    size_t begin, length; /* the segment under way */
    size_t end;           /* of the path */
    int depth;            /* segments before it */
} Walk;

/* An item may stand in brackets, as in messages: encoder[3].block. */
static bool next_segment(Walk *w)
{
    const char *text = w->source->text;
    bool begun = w->length > 0;
    w->begin += w->length;
    if (begun) {
        w->begin += text[w->begin] == ']' && w->begin + 1 < w->end;
        w->begin++;
        w->depth++;
    }
    for (w->length = 0; w->begin + w->length < w->end && !strchr(".[]", text[w->begin + w->length]);)
        w->length++;
    return w->begin < w->end;
}

static bool is_last(const Walk *w)
{
    size_t end = w->begin + w->length;
    return end >= w->end || (end + 1 == w->end && w->source->text[end] == ']');
}

static Node *segment(const Walk *w)
{
    return option_scalar(w->r->arena, w->source, w->begin, w->length);
}

/* What lies before the segment, as in messages. */
static const char *walked(const Walk *w)
{
    size_t length = w->begin ? w->begin - 1 : 0;
    return length ? arena_printf(w->r->arena, "%.*s", (int)length, w->source->text) : "the spec";
}

/* ---- from a node to one below it ---- */

static bool names_pair(const Node *item, const Node *name)
{
    const Node *pair = item->kind == NODE_MAPPING ? node_child(item, "pair") : item;
    return pair && pair->kind == NODE_SCALAR && node_is(pair, name->text);
}

/* By its number, or by the name of a pair. */
static Node *item_of(const Node *list, const Node *name)
{
    const char *rest = name->text;
    int64_t number = parse_digits(&rest, list->count);
    Node *item = list->first;
    if (*rest || !name->length) {
        while (item && !names_pair(item, name))
            item = item->next;
        return item;
    }
    while (item && number-- > 0)
        item = item->next;
    return item;
}

static void problem_item(const Walk *w, const Node *list, const Node *name)
{
    if (list->count == 0)
        problem(w->r, name->at, "%s is empty: it has no %s", walked(w), name->text);
    else
        problem(w->r, name->at, "%s has no %s; its items are numbered from 0 to %d", walked(w), name->text,
                list->count - 1);
}

/* Of optimizer and of each layer, which are one of several kinds, the kind that the spec has; else NULL. */
static const Node *kind_of(const Walk *w, const Node *mapping)
{
    static const char optimizer[] = "optimizer", encoder[] = "encoder";
    const char *text = w->source->text;
    bool is_optimizer = w->depth == 1 && !strncmp(text, optimizer, strlen(optimizer)),
         is_layer = w->depth == 2 && !strncmp(text, encoder, strlen(encoder));
    return is_optimizer || is_layer ? mapping->first : NULL;
}

/* False where another kind is there. */
static bool check_kind(const Walk *w, const Node *mapping, const Node *name)
{
    const Node *kind = kind_of(w, mapping);
    if (!kind || node_is(kind->key, name->text))
        return true;
    const char *path = walked(w);
    problem(w->r, name->at,
            "%s is %s in this spec, not %s; its keys are %s.%s.KEY, and another kind is given whole, as "
            "%s={KIND: {KEY: VALUE}}",
            path, kind->key->text, name->text, path, kind->key->text, path);
    return false;
}

/* Of "1-to-5", whose weight is 1, {pair: 1-to-5}. */
static void open_pair(Arena *a, Node *item)
{
    Node *name = ARENA_NEW(a, Node), *key = ARENA_NEW(a, Node);
    *key =
        (Node){.kind = NODE_SCALAR, .at = item->at, .text = "pair", .length = strlen("pair"), .plain = true};
    *name = *item;
    name->next = NULL;
    name->key = key;
    node_replace(item, &(Node){.kind = NODE_MAPPING, .at = item->at});
    node_append(item, name);
}

static Node *add_child(Arena *a, Node *mapping, Node *key, NodeKind kind)
{
    Node *child = ARENA_NEW(a, Node);
    *child = (Node){.kind = kind, .at = key->at, .key = key};
    node_append(mapping, child);
    return child;
}

/* The node that the segment names below another, made where a mapping lacks it; NULL with a problem. */
static Node *below(const Walk *w, Node *into, bool is_item)
{
    Node *name = segment(w);
    if (into->kind == NODE_SCALAR && is_item && names_pair(into, into))
        open_pair(w->r->arena, into);
    if (into->kind == NODE_LIST) {
        Node *item = item_of(into, name);
        if (!item)
            problem_item(w, into, name);
        return item;
    }
    if (into->kind == NODE_SCALAR) {
        problem(w->r, name->at, "%s is a value in this spec, %s, and has no keys such as %s", walked(w),
                into->length ? into->text : "nothing", name->text);
        return NULL;
    }
    Node *child = node_child(into, name->text);
    if (child || !check_kind(w, into, name))
        return child;
    return add_child(w->r->arena, into, name, NODE_MAPPING);
}

static void take_out(Node *parent, const Node *child)
{
    Node *before = NULL;
    for (Node *n = parent->first; n != child; n = n->next)
        before = n;
    *(before ? &before->next : &parent->first) = child->next;
    if (parent->last == child)
        parent->last = before;
    parent->count--;
}

static bool is_null(const Node *n)
{
    return n->kind == NODE_SCALAR && n->plain && (node_is(n, "null") || node_is(n, "~"));
}

void set_value(Reader *r, Node *root, const Setting *s)
{
    Source *source = option_source(r->arena, "--set", s->text);
    Walk w = {.r = r, .source = source, .end = s->key};
    const Node *value = yaml_value(r, source, s->begin, s->length);
    Node *parent = root, *at = root;
    bool is_item = false;
    while (value && at && next_segment(&w)) {
        parent = at;
        at = below(&w, parent, is_item);
        is_item = parent->kind == NODE_LIST;
        if (at && is_last(&w))
            break;
    }
    if (!value || !at || at == root)
        return;
    if (is_null(value))
        take_out(parent, at);
    else
        node_replace(at, value);
}

const Node *node_at(Arena *a, const Node *root, const char *path)
{
    Reader unheard = {.arena = a};
    Source source = {"", path, strlen(path)};
    Walk w = {.r = &unheard, .source = &source, .end = source.length};
    const Node *at = root;
    while (at && next_segment(&w)) {
        const Node *name = segment(&w);
        at = at->kind == NODE_MAPPING ? node_child(at, name->text)
             : at->kind == NODE_LIST  ? item_of(at, name)
                                      : NULL;
        if (is_last(&w))
            break;
    }
    return at;
}
