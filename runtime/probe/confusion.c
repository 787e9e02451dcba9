/* confusion.c: RUN/probe.json: of the latest probes, how many test images of each class each head takes for
 * which, with the classes' names. The report reads it, so that a run that goes on keeps it. */
#include "runtime.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define JSMN_STATIC
#define JSMN_STRICT
#include <jsmn.h>

void confusion_add(Confusions *c, const char *head, int classes, const ProbeRows *test)
{
    size_t of = (size_t)classes;
    if (classes > CONFUSION_CLASSES || c->heads == PROBE_HEADS)
        return;
    uint32_t *count = calloc(of * of, sizeof *count);
    if (!count)
        return;
    for (uint32_t i = 0; i < test->count; i++)
        count[test->label[i] * of + test->guess[i]]++;
    c->classes = classes;
    c->head[c->heads] = head;
    c->count[c->heads++] = count;
}

void confusions_free(Confusions *c)
{
    for (int i = 0; i < c->heads; i++)
        free(c->count[i]);
    *c = (Confusions){0};
}

/* ---- writing ---- */

static void write_row(FILE *s, const uint32_t *count, int classes)
{
    fputc('[', s);
    for (int i = 0; i < classes; i++)
        fprintf(s, "%s%" PRIu32, i ? "," : "", count[i]);
    fputc(']', s);
}

static void write_head(FILE *s, const Confusions *c, int head)
{
    fputs("{\"head\":", s);
    json_text(s, c->head[head]);
    fputs(",\"confusion\":[", s);
    for (int i = 0; i < c->classes; i++) {
        fputs(i ? ",\n  " : "\n  ", s);
        write_row(s, c->count[head] + (size_t)i * (size_t)c->classes, c->classes);
    }
    fputs("]}", s);
}

bool confusions_write(const Confusions *c, const Dataset *test, const char *path, Fault *f)
{
    NewFile file;
    if (!file_create(&file, path, f))
        return false;
    FILE *s = file.stream;
    fprintf(s, "{\"step\":%" PRIu64 ",\n \"classes\":[", c->step);
    for (int i = 0; i < c->classes; i++) {
        fputs(i ? "," : "", s);
        json_text(s, test->class_name[i]);
    }
    fputs("],\n \"heads\":[", s);
    for (int i = 0; i < c->heads; i++) {
        fputs(i ? ",\n " : "", s);
        write_head(s, c, i);
    }
    fputs("]}\n", s);
    return file_commit(&file, f);
}

/* ---- reading ---- */

typedef struct {
    char *text;
    jsmntok_t *token;
    int tokens;
} Json;

static void json_free(Json *j)
{
    free(j->text);
    free(j->token);
}

/* The whole file, ended by a zero; NULL where it is none of ours by its size, or cannot be read. */
static char *read_text(const char *path)
{
    enum { MOST = 1 << 20 };
    struct stat status;
    Fault f;
    int descriptor = file_open_to_read(path, &f);
    if (descriptor < 0)
        return NULL;
    size_t size = fstat(descriptor, &status) == 0 && status.st_size <= MOST ? (size_t)status.st_size : 0;
    char *text = size ? calloc(size + 1, 1) : NULL;
    if (text && read(descriptor, text, size) != (ssize_t)size) {
        free(text);
        text = NULL;
    }
    close(descriptor);
    return text;
}

static bool json_read(Json *j, const char *path)
{
    jsmn_parser parser;
    *j = (Json){.text = read_text(path)};
    if (!j->text)
        return false;
    jsmn_init(&parser);
    int tokens = jsmn_parse(&parser, j->text, strlen(j->text), NULL, 0);
    if (tokens < 1 || !(j->token = calloc((size_t)tokens, sizeof *j->token)))
        return false;
    jsmn_init(&parser);
    j->tokens = jsmn_parse(&parser, j->text, strlen(j->text), j->token, (unsigned)tokens);
    return j->tokens == tokens;
}

static bool is_text(const Json *j, int token, const char *text)
{
    const jsmntok_t *t = &j->token[token];
    return t->type == JSMN_STRING && strlen(text) == (size_t)(t->end - t->start) &&
           strncmp(j->text + t->start, text, strlen(text)) == 0;
}

/* The token behind the value that `token` begins. */
static int behind(const Json *j, int token)
{
    int end = j->token[token].end;
    while (token < j->tokens && j->token[token].start < end)
        token++;
    return token;
}

/* Where the value of a key of the object begins; 0 where it is none, or has no such key. */
static int value_of(const Json *j, int object, const char *key)
{
    if (j->token[object].type != JSMN_OBJECT)
        return 0;
    for (int i = object + 1, end = behind(j, object); i + 1 < end; i = behind(j, i + 1))
        if (is_text(j, i, key))
            return i + 1;
    return 0;
}

static bool is_array(const Json *j, int token, int size)
{
    return token > 0 && j->token[token].type == JSMN_ARRAY && j->token[token].size == size;
}

static bool read_row(const Json *j, int row, int classes, uint32_t *count)
{
    if (!is_array(j, row, classes))
        return false;
    for (int i = 0; i < classes; i++)
        count[i] = (uint32_t)strtoul(j->text + j->token[row + 1 + i].start, NULL, 10);
    return behind(j, row) == row + 1 + classes; /* numbers alone */
}

static bool read_head(const Json *j, int head, Confusions *c)
{
    static const char *const known[] = {"linear", "knn"};
    const int name = value_of(j, head, "head"), rows = value_of(j, head, "confusion");
    const size_t classes = (size_t)c->classes;
    for (size_t k = 0; k < COUNT(known) && name > 0; k++)
        if (is_text(j, name, known[k]))
            c->head[c->heads] = known[k];
    if (!c->head[c->heads] || !is_array(j, rows, c->classes))
        return false;
    uint32_t *count = c->count[c->heads] = calloc(classes * classes, sizeof *count);
    if (!count)
        return false;
    c->heads++;
    for (int i = 0, row = rows + 1; i < c->classes; i++, row = behind(j, row))
        if (!read_row(j, row, c->classes, count + (size_t)i * classes))
            return false;
    return true;
}

static bool read_heads(const Json *j, Confusions *c)
{
    const int step = value_of(j, 0, "step"), classes = value_of(j, 0, "classes"),
              heads = value_of(j, 0, "heads");
    if (!step || !classes || !heads || j->token[classes].type != JSMN_ARRAY ||
        j->token[heads].type != JSMN_ARRAY)
        return false;
    c->step = strtoull(j->text + j->token[step].start, NULL, 10);
    c->classes = j->token[classes].size;
    if (c->classes < 1 || c->classes > CONFUSION_CLASSES || j->token[heads].size > PROBE_HEADS)
        return false;
    for (int i = 0, head = heads + 1; i < j->token[heads].size; i++, head = behind(j, head))
        if (!read_head(j, head, c))
            return false;
    return c->heads > 0;
}

bool confusions_read(Confusions *c, const char *path)
{
    Json j;
    *c = (Confusions){0};
    bool ok = json_read(&j, path) && read_heads(&j, c);
    json_free(&j);
    if (!ok)
        confusions_free(c);
    return ok;
}
