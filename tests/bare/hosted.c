/* hosted.c: board.h on a machine with an operating system, so that an application can be held against itself.
 */
#include "board.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILES_MOST = 16, PATH_MOST = 512 };

static FILE *files[FILES_MOST];
unsigned char board_stack_end[1];

static File open_as(const char *folder, const char *name, const char *mode)
{
    char path[PATH_MOST];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (File file = 0; file < FILES_MOST; file++)
        if (!files[file]) {
            files[file] = fopen(path, mode);
            if (!files[file])
                board_fail("cannot open", path);
            return file;
        }
    board_fail("too many files:", path);
}

File file_open(const char *folder, const char *name)
{
    return open_as(folder, name, "rb");
}

File file_new(const char *folder, const char *name)
{
    return open_as(folder, name, "wb");
}

void file_read(File file, void *to, size_t bytes)
{
    if (fread(to, 1, bytes, files[file]) != bytes)
        board_fail("a file is too short,", "or cannot be read");
}

void file_write(File file, const void *from, size_t bytes)
{
    if (fwrite(from, 1, bytes, files[file]) != bytes)
        board_fail("a file", "cannot be written");
}

void file_seek(File file, size_t at)
{
    if (fseek(files[file], (long)at, SEEK_SET))
        board_fail("a place of a file", "cannot be reached");
}

size_t file_bytes(File file)
{
    const long at = ftell(files[file]);
    fseek(files[file], 0, SEEK_END);
    const long bytes = ftell(files[file]);
    fseek(files[file], at, SEEK_SET);
    return (size_t)bytes;
}

void file_close(File file)
{
    if (fclose(files[file]))
        board_fail("a file", "cannot be written");
    files[file] = NULL;
}

void print(const char *text)
{
    fputs(text, stdout);
}

void print_count(uint64_t number)
{
    printf("%llu", (unsigned long long)number);
}

void print_real(double number)
{
    printf("%f", number);
}

void board_exit(int status)
{
    exit(status);
}

void board_fail(const char *what, const char *name)
{
    fprintf(stderr, "FAILED: %s %s\n", what, name);
    exit(1);
}

/* Nobody counts here. */
uint64_t board_instructions(void)
{
    return 0;
}
