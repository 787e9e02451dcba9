/* shell.c: see shell.h. */
#include "shell.h"
#include "processor.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

int shell(const char *format, ...)
{
    char command[4096], logged[6000];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_in_range(length, 1, sizeof command - 1);
    snprintf(logged, sizeof logged, "{ %s; } >>%s 2>&1", command, scratch_path("log"));
    int status = system(logged);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

const char *find_python(const char *module)
{
    const char *candidates[] = {getenv("PYTHON"), "python3", "/usr/bin/python3"};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (candidates[i] && !shell("%s -c 'import %s'", candidates[i], module))
            return candidates[i];
    return NULL;
}

const char *wanted(const char *python)
{
    if (!python) {
        print_message("no such Python here\n");
        skip();
    }
    return python;
}

const char *amdimc_path(void)
{
    static char path[512];
    const char *build = getenv("BUILD");
    snprintf(path, sizeof path, "%s/amdimc", build && *build ? build : "build");
    return path;
}

const char *march_by_vectors(void)
{
    return processor_permits_tiles() ? "x86-64-v3" : "native";
}

const char *compiler_with(const char *commands, const char *options)
{
    static char path[512];
    char text[2048];
    int length =
        snprintf(text, sizeof text, "#!/bin/sh\n%s\nexec ${AMDIMC_CC:-clang} \"$@\" %s\n", commands, options);
    assert_in_range(length, 1, sizeof text - 1);
    scratch_write("cc", text, (size_t)length);
    snprintf(path, sizeof path, "%s", scratch_path("cc"));
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

const char *quick_compiler(void)
{
    return compiler_with("", "-O1");
}
