/* cortex_m.c: how an application begins on a Cortex-M, and counts there.
 *
 * The stack lies at the memory's lowest addresses: what grows beyond it meets no memory, and faults. */
#include "board.h"

#include <string.h>

extern unsigned char board_stack_top[], data_begin[], data_end[], data_in_flash[], bss_begin[], bss_end[];
int main(void);

/* ---- registers of the processor ---- */

#define CPACR        (*(volatile uint32_t *)0xe000ed88) /* who may use coprocessors, the FPU among them */
#define SYST_CSR     (*(volatile uint32_t *)0xe000e010)
#define SYST_RVR     (*(volatile uint32_t *)0xe000e014)
#define SYST_CVR     (*(volatile uint32_t *)0xe000e018)
#define CPACR_FPU    (0xfu << 20)
#define SYST_ON      7u /* counts, by the processor's clock, with an interrupt at 0 */
#define SYST_LARGEST 0xffffffu

/* The boards' processors tick at 25 MHz, and with -icount shift=0 the emulator takes a nanosecond for an
 * instruction. */
enum { INSTRUCTIONS_A_TICK = 40 };

/* ---- counting ---- */

static volatile uint32_t rounds;

static void count_round(void)
{
    rounds++;
}

uint64_t board_instructions(void)
{
    uint32_t before, left;
    do {
        before = rounds;
        left = SYST_CVR;
    } while (before != rounds);
    return INSTRUCTIONS_A_TICK * (before * (SYST_LARGEST + UINT64_C(1)) + (SYST_LARGEST - left));
}

/* ---- the beginning ---- */

static void begin(void)
{
    CPACR |= CPACR_FPU;
    __asm__ volatile("dsb\nisb" ::: "memory");
    memcpy(data_begin, data_in_flash, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    SYST_RVR = SYST_LARGEST;
    SYST_CVR = 0;
    SYST_CSR = SYST_ON;
    board_exit(main());
}

__attribute__((used)) static void report_fault(void)
{
    board_fail("the processor faulted:", "no such memory, no such instruction, or no more stack");
}

/* The stack may be what is wrong. */
__attribute__((naked)) static void fault(void)
{
    __asm__ volatile("ldr r0, =board_stack_top\nmov sp, r0\nb report_fault");
}

typedef union {
    void *stack;
    void (*handler)(void);
} Vector;

__attribute__((section(".vectors"), used)) static const Vector vectors[] = {
    {.stack = board_stack_top},
    {.handler = begin},
    {.handler = fault},
    {.handler = fault},
    {.handler = fault},
    {.handler = fault},
    {.handler = fault},
    {0},
    {0},
    {0},
    {0},
    {.handler = fault},
    {.handler = fault},
    {0},
    {.handler = fault},
    {.handler = count_round},
};
