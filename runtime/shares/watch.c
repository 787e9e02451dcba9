/* watch.c: notices a process of the training that has died, or whose machine is gone, and ends this one.
 *
 * MPI leaves that to its launcher, which may be late, or gone itself. Here a thread of each process does
 * nothing but that, over connections of its own (links.c): those of a killed process are closed by its kernel
 * at once; of a lost machine, or a cut network, nothing is heard any more. Every process tells every two
 * seconds that it is there, however long its step takes. Process 0 hears all and passes on who is gone, so
 * that one name is given; a connection lost between two others, neither of which is process 0, is MPI's to
 * find.
 *
 * A process that is stopped (SIGSTOP, a debugger) for as long as SILENCE counts as gone: the others cannot
 * tell. One that was stopped itself, with the rest of its job or not, gives the others time anew.
 *
 * A process ends by _exit: the training thread waits inside MPI for who will never answer. Nothing is half
 * written then, as files appear whole. */
#include "shares_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const double BEAT = 2, SILENCE = 12, OVERSLEPT = 4; /* seconds */
enum { HOST = 64, STACK = 128 * 1024 };
/* Seconds from the line to the end where a machine is lost. Open MPI's launcher may be asked to find that out
 * by itself (docs/cluster.md), in about as long; if processes end first, it waits a quarter of an hour for
 * the lost machine to end its own. */
enum { LINGER = 7 };

/* What is said over a link. */
typedef enum { HERE = 1, PARTS, FAILS, GONE } Kind;
typedef struct {
    uint8_t kind;
    uint8_t code;     /* FAILS: its exit code */
    uint16_t process; /* GONE: which */
} Message;
_Static_assert(sizeof(Message) == sizeof((Link){.socket = 0}.bytes), "a link holds what has come of one");

static struct {
    Link *link;
    struct pollfd *poll; /* (links + 1), the last of which is `wake` */
    char *host;          /* (processes, HOST) */
    int links, process, wake;
    double beat, looked; /* when, by clock_seconds */
    pthread_t thread;
    bool runs;
    atomic_int last_word; /* what to say and end with: 0, PARTS or FAILS + 256 * the exit code */
    _Atomic int64_t kept; /* the step of the last checkpoint; -1 where nothing is kept */
} watch = {.wake = -1, .kept = -1};

/* ---- the end ---- */

static void append_advice(char *text, size_t size)
{
    const size_t used = strlen(text);
    const int64_t kept = watch.kept;
    if (kept > 0)
        snprintf(text + used, size - used,
                 "; the last good checkpoint is of step %" PRId64 ", and --resume goes on with it", kept);
    else if (kept == 0)
        snprintf(text + used, size - used, "; nothing of the run was saved before");
}

/* In one call, so that lines of several processes do not mix. */
static void say_gone(int process, const char *why)
{
    char text[512];
    snprintf(text, sizeof text, "error: rank %d on %s is gone: %s", process,
             watch.host + (size_t)process * HOST, why);
    append_advice(text, sizeof text - 1);
    text_printable(text);
    strcat(text, "\n");
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* there is nowhere else to say it */
}

