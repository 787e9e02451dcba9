/* diag.c: what the compiler says when something is wrong.
 *
 *   specs/stl10.yaml:23:19: error: pair 1-to-6: the encoder has no 6x6 scale
 *      23 |   pairs: [1-to-5, 1-to-6]
 *         |                   ^~~~~~
 *
 * Marks hold bytes; the column printed, the caret and the tildes count characters, each one place wide. What
 * a file holds never reaches the terminal unfiltered: whatever is not printable is shown as `?`. */
#include "amdimc.h"
#include "support.h"
#include "utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SHOWN_CHARACTERS = 100, /* of a line */
    SHOWN_BEFORE = 60,      /* of them at most before the caret, where the line is longer */
    MESSAGE_BYTES = 2048,
    LINE_BYTES = 16 * 1024, /* with room for the names of two files */
};

typedef struct {
    const char *text;
    size_t length;
} Line;

/* The part of a line that is shown, as bytes [begin, end) of it. */
typedef struct {
    size_t begin, end;
} Window;

static const char *color(const Diagnostics *d, const char *escape)
{
    return d->color ? escape : "";
}

static void print_filtered(FILE *stream, const char *text, size_t length)
{
    uint32_t code;
    for (size_t at = 0, bytes; at < length; at += bytes) {
        bytes = utf8_next(text + at, length - at, &code);
        if (code == '\t' || utf8_printable(code))
            fwrite(text + at, 1, bytes, stream);
        else
            fputc('?', stream);
    }
}

static size_t break_bytes(const char *text, size_t left)
{
    if (left > 1 && text[0] == '\r' && text[1] == '\n')
        return 2;
    return left > 0 && (text[0] == '\n' || text[0] == '\r') ? 1 : 0;
}

