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

/* Paths may have PATH_MAX bytes, and there may be two of them. */
enum { LONGEST = 3 * 4096 };

static void set_text(Fault *f, const char *format, va_list arguments, int error)
{
    char text[LONGEST];
    int length = vsnprintf(text, sizeof text, format, arguments);
    size_t used = length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    if (error != 0)
        snprintf(text + used, sizeof text - used, ": %s", strerror(error));
    text_fit(f->text, sizeof f->text, text);
    text_printable(f->text);
    f->error = error;
}

bool fault(Fault *f, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_text(f, format, arguments, 0);
    va_end(arguments);
    return false;
}

bool fault_errno(Fault *f, const char *format, ...)
{
    const int error = errno;
    va_list arguments;
    va_start(arguments, format);
    set_text(f, format, arguments, error != 0 ? error : EIO);
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
    if (!memory) {
        fault(f, "out of memory: %.1f MiB for %s; free some, or make the batch smaller",
              (double)bytes / (1024 * 1024), what);
        f->error = ENOMEM;
    }
    return memory;
}

void *allocate_zero(size_t bytes, const char *what, Fault *f)
{
    void *memory = allocate(bytes, what, f);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}
