/* yaml.c: a spec's text -> a tree of nodes, each with its mark.
 *
 * What YAML offers beyond a spec's needs is refused where it stands: several documents, anchors, aliases,
 * tags, keys that are no scalars, nesting without end. libyaml's marks count characters from 0 where ours
 * count bytes from 1. The first error ends the reading, for what follows it is no longer what was meant. */
#include "reader.h"
#include "utf8.h"

#include <string.h>
#include <yaml.h>

enum { NESTING_LIMIT = 16 };

typedef struct {
    Reader *reader;
    const Source *source; /* what is parsed */
    const Source *shown;  /* what marks point into: the same places in another text, or itself */
    yaml_parser_t parser;
    size_t *line_begin; /* the byte each line begins with, and one entry past the last line */
    size_t lines;
    size_t index, byte; /* the character last looked up, and where it begins */
} Loader;

/* ---- the tree ---- */

void node_append(Node *parent, Node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
}

void node_replace(Node *old, const Node *value)
{
    Node *next = old->next, *key = old->key;
    *old = *value;
    old->next = next;
    old->key = key;
}

bool node_is(const Node *scalar, const char *text)
{
    return scalar->length == strlen(text) && memcmp(scalar->text, text, scalar->length) == 0;
}

Node *node_child(const Node *mapping, const char *key)
{
    for (Node *child = mapping->first; child; child = child->next)
        if (node_is(child->key, key))
            return child;
    return NULL;
}

/* ---- characters ---- */

/* libyaml's own rule, less what begins a line for it but not for an editor, and less marks of byte order. */
static bool allowed(uint32_t code)
{
    bool control = code < 0x20 || (code >= 0x7F && code < 0xA0);
    bool space = code == '\t' || code == '\n' || code == '\r';
    bool line = code == 0x2028 || code == 0x2029;
    bool order = code == 0xFEFF || code == 0xFFFE || code == 0xFFFF;
    return space || !(control || line || order);
}

static void problem_character(Reader *r, const Source *source, size_t at, uint32_t code)
{
    Mark mark = {source, 1, 1, 1};
    for (size_t i = 0; i < at; i++) {
        bool ended = source->text[i] == '\n' || (source->text[i] == '\r' && source->text[i + 1] != '\n');
        mark.line += ended;
        mark.column = ended ? 1 : mark.column + 1;
    }
    if (code == UTF8_INVALID)
        problem(r, mark, "byte 0x%02X is no UTF-8; save the spec as UTF-8 text",
                (unsigned char)source->text[at]);
    else
        problem(r, mark, "the character U+%04X has no place in a spec", (unsigned)code);
}

static bool check_characters(Reader *r, const Source *source)
{
    uint32_t code;
    for (size_t at = 0, bytes; at < source->length; at += bytes) {
        bytes = utf8_next(source->text + at, source->length - at, &code);
        if (code == UTF8_INVALID || !allowed(code)) {
            problem_character(r, source, at, code);
            return false;
        }
    }
    return true;
}

/* ---- marks ---- */

static size_t find_lines(const Source *source, size_t *begin)
{
    size_t lines = 0;
    if (begin)
        begin[0] = 0;
    for (size_t i = 0; i < source->length; i++) {
        char c = source->text[i];
        if (c != '\n' && (c != '\r' || source->text[i + 1] == '\n'))
            continue;
        lines++;
        if (begin)
            begin[lines] = i + 1;
    }
    return lines + 1;
}

