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

static int run_into(int descriptor, RunCommand *command, const AmdimModel *m, const Options *o, Fault *f)
{
    int nowhere = open("/dev/null", O_WRONLY);
    int out = redirect(stdout, descriptor < 0 ? nowhere : descriptor), err = redirect(stderr, nowhere);
    int code = command(m, o, f);
    give_back(stdout, out);
    give_back(stderr, err);
    close(nowhere);
    return code;
}

int run_quietly(RunCommand *command, const AmdimModel *m, const Options *o, Fault *f)
{
    return run_into(-1, command, m, o, f);
}

int run_to_text(RunCommand *command, const AmdimModel *m, const Options *o, char **text, Fault *f)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int code = run_into(fileno(file), command, m, o, f);
    size_t count = (size_t)lseek(fileno(file), 0, SEEK_END);
    *text = calloc(count + 1, 1);
    assert_non_null(*text);
    rewind(file);
    assert_true(fread(*text, 1, count, file) == count);
    fclose(file);
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
