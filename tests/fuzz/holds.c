/* holds.c: see holds.h. */
#include "holds.h"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

_Noreturn static void hangs(int number)
{
    static const char words[] = "hangs: too long a time of a processor\n";
    (void)number;
    (void)!write(STDERR_FILENO, words, sizeof words - 1);
    abort();
}

void watch_time(long seconds)
{
    signal(SIGVTALRM, hangs);
    HOLDS(!setitimer(ITIMER_VIRTUAL, &(struct itimerval){.it_value = {.tv_sec = seconds}}, NULL), "no timer");
}
