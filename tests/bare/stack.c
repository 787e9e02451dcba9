/* stack.c: an application that paints the stack below it, calls the model, and looks how far the paint is
 * gone. */
#include "model.h"

static _Alignas(ALIGNMENT) float params[CONST(PARAMS)];
static _Alignas(ALIGNMENT) float state[CONST(STATE)];
static _Alignas(ALIGNMENT) unsigned char work[CONST(TRAIN_BYTES)];
static unsigned char picture[PIXELS];
static float f1[CONST(FEATURES)];

enum { PAINT = 0xa5, SEED = 1 };

_Static_assert((size_t)CONST(ENCODE_BYTES) <= (size_t)CONST(TRAIN_BYTES), "one work memory serves both");

static void encode(void)
{
    CALL(encode)(params, work, picture, f1);
}

static void put(void)
{
    for (int place = 0; place < CONST(BATCH); place++) {
        for (int i = 0; i < PIXELS; i++)
            picture[i] = (unsigned char)(i * (place + 3) ^ i >> 4);
        CALL(put)(work, place, picture, SEED, 0, (uint32_t)place);
    }
}

static void step(void)
{
    CALL(step)(params, state, work, SEED, 0, 1e-3f);
}

static unsigned char *stack_pointer(void)
{
    unsigned char *at;
#if defined __arm__
    __asm__ volatile("mov %0, sp" : "=r"(at));
#elif defined __riscv
    __asm__ volatile("mv %0, sp" : "=r"(at));
#endif
    return at;
}

/* The most bytes of stack that the call takes, beyond this function's own. */
__attribute__((noinline)) static uint32_t stack_of(void (*call)(void))
{
    unsigned char *const top = stack_pointer();
    volatile unsigned char *at;
    for (at = board_stack_end; at < top; at++)
        *at = PAINT;
    call();
    for (at = board_stack_end; at < top && *at == PAINT;)
        at++;
    return (uint32_t)(top - (unsigned char *)at);
}

static uint32_t report(const char *name, void (*call)(void))
{
    const uint64_t begun = board_instructions();
    call();
    const uint64_t instructions = board_instructions() - begun;
    const uint32_t bytes = stack_of(call);
    print(name);
    print(": ");
    print_count(bytes);
    print(" bytes of stack, ");
    print_count(instructions);
    print(" instructions\n");
    return bytes;
}

int main(void)
{
    CALL(init)(params, state, SEED);
    const uint32_t encode_bytes = report("encode", encode), put_bytes = report("put a batch", put);
    const uint32_t bytes[] = {encode_bytes, put_bytes, report("step", step)};
    const File stack = file_new("out", "stack");
    file_write(stack, bytes, sizeof bytes);
    file_close(stack);
    return 0;
}
