/* amalgamate.c: several sources as one text that holds what a model reaches, and nothing else.
 *
 * A source is cut into items: functions, types, constants, macros, blocks of conditional compilation, each
 * with the comment right above it. An item is kept where a kept one, or the model, names something that it
 * defines. Sources follow a few rules that make this plain to do: a comment above an item belongs to it, one
 * that is followed by an empty line heads what comes after; a declaration is an item of its own; identifiers
 * mean the same in all of them. */
#include "library.h"
#include "tokens.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
    ITEM_CODE,
    ITEM_FUNCTION,
    ITEM_PROTOTYPE,
    ITEM_ASSERTION,
    ITEM_MACRO,
    ITEM_BLOCK,
    ITEM_CALL
} ItemKind;

typedef struct {
    ItemKind kind;
    bool is_kept;
    bool is_source; /* of a .c file: a function is made static */
    Span comment, text;
    int heading; /* the comments that head it are numbers heading to headings - 1 */
    int headings;
} Item;

typedef struct {
    const char *name;
    size_t length;
    int item;
} Name;

typedef struct {
    Arena *arena;
    int items, item_capacity;
    Item *item;
    int names, name_capacity;
    Name *name;
    int headings, heading_capacity;
    Span *heading;
    int first_heading; /* of those that head the item to come */
} Sources;

#define GROW(a, array, count, capacity, Type)                                                                \
    do {                                                                                                     \
        if ((count) < (capacity))                                                                            \
            break;                                                                                           \
        const Type *old_ = (array);                                                                          \
        (capacity) = (capacity) ? 2 * (capacity) : 64;                                                       \
        (array) = ARENA_ARRAY(a, Type, capacity);                                                            \
        for (int i_ = 0; i_ < (count); i_++)                                                                 \
            (array)[i_] = old_[i_];                                                                          \
    } while (0)

/* ---- names ---- */

static void add_name(Sources *s, Span name, int item)
{
    GROW(s->arena, s->name, s->names, s->name_capacity, Name);
    s->name[s->names++] = (Name){name.begin, (size_t)(name.end - name.begin), item};
}

/* The constants of an enumeration whose brace is here. */
static void name_constants(Sources *s, const char *at, const char *end, int item)
{
    const char *close = skip_brackets(at, end);
    bool expected = true;
    for (at++; at < close;) {
        if (*at == '(') {
            at = skip_brackets(at, close);
            continue;
        }
        const char *behind = token_end(at);
        if (starts_identifier(*at) && expected) {
            add_name(s, (Span){at, behind}, item);
            expected = false;
        }
        expected |= *at == ',';
        at = behind;
    }
}

/* What a declaration declares: the identifier in front of its parameters, initial value, array's size or end;
 * tags; constants. Attributes are passed over. */
static void name_declaration(Sources *s, Span text, int item)
{
    Span last = {NULL, NULL}, before = {NULL, NULL};
    for (const char *at = text.begin; at < text.end;) {
        const char *behind = token_end(at);
        const Span word = {at, behind};
        if (starts_identifier(*at)) {
            if (span_is(word, "__attribute__") || span_is(word, "_Static_assert")) {
                at = skip_brackets(skip_blanks(behind, text.end), text.end);
                continue;
            }
            before = last;
            last = word;
        } else if (*at == '{' &&
                   ((last.begin && span_is(last, "enum")) || (before.begin && span_is(before, "enum")))) {
            name_constants(s, at, text.end, item);
            behind = skip_brackets(at, text.end);
            last = before = (Span){NULL, NULL};
        } else if (*at == '{') {
            if (before.begin && span_is(before, "struct"))
                add_name(s, last, item);
            behind = skip_brackets(at, text.end);
        } else if (last.begin && (*at == '(' || *at == '[' || *at == '=' || *at == ';' || *at == ',')) {
            add_name(s, last, item);
            if (*at == '(' || *at == '=')
                return;
        }
        at = behind;
    }
}

static Span macro_name(Span text)
{
    const char *define = strstr(text.begin, "define");
    return next_identifier(define + strlen("define"), text.end);
}

static bool next_is_paste(const char *at)
{
    return at[0] == '#' && at[1] == '#';
}

