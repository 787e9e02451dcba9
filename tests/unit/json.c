/* json.c: see json.h. */
#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>

#include "json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

Json json_read(char *text)
{
    Json j = {.text = text};
    size_t length = strlen(text);
    jsmn_parser parser;
    jsmn_init(&parser);
    int wanted = jsmn_parse(&parser, text, length, NULL, 0);
    assert_true(wanted > 0);
    j.token = calloc((size_t)wanted, sizeof *j.token);
    assert_non_null(j.token);
    jsmn_init(&parser);
    j.tokens = jsmn_parse(&parser, text, length, j.token, (unsigned)wanted);
    assert_int_equal(j.tokens, wanted);
    assert_true(j.token[0].type == JSMN_OBJECT || j.token[0].type == JSMN_ARRAY);
    return j;
}

void json_free(Json *j)
{
    free(j->token);
    free(j->text);
    *j = (Json){0};
}

int json_behind(const Json *j, int value)
{
    int next = value + 1;
    while (next < j->tokens && j->token[next].start < j->token[value].end)
        next++;
    return next;
}

bool json_is(const Json *j, int value, const char *text)
{
    const jsmntok_t *t = &j->token[value];
    size_t length = strlen(text);
    return (size_t)(t->end - t->start) == length && !memcmp(j->text + t->start, text, length);
}

int json_member(const Json *j, int object, const char *key)
{
    assert_int_equal(j->token[object].type, JSMN_OBJECT);
    int at = object + 1;
    for (int i = 0; i < j->token[object].size; i++) {
        if (json_is(j, at, key))
            return at + 1;
        at = json_behind(j, at + 1);
    }
    fail_msg("no %s", key);
    return -1;
}

int json_element(const Json *j, int array, int number)
{
    assert_int_equal(j->token[array].type, JSMN_ARRAY);
    assert_in_range(number, 0, j->token[array].size - 1);
    int at = array + 1;
    for (int i = 0; i < number; i++)
        at = json_behind(j, at);
    return at;
}

double json_number(const Json *j, int object, const char *key)
{
    int value = json_member(j, object, key);
    assert_int_equal(j->token[value].type, JSMN_PRIMITIVE);
    return strtod(j->text + j->token[value].start, NULL);
}
