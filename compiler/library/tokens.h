/* tokens.h: C as far as its text shows it. `at` is where a token begins; the text behind it ends with a zero.
 */
#ifndef TOKENS_H
#define TOKENS_H

#include <stdbool.h>

typedef struct {
    const char *begin, *end;
} Span;

bool span_is(Span s, const char *text);
bool starts_identifier(char c);
const char *comment_end(const char *at);
/* Behind the comment, string, number, identifier or single character that begins here. */
const char *token_end(const char *at);
/* A directive's line, with those that continue it; behind its line break. */
const char *directive_end(const char *at);
bool is_directive(const char *at, const char *name);
/* Up to the `#endif` of the conditional here, and behind that line. */
const char *block_end(const char *at);
/* The next identifier from `at` on outside of comments and literals; empty at the end. */
Span next_identifier(const char *at, const char *end);
const char *skip_blanks(const char *at, const char *end);
/* Behind the bracket that closes the one here. */
const char *skip_brackets(const char *at, const char *end);

#endif
