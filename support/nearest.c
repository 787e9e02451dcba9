/* nearest.c: which word was meant by one that is not there: an option, a command, a key, one of a few values.
 */
#include "support.h"

#include <string.h>

enum { WORD_LIMIT = 32, LETTERS_ALIKE = 5 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, removals, replacements and swaps of neighbours that turn one word into the other. */
static size_t edit_distance(const char *a, size_t rows, const char *b, size_t columns)
{
    size_t d[WORD_LIMIT + 1][WORD_LIMIT + 1];
    for (size_t i = 0; i <= rows; i++) {
        for (size_t j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            d[i][j] = least(d[i - 1][j], d[i][j - 1]) + 1;
            d[i][j] = least(d[i][j], d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (swapped)
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[rows][columns];
}

void nearest_begin(Nearest *n, const char *typed, size_t length)
{
    size_t dashes = 0;
    while (dashes < length && typed[dashes] == '-')
        dashes++;
    *n = (Nearest){.typed = typed + dashes, .length = length - dashes};
    n->distance = n->length / 3 > 1 ? n->length / 3 : 1;
}

/* -e of --epochs, --checkpoint of --checkpoint-every, --batch-size of --batch, --output of -o, augmentation
 * of augment. */
static bool begins(const Nearest *n, const char *word, size_t length)
{
    if (n->length < length)
        return strncmp(n->typed, word, n->length) == 0;
    return strncmp(n->typed, word, length) == 0 &&
           (length == 1 || n->typed[length] == '-' || length >= LETTERS_ALIKE);
}

void nearest_try(Nearest *n, const char *word)
{
    const char *bare = word + strspn(word, "-");
    const size_t length = strlen(bare);
    if (length == 0 || n->length == 0 || length > WORD_LIMIT || n->length > WORD_LIMIT)
        return;
    const size_t distance = edit_distance(n->typed, n->length, bare, length);
    const bool is_near = distance <= n->distance && distance < n->length;
    if (is_near ? n->word == NULL || n->begun || distance < n->distance
                : n->word == NULL && begins(n, bare, length)) {
        n->word = word;
        n->begun = !is_near;
        if (is_near)
            n->distance = distance;
    }
}
