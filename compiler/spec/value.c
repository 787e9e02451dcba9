/* value.c: one node -> one typed value, strictly.
 *
 * YAML leaves it to the reader what a scalar means. Here numbers are plain decimal, booleans are true and
 * false, and what stands in quotes is text. Numbers become float32 in the program, so those that do not fit
 * one are refused. */
#include "reader.h"
#include "utf8.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_CHARACTERS = 40 };

/* ---- what a scalar looks like ---- */

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* As far as `text` is [+-]?INTEGER(.DIGITS?)?(e[+-]?DIGITS)? or [+-]?.DIGITS...; INTEGER has no leading
 * zeros, which some would read as octal. Sets *whole where there is neither fraction nor exponent. */
static const char *skip_number(const char *text, bool *whole)
{
    const char *p = text + (*text == '+' || *text == '-');
    size_t digits = count_digits(p);
    if (digits > 1 && *p == '0')
        return text;
    const char *integer_end = p += digits;
    if (*p == '.') {
        size_t fraction = count_digits(p + 1);
        digits += fraction;
        p += 1 + fraction;
    }
    if (digits == 0)
        return text;
    if (*p == 'e' || *p == 'E') {
        const char *exponent = p + 1 + (p[1] == '+' || p[1] == '-');
        if (count_digits(exponent) > 0)
            p = exponent + count_digits(exponent);
    }
    *whole = p == integer_end;
    return p;
}

static bool is_number(const Node *n, bool *whole)
{
    return n->kind == NODE_SCALAR && n->plain && n->length > 0 &&
           skip_number(n->text, whole) == n->text + n->length;
}

static bool is_one_of(const Node *n, const char *const *word, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (node_is(n, word[i]))
            return true;
    return false;
}

static bool is_text(const Node *n)
{
    static const char *const other[] = {"",     "~",    "null",  "Null",  "NULL", "true",
                                        "True", "TRUE", "false", "False", "FALSE"};
    bool whole;
    if (n->kind != NODE_SCALAR || strlen(n->text) != n->length)
        return false;
    return !n->plain || (!is_number(n, &whole) && !is_one_of(n, other, COUNT(other)));
}

/* ---- what is said of it ---- */

static const char *describe(Reader *r, const Node *n)
{
    if (n->kind == NODE_LIST)
        return n->count > 0 ? "a list" : "an empty list";
    if (n->kind == NODE_MAPPING)
        return n->count > 0 ? "a mapping" : "an empty mapping";
    if (n->plain && n->length == 0)
        return "nothing";
    size_t shown = utf8_bytes(n->text, n->length, SHOWN_CHARACTERS);
    const char *quote = n->plain ? "" : "\"", *rest = shown < n->length ? "..." : "";
    return arena_printf(r->arena, "%s%.*s%s%s", quote, (int)shown, n->text, rest, quote);
}

static void problem_hinted(Reader *r, const Node *n, const char *path, const char *wanted, const char *hint)
{
    problem(r, n->at, "%s: %s is wanted, not %s%s%s", path, wanted, describe(r, n), *hint ? "; " : "", hint);
}

void problem_unwanted(Reader *r, const Node *n, const char *path, const char *wanted)
{
    problem_hinted(r, n, path, wanted, "");
}

/* Why a scalar that may look like a number to its writer is none. */
static const char *number_hint(const Node *n)
{
    Node bare = *n;
    bool whole;
    bare.plain = true;
    if (n->kind != NODE_SCALAR || is_number(n, &whole))
        return "";
    if (is_number(&bare, &whole))
        return "leave the quotes out";
    bool digit = n->text[0] >= '0' && n->text[0] <= '9';
    return digit && n->plain ? "write it in plain decimal digits" : "";
}

/* ---- numbers ---- */

int64_t parse_digits(const char **text, int64_t high)
{
    int64_t value = 0;
    size_t digits = count_digits(*text);
    for (size_t i = 0; i < digits && value <= high; i++) {
        int digit = (*text)[i] - '0';
        value = value > (high - digit) / 10 ? high + 1 : value * 10 + digit;
    }
    *text += digits;
    return value;
}

bool read_int(Reader *r, const Node *n, const char *path, int64_t low, int64_t high, Int *into)
{
    bool whole = false;
    bool good = is_number(n, &whole) && whole;
    int64_t value = 0;
    if (good) {
        const char *digits = n->text + (*n->text == '+' || *n->text == '-');
        value = parse_digits(&digits, high);
        good = *n->text == '-' ? value == 0 && low <= 0 : value >= low && value <= high;
    }
    *into = (Int){good ? value : 0, n->at};
    if (!good) {
        const char *wanted =
            arena_printf(r->arena, "an integer from %jd to %jd", (intmax_t)low, (intmax_t)high);
        problem_hinted(r, n, path, wanted, number_hint(n));
    }
    return good;
}