static void tell(const Link *l, Message m)
{
    ssize_t sent = send(l->socket, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* where it cannot be sent, it is found out by reading */
}

static void tell_all(Message m)
{
    for (int i = 0; i < watch.links; i++)
        if (!watch.link[i].has_parted)
            tell(&watch.link[i], m);
}

/* Process 0 has said it before it passes it on; where that is what is gone, each says it. */
static _Noreturn void end_for(const Link *l, const char *why, unsigned linger)
{
    say_gone(l->process, why);
    while (linger > 0)
        linger = sleep(linger);
    tell_all((Message){.kind = GONE, .process = (uint16_t)l->process});
    _exit(1);
}

/* Who fails says why by itself. */
static _Noreturn void end_with(const Message *m)
{
    if (watch.process == 0)
        tell_all(*m);
    _exit(m->kind == FAILS ? m->code : 1);
}

/* ---- watching ---- */

static void hear(Link *l, const Message *m)
{
    if (m->kind == PARTS)
        l->has_parted = true;
    else if (m->kind == FAILS || m->kind == GONE)
        end_with(m);
}

/* False where nothing more is there now. */
static bool read_some(Link *l)
{
    const ssize_t n = recv(l->socket, l->bytes + l->filled, sizeof l->bytes - l->filled, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        if (!l->has_parted)
            end_for(l, "its process has ended", 0);
        l->is_closed = true;
        return false;
    }
    l->heard = clock_seconds();
    l->filled += (size_t)n;
    if (l->filled == sizeof l->bytes) {
        Message m;
        memcpy(&m, l->bytes, sizeof m);
        l->filled = 0;
        hear(l, &m);
    }
    return true;
}

static void look_for_silence(double now)
{
    for (int i = 0; i < watch.links; i++)
        if (!watch.link[i].has_parted && now - watch.link[i].heard > SILENCE)
            end_for(&watch.link[i], "nothing was heard of it for 12 seconds", LINGER);
}

static void grant_time(double now)
{
    for (int i = 0; i < watch.links; i++)
        watch.link[i].heard = now;
}

static void sleep_until_beat(void)
{
    enum { MILLISECONDS = 1000 };
    const double left = watch.beat - clock_seconds();
    for (int i = 0; i < watch.links; i++)
        watch.poll[i] =
            (struct pollfd){.fd = watch.link[i].is_closed ? -1 : watch.link[i].socket, .events = POLLIN};
    watch.poll[watch.links] = (struct pollfd){.fd = watch.wake, .events = POLLIN};
    (void)poll(watch.poll, (nfds_t)watch.links + 1, left > 0 ? (int)(left * MILLISECONDS) + 1 : 0);
}

static void look(void)
{
    sleep_until_beat();
    for (int i = 0; i < watch.links; i++)
        while (!watch.link[i].is_closed && read_some(&watch.link[i]))
            ;
    const double now = clock_seconds();
    if (now - watch.looked > OVERSLEPT)
        grant_time(now);
    watch.looked = now;
    look_for_silence(now);
    if (now >= watch.beat) {
        watch.beat = now + BEAT;
        tell_all((Message){.kind = HERE});
    }
}

static void *keep_watch(void *unused)
{
    (void)unused;
    int word;
    while ((word = watch.last_word) == 0)
        look();
    tell_all((Message){.kind = (uint8_t)(word & 255), .code = (uint8_t)(word >> 8)});
    return NULL;
}

/* ---- beginning and ending ---- */

/* Its signals are the training thread's. */
static bool start(Fault *f)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    watch.runs = pthread_create(&watch.thread, &attributes, keep_watch, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return watch.runs || fault(f, "no more threads can be started; ask for fewer with --threads");
}

static void free_all(void)
{
    links_close(watch.link, watch.links);
    if (watch.wake >= 0)
        close(watch.wake);
    free(watch.link);
    free(watch.poll);
    free(watch.host);
    watch.link = NULL;
    watch.poll = NULL;
    watch.host = NULL;
    watch.wake = -1;
    watch.links = 0;
}

static bool allocate_all(int processes, Fault *f)
{
    const size_t links = (size_t)watch.links;
    watch.link = allocate_zero(links * sizeof *watch.link, "the watch", f);
    watch.poll = allocate_zero((links + 1) * sizeof *watch.poll, "the watch", f);
    watch.host = allocate_zero((size_t)processes * HOST, "the watch", f);
    watch.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    for (size_t i = 0; watch.link != NULL && i < links; i++)
        watch.link[i].socket = -1;
    return watch.link != NULL && watch.poll != NULL && watch.host != NULL &&
           (watch.wake >= 0 || fault_errno(f, "cannot make what wakes the watch"));
}

static void gather_hosts(const AmdimWire *wire)
{
    char own[HOST] = "";
    gethostname(own, sizeof own - 1);
    wire->gather(own, watch.host, sizeof own);
}

bool watch_begin(const AmdimWire *wire, int process, int processes, Fault *f)
{
    watch.process = process;
    watch.links = process == 0 ? processes - 1 : 1;
    watch.last_word = 0;
    if (!allocate_all(processes, f)) {
        free_all();
        return false;
    }
    const bool made = links_make(wire, process, processes, watch.link, watch.host);
    if (!made) {
        if (process == 0)
            note("not every process can be reached by TCP: one that dies is noticed by MPI alone");
        free_all();
        return true;
    }
    gather_hosts(wire);
    watch.beat = watch.looked = clock_seconds();
    grant_time(watch.looked);
    if (start(f))
        return true;
    free_all();
    return false;
}

static void end_with_word(int word)
{
    const uint64_t one = 1;
    if (!watch.runs)
        return;
    watch.last_word = word;
    ssize_t written = write(watch.wake, &one, sizeof one);
    (void)written; /* else the thread wakes at its next beat */
    pthread_join(watch.thread, NULL);
    watch.runs = false;
    free_all();
}

void watch_part(void)
{
    end_with_word(PARTS);
}

void watch_fail(int code)
{
    end_with_word(FAILS + 256 * (code & 255));
}

void company_keeps(uint64_t step)
{
    watch.kept = (int64_t)step;
}
