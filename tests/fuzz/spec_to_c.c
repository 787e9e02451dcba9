/* spec_to_c.c: any bytes at all, taken as a spec the whole way to C, without clang: for libFuzzer, and for
 * test_fuzz.c over the seeds.
 *
 * Beyond not crashing, hanging or leaking, what is held:
 *   - a spec is refused exactly where an error is shown, and every error and note is at a place that the file
 *     has, in printable text, a line each;
 *   - the same of reading it with values of the command line, which then are the spec's;
 *   - a spec that is accepted, written out key by key, reads back as the same spec;
 *   - the C, the Python and what --explain says are printable ASCII and newlines, whatever the spec's file is
 *     called.
 * Templates are read from templates/, so it runs from the project's root. */
#include "holds.h"
#include "spec_drawn.h"
#include "utf8.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is compiled to C; a larger net is only read and shaped. Sizes and widths are unbounded, as they cost
 * the compiler nothing. */
enum { RESIDUALS_COMPILED = 40, PAIRS_COMPILED = 8, CHANNELS_COMPILED = 64 };

/* Of a processor, for one input, before it is called a hang. */
enum { SECONDS_MOST = 20 };

#define NAME "spec.yaml"
/* What a file system allows as a name, though no person would write it. */
#define HOSTILE_NAME "a*/b/*c\"?\?/\\\x80\n\xE2\x80\xAE%s.yaml"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what is said ---- */

static size_t characters_of_line(const Source *s, int wanted)
{
    const char *at = s->text, *end = s->text + s->length;
    for (int line = 1; at < end && line < wanted; at++)
        line += *at == '\n' || (*at == '\r' && at[1] != '\n');
    size_t length = 0;
    while (at + length < end && at[length] != '\n' && at[length] != '\r')
        length++;
    return utf8_count(at, length);
}

static int lines_of(const Source *s)
{
    int lines = 1;
    for (size_t i = 0; i < s->length; i++)
        lines += s->text[i] == '\n' || (s->text[i] == '\r' && s->text[i + 1] != '\n');
    return lines;
}

/* `:LINE:COLUMN: ` behind the file's name; what follows it. */
static const char *check_place(const char *at, const Source *s)
{
    int line = 0, column = 0, length = 0;
    HOLDS(sscanf(at, ":%d:%d: %n", &line, &column, &length) == 2 && length > 0, "no place: %s", at);
    HOLDS(line >= 1 && line <= lines_of(s), "no such line: %s", at);
    HOLDS(column >= 1 && (size_t)column <= characters_of_line(s, line) + 1, "no such column: %s", at);
    return at + length;
}

/* One line of the diagnostics; returns whether it is an error. */
static bool check_line(const char *line, const Source *s)
{
    uint32_t code;
    for (size_t at = 0, length = strlen(line); at < length;) {
        at += utf8_next(line + at, length - at, &code);
        HOLDS(code == '\t' || utf8_printable(code), "not printable: %s", line);
    }
    size_t name = strlen(s->name);
    bool placed = strncmp(line, s->name, name) == 0;
    const char *message = placed ? check_place(line + name, s) : line;
    bool error = strncmp(message, "error: ", 7) == 0, note = strncmp(message, "note: ", 6) == 0;
    bool shown = !placed && strcspn(line, "|") >= 6 && strspn(line, " 0123456789") == strcspn(line, "|");
    HOLDS(error || note || shown, "neither error nor note nor a line of the file: %s", line);
    return error;
}

static void check_said(char *said, const Source *s, int errors)
{
    int counted = 0;
    for (char *line = said, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        HOLDS(end, "a line without an end: %s", line);
        *end = '\0';
        counted += check_line(line, s);
    }
    HOLDS(counted == errors, "%d errors counted, %d shown", errors, counted);
}

/* ---- what is accepted ---- */

static bool is_compiled(const Spec *s)
{
    int64_t residuals = 0;
    for (int i = 0; i < s->layers; i++)
        residuals += s->layer[i].depth.v;
    return residuals <= RESIDUALS_COMPILED && s->loss.pairs <= PAIRS_COMPILED &&
           s->input.channels.v <= CHANNELS_COMPILED;
}

