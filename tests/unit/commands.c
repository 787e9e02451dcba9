/* commands.c: see commands.h. */
#include "commands.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* Sends a stream nowhere; returns a descriptor of where it went. */
static int silence(FILE *stream)
{
    fflush(stream);
    int before = dup(fileno(stream)), nowhere = open("/dev/null", O_WRONLY);
    assert_true(before >= 0 && nowhere >= 0);
    assert_true(dup2(nowhere, fileno(stream)) >= 0);
    close(nowhere);
    return before;
}

static void give_back(FILE *stream, int before)
{
    fflush(stream);
    assert_true(dup2(before, fileno(stream)) >= 0);
    close(before);
}

int run_quietly(RunCommand *command, const AmdimModel *m, const Options *o, Fault *f)
{
    int out = silence(stdout), err = silence(stderr);
    int code = command(m, o, f);
    give_back(stdout, out);
    give_back(stderr, err);
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