/* What the expansion of a macro at file scope defines: names begun in the macros that it is made of. */
static void name_call(Sources *s, Span text, int item)
{
    const int names = s->names;
    for (Span w = next_identifier(text.begin, text.end); w.begin < text.end;
         w = next_identifier(w.end, text.end))
        for (int i = 0; i < names; i++) {
            const Item *macro = &s->item[s->name[i].item];
            if (macro->kind != ITEM_MACRO || s->name[i].length != (size_t)(w.end - w.begin) ||
                memcmp(s->name[i].name, w.begin, s->name[i].length))
                continue;
            for (Span in = next_identifier(macro->text.begin, macro->text.end); in.begin < macro->text.end;
                 in = next_identifier(in.end, macro->text.end))
                if (next_is_paste(in.end))
                    add_name(s, in, item);
        }
}

/* ---- items ---- */

static int begin_item(Sources *s, ItemKind kind, Span comment, Span text, bool is_source)
{
    GROW(s->arena, s->item, s->items, s->item_capacity, Item);
    s->item[s->items] = (Item){kind, false, is_source, comment, text, s->first_heading, s->headings};
    return s->items++;
}

static void add_heading(Sources *s, Span comment)
{
    /* A section's heading ends what headed the one before. */
    if (!strncmp(comment.begin, "/* ----", 7))
        s->first_heading = s->headings;
    GROW(s->arena, s->heading, s->headings, s->heading_capacity, Span);
    s->heading[s->headings++] = comment;
}

/* `#if MATRIX_TILES` ... `#elif`: a library has none, so the block begins with what comes behind it. */
static Span without_tiles(Arena *a, Span text)
{
    static const char tiles[] = "#if MATRIX_TILES\n";
    if (strncmp(text.begin, tiles, strlen(tiles)) != 0)
        return text;
    const char *other = strstr(text.begin, "\n#elif ");
    if (!other)
        bug("a block for matrix tiles has nothing for other processors");
    char *rest = arena_printf(a, "#if %.*s", (int)(text.end - other - 7), other + 7);
    return (Span){rest, rest + strlen(rest)};
}

static void split(Sources *s, const char *at, const char *end, bool is_source, int inside);

/* What stands between `#else` and `#endif` of the conditional here. */
static Span else_of(const char *at)
{
    int depth = 0;
    Span other = {NULL, NULL};
    for (; *at; at = *at == '#' ? directive_end(at) : token_end(at)) {
        if (*at != '#')
            continue;
        depth += is_directive(at, "if") || is_directive(at, "ifdef") || is_directive(at, "ifndef");
        if (depth == 1 && is_directive(at, "else"))
            other.begin = directive_end(at);
        depth -= is_directive(at, "endif");
        other.end = at;
        if (!depth)
            return other;
    }
    bug("a conditional without an end");
}

/* A library's maps are of floats: of `#if MAPS_ARE_BFLOAT16` the other block, which is there without it. */
static bool take_block_of_floats(Sources *s, Span text, bool is_source, int inside)
{
    static const char maps[] = "#if MAPS_ARE_BFLOAT16\n";
    if (strncmp(text.begin, maps, strlen(maps)) != 0)
        return false;
    const Span other = else_of(text.begin);
    if (other.begin)
        split(s, other.begin, other.end, is_source, inside);
    return true;
}

static const char *take_directive(Sources *s, const char *at, Span comment, bool is_source, int inside)
{
    const bool is_block = is_directive(at, "if") || is_directive(at, "ifdef") || is_directive(at, "ifndef");
    const char *behind = is_block ? block_end(at) : directive_end(at);
    Span text = {at, behind};
    if (is_directive(at, "define")) {
        const int item = inside >= 0 ? inside : begin_item(s, ITEM_MACRO, comment, text, is_source);
        add_name(s, macro_name(text), item);
    } else if (is_block && take_block_of_floats(s, text, is_source, inside)) {
        return behind;
    } else if (is_block) {
        text = inside < 0 ? without_tiles(s->arena, text) : text;
        const int item = inside >= 0 ? inside : begin_item(s, ITEM_BLOCK, comment, text, is_source);
        split(s, directive_end(text.begin), text.end, is_source, item);
    }
    return behind;
}

