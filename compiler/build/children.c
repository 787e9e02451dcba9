/* children.c: programs that run for this one, each in a process group of its own.
 *
 * Signals are waited for, not handled: nothing is interrupted, and none gets lost. One that asks to stop is
 * passed on once, as a program that is told twice ends without saving; whoever repeats it after a while means
 * just that.
 *
 * Where this process dies, by whatever, what it started ends, too. A program is told to stop and saves. Where
 * we give up ourselves it is waited for, as the next command may want the same files. A compiler runs others,
 * which would not hear of it: between it and us stands a copy of this process that does nothing but wait for
 * either to end, and then kills the whole group. So it is with a command that runs the program (`nice`,
 * `srun`), but for the way to end: the group is told to stop, once, and waited for. */
#include "build.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const double SAME_WISH = 2; /* seconds in which a second signal says what the first did */
static const int ENDS_WITHIN = 2;  /* seconds that a compiler has to end in */
static const int SAVED_WITHIN =
    60; /* that programs have to save in, once the command that ran them is gone */

static Children *busy; /* those of which one runs, or NULL */

static bool is_ignored(int number)
{
    struct sigaction action;
    return !sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN;
}

void children_watch(Children *c)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    static bool ends;
    if (!ends)
        ends = atexit(children_end) == 0;
    *c = (Children){0};
    signal(SIGCHLD, SIG_DFL); /* where it was ignored, nobody would be told of an end */
    sigemptyset(&c->watched);
    sigaddset(&c->watched, SIGCHLD);
    sigaddset(&c->watched, SIGTSTP);
    for (size_t i = 0; i < COUNT(stops); i++)
        if (!is_ignored(stops[i])) /* as SIGHUP is under nohup */
            sigaddset(&c->watched, stops[i]);
    sigprocmask(SIG_BLOCK, &c->watched, &c->before);
}

void children_leave(Children *c)
{
    sigprocmask(SIG_SETMASK, &c->before, NULL);
    if (c->signal)
        raise(c->signal);
}

/* ---- in the child: these never return ---- */

_Noreturn static void become(const Children *c, const Child *child)
{
    sigprocmask(SIG_SETMASK, &c->before, NULL);
    signal(SIGPIPE, SIG_DFL); /* which a sweep ignores */
    execvp(child->argv[0], (char *const *)child->argv);
    int error = errno;
    if (!child->is_compiler) /* of which it is said */
        dprintf(STDERR_FILENO, "%s: %s\n", child->argv[0], strerror(error));
    _exit(error == ENOENT ? NOT_FOUND : NOT_RUN);
}

_Noreturn static void wait_for(pid_t child, const char *made, const sigset_t *either)
{
    for (;;) {
        int status = 0;
        if (waitpid(child, &status, WNOHANG) == child)
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status));
        if (sigwaitinfo(either, NULL) == SIGUSR1) {
            kill(child, SIGKILL);
            if (made)
                unlink(made);
            kill(0, SIGKILL);
        }
    }
}

_Noreturn static void supervise(const Children *c, const Child *child, pid_t parent)
{
    sigset_t either;
    sigemptyset(&either);
    sigaddset(&either, SIGCHLD);
    sigaddset(&either, SIGUSR1);
    sigprocmask(SIG_BLOCK, &either, NULL);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
    pid_t compiler = fork();
    if (!compiler)
        become(c, child);
    if (compiler < 0)
        _exit(EXIT_FAILED);
    wait_for(compiler, child->made, &either);
}

/* ---- a command that runs a program ---- */

/* What its keeper knows. */
typedef struct {
    pid_t command;
    int status;      /* the command's, once it has ended */
    bool ended;      /* the command has; what it started may not */
    bool told;       /* all have been told to end */
    double deadline; /* when what is left is killed; 0: never */
} Keeper;

/* Once: a program that is told twice ends without saving. We are of the group and block it. */
static void tell_group(Keeper *k)
{
    if (!k->told)
        kill(0, SIGTERM);
    k->told = true;
    if (!(k->deadline > 0))
        k->deadline = clock_seconds() + SAVED_WITHIN;
}

/* Whether anything of the group but us is left. Those whose parents have gone are ours
 * (PR_SET_CHILD_SUBREAPER); what has left the group, a connection that ssh keeps, say, is not waited for. */
static bool group_is_left(Keeper *k)
{
    int status;
    for (pid_t ended; (ended = waitpid(0, &status, WNOHANG)) != 0;) {
        if (ended < 0 && errno != EINTR)
            return false;
        if (ended == k->command) {
            k->ended = true;
            k->status = status;
        }
    }
    return true;
}

/* What asks to end comes before what tells of an end: signals of lower numbers are handed out first. */
static void take_signals(Keeper *k, const sigset_t *watched)
{
    const struct timespec patience = {.tv_sec = 1}, none = {0};
    for (int got = sigtimedwait(watched, NULL, &patience); got > 0; got = sigtimedwait(watched, NULL, &none))
        if (got == SIGUSR1)
            tell_group(k); /* our parent is gone */
        else if (got != SIGCHLD)
            k->told = true; /* by our parent, as was the whole group */
}

