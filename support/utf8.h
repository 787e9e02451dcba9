/* utf8.h: characters of UTF-8 text, strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_INVALID UINT32_MAX

/* The bytes of the character at `text`, of which `left` > 0 bytes remain, and its code point in *code: a byte
 * that begins no character counts as one of its own, UTF8_INVALID. */
size_t utf8_next(const char *text, size_t left, uint32_t *code);
/* Whether it may reach a terminal or a page: no byte of no character, no control, nothing that begins a line
 * or turns the direction in which what follows is read. */
bool utf8_harmless(uint32_t code);
/* Whether besides a terminal shows it in a place of its own: nothing without a width. */
bool utf8_printable(uint32_t code);
/* Characters in the first `length` bytes. */
size_t utf8_count(const char *text, size_t length);
/* Bytes that the first `characters` characters take, at most `length`. */
size_t utf8_bytes(const char *text, size_t length, size_t characters);

#endif