/* Line `number` from 1; empty past the end of the text. */
static Line find_line(const Source *source, int number)
{
    const char *text = source->text;
    size_t at = 0, length = source->length;
    for (int line = 1; line < number && at < length;) {
        size_t ended = break_bytes(text + at, length - at);
        line += ended > 0;
        at += ended > 0 ? ended : 1;
    }
    size_t end = at;
    while (end < length && break_bytes(text + end, length - end) == 0)
        end++;
    return (Line){text + at, end - at};
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The mark's first byte in the line: at most one past the last. */
static size_t mark_begin(Line line, Mark at)
{
    return smaller(at.column > 0 ? (size_t)at.column - 1 : 0, line.length);
}

static Window choose_window(Line line, size_t mark)
{
    if (utf8_count(line.text, line.length) <= SHOWN_CHARACTERS)
        return (Window){0, line.length};
    size_t before = utf8_count(line.text, mark);
    size_t skipped = before > SHOWN_BEFORE ? before - SHOWN_BEFORE : 0;
    size_t begin = utf8_bytes(line.text, line.length, skipped);
    size_t shown = utf8_bytes(line.text + begin, line.length - begin, SHOWN_CHARACTERS);
    return (Window){begin, begin + shown};
}

/* As wide as the text before the caret: tabs stay tabs, so that both lines are indented alike. */
static void print_padding(FILE *stream, const char *text, size_t length)
{
    uint32_t code;
    for (size_t at = 0; at < length;) {
        at += utf8_next(text + at, length - at, &code);
        fputc(code == '\t' ? '\t' : ' ', stream);
    }
}

static void print_underline(FILE *stream, Line line, size_t begin, size_t end)
{
    size_t characters = utf8_count(line.text + begin, end > begin ? end - begin : 0);
    fputc('^', stream);
    for (size_t i = 1; i < characters; i++)
        fputc('~', stream);
}

static void print_source(const Diagnostics *d, Mark at)
{
    Line line = find_line(at.source, at.line);
    size_t begin = mark_begin(line, at);
    Window window = choose_window(line, begin);
    size_t length = at.length > 0 ? (size_t)at.length : 1;
    size_t end = smaller(begin + length, window.end);
    const char *before = window.begin > 0 ? "..." : "";

    fprintf(d->stream, "%5d | %s", at.line, before);
    print_filtered(d->stream, line.text + window.begin, window.end - window.begin);
    fprintf(d->stream, "%s\n      | ", window.end < line.length ? "..." : "");
    print_padding(d->stream, before, strlen(before));
    print_padding(d->stream, line.text + window.begin, begin - window.begin);
    fputs(color(d, "\033[1;32m"), d->stream);
    print_underline(d->stream, line, begin, end);
    fprintf(d->stream, "%s\n", color(d, "\033[0m"));
}

static void print_place(const Diagnostics *d, Mark at)
{
    Line line = find_line(at.source, at.line);
    size_t column = utf8_count(line.text, mark_begin(line, at)) + 1;
    print_filtered(d->stream, at.source->name, strlen(at.source->name));
    fprintf(d->stream, ":%d:%zu: ", at.line, column);
}

__attribute__((format(printf, 5, 0))) static void report(const Diagnostics *d, Mark at, const char *kind,
                                                         const char *escape, const char *format,
                                                         va_list values)
{
    char message[MESSAGE_BYTES];
    vsnprintf(message, sizeof message, format, values);
    fputs(color(d, "\033[1m"), d->stream);
    if (at.source)
        print_place(d, at);
    fprintf(d->stream, "%s%s: %s", color(d, escape), kind, color(d, "\033[0m"));
    print_filtered(d->stream, message, strlen(message));
    fputc('\n', d->stream);
    if (at.source)
        print_source(d, at);
}

void diag_error(Diagnostics *d, Mark at, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    report(d, at, "error", "\033[1;31m", format, values);
    va_end(values);
    d->errors++;
}

void diag_note(Diagnostics *d, Mark at, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    report(d, at, "note", "\033[1;36m", format, values);
    va_end(values);
}

void bug_at(const char *file, int line, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fprintf(stderr, "amdimc: bug at %s:%d: ", file, line);
    vfprintf(stderr, format, values);
    fprintf(stderr, "\nThis is a fault of amdimc, not of your spec: please report it with the spec.\n");
    va_end(values);
    abort();
}

/* ---- without a place ---- */

__attribute__((format(printf, 1, 0))) static void say_values(const char *format, va_list values)
{
    char text[LINE_BYTES];
    vsnprintf(text, sizeof text, format, values);
    text_printable(text);
    fprintf(stderr, "%s\n", text);
}

void say(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say_values(format, values);
    va_end(values);
}

void say_text(const char *text)
{
    for (size_t length; *text; text += length + (text[length] == '\n')) {
        length = strcspn(text, "\n");
        print_filtered(stderr, text, length);
        fputc('\n', stderr);
    }
}

bool build_failed(const char *path, const char *why)
{
    say("amdimc: error: %s: %s", path, why);
    return false;
}

void out_of_memory(void)
{
    static const char text[] =
        "amdimc: error: out of memory; close other programs, or raise the limit (ulimit -v)\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1); /* stdio may want memory */
    (void)written;
    exit(EXIT_FAILED);
}

bool system_failed(const char *path)
{
    if (errno == ENOMEM)
        out_of_memory();
    return build_failed(path, strerror(errno));
}

int usage_error(const char *who, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *command = strstr(who, ": "); /* amdimc: sweep */
    const size_t length = strlen(text);
    say("%s: %s%s `amdimc%s%s --help` lists what there is", who, text,
        length && text[length - 1] == '?' ? "" : ";", command ? " " : "", command ? command + 2 : "");
    return EXIT_USAGE;
}

/* ---- results ---- */

static bool write_all(int descriptor, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(descriptor, text, length);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            text += written;
            length -= (size_t)written;
        }
    }
    return true;
}

bool print_text(const char *text)
{
    bool written = write_all(STDOUT_FILENO, text, strlen(text));
    int error = errno;
    if (written && close(STDOUT_FILENO) == 0)
        return true;
    errno = written ? errno : error;
    return system_failed("standard output");
}
