/* board.h: what an application needs of a machine without an operating system: files and words through the
 * debugger's semihosting, an end, a count of instructions. Nothing here allocates. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Files of the debugger's folder. What goes wrong with them ends the application. */
typedef int File;
File file_open(const char *folder, const char *name); /* to read */
File file_new(const char *folder, const char *name);
void file_read(File file, void *to, size_t bytes); /* exactly so many */
void file_write(File file, const void *from, size_t bytes);
void file_seek(File file, size_t at);
size_t file_bytes(File file);
void file_close(File file);

void print(const char *text);
void print_count(uint64_t number);
void print_real(double number); /* six decimals */

/* Ends the application, and the emulator with this status. */
_Noreturn void board_exit(int status);
_Noreturn void board_fail(const char *what, const char *name);

/* Instructions since the start, as the emulator counts them where it is told to. */
uint64_t board_instructions(void);
/* Where the stack may grow down to. */
extern unsigned char board_stack_end[];

#endif
