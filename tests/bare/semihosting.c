/* semihosting.c: board.h's files, words and end, by the calls that debuggers and emulators answer: a
 * breakpoint, its number in one register, a block of arguments in another. */
#include "board.h"

#include <stdbool.h>
#include <string.h>

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_SEEK = 0x0a,
    SYS_FLEN = 0x0c,
    SYS_EXIT_EXTENDED = 0x20,
};
enum { MODE_READ = 1, MODE_WRITE = 5 }; /* fopen's "rb" and "wb" */
enum { APPLICATION_EXIT = 0x20026 };    /* the reason for an end: it is done */
enum { NAME_MOST = 160, DIGITS_MOST = 24, DECIMALS = 6 };

/* Number and arguments are where they must be, and so is the answer. The three instructions of RISC-V's may
 * not lie across a page. */
__attribute__((naked, noinline, aligned(16))) static intptr_t
call(__attribute__((unused)) intptr_t number, __attribute__((unused)) const void *arguments)
{
#if defined __arm__
    __asm__ volatile("bkpt 0xab\nbx lr");
#elif defined __riscv
    __asm__ volatile(
        ".option push\n.option norvc\nslli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop\nret");
#endif
}

/* ---- words ---- */

void print(const char *text)
{
    call(SYS_WRITE0, text);
}

static char *digits_before(char *end, uint64_t number, int least)
{
    for (; number > 0 || least > 0; number /= 10, least--)
        *--end = (char)('0' + number % 10);
    return end;
}

void print_count(uint64_t number)
{
    char text[DIGITS_MOST] = "";
    print(digits_before(text + sizeof text - 1, number, 1));
}

/* As far as a count of millionths reaches. */
void print_real(double number)
{
    const double most = 1e12, million = 1e6;
    char text[DIGITS_MOST] = "";
    const double size = number < 0 ? -number : number;
    if (!(size < most)) {
        print(size >= most ? "(large)" : "(not a number)");
        return;
    }
    const uint64_t millionths = (uint64_t)(size * million + 0.5);
    print(number < 0 ? "-" : "");
    print_count(millionths / 1000000);
    print(".");
    print(digits_before(text + sizeof text - 1, millionths % 1000000, DECIMALS));
}

/* ---- the end ---- */

void board_exit(int status)
{
    call(SYS_EXIT_EXTENDED, (intptr_t[]){APPLICATION_EXIT, status});
    for (;;)
        ;
}

void board_fail(const char *what, const char *name)
{
    print("FAILED: ");
    print(what);
    print(" ");
    print(name);
    print("\n");
    board_exit(1);
}

/* ---- files ---- */

static File open_as(const char *folder, const char *name, int mode)
{
    char path[NAME_MOST];
    const size_t before = strlen(folder), length = strlen(name);
    if (before + 1 + length >= sizeof path)
        board_fail("too long a name:", name);
    memcpy(path, folder, before);
    path[before] = '/';
    memcpy(path + before + 1, name, length + 1);
    const intptr_t file = call(SYS_OPEN, (intptr_t[]){(intptr_t)path, mode, (intptr_t)(before + 1 + length)});
    if (file < 0)
        board_fail("cannot open", path);
    return (File)file;
}

File file_open(const char *folder, const char *name)
{
    return open_as(folder, name, MODE_READ);
}

File file_new(const char *folder, const char *name)
{
    return open_as(folder, name, MODE_WRITE);
}

/* Both calls return how many bytes were left over. */
void file_read(File file, void *to, size_t bytes)
{
    if (call(SYS_READ, (intptr_t[]){file, (intptr_t)to, (intptr_t)bytes}) != 0)
        board_fail("a file is too short,", "or cannot be read");
}

void file_write(File file, const void *from, size_t bytes)
{
    if (call(SYS_WRITE, (intptr_t[]){file, (intptr_t)from, (intptr_t)bytes}) != 0)
        board_fail("a file", "cannot be written");
}

void file_seek(File file, size_t at)
{
    if (call(SYS_SEEK, (intptr_t[]){file, (intptr_t)at}) != 0)
        board_fail("a place of a file", "cannot be reached");
}

size_t file_bytes(File file)
{
    const intptr_t bytes = call(SYS_FLEN, (intptr_t[]){file});
    if (bytes < 0)
        board_fail("a file's length", "is not known");
    return (size_t)bytes;
}

void file_close(File file)
{
    call(SYS_CLOSE, (intptr_t[]){file});
}