/* Behind what begins here, comments on its last line included. */
static const char *code_end(const char *at, const char *end, ItemKind *kind)
{
    const char *begin = at;
    char before = 0; /* the last character that is no blank */
    bool has_value = false, is_function = false;
    Span first = {at, token_end(at)};
    while (at < end) {
        if (*at == '(' || *at == '[') {
            at = skip_brackets(at, end);
            before = ')';
            const char *next = skip_blanks(at, end);
            if (first.end <= begin + (at - begin) && skip_brackets(first.end, end) == at &&
                isupper((unsigned char)*begin) && *next != '{' && *next != ';') {
                *kind = ITEM_CALL;
                return at;
            }
            continue;
        }
        if (*at == '{') {
            is_function = before == ')' && !has_value;
            at = skip_brackets(at, end);
            before = '}';
            if (is_function)
                break;
            continue;
        }
        has_value |= *at == '=';
        if (*at == ';') {
            at++;
            break;
        }
        if (!isspace((unsigned char)*at) && !(at[0] == '/' && at[1] == '*'))
            before = *at;
        at = token_end(at);
    }
    *kind = is_function                                                 ? ITEM_FUNCTION
            : span_is(first, "_Static_assert")                          ? ITEM_ASSERTION
            : before == ')' && !span_is(first, "typedef") && !has_value ? ITEM_PROTOTYPE
                                                                        : ITEM_CODE;
    const char *next = at;
    while (next < end && *next == ' ')
        next++;
    return next[0] == '/' && next[1] == '*' ? comment_end(next) : at;
}

static const char *take_code(Sources *s, const char *at, const char *end, Span comment, bool is_source,
                             int inside)
{
    ItemKind kind;
    const Span text = {at, code_end(at, end, &kind)};
    const int item = inside >= 0 ? inside : begin_item(s, kind, comment, text, is_source);
    if (kind == ITEM_CALL)
        name_call(s, text, item);
    else if (kind != ITEM_ASSERTION)
        name_declaration(s, text, item);
    return text.end;
}

/* The items of a text; inside a conditional they are one, which defines the names of all. */
static void split(Sources *s, const char *at, const char *end, bool is_source, int inside)
{
    Span comment = {NULL, NULL};
    while ((at = skip_blanks(at, end)) < end) {
        if (at[0] == '/' && at[1] == '*') {
            comment = (Span){at, comment_end(at)};
            at = comment.end;
            if (at[0] == '\n' && at[1] == '\n') { /* it heads what follows */
                if (inside < 0)
                    add_heading(s, comment);
                comment = (Span){NULL, NULL};
            }
            continue;
        }
        at = *at == '#' ? take_directive(s, at, comment, is_source, inside)
                        : take_code(s, at, end, comment, is_source, inside);
        comment = (Span){NULL, NULL};
    }
}

/* Without the guard against a second inclusion. */
static Span inside_guard(const char *text)
{
    const char *guard = strstr(text, "\n#ifndef "), *end = text + strlen(text);
    const char *last = end;
    for (const char *at = text; (at = strstr(at, "\n#endif")); at++)
        last = at;
    if (!guard || last == end || strncmp(directive_end(guard + 1), "#define ", 8) != 0)
        return (Span){text, end};
    return (Span){directive_end(directive_end(guard + 1)), last};
}

static void add_source(Sources *s, const AmalgamatedFile *file)
{
    const char *begin = skip_blanks(file->text, file->text + strlen(file->text));
    const Span code = file->is_source ? (Span){begin, begin + strlen(begin)} : inside_guard(file->text);
    s->first_heading = s->headings;
    if (!file->is_source && begin[0] == '/' && begin[1] == '*')
        add_heading(s, (Span){begin, comment_end(begin)});
    split(s, code.begin, code.end, file->is_source, -1);
}

/* ---- what is reached ---- */

static int compare_names(const void *left, const void *right)
{
    const Name *a = left, *b = right;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    const int order = memcmp(a->name, b->name, a->length);
    return order ? order : (a->item > b->item) - (a->item < b->item);
}

