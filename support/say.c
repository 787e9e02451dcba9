/* say.c: lines for people. What they hold of others (names of files) is made printable on the way. */
#include "support.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((format(printf, 3, 0))) static void print_line(FILE *stream, const char *before,
                                                             const char *format, va_list arguments)
{
    enum { USUAL = 3 * 4096 }; /* a path and what is said of it */
    char text[USUAL], *whole = NULL;
    va_list again;
    va_copy(again, arguments);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    if (length >= USUAL && (whole = malloc((size_t)length + 1)))
        vsnprintf(whole, (size_t)length + 1, format, again);
    va_end(again);
    text_printable(whole ? whole : text);
    fprintf(stream, "%s%s\n", before, whole ? whole : text);
    free(whole);
}

void say_line(FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(stream, "", format, arguments);
    va_end(arguments);
}

void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(stderr, "note: ", format, arguments);
    va_end(arguments);
}

/* A process is quiet or not: what is passed through every function that may have something to tell would say
 * no more. */
static bool silent;

void progress_silence(void)
{
    silent = true;
}

bool progress_is_silent(void)
{
    return silent;
}

void say_written(const char *path, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!silent)
        print_line(file_is_output(path) ? stderr : stdout, "", format, arguments);
    va_end(arguments);
}

void say_progress(FILE *stream, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!silent)
        print_line(stream, "", format, arguments);
    va_end(arguments);
}