static bool continues(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

/* The byte where a character begins. Marks come nearly in order, so the walk from the one before is short. */
static size_t byte_of(Loader *l, size_t index)
{
    const char *text = l->source->text;
    for (; l->index < index && l->byte < l->source->length; l->index++)
        do
            l->byte++;
        while (continues(text[l->byte]));
    for (; l->index > index && l->byte > 0; l->index--)
        do
            l->byte--;
        while (continues(text[l->byte]));
    return l->byte;
}

static Mark mark_between(Loader *l, yaml_mark_t start, yaml_mark_t end)
{
    size_t last = byte_of(l, end.index), first = byte_of(l, start.index);
    size_t line = start.line < l->lines ? start.line : l->lines - 1;
    size_t column = first - l->line_begin[line];
    return (Mark){l->shown, (int)line + 1, (int)column + 1, last > first ? (int)(last - first) : 1};
}

/* ---- events ---- */

/* Where something was opened and never closed, that is the line to mend, not the one where the text then
 * failed. */
static bool left_open(const yaml_parser_t *p)
{
    static const char *const opened[] = {"while scanning a quoted scalar", "while scanning a simple key",
                                         "while parsing a flow sequence", "while parsing a flow mapping"};
    for (size_t i = 0; p->context && i < COUNT(opened); i++)
        if (strcmp(p->context, opened[i]) == 0)
            return p->context_mark.line != p->problem_mark.line;
    return false;
}

/* What is most likely to be mended, behind libyaml's own words. */
static const char *syntax_hint(const char *message, bool tab)
{
    static const struct {
        const char *message, *hint;
    } hints[] = {
        {"could not find expected ':'", "; a key is followed by a colon and a space"},
        {"mapping values are not allowed in this context", "; the keys of a mapping are indented alike"},
        {"did not find expected <document start>", "; a spec is one document"},
    };
    for (size_t i = 0; !tab && i < COUNT(hints); i++)
        if (strcmp(message, hints[i].message) == 0)
            return hints[i].hint;
    return tab ? "; indent with spaces" : "";
}

static void problem_syntax(Loader *l)
{
    const yaml_parser_t *p = &l->parser;
    if (p->error == YAML_MEMORY_ERROR || !p->problem)
        out_of_memory();
    const char *message = p->problem;
    Mark at = mark_between(l, p->problem_mark, p->problem_mark);
    Mark context = mark_between(l, p->context_mark, p->context_mark);
    bool tab = l->source->text[byte_of(l, p->problem_mark.index)] == '\t';
    if (left_open(p)) {
        problem(l->reader, context, "this is no YAML: %s: %s%s", p->context, message,
                syntax_hint(message, false));
        problem_note(l->reader, at, "that was noticed here");
        return;
    }
    problem(l->reader, at, "this is no YAML: %s%s", message, syntax_hint(message, tab));
    if (p->context && (context.line != at.line || context.column != at.column))
        problem_note(l->reader, context, "%s that begins here", p->context);
}

static bool next_event(Loader *l, yaml_event_t *event)
{
    if (yaml_parser_parse(&l->parser, event))
        return true;
    problem_syntax(l);
    return false;
}

static bool has_properties(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT: return e->data.scalar.anchor || e->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT: return e->data.sequence_start.anchor || e->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT: return e->data.mapping_start.anchor || e->data.mapping_start.tag;
    default: return e->type == YAML_ALIAS_EVENT;
    }
}

static Node *new_node(Loader *l, const yaml_event_t *event, NodeKind kind)
{
    Node *n = ARENA_NEW(l->reader->arena, Node);
    n->kind = kind;
    n->at = mark_between(l, event->start_mark, event->end_mark);
    return n;
}

static Node *load_scalar(Loader *l, const yaml_event_t *event)
{
    Node *n = new_node(l, event, NODE_SCALAR);
    n->length = event->data.scalar.length;
    n->text = arena_copy(l->reader->arena, (const char *)event->data.scalar.value, n->length);
    n->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return n;
}

static Node *load_node(Loader *l, const yaml_event_t *event, int depth);

/* The node of the next event, or NULL with *ended set where that event ends the collection. */
static Node *load_next(Loader *l, yaml_mark_t *end, bool *ended, int depth)
{
    yaml_event_t event;
    *ended = false;
    if (!next_event(l, &event))
        return NULL;
    *ended = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
    *end = event.end_mark;
    Node *n = *ended ? NULL : load_node(l, &event, depth);
    yaml_event_delete(&event);
    return n;
}

static Node *load_value(Loader *l, Node *key, int depth)
{
    yaml_mark_t end;
    bool ended;
    if (key->kind != NODE_SCALAR) {
        problem(l->reader, key->at, "a key must be a word");
        return NULL;
    }
    Node *value = load_next(l, &end, &ended, depth);
    if (value)
        value->key = key;
    return value;
}

