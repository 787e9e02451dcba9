/* signals.c: what a run does when it is told to: save and end, or save and go on.
 *
 * Handlers only set flags, however often they come: `timeout` and batch systems send the same signal to the
 * program and to its group. Who wants the program gone at once repeats Ctrl-C after a second. SIGHUP stays
 * ignored where it is, as under nohup. SIGPIPE and SIGXFSZ are ignored: the run outlives the reader of its
 * progress lines, and a file that grows too large is a write that fails. */
#include "runtime.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { REQUEUE = 75, SIGNAL_EXIT = 128 };

/* Any thread may take a signal, and all of them ask. */
static atomic_int ending;
static atomic_bool saving, interrupted;
static atomic_uint interrupted_at; /* milliseconds of a clock, which may wrap around */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2, "handlers must not wait");

/* Only what may be called anywhere. */
static void take_interrupt(void)
{
    enum { MILLISECONDS = 1000, NANOSECONDS = 1000000 };
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    const unsigned now = (unsigned)time.tv_sec * MILLISECONDS + (unsigned)(time.tv_nsec / NANOSECONDS);
    if (!interrupted) {
        interrupted_at = now;
        interrupted = true;
        return;
    }
    if (now - interrupted_at >= MILLISECONDS)
        _exit(SIGNAL_EXIT + SIGINT);
}

static void remember(int signal_number)
{
    if (signal_number == SIGUSR1) {
        saving = true;
        return;
    }
    int none = 0;
    atomic_compare_exchange_strong(&ending, &none, signal_number);
    if (signal_number == SIGINT)
        take_interrupt();
}

static bool is_ignored(int signal_number)
{
    struct sigaction now;
    return sigaction(signal_number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

void signals_watch(void)
{
    static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    ending = 0;
    saving = interrupted = false;
    for (size_t i = 0; i < COUNT(watched); i++)
        if (watched[i] != SIGHUP || !is_ignored(SIGHUP))
            sigaction(watched[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

int signals_received(void)
{
    return ending;
}

void signals_follow(int signal_number)
{
    ending = signal_number;
}

bool signals_take_save(void)
{
    return atomic_exchange(&saving, false);
}

int exit_code(bool done)
{
    return done ? 0 : ending ? signals_exit_code() : 1;
}

int signals_exit_code(void)
{
    return ending == SIGUSR2 ? REQUEUE : SIGNAL_EXIT + ending;
}
