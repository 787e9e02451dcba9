/* riscv.c: how an application begins on a RISC-V processor in machine mode, and counts there. */
#include "board.h"

#include <string.h>

extern unsigned char data_begin[], data_end[], data_in_flash[], bss_begin[], bss_end[];
int main(void);

/* 64 bits in two registers, of which the lower may run over between the readings. */
uint64_t board_instructions(void)
{
    uint32_t high, low, again;
    do {
        __asm__ volatile("csrr %0, minstreth\ncsrr %1, minstret\ncsrr %2, minstreth"
                         : "=&r"(high), "=&r"(low), "=&r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

__attribute__((used)) static void begin(void)
{
    memcpy(data_begin, data_in_flash, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    board_exit(main());
}

__attribute__((used, aligned(4))) static void fault(void)
{
    board_fail("the processor faulted:", "no such memory or no such instruction");
}

/* The FPU is off at first: bits 13 and 14 of mstatus. */
__attribute__((naked, section(".vectors"), used)) void _start(void)
{
    __asm__ volatile("la sp, board_stack_top\n"
                     "la t0, fault\ncsrw mtvec, t0\n"
                     "li t0, 0x2000\ncsrs mstatus, t0\n"
                     "csrw fcsr, zero\n"
                     "j begin");
}
