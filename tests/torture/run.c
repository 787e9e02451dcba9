/* run.c: see torture.h. */
#include "torture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 40, HANG_SECONDS = 60 };

void place_make(Place *p, const char *folder)
{
    mkdir(folder, 0777);
    snprintf(p->here, sizeof p->here, "%s/here", folder);
    snprintf(p->said, sizeof p->said, "%s/said", folder);
    snprintf(p->printed, sizeof p->printed, "%s/printed", folder);
    snprintf(p->counts, sizeof p->counts, "%s/counts", folder);
    mkdir(p->here, 0777);
}

static void zero_counts(const Place *p)
{
    static const char zeros[sizeof(Counts)];
    int file = open(p->counts, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0 || write(file, zeros, sizeof zeros) != (ssize_t)sizeof zeros)
        abort();
    close(file);
}

void place_counts(const Place *p, Counts *out)
{
    int file = open(p->counts, O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, out, sizeof *out) != (ssize_t)sizeof *out)
        abort();
    close(file);
}

static void send_to(int stream, const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0 || dup2(file, stream) < 0)
        _exit(99);
    close(file);
}

/* A group of its own, which ends with it. */
static void become(const Place *p, char **word, const char *told)
{
    char library[300];
    snprintf(library, sizeof library, "%s/inject.so", setting.folder);
    setpgid(0, 0);
    signal(SIGHUP, SIG_DFL); /* ignored, where the test runs under nohup */
    if (chdir(p->here) != 0)
        _exit(99);
    send_to(STDOUT_FILENO, p->printed);
    send_to(STDERR_FILENO, p->said);
    setenv("INJECT", told, 1);
    setenv("LD_PRELOAD", library, 1);
    setenv("TMPDIR", p->here, 1);
    setenv("LC_ALL", "C", 1);
    alarm(HANG_SECONDS);
    execv(word[0], word);
    _exit(99);
}

pid_t run_start(const Place *p, const char *command, const Injection *injection)
{
    static const Injection none = {.way = WAY_NONE};
    const Injection *i = injection ? injection : &none;
    char told[600], copy[1200], *word[WORDS + 1] = {NULL};
    snprintf(told, sizeof told, "%d %ld %d %d %s", (int)i->family, i->number, (int)i->way, i->value,
             p->counts);
    snprintf(copy, sizeof copy, "%s", command);
    int words = 0;
    for (char *rest = copy, *next; words < WORDS && (next = strtok_r(rest, " ", &rest));)
        word[words++] = next;
    zero_counts(p);
    pid_t child = fork();
    if (child == 0)
        become(p, word, told);
    return child;
}

Ended run_wait(const Place *p, pid_t child)
{
    int status = 0;
    size_t count;
    if (waitpid(child, &status, 0) != child)
        abort();
    kill(-child, SIGKILL); /* what it left running */
    Ended e = {.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
               .code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
               .said = file_bytes(p->said, &count)};
    e.hung = e.signal == SIGALRM;
    if (!e.said)
        abort();
    return e;
}

Ended run(const Place *p, const char *command, const Injection *injection)
{
    return run_wait(p, run_start(p, command, injection));
}