/* The first of the names that are this one, or NULL. */
static const Name *find_name(const Sources *s, Span word)
{
    const Name wanted = {word.begin, (size_t)(word.end - word.begin), -1};
    int low = 0, high = s->names;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (compare_names(&s->name[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const Name *n = &s->name[low];
    return low < s->names && n->length == wanted.length && !memcmp(n->name, wanted.name, n->length) ? n
                                                                                                    : NULL;
}

static bool is_same_name(const Sources *s, const Name *n, const Name *first)
{
    return n < s->name + s->names && n->length == first->length &&
           !memcmp(n->name, first->name, first->length);
}

typedef struct {
    int count;
    int *item;
} Reached;

static void reach(Sources *s, Span text, Reached *r)
{
    for (Span w = next_identifier(text.begin, text.end); w.begin < text.end;
         w = next_identifier(w.end, text.end)) {
        const Name *first = find_name(s, w);
        for (const Name *n = first; n && is_same_name(s, n, first); n++) {
            if (s->item[n->item].is_kept)
                continue;
            s->item[n->item].is_kept = true;
            r->item[r->count++] = n->item;
        }
    }
}

/* An assertion is about what it names; it goes where all of that is there. */
static bool names_only_kept(const Sources *s, Span text)
{
    for (Span w = next_identifier(text.begin, text.end); w.begin < text.end;
         w = next_identifier(w.end, text.end)) {
        const Name *first = find_name(s, w);
        if (first && !s->item[first->item].is_kept)
            return false;
    }
    return true;
}

static void keep_reached(Sources *s, const char *body)
{
    Reached r = {.item = ARENA_ARRAY(s->arena, int, s->items + 1)};
    qsort(s->name, (size_t)s->names, sizeof *s->name, compare_names);
    reach(s, (Span){body, body + strlen(body)}, &r);
    for (int i = 0; i < r.count; i++)
        reach(s, s->item[r.item[i]].text, &r);
    for (int i = 0; i < s->items; i++)
        if (s->item[i].kind == ITEM_ASSERTION)
            s->item[i].is_kept = names_only_kept(s, s->item[i].text);
}

/* ---- the text ---- */

/* The function that a prototype declares, of the sources themselves. */
static Item *definition_of(const Sources *s, const Item *prototype)
{
    for (int i = 0; i < s->names; i++) {
        if (&s->item[s->name[i].item] != prototype)
            continue;
        const Name *first = find_name(s, (Span){s->name[i].name, s->name[i].name + s->name[i].length});
        for (const Name *n = first; is_same_name(s, n, first); n++)
            if (s->item[n->item].kind == ITEM_FUNCTION)
                return &s->item[n->item];
    }
    return NULL;
}

/* A definition stands before its use, so its prototype goes, and leaves it what is said above it. */
static void join_prototypes(Sources *s)
{
    for (int i = 0; i < s->items; i++) {
        Item *prototype = &s->item[i], *definition;
        if (prototype->kind != ITEM_PROTOTYPE || !prototype->is_kept ||
            !(definition = definition_of(s, prototype)))
            continue;
        prototype->is_kept = false;
        if (!definition->comment.begin)
            definition->comment = prototype->comment;
    }
}

static void print_span(FILE *out, Span span)
{
    fprintf(out, "%.*s", (int)(span.end - span.begin), span.begin);
}

static void print_item(FILE *out, const Item *i)
{
    if (i->comment.begin) {
        print_span(out, i->comment);
        fputc('\n', out);
    }
    const bool is_static = !strncmp(i->text.begin, "static ", 7) || !strncmp(i->text.begin, "INLINE ", 7) ||
                           !strncmp(i->text.begin, "SHARED ", 7);
    if (i->kind == ITEM_FUNCTION && i->is_source && !is_static)
        fputs("static ", out);
    print_span(out, i->text);
    if (i->text.end[-1] != '\n')
        fputc('\n', out);
}

char *amalgamate(Arena *a, const AmalgamatedFile *file, int files, const char *body)
{
    Sources s = {.arena = a};
    for (int i = 0; i < files; i++)
        add_source(&s, &file[i]);
    keep_reached(&s, body);
    join_prototypes(&s);
    TextStream t;
    FILE *out = text_stream_open(&t);
    int headed = 0; /* headings below it are printed, or head nothing */
    for (int i = 0; i < s.items; i++) {
        const Item *item = &s.item[i];
        if (!item->is_kept)
            continue;
        for (int h = headed > item->heading ? headed : item->heading; h < item->headings; h++) {
            print_span(out, s.heading[h]);
            fputs("\n\n", out);
        }
        headed = item->headings > headed ? item->headings : headed;
        print_item(out, item);
        const Item *next = i + 1 < s.items && s.item[i + 1].is_kept ? item + 1 : NULL;
        const bool goes_on = next && item->kind == next->kind && next->headings == item->headings &&
                             (item->kind == ITEM_MACRO || item->kind == ITEM_CODE) && !next->comment.begin;
        if (!goes_on)
            fputc('\n', out);
    }
    return text_stream_close(a, &t);
}