static void check_round_trip(Arena *a, const Spec *s)
{
    char *text = spec_drawn(a, s);
    Diagnostics d = {.stream = stderr};
    Source again = {"again.yaml", text, strlen(text)};
    const Spec *read = spec_read(a, &d, &again, &(Overrides){0});
    HOLDS(read && spec_equal(a, s, read), "does not read back:\n%s", text);
}

static void check_plain(const char *what, const char *text)
{
    HOLDS(*text, "%s: nothing", what);
    for (const char *c = text; *c; c++)
        HOLDS(*c == '\n' || (*c >= ' ' && *c <= '~'), "%s: byte %02x in %.60s", what, (unsigned char)*c, c);
}

static void check_explained(Arena *a, const Program *p, const LibraryMemory *library,
                            void (*explain)(Arena *, const Program *, const LibraryMemory *, FILE *))
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    HOLDS(stream, "no memory");
    explain(a, p, library, stream);
    fclose(stream);
    check_plain("--explain", text);
    free(text);
}

static void check_compiled(Arena *a, Diagnostics *d, const Net *n)
{
    const Program *p = compile(a, d, n, NULL);
    HOLDS(!p == (d->errors > 0), "%d errors and %s program", d->errors, p ? "a" : "no");
    if (!p)
        return;
    n->spec->source->name = HOSTILE_NAME;
    check_plain("C", emit_model(a, p));
    check_plain("Python", emit_pytorch(a, n, "templates"));
    const LibraryMemory library = library_memory(a, &(Build){.cc = "clang"}, n);
    check_explained(a, p, &library, explain_text);
    check_explained(a, p, &library, explain_json);
    n->spec->source->name = NAME;
}

/* The command line's values go into the tree before anything is known to be right in it. */
static void check_overrides(Arena *a, Source *source)
{
    static const Overrides values = {.pairs = "1-to-3,5-to-5,1-to-1",
                                     .value[OVERRIDE_MARCH] = "x86-64",
                                     .value[OVERRIDE_BLAS] = "none",
                                     .value[OVERRIDE_MEMORY] = "64MiB",
                                     .value[OVERRIDE_BATCH] = "4",
                                     .value[OVERRIDE_THREADS] = "1"};
    char *said = NULL;
    size_t length = 0;
    Diagnostics d = {.stream = open_memstream(&said, &length)};
    HOLDS(d.stream, "no memory");
    const Spec *s = spec_read(a, &d, source, &values);
    HOLDS(!s == (d.errors > 0), "%d errors and %s spec with overrides", d.errors, s ? "a" : "no");
    HOLDS(!s || (s->batch.v == 4 && s->loss.pairs == 3 && s->target.memory.v == 64 << 20), "not overridden");
    fclose(d.stream);
    free(said);
}

/* ---- the whole ---- */

/* As a file, for that is how a spec comes. */
static Source *read_bytes(Arena *a, Diagnostics *d, const uint8_t *data, size_t size)
{
    int file = memfd_create("spec", 0);
    HOLDS(file >= 0 && write(file, data, size) == (ssize_t)size, "no file in memory");
    Source *source = source_read(a, d, arena_printf(a, "/proc/self/fd/%d", file));
    close(file);
    HOLDS(source, "cannot be read");
    source->name = NAME;
    return source;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    watch_time(SECONDS_MOST);
    char *said = NULL;
    size_t length = 0;
    Arena *a = arena_new();
    Diagnostics d = {.stream = open_memstream(&said, &length)};
    HOLDS(d.stream, "no memory");
    Source *source = read_bytes(a, &d, data, size);
    const Spec *s = spec_read(a, &d, source, &(Overrides){0});
    HOLDS(!s == (d.errors > 0), "%d errors and %s spec", d.errors, s ? "a" : "no");
    const Net *n = s ? net_build(a, &d, s) : NULL;
    HOLDS(!n == (d.errors > 0), "%d errors and %s net", d.errors, n ? "a" : "no");
    if (s && is_compiled(s))
        check_round_trip(a, s);
    if (n && is_compiled(s))
        check_compiled(a, &d, n);
    check_overrides(a, source);
    fclose(d.stream);
    check_said(said, source, d.errors);
    free(said);
    arena_free(a);
    watch_time(0);
    return 0;
}
