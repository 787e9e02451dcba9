/* mutate.c: changes that keep a spec a spec, for libFuzzer beside its own changes of bytes: a line removed,
 * doubled or moved, a number put in place of another. Most bytes changed at random only make bad YAML, and
 * what lies behind the reader would hardly be reached. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

typedef struct {
    char *text; /* with room for `most` bytes */
    size_t length, most;
    unsigned seed;
} Text;

static unsigned draw(Text *t, size_t below)
{
    t->seed = t->seed * 1664525u + 1013904223u;
    return (t->seed >> 8) % (unsigned)below;
}

/* Puts `count` bytes in place of `removed` at `at`; without room nothing changes. */
static void replace(Text *t, size_t at, size_t removed, const char *bytes, size_t count)
{
    if (t->length - removed + count > t->most)
        return;
    memmove(t->text + at + count, t->text + at + removed, t->length - at - removed);
    memcpy(t->text + at, bytes, count);
    t->length += count - removed;
}

/* The line around a byte drawn at random, with its end. */
static size_t draw_line(Text *t, size_t *length)
{
    size_t begin = draw(t, t->length), end = begin;
    while (begin > 0 && t->text[begin - 1] != '\n')
        begin--;
    while (end < t->length && t->text[end] != '\n')
        end++;
    *length = end - begin + (end < t->length);
    return begin;
}

static void change_line(Text *t)
{
    size_t length, ignored, from = draw_line(t, &length);
    const unsigned way = draw(t, 3);
    char *line = malloc(length + 1);
    if (!line)
        return;
    memcpy(line, t->text + from, length);
    if (way != 0) /* else it is doubled, here or elsewhere */
        replace(t, from, length, "", 0);
    if (way != 1 && t->length > 0)
        replace(t, draw_line(t, &ignored), 0, line, length);
    free(line);
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void change_number(Text *t)
{
    static const char *const odd[] = {"0",     "65536",      "2147483647", "1e-30", "3e38",
                                      "65535", "4294967297", "-1",         "1e400", "0.5"};
    size_t at = draw(t, t->length), end;
    while (at < t->length && !is_digit(t->text[at]))
        at++;
    for (end = at; end < t->length && is_digit(t->text[end]);)
        end++;
    char number[16];
    snprintf(number, sizeof number, "%u", draw(t, 9) ? draw(t, 9) : draw(t, 300));
    const char *with = draw(t, 6) ? number : odd[draw(t, sizeof odd / sizeof *odd)];
    if (at < end)
        replace(t, at, end - at, with, strlen(with));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    Text t = {(char *)data, size, most, seed};
    if (size == 0 || draw(&t, 3) == 0)
        return LLVMFuzzerMutate(data, size, most);
    for (unsigned changes = 1 + draw(&t, 3); changes > 0 && t.length > 0; changes--) {
        if (draw(&t, 2))
            change_number(&t);
        else
            change_line(&t);
    }
    return t.length;
}
