/* write.c: a tree -> YAML text, which reads as the same tree.
 *
 * What fits on a line stands on one; else a mapping has a line for each key, a list one for each item. */
#include "reader.h"

#include <string.h>

enum { LINE = 100, INDENT = 2 };

/* ---- on one line ---- */

/* What YAML reads as it stands, wherever that is. */
static bool is_bare(const Node *n)
{
    static const char bare[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-/";
    return n->length > 0 && strspn(n->text, bare) == n->length && (n->length > 1 || *n->text != '-');
}

static void put_quoted(FILE *out, const Node *n)
{
    fputc('"', out);
    for (size_t i = 0; i < n->length; i++) {
        unsigned char c = (unsigned char)n->text[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < ' ' || c == 0x7F)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void put_scalar(FILE *out, const Node *n)
{
    if (n->plain && n->length == 0)
        fputs("null", out);
    else if (n->plain && is_bare(n))
        fwrite(n->text, 1, n->length, out);
    else
        put_quoted(out, n);
}

static void put_key(FILE *out, const Node *key, const char *behind)
{
    Node plain = *key;
    plain.plain = true;
    put_scalar(out, &plain);
    fputs(behind, out);
}

static void put_inline(FILE *out, const Node *n)
{
    if (n->kind == NODE_SCALAR) {
        put_scalar(out, n);
        return;
    }
    fputc(n->kind == NODE_LIST ? '[' : '{', out);
    for (const Node *child = n->first; child; child = child->next) {
        fputs(child == n->first ? "" : ", ", out);
        if (n->kind == NODE_MAPPING)
            put_key(out, child->key, ": ");
        put_inline(out, child);
    }
    fputc(n->kind == NODE_LIST ? ']' : '}', out);
}

static const char *inline_text(Arena *a, const Node *n)
{
    TextStream t;
    put_inline(text_stream_open(&t), n);
    return text_stream_close(a, &t);
}

/* ---- on several ---- */

/* `- conv: {out: 64}` needs no braces around it. */
static void put_item(Arena *a, FILE *out, const Node *item)
{
    fputs("- ", out);
    if (item->kind == NODE_MAPPING && item->count == 1) {
        put_key(out, item->first->key, ": ");
        item = item->first;
    }
    fprintf(out, "%s\n", inline_text(a, item));
}

static void put_block(Arena *a, FILE *out, const Node *n, int indent);

static void put_member(Arena *a, FILE *out, const Node *value, int indent)
{
    const char *text = inline_text(a, value);
    if (value->kind == NODE_SCALAR || strlen(text) + (size_t)indent <= LINE) {
        put_key(out, value->key, ": ");
        fprintf(out, "%s\n", text);
        return;
    }
    put_key(out, value->key, ":\n");
    put_block(a, out, value, indent + INDENT);
}

static void put_block(Arena *a, FILE *out, const Node *n, int indent)
{
    for (const Node *child = n->first; child; child = child->next) {
        fprintf(out, "%*s", indent, "");
        if (n->kind == NODE_LIST)
            put_item(a, out, child);
        else
            put_member(a, out, child, indent);
    }
}

/* ---- a spec ---- */

/* What is wrong with it has been said by spec_read. */
static const Node *tree_of(Arena *a, Source *source, const Overrides *o)
{
    Reader r = {.arena = a, .source = source};
    Node *root = yaml_tree(&r, source);
    if (root)
        override_tree(&r, root, o);
    return root;
}

char *spec_text(Arena *a, Source *source, const Overrides *o)
{
    TextStream t;
    FILE *out = text_stream_open(&t);
    const Node *root = tree_of(a, source, o);
    if (root)
        put_block(a, out, root, 0);
    return text_stream_close(a, &t);
}

const char *spec_value(Arena *a, Source *source, const Overrides *o, const char *path)
{
    const Node *root = tree_of(a, source, o), *n = root ? node_at(a, root, path) : NULL;
    return n ? inline_text(a, n) : NULL;
}
