/* commands.c: see commands.h. */
#include "commands.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* Sends a stream elsewhere; returns a descriptor of where it went. */
static int redirect(FILE *stream, int elsewhere)
{
    fflush(stream);
    int before = dup(fileno(stream));
    assert_true(before >= 0 && elsewhere >= 0);
    assert_true(dup2(elsewhere, fileno(stream)) >= 0);
    return before;
}

static void give_back(FILE *stream, int before)
{
    fflush(stream);
    assert_true(dup2(before, fileno(stream)) >= 0);
    close(before);
}

/* -1 is nowhere. */
static int run_into(int to_out, int to_err, RunCommand *command, const AmdimModel *m, const Options *o,
                    Fault *f)
{
    int nowhere = open("/dev/null", O_WRONLY);
    int out = redirect(stdout, to_out < 0 ? nowhere : to_out),
        err = redirect(stderr, to_err < 0 ? nowhere : to_err);
    int code = command(m, o, f);
    give_back(stdout, out);
    give_back(stderr, err);
    close(nowhere);
    return code;
}

int run_quietly(RunCommand *command, const AmdimModel *m, const Options *o, Fault *f)
{
    return run_into(-1, -1, command, m, o, f);
}

/* What was written to a file, by malloc; the file is gone. */
static char *take_text(FILE *file)
{
    size_t count = (size_t)lseek(fileno(file), 0, SEEK_END);
    char *text = calloc(count + 1, 1);
    assert_non_null(text);
    rewind(file);
    assert_true(fread(text, 1, count, file) == count);
    fclose(file);
    return text;
}

int run_to_text(RunCommand *command, const AmdimModel *m, const Options *o, char **text, Fault *f)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int code = run_into(fileno(file), -1, command, m, o, f);
    *text = take_text(file);
    return code;
}

int run_saying(RunCommand *command, const AmdimModel *m, const Options *o, char **said, Fault *f)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int code = run_into(-1, fileno(file), command, m, o, f);
    *said = take_text(file);
    return code;
}

Options no_options(const AmdimModel *m)
{
    return (Options){.epochs = -1,
                     .steps = -1,
                     .limit = -1,
                     .count = -1,
                     .threads = m->threads,
                     .head = "linear",
                     .split = "test"};
}

char *read_whole(const char *path, size_t *count)
{
    char *text = NULL;
    FILE *stream = fopen(path, "rb");
    if (!stream)
        fail_msg("%s cannot be read", path);
    FILE *memory = open_memstream(&text, count);
    for (int c; (c = fgetc(stream)) != EOF;)
        fputc(c, memory);
    fclose(stream);
    assert_int_equal(fclose(memory), 0);
    return text;
}
