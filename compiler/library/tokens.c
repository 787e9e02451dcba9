/* tokens.c: C as far as its text shows it: where comments, literals, identifiers and directives end. */
#include "tokens.h"

#include <ctype.h>
#include <string.h>

bool starts_identifier(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

static const char *identifier_end(const char *at)
{
    while (isalnum((unsigned char)*at) || *at == '_')
        at++;
    return at;
}

const char *comment_end(const char *at)
{
    const char *end = strstr(at + 2, "*/");
    return end ? end + 2 : at + strlen(at);
}

/* Behind the string or character that begins here. */
static const char *literal_end(const char *at)
{
    const char quote = *at++;
    while (*at && *at != quote)
        at += *at == '\\' && at[1] ? 2 : 1;
    return *at ? at + 1 : at;
}

const char *token_end(const char *at)
{
    if (at[0] == '/' && at[1] == '*')
        return comment_end(at);
    if (*at == '"' || *at == '\'')
        return literal_end(at);
    return starts_identifier(*at) || isdigit((unsigned char)*at) ? identifier_end(at) : at + 1;
}

const char *directive_end(const char *at)
{
    for (; *at; at++) {
        if (*at == '\\' && at[1] == '\n')
            at++;
        else if (*at == '\n')
            return at + 1;
    }
    return at;
}

bool is_directive(const char *at, const char *name)
{
    at++;
    while (*at == ' ')
        at++;
    const size_t length = strlen(name);
    return !strncmp(at, name, length) && !isalnum((unsigned char)at[length]);
}

bool span_is(Span s, const char *text)
{
    return (size_t)(s.end - s.begin) == strlen(text) && !memcmp(s.begin, text, strlen(text));
}

Span next_identifier(const char *at, const char *end)
{
    while (at < end) {
        const char *behind = token_end(at);
        if (starts_identifier(*at))
            return (Span){at, behind};
        at = behind;
    }
    return (Span){end, end};
}

const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && isspace((unsigned char)*at))
        at++;
    return at;
}

const char *skip_brackets(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        depth += *at == '(' || *at == '[' || *at == '{';
        depth -= *at == ')' || *at == ']' || *at == '}';
        at = token_end(at);
        if (!depth)
            break;
    }
    return at;
}

const char *block_end(const char *at)
{
    int depth = 0;
    while (*at) {
        if (*at == '#') {
            depth += is_directive(at, "if") || is_directive(at, "ifdef") || is_directive(at, "ifndef");
            depth -= is_directive(at, "endif");
            at = directive_end(at);
            if (!depth)
                return at;
            continue;
        }
        at = token_end(at);
    }
    return at;
}