_Noreturn static void keep(Keeper *k, const sigset_t *watched)
{
    while (group_is_left(k)) {
        take_signals(k, watched);
        if (k->ended)
            tell_group(k);
        if (k->deadline > 0 && clock_seconds() > k->deadline)
            kill(0, SIGKILL);
    }
    _exit(WIFEXITED(k->status) ? WEXITSTATUS(k->status) : EXIT_SIGNAL + WTERMSIG(k->status));
}

_Noreturn static void keep_command(const Children *c, const Child *child, pid_t parent)
{
    static const int watched[] = {SIGCHLD, SIGUSR1, SIGTERM, SIGINT, SIGHUP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT(watched); i++)
        sigaddset(&set, watched[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
    pid_t keeper = getpid();
    Keeper k = {.command = fork()};
    if (!k.command) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != keeper)
            _exit(EXIT_FAILED);
        become(c, child);
    }
    if (k.command < 0)
        _exit(EXIT_FAILED);
    keep(&k, &set);
}

_Noreturn static void begin(const Children *c, const Child *child, int in, int out, pid_t parent)
{
    setpgid(0, 0);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    if (child->is_compiler)
        supervise(c, child, parent);
    if (child->is_wrapped)
        keep_command(c, child, parent);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
    become(c, child);
}

/* ---- starting it ---- */

/* What a pipe holds at once is written before anybody reads. */
static int open_input(const char *text)
{
    int end[2];
    if (!text)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (pipe2(end, O_CLOEXEC))
        return -1;
    bool good = write(end[1], text, strlen(text)) == (ssize_t)strlen(text);
    close(end[1]);
    if (good)
        return end[0];
    close(end[0]);
    return -1;
}

static pid_t start(const Children *c, const Child *child, int in, int out)
{
    pid_t parent = getpid(), started = fork();
    if (!started)
        begin(c, child, in, out, parent);
    if (started < 0)
        system_failed(child->argv[0]);
    else
        setpgid(started, started); /* the child does so, too: whoever comes first */
    return started;
}

pid_t children_start(Children *c, const Child *child)
{
    if (c->count == CHILDREN)
        bug("more than %d children at once", CHILDREN);
    int in = open_input(child->input);
    int out = open(child->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    pid_t started = -1;
    if (in < 0 || out < 0)
        system_failed(out < 0 ? child->log : child->argv[0]);
    else
        started = start(c, child, in, out);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    if (started > 0) {
        c->is_compiler[c->count] = child->is_compiler;
        c->child[c->count++] = started;
        busy = c;
    }
    return started;
}

/* ---- waiting for it ---- */

void children_tell(Children *c, int signal_number)
{
    c->told |= signal_number == SIGTERM;
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
    children_tell(c, signal_number);
}

/* What a compiler has left running goes with it. False of a child that is none of these: whoever was here
 * before us in this process may have started some, and the first process of a container gets everybody's. */
static bool forget(Children *c, pid_t child)
{
    for (int i = 0; i < c->count; i++)
        if (c->child[i] == child) {
            if (c->is_compiler[i])
                kill(-child, SIGKILL);
            c->count--;
            c->is_compiler[i] = c->is_compiler[c->count];
            c->child[i] = c->child[c->count];
            if (!c->count)
                busy = NULL;
            return true;
        }
    return false;
}

static void kill_compilers(const Children *c)
{
    for (int i = 0; i < c->count; i++)
        if (c->is_compiler[i])
            kill(-c->child[i], SIGKILL);
}

/* The next signal; after one that asks to stop, compilers are not waited for long. */
static int next_signal(const Children *c)
{
    const struct timespec patience = {.tv_sec = ENDS_WITHIN};
    if (!c->signal)
        return sigwaitinfo(&c->watched, NULL);
    int got = sigtimedwait(&c->watched, NULL, &patience);
    if (got < 0 && errno == EAGAIN)
        kill_compilers(c);
    return got;
}

Ended children_next(Children *c)
{
    for (;;) {
        struct rusage usage;
        Ended e = {0};
        e.child = wait4(-1, &e.status, WNOHANG, &usage);
        if (e.child > 0 && !forget(c, e.child))
            continue;
        if (e.child > 0) {
            e.peak_bytes = (size_t)usage.ru_maxrss * 1024;
            return e;
        }
        if (e.child < 0)
            bug("waiting for a child without one");
        int got = next_signal(c);
        if (got == SIGTSTP) { /* Ctrl-Z stops all of us */
            children_tell(c, SIGSTOP);
            raise(SIGSTOP);
            children_tell(c, SIGCONT);
        } else if (got > 0 && got != SIGCHLD) {
            pass_on(c, got);
        }
    }
}

void children_end(void)
{
    if (busy && !busy->signal && !busy->told)
        pass_on(busy, SIGTERM);
    while (busy)
        children_next(busy);
}

bool child_succeeded(const Ended *e)
{
    return WIFEXITED(e->status) && WEXITSTATUS(e->status) == 0;
}
