/* sweep_children.c: programs that run for the sweep, each in a process group of its own.
 *
 * Signals are waited for, not handled: nothing is interrupted, and none gets lost. One that asks to stop is
 * passed on once, as a program that is told twice ends without saving; whoever repeats it after a while means
 * just that. Where this process dies the children are told to stop, too, so that no run is ever trained by
 * two. */
#include "sweep.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const double SAME_WISH = 2; /* seconds in which a second signal says what the first did */

static bool is_ignored(int number)
{
    struct sigaction action;
    return !sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN;
}

void children_watch(Children *c)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    *c = (Children){0};
    sigemptyset(&c->watched);
    sigaddset(&c->watched, SIGCHLD);
    sigaddset(&c->watched, SIGTSTP);
    for (size_t i = 0; i < COUNT(stops); i++)
        if (!is_ignored(stops[i])) /* as SIGHUP is under nohup */
            sigaddset(&c->watched, stops[i]);
    sigprocmask(SIG_BLOCK, &c->watched, &c->before);
}

/* In the child: never returns. */
_Noreturn static void become(const Children *c, const char *const *argv, int log, pid_t parent)
{
    int nothing = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    sigprocmask(SIG_SETMASK, &c->before, NULL);
    execvp(argv[0], (char *const *)argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

pid_t children_start(Children *c, const char *const *argv, const char *log)
{
    if (c->count == CHILDREN)
        bug("more than %d children at once", CHILDREN);
    pid_t parent = getpid();
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (out < 0) {
        build_failed(log, strerror(errno));
        return -1;
    }
    pid_t child = fork();
    if (!child)
        become(c, argv, out, parent);
    if (child < 0)
        build_failed(argv[0], strerror(errno));
    else
        setpgid(child, child); /* the child does so, too: whoever comes first */
    close(out);
    if (child > 0)
        c->child[c->count++] = child;
    return child;
}

static void tell_all(const Children *c, int signal_number)
{
    for (int i = 0; i < c->count; i++)
        kill(-c->child[i], signal_number);
}

static void pass_on(Children *c, int signal_number)
{
    double now = clock_seconds();
    if (!c->signal)
        c->signal = signal_number;
    else if (now - c->asked < SAME_WISH)
        return;
    c->asked = now;
    tell_all(c, signal_number);
}

static void forget(Children *c, pid_t child)
{
    for (int i = 0; i < c->count; i++)
        if (c->child[i] == child)
            c->child[i--] = c->child[--c->count];
}

Ended children_next(Children *c)
{
    for (;;) {
        struct rusage usage;
        Ended e = {0};
        e.child = wait4(-1, &e.status, WNOHANG, &usage);
        if (e.child > 0) {
            e.peak_bytes = (size_t)usage.ru_maxrss * 1024;
            forget(c, e.child);
            return e;
        }
        if (e.child < 0)
            bug("waiting for a child without one");
        int got = sigwaitinfo(&c->watched, NULL);
        if (got == SIGTSTP) { /* Ctrl-Z stops all of us */
            tell_all(c, SIGSTOP);
            raise(SIGSTOP);
            tell_all(c, SIGCONT);
        } else if (got > 0 && got != SIGCHLD) {
            pass_on(c, got);
        }
    }
}

bool child_succeeded(const Ended *e)
{
    return WIFEXITED(e->status) && WEXITSTATUS(e->status) == 0;
}

const char *child_failure(Arena *a, const Ended *e, const char *log)
{
    if (WIFSIGNALED(e->status))
        return arena_printf(a, "was killed by signal %d (%s)", WTERMSIG(e->status),
                            strsignal(WTERMSIG(e->status)));
    return arena_printf(a, "failed: %s", last_line(a, log));
}