/* Whether no digit before the exponent is other than 0. */
static bool is_zero(const char *number)
{
    return strcspn(number, "123456789") >= strcspn(number, "eE");
}

const Range ANY = {-DBL_MAX, DBL_MAX, false, false, "a number"};
const Range POSITIVE = {0, DBL_MAX, true, false, "a number above 0"};
const Range NOT_NEGATIVE = {0, DBL_MAX, false, false, "a number of at least 0"};
const Range PROBABILITY = {0, 1, false, false, "a number from 0 to 1"};
const Range DECAY = {0, 1, false, true, "a number of at least 0 and below 1"};

static bool in_range(double value, const Range *range)
{
    bool low = range->above_low ? value > range->low : value >= range->low;
    bool high = range->below_high ? value < range->high : value <= range->high;
    return low && high;
}

bool read_real(Reader *r, const Node *n, const char *path, const Range *range, Real *into)
{
    bool whole = false;
    bool number = is_number(n, &whole);
    double value = number ? strtod(n->text, NULL) : 0;
    bool large = fabs(value) > (double)FLT_MAX;
    bool small = number && fabs(value) < (double)FLT_MIN && !is_zero(n->text);
    bool good = number && !large && !small && in_range(value, range);
    *into = (Real){good ? value : 0, n->at};
    if (!good) {
        const char *hint = large   ? "it is too large for a float32"
                           : small ? "it is too small for a float32"
                                   : number_hint(n);
        problem_hinted(r, n, path, range->wanted, hint);
    }
    return good;
}

bool read_reals(Reader *r, const Node *n, const char *path, int count, const Range *range, Real *into)
{
    if (n->kind != NODE_LIST || n->count != count) {
        const char *wanted = arena_printf(r->arena, "a list of %d number%s", count, count == 1 ? "" : "s");
        if (n->kind == NODE_LIST)
            problem(r, n->at, "%s: %s is wanted, not of %d", path, wanted, n->count);
        else
            problem_unwanted(r, n, path, wanted);
        return false;
    }
    bool good = true;
    int i = 0;
    for (const Node *item = n->first; item; item = item->next, i++)
        good &= read_real(r, item, arena_printf(r->arena, "%s[%d]", path, i), range, &into[i]);
    return good;
}

/* ---- words ---- */

/* "one, two or three" */
static const char *any_of(Arena *a, const char *const *words, int count)
{
    const char *text = words[0];
    for (int i = 1; i < count; i++)
        text = arena_printf(a, "%s%s%s", text, i + 1 < count ? ", " : " or ", words[i]);
    return text;
}

int read_one_of(Reader *r, const Node *n, const char *path, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (n->kind == NODE_SCALAR && node_is(n, words[i]))
            return i;
    problem_unwanted(r, n, path, any_of(r->arena, words, count));
    if (n->kind != NODE_SCALAR || n->at.source == r->source)
        return 0; /* in a spec there is the line to look at */
    Nearest nearest;
    nearest_begin(&nearest, n->text, strlen(n->text));
    for (int i = 0; i < count; i++)
        nearest_try(&nearest, words[i]);
    if (nearest.word)
        problem_note(r, (Mark){0}, "did you mean %s?", nearest.word);
    return 0;
}

void read_either(Reader *r, const Node *n, const char *path, const char *one, const char *other, bool *second)
{
    *second = read_one_of(r, n, path, (const char *const[]){one, other}, 2);
}

bool read_flag(Reader *r, const Node *n, const char *path, Flag *into)
{
    bool yes = n->kind == NODE_SCALAR && n->plain && node_is(n, "true");
    bool no = n->kind == NODE_SCALAR && n->plain && node_is(n, "false");
    *into = (Flag){yes, n->at};
    if (!yes && !no)
        problem_unwanted(r, n, path, "true or false");
    return yes || no;
}

bool read_text(Reader *r, const Node *n, const char *path, const char *wanted, Text *into)
{
    *into = (Text){is_text(n) ? n->text : "", n->at};
    if (!is_text(n))
        problem_unwanted(r, n, path, wanted);
    return is_text(n);
}

/* ---- lists ---- */

bool check_list(Reader *r, const Node *n, const char *path, const char *wanted)
{
    if (n->kind == NODE_LIST)
        return true;
    problem_unwanted(r, n, path, wanted);
    return false;
}

bool check_count(Reader *r, const Node *n, const char *path, int most)
{
    if (n->count > 0 && n->count <= most)
        return true;
    problem(r, n->at, "%s: a list of 1 to %d is wanted, not of %d", path, most, n->count);
    return false;
}
