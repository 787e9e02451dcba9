/* signals.c: SIGINT and SIGTERM ask the training loop to stop after the step under way.
 *
 * A handler is used up by its first signal: a second one of the same kind ends the program at once. SIGPIPE
 * is ignored, so that a run outlives the reader of its progress lines. */
#include "runtime.h"
#include <signal.h>

static volatile sig_atomic_t received;

static void remember(int signal_number)
{
    received = signal_number;
}

void signals_watch(void)
{
    struct sigaction action = {.sa_handler = remember, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigemptyset(&action.sa_mask);
    received = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int signals_received(void)
{
    return received;
}
