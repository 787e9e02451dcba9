/* signals.c: SIGINT, SIGTERM and SIGHUP ask the training loop to stop after the step under way.
 *
 * A handler is used up by its first signal: a second one of the same kind ends the program at once. SIGHUP
 * stays ignored where it is, as under nohup. SIGPIPE is ignored, so that a run outlives the reader of its
 * progress lines. */
#include "runtime.h"
#include <signal.h>

static volatile sig_atomic_t received;

static void remember(int signal_number)
{
    received = signal_number;
}

void signals_watch(void)
{
    struct sigaction hangup, action = {.sa_handler = remember, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigemptyset(&action.sa_mask);
    received = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int signals_received(void)
{
    return received;
}
