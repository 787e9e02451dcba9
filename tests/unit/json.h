/* json.h: JSON text to look things up in; the test fails where the text is no JSON, or a key is missing. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>

#define JSMN_HEADER
#define JSMN_STRICT
#include <jsmn.h>

/* Values are numbers of tokens; 0 is the whole. */
typedef struct {
    char *text; /* by malloc */
    jsmntok_t *token;
    int tokens;
} Json;

/* One object or list. Owns the text, which came by malloc. */
Json json_read(char *text);
void json_free(Json *j);

int json_member(const Json *j, int object, const char *key);
int json_element(const Json *j, int array, int number);
/* The value behind a value and all that is in it. */
int json_behind(const Json *j, int value);
/* A value's text is this: a string without its quotes, or a primitive. */
bool json_is(const Json *j, int value, const char *text);
/* The number under a key of an object. */
double json_number(const Json *j, int object, const char *key);

#endif