static Node *load_collection(Loader *l, const yaml_event_t *event, NodeKind kind, int depth)
{
    Node *n = new_node(l, event, kind);
    if (depth >= NESTING_LIMIT) {
        problem(l->reader, n->at, "nested deeper than %d levels; no spec needs that", NESTING_LIMIT);
        return NULL;
    }
    for (;;) {
        yaml_mark_t end;
        bool ended;
        Node *child = load_next(l, &end, &ended, depth + 1);
        if (child && kind == NODE_MAPPING)
            child = load_value(l, child, depth + 1);
        if (ended)
            n->at = mark_between(l, event->start_mark, end);
        if (ended || !child)
            return ended ? n : NULL;
        node_append(n, child);
    }
}

static Node *load_node(Loader *l, const yaml_event_t *event, int depth)
{
    if (has_properties(event)) {
        problem(l->reader, mark_between(l, event->start_mark, event->end_mark),
                "anchors, aliases and tags are no part of a spec; write the value itself");
        return NULL;
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT: return load_scalar(l, event);
    case YAML_SEQUENCE_START_EVENT: return load_collection(l, event, NODE_LIST, depth);
    case YAML_MAPPING_START_EVENT: return load_collection(l, event, NODE_MAPPING, depth);
    default: bug("YAML event %d where a node begins", (int)event->type);
    }
}

/* ---- the document ---- */

/* Takes an event that has no content; false where there is none, which ends the stream. */
static bool skip_event(Loader *l, yaml_event_type_t expected, Mark *at)
{
    yaml_event_t event;
    if (!next_event(l, &event))
        return false;
    bool met = event.type == expected;
    *at = mark_between(l, event.start_mark, event.end_mark);
    yaml_event_delete(&event);
    return met;
}

static Node *refuse_empty(Loader *l)
{
    const bool is_value = l->shown != l->source;
    const int column = is_value ? 1 + (int)strspn(l->source->text, " ") : 1;
    if (l->reader->problems == 0)
        problem(l->reader, (Mark){l->shown, 1, column, 1},
                is_value ? "a value is missing" : "the spec is empty; it begins with name: and a name");
    return NULL;
}

static Node *load_document(Loader *l)
{
    Mark at;
    yaml_mark_t end;
    bool ended;
    if (!skip_event(l, YAML_STREAM_START_EVENT, &at))
        return NULL;
    if (!skip_event(l, YAML_DOCUMENT_START_EVENT, &at))
        return refuse_empty(l);
    Node *root = load_next(l, &end, &ended, 0);
    if (!root || !skip_event(l, YAML_DOCUMENT_END_EVENT, &at))
        return NULL;
    if (skip_event(l, YAML_STREAM_END_EVENT, &at))
        return root->kind == NODE_SCALAR && root->plain && root->length == 0 ? refuse_empty(l) : root;
    if (l->reader->problems == 0)
        problem(l->reader, at, "a second document begins here; a spec is one document");
    return NULL;
}

static Node *load_source(Reader *r, const Source *source, const Source *shown)
{
    Loader l = {.reader = r, .source = source, .shown = shown};
    l.lines = find_lines(source, NULL);
    l.line_begin = ARENA_ARRAY(r->arena, size_t, l.lines + 1);
    find_lines(source, l.line_begin);
    if (!yaml_parser_initialize(&l.parser))
        out_of_memory();
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)source->text, source->length);
    Node *root = load_document(&l);
    yaml_parser_delete(&l.parser);
    return root;
}

Node *yaml_tree(Reader *r, Source *source)
{
    if (source->length > SPEC_BYTES_LIMIT) {
        problem(r, (Mark){source, 1, 1, 1}, "the file is larger than 1 MiB; no spec needs that");
        return NULL;
    }
    if (!check_characters(r, source))
        return NULL;
    return load_source(r, source, source);
}

/* Blanks in front of it keep every column. */
Node *yaml_value(Reader *r, const Source *source, size_t begin, size_t length)
{
    if (!check_characters(r, source))
        return NULL;
    char *text = arena_copy(r->arena, source->text, begin + length);
    memset(text, ' ', begin);
    return load_source(r, &(Source){source->name, text, begin + length}, source);
}
