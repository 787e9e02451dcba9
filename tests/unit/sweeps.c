#include "sweeps.h"

#include "commands.h"
#include "samples.h"
#include "shell.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[256];

const char *sweeps_begin(const char *arguments)
{
    snprintf(folder, sizeof folder, "%s", scratch_begin());
    quick_compiler();
    assert_int_equal(sweep_tiny(arguments, "whole"), 0);
    return folder;
}

int sweep_tiny(const char *arguments, const char *out)
{
    return shell("%s sweep specs/tiny.yaml --cc %s/cc --out %s/%s %s >%s/said 2>&1", amdimc_path(), folder,
                 folder, out, arguments, folder);
}

void plan_quietly(Sweep *s)
{
    int before = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    bool planned = plan_lists(s);
    dup2(before, STDERR_FILENO);
    close(before);
    close(nowhere);
    assert_true(planned);
}

char *read_scratch(const char *name)
{
    size_t count;
    return read_whole(scratch_path(name), &count);
}

void expect_in(const char *file, const char *what)
{
    char *text = read_scratch(file);
    if (!strstr(text, what))
        fail_msg("no \"%s\" in %s:\n%s", what, file, text);
    free(text);
}

void expect_not_in(const char *file, const char *what)
{
    char *text = read_scratch(file);
    if (strstr(text, what))
        fail_msg("\"%s\" in %s", what, file);
    free(text);
}
