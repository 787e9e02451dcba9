/* measure.c: the object that `bench --profile --json` prints. */
#include "tune.h"
#include <stdlib.h>
#include <string.h>
#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>

/* A text and its tokens; an object's keys and values follow it, each before what is in it. */
typedef struct {
    const char *text;
    const jsmntok_t *token;
    int count;
} Json;

static size_t length_of(const jsmntok_t *t)
{
    return (size_t)(t->end - t->start);
}

static bool is_word(const Json *j, int at, const char *word)
{
    const jsmntok_t *t = &j->token[at];
    return strlen(word) == length_of(t) && !strncmp(j->text + t->start, word, strlen(word));
}

/* The token behind one and all that is in it. */
static int behind(const Json *j, int at)
{
    const int end = j->token[at].end;
    while (at < j->count && j->token[at].start < end)
        at++;
    return at;
}

/* The value under an object's key, or 0. */
static int value_of(const Json *j, int object, const char *key)
{
    int at = object + 1;
    for (int i = 0; i < j->token[object].size && at + 1 < j->count; i++) {
        if (is_word(j, at, key))
            return at + 1;
        at = behind(j, at + 1);
    }
    return 0;
}

static double number_of(const Json *j, int object, const char *key)
{
    const int at = value_of(j, object, key);
    return at && j->token[at].type == JSMN_PRIMITIVE ? strtod(j->text + j->token[at].start, NULL) : 0;
}

/* The product's name begins the operation's shape: "conv 3x3, ...". */
static bool is_of(const Json *j, int operation, const Choice *c)
{
    const int name = value_of(j, operation, "name"), shape = value_of(j, operation, "shape");
    const size_t length = strlen(c->product);
    if (!name || !shape || !is_word(j, name, c->layer) || length_of(&j->token[shape]) <= length)
        return false;
    const char *text = j->text + j->token[shape].start;
    return !strncmp(text, c->product, length) && strchr(" ,", text[length]);
}

static double seconds_of(const Json *j, int operations, const Choice *c)
{
    double seconds = 0;
    int at = operations + 1;
    for (int i = 0; i < j->token[operations].size && at < j->count; i++, at = behind(j, at))
        if (j->token[at].type == JSMN_OBJECT && is_of(j, at, c))
            seconds += number_of(j, at, "seconds");
    return seconds;
}

static bool parse(Arena *a, const char *text, Json *j)
{
    jsmn_parser parser;
    jsmn_init(&parser);
    const int count = jsmn_parse(&parser, text, strlen(text), NULL, 0);
    if (count <= 0)
        return false;
    jsmntok_t *token = ARENA_ARRAY(a, jsmntok_t, count);
    jsmn_init(&parser);
    *j = (Json){text, token, jsmn_parse(&parser, text, strlen(text), token, (unsigned)count)};
    return j->count == count && token[0].type == JSMN_OBJECT;
}

bool measure_take(Arena *a, const char *json, const Products *products, int way, double *step, double *peak)
{
    Json j;
    if (!parse(a, json, &j))
        return false;
    *step = number_of(&j, 0, "step_seconds");
    const int operations = value_of(&j, 0, "operations");
    if (operations && j.token[operations].type == JSMN_ARRAY) {
        *peak = number_of(&j, 0, "peak_gflops");
        for (int i = 0; i < products->count; i++) {
            Product *p = &products->product[i];
            const double seconds = way < p->ways ? seconds_of(&j, operations, p->way) : 0;
            if (seconds > 0 && (!(p->seconds[way] > 0) || seconds < p->seconds[way]))
                p->seconds[way] = seconds;
        }
    }
    return *step > 0;
}
