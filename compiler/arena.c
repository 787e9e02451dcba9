/* arena.c: one owner for all that a compile makes.
 *
 * Blocks are only ever added; arena_free gives everything back at once. Memory comes zeroed and aligned for
 * any type. Running out of memory ends the compiler with a message: no caller has a way to go on. Nothing is
 * lost by that: files are written by NewFile, and what they shall hold is whole before they are begun. */
#include "amdimc.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024 };

typedef struct Block Block;
struct Block {
    Block *next;
    size_t used, capacity;
    _Alignas(max_align_t) unsigned char memory[];
};

struct Arena {
    Block *newest;
};

static void *zeroed_or_exit(size_t bytes)
{
    void *memory = bytes > 0 ? calloc(1, bytes) : NULL;
    if (!memory)
        out_of_memory();
    return memory;
}

static Block *add_block(Arena *a, size_t bytes)
{
    size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    size_t total = sizeof(Block) + capacity;
    Block *block = zeroed_or_exit(total > capacity ? total : 0);
    block->capacity = capacity;
    block->next = a->newest;
    a->newest = block;
    return block;
}

Arena *arena_new(void)
{
    return zeroed_or_exit(sizeof(Arena));
}

void arena_free(Arena *a)
{
    if (!a)
        return;
    for (Block *block = a->newest, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(a);
}

void *arena_zeroed(Arena *a, size_t bytes)
{
    size_t align = _Alignof(max_align_t);
    size_t padded = bytes > SIZE_MAX - align ? SIZE_MAX : (bytes + align - 1) / align * align;
    Block *block = a->newest;
    if (!block || block->capacity - block->used < padded)
        block = add_block(a, padded);
    void *memory = block->memory + block->used;
    block->used += padded;
    return memory;
}

char *arena_copy(Arena *a, const char *text, size_t length)
{
    char *copy = arena_zeroed(a, length + 1);
    if (length > 0)
        memcpy(copy, text, length);
    return copy;
}

char *arena_printf(Arena *a, const char *format, ...)
{
    va_list values, again;
    va_start(values, format);
    va_copy(again, values);
    int length = vsnprintf(NULL, 0, format, values);
    va_end(values);
    if (length < 0)
        bug("the format \"%s\" cannot be printed", format);
    char *text = arena_zeroed(a, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

/* What open_memstream makes forgets a byte for which there was no memory, and goes on as if it had it. */
static ssize_t text_stream_write(void *cookie, const char *bytes, size_t count)
{
    TextStream *t = cookie;
    if (count > t->capacity - t->length) {
        size_t capacity = 2 * t->capacity + count;
        char *larger = realloc(t->text, capacity);
        if (!larger) {
            t->failed = true;
            return 0; /* what a stream takes for a failure */
        }
        t->text = larger;
        t->capacity = capacity;
    }
    memcpy(t->text + t->length, bytes, count);
    t->length += count;
    return (ssize_t)count;
}

FILE *text_stream_open(TextStream *t)
{
    *t = (TextStream){0};
    t->stream = fopencookie(t, "w", (cookie_io_functions_t){.write = text_stream_write});
    if (!t->stream)
        out_of_memory();
    return t->stream;
}

char *text_stream_close(Arena *a, TextStream *t)
{
    bool whole = !ferror(t->stream);
    if (fclose(t->stream) || !whole || t->failed)
        out_of_memory();
    char *text = arena_copy(a, t->text, t->length);
    free(t->text);
    t->text = NULL;
    return text;
}
