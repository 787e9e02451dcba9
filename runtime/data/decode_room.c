/* decode_room.c: the memory that pictures may take while they are decoded, all threads together.
 *
 * A program promises how much memory it takes at most, whatever pictures come. So each picture says first
 * what it will hold, and waits until so much of the room is free; one that needs more than the whole is
 * refused. Who comes first is served first, lest a large picture wait for ever. */
#include "runtime.h"

#include <pthread.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/mman.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    size_t allowed, least; /* bytes; least: whatever the data set's index takes */
    size_t whole, promised;
    size_t taken;
    uint64_t next, serving; /* tickets */
} room = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .freed = PTHREAD_COND_INITIALIZER,
          .allowed = SIZE_MAX,
          .whole = SIZE_MAX};

/* Large blocks go back to the system when they are freed. By itself glibc keeps, after the first, blocks of
 * up to 32 MiB in each thread's heap. */
static void return_large_blocks(void)
{
#ifdef __GLIBC__
    enum { LARGE = 128 << 10 };
    mallopt(M_MMAP_THRESHOLD, LARGE);
#endif
}

void decoding_allow(const AmdimModel *m)
{
    if (m->data_bytes == 0)
        return;
    return_large_blocks();
    room.allowed = room.whole = m->data_bytes;
    room.least = m->decoding_bytes;
    room.promised = m->peak_bytes;
}

void decoding_leave(size_t index_bytes)
{
    pthread_mutex_lock(&room.lock);
    if (room.whole != SIZE_MAX) {
        size_t rest = room.whole > index_bytes ? room.whole - index_bytes : 0;
        room.allowed = rest > room.least ? rest : room.least;
        pthread_cond_broadcast(&room.freed);
    }
    pthread_mutex_unlock(&room.lock);
}

bool decoding_take(size_t bytes, DecodingRoom *found)
{
    pthread_mutex_lock(&room.lock);
    uint64_t ticket = room.next++;
    while (ticket != room.serving ||
           (bytes <= room.allowed && (room.taken > room.allowed || bytes > room.allowed - room.taken)))
        pthread_cond_wait(&room.freed, &room.lock);
    room.serving++;
    *found = (DecodingRoom){room.allowed, room.promised};
    bool fits = bytes <= room.allowed;
    if (fits)
        room.taken += bytes;
    pthread_cond_broadcast(&room.freed);
    pthread_mutex_unlock(&room.lock);
    return fits;
}

void decoding_give(size_t bytes)
{
    pthread_mutex_lock(&room.lock);
    room.taken -= bytes;
    pthread_cond_broadcast(&room.freed);
    pthread_mutex_unlock(&room.lock);
}

void pages_give_back(void *memory, size_t keep, size_t used)
{
#ifdef MADV_DONTNEED
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)memory;
    const uintptr_t from = (begin + keep + page - 1) / page * page, to = (begin + used) / page * page;
    if (from < to)
        madvise((char *)memory + (from - begin), to - from, MADV_DONTNEED);
#else
    (void)memory, (void)keep, (void)used;
#endif
}
